"""Baselines that are a statistic: the sample's own mean or a reference's, the most frequent value of a reference."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from ..arrays import INVALID, VALUE, Array
from ..axes import Axes
from ..results import check_choice
from .fills import Baseline, Full, per_row
from .references import checked_reference, fitted_mean, median, most_frequent, reference_table, without_mode


@dataclass(frozen=True)
class Mean(Baseline):
    """The sample's own mean over a dim: ``x'_i = mean over `over` of x_i``, missing cells left out; or, fitted, a reference's.

    The columns of a table have no mean in common: ``Mean.fit(train)`` is the mean of each.

    Parameters
    ----------
    over
        A dim or several; by default "time" where the input has it, else all dims.
    values
        What :meth:`fit` found.
    """

    sentence: ClassVar[str] = "the sample's own mean"
    note: ClassVar[str] = (
        "The baseline is the sample's own mean: a level that is the same throughout (an offset) cannot be credited."
    )
    over: str | tuple[str, ...] | None = None
    values: Array | None = None

    @classmethod
    def fit(cls, reference: Any, *, over: Any = None, sample_dim: str = "sample") -> Mean:
        """The mean of each channel over a reference's samples and time, the same for all samples.

        Parameters
        ----------
        reference
            Training-like data with a sample dim: DataArray, DataFrame of numbers or array (samples first).
        over
            Dims pooled besides the samples: by default "time" where there is one, else all dims but lead, channel,
            feature and variable.
        sample_dim
            Name of the reference's sample dim.
        """
        return cls(values=fitted_mean(reference, over, sample_dim))

    def _bind(self, axes: Axes) -> Full:
        if self.values is not None:
            values = axes.align(self.values, "the reference of Mean").astype(np.float64)
            return Full(lambda x, key: per_row(values, x, key), causal=True)
        if self.over is None and axes.dims in (("feature",), ("variable",)):
            raise ValueError(
                "Mean() is the sample's own mean, and the columns of a table have none in common; use Mean.fit(train), the mean "
                "of each column, or Typical.fit(train), its median or most frequent level"
            )
        time = axes.called("time")
        over = (time,) if self.over is None and time in axes.dims else self.over
        dims = axes.dims if over is None else (over,) if isinstance(over, str) else over
        at = [1 + axes.axis(axes.called(d)) for d in dims]
        return Full(lambda x, key: _nan_mean(x, at) if at else x)


@dataclass(frozen=True)
class Mode(Baseline):
    """The most frequent value of each cell over a reference, missing ones left out: for categories, and for counts.

    Cells of numbers in which no value stands out, such as measurements beside categories, get their median, with a warning;
    where no cell has a value that stands out, it is refused: see :class:`Typical`.

    Parameters
    ----------
    missing
        "invalid": missing cells are left out. "value": to be missing is a state like another, and comes first: a cell that more than half
        of the reference misses is missing, NaN, which is handed on to a model that reads it; of the others the most frequent value.
        Where a test is seldom ordered, that is what is usual.

    Examples
    --------
    >>> import numpy as np, pandas as pd, tsattr as ta
    >>> train = pd.DataFrame({"lab": [np.nan, np.nan, 2.0], "sex": [1.0, 1.0, np.nan]})
    >>> model = ta.models.on_frames(lambda df: 3.0 * df["lab"].isna() + df["sex"])
    >>> method = ta.Occlusion(ta.groups.Along("feature"), Mode.fit(train, missing="value"))
    >>> ta.explain(model, train[2:].fillna(0.0), method).attribution.values.tolist()
    [[-3.0, -1.0]]
    """

    sentence: ClassVar[str] = "the most frequent value of each column"
    note: ClassVar[str] = "The baseline is the most frequent value: a column that already holds it gets nothing."
    reference: Array
    sample_dim: str = "sample"
    missing: str = INVALID
    arithmetic: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_choice("missing", self.missing, (INVALID, VALUE))

    @classmethod
    def fit(cls, reference: Any, *, missing: str = INVALID, sample_dim: str = "sample") -> Mode:
        """Keep a reference with a sample dim: DataArray, DataFrame, or array (samples first)."""
        return cls(checked_reference(reference, sample_dim), sample_dim, missing)

    def _bind(self, axes: Axes) -> Full:
        table = reference_table(self.reference, self.sample_dim, axes, "Mode")
        columns = table.reshape(len(table), -1).T
        unusual = 2 * np.isnan(columns).sum(1) > len(table) if self.missing == VALUE else np.zeros(len(columns), bool)
        lacking = without_mode(columns, axes) & ~unusual
        if lacking.any():
            names = [axes.name_of(i) for i in np.flatnonzero(lacking).tolist()]
            what = (
                f"no value of {', '.join(names[:8])}{', ...' * (len(names) > 8)} is more frequent than others, so that the most "
                "frequent one says nothing"
            )
            if lacking.all():
                raise ValueError(f"{what}; use Typical.fit(reference), which takes the median of numbers")
            warnings.warn(f"{what}: Mode takes the median there, as Typical.fit(reference) does", stacklevel=2)
        values = np.array([median(c) if lost else most_frequent(c) for c, lost in zip(columns, lacking)])
        values = np.where(unusual, np.nan, values).reshape(1, *axes.shape)
        return _Usual(lambda x, key: per_row(values, x, key), causal=True, gaps=int(unusual.sum()))


class _Usual(Full):
    """The most frequent values, some of which are missing."""

    why_gaps: ClassVar[str] = "Mode takes {gaps} cells to be missing, as most of its reference does"
    fill_gaps: ClassVar[str] = "take Mode.fit(train), which leaves missing cells out"


def _nan_mean(x: Tensor, axes: list[int]) -> Tensor:
    """Mean over axes, which are kept with size 1, without the missing cells."""
    return x.to(torch.float64).nanmean(axes, keepdim=True).to(x.dtype)
