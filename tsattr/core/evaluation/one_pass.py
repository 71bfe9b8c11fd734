"""Stretches in one pass: a causal model that gives one output for each time is asked once up to the end of the stretch."""

from __future__ import annotations

from typing import Self

import torch
from torch import Tensor

from ..baselines.forecast import window
from ..evaluator import raise_if_out_of_memory
from .series import SampleSeries, StretchEvaluation, pad_times, spliced


class OnePass(StretchEvaluation):
    """The stretch and the past that the model sees, of a finite receptive field no more, in one forward pass."""

    name = "one pass"

    def __init__(self, series: SampleSeries, last: bool = False, steps_before: int | None = None) -> None:
        super().__init__(series, last)
        self.steps_before = self.times if steps_before is None else steps_before
        if self.steps_before < self.times:
            self.name = f"one pass of {self.steps_before} steps before"

    @classmethod
    def tried(cls, series: SampleSeries, trial: SampleSeries, last: bool) -> Self:
        """Where the past depends neither on the future nor on how much of it there is."""
        on_trial = cls(trial)
        on_trial.check()
        return cls(series, last, on_trial.find_steps_before())

    @staticmethod
    def trial_rows(times: int) -> int:
        """The most rows that :meth:`tried` asks of the model: six checks of four series, a NaN, and four checks more."""
        return 4 * 6 + 1 + 4 * 4

    def batch_key(self, start: Tensor) -> Tensor:
        """Starts from which all that the model sees lies in the series share a batch."""
        return start.clamp(max=self.steps_before)

    def work(self, length: int) -> float:
        """What it sees before the stretch, and the stretch."""
        return min(1.0, (self.steps_before + length) / self.times)

    def __call__(self, i: Tensor, start: Tensor, rows: Tensor, every: bool) -> Tensor:
        """The stretch, and what comes before it."""
        first = int(start[0])
        before = min(first, self.steps_before)
        length = min(rows.shape[1], self.times - first) if first < self.steps_before else rows.shape[1]
        past = window(self.series.x, i, start - before, before) if before > 0 else rows[:, :0]
        y = self.series.outputs(i, torch.cat([past, rows[:, :length]], 1))[:, before:]
        return pad_times(y, rows.shape[1]) if every else y[:, -1:]

    def check(self) -> None:
        """Raise `Unsupported` where an output depends on later times, or on how many there are."""
        x, whole, i = self.series.x, self.series.intact_outputs(), self.series.indices
        for time in sorted({1, self.times // 2, self.times - 1} - {self.times}):
            self.series.check_same(self.series.outputs(i, spliced(x, x.roll(1, 0), time))[:, :time], whole[:, :time])
            self.series.check_same(self.series.outputs(i, x[:, :time]), whole[:, :time])

    def find_steps_before(self) -> int:
        """How many steps before a time its output depends on: where a NaN reaches, if finite values agree; else all."""
        x, whole, i = self.series.x, self.series.intact_outputs(), self.series.indices
        spoilt = x[:1].clone()
        spoilt[:, 0] = torch.nan
        try:
            y = self.series.outputs(i[:1], spoilt)[0]
            reached = torch.isnan(y).reshape(self.times, -1).any(1)
            found = int(reached.nonzero().max()) if reached.any() else 0
            if torch.isnan(x).any():
                return self.times
            for past in {1, (self.times - found) // 2}:
                at = past + found
                if not 0 < past <= at < self.times:
                    return self.times
                self.series.check_same(self.series.outputs(i, x[:, past:])[:, found:], whole[:, at:])
                self.series.check_same(self.series.outputs(i, spliced(x.roll(1, 0), x, past))[:, at:], whole[:, at:])
        except Exception as error:
            raise_if_out_of_memory(error)
            return self.times
        return found
