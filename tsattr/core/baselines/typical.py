"""The typical sample of a reference: the median of each number and the most frequent level of each category."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable
from dataclasses import dataclass
from datetime import date, time, timedelta
from decimal import Decimal
from typing import Any, ClassVar

import numpy as np

from ..arrays import Array
from ..axes import Axes
from .fills import Baseline, Full, per_row
from .references import checked_reference, missing


@dataclass(frozen=True)
class Typical(Baseline):
    """A typical sample: the median of each number over a reference, and the most frequent level of each category.

    Missing cells are left out. Whole numbers and dates keep to values that occur: the lower of the middle two. Levels that
    are as frequent are taken in the order of their names. It holds one row, and nothing else of the reference.

    Parameters
    ----------
    row
        What :meth:`fit` found.

    Examples
    --------
    >>> Typical.fit(np.array([[1.0, 0.0], [2.0, 0.5], [9.0, np.nan]])).row.values.tolist()
    [2.0, 0.25]
    """

    sentence: ClassVar[str] = "the median of each number and the most frequent level of each category"
    note: ClassVar[str] = "The baseline is a typical row: a column that already holds its typical value gets nothing."
    row: Array
    arithmetic: ClassVar[bool] = False

    @classmethod
    def fit(cls, reference: Any, *, observed: bool = False, sample_dim: str = "sample") -> Typical:
        """Find the typical sample of a reference: DataArray, DataFrame, or array (samples first).

        Parameters
        ----------
        reference
            Training-like data with a sample dim.
        observed
            Take the row without missing cells that is nearest to the typical one, so that its values belong together: by the
            sum over cells of the distance in mean distances from the median, 1 for another category (Gower, 1971).
        sample_dim
            Name of the reference's sample dim.

        Raises
        ------
        ValueError
            A cell that is missing in every sample; with `observed`, no sample without missing cells.
        """
        r = checked_reference(reference, sample_dim)
        dims = r.dims or (sample_dim, *(f"dim_{i}" for i in range(1, r.values.ndim)))
        values = np.moveaxis(r.values, dims.index(sample_dim), 0)
        columns, shape = values.reshape(len(values), -1), values.shape[1:]
        rest = tuple(d for d in dims if d != sample_dim)
        coords = {d: c for d, c in r.coords.items() if d != sample_dim}
        name_of = Axes(rest, shape, coords).name_of
        kinds = _categories(reference, columns.shape[1])
        found, distance = zip(*(_typical(c, kinds[i], name_of(i)) for i, c in enumerate(columns.T)))
        if observed:
            row = columns[_nearest(np.stack(distance, 1))]
        else:
            row = np.empty(len(found), columns.dtype)
            row[:] = found
        return cls(Array(row.reshape(shape), None if r.dims is None else rest, coords, r.orders))

    def _bind(self, axes: Axes) -> Full:
        row = axes.align(self.row, "Typical baseline")
        values = axes.coded(np.broadcast_to(row, (1, *axes.shape)).reshape(1, -1), self.row.orders).reshape(
            1, *axes.shape
        )
        return Full(lambda x, key: per_row(values, x, key), causal=True)


def _categories(reference: Any, columns: int) -> list[bool]:
    """Which columns are categories whatever their values are, as a DataFrame says."""
    kinds = getattr(reference, "dtypes", None)
    return [False] * columns if kinds is None else [str(kind) == "category" for kind in kinds]


_NUMBERS = (int, float, np.number)
_DATES = (np.datetime64, np.timedelta64, date, time, timedelta, Decimal)


def _all_of(values: np.ndarray, kinds: tuple[type, ...]) -> bool:
    """Whether all values are of these types; True and False are no numbers."""
    return all(isinstance(v, kinds) and not isinstance(v, bool | np.bool_) for v in values.tolist())


def _typical(column: np.ndarray, category: bool, name: str) -> tuple[Any, np.ndarray]:
    """The typical value of one cell, and how far each sample is from it in mean distances, NaN where missing."""
    absent = missing(column)
    known = column[~absent]
    if not len(known):
        raise ValueError(f"{name} is missing in all samples of the reference; leave it out, or give a Constant for it")
    if not isinstance(known[0], Hashable):
        raise TypeError(f"{name} holds {type(known[0]).__name__}, which has no typical value; leave it out")
    value: Any
    if category or not (_all_of(known, _NUMBERS) or _all_of(known, _DATES)):
        counts = Counter(known.tolist())
        value = min(counts, key=lambda v: (-counts[v], str(v)))
        off = (known != value).astype(np.float64)
    elif _all_of(known, _NUMBERS):
        numbers = known.astype(np.float64)
        whole = bool((numbers % 1 == 0).all())
        value = np.quantile(numbers, 0.5, method="inverted_cdf" if whole else "linear")
        off = abs(numbers - value)
        off, value = off / (off.mean() or 1), known[off.argmin()] if whole else value
    else:  # in ranks
        order, middle = np.sort(known), (len(known) - 1) // 2
        value, off = order[middle], abs(np.searchsorted(order, known) - middle).astype(np.float64)
        off /= off.mean() or 1
    away = np.full(len(column), np.nan)
    away[~absent] = off
    return value, away


def _nearest(distance: np.ndarray) -> int:
    """The sample of the least sum of distances (samples, cells), the first of them at a tie."""
    total = distance.sum(1)
    if np.isnan(total).all():
        raise ValueError("every sample of the reference has missing cells; leave out observed=True")
    return int(np.nanargmin(total))
