"""Pictures for print: as wide as a column, with text of a size that can be read and none of it cut."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar, cast

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.text import Text

from ..core.atomic import atomic_write
from ..core.units import UNITS, parse_extent
from . import shade
from .lettering import MM_PER_POINT, broken

A = TypeVar("A", Text, Legend)

MM_PER_INCH = 25.4
SMALLEST = 6.0  # points; text is not made smaller than this in print
_ROUNDS = 6


def save(figure: Figure, path: str | os.PathLike[str], *, width: str | None = None, dpi: float = 300) -> None:
    """Write a picture to a file, whole or not at all, for print where a width is given.

    An ECG sheet is drawn anew for its width, and says at which scale it then is. Of any other picture the texts become smaller
    than they are on a screen, but not smaller than 6 points, and are broken where a line would be cut. The figure itself stays as it is.

    Parameters
    ----------
    figure : Figure
        As from any function of `tsattr.plot`.
    path : path
        Its suffix says the format: .pdf and .svg hold vectors (PDF with its fonts embedded, as TrueType), .png and others pixels.
    width : str, optional
        The width in print with its unit, such as "85mm" (a column) or "170mm" (a page); by default the figure's own.
    dpi : float
        Pixels an inch, of formats that have pixels.

    Raises
    ------
    ValueError
        If `width` is no length of at least 30 mm, or the file cannot be written.

    Warns
    -----
    UserWarning
        Where a text cannot be made to fit.

    Examples
    --------
    >>> import pathlib, tempfile, xarray as xr
    >>> from tsattr import plot
    >>> figure = plot.bars(xr.DataArray([1.0, -2.0], dims="lead", coords={"lead": ["I", "II"]}))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     plot.save(figure, folder + "/leads.pdf", width="85mm")
    ...     pathlib.Path(folder, "leads.pdf").read_bytes()[:5]
    b'%PDF-'
    """
    with mpl.rc_context({"pdf.fonttype": 42, "ps.fonttype": 42}), atomic_write(path) as temporary:
        if width is None:
            figure.savefig(temporary, dpi=dpi)
            return
        mm = _millimetres(width)
        if isinstance(figure, shade.Picture) and figure.at_width is not None:
            figure.at_width(mm).savefig(temporary, dpi=dpi)
            return
        with _fitted(figure, mm):
            figure.savefig(temporary, dpi=dpi)


def _millimetres(width: str) -> float:
    number, unit = parse_extent(width)
    kind, factor = UNITS[unit]
    if kind != "length" or number * factor < 0.03:
        raise ValueError(f"width is a length of at least 30 mm, such as '85mm' or '170mm', got {width!r}")
    return number * factor * 1000


def _points(text: Text) -> float:
    return float(text.get_fontsize())


def _all(figure: Figure, kind: type[A]) -> list[A]:
    return cast(list[A], figure.findobj(kind))


@contextmanager
def _fitted(figure: Figure, mm: float) -> Iterator[None]:
    """Give the figure a width for the time of a `with`, with texts that fit."""
    size = figure.get_size_inches().copy()
    before = [(text, _points(text), text.get_text()) for text in _all(figure, Text)]
    smaller = min(1.0, mm / MM_PER_INCH / size[0]) ** 0.5
    try:
        for text, points, _ in before:
            text.set_fontsize(max(min(points, SMALLEST), points * smaller))
        for legend in _all(figure, Legend):
            _break_legend(legend, mm)
        figure.set_size_inches(mm / MM_PER_INCH, size[1] * (smaller if smaller < 1 else mm / MM_PER_INCH / size[0]))
        for _ in range(_ROUNDS):
            figure.draw_without_rendering()
            if not (cut := list(_cut(figure))):
                break
            for text, over in cut:
                _break(text, over, figure)
        else:
            named = ", ".join(sorted({text.get_text() for text, _ in cut}))
            warnings.warn(f"at {mm:g} mm these texts do not fit: {named}; give a larger width", stacklevel=4)
        yield
    finally:
        figure.set_size_inches(*size)
        for text, points, words in before:
            text.set_fontsize(points)
            text.set_text(words)


def _break_legend(legend: Legend, mm: float) -> None:
    """Break the entries of a legend so that its columns fit beside each other in a figure of so many mm."""
    columns = min(legend._ncols, len(legend.get_texts()))  # type: ignore[attr-defined]  # matplotlib tells nobody else
    for text in legend.get_texts():
        size = _points(text)
        text.set_text(broken(text.get_text(), size, (mm - 4) / columns - 5 * size * MM_PER_POINT))


def _cut(figure: Figure) -> Iterator[tuple[Text, float]]:
    """Yield each text that the edge of the figure cuts, and by how many mm along its own direction."""
    width, height = figure.get_size_inches() * figure.dpi
    for text in _drawn(figure):
        box = text.get_window_extent()
        across = max(-box.x0, 0) + max(box.x1 - width, 0)
        up = max(-box.y0, 0) + max(box.y1 - height, 0)
        over = up if text.get_rotation() % 180 == 90 else across
        if over > 0.5:
            yield text, over / figure.dpi * MM_PER_INCH


def _drawn(figure: Figure) -> Iterator[Text]:
    """Yield the texts of a figure that are drawn: of ticks, those inside their axis."""
    ticks = {}
    for ax in figure.axes:
        for axis, (low, high) in ((ax.xaxis, sorted(ax.get_xlim())), (ax.yaxis, sorted(ax.get_ylim()))):
            inside = [low <= tick.get_loc() <= high for tick in axis.get_major_ticks()]
            for tick, shown in zip(axis.get_major_ticks(), inside):
                ticks[id(tick.label1)] = ticks[id(tick.label2)] = shown
    for text in _all(figure, Text):
        if text.get_visible() and text.get_text().strip() and ticks.get(id(text), True):
            yield text


def _break(text: Text, over: float, figure: Figure) -> None:
    """Break a text that is too long by `over` mm; one that cannot be broken becomes smaller."""
    box = text.get_window_extent()
    length = (box.height if text.get_rotation() % 180 == 90 else box.width) / figure.dpi * MM_PER_INCH
    both = 2 if text.get_horizontalalignment() == "center" and text.get_rotation() % 180 != 90 else 1
    room = max(length - both * over - 1.0, 3 * _points(text) * MM_PER_POINT)
    words = text.get_text().replace("\n", " ")
    fits = broken(words, _points(text), room, text.get_fontweight())
    if fits == text.get_text():
        text.set_fontsize(_points(text) * 0.9)
    else:
        text.set_text(fits)
