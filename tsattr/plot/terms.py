"""Pictures of the terms of an additive model: the shape of each feature, and what two features do together."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import cast

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from . import shade
from .curves import COLOURS
from .features import (
    Values,
    by_importance,
    checked,
    missing_share,
    name_missing,
    name_scale,
    names_of,
    one_target,
    pair_position,
    position,
    ranked_terms,
    score_units,
    small_multiples,
    wanted,
)
from .standing import label

_STRIP = 0.13  # height of the strip of densities, as a share of the axes
_TINT = 0.05
_OUTER = 0.01  # share of the data on each side that sets no scale
_MAIN, _PAIR = "#4d4d4d", "#b8b8b8"
_DATA, _BARE = "#9a9a9a", ListedColormap([(0, 0, 0, 0)])


@shade.literal
def shape(
    terms: xr.Dataset,
    feature: Hashable | Sequence[Hashable] | None = None,
    *,
    target: Hashable | None = None,
    most: int = 9,
    title: str | None = None,
    figure: Figure | None = None,
    ax: Axes | None = None,
) -> Figure:
    """Draw what each value of a feature adds to the score, f_j(x_j), with its 95 % band over a strip of the data's density.

    Parameters
    ----------
    terms : Dataset
        What `explain_global()` of an additive model returned: `value`, `shape`, `lower`, `upper`, `density` (feature, grid),
        `missing`, `kind`, `importance` (feature), scores perhaps with a dim ``target``.
    feature : str, int or sequence of them, optional
        Names, else positions. Several are drawn as small multiples on one scale; by default the most important first.
    target : label or int, optional
        One class of several; by default each class has a line.
    most : int
        Panels drawn where no features are named.
    figure, ax : Figure or Axes, optional
        To draw on; an `ax` takes one feature only.

    Returns
    -------
    Figure
        Numbers are a line, categories points with their names. A missing value has a point of its own at the right. Dotted:
        beyond the training range the contribution stays what it is at its end. Grey bars at the bottom: where the training
        data lie; the outer hundredths of them set no scale, and curves may run out of the frame there. Background: orange adds to the score, blue takes away.

    Raises
    ------
    TypeError, ValueError
        If `terms` holds no shapes, or a feature or target is not in it.

    Examples
    --------
    >>> import xarray as xr
    >>> grid = ("feature", "grid")
    >>> terms = xr.Dataset(
    ...     {"value": (grid, [[0.0, 1.0]]), "shape": (grid, [[-1.0, 1.0]]), "kind": ("feature", ["numeric"])},
    ...     {"feature": ["age"]},
    ...     {"units": "log-odds"},
    ... )
    >>> axes = shape(terms).axes[0]
    >>> axes.get_xlabel(), axes.get_ylabel()
    ('age', 'contribution [log-odds]')
    """
    terms = _along_target(one_target(checked(terms), target))
    chosen = wanted(names_of(terms, "feature"), feature, by_importance(terms)[:most])
    if ax is not None and len(chosen) > 1:
        raise ValueError(f"one ax holds one feature, {len(chosen)} are to be drawn; give a figure instead")
    axes = [ax] if ax is not None else small_multiples(figure, len(chosen))
    for panel, i in zip(axes, chosen):
        _panel(panel, terms, i)
    drawn = cast(Figure, axes[0].figure)
    low, high = _one_scale(terms.isel(feature=chosen))
    axes[0].set_ylim(low, high)  # panels of a figure share it
    for panel in axes if terms.sizes["target"] == 1 else []:
        panel.axhspan(0, high, color=shade.POSITIVE, alpha=_TINT, lw=0)
        panel.axhspan(low, 0, color=shade.NEGATIVE, alpha=_TINT, lw=0)
    name_scale(axes, f"contribution [{score_units(terms)}]", title)
    if ax is None:
        _foot(drawn, terms.isel(feature=chosen))
    return drawn


def _along_target(terms: xr.Dataset) -> xr.Dataset:
    """Return the shapes along ``target`` also where there is one, so that each panel draws lines."""
    if terms.sizes.get("target", 1) > len(COLOURS):
        raise ValueError(
            f"{terms.sizes['target']} targets are more lines than can be told apart; choose one by target="
        )
    names = [name for name in ("shape", "lower", "upper", "missing", "importance") if name in terms]
    return terms if "target" in terms.dims else terms.assign({n: terms[n].expand_dims("target") for n in names})


def _panel(ax: Axes, terms: xr.Dataset, i: int) -> None:
    """Draw one feature: a line or points for each target, the missing value, and where the data lie."""
    values, here = Values.of(terms, i), terms.isel(feature=i)
    n = terms.sizes["target"]
    if not len(values.at):
        ax.text(0.5, 0.5, "no value in training", ha="center", fontsize=8, transform=ax.transAxes)
        ax.set_xlabel(values.name, fontsize=9)
        shade.plain(ax)
        return
    border, end = _beyond(values)
    for k in range(n):
        colour = COLOURS[k] if n > 1 else shade.INK
        shift = 0.5 * ((k + 0.5) / n - 0.5) if values.levels else 0.0
        draw = _curve if values.levels is None else _points
        draw(ax, here.isel(target=k), values, colour, shift)
        if "missing" in here and np.isfinite(here["missing"].values[k]):
            ax.plot(end + shift, here["missing"].values[k], "D", color=colour, ms=5, mec="white", mew=0.6, zorder=3)
    values.name_axis(ax.xaxis)
    if "missing" in here and bool(here["missing"].notnull().any()):
        gone = missing_share(terms, i)
        name_missing(ax, border, f"missing, {100 * gone:.2g} %" if gone > 0 else "missing")
    if "density" in here:
        _strip(ax, *values.spread(here["density"].values[values.kept]))
    ax.axhline(0, color=shade.NEUTRAL, lw=0.8, zorder=1)
    shade.plain(ax)


def _beyond(values: Values) -> tuple[float, float]:
    """Return where the values end along the axis, and where a missing one is drawn."""
    last = float(values.at[-1])
    return (last + 0.5, last + 1) if values.levels else (last + 0.08 * values.span, last + 0.13 * values.span)


def _band(here: xr.Dataset, values: Values) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the shape and the ends of its band, which are the shape itself where it has none."""
    y = here["shape"].values[values.kept]
    low, high = (here[end].values[values.kept] if end in here else y for end in ("lower", "upper"))
    return y, low, high


def _points(ax: Axes, here: xr.Dataset, values: Values, colour: str, shift: float) -> None:
    """Draw a point with its bar for each level, beside those of other targets."""
    y, low, high = _band(here, values)
    ends = np.maximum([y - low, high - y], 0)
    ax.errorbar(values.at + shift, y, yerr=ends, fmt="o", color=colour, ms=4, elinewidth=1.2, capsize=4)


def _curve(ax: Axes, here: xr.Dataset, values: Values, colour: str, shift: float) -> None:
    """Draw a line with its band, and how it goes on beyond the training range."""
    y, low, high = _band(here, values)
    at = values.at + shift
    ax.fill_between(at, low, high, color=colour, alpha=0.18, lw=0)
    ax.plot(at, y, color=colour, lw=1.5, marker="o" if len(y) <= 12 else None, ms=3.5)
    for end, outward in ((0, -0.05), (-1, 0.05)):
        ax.plot([at[end], at[end] + outward * values.span], [y[end]] * 2, color=colour, lw=1.3, ls=":")


def _strip(ax: Axes, centres: np.ndarray, widths: np.ndarray, share: np.ndarray) -> None:
    """Draw the share of the data at each value as bars along the bottom."""
    height = _STRIP * share / (share.max() or 1)
    ax.bar(centres, height, widths, color=_DATA, alpha=0.7, lw=0, transform=ax.get_xaxis_transform(), zorder=0.8)


def _one_scale(terms: xr.Dataset) -> tuple[float, float]:
    """Return limits that hold the lines and bands where data lie, with room for the strip below.

    What a few outlying rows would stretch, the outer hundredths of the data, may run out of the frame.
    """
    known = terms.where(_among_data(terms)) if "density" in terms else terms
    parts = [known[name] for name in ("shape", "lower", "upper") if name in terms]
    parts += [terms["missing"]] if "missing" in terms else []
    low, high = shade.room(np.concatenate([[0.0], *[part.values.ravel() for part in parts]]))
    return low - _STRIP * (high - low), high


def _among_data(terms: xr.Dataset) -> xr.DataArray:
    """Return the grid points with a hundredth of the data on either side, or at them; all levels of a category."""
    share = terms["density"] / terms["density"].sum("grid")
    below = share.cumsum("grid")
    inner = (below >= _OUTER) & (1 - below + share >= _OUTER)
    return inner | (terms["kind"] != "numeric")


def _foot(figure: Figure, terms: xr.Dataset) -> None:
    """Say what lines, bands and bars mean, of what is drawn."""
    parts = [
        "band: 95 %" if "lower" in terms else "",
        "grey bars: where the training data lie" if "density" in terms else "",
    ]
    numeric = (terms["kind"].values == "numeric").any()
    parts.append("dotted: held constant beyond the training range" if numeric else "")
    figure.supxlabel("; ".join(filter(None, parts)), fontsize=8)
    if terms.sizes["target"] > 1:
        handles = [Line2D([], [], color=COLOURS[k], lw=1.5, marker="o", ms=4) for k in range(terms.sizes["target"])]
        figure.legend(
            handles, [str(v) for v in names_of(terms, "target")], loc="outside right upper", fontsize=8, frameon=False
        )


@shade.literal
def interaction(
    terms: xr.Dataset,
    pair: Hashable,
    *,
    target: Hashable | None = None,
    limit: float | None = None,
    title: str | None = None,
    figure: Figure | None = None,
) -> Figure:
    """Draw what two features add together beyond what each adds alone, f_ab(x_a, x_b), with the density of each beside it.

    Parameters
    ----------
    terms : Dataset
        What `explain_global()` of an additive model returned: `interaction` (pair, grid, grid_b), `value_first` (pair, grid),
        `value_second` (pair, grid_b), and the variables that `shape` needs.
    pair : str, int or tuple
        Its label ("a x b"), its position, or the two names in either order.
    target : label or int, optional
        The class; needed where there are several.
    limit : float, optional
        Value at which the colours saturate; by default the 99th percentile of the absolute surface.

    Returns
    -------
    Figure
        Orange adds to the score, blue takes away, white is 0. Hatched: the 95 % band includes 0.

    Raises
    ------
    TypeError, ValueError
        If `terms` holds no pairs or not this one, or a target is needed.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> grid, values = ("feature", "grid"), np.array([[0.0, 1.0], [0.0, 2.0]])
    >>> terms = xr.Dataset(
    ...     {
    ...         "value": (grid, values),
    ...         "shape": (grid, values * 0),
    ...         "kind": ("feature", ["numeric", "numeric"]),
    ...         "value_first": (("pair", "grid"), values[:1]),
    ...         "value_second": (("pair", "grid_b"), values[1:]),
    ...         "interaction": (("pair", "grid", "grid_b"), [[[1.0, -1.0], [-1.0, 1.0]]]),
    ...     },
    ...     {"feature": ["a", "b"], "pair": ["a x b"], "first": ("pair", ["a"]), "second": ("pair", ["b"])},
    ... )
    >>> axes = interaction(terms, ("b", "a")).axes[0]
    >>> axes.get_xlabel(), axes.get_ylabel()
    ('a', 'b')
    """
    terms = one_target(checked(terms), target)
    k = pair_position(terms, pair)
    if "target" in terms["interaction"].dims:
        raise ValueError(f"a heat map shows one target; choose one of {names_of(terms, 'target')} with target=")
    here = terms.isel(pair=k)
    places = [position(names_of(terms, "feature"), here[which].item(), "feature") for which in ("first", "second")]
    first, second = (Values.of(terms, i, here[f"value_{w}"].values) for i, w in zip(places, ("first", "second")))
    cells = {"grid": first.kept, "grid_b": second.kept}
    surface = here["interaction"].isel(cells).transpose("grid_b", "grid")
    scale = shade.chosen_limit(surface, limit)
    figure = figure or shade.figure(6.2, 5.6)
    grid = figure.add_gridspec(2, 2, width_ratios=(7, 1), height_ratios=(1, 7))
    ax = figure.add_subplot(grid[1, 0])
    shown = np.ma.masked_invalid(surface.values)
    mesh = ax.pcolormesh(first.edges, second.edges, shown, cmap=shade.SIGNED, vmin=-scale, vmax=scale)
    meaning = "both together, beyond each alone\norange adds, blue takes away"
    if "interaction_lower" in here:
        low, high = (
            here[f"interaction_{end}"].isel(cells).transpose("grid_b", "grid").values for end in ("lower", "upper")
        )
        _hatch(ax, first.edges, second.edges, (low <= 0) & (high >= 0))
        meaning += "; hatched: the 95 % band includes 0"
    first.name_axis(ax.xaxis)
    second.name_axis(ax.yaxis)
    shade.plain(ax)
    _margin(figure.add_subplot(grid[0, 0], sharex=ax), terms, places[0], upright=True)
    _margin(figure.add_subplot(grid[1, 1], sharey=ax), terms, places[1], upright=False)
    surface.attrs["units"] = score_units(terms)
    shade.colour_bar(figure, mesh, surface, scale, meaning, ax=figure.axes, pad=0.02, fraction=0.05, aspect=45)
    heading = str(here["pair"].item()) if title is None else title
    figure.suptitle(heading, fontsize=11, weight="bold", x=0.01, ha="left")
    return figure


def _hatch(ax: Axes, x_edges: np.ndarray, y_edges: np.ndarray, cells: np.ndarray) -> None:
    """Hatch the True cells without colouring them."""
    bare = np.ma.masked_array(np.zeros(cells.shape), mask=~cells)
    ax.pcolor(x_edges, y_edges, bare, cmap=_BARE, hatch="////", edgecolor="#c4c4c4", linewidth=0)


def _margin(ax: Axes, terms: xr.Dataset, i: int, upright: bool) -> None:
    """Draw where the training data of a feature lie, beside the heat map."""
    ax.set_axis_off()
    if "density" not in terms:
        return
    own = Values.of(terms, i)
    centres, widths, share = own.spread(terms["density"].isel(feature=i).values[own.kept])
    (ax.bar if upright else ax.barh)(centres, share, widths, color=_DATA, lw=0)


@shade.literal
def importance(
    terms: xr.Dataset,
    *,
    target: Hashable | None = None,
    most: int = 20,
    title: str | None = None,
    figure: Figure | None = None,
) -> Figure:
    """Draw how much each term moves the score, its standard deviation over the training data, with 95 % intervals.

    Parameters
    ----------
    terms : Dataset
        What `explain_global()` of an additive model returned: `importance` (feature) and, where there are pairs,
        `pair_importance` (pair), each with `_lower` and `_upper`, perhaps with a dim ``target``.
    target : label or int, optional
        One class of several; by default each class has a panel, and the mean over classes gives the order.
    most : int
        Terms shown, the most important first; the axis says how many there are.

    Returns
    -------
    Figure
        Dark: a feature by itself. Pale: what a pair adds beyond its two features.

    Raises
    ------
    TypeError, ValueError
        If `terms` holds no shapes, or the target is not in it.

    Examples
    --------
    >>> import xarray as xr
    >>> terms = xr.Dataset(
    ...     {
    ...         "value": (("feature", "grid"), [[0.0, 1.0]] * 2),
    ...         "shape": (("feature", "grid"), [[-1.0, 1.0]] * 2),
    ...         "kind": ("feature", ["numeric"] * 2),
    ...         "importance": ("feature", [0.5, 2.0]),
    ...     },
    ...     {"feature": ["age", "dose"]},
    ... )
    >>> [tick.get_text() for tick in importance(terms).axes[0].get_yticklabels()]
    ['dose', 'age']
    """
    terms = one_target(checked(terms), target)
    table = ranked_terms(terms)
    shown = table.isel(term=slice(most))
    panels = [shown.isel(target=k) for k in range(shown.sizes["target"])] if "target" in shown.dims else [shown]
    n = shown.sizes["term"]
    columns = min(len(panels), 4)
    rows = -(-len(panels) // columns)
    figure = figure or shade.figure(3.0 * columns + 3.2, rows * (0.5 + 0.27 * max(n, 3)) + 0.6)
    axes = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).ravel()
    for spare in axes[len(panels) :]:
        spare.remove()
    pair = shown["is_pair"].values
    for k, (ax, panel) in enumerate(zip(axes, panels)):
        size = panel["importance"].values
        ax.barh(np.arange(n), size, color=np.where(pair, _PAIR, _MAIN), height=0.7)
        whisker = np.maximum([size - panel["lower"].values, panel["upper"].values - size], 0)
        ax.errorbar(size, np.arange(n), xerr=whisker, fmt="none", ecolor=shade.POSITIVE, elinewidth=1.2, capsize=2)
        ax.tick_params(labelbottom=k + columns >= len(panels))
        if len(panels) > 1:
            ax.set_title(str(panel["target"].item() if "target" in panel.coords else ""), fontsize=9, loc="left")
        shade.plain(ax)
    axes[0].set_yticks(np.arange(n), [label(name) for name in shown["term"].values], fontsize=9)
    axes[0].set_ylim(n - 0.5, -0.5)
    if n < table.sizes["term"]:
        axes[0].set_ylabel(f"{n} largest of {table.sizes['term']} terms", fontsize=8)
    figure.supxlabel(
        f"typical size of the contribution [{score_units(terms)}]: standard deviation, 95 % interval", fontsize=8
    )
    if pair.any():
        key = [Patch(color=_MAIN, label="feature"), Patch(color=_PAIR, label="pair, beyond its features")]
        axes[len(panels) - 1].legend(handles=key, fontsize=8, frameon=False, loc="lower right")
    if title:
        figure.suptitle(title, fontsize=11, weight="bold", x=0.01, ha="left")
    return figure
