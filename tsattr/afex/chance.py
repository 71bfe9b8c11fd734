"""What chance explains: the gain that a step or a pair must have, and the gain that counts."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.stats import chi2

from .families import Family

CHANCE = 0.01
"""Chance of a single false step, or pair, over all that are looked at."""
ROUNDS = 12
"""Most Newton steps of a likelihood ratio."""


def needed(tests: int, freedom: int) -> float:
    """The gain that chance exceeds once in a hundred over so many tests."""
    return float(chi2.isf(CHANCE / max(tests, 1), freedom))


@dataclass(frozen=True)
class Score:
    """Minus the gradient and the curvature of the loss by row and output (n, outputs), in units of the dispersion."""

    gradient: np.ndarray
    curvature: np.ndarray


@dataclass(frozen=True)
class State:
    """A fit: the scores `eta` (n, outputs) of the outcomes `y` with weights `w` (n,), and the dispersion around them."""

    family: Family
    eta: np.ndarray
    y: np.ndarray
    w: np.ndarray
    dispersion: float

    def __getitem__(self, rows: np.ndarray) -> State:
        return State(self.family, self.eta[rows], self.y[rows], self.w[rows], self.dispersion)

    @cached_property
    def score(self) -> Score:
        """What the fit leaves."""
        gradient, curvature = self.family.slopes(self.eta, self.y)
        weight = self.w[:, None] / self.dispersion
        return Score(gradient * weight, curvature * weight)

    def gain(self, v: np.ndarray, back: np.ndarray | float = 0.0) -> float:
        """Twice the fall of the loss, in units of the dispersion, by the best combination of columns `v` (n, k).

        `back` was taken off the scores before. For classes this is the likelihood ratio: the score test, which is had for all
        candidates at once, is passed much too easily far in its tail, where a column touches few rows of the rarer class. For
        squared error the two are equal, and the Wald test with the variance of what `v` leaves in its own rows (White, 1980)
        bounds them, so that neither a few outlying rows nor a noise that is larger in places make a term.
        """
        eta = self.eta - back
        return self._robust(v, self.y - eta) if self.family.quadratic else self._ratio(v, eta)

    def _robust(self, v: np.ndarray, left: np.ndarray) -> float:
        """The smaller of the gain under one dispersion and the Wald test without it."""
        gram, gain, free = (v.T * self.w) @ v, 0.0, 0.0
        tiny = 1e-9 * np.diag(gram).max(initial=1e-300) * np.eye(v.shape[1])
        for r in left.T:
            side = v.T @ (self.w * r)
            coef = np.linalg.solve(gram + tiny, side)
            spread = (v.T * (self.w * (r - v @ coef) ** 2)) @ v
            gain += float(side @ coef) / self.dispersion
            free += float(side @ np.linalg.solve(spread + self.dispersion * tiny, side))
        return min(gain, free)

    def _ratio(self, v: np.ndarray, eta: np.ndarray) -> float:
        """The likelihood ratio, by Newton steps that are halved until the loss falls."""
        best = start = self._loss(eta)
        tiny = 1e-9 * (self.w @ v**2).max(initial=1e-300) * np.eye(v.shape[1])
        for _ in range(ROUNDS):
            gradient, curvature = self.family.slopes(eta, self.y)
            grams = [(v.T * (self.w * h)) @ v + tiny for h in curvature.T]
            sides = (v.T * self.w) @ gradient
            step = v @ np.column_stack([np.linalg.solve(gram, side) for gram, side in zip(grams, sides.T)])
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
