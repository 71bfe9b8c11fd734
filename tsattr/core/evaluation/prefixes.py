"""Stretches prefix by prefix: for any model, each prefix by itself, read at its last output."""

from __future__ import annotations

from typing import Self

import torch
from torch import Tensor

from ..baselines.forecast import window
from ..evaluator import raise_if_out_of_memory
from .series import SampleSeries, StretchEvaluation, pad_times, spliced


class Prefixes(StretchEvaluation):
    """Each prefix by itself, or what the model sees of it: the last steps of a finite receptive field."""

    def __init__(self, series: SampleSeries, last: bool = False, receptive_field: int | None = None) -> None:
        super().__init__(series, last)
        self.receptive_field = self.times if receptive_field is None else receptive_field
        if self.receptive_field < self.times:
            self.name = f"prefixes, of which the model sees {self.receptive_field} steps"

    @classmethod
    def tried(cls, series: SampleSeries, trial: SampleSeries, last: bool) -> Self:
        """With the receptive field that the trial shows."""
        return cls(series, last, None if last else cls(trial).find_receptive_field())

    @staticmethod
    def trial_rows(times: int) -> int:
        """The most rows that :meth:`tried` asks of the model: halvings of the field, and three checks of four series."""
        return (times - 1).bit_length() + 1 + 4 * 3

    def batch_key(self, start: Tensor) -> Tensor:
        """Starts from which all that the model sees lies in the series share a batch."""
        return start.clamp(max=self.receptive_field)

    def __call__(self, i: Tensor, start: Tensor, rows: Tensor, every: bool) -> Tensor:
        """From the shortest prefix to the longest."""
        first = int(start[0])
        length = min(rows.shape[1], self.times - first) if first < self.receptive_field else rows.shape[1]
        found = [self._last_output(i, start, rows[:, : j + 1]) for j in (range(length) if every else [length - 1])]
        return pad_times(torch.cat(found, 1), rows.shape[1] if every else 1)

    def intact_outputs(self) -> Tensor:
        """Each prefix by itself: what the model says at a time of the whole series may depend on later times."""
        return super().intact_outputs() if self.last else self._outputs_of_prefixes()

    def _last_output(self, i: Tensor, start: Tensor, rows: Tensor) -> Tensor:
        """The last output (r, 1, \\*out) of the prefix that ends with `rows`."""
        before = min(int(start[0]), self.receptive_field - rows.shape[1])
        past = window(self.series.x, i, start - before, before) if before > 0 else rows[:, :0]
        prefix = torch.cat([past, rows[:, -self.receptive_field :]], 1)
        try:
            y = self.series.outputs(i, prefix)[:, -1:]
            if y.shape[2:] != (whole := self.series.intact_outputs().shape[2:]):
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

    def find_receptive_field(self) -> int:
        """How many of the last steps the last output depends on: where a NaN reaches it, if finite values agree; else all."""
        x, i = self.series.x, self.series.indices
        if torch.isnan(x).any():
            return self.times
        try:
            field = self._steps_that_nan_reaches()
            if field == self.times or self._nan_reaches(self.times - field):
                return self.times
            whole, past = self.series.outputs(i, x)[:, -1], self.times - field
            self.series.check_same(self.series.outputs(i, x[:, past:])[:, -1], whole)
            self.series.check_same(self.series.outputs(i, spliced(x.roll(1, 0), x, past))[:, -1], whole)
        except Exception as error:
            raise_if_out_of_memory(error)
            return self.times
        return field

    def _steps_that_nan_reaches(self) -> int:
        """The fewest last steps such that NaN in all steps before does not reach the last output, by bisection."""
        low, high = 1, self.times
        while low < high:
            middle = (low + high) // 2
            low, high = (middle + 1, high) if self._nan_reaches(self.times - middle) else (low, middle)
        return high

    def _nan_reaches(self, steps: int) -> bool:
        """True where NaN in so many first steps of a series makes its last output NaN."""
        spoilt = self.series.x[:1].clone()
        spoilt[:, :steps] = torch.nan
        return bool(torch.isnan(self.series.outputs(self.series.indices[:1], spoilt)[:, -1]).any())
