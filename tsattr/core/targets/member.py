"""A target of one member of an ensemble whose members are asked together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..axes import Axes
from ..bound import Value
from .outputs import MEMBER, Target, index_of, without_axis
from .parsing import resolve


@dataclass(frozen=True)
class Member(Target):
    """A target of one member of an ensemble, to set one model against another of the same input.

    ``Difference(Member("new"), Member("old"))`` is what the new model says beyond the old one, ``f_new(x) - f_old(x)``: both are
    asked about the same rows, so that of linear models a method with a baseline x' gives ``(w_new - w_old) (x - x')``.

    Parameters
    ----------
    name
        The member's name in `tsattr.models.Ensemble`, or its label along an output axis "member" of one model.
    target
        What is explained of it: any target of one member's outputs. None: the single output; of several the one that this
        member predicts for the intact sample.

    Raises
    ------
    KeyError, ValueError
        No such member; one model.

    Examples
    --------
    >>> import torch, tsattr as ta
    >>> both = ta.models.Ensemble({"old": lambda x: x @ torch.tensor([1.0, 2.0]), "new": lambda x: x @ torch.tensor([1.0, 5.0])})
    >>> beyond = ta.targets.Difference(ta.targets.Member("new"), ta.targets.Member("old"))
    >>> ds = ta.explain(both, torch.tensor([[7.0, 2.0]]), ta.IntegratedGradients(), target=beyond)
    >>> ds.prediction.item(), ds.attribution.values.tolist()
    (6.0, [[0.0, 6.0]])
    """

    of_members = True

    name: Any
    target: Any = None

    @property
    def compares(self) -> bool:  # type: ignore[override]
        """As the target has it."""
        return resolve(self.target).compares

    @property
    def keeps_units(self) -> bool:  # type: ignore[override]
        """As the target has it."""
        return resolve(self.target).keeps_units

    def __repr__(self) -> str:
        return f"Member({self.name!r}{'' if self.target is None else f', {self.target!r}'})"

    def bind(self, outputs: Axes) -> Value:
        """Bind the target to the outputs of that member."""
        if MEMBER not in outputs.dims:
            raise ValueError(
                f"{self!r} is of a member of an ensemble, and there is one model: give ta.models.Ensemble({{name: model, ...}}), or a "
                f"model with an output axis {MEMBER!r}"
            )
        axis, at = 1 + outputs.dims.index(MEMBER), index_of(outputs, MEMBER, self.name)
        value = resolve(self.target).bind(without_axis(outputs, MEMBER))
        return lambda y, y0: value(y.select(axis, at), y0.select(axis, at))
