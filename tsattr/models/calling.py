"""One calling convention for torch modules, callables and scikit-learn estimators."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor, nn
from torch.nn.parameter import UninitializedParameter

from ..core.arrays import unmasked
from ..core.engine import numbers
from ..core.preserve import device_of
from ..labels import parsing
from ..labels.inputs import Inputs
from .ensembles import Ensemble, name_of
from .linear import LinearModule
from .pipelines import LastStep
from .predictions import is_estimator, predict_function
from .summed import Summed

Call = Callable[[Tensor, dict[str, Tensor], Tensor], Any]
_CPU = torch.device("cpu")


@dataclass(frozen=True)
class OnArrays:
    """A callable on numpy arrays; see :func:`on_arrays`."""

    f: Callable[..., Any]


@dataclass(frozen=True)
class OnFrames:
    """A callable on DataFrames; see :func:`on_frames`."""

    f: Callable[..., Any]


def on_arrays(f: Callable[..., Any]) -> OnArrays:
    """A model that takes numpy arrays (rows, *dims) and gives an array with a row for each: no gradients.

    With several input variables it is called with one array a variable, by keyword; entries of `context` come by keyword.

    Examples
    --------
    >>> import numpy as np, tsattr as ta
    >>> model = ta.models.on_arrays(lambda x: x.sum(1))
    >>> ta.explain(model, np.ones((1, 2)), ta.Occlusion(ta.groups.Cells())).attribution.values.tolist()
    [[1.0, 1.0]]
    """
    return OnArrays(f)


def on_frames(f: Callable[..., Any]) -> OnFrames:
    """A model that takes a pandas DataFrame with the input's columns and gives an array with a row for each.

    Examples
    --------
    >>> import pandas as pd, tsattr as ta
    >>> model = ta.models.on_frames(lambda df: df["a"] * (df["b"] == "yes"))
    >>> x = pd.DataFrame({"a": [2.0], "b": ["yes"]})
    >>> method = ta.Occlusion(ta.groups.Cells(), ta.baselines.Constant({"a": 0.0, "b": "no"}))
    >>> ta.explain(model, x, method).attribution.values.tolist()
    [[2.0, 2.0]]
    """
    return OnFrames(f)


@dataclass(frozen=True)
class Model:
    """A model of any kind behind one calling convention.

    Attributes
    ----------
    call
        ``call(rows, context, position)``: outputs, rows first, of rows of the input's tensor, of the samples at `position`.
    name
        The model's name in results.
    module
        The torch module that is called, where there is one.
    differentiable
        True where gradients pass through `call`.
    labels, outputs
        Labels of its one output axis; names and labels of several. Those that the user gives come first.
    scale
        What its outputs are, where it says so: "probability" or "value"; see `tsattr.core.axes.Axes`.
    on_frame
        ``on_frame(frame, context)`` of a model on DataFrames.
    members
        Names of the members of an ensemble, which are the first axis of its outputs; none of one model.
    """

    call: Call
    name: str
    module: nn.Module | None = None
    differentiable: bool = True
    labels: np.ndarray | None = None
    scale: str | None = None
    outputs: Mapping[str, Any] | None = None
    on_frame: Callable[[Any, dict[str, Tensor]], Tensor] | None = None
    members: tuple[str, ...] = ()


def read(model: Any, inputs: Inputs) -> Model:
    """A model of any kind, for the rows of these inputs; the members of an ensemble as one model.

    Raises
    ------
    TypeError
        For something that is neither a module, a callable, nor a fitted estimator.
    ValueError
        For members whose outputs are not of one kind.
    """
    if isinstance(model, OnArrays):
        return Model(_arrays(model.f, inputs), name_of(model.f), differentiable=False, scale=_scale(model.f))
    if isinstance(model, OnFrames):
        on_frame, call = _frames(model.f, inputs)
        return Model(call, name_of(model.f), differentiable=False, scale=_scale(model.f), on_frame=on_frame)
    if isinstance(model, nn.Module) or (callable(model) and not isinstance(model, type) and not is_estimator(model)):
        module = model if isinstance(model, nn.Module) else getattr(model, "__self__", None)
        module = module if isinstance(module, nn.Module) else None
        return Model(_tensors(model, inputs), name_of(model), module, scale=_scale(model))
    if is_estimator(model) and not isinstance(model, type):
        return _estimator(model, inputs)
    if isinstance(model, Ensemble):
        return _together(model, inputs)
    if isinstance(model, Summed):
        return _summed(model, inputs)
    if isinstance(model, LastStep):
        raise TypeError(f"only explain takes a {model!r}, and as its only model; give the pipeline itself")
    raise TypeError(
        f"the model is a torch module, a callable on tensors, on_arrays(f), on_frames(f) or a fitted scikit-learn estimator, got {model!r}"
    )


def _scale(f: Any) -> str | None:
    """The scale of a function's outputs, where it is known: of a module by its last layer, of a method by its name."""
    while isinstance(f, nn.Sequential) and len(f):
        f = f[-1]
    if isinstance(f, LinearModule):
        return "probability" if f.classifies else "value"
    if isinstance(f, nn.Softmax | nn.Sigmoid):
        return "probability"
    name, owner = getattr(f, "__name__", ""), getattr(f, "__self__", None)
    estimator = owner is not None and not isinstance(owner, nn.Module)
    if estimator and name == "transform":  # distances to centres, components
        return "value"
    if estimator and name == "predict" and not hasattr(owner, "classes_"):
        return "value"
    return "probability" if name == "predict_proba" else None


def _tensors(f: Callable[..., Any], inputs: Inputs) -> Call:
    """A function of tensors, one a variable and by keyword where there are several, on rows of the input's tensor."""
    if inputs.codes is not None and any(u is not None for u in inputs.codes.levels):
        raise TypeError(
            "a model on tensors cannot take columns of categories; give the whole pipeline from the raw columns, or "
            "ta.models.on_frames(f)"
        )

    def call(rows: Tensor, context: dict[str, Tensor], position: Tensor) -> Any:
        parts = inputs.restore(rows)
        try:
            if inputs.single:
                return f(parts[None], **context)
            return f(**{str(k): v for k, v in parts.items()}, **context)
        except Exception as error:
            shapes = [
                f"{v.name or ''}({', '.join(f'{d} {n}' for d, n in zip((inputs.sample_dim, *v.axes.dims), parts[v.name].shape))})"
                for v in inputs.variables
            ]
            error.add_note(f"The model was called with {', '.join(shapes)}.")
            raise

    return call


def _arrays(f: Callable[..., Any], inputs: Inputs) -> Call:
    """A function of numpy arrays on rows of the input's tensor."""

    def on_numpy(*args: Tensor, **kwargs: Tensor) -> Tensor:
        return _numeric(f(*(a.cpu().numpy() for a in args), **{k: v.cpu().numpy() for k, v in kwargs.items()}))

    return _tensors(on_numpy, inputs)


def _frames(f: Callable[..., Any], inputs: Inputs) -> tuple[Callable[[Any, dict[str, Tensor]], Tensor], Call]:
    """A function of DataFrames with tensors as context, and the same on rows of the input's tensor."""

    def on_frame(frame: Any, context: dict[str, Tensor]) -> Tensor:
        return _numeric(f(frame, **{k: v.cpu().numpy() for k, v in context.items()}))

    def call(rows: Tensor, context: dict[str, Tensor], position: Tensor) -> Tensor:
        return on_frame(inputs.frame(rows.cpu().numpy(), position.cpu().numpy()), context)

    return on_frame, call


def _numeric(y: Any) -> Tensor:
    """Outputs of a function of arrays as a float64 tensor; TypeError for what is no array of numbers."""
    if isinstance(y, list | tuple) and any(np.ndim(one) for one in y):
        shapes = ", ".join(str(np.shape(one)) for one in y[:4])
        raise TypeError(
            f"the model gives a {type(y).__name__} of {len(y)} arrays of shapes {shapes}{', ...' if len(y) > 4 else ''}; give one array "
            "with the rows first: np.stack(f(x), 1) where each is an output for all rows, np.stack(f(x)) where each is a row"
        )
    v = unmasked(y)
    if v.dtype.kind not in "biuf":
        raise TypeError(
            f"the model gives values of dtype {v.dtype}; explain a number, such as predict_proba or decision_function"
        )
    return torch.from_numpy(np.array(v, dtype=np.float64))


def _estimator(model: Any, inputs: Inputs) -> Model:
    """A fitted estimator: on DataFrames where the input is one or the estimator knows its columns by name, else on arrays."""
    table = inputs.single and len(inputs.variables[0].axes.shape) == 1
    by_name = inputs.codes is not None or (table and hasattr(model, "feature_names_in_"))
    found = predict_function(model, "on_frames" if by_name else "on_arrays")
    on_frame, call = _frames(found.f, inputs) if by_name else (None, _arrays(found.f, inputs))
    return Model(
        call,
        found.name,
        differentiable=False,
        labels=found.labels,
        scale=found.scale,
        outputs=found.outputs,
        on_frame=on_frame,
    )


def _together(ensemble: Ensemble, inputs: Inputs) -> Model:
    """The members of an ensemble as one model: its outputs have an axis of the members after the rows."""
    each = [read(member, inputs) for member in ensemble.members]
    first, names = each[0], ensemble.names
    scales = {m.scale for m in each} - {None}
    if len(scales) > 1:
        raise ValueError(
            f"members of the ensemble give {' and '.join(sorted(map(str, scales)))}; give models of one kind"
        )
    for name, m in zip(names, each):
        if str((m.labels, m.outputs)) != str((first.labels, first.outputs)):
            raise ValueError(f"members {names[0]!r} and {name!r} of the ensemble label their outputs otherwise")
    frames = [m.on_frame for m in each if m.on_frame is not None]

    def call(rows: Tensor, context: dict[str, Tensor], position: Tensor) -> Tensor:
        return _stacked(names, (partial(m.call, rows, context, position) for m in each), rows)

    def on_frame(frame: Any, context: dict[str, Tensor]) -> Tensor:
        return torch.stack([f(frame, context) for f in frames], 1)

    modules = [m.module for m in each if m.module is not None]
    return Model(
        call,
        ", ".join(dict.fromkeys(m.name for m in each)),
        nn.ModuleList(modules) if modules else None,
        all(m.differentiable for m in each),
        first.labels,
        scales.pop() if scales else None,
        first.outputs,
        on_frame if len(frames) == len(each) else None,
        names,
    )


def _stacked(names: Sequence[str], calls: Iterable[Callable[[], Any]], rows: Tensor) -> Tensor:
    """Outputs of the members for these rows, (rows, members, *out)."""
    found = []
    for name, call in zip(names, calls):
        try:
            found.append(numbers(call()).to(rows.device))
        except Exception as error:
            error.add_note(f"This was member {name!r} of the ensemble.")
            raise
    if len({y.shape for y in found}) > 1:
        shapes = ", ".join(f"{name!r} {tuple(y.shape)}" for name, y in zip(names, found))
        raise ValueError(f"members of the ensemble give outputs of different shapes for {len(rows)} rows: {shapes}")
    # Outputs for one row may lack its axis, which is then found as that of any model.
    return torch.stack(found, 1 if found[0].ndim and len(found[0]) == len(rows) else 0)


def _summed(summed: Summed, inputs: Inputs) -> Model:
    """A model of sums over a dim of the input."""
    dim, sums = (
        summed.dim,
        {v.name: 1 + v.axes.dims.index(summed.dim) for v in inputs.variables if summed.dim in v.axes.dims},
    )
    if not sums:
        dims = sorted({d for v in inputs.variables for d in v.axes.dims})
        raise KeyError(f"the model is asked with the sum over dim {dim!r}, which the input lacks; its dims are {dims}")
    arrays = {v.name: v.array.isel({dim: 0}, drop=True) if v.name in sums else v.array for v in inputs.variables}
    whole = arrays[None] if inputs.single else xr.Dataset({str(k): v for k, v in arrays.items()})
    inner_inputs = parsing.read(whole, None, inputs.sample_dim, None)
    inner = read(summed.model, inner_inputs)

    def call(rows: Tensor, context: dict[str, Tensor], position: Tensor) -> Any:
        parts = [v.sum(sums[k]) if k in sums else v for k, v in inputs.restore(rows).items()]
        joined = parts[0] if inputs.single else torch.cat([v.unsqueeze(1).flatten(1).to(rows.dtype) for v in parts], 1)
        return inner.call(joined, context, position)

    return replace(inner, call=call, on_frame=None)


def device_for(device: Any, module: nn.Module | None, inputs: Inputs) -> torch.device:
    """The device to run on: the one given, else the module's, else the input's; ValueError if it cannot be used."""
    if device is None:
        device = device_of(module) or inputs.device or _CPU
    if device == _CPU:
        return _CPU
    try:
        torch.zeros((), dtype=torch.float64, device=device).item()
        return torch.device(device)
    except (AssertionError, NotImplementedError, RuntimeError, TypeError) as error:
        reason = str(error).partition("\n")[0]
        raise ValueError(
            f"device {str(device)!r} cannot be used: it must be there and hold float64, in which sums are kept ({reason}); "
            "give device='cpu' or 'cuda', or move the model there"
        ) from error


def check_dtype(module: nn.Module | None, inputs: Inputs, *, mixed: bool = False) -> None:
    """TypeError where a variable's dtype is not that of the module's parameters; with autocast (`mixed`) only float64 is refused."""
    if module is None:
        return
    if isinstance(module, nn.ModuleList):  # members of an ensemble
        for member in module:
            check_dtype(member, inputs, mixed=mixed)
        return
    parameters = list(module.parameters())
    if any(isinstance(p, UninitializedParameter) for p in parameters):
        raise ValueError(
            "the model has layers whose sizes are not known yet (LazyLinear or the like): call it once on some rows"
        )
    accepted = {p.dtype for p in parameters if p.dtype.is_floating_point}
    for v in inputs.variables:
        dtype = getattr(torch, str(v.array.dtype))
        cast = mixed and torch.float64 not in accepted | {dtype}
        if accepted and dtype not in accepted and not cast:
            names = sorted(str(t).removeprefix("torch.") for t in accepted)
            what = "x" if v.name is None else f"variable {v.name!r}"
            fix = f"x.astype({names[-1]!r}), or convert the model: model.to(torch.{v.array.dtype})"
            if inputs.codes is not None:  # whatever its columns are
                what, fix = "a DataFrame", f"x.to_numpy({names[-1]!r}), or model.double()"
            if names[-1] not in ("float16", "float32", "float64"):  # no dtype of numpy's
                single = "" if dtype == torch.float32 else "x as float32 with "
                fix = f"the model in {v.array.dtype}, model.to(torch.{v.array.dtype}), or {single}autocast='bfloat16'"
            raise TypeError(f"{what} is {v.array.dtype}, the model's parameters are {' and '.join(names)}; give {fix}")
