"""Baselines from the range of valid values: its far end, or uniform draws from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from ..arrays import Array, numbers_of
from ..axes import Axes
from ..keys import Key
from .fills import Baseline, Full, draw_by_name, per_row
from .references import fitted_range


@dataclass(frozen=True)
class _Range(Baseline):
    low: Any
    high: Any

    def __post_init__(self) -> None:
        for name in ("low", "high"):
            if not isinstance(value := getattr(self, name), int | float):
                object.__setattr__(self, name, Array.of(value))
        low, high = (Array.of(getattr(self, n)) for n in ("low", "high"))
        for name, value in (("low", low), ("high", high)):
            if np.isnan(numbers_of(value.values, f"{name} of {type(self).__name__}")).all():
                raise ValueError(f"{type(self).__name__} needs numbers, got {name}={value!r}")
        if low.values.shape == high.values.shape and (low.values > high.values).any():
            raise ValueError(f"{type(self).__name__} needs low <= high, got low={self.low!r}, high={self.high!r}")

    def _bounds(self, axes: Axes) -> tuple[np.ndarray, np.ndarray]:
        name = type(self).__name__
        low, high = (axes.align(Array.of(v), f"{name} baseline") for v in (self.low, self.high))
        return numbers_of(low, f"low of the {name} baseline"), numbers_of(high, f"high of the {name} baseline")

    @classmethod
    def fit(
        cls,
        reference: Any,
        quantiles: tuple[float, float] = (0.001, 0.999),
        *,
        over: Any = None,
        sample_dim: str = "sample",
    ) -> Any:
        """The range of each channel: quantiles over the reference's samples and time.

        Parameters
        ----------
        reference
            Training-like data with a sample dim: DataArray, DataFrame or array (samples first).
        quantiles
            The two quantiles that bound the range; (0, 1) for the extremes.
        over
            Dims pooled besides the samples: by default "time" where there is one, else all dims but lead, channel,
            feature and variable.
        sample_dim
            Name of the reference's sample dim.
        """
        return cls(*fitted_range(reference, quantiles, over, sample_dim))


@dataclass(frozen=True)
class MaximumDistance(_Range):
    """The farthest valid value: ``x'_i = low if x_i >= (low + high) / 2 else high``.

    Diagnostic: it carries much information about `x` (a negative, not an absence). Sturmfels et al., Distill 2020.

    Parameters
    ----------
    low, high
        The valid range: numbers, or arrays labelled by some of the input's dims. :meth:`fit` takes quantiles per channel.
    """

    sentence: ClassVar[str] = "in each cell the end of the valid range that is farthest from the input"
    note: ClassVar[str] = (
        "Absent cells take the farthest valid value. Nothing is overlooked because it equals the baseline, but "
        "the end point is far from any real record, and the model may behave there as it never does on data."
    )

    def _bind(self, axes: Axes) -> Full:
        low, high = self._bounds(axes)
        middle = (low + high) / 2

        def full(x: Tensor, key: Key) -> Tensor:
            lo, hi, mid = (per_row(v, x, key) for v in (low, high, middle))
            return torch.where(x >= mid, lo, hi)

        return Full(full)


@dataclass(frozen=True)
class Uniform(_Range):
    """Independent draws from the valid range: ``x'_i ~ U(low_i, high_i)``; use several draws.

    Parameters
    ----------
    low, high
        As in :class:`MaximumDistance`; :meth:`fit` takes quantiles per channel.
    """

    sentence: ClassVar[str] = "random values, all equally likely within a range"
    note: ClassVar[str] = (
        "The baseline is noise that no recording looks like; the model's answer to it may mean little."
    )
    random: ClassVar[bool] = True

    def _bind(self, axes: Axes) -> Full:
        low, high = self._bounds(axes)

        def full(x: Tensor, key: Key) -> Tensor:
            lo, hi = (per_row(v, x, key) for v in (low, high))
            return lo + (hi - lo) * draw_by_name(key.uniform, x, axes)

        return Full(full, causal=True)
