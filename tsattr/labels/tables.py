"""Tables as numbers: codes of a DataFrame's columns, and the cells that codes stand for, restored without loss."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from ..core.arrays import as_pandas_frame, column_labels

A_DAY = {"s": 86_400, "ms": 86_400_000, "us": 86_400_000_000, "ns": 86_400_000_000_000}
"""Units of dates and durations in a day."""
_EXACT = 2.0**53  # below it float64 holds every whole number
_MASKED = (
    pd.Int8Dtype,
    pd.Int16Dtype,
    pd.Int32Dtype,
    pd.Int64Dtype,
    pd.UInt8Dtype,
    pd.UInt16Dtype,
    pd.UInt32Dtype,
    pd.UInt64Dtype,
)
"""Nullable whole numbers; of nullable fractions a cell may be NaN and not missing."""


def as_pandas(x: Any) -> Any:
    """A DataFrame of another library that can become one of pandas, such as polars; anything else as it is.

    >>> as_pandas([1, 2])
    [1, 2]
    """
    other = hasattr(x, "columns") and hasattr(x, "to_pandas") and not isinstance(x, pd.DataFrame)
    return as_pandas_frame(x) if other else x


def kind_of(dtype: Any) -> str:
    """What a column of this dtype holds: "number", "flag" (True and False), "decimal", "complex", "date", "duration", "period",
    or "level": categories, text, times of day and whatever else has no arithmetic.

    >>> [kind_of(pd.Series(v).dtype) for v in ([1], [True], ["a"], [pd.Timestamp(0)], [pd.Period("2020")])]
    ['number', 'flag', 'level', 'date', 'period']
    """
    if isinstance(dtype, pd.PeriodDtype):
        return "period"
    if isinstance(dtype, pd.ArrowDtype) and str(dtype).startswith("decimal"):
        return "decimal"
    kinds = {"i": "number", "u": "number", "f": "number", "b": "flag", "c": "complex", "M": "date", "m": "duration"}
    return kinds.get(dtype.kind, "level")


def _counted(dtype: Any) -> Any:
    """The dtype of the dates or durations that those of `dtype` are counts of a unit in: days are counted in seconds."""
    days = isinstance(dtype, pd.ArrowDtype) and str(dtype).startswith("date")
    return pd.api.types.pandas_dtype("timestamp[s][pyarrow]") if days else dtype


def counts_of(column: pd.Series) -> tuple[np.ndarray, np.ndarray]:
    """The known dates (in UTC, since 1970) or durations of a column as int64 counts of their `unit_of`, and which are known.

    >>> [v.tolist() for v in counts_of(pd.Series(pd.to_datetime(["1970-01-02", None]).astype("M8[s]")))]
    [[86400], [True, False]]
    """
    known = column.notna().to_numpy()
    return column[known].astype(_counted(column.dtype)).astype("int64").to_numpy(), known


def times_of(counts: np.ndarray, dtype: Any) -> pd.Series:
    """The reverse of `counts_of`: dates or durations of a dtype; of a day, any count within it."""
    found = pd.Series(counts).astype(_counted(dtype))
    return found if _counted(dtype) == dtype else found.dt.floor("D").astype(dtype)


def unit_of(dtype: Any) -> str:
    """The unit of dates or durations: s, ms, us or ns."""
    counted = _counted(dtype)
    if isinstance(counted, pd.ArrowDtype):
        return str(counted.pyarrow_dtype.unit)
    return str(counted.unit if isinstance(counted, pd.DatetimeTZDtype) else np.datetime_data(counted)[0])


def days_of(column: pd.Series) -> np.ndarray:
    """Dates as days since 1970 in UTC, periods as their first day, durations as days; NaN where missing.

    >>> days_of(pd.Series(pd.to_timedelta(["36h", None]))).tolist()
    [1.5, nan]
    """
    if kind_of(column.dtype) == "period":
        column = column.dt.to_timestamp()
    counts, known = counts_of(column)
    days = np.full(len(known), np.nan)
    days[known] = counts / A_DAY[unit_of(column.dtype)]
    return days


Back = Callable[[pd.DataFrame, "np.ndarray | None", "np.ndarray | None"], Any]
"""``back(rows, position, own)``: rows of pandas as another library's, of those samples, with their own cells where `own`."""


def polars_like(frame: Any) -> Back | None:
    """What makes a polars DataFrame of the columns' own types of a pandas one, where `frame` is of polars."""
    if not type(frame).__module__.startswith("polars"):
        return None

    def back(rows: pd.DataFrame, position: np.ndarray | None, own: np.ndarray | None) -> Any:
        import polars

        names = [name for c, name in enumerate(frame.columns) if own is None or not own[:, c].all()]
        made = polars.from_pandas(rows[names])
        schema = {name: frame.schema[name] for name in names}
        halves = [name for name, t in schema.items() if t.is_integer() and (made[name].drop_nulls() % 1 != 0).any()]
        made = made.cast({name: t for name, t in schema.items() if name not in halves})
        if position is None or own is None:
            return made
        its = frame[position].cast(dict.fromkeys(halves, polars.Float64))
        new = {name: polars.Series(~own[:, frame.columns.index(name)]) for name in names}
        return its.with_columns(made[name].zip_with(rows, its[name]) for name, rows in new.items())

    return back


@dataclass
class Numbers:
    """Codes of a column of numbers, dates or durations: the number, or the count of a date's units.

    Whole numbers and counts beyond 2**53, of which float64 holds only some, get the nearest float64 that stands for no
    other: arithmetic with them is right but for its rounding, and each comes back as it was. What arithmetic makes of them
    is rounded to whole numbers; of smaller ones, fractions stay fractions.
    """

    name: Any
    dtype: Any
    counts: dict[float, int] = field(default_factory=dict)  # those beyond 2**53 by their codes
    places: dict[int, float] = field(default_factory=dict)  # and their codes
    beyond: dict[float, float] = field(default_factory=dict)  # of a code in use, where a free one may be
    levels: ClassVar[None] = None

    def __post_init__(self) -> None:
        self.is_time = kind_of(self.dtype) in ("date", "duration")

    @property
    def plain(self) -> bool:
        """True where a cell is restored in full from its code."""
        own = self.dtype.subtype if isinstance(self.dtype, pd.SparseDtype) else self.dtype
        return (isinstance(own, _MASKED) or (isinstance(own, np.dtype) and own.itemsize <= 8)) and not self.counts

    def code(self, values: Any, order: Any = None) -> np.ndarray:
        """Values as float64, NaN where missing; TypeError for what is no number or date."""
        try:
            given = pd.Series(values, dtype=self.dtype) if self.is_time else pd.Series(values)
            if self.is_time:
                counts, known = counts_of(given)
                out = np.full(len(known), np.nan)
                out[known] = counts
            else:
                out, known = given.to_numpy(np.float64, na_value=np.nan), np.ones(len(given), bool)
        except (TypeError, ValueError) as error:
            shown = list(values)[:3]
            raise TypeError(
                f"column {self.name!r} of the input holds {self.dtype}, which {shown} does not fit"
            ) from error
        far = np.isfinite(out) & (np.abs(out) >= _EXACT) if self.dtype.kind in "iuMm" else np.zeros(len(out), bool)
        if far.any():
            exact = counts if self.is_time else given.to_numpy(object)
            out[far] = [self._place(int(v)) for v in exact[far[known]]]
        return out

    def _place(self, count: int) -> float:
        """The code of a whole number beyond 2**53."""
        if count not in self.places:
            at, passed = float(count), []
            while at in self.counts:
                passed.append(at)
                at = self.beyond.get(at, math.nextafter(at, math.inf))
            self.beyond |= dict.fromkeys(passed, at)
            self.counts[at], self.places[count] = count, at
        return self.places[count]

    def values(self, codes: np.ndarray) -> pd.Series:
        """What codes stand for; floats where the column's own whole numbers cannot hold them."""
        missing = np.isnan(codes)
        known = self._known(codes[~missing])
        return known.set_axis(np.flatnonzero(~missing)).reindex(range(len(codes))) if missing.any() else known

    def _known(self, codes: np.ndarray) -> pd.Series:
        if self.dtype.kind == "f":
            return pd.Series(codes).astype(self.dtype)
        if self.is_time or self.counts:
            exact = self._whole(codes)
            return times_of(exact, self.dtype) if self.is_time else pd.Series(exact).astype(self.dtype)
        if (np.rint(codes) == codes).all() and _within(codes, self.dtype):
            return pd.Series(codes.astype(np.uint64 if self.dtype.kind == "u" else np.int64)).astype(self.dtype)
        return pd.Series(codes).astype(_floats(self.dtype))

    def _whole(self, codes: np.ndarray) -> np.ndarray:
        """Codes as whole numbers: the nearest, those beyond 2**53 as they were."""
        limits = np.iinfo(np.uint64 if self.dtype.kind == "u" else np.int64)
        near = np.abs(codes) < _EXACT
        exact = np.maximum(np.rint(np.where(near, codes, 0)), limits.min).astype(limits.dtype)
        far = (self.counts.get(c, round(c)) for c in codes[~near].tolist())
        exact[~near] = [min(max(count, limits.min), limits.max) for count in far]
        return exact


def _within(codes: np.ndarray, dtype: Any) -> bool:
    """Whether numbers lie in the range of a type of whole numbers."""
    limits = np.iinfo(dtype if isinstance(dtype, np.dtype) else getattr(dtype, "subtype", None) or dtype.numpy_dtype)
    return bool(((codes >= limits.min) & (codes < float(limits.max) + 1)).all())


def _floats(dtype: Any) -> Any:
    """The type of fractions that goes with a type of whole numbers."""
    if isinstance(dtype, pd.ArrowDtype):
        return "double[pyarrow]"
    if isinstance(dtype, pd.SparseDtype):
        return pd.SparseDtype(np.float64)
    return np.dtype("float64") if isinstance(dtype, np.dtype) else pd.Float64Dtype()


def _typed(values: Any) -> Iterator[tuple[type, Any]]:
    """Each value with its type: True is not 1, nor 1.0."""
    return zip(map(type, values), values)


class _Levels:
    """Codes of a column of categories, text, flags or other values without arithmetic: positions in a list that grows.

    The levels of an ordered column keep their order: a level of a reference has its place in it where the reference's own
    categories are ordered and hold all of the column's in their order, and is refused elsewhere.
    """

    def __init__(self, name: Any, column: pd.Series) -> None:
        self.name, self.dtype = name, column.dtype
        self.levels: list[Any] = []
        self._exact: dict[Any, int] = {}  # by type too: True is not 1
        self._equal: dict[Any, int] = {}
        self._arrays: dict[tuple[int, bool], Any] = {}
        lost = column[column.isna()]
        self.missing = lost.iloc[0] if len(lost) else np.nan if self.dtype.kind in "Ob" else None
        self.order: list[Any] | None = None
        categories = isinstance(self.dtype, pd.CategoricalDtype)
        first = self.dtype.categories if categories else [False, True] if self.dtype.kind == "b" else column.dropna()
        try:
            for _, value in dict.fromkeys(_typed(first)):
                self._add(value)
        except TypeError as error:
            raise TypeError(
                f"column {name!r} holds what is neither number, category, text nor date ({error}): give the model columns made of "
                "it, or leave it out"
            ) from None
        if categories and self.dtype.ordered:
            self.order = list(self.levels)

    def _add(self, value: Any) -> int:
        """The position of a value among the levels; a new value is added."""
        place = self._exact.setdefault((type(value), value), len(self.levels))
        if place == len(self.levels):
            self.levels.append(value)
            self._equal.setdefault(value, place)
        return place

    def code(self, values: Any, order: Sequence[Any] | None = None) -> np.ndarray:
        """Positions of values among the levels, NaN where missing; `order` are the ordered categories of their own column."""
        given = np.asarray(values, dtype=object)
        known = ~pd.isna(given)
        out = np.full(len(given), np.nan)
        places = [self._exact.get(pair, -1) for pair in _typed(given[known])]
        out[known] = [self._place(v, order) if at < 0 else at for at, v in zip(places, given[known])]
        return out

    def _place(self, value: Any, order: Sequence[Any] | None) -> int:
        """The position of a level; a new one is added where it is of the kind of the others."""
        place = self._exact.get((type(value), value), None if self.dtype == object else self._equal.get(value))
        if place is not None:
            return place
        if self.levels and value not in self._equal and not any(isinstance(value, type(u)) for u in self.levels):
            raise TypeError(
                f"{value!r} is no category of column {self.name!r} ({self._shown}); use Samples.fit(reference), "
                "Mode.fit(reference) or Constant({column: category, ...})"
            )
        if self.order is not None:
            if order is None or [u for u in order if u in self.order] != self.order:
                raise ValueError(
                    f"{value!r} is no level of the ordered column {self.name!r} ({self._shown}), and nothing says where it stands "
                    f"among them; give the input all levels in their order: x[{self.name!r}].cat.set_categories([...], ordered=True)"
                )
            self.order = list(order)
            for level in order:
                self._add(level)
            return self._exact[type(value), value]
        return self._add(value)

    @property
    def plain(self) -> bool:
        """True where a cell is restored in full from its code: not among objects, of which several may be equal."""
        own = self.dtype
        return isinstance(own, pd.CategoricalDtype | pd.StringDtype | pd.BooleanDtype) or own == np.dtype(bool)

    @property
    def _shown(self) -> str:
        return ", ".join(map(repr, self.levels[:8])) + (", ..." if len(self.levels) > 8 else "")

    @property
    def current_dtype(self) -> Any:
        """The column's dtype, with the levels that were added to it."""
        if not isinstance(self.dtype, pd.CategoricalDtype) or len(self.levels) == len(self.dtype.categories):
            return self.dtype
        return pd.CategoricalDtype(self.levels if self.order is None else self.order, self.dtype.ordered)

    def values(self, codes: np.ndarray) -> pd.Series:
        """The levels at some positions, missing where NaN."""
        missing = np.isnan(codes)
        lost = bool(missing.any())
        dtype = np.dtype(object) if self.dtype == bool and lost else self.current_dtype
        found = self._array(dtype, lost).take(np.where(missing, len(self.levels), codes).astype(np.intp))
        return pd.Series(found, dtype=dtype)

    def _array(self, dtype: Any, lost: bool) -> Any:
        """The levels as an array of a dtype, and where cells are `lost` one more for them."""
        if (key := (len(self.levels), lost)) not in self._arrays:
            table = np.empty(len(self.levels) + lost, object)
            table[: len(self.levels)] = self.levels
            table[len(self.levels) :] = self.missing
            self._arrays = {key: pd.Series(table, dtype=dtype).array}
        return self._arrays[key]


def _dense(column: pd.Series) -> pd.Series:
    """A sparse column as a dense one, whose cells can be set."""
    return column.sparse.to_dense() if isinstance(column.dtype, pd.SparseDtype) else column


def _differ(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """True where codes differ; NaN equals NaN."""
    differ: np.ndarray = (a != b) & ~(np.isnan(a) & np.isnan(b))
    return differ


@dataclass
class Codes:
    """Codes of one DataFrame: numbers as they are, categories by their position in a list that grows, dates as counts.

    Of rows whose samples are known, every cell that has its sample's own code is the frame's own: its value, its type and
    its way of being missing; and the row has its sample's entry of the index.
    """

    frame: pd.DataFrame
    kinds: list[Numbers | _Levels]
    coded: np.ndarray
    table: Any = None
    back: Back | None = None

    @classmethod
    def of(cls, table: Any) -> Codes:
        """Read the columns' kinds from the dtypes of a DataFrame of pandas, polars or the like."""
        frame = as_pandas(table)
        if not frame.columns.is_unique:
            twice = frame.columns[frame.columns.duplicated()].tolist()
            raise ValueError(f"column names must be unique, these are not: {twice}")
        if len(set(names := column_labels(frame.columns).tolist())) < len(names):
            twice = sorted({str(name) for name in names if names.count(name) > 1})
            raise ValueError(f"column names must differ as text, and several columns are called {', '.join(twice)}")
        if twofold := [name for name, dtype in frame.dtypes.items() if kind_of(dtype) == "complex"]:
            raise TypeError(f"column {twofold[0]!r} is complex; give its real and its imaginary part, or its modulus")
        kinds = [
            Numbers(name, column.dtype)
            if kind_of(column.dtype) in ("number", "date", "duration")
            else _Levels(name, column)
            for name, column in frame.items()
        ]
        out = cls(frame, kinds, np.empty((len(frame), 0)), table, polars_like(table))
        out.coded = out.encode(frame)
        return out

    @property
    def levels(self) -> list[list[Any] | None]:
        """The levels of each column; None of numbers and dates."""
        return [kind.levels for kind in self.kinds]

    def code(self, column: int, values: Sequence[Any] | pd.Series, order: Sequence[Any] | None = None) -> np.ndarray:
        """Values of one column as float64: a number, the position of a category, the count of a date; NaN where missing.

        `order` are the ordered categories of the column that the values come from, where it has some.
        """
        return self.kinds[column].code(values, order)

    def encode(self, frame: pd.DataFrame) -> np.ndarray:
        """Float64 (rows, columns), NaN where missing."""
        coded = [self.code(c, column) for c, (_, column) in enumerate(frame.items())]
        return np.stack(coded, 1) if coded else np.empty((len(frame), 0))

    def given(self, position: np.ndarray) -> Any:
        """Rows of the table as it was given."""
        return self.frame.iloc[position] if self.back is None else self.table[position]

    def with_column(self, rows: Any, other: Any, name: Any) -> Any:
        """Rows of a table with one column replaced by that of others."""
        if self.back is not None:
            return rows.with_columns(other[name])
        mixed = rows.copy()
        mixed[name] = other[name]
        return mixed

    def decode(self, rows: np.ndarray, position: np.ndarray | None = None) -> Any:
        """The DataFrame of coded rows, in the columns' own dtypes, of the samples at `position` where that is known.

        Fractions in a column of whole numbers stay fractions.
        """
        if all(kind.dtype == np.float64 for kind in self.kinds):
            frame = pd.DataFrame(rows.copy(), columns=self.frame.columns)  # one block, which the model may write into
        else:
            columns = {c: self._column(c, rows[:, c], position) for c in range(len(self.kinds))}
            frame = pd.DataFrame(columns, copy=False).set_axis(self.frame.columns, axis=1)
        if position is not None:
            frame.index = self.frame.index.take(position)
        frame.attrs = self.frame.attrs
        if self.back is None:
            return frame
        own = None if position is None else ~_differ(rows, self.coded[position])
        return self.back(frame, position, own)

    def _column(self, c: int, codes: np.ndarray, position: np.ndarray | None) -> pd.Series:
        """Codes of one column as its values; the frame's own where they are its samples'."""
        kind = self.kinds[c]
        if position is None or kind.plain:
            return kind.values(codes)
        other = _differ(codes, self.coded[position, c])
        given = self.frame.iloc[:, c].take(position).reset_index(drop=True)
        if isinstance(kind, _Levels) and kind.current_dtype is not kind.dtype:
            given = given.astype(kind.current_dtype)
        if not other.any():
            return given
        new = kind.values(codes[other])
        given, dense = _dense(given), _dense(new)
        filled = (given if dense.dtype == given.dtype else given.astype(dense.dtype)).array.copy()
        filled[other] = dense.array
        return pd.Series(filled, dtype=new.dtype)
