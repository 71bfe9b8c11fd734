"""Points on straight lines as one object: what is affine is asked of the ends of a line, and not of each point.

A `Lines` goes through a model in the place of its input; see `tsattr.core.evaluation.stand_in`. An affine operation takes points of a
line to points of a line: it acts on the start, and but for its constant on the direction. The first other one makes the points.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from .stand_in import Func, Rules, StandIn, called

SMALL = 2**11  # cells of which copies cost less than a call for each line


class Points:
    """Which points a call of the model is asked about: of each row its line, in order, and how far along it lies.

    Parameters
    ----------
    t
        (r,) each row's share of its line.
    counts
        How many rows each line has, one after the other.
    """

    def __init__(self, t: Tensor, counts: Sequence[int]) -> None:
        self.t, self.counts = t, list(counts)
        self.line = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(self.counts)).to(t.device)

    def slices(self) -> list[slice]:
        """The rows of each line."""
        ends = torch.tensor([0, *self.counts]).cumsum(0).tolist()
        return [slice(a, b) for a, b in itertools.pairwise(ends)]

    def shares(self, like: Tensor) -> Tensor:
        """`t` as a factor of rows."""
        return self.t.to(like.dtype).reshape(-1, *[1] * (like.ndim - 1))


class _Made(torch.autograd.Function):
    """Rows from lines; the gradient at the directions is a sum over the rows of each line."""

    @staticmethod
    def forward(ctx: Any, start: Tensor, direction: Tensor, points: Points) -> Tensor:
        ctx.points = points
        t = points.shares(direction)
        if direction[0].numel() < SMALL and len(points.counts) > 1:
            start = start if len(start) == 1 else start.index_select(0, points.line)
            return torch.addcmul(start, direction.index_select(0, points.line), t)
        out = direction.new_empty((len(t), *direction.shape[1:]))
        for k, at in enumerate(points.slices()):
            torch.addcmul(start[k % len(start)], direction[k], t[at], out=out[at])
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope: Tensor) -> Any:
        points: Points = ctx.points
        if slope[0].numel() < SMALL and len(points.counts) > 1:
            found = slope.new_zeros((len(points.counts), *slope.shape[1:]))
            return None, found.index_add_(0, points.line, slope * points.shares(slope)), None
        t, flat = points.t.to(slope.dtype), slope.reshape(len(slope), -1)
        sums = torch.stack([t[at] @ flat[at] for at in points.slices()])
        return None, sums.reshape(-1, *slope.shape[1:]), None


class Lines(StandIn):
    """Rows (r, ...) ``start + t direction``, several on each line.

    Parameters
    ----------
    points
        The rows of this call.
    start
        (lines, ...), or (1, ...) where all lines have the same; without a gradient.
    direction
        (lines, ...), of which the gradient is taken.
    source
        What this is a view of.
    """

    rules = Rules()
    requires_grad = True

    def __init__(self, points: Points, start: Tensor, direction: Tensor, source: StandIn | None = None) -> None:
        super().__init__(source)
        self.points, self.start, self.direction = points, start, direction

    @property
    def cells(self) -> Tensor:
        """The direction, which is like a row."""
        return self.direction

    def __len__(self) -> int:
        return len(self.points.t)

    def made(self) -> Tensor:
        """The points."""
        found: Tensor = _Made.apply(self.start, self.direction, self.points)  # type: ignore[no-untyped-call]
        return found

    def take(self, other: StandIn) -> None:
        """Become another."""
        assert isinstance(other, Lines)
        self.start, self.direction = other.start, other.direction

    def both(self, func: Func, *args: Any, view: bool = False, **kwargs: Any) -> Lines:
        """What a linear function makes of them."""
        with torch.no_grad():
            start = func(self.start, *args, **kwargs)
        return Lines(self.points, start, func(self.direction, *args, **kwargs), self if view else None)


rule = Lines.rules


def _fixed(*values: Any) -> bool:
    """Whether arguments are none of the model's activations."""
    return not any(isinstance(v, Lines) for v in values)


# ---- products


def _with_bias(func: Func) -> Func:
    """The rule of a function of an input, a weight and a bias, linear in the input but for the bias."""

    def product(input: Any, weight: Any, bias: Any = None, *args: Any, **kwargs: Any) -> Any:
        if not isinstance(input, Lines) or not _fixed(weight, bias) or input.dim() < 2:
            return NotImplemented
        if func is not F.linear and input.dim() != weight.ndim:  # a sample without a batch
            return NotImplemented
        with torch.no_grad():
            start = func(input.start, weight, bias, *args, **kwargs)
        return Lines(input.points, start, func(input.direction, weight, None, *args, **kwargs))

    return product


for _func in (F.linear, *(f for n in (1, 2, 3) for name in (f"conv{n}d", f"conv_transpose{n}d") for f in (getattr(F, name), getattr(torch, name)))):  # fmt: skip
    rule(_func)(_with_bias(_func))


@rule(*called("matmul", "mm"))
def matmul(input: Any, other: Any) -> Any:
    """By a matrix or a vector that is the same for all rows."""
    if isinstance(input, Lines):
        fits = input.dim() >= 2 and isinstance(other, Tensor) and other.ndim <= 2
        return input.both(torch.matmul, other) if fits else NotImplemented
    fits = isinstance(other, Lines) and other.dim() >= 3 and input.ndim <= 2
    return other.both(lambda x: torch.matmul(input, x)) if fits else NotImplemented


@rule(Tensor.__rmatmul__)
def rmatmul(input: Any, other: Any) -> Any:
    """See :func:`matmul`."""
    return matmul(other, input)


@rule(torch.einsum)
def einsum(equation: Any, *operands: Any) -> Any:
    """Of one operand that are lines, whose rows are an index of its own that the result has first."""
    given = operands[0] if len(operands) == 1 and isinstance(operands[0], tuple | list) else operands
    own = [k for k, v in enumerate(given) if isinstance(v, Lines)]
    if len(own) != 1 or not isinstance(equation, str) or "." in equation or "->" not in equation:
        return NotImplemented
    inner, _, outer = equation.replace(" ", "").partition("->")
    terms = inner.split(",")
    rows = terms[own[0]][0]
    if inner.count(rows) != 1 or not outer.startswith(rows):
        return NotImplemented
    return given[own[0]].both(lambda x: torch.einsum(equation, *(x if k == own[0] else v for k, v in enumerate(given))))


# ---- scales and sums


def _for_all_rows(x: Lines, other: Any) -> bool:
    """Whether an operand is a number, or a tensor that is the same for all rows and has no more axes."""
    if not isinstance(other, Tensor):
        return isinstance(other, int | float)
    return other.ndim < x.dim() or (other.ndim == x.dim() and other.shape[0] == 1)


def _sum(sign: float) -> Func:
    """The rule of a sum (1) or difference (-1) of two operands."""
    func = torch.add if sign > 0 else torch.sub

    def added(input: Any, other: Any, *, alpha: float = 1) -> Any:
        if isinstance(input, Lines) and isinstance(other, Lines):
            return _of_two(func, input, other, alpha)
        x, fixed = (input, other) if isinstance(input, Lines) else (other, input)
        if not _for_all_rows(x, fixed):
            return NotImplemented
        operands = (x.start, fixed) if x is input else (fixed, x.start)
        with torch.no_grad():
            start = func(
                *(v if isinstance(v, Tensor) else torch.as_tensor(v).to(x.start) for v in operands), alpha=alpha
            )
        factor = 1 if x is input else sign * alpha
        direction = x.direction if factor == 1 else x.direction * factor
        if start.dtype != direction.dtype:
            return NotImplemented
        return Lines(x.points, start, direction.expand(-1, *start.shape[1:]))

    return added


def _of_two(func: Func, x: Lines, y: Lines, alpha: float) -> Any:
    if x.dim() != y.dim() or x.points is not y.points or x.dtype != y.dtype:
        return NotImplemented
    with torch.no_grad():
        start = func(x.start, y.start, alpha=alpha)
    return Lines(x.points, start, func(x.direction, y.direction, alpha=alpha))


def _backwards(f: Func) -> Func:
    """The rule of an operator of its right operand."""
    return lambda input, other: f(other, input)


rule(*called("add"))(_sum(1))
rule(torch.sub, Tensor.sub, Tensor.__sub__, torch.subtract, Tensor.subtract)(_sum(-1))
rule(Tensor.__rsub__)(_backwards(_sum(-1)))


@rule(*called("mul", "multiply"))
def mul(input: Any, other: Any) -> Any:
    """By what is the same for all rows."""
    x, fixed = (input, other) if isinstance(input, Lines) else (other, input)
    if not isinstance(x, Lines) or not _for_all_rows(x, fixed):
        return NotImplemented
    found = x.both(torch.mul, fixed)
    return found if found.dtype == x.dtype else NotImplemented


@rule(torch.div, Tensor.div, Tensor.__truediv__, Tensor.__div__, torch.true_divide, Tensor.true_divide)
def div(input: Any, other: Any) -> Any:
    """By what is the same for all rows."""
    if not isinstance(input, Lines) or not _for_all_rows(input, other):
        return NotImplemented
    found = input.both(torch.div, other)
    return found if found.dtype == input.dtype else NotImplemented


@rule(F.batch_norm)
def batch_norm(
    input: Any,
    running_mean: Any,
    running_var: Any,
    weight: Any = None,
    bias: Any = None,
    training: bool = False,
    momentum: Any = 0.1,
    eps: float = 1e-5,
) -> Any:
    """By running statistics: a scale and a shift for each channel."""
    if training or running_mean is None or running_var is None or not isinstance(input, Lines):
        return NotImplemented
    with torch.no_grad():
        start = F.batch_norm(input.start, running_mean, running_var, weight, bias, False, 0.0, eps)
    scale = (running_var + eps).rsqrt()
    scale = scale if weight is None else scale * weight
    direction = input.direction * scale.to(input.dtype).reshape(-1, *[1] * (input.dim() - 2))
    return Lines(input.points, start, direction)


@rule(F.dropout, torch.dropout, F.dropout1d, F.dropout2d, F.dropout3d, F.alpha_dropout, F.feature_alpha_dropout)
def dropout(input: Any, p: float = 0.5, training: bool = False) -> Any:
    """Nothing, outside training."""
    return NotImplemented if training else input


@rule(*called("contiguous"))
def itself(input: Any, memory_format: Any = None) -> Any:
    """The same rows."""
    return input


@rule(*called("clone"))
def clone(input: Any, memory_format: Any = None) -> Any:
    """Others of the same values."""
    return Lines(input.points, input.start, input.direction)


# ---- what is linear in the cells of each row


def _linear(func: Func, view: bool = False) -> Func:
    """The rule of a linear function, where its arguments leave the rows alone; `view` where the result may share their memory."""

    def linear(input: Any, *args: Any, **kwargs: Any) -> Any:
        if not isinstance(input, Lines) or not _fixed(*args, *kwargs.values()):
            return NotImplemented
        if any(isinstance(v, Tensor) for v in (*args, *kwargs.values())) or not _by_rows(func, input, args, kwargs):
            return NotImplemented
        found = input.both(func, *args, view=view, **kwargs)
        same = isinstance(found.direction, Tensor) and found.dtype.is_floating_point
        return found if same else NotImplemented

    return linear


def _by_rows(func: Func, x: Lines, args: Any, kwargs: Any) -> bool:
    """Whether the shape of what a function makes has as many rows as it is given, whatever their number."""
    shapes = []
    for rows in (len(x), len(x) + 1):
        try:
            y = func(torch.empty((rows, *x.shape[1:]), device="meta", dtype=x.dtype), *args, **kwargs)
        except (RuntimeError, IndexError, NotImplementedError):
            return False
        if not isinstance(y, Tensor) or y.ndim == 0 or len(y) != rows:
            return False
        shapes.append(y.shape[1:])
    return shapes[0] == shapes[1]


_VIEWS = "permute transpose swapaxes swapdims movedim moveaxis unsqueeze squeeze unflatten flatten narrow select"
_CASTS: list[Func] = [Tensor.float, Tensor.double, Tensor.to]
for _func in called(*_VIEWS.split()) + _CASTS:
    rule(_func)(_linear(_func, view=True))
for _func in called("sum", "mean", "neg"):
    rule(_func)(_linear(_func))
for _name in ("avg_pool", "adaptive_avg_pool"):
    for _n in (1, 2, 3):
        rule(*called(f"{_name}{_n}d"))(_linear(getattr(F, f"{_name}{_n}d")))


@rule(F.interpolate)
def interpolate(input: Any, *args: Any, **kwargs: Any) -> Any:
    """All its modes are linear in the cells."""
    return _linear(F.interpolate)(input, *args, **kwargs)


@rule(F.pad)
def pad(input: Any, pad: Any, mode: str = "constant", value: Any = None) -> Any:
    """A constant beside the start, and nothing beside the direction; copies of cells of both."""
    if not isinstance(input, Lines) or (mode == "constant" and len(pad) >= 2 * input.dim()):
        return NotImplemented
    with torch.no_grad():
        start = F.pad(input.start, pad, mode, value)
    return Lines(input.points, start, F.pad(input.direction, pad, mode))


@rule(Tensor.__getitem__)
def getitem(input: Any, at: Any) -> Any:
    """Slices and places along any axis but that of the rows, and new axes."""
    items = at if isinstance(at, tuple) else (at,)
    plain = all(v is None or v is Ellipsis or (isinstance(v, int | slice) and not isinstance(v, bool)) for v in items)
    if not isinstance(input, Lines) or not plain or (isinstance(items[0], slice) and items[0] != slice(None)):
        return NotImplemented
    if not _by_rows(Tensor.__getitem__, input, (at,), {}):
        return NotImplemented
    return input.both(Tensor.__getitem__, at, view=True)


@rule(*called("reshape", "view"))
def reshape(input: Any, *shape: Any) -> Any:
    """Cells of a row laid otherwise."""
    sizes = list(shape[0]) if len(shape) == 1 and isinstance(shape[0], tuple | list) else list(shape)
    if not isinstance(input, Lines) or not sizes or not all(isinstance(n, int) for n in sizes) or sizes.count(-1) > 1:
        return NotImplemented
    known = math.prod(n for n in sizes if n != -1)
    sizes = [input.numel() // known if n == -1 and known else n for n in sizes]
    if sizes[0] != len(input) or math.prod(sizes) != input.numel():
        return NotImplemented
    return input.both(lambda x: x.reshape(len(x), *sizes[1:]), view=True)


def _joined(func: Func) -> Func:
    def joined(tensors: Any, dim: int = 0) -> Any:
        if not all(isinstance(x, Lines) and x.points is tensors[0].points for x in tensors):
            return NotImplemented
        axes = tensors[0].dim() + (func is torch.stack)
        if dim % axes == 0 or any(x.dim() != tensors[0].dim() or x.dtype != tensors[0].dtype for x in tensors):
            return NotImplemented
        rows = max(len(x.start) for x in tensors)
        with torch.no_grad():
            start = func([x.start.expand(rows, *x.start.shape[1:]) for x in tensors], dim)
        return Lines(tensors[0].points, start, func([x.direction for x in tensors], dim))

    return joined


rule(*called("cat", "concat", "concatenate"))(_joined(torch.cat))
rule(torch.stack)(_joined(torch.stack))
