"""The imputer of ROAD: every absent cell the weighted mean of its neighbours, and noise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from ..axes import Axes
from ..keys import Key
from .fills import Baseline, Conditional, draw_by_name

# Neighbours of a cell on one side (the other mirrors it), and their weights.
_STENCILS: dict[int, dict[tuple[int, ...], float]] = {
    1: {(1,): 1 / 2},
    2: {(0, 1): 1 / 6, (1, 0): 1 / 6, (1, 1): 1 / 12, (1, -1): 1 / 12},
}


@dataclass(frozen=True)
class Inpaint(Baseline):
    """Noisy linear imputation: every absent cell is the weighted mean of its neighbours, all at once, plus noise.

    Along one dim both neighbours weigh 1/2, so that a gap becomes a straight line from cell to cell; over two dims edge
    neighbours weigh 1/6 and diagonal ones 1/12. Neighbours outside the grid or missing in the input are dropped and the
    other weights scaled up; periodic dims wrap. The sparse linear system of the absent cells is solved exactly, so a
    line or a plane is found again inside. Rong et al., ICML 2022.

    It assumes smooth fields: what is filled is harmonic, without texture, which makes wide gaps easy to tell from data.
    Noise helps against that; it is white.

    Parameters
    ----------
    dims
        One or two dims whose cells are neighbours.
    noise
        Standard deviation of the noise that absent cells get, as a share of that of the sample's known cells along
        `dims`; use several draws where it is not 0.
    otherwise
        Where no present cell can be reached; so the end point of a path is this constant (and noise).

    Examples
    --------
    >>> import tsattr as ta
    >>> x = np.array([[0.0, 1.0, 2.0, 4.0]])
    >>> ds = ta.explain(lambda x: x.sum(1), x, ta.Occlusion(ta.groups.Windows(dim_1=2), Inpaint("dim_1")))
    >>> ds.group_value.values.tolist()  # 0 + 1 becomes 2 + 2, 2 + 4 becomes 1 + 1
    [[-3.0, 4.0]]
    """

    sentence: ClassVar[str] = "the weighted mean of the neighbours of each absent cell, all at once"
    dims: Any = ("time",)
    noise: float = 0.0
    otherwise: float = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "dims", (self.dims,) if isinstance(self.dims, str) else tuple(self.dims))
        if len(self.dims) not in _STENCILS or len(set(self.dims)) != len(self.dims):
            raise ValueError(f"Inpaint works along one dim or two unlike ones, got dims={self.dims!r}")
        if not self.noise >= 0:
            raise ValueError(f"Inpaint needs noise >= 0, a share of the standard deviation, got {self.noise!r}")

    @property
    def random(self) -> bool:  # type: ignore[override]
        """True where draws differ."""
        return self.noise > 0

    def _bind(self, axes: Axes) -> Conditional:
        at = [1 + axes.axis(d) for d in self.dims]
        ends = list(range(-len(at), 0))
        neighbours, weights = _neighbours([axes.shape[a - 1] for a in at], [d in axes.periodic for d in self.dims])

        def fill(x: Tensor, absent: Tensor, key: Key) -> Tensor:
            wide, absent = x.to(torch.float64), absent.expand_as(x)
            grid = wide.movedim(at, ends)
            grids, masks = (v.movedim(at, ends).reshape(-1, neighbours.shape[1]).cpu().numpy() for v in (wide, absent))
            filled = _solve_by_mask(grids, masks, lambda v, a: _solve(v, a, neighbours, weights, self.otherwise))
            out = torch.as_tensor(filled).reshape(grid.shape).to(x.device).movedim(ends, at)
            if self.noise:
                spread = _spread(grid, len(at)).movedim(ends, at)
                out = out + self.noise * spread * draw_by_name(key.normal, wide, axes)
            return torch.where(absent, out.to(x.dtype), x)

        return Conditional(fill)


def _spread(x: Tensor, dims: int) -> Tensor:
    """Standard deviation of the known cells over the last `dims` dims, kept with size 1; 0 where there are none."""
    over = list(range(-dims, 0))
    away = x - x.nanmean(over, keepdim=True)
    return torch.nan_to_num((away**2).nanmean(over, keepdim=True)).sqrt()


def _neighbours(shape: list[int], periodic: list[bool]) -> tuple[np.ndarray, np.ndarray]:
    """The flat positions and the weights (neighbours, cells) of each cell's neighbours on a grid; weight 0 where there is none."""
    grid = np.indices(shape)
    size = np.array(shape).reshape(-1, *[1] * len(shape))
    wraps = np.array(periodic).reshape(size.shape)
    positions, weights = [], []
    for offset, weight in _STENCILS[len(shape)].items():
        for sign in (1, -1):
            neighbour = grid + sign * np.array(offset).reshape(size.shape)
            exists = (wraps | ((neighbour >= 0) & (neighbour < size))).all(0)
            neighbour = np.ravel_multi_index(tuple(neighbour), tuple(shape), mode="wrap").reshape(-1)
            exists = exists.reshape(-1) & (neighbour != np.arange(neighbour.size))
            positions.append(neighbour)
            weights.append(np.where(exists, weight, 0))
    return np.stack(positions), np.stack(weights)


def _solve_by_mask(
    grids: np.ndarray, absent: np.ndarray, solve: Callable[[np.ndarray, np.ndarray], np.ndarray]
) -> np.ndarray:
    """Grids (rows, cells) with ``solve(grids, absent)`` in their absent cells, called once for all grids with the same mask."""
    missing = np.isnan(grids)
    absent = absent & ~missing
    out = grids.copy()
    rows = np.flatnonzero(absent.any(1))
    by_mask: dict[bytes, list[int]] = {}
    for row, mask in zip(rows.tolist(), np.packbits(np.concatenate([absent, missing], 1)[rows], axis=1)):
        by_mask.setdefault(mask.tobytes(), []).append(row)
    for same in by_mask.values():
        mask = absent[same[0]]
        out[np.ix_(same, mask)] = solve(grids[same], mask)
    return out


def _solve(
    values: np.ndarray, absent: np.ndarray, neighbours: np.ndarray, weights: np.ndarray, otherwise: float
) -> np.ndarray:
    """Values (rows, absent cells) that are the weighted means of their neighbours, by one sparse linear system."""
    from scipy.sparse import coo_array, csc_array, diags_array
    from scipy.sparse.csgraph import connected_components
    from scipy.sparse.linalg import splu

    cells = np.flatnonzero(absent)
    near, weight = neighbours[:, cells], weights[:, cells]
    weight = np.where(np.isnan(values[0])[near], 0, weight)
    unknown = absent[near]
    known = np.where(unknown, 0, weight)
    number = np.cumsum(absent) - 1
    at = np.nonzero(unknown & (weight > 0))
    matrix = coo_array((weight[at], (at[1], number[near[at]])), shape=(len(cells), len(cells))).tocsc()
    # Cells without a path to a present cell would make the system singular.
    _, part = connected_components(matrix, directed=False)
    isolated = np.bincount(part, known.sum(0))[part] == 0
    right = (known * np.where(known > 0, np.nan_to_num(values[:, near]), 0)).sum(1)
    diagonal = np.where(isolated, 1, weight.sum(0))
    keep = diags_array(np.where(isolated, 0.0, 1.0))
    found = splu(csc_array(diags_array(diagonal) - keep @ matrix)).solve(right.T).T
    return np.where(isolated, otherwise, found)
