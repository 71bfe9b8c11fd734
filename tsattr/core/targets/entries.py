"""Targets that are one entry of the output, found by label or index on its axes."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from keyword import iskeyword
from typing import Any, Self

import numpy as np
import torch

from ..axes import Axes
from ..bound import Value
from ..indexing import is_dates
from .outputs import Index, Target, axis_of, index_of


@dataclass(frozen=True, init=False)
class Entry(Target):
    """One entry of the output: by index or label on the one axis, or by name on several."""

    compares = False

    where: Any
    axes: tuple[tuple[str, Any], ...]

    def __init__(self, where: Any = None, /, **axes: Any) -> None:
        object.__setattr__(self, "where", where)
        object.__setattr__(self, "axes", tuple(axes.items()))

    @property
    def settings(self) -> Hashable:
        """What it says beside where."""
        return None

    @classmethod
    def at(cls, where: int | None = None, /, **axes: int) -> Self:
        """The same by place: every int is an index, whatever the axes are labelled by."""
        return cls(None if where is None else Index(where), **{d: Index(w) for d, w in axes.items()})

    def __repr__(self) -> str:
        inner = ([] if self.where is None else [repr(self.where)]) + [f"{d}={w!r}" for d, w in self.axes]
        by_place = any(isinstance(w, Index) for w in (self.where, *dict(self.axes).values()))
        return f"{type(self).__name__}{'.at' if by_place else ''}({', '.join(inner)})"

    def place(self, outputs: Axes) -> tuple[Any, ...]:
        """The index of the entry on each output axis."""
        return _indices(outputs, self.where, self.axes, repr(self))

    def whole(self, outputs: Axes) -> Value | None:
        """``(y, y0) -> (rows, *out)``, of which its number is the entry at its place; None where it has no such array."""
        return None


@dataclass(frozen=True, init=False, repr=False)
class Output(Entry):
    """One number of the output, as the model gives it: ``Output(2)``, ``Output("V")``, ``Output(time=-1, lat=12.0)``.

    A string, float, date or duration ("36 h") is a label of that axis. An int is a label where the axis is labelled by whole numbers (leads 1,
    6, 9; classes 1, 2, 3), with a warning where label and index differ; else an index. ``Output.at(time=-1)`` is always an
    index.

    Examples
    --------
    >>> import torch
    >>> leads = Axes(("lead",), (3,), {"lead": np.array([1, 2, 3])})
    >>> y = torch.tensor([[10.0, 20.0, 30.0]])
    >>> Output(lead=2).bind(leads)(y, y).item(), Output.at(lead=2).bind(leads)(y, y).item()
    (20.0, 30.0)
    """

    keeps_units = True

    @property
    def label(self) -> str:
        """What the user asked for: the label or index itself."""
        plain = self.where is not None and not isinstance(self.where, Index)
        return str(self.where) if plain else repr(self)

    def whole(self, outputs: Axes) -> Value:
        """The outputs themselves."""
        return lambda y, y0: y

    def bind(self, outputs: Axes) -> Value:
        """Index the output."""
        at = self.place(outputs)
        return lambda y, y0: y[(slice(None), *at)]


def gathered(targets: Sequence[Target], outputs: Axes) -> Value | None:
    """``(y, y0) -> (rows, targets)`` of several targets that are entries of one array; None for others."""
    entries = [t for t in targets if isinstance(t, Entry)]
    alike = len({(type(t), t.settings) for t in entries}) == 1 and len(entries) == len(targets) > 1
    whole = entries[0].whole(outputs) if alike and outputs.dims else None
    if whole is None:
        return None
    places = np.array([t.place(outputs) for t in entries])
    flat = torch.as_tensor(np.ravel_multi_index(tuple(places.T), outputs.shape))
    return lambda y, y0: whole(y, y0).flatten(1)[:, flat.to(y.device)]


def _indices(outputs: Axes, where: Any, axes: tuple[tuple[str, Any], ...], what: str) -> tuple[int, ...]:
    given = dict(axes)
    if where is not None and not outputs.dims:  # a model of one number a sample: entry 0 of an axis that is not there
        index_of(Axes(("output",), (1,)), "output", where)
        return ()
    if where is not None:
        given[single_axis(outputs, what)] = where
    for d in given:
        axis_of(outputs, d)
    open_axes = [d for d, n in zip(outputs.dims, outputs.shape) if d not in given and n > 1]
    if open_axes:
        raise ValueError(f"{what} leaves output axis {open_axes[0]!r} open; say where: {open_axes[0]}=index or label")
    return tuple(index_of(outputs, d, given.get(d, Index(0))) for d in outputs.dims)


def single_axis(outputs: Axes, what: str) -> str:
    """The name of the one output axis; ValueError, about `what`, where there are several or none."""
    if not outputs.dims:
        raise ValueError(f"{what} chooses along an output axis, and there is none left: the output is one number")
    if len(outputs.dims) != 1:
        raise ValueError(
            f"{what} needs a model with one output axis, but its axes are {dict(zip(outputs.dims, outputs.shape))}; say where on "
            f"each: {example_of(outputs)}"
        )
    return outputs.dims[0]


def example_of(outputs: Axes) -> str:
    """An example for error texts: the last entry of these outputs, or a mean over their dims in degrees."""
    last = {d: np.asarray(c)[-1:] for d, c in outputs.coords.items()}
    entry = {
        d: n - 1 if d not in last else str(last[d][0]) if is_dates(last[d]) else last[d].tolist()[0]
        for d, n in zip(outputs.dims, outputs.shape)
    }
    keys = all(d.isidentifier() and not iskeyword(d) for d in entry)
    inner = ", ".join(f"{d}={where!r}" for d, where in entry.items()) if keys else f"**{entry!r}"
    places = [d for d in outputs.dims if outputs.kind(d) == "angle"]
    ways = f", or a mean, ta.targets.Region({', '.join(f'{d}=(a, b)' for d in places)}, ...)" if places else ""
    return f"ta.targets.Output({inner}){ways}; outputs=... gives the axes names and labels"
