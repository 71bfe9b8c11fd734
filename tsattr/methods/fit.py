"""FIT: how much of the shift of a prediction since the step before each feature explains."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor

from ..core.evaluation.prefix_method import PrefixMethod
from ..core.evaluation.stretches import Stretches, StretchRemoval
from ..core.evaluation.timing import Timing
from ..core.results import Field
from ..core.samples import Moments, SampleChunk
from ..core.status import Status
from ..core.targets import Divergence


@dataclass(frozen=True)
class FIT(PrefixMethod):
    """Feature importance in time: how much of the shift of the prediction since the step before a feature explains.

    ``2 sigmoid(5 E[ KL(p(y|x_0..t) || p(y|x_0..t-1)) - KL(p(y|x_0..t) || p(y|x_0..t-1, x_i,t)) ]) - 1``, where the last
    distribution knows of time t the feature alone: all others are drawn. Between -1 and 1; the first observation has 0.
    Delayed effects are not seen, and the first term, which no feature enters, orders times and not features. Of logits the
    divergences come from log-probabilities; the published program takes ``1 - p`` in float32, which is 0 for a sure class, and
    then writes -1: to repeat its numbers give ``Divergence("kl", of="probability")`` of the sigmoid.

    Parameters
    ----------
    baseline
        What draws the other features at t given the feature and the past: `JointGenerator`.
    dim, draws, groups
        As in `WinIT`; a group is kept together.

    Returns
    -------
    attribution, ``group_value``, their standard errors (by the slope of the sigmoid), ``model_steps``.

    References
    ----------
    Tonekaboni et al., "What went wrong and when? Instance-wise feature importance for time-series black-box models",
    NeurIPS 2020.
    """

    default_target: ClassVar[Any] = Divergence("kl")

    baseline: Any
    dim: str = "time"
    draws: int = 10
    groups: Any = None
    timing: Timing | None = field(default=None, repr=False, compare=False)
    sentence: ClassVar[str] = "FIT: how much one observation shifts the predictive distribution at its own time step."

    def __call__(self, samples: SampleChunk) -> dict[str, Field]:
        """Explain some samples."""
        with torch.no_grad():
            stretches = self._stretches(samples)
            shape = (samples.targets, len(stretches.groups), self.bound_timing.times)
            moments = Moments(samples.n, shape, self.draws, samples.x.device)
            for draw in range(self.draws):
                found = self._explained_shift(samples, stretches, draw)
                known = torch.isfinite(found).flatten(1).all(1)
                samples.record_state(samples.indices, torch.where(known, Status.OK, Status.OUTPUT))
                moments.add(samples.indices, torch.full_like(samples.indices, draw), found)
            score = torch.tanh(2.5 * moments.mean())
            error = 2.5 * (1 - score**2) * moments.standard_error() if self.draws > 1 else None
            return self._fields(stretches, score, error)

    def _explained_shift(self, samples: SampleChunk, stretches: Stretches, draw: int) -> Tensor:
        """The difference of the divergences for one draw, (n, targets, groups, times); 0 where nothing was observed before."""
        others, groups, times = stretches.complement(), len(stretches.groups), self.bound_timing.times
        start = torch.arange(1, times, device=samples.x.device)
        rows = torch.meshgrid(samples.indices, start, torch.arange(groups, device=start.device), indexing="ij")
        i, a, g = (v.reshape(-1) for v in rows)
        found = torch.full((samples.n, samples.targets, groups, times), torch.nan, dtype=torch.float64, device=i.device)
        for at, v in others.losses(StretchRemoval(i, a, g, draw, gap=1, length=1, every=False)):
            found[i[at], :, g[at], a[at]] = v[:, 0]
        found[..., start] = stretches.losses_without_time(start)[:, :, None] - found[..., start]
        return torch.where(stretches.known_before[:, None], found, 0)

    def rows(self) -> tuple[int, int]:
        """Each time but the first with each group kept, for each draw."""
        asked = (self.bound_timing.times - 1) * len(self.groups.names) * self.draws
        return 1 + asked, self._intact_rows() + asked
