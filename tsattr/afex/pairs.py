"""Which pairs of features act together: what small blocks of products take off the loss that the terms so far leave."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import chi2

from .atoms import Bins
from .basis import Feature
from .chance import CHANCE, Score, State

CELLS = 8
"""Cells of a feature in the table of a pair."""
DEGREE = 3
"""Degree of the polynomials in the rank of a feature."""
EXACTLY = 40
"""Pairs of which the gain is computed exactly."""
ROWS = 20_000
"""Most rows that a pair is looked at with."""
TOGETHER = 0.3
"""Pairs taken at once have at least this share of the strongest one's gain: weaker ones may be its echoes."""


@dataclass(frozen=True)
class View:
    """One feature as two sets of columns for products: smooth ones and cells (each n, d), 0 where missing."""

    smooth: np.ndarray
    cells: np.ndarray

    @classmethod
    def of(cls, feature: Feature, x: np.ndarray, w: np.ndarray) -> View:
        """Polynomials in the rank and cells of equal weight, or the most frequent levels."""
        if feature.levels:
            most = feature.inner[np.argsort(-feature.center[feature.inner], kind="stable")[:CELLS]]
            cells = (x[:, None] == most).astype(float)
            return cls(cells - np.average(cells, axis=0, weights=w), cells)
        bins = Bins.of(x, ~np.isnan(x), w, most=256)
        known, number = bins.code >= 0, len(bins.thresholds) + 1
        share = np.bincount(bins.code[known], w[known], number)
        below = np.r_[0.0, np.cumsum(share)] / max(share.sum(), 1e-300)
        rank = np.where(known, (below[:-1] + below[1:])[bins.code] - 1, 0.0)
        smooth = np.polynomial.legendre.legvander(rank, DEGREE)[:, 1:] * known[:, None]
        smooth -= np.average(smooth, axis=0, weights=w)
        place = np.minimum(((rank + 1) / 2 * CELLS).astype(int), CELLS - 1)
        return cls(smooth * known[:, None], ((place[:, None] == np.arange(CELLS)) & known[:, None]).astype(float))


def products(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """All products of a column of `a` (n, k) with one of `b` (n, l): (n, k l)."""
    return (a[:, :, None] * b[:, None, :]).reshape(len(a), a.shape[1] * b.shape[1])


def _rough(views: list[np.ndarray], score: Score) -> np.ndarray:
    """Gains (p, p) of the products of each pair as if these were uncorrelated."""
    joint = np.concatenate(views, axis=1)
    ends = np.cumsum([v.shape[1] for v in views])[:-1]
    gain = np.zeros((joint.shape[1],) * 2)
    for r, h in zip(score.gradient.T, score.curvature.T):
        size = (joint**2 * h[:, None]).T @ joint**2
        gain += ((joint * r[:, None]).T @ joint) ** 2 / np.maximum(size, 1e-9 * size.max(initial=1e-300))
    return np.stack(
        [part.sum(1) for part in np.split(np.stack([g.sum(0) for g in np.split(gain, ends)]), ends, axis=1)], 1
    )


def _exact(a: np.ndarray, b: np.ndarray, state: State) -> tuple[float, int]:
    """Gain of the products of two views beside the views themselves, and its degrees of freedom."""
    t = products(a, b)
    m = np.concatenate([np.ones((len(a), 1)), a, b], axis=1)
    gain, freedom = 0.0, 0
    for r, h in zip(state.score.gradient.T, state.score.curvature.T):
        both = (np.concatenate([m, t], axis=1).T * h) @ np.concatenate([m, t], axis=1)
        k = m.shape[1]
        taken = np.linalg.pinv(both[:k, :k], rcond=1e-10, hermitian=True) @ both[:k, k:]
        size, axes = np.linalg.eigh(both[k:, k:] - both[k:, :k] @ taken)
        keep = size > max(1e-6 * np.trace(both[k:, k:]), 1e-12)
        gain += float((((t.T @ r - taken.T @ (m.T @ r)) @ axes[:, keep]) ** 2 / size[keep]).sum())
        freedom += int(keep.sum())
    return gain, freedom


def _beside(a: np.ndarray, b: np.ndarray, state: State) -> np.ndarray:
    """The products of two views less what the views themselves take of them, on average over the outputs."""
    t, h = products(a, b), state.score.curvature.mean(1)
    m = np.concatenate([np.ones((len(a), 1)), a, b], axis=1)
    weighted = m.T * h
    return t - m @ (np.linalg.pinv(weighted @ m, rcond=1e-10, hermitian=True) @ (weighted @ t))


@dataclass(frozen=True)
class Candidate:
    """A pair, what its best block of products gains, and the log-probability of that under chance."""

    pair: tuple[int, int]
    gain: float
    chance: float


def tried(a: np.ndarray, b: np.ndarray, state: State, bound: float) -> tuple[float, float]:
    """Gain of the products of two views and its log-probability under chance; where that is below `bound`, those of `State.gain`."""
    gain, freedom = _exact(a, b, state)
    chance = float(chi2.logsf(gain, freedom)) if freedom else 0.0
    if chance < bound:
        gain = min(gain, state.gain(_beside(a, b, state)))
        chance = float(chi2.logsf(gain, freedom))
    return gain, chance


def ranked(views: list[View], state: State, allowed: np.ndarray, most: int) -> list[Candidate]:
    """The most promising pairs among those `allowed` (p, p), the least likely under chance first.

    Gains of all pairs are had from one matrix product for each kind of view, as if products were uncorrelated; the best
    are then computed exactly.
    """
    smooth = _rough([v.smooth for v in views], state.score) / DEGREE**2
    rough = smooth + _rough([v.cells for v in views], state.score) / CELLS**2
    a, b = np.nonzero(np.triu(allowed, 1))
    best = np.argsort(-rough[a, b], kind="stable")[: min(2 * most + 10, EXACTLY)]
    bound, found = np.log(CHANCE / max(allowed.sum(), 1)), []
    for i, j in zip(a[best].tolist(), b[best].tolist()):
        tries = [tried(getattr(views[i], k), getattr(views[j], k), state, bound) for k in ("smooth", "cells")]
        gain, chance = min(tries, key=lambda one: one[1])
        found.append(Candidate((i, j), gain, chance + np.log(2)))
    return sorted(found, key=lambda c: (c.chance, -c.gain))


def significant(candidates: list[Candidate], tests: int) -> list[Candidate]:
    """Those that chance over all pairs does not explain, down to a share of the strongest one's gain."""
    passed = [c for c in candidates if c.chance < np.log(CHANCE / max(tests, 1))]
    return [c for c in passed if c.gain >= TOGETHER * max(c.gain for c in passed)]


def best_edge(bins: Bins, cells: np.ndarray, state: State, enough: float) -> tuple[int, float]:
    """The threshold of one feature with the largest gain of a step of a height of its own in each of the other's cells.

    Its gain is that of `State.gain` where it is more than `enough` at all.
    """
    gain = edge_gains(bins, cells, state.score, state.w)
    t = int(gain.argmax())
    if gain[t] <= enough:
        return t, float(gain[t])
    above, h = (bins.code > t).astype(float), state.score.curvature.mean(1)
    known = (bins.code >= 0) * h
    share = (h * above) @ cells / np.maximum(known @ cells, 1e-300)
    return t, min(float(gain[t]), state.gain((above[:, None] - share * (bins.code >= 0)[:, None]) * cells))


def edge_gains(bins: Bins, cells: np.ndarray, score: Score, w: np.ndarray) -> np.ndarray:
    """Gain (thresholds,) of a step at each threshold of one feature, of a height of its own in each of the other's cells."""
    gain = np.zeros(len(bins.thresholds))
    for r, h in zip(score.gradient.T, score.curvature.T):
        side, size = bins.above(r[:, None] * cells), bins.above(h[:, None] * cells)
        known = bins.code >= 0
        whole, total = (r[known, None] * cells[known]).sum(0), (h[known, None] * cells[known]).sum(0)
        share = size / np.maximum(total, 1e-300)
        left = total * share * (1 - share)
        gain += np.where(left > 1e-9 * total.max(), (side - share * whole) ** 2 / np.maximum(left, 1e-300), 0.0).sum(1)
    count = bins.above(w[:, None])[:, 0]
    least = max(10.0, 0.02 * w.sum())
    return np.where((count >= least) & (w.sum() - count >= least), gain, 0.0)
