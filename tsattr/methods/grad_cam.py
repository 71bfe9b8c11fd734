"""Grad-CAM: the activations of one layer, weighted by their mean gradients, at the input's cells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from ..core.engine import Engine
from ..core.evaluation.receptive import Leaky, Line, lines
from ..core.method import Method, module_of
from ..core.preserve import temporary_hooks, without_cudnn
from ..core.results import EVENT, Field
from ..core.samples import SampleChunk


@dataclass(frozen=True)
class GradCAM(Method):
    """Where a layer's channels speak for the target: ``L = ReLU(sum_k w_k A_k)``, ``w_k = mean_t dy/dA_kt``.

    A (K, T') is the layer's output for one sample, with one or more axes after its channels; w_k is the mean gradient of the
    target y over them. L is brought to the input's cells by linear interpolation: each of its cells lies at the centre of
    its receptive field, which is found from the model itself (the reach of the gradients of the layer's cells at a few
    random inputs), so that strides, padding, dilation and pooling shift nothing. Where a cell sees the whole input, the
    layer's cells divide the input's last axes evenly. The map does not tell leads apart: each gets the same values. It has
    the target's units. Selvaraju et al., ICCV 2017.

    Parameters
    ----------
    layer
        Name of a module in ``model.named_modules()`` whose output is (rows, channels, *positions). None takes the
        convolution that was registered last; the result's ``attrs["method"]`` names it.
    relu
        False keeps what speaks against the target, as negative values.

    Returns
    -------
    attribution. The `extra_rows` rows that find the receptive fields are asked of the model once for each chunk of samples, and
    are of no sample: they are in ``attrs["trial_rows"]`` and not in ``model_evaluations``.

    Raises
    ------
    TypeError
        The model is not a torch module, or the input has several variables.
    KeyError
        There is no such layer, or no convolution to take.
    ValueError
        The layer's output has no positions, the layer is used several times, or the target does not depend on it.

    Examples
    --------
    >>> import torch, tsattr as ta
    >>> net = torch.nn.Sequential(torch.nn.Conv1d(1, 1, 1, bias=False), torch.nn.AvgPool1d(4), torch.nn.Flatten())
    >>> _ = net[0].weight.data.fill_(2.0)
    >>> ta.explain(net, torch.tensor([[[0.0, 0.0, 3.0, -1.0]]]), ta.GradCAM()).attribution.values.tolist()
    [[[0.0, 0.0, 1.5, 0.0]]]
    """

    layer: str | None = None
    relu: bool = True
    gradient: ClassVar[bool] = True
    extra_rows: ClassVar[int] = 8
    sentence: ClassVar[str] = "Grad-CAM: a coarse map from the activations of one layer, weighted by their slopes."
    note: ClassVar[str] = "Grad-CAM is as coarse as the layer it reads; the picture is stretched to the input's size."

    def prepared(self, module: nn.Module | None, axes: Sequence[Any]) -> GradCAM:
        """With its layer by name."""
        if len(axes) > 1:
            raise TypeError(f"GradCAM explains an input of one variable, got {len(axes)}; give the others in context=")
        return replace(self, layer=self._named(_with_layers(module_of(self, module))))

    def _named(self, module: nn.Module) -> str:
        known: dict[str, nn.Module] = dict(module.named_modules())
        convolutions: list[str] = [name for name, m in known.items() if isinstance(m, nn.modules.conv._ConvNd)]
        name = self.layer
        if name is None and convolutions:
            return convolutions[-1]
        if name is None or name not in known:
            what = "finds no convolution in" if name is None else f"finds no layer {name!r} in"
            choice = convolutions or [n for n in known if n]
            raise KeyError(f"GradCAM {what} {type(module).__name__}; name one with layer=..., such as {choice[-5:]}")
        return name

    def __call__(self, samples: SampleChunk) -> dict[str, Field]:
        """Explain some samples."""
        module = module_of(self, samples.engine.module)
        name = self._named(module)
        recorder, layer = _Recorder(name, samples.engine), module.get_submodule(name)
        with (
            temporary_hooks((layer, layer.register_forward_hook, recorder.keep)),
            samples.engine.by_forward(recorder.forward),
        ):
            centres = self._cell_centres(samples, recorder)
            coarse = self._class_maps(samples, recorder)
        return {"attribution": Field(("target", EVENT), _at_input(coarse, centres, samples.event))}

    def _class_maps(self, samples: SampleChunk, recorder: _Recorder) -> Tensor:
        """(n, targets, *grid) in float64."""
        maps = []
        for at, _ in samples.gradients(torch.arange(samples.n, device=samples.x.device), lambda at: samples.x[at]):
            a = recorder.output(at.stop - at.start).detach().to(torch.float64)
            over = list(range(2, a.ndim))
            maps.append(
                torch.stack(
                    [
                        (g.to(a.dtype).mean(over, keepdim=True) * a).sum(1)
                        for g in recorder.target_gradients(samples.targets)
                    ],
                    1,
                )
            )
        out = torch.cat(maps)
        return out.clamp(min=0) if self.relu else out

    def _cell_centres(self, samples: SampleChunk, recorder: _Recorder) -> list[Line]:
        """Where the layer's cells lie in the input, by axis; the same for all samples, found in the place of the longest one."""
        longest = samples.valid_cells.flatten(1).sum(1).argmax()
        numbers = np.random.default_rng(0).standard_normal((self.extra_rows, *samples.event))
        rows = torch.as_tensor(numbers).to(samples.x).requires_grad_(True)
        # cuDNN takes no gradient of recurrent layers in eval mode.
        with torch.enable_grad(), without_cudnn():
            with Leaky():
                samples.engine.forward(rows.clone(), samples.position[longest].expand(len(rows)))
            samples.engine.count_trial(len(rows))
            return lines(recorder.output(len(rows)), rows)

    def rows(self) -> tuple[int, int]:
        """The intact sample, and once more with its gradient."""
        return 2, 2


class _Recorder:
    """Records a layer's outputs in the last forward pass and the gradients at them, one for each target."""

    def __init__(self, name: str, engine: Engine) -> None:
        self.name, self.inner, self.recording = name, engine.forward, False
        self.clear()

    def clear(self) -> None:
        """Drop what was recorded of the last pass."""
        self.outputs: list[Any] = []
        self.gradients: list[Tensor] = []

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
        self.outputs.append(output)
        if not (isinstance(output, Tensor) and output.requires_grad):
            return output
        output.register_hook(self.gradients.append)
        return output.clone()  # what follows may write into it

    def output(self, rows: int) -> Tensor:
        """The layer's output (rows, channels, *positions)."""
        if not self.outputs:
            raise ValueError(f"layer {self.name!r} is not called for a prediction; name one that is")
        if len(self.outputs) != 1:
            raise ValueError(
                f"layer {self.name!r} is used {len(self.outputs)} times for one prediction; name one that is used once"
            )
        (a,) = self.outputs
        if not isinstance(a, Tensor) or a.ndim < 3 or len(a) != rows:
            shape = tuple(a.shape) if isinstance(a, Tensor) else type(a).__name__
            raise ValueError(
                f"layer {self.name!r} gives {shape} for {rows} rows; GradCAM needs (rows, channels, positions...): name a "
                "layer before the positions are pooled or flattened"
            )
        if not a.requires_grad:
            raise ValueError(
                f"layer {self.name!r} has no gradient: it does not depend on the input, or runs without, as in a checkpoint with "
                "use_reentrant=True; name one that does, or checkpoint with use_reentrant=False"
            )
        return a

    def target_gradients(self, targets: int) -> list[Tensor]:
        """d target / d output (rows, channels, *positions) for each target."""
        if len(self.gradients) != targets:
            raise ValueError(
                f"{targets - len(self.gradients)} of {targets} targets do not depend on layer {self.name!r}; name a layer that "
                "they depend on, or explain each target by itself"
            )
        return self.gradients


def _with_layers(module: nn.Module) -> nn.Module:
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
            f"GradCAM reads a layer of the model, and {what}, which hides them; give the module that it was made from (of a compiled "
            "one model._orig_mod, or a copy made before .compile())"
        )
    return module


def _calls_a_layer(node: Any) -> bool:
    return bool(node.op == "call_module" and node.target != "_guards_fn")


def _at_input(maps: Tensor, centres: list[Line], event: tuple[int, ...]) -> Tensor:
    """Maps (n, targets, *grid) at the input's cells, the same along the axes that the layer does not have."""
    for axis, line in enumerate(centres, start=2):
        maps = line.interpolate(maps, axis, event[line.axis])
    order = sorted(range(len(centres)), key=lambda a: centres[a].axis)
    maps = maps.permute(0, 1, *(2 + a for a in order))
    kept = {line.axis for line in centres}
    shape = [n if e in kept else 1 for e, n in enumerate(event)]
    return maps.reshape(*maps.shape[:2], *shape).expand(*maps.shape[:2], *event)
