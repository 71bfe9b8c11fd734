"""The targets of one call: which numbers of the outputs are explained, bound once the shape of the outputs is known."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ..axes import Axes
from ..bound import BoundTargets
from .entries import Output, gathered
from .outputs import Target, without_axis
from .parsing import is_many, resolve_all


@dataclass(frozen=True)
class CallTargets:
    """One target or several, and the dim, if any, whose output axis the method tells apart itself."""

    each: tuple[Target, ...]
    several: bool = False
    along: str | None = None

    @classmethod
    def of(cls, target: Any, axes: Axes | None, along: str | None = None) -> CallTargets:
        """Targets as a user writes them; what does not fit the output axes, where they are known, is raised before any work."""
        found = resolve_all(target)
        if not found:
            raise ValueError(f"target is an empty {type(target).__name__}: nothing to explain")
        targets = cls(tuple(found), is_many(target), along)
        with of_one_time(axes, along):
            targets._check(None if axes is None else without_axis(axes, along))
        return targets

    def _check(self, axes: Axes | None) -> None:
        for t in self.each:
            if axes is not None and axes.shape:
                t.bind(axes)
            elif isinstance(t, Output) and isinstance(t.where, bool):
                raise TypeError(
                    f"target is an int, a label, or an object of tsattr.targets, got {t.where!r}, and no output is labelled so"
                )

    @property
    def compares(self) -> bool:
        """True where some target uses the outputs at the intact sample."""
        return any(t.compares for t in self.each)

    @property
    def keeps_units(self) -> bool:
        """True where all targets are in the units of the outputs."""
        return all(t.keeps_units for t in self.each)

    def bind(self, outputs: Axes) -> BoundTargets:
        """The targets of outputs with these axes."""
        axes = without_axis(outputs, self.along)
        with of_one_time(outputs, self.along):
            values = tuple(t.bind(axes) for t in self.each)
            together = gathered(self.each, axes)
            levels = () if self.along is None else tuple(t.level(axes) for t in self.each)
        return BoundTargets(
            values,
            tuple(t.choose(axes).label for t in self.each),
            tuple(axes.coords.get(axes.dims[0], [])) if len(axes.dims) == 1 else (),
            outputs.dims.index(self.along) if self.along in outputs.dims else None,
            levels,
            any(t.unsigned for t in self.each),
            "; ".join(dict.fromkeys(axes.taken)),
            together,
        )


@contextlib.contextmanager
def of_one_time(axes: Axes | None, along: str | None) -> Iterator[None]:
    """Explain a KeyError of a target that names the axis which the method itself tells apart."""
    try:
        yield
    except KeyError as error:
        if axes is None or along not in axes.dims:
            raise
        raise KeyError(
            f"{error.args[0]}; this method reads the model at every {along}, so its target is made of the outputs at one: leave "
            "target=None for the shift of the prediction. To compare it with methods of another target, make its map first, "
            "and give compare the map"
        ) from error
