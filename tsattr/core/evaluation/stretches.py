"""What the targets lose when series are absent over a stretch of time; and which stretches belong to which prediction."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from copy import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .. import groups as core_groups
from ..axes import Axes
from ..baselines.forecast import ahead_of, window
from ..bound import Ahead, BoundBaseline, BoundGroups
from ..evaluator import ROUNDING
from ..results import EVENT, Field, check_count
from ..samples import SampleChunk, missing_in
from .choice import stretch_evaluation
from .recurrent import state_size
from .series import Series, StretchEvaluation


@dataclass(frozen=True)
class Timing:
    """Where time lies in the input, and which observations belong to the window of each prediction.

    Attributes
    ----------
    dim, axis
        The dim of time, and its axis in a sample.
    first
        (times,) the first time of the window of each prediction, at least 1 as nothing is known before the first observation.
    spacing, units
        Of an evenly spaced coordinate the step, else None, and its units.
    channels
        Cells of a sample at one time.
    remembered
        Numbers that a recurrent model remembers of a sample at one time.
    """

    dim: str
    axis: int
    first: np.ndarray
    spacing: Any
    units: str
    channels: int
    remembered: int

    @classmethod
    def of(cls, axes: Sequence[Axes], dim: str, size: int | str, module: Any) -> Timing:
        """Windows of a size in cells, or with a unit by the coordinate; of an input of one variable."""
        if len(axes) > 1:
            raise TypeError(
                "a method on prefixes explains one DataArray, the input has several variables; make them features of one "
                "array, in groups of their own, and give what has no time in context="
            )
        (a,) = axes
        axis, n = a.axis(dim), a.shape[a.axis(dim)]
        times = np.arange(n)
        if isinstance(size, str):
            width, p = a.extent(dim, size)
            gap = float(np.diff(p).min()) if n > 1 else width
            if width < gap * (1 - 1e-6):
                raise ValueError(f"a window of {size!r} is shorter than every step of dim {dim!r}")
            first = np.searchsorted(p, p - width + 1e-6 * gap)
        else:
            check_count("window", size)
            first = times - size + 1
        line = np.asarray(a.coords.get(dim, ""))
        steps = np.diff(line) if line.dtype.kind in "fiuMm" else np.zeros(0)
        gaps = steps.astype(float)
        if len(gaps) and (gaps < 0).all():
            raise ValueError(
                f"the coordinate {dim!r} descends, so that a prefix would be the future; give x.sortby({dim!r})"
            )
        even = len(gaps) > 0 and bool(np.allclose(gaps, gaps[0], rtol=1e-3))
        return cls(
            dim,
            axis,
            np.minimum(np.maximum(first, 1), times),
            steps.mean() if even else None,
            str(a.units.get(dim, "")),
            max(1, int(np.prod(a.shape)) // n),
            state_size(module),
        )

    @property
    def times(self) -> int:
        """Length of a series."""
        return len(self.first)

    @property
    def lags(self) -> int:
        """Length of the longest window."""
        return int((np.arange(self.times) - self.first).max()) + 1

    @property
    def arrays(self) -> int:
        """Arrays of a sample's size that are in memory at once: some for each lag, and a recurrent model's states."""
        return 6 * self.lags + self.remembered // self.channels

    def inside(self, *, last: bool = False, ends: np.ndarray | None = None) -> np.ndarray:
        """Bool (times, lags): True where the observation at time a belongs to the window of the prediction at a + lag.

        With `ends` (n,) of padded series, (n, times, lags): there are no predictions from the end on.
        """
        end = np.array(self.times) if ends is None else ends[:, None, None]
        a, lag = np.ogrid[: self.times, : self.lags]
        t = a + lag
        found: np.ndarray = (a >= 1) & (t < end) & (a >= self.first[np.minimum(t, self.times - 1)])
        return found & (t == end - 1) if last else found


def each_series(axes: Axes, dim: str) -> Any:
    """Groups of one series each: one for each combination of the labels of the dims that are not time."""
    others = [d for d in axes.dims if d != dim]
    return core_groups.Along(*others) if others else core_groups.Windows(**{dim: axes.shape[0]})


def whole_series(groups: BoundGroups, samples: SampleChunk, axis: int) -> Tensor:
    """Bool (groups, \\*channels): the series of each group; ValueError where a group is not whole series of all samples."""
    number = torch.arange(len(groups.names), device=samples.x.device)
    if not groups.shared:
        raise ValueError(
            "groups of a method on prefixes are the same in all samples: labels without the sample dim, or, of a class of "
            "your own, shared = True"
        )
    masks = groups.mask(samples.position[:1].expand(len(number)), number)
    masks = masks.expand(len(number), *samples.event).movedim(axis, 1)
    changes = (masks != masks[:, :1]).flatten(1).any(1)
    if changes.any():
        raise ValueError(
            "groups of a method on prefixes are whole series (features, leads, families of them), and "
            f"{groups.names[int(changes.nonzero()[0, 0])]!r} changes along the dim of time; the window says how much of it goes"
        )
    return masks[:, 0]


@dataclass
class Stretches:
    """Losses of the targets when groups of channels are absent over stretches of time.

    Parameters
    ----------
    series, evaluation
        The samples, and what gives the model's outputs at their times.
    forecast, nested
        What takes the place of an absent stretch, and whether it does not depend on how far the gap goes on.
    groups
        Bool (groups, \\*channels).
    begins
        Whether the baseline says what was known before the first observation.
    longest_gap
        A nested forecast is always of so many times, so that a shorter gap gets the same numbers.
    without_first
        Whether the first observation of a series goes too; else it stays, as nothing was known that could take its place.
    """

    series: Series
    evaluation: StretchEvaluation
    forecast: Ahead
    nested: bool
    groups: Tensor
    begins: bool
    longest_gap: int
    without_first: bool = False

    def __post_init__(self) -> None:
        self.outputs = self.evaluation.intact_outputs()
        rows = self.outputs.flatten(0, 1)
        engine = self.series.samples.engine
        self.values = engine.value(rows, rows).reshape(*self.outputs.shape[:2], -1)
        eps = torch.finfo(self.series.x.dtype).eps
        # Kernels of another shape add up in another order: outputs that differ by that alone are equal, their loss 0.
        self.rounding = ROUNDING * eps * self.outputs.nan_to_num().abs().flatten(1).amax(1)

    @classmethod
    def of(
        cls,
        samples: SampleChunk,
        timing: Timing,
        baseline: BoundBaseline,
        groups: BoundGroups,
        *,
        last: bool,
        method: str,
    ) -> Stretches:
        """Of a chunk of samples, with the quickest evaluation of stretches; `method` is the name in error messages."""
        if not baseline.causal:
            raise ValueError(
                f"{method} puts what could be known at the time in the place of the past: its baseline must be causal, and this one "
                "looks at later times, or does not say that it does not (causal = True); use Hold(), Constant(...), Marginal, "
                "Generator, ..."
            )
        axis = 1 + timing.axis
        series = Series(samples, axis)
        evaluation = stretch_evaluation(series, last)
        samples.engine.notes["reading"] = evaluation.name
        forecast = ahead_of(baseline, samples.known, axis)
        channels = whole_series(groups, samples, axis)
        return cls(series, evaluation, forecast, baseline.nested, channels, baseline.begins, timing.lags)

    def complement(self) -> Stretches:
        """The same for all series but those of each group, their first observations included."""
        out = copy(self)
        out.groups, out.without_first = ~self.groups, True
        return out

    @property
    def begun(self) -> Tensor:
        """Int64 (n, groups): the first time before which something of a group had been observed, at least 1."""
        number, times = self.series.samples.n, self.series.times
        if self.begins or (observed := self.series.observed_before) is None:
            return torch.ones((number, len(self.groups)), dtype=torch.int64, device=self.groups.device)
        known = torch.einsum("ntc,gc->ngt", observed.flatten(2).float(), self.groups.flatten(1).float()) > 0
        return times - known.sum(2)

    @property
    def known_before(self) -> Tensor:
        """Bool (n, groups, times): True where something of a group had been observed before."""
        return torch.arange(self.series.times, device=self.groups.device) >= self.begun[..., None]

    def losses(
        self, i: Tensor, start: Tensor, group: Tensor, draw: int, *, gap: int, length: int, every: bool, stream: int = 0
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """``value(x) - value(x without)`` for rows of sample `i` whose `group` is absent at ``start .. start + gap``.

        Yields positions among the rows and (r, length or 1, targets): at `every` time of ``start .. start + length``, or at
        the last of them; times beyond the end give anything. A `stream` other than 0 has random numbers of its own.
        """
        engine = self.series.samples.engine
        engine.expect(len(i))
        batch_key = self.evaluation.batch_key(start)
        size = self.evaluation.work(length)
        for each in torch.unique(batch_key).tolist():
            rows = (batch_key == each).nonzero()[:, 0]

            def run(at: slice, rows: Tensor = rows) -> tuple[Tensor, Tensor]:
                row = rows[at]
                return row, self._loss(
                    i[row], start[row], group[row], draw, gap=gap, length=length, every=every, stream=stream
                )

            for _, found in engine.cut(len(rows), run, size=size):
                yield found

    def _loss(
        self, i: Tensor, start: Tensor, group: Tensor, draw: int, *, gap: int, length: int, every: bool, stream: int
    ) -> Tensor:
        """Losses (r, length or 1, targets) of one batch; see :meth:`losses`."""
        samples, x = self.series.samples, self.series.x
        rows = window(x, i, start, length)
        absent, values = self._replacement(i, start, group, draw, gap, stream, rows.dtype)
        rows[:, :gap] = torch.where(absent & ~torch.isnan(values), values, rows[:, :gap])
        y = self.evaluation(i, start, rows, every)
        time = start[:, None] + (torch.arange(length, device=x.device) if every else length - 1)
        time = time.clamp(max=self.series.times - 1) if self.outputs.shape[1] > 1 else torch.zeros_like(time)
        y0 = self.outputs[i[:, None], time]
        y = torch.where((y - y0).abs() <= self.rounding[i].reshape(-1, *[1] * (y.ndim - 1)), y0, y)
        value = samples.engine.value(y.flatten(0, 1), y0.flatten(0, 1)).reshape(*y.shape[:2], -1)
        return self.values[i[:, None], time] - value

    def _replacement(
        self, i: Tensor, start: Tensor, group: Tensor, draw: int, gap: int, stream: int, dtype: torch.dtype
    ) -> tuple[Tensor, Tensor]:
        """Which cells of a gap (r, gap, \\*channels) are absent, and what takes their place; samples without it are recorded."""
        samples, x = self.series.samples, self.series.x
        channels = self.groups[group]
        key = samples.key(i, torch.full_like(i, draw))
        length = self.longest_gap if self.nested else gap
        values = self.forecast(i, start, length, channels, key.fork(stream) if stream else key)[:, :gap].to(dtype)
        absent = channels[:, None].expand(values.shape)
        unknown = absent & ~torch.isfinite(values)
        if (valid := self.series.valid) is not None and (observed := self.series.observed_before) is not None:
            absent = absent & window(valid, i, start, gap)
            if not (self.begins or self.without_first):  # what a series begins with has nothing to take its place
                absent = absent & window(observed, i, start, gap)
            unknown = unknown & absent & observed[i, start][:, None]  # before that, to know nothing is right
        if unknown.any():
            time = start[:, None] + torch.arange(gap, device=x.device)
            unknown = unknown & (time < self.series.times).reshape(*time.shape, *[1] * (unknown.ndim - 2))
            samples.record_unfilled(i, missing_in(torch.where(unknown, values, 0)))
        return absent, values

    def losses_without_time(self, time: Tensor) -> Tensor:
        """Losses (n, targets, k) at each time (k,) of the intact samples when nothing of that time itself is known."""
        now, before = self.outputs[:, time], self.outputs[:, time - 1]
        value = self.series.samples.engine.value(before.flatten(0, 1), now.flatten(0, 1))
        lost = self.values[:, time] - value.reshape(*now.shape[:2], value.shape[1])
        return lost.transpose(1, 2)

    def to_cells(self, values: Tensor, timing: Timing, names: tuple[str, ...]) -> Field:
        r"""Values (n, targets, groups, times, \*names) as a map: each cell has that of its group, or the mean of its groups."""
        share = self.groups.reshape(len(self.groups), -1).to(values.dtype)
        share = share / share.sum(0)  # NaN where no group holds a series: it has no attribution
        spread = torch.einsum("nkgt...,gc->nk...tc", values, share)
        lead = 2 + len(names)
        spread = spread.reshape(*spread.shape[: lead + 1], *self.groups.shape[1:])
        return Field(("target", *names, EVENT), spread.movedim(lead, lead + timing.axis))
