"""The one place that calls the model: a flat list of rows cut into batches, and everything restored afterwards."""

from __future__ import annotations

import contextlib
import copy
import itertools
import math
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .keys import Key
from .targets import Value

Rows = Callable[[slice], Tensor]
Intact = Callable[[slice], Tensor | None]
Forward = Callable[[Tensor, Tensor], Tensor]  # (rows, positions of their samples) -> outputs

# Autograd nodes of functions with kinks: quadrature converges like 1/n whatever the rule.
_KINKS = ("Relu", "LeakyRelu", "Prelu", "Rrelu", "Threshold", "Hardtanh", "Hardswish", "Hardsigmoid", "MaxPool", "Clamp", "Abs",
          "Max", "Min", "Fmax", "Fmin", "Amax", "Amin", "Aminmax", "Cummax", "Cummin", "Where", "Sort", "Topk", "Kthvalue",
          "Median", "Nanmedian", "Sign", "Round", "Floor", "Ceil", "Fractional", "AdaptiveMaxPool", "MaskedFill", "Hardshrink",
          "Softshrink")  # fmt: skip


# Rows of a batch of pieces of samples: on a processor what they make stays in its cache, about 30 % quicker than 4096 rows.
_CPU_PIECES, _PIECES = 512, 2**16


class NoGradient(TypeError):
    """A gradient method met a model without gradients."""


def smooth(y: Tensor) -> bool:
    """True where no node of the autograd graph behind `y` has a kink, or hides what it computes."""
    todo, seen = [y.grad_fn], set()
    while todo:
        node = todo.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        # A function written in Python, or a compiled model, is one node and may hold any number of kinks.
        if isinstance(node, torch.autograd.function.BackwardCFunction) or node.name().startswith(_KINKS):
            return False
        todo.extend(parent for parent, _ in node.next_functions)
    return True


def home_of(module: torch.nn.Module | None) -> torch.device | None:
    """Where a module's first parameter (or buffer, in one without parameters) is."""
    if module is None:
        return None
    return next((t.device for t in itertools.chain(module.parameters(), module.buffers())), None)


@contextlib.contextmanager
def untouched(module: torch.nn.Module | None, device: torch.device | None) -> Iterator[None]:
    """Explain `module` in eval mode on `device`, and leave it, random states and backend flags exactly as they were."""
    modes = [] if module is None else [(m, m.training) for m in module.modules()]
    home = home_of(module)
    moved = home is not None and device is not None and home != device
    state = torch.get_rng_state(), np.random.get_state(), random.getstate()  # noqa: NPY002 - kept, not used
    on_gpu = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []
    try:
        if module is not None:
            module.eval()
            if moved:
                module.to(device)
        with torch.inference_mode(False):  # the caller may be in it, and gradients cannot be taken there
            yield
    finally:
        for m, training in modes:
            m.training = training
        if moved and module is not None:
            module.to(home)
        torch.set_rng_state(state[0])
        np.random.set_state(state[1])  # noqa: NPY002
        random.setstate(state[2])
        if on_gpu:
            torch.cuda.set_rng_state_all(on_gpu)


def _backward_flags(module: torch.nn.Module | None, device: torch.device) -> contextlib.AbstractContextManager[None]:
    """CuDNN refuses the backward pass of recurrent layers in eval mode; here they run without it, in this scope only."""
    recurrent = module is not None and any(isinstance(m, torch.nn.RNNBase) for m in module.modules())
    if recurrent and device.type == "cuda":
        return torch.backends.cudnn.flags(enabled=False)  # type: ignore[no-any-return, no-untyped-call, unused-ignore]
    return contextlib.nullcontext()


def _out_of_memory(error: BaseException) -> bool:
    return isinstance(error, torch.cuda.OutOfMemoryError | MemoryError) or (
        isinstance(error, RuntimeError)
        and any(sign in str(error) for sign in ("can't allocate memory", "ALLOC_FAILED"))
    )


@dataclass
class Engine:
    """Calls the model on batches of rows and turns its outputs into target values.

    Parameters
    ----------
    forward
        ``forward(rows, position) -> outputs``: rows (r, *event) and the position of each row's sample in the input.
    bind
        Called once with the shape of one sample's output; returns the target functions.
    compares
        False if no target uses the outputs at the intact samples, which are then not kept.
    module
        The torch module behind `forward`, if there is one.
    differentiable
        False for a model without gradients.
    batch_size
        Rows of a batch; `adapt` lets it halve when memory runs out.
    along
        The axis of the outputs (the first after the sample axis is 0) along which the model gives one for each time, for a
        method that tells times apart; else None. Targets are then those of one time, and the value of a whole sample is
        that at its last time.
    notes
        What a method found out about the model, for the result's attrs.
    advance
        Told the number of rows done, for a progress bar; `expect` is told of rows to come.
    """

    forward: Forward
    bind: Callable[[tuple[int, ...]], list[Value]]
    device: torch.device
    compares: bool = True
    seed: int = 0
    module: torch.nn.Module | None = None
    differentiable: bool = True
    batch_size: int = 64
    adapt: bool = True
    autocast: torch.dtype | None = None
    advance: Callable[[int], None] = lambda rows: None
    expect: Callable[[int], None] = lambda rows: None
    targets: list[Value] = field(default_factory=list)
    smooth: bool | None = None
    along: int | None = None
    notes: dict[str, Any] = field(default_factory=dict)

    def outputs(self, rows: Tensor, position: Tensor) -> Tensor:
        """The model's outputs (r, *out) in float64 for rows of the samples at `position`."""
        with torch.autocast(self.device.type, self.autocast, enabled=self.autocast is not None):
            y = self.forward(rows, position)
        if not isinstance(y, Tensor):
            which = "[0]" if isinstance(y, tuple | list) else "['logits']"
            raise TypeError(
                f"the model must return one tensor, got {type(y).__name__}; wrap it: lambda x: model(x){which}, after model.eval()"
            )
        if y.ndim == 0 or len(y) != len(rows):
            raise ValueError(
                f"the model returned shape {tuple(y.shape)} for {len(rows)} rows; it must give one output for each row, rows first"
            )
        if y.is_complex():
            raise TypeError("the model's output is complex; return real numbers, such as its modulus")
        if not self.targets:
            self.targets = self.bind(tuple(y.shape[1:]))
        return y.to(torch.float64)

    def value(self, y: Tensor, y0: Tensor) -> Tensor:
        """Target values (r, targets) of outputs beside those of the same samples intact, both without an axis of time."""
        return torch.stack([t(y, y0) for t in self.targets], 1)

    def _values(self, y: Tensor, y0: Tensor | None) -> Tensor:
        y0 = y.detach() if y0 is None else y0
        if self.along is not None:
            y, y0 = y.select(1 + self.along, -1), y0.select(1 + self.along, -1)
        return self.value(y, y0)

    def cut(self, total: int, run: Callable[[slice], Any], size: float = 1.0) -> Iterator[tuple[slice, Any]]:
        """Run ``run(slice)`` over 0..total in batches, in smaller ones when memory runs out.

        `size` is that of a row beside a whole sample: where the size of a batch is not asked for, more of small rows go in.
        """
        start = 0
        while start < total:
            at = slice(start, min(start + self._rows(size), total))
            try:
                result = run(at)
            except Exception as error:
                if not _out_of_memory(error):
                    raise
                if not self.adapt or at.stop - at.start == 1:
                    raise MemoryError(
                        f"no memory for a batch of {at.stop - at.start} rows; give a smaller batch_size"
                    ) from error
                self.batch_size = max(1, min(self.batch_size, int((at.stop - at.start) * size)) // 2)
                result = None
            if result is None:  # outside the handler, so that the failed batch's tensors are free
                if self.device.type == "cuda":
                    torch.cuda.empty_cache()
                continue
            self.advance(at.stop - at.start)
            yield at, result
            start = at.stop

    def _rows(self, size: float) -> int:
        if size >= 1 or not self.adapt:
            return self.batch_size
        return max(1, min(_CPU_PIECES if self.device.type == "cpu" else _PIECES, int(self.batch_size / size)))

    def predict(self, x: Tensor, position: Tensor, *, graph: bool) -> tuple[Tensor, Tensor | None]:
        """Target values (n, targets) at the intact samples, and the outputs (n, *out) if a target compares with them.

        With `graph`, the first batch's graph tells whether the model is smooth.
        """
        look = graph and self.smooth is None and self.differentiable
        self.expect(len(x))

        def run(at: slice) -> tuple[Tensor, Tensor | None]:
            nonlocal look
            rows = x[at].detach().clone().requires_grad_(look)
            with (
                torch.set_grad_enabled(look),
                _backward_flags(self.module, self.device) if look else contextlib.nullcontext(),
            ):
                # A copy where there is a graph, as the model may write into its input, which a leaf forbids.
                y = self.outputs(rows.clone() if look else rows, position[at])
                v = self._values(y, None)
                if look:
                    self.smooth = smooth(v)
                    look = False
            return v.detach(), y.detach() if self.compares else None

        values, outputs = zip(*(both for _, both in self.cut(len(x), run)))
        return torch.cat(values), torch.cat(outputs) if self.compares else None

    def values(self, position: Tensor, y0: Intact, make: Rows) -> Iterator[tuple[slice, Tensor]]:
        """Target values (r, targets) batch by batch; ``make(slice)`` builds the rows."""

        def run(at: slice) -> Tensor:
            with torch.no_grad():
                return self._values(self.outputs(make(at), position[at]), y0(at))

        return self.cut(len(position), run)

    def gradients(
        self, position: Tensor, y0: Intact, make: Rows
    ) -> Iterator[tuple[slice, tuple[Tensor, list[Tensor]]]]:
        """As :meth:`values`, with d target / d rows (r, *event) for each target beside the values."""
        if not self.differentiable:
            raise NoGradient(
                "this model has no gradients; use Occlusion, or give a torch module or a differentiable callable"
            )

        def run(at: slice) -> tuple[Tensor, list[Tensor]]:
            rows = make(at).detach().requires_grad_(True)
            with torch.enable_grad(), _backward_flags(self.module, self.device):
                # A copy, as the model may write into its input, which a leaf of the graph forbids.
                v = self._values(self.outputs(rows.clone(), position[at]), y0(at))
                if not v.requires_grad:
                    raise NoGradient(
                        "the model's output has no gradient with respect to its input (detached, or computed outside torch); "
                        "use Occlusion, or keep the computation in torch"
                    )
                last = v.shape[1] - 1
                grads = [
                    torch.autograd.grad(v[:, k].sum(), rows, retain_graph=k < last, allow_unused=True)[0]
                    for k in range(last + 1)
                ]
            return v.detach(), [torch.zeros_like(rows) if g is None else g for g in grads]

        return self.cut(len(position), run)


@dataclass
class Samples:
    """Some samples of the input, as a method sees them, and the verbs with which it asks the model about them.

    Attributes
    ----------
    x
        (n, *event) as given, on the engine's device.
    valid
        Bool like `x`, or None where every cell is valid.
    prediction
        (n, targets) float64: the target values at `x`.
    evaluations
        (n,) rows asked of the model so far.
    failed
        (n,) True where the model gave a value or a gradient that is not finite.
    ends
        (n,) where padded series end along the axis of time, for a method along it; None where nothing is padded.
    """

    engine: Engine
    x: Tensor
    valid: Tensor | None
    ids: np.ndarray
    position: Tensor
    graph: bool = False
    ends: Tensor | None = None

    def __post_init__(self) -> None:
        n, device = len(self.x), self.x.device
        self.known = self.x if self.valid is None else torch.where(self.valid, self.x, torch.nan)
        self.evaluations = torch.ones(n, dtype=torch.int64, device=device)
        self.prediction, self.y0 = self.engine.predict(self.x, self.position, graph=self.graph)
        self.failed = ~torch.isfinite(self.prediction).all(1)

    @property
    def n(self) -> int:
        """Number of samples."""
        return len(self.x)

    @property
    def event(self) -> tuple[int, ...]:
        """Shape of one sample."""
        return tuple(self.x.shape[1:])

    @property
    def cells(self) -> Tensor:
        """Bool (n, *event): True where a cell is valid."""
        whole = torch.ones((), dtype=torch.bool, device=self.x.device)
        return whole.expand(self.x.shape) if self.valid is None else self.valid

    @property
    def targets(self) -> int:
        """Number of targets."""
        return self.prediction.shape[1]

    def key(self, i: Tensor, draw: Tensor) -> Key:
        """The random key of rows of sample `i` and number `draw`."""
        return Key(self.engine.seed, self.ids[i.cpu().numpy()], self.position[i], draw.cpu().numpy())

    def items(
        self, draws: int = 1, copies: int = 1, *, among: Tensor | None = None, first: int = 0
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Blocks of (sample, draw) pairs, sample by sample, large enough that `copies` rows of each fill a few batches.

        `among` keeps to some samples; the draws are numbered from `first`.
        """
        who = torch.arange(self.n, device=self.x.device) if among is None else among
        total = len(who) * draws
        block = max(1, math.ceil(4 * self.engine.batch_size / copies), min(self.engine.batch_size, 64))
        for start in range(0, total, block):
            pair = torch.arange(start, min(start + block, total), device=self.x.device)
            yield who[torch.div(pair, draws, rounding_mode="floor")], first + pair % draws

    def fill(self, baseline: Any, i: Tensor, draw: Tensor, absent: Tensor | None = None) -> Tensor:
        """Rows of sample `i` with the valid absent cells (all, for None) replaced by the baseline's values."""
        known = self.known.index_select(0, i)  # several times as fast as known[i]
        gone = torch.ones((), dtype=torch.bool, device=known.device).expand_as(known) if absent is None else absent
        if getattr(baseline, "conditional", True):
            rows = baseline.fill(known, gone.expand_as(known), self.key(i, draw))
        else:
            # The same values serve every group of one (sample, draw). As one number, as unique pairs are slow to find.
            pairs, back = torch.unique_consecutive((i << 32) + draw, return_inverse=True)
            sample, number = pairs >> 32, pairs & (2**32 - 1)
            full = baseline.full(self.known[sample], self.key(sample, number))
            full = full if len(full) == 1 else full[back]
            # Into the copy that is there: another array of the rows' size costs as much as the work, in page faults.
            rows = torch.where(gone, full, known, out=known if full.dtype == known.dtype else None)
        if rows.shape != known.shape:
            raise ValueError(
                f"baseline {baseline!r} gave shape {tuple(rows.shape)} for rows of shape {tuple(known.shape)}"
            )
        rows = rows.to(known.dtype)
        valid = None if self.valid is None else self.valid.index_select(0, i)
        present = rows if valid is None else torch.where(valid, rows, 0)
        # The sum is quick, and NaN wherever there may be one; only then are they counted.
        if torch.isnan(present.sum()) and (lost := int(torch.isnan(present).sum())):
            raise ValueError(
                f"the baseline gives NaN at {lost} cells that are present in the input; give it a reference without "
                "missing values there, or mark those cells with valid=False"
            )
        return rows if valid is None else torch.where(valid, rows, self.x.index_select(0, i))

    def values(self, i: Tensor, make: Rows) -> Iterator[tuple[slice, Tensor]]:
        """Target values (r, targets) float64, batch by batch, at rows of sample `i` that ``make(slice)`` builds."""
        for at, v in self.engine.values(self._position(i), self._intact(i), make):
            self._note(i[at], torch.isfinite(v).all(1))
            yield at, v

    def gradients(self, i: Tensor, make: Rows) -> Iterator[tuple[slice, list[Tensor]]]:
        """Gradients (r, *event) of each target, 0 at invalid cells, batch by batch at rows of sample `i`."""
        for at, (v, grads) in self.engine.gradients(self._position(i), self._intact(i), make):
            if self.valid is not None:
                grads = [torch.where(self.valid.index_select(0, i[at]), g, 0) for g in grads]
            finite = torch.isfinite(v).all(1)
            for g in grads:
                finite &= torch.isfinite(g.sum(list(range(1, g.ndim))))
            self._note(i[at], finite)
            yield at, grads

    def moved(self, i: Tensor, rows: Tensor) -> Samples:
        """`rows` in the place of sample `i` each: with its draws and context, and targets that compare with its outputs."""
        out = copy.copy(self)
        out.x, out.valid = rows, None if self.valid is None else self.valid[i]
        out.known = rows if out.valid is None else torch.where(out.valid, rows, torch.nan)
        out.ids, out.position = self.ids[i.cpu().numpy()], self.position[i]
        out.y0 = None if self.y0 is None else self.y0[i]
        out.evaluations = torch.zeros_like(i)
        out.failed = torch.zeros_like(i, dtype=torch.bool)
        out.prediction = torch.empty_like(self.prediction[i])
        every = torch.arange(len(i), device=i.device)
        for at, v in out.values(every, lambda at: rows[at].clone()):  # the model may write into its input
            out.prediction[at] = v
        return out

    def _intact(self, i: Tensor) -> Intact:
        y0 = self.y0
        return lambda at: None if y0 is None else y0[i[at]]

    def _position(self, i: Tensor) -> Tensor:
        self.engine.expect(len(i))
        return self.position[i]

    def _note(self, i: Tensor, finite: Tensor) -> None:
        self.evaluations.index_add_(0, i, torch.ones_like(i))
        self.failed[i[~finite]] = True


class Moments:
    """Mean and standard error over the draws of each sample, as they come; equal draws give a standard error of 0.

    `draws` is the largest number of draws of a sample; with one, no room is made for squares.
    """

    def __init__(self, n: int, shape: tuple[int, ...], draws: int, device: torch.device) -> None:
        self.draws = draws
        self.count = torch.zeros((n, *[1] * len(shape)), dtype=torch.float64, device=device)
        self.pivot = torch.zeros((n, *shape), dtype=torch.float64, device=device)
        self.sum = torch.zeros_like(self.pivot) if draws > 1 else None
        self.square = torch.zeros_like(self.pivot) if draws > 1 else None

    def add(self, i: Tensor, draw: Tensor, values: Tensor) -> None:
        """Take one block; the first draw of a sample must not come after another of its draws."""
        first = draw == 0
        values = values.to(torch.float64)
        self.pivot[i[first]] = values[first]
        self.count.index_add_(0, i, torch.ones((len(i), *self.count.shape[1:]), dtype=torch.float64, device=i.device))
        if self.sum is not None and self.square is not None:
            apart = values - self.pivot[i]  # differences from the first draw: no digits are lost in the squares
            self.sum.index_add_(0, i, apart)
            self.square.index_add_(0, i, apart**2)

    def mean(self) -> Tensor:
        """Mean over the draws."""
        return self.pivot if self.sum is None else self.pivot + self.sum / self.count

    def standard_error(self) -> Tensor:
        """Standard deviation over the draws (n - 1) over the square root of their number."""
        if self.sum is None or self.square is None:
            raise ValueError("a standard error needs at least two draws")
        variance = (self.square - self.sum**2 / self.count) / (self.count - 1)
        return (variance.clamp(min=0) / self.count).sqrt()
