"""Pictures of a comparison of methods: what the target does while cells are taken away or put back."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke

from ..edge.each_output import folded
from . import shade
from .standing import check_comparison, mean_over, ranked, wrapped

# The colours of Okabe and Ito without their yellow, too pale for a line, and six more; numbers on the lines tell them apart
# where colours do not.
COLOURS = (
    *("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"),
    *("#1a1a1a", "#8c510a", "#762a83", "#a6192e", "#6b8e23", "#40e0d0"),
)
CURVE_AXIS = {
    "deletion_curve": "share taken away, the most important first",
    "insertion_curve": "share kept, the most important first",
}


@shade.literal_text
def curves(
    table: xr.Dataset, curve: str = "deletion_curve", ranking: str = "signed", *, figure: Figure | None = None
) -> Figure:
    """Draw what the target does while cells are taken away or put back in each method's order, a panel for each fill.

    Parameters
    ----------
    table : Dataset
        What `tsattr.compare` returned.
    curve : {"deletion_curve", "insertion_curve"}
        Which curve.
    ranking : str
        By which ranking.

    Returns
    -------
    Figure
        A line for each method: the mean over samples, with a band of one standard error over samples on both sides.
        Numbers on the lines are those of the legend, which has the method with the least area under the curve last (averaged
        over fills). Controls are dashed and grey; a method under a fill of its own kind is dotted.

    Raises
    ------
    TypeError, ValueError
        If `table` is no comparison, or has no such curve or ranking.

    Examples
    --------
    >>> import numpy as np, torch, tsattr as ta
    >>> f = lambda x: torch.tanh(x @ torch.tensor([3.0, -2.0, 1.0, 0.0], dtype=torch.float64))
    >>> x = np.random.default_rng(0).normal(size=(20, 4))
    >>> tb = ta.compare(f, x, {"IG": ta.IntegratedGradients()})
    >>> [ax.get_title(loc="left") for ax in ta.plot.curves(tb).axes]
    ['samples']
    """
    check_comparison(table, None, ranking)
    table = folded(table)
    if curve not in CURVE_AXIS or curve not in table:
        available = [name for name in CURVE_AXIS if name in table]
        raise ValueError(f"curve is one of {available} in this table, got {curve!r}")
    mean = mean_over(table[curve], ranking, ("method", "fill", "share")).values
    error = _standard_error(table[curve], ranking).values
    share = table["share"].values
    area = np.nan_to_num(np.trapezoid(mean, share, axis=2).mean(1))
    order = np.argsort(-area, kind="stable")
    control, own = table["control"].values.astype(bool), table["own_fill"].transpose("method", "fill").values
    fills = [str(v) for v in table["fill"].values]
    columns = 2 if len(fills) == 4 else min(3, len(fills))
    rows = -(-len(fills) // columns)
    figure = figure or shade.new_figure(3.0 * columns + 2.6, 2.9 * rows + 0.3)
    axes = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).ravel()
    for f, ax in enumerate(axes):
        if f >= len(fills):
            ax.remove()
            continue
        for rank, k in enumerate(order):
            _curve(ax, share, mean[k, f], error[k, f], _style(k, control, bool(own[k, f])), rank)
        ax.tick_params(labelbottom=f + columns >= len(fills))
        ax.set_title(wrapped(fills[f]), loc="left", fontsize=9)
        ax.set_xlim(share[0], share[-1])
        ax.grid(axis="y", color="#e4e4e4")
        ax.set_axisbelow(True)
        shade.despine(ax)
    axes[0].set_ylabel("target", fontsize=9)
    figure.supxlabel(f"{CURVE_AXIS[curve]} ({ranking} ranking); band: standard error over samples", fontsize=9)
    handles = [Line2D([], [], **_style(k, control, False)) for k in order]
    labels = [f"{rank + 1}  {wrapped(table['method'].values[k])}" for rank, k in enumerate(order)]
    if own.any():
        handles.append(Line2D([], [], color=shade.INK, ls=":", lw=1.4))
        labels.append("fill of its own kind")
    figure.legend(handles, labels, loc="outside right upper", fontsize=8, frameon=False, handlelength=2.6)
    return figure


def _style(k: int, control: np.ndarray, own: bool) -> dict[str, Any]:
    if control[k]:
        return {"color": shade.NEUTRAL, "ls": ("--", "-.")[int(control[:k].sum()) % 2], "lw": 1.2}
    return {"color": COLOURS[k % len(COLOURS)], "ls": ":" if own else "-", "lw": 1.4}


def _curve(ax: Axes, share: np.ndarray, mean: np.ndarray, error: np.ndarray, style: dict[str, Any], rank: int) -> None:
    """Draw one line with its band and its number, the numbers of neighbours at different shares."""
    ax.fill_between(share, mean - error, mean + error, color=style["color"], alpha=0.13, lw=0)
    ax.plot(share, mean, **style)
    inner = max(1, len(share) - 2)
    at = 1 + (rank * 2) % inner if len(share) > 2 else 0
    if np.isfinite(mean[at]):
        halo = [withStroke(linewidth=2.5, foreground="white")]
        ax.text(
            share[at],
            mean[at],
            str(rank + 1),
            fontsize=7,
            weight="bold",
            color=style["color"],
            ha="center",
            va="center",
            path_effects=halo,
        )


def _standard_error(values: xr.DataArray, ranking: str) -> xr.DataArray:
    """Return the standard error of the mean over samples; 0 for a single one, which has none."""
    values = ranked(values, ranking)
    samples = [d for d in values.dims if d not in ("method", "fill", "share")]
    count = values.notnull().sum(samples)
    spread = ((values - values.mean(samples)) ** 2).sum(samples) / (count - 1).clip(min=1)
    return ((spread / count.clip(min=1)) ** 0.5).transpose("method", "fill", "share")
