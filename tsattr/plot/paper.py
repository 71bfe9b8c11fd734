"""The electrocardiogram on its paper, true to scale, with attribution as bands behind the traces."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.figure import Figure

from ..core.units import voltage
from ..ecg import LEADS
from ..ecg.leads import may_be_ecg
from . import captions, shade
from .captions import Clock
from .lettering import width_of
from .sheet import LANE, MARGIN, NAME_BOX, PANEL, Footer, Heading, Scale, blank, panel

LEAST_WIDTH = 90.0  # mm; the texts below the paper need as much
MOST_HEIGHT = 30.0  # mm above and below its zero that a row makes room for; what is larger runs over, as on paper
WHOLE, BETWEEN = 250.0, 5.0  # mm that four columns of whole leads may take, and what lies between them
WAVES = {"P": ("#777777", 2.2), "QRS": (shade.INK, 2.2), "ST": ("#777777", 0.8), "T": ("#aaaaaa", 2.2)}  # colour, width


class Strip(NamedTuple):
    """A stretch of one lead, and where it begins on the paper (mm from the start of the traces)."""

    lead: int
    cells: slice
    left: float


@shade.literal_text
def ecg(
    signal: xr.DataArray,
    attribution: xr.DataArray | xr.Dataset | None = None,
    *,
    layout: str = "3x4+II",
    speed: float = 25.0,
    gain: float = 10.0,
    start: float | None = None,
    stop: float | None = None,
    truth: xr.DataArray | None = None,
    beats: xr.DataArray | None = None,
    waves: xr.DataArray | None = None,
    limit: float | None = None,
    title: str | None = None,
    width: float | None = None,
    figure: Figure | None = None,
) -> Figure:
    """Draw an ECG on paper: small squares of 1 mm, large ones of 5 mm, true to scale in the saved figure.

    What a monitor records beside the ECG (pressures, pulse, respiration: other units, or named so) is drawn below the paper
    along the same time, each channel with its own scale.

    Parameters
    ----------
    signal : DataArray
        Dims lead and time, or time alone, of one sample. `attrs["units"]`, or a coordinate `units` along lead, is mV (taken
        for granted where there is none), uV or V for an ECG. As a recorder's high-pass filter would, each stretch is drawn about its median.
        The record's name, the patient's age and sex, and when it was recorded are written above it where `attrs` have
        them, as from `tsattr.read_wfdb`.
    attribution : DataArray or Dataset, optional
        Same dims; drawn as bands, orange for the target and blue against it, with one scale for all leads. Of a result of
        `tsattr.explain` for one sample, what the model predicts is written above the sheet.
    layout : str
        "3x4+II": four columns of three leads, each a quarter of the time, above a rhythm strip of the named lead
        ("3x4" has none). Of records so short that four columns of them take 250 mm (2.5 s), each lead is shown in full, and a
        rhythm strip would be the same again. "12x1": every lead in full. Unless all twelve standard leads are there, the
        leads are stacked as they come; leads beyond the twelve follow below.
    speed, gain : float
        mm per second and mm per mV.
    start, stop : float, optional
        Seconds on the time coordinate; by default the first ten seconds. The times written below are the record's own, also
        of a sample that `tsattr.io.split` cut.
    truth : DataArray, optional
        True where attribution is known to belong; drawn as a black bar under the trace.
    beats : DataArray, optional
        Coded annotations along time, or R peaks as booleans, written above the paper; by default the coordinate
        `annotation` (as from `tsattr.read_wfdb`), else `r_peak`. A coordinate `rhythm` is written beside them.
    waves : DataArray, optional
        Coded waves along time, as from `tsattr.ecg.waves`, marked below the paper; by default the coordinate `wave`.
    limit : float, optional
        Value at which the colours saturate; by default the 99th percentile of abs(attribution) over all leads.
    title : str, optional
        In place of the record's name.
    width : float, optional
        Width of the whole sheet in print, in mm, for which it is made smaller where need be; by default it is true to scale.
        `tsattr.plot.save` sets it.
    figure : Figure, optional
        To draw in; it is given the size that the scale requires.

    Returns
    -------
    Figure
        Whose first axes has millimetres of paper as data units. Save it with any dpi; the scale is in its size in inches.

    Raises
    ------
    ValueError
        If no lead may be one of an ECG, the layout is unknown, or nothing lies between `start` and `stop`.

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
    again = partial(
        ecg, signal, attribution, layout=layout, speed=speed, gain=gain, start=start, stop=stop, truth=truth,
        beats=beats, waves=waves, limit=limit, title=title,
    )  # fmt: skip
    if min(speed, gain) <= 0:
        raise ValueError(f"speed and gain must be positive, got {speed} mm/s and {gain} mm/mV")
    result = _of_one_sample(attribution) if isinstance(attribution, xr.Dataset) else None
    maps = attribution["attribution"] if isinstance(attribution, xr.Dataset) else attribution
    one = signal.squeeze("sample") if signal.sizes.get("sample") == 1 else signal  # which says where the sample began
    if "lead" not in signal.dims:
        signal = signal.expand_dims(lead=[str(signal.name or "")])
        maps, truth = (a if a is None else a.expand_dims(lead=signal.lead) for a in (maps, truth))
    signal = shade.squeezed(signal, ("lead", "time"), "signal")
    clock = Clock.of(one)
    cells = _time_slice(clock.time, start, stop)
    traces = _Traces.of(signal, maps, truth, limit)
    rows = _rows(layout, traces.names, traces.on_paper, clock.time, cells, speed)
    marks = _Marks.of(one, beats, waves)

    right = max(strip.left + _length(clock.time, strip.cells) * speed for row in rows for strip in row)
    first = 5.0 * np.ceil((0.2 * speed + 7) / 5)  # room for the pulse
    paper_width = 5.0 * np.ceil((first + right + 2) / 5)
    room = LEAST_WIDTH if width is None else width - 2 * MARGIN
    scale = Scale(speed, gain, 1.0 if width is None else min(1.0, room / paper_width))
    paper_width = max(paper_width, room)
    heights = _heights(rows, traces.values * gain, gain)
    record, known = captions.heading(one, result, clock, clock.time[cells.start])
    head = Heading.of(record if title is None else title, known, paper_width, scale)
    said = [scale.words(traces.units), *traces.words(rows, cells), *marks.words()]
    said += [] if maps is None else [captions.RESEARCH]
    label = None if maps is None else shade.colour_label(maps, traces.bound)
    foot = Footer.of(
        said, label, paper_width * scale.printed, scale, waves=marks.waves is not None, panels=len(traces.others)
    )
    figure, ax = blank(figure, paper_width, heights[-1], foot.height, head.height + marks.height, scale)
    place = partial(_place, clock.time, first, speed)
    mesh = _draw_paper(ax, traces, rows, heights, place, scale, first)
    for j, k in enumerate(traces.others):
        bottom = foot.height - foot.lane - (j + 1) * PANEL
        mesh = _draw_panel(figure, ax, bottom, traces, Strip(k, cells, 0.0), place, scale, first) or mesh
    longest = max(reversed(rows), key=lambda row: row[-1].left + _length(clock.time, row[-1].cells) * speed)
    for strip in longest:
        _draw_times(ax, clock, strip, place, -scale.mm(foot.ticks), scale, last=strip is longest[-1])
        marks.draw(ax, strip, place, heights[-1], scale)
    head.draw(ax, heights[-1] + scale.mm(marks.height), scale)
    ax.text(0, -scale.mm(foot.text), foot.lines, fontsize=scale.font(8), va="top")
    if mesh is not None and maps is not None:
        foot.colour_bar(figure, mesh, maps, traces.bound)
    if isinstance(figure, shade.Picture):
        figure.at_width = lambda mm: again(width=mm)
    return figure


def _of_one_sample(result: xr.Dataset) -> xr.Dataset:
    return result.squeeze([d for d in ("sample", "target") if result.sizes.get(d) == 1])


def _place(time: np.ndarray, first: float, speed: float, strip: Strip, cell: Any) -> Any:
    """Return where a cell of a strip lies on the paper, mm from its left."""
    return first + strip.left + (time[cell] - time[strip.cells.start]) * speed


class _Traces(NamedTuple):
    """What is drawn of each lead: its values, those on paper in mV, its attribution and the truth; and where colours saturate."""

    signal: xr.DataArray
    names: list[str]
    on_paper: list[int]
    others: list[int]
    values: np.ndarray
    units: bool  # whether those of the leads on paper are known
    maps: np.ndarray | None
    truth: np.ndarray | None
    bound: float

    @classmethod
    def of(
        cls, signal: xr.DataArray, maps: xr.DataArray | None, truth: xr.DataArray | None, limit: float | None
    ) -> _Traces:
        known = signal.coords["units"].values if "units" in signal.coords else signal.attrs.get("units") or ""
        units = [str(u) for u in np.broadcast_to(known, signal.sizes["lead"])]
        names = [str(name) for name in signal.lead.values]
        on_paper = [k for k, (name, unit) in enumerate(zip(names, units)) if may_be_ecg(name, unit)]
        if not on_paper:
            odd = ", ".join(f"{name}: {unit or 'no units'}" for name, unit in zip(names, units))
            raise ValueError(
                f"ECG paper is for leads of an ECG in mV, uV or V, got {odd}; use plot.trace for these channels"
            )
        others = [k for k in range(len(names)) if k not in on_paper]
        sizes = [(voltage(unit) or ("", 1.0))[1] if k in on_paper else 1.0 for k, unit in enumerate(units)]
        values = signal.values * np.array(sizes)[:, None]
        given = any(units[k] for k in on_paper)
        coloured, known = _aligned_values(signal, maps, "attribution"), _aligned_values(signal, truth, "truth")
        bound = 1.0 if maps is None else shade.colour_limit(maps, limit)
        return cls(signal, names, on_paper, others, values, given, coloured, known, bound)

    def words(self, rows: Sequence[Sequence[Strip]], cells: slice) -> list[str]:
        """Return lines of the footer on the share of abs(attribution) that no strip shows, from half a percent, and on the truth."""
        said = [] if self.truth is None else ["black bar: known truth"]
        if self.maps is None:
            return said
        shown = np.zeros(self.maps.shape, dtype=bool)
        for lead, part in [(k, cells) for k in self.others] + [(s.lead, s.cells) for row in rows for s in row]:
            shown[lead, part] = True
        size = np.abs(np.nan_to_num(self.maps))
        share = size[~shown].sum() / size.sum() if size.sum() else 0.0
        hidden = [f"{share:.0%} of the absolute attribution lies outside what is shown"] if share > 0.005 else []
        return hidden + said


def _aligned_values(signal: xr.DataArray, other: xr.DataArray | None, name: str) -> np.ndarray | None:
    if other is None:
        return None
    return shade.aligned(signal, shade.squeezed(other, ("lead", "time"), name), name).values


class _Marks(NamedTuple):
    """Beats and rhythm, written above the paper, and waves, marked below it."""

    beats: xr.DataArray | None
    rhythm: xr.DataArray | None
    waves: xr.DataArray | None

    @classmethod
    def of(cls, signal: xr.DataArray, beats: xr.DataArray | None, waves: xr.DataArray | None) -> _Marks:
        return cls(
            captions.along_time(signal, beats, "annotation", "r_peak"),
            captions.along_time(signal, None, "rhythm"),
            captions.along_time(signal, waves, "wave"),
        )

    @property
    def height(self) -> float:
        return LANE * ((self.beats is not None) + (self.rhythm is not None))

    def words(self) -> list[str]:
        return [] if self.waves is None else [captions.evidence(self.waves)]

    def draw(self, ax: Axes, strip: Strip, place: Callable[..., Any], top: float, scale: Scale) -> None:
        style: Any = {"fontsize": scale.font(7), "va": "bottom"}
        y = top + scale.mm(0.8)
        if self.beats is not None:
            for cell, symbol in captions.symbols(self.beats, strip.cells):
                ax.text(place(strip, cell), y, symbol, ha="center", **style)
            y += scale.mm(LANE)
        for begin, _, name in captions.runs(self.rhythm, strip.cells):
            ax.text(place(strip, begin), y, f"rhythm {name}", color="#555555", **style)
        for begin, end, name in captions.runs(self.waves, strip.cells):
            _draw_wave(ax, place(strip, begin), place(strip, end - 1), name, scale)


def _draw_paper(
    ax: Axes,
    traces: _Traces,
    rows: Sequence[Sequence[Strip]],
    heights: tuple[list[float], list[float], list[float], float],
    place: Callable[..., Any],
    scale: Scale,
    first: float,
) -> QuadMesh | None:
    """Draw the rows of the paper, each with its calibration pulse; return a mesh of the colours."""
    mesh = None
    for row, top, centre, bottom in zip(rows, *heights[:3]):
        _calibration_pulse(ax, first - 0.2 * scale.speed - 4, centre, 0.2 * scale.speed, scale.gain)
        for strip in row:
            lead, part, name = strip.lead, strip.cells, traces.names[strip.lead]
            x = place(strip, np.arange(part.start, part.stop))
            edges = shade.cell_edges(x)
            if traces.maps is not None:
                mesh = shade.colour_band(ax, edges, traces.maps[lead, part], bottom, top, traces.bound, zorder=1.5)
            if traces.truth is not None:
                shade.truth_bar(ax, edges, traces.truth[lead, part], bottom, bottom + 1, zorder=3)
            line = centre + scale.gain * _centred(traces.values[lead, part])
            ax.plot(x, line, color=shade.INK, lw=scale.line(0.8), zorder=3, label=name)
            style: Any = {"fontsize": scale.font(9), "weight": "bold", "va": "top", "bbox": NAME_BOX}
            ax.text(x[0] + 1, top - 0.5, name, **style, zorder=4)
            if strip.left:
                ax.plot([edges[0]] * 2, [centre - 4, centre + 4], color=shade.INK, lw=scale.line(0.8), zorder=3)
    return mesh


def _draw_panel(
    figure: Figure,
    ax: Axes,
    bottom: float,
    traces: _Traces,
    strip: Strip,
    place: Callable[..., Any],
    scale: Scale,
    first: float,
) -> QuadMesh | None:
    """Draw a channel that is no ECG below the paper; return the mesh of its colours."""
    lead, cells = strip.lead, strip.cells
    values = traces.values[lead, cells]
    below = panel(figure, ax, bottom, scale, first, traces.signal.isel(lead=lead), values)
    x = place(strip, np.arange(cells.start, cells.stop))
    edges, (low, high) = shade.cell_edges(x), below.get_ylim()
    below.plot(x, values, color=shade.INK, lw=scale.line(0.8), zorder=3, label=traces.names[lead])
    if traces.truth is not None:
        shade.truth_bar(below, edges, traces.truth[lead, cells], low, low + (high - low) / 16, zorder=3)
    if traces.maps is None:
        return None
    return shade.colour_band(below, edges, traces.maps[lead, cells], low, high, traces.bound, zorder=1.5)


def _draw_times(
    ax: Axes, clock: Clock, strip: Strip, place: Callable[..., Any], y: float, scale: Scale, *, last: bool
) -> None:
    """Write the recording's own time below a strip, at whole seconds, as often as there is room."""
    time, size = clock.time[strip.cells], scale.font(7)
    room = 1.3 * width_of(clock.label(float(np.ceil(time[-1]))), size) + 1.0
    steps = [s for s in (0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0) if s >= 1 or time[-1] - time[0] < 2]
    step = next((s for s in steps if s * scale.speed * scale.printed >= room), steps[-1])
    begin = np.ceil(round((time[0] + clock.begin) / step, 6)) * step - clock.begin
    end = time[-1] - (0.0 if last else room / 2 / scale.printed / scale.speed)  # where the next strip's begin
    for second in np.arange(begin, end + 1e-9, step):
        x = place(strip, strip.cells.start) + (second - time[0]) * scale.speed
        ax.text(x, y, clock.label(float(second)), fontsize=size, ha="center", va="top", color="#555555")


def _length(time: np.ndarray, cells: slice) -> float:
    """Return the seconds from the first cell of a stretch to the end of its last."""
    part = time[cells]
    return float(part[-1] - part[0] + (np.median(np.diff(time)) if len(time) > 1 else 0.0))


def _time_slice(time: np.ndarray, start: float | None, stop: float | None) -> slice:
    start = time[0] if start is None else start
    stop = start + 10.0 if stop is None else stop
    inside = np.flatnonzero((time >= start - 1e-9) & (time < stop - 1e-9))
    if inside.size < 2:
        raise ValueError(
            f"nothing to draw between start={start:g} s and stop={stop:g} s: the record runs from {time[0]:g} s to "
            f"{time[-1]:g} s"
        )
    return slice(int(inside[0]), int(inside[-1]) + 1)


def _rows(
    layout: str, names: list[str], on_paper: list[int], time: np.ndarray, cells: slice, speed: float
) -> list[list[Strip]]:
    """Return the strips of each row, from the top."""
    grid, _, rhythm = layout.partition("+")
    if grid not in ("3x4", "12x1") or (grid == "12x1" and rhythm):
        raise ValueError(f"layout must be '3x4+II' (or another rhythm lead), '3x4' or '12x1', got {layout!r}")
    position = {names[i].lower(): i for i in reversed(on_paper)}
    standard = [position.get(name.lower(), -1) for name in LEADS]
    if -1 in standard:
        return [[Strip(i, cells, 0.0)] for i in on_paper]
    others = [i for i in on_paper if i not in standard]
    if grid == "12x1":
        return [[Strip(i, cells, 0.0)] for i in standard + others]
    if rhythm and rhythm.lower() not in position:
        raise ValueError(f"layout {layout!r} asks for a rhythm strip of {rhythm!r}; the leads are {', '.join(names)}")
    length = _length(time, cells) * speed
    if whole := 4 * length <= WHOLE:
        columns, lefts = [cells] * 4, [c * (length + BETWEEN) for c in range(4)]
    else:
        cuts = np.linspace(cells.start, cells.stop, 5).round().astype(int).tolist()
        columns = [slice(a, b) for a, b in itertools.pairwise(cuts)]
        lefts = [(time[column][0] - time[cells][0]) * speed for column in columns]
    rows = [[Strip(standard[3 * c + r], columns[c], lefts[c]) for c in range(4)] for r in range(3)]
    full = [position[rhythm.lower()]] if rhythm and not whole else []
    return rows + [[Strip(i, cells, 0.0)] for i in full + others]


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


def _draw_wave(ax: Axes, begin: float, end: float, name: str, scale: Scale) -> None:
    """Mark a wave below the paper, with its letter where there is room."""
    colour, thickness = WAVES.get(name, ("#777777", 1.5))
    y, size = -scale.mm(0.9), scale.font(6)
    ax.plot([begin, end], [y, y], color=colour, lw=thickness, solid_capstyle="butt", clip_on=False, zorder=3)
    if name != "ST" and width_of(name, size) <= (end - begin) * scale.printed + 1.6:
        ax.text((begin + end) / 2, -scale.mm(1.5), name, fontsize=size, ha="center", va="top", color="#555555")


def _calibration_pulse(ax: Axes, left: float, zero: float, width: float, gain: float) -> None:
    """Draw the calibration pulse: 1 mV for 0.2 s."""
    x = left + np.array([-1.5, 0, 0, width, width, width + 1.5])
    ax.plot(x, zero + gain * np.array([0, 0, 1, 1, 0, 0]), color=shade.INK, lw=0.8, zorder=3)
