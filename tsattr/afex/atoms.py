"""Steps at thresholds of one feature, found by what each takes off the loss."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .significance import Score

BINS = 1024
"""Most thresholds of a feature that are tried."""


@dataclass(frozen=True)
class Bins:
    """A feature in cells between thresholds: the cell of each row (-1 where missing), the thresholds between the cells."""

    code: np.ndarray
    thresholds: np.ndarray

    @classmethod
    def of(cls, u: np.ndarray, present: np.ndarray, w: np.ndarray, most: int = BINS) -> Bins:
        """Cells of about equal weight, each threshold midway between two values that occur."""
        values, at = np.unique(u[present], return_inverse=True)
        cuts = np.arange(1, len(values))
        if len(values) > most:
            below = np.cumsum(np.bincount(at, w[present]))
            cuts = np.unique(np.searchsorted(below, below[-1] * np.arange(1, most) / most) + 1)
            cuts = cuts[cuts < len(values)]
        thresholds = (values[cuts - 1] + values[cuts]) / 2
        code = np.full(len(u), -1)
        code[present] = np.searchsorted(thresholds, u[present], side="left")
        return cls(code, thresholds)

    def above(self, rows: np.ndarray) -> np.ndarray:
        """Sums of `rows` (n, k) over the rows above each threshold: (thresholds, k)."""
        present = self.code >= 0
        sums = np.stack([np.bincount(self.code[present], r, len(self.thresholds) + 1) for r in rows[present].T], axis=1)
        return np.cumsum(sums[::-1], axis=0)[::-1][1:]


def step_gains(
    bins: Bins,
    score: Score,
    smooth: np.ndarray,
    penalty: np.ndarray,
    w: np.ndarray,
    removed: np.ndarray | None = None,
) -> np.ndarray:
    """Twice the fall of the loss, in units of the dispersion, by a step at each threshold (thresholds,).

    The part of a step that the feature's `smooth` columns (n, m), with their penalties, can take is no gain: the
    denominator is the residual of the step beside them. `removed` (n, outputs) is taken off the fitted scores first.
    """
    gain = np.zeros(len(bins.thresholds))
    z = np.concatenate([(bins.code >= 0)[:, None], smooth], axis=1)
    for c, (r, h) in enumerate(zip(score.gradient.T, score.curvature.T)):
        gram = (z.T * h) @ z
        tiny = 1e-9 * gram[0, 0]
        gram[np.diag_indices_from(gram)] += np.r_[tiny + 1e-12, penalty]
        cross = bins.above(h[:, None] * z)
        projection = np.linalg.solve(gram, cross.T)
        left = cross[:, 0] - np.einsum("tm,mt->t", cross, projection)
        rhs = bins.above(r[:, None])[:, 0]
        if removed is not None:
            part = h * removed[:, c]
            rhs = rhs + bins.above(part[:, None])[:, 0] - projection.T @ (z.T @ part)
        gain += rhs**2 / np.maximum(left, tiny)
    least = max(10.0, 0.005 * w.sum())
    weight = bins.above(w[:, None])[:, 0]
    return np.where((weight >= least) & (w[bins.code >= 0].sum() - weight >= least), gain, 0.0)


def residual_step(bins: Bins, t: int, score: Score, smooth: np.ndarray, penalty: np.ndarray) -> np.ndarray:
    """The step at threshold `t` less its projection on the feature's `smooth` columns, by the mean curvature of the outputs: (n, 1)."""
    z = np.concatenate([(bins.code >= 0)[:, None], smooth], axis=1)
    h = score.curvature.mean(1)
    gram = (z.T * h) @ z
    gram[np.diag_indices_from(gram)] += np.r_[1e-9 * gram[0, 0] + 1e-12, penalty]
    step = (bins.code > t).astype(float)
    residual: np.ndarray = step - z @ np.linalg.solve(gram, (z.T * h) @ step)
    return residual[:, None]
