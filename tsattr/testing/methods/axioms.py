"""Laws of what attributions mean: unused features, sums, linear models, units."""

from __future__ import annotations

import math

import numpy as np
import torch
import xarray as xr
from torch import Tensor, nn

from ...core.baselines import Constant
from ...core.bound import BoundGroups
from ...core.method import Method
from ...edge.call import Call
from ..cases import cut_to, linear, seeded
from ..groups import masks_of
from ..laws import Seen, same_values
from .case import LAWS, MethodCase

law = LAWS.law


def _unused(case: MethodCase) -> Tensor:
    """1 for the cells of one sample that the model uses, 0 for the last entry of the first dim."""
    used = torch.ones(case.shape, dtype=torch.float64)
    used[-1] = 0
    return used


def _apart(bound: Method, case: MethodCase) -> bool:
    """Whether no cell is in two groups, and no group has cells of both kinds, used and not."""
    for kind, setting in ((kind, getattr(bound, name)) for name, kind in bound.binds.items()):
        if kind == "groups" and setting is not None:
            masks, used = masks_of(setting, (case.n, *case.shape)), _unused(case).numpy().astype(bool)
            mixed = (masks & used).any(tuple(range(2, masks.ndim))) & (masks & ~used).any(tuple(range(2, masks.ndim)))
            if mixed.any() or (masks.sum(1) > 1).any():
                return False
    return True


@law(
    "an unused feature gets exactly nothing",
    "Credit a cell by its own gradient or its own removal, and no cell by that of its neighbours.",
)
def unused(case: MethodCase) -> str | None:
    """``attribution == 0`` where the output does not depend on a cell.

    A method with gradients: with the case's model, blind to one entry of the first dim, and exactly. One that removes: with an
    additive model and a constant baseline, up to rounding, where its groups tell used cells from unused ones.
    """
    used = _unused(case)
    if case.shape[0] < 2:
        return "the input's first dim has one entry"
    if case.method.gradient:
        blind = case.around(lambda x, **context: case.model(x * cut_to(used, x[0]).to(x), **context))
        found, tolerance = case.explain(blind), 0.0
    elif len(case.outputs) != 1 or not (case.method.has("groups") and case.method.has("baseline")):
        return "it has no groups and no baseline, or the model has not one axis of outputs"
    elif not _apart(case.bound, case):
        return "its groups overlap, or hold used and unused cells together"
    else:
        weight = seeded(lambda: nn.Linear(math.prod(case.shape), case.outputs[0])).weight.detach()
        weight = weight.reshape(-1, *case.shape) * used

        def additive(x: Tensor, **context: Tensor) -> Tensor:
            return (torch.tanh(x)[:, None] * cut_to(weight.movedim(0, -1), x[0]).movedim(-1, 0).to(x)).flatten(2).sum(2)

        model = case.around(additive)
        method = case.method.with_setting("baseline", _constant(case))
        found, tolerance = case.explain(model, method=method), case.tolerance
    first = found.attribution.transpose(case.event[0], ...).values
    nothing = np.where(np.isnan(first[-1]), np.nan, 0.0)
    same_values("an attribution of an unused cell", first[-1], nothing, tolerance)
    if not (np.nan_to_num(first[:-1]) != 0).any():
        raise Seen("no attribution but 0, also where cells are used")
    return None


def _constant(case: MethodCase) -> Constant:
    return Constant(float(case.x.mean()))


@law(
    "attributions sum to the difference",
    "tsattr.testing.completeness(samples, maps, total, reference) gives `reference`, the gap and its error.",
)
def sums(case: MethodCase, size: float | None = None) -> str | None:
    """``completeness_gap = |sum a - (prediction - reference)|``, which is 0 for a linear model.

    ``completeness_error`` is the gap over the larger of the difference's size and the norm of the map. `size` is how large it
    may be for the case's own model.
    """
    ds = case.answer
    if "completeness_gap" not in ds:
        return "it gives no completeness_gap: it does not say that its map sums to anything"
    over = [d for d in ds.attribution.dims if d not in ds.prediction.dims]
    difference = ds.prediction - ds.reference
    gap = abs(ds.attribution.astype(float).sum(over) - difference)
    same_values("completeness_gap", ds.completeness_gap, gap, case.tolerance)
    scale = np.maximum(abs(difference), np.sqrt((ds.attribution**2).sum(over)))
    error = xr.where(gap > 0, ds.completeness_gap / scale, 0)
    same_values("completeness_error", ds.completeness_error, error, 1e3 * case.tolerance)
    if size is not None and not (ds.completeness_error < size).all():
        raise Seen(
            f"completeness_error is {float(ds.completeness_error.max()):.3g}, where less than {size} is expected"
        )
    if len(case.outputs) != 1:
        return None
    known = linear(case.shape, case.outputs[0])
    reads = case.around(lambda x, **context: known(torch.nan_to_num(x)))  # a missing cell as 0
    exact = case.explain(reads).completeness_gap
    same_values("completeness_gap of a linear model", exact, xr.zeros_like(exact), case.tolerance)
    return None


@law(
    "a linear model gives weight times the distance to the baseline",
    "Where f(x) = w x + b, a map that sums to the difference is w (x - x'), cell by cell; a group has the sum over its cells.",
)
def weights(case: MethodCase) -> str | None:
    """``a_i = w_i (x_i - x'_i)`` for a constant baseline, and ``v_g = sum_{i in g} w_i (x_i - x'_i)`` for groups."""
    if "completeness_gap" not in case.answer or not case.method.has("baseline"):
        return "it has no baseline, or does not say that its map sums to anything"
    if len(case.outputs) != 1 or "target" in case.answer.dims:
        return "the model has not one axis of outputs, or there are several targets"
    model, constant = linear(case.shape, case.outputs[0]), _constant(case)
    found = case.explain(model, method=case.method.with_setting("baseline", constant))
    call = Call.of(model, case.x, case.method, **case.settings)
    if not call.targets.keeps_units:
        return "the target is no linear function of the outputs"
    slope = torch.autograd.functional.jacobian(lambda x: _value(call, model, x).sum(), case.rows)
    expected = (slope * (case.rows - float(case.x.mean()))).numpy()
    groups = case.bound.setting("groups")
    if groups is None:
        map = found.attribution.transpose(case.sample_dim, *case.event)
        same_values("an attribution of a linear model", map, expected, case.tolerance)
        return None
    if not _disjoint(groups, case):
        return "its groups overlap"
    masks = masks_of(groups, (case.n, *case.shape))
    total = np.where(masks, expected[:, None], 0).sum(tuple(range(2, masks.ndim)))
    same_values("a group's value of a linear model", found.group_value, total, case.tolerance)
    return None


def _value(call: Call, model: nn.Module, x: Tensor) -> Tensor:
    y = model(x)
    value: Tensor = call.bind(tuple(y.shape[1:])).values[0](y, y)
    return value


def _disjoint(groups: BoundGroups, case: MethodCase) -> bool:
    return not (masks_of(groups, (case.n, *case.shape)).sum(1) > 1).any()


@law(
    "attributions are in the target's units",
    "Set in_target_units = True only where the attributions of 2 f are twice those of f.",
)
def units(case: MethodCase) -> str | None:
    """``a(2 f) = 2 a(f)`` where `in_target_units` is True, for a target that is in the outputs' own units."""
    if not case.method.in_target_units:
        return "it does not say that its attributions are in the target's units"
    targets = Call.of(case.model, case.x, case.method, **case.settings).targets
    if not targets.keeps_units:
        return "the target is not in the units of the outputs"
    twice = case.explain(case.around(lambda x, **context: 2 * case.model(x, **context)))
    for name in ("attribution", "prediction"):
        same_values(f"{name} of twice the model", twice[name], 2 * case.answer[name], case.tolerance)
    return None
