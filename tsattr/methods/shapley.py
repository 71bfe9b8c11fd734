"""Shapley values over groups by sampled permutations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from ..core.baselines import Constant
from ..core.game import ORDERS, Game
from ..core.method import Method
from ..core.results import Field, affordable, check_count, check_positive
from ..core.samples import Moments, SampleChunk
from ..core.status import Status


@dataclass(frozen=True)
class ShapleySampling(Method):
    """Shapley values of groups by random orders: the mean of what each group adds when it joins those before it.

    ``v_g = E_order[ f(with those before g, and g) - f(with those before g) ]``; what is not in is filled by the baseline.
    The values of one order sum to f(x) - f(everything absent) exactly. Castro, Gómez and Tejada, 2009; orders come in
    antithetic pairs, each with its reverse (Mitchell et al., 2022).

    Parameters
    ----------
    groups
        The players; an object of `tsattr.groups`. With overlapping groups a cell is absent while any of its groups is.
    baseline
        What takes the place of absent cells. Each pair of orders uses a draw of its own.
    draws
        Number of orders at most; an odd number goes without pairs.
    tolerance
        Stop a sample once the standard errors of its values are within this share of the values, both as root sums of
        squares, for every target; those that never are get the status "not converged". None uses all orders.

    Returns
    -------
    attribution (each group's value divided evenly over its valid cells, so that cells sum to the difference),
    group_value, their standard errors over the pairs, reference, completeness_gap, completeness_error, steps (orders used).

    Examples
    --------
    >>> import torch, tsattr as ta
    >>> ds = ta.explain(lambda x: x.amin(1), torch.tensor([[2.0, 3.0]]), ta.ShapleySampling(ta.groups.Cells(), draws=2))
    >>> ds.group_value.values.tolist()
    [[1.0, 1.0]]
    """

    groups: Any
    baseline: Any = Constant(0.0)  # noqa: RUF009 - frozen
    draws: int = 50
    tolerance: float | None = None
    gradient: ClassVar[bool] = False
    binds: ClassVar[Mapping[str, str]] = {"groups": "groups", "baseline": "baseline", "draws": "draws"}
    effort: ClassVar[tuple[str, ...]] = ("draws",)
    in_target_units: ClassVar[bool] = True
    sentence: ClassVar[str] = (
        "Shapley values: take groups away in many random orders and average what each group's removal changes."
    )
    note: ClassVar[str] = (
        "A group's Shapley value is divided evenly over its cells: the picture is no finer than the groups."
    )

    def __post_init__(self) -> None:
        check_count("draws", self.draws)
        if self.tolerance is not None:
            check_positive("tolerance must be", self.tolerance, ", or None")

    @property
    def _pair(self) -> int:
        return 2 - self.draws % 2

    def __call__(self, samples: SampleChunk) -> dict[str, Field]:
        """Explain some samples."""
        game = Game.of(samples, self.groups, self.baseline)
        n, targets, players, device = samples.n, samples.targets, game.size.shape[1], samples.x.device
        most = self.draws // self._pair
        maps = Moments(n, (targets, *samples.event), most, device)
        values = Moments(n, (targets, players), most, device)
        empty = Moments(n, (targets,), most, device)
        active = torch.arange(n, device=device)
        done, each = 0, most if self.tolerance is None else max(2, most // 16)
        while done < most and len(active):
            each = min(each, most - done)
            for i, draw in samples.draws(each, self._pair * players, among=active, first=done):
                value, nothing = self._orders(game, i, draw)
                values.add(i, draw, value)
                maps.add(i, draw, game.divide(i, value))
                empty.add(i, draw, nothing)
            done += each
            if self.tolerance is not None and done > 1:
                error, size = (
                    torch.nan_to_num(v[active]).norm(dim=2) for v in (values.standard_error(), values.mean())
                )
                go_on = (error > self.tolerance * size).any(1) & ~samples.failed[active]
                times = (error / (self.tolerance * size))[go_on].nan_to_num(0).amax(1) ** 2
                active = active[go_on]
                self._foresee(samples, values.count.reshape(n), active, done * times)
        out = game.result(maps, values, empty.mean())
        out["steps"] = Field((), (self._pair * values.count.reshape(n)).to(torch.int64))
        if self.tolerance is not None:
            samples.record_state(active, torch.full_like(active, Status.NOT_CONVERGED))
        return out

    def _foresee(self, samples: SampleChunk, drawn: Tensor, active: Tensor, needed: Tensor) -> None:
        """Tell how many times its fewest rows it is likely to take: the active samples need more draws, as errors fall like 1/sqrt."""
        likely = drawn.index_copy(0, active, needed.to(drawn.dtype).clamp(max=self.draws // self._pair))
        samples.engine.foresee((1 + self._each * float(likely.mean())) / self.rows()[0])

    def _orders(self, game: Game, i: Tensor, draw: Tensor) -> tuple[Tensor, Tensor]:
        """Values (m, targets, groups), the mean over an order and its reverse, and the worth of the empty coalition."""
        samples, playing = game.samples, game.playing[i]
        number, players = playing.sum(1), playing.shape[1]
        rank = self._ranks(game, i, draw)
        place = torch.stack((rank, number[:, None] - 1 - rank)[: self._pair], 1)
        place = torch.where(playing[:, None], place, -1)
        step = torch.arange(players + 1, device=i.device)
        asked = (step < number.clamp(min=1)[:, None])[:, None].repeat(1, self._pair, 1)
        asked[:, 1:, 0] = False  # with nobody there, both orders of a pair begin alike
        j, o, s = asked.nonzero(as_tuple=True)

        order = j * self._pair + o

        def later(at: slice) -> Tensor:
            return place.flatten(0, 1).index_select(0, order[at]) >= s[at, None]

        worth = samples.prediction[i][:, None, None].repeat(1, self._pair, players + 1, 1)
        worth[j, o, s] = game.worth(i[j], draw[j], later)
        worth[:, 1:, 0] = worth[:, :1, 0]
        gains = worth.diff(dim=2).gather(2, place.clamp(min=0)[..., None].expand(-1, -1, -1, samples.targets))
        value = torch.where(playing[:, None], gains.mean(1).mT, torch.nan)
        return value, worth[:, 0, 0]

    def _ranks(self, game: Game, i: Tensor, draw: Tensor) -> Tensor:
        """Each group's place (m, groups) in a random order of those that play; the others come last."""
        chance = np.full((len(i), len(game.groups.names)), 2.0)
        for row, players, rng in zip(chance, game.players(i), game.samples.key(i, draw).fork(ORDERS).rngs()):
            row[players] = rng.random(len(players))
        return torch.as_tensor(chance, device=i.device).argsort(1).argsort(1)

    def rows(self) -> tuple[int, int]:
        """The intact sample, and each group once for each order; the two of a pair begin with the same row."""
        most = self.draws // self._pair
        least = most if self.tolerance is None else min(most, max(2, most // 16))
        return 1 + self._each * least, 1 + self._each * most

    @property
    def _each(self) -> int:
        """Rows of an order, or of a pair of them."""
        return self._pair * len(self.groups.names) - (self._pair - 1)

    def within(self, rows: int) -> ShapleySampling:
        """As many orders as `rows` rows a sample allow, in pairs."""
        players = len(self.groups.names)
        pairs = (rows - 1) // (2 * players - 1)
        most = 2 * pairs if pairs else affordable("orders", (rows - 1) // players, self, rows)
        return replace(self, draws=most)
