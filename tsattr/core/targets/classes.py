"""Targets of a classifier: the predicted class, a class's probability or log odds, the margin of one over another."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..axes import Axes
from ..bound import Value
from .entries import Entry, single_axis
from .outputs import ROUNDING, Target, index_of, scale_of, taken_for_logits


@dataclass(frozen=True)
class Predicted(Target):
    """The output of the class that the model predicts for the intact sample: the largest along the one output axis."""

    keeps_units = True

    def bind(self, outputs: Axes) -> Value:
        """Gather at each sample's own argmax."""
        single_axis(outputs, "Predicted()")
        check_classes(outputs, "Predicted()")
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

    @property
    def settings(self) -> str | None:
        """What the model gives."""
        return self.of

    def __repr__(self) -> str:
        inner = super().__repr__()[:-1]
        return f"{inner})" if self.of is None else f"{inner}{', ' * (inner[-1] != '(')}of={self.of!r})"

    def bind(self, outputs: Axes) -> Value:
        """Index probabilities, or compute them of logits over the last axis; a model of values has none."""
        of = scale_of(self, self.of, outputs)
        if of == "value":
            raise ValueError(f"{self!r}: the model gives values, not a class's probability; give Output(...)")
        at = self.place(outputs)
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

    def whole(self, outputs: Axes) -> Value:
        """The probabilities along the last axis, made once for all classes."""
        if scale_of(self, self.of, outputs) == "probability":
            return lambda y, y0: y
        single = outputs.shape[-1] == 1
        return taken_for_logits(lambda y, y0: y.sigmoid() if single else y.softmax(-1), self)


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
        dim = single_axis(outputs, repr(self))
        n = outputs.shape[0]
        if n < 2:
            raise ValueError(f"{self!r} needs at least two outputs, the model has {n}")
        if self.a is None:
            check_classes(outputs, repr(self))
        a, b = (None if c is None else index_of(outputs, dim, c) for c in (self.a, self.b))

        def value(y: Tensor, y0: Tensor) -> Tensor:
            first = y0.argmax(1) if a is None else torch.full((len(y),), a, device=y.device)
            if b is not None:
                second = y[:, b]
            else:
                second = y.scatter(1, first[:, None], -torch.inf).amax(1)
            return y.gather(1, first[:, None])[:, 0] - second

        return value


def check_classes(outputs: Axes, what: str) -> None:
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
