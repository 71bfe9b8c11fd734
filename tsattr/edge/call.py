"""One call on labelled data: what was given, checked and made one tensor, and how it runs."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Unpack

import numpy as np
import torch
import xarray as xr

from ..core.arrays import INVALID, VALUE
from ..core.axes import Axes
from ..core.bound import BoundTargets
from ..core.engine import Engine
from ..core.evaluation import removals
from ..core.evaluator import RemovalEvaluation
from ..core.method import Method
from ..core.preserve import preserved_state
from ..core.results import RESERVED, check_choice, check_flag
from ..core.samples import SampleChunk
from ..core.targets.call_targets import CallTargets
from ..core.targets.outputs import outputs_axes
from ..core.targets.parsing import of_members
from ..labels import parsing
from ..labels.inputs import Inputs
from ..models import calling as models
from ..models.repeats import Distinct
from .progress import reported
from .settings import DEFAULTS, CallSettings, filled

DENSE = "dense"  # by whole rows
EXACT = "exact"  # in quicker ways that stop nowhere early
_CHUNK = 2**26  # bytes of input in memory as tensors at once


@dataclass(frozen=True)
class Call:
    """A model and its input, checked, what is asked of the model, and how to run it.

    Attributes
    ----------
    settings
        What the user gave, with defaults.
    targets
        The targets, and the dim that the method tells apart itself.
    outputs, units
        Names and labels of the output axes, and the outputs' units.
    context
        Tensors by name, one entry a sample.
    batch_size, adapt
        Rows of one model call, and whether they may become fewer.
    """

    settings: CallSettings
    inputs: Inputs
    model: models.Model
    targets: CallTargets
    outputs: Any
    units: str
    context: dict[str, torch.Tensor]
    device: torch.device
    batch_size: int
    adapt: bool
    autocast: torch.dtype | None
    seed: int

    @classmethod
    def of(cls, model: Any, x: Any, method: Method | None = None, **given: Unpack[CallSettings]) -> Call:
        """Check everything that labels and shapes tell, before any work; for a method, with its own targets."""
        s: Any = filled("Call.of", given, DEFAULTS)
        inputs = parsing.read(x, s["dims"], s["sample_dim"], s["valid"])
        context = parsing.read_context(s["context"], inputs)
        outputs, units = _described(s["outputs"], inputs.sample_dim)
        wrapped = models.read(model, inputs)
        if wrapped.members and not of_members(s["target"]):
            raise TypeError(
                f"only explain takes an {model!r}, but for a target of all members together, such as "
                "ta.targets.Uncertainty(); give one of its members, or one model of their mean output"
            )
        outputs = wrapped.outputs if outputs is None else outputs
        targets = _targets(s["target"], method, output_axes(outputs, wrapped))
        if isinstance(s["seed"], bool) or not isinstance(s["seed"], int | np.integer):
            raise TypeError(f"seed is a whole number, got {s['seed']!r}")
        check_flag("check", s["check"])
        check_choice("missing", s["missing"], (None, VALUE, INVALID))
        check_choice("evaluation", s["evaluation"], (None, DENSE, EXACT))
        device = models.device_for(s["device"], wrapped.module, inputs)
        mixed = _autocast(s["autocast"])
        models.check_dtype(wrapped.module, inputs, mixed=mixed is not None)
        return cls(
            s,
            inputs,
            wrapped,
            targets,
            outputs,
            units,
            context,
            device,
            _batch_size(s["batch_size"], inputs, device, wrapped.differentiable),
            s["batch_size"] == "auto",
            mixed,
            int(s["seed"]),
        )

    def asked_by(self, method: Method) -> Call:
        """The same call with the targets of a method: its own default target, and the axis that it tells apart itself."""
        axes = output_axes(self.outputs, self.model)
        return replace(self, targets=_targets(self.settings["target"], method, axes))

    def unchecked(self) -> Call:
        """The same call without the trials of the model."""
        return replace(self, settings={**self.settings, "check": False})

    def quiet(self) -> Call:
        """The same call without a report of its progress."""
        return replace(self, settings={**self.settings, "progress": False})

    @property
    def check(self) -> bool:
        """Whether the model is tried before it is believed."""
        return self.settings["check"]

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of the rows' tensor, the widest of a Dataset's variables."""
        dtype: torch.dtype = getattr(torch, str(self.inputs.dtype))
        return dtype

    @property
    def chunk(self) -> int:
        """Samples in memory at once. Several times as much is held beside the input for each target, in float64."""
        targets = len(self.targets.each)
        return max(1, self.batch_size // targets, _CHUNK // (self.inputs.cells * self.inputs.dtype.itemsize * targets))

    @property
    def trial_rows(self) -> int:
        """The most rows on which quicker ways to answer a removal are tried, of each chunk of samples."""
        of = self.model.module, self.model.differentiable, self.inputs.cells
        return sum(kind.trial_rows for kind in self.evaluations if kind.applies(*of))

    @property
    def evaluations(self) -> tuple[type[RemovalEvaluation], ...]:
        """The quicker ways to answer a removal that may be tried."""
        asked = self.settings["evaluation"]
        return () if asked == DENSE else removals.EXACT if asked == EXACT else removals.EVALUATIONS

    def size(self, arrays: int) -> int:
        """Samples of a chunk where so many arrays of their size are kept."""
        return max(min(self.batch_size, self.chunk), self.chunk // arrays)

    def bind(self, shape: tuple[int, ...]) -> BoundTargets:
        """The targets of outputs of this shape."""
        axes, along = self.inputs.variables[0].axes, self.targets.along
        own = shape[1:] if self.model.members else shape
        if self.outputs is None and along in axes.dims and own == (axes.shape[axes.axis(along)],) != (1,):
            raise ValueError(
                f"the model gives {own[0]} outputs and x has as many cells along {along!r}: name the axis of the outputs, "
                f"outputs=({along!r},) where there is one for each cell, else outputs=('class',) or the like"
            )
        outputs = output_axes(self.outputs, self.model, shape)
        assert outputs is not None
        if along in outputs.dims and along in axes.dims:
            times, n = outputs.shape[outputs.dims.index(along)], axes.shape[axes.axis(along)]
            if times != n:
                raise ValueError(
                    f"the model gives {times} outputs along {along!r}, and x has {n} cells there; name an output axis "
                    f"{along!r} only where the model gives one output for each cell"
                )
        return self.targets.bind(outputs)

    def missing(self, removes: bool) -> str:
        """What missing cells are, "value" or "invalid": as the user says, else values in a table to what `removes` cells.

        The model is given them either way, as its samples have them: one that does not read them says so.
        """
        default = VALUE if removes and self.inputs.codes is not None else INVALID
        return str(self.settings["missing"] or default)

    @contextlib.contextmanager
    def running(self, total: int, what: str = "explain") -> Iterator[Engine]:
        """The engine, with the model in eval mode on its device and a progress bar of `total` rows; then all as before."""
        context = {k: _moved(v, self.device) for k, v in self.context.items()}
        ask = self.model.call if self.model.differentiable else Distinct(self.model.call)

        def forward(batch: torch.Tensor, position: torch.Tensor) -> Any:
            y = ask(batch, {k: v[position] for k, v in context.items()}, position)
            if isinstance(ask, Distinct) and ask.repeated:
                engine.notes["repeated_rows"] = ask.repeated
            return y.to(self.device) if isinstance(y, torch.Tensor) and not self.model.differentiable else y

        with (
            reported(self.settings["progress"], total, what) as progress,
            preserved_state(self.model.module, self.device),
        ):
            engine = Engine(
                forward,
                self.bind,
                self.device,
                compares=self.targets.compares,
                seed=self.seed,
                module=self.model.module,
                differentiable=self.model.differentiable,
                batch_size=self.batch_size,
                adapt=self.adapt,
                autocast=self.autocast,
                advance=progress.advance,
                expect=progress.expect,
                foresee=progress.foresee,
                evaluations=self.evaluations,
                dense=self.settings["evaluation"] == DENSE,
                samples=self.inputs.n,
            )
            engine.count_trial(0)
            yield engine

    def chunks(
        self, engine: Engine, *, graph: bool = False, arrays: int = 1, most: int | None = None, removes: bool = True
    ) -> Iterator[tuple[slice, SampleChunk]]:
        """The input's samples (the first `most`), a chunk at a time, smaller where `arrays` of their size are kept.

        `removes` is True for what takes cells away, to which a missing cell may be a value.
        """
        missing = self.missing(removes)
        n = self.inputs.n if most is None else min(most, self.inputs.n)
        ids = self.inputs.ids
        size = self.size(arrays)
        for start in range(0, n, size):
            at = slice(start, min(start + size, n))
            x, valid = self.inputs.load(at, missing)
            position = torch.arange(at.start, at.stop, device=self.device)
            valid = None if valid is None else _moved(valid, self.device)
            ends = self.inputs.ends(at, self.targets.along)
            ends = None if ends is None else _moved(ends, self.device)
            yield at, SampleChunk(engine, _moved(x, self.device), valid, ids[at], position, graph=graph, ends=ends)


def _moved(values: torch.Tensor, device: torch.device) -> torch.Tensor:
    """On the device; to a GPU from pinned memory, so that the copy runs beside what the GPU and this thread do meanwhile."""
    if device.type == "cuda" and values.device.type == "cpu":
        return values.pin_memory().to(device, non_blocking=True)
    return values.to(device)


def output_axes(outputs: Any, model: models.Model, shape: tuple[int, ...] | None = None) -> Axes | None:
    """The axes of a model's outputs of this shape, or what is known of them before it is asked."""
    return outputs_axes(outputs, shape, model.labels, model.scale, model.members)


def _targets(target: Any, method: Method | None, axes: Axes | None) -> CallTargets:
    """What is explained of the outputs, of which `axes` are known before the model is asked."""
    if method is None:
        return CallTargets.of(target, axes)
    return CallTargets.of(method.default_target if target is None else target, axes, method.along)


def _described(outputs: Any, sample_dim: str) -> tuple[Any, str]:
    """Names and labels of the output axes, and the outputs' units, from a labelled example of them, such as the truth."""
    labelled = isinstance(outputs, xr.DataArray)
    given = (
        [d for d in outputs.dims if d != sample_dim] if labelled else [outputs] if isinstance(outputs, str) else outputs
    )
    if wrong := [str(d) for d in given or () if d == sample_dim or str(d) in RESERVED]:
        what = "the sample dim of x" if wrong[0] == sample_dim else "the name of something in the result"
        raise ValueError(
            f"outputs names an axis {wrong[0]!r}, which is {what}; outputs names the axes after the sample axis, each otherwise"
        )
    if not labelled:
        return outputs, ""
    axes = {str(d): outputs[d] if d in outputs.coords else None for d in outputs.dims if d != sample_dim}
    return axes, str(outputs.attrs.get("units", ""))


def _autocast(dtype: Any) -> torch.dtype | None:
    if dtype is None or dtype is False:
        return None
    found = torch.bfloat16 if dtype is True else getattr(torch, dtype, None) if isinstance(dtype, str) else dtype
    if found not in (torch.bfloat16, torch.float16):
        raise ValueError(f"autocast is 'bfloat16', 'float16' or None, got {dtype!r}")
    return found


def _batch_size(batch_size: int | str, inputs: Inputs, device: torch.device, differentiable: bool) -> int:
    if batch_size == "auto":
        # Enough rows to keep the processor busy, few enough that a batch of inputs stays small beside the activations.
        budget, most = (2**22, 4096) if device.type == "cpu" else (2**26, 8192)
        if not differentiable:  # no activations are kept, and a call of a pipeline costs as much as many rows
            most = 2**15
        fitting = int(math.log2(max(1, budget // (inputs.cells * inputs.dtype.itemsize))))
        return int(min(most, max(8, 2**fitting)))
    if isinstance(batch_size, bool) or not isinstance(batch_size, int | np.integer) or batch_size < 1:
        raise ValueError(f"batch_size is 'auto' or a number of rows of at least 1, got {batch_size!r}")
    return int(batch_size)
