"""How well cases that are nearest to a query are of its kind.

All functions take `distance` and a boolean `same` of one shape (queries, cases): how far each case is from each query, and
whether it is of the query's class. A case whose distance is NaN is no candidate: a query that is itself in the gallery
does not find itself, nor other beats of its patient where those would be too easy. They return a number for each query in
float64, NaN where no candidate is of its class, so that intervals by patient are those of `bootstrap`. Of cases at one
distance the order is not known: the answer is the expected value over all orders, so that a constant distance scores at chance.
Equal means to the last bit: where rounding alone tells distances apart, round them first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..core.arrays import unmasked
from ..core.results import check_count

Values = NDArray[np.float64]

_BLOCK = 4_000_000  # distances that are held at once


def cmc(distance: ArrayLike, same: ArrayLike, k: int = 1) -> Values:
    """Whether a case of the query's class is among the k nearest: a point of the cumulative match characteristic.

    This is the usual definition by the *first match*: 1 or 0 for each query, its mean the share of queries that are answered
    within k. (The published code of forward-compatible training, Ramanujan et al., CVPR 2022, divides the credit among all
    matches of a class instead.) Cases tied at the k-th place: with m of the class among t tied ones and r places left,
    ``1 - C(t - m, r) / C(t, r)``. Chance: `retrieval_chance`; for k = 1 the class's share of the gallery.

    Parameters
    ----------
    distance, same : array (queries, cases)
        See the module.
    k : int
        How many of the nearest; all of them where there are fewer.

    Examples
    --------
    >>> distance = [[0.1, 0.2, 0.3], [0.3, 0.3, 0.4]]
    >>> cmc(distance, [[False, True, False], [True, False, False]])
    array([0. , 0.5])
    >>> cmc(distance, [[False, True, False], [True, False, False]], k=2)
    array([1., 1.])
    """
    check_count("k", k)
    distance, same = _checked(distance, same)
    known = ~np.isnan(distance)
    far = np.where(known, distance, np.inf)
    last = np.partition(far, min(k, far.shape[1]) - 1)[:, [min(k, far.shape[1]) - 1]] if far.size else far[:, :1]
    nearer, tied = known & (far < last), known & (far == last)
    left = np.maximum(np.minimum(k, known.sum(1)) - nearer.sum(1), 0)
    found = np.where((nearer & same).any(1), 1.0, 1 - _none_among(tied.sum(1), (tied & same).sum(1), left))
    return np.where((known & same).any(1), found, np.nan)


def retrieval_average_precision(distance: ArrayLike, same: ArrayLike) -> Values:
    """Average precision of each query's ranking of the gallery by distance; its mean over queries is the mAP.

    ``AP = sum_i same_i P_i / sum_i same_i``, P_i the share of the query's class among the i nearest. Without ties it is
    scikit-learn's `average_precision_score` of minus the distance; with ties its expected value over their orders
    (McSherry and Najork, ECIR 2008). Chance: `retrieval_chance`, about the class's share of the gallery.

    Parameters
    ----------
    distance, same : array (queries, cases)
        See the module.

    Examples
    --------
    >>> retrieval_average_precision([[0.1, 0.2, 0.3]], [[True, False, True]])
    array([0.83333333])
    """
    distance, same = _checked(distance, same)
    known = ~np.isnan(distance)
    order = np.argsort(distance, 1)  # NaN comes last
    distance, hit = (np.take_along_axis(v, order, 1) for v in (distance, (same & known).astype(np.float64)))
    place = np.arange(1, distance.shape[1] + 1)
    # Of the tied cases that each place belongs to: the first one's place, their number, and how many are of the class.
    starts = np.ones(distance.shape, bool)
    starts[:, 1:] = distance[:, 1:] != distance[:, :-1]
    ends = np.roll(starts, -1, 1)
    first = np.maximum.accumulate(np.where(starts, place, 0), 1)
    last = np.minimum.accumulate(np.where(ends, place, place[-1:])[:, ::-1], 1)[:, ::-1]
    hits = np.pad(hit.cumsum(1), ((0, 0), (1, 0)))
    before = np.take_along_axis(hits, first - 1, 1)
    tied, matches = last - first + 1, np.take_along_axis(hits, last, 1) - before
    # A place holds a match with chance matches / tied; given that, each place before it in the tie is one of the others.
    others = (place - first) * (matches - 1) / np.maximum(tied - 1, 1)
    total = hits[:, -1]
    with np.errstate(invalid="ignore"):
        return np.asarray((matches / tied * (before + 1 + others) / place).sum(1) / np.where(total, total, np.nan))


def retrieval_chance(metric: Callable[..., Values], distance: ArrayLike, same: ArrayLike, **kwargs: Any) -> Values:
    """What a random order of the candidates scores on average: the metric of one distance for all.

    For n candidates of which m are of the class: `cmc` has ``1 - C(n - m, k) / C(n, k)``, which is m / n for k = 1;
    `retrieval_average_precision` has ``(H_n + (m - 1) (n - H_n) / (n - 1)) / n``, H_n the n-th harmonic number: m / n for
    a large gallery, more for a small one.

    Examples
    --------
    >>> retrieval_chance(cmc, [[0.1, 0.2, 0.3, 0.4]], [[True, False, False, False]], k=2)
    array([0.5])
    """
    distance, same = _checked(distance, same)
    return metric(np.where(np.isnan(distance), np.nan, 1.0), same, **kwargs)


def retrieval(
    gallery: ArrayLike,
    label: ArrayLike,
    query: ArrayLike | None = None,
    query_label: ArrayLike | None = None,
    *,
    metric: str = "cosine",
    k: Sequence[int] = (1, 5),
    group: ArrayLike | None = None,
    query_group: ArrayLike | None = None,
) -> dict[str, Values]:
    """Search a gallery with each query, and say of each how well it is answered.

    Parameters
    ----------
    gallery, query : array (cases, embedding), (queries, embedding)
        Embeddings. Without queries each case of the gallery is one and does not find itself.
    label, query_label : array (cases,), (queries,)
        Their classes.
    metric : str
        A distance of scikit-learn's `pairwise_distances`.
    k : sequence of int
        For `cmc`.
    group, query_group : array (cases,), (queries,), optional
        The patients they are of: a query then finds no case of its own patient. Without queries, `group` is both.

    Returns
    -------
    dict
        Arrays (queries,): ``cmc_1``, ``cmc_5`` (for each k) and ``average_precision``, each followed by its chance level
        ``<name>_chance``.

    Raises
    ------
    ValueError
        If sizes do not fit, or embeddings are not finite.

    Examples
    --------
    >>> found = retrieval([[0.0], [1.0], [5.0]], ["a", "a", "b"], [[0.4], [4.0]], ["a", "a"], metric="euclidean", k=[1])
    >>> found["cmc_1"].tolist(), found["cmc_1_chance"].round(3).tolist()
    ([1.0, 0.0], [0.667, 0.667])
    """
    from sklearn.metrics import pairwise_distances

    if query is None and (query_label is not None or query_group is not None):
        raise ValueError("query_label and query_group are those of queries: give query=..., or leave them out")
    cases = _Cases.of("gallery", gallery, label, group)
    asked = cases if query is None else _Cases.of("query", query, query_label, query_group)
    if asked.embedding.shape[1] != cases.embedding.shape[1] or (asked.group is None) != (cases.group is None):
        raise ValueError(
            f"queries are like the gallery: embeddings of {cases.embedding.shape[1]} numbers, not "
            f"{asked.embedding.shape[1]}, and groups of both or of neither"
        )
    blocks = np.array_split(np.arange(len(asked.label)), max(1, -(-len(asked.label) * len(cases.label) // _BLOCK)))
    parts = []
    for at in blocks:
        distance = np.asarray(pairwise_distances(asked.embedding[at], cases.embedding, metric=metric), np.float64)
        if query is None:
            distance[np.arange(len(at)), at] = np.nan
        if asked.group is not None:
            distance[asked.group[at, None] == cases.group] = np.nan
        parts.append(_measured(distance, asked.label[at, None] == cases.label, k))
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _measured(distance: Values, same: NDArray[np.bool_], k: Sequence[int]) -> dict[str, Values]:
    """Every measure of each query, each followed by its chance level."""
    found = {}
    for name, measure, kwargs in [
        *((f"cmc_{n}", cmc, {"k": n}) for n in k),
        ("average_precision", retrieval_average_precision, {}),
    ]:
        found[name] = measure(distance, same, **kwargs)
        found[f"{name}_chance"] = retrieval_chance(measure, distance, same, **kwargs)
    return found


@dataclass(frozen=True)
class _Cases:
    """Embeddings (cases, embedding), with the class of each case and perhaps its group."""

    embedding: Values
    label: NDArray[Any]
    group: NDArray[Any] | None

    @classmethod
    def of(cls, what: str, embedding: Any, label: Any, group: Any) -> _Cases:
        """Checked: finite, and one label and group for each case."""
        values = unmasked(embedding, np.float64)
        if values.ndim != 2 or not np.isfinite(values).all():
            raise ValueError(
                f"{what} is finite and of dims (cases, embedding); its shape is {values.shape}, and "
                f"{int((~np.isfinite(values)).sum())} of its values are not finite"
            )
        found = cls(values, np.asarray(label), None if group is None else np.asarray(group))
        for name, part in (("label", found.label), ("group", found.group)):
            if part is not None and part.shape != values.shape[:1]:
                raise ValueError(f"a {name} for each of the {len(values)} cases of {what}, not of shape {part.shape}")
        return found


def _checked(distance: ArrayLike, same: ArrayLike) -> tuple[Values, NDArray[np.bool_]]:
    distance, same = unmasked(distance, np.float64), unmasked(same)
    if distance.shape != same.shape or distance.ndim != 2:
        raise ValueError(
            f"distance and same have one shape (queries, cases), not {distance.shape} and {same.shape}; "
            "for one query use distance[None]"
        )
    if same.dtype != bool:
        raise TypeError(f"same is boolean, not {same.dtype}; compare first, such as `query_label[:, None] == label`")
    if np.isinf(distance).any():
        raise ValueError(f"distances are finite, or NaN for no candidate; {int(np.isinf(distance).sum())} are infinite")
    return distance, same


def _none_among(tied: ArrayLike, matches: ArrayLike, left: ArrayLike) -> Values:
    """The chance that none of the matches is among `left` cases drawn from the tied ones: C(t - m, r) / C(t, r)."""
    from scipy.stats import hypergeom

    return np.asarray(hypergeom.pmf(0, tied, matches, left))
