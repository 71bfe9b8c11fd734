"""WFDB headers (header(5) of the WFDB Applications Guide), read line by line with nothing guessed, and written.

The parser of the `wfdb` package drops what is not ASCII, so that 1/µV becomes 1/V, and takes what it does not know for
missing. Headers are UTF-8 here, or Latin-1 where they are not valid UTF-8.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from ..core.atomic import MissingFile
from ..core.units import spelled

BYTES_PER_SAMPLE: dict[str, Fraction | int] = {
    **{"8": 1, "80": 1, "16": 2, "61": 2, "160": 2, "24": 3, "32": 4},
    **{"212": Fraction(3, 2), "310": Fraction(4, 3), "311": Fraction(4, 3)},
}
COMPRESSED = ("508", "516", "524")  # FLAC
FORMATS = ("0", *BYTES_PER_SAMPLE, *COMPRESSED)  # 0: a signal of no file, in the header that is only a layout
DEFAULT_RATE, DEFAULT_GAIN, DEFAULT_UNITS = 250.0, 200.0, "mV"  # of header(5), where a field is left out

_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_RECORD = re.compile(
    rf"""(?P<name>\S+?) (?:/(?P<segments>\d{{1,9}}))? \s+ (?P<signals>\d{{1,6}})
    (?:\s+ (?P<rate>{_NUMBER}) (?:/{_NUMBER})? (?:\({_NUMBER}\))?
    (?:\s+ (?P<frames>\d{{1,15}})
    (?:\s+ (?P<start>\S.*) )?)?)?""",
    re.VERBOSE | re.ASCII,
)
_SIGNAL = re.compile(
    rf"""(?P<file>\S+) \s+ (?P<fmt>\d{{1,3}})
    (?:x(?P<per_frame>\d{{1,6}}))? (?::(?P<skew>\d{{1,9}}))? (?:\+(?P<offset>\d{{1,15}}))?
    (?:\s+ (?P<gain>{_NUMBER}) (?:\((?P<baseline>[-+]?\d{{1,10}})\))? (?:/(?P<units>\S*))?
    (?:\s+ [-+]?\d{{1,10}}
    (?:\s+ (?P<zero>[-+]?\d{{1,10}})
    (?:\s+ (?P<initial>[-+]?\d{{1,10}})
    (?:\s+ (?P<checksum>[-+]?\d{{1,10}})
    (?:\s+ \d{{1,10}}
    (?:\s+ (?P<name>\S.*) )?)?)?)?)?)?)?""",
    re.VERBOSE | re.ASCII,
)
_SEGMENT = re.compile(r"(?P<name>\S+)\s+(?P<frames>\d{1,15})", re.ASCII)
_CLOCK = re.compile(r"(?<![\d:.])(?:(\d{1,2}):)?(\d{1,2}):(\d{1,2})(?:\.(\d*))?(?![\d:])", re.ASCII)
_DATES = [
    re.compile(r"(?P<day>\d{1,2})([/.-])(?P<month>\d{1,2})\2(?P<year>\d{4})", re.ASCII),  # as header(5) has it
    re.compile(r"(?P<year>\d{4})([/.-])(?P<month>\d{1,2})\2(?P<day>\d{1,2})", re.ASCII),
    re.compile(r"(?P<day>\d{1,2})([/. -])(?P<month>[A-Za-z]{3,9})\.?\2(?P<year>\d{4})", re.ASCII),
]
_SOME_DATE = re.compile(r"[\d/. -]+|\d+[-/. ][A-Za-z]+[-/. ]\d+", re.ASCII)  # of two-digit years, of no month there is
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")


def wfdb_stem(path: Path) -> Path | None:
    """Give the path without extension of the WFDB header that `path` points at, None without one."""
    if path.name and path.suffix != ".hea" and path.with_name(path.name + ".hea").is_file():
        return path
    return path.with_suffix("") if path.name and path.with_suffix(".hea").is_file() else None


@dataclass(frozen=True)
class Channel:
    """The signal line of a header: the file, format, scale and checksum of a signal's samples."""

    file: str
    fmt: str
    name: str | None = None
    units: str = DEFAULT_UNITS
    gain: float = DEFAULT_GAIN
    baseline: int = 0
    per_frame: int = 1
    skew: int = 0
    offset: int = 0
    initial: int = 0
    checksum: int = 0  # of 16 bits; 0 is not given


@dataclass(frozen=True)
class Header:
    """A header of one segment, which has `channels`, or of several, which has `segments`: their names and frames."""

    rate: float
    frames: int | None
    channels: tuple[Channel, ...] = ()
    segments: tuple[tuple[str, int], ...] = ()
    several: bool = False
    signals: int | None = None  # that the header of several segments announces
    start: str = ""  # as it is written
    comments: tuple[str, ...] = ()


def read_header(path: Path) -> Header:
    """Read a header file.

    Raises
    ------
    ValueError
        The file is missing (`MissingFile`); a line that is none of a header; signals or segments that are announced
        and not listed; files that are named outside the header's folder.
    """
    if not path.is_file():
        raise MissingFile(f"no WFDB header {path}")
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from error
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = raw.decode("latin-1")
    numbered = [(k, line.strip(" \t\x1a\0")) for k, line in enumerate(re.split(r"\r\n|\r|\n", text), 1)]
    comments = tuple(line.strip(" \t#") for _, line in numbered if line.startswith("#"))
    lines = [(k, line) for k, line in numbered if line and not line.startswith("#")]
    if not lines:
        raise ValueError(f"{path} is not a WFDB header: it has no record line")
    record = _parsed(_RECORD, lines[0], path, "name[/segments] signals [frequency [samples [time [date]]]]")
    rate = float(record["rate"] or DEFAULT_RATE)
    frames = int(record["frames"] or 0)
    if not 1e-6 <= rate <= 1e9:
        raise ValueError(
            f"{path} is not a WFDB header: its sampling frequency must be a positive number, 1e-6 to 1e9 Hz, got {rate:g}"
        )
    if record["segments"] is not None:
        segments = tuple(_segment(line, path) for line in lines[1:])
        _check_count(int(record["segments"]), len(segments), "segments", path)
        return Header(rate, frames or None, (), segments, True, int(record["signals"]), record["start"] or "", comments)
    channels = tuple(_channel(line, path) for line in lines[1:])
    if not int(record["signals"]):
        raise ValueError(f"{path} describes no signals")
    _check_count(int(record["signals"]), len(channels), "signals", path)
    _check_interleaving(channels, path)
    return Header(
        rate, None if record["frames"] is None else frames, channels, (), False, None, record["start"] or "", comments
    )


def _parsed(pattern: re.Pattern[str], line: tuple[int, str], path: Path, form: str) -> dict[str, Any]:
    match = pattern.fullmatch(line[1])
    if match is None:
        raise ValueError(
            f"{path} is not a WFDB header that can be read: line {line[0]} must be {form}, got {line[1]!r}; correct it, "
            "or fetch the file again"
        )
    return match.groupdict()


def _channel(line: tuple[int, str], path: Path) -> Channel:
    form = (
        "file format[xsamples][:skew][+offset] [gain[(baseline)][/units] [resolution zero first checksum block name]]"
    )
    given = {name: value for name, value in _parsed(_SIGNAL, line, path, form).items() if value not in (None, "")}
    _check_file_name(given["file"], path)
    gain = float(given.get("gain", 0)) or DEFAULT_GAIN
    units = given.get("units", DEFAULT_UNITS)
    channel = Channel(
        given["file"],
        given["fmt"],
        given.get("name"),
        spelled(units),
        gain,
        int(given.get("baseline", given.get("zero", 0))),
        int(given.get("per_frame", 1)),
        *(int(given.get(name, 0)) for name in ("skew", "offset", "initial", "checksum")),
    )
    largest = (2.0**31 + abs(channel.baseline)) / abs(gain)
    wrong = [
        (channel.fmt not in FORMATS, f"format {channel.fmt} is none of {', '.join(FORMATS)}"),
        (channel.fmt == "0" and channel.file != "~", f"format 0 is for a signal without a file, got {channel.file!r}"),
        (channel.per_frame == 0, "a signal has at least one sample in a frame, got x0"),
        (not largest < float(np.finfo(np.float32).max), f"gain {gain:g} makes the samples infinite in float32"),
        (
            re.search(r"\([-+]?\d+\)$", units),
            f"the baseline goes before the units: gain(baseline)/units, got {units!r}",
        ),
    ]
    for is_wrong, why in wrong:
        if is_wrong:
            raise ValueError(f"{path} is not a WFDB header that can be read: line {line[0]}: {why}")
    return channel


def _segment(line: tuple[int, str], path: Path) -> tuple[str, int]:
    given = _parsed(_SEGMENT, line, path, "the name of a segment and its number of samples")
    _check_file_name(given["name"], path)
    return given["name"], int(given["frames"])


def _check_file_name(name: str, path: Path) -> None:
    if re.search(r"[/\\:\0]", name) or name in (".", ".."):
        raise ValueError(
            f"{path} names the file {name!r}: a header may only name files in its own folder; put the file there, and its bare "
            "name into the header"
        )


def _check_count(announced: int, listed: int, what: str, path: Path) -> None:
    if announced != listed:
        raise ValueError(
            f"{path} announces {announced} {what} and lists {listed}: fetch the header again, or correct the number in its "
            f"first line if the {listed} are all there are"
        )


def _check_interleaving(channels: Sequence[Channel], path: Path) -> None:
    """Raise unless the signals of each file, which are interleaved there, are adjacent and of one format and offset."""
    for name in {c.file for c in channels}:
        at = [k for k, c in enumerate(channels) if c.file == name]
        if at[-1] - at[0] + 1 != len(at) or len({(channels[k].fmt, channels[k].offset) for k in at}) > 1:
            raise ValueError(
                f"{path} is not a WFDB header that can be read: the signals of {name!r} must follow each other, in one "
                "format and with one offset"
            )


# ------------------------------------------------------------------------------------------------------- start


def start_attributes(start: str, stem: str, stacklevel: int = 2) -> dict[str, str]:
    """Return the attrs on when a record starts, from the text in its header; warn where a part cannot be read."""
    text = re.sub(r"(?<=\d)T(?=\d)", " ", start.strip().removeprefix("[").removesuffix("]")).strip()
    found = _CLOCK.search(text)
    clock = None if found is None else _time(*found.groups())
    rest = text if found is None else f"{text[: found.start()]} {text[found.end() :]}".strip()
    day = _date(rest)
    if clock is not None and day is not None:
        return {"start_datetime": datetime.combine(day, clock).isoformat()}
    known = {} if clock is None or (rest and not _SOME_DATE.fullmatch(rest)) else {"start_time": clock.isoformat()}
    if rest or not (known or not text):
        warnings.warn(
            f"{stem}.hea says that the record starts at {start!r}, which is not hh:mm:ss dd/mm/yyyy: "
            + ("the time is kept without the date" if known else "it is left out"),
            stacklevel=stacklevel + 1,
        )
    return known


def _time(hour: str | None, minute: str, second: str, fraction: str | None) -> time | None:
    try:
        return time(int(hour or 0), int(minute), int(second), int(f"{fraction or '':0<6.6}"))
    except ValueError:
        return None


def _date(text: str) -> date | None:
    found = next((match for match in (form.fullmatch(text) for form in _DATES) if match), None)
    if found is None:
        return None
    name = found["month"]
    month = int(name) if name.isdigit() else (*_MONTHS, name[:3].lower()).index(name[:3].lower()) + 1
    try:
        return date(int(found["year"]), month, int(found["day"]))
    except ValueError:
        return None


# ----------------------------------------------------------------------------------------------------- writing


def checksum(samples: np.ndarray) -> int:
    """Return the sum of a signal's samples as a signed 16-bit number, as header(5) defines it."""
    return int((int(samples.sum(dtype=np.int64)) + 2**15) % 2**16 - 2**15)


def header_text(name: str, header: Header) -> str:
    """Return the text of a header of one segment in the form of header(5)."""
    first = f"{name} {len(header.channels)} {plain_number(header.rate)} {header.frames} {header.start}".rstrip()
    return "".join(
        f"{line}\n" for line in [first, *map(_signal_line, header.channels), *_comment_lines(header.comments)]
    )


def _signal_line(c: Channel) -> str:
    scale = f"{plain_number(c.gain)}({c.baseline})/{c.units}"
    return f"{c.file} {c.fmt} {scale} 16 0 {c.initial} {c.checksum} 0 {c.name}"


def _comment_lines(comments: Iterable[str]) -> list[str]:
    return [f"# {comment}" for comment in comments]


def plain_number(value: float) -> str:
    """Return the shortest digits without an exponent that are read back as the same number."""
    return np.format_float_positional(value, trim="-")
