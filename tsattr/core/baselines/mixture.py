"""The baseline that is several others in turn, one for each draw."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from ..axes import Axes
from ..keys import Key
from .fills import Baseline, Conditional, bind, enough_draws


@dataclass(frozen=True, init=False)
class Mixture(Baseline):
    """Several baselines in turn: draw d is one of the d-th of them, so that their mean and spread can be reported.

    With as many draws as members each is used once; with a multiple, equally often. ``per_draw=True`` of
    `IntegratedGradients` keeps each one's own map.

    Examples
    --------
    >>> import numpy as np, tsattr as ta
    >>> both = Mixture(ta.baselines.Constant(0.0), ta.baselines.Constant(1.0))
    >>> ds = ta.explain(lambda x: x.sum(1), np.full((1, 1), 3.0), ta.IntegratedGradients(both, draws=2, per_draw=True))
    >>> ds.attribution.round(9).item(), ds.attribution_draw.values.round(9).tolist()
    (2.5, [[[3.0, 2.0]]])
    """

    sentence: ClassVar[str] = "several baselines in turn, one for each draw"
    members: tuple[Any, ...]
    arithmetic: ClassVar[bool] = False  # each member says for itself
    random: ClassVar[bool] = True

    def __init__(self, *members: Any) -> None:
        if len(members) < 2:
            raise ValueError(f"Mixture needs at least two baselines, got {members}")
        object.__setattr__(self, "members", members)

    def __repr__(self) -> str:
        return f"Mixture({', '.join(map(repr, self.members))})"

    @property
    def enough(self) -> int:
        """Each member as often as the one that needs most draws."""
        return len(self.members) * max(map(enough_draws, self.members))

    def _bind(self, axes: Axes) -> Conditional:
        bound = [bind(m, axes) for m in self.members]

        def fill(x: Tensor, absent: Tensor, key: Key) -> Tensor:
            out = torch.empty_like(x)
            for m, member in enumerate(bound):
                rows = np.flatnonzero(key.draw % len(bound) == m)
                if len(rows):
                    at = torch.as_tensor(rows, device=x.device)
                    own = replace(
                        key, sample=key.sample[rows], position=key.position[at], draw=key.draw[rows] // len(bound)
                    )
                    out[at] = member.fill(x[at], absent[at], own)
            return out

        causal, gaps = all(m.causal for m in bound), sum(m.gaps for m in bound)
        return Conditional(fill, causal, gaps, tuple(bound))
