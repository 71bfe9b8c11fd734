"""The nearest rows of an array: exact distances, ties in a fixed order, some left out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

Kin = tuple[np.ndarray, np.ndarray]

METRICS = ("cosine", "euclidean")
_TABLE = 2**24  # distances in memory at once
_ROUNDING = 1e-12  # a bound, in sizes of the rows


def check_metric(metric: str) -> None:
    """ValueError where it is not one of `METRICS`."""
    if metric not in METRICS:
        raise ValueError(f"metric is one of {', '.join(map(repr, METRICS))}, got {metric!r}")


def directions(a: np.ndarray, metric: str) -> np.ndarray:
    """Rows whose Euclidean distances tell: themselves, or for the cosine of length 1. NaN where a row has no distance."""
    known = np.isfinite(a).all(1)
    if metric == "cosine":
        largest = np.abs(a).max(1, keepdims=True, initial=0)  # divided by first: no square runs over
        known &= largest[:, 0] > 0
        a = a / np.where(known[:, None], largest, 1)
        a = a / np.where(known, np.linalg.norm(a, axis=1), 1)[:, None]
    return np.where(known[:, None], a, np.nan)


def nearest(
    cases: np.ndarray,
    queries: np.ndarray,
    k: int,
    *,
    metric: str,
    kin: Sequence[Kin] = (),
    rank: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Positions (queries, k) of the nearest cases, -1 where there are no more, and their distances, NaN there.

    The distance is the Euclidean one, or one minus the cosine of the angle, which is half the squared Euclidean one of rows of
    length 1. Candidates are scikit-learn's; their distances are summed again from differences, cell by cell, which gives
    duplicates 0 and each query its own, whatever stands beside it. Of equal ones the case of lower rank comes first.

    Parameters
    ----------
    cases, queries
        (n, numbers) and (queries, numbers); a row that is not finite, or has no direction for the cosine, is near nothing.
    kin
        Pairs of int (n,) and (queries,): cases that have a query's number are left out for it; -1 is nobody's.
    rank
        Int (n,): the order among equals; by default that of the cases.
    """
    at = np.full((len(queries), k), -1)
    distance = np.full((len(queries), k), np.nan)
    a, b = directions(cases, metric), directions(queries, metric)
    known, asked = np.flatnonzero(~np.isnan(a).any(1)), np.flatnonzero(~np.isnan(b).any(1))
    rank = np.arange(len(a)) if rank is None else rank
    size = max(1, _TABLE // max(1, len(known)))
    for part in (asked[i : i + size] for i in range(0, len(asked), size)):
        if len(known):
            found = _of_some(a, known, b[part], k, [(theirs, own[part]) for theirs, own in kin], rank)
            width = found[0].shape[1]
            at[part, :width], distance[part, :width] = found
    return at, distance / 2 if metric == "cosine" else np.sqrt(distance)


def _of_some(
    a: np.ndarray, known: np.ndarray, b: np.ndarray, k: int, kin: Sequence[Kin], rank: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Positions and squared distances for queries that have some: asks for more until none that is not seen can be nearer."""
    from sklearn.neighbors import NearestNeighbors

    search = NearestNeighbors(algorithm="brute").fit(a[known])
    length = np.sqrt((b**2).sum(1))
    more = k + 1 + sum(_most(theirs, own) for theirs, own in kin)
    while True:
        more = min(more, len(known))
        rough, near = search.kneighbors(b, more)
        near = known[near]
        d = np.stack([((a[row] - query) ** 2).sum(1) for row, query in zip(near, b)])
        for theirs, own in kin:
            d = np.where((theirs[near] == own[:, None]) & (own[:, None] >= 0), np.inf, d)
        order = np.lexsort((rank[near], d), axis=1)[:, :k]
        d, near = np.take_along_axis(d, order, 1), np.take_along_axis(near, order, 1)
        # A case that is nearer than the last one found is no longer than this, and |a|^2 - 2 ab + |b|^2 rounds by no more.
        rounding = _ROUNDING * ((length + np.sqrt(d[:, -1])) ** 2 + length**2)
        if more == len(known) or (d[:, -1] + rounding < rough[:, -1] ** 2).all():
            return np.where(np.isinf(d), -1, near), np.where(np.isinf(d), np.nan, d)
        more *= 2


def _most(theirs: np.ndarray, own: np.ndarray) -> int:
    """The most cases that are left out for a query."""
    count = np.bincount(theirs[theirs >= 0], minlength=1 + own.max(initial=0))
    return int(count[own[own >= 0]].max(initial=0))
