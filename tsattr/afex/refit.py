"""Solving a finished problem again: with smaller penalties, chosen by cross-validation, and for bootstrap replicates."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy.linalg import cho_solve, solve_triangular

from .design import with_ones
from .solve import LARGEST, Problem, Solution

FOLDS = 5
SHARES = (1.0, 0.3, 0.1)
"""Shares of the penalties that are tried."""


def cross_validated(problem: Problem, solution: Solution) -> Solution:
    """The solution under the share of the penalties with the least loss in cross-validation.

    For outcomes without a dispersion the marginal likelihood is that of a normal approximation, which is too strict where
    few rows separate the classes almost perfectly.
    """
    z, y, w, family = problem.z.matrix()[:, 1:], problem.y, problem.w, problem.family
    fold, losses = np.arange(len(y)) % FOLDS, np.zeros(len(SHARES))
    penalties = [np.where(solution.penalty < LARGEST, share * solution.penalty, LARGEST) for share in SHARES]
    for k in range(FOLDS):
        out, inside = fold == k, fold != k
        part = Problem(z[inside], y[inside], w[inside], family, problem.groups, problem.signs)
        for i, penalty in enumerate(penalties):
            coef = part.solve(penalty, tune=False, rounds=20).coef
            losses[i] += w[out] @ family.loss(with_ones(z[out]) @ coef, y[out])
    found = problem.solve(penalties[int(losses.argmin())], tune=False, start=solution.coef)
    return replace(found, freedom=solution.freedom)


def replicates(problem: Problem, solution: Solution, weights: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Coefficients (1 + m, outputs, bags) under bootstrap weights (bags, n) of the rows, by one Newton step.

    The prior is drawn as well, so that bands hold what the penalties hide (Newton and Raftery, 1994), and residuals are
    enlarged by their leverage, as those of the fit are too small.
    """
    lam = np.r_[1e-9, solution.penalty[problem.groups]]
    kept = np.flatnonzero(lam < LARGEST)
    lam = lam[kept]
    gradient, curvature = problem.family.derivatives(solution.eta, problem.y)
    found = np.repeat(solution.coef[:, :, None], len(weights), axis=2)
    for c in range(problem.y.shape[1]):
        root = np.linalg.cholesky(problem.z.gram_matrices([problem.w * curvature[:, c]], kept)[0] + np.diag(lam))
        side = np.zeros((len(kept), len(weights)))
        for rows, z in problem.z.pieces(kept):
            half = solve_triangular(root, z.T, lower=True)
            leverage = np.clip(curvature[rows, c] * (half**2).sum(0), 0, 0.9)
            side += z.T @ ((weights[:, rows] - problem.w[rows]) * (gradient[rows, c] / (1 - leverage))).T
        side += np.sqrt(solution.dispersion * lam)[:, None] * rng.normal(size=side.shape)
        found[kept, c] += cho_solve((root, True), side)
    if problem.signs is not None:
        found[1:][problem.signs] = np.maximum(found[1:][problem.signs], 0.0)
    several = problem.y.shape[1] > 1 and not problem.family.dispersion
    return found - found.mean(1, keepdims=True) if several else found
