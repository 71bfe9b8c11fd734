"""What a call would cost, from its first batches: counted once, with all tensors that live, and timed once."""

from __future__ import annotations

import math
import time
import weakref
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from ..core.engine import Engine
from ..core.evaluation.incremental.cost import ProductMeter
from ..core.method import Method, results_of
from .call import Call
from .progress import Parts

_BATCHES = 2  # of the rows that most of a call is made of: the first one also tries and prepares
_SECONDS = 1.0  # after which one of them is enough


class _Seen(BaseException):
    """Enough was seen; no error, so that nothing on the way takes it for one."""


class Meter(ProductMeter):
    """Counts the multiply-adds of what torch is asked in a scope, and the bytes of all tensors made in it that live at once."""

    def __init__(self) -> None:
        super().__init__()
        self.live = self.peak = 0
        self.known: weakref.WeakSet[Any] = weakref.WeakSet()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        y = func(*args, **kwargs)
        for v in y if isinstance(y, tuple | list) else [y]:
            if isinstance(v, Tensor):
                self._see(v)
        if not self.add(func, args, kwargs, y) and "rnn" in str(
            func
        ):  # a kernel for a whole layer: each weight once for each step of each row
            self.products += math.prod(args[0].shape[:2]) * _weights(args)
        return y

    def _see(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        if storage in self.known:
            return
        self.known.add(storage)
        size = storage.nbytes()
        self.live += size
        self.peak = max(self.peak, self.live)
        weakref.finalize(storage, self._forget, size)

    def _forget(self, size: int) -> None:
        self.live -= size


def _weights(args: Any) -> int:
    """Entries of the weight matrices of a recurrent kernel, which follow the input: in a list, or two and their biases."""
    weights = args[1] if isinstance(args[1], tuple | list) else args[1:5]
    return sum(w.numel() for w in weights if w.ndim == 2)


@dataclass
class _Watch:
    """Follows an engine from batch to batch by a clock, and stops it once enough was seen."""

    engine: Engine
    seen: Parts
    gradient: bool
    sloped: bool = False

    def __post_init__(self) -> None:
        self.began = time.perf_counter()

    def forward(self, rows: Tensor, position: Tensor) -> Any:
        """The engine's own, with a look whether gradients are asked for."""
        self.sloped = rows.requires_grad
        return self.inner(rows, position)

    def advance(self, rows: int) -> None:
        """A batch is done."""
        self.seen.advance(rows)
        if len(self.seen.parts) > 1 and self.sloped >= self.gradient:
            late = time.perf_counter() - self.began > _SECONDS
            if len(self.seen.parts[-1].batches) >= (1 if late else _BATCHES):
                raise _Seen

    def follow(self, call: Call, method: Method, number: int) -> None:
        """Run a method on the first samples, until enough was seen."""
        engine, self.inner = self.engine, self.engine.forward
        engine.advance, engine.expect = self.advance, self.seen.expect
        with engine.by_forward(self.forward):
            try:
                chunks = call.chunks(
                    engine,
                    graph=method.needs_smoothness,
                    arrays=method.arrays,
                    most=number,
                    removes=not method.gradient,
                )
                for _, samples in chunks:
                    results_of(method, samples)
            except _Seen:
                pass


@dataclass(frozen=True)
class Rehearsal:
    """What the first batches of a call were seen to take.

    Attributes
    ----------
    products, seconds
        Multiply-adds and seconds of an intact row, and of a row of what follows.
    peak
        Bytes of tensors that lived at once, of so many `samples`.
    evaluation
        How what follows was answered.
    trial_rows
        Rows of no sample by which that was found out.
    """

    products: tuple[float, float]
    seconds: tuple[float, float]
    peak: int
    samples: int
    evaluation: str
    trial_rows: int

    @classmethod
    def of(cls, call: Call, method: Method) -> Rehearsal:
        """Run a bound method on a few batches of a call, twice: to count, and to time what has run before."""
        number = min(
            call.inputs.n, call.batch_size
        )  # of fewer, a trial of an evaluation may not pay that pays in the call
        with call.quiet().running(0) as engine, Meter() as meter:
            counted = _Watch(engine, Parts(lambda: float(meter.products)), method.gradient)
            counted.follow(call, method, number)
        with call.quiet().running(0) as engine:
            timed = _Watch(engine, Parts(), method.gradient)
            timed.follow(call, method, number)
            notes = engine.notes
        evaluation = str(notes.get("evaluation", notes.get("reading", "dense")))
        return cls(counted.seen.prices, timed.seen.prices, meter.peak, number, evaluation, int(notes["trial_rows"]))
