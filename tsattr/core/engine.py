"""The one place that calls the model: a flat list of rows cut into batches, and everything restored afterwards."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .bound import BoundTargets
from .gradient_fault import gradient_fault
from .preserve import recorded_draws, without_cudnn

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


@dataclass(frozen=True)
class Weighted:
    """What stands for rows, where the gradient of a weighted sum of their values is asked for and not one for each.

    Attributes
    ----------
    rows
        What the model is given in the place of the rows.
    leaf
        What the gradient is taken at: the rows depend on it.
    weights
        (r,) the weight of each row's value.
    """

    rows: Any
    leaf: Tensor
    weights: Tensor


class NoGradient(TypeError):
    """A gradient method met a model without gradients."""


def graph(y: Tensor) -> set[Any]:
    """The nodes of the autograd graph behind `y`."""
    todo, seen = [y.grad_fn], set()
    while todo:
        node = todo.pop()
        if node is not None and node not in seen:
            seen.add(node)
            todo.extend(parent for parent, _ in node.next_functions)
    return seen


def smooth(y: Tensor) -> bool:
    """True where no node of the autograd graph behind `y` has a kink, or hides what it computes."""
    # A function written in Python, or a compiled model, is one node and may hold any number of kinks.
    return not any(
        isinstance(node, torch.autograd.function.BackwardCFunction) or node.name().startswith(_KINKS)
        for node in graph(y)
    )


def _backward_flags(module: torch.nn.Module | None, device: torch.device) -> contextlib.AbstractContextManager[None]:
    """CuDNN refuses the backward pass of recurrent layers in eval mode; here they run without it, in this scope only."""
    if device.type == "cuda" and module is not None and any(isinstance(m, torch.nn.RNNBase) for m in module.modules()):
        return without_cudnn()
    return contextlib.nullcontext()


@contextlib.contextmanager
def _explained() -> Iterator[None]:
    """Turn what torch says of a backward pass that is impossible into `NoGradient`, with a fix."""
    try:
        yield
    except RuntimeError as error:
        if "checkpoint is incompatible with .grad()" in str(error):
            raise NoGradient(
                "the model checkpoints with use_reentrant=True, through which no gradient at the input can be taken; use "
                "torch.utils.checkpoint.checkpoint(..., use_reentrant=False), or Occlusion"
            ) from error
        raise


def at_hand(values: Tensor) -> bool:
    """True where one may look at values at no cost; on a GPU to look is to wait until all that was asked of it is done."""
    return values.device.type == "cpu"


def out_of_memory(error: BaseException) -> bool:
    """True for an error that says that there is no memory left."""
    return isinstance(error, torch.cuda.OutOfMemoryError | MemoryError) or (
        isinstance(error, RuntimeError)
        and any(sign in str(error) for sign in ("can't allocate memory", "ALLOC_FAILED"))
    )


def numbers(y: Any) -> Tensor:
    """The model's output; TypeError where it is no tensor of real numbers."""
    if not isinstance(y, Tensor):
        raise TypeError(f"the model must return one tensor, got {type(y).__name__}; {_how_to_choose(y)}")
    if y.is_complex():
        raise TypeError("the model's output is complex; return real numbers, such as its modulus")
    if y.layout != torch.strided or y.is_quantized or y.is_nested:
        raise TypeError(
            f"the model's output is a {y.layout} tensor of dtype {y.dtype}, nested or not dense; return a plain one: to_dense(), "
            "dequantize(), to_padded_tensor(...)"
        )
    return y


def _how_to_choose(y: Any) -> str:
    """How to make one tensor of an output that is a structure, with the fields that it has."""
    if isinstance(y, np.ndarray | np.generic | float):
        return "where it works on numpy arrays, give ta.models.on_arrays(f)"
    if isinstance(y, Mapping):
        fields = {f"[{k!r}]": v for k, v in y.items()}
    elif isinstance(y, tuple | list):
        names = getattr(y, "_fields", range(len(y)))  # of a named tuple
        fields = {f".{k}" if isinstance(k, str) else f"[{k}]": v for k, v in zip(names, y)}
    elif dataclasses.is_dataclass(y):
        fields = {f".{f.name}": getattr(y, f.name) for f in dataclasses.fields(y)}
    else:
        fields = {f".{k}": v for k, v in getattr(y, "__dict__", {}).items()}
    tensors = [k for k, v in fields.items() if isinstance(v, Tensor)]
    if not tensors:
        return "return one of numbers"
    shown = ", ".join(f"{k} {tuple(fields[k].shape)}" for k in tensors)
    return f"wrap it: lambda x: model(x){tensors[0]}, after model.eval(); its tensors are {shown}"


def _no_such_batch(error: str, rows: int) -> str | None:
    """The error text for a model that does not take a batch of so many rows, from what torch says; None for any other error."""
    if "Expected more than 1 value per channel" in error:
        return (
            f"the model is not a function of its row: it normalises by the mean of the batch, and one row has none ({error}). Give "
            "its batch normalisation running statistics (track_running_stats=True, and training with them), and do not put it "
            "into training mode in forward()"
        )
    if error.startswith(("Guard failed", "Expected input at")):
        return (
            f"the exported model does not take a batch of {rows} rows ({error}); a method asks about any number of them: export it "
            "with dynamic_shapes=({0: torch.export.Dim('rows', min=1, max=8192)},), or give the module that it was made from"
        )
    return None


def _without_rows(y: Tensor, event: torch.Size | None) -> bool:
    """True where the output of one row may lack the axis of the rows."""
    return y.ndim == 0 or len(y) != 1 or (event is not None and y.shape == event)


def _one_for_each(y: Tensor, rows: int) -> Tensor:
    if y.ndim == 0 or len(y) != rows:
        raise ValueError(
            f"the model returned shape {tuple(y.shape)} for {rows} rows; it must give one output for each row, rows first"
        )
    return y


@dataclass
class Engine:
    """Calls the model on batches of rows and turns its outputs into target values.

    Parameters
    ----------
    forward
        ``forward(rows, position) -> outputs``: rows (r, *event) and the position of each row's sample in the input.
    bind
        Called once with the shape of one sample's output; gives the targets.
    compares
        False if no target uses the outputs at the intact samples, which are then not kept.
    module
        The torch module behind `forward`, if there is one.
    differentiable
        False for a model without gradients.
    batch_size
        Rows of a batch; `adapt` lets it halve when memory runs out.
    targets
        What `bind` gave, once the model has been asked.
    drawn
        The global random generators that the model's first call drew from.
    events
        The shape of one row's output, by that of the row.
    notes
        What a method found out about the model, for the result's attrs.
    found
        What was found out about ways to ask the model, which holds for all of its samples.
    eps
        The spacing of the numbers at 1 that the outputs are made of, once the model has been asked.
    evaluations
        The kinds of `RemovalEvaluation` that are tried beside the dense one.
    dense
        Whether the model is asked about whole rows alone, whatever the question.
    samples
        How many samples the input has.
    unfilled
        Positions of the samples for which a baseline had no value.
    advance
        Told the number of rows done, for a progress bar; `expect` is told of rows to come, and `foresee` how many times its fewest
        rows a method is likely to take.
    """

    forward: Forward
    bind: Callable[[tuple[int, ...]], BoundTargets]
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
    foresee: Callable[[float], None] = lambda times: None
    targets: BoundTargets | None = None
    drawn: set[str] = field(default_factory=set)
    events: dict[torch.Size, torch.Size] = field(default_factory=dict)
    smooth: bool | None = None
    notes: dict[str, Any] = field(default_factory=dict)
    found: dict[str, Any] = field(default_factory=dict)
    eps: float = 0.0
    evaluations: tuple[Any, ...] = ()
    dense: bool = False
    samples: int = 0
    unfilled: set[int] = field(default_factory=set)

    def outputs(self, rows: Tensor, position: Tensor) -> Tensor:
        """The model's outputs (r, *out) in float64 for rows of the samples at `position`."""
        y = self._asked(rows, position)
        if len(rows) == 1 and _without_rows(y, self.events.get(rows.shape[1:])):
            self._learn_event(rows, position)
            y = y[None] if y.shape == self.events[rows.shape[1:]] else y
        y = _one_for_each(y, len(rows))
        event = self.events.setdefault(rows.shape[1:], y.shape[1:])
        if y.shape[1:] != event:
            raise ValueError(
                f"the shape of the model's outputs varies: {tuple(event)} for a row at first, now {tuple(y.shape[1:])}; give "
                "outputs of one length for every batch, such as pad_packed_sequence(..., total_length=x.shape[1])"
            )
        if self.targets is None:
            self.targets = self.bind(tuple(event))
            kinds = [t for t in (rows.dtype, y.dtype, self.autocast) if t is not None and t.is_floating_point]
            self.eps = max(torch.finfo(t).eps for t in kinds)
        return y.to(torch.float64, copy=True)  # the model may answer into a tensor of its own, or give its input back

    def _asked(self, rows: Tensor, position: Tensor) -> Tensor:
        """The model's output, checked to be one tensor of real numbers."""
        first = recorded_draws(self.drawn) if self.targets is None else contextlib.nullcontext()
        with first, self._mixed():
            return numbers(self._forwarded(rows, position))

    def _mixed(self) -> contextlib.AbstractContextManager[Any]:
        """Mixed precision as it was asked for, also where the caller is in a scope of it."""
        kind = self.device.type
        if self.autocast is None and not torch.is_autocast_enabled(kind):
            return contextlib.nullcontext()
        return torch.autocast(kind, self.autocast, enabled=self.autocast is not None)

    def _forwarded(self, rows: Tensor, position: Tensor) -> Any:
        try:
            return self.forward(rows, position)
        except (AssertionError, RuntimeError, ValueError) as error:
            if (why := _no_such_batch(str(error), len(rows))) is None:
                raise
            raise ValueError(why) from error

    def _learn_event(self, rows: Tensor, position: Tensor) -> None:
        """Ask about a row twice: where a model squeezes its outputs, those of one row do not tell its axis from theirs."""
        if rows.shape[1:] not in self.events:
            y = _one_for_each(self._asked(rows.repeat_interleave(2, 0), position.repeat(2)), 2)
            self.events[rows.shape[1:]] = y.shape[1:]
            self.count_trial(2)

    @contextlib.contextmanager
    def by_forward(self, forward: Forward) -> Iterator[None]:
        """Call the model by another forward pass in this scope."""
        before = self.forward
        self.forward = forward
        try:
            yield
        finally:
            self.forward = before

    @contextlib.contextmanager
    def repeating(self, times: float) -> Iterator[None]:
        """A method is run about so many times in this scope: what each run foresees counts as often."""
        before = self.foresee
        self.foresee = lambda each: before(times * each)
        self.foresee(1.0)
        try:
            yield
        finally:
            self.foresee = before

    def count_trial(self, rows: int) -> None:
        """Rows asked of the model that are of no sample."""
        self.notes["trial_rows"] = self.notes.get("trial_rows", 0) + rows

    @property
    def along(self) -> int | None:
        """The axis of the outputs (the first after the sample axis is 0) along which the model gives one for each time.

        For a method that tells times apart; else None. Targets are then those of one time, and the value of a whole sample
        is that at its last time.
        """
        return self.bound.along

    @property
    def bound(self) -> BoundTargets:
        """The targets, bound to the outputs that the model gave; RuntimeError before it was asked."""
        if self.targets is None:
            raise RuntimeError("the model has not been asked yet: its outputs' shape is not known")
        return self.targets

    def value(self, y: Tensor, y0: Tensor) -> Tensor:
        """Target values (r, targets) of outputs beside those of the same samples intact, both without an axis of time."""
        if self.bound.together is not None:
            return self.bound.together(y, y0)
        return torch.stack([value(y, y0) for value in self.bound.values], 1)

    def level(self, y: Tensor, y0: Tensor) -> Tensor:
        """As :meth:`value`, what the model says in one number (r, targets) for a method that tells an axis apart."""
        return torch.stack([level(y, y0) for level in self.bound.levels], 1)

    def _values(self, y: Tensor, y0: Tensor | None) -> Tensor:
        return self.value(*self._of_one_time(y, y0))

    def _of_one_time(self, y: Tensor, y0: Tensor | None) -> tuple[Tensor, Tensor]:
        """Outputs and those intact, of a method that tells times apart those at the last time."""
        y0 = y.detach() if y0 is None else y0
        if self.along is not None:
            y, y0 = y.select(1 + self.along, -1), y0.select(1 + self.along, -1)
        return y, y0

    def cut(self, total: int, run: Callable[[slice], Any], size: float = 1.0) -> Iterator[tuple[slice, Any]]:
        """Run ``run(slice)`` over 0..total in batches, in smaller ones when memory runs out.

        `size` is that of a row beside a whole sample: where the size of a batch is not asked for, more of small rows go in, and
        fewer of large ones.
        """
        start = 0
        while start < total:
            at = slice(start, min(start + self.fitting(size), total))
            try:
                result = run(at)
            except Exception as error:
                if not out_of_memory(error):
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

    def fitting(self, size: float) -> int:
        """Rows of a batch, where one has this size beside a whole sample."""
        if size == 1 or not self.adapt:
            return self.batch_size
        if size > 1:
            return max(1, int(self.batch_size / size))
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

    def values(
        self, total: int, y0: Intact, outputs: Callable[[slice], Tensor], size: float = 1.0
    ) -> Iterator[tuple[slice, Tensor]]:
        """Target values (r, targets) batch by batch; ``outputs(slice)`` asks the model. For `size` see :meth:`cut`."""

        def run(at: slice) -> Tensor:
            with torch.no_grad():
                return self._values(outputs(at), y0(at))

        return self.cut(total, run, size)

    def gradients(
        self, position: Tensor, y0: Intact, make: Callable[[slice], Tensor | Weighted], size: float = 1.0
    ) -> Iterator[tuple[slice, tuple[Tensor, list[Tensor]]]]:
        """As :meth:`values`, with d target / d rows (r, *event) for each target beside the values.

        Of `Weighted` rows with the gradient of the weighted sum at their leaf instead. All targets share the forward pass, and
        each has a backward pass of its own.
        """
        if not self.differentiable:
            raise NoGradient(
                "this model has no gradients; use Occlusion, or give a torch module or a differentiable callable"
            )

        def run(at: slice) -> tuple[Tensor, list[Tensor]]:
            given = make(at)
            rows = given.detach().requires_grad_(True) if isinstance(given, Tensor) else given.leaf
            weights = None if isinstance(given, Tensor) else given.weights
            with torch.enable_grad(), _backward_flags(self.module, self.device):
                # A copy, as the model may write into its input, which a leaf of the graph forbids.
                asked = rows.clone() if isinstance(given, Tensor) else given.rows
                y, intact = self._of_one_time(self.outputs(asked, position[at]), y0(at))
                # Each by itself: a backward pass through a stack of them all would ask for the slope of every other one, too, and
                # what each makes of the outputs would be kept.
                last = len(self.bound.values) - 1
                with _explained():
                    v, grads = zip(
                        *(
                            _with_slope(f(y, intact), rows, weights, keep=k < last)
                            for k, f in enumerate(self.bound.values)
                        )
                    )
                if all(g is None for g in grads):
                    raise NoGradient(
                        "the model's output has no gradient with respect to its input (detached, or computed outside torch); "
                        "use Occlusion, or keep the computation in torch"
                    )
            return torch.stack(v, 1), [torch.zeros_like(rows) if g is None else g for g in grads]

        return self.cut(len(position), run, size)

    def find_fault(self, rows: Tensor, position: Tensor, y0: Tensor | None) -> None:
        """Note in `found`, once, where the gradient at rows stops being finite; what cannot be looked into is not named."""
        if "fault" in self.found:
            return

        def ask(leaf: Tensor) -> Tensor:
            return self.value(*self._of_one_time(self.outputs(leaf, position), y0)).sum()

        self.count_trial(len(rows))
        try:
            with _backward_flags(self.module, self.device):
                self.found["fault"] = gradient_fault(ask, rows, self.module)
        except RuntimeError:  # a compiled or checkpointed graph, or no memory for another: the status stands without it
            self.found["fault"] = None


def _with_slope(value: Tensor, rows: Tensor, weights: Tensor | None, *, keep: bool) -> tuple[Tensor, Tensor | None]:
    """Values (r,), and the gradient of their sum at the rows, 0 where they do not depend on them; None where they have none at all.

    `keep` holds the graph for another pass, which a compiled model may not allow.
    """
    if not value.requires_grad:
        return value, None
    total = value.sum() if weights is None else (value * weights).sum()
    slope = torch.autograd.grad(total, rows, retain_graph=keep, allow_unused=True)[0]
    return value.detach().clone(), torch.zeros_like(rows) if slope is None else slope
