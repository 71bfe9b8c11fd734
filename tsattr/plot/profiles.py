"""Pictures of a study of fields: lag by distance, profiles with intervals, and skill without parts of the input."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, cast

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from . import shade
from .panels import hatch, panels

_COLOURS = (shade.POSITIVE, shade.NEGATIVE, "#1b7837", "#762a83", "#8c510a", "#01665e")


@shade.literal_text
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
    shown = list(panels(share, ("distance", lag), most))
    figure = figure or shade.new_figure(3.4 * len(shown) + 1.6, 4.2)
    grid = figure.subplots(1, len(shown), sharey=True, squeeze=False)[0]
    top = shade.colour_limit(share, limit)
    null = ds.get("mass_share_null")
    for ax, (name, where) in zip(grid, shown):
        part = share.isel(where).transpose("distance", lag)
        across, up = (shade.axis_values(part, d) for d in (lag, "distance"))
        mesh = ax.pcolormesh(
            *(shade.cell_edges(v) for v in (across, up)), part.values, cmap=shade.SIGNED, vmin=-top, vmax=top
        )
        if null is not None:
            reached = part <= null.isel({d: i for d, i in where.items() if d in null.dims}).max("member")
            hatch(ax, part, reached.transpose(*part.dims).values)
        ax.set_xlabel(shade.axis_label(part, lag))
        ax.set_title(name, fontsize=9, loc="left")
        shade.despine(ax)
    grid[0].set_ylabel("distance from the target [km]")
    label = "share of the mass" + ("; hatched: an untrained network reaches it" if null is not None else "")
    beside: dict[str, Any] = {"ax": list(grid), "pad": 0.03, "fraction": 0.05, "aspect": 50, "shrink": 0.8}
    bar = shade.colour_bar(figure, mesh, share, top, **beside)
    bar.ax.set_xlim(0, top)
    bar.set_label(label + shade.clipped_note(share, top), fontsize=8)
    if title:
        figure.suptitle(title, fontsize=11, weight="bold", x=0.01, ha="left")
    return figure


@shade.literal_text
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
    lines = list(panels(values, (along,), len(_COLOURS)))
    ax = ax or (figure or shade.new_figure(6.0, 3.6)).subplots()
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
        for colour, (_, where) in zip(_COLOURS, panels(null, (along, "member"))):
            members = null.isel(where).transpose(along, "member").values
            ax.plot(x, members, color=shade.NEUTRAL if shared else colour, lw=0.6, alpha=0.6, zorder=1)
        ax.plot([], [], color=shade.NEUTRAL, lw=0.6, label="untrained networks")
    if ax.get_legend_handles_labels()[1]:
        ax.legend(fontsize=8, frameon=False)
    ax.set(xlabel=_axis_label(ds, along), ylabel=variable.replace("_", " "), ylim=(0, None))
    ax.set_title(title or "", loc="left", fontsize=11, weight="bold")
    shade.despine(ax)
    return cast(Figure, ax.figure)


@shade.literal_text
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
    figure = figure or shade.new_figure(6.0, 1.2 + 0.36 * values.size)
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
    shade.despine(ax)
    return figure


def _variable(ds: xr.Dataset, name: str) -> xr.DataArray:
    if not isinstance(ds, xr.Dataset) or name not in ds:
        raise KeyError(
            f"no variable {name!r} to draw; there are {list(ds.data_vars) if isinstance(ds, xr.Dataset) else ds!r}"
        )
    return ds[name]


def _axis_label(ds: xr.Dataset, dim: Hashable) -> str:
    return "distance from the target [km]" if dim == "distance" else shade.axis_label(ds[dim], dim)
