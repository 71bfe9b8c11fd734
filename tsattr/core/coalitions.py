"""Coalitions of players weighted by the Shapley kernel, and the least squares over them."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

LARGEST = 2**31
"""Bytes of the least squares' matrix that are allowed; some four copies of it are made."""


class Coalitions(NamedTuple):
    """Coalitions of players, each with its weight; sums over them stand for sums over all with the Shapley kernel.

    Attributes
    ----------
    members
        Bool (m, players): True for those in it.
    weight
        (m,) of each.
    enumerated
        How many of them, the first, are all of their sizes; those after them are drawn, each followed by its complement.
    """

    members: np.ndarray
    weight: np.ndarray
    enumerated: int


@dataclass(frozen=True, eq=False)
class Design:
    """Which coalitions of so many players a budget allows: whole sizes while they are affordable, then pairs drawn.

    Sizes s and M - s are taken together, the outermost first: they weigh most. What is left of the budget goes to
    coalitions of the other sizes, drawn in proportion to the kernel's weight together with their complements, which share
    the weight of those sizes evenly.

    It depends on the number of players and on the budget alone, so that it is made once for all samples.

    Attributes
    ----------
    whole
        Bool (m, players): the coalitions of the sizes that are enumerated.
    weight
        (m + 2 pairs,) of those, then of those that are drawn.
    sizes, chance
        The other sizes, and how often a coalition of each is drawn.
    pairs
        How many are drawn, each with its complement.
    """

    whole: np.ndarray
    weight: np.ndarray
    sizes: np.ndarray
    chance: np.ndarray
    pairs: int

    @classmethod
    def of(cls, players: int, budget: int) -> Design:
        """At most `budget` coalitions."""
        kernel = {
            s: (players - 1) / (s * (players - s)) for s in range(1, players)
        }  # of all coalitions of a size together
        rows, weights, size = [np.zeros((0, players), bool)], [np.zeros(0)], 1
        left = budget
        while size <= players // 2:
            sizes = sorted({size, players - size})
            number = sum(math.comb(players, s) for s in sizes)
            if number > left:
                break
            rows += [_all_of(players, s) for s in sizes]
            weights += [np.full(math.comb(players, s), kernel[s] / math.comb(players, s)) for s in sizes]
            size, left = size + 1, left - number
        others = np.arange(size, players - size + 1)
        mass = np.array([kernel[s] for s in others.tolist()])
        pairs = left // 2 if len(others) else 0
        weights.append(np.full(2 * pairs, mass.sum() / max(1, 2 * pairs)))
        return cls(np.concatenate(rows), np.concatenate(weights), others, mass / mass.sum(), pairs)

    @functools.cached_property
    def fixed(self) -> Coalitions:
        """The coalitions that are enumerated: all of them, where none is drawn."""
        return Coalitions(self.whole, self.weight[: len(self.whole)], len(self.whole))

    def drawn(self, rng: np.random.Generator) -> Coalitions:
        """Those that are enumerated, and pairs drawn."""
        size = rng.choice(self.sizes, size=self.pairs, p=self.chance)
        chance = rng.random((self.pairs, self.whole.shape[1]))  # the players of the lowest numbers are in
        last = np.sort(chance, 1)[np.arange(self.pairs), size - 1]
        members = np.empty((len(self.weight), self.whole.shape[1]), bool)
        members[: len(self.whole)] = self.whole
        members[len(self.whole) :: 2] = chance <= last[:, None]
        members[len(self.whole) + 1 :: 2] = chance > last[:, None]
        return Coalitions(members, self.weight, len(self.whole))


def _all_of(players: int, size: int) -> np.ndarray:
    """Bool (coalitions, players): all coalitions of a size."""
    number = math.comb(players, size)
    members = np.fromiter(itertools.chain.from_iterable(itertools.combinations(range(players), size)), int)
    rows = np.zeros((number, players), bool)
    rows[np.repeat(np.arange(number), size), members] = True
    return rows


def constrained_least_squares(z: np.ndarray, w: np.ndarray, y: np.ndarray, total: np.ndarray) -> np.ndarray:
    """Values (targets, players) that fit ``z v = y`` by weighted least squares and sum to `total` exactly.

    The constraint is met by putting the last player's value as what the others leave. By the normal equations: coalitions of
    one player, and of all but one, are always among them, so that their condition is that of the kernel's, some M; drawn ones
    raise it to 1e5 where they are fewest. A target whose worths are not finite has no values.
    """
    players = z.shape[1]
    if players == 0:
        return np.zeros((len(total), 0))
    known = np.isfinite(y).all(0) & np.isfinite(total)
    out = np.full((len(total), players), np.nan)
    y, total, z = y[:, known], total[known], z.astype(np.float64)
    others = z[:, :-1] - z[:, -1:]
    weighted = (w[:, None] * others).T
    fit = np.linalg.solve(weighted @ others, weighted @ (y - z[:, -1:] * total))
    out[known] = np.concatenate([fit, (total - fit.sum(0))[None]]).T
    return out


def pair_effects(index: str, plan: Coalitions, y: np.ndarray, total: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mains (targets, players) and pairs (targets, players, players) of a game with worths `y` (m, targets) of coalitions.

    Pairs are symmetric, the whole value of a pair in both of its cells; mains and pairs sum to the grand coalition's worth
    `total` exactly. A 2-additive game is fitted to the worths by least squares; what it leaves is added up with the index's own
    weights, as the index of a sum of games is the sum of theirs. Drawn coalitions are halved: what a game fitted to one half
    leaves of the other has no bias, and so the standard error over several plans is that of the estimate.

    `index` is "shapley", Shapley interaction indices and Shapley values less half of them (Grabisch and Roubens, 1999; Lundberg
    et al., 2020), or "faithful", the 2-additive game nearest to the game (Tsai, Yeh and Ravikumar, 2023).
    """
    players = plan.members.shape[1]
    first, second = np.triu_indices(players, 1)
    found = np.mean([_effects(index, plan, y, total, *halves) for halves in _halves(plan)], 0)
    pairs = np.zeros((len(found), players, players))
    pairs[:, first, second] = pairs[:, second, first] = found[:, players:]
    return found[:, :players], pairs


def _halves(plan: Coalitions) -> list[tuple[np.ndarray, np.ndarray]]:
    """Weights (m,) of the coalitions that a game is fitted to and of those that it is tried on: all, or one half and the other."""
    drawn = np.arange(len(plan.weight)) - plan.enumerated
    if (pairs := len(plan.weight) - plan.enumerated >> 1) < 2:
        return [(plan.weight, plan.weight)]
    half = [np.where(drawn < 0, 1, (drawn // 2 % 2 == k) * pairs / ((pairs + 1 - k) // 2)) for k in (0, 1)]
    weights = [plan.weight * h for h in half]
    return [(weights[0], weights[1]), (weights[1], weights[0])]


def _effects(
    index: str, plan: Coalitions, y: np.ndarray, total: np.ndarray, fitted: np.ndarray, tried: np.ndarray
) -> np.ndarray:
    """Mains and pairs (targets, players + pairs) by the game fitted with weights `fitted`, and what it leaves with `tried`."""
    x, used = _with_pairs(plan.members), fitted > 0
    game = constrained_least_squares(x[used], fitted[used], y[used], total)
    left = (y - x @ game.T) * tried[:, None]
    return np.asarray(game + _INDICES[index](plan.members, left))


def _shapley(members: np.ndarray, left: np.ndarray) -> np.ndarray:
    """Mains and pairs of a game without grand coalition by the Shapley indices' weights over the kernel's, its worths weighted."""
    players, size = members.shape[1], members.sum(1, keepdims=True)
    if players < 2:
        return np.zeros((left.shape[1], players))
    first, second = np.triu_indices(players, 1)
    both, one = members[:, first] & members[:, second], members[:, first] ^ members[:, second]
    with np.errstate(divide="ignore", invalid="ignore"):  # of sizes that no such coalition has
        ratio = np.where(both, (players - size) / (size - 1), np.where(one, -1, size / (players - size - 1)))
    pairs = left.T @ ratio * players / (players - 1)
    value = left.T @ (players * members - size) / (players - 1)
    np.subtract.at(value.T, first, pairs.T / 2)
    np.subtract.at(value.T, second, pairs.T / 2)
    return np.concatenate([value, pairs], 1)


def _faithful(members: np.ndarray, left: np.ndarray) -> np.ndarray:
    """Mains and pairs of the 2-additive game nearest to a game without grand coalition, its worths weighted."""
    x = _with_pairs(members).astype(np.float64)
    if x.shape[1] < 2:
        return np.zeros((left.shape[1], x.shape[1]))
    others = x[:, :-1] - x[:, -1:]
    free = np.linalg.solve(_moments(members.shape[1]), others.T @ left)
    return np.concatenate([free, -free.sum(0)[None]]).T


def _moments(players: int) -> np.ndarray:
    """The columns' products summed over all coalitions with the Shapley kernel, the last column taken off the others."""
    sizes = np.arange(1, players)
    kernel = (players - 1) / (sizes * (players - sizes))
    # How much of the kernel falls on the coalitions that hold some 1, 2, 3 or 4 players.
    share = [math.prod((sizes - k) / max(players - k, 1) for k in range(d)) @ kernel for d in range(1, 5)]
    first, second = np.triu_indices(players, 1)
    column = np.eye(players, dtype=int)
    column = np.concatenate([column, column[first] + column[second]])
    distinct = (column[:, None] + column > 0).sum(2)
    product: np.ndarray = np.array(share)[distinct - 1]
    return np.asarray(product[:-1, :-1] - product[:-1, -1:] - product[-1:, :-1] + product[-1, -1])


_INDICES: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {"shapley": _shapley, "faithful": _faithful}
INDICES = tuple(_INDICES)


def _with_pairs(members: np.ndarray) -> np.ndarray:
    """The columns of a 2-additive game: each player's presence, then that of each pair."""
    first, second = np.triu_indices(members.shape[1], 1)
    return np.concatenate([members, members[:, first] & members[:, second]], 1)
