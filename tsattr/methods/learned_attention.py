"""Learned attention: a map that the network computes in its forward pass, at the input's cells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ..core.evaluation import layers
from ..core.evaluation.receptive import Line
from ..core.method import Method, module_of
from ..core.results import EVENT, Field
from ..core.samples import SampleChunk
from ..core.status import Status


@dataclass(frozen=True)
class LearnedAttention(Method):
    """The map by which a network weighs its own features, read in its forward pass: A of :class:`tsattr.LFICAM`.

    It is the map itself, at the input's cells by linear interpolation, as for :class:`tsattr.GradCAM`: its cells lie where
    those of the features that it weighs lie (the first input of the module that gives it, where that has the same
    positions, as the cells of a softmax or a min-max see everything), each at the centre of its receptive field; behind a
    normalisation over the sample, where no field moves, they divide the last axis that has as many cells evenly. It is the same
    for every target and has no units. It does not tell leads apart where the features do not.

    A large value says that the network reads there more. It does not say for which class, and the network may read where the map
    is 0: LFI-CAM weighs features by 1 + A. A network that has learnt nothing has such a map too, which follows the signal and is
    about as alike between seeds (`examples/studies`): judge a map beside that of an untrained network. Lee et al., ICCV Workshops
    2021.

    Parameters
    ----------
    layer
        Name of a module in ``model.named_modules()`` whose output, (rows, 1, *positions) or (rows, *positions), is the map. None
        takes the attention of an LFICAM; the result's ``attrs["method"]`` names it.

    Returns
    -------
    attribution, equal for all targets. The `extra_rows` rows that find the receptive fields are counted as for GradCAM.

    Raises
    ------
    TypeError
        The model is not a torch module, or the input has several variables.
    KeyError
        There is no such layer, or no attention, or several, to take.
    ValueError
        The layer's output is no map of positions, or the layer is used several times.

    Examples
    --------
    >>> import torch, tsattr as ta
    >>> net = ta.LFICAM(torch.nn.Conv1d(1, 1, 1), classes=2)
    >>> _ = net.trunk.weight.data.fill_(3.0)
    >>> ta.explain(net, torch.tensor([[[0.0, 0.0, 4.0, 1.0]]]), ta.LearnedAttention(), target=1).attribution.values.tolist()
    [[[0.0, 0.0, 1.0, 0.25]]]
    """

    layer: str | None = None
    gradient: ClassVar[bool] = False
    of_target: ClassVar[bool] = False
    extra_rows: ClassVar[int] = layers.TRIAL_ROWS
    sentence: ClassVar[str] = "Learned attention: the map by which the network itself weighs its features."
    note: ClassVar[str] = (
        "The map is the network's own, the same for every class and without units: it tells where the network reads more, not "
        "what speaks for its answer, and it may read elsewhere too. It is as coarse as the features that it weighs. A network that "
        "has learnt nothing has such a map too, which follows the signal."
    )

    def prepared(self, module: nn.Module | None, axes: Sequence[Any]) -> LearnedAttention:
        """With its layer by name."""
        layers.check_one_variable("LearnedAttention", axes)
        module = module_of(self, module)
        layers.check_one_network("LearnedAttention", module)
        layers.check_layers_are_called("LearnedAttention", module)
        return replace(self, layer=self._named(module))

    def _named(self, module: nn.Module) -> str:
        known, found = dict(module.named_modules()), layers.attentions(module)
        if self.layer is None and len(found) == 1:
            return found[0]
        if self.layer is None or self.layer not in known:
            what = f"finds no layer {self.layer!r} in"
            if self.layer is None:
                what = "finds several attentions in" if found else "finds no attention, as of an LFICAM, in"
            choice = found or [n for n in known if n][-5:]
            of = f", of {choice}" if choice else ""
            raise KeyError(
                f"LearnedAttention {what} {type(module).__name__}; name the module that gives the map with layer=...{of}"
            )
        return self.layer

    def __call__(self, samples: SampleChunk) -> dict[str, Field]:
        """Explain some samples."""
        module = module_of(self, samples.engine.module)
        recorder = layers.Recorder("LearnedAttention", self._named(module), samples.engine)
        with recorder.recording_in(module):
            centres = layers.centres(samples, lambda rows: _placed(recorder, rows))
            given, coarse = _maps(samples, recorder)
        _check_positions(recorder, centres, _weighs_channels(given, coarse))
        finite = torch.isfinite(coarse.flatten(1)).all(1)
        samples.record_state(samples.indices, torch.where(finite, Status.OK, Status.OUTPUT))
        maps = layers.at_input(coarse, centres, samples.event)
        return {"attribution": Field(("target", EVENT), maps.expand(-1, samples.targets, *samples.event))}

    def rows(self) -> tuple[int, int]:
        """The intact sample, and once more to read the map."""
        return 2, 2


def _read(recorder: layers.Recorder, rows: int) -> tuple[Any, Tensor]:
    """What the layer weighs, and its map (rows, 1, *positions)."""
    given, a = recorder.call(
        rows, 2, "(rows, 1, positions...) or (rows, positions...): name a module that gives one map"
    )
    return given, a if a.ndim > 2 and a.shape[1] == 1 else a[:, None]


def _maps(samples: SampleChunk, recorder: layers.Recorder) -> tuple[Any, Tensor]:
    """What the layer weighs in the last batch, and all maps (n, 1, *positions) in float64."""
    read = []
    for at, _ in samples.values(samples.indices, lambda at: samples.x[at].clone()):
        given, a = _read(recorder, at.stop - at.start)
        read.append(a.to(torch.float64))
    return given, torch.cat(read)


def _weighs_channels(given: Any, a: Tensor) -> bool:
    """Whether what the layer weighs has the map's positions after an axis of channels: then those are positions."""
    return isinstance(given, Tensor) and given.shape[2:] == a.shape[2:]


def _placed(recorder: layers.Recorder, rows: int) -> Tensor:
    """(rows, channels, *positions): the features, where they have the map's positions; else the map."""
    given, a = _read(recorder, rows)
    if isinstance(given, Tensor) and given.requires_grad:
        if _weighs_channels(given, a):
            return given
        if given.shape[1:] == a.shape[2:]:
            return given[:, None]
    recorder.check_gradient(a)
    return a


def _check_positions(recorder: layers.Recorder, centres: Sequence[Line], told: bool) -> None:
    """ValueError where some axes follow the input and others do not, or none of several and nothing told: those are channels."""
    long = [line for line in centres if line.size > 1]
    lost = [line.size for line in long if not line.followed]
    if lost and (len(lost) < len(long) or (len(lost) > 1 and not told)):
        raise ValueError(
            f"layer {recorder.name!r} gives a map with an axis of {lost[0]} that follows no axis of the input, as channels do; "
            "LearnedAttention needs (rows, 1, positions...) or (rows, positions...): name a module that gives one map"
        )
