"""Tables as numbers: the codes of a DataFrame's columns, and back."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd


@dataclass
class Codes:
    """Codes of one DataFrame: numbers as they are, categories by their place in a list that grows, dates as counts."""

    columns: pd.Index
    dtypes: list[Any]
    levels: list[list[Any] | None]
    numbers: list[dict[Any, float]] = field(default_factory=list)

    @classmethod
    def of(cls, frame: pd.DataFrame) -> Codes:
        """Read the columns' kinds from their dtypes."""
        if not frame.columns.is_unique:
            twice = frame.columns[frame.columns.duplicated()].tolist()
            raise ValueError(f"column names must be unique, these are not: {twice}")
        levels: list[list[Any] | None] = []
        for dtype, name in zip(frame.dtypes, frame.columns):
            if isinstance(dtype, pd.CategoricalDtype):
                levels.append(list(dtype.categories))
            elif pd.api.types.is_bool_dtype(dtype):
                levels.append([False, True])
            elif pd.api.types.is_numeric_dtype(dtype) or pd.api.types.is_datetime64_any_dtype(dtype):
                levels.append(None)
            elif pd.api.types.is_object_dtype(dtype) or pd.api.types.is_string_dtype(dtype):
                levels.append(list(pd.unique(frame[name].dropna())))
            else:
                raise TypeError(
                    f"column {name!r} has dtype {dtype}, which is neither number, category, string nor date"
                )
        book = [{} if u is None else {v: float(i) for i, v in enumerate(u)} for u in levels]
        return cls(frame.columns, list(frame.dtypes), levels, book)

    def code(self, column: int, values: Sequence[Any] | pd.Series) -> np.ndarray:
        """Values of one column as float64: a number, the place of a category, the count of a date; NaN where missing."""
        dtype = self.dtypes[column]
        if self.levels[column] is not None:
            return np.array([self._category(column, v) for v in np.asarray(values, dtype=object)], np.float64)
        try:
            if pd.api.types.is_datetime64_any_dtype(dtype):
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

    def decode(self, rows: np.ndarray) -> pd.DataFrame:
        """The DataFrame of coded rows, in the columns' own dtypes; fractions in an integer column stay fractions."""
        data = {}
        for c, (name, dtype, levels) in enumerate(zip(self.columns, self.dtypes, self.levels)):
            v = rows[:, c]
            missing = np.isnan(v)
            if levels is not None:
                at = np.where(missing, -1, np.nan_to_num(v)).astype(int)
                if isinstance(dtype, pd.CategoricalDtype):
                    data[name] = pd.Series(pd.Categorical.from_codes(at, categories=levels, ordered=dtype.ordered))
                    continue
                values = [None if i < 0 else levels[i] for i in at.tolist()]
                data[name] = pd.Series(values, dtype=dtype)
            elif pd.api.types.is_datetime64_any_dtype(dtype):
                data[name] = (
                    pd.Series(np.where(missing, 0, np.nan_to_num(v)).astype("int64")).astype(dtype).mask(missing)
                )
            elif pd.api.types.is_integer_dtype(dtype) and not missing.any() and (v % 1 == 0).all():
                data[name] = pd.Series(v.astype("int64")).astype(dtype)
            else:
                data[name] = pd.Series(v)
        return pd.DataFrame(data, columns=self.columns)
