"""What the core asks of targets, baselines and groups once they are bound to an input's axes.

Every attribute that one may have is declared here, documented and defaulted; nothing is found by `hasattr` later. A class of
one's own derives from these, or is any object with the same names: binding adopts it, see `adopted_baseline` and
`adopted_groups`, and says there what it lacks.
"""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np
import torch
from torch import Tensor

from .axes import Axes
from .keys import Key

Value = Callable[[Tensor, Tensor], Tensor]
"""What a bound target is: ``(outputs, outputs of the same samples intact) -> (rows,)``."""


@dataclass(frozen=True)
class BoundTargets:
    """Targets of outputs of a known shape.

    Attributes
    ----------
    values
        The function of each.
    together
        The function ``(y, y0) -> (rows, targets)`` of all at once, where there is a quicker one than that of each in turn.
    names
        Their names.
    classes
        The labels of the one output axis, if there is one.
    along
        The axis of the outputs (the first after the sample axis is 0) that the method tells apart itself, or None.
    levels
        What the model says in one number for each target, for a method that tells an axis apart: see `Target.level`.
    unsigned
        True where some of them say how far the outputs move, and not which way.
    taken
        What numbers of the target were taken for, where label and index differ; else "".
    """

    values: tuple[Value, ...]
    names: tuple[str, ...] = ()
    classes: tuple[Any, ...] = ()
    along: int | None = None
    levels: tuple[Value, ...] = ()
    unsigned: bool = False
    taken: str = ""
    together: Value | None = None


class Ahead(Protocol):
    """What ``bound.ahead(known)`` returns, `known` being (n, *event) with NaN where a cell is missing."""

    def __call__(self, i: Tensor, start: Tensor, length: int, absent: Tensor, key: Key) -> Tensor:
        """Values for the window of each row.

        Parameters
        ----------
        i, start
            (r,) each row's sample in `known`, and the first time of its window, at least 1.
        length
            Times in a window; times beyond the end of the series may be anything.
        absent
            Bool (r, *channels), the event without its time axis: True where a channel is absent over the whole window.
        key
            The random draw of each row; rows of one draw and one start share their numbers.

        Returns
        -------
        (r, length, *channels); values where `absent` is False are not used. Before a series was first observed nothing is known:
        NaN there leaves the cell as it is, without importance. NaN anywhere else is a sample without a baseline.
        """
        ...


class BoundBaseline(ABC):
    """What takes the place of absent cells, as plain arrays for one input's axes: one verb, ``fill``.

    No attribute promises anything unless it is set.

    Attributes
    ----------
    causal
        True where what it puts at a time depends on earlier times alone: WinIT and its family take no other.
    nested
        True where what it puts at a time does not depend on how far the gap goes on after it.
    conditional
        True where its values depend on which cells are absent. One that is not has ``full``, which the engine computes once for
        each (sample, draw) and not once for each group.
    common
        True where it is not conditional and ``full`` is the same (1, *event) for all samples and draws, which is then asked for once.
    begins
        True where it says what was known before a series was first observed, so that the first observation can go too.
    gaps
        Number of missing cells (NaN) of its reference, which are handed on to a model that reads them.
    made_of
        The bound baselines that it is made of, which may have the missing cells.
    why_gaps, fill_gaps
        Where they come from and what can be done, for a model that does not read them.
    """

    causal: bool = False
    nested: bool = False
    conditional: bool = True
    common: bool = False
    begins: bool = False
    gaps: int = 0
    made_of: tuple[BoundBaseline, ...] = ()
    why_gaps: ClassVar[str] = "the baseline's reference has {gaps} missing cells, which are handed on as they are"
    fill_gaps: ClassVar[str] = (
        "give it rows without missing cells, as Samples.fit(train.dropna()) does of a DataFrame, or fill them first: "
        "Samples.fit(train.fillna(...))"
    )

    @abstractmethod
    def fill(self, x: Tensor, absent: Tensor, key: Key) -> Tensor:
        """Rows `x` (r, *event), NaN where a cell is missing, with the cells replaced where `absent` is True.

        `absent` broadcasts to `x`, `key` identifies the sample and the draw of each row. NaN says that there is no value.
        """

    def full(self, x: Tensor, key: Key) -> Tensor:
        """A value for every cell, of the shape of `x` or broadcasting to it; asked only of one that is not `conditional`."""
        return self.fill(x, torch.ones((), dtype=torch.bool, device=x.device).expand_as(x), key)

    @property
    def with_gaps(self) -> BoundBaseline:
        """What has the missing cells: the first part that has some, else itself."""
        return next((part.with_gaps for part in self.made_of if part.gaps), self)

    def ahead(self, known: Tensor) -> Ahead | None:
        """The values of a causal one from any time of the series `known` on, made without whole rows; None: use ``fill``."""
        return None


class BoundGroups(ABC):
    """What goes absent together, as plain arrays for one input's axes: `names` and the verb ``mask``.

    Everything else has a default by masks, group by group, which a class with a quicker way overrides.

    Attributes
    ----------
    names
        The name of each group.
    shared
        True where a group has the same cells in all samples.
    solid
        True where a group is every cell of the box that `hull` gives.
    variables
        Of several that lie side by side in a flat event the slice of each, its shape and its own groups; else nothing.
    """

    names: list[str]
    shared: bool = False
    solid: bool = False
    variables: tuple[tuple[slice, tuple[int, ...], BoundGroups], ...] = ()

    @property
    def order(self) -> np.ndarray:
        """Ints (groups,): the order in which random numbers are drawn for the groups, so that transposing the input changes none."""
        return np.arange(len(self.names))

    @abstractmethod
    def mask(self, position: Tensor, k: Tensor) -> Tensor:
        """Bool (rows, *event) or broadcasting to it: True in group ``k[r]`` of the sample at ``position[r]``."""

    def count(self, cells: Tensor, position: Tensor) -> Tensor:
        """Int (rows, groups): how many of the True cells (rows, *event) lie in each group."""
        return self.total(cells.to(torch.int64), position)

    def total(self, values: Tensor, position: Tensor) -> Tensor:
        """(rows, *event) -> (rows, groups): the sum over each group."""
        sums = [torch.where(inside, values, 0).flatten(1).sum(1) for inside in self._masks(position)]
        return torch.stack(sums, 1)

    def spread(self, values: Tensor, position: Tensor, *, mean: bool = True) -> Tensor:
        """(rows, ..., groups) -> (rows, ..., *event): each cell's mean (or sum) over its groups, NaN where it has none."""
        inner = (1,) * (values.ndim - 2)
        total = torch.zeros((), dtype=values.dtype, device=values.device)
        cover = torch.zeros((), dtype=torch.int64, device=values.device)
        for k, found in enumerate(self._masks(position)):
            inside = found.reshape(len(found), *inner, *found.shape[1:])
            value = values[..., k].reshape(*values.shape[:-1], *[1] * (found.ndim - 1))
            total, cover = total + torch.where(inside, value, 0), cover + inside.to(torch.int64)
        return torch.where(cover == 0, torch.nan, total / cover if mean else total)

    def union(self, absent: Tensor, position: Tensor) -> Tensor:
        """Bool (rows, *event) or broadcasting to it: True in any of the absent groups, given as bool (rows, groups)."""
        return self.spread(absent.to(torch.float64), position) > 0

    def hull(self, position: Tensor, k: Tensor) -> tuple[Tensor, Tensor] | None:
        """Integers (rows, axes): start and size along each axis of a box that holds group ``k[r]``; None where none is known."""
        return None

    def _masks(self, position: Tensor) -> Iterator[Tensor]:
        """The mask of each group, for all rows."""
        return (self.mask(position, torch.full_like(position, k)) for k in range(len(self.names)))


def classes_of(base: Any) -> dict[str, Any]:
    """The package's own concrete classes derived from a base, by name in alphabetical order; not those of other packages."""
    package, found, waiting = __name__.partition(".")[0], {}, [base]
    while waiting:
        for c in waiting.pop().__subclasses__():
            waiting.append(c)
            if (
                c.__module__.partition(".")[0] == package
                and not c.__name__.startswith("_")
                and not inspect.isabstract(c)
            ):
                found[c.__name__] = c
    return dict(sorted(found.items()))


class _AdoptedBaseline(BoundBaseline):
    """A bound baseline of another class, with the attributes that it has."""

    def __init__(self, given: Any) -> None:
        self.given = given
        for name in ("causal", "nested", "conditional", "begins", "gaps"):
            setattr(self, name, getattr(given, name, getattr(self, name)))
        for verb in ("full", "ahead"):
            if hasattr(given, verb):
                setattr(self, verb, getattr(given, verb))

    def __repr__(self) -> str:
        return repr(self.given)

    def fill(self, x: Tensor, absent: Tensor, key: Key) -> Tensor:
        rows = self.given.fill(x, absent, key)
        if not isinstance(rows, Tensor):
            raise TypeError(f"fill of baseline {self!r} gives a tensor like x, got {type(rows).__name__}")
        if rows.shape != x.shape:
            raise ValueError(f"baseline {self!r} gave shape {tuple(rows.shape)} for rows of shape {tuple(x.shape)}")
        return rows


def adopted_baseline(given: Any) -> BoundBaseline:
    """A bound baseline of any class as a `BoundBaseline`; TypeError for one that breaks its contract."""
    if not isinstance(given, BoundBaseline) and not callable(getattr(given, "fill", None)):
        raise TypeError(f"a bound baseline has fill(x, absent, key), which {given!r} lacks; see BoundBaseline")
    bound = given if isinstance(given, BoundBaseline) else _AdoptedBaseline(given)
    for name in ("causal", "nested", "conditional", "begins"):
        if not isinstance(getattr(bound, name), bool | np.bool_):
            raise TypeError(f"{name} of baseline {bound!r} is True or False, got {getattr(bound, name)!r}")
    if isinstance(bound.gaps, bool) or not isinstance(bound.gaps, int | np.integer):
        raise TypeError(f"gaps of baseline {bound!r} is the number of missing cells, got {bound.gaps!r}")
    return bound


class _AdoptedGroups(BoundGroups):
    """Bound groups of another class; the verbs that they lack are computed from their masks."""

    def __init__(self, given: Any) -> None:
        self.given, self.names, self.shared = given, list(given.names), getattr(given, "shared", self.shared)
        self._order = np.asarray(getattr(given, "order", super().order))
        for verb in ("count", "total", "spread", "union", "hull"):
            if hasattr(given, verb):
                setattr(self, verb, getattr(given, verb))

    def __repr__(self) -> str:
        return repr(self.given)

    @property
    def order(self) -> np.ndarray:
        return self._order

    def mask(self, position: Tensor, k: Tensor) -> Tensor:
        found: Tensor = self.given.mask(position, k)
        return found


def adopted_groups(given: Any, axes: Axes) -> BoundGroups:
    """Bound groups of any class as `BoundGroups`; TypeError or ValueError for what breaks the contract."""
    names = getattr(given, "names", None)
    if names is None or isinstance(names, str) or not len(names) or not isinstance(names[0], str):
        raise TypeError(f"bound groups have names, a list of one text for each group, got {names!r} of {given!r}")
    if isinstance(given, BoundGroups) and isinstance(names, list):  # xarray takes a tuple for something else
        return given
    if not callable(getattr(given, "mask", None)):
        raise TypeError(f"bound groups have mask(position, k), which {given!r} lacks; see BoundGroups")
    bound = _AdoptedGroups(given)
    if sorted(bound.order.tolist()) != list(range(len(names))):
        raise ValueError(
            f"order of groups {bound!r} holds each of 0..{len(names) - 1} once, got {bound.order.tolist()}"
        )
    _check_mask(bound, axes)
    return bound


def _check_mask(groups: BoundGroups, axes: Axes) -> None:
    """Raise where the mask of the first group of the first sample is not what masks are."""
    first = torch.zeros(1, dtype=torch.int64)
    inside = groups.mask(first, first)
    if not isinstance(inside, Tensor) or inside.dtype != torch.bool:
        raise TypeError(f"mask of groups {groups!r} gives a boolean tensor, True in the group, got {inside!r}")
    fits = inside.ndim == 1 + len(axes.shape) and all(n in (1, m) for n, m in zip(inside.shape, (1, *axes.shape)))
    if not fits:
        raise ValueError(
            f"mask of groups {groups!r} gives shape {tuple(inside.shape)} for one row; it is {(1, *axes.shape)}, or 1 along "
            "dims that are taken whole"
        )
