"""The layout of a WFDB record, of one or several segments, and the physical values in it.

The formats are decoded by the `wfdb` package, one segment at a time. What is added here: headers as they are written
(`wfdb_header`), NaN where no segment has the signal, checksums, and errors that name the file and the number.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import wfdb
from wfdb.io import _signal

from ..core.atomic import MissingFile
from ..core.units import spelled
from ..ecg import canonical_lead
from .wfdb_header import BYTES_PER_SAMPLE, COMPRESSED, Channel, Header, checksum, read_header, wfdb_stem

BAD_FILE = (ValueError, TypeError, IndexError, KeyError, RuntimeError)  # what wfdb raises at files it cannot read
INVALID = {
    **{"80": -128, "310": -512, "311": -512, "212": -2048, "16": -(2**15), "61": -(2**15), "160": -(2**15)},
    **{"24": -(2**23), "32": -(2**31), "508": -128, "516": -(2**15), "524": -(2**23)},
}  # the sample that means a gap; a format that stores differences has none


@dataclass(frozen=True)
class Segment:
    """A stretch of a record, stored in files of its own; lengths in frames."""

    stem: str
    remote_dir: str | None
    header: Header
    names: list[str]
    first: int
    frames: int

    def read(self, chosen: list[int], lo: int, hi: int) -> np.ndarray:
        """Give physical values, channel x frame, of frames `lo` to `hi`."""
        channels = [self.header.channels[k] for k in chosen]
        late = max(c.skew for c in channels)  # skewed channels are read ahead
        origin = 0 if any(c.fmt == "8" for c in self.header.channels) else lo  # format 8 stores differences
        end = min(hi + late, self.frames)
        try:
            stored = self._stored(chosen, origin, end)
        except BAD_FILE as error:
            raise ValueError(f"the signal files of {self.stem}.hea cannot be read: {error}") from error
        if origin == 0 and end == self.frames:
            self._check_sums(chosen, stored)
        values = np.full((len(chosen), hi - lo), np.nan)
        for row, c, samples in zip(values, channels, stored):
            physical = (samples - float(c.baseline)) / c.gain
            physical[samples == INVALID.get(c.fmt)] = np.nan
            frames = physical.reshape(-1, c.per_frame).mean(1)[lo - origin + c.skew :][: hi - lo]
            row[: len(frames)] = frames
        return values

    def _stored(self, chosen: list[int], first: int, last: int) -> list[np.ndarray]:
        """Return the stored integers of frames `first` to `last`, one array a channel."""
        if self.remote_dir is not None:
            options = {"physical": False, "smooth_frames": False, "ignore_skew": True, "pn_dir": self.remote_dir}
            streamed: list[np.ndarray] = wfdb.rdrecord(self.stem, first, last, channels=chosen, **options).e_d_signal
            return streamed
        channels = self.header.channels
        stored: list[np.ndarray] = _signal._rd_segment(
            file_name=[c.file for c in channels],
            dir_name=os.path.dirname(os.path.abspath(self.stem)),
            pn_dir=None,
            fmt=[c.fmt for c in channels],
            n_sig=len(channels),
            sig_len=self.frames,
            byte_offset=[c.offset for c in channels],
            samps_per_frame=[c.per_frame for c in channels],
            skew=[c.skew for c in channels],
            init_value=[c.initial for c in channels],
            sampfrom=first,
            sampto=last,
            channels=chosen,
            ignore_skew=True,
        )
        return stored

    def _check_sums(self, chosen: list[int], stored: list[np.ndarray]) -> None:
        """Raise ValueError unless the samples of whole channels have the checksums that the header gives."""
        for k, samples in zip(chosen, stored):
            announced, found = self.header.channels[k].checksum, checksum(samples)
            if announced and (announced - found) % 2**16:
                raise ValueError(
                    f"the samples of {self.names[k]!r} in {self.header.channels[k].file!r} add up to the checksum {found}, "
                    f"and {self.stem}.hea says {announced}: one of the two files was changed or damaged; fetch them again, "
                    "or, if you know that the samples are right, write 0 (not known) for the checksum in the header"
                )

    def check_files(self, chosen: list[int], hi: int) -> None:
        """Raise unless the files of the channels hold frames 0 to `hi`."""
        if self.remote_dir is not None:
            return
        channels = [self.header.channels[k] for k in chosen]
        frames = min(hi + max(c.skew for c in channels), self.frames)
        for name in dict.fromkeys(c.file for c in channels):
            expected, found, unit, whole_frames = _file_extent(self.stem, self.header, name, frames)
            if found < expected:
                raise ValueError(
                    f"signal file {name!r} of {Path(self.stem).name}.hea is truncated: {expected} {unit} expected, "
                    f"{found} found. What is there ends {(whole_frames + self.first) / self.header.rate:g} s from the start of the "
                    f"record: read it with stop=, or fetch the file again"
                )


@dataclass(frozen=True)
class Record:
    """A record of one or several segments, with or without a layout segment; lengths in frames."""

    stem: str
    remote_dir: str | None
    header: Header
    names: list[str]
    units: list[str]
    frames: int
    segments: list[Segment]

    @property
    def rate(self) -> float:
        """Frames per second."""
        return self.header.rate

    def read(self, leads: list[str], first: int, last: int) -> tuple[np.ndarray, list[str]]:
        """Give values, lead x frame, NaN where no segment has the lead; and the units of each lead."""
        parts = []
        units: dict[str, str] = {}
        for segment in self.segments:
            lo, hi = max(first - segment.first, 0), min(last - segment.first, segment.frames)
            present = [lead for lead in leads if lead in segment.names]
            if lo >= hi or not present:
                continue
            channels = [segment.names.index(lead) for lead in present]
            segment.check_files(channels, hi)
            for lead, channel in zip(present, channels):
                unit = segment.header.channels[channel].units
                if units.setdefault(lead, unit) != unit:
                    raise ValueError(
                        f"lead {lead!r} is in {units[lead]} in one segment of {self.stem}.hea and in {unit} in "
                        f"{Path(segment.stem).name}: read the segments one by one"
                    )
            parts.append((segment, channels, [leads.index(lead) for lead in present], lo, hi))

        values = self._allocated(len(leads), last - first)  # after all that the sizes of the files show
        for segment, channels, rows, lo, hi in parts:
            at = segment.first - first
            values[rows, at + lo : at + hi] = segment.read(channels, lo, hi)
        return values, [units.get(lead, self.units[self.names.index(lead)]) for lead in leads]

    def _allocated(self, leads: int, frames: int) -> np.ndarray:
        try:
            return np.full((leads, frames), np.nan)
        except (MemoryError, ValueError) as error:
            raise ValueError(
                f"{leads} leads of {frames} samples of {self.stem}.hea do not fit into memory: read a part with start= and stop="
            ) from error


def open_record(path: str | os.PathLike[str], remote: bool = False) -> Record:
    """Read the headers of a record; `remote` as in `read_wfdb`."""
    stem, remote_dir = _locate(path, remote)
    header = _header(stem, remote_dir)
    if not header.several:
        whole = _segment(stem, remote_dir, header, 0, header.frames or None)
        return Record(stem, remote_dir, header, whole.names, [c.units for c in header.channels], whole.frames, [whole])

    segments = []
    begin = 0
    for name, frames in header.segments:
        if name != "~":
            part_stem = os.path.join(os.path.dirname(stem), name)
            part = _header(part_stem, remote_dir)
            if part.several or part.rate != header.rate or part.frames not in (None, frames):
                raise ValueError(
                    f"segment {name!r} does not fit {stem}.hea, which expects one plain record of {frames} samples at "
                    f"{header.rate:g} Hz; its header says {part.frames} at {part.rate:g} Hz"
                )
            segments.append(_segment(part_stem, remote_dir, part, begin, frames))
        begin += frames
    if not segments:
        raise ValueError(f"{stem}.hea has gaps only, no segment to read")
    # The first segment with a header is the layout of all where it has length zero, else it is like all the others.
    layout = segments[0]
    if layout.frames and any(x.names != layout.names for x in segments):
        raise ValueError(f"the segments of {stem}.hea have different signals, and there is no layout segment")
    if extra := {name for x in segments for name in x.names} - set(layout.names):
        raise ValueError(f"segments of {stem}.hea have the signals {sorted(extra)}, which its layout segment lacks")
    if header.frames not in (None, begin):
        raise ValueError(
            f"{stem}.hea announces {header.frames} samples, and its segments have {begin}: fetch the header again, or read "
            f"the segments that it lists one by one"
        )
    if header.signals not in (None, len(layout.names)):
        raise ValueError(
            f"{stem}.hea announces {header.signals} signals, and its segments have {len(layout.names)}, {layout.names}: fetch the "
            "headers again, or read the segments one by one"
        )
    return Record(stem, remote_dir, header, layout.names, [c.units for c in layout.header.channels], begin, segments)


def _segment(stem: str, remote_dir: str | None, header: Header, first: int, frames: int | None) -> Segment:
    if not header.channels:
        raise ValueError(f"{stem}.hea describes no signals")
    if frames is None:
        frames = _infer_frames(stem, remote_dir, header)
    return Segment(stem, remote_dir, header, _lead_names([c.name for c in header.channels]), first, frames)


def _locate(path: str | os.PathLike[str], remote: bool) -> tuple[str, str | None]:
    """Give the record's path without extension, and its folder at PhysioNet if remote."""
    text = os.fspath(path)
    if remote:
        folder, _, name = text.removesuffix(".hea").rpartition("/")
        if not folder or "://" in text:
            raise ValueError(f"a remote record is named as 'database/record', such as 'mitdb/100', got {text!r}")
        return name, folder
    if "://" in text or "::" in text:
        raise ValueError(f"{text!r} is no local file; for PhysioNet name 'database/record' and pass remote=True")
    stem = wfdb_stem(Path(text))
    if stem is None:
        raise MissingFile(f"no WFDB header {text.removesuffix('.hea')}.hea")
    return str(stem), None


def _header(stem: str, remote_dir: str | None) -> Header:
    if remote_dir is None:
        return read_header(Path(stem + ".hea"))
    try:
        return _from_wfdb(wfdb.rdheader(stem, pn_dir=remote_dir))
    except BAD_FILE as error:
        raise ValueError(f"{stem}.hea is not a WFDB header that can be read: {error}") from error


def _from_wfdb(found: Any) -> Header:
    """Return the header that the `wfdb` package read at PhysioNet in our form."""
    start = " ".join(str(x) for x in (found.base_time, found.base_date) if x is not None)
    common = {"rate": float(found.fs), "frames": found.sig_len, "start": start, "comments": tuple(found.comments)}
    if isinstance(found, wfdb.MultiRecord):
        return Header(segments=tuple(zip(found.seg_name, found.seg_len)), several=True, **common)
    channels = []
    for k in range(len(found.file_name or ())):
        unit = _utf8(found.units[k])
        channels.append(
            Channel(
                found.file_name[k],
                found.fmt[k],
                found.sig_name[k] and _utf8(found.sig_name[k]),
                spelled(unit),
                found.adc_gain[k],
                found.baseline[k],
                found.samps_per_frame[k] or 1,
                found.skew[k] or 0,
                found.byte_offset[k] or 0,
                found.init_value[k] or 0,
                found.checksum[k] or 0,
            )
        )
    return Header(channels=tuple(channels), **common)


def _utf8(text: str) -> str:
    """Return text that was decoded as Latin-1 decoded as UTF-8, where it is valid UTF-8."""
    try:
        return text.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return text


def _signal_file(stem: str, name: str) -> Path:
    if name == "~":
        raise MissingFile(
            f"{Path(stem).name}.hea is the layout of a record of several segments and has no samples: read that record"
        )
    file = Path(stem).with_name(name)
    if not os.path.isfile(file):  # unlike Path.is_file, False for names that no file can have
        raise MissingFile(f"signal file {name!r} named by {Path(stem).name}.hea is not in {file.parent}")
    return file


def _file_extent(stem: str, header: Header, name: str, frames: int) -> tuple[int, int, str, int]:
    """Return the size that `frames` need in a signal file, its actual size, the unit of both, and its whole frames."""
    channels = [c for c in header.channels if c.file == name]
    file, offset = _signal_file(stem, name), channels[0].offset
    if channels[0].fmt in COMPRESSED:
        unit, per_frame, found = "samples", Fraction(channels[0].per_frame), _flac_length(file)
    else:
        unit, per_frame = "bytes", Fraction(BYTES_PER_SAMPLE[channels[0].fmt] * sum(c.per_frame for c in channels))
        found = file.stat().st_size
    return offset + math.ceil(frames * per_frame), found, unit, max(0, int((found - offset) / per_frame))


def _flac_length(file: Path) -> int:
    import soundfile

    try:
        return int(soundfile.info(str(file)).frames)
    except RuntimeError as error:
        raise ValueError(f"{file} cannot be read as FLAC: {error}") from error


def _infer_frames(stem: str, remote_dir: str | None, header: Header) -> int:
    if remote_dir is not None:
        raise ValueError(f"{stem}.hea does not say how many samples there are")
    return _file_extent(stem, header, header.channels[0].file, 0)[3]


def _lead_names(names: Sequence[str | None]) -> list[str]:
    """Return the name of each signal; a repeated name gets its number as a suffix, so that labels are unique."""
    result: list[str] = []
    for k, name in enumerate(names):
        label = canonical_lead(name or f"signal_{k}")
        result.append(f"{label}_{k}" if label in result else label)
    return result
