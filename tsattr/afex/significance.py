"""Significance: the gain that a step or a pair must have, and the gain that counts."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.stats import chi2

from .families import Family

FALSE_POSITIVES = 0.01
"""Probability of one false step, or pair, over all that are tested."""
ROUNDS = 12
"""Most Newton steps of a likelihood ratio."""


def critical_gain(tests: int, freedom: int) -> float:
    """The gain that the largest of so many tests exceeds by chance with probability `FALSE_POSITIVES` (Bonferroni)."""
    return float(chi2.isf(FALSE_POSITIVES / max(tests, 1), freedom))


@dataclass(frozen=True)
class Score:
    """Minus the gradient and the curvature of the loss by row and output (n, outputs), in units of the dispersion."""

    gradient: np.ndarray
    curvature: np.ndarray


@dataclass(frozen=True)
class Fit:
    """Scores `eta` (n, outputs) fitted to outcomes `y` with weights `w` (n,), and the dispersion around them."""

    family: Family
    eta: np.ndarray
    y: np.ndarray
    w: np.ndarray
    dispersion: float

    def __getitem__(self, rows: np.ndarray) -> Fit:
        return Fit(self.family, self.eta[rows], self.y[rows], self.w[rows], self.dispersion)

    @cached_property
    def score(self) -> Score:
        """The derivatives of the loss at the fitted scores."""
        gradient, curvature = self.family.derivatives(self.eta, self.y)
        weight = self.w[:, None] / self.dispersion
        return Score(gradient * weight, curvature * weight)

    def gain(self, z: np.ndarray, removed: np.ndarray | float = 0.0) -> float:
        """Twice the fall of the loss, in units of the dispersion, by the best combination of columns `z` (n, k).

        `removed` is taken off the fitted scores first. For classes this is the likelihood ratio: the score test, which all
        candidates get at once, is passed much too easily far in its tail, where a column touches few rows of the rarer class.
        For squared error the two are equal, and the Wald test with the variance of what `z` leaves in its own rows (White,
        1980) bounds them, so that neither a few outlying rows nor a noise that is larger in places make a term.
        """
        eta = self.eta - removed
        return self._robust_gain(z, self.y - eta) if self.family.quadratic else self._likelihood_ratio(z, eta)

    def _robust_gain(self, z: np.ndarray, residual: np.ndarray) -> float:
        """The smaller of the gain under one dispersion and the Wald test without it."""
        gram, gain, wald = (z.T * self.w) @ z, 0.0, 0.0
        tiny = 1e-9 * np.diag(gram).max(initial=1e-300) * np.eye(z.shape[1])
        for r in residual.T:
            rhs = z.T @ (self.w * r)
            coef = np.linalg.solve(gram + tiny, rhs)
            variance = (z.T * (self.w * (r - z @ coef) ** 2)) @ z
            gain += float(rhs @ coef) / self.dispersion
            wald += float(rhs @ np.linalg.solve(variance + self.dispersion * tiny, rhs))
        return min(gain, wald)

    def _likelihood_ratio(self, z: np.ndarray, eta: np.ndarray) -> float:
        """The likelihood ratio, by Newton steps that are halved until the loss falls."""
        best = start = self._loss(eta)
        tiny = 1e-9 * (self.w @ z**2).max(initial=1e-300) * np.eye(z.shape[1])
        for _ in range(ROUNDS):
            gradient, curvature = self.family.derivatives(eta, self.y)
            grams = [(z.T * (self.w * h)) @ z + tiny for h in curvature.T]
            right_sides = (z.T * self.w) @ gradient
            step = z @ np.column_stack([np.linalg.solve(gram, rhs) for gram, rhs in zip(grams, right_sides.T)])
            loss = self._loss(eta + step)
            while loss > best and np.abs(step).max() > 1e-6:
                step /= 2
                loss = self._loss(eta + step)
            if loss > best:
                break
            eta, last, best = eta + step, best, loss
            if last - best < 1e-4 * (start - best):
                break
        return 2 * (start - best) / self.dispersion

    def _loss(self, eta: np.ndarray) -> float:
        return float(self.w @ self.family.loss(eta, self.y))
