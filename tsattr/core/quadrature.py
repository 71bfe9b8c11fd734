"""Rules of quadrature on [0, 1], and their refinement."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import numpy as np


@cache
def gauss_legendre(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights (n,) on [0, 1] of the rule that is exact for polynomials up to degree 2 n - 1."""
    nodes, weights = np.polynomial.legendre.leggauss(n)
    return (nodes + 1) / 2, weights / 2


@cache
def midpoint(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights (n,) on [0, 1] of the midpoints of n equal parts."""
    return (np.arange(n) + 0.5) / n, np.full(n, 1 / n)


@cache
def left(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights (n,) on [0, 1] of the left ends of n equal parts."""
    return np.arange(n) / n, np.full(n, 1 / n)


def refinements(rule: str, most: int) -> Iterator[tuple[int, np.ndarray, np.ndarray, float]]:
    """Finer and finer rules of at most `most` points: (points, new nodes, their weights, factor on the sum so far).

    Each has three times the points of the last, so that an error that falls like 1/n is half the change. A third of the
    midpoints, and of the left ends, are the old ones; Gauss-Legendre rules share none. The first levels are skipped where there is room: two
    coarse rules may agree by missing the same kink.
    """
    if rule == "gauss-legendre":
        n = 4 if most >= 12 else 1
        while n <= most:
            yield (n, *gauss_legendre(n), 0.0)
            n *= 3
    else:
        n = 9 if most >= 27 else 3 if most >= 9 else 1
        points, old = (left, 0) if rule == "left" else (midpoint, 1)
        yield (n, *points(n), 0.0)
        while 3 * n <= most:
            n *= 3
            nodes, weights = points(n)
            new = np.arange(n) % 3 != old
            yield n, nodes[new], weights[new], 1 / 3
