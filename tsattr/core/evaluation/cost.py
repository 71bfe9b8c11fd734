"""What a forward pass takes, counted from shapes and not timed, so that the same call is always answered in the same way."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from .stand_in import StandIn, apply, called, stand_ins

# Seconds of a number that is written, and of a multiply-add: on one thread of a processor, and on a GPU. Estimates by
# order of magnitude, not fitted; only their ratios matter.
_CPU, _GPU = (1e-9, 4e-11), (2e-12, 1e-13)


@dataclass(frozen=True)
class Cost:
    """Numbers written and multiply-adds of a row; and the largest tensor, in numbers."""

    cells: float = 0.0
    products: float = 0.0
    largest: float = 0.0

    def __add__(self, other: Cost) -> Cost:
        """Of both, one after the other."""
        return Cost(self.cells + other.cells, self.products + other.products, max(self.largest, other.largest))

    def __mul__(self, factor: float) -> Cost:
        """So many times."""
        return replace(self, cells=self.cells * factor, products=self.products * factor)

    def seconds(self, device: torch.device) -> float:
        """How long it takes, but for calls, which many rows share."""
        cell, product = _GPU if device.type == "cuda" else _CPU
        return cell * self.cells + product * self.products


class Account(TorchFunctionMode):
    """Counts what a model does with some rows for which an object stands.

    `known` is what it does while the object stands for them, `made` the whole rows that are made of it, `rest` what is done with
    those.
    """

    def __init__(self, rows: int) -> None:
        super().__init__()
        self.rows, self.known, self.made, self.rest = rows, Cost(), Cost(), Cost()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        known = next(stand_ins((args, kwargs)), None) is not None
        y = apply(func, args, kwargs) if known else func(*args, **kwargs)  # within, the account is closed
        out = y[0] if isinstance(y, tuple | list) and y else y
        if _of_rows(out, self.rows) and func not in _VIEWS:
            cells = out.numel() / self.rows
            cost = Cost(cells, _products(func, args, out) / self.rows, cells)
            if isinstance(out, StandIn):
                self.known += cost
            else:
                self.rest += cost
                for whole in stand_ins((args, kwargs)):
                    size = whole.numel() / self.rows
                    self.made += Cost(size, 0.0, size)
        return y


def _of_rows(out: Any, rows: int) -> bool:
    """Whether something is computed for each row; what has no memory is only asked for its shape."""
    return isinstance(out, Tensor | StandIn) and out.device.type != "meta" and out.shape[:1] == (rows,)


def _products(func: Any, args: Any, out: Any) -> float:
    """Multiply-adds of an operation, as far as it is one that has many."""
    count = _COUNTS.get(func)
    return float(count(args, out) if count is not None else 0.0)


def _kernel(args: Any, out: Any) -> float:
    return float(out.numel() * math.prod(args[1].shape[1:]))


def _spread(args: Any, out: Any) -> float:
    return float(args[0].numel() * math.prod(args[1].shape[1:]))


def _inner(args: Any, out: Any) -> float:
    return float(out.numel() * args[0].shape[-1])


def _recurrent(args: Any, out: Any) -> float:
    cells = math.prod(args[0].shape[:2])
    return float(cells * sum(w.numel() for w in args[2] if isinstance(w, Tensor) and w.ndim > 1))


def _attention(args: Any, out: Any) -> float:
    return float(2 * math.prod(args[0].shape) * args[1].shape[-2])


def _heads(args: Any, out: Any) -> float:
    return float(args[0].numel() * (4 * args[0].shape[-1] + 2 * args[1].shape[0]))


_COUNTS: dict[Any, Callable[[Any, Any], float]] = {
    **dict.fromkeys(called("conv1d", "conv2d", "conv3d"), _kernel),
    **dict.fromkeys(called("conv_transpose1d", "conv_transpose2d", "conv_transpose3d"), _spread),
    **dict.fromkeys(called("linear", "matmul", "bmm", "mm"), _inner),
    **dict.fromkeys((torch.gru, torch.lstm, torch.rnn_tanh, torch.rnn_relu), _recurrent),
    F.scaled_dot_product_attention: _attention,
    F.multi_head_attention_forward: _heads,
}
_VIEWS = set(called(*["permute", "transpose", "movedim", "unsqueeze", "squeeze", "flatten", "unflatten", "reshape", "view", "expand", "getitem", "narrow", "select", "detach", "split", "chunk", "unbind"]))  # fmt: skip
