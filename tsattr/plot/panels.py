"""What pictures of fields share: a panel for each entry along the other dims, and hatching."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from . import shade


def panels(
    values: xr.DataArray, inside: tuple[Hashable, ...], most: int = 12
) -> Iterator[tuple[str, dict[Hashable, int]]]:
    """Yield the title and the indices of each entry along the dims not in `inside`; ValueError for more than `most`."""
    outside = [d for d in values.dims if d not in inside]
    shape = [values.sizes[d] for d in outside]
    if np.prod(shape, initial=1) > most:
        raise ValueError(
            f"{dict(zip(outside, shape))} are more than the {most} that can be told apart; choose with .isel"
        )
    for at in np.ndindex(*shape):
        where = dict(zip(outside, at))
        yield ", ".join(f"{d}: {values[d].values[i] if d in values.coords else i}" for d, i in where.items()), where


def hatch(ax: Axes, part: xr.DataArray, where: np.ndarray, transform: dict[str, Any] | None = None) -> None:
    """Hatch the cells that `where` marks, those at the border up to their outer edge."""
    y, x = part.dims
    centres = [shade.axis_values(part, d).astype(float) for d in (x, y)]
    ends = [np.concatenate([shade.cell_edges(c)[:1], c, shade.cell_edges(c)[-1:]]) for c in centres]
    if where.any():
        inside = np.pad(where, 1, mode="edge").astype(float)
        lines = ax.contourf(*ends, inside, levels=[0.5, 1.5], colors="none", hatches=["/////"], **(transform or {}))
        lines.set(edgecolor="#8a8a8a", linewidth=0)
