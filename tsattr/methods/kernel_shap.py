"""Shapley values over groups by weighted least squares over coalitions (KernelSHAP)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from ..core.baselines import Constant
from ..core.coalitions import LARGEST, Coalitions, constrained_least_squares
from ..core.game import Game
from ..core.method import Method
from ..core.results import Field, affordable, check_count
from ..core.samples import Moments, SampleChunk

_COALITIONS = 2**28  # bytes of coalitions in memory at once, of several samples


@dataclass(frozen=True)
class KernelShap(Method):
    """Shapley values of groups by weighted least squares over coalitions (KernelSHAP).

    Minimises ``sum_S w(S) (f(S) - f(none) - sum_{g in S} v_g)^2`` with ``w(S) = (M - 1) / (C(M, s) s (M - s))`` under
    ``sum_g v_g = f(x) - f(none)``, which holds exactly. Sizes are enumerated from the outside in while that is affordable;
    of the others coalitions are drawn with their complements. Exact if all 2^M - 2 are affordable. Lundberg and Lee, 2017;
    Covert and Lee, 2021.

    Memory is that of the least squares, coalitions x groups in float64 some four times: 0.8 GB for 3,000 groups. Larger ones
    than 2 GiB each are refused; `ShapleySampling` is linear in the groups.

    Parameters
    ----------
    groups
        The players; an object of `tsattr.groups`. With overlapping groups a cell is absent while any of its groups is.
    baseline
        What takes the place of absent cells.
    coalitions
        Largest number of coalitions for each draw; by default 2 M + 2048.
    draws
        Number of independent runs, each with a draw of the baseline and coalitions of its own; their mean is reported with
        its standard error. None: one of what is always the same, each sample of a `Samples` reference once, a hundred at most.

    Returns
    -------
    attribution (each group's value divided evenly over its valid cells), group_value, their standard errors over several
    draws, reference, completeness_gap, completeness_error, steps (coalitions used in a draw).

    Raises
    ------
    ValueError
        Fewer coalitions than twice the number of groups: the least squares would not be determined.

    Examples
    --------
    >>> import torch, tsattr as ta
    >>> ds = ta.explain(lambda x: x[:, 0] * x[:, 1], torch.tensor([[2.0, 3.0]]), ta.KernelShap(ta.groups.Cells()))
    >>> ds.group_value.values.round(9).tolist()
    [[3.0, 3.0]]
    """

    groups: Any
    baseline: Any = Constant(0.0)  # noqa: RUF009 - frozen
    coalitions: int | None = None
    draws: int | None = None
    gradient: ClassVar[bool] = False
    binds: ClassVar[Mapping[str, str]] = {"groups": "groups", "baseline": "baseline", "draws": "draws"}
    effort: ClassVar[tuple[str, ...]] = ("coalitions", "draws")
    in_target_units: ClassVar[bool] = True
    sentence: ClassVar[str] = (
        "Kernel SHAP: fit Shapley values to the model's answers with random sets of groups taken away."
    )
    note: ClassVar[str] = (
        "A group's Shapley value is divided evenly over its cells: the picture is no finer than the groups."
    )

    def __post_init__(self) -> None:
        check_count("draws", self.draws, none=True)
        if self.coalitions is not None:
            check_count("coalitions", self.coalitions)

    @property
    def _draws(self) -> int:
        """How many there are, which is known once the baseline is bound."""
        return self.draws or 1

    def _budget(self, players: int) -> int:
        return self._budget_of(2 * players + 2048 if self.coalitions is None else self.coalitions, players)

    @staticmethod
    def _budget_of(budget: int, players: int) -> int:
        if budget < min(2 * players, 2**players - 2):
            raise ValueError(
                f"KernelShap needs at least two coalitions a group, {2 * players} for {players} groups, got coalitions={budget}"
            )
        if (size := 8 * players * min(budget, 2 ** min(players, 60))) > LARGEST:
            raise ValueError(
                f"KernelShap solves least squares of {budget} coalitions x {players} groups, {size / 1e9:.1f} GB and some four times "
                "that while it does; take larger groups, or ShapleySampling, whose memory is linear in the groups"
            )
        return budget

    def __call__(self, samples: SampleChunk) -> dict[str, Field]:
        """Explain some samples."""
        game = Game.of(samples, self.groups, self.baseline)
        n, targets, players, device = samples.n, samples.targets, game.size.shape[1], samples.x.device
        budget = self._budget(players)
        maps = Moments(n, (targets, *samples.event), self._draws, device)
        values = Moments(n, (targets, players), self._draws, device)
        empty = Moments(n, (targets,), self._draws, device)
        steps = torch.zeros(n, dtype=torch.int64, device=device)
        each = max(1, _COALITIONS // (players * min(budget, 2 ** min(players, 60))))
        blocks = samples.draws(self._draws, min(budget, 2**players))
        for i, draw in ((i, d) for pair in blocks for i, d in zip(*(torch.split(v, each) for v in pair))):
            playing = game.players(i)
            plans = game.plans(i, draw, playing, budget)
            value, nothing = self._fitted(game, i, draw, playing, plans)
            values.add(i, draw, value)
            maps.add(i, draw, game.divide(i, value))
            empty.add(i, draw, nothing)
            steps[i] = torch.tensor([len(plan.weight) for plan in plans], device=device)
        return game.result(maps, values, empty.mean()) | {"steps": Field((), steps)}

    @staticmethod
    def _fitted(
        game: Game, i: Tensor, draw: Tensor, playing: list[np.ndarray], plans: list[Coalitions]
    ) -> tuple[Tensor, Tensor]:
        """Values (m, targets, groups) by least squares over each row's coalitions, and the worth (m, targets) of the empty one."""
        nothing = np.empty((len(i), game.samples.targets))
        found = np.full((*nothing.shape, game.size.shape[1]), np.nan)
        for plan, rows, empty, y, total in game.worths(i, draw, playing, plans):
            nothing[rows] = empty
            values = constrained_least_squares(plan.members, plan.weight, y, total)
            for row, value in zip(rows, values.reshape(*empty.shape, values.shape[1])):
                found[row][:, playing[row]] = value
        return torch.as_tensor(found, device=i.device), torch.as_tensor(nothing, device=i.device)

    def rows(self) -> tuple[int, int]:
        """The intact sample, and the empty and the other coalitions of each draw."""
        players = len(self.groups.names)
        number = min(self._budget(players), 2**players - 2)
        return 1 + self._draws * (1 + number), 1 + self._draws * (1 + number)

    def within(self, rows: int) -> KernelShap:
        """As many coalitions as `rows` rows a sample allow, in fewer draws where each would have too few."""
        players = len(self.groups.names)
        draws = max(1, min(self._draws, (rows - 1) // (1 + min(2 * players, 2**players - 2))))
        most = affordable("coalitions", (rows - 1) // draws - 1, self, rows)
        self._budget_of(most, players)
        return replace(self, coalitions=most, draws=draws)
