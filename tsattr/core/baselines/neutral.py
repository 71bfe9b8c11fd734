"""What the baselines between two classes share: an input without a class for each sample, how it is held, and the classes."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..arrays import Array
from ..axes import Axes
from .fills import Full, per_row


class Neutral:
    """For a frozen dataclass of one class-neutral input for each sample of the very input that it was fitted to.

    Attributes
    ----------
    value
        The neutral inputs, samples first.
    difference
        The samples less their neutral inputs: what would have to be taken away for the model to be undecided.
    """

    value: Array
    difference: Array

    @property
    def distance(self) -> Array:
        """How far each is from its sample (samples,): the Euclidean norm of `difference`, over the cells that are there."""
        values, dims, coords = self.difference.values, self.difference.dims, self.difference.coords
        norm = np.sqrt(np.nansum(values.reshape(len(values), -1) ** 2, 1))
        return Array(norm, dims and dims[:1], {d: c for d, c in coords.items() if dims and d == dims[0]})

    def _bind(self, axes: Axes) -> Full:
        name = type(self).__name__
        if self.value.dims is not None:
            values = axes.align(self.value, f"the input of {name}")
        else:
            values = self.value.values
            if values.shape != (axes.samples, *axes.shape):
                raise ValueError(
                    f"{name} was fitted to an input of shape {values.shape}, this one has {(axes.samples, *axes.shape)}; "
                    "fit it to the samples that are explained"
                )
        return Full(lambda x, key: per_row(values, x, key))


def spread_of(array: Array) -> str:
    """The least and the largest of some numbers, as text.

    >>> spread_of(Array(np.array([0.25, 1.0, 0.5])))
    '0.25 to 1'
    """
    return f"{array.values.min():.3g} to {array.values.max():.3g}"


def dtype_of(x: Any, module: nn.Module | None) -> torch.dtype:
    """The dtype in which a model is asked about an input: its own where it is of floats, else float64.

    TypeError where no parameter of a module has it.
    """
    kind = str(getattr(x, "dtype", "")).removeprefix("torch.")
    dtype = getattr(torch, kind) if kind.startswith("float") else torch.float64
    own = set() if module is None else {p.dtype for p in module.parameters() if p.is_floating_point()}
    if own and dtype not in own:
        asked, held = (str(d).removeprefix("torch.") for d in (dtype, min(own, key=str)))
        raise TypeError(
            f"the model is asked about x in {asked}, and its parameters are {held}; convert x to {held}, or the model: model.to(torch.{asked})"
        )
    return dtype


def other_classes(y: Tensor, a: int, b: int | None) -> Tensor:
    """The class on the other side of each sample's boundary, from outputs (samples, classes)."""
    classes = y.shape[1]
    for name, value in (("a", a), ("b", 0 if b is None else b)):
        if isinstance(value, bool) or not isinstance(value, int | np.integer):
            raise TypeError(
                f"{name} is a class by its place among the model's {classes} outputs, an int, got {value!r}"
            )
    if not 0 <= a < classes or (b is not None and not 0 <= b < classes):
        raise IndexError(f"a={a} and b={b} must be among the model's {classes} outputs, 0 to {classes - 1}")
    if b == a:
        raise ValueError(f"a and b are both {a}: a boundary has two sides" + "; leave b out" * (classes == 1))
    if b is not None:
        return torch.full((len(y),), b, device=y.device)
    return y.index_fill(1, torch.tensor([a], device=y.device), -torch.inf).argmax(1)


def margins(y: Tensor, a: int, other: Tensor) -> Tensor:
    """f_a - f_b (rows,) of outputs (rows, classes); of a single output, its value."""
    return y[:, a] if y.shape[1] == 1 else y[:, a] - y.gather(1, other[:, None])[:, 0]
