"""Groups given by a label for each cell: beats, waves, regions, seasons."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ..arrays import Array
from ..axes import Axes
from .masks import Groups, Parts


@dataclass(frozen=True)
class Labelled(Groups):
    """One group for each label: beats, waves, regions, seasons.

    Parameters
    ----------
    labels
        An integer, boolean or string DataArray over some of the input's dims; with the sample dim, each sample has its
        own. Every label is a group (0 too), named by CF ``flag_meanings`` if the array has them. Cells labelled NaN, None,
        "" or by a negative number are in no group: they are never removed and their attribution is NaN.
    """

    on_command_line: ClassVar[bool] = False
    labels: Any
    meanings: tuple[tuple[int, str], ...] = ()

    def __post_init__(self) -> None:
        if not isinstance(self.labels, Array):
            attrs = getattr(self.labels, "attrs", {})
            values, names = attrs.get("flag_values"), attrs.get("flag_meanings")
            if values is not None and names is not None:
                flags = zip((int(v) for v in np.atleast_1d(values)), str(names).split())
                object.__setattr__(self, "meanings", tuple(flags))
            object.__setattr__(self, "labels", Array.of(self.labels))
        if self.labels.dims is None:
            raise TypeError("Labelled needs labels with dims: an xarray.DataArray over some of the input's dims")

    def bind(self, axes: Axes) -> Parts:
        """Labels numbered 0, 1, ... in sorted order."""
        v = axes.align(self.labels, "the array of Labelled")
        if v.dtype.kind == "f":
            none = np.isnan(v) | (v < 0)
            if (v[~none] % 1 != 0).any():
                raise TypeError("labels are integers or strings, got fractional numbers")
        elif v.dtype.kind in "biu":
            none = v < 0
        else:
            none = np.frompyfunc(lambda s: s is None or s == "" or s != s, 1, 1)(v).astype(bool)
        kept = v[~none]
        if kept.size == 0:
            raise ValueError("no cell has a label: nothing to remove")
        levels = np.unique(kept)
        label = np.full(v.shape, -1, np.int64)
        label[~none] = np.searchsorted(levels, kept)
        meanings = dict(self.meanings)
        return Parts(label, [_text(u, meanings) for u in levels.tolist()])


def _text(level: Any, meanings: dict[int, str]) -> str:
    if isinstance(level, float):
        level = int(level)
    return meanings.get(level, str(level)) if isinstance(level, int) else str(level)
