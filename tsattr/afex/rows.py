"""The training rows in a canonical order, equal rows merged, with weights that sum to their effective number."""

from __future__ import annotations

import numpy as np

FEW = 20
"""Most distinct outcomes that count as classes."""


def canonical(x: np.ndarray, y: np.ndarray, w: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Distinct rows of `x` (n, p) and `y` (n, outputs), as `merged`, with weights that sum to their `effective_number`.

    Examples
    --------
    >>> x, y = np.array([[2.0], [1.0], [2.0]]), np.array([[1.0], [0.0], [1.0]])
    >>> [part.ravel().tolist() for part in canonical(x, y, np.ones(3))]
    [[1.0, 2.0], [0.0, 1.0], [0.75, 1.5]]
    """
    x_once, y_once, w_once = merged(x, y, w)
    w_once = w_once / w_once.min()  # equal weights are ones to the last bit
    return x_once, y_once, w_once * (effective_number(x_once, y_once, w_once, y[w > 0], w[w > 0]) / w_once.sum())


def merged(x: np.ndarray, y: np.ndarray, w: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Distinct rows with the sums of their weights, sorted by outcome, then by the sum of the ranks.

    So a fit depends neither on the order of the rows nor on whether a row is given twice or with weight 2, and rows of
    weight 0 are as good as absent. The sum of a row's ranks is the same in any order and any units of the columns.
    """
    kept = w > 0
    x, y, w = x[kept], y[kept], w[kept]
    ranks = np.column_stack([np.unique(column, return_inverse=True)[1] for column in x.T])
    keys = np.column_stack([y, ranks.sum(1), ranks])
    _, first, again = np.unique(keys, axis=0, return_index=True, return_inverse=True)
    return x[first], y[first], np.bincount(again.ravel(), w, len(first))


def effective_number(x: np.ndarray, y: np.ndarray, w: np.ndarray, given_y: np.ndarray, given: np.ndarray) -> float:
    """How many independent rows the distinct rows `x`, `y` of weights `w` count as, which were `given` one by one.

    Where a column tells the rows apart, a row that occurs twice is one observation counted twice, and weights are only
    relative: they are worth ``(sum w)^2 / sum w^2`` rows (Kish, 1965; for classes see
    `equal_weight_rows`). Rows that can recur are counted where the weights given are whole numbers, in their largest common
    unit; other weights, and those of classes, are again relative.
    """
    if any(_singletons(column) >= len(w) / 2 for column in (*x.T, *y.T)):
        return equal_weight_rows(w, y)
    if (given % 1 == 0).all() and not _of_classes(given_y, given):
        return float(given.sum() / np.gcd.reduce(given.astype(np.int64)))
    return equal_weight_rows(given, given_y)


def equal_weight_rows(w: np.ndarray, y: np.ndarray) -> float:
    """The number of rows of equal weight whose mean, or for classes (0 and 1) whose shares, have the same variance."""
    square = ((y - np.average(y, axis=0, weights=w)) ** 2).sum(1) if ((y == 0) | (y == 1)).all() else np.ones(len(w))
    square = square if square.any() else np.ones(len(w))
    return float(w.sum() * (w @ square) / (w**2 @ square))


def _singletons(column: np.ndarray) -> int:
    """How many values of a column occur once."""
    return int((np.unique(column, return_counts=True)[1] == 1).sum())


def _of_classes(y: np.ndarray, w: np.ndarray) -> bool:
    """Whether all rows of a class have one weight, and the classes several."""
    of = np.unique(y, axis=0, return_inverse=True)[1].ravel()
    low, high = np.full(of.max() + 1, np.inf), np.zeros(of.max() + 1)
    np.minimum.at(low, of, w)
    np.maximum.at(high, of, w)
    return bool(len(low) <= FEW and (low == high).all() and np.ptp(low) > 0 and np.bincount(of).min() >= 2)


def held_out_rows(n: int, share: float, rng: np.random.Generator) -> np.ndarray:
    """Which of `n` ordered rows to hold out, one drawn from every block of neighbours: bool (n,)."""
    block = max(2, round(1 / share))
    first = np.arange(0, n, block)
    held_out = np.zeros(n, bool)
    held_out[np.minimum(first + rng.integers(block, size=len(first)), n - 1)] = True
    return held_out
