"""Each value by itself, from those that occur: the pooled distribution of each series."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from ..arrays import Array
from ..axes import Axes
from ..keys import Key
from .fills import Baseline, Full, draw_by_name, tensor_like
from .fitted import Fitted, Training, cell_index


@dataclass(frozen=True)
class Marginal(Baseline):
    """Each absent value drawn by itself from the training values of its series, over all samples and times. Causal.

    It assumes nothing but that times are alike, and keeps nothing of how values go together: what it puts in a window is
    as rough as white noise. The "data distribution" of WinIT, and the draws of augmented feature occlusion.

    Parameters
    ----------
    fitted
        Made by :meth:`fit`.

    Examples
    --------
    >>> import tsattr as ta
    >>> law = Marginal.fit(np.array([[1.0, 3.0], [3.0, 1.0]]), dim="dim_1")
    >>> change = ta.Occlusion(ta.groups.Cells(), law, draws=1)
    >>> ds = ta.explain(lambda x: x.sum(1), np.zeros((5, 4)), change)
    >>> sorted(set(ds.attribution.values.ravel().tolist()))
    [-3.0, -1.0]

    References
    ----------
    Tonekaboni et al., "What went wrong and when? Instance-wise feature importance for time-series black-box models",
    NeurIPS 2020.
    """

    sentence: ClassVar[str] = "values that the series takes in training, each drawn by itself"
    fitted: Fitted
    dim: str = "time"
    random: ClassVar[bool] = True

    @classmethod
    def fit(cls, reference: Any, *, dim: str = "time", sample_dim: str = "sample") -> Marginal:
        """Pool a reference with a sample dim over its samples and `dim`; NaN is left out.

        Raises
        ------
        ValueError
            A series without any value.
        """
        train = Training.of(reference, sample_dim)
        axis = train.axes.axis(dim)
        names = tuple(d for d in train.axes.dims if d != dim)
        shape = tuple(n for d, n in zip(train.axes.dims, train.axes.shape) if d != dim)
        pooled = np.sort(np.moveaxis(train.values, 1 + axis, 1).reshape(-1, *shape), axis=0)  # NaN come last
        count = (~np.isnan(pooled)).sum(0)
        if (count == 0).any():
            raise ValueError(f"{int((count == 0).sum())} series of the reference have no value at all; leave them out")
        arrays = {
            "values": Array(pooled.reshape(len(pooled), -1)),
            "count": train.cells(names, count) if names else Array(count, (), {}),
        }
        return cls(Fitted(arrays, train.source(dim=dim)), dim)

    def _bind(self, axes: Axes) -> Full:
        count = self.fitted.arrays["count"]
        series = cell_index(count, axes, "Marginal") if count.values.shape else np.zeros((1,) * len(axes.shape), int)
        series = np.broadcast_to(series, axes.shape)
        pooled, most = self.fitted["values"], self.fitted["count"].reshape(-1)[series]

        def full(x: Tensor, key: Key) -> Tensor:
            share = draw_by_name(lambda like: key.uniform(like), x.to(torch.float64), axes).cpu().numpy()
            which = np.minimum((share * most).astype(np.int64), most - 1)
            return tensor_like(pooled[which, np.broadcast_to(series, which.shape)], x)

        return Full(full, causal=True)
