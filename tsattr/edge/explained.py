"""One method on one call: what `explain`, `compare` and workflows over many samples share."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import xarray as xr

from ..core.arrays import VALUE
from ..core.baselines.fills import Baseline
from ..core.bound import BoundTargets
from ..core.engine import NoGradient
from ..core.method import Method, results_of
from ..core.results import Field
from ..core.samples import SampleChunk
from ..core.shift.detector import FEWEST
from ..core.shift.scores import Shifts
from ..core.status import Status
from ..core.targets.parsing import Named
from ..labels import alignment
from ..version import __version__
from . import cost, members, trials
from .call import Call
from .cautions import check_constants, check_scale, report_trouble
from .table import Table
from .warning import tell

_OF_TARGET = ("prediction", "reference", "completeness_gap")
_OF_PARTS = ("attribution", "standard_error")


def explained(call: Call, method: Method, *, dry_run: bool | str = False) -> xr.Dataset:
    """The labelled result of a method for the samples of a call, or what it would cost.

    Parameters
    ----------
    call
        With the targets of the method: made for it, or `Call.asked_by` it.
    """
    inputs, reference = call.inputs, call.settings["reference"]
    if method.gradient and not call.model.differentiable:
        raise NoGradient(
            f"{type(method).__name__} needs gradients, and {call.model.name} has none; use Occlusion instead"
        )
    if method.gradient and call.settings["missing"] == VALUE:
        raise TypeError(
            f"missing='value' makes a missing cell a value, and there is no way in small steps from that to a number, as "
            f"{type(method).__name__} walks: take Occlusion, ShapleySampling or another method that removes"
        )
    if method.gradient and (never := [b for b in method.baselines() if isinstance(b, Baseline) and not b.ends_paths]):
        raise TypeError(
            f"{never[0]!r} is no end of a path, on which {type(method).__name__} takes its gradients: take Occlusion, ShapleySampling or "
            "another method that removes"
        )
    method = method.prepared(call.model.module, [v.axes for v in inputs.variables])
    bound = method.bind(inputs.bind)
    lags = bound.coordinates()
    inputs.check_names(lags)
    clean, removes = None, bound.has("baseline")
    if reference is not None:
        clean = alignment.read_reference(inputs, reference, gaps=removes and bound.setting("baseline").gaps > 0)
    if dry_run:
        return cost.of(call, bound, 0 if clean is None or not removes else len(clean), asks=dry_run != cost.ROWS)
    if method.caution:
        tell(method.caution)
    first = min(call.chunk, inputs.n)
    check_constants(method, inputs, reference, first)
    doubt = "" if clean is None else check_scale(inputs, reference, clean, first)
    table = Table(inputs, bound.setting("groups"))
    shifts = None
    with trials.running(call, inputs.n * bound.rows()[0]) as engine:
        if clean is not None and removes and len(clean) >= FEWEST:
            shifts = Shifts.fit(bound, clean, inputs.parts, engine, call.dtype, features=not call.context)
        chunks = call.chunks(engine, graph=bound.needs_smoothness, arrays=bound.arrays, removes=not method.gradient)
        for at, samples in chunks:
            table.put(at, _run(bound, samples, shifts), samples.valid)
            engine.foresee(float(samples.evaluations.double().mean()) / bound.rows()[0])
    targets = engine.bound
    if targets.taken:
        tell(targets.taken)
    several = list(targets.names) if call.targets.several else None
    ds = table.dataset(several, np.array(list(targets.classes)), lags)
    if shifts is not None:
        ds = _with_shifts(ds, shifts)
    if (agreement := members.agreement_of_draws(ds)) is not None:
        ds["agreement"] = agreement
    ds.attrs = _provenance(call, method, targets) | engine.notes | _particulars(call, method, bound, targets)
    if doubt:
        ds.attrs["reference_doubt"] = doubt
    _label(ds, call, method, targets)
    report_trouble(ds, inputs, engine.found.get("fault"))
    return ds


def _with_shifts(ds: xr.Dataset, shifts: Shifts) -> xr.Dataset:
    ds = ds.assign_coords(diagnostic=list(shifts.detector.names))
    if shifts.groups is None:
        ds = ds.assign_coords(group=shifts.names)
    found = shifts.summary()
    return ds.assign(shift_beyond=("diagnostic", found["shift_beyond"]), detector_auc=((), found["detector_auc"]))


def _run(bound: Method, samples: SampleChunk, shifts: Shifts | None) -> dict[str, Field]:
    found = results_of(bound, samples)
    if shifts is not None:
        found |= shifts(samples)
    found["prediction"] = Field(("target",), samples.prediction)
    y = samples.intact_outputs
    if samples.engine.along is None and y is not None and y.ndim == 2 and y.shape[1] > 1:
        found["predicted"] = Field((), torch.where(y.isnan().any(1), -1, y.argmax(1)))
    found["model_evaluations"] = Field((), samples.evaluations)
    if samples.valid is not None:
        there = samples.valid.flatten(1).any(1)
        samples.record_state(samples.indices, torch.where(there, Status.OK, Status.MISSING))
    found["status"] = Field((), samples.state)
    return found


def _provenance(call: Call, method: Method, targets: BoundTargets) -> dict[str, Any]:
    """How a result was made, as plain strings and numbers."""
    attrs = {
        "method": repr(method),
        "model": call.model.name,
        "target": ", ".join(targets.names),
        "seed": call.seed,
    }
    for kind in ("baseline", "noise", "groups"):
        if method.has(kind):
            attrs["baseline" if kind == "noise" else kind] = repr(method.setting(kind))
    versions = {"tsattr": __version__, "torch": torch.__version__, "numpy": np.__version__, "xarray": xr.__version__}
    return attrs | {f"version_{k}": str(v) for k, v in versions.items()}


def _particulars(call: Call, method: Method, bound: Method, targets: BoundTargets) -> dict[str, Any]:
    """What only some results have to say of how they were made."""
    attrs: dict[str, Any] = {}
    if method.has("draws") and method.setting("draws") is None:
        attrs["draws"] = bound.setting("draws")
    if call.model.members:
        attrs["members"] = ", ".join(call.model.members)
    if named := [t for t in call.targets.each if isinstance(t, Named)]:
        attrs["target_definition"] = "; ".join(f"{t.name}: {t.target!r}" for t in named)
    if targets.taken:
        attrs["target_taken"] = targets.taken
    if call.settings["missing"] is not None or call.inputs.codes is not None:
        attrs["missing"] = call.missing(not method.gradient)
    if call.inputs.history:  # of the input; what writes the result adds to it
        attrs["history"] = call.inputs.history
    return attrs


def _label(ds: xr.Dataset, call: Call, method: Method, targets: BoundTargets) -> None:
    """Give the variables of a result their long names and units."""
    what = f"of {', '.join(targets.names)}" if method.of_target else "of the model, the same for every target"
    variables = ds.variables
    for name in _OF_PARTS:
        for v in call.inputs.variables:
            if name + v.suffix in variables:
                attrs = variables[name + v.suffix].attrs
                attrs["long_name"] = f"{name.replace('_', ' ')} {what}"
                if not method.of_target:
                    attrs["same_for_every_target"] = 1
    _label_times(ds, targets)
    in_units = _OF_TARGET + (_OF_PARTS if method.in_target_units else ())
    units = call.units if call.targets.keeps_units else ""
    for key in ds.data_vars if units else ():
        if str(key).startswith(in_units):
            variables[key].attrs["units"] = units


def _label_times(ds: xr.Dataset, targets: BoundTargets) -> None:
    """Say what the numbers along time are of a method that tells times apart, and which map says a direction."""
    variables = ds.variables
    if "output_over_time" in variables:
        what = "probability" if targets.unsigned else "output"
        variables["output_over_time"].attrs |= {"long_name": "what the model says at each time", "what": what}
        if not targets.unsigned:
            variables["attribution"].attrs["says_direction"] = 1
    if "signed_shift" in variables:
        more = {
            "long_name": "change of what the model says that the observation made, of its sign",
            "says_direction": 1,
        }
        variables["signed_shift"].attrs.update(more)
