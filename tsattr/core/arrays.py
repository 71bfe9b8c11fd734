"""Arrays with dims and coordinates that compare and print by content, and what of other libraries becomes one."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

VALUE, INVALID = "value", "invalid"
"""What a missing cell is: a value like any other, or no cell of its sample."""


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
            value = as_pandas_frame(value)
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
                found.update(_content(piece))
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


def _content(part: np.ndarray) -> bytes:
    """An array's content; objects that are all numbers as numbers, many times as fast as one by one."""
    if part.dtype == object:
        objects = part.tolist()
        numbers = np.array(objects) if set(map(type, objects)) <= {float, int} else part
        if numbers.dtype == object:  # words; whole numbers beyond 64 bits
            return repr(objects).encode()
        part = numbers
    return str(part.dtype).encode() + np.ascontiguousarray(part).tobytes()


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


def column_labels(columns: Any) -> np.ndarray:
    """A table's column names as labels of a dim: integers as they are, anything else as text."""
    names = list(columns)
    whole = all(isinstance(name, int | np.integer) and not isinstance(name, bool) for name in names)
    return np.asarray(names, dtype=np.int64) if whole else np.asarray(list(map(str, names)), dtype=object)


def as_pandas_frame(table: Any) -> Any:
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
