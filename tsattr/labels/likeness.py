"""Whether an input is like another, with the same labels around other numbers: what a call that was prepared for one takes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from .inputs import Inputs, Variable


def check_like(inputs: Inputs, other: Inputs) -> None:
    """ValueError, TypeError or KeyError unless an input has the variables, dims, sizes, labels and dtypes of another.

    It may have any number of samples, of any labels.
    """
    names, own = ([v.name for v in i.variables] for i in (other, inputs))
    if names != own:
        raise KeyError(f"x has {_named(own)}, and the call was prepared for {_named(names)}: give those, in that order")
    if inputs.sample_dim != other.sample_dim:
        raise ValueError(
            f"the samples of x lie along {inputs.sample_dim!r}, and the call was prepared for {other.sample_dim!r}"
        )
    if inputs.codes is not None and other.codes is not None:
        _check_columns(inputs.codes.frame.dtypes, other.codes.frame.dtypes)
    for v, like in zip(inputs.variables, other.variables):
        _check_axes(v, like)
    if (inputs.codes is None) != (other.codes is None):
        have, need = ("an array" if i.codes is None else "a table" for i in (inputs, other))
        raise TypeError(f"x is {have}, and the call was prepared for {need}")


def _named(variables: list[str | None]) -> str:
    return "one array or table" if variables == [None] else f"the variables {variables}"


def _check_axes(v: Variable, like: Variable) -> None:
    what = "x" if v.name is None else f"variable {v.name!r}"
    if v.dims != like.dims:
        raise ValueError(
            f"{what} has the dims {v.dims}, and the call was prepared for {like.dims}: {_transposed(v, like)}"
        )
    if v.axes.shape != like.axes.shape:
        d = next(d for d, n, m in zip(v.axes.dims, v.axes.shape, like.axes.shape) if n != m)
        have, need = (axes.shape[axes.axis(d)] for axes in (v.axes, like.axes))
        raise ValueError(
            f"{what} has {have} cells along {d!r}, and the call was prepared for {need}: cut it to the same, or prepare a call "
            "for it"
        )
    if v.array.dtype != like.array.dtype:
        raise TypeError(
            f"{what} has dtype {v.array.dtype}, and the call was prepared for {like.array.dtype}: give "
            f"x.astype('{like.array.dtype}')"
        )
    for d in v.axes.dims:
        ours, theirs = v.axes.coords.get(d), like.axes.coords.get(d)
        if not _same(ours, theirs):
            raise ValueError(
                f"{what} has {_first(ours)} along {d!r}, and the call was prepared for {_first(theirs)}: give the same labels, "
                f"x.assign_coords({d}=x_like.{d}) where they mean the same, or prepare a call for them"
            )
        if v.axes.units.get(d) != like.axes.units.get(d):
            raise ValueError(
                f"{d!r} of {what} is in {v.axes.units.get(d)!r}, and the call was prepared for {like.axes.units.get(d)!r}: "
                "convert it, or prepare a call for it"
            )


def _transposed(v: Variable, like: Variable) -> str:
    if set(v.dims) == set(like.dims):
        return f"give x.transpose{like.dims}"
    return "give the same, or prepare a call for it"


def _same(a: np.ndarray | None, b: np.ndarray | None) -> bool:
    if a is None or b is None:
        return a is b
    return a is b or (a.dtype.kind == b.dtype.kind and bool(np.array_equal(a, b)))


def _first(labels: np.ndarray | None) -> str:
    if labels is None:
        return "no labels"
    shown: list[Any] = labels[:3].tolist()
    return f"the labels {', '.join(map(repr, shown))}{', ...' if len(labels) > 3 else ''}"


def _check_columns(ours: pd.Series, theirs: pd.Series) -> None:
    """ValueError where a table has other columns, TypeError where they have other dtypes."""
    if list(ours.index) != list(theirs.index):
        if lacking := [c for c in theirs.index if c not in ours.index]:
            have, fix = f"no column {lacking[0]!r}", "give it, or prepare a call without it"
        else:
            have, fix = f"the columns {list(ours.index)}", "give x[x_like.columns]"
        raise ValueError(f"x has {have}, and the call was prepared for the columns {list(theirs.index)}: {fix}")
    for name, have, need in zip(ours.index, ours, theirs):
        if have != need:
            raise TypeError(f"column {name!r} has {_other_dtype(have, need)}")


def _other_dtype(have: Any, need: Any) -> str:
    both = isinstance(have, pd.CategoricalDtype) and isinstance(need, pd.CategoricalDtype)
    if not both:
        return f"dtype {have}, and the call was prepared for {need}: give x.astype(x_like.dtypes)"
    of = [f"the{' ordered' if d.ordered else ''} categories {d.categories.tolist()}" for d in (have, need)]
    # To cast a level that is not there makes it missing, without a word.
    new = sorted(set(have.categories) - set(need.categories), key=str)
    fix = f"prepare a call that knows {new[0]!r}" if new else "give x.astype(x_like.dtypes)"
    return f"{of[0]}, and the call was prepared for {of[1]}: {fix}"
