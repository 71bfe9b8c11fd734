"""Pictures of a study of fields: maps, lag by distance, profiles with intervals, and skill without parts of the input."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from ..core.cf import in_radians
from ..labels.inputs import in_order_of
from . import shade
from .maps import map_dims

_COLOURS = (shade.POSITIVE, shade.NEGATIVE, "#1b7837", "#762a83", "#8c510a", "#01665e")


@shade.literal
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
    values, low, high, region = (_in_degrees(a, y, x) for a in (values, low, high, region))
    place = _longitudes(values[x].values, centre)
    named = {"low": low, "high": high, "region": region}
    low, high, region = (
        None if a is None else _rolled(_placed(a, values, (y, x), n), x, place) for n, a in named.items()
    )
    values = _rolled(values, x, place)
    panels = list(_panels(values, (y, x)))
    scale = shade.chosen_limit(values, limit)
    columns = min(columns, len(panels))
    rows = -(-len(panels) // columns)
    wide = float(np.ptp(shade.cell_edges(place[0])) / max(np.ptp(shade.cell_edges(values[y].values.astype(float))), 1))
    figure = figure or shade.figure(5.2 * columns, (0.5 + 5.0 / np.clip(wide, 1, 4)) * rows + 0.9)
    projection, transform = _projection(float(np.mean(place[0])))
    grid = np.ravel(figure.subplots(rows, columns, squeeze=False, subplot_kw=projection))
    mesh: Any = None
    for ax, (name, where) in zip(grid, panels):
        part = values.isel(where).transpose(y, x)
        mesh = _map(ax, part, scale, transform)
        if low is not None and high is not None:
            ends = (a.isel(where).transpose(y, x).values for a in (low, high))
            _hatch(ax, part, _includes_zero(*ends) & part.notnull().values, transform)
        if region is not None:
            inside = region.transpose(y, x).values.astype(float)
            ax.contour(place[0], part[y].values, inside, levels=[0.5], colors=shade.INK, linewidths=1.2, **transform)
        _degrees(ax, part, y, x)
        ax.set_title(name, fontsize=9, loc="left")
    for ax in grid[len(panels) :]:
        ax.set_axis_off()
    if title:
        figure.suptitle(title, fontsize=11, weight="bold", x=0.01, ha="left")
    signed = bool((values < 0).any())
    meaning = shade.MEANING if signed else "its size"
    where = {"ax": list(grid), "pad": 0.03, "fraction": 0.05, "aspect": 50, "shrink": 0.8}
    bar = shade.colour_bar(figure, mesh, values, scale, meaning, **where)
    if not signed:
        bar.ax.set_xlim(0, scale)
    if low is not None:
        bar.ax.set_title("hatched: the interval includes 0", fontsize=8, loc="right")
    return figure


@shade.literal
def lag_distance(
    ds: xr.Dataset,
    *,
    limit: float | None = None,
    most: int = 6,
    title: str | None = None,
    figure: Figure | None = None,
) -> Figure:
    """Draw the share of the mass by lag and distance from the target.

    Parameters
    ----------
    ds : Dataset
        Of `tsattr.climate.lag_distance`. Entries along other dims (target, condition) get a panel each, up to `most`. With a
        null, what no untrained network exceeds is left clear, the rest hatched: that much the architecture alone may make.
    limit : float, optional
        Share at which the colours saturate, one for all panels; by default the 99th percentile.

    Returns
    -------
    Figure

    Raises
    ------
    ValueError
        If `ds` has no ``mass_share`` over a lag and ``distance``, or there are too many panels.

    Examples
    --------
    >>> a = xr.DataArray([[0.75, 0.25]], dims=("lag", "distance"), coords={"lag": [-1], "distance": [250.0, 750.0]})
    >>> lag_distance(a.to_dataset(name="mass_share")).axes[0].get_ylabel()
    'distance from the target [km]'
    """
    share = _variable(ds, "mass_share")
    if "distance" not in share.dims or share.ndim < 2:
        raise ValueError(f"a panel needs mass_share over a lag and 'distance', got dims {share.dims}")
    lag = "lag" if "lag" in share.dims else next(d for d in share.dims if d != "distance")
    panels = list(_panels(share, ("distance", lag), most))
    figure = figure or shade.figure(3.4 * len(panels) + 1.6, 4.2)
    grid = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    top = shade.chosen_limit(share, limit)
    null = ds.get("mass_share_null")
    mesh: Any = None
    for ax, (name, where) in zip(grid, panels):
        part = share.isel(where).transpose("distance", lag)
        across, up = (shade.axis_values(part, d) for d in (lag, "distance"))
        mesh = ax.pcolormesh(
            *(shade.cell_edges(v) for v in (across, up)), part.values, cmap=shade.SIGNED, vmin=-top, vmax=top
        )
        if null is not None:
            reached = part <= null.isel({d: i for d, i in where.items() if d in null.dims}).max("member")
            _hatch(ax, part, reached.transpose(*part.dims).values)
        ax.set_xlabel(shade.axis_label(part, lag))
        ax.set_title(name, fontsize=9, loc="left")
        shade.plain(ax)
    grid[0].set_ylabel("distance from the target [km]")
    label = "share of the mass" + ("; hatched: an untrained network reaches it" if null is not None else "")
    where = {"ax": list(grid), "pad": 0.03, "fraction": 0.05, "aspect": 50, "shrink": 0.8}
    bar = shade.colour_bar(figure, mesh, share, top, **where)
    bar.ax.set_xlim(0, top)
    bar.set_label(label + shade.beyond(share, top), fontsize=8)
    if title:
        figure.suptitle(title, fontsize=11, weight="bold", x=0.01, ha="left")
    return figure


@shade.literal
def profile(
    ds: xr.Dataset,
    variable: str = "mass_share",
    *,
    title: str | None = None,
    figure: Figure | None = None,
    ax: Axes | None = None,
) -> Figure:
    """Draw a radial or a lag profile: a line with its interval as a band, untrained networks thin behind it.

    Parameters
    ----------
    ds : Dataset
        Of `tsattr.climate.radial_profile` or `lag_profile`. Entries along one other dim (target, condition) get a line each.
    variable : str
        ``mass_share`` (dashed beside it: the share of the area, where there is one) or ``density`` (dashed: a uniform map).

    Returns
    -------
    Figure

    Raises
    ------
    KeyError, ValueError
        If there is no such variable, or it is no profile; more than one other dim; more than six lines.

    Examples
    --------
    >>> a = xr.DataArray([0.7, 0.3], dims="lag", coords={"lag": [-2, -1]})
    >>> profile(a.to_dataset(name="mass_share")).axes[0].get_xlabel()
    'lag'
    """
    values = _variable(ds, variable)
    along = next((d for d in ("distance", "lag", *values.dims) if d in values.dims), None)
    others = [d for d in values.dims if d != along]
    if along is None or len(others) > 1:
        raise ValueError(
            f"a profile has one dim and at most one other, {variable!r} has {values.dims}; choose with .isel"
        )
    lines = list(_panels(values, (along,), len(_COLOURS)))
    ax = ax or (figure or shade.figure(6.0, 3.6)).subplots()
    x = shade.axis_values(values, along)
    for colour, (name, where) in zip(_COLOURS, lines):

        def of(end: str, where: Any = where) -> Any:
            found = ds.get(variable + end)
            return None if found is None else found.isel({d: i for d, i in where.items() if d in found.dims})

        low, high = (of(end) for end in ("_low", "_high"))
        if low is not None and high is not None:
            ax.fill_between(x, low.values, high.values, color=colour, alpha=0.25, lw=0)
        ax.plot(x, of("").values, color=colour, lw=1.6, label=name or None, marker="o" if len(x) < 40 else None, ms=3)
    if variable == "mass_share" and "area_share" in ds:
        ax.plot(x, ds["area_share"].values, color=shade.INK, ls="--", lw=1, label="share of the area")
    elif variable == "density":
        ax.axhline(1, color=shade.INK, ls="--", lw=1, label="a uniform map")
    if (null := ds.get(f"{variable}_null")) is not None:
        shared = set(null.dims) == {along, "member"}
        for colour, (_, where) in zip(_COLOURS, _panels(null, (along, "member"))):
            members = null.isel(where).transpose(along, "member").values
            ax.plot(x, members, color=shade.NEUTRAL if shared else colour, lw=0.6, alpha=0.6, zorder=1)
        ax.plot([], [], color=shade.NEUTRAL, lw=0.6, label="untrained networks")
    if ax.get_legend_handles_labels()[1]:
        ax.legend(fontsize=8, frameon=False)
    ax.set(xlabel=_axis_label(ds, along), ylabel=variable.replace("_", " "), ylim=(0, None))
    ax.set_title(title or "", loc="left", fontsize=11, weight="bold")
    shade.plain(ax)
    return ax.figure  # type: ignore[return-value]


@shade.literal
def skill(ds: xr.Dataset, score: str = "rmse", *, title: str | None = None, figure: Figure | None = None) -> Figure:
    """Draw the skill of each case of an ablation with its interval; random regions in the region's place as grey dots.

    Parameters
    ----------
    ds : Dataset
        Of `tsattr.climate.ablation`; choose one entry of other dims (a lead, a target) with ``.sel``.
    score : str
        "rmse", "acc", or their change: "rmse_change", "acc_change".

    Returns
    -------
    Figure

    Raises
    ------
    KeyError, ValueError
        If there is no such score, or it has other dims than ``case``.

    Examples
    --------
    >>> ds = xr.Dataset({"rmse": ("case", [0.5, 0.9])}, {"case": ["intact", "drop region"]})
    >>> [t.get_text() for t in skill(ds).axes[0].get_yticklabels()]
    ['intact', 'drop region']
    """
    values = _variable(ds, score)
    if values.dims != ("case",):
        raise ValueError(f"skill is drawn by case, {score!r} has dims {values.dims}; choose one with .sel")
    figure = figure or shade.figure(6.0, 1.2 + 0.36 * values.size)
    ax = figure.subplots()
    y = np.arange(values.size)
    random = ds.get(f"{score}_random")
    if random is not None:
        dots = random.transpose("case", "control").values
        label = "random regions of its area"
        ax.plot(dots, np.tile(y[:, None], dots.shape[1]), ".", color=shade.NEUTRAL, ms=4, alpha=0.6)
        ax.plot([], [], ".", color=shade.NEUTRAL, label=label)
    if f"{score}_low" in ds:
        ax.hlines(y, ds[f"{score}_low"], ds[f"{score}_high"], color=shade.POSITIVE, lw=2)
    ax.plot(values, y, "o", color=shade.POSITIVE, ms=6)
    ax.axvline(float(values[0]), color=shade.INK, lw=0.8, ls="--", label=str(values["case"].values[0]))
    ax.set_yticks(y, [str(v) for v in values["case"].values], fontsize=9)
    ax.invert_yaxis()
    units = values.attrs.get("units", "")
    ax.set_xlabel(score.replace("_", " ") + (f" [{units}]" if units not in ("", "1") else ""))
    ax.legend(fontsize=8, frameon=False)
    ax.set_title(title or "", loc="left", fontsize=11, weight="bold")
    shade.plain(ax)
    return figure


def _variable(ds: xr.Dataset, name: str) -> xr.DataArray:
    if not isinstance(ds, xr.Dataset) or name not in ds:
        raise KeyError(
            f"no variable {name!r} to draw; there are {list(ds.data_vars) if isinstance(ds, xr.Dataset) else ds!r}"
        )
    return ds[name]


def _panels(values: xr.DataArray, inside: tuple[Hashable, ...], most: int = 12) -> Iterator[tuple[str, dict]]:
    """The title and the place of each entry along the other dims."""
    outside = [d for d in values.dims if d not in inside]
    shape = [values.sizes[d] for d in outside]
    if np.prod(shape, initial=1) > most:
        raise ValueError(
            f"{dict(zip(outside, shape))} are more than the {most} that can be told apart; choose with .isel"
        )
    for at in np.ndindex(*shape):
        where = dict(zip(outside, at))
        yield ", ".join(f"{d}: {values[d].values[i] if d in values.coords else i}" for d, i in where.items()), where


def _longitudes(lon: np.ndarray, centre: float | None) -> tuple[np.ndarray, np.ndarray]:
    """Longitudes that increase without a seam inside the field, and the order that sorts them so."""
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
    """An array with its places in degrees, where they are in radians."""
    turned = {
        d: array[d].copy(data=np.rad2deg(array[d].values)).assign_attrs(units="degrees")
        for d in dims
        if array is not None and d in array.coords and in_radians(array[d].attrs)
    }
    return array.assign_coords(turned) if turned else array


def _placed(other: xr.DataArray, values: xr.DataArray, dims: tuple[Hashable, ...], name: str) -> xr.DataArray:
    """`other` on the cells of `values`, in whichever order and convention it is."""
    if lost := [d for d in dims if d not in other.indexes]:
        raise ValueError(f"{name} has dims {list(other.dims)} and needs a coordinate along {lost[0]!r}, as the map has")
    return in_order_of(values, other, name, "the map's")


def _rolled(values: xr.DataArray, dim: Hashable, place: tuple[np.ndarray, np.ndarray]) -> xr.DataArray:
    return values.isel({dim: place[1]}).assign_coords({dim: place[0]})


def _projection(centre: float) -> tuple[dict[str, Any], dict[str, Any]]:
    """How to make axes and how to draw on them: on cartopy's where it is installed."""
    try:
        from cartopy import crs
    except ImportError:
        return {}, {}
    return {"projection": crs.PlateCarree(central_longitude=centre)}, {"transform": crs.PlateCarree()}


def _map(ax: Axes, part: xr.DataArray, scale: float, transform: dict[str, Any]) -> Any:
    y, x = part.dims
    edges = [shade.cell_edges(part[d].values.astype(float)) for d in (x, y)]
    edges[1] = edges[1].clip(-90, 90)
    shade.ground(ax, edges, part.values.astype(float), **transform)
    values = np.ma.masked_invalid(part.values.astype(float))
    return ax.pcolormesh(*edges, values, cmap=shade.SIGNED, vmin=-scale, vmax=scale, **transform)


def _includes_zero(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    return (low <= 0) & (high >= 0)


def _hatch(ax: Axes, part: xr.DataArray, where: np.ndarray, transform: dict[str, Any] | None = None) -> None:
    """Hatch the cells where `where` is True, those of the border to their outer edge."""
    y, x = part.dims
    centres = [shade.axis_values(part, d).astype(float) for d in (x, y)]
    ends = [np.concatenate([shade.cell_edges(c)[:1], c, shade.cell_edges(c)[-1:]]) for c in centres]
    if where.any():
        inside = np.pad(where, 1, mode="edge").astype(float)
        lines = ax.contourf(*ends, inside, levels=[0.5, 1.5], colors="none", hatches=["/////"], **(transform or {}))
        lines.set(edgecolor="#8a8a8a", linewidth=0)


def _degrees(ax: Axes, part: xr.DataArray, y: Hashable, x: Hashable) -> None:
    """Longitudes and latitudes as degrees east, west, north and south."""
    if hasattr(ax, "gridlines"):  # cartopy's axes write them themselves
        ax.gridlines(
            draw_labels={"bottom": "x", "left": "y"}, linewidth=0.3, xlabel_style={"size": 8}, ylabel_style={"size": 8}
        )
        return
    ax.xaxis.set_major_formatter(FuncFormatter(lambda v, _: _named((v + 180) % 360 - 180, "E", "W")))
    ax.yaxis.set_major_formatter(FuncFormatter(lambda v, _: _named(v, "N", "S")))
    ax.set_aspect("equal")
    shade.plain(ax)


def _named(degrees: float, positive: str, negative: str) -> str:
    side = "" if degrees in (0, 180, -180) else positive if degrees > 0 else negative
    return f"{abs(degrees):g}°{side}"


def _axis_label(ds: xr.Dataset, dim: Hashable) -> str:
    return "distance from the target [km]" if dim == "distance" else shade.axis_label(ds[dim], dim)
