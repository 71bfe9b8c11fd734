"""Consecutive samples: the chunks that are in memory at once, and the blocks whose scatter gives an interval."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from ..core.cf import role
from ..core.results import check_count
from ..metrics.intervals import half_width, neighbours, pulls

RESAMPLE = "resample"
BLOCK = "block"
_SLAB = 2**23  # numbers in memory at once while resampling
_FEW = 6  # blocks from which on intervals have their nominal coverage
_CORRELATED = 0.25  # neighbouring blocks correlate by 0.22 where the memory is a third of a block
_MEMBERS = ("member", "realization", "realisation", "ensemble")


@dataclass(frozen=True)
class Blocks:
    """Blocks of consecutive samples, and the intervals that their scatter gives.

    Neighbouring months correlate: intervals from single months would be too narrow, so they are of whole blocks. Samples of one
    time, such as the members of an ensemble, count as one and lie in one block. An interval is of Student's t on the slow part of the
    blocks' scatter (see `tsattr.metrics.intervals`): it has its nominal coverage from six blocks on while the samples' memory, the time
    in which their autocorrelation falls to 1/e, is at most a third of a block, as on AR(1) series
    (examples/studies/coverage.py; blocks of 12, 95 % intervals, percentiles of resampled blocks in brackets):

    =========  ===========  ===========  ===========  ===========
    memory     6 blocks     12 blocks    30 blocks    64 blocks
    =========  ===========  ===========  ===========  ===========
    none       .949 (.854)  .948 (.912)  .952 (.930)  .952 (.946)
    1/6 block  .934 (.818)  .942 (.887)  .942 (.893)  .945 (.914)
    1/3 block  .933 (.790)  .940 (.846)  .944 (.871)  .942 (.880)
    1 block    .874 (.615)  .887 (.694)  .912 (.718)  .929 (.759)
    =========  ===========  ===========  ===========  ===========

    With fewer blocks it is wide, and covers less where neighbouring blocks correlate; with one there is none (NaN); for a
    condition that holds in few blocks it is wider than necessary. ``attrs["intervals"]`` says in words what intervals rest on,
    ``attrs["block_correlation"]`` how far neighbouring blocks correlate: fewer than a dozen hardly show it, so make blocks long
    rather than many.

    Parameters
    ----------
    size
        Samples in a block: 12 for a year of months. Of samples that share their times, times.
    most
        The most blocks that are kept: for more samples neighbours are joined two by two, into blocks twice as long.
    resamples, seed
        Number of resamples of blocks for functions of a pooled map, many more than there are blocks, and their seed.
    level
        Coverage of each interval.
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

    def size_for(self, samples: int) -> int:
        """The size of a block for so many samples: doubled until there are at most `most`."""
        size = self.size
        while samples > size * self.most:
            size *= 2
        return size

    def weights(self, number: int) -> NDArray[np.float64]:
        """(resamples, number): how often each block is in each resample; NaN for a single block."""
        if number < 2:  # which has no scatter
            return np.full((self.resamples, number), np.nan)
        chance = np.full(number, 1 / number)
        return np.random.default_rng(self.seed).multinomial(number, chance, self.resamples).astype(np.float64)

    def mean_interval(self, sums: NDArray[np.float64]) -> NDArray[np.float64]:
        """(2, cells): the interval of the mean, from its sums and counts (2, blocks, cells)."""
        mean, pull = pulls(*sums)
        half = half_width(pull, sums[1], level=self.level, ordered=True)
        return np.stack([mean - half, mean + half])

    def ends(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """(2, ...): the ends of the middle `level` of values (resamples, ...); NaN where no resample has one."""
        tail = (1 - self.level) / 2
        found = np.full((2, *values.shape[1:]), np.nan)
        known = np.isfinite(values).sum(0)
        for kind, quantile in (
            (known == len(values), np.quantile),
            ((known > 0) & (known < len(values)), np.nanquantile),
        ):
            if kind.any():  # nanquantile takes many times as long
                found[:, kind] = quantile(values[:, kind], [tail, 1 - tail], axis=0)
        return found

    def interval(self, whole: xr.Dataset, resampled: xr.Dataset, count: xr.DataArray) -> xr.Dataset:
        """`whole` with ``<name>_low`` and ``<name>_high`` of each variable of `resampled` (dim ``resample``).

        What a block adds to a variable's deviation is the slope of the variable on how often the block is drawn; Student's t is
        made of these. What moves in jumps, such as a radius, has hardly a slope: each interval holds at least the percentiles
        of the resamples.

        Parameters
        ----------
        count
            Samples in each block (dim ``block``), and of each condition, the first of which is of all samples.
        """
        out, number = whole.copy(), count.sizes[BLOCK]
        drawn = self.weights(number)
        # Every resample has as many blocks: what is left of that direction is rounding.
        slope = np.linalg.pinv(drawn - drawn.mean(0), rcond=1e-9) if number > 1 else np.zeros((1, len(drawn)))
        correlations = []
        for name, values in resampled.data_vars.items():
            center = whole[name]
            own_count = count.isel({d: 0 for d in count.dims if d != BLOCK and d not in center.dims})
            share = own_count.broadcast_like(center).transpose(BLOCK, *center.dims).values.astype(np.float64)
            again = values.transpose(RESAMPLE, *center.dims).values
            change = np.where(np.isfinite(again), again - center.values, 0)
            pull = np.tensordot(slope, change, 1)
            half = half_width(pull, share, level=self.level, ordered=True)
            low, high = self.ends(again)
            ends = np.minimum(center.values - half, low), np.maximum(center.values + half, high)
            for end, found in zip(("low", "high"), ends):
                out[f"{name}_{end}"] = center.copy(data=found)
            correlations.append(neighbours(pull))
        return out.assign_attrs(level=self.level, resamples=self.resamples, **self.interval_attrs(number, correlations))

    def interval_attrs(self, number: int, correlations: Sequence[float]) -> dict[str, Any]:
        """The attrs of intervals from so many blocks: in words what they rest on, and how far neighbouring blocks correlate."""
        known = [r for r in correlations if np.isfinite(r)]
        correlation = float(np.mean(known)) if known else np.nan
        if number < 2:
            return {"intervals": "One block says nothing of its scatter: there are no intervals."}
        words = f"{self.level:.0%} intervals: Student's t over {number} blocks of samples in order of time."
        if number < _FEW:
            words += f" With fewer than {_FEW} blocks they are wide, and cover as they say only where blocks are independent."
        if correlation > _CORRELATED:
            words += (
                f" Neighbouring blocks correlate by {correlation:.2f}: they may be too short for the samples' memory, and "
                "intervals then cover less than they say; give longer blocks."
            )
        return {"intervals": words, "block_correlation": correlation}


def time_of(x: xr.DataArray | xr.Dataset, sample: str) -> NDArray[Any] | None:
    """The time of each sample (samples,), by which blocks are made; None where there is none, and samples are in order.

    Dates along the sample dim (its own, those called ``time``, or the first that there are), or numbers called ``time``.

    Raises
    ------
    ValueError
        Samples without a date, or members of an ensemble without any.
    """
    along = [c for c in x.coords.values() if c.dims == (sample,)]
    times = [c for c in along if c.dtype.kind != "m" and hasattr(c, "dt")]
    times += [c for c in along if role(c.name, c.attrs) == "time"]
    times.sort(key=lambda c: (c.name != sample, c.name != "time"))
    if not times:
        if members := [c.name for c in along if c.name in _MEMBERS or c.attrs.get("standard_name") == "realization"]:
            raise ValueError(
                f"samples have a {members[0]!r} and no time, so that members of one time cannot be kept in one block; give it: "
                f"x.assign_coords(time=({sample!r}, dates))"
            )
        return None
    if bool(times[0].isnull().any()):
        raise ValueError(f"{times[0].name!r} lacks the time of {int(times[0].isnull().sum())} samples; drop them")
    return np.asarray(times[0].values)


def time_numbers(x: xr.DataArray | xr.Dataset, sample: str) -> NDArray[np.int64]:
    """The number (samples,) of each sample's time among all times in order; without times, that of the sample."""
    time = time_of(x, sample)
    return np.arange(x.sizes[sample]) if time is None else np.unique(time, return_inverse=True)[1].reshape(-1)


def sorted_by_time(x: Any, sample: str, *others: Any) -> tuple[Any, ...]:
    """`x` sorted by time, and others with an entry for each sample likewise; unchanged where they are in order."""
    time = time_of(x, sample) if isinstance(x, xr.DataArray | xr.Dataset) and sample in x.dims else None
    if time is None or (time[1:] >= time[:-1]).all():
        return x, *others
    if sample not in x.coords:  # random draws are known by it
        x = x.assign_coords({sample: np.arange(x.sizes[sample])})
    order = np.argsort(time, kind="stable")
    return x.isel({sample: order}), *(of_samples(v, order, sample) for v in others)


def within(ds: xr.Dataset, bounds: Mapping[str, tuple[float | None, float | None]]) -> xr.Dataset:
    """`ds` with the intervals of some variables clipped to the range of their values."""
    for name, (least, most) in bounds.items():
        for end in {f"{name}_low", f"{name}_high"} & set(ds.data_vars):
            ds[end] = ds[end].copy(data=np.clip(ds[end].values, least, most))
    return ds


def slabs(values: NDArray[np.float64], copies: int, axis: int = -1) -> list[NDArray[np.float64]]:
    """`values` in parts along an axis, each so small that `copies` of it stay within a slab of memory."""
    return np.array_split(values, -(-values.shape[axis] * copies // _SLAB), axis)


def chunks(x: Any, size: int, settings: Mapping[str, Any]) -> Iterator[tuple[slice, Any, dict[str, Any]]]:
    """Samples of `x` a chunk at a time, with the arguments of `explain` that belong to them.

    Samples without a coordinate are numbered, so that random draws are those of the whole. The model is tried on the first.
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
        by_sample = {name: of_samples(settings[name], at, sample) for name in ("context", "valid") if name in settings}
        yield at, x.isel({sample: at}), {**settings, **by_sample, "check": start == 0 and settings.get("check", True)}


def of_samples(values: Any, at: slice | NDArray[np.int64], sample: str | None = None) -> Any:
    """The entries of some samples, of values with one for each; values without a sample dim as they are."""
    if isinstance(values, xr.DataArray | xr.Dataset):
        return values.isel({sample or "sample": at}, missing_dims="ignore")
    if isinstance(values, Mapping):
        return {k: of_samples(v, at, sample) for k, v in values.items()}
    if isinstance(values, pd.Series | pd.DataFrame):  # whose [] goes by label
        return values.iloc[at]
    if isinstance(values, str):  # the name of a coordinate
        return values
    if isinstance(values, Sequence) and not isinstance(at, slice):
        return [values[k] for k in at]
    return None if values is None else values[at]
