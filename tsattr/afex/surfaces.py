"""Functions of two features at once, for jumps along lines, which products of one-feature functions approximate badly."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .basis import knots_of

KNOTS = 62
"""Most knots of a feature between the ends of its range."""


@dataclass(frozen=True)
class Plane:
    """A network of two features, ``tanh(mix @ tanh(weight @ u + bias) + shift)``.

    weight (ridges, 2), bias (ridges,), mix (m, ridges), shift (m,).
    """

    weight: np.ndarray
    bias: np.ndarray
    mix: np.ndarray
    shift: np.ndarray

    def __call__(self, u: np.ndarray) -> np.ndarray:
        """Columns (..., m) at `u` (..., 2)."""
        columns: np.ndarray = np.tanh(np.tanh(u @ self.weight.T + self.bias) @ self.mix.T + self.shift)
        return columns


@dataclass(frozen=True)
class Surface:
    """Bilinear functions between the values of a table (k, l, m) at knots of both features, 0 where either is missing.

    The means of the table along each feature are 0 under the training marginals of the hat functions at the knots, so those
    of the functions are 0 over the training values: nothing in them could be a main effect.
    """

    first: np.ndarray
    second: np.ndarray
    table: np.ndarray

    @classmethod
    def of(cls, plane: Plane, u: np.ndarray, w: np.ndarray) -> Surface:
        """The interaction of `plane`: less its mean along each feature over values `u` (n, 2) of weights `w`, scaled to variance 1."""
        first, second = (_knots(v, w) for v in u.T)
        a, b = _hat_means(u[:, 0], first, w), _hat_means(u[:, 1], second, w)
        table = plane(np.stack(np.meshgrid(first, second, indexing="ij"), axis=2))
        along, across = np.tensordot(a, table, 1), np.einsum("l,klm->km", b, table)
        table = table - along - across[:, None] + a @ across
        spread = np.sqrt(np.einsum("k,l,klm->m", a, b, table**2))
        return cls(first, second, table / np.maximum(spread, 1e-12))

    def __call__(self, ua: np.ndarray, ub: np.ndarray) -> np.ndarray:
        """Columns (n, m) at standardised values (n,)."""
        present = ~np.isnan(ua) & ~np.isnan(ub)
        (i, s), (j, t) = _interval(ua[present], self.first), _interval(ub[present], self.second)
        s, t = s[:, None], t[:, None]
        low = (1 - t) * self.table[i, j] + t * self.table[i, j + 1]
        high = (1 - t) * self.table[i + 1, j] + t * self.table[i + 1, j + 1]
        found = np.zeros((len(ua), self.table.shape[2]))
        found[present] = (1 - s) * low + s * high
        return found


def _knots(u: np.ndarray, w: np.ndarray) -> np.ndarray:
    """Quantiles of the values that are not missing, with the ends of their range."""
    present = ~np.isnan(u)
    values = u[present]
    knots: np.ndarray = np.r_[values.min(), knots_of(values, w[present], KNOTS), values.max()]
    return knots


def _interval(u: np.ndarray, knots: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The number of the knot below each value, and the value's fraction of the distance to the next."""
    below = np.clip(np.searchsorted(knots, u, side="right") - 1, 0, len(knots) - 2)
    return below, (u - knots[below]) / (knots[below + 1] - knots[below])


def _hat_means(u: np.ndarray, knots: np.ndarray, w: np.ndarray) -> np.ndarray:
    """Weighted mean (knots,) of the hat function of each knot over the values that are not missing."""
    present = ~np.isnan(u)
    weight = w[present]
    below, fraction = _interval(u[present], knots)
    total = np.bincount(below, weight * (1 - fraction), len(knots)) + np.bincount(
        below + 1, weight * fraction, len(knots)
    )
    means: np.ndarray = total / weight.sum()
    return means
