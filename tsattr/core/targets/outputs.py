"""A model's output axes: their names and labels, and which entry a label means."""

from __future__ import annotations

import re
import warnings
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from ..axes import Axes
from ..bound import Value
from ..cf import unit_of
from ..indexing import is_dates, repeated
from ..units import UNITS, parse_extent, written

"""What a bound target is: ``(outputs, outputs of the same samples intact) -> (rows,)``."""
SCALES = ("logits", "probability", "value")
MEMBER = "member"  # the output axis of an ensemble's members
ROUNDING = 1e-4  # how far from 1 probabilities may add up, in float16 models too
_FEW = 200  # outputs that may all lie between 0 and 1 by chance


class Several:
    """What stands for several targets, and is given by itself."""


class Target(ABC):
    """Base of targets: frozen settings that ``bind(outputs)`` turns into a number for each row of a model's outputs.

    Attributes
    ----------
    compares
        True where the number depends on the outputs at the intact sample too, which are then kept; False promises that it
        does not.
    keeps_units
        True where it is in the units of the outputs: one of them, a mean or a sum of some, or a difference of these.
    of_members
        True where it is of all members of an ensemble together, which are then asked as one model: with an output axis
        "member" before those of each.
    unsigned
        True where it says how far the outputs move and not which way; :meth:`level` does.
    on_command_line
        True where it can be written on the command line: its settings are plain values.
    """

    compares: bool = True
    keeps_units: bool = False
    of_members: bool = False
    unsigned: bool = False
    on_command_line: ClassVar[bool] = True

    @abstractmethod
    def bind(self, outputs: Axes) -> Value:
        """The function ``(y, y0) -> (rows,)`` for a model with these output axes."""

    def level(self, outputs: Axes) -> Value:
        """What the model says in one number, whose change the target is: the target itself, unless it measures a change."""
        return self.bind(outputs)

    def choose(self, outputs: Axes) -> Target:
        """The target that it stands for with these outputs: itself, unless it leaves something open."""
        return self

    @property
    def label(self) -> str:
        """Its name along a `target` dim."""
        return repr(self)


@dataclass(frozen=True)
class Outputs(Target):
    """A target in the place of none, where the outputs themselves are read: its value is only looked at for being finite."""

    def bind(self, outputs: Axes) -> Value:
        """The sum of the outputs."""
        return lambda y, y0: y.flatten(1).sum(1) if y.ndim > 1 else y


def one_a_row(value: Value, target: Target) -> Value:
    """`value`, checked at each call to give one number for each row."""

    def checked(y: Tensor, y0: Tensor) -> Tensor:
        v = value(y, y0)
        if v.shape != y.shape[:1]:
            raise ValueError(
                f"{target!r} gave shape {tuple(v.shape)} for {len(y)} rows; a target gives one number a row"
            )
        return v

    return checked


def scale_of(target: Any, of: str | None, outputs: Axes) -> str:
    """The scale of the outputs, of `SCALES`: as the user says, else the model, else logits; ValueError where they differ."""
    if of is not None and outputs.scale not in (None, of):
        raise ValueError(
            f"{target!r} takes the outputs for {of}, but the model's are of={outputs.scale!r}; leave out of="
        )
    return of or outputs.scale or "logits"


def taken_for_logits(value: Value, target: Any) -> Value:
    """`value` of outputs that nobody called logits: they are looked at where the samples are intact.

    That is at first, and wherever they are compared with themselves.
    """
    seen = False

    def looked(y: Tensor, y0: Tensor) -> Tensor:
        nonlocal seen
        if not seen or y is y0:
            _check_logits(y, target)
        seen = True
        return value(y, y0)

    return looked


def _check_logits(y: Tensor, target: Any) -> None:
    rows = y[:, None] if y.ndim == 1 else y.flatten(0, -2)
    if rows.shape[1] > 1 and len(rows) and probabilities(rows):
        raise ValueError(
            f"{target!r}: every row of the model's outputs lies in [0, 1] and sums to 1, which logits do not; give "
            "of='probability'"
        )
    if rows.shape[1] == 1 and len(rows) >= _FEW and ((rows >= 0) & (rows <= 1)).all():
        warnings.warn(
            f"{target!r} takes the model's one output for a logit, and all of {len(rows)} lie between 0 and 1; for a "
            "probability give of='probability'",
            stacklevel=2,
        )


def probabilities(y: Tensor) -> bool:
    """True where all rows (rows, outputs) lie in [0, 1] and sum to 1, as probabilities of exclusive classes do."""
    return bool(((y >= -ROUNDING) & (y <= 1 + ROUNDING)).all() and ((y.sum(1) - 1).abs() <= ROUNDING).all())


def log_probabilities(y: Tensor, of: str, target: Any) -> Tensor:
    """Log-probabilities over the last axis in float64, -inf for a class without any; one number stands for two classes.

    ValueError, about `target`, for probabilities out of range or of classes that do not exclude each other.
    """
    y = y.to(torch.float64)
    if of == "logits":
        if y.shape[-1] == 1:
            return torch.nn.functional.logsigmoid(torch.cat([y, -y], -1))
        return y.log_softmax(-1)
    finite = y.detach().flatten(0, -2)
    finite = finite[torch.isfinite(finite).all(1)]
    low, high = (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 1.0)
    if low < -ROUNDING or high > 1 + ROUNDING:
        raise ValueError(f"{target!r}: the model's outputs run from {low:.4g} to {high:.4g}; are they logits?")
    if y.shape[-1] == 1:
        y = torch.cat([y, 1 - y], -1)
    elif not probabilities(finite):
        raise ValueError(
            f"{target!r}: the model's outputs do not sum to 1; are they logits, or classes that do not exclude each other?"
        )
    none = y <= 0  # log has no slope there, and NaN would come of it
    return torch.where(none, -torch.inf, torch.where(none, 1, y).log())


def without_axis(outputs: Axes, dim: str | None) -> Axes:
    """Output axes without that of `dim`, where there is one."""
    if dim not in outputs.dims:
        return outputs
    kept = [a for a, d in enumerate(outputs.dims) if d != dim]
    names = tuple(outputs.dims[a] for a in kept)
    coords = {d: c for d, c in outputs.coords.items() if d != dim}
    return replace(outputs, dims=names, shape=tuple(outputs.shape[a] for a in kept), coords=coords)


def axis_of(outputs: Axes, dim: str) -> int:
    """Position of an output axis; KeyError where the model has none of that name."""
    if dim not in outputs.dims:
        of_one = "; of one member of an ensemble: ta.targets.Member(name, target)" if dim == MEMBER else ""
        raise KeyError(f"no output axis {dim!r}; the model's are {list(outputs.dims)}, named by outputs=...{of_one}")
    return outputs.dims.index(dim)


@dataclass(frozen=True, repr=False)
class Index:
    """An entry of an output axis by its place, whatever the axis is labelled by."""

    place: int

    def __post_init__(self) -> None:
        if isinstance(self.place, bool | np.bool_) or not isinstance(self.place, int | np.integer):
            raise TypeError(f"a place on an output axis is an int, counted from 0, got {self.place!r}")

    def __repr__(self) -> str:
        return repr(int(self.place))


def index_of(outputs: Axes, dim: str, where: Any) -> int:
    """The index of one entry of an output axis; where label and index differ, ``outputs.taken`` tells which an int was.

    An int is a label where the axis is labelled by whole numbers, unless these are 0, 1, 2, ...; else an index; a negative
    one counts from the end where no label is negative. An `Index` is an index, anything else a label.
    """
    axis_of(outputs, dim)
    if isinstance(where, Index):
        return _at_place(outputs, dim, where.place)
    if isinstance(where, bool | np.bool_):
        return _at_truth(outputs, dim, bool(where))
    duration = np.asarray(where).dtype.kind == "m"  # which NumPy derives from its integers
    if duration or not isinstance(where, int | np.integer):
        return _at_label(outputs, dim, where)
    number, labels = int(where), np.asarray(outputs.coords.get(dim, np.empty(0, object)))
    numbers = whole_numbers(labels)
    if numbers is None or numbers == list(range(len(numbers))):
        at = _at_place(outputs, dim, number)
        if labels.dtype.kind == "f" and labels.min() <= number <= labels.max() and labels[at] != number:
            outputs.taken.append(f"{dim}={number} of the target is an index: the output labelled {labels[at]}")
        return at
    if number < 0 <= min(numbers) and not outputs.is_longitude(dim):
        at = _at_place(outputs, dim, number)
        outputs.taken.append(f"{dim}={number} of the target counts from the end: the output labelled {labels[at]}")
        return at
    at = _at_number(outputs, dim, numbers, number)
    if at != number:
        other = f"the index is Output.at({_written(outputs, dim, number)})"
        outputs.taken.append(f"{dim}={number} of the target is a label, of entry {at} counted from 0; {other}")
    return at


def whole_numbers(labels: np.ndarray) -> list[int] | None:
    """Labels as whole numbers, which may be stored as floats or as text; None where there are none or some are not."""
    if labels.dtype.kind == "f":
        whole = len(labels) > 0 and bool((abs(labels) < 2**53).all() and (labels % 1 == 0).all())
        return labels.astype(np.int64).tolist() if whole else None
    values = labels.tolist() if labels.dtype.kind in "iuUTO" else []
    if not values or any(isinstance(v, bool) or not re.fullmatch(r"0|-?[1-9]\d*", str(v)) for v in values):
        return None
    return [int(v) for v in values] if all(isinstance(v, int | str) for v in values) else None


def _at_place(outputs: Axes, dim: str, place: int) -> int:
    n = outputs.shape[axis_of(outputs, dim)]
    if not -n <= place < n:
        raise IndexError(f"target {int(place)} is out of range: output axis {dim!r} has {n} entries (0 to {n - 1})")
    return int(place) % n


def _at_truth(outputs: Axes, dim: str, where: bool) -> int:
    labels = np.asarray(outputs.coords.get(dim, ()))
    if labels.dtype.kind != "b":
        raise TypeError(f"a target along {dim!r} is an int or a label, got {where!r}")
    if where not in labels:
        raise _no_label(outputs, dim, where)
    return int(labels.tolist().index(where))


def _at_number(outputs: Axes, dim: str, numbers: list[int], where: int) -> int:
    turn = 360 if outputs.is_longitude(dim) else None
    for at, number in enumerate(numbers):
        if number == where or (turn and (number - where) % turn == 0):
            return at
    raise _no_label(outputs, dim, where, f"; an entry by its index is Output.at({_written(outputs, dim, where)})")


def _at_label(outputs: Axes, dim: str, where: Any) -> int:
    if isinstance(where, list | tuple | range | slice | np.ndarray):
        raise TypeError(
            f"{dim}={where!r} is no one entry of output axis {dim!r}: give an int or a label; of several, Region takes the mean "
            "of a stretch, (first, last), or of weights"
        )
    if dim not in outputs.coords:
        raise KeyError(
            f"target {where!r} is a label, but output axis {dim!r} has none; name them, e.g. "
            f"outputs={{{dim!r}: [...]}}, or give an index"
        )
    labels = np.asarray(outputs.coords[dim])
    if labels.dtype.kind in "fiu" and isinstance(where, float | np.floating):
        away = np.abs((labels - where + 180) % 360 - 180 if outputs.is_longitude(dim) else labels - where)
        at = int(away.argmin())
        if np.isclose(away[at], 0, atol=1e-6 * abs(float(where)) + 1e-9):
            return at
    elif is_dates(labels) and not isinstance(where, float):
        hit = np.flatnonzero(later(labels, where, dim) == 0)
        if len(hit) > 1 and labels.dtype.kind == "M":  # a month, of days: its first
            hit = np.flatnonzero(labels == date_of(where, dim))
        if len(hit) == 1:
            return int(hit[0])
    elif labels.dtype.kind == "m":
        if len(hit := np.flatnonzero(labels == duration_of(where, dim))):
            return int(hit[0])
    else:
        names = labels.tolist()
        if where in names or str(where) in map(str, names):
            return names.index(where) if where in names else list(map(str, names)).index(str(where))
    raise _no_label(outputs, dim, where)


def _no_label(outputs: Axes, dim: str, where: Any, way: str = "") -> KeyError:
    labels = written(np.asarray(outputs.coords[dim]))
    shown = ", ".join(map(repr, labels[:12])) + (", ..." if len(labels) > 12 else "")
    return KeyError(f"no label {where!r} on output axis {dim!r}; its labels are {shown}{way}")


def _written(outputs: Axes, dim: str, where: Any) -> str:
    return repr(where) if len(outputs.dims) == 1 else f"{dim}={where!r}"


def date_of(where: Any, dim: str) -> np.datetime64:
    """A label of an axis of dates as a date; KeyError where it is none."""
    try:
        return np.datetime64(where)
    except ValueError:
        raise _no_date(where, dim) from None


def duration_of(where: Any, dim: str) -> np.timedelta64:
    """A label of an axis of durations, such as lead times: "36 h", or an object of NumPy, pandas or the standard library."""
    if isinstance(where, np.timedelta64 | timedelta):
        return np.timedelta64(where)
    try:
        number, unit = parse_extent(str(where))
        kind, seconds = UNITS[unit]
    except ValueError:
        kind = ""
    if kind != "time":
        raise KeyError(f"{where!r} is no duration, but output axis {dim!r} is labelled by durations such as '36 h'")
    return np.timedelta64(round(number * seconds * 1e9), "ns")


def later(labels: np.ndarray, value: Any, dim: str) -> np.ndarray:
    """1 where a label lies after a value, -1 before, 0 at it, numbers within rounding; the date "2001-05" is the whole month."""
    if labels.dtype.kind == "m":
        value = duration_of(value, dim)
    elif labels.dtype.kind == "M":
        value = date_of(value, dim)
        labels = labels.astype(value.dtype)
    elif is_dates(labels):
        value = _parts(value, dim)
        own = [tuple(label.timetuple()[: len(value)]) for label in labels]
        return np.array([(k > value) - (k < value) for k in own])
    found = (labels > value).astype(int) - (labels < value).astype(int)
    # A float32 label of 0.1 is larger than 0.1.
    near = labels.dtype.kind == "f" and np.isclose(labels, value, 1e-6, 1e-9)
    return np.where(near, 0, found)


def _parts(date: Any, dim: str) -> tuple[int, ...]:
    """Year, month, day, ... of a date of any calendar, as many as it says."""
    if hasattr(date, "timetuple"):
        return tuple(date.timetuple()[:6])
    found = re.fullmatch(r"(\d{4})(?:-(\d\d))?(?:-(\d\d))?(?:[T ](\d\d))?(?::(\d\d))?(?::(\d\d))?", str(date))
    if found is None:
        raise _no_date(date, dim)
    return tuple(int(part) for part in found.groups() if part is not None)


def _no_date(where: Any, dim: str) -> KeyError:
    return KeyError(f"{where!r} is no date, but output axis {dim!r} is labelled by dates such as '2001-05-31'")


def outputs_axes(
    outputs: Any,
    shape: tuple[int, ...] | None,
    labels: Any = None,
    scale: str | None = None,
    members: Sequence[str] = (),
) -> Axes | None:
    """The model's output axes from what the user said of them and the shape that came out.

    Parameters
    ----------
    outputs
        None, names (``("time", "class")``), or a mapping from names to labels (or None).
    shape
        Shape of one sample's output, or None before it is known.
    labels
        Labels of the single axis where the user gave none (a classifier's classes).
    scale
        What the model says that its outputs are; see :class:`Axes`.
    members
        Names of the members of an ensemble that is asked as one model: its first axis, of which nothing else is said.

    Returns
    -------
    Axes or None
        None while neither says how many entries an axis has.
    """
    if members:
        own = outputs_axes(outputs, None if shape is None else shape[1:], labels, scale)
        return None if own is None else _with_members(own, members)
    if isinstance(outputs, str):
        outputs = (outputs,)
    if outputs is None:
        names: tuple[str, ...] = (
            ("output",) if shape is None or len(shape) < 2 else tuple(f"output_{i}" for i in range(1, len(shape) + 1))
        )
        given: dict[str, Any] = {names[0]: labels} if labels is not None and (shape is None or len(shape) == 1) else {}
    elif isinstance(outputs, Mapping):
        names, given = tuple(map(str, outputs)), {str(d): v for d, v in outputs.items() if v is not None}
    else:
        names, given = tuple(map(str, outputs)), {}
        if labels is not None and len(names) == 1:
            given = {names[0]: labels}
    coords = {d: np.asarray(getattr(v, "values", v)) for d, v in given.items()}
    units = {d: unit_of(d, getattr(v, "attrs", {})) for d, v in given.items()}
    if len(set(names)) < len(names):
        raise ValueError(f"outputs names {list(names)}: every output axis needs a name of its own")
    for d, labels_of in coords.items():
        if (twice := repeated(labels_of)) is not None:
            raise ValueError(
                f"outputs labels axis {d!r} by {twice!r} twice; give every entry a label of its own, or none: {{{d!r}: None}}"
            )
    if shape is None:
        if any(d not in coords for d in names):
            return None
        return Axes(names, tuple(len(coords[d]) for d in names), coords, units, scale=scale)
    if outputs is None and not shape:
        return Axes((), (), scale=scale)
    if len(names) != len(shape):
        raise ValueError(
            f"outputs names {len(names)} axes {list(names)}, but the model's output has shape {shape} per sample"
        )
    for d, n in zip(names, shape):
        if d in coords and len(coords[d]) != n:
            if outputs is None:
                coords.pop(d)
            else:
                raise ValueError(
                    f"outputs gives {len(coords[d])} labels for axis {d!r}, but the model's output has {n} entries there"
                )
    return Axes(names, shape, coords, units, scale=scale)


def _with_members(own: Axes, members: Sequence[str]) -> Axes:
    """The axes of one member's outputs after one of the members."""
    if MEMBER in own.dims:
        raise ValueError(
            f"outputs names an axis {MEMBER!r}, which is that of the ensemble's members; name it otherwise"
        )
    coords = {MEMBER: np.asarray(members), **own.coords}
    return replace(own, dims=(MEMBER, *own.dims), shape=(len(members), *own.shape), coords=coords)
