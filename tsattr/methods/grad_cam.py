"""Grad-CAM: the activations of one layer, weighted by their mean gradients, at the input's cells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ..core.evaluation import layers
from ..core.method import Method, module_of
from ..core.results import EVENT, Field
from ..core.samples import SampleChunk


@dataclass(frozen=True)
class GradCAM(Method):
    """Where a layer's channels speak for the target: ``L = ReLU(sum_k w_k A_k)``, ``w_k = mean_t dy/dA_kt``.

    A (K, T') is the layer's output for one sample, with one or more axes after its channels; w_k is the mean gradient of the
    target y over them. L is brought to the input's cells by linear interpolation: each of its cells lies at the centre of
    its receptive field, which is found from the model itself (the reach of the gradients of the layer's cells at a few
    random inputs), so that strides, padding, dilation and pooling shift nothing. Where a cell sees the whole input, the
    layer's cells divide the last of the input's axes that have as many cells evenly. The map does not tell leads apart: each gets
    the same values. It has the target's units. Selvaraju et al., ICCV 2017.

    Of the members of an ensemble together (``targets.Uncertainty``), A and w are those of each, and L is of their sum: where
    the layers' channels make the model unsure, as in U-CAM (Patro et al., ICCV 2019).

    Parameters
    ----------
    layer
        Name of a module in ``model.named_modules()``, of an ensemble in each member's, whose output is (rows, channels,
        *positions). None takes the convolution that was registered last, those of a learned attention left out; the result's ``attrs["method"]`` names it.
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
    extra_rows: ClassVar[int] = layers.TRIAL_ROWS
    sentence: ClassVar[str] = "Grad-CAM: a coarse map from the activations of one layer, weighted by their slopes."
    note: ClassVar[str] = "Grad-CAM is as coarse as the layer it reads; the picture is stretched to the input's size."

    def prepared(self, module: nn.Module | None, axes: Sequence[Any]) -> GradCAM:
        """With its layer by name."""
        layers.check_one_variable("GradCAM", axes)
        module = module_of(self, module)
        layers.check_layers_are_called("GradCAM", module)
        return replace(self, layer=self._named(module))

    def _named(self, module: nn.Module) -> str:
        first = layers.networks(module)[0]
        known, convolutions = dict(first.named_modules()), layers.convolutions(first)
        name = self.layer
        if name is None and convolutions:
            return convolutions[-1]
        if first is not module and (inside := [n for n in known if n.endswith(f".{name}")]) and name not in known:
            return str(inside[0])  # as it is called in the network that dropout thins
        if name is None or name not in known:
            what = "finds no convolution in" if name is None else f"finds no layer {name!r} in"
            choice = convolutions or [n for n in known if n]
            raise KeyError(f"GradCAM {what} {type(module).__name__}; name one with layer=..., such as {choice[-5:]}")
        return name

    def __call__(self, samples: SampleChunk) -> dict[str, Field]:
        """Explain some samples."""
        module = module_of(self, samples.engine.module)
        recorder = layers.Recorder("GradCAM", self._named(module), samples.engine)
        with recorder.recording_in(module):
            centres = layers.centres(samples, lambda rows: _output(recorder, rows))
            coarse = self._class_maps(samples, recorder)
        return {"attribution": Field(("target", EVENT), layers.at_input(coarse, centres, samples.event))}

    def _class_maps(self, samples: SampleChunk, recorder: layers.Recorder) -> Tensor:
        """(n, targets, *grid) in float64."""
        maps = []
        for at, _ in samples.gradients(torch.arange(samples.n, device=samples.x.device), lambda at: samples.x[at]):
            rows = at.stop - at.start
            # Of several networks the sum, as the target's slope is divided over their layers.
            each = [_class_map(recorder, rows, samples.targets, k) for k in range(len(recorder.networks))]
            maps.append(torch.stack(each).sum(0))
        out = torch.cat(maps)
        return out.clamp(min=0) if self.relu else out

    def rows(self) -> tuple[int, int]:
        """The intact sample, and once more with its gradient."""
        return 2, 2


def _output(recorder: layers.Recorder, rows: int, network: int = 0) -> Tensor:
    """The layer's output (rows, channels, *positions) in a network."""
    needed = "(rows, channels, positions...): name a layer before the positions are pooled or flattened"
    _, a = recorder.call(rows, 3, needed, network)
    recorder.check_gradient(a)
    first = recorder.calls[0][1]
    if a.shape[2:] != first.shape[2:]:
        raise ValueError(
            f"layer {recorder.name!r} has {tuple(first.shape[2:])} positions in one network of the ensemble and {tuple(a.shape[2:])} in "
            "another; explain the members' own outputs, or networks of one kind"
        )
    return a


def _class_map(recorder: layers.Recorder, rows: int, targets: int, network: int) -> Tensor:
    """``sum_k w_k A_k`` (rows, targets, *positions) of a network, in float64."""
    a = _output(recorder, rows, network).detach().to(torch.float64)
    slopes, over = _slopes(recorder, targets, network), list(range(2, a.ndim))
    return torch.stack([(g.to(a.dtype).mean(over, keepdim=True) * a).sum(1) for g in slopes], 1)


def _slopes(recorder: layers.Recorder, targets: int, network: int) -> list[Tensor]:
    """d target / d output (rows, channels, *positions) for each target."""
    found = recorder.gradients[network]
    if len(found) != targets:
        raise ValueError(
            f"{targets - len(found)} of {targets} targets do not depend on layer {recorder.name!r}; name a layer that "
            "they depend on, or explain each target by itself"
        )
    return found
