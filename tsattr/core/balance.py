"""Whether the maps of a complete method sum to what they must: the differences of the target, draw by draw."""

from __future__ import annotations

import torch
from torch import Tensor

from .samples import Moments, SampleChunk

ROUNDING = 16  # units in the last place of its outputs by which a model's differences may be wrong
_SURE = 0.999


class Balance:
    r"""How far the sums of maps (r, targets, \*event) are from the differences (r, targets) that they share out.

    A sum may miss by a `share` of the larger of the difference and the map's root-sum-square, and by rounding. With whole
    paths this holds on average over the draws. With single `points` of a path it holds for the mean alone, which may be off by
    chance too, by the half width of its 99.9 % interval (Student's t over the draws); but maps of zeros are no chance.
    """

    def __init__(self, samples: SampleChunk, draws: int, share: float, *, points: bool) -> None:
        shape, device = (samples.n, samples.targets), samples.x.device
        self.samples, self.draws, self.share = samples, draws, share
        self.off = Moments(samples.n, shape[1:], draws, device) if points else None
        self.miss, self.allowed, self.moved = (torch.zeros(shape, dtype=torch.float64, device=device) for _ in range(3))

    def add(self, i: Tensor, draw: Tensor, maps: Tensor, difference: Tensor) -> None:
        """Take the maps of one draw of samples `i` each."""
        off, norm = maps.flatten(2).sum(2) - difference, maps.flatten(2).norm(dim=2)
        if self.off is not None:
            self.off.add(i, draw, off)
        for total, of in (
            (self.miss, off.abs()),
            (self.allowed, self._tolerated(i, difference, norm)),
            (self.moved, norm),
        ):
            total.index_add_(0, i, of / self.draws)

    def missed(self, i: Tensor, maps: Tensor, norm: Tensor, difference: Tensor) -> Tensor:
        """Bool (r,): True where a path's sum misses for some target; `norm` (r, targets) is the map's root-sum-square."""
        off = maps.flatten(2).sum(2) - difference
        return (off.abs() > self._tolerated(i, difference, norm)).any(1)

    def lost(self, mean: Tensor, difference: Tensor) -> Tensor:
        """Bool (n,): True where the sums are not right, with the mean maps and the mean differences over the draws."""
        lost = self.miss > self.allowed
        if self.off is not None:
            from scipy.special import stdtrit

            allowed = self._tolerated(self.samples.indices, difference, mean.flatten(2).norm(dim=2))
            allowed = allowed + stdtrit(self.draws - 1, (1 + _SURE) / 2) * self.off.standard_error()
            lost = (lost & (self.moved == 0)) | (self.off.mean().abs() > allowed)
        return lost.any(1)

    def _tolerated(self, i: Tensor, difference: Tensor, norm: Tensor) -> Tensor:
        """By how much the sum of a map of such a norm may miss a difference."""
        y = self.samples.prediction[i]
        rounding = ROUNDING * self.samples.engine.eps * (y.abs() + (y - difference).abs())
        return self.share * torch.maximum(difference.abs(), norm) + rounding
