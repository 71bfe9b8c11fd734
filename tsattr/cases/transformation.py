"""What carries embeddings of an old model over to a new one, and how far it may be off."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor, nn

from .. import io
from ..core.baselines.training import Recipe, train
from ..version import __version__
from .calibration import Calibration

FEWEST = 20  # pairs: of fewer, what is held out says nothing
_FORMAT = "transformation of tsattr"
_HELD_OUT = 0.2
_ALPHAS = np.logspace(-9, 3, 13)  # penalties of the least squares, to be chosen from
_PREFIX = "transformation_"


@dataclass(frozen=True, eq=False)
class Transformation:
    """``h(a, s) ~ phi_new(x)``: a new model's embedding of a case, from the old one's and what else is known of it.

    Made by :meth:`fit` or read by :meth:`read`. Ramanujan et al., CVPR 2022 (forward-compatible training); the uncertainty is
    in the manner of Jaeckle et al., ICLR 2023 (FastFill).

    Parameters
    ----------
    data
        What was learnt, as plain arrays, and ``predicted`` and ``actual`` errors of the pairs held out. The attrs say from how
        many pairs, and what was found.

    Examples
    --------
    A permutation of the old embedding's numbers is found:

    >>> import numpy as np
    >>> old = np.random.default_rng(0).normal(size=(60, 3))
    >>> h = Transformation.fit(old, old[:, [1, 2, 0]])
    >>> values, uncertainty = h(old)
    >>> h, bool(np.allclose(values, old[:, [1, 2, 0]], atol=1e-6))
    (Transformation(3 numbers to 3 by least squares, from 60 pairs), True)
    """

    data: xr.Dataset

    def __post_init__(self) -> None:
        if self.data.attrs.get("format") != _FORMAT:
            raise ValueError("this is no transformation: it is made by Transformation.fit(old, new, side)")

    def __repr__(self) -> str:
        return f"Transformation({self.describe()})"

    def describe(self) -> str:
        """What it is, in words."""
        a = self.data.attrs
        side = f" and {a['side']} of side information" if a["side"] else ""
        return f"{a['old']} numbers{side} to {a['new']} by {a['kind']}, from {a['pairs']} pairs"

    @classmethod
    def fit(
        cls,
        old: np.ndarray,
        new: np.ndarray,
        side: np.ndarray | None = None,
        *,
        blocks: np.ndarray | None = None,
        epochs: int = 100,
        patience: int = 10,
        batch: int = 64,
        seed: int = 0,
        progress: bool = False,
    ) -> Transformation:
        """Learn it from pairs: samples that both models have embedded, best those that the new one was trained on.

        Of two candidates the one with the smaller squared error on pairs held out is kept:

        - *least squares*, linear in (a, s), its penalty chosen by leave-one-out errors;
        - *network*: two branches, of `a` and of `s`, each of two layers with batch normalisation and ReLU, joined by two more.

        The network also gives the logarithm of the variance v of its error. It is trained by the Gaussian likelihood weighted by
        ``v^(1/2)``, so that the mean does not give up where errors are large (Seitzer et al., ICLR 2022), and v is scaled to be
        right on average over the pairs held out.

        Parameters
        ----------
        old, new, side
            Arrays (pairs, numbers): the old and the new model's embeddings, and the side information. Pairs with a number that is
            not finite are left out and counted; so are numbers that are the same in all pairs, which carry nothing.
        blocks
            The patient (or year) of each pair. A fifth of the patients are held out then, else a fifth of the pairs: what is held
            out ends the training and tells how large errors are, and those of other patients are larger.
        epochs, patience, batch, seed, progress
            At most so many epochs, ended when the squared error of what is held out has not fallen for `patience` of them;
            pairs in a batch; seed; a bar.

        Raises
        ------
        ValueError
            Fewer than 20 pairs, or fewer than two blocks; sizes that differ.
        """
        pairs = _Pairs.of(old, new, side, blocks)
        kept = pairs.held_out(seed)
        scaled = _Scaled.of(pairs, ~kept)
        rows = torch.tensor(np.concatenate([scaled.inputs(pairs.inputs), scaled.outputs(pairs.new)], 1))
        sizes = scaled.sizes(pairs)
        recipe = Recipe(epochs, patience, _whole_batches(int((~kept).sum()), batch), seed=seed, progress=progress)
        found = train(lambda: Branches(*sizes), _loss, rows[~kept], rows[kept], recipe)
        linear = _least_squares(rows[~kept, : -sizes[2]].numpy(), rows[~kept, -sizes[2] :].numpy())
        data: dict[str, Any] = scaled.data | {
            "coefficient": (("scaled", "new"), linear[0]),
            "intercept": ("new", linear[1]),
            "weights": ("weight", _state(found.net)),
        }
        attrs = {
            "format": _FORMAT,
            "old": pairs.old.shape[1],
            "side": pairs.inputs.shape[1] - pairs.old.shape[1],
            "new": sizes[2],
            "sizes": list(sizes),
            "pairs": len(pairs.new),
            "pairs_left_out": pairs.left_out,
            "held_out": f"{int(kept.sum())} pairs" + ("" if pairs.blocks is None else " of blocks of their own"),
            "training": str(found),
            "seed": seed,
            "spread": scaled.spread,
            "gain": float(np.sqrt(pairs.new.var(0).sum() / pairs.old.var(0).sum())),
            "scale": 1.0,
            "version_tsattr": __version__,
        }
        return _chosen(cls, xr.Dataset(data, attrs=attrs), pairs.part(kept))

    def __call__(self, old: np.ndarray, side: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Embeddings (cases, numbers) in the new model's space, and the error to be expected of each (cases,).

        The error is the root of the expected squared distance from the new model's own embedding. Both are NaN where `old` or
        `side` is not finite.

        Raises
        ------
        ValueError
            No side information where it was learnt with some, or the reverse; sizes that differ.
        """
        a = self.data.attrs
        for what, values, size in (("old embeddings", old, a["old"]), ("side information", side, a["side"])):
            there = 0 if values is None else np.shape(values)[1]
            if there != size:
                raise ValueError(
                    f"the transformation was learnt with {size or 'no'} numbers of {what}, got {there or 'none'}"
                )
        inputs = np.asarray(old, np.float64) if side is None else np.concatenate([old, side], 1, dtype=np.float64)
        used = (inputs[:, self._array("used").astype(bool)] - self._array("shift")) / self._array("width")
        known = np.asarray(np.isfinite(inputs).all(1))
        with torch.no_grad():
            out = self.network(torch.tensor(np.where(known[:, None], used, 0))).numpy()
        mean = out[:, :-1] if a["kind"] == "network" else used @ self._array("coefficient") + self._array("intercept")
        spread = float(a["spread"])
        values = mean * spread + self._array("centre")
        error = spread * float(a["scale"]) * np.sqrt(int(a["new"]) * np.exp(out[:, -1]))
        return np.where(known[:, None], values, np.nan), np.where(known, error, np.nan)

    @property
    def network(self) -> nn.Module:
        """The network with the weights that were found."""
        with torch.random.fork_rng(devices=[]):  # a new network draws its weights
            net = Branches(*(int(n) for n in np.ravel(self.data.attrs["sizes"])))
        return _with_state(net.double(), self._array("weights")).requires_grad_(False).eval()

    @property
    def calibration(self) -> Calibration:
        """How well expected errors agree with those of the pairs held out, which ended the training; print it."""
        return Calibration(self._array("predicted"), self._array("actual"))

    def calibrated(self, old: np.ndarray, new: np.ndarray, side: np.ndarray | None = None) -> Calibration:
        """The same of other pairs, such as those of other patients."""
        values, error = self(old, side)
        return Calibration(error, np.linalg.norm(values - new, axis=1))

    def write(self, path: str | os.PathLike[str]) -> None:
        """Write it to NetCDF, or Zarr where the name ends in ``.zarr``: plain arrays, no pickle."""
        io.write_result(self.data, path)

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> Transformation:
        """Read what :meth:`write` wrote; ValueError where it is missing, damaged or something else."""
        return cls(io.read_result(path))

    def beside(self, data: xr.Dataset) -> xr.Dataset:
        """A gallery's data with this in it, as variables and an attr of its own."""
        named = {name: f"{_PREFIX}{name}" for name in (*self.data.dims, *self.data.data_vars)}
        return data.assign(self.data.rename(named).data_vars).assign_attrs(transformation=json.dumps(self.data.attrs))

    @classmethod
    def out_of(cls, data: xr.Dataset) -> tuple[xr.Dataset, Transformation | None]:
        """A gallery's data without what :meth:`beside` put there, and the transformation."""
        if "transformation" not in data.attrs:
            return data, None
        own = data[[name for name in data.data_vars if str(name).startswith(_PREFIX)]].reset_coords(drop=True)
        named = {name: str(name).removeprefix(_PREFIX) for name in (*own.dims, *own.data_vars)}
        rest = data.drop_vars(own.data_vars)
        rest.attrs = {name: v for name, v in data.attrs.items() if name != "transformation"}
        return rest, cls(own.rename(named).assign_attrs(json.loads(data.attrs["transformation"])))

    def _array(self, name: str) -> np.ndarray:
        return np.asarray(self.data[name].values)


class Branches(nn.Module):
    """The old embedding and the side information through two layers each, joined by two more (Ramanujan et al., 2022).

    Gives the new embedding, and last the logarithm of the mean variance of its numbers.

    Parameters
    ----------
    old, side, new
        Numbers of each; no branch for what has none.
    most
        Width that no layer exceeds.
    """

    def __init__(self, old: int, side: int, new: int, most: int) -> None:
        super().__init__()
        self.sizes = [old, side]
        wide = min(2 * new, most)
        self.branches = nn.ModuleList(
            nn.Sequential(*_layer(n, min(2 * n, most)), *_layer(min(2 * n, most), wide)) for n in self.sizes if n
        )
        both = wide * len(self.branches)
        self.joined = nn.Sequential(*_layer(both, both), nn.Linear(both, new + 1))

    def forward(self, inputs: Tensor) -> Tensor:
        """(rows, new + 1) of rows (rows, old + side)."""
        parts = [part for part in inputs.split(self.sizes, 1) if part.shape[1]]
        joined: Tensor = self.joined(torch.cat([branch(part) for branch, part in zip(self.branches, parts)], 1))
        return joined


def _layer(inputs: int, outputs: int) -> list[nn.Module]:
    return [nn.Linear(inputs, outputs, bias=False), nn.BatchNorm1d(outputs), nn.ReLU()]


def _loss(net: Any, rows: Tensor) -> Tensor:
    """In training the weighted likelihood, else the mean squared error, of rows of inputs and outputs side by side."""
    inputs = sum(net.sizes)
    out = net(rows[:, :inputs])
    error: Tensor = (out[:, :-1] - rows[:, inputs:]).square().mean(1)
    if net.training:
        log_variance = out[:, -1]
        weight = (0.5 * log_variance).exp().detach()
        error = weight * (error * (-log_variance).exp() + log_variance)
    return error.mean()


def _whole_batches(n: int, batch: int) -> int:
    """A size of batch that leaves no last one of a single row, which has no variance to be normalised by."""
    return next(size for size in range(batch, batch + n + 1) if n % size != 1)


def _least_squares(inputs: np.ndarray, outputs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Coefficient and intercept, the penalty chosen by leave-one-out errors."""
    from sklearn.linear_model import RidgeCV

    found = RidgeCV(_ALPHAS).fit(inputs, outputs)
    return np.asarray(found.coef_).reshape(outputs.shape[1], -1).T, np.atleast_1d(found.intercept_)


def _chosen(make: Callable[[xr.Dataset], Transformation], data: xr.Dataset, held: _Pairs) -> Transformation:
    """The candidate with the smaller error on the pairs held out, its expected errors scaled to be right on them."""
    errors = {}
    for kind in ("network", "least squares"):
        h = make(data.assign_attrs(kind=kind))
        values, predicted = h(*held.given())
        errors[kind] = np.linalg.norm(values - held.new, axis=1)
    kind = min(errors, key=lambda name: float(np.square(errors[name]).mean()))
    actual = errors[kind]
    scale = float(np.sqrt(np.square(actual).mean() / np.square(predicted).mean()))
    missed = {f"error_{name.replace(' ', '_')}": float(np.sqrt(np.square(e).mean())) for name, e in errors.items()}
    found = {"predicted": ("pair", scale * predicted), "actual": ("pair", actual)}
    return make(data.assign(found).assign_attrs(kind=kind, scale=scale, **missed))


def _state(net: nn.Module) -> np.ndarray:
    """Parameters, and the means and variances of batch normalisation, as one vector."""
    return torch.cat([v.detach().double().reshape(-1) for v in net.state_dict().values()]).numpy()


def _with_state(net: nn.Module, values: np.ndarray) -> nn.Module:
    state, at = net.state_dict(), 0
    for name, v in state.items():
        state[name] = torch.tensor(values[at : at + v.numel()]).reshape(v.shape).to(v.dtype)
        at += v.numel()
    net.load_state_dict(state)
    return net


@dataclass(frozen=True)
class _Pairs:
    """Old and new embeddings of the same samples, side information and blocks, all of them finite."""

    old: np.ndarray
    new: np.ndarray
    side: np.ndarray | None
    blocks: np.ndarray | None
    left_out: int

    @classmethod
    def of(cls, old: Any, new: Any, side: Any, blocks: Any) -> _Pairs:
        """Checked: as many of each, and enough of them."""
        arrays = {"old": np.asarray(old, np.float64), "new": np.asarray(new, np.float64)}
        if side is not None:
            arrays["side"] = np.asarray(side, np.float64)
        n = len(arrays["old"])
        if wrong := [f"{name} {a.shape}" for name, a in arrays.items() if a.ndim != 2 or len(a) != n or not a.shape[1]]:
            raise ValueError(
                f"pairs are arrays (pairs, numbers) of as many rows as old has, {n}; got {', '.join(wrong)}"
            )
        if blocks is not None and np.shape(blocks) != (n,):
            raise ValueError(f"blocks has one entry for each of the {n} pairs, got shape {np.shape(blocks)}")
        known = np.all([np.isfinite(a).all(1) for a in arrays.values()], 0)
        if known.sum() < FEWEST:
            raise ValueError(
                f"a transformation is learnt from at least {FEWEST} pairs, samples that both models have embedded; got "
                f"{n}, {known.sum()} of them finite"
            )
        found = cls(arrays["old"], arrays["new"], arrays.get("side"), None if blocks is None else np.asarray(blocks), 0)
        return found.part(known)

    def part(self, where: np.ndarray) -> _Pairs:
        """Some of the pairs."""
        side, blocks = (None if v is None else v[where] for v in (self.side, self.blocks))
        return _Pairs(self.old[where], self.new[where], side, blocks, self.left_out + int((~where).sum()))

    def given(self) -> tuple[np.ndarray, np.ndarray | None]:
        """What a transformation is given."""
        return self.old, self.side

    @property
    def inputs(self) -> np.ndarray:
        """Old embeddings and side information side by side."""
        return self.old if self.side is None else np.concatenate([self.old, self.side], 1)

    def held_out(self, seed: int) -> np.ndarray:
        """Which pairs are held out: a fifth of them, or of the blocks as they come until they have as many."""
        rng = np.random.default_rng(seed)
        n = len(self.new)
        number = np.arange(n) if self.blocks is None else np.unique(self.blocks, return_inverse=True)[1]
        if number.max() < 1:
            raise ValueError(
                "blocks names one block alone: some are held out, so that there are two at least; leave blocks out"
            )
        order = rng.permutation(number.max() + 1)
        size = np.bincount(number)[order].cumsum()
        some = 1 + int(np.searchsorted(size[:-1], _HELD_OUT * n))
        kept = np.isin(number, order[: min(some, len(order) - 1)])
        if n - kept.sum() < FEWEST // 2:
            raise ValueError(
                f"with the blocks held out {n - kept.sum()} of {n} pairs are left to learn from: leave blocks out"
            )
        return kept


@dataclass(frozen=True)
class _Scaled:
    """Inputs and outputs on the network's scale: each input number by its own mean and width, outputs by one width."""

    used: np.ndarray
    shift: np.ndarray
    width: np.ndarray
    centre: np.ndarray
    spread: float

    @classmethod
    def of(cls, pairs: _Pairs, training: np.ndarray) -> _Scaled:
        """From the pairs that are trained on."""
        inputs, outputs = pairs.inputs[training], pairs.new[training]
        used = np.ptp(inputs, 0) > 1e-12 * np.abs(inputs).max(0)
        spread = float(np.sqrt(outputs.var(0).mean()))
        if not used.any() or not spread > 0:
            which = "new embeddings" if used.any() else "old embeddings and side information"
            raise ValueError(f"the {which} are the same in all pairs: nothing can be learnt from them")
        return cls(used, inputs[:, used].mean(0), inputs[:, used].std(0), outputs.mean(0), spread)

    def inputs(self, values: np.ndarray) -> np.ndarray:
        """Those that are used, each of mean 0 and variance 1 in training."""
        return np.asarray((values[:, self.used] - self.shift) / self.width)

    def outputs(self, values: np.ndarray) -> np.ndarray:
        """Of mean 0, and of mean variance 1 over all numbers: so that the errors add up as distances do."""
        return np.asarray((values - self.centre) / self.spread)

    def sizes(self, pairs: _Pairs) -> tuple[int, int, int, int]:
        """Numbers used of the old embedding and of the side information, new ones, and the widest layer that so many pairs bear."""
        old = int(self.used[: pairs.old.shape[1]].sum())
        return old, int(self.used.sum()) - old, len(self.centre), max(8, len(pairs.new) // 10)

    @property
    def data(self) -> dict[str, Any]:
        """As the variables of a dataset."""
        found = {"used": ("input", self.used.astype(np.int8)), "shift": ("scaled", self.shift)}
        return found | {"width": ("scaled", self.width), "centre": ("new", self.centre)}
