"""Targets that weigh the cells of a labelled output: the mean of a region, the amplitude of a pattern, the size of an error."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..arrays import Array
from ..axes import Axes, eastward
from ..bound import Value
from .outputs import Target, axis_of, duration_of, index_of, later


@dataclass(frozen=True, init=False)
class _Weighted(Target):
    """Weights over the labelled output axes: those of an array, inside a box."""

    compares = False
    box: tuple[tuple[str, Any], ...]
    weights: Any

    def __init__(self, weights: Any = None, /, **box: Any) -> None:
        if weights is None and not box:
            name = type(self).__name__
            raise ValueError(f"{name} needs a box, like {name}(lat=(-5, 5)), or weights")
        object.__setattr__(self, "box", tuple(box.items()))
        object.__setattr__(self, "weights", None if weights is None else Array.of(weights))

    def __repr__(self) -> str:
        first = [] if self.weights is None else [repr(self.weights)]
        return f"{type(self).__name__}({', '.join(first + [f'{d}={w!r}' for d, w in self.box])})"

    def _on(self, outputs: Axes) -> np.ndarray:
        """The weights (*out), 0 outside the box and where they are missing."""
        w = np.ones(outputs.shape)
        named = {d for d, _ in self.box}
        if self.weights is not None:
            given = outputs.align(self.weights, f"the weights of {self!r}")[0].astype(np.float64)
            w = w * np.nan_to_num(given)
            named |= set(self.weights.dims or outputs.dims)
        for d, where in self.box:
            axis = axis_of(outputs, d)
            inside = np.zeros(outputs.shape[axis], bool)
            if isinstance(where, tuple | slice):
                if isinstance(where, slice) and where.step is not None:
                    raise ValueError(
                        f"{d}={where} of {self!r} has a step; a region is a stretch: slice({where.start}, {where.stop})"
                    )
                low, high = (where.start, where.stop) if isinstance(where, slice) else where
                inside = _between(outputs, d, low, high, self)
            else:
                inside[index_of(outputs, d, where)] = True
            w = w * inside.reshape([-1 if a == axis else 1 for a in range(w.ndim)])
        open_axes = [d for d, n in zip(outputs.dims, outputs.shape) if d not in named and n > 1]
        if open_axes:
            raise ValueError(f"{self!r} leaves output axis {open_axes[0]!r} open; say where: {open_axes[0]}=...")
        return w

    def _share(self, outputs: Axes) -> np.ndarray:
        """The weights, summing to 1."""
        w = self._on(outputs)
        if not w.sum():
            raise ValueError(
                f"the weights of {self!r} sum to {w.sum()}: nothing to average; the sum of a pattern is "
                "Projection(weights), and one region less another Difference(a, b)"
            )
        share: np.ndarray = w / w.sum()
        return share


def _between(outputs: Axes, dim: str, low: Any, high: Any, region: Any) -> np.ndarray:
    """True where the labels of an output axis lie between two, ends included; longitudes eastward from the first.

    None is the end of the axis; on an axis without labels, a negative number counts from its end.
    """
    n = outputs.shape[axis_of(outputs, dim)]
    labels = np.asarray(outputs.coords.get(dim, np.arange(n)))
    if dim not in outputs.coords:
        low, high = (v + n if isinstance(v, int | np.integer) and v < 0 else v for v in (low, high))
    if labels.dtype.kind == "m":
        low, high = (None if v is None else duration_of(v, dim) for v in (low, high))
    circle, two = outputs.is_longitude(dim), low is not None and high is not None
    if circle and not two:
        raise ValueError(f"{dim}=({low}, {high}) of {region!r} has one end, and a circle needs two; give (west, east)")
    if not circle and two and low > high:
        raise ValueError(f"{dim}=({low}, {high}) of {region!r} runs backwards; give (low, high)")
    if circle:
        inside: np.ndarray = eastward(labels, low, high)
    else:
        inside = np.ones(len(labels), bool)
        inside &= True if low is None else later(labels, low, dim) >= 0
        inside &= True if high is None else later(labels, high, dim) <= 0
    if not inside.any():
        raise ValueError(
            f"no entry of output axis {dim!r} lies in [{low}, {high}]; it runs {labels[0]} to {labels[-1]}"
        )
    return inside


def _sum(w: np.ndarray, of: Callable[[Tensor], Tensor] = lambda y: y) -> Callable[[Tensor], Tensor]:
    """The sum of w of(y) over the output axes; outputs without weight, which may be NaN, are not looked at."""
    cells = torch.as_tensor(np.flatnonzero(w))
    share = torch.as_tensor(w.reshape(-1)[w.reshape(-1) != 0])
    return lambda y: of(y.flatten(1)[:, cells.to(y.device)]) @ share.to(y.device, y.dtype)


@dataclass(frozen=True, init=False, repr=False)
class Region(_Weighted):
    """The weighted mean of the output over a region of its labelled axes: ``sum(w y) / sum(w)``.

    ``Region(lat=(-5, 5), lon=(190, 240))`` is the mean over a box, ends included; a label picks one entry, an
    int too where the axis is labelled by whole numbers (``lead=6``: the one so labelled), else by its index. Longitudes count modulo 360 and run eastward:
    ``lon=(350, 10)`` is over Greenwich. ``weights`` (or a boolean mask) is a DataArray over some output axes and multiplies
    the box.
    """

    keeps_units = True

    def bind(self, outputs: Axes) -> Value:
        """Weights over the output axes that sum to 1."""
        mean = _sum(self._share(outputs))
        return lambda y, y0: mean(y)


@dataclass(frozen=True, init=False, repr=False)
class Projection(_Weighted):
    """The weighted sum of the output: ``sum(w y)``, such as the amplitude of a pattern; weights and box as in `Region`.

    Examples
    --------
    >>> import numpy as np
    >>> bound = Projection(np.array([1.0, -1.0, 0.0])).bind(Axes(("x",), (3,)))
    >>> y = torch.tensor([[5.0, 2.0, torch.nan]])
    >>> bound(y, y).tolist()
    [3.0]
    """

    def bind(self, outputs: Axes) -> Value:
        """Weights over the output axes as they are."""
        total = _sum(self._on(outputs))
        return lambda y, y0: total(y)


@dataclass(frozen=True, init=False, repr=False)
class RootMeanSquare(_Weighted):
    """The root of the weighted mean of the squared output: ``sqrt(sum(w y^2) / sum(w))``, the loss of a model of errors.

    Weights and box as in `Region`. Of a model that returns forecast less truth it is the sample's own root mean square
    error (see `tsattr.climate.errors`), which has no gradient at a forecast without error.
    """

    keeps_units = True

    def bind(self, outputs: Axes) -> Value:
        """Weights over the output axes that sum to 1."""
        square = _sum(self._share(outputs), torch.square)
        return lambda y, y0: square(y).sqrt()
