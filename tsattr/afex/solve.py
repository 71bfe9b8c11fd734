"""Coefficients of given columns: penalised Newton steps in float64, the penalties set by the marginal likelihood."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import LinAlgError, cho_factor, cho_solve, lapack, solve_triangular
from scipy.optimize import lsq_linear

from .design import Design
from .families import Family

LARGEST = 1e10
"""Penalty, in rows, of a group of columns that is left out."""
SMALLEST = 1e-6
"""Least penalty of a group, in rows."""
OUT = 10.0
"""A group whose penalty is so many times the rows and still grows is left out."""
ROUNDS = 60
"""Most Newton steps."""
TUNED, EXACT = 1e-3, 1e-9
"""Change of the scores, as a share of their spread, below which tuning the penalties and solving under fixed ones end."""


Factor = tuple[np.ndarray, bool]
"""A Cholesky factor as scipy has it, with whether it is the lower one."""


@dataclass(frozen=True)
class Solution:
    """Coefficients (1 + m, outputs), the intercept first, and their scores (n, outputs).

    penalty (groups,); dispersion of the outcomes around the scores; freedom (groups,), the effective degrees of freedom.
    """

    coef: np.ndarray
    eta: np.ndarray
    penalty: np.ndarray
    dispersion: float
    freedom: np.ndarray


class Problem:
    """Penalised likelihood of a linear score: ``sum_i w_i loss(y_i, z_i coef) + sum_g penalty_g |coef_g|^2 / 2``.

    A penalty belongs to a group of columns. The marginal likelihood sets each by the fixed point
    ``penalty_g = dispersion freedom_g / |coef_g|^2`` with the effective degrees of freedom ``freedom_g``, which drives useless
    groups to zero (MacKay, 1992; Wood and Fasiolo, 2017).

    Parameters
    ----------
    z
        Columns (n, m), centred, or their design.
    y, w
        Outcomes (n, outputs) and weights (n,), as numbers of rows.
    groups
        Number of the group of each column (m,).
    signs
        Bool (m,): columns whose coefficients must not be negative.
    """

    def __init__(
        self,
        z: np.ndarray | Design,
        y: np.ndarray,
        w: np.ndarray,
        family: Family,
        groups: np.ndarray,
        signs: np.ndarray | None = None,
    ):
        self.z = z if isinstance(z, Design) else Design.of(z)
        self.y, self.w, self.family = y, w, family
        self.groups = groups
        self.signs = signs if signs is not None and signs.any() else None
        self.rows = w.sum()
        self.number = int(groups.max(initial=-1)) + 1
        gradient, curvature = family.derivatives(np.tile(family.start(y, w), (len(y), 1)), y)
        self.floor = 1e-9 * max(float((w @ gradient**2).sum() / (w @ curvature).mean()), 1e-300)
        self.gram = self.z.gram_matrices([w])[0] if family.quadratic else None
        self.rhs = self.z.cross_products(w[:, None] * y) if family.quadratic else None

    def solve(
        self,
        penalty: np.ndarray,
        *,
        tune: bool = True,
        start: np.ndarray | None = None,
        rounds: int = ROUNDS,
        exact: bool = True,
    ) -> Solution:
        """Coefficients, starting from given penalties of the groups; with `tune` these are set by the marginal likelihood.

        `exact` has the coefficients converge under the final penalties.
        """
        if start is None:
            start = np.zeros((self.z.width, self.y.shape[1]))
            start[0] = self.family.start(self.y, self.w)
        coef, eta, lam = start, self.z.scores(start), penalty.copy()
        freedom, dispersion = np.zeros(len(lam)), 1.0
        for _ in range(rounds):
            columns = self._columns(lam)
            grams, right_sides = self._quadratic(columns, coef, eta)
            if tune:
                lam, freedom, dispersion = self._tuned_penalties(columns, grams, right_sides, lam, eta)
            new = np.zeros_like(coef)
            for c, (gram, rhs) in enumerate(zip(grams, right_sides)):
                new[columns, c] = self._minimum(columns, gram, rhs, lam)
            if self.gram is not None:
                change, coef = self._relative_change_by_gram(coef, new), new
            else:
                coef, new_eta = self._damped(coef, new, eta, lam)
                change, eta = self._relative_change(eta, new_eta), new_eta
            if change < (TUNED if tune else EXACT) or (not tune and self.gram is not None):
                break
        if self.gram is not None and not (tune and exact):
            eta = self.z.scores(coef)
        if not (tune and exact):
            return Solution(coef, eta, lam, dispersion, freedom)
        done = self.solve(lam, tune=False, start=coef)
        return Solution(done.coef, done.eta, lam, dispersion, freedom)

    def constant_solution(self) -> Solution:
        """The constant in the middle of the outcomes, every group of columns left out."""
        coef = np.zeros((self.z.width, self.y.shape[1]))
        coef[0] = self.family.start(np.median(self.y, axis=0)[None], np.ones(1))
        out = np.full(self.number, LARGEST)
        return Solution(coef, self.z.scores(coef), out, 0.0, np.zeros(len(out)))

    def _columns(self, lam: np.ndarray) -> np.ndarray:
        """Positions of the columns whose groups are not left out, the intercept's among them."""
        return np.flatnonzero(np.r_[True, lam[self.groups] < LARGEST])

    def _quadratic(
        self, columns: np.ndarray, coef: np.ndarray, eta: np.ndarray
    ) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """The loss around `eta`, for each output: its second derivative, and that times the minimum."""
        if self.gram is not None and self.rhs is not None:
            gram = self.gram if len(columns) == self.z.width else self.gram[np.ix_(columns, columns)]
            return [gram] * self.y.shape[1], list(self.rhs[columns].T)
        gradient, curvature = self.family.derivatives(eta, self.y)
        grams = self.z.gram_matrices([self.w * h for h in curvature.T], columns)
        right_sides = self.z.cross_products(self.w[:, None] * gradient, columns)
        return grams, [rhs + gram @ coef[columns, c] for c, (gram, rhs) in enumerate(zip(grams, right_sides.T))]

    def _relative_change(self, old: np.ndarray, new: np.ndarray) -> float:
        """Change of the scores as a share of their standard deviation."""
        scale = np.sqrt(np.average(((new - new.mean(0)) ** 2).sum(1), weights=self.w))
        return float(np.sqrt(np.average(((new - old) ** 2).sum(1), weights=self.w)) / max(scale, 1e-12))

    def _relative_change_by_gram(self, old: np.ndarray, new: np.ndarray) -> float:
        """The same from the Gram matrix, where the scores have not been computed."""
        assert self.gram is not None
        move, spread = (float(np.einsum("mk,ml,lk", c, self.gram, c, optimize=True)) for c in (new - old, new))
        spread -= float((self.gram[0] @ new @ new.T @ self.gram[0]) / self.rows)
        return float(np.sqrt(max(move, 0.0) / max(spread, 1e-24 * self.rows)))

    def _tuned_penalties(
        self,
        columns: np.ndarray,
        grams: list[np.ndarray],
        right_sides: list[np.ndarray],
        lam: np.ndarray,
        eta: np.ndarray,
    ) -> tuple[np.ndarray, np.ndarray, float]:
        """One step of the fixed point: penalties (groups,), degrees of freedom (groups,), dispersion."""
        groups = self.groups[columns[1:] - 1]
        freedom, size, rss = np.zeros(len(lam)), np.zeros(len(lam)), 0.0
        for gram, rhs in zip(grams, right_sides):
            coef, inverse = self._inverse(columns, gram, rhs, lam)
            freedom += np.bincount(groups, 1 - lam[groups] * inverse[1:], len(lam))
            size += np.bincount(groups, coef[1:] ** 2, len(lam))
            rss += coef @ gram @ coef - 2 * coef @ rhs
        freedom = np.maximum(freedom, 1e-12)
        dispersion = 1.0
        if self.family.dispersion:
            rss = rss + float(self.w @ (self.y**2).sum(1)) if self.family.quadratic else self._pearson(eta)
            left = self.rows * len(grams) - len(grams) - freedom.sum()
            dispersion = max(rss / max(left, 1.0), self.floor)
        new = np.clip(dispersion * freedom / np.maximum(size, 1e-300), SMALLEST, LARGEST)
        out = (lam >= LARGEST) | ((new > OUT * self.rows) & (new > lam))
        return np.where(out, LARGEST, new), np.where(out, 0.0, freedom), dispersion

    def _pearson(self, eta: np.ndarray) -> float:
        """Pearson's statistic: squared gradients in units of the curvature, which sum to the dispersion times the rows."""
        gradient, curvature = self.family.derivatives(eta, self.y)
        return float((self.w @ gradient**2 / np.maximum(self.w @ curvature, 1e-300)).sum() * self.rows)

    def _inverse(
        self, columns: np.ndarray, gram: np.ndarray, rhs: np.ndarray, lam: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Coefficients, and the diagonal of the inverse of the penalised matrix."""
        factor = self._factor(columns, gram, lam)
        inverse, _ = lapack.dpotri(factor[0], lower=1)
        return _solved(factor, rhs), np.diag(inverse)

    def _factor(self, columns: np.ndarray, gram: np.ndarray, lam: np.ndarray) -> Factor:
        """Cholesky factor of the penalised matrix."""
        matrix = gram.copy()
        ridge = np.r_[1e-9 * gram[0, 0] + 1e-12, lam[self.groups[columns[1:] - 1]]]
        matrix.flat[:: len(matrix) + 1] += ridge
        try:
            return _factored(matrix)
        except LinAlgError:
            matrix.flat[:: len(matrix) + 1] += 1e-8 * np.diag(matrix).max()
            return _factored(matrix)

    def _minimum(self, columns: np.ndarray, gram: np.ndarray, rhs: np.ndarray, lam: np.ndarray) -> np.ndarray:
        """Coefficients that minimise the quadratic around the scores, under the signs where there are any."""
        factor = self._factor(columns, gram, lam)
        if self.signs is None:
            return _solved(factor, rhs)
        root = np.tril(factor[0])
        low = np.r_[-np.inf, np.where(self.signs[columns[1:] - 1], 0.0, -np.inf)]
        found = lsq_linear(root.T, solve_triangular(root, rhs, lower=True), (low, np.inf), method="bvls")
        coef: np.ndarray = np.maximum(found.x, low)
        return coef

    def _objective(self, coef: np.ndarray, eta: np.ndarray, lam: np.ndarray) -> float:
        """The penalised loss."""
        penalty = (lam[self.groups] * (coef[1:] ** 2).sum(1)).sum() / 2
        return float(self.w @ self.family.loss(eta, self.y) + penalty)

    def _damped(
        self, old: np.ndarray, new: np.ndarray, old_eta: np.ndarray, lam: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """The Newton step, halved until the objective does not grow."""
        eta = self.z.scores(new)
        before = self._objective(old, old_eta, lam)
        for _ in range(20):
            if self.y.shape[1] > 1:
                new = new - new.mean(1, keepdims=True)
                eta = self.z.scores(new)
            if self._objective(new, eta, lam) <= before + 1e-10 * abs(before):
                break
            new = (old + new) / 2
            eta = (old_eta + eta) / 2
        return new, eta


def _factored(matrix: np.ndarray) -> Factor:
    """Cholesky factor of a positive definite matrix."""
    factor: Factor = cho_factor(matrix, lower=True, check_finite=False)
    return factor


def _solved(factor: Factor, rhs: np.ndarray) -> np.ndarray:
    """The solution of the factored system."""
    coef: np.ndarray = cho_solve(factor, rhs, check_finite=False)
    return coef
