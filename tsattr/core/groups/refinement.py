"""Windows halved where their value is large: a finer look at where it matters."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..arrays import Array
from ..axes import Axes
from ..cf import units_of
from .binding import bind
from .labelled import Labelled
from .masks import Boxes, Parts


def split(
    groups: Any, ds: Any, dim: str = "time", *, threshold: float, least: int = 1, most: int | None = None
) -> Labelled:
    """Windows of each sample's own: those whose value passes a threshold are halved, the others stay.

    For use in a loop that looks closer where it matters, as WindowSHAP's dynamic windows do (Nayebi et al., 2023): explain
    with a few long windows, split, explain with the result, until nothing is split any more (the result equals what went
    in). The windows always tile the dim, so that Shapley values over them sum to f(x) - f(x') in every round.

    Parameters
    ----------
    groups
        What `ds` was made with: ``Windows`` along `dim` alone that do not overlap, or what this function returned.
    ds
        The result of `explain`; its ``group_value`` is read, of several targets the largest by size.
    dim
        The dim along which the windows lie.
    threshold
        A window is halved where ``|group_value| > threshold``, in the units of the target.
    least
        The fewest cells of a window: one of fewer than ``2 * least`` stays whole.
    most
        The most windows of a sample; those with the largest values are halved first.

    Returns
    -------
    Labelled
        Each cell labelled by the first cell of its window, which names it: a window keeps its label while it stays, and its
        first half has it after that.

    Raises
    ------
    KeyError, ValueError
        No ``group_value`` or `dim` in `ds`; groups that overlap, have gaps, or vary along another dim.

    Examples
    --------
    >>> import torch, tsattr as ta
    >>> f, x = lambda x: x[:, 5], torch.ones(1, 8)
    >>> windows = ta.groups.Windows(dim_1=4)
    >>> for _ in range(2):
    ...     ds = ta.explain(f, x, ta.KernelShap(windows))
    ...     windows = ta.groups.split(windows, ds, "dim_1", threshold=0.1)
    >>> windows.labels.values.tolist()
    [[0, 0, 0, 0, 4, 5, 6, 6]]
    """
    if "group_value" not in ds:
        raise KeyError("split reads the variable 'group_value' of a result of explain; ds has none")
    value = ds["group_value"]
    sample = str(ds["status"].dims[0])
    size = abs(value).max("target") if "target" in value.dims else abs(value)
    number = _windows_along(groups, _axes_of(ds, sample), dim)
    number = np.broadcast_to(number, (ds.sizes[sample], number.shape[1]))
    label = np.stack(
        [
            _halved(row, values, threshold, least, most)
            for row, values in zip(number, size.transpose(sample, "group").values)
        ]
    )
    coords = {d: np.asarray(ds[d].values) for d in (sample, dim) if d in ds.coords}
    return Labelled(Array(label, (sample, dim), coords))


def _axes_of(ds: Any, sample: str) -> Axes:
    """The axes of the input that a result explains."""
    if "attribution" not in ds:
        raise KeyError("split works on the result for an input of one variable, with a variable 'attribution'")
    a = ds["attribution"]
    dims = tuple(str(d) for d in a.dims if d not in (sample, "target"))
    coords = {d: a[d].values for d in dims if d in a.coords}
    units = units_of(a)
    own = a[sample].values if sample in a.coords else None
    return Axes(dims, tuple(a.sizes[d] for d in dims), coords, units, sample, a.sizes[sample], own)


def _windows_along(groups: Any, axes: Axes, dim: str) -> np.ndarray:
    """(samples or 1, n): the number of the group of each cell along `dim`; ValueError unless they are windows that tile it."""
    at, bound, fits = axes.axis(dim), bind(groups, axes), False
    if isinstance(bound, Boxes):
        own = bound.along[at]
        number = (np.searchsorted(own.start, np.arange(own.size), side="right") - 1)[None]
        fits = all(a.whole for b, a in enumerate(bound.along) if b != at) and not own.circular
        fits = fits and (own.start[1:] == own.stop[:-1]).all()
    elif isinstance(bound, Parts):
        label = np.moveaxis(bound.label, 1 + at, -1)
        number = label.reshape(len(label), -1, label.shape[-1])[:, 0]
        fits = label.size == number.size and number.shape[1] == axes.shape[at] and bool((number >= 0).all())
        fits = fits and all(len(np.unique(row)) == 1 + (np.diff(row) != 0).sum() for row in number)
    if not fits:
        raise ValueError(
            f"split halves windows along {dim!r} alone that neither overlap nor leave gaps, got {groups!r}"
        )
    return number


def _halved(number: np.ndarray, value: np.ndarray, threshold: float, least: int, most: int | None) -> np.ndarray:
    """For each cell (n,) the first cell of its window, after the windows whose `value` is above the threshold were halved."""
    n = len(number)
    start = np.flatnonzero(np.r_[True, np.diff(number) != 0])
    size = np.diff(np.r_[start, n])
    value = value[number[start]]
    candidates = np.flatnonzero((value > threshold) & (size >= 2 * least))
    largest_first = candidates[np.argsort(-value[candidates], kind="stable")]
    halved = largest_first if most is None else largest_first[: max(0, most - len(start))]
    start = np.sort(np.r_[start, start[halved] + size[halved] // 2])
    return start[np.searchsorted(start, np.arange(n), side="right") - 1]
