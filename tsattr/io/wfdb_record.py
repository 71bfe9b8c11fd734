"""The layout of a WFDB record, of one or several segments, and the physical values in it.

The formats are decoded by the `wfdb` package, one segment at a time. What is added here: NaN where no segment has the
signal, refusal of headers that name files elsewhere, and errors that name the file and the number.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import wfdb

from ..ecg import canonical_lead
from .files import MissingFile, wfdb_stem

BAD_FILE = (ValueError, TypeError, IndexError, KeyError, RuntimeError)  # what wfdb raises at files it cannot read
BYTES_PER_SAMPLE: dict[str, Fraction | int] = {
    **{"8": 1, "80": 1, "16": 2, "61": 2, "160": 2, "24": 3, "32": 4},
    **{"212": Fraction(3, 2), "310": Fraction(4, 3), "311": Fraction(4, 3)},
}  # formats that are not here are compressed: their size tells nothing


@dataclass(frozen=True)
class Segment:
    """A stretch of a record, stored in files of its own; lengths in frames."""

    stem: str
    remote_dir: str | None
    header: Any
    names: list[str]
    first: int
    frames: int

    def read(self, channels: list[int], lo: int, hi: int) -> np.ndarray:
        """Give physical values, channel x frame, of frames `lo` to `hi`."""
        header = self.header
        # Format 8 stores differences, and a header without length is only understood if all is read.
        from_start = "8" in header.fmt or header.sig_len is None
        origin, end = (0 if from_start else lo), (None if header.sig_len is None else hi)
        if self.remote_dir is None:
            self._check_files(channels, hi)
        try:
            record = wfdb.rdrecord(
                self.stem, origin, end, channels=channels, smooth_frames=False, pn_dir=self.remote_dir
            )
        except BAD_FILE as error:
            raise ValueError(f"the signal files of {self.stem}.hea cannot be read: {error}") from error
        frames = [x.reshape(-1, header.samps_per_frame[c]).mean(1) for c, x in zip(channels, record.e_p_signal)]
        return np.stack(frames)[:, lo - origin : hi - origin]

    def _check_files(self, channels: list[int], hi: int) -> None:
        """Raise unless the files of the channels hold frames 0 to `hi`."""
        header = self.header
        for name in dict.fromkeys(header.file_name[c] for c in channels):
            offset, per_frame = _file_layout(header, name)
            found = _signal_file(self.stem, name).stat().st_size
            late = max(header.skew[c] or 0 for c in channels)  # skewed channels are read ahead
            frames = min(hi + late, self.frames)
            if per_frame is None or found >= (expected := offset + math.ceil(frames * per_frame)):
                continue
            whole = max(0, int((found - offset) / per_frame)) + self.first
            raise ValueError(
                f"signal file {name!r} of {Path(self.stem).name}.hea is truncated: {expected} bytes expected, "
                f"{found} found. What is there ends {whole / float(header.fs):g} s from the start of the record: read it "
                f"with stop=, or fetch the file again"
            )


@dataclass(frozen=True)
class Record:
    """A record as the pieces to read, whatever its layout."""

    stem: str
    remote_dir: str | None
    header: Any
    names: list[str]
    units: list[str]
    frames: int
    segments: list[Segment]

    @property
    def rate(self) -> float:
        """Frames per second."""
        return float(self.header.fs)

    def read(self, leads: list[str], first: int, last: int) -> tuple[np.ndarray, list[str]]:
        """Give values, lead x frame, NaN where no segment has the lead; and the units of each lead."""
        values = np.full((len(leads), last - first), np.nan)
        units: dict[str, str] = {}
        for segment in self.segments:
            lo, hi = max(first - segment.first, 0), min(last - segment.first, segment.frames)
            present = [lead for lead in leads if lead in segment.names]
            if lo >= hi or not present:
                continue
            channels = [segment.names.index(lead) for lead in present]
            rows = [leads.index(lead) for lead in present]
            at = segment.first - first
            values[rows, at + lo : at + hi] = segment.read(channels, lo, hi)
            for lead, channel in zip(present, channels):
                unit = segment.header.units[channel]
                if units.setdefault(lead, unit) != unit:
                    raise ValueError(
                        f"lead {lead!r} is in {units[lead]} in one segment of {self.stem}.hea and in {unit} in "
                        f"{Path(segment.stem).name}: read the segments one by one"
                    )
        return values, [units.get(lead, self.units[self.names.index(lead)]) for lead in leads]


def open_record(path: str | os.PathLike[str], remote: bool = False) -> Record:
    """Read the headers of a record; `remote` as in `read_wfdb`."""
    stem, remote_dir = _locate(path, remote)
    header = _read_header(stem, remote_dir)
    if not isinstance(header, wfdb.MultiRecord):
        whole = _segment(stem, remote_dir, header, 0)
        return Record(stem, remote_dir, header, whole.names, header.units, whole.frames, [whole])

    segments = []
    begin = 0
    for name, frames in zip(header.seg_name, header.seg_len):
        if name != "~":
            part_stem = os.path.join(os.path.dirname(stem), name)
            part = _read_header(part_stem, remote_dir)
            if isinstance(part, wfdb.MultiRecord) or part.fs != header.fs or part.sig_len not in (None, frames):
                raise ValueError(
                    f"segment {name!r} does not fit {stem}.hea, which expects one plain record of {frames} samples at "
                    f"{header.fs} Hz; its header says {part.sig_len} at {part.fs} Hz"
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
    return Record(stem, remote_dir, header, layout.names, layout.header.units, begin, segments)


def _segment(stem: str, remote_dir: str | None, header: Any, first: int, frames: int | None = None) -> Segment:
    if not header.n_sig or not header.sig_name:
        raise ValueError(f"{stem}.hea describes no signals")
    if frames is None:
        frames = _infer_frames(stem, remote_dir, header) if header.sig_len is None else header.sig_len
    return Segment(stem, remote_dir, header, _lead_names(header.sig_name), first, frames)


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


def _read_header(stem: str, remote_dir: str | None) -> Any:
    if remote_dir is None:
        _check_names(Path(stem + ".hea"))
    try:
        return wfdb.rdheader(stem, pn_dir=remote_dir)
    except BAD_FILE as error:
        raise ValueError(f"{stem}.hea is not a WFDB header that can be read: {error}") from error


def _check_names(header: Path) -> None:
    """Refuse a header that names files outside its own folder."""
    if not header.is_file():
        raise MissingFile(f"no WFDB header {header}")
    lines = [line.split() for line in header.read_text("ascii", "ignore").splitlines()]
    for name, *_ in [line for line in lines if line and not line[0].startswith("#")][1:]:
        if re.search(r"[/\\:]", name) or name in (".", ".."):
            raise ValueError(f"{header} names the file {name!r}: a header may only name files in its own folder")


def _signal_file(stem: str, name: str) -> Path:
    file = Path(stem).with_name(name)
    if not file.is_file():
        raise MissingFile(f"signal file {name!r} named by {Path(stem).name}.hea is not in {file.parent}")
    return file


def _file_layout(header: Any, name: str) -> tuple[int, Fraction | int | None]:
    """Give the offset and the bytes per frame of a signal file; None where it is compressed."""
    channels = [c for c, file in enumerate(header.file_name) if file == name]
    per_sample = BYTES_PER_SAMPLE.get(header.fmt[channels[0]])
    samples = sum(header.samps_per_frame[c] for c in channels)
    return header.byte_offset[channels[0]] or 0, None if per_sample is None else per_sample * samples


def _infer_frames(stem: str, remote_dir: str | None, header: Any) -> int:
    name = header.file_name[0]
    offset, per_frame = _file_layout(header, name)
    if remote_dir is not None or per_frame is None:
        raise ValueError(f"{stem}.hea does not say how many samples there are, and {name!r} does not show it either")
    return int((_signal_file(stem, name).stat().st_size - offset) / per_frame)


def _lead_names(names: Sequence[str | None]) -> list[str]:
    """Name each signal; a repeated name gets its number, so that labels are unique."""
    result: list[str] = []
    for k, name in enumerate(names):
        label = canonical_lead(name or f"signal_{k}")
        result.append(f"{label}_{k}" if label in result else label)
    return result
