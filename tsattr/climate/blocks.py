"""Consecutive samples: the chunks that are worked on at once, and the blocks that are resampled for an interval."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from ..core.results import check_count

RESAMPLE = "resample"
_SLAB = 2**23  # numbers held at once while resampling


@dataclass(frozen=True)
class Blocks:
    """Blocks of consecutive samples, and how they are resampled for an interval.

    Neighbouring months are alike: resampled one by one they would promise too much, so whole blocks are, with replacement,
    and an interval holds the middle `level` of what the resamples give. A block should be longer than the samples'
    memory. With fewer than ten blocks intervals cover somewhat less than they say, and with one there is none (NaN).

    Parameters
    ----------
    size
        Samples in a block: 12 for a year of months.
    most
        The most blocks that are kept: beyond, neighbours are joined two by two, and blocks are twice as long.
    resamples, level, seed
        Number of resamples, coverage of each percentile interval, seed.
    """

    size: int = 12
    most: int = 64
    resamples: int = 1000
    level: float = 0.95
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("size", "most", "resamples"):
            check_count(name, getattr(self, name))
        if self.most < 2 or self.most % 2:
            raise ValueError(f"most is an even number of blocks, as they are joined two by two, got {self.most}")
        if not 0 < self.level < 1:
            raise ValueError(f"level is the coverage of an interval, between 0 and 1, got {self.level}")

    def joined(self, samples: int) -> int:
        """The length of a block once so many samples have been seen."""
        size = self.size
        while samples > size * self.most:
            size *= 2
        return size

    def weights(self, number: int) -> NDArray[np.float64]:
        """(resamples, number): how often each block is in each resample; NaN for a single block."""
        if number < 2:  # nothing is known of its scatter
            return np.full((self.resamples, number), np.nan)
        chance = np.full(number, 1 / number)
        return np.random.default_rng(self.seed).multinomial(number, chance, self.resamples).astype(np.float64)

    def ends(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """(2, ...): the interval's ends, of values (resamples, ...); NaN where no resample has one."""
        tail = (1 - self.level) / 2
        found = np.full((2, *values.shape[1:]), np.nan)
        known = np.isfinite(values).sum(0)
        for kind, quantile in (
            (known == len(values), np.quantile),
            ((known > 0) & (known < len(values)), np.nanquantile),
        ):
            if kind.any():  # the one that looks for NaN takes many times as long
                found[:, kind] = quantile(values[:, kind], [tail, 1 - tail], axis=0)
        return found

    def interval(self, whole: xr.Dataset, resampled: xr.Dataset) -> xr.Dataset:
        """`whole` with ``<name>_low`` and ``<name>_high`` of each variable of `resampled` (dim ``resample``)."""
        out = whole.copy()
        for name, values in resampled.data_vars.items():
            ends = self.ends(values.transpose(RESAMPLE, *whole[name].dims).values)
            out[f"{name}_low"], out[f"{name}_high"] = (whole[name].copy(data=end) for end in ends)
        return out.assign_attrs(level=self.level, resamples=self.resamples)


def slabs(values: NDArray[np.float64], copies: int, axis: int = -1) -> list[NDArray[np.float64]]:
    """`values` in parts along an axis, small enough that `copies` numbers for each entry are not too many."""
    return np.array_split(values, -(-values.shape[axis] * copies // _SLAB), axis)


def chunks(x: Any, size: int, settings: Mapping[str, Any]) -> Iterator[tuple[slice, Any, dict[str, Any]]]:
    """Samples of `x` a chunk at a time, with the arguments of `explain` that belong to them.

    Samples without a coordinate are numbered, so that random draws are those of the whole.
    """
    if not isinstance(x, xr.DataArray | xr.Dataset):
        raise TypeError(f"x is a DataArray or a Dataset, got {type(x).__name__}; label it: xr.DataArray(x, dims=...)")
    check_count("chunk", size)
    sample = settings.get("sample_dim") or "sample"
    if sample not in x.dims:
        raise ValueError(f"x has dims {list(x.dims)}, none of them the sample dim {sample!r}; give sample_dim=")
    if sample not in x.coords:
        x = x.assign_coords({sample: np.arange(x.sizes[sample])})
    for start in range(0, x.sizes[sample], size):
        at = slice(start, start + size)
        own = {name: cut(settings[name], at, sample) for name in ("context", "valid") if name in settings}
        yield at, x.isel({sample: at}), {**settings, **own}


def cut(values: Any, at: slice, sample: str | None = None) -> Any:
    """The entries of some samples, of what has one for each; what has no sample dim as it is."""
    if isinstance(values, xr.DataArray | xr.Dataset):
        return values.isel({sample or "sample": at}, missing_dims="ignore")
    if isinstance(values, Mapping):
        return {k: cut(v, at, sample) for k, v in values.items()}
    return None if values is None else values[at]
