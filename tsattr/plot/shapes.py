"""The shape of each feature of an additive model: what each of its values adds to the score."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import cast

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from . import shade
from .curves import COLOURS
from .features import (
    DENSITY_COLOUR,
    FeatureValues,
    by_importance,
    check_terms,
    label_missing,
    label_scale,
    labels_of,
    missing_share,
    one_target,
    score_units,
    selected,
    small_multiples,
)

_STRIP_HEIGHT = 0.13  # of the strip of densities, as a share of the axes
_TINT = 0.05
_TAIL = 0.01  # share of the data on each side that sets no scale


@shade.literal_text
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
    terms = _along_target(one_target(check_terms(terms), target))
    chosen = selected(labels_of(terms, "feature"), feature, by_importance(terms)[:most])
    if ax is not None and len(chosen) > 1:
        raise ValueError(f"one ax holds one feature, {len(chosen)} are to be drawn; give a figure instead")
    axes = [ax] if ax is not None else small_multiples(figure, len(chosen))
    for panel, i in zip(axes, chosen):
        _panel(panel, terms, i)
    drawn = cast(Figure, axes[0].figure)
    low, high = _shared_limits(terms.isel(feature=chosen))
    axes[0].set_ylim(low, high)  # panels of a figure share it
    for panel in axes if terms.sizes["target"] == 1 else []:
        panel.axhspan(0, high, color=shade.POSITIVE, alpha=_TINT, lw=0)
        panel.axhspan(low, 0, color=shade.NEGATIVE, alpha=_TINT, lw=0)
    label_scale(axes, f"contribution [{score_units(terms)}]", title)
    if ax is None:
        _footer(drawn, terms.isel(feature=chosen))
    return drawn


def _along_target(terms: xr.Dataset) -> xr.Dataset:
    """Return the terms with a dim ``target`` even where there is a single one."""
    if terms.sizes.get("target", 1) > len(COLOURS):
        raise ValueError(
            f"{terms.sizes['target']} targets are more lines than can be told apart; choose one by target="
        )
    names = [name for name in ("shape", "lower", "upper", "missing", "importance") if name in terms]
    return terms if "target" in terms.dims else terms.assign({n: terms[n].expand_dims("target") for n in names})


def _panel(ax: Axes, terms: xr.Dataset, i: int) -> None:
    """Draw one feature: a line or points for each target, the missing value, and where the data lie."""
    values, term = FeatureValues.of(terms, i), terms.isel(feature=i)
    n = terms.sizes["target"]
    if not len(values.positions):
        ax.text(0.5, 0.5, "no value in training", ha="center", fontsize=8, transform=ax.transAxes)
        ax.set_xlabel(values.name, fontsize=9)
        shade.despine(ax)
        return
    border, end = _missing_position(values)
    for k in range(n):
        colour = COLOURS[k] if n > 1 else shade.INK
        shift = 0.5 * ((k + 0.5) / n - 0.5) if values.levels else 0.0
        draw = _curve if values.levels is None else _points
        draw(ax, term.isel(target=k), values, colour, shift)
        if "missing" in term and np.isfinite(term["missing"].values[k]):
            ax.plot(end + shift, term["missing"].values[k], "D", color=colour, ms=5, mec="white", mew=0.6, zorder=3)
    values.label_axis(ax.xaxis)
    if "missing" in term and bool(term["missing"].notnull().any()):
        missing = missing_share(terms, i)
        label_missing(ax, border, f"missing, {100 * missing:.2g} %" if missing > 0 else "missing")
    if "density" in term:
        _density_strip(ax, *values.density_bars(term["density"].values[values.cells]))
    ax.axhline(0, color=shade.NEUTRAL, lw=0.8, zorder=1)
    shade.despine(ax)


def _missing_position(values: FeatureValues) -> tuple[float, float]:
    """Return where the axis of values ends, and the position of a missing one."""
    last = float(values.positions[-1])
    return (last + 0.5, last + 1) if values.levels else (last + 0.08 * values.span, last + 0.13 * values.span)


def _band(term: xr.Dataset, values: FeatureValues) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the shape and the ends of its band, which are the shape itself where it has none."""
    y = term["shape"].values[values.cells]
    low, high = (term[end].values[values.cells] if end in term else y for end in ("lower", "upper"))
    return y, low, high


def _points(ax: Axes, term: xr.Dataset, values: FeatureValues, colour: str, shift: float) -> None:
    """Draw a point with its bar for each level, beside those of other targets."""
    y, low, high = _band(term, values)
    ends = np.maximum([y - low, high - y], 0)
    ax.errorbar(values.positions + shift, y, yerr=ends, fmt="o", color=colour, ms=4, elinewidth=1.2, capsize=4)


def _curve(ax: Axes, term: xr.Dataset, values: FeatureValues, colour: str, shift: float) -> None:
    """Draw a line with its band, extended (dotted) beyond the training range."""
    y, low, high = _band(term, values)
    at = values.positions + shift
    ax.fill_between(at, low, high, color=colour, alpha=0.18, lw=0)
    ax.plot(at, y, color=colour, lw=1.5, marker="o" if len(y) <= 12 else None, ms=3.5)
    for end, outward in ((0, -0.05), (-1, 0.05)):
        ax.plot([at[end], at[end] + outward * values.span], [y[end]] * 2, color=colour, lw=1.3, ls=":")


def _density_strip(ax: Axes, centres: np.ndarray, widths: np.ndarray, share: np.ndarray) -> None:
    """Draw the share of the data at each value as bars along the bottom."""
    height = _STRIP_HEIGHT * share / (share.max() or 1)
    ax.bar(
        centres, height, widths, color=DENSITY_COLOUR, alpha=0.7, lw=0, transform=ax.get_xaxis_transform(), zorder=0.8
    )


def _shared_limits(terms: xr.Dataset) -> tuple[float, float]:
    """Return limits for the lines and bands within the data, with space for the strip below.

    The outer hundredths of the data set no limits, so that a few outliers do not flatten the rest.
    """
    known = terms.where(_within_data(terms)) if "density" in terms else terms
    parts = [known[name] for name in ("shape", "lower", "upper") if name in terms]
    parts += [terms["missing"]] if "missing" in terms else []
    low, high = shade.padded_limits(np.concatenate([[0.0], *[part.values.ravel() for part in parts]]))
    return low - _STRIP_HEIGHT * (high - low), high


def _within_data(terms: xr.Dataset) -> xr.DataArray:
    """Return the grid points between the first and last percentile of the data, True for all levels of a category."""
    share = terms["density"] / terms["density"].sum("grid")
    below = share.cumsum("grid")
    inner = (below >= _TAIL) & (1 - below + share >= _TAIL)
    return inner | (terms["kind"] != "numeric")


def _footer(figure: Figure, terms: xr.Dataset) -> None:
    """Write below the panels what the lines, bands and bars mean, and a legend of targets."""
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
            handles, [str(v) for v in labels_of(terms, "target")], loc="outside right upper", fontsize=8, frameon=False
        )
