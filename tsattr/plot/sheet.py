"""The sheet round the paper of an ECG: how large it is printed, its grid, heading, footer, and panels of other channels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, QuadMesh
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from . import shade
from .lettering import broken, height_of

MINOR, MAJOR, PAPER = "#f6dcd8", "#e9b5ae", "#fffdfc"
NAME_BOX = {"facecolor": PAPER, "alpha": 0.75, "edgecolor": "none", "pad": 0.6}
MM_PER_INCH = 25.4
MARGIN, LANE, PANEL, BAR_LENGTH = 4.0, 4.0, 17.0, 84.0  # mm in print
NARROW = 190.0  # mm in print; below this the colour bar has no room beside the footer's text and goes under it


@dataclass(frozen=True)
class Scale:
    """Millimetres of paper of a second and of a millivolt, and how large a millimetre of paper is printed."""

    speed: float
    gain: float
    printed: float = 1.0

    def mm(self, printed: float) -> float:
        """Return what is so many mm in print in mm of paper."""
        return printed / self.printed

    def font(self, points: float) -> float:
        """Return the size of a text: smaller on a sheet that is printed smaller, but not below 6 points."""
        return points if self.printed >= 1 else max(min(points, 6.0), points * self.printed**0.5)

    def line(self, width: float) -> float:
        """Return the width of a line in points: thinner on a sheet that is printed smaller."""
        return width * min(1.0, max(0.6, self.printed))

    def words(self, units: bool) -> str:
        """Return the scale in words."""
        speed, gain = self.speed * self.printed, self.gain * self.printed
        up = f"{gain:.3g} mm/mV" if units else f"{gain:.3g} mm per unit (no units given, mV assumed)"
        side, name = (1, "small") if self.printed >= 0.5 else (5, "large")
        square = f"{name} square {side / self.speed:g} s × {side / self.gain:g} mV"
        size = "" if self.printed == 1 else f"   printed at {self.printed:.0%}"
        return f"{speed:.3g} mm/s   {up}   {square}{size}"


class Heading(NamedTuple):
    """Lines of text above a sheet, broken to its width: each with its size, weight and height; and the height of all, in mm."""

    lines: list[tuple[str, float, str, float]]
    height: float

    @classmethod
    def of(cls, title: str, line: str, paper_width: float, scale: Scale) -> Heading:
        """Return a heading of a title and a line on what is known; either may be empty."""
        lines = []
        for text, points, weight in ((title, 11.0, "bold"), (line, 8.5, "normal")):
            if text:
                size = scale.font(points)
                whole = broken(text, size, paper_width * scale.printed, weight)
                lines.append((whole, size, weight, height_of(whole, size) + 0.5))
        return cls(lines, sum(height for *_, height in lines) + 0.5 * bool(lines))

    def draw(self, ax: Axes, bottom: float, scale: Scale) -> None:
        """Write it upward from `bottom`, mm of paper."""
        for text, size, weight, height in reversed(self.lines):
            ax.text(0, bottom + scale.mm(0.8), text, fontsize=size, weight=weight, va="bottom")
            bottom += scale.mm(height)


@dataclass(frozen=True)
class Footer:
    """What lies below the paper, mm in print downward from it: marks of waves, panels, times, text and the colour bar."""

    scale: Scale
    lane: float  # height of the lane of waves
    ticks: float  # where times are written
    text: float  # where the text begins
    lines: str
    height: float
    bar: tuple[float, float, float] = (0.0, 0.0, 0.0)  # left, bottom and length in the figure
    label: str = ""

    @classmethod
    def of(cls, said: list[str], label: str | None, room: float, scale: Scale, *, waves: bool, panels: int) -> Footer:
        """Return the footer of a sheet with `room` mm in print across; `label` is that of the colour bar, if there is one."""
        beside = label is not None and room >= NARROW
        size, small = scale.font(8), scale.font(7)
        lines = broken("\n".join(said), size, room - (BAR_LENGTH + 8) * beside)
        lane, tall = LANE * waves, height_of(lines, size) + 1
        ticks = lane + panels * PANEL + 0.8
        text = ticks + height_of("0 s", small) + 1.2
        if label is None:
            return cls(scale, lane, ticks, text, lines, text + tall + 1)
        length = min(BAR_LENGTH, room - 8)
        label = broken(label, small, length + 5 if beside else room - 4)
        top = text + (0.5 if beside else tall + 1)  # of the bar, which is 2.5 high
        low = top + 2.5 + height_of("0", size) + 1.5 + height_of(label, small) + 1
        height = max(text + tall, low) + 1
        left = MARGIN + (room - length - 2 if beside else 2.0)
        return cls(scale, lane, ticks, text, lines, height, (left, height - top - 2.5, length), label)

    def colour_bar(self, figure: Figure, mesh: QuadMesh, maps: xr.DataArray, bound: float) -> None:
        """Draw the colour bar in its place."""
        left, bottom, length = self.bar
        wide, high = figure.get_size_inches() * MM_PER_INCH
        axes = figure.add_axes((left / wide, bottom / high, length / wide, 2.5 / high))
        bar = shade.colour_bar(figure, mesh, maps, bound, cax=axes)
        bar.set_label(self.label, fontsize=self.scale.font(7), loc="left" if left < length else "right", labelpad=1)
        bar.ax.tick_params(labelsize=self.scale.font(8), pad=2, length=2)


def blank(
    figure: Figure | None, width: float, height: float, footer: float, header: float, scale: Scale
) -> tuple[Figure, Axes]:
    """Return a figure of exactly the right size, and axes over the paper whose data units are mm of paper."""
    s = scale.printed
    full = np.array([width * s + 2 * MARGIN, height * s + MARGIN + footer + header])
    figure = figure or shade.Picture()
    figure.set_layout_engine("none")
    figure.set_size_inches(*(full / MM_PER_INCH))
    ax = figure.add_axes((MARGIN / full[0], footer / full[1], width * s / full[0], height * s / full[1]))
    ax.set(xlim=(0, width), ylim=(0, height), xticks=[], yticks=[], facecolor=PAPER)
    for spine in ax.spines.values():
        spine.set(color=MAJOR)
    for spacing, colour, thickness in ((1, MINOR, 0.35), (5, MAJOR, 0.6)):
        if spacing * s < 0.5:
            continue  # would print as a tint
        upright = [[(x, 0), (x, height)] for x in np.arange(0, width + 0.5, spacing)]
        level = [[(0, y), (width, y)] for y in np.arange(0, height + 0.5, spacing)]
        thickness *= min(1.0, s**0.5)
        ax.add_collection(LineCollection(upright + level, colors=colour, linewidths=thickness, zorder=1))
    return figure, ax


def panel(
    figure: Figure, ax: Axes, bottom: float, scale: Scale, first: float, channel: xr.DataArray, values: np.ndarray
) -> Axes:
    """Return axes below the paper, its bottom so many printed mm above the figure's, for a channel with a scale of its own."""
    high = figure.get_size_inches()[1] * MM_PER_INCH
    paper = ax.get_position()
    axes = figure.add_axes((paper.x0, (bottom + 1) / high, paper.width, (PANEL - 5.5) / high))
    axes.set(xlim=ax.get_xlim(), ylim=shade.padded_limits(values), xticks=[])
    axes.spines[["top", "right", "bottom"]].set_visible(False)
    axes.spines["left"].set_position(("data", first - scale.mm(1)))
    axes.yaxis.set_major_locator(MaxNLocator(3))
    axes.tick_params(labelsize=scale.font(7), length=2, pad=1.5)
    units = str(channel.coords["units"].item() if "units" in channel.coords else channel.attrs.get("units", ""))
    name = f"{channel['lead'].item()}{f' [{units}]' if units else ''}"
    style: Any = {"fontsize": scale.font(9), "weight": "bold", "va": "bottom"}
    axes.text(first + 1, 1.02, name, transform=axes.get_xaxis_transform(), **style)
    return axes
