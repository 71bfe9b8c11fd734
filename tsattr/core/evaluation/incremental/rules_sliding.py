"""Rules of what slides over the axes: convolutions, transposed convolutions, pooling."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from . import boxes
from .boxes import Starts
from .delta import Delta, Func, intact, rule, settled

_CONVOLUTIONS = (F.conv1d, F.conv2d, F.conv3d)
_TRANSPOSED = (F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d)
_MAX_POOLS = (F.max_pool1d, F.max_pool2d, F.max_pool3d)
_AVERAGE_POOLS = (F.avg_pool1d, F.avg_pool2d, F.avg_pool3d)


def spread(value: Any, n: int) -> tuple[int, ...]:
    """One number for each of `n` axes, of one for all or of one for each."""
    return (int(value),) * n if isinstance(value, int) else tuple(value) * (n // len(value))


@dataclass(frozen=True)
class _Slide:
    """What a kernel makes of boxes: for each boxed axis the outputs that see a box, and the inputs that those see.

    Output j sees the inputs ``j stride - padding + t dilation``, t = 0 ... kernel - 1. A row's first output that sees its box
    is the least j that does; all rows have as many as the one that has most.
    """

    first: Starts  # output
    size: list[int]
    seen: Starts  # input
    extent: list[int]

    @classmethod
    def over(cls, x: Delta, kernel: list[int], stride: list[int], padding: list[int], dilation: list[int]) -> _Slide:
        """For the boxes of a delta; one number of each kind for each of its axes."""
        first, size, seen, extent = [], [], [], []
        for s, w, k, step, pad, apart in zip(x.start, x.box, kernel, stride, padding, dilation):
            reach = (k - 1) * apart
            j = -((reach - pad - s) // step)
            outputs = max(1, int(((s + w - 1 + pad) // step - j).max()) + 1)
            first.append(j)
            size.append(outputs)
            seen.append(j * step - pad)
            extent.append((outputs - 1) * step + reach + 1)
        return cls(tuple(first), size, tuple(seen), extent)

    def padding(self, x: Delta) -> tuple[tuple[Starts, list[int]], list[int]]:
        """What is seen as boxes and so many zeros around them, which cost nothing where a kernel can pad with them itself."""
        start, size, around = list(self.seen), list(self.extent), [0] * len(self.seen)
        for k, (s, w) in enumerate(zip(x.start, x.box)):
            offset = s - start[k]
            if offset.min() == offset.max() and 2 * offset[0] == size[k] - w and offset[0] > 0:
                start[k], size[k], around[k] = s, w, int(offset[0])
        return (tuple(start), size), around


class _Axes:
    """Which of a kernel's axes are boxed, and its settings along all of them and along those."""

    def __init__(self, x: Delta, n: int) -> None:
        self.n, self.begin = n, x.dim() - n
        self.boxed = [a - self.begin for a in x.axes]

    def of(self, settings: Sequence[int]) -> list[int]:
        """Along the boxed axes."""
        return [settings[k] for k in self.boxed]

    def unpadded(self, padding: Sequence[int]) -> tuple[int, ...]:
        """The padding along the axes that are whole, 0 along the boxed ones, whose boxes hold all that is seen."""
        return tuple(0 if k in self.boxed else p for k, p in enumerate(padding))


def _over_space(x: Any, n: int) -> Delta | None:
    """A delta (rows, channels, *n axes), whole along its channels; None for anything else."""
    if not isinstance(x, Delta) or x.dim() != n + 2:
        return None
    found = x.clipped().widened([1])
    return found if found.axes else None


def _convolution(n: int) -> Func:
    func = _CONVOLUTIONS[n - 1]

    def conv(
        input: Any,
        weight: Any,
        bias: Any = None,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
    ) -> Any:
        x = _over_space(input, n)
        if x is None or isinstance(weight, Delta) or isinstance(bias, Delta) or isinstance(padding, str):
            return NotImplemented
        base = intact(func, x, weight, bias, stride, padding, dilation, groups)[0]
        axes, kernel = _Axes(x, n), weight.shape[2:]
        strides, pads, apart = spread(stride, n), list(spread(padding, n)), spread(dilation, n)
        slide = _Slide.over(x, axes.of(kernel), axes.of(strides), axes.of(pads), axes.of(apart))
        inner, around = slide.padding(x)
        change = x.change_in(*inner)
        for k, pad in zip(axes.boxed, around):
            pads[k] = pad
        y = _laid_out(n, change, weight, strides, pads, apart, groups)
        y = boxes.inside(y, x.axes, slide.first, [base.cells.shape[a] for a in x.axes])
        return settled(Delta(x.rows, base, x.axes, slide.first, change=y))

    return conv


def _laid_out(n: int, x: Tensor, weight: Tensor, stride: Any, padding: Any, dilation: Any, groups: int) -> Tensor:
    """A convolution of many small boxes, channels last in memory: up to twice as quick, and so are the cuts that follow."""
    if n == 1:
        x, weight = x.unsqueeze(2), weight.unsqueeze(2)
        stride, padding, dilation = (1, *stride), (0, *padding), (1, *dilation)
    form = torch.channels_last_3d if n == 3 else torch.channels_last
    y = (F.conv3d if n == 3 else F.conv2d)(
        x.contiguous(memory_format=form), weight, None, stride, padding, dilation, groups
    )
    return y.squeeze(2) if n == 1 else y


def _transposed_convolution(n: int) -> Func:
    func = _TRANSPOSED[n - 1]

    def conv_transpose(
        input: Any,
        weight: Any,
        bias: Any = None,
        stride: Any = 1,
        padding: Any = 0,
        output_padding: Any = 0,
        groups: int = 1,
        dilation: Any = 1,
    ) -> Any:
        x = _over_space(input, n)
        if x is None or isinstance(weight, Delta) or isinstance(bias, Delta):
            return NotImplemented
        base = intact(func, x, weight, bias, stride, padding, output_padding, groups, dilation)[0]
        axes = _Axes(x, n)
        pads, more = axes.unpadded(spread(padding, n)), axes.unpadded(spread(output_padding, n))
        y = func(x.change, weight, None, stride, pads, more, groups, dilation)
        steps = zip(x.start, axes.of(spread(stride, n)), axes.of(spread(padding, n)))
        start = tuple(s * step - pad for s, step, pad in steps)
        y = boxes.inside(y, x.axes, start, [base.cells.shape[a] for a in x.axes])
        return settled(Delta(x.rows, base, x.axes, start, change=y))

    return conv_transpose


def _max_pool(n: int) -> Func:
    func = _MAX_POOLS[n - 1]

    def max_pool(
        input: Any,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        dilation: Any = 1,
        ceil_mode: bool = False,
        return_indices: bool = False,
    ) -> Any:
        x = _over_space(input, n)
        if x is None or return_indices:
            return NotImplemented
        base = intact(func, x, kernel_size, stride, padding, dilation, ceil_mode)[0]
        axes, kernel = _Axes(x, n), spread(kernel_size, n)
        strides = spread(stride, n) if stride else kernel
        pads, apart = spread(padding, n), spread(dilation, n)
        slide = _Slide.over(x, axes.of(kernel), axes.of(strides), axes.of(pads), axes.of(apart))
        seen = x.window(slide.seen, slide.extent, fill=float("-inf")) + x.change_in(slide.seen, slide.extent)
        if ceil_mode and any(p for p in axes.unpadded(pads)):
            return NotImplemented
        y = func(seen, kernel, strides, axes.unpadded(pads), apart, ceil_mode and len(axes.boxed) < n)
        return settled(Delta(x.rows, base, x.axes, slide.first, new=y))

    return max_pool


def _average_pool(n: int) -> Func:
    func = _AVERAGE_POOLS[n - 1]

    def avg_pool(
        input: Any,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: Any = None,
    ) -> Any:
        x = _over_space(input, n)
        kernel, pads = spread(kernel_size, n), spread(padding, n)
        if x is None or ceil_mode or (any(pads) and not count_include_pad):
            return NotImplemented
        divided = {"divisor_override": divisor_override} if divisor_override else {}
        base = intact(func, x, kernel_size, stride, padding, ceil_mode, count_include_pad, **divided)[0]
        axes, strides = _Axes(x, n), spread(stride, n) if stride else kernel
        slide = _Slide.over(x, axes.of(kernel), axes.of(strides), axes.of(pads), [1] * len(x.axes))
        change = x.change_in(slide.seen, slide.extent)
        y = func(change, kernel, strides, axes.unpadded(pads), **divided)
        y = boxes.inside(y, x.axes, slide.first, [base.cells.shape[a] for a in x.axes])
        return settled(Delta(x.rows, base, x.axes, slide.first, change=y))

    return avg_pool


def _adaptive(n: int, largest: bool) -> Func:
    pool = _max_pool(n) if largest else _average_pool(n)

    def adaptive_pool(input: Any, output_size: Any, return_indices: bool = False) -> Any:
        x = _over_space(input, n)
        if x is None or return_indices:
            return NotImplemented
        sizes = [output_size] * n if isinstance(output_size, int) else list(output_size)
        length = x.shape[2:]
        sizes = [n if size is None else size for size, n in zip(sizes, length)]
        if all(size == 1 for size in sizes):
            dims = tuple(range(2, n + 2))
            return over_all(x, dims, True, largest)
        if any(n % size for size, n in zip(sizes, length)):
            return NotImplemented
        return pool(x, tuple(n // size for size, n in zip(sizes, length)))

    return adaptive_pool


def over_all(x: Delta, dims: tuple[int, ...], keepdim: bool, largest: bool) -> Any:
    """The mean or the largest over axes that hold all boxes: whole rows (r, ...)."""
    if not largest:
        base = intact(torch.mean, x, dims, keepdim)[0].cells.index_select(0, x.rows.index)
        return base + x.change.sum(dims, keepdim=keepdim) / int(np.prod([x.shape[d] for d in dims]))
    if len(x.axes) > 1:
        return NotImplemented
    (axis,), (s,), (w,), (n,) = x.axes, x.start, x.box, x.length
    rest = tuple(d for d in dims if d != axis)
    before, after = intact(_running_largest, x, axis, rest)
    ends = [
        boxes.cut(boxes_of(v, axis), x.rows.sample, (at.clip(0, n),), [1]) for v, at in ((before, s), (after, s + w))
    ]
    new = torch.where(_outside(x, axis), -torch.inf, x.new).amax(dims, keepdim=True)
    found = torch.maximum(new, torch.maximum(*(boxes.unlaid(v, (axis,)) for v in ends)))
    return found if keepdim else found.squeeze(dims)


def boxes_of(activation: Any, axis: int) -> Tensor:
    """An intact activation laid for boxes along one axis."""
    found: Tensor = activation.laid((axis,))
    return found


def _outside(x: Delta, axis: int) -> Tensor:
    at = x.start[0][:, None] + np.arange(x.box[0])
    shape = [len(at) if a == 0 else x.box[0] if a == axis else 1 for a in range(x.dim())]
    return boxes.tensor((at < 0) | (at >= x.length[0]), x.device).reshape(shape)


def _running_largest(x: Tensor, axis: int, dims: tuple[int, ...]) -> list[Tensor]:
    """The largest before each place along an axis and from it on, (n + 1) along it, and 1 along `dims`."""
    x = x.amax(dims, keepdim=True) if dims else x
    pads = [0, 0] * (x.ndim - 1 - axis)
    before = F.pad(x.cummax(axis).values, [*pads, 1, 0], value=-torch.inf)
    after = F.pad(x.flip(axis).cummax(axis).values.flip(axis), [*pads, 0, 1], value=-torch.inf)
    return [before, after]


def _named(name: str) -> list[Func]:
    """The functions of torch of a name, but those that give indices too."""
    owners = [F] if name.startswith("adaptive_max") else [torch, F, torch._C._nn]
    return [getattr(owner, name) for owner in owners if hasattr(owner, name)]


for _n in (1, 2, 3):
    rule(*_named(f"conv{_n}d"))(_convolution(_n))
    rule(*_named(f"conv_transpose{_n}d"))(_transposed_convolution(_n))
    rule(*_named(f"max_pool{_n}d"))(_max_pool(_n))
    rule(*_named(f"avg_pool{_n}d"))(_average_pool(_n))
    rule(*_named(f"adaptive_max_pool{_n}d"))(_adaptive(_n, True))
    rule(*_named(f"adaptive_avg_pool{_n}d"))(_adaptive(_n, False))
