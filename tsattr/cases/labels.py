"""Labels of cases and queries: which are the same, which come first, what stands for a missing one, which names are taken."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

_TAKEN = {
    *("case", "embedding", "embedding_number", "side", "side_number", "uncertainty", "input", "valid"),
    *("neighbour", "distance", "position", "status"),
}
_PREFIXES = ("case_", "input_", "valid_", "context_")


def check_names(names: Iterable[Any]) -> None:
    """ValueError for a dim or coordinate of x that is called as something in a gallery, or in what it finds."""
    for name in map(str, names):
        if name in _TAKEN or name.startswith(_PREFIXES):
            raise ValueError(
                f"x has a dim or coordinate {name!r}, which is the name of something in a gallery; rename it: "
                f"x.rename({{{name!r}: ...}})"
            )


def comparable(labels: np.ndarray) -> list[Any]:
    """Labels such that equal ones are equal, whatever the units of dates; those of several levels as text.

    >>> comparable(np.array(["2001-01-01"], "M8[D]")) == comparable(np.array(["2001-01-01"], "M8[s]"))
    True
    """
    if labels.dtype.kind in "mM":
        return list(labels.astype(f"{labels.dtype.kind}8[ns]").astype(np.int64).tolist())
    return [str(v) if isinstance(v, tuple) else v for v in labels.tolist()]


def writable(labels: np.ndarray) -> np.ndarray:
    """Labels that any file takes: text with "" where it is missing, those of several levels as text; others as they are.

    >>> writable(np.array(["a", None], object)).tolist()
    ['a', '']
    """
    values = comparable(labels) if labels.dtype == object else []
    if values and all(isinstance(v, str) or pd.isna(v) for v in values):
        return np.array([v if isinstance(v, str) else "" for v in values])
    return labels


def matched(cases: np.ndarray, queries: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Whole numbers that are equal where labels are; -1 for a label that is missing, as "" is.

    >>> [numbers.tolist() for numbers in matched(np.array(["a", "b", ""]), np.array(["b", ""]))]
    [[0, 1, -1], [1, -1]]
    """
    labels = [None if v == "" else v for v in (*comparable(cases), *comparable(queries))]
    codes, _ = pd.factorize(pd.Series(labels, dtype=object))
    return codes[: len(cases)], codes[len(cases) :]


def check_kinds(name: str, cases: np.ndarray, queries: np.ndarray) -> None:
    """TypeError where a coordinate is text on one side and numbers on the other, so that none could match."""
    theirs, own = ([_kind(v) for v in comparable(labels)] for labels in (cases, queries))
    if not set(theirs) & set(own):
        raise TypeError(
            f"{name!r} is {own[0]} in the queries and {theirs[0]} in the gallery: no case would be left out; give "
            f"q.assign_coords({name}=q.{name}.astype(...))"
        )


def _kind(label: Any) -> str:
    return "text" if isinstance(label, str) else "a number" if isinstance(label, int | float) else type(label).__name__


def order_of(labels: np.ndarray) -> np.ndarray:
    """The rank of each label, missing ones last and equal ones in their order."""
    ranks: np.ndarray = pd.Series(comparable(labels)).rank(method="first", na_option="bottom").to_numpy(int)
    return ranks


def taken(labels: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Labels at some positions; where there is none (-1) "", NaT, or NaN among numbers.

    >>> taken(np.array([3, 4]), np.array([1, -1])).tolist()
    [4.0, nan]
    """
    found: np.ndarray = labels[at]
    if (at >= 0).all():
        return found
    if found.dtype.kind in "USO":
        return np.where(at < 0, "", found)
    return np.where(at < 0, found.dtype.type("NaT") if found.dtype.kind in "Mm" else np.nan, found)
