"""A model's predictions without parts of its input, in the order of the truth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray
from torch import Tensor

from ..core.bound import BoundBaseline
from ..core.groups.masks import OneGroup
from ..core.indexing import positions_of
from ..core.samples import SampleChunk
from ..core.targets.outputs import Outputs, outputs_axes
from ..edge import trials
from ..edge.call import Call
from ..labels.alignment import in_order_of
from .removals import check_filled, group_of


@dataclass(frozen=True)
class Predictions:
    """A model's outputs, or its values of a target, for an input of which some cells are absent."""

    call: Call
    target: Any
    fill: Any

    @classmethod
    def of(cls, model: Any, x: xr.DataArray, settings: Mapping[str, Any], fill: Any) -> Predictions:
        """The predictions for the samples of `x`, with the settings of `tsattr.explain`."""
        target = settings.get("target")
        call = Call.of(model, x, **{**settings, "target": Outputs() if target is None else target})
        return cls(call.quiet(), target, fill)

    def without(
        self, masks: Sequence[xr.DataArray | None], draws: int, y: xr.DataArray
    ) -> list[list[NDArray[np.float64]]]:
        """For each mask and each draw, predictions of the shape and in the order of `y`; a mask of None is the intact input."""
        call = self.call
        groups = [None if absent is None else group_of(call, absent) for absent in masks]
        fill = call.inputs.bind(self.fill, "baseline")
        found: list[list[list[Tensor]]] = [[[] for _ in range(draws)] for _ in masks]
        with trials.running(call, call.inputs.n) as engine:
            for _, samples in call.chunks(engine):
                for case, group in zip(found, groups):
                    for draw, parts in enumerate(case):
                        parts.append(self._answers(samples, group, fill, draw))
        check_filled(engine, call, self.fill)
        names = list(engine.bound.names)
        return [[self._aligned(y, torch.cat(parts).cpu().numpy(), names) for parts in case] for case in found]

    def _answers(self, samples: SampleChunk, group: OneGroup | None, fill: BoundBaseline, draw: int) -> Tensor:
        """Outputs (n, *out), or values of the targets (n, targets), of some samples without a group."""
        if group is None:
            outputs = samples.intact_outputs
            return samples.prediction if outputs is None or self.target is not None else outputs
        every = samples.indices
        removal = group, fill, every, torch.full_like(every, draw), torch.zeros_like(every)
        answers = samples.outputs_without(*removal) if self.target is None else samples.without(*removal)
        return torch.cat([values for _, values in answers])

    def _aligned(self, y: xr.DataArray, found: NDArray[Any], names: list[str]) -> NDArray[np.float64]:
        """Predictions matched to `y` by label where both have labels, else by position. ValueError where they do not fit."""
        what, labels = ("outputs", _labels(self.call, found, y)) if self.target is None else ("target values", None)
        if isinstance(self.target, Mapping):
            labels = {"target": names}
        if labels is not None and set(y.dims[1:]) <= set(labels):
            found = _by_label(found, labels, y, what)
        if found.size != y.size or (found.ndim == y.ndim and found.shape != y.shape):
            raise ValueError(
                f"the model's {what} have shape {found.shape}, y has {dict(y.sizes)}; they must be the same"
            )
        return found.reshape(y.shape)


def _labels(call: Call, found: NDArray[Any], y: xr.DataArray) -> dict[str, Any] | None:
    """The labels of the outputs by axis, None for one without; None where the outputs have no axes by name."""
    axes = outputs_axes(call.outputs, found.shape[1:], call.model.labels)
    assert axes is not None
    if call.outputs is None:  # the classes of a classifier may be called as y calls them
        return {str(y.dims[1]): axes.coords[axes.dims[0]]} if axes.coords and y.ndim == 2 else None
    if set(y.dims[1:]) - set(axes.dims):
        raise ValueError(f"y has dims {list(y.dims)}, outputs= calls the model's {list(axes.dims)}; use the same names")
    return {d: axes.coords.get(d) for d in axes.dims}


def _by_label(found: NDArray[Any], labels: Mapping[str, Any], y: xr.DataArray, what: str) -> NDArray[Any]:
    """Predictions (samples, *labels) in the order of the dims and labels of `y`; dims without labels by position."""
    coords = {d: np.asarray(v) for d, v in labels.items() if v is not None}
    labelled = xr.DataArray(found, dims=(y.dims[0], *labels), coords=coords)
    for d in [d for d in labels if d not in y.dims]:
        if labelled.sizes[d] != 1:
            raise ValueError(
                f"the model's {what} have axes {list(labels)}, y has dims {list(y.dims)}; select one entry of {d!r}"
            )
        if d in coords and d in y.coords:
            positions_of(np.atleast_1d(y[d].values), coords[d], "the model", d, whose="y's")
        labelled = labelled.isel({d: 0}, drop=True)
    found = in_order_of(y, labelled, "the model", "y's").transpose(*y.dims).values
    return found
