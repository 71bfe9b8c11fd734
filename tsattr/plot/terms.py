"""Pictures of the terms of an additive model: how much each matters, and what two features do together."""

from __future__ import annotations

from collections.abc import Hashable

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from . import shade
from .features import (
    DENSITY_COLOUR,
    FeatureValues,
    check_terms,
    label_position,
    labels_of,
    one_target,
    pair_position,
    ranked_terms,
    score_units,
)
from .standing import wrapped

_MAIN, _PAIR = "#4d4d4d", "#b8b8b8"
_TRANSPARENT = ListedColormap([(0, 0, 0, 0)])


@shade.literal_text
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
    terms = one_target(check_terms(terms), target)
    k = pair_position(terms, pair)
    if "target" in terms["interaction"].dims:
        raise ValueError(f"a heat map shows one target; choose one of {labels_of(terms, 'target')} with target=")
    here = terms.isel(pair=k)
    positions = [
        label_position(labels_of(terms, "feature"), here[which].item(), "feature") for which in ("first", "second")
    ]
    first, second = (
        FeatureValues.of(terms, i, here[f"value_{w}"].values) for i, w in zip(positions, ("first", "second"))
    )
    cells = {"grid": first.cells, "grid_b": second.cells}
    surface = here["interaction"].isel(cells).transpose("grid_b", "grid")
    scale = shade.colour_limit(surface, limit)
    figure = figure or shade.new_figure(6.2, 5.6)
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
    first.label_axis(ax.xaxis)
    second.label_axis(ax.yaxis)
    shade.despine(ax)
    _marginal_density(figure.add_subplot(grid[0, 0], sharex=ax), terms, positions[0], upright=True)
    _marginal_density(figure.add_subplot(grid[1, 1], sharey=ax), terms, positions[1], upright=False)
    surface.attrs["units"] = score_units(terms)
    shade.colour_bar(figure, mesh, surface, scale, meaning, ax=figure.axes, pad=0.02, fraction=0.05, aspect=45)
    heading = str(here["pair"].item()) if title is None else title
    figure.suptitle(heading, fontsize=11, weight="bold", x=0.01, ha="left")
    return figure


def _hatch(ax: Axes, x_edges: np.ndarray, y_edges: np.ndarray, cells: np.ndarray) -> None:
    """Hatch the True cells without colouring them."""
    cells_to_hatch = np.ma.masked_array(np.zeros(cells.shape), mask=~cells)
    ax.pcolor(x_edges, y_edges, cells_to_hatch, cmap=_TRANSPARENT, hatch="////", edgecolor="#c4c4c4", linewidth=0)


def _marginal_density(ax: Axes, terms: xr.Dataset, i: int, upright: bool) -> None:
    """Draw the density of a feature's training data beside the heat map."""
    ax.set_axis_off()
    if "density" not in terms:
        return
    own = FeatureValues.of(terms, i)
    centres, widths, share = own.density_bars(terms["density"].isel(feature=i).values[own.cells])
    (ax.bar if upright else ax.barh)(centres, share, widths, color=DENSITY_COLOUR, lw=0)


@shade.literal_text
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
    terms = one_target(check_terms(terms), target)
    table = ranked_terms(terms)
    shown = table.isel(term=slice(most))
    panels = [shown.isel(target=k) for k in range(shown.sizes["target"])] if "target" in shown.dims else [shown]
    n = shown.sizes["term"]
    columns = min(len(panels), 4)
    rows = -(-len(panels) // columns)
    figure = figure or shade.new_figure(3.0 * columns + 3.2, rows * (0.5 + 0.27 * max(n, 3)) + 0.6)
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
        shade.despine(ax)
    axes[0].set_yticks(np.arange(n), [wrapped(name) for name in shown["term"].values], fontsize=9)
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
