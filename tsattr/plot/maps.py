"""Pictures of one map: over a trace, over a field, and summed to bars."""

from __future__ import annotations

from collections.abc import Hashable
from typing import cast

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..core.cf import direction, role
from ..core.indexing import is_dates
from . import shade
from .standing import wrapped

_LONG = 10_000  # cells from which on a picture is too narrow for the line between them


@shade.literal_text
def trace(
    signal: xr.DataArray,
    attribution: xr.DataArray | None = None,
    *,
    dim: str = "time",
    truth: xr.DataArray | None = None,
    limit: float | None = None,
    title: str | None = None,
    figure: Figure | None = None,
    ax: Axes | None = None,
) -> Figure:
    """Draw one sample's signal with its attribution as a band of colour behind the line.

    Of more than 10,000 cells the range of the values is drawn where a line would be a blot, and the band lies below it.

    Parameters
    ----------
    signal : DataArray
        Dims `dim`, or one more (lead, feature), whose entries are drawn one below the other. NaN is a gap, a value between two
        gaps a point. Units are those of the coordinate or attribute ``units``.
    attribution : DataArray, optional
        Same dims. Orange speaks for the target, blue against; NaN has no band.
    truth : DataArray, optional
        True where attribution is known to belong; drawn as a black bar along the bottom.
    limit : float, optional
        Value at which the colours saturate, the same for all rows; by default the 99th percentile of abs(attribution),
        which the colour bar states together with the share of cells beyond it.
    figure, ax : Figure or Axes, optional
        To draw on; an `ax` takes one row only.

    Returns
    -------
    Figure

    Raises
    ------
    ValueError
        If there are several samples or targets, or the signal and the attribution are labelled differently.

    Examples
    --------
    >>> import xarray as xr
    >>> x = xr.DataArray([0.0, 1.0, 0.0], dims="time", coords={"time": [0.0, 0.1, 0.2]})
    >>> [axes.get_xlabel() for axes in trace(x, 2 * x).axes]
    ['time [s]', 'attribution [units of the target]: orange for the target, blue against it']
    """
    rows_dim = [d for d in signal.dims if d != dim and d not in ("sample", "target")][:1]
    keep = (*rows_dim, dim)
    signal = shade.squeezed(signal, keep, "signal")
    if dim not in signal.dims:
        raise ValueError(f"the signal has no dim {dim!r}; it has {signal.dims}: name the one to draw along with dim=")
    attribution, truth = (
        None if a is None else shade.aligned(signal, shade.squeezed(a, keep, name), name)
        for a, name in ((attribution, "attribution"), (truth, "truth"))
    )
    names = [str(v) for v in signal[rows_dim[0]].values] if rows_dim else [str(signal.name or "")]
    if ax is not None and len(names) > 1:
        raise ValueError(
            f"one ax holds one row, the signal has {len(names)} along {rows_dim[0]!r}; give a figure instead"
        )
    axes = [ax] if ax is not None else _stacked(figure, len(names), height=1.0 + max(1.6, 0.85 * len(names) + 0.6))
    scale = 1.0 if attribution is None else shade.colour_limit(attribution, limit)
    values = shade.axis_values(signal, dim)
    edges = shade.cell_edges(values)
    units = np.broadcast_to(signal.coords.get("units", signal.attrs.get("units", "")), len(names))
    for i, (name, row) in enumerate(zip(names, axes)):
        y = signal.values.reshape(len(names), -1)[i].astype(float)
        low, high = shade.padded_limits(y)
        band = low, high
        if long := len(y) > _LONG:
            shade.draw_envelope(row, edges, y)
            band = low - 0.3 * (high - low), low  # beside the trace, which would hide what is behind it
        else:
            shade.draw_series(row, values, y, lw=0.9)
        if attribution is not None:
            cells = attribution.values.reshape(len(names), -1)[i]
            mesh = shade.colour_band(row, edges, cells, *band, scale, zorder=0.5)
            low = band[0] if long else low
        if truth is not None:
            shade.truth_bar(
                row, edges, truth.values.reshape(len(names), -1)[i], 0, 0.06, transform=row.get_xaxis_transform()
            )
        row.set(xlim=(edges[0], edges[-1]), ylim=(low, high))
        row.set_ylabel(shade.series_label(name, str(units[i])), rotation=0, ha="right", va="center", fontsize=9)
        shade.despine(row)
        if row is not axes[-1]:
            row.tick_params(labelbottom=False)
    axes[-1].set_xlabel(shade.axis_label(signal, dim))
    _heading(axes[0], title, truth is not None)
    if attribution is not None:
        shade.colour_bar(
            axes[0].figure, mesh, attribution, scale, ax=list(axes), pad=0.02, fraction=0.06, aspect=60, shrink=0.6
        )
    return cast(Figure, axes[0].figure)


@shade.literal_text
def field(
    attribution: xr.DataArray,
    signal: xr.DataArray | None = None,
    *,
    truth: xr.DataArray | None = None,
    limit: float | None = None,
    most: int = 6,
    title: str | None = None,
    figure: Figure | None = None,
) -> Figure:
    """Draw attribution over two dims as a heat map, with the signal as contour lines.

    Parameters
    ----------
    attribution : DataArray
        One sample; latitude and longitude are known by name or attributes (CF), else the last two dims are drawn. Entries along
        any other dims get a panel each, the `most` with the largest sums of abs(attribution), above 0, where there are more.
        Cells without a value are grey.
    signal : DataArray, optional
        Same dims; five contour lines, where both dims of the map are numbers.
    truth : DataArray, optional
        Same dims, boolean; outlined in black.
    limit : float, optional
        Value at which the colours saturate, one for all panels; by default the 99th percentile of abs(attribution).

    Returns
    -------
    Figure

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> a = xr.DataArray(np.eye(4), dims=("lat", "lon"))
    >>> len(field(a).axes)  # the map and its colour bar
    2
    """
    attribution = attribution.squeeze([d for d in attribution.dims if attribution.sizes[d] == 1 and d == "sample"])
    if attribution.ndim < 2:
        raise ValueError(f"a field has at least two dims, got {attribution.dims}; use plot.trace or plot.bars")
    y, x = map_dims(attribution)
    panels = _panels(attribution, (y, x), most)
    scale = shade.colour_limit(attribution, limit)
    columns = 2 if len(panels) == 4 else min(len(panels), 3)
    rows = -(-len(panels) // columns)
    figure = figure or shade.new_figure(4.2 * columns + 1.5 * (columns == 1), 3.1 * rows + 1.1)
    grid = np.ravel(figure.subplots(rows, columns, squeeze=False))
    for ax in grid[len(panels) :]:
        ax.set_axis_off()
    for ax, (name, where) in zip(grid, panels.items()):
        part = attribution.isel(where).transpose(y, x)
        across, up = shade.axis_values(part, x), shade.axis_values(part, y)
        values = np.ma.masked_invalid(part.values.astype(float))
        edges = shade.cell_edges(across), shade.cell_edges(up)
        if values.mask.any():
            shade.draw_missing(ax, edges, part.values.astype(float))
        mesh = ax.pcolormesh(*edges, values, cmap=shade.SIGNED, vmin=-scale, vmax=scale)
        if signal is not None and min(part.shape) > 1 and not names_along(part):
            below = signal.squeeze(drop=True) if set(signal.dims) - set(attribution.dims) else signal
            if lacking := {y, x} - set(below.dims):
                raise ValueError(
                    f"the signal has no dim {min(map(str, lacking))!r}, which the map has, but {list(signal.dims)}; leave it out, or "
                    "choose one entry of the attribution"
                )
            behind = (
                below.isel({dim: i for dim, i in where.items() if dim in below.dims})
                .transpose(y, x)
                .values.astype(float)
            )
            if np.nanmin(behind) < np.nanmax(behind):
                lines = ax.contour(across, up, behind, levels=5, colors="#555555", linewidths=0.6)
                ax.clabel(lines, fontsize=6)
        if truth is not None:
            inside = truth.squeeze(drop=True) if set(truth.dims) - set(attribution.dims) else truth
            wanted = {dim: i for dim, i in where.items() if dim in inside.dims}
            _outline(ax, *edges, inside.isel(wanted).transpose(y, x).values.astype(bool))
        ax.set(xlabel=shade.axis_label(part, x), ylabel=shade.axis_label(part, y))
        for dim in names_along(part):
            ticks, turn = (ax.set_xticks, {"rotation": 90}) if dim == x else (ax.set_yticks, {})
            ticks(range(part.sizes[dim]), [wrapped(str(v)) for v in part[dim].values], fontsize=8, **turn)
        ax.set_title(name, fontsize=9, loc="left")
        shade.despine(ax)
    _heading(grid[0], title, truth is not None, clash=len(panels) > 1)
    shade.colour_bar(figure, mesh, attribution, scale, ax=list(grid), pad=0.03, fraction=0.05, aspect=50, shrink=0.8)
    return figure


@shade.literal_text
def bars(
    values: xr.DataArray | xr.Dataset,
    error: xr.DataArray | None = None,
    *,
    most: int = 30,
    sort: bool | None = None,
    label: str | None = None,
    title: str | None = None,
    figure: Figure | None = None,
) -> Figure:
    """Draw sums of attribution over one dim (leads, waves, groups, columns) as bars.

    Parameters
    ----------
    values : DataArray or Dataset
        One dim. A Dataset with `signed` and `absolute` gets a panel for each: signed sums cancel over a wave with an
        upstroke and a downstroke, absolute ones do not.
    error : DataArray, optional
        Standard error of the signed values, drawn as whiskers.
    most : int
        With more entries than this, those with the largest values are shown, and the axis says so.
    sort : bool, optional
        Whether the largest come first. By default where the dim holds columns of a table ("feature", "variable"), which have
        no order of their own.
    label : str, optional
        What the values are, if not "signed sum" and "absolute sum".

    Returns
    -------
    Figure

    Raises
    ------
    ValueError
        If there is more than one dim, or a Dataset has neither variable.

    Examples
    --------
    >>> import xarray as xr
    >>> a = xr.DataArray([1.0, -2.0], dims="lead", coords={"lead": ["I", "II"]}, attrs={"units": "logit"})
    >>> bars(a).axes[0].get_xlabel()
    'signed sum [logit]'
    """
    table = values.to_dataset(name="signed") if isinstance(values, xr.DataArray) else values
    shown = [name for name in ("signed", "absolute") if name in table]
    if not shown:
        raise ValueError(f"bars needs variables 'signed' or 'absolute', got {list(table.data_vars)}")
    if len(table[shown[0]].dims) != 1:
        raise ValueError(f"bars needs one dim, got {table[shown[0]].dims}; sum over the others or choose with .isel")
    dim = table[shown[0]].dims[0]
    strength = np.abs(table[shown[-1]].values)
    kept = np.argsort(-np.nan_to_num(strength), kind="stable")[:most]
    kept = kept if (dim in ("feature", "variable") if sort is None else sort) else np.sort(kept)
    table = table.isel({dim: kept})
    n = len(kept)
    names = [str(v) for v in table[dim].values] if dim in table.coords else [str(i) for i in kept]
    figure = figure or shade.new_figure(3.8 * len(shown) + 1.4, 1.0 + 0.27 * max(n, 3))
    axes = figure.subplots(1, len(shown), sharey=True, squeeze=False)[0]
    for ax, kind in zip(axes, shown):
        heights = table[kind].values.astype(float)
        signed = np.where(heights < 0, shade.NEGATIVE, shade.POSITIVE)
        colours = list(signed) if kind == "signed" else shade.NEUTRAL
        ax.barh(np.arange(n), heights, color=colours, height=0.72)
        if kind == "signed":
            ax.axvline(0, color=shade.INK, lw=0.8)
            if error is not None:
                width = error.isel({dim: kept}).values.astype(float)
                ax.errorbar(heights, np.arange(n), xerr=width, fmt="none", ecolor=shade.INK, elinewidth=0.9, capsize=2)
        units = table[kind].attrs.get("units") or values.attrs.get("units") or "units of the target"
        ax.set_xlabel(f"{label or kind + ' sum'} [{units}]", fontsize=9)
        shade.despine(ax)
    axes[0].set_yticks(np.arange(n), names, fontsize=9)
    axes[0].invert_yaxis()
    axes[0].set_ylabel(f"{dim}, {n} largest of {len(strength)}" if n < len(strength) else str(dim))
    _heading(axes[0], title, False)
    return figure


def _stacked(figure: Figure | None, rows: int, height: float) -> list[Axes]:
    figure = figure or shade.new_figure(10, height)
    return list(figure.subplots(rows, 1, sharex=True, squeeze=False)[:, 0])


def _heading(ax: Axes, title: str | None, truth: bool, clash: bool = False) -> None:
    if title and clash:
        ax.figure.suptitle(title, fontsize=11, weight="bold", x=0.01, ha="left")
    elif title:
        ax.set_title(title, loc="left", fontsize=11, weight="bold")
    if truth:
        ax.set_title("black: known truth", loc="right", fontsize=8)


def _panels(array: xr.DataArray, inside: tuple[Hashable, ...], most: int) -> dict[str, dict[Hashable, int]]:
    """Return, by title, the positions along the other dims of the `most` strongest maps, in their own order."""
    outside = [d for d in array.dims if d not in inside]
    if not outside:
        return {"": {}}
    strength = abs(array).sum(inside)
    order = np.argsort(-strength.values.ravel(), kind="stable")
    some = max(1, min(most, int((strength > 0).sum()))) if strength.size > most else most
    best = np.sort(order[:some])
    places = [dict(zip(strength.dims, np.unravel_index(i, strength.shape))) for i in best]
    return {
        ", ".join(f"{d}: {array[d].values[i] if d in array.coords else i}" for d, i in place.items()): place
        for place in places
    }


def _outline(ax: Axes, x_edges: np.ndarray, y_edges: np.ndarray, inside: np.ndarray) -> None:
    """Draw the border of the True cells along cell edges."""
    padded = np.pad(inside, 1)
    for j, i in zip(*np.nonzero(padded[1:-1, 1:] != padded[1:-1, :-1])):
        ax.plot([x_edges[i]] * 2, y_edges[[j, j + 1]], color=shade.INK, lw=1.4)
    for j, i in zip(*np.nonzero(padded[1:, 1:-1] != padded[:-1, 1:-1])):
        ax.plot(x_edges[[i, i + 1]], [y_edges[j]] * 2, color=shade.INK, lw=1.4)


def names_along(array: xr.DataArray) -> list[Hashable]:
    """Return the dims whose entries have names: bands, leads, columns. Nothing lies between two of them."""
    return [
        d for d in array.dims if d in array.coords and array[d].dtype.kind in "UO" and not is_dates(array[d].values)
    ]


def map_dims(array: xr.DataArray) -> tuple[Hashable, Hashable]:
    """Return the dims of a map, upward and across: the first latitude and longitude, else what runs so (CF), else the last two."""
    what = {role(d, array[d].attrs) or direction(d, array[d].attrs): d for d in reversed(array.dims)}
    y, x = what.get("latitude", what.get("Y")), what.get("longitude", what.get("X"))
    return (y, x) if y is not None and x is not None else (array.dims[-2], array.dims[-1])
