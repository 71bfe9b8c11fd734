"""The baseline that is no value at all: what is absent was not measured."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch

from ..axes import Axes
from .fills import Baseline, Full


@dataclass(frozen=True)
class Missing(Baseline):
    """Absent means not measured: ``x'_i = NaN``, and a missing category in a column of categories.

    For models that read missing values: boosted trees on histograms, pipelines that impute, networks with a mask. It asks what the model
    would say had this not been measured, which is what removal is in practice; and what the model takes that for is part of the
    answer. For methods that remove, and metrics; a path has no steps towards it.

    Raises
    ------
    UnreadError
        When explaining: the model raises on rows with missing cells, whose error is quoted, or answers with NaN.

    Examples
    --------
    >>> import numpy as np, tsattr as ta
    >>> model = ta.models.on_arrays(lambda x: 3 * np.isnan(x[:, 0]) + np.nan_to_num(x).sum(1))
    >>> method = ta.Occlusion(ta.groups.Cells(), ta.baselines.Missing())
    >>> ta.explain(model, np.array([[2.0, 5.0]]), method).attribution.values.tolist()
    [[-1.0, 5.0]]
    """

    sentence: ClassVar[str] = "no value: as if it had not been measured"
    note: ClassVar[str] = (
        "Absent means not measured here: the map says what the measurements moved beside what the model says without them, and so what the "
        "model itself takes a missing value for."
    )
    arithmetic: ClassVar[bool] = False
    ends_paths: ClassVar[bool] = False

    def _bind(self, axes: Axes) -> Full:
        return _NotMeasured(lambda x, key: torch.full_like(x, torch.nan), causal=True, gaps=math.prod(axes.shape))


class _NotMeasured(Full):
    """NaN everywhere, which is meant."""

    begins = True  # before the first measurement nothing is measured either
    why_gaps: ClassVar[str] = "absent means not measured, Missing(), which is NaN in the rows"
    fill_gaps: ClassVar[str] = "take another baseline, such as Samples.fit(train)"
