"""Rows that repeat within a batch are asked of a model once."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from .calling import Call

_FEWEST = (
    256  # rows of a batch that is looked at; below it a look costs as much as it saves, and trials ask a row twice
)
_WORTH = 0.05  # share of repeated rows that pays a look, a tenth of a microsecond a row
_LOOKS = 2  # batches with fewer of them, after which no more are looked at


class Distinct:
    """A model's call that asks once about rows of a sample that are equal to the last bit, and gives each its answer.

    Rows repeat where a sample's cell is what takes its place: in tables of few levels, at most of the coalitions. Equal rows of
    different samples are not taken for one: context and the index of a table are those of the sample. Batches are looked at
    as long as it pays, which depends on their rows and not on the clock: one call gives one answer.

    Attributes
    ----------
    repeated
        Rows so far that were not asked again.
    """

    def __init__(self, call: Call) -> None:
        self.call, self.repeated, self.looks = call, 0, _LOOKS

    def __call__(self, rows: Tensor, context: dict[str, Tensor], position: Tensor) -> Any:
        """The model's outputs at some rows; `context` has their entries."""
        alone = len(rows) < _FEWEST or not (position[1:] == position[:-1]).any()  # rows of a sample follow each other
        if not self.looks or alone or (found := repeats(rows, position)) is None:
            return self.call(rows, context, position)
        first, which = found
        if len(rows) - len(first) < _WORTH * len(rows):
            self.looks -= 1
            return self.call(rows, context, position)
        y = self.call(rows[first], {name: value[first] for name, value in context.items()}, position[first])
        if not isinstance(y, Tensor) or y.ndim == 0 or len(y) != len(first):  # of which the engine tells
            return self.call(rows, context, position)
        self.repeated += len(rows) - len(first)
        return y[which.to(y.device)]


def repeats(rows: Tensor, position: Tensor) -> tuple[Tensor, Tensor] | None:
    """The first of each distinct row (r, *event) and position, and for each row which of them is its own.

    Rows are told apart by a number made of their bits. None where that was not enough.

    >>> first, which = repeats(torch.tensor([[1.0], [2.0], [1.0]]), torch.tensor([0, 0, 0]))
    >>> first.tolist(), which.tolist()
    ([0, 1], [0, 1, 0])
    """
    values = np.ascontiguousarray(rows.detach().cpu().numpy())
    bits = values.reshape(len(values), math.prod(values.shape[1:])).view(f"u{min(4, values.dtype.itemsize)}")
    where = position.cpu().numpy()
    odd = 2 * np.random.default_rng(0).integers(2**63, size=1 + bits.shape[1], dtype=np.uint64) + 1
    number = np.einsum("rc,c->r", bits, odd[1:]) + where.astype(np.uint64) * odd[0]
    which, distinct = pd.factorize(number)
    first = np.empty(len(distinct), np.int64)
    first[which[::-1]] = np.arange(len(which))[::-1]
    own = first[which]
    if not (np.array_equal(bits[own], bits) and np.array_equal(where[own], where)):
        return None
    return torch.from_numpy(first).to(rows.device), torch.from_numpy(which).to(rows.device)
