"""The electrocardiogram on its paper, true to scale, with attribution as bands behind the traces."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, QuadMesh
from matplotlib.figure import Figure

from ..core.units import voltage
from ..ecg import LEADS
from . import shade

SECONDS = {"s": 1.0, "sec": 1.0, "second": 1.0, "seconds": 1.0, "ms": 1e-3, "min": 60.0, "h": 3600.0}
MINOR, MAJOR, PAPER = "#f6dcd8", "#e9b5ae", "#fffdfc"
MM_PER_INCH = 25.4
NAME_BOX = {"facecolor": PAPER, "alpha": 0.75, "edgecolor": "none", "pad": 0.6}
MARGIN, HEADER, PLAIN_FOOTER, FOOTER, BAR = 4.0, 8.0, 14.0, 19.0, 15.0  # mm; BAR: a colour bar and its label
LEAST_WIDTH = 90.0  # mm; the texts below the paper need as much
NARROW = 190.0  # mm; below this the colour bar has no room beside the footer's text and goes under it
MOST_HEIGHT = 30.0  # mm above and below its zero that a row makes room for; what is larger runs over, as on paper


class Strip(NamedTuple):
    """A stretch of one lead, and where it begins on the paper (mm from the start of the traces)."""

    lead: int
    cells: slice
    left: float


@shade.literal_text
def ecg(
    signal: xr.DataArray,
    attribution: xr.DataArray | None = None,
    *,
    layout: str = "3x4+II",
    speed: float = 25.0,
    gain: float = 10.0,
    start: float | None = None,
    stop: float | None = None,
    truth: xr.DataArray | None = None,
    limit: float | None = None,
    title: str | None = None,
    figure: Figure | None = None,
) -> Figure:
    """Draw an ECG on paper: small squares of 1 mm, large ones of 5 mm, true to scale in the saved figure.

    Parameters
    ----------
    signal : DataArray
        Dims lead and time, or time alone, of one sample. `attrs["units"]` is mV (taken for granted where there is
        none), uV or V. As a recorder's high-pass filter would, each stretch is drawn about its median.
    attribution : DataArray, optional
        Same dims; drawn as bands, orange for the target and blue against it, with one scale for all leads.
    layout : str
        "3x4+II": four columns of three leads, each a quarter of the time, above a rhythm strip of the named lead
        ("3x4" has none). "12x1": every lead in full. Unless all twelve standard leads are there, the leads are
        stacked as they come; leads beyond the twelve follow below.
    speed, gain : float
        mm per second and mm per mV.
    start, stop : float, optional
        Seconds on the time coordinate; by default the first ten seconds.
    truth : DataArray, optional
        True where attribution is known to belong; drawn as a black bar under the trace.
    limit : float, optional
        Value at which the colours saturate; by default the 99th percentile of abs(attribution) over all leads.
    figure : Figure, optional
        To draw in; it is given the size that the scale requires.

    Returns
    -------
    Figure
        Whose first axes has millimetres as data units. Save it with any dpi; the scale is in its size in inches.

    Raises
    ------
    ValueError
        If the units are not volts, the layout is unknown, or nothing lies between `start` and `stop`.

    Notes
    -----
    In "3x4" three quarters of most leads are not shown. Where attribution falls there, the footer says how much.

    Source: the usual recorder settings; 1 mm is then 0.04 s and 0.1 mV.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> t = np.arange(0, 4, 0.01)
    >>> x = xr.DataArray(np.sin(t)[None], dims=("lead", "time"), coords={"lead": ["MLII"], "time": t})
    >>> round(float(ecg(x).get_size_inches()[0] * 25.4))  # 15 for the pulse, 100 for 4 s, 5 to the right, margins of 4
    128
    """
    if "lead" not in signal.dims:
        signal = signal.expand_dims(lead=[str(signal.name or "")])
        attribution, truth = (a if a is None else a.expand_dims(lead=signal.lead) for a in (attribution, truth))
    signal = shade.squeezed(signal, ("lead", "time"), "signal")
    values, units = _millivolts(signal)
    colours = _aligned_values(signal, attribution, "attribution")
    marks = _aligned_values(signal, truth, "truth")
    if min(speed, gain) <= 0:
        raise ValueError(f"speed and gain must be positive, got {speed} mm/s and {gain} mm/mV")
    time = _seconds(signal)
    cells = _time_slice(time, start, stop)
    rows = _rows(layout, [str(name) for name in signal.lead.values], time, cells, speed)

    width = (time[cells][-1] - time[cells][0] + _step(time)) * speed
    first = 5.0 * np.ceil((0.2 * speed + 7) / 5)  # room for the pulse
    paper_width = max(LEAST_WIDTH, 5.0 * np.ceil((first + width + 2) / 5))
    tops, centres, bottoms, paper_height = _heights(rows, values * gain, gain)
    footer = FOOTER + BAR * (paper_width < NARROW) if attribution is not None else PLAIN_FOOTER
    figure, ax = _sheet(figure, paper_width, paper_height, footer, HEADER if title else 0.0)

    scale = 1.0 if attribution is None else shade.colour_limit(colours, limit)
    for row, top, centre, bottom in zip(rows, tops, centres, bottoms):
        _calibration_pulse(ax, first - 0.2 * speed - 4, centre, 0.2 * speed, gain)
        for lead, part, left in row:
            x = first + left + (time[part] - time[part][0]) * speed
            edges = shade.cell_edges(x)
            if attribution is not None:
                mesh = shade.colour_band(ax, edges, colours[lead, part], bottom, top, scale, zorder=1.5)
            if truth is not None:
                shade.truth_bar(ax, edges, marks[lead, part], bottom, bottom + 1, zorder=3)
            name = str(signal.lead.values[lead])
            ax.plot(x, centre + gain * _centred(values[lead, part]), color=shade.INK, lw=0.8, zorder=3, label=name)
            ax.text(x[0] + 1, top - 0.5, name, fontsize=9, weight="bold", va="top", bbox=NAME_BOX, zorder=4)
            if left:
                ax.plot([edges[0]] * 2, [centre - 4, centre + 4], color=shade.INK, lw=0.8, zorder=3)

    for second in np.arange(np.ceil(time[cells][0]), time[cells][-1] + 1e-9):
        x = first + (second - time[cells][0]) * speed
        ax.text(x, -0.8, f"{second:g} s", fontsize=7, ha="center", va="top", color="#555555")
    if title:
        ax.text(0, paper_height + 2.5, title, fontsize=11, weight="bold", va="bottom")
    per_volt = f"{gain:g} mm/mV" if units else f"{gain:g} mm per unit (no units given, mV assumed)"
    lines = [f"{speed:g} mm/s   {per_volt}   small square {1 / speed:g} s × {1 / gain:g} mV"]
    if attribution is not None:
        lines += _hidden_share(rows, colours)
    if truth is not None:
        lines.append("black bar: known truth")
    ax.text(0, -6, "\n".join(lines), fontsize=8, va="top")
    if attribution is not None:
        _colour_bar(figure, mesh, attribution, scale, paper_width)
    return figure


def _millivolts(signal: xr.DataArray) -> tuple[np.ndarray, bool]:
    """Return the values in mV, and whether units were given; by attrs, or for each lead by a coordinate `units`."""
    known = signal.coords["units"].values if "units" in signal.coords else signal.attrs.get("units")
    if known is None or np.all(known == ""):
        return signal.values.astype(float), False
    names = np.broadcast_to(known, signal.sizes["lead"])
    sizes = [voltage(str(name)) for name in names]
    odd = [f"{lead}: {name}" for lead, name, size in zip(signal.lead.values, names, sizes) if size is None]
    if odd:
        raise ValueError(f"ECG paper is for mV, uV or V, got units {', '.join(odd)}; use plot.trace for these leads")
    return signal.values * np.array([size[1] for size in sizes if size])[:, None], True


def _seconds(signal: xr.DataArray) -> np.ndarray:
    if "time" not in signal.coords:
        raise ValueError("ECG paper needs a time coordinate; give one with x.assign_coords(time=np.arange(n) / rate)")
    time = signal.time
    if time.dtype.kind in "Mm":
        return np.asarray((time.values - time.values[0]) / np.timedelta64(1, "s"))
    units = time.attrs.get("units", "s")
    if units not in SECONDS:
        raise ValueError(f"time must have units of {', '.join(SECONDS)}, got {units!r}; convert the coordinate")
    return np.asarray(time.values.astype(float) * SECONDS[units])


def _aligned_values(signal: xr.DataArray, other: xr.DataArray | None, name: str) -> np.ndarray:
    if other is None:
        return np.empty(signal.shape)
    return shade.aligned(signal, shade.squeezed(other, ("lead", "time"), name), name).values


def _step(time: np.ndarray) -> float:
    return float(np.median(np.diff(time))) if len(time) > 1 else 0.0


def _time_slice(time: np.ndarray, start: float | None, stop: float | None) -> slice:
    start = time[0] if start is None else start
    stop = start + 10.0 if stop is None else stop
    inside = np.flatnonzero((time >= start - 1e-9) & (time < stop - 1e-9))
    if inside.size < 2:
        raise ValueError(
            f"nothing to draw between start={start:g} s and stop={stop:g} s: the record runs from {time[0]:g} s to "
            f"{time[-1]:g} s"
        )
    return slice(inside[0], inside[-1] + 1)


def _rows(layout: str, names: list[str], time: np.ndarray, cells: slice, speed: float) -> list[list[Strip]]:
    """Return the strips of each row, from the top."""
    grid, _, rhythm = layout.partition("+")
    if grid not in ("3x4", "12x1") or (grid == "12x1" and rhythm):
        raise ValueError(f"layout must be '3x4+II' (or another rhythm lead), '3x4' or '12x1', got {layout!r}")
    position = {name.lower(): i for i, name in reversed(list(enumerate(names)))}
    standard = [position.get(name.lower(), -1) for name in LEADS]
    if -1 in standard:
        return [[Strip(i, cells, 0.0)] for i in range(len(names))]
    others = [i for i in range(len(names)) if i not in standard]
    if grid == "12x1":
        return [[Strip(i, cells, 0.0)] for i in standard + others]
    if rhythm and rhythm.lower() not in position:
        raise ValueError(f"layout {layout!r} asks for a rhythm strip of {rhythm!r}; the leads are {', '.join(names)}")
    cuts = np.linspace(cells.start, cells.stop, 5).round().astype(int)
    columns = [slice(a, b) for a, b in itertools.pairwise(cuts) if b > a]
    lefts = [(time[column][0] - time[cells][0]) * speed for column in columns]
    rows = [[Strip(standard[3 * c + r], columns[c], lefts[c]) for c in range(len(columns))] for r in range(3)]
    full = [position[rhythm.lower()]] * bool(rhythm) + others
    return rows + [[Strip(i, cells, 0.0)] for i in full]


def _centred(values: np.ndarray) -> np.ndarray:
    return values - np.nanmedian(values) if np.isfinite(values).any() else values


def _heights(
    rows: Sequence[Sequence[Strip]], millimetres: np.ndarray, gain: float
) -> tuple[list[float], list[float], list[float], float]:
    """Return the top, zero line and bottom of every row and the paper's height: mm, zero lines on large squares."""
    tops: list[float] = []
    centres: list[float] = []
    bottoms: list[float] = []
    y = 0.0
    for row in reversed(rows):
        parts = [_centred(millimetres[strip.lead, strip.cells]) for strip in row]
        highest = np.nanmax(np.concatenate(parts), initial=gain)  # the pulse must fit
        lowest = np.nanmin(np.concatenate(parts), initial=-3.0)
        centre = 5.0 * np.ceil((y + min(-lowest, MOST_HEIGHT) + 2) / 5)
        top = centre + min(highest, MOST_HEIGHT) + 2
        bottoms.append(y + 0.5)
        centres.append(centre)
        tops.append(top - 0.5)
        y = top
    height = 5.0 * np.ceil((y + 1) / 5)
    return tops[::-1], centres[::-1], bottoms[::-1], height


def _sheet(figure: Figure | None, width: float, height: float, footer: float, header: float) -> tuple[Figure, Axes]:
    """Return a figure of exactly the right size, and axes over the paper whose data units are mm."""
    full = np.array([width + 2 * MARGIN, height + MARGIN + footer + header])
    figure = figure or shade.Picture()
    figure.set_layout_engine("none")
    figure.set_size_inches(*(full / MM_PER_INCH))
    ax = figure.add_axes((MARGIN / full[0], footer / full[1], width / full[0], height / full[1]))
    ax.set(xlim=(0, width), ylim=(0, height), xticks=[], yticks=[], facecolor=PAPER)
    for spine in ax.spines.values():
        spine.set(color=MAJOR)
    for spacing, colour, thickness in ((1, MINOR, 0.35), (5, MAJOR, 0.6)):
        upright = [[(x, 0), (x, height)] for x in np.arange(0, width + 0.5, spacing)]
        level = [[(0, y), (width, y)] for y in np.arange(0, height + 0.5, spacing)]
        ax.add_collection(LineCollection(upright + level, colors=colour, linewidths=thickness, zorder=1))
    return figure, ax


def _calibration_pulse(ax: Axes, left: float, zero: float, width: float, gain: float) -> None:
    """Draw the calibration pulse: 1 mV for 0.2 s."""
    x = left + np.array([-1.5, 0, 0, width, width, width + 1.5])
    ax.plot(x, zero + gain * np.array([0, 0, 1, 1, 0, 0]), color=shade.INK, lw=0.8, zorder=3)


def _hidden_share(rows: Sequence[Sequence[Strip]], colours: np.ndarray) -> list[str]:
    """Return a line on the share of abs(attribution) that no strip shows; none below half a percent."""
    shown = np.zeros(colours.shape, dtype=bool)
    for row in rows:
        for strip in row:
            shown[strip.lead, strip.cells] = True
    size = np.abs(np.nan_to_num(colours))
    share = size[~shown].sum() / size.sum() if size.sum() else 0.0
    return [f"{share:.0%} of the absolute attribution lies outside what is shown"] if share > 0.005 else []


def _colour_bar(figure: Figure, mesh: QuadMesh, attribution: xr.DataArray, scale: float, paper_width: float) -> None:
    full_width, full_height = figure.get_size_inches() * MM_PER_INCH
    left = MARGIN + (2.0 if paper_width < NARROW else paper_width - 82.0)
    length = min(80.0, paper_width - 4)
    axes = figure.add_axes((left / full_width, 12.0 / full_height, length / full_width, 2.5 / full_height))
    bar = shade.colour_bar(figure, mesh, attribution, scale, cax=axes)
    bar.set_label(bar.ax.get_xlabel(), fontsize=7, loc="left" if paper_width < NARROW else "right", labelpad=1)
