"""The nearest rows of an array: exact distances, ties in a fixed order, some left out."""

from __future__ import annotations

import numpy as np

METRICS = ("cosine", "euclidean")
_TABLE = 2**24  # distances in memory at once


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
    kin: tuple[np.ndarray, np.ndarray],
    rank: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Positions (queries, k) of the nearest cases, -1 where there are no more, and their distances, NaN there.

    The distance is the Euclidean one, or one minus the cosine of the angle. Of equal distances the case of lower rank comes
    first. Distances are summed cell by cell, which gives duplicates 0 and each query its own whatever stands beside it (the
    expansion of the square, which is quicker, does neither).

    Parameters
    ----------
    cases, queries
        (n, numbers) and (queries, numbers); a row that is not finite, or has no direction for the cosine, is near nothing.
    kin
        Int (n,) and (queries,): cases that have a query's number are left out for it; -1 is nobody's.
    rank
        Int (n,): the order among equals.
    """
    from sklearn.neighbors import NearestNeighbors

    at = np.full((len(queries), k), -1)
    distance = np.full((len(queries), k), np.nan)
    a, b = directions(cases, metric), directions(queries, metric)
    known, asked = np.flatnonzero(~np.isnan(a).any(1)), np.flatnonzero(~np.isnan(b).any(1))
    if len(known):
        tree = NearestNeighbors(algorithm="kd_tree").fit(a[known])
        size = max(1, _TABLE // len(known))
        for part in (asked[i : i + size] for i in range(0, len(asked), size)):
            found = _of_some(tree, known, b[part], k, (kin[0], kin[1][part]), rank)
            at[part, : found[0].shape[1]], distance[part, : found[0].shape[1]] = found
    return at, distance**2 / 2 if metric == "cosine" else distance


def _of_some(
    tree: object, known: np.ndarray, b: np.ndarray, k: int, kin: tuple[np.ndarray, np.ndarray], rank: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """As `nearest`, for queries that have distances: asks for more until all that tie with the last one are seen."""
    relatives = np.bincount(kin[0][kin[0] >= 0], minlength=1 + max(kin[1].max(), 0))
    more = k + 1 + int(relatives[kin[1]][kin[1] >= 0].max(initial=0))
    while True:
        more = min(more, len(known))
        d, near = tree.kneighbors(b, more)  # type: ignore[attr-defined]
        near = known[near]
        farthest = d[:, -1]
        d = np.where((kin[0][near] == kin[1][:, None]) & (kin[1][:, None] >= 0), np.inf, d)
        order = np.lexsort((rank[near], d), axis=1)[:, :k]
        d, near = np.take_along_axis(d, order, 1), np.take_along_axis(near, order, 1)
        if more == len(known) or (d[:, -1] < farthest).all():
            return np.where(np.isinf(d), -1, near), np.where(np.isinf(d), np.nan, d)
        more *= 2
