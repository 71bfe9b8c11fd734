"""Where the cells of a layer lie in the input: the centres of their receptive fields, found from the model itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

_ALONG = 17  # cells of the layer that are looked at along each of its axes


@dataclass(frozen=True)
class Line:
    """The centre of the receptive field of a layer's cell i: ``first + step * i`` along one axis of a sample.

    Parameters
    ----------
    axis
        Axis of the sample, 0 for the first after the rows.
    first, step
        In cells of the input.
    size
        Number of cells of the layer.
    followed
        False where no receptive field was seen to move along the axis, which the cells then divide evenly.
    """

    axis: int
    first: float
    step: float
    size: int
    followed: bool = field(default=True, compare=False)

    def interpolate(self, maps: Tensor, axis: int, n: int) -> Tensor:
        """`maps` with values at the layer's cells along `axis`, linearly between them at the input's `n` cells.

        Before the first centre and after the last the nearest value holds.
        """
        cells = torch.arange(n, dtype=torch.float64, device=maps.device)
        at = ((cells - self.first) / self.step).clamp(0, self.size - 1)
        left = at.floor().long()
        right = (left + 1).clamp(max=self.size - 1)
        share = (at - left).reshape([-1 if a == axis else 1 for a in range(maps.ndim)])
        return torch.lerp(maps.index_select(axis, left), maps.index_select(axis, right), share.to(maps.dtype))


class Leaky(TorchFunctionMode):
    """While it is active every ReLU and every cell of a max-pooling window lets a little through.

    Without it, a gradient passes through one cell of each window, and a field looks smaller than it is.
    """

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Add what leaks to the function's own result."""
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        leak = None
        if not args:
            pass  # by keyword: as it is
        elif name in ("relu", "relu_", "relu6", "hardtanh", "hardtanh_"):
            leak = args[0] * 0.1  # before it is written over
        elif name in ("max_pool1d", "max_pool2d", "max_pool3d"):
            leak = _pooled(getattr(functional, name.replace("max", "avg")), *args, **kwargs)
        y = func(*args, **kwargs)
        return y if leak is None else y + leak


def _pooled(
    average: Callable[..., Tensor],
    x: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Tensor | None:
    """The average over each window of a max-pooling; None for windows with holes, which averages do not have."""
    dilated = any(d != 1 for d in (dilation if isinstance(dilation, tuple | list) else (dilation,)))
    return None if dilated or return_indices else average(x, kernel_size, stride, padding, ceil_mode)


def lines(output: Tensor, rows: Tensor) -> list[Line]:
    """The line of each axis of a layer's `output` (rows, channels, *grid), computed from `rows` (rows, *event).

    Compute it with :class:`Leaky`. A cell's receptive field reaches from the first to the last input cell with a gradient
    other than 0 in any row and channel. Both ends move by the same step from cell to cell; those cut off by the edge of
    the input are left out. A step that a whole number explains to within one cell of the input over the layer is that
    number. Where no end moves (the field is the whole input: attention, normalisation over time) the layer's axis is the
    last free one of the input that has as many cells, else the last, and its n' cells divide that axis of n evenly:
    ``n/n' (i + 1/2) - 1/2``.

    Raises
    ------
    ValueError
        The layer has more axes than the input.
    """
    grid = output.shape[2:]
    found = [_fit(output, rows, axis) for axis in range(len(grid))]
    taken = [line.axis for line in found if line is not None]
    if len(set(taken)) < len(taken):  # two axes of the layer along one of the input: no box of the input is a cell's
        found, taken = [None] * len(grid), []
    free = [e for e in range(rows.ndim - 1) if e not in taken]
    left = [a for a, line in enumerate(found) if line is None]
    if len(left) > len(free):
        raise ValueError(
            f"the layer's output has {len(grid)} axes after its channels, {tuple(grid)}, a sample only {rows.ndim - 1}, "
            f"{tuple(rows.shape[1:])}; name a layer that keeps the sample's axes"
        )
    even = {}
    for a in reversed(left):
        holds = [e for e in free if rows.shape[1 + e] >= grid[a]] or free
        even[a] = _even(holds[-1], grid[a], rows.shape[1 + holds[-1]])
        free.remove(holds[-1])
    return [line or even[a] for a, line in enumerate(found)]


def _even(axis: int, size: int, n: int) -> Line:
    return Line(axis, (n / size - 1) / 2, n / size, size, followed=False)


def _fit(output: Tensor, rows: Tensor, axis: int) -> Line | None:
    """The one axis of the input along which the receptive field moves with the layer's `axis`, if there is one."""
    size = output.shape[2 + axis]
    cells = np.unique(np.linspace(0, size - 1, min(size, _ALONG)).round().astype(int))
    seen = torch.stack([_support(output, rows, axis, int(c)) for c in cells]).cpu()
    found = []
    for e in range(rows.ndim - 1):
        inside = seen.movedim(1 + e, 1).reshape(len(cells), rows.shape[1 + e], -1).any(2).numpy()
        line = _line_of_ends(cells[inside.any(1)], inside[inside.any(1)])
        if line is not None:
            found.append(Line(e, *line, size))
    return found[0] if len(found) == 1 else None


def _support(output: Tensor, rows: Tensor, axis: int, cell: int) -> Tensor:
    """Bool (*event): True where the layer's cell depends on the input; the middle cell along its other axes."""
    value = output.flatten(0, 1).sum(0)
    for a, n in enumerate(output.shape[2:]):
        value = value[cell if a == axis else n // 2]
    return (torch.autograd.grad(value, rows, retain_graph=True, materialize_grads=True)[0] != 0).any(0)


def _line_of_ends(cells: np.ndarray, inside: np.ndarray) -> tuple[float, float] | None:
    """(first, step) of the middle between two ends that move together; `inside` is (cells, n)."""
    n = inside.shape[1]
    if not len(cells):
        return None
    low, high = inside.argmax(1), n - 1 - inside[:, ::-1].argmax(1)
    uncut = (low > 0) & (high < n - 1)
    # The widest are whole for certain: where a field has holes, one that is cut may begin inside the input.
    whole = uncut & (high - low == (high - low)[uncut].max(initial=-1))
    at_low, at_high = (whole, whole) if whole.sum() > 1 else (low > 0, high < n - 1)
    ends = [(cells[at_low], low[at_low]), (cells[at_high], high[at_high])]
    if not all(len(c) for c, _ in ends):
        return None
    away = np.concatenate([c - c.mean() for c, _ in ends])
    moved = np.concatenate([v - v.mean() for _, v in ends])
    if not (away**2).sum():
        return None
    step = float((away * moved).sum() / (away**2).sum())
    if abs(step - round(step)) * (cells[-1] - cells[0]) <= 1:
        step = float(round(step))
    if not step:
        return None
    # What hides a part of a field never adds to it: the farthest ends are the true ones.
    return float((ends[0][1] - step * ends[0][0]).min() + (ends[1][1] - step * ends[1][0]).max()) / 2, step
