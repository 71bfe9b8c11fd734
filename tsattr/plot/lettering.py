"""Text that fits: how wide a line is, and lines broken so that none is wider than there is room."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import Any

from matplotlib.font_manager import FontProperties, findfont, get_font

MM_PER_POINT = 25.4 / 72


@functools.lru_cache(maxsize=4096)
def width_of(text: str, size: float, weight: Any = "normal") -> float:
    """Return the width in mm of a line of text in the default font, set in so many points.

    Examples
    --------
    >>> 2 * width_of("aVR", 5) == width_of("aVR", 10)
    True
    """
    font = get_font(findfont(FontProperties(weight=weight)))
    font.set_size(100, 72)
    known = "".join(c if font.get_char_index(ord(c)) else "M" for c in text)  # what it lacks is about as wide as an M
    font.set_text(known)
    return float(font.get_width_height()[0]) / 64 * size / 100 * MM_PER_POINT


def height_of(text: str, size: float) -> float:
    """Return the height in mm of lines of text."""
    return (text.count("\n") + 1) * 1.3 * size * MM_PER_POINT


def broken(text: str, size: float, width: float, weight: Any = "normal") -> str:
    """Return `text` with line breaks between words, and within those that are too long, so that no line is wider than `width` mm.

    Examples
    --------
    >>> broken("one two three", 10, width_of("one two", 10) + 0.1).split(chr(10))
    ['one two', 'three']
    """
    return "\n".join(line for old in text.split("\n") for line in _lines(old.split(" "), size, width, weight))


def _lines(words: Iterable[str], size: float, width: float, weight: Any) -> Iterable[str]:
    line = ""
    for word in words:
        longer = f"{line} {word}" if line else word
        if width_of(longer, size, weight) <= width:
            line = longer
            continue
        if line:
            yield line
        while len(word) > 1 and width_of(word, size, weight) > width:
            fits = max(
                1, next(k for k in range(len(word), 0, -1) if k == 1 or width_of(word[:k], size, weight) <= width)
            )
            yield word[:fits]
            word = word[fits:]
        line = word
    yield line
