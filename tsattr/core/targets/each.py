"""Every entry of the outputs along some of their axes, each a target of its own."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from ..axes import Axes
from ..bound import Value
from .entries import Entry, Output
from .outputs import Several, Target, axis_of, without_axis
from .parsing import Derived, resolve


@dataclass(frozen=True, init=False)
class Each(Several):
    """Every entry along some output axes, as a target of its own: the result carries these axes in place of a ``target`` dim.

    ``Each("horizon")``, ``Each("class")``, ``Each("lat", "lon")``; ``Each()`` is every output. All share the model's forward passes;
    a method of gradients takes a backward pass for each. Where the input has a dim or a coordinate of the same name, or the result
    a dim of its own, the output's is called ``output_<name>``.

    Parameters
    ----------
    dims
        Names of output axes, as `outputs` gives them; all, where none is named.
    target
        What is explained of each. None: the number itself, where `dims` are all axes longer than 1. A target of the axes that
        are left: ``Each("lead", target=Region(lat=(-5, 5), lon=(190, 240)))``. A class of targets that say where on the axes:
        ``Each("class", target=Probability)``; an object, ``Probability()``, is of the axes that are left, and where none is left
        of one logit at each place.

    Raises
    ------
    KeyError, ValueError
        No such axis; axes that are left where `target` is None.

    Examples
    --------
    >>> import torch, tsattr as ta
    >>> w = torch.tensor([[1.0, 0.0], [0.0, 2.0], [3.0, 0.0]])
    >>> ds = ta.explain(lambda x: x @ w.T, torch.ones(1, 2), ta.InputXGradient(), target=ta.targets.Each("class"),
    ...                 outputs={"class": ["N", "S", "V"]})
    >>> ds.attribution.dims, ds.attribution.sel({"class": "V"}).values.tolist()
    (('sample', 'dim_1', 'class'), [[3.0, 0.0]])
    """

    dims: tuple[str, ...]
    target: Any

    def __init__(self, *dims: str, target: Any = None) -> None:
        if wrong := [d for d in dims if not isinstance(d, str)]:
            raise TypeError(f"Each names output axes, as Each('class'), got {wrong[0]!r}")
        if len(set(dims)) < len(dims):
            raise ValueError(f"Each names every axis once, got {dims!r}")
        if isinstance(target, type) and not issubclass(target, Entry):
            raise TypeError(
                f"target of Each is an object with its settings, or one of the classes Output, Probability, LogOdds, got {target.__name__}"
            )
        if isinstance(target, Each):
            raise TypeError("Each(...) of Each(...): name all axes in one")
        object.__setattr__(self, "dims", dims)
        object.__setattr__(self, "target", target)

    def __repr__(self) -> str:
        named = self.target.__name__ if isinstance(self.target, type) else repr(self.target)
        return f"Each({', '.join([*map(repr, self.dims), *([] if self.target is None else [f'target={named}'])])})"

    def over(self, outputs: Axes) -> tuple[str, ...]:
        """The axes that it tells apart."""
        dims = self.dims or outputs.dims
        for d in dims:
            axis_of(outputs, d)
        left = [d for d, n in zip(outputs.dims, outputs.shape) if d not in dims and n > 1]
        if self.target is None and left:
            raise ValueError(
                f"{self!r} leaves output axis {left[0]!r} open: name it too, or say what is explained of each, target=..."
            )
        return dims

    def targets(self, outputs: Axes) -> list[Target]:
        """The targets, one for each combination of entries, the last axis the quickest."""
        dims = self.over(outputs)
        places = itertools.product(*(range(outputs.shape[outputs.dims.index(d)]) for d in dims))
        return [self._at(dict(zip(dims, at))) for at in places]

    def _at(self, at: dict[str, int]) -> Target:
        kind: type[Entry] | None = (
            Output if self.target is None else self.target if isinstance(self.target, type) else None
        )
        if kind is not None:
            return kind.at(**at)
        return _Within(resolve(self.target), tuple(at.items()))


@dataclass(frozen=True)
class _Within(Derived):
    """A target of the outputs at one entry of some axes."""

    at: tuple[tuple[str, int], ...]

    def __repr__(self) -> str:
        return f"{self.target!r} at {', '.join(f'{d}={i}' for d, i in self.at)}"

    def bind(self, outputs: Axes) -> Value:
        """Bind the target to the other axes."""
        inner = outputs
        for d, _ in self.at:
            inner = without_axis(inner, d)
        value = self.target.bind(inner)
        # From the last axis on, so that the numbers of those before it stay.
        places = sorted(((1 + outputs.dims.index(d), i) for d, i in self.at), reverse=True)
        chosen = _select(places)
        return lambda y, y0: value(chosen(y), chosen(y0))


def _select(places: list[tuple[int, int]]) -> Callable[[Tensor], Tensor]:
    def chosen(y: Tensor) -> Tensor:
        for axis, i in places:
            y = y.select(axis, i)
        return y

    return chosen
