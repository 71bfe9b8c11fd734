"""`explain`: labelled data and a model in, a labelled explanation with its checks out."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
import xarray as xr

from . import labels, models
from .core import references
from .core import targets as core_targets
from .core.axes import Axes
from .core.baselines import Constant, Jitter
from .core.engine import Engine, NoGradient, Samples, untouched
from .core.keys import sample_ids
from .core.results import Field
from .core.targets import Value

_BASELINES = ("baseline", "noise")
_CHUNK = 2**26  # bytes of input in memory as tensors at once


class ExplanationWarning(UserWarning):
    """Something about an explanation that its reader must know: samples that did not converge, a doubtful baseline."""


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
    seed: int = 0,
    progress: bool | Callable[[int, int], None] = False,
    dry_run: bool = False,
) -> xr.Dataset:
    """Explain what a model says of each sample.

    Parameters
    ----------
    model
        A torch module; a callable on tensors; ``ta.models.on_arrays(f)`` or ``on_frames(f)``; a fitted scikit-learn
        estimator or pipeline (``predict_proba``, else ``predict``). It gets tensors in `x`'s order of dims with the sample
        dim first, and is left exactly as it was, also after an error. A module, or its bound method, is explained in
        eval mode; put one that hides in a lambda into it yourself: ``model.eval()``.
    x
        A DataArray in any order of dims; a Dataset of variables that share the sample dim (the model is called with one
        tensor a variable, by keyword); a DataFrame (dims sample, feature); a numpy array or torch tensor (samples first).
    method
        What to compute: an object such as ``IntegratedGradients(...)`` or ``Occlusion(...)``.
    target
        Which number is explained: an int (an index), a string (a label of the output axis), an object of
        `tsattr.targets`, a function of the outputs, or a list of them, which adds a `target` dim. None: the single output;
        for one axis of several outputs the predicted one.
    outputs
        Names of the output axes after the sample axis, with their labels if wanted: ``("time", "class")``,
        ``{"class": ["N", "S", "V"]}``.
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
        Training-like data; here, the range that a constant baseline is checked against (by default `x`'s own).
    batch_size
        Rows of one model call; "auto" takes a size by the input's size and halves it when memory runs out.
    device
        Where to run; by default where the module's parameters are. A module elsewhere is moved and moved back.
    autocast
        "bfloat16", "float16" or a torch dtype for mixed precision; None for none.
    seed
        Seed of all draws; they depend on it and on the sample (by coordinate value, else position) alone.
    progress
        True for a bar with rate and remaining time, or a callable given (rows done, rows known of).
    dry_run
        Return what the call would cost, as ``model_evaluations`` and ``model_evaluations_least`` by sample, and do nothing.

    Returns
    -------
    xr.Dataset
        ``attribution`` with the dims, order and coordinates of `x` (and `target`, for several), in `x`'s dtype and the
        target's units; ``prediction``; ``reference``, ``completeness_gap``, ``completeness_error``, ``standard_error``,
        ``group_value``, ``steps`` where the method has them; ``predicted``, the class with the largest output, where the
        target depends on it; ``model_evaluations``; ``status`` of each sample ("ok", "not
        converged", "non-finite output", "all missing"). The attrs say how it was made.

    Raises
    ------
    TypeError, ValueError, KeyError, IndexError
        Naming the rule, the value and the fix, before any work where labels and shapes tell.

    Warns
    -----
    ExplanationWarning
        Once, naming the samples whose status is not "ok"; and where a constant baseline lies outside a channel's range.

    Examples
    --------
    >>> import numpy as np, torch, xarray as xr, tsattr as ta
    >>> x = xr.DataArray(np.ones((2, 3)), dims=("sample", "time"), coords={"time": [0.0, 0.1, 0.2]})
    >>> w = torch.tensor([1.0, 0.0, -2.0], dtype=torch.float64)
    >>> ds = ta.explain(lambda x: x @ w, x, ta.IntegratedGradients())
    >>> ds.attribution.sel(time=0.2).values.round(9).tolist(), ds.status.values.tolist()
    ([-2.0, -2.0], ['ok', 'ok'])
    """
    if isinstance(method, type):
        raise TypeError(f"method is an object with its settings: {method.__name__}(...), not the class")
    if not (callable(method) and hasattr(method, "gradient")):
        raise TypeError(f"method is an object such as IntegratedGradients(...) or Occlusion(...), got {method!r}")
    inputs = labels.read(x, dims, sample_dim, valid)
    about = labels.read_context(context, inputs)
    wrapped = models.read(model, inputs)
    several = core_targets.is_many(target)
    wanted = _wanted(target, core_targets.outputs_axes(outputs, None, wrapped.labels))
    if method.gradient and not wrapped.differentiable:
        raise NoGradient(f"{type(method).__name__} needs gradients, and {wrapped.name} has none; use Occlusion instead")
    bound = _bound(method, inputs)
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer):
        raise TypeError(f"seed is a whole number, got {seed!r}")
    seed = int(seed)
    place = models.place(device, wrapped.module, inputs)
    mixed = _autocast(autocast)
    if mixed is None:
        models.check_dtype(wrapped.module, inputs)
    rows = _batch_size(batch_size, inputs, place, wrapped.differentiable)
    least, most = bound.rows()
    if dry_run:
        return _cost(inputs, least, most, rows, place)
    # Several times as much is held beside the input for each target, in float64.
    chunk = max(rows, _CHUNK // (inputs.cells * inputs.dtype.itemsize * len(wanted)))
    _check_constants(method, inputs, reference, min(chunk, inputs.n))
    names: list[str] = []
    classes: list[Any] = []

    def bind_targets(shape: tuple[int, ...]) -> list[Value]:
        found = core_targets.outputs_axes(outputs, shape, wrapped.labels)
        assert found is not None
        names[:] = _target_names(wanted, found)
        classes[:] = found.coords.get(found.dims[0], []) if len(found.dims) == 1 else []
        return [t.bind(found) for t in wanted]

    about = {k: v.to(place) for k, v in about.items()}

    def forward(batch: torch.Tensor, position: torch.Tensor) -> Any:
        y = wrapped.call(batch, {k: v[position] for k, v in about.items()})
        return y.to(place) if isinstance(y, torch.Tensor) and not wrapped.differentiable else y

    with _progress(progress, inputs.n * least) as (advance, expect), untouched(wrapped.module, place):
        engine = Engine(
            forward,
            bind_targets,
            place,
            compares=any(getattr(t, "compares", True) for t in wanted),
            seed=seed,
            module=wrapped.module,
            differentiable=wrapped.differentiable,
            batch_size=rows,
            adapt=batch_size == "auto",
            autocast=mixed,
            advance=advance,
            expect=expect,
        )
        table = _Table(inputs, getattr(bound, "groups", None))
        ids = sample_ids(inputs.sample_coord, inputs.n)
        for start in range(0, inputs.n, chunk):
            at = slice(start, min(start + chunk, inputs.n))
            table.put(at, *_run(engine, bound, inputs, ids, at))
    ds = table.dataset(several, names, np.array(classes))
    ds.attrs = _provenance(method, wrapped.name, names, seed)
    for name in ("attribution", "standard_error"):
        for v in inputs.variables:
            if name + v.suffix in ds:
                ds[name + v.suffix].attrs["long_name"] = f"{name.replace('_', ' ')} of {', '.join(names)}"
    _report_trouble(ds, inputs)
    return ds


def _run(
    engine: Engine, bound: Any, inputs: labels.Inputs, ids: np.ndarray, at: slice
) -> tuple[dict[str, Field], torch.Tensor | None]:
    x, valid = inputs.load(at)
    place = engine.device
    position = torch.arange(at.start, at.stop, device=place)
    valid = None if valid is None else valid.to(place)
    samples = Samples(engine, x.to(place), valid, ids[at], position, graph=getattr(bound, "looks", False))
    found = bound(samples)
    converged = found.pop("converged", None)
    found["prediction"] = Field(("target",), samples.prediction)
    if samples.y0 is not None and samples.y0.ndim == 2 and samples.y0.shape[1] > 1:
        found["predicted"] = Field((), samples.y0.argmax(1))
    found["model_evaluations"] = Field((), samples.evaluations)
    # A later rule overrides an earlier one: the gravest trouble is the one to report.
    state = torch.zeros(samples.n, dtype=torch.int64, device=place)
    if converged is not None:
        state[~converged.values] = 1
    state[samples.failed] = 2
    if valid is not None:
        state[~valid.flatten(1).any(1)] = 3
    found["status"] = Field((), state)
    return found, valid


_STATUS = np.array(["ok", "not converged", "non-finite output", "all missing"])


class _Table:
    """The result's arrays, filled chunk by chunk."""

    def __init__(self, inputs: labels.Inputs, groups: Any) -> None:
        self.inputs = inputs
        self.fields: dict[str, tuple[tuple[str, ...], np.ndarray]] = {}
        self.groups = groups

    def put(self, at: slice, found: dict[str, Field], valid: torch.Tensor | None) -> None:
        bad = found["status"].values >= 2
        for name, f in found.items():
            values = f.values
            event = "..." in f.dims
            if event and valid is not None:
                where = valid.reshape(len(valid), *[1] * f.dims.index("..."), *valid.shape[1:])
                values = torch.where(where, values, torch.nan)
            if event and bad.any():  # half a map is no map: the status says why there is none
                values = torch.where(bad.reshape(-1, *[1] * (values.ndim - 1)), torch.nan, values)
            if name not in self.fields:
                dtype = self.inputs.dtype if event else np.dtype(str(values.dtype).removeprefix("torch."))
                self.fields[name] = f.dims, np.empty((self.inputs.n, *values.shape[1:]), dtype)
            self.fields[name][1][at] = values.cpu().numpy()

    def dataset(self, several: bool, names: list[str], classes: np.ndarray) -> xr.Dataset:
        out: dict[str, xr.DataArray] = {}
        for name, (dims, values) in self.fields.items():
            if name == "status" or (name == "predicted" and len(classes)):
                values = (_STATUS if name == "status" else classes)[values]
            out.update(self.inputs.label(name, dims, values, not several))
        order = [k for k in out if k.startswith("attribution")] + ["prediction"]
        ds = xr.Dataset({k: out[k] for k in order + [k for k in out if k not in order and k != "status"] + ["status"]})
        for k in ds.variables:
            ds[k].attrs = labels.plain(ds[k].attrs)
        if "group" in ds.dims:
            ds = ds.assign_coords(group=self.groups.names)
        return ds.assign_coords(target=names) if several else ds


def _bound(method: Any, inputs: labels.Inputs) -> Any:
    """The method with its baseline and groups as plain arrays."""
    changes = {}
    for f in dataclasses.fields(method):
        value = getattr(method, f.name)
        if f.name == "groups":
            changes[f.name] = inputs.bind(value, "groups")
        elif f.name in _BASELINES:
            share = f.name == "noise" and isinstance(value, int | float)
            changes[f.name] = inputs.bind(Jitter(value) if share else value, "baseline")
    return dataclasses.replace(method, **changes)


def _check_constants(method: Any, inputs: labels.Inputs, reference: Any, n: int) -> None:
    baseline = getattr(method, "baseline", None)
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
        if out := references.outside_range(constant.values(v.axes), v.axes, seen):
            warnings.warn(
                f"the constant baseline {constant!r} lies outside the observed range of {'x' if v.name is None else v.name}: "
                f"{', '.join(out[:4])}{', ...' if len(out) > 4 else ''}; an absent value would be one that never occurs. Give a "
                "constant inside the range, or Mean(), Samples.fit(train), ...",
                ExplanationWarning,
                stacklevel=3,
            )


def _wanted(target: Any, axes: Axes | None) -> list[Any]:
    """The targets as objects; what does not fit the output axes, where they are known, is raised before any work."""
    wanted = [core_targets.resolve(t) for t in (target if core_targets.is_many(target) else [target])]
    if not wanted:
        raise ValueError("target is an empty list: nothing to explain")
    if axes is not None and axes.shape:
        for t in wanted:
            t.bind(axes)
    return wanted


def _target_names(wanted: list[Any], outputs: Axes) -> list[str]:
    names = []
    for t in wanted:
        t = t.choose(outputs) if isinstance(t, core_targets.Default) else t
        names.append(core_targets.label(t))
    return names


def _autocast(dtype: Any) -> torch.dtype | None:
    if dtype is None or dtype is False:
        return None
    found = torch.bfloat16 if dtype is True else getattr(torch, dtype, None) if isinstance(dtype, str) else dtype
    if found not in (torch.bfloat16, torch.float16):
        raise ValueError(f"autocast is 'bfloat16', 'float16' or None, got {dtype!r}")
    return found


def _batch_size(batch_size: int | str, inputs: labels.Inputs, place: torch.device, differentiable: bool) -> int:
    if batch_size == "auto":
        # Enough rows to keep the processor busy, few enough that a batch of inputs stays small beside the activations.
        budget, most = (2**22, 4096) if place.type == "cpu" else (2**26, 8192)
        if not differentiable:  # no activations are kept, and a call of a pipeline costs as much as many rows
            most = 2**15
        return min(most, max(8, 2 ** int(math.log2(max(1, budget // (inputs.cells * inputs.dtype.itemsize))))))
    if isinstance(batch_size, bool) or not isinstance(batch_size, int | np.integer) or batch_size < 1:
        raise ValueError(f"batch_size is 'auto' or a number of rows of at least 1, got {batch_size!r}")
    return int(batch_size)


def _cost(inputs: labels.Inputs, least: int, most: int, rows: int, place: torch.device) -> xr.Dataset:
    ds = xr.Dataset()
    for name, count in (("model_evaluations", most), ("model_evaluations_least", least)):
        ds.update(inputs.label(name, (), np.full(inputs.n, count), True))
    total = inputs.n * most
    ds.attrs = {
        "rows": total,
        "batch_size": rows,
        "model_calls": math.ceil(total / rows),
        "input_bytes_per_batch": rows * inputs.cells * inputs.dtype.itemsize,
        "device": str(place),
    }
    return ds


def _provenance(method: Any, model: str, names: list[str], seed: int) -> dict[str, Any]:
    from . import __version__

    attrs = {"method": repr(method), "model": model, "target": ", ".join(names), "seed": seed}
    for name in (*_BASELINES, "groups"):
        if hasattr(method, name):
            attrs["baseline" if name == "noise" else name] = repr(getattr(method, name))
    versions = {"tsattr": __version__, "torch": torch.__version__, "numpy": np.__version__, "xarray": xr.__version__}
    return attrs | {f"version_{k}": str(v) for k, v in versions.items()}


def _report_trouble(ds: xr.Dataset, inputs: labels.Inputs) -> None:
    status = ds["status"].values
    parts = []
    for kind in _STATUS[1:]:
        who = np.flatnonzero(status == kind)
        if len(who):
            shown = ", ".join(inputs.names(who[:10].tolist())) + (f", ... ({len(who)} in all)" if len(who) > 10 else "")
            parts.append(f"{kind}: {inputs.sample_dim} {shown}")
    if parts:
        warnings.warn("; ".join(parts) + " (see the variable `status`)", ExplanationWarning, stacklevel=3)


@contextlib.contextmanager
def _progress(
    progress: bool | Callable[[int, int], None], total: int
) -> Iterator[tuple[Callable[[int], None], Callable[[int], None]]]:
    """Two callbacks: rows done, and rows to come. The total grows as a refining method learns what it needs."""
    known = done = 0

    def expect(rows: int) -> None:
        nonlocal known
        known += rows

    if progress is False or progress is None:
        yield (lambda rows: None), expect
        return
    bar = None
    if progress is True:
        from tqdm.auto import tqdm

        bar = tqdm(total=total, unit="row", unit_scale=True, desc="explain")

    def advance(rows: int) -> None:
        nonlocal done
        done += rows
        if bar is not None:
            bar.total = max(total, known)
            bar.update(rows)
        elif callable(progress):
            progress(done, max(total, known))

    try:
        yield advance, expect
    finally:
        if bar is not None:
            bar.total = max(done, 1)
            bar.close()
