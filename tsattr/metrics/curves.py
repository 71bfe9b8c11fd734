"""Measures of a curve of target values against the share of the input that has been taken away.

All take curves of shape (..., shares) and the shares, from 0 to 1, and work along the last axis.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..core.arrays import unmasked


def area(curve: ArrayLike, share: ArrayLike) -> NDArray[np.float64]:
    """Area under a curve by the trapezoidal rule, ``Integral_0^1 f(q) dq``.

    Of a deletion curve (the most important share q taken away) lower is better, of an insertion curve (all but the most
    important share taken away) higher. Petsiuk, Das and Saenko, BMVC 2018.

    Examples
    --------
    >>> float(area([1.0, 0.5, 0.0], [0.0, 0.5, 1.0]))
    0.5
    """
    f, q = _checked(curve, share)
    return np.asarray(((f[..., 1:] + f[..., :-1]) / 2 * np.diff(q)).sum(-1))


def drop(curve: ArrayLike, share: ArrayLike, at: float = 0.2) -> NDArray[np.float64]:
    """What the target has lost at a share: ``f(0) - f(at)`` of a deletion curve.

    That is comprehensiveness, where the most important share has been taken away; of a curve along which everything
    else goes first, ``drop(curve, share, 1 - at)`` is sufficiency. DeYoung et al., ACL 2020. Between shares the curve is
    a straight line.

    Examples
    --------
    >>> float(drop([1.0, 0.5, 0.0], [0.0, 0.5, 1.0], at=0.25))
    0.25
    """
    f, q = _checked(curve, share)
    if not 0 <= at <= 1:
        raise ValueError(f"the share at which a drop is read is between 0 and 1, got {at}")
    right = int(np.searchsorted(q, at).clip(1))
    weight = (at - q[right - 1]) / (q[right] - q[right - 1])
    return np.asarray(f[..., 0] - ((1 - weight) * f[..., right - 1] + weight * f[..., right]))


def cumulative_change(curve: ArrayLike, share: ArrayLike) -> NDArray[np.float64]:
    """Area under the sum of the sizes of the steps: ``Integral_0^1 sum_{steps up to q} |f_k - f_{k-1}| dq``.

    Parts that push the target up and parts that push it down do not cancel. With the most important first, higher is
    better (cumulative prediction difference); with the least important first, lower is better (cumulative prediction
    preservation). After Jang et al. (TIMING), ICML 2025.

    Examples
    --------
    >>> float(cumulative_change([0.0, 1.0, 0.0], [0.0, 0.5, 1.0]))
    1.0
    """
    f, q = _checked(curve, share)
    total = np.concatenate([np.zeros_like(f[..., :1]), np.abs(np.diff(f)).cumsum(-1)], -1)
    return area(total, q)


def sensitivity_n(credit: ArrayLike, change: ArrayLike) -> NDArray[np.float64]:
    """Correlation between the credit of random subsets and what the target loses without them.

    Pearson's r over subsets of one size (the last axis) between ``sum_{i in S} a_i`` and ``f(x) - f(x without S)``, NaN
    where either does not vary. 1 for an additive model and its true attribution; chance 0. Ancona et al., ICLR 2018.

    Examples
    --------
    >>> sensitivity_n([1.0, 2.0, 3.0], [2.0, 4.0, 6.0]).round(9).tolist()
    1.0
    """
    a, b = (unmasked(v, np.float64) for v in (credit, change))
    a, b = (v - v.mean(-1, keepdims=True) for v in (a, b))
    size = np.sqrt((a**2).sum(-1) * (b**2).sum(-1))
    # What is left of equal numbers is rounding.
    tiny = 1e-12 * np.sqrt((np.square(credit).sum(-1)) * (np.square(change).sum(-1)))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.where(size > tiny, (a * b).sum(-1) / size, np.nan))


def infidelity(credit: ArrayLike, change: ArrayLike, *, scaled: bool = True) -> NDArray[np.float64]:
    """Mean squared difference between credit and change, over the mean square of the change.

    ``E_S[(c sum_{i in S} a_i - (f(x) - f(x without S)))^2] / E_S[(f(x) - f(x without S))^2]`` over random subsets (the last
    axis). 0 is perfect; 1 is what a map of zeros has. Yeh et al., NeurIPS 2019, with binary removals, as the credit is of
    global attributions (in the units of the target).

    Parameters
    ----------
    scaled
        Give the map the one factor c that suits it best, so that methods whose values are no shares of the target
        (occlusion, saliency) can be compared; then it is never above 1. False: c = 1.

    Examples
    --------
    >>> infidelity([1.0, 2.0], [1.0, 2.0]).tolist(), infidelity([0.0, 0.0], [1.0, 2.0]).tolist()
    (0.0, 1.0)
    >>> infidelity([2.0, 4.0], [1.0, 2.0]).tolist(), infidelity([2.0, 4.0], [1.0, 2.0], scaled=False).tolist()
    (0.0, 1.0)
    """
    a, b = (unmasked(v, np.float64) for v in (credit, change))
    with np.errstate(invalid="ignore", divide="ignore"):
        c = np.asarray(np.nan_to_num((a * b).mean(-1) / (a**2).mean(-1)) if scaled else 1.0)
        return np.asarray(((c[..., None] * a - b) ** 2).mean(-1) / (b**2).mean(-1))


def _checked(curve: ArrayLike, share: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    f, q = unmasked(curve, np.float64), unmasked(share, np.float64)
    if q.ndim != 1 or len(q) < 2 or f.shape[-1:] != q.shape:
        raise ValueError(
            f"a curve has its shares along the last axis, at least two; got {f.shape} and shares {q.shape}"
        )
    if q[0] != 0 or q[-1] != 1 or not (np.diff(q) > 0).all():
        raise ValueError(f"shares rise from 0 to 1, got {q.tolist()}")
    return f, q
