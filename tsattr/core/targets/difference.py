"""The target that is one target less another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..axes import Axes
from ..bound import Value
from .outputs import Target
from .parsing import resolve


@dataclass(frozen=True)
class Difference(Target):
    """One target less another of the same input: ``a - b``. Why is tomorrow higher than today, why this class and not that?

    Between two outputs, as ``Difference(Output(day=2), Output(day=1))`` or a gradient between two regions; between two models, as
    ``Difference(Member("new", "V"), Member("old", "V"))`` of an `tsattr.models.Ensemble`, which are asked about the same rows; between
    two ways to be unsure, as ``Difference(Uncertainty("mutual_information"), Uncertainty("expected_entropy"))``.

    Parameters
    ----------
    a, b
        Any targets, or what stands for one: labels, ints, functions of the outputs.

    Examples
    --------
    >>> import torch
    >>> bound = Difference(2, 0).bind(Axes(("class",), (3,)))
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

    @property
    def of_members(self) -> bool:  # type: ignore[override]
        """True where either of them is of all members of an ensemble together."""
        return any(resolve(t).of_members for t in (self.a, self.b))

    def bind(self, outputs: Axes) -> Value:
        """Bind both."""
        a, b = (resolve(t).bind(outputs) for t in (self.a, self.b))
        return lambda y, y0: a(y, y0) - b(y, y0)
