"""Shapley interactions of pairs of groups by weighted least squares over coalitions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from ..core.baselines import Constant
from ..core.coalitions import INDICES, LARGEST, Coalitions, pair_effects
from ..core.game import Game
from ..core.method import Method
from ..core.results import Field, affordable, check_choice, check_count, check_positive
from ..core.samples import Moments, SampleChunk
from ..core.status import Status

_COALITIONS = 2**28  # bytes of the least squares in memory at once, of several samples


@dataclass(frozen=True)
class ShapleyInteractions(Method):
    """What groups contribute by themselves and in pairs: ``f(x) - f(none) = sum_g v_g + sum_{g<h} v_gh``, for any model.

    Two indices for the pairs, the same where the game is 2-additive (no three groups act together):

    - "shapley": the Shapley interaction index, the mean over coalitions T of ``v(T+gh) - v(T+g) - v(T+h) + v(T)``. Mains are
      such that ``v_g + sum_h v_gh / 2`` is the Shapley value of g (Grabisch and Roubens, 1999; Lundberg et al., 2020).
    - "faithful": mains and pairs that fit the model's answers best, by least squares with the Shapley kernel's weights
      (Tsai, Yeh and Ravikumar, 2023).

    Exact if all 2^M - 2 coalitions are affordable; a 2-additive game at any effort. Else sizes of coalitions are enumerated from
    the outside in, and of the others coalitions are drawn with their complements. What acts together in threes and more is
    divided over mains and pairs.

    Parameters
    ----------
    groups
        The players; an object of `tsattr.groups`. With overlapping groups a cell is absent while any of its groups is.
    baseline
        What takes the place of absent cells.
    order
        2: mains and pairs.
    index
        "shapley" or "faithful".
    coalitions
        Largest number of coalitions for each draw; by default 2 M (M + 1) + 2048.
    draws
        Number of independent runs at most, each with a draw of the baseline and coalitions of its own; their mean is reported
        with its standard error. None: one of what is always the same, each sample of a `Samples` reference once, a hundred at
        most; with a `tolerance` 32.
    tolerance
        Stop a sample once the standard errors of its mains and pairs are within this share of them, both as root sums of squares,
        for every target; those that never are get the status "not converged". None makes all draws.

    Returns
    -------
    attribution (each group's main and half of its pairs, divided evenly over its valid cells, so that cells sum to the
    difference), group_value (mains), interaction (sample, group, group_b: symmetric, the whole value of a pair in both of its
    cells, 0 on the diagonal), their standard errors over several draws, reference, completeness_gap, completeness_error, steps
    (coalitions used).

    Raises
    ------
    ValueError
        An order other than 2; fewer coalitions than four times the number of mains and pairs, or than all there are, with which the least squares would not be
        determined; a least squares' matrix of more than 2 GiB.

    Examples
    --------
    >>> import torch, tsattr as ta
    >>> x = torch.tensor([[2.0, 3.0, 1.0]])  # 2 x 3 together, 1 by itself
    >>> ds = ta.explain(lambda x: x[:, 0] * x[:, 1] + x[:, 2], x, ta.ShapleyInteractions(ta.groups.Cells()))
    >>> pair = ds.interaction.sel(group="0", group_b="1")
    >>> ds.group_value.sel(group="2").values.round(9).tolist(), pair.values.round(9).tolist()
    ([1.0], [6.0])
    """

    groups: Any
    baseline: Any = Constant(0.0)  # noqa: RUF009 - frozen
    order: int = 2
    index: str = "shapley"
    coalitions: int | None = None
    draws: int | None = None
    tolerance: float | None = None
    gradient: ClassVar[bool] = False
    binds: ClassVar[Mapping[str, str]] = {"groups": "groups", "baseline": "baseline", "draws": "draws"}
    effort: ClassVar[tuple[str, ...]] = ("coalitions", "draws")
    in_target_units: ClassVar[bool] = True
    sentence: ClassVar[str] = (
        "Shapley interactions: take sets of groups away, and divide what changes over groups by themselves and pairs of groups."
    )
    note: ClassVar[str] = (
        "The picture shows each group's own value and half of its pairs, divided evenly over its cells; the pairs are beside it."
    )

    def __post_init__(self) -> None:
        if self.order != 2:
            raise ValueError(f"order is 2, mains and pairs, got {self.order!r}; for mains alone give ShapleySampling")
        check_choice("index", self.index, INDICES)
        check_count("draws", self.draws, none=True)
        check_count("coalitions", self.coalitions, none=True)
        if self.tolerance is not None:
            check_positive("tolerance must be", self.tolerance, ", or None")
            if self.draws == 1:
                raise ValueError(
                    "a tolerance is of the standard error over several draws, got draws=1; give more, or none"
                )

    @property
    def _draws(self) -> int:
        """The most runs, known once the baseline is bound."""
        return max(self.draws or 1, 1 if self.tolerance is None else 2)

    def bind(self, to: Any) -> ShapleyInteractions:
        """Bound, with 32 draws where a tolerance asks for several and no number is given."""
        several = self.tolerance is not None and self.draws is None
        return Method.bind(replace(self, draws=32) if several else self, to)

    def __call__(self, samples: SampleChunk) -> dict[str, Field]:
        """Explain some samples."""
        game = Game.of(samples, self.groups, self.baseline)
        n, targets, players, device = samples.n, samples.targets, game.size.shape[1], samples.x.device
        budget, most = self._budget(players), self._draws
        maps = Moments(n, (targets, *samples.event), most, device)
        shares, mains = (Moments(n, (targets, players), most, device) for _ in range(2))
        pairs = Moments(n, (targets, players, players), most, device)
        empty = Moments(n, (targets,), most, device)
        steps = torch.zeros(n, dtype=torch.int64, device=device)
        active, done, each = samples.indices, 0, most if self.tolerance is None else max(2, most // 16)
        while done < most and len(active):
            each = min(each, most - done)
            for i, draw in self._blocks(samples, each, players, budget, active, done):
                playing = game.players(i)
                plans = game.plans(i, draw, playing, budget)
                main, pair, nothing = self._fitted(game, i, draw, playing, plans)
                share = main + torch.nan_to_num(pair).sum(3) / 2
                for moments, value in (
                    (mains, main),
                    (pairs, pair),
                    (shares, share),
                    (maps, game.divide(i, share)),
                    (empty, nothing),
                ):
                    moments.add(i, draw, value)
                steps.index_add_(0, i, torch.tensor([len(plan.weight) for plan in plans], device=device))
            done += each
            if self.tolerance is not None:
                active = active[self._apart(mains, pairs, active) & ~samples.failed[active]]
        if self.tolerance is not None:
            samples.record_state(active, torch.full_like(active, Status.NOT_CONVERGED))
        out = game.result(maps, shares, empty.mean()) | {"steps": Field((), steps)}
        for name, error, dims, moments in (
            ("group_value", "group_standard_error", ("target", "group"), mains),
            ("interaction", "interaction_standard_error", ("target", "group", "group_b"), pairs),
        ):
            out[name] = Field(dims, moments.mean())
            if most > 1:
                out[error] = Field(dims, moments.standard_error())
        return out

    def _blocks(
        self, samples: SampleChunk, draws: int, players: int, budget: int, among: Tensor, first: int
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Pairs of sample and draw, as many at once as there is room for their least squares."""
        rows = min(budget, 2 ** min(players, 60))
        each = max(1, _COALITIONS // (8 * players**2 * rows))
        for pair in samples.draws(draws, rows, among=among, first=first):
            yield from zip(*(torch.split(v, each) for v in pair))

    def _fitted(
        self,
        game: Game,
        i: Tensor,
        draw: Tensor,
        playing: list[np.ndarray],
        plans: list[Coalitions],
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Mains (m, targets, groups), pairs (m, targets, groups, groups), and the worth (m, targets) of the empty coalition."""
        players, nothing = game.size.shape[1], np.empty((len(i), game.samples.targets))
        mains, pairs = np.full((*nothing.shape, players), np.nan), np.full((*nothing.shape, players, players), np.nan)
        for plan, rows, empty, y, total in game.worths(i, draw, playing, plans):
            nothing[rows] = empty
            effects = pair_effects(self.index, plan, y, total)
            for row, main, pair in zip(rows, *(v.reshape(*empty.shape, *v.shape[1:]) for v in effects)):
                members = playing[row]
                mains[row][:, members] = main
                pairs[row][:, members[:, None], members] = pair
        found = [torch.as_tensor(v, device=i.device) for v in (mains, pairs, nothing)]
        return found[0], found[1], found[2]

    def _apart(self, mains: Moments, pairs: Moments, active: Tensor) -> Tensor:
        """Bool (active): True where the standard errors are not yet within the tolerance."""
        error, size = (
            torch.hypot(
                torch.nan_to_num(main[active]).norm(dim=2),
                torch.nan_to_num(pair[active]).flatten(2).norm(dim=2) / 2**0.5,
            )
            for main, pair in (
                (mains.standard_error(), pairs.standard_error()),
                (mains.mean(), pairs.mean()),
            )
        )
        tolerance: float = self.tolerance or 0.0
        return (error > tolerance * size).any(1)

    def coordinates(self) -> dict[str, Any]:
        """The groups' names, for the second of a pair."""
        return {"group_b": ("group_b", self.groups.names)}

    def rows(self) -> tuple[int, int]:
        """The intact sample, and the empty and the other coalitions of each draw."""
        players, most = len(self.groups.names), self._draws
        number = 1 + min(self._budget(players), 2**players - 2)
        least = most if self.tolerance is None else min(most, max(2, most // 16))
        return 1 + least * number, 1 + most * number

    def within(self, rows: int) -> ShapleyInteractions:
        """As many coalitions as `rows` rows a sample allow, in fewer draws where each would have too few."""
        players = len(self.groups.names)
        fewest = 1 if self.tolerance is None else 2
        draws = max(fewest, min(self._draws, (rows - 1) // (1 + _least(players))))
        most = affordable("coalitions", (rows - 1) // draws - 1, self, rows)
        if most < _least(players):
            raise ValueError(
                f"a budget of {rows} rows a sample allows {most} coalitions of ShapleyInteractions, which needs {_least(players)} for "
                f"{players} groups; give more rows, or larger groups"
            )
        return replace(self, coalitions=most, draws=draws)

    def _budget(self, players: int) -> int:
        """The most coalitions of a draw; ValueError where they are too few, or too many to hold."""
        effects = players * (players + 1) // 2
        budget = 4 * effects + 2048 if self.coalitions is None else self.coalitions
        if budget < _least(players):
            raise ValueError(
                f"ShapleyInteractions needs at least four coalitions for each main and pair, or all there are: {_least(players)} for "
                f"{players} groups, got coalitions={budget}"
            )
        if (size := 8 * effects * min(budget, 2 ** min(players, 60))) > LARGEST:
            raise ValueError(
                f"ShapleyInteractions solves least squares of {budget} coalitions x {effects} mains and pairs, {size / 1e9:.1f} GB and "
                "some four times that while it does; take larger groups, so that they are fewer"
            )
        return budget


def _least(players: int) -> int:
    """The fewest coalitions with which the least squares are determined."""
    every: int = 2 ** min(players, 60) - 2
    return min(2 * players * (players + 1), every)
