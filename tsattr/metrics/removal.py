"""Target values when groups are removed in some order: the rows behind every measure by ablation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..core.samples import SampleChunk

_TIES, _SUBSETS = 2**34, 2**35  # streams of random numbers, apart from those of baselines and methods


@dataclass(frozen=True)
class Order:
    """The order in which groups of each sample are removed, and after how many of them the target is read.

    Attributes
    ----------
    place
        Int32 (n, groups): 0 for the group that is removed first; groups without valid cells come last.
    counts
        Int64 (n, s): how many groups are absent at each step.
    """

    place: Tensor
    counts: Tensor

    def kept(self, playing: Tensor) -> Order:
        """The order by which the same counts of groups are *kept*: from the last on all others are removed."""
        number = playing.sum(1)[:, None]
        place = torch.where(playing, number.to(torch.int32) - 1 - self.place, self.place)
        return Order(place, number - self.counts)


def everything(playing: Tensor) -> Order:
    """All groups that play (n, groups) at once."""
    number = playing.sum(1)[:, None]
    place = torch.where(playing, playing.cumsum(1), number + (~playing).cumsum(1)) - 1
    return Order(place.to(torch.int32), number)


def credit(groups: Any, maps: Tensor, position: Tensor) -> Tensor:
    """Sums of maps (n, *event) over the groups, float64 (n, groups), NaN cells left out."""
    return torch.as_tensor(groups.total(torch.nan_to_num(maps.to(torch.float64)), position))


def ties(samples: SampleChunk, groups: Any) -> Tensor:
    """The random order (n, groups) in which groups of equal score go, the same for every score."""
    return torch.as_tensor(_uniform(samples, groups, _TIES), device=samples.x.device).argsort(1)


def by_score(score: Tensor, playing: Tensor, ties: Tensor) -> Tensor:
    """The place of each group (n, groups) by falling score, equal ones in the order of :func:`ties`."""
    # Compared in float32, so that sums which are equal but for the rounding of their terms stay ties.
    score = torch.where(playing, score, -torch.inf).to(torch.float32)
    order = ties.gather(1, score.gather(1, ties).argsort(dim=1, descending=True, stable=True))
    # Groups that do not play are at -inf; a group that does may be there too, and must come before them.
    if not playing.all():
        order = order.gather(1, playing.gather(1, order).to(torch.int8).argsort(dim=1, descending=True, stable=True))
    return _inverse(order).to(torch.int32)


def subset(samples: SampleChunk, groups: Any, playing: Tensor, number: int) -> Tensor:
    """Places Int32 (n, groups) of a random order of the groups that play, the `number`-th of each sample."""
    chance = np.where(playing.cpu().numpy(), _uniform(samples, groups, _SUBSETS + number), 2.0)
    order = torch.as_tensor(chance.argsort(1), device=playing.device)  # by numpy in a quarter of torch's time
    return _inverse(order).to(torch.int32)


def _inverse(order: Tensor) -> Tensor:
    """The place of each entry in permutations (n, k), int64: what sorting them again would give, without a sort."""
    place = torch.arange(order.shape[1], device=order.device).expand_as(order)
    return torch.empty_like(place).scatter_(1, order.to(torch.int64), place)


def _uniform(samples: SampleChunk, groups: Any, stream: int) -> np.ndarray:
    """U(0, 1) (n, groups), keyed by the sample and by the groups' order, which does not depend on that of the dims."""
    key = samples.key(samples.indices, torch.zeros_like(samples.indices)).fork(stream)
    drawn, out = np.empty((samples.n, len(groups.names))), np.empty((samples.n, len(groups.names)))
    for row, rng in zip(drawn, key.rngs()):
        rng.random(out=row)
    out[:, groups.order] = drawn
    return out


def target_values(
    samples: SampleChunk, groups: Any, fill: Any, orders: Sequence[Order], draws: int = 1
) -> list[Tensor]:
    """Target values (n, s, targets) for each order, the mean over the fill's draws.

    Steps of different orders that have removed the same groups of a sample are asked of the model once.
    """
    n, device = samples.n, samples.x.device
    # A set of groups is known by the sum of their random numbers: one number instead of a mask.
    names = np.random.default_rng(0).integers(-(2**63), 2**63, len(groups.names), dtype=np.int64)
    tag = torch.as_tensor(names, device=device)
    known = []
    for order in orders:
        running = torch.nn.functional.pad(tag[_inverse(order.place)].cumsum(1), (1, 0))
        known.append(running.gather(1, order.counts))
    sample = torch.arange(n, device=device)
    steps = [order.counts.shape[1] for order in orders]
    flat = torch.cat([k + (sample * 0x1E3779B97F4A7C15)[:, None] for k in known], 1).reshape(-1)  # sample by sample
    which = torch.repeat_interleave(torch.arange(len(orders), device=device), torch.tensor(steps, device=device))
    counts = torch.cat([order.counts for order in orders], 1).reshape(-1)
    _, inverse = torch.unique(flat, return_inverse=True)
    first = torch.full((int(inverse.max()) + 1,), len(flat), device=device)
    first.scatter_reduce_(0, inverse, torch.arange(len(flat), device=device), "amin")
    order_of_first = first.argsort()  # sample by sample again, so that a fill is made once for each
    first = first[order_of_first]
    i, r, k = first // sum(steps), which.repeat(n)[first], counts[first]
    values = samples.prediction[i].clone()  # where nothing is gone
    asked = k.nonzero()[:, 0]
    values[asked] = 0
    places = torch.stack([order.place for order in orders])
    j, draw = asked.repeat_interleave(draws), torch.arange(draws, device=device).repeat(len(asked))

    def absent(at: slice) -> Tensor:
        u = j[at]
        return places[r[u], i[u]] < k[u, None]

    for at, v in samples.without(groups, fill, i[j], draw, absent):
        values.index_add_(0, j[at], v / draws)
    back = torch.empty_like(order_of_first)
    back[order_of_first] = torch.arange(len(first), device=device)
    found = values[back[inverse]].reshape(n, sum(steps), -1)
    return list(torch.split(found, steps, 1))
