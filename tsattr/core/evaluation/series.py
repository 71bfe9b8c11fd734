"""Samples as series along time, and the contract of an evaluation of stretches of them."""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass, field
from typing import Self

import torch
from torch import Tensor

from ..evaluator import Evaluation, Unsupported, agree
from ..samples import SampleChunk

_SAME = 1e-4  # of the range of an output over the trials, by which two ways to read it may differ


@dataclass
class SampleSeries:
    """Samples along an axis of time, and the verb that asks the model about stretches of them.

    Attributes
    ----------
    x
        (n, times, \\*channels) the samples, or series made of them for a trial.
    sample
        (n,) the sample whose context and draws each series has.
    observed_before
        Bool like `x`: True where a cell's channel was observed at an earlier time; None where all cells are. A missing cell that
        is a value for the model is no observation either.
    time_steps, evaluations
        (samples,) time steps and rows asked of the model so far.
    """

    samples: SampleChunk
    axis: int
    x: Tensor = field(init=False)
    sample: Tensor = field(init=False)
    observed_before: Tensor | None = field(init=False)
    time_steps: Tensor = field(init=False)
    evaluations: Tensor = field(init=False)
    _intact: Tensor | None = field(init=False)

    def __post_init__(self) -> None:
        self.x = self.samples.x.movedim(self.axis, 1)
        self.sample = self.indices
        observed = ~torch.isnan(self.x) if self.valid is None else self.valid & ~torch.isnan(self.x)
        self.observed_before = None if observed.all() else _one_step_later(observed.cummax(1).values)
        self.evaluations = self.samples.evaluations
        self.time_steps = torch.zeros_like(self.evaluations)
        y, along = self.samples.intact_outputs, self.samples.engine.along
        self._intact = y if y is None else y[:, None] if along is None else y.movedim(1 + along, 1)

    def trial(self, gaps: bool = False) -> SampleSeries:
        """Four series on which an evaluation is tried: the most extreme sample, the one that misses most, else the next, and two
        made of their values.

        One of these has the values in another order, each channel in its own, the other the least and the largest value of each
        channel at random, and with `gaps` none in half of its cells: what a model does not meet in the samples, it may meet where
        something is taken away. A model that reads missing values may look further back where there are some.
        """
        x = torch.where(torch.isfinite(self.x), self.x, 0)
        low, high, middle, spread = x.amin((0, 1)), x.amax((0, 1)), x.mean((0, 1)), x.std((0, 1), correction=0)
        far = ((x - middle) / torch.where(spread > 0, spread, 1)).abs().flatten(1).amax(1)
        pick = far.argsort(descending=True, stable=True)[torch.arange(2, device=x.device) % len(x)]
        if (missing := torch.isnan(self.x).flatten(1).sum(1)).any():
            pick[1] = missing.argmax()
        first, second = self.x[pick]
        rng = torch.Generator().manual_seed(0)
        order, coin = (torch.rand(first.shape, generator=rng).to(x.device) for _ in range(2))
        high = torch.where(high > low, high, low + 1)  # also a channel that never varies gets another value
        extremes = torch.where(torch.isnan(second), second, torch.where(coin < 0.5, low, high))
        if gaps:
            extremes[torch.rand(first.shape, generator=rng).to(x.device) < 0.5] = torch.nan
        trial = copy(self)
        trial.x = torch.stack([first, second, first.gather(0, order.argsort(0)), extremes])
        trial.sample, trial._intact = self.sample[pick].repeat(2), None
        trial.time_steps, trial.evaluations = (torch.zeros_like(self.time_steps) for _ in range(2))
        return trial

    @property
    def indices(self) -> Tensor:
        """Int64 (n,): 0, 1, ..., n - 1."""
        return torch.arange(len(self.x), device=self.x.device)

    @property
    def times(self) -> int:
        """Length of a series."""
        return self.x.shape[1]

    @property
    def output_per_time(self) -> bool:
        """True where the model gives an output for each time, and not one for the series."""
        return self.samples.engine.along is not None

    @property
    def valid(self) -> Tensor | None:
        """Bool (n, times, \\*channels), or None where all cells are valid."""
        return None if self.samples.valid is None else self.samples.valid.movedim(self.axis, 1)

    def outputs(self, i: Tensor, rows: Tensor) -> Tensor:
        """Outputs (r, length or 1, \\*out) of rows (r, length, \\*channels) in the place of series `i`."""
        engine, length = self.samples.engine, rows.shape[1]
        # A copy, as the model may write into its input.
        rows = rows.movedim(1, self.axis).clone(memory_format=torch.contiguous_format)
        sample = self.sample[i]
        self.time_steps.index_add_(0, sample, torch.full_like(sample, length))
        self.evaluations.index_add_(0, sample, torch.ones_like(sample))
        y = engine.outputs(rows, self.samples.position[sample])
        if engine.along is None:
            return y[:, None]
        y = y.movedim(1 + engine.along, 1)
        if y.shape[1] != length:
            raise Unsupported(f"{y.shape[1]} outputs for {length} times")
        return y

    def intact_outputs(self) -> Tensor:
        """Outputs at the intact series: (n, times, \\*out), or (n, 1, \\*out) where the model gives one for the series."""
        if self._intact is None:
            every = self.indices
            batches = self.samples.engine.cut(len(every), lambda at: self.outputs(every[at], self.x[at]))
            self._intact = torch.cat([y for _, y in batches])
        return self._intact

    def check_same(self, y: Tensor, expected: Tensor) -> None:
        """Raise `Unsupported` unless outputs agree but for rounding, by the range of each over the intact series and times."""
        among = self.intact_outputs().flatten(0, 1)
        agree(y, expected, among, share=_SAME, eps=torch.finfo(self.x.dtype).eps)


class StretchEvaluation(Evaluation):
    """One way to get the outputs at the times of a stretch whose values are replaced, after the past of the intact series.

    Its signature is not that of a `RemovalEvaluation`: rows are stretches and not samples, of one length, their outputs belong to
    times, and which of them may share a batch depends on where they start. The first that holds is taken, in an order that is
    always that of their `work`.

    Parameters
    ----------
    series
        The samples.
    last
        Read the model at the last time alone.
    """

    name = "prefixes"

    def __init__(self, series: SampleSeries, last: bool = False) -> None:
        self.series, self.last = series, last
        self.times = series.times

    @classmethod
    def tried(cls, series: SampleSeries, trial: SampleSeries, last: bool) -> Self:
        """One for the samples, after it gave on a trial what the model gives; `Unsupported` where it did not."""
        raise NotImplementedError

    def batch_key(self, start: Tensor) -> Tensor:
        """A number for each start (r,); rows of equal numbers can be asked about in one batch."""
        return start

    def work(self, length: int) -> float:
        """What a row of `length` times costs, in shares of a forward pass of a whole sample."""
        return 1.0

    def __call__(self, i: Tensor, start: Tensor, rows: Tensor, every: bool) -> Tensor:
        """Outputs with ``rows[:, j]`` in the place of time ``start + j`` of series `i`.

        (r, length, \\*out) for `every` time of the stretch, else (r, 1, \\*out) at the last of them. Rows share a `batch_key`; what
        lies beyond the end of the series may be anything.
        """
        raise NotImplementedError

    def intact_outputs(self) -> Tensor:
        """Outputs (n, times, \\*out) at the intact samples; at the last time alone, (n, 1, \\*out), with `last`."""
        if self.last:
            return self.series.intact_outputs()[:, -1:]
        return self.series.intact_outputs() if self.series.output_per_time else self._outputs_of_prefixes()

    def _outputs_of_prefixes(self) -> Tensor:
        """Outputs (n, times, \\*out), each the last one of a prefix of an intact sample."""
        every = self.series.indices
        return torch.cat([self._outputs_at(every, torch.full_like(every, t)) for t in range(self.times)], 1)

    def _outputs_at(self, i: Tensor, time: Tensor) -> Tensor:
        """Outputs (r, 1, \\*out) of intact samples at one time each, all of one `batch_key`."""
        rows = self.series.x[i, time][:, None]
        batches = self.series.samples.engine.cut(len(i), lambda at: self(i[at], time[at], rows[at], False))
        return torch.cat([y for _, y in batches])


def pad_times(y: Tensor, length: int) -> Tensor:
    """`y` (r, m, ...) with its last entry repeated up to `length`: times beyond the end, which nobody reads."""
    return y if y.shape[1] == length else torch.cat([y, y[:, -1:].expand(-1, length - y.shape[1], *y.shape[2:])], 1)


def spliced(before: Tensor, after: Tensor, time: int) -> Tensor:
    """SampleSeries (n, times, ...) that are `before` up to a time, and `after` from there on."""
    return torch.cat([before[:, :time], after[:, time:]], 1)


def _one_step_later(flags: Tensor) -> Tensor:
    """Bool (n, times, ...), at each time that of the time before; at the first, False."""
    return torch.cat([torch.zeros_like(flags[:, :1]), flags[:, :-1]], 1)
