"""How far maps agree: plain functions of two arrays (n, cells...) -> (n,), and all pairs of several maps at once.

A cell that is NaN in either map is left out. Where fewer than two cells are left, or a map is the same number in all of
them, there is nothing to compare: NaN.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from ..core.arrays import unmasked

Measure = Callable[[NDArray[np.float64], NDArray[np.float64]], float]


def spearman(a: ArrayLike, b: ArrayLike, *, signed: bool = True) -> NDArray[np.float64]:
    """Spearman's rank correlation of two maps over the cells of each sample, ties by average ranks.

    Chance: 0. Of maps that are smooth it strays from 0 far more than the number of cells suggests; `smooth_random` tells
    how far.

    Parameters
    ----------
    a, b : array (n, ...)
        Maps of one shape: n samples, any number of cell axes.
    signed : bool
        False to rank sizes, ``|a|`` and ``|b|``.

    Examples
    --------
    >>> spearman([[1.0, 2.0, -3.0]], [[2.0, 4.0, -9.0]])
    array([1.])
    >>> spearman([[1.0, 2.0, -3.0]], [[2.0, 4.0, -9.0]], signed=False)
    array([1.])
    """
    a, b = (v.reshape(len(v), math.prod(v.shape[1:])) for v in _checked(a, b))
    a, b = (a, b) if signed else (np.abs(a), np.abs(b))
    known = ~(np.isnan(a) | np.isnan(b))
    u, v = (_deviating_ranks(np.where(known, values, np.nan)) for values in (a, b))
    size = np.sqrt((u**2).sum(1) * (v**2).sum(1))
    return np.asarray(np.clip(np.divide((u * v).sum(1), size, out=np.full(len(a), np.nan), where=size > 0), -1, 1))


def mean_spearman(maps: ArrayLike) -> NDArray[np.float64]:
    """The mean of `spearman` over all pairs of several maps of each sample: (maps, n, ..., cells) -> (n, ...).

    Each map is ranked once where all lack the same cells; else the pairs are taken one by one.

    Examples
    --------
    >>> mean_spearman([[[1.0, 2.0, 3.0]], [[2.0, 4.0, 9.0]], [[3.0, 2.0, 1.0]]]).round(9).tolist()
    [-0.333333333]
    """
    values = unmasked(maps, np.float64)
    known, deviation = ~np.isnan(values), _deviating_ranks(values)
    size = np.sqrt((deviation**2).sum(-1, keepdims=True))
    unit = np.divide(deviation, size, out=np.full_like(deviation, np.nan), where=size > 0)
    # The square of a sum of unit vectors holds each pair twice and each vector once.
    k = len(unit)
    mean = np.clip(((unit.sum(0) ** 2).sum(-1) - k) / (k * (k - 1)), -1, 1)
    for at in zip(*np.nonzero((known != known[:1]).any((0, -1)))):
        mean[at] = np.mean([spearman(a[None], b[None]) for a, b in itertools.combinations(values[:, *at], 2)])
    return np.asarray(mean)


def top_iou(a: ArrayLike, b: ArrayLike, *, share: float = 0.1) -> NDArray[np.float64]:
    """Overlap of the largest cells of two maps by size: cells in both tops over cells in either (Jaccard index).

    A top holds ``k = max(1, round(share * cells))`` cells. Cells tied at its edge belong to it in equal parts w, and
    ``sum_i min(w_i, v_i) / sum_i max(w_i, v_i)`` takes parts into account: a map agrees with itself to 1 however many
    ties it has. Chance: about ``share / (2 - share)``, a little more where cells are few.

    Parameters
    ----------
    a, b : array (n, ...)
        See `spearman`.
    share : float
        Share of the cells in a top, above 0, at most 1.

    Examples
    --------
    >>> top_iou([[9.0, -8.0, 1.0, 2.0]], [[7.0, 1.0, -8.0, 2.0]], share=0.5)
    array([0.33333333])
    """
    _check_share(share)

    def overlap(u: NDArray[np.float64], v: NDArray[np.float64]) -> float:
        tops = _top(u, share), _top(v, share)
        return float(np.minimum(*tops).sum() / np.maximum(*tops).sum())

    return _per_sample(overlap, *np.abs(_checked(a, b)))


def sign_agreement(a: ArrayLike, b: ArrayLike, *, share: float = 0.1) -> NDArray[np.float64]:
    """Share of the cells that are large in either map in which both have one sign.

    Large are the tops of `top_iou`, cells tied at an edge counted in part. A zero is of neither sign and counts by half.
    Chance: 0.5 where one of the maps is as often positive as negative; of maps without negative values it is 1 and says
    nothing.

    Parameters
    ----------
    a, b, share
        See `top_iou`.

    Examples
    --------
    >>> sign_agreement([[9.0, -8.0, 1.0, 2.0]], [[7.0, 1.0, -8.0, 2.0]], share=0.5)
    array([0.33333333])
    """
    _check_share(share)

    def agreeing(u: NDArray[np.float64], v: NDArray[np.float64]) -> float:
        large = np.maximum(_top(u, share), _top(v, share))
        return float((large * (1 + np.sign(u) * np.sign(v)) / 2).sum() / large.sum())

    return _per_sample(agreeing, *_checked(a, b))


def agreement(
    maps: Mapping[Any, Any] | xr.DataArray, dim: str = "method", *, sample_dim: str = "sample", share: float = 0.1
) -> xr.Dataset:
    """Compare every pair of several maps of the same samples.

    Parameters
    ----------
    maps : mapping or DataArray
        ``{name: map}`` of arrays (n, ...) or of DataArrays with `sample_dim` and the same labels; or one DataArray with
        maps along `dim`. All other dims are cells.
    dim : str
        The dim along which a DataArray holds maps; of no use with a mapping.
    sample_dim : str
        The dim of samples, of DataArrays.
    share : float
        See `top_iou`.

    Returns
    -------
    Dataset
        ``spearman``, ``spearman_absolute``, ``top_iou`` and ``sign_agreement`` with dims member, member_other and
        sample; `attrs["chance"]` of each is its chance level.

    Raises
    ------
    KeyError
        If a DataArray lacks `dim` or `sample_dim`.
    ValueError
        If there are fewer than two maps, or shapes or labels differ.

    Examples
    --------
    >>> found = agreement({"one": [[1.0, 2.0, -3.0]], "other": [[-1.0, -2.0, 3.0]]}, share=0.5)
    >>> found.spearman.sel(member="one", member_other="other").item(), found.top_iou.values[0, 1].tolist()
    (-1.0, [1.0])
    """
    named, labels = _members(maps, dim, sample_dim)
    arrays = list(named.values())
    ds = xr.Dataset(coords={"member": list(named), "member_other": list(named), **labels})
    for name, (measure, chance) in similarities(share).items():
        matrix = np.full((len(arrays), len(arrays), len(arrays[0])), np.nan)
        for i, j in itertools.combinations_with_replacement(range(len(arrays)), 2):
            matrix[i, j] = matrix[j, i] = measure(arrays[i], arrays[j])
        ds[name] = ("member", "member_other", sample_dim), matrix, {"chance": chance}
    return ds


def similarities(share: float = 0.1) -> dict[str, tuple[Callable[..., NDArray[np.float64]], float]]:
    """Every measure of agreement, ``measure(a, b) -> array (n,)``, with its chance level, by name."""
    _check_share(share)
    return {
        "spearman": (spearman, 0.0),
        "spearman_absolute": (lambda a, b: spearman(a, b, signed=False), 0.0),
        "top_iou": (lambda a, b: top_iou(a, b, share=share), share / (2 - share)),
        "sign_agreement": (lambda a, b: sign_agreement(a, b, share=share), 0.5),
    }


def _members(
    maps: Mapping[Any, Any] | xr.DataArray, dim: str, sample_dim: str
) -> tuple[dict[Any, NDArray[np.float64]], dict[str, Any]]:
    """Arrays (n, ...) by name, and the samples' coordinate where there is one."""
    if isinstance(maps, xr.DataArray):
        if dim not in maps.dims:
            raise KeyError(f"the maps have no dim {dim!r} to compare along; their dims are {maps.dims}")
        names = maps[dim].values.tolist()
        maps = {name: maps.isel({dim: i}, drop=True) for i, name in enumerate(names)}
    if len(maps) < 2:
        raise ValueError(f"agreement is of two maps at least, got {list(maps)}")
    labelled = [m for m in maps.values() if isinstance(m, xr.DataArray)]
    if labelled and len(labelled) < len(maps):
        raise TypeError("maps are all DataArrays or all plain arrays, so that their cells are known to be the same")
    labels = {}
    if labelled:
        for m in labelled:
            if sample_dim not in m.dims:
                raise KeyError(
                    f"a map has no dim {sample_dim!r}, its dims are {m.dims}; give sample_dim=..., or for one sample "
                    f"map.expand_dims({sample_dim!r})"
                )
        try:
            labelled = list(xr.align(*labelled, join="exact", copy=False))
        except ValueError as error:
            raise ValueError("the maps' coordinates differ; select the same samples and cells first") from error
        order = [sample_dim, *(d for d in labelled[0].dims if d != sample_dim)]
        labels = {sample_dim: labelled[0][sample_dim]} if sample_dim in labelled[0].coords else {}
        maps = dict(zip(maps, (m.transpose(*order).values for m in labelled)))
    return {name: unmasked(m, np.float64) for name, m in maps.items()}, labels


def _per_sample(measure: Measure, a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    result = np.full(len(a), np.nan)
    for i, known in enumerate(~(np.isnan(a) | np.isnan(b))):
        u, v = a[i][known], b[i][known]
        if len(u) > 1 and np.ptp(u) > 0 and np.ptp(v) > 0:
            result[i] = measure(u, v)
    return result


def _deviating_ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Ranks along the last axis less their mean, ties by average ranks; 0 where a cell is NaN."""
    from scipy.stats import rankdata

    ranks = rankdata(values, axis=-1, nan_policy="omit")
    known = np.isfinite(ranks).sum(-1, keepdims=True)
    return np.asarray(np.nan_to_num(ranks - np.nansum(ranks, -1, keepdims=True) / np.maximum(known, 1)))


def _top(values: NDArray[np.float64], share: float) -> NDArray[np.float64]:
    """How far each cell belongs to the largest ones by size: 1, 0, or a part where it is tied at the edge."""
    size, k = np.abs(values), max(1, round(share * values.size))
    edge = np.partition(size, -k)[-k]
    above, tied = size > edge, size == edge
    return np.asarray(np.where(tied, (k - above.sum()) / tied.sum(), above))


def _checked(a: ArrayLike, b: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    a, b = unmasked(a, np.float64), unmasked(b, np.float64)
    if a.shape != b.shape or a.ndim < 2:
        raise ValueError(
            f"two maps have one shape (samples, cells...), not {a.shape} and {b.shape}; for one sample use a[None]"
        )
    if np.isinf(a).any() or np.isinf(b).any():
        raise ValueError(
            f"maps are finite, or NaN where not known; {int(np.isinf(a).sum() + np.isinf(b).sum())} cells are infinite"
        )
    return a, b


def _check_share(share: float) -> None:
    if not 0 < share <= 1:
        raise ValueError(f"share is a share of the cells, above 0 and at most 1, got {share!r}")
