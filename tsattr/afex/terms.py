"""The fitted additive model: its terms, purified, evaluated at any values with their bootstrap replicates."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from .basis import Feature
from .pairs import products
from .surfaces import Surface

POOLED = ("linear", "missing")
"""Kinds of columns with one penalty over all features, where rows are few."""


def main_groups(features: Sequence[Feature], pooled: Sequence[str] = POOLED) -> list[Hashable]:
    """The name of the penalty group of each of the mains' columns."""
    return [k if k in pooled else (k, j) for j, f in enumerate(features) for k in f.kinds]


def groups(
    features: Sequence[Feature],
    pairs: Sequence[tuple[int, int]],
    surfaces: Mapping[tuple[int, int], Surface],
    pooled: Sequence[str] = POOLED,
) -> list[Hashable]:
    """The name of the penalty group of each column: the mains', then each pair's products and its surface's."""
    names = main_groups(features, pooled)
    for a, b in pairs:
        names += [("pair", (a, b))] * (len(features[a].in_products) * len(features[b].in_products))
        names += [("surface", (a, b))] * (surfaces[a, b].table.shape[2] if (a, b) in surfaces else 0)
    return names


def pair_columns(
    features: tuple[Feature, Feature],
    surface: Surface | None,
    x: tuple[np.ndarray, np.ndarray],
    mains: tuple[np.ndarray, np.ndarray],
) -> np.ndarray:
    """Columns of a pair at values `x` of its features, given the columns of their mains: products, then its surface's."""
    (a, b), (xa, xb), (za, zb) = features, x, mains
    both = products(za[:, a.in_products], zb[:, b.in_products])
    if surface is None:
        return both
    return np.concatenate([both, surface(a.standardised(xa), b.standardised(xb))], axis=1)


@dataclass(frozen=True)
class AdditiveFunction:
    """``score(x) = intercept + sum_j f_j(x_j) + sum_(a,b) f_ab(x_a, x_b)`` for one or several outputs.

    Coefficients have a last axis of the estimate, then its bootstrap replicates: intercept (outputs, 1 + bags), main_coef[j]
    (m_j, outputs, 1 + bags), pair_coef[i] (k l + surface's, outputs, 1 + bags). removed_coef[i] (1 + m_a + m_b, outputs,
    1 + bags) is what purification took from pair i: the constant, the part in a, the part in b; None where it took nothing.
    """

    features: tuple[Feature, ...]
    pairs: tuple[tuple[int, int], ...]
    intercept: np.ndarray
    main_coef: tuple[np.ndarray, ...]
    pair_coef: tuple[np.ndarray, ...]
    removed_coef: tuple[np.ndarray | None, ...]
    surfaces: Mapping[tuple[int, int], Surface] = field(default_factory=dict)

    @property
    def outputs(self) -> int:
        """Number of scores."""
        return int(self.intercept.shape[0])

    def main(self, j: int, x: np.ndarray, *, draws: bool = False) -> np.ndarray:
        """f_j at values `x` (n,): (n, outputs), with `draws` (n, outputs, 1 + bags)."""
        return _applied(self.features[j].columns(x), self.main_coef[j], draws)

    def pair(self, i: int, xa: np.ndarray, xb: np.ndarray, *, draws: bool = False) -> np.ndarray:
        """f_ab of pair `i` at values (n,) of both: (n, outputs), with `draws` (n, outputs, 1 + bags)."""
        a, b = (self.features[j] for j in self.pairs[i])
        za, zb = a.columns(xa), b.columns(xb)
        surface = self.surfaces.get(self.pairs[i])
        value: np.ndarray = _applied(pair_columns((a, b), surface, (xa, xb), (za, zb)), self.pair_coef[i], draws)
        removed = self.removed_coef[i]
        if removed is None:
            return value
        value = value - _applied(np.concatenate([np.ones((len(za), 1)), za, zb], axis=1), removed, draws)
        return value

    def terms(self, x: np.ndarray, *, draws: bool = False) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """All mains and all pairs at rows `x` (n, p), as `main` and `pair` give them."""
        mains = [self.main(j, x[:, j], draws=draws) for j in range(len(self.features))]
        pairs = [self.pair(i, x[:, a], x[:, b], draws=draws) for i, (a, b) in enumerate(self.pairs)]
        return mains, pairs

    def blocks(self, x: np.ndarray) -> list[np.ndarray]:
        """The columns of each main, then those of each pair, at rows `x` (n, p)."""
        mains = [f.columns(x[:, j]) for j, f in enumerate(self.features)]
        f = self.features
        return [
            *mains,
            *(
                pair_columns((f[a], f[b]), self.surfaces.get((a, b)), (x[:, a], x[:, b]), (mains[a], mains[b]))
                for a, b in self.pairs
            ),
        ]

    def score(self, x: np.ndarray) -> np.ndarray:
        """The model's score (n, outputs) at rows `x` (n, p)."""
        mains, pairs = self.terms(x)
        score: np.ndarray = np.tile(self.intercept[:, 0], (len(x), 1))
        return sum([*mains, *pairs], score)


def _applied(z: np.ndarray, coef: np.ndarray, draws: bool) -> np.ndarray:
    """Columns (n, m) times coefficients (m, outputs, 1 + bags): the estimate, or with `draws` all replicates."""
    if draws:
        return np.tensordot(z, coef, 1)
    estimate: np.ndarray = z @ coef[:, :, 0]
    return estimate
