"""Completeness, the axiom that a map sums to the change of the target from the baseline: its gap, and the test of it by draws."""

from __future__ import annotations

import torch
from torch import Tensor

from .results import Field
from .samples import Moments, SampleChunk

ROUNDING = 16  # units in the last place of its outputs by which a model's differences may be wrong
_CONFIDENCE = 0.999


def completeness(samples: SampleChunk, maps: Tensor, total: Tensor, reference: Tensor) -> dict[str, Field]:
    """The reference, gap and error of maps whose sums are `total` (n, targets); `reference` is the target at the baseline."""
    gap, error = incompleteness(total, samples.prediction - reference, torch.nan_to_num(maps).flatten(2).norm(dim=2))
    return {
        "reference": Field(("target",), reference),
        "completeness_gap": Field(("target",), gap),
        "completeness_error": Field(("target",), error),
    }


def incompleteness(total: Tensor, change: Tensor, size: Tensor) -> tuple[Tensor, Tensor]:
    """The completeness gap, abs(sum of a map - change of the target), and error, the gap over the larger of change and norm.

    The map's norm, `size`, keeps the error finite where contributions cancel; without a gap the error is 0, also of an empty map.

    >>> [v.tolist() for v in incompleteness(*torch.tensor([[3.0, 0.0], [2.0, 0.0], [4.0, 0.0]]))]
    [[1.0, 0.0], [0.25, 0.0]]
    """
    gap = (total - change).abs()
    return gap, torch.where(gap == 0, 0, gap / torch.maximum(change.abs(), size))


class CompletenessTest:
    r"""Whether maps (r, targets, \*event) sum to the differences (r, targets) of the target, taken draw by draw.

    A gap of `share` of the larger of the difference and the map's root-sum-square is tolerated, and rounding. With whole paths
    the mean size of the gap over the draws is tested. With single `points` of a path only the mean gap is, which may differ
    from 0 by chance: by the half width of its 99.9 % interval (Student's t over the draws); but maps of zeros are no chance.
    """

    def __init__(self, samples: SampleChunk, draws: int, share: float, *, points: bool) -> None:
        shape, device = (samples.n, samples.targets), samples.x.device
        self.samples, self.draws, self.share = samples, draws, share
        self.signed = Moments(samples.n, shape[1:], draws, device) if points else None
        self.gap, self.tolerated, self.norm = (torch.zeros(shape, dtype=torch.float64, device=device) for _ in range(3))

    def add(self, i: Tensor, draw: Tensor, maps: Tensor, difference: Tensor) -> None:
        """Add the maps of one draw of samples `i` each."""
        gap, norm = maps.flatten(2).sum(2) - difference, maps.flatten(2).norm(dim=2)
        if self.signed is not None:
            self.signed.add(i, draw, gap)
        for total, values in (
            (self.gap, gap.abs()),
            (self.tolerated, self._tolerance(i, difference, norm)),
            (self.norm, norm),
        ):
            total.index_add_(0, i, values / self.draws)

    def fails(self, i: Tensor, maps: Tensor, norm: Tensor, difference: Tensor) -> Tensor:
        """Bool (r,): True where a single path's gap is too large for some target; `norm` (r, targets) is the map's root-sum-square."""
        gap = maps.flatten(2).sum(2) - difference
        return (gap.abs() > self._tolerance(i, difference, norm)).any(1)

    def failed(self, mean: Tensor, difference: Tensor) -> Tensor:
        """Bool (n,): True where completeness does not hold, given the mean maps and the mean differences over the draws."""
        failed = self.gap > self.tolerated
        if self.signed is not None:
            from scipy.special import stdtrit

            tolerated = self._tolerance(self.samples.indices, difference, mean.flatten(2).norm(dim=2))
            tolerated = tolerated + stdtrit(self.draws - 1, (1 + _CONFIDENCE) / 2) * self.signed.standard_error()
            failed = (failed & (self.norm == 0)) | (self.signed.mean().abs() > tolerated)
        return failed.any(1)

    def _tolerance(self, i: Tensor, difference: Tensor, norm: Tensor) -> Tensor:
        """The gap that is tolerated for maps of such a norm."""
        y = self.samples.prediction[i]
        rounding = ROUNDING * self.samples.engine.eps * (y.abs() + (y - difference).abs())
        return self.share * torch.maximum(difference.abs(), norm) + rounding
