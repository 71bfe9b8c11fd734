"""Units of coordinates, and extents such as "200ms" or "5deg" parsed into a number and a unit."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np

UNITS: dict[str, tuple[str, float]] = {}
"""Unit -> (kind, factor to the kind's own unit: seconds, degrees, metres, months)."""
_TABLES: dict[str, dict[tuple[str, ...], float]] = {
    "time": {
        ("ns", "nanosecond", "nanoseconds"): 1e-9,
        ("us", "µs", "μs", "microsecond", "microseconds"): 1e-6,
        ("ms", "msec", "millisecond", "milliseconds"): 1e-3,
        ("s", "sec", "secs", "second", "seconds"): 1.0,
        ("min", "mins", "minute", "minutes"): 60.0,
        ("h", "hr", "hrs", "hour", "hours"): 3600.0,
        ("d", "day", "days"): 86400.0,
        ("week", "weeks"): 604800.0,
    },
    "angle": {
        ("deg", "degree", "degrees", "°", "degrees_north", "degrees_east"): 1.0,
        ("rad", "radian", "radians"): math.degrees(1),
    },
    "length": {("mm",): 1e-3, ("cm",): 1e-2, ("m", "metre", "metres", "meter", "meters"): 1.0, ("km",): 1e3},
    "month": {("month", "months"): 1.0, ("year", "years"): 12.0},
}
for _kind, _table in _TABLES.items():
    for _names, _factor in _table.items():
        UNITS.update(dict.fromkeys(_names, (_kind, _factor)))


_VOLTS = {
    "V": (1e3, ("v", "volt", "volts")),
    "mV": (1.0, ("mv", "millivolt", "millivolts")),
    "uV": (1e-3, ("uv", "\u00b5v", "\u03bcv", "microvolt", "microvolts")),  # the micro sign, and the Greek letter
    "nV": (1e-6, ("nv", "nanovolt", "nanovolts")),
}


def voltage(unit: str) -> tuple[str, float] | None:
    """The usual spelling of a unit of voltage, however it is written, and its size in mV; None for every other unit.

    Case does not matter: nobody records megavolts.

    >>> voltage("MV"), voltage("\u00b5V"), voltage("mmHg")
    (('mV', 1.0), ('uV', 0.001), None)
    """
    return next(((name, size) for name, (size, known) in _VOLTS.items() if unit.strip().lower() in known), None)


def spelled(unit: str) -> str:
    """The usual spelling of a unit of voltage; any other unit comes back unchanged."""
    known = voltage(unit)
    return unit if known is None else known[0]


def parse_extent(size: str) -> tuple[float, str]:
    """Split ``"200ms"`` into its number and its unit.

    >>> parse_extent("0.5 s")
    (0.5, 's')
    """
    match = re.fullmatch(r"\s*([0-9]*\.?[0-9]+(?:[eE][-+]?\d+)?)\s*([^\d\s].*?)\s*", size)
    if match is None or match[2] not in UNITS:
        known = "; ".join(", ".join(names[0] for names in table) for table in _TABLES.values())
        raise ValueError(
            f"an extent is a number with a unit, like '200ms' or '5deg', got {size!r}; known units: {known}"
        )
    return float(match[1]), match[2]


def with_unit_of(value: float, example: str) -> str:
    """A number in a kind's own unit (s, deg, m, month), written in the unit of `example`.

    >>> with_unit_of(0.25, "100ms")
    '250 ms'
    """
    unit = parse_extent(example)[1]
    return f"{value / UNITS[unit][1]:.6g} {unit}"


def written(labels: np.ndarray) -> list[Any]:
    """Labels as users write them: durations in the largest unit of which they are whole numbers, dates as short as they can be.

    >>> written(np.array([30, 90, 1440], "m8[m]").astype("m8[ns]"))
    ['30 min', '90 min', '1 d']
    >>> written(np.array(["2001-05-01", "2001-05-02T12"], "M8[ns]"))
    ['2001-05-01', '2001-05-02T12:00']
    """
    if labels.dtype.kind == "m":
        return [_duration(v) for v in labels]
    if labels.dtype.kind == "M":
        return [str(np.datetime_as_string(v, unit="auto")) if v == v else str(v) for v in labels]
    found: list[Any] = labels.tolist()
    return found


def _duration(label: np.timedelta64) -> str:
    if np.isnat(label):
        return str(label)
    ns = int(label.astype("m8[ns]").astype(np.int64))
    for unit in ("d", "h", "min", "s", "ms"):
        if ns % (size := round(UNITS[unit][1] * 1e9)) == 0:
            return f"{ns // size} {unit}"
    return f"{ns} ns"
