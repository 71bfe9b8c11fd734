"""The baseline that is a constant: one number, or one for each label."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ..arrays import Array, numbers_of
from ..axes import Axes
from .fills import Baseline, Full, per_row


@dataclass(frozen=True)
class Constant(Baseline):
    """A constant in the units of `x`: one number, or one for each label.

    ``x'_i = value_i``. A cell that already has its constant gets no attribution from any path method: it is blind to its
    own value. A constant outside a channel's observed range warns.

    Parameters
    ----------
    value
        A number; a DataArray over some dims of the input (also its sample dim); a mapping from the labels of one dim to
        values (``{"age": 60, "sex": "F"}`` for a table); or an array of a sample's shape.

    Examples
    --------
    >>> Constant(0.0)
    Constant(value=0.0)
    """

    sentence: ClassVar[str] = "a fixed value in every absent cell"
    note: ClassVar[str] = (
        "The baseline is constant, so cells that already equal it get nothing, however much the model needs them: "
        "a flat stretch at that value cannot be credited. Check with a second baseline before concluding that it "
        "does not matter."
    )
    value: Any = 0.0
    arithmetic: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if not isinstance(self.value, int | float | str):
            object.__setattr__(self, "value", Array.of(self.value))

    def values(self, axes: Axes) -> np.ndarray:
        """The constants as an array that broadcasts to (samples, *event), categories coded."""
        v = axes.align(Array.of(self.value), f"{type(self).__name__} baseline")
        if axes.code is None:
            return numbers_of(v, f"the baseline {self!r}")
        v = np.broadcast_to(v, (len(v), *axes.shape))
        return axes.coded(v.reshape(len(v), -1)).reshape(v.shape)

    def _bind(self, axes: Axes) -> Full:
        values = self.values(axes)
        return Full(lambda x, key: per_row(values, x, key), causal=True, common=len(values) == 1)
