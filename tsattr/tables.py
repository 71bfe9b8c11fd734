"""Tables as numbers: the codes of a DataFrame's columns, and back."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd


def as_pandas(x: Any) -> Any:
    """A DataFrame of another library that can become one of pandas, such as polars; anything else as it is.

    >>> as_pandas([1, 2])
    [1, 2]
    """
    other = hasattr(x, "columns") and hasattr(x, "to_pandas") and not isinstance(x, pd.DataFrame)
    return x.to_pandas() if other else x


def polars_like(frame: Any) -> Callable[[pd.DataFrame], Any] | None:
    """What makes a polars DataFrame of the columns' own types of a pandas one, where `frame` is of polars."""
    if not type(frame).__module__.startswith("polars"):
        return None
    schema = dict(frame.schema)

    def back(rows: pd.DataFrame) -> Any:
        import polars

        made = polars.from_pandas(rows)
        halves = {name for name, t in schema.items() if t.is_integer() and (made[name].drop_nulls() % 1 != 0).any()}
        return made.cast({name: t for name, t in schema.items() if name not in halves})

    return back


def _is_time(dtype: Any) -> bool:
    return pd.api.types.is_datetime64_any_dtype(dtype) or pd.api.types.is_timedelta64_dtype(dtype)


@dataclass
class Codes:
    """Codes of one DataFrame: numbers as they are, categories by their place in a list that grows, dates as counts."""

    columns: pd.Index
    dtypes: list[Any]
    levels: list[list[Any] | None]
    numbers: list[dict[Any, float]] = field(default_factory=list)
    back: Callable[[pd.DataFrame], Any] | None = None

    @classmethod
    def of(cls, frame: pd.DataFrame, back: Callable[[pd.DataFrame], Any] | None = None) -> Codes:
        """Read the columns' kinds from their dtypes; `back` makes what the model gets of a decoded frame."""
        if not frame.columns.is_unique:
            twice = frame.columns[frame.columns.duplicated()].tolist()
            raise ValueError(f"column names must be unique, these are not: {twice}")
        levels: list[list[Any] | None] = []
        for dtype, name in zip(frame.dtypes, frame.columns):
            if isinstance(dtype, pd.CategoricalDtype):
                levels.append(list(dtype.categories))
            elif pd.api.types.is_bool_dtype(dtype):
                levels.append([False, True])
            elif pd.api.types.is_numeric_dtype(dtype) or _is_time(dtype):
                levels.append(None)
            elif pd.api.types.is_object_dtype(dtype) or pd.api.types.is_string_dtype(dtype):
                levels.append(list(pd.unique(frame[name].dropna())))
            else:
                raise TypeError(
                    f"column {name!r} has dtype {dtype}, which is neither number, category, string nor date"
                )
        book = [{} if u is None else {v: float(i) for i, v in enumerate(u)} for u in levels]
        return cls(frame.columns, list(frame.dtypes), levels, book, back)

    def code(self, column: int, values: Sequence[Any] | pd.Series) -> np.ndarray:
        """Values of one column as float64: a number, the place of a category, the count of a date; NaN where missing."""
        dtype = self.dtypes[column]
        if self.levels[column] is not None:
            return np.array([self._category(column, v) for v in np.asarray(values, dtype=object)], np.float64)
        try:
            if _is_time(dtype):
                dates = pd.Series(values, dtype=dtype)
                return np.where(dates.isna(), np.nan, dates.astype("int64").to_numpy(np.float64))
            return pd.Series(values).to_numpy(np.float64, na_value=np.nan)
        except (TypeError, ValueError) as error:
            name, shown = self.columns[column], list(values)[:3]
            raise TypeError(f"column {name!r} of the input holds {dtype}, which {shown} does not fit") from error

    def _category(self, column: int, value: Any) -> float:
        """The code of a category; a new one is taken in where it is of the kind of the others."""
        levels, book = self.levels[column], self.numbers[column]
        if value is None or value is pd.NA or value != value:
            return math.nan
        if value not in book:
            if levels and not any(isinstance(value, type(u)) for u in levels):
                known = ", ".join(map(repr, levels[:8]))
                raise TypeError(
                    f"{value!r} is no category of column {self.columns[column]!r} ({known}); use Samples.fit(reference), "
                    "Mode.fit(reference) or Constant({column: category, ...})"
                )
            assert levels is not None  # only columns with levels come here
            levels.append(value)
            book[value] = float(len(levels) - 1)
        return book[value]

    def encode(self, frame: pd.DataFrame) -> np.ndarray:
        """Float64 (rows, columns), NaN where missing."""
        return np.stack([self.code(c, column) for c, (_, column) in enumerate(frame.items())], 1)

    def decode(self, rows: np.ndarray) -> Any:
        """The DataFrame of coded rows, in the columns' own dtypes; fractions in an integer column stay fractions."""
        series = [self._column(c, rows[:, c]) for c in range(len(self.columns))]
        frame = pd.DataFrame(dict(enumerate(series))).set_axis(self.columns, axis=1)
        return frame if self.back is None else self.back(frame)

    def _column(self, c: int, v: np.ndarray) -> pd.Series:
        """Codes of one column as its values."""
        dtype, levels, missing = self.dtypes[c], self.levels[c], np.isnan(v)
        if levels is not None:
            at = np.where(missing, -1, np.nan_to_num(v)).astype(int)
            if isinstance(dtype, pd.CategoricalDtype):
                return pd.Series(pd.Categorical.from_codes(at, categories=levels, ordered=dtype.ordered))
            table = np.empty(len(levels) + 1, object)  # the last one is that of -1
            table[:-1] = levels
            return pd.Series(table[at], dtype=dtype)
        if _is_time(dtype):
            return pd.Series(np.where(missing, 0, np.nan_to_num(v)).astype("int64")).astype(dtype).mask(missing)
        numbers = pd.Series(v)
        if pd.api.types.is_float_dtype(dtype):
            return numbers.astype(dtype)
        whole = (v[~missing] % 1 == 0).all() and (not missing.any() or pd.api.types.is_extension_array_dtype(dtype))
        return numbers.astype("Int64").astype(dtype) if whole else numbers
