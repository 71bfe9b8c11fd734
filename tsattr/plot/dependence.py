"""Dependence: the attribution of each case against the value of a feature."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any, NamedTuple, cast

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize, to_hex
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ..labels.tables import as_pandas, days_of, kind_of
from . import shade
from .curves import COLOURS
from .features import (
    explained_values,
    label_levels,
    label_missing,
    label_position,
    label_scale,
    labels_of,
    natural_order,
    one_target,
    score_units,
    selected,
    small_multiples,
)
from .standing import wrapped

_SIZE, _ALPHA = 3.5, 0.6
_SCALE = colormaps["viridis"]
_MOST_LEVELS = 12


@shade.literal_text
def dependence(
    ds: xr.Dataset,
    x: Any,
    feature: Hashable | Sequence[Hashable] | None = None,
    *,
    target: Hashable | None = None,
    colour: Hashable | None = None,
    most: int = 9,
    title: str | None = None,
    figure: Figure | None = None,
) -> Figure:
    """Draw the attribution of each case against its value: what any explanation of a table has for a shape.

    Parameters
    ----------
    ds : Dataset
        A result on a table: `attribution` (sample, feature), perhaps with a dim ``target``.
    x : DataFrame, DataArray or array
        The rows that were explained.
    feature : str, int or sequence of them, optional
        Names, else positions; by default those with the largest mean absolute attribution.
    target : label or int, optional
        One class of several; by default the first.
    colour : str or int, optional
        Another column, whose values colour the cases: low to high, or a colour a level. What depends on it jointly shows.
    most : int
        Panels drawn where no features are named.

    Returns
    -------
    Figure
        A dot is a case; dots that lie apart at one value differ in other features. Missing values stand at the right.

    Raises
    ------
    ValueError
        If `x` does not fit the result, or a feature or target is not in it; if each case is explained for a class of its
        own, the predicted one, as attributions of unlike targets have no scale in common.

    Examples
    --------
    >>> import xarray as xr
    >>> a = xr.DataArray([[1.0, -3.0], [2.0, 1.0]], dims=("sample", "feature"), coords={"feature": ["age", "sex"]})
    >>> figure = dependence(xr.Dataset({"attribution": a}), [[63, "f"], [70, "m"]])
    >>> [axes.get_xlabel() for axes in figure.axes]
    ['sex', 'age']
    """
    ds = one_target(ds, target)
    ds = ds.isel(target=0) if "target" in ds["attribution"].dims else ds
    _check_one_target(ds)
    first, dim = (str(d) for d in ds["attribution"].dims)
    values, names = explained_values(x, ds, first), labels_of(ds, dim)
    size = abs(ds["attribution"]).mean(first).fillna(0).values
    chosen = selected(names, feature, np.argsort(-size, kind="stable")[:most].tolist())
    axes = small_multiples(figure, len(chosen))
    colour_column = None if colour is None else label_position(names, colour, "feature")
    case_colours = None if colour_column is None else _CaseColours.of(_column(x, values, names, colour_column))
    for ax, i in zip(axes, chosen):
        colours = np.full(len(values), shade.INK, object) if case_colours is None else case_colours.colours
        _cases(ax, column := _column(x, values, names, i), ds["attribution"].isel({dim: i}).values, colours)
        ax.set_xlabel(wrapped(names[i]) + " [days]" * (kind_of(column.dtype) == "duration"), fontsize=9)
    label_scale(axes, f"attribution [{score_units(ds)}]", title)
    drawn = cast(Figure, axes[0].figure)
    if case_colours is not None and colour_column is not None:
        case_colours.draw_legend(drawn, axes, wrapped(names[colour_column]))
    return drawn


def _check_one_target(ds: xr.Dataset) -> None:
    """Raise ValueError where each sample is explained for its own predicted class and these differ."""
    if str(ds.attrs.get("target")) in ("Predicted()", "Margin(a=None, b=None)") and "predicted" in ds:
        classes = np.unique(ds["predicted"].values).tolist()
        if len(classes) > 1:
            raise ValueError(
                f"each case is explained for its own predicted class, one of {classes}: dots of unlike targets have no scale in "
                "common; explain a fixed one: target=class"
            )


def _column(x: Any, values: np.ndarray, names: list[Any], i: int) -> pd.Series:
    """Return one column: numbers and times as `x` holds them, an ordered category with its order where `x` says so."""
    column, x = pd.Series(values[:, i]).infer_objects(), as_pandas(x)
    own = x.dtypes.get(names[i]) if isinstance(x, pd.DataFrame) and names[i] in x.columns else None
    if own is None or (kind_of(own) == "level" and not (isinstance(own, pd.CategoricalDtype) and own.ordered)):
        return column
    return x[names[i]].reset_index(drop=True)


class _CaseColours(NamedTuple):
    """A colour for each case by the values of a column, and the legend: levels, or the ends of a scale."""

    colours: np.ndarray
    levels: dict[str, Any]
    low: float
    high: float

    @classmethod
    def of(cls, values: pd.Series) -> _CaseColours:
        """Return the colours of cases with these values: a scale for numbers, else one a level; grey where missing."""
        known = values.notna().to_numpy()
        colours = np.full(len(values), shade.NEUTRAL, object)
        if _is_numeric(values):
            numbers = values.astype(float).to_numpy()
            low, high = np.quantile(numbers[known], [0.02, 0.98]) if known.any() else (0.0, 1.0)
            share = np.clip((numbers[known] - low) / ((high - low) or 1), 0, 1)
            colours[known] = [to_hex(c) for c in _SCALE(share)]
            return cls(colours, {}, float(low), float(high))
        levels = _ordered_levels(values)
        shown = {level: COLOURS[k] for k, level in enumerate(levels[: len(COLOURS)])}
        colours[known] = [shown.get(str(v), shade.NEUTRAL) for v in values[known]]
        return cls(colours, shown, 0.0, 0.0)

    def draw_legend(self, figure: Figure, axes: Sequence[Axes], name: str) -> None:
        """Draw a legend or a colour bar beside the panels."""
        if not self.levels:
            scale = ScalarMappable(Normalize(self.low, self.high), _SCALE)
            figure.colorbar(scale, ax=list(axes), pad=0.02, fraction=0.05, aspect=35).set_label(name, fontsize=8)
            return
        handles = [
            Line2D([], [], color=c, ls="", marker="o", ms=4, label=wrapped(v, 12)) for v, c in self.levels.items()
        ]
        figure.legend(handles=handles, title=name, loc="outside right upper", fontsize=8, frameon=False)


def _is_numeric(values: pd.Series) -> bool:
    return kind_of(values.dtype) in ("number", "decimal")


def _ordered_levels(values: pd.Series) -> list[str]:
    """Return the levels of a column in the order of its category, else in natural order."""
    if isinstance(values.dtype, pd.CategoricalDtype):
        used = set(values.dropna())
        return [str(v) for v in values.dtype.categories if v in used]
    names = sorted(values.dropna().astype(str).unique())
    return [names[k] for k in natural_order(names)]


def _cases(ax: Axes, values: pd.Series, attribution: np.ndarray, colours: np.ndarray) -> None:
    """Draw a dot for each case, those with a missing value at the right."""
    missing, numeric, kind = values.isna().to_numpy(), _is_numeric(values), kind_of(values.dtype)
    if kind in ("date", "period", "duration"):
        values, numeric = pd.Series(days_of(values)), True
    if kind in ("date", "period"):  # as Matplotlib counts
        ax.xaxis_date()
    draw = _by_number if numeric else _by_level
    border, end = draw(ax, values[~missing], attribution[~missing], colours[~missing])
    if missing.any():
        own = np.where(colours[missing] == shade.INK, shade.POSITIVE, colours[missing])
        _dots(ax, np.full(missing.sum(), end), attribution[missing], own)
        label_missing(ax, border, f"missing, {100 * missing.mean():.2g} %")
    ax.axhline(0, color=shade.NEUTRAL, lw=0.8, zorder=1)
    shade.despine(ax)


def _dots(ax: Axes, at: np.ndarray, attribution: np.ndarray, colours: np.ndarray) -> None:
    """Draw a dot for each case; where all have one colour, as one artist."""
    if len(set(colours.tolist())) == 1:
        ax.plot(at, attribution, color=colours[0], marker="o", ms=_SIZE, ls="", mew=0, alpha=_ALPHA)
    else:
        ax.scatter(at, attribution, c=colours.tolist(), s=_SIZE**2, linewidths=0, alpha=_ALPHA)


def _by_number(ax: Axes, values: pd.Series, attribution: np.ndarray, colours: np.ndarray) -> tuple[float, float]:
    """Draw cases along a numeric axis; return where it ends and the position for missing values."""
    at = values.astype(float).values
    _dots(ax, at, attribution, colours)
    last, reach = (float(at.max()), float(np.ptp(at)) or 1.0) if len(at) else (0.0, 1.0)
    return last + 0.08 * reach, last + 0.13 * reach


def _by_level(ax: Axes, values: pd.Series, attribution: np.ndarray, colours: np.ndarray) -> tuple[float, float]:
    """Draw cases level by level with a bar at their mean, rare levels together as the last; return as `_by_number`."""
    names = values.astype(str)
    common = set(names.value_counts().index[:_MOST_LEVELS])
    levels = [level for level in _ordered_levels(values) if level in common]
    names = names.where(names.isin(common), "other levels")
    levels += ["other levels"] if (names == "other levels").any() else []
    for code, level in enumerate(levels):
        cases = (names == level).to_numpy()
        own = attribution[cases]
        _dots(ax, code + np.linspace(-0.25, 0.25, len(own)), own, colours[cases])
        ax.hlines(own.mean(), code - 0.32, code + 0.32, color=shade.POSITIVE, lw=1.6)
    label_levels(ax.xaxis, np.arange(len(levels)), [wrapped(v, 12) for v in levels])
    return len(levels) - 0.5, float(len(levels))
