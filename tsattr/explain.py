"""`explain`: labelled data and a model in, a labelled explanation with its checks out."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
import xarray as xr

from .core.baselines import Constant, references
from .core.engine import NoGradient
from .core.method import Method, check_is_method, results_of
from .core.results import Field, check_flag
from .core.samples import Samples
from .core.shift import scores as shift
from .core.shift.detector import FEWEST
from .core.shift.scores import Shifts
from .core.states import State
from .core.targets.values import Named
from .edge import members as ensemble
from .edge import trials
from .edge.call import STATUS, Call, Table, said_once, tell
from .edge.call import ExplanationWarning as ExplanationWarning
from .labels import alignment as matching
from .labels import inputs as labels
from .models import pipelines

_OF_TARGET = ("prediction", "reference", "completeness_gap")
_OF_PARTS = ("attribution", "standard_error")
_WHY = {
    "non-finite gradient": "The outputs are finite and their gradients are not: a root, norm or logarithm at 0, say, or a where() "
    "that hides one. Methods that remove, such as Occlusion, need no gradients",
    "no baseline": "The baseline has no value (NaN) where those samples have one",
}


def explain(
    model: Any,
    x: Any,
    method: Any,
    *,
    target: Any = None,
    outputs: Any = None,
    dims: Sequence[str] | None = None,
    sample_dim: str | None = None,
    valid: Any = None,
    context: Mapping[str, Any] | None = None,
    reference: Any = None,
    batch_size: int | str = "auto",
    device: Any = None,
    autocast: Any = None,
    check: bool = True,
    seed: int | Sequence[int] = 0,
    progress: bool | Callable[[int, int], None] = False,
    dry_run: bool = False,
) -> xr.Dataset:
    """Explain what a model says of each sample.

    Parameters
    ----------
    model
        A torch module; a callable on tensors; ``ta.models.on_arrays(f)`` or ``on_frames(f)``; a fitted scikit-learn
        estimator or pipeline (``predict_proba``, else ``predict``), or its last step, ``ta.models.last_step(pipeline)``; or
        several models, ``ta.models.Ensemble([...])``. It gets tensors in `x`'s order of dims with the sample
        dim first, and is left exactly as it was, also after an error. A module, or its bound method, is explained in
        eval mode; put one that hides in a lambda into it yourself: ``model.eval()``.
    x
        A DataArray in any order of dims; a Dataset of variables that share the sample dim (the model is called with one
        tensor a variable, by keyword); a DataFrame (dims sample, feature); a numpy array or torch tensor (samples first).
    method
        What to compute: an object such as ``IntegratedGradients(...)`` or ``Occlusion(...)``.
    target
        Which number is explained: an int (the label where the output axis is labelled by whole numbers, with a warning where
        label and index differ; else an index), a string (a label of the output axis), an object of
        `tsattr.targets`, a function of the outputs, or a list of them or a mapping that names them, which adds a `target`
        dim; all share the model's forward passes. None: the single output; for one axis of several outputs the predicted one.
    outputs
        Names of the output axes after the sample axis, with their labels if wanted: ``("time", "class")``,
        ``{"class": ["N", "S", "V"]}``. Or a DataArray like them, such as the truth: the result then has its units.
    dims
        Names of a bare array's dims.
    sample_dim
        The dim that holds the samples; "sample" by default.
    valid
        Boolean like `x`, False for padding; a DataArray may lack dims. NaN cells are invalid too. Invalid cells are never
        changed, get NaN, and take no part in fills and sums.
    context
        Arrays by name, one entry a sample, that the model needs and that are not explained:
        ``model(rows, lengths=...)``.
    reference
        Training-like data with the sample dim: what clean data look like. Given at least 20 samples, the result says of each
        removal how far off the data it is. The range of a constant baseline is checked against it, else against `x`.
    batch_size
        Rows of one model call; "auto" takes a size by the input's size and halves it when memory runs out.
    device
        Where to run; by default where the module's parameters are. A module elsewhere is moved and moved back.
    autocast
        "bfloat16", "float16" or a torch dtype for mixed precision; None for none.
    check
        False spares the trials that a call makes of its model on two samples: see `tsattr.trials`. They take
        ``attrs["trial_rows"]`` rows, which are of no sample.
    seed
        Seed of all draws; they depend on it and on the sample (by coordinate value, else position) alone. Several seeds
        give the mean of as many runs and their agreement, as the members of an ensemble do.
    progress
        True for a bar with rate and remaining time, or a callable given (rows done, rows known of).
    dry_run
        Return what the call would cost, as ``model_evaluations`` and ``model_evaluations_least`` by sample, and do nothing;
        ``attrs["rows"]`` is the most in all, with the ``attrs["trial_rows"]`` that are of no sample.

    Returns
    -------
    xr.Dataset
        ``attribution`` with the dims, order and coordinates of `x` (and `target`, for several), in `x`'s dtype and the
        target's units; ``prediction``; ``reference``, ``completeness_gap``, ``completeness_error``, ``standard_error``,
        ``group_value``, ``steps`` where the method has them; ``predicted``, the class with the largest output, where the
        target depends on it (none where an output is NaN: "" among labels of text, NaT among dates, else NaN);
        ``model_evaluations``, the rows asked for each sample, to which ``attrs["trial_rows"]`` adds those of no sample;
        ``status`` of each sample, the gravest that befell it:

        - "ok": a method whose map sums to the difference has such a sum (`IntegratedGradients` says within what);
        - "not converged": more steps or draws are needed, or the sum misses the difference, as where gradients are blocked;
        - "non-finite gradient": where the outputs are finite; "non-finite output", here or without some of the input;
        - "no baseline": it has no value (NaN) for a cell of the sample, though it has for other samples, else ValueError;
        - "all missing".

        From "non-finite gradient" on there is no map. The attrs say how it was made.

        With a `reference`, for a method that removes: ``shift`` (sample, group), how far off clean data the input without
        that group is, 1 being the 99th percentile of clean data; ``shift_diagnostic``, the same by distance (Mahalanobis in a
        principal subspace, residual outside it, nearest neighbour, spectrum, jump at the join, the model's penultimate
        features); ``shift_intact`` (sample); ``shift_beyond`` (diagnostic), the share of removals beyond 1; and
        ``detector_auc``, how well a classifier tells removals from clean data (0.5: not at all). Blurred and constant fills
        look unsuspicious to distances from the mean: look at the spectrum and the classifier.

        Of several members or seeds: means, ``standard_error`` between them, ``prediction_sd``, ``agreement``.

    Raises
    ------
    TypeError, ValueError, KeyError, IndexError
        Naming the rule, the value and the fix, before any work where labels and shapes tell. A model whose outputs for a row
        depend on the batch, on chance or on earlier calls is refused.

    Warns
    -----
    ExplanationWarning
        Once, naming the samples whose status is not "ok"; and where a constant baseline lies outside a channel's range; and
        where the model is hardly a function of its row.

    Examples
    --------
    >>> import numpy as np, torch, xarray as xr, tsattr as ta
    >>> x = xr.DataArray(np.ones((2, 3)), dims=("sample", "time"), coords={"time": [0.0, 0.1, 0.2]})
    >>> w = torch.tensor([1.0, 0.0, -2.0], dtype=torch.float64)
    >>> ds = ta.explain(lambda x: x @ w, x, ta.IntegratedGradients())
    >>> ds.attribution.sel(time=0.2).values.round(9).tolist(), ds.status.values.tolist()
    ([-2.0, -2.0], ['ok', 'ok'])
    """
    check_is_method(method)
    check_flag("dry_run", dry_run)
    if target is None:
        target = method.default_target
    settings: dict[str, Any] = {
        "target": target,
        "outputs": outputs,
        "dims": dims,
        "sample_dim": sample_dim,
        "valid": valid,
        "context": context,
        "batch_size": batch_size,
        "device": device,
        "autocast": autocast,
        "check": check,
    }
    runs = ensemble.runs(model, seed)
    if len(runs) > 1:
        settings |= {"reference": reference, "progress": progress, "dry_run": dry_run}
        results, tried = {}, set()
        with said_once():
            for name, (m, s) in runs.items():
                results[name] = explain(m, x, method, seed=s, **settings | {"check": check and id(m) not in tried})
                tried.add(id(m))
        return ensemble.total_cost(results) if dry_run else ensemble.combine(results)
    ((model, one),) = runs.values()
    if isinstance(model, pipelines.LastStep):
        settings |= {"reference": reference, "seed": one, "progress": progress, "dry_run": dry_run}
        return _explain_last_step(model, x, method, **settings)
    call = Call.of(model, x, seed=one, along=method.along, **settings)
    inputs = call.inputs
    if method.gradient and not call.model.differentiable:
        raise NoGradient(
            f"{type(method).__name__} needs gradients, and {call.model.name} has none; use Occlusion instead"
        )
    method = method.prepared(call.model.module, [v.axes for v in inputs.variables])
    bound = method.bind(inputs.bind)
    lags = bound.coordinates()
    inputs.check_names(lags)
    clean = matching.read_reference(inputs, reference) if reference is not None and bound.has("baseline") else None
    if dry_run:
        return _cost(call, bound, 0 if clean is None else len(clean))
    if method.caution:
        tell(method.caution, 2)
    _check_constants(method, inputs, reference, min(call.chunk, inputs.n))
    table = Table(inputs, bound.setting("groups"))
    shifts = None
    with call.running(progress, inputs.n * bound.rows()[0]) as engine:
        if clean is not None and len(clean) >= FEWEST:
            shifts = Shifts.fit(bound, clean, inputs.parts, engine, call.dtype, features=not call.about)
        for at, samples in call.chunks(engine, graph=bound.needs_smoothness, arrays=bound.arrays):
            table.put(at, _run(bound, samples, shifts), samples.valid)
    ds = table.dataset(call.several, call.names, np.array(call.classes))
    if shifts is not None:
        ds = _with_shifts(ds, shifts)
    if (agreement := ensemble.agreement_of_draws(ds)) is not None:
        ds["agreement"] = agreement
    if lags:
        ds = ds.assign_coords(lags)
    ds.attrs = _provenance(method, call.model.name, call.names, call.seed) | engine.notes
    if method.has("draws") and method.setting("draws") is None:
        ds.attrs["draws"] = bound.setting("draws")
    if named := [t for t in call.wanted if isinstance(t, Named)]:
        ds.attrs["target_definition"] = "; ".join(f"{t.name}: {t.target!r}" for t in named)
    if call.taken:
        ds.attrs["target_taken"] = call.taken
    if history := getattr(x, "attrs", {}).get("history"):  # of the input; what writes the result adds to it
        ds.attrs["history"] = str(history)
    for name in ("attribution", "standard_error"):
        for v in inputs.variables:
            if name + v.suffix in ds:
                ds[name + v.suffix].attrs["long_name"] = f"{name.replace('_', ' ')} of {', '.join(call.names)}"
    in_units = _OF_TARGET + (_OF_PARTS if method.in_target_units else ())
    for key, values in ds.data_vars.items():
        if call.units and str(key).startswith(in_units):
            values.attrs["units"] = call.units
    _report_trouble(ds, inputs)
    return ds


def _explain_last_step(
    step: pipelines.LastStep,
    x: Any,
    method: Any,
    *,
    outputs: Any,
    dims: Any,
    sample_dim: Any,
    valid: Any,
    **settings: Any,
) -> xr.Dataset:
    view = pipelines.Transformed.of(step, labels.read(x, dims, sample_dim, valid))
    _check_constants(method, view.raw, settings["reference"], view.raw.n)
    settings["reference"] = view.reference(settings["reference"])
    model, outputs = view.model(method, outputs)
    ds = explain(
        model,
        view.table(),
        view.method(method),
        outputs=outputs,
        sample_dim=view.raw.sample_dim,
        valid=view.valid(),
        **settings,
    )
    return ds if settings["dry_run"] else view.labelled(ds, method)


def _with_shifts(ds: xr.Dataset, shifts: Shifts) -> xr.Dataset:
    ds = ds.assign_coords(diagnostic=list(shifts.detector.names))
    if shifts.groups is None:
        ds = ds.assign_coords(group=shifts.names)
    found = shifts.summary()
    return ds.assign(shift_beyond=("diagnostic", found["shift_beyond"]), detector_auc=((), found["detector_auc"]))


def _run(bound: Method, samples: Samples, shifts: Shifts | None) -> dict[str, Field]:
    found = results_of(bound, samples)
    if shifts is not None:
        found |= shifts(samples)
    found["prediction"] = Field(("target",), samples.prediction)
    if samples.engine.along is None and samples.y0 is not None and samples.y0.ndim == 2 and samples.y0.shape[1] > 1:
        found["predicted"] = Field((), torch.where(samples.y0.isnan().any(1), -1, samples.y0.argmax(1)))
    found["model_evaluations"] = Field((), samples.evaluations)
    if samples.valid is not None:
        there = samples.valid.flatten(1).any(1)
        samples.note(samples.every, torch.where(there, State.OK, State.MISSING))
    found["status"] = Field((), samples.state)
    return found


def _check_constants(method: Method, inputs: labels.Inputs, reference: Any, n: int) -> None:
    baseline = method.setting("baseline") if method.has("baseline") else method.implied_baseline
    for v in inputs.variables:
        constant = baseline.get(v.name) if isinstance(baseline, Mapping) else baseline
        if not isinstance(constant, Constant):
            continue
        given = reference if reference is None or v.name is None else reference.get(v.name)
        if given is None:
            x, known = v.load(slice(0, n))
            seen = np.where(known, x, np.nan)
        else:
            seen = references.observed(given, v.axes)
        if doubt := _doubt(constant, v, seen):
            tell(doubt, 3)


def _doubt(constant: Constant, v: labels.Variable, seen: np.ndarray) -> str | None:
    """What speaks against a constant as the baseline of a variable, beside observed values (samples, *event)."""
    what = "x" if v.name is None else v.name
    if out := references.outside_range(constant.values(v.axes), v.axes, seen):
        return (
            f"the constant baseline {constant!r} lies outside the observed range of {what}: {', '.join(out[:4])}"
            f"{', ...' if len(out) > 4 else ''}; an absent value would be one that never occurs. Give a constant inside the "
            "range, or Mean(), Samples.fit(train), ..."
        )
    if isinstance(constant.value, int | float):
        share = references.far_from_usual(constant.value, v.axes, seen)
        if share > 0.5:
            return (
                f"at {share:.0%} of the places of {what} the baseline {constant!r} lies more than three standard deviations from "
                "the mean: the map would show where the field is large, not what is unusual in it. Give Climatology.fit(train), "
                "a state such as ta.climate.State.period(...), or anomalies as input"
            )
    return None


def _cost(call: Call, bound: Method, clean: int) -> xr.Dataset:
    """What a call asks of the model at most, beside so many `clean` samples of a reference."""
    inputs, ds = call.inputs, xr.Dataset()
    least, most = bound.rows()
    looked, once = shift.asked(bound, clean, call.model.module) if clean >= FEWEST and not call.about else (0, 0)
    most += looked
    once += bound.extra_rows * math.ceil(inputs.n / call.size(bound.arrays))
    for name, count in (("model_evaluations", most), ("model_evaluations_least", least)):
        ds.update(inputs.label(name, (), np.full(inputs.n, count), True))
    total, tried = inputs.n * most + once, trials.rows(call)
    ds.attrs = {
        "rows": total + tried,
        "trial_rows": once + tried,
        "batch_size": call.rows,
        "model_calls": math.ceil(total / call.rows) + trials.calls(call),
        "input_bytes_per_batch": call.rows * inputs.cells * inputs.dtype.itemsize,
        "device": str(call.place),
    }
    return ds


def _provenance(method: Method, model: str, names: list[str], seed: int) -> dict[str, Any]:
    from . import __version__

    attrs = {"method": repr(method), "model": model, "target": ", ".join(names), "seed": seed}
    for kind in ("baseline", "noise", "groups"):
        if method.has(kind):
            attrs["baseline" if kind == "noise" else kind] = repr(method.setting(kind))
    versions = {"tsattr": __version__, "torch": torch.__version__, "numpy": np.__version__, "xarray": xr.__version__}
    return attrs | {f"version_{k}": str(v) for k, v in versions.items()}


def _report_trouble(ds: xr.Dataset, inputs: labels.Inputs) -> None:
    status = ds["status"].values
    parts, why = [], []
    for kind in STATUS[1:]:
        who = np.flatnonzero(status == kind)
        if len(who):
            shown = ", ".join(inputs.names(who[:10].tolist())) + (f", ... ({len(who)} in all)" if len(who) > 10 else "")
            parts.append(f"{kind}: {inputs.sample_dim} {shown}")
            why.append(_missed(ds, who, inputs) if kind == str(State.NOT_CONVERGED) else _WHY.get(kind, ""))
    if parts:
        text = "; ".join(parts) + " (see the variable `status`)"
        tell(". ".join([text, *filter(None, why)]), 3)


def _missed(ds: xr.Dataset, who: np.ndarray, inputs: labels.Inputs) -> str:
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
