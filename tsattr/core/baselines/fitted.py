"""Fitted baselines: training data as labelled numbers, and the arrays learnt from them with their provenance."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..arrays import Array
from ..axes import Axes
from ..cf import units_of
from .references import checked_reference


@dataclass(frozen=True, eq=False)
class Fitted:
    """Named arrays learnt from a reference, and where they come from; equal, hashed and printed by content.

    Parameters
    ----------
    arrays
        What was learnt, by name.
    source
        What it was learnt from, in words: samples, dims and settings.
    """

    arrays: Mapping[str, Array]
    source: str

    def __getitem__(self, name: str) -> np.ndarray:
        return self.arrays[name].values

    @property
    def digest(self) -> str:
        """The first 12 hex digits of the SHA-256 of the source and of every array."""
        parts = [self.source, *(f"{name} {array.digest}" for name, array in sorted(self.arrays.items()))]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Fitted) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    def __repr__(self) -> str:
        return f"<{', '.join(self.arrays)} of {self.source}: sha256 {self.digest}>"


@dataclass(frozen=True)
class Training:
    """A reference as float64 `values` (samples, \\*event), and the axes it has; `named` is False for a bare array."""

    values: np.ndarray
    axes: Axes
    named: bool

    @classmethod
    def of(cls, reference: Any, sample_dim: str) -> Training:
        """Read a DataArray, a DataFrame of numbers, or an array (samples first; its dims are dim_1, dim_2, ...)."""
        r = checked_reference(reference, sample_dim)
        dims = r.dims or (sample_dim, *(f"dim_{i}" for i in range(1, r.values.ndim)))
        try:
            values = np.moveaxis(r.values, dims.index(sample_dim), 0).astype(np.float64)
        except (TypeError, ValueError):
            raise TypeError(
                "the reference holds categories or dates, and this baseline is fitted to numbers; use Typical.fit, Samples.fit or Mode.fit"
            ) from None
        if np.isinf(values).any():
            raise ValueError("the reference has infinite values; make them NaN if they are missing")
        event = tuple(d for d in dims if d != sample_dim)
        coords = {d: c for d, c in r.coords.items() if d != sample_dim}
        axes = Axes(
            event, values.shape[1:], coords, units_of(reference), sample_dim, len(values), r.coords.get(sample_dim)
        )
        return cls(values, axes, r.dims is not None)

    def cells(self, dims: tuple[str, ...], values: np.ndarray) -> Array:
        """Values over some of the event's dims as an array that an input's axes can be matched with."""
        if not self.named and dims == self.axes.dims:
            return Array(values)
        return Array(values, dims, {d: c for d, c in self.axes.coords.items() if d in dims})

    def of_samples(self, values: np.ndarray) -> Array:
        """Values of each sample, (n, \\*event) or (n,), as an array that an input's axes can be matched with."""
        if not self.named:
            return Array(values)
        dims = (self.axes.sample_dim, *self.axes.dims)[: values.ndim]
        coords = dict(self.axes.coords)
        if self.axes.sample_coord is not None:
            coords[self.axes.sample_dim] = self.axes.sample_coord
        return Array(values, dims, {d: c for d, c in coords.items() if d in dims})

    def source(self, **settings: Any) -> str:
        """The provenance as text: samples, dims and settings."""
        sizes = ", ".join(f"{d} {n}" for d, n in zip(self.axes.dims, self.axes.shape))
        count = len(self.values)
        return "; ".join(
            [f"{count} sample{'s' * (count != 1)} ({sizes})", *(f"{k}={v!r}" for k, v in settings.items())]
        )


def cell_index(cells: Array, axes: Axes, what: str) -> np.ndarray:
    """For each cell of `axes`, its flat position in `cells`; of size 1 along dims that `cells` lacks."""
    numbers = np.arange(math.prod(cells.values.shape)).reshape(cells.values.shape)
    index: np.ndarray = axes.align(Array(numbers, cells.dims, cells.coords), f"the reference of {what}")[0]
    return index
