"""Activations of intact samples in the order in which the model asks for them, computed once for all rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from . import boxes


class Intact:
    """An activation (n, ...) of the intact samples."""

    def __init__(self, cells: Tensor) -> None:
        self.cells = cells
        self._laid: dict[tuple[int, ...], Tensor] = {}
        self._largest: dict[int, Tensor] = {}

    def laid(self, axes: tuple[int, ...]) -> Tensor:
        """The same with some axes first; see :func:`boxes.laid`."""
        if axes not in self._laid:
            self._laid[axes] = boxes.laid(self.cells, axes)
            self.cells = boxes.unlaid(self._laid[axes], axes)  # one array for both
        return self._laid[axes]

    def largest_but(self, m: int) -> Tensor:
        """(n,) the largest size of a cell of each sample after `m` cells that are at least as large."""
        if m not in self._largest:
            sizes = torch.nan_to_num(self.cells.flatten(1).abs(), posinf=torch.inf)
            self._largest[m] = sizes.kthvalue(sizes.shape[1] - m, 1).values
        return self._largest[m]

    @property
    def nbytes(self) -> int:
        """What is kept."""
        return sum(v.nbytes for v in self._laid.values()) or self.cells.nbytes


@dataclass
class _Step:
    """One operation of the model on intact samples: what was asked, and what it gave."""

    func: Callable[..., Any]
    arguments: list[Any]
    versions: list[int]
    found: list[Intact]


class Tape:
    """The intact activations of some samples.

    They are kept in the order in which operations come, and taken again only where the operation and all that it was given are
    the same: a model may take another way from call to call, or make a weight anew each time.
    """

    def __init__(self, x: Tensor) -> None:
        self.x = Intact(x)
        self.steps: list[_Step] = []
        self.at = 0

    def rewind(self) -> None:
        """Start again at the first operation."""
        self.at = 0

    @property
    def nbytes(self) -> int:
        """What is kept beside the samples."""
        return sum(v.nbytes for step in self.steps for v in step.found)

    def __call__(self, func: Callable[..., Any], *args: Any, **kwargs: Any) -> list[Intact]:
        """What `func` gives, as a tensor or several, of arguments some of which are `Intact`."""
        arguments = list(_leaves((args, kwargs)))
        if self.at == len(self.steps) or not _asked_again(self.steps[self.at], func, arguments):
            step = _Step(func, arguments, [_version(a) for a in arguments], self._computed(func, args, kwargs))
            self.steps[self.at : self.at + 1] = [step]
        self.at += 1
        return self.steps[self.at - 1].found

    def _computed(self, func: Callable[..., Any], args: Any, kwargs: Any) -> list[Intact]:
        y = func(*_cells(args), **_cells(kwargs))
        return [Intact(v) for v in y] if isinstance(y, tuple | list) else [Intact(y)]


def _leaves(value: Any) -> Iterator[Any]:
    """What tuples, lists and mappings hold, with their kinds and lengths, so that equal leaves are equal structures."""
    if isinstance(value, tuple | list):
        yield len(value)
        for v in value:
            yield from _leaves(v)
    elif isinstance(value, dict):
        yield tuple(value)
        for v in value.values():
            yield from _leaves(v)
    else:
        yield value


def _cells(value: Any) -> Any:
    if isinstance(value, Intact):
        return value.cells
    if isinstance(value, tuple | list):
        return type(value)(_cells(v) for v in value)
    return {k: _cells(v) for k, v in value.items()} if isinstance(value, dict) else value


def _version(value: Any) -> int:
    return value._version if isinstance(value, Tensor) and not value.is_inference() else 0


def _asked_again(step: _Step, func: Callable[..., Any], arguments: list[Any]) -> bool:
    return (
        step.func is func
        and len(step.arguments) == len(arguments)
        and all(_equal(a, b, v) for a, b, v in zip(step.arguments, arguments, step.versions))
    )


def _equal(a: Any, b: Any, version: int) -> bool:
    if isinstance(a, Tensor):
        if _version(a) != version or not isinstance(b, Tensor):
            return False  # written over since
        return a is b or (a.shape == b.shape and a.dtype == b.dtype and torch.equal(a, b))
    return a is b or (type(a) is type(b) and not isinstance(a, Intact) and bool(a == b))
