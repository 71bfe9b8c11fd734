"""What a model says at each time of a series from its past, and what it would say had a stretch of time been otherwise.

Which way is the quickest depends on the model, and is found by trial on the samples themselves, never by its name:

* **recurrent state**: a module whose memory of the past is the state of its `nn.RNN`, `nn.GRU` or `nn.LSTM` layers, of
  whatever depth, is asked about the stretch alone, from the state before it;
* **one pass**: a causal model that gives one output for each time is asked once up to the end of the stretch, of finite
  receptive field from where it still sees;
* **prefixes**: any other model is asked about each prefix by itself, and its last output is read.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Self

import torch
from torch import Tensor, nn

from ..baselines.forecast import window
from ..evaluator import Evaluation, Unsupported, agree, attempt, raise_if_out_of_memory
from ..samples import SampleChunk
from ..untouched import hooked

_SAME = 1e-4  # of the range of an output over the trials, by which two ways to read it may differ


@dataclass
class Series:
    """Samples along an axis of time, and the verb that asks the model about stretches of them.

    `x`, `valid` and `seen` (what had been observed before a time; None where all is valid) are (n, times, \\*channels), `who` is
    the sample of each series; `steps` counts the time steps asked of the model for each sample.
    """

    samples: SampleChunk
    axis: int
    x: Tensor = field(init=False)
    who: Tensor = field(init=False)
    seen: Tensor | None = field(init=False)
    steps: Tensor = field(init=False)
    evaluations: Tensor = field(init=False)
    outputs: Tensor | None = field(init=False)

    def __post_init__(self) -> None:
        self.x = self.samples.x.movedim(self.axis, 1)
        self.who = torch.arange(len(self.x), device=self.x.device)
        self.seen = None if (valid := self.valid) is None else _shifted(valid.cummax(1).values)
        self.evaluations = self.samples.evaluations
        self.steps = torch.zeros_like(self.evaluations)
        y, along = self.samples.intact_outputs, self.samples.engine.along
        self.outputs = y if y is None else y[:, None] if along is None else y.movedim(1 + along, 1)

    def trial(self) -> Series:
        """Four series on which a way to read the model is tried: the two most extreme samples, and two made of their values.

        One of these has the values in another order, each channel in its own, the other the least and the largest value of each
        channel at random: what a model does not meet in the samples, it may meet where something is taken away.
        """
        x = torch.where(torch.isfinite(self.x), self.x, 0)
        low, high, middle, spread = x.amin((0, 1)), x.amax((0, 1)), x.mean((0, 1)), x.std((0, 1), correction=0)
        far = ((x - middle) / torch.where(spread > 0, spread, 1)).abs().flatten(1).amax(1)
        pick = far.argsort(descending=True, stable=True)[torch.arange(2, device=x.device) % len(x)]
        first, second = self.x[pick]
        rng = torch.Generator().manual_seed(0)
        order, coin = (torch.rand(first.shape, generator=rng).to(x.device) for _ in range(2))
        high = torch.where(high > low, high, low + 1)  # also a channel that never varies gets another value
        extremes = torch.where(torch.isnan(second), second, torch.where(coin < 0.5, low, high))
        trial = copy(self)
        trial.x = torch.stack([first, second, first.gather(0, order.argsort(0)), extremes])
        trial.who, trial.outputs = self.who[pick].repeat(2), None
        trial.steps, trial.evaluations = (torch.zeros_like(self.steps) for _ in range(2))
        return trial

    @property
    def times(self) -> int:
        """Length of a series."""
        return self.x.shape[1]

    @property
    def every(self) -> bool:
        """True where the model gives an output for each time, and not one for the series."""
        return self.samples.engine.along is not None

    @property
    def valid(self) -> Tensor | None:
        """Bool (n, times, \\*channels), or None where all cells are."""
        return None if self.samples.valid is None else self.samples.valid.movedim(self.axis, 1)

    def ask(self, i: Tensor, rows: Tensor) -> Tensor:
        """Outputs (r, length or 1, \\*out) of rows (r, length, \\*channels) in the place of sample `i`."""
        engine = self.samples.engine
        rows = rows.movedim(1, self.axis).clone(
            memory_format=torch.contiguous_format
        )  # the model may write into its input
        who = self.who[i]
        self.steps.index_add_(0, who, torch.full_like(who, rows.shape[self.axis]))
        self.evaluations.index_add_(0, who, torch.ones_like(who))
        y = engine.outputs(rows, self.samples.position[who])
        if engine.along is None:
            return y[:, None]
        y = y.movedim(1 + engine.along, 1)
        if y.shape[1] != rows.shape[self.axis]:
            raise Unsupported(f"{y.shape[1]} outputs for {rows.shape[self.axis]} times")
        return y

    def known(self) -> Tensor:
        """Outputs at the intact series: (n, times, \\*out), or (n, 1, \\*out) where the model gives one for the series."""
        if self.outputs is None:
            every = torch.arange(len(self.x), device=self.x.device)
            cut = self.samples.engine.cut(len(every), lambda at: self.ask(every[at], self.x[at]))
            self.outputs = torch.cat([y for _, y in cut])
        return self.outputs

    def same(self, y: Tensor, whole: Tensor) -> None:
        """Raise `Unsupported` unless outputs agree but for rounding, by the range of each over the intact series and times."""
        agree(y, whole, self.known().flatten(0, 1), share=_SAME, eps=torch.finfo(self.x.dtype).eps)


class StretchEvaluation(Evaluation):
    """One way to get the outputs at the times of a stretch that is otherwise, from the past of the intact series.

    Its signature is not that of a `RemovalEvaluation`: rows are stretches and not samples, of one length, their outputs belong to
    times, and which of them may share a batch depends on where they start. The quickest that holds is taken without a look at
    `work`, in an order that is always that of their work.

    Parameters
    ----------
    series
        The samples.
    last
        Read the model at the last time alone.
    """

    name = "prefixes"

    def __init__(self, series: Series, last: bool = False) -> None:
        self.series, self.last = series, last
        self.times = series.times

    @classmethod
    def tried(cls, series: Series, trial: Series, last: bool) -> Self:
        """One for the samples, after it gave on a trial what the model gives; `Unsupported` where it did not."""
        raise NotImplementedError

    def batch_key(self, start: Tensor) -> Tensor:
        """A number for each start; rows of equal numbers can be asked about in one batch."""
        return start

    def work(self, length: int) -> float:
        """What a row of `length` times costs, in shares of a forward pass of a whole sample."""
        return 1.0

    def __call__(self, i: Tensor, start: Tensor, rows: Tensor, every: bool) -> Tensor:
        """Outputs with ``rows[:, j]`` in the place of time ``start + j`` of sample `i`.

        (r, length, \\*out) for `every` time of the stretch, else (r, 1, \\*out) at the last of them. Rows share a `batch_key`; what
        lies beyond the end of the series may be anything.
        """
        raise NotImplementedError

    def intact(self) -> Tensor:
        """Outputs (n, times, \\*out) at the intact samples; at the last time alone, (n, 1, \\*out), with `last`."""
        if self.last:
            return self.series.known()[:, -1:]
        return self.series.known() if self.series.every else self._each()

    def _each(self) -> Tensor:
        """Outputs of all prefixes of the intact samples."""
        x = self.series.x
        every = torch.arange(len(x), device=x.device)
        found = [self._at(every, torch.full_like(every, t)) for t in range(self.times)]
        return torch.cat(found, 1)

    def _at(self, i: Tensor, time: Tensor) -> Tensor:
        """Outputs (r, 1, \\*out) of intact samples at one time each, all of one `batch_key`."""
        rows = self.series.x[i, time][:, None]
        cut = self.series.samples.engine.cut(len(i), lambda at: self(i[at], time[at], rows[at], False))
        return torch.cat([y for _, y in cut])


class Prefixes(StretchEvaluation):
    """Each prefix by itself, or what the model sees of it: its last `field` steps."""

    def __init__(self, series: Series, last: bool = False, field: int | None = None) -> None:
        super().__init__(series, last)
        self.field = self.times if field is None else field
        if self.field < self.times:
            self.name = f"prefixes, of which the model sees {self.field} steps"

    @classmethod
    def tried(cls, series: Series, trial: Series, last: bool) -> Self:
        """With the field that the trial shows."""
        return cls(series, last, None if last else cls(trial).seen())

    def batch_key(self, start: Tensor) -> Tensor:
        """Starts from which all that the model sees lies in the series share a batch."""
        return start.clamp(max=self.field)

    def __call__(self, i: Tensor, start: Tensor, rows: Tensor, every: bool) -> Tensor:
        """From the shortest prefix to the longest."""
        first = int(start[0])
        length = min(rows.shape[1], self.times - first) if first < self.field else rows.shape[1]
        found = [self._ask(i, start, rows[:, : j + 1]) for j in (range(length) if every else [length - 1])]
        return _padded(torch.cat(found, 1), rows.shape[1] if every else 1)

    def intact(self) -> Tensor:
        """Each prefix by itself: what the model says at a time of the whole series may depend on later times."""
        return super().intact() if self.last else self._each()

    def _ask(self, i: Tensor, start: Tensor, rows: Tensor) -> Tensor:
        """The last output of the prefix that ends with `rows`."""
        before = min(int(start[0]), self.field - rows.shape[1])
        past = window(self.series.x, i, start - before, before) if before > 0 else rows[:, :0]
        prefix = torch.cat([past, rows[:, -self.field :]], 1)
        try:
            y = self.series.ask(i, prefix)[:, -1:]
            if y.shape[2:] != (whole := self.series.known().shape[2:]):
                raise ValueError(
                    f"the model gives {tuple(y.shape[2:])} outputs of a prefix and {tuple(whole)} of the whole series"
                )
            return y
        except Exception as error:
            if prefix.shape[1] < self.times and not isinstance(error, MemoryError | torch.cuda.OutOfMemoryError):
                error.add_note(
                    f"The model was asked about a prefix of {prefix.shape[1]} of {self.times} steps. For one that takes whole "
                    "series only, give the method predictions='last'; where the model gives an output for each step, name that "
                    "axis: outputs=('time',)."
                )
            raise

    def seen(self) -> int:
        """How many of the last steps the last output depends on: where a NaN reaches it, if finite values agree; else all."""
        x, i = self.series.x, torch.arange(len(self.series.x), device=self.series.x.device)
        if torch.isnan(x).any():
            return self.times

        def reached(first: int) -> bool:
            spoilt = x[:1].clone()
            spoilt[:, :first] = torch.nan
            return bool(torch.isnan(self.series.ask(i[:1], spoilt)[:, -1]).any())

        try:
            low, high = 1, self.times  # spoiling all but the last `high` steps does not reach it
            while low < high:
                middle = (low + high) // 2
                low, high = (middle + 1, high) if reached(self.times - middle) else (low, middle)
            if high == self.times or reached(self.times - high):
                return self.times
            whole, past = self.series.ask(i, x)[:, -1], self.times - high
            self.series.same(self.series.ask(i, x[:, past:])[:, -1], whole)
            self.series.same(self.series.ask(i, _spliced(x.roll(1, 0), x, past))[:, -1], whole)
        except Exception as error:
            raise_if_out_of_memory(error)
            return self.times
        return high


class Passes(StretchEvaluation):
    """One pass of a causal model that gives an output for each time."""

    name = "one pass"

    def __init__(self, series: Series, last: bool = False, field: int | None = None) -> None:
        super().__init__(series, last)
        self.field = self.times if field is None else field
        if self.field < self.times:
            self.name = f"one pass of {self.field} steps before"

    @classmethod
    def tried(cls, series: Series, trial: Series, last: bool) -> Self:
        """Where the past depends neither on the future nor on how much of it there is."""
        on_trial = cls(trial)
        on_trial.check()
        return cls(series, last, on_trial.seen())

    def batch_key(self, start: Tensor) -> Tensor:
        """Starts from which all that the model sees lies in the series share a batch."""
        return start.clamp(max=self.field)

    def work(self, length: int) -> float:
        """What it sees before the stretch, and the stretch."""
        return min(1.0, (self.field + length) / self.times)

    def __call__(self, i: Tensor, start: Tensor, rows: Tensor, every: bool) -> Tensor:
        """The stretch, and what comes before it."""
        first = int(start[0])
        before = min(first, self.field)
        length = min(rows.shape[1], self.times - first) if first < self.field else rows.shape[1]
        past = window(self.series.x, i, start - before, before) if before > 0 else rows[:, :0]
        y = self.series.ask(i, torch.cat([past, rows[:, :length]], 1))[:, before:]
        return _padded(y, rows.shape[1]) if every else y[:, -1:]

    def check(self) -> None:
        """The past must not depend on the future, nor on how much of it there is."""
        x, whole = self.series.x, self.series.known()
        i = torch.arange(len(x), device=x.device)
        for time in sorted({1, self.times // 2, self.times - 1} - {self.times}):
            self.series.same(self.series.ask(i, _spliced(x, x.roll(1, 0), time))[:, :time], whole[:, :time])
            self.series.same(self.series.ask(i, x[:, :time]), whole[:, :time])

    def seen(self) -> int:
        """How many steps before a time its output depends on: where a NaN reaches, if finite values agree; else all."""
        x, whole = self.series.x, self.series.known()
        i = torch.arange(len(x), device=x.device)
        spoilt = x[:1].clone()
        spoilt[:, 0] = torch.nan
        try:
            y = self.series.ask(i[:1], spoilt)[0]
            reached = torch.isnan(y).reshape(self.times, -1).any(1)
            found = int(reached.nonzero().max()) if reached.any() else 0
            if torch.isnan(x).any():
                return self.times
            for past in {1, (self.times - found) // 2}:
                at = past + found
                if not 0 < past <= at < self.times:
                    return self.times
                self.series.same(self.series.ask(i, x[:, past:])[:, found:], whole[:, at:])
                self.series.same(self.series.ask(i, _spliced(x.roll(1, 0), x, past))[:, at:], whole[:, at:])
        except Exception as error:
            raise_if_out_of_memory(error)
            return self.times
        return found


class Recurrent(StretchEvaluation):
    """From the state of recurrent layers before the stretch."""

    name = "recurrent state"

    def __init__(self, series: Series, last: bool = False) -> None:
        super().__init__(series, last)
        self.layers = _layers(series.samples.engine.module)
        self.states = self._walk() if any(_deep(m) for m in self.layers) else self._at_once()

    @classmethod
    def tried(cls, series: Series, trial: Series, last: bool) -> Self:
        """Where nothing but the state remembers the past."""
        cls(trial, last).check()
        return cls(series, last)

    def batch_key(self, start: Tensor) -> Tensor:
        """Stretches share a batch wherever they start."""
        return torch.zeros_like(start)

    def work(self, length: int) -> float:
        """The stretch alone, and the state."""
        return min(1.0, length / self.times)

    def __call__(self, i: Tensor, start: Tensor, rows: Tensor, every: bool) -> Tensor:
        """The stretch alone, from the state before it."""
        state = [[part[start - 1, i].transpose(0, 1) for part in parts] for parts in self.states]
        if not every or self.series.every:
            y, _ = self._ask(i, rows, state)
            return y if every else y[:, -1:]
        found = []
        for j in range(rows.shape[1]):  # a model of one output for the series is read after each step
            y, passed = self._ask(i, rows[:, j : j + 1], state)
            state = [[part.contiguous() for part in parts] for _, parts in passed]
            found.append(y)
        return torch.cat(found, 1)

    def _ask(self, i: Tensor, rows: Tensor, state: list[Any] | None) -> tuple[Tensor, list[Any]]:
        """Outputs, and of each layer what it gave at each time and its last state; from `state`, or the model's own start."""
        passed: dict[int, Any] = {}

        def begin(number: int) -> Callable[..., Any]:
            def hook(module: nn.RNNBase, args: Any, kwargs: Any) -> Any:
                if number in passed:
                    raise Unsupported("a recurrent layer is used twice")
                if state is None:
                    return None
                given = tuple(part.contiguous() for part in state[number])
                kwargs = {k: v for k, v in kwargs.items() if k != "hx"}
                return (*args[:1], given if len(given) > 1 else given[0]), kwargs

            return hook

        def end(number: int) -> Callable[..., Any]:
            def hook(module: nn.RNNBase, args: Any, output: Any) -> None:
                if not isinstance(output[0], Tensor) or output[0].ndim != 3:
                    raise Unsupported("the recurrent layer takes packed or single sequences")
                parts = output[1] if isinstance(output[1], tuple) else (output[1],)
                if parts[0].shape[1] != len(rows):
                    raise Unsupported("the recurrent layer does not run over the rows")
                passed[number] = output[0] if module.batch_first else output[0].transpose(0, 1), parts

            return hook

        befores = [
            (m, partial(m.register_forward_pre_hook, with_kwargs=True), begin(k)) for k, m in enumerate(self.layers)
        ]
        with hooked(*befores, *((m, m.register_forward_hook, end(k)) for k, m in enumerate(self.layers))):
            y = self.series.ask(i, rows)
        if len(passed) < len(self.layers):
            raise Unsupported("a recurrent layer is not used")
        return y, [passed[k] for k in range(len(self.layers))]

    def _at_once(self) -> list[list[Tensor]]:
        """Of each layer of one level its outputs, which are its states: (times, n, 1, hidden)."""
        x = self.series.x
        every = torch.arange(len(x), device=x.device)
        cut = self.series.samples.engine.cut(len(x), lambda at: self._ask(every[at], x[at], None)[1])
        found = [passed for _, passed in cut]
        states = [torch.cat([p[k][0] for p in found]).transpose(0, 1)[:, :, None] for k in range(len(self.layers))]
        if any(len(s) != self.times for s in states):
            raise Unsupported("the recurrent layer does not take one step a time")
        return [[s] for s in states]

    def _walk(self) -> list[list[Tensor]]:
        """Of each layer its states (h, and c) after each step, by taking the steps one by one: (times, n, levels, hidden)."""
        x = self.series.x
        every = torch.arange(len(x), device=x.device)
        state: list[Any] | None = None
        kept: list[list[list[Tensor]]] = [[] for _ in self.layers]
        for t in range(self.times):
            _, passed = self._ask(every, x[:, t : t + 1], state)
            state = [parts for _, parts in passed]
            for k, parts in enumerate(state):
                kept[k].append([part.transpose(0, 1) for part in parts])
        return [[torch.stack(parts) for parts in zip(*steps)] for steps in kept]

    def check(self) -> None:
        """From a state the model must say what it says of the whole series, of one that goes on otherwise, and of a prefix."""
        x, every = self.series.x, self.series.every
        i = torch.arange(len(x), device=x.device)
        middle = self.times // 2
        for first in sorted({1, middle, self.times - 1} - {0}):
            other = _spliced(x, x.roll(1, 0), first)
            for rows, whole in (
                (x, self.series.known()),
                (other, self.series.ask(i, other) if first == middle else None),
            ):
                if whole is not None:
                    y = self(i, torch.full_like(i, first), rows[:, first:], every)
                    self.series.same(y, whole[:, -y.shape[1] :])
        if not self.last and middle > 1:
            y = self(i, torch.ones_like(i), x[:, 1:middle], every)[:, -1:]
            self.series.same(y, self.series.ask(i, x[:, :middle])[:, -1:])

    def _each(self) -> Tensor:
        x = self.series.x
        every = torch.arange(len(x), device=x.device)
        begin, _ = self._ask(every, x[:, :1], None)
        if self.times == 1:
            return begin
        pairs = torch.cartesian_prod(every, torch.arange(1, self.times, device=x.device))
        rest = self._at(pairs[:, 0], pairs[:, 1])
        return torch.cat([begin, rest.reshape(len(x), self.times - 1, *rest.shape[2:])], 1)


def stretch_evaluation(series: Series, last: bool = False) -> StretchEvaluation:
    """The quickest one that gives what the model gives; `last` for a model that is read at the last time alone."""
    if series.times == 1:
        return Prefixes(series, last)
    trial, notes = series.trial(), series.samples.engine.notes
    quick: list[type[StretchEvaluation]] = [Recurrent] if _layers(series.samples.engine.module) else []
    quick += [Passes] if series.every else []
    tried = (attempt(partial(kind.tried, series, trial, last)) for kind in quick)
    found = next((e for e in tried if not isinstance(e, Unsupported)), None) or Prefixes.tried(series, trial, last)
    notes["trial_steps"] = notes.get("trial_steps", 0) + int(trial.steps.sum())
    series.samples.engine.count_trial(int(trial.evaluations.sum()))
    return found


def trial_rows(times: int, recurrent: bool) -> int:
    """The most rows that `stretch_evaluation` asks for in a trial on series of so many `times`, of each chunk of samples."""
    if times == 1:
        return 0
    halvings = (times - 1).bit_length() + 1
    states = 4 * (times + 7) if recurrent else 0  # step by step; from three states, two of them otherwise, and a prefix
    passes, field = 4 * 6 + 1 + 4 * 4, halvings + 4 * 3
    return 4 + states + passes + field  # 4 for the intact ones


def _layers(module: nn.Module | None) -> list[nn.RNNBase]:
    """The recurrent layers of a module, none where one looks into the future."""
    found = [] if module is None else [m for m in module.modules() if isinstance(m, nn.RNNBase)]
    return [] if any(m.bidirectional for m in found) else found


def _deep(layer: nn.RNNBase) -> bool:
    """True where a layer's outputs are not all of its state."""
    return layer.num_layers > 1 or isinstance(layer, nn.LSTM)


def _padded(y: Tensor, length: int) -> Tensor:
    """`y` (r, m, ...) with its last entry repeated up to `length`: times beyond the end, which nobody reads."""
    return y if y.shape[1] == length else torch.cat([y, y[:, -1:].expand(-1, length - y.shape[1], *y.shape[2:])], 1)


def _shifted(known: Tensor) -> Tensor:
    """Bool (n, times, ...) of the time before; at the first, False."""
    return torch.cat([torch.zeros_like(known[:, :1]), known[:, :-1]], 1)


def _spliced(before: Tensor, after: Tensor, time: int) -> Tensor:
    """Series (n, times, ...) that are one up to a time, and another from there on."""
    return torch.cat([before[:, :time], after[:, time:]], 1)


def state_size(module: nn.Module | None) -> int:
    """How many numbers a recurrent module remembers of a sample at a time."""
    return sum(m.num_layers * m.hidden_size * (1 + isinstance(m, nn.LSTM)) for m in _layers(module))
