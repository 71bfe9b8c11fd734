"""The weights of the basis functions while they are trained: by least squares, or by the scores that the AFEX paper calls attention."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .design import with_ones
from .families import Family
from .solve import Problem, Solution

RETUNE = 25
"""Steps of training after which the penalties are tuned again."""


def _standardised(values: np.ndarray, share: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Columns centred and scaled under weights that sum to 1, and their standard deviations."""
    centred = values - share @ values
    size = np.maximum(np.sqrt(share @ centred**2), 1e-12)
    return centred / size, size


@dataclass(frozen=True)
class Scores:
    """Weights (m, outputs) of columns (n, m) as keys for the outcomes (n, outputs) as the query.

    "correlation": the correlation of each column with the query; "softmax": the softmax of these over the columns.

    Examples
    --------
    >>> z, y = np.array([[1.0, 1.0], [-1.0, 1.0], [1.0, -1.0], [-1.0, -1.0]]), np.array([[1.0], [-1.0], [1.0], [-1.0]])
    >>> Scores(z, y, np.ones(4), "correlation").weights.ravel().tolist()
    [1.0, 0.0]
    """

    z: np.ndarray
    y: np.ndarray
    w: np.ndarray
    kind: str

    @property
    def correlations(self) -> np.ndarray:
        """Correlations (m, outputs) of columns and query."""
        share = self.w / self.w.sum()
        keys, query = _standardised(self.z, share)[0], _standardised(self.y, share)[0]
        found: np.ndarray = (keys.T * share) @ query
        return found

    @property
    def weights(self) -> np.ndarray:
        """The weights (m, outputs)."""
        found = self.correlations
        if self.kind == "correlation":
            return found
        e = np.exp(found - found.max(0))
        weights: np.ndarray = e / e.sum(0)
        return weights

    def column_gradient(self, gradient: np.ndarray) -> np.ndarray:
        """The gradient (n, m) by the columns that a gradient (m, outputs) by the weights makes, by the chain rule."""
        if self.kind == "softmax":
            alpha = self.weights
            gradient = alpha * (gradient - (alpha * gradient).sum(0))
        share = self.w / self.w.sum()
        (keys, size), (query, _) = _standardised(self.z, share), _standardised(self.y, share)
        projected = query @ gradient.T - keys * (self.correlations * gradient).sum(1)
        by_columns: np.ndarray = share[:, None] * projected / size
        return by_columns

    def rescaling(self, family: Family) -> np.ndarray:
        """Intercepts and scales (1 + outputs, outputs) of the weighted sums that minimise the loss, in closed form."""
        sums = self.z @ self.weights
        problem = Problem(sums, self.y, self.w, family, np.zeros(sums.shape[1], int))
        return problem.solve(np.full(1, 1e-6), tune=False).coef

    def solution(self, family: Family) -> Solution:
        """The weights times the scales as the coefficients."""
        scales = self.rescaling(family)
        coef = np.concatenate([scales[:1], self.weights @ scales[1:]])
        eta = with_ones(self.z) @ coef
        dispersion = 2 * float(self.w @ family.loss(eta, self.y)) / max(self.w.sum() - 2, 1.0)
        return Solution(coef, eta, np.zeros(0), max(dispersion, 1e-300) if family.dispersion else 1.0, np.zeros(0))


class TrainingStep:
    """One step of training: solves for the weights of given columns, and gives the gradient of the loss by the columns.

    The weights of least squares minimise the loss, whose gradient is then that with the weights fixed (envelope theorem); the
    paper's scores do not, and what their own change adds is added.

    Parameters
    ----------
    y, w
        Outcomes (n, outputs) and weights (n,).
    family
        The family of the outcomes.
    kind
        "least_squares", or the scores that weigh the columns.
    groups, penalty
        The group of each column, and the penalty of each group to begin with.
    signs
        True for a column whose weight is not negative; columns beyond the end have no sign.
    """

    def __init__(
        self,
        y: np.ndarray,
        w: np.ndarray,
        family: Family,
        kind: str,
        groups: np.ndarray,
        penalty: np.ndarray,
        signs: np.ndarray,
    ):
        self.y, self.w, self.family, self.kind = y, w, family, kind
        self.groups, self.penalty, self.count = groups, penalty, 0
        self.signs = np.concatenate([signs, np.zeros(len(groups) - len(signs), bool)])
        self.coef: np.ndarray | None = None
        constant = np.tile(family.start(y, w), (len(y), 1))
        self.scale = float(w @ family.loss(constant, y)) / w.sum()

    def __call__(self, z: np.ndarray, rows: np.ndarray, number: int) -> tuple[np.ndarray, float]:
        """Gradient (n, m) of the mean loss of the first `number` rows by their columns, and the mean loss of the others."""
        family, kind, y, w = self.family, self.kind, self.y[rows], self.w[rows]
        train = slice(None, number)
        if kind == "least_squares":
            self.coef = self._least_squares(z[train], y[train], w[train])
        else:
            self.coef = Scores(z[train], y[train], w[train], kind).solution(family).coef
        eta = with_ones(z) @ self.coef
        outer = -w[:, None] * family.derivatives(eta, y)[0]
        outer[number:] = 0
        gradient = outer @ self.coef[1:].T
        if kind != "least_squares":
            scores = Scores(z[train], y[train], w[train], kind)
            gradient[train] += scores.column_gradient(z.T @ outer @ scores.rescaling(family)[1:].T)
        loss = np.average(family.loss(eta, y)[number:], weights=w[number:])
        return gradient / (w[train].sum() * self.scale), float(loss)

    def _least_squares(self, z: np.ndarray, y: np.ndarray, w: np.ndarray) -> np.ndarray:
        """Coefficients by least squares, starting from the last ones; every `RETUNE` steps the penalties are tuned."""
        problem = Problem(z, y, w, self.family, self.groups, self.signs)
        tune = self.count % RETUNE == 0
        found = problem.solve(self.penalty, tune=tune, start=self.coef, rounds=20 if tune else 2, exact=False)
        self.penalty, self.count = np.minimum(found.penalty, 10 * w.sum()), self.count + 1
        return found.coef
