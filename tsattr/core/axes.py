"""Names, sizes and coordinates of an input's dims, as plain arrays, and what follows from them: extents and alignment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .arrays import Array
from .cf import unit_of
from .indexing import is_dates, positions_of, repeated, same_labels
from .units import UNITS, parse_extent

_CHANNELS = ("lead", "channel", "feature", "variable")


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
        """The name that the dim called `dim` has here: "time" stands for the dim that is time by its attributes."""
        return self.time if dim == "time" and dim not in self.dims and self.time is not None else dim

    def _unit(self, dim: str) -> str:
        unit = self.units[dim] if dim in self.units else unit_of(dim, {})
        return unit.split(" since")[0].strip()

    def kind(self, dim: str) -> str | None:
        """What a dim of numbers measures by its unit: time, angle, length, month; None where that is not known."""
        return UNITS[unit][0] if (unit := self._unit(dim)) in UNITS else None

    def is_longitude(self, dim: str) -> bool:
        """True where `dim` is labelled by degrees east."""
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
            raise ValueError(f"dim {dim!r} is labelled by {_type_of(c)}, so sizes along it are int numbers of cells")
        kind = "time"
        if c.dtype.kind in "fiu":
            unit = self._unit(dim)
            if unit not in UNITS:
                raise ValueError(
                    f"the coordinate of dim {dim!r} has unit {unit or 'none'!r}, which is not known here; set "
                    f"x.{dim}.attrs['units'] to one of s, ms, min, h, day, deg, m, km, month, or give an int number of cells"
                )
            kind, factor = UNITS[unit]
            p = p * factor
        return self._increasing(p, dim), kind

    def descends(self, dim: str) -> bool:
        """True where the coordinate of `dim` is numbers or dates that decrease; False for a periodic dim."""
        p = None if dim in self.periodic else self._numbers(dim)
        return p is not None and len(p) > 1 and bool((np.diff(p) < 0).all())

    def line(self, dim: str) -> np.ndarray:
        """Increasing positions (cells,) along `dim`, in any unit: its coordinate where that is numbers or dates, else cell numbers."""
        p = self._numbers(dim)
        return np.arange(self.shape[self.axis(dim)], dtype=np.float64) if p is None else self._increasing(p, dim)

    def _numbers(self, dim: str) -> np.ndarray | None:
        """The coordinate of `dim` as floats, unwrapped where it is periodic; None where it is labels or missing."""
        p = _numbers(np.asarray(self.coords[dim])) if dim in self.coords else None
        if p is not None and dim in self.periodic:  # a circle may be cut anywhere: 180, ..., 358, 0, ..., 178
            return np.unwrap(p, period=period_of(p))
        return np.unwrap(p, period=360.0) if p is not None and self.is_longitude(dim) else p

    def _increasing(self, p: np.ndarray, dim: str) -> np.ndarray:
        p = -p if p[0] > p[-1] else p
        back = np.flatnonzero(~(np.diff(p) > 0))
        if len(back):
            raise ValueError(self._disorder(dim, int(back[0])))
        return p

    def _disorder(self, dim: str, at: int) -> str:
        """The error text for a coordinate that is not monotonic after cell `at`."""
        labels = np.asarray(self.coords[dim])
        one, other = (str(label) for label in labels[at : at + 2])
        if {one, other} & {"nan", "NaT", "None"}:
            fault, fix = f"has no value in cell {at + (one not in ('nan', 'NaT', 'None'))}", "give it one"
        elif (twice := repeated(labels)) is not None:
            fault, fix = f"has {twice} twice", f"give every cell a place of its own, x.assign_coords({dim}=...)"
            fix += ", such as the time in UTC" if is_dates(labels) else ""
        else:
            fault = f"runs to and fro: {one} is followed by {other}"
            fix = "put it in order from west to east" if self.is_longitude(dim) else f"sort it, x.sortby({dim!r})"
        return f"the coordinate of dim {dim!r} {fault}; {fix}, or give sizes in cells, as an int"

    def extent(self, dim: str, size: str) -> tuple[float, np.ndarray]:
        """`size` ("200ms") in the unit of :meth:`positions`, and those positions."""
        p, kind = self.positions(dim)
        number, unit = parse_extent(size)
        if UNITS[unit][0] != kind:
            raise ValueError(f"{size!r} is not a size along dim {dim!r}, whose coordinate is a {kind}")
        return number * UNITS[unit][1], p

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
        """The labels of the cell at a flat position of the event, such as "V2/0.5"."""
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
            if d in coords and d in mine and not same_labels(coords[d], mine[d]):
                period = 360.0 if d in self.dims and self.is_longitude(d) and coords[d].dtype.kind in "fiu" else None
                v = np.take(v, positions_of(mine[d], coords[d], what, d, period=period), axis)
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


def _type_of(labels: np.ndarray) -> str:
    kind = {"U": "text", "b": "booleans"}.get(labels.dtype.kind)
    return kind or (type(labels.flat[0]).__name__ if labels.size else str(labels.dtype))


def _numbers(coord: np.ndarray) -> np.ndarray | None:
    """A coordinate as floats, dates as seconds from the first; None for labels."""
    if coord.dtype.kind in "Mm":
        seconds: np.ndarray = (coord - coord[0]) / np.timedelta64(1, "s")
        return seconds
    if is_dates(coord):
        return np.array([(v - coord[0]).total_seconds() for v in coord])
    return coord.astype(np.float64) if coord.dtype.kind in "fiu" else None


def period_of(coord: np.ndarray) -> float:
    """The period of a coordinate round a circle, in its own unit."""
    return float(np.abs(np.diff(coord)).min() * len(coord))  # the step over a cut is longer than the others


def eastward(lon: Any, west: float, east: float) -> Any:
    """Bool: the longitudes from `west` eastward to `east`, ends included, in any convention; all of them for 360 degrees."""
    rounding = 5e-5  # float32 keeps no more of a longitude
    width = 360.0 if abs(east - west) >= 360 else (east - west) % 360
    return (lon - west + rounding) % 360 <= width + 2 * rounding
