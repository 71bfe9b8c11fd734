"""Scores of methods adjusted for the fills they are scored by, and intervals of paired differences."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..core.arrays import unmasked
from .intervals import Values, half_width, joint, members, pulls


def adjusted(scores: ArrayLike, own: ArrayLike) -> NDArray[np.float64]:
    """Scores of methods over fills as if each had been scored by every fill, its own kind left out.

    A baseline must not win its own test, so the cells of a table method x fill in which the fill is of the kind of the
    method's baseline are left out. What is left is fitted by ``score = method + fill`` (least squares, a two-way layout
    with cells missing), and the method's part is returned, at the mean of the fills: where nothing is left out, its mean
    over fills. Fills differ in how much they take away, so a plain mean of the rest would favour whoever is excused from
    the hardest.

    Parameters
    ----------
    scores : array (methods, fills, ...)
        NaN propagates to the method.
    own : bool array (methods, fills)
        What to leave out; nothing where methods and fills could then not be told apart (a method without a fill, or
        methods that share none): see :func:`left_out`.

    Returns
    -------
    array (methods, ...)

    Examples
    --------
    The second fill scores 2 higher, as the second method tells:

    >>> adjusted([[1.0, 9.0], [2.0, 4.0]], [[False, True], [False, False]]).round(9).tolist()
    [2.0, 3.0]
    """
    table, own = unmasked(scores, np.float64), left_out(own)
    methods = len(own)
    m, f = np.nonzero(~own)
    solve = np.linalg.pinv(_design(own))[:methods, :-1]
    values = table[m, f].reshape(len(m), -1)
    found = solve @ np.nan_to_num(values)
    lost = np.stack([np.isnan(values[m == k]).any(0) for k in range(methods)])
    found[lost] = np.nan
    # Another method's missing scores bear on the fills' part: such samples are lost to all.
    found[:, lost.any(0)] = np.nan
    return np.asarray(found.reshape(methods, *table.shape[2:]))


def left_out(own: ArrayLike) -> NDArray[np.bool_]:
    """Which cells (methods, fills) are left out of the scores: `own`, or none where methods could not be compared then.

    >>> left_out([[False, True], [True, False]]).any()  # the two methods share no fill
    np.False_
    """
    own = np.asarray(own, bool)
    return own if np.linalg.matrix_rank(_design(own)) == sum(own.shape) else np.zeros_like(own)


def _design(own: NDArray[np.bool_]) -> NDArray[np.float64]:
    """A row for each cell that counts: which method, which fill; and one that makes the fills' parts sum to 0."""
    methods, fills = own.shape
    m, f = np.nonzero(~own)
    design = np.zeros((len(m) + 1, methods + fills))
    design[np.arange(len(m)), m] = 1
    design[np.arange(len(m)), methods + f] = 1
    design[-1, methods:] = 1
    return design


@dataclass(frozen=True)
class Interval:
    """Means with intervals, over blocks of samples."""

    mean: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    apart: NDArray[np.bool_]


def bootstrap(
    values: ArrayLike, blocks: ArrayLike | None = None, *, resamples: int = 2000, level: float = 0.95, seed: int = 0
) -> Interval:
    """Means over samples with intervals from the scatter of whole blocks (patients, years).

    Samples of one block are alike; taken one by one they would promise too much. An interval is of Student's t with a degree
    of freedom less than there are blocks, fewer where they are unequal; so it covers as it says from two blocks on, where
    blocks are independent and their means near normal. NaN values are left out.

    Parameters
    ----------
    values : array (..., n)
        The last axis holds the samples.
    blocks : array (n,), optional
        The block of each sample; by default each is its own.
    level
        Coverage of each interval.
    resamples, seed
        Number of draws for what holds of all rows together, and their seed.

    Returns
    -------
    Interval
        Arrays (...): `mean`; `low`, `high`; and `apart`: True where 0 lies outside an interval that covers all the rows
        *together* with probability `level`: ``mean +- c se``, c the quantile of the largest of all rows' deviations, drawn as
        normal ones with the rows' correlations (the wild bootstrap) and carried over to the tails of Student's t. With a
        single block the interval is NaN and nothing is apart.

    Examples
    --------
    >>> found = bootstrap([[1.0, 1.1, 0.9, 1.0, 1.2], [0.1, -0.1, 0.2, -0.2, 0.0]])
    >>> found.mean.round(3).tolist(), found.low.round(3).tolist(), found.apart.tolist()
    ([1.04, 0.0], [0.898, -0.196], [True, False])
    """
    mean, half, pull, count = _means(values, blocks, level)
    # Equal blocks have no spread to be judged by: what is left of it is rounding.
    spread = half > 1e-12 * np.abs(mean)
    apart = (half <= 1e-12 * np.abs(mean)) & (mean != 0)
    if spread.any():
        z = joint(pull[:, spread], level=level, resamples=resamples, rng=np.random.default_rng(seed))
        together = half_width(pull, count, level=1 - 2 * _tail(z), ordered=False)
        apart |= spread & (np.abs(mean) > together)
    shape = np.shape(values)[:-1]
    return Interval(
        mean.reshape(shape), (mean - half).reshape(shape), (mean + half).reshape(shape), apart.reshape(shape)
    )


def intervals(
    values: ArrayLike, blocks: ArrayLike | None = None, *, level: float = 0.95
) -> tuple[Values, Values, Values]:
    """Means over samples of values (..., n), and the ends of their intervals: those of :func:`bootstrap`, without its draws."""
    mean, half, *_ = _means(values, blocks, level)
    shape = np.shape(values)[:-1]
    return mean.reshape(shape), (mean - half).reshape(shape), (mean + half).reshape(shape)


def _means(values: ArrayLike, blocks: ArrayLike | None, level: float) -> tuple[Values, Values, Values, Values]:
    """Of each row of values (..., n) the mean, half its interval's width, and by block pull and count (blocks, rows)."""
    v = unmasked(values, np.float64)
    rows = v.reshape(-1, v.shape[-1])
    _, block = np.unique(np.arange(v.shape[-1]) if blocks is None else np.asarray(blocks), return_inverse=True)
    if len(block) != v.shape[-1]:
        raise ValueError(f"blocks names {len(block)} samples, the values have {v.shape[-1]}")
    member = members(block, int(block.max()) + 1)
    count = member @ (~np.isnan(rows)).astype(float).T
    mean, pull = pulls(member @ np.nan_to_num(rows).T, count)
    return mean, half_width(pull, count, level=level, ordered=False), pull, count


def _tail(z: float) -> float:
    """The chance of a normal deviation above z."""
    return 0.5 * math.erfc(z / math.sqrt(2))
