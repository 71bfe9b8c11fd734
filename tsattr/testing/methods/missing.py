"""Laws of what is missing or fails: padding, NaN, and samples in trouble, which never stop the others."""

from __future__ import annotations

import re
import warnings
from collections.abc import Collection
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from ...core.keys import Key
from ...edge.warning import ExplanationWarning
from ..cases import cut_to
from ..laws import Seen, same, same_values
from .case import LAWS, MethodCase, statuses, told

law = LAWS.law


@law(
    "padding changes nothing elsewhere",
    "samples.fill and samples.without leave invalid cells as they are; count cells with samples.valid_cells, not all of them.",
)
def padding(case: MethodCase, lengths: Any = None) -> str | None:
    """Samples that end early along the last dim, for a model that ignores what is beyond: whatever is there, nothing changes."""
    dim, size = case.event[-1], case.shape[-1]
    if size < 2:
        return "the last dim has one cell"
    steps = [size, *(max(1, size - 1 - (3 * k) % size) for k in range(1, case.n))] if lengths is None else lengths
    ends = xr.DataArray(steps, dims=case.sample_dim, coords={case.sample_dim: case.x[case.sample_dim]})
    valid = (xr.DataArray(np.arange(size), dims=dim) < ends).broadcast_like(case.x)
    keep = torch.tensor(valid.transpose(case.sample_dim, *case.event).values)
    masked = case.around(lambda x, keep, **context: case.model(torch.where(cut_to(keep, x), x, 0), **context))
    context = {**case.settings.get("context", {}), "keep": keep}

    def run(x: xr.DataArray) -> xr.Dataset:
        return case.explain(masked, x, valid=valid, context=context, check=False)

    one, other = run(case.x.where(valid, 77.0)), run(case.x.where(valid, -5.0))
    same(other, one, case.tolerance)
    _invalid_alone(one, ~valid, case.answer)
    _check_groups(case, one, keep)
    same(case.at([0], one), case.at([0], case.answer), case.tolerance)
    same(run(case.x.where(valid)), one, case.tolerance)
    return None


def _check_groups(case: MethodCase, found: xr.Dataset, keep: Tensor) -> None:
    """Raise unless a group without valid cells has no value."""
    groups = case.bound.setting("groups")
    if "group_value" in found and not {*case.event} & {*found.group_value.dims}:
        empty = groups.count(keep, torch.arange(case.n)) == 0
        value = found.group_value.transpose(case.sample_dim, "group", ...).values
        if not np.isnan(value[empty.numpy()]).all():
            raise Seen("a value of a group that has no valid cells")


def _invalid_alone(found: xr.Dataset, invalid: xr.DataArray, whole: xr.Dataset) -> None:
    """Raise unless a map is NaN at invalid cells, and at others only where that of whole samples is."""
    lost = found.attribution.isnull()
    if not bool((lost | ~invalid).all()):
        raise Seen("a number as the attribution of an invalid cell")
    more = lost & ~invalid & ~whole.attribution.isnull()
    if "lag" not in found.dims and bool(more.any()):  # a shorter series has fewer predictions after a cell
        raise Seen("NaN as the attribution of a valid cell")


@law(
    "NaN never leaks",
    "NaN * 0 is NaN: use torch.where, and samples.valid_cells for which cells are valid; invalid cells get NaN from explain.",
)
def nan(case: MethodCase) -> str | None:
    """Missing cells get NaN, and they alone; a sample of them alone is "all missing"; others are as before."""
    if case.settings.get("missing") == "value":
        return "a missing cell is a value, as missing='value' says"
    holes, values = case.x.copy(deep=True), case.rows.numpy()
    cells = np.random.default_rng(3).random(case.shape) < 0.2
    cells.flat[-1], cells.flat[0] = True, case.x[0].size < 3
    values[1][cells], values[3] = np.nan, np.nan
    holes.transpose(case.sample_dim, *case.event).values[:] = values
    reads = case.around(lambda x, **context: case.model(torch.nan_to_num(x), **context))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExplanationWarning)  # all missing
        found = case.explain(reads, holes)
    trouble = found.status.values.tolist()
    if trouble[3] != "all missing" or {*trouble[:3]} - {"ok", *case.answer.status.values.tolist()}:
        raise Seen(f"the statuses {trouble}, where 'all missing' is expected for the last of four alone")
    _invalid_alone(case.at([0, 1, 2], found), case.at([0, 1, 2], holes.isnull()), case.at([0, 1, 2], case.answer))
    if not bool(case.at([3], found).attribution.isnull().all()):
        raise Seen("a number as the attribution of a missing cell")
    others = [0, 2, *range(4, case.n)]
    same(case.at(others, found), case.at(others, case.answer), case.tolerance)
    return None


# ---- statuses: what has no right map has no "ok"


@law(
    "trouble with a sample stops no other",
    "Work sample by sample; samples.without and samples.gradients note what is not finite, and a sum over samples would spread it.",
)
def outputs(case: MethodCase) -> None:
    """A model whose output is NaN for one sample: that has no map, and the others have theirs."""
    sick = torch.zeros(case.n, dtype=torch.float64)
    sick[1] = torch.nan

    def falls(x: Tensor, sick: Tensor, **context: Tensor) -> Tensor:
        y: Tensor = case.model(x, **context)
        return y + sick.reshape(-1, *[1] * (y.ndim - 1)).to(y)

    context = {**case.settings.get("context", {}), "sick": sick}
    with told(f"non-finite output: {case.sample_dim} {re.escape(case.labels_of([1])[0])} "):
        found = case.explain(case.around(falls), context=context)
    expected = case.answer.status.values.tolist()
    statuses(found, [expected[0], "non-finite output", *expected[2:]])
    if not bool(case.at([1], found).attribution.isnull().all()):
        raise Seen("an attribution of a sample whose output is not finite")
    others = [0, *range(2, case.n)]
    same(case.at(others, found), case.at(others, case.answer), case.tolerance)


@law(
    "a gradient that is not finite is no map",
    "Take gradients by samples.gradients, which notes what is not finite.",
)
def gradients(case: MethodCase) -> str | None:
    """Outputs that are finite with gradients at the input that are not: there is no map, and the status says why."""
    if not case.method.gradient:
        return "it needs no gradients"
    far = float(case.x.max()) + 99

    def edge(x: Tensor, **context: Tensor) -> Tensor:
        y: Tensor = case.model(x, **context)
        bend = torch.where(x > far, torch.sqrt(x - far), 0).flatten(1).sum(1)  # whose gradient is NaN below
        return y + bend.reshape(-1, *[1] * (y.ndim - 1))

    with told(f"non-finite gradient: {case.sample_dim} .*outputs are finite and their gradients"):
        found = case.explain(case.around(edge))
    statuses(found, ["non-finite gradient"] * case.n)
    if not bool(found.attribution.isnull().all()):
        raise Seen("an attribution where the gradient is not finite")
    same_values("prediction", found.prediction, case.answer.prediction, 0)
    return None


@law(
    "a model that blocks gradients is never ok",
    "A method whose map sums to the difference notes Status.NOT_CONVERGED where it does not.",
)
def blocked(case: MethodCase) -> str | None:
    """A model through which no gradient passes, of a method with gradients whose map sums to the difference."""
    if not case.method.gradient or "completeness_gap" not in case.answer:
        return "it needs no gradients, or does not say that its map sums to anything"

    def blocks(x: Tensor, **context: Tensor) -> Tensor:
        y: Tensor = case.model(x.detach(), **context)
        return y + 0 * x.flatten(1).sum(1).reshape(-1, *[1] * (y.ndim - 1))

    with told(f"not converged: {case.sample_dim} .*The attributions of .* sum to 0 where"):
        found = case.explain(case.around(blocks))
    statuses(found, ["not converged"] * case.n)
    return None


class Unknown:
    """A baseline that knows nothing of the samples at some positions, and half of each value of the others."""

    causal = True

    def __init__(self, *positions: int) -> None:
        self.positions = positions

    def fill(self, x: Tensor, absent: Tensor, key: Key) -> Tensor:
        """Half of each value, or NaN."""
        lost = torch.isin(key.position, torch.tensor(self.positions)).reshape(-1, *[1] * (x.ndim - 1))
        return torch.where(absent, torch.where(lost, torch.nan, x / 2), x)


@law(
    "what a baseline does not know is never a zero",
    "Fill by samples.fill or samples.without, which note the samples for which the baseline gives NaN.",
)
def unknown(case: MethodCase, others: Collection[str] = ("ok", "not converged")) -> str | None:
    """A baseline without values for one sample: "no baseline", no map, and the others as they are alone; for all: ValueError.

    `others` are the statuses that the other samples may have.
    """
    kind = next((kind for kind in ("baseline", "noise") if case.method.has(kind)), None)
    if kind is None:
        return "it has no baseline and no noise"
    method = case.method.with_setting(kind, Unknown(1))
    with told(f"no baseline: {case.sample_dim} {re.escape(case.labels_of([1])[0])} "):
        found = case.explain(method=method)
    trouble = found.status.values.tolist()
    if trouble.pop(1) != "no baseline" or {*trouble} - {*others}:
        raise Seen(f"the statuses {found.status.values.tolist()}, where 'no baseline' is expected for the second alone")
    if not bool(case.at([1], found).attribution.isnull().all()):
        raise Seen("an attribution of a sample that has no baseline")
    same(case.at([0], found), case.explain(x=case.at([0]), method=method), case.tolerance)
    _check_refused(case, case.method.with_setting(kind, Unknown(*range(case.n))))
    return None


def _check_refused(case: MethodCase, method: Any) -> None:
    """Raise unless a baseline without values for any sample is refused."""
    try:
        case.explain(method=method)
    except ValueError as error:
        if "the baseline gives NaN at" in str(error) and "cells that are present in the input" in str(error):
            return
        raise
    raise Seen("an explanation with a baseline that has no value for any sample")
