"""Embeddings of samples: a layer of a model, or a function of one's own, asked like any model."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypedDict, Unpack

import torch
import xarray as xr
from torch import Tensor, nn

from ..core.method import Method
from ..core.preserve import temporary_hooks
from ..core.targets.outputs import Outputs
from ..edge import trials
from ..edge.call import Call
from ..edge.settings import DEFAULTS, filled, shown
from ..labels import parsing
from ..labels.inputs import Inputs
from ..models import calling as models
from ..models.ensembles import name_of
from ..models.predictions import is_estimator

INPUT = "input of "  # before the name of a layer whose input is the embedding
DIM = "embedding_number"

# Layers that work on the last axis of (rows, *positions, features); others have their features after the rows.
_LAST = (nn.Linear, nn.LayerNorm, nn.Embedding, nn.RNNBase, nn.TransformerEncoder, nn.TransformerEncoderLayer)


class EmbedSettings(TypedDict, total=False):
    """What embedding takes of a call; the parameters of :func:`tsattr.explain` say what they mean."""

    dims: Sequence[str] | None
    sample_dim: str | None
    valid: Any
    context: Mapping[str, Any] | None
    batch_size: int | str
    device: Any
    autocast: Any
    check: bool
    progress: bool | Callable[[int, int], None]


EMBED: dict[str, Any] = {name: DEFAULTS[name] for name in EmbedSettings.__annotations__}


@shown(EmbedSettings, EMBED)
def embed(model: Any, x: Any, layer: str | None = None, **settings: Unpack[EmbedSettings]) -> xr.DataArray:
    """What a model makes of each sample on the way to its output: ``a = phi(x)``.

    Parameters
    ----------
    model
        Anything that `tsattr.explain` takes; a function, estimator or transformer gives the embeddings themselves.
    x, dims, sample_dim, valid, context, batch_size, device, autocast, check, progress
        As for `tsattr.explain`.
    layer
        Of a torch module: a name in ``model.named_modules()``, whose output is taken ("" is the model itself); or
        ``"input of NAME"``. Positions are averaged: those of (rows, features, \\*positions), of layers on the last axis
        (Linear, LayerNorm, recurrent ones, transformers) those of (rows, \\*positions, features). Padding counts in that
        mean; give a function that leaves it out. None: the input of the Linear layer called last, found by a trial; of a
        model without such a layer its own output.

    Returns
    -------
    xr.DataArray
        (sample, embedding_number) in float64 with the coordinates of the samples; NaN where the model gives NaN. The attrs have
        ``model``, ``layer`` and ``fingerprint``, the SHA-256 of the model's weights ("" where it has none).

    Raises
    ------
    KeyError
        No such layer.
    TypeError, ValueError
        As `tsattr.explain`; a layer for a model that is no module; an output that is no row of numbers for each sample.

    Examples
    --------
    >>> import torch, tsattr as ta
    >>> net = torch.nn.Sequential(torch.nn.Identity(), torch.nn.Linear(3, 2))
    >>> a = ta.cases.embed(net, torch.tensor([[1.0, 2.0, 3.0]]))
    >>> a.values.tolist(), a.attrs["layer"]
    ([[1.0, 2.0, 3.0]], 'input of 1')
    """
    given = filled("embed", settings, EMBED)
    inputs = parsing.read(x, given["dims"], given["sample_dim"], given["valid"])
    return Embedder.of(model, inputs, layer, given)(inputs, given)


@dataclass(frozen=True, eq=False)
class Embedder:
    """A model of which a layer, or the output, is the embedding.

    Parameters
    ----------
    model
        As it was given.
    layer
        The name of a layer of a torch module, or "input of " before one; "" for the model's own output.
    """

    model: Any
    layer: str = ""

    def __post_init__(self) -> None:
        if isinstance(self.model, nn.Module):  # of a compiled one: its layers can be read
            object.__setattr__(self, "model", getattr(self.model, "_orig_mod", self.model))
        if not isinstance(self.layer, str):
            raise TypeError(f"layer is a name in model.named_modules(), 'input of NAME' or '', got {self.layer!r}")
        if self.layer and not isinstance(self.model, nn.Module):
            raise TypeError(f"layer={self.layer!r} is of a torch module, and {self.name} is none; leave layer= out")

    @classmethod
    def of(cls, model: Any, inputs: Inputs, layer: str | None, settings: Mapping[str, Any]) -> Embedder:
        """A model's embedding; where no layer of a module is named, it is asked about a few samples to find it."""
        own = cls(model, "" if layer is None else layer)
        trial = layer is None and isinstance(own.model, nn.Module)
        return cls(own.model, _last_linear(own.model, inputs, settings)) if trial else own

    @property
    def name(self) -> str:
        """The model's name."""
        return name_of(self.model)

    @property
    def fingerprint(self) -> str:
        """The SHA-256 of the model's weights as they are now; "" where it has none."""
        owner = self.model if isinstance(self.model, nn.Module) else getattr(self.model, "__self__", None)
        return fingerprint(owner if isinstance(owner, nn.Module) else None)

    def call(self, inputs: Inputs, settings: Mapping[str, Any], method: Method | None = None) -> Call:
        """The call whose outputs are embeddings."""
        model = Layer(self.model, self.layer) if isinstance(self.model, nn.Module) else _function(self.model, inputs)
        return Call.of(model, inputs, method, **{"target": Outputs(), **settings})

    def __call__(self, inputs: Inputs, settings: Mapping[str, Any]) -> xr.DataArray:
        """The embeddings of some samples, as `embed` gives them."""
        call = self.call(inputs, settings)
        parts: list[Tensor] = []
        with trials.running(call, inputs.n, "embed") as engine:
            for _, samples in call.chunks(engine):
                assert samples.intact_outputs is not None
                parts.append(samples.intact_outputs)
        values = torch.cat(parts).cpu().numpy()
        if values.ndim > 2:
            raise ValueError(
                f"the model gives {values.shape[1:]} for each sample; an embedding is one row of numbers: average it over its "
                "positions or flatten it, or name a layer"
            )
        data = xr.DataArray(values.reshape(inputs.n, -1), dims=(inputs.sample_dim, DIM), coords=inputs.sample_coords())
        return data.assign_attrs(model=self.name, layer=self.layer, fingerprint=self.fingerprint)


class Layer(nn.Module):
    """A module whose output is that of one of its layers, or the input of one, with positions averaged."""

    def __init__(self, module: nn.Module, layer: str) -> None:
        super().__init__()
        if layer and any(isinstance(m, torch.jit.ScriptModule) or m._compiled_call_impl for m in module.modules()):
            raise TypeError(
                f"{type(module).__name__} is TorchScript or was compiled in place, which hides its layers: give the module that it "
                "was made from, or layer='' for its own output"
            )
        self.module = module
        self.layer = layer
        name = layer.removeprefix(INPUT)
        known = dict(module.named_modules())
        if name not in known:
            some = [n for n in known if n][-5:]
            raise KeyError(
                f"{type(module).__name__} has no layer {name!r}; name one of named_modules(), such as {some}, "
                f"{INPUT + (some[-1] if some else 'head')!r}, or '' for its own output"
            )
        end = _end(known[name])
        self.last = layer.startswith(INPUT) or isinstance(end, _LAST)
        self.tuple = not layer.startswith(INPUT) and isinstance(end, nn.RNNBase | nn.MultiheadAttention)

    def named_modules(self, *args: Any, **kwargs: Any) -> Any:
        """Those of the module itself, so that methods know its layers by the names that it gives them."""
        return self.module.named_modules(*args, **kwargs)

    def get_submodule(self, target: str) -> nn.Module:
        """The layer of that name."""
        return self.module.get_submodule(target)

    def forward(self, *args: Any, **kwargs: Any) -> Tensor:
        """(rows, features)."""
        rows = len((*args, *kwargs.values())[0])
        if not self.layer:
            return self._pooled(self.module(*args, **kwargs), rows)
        found: list[Any] = []
        with temporary_hooks(self._hook(found)):
            self.module(*args, **kwargs)
        if not found:
            raise ValueError(f"layer {self.layer!r} is not called for a prediction; name one that is")
        if len(found) > 1 and not self.layer.startswith(INPUT):
            raise ValueError(
                f"layer {self.layer!r} is used {len(found)} times for one prediction; name one that is used once"
            )
        return self._pooled(found[-1], rows)

    def _hook(self, found: list[Any]) -> tuple[nn.Module, Any, Callable[..., None]]:
        if self.layer.startswith(INPUT):
            m = self.module.get_submodule(self.layer.removeprefix(INPUT))
            return m, m.register_forward_pre_hook, lambda m, args: found.append(_copy(args[0] if args else None))
        m = self.module.get_submodule(self.layer)
        return m, m.register_forward_hook, lambda m, args, output: found.append(_copy(output))

    def _pooled(self, a: Any, rows: int) -> Tensor:
        a = a[0] if self.tuple and isinstance(a, tuple) else a  # the output comes before the state, or the weights
        if not isinstance(a, Tensor) or not a.is_floating_point() or a.ndim == 0 or len(a) != rows:
            what = f"{a.dtype} of shape {tuple(a.shape)}" if isinstance(a, Tensor) else type(a).__name__
            raise ValueError(
                f"{f'layer {self.layer!r}' if self.layer else 'the model'} gives {what} for {rows} rows; an embedding is made of real numbers, with the rows first: "
                "name another layer, or give a function of x"
            )
        if a.ndim < 3:
            return a.reshape(rows, -1)
        return a.mean(list(range(1, a.ndim - 1) if self.last else range(2, a.ndim)))


def _copy(a: Any) -> Any:
    """What a layer gave, kept as it is now: what follows may write into it."""
    if isinstance(a, tuple):
        return tuple(map(_copy, a))
    return a.clone() if isinstance(a, Tensor) else a


def _end(module: nn.Module) -> nn.Module:
    while isinstance(module, nn.Sequential) and len(module):
        module = module[-1]
    return module


def _last_linear(module: nn.Module, inputs: Inputs, settings: Mapping[str, Any]) -> str:
    """ "input of NAME" of the Linear layer called last with one row for each sample; "" where there is none."""
    call = Call.of(module, inputs, **{"target": Outputs(), **settings, "check": False}).quiet()
    called: list[str] = []
    few = min(inputs.n, 2, call.batch_size)

    def seen(name: str, args: tuple[Any, ...]) -> None:
        if args and isinstance(args[0], Tensor) and args[0].ndim > 1 and len(args[0]) == few:
            called.append(name)

    hooks = [
        (m, m.register_forward_pre_hook, lambda m, args, name=name: seen(name, args))
        for name, m in module.named_modules()
        if isinstance(m, nn.Linear) and name
    ]
    if not hooks:
        return ""
    with call.running(0) as engine, torch.no_grad(), temporary_hooks(*hooks):
        rows, _ = inputs.load(slice(0, few))
        engine.outputs(rows.to(call.device), torch.arange(few, device=call.device))
    return INPUT + called[-1] if called else ""


def _function(model: Any, inputs: Inputs) -> Any:
    """What gives embeddings: a transformer's ``transform`` on arrays or tables; anything else as it is."""
    if not hasattr(model, "transform") or is_estimator(model) or callable(model):
        return model

    def transformed(rows: Any) -> Any:
        found = model.transform(rows if inputs.codes is not None else rows.reshape(len(rows), -1))
        return found.toarray() if hasattr(found, "toarray") else found

    return models.on_frames(transformed) if inputs.codes is not None else models.on_arrays(transformed)


def fingerprint(module: nn.Module | None) -> str:
    """The SHA-256 of a module's parameters and buffers, in their order, whatever their names and device; "" without any."""
    state = [] if module is None else [v for v in module.state_dict().values() if isinstance(v, Tensor)]
    if not state:
        return ""
    digest = hashlib.sha256()
    for v in state:
        digest.update(f"{v.dtype} {tuple(v.shape)};".encode())
        digest.update(v.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
