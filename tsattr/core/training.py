"""Training of the small networks behind learnt baselines, and how well what they expect agrees with what comes."""

from __future__ import annotations

import copy
import json
import math
import os
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from .axes import Array
from .fitted import Fitted, Training, cell_index
from .results import check_count


@dataclass(frozen=True)
class Recipe:
    """How a network is trained: Adam, until the validation loss has not fallen for `patience` epochs; the best is kept."""

    epochs: int = 300
    patience: int = 20
    batch: int = 64
    learning_rate: float = 3e-3
    validation: float = 0.2
    seed: int = 0
    progress: bool = False

    def __post_init__(self) -> None:
        for name in ("epochs", "patience", "batch"):
            check_count(name, getattr(self, name))
        if not 0 < self.validation < 1:
            raise ValueError(
                f"validation is the share of samples kept for it, between 0 and 1, got {self.validation!r}"
            )


def split(n: int, recipe: Recipe) -> tuple[np.ndarray, np.ndarray]:
    """Positions to train on and to validate with; ValueError for fewer than two samples."""
    if n < 2:
        raise ValueError(f"a generator is fitted to at least two samples, one of them for validation; got {n}")
    order = np.random.default_rng(recipe.seed).permutation(n)
    held = min(n - 1, max(1, round(recipe.validation * n)))
    return np.sort(order[held:]), np.sort(order[:held])


def train(
    make: Callable[[], nn.Module], loss: Callable[[nn.Module, Tensor], Tensor], rows: Tensor, recipe: Recipe
) -> tuple[nn.Module, str]:
    """A network with the least validation loss, and how it was found; the global random state stays as it was."""
    seen, held = (rows[torch.as_tensor(at)] for at in split(len(rows), recipe))
    with torch.random.fork_rng(), torch.enable_grad():
        torch.manual_seed(recipe.seed)
        net = make().double().train()
        optimiser = torch.optim.Adam(net.parameters(), lr=recipe.learning_rate)
        best, least, since, taken = copy.deepcopy(net.state_dict()), math.inf, 0, 0
        for _ in _bar(recipe):
            for at in torch.randperm(len(seen)).split(recipe.batch):
                optimiser.zero_grad()
                loss(net, seen[at]).backward()  # type: ignore[no-untyped-call, unused-ignore]
                nn.utils.clip_grad_norm_(net.parameters(), 1.0)
                optimiser.step()
            with torch.no_grad():
                found = float(loss(net, held))
            taken, since = taken + 1, since + 1
            if found < least - 1e-4 * abs(least if math.isfinite(least) else 0):
                best, least, since = copy.deepcopy(net.state_dict()), found, 0
            if since >= recipe.patience:
                break
    if not math.isfinite(least):
        raise ValueError(f"the generator's validation loss is {least}; check the reference, or lower learning_rate")
    net.load_state_dict(best)
    ended = "stopped" if since >= recipe.patience else "not converged"
    return net.eval(), f"epochs={taken}, {ended}, validation loss={least:.4g}"


def _bar(recipe: Recipe) -> Any:
    if not recipe.progress:
        return range(recipe.epochs)
    from tqdm.auto import tqdm

    return tqdm(range(recipe.epochs), desc="fit", unit="epoch")


@dataclass(frozen=True)
class Channels:
    """Training series as standardised rows (samples, times, channels), 0 where missing, and how to get there and back."""

    rows: np.ndarray
    known: np.ndarray
    arrays: dict[str, Array]
    source: Callable[..., str]

    @classmethod
    def of(cls, reference: Any, dim: str, sample_dim: str) -> Channels:
        """Read a reference, and standardise each channel over samples and times."""
        train = Training.of(reference, sample_dim)
        axis = train.axes.axis(dim)
        if train.axes.shape[axis] < 2:
            raise ValueError(f"a generator needs at least two times, the reference has {train.axes.shape[axis]}")
        values = np.moveaxis(train.values, 1 + axis, 1)
        names = tuple(d for d in train.axes.dims if d != dim)
        known = ~np.isnan(values)
        count = np.maximum(known.sum((0, 1)), 1)
        mean = np.where(known, values, 0).sum((0, 1)) / count
        scale = np.sqrt((np.where(known, values - mean, 0) ** 2).sum((0, 1)) / count)
        scale = np.where(scale > 0, scale, 1.0)
        rows = np.where(known, (values - mean) / scale, 0)
        flat = (*rows.shape[:2], -1)
        shift, width = (train.cells(names, v) if names else Array(v, (), {}) for v in (mean, scale))
        return cls(rows.reshape(flat), known.reshape(flat), {"shift": shift, "width": width}, train.source)

    def in_units_of(self, fitted: Fitted) -> Tensor:
        """As :attr:`tensor`, standardised as what was fitted to other data."""
        shift, width = (self.arrays[k].values.reshape(-1) for k in ("shift", "width"))
        theirs = [fitted[k].reshape(-1) for k in ("shift", "width")]
        rows = np.where(self.known, (self.rows * width + shift - theirs[0]) / theirs[1], 0)
        return torch.as_tensor(np.stack([rows, self.known], -1))

    @property
    def tensor(self) -> Tensor:
        """(samples, times, channels, 2): values, and 1 where they are known."""
        return torch.as_tensor(np.stack([self.rows, self.known], -1))


class Frame:
    """The way from an input's series to a network's channels and back."""

    def __init__(self, fitted: Fitted, axes: Any, dim: str, what: str) -> None:
        self.axis, self.times = axes.axis(dim), axes.shape[axes.axis(dim)]
        self.others = [(d, n) for d, n in zip(axes.dims, axes.shape) if d != dim]
        shape = tuple(n for _, n in self.others)
        cells = fitted.arrays["shift"]
        index = np.zeros((), int) if not cells.values.shape else cell_index(cells, axes, what)
        index = np.moveaxis(np.broadcast_to(index, axes.shape), self.axis, 0)[0].reshape(-1)
        if sorted(index.tolist()) != list(range(cells.values.size)):
            raise ValueError(
                f"{what} was fitted to {cells.values.size} series and continues all of them; the input has {shape or (1,)}"
            )
        self.order = torch.as_tensor(index.copy())  # the network's channel of each of the input's
        self.back = torch.argsort(self.order)
        self.shift, self.width = (torch.as_tensor(fitted[k].reshape(-1).astype(np.float64)) for k in ("shift", "width"))
        self.shape = shape

    def to_rows(self, x: Tensor) -> Tensor:
        """(n, \\*event) as (n, times, channels, 2) on the processor of `x`: standardised values, and 1 where known."""
        series = x.movedim(1 + self.axis, 1).reshape(len(x), self.times, -1).to(torch.float64)
        series = series[..., self.back.to(x.device)]
        series = (series - self.shift.to(x.device)) / self.width.to(x.device)
        known = ~torch.isnan(series)
        return torch.stack([torch.where(known, series, 0), known.to(torch.float64)], -1)

    def to_values(self, rows: Tensor) -> Tensor:
        """(..., channels) as values (..., \\*channels of the input)."""
        values = rows * self.width.to(rows.device) + self.shift.to(rows.device)
        return values[..., self.order.to(rows.device)].reshape(*rows.shape[:-1], *self.shape)

    def to_channels(self, cells: Tensor) -> Tensor:
        """(r, \\*channels of the input) as (r, channels)."""
        return cells.reshape(len(cells), -1)[:, self.back.to(cells.device)]


def state_arrays(net: nn.Module) -> dict[str, Array]:
    """The weights of a network."""
    return {f"weight {k}": Array(v.detach().numpy()) for k, v in net.state_dict().items()}


def with_weights(make: Callable[[], nn.Module], fitted: Fitted) -> nn.Module:
    """A network with the weights that were kept; making it takes no numbers from the global random state."""
    with torch.random.fork_rng(devices=[]):
        net = make()
    prefix = "weight "
    state = {
        k.removeprefix(prefix): torch.as_tensor(a.values) for k, a in fitted.arrays.items() if k.startswith(prefix)
    }
    net.double().load_state_dict(state)
    return net.eval().requires_grad_(False)


def save(path: str | os.PathLike[str], kind: str, fitted: Fitted, settings: Mapping[str, Any]) -> None:
    """Write arrays and settings to one ``.npz`` file, whole or not at all, without pickle."""
    header: dict[str, Any] = {"kind": kind, "settings": dict(settings), "source": fitted.source, "arrays": {}}
    arrays = {}
    for number, (name, a) in enumerate(fitted.arrays.items()):
        coords = {}
        for c, (dim, values) in enumerate(a.coords.items()):
            coords[dim] = f"coord_{number}_{c}"
            arrays[coords[dim]] = values.astype(str) if values.dtype == object else values
        arrays[f"array_{number}"] = a.values
        header["arrays"][name] = {"key": f"array_{number}", "dims": a.dims, "coords": coords}
    target = Path(path)
    with tempfile.NamedTemporaryFile(dir=target.parent, suffix=".tmp", delete=False) as file:
        np.savez(file, allow_pickle=False, header=np.array(json.dumps(header)), **arrays)
    os.replace(file.name, target)


def load(path: str | os.PathLike[str], kind: str) -> tuple[Fitted, dict[str, Any]]:
    """What :func:`save` wrote; ValueError for a file of another kind."""
    with np.load(path, allow_pickle=False) as file:
        header = json.loads(str(file["header"])) if "header" in file else {}
        if header.get("kind") != kind:
            raise ValueError(f"{os.fspath(path)} holds {header.get('kind', 'no baseline')!r}, not a {kind}")
        arrays = {
            name: Array(
                file[a["key"]],
                None if a["dims"] is None else tuple(a["dims"]),
                {dim: file[key] for dim, key in a["coords"].items()},
            )
            for name, a in header["arrays"].items()
        }
    return Fitted(arrays, header["source"]), header["settings"]


@dataclass(frozen=True)
class Calibration:
    """How well forecasts and their spread agree with what came, by horizon in steps.

    `ratio` is the predicted standard deviation over the size of the errors: 1 for calibrated draws, near 0 for collapsed
    ones, which are a point forecast; `inside_50` and `inside_90` are the shares of values within the central intervals;
    `spread` is the standard deviation of the values themselves. All in units of each channel's standard deviation.

    Examples
    --------
    >>> print(Calibration.of(np.array([[0.0, 2.0]]), np.ones((1, 2)), np.array([[1.0, 1.0]]), np.ones((1, 2), bool)))
    horizon   error  predicted   ratio  inside 50 %  inside 90 %  spread
          1   1.000      1.000   1.000        0.000        1.000   0.000
          2   1.000      1.000   1.000        0.000        1.000   0.000
    """

    error: np.ndarray
    predicted: np.ndarray
    inside_50: np.ndarray
    inside_90: np.ndarray
    spread: np.ndarray

    @classmethod
    def of(cls, mean: np.ndarray, sd: np.ndarray, came: np.ndarray, known: np.ndarray) -> Calibration:
        """From arrays (..., horizons) of forecasts, their spread, what came, and where that is known."""
        over = tuple(range(mean.ndim - 1))

        def average(values: np.ndarray) -> np.ndarray:
            found: np.ndarray = np.where(known, values, 0).sum(over) / np.maximum(known.sum(over), 1)
            return found

        size = np.abs(came - mean) / np.maximum(np.abs(sd), 1e-300)
        return cls(
            np.sqrt(average((came - mean) ** 2)),
            np.sqrt(average(sd**2)),
            average(size < 0.6744898),
            average(size < 1.6448536),
            np.sqrt(np.maximum(average(came**2) - average(came) ** 2, 0)),
        )

    @property
    def ratio(self) -> np.ndarray:
        """Predicted standard deviation over the size of the errors."""
        found: np.ndarray = self.predicted / np.maximum(self.error, 1e-300)
        return found

    def __str__(self) -> str:
        lines = ["horizon   error  predicted   ratio  inside 50 %  inside 90 %  spread"]
        for k, row in enumerate(
            zip(self.error, self.predicted, self.ratio, self.inside_50, self.inside_90, self.spread)
        ):
            lines.append("{:7d}{:8.3f}{:11.3f}{:8.3f}{:13.3f}{:13.3f}{:8.3f}".format(k + 1, *row))
        return "\n".join(lines)
