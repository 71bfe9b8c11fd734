"""What a call of the model costs, counted and not timed, so that the same call is always answered in the same way."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes
from torch.utils.flop_counter import flop_registry

# Seconds of an operation, of a number that it writes, and of a multiply-add: on one thread of a processor, and on a GPU. Estimates by
# order of magnitude, not fitted; only their ratios matter, and a wrong one chooses the slower way, never a wrong answer.
_CPU = (1.5e-5, 1e-9, 4e-11)
_GPU = (1.5e-5, 2e-12, 1e-13)


@dataclass(frozen=True)
class Cost:
    """What was done: operations, numbers written, multiply-adds; and the largest tensor, in numbers."""

    calls: float = 0.0
    cells: float = 0.0
    products: float = 0.0
    largest: float = 0.0

    def __add__(self, other: Cost) -> Cost:
        """Of both, one after the other."""
        sums = self.calls + other.calls, self.cells + other.cells, self.products + other.products
        return Cost(*sums, max(self.largest, other.largest))

    def seconds(self, device: torch.device, *, rows: int, of: int) -> float:
        """Of one row in a batch of `rows`, where `of` rows were counted."""
        call, cell, product = _GPU if device.type == "cuda" else _CPU
        threads = torch.get_num_threads() if device.type == "cpu" else 1
        return call * self.calls / rows + (cell * self.cells + product * self.products) / (of * threads)


class ProductMeter(TorchDispatchMode):
    """Counts the multiply-adds of what torch is asked in a scope."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.products = 0.0

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """No: else torch would import its compiler, which takes a second, to keep it away."""
        return False

    def add(self, func: Any, args: Any, kwargs: Any, y: Any) -> bool:
        """Add an operation, if it is one that has many; whether it is."""
        flops = flop_registry.get(func._overloadpacket)
        if flops is not None:
            self.products += flops(*args, **kwargs, out_val=y) // 2
        return flops is not None


class Meter(ProductMeter):
    """Counts what torch is asked in a scope."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = self.cells = self.largest = 0.0

    @property
    def cost(self) -> Cost:
        """So far."""
        return Cost(self.calls, self.cells, self.products, self.largest)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        y = func(*args, **kwargs)
        if any(r.alias_info is not None and not r.alias_info.is_write for r in func._schema.returns):
            return y  # a view
        size = sum(v.numel() for v in (y if isinstance(y, tuple | list) else [y]) if isinstance(v, Tensor))
        self.calls, self.cells, self.largest = self.calls + 1, self.cells + size, max(self.largest, size)
        self.add(func, args, kwargs, y)
        return y


_PER_STEP = 10  # operations of a step of a recurrent layer, and numbers written for each of its state
_SHARE = 0.07  # of the time of a call that one of these takes, as they are called from within


class Steps(TorchFunctionMode):
    """Counts recurrent layers by their steps, in place of a meter, which would look at each of some ten operations of each."""

    def __init__(self, meter: Meter, layers: Sequence[Callable[..., Any]], stands_for_rows: Any) -> None:
        super().__init__()
        self.meter, self.layers, self.stands_for_rows = meter, layers, stands_for_rows

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if any(issubclass(t, self.stands_for_rows) for t in types):
            with self:  # its rule asks again
                return self.stands_for_rows.__torch_function__(func, types, args, kwargs)
        if func not in self.layers or not isinstance(args[3], bool):
            return func(*args, **kwargs)
        with _disable_current_modes():
            y = func(*args, **kwargs)
        self._count(args, y)
        return y

    def _count(self, args: Any, y: Any) -> None:
        """Of each step the products with the weights, and what is made of them."""
        rows_steps, state = args[0].shape[0] * args[0].shape[1], y[1].shape[0] * y[1].shape[2]
        meter = self.meter
        meter.calls += _SHARE * _PER_STEP * y[1].shape[0] * args[0].shape[1 if args[8] else 0]
        meter.cells += _PER_STEP * rows_steps * state
        meter.products += rows_steps * sum(w.numel() for w in args[2] if w.ndim == 2)
        meter.largest = max(meter.largest, y[0].numel())
