"""Which pairs of features interact: what small blocks of products take off the loss that the terms so far leave."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import chi2

from .atoms import Bins
from .basis import Feature
from .significance import FALSE_POSITIVES, Fit, Score

CELLS = 8
"""Cells of a feature in the table of a pair."""
DEGREE = 3
"""Degree of the polynomials in the rank of a feature."""
EXACTLY = 40
"""Pairs of which the gain is computed exactly."""
ROWS = 20_000
"""Most rows that a pair is tested with."""
TOGETHER = 0.3
"""Pairs taken at once have at least this share of the strongest one's gain: weaker ones may be its echoes."""


@dataclass(frozen=True)
class PairBasis:
    """One feature as two sets of columns for products: smooth ones and cells (each n, d), 0 where missing."""

    smooth: np.ndarray
    cells: np.ndarray

    @classmethod
    def of(cls, feature: Feature, x: np.ndarray, w: np.ndarray) -> PairBasis:
        """Polynomials in the rank and cells of equal weight, or the most frequent levels."""
        if feature.levels:
            levels = feature.in_products
            most = levels[np.argsort(-feature.center[levels], kind="stable")[:CELLS]]
            cells = (x[:, None] == most).astype(float)
            return cls(cells - np.average(cells, axis=0, weights=w), cells)
        bins = Bins.of(x, ~np.isnan(x), w, most=256)
        present, number = bins.code >= 0, len(bins.thresholds) + 1
        share = np.bincount(bins.code[present], w[present], number)
        below = np.r_[0.0, np.cumsum(share)] / max(share.sum(), 1e-300)
        rank = np.where(present, (below[:-1] + below[1:])[bins.code] - 1, 0.0)
        smooth = np.polynomial.legendre.legvander(rank, DEGREE)[:, 1:] * present[:, None]
        smooth -= np.average(smooth, axis=0, weights=w)
        cell = np.minimum(((rank + 1) / 2 * CELLS).astype(int), CELLS - 1)
        return cls(smooth * present[:, None], ((cell[:, None] == np.arange(CELLS)) & present[:, None]).astype(float))


def products(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """All products of a column of `a` (n, k) with one of `b` (n, l): (n, k l)."""
    both: np.ndarray = a[:, :, None] * b[:, None, :]
    return both.reshape(len(a), a.shape[1] * b.shape[1])


def _approximate_gains(bases: list[np.ndarray], score: Score) -> np.ndarray:
    """Gains (p, p) of the products of each pair as if these were uncorrelated."""
    joint = np.concatenate(bases, axis=1)
    ends = np.cumsum([v.shape[1] for v in bases])[:-1]
    gain = np.zeros((joint.shape[1],) * 2)
    for r, h in zip(score.gradient.T, score.curvature.T):
        size = (joint**2 * h[:, None]).T @ joint**2
        gain += ((joint * r[:, None]).T @ joint) ** 2 / np.maximum(size, 1e-9 * size.max(initial=1e-300))
    return np.stack(
        [part.sum(1) for part in np.split(np.stack([g.sum(0) for g in np.split(gain, ends)]), ends, axis=1)], 1
    )


def _exact_gain(a: np.ndarray, b: np.ndarray, fit: Fit) -> tuple[float, int]:
    """Gain of the products of two bases beside the bases themselves, and its degrees of freedom."""
    t = products(a, b)
    m = np.concatenate([np.ones((len(a), 1)), a, b], axis=1)
    gain, freedom = 0.0, 0
    for r, h in zip(fit.score.gradient.T, fit.score.curvature.T):
        both = (np.concatenate([m, t], axis=1).T * h) @ np.concatenate([m, t], axis=1)
        k = m.shape[1]
        projected = np.linalg.pinv(both[:k, :k], rcond=1e-10, hermitian=True) @ both[:k, k:]
        size, axes = np.linalg.eigh(both[k:, k:] - both[k:, :k] @ projected)
        keep = size > max(1e-6 * np.trace(both[k:, k:]), 1e-12)
        gain += float((((t.T @ r - projected.T @ (m.T @ r)) @ axes[:, keep]) ** 2 / size[keep]).sum())
        freedom += int(keep.sum())
    return gain, freedom


def _residual_products(a: np.ndarray, b: np.ndarray, fit: Fit) -> np.ndarray:
    """The products of two bases less their projection on the bases themselves, by the mean curvature of the outputs."""
    t, h = products(a, b), fit.score.curvature.mean(1)
    m = np.concatenate([np.ones((len(a), 1)), a, b], axis=1)
    weighted = m.T * h
    residual: np.ndarray = t - m @ (np.linalg.pinv(weighted @ m, rcond=1e-10, hermitian=True) @ (weighted @ t))
    return residual


@dataclass(frozen=True)
class Candidate:
    """A pair, the gain of its best block of products, and the log p-value of that gain."""

    pair: tuple[int, int]
    gain: float
    log_p: float


def interaction_test(a: np.ndarray, b: np.ndarray, fit: Fit, bound: float) -> tuple[float, float]:
    """Gain of the products of two bases and its log p-value; where that is below `bound`, those of `Fit.gain`."""
    gain, freedom = _exact_gain(a, b, fit)
    log_p = float(chi2.logsf(gain, freedom)) if freedom else 0.0
    if log_p < bound:
        gain = min(gain, fit.gain(_residual_products(a, b, fit)))
        log_p = float(chi2.logsf(gain, freedom))
    return gain, log_p


def ranked(bases: list[PairBasis], fit: Fit, allowed: np.ndarray, most: int) -> list[Candidate]:
    """The most promising pairs among those `allowed` (p, p), the smallest p-value first.

    One matrix product for each kind of basis gives the gains of all pairs as if products were uncorrelated; the best are then
    computed exactly.
    """
    smooth = _approximate_gains([v.smooth for v in bases], fit.score) / DEGREE**2
    approximate = smooth + _approximate_gains([v.cells for v in bases], fit.score) / CELLS**2
    a, b = np.nonzero(np.triu(allowed, 1))
    best = np.argsort(-approximate[a, b], kind="stable")[: min(2 * most + 10, EXACTLY)]
    bound, found = np.log(FALSE_POSITIVES / max(allowed.sum(), 1)), []
    for i, j in zip(a[best].tolist(), b[best].tolist()):
        blocks = ((bases[i].smooth, bases[j].smooth), (bases[i].cells, bases[j].cells))
        tests = [interaction_test(*block, fit, bound) for block in blocks]
        gain, log_p = min(tests, key=lambda test: test[1])
        found.append(Candidate((i, j), gain, log_p + np.log(2)))
    return sorted(found, key=lambda c: (c.log_p, -c.gain))


def significant(candidates: list[Candidate], tests: int) -> list[Candidate]:
    """Those that are significant over so many tests, down to a share of the strongest one's gain."""
    passed = [c for c in candidates if c.log_p < np.log(FALSE_POSITIVES / max(tests, 1))]
    return [c for c in passed if c.gain >= TOGETHER * max(c.gain for c in passed)]


def best_edge(bins: Bins, cells: np.ndarray, fit: Fit, minimum: float) -> tuple[int, float]:
    """The threshold of one feature with the largest gain of a step of a height of its own in each of the other's cells.

    Its gain is that of `Fit.gain` where it is more than the `minimum` at all.
    """
    gain = edge_gains(bins, cells, fit.score, fit.w)
    t = int(gain.argmax())
    if gain[t] <= minimum:
        return t, float(gain[t])
    above, h = (bins.code > t).astype(float), fit.score.curvature.mean(1)
    present = (bins.code >= 0) * h
    share = (h * above) @ cells / np.maximum(present @ cells, 1e-300)
    return t, min(float(gain[t]), fit.gain((above[:, None] - share * (bins.code >= 0)[:, None]) * cells))


def edge_gains(bins: Bins, cells: np.ndarray, score: Score, w: np.ndarray) -> np.ndarray:
    """Gain (thresholds,) of a step at each threshold of one feature, of a height of its own in each of the other's cells."""
    gain = np.zeros(len(bins.thresholds))
    for r, h in zip(score.gradient.T, score.curvature.T):
        rhs, size = bins.above(r[:, None] * cells), bins.above(h[:, None] * cells)
        present = bins.code >= 0
        whole, total = (r[present, None] * cells[present]).sum(0), (h[present, None] * cells[present]).sum(0)
        share = size / np.maximum(total, 1e-300)
        left = total * share * (1 - share)
        gain += np.where(left > 1e-9 * total.max(), (rhs - share * whole) ** 2 / np.maximum(left, 1e-300), 0.0).sum(1)
    count = bins.above(w[:, None])[:, 0]
    least = max(10.0, 0.02 * w.sum())
    return np.where((count >= least) & (w.sum() - count >= least), gain, 0.0)
