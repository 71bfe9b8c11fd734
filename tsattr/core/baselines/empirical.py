"""The baseline that draws from the empirical distribution: whole samples of a reference."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ..arrays import Array
from ..axes import Axes
from .fills import DRAWS, Baseline, Full
from .references import checked_reference, drawn_without_replacement, reference_table


@dataclass(frozen=True)
class Samples(Baseline):
    """The training distribution: each draw is one reference sample, drawn without replacement.

    With ``IntegratedGradients(Samples.fit(train), draws=k, steps=1)`` this is expected gradients (Erion et al., 2021).
    Each sample takes its own random order through the reference; after all have been used the order starts again. A
    method that is not told how many `draws` takes each once, up to a hundred. References of several variables with as many
    samples are drawn together: what belongs to one sample stays together.

    A missing cell of a reference sample stays missing: methods that remove hand it on to a model that reads NaN; others
    refuse it.
    """

    sentence: ClassVar[str] = "records drawn from the training distribution"
    note: ClassVar[str] = (
        "The baseline is the training distribution: the map tells how this record differs from typical ones. What "
        "it shares with them gets nothing, even where the model depends on it."
    )
    reference: Array
    sample_dim: str = "sample"
    arithmetic: ClassVar[bool] = False
    random: ClassVar[bool] = True

    @classmethod
    def fit(cls, reference: Any, *, sample_dim: str = "sample") -> Samples:
        """Keep a reference with a sample dim: DataArray, DataFrame, or array (samples first)."""
        return cls(checked_reference(reference, sample_dim), sample_dim)

    @property
    def enough(self) -> int:
        """Each sample of the reference once, up to a hundred."""
        dims = self.reference.dims or (self.sample_dim,)
        return min(DRAWS, int(self.reference.values.shape[dims.index(self.sample_dim)]))

    def _bind(self, axes: Axes) -> Full:
        table = reference_table(self.reference, self.sample_dim, axes, type(self).__name__)
        every, gaps = np.arange(len(table)), int(np.isnan(table).sum())
        return Full(
            lambda x, key: drawn_without_replacement(table, x, key, lambda position: every), causal=True, gaps=gaps
        )
