"""What speaks against an explanation: a baseline outside the data, samples in trouble."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from ..core.baselines import Constant, references
from ..core.gradient_fault import GradientFault
from ..core.method import Method
from ..core.status import Status
from ..core.units import spelled
from ..labels.inputs import Inputs, Variable
from .table import STATUS
from .warning import tell

_FAR = 100.0  # times the scale of a reference, beyond which another unit is more likely than another patient
_WHY = {
    "non-finite gradient": "The outputs are finite and their gradients are not: a root, norm or logarithm at 0, say, or a where() "
    "that hides one. Methods that remove, such as Occlusion, need no gradients",
    "no baseline": "The baseline has no value (NaN) where those samples have one",
}


def check_constants(method: Method, inputs: Inputs, reference: Any, n: int) -> None:
    """Warn of constant baselines that lie outside what was observed: in a reference, else in the first `n` samples."""
    for v in inputs.variables:
        each = [b.get(v.name) if isinstance(b, Mapping) else b for b in method.baselines()]
        constants = {repr(b): b for b in each if isinstance(b, Constant)}
        if not constants:
            continue
        given = reference if reference is None or v.name is None else reference.get(v.name)
        if given is None:
            x, known = v.load(slice(0, n))
            observed = np.where(known, x, np.nan)
        else:
            observed = references.imputed(given, v.axes)
        for constant in constants.values():
            if doubt := _doubt(constant, v, observed):
                tell(doubt)


def _doubt(constant: Constant, v: Variable, seen: np.ndarray) -> str | None:
    """What speaks against a constant as the baseline of a variable, beside observed values (samples, *event)."""
    what = "x" if v.name is None else v.name
    if out := references.outside_range(constant.values(v.axes), v.axes, seen):
        return (
            f"the constant baseline {constant!r} lies outside the observed range of {what}: {', '.join(out[:4])}"
            f"{', ...' if len(out) > 4 else ''}; an absent value would be one that never occurs. Give a constant inside the "
            "range, or Mean(), Samples.fit(train), ..."
        )
    if isinstance(constant.value, int | float):
        share = references.share_far_from_mean(constant.value, v.axes, seen)
        if share > 0.5:
            return (
                f"at {share:.0%} of the places of {what} the baseline {constant!r} lies more than three standard deviations from "
                "the mean: the map would show where the field is large, not what is unusual in it. Give Climatology.fit(train), "
                "a state such as ta.climate.State.period(...), or anomalies as input"
            )
    return None


def check_scale(inputs: Inputs, reference: Any, clean: np.ndarray, n: int) -> str:
    """Warn where `x` is not on the scale of the reference, as in another unit than the model knows; returns what was said.

    Parameters
    ----------
    reference, clean
        As the user gave it, and read (samples, *event), flat for several variables.
    n
        How many of the samples of `x` are looked at.
    """
    said = []
    for v in inputs.variables:
        given = reference if v.name is None else reference[v.name]
        x, known = v.load(slice(0, n))
        seen = clean if v.name is None else clean[:, v.at].reshape(len(clean), *v.axes.shape)
        ratio = references.ratio_of_scales(v.axes, np.where(known, x, np.nan), seen)
        ours, theirs = (
            spelled(str(a.attrs.get("units", ""))) if isinstance(a, xr.DataArray) else "" for a in (v.array, given)
        )
        if max(ratio, 1 / ratio) > _FAR or (ours and theirs and ours != theirs):
            units = (
                f" Its units are {ours!r}, and those of the reference {theirs!r}."
                if ours and theirs and ours != theirs
                else ""
            )
            said.append(
                f"{'x' if v.name is None else v.name} varies {ratio:.3g} times as much as the reference.{units} A model answers for what it was "
                "trained on: give it the same unit, such as by read_wfdb(units='mV'), x * 1e-3, or the preparation that the reference had"
            )
    if said:
        tell("; ".join(said))
    return "; ".join(said)


def report_trouble(ds: xr.Dataset, inputs: Inputs, fault: GradientFault | None = None) -> None:
    """Warn, once, of the samples whose status is not "ok"; `fault` is what made a gradient that is not finite."""
    status = ds.variables["status"].values
    if (status == STATUS[Status.OK]).all():
        return
    parts, why = [], []
    for kind in STATUS[1:]:
        who = np.flatnonzero(status == kind)
        if len(who):
            shown = ", ".join(inputs.names(who[:10].tolist())) + (f", ... ({len(who)} in all)" if len(who) > 10 else "")
            parts.append(f"{kind}: {inputs.sample_dim} {shown}")
            why.append(_missed(ds, who, inputs) if kind == str(Status.NOT_CONVERGED) else _WHY.get(kind, ""))
            if kind == str(Status.GRADIENT) and fault is not None and (made := _whence(fault, inputs)):
                ds.attrs["gradient_fault"] = made
                why.append(f"It is made by {made}")
    if parts:
        text = "; ".join(parts) + " (see the variable `status`)"
        tell(". ".join([text, *filter(None, why)]))


def _whence(fault: GradientFault, inputs: Inputs) -> str:
    """What made a gradient that is not finite, and the entries of named dims that it reaches, where that is not all of them."""
    of = f" in {fault.layer}" if fault.layer else ""
    made = f"{fault.operation}{of}" if fault.operation else ""
    reached = []
    for v, (at, axes) in zip(inputs.variables, inputs.parts):
        cells = fault.cells if inputs.single else fault.cells[at].reshape(axes.shape)
        for axis, dim in enumerate(axes.dims):
            some = cells.any(tuple(a for a in range(cells.ndim) if a != axis)) if cells.ndim > 1 else cells
            names = np.asarray(axes.coords.get(dim, np.arange(len(some))))
            if names.dtype.kind in "UO" and some.any() and not some.all():
                shown = [str(name) for name in names[some.cpu().numpy()]]
                more = f", ... ({len(shown)} in all)" if len(shown) > 5 else ""
                reached.append(f"{dim} {', '.join(shown[:5])}{more}{f' of {v.name}' if v.name else ''}")
    where = f"at {'; '.join(reached)}" if reached else ""
    return ", ".join(filter(None, [made, where]))


def _missed(ds: xr.Dataset, who: np.ndarray, inputs: Inputs) -> str:
    """By how much the sum of the worst of some samples misses, if it is more than a hundredth, and what may be the reason."""
    if "completeness_error" not in ds:
        return ""
    of = ds.isel({inputs.sample_dim: who})
    at = of.completeness_error.fillna(-1).argmax(...)
    worst = of.isel(at)
    if not worst.completeness_error > 0.01:
        return ""
    total = sum(float(worst["attribution" + v.suffix].sum(dtype=np.float64)) for v in inputs.variables)
    return (
        f"The attributions of {inputs.names([int(who[int(at[inputs.sample_dim])])])[0]} sum to "
        f"{total:.4g} where the target differs by {float(worst.prediction - worst.reference):.4g} from that at the baseline: no "
        "gradient passes some part of the model (round, sign, argmax, long(), detach()), or the path has too few points (steps, "
        "max_steps, draws) for its jumps and kinks. Occlusion, ShapleySampling and KernelShap need no gradients"
    )
