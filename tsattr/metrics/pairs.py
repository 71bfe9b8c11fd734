"""Who is better, and can one tell: scores of methods adjusted for the fills they are scored by, and paired bootstrap intervals."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray


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
    table, own = np.asarray(scores, np.float64), left_out(own)
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
    """Means with bootstrap intervals, over resampled blocks of samples."""

    mean: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    apart: NDArray[np.bool_]


def bootstrap(
    values: ArrayLike, blocks: ArrayLike | None = None, *, resamples: int = 2000, level: float = 0.95, seed: int = 0
) -> Interval:
    """Means over samples with intervals from resampling whole blocks (patients, years) with replacement.

    Samples of one block are alike; resampling them one by one would promise too much. All rows see the same resamples,
    so that they stay paired. NaN values are left out.

    Parameters
    ----------
    values : array (..., n)
        The last axis holds the samples.
    blocks : array (n,), optional
        The block of each sample; by default each is its own.
    resamples, level, seed
        Number of resamples, coverage of each percentile interval, seed.

    Returns
    -------
    Interval
        Arrays (...): `mean`; `low`, `high`; and `apart`: True where 0 lies outside an interval that covers all the rows
        *together* with probability `level`: ``mean +- c se``, c the quantile over resamples of the largest
        ``|mean* - mean| / se`` of any row, carried over to the tails of Student's t with a degree of freedom less than there
        are blocks, as se is estimated from them. With fewer than ten blocks it covers somewhat less. With a single block
        the interval is NaN and nothing is apart.

    Examples
    --------
    >>> found = bootstrap([[1.0, 1.1, 0.9, 1.0, 1.2], [0.1, -0.1, 0.2, -0.2, 0.0]])
    >>> found.mean.round(3).tolist(), found.apart.tolist()
    ([1.04, 0.0], [True, False])
    """
    v = np.asarray(values, np.float64)
    rows = v.reshape(-1, v.shape[-1])
    _, block = np.unique(np.arange(v.shape[-1]) if blocks is None else np.asarray(blocks), return_inverse=True)
    if len(block) != v.shape[-1]:
        raise ValueError(f"blocks names {len(block)} samples, the values have {v.shape[-1]}")
    number = int(block.max()) + 1
    member = np.zeros((v.shape[-1], number))
    member[np.arange(len(block)), block] = 1
    total, count = np.nan_to_num(rows) @ member, (~np.isnan(rows)).astype(float) @ member
    weight = np.random.default_rng(seed).multinomial(number, np.full(number, 1 / number), resamples).astype(float)
    with np.errstate(invalid="ignore", divide="ignore"):
        number_known = count.sum(1, keepdims=True)
        mean = total.sum(1, keepdims=True) / number_known
        again = (total @ weight.T) / (count @ weight.T)
        # The standard error of a ratio of sums over blocks.
        error = np.sqrt(((total - mean * count) ** 2).sum(1, keepdims=True)) / number_known
    shape = v.shape[:-1]
    low, high, apart = (np.full(len(rows), fill) for fill in (np.nan, np.nan, 0.0))
    known = np.isfinite(mean[:, 0]) & (number > 1)
    if known.any():
        tail = (1 - level) / 2
        low[known], high[known] = np.nanquantile(again[known], [tail, 1 - tail], axis=1)
        # Equal blocks have no spread to be judged by: what is left of it is rounding.
        spread = known & (error[:, 0] > 1e-12 * np.abs(mean[:, 0]))
        apart[known & ~spread] = mean[known & ~spread, 0] != 0
        if spread.any():
            # A resample may hold no value of a row: it says nothing there.
            reach = np.nan_to_num(np.abs(again[spread] - mean[spread]) / error[spread]).max(0)
            most = _student(float(np.quantile(reach, level)), number - 1)
            apart[spread] = np.abs(mean[spread, 0]) > most * np.sqrt(number / (number - 1)) * error[spread, 0]
    return Interval(mean[:, 0].reshape(shape), low.reshape(shape), high.reshape(shape), apart.reshape(shape) > 0)


def _student(z: float, freedom: int) -> float:
    """The point of Student's t with the tails that z has under the normal."""
    from scipy import stats

    return float(stats.t.isf(stats.norm.sf(z), freedom))
