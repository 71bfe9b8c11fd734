"""Where time lies in an input, and which observations belong to the window of each prediction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import groups
from ..axes import Axes
from ..results import check_count
from .recurrent import state_size


@dataclass(frozen=True)
class Timing:
    """Where time lies in the input, and which observations belong to the window of each prediction.

    Attributes
    ----------
    dim, axis
        The dim of time, and its axis in a sample.
    first
        (times,) the first time of the window of each prediction, at least 1 as nothing is known before the first observation.
    spacing, units
        Of an evenly spaced coordinate the step, else None, and its units.
    channels
        Cells of a sample at one time.
    remembered
        Numbers that a recurrent model remembers of a sample at one time.
    """

    dim: str
    axis: int
    first: np.ndarray
    spacing: Any
    units: str
    channels: int
    remembered: int

    @classmethod
    def of(cls, axes: Sequence[Axes], dim: str, size: int | str, module: Any) -> Timing:
        """Windows of a size in cells, or with a unit by the coordinate; of an input of one variable."""
        if len(axes) > 1:
            raise TypeError(
                "a method on prefixes explains one DataArray, the input has several variables; make them features of one "
                "array, in groups of their own, and give what has no time in context="
            )
        (a,) = axes
        axis, n = a.axis(dim), a.shape[a.axis(dim)]
        times = np.arange(n)
        if isinstance(size, str):
            width, p = a.extent(dim, size)
            gap = float(np.diff(p).min()) if n > 1 else width
            if width < gap * (1 - 1e-6):
                raise ValueError(f"a window of {size!r} is shorter than every step of dim {dim!r}")
            first = np.searchsorted(p, p - width + 1e-6 * gap)
        else:
            check_count("window", size)
            first = times - size + 1
        line = np.asarray(a.coords.get(dim, ""))
        steps = np.diff(line) if line.dtype.kind in "fiuMm" else np.zeros(0)
        gaps = steps.astype(float)
        if len(gaps) and (gaps < 0).all():
            raise ValueError(
                f"the coordinate {dim!r} descends, so that a prefix would be the future; give x.sortby({dim!r})"
            )
        even = len(gaps) > 0 and bool(np.allclose(gaps, gaps[0], rtol=1e-3))
        return cls(
            dim,
            axis,
            np.minimum(np.maximum(first, 1), times),
            steps.mean() if even else None,
            str(a.units.get(dim, "")),
            max(1, int(np.prod(a.shape)) // n),
            state_size(module),
        )

    @property
    def times(self) -> int:
        """Length of a series."""
        return len(self.first)

    @property
    def lags(self) -> int:
        """Length of the longest window."""
        return int((np.arange(self.times) - self.first).max()) + 1

    @property
    def arrays(self) -> int:
        """Arrays of a sample's size that are in memory at once: some for each lag, and a recurrent model's states."""
        return 10 * self.lags + self.remembered // self.channels

    def inside(self, *, last: bool = False, ends: np.ndarray | None = None) -> np.ndarray:
        """Bool (times, lags): True where the observation at time a belongs to the window of the prediction at a + lag.

        With `ends` (n,) of padded series, (n, times, lags): there are no predictions from the end on.
        """
        end = np.array(self.times) if ends is None else ends[:, None, None]
        a, lag = np.ogrid[: self.times, : self.lags]
        t = a + lag
        found: np.ndarray = (a >= 1) & (t < end) & (a >= self.first[np.minimum(t, self.times - 1)])
        return found & (t == end - 1) if last else found


def each_series(axes: Axes, dim: str) -> Any:
    """Groups of one series each: one for each combination of the labels of the dims that are not time."""
    others = [d for d in axes.dims if d != dim]
    return groups.Along(*others) if others else groups.Windows(**{dim: axes.shape[0]})
