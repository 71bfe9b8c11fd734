"""Targets as a user may write them: an int, a label, a function, a list or a mapping of targets, or none."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any, ClassVar

import numpy as np
from torch import Tensor

from ..axes import Axes
from ..bound import Value
from .classes import Predicted, check_classes
from .entries import Output, example_of
from .outputs import Several, Target, one_a_row


def resolve(target: Any) -> Target:
    """One target object from what a user may write: None, an int, a label, a function, or a target of any class."""
    if isinstance(target, Target):
        return target
    if target is None:
        return Default()
    if isinstance(target, bool | np.bool_):
        return Output(bool(target))
    if isinstance(target, str | np.datetime64 | date | np.timedelta64 | timedelta):
        return Output(target)
    if isinstance(target, int | np.integer):
        return Output(int(target))
    if isinstance(target, type):
        raise TypeError(f"target is an object with its settings: {target.__name__}(...), not the class")
    if isinstance(target, Several):
        raise TypeError(f"{target!r} stands for several targets, and is given by itself: target={target!r}")
    if hasattr(target, "bind"):
        return _AdoptedTarget(target)
    if callable(target):
        return Function(target)
    raise TypeError(f"target is an int (a label or an index), a label, or an object of tsattr.targets, got {target!r}")


def resolve_all(target: Any) -> list[Target]:
    """The target objects of what a user may write: one, a list, or a mapping that names them."""
    if isinstance(target, Mapping):
        return [Named(resolve(t), str(name)) for name, t in target.items()]
    return [resolve(t) for t in (target if is_many(target) else [target])]


def of_members(target: Any) -> bool:
    """True for targets that are of all members of an ensemble together; ValueError where some are and others are of each."""
    found = resolve_all(target)
    together = [t for t in found if t.of_members]
    if together and len(together) < len(found):
        each = next(t for t in found if not t.of_members)
        raise ValueError(
            f"{together[0]!r} is of the members together and {each!r} of each by itself: explain them in two calls, or give a model whose "
            "outputs have an axis 'member', and targets that say where on it"
        )
    return bool(together)


def is_many(target: Any) -> bool:
    """True for a list of targets, or a mapping of them."""
    return isinstance(target, Sequence | Mapping) and not isinstance(target, str)


@dataclass(frozen=True)
class Default(Target):
    """The single output; for one axis of several outputs, the predicted one."""

    on_command_line: ClassVar[bool] = False
    keeps_units = True

    def __repr__(self) -> str:
        return "default"

    def choose(self, outputs: Axes) -> Target:
        """`Output` or `Predicted`, whichever these outputs call for."""
        if all(n == 1 for n in outputs.shape):
            return Output()
        if len(outputs.dims) == 1:
            check_classes(outputs, "no target")
            return Predicted()
        raise ValueError(
            f"the model's outputs have axes {dict(zip(outputs.dims, outputs.shape))}: say which number to explain, such as "
            f"target={example_of(outputs)}"
        )

    def bind(self, outputs: Axes) -> Value:
        """Bind the choice."""
        return self.choose(outputs).bind(outputs)


@dataclass(frozen=True)
class Function(Target):
    """A number of your own: ``f(y) -> (rows,)``, differentiable where a gradient method is to use it."""

    on_command_line: ClassVar[bool] = False
    compares = False
    f: Callable[[Tensor], Tensor] = field(repr=False)
    name: str = ""

    def __repr__(self) -> str:
        return f"Function({self.name or getattr(self.f, '__name__', 'f')})"

    def bind(self, outputs: Axes) -> Value:
        """Check the number of values at each call."""
        return one_a_row(lambda y, y0: self.f(y), self)


@dataclass(frozen=True)
class Derived(Target):
    """A target that is made of another, and says of itself what that one says."""

    on_command_line: ClassVar[bool] = False
    target: Target

    @property
    def keeps_units(self) -> bool:  # type: ignore[override]
        """As the target has it."""
        return self.target.keeps_units

    @property
    def compares(self) -> bool:  # type: ignore[override]
        """As the target has it."""
        return self.target.compares

    @property
    def of_members(self) -> bool:  # type: ignore[override]
        """As the target has it."""
        return self.target.of_members


@dataclass(frozen=True)
class Named(Derived):
    """A target with a name of its own along a `target` dim: what a mapping of targets is made of."""

    name: str

    @property
    def label(self) -> str:
        """The name."""
        return self.name

    def bind(self, outputs: Axes) -> Value:
        """Bind the target."""
        return self.target.bind(outputs)


class _AdoptedTarget(Target):
    """A target of another class, with what it says of itself."""

    def __init__(self, given: Any) -> None:
        self.given = given
        for name in ("compares", "of_members"):
            setattr(self, name, getattr(given, name, getattr(self, name)))
            if not isinstance(getattr(self, name), bool | np.bool_):
                raise TypeError(f"{name} of target {given!r} is True or False, got {getattr(self, name)!r}")

    def __repr__(self) -> str:
        return repr(self.given)

    def bind(self, outputs: Axes) -> Value:
        value = self.given.bind(outputs)
        if not callable(value):
            raise TypeError(f"bind of target {self!r} gives a function (y, y0) -> (rows,), got {value!r}")
        return one_a_row(value, self)
