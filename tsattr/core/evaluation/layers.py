"""A layer of the model, for a method that reads one: which, what it gives in a forward pass, where its cells lie."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..attention import AttentionMap
from ..engine import Engine
from ..preserve import temporary_hooks, without_cudnn
from ..samples import SampleChunk
from .receptive import Leaky, Line, lines

TRIAL_ROWS = 8
"""Rows of no sample that :func:`centres` asks of the model."""


def check_one_variable(method: str, axes: Sequence[Any]) -> None:
    """TypeError for an input of several variables, of which a layer's cells do not tell which they lie in."""
    if len(axes) > 1:
        raise TypeError(f"{method} explains an input of one variable, got {len(axes)}; give the others in context=")


def check_layers_are_called(method: str, module: nn.Module) -> None:
    """TypeError for a module whose layers are not called one by one."""
    for name, m in module.named_modules():
        where = f"its part {name!r}" if name else "it"
        if isinstance(m, torch.jit.ScriptModule):
            what = f"{where} is TorchScript"
        elif m._compiled_call_impl is not None or type(m).__name__ == "OptimizedModule":
            what = f"{where} went through torch.compile"
        elif isinstance(m, torch.fx.GraphModule) and not any(map(_calls_a_layer, m.graph.nodes)):
            what = f"{where} was exported"
        else:
            continue
        raise TypeError(
            f"{method} reads a layer of the model, and {what}, which hides them; give the module that it was made from (of a compiled "
            "one model._orig_mod, or a copy made before .compile())"
        )


def networks(module: nn.Module) -> list[nn.Module]:
    """The networks that are asked as one model: the members of an ensemble for a target of them together, else the module."""
    return list(module) if isinstance(module, nn.ModuleList) else [module]  # a list is no network: nobody calls it


def check_one_network(method: str, module: nn.Module) -> None:
    """TypeError for several networks that are asked as one model."""
    if len(networks(module)) > 1:
        raise TypeError(
            f"{method} reads a layer of one network, and a target of all members of an ensemble is of several; use another "
            "method, such as GradCAM, IntegratedGradients or Occlusion, or explain the members' own outputs"
        )


def _calls_a_layer(node: Any) -> bool:
    return bool(node.op == "call_module" and node.target != "_guards_fn")


def convolutions(module: nn.Module) -> list[str]:
    """Names of the convolutions in the order in which they were registered, without those of a learned attention."""
    aside = [f"{name}." for name in attentions(module)]
    return [
        name
        for name, m in module.named_modules()
        if isinstance(m, nn.modules.conv._ConvNd) and not name.startswith(tuple(aside))
    ]


def attentions(module: nn.Module) -> list[str]:
    """Names of the parts that are marked as maps."""
    return [name for name, m in module.named_modules() if isinstance(m, AttentionMap)]


class Recorder:
    """Records what a layer gets and gives in the last forward pass, and the gradients at its output, one for each target.

    Of several networks that are asked as one model it is the layer of this name in each, in their order.
    """

    def __init__(self, method: str, name: str, engine: Engine) -> None:
        self.method, self.name, self.engine, self.inner = method, name, engine, engine.forward
        self.recording = False
        self.clear()

    def clear(self) -> None:
        """Drop what was recorded of the last pass."""
        self.calls: list[tuple[Any, Any]] = []
        self.gradients: list[list[Tensor]] = []  # of each call, one for each target

    @contextlib.contextmanager
    def recording_in(self, module: nn.Module) -> Iterator[None]:
        """Record the layer of this name in the engine's forward passes in this scope."""
        self.networks = networks(module)
        # Networks thinned by dropout are one network with one layer.
        found = {id(layer): layer for layer in (one.get_submodule(self.name) for one in self.networks)}
        with (
            temporary_hooks(*((layer, layer.register_forward_hook, self.keep) for layer in found.values())),
            self.engine.by_forward(self.forward),
        ):
            yield

    def forward(self, rows: Tensor, position: Tensor) -> Any:
        """The engine's forward pass: with checkpoints a layer runs again in the backward pass, which is no second use."""
        self.clear()
        self.recording = True
        try:
            return self.inner(rows, position)
        finally:
            self.recording = False

    def keep(self, module: nn.Module, inputs: Any, output: Any) -> Any:
        """Hook of the layer."""
        if not self.recording:
            return output
        self.calls.append((inputs[0] if inputs else None, output))
        self.gradients.append([])
        if not (isinstance(output, Tensor) and output.requires_grad):
            return output
        output.register_hook(self.gradients[-1].append)
        return output.clone()  # what follows may write into it

    def call(self, rows: int, least: int, needed: str, network: int = 0) -> tuple[Any, Tensor]:
        """The first input and the output (rows, ...) of the layer's one call in a network; ValueError for fewer axes than `least`."""
        if not self.calls:
            raise ValueError(f"layer {self.name!r} is not called for a prediction; name one that is")
        if len(self.calls) != len(self.networks):
            by = f" by {len(self.networks)} networks" if len(self.networks) > 1 else ""
            raise ValueError(
                f"layer {self.name!r} is used {len(self.calls)} times for one prediction{by}; name one that is used once"
            )
        given, a = self.calls[network]
        if not isinstance(a, Tensor) or a.ndim < least or len(a) != rows:
            shape = tuple(a.shape) if isinstance(a, Tensor) else type(a).__name__
            raise ValueError(f"layer {self.name!r} gives {shape} for {rows} rows; {self.method} needs {needed}")
        return given, a

    def check_gradient(self, a: Tensor) -> None:
        """ValueError for what the layer gives without a gradient to the input."""
        if not a.requires_grad:
            raise ValueError(
                f"layer {self.name!r} has no gradient: it does not depend on the input, or runs without, as in a checkpoint with "
                "use_reentrant=True; name one that does, or checkpoint with use_reentrant=False"
            )


def centres(samples: SampleChunk, placed: Callable[[int], Tensor]) -> list[Line]:
    """Where a layer's cells lie in the input, by axis; the same for all samples, found in the place of the longest one.

    ``placed(rows)`` gives what the layer's cells are, (rows, channels, *grid), in the forward pass that was asked for last.
    """
    longest = samples.valid_cells.flatten(1).sum(1).argmax()
    numbers = np.random.default_rng(0).standard_normal((TRIAL_ROWS, *samples.event))
    rows = torch.as_tensor(numbers).to(samples.x).requires_grad_(True)
    # cuDNN takes no gradient of recurrent layers in eval mode.
    with torch.enable_grad(), without_cudnn():
        # Copies for the backward pass: the model may write over what its layers were given.
        with Leaky(), torch.autograd.graph.saved_tensors_hooks(torch.clone, lambda kept: kept):
            samples.engine.forward(rows.clone(), samples.position[longest].expand(len(rows)))
        samples.engine.count_trial(len(rows))
        return lines(placed(len(rows)), rows)


def at_input(maps: Tensor, centres: list[Line], event: tuple[int, ...]) -> Tensor:
    """Maps (n, targets, *grid) at the input's cells, the same along the axes that the layer does not have."""
    for axis, line in enumerate(centres, start=2):
        maps = line.interpolate(maps, axis, event[line.axis])
    order = sorted(range(len(centres)), key=lambda a: centres[a].axis)
    maps = maps.permute(0, 1, *(2 + a for a in order))
    kept = {line.axis for line in centres}
    shape = [n if e in kept else 1 for e, n in enumerate(event)]
    return maps.reshape(*maps.shape[:2], *shape).expand(*maps.shape[:2], *event)
