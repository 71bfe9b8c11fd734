"""Stretches from a recurrent state: the memory of `nn.RNN`, `nn.GRU` and `nn.LSTM` layers stands for the past."""

from __future__ import annotations

from functools import partial
from typing import Any, Self

import torch
from torch import Tensor, nn

from ..evaluator import Unsupported
from ..preserve import temporary_hooks
from .series import SampleSeries, StretchEvaluation, spliced

LayerState = list[Tensor]  # of one layer h, and c of an LSTM, (levels, r, hidden) each


class Recurrent(StretchEvaluation):
    """The stretch alone, from the state of recurrent layers, of whatever depth, before it."""

    name = "recurrent state"

    def __init__(self, series: SampleSeries, last: bool = False) -> None:
        super().__init__(series, last)
        self.layers = recurrent_layers(series.samples.engine.module)
        stepwise = any(_has_inner_state(layer) for layer in self.layers)
        self.states = self._states_step_by_step() if stepwise else self._states_in_one_pass()

    @classmethod
    def tried(cls, series: SampleSeries, trial: SampleSeries, last: bool) -> Self:
        """Where nothing but the state remembers the past."""
        cls(trial, last).check()
        return cls(series, last)

    @staticmethod
    def trial_rows(times: int) -> int:
        """The most rows that :meth:`tried` asks of the model: four series step by step, and seven checks of them."""
        return 4 * (times + 7)

    def batch_key(self, start: Tensor) -> Tensor:
        """Stretches share a batch wherever they start."""
        return torch.zeros_like(start)

    def work(self, length: int) -> float:
        """The stretch alone."""
        return min(1.0, length / self.times)

    def __call__(self, i: Tensor, start: Tensor, rows: Tensor, every: bool) -> Tensor:
        """The stretch alone, from the state before it."""
        state = [[part[start - 1, i].transpose(0, 1) for part in parts] for parts in self.states]
        if not every or self.series.output_per_time:
            y, _ = self._run(i, rows, state)
            return y if every else y[:, -1:]
        found = []
        for j in range(rows.shape[1]):  # a model of one output for the series is read after each step
            y, passed = self._run(i, rows[:, j : j + 1], state)
            state = [[part.contiguous() for part in parts] for _, parts in passed]
            found.append(y)
        return torch.cat(found, 1)

    def _run(
        self, i: Tensor, rows: Tensor, state: list[LayerState] | None
    ) -> tuple[Tensor, list[tuple[Tensor, LayerState]]]:
        """Outputs, and of each layer its outputs (r, length, hidden) and last state; from `state`, or the model's own start."""
        pass_ = _LayerPass(len(rows), state)
        before = [
            (layer, partial(layer.register_forward_pre_hook, with_kwargs=True), partial(pass_.set_state, k))
            for k, layer in enumerate(self.layers)
        ]
        after = [(layer, layer.register_forward_hook, partial(pass_.keep, k)) for k, layer in enumerate(self.layers)]
        with temporary_hooks(*before, *after):
            y = self.series.outputs(i, rows)
        if len(pass_.found) < len(self.layers):
            raise Unsupported("a recurrent layer is not used")
        return y, [pass_.found[k] for k in range(len(self.layers))]

    def _states_in_one_pass(self) -> list[LayerState]:
        """Of each layer of one level its outputs, which are its states: (times, n, 1, hidden)."""
        x, every = self.series.x, self.series.indices
        batches = self.series.samples.engine.cut(len(x), lambda at: self._run(every[at], x[at], None)[1])
        found = [passed for _, passed in batches]
        states = [torch.cat([p[k][0] for p in found]).transpose(0, 1)[:, :, None] for k in range(len(self.layers))]
        if any(len(s) != self.times for s in states):
            raise Unsupported("the recurrent layer does not take one step a time")
        return [[s] for s in states]

    def _states_step_by_step(self) -> list[LayerState]:
        """Of each layer its states (h, and c) after each step, asked step by step: (times, n, levels, hidden)."""
        x, every = self.series.x, self.series.indices
        state: list[LayerState] | None = None
        kept: list[list[LayerState]] = [[] for _ in self.layers]
        for t in range(self.times):
            _, passed = self._run(every, x[:, t : t + 1], state)
            state = [parts for _, parts in passed]
            for k, parts in enumerate(state):
                kept[k].append([part.transpose(0, 1) for part in parts])
        return [[torch.stack(parts) for parts in zip(*steps)] for steps in kept]

    def check(self) -> None:
        """Raise `Unsupported` unless outputs from a state are those of the series, of one that goes on otherwise, and of a prefix."""
        x, i, every = self.series.x, self.series.indices, self.series.output_per_time
        middle = self.times // 2
        for first in sorted({1, middle, self.times - 1} - {0}):
            self._check_from(first, x, self.series.intact_outputs())
            if first == middle:
                other = spliced(x, x.roll(1, 0), first)
                self._check_from(first, other, self.series.outputs(i, other))
        if not self.last and middle > 1:
            y = self(i, torch.ones_like(i), x[:, 1:middle], every)[:, -1:]
            self.series.check_same(y, self.series.outputs(i, x[:, :middle])[:, -1:])

    def _check_from(self, first: int, x: Tensor, whole: Tensor) -> None:
        """The same for the stretch of series `x` from `first` to the end."""
        i = self.series.indices
        y = self(i, torch.full_like(i, first), x[:, first:], self.series.output_per_time)
        self.series.check_same(y, whole[:, -y.shape[1] :])

    def _outputs_of_prefixes(self) -> Tensor:
        x, every = self.series.x, self.series.indices
        begin, _ = self._run(every, x[:, :1], None)
        if self.times == 1:
            return begin
        pairs = torch.cartesian_prod(every, torch.arange(1, self.times, device=x.device))
        rest = self._outputs_at(pairs[:, 0], pairs[:, 1])
        return torch.cat([begin, rest.reshape(len(x), self.times - 1, *rest.shape[2:])], 1)


class _LayerPass:
    """Hooks of one forward pass of `rows` rows, which give each recurrent layer its state and keep what it returns."""

    def __init__(self, rows: int, state: list[LayerState] | None) -> None:
        self.rows, self.state = rows, state
        self.found: dict[int, tuple[Tensor, LayerState]] = {}

    def set_state(self, number: int, layer: nn.RNNBase, args: Any, kwargs: Any) -> Any:
        """The arguments of a layer with its state among them."""
        if number in self.found:
            raise Unsupported("a recurrent layer is used twice")
        if self.state is None:
            return None
        given = tuple(part.contiguous() for part in self.state[number])
        kwargs = {k: v for k, v in kwargs.items() if k != "hx"}
        return (*args[:1], given if len(given) > 1 else given[0]), kwargs

    def keep(self, number: int, layer: nn.RNNBase, args: Any, output: Any) -> None:
        """Keep a layer's outputs (r, length, hidden) and its last state."""
        if not isinstance(output[0], Tensor) or output[0].ndim != 3:
            raise Unsupported("the recurrent layer takes packed or single sequences")
        parts = list(output[1]) if isinstance(output[1], tuple) else [output[1]]
        if parts[0].shape[1] != self.rows:
            raise Unsupported("the recurrent layer does not run over the rows")
        self.found[number] = output[0] if layer.batch_first else output[0].transpose(0, 1), parts


def recurrent_layers(module: nn.Module | None) -> list[nn.RNNBase]:
    """The recurrent layers of a module, none where one looks into the future."""
    found = [] if module is None else [m for m in module.modules() if isinstance(m, nn.RNNBase)]
    return [] if any(m.bidirectional for m in found) else found


def state_size(module: nn.Module | None) -> int:
    """How many numbers a recurrent module remembers of a sample at a time."""
    return sum(m.num_layers * m.hidden_size * (1 + isinstance(m, nn.LSTM)) for m in recurrent_layers(module))


def _has_inner_state(layer: nn.RNNBase) -> bool:
    """True where a layer's outputs are not all of its state."""
    return layer.num_layers > 1 or isinstance(layer, nn.LSTM)
