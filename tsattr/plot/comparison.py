"""Pictures of several maps side by side, and of how they score against known truth."""

from __future__ import annotations

import textwrap
from collections.abc import Hashable

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..metrics import spearman
from . import shade
from .maps import map_dims


def agreement(attribution: xr.DataArray, dim: str | None = None, *, signed: bool | None = None) -> xr.DataArray:
    """Return the Spearman rank correlation between maps along `dim`: 1 where they rank all cells alike.

    Parameters
    ----------
    attribution : DataArray
        Maps along `dim` ("method" or "baseline" by default); all other dims are cells. Cells missing in either
        map of a pair are left out; a pair in which one map is constant gives NaN.
    signed : bool, optional
        Whether to rank signed values or sizes. By default signed, unless some map has no negative values at all.

    Returns
    -------
    DataArray
        Dims `dim` and `dim`_other; `attrs["signed"]` says which was ranked.

    Examples
    --------
    >>> import xarray as xr
    >>> a = xr.DataArray([[1.0, 2.0, -3.0], [2.0, 4.0, -9.0]], dims=("method", "time"))
    >>> float(agreement(a)[0, 1])
    1.0
    """
    dim = _compared_dim(attribution, dim)
    maps = attribution.transpose(dim, ...).values.reshape(attribution.sizes[dim], -1).astype(float)
    if signed is None:
        signed = bool(all((row[np.isfinite(row)] < 0).any() for row in maps))
    maps = np.where(np.isfinite(maps), maps, np.nan)
    matrix = np.array([spearman(np.broadcast_to(a, maps.shape), maps, signed=signed) for a in maps])
    labels = {dim: attribution[dim].values, f"{dim}_other": attribution[dim].values}
    return xr.DataArray(matrix, dims=tuple(labels), coords=labels, attrs={"signed": int(signed)}, name="agreement")


@shade.literal_text
def baselines(
    attribution: xr.DataArray,
    signal: xr.DataArray,
    *,
    dim: str | None = None,
    lead: Hashable | None = None,
    truth: xr.DataArray | None = None,
    title: str | None = None,
    figure: Figure | None = None,
) -> Figure:
    """Compare methods or baselines on one sample: a map for each, and how far they agree in rank.

    Parameters
    ----------
    attribution : DataArray
        One sample, with a dim `dim` ("method" or "baseline") of maps.
    signal : DataArray
        The input, without `dim`.
    lead : label, optional
        Which lead to draw; without it, sums of abs(attribution) over leads, behind the lead where they are largest.
    truth : DataArray, optional
        Like `signal`, True where attribution is known to belong; summed over leads, where it is True in any.

    Returns
    -------
    Figure

    Notes
    -----
    Methods speak in different amounts (occlusion gives each cell its window's whole effect), so every map has its own
    colour scale, by the same rule: the 99th percentile of its absolute values, written above it. The matrix is
    `agreement` over all cells and all leads.

    Examples
    --------
    >>> import xarray as xr
    >>> x = xr.DataArray([0.0, 1.0, 0.0], dims="time", coords={"time": [0.0, 0.1, 0.2]})
    >>> a = xr.concat([x, -x], "method").assign_coords(method=["one", "other"])
    >>> [axes.get_title(loc="left") for axes in baselines(a, x).axes[:2]]
    ['1  one   (colours to ±1)', '2  other   (colours to ±1)']
    """
    dim = _compared_dim(attribution, dim)
    keep = [dim, *[d for d in attribution.dims if d not in (dim, "sample", "target")]]
    attribution = shade.squeezed(attribution, keep, "attribution")
    cells = attribution.dims[1:]
    signal = shade.squeezed(signal, cells, "signal")
    if truth is not None:
        truth = shade.squeezed(truth, cells, "truth")
    correlation = agreement(attribution, dim)
    if "time" in cells:
        maps, signal, truth, what = _one_lead(attribution, signal, truth, lead)
    else:
        maps, what = attribution, "signed attribution"
    names = [str(v) for v in attribution[dim].values]
    n, tall = len(names), 1.0 if "time" in cells else 1.3 if len(cells) == 1 else 2.0
    coloured = "time" in cells or len(cells) > 1
    figure = figure or shade.new_figure(11.5, max(3.4, 1.0 + tall * n))
    grid = figure.add_gridspec(n, 2, width_ratios=(2.4, 1))
    axes: list[Axes] = []
    for i, name in enumerate(names):
        ax = figure.add_subplot(grid[i, 0], sharex=axes[0] if axes else None)
        part = maps.isel({dim: i})
        scale = shade.symmetric_limit(part)
        _draw_map(ax, part, signal, truth, scale)
        colours = f"   (colours to ±{scale:.2g})" if coloured else ""
        ax.set_title(f"{i + 1}  {name}{colours}", loc="left", fontsize=9)
        if i < n - 1:
            ax.tick_params(labelbottom=False)
            ax.set_xlabel("")
        axes.append(ax)
    panel = figure.add_subplot(grid[:, 1])
    _matrix(panel, correlation)
    foot = f"{what}; each map has its own " + ("colours, cut at its 99th percentile" if coloured else "scale")
    figure.supxlabel(foot + ("; black bar: known truth" if truth is not None else ""), fontsize=8)
    if title:
        figure.suptitle(title, fontsize=11, weight="bold", x=0.01, ha="left")
    return figure


@shade.literal_text
def scores(
    table: xr.Dataset, *, names: list[str] | None = None, chance: dict[str, float] | None = None, most: int = 4
) -> Figure:
    """Draw the ranking of methods against the known truth, best on top, with the level of chance.

    Parameters
    ----------
    table : Dataset
        Variables are scores, higher is better, with dims method and perhaps sample (drawn as dots, the mean as a bar).
    names : list of str, optional
        Which variables to draw; by default the first `most` that have a dim `method`.
    chance : dict, optional
        Level of chance of each score; by default a variable `<name>_chance`, else `attrs["chance"]` of the score.

    Returns
    -------
    Figure
        Every panel is in the order of the first score.

    Raises
    ------
    ValueError
        If no variable has a dim `method`.

    Examples
    --------
    >>> import xarray as xr
    >>> t = xr.Dataset({"auprc": ("method", [0.2, 0.9])}, coords={"method": ["a", "b"]})
    >>> [label.get_text() for label in scores(t, chance={"auprc": 0.1}).axes[0].get_yticklabels()]
    ['b', 'a']
    """
    names = score_names(table)[:most] if names is None else names
    if not names:
        raise ValueError(
            f"scores needs a numeric variable with a dim 'method', got {dict(table.sizes)}; see ta.compare"
        )
    means = {name: table[name].mean([d for d in table[name].dims if d != "method"]) for name in names}
    order = np.argsort(-np.nan_to_num(means[names[0]].values, nan=-np.inf), kind="stable")
    n = len(order)
    figure = shade.new_figure(2.8 + 2.9 * len(names), 1.1 + 0.34 * max(n, 3))
    axes = figure.subplots(1, len(names), sharey=True, squeeze=False)[0]
    for ax, name in zip(axes, names):
        score = table[name].transpose("method", ...).isel(method=order)
        ax.barh(np.arange(n), means[name].values[order].astype(float), color="#c9c9c9", height=0.7)
        dots = score.values.reshape(n, -1).astype(float)
        if dots.shape[1] > 1:
            spread = np.linspace(-0.22, 0.22, dots.shape[1])
            ax.plot(
                dots.ravel(),
                (np.arange(n)[:, None] + spread).ravel(),
                ".",
                color=shade.INK,
                ms=3.5,
                alpha=0.6,
                clip_on=False,
            )
        level = chance_level(table, name, chance)
        if level is not None:
            ax.axvline(level, color=shade.POSITIVE, lw=1.4, ls="--")
            ax.set_title(f"chance {level:.3g}", color=shade.POSITIVE, fontsize=8, loc="right")
        ax.set_xlabel(str(table[name].attrs.get("long_name", name)), fontsize=9)
        shade.despine(ax)
    labels = [str(v) for v in table.method.values[order]] if "method" in table.coords else [str(i) for i in order]
    axes[0].set_yticks(np.arange(n), ["\n".join(textwrap.wrap(v, 30)) for v in labels], fontsize=9)
    axes[0].invert_yaxis()
    return figure


def score_names(table: xr.Dataset) -> list[str]:
    """Return the numeric variables with a dim "method" that are not levels of chance."""
    return [
        str(n) for n in table if "method" in table[n].dims and table[n].dtype.kind in "biuf" and "chance" not in str(n)
    ]


def chance_level(table: xr.Dataset, name: str, chance: dict[str, float] | None = None) -> float | None:
    """Return the level of chance of the score `name`, averaged over all it varies with; None where it is not known."""
    if chance and name in chance:
        return float(chance[name])
    if f"{name}_chance" in table:
        return float(table[f"{name}_chance"].mean())
    level = table[name].attrs.get("chance")
    return None if level is None else float(level)


def _compared_dim(attribution: xr.DataArray, dim: str | None) -> str:
    found = [d for d in ((dim,) if dim else ("method", "baseline")) if d in attribution.dims]
    if not found:
        wanted = repr(dim) if dim else "'method' or 'baseline'"
        raise ValueError(
            f"a comparison needs a dim {wanted}, attribution has {attribution.dims}; join maps by xr.concat"
        )
    return found[0]


def _one_lead(
    attribution: xr.DataArray, signal: xr.DataArray, truth: xr.DataArray | None, lead: Hashable | None
) -> tuple[xr.DataArray, xr.DataArray, xr.DataArray | None, str]:
    """Return maps, signal and truth along time, and what they are: of `lead`, else absolute sums over all leads."""
    others = [d for d in signal.dims if d != "time"]
    if not others:
        return attribution, signal, truth, "signed attribution"
    across = others[0]
    if lead is not None:
        at = {across: lead}
        mark = None if truth is None else truth.sel(at)
        return attribution.sel(at), signal.sel(at), mark, f"signed attribution of {across} {lead}"
    size = abs(attribution)
    strongest = size.sum([d for d in size.dims if d not in others]).argmax(others)
    line = signal.isel(strongest)
    mark = truth.any(others) if truth is not None else None
    name = line[across].item() if across in line.coords else int(strongest[across])
    what = f"absolute attribution summed over {' and '.join(map(str, others))}; line: {across} {name}, the strongest"
    return size.sum(others, min_count=1), line, mark, what


def _draw_map(ax: Axes, part: xr.DataArray, signal: xr.DataArray, truth: xr.DataArray | None, scale: float) -> None:
    """Draw one map of a comparison: along time as a band, else bars for one dim and a heat map for several."""
    if part.dims == ("time",):
        edges = shade.cell_edges(shade.axis_values(part, "time"))
        low, high = shade.padded_limits(signal.values.astype(float))
        shade.colour_band(ax, edges, part.values, low, high, scale, zorder=0.5)
        shade.draw_series(ax, shade.axis_values(part, "time"), signal.values.astype(float), lw=0.8)
        if truth is not None:
            shade.truth_bar(ax, edges, truth.values, 0, 0.06, transform=ax.get_xaxis_transform())
        ax.set(xlim=(edges[0], edges[-1]), ylim=(low, high), yticks=[], xlabel=shade.axis_label(part, "time"))
    elif part.ndim == 1:
        colours = list(np.where(part.values < 0, shade.NEGATIVE, shade.POSITIVE))
        ax.bar(np.arange(part.size), part.values, color=colours)
        ax.axhline(0, color=shade.INK, lw=0.6)
        names = [str(v) for v in part[part.dims[0]].values] if part.dims[0] in part.coords else []
        if 0 < len(names) <= 30:
            ax.set_xticks(np.arange(part.size), names, rotation=40, ha="right", rotation_mode="anchor")
    else:
        y, x = map_dims(part)
        part = part if part.ndim == 2 else abs(part).sum([d for d in part.dims if d not in (y, x)])
        part = part.transpose(y, x)
        across, up = (shade.cell_edges(shade.axis_values(part, d)) for d in (x, y))
        values = np.ma.masked_invalid(part.values.astype(float))
        ax.pcolormesh(across, up, values, cmap=shade.SIGNED, vmin=-scale, vmax=scale)
        ax.set(xlabel=shade.axis_label(part, x), ylabel=shade.axis_label(part, y))
    shade.despine(ax)


def _matrix(ax: Axes, correlation: xr.DataArray) -> None:
    n = correlation.shape[0]
    ax.imshow(np.ma.masked_invalid(correlation.values), cmap=shade.SIGNED, vmin=-1, vmax=1)
    for i in range(n):
        for j in range(n):
            value = correlation.values[i, j]
            text = "–" if np.isnan(value) else f"{value:.2f}"
            strong = np.isfinite(value) and abs(value) > 0.75
            ax.text(
                j, i, text, ha="center", va="center", fontsize=8 if n < 9 else 6, color="white" if strong else shade.INK
            )
    labels = [str(i + 1) for i in range(n)]
    ax.set_xticks(range(n), labels)
    ax.set_yticks(range(n), labels)
    what = "signed values" if correlation.attrs["signed"] else "absolute values"
    ax.set_title(f"rank agreement (Spearman)\nof {what}, all cells", fontsize=9, loc="left")
    ax.tick_params(labelsize=8, length=0)
