"""Attribution as colour: one signed scale, one rule for its limits, one way to lay it behind a signal.

Every picture takes its colours from here, so that they mean the same everywhere: orange speaks for the target, blue
against it, and no colour is no attribution.
"""

from __future__ import annotations

import functools
import io
import warnings
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, ParamSpec

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.colorbar import Colorbar
from matplotlib.colors import LinearSegmentedColormap, ListedColormap, to_rgb
from matplotlib.figure import Figure, SubFigure
from matplotlib.text import Text
from matplotlib.ticker import FixedFormatter, FuncFormatter

from ..core.cf import role

P = ParamSpec("P")

POSITIVE, NEGATIVE, NEUTRAL, INK = "#e66101", "#1f4e9c", "#8a8a8a", "#1a1a1a"
_STOPS = [(0.0, NEGATIVE, 0.9), (0.5, NEGATIVE, 0.0), (0.5, POSITIVE, 0.0), (1.0, POSITIVE, 0.9)]
SIGNED = LinearSegmentedColormap.from_list(
    "tsattr_signed",
    [(at, (*to_rgb(hue), alpha)) for at, hue, alpha in _STOPS],
    N=256,
)
"""Blue to orange, told apart in the common forms of colour blindness; transparent at zero, so that a grid shows."""


_TRUTH = ListedColormap([INK])
LAND = "#c9c9c9"
_BACKGROUND = ListedColormap([LAND, "#ffffff"])
MEANING = "orange for the target, blue against it"
DIRECTION = "orange: the observation raised what the model says, blue: lowered it"


@contextmanager
def _no_glyph_warnings() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"Glyph \d+ .*missing from (current )?font", UserWarning)
        yield


class Picture(Figure):
    """A matplotlib Figure that shows itself in a notebook without pyplot, which would have to be told to close it.

    Characters that no font has are drawn as boxes, without a warning for each of them at each drawing. Where the picture can
    be drawn anew for a width in print (mm), `at_width` does that.
    """

    at_width: Callable[[float], Figure] | None = None

    def draw(self, renderer: Any) -> None:
        """Draw the figure."""
        with _no_glyph_warnings():
            super().draw(renderer)

    def savefig(self, *args: Any, **kwargs: Any) -> None:
        """Save the figure, as matplotlib does."""
        with _no_glyph_warnings():
            super().savefig(*args, **kwargs)

    def _repr_png_(self) -> bytes:
        return png(self)


def png(figure: Figure, dpi: float = 110) -> bytes:
    """Return `figure` as the bytes of a PNG file."""
    target = io.BytesIO()
    figure.savefig(target, format="png", dpi=dpi)
    return target.getvalue()


def symmetric_limit(attribution: xr.DataArray | np.ndarray, quantile: float = 0.99) -> float:
    """Return the value at which the signed colours saturate, one for all leads.

    It is the `quantile` of abs(attribution) over the cells that are not missing, so that a few extreme cells do not
    wash out the rest, but never less than a twentieth of the largest, so that numerical dust beside one strong wave
    stays pale.

    Examples
    --------
    >>> float(symmetric_limit(np.array([-4.0, 0.0, 1.0, np.nan]), quantile=1.0))
    4.0
    """
    if not 0 < quantile <= 1:
        raise ValueError(f"quantile must lie in (0, 1], got {quantile}; 1 shows the largest value unclipped")
    values = np.asarray(attribution, dtype=float)
    size = np.abs(values[np.isfinite(values)])
    if size.size == 0 or size.max() == 0:
        return 1.0
    return float(max(np.quantile(size, quantile, method="higher"), size.max() / 20))


def colour_limit(attribution: xr.DataArray | np.ndarray, limit: float | None) -> float:
    """Return `limit` if it was given and is positive, else `symmetric_limit(attribution)`."""
    if limit is None:
        return symmetric_limit(attribution)
    if not (np.isfinite(limit) and limit > 0):
        raise ValueError(f"limit must be a positive number, got {limit}; leave it out for the 99th percentile")
    return float(limit)


def draw_missing(ax: Axes, edges: Sequence[np.ndarray], values: np.ndarray, **where: Any) -> None:
    """Draw the cells of a map without a value grey: colours are clear at 0, and must not be taken for land there."""
    ax.pcolormesh(*edges, np.isfinite(values), cmap=_BACKGROUND, vmin=0, vmax=1, **where)


def colour_label(attribution: xr.DataArray, limit: float, meaning: str = MEANING) -> str:
    """Return the colour bar's label: what, in which units, and how many cells lie beyond its ends."""
    units = attribution.attrs.get("units") or "units of the target"
    what = f"attribution [{units}]: {meaning}"
    if has_direction(attribution):
        what = f"shift; {DIRECTION}"
    if is_the_models_own(attribution):
        what = "the model's own map, without units, the same for every target: orange where it reads more"
    return f"{what}{clipped_note(attribution, limit)}"


def is_the_models_own(attribution: xr.DataArray) -> bool:
    """Return True for a map that the model computes itself: it speaks neither for a target nor against it."""
    return bool(attribution.attrs.get("same_for_every_target"))


def has_direction(attribution: xr.DataArray) -> bool:
    """Return True for a map of shifts along time whose sign says which way each observation moved what the model says."""
    return bool(attribution.attrs.get("says_direction"))


def clipped_note(values: xr.DataArray, limit: float) -> str:
    """Return a line on the share of cells beyond `limit`, at which the colours saturate; "" where there is none."""
    known = np.asarray(values, dtype=float)
    known = known[np.isfinite(known)]
    clipped = float(np.mean(np.abs(known) > limit * (1 + 1e-9))) if known.size else 0.0
    if not clipped:
        return ""
    sign = "±" if (known < 0).any() else ""
    return (
        f"\n{100 * clipped:.2g} % of the cells lie beyond {sign}{limit:.3g}, the largest at {np.abs(known).max():.3g}"
    )


def colour_bar(
    figure: Figure | SubFigure,
    mesh: QuadMesh,
    attribution: xr.DataArray,
    limit: float,
    meaning: str = MEANING,
    **where: Any,
) -> Colorbar:
    """Add the horizontal colour bar for `mesh`; its ends are pointed where cells lie beyond them."""
    values = np.asarray(attribution, dtype=float)
    low, high = np.nanmin(values, initial=0) < -limit, np.nanmax(values, initial=0) > limit
    extend = {(True, True): "both", (True, False): "min", (False, True): "max"}.get((bool(low), bool(high)), "neither")
    bar = figure.colorbar(mesh, orientation="horizontal", extend=extend, **where)
    bar.set_ticks([-limit, 0, limit], labels=[f"−{limit:.3g}", "0", f"+{limit:.3g}"])
    bar.set_label(colour_label(attribution, limit, meaning), fontsize=8)
    bar.ax.tick_params(labelsize=8)
    if is_the_models_own(attribution) and not (values < 0).any():
        bar.ax.set_xlim(0, limit)
    return bar


def cell_edges(centres: np.ndarray) -> np.ndarray:
    """Return the n + 1 edges of n cells: half way between neighbours, the outer ones mirrored.

    Examples
    --------
    >>> cell_edges(np.array([0.0, 1.0, 3.0]))
    array([-0.5,  0.5,  2. ,  4. ])
    """
    if len(centres) == 1:
        half = np.timedelta64(12, "h") if np.issubdtype(centres.dtype, np.datetime64) else 0.5
        return np.array([centres[0] - half, centres[0] + half])
    half_steps = np.diff(centres) / 2
    inner = centres[:-1] + half_steps
    return np.concatenate([[centres[0] - half_steps[0]], inner, [centres[-1] + half_steps[-1]]])


def thin(edges: np.ndarray, values: np.ndarray, most: int = 3000) -> tuple[np.ndarray, np.ndarray]:
    """Return at most `most` cells, each with the strongest value of those it stands for.

    A picture has fewer columns than a long record has cells; leaving the choice to the renderer would lose peaks.

    Examples
    --------
    >>> thin(np.arange(5.0), np.array([0.1, -3.0, np.nan, np.nan]), most=2)[1]
    array([-3., nan])
    """
    step = -(-len(values) // most)
    if step <= 1:
        return edges, values
    padded = np.full(-(-len(values) // step) * step, np.nan)
    padded[: len(values)] = values
    blocks = padded.reshape(-1, step)
    strongest = np.where(np.isnan(blocks), -1, np.abs(blocks)).argmax(axis=1)
    return np.append(edges[:-1:step], edges[-1:]), blocks[np.arange(len(blocks)), strongest]


def draw_envelope(ax: Axes, edges: np.ndarray, values: np.ndarray, most: int = 1500) -> None:
    """Draw the least and the largest value of each of at most `most` blocks of a long series as an area; gaps stay bare."""
    step = -(-len(values) // most)
    padded = np.full(-(-len(values) // step) * step, np.nan)
    padded[: len(values)] = np.where(np.isfinite(values), values, np.nan)
    blocks = padded.reshape(-1, step)
    low, high = np.fmin.reduce(blocks, axis=1), np.fmax.reduce(blocks, axis=1)
    ax.fill_between(edges[:-1:step], low, high, step="post", color=NEUTRAL, linewidth=0.4, zorder=2)


def colour_band(
    ax: Axes, edges: np.ndarray, values: np.ndarray, low: float, high: float, limit: float, **kwargs: Any
) -> QuadMesh:
    """Draw one row of cells between the heights `low` and `high`; missing cells are left bare."""
    edges, values = thin(edges, np.asarray(values, dtype=float))
    values = np.ma.masked_invalid(values)[None]
    return ax.pcolormesh(edges, [low, high], values, cmap=SIGNED, vmin=-limit, vmax=limit, linewidth=0, **kwargs)


def truth_bar(ax: Axes, edges: np.ndarray, truth: np.ndarray, low: float, high: float, **kwargs: Any) -> None:
    """Draw the cells of the known truth as a black bar between the heights `low` and `high`."""
    cells = np.ma.masked_array(np.ones(len(truth)), mask=~truth.astype(bool))[None]
    ax.pcolormesh(edges, [low, high], cells, cmap=_TRUTH, linewidth=0, **kwargs)


def squeezed(array: xr.DataArray, keep: Sequence[Hashable], name: str) -> xr.DataArray:
    """Return `array` with the dims `keep` (those it has), in that order; other dims must have one entry."""
    if not isinstance(array, xr.DataArray):
        raise TypeError(
            f"{name} must be an xarray.DataArray, got {type(array).__name__}; for a result use ds.attribution"
        )
    extra = [dim for dim in array.dims if dim not in keep]
    for dim in extra:
        if array.sizes[dim] != 1:
            raise ValueError(
                f"a picture shows one {dim} at a time, but {name} has {array.sizes[dim]} along {dim!r}; "
                f"choose one, as in {name}.isel({dim}=0)"
            )
    return array.squeeze(extra, drop=True).transpose(*[dim for dim in keep if dim in array.dims])


def aligned(signal: xr.DataArray, other: xr.DataArray, name: str) -> xr.DataArray:
    """Return `other` in the order of dims of `signal`, having checked that both label the same cells."""
    if set(signal.dims) != set(other.dims):
        raise ValueError(f"{name} has dims {other.dims}, the signal {signal.dims}; they must be the same")
    for dim in signal.dims:
        both = dim in signal.indexes and dim in other.indexes
        if signal.sizes[dim] != other.sizes[dim] or (both and not signal.indexes[dim].equals(other.indexes[dim])):
            raise ValueError(
                f"{name} and the signal differ along {dim!r} ({other.sizes[dim]} and {signal.sizes[dim]} labels); "
                "select the same part of both"
            )
    return other.transpose(*signal.dims)


def axis_values(array: xr.DataArray, dim: Hashable) -> np.ndarray:
    """Return what to draw `dim` against: its coordinate where that is numbers or dates, else positions."""
    if dim in array.coords and array[dim].dtype.kind in "iufM":
        values = array[dim].values
        return values if values.dtype.kind == "M" else values.astype(float)
    return np.arange(array.sizes[dim], dtype=float)


def axis_units(array: xr.DataArray, dim: Hashable) -> str:
    """Return the units of the coordinate `dim`; if it names none, a float `time` is in seconds, lat and lon in degrees."""
    if dim not in array.coords or array[dim].dtype.kind not in "iuf":
        return ""
    kind = role(dim, array[dim].attrs)
    default = {"time": "s" if array[dim].dtype.kind == "f" else "", "latitude": "°N", "longitude": "°E"}.get(
        str(kind), ""
    )
    return str(array[dim].attrs.get("units", default))


def axis_label(array: xr.DataArray, dim: Hashable) -> str:
    """Return the axis label of `dim`: its name, and its units where they are known."""
    units = axis_units(array, dim)
    return f"{dim} [{units}]" if units else str(dim)


def series_label(name: str, units: str) -> str:
    """Return the label beside a series: its name, below it its units, if it has any ("1" is CF for a number without units).

    >>> series_label("HR", "1/min"), series_label("pH", "1")
    ('HR\\n[1/min]', 'pH')
    """
    return f"{name}\n[{units}]" if units not in ("", "1") else name


def draw_series(ax: Axes, across: np.ndarray, values: np.ndarray, **line: Any) -> None:
    """Draw a series as a line, with gaps where values are missing, and as points those between gaps, which no line reaches.

    Where a tenth or more lie so, the series is one of single measurements, and all are points.
    """
    ax.plot(across, values, color=INK, **line)
    known = np.isfinite(values)
    beside = np.pad(known, 1)
    alone = known & ~beside[:-2] & ~beside[2:]
    if alone.any():
        points = known if 10 * alone.sum() >= known.sum() else alone
        ax.plot(across[points], values[points], ls="", marker=".", ms=4, color=INK)
    if not known.any():
        ax.text(0.5, 0.5, "no value", color=NEUTRAL, fontsize=8, ha="center", va="center", transform=ax.transAxes)
        ax.set_yticks([])


def new_figure(width: float, height: float) -> Figure:
    """Return a new figure of so many inches, with constrained layout."""
    return Picture(figsize=(width, height), layout="constrained")


def literal_text(draw: Callable[P, Figure]) -> Callable[P, Figure]:
    """Decorate a drawing function so that its text is literal: a dollar in a name begins no formula."""

    @functools.wraps(draw)
    def drawn(*args: P.args, **kwargs: P.kwargs) -> Figure:
        given: Any = kwargs.get("figure") or getattr(kwargs.get("ax"), "figure", None)
        before = [] if given is None else given.findobj(Text)  # the user's own text is left alone
        figure = draw(*args, **kwargs)
        left = {id(text) for text in [*before, *_tick_numbers(figure)]}
        for text in figure.findobj(Text):
            if id(text) not in left:
                text.set_parse_math(False)
        for ax in figure.axes:
            for axis in (ax.xaxis, ax.yaxis):
                axis.label.set_text(_shortened(axis.label.get_text()))
                if isinstance(names := axis.get_major_formatter(), FixedFormatter):
                    axis.set_major_formatter(FixedFormatter([_shortened(str(name), _NAME) for name in names.seq]))
        return figure

    return drawn


_LINE, _NAME = 96, 48  # characters of a line of an axis label and of a tick label that leave room for the picture


def _shortened(text: str, most: int = _LINE) -> str:
    """Return `text` with each line cut at `most` characters.

    >>> _shortened("a" * 200, 3), _shortened("as it is")
    ('aa…', 'as it is')
    """
    return "\n".join(line if len(line) <= most else f"{line[: most - 1]}…" for line in text.split("\n"))


def _tick_numbers(figure: Figure) -> list[Text]:
    """Return the tick labels of numeric axes, which matplotlib writes itself (powers of ten as formulas)."""
    axes = [axis for ax in figure.axes for axis in (ax.xaxis, ax.yaxis)]
    numeric = [axis for axis in axes if not isinstance(axis.get_major_formatter(), FixedFormatter | FuncFormatter)]
    return [label for axis in numeric for label in axis.get_majorticklabels()]


def despine(ax: Axes) -> None:
    """Hide the top and right spines and make the tick labels small."""
    ax.spines[["top", "right"]].set_visible(False)
    ax.tick_params(labelsize=8)


def padded_limits(values: np.ndarray) -> tuple[float, float]:
    """Return axis limits 12 % of the range beyond the finite values."""
    values = values[np.isfinite(values)]
    if values.size == 0:
        return -1.0, 1.0
    low, high = float(values.min()), float(values.max())
    pad = 0.12 * (high - low) or 0.5 * abs(high) or 1.0
    return low - pad, high + pad
