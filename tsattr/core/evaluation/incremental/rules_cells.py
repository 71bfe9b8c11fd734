"""Rules of what acts on each cell by itself, or within the axes that have no boxes: activations, sums, norms, linear layers."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ..stand_in import OUT_OF_PLACE
from . import boxes
from .boxes import Starts
from .delta import Delta, Flat, Func, called, deltas, intact, rule, settled
from .rules_sliding import over_all

# As quick as a cut of the intact activation, so that they are rather taken again of the one before.
_QUICK = set(
    called("relu", "leaky_relu", "relu6", "hardtanh", "clamp", "clip", "clamp_min", "clamp_max", "abs", "neg", "square")
)
_IN_PLACE = {plain: writes for writes, plain in OUT_OF_PLACE.items()}

_COPY = 20  # multiply-adds that take as long as copying a number

CELLWISE = (
    "relu leaky_relu relu6 hardtanh clamp clip clamp_min clamp_max abs neg square elu celu selu gelu silu mish softplus softsign "
    "tanh sigmoid logsigmoid hardswish hardsigmoid tanhshrink hardshrink softshrink threshold exp expm1 log log1p log2 log10 sqrt "
    "rsqrt reciprocal sin cos erf sign round floor ceil nan_to_num"
)


def _cellwise(func: Func) -> Func:
    """The rule of a function of each cell."""

    def cellwise(input: Any, *args: Any, **kwargs: Any) -> Any:
        if not isinstance(input, Delta) or any(isinstance(v, Tensor | Delta) for v in (*args, *kwargs.values())):
            return NotImplemented
        base, x = intact(func, input, *args, **kwargs)[0], input.clipped()
        if func not in _QUICK or x.is_complex():
            return x.like(base, new=func(x.new, *args, **kwargs))
        within, old = _IN_PLACE.get(func, func), x.window(x.start, x.box)  # a copy of its own
        known = x._change is not None  # then it is 0 outside the edges, and so is what is made of it
        new = within(old + x.change, *args, **kwargs) if known else func(x.new, *args, **kwargs)
        change = new.sub_(within(old, *args, **kwargs))
        return x.like(base, change=change if known else boxes.inside(change, x.axes, x.start, x.length))

    return cellwise


for _func in called(*CELLWISE.split()):
    rule(_func)(_cellwise(_func))


@rule(F.prelu, torch.prelu, Tensor.prelu)
def prelu(input: Any, weight: Any) -> Any:
    """A slope for all channels, or one for each."""
    if not isinstance(input, Delta) or isinstance(weight, Delta) or (weight.numel() > 1 and 1 in input.axes):
        return NotImplemented
    return input.like(intact(F.prelu, input, weight)[0], new=F.prelu(input.new, weight))


# ---- two operands


def _binary(func: Func, linear: bool) -> Func:
    """The rule of an operation on two operands, `linear` in both together, as sums are."""

    def binary(input: Any, other: Any, **kwargs: Any) -> Any:
        if isinstance(input, Delta) and isinstance(other, Delta):
            return _of_two(func, linear, input, other, kwargs)
        x, fixed = (input, other) if isinstance(input, Delta) else (other, input)
        if isinstance(fixed, Tensor) and not _for_all_rows(x, fixed):
            return NotImplemented
        operands = (x, fixed) if x is input else (fixed, x)
        base = intact(func, *operands, **kwargs)[0]
        if base.cells.ndim != x.dim() or base.cells.dtype != x.dtype:
            return NotImplemented
        if not kwargs and base.cells.shape == x.intact.cells.shape:
            if func is torch.add or (func is torch.sub and x is input):
                return x.like(base, change=x.change)
            if func is torch.mul or (func is torch.div and x is input):
                return x.like(base, change=func(x.change, _in_boxes(x, fixed)))
        there = _in_boxes(x, fixed)
        return x.like(base, new=func(*((x.new, there) if x is input else (there, x.new)), **kwargs))

    return binary


def _backward(forward: Func) -> Func:
    """The rule of an operator of its right operand."""
    return lambda input, other: forward(other, input)


def _for_all_rows(x: Delta, fixed: Tensor) -> bool:
    """Whether a tensor is the same for all rows, and of size 1 or of the whole length along the boxed axes."""
    if fixed.ndim > x.dim() or (fixed.ndim == x.dim() and fixed.shape[0] != 1):
        return False
    shape = [1] * (x.dim() - fixed.ndim) + list(fixed.shape)
    return all(shape[a] in (1, n) for a, n in zip(x.axes, x.length))


def _in_boxes(x: Delta, fixed: Any) -> Any:
    """The cells of a tensor that is the same for all rows in the boxes of each."""
    if not isinstance(fixed, Tensor) or fixed.ndim == 0:
        return fixed
    fixed = fixed.reshape([1] * (x.dim() - fixed.ndim) + list(fixed.shape))
    along = [k for k, a in enumerate(x.axes) if fixed.shape[a] > 1]
    if not along:
        return fixed
    axes, start = tuple(x.axes[k] for k in along), tuple(x.start[k] for k in along)
    found = boxes.cut(boxes.laid(fixed, axes), np.zeros(len(x), np.int64), start, [x.box[k] for k in along])
    return boxes.unlaid(found, axes)


def _of_two(func: Func, linear: bool, x: Delta, y: Delta, kwargs: dict[str, Any]) -> Any:
    if x.dim() != y.dim() or x.rows is not y.rows:
        return NotImplemented
    common = set(x.axes) & set(y.axes)
    x, y = x.widened(set(x.axes) - common), y.widened(set(y.axes) - common)
    if not common or x.length != y.length or x.axes != y.axes:
        return NotImplemented
    base = intact(func, x, y, **kwargs)[0]
    start, size = boxes.union([x.start, y.start], [x.box, y.box])
    if linear:
        change = None if kwargs or func is not torch.add else _summed(x, y, start, size)
        if change is None:
            change = func(x.change_in(start, size), y.change_in(start, size), **kwargs)
        found = Delta(x.rows, base, x.axes, start, change=change)
    else:
        found = Delta(x.rows, base, x.axes, start, new=func(x.new_in(start, size), y.new_in(start, size), **kwargs))
    return settled(found)


def _summed(x: Delta, y: Delta, start: Starts, size: list[int]) -> Tensor | None:
    """The sum of two changes where the boxes of one are all, and hold those of the other at one place; else None."""
    outer, inner = (x, y) if x.box == size and boxes.same(x.start, start) else (y, x)
    if outer.box != size or inner.box == size or not boxes.same(outer.start, start) or x.dtype != y.dtype:
        return None
    if any(np.ptp(s - t) for s, t in zip(inner.start, start)) or not inner.change.shape[1:].numel():
        return None
    shape = [1 if a in x.axes else n for a, n in enumerate(inner.change.shape)]
    if shape != [1 if a in x.axes else n for a, n in enumerate(outer.change.shape)]:
        return None
    found = outer.change.clone()
    part = found
    for axis, s, t, w in zip(x.axes, inner.start, start, inner.box):
        part = part.narrow(axis, int((s - t)[0]), w)
    part.add_(inner.change)
    return found


for _func, _linear, _names in (
    (torch.add, True, "add radd"),
    (torch.sub, True, "sub rsub subtract"),
    (torch.mul, False, "mul rmul multiply"),
    (torch.div, False, "div rdiv truediv rtruediv divide true_divide"),
    (torch.pow, False, "pow rpow"),
    (torch.maximum, False, "maximum"),
    (torch.minimum, False, "minimum"),
):
    _rule = _binary(_func, _linear)
    for _named in called(*_names.split()):
        _backwards = _named is not torch.rsub and _named.__name__.startswith("__r")
        rule(_named)(_backward(_rule) if _backwards else _rule)


# ---- within the axes that have no boxes


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
    """By running statistics: a scale for each channel."""
    if training or running_mean is None or running_var is None or not isinstance(input, Delta) or 1 in input.axes:
        return NotImplemented
    base = intact(F.batch_norm, input, running_mean, running_var, weight, bias, False, 0.0, eps)[0]
    scale = input.rows.tape(_scale, running_var, weight, eps)[0].cells
    return input.like(base, change=input.change * scale.to(input.dtype).reshape(-1, *[1] * (input.dim() - 2)))


def _scale(variance: Tensor, weight: Tensor | None, eps: float) -> Tensor:
    """Of each channel."""
    scale = (variance + eps).rsqrt()
    return scale if weight is None else scale * weight


@rule(
    F.dropout, torch.dropout, F.dropout1d, F.dropout2d, F.dropout3d, F.alpha_dropout, F.feature_alpha_dropout, flat=True
)
def dropout(input: Any, p: float = 0.5, training: bool = False) -> Any:
    """Nothing, outside training."""
    return NotImplemented if training else input


@rule(*called("contiguous", "detach"), flat=True)
def itself(input: Any) -> Any:
    """The same tensor, or a view of it that is the whole."""
    return input


@rule(*called("clone"))
def clone(input: Any, memory_format: Any = None) -> Any:
    """Another of the same values."""
    return input.like(input.intact, **input.held(input.values.clone()))


@rule(Tensor.to)
def to(input: Any, *args: Any, **kwargs: Any) -> Any:
    """Nothing, where it is there and of that kind already."""
    if not isinstance(input, Delta) or list(deltas((args, kwargs))):
        return NotImplemented
    few = input.intact.cells.new_empty(0)
    return input if few.to(*args, **kwargs) is few else NotImplemented


def _outside_boxes(x: Any, dims: Any) -> list[int] | None:
    """The axes that an operation goes over where none of them is boxed, else None."""
    if not isinstance(x, Delta):
        return None
    dims = [dims] if isinstance(dims, int) else list(dims)
    found = [d % x.dim() for d in dims]
    return None if 0 in found or set(found) & set(x.axes) else found


@rule(F.layer_norm, torch.layer_norm)
def layer_norm(
    input: Any,
    normalized_shape: Any,
    weight: Any = None,
    bias: Any = None,
    eps: float = 1e-5,
    cudnn_enable: bool = True,
) -> Any:
    """Over axes that have no boxes."""
    if _outside_boxes(input, range(-len(normalized_shape), 0)) is None:
        return NotImplemented
    settings = (normalized_shape, weight, bias, eps)
    return input.like(intact(F.layer_norm, input, *settings)[0], new=F.layer_norm(input.new, *settings))


def _along(func: Func) -> Func:
    """The rule of a function along an axis that has no boxes."""

    def along(input: Any, dim: Any = -1, _stacklevel: int = 3, dtype: Any = None) -> Any:
        if dtype is not None or dim is None or _outside_boxes(input, dim) is None:
            return NotImplemented
        return input.like(intact(func, input, dim)[0], new=func(input.new, dim))

    return along


for _name, _func in (("softmax", torch.softmax), ("log_softmax", torch.log_softmax), ("glu", F.glu)):
    rule(*called(_name))(_along(_func))


@rule(F.linear, flat=True)
def linear(input: Any, weight: Any, bias: Any = None) -> Any:
    """On an axis that has no boxes; of flat rows the columns that have changed."""
    if isinstance(weight, Delta) or isinstance(bias, Delta) or not isinstance(input, Delta):
        return NotImplemented
    if isinstance(input, Flat):
        return _changed_columns(input, weight, bias)
    if input.dim() - 1 in input.axes:
        return NotImplemented
    return input.like(intact(F.linear, input, weight, bias)[0], change=F.linear(input.change, weight))


def _changed_columns(x: Flat, weight: Tensor, bias: Any) -> Any:
    """A linear layer on flat rows, by the columns in which they have changed: rows whose boxes lie alike share them."""
    of = x.of.clipped()
    start = np.stack([s.clip(0) for s in of.start], 1)
    stop = np.stack([(s + w).clip(0, n) for s, w, n in zip(of.start, of.box, of.length)], 1)
    places, which = np.unique(np.concatenate([start, stop, np.stack(of.start, 1)], 1), axis=0, return_inverse=True)
    share, alike = math.prod(of.box) / math.prod(of.length), len(x) / len(places)
    if share * len(weight) * (_COPY / alike + 1) > len(weight) + _COPY:
        return NotImplemented
    y = intact(F.linear, x, weight, bias)[0].cells.index_select(0, x.rows.index)
    k = len(of.axes)
    columns = boxes.laid(weight.reshape(len(weight), *of.shape[1:]), of.axes)
    changed = boxes.laid(of.change, of.axes)
    for place, ends in enumerate(places.tolist()):
        rows = boxes.tensor(np.flatnonzero(which.reshape(-1) == place), x.device)
        low, high, begin = ends[:k], ends[k : 2 * k], ends[2 * k :]
        if any(u >= v for u, v in zip(low, high)):
            continue  # nothing of it is inside
        mine = changed.index_select(0, rows)
        here = columns
        for a, (u, v, s) in enumerate(zip(low, high, begin), start=1):
            here, mine = here.narrow(a, u, v - u), mine.narrow(a, u - s, v - u)
        y.index_add_(0, rows, mine.flatten(1) @ here.flatten(1).T)
    return y


@rule(*called("matmul"))
def matmul(input: Any, other: Any) -> Any:
    """With a matrix that is the same for all rows, on an axis that has no boxes."""
    if not isinstance(other, Tensor) or other.ndim != 2 or _outside_boxes(input, -1) is None:
        return NotImplemented
    return input.like(intact(torch.matmul, input, other)[0], change=torch.matmul(input.change, other))


# ---- over axes


def _reduction(func: Func, name: str) -> Func:
    def reduced(input: Any, dim: Any = None, keepdim: bool = False, dtype: Any = None) -> Any:
        if not isinstance(input, Delta) or dim is None or dtype is not None:
            return NotImplemented
        dims = tuple(sorted({d % input.dim() for d in ([dim] if isinstance(dim, int) else dim)}))
        if not dims or 0 in dims:
            return NotImplemented
        left = [k for k, a in enumerate(input.axes) if a not in dims]
        if left == list(range(len(input.axes))) and name == "amax":
            values = {"new": func(input.new, dims, keepdim)}
        elif name == "amax":
            return NotImplemented if left else over_all(input, dims, keepdim, True)
        else:
            share = math.prod(input.shape[d] for d in dims) if name == "mean" else 1
            change = input.change.sum(dims, keepdim=keepdim) / share
            if not left:
                return intact(func, input, dims, keepdim)[0].cells.index_select(0, input.rows.index) + change
            values = {"change": change}
        base = intact(func, input, dims, keepdim)[0]
        axes = tuple(a if keepdim else a - sum(d < a for d in dims) for k, a in enumerate(input.axes) if k in left)
        return Delta(input.rows, base, axes, tuple(input.start[k] for k in left), **values)

    return reduced


for _name in ("mean", "sum", "amax"):
    rule(*called(_name))(_reduction(getattr(torch, _name), _name))
