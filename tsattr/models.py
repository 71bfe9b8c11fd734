"""What is explained: torch modules, callables and scikit-learn estimators behind one calling convention."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from .core.engine import home_of
from .labels import Inputs


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
    """Any model as ``call(variables, context) -> outputs`` on tensors."""

    call: Callable[[Tensor, dict[str, Tensor]], Any]
    name: str
    module: nn.Module | None = None
    differentiable: bool = True
    labels: np.ndarray | None = None


def read(model: Any, inputs: Inputs) -> Model:
    """Find out what kind of model this is.

    Raises
    ------
    TypeError
        For something that is neither a module, a callable, nor a fitted estimator.
    """
    if isinstance(model, OnArrays):
        return Model(_arrays(model.f, inputs), _name(model.f), differentiable=False)
    if isinstance(model, OnFrames):
        return Model(_frames(model.f, inputs), _name(model.f), differentiable=False)
    if isinstance(model, nn.Module) or (callable(model) and not isinstance(model, type) and not _predicts(model)):
        module = model if isinstance(model, nn.Module) else getattr(model, "__self__", None)
        return Model(_tensors(model, inputs), _name(model), module if isinstance(module, nn.Module) else None)
    if _predicts(model) and not isinstance(model, type):
        return _estimator(model, inputs)
    raise TypeError(
        f"the model is a torch module, a callable on tensors, on_arrays(f), on_frames(f) or a fitted scikit-learn estimator, got {model!r}"
    )


def _predicts(model: Any) -> bool:
    return hasattr(model, "predict_proba") or hasattr(model, "predict")


def _name(f: Any) -> str:
    return getattr(f, "__qualname__", None) or type(f).__qualname__


def _tensors(f: Callable[..., Any], inputs: Inputs) -> Callable[[Tensor, dict[str, Tensor]], Any]:
    if inputs.codes is not None and any(u is not None for u in inputs.codes.levels):
        raise TypeError(
            "a model on tensors cannot take columns of categories; give the whole pipeline from the raw columns, or "
            "ta.models.on_frames(f)"
        )

    def call(rows: Tensor, context: dict[str, Tensor]) -> Any:
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


def _arrays(f: Callable[..., Any], inputs: Inputs) -> Callable[[Tensor, dict[str, Tensor]], Any]:
    def on_numpy(*args: Tensor, **kwargs: Tensor) -> Tensor:
        return _numeric(f(*(a.cpu().numpy() for a in args), **{k: v.cpu().numpy() for k, v in kwargs.items()}))

    return _tensors(on_numpy, inputs)


def _frames(f: Callable[..., Any], inputs: Inputs) -> Callable[[Tensor, dict[str, Tensor]], Any]:
    def call(rows: Tensor, context: dict[str, Tensor]) -> Tensor:
        return _numeric(f(inputs.frame(rows.cpu().numpy()), **{k: v.cpu().numpy() for k, v in context.items()}))

    return call


def _numeric(y: Any) -> Tensor:
    v = np.asarray(y)
    if v.dtype.kind not in "biuf":
        raise TypeError(
            f"the model gives values of dtype {v.dtype}; explain a number, such as predict_proba or decision_function"
        )
    return torch.from_numpy(np.array(v, dtype=np.float64))


def _estimator(model: Any, inputs: Inputs) -> Model:
    classes = getattr(model, "classes_", None)
    if hasattr(model, "predict_proba"):
        f = model.predict_proba
    elif classes is not None:
        raise TypeError(
            f"{type(model).__name__} is a classifier without predict_proba; explain its margin: "
            "ta.models.on_arrays(model.decision_function), or calibrate it (CalibratedClassifierCV)"
        )
    else:
        f = model.predict
    table = inputs.single and len(inputs.variables[0].axes.shape) == 1
    by_name = inputs.codes is not None or (table and hasattr(model, "feature_names_in_"))
    call = (_frames if by_name else _arrays)(f, inputs)
    labels = np.asarray(classes) if classes is not None and not isinstance(classes, list) else None
    return Model(call, type(model).__name__, differentiable=False, labels=labels)


def place(device: Any, module: nn.Module | None, inputs: Inputs) -> torch.device:
    """Where to run: as asked, else where the module is, else where the input is; ValueError if that cannot be."""
    wanted = device if device is not None else home_of(module) or inputs.device or "cpu"
    try:
        torch.zeros((), dtype=torch.float64, device=wanted).item()
        return torch.device(wanted)
    except (AssertionError, NotImplementedError, RuntimeError, TypeError) as error:
        reason = str(error).partition("\n")[0]
        raise ValueError(
            f"device {str(wanted)!r} cannot be used: it must be there and hold float64, in which sums are kept ({reason}); "
            "give device='cpu' or 'cuda', or move the model there"
        ) from error


def check_dtype(module: nn.Module | None, inputs: Inputs) -> None:
    """TypeError where an input's dtype is not that of the module's parameters."""
    if module is None:
        return
    theirs = {p.dtype for p in module.parameters() if p.dtype.is_floating_point}
    for v in inputs.variables:
        mine = getattr(torch, str(v.array.dtype))
        if theirs and mine not in theirs:
            name = str(next(iter(theirs))).removeprefix("torch.")
            what = "x" if v.name is None else f"variable {v.name!r}"
            fix = f"x.astype({name!r})"
            if inputs.codes is not None:  # whatever its columns are
                what, fix = "a DataFrame", f"x.to_numpy({name!r})"
            raise TypeError(
                f"{what} is {v.array.dtype}, the model's parameters are {name}; give {fix}, or convert the model"
            )
