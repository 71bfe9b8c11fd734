"""How far a mean over blocks may be off, by Student's t: few blocks, unequal ones, blocks that are alike to their neighbours.

A block's *pull* is its part of the mean's deviation, ``(sum - mean count) / number``. For blocks of no order the variance of the
mean is the sum of the squared pulls, scaled to be right for means of blocks that vary alike whatever the blocks' sizes, with
Satterthwaite's degrees of freedom (Bell and McCaffrey, Survey Methodology 2002): one less than there are blocks where they
are equal. Blocks in order of time may be alike to their neighbours; then only the slow part of the pulls tells how far the
mean may be off: their coefficients on the first cosines (Lazarus, Lewis, Stock and Watson, Journal of Business & Economic
Statistics 2018), which are as many degrees of freedom. What is lost is some width, what is gained are intervals that cover
though memory reaches from block to block.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]


def members(block: NDArray[np.int64], number: int) -> Values:
    """Which samples each of so many blocks holds, as zeros and ones (blocks, samples): a matrix that sums over blocks.

    >>> members(np.array([0, 1, 1]), 2).tolist()
    [[1.0, 0.0, 0.0], [0.0, 1.0, 1.0]]
    """
    return np.asarray(block == np.arange(number)[:, None], np.float64)


def pulls(total: Values, count: Values) -> tuple[Values, Values]:
    """The mean (...) of blocks with sums and counts (blocks, ...), and what each block adds to its deviation (blocks, ...).

    >>> mean, pull = pulls(np.array([2.0, 4.0]), np.array([1.0, 1.0]))
    >>> float(mean), pull.tolist()
    (3.0, [-0.5, 0.5])
    """
    number = count.sum(0)
    with np.errstate(invalid="ignore"):
        mean = total.sum(0) / number
        return mean, (total - mean * count) / number


def half_width(pull: Values, count: Values, *, level: float, ordered: bool) -> Values:
    """Half the width of the interval of a mean from the pulls (blocks, ...); NaN where there is one block.

    >>> half_width(np.array([-0.5, 0.5]), np.array([1.0, 1.0]), level=0.5, ordered=False).round(9)
    np.float64(1.0)
    """
    from scipy import special

    number = len(pull)
    if number < 2:
        return np.full(pull.shape[1:], np.nan)
    scale, freedom = _scatter(count)
    seen = np.tensordot(cosines(number), pull, 1) if ordered else pull
    kept = len(seen) / (number - 1) if ordered else 1.0
    with np.errstate(invalid="ignore"):
        error = np.sqrt(scale / kept * (seen**2).sum(0))
        return np.asarray(special.stdtrit(np.maximum(freedom * kept, 1), (1 + level) / 2) * error)


def _scatter(count: Values) -> tuple[Values, Values]:
    """Variance of the mean over the sum of the squared pulls, and the latter's degrees of freedom, if blocks vary alike.

    With w the blocks' shares, the sum is a quadratic form of their means with the matrix
    ``diag(w^2) - w^2 w' - w w^2' + (w' w) w w'``, whose trace t and squared norm q give ``w' w / t`` and ``t^2 / q``.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        w = count / count.sum(0)
        two, three, four, five = ((w**k).sum(0) for k in (2, 3, 4, 5))
        trace = two - 2 * three + two**2
        norm = four - 4 * five + 4 * two * four + 2 * three**2 - 4 * two**2 * three + two**4
        alone = w.max(0) > 1 - 1e-9  # one block has all: nothing is known of its scatter
        return np.where(alone, np.nan, two / trace), np.where(alone, np.nan, trace**2 / norm)


def cosines(number: int) -> Values:
    """The first n^(2/3) cosines of length n, of unit norm: (cosines, n).

    Three at six blocks, 16 at 64: few enough to cover with memory of a third of a block, and the more blocks there are, the
    longer the memory that they allow for.
    """
    many = max(k for k in range(1, number) if k**3 <= number**2)
    k, at = np.arange(1, many + 1)[:, None], np.arange(number) + 0.5
    return np.asarray(np.sqrt(2 / number) * np.cos(np.pi * k * at / number))


def neighbours(pull: Values) -> float:
    """Correlation of neighbouring blocks, mean over all entries of the pulls (blocks, ...); NaN where nothing varies.

    That of independent blocks is 0 on average: around their own mean they would have -1/n.
    """
    pull = pull.reshape(len(pull), -1)
    size = (pull**2).sum(0)
    known = np.isfinite(size) & (size > 0)
    if len(pull) < 3 or not known.any():
        return float("nan")
    return float(((pull[1:] * pull[:-1]).sum(0)[known] / size[known]).mean() + 1 / len(pull))


def joint(pull: Values, *, level: float, resamples: int, rng: np.random.Generator) -> float:
    """How many standard errors, in normal terms, all rows of pulls (blocks, rows) stay within *together*.

    The rows' largest deviation, drawn as a normal one with their correlations. Those are estimated from the blocks, and few
    blocks make rows look more alike than they are, so they are shrunk by as much as chance alone makes them.
    """
    from scipy import stats

    single = float(stats.norm.isf((1 - level) / 2))
    unit = pull / np.sqrt((pull**2).sum(0))
    number, rows = unit.shape
    if rows < 2:
        return single
    square = (((unit @ unit.T) ** 2).sum() - rows) / (rows * (rows - 1))  # mean squared correlation of two rows
    chance = 1 / (number - 1)  # of it, where blocks are independent; rows of different blocks have none at all
    kept = np.sqrt(1 - chance / square) if square > chance else 0.0
    drawn = rng.normal(size=(resamples, number)) @ unit * np.sqrt(kept)
    drawn += rng.normal(size=drawn.shape) * np.sqrt(1 - kept)
    return max(single, float(np.quantile(np.abs(drawn).max(1), level)))
