"""An additive model while it is fitted: its columns, their penalties and coefficients so far."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from . import attention
from .basis import RANK, Feature
from .design import ALL, CELLS, Design
from .families import Family
from .significance import Fit
from .solve import Problem, Solution
from .surfaces import Surface
from .terms import POOLED, groups, pair_columns

ROWS_FOR_OWN_PENALTY = 50
"""Rows a feature from which each linear column has a penalty of its own, which can put it out."""
RESCALINGS = 20
"""Most times that a loss is given another scale in one solve."""
MINIMUM_SHARE = 1e-4
"""Share of the loss of the constant that a step or a pair must take off, however little noise there is."""


@dataclass(frozen=True)
class Settings:
    """The checked values of the estimators' parameters of the same names."""

    n_nets: int = 2
    hidden: int = 16
    max_epochs: int = 150
    attention: str = "least_squares"
    interactions: Any = "auto"
    heredity: bool = False
    purify: str = "marginals"
    bags: int = 25
    validation_fraction: float = 0.15
    atoms: bool = True

    @property
    def splines(self) -> bool:
        """Whether numeric features have splines and steps, which only penalties can choose among."""
        return self.atoms and self.attention == "least_squares"


class WorkingModel:
    """What the terms of an additive model are made of so far, and the coefficients of their columns.

    Parameters
    ----------
    x, y, w
        Codes (n, p), outcomes (n, outputs) and weights (n,) of the training rows.
    features
        The basis functions of each feature to begin with.
    family
        The loss of the outcomes.
    settings, rng
        The estimator's parameters, and the generator of all draws.
    """

    def __init__(
        self,
        x: np.ndarray,
        y: np.ndarray,
        w: np.ndarray,
        features: Iterable[Feature],
        family: Family,
        settings: Settings,
        rng: np.random.Generator,
    ):
        self.x, self.y, self.w, self.family, self.settings, self.rng = x, y, w, family, settings, rng
        self.features = list(features)
        self._cache: dict[int, np.ndarray] | None = {} if x.size * (1 + RANK) <= CELLS else None
        self.varied = np.array([self.main_columns(j).any() for j in range(x.shape[1])], bool)
        self.screened_out: dict[int, Feature] = {}
        self.pairs: list[tuple[int, int]] = []
        self.dropped_pairs: list[tuple[int, int]] = []
        self.surfaces: dict[tuple[int, int], Surface] = {}
        self.penalties: dict[Hashable, float] = {}
        self._solution: Solution | None = None
        self.choose_pooled()

    @property
    def solution(self) -> Solution:
        """The coefficients of the last solve."""
        assert self._solution is not None
        return self._solution

    @solution.setter
    def solution(self, found: Solution) -> None:
        self._solution = found

    # The features' functions.

    def set_feature(self, j: int, feature: Feature) -> None:
        """Change a feature's functions."""
        self.features[j] = feature.centred(self.x[:, j], self.w)
        if self._cache is not None:
            self._cache.pop(j, None)

    def restore(self, features: Iterable[int]) -> None:
        """Give features that were screened out their functions again."""
        for j in self.screened_out.keys() & set(features):
            self.set_feature(j, self.screened_out.pop(j))

    def numeric_features(self) -> list[int]:
        """Features with thresholds."""
        return [j for j, f in enumerate(self.features) if f.varied and f.used and not f.levels]

    # The columns.

    def main_columns(self, j: int, rows: slice | np.ndarray = ALL) -> np.ndarray:
        """The columns of a feature's main, for some rows; they are kept where the table is not large."""
        if self._cache is None:
            return self.features[j].columns(self.x[rows, j])
        if j not in self._cache:
            self._cache[j] = self.features[j].columns(self.x[:, j])
        return self._cache[j][rows]

    def pair_columns(self, pair: tuple[int, int], rows: slice | np.ndarray = ALL) -> np.ndarray:
        """The columns of a pair: products, then its surface's."""
        a, b = pair
        features, x = (self.features[a], self.features[b]), (self.x[rows, a], self.x[rows, b])
        mains = (self.main_columns(a, rows), self.main_columns(b, rows))
        return pair_columns(features, self.surfaces.get(pair), x, mains)

    def columns(self, rows: slice | np.ndarray = ALL) -> np.ndarray:
        """All columns (n, m): the mains', then each pair's."""
        mains = [self.main_columns(j, rows) for j in range(len(self.features))]
        return np.concatenate([*mains, *(self.pair_columns(p, rows) for p in self.pairs)], axis=1)

    def first_coefficient(self, j: int) -> int:
        """Position of the first coefficient of a feature's main, after the intercept."""
        return 1 + sum(len(f.kinds) for f in self.features[:j])

    def main_effect(self, j: int) -> np.ndarray:
        """The contribution (n, outputs) of a feature's main."""
        first = self.first_coefficient(j)
        coef = self.solution.coef[first : first + len(self.features[j].kinds)]
        effect: np.ndarray = self.main_columns(j) @ coef
        return effect

    def subsample(self, most: int) -> np.ndarray:
        """Positions of at most so many rows, evenly spread over the outcomes."""
        return np.unique(np.linspace(0, len(self.x) - 1, min(most, len(self.x))).astype(int))

    # Their penalties.

    def choose_pooled(self) -> None:
        """Pool the penalties of all linear columns where rows are few for the features, and of missing values always."""
        used = sum(self.varied[j] for j, f in enumerate(self.features) if f.used)
        self.pooled = POOLED if self.w.sum() < ROWS_FOR_OWN_PENALTY * used else ("missing",)

    def group_names(self) -> list[Hashable]:
        """The name of the penalty group of each column."""
        return groups(self.features, self.pairs, self.surfaces, self.pooled)

    def signs(self) -> np.ndarray:
        """Columns whose coefficients must not be negative, bool (m,)."""
        mains = [np.full(len(f.kinds), f.direction != 0) & (f.kinds != "missing") for f in self.features]
        return np.concatenate([*mains, np.zeros(len(self.group_names()) - sum(map(len, mains)), bool)])

    def numbered_groups(self, group_names: list[Hashable]) -> tuple[list[Hashable], np.ndarray, np.ndarray]:
        """The distinct groups, the number of each column's, and the penalties to start from."""
        names = list(dict.fromkeys(group_names))
        number = {name: i for i, name in enumerate(names)}
        rows = self.w.sum()
        start = np.array([self.penalties.get(name, 0.1 * rows) for name in names])
        return names, np.array([number[k] for k in group_names], int), start

    # Their coefficients.

    def problem(self) -> Problem:
        """The penalised likelihood that the coefficients of the columns so far minimise."""
        _, number, _ = self.numbered_groups(self.group_names())
        design = Design(self.columns, len(self.x), len(number))
        return Problem(design, self.y, self.w, self.family, number, self.signs())

    def solve(self, *, final: bool = False) -> Solution:
        """Set the coefficients and the penalties; the final solve gives every group of columns a chance again."""
        names, _, start = self.numbered_groups(self.group_names())
        if final:
            start = np.minimum(start, self.w.sum())
        kind = self.settings.attention
        if kind == "least_squares":
            self.solution = self.problem().solve(start, exact=final)
            self._rescale_loss(final)
        else:
            self.solution = attention.Scores(self.columns(), self.y, self.w, kind).solution(self.family)
        self.penalties.update(zip(names, self.solution.penalty))
        return self.solution

    def _rescale_loss(self, final: bool) -> None:
        """Repeat the solve until a loss whose scale is that of the residuals has settled."""
        for _ in range(RESCALINGS):
            family = self.family.rescaled(self.solution.eta, self.y, self.w)
            if family == self.family:
                break
            self.family = family
            self.solution = self.problem().solve(self.solution.penalty, start=self.solution.coef, exact=final)

    def constant_scores(self) -> np.ndarray:
        """The scores (n, outputs) of the best constant."""
        return np.tile(self.family.start(self.y, self.w), (len(self.y), 1))

    def fit(self) -> Fit:
        """The scores so far with the outcomes, weights and dispersion."""
        return Fit(self.family, self.solution.eta, self.y, self.w, self.solution.dispersion)

    def minimum_gain(self) -> float:
        """The gain from which a step or a pair is worth a term, whatever its significance."""
        loss = float(self.w @ self.family.loss(self.constant_scores(), self.y))
        return MINIMUM_SHARE * 2 * loss / self.solution.dispersion
