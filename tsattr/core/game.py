"""Groups as the players of a cooperative game: what methods that estimate Shapley values share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .bound import BoundBaseline, BoundGroups
from .coalitions import Coalitions, Design
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
    playing
        Bool (n, groups): True where it has some.
    """

    samples: SampleChunk
    groups: BoundGroups
    baseline: BoundBaseline
    size: Tensor

    def __post_init__(self) -> None:
        self.playing = self.size > 0
        self.designs: dict[tuple[int, int], Design] = {}

    @classmethod
    def of(cls, samples: SampleChunk, groups: BoundGroups, baseline: BoundBaseline) -> Game:
        """The game of some samples."""
        return cls(samples, groups, baseline, groups.count(samples.valid_cells, samples.position))

    def players(self, i: Tensor) -> list[np.ndarray]:
        """The numbers of the groups that play in each row, in an order in which they stay when the dims change theirs."""
        playing = self.playing[i].cpu().numpy()
        order = self.groups.order
        return [order] * len(i) if playing.all() else [order[row[order]] for row in playing]

    def plans(self, i: Tensor, draw: Tensor, playing: list[np.ndarray], budget: int) -> list[Coalitions]:
        """At most `budget` coalitions of each row's players; one and the same where all are enumerated, else each has its own draws."""
        designs = [self._design(len(players), budget) for players in playing]
        if not any(design.pairs for design in designs):
            return [design.fixed for design in designs]
        rngs = self.samples.key(i, draw).fork(ORDERS).rngs()
        return [design.drawn(rng) if design.pairs else design.fixed for design, rng in zip(designs, rngs)]

    def _design(self, players: int, budget: int) -> Design:
        """Made once in a call: that of all samples is the same."""
        if (players, budget) not in self.designs:
            self.designs[players, budget] = Design.of(players, budget)
        return self.designs[players, budget]

    def worth(self, i: Tensor, draw: Tensor, absent: Callable[[slice], Tensor]) -> Tensor:
        """Target values (rows, targets) of sample `i` without the absent groups, bool (some rows, groups); NaN where infinite.

        These are made batch by batch: all at once they would be quadratic in the groups.
        """
        out = torch.empty(len(i), self.samples.targets, dtype=torch.float64, device=i.device)
        for at, v in self.samples.without(self.groups, self.baseline, i, draw, absent):
            out[at] = torch.where(v.isfinite(), v, torch.nan)
        return out

    def worths(
        self, i: Tensor, draw: Tensor, playing: list[np.ndarray], plans: list[Coalitions]
    ) -> Iterator[tuple[Coalitions, list[int], np.ndarray, np.ndarray, np.ndarray]]:
        """Each plan with its rows, their worths of the empty coalition (rows, targets), and what others add to it.

        These are of the planned coalitions (coalitions, rows x targets), and of the grand one (rows x targets): what is solved for
        the rows of one plan has one matrix.
        """
        players, device = self.size.shape[1], i.device
        present = [np.zeros((1 + len(plan.weight), players), bool) for plan in plans]
        for numbers, rows, plan in zip(playing, present, plans):
            rows[1:, numbers] = plan.members
        lengths = [len(rows) for rows in present]
        j = torch.as_tensor(np.repeat(np.arange(len(i)), lengths), device=device)
        joined, of = torch.as_tensor(np.concatenate(present), device=device), i[j]

        def absent(at: slice) -> Tensor:
            return self.playing.index_select(0, of[at]) & ~joined[at]

        worth = np.split(self.worth(of, draw[j], absent).cpu().numpy(), np.cumsum(lengths)[:-1])
        top, same = self.samples.prediction[i].cpu().numpy(), dict[int, list[int]]()
        for row, plan in enumerate(plans):
            same.setdefault(id(plan), []).append(row)
        for of_plan in same.values():
            found = np.stack([worth[row] for row in of_plan], 1)
            adds = np.concatenate([found[1:], top[None, of_plan]]) - found[0]
            adds = adds.reshape(len(adds), adds.shape[1] * adds.shape[2])
            yield plans[of_plan[0]], of_plan, found[0], adds[:-1], adds[-1]

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
