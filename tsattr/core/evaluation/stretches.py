"""What the targets lose when series are absent over a stretch of time."""

from __future__ import annotations

from collections.abc import Iterator
from copy import copy
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..baselines.forecast import ahead_of, window
from ..bound import Ahead, BoundBaseline, BoundGroups
from ..engine import out_of_memory
from ..evaluator import ROUNDING
from ..keys import Key
from ..results import EVENT, Field
from ..samples import SampleChunk, missing_in, unread
from .choice import stretch_evaluation
from .series import SampleSeries, StretchEvaluation
from .timing import Timing


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


@dataclass(frozen=True)
class StretchRemoval:
    """SampleSeries without one group over a stretch of time, a row for each: what is asked, before any row is built.

    Parameters
    ----------
    i, start, group
        (r,) each row's sample, its first absent time, and its absent group.
    draw
        The number of the baseline's draw.
    gap
        How many times are absent from the start on.
    length
        How many times after the start the model is read, at least `gap`.
    every
        True to read it at all of these times, False at the last of them.
    stream
        Other than 0, random numbers of its own.
    """

    i: Tensor
    start: Tensor
    group: Tensor
    draw: int
    gap: int
    length: int
    every: bool
    stream: int = 0

    def __len__(self) -> int:
        return len(self.i)

    def pick(self, rows: Tensor) -> StretchRemoval:
        """Some of the rows, by their numbers."""
        return replace(self, i=self.i[rows], start=self.start[rows], group=self.group[rows])

    def key(self, samples: SampleChunk) -> Key:
        """The random key of each row."""
        key = samples.key(self.i, torch.full_like(self.i, self.draw))
        return key.fork(self.stream) if self.stream else key


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
    gaps_of
        The baseline whose missing cells take the place of others; None where it has none.
    directed
        Whether losses of what the model says in one number come after those of targets that say only how far it moves.
    """

    series: SampleSeries
    evaluation: StretchEvaluation
    forecast: Ahead
    nested: bool
    groups: Tensor
    begins: bool
    longest_gap: int
    without_first: bool = False
    gaps_of: BoundBaseline | None = None
    directed: bool = False

    def __post_init__(self) -> None:
        self.outputs = self.evaluation.intact_outputs()
        rows = self.outputs.flatten(0, 1)
        engine = self.series.samples.engine
        self.values = engine.value(rows, rows).reshape(*self.outputs.shape[:2], -1)
        self.last = self.outputs[self.series.indices, self._last_time()]
        last = self.last.repeat_interleave(self.outputs.shape[1], 0)
        self.levels = engine.level(rows, last).reshape(self.values.shape)
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
        directed: bool = False,
    ) -> Stretches:
        """Of a chunk of samples, with the quickest evaluation of stretches; `method` is the name in error messages."""
        if not baseline.causal:
            raise ValueError(
                f"{method} puts what could be known at the time in the place of the past: its baseline must be causal, and this one "
                "looks at later times, or does not say that it does not (causal = True); use Hold(), Constant(...), Marginal, "
                "Generator, ..."
            )
        axis = 1 + timing.axis
        series = SampleSeries(samples, axis)
        evaluation = stretch_evaluation(series, last, gaps=baseline.gaps > 0)
        samples.engine.notes["reading"] = evaluation.name
        forecast = ahead_of(baseline, samples.known, axis)
        channels = whole_series(groups, samples, axis)
        return cls(
            series,
            evaluation,
            forecast,
            baseline.nested,
            channels,
            baseline.begins,
            timing.lags,
            gaps_of=baseline if baseline.gaps else None,
            directed=directed and samples.engine.bound.unsigned,
        )

    def complement(self) -> Stretches:
        """The same for all series but those of each group, their first observations included."""
        out = copy(self)
        out.groups, out.without_first = ~self.groups, True
        return out

    @property
    def columns(self) -> int:
        """How many losses there are: of each target, and where they are `directed` of what the model says for each."""
        return self.values.shape[-1] * (1 + self.directed)

    @property
    def said(self) -> Tensor:
        """What the model says at each time in one number, (n, targets, times); NaN beyond the end of a padded series."""
        times = torch.arange(self.series.times, device=self.levels.device)
        return torch.where(times <= self._last_time()[:, None], self.levels.movedim(2, 0), torch.nan).movedim(0, 1)

    def _last_time(self) -> Tensor:
        """(n,) the last time at which the model was read."""
        ends, read = self.series.samples.ends, self.outputs.shape[1]
        whole = torch.full((len(self.outputs),), read, device=self.outputs.device)
        return (whole if ends is None else whole.minimum(ends.to(whole.device).clamp(min=1))) - 1

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

    def losses(self, removal: StretchRemoval) -> Iterator[tuple[Tensor, Tensor]]:
        """``value(x) - value(x without)``, batch by batch, for the rows of a removal.

        Yields the numbers of some rows and their losses (r, length or 1, targets): at `every` time of the removal's length, or
        at the last of them; times beyond the end give anything.
        """
        engine = self.series.samples.engine
        engine.expect(len(removal))
        batch_key = self.evaluation.batch_key(removal.start)
        size = self.evaluation.work(removal.length)
        for key in torch.unique(batch_key).tolist():
            rows = (batch_key == key).nonzero()[:, 0]

            def run(at: slice, rows: Tensor = rows) -> tuple[Tensor, Tensor]:
                return rows[at], self._losses(removal.pick(rows[at]))

            for _, found in engine.cut(len(rows), run, size=size):
                yield found

    def _losses(self, removal: StretchRemoval) -> Tensor:
        """Losses (r, length or 1, columns) of one batch."""
        series, (i, start, gap) = self.series, (removal.i, removal.start, removal.gap)
        rows = window(series.x, i, start, removal.length)
        absent, values = self._replacement(removal)
        known = absent if self.gaps_of else absent & ~torch.isnan(values)
        rows[:, :gap] = torch.where(known, values, rows[:, :gap])
        y = self._outputs(removal, rows)
        steps = torch.arange(removal.length, device=i.device) if removal.every else removal.length - 1
        time = start[:, None] + steps
        time = time.clamp(max=series.times - 1) if self.outputs.shape[1] > 1 else torch.zeros_like(time)
        y0 = self.outputs[i[:, None], time]
        y = torch.where((y - y0).abs() <= self.rounding[i].reshape(-1, *[1] * (y.ndim - 1)), y0, y)
        engine, rows = series.samples.engine, y.flatten(0, 1)
        lost = self.values[i[:, None], time] - engine.value(rows, y0.flatten(0, 1)).reshape(*y.shape[:2], -1)
        if not self.directed:
            return lost
        level = engine.level(rows, self.last[i].repeat_interleave(y.shape[1], 0)).reshape(lost.shape)
        return torch.cat([lost, self.levels[i[:, None], time] - level], -1)

    def _outputs(self, removal: StretchRemoval, rows: Tensor) -> Tensor:
        """Outputs (r, length or 1, \\*out) at rows of a removal; UnreadError where a model does not read what is missing in them."""
        i, start = removal.i, removal.start
        gaps = torch.isnan(rows).flatten(1).any(1) if self.gaps_of else torch.zeros_like(i, dtype=torch.bool)
        try:
            y = self.evaluation(i, start, rows, removal.every)
        except Exception as error:
            if out_of_memory(error) or not gaps.any():
                raise
            raise unread(self.gaps_of, error) from error
        if torch.isnan(y[gaps]).any() and torch.isfinite(self.outputs[i[gaps]]).all():
            raise unread(self.gaps_of, "its output is NaN")
        return y

    def _replacement(self, removal: StretchRemoval) -> tuple[Tensor, Tensor]:
        """The absent cells (r, gap, \\*channels) and what takes their place; samples without it are recorded."""
        series, (i, start, gap) = self.series, (removal.i, removal.start, removal.gap)
        channels = self.groups[removal.group]
        length = self.longest_gap if self.nested else gap
        values = self.forecast(i, start, length, channels, removal.key(series.samples))[:, :gap].to(series.x.dtype)
        absent = channels[:, None].expand(values.shape)
        unknown = absent & ~torch.isfinite(values)
        if (valid := series.valid) is not None:
            absent = absent & window(valid, i, start, gap)
        if (observed := series.observed_before) is not None:
            if not (self.begins or self.without_first):  # what a series begins with has nothing to take its place
                absent = absent & window(observed, i, start, gap)
            unknown = unknown & absent & observed[i, start][:, None]  # before that, to know nothing is right
        if unknown.any() and not self.gaps_of:
            time = start[:, None] + torch.arange(gap, device=i.device)
            unknown = unknown & (time < series.times).reshape(*time.shape, *[1] * (unknown.ndim - 2))
            unknown = unknown & ~torch.isnan(
                window(series.x, i, start, gap)
            )  # where a series has no value it lacks none
            series.samples.record_unfilled(i, missing_in(torch.where(unknown, values, 0)))
        return absent, values

    def losses_without_time(self, time: Tensor) -> Tensor:
        """Losses (n, targets, k) at each time (k,) of the intact samples when nothing of that time itself is known."""
        now, before = self.outputs[:, time], self.outputs[:, time - 1]
        value = self.series.samples.engine.value(before.flatten(0, 1), now.flatten(0, 1))
        lost = self.values[:, time] - value.reshape(*now.shape[:2], value.shape[1])
        return lost.transpose(1, 2)

    def to_cells(self, values: Tensor, names: tuple[str, ...] = ()) -> Field:
        r"""Values (n, targets, groups, times, \*names) as a map: each cell has that of its group, or the mean of its groups."""
        share = self.groups.reshape(len(self.groups), -1).to(values.dtype)
        share = share / share.sum(0)  # NaN where no group holds a series: it has no attribution
        spread = torch.einsum("nkgt...,gc->nk...tc", values, share)
        lead = 2 + len(names)
        spread = spread.reshape(*spread.shape[: lead + 1], *self.groups.shape[1:])
        return Field(("target", *names, EVENT), spread.movedim(lead, lead + self.series.axis - 1))
