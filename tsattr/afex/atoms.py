"""Steps at thresholds of one feature, found by what each takes off the loss."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .chance import Score

BINS = 1024
"""Most thresholds of a feature that are looked at."""


@dataclass(frozen=True)
class Bins:
    """A feature in cells between thresholds: code of each row (-1 where missing), the thresholds between the cells."""

    code: np.ndarray
    thresholds: np.ndarray

    @classmethod
    def of(cls, u: np.ndarray, known: np.ndarray, w: np.ndarray, most: int = BINS) -> Bins:
        """Cells of about equal weight, each threshold midway between two values that occur."""
        values, at = np.unique(u[known], return_inverse=True)
        cuts = np.arange(1, len(values))
        if len(values) > most:
            below = np.cumsum(np.bincount(at, w[known]))
            cuts = np.unique(np.searchsorted(below, below[-1] * np.arange(1, most) / most) + 1)
            cuts = cuts[cuts < len(values)]
        thresholds = (values[cuts - 1] + values[cuts]) / 2
        code = np.full(len(u), -1)
        code[known] = np.searchsorted(thresholds, u[known], side="left")
        return cls(code, thresholds)

    def above(self, rows: np.ndarray) -> np.ndarray:
        """Sums of `rows` (n, k) over the rows above each threshold: (thresholds, k)."""
        known = self.code >= 0
        sums = np.stack([np.bincount(self.code[known], r, len(self.thresholds) + 1) for r in rows[known].T], axis=1)
        return np.cumsum(sums[::-1], axis=0)[::-1][1:]


def step_gains(
    bins: Bins, score: Score, smooth: np.ndarray, penalty: np.ndarray, w: np.ndarray, back: np.ndarray | None = None
) -> np.ndarray:
    """Twice the fall of the loss, in units of the dispersion, by a step at each threshold (thresholds,).

    The part of a step that the feature's `smooth` columns (n, m), with their penalties, can take is no gain: the
    denominator is what is left of the step beside them. `back` (n, outputs) is a part of the scores that is put back first.
    """
    gain = np.zeros(len(bins.thresholds))
    z = np.concatenate([(bins.code >= 0)[:, None], smooth], axis=1)
    for c, (r, h) in enumerate(zip(score.gradient.T, score.curvature.T)):
        gram = (z.T * h) @ z
        tiny = 1e-9 * gram[0, 0]
        gram[np.diag_indices_from(gram)] += np.r_[tiny + 1e-12, penalty]
        cross = bins.above(h[:, None] * z)
        taken = np.linalg.solve(gram, cross.T)
        left = cross[:, 0] - np.einsum("tm,mt->t", cross, taken)
        side = bins.above(r[:, None])[:, 0]
        if back is not None:
            part = h * back[:, c]
            side = side + bins.above(part[:, None])[:, 0] - taken.T @ (z.T @ part)
        gain += side**2 / np.maximum(left, tiny)
    least = max(10.0, 0.005 * w.sum())
    share = bins.above(w[:, None])[:, 0]
    return np.where((share >= least) & (w[bins.code >= 0].sum() - share >= least), gain, 0.0)


def step_beside(bins: Bins, t: int, score: Score, smooth: np.ndarray, penalty: np.ndarray) -> np.ndarray:
    """The step at threshold `t` less what the feature's `smooth` columns take of it, on average over the outputs: (n, 1)."""
    z = np.concatenate([(bins.code >= 0)[:, None], smooth], axis=1)
    h = score.curvature.mean(1)
    gram = (z.T * h) @ z
    gram[np.diag_indices_from(gram)] += np.r_[1e-9 * gram[0, 0] + 1e-12, penalty]
    step = (bins.code > t).astype(float)
    return (step - z @ np.linalg.solve(gram, (z.T * h) @ step))[:, None]
