"""Which number of a model's output is explained.

A target is a frozen object of settings. ``bind(outputs)`` resolves labels to indices on the output axes and gives a
function ``(y, y0) -> values``: `y` (rows, *out) the outputs of a batch, `y0` the outputs of the same samples at the intact
input, values (rows,). Any object with such a ``bind`` is a target; so is a plain function of `y`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from keyword import iskeyword
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor

from ..axes import Axes
from ..indexing import is_dates
from .divergence import Divergence as Divergence
from .outputs import ROUNDING, Index, axis_of, index_of, one_a_row, scale_of, taken_for_logits
from .outputs import Target as Target
from .outputs import Value as Value
from .outputs import outputs_axes as outputs_axes
from .weighted import Projection as Projection
from .weighted import Region as Region
from .weighted import RootMeanSquare as RootMeanSquare


def _one_axis(outputs: Axes, what: str) -> str:
    if len(outputs.dims) != 1:
        raise ValueError(
            f"{what} needs a model with one output axis, but its axes are {dict(zip(outputs.dims, outputs.shape))}; say where on "
            f"each: {_example(outputs)}"
        )
    return outputs.dims[0]


def _example(outputs: Axes) -> str:
    """Targets that these outputs have: their last entry, or a mean over dims of places."""
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


def _check_classes(outputs: Axes, what: str) -> None:
    """ValueError for a model of values: the largest of them is no predicted class."""
    if outputs.scale == "value" and math.prod(outputs.shape) > 1:
        (dim,), (n,) = outputs.dims, outputs.shape
        shown = ", ".join(map(repr, np.asarray(outputs.coords.get(dim, np.arange(n))).tolist()[:12])) + ", ..." * (
            n > 12
        )
        raise ValueError(
            f"{what}: the model gives {n} values, of which none is a predicted class; say which to explain along {dim!r} "
            f"({shown}), such as target=0, or several: target=[0, 1]"
        )


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
    return tuple(index_of(outputs, d, given.get(d, Index(0))) for d in outputs.dims)


@dataclass(frozen=True, init=False)
class Entry(Target):
    """One entry of the output: by index or label on the one axis, or by name on several."""

    compares = False

    where: Any
    axes: tuple[tuple[str, Any], ...]

    def __init__(self, where: Any = None, /, **axes: Any) -> None:
        object.__setattr__(self, "where", where)
        object.__setattr__(self, "axes", tuple(axes.items()))

    @classmethod
    def at(cls, where: int | None = None, /, **axes: int) -> Self:
        """The same by place: every int is an index, whatever the axes are labelled by."""
        return cls(None if where is None else Index(where), **{d: Index(w) for d, w in axes.items()})

    def __repr__(self) -> str:
        inner = ([] if self.where is None else [repr(self.where)]) + [f"{d}={w!r}" for d, w in self.axes]
        by_place = any(isinstance(w, Index) for w in (self.where, *dict(self.axes).values()))
        return f"{type(self).__name__}{'.at' if by_place else ''}({', '.join(inner)})"

    def _at(self, outputs: Axes) -> tuple[Any, ...]:
        return _pick(outputs, self.where, self.axes, repr(self))


@dataclass(frozen=True, init=False, repr=False)
class Output(Entry):
    """One number of the output, as the model gives it: ``Output(2)``, ``Output("V")``, ``Output(time=-1, lat=12.0)``.

    A string, float or date is a label of that axis. An int is a label where the axis is labelled by whole numbers (leads 1,
    6, 9; classes 1, 2, 3), with a warning where label and index differ; else an index. ``Output.at(time=-1)`` is always an
    index.

    Examples
    --------
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

    def bind(self, outputs: Axes) -> Value:
        """Index the output."""
        at = self._at(outputs)
        return lambda y, y0: y[(slice(None), *at)]


@dataclass(frozen=True)
class Predicted(Target):
    """The output of the class that the model predicts for the intact sample: the largest along the one output axis."""

    keeps_units = True

    def bind(self, outputs: Axes) -> Value:
        """Gather at each sample's own argmax."""
        _one_axis(outputs, "Predicted()")
        _check_classes(outputs, "Predicted()")
        return lambda y, y0: y.gather(1, y0.argmax(1, keepdim=True))[:, 0]


@dataclass(frozen=True, init=False, repr=False)
class _OfClass(Entry):
    """A class's probability in some form: of logits along the last axis, or of probabilities as they are."""

    of: str | None

    def __init__(self, where: Any = None, /, *, of: str | None = None, **axes: Any) -> None:
        if of not in (None, "logits", "probability"):
            raise ValueError(f"of is 'logits', 'probability' or None, got {of!r}")
        super().__init__(where, **axes)
        object.__setattr__(self, "of", of)

    def __repr__(self) -> str:
        inner = super().__repr__()[:-1]
        return f"{inner})" if self.of is None else f"{inner}{', ' * (inner[-1] != '(')}of={self.of!r})"

    def bind(self, outputs: Axes) -> Value:
        """Index probabilities, or compute them of logits over the last axis; a model of values has none."""
        of = scale_of(self, self.of, outputs)
        if of == "value":
            raise ValueError(f"{self!r}: the model gives values, not a class's probability; give Output(...)")
        at = self._at(outputs)
        if of == "probability":
            return lambda y, y0: self._of_probabilities(y, at)
        return taken_for_logits(lambda y, y0: self._of_logits(y, at), self)

    def _of_probabilities(self, y: Tensor, at: tuple[Any, ...]) -> Tensor:
        raise NotImplementedError

    def _of_logits(self, y: Tensor, at: tuple[Any, ...]) -> Tensor:
        raise NotImplementedError


@dataclass(frozen=True, init=False, repr=False)
class Probability(_OfClass):
    """The probability of a class along the last axis of the model's outputs.

    Of logits ``softmax(y)_c``, or ``sigmoid(y)`` where the last axis has one entry (or the model gives one number); of
    probabilities ``y_c``.

    Parameters
    ----------
    of
        What the model gives: "logits" or "probability". None: what the model says (a scikit-learn classifier gives
        probabilities), else logits. Outputs that look like probabilities are then refused, as nobody has said so.

    Examples
    --------
    >>> bound = Probability(0, of="probability").bind(Axes(("class",), (2,)))
    >>> y = torch.tensor([[0.2, 0.8]])
    >>> bound(y, y).tolist()
    [0.20000000298023224]
    """

    def _of_probabilities(self, y: Tensor, at: tuple[Any, ...]) -> Tensor:
        return y[(slice(None), *at)]

    def _of_logits(self, y: Tensor, at: tuple[Any, ...]) -> Tensor:
        single = y.ndim == 1 or y.shape[-1] == 1
        return y[(slice(None), *at)].sigmoid() if single else y.softmax(-1)[(slice(None), *at)]


@dataclass(frozen=True, init=False, repr=False)
class LogOdds(_OfClass):
    """``log p_c - log(1 - p_c)`` of a class along the last axis of the model's outputs.

    Computed from the logits, ``y_c - logsumexp of the others``, so that a saturated class stays finite. Of probabilities 0
    and 1 are what they are, -inf and inf, and the sample has no finite output: explain `Probability` there.

    Parameters
    ----------
    of
        What the model gives, as in :class:`Probability`.
    """

    def _of_probabilities(self, y: Tensor, at: tuple[Any, ...]) -> Tensor:
        p = y[(slice(None), *at)]
        if y.ndim == 1 or y.shape[-1] == 1:
            return p.log() - (-p).log1p()
        row = y[(slice(None), *at[:-1])]
        rest = row[:, _others(row, at[-1])].sum(1)
        # What the others add up to keeps the digits that 1 - p loses; classes that do not exclude each other have no others.
        exclude = (p + rest - 1).abs() <= ROUNDING
        return p.log() - torch.where(exclude, rest, 1 - p).log()

    def _of_logits(self, y: Tensor, at: tuple[Any, ...]) -> Tensor:
        if y.ndim == 1 or y.shape[-1] == 1:
            return y[(slice(None), *at)]
        row = y[(slice(None), *at[:-1])]
        return row[:, at[-1]] - row[:, _others(row, at[-1])].logsumexp(1)


def _others(row: Tensor, c: int) -> list[int]:
    return [k for k in range(row.shape[1]) if k != c]


@dataclass(frozen=True)
class Margin(Target):
    """The lead of one class over another: ``y_a - y_b``; without `b`, over the largest of the others.

    Without `a`, the predicted class of the intact sample. In the outputs as the model gives them: logits or probabilities.
    """

    a: Any = None
    b: Any = None

    @property
    def compares(self) -> bool:  # type: ignore[override]
        """True where the predicted class of the intact sample is asked for."""
        return self.a is None

    def bind(self, outputs: Axes) -> Value:
        """Differences along the one output axis."""
        dim = _one_axis(outputs, repr(self))
        n = outputs.shape[0]
        if n < 2:
            raise ValueError(f"{self!r} needs at least two outputs, the model has {n}")
        if self.a is None:
            _check_classes(outputs, repr(self))
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
class Difference(Target):
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
    def compares(self) -> bool:  # type: ignore[override]
        """True where either of them compares with the intact sample."""
        return any(resolve(t).compares for t in (self.a, self.b))

    @property
    def keeps_units(self) -> bool:  # type: ignore[override]
        """True where both of them do."""
        return all(resolve(t).keeps_units for t in (self.a, self.b))

    def bind(self, outputs: Axes) -> Value:
        """Bind both."""
        a, b = (resolve(t).bind(outputs) for t in (self.a, self.b))
        return lambda y, y0: a(y, y0) - b(y, y0)


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
            _check_classes(outputs, "no target")
            return Predicted()
        raise ValueError(
            f"the model's outputs have axes {dict(zip(outputs.dims, outputs.shape))}: say which number to explain, such as "
            f"target={_example(outputs)}"
        )

    def bind(self, outputs: Axes) -> Value:
        """Bind the choice."""
        return self.choose(outputs).bind(outputs)


class _Adopted(Target):
    """A target of another class, with what it says of itself."""

    def __init__(self, given: Any) -> None:
        self.given, self.compares = given, getattr(given, "compares", self.compares)
        if not isinstance(self.compares, bool | np.bool_):
            raise TypeError(f"compares of target {given!r} is True or False, got {self.compares!r}")

    def __repr__(self) -> str:
        return repr(self.given)

    def bind(self, outputs: Axes) -> Value:
        value = self.given.bind(outputs)
        if not callable(value):
            raise TypeError(f"bind of target {self!r} gives a function (y, y0) -> (rows,), got {value!r}")
        return one_a_row(value, self)


def resolve(target: Any) -> Target:
    """One target object from what a user may write: None, an int, a label, a function, or a target of any class."""
    if isinstance(target, Target):
        return target
    if target is None:
        return Default()
    if isinstance(target, bool | np.bool_):
        return Output(bool(target))
    if isinstance(target, int | np.integer):
        return Output(int(target))
    if isinstance(target, str | np.datetime64 | date):
        return Output(target)
    if isinstance(target, type):
        raise TypeError(f"target is an object with its settings: {target.__name__}(...), not the class")
    if hasattr(target, "bind"):
        return _Adopted(target)
    if callable(target):
        return Function(target)
    raise TypeError(f"target is an int (a label or an index), a label, or an object of tsattr.targets, got {target!r}")


@dataclass(frozen=True)
class Named(Target):
    """A target with a name of its own along a `target` dim: what a mapping of targets is made of."""

    on_command_line: ClassVar[bool] = False
    name: str
    target: Target

    @property
    def label(self) -> str:
        """The name."""
        return self.name

    @property
    def keeps_units(self) -> bool:  # type: ignore[override]
        """As the target has it."""
        return self.target.keeps_units

    @property
    def compares(self) -> bool:  # type: ignore[override]
        """As the target has it."""
        return self.target.compares

    def bind(self, outputs: Axes) -> Value:
        """Bind the target."""
        return self.target.bind(outputs)


def wanted(target: Any) -> list[Target]:
    """The target objects of what a user may write: one, a list, or a mapping that names them."""
    if isinstance(target, Mapping):
        return [Named(str(name), resolve(t)) for name, t in target.items()]
    return [resolve(t) for t in (target if is_many(target) else [target])]


def is_many(target: Any) -> bool:
    """True for a list of targets, or a mapping of them."""
    return isinstance(target, Sequence | Mapping) and not isinstance(target, str)
