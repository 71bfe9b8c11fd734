"""Pictures of what groups do by themselves and together."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

from ..core.results import check_count
from ..metrics import bootstrap
from ..metrics.pairs import Interval
from . import shade
from .features import one_target
from .standing import wrapped

_MOST = 40
_WRITTEN = 10  # more groups than this leave no room for numbers
_WIDEST = 7.0  # points, of a line of the network
_NOTHING = 1e-3  # of the limit: less is drawn as 0
_DARK = 0.6  # of the limit: white letters are read better from here on
_WHAT = "a group by itself on the diagonal, pairs beside it"
_LETTERS = {(False, True): shade.INK, (False, False): "#8a8a8a", (True, True): "white", (True, False): "#d9d9d9"}


@shade.literal_text
def pairs(
    ds: xr.Dataset,
    *,
    target: str | int | None = None,
    most: int = 12,
    limit: float | None = None,
    blocks: Any = None,
    figure: Figure | None = None,
) -> Figure:
    """Draw mains and pairs of groups: a matrix with the mains on its diagonal, and a network of the largest pairs.

    Over several samples it is the mean, with 95 % intervals of Student's t (`tsattr.metrics.bootstrap`); of one sample with several
    draws, within two of their standard errors.

    Parameters
    ----------
    ds : Dataset
        A result of `ShapleyInteractions`, of one sample or of several, whose mean is drawn: `group_value` and `interaction`.
    target : label or position, optional
        Which of several targets.
    most : int
        Number of groups at most, the ones with the largest sum of squares of their main and pairs; and of lines in the network.
    limit : float, optional
        Value at which the colours saturate; by default the largest.
    blocks : str or array (sample,), optional
        Labels of samples that are alike, such as patients, or the name of the coordinate that holds them: intervals count these.

    Returns
    -------
    Figure
        Left, the matrix: the cell of two groups holds the whole value of the pair, that on the diagonal the group's own. Right, the
        network: a disc is a group by itself, a line a pair, as thick and large as its value. Both in the colours of attribution. What
        cannot be told from 0 has grey numbers, broken lines and pale discs: of several samples all cells are judged together.

    Raises
    ------
    KeyError, ValueError
        If the result has no interactions, or no such target.

    Examples
    --------
    >>> import torch, tsattr as ta
    >>> x = torch.tensor([[2.0, 3.0, 1.0]])
    >>> ds = ta.explain(lambda x: x[:, 0] * x[:, 1] + x[:, 2], x, ta.ShapleyInteractions(ta.groups.Cells()))
    >>> [text.get_text() for text in ta.plot.pairs(ds).axes[0].texts][:2]
    ['0', '6']
    """
    check_count("most", most)
    if not isinstance(ds, xr.Dataset) or "interaction" not in ds:
        raise KeyError(
            f"pairs needs 'interaction' in the result, as ShapleyInteractions gives it; "
            f"it has {list(ds) if isinstance(ds, xr.Dataset) else type(ds).__name__}"
        )
    found = one_target(ds, target)
    if "target" in found["interaction"].dims:
        raise ValueError(f"pairs draws one target; give target=, one of {found.target.values.tolist()}")
    told = averaged(found, blocks)
    kept = _largest(told.mean, min(most, _MOST))
    names = [wrapped(str(v)) for v in found["group"].values[kept]]
    matrix, half, apart = (v[np.ix_(kept, kept)] for v in (told.mean, told.high - told.mean, told.apart))
    values = xr.DataArray(matrix, attrs={"units": ds.attribution.attrs.get("units", "")} if "attribution" in ds else {})
    scale = shade.colour_limit(values, limit) if limit else float(np.nanmax(np.abs(matrix), initial=0)) or 1.0
    figure = figure or shade.new_figure(11.0, 5.6)
    matrix, half = (np.where(np.abs(v) < _NOTHING * scale, 0.0, v) for v in (matrix, half))
    left, right = figure.subplots(1, 2, width_ratios=(1.15, 1))
    _matrix(left, matrix, half, apart, names, scale)
    _network(right, matrix, apart, names, scale, most)
    shade.colour_bar(figure, left.collections[-1], values, scale, ax=[left, right], shrink=0.4, aspect=40)
    known = np.isfinite(half).any()
    left.set_title(_WHAT + (f"\n{_over(found)}; grey: cannot be told from 0" if known else ""), fontsize=9)
    right.set_title(
        f"the largest pairs, {most} at most" + ("\nbroken or pale: cannot be told from 0" if known else ""), fontsize=9
    )
    return figure


def averaged(ds: xr.Dataset, blocks: Any = None) -> Interval:
    """Matrices (group, group), mains on the diagonal: means over samples, or a single sample, and intervals.

    Of a single sample the interval is two standard errors of its draws each way, and NaN where there are none.
    """
    cells = np.atleast_3d(_cells(ds, "group_value", "interaction"))
    if cells.shape[2] > 1:
        return bootstrap(cells, ds[blocks].values if isinstance(blocks, str) else blocks)
    mean = cells[..., 0]
    half = np.full_like(mean, np.nan)
    if "interaction_standard_error" in ds:
        half = 2 * np.atleast_3d(_cells(ds, "group_standard_error", "interaction_standard_error"))[..., 0]
    return Interval(mean, mean - half, mean + half, ~(np.abs(mean) <= half))


def _cells(ds: xr.Dataset, main: str, both: str) -> np.ndarray:
    """Mains on the diagonal of pairs: (group, group[, sample])."""
    mains, pairs = ds[main].transpose("group", ...).values, ds[both].transpose("group", "group_b", ...).values.copy()
    at = np.arange(len(mains))
    pairs[at, at] = mains
    return np.asarray(pairs, np.float64)


def _over(ds: xr.Dataset) -> str:
    n = [ds.sizes[d] for d in ds["interaction"].dims if d not in ("group", "group_b")]
    return f"mean over {n[0]} samples, 95 % intervals" if n and n[0] > 1 else "two standard errors of the draws"


def _largest(matrix: np.ndarray, most: int) -> np.ndarray:
    """The positions, in their order, of the groups with the largest sum of squares."""
    kept: np.ndarray = np.sort(np.argsort(-np.nan_to_num(matrix**2).sum(1), kind="stable")[:most])
    return kept


def _matrix(ax: Axes, matrix: np.ndarray, half: np.ndarray, apart: np.ndarray, names: list[str], limit: float) -> None:
    n = len(matrix)
    edges = np.arange(n + 1) - 0.5
    shade.draw_missing(ax, (edges, edges), matrix)
    ax.pcolormesh(
        edges, edges, np.ma.masked_invalid(matrix), cmap=shade.SIGNED, vmin=-limit, vmax=limit, ec="#ededed", lw=0.5
    )
    ax.plot(*[[-0.5, n - 0.5]] * 2, color="#d0d0d0", lw=0.5, zorder=0)
    for (row, column), value in np.ndenumerate(matrix):
        if np.isfinite(value) and n <= _WRITTEN:
            colour = _LETTERS[bool(abs(value) > _DARK * limit), bool(apart[row, column] or value == 0)]
            text = f"{value:.2g}".replace("-", "−")
            ax.text(column, row, text, ha="center", va="center", fontsize=8, color=colour)
            if np.isfinite(half[row, column]) and (value or half[row, column]):
                text = f"± {half[row, column]:.2g}"
                ax.text(column, row + 0.24, text, ha="center", va="center", fontsize=6, color=colour)
    longest = max(map(len, names))
    ax.set_xticks(range(n), names, fontsize=8, rotation=90 if longest * n > 40 else 0)
    ax.set_yticks(range(n), names, fontsize=8)
    ax.set(xlim=(-0.5, n - 0.5), ylim=(n - 0.5, -0.5))
    ax.set_aspect("equal")


def _network(ax: Axes, matrix: np.ndarray, apart: np.ndarray, names: list[str], limit: float, most: int) -> None:
    n = len(matrix)
    angle = np.pi / 2 - 2 * np.pi * np.arange(n) / n
    place = np.stack([np.cos(angle), np.sin(angle)], 1)
    first, second = np.triu_indices(n, 1)
    size = np.abs(np.nan_to_num(matrix[first, second]))
    for k in np.argsort(-size, kind="stable")[:most][::-1]:
        ends, value = place[[first[k], second[k]]], matrix[first[k], second[k]]
        if size[k] > 0:
            width = max(0.4, _WIDEST * min(1.0, size[k] / limit))
            ax.plot(
                *ends.T,
                color=_colour(value),
                lw=width,
                ls="-" if apart[first[k], second[k]] else (0, (1.5, 1)),
                solid_capstyle="butt",
                dash_capstyle="butt",
                alpha=0.25 + 0.75 * min(1.0, size[k] / limit),
                zorder=1,
            )
    own = np.nan_to_num(np.diag(matrix))
    area = 30 + 500 * np.minimum(1.0, np.abs(own) / limit)
    across, up = place.T
    sure = np.diag(apart) | (own == 0)
    colours = [to_rgba(_colour(v), 1.0 if known else 0.4) for v, known in zip(own, sure)]
    ax.scatter(across, up, s=area, c="white", linewidths=0, zorder=2)  # hides the lines' ends
    ax.scatter(across, up, s=area, c=colours, edgecolors="white", linewidths=1.0, zorder=2)
    for (x, y), name in zip(1.16 * place, names):
        side = "center" if abs(x) < 0.2 else "left" if x > 0 else "right"
        text = ax.text(x, y, name, ha=side, va="center", fontsize=8)
        text.set_path_effects([withStroke(linewidth=2, foreground="white")])
    ax.set(xlim=(-1.7, 1.7), ylim=(-1.35, 1.35))
    ax.set_aspect("equal")
    ax.axis("off")


def _colour(value: float) -> str:
    return shade.NEUTRAL if value == 0 else shade.POSITIVE if value > 0 else shade.NEGATIVE
