"""Pictures of a comparison of methods: who comes first, can one tell, and how each fares under each fill."""

from __future__ import annotations

import textwrap
from typing import cast

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke

from ..comparison.verdict import Standing
from ..metrics.pairs import left_out
from . import shade

_BETTER = LinearSegmentedColormap.from_list("tsattr_better", ["#f7f7f7", "#9db8dc", shade.NEGATIVE])


@shade.literal_text
def ranking(
    table: xr.Dataset,
    measure: str = "gap",
    ranking: str = "signed",
    *,
    ax: Axes | None = None,
    figure: Figure | None = None,
) -> Figure:
    """Draw the score of every method with its interval, best on top: who comes first, and can one tell.

    Parameters
    ----------
    table : Dataset
        What `tsattr.compare` returned.
    measure, ranking : str
        Which score.

    Returns
    -------
    Figure
        Filled: the best method and those that cannot be told from it (95 %, all pairs together). Hollow: methods that are
        distinguishably worse. Grey squares: controls, maps that know nothing. A dashed line is the level of chance, for
        measures against truth.

    Raises
    ------
    TypeError, ValueError
        If `table` is no comparison, or has no such measure or ranking.

    Examples
    --------
    >>> import numpy as np, torch, tsattr as ta
    >>> f = lambda x: torch.tanh(x @ torch.tensor([3.0, -2.0, 1.0, 0.0], dtype=torch.float64))
    >>> x = np.random.default_rng(0).normal(size=(20, 4))
    >>> tb = ta.compare(f, x, {"saliency": ta.Saliency(), "IG": ta.IntegratedGradients()})
    >>> [label.get_text() for label in ta.plot.ranking(tb).axes[0].get_yticklabels()][0]
    'IG'
    """
    check_comparison(table, measure, ranking)
    standing = Standing(table, measure, ranking)
    order, control, tied = standing.order, standing.control, standing.tied
    here = table.sel(measure=measure, ranking=ranking)
    n = len(order)
    if ax is None:
        ax = (figure or shade.new_figure(8.5, 1.3 + 0.34 * max(n, 3))).subplots()
    score, low, high = (here[name].values.astype(float) for name in ("score", "score_low", "score_high"))
    for row, k in enumerate(order):
        colour = shade.NEUTRAL if control[k] else shade.NEGATIVE
        face = colour if tied[k] or control[k] else "white"
        ax.plot([low[k], high[k]], [row, row], color=colour, lw=1.8 if tied[k] else 1.1, solid_capstyle="butt")
        ax.plot(score[k], row, "s" if control[k] else "o", color=colour, mfc=face, ms=6.5)
        text = "no finite score" if np.isnan(score[k]) else f"{score[k]:.3g} [{low[k]:.3g}, {high[k]:.3g}]"
        ax.annotate(
            text.replace("-", "−"),
            (1.01, row),
            xycoords=ax.get_yaxis_transform(),
            va="center",
            fontsize=8,
            color=shade.NEUTRAL if control[k] else shade.INK,
        )
    if f"{measure}_chance" in table:
        level = float(table[f"{measure}_chance"].mean())
        ax.axvline(level, color=shade.POSITIVE, lw=1.2, ls="--")
        ax.annotate(
            f"chance {level:.3g}",
            (level, 1),
            xycoords=ax.get_xaxis_transform(),
            ha="center",
            va="bottom",
            fontsize=8,
            color=shade.POSITIVE,
        )
    names = [wrapped(v) for v in table["method"].values[order]]
    ax.set_yticks(np.arange(n), names, fontsize=9)
    ax.set_ylim(n - 0.5, -0.5)
    ax.grid(axis="x", color="#e4e4e4")
    ax.set_axisbelow(True)
    shade.despine(ax)
    ax.set_xlabel(_axis_text(table, measure, ranking), fontsize=9)
    _legend(ax, control, tied)
    return cast(Figure, ax.figure)


def _legend(ax: Axes, control: np.ndarray, tied: np.ndarray) -> None:
    """Draw a legend of the markers that occur: filled, hollow and grey."""
    several = int(tied.sum()) > 1
    first = "the best, and those not told from it (95 %)" if several else "the best, told from every other (95 %)"
    handles = [
        Line2D([], [], marker=marker, color=colour, mfc=face, lw=1.2, ms=5.5, label=label)
        for present, marker, colour, face, label in (
            (tied.any(), "o", shade.NEGATIVE, shade.NEGATIVE, first),
            ((~tied & ~control).any(), "o", shade.NEGATIVE, "white", "worse"),
            (control.any(), "s", shade.NEUTRAL, shade.NEUTRAL, "control: knows nothing"),
        )
        if present
    ]
    ax.legend(handles=handles, loc="lower left", bbox_to_anchor=(0, 1.02), ncols=3, fontsize=8, frameon=False)


@shade.literal_text
def matrix(
    table: xr.Dataset,
    measure: str = "gap",
    ranking: str = "signed",
    *,
    ax: Axes | None = None,
    figure: Figure | None = None,
) -> Figure:
    """Draw the mean of a measure for each method (rows, best first) under each fill, and the score in a last column.

    Parameters
    ----------
    table : Dataset
        What `tsattr.compare` returned.
    measure, ranking : str
        Which measure; one by removal, as those against truth know no fills.

    Returns
    -------
    Figure
        Cells whose fill is of the kind of the method's own baseline are hatched. Colours: orange above 0, blue below, where
        there are both; else darker is better.

    Raises
    ------
    TypeError, ValueError
        If `table` is no comparison, has no such measure or ranking, or the measure has no fills.

    Examples
    --------
    >>> import numpy as np, torch, tsattr as ta
    >>> f = lambda x: torch.tanh(x @ torch.tensor([3.0, -2.0, 1.0, 0.0], dtype=torch.float64))
    >>> x = np.random.default_rng(0).normal(size=(20, 4))
    >>> fills = {"zero": ta.baselines.Constant(0.0), "mean": ta.baselines.Mean(over="dim_1")}
    >>> tb = ta.compare(f, x, {"IG": ta.IntegratedGradients()}, fills=fills)
    >>> [label.get_text() for label in ta.plot.matrix(tb).axes[0].get_xticklabels()]
    ['zero', 'mean', 'score']
    """
    check_comparison(table, measure, ranking)
    if "fill" not in table[measure].dims:
        raise ValueError(f"{measure!r} knows no fills; draw it with tsattr.plot.ranking")
    standing = Standing(table, measure, ranking)
    order, control = standing.order, standing.control
    order = np.concatenate([order[~control[order]], order[control[order]]])
    cells = mean_over(table[measure], ranking, ("method", "fill")).values[order]
    own = table["own_fill"].transpose("method", "fill").values.astype(bool)
    out, own = left_out(own)[order], own[order]
    score = table["score"].sel(measure=measure, ranking=ranking).values[order]
    n, fills = cells.shape
    if ax is None:
        ax = (figure or shade.new_figure(2.6 + 1.15 * (fills + 1), 1.5 + 0.34 * max(n, 3))).subplots()
    _heat(ax, cells, score, lower=_direction(table, measure) == "lower")
    for i, j in np.argwhere(own):
        box = Rectangle((j - 0.5, i - 0.5), 1, 1, fill=False, hatch="////", ec="white", lw=0, alpha=0.75)
        ax.add_patch(box)
    if control.any() and not control.all():
        ax.axhline(n - control.sum() - 0.5, color=shade.INK, lw=0.8)
    ax.axvline(fills - 0.5, color="white", lw=5)
    names = [wrapped(v, 14) for v in table["fill"].values]
    ax.set_xticks(range(fills + 1), [*names, "score"], fontsize=9)
    ax.set_yticks(range(n), [wrapped(v) for v in table["method"].values[order]], fontsize=9)
    ax.tick_params(length=0, labeltop=True, labelbottom=False)
    ax.spines[:].set_visible(False)
    ax.set_xlabel("\n".join(_footer(table, measure, ranking, cells, own, out)), fontsize=8, loc="left", labelpad=8)
    return cast(Figure, ax.figure)


def _heat(ax: Axes, cells: np.ndarray, score: np.ndarray, lower: bool) -> None:
    """Draw the cells coloured and with their values, and the scores as an uncoloured last column."""
    known = cells[np.isfinite(cells)]
    signed = known.size > 0 and known.min() < 0 < known.max()
    low, high = (float(known.min()), float(known.max())) if known.size else (0.0, 1.0)
    if signed:
        high = max(-low, high)
        low = -high
    colours = shade.SIGNED if signed else _BETTER.reversed() if lower else _BETTER
    shown = np.column_stack([cells, np.full(len(cells), np.nan)])
    high = high if high > low else low + 1
    ax.imshow(np.ma.masked_invalid(shown), cmap=colours, vmin=low, vmax=high, aspect="auto")
    digits = max(0, 2 - int(np.floor(np.log10(np.abs(known).max(initial=0) or 1))))
    halo = [withStroke(linewidth=2.2, foreground="white")]  # numbers are read on any colour, also over hatching
    for (i, j), value in np.ndenumerate(np.column_stack([cells, score])):
        text = "–" if np.isnan(value) else f"{value:.{digits}f}".replace("-", "−")
        weight = "bold" if j == cells.shape[1] else "normal"
        ax.text(j, i, text, ha="center", va="center", fontsize=8.5, weight=weight, color=shade.INK, path_effects=halo)


def _footer(
    table: xr.Dataset, measure: str, ranking: str, cells: np.ndarray, own: np.ndarray, out: np.ndarray
) -> list[str]:
    """Return the lines below the matrix: the measure, the colours, and what hatching means."""
    signed = (cells < 0).any() and (cells > 0).any()
    lines = [_axis_text(table, measure, ranking), "orange above 0, blue below" if signed else "darker is better"]
    if out.any():
        lines.append("hatched: a fill of the method's own kind, left out of its score")
    elif own.any():
        lines.append("hatched: a fill of the method's own kind; too few others to leave it out")
    return lines


def check_comparison(table: xr.Dataset, measure: str | None, ranking: str | None) -> None:
    """Raise unless `table` is a comparison that has this measure and ranking."""
    if not isinstance(table, xr.Dataset):
        raise TypeError(f"table must be the xarray.Dataset that compare returns, got {type(table).__name__}")
    missing = [name for name in ("score", "difference", "distinguishable", "control") if name not in table]
    if missing:
        raise ValueError(f"table lacks {missing}; give what tsattr.compare returned, as it returned it")
    for dim, value in (("measure", measure), ("ranking", ranking)):
        known = [str(v) for v in table[dim].values]
        if value is not None and value not in known:
            raise ValueError(f"{dim} is one of {known}, got {value!r}")


def ranked(values: xr.DataArray, ranking: str) -> xr.DataArray:
    """Return the values under one ranking, averaged over targets."""
    values = values.sel(ranking=ranking) if "ranking" in values.dims else values
    return values.mean("target") if "target" in values.dims else values


def mean_over(values: xr.DataArray, ranking: str, keep: tuple[str, ...]) -> xr.DataArray:
    """Return the values under one ranking, averaged over all dims but `keep`."""
    values = ranked(values, ranking)
    return values.mean([d for d in values.dims if d not in keep]).transpose(*keep)


def _direction(table: xr.Dataset, measure: str) -> str:
    return str(table["better"].sel(measure=measure).values)


def _axis_text(table: xr.Dataset, measure: str, ranking: str) -> str:
    """Return the axis text of a score: its name, meaning, ranking and better direction."""
    meaning = table[measure].attrs.get("long_name")
    name = measure.replace("_", " ") + (f" ({meaning})" if meaning else "")
    return f"{name}, {ranking} ranking: {_direction(table, measure)} is better"


def wrapped(value: object, width: int = 30) -> str:
    """Return a name broken into lines of at most `width` characters."""
    return "\n".join(textwrap.wrap(str(value), width)) or str(value)
