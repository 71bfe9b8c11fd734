"""What is explained: torch modules, callables and scikit-learn estimators behind one calling convention."""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedParameter

from ..core.arrays import unmasked
from ..core.results import check_count
from ..core.untouched import home_of, hooked
from ..labels.inputs import Inputs
from .linear import Linear
from .pipelines import LastStep
from .pipelines import last_step as last_step
from .predictions import asked, predicts


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


@dataclass(frozen=True, init=False)
class Ensemble:
    """Several models of the same thing, each explained by itself: ``ta.explain(Ensemble([a, b]), x, method)``.

    The result is the mean of the members' maps with its standard error between them, and how far they agree; see
    `tsattr.edge.call.members.combine`.

    Parameters
    ----------
    members
        Models of any kind that `explain` takes, at least two; or a mapping from names to models.

    Examples
    --------
    >>> import numpy as np, tsattr as ta
    >>> double, triple = (ta.models.on_arrays(lambda x, w=w: w * x.sum(1)) for w in (2, 3))
    >>> both = ta.models.Ensemble({"double": double, "triple": triple})
    >>> both.names
    ('double', 'triple')
    """

    members: tuple[Any, ...]
    names: tuple[str, ...]

    def __init__(self, members: Sequence[Any] | Mapping[str, Any]) -> None:
        named = members if isinstance(members, Mapping) else {str(i): m for i, m in enumerate(members)}
        if len(named) < 2:
            raise ValueError(f"an Ensemble has at least two members, got {len(named)}; explain one model as it is")
        object.__setattr__(self, "members", tuple(named.values()))
        object.__setattr__(self, "names", tuple(map(str, named)))

    def __repr__(self) -> str:
        return f"Ensemble({', '.join(f'{n}: {_name(m)}' for n, m in zip(self.names, self.members))})"


_DROPOUTS = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d)


def dropout(module: nn.Module, passes: int = 20, seed: int = 0) -> Ensemble:
    """Networks thinned by dropout, as the members of an ensemble: what its training says of the model's uncertainty.

    Each member switches off units of every Dropout module with its probability p, scales the others by 1 / (1 - p), and
    keeps to that: all rows of all batches see one network. Members share the module's weights; the module is left as it
    is. Dropout inside recurrent layers and ``F.dropout`` is not reached. Gal and Ghahramani, ICML 2016.

    Parameters
    ----------
    module
        A torch module with ``nn.Dropout`` (or ``Dropout1d``, ``2d``, ``3d``: whole channels) modules that work on tensors
        with the rows first.
    passes
        Number of members, at least 2.
    seed
        Which units are off depends on it, the member and the module's name alone.

    Raises
    ------
    TypeError, ValueError
        Not a module; no such Dropout module with p > 0 in it.

    Examples
    --------
    >>> import torch, tsattr as ta
    >>> net = torch.nn.Sequential(torch.nn.Dropout(0.5), torch.nn.Linear(4, 1))
    >>> len(ta.models.dropout(net, passes=3).members)
    3
    """
    check_count("passes", passes)
    if not isinstance(module, nn.Module):
        raise TypeError(f"dropout thins a torch module, got {type(module).__name__}")
    if not any(isinstance(m, _DROPOUTS) and m.p > 0 for m in module.modules()):
        raise ValueError(
            f"{type(module).__name__} has no nn.Dropout module with p > 0 to thin it by; F.dropout and the dropout of "
            "recurrent layers are not reached: use nn.Dropout modules, or an Ensemble of models"
        )
    return Ensemble([Thinned(module, (seed % 2**64, number)) for number in range(passes)])


class Thinned(nn.Module):
    """A network with some units off for good; see :func:`dropout`."""

    def __init__(self, module: nn.Module, entropy: tuple[int, ...]) -> None:
        super().__init__()
        self.module = module
        self.entropy = entropy

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The module's output without those units."""
        rows = len((*args, *kwargs.values())[0])
        calls: Counter[str] = Counter()

        def thin(name: str, m: nn.Module, output: Tensor) -> Tensor:
            calls[name] += 1
            if len(output) != rows:
                raise ValueError(
                    f"Dropout module {name!r} gets {tuple(output.shape)} for {rows} rows; it must have the rows first, for "
                    "all of them to share a mask"
                )
            return output * self._mask(name, calls[name], m, output)

        hooks = [
            (m, m.register_forward_hook, lambda m, inputs, output, name=name: thin(name, m, output))
            for name, m in self.module.named_modules()
            if isinstance(m, _DROPOUTS)
        ]
        with hooked(*hooks):
            return self.module(*args, **kwargs)

    def _mask(self, name: str, call: int, m: Any, like: Tensor) -> Tensor:
        """0 where a unit (or a channel) is off, else 1 / (1 - p)."""
        shape = like.shape[1:] if isinstance(m, nn.Dropout) else (like.shape[1],) + (1,) * (like.ndim - 2)
        draw = np.random.default_rng([*self.entropy, zlib.crc32(name.encode()), call]).random(shape)
        return torch.as_tensor(np.where(draw < m.p, 0.0, 1 / max(1 - m.p, 1e-300))).to(like)


@dataclass(frozen=True)
class Model:
    """Any model as ``call(rows, context, position of their samples) -> outputs`` on tensors; `on_frame` of one on frames.

    `scale` is what its outputs are, where it says so: "probability", "value"; see `tsattr.core.axes.Axes`. `outputs` names
    their axes, where the model knows, unless the user does.
    """

    call: Callable[[Tensor, dict[str, Tensor], Tensor], Any]
    name: str
    module: nn.Module | None = None
    differentiable: bool = True
    labels: np.ndarray | None = None
    scale: str | None = None
    outputs: Mapping[str, Any] | None = None
    on_frame: Callable[[Any, dict[str, Tensor]], Tensor] | None = None


def read(model: Any, inputs: Inputs) -> Model:
    """Find out what kind of model this is.

    Raises
    ------
    TypeError
        For something that is neither a module, a callable, nor a fitted estimator.
    """
    if isinstance(model, OnArrays):
        return Model(_arrays(model.f, inputs), _name(model.f), differentiable=False, scale=_scale(model.f))
    if isinstance(model, OnFrames):
        on_frame, call = _frames(model.f, inputs)
        return Model(call, _name(model.f), differentiable=False, scale=_scale(model.f), on_frame=on_frame)
    if isinstance(model, nn.Module) or (callable(model) and not isinstance(model, type) and not predicts(model)):
        module = model if isinstance(model, nn.Module) else getattr(model, "__self__", None)
        module = module if isinstance(module, nn.Module) else None
        return Model(_tensors(model, inputs), _name(model), module, scale=_scale(model))
    if predicts(model) and not isinstance(model, type):
        return _estimator(model, inputs)
    if isinstance(model, Ensemble):
        raise TypeError(f"only explain takes an {model!r}; give one of its members, or one model of their mean output")
    if isinstance(model, LastStep):
        raise TypeError(f"only explain takes a {model!r}; give the pipeline itself")
    raise TypeError(
        f"the model is a torch module, a callable on tensors, on_arrays(f), on_frames(f) or a fitted scikit-learn estimator, got {model!r}"
    )


def _scale(f: Any) -> str | None:
    """What a function's outputs are, where it says so; a module by the last of its layers, if it is a Sequential."""
    while isinstance(f, nn.Sequential) and len(f):
        f = f[-1]
    if isinstance(f, Linear):
        return "probability" if f.classifies else "value"
    if isinstance(f, nn.Softmax | nn.Sigmoid):
        return "probability"
    name, owner = getattr(f, "__name__", ""), getattr(f, "__self__", None)
    if (
        name == "transform" and owner is not None and not isinstance(owner, nn.Module)
    ):  # distances to centres, components
        return "value"
    if name == "predict" and owner is not None and not hasattr(owner, "classes_") and not isinstance(owner, nn.Module):
        return "value"
    return "probability" if name == "predict_proba" else None


def _name(f: Any) -> str:
    return getattr(f, "__qualname__", None) or type(f).__qualname__


def _tensors(f: Callable[..., Any], inputs: Inputs) -> Callable[[Tensor, dict[str, Tensor], Tensor], Any]:
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


def _arrays(f: Callable[..., Any], inputs: Inputs) -> Callable[[Tensor, dict[str, Tensor], Tensor], Any]:
    def on_numpy(*args: Tensor, **kwargs: Tensor) -> Tensor:
        return _numeric(f(*(a.cpu().numpy() for a in args), **{k: v.cpu().numpy() for k, v in kwargs.items()}))

    return _tensors(on_numpy, inputs)


def _frames(
    f: Callable[..., Any], inputs: Inputs
) -> tuple[Callable[[Any, dict[str, Tensor]], Tensor], Callable[[Tensor, dict[str, Tensor], Tensor], Tensor]]:
    """A model on frames, and the same on coded rows."""

    def on_frame(frame: Any, context: dict[str, Tensor]) -> Tensor:
        return _numeric(f(frame, **{k: v.cpu().numpy() for k, v in context.items()}))

    def call(rows: Tensor, context: dict[str, Tensor], position: Tensor) -> Tensor:
        return on_frame(inputs.frame(rows.cpu().numpy(), position.cpu().numpy()), context)

    return on_frame, call


def _numeric(y: Any) -> Tensor:
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
    table = inputs.single and len(inputs.variables[0].axes.shape) == 1
    by_name = inputs.codes is not None or (table and hasattr(model, "feature_names_in_"))
    found = asked(model, "on_frames" if by_name else "on_arrays")
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


def check_dtype(module: nn.Module | None, inputs: Inputs, *, mixed: bool = False) -> None:
    """TypeError where an input's dtype is not that of the module's parameters; mixed precision bridges all but float64."""
    if module is None:
        return
    parameters = list(module.parameters())
    if any(isinstance(p, UninitializedParameter) for p in parameters):
        raise ValueError(
            "the model has layers whose sizes are not known yet (LazyLinear or the like): call it once on some rows"
        )
    theirs = {p.dtype for p in parameters if p.dtype.is_floating_point}
    for v in inputs.variables:
        mine = getattr(torch, str(v.array.dtype))
        bridged = mixed and torch.float64 not in theirs | {mine}
        if theirs and mine not in theirs and not bridged:
            names = sorted(str(t).removeprefix("torch.") for t in theirs)
            what = "x" if v.name is None else f"variable {v.name!r}"
            fix = f"x.astype({names[-1]!r}), or convert the model: model.to(torch.{v.array.dtype})"
            if inputs.codes is not None:  # whatever its columns are
                what, fix = "a DataFrame", f"x.to_numpy({names[-1]!r}), or model.double()"
            if names[-1] not in ("float16", "float32", "float64"):  # no dtype of numpy's
                single = "" if mine == torch.float32 else "x as float32 with "
                fix = f"the model in {v.array.dtype}, model.to(torch.{v.array.dtype}), or {single}autocast='bfloat16'"
            raise TypeError(f"{what} is {v.array.dtype}, the model's parameters are {' and '.join(names)}; give {fix}")
