"""How well a map finds a region that is known to matter.

All functions take `score` and a boolean `truth` of one shape (n, ...): n samples, any number of cell axes. A cell whose
score is NaN is not scored. They return n numbers in float64, NaN where a sample has no scored cell in the truth. Scores
are ranked as they are, larger first: pass ``np.abs(a)`` to ask where a map is large, ``np.maximum(a, 0)`` to ask where
it is positive. Ties share their places, so that a constant map scores at chance and not at the mercy of memory order.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..core.arrays import unmasked


def average_precision(score: ArrayLike, truth: ArrayLike) -> NDArray[np.float64]:
    """Area under the precision-recall curve of the score as a ranking of membership in the truth.

    AP = sum_k (recall_k - recall_{k-1}) precision_k over the distinct scores (scikit-learn's
    `average_precision_score`). Chance: the share of the truth among the scored cells.

    Examples
    --------
    >>> average_precision([[3.0, 2.0, 1.0, 0.0]], [[True, False, True, False]])
    array([0.83333333])
    >>> average_precision(np.zeros((1, 4)), [[True, False, False, False]])
    array([0.25])
    """
    from sklearn.metrics import average_precision_score

    # A sum of rounded steps may pass 1 by a bit.
    return np.minimum(_per_sample(lambda s, t: average_precision_score(t, s), score, truth), 1.0)


def auroc(score: ArrayLike, truth: ArrayLike) -> NDArray[np.float64]:
    """Probability that a cell of the truth is scored above another cell, ties counted by half.

    NaN also where the truth covers every scored cell. Chance: 0.5.

    Examples
    --------
    >>> auroc([[3.0, 2.0, 1.0, 0.0]], [[True, False, True, False]])
    array([0.75])
    """
    from sklearn.metrics import roc_auc_score

    return _per_sample(lambda s, t: np.nan if t.all() else roc_auc_score(t, s), score, truth)


def pointing_game(score: ArrayLike, truth: ArrayLike, *, tolerance: int = 0) -> NDArray[np.float64]:
    """Whether the largest score lies in the truth; of several equal ones, the share that does.

    Chance: the share of the truth (widened by the tolerance) among the scored cells. Zhang et al., IJCV 126, 2018.

    Parameters
    ----------
    score, truth : array (n, ...)
        See the module.
    tolerance : int
        The truth is widened by so many cells both ways along the last axis.

    Examples
    --------
    >>> pointing_game([[0.0, 5.0, 1.0], [2.0, 2.0, 1.0]], [[True, False, False], [True, False, False]])
    array([0. , 0.5])
    >>> pointing_game([[0.0, 5.0, 1.0]], [[True, False, False]], tolerance=1)
    array([1.])
    """
    if tolerance < 0:
        raise ValueError(f"tolerance is a number of cells, 0 or more, not {tolerance}")
    score, truth = _checked(score, truth)
    # Without this a widened truth could reach the scored cells of a sample that has no truth among them.
    empty = ~np.any(truth & ~np.isnan(score), axis=tuple(range(1, truth.ndim)))
    share = _per_sample(lambda s, t: t[s == s.max()].mean(), score, _widened(truth, tolerance))
    return np.where(empty, np.nan, share)


def relevance_mass(score: ArrayLike, truth: ArrayLike) -> NDArray[np.float64]:
    """Share of the total score that lies in the truth (relevance mass accuracy, Arras et al., Information Fusion 81,
    2022).

    Chance: the share of the truth among the scored cells, which is also what an all-zero map scores.

    Raises
    ------
    ValueError
        Where a score is negative: shares of a total need one sign.

    Examples
    --------
    >>> relevance_mass([[3.0, 1.0, 0.0, 0.0]], [[True, False, False, False]])
    array([0.75])
    """
    score, truth = _checked(score, truth)
    if np.any(score < 0):
        raise ValueError(
            f"relevance mass is a share of scores of one sign, but the least is {np.nanmin(score):.4g}; "
            "pass np.abs(score) or np.maximum(score, 0)"
        )
    return _per_sample(lambda s, t: s[t].sum() / s.sum() if s.any() else t.mean(), score, truth)


def relevance_rank(score: ArrayLike, truth: ArrayLike) -> NDArray[np.float64]:
    """Share of the k largest scores that lie in the truth, k the size of the truth (relevance rank accuracy).

    Cells tied at the k-th place share the places that are left. Chance: the share of the truth among the scored cells.

    Examples
    --------
    >>> relevance_rank([[4.0, 3.0, 2.0, 1.0]], [[True, False, True, False]])
    array([0.5])
    """
    return _per_sample(_top_share, score, truth)


def aup(score: ArrayLike, truth: ArrayLike) -> NDArray[np.float64]:
    """Area under precision: the mean over thresholds of the share of the cells above them that lie in the truth.

    ``AUP = Integral_0^1 P(tau) d tau``, P(tau) the precision of ``score >= tau``, with scores scaled by
    ``(s - min) / (max - min)`` within each sample. Crabbé and van der Schaar, ICML 2021 (Dynamask). Unlike the measures by
    rank it depends on how the scores are spread. Chance: the share of the truth among the scored cells, whatever the
    spread; a constant map, which picks out nothing, scores just that.

    Notes
    -----
    P is a step function and is integrated as one, so that the truth as a map scores 1. The authors' code joins the steps'
    ends by straight lines (scikit-learn's ``auc(thresholds, precision[:-1])``): it differs by at most half the sum over
    neighbouring scores of their distance times their difference in precision, little where scores are many and evenly
    spread, much where they are few (the truth as a map gets (1 + share) / 2) or where one lies far above the others.

    Examples
    --------
    >>> aup([[4.0, 3.0, 0.0, 0.0]], [[True, False, True, False]])  # P = 1/2 up to tau = 3/4, then 1
    array([0.625])
    """
    return _per_sample(_mean_precision, score, truth)


def aur(score: ArrayLike, truth: ArrayLike) -> NDArray[np.float64]:
    """Area under recall: the mean over thresholds of the share of the truth that lies above them.

    ``AUR = Integral_0^1 R(tau) d tau`` with scores scaled as in `aup`, which is the mean scaled score in the truth.
    Crabbé and van der Schaar, ICML 2021. Chance is the mean scaled score of *all* cells, so it is the map's own: a map
    that is high everywhere has a high AUR and knows nothing. A constant map picks out nothing: 0, by chance too.

    Examples
    --------
    >>> aur([[4.0, 3.0, 0.0, 0.0]], [[True, False, True, False]])
    array([0.5])
    >>> chance(aur, [[4.0, 3.0, 0.0, 0.0]], [[True, False, True, False]])
    array([0.4375])
    """
    return _per_sample(lambda s, t: _scaled(s)[t].mean(), score, truth)


def mean_rank(score: ArrayLike, truth: ArrayLike) -> NDArray[np.float64]:
    """Mean place of the truth's cells among the scored ones, from 0 for the lowest to 1 for the highest: higher is better.

    The mean over the truth of ``(r - 1/2) / n``, r the rank from below with average ties, n the number of scored cells.
    Chance: 0.5. With a share p of truth it lies between p / 2 and 1 - p / 2 and equals ``p / 2 + (1 - p) auroc``. (WinIT,
    Leung et al., ICLR 2023, reports r counted from above, not divided by n, lower better.)

    Examples
    --------
    >>> mean_rank([[4.0, 3.0, 0.0, 0.0]], [[True, False, True, False]])
    array([0.5625])
    """
    from scipy.stats import rankdata

    return _per_sample(lambda s, t: (rankdata(s)[t].mean() - 0.5) / len(s), score, truth)


def top1(group_scores: ArrayLike, group_truth: ArrayLike) -> NDArray[np.float64]:
    """Whether the group (lead, wave, window) with the largest score is one that matters; ties count by share.

    Parameters
    ----------
    group_scores, group_truth : array (n, groups)
        Sums over groups, and True for each group that matters. NaN groups are not scored.

    Examples
    --------
    >>> top1([[0.1, 0.7, 0.2]], [[False, True, False]])
    array([1.])
    """
    return pointing_game(group_scores, group_truth)


def chance(
    metric: Callable[..., NDArray[np.float64]], score: ArrayLike, truth: ArrayLike, **kwargs: Any
) -> NDArray[np.float64]:
    """Score of a map that knows nothing: the metric of a constant on the same scored cells.

    It is the share of the truth among the scored cells, and 0.5 for `auroc` and `mean_rank`; to be printed beside every
    score. (The mean average precision of a *random order* lies a little above the share where cells are few.) For `aur`,
    which depends on how scores are spread, it is the mean over all orders of the map's own scores.

    Parameters
    ----------
    metric : callable
        A function of this module, ``metric(score, truth, **kwargs) -> array (n,)``.
    score, truth : array (n, ...)
        See the module; of the score only its NaN cells are used, except for `aur`.

    Examples
    --------
    >>> chance(average_precision, [[0.1, 0.9, 0.3, np.nan]], [[True, False, False, False]])
    array([0.33333333])
    """
    score, truth = _checked(score, truth)
    if metric is aur:
        return _per_sample(lambda s, t: _scaled(s).mean(), score, truth)
    return metric(np.where(np.isnan(score), np.nan, 1.0), truth, **kwargs)


def against_truth(score: ArrayLike, truth: ArrayLike, *, tolerance: int = 0) -> dict[str, NDArray[np.float64]]:
    """Every measure of cells at once, each followed by its chance level ``<name>_chance``; higher is better in all.

    Parameters
    ----------
    score, truth : array (n, ...)
        See the module. Of scores with both signs, the relevance mass is that of the positive part.
    tolerance : int
        For `pointing_game`.

    Returns
    -------
    dict
        Arrays (n,) of average_precision, auroc, aup, aur, mean_rank, pointing_game, relevance_mass, relevance_rank.

    Examples
    --------
    >>> found = against_truth([[3.0, 1.0, 0.0, 0.0]], [[True, False, False, False]])
    >>> found["relevance_mass"].item(), found["relevance_mass_chance"].item()
    (0.75, 0.25)
    """
    plain = (average_precision, auroc, aup, aur, mean_rank, relevance_mass, relevance_rank)
    found: dict[str, NDArray[np.float64]] = {}
    for metric, kwargs in [*((m, {}) for m in plain), (pointing_game, {"tolerance": tolerance})]:
        values = np.maximum(score, 0) if metric is relevance_mass else score
        found[metric.__name__] = metric(values, truth, **kwargs)
        found[f"{metric.__name__}_chance"] = chance(metric, values, truth, **kwargs)
    return found


def _per_sample(
    measure: Callable[[NDArray[np.float64], NDArray[np.bool_]], Any], score: ArrayLike, truth: ArrayLike
) -> NDArray[np.float64]:
    """Apply `measure` to the scored cells of every sample that has truth among them."""
    score, truth = _checked(score, truth)
    result = np.full(len(score), np.nan)
    for i, (scored, cells, inside) in enumerate(zip(~np.isnan(score), score, truth)):
        if inside[scored].any():
            result[i] = measure(cells[scored], inside[scored])
    return result


def _checked(score: ArrayLike, truth: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    score, truth = unmasked(score, np.float64), unmasked(truth)
    if score.shape != truth.shape or score.ndim < 2:
        raise ValueError(
            f"score and truth have one shape (samples, cells...), not {score.shape} and {truth.shape}; "
            "for one sample use score[None]"
        )
    if truth.dtype != bool:
        raise TypeError(f"truth is boolean, not {truth.dtype}; compare first, such as `truth > 0`")
    if np.isinf(score).any():
        raise ValueError(f"scores are finite, or NaN where not scored; {int(np.isinf(score).sum())} are infinite")
    return score, truth


def _widened(truth: NDArray[np.bool_], cells: int) -> NDArray[np.bool_]:
    if cells == 0:
        return truth
    from scipy.ndimage import maximum_filter1d

    return np.asarray(maximum_filter1d(truth.astype(np.uint8), 2 * cells + 1, axis=-1, mode="constant"), bool)


def _top_share(score: NDArray[np.float64], truth: NDArray[np.bool_]) -> float:
    k = int(truth.sum())
    last = np.partition(score, -k)[-k]
    above, tied = score > last, score == last
    return float((truth[above].sum() + (k - above.sum()) * truth[tied].mean()) / k)


def _scaled(score: NDArray[np.float64]) -> NDArray[np.float64]:
    """Scores on [0, 1]; all 0 where they are equal."""
    span = np.ptp(score)
    return (score - score.min()) / span if span > 0 else np.zeros_like(score)


def _mean_precision(score: NDArray[np.float64], truth: NDArray[np.bool_]) -> float:
    level, at = np.unique(_scaled(score), return_inverse=True)
    if len(level) == 1:
        return float(truth.mean())
    above, hits = (np.bincount(at, weights)[::-1].cumsum()[::-1] for weights in (None, truth))
    return float((np.diff(level) * (hits / above)[1:]).sum())
