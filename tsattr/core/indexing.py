"""Labels of a dim: which are dates, which are duplicates, and the positions of some among others."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import numpy as np


def is_dates(labels: np.ndarray) -> bool:
    """True where labels are dates: of NumPy, of another calendar (cftime), or of a time zone."""
    if labels.dtype != object or not labels.size:
        return labels.dtype.kind == "M"
    return hasattr(labels.flat[0], "calendar") or isinstance(labels.flat[0], datetime)


def same_labels(a: np.ndarray, b: np.ndarray) -> bool:
    """True for equal labels in the same order; numbers within rounding."""
    if a.shape != b.shape:
        return False
    if a.dtype.kind in "fiu" and b.dtype.kind in "fiu":
        return bool(np.allclose(a, b, rtol=1e-6, atol=1e-9))
    return bool(a.tolist() == b.tolist())


def repeated(labels: np.ndarray) -> Any:
    """The first label that occurs a second time; None where all are distinct."""
    seen = set()
    for label in labels.tolist() if labels.dtype.kind in "OUTSb" else _duplicates(labels):
        if label in seen:
            return label
        seen.add(label)
    return None


def _duplicates(labels: np.ndarray) -> list[Any]:
    """The numbers or dates that occur more than once, with their repetitions; dates as text."""
    _, number, count = np.unique(labels, return_inverse=True, return_counts=True, equal_nan=False)
    some = labels[count[number.reshape(-1)] > 1]
    return list(map(str, some)) if labels.dtype.kind in "Mm" else some.tolist()


def positions_of(
    labels: np.ndarray,
    among: np.ndarray,
    what: str,
    dim: str,
    *,
    period: float | None = None,
    whose: str = "the input's",
) -> np.ndarray:
    """The position of each of the labels among those of another array; numbers match within rounding, modulo a period.

    ValueError where some among no match: `what` lacks labels that are `whose`. Equal labels in equal order are matched one by
    one; else duplicates are refused, as nothing says which of them is meant.
    """
    if same_labels(among, labels):
        return np.arange(len(labels))
    for found, owner in ((among, f"{what} has"), (labels, f"{what} is matched to {whose} labels, which have")):
        if (twice := repeated(found)) is not None:
            raise ValueError(
                f"{owner} {twice!r} twice along dim {dim!r}: nothing says which is meant; give both in the same order, or "
                "every entry a label of its own"
            )
    if period is not None or labels.dtype.kind == "f":
        numbers, aims = among.astype(float), labels.astype(float)
        if period is not None:
            aims = aims % period
            numbers = (numbers % period + [[-period], [0.0], [period]]).ravel()
        order = numbers.argsort()
        right = np.searchsorted(numbers[order], aims).clip(max=len(numbers) - 1)
        sides = order[np.stack([(right - 1).clip(min=0), right])]
        at = np.take_along_axis(sides, np.abs(numbers[sides] - aims).argmin(0)[None], 0)[0]
        lost = ~np.isclose(numbers[at], aims, rtol=1e-6, atol=1e-9 if period is None else 1e-6 * period)
        at = at % len(among)
    else:
        where = {v: i for i, v in enumerate(among.tolist())}
        lost = np.array([v not in where for v in labels.tolist()], dtype=bool)
        at = np.array([where.get(v, 0) for v in labels.tolist()])
    if lost.any():
        missing = labels[lost][:5].tolist()
        raise ValueError(f"{what} lacks {int(lost.sum())} of {whose} labels along dim {dim!r}, such as {missing}")
    positions: np.ndarray = at
    return positions
