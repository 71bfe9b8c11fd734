"""Shapley values over groups: by sampled permutations, and by weighted least squares (KernelSHAP)."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from ..core.baselines import Constant
from ..core.completeness import completeness
from ..core.method import Method
from ..core.results import EVENT, Field, affordable, check_count, check_positive
from ..core.samples import Moments, SampleChunk
from ..core.states import State

_PLANS = 2**28  # bytes of coalitions held at once, of several samples
_LARGEST = 2**31  # bytes of the least squares' matrix, of which some four copies are made
_ORDER = 2**33  # the stream of random orders and coalitions, apart from those of an input's variables


@dataclass
class _Game:
    """The groups as players: who takes part, what a coalition is worth, and how a value is divided over cells."""

    samples: SampleChunk
    groups: Any
    baseline: Any
    size: Tensor  # (n, groups): valid cells of each group; a group without any plays no part

    @classmethod
    def of(cls, samples: SampleChunk, groups: Any, baseline: Any) -> _Game:
        return cls(samples, groups, baseline, groups.count(samples.valid_cells, samples.position))

    def players(self, i: Tensor) -> list[np.ndarray]:
        """The groups that play in each row, in an order that depends on neither the dims' order nor the company."""
        playing = (self.size[i] > 0).cpu().numpy()
        order = self.groups.order
        return [order[row[order]] for row in playing]

    def worth(self, i: Tensor, draw: Tensor, absent: Callable[[slice], Tensor]) -> Tensor:
        """Target values (rows, targets) of sample `i` without the absent groups, bool (some rows, groups).

        These are made batch by batch: all at once they would be quadratic in the groups.
        """
        out = torch.empty(len(i), self.samples.targets, dtype=torch.float64, device=i.device)
        for at, v in self.samples.without(self.groups, self.baseline, i, draw, absent):
            out[at] = v
        return out

    def divide(self, i: Tensor, values: Tensor) -> Tensor:
        """Maps (rows, targets, *event): each group's value divided evenly over its valid cells."""
        share = torch.nan_to_num(values / self.size[i][:, None])
        cells = self.groups.spread(share, self.samples.position[i], mean=False)
        return cells.expand(len(i), self.samples.targets, *self.samples.event)

    def result(self, maps: Moments, values: Moments, reference: Tensor) -> dict[str, Field]:
        """The fields of a complete method on groups."""
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
        game = _Game.of(samples, self.groups, self.baseline)
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
                active = active[(error > self.tolerance * size).any(1) & ~samples.failed[active]]
        out = game.result(maps, values, empty.mean())
        out["steps"] = Field((), (self._pair * values.count.reshape(n)).to(torch.int64))
        if self.tolerance is not None:
            samples.record_state(active, torch.full_like(active, State.NOT_CONVERGED))
        return out

    def _orders(self, game: _Game, i: Tensor, draw: Tensor) -> tuple[Tensor, Tensor]:
        """Values (m, targets, groups), the mean over an order and its reverse, and the worth of the empty coalition."""
        samples, playing = game.samples, game.size[i] > 0
        number = playing.sum(1)
        key = samples.key(i, draw).fork(_ORDER)
        chance = np.full(playing.shape, 2.0)  # those that do not play come last
        for row, players in enumerate(game.players(i)):
            chance[row, players] = key.rng(row).random(len(players))
        rank = torch.as_tensor(chance, device=i.device).argsort(1).argsort(1)
        total = torch.zeros(len(i), samples.targets, playing.shape[1], dtype=torch.float64, device=i.device)
        nothing = torch.zeros_like(total[..., 0])
        for order in (rank, number[:, None] - 1 - rank)[: self._pair]:
            place = torch.where(playing, order, playing.shape[1])
            step = torch.arange(playing.shape[1] + 1, device=i.device)
            j, s = (step < number.clamp(min=1)[:, None]).nonzero(as_tuple=True)
            worth = samples.prediction[i][..., None].repeat(1, 1, len(step))

            def later(at: slice, j: Tensor = j, s: Tensor = s, place: Tensor = place) -> Tensor:
                return playing[j[at]] & (place[j[at]] >= s[at, None])

            worth[j, :, s] = game.worth(i[j], draw[j], later)
            at = place.clamp(max=len(step) - 2)[:, None].expand_as(total)
            total += worth.diff(dim=2).gather(2, at)
            nothing += worth[..., 0]
        value = torch.where(playing[:, None], total / self._pair, torch.nan)
        return value, nothing / self._pair

    def rows(self) -> tuple[int, int]:
        """The intact sample, and each group once for each order."""
        players, most = len(self.groups.names), self.draws // self._pair
        least = most if self.tolerance is None else min(most, max(2, most // 16))
        return 1 + self._pair * least * players, 1 + self.draws * players

    def within(self, rows: int) -> ShapleySampling:
        """As many orders as `rows` rows a sample allow, in pairs."""
        most = affordable("orders", (rows - 1) // len(self.groups.names), self, rows)
        return replace(self, draws=most if most == 1 else most - most % 2)


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
        if (size := 8 * players * min(budget, 2 ** min(players, 60))) > _LARGEST:
            raise ValueError(
                f"KernelShap solves least squares of {budget} coalitions x {players} groups, {size / 1e9:.1f} GB and some four times "
                "that while it does; take larger groups, or ShapleySampling, whose memory is linear in the groups"
            )
        return budget

    def __call__(self, samples: SampleChunk) -> dict[str, Field]:
        """Explain some samples."""
        game = _Game.of(samples, self.groups, self.baseline)
        n, targets, players, device = samples.n, samples.targets, game.size.shape[1], samples.x.device
        budget = self._budget(players)
        maps = Moments(n, (targets, *samples.event), self._draws, device)
        values = Moments(n, (targets, players), self._draws, device)
        empty = Moments(n, (targets,), self._draws, device)
        steps = torch.zeros(n, dtype=torch.int64, device=device)
        each = max(1, _PLANS // (players * min(budget, 2 ** min(players, 60))))
        blocks = samples.draws(self._draws, min(budget, 2**players))
        for i, draw in ((i, d) for one, other in blocks for i, d in zip(one.split(each), other.split(each))):
            key = samples.key(i, draw).fork(_ORDER)
            playing = game.players(i)
            plans = [coalitions(len(p), budget, key.rng(row)) for row, p in enumerate(playing)]
            # One row for the empty coalition, then those of the plan, item by item.
            present = [np.zeros((1 + len(z), players), bool) for z, _ in plans]
            for p, rows, (z, _) in zip(playing, present, plans):
                rows[1:, p] = z
            j = torch.as_tensor(np.repeat(np.arange(len(i)), [len(p) for p in present]), device=device)
            here = torch.as_tensor(np.concatenate(present), device=device)

            def gone(at: slice, j: Tensor = j, i: Tensor = i, here: Tensor = here) -> Tensor:
                return (game.size[i[j[at]]] > 0) & ~here[at]

            worth = game.worth(i[j], draw[j], gone).cpu().numpy()
            top = samples.prediction[i].cpu().numpy()
            found = np.full((len(i), targets, players), np.nan)
            nothing, first = np.empty((len(i), targets)), 0
            for row, (z, w) in enumerate(plans):
                nothing[row] = worth[first]
                found[row][:, playing[row]] = constrained_least_squares(
                    z, w, worth[first + 1 : first + 1 + len(z)] - worth[first], top[row] - worth[first]
                )
                steps[i[row]] = len(z)
                first += 1 + len(z)
            value = torch.as_tensor(found, device=device)
            values.add(i, draw, value)
            maps.add(i, draw, game.divide(i, value))
            empty.add(i, draw, torch.as_tensor(nothing, device=device))
        return game.result(maps, values, empty.mean()) | {"steps": Field((), steps)}

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


def coalitions(players: int, budget: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Coalitions bool (m, players) with their weights: whole sizes while they are affordable, then pairs drawn.

    Sizes s and M - s are taken together, the outermost first: they weigh most. What is left of the budget goes to
    coalitions of the other sizes, drawn in proportion to the kernel's weight together with their complements, which share
    the weight of those sizes evenly.
    """
    if players < 2:
        return np.zeros((0, players), bool), np.zeros(0)
    kernel = {s: (players - 1) / (s * (players - s)) for s in range(1, players)}  # of all coalitions of a size together
    rows: list[np.ndarray] = []
    weights: list[float] = []
    size = 1
    while size <= players // 2:
        sizes = {size, players - size}
        number = sum(math.comb(players, s) for s in sizes)
        if len(rows) + number > budget:
            break
        for s in sorted(sizes):
            for members in itertools.combinations(range(players), s):
                z = np.zeros(players, bool)
                z[list(members)] = True
                rows.append(z)
                weights.append(kernel[s] / math.comb(players, s))
        size += 1
    left, pairs = [s for s in kernel if size <= s <= players - size], (budget - len(rows)) // 2
    if left and pairs:
        mass = np.array([kernel[s] for s in left])
        for s in rng.choice(left, size=pairs, p=mass / mass.sum()):
            z = np.zeros(players, bool)
            z[rng.choice(players, size=s, replace=False)] = True
            rows += [z, ~z]
        weights += [mass.sum() / (2 * pairs)] * (2 * pairs)
    return np.array(rows).reshape(-1, players), np.array(weights)


def constrained_least_squares(z: np.ndarray, w: np.ndarray, y: np.ndarray, total: np.ndarray) -> np.ndarray:
    """Values (targets, players) that fit ``z v = y`` by weighted least squares and sum to `total` exactly.

    The constraint is met by putting the last player's value as what the others leave.
    """
    players = z.shape[1]
    if players == 0:
        return np.zeros((len(total), 0))
    if not np.isfinite(y).all() or not np.isfinite(total).all():
        return np.full((len(total), players), np.nan)
    z = z.astype(np.float64)
    root = np.sqrt(w)[:, None]
    others = z[:, :-1] - z[:, -1:]
    fit, *_ = np.linalg.lstsq(root * others, root * (y - z[:, -1:] * total), rcond=None)
    return np.concatenate([fit, (total - fit.sum(0))[None]]).T
