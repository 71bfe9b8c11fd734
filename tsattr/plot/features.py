"""What pictures of tables share: features, targets and pairs by label, the values of a feature, the data's density."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.dates import DAILY, HOURLY, MINUTELY, MONTHLY, SECONDLY, AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator

from ..edge.each_output import folded
from ..labels.tables import as_pandas
from . import shade
from .standing import wrapped

_BINS = 40
DENSITY_COLOUR = "#9a9a9a"
_DATES = "days since 1970-01-01"  # as Matplotlib counts
_MANY_LEVELS = 5  # more names than this are written at an angle
_ROUNDING = 1e-9  # of shares that sum to 1


def check_terms(terms: xr.Dataset) -> xr.Dataset:
    """Return `terms`, having checked that it holds the shapes of an additive model."""
    if not isinstance(terms, xr.Dataset):
        raise TypeError(f"terms must be the xarray.Dataset that explain_global returns, got {type(terms).__name__}")
    missing = [name for name in ("shape", "value", "kind") if name not in terms]
    if missing:
        raise ValueError(f"terms lacks {missing}; give what explain_global() of an additive model returned")
    return terms


def label_position(labels: Iterable[Hashable], label: Hashable, what: str) -> int:
    """Return the position of a label; a whole number is itself a position only where the labels are no numbers.

    Examples
    --------
    >>> label_position(["age", "dose"], "dose", "feature"), label_position(["age", "dose"], -1, "feature")
    (1, 1)
    >>> label_position([7, 0, 3], 0, "sample")
    1
    """
    known = list(labels)
    if label in known:
        return known.index(label)
    numbered = any(isinstance(name, int | float | np.number) for name in known) and known != list(range(len(known)))
    if isinstance(label, int | np.integer) and not numbered and -len(known) <= label < len(known):
        return int(label) % len(known)
    shown = f"{known[:12]}{', …' * (len(known) > 12)}"
    hint = f"; its {what}s are labelled by numbers, and {label!r} is taken for a label" if numbered else ""
    raise ValueError(f"{what} {label!r} is not in the result, which has {shown}{hint}")


def selected(names: list[Any], feature: Hashable | Sequence[Hashable] | None, default: list[int]) -> list[int]:
    """Return the positions of the features named (one or several); for None the `default` ones."""
    if feature is None:
        return default
    asked = [feature] if isinstance(feature, str) or not isinstance(feature, Sequence) else feature
    if not asked:
        raise ValueError("no feature is named; leave it out for the most important ones")
    return [label_position(names, name, "feature") for name in asked]


def one_target(ds: xr.Dataset, target: Hashable | None) -> xr.Dataset:
    """Return `ds` at the target named by label, else by position; all, with outputs' own dims as targets, without one."""
    ds = folded(ds)
    if target is None:
        return ds
    if "target" not in ds.dims:
        raise ValueError(f"the result has a single target; leave out target={target!r}")
    return ds.isel(target=label_position(labels_of(ds, "target"), target, "target"))


def pair_position(terms: xr.Dataset, pair: Hashable) -> int:
    """Return the position of a pair, given by its label, its position, or a tuple of its features in either order."""
    if terms.sizes.get("pair", 0) == 0:
        raise ValueError("the model has no pairs: it adds up single features only")
    if not isinstance(pair, tuple):
        return label_position(labels_of(terms, "pair"), pair, "pair")
    both = zip(labels_of(terms, "first"), labels_of(terms, "second"))
    found = [k for k, names in enumerate(both) if set(names) == set(pair)]
    if not found:
        raise ValueError(f"pair {pair} is not in the result, which has {labels_of(terms, 'pair')}")
    return found[0]


def labels_of(ds: xr.Dataset | xr.DataArray, dim: str) -> list[Any]:
    """Return the labels along a dim, else positions."""
    return ds[dim].values.tolist() if dim in ds.coords else list(range(ds.sizes[dim]))


def explained_values(x: Any, local: xr.Dataset, first: str = "sample") -> np.ndarray:
    """Return the values (sample, feature) of a table in the order of its explanation, having checked their number."""
    dims = [d for d in local["attribution"].dims if d != "target"]
    names, x = labels_of(local, str(dims[1])), as_pandas(x)
    if isinstance(x, xr.DataArray):
        x = x.transpose(*dims)
    elif isinstance(x, pd.DataFrame) and set(names) <= set(x.columns):
        x = x[names].astype(object)
    values = np.asarray(x)
    shape = (local.sizes[first], len(names))
    if values.shape != shape:
        raise ValueError(f"x has shape {values.shape} and its attribution {shape}; give the rows that were explained")
    return values


def score_units(ds: xr.Dataset) -> str:
    """Return the units of the score that is explained."""
    known = [ds[name].attrs.get("units") for name in ("shape", "attribution") if name in ds]
    return str(next(filter(None, [*known, ds.attrs.get("units")]), "units of the target"))


def by_importance(terms: xr.Dataset) -> list[int]:
    """Return the positions of all features in decreasing importance (mean over targets)."""
    if "importance" not in terms:
        return list(range(terms.sizes["feature"]))
    size = terms["importance"].mean([d for d in terms["importance"].dims if d != "feature"])
    return list(map(int, np.argsort(-size.fillna(0).values, kind="stable")))


def ranked_terms(terms: xr.Dataset) -> xr.Dataset:
    """Return `importance`, `lower` and `upper` of features and pairs along ``term``, the most important first."""
    parts = []
    for dim, name in (("feature", "importance"), ("pair", "pair_importance")):
        if name not in terms or not terms.sizes[dim]:
            continue
        size = terms[name]
        ends = {end: terms.get(f"{name}_{end}", size).variable for end in ("lower", "upper")}
        part = xr.Dataset({"importance": size.variable, **ends}).rename({dim: "term"})
        parts.append(
            part.assign_coords(
                term=[str(v) for v in labels_of(terms, dim)], is_pair=("term", [dim == "pair"] * size.sizes[dim])
            )
        )
    table = xr.concat(parts, "term")
    if "target" in terms.coords:
        table = table.assign_coords(target=terms["target"])
    size = table["importance"].mean([d for d in table["importance"].dims if d != "term"]).fillna(0)
    return table.isel(term=np.argsort(-size.values, kind="stable"))


def small_multiples(figure: Figure | None, count: int) -> list[Axes]:
    """Return `count` panels that share their vertical scale, at most three in a row."""
    columns = 2 if count == 4 else min(3, count)
    rows = -(-count // columns)
    figure = figure or shade.new_figure(3.3 * columns + 0.9 + 1.4 * (columns == 1), 2.6 * rows + 0.7)
    axes = figure.subplots(rows, columns, sharey=True, squeeze=False).ravel().tolist()
    for spare in axes[count:]:
        spare.remove()
    return axes[:count]


def label_scale(axes: Sequence[Axes], text: str, title: str | None) -> None:
    """Label the shared vertical axis at the left of each row of panels, and give their figure its title."""
    for ax in axes:
        place = ax.get_subplotspec()
        if place is None or place.is_first_col():
            ax.set_ylabel(wrapped(text, 34), fontsize=9)
    if title:
        axes[0].figure.suptitle(title.replace("$", r"\$"), fontsize=11, weight="bold", x=0.01, ha="left")


def label_missing(ax: Axes, border: float, text: str) -> None:
    """Label the place of missing values, right of the `border` at which an axis of numbers ends."""
    ax.axvline(border, color="white", lw=3, zorder=1.5)
    beside: dict[str, Any] = {"xycoords": "axes fraction", "xytext": (2, 0), "textcoords": "offset points"}
    ax.annotate(text, (1, 0.5), rotation=90, ha="left", va="center", fontsize=7, **beside)
    low, high = ax.get_xlim()
    ax.xaxis.set_major_locator(FixedLocator([tick for tick in ax.get_xticks() if low <= tick < border]))
    ax.set_xlim(low, high)


_ORDERS = [
    ("mon", "tue", "wed", "thu", "fri", "sat", "sun"),
    ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"),
    ("djf", "mam", "jja", "son"),
    ("winter", "spring", "summer", "autumn"),
]
_NAMES = [
    ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"),
    (
        "january",
        "february",
        "march",
        "april",
        "may",
        "june",
        "july",
        "august",
        "september",
        "october",
        "november",
        "december",
    ),
]


def natural_order(levels: Sequence[Any]) -> list[int]:
    """Return the positions of levels in their natural order (weekdays, months, seasons, numbers), else as given.

    Examples
    --------
    >>> natural_order(["Fri", "Mon", "Sun"]), natural_order(["10", "9"]), natural_order(["surgical", "medical"])
    ([1, 0, 2], [1, 0], [0, 1])
    """
    names = [str(level).strip().lower() for level in levels]
    for order in [*_ORDERS, *_NAMES]:
        if set(names) <= set(order):
            return sorted(range(len(names)), key=lambda i: order.index(names[i]))
    try:
        numbers = [float(name) for name in names]
    except ValueError:
        return list(range(len(names)))
    return sorted(range(len(names)), key=numbers.__getitem__)


def missing_share(terms: xr.Dataset, i: int) -> float:
    """Return the share of the training data in which a feature is missing, 0 where none is; NaN where that is not known."""
    if "density" not in terms:
        return np.nan
    share = float(1 - terms["density"].isel(feature=i).sum())
    return share if share > _ROUNDING else 0.0


def _date_ticks() -> AutoDateLocator:
    """Return a locator of at most six date ticks, which may also stand a whole year, month, day, hour or minute apart."""
    locator: Callable[..., AutoDateLocator] = AutoDateLocator  # has no types of its own
    ticks = locator(maxticks=6)
    for rate, longest in ((MONTHLY, 12), (DAILY, 31), (HOURLY, 24), (MINUTELY, 60), (SECONDLY, 60)):
        ticks.intervald[rate] = [*ticks.intervald[rate], longest]
    return ticks


def label_levels(axis: Any, at: np.ndarray, levels: list[str]) -> None:
    """Label an axis by the names of levels, tilted where there are many."""
    tilted = len(levels) > _MANY_LEVELS and axis.axis_name == "x"
    turn = {"rotation": 40, "ha": "right", "rotation_mode": "anchor"} if tilted else {}
    axis.set_ticks(at, levels, fontsize=8, **turn)


class FeatureValues(NamedTuple):
    """The values of a feature along an axis of a picture: their grid cells, positions, and the names of levels."""

    name: str
    units: str
    cells: np.ndarray  # indices into the result's grid
    positions: np.ndarray  # along the picture's axis
    levels: list[str] | None

    @classmethod
    def of(cls, terms: xr.Dataset, i: int, grid: np.ndarray | None = None) -> FeatureValues:
        """Return the values of feature `i`, from its own grid or from a coarser `grid`."""
        here = terms.isel(feature=i)
        own = here["value"].values
        grid = own if grid is None else grid
        cells = np.flatnonzero(np.isfinite(grid))
        levels = None
        positions = grid[cells]
        if here["kind"].item() == "categorical":
            by_code = dict(zip(own[np.isfinite(own)], here["level"].values))
            order = natural_order([by_code[code] for code in positions])
            levels = [wrapped(by_code[code], 12) for code in positions[order]]
            cells, positions = cells[order], np.arange(len(cells), dtype=float)
        units = str(here["units"].item()) if "units" in here.coords else ""
        return cls(wrapped(labels_of(terms, "feature")[i]), units, cells, positions, levels)

    @property
    def edges(self) -> np.ndarray:
        """The edges of the cells around the positions; those of numbers end with the data."""
        edges = shade.cell_edges(self.positions)
        if self.levels is None and len(self.positions) > 1:
            edges[[0, -1]] = self.positions[[0, -1]]
        return edges

    @property
    def span(self) -> float:
        """The range of the positions; 1 for a single one."""
        return float(np.ptp(self.positions)) or 1.0

    def density_bars(self, density: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return centres and widths of bars and the share of the data in each, from the shares nearest to each value.

        Each share is spread evenly over its cell. A few values (levels, a score, a count) keep a bar each.
        """
        if self.levels is not None or len(self.positions) <= _BINS // 2:
            step = np.diff(self.positions).min(initial=np.inf)
            width = max(0.7 * step, self.span / _BINS) if np.isfinite(step) else self.span
            return self.positions, np.full(len(self.positions), width), density
        even = np.linspace(self.positions[0], self.positions[-1], _BINS + 1)
        share = np.diff(np.interp(even, self.edges, np.append(0.0, np.cumsum(density))))
        return (even[1:] + even[:-1]) / 2, np.diff(even), share

    def label_axis(self, axis: Any, size: float = 9) -> None:
        """Label an axis by the feature's name, its units and the names of its levels."""
        dates = self.units == _DATES
        axis.set_label_text(f"{self.name} [{self.units}]" if self.units and not dates else self.name, fontsize=size)
        if dates:
            axis.set_major_locator(ticks := _date_ticks())
            formatter: Callable[..., ConciseDateFormatter] = ConciseDateFormatter  # has no types of its own
            axis.set_major_formatter(formatter(ticks))
        if self.levels is not None:
            label_levels(axis, self.positions, self.levels)
