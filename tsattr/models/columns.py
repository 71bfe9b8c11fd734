"""Groups and baselines of an input, on the columns that a pipeline's transformers make of it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from ..core.axes import Axes
from ..core.baselines.fills import Baseline, Full, per_row
from ..core.bound import BoundGroups
from ..core.groups.masks import Boxes


@dataclass(frozen=True, eq=False)
class SampleRows(Baseline):
    """One row of values for each sample.

    Parameters
    ----------
    values
        (samples, columns).
    """

    sentence: ClassVar[str] = "a row of values for each sample"
    on_command_line: ClassVar[bool] = False
    values: np.ndarray

    def _bind(self, axes: Axes) -> Full:
        return Full(lambda x, key: per_row(self.values, x, key))


class ColumnGroups(BoundGroups):
    """Groups of an input's cells as groups of the columns made of them: a column is in a group that holds all of its part.

    Parameters
    ----------
    raw
        The groups, bound to the input.
    parts
        The boxes of the input that columns are made of.
    source
        Int (columns,): the part that each column is made of.
    used
        Bool (samples, *event): known cells that some column is made of.
    share
        (samples, columns): known cells of a column's part, divided by the number of columns made of it.
    """

    def __init__(self, raw: BoundGroups, parts: Boxes, source: np.ndarray, used: np.ndarray, share: np.ndarray) -> None:
        self.raw, self.parts = raw, parts
        self.names, self.shared = raw.names, raw.shared
        self.event = used.shape[1:]
        self.used = torch.from_numpy(used)
        self.source = torch.from_numpy(source)
        boxes = [list(parts.box(k).values()) for k in range(len(parts.names))]
        corners = np.ravel_multi_index(np.array([[start for start, _ in box] for box in boxes]).T, self.event)
        self.cell = torch.from_numpy(corners)[self.source]  # one of a column's cells: groups hold all of them or none
        self.sizes = torch.tensor([math.prod(size for _, size in box) for box in boxes])
        self.share = torch.from_numpy(share)

    @property
    def order(self) -> np.ndarray:
        """That of the groups of the input."""
        return self.raw.order

    def mask(self, position: Tensor, k: Tensor) -> Tensor:
        """Bool (rows, columns)."""
        if not self.shared:
            return self._mask(position, k)
        distinct, back = torch.unique(k, return_inverse=True)
        return self._mask(position[:1].expand(len(distinct)), distinct)[back]

    def _mask(self, position: Tensor, k: Tensor) -> Tensor:
        cells = self.raw.mask(position, k).expand(-1, *self.event)
        count = self.parts.count(cells, position)
        cut = (count != 0) & (count != self.sizes.to(count.device))
        if cut.any():
            row, part = cut.nonzero()[0].tolist()
            raise ValueError(
                f"group {self.names[k[row]]} covers a part of {self.parts.names[part]}, of which columns are made as a whole: "
                "give groups of whole ones, or explain the pipeline itself"
            )
        return (count > 0)[:, self.source.to(count.device)]

    def count(self, cells: Tensor, position: Tensor) -> Tensor:
        """Known cells (rows, groups) of the input that columns are made of."""
        return self.raw.count(self.used[position.cpu()].to(position.device), position)

    def spread(self, values: Tensor, position: Tensor, *, mean: bool = True) -> Tensor:
        """(rows, ..., groups) -> (rows, ..., columns), such that a part's columns sum to the sum over its known cells."""
        cells = self.raw.spread(values, position, mean=mean)
        cells = cells.expand(*values.shape[:-1], *self.event).flatten(values.ndim - 1)
        share = self.share[position.cpu()].to(cells.device, cells.dtype)
        return cells[..., self.cell.to(cells.device)] * share.reshape(len(share), *[1] * (values.ndim - 2), -1)
