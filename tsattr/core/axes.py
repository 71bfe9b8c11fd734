"""Names, sizes and coordinates of an input's dims, as plain arrays, and what follows from them: extents and alignment."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any

import numpy as np

from .cf import unit_of

# Unit -> (kind, factor to the kind's own unit: seconds, degrees, metres, months).
_UNITS: dict[str, tuple[str, float]] = {}
_TABLES: dict[str, dict[tuple[str, ...], float]] = {
    "time": {
        ("ns", "nanosecond", "nanoseconds"): 1e-9,
        ("us", "µs", "μs", "microsecond", "microseconds"): 1e-6,
        ("ms", "msec", "millisecond", "milliseconds"): 1e-3,
        ("s", "sec", "secs", "second", "seconds"): 1.0,
        ("min", "mins", "minute", "minutes"): 60.0,
        ("h", "hr", "hrs", "hour", "hours"): 3600.0,
        ("d", "day", "days"): 86400.0,
        ("week", "weeks"): 604800.0,
    },
    "angle": {
        ("deg", "degree", "degrees", "°", "degrees_north", "degrees_east"): 1.0,
        ("rad", "radian", "radians"): math.degrees(1),
    },
    "length": {("mm",): 1e-3, ("cm",): 1e-2, ("m", "metre", "metres", "meter", "meters"): 1.0, ("km",): 1e3},
    "month": {("month", "months"): 1.0, ("year", "years"): 12.0},
}
for _kind, _table in _TABLES.items():
    for _names, _factor in _table.items():
        _UNITS.update(dict.fromkeys(_names, (_kind, _factor)))

_CHANNELS = ("lead", "channel", "feature", "variable")


def parse_extent(size: str) -> tuple[float, str]:
    """Split ``"200ms"`` into its number and its unit.

    >>> parse_extent("0.5 s")
    (0.5, 's')
    """
    match = re.fullmatch(r"\s*([0-9]*\.?[0-9]+(?:[eE][-+]?\d+)?)\s*([^\d\s].*?)\s*", size)
    if match is None or match[2] not in _UNITS:
        known = "; ".join(", ".join(names[0] for names in table) for table in _TABLES.values())
        raise ValueError(
            f"an extent is a number with a unit, like '200ms' or '5deg', got {size!r}; known units: {known}"
        )
    return float(match[1]), match[2]


def with_unit_of(value: float, example: str) -> str:
    """A number in a kind's own unit (s, deg, m, month), written in the unit of `example`.

    >>> with_unit_of(0.25, "100ms")
    '250 ms'
    """
    unit = parse_extent(example)[1]
    return f"{value / _UNITS[unit][1]:.6g} {unit}"


def column_labels(columns: Any) -> np.ndarray:
    """A table's column names as labels of a dim: integers as they are, anything else as text."""
    names = list(columns)
    whole = all(isinstance(name, int | np.integer) and not isinstance(name, bool) for name in names)
    return np.asarray(names, dtype=np.int64) if whole else np.asarray(list(map(str, names)), dtype=object)


def frame_of_pandas(table: Any) -> Any:
    """A table of another library as a DataFrame of pandas, with numbers and flags as they are also where some are missing."""
    polars = type(table).__module__.startswith("polars")
    if wide := [name for name, dtype in table.schema.items() if str(dtype) in ("Int128", "UInt128")] if polars else []:
        raise TypeError(
            f"column {wide[0]!r} holds whole numbers of 128 bits, which pandas does not have: cast it to what holds its values, "
            f"x.with_columns(polars.col({wide[0]!r}).cast(polars.Int64)), or to polars.String for names"
        )
    frame = table.to_pandas()
    if polars:
        own = [
            name
            for name, dtype in table.schema.items()
            if dtype.is_decimal() or ((dtype.is_integer() or str(dtype) == "Boolean") and table[name].null_count())
        ]
        frame = frame.assign(**{name: table[name].to_pandas(use_pyarrow_extension_array=True) for name in own})
    return frame


def unmasked(value: Any, dtype: Any = None) -> np.ndarray:
    """An array with NaN where a masked array (or a list of them) masks: what is underneath, a fill value, is no value.

    >>> unmasked(np.ma.masked_array([1, -9999], [False, True])).tolist()
    [1.0, nan]
    """
    if isinstance(value, list | tuple) and any(isinstance(v, np.ma.MaskedArray) for v in value):
        value = np.ma.stack(value)
    if not np.ma.is_masked(value):
        return np.asarray(value, dtype)
    kind = value.dtype.kind
    if kind == "b":
        raise TypeError("an array of True and False is itself masked: say what it is there, mask.filled(False)")
    holds = value.astype(np.float64 if kind in "iu" else object if kind in "USV" else value.dtype)
    return np.asarray(holds.filled({"M": np.datetime64("NaT"), "m": np.timedelta64("NaT")}.get(kind, np.nan)), dtype)


@dataclass(frozen=True, eq=False)
class Array:
    """An array with dims and coords that compares and prints by content: what a fitted object holds.

    Anything with ``dims``, ``values`` and ``coords`` (an ``xarray.DataArray``), a mapping from labels to values, or a
    plain array of the event's shape can be held; :meth:`Axes.align` puts it on an input's axes.
    """

    values: np.ndarray
    dims: tuple[str, ...] | None = None
    coords: Mapping[str, np.ndarray] = field(default_factory=dict)
    orders: Mapping[Any, tuple[Any, ...]] = field(default_factory=dict)  # of a table's ordered columns, the levels

    @classmethod
    def of(cls, value: Any) -> Array:
        """Hold `value`: a labelled array, a table, a mapping of labels, or a plain array."""
        if isinstance(value, Array):
            return value
        if hasattr(value, "data_vars"):
            raise TypeError("a Dataset holds several variables: give one object for each, {name: ...(data[name])}")
        if isinstance(value, Mapping):
            entries = [np.nan if v is np.ma.masked else v for v in value.values()]
            labels, values = (np.asarray(part, dtype=object) for part in (list(value), entries))
            return cls(values, ("",), {"": labels})
        if hasattr(value, "dims") and hasattr(value, "coords"):
            coords = {str(d): np.asarray(value.coords[d].values) for d in value.dims if d in value.coords}
            return cls(np.asarray(value.values), tuple(map(str, value.dims)), coords)
        if hasattr(value, "columns") and hasattr(value, "to_pandas"):  # polars, pyarrow
            value = frame_of_pandas(value)
        if hasattr(value, "columns") and hasattr(value, "index"):
            names = column_labels(value.columns)
            orders = {n: tuple(t.categories) for n, t in zip(names, value.dtypes) if getattr(t, "ordered", False)}
            frame = {"sample": np.asarray(value.index), "feature": names}
            return cls(value.to_numpy(dtype=object), ("sample", "feature"), frame, orders)
        if hasattr(value, "detach"):
            value = value.detach().cpu().numpy()
        return cls(unmasked(value))

    @cached_property
    def digest(self) -> str:
        """The first 12 hex digits of the SHA-256 of values, dims and coords, taken once."""
        found = hashlib.sha256(repr(self.dims).encode())
        for name, part in [("values", self.values), *sorted(self.coords.items())]:
            if part.dtype.kind == "U":  # text is the same text however it is kept: files give it back as objects
                part = part.astype(object)
            found.update(repr((name, part.shape, str(part.dtype))).encode())
            for piece in part.reshape(len(part), -1).T if part.dtype == object and part.ndim else [part]:
                found.update(_told(piece))
        if self.orders:
            found.update(repr(dict(self.orders)).encode())
        return found.hexdigest()[:12]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Array) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    def __repr__(self) -> str:
        if self.values.ndim == 0:
            return repr(self.values.item())
        if self.dims == ("",):
            return repr(dict(zip(self.coords[""].tolist(), self.values.tolist())))
        names = self.dims or ("",) * self.values.ndim
        shape = ", ".join(f"{d} {s}".strip() for d, s in zip(names, self.values.shape))
        return f"<{shape}: sha256 {self.digest}>"


def _told(part: np.ndarray) -> bytes:
    """An array's content; objects that are all numbers as numbers, many times as fast as one by one."""
    if part.dtype == object:
        objects = part.tolist()
        numbers = np.array(objects) if set(map(type, objects)) <= {float, int} else part
        if numbers.dtype == object:  # words; whole numbers beyond 64 bits
            return repr(objects).encode()
        part = numbers
    return str(part.dtype).encode() + np.ascontiguousarray(part).tobytes()


@dataclass(frozen=True)
class Axes:
    """The dims of one input variable without its sample dim, and the samples' own axis beside them.

    Parameters
    ----------
    dims, shape
        Names and sizes of the event dims, in the input's order.
    coords, units
        Coordinate values and unit strings by dim; a dim may have neither.
    sample_dim, samples, sample_coord
        Name and length of the sample axis, and its coordinate if it has one.
    periodic
        Dims that close on themselves (a full circle of longitude).
    dates
        Coordinates of dates by name that are no dim's own, such as the time of each sample's lags.
    nominal
        Of the event's shape, True where values are codes of categories, or None.
    code
        ``code(position, values, order)`` gives float64 codes of values of the cell at a flat position of the event, which
        come from a column of these ordered levels or None; or None where cells hold numbers as they are.
    scale
        What a model's outputs are, where it says so: "logits", "probability" or "value"; None of an input.
    time
        The dim that is time by the attributes of its coordinate, whatever it is called; None where none is.
    taken
        Sentences on numbers that may be labels or indices: which they were taken for.
    """

    dims: tuple[str, ...]
    shape: tuple[int, ...]
    coords: Mapping[str, np.ndarray] = field(default_factory=dict)
    units: Mapping[str, str] = field(default_factory=dict)
    sample_dim: str = "sample"
    samples: int = 1
    sample_coord: np.ndarray | None = None
    periodic: frozenset[str] = frozenset()
    dates: Mapping[str, Array] = field(default_factory=dict)
    nominal: np.ndarray | None = None
    code: Any = None
    scale: str | None = None
    time: str | None = None
    taken: list[str] = field(default_factory=list, compare=False)

    @property
    def channels(self) -> tuple[str, ...]:
        """The dims that hold unlike quantities side by side: lead, channel, feature, variable."""
        return tuple(d for d in self.dims if d in _CHANNELS)

    def axis(self, dim: str) -> int:
        """Position of `dim` among the event dims; KeyError where there is no such dim."""
        if dim not in self.dims:
            raise KeyError(f"no dim {dim!r} to work along; the input's dims are {list(self.dims)}: name one of them")
        return self.dims.index(dim)

    def called(self, dim: str) -> str:
        """What the dim that a method calls `dim` is called here: "time" is any dim that is time by its attributes."""
        return self.time if dim == "time" and dim not in self.dims and self.time is not None else dim

    def _unit(self, dim: str) -> str:
        unit = self.units[dim] if dim in self.units else unit_of(dim, {})
        return unit.split(" since")[0].strip()

    def kind(self, dim: str) -> str | None:
        """What a dim of numbers measures by its unit: time, angle, length, month; None where that is not known."""
        return _UNITS[unit][0] if (unit := self._unit(dim)) in _UNITS else None

    def is_longitude(self, dim: str) -> bool:
        """Whether `dim` is labelled by degrees eastward."""
        labelled = dim in self.coords and np.asarray(self.coords[dim]).dtype.kind in "fiu"
        return labelled and self._unit(dim) == "degrees_east"

    def positions(self, dim: str) -> tuple[np.ndarray, str]:
        """Coordinate of `dim` as increasing numbers in its kind's own unit (s, deg, m, month), and the kind."""
        self.axis(dim)
        if dim not in self.coords:
            raise ValueError(
                f"a size with a unit needs a coordinate on dim {dim!r}, which has none; give an int number of cells, "
                f"or assign one: x.assign_coords({dim}=...)"
            )
        c = np.asarray(self.coords[dim])
        p = self._numbers(dim)
        if p is None:
            raise ValueError(f"dim {dim!r} is labelled by {_kind_of(c)}, so sizes along it are int numbers of cells")
        kind = "time"
        if c.dtype.kind in "fiu":
            unit = self._unit(dim)
            if unit not in _UNITS:
                raise ValueError(
                    f"the coordinate of dim {dim!r} has unit {unit or 'none'!r}, which is not known here; set "
                    f"x.{dim}.attrs['units'] to one of s, ms, min, h, day, deg, m, km, month, or give an int number of cells"
                )
            kind, factor = _UNITS[unit]
            p = p * factor
        return self._increasing(p, dim), kind

    def descends(self, dim: str) -> bool:
        """Whether the coordinate of `dim` is numbers or dates that decrease, other than round a circle."""
        p = None if dim in self.periodic else self._numbers(dim)
        return p is not None and len(p) > 1 and bool((np.diff(p) < 0).all())

    def line(self, dim: str) -> np.ndarray:
        """Where the cells of `dim` lie, in any unit: its coordinate where that is numbers or dates, else cell numbers."""
        p = self._numbers(dim)
        return np.arange(self.shape[self.axis(dim)], dtype=np.float64) if p is None else self._increasing(p, dim)

    def _numbers(self, dim: str) -> np.ndarray | None:
        """The coordinate of `dim` as float numbers, those of a circle as if it were cut nowhere; None where it is none."""
        p = _numbers(np.asarray(self.coords[dim])) if dim in self.coords else None
        if p is not None and dim in self.periodic:  # a circle may be cut anywhere: 180, ..., 358, 0, ..., 178
            return np.unwrap(p, period=turn_of(p))
        return np.unwrap(p, period=360.0) if p is not None and self.is_longitude(dim) else p

    def _increasing(self, p: np.ndarray, dim: str) -> np.ndarray:
        p = -p if p[0] > p[-1] else p
        back = np.flatnonzero(~(np.diff(p) > 0))
        if len(back):
            raise ValueError(self._disorder(dim, int(back[0])))
        return p

    def _disorder(self, dim: str, at: int) -> str:
        """What is wrong with a coordinate that does not run in one direction after cell `at`, and what to do."""
        labels = np.asarray(self.coords[dim])
        one, other = (str(label) for label in labels[at : at + 2])
        if {one, other} & {"nan", "NaT", "None"}:
            fault, way = f"has no value in cell {at + (one not in ('nan', 'NaT', 'None'))}", "give it one"
        elif (twice := repeated(labels)) is not None:
            fault, way = f"has {twice} twice", f"give every cell a place of its own, x.assign_coords({dim}=...)"
            way += ", such as the time in UTC" if is_dates(labels) else ""
        else:
            fault = f"runs to and fro: {one} is followed by {other}"
            way = "put it in order from west to east" if self.is_longitude(dim) else f"sort it, x.sortby({dim!r})"
        return f"the coordinate of dim {dim!r} {fault}; {way}, or give sizes in cells, as an int"

    def extent(self, dim: str, size: str) -> tuple[float, np.ndarray]:
        """`size` ("200ms") in the unit of :meth:`positions`, and those positions."""
        p, kind = self.positions(dim)
        number, unit = parse_extent(size)
        if _UNITS[unit][0] != kind:
            raise ValueError(f"{size!r} is not a size along dim {dim!r}, whose coordinate is a {kind}")
        return number * _UNITS[unit][1], p

    def cells(self, dim: str, size: float | str) -> float:
        """`size` along `dim` as a (fractional) number of cells; a string needs an evenly spaced coordinate."""
        if not isinstance(size, str):
            self.axis(dim)
            return float(size)
        width, p = self.extent(dim, size)
        if len(p) < 2:
            return float("inf")
        steps = np.diff(p)
        if not np.allclose(steps, steps.mean(), rtol=1e-3):
            raise ValueError(
                f"the coordinate of dim {dim!r} is not evenly spaced; give the size in cells, or interpolate first"
            )
        return float(width / steps.mean())

    def name_of(self, cell: int) -> str:
        """What the cell at a flat position of the event is called."""
        at = np.unravel_index(cell, self.shape)
        return "/".join(str(self.coords[d][i] if d in self.coords else i) for d, i in zip(self.dims, at))

    def coded(self, rows: np.ndarray, orders: Mapping[Any, tuple[Any, ...]] | None = None) -> np.ndarray:
        """Rows of values (n, cells) as float64, with categories and dates as the codes they have in the input."""
        if self.code is None:
            return rows.astype(np.float64)
        of = [(orders or {}).get(name) for name in self.coords[self.dims[-1]]]
        return np.stack([self.code(i, rows[:, i], of[i]) for i in range(rows.shape[1])], 1)

    def align(self, array: Array, what: str) -> np.ndarray:
        """`array` on these axes, as shape ``(samples or 1, *shape)`` with 1 along dims it does not have.

        Labelled dims are matched by coordinate value, whatever their order; a mapping of labels is matched to the dim
        that has them; a plain array must have the event's shape. ValueError or KeyError says what does not fit.
        """
        v, dims = array.values, array.dims
        if v.ndim == 0:
            return v.reshape((1,) * (1 + len(self.shape)))
        if dims is None:
            if v.shape != self.shape:
                raise ValueError(
                    f"{what} has shape {v.shape}, but a sample has shape {self.shape} (dims {list(self.dims)}); "
                    "give that shape, or an xarray.DataArray with the dims it has"
                )
            return v[None]
        coords = dict(array.coords)
        if dims == ("",):
            dims = (self._dim_of_labels(coords.pop(""), what),)
            coords = {dims[0]: array.coords[""]}
        extra = [d for d in dims if d not in (self.sample_dim, *self.dims)]
        if extra:
            raise ValueError(
                f"{what} has dim {extra[0]!r}, which the input lacks (its dims: {[self.sample_dim, *self.dims]})"
            )
        sizes = dict(zip((self.sample_dim, *self.dims), (self.samples, *self.shape)))
        mine = {**self.coords, **({} if self.sample_coord is None else {self.sample_dim: self.sample_coord})}
        for axis, d in enumerate(dims):
            if d in coords and d in mine and not _same(coords[d], mine[d]):
                turn = 360.0 if d in self.dims and self.is_longitude(d) and coords[d].dtype.kind in "fiu" else None
                v = np.take(v, positions_of(mine[d], coords[d], what, d, turn=turn), axis)
            elif v.shape[axis] != sizes[d]:
                raise ValueError(f"{what} has {v.shape[axis]} entries along dim {d!r}, the input has {sizes[d]}")
        order = [d for d in (self.sample_dim, *self.dims) if d in dims]
        v = v.transpose([dims.index(d) for d in order])
        return v.reshape([sizes[d] if d in order else 1 for d in (self.sample_dim, *self.dims)])

    def _dim_of_labels(self, labels: np.ndarray, what: str) -> str:
        for d, c in self.coords.items():
            if all(label in c.tolist() for label in labels.tolist()):
                return d
        raise KeyError(f"{what} names {labels.tolist()}, which are not labels of any one dim of {list(self.dims)}")


def numbers_of(values: np.ndarray, what: str) -> np.ndarray:
    """Values as float64, missing ones as NaN; TypeError for what is no number, ValueError for what is infinite."""
    kind = {"U": "text", "T": "text", "S": "bytes", "b": "booleans", "c": "complex numbers"}.get(values.dtype.kind)
    odd = (
        [type(v).__name__ for v in values.flat if isinstance(v, str | bool | complex)] if values.dtype == object else []
    )
    if kind or odd or values.dtype.kind in "mM":
        raise TypeError(f"{what} holds {kind or (odd or ['dates'])[0]}, and the input numbers: give numbers")
    found = values.astype(np.float64)
    if np.isinf(found).any():
        raise ValueError(f"{what} holds infinite values: give finite ones, or NaN where they are missing")
    return found


def is_dates(labels: np.ndarray) -> bool:
    """Whether labels are dates: of NumPy, of another calendar (cftime), or of a time zone."""
    if labels.dtype != object or not labels.size:
        return labels.dtype.kind == "M"
    return hasattr(labels.flat[0], "calendar") or isinstance(labels.flat[0], datetime)


def _kind_of(labels: np.ndarray) -> str:
    kind = {"U": "text", "b": "booleans"}.get(labels.dtype.kind)
    return kind or (type(labels.flat[0]).__name__ if labels.size else str(labels.dtype))


def _numbers(coord: np.ndarray) -> np.ndarray | None:
    """A coordinate as float numbers, dates as seconds from the first; None for labels."""
    if coord.dtype.kind in "Mm":
        return (coord - coord[0]) / np.timedelta64(1, "s")
    if is_dates(coord):
        return np.array([(v - coord[0]).total_seconds() for v in coord])
    return coord.astype(np.float64) if coord.dtype.kind in "fiu" else None


def turn_of(coord: np.ndarray) -> float:
    """The length of the circle that a periodic coordinate goes round once."""
    return float(np.abs(np.diff(coord)).min() * len(coord))  # the step over a cut is longer than the others


def eastward(lon: Any, west: float, east: float) -> Any:
    """Which longitudes lie between two meridians, ends included, going eastward; in any convention, all for a whole turn."""
    rounding = 5e-5  # float32 keeps no more of a longitude
    width = 360.0 if abs(east - west) >= 360 else (east - west) % 360
    return (lon - west + rounding) % 360 <= width + 2 * rounding


def _same(a: np.ndarray, b: np.ndarray) -> bool:
    if a.shape != b.shape:
        return False
    if a.dtype.kind in "fiu" and b.dtype.kind in "fiu":
        return bool(np.allclose(a, b, rtol=1e-6, atol=1e-9))
    return a.tolist() == b.tolist()


def repeated(labels: np.ndarray) -> Any:
    """The first label that is there twice; None where each is there once."""
    seen = set()
    for label in labels.tolist() if labels.dtype.kind in "OUTSb" else _doubles(labels):
        if label in seen:
            return label
        seen.add(label)
    return None


def _doubles(labels: np.ndarray) -> list[Any]:
    """Those of the numbers or dates that are there more than once, as often as they are; dates as text."""
    _, number, count = np.unique(labels, return_inverse=True, return_counts=True, equal_nan=False)
    some = labels[count[number.reshape(-1)] > 1]
    return list(map(str, some)) if labels.dtype.kind in "Mm" else some.tolist()


def positions_of(
    want: np.ndarray, have: np.ndarray, what: str, dim: str, *, turn: float | None = None, whose: str = "the input's"
) -> np.ndarray:
    """Where each of the labels `want` is among `have`, numbers within rounding and, on a circle, modulo a turn.

    ValueError where some are not there: `what` lacks labels that are `whose`. Equal labels in equal order belong together one
    by one; else none may be there twice, as nothing says which of the two is meant.
    """
    if _same(have, want):
        return np.arange(len(want))
    for labels, owner in ((have, f"{what} has"), (want, f"{what} is matched to {whose} labels, which have")):
        if (twice := repeated(labels)) is not None:
            raise ValueError(
                f"{owner} {twice!r} twice along dim {dim!r}: nothing says which is meant; give both in the same order, or "
                "every entry a label of its own"
            )
    if turn is not None or want.dtype.kind == "f":
        numbers, aims = have.astype(float), want.astype(float)
        if turn is not None:
            aims = aims % turn
            numbers = (numbers % turn + [[-turn], [0.0], [turn]]).ravel()
        order = numbers.argsort()
        right = np.searchsorted(numbers[order], aims).clip(max=len(numbers) - 1)
        sides = order[np.stack([(right - 1).clip(min=0), right])]
        at = np.take_along_axis(sides, np.abs(numbers[sides] - aims).argmin(0)[None], 0)[0]
        lost = ~np.isclose(numbers[at], aims, rtol=1e-6, atol=1e-9 if turn is None else 1e-6 * turn)
        at = at % len(have)
    else:
        where = {v: i for i, v in enumerate(have.tolist())}
        lost = np.array([v not in where for v in want.tolist()], dtype=bool)
        at = np.array([where.get(v, 0) for v in want.tolist()])
    if lost.any():
        missing = want[lost][:5].tolist()
        raise ValueError(f"{what} lacks {int(lost.sum())} of {whose} labels along dim {dim!r}, such as {missing}")
    return at
