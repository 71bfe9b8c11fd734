"""The training rows in an order of their own, equal rows once with the sum of their weights."""

from __future__ import annotations

import numpy as np


def canonical(x: np.ndarray, y: np.ndarray, w: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Distinct rows of `x` (n, p) and `y` (n, outputs) with their weights, sorted by outcome, then by the sum of the ranks.

    So a fit depends neither on the order of the rows nor on whether a row is given twice or with weight 2, and rows of
    weight 0 are as good as absent. The sum of a row's ranks is the same in any order and any units of the columns.

    Weights are numbers of rows. Where they sum to less than the rows that have one, as normalised ones do, they are scaled
    up to it.

    Examples
    --------
    >>> x, y = np.array([[2.0], [1.0], [2.0]]), np.array([[1.0], [0.0], [1.0]])
    >>> [part.ravel().tolist() for part in canonical(x, y, np.ones(3))]
    [[1.0, 2.0], [0.0, 1.0], [1.0, 2.0]]
    """
    kept = w > 0
    x, y, w = x[kept], y[kept], w[kept]
    w = w * max(1.0, len(w) / w.sum())
    ranks = np.column_stack([np.unique(column, return_inverse=True)[1] for column in x.T])
    keys = np.column_stack([y, ranks.sum(1), ranks])
    _, first, again = np.unique(keys, axis=0, return_index=True, return_inverse=True)
    return x[first], y[first], np.bincount(again.ravel(), w, len(first))


def spread(n: int, share: float, rng: np.random.Generator) -> np.ndarray:
    """Which of `n` rows in order to keep out, one of every block of neighbours: bool (n,)."""
    block = max(2, round(1 / share))
    first = np.arange(0, n, block)
    held = np.zeros(n, bool)
    held[np.minimum(first + rng.integers(block, size=len(first)), n - 1)] = True
    return held
