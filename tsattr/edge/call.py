"""One call on labelled data: what was given, checked and made one tensor; how it runs; and the table of what comes out."""

from __future__ import annotations

import contextlib
import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
import torch
import xarray as xr

from ..core.axes import Axes
from ..core.engine import Engine
from ..core.results import RESERVED, Field, check_flag
from ..core.samples import Samples
from ..core.states import State
from ..core.targets import values as core_targets
from ..core.targets.outputs import Value
from ..core.untouched import untouched
from ..labels import inputs as labels
from ..models import calling as models
from . import trials

_CHUNK = 2**26  # bytes of input in memory as tensors at once


class ExplanationWarning(UserWarning):
    """Something about an explanation that its reader must know: samples that did not converge, a doubtful baseline."""


_SAID: ContextVar[set[str] | None] = ContextVar("said", default=None)


@contextlib.contextmanager
def said_once() -> Iterator[None]:
    """What several explanations within would each warn of in the same words is said once."""
    said = _SAID.get()
    before = _SAID.set(set() if said is None else said)
    try:
        yield
    finally:
        _SAID.reset(before)


def tell(text: str, stacklevel: int) -> None:
    """Warn of what a reader of an explanation must know; `stacklevel` is as in ``warnings.warn`` for who calls this."""
    said = _SAID.get()
    if said is not None:
        if text in said:
            return
        said.add(text)
    warnings.warn(text, ExplanationWarning, stacklevel=stacklevel + 1)


@dataclass
class Call:
    """A model and its input, checked, and how to run the one on the other.

    `names` and `classes`, of the targets and of the output axis, are known once the model has been asked, as is `taken`: what
    numbers of the target were taken for, where label and index differ. `along` names the
    dim whose output axis, where there is one, the method tells apart itself: the targets are of one entry of it.
    """

    inputs: labels.Inputs
    model: models.Model
    several: bool
    wanted: list[Any]
    outputs: Any
    about: dict[str, torch.Tensor]
    place: torch.device
    rows: int
    adapt: bool
    autocast: torch.dtype | None
    seed: int
    along: str | None = None
    check: bool = True
    units: str = ""
    taken: str = ""
    names: list[str] = field(default_factory=list)
    classes: list[Any] = field(default_factory=list)

    @classmethod
    def of(
        cls,
        model: Any,
        x: Any,
        *,
        target: Any = None,
        outputs: Any = None,
        dims: Sequence[str] | None = None,
        sample_dim: str | None = None,
        valid: Any = None,
        context: Mapping[str, Any] | None = None,
        batch_size: int | str = "auto",
        device: Any = None,
        autocast: Any = None,
        check: bool = True,
        seed: int = 0,
        along: str | None = None,
    ) -> Call:
        """Check everything that labels and shapes tell, before any work."""
        inputs = labels.read(x, dims, sample_dim, valid)
        about = labels.read_context(context, inputs)
        outputs, units = _described(outputs, inputs.sample_dim)
        wrapped = models.read(model, inputs)
        outputs = wrapped.outputs if outputs is None else outputs
        axes = core_targets.outputs_axes(outputs, None, wrapped.labels, wrapped.scale)
        with _of_one_time(axes, along):
            wanted = _wanted(target, _apart(axes, along))
        if isinstance(seed, bool) or not isinstance(seed, int | np.integer):
            raise TypeError(f"seed is a whole number, got {seed!r}")
        check_flag("check", check)
        place = models.place(device, wrapped.module, inputs)
        mixed = _autocast(autocast)
        models.check_dtype(wrapped.module, inputs, mixed=mixed is not None)
        return cls(
            inputs,
            wrapped,
            core_targets.is_many(target),
            wanted,
            outputs,
            about,
            place,
            _batch_size(batch_size, inputs, place, wrapped.differentiable),
            batch_size == "auto",
            mixed,
            int(seed),
            along,
            check,
            units if all(t.keeps_units for t in wanted) else "",
        )

    @property
    def dtype(self) -> torch.dtype:
        """What the model's rows are made of, before a Dataset's variables are told apart."""
        return getattr(torch, str(self.inputs.dtype))

    @property
    def chunk(self) -> int:
        """Samples in memory at once. Several times as much is held beside the input for each target, in float64."""
        return max(self.rows, _CHUNK // (self.inputs.cells * self.inputs.dtype.itemsize * len(self.wanted)))

    def size(self, arrays: int) -> int:
        """Samples of a chunk where so many arrays of their size are kept."""
        return max(min(self.rows, self.chunk), self.chunk // arrays)

    def _bind_targets(self, shape: tuple[int, ...]) -> tuple[list[Value], int | None]:
        whole = core_targets.outputs_axes(self.outputs, shape, self.model.labels, self.model.scale)
        found = _apart(whole, self.along)
        assert whole is not None
        assert found is not None
        times = whole.dims.index(self.along) if self.along in whole.dims else None
        axes = self.inputs.variables[0].axes
        if self.outputs is None and self.along in axes.dims and shape == (axes.shape[axes.axis(self.along)],) != (1,):
            raise ValueError(
                f"the model gives {shape[0]} outputs and x has as many cells along {self.along!r}: name the axis of the outputs, "
                f"outputs=({self.along!r},) where there is one for each cell, else outputs=('class',) or the like"
            )
        if times is not None:
            self._check_times(whole.shape[times])
        self.names[:] = _target_names(self.wanted, found)
        self.classes[:] = found.coords.get(found.dims[0], []) if len(found.dims) == 1 else []
        with _of_one_time(whole, self.along):
            values = [t.bind(found) for t in self.wanted]
        if found.taken and not self.taken:  # said once, however often an engine is started
            self.taken = "; ".join(dict.fromkeys(found.taken))
            tell(self.taken, 2)
        return values, times

    def _check_times(self, times: int) -> None:
        axes = self.inputs.variables[0].axes
        if self.along in axes.dims and times != (n := axes.shape[axes.axis(self.along)]):
            raise ValueError(
                f"the model gives {times} outputs along {self.along!r}, and x has {n} cells there; name an output axis "
                f"{self.along!r} only where the model gives one output for each cell"
            )

    @contextlib.contextmanager
    def running(
        self, progress: bool | Callable[[int, int], None], total: int, what: str = "explain"
    ) -> Iterator[Engine]:
        """The engine, with the model in eval mode on its device and a progress bar of `total` rows; then all as before."""
        about = {k: v.to(self.place) for k, v in self.about.items()}

        def forward(batch: torch.Tensor, position: torch.Tensor) -> Any:
            y = self.model.call(batch, {k: v[position] for k, v in about.items()}, position)
            return y.to(self.place) if isinstance(y, torch.Tensor) and not self.model.differentiable else y

        def bind(shape: tuple[int, ...]) -> list[Value]:
            values, engine.along = self._bind_targets(shape)
            return values

        with _progress(progress, total, what) as (advance, expect), untouched(self.model.module, self.place):
            engine = Engine(
                forward,
                bind,
                self.place,
                compares=any(t.compares for t in self.wanted),
                seed=self.seed,
                module=self.model.module,
                differentiable=self.model.differentiable,
                batch_size=self.rows,
                adapt=self.adapt,
                autocast=self.autocast,
                advance=advance,
                expect=expect,
                samples=self.inputs.n,
            )
            engine.count_trial(0)
            if self.check:
                self.check = False  # a call may run several times
                for doubt in trials.check(self, engine):
                    tell(doubt, 4)
                    engine.notes["trial"] = doubt
            yield engine

    def tried(self) -> int:
        """The rows that the trials of the model took, made now, so that they are not made again."""
        with self.running(False, 0) as engine:
            return int(engine.notes["trial_rows"])

    def chunks(
        self, engine: Engine, *, graph: bool = False, arrays: int = 1, most: int | None = None
    ) -> Iterator[tuple[slice, Samples]]:
        """The input's samples (the first `most`), a chunk at a time, smaller where several `arrays` of their size are kept."""
        n = self.inputs.n if most is None else min(most, self.inputs.n)
        ids = self.inputs.ids
        size = self.size(arrays)
        for start in range(0, n, size):
            at = slice(start, min(start + size, n))
            x, valid = self.inputs.load(at)
            position = torch.arange(at.start, at.stop, device=self.place)
            valid = None if valid is None else valid.to(self.place)
            ends = self.inputs.ends(at, self.along)
            ends = None if ends is None else ends.to(self.place)
            yield at, Samples(engine, x.to(self.place), valid, ids[at], position, graph=graph, ends=ends)


STATUS = np.array([str(state) for state in State])


class Table:
    """The result's arrays, filled chunk by chunk."""

    def __init__(self, inputs: labels.Inputs, groups: Any) -> None:
        self.inputs = inputs
        self.fields: dict[str, tuple[tuple[str, ...], np.ndarray]] = {}
        self.groups = groups

    def put(self, at: slice, found: dict[str, Field], valid: torch.Tensor | None) -> None:
        """Take one chunk."""
        bad = found["status"].values >= State.GRADIENT
        for name, f in found.items():
            values = f.values
            event = "..." in f.dims
            if event and valid is not None:
                where = valid.reshape(len(valid), *[1] * f.dims.index("..."), *valid.shape[1:])
                values = torch.where(where, values, torch.nan)
            if (event or "group" in f.dims) and bad.any():  # half a map is no map: the status says why there is none
                values = torch.where(bad.reshape(-1, *[1] * (values.ndim - 1)), torch.nan, values)
            if name not in self.fields:
                dtype = self.inputs.dtype if event else np.dtype(str(values.dtype).removeprefix("torch."))
                self.fields[name] = f.dims, np.empty((self.inputs.n, *values.shape[1:]), dtype)
            self.fields[name][1][at] = values.cpu().numpy()

    def dataset(self, several: bool, names: list[str], classes: np.ndarray) -> xr.Dataset:
        """The fields as labelled variables."""
        out: dict[str, xr.DataArray] = {}
        for name, (dims, values) in self.fields.items():
            if name == "status":
                values = STATUS[values]
            if name == "predicted":
                values = _chosen(classes, values)
            out.update(self.inputs.label(name, dims, values, not several))
        order = [k for k in out if k.startswith("attribution")] + ["prediction"]
        ds = xr.Dataset({k: out[k] for k in order + [k for k in out if k not in order and k != "status"] + ["status"]})
        for k in ds.variables:
            ds[k].attrs = labels.plain(ds[k].attrs)
        if "group" in ds.dims and self.groups is not None:
            ds = ds.assign_coords(group=self.groups.names)
        return ds.assign_coords(target=names) if several else ds


def _chosen(classes: np.ndarray, index: np.ndarray) -> np.ndarray:
    """The classes with these indices; where there is none (-1) "", NaT, or NaN among numbers."""
    known = index >= 0
    found = classes[index] if len(classes) else index
    if known.all():
        return found
    if found.dtype.kind in "US":
        return np.where(known, found, "")
    return np.where(known, found, np.datetime64("NaT")) if found.dtype.kind == "M" else np.where(known, found, np.nan)


def no_class(predicted: np.ndarray) -> np.ndarray:
    """Bool: True where there is no predicted class."""
    return predicted == "" if predicted.dtype.kind in "US" else np.asarray(pd.isna(predicted))


def words_of_class(predicted: xr.DataArray) -> str:
    """One sample's predicted class as text, empty where there is none; whole numbers that share an array with NaN are whole."""
    value = predicted.item()
    return "" if no_class(predicted.values) else f"{value:g}" if isinstance(value, float) else str(value)


def _wanted(target: Any, axes: Axes | None) -> list[Any]:
    """The targets as objects; what does not fit the output axes, where they are known, is raised before any work."""
    wanted = core_targets.wanted(target)
    if not wanted:
        raise ValueError(f"target is an empty {type(target).__name__}: nothing to explain")
    for t in wanted:
        if axes is not None and axes.shape:
            t.bind(axes)
        elif isinstance(t, core_targets.Output) and isinstance(t.where, bool):
            raise TypeError(
                f"target is an int, a label, or an object of tsattr.targets, got {t.where!r}, and no output is labelled so"
            )
    return wanted


def _apart(axes: Axes | None, dim: str | None) -> Axes | None:
    """Output axes without that of `dim`."""
    if axes is None or dim not in axes.dims:
        return axes
    kept = [a for a, d in enumerate(axes.dims) if d != dim]
    names = tuple(axes.dims[a] for a in kept)
    coords = {d: c for d, c in axes.coords.items() if d != dim}
    return replace(axes, dims=names, shape=tuple(axes.shape[a] for a in kept), coords=coords)


@contextlib.contextmanager
def _of_one_time(axes: Axes | None, along: str | None) -> Iterator[None]:
    """Where a target asks for the axis that the method itself goes along, say so."""
    try:
        yield
    except KeyError as error:
        if axes is None or along not in axes.dims:
            raise
        raise KeyError(
            f"{error.args[0]}; this method reads the model at every {along}, so its target is made of the outputs at one: leave "
            "target=None for the shift of the prediction. To compare it with methods of another target, make its map first, "
            "and give compare the map"
        ) from error


def _described(outputs: Any, sample_dim: str) -> tuple[Any, str]:
    """Names and labels of the output axes, and the outputs' units, from a labelled example of them, such as the truth."""
    if not isinstance(outputs, xr.DataArray):
        names = [outputs] if isinstance(outputs, str) else [] if outputs is None else [str(name) for name in outputs]
        if wrong := [name for name in names if name == sample_dim or name in RESERVED]:
            what = "the sample dim of x" if wrong[0] == sample_dim else "the name of something in the result"
            raise ValueError(
                f"outputs names an axis {wrong[0]!r}, which is {what}; outputs names the axes after the sample axis, each otherwise"
            )
        return outputs, ""
    axes = {str(d): outputs[d] if d in outputs.coords else None for d in outputs.dims if d != sample_dim}
    return axes, str(outputs.attrs.get("units", ""))


def _target_names(wanted: list[Any], outputs: Axes) -> list[str]:
    return [t.choose(outputs).label for t in wanted]


def _autocast(dtype: Any) -> torch.dtype | None:
    if dtype is None or dtype is False:
        return None
    found = torch.bfloat16 if dtype is True else getattr(torch, dtype, None) if isinstance(dtype, str) else dtype
    if found not in (torch.bfloat16, torch.float16):
        raise ValueError(f"autocast is 'bfloat16', 'float16' or None, got {dtype!r}")
    return found


def _batch_size(batch_size: int | str, inputs: labels.Inputs, place: torch.device, differentiable: bool) -> int:
    if batch_size == "auto":
        # Enough rows to keep the processor busy, few enough that a batch of inputs stays small beside the activations.
        budget, most = (2**22, 4096) if place.type == "cpu" else (2**26, 8192)
        if not differentiable:  # no activations are kept, and a call of a pipeline costs as much as many rows
            most = 2**15
        return min(most, max(8, 2 ** int(math.log2(max(1, budget // (inputs.cells * inputs.dtype.itemsize))))))
    if isinstance(batch_size, bool) or not isinstance(batch_size, int | np.integer) or batch_size < 1:
        raise ValueError(f"batch_size is 'auto' or a number of rows of at least 1, got {batch_size!r}")
    return int(batch_size)


@contextlib.contextmanager
def _progress(
    progress: bool | Callable[[int, int], None], total: int, what: str
) -> Iterator[tuple[Callable[[int], None], Callable[[int], None]]]:
    """Two callbacks: rows done, and rows to come. The total grows as a refining method learns what it needs."""
    if progress is not None and not isinstance(progress, bool) and not callable(progress):
        raise TypeError(f"progress is True, False or a callable given (rows done, rows known of), got {progress!r}")
    known = done = 0

    def expect(rows: int) -> None:
        nonlocal known
        known += rows

    if progress is False or progress is None:
        yield (lambda rows: None), expect
        return
    bar = None
    if progress is True:
        from tqdm.auto import tqdm

        bar = tqdm(total=total, unit="row", unit_scale=True, desc=what)

    def advance(rows: int) -> None:
        nonlocal done
        done += rows
        if bar is not None:
            bar.total = max(total, known)
            bar.update(rows)
        elif callable(progress):
            progress(done, max(total, known))

    try:
        yield advance, expect
    finally:
        if bar is not None:
            bar.total = max(done, 1)
            bar.close()
