"""Groups as the players of a cooperative game: what methods that estimate Shapley values share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .bound import BoundBaseline, BoundGroups
from .coalitions import Coalitions
from .completeness import completeness
from .results import EVENT, Field
from .samples import Moments, SampleChunk

ORDERS = 2**33
"""The stream of random orders and coalitions, apart from those of an input's variables."""


@dataclass
class Game:
    """A cooperative game whose players are the groups of each sample.

    A coalition's worth is the target with its groups present and all others absent; a group without valid cells does not play.

    Attributes
    ----------
    size
        (n, groups) the valid cells of each group.
    """

    samples: SampleChunk
    groups: BoundGroups
    baseline: BoundBaseline
    size: Tensor

    @classmethod
    def of(cls, samples: SampleChunk, groups: BoundGroups, baseline: BoundBaseline) -> Game:
        """The game of some samples."""
        return cls(samples, groups, baseline, groups.count(samples.valid_cells, samples.position))

    def players(self, i: Tensor) -> list[np.ndarray]:
        """The numbers of the groups that play in each row, in an order in which they stay when the dims change theirs."""
        playing = (self.size[i] > 0).cpu().numpy()
        order = self.groups.order
        return [order[row[order]] for row in playing]

    def worth(self, i: Tensor, draw: Tensor, absent: Callable[[slice], Tensor]) -> Tensor:
        """Target values (rows, targets) of sample `i` without the absent groups, bool (some rows, groups); NaN where infinite.

        These are made batch by batch: all at once they would be quadratic in the groups.
        """
        out = torch.empty(len(i), self.samples.targets, dtype=torch.float64, device=i.device)
        for at, v in self.samples.without(self.groups, self.baseline, i, draw, absent):
            out[at] = torch.where(v.isfinite(), v, torch.nan)
        return out

    def worths(self, i: Tensor, draw: Tensor, playing: list[np.ndarray], plans: list[Coalitions]) -> list[np.ndarray]:
        """Worth (1 + coalitions, targets) of each row's empty coalition and of those that are planned of its players."""
        players, device = self.size.shape[1], i.device
        present = [np.zeros((1 + len(plan.weight), players), bool) for plan in plans]
        for numbers, rows, plan in zip(playing, present, plans):
            rows[1:, numbers] = plan.members
        lengths = [len(rows) for rows in present]
        j = torch.as_tensor(np.repeat(np.arange(len(i)), lengths), device=device)
        joined = torch.as_tensor(np.concatenate(present), device=device)

        def absent(at: slice) -> Tensor:
            return (self.size[i[j[at]]] > 0) & ~joined[at]

        worth = self.worth(i[j], draw[j], absent).cpu().numpy()
        return np.split(worth, np.cumsum(lengths)[:-1])

    def divide(self, i: Tensor, values: Tensor) -> Tensor:
        """Maps (rows, targets, *event): each group's value divided evenly over its valid cells."""
        share = torch.nan_to_num(values / self.size[i][:, None])
        cells = self.groups.spread(share, self.samples.position[i], mean=False)
        return cells.expand(len(i), self.samples.targets, *self.samples.event)

    def result(self, maps: Moments, values: Moments, reference: Tensor) -> dict[str, Field]:
        """The fields of a complete method: maps and groups' values over draws, and the target's values with nothing present."""
        mean, total = maps.mean(), values.mean()
        out = {
            "attribution": Field(("target", EVENT), mean),
            "group_value": Field(("target", "group"), total),
            **completeness(self.samples, mean, total.nansum(2), reference),
        }
        if values.draws > 1:
            out["standard_error"] = Field(("target", EVENT), maps.standard_error())
            out["group_standard_error"] = Field(("target", "group"), values.standard_error())
        return out
