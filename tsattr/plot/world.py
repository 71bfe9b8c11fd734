"""Maps of pooled importance on the globe."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from ..core.cf import in_radians
from ..labels.alignment import in_order_of
from . import shade
from .maps import map_dims
from .panels import hatch, panels


@shade.literal_text
def world(
    values: xr.DataArray,
    low: xr.DataArray | None = None,
    high: xr.DataArray | None = None,
    *,
    region: xr.DataArray | None = None,
    centre: float | None = None,
    limit: float | None = None,
    columns: int = 2,
    title: str | None = None,
    figure: Figure | None = None,
) -> Figure:
    """Draw maps of pooled importance: one colour scale, land as land, hatched where the interval includes 0.

    Parameters
    ----------
    values : DataArray
        Latitude and longitude, by name or attributes (CF), and perhaps other dims, whose entries get a panel each. NaN is land.
    low, high : DataArray, optional
        The ends of the interval of each cell, such as ``mean_low`` and ``mean_high`` of a pool's result.
    region : DataArray, optional
        Boolean over latitude and longitude, such as the target's box; outlined.
    centre : float, optional
        The longitude in the middle, in degrees. By default a field that does not go round is drawn in one piece, whatever its
        convention, and one that does begins where its coordinate does.
    limit : float, optional
        Value at which the colours saturate; by default the 99th percentile of abs(values).
    columns : int
        Panels beside each other.

    Returns
    -------
    Figure
        On cartopy's plate carree where cartopy is installed, else on plain axes. Coastlines are the field's own.

    Raises
    ------
    ValueError
        If there is no map, too many panels, only one end of the intervals, or a region or interval of other cells. In another
        order or convention of longitudes they are matched by label.

    Examples
    --------
    >>> a = xr.DataArray([[1.0, -1.0], [0.5, np.nan]], dims=("lat", "lon"), coords={"lat": [0, 10], "lon": [350, 0]})
    >>> figure = world(a)
    >>> [round(float(v)) for v in figure.axes[0].get_xlim()]  # not torn at the seam
    [345, 365]
    """
    if (low is None) != (high is None):
        raise ValueError("an interval has two ends: give low= and high=, or neither")
    y, x = map_dims(values)
    if not {y, x} <= set(values.coords):
        raise ValueError(
            f"a map needs coordinates along {y!r} and {x!r}, it has {list(values.coords)}; give values.assign_coords(...), and a "
            "curvilinear grid cell numbers, or interpolated to a regular one"
        )
    if text := [d for d in (y, x) if values[d].dtype.kind not in "iuf"]:
        raise ValueError(
            f"a map is over numbers of degrees, and the coordinate of {text[0]!r} is {values[text[0]].dtype}; use plot.field"
        )
    values, low, high, region = (_in_degrees(a, y, x) for a in (values, low, high, region))
    longitudes = _longitudes(values[x].values, centre)
    named = {"low": low, "high": high, "region": region}
    low, high, region = (
        None if a is None else _rolled(_aligned(a, values, (y, x), n), x, longitudes) for n, a in named.items()
    )
    values = _rolled(values, x, longitudes)
    shown = list(panels(values, (y, x)))
    scale = shade.colour_limit(values, limit)
    columns = min(columns, len(shown))
    rows = -(-len(shown) // columns)
    wide = float(
        np.ptp(shade.cell_edges(longitudes[0])) / max(np.ptp(shade.cell_edges(values[y].values.astype(float))), 1)
    )
    figure = figure or shade.new_figure(5.2 * columns, (0.5 + 5.0 / np.clip(wide, 1, 4)) * rows + 0.9)
    projection, transform = _projection(float(np.mean(longitudes[0])))
    grid = np.ravel(figure.subplots(rows, columns, squeeze=False, subplot_kw=projection))
    for ax, (name, index) in zip(grid, shown):
        part = values.isel(index).transpose(y, x)
        mesh = _map(ax, part, scale, transform)
        if low is not None and high is not None:
            ends = (a.isel(index).transpose(y, x).values for a in (low, high))
            hatch(ax, part, _includes_zero(*ends) & part.notnull().values, transform)
        if region is not None:
            inside = region.transpose(y, x).values.astype(float)
            ax.contour(
                longitudes[0], part[y].values, inside, levels=[0.5], colors=shade.INK, linewidths=1.2, **transform
            )
        _degree_labels(ax, part, y, x)
        ax.set_title(name, fontsize=9, loc="left")
    for ax in grid[len(shown) :]:
        ax.set_axis_off()
    if title:
        figure.suptitle(title, fontsize=11, weight="bold", x=0.01, ha="left")
    signed = bool((values < 0).any())
    meaning = shade.MEANING if signed else "its size"
    beside: dict[str, Any] = {"ax": list(grid), "pad": 0.03, "fraction": 0.05, "aspect": 50, "shrink": 0.8}
    bar = shade.colour_bar(figure, mesh, values, scale, meaning, **beside)
    if not signed:
        bar.ax.set_xlim(0, scale)
    if low is not None:
        bar.ax.set_title("hatched: the interval includes 0", fontsize=8, loc="right")
    return figure


def _longitudes(lon: np.ndarray, centre: float | None) -> tuple[np.ndarray, np.ndarray]:
    """Return longitudes that increase without a seam inside the field, and the indices that sort the field so."""
    lon = lon.astype(float)
    around = np.sort(lon % 360)
    gaps = np.diff(around, append=around[0] + 360)
    widest = gaps.argmax()
    if centre is not None:
        start = centre - 180
    elif gaps[widest] > 1.5 * np.median(gaps):
        start = around[(widest + 1) % len(around)]
    else:
        start = lon.min()
    # A hair's breadth keeps the first longitude first, whatever its rounding.
    rolled = (lon - start + 1e-6) % 360 + start - 1e-6
    order = np.argsort(rolled)
    return rolled[order], order


def _in_degrees(array: Any, *dims: Hashable) -> Any:
    """Return the array with coordinates in degrees, converted where they are in radians; None stays None."""
    turned = {
        d: array[d].copy(data=np.rad2deg(array[d].values)).assign_attrs(units="degrees")
        for d in dims
        if array is not None and d in array.coords and in_radians(array[d].attrs)
    }
    return array.assign_coords(turned) if turned else array


def _aligned(other: xr.DataArray, values: xr.DataArray, dims: tuple[Hashable, ...], name: str) -> xr.DataArray:
    """Return `other` aligned with `values` by label, whatever its order or convention of longitudes."""
    if lost := [d for d in dims if d not in other.indexes]:
        raise ValueError(f"{name} has dims {list(other.dims)} and needs a coordinate along {lost[0]!r}, as the map has")
    aligned: xr.DataArray = in_order_of(values, other, name, "the map's")
    return aligned


def _rolled(values: xr.DataArray, dim: Hashable, longitudes: tuple[np.ndarray, np.ndarray]) -> xr.DataArray:
    return values.isel({dim: longitudes[1]}).assign_coords({dim: longitudes[0]})


def _projection(centre: float) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return keyword arguments to make axes and to draw on them: cartopy's where installed, else none."""
    try:
        from cartopy import crs
    except ImportError:
        return {}, {}
    return {"projection": crs.PlateCarree(central_longitude=centre)}, {"transform": crs.PlateCarree()}


def _map(ax: Axes, part: xr.DataArray, scale: float, transform: dict[str, Any]) -> Any:
    y, x = part.dims
    edges = [shade.cell_edges(part[d].values.astype(float)) for d in (x, y)]
    edges[1] = edges[1].clip(-90, 90)
    shade.draw_missing(ax, edges, part.values.astype(float), **transform)
    values = np.ma.masked_invalid(part.values.astype(float))
    return ax.pcolormesh(*edges, values, cmap=shade.SIGNED, vmin=-scale, vmax=scale, **transform)


def _includes_zero(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    return (low <= 0) & (high >= 0)


def _degree_labels(ax: Axes, part: xr.DataArray, y: Hashable, x: Hashable) -> None:
    """Label longitudes and latitudes as degrees east, west, north and south."""
    if hasattr(ax, "gridlines"):  # cartopy's axes write them themselves
        ax.gridlines(
            draw_labels={"bottom": "x", "left": "y"}, linewidth=0.3, xlabel_style={"size": 8}, ylabel_style={"size": 8}
        )
        return
    ax.xaxis.set_major_formatter(FuncFormatter(lambda v, _: _compass((v + 180) % 360 - 180, "E", "W")))
    ax.yaxis.set_major_formatter(FuncFormatter(lambda v, _: _compass(v, "N", "S")))
    ax.set_aspect("equal")
    shade.despine(ax)


def _compass(degrees: float, positive: str, negative: str) -> str:
    side = "" if degrees in (0, 180, -180) else positive if degrees > 0 else negative
    return f"{abs(degrees):g}°{side}"
