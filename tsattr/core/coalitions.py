"""Coalitions of players weighted by the Shapley kernel, and the least squares over them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
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


def coalitions(players: int, budget: int, rng: np.random.Generator) -> Coalitions:
    """At most `budget` coalitions: whole sizes while they are affordable, then pairs drawn.

    Sizes s and M - s are taken together, the outermost first: they weigh most. What is left of the budget goes to
    coalitions of the other sizes, drawn in proportion to the kernel's weight together with their complements, which share
    the weight of those sizes evenly.
    """
    if players < 2:
        return Coalitions(np.zeros((0, players), bool), np.zeros(0), 0)
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
    enumerated = len(rows)
    left, pairs = [s for s in kernel if size <= s <= players - size], (budget - len(rows)) // 2
    if left and pairs:
        mass = np.array([kernel[s] for s in left])
        for s in rng.choice(left, size=pairs, p=mass / mass.sum()):
            z = np.zeros(players, bool)
            z[rng.choice(players, size=s, replace=False)] = True
            rows += [z, ~z]
        weights += [mass.sum() / (2 * pairs)] * (2 * pairs)
    return Coalitions(np.array(rows).reshape(-1, players), np.array(weights), enumerated)


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
