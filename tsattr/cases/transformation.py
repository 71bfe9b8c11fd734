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
from torch import nn

from .. import io
from ..core.baselines.training import Recipe, train
from ..core.results import check_count
from ..version import __version__
from .branches import Branches, loss, whole_batches
from .calibration import Calibration
from .pairs import Pairs, Scaled

_FORMAT = "transformation of tsattr"
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
        check_count("batch", batch)
        pairs = Pairs.of(old, new, side, blocks)
        kept = pairs.held_out(seed)
        scaled = Scaled.of(pairs, ~kept)
        rows = torch.tensor(np.concatenate([scaled.inputs(pairs.inputs), scaled.outputs(pairs.new)], 1))
        sizes = scaled.sizes(pairs)
        recipe = Recipe(epochs, patience, whole_batches(int((~kept).sum()), batch), seed=seed, progress=progress)
        found = train(lambda: Branches(*sizes), loss, rows[~kept], rows[kept], recipe)
        linear = _least_squares(rows[~kept, : -sizes[2]].numpy(), rows[~kept, -sizes[2] :].numpy())
        data: dict[str, Any] = scaled.data | {
            "coefficient": (("scaled", "new"), linear[0]),
            "intercept": ("new", linear[1]),
            "weights": ("weight", found.net.state()),
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
            if values is not None and (np.ndim(values) != 2 or len(values) != len(old)):
                raise ValueError(
                    f"{what} are arrays (cases, numbers), a row for each of the old embeddings; got shape {np.shape(values)}"
                )
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
        return Branches.of([int(n) for n in np.ravel(self.data.attrs["sizes"])], self._array("weights"))

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


def _least_squares(inputs: np.ndarray, outputs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Coefficient and intercept, the penalty chosen by leave-one-out errors."""
    from sklearn.linear_model import Ridge, RidgeCV

    # RidgeCV squares the condition number, in some releases; with its penalty the singular values do not.
    found = Ridge(RidgeCV(_ALPHAS).fit(inputs, outputs).alpha_, solver="svd").fit(inputs, outputs)
    return np.asarray(found.coef_).reshape(outputs.shape[1], -1).T, np.atleast_1d(found.intercept_)


def _chosen(make: Callable[[xr.Dataset], Transformation], data: xr.Dataset, held: Pairs) -> Transformation:
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
