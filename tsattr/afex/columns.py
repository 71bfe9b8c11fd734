"""A table's columns as a fitted model reads them: numbers as they are, times as days, categories by their position among the
levels of training. What kind of values a column holds is decided in `labels/tables.py`, as for every table that is explained."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from ..labels.tables import A_DAY, Numbers, as_pandas, days_of, kind_of, polars_like, times_of, unit_of

UNKNOWN = -1.0
"""Code of a category that was not seen in training."""
DATES, DAYS = "days since 1970-01-01", "days"
"""Units that dates and durations are read in."""
MOST_LEVELS = 1000
"""Levels of one column that get a code of their own; rarer ones count as unknown, with a warning."""


def is_frame(x: Any) -> bool:
    """Whether `x` is a DataFrame: columns by name, each with a dtype (pandas, polars)."""
    return hasattr(x, "columns") and hasattr(x, "dtypes") and hasattr(x, "__getitem__")


def nominal(x: Any, names: Sequence[str], categorical: Any) -> np.ndarray:
    """Which columns are categories: bool (p,), from "from_dtype", None, a mask, indices or names.

    Examples
    --------
    >>> nominal(np.zeros((2, 3)), ["a", "b", "c"], ["b"]).tolist()
    [False, True, False]
    """
    found = np.zeros(len(names), bool)
    if categorical is None:
        return found
    if isinstance(categorical, str):
        if categorical != "from_dtype":
            raise ValueError(
                f"categorical_features is 'from_dtype', None, a mask, indices or names, got {categorical!r}"
            )
        return np.array([kind_of(dtype) == "level" for dtype in as_pandas(x).dtypes]) if is_frame(x) else found
    given = np.asarray(categorical)
    if given.dtype == bool:
        if given.shape != found.shape:
            raise ValueError(f"a mask of categorical_features has one entry a column: {len(found)}, got {given.shape}")
        return given
    for item in given.tolist():
        if isinstance(item, str):
            if item not in names:
                raise ValueError(f"categorical_features names {item!r}, but the columns are {list(names)}")
            found[list(names).index(item)] = True
        else:
            if not 0 <= item < len(names):
                raise ValueError(f"categorical_features has index {item}, but there are {len(names)} columns")
            found[item] = True
    return found


def _missing(values: np.ndarray) -> np.ndarray:
    """Where an object array holds None, NaN or NA: bool of its shape."""
    return np.asarray(pd.isna(values), bool)


@dataclass(frozen=True)
class TableReader:
    """Reads the columns of a table as codes: their names, the levels of those that are categories (else None), units of times.

    Dates count as days since 1970 (UTC where they have a zone), periods as their first day, durations as days. `dtypes` are
    those of the training table's columns, by which values of one column are read outside of a table.
    """

    names: tuple[str, ...]
    levels: tuple[tuple[Any, ...] | None, ...]
    units: tuple[str, ...]
    dtypes: tuple[Any, ...] = ()

    @classmethod
    def fit(cls, x: Any, names: Sequence[str], categories: np.ndarray) -> TableReader:
        """Take the levels from the training table, the most frequent ones where there are very many."""
        columns = _columns(x)
        levels = [_levels(column, name) if c else None for column, name, c in zip(columns, names, categories)]
        units = ["" if c else _units(column) for column, c in zip(columns, categories)]
        return cls(tuple(map(str, names)), tuple(levels), tuple(units), tuple(column.dtype for column in columns))

    @property
    def nominal(self) -> np.ndarray:
        """Which columns are categories."""
        return np.array([u is not None for u in self.levels])

    def index(self, feature: Any) -> int:
        """The index of a feature, given by name or index."""
        names = self.names
        if isinstance(feature, str):
            if feature not in names:
                raise KeyError(f"there is no feature {feature!r}; the features are {list(names)}")
            return names.index(feature)
        if isinstance(feature, bool) or not isinstance(feature, int | np.integer):
            raise TypeError(f"a feature is a name or an index, got {feature!r}")
        if not -len(names) <= feature < len(names):
            raise IndexError(f"feature {feature} of {len(names)} features")
        return int(feature) % len(names)

    def read(self, x: Any) -> np.ndarray:
        """float64 (n, p): numbers, the positions of levels, -1 for an unknown level, NaN for a missing value."""
        if not self.nominal.any() and not is_frame(x):
            return np.asarray(x, np.float64)
        return np.column_stack([self.read_one(column, j) for j, column in enumerate(_columns(x))])

    def read_one(self, values: Any, j: int) -> np.ndarray:
        """Codes (n,) of values of column `j`."""
        levels = self.levels[j]
        if self.units[j] and not _units(values) and np.asarray(values).dtype.kind in "OUT":
            values = pd.Series(list(values), dtype=self.dtypes[j])  # times without the dtype of their column
        if levels is None:
            return self._times(values, j) if _units(values) else _numbers(values, self.names[j])
        position = {level: float(i) for i, level in enumerate(levels)}
        objects = np.asarray(values, dtype=object)
        codes = np.array([UNKNOWN if v != v else position.get(v, UNKNOWN) for v in _plain(objects)])
        codes[_missing(objects)] = np.nan
        return codes

    def _times(self, values: Any, j: int) -> np.ndarray:
        """Dates or durations as days, of a column that had them in training."""
        if (found := _units(values)) != self.units[j]:
            was = {"": "numbers", DATES: "dates", DAYS: "durations"}
            raise TypeError(
                f"column {self.names[j]!r} holds {was[found]}, and in training it held {was[self.units[j]]}"
            )
        return days_of(pd.Series(values))

    def write(self, codes: np.ndarray, like: Any) -> Any:
        """A table of the kind of `like` with the values that `codes` (n, p) stand for; an unknown level is missing."""
        if not is_frame(like):
            columns = [self._values(c, j) for j, c in enumerate(codes.T)]
            return np.column_stack(columns) if self.nominal.any() else codes
        back, dtypes = polars_like(like), as_pandas(like).dtypes
        if back is not None:  # polars restores its types of levels from the names of the levels
            dtypes = dtypes.mask([kind_of(dtype) == "level" for dtype in dtypes], np.dtype(object))
        frame = pd.DataFrame({n: self._written(codes[:, j], j, dtype) for j, (n, dtype) in enumerate(dtypes.items())})
        return frame if back is None else back(frame, None, None)

    def _written(self, codes: np.ndarray, j: int, dtype: Any) -> Any:
        """A column of a dtype with the values that codes stand for; whole numbers stay whole where the codes are."""
        kind = kind_of(dtype)
        if self.levels[j] is None and kind in ("date", "duration", "period"):
            return _times(codes, dtype)
        if self.levels[j] is None and kind == "number":
            return Numbers(self.names[j], dtype).values(codes)
        if self.levels[j] is None and kind == "flag":
            codes = np.where(np.isnan(codes), np.nan, codes >= 0.5)
        return pd.Series(self._values(codes, j)).astype(dtype)

    def _values(self, codes: np.ndarray, j: int) -> Any:
        levels = self.levels[j]
        if levels is None:
            return codes
        return np.array([*levels, None], dtype=object)[np.where(codes >= 0, codes, len(levels)).astype(int)].tolist()


def _plain(objects: np.ndarray) -> list[Any]:
    """A list of objects with NaN for each missing one, so that comparisons give a bool."""
    plain: list[Any] = np.where(_missing(objects), np.nan, objects).tolist()
    return plain


def _columns(x: Any) -> list[Any]:
    """The columns of a table, each with a dtype."""
    return [column for _, column in as_pandas(x).items()] if is_frame(x) else list(np.asarray(x).T)


def _numbers(values: Any, name: str) -> np.ndarray:
    try:
        number = np.asarray(values, dtype=object)
        number = np.where(_missing(number), np.nan, number).astype(np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"column {name!r} is read as numbers and holds {values[:3]!r}: {error}") from error
    if np.isinf(number).any():
        raise ValueError(f"column {name!r} contains infinity; replace it by a number or by NaN, which is 'missing'")
    return number


def _units(values: Any) -> str:
    """The units of dates and of durations, which have a dtype of their own; "" for anything else."""
    if not hasattr(values, "dtype"):
        return ""
    return {"date": DATES, "period": DATES, "duration": DAYS}.get(kind_of(values.dtype), "")


def _times(days: np.ndarray, dtype: Any) -> pd.Series:
    """The reverse of `days_of`, to the microsecond."""
    if kind_of(dtype) == "period":
        return _times(days, np.dtype("M8[us]")).astype(dtype)
    known, unit = ~np.isnan(days), unit_of(dtype)
    finest = "us" if unit == "ns" else unit
    counts = np.round(days[known] * A_DAY[finest]).astype(np.int64) * (A_DAY[unit] // A_DAY[finest])
    return times_of(counts, dtype).set_axis(np.flatnonzero(known)).reindex(range(len(days)))


def _levels(values: Any, name: str) -> tuple[Any, ...]:
    """The distinct values of a column, in the order of its dtype or else sorted; with a warning the most frequent, where they are too many."""
    objects = np.asarray(values, dtype=object)
    counts: dict[Any, int] = {}
    for value in objects[~_missing(objects)]:
        counts[value] = counts.get(value, 0) + 1
    most = sorted(counts, key=lambda v: (-counts[v], str(v)))[:MOST_LEVELS]
    if len(counts) > len(most):
        share = 1 - sum(counts[level] for level in most) / sum(counts.values())
        warnings.warn(
            f"column {name!r} has {len(counts)} levels: the {MOST_LEVELS} most frequent have effects of their own, the others"
            f" ({share:.0%} of its rows) add 0; merge levels that are alike, or drop the column if it names single rows",
            stacklevel=2,
        )
    if getattr(getattr(values, "dtype", None), "ordered", False):
        return tuple(level for level in values.dtype.categories.tolist() if level in set(most))
    try:
        return tuple(sorted(most))
    except TypeError:
        return tuple(sorted(most, key=str))
