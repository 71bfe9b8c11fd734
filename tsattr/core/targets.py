"""Which number of a model's output is explained.

A target is a frozen object of settings. ``bind(outputs)`` resolves labels to indices on the output axes and gives a
function ``(y, y0) -> values``: `y` (rows, *out) the outputs of a batch, `y0` the outputs of the same samples at the intact
input, values (rows,). Any object with such a ``bind`` is a target; so is a plain function of `y`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

import numpy as np
import torch
from torch import Tensor

from .axes import Axes
from .divergence import Divergence as Divergence
from .outputs import Value as Value
from .outputs import axis_of, index_of
from .outputs import outputs_axes as outputs_axes
from .weighted import Projection as Projection
from .weighted import Region as Region
from .weighted import RootMeanSquare as RootMeanSquare


class Target(Protocol):
    """What :func:`resolve` returns.

    A target with an attribute ``compares = False`` promises to make no use of `y0`, so that outputs need not be kept.
    """

    def bind(self, outputs: Axes) -> Value:
        """The function ``(y, y0) -> (rows,)`` for a model with these output axes."""
        ...


def _one_axis(outputs: Axes, what: str) -> str:
    if len(outputs.dims) != 1:
        raise ValueError(
            f"{what} needs a model with one output axis, but its axes are {list(zip(outputs.dims, outputs.shape))}; "
            "name the axes with outputs=..., and say where: Output(time=-1, ...) or Region(lat=(a, b), ...)"
        )
    return outputs.dims[0]


def _pick(outputs: Axes, where: Any, axes: tuple[tuple[str, Any], ...], what: str) -> tuple[int, ...]:
    given = dict(axes)
    if where is not None and not outputs.dims:  # a model of one number a sample: entry 0 of an axis that is not there
        index_of(Axes(("output",), (1,)), "output", where)
        return ()
    if where is not None:
        given[_one_axis(outputs, what)] = where
    for d in given:
        axis_of(outputs, d)
    open_axes = [d for d, n in zip(outputs.dims, outputs.shape) if d not in given and n > 1]
    if open_axes:
        raise ValueError(f"{what} leaves output axis {open_axes[0]!r} open; say where: {open_axes[0]}=index or label")
    return tuple(index_of(outputs, d, given.get(d, 0)) for d in outputs.dims)


@dataclass(frozen=True, init=False)
class _Entry:
    """One entry of the output: by index or label on the one axis, or by name on several."""

    compares: ClassVar[bool] = False

    where: Any
    axes: tuple[tuple[str, Any], ...]

    def __init__(self, where: Any = None, /, **axes: Any) -> None:
        object.__setattr__(self, "where", where)
        object.__setattr__(self, "axes", tuple(axes.items()))

    def __repr__(self) -> str:
        inner = ([] if self.where is None else [repr(self.where)]) + [f"{d}={w!r}" for d, w in self.axes]
        return f"{type(self).__name__}({', '.join(inner)})"

    def _at(self, outputs: Axes) -> tuple[Any, ...]:
        return _pick(outputs, self.where, self.axes, repr(self))


@dataclass(frozen=True, init=False, repr=False)
class Output(_Entry):
    """One number of the output, as the model gives it: ``Output(2)``, ``Output("V")``, ``Output(time=-1, lat=12.0)``.

    An int is an index, always; a string, float or date is a label of that axis.
    """

    def bind(self, outputs: Axes) -> Value:
        """Index the output."""
        at = self._at(outputs)
        return lambda y, y0: y[(slice(None), *at)]


@dataclass(frozen=True)
class Predicted:
    """The output of the class that the model predicts for the intact sample: the largest along the one output axis."""

    def bind(self, outputs: Axes) -> Value:
        """Gather at each sample's own argmax."""
        _one_axis(outputs, "Predicted()")
        return lambda y, y0: y.gather(1, y0.argmax(1, keepdim=True))[:, 0]


@dataclass(frozen=True, init=False, repr=False)
class Probability(_Entry):
    """The probability of a class, of a model whose outputs are logits along its last axis.

    ``softmax(y)_c``; where the last axis has one entry (or the model gives one number), ``sigmoid(y)``.
    """

    def bind(self, outputs: Axes) -> Value:
        """Softmax over the last axis, then index."""
        at = self._at(outputs)
        if not outputs.shape or outputs.shape[-1] == 1:
            return lambda y, y0: y[(slice(None), *at)].sigmoid()
        return lambda y, y0: y.softmax(-1)[(slice(None), *at)]


@dataclass(frozen=True, init=False, repr=False)
class LogOdds(_Entry):
    """``log p_c - log(1 - p_c)`` of a class, of a model whose outputs are logits along its last axis.

    Computed from the logits, ``y_c - logsumexp of the others``, so that a saturated class stays finite.
    """

    def bind(self, outputs: Axes) -> Value:
        """One logit is its own log-odds; of several, subtract what the others add up to."""
        at = self._at(outputs)
        if not outputs.shape or outputs.shape[-1] == 1:
            return lambda y, y0: y[(slice(None), *at)]
        others = [c for c in range(outputs.shape[-1]) if c != at[-1]]

        def value(y: Tensor, y0: Tensor) -> Tensor:
            row = y[(slice(None), *at[:-1])]
            return row[:, at[-1]] - row[:, others].logsumexp(1)

        return value


@dataclass(frozen=True)
class Margin:
    """The lead of one class over another: ``y_a - y_b``; without `b`, over the largest of the others.

    Without `a`, the predicted class of the intact sample.
    """

    a: Any = None
    b: Any = None

    @property
    def compares(self) -> bool:
        """True where the predicted class of the intact sample is asked for."""
        return self.a is None

    def bind(self, outputs: Axes) -> Value:
        """Differences along the one output axis."""
        dim = _one_axis(outputs, repr(self))
        n = outputs.shape[0]
        if n < 2:
            raise ValueError(f"{self!r} needs at least two outputs, the model has {n}")
        a, b = (None if c is None else index_of(outputs, dim, c) for c in (self.a, self.b))

        def value(y: Tensor, y0: Tensor) -> Tensor:
            first = y0.argmax(1) if a is None else torch.full((len(y),), a, device=y.device)
            if b is not None:
                second = y[:, b]
            else:
                second = y.scatter(1, first[:, None], -torch.inf).amax(1)
            return y.gather(1, first[:, None])[:, 0] - second

        return value


@dataclass(frozen=True)
class Difference:
    """One target less another of the same outputs: ``a - b``, such as a gradient between regions, or between leads.

    Examples
    --------
    >>> bound = Difference(Output(2), Output(0)).bind(Axes(("class",), (3,)))
    >>> y = torch.tensor([[5.0, 2.0, 7.0]])
    >>> bound(y, y).tolist()
    [2.0]
    """

    a: Any
    b: Any

    @property
    def compares(self) -> bool:
        """True where either of them compares with the intact sample."""
        return any(getattr(resolve(t), "compares", True) for t in (self.a, self.b))

    def bind(self, outputs: Axes) -> Value:
        """Bind both."""
        a, b = (resolve(t).bind(outputs) for t in (self.a, self.b))
        return lambda y, y0: a(y, y0) - b(y, y0)


@dataclass(frozen=True)
class Function:
    """A number of your own: ``f(y) -> (rows,)``, differentiable where a gradient method is to use it."""

    compares: ClassVar[bool] = False
    f: Callable[[Tensor], Tensor] = field(repr=False)
    name: str = ""

    def __repr__(self) -> str:
        return f"Function({self.name or getattr(self.f, '__name__', 'f')})"

    def bind(self, outputs: Axes) -> Value:
        """Check the number of values at each call."""

        def value(y: Tensor, y0: Tensor) -> Tensor:
            v = self.f(y)
            if v.shape != y.shape[:1]:
                raise ValueError(
                    f"{self!r} gave shape {tuple(v.shape)} for {len(y)} rows; a target gives one number a row"
                )
            return v

        return value


@dataclass(frozen=True)
class Default:
    """The single output; for one axis of several outputs, the predicted one."""

    def __repr__(self) -> str:
        return "default"

    def choose(self, outputs: Axes) -> Any:
        """`Output` or `Predicted`, whichever these outputs call for."""
        if all(n == 1 for n in outputs.shape):
            return Output()
        if len(outputs.dims) == 1:
            return Predicted()
        raise ValueError(
            f"the model's outputs have axes {dict(zip(outputs.dims, outputs.shape))}: say which number to explain, e.g. "
            "target=ta.targets.Output(time=-1, **{'class': 'V'}) or ta.targets.Region(lat=(a, b), lon=(c, d))"
        )

    def bind(self, outputs: Axes) -> Value:
        """Bind the choice."""
        return self.choose(outputs).bind(outputs)


def resolve(target: Any) -> Any:
    """One target object from what a user may write: None, an int, a label, a function, or a target."""
    if target is None:
        return Default()
    if isinstance(target, bool | np.bool_):
        raise TypeError(f"target is an int (an index), a label, or an object of tsattr.targets, got {target!r}")
    if isinstance(target, int | np.integer):
        return Output(int(target))
    if isinstance(target, str):
        return Output(target)
    if isinstance(target, type):
        raise TypeError(f"target is an object with its settings: {target.__name__}(...), not the class")
    if hasattr(target, "bind"):
        return target
    if callable(target):
        return Function(target)
    raise TypeError(f"target is an int (an index), a label, or an object of tsattr.targets, got {target!r}")


def keeps_units(target: Any) -> bool:
    """Whether a target is in the units of the outputs: an output, a mean or a sum of some, or a difference of these."""
    if isinstance(target, Named):
        return keeps_units(target.target)
    if isinstance(target, Difference):
        return keeps_units(resolve(target.a)) and keeps_units(resolve(target.b))
    return isinstance(target, Output | Default | Predicted | Region | RootMeanSquare)


@dataclass(frozen=True)
class Named:
    """A target with a name of its own along a `target` dim: what a mapping of targets is made of."""

    name: str
    target: Any

    @property
    def compares(self) -> bool:
        """As the target has it."""
        return bool(getattr(self.target, "compares", True))

    def bind(self, outputs: Axes) -> Value:
        """Bind the target."""
        value: Value = self.target.bind(outputs)
        return value


def wanted(target: Any) -> list[Any]:
    """The target objects of what a user may write: one, a list, or a mapping that names them."""
    if isinstance(target, Mapping):
        return [Named(str(name), resolve(t)) for name, t in target.items()]
    return [resolve(t) for t in (target if is_many(target) else [target])]


def label(target: Any) -> str:
    """The name of a target along a `target` dim."""
    if isinstance(target, Named):
        return target.name
    return str(target.where) if isinstance(target, Output) and target.where is not None else repr(target)


def is_many(target: Any) -> bool:
    """True for a list of targets, or a mapping of them."""
    return isinstance(target, Sequence | Mapping) and not isinstance(target, str)
