"""Skill of predictions against the truth, from moments of both by sample."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from ..labels.alignment import in_order_of
from ..metrics.intervals import members
from .blocks import BLOCK, RESAMPLE, Blocks, within
from .sphere import area_weights, everywhere, space_dims

INTACT = "intact"
"""The case in which nothing is absent."""
_MOMENTS = ("weight", "error", "f", "y", "ff", "yy", "fy")


@dataclass(frozen=True)
class Truth:
    """What predictions are compared with: values `y` (samples first), weights of their cells, and the dims to sum over."""

    y: xr.DataArray
    weights: NDArray[np.float64]
    over: Sequence[Hashable]

    @classmethod
    def of(cls, x: xr.DataArray, y: xr.DataArray, weights: Any, over: Sequence[Hashable] | None, sample: str) -> Truth:
        """The truth of the samples of `x`; by default summed over space, weighted by area. ValueError where it does not fit."""
        if sample not in y.dims:
            raise ValueError(f"y has dims {list(y.dims)}, none of them the sample dim {sample!r}; give sample_dim=")
        y = y.transpose(sample, ...)
        if y.sizes[sample] != x.sizes[sample]:
            raise ValueError(
                f"y has {y.sizes[sample]} samples, x has {x.sizes[sample]}; give the truth of each sample of x"
            )
        if {sample} <= set(x.indexes) & set(y.indexes) and not x.indexes[sample].equals(y.indexes[sample]):
            raise ValueError(f"y has other labels along {sample!r} than x; give y.sel({sample}=x.{sample})")
        over = space_dims(y) if over is None else over
        if weights is None:
            weights = (
                area_weights(y) if set(over) & set(space_dims(y, ["latitude"])) else xr.ones_like(y[0], dtype=float)
            )
        weights = everywhere(in_order_of(y, weights, "weights", "y's"), y[0])
        return cls(y, weights.values, over)

    @property
    def sample(self) -> str:
        """The sample dim."""
        return str(self.y.dims[0])

    def moments(self, f: NDArray[np.float64], at: slice) -> NDArray[np.float64]:
        """Weighted sums (moment, samples, ...) over the dims `over` of predictions `f` of some samples, in the order of `y`."""
        y = self.y.values[at].astype(np.float64)
        w = np.where(np.isnan(y), 0, self.weights)
        y, f = np.nan_to_num(y), np.where(w > 0, f, 0)
        terms = np.stack([np.ones_like(y), (f - y) ** 2, f, y, f**2, y**2, f * y])
        return np.asarray((w * terms).sum(tuple(1 + k for k, d in enumerate(self.y.dims) if d in self.over)))

    def labelled(self, sums: Sequence[NDArray[np.float64]]) -> xr.DataArray:
        """Moments (moment, samples, ...) of several cases as one array (case, moment, sample, ...)."""
        kept = [d for d in self.y.dims if d not in self.over]
        coords = {d: self.y[d] for d in kept if d in self.y.coords and d != self.sample} | {"moment": list(_MOMENTS)}
        return xr.DataArray(np.stack(sums), dims=("case", "moment", *kept), coords=coords)


def skill(sums: xr.DataArray) -> xr.Dataset:
    """Root mean square error `rmse` and anomaly correlation `acc` from sums along ``moment``."""
    mean = sums / sums.sel(moment="weight")
    error, f, y, ff, yy, fy = (mean.sel(moment=name, drop=True) for name in _MOMENTS[1:])
    vf, vy = ff - f**2, yy - y**2
    # The variance of a constant is not 0 but rounding.
    acc = ((fy - f * y) / np.sqrt(vf * vy)).where((vf > 1e-12 * ff) & (vy > 1e-12 * yy))
    return xr.Dataset({"rmse": np.sqrt(error), "acc": acc})


def scores(sums: xr.DataArray, sample: str, blocks: Blocks, time: NDArray[np.int64]) -> xr.Dataset:
    """Skill of each case and its change since the intact input, with intervals over blocks of `time`, the number of each sample's."""

    def with_changes(total: xr.DataArray) -> xr.Dataset:
        found = skill(total)
        change = found - found.sel(case=INTACT, drop=True)
        return found.merge(change.rename({name: f"{name}_change" for name in found.data_vars}))

    block = time // blocks.size_for(int(time.max()) + 1)
    member = xr.DataArray(members(block, int(block.max()) + 1), dims=(BLOCK, sample))
    by_block = xr.dot(member, sums.drop_vars([c for c in sums.coords if sample in sums[c].dims]), dim=sample)
    weights = xr.DataArray(blocks.weights(len(member)), dims=(RESAMPLE, BLOCK))
    resampled = with_changes(xr.dot(weights, by_block, dim=BLOCK))
    out = blocks.interval(with_changes(sums.sum(sample)), resampled, member.sum(sample))
    return within(out, {"rmse": (0.0, None), "acc": (-1.0, 1.0)})
