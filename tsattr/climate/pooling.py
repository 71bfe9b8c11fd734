"""Statistics of importance over thousands of samples, which are not kept in memory, with intervals over blocks of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from ..core.results import check_count
from ..edge.warning import said_once
from ..explain import explain
from ..metrics.intervals import members, neighbours, pulls
from .blocks import BLOCK, RESAMPLE, Blocks, chunks, of_samples, slabs, sorted_by_time, time_of
from .reservoir import Reservoir, quantiles

Function = Callable[[xr.DataArray], xr.Dataset]
"""From a map to statistics of it."""

_ALL = "all"
_TERMS: dict[str, Callable[[Any], Any]] = {"mean": lambda v: v, "mean_absolute": np.abs, "rms": np.square}


@dataclass
class Pool:
    """Statistics of maps over samples that come chunk by chunk, in order of time, and are not kept.

    Samples with dates must come in that order, and those of one time (members of an ensemble) count as one for blocks.

    For each cell, over the samples where it has a value: ``mean = sum a / n``, ``mean_absolute = sum |a| / n``,
    ``rms = sqrt(sum a^2 / n)``, and quantiles. What is kept are the sums of each block of consecutive samples, so that
    intervals need no second pass, and for quantiles at most `keep` maps drawn at random (all, as long as there are no more:
    then they are exact; else a quantile's rank has a standard error of ``sqrt(q (1 - q) / keep)``). Nothing depends on how
    the samples are cut into chunks.

    Parameters
    ----------
    blocks
        `Blocks`, or the number of samples in a block.
    statistics
        Those to keep; each takes ``blocks.most`` maps in float64, as does the count.
    quantiles
        Probabilities, such as ``(0.1, 0.5, 0.9)``: the smallest value that at least this share of the samples does not
        exceed. Their intervals are those of the share, read off the distribution (Woodruff, JASA 1952).
    keep
        The most maps kept for quantiles, of each condition.
    variable
        The variable of a result that is pooled, if it is not ``attribution``.
    sample_dim
        The dim of the samples of a bare DataArray; a result of `explain` has it in its `status`.

    Examples
    --------
    >>> maps = xr.DataArray([[1.0, -1.0], [3.0, 1.0]], dims=("sample", "lat"))
    >>> found = Pool(blocks=1).update(maps[:1]).update(maps[1:]).result()
    >>> found["mean"].values.tolist(), found["mean_absolute"].values.tolist(), found.mean_low.values.round(2).tolist()
    ([2.0, 0.0], [2.0, 1.0], [-10.71, -12.71])
    """

    blocks: Any = field(default_factory=Blocks)
    statistics: Sequence[str] = ("mean", "mean_absolute", "rms")
    quantiles: Sequence[float] = ()
    keep: int = 256
    variable: str = "attribution"
    sample_dim: str = "sample"
    samples: int = field(default=0, init=False)
    by: str | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self.blocks = self.blocks if isinstance(self.blocks, Blocks) else Blocks(self.blocks)
        check_count("keep", self.keep)
        if not self.statistics or (unknown := [s for s in self.statistics if s not in _TERMS]):
            raise ValueError(f"statistics are some of {list(_TERMS)}, got {list(unknown or self.statistics)}")
        if wrong := [q for q in self.quantiles if not 0 <= q <= 1]:
            raise ValueError(f"quantiles are probabilities between 0 and 1, got {wrong}")
        self._rng = np.random.default_rng(self.blocks.seed)
        self._template: xr.DataArray | None = None
        self._times = 0  # so far
        self._last_time: Any = None
        self._sums: dict[str, NDArray[np.float64]] = {}  # by label: (count and statistics, blocks, cells)
        self._reservoirs: dict[str, Reservoir] = {}  # by label

    def update(self, ds: xr.Dataset | xr.DataArray, by: Any = None) -> Pool:
        """Add the next samples.

        Parameters
        ----------
        ds
            A result of `explain`, or maps with a sample dim. NaN cells, and so samples without a map, are left out.
        by
            The condition of each sample, such as the phase of El Nino or the season: labels (samples,), in a DataArray
            whose name becomes that of the dim; or the name of a coordinate, also of a part of a date: ``"sample.year"``. A
            sample labelled NaN, None or "" counts among "all" only.

        Raises
        ------
        KeyError, ValueError
            No such variable or sample dim; cells other than before; labels that do not fit; samples out of order of time.
        """
        maps = self._maps(ds)
        position, last = self._time_numbers(maps)
        labels = self._labels(by, maps)
        values = maps.values.reshape(len(maps), -1)
        values = np.where(np.isfinite(values), values, np.nan)
        size, self._last_time = self._block_size, last
        self.samples, self._times = self.samples + len(values), max(self._times, int(position.max(initial=-1)) + 1)
        self._merge_blocks(size, self._block_size)
        block = position // self._block_size
        random = self._rng.random(len(values))
        for label in np.unique(labels):
            rows = labels == label
            for b in np.unique(block[rows]):  # one by one: in float64 all take several times the chunk's memory
                self._add_sums(str(label), b, values[rows & (block == b)].astype(np.float64))
            if self.quantiles:
                new = Reservoir(random[rows], position[rows], values[rows])
                old = self._reservoirs.get(str(label), new[:0])
                self._reservoirs[str(label)] = Reservoir.joined([old, new], self.keep)
        return self

    def result(self) -> xr.Dataset:
        """The statistics of all samples so far.

        Returns
        -------
        Dataset
            The dims of one map, and with conditions theirs, "all" first: each statistic and ``quantile`` (dim
            ``probability``), with ``_low`` and ``_high``, the ends of its interval; ``samples``, how many have a value.
            Attrs: number of samples and blocks, samples in a block, level; ``intervals``, in words what they rest on, and
            ``block_correlation``, how far neighbouring blocks correlate.
        """
        sums = self._totals()
        count = self._labelled({k: v[0].sum(0) for k, v in sums.items()})
        out = xr.Dataset({"samples": count.astype(int).drop_attrs()})
        for name in self.statistics:
            out[name] = self.maps(name)
            ends = {k: self._interval_ends(name, v[self._terms(name)]) for k, v in sums.items()}
            out[f"{name}_low"], out[f"{name}_high"] = self._labelled(ends, ("end",)).transpose("end", ...)
        if self.quantiles:
            found = self._labelled({k: self._quantiles(k) for k in sums}, ("end", "probability"))
            for end, values in zip(("", "_low", "_high"), found.transpose("end", ...)):
                out[f"quantile{end}"] = values.assign_coords(probability=list(self.quantiles))
        out.attrs = {"samples": self.samples, "blocks": self._number, "samples_in_block": self._block_size}
        _, pull = pulls(*sums[_ALL][self._terms(self.statistics[0])])
        return out.assign_attrs(level=self.blocks.level, **self.blocks.interval_attrs(self._number, [neighbours(pull)]))

    def maps(self, statistic: str = "mean_absolute") -> xr.DataArray:
        """One statistic over all samples, of each condition."""
        terms = self._terms(statistic)
        return self._labelled({k: _mean_of(statistic, *v[terms].sum(1)) for k, v in self._totals().items()})

    def resampled(self, statistic: str = "mean_absolute") -> Iterator[xr.DataArray]:
        """One statistic of each condition over resampled blocks, some resamples (dim ``resample``) at a time."""
        sums = {k: v[self._terms(statistic)] for k, v in self._totals().items()}
        weights = self.blocks.weights(self._number)
        for w in slabs(weights, next(iter(sums.values())).shape[-1] * len(sums), axis=0):
            yield self._labelled({k: _mean_of(statistic, *(w @ v)) for k, v in sums.items()}, (RESAMPLE,))

    def interval(self, f: Function, statistic: str = "mean_absolute") -> xr.Dataset:
        """A function of the pooled map with its interval: `f` of each resample's map.

        Parameters
        ----------
        f
            From a map to a Dataset; it meets the dim ``resample`` besides those of the map, and must keep it.

        Returns
        -------
        Dataset
            As `f` returns it, with ``<name>_low`` and ``<name>_high``; attrs as of `result`.
        """
        parts = [f(maps) for maps in self.resampled(statistic)]
        differ = [name for name, values in parts[0].data_vars.items() if RESAMPLE in values.dims]
        found = xr.concat([part[differ] for part in parts], RESAMPLE)
        count = self._labelled({k: v[0] for k, v in self._totals().items()}, (BLOCK,))
        count = count.max([d for d in count.dims if d not in (BLOCK, self.by)])
        out: xr.Dataset = self.blocks.interval(f(self.maps(statistic)), found.where(self._number > 1), count)
        return out

    @property
    def _block_size(self) -> int:
        """Times in a block."""
        return int(self.blocks.size_for(self._times))

    @property
    def _number(self) -> int:
        """Number of blocks so far."""
        return -(-self._times // self._block_size)

    def _time_numbers(self, maps: xr.DataArray) -> tuple[NDArray[np.int64], Any]:
        """The number of each sample's time in order, without times that of the sample; and the last time."""
        sample = str(maps.dims[0])
        time = time_of(maps, sample)
        if self.samples and (time is None) != (self._last_time is None):
            raise ValueError("some samples carry dates and others none; give all of them theirs, or none")
        if time is None or not len(time):
            return self._times + np.arange(len(maps)), self._last_time
        before = np.concatenate([time[:1] if self._last_time is None else [self._last_time], time[:-1]])
        if (back := time < before).any():
            at = int(np.flatnonzero(back)[0])
            raise ValueError(
                f"blocks are of neighbours in time, and sample {self.samples + at}, of {time[at]}, comes after {before[at]}; sort "
                f"the samples by time before they are cut into chunks, as `pooled` does"
            )
        new = time != before
        return self._times - (self._last_time is not None) + np.cumsum(new), time[-1]

    def _terms(self, statistic: str) -> list[int]:
        """Positions of its sum and of the count among the sums kept."""
        if statistic not in self.statistics:
            raise KeyError(
                f"the pool keeps {list(self.statistics)}, not {statistic!r}: Pool(statistics=({statistic!r}, ...))"
            )
        return [1 + list(self.statistics).index(statistic), 0]

    def _maps(self, ds: xr.Dataset | xr.DataArray) -> xr.DataArray:
        """The maps, samples first and cells as in the first chunk."""
        sample = self.sample_dim
        if isinstance(ds, xr.Dataset):
            if self.variable not in ds:
                raise KeyError(f"the result has no variable {self.variable!r}; it has {list(ds.data_vars)}")
            sample = str(ds["status"].dims[0]) if "status" in ds else sample
            ds = ds[self.variable]
        if sample not in ds.dims:
            raise ValueError(f"the maps have dims {ds.dims}, none of them the sample dim {sample!r}; give sample_dim=")
        like = ds.drop_vars([c for c in ds.coords if sample in ds[c].dims]).isel({sample: 0})
        if self._template is None:
            self._template = like
        expected = self._template
        same = set(like.dims) == set(expected.dims) and all(
            like.sizes[d] == n and (d not in expected.indexes or expected.indexes[d].equals(like.indexes.get(d)))
            for d, n in expected.sizes.items()
        )
        if not same:
            raise ValueError(f"maps {dict(like.sizes)} with other cells than the first chunk's {dict(expected.sizes)}")
        return ds.transpose(sample, *expected.dims)

    def _labels(self, by: Any, maps: xr.DataArray) -> NDArray[np.str_]:
        """The label of each sample, "" for none."""
        if by is None:
            if self.by is not None:
                raise ValueError(f"earlier samples came with a condition {self.by!r}: give by= with these too")
            return np.full(len(maps), "")
        sample = maps.dims[0]
        if isinstance(by, str):
            if by.split(".")[0] not in maps.coords:
                raise KeyError(f"the maps have no coordinate {by!r}; they have {list(map(str, maps.coords))}")
            by = maps[by]
        if isinstance(by, xr.DataArray):
            given, own = by.indexes.get(sample), maps.indexes.get(sample)
            if by.dims != (sample,) or (given is not None and own is not None and not given.equals(own)):
                raise ValueError(
                    f"by has dims {by.dims} or other labels than the maps; give by.sel({sample}=x.{sample})"
                )
        name = str(getattr(by, "name", None) or "condition")
        if self.by not in (None, name) or (self.by is None and self.samples):
            raise ValueError(f"by is called {name!r}, the condition of the earlier samples {self.by!r}; keep to one")
        if name in maps.dims:
            raise ValueError(f"by is called {name!r}, as a dim of the maps is; give by.rename(...)")
        values = np.asarray(by, dtype=object)
        labels = np.array([str(v) if known else "" for v, known in zip(values, pd.notnull(values))], dtype=str)
        if len(labels) != len(maps):
            raise ValueError(f"by has {len(labels)} labels for {len(maps)} samples; give one for each")
        if _ALL in labels:
            raise ValueError(f"a condition is called {_ALL!r}, which stands for all samples; give it another name")
        self.by = name
        return labels

    def _merge_blocks(self, size: int, new: int) -> None:
        """Join neighbouring blocks two by two until their size is the new one."""
        while size < new:
            for label, sums in self._sums.items():
                half = np.zeros_like(sums)
                half[:, : sums.shape[1] // 2] = sums[:, 0::2] + sums[:, 1::2]
                self._sums[label] = half
            size *= 2

    def _add_sums(self, label: str, block: int, values: NDArray[np.float64]) -> None:
        if label not in self._sums:
            # Zeros take no memory before they are written to.
            self._sums[label] = np.zeros((1 + len(self.statistics), self.blocks.most, values.shape[1]))
        known = ~np.isnan(values)
        values = np.where(known, values, 0)
        for total, term in zip(self._sums[label][:, block], (known, *(_TERMS[s](values) for s in self.statistics))):
            total += term.sum(0)

    def _totals(self) -> dict[str, NDArray[np.float64]]:
        """Count and sums (terms, blocks, cells) of all samples and of each condition."""
        if not self._sums:
            raise ValueError("the pool is empty: give it results of explain with update(ds)")
        parts = {label: v[:, : self._number] for label, v in sorted(self._sums.items())}
        total = next(iter(parts.values())) if len(parts) == 1 else np.sum(list(parts.values()), axis=0)
        return {_ALL: total} | {label: v for label, v in parts.items() if label}

    def _labelled(self, found: Mapping[str, NDArray[np.float64]], lead: tuple[str, ...] = ()) -> xr.DataArray:
        """Arrays (*lead, cells) of each condition as labelled maps."""
        template = self._template
        assert template is not None
        values = np.stack(list(found.values()), len(lead))
        values = values.reshape(*values.shape[:-1], *template.shape)
        data = xr.DataArray(
            values, dims=(*lead, "condition", *template.dims), coords=template.coords, attrs=template.attrs
        )
        if self.by is None:
            return data.isel(condition=0)
        return data.rename(condition=self.by).assign_coords({self.by: list(found)})

    def _interval_ends(self, statistic: str, sums: NDArray[np.float64]) -> NDArray[np.float64]:
        """(2, cells): the interval of each cell, from its sum and count (2, blocks, cells)."""
        parts = slabs(sums, 8)  # some copies are made of them
        if statistic == "mean":
            return np.concatenate([self.blocks.mean_interval(part) for part in parts], -1)
        ends = np.concatenate([_on_logarithm(self.blocks.mean_interval(part)) for part in parts], -1)
        return np.sqrt(ends) if statistic == "rms" else ends

    def _quantiles(self, condition: str) -> NDArray[np.float64]:
        """(3, quantiles, cells): of the maps kept, and the ends of their intervals."""
        parts = self._reservoirs.values() if condition == _ALL else [self._reservoirs[condition]]
        sample = Reservoir.joined(parts, self.keep)
        member = members(sample.position // self._block_size, self._number)
        slab = slabs(sample.maps.astype(np.float64), 8)
        return np.concatenate([quantiles(part, member, self.quantiles, self.blocks) for part in slab], -1)


def pooled(
    model: Any, x: Any, method: Any, *, pool: Pool | None = None, by: Any = None, chunk: int = 64, **settings: Any
) -> Pool:
    """Explain samples a chunk at a time and pool their maps, so that neither input nor maps are in memory at once.

    Parameters
    ----------
    model, method
        As in `tsattr.explain`.
    x
        A DataArray or a Dataset; one that is read lazily is read chunk by chunk. Samples with dates are taken in order of time,
        others in their own.
    pool
        A `Pool` to add to; by default a new one.
    by
        The condition of each sample; see `Pool.update`.
    chunk
        Samples explained at once.
    **settings
        Further arguments of `tsattr.explain`. Entries of ``context``, and a ``valid`` that has the sample dim, are cut
        like `x`.

    Returns
    -------
    Pool

    Examples
    --------
    >>> import tsattr as ta
    >>> x = xr.DataArray(np.eye(4), dims=("sample", "lat"))
    >>> pool = pooled(lambda x: x.sum(1), x, ta.IntegratedGradients(), by=["warm", "cold"] * 2, chunk=3)
    >>> pool.result()["mean"].sel(condition="warm").values.round(9).tolist()
    [0.5, 0.0, 0.5, 0.0]
    """
    pool, sample = Pool() if pool is None else pool, settings.get("sample_dim") or "sample"
    by_sample = {name: settings[name] for name in ("context", "valid") if name in settings}
    x, by, by_sample = sorted_by_time(x, sample, by, by_sample)
    with said_once():
        for at, part, part_settings in chunks(x, chunk, settings | by_sample):
            pool.update(explain(model, part, method, **part_settings), of_samples(by, at, sample))
    return pool


def _on_logarithm(ends: NDArray[np.float64]) -> NDArray[np.float64]:
    """The interval (2, cells) made on the logarithm: it covers better, as means of values of at least 0 are skewed."""
    middle = ends.mean(0)
    with np.errstate(invalid="ignore"):
        factor = np.exp(np.where(middle > 0, (ends[1] - middle) / middle, 0 * middle))
        return np.stack([middle / factor, middle * factor])


def _mean_of(statistic: str, total: NDArray[np.float64], count: NDArray[np.float64]) -> NDArray[np.float64]:
    with np.errstate(invalid="ignore"):
        mean = total / count
    return np.sqrt(mean) if statistic == "rms" else mean
