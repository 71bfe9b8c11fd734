"""Fitted additive models as labelled datasets: the terms over grids, and row by row."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import numpy as np
import xarray as xr

from ..version import __version__
from .basis import quantiles
from .columns import TableReader
from .terms import AdditiveFunction

GRID, PAIR_GRID = 64, 32
"""Grid points of a numeric feature in its own curve and in the surface of a pair."""
CHUNK = 4096
"""Rows explained at a time."""
NORMAL = 1.959963984540054
"""Half the width of a 95 % interval in standard errors."""


@dataclass(frozen=True)
class FittedModel:
    """A fitted model with the names of its columns and outputs and the rows it was fitted on.

    `terms` is the result of `explain_global` where the rows, which it is made from, have been dropped.
    """

    model: AdditiveFunction
    reader: TableReader
    targets: np.ndarray | None
    x: np.ndarray
    w: np.ndarray
    attrs: dict[str, Any]
    terms: xr.Dataset | None = None

    # Labels.

    @property
    def feature(self) -> list[str]:
        """Names of the features."""
        return list(self.reader.names)

    def pair_coords(self) -> dict[str, Any]:
        """The pairs by name, and their two features."""
        first, second = ([self.feature[p[side]] for p in self.model.pairs] for side in (0, 1))
        label = [f"{a} x {b}" for a, b in zip(first, second)]
        return {
            "pair": np.array(label, dtype=str),
            "first": ("pair", np.array(first, dtype=str)),
            "second": ("pair", np.array(second, dtype=str)),
        }

    def coords(self) -> dict[str, Any]:
        """Coordinates of a result: features, pairs, units of times, targets."""
        coords = {"feature": np.array(self.feature, dtype=str), **self.pair_coords()}
        if any(self.reader.units):
            coords["units"] = ("feature", np.array(self.reader.units, dtype=str))
        return coords | ({} if self.targets is None else {"target": self.targets.astype(str)})

    def leading(self, *dims: str) -> tuple[str, ...]:
        """Dims with `target` first, where there is one."""
        return dims if self.targets is None else ("target", *dims)

    def outputs_first(self, values: np.ndarray) -> np.ndarray:
        """Values (..., outputs) with the outputs first; without that axis where there is one score."""
        return values[..., 0] if self.targets is None else np.moveaxis(values, -1, 0)

    def outputs_last(self, values: np.ndarray) -> np.ndarray:
        """Values (..., outputs) as they are; without that axis where there is one score."""
        return values[..., 0] if self.targets is None else values

    # Grids.

    def grid(self, j: int, points: int) -> np.ndarray:
        """Values of a feature at quantiles of the training data, or the codes of its levels."""
        if (levels := self.reader.levels[j]) is not None:
            return np.arange(len(levels), dtype=float)
        known = ~np.isnan(self.x[:, j])
        if not known.any():
            return np.zeros(0)
        values = self.x[known, j]
        distinct = np.unique(values)
        if len(distinct) <= points:
            return distinct
        inside = quantiles(values, self.w[known], np.arange(1, points - 1) / (points - 1))
        return np.unique(np.r_[values.min(), inside, values.max()])

    def density(self, j: int, grid: np.ndarray) -> np.ndarray:
        """Share of the training weight nearest to each grid point."""
        values, share = self.x[:, j], self.w / self.w.sum()
        known = ~np.isnan(values) & (values >= (0 if self.reader.levels[j] is not None else -np.inf))
        if not len(grid):
            return np.zeros(0)
        at = np.searchsorted((grid[1:] + grid[:-1]) / 2, values[known])
        return np.bincount(at, share[known], len(grid))

    # Sizes of terms.

    def sizes(self) -> tuple[np.ndarray, np.ndarray]:
        """Standard deviation over the training data of each main and each pair: (terms, outputs, 1 + bags)."""
        total = [0.0, 0.0]
        share = self.w / self.w.sum()
        for rows in _chunks(len(self.x)):
            mains, pairs = self.model.terms(self.x[rows], draws=True)
            terms = np.stack([*mains, *pairs])
            total[0] = total[0] + np.einsum("n,tnkb->tkb", share[rows], terms)
            total[1] = total[1] + np.einsum("n,tnkb->tkb", share[rows], terms**2)
        sd = np.sqrt(np.maximum(total[1] - total[0] ** 2, 0.0))
        p = len(self.model.features)
        return sd[:p], sd[p:]


def _chunks(n: int) -> list[slice]:
    return [slice(i, i + CHUNK) for i in range(0, n, CHUNK)]


def _padded(parts: list[np.ndarray], size: int) -> np.ndarray:
    """Arrays (g, ...) of different lengths as one (len, size, ...), filled up with NaN."""
    out = np.full((len(parts), size, *(parts[0].shape[1:] if parts else ())), np.nan)
    for row, part in zip(out, parts):
        row[: len(part)] = part
    return out


def _band(values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Estimate and 95 % band of values (..., 1 + bags)."""
    estimate, half = values[..., 0], NORMAL * _error(values)
    return estimate, estimate - half, estimate + half


def _error(values: np.ndarray) -> np.ndarray:
    """Standard error of values (..., 1 + bags); NaN without replicates."""
    return values[..., 1:].std(-1, ddof=1) if values.shape[-1] > 2 else np.full(values.shape[:-1], np.nan)


def global_terms(fitted: FittedModel) -> xr.Dataset:
    """All terms over grids, with bands, importances and the density of the data."""
    if fitted.terms is not None:
        return fitted.terms.copy()
    data = _mains(fitted) | _pairs(fitted) | _importances(fitted)
    data["intercept"] = (fitted.leading(), fitted.outputs_first(fitted.model.intercept[:, 0]))
    return xr.Dataset(data, fitted.coords() | {"feature_b": np.array(fitted.feature, dtype=str)}, fitted.attrs)


def _mains(fitted: FittedModel) -> dict[str, Any]:
    p = len(fitted.feature)
    grids = [fitted.grid(j, GRID) for j in range(p)]
    size = max(map(len, grids), default=0)
    shapes = _padded([fitted.model.main(j, g, draws=True) for j, g in enumerate(grids)], size)
    levels = np.full((p, size), "", dtype=object)
    for row, names in zip(levels, fitted.reader.levels):
        row[: len(names or ())] = [str(name) for name in names or ()]
    has_missing = np.isnan(fitted.x).any(0)
    missing = np.full((p, fitted.model.outputs), np.nan)
    for j in np.flatnonzero(has_missing).tolist():
        missing[j] = fitted.model.main(j, np.array([np.nan]))[0]
    parts = dict(zip(("shape", "lower", "upper"), _band(shapes)))
    kind = ["numeric" if names is None else "categorical" for names in fitted.reader.levels]
    return {
        "value": (("feature", "grid"), _padded(grids, size)),
        "level": (("feature", "grid"), levels.astype(str)),
        "density": (("feature", "grid"), _padded([fitted.density(j, g) for j, g in enumerate(grids)], size)),
        "kind": ("feature", np.array(kind)),
        "missing": (fitted.leading("feature"), fitted.outputs_first(missing)),
        **{name: (fitted.leading("feature", "grid"), fitted.outputs_first(part)) for name, part in parts.items()},
    }


def _pairs(fitted: FittedModel) -> dict[str, Any]:
    model = fitted.model
    grids = [tuple(fitted.grid(j, PAIR_GRID) for j in pair) for pair in model.pairs]
    longest = max((len(fitted.grid(j, GRID)) for j in range(len(fitted.feature))), default=0)
    sizes = [longest, max((len(second) for _, second in grids), default=0)]
    shape = (len(grids), *sizes, *model.intercept.shape)
    surfaces = np.full(shape, np.nan)
    for i, (ga, gb) in enumerate(grids):
        flat = model.pair(i, np.repeat(ga, len(gb)), np.tile(gb, len(ga)), draws=True)
        surfaces[i, : len(ga), : len(gb)] = flat.reshape(len(ga), len(gb), *flat.shape[1:])
    parts = dict(zip(("interaction", "interaction_lower", "interaction_upper"), _band(surfaces)))
    first, second = (_padded([g[side] for g in grids], sizes[side]) for side in (0, 1))
    dims = fitted.leading("pair", "grid", "grid_b")
    return {
        "value_first": (("pair", "grid"), first),
        "value_second": (("pair", "grid_b"), second),
        **{name: (dims, fitted.outputs_first(part)) for name, part in parts.items()},
    }


def _importances(fitted: FittedModel) -> dict[str, Any]:
    mains, pairs = fitted.sizes()
    out: dict[str, Any] = {}
    for name, dim, sizes in (("importance", "feature", mains), ("pair_importance", "pair", pairs)):
        estimate, lower, upper = _band(sizes)
        for end, part in (("", estimate), ("_lower", np.maximum(lower, 0)), ("_upper", upper)):
            out[name + end] = (fitted.leading(dim), fitted.outputs_first(part))
    p = len(fitted.feature)
    matrix = np.zeros((p, p, fitted.model.outputs))
    for (a, b), size in zip(fitted.model.pairs, pairs[..., 0]):
        matrix[a, b] = matrix[b, a] = size
    out["interaction_importance"] = (fitted.leading("feature", "feature_b"), fitted.outputs_first(matrix))
    return out


def contributions(fitted: FittedModel, x: np.ndarray, sample: Any = None) -> xr.Dataset:
    """The Dataset of each term's contribution to each row of `x` (n, p), pairs shared by halves."""
    chunks = [_contributions(fitted.model, x[rows]) for rows in _chunks(len(x))]
    mains, pairs, attribution, error = (np.concatenate(part) for part in zip(*chunks))
    return local_dataset(fitted, mains, pairs, attribution, error, fitted.model.intercept[:, 0], sample)


def feature_attribution(model: AdditiveFunction, mains: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """The attribution (n, p, ...): mains (n, p, ...) plus half of each of a feature's pairs (n, pairs, ...)."""
    out = mains.copy()
    for i, (a, b) in enumerate(model.pairs):
        out[:, a] += pairs[:, i] / 2
        out[:, b] += pairs[:, i] / 2
    return out


def _contributions(model: AdditiveFunction, x: np.ndarray) -> tuple[np.ndarray, ...]:
    mains, pairs = model.terms(x, draws=True)
    main = np.stack(mains, axis=1)
    pair = np.stack(pairs, axis=1) if pairs else np.zeros((len(x), 0, *model.intercept.shape))
    attribution = feature_attribution(model, main, pair)
    return main[..., 0], pair[..., 0], attribution[..., 0], _error(attribution)


def local_dataset(
    fitted: FittedModel,
    mains: np.ndarray,
    pairs: np.ndarray,
    attribution: np.ndarray,
    error: np.ndarray | None,
    reference: np.ndarray,
    sample: Any = None,
) -> xr.Dataset:
    """The Dataset of contributions (n, terms, outputs) and a reference (outputs,) or (n, outputs)."""
    n = len(mains)
    target = () if fitted.targets is None else ("target",)
    reference = np.broadcast_to(reference, (n, fitted.model.outputs))
    prediction = reference + mains.sum(1) + pairs.sum(1)
    data: dict[str, Any] = {
        "attribution": (("sample", "feature", *target), fitted.outputs_last(attribution)),
        "main": (("sample", "feature", *target), fitted.outputs_last(mains)),
        "pair_value": (("sample", "pair", *target), fitted.outputs_last(pairs)),
        "prediction": (("sample", *target), fitted.outputs_last(prediction)),
        "reference": (("sample", *target), fitted.outputs_last(reference)),
        "status": ("sample", np.full(n, "ok")),
    }
    if error is not None:
        data["standard_error"] = (("sample", "feature", *target), fitted.outputs_last(error))
    coords = fitted.coords() | {"sample": np.arange(n) if sample is None else np.asarray(sample)}
    ds = xr.Dataset(data, coords, fitted.attrs)
    ds["attribution"].attrs["units"] = ds["prediction"].attrs["units"] = fitted.attrs["units"]
    return ds


def versions() -> dict[str, str]:
    """Versions of the libraries that a result depends on, as attrs."""
    others = {name: version(name) for name in ("torch", "numpy", "scikit-learn", "xarray")}
    return {f"version_{name}": v for name, v in {"tsattr": __version__, **others}.items()}
