"""The fitted additive model: its terms, purified, evaluated at any values with the spread of their bootstrap."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np

from .basis import Feature
from .pairs import products

POOLED = ("linear", "missing")
"""Kinds of columns with one penalty over all features, where rows are few."""


def main_groups(features: Sequence[Feature], pooled: Sequence[str] = POOLED) -> list[Hashable]:
    """The name of the group that each of the features' own columns is penalised with."""
    return [k if k in pooled else (k, j) for j, f in enumerate(features) for k in f.kinds]


def groups(
    features: Sequence[Feature], pairs: Sequence[tuple[int, int]], pooled: Sequence[str] = POOLED
) -> list[Hashable]:
    """The same for all columns: the features' own, then each pair's products."""
    sizes = [len(features[a].inner) * len(features[b].inner) for a, b in pairs]
    return [*main_groups(features, pooled), *(("pair", p) for p, size in zip(pairs, sizes) for _ in range(size))]


@dataclass(frozen=True)
class Additive:
    """``score(x) = intercept + sum_j f_j(x_j) + sum_(a,b) f_ab(x_a, x_b)`` for one or several outputs.

    Coefficients have a last axis of the estimate, then its bootstrap replicates: intercept (outputs, 1 + bags), mains[j]
    (m_j, outputs, 1 + bags), joint[i] (k l, outputs, 1 + bags). moved[i] (1 + m_a + m_b, outputs, 1 + bags) is what
    purification took from pair i: the constant, the part in a, the part in b; None where it took nothing.
    """

    features: tuple[Feature, ...]
    pairs: tuple[tuple[int, int], ...]
    intercept: np.ndarray
    mains: tuple[np.ndarray, ...]
    joint: tuple[np.ndarray, ...]
    moved: tuple[np.ndarray | None, ...]

    @property
    def outputs(self) -> int:
        """Number of scores."""
        return self.intercept.shape[0]

    def main(self, j: int, x: np.ndarray, *, draws: bool = False) -> np.ndarray:
        """f_j at values `x` (n,): (n, outputs), with `draws` (n, outputs, 1 + bags)."""
        return _apply(self.features[j].columns(x), self.mains[j], draws)

    def pair(self, i: int, xa: np.ndarray, xb: np.ndarray, *, draws: bool = False) -> np.ndarray:
        """f_ab of pair `i` at values (n,) of both: (n, outputs), with `draws` (n, outputs, 1 + bags)."""
        a, b = (self.features[j] for j in self.pairs[i])
        za, zb = a.columns(xa), b.columns(xb)
        found = _apply(products(za[:, a.inner], zb[:, b.inner]), self.joint[i], draws)
        moved = self.moved[i]
        if moved is None:
            return found
        return found - _apply(np.concatenate([np.ones((len(za), 1)), za, zb], axis=1), moved, draws)

    def terms(self, x: np.ndarray, *, draws: bool = False) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """All mains and all pairs at rows `x` (n, p), as `main` and `pair` give them."""
        mains = [self.main(j, x[:, j], draws=draws) for j in range(len(self.features))]
        pairs = [self.pair(i, x[:, a], x[:, b], draws=draws) for i, (a, b) in enumerate(self.pairs)]
        return mains, pairs

    def blocks(self, x: np.ndarray) -> list[np.ndarray]:
        """The columns of each main, then those of each pair, at rows `x` (n, p)."""
        own = [f.columns(x[:, j]) for j, f in enumerate(self.features)]
        inner = [z[:, f.inner] for z, f in zip(own, self.features)]
        return [*own, *(products(inner[a], inner[b]) for a, b in self.pairs)]

    def score(self, x: np.ndarray) -> np.ndarray:
        """The model's score (n, outputs) at rows `x` (n, p)."""
        mains, pairs = self.terms(x)
        return sum([*mains, *pairs], np.tile(self.intercept[:, 0], (len(x), 1)))


def _apply(z: np.ndarray, coef: np.ndarray, draws: bool) -> np.ndarray:
    if not draws:
        return z @ coef[:, :, 0]
    return np.tensordot(z, coef, 1)
