"""Read labelled signals from files, write results: WFDB, NetCDF, Zarr, NumPy, CSV.

The WFDB formats are decoded by the `wfdb` package, one segment at a time. What is added here: one labelled array in
physical units, NaN in gaps, whatever the layout of the record; annotations as coordinates, so that slicing the signal
slices them too; refusal of headers that name files elsewhere; and errors that name the file and the number.
"""

from __future__ import annotations

import hashlib
import itertools
import math
import os
import re
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import scipy.signal
import xarray as xr

with warnings.catch_warnings(action="ignore", category=DeprecationWarning):  # wfdb uses what pandas 3.1 deprecates
    import wfdb
    from wfdb.io.annotation import ann_labels, is_qrs

__all__ = ["CannotWrite", "MissingFile", "read_input", "read_wfdb", "write_netcdf", "write_text", "write_wfdb"]

LEADS = ["I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6"]
# The rhythms of the MIT-BIH databases have fixed codes, so that records can be put together; others follow.
RHYTHMS = ["N", "AB", "AFIB", "AFL", "B", "BII", "IVR", "NOD", "P", "PREX", "SBR", "SVTA", "T", "VFL", "VT"]
BYTES_PER_SAMPLE = {
    **{"8": Fraction(1), "80": Fraction(1), "16": Fraction(2), "61": Fraction(2), "160": Fraction(2)},
    **{"24": Fraction(3), "32": Fraction(4), "212": Fraction(3, 2), "310": Fraction(4, 3), "311": Fraction(4, 3)},
}  # formats that are not here are compressed: their size tells nothing
FILTER_ORDER = 4
FORMAT_16_GAP = -32768


class MissingFile(FileNotFoundError, ValueError):
    """A file or folder that should be there is not."""


class CannotWrite(OSError, ValueError):
    """A result could not be written; nothing was left behind."""


# ------------------------------------------------------------------------------------------------------------- WFDB


def read_wfdb(
    path: str | os.PathLike[str],
    *,
    leads: str | Sequence[str] | None = None,
    start: float | None = None,
    stop: float | None = None,
    annotator: str | None = None,
    resample: float | None = None,
    band: tuple[float | None, float | None] | None = None,
    dtype: str = "float32",
    remote: bool = False,
) -> xr.DataArray:
    """Read a WFDB record, of one or several segments, into a labelled array.

    The work is done in this order, in float64: cut to [`start`, `stop`), filter to `band`, `resample`, cast to `dtype`.

    Parameters
    ----------
    path
        The record: its header, with or without `.hea`, or one of its files.
    leads
        Names of the signals wanted, in the order wanted; all by default. Case does not matter for the twelve standard
        leads, which are always called I, II, III, aVR, aVL, aVF and V1 to V6; every other name is kept as it is.
    start, stop
        Seconds from the start of the record. `time` keeps counting from the start of the record.
    annotator
        Extension of an annotation file, such as "atr".
    resample
        New sampling rate in Hz (`scipy.signal.resample_poly`, which filters against aliasing).
    band
        (low, high) in Hz, either may be None: a Butterworth filter of order 4 run forwards and backwards, which shifts
        no phase and halves the amplitude (-6 dB) at its limits. It is applied to every lead that is read.
    dtype
        "float32" or "float64".
    remote
        Stream from PhysioNet: `path` is then database and record, like "mitdb/100". The network is not used otherwise.

    Returns
    -------
    xarray.DataArray
        `signal` with dims (lead, time); `time` in seconds; NaN in gaps. Units are in `attrs["units"]` where all leads
        share them, else in a coordinate `units` along `lead`. A signal with several samples per frame is averaged frame
        by frame, and is missing where one of them is. With an annotator, two integer coordinates along `time`, whose
        `flag_values` and `flag_meanings` follow the CF conventions, 0 = none:

        - `annotation`: the WFDB code of the annotation at this sample. After resampling it stands on the nearest new
          sample. Where several fall on one sample, a beat keeps it before any other, then the first in the file; the
          others stand on the nearest free samples. None is lost, and the coordinate's attrs count those that moved.
        - `rhythm`, if the file has rhythm changes: the rhythm in force at this sample.

    Raises
    ------
    ValueError
        Header, signal or annotation file missing (`MissingFile`), unreadable or truncated; a file outside the header's
        folder; unknown lead; times outside the record; a band that does not fit the sampling rate.

    Notes
    -----
    Gaps: each run of samples between gaps is filtered and resampled by itself, extended by its point reflection, so
    that nothing spreads into gaps or across them. A run too short for the filter becomes NaN, with a warning that says
    how many samples. A run that falls between two new samples vanishes.

    Examples
    --------
    >>> import tempfile, xarray as xr
    >>> x = xr.DataArray([[0.0, 0.1, 0.2, 0.1]], dims=("lead", "time"), coords={"lead": ["II"]},
    ...                  attrs={"sampling_rate": 100.0, "units": "mV"})
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     header = write_wfdb(x, folder + "/example")
    ...     read_wfdb(header, start=0.01).round(3).values
    array([[0.1, 0.2, 0.1]], dtype=float32)
    """
    if np.dtype(dtype) not in (np.float32, np.float64):
        raise ValueError(f"dtype must be float32 or float64, got {dtype!r}")
    record = _open_record(path, remote)
    chosen = _choose_leads(record, leads)
    rate = float(record.header.fs)
    first, last = _sample_range(start, stop, record.frames, rate)
    new_rate = rate if resample is None else _positive(resample, "resample")
    sos = None if band is None else _band_filter(band, rate, new_rate)

    values, units = record.read(chosen, first, last)
    done = []
    if sos is not None and band is not None:
        values = _filtered(values, sos)
        done.append(f"band {band[0]} to {band[1]} Hz (Butterworth, order {FILTER_ORDER}, forwards and backwards)")
    if new_rate != rate:
        values = _resampled(values, rate, new_rate)
        done.append(f"resampled from {rate:g} to {new_rate:g} Hz (polyphase)")

    begin = first / rate
    signal = xr.DataArray(
        values.astype(dtype),
        dims=("lead", "time"),
        coords={
            "lead": chosen,
            "time": ("time", begin + np.arange(values.shape[1]) / new_rate, {"units": "s", "long_name": "time"}),
        },
        name="signal",
        attrs=_attributes(record, rate, new_rate, "; ".join(done) or "none"),
    )
    if len(set(units)) == 1:
        signal.attrs["units"] = units[0]
    else:
        signal = signal.assign_coords(units=("lead", units))
    if annotator is not None:
        notes = _read_annotations(record, annotator)
        signal = signal.assign_coords(_annotation_coordinates(notes, begin, last / rate, new_rate, values.shape[1]))
    return signal


@dataclass(frozen=True)
class _Segment:
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
        except (ValueError, TypeError, IndexError, KeyError, RuntimeError) as error:
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
class _Record:
    """A record as the pieces to read, whatever its layout."""

    stem: str
    remote_dir: str | None
    header: Any
    names: list[str]
    units: list[str]
    frames: int
    segments: list[_Segment]

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


def _open_record(path: str | os.PathLike[str], remote: bool) -> _Record:
    stem, remote_dir = _locate(path, remote)
    header = _read_header(stem, remote_dir)
    if not isinstance(header, wfdb.MultiRecord):
        whole = _segment(stem, remote_dir, header, 0)
        return _Record(stem, remote_dir, header, whole.names, header.units, whole.frames, [whole])

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
    return _Record(stem, remote_dir, header, layout.names, layout.header.units, begin, segments)


def _segment(stem: str, remote_dir: str | None, header: Any, first: int, frames: int | None = None) -> _Segment:
    if not header.n_sig or not header.sig_name:
        raise ValueError(f"{stem}.hea describes no signals")
    if frames is None:
        frames = _infer_frames(stem, remote_dir, header) if header.sig_len is None else header.sig_len
    return _Segment(stem, remote_dir, header, _lead_names(header.sig_name), first, frames)


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
    stem = _local_stem(Path(text))
    if stem is None:
        raise MissingFile(f"no WFDB header {text.removesuffix('.hea')}.hea")
    return str(stem), None


def _local_stem(path: Path) -> Path | None:
    """Give the path without extension of the header that `path` points at, None without one."""
    if path.suffix != ".hea" and path.with_name(path.name + ".hea").is_file():
        return path
    return path.with_suffix("") if path.name and path.with_suffix(".hea").is_file() else None


def _read_header(stem: str, remote_dir: str | None) -> Any:
    if remote_dir is None:
        _check_names(Path(stem + ".hea"))
    try:
        return wfdb.rdheader(stem, pn_dir=remote_dir)
    except (ValueError, TypeError, IndexError, KeyError) as error:
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


def _file_layout(header: Any, name: str) -> tuple[int, Fraction | None]:
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


def _canonical(name: str) -> str:
    name = name.strip()
    return next((lead for lead in LEADS if lead.casefold() == name.casefold()), name)


def _lead_names(names: Sequence[str | None]) -> list[str]:
    """Name each signal; a repeated name gets its number, so that labels are unique."""
    result: list[str] = []
    for k, name in enumerate(names):
        label = _canonical(name or f"signal_{k}")
        result.append(f"{label}_{k}" if label in result else label)
    return result


def _choose_leads(record: _Record, leads: str | Sequence[str] | None) -> list[str]:
    if leads is None:
        return record.names
    chosen = [_canonical(x) for x in ([leads] if isinstance(leads, str) else leads)]
    unknown = [x for x in chosen if x not in record.names]
    if unknown or not chosen or len(set(chosen)) < len(chosen):
        confused = "II" in unknown and "MLII" in record.names
        hint = " (MLII is a modified lead II: ask for it by its own name)" if confused else ""
        raise ValueError(f"leads must be different names out of {record.names}, got {chosen}{hint}")
    return chosen


def _sample_range(start: float | None, stop: float | None, n: int, rate: float) -> tuple[int, int]:
    """Give the samples whose time t has start <= t < stop."""
    if n == 0:
        raise ValueError("the record holds no samples")
    begin, end = 0.0 if start is None else start, n / rate if stop is None else stop
    if not 0 <= begin < end <= n / rate + 1e-6 / rate:
        raise ValueError(
            f"0 <= start < stop <= {n / rate:g} s (the length of the record) must hold, got {begin} and {end}"
        )
    first, last = (min(n, math.ceil(t * rate - 1e-6)) for t in (begin, end))
    if first == last:
        raise ValueError(f"there is no sample from {begin} s up to {end} s at {rate:g} Hz")
    return first, last


def _positive(value: float, name: str) -> float:
    if not (np.isfinite(value) and value > 0):
        raise ValueError(f"{name} must be a positive rate in Hz, got {value!r}")
    return float(value)


def _attributes(record: _Record, rate: float, new_rate: float, processing: str) -> dict[str, Any]:
    header = record.header
    attrs: dict[str, Any] = {
        "sampling_rate": new_rate,
        "original_sampling_rate": rate,
        "record": Path(record.stem).name,
        "source": f"{record.remote_dir}/{record.stem}.hea" if record.remote_dir else f"{record.stem}.hea",
        "processing": processing,
    }
    if record.remote_dir is None:
        attrs["sha256"] = hashlib.sha256(Path(record.stem + ".hea").read_bytes()).hexdigest()
    if header.base_time is not None:
        when = header.base_time if header.base_date is None else datetime.combine(header.base_date, header.base_time)
        attrs["start_time" if header.base_date is None else "start_datetime"] = when.isoformat()
    comments = "\n".join(x for x in header.comments if x)
    return attrs | ({"comments": comments} if comments else {}) | _age_and_sex(comments)


def _age_and_sex(comments: str) -> dict[str, Any]:
    """Find them as 'age: 81', '<age>: 81 <sex>: M', or '69 M ...' (MIT-BIH, which writes -1 for an unknown age)."""
    mit = re.search(r"^(-1|\d{1,3})\s+([MF])\b", comments, re.M)
    age = re.search(r"\bage>?\s*:\s*(\d{1,3})\b", comments, re.I) or mit
    sex = re.search(r"\bsex>?\s*:\s*([MF])(?:ale|emale)?\b", comments, re.I)
    found: dict[str, Any] = {"age": int(age[1])} if age and age[1] != "-1" else {}
    return found | ({"sex": sex[1].upper()} if sex else {"sex": mit[2]} if mit else {})


# ---------------------------------------------------------------------------------------- filters that respect gaps


def _runs(values: np.ndarray) -> list[tuple[int, int]]:
    """Give start and end of each run of finite values."""
    edges = np.flatnonzero(np.diff(np.r_[False, np.isfinite(values), False].astype(np.int8)))
    return [(int(a), int(b)) for a, b in edges.reshape(-1, 2)]


def _band_filter(band: tuple[float | None, float | None], rate: float, new_rate: float) -> np.ndarray:
    low, high = band
    nyquist = min(rate, new_rate) / 2
    limits = [x for x in (low, high) if x is not None]
    if not limits or not all(0 < x < nyquist for x in limits) or limits != sorted(set(limits)):
        raise ValueError(
            f"band must be (low, high) with 0 < low < high < {nyquist:g} Hz, half the sampling rate, and one of them "
            f"may be None; got {band}"
        )
    kind = "highpass" if high is None else "lowpass" if low is None else "bandpass"
    return scipy.signal.butter(FILTER_ORDER, limits if kind == "bandpass" else limits[0], kind, fs=rate, output="sos")


def _filtered(values: np.ndarray, sos: np.ndarray) -> np.ndarray:
    result = np.full_like(values, np.nan)
    extension = 3 * (2 * len(sos) + 1)
    lost = 0
    for row, filtered in zip(values, result):
        for a, b in _runs(row):
            if b - a > extension:
                filtered[a:b] = scipy.signal.sosfiltfilt(sos, row[a:b], padlen=extension)
            else:
                lost += b - a
    if lost:
        warnings.warn(
            f"band: {lost} samples lie in runs of {extension} samples or less between gaps, too short to filter, "
            f"and are now NaN",
            stacklevel=3,
        )
    return result


def _resampled(values: np.ndarray, rate: float, new_rate: float) -> np.ndarray:
    """Resample each run onto one grid that starts with the first sample: new sample j is at j * down / up old ones."""
    ratio = Fraction(new_rate / rate).limit_denominator(10_000)
    if abs(float(ratio) * rate / new_rate - 1) > 1e-9:
        raise ValueError(
            f"resample={new_rate:g} is no simple ratio of the sampling rate {rate:g} Hz; take a round rate"
        )
    up, down = ratio.numerator, ratio.denominator
    margin = down * math.ceil(
        10 * max(up, down) / up / down
    )  # half the length of the filter, in whole steps of the grid
    result = np.full((len(values), math.ceil(values.shape[1] * ratio)), np.nan)
    for row, resampled in zip(values, result):
        for a, b in _runs(row):
            before = margin + a % down  # so that the extended run starts on a point of the grid
            extended = np.pad(row[a:b], (before, margin), mode="reflect", reflect_type="odd")
            shift = (a - before) // down * up
            lo, hi = math.ceil(a * ratio), math.ceil(b * ratio)
            resampled[lo:hi] = scipy.signal.resample_poly(extended, up, down)[lo - shift : hi - shift]
    return result


# ------------------------------------------------------------------------------------------------------ annotations


@dataclass(frozen=True)
class _Annotations:
    """Annotations in the order of the file; `seconds` from the start of the record."""

    seconds: np.ndarray
    codes: np.ndarray
    notes: list[str]
    symbols: dict[int, str]
    meanings: dict[int, str]


def _read_annotations(record: _Record, annotator: str) -> _Annotations:
    stem, folder = record.stem, record.remote_dir
    if not re.fullmatch(r"\w+", annotator):
        raise ValueError(f"annotator must be the extension of an annotation file, such as 'atr', got {annotator!r}")
    if folder is None and not Path(f"{stem}.{annotator}").is_file():
        signals = {name for x in record.segments for name in x.header.file_name}
        others = [
            x for x in Path(stem).parent.glob(Path(stem).name + ".*") if x.suffix != ".hea" and x.name not in signals
        ]
        raise MissingFile(
            f"no annotations {stem}.{annotator}; annotators there: {sorted(x.suffix[1:] for x in others)}"
        )
    try:
        found = wfdb.rdann(stem, annotator, pn_dir=folder, return_label_elements=["label_store"])
    except (ValueError, TypeError, IndexError, KeyError) as error:
        raise ValueError(f"{stem}.{annotator} is not an annotation file that can be read: {error}") from error
    symbols = {x.label_store: x.symbol for x in ann_labels} | {0: "none"}
    meanings = {x.label_store: x.description for x in ann_labels} | {0: "none"}
    if found.custom_labels is not None:
        own = found.custom_labels
        symbols |= dict(zip(own["label_store"], own["symbol"]))
        meanings |= dict(zip(own["label_store"], own["description"]))
    for code in set(found.label_store.tolist()) - set(symbols):
        symbols[code] = meanings[code] = f"undefined_{code}"
    notes = [(x or "").rstrip("\x00").strip() for x in found.aux_note]
    rate = float(record.header.fs)
    seconds = found.sample / float(found.fs or rate)
    outside = int(((seconds < 0) | (seconds >= record.frames / rate)).sum())
    if outside:
        warnings.warn(
            f"{outside} of {len(seconds)} annotations in {stem}.{annotator} lie outside the record's "
            f"{record.frames / rate:g} s and are left out",
            stacklevel=3,
        )
    return _Annotations(seconds, np.asarray(found.label_store), notes, symbols, meanings)


def _annotation_coordinates(
    found: _Annotations, begin: float, end: float, rate: float, n: int
) -> dict[str, tuple[str, np.ndarray, dict[str, Any]]]:
    """Code annotations from `begin` up to `end` seconds on `n` samples at `rate`."""
    position = np.rint((found.seconds - begin) * rate).astype(int)
    inside = (found.seconds >= begin - 1e-9) & (found.seconds < end - 1e-9)
    position[inside] = np.clip(position[inside], 0, n - 1)  # the last ones may round up past the end
    codes, moved, farthest = _one_per_sample(position[inside], found.codes[inside], n)
    attrs = _flags(found.symbols) | {
        "flag_descriptions": " ".join(
            re.sub(r"\W+", "_", found.meanings[k]).strip("_") for k in sorted(found.meanings)
        ),
        "long_name": "annotation at this sample, as WFDB symbol",
        "moved": moved,
        "moved_at_most_samples": farthest,
    }
    coordinates = {"annotation": ("time", codes, attrs)}
    changes = [(p, x.lstrip("(")) for p, c, x in zip(position, found.codes, found.notes) if found.symbols[c] == "+"]
    if any(name for _, name in changes):
        coordinates["rhythm"] = ("time", *_rhythm(changes, n))
    return coordinates


def _one_per_sample(position: np.ndarray, codes: np.ndarray, n: int) -> tuple[np.ndarray, int, int]:
    """Put one code on a sample: beats first, then in order, the rest on the nearest free samples."""
    if len(position) > n:
        raise ValueError(f"{len(position)} annotations do not fit on {n} samples: resample to a higher rate")
    result = np.zeros(n, np.int16)
    moved = farthest = 0
    beat = np.array([0 <= c < len(is_qrs) and is_qrs[c] for c in codes], bool)
    for i in np.argsort(~beat, kind="stable"):
        at, distance = int(position[i]), 0
        while not (0 <= at < n) or result[at]:
            distance += 1
            at = position[i] + distance
            if not (0 <= at < n) or result[at]:
                at = position[i] - distance
        result[at] = codes[i]
        moved += distance > 0
        farthest = max(farthest, distance)
    return result, moved, farthest


def _rhythm(changes: list[tuple[int, str]], n: int) -> tuple[np.ndarray, dict[str, Any]]:
    names = ["none", *RHYTHMS, *sorted({x for _, x in changes} - {"", *RHYTHMS})]
    result = np.zeros(n, np.int16)
    for at, name in changes:  # in order of time, so that each holds until the next
        result[max(0, at) :] = names.index(name or "none")
    return result, _flags(dict(enumerate(names))) | {"long_name": "rhythm in force at this sample"}


def _flags(symbols: Mapping[int, str]) -> dict[str, Any]:
    codes = sorted(symbols)
    words = [re.sub(r"\s+", "_", symbols[k]) for k in codes]
    return {"flag_values": np.array(codes, np.int16), "flag_meanings": " ".join(words)}


def _decoded(coordinate: xr.DataArray) -> list[str]:
    """Give the word for each code of a coordinate; "" for 0."""
    flags, words = coordinate.attrs.get("flag_values", ()), coordinate.attrs.get("flag_meanings", "").split()
    meanings = dict(zip(np.atleast_1d(flags).tolist(), words)) | {0: ""}
    unknown = sorted(set(np.unique(coordinate.values).tolist()) - set(meanings))
    if unknown:
        raise ValueError(f"flag_values and flag_meanings of {coordinate.name!r} do not explain the codes {unknown}")
    return [meanings[code] for code in coordinate.values.tolist()]


def write_wfdb(signal: xr.DataArray, path: str | os.PathLike[str], *, gain: float = 1000.0) -> Path:
    """Write a signal as a WFDB record of format 16, and its `annotation` and `rhythm` coordinates as annotator "atr".

    Parameters
    ----------
    signal
        Dims lead and time; units in attrs or in a coordinate `units`, mV if neither; NaN is written as a gap. The
        sampling rate is `attrs["sampling_rate"]`, else the step of a `time` in seconds.
    path
        The record to write, with or without `.hea`. Record names have letters, digits, - and _ only.
    gain
        Steps per unit: what is read back differs by 0.5 / gain at most. 1000 keeps microvolts of a signal in mV.

    Returns
    -------
    pathlib.Path
        The header.

    Raises
    ------
    ValueError
        Other dims, no sampling rate, values beyond 32767 / gain, an annotation WFDB has no symbol for.

    Examples
    --------
    See `read_wfdb`.
    """
    if set(signal.dims) != {"lead", "time"}:
        raise ValueError(f"a WFDB record has dims ('lead', 'time'), got {signal.dims}; select one sample first")
    header = Path(path).with_suffix(".hea") if Path(path).suffix == ".hea" else Path(f"{os.fspath(path)}.hea")
    if not re.fullmatch(r"[-\w]+", header.stem):
        raise ValueError(f"a record name has letters, digits, - and _ only, got {header.stem!r}")
    values = signal.transpose("time", "lead").values.astype(np.float64)
    steps = np.rint(values * _positive(gain, "gain"))
    if np.isinf(values).any() or np.nanmax(np.abs(steps), initial=0) > 32767:
        raise ValueError(
            f"values must be within 32767 / gain = {32767 / gain:g}, largest is {np.nanmax(np.abs(values)):g}; "
            f"pass a smaller gain"
        )
    names = (
        [str(x) for x in signal["lead"].values]
        if "lead" in signal.coords
        else [f"signal_{k}" for k in range(values.shape[1])]
    )
    units = (
        signal.coords["units"].values.tolist()
        if "units" in signal.coords
        else [signal.attrs.get("units", "mV")] * len(names)
    )
    rate = _sampling_rate(signal)
    marks = _marks(signal)
    quiet = warnings.catch_warnings(action="ignore", category=DeprecationWarning)  # as at the import of wfdb
    with _folder_to_fill(header.parent) as folder, quiet:
        wfdb.wrsamp(
            header.stem,
            fs=rate,
            units=units,
            sig_name=names,
            d_signal=np.where(np.isnan(steps), FORMAT_16_GAP, steps).astype(np.int16),
            fmt=["16"] * len(names),
            adc_gain=[float(gain)] * len(names),
            baseline=[0] * len(names),
            comments=_comments(signal.attrs),
            base_datetime=_first_datetime(signal),
            write_dir=str(folder),
        )
        if marks:
            at, symbols, notes = zip(*marks)
            wfdb.wrann(header.stem, "atr", np.array(at), np.array(symbols), aux_note=list(notes), write_dir=str(folder))
        else:  # those of an earlier record of this name would be taken for this one's
            header.with_suffix(".atr").unlink(missing_ok=True)
    return header


def _sampling_rate(signal: xr.DataArray) -> float:
    if "sampling_rate" in signal.attrs:
        return _positive(signal.attrs["sampling_rate"], "sampling_rate")
    if "time" in signal.coords and signal["time"].dtype.kind == "f" and signal.sizes["time"] > 1:
        steps = np.diff(signal["time"].values)
        if np.allclose(steps, steps.mean(), rtol=1e-3):
            return _positive(round(1 / steps.mean(), 6), "sampling_rate")
    raise ValueError("the sampling rate is unknown: set attrs['sampling_rate'] in Hz, or an even `time` in seconds")


def _comments(attrs: Mapping[Any, Any]) -> list[str]:
    if "comments" in attrs:
        return str(attrs["comments"]).splitlines()
    return [f"{key}: {attrs[key]}" for key in ("age", "sex") if key in attrs]


def _first_datetime(signal: xr.DataArray) -> datetime | None:
    if "start_datetime" not in signal.attrs:
        return None
    offset = float(signal["time"][0]) if "time" in signal.coords else 0.0
    return datetime.fromisoformat(signal.attrs["start_datetime"]) + timedelta(seconds=offset)


def _marks(signal: xr.DataArray) -> list[tuple[int, str, str]]:
    """List annotations as sample, symbol, note; rhythm changes ("+") come from `rhythm` where there is one."""
    marks: dict[tuple[int, str], str] = {}
    if "annotation" in signal.coords:
        marks |= {(i, symbol): "" for i, symbol in enumerate(_decoded(signal["annotation"])) if symbol}
    if "rhythm" in signal.coords:
        rhythm = ["", *_decoded(signal["rhythm"])]
        marks = {key: "" for key in marks if key[1] != "+"}
        marks |= {(i, "+"): f"({b}" for i, (a, b) in enumerate(itertools.pairwise(rhythm)) if a != b}
    unknown = {symbol for _, symbol in marks} - {x.symbol for x in ann_labels}
    if unknown:
        raise ValueError(
            f"WFDB has no annotation symbol {sorted(unknown)}; it has {[x.symbol for x in ann_labels[1:]]}"
        )
    return [(i, symbol, note) for (i, symbol), note in sorted(marks.items())]


# -------------------------------------------------------------------------------------------- input of any known kind


def read_input(
    path: str | os.PathLike[str],
    *,
    leads: str | Sequence[str] | None = None,
    dims: Sequence[str] | None = None,
    variable: str | Sequence[str] | None = None,
    start: float | None = None,
    stop: float | None = None,
    annotator: str | None = None,
    resample: float | None = None,
    band: tuple[float | None, float | None] | None = None,
) -> xr.DataArray | xr.Dataset | pd.DataFrame:
    """Read a file of any known kind, told by its name.

    Parameters
    ----------
    path
        A WFDB record (`.hea`, or a path that becomes a header when `.hea` is added); NetCDF (`.nc`) or Zarr (`.zarr`);
        NumPy (`.npy`, `.npz`; pickled objects are refused); CSV (`.csv`), where a first column without name, or named
        sample, id or index, becomes the index.
    dims
        Names of the axes of a NumPy array.
    variable
        Which variable of a NetCDF, Zarr or npz file, where there are several; a list of names gives a Dataset.
    leads, start, stop, annotator, resample, band
        For WFDB records, see `read_wfdb`.

    Raises
    ------
    ValueError
        File missing (`MissingFile`) or of unknown kind; variable or dims needed or not fitting; options that do not
        apply.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = pathlib.Path(folder, "table.csv")
    ...     _ = file.write_text("id,age,hr\\na,60,71\\nb,55,90\\n")
    ...     read_input(file)
        age  hr
    id
    a    60  71
    b    55  90
    """
    path = Path(path)
    for_wfdb = {
        "leads": leads,
        "start": start,
        "stop": stop,
        "annotator": annotator,
        "resample": resample,
        "band": band,
    }
    kinds: dict[str, Callable[[], Any]] = {
        ".nc": lambda: _read_dataset(path, variable),
        ".zarr": lambda: _read_dataset(path, variable),
        ".npy": lambda: _read_numpy(path, dims, variable),
        ".npz": lambda: _read_numpy(path, dims, variable),
        ".csv": lambda: _read_csv(path),
    }
    if path.suffix not in kinds and (path.suffix == ".hea" or _local_stem(path)):
        _refuse({"dims": dims, "variable": variable}, path, "a WFDB record")
        return read_wfdb(path, **for_wfdb)  # type: ignore[arg-type]
    if not path.exists():
        raise MissingFile(f"no file {path}, and no WFDB header {path}.hea")
    if path.suffix not in kinds:
        raise ValueError(
            f"cannot tell what {path} is: a WFDB record needs its .hea file, other kinds end in {[*kinds]}"
        )
    _refuse(for_wfdb, path, f"a {path.suffix} file")
    _refuse({"dims": dims} if path.suffix not in (".npy", ".npz") else {}, path, f"a {path.suffix} file")
    _refuse({"variable": variable} if path.suffix in (".npy", ".csv") else {}, path, f"a {path.suffix} file")
    return kinds[path.suffix]()


def _refuse(options: Mapping[str, Any], path: Path, kind: str) -> None:
    given = [name for name, value in options.items() if value is not None]
    if given:
        raise ValueError(f"{', '.join(given)} cannot be used with {path}, which is {kind}")


def _choose_variable(names: Sequence[str], variable: str | None, path: Path) -> str:
    if variable is None and len(names) == 1:
        return names[0]
    if variable not in names:
        raise ValueError(f"{path} holds the variables {sorted(names)}: choose one with variable=, got {variable!r}")
    return str(variable)


def _read_dataset(path: Path, variable: str | Sequence[str] | None) -> xr.DataArray | xr.Dataset:
    try:
        data = xr.open_dataset(path, engine="zarr" if path.suffix == ".zarr" else None)
    except ImportError as error:
        raise ValueError(f"{path} needs zarr: pip install 'tsattr[zarr]'") from error
    except (OSError, ValueError, KeyError) as error:
        raise ValueError(f"{path} cannot be read as {path.suffix}: {error}") from error
    with data:
        names = [str(x) for x in data.data_vars]
        if variable is None or isinstance(variable, str):
            return data[_choose_variable(names, variable, path)].load()
        return data[[_choose_variable(names, x, path) for x in variable]].load()


def _read_numpy(path: Path, dims: Sequence[str] | None, variable: str | Sequence[str] | None) -> xr.DataArray:
    try:
        data = np.load(path, allow_pickle=False)
        if path.suffix == ".npz":
            if not (variable is None or isinstance(variable, str)):
                raise TypeError(f"one variable of {path} can be read at a time, got {variable!r}")
            with data:
                variable = _choose_variable(data.files, variable, path)
                data = data[variable]
    except (OSError, EOFError) as error:
        raise ValueError(f"{path} cannot be read as a NumPy file: {error}") from error
    except ValueError as error:
        if "pickle" not in str(error):
            raise
        raise ValueError(f"{path} holds pickled objects, which can run code and are not read: save numbers") from error
    if dims is None or len(dims) != data.ndim:
        raise ValueError(f"name the {data.ndim} axes of {path}, of sizes {data.shape}, with dims=; got {dims}")
    return xr.DataArray(data, dims=tuple(dims), name=variable)


def _read_csv(path: Path) -> pd.DataFrame:
    try:
        frame = pd.read_csv(path)
    except ValueError as error:  # pandas' parser errors are ValueErrors
        raise ValueError(f"{path} cannot be read as CSV: {error}") from error
    first = str(frame.columns[0])
    return frame.set_index(first) if first.casefold() in ("sample", "id", "index", "unnamed: 0") else frame


# --------------------------------------------------------------------------------------------------------- writing


def write_netcdf(data: xr.Dataset | xr.DataArray, path: str | os.PathLike[str]) -> None:
    """Write NetCDF-4, whole or not at all: a file of that name stays as it is if anything fails.

    Raises
    ------
    ValueError
        The folder is missing (`MissingFile`) or cannot be written (`CannotWrite`); attrs that NetCDF cannot hold.

    Examples
    --------
    >>> import tempfile, xarray as xr
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_netcdf(xr.Dataset({"a": ("lead", [1.0, 2.0])}, {"lead": ["I", "II"]}), folder + "/a.nc")
    ...     read_input(folder + "/a.nc").sel(lead="II").item()
    2.0
    """
    with _file_to_fill(path) as temporary:
        # The encoding of the file that data came from need not fit this one.
        data.drop_encoding().to_netcdf(temporary, engine="h5netcdf")


def write_text(text: str, path: str | os.PathLike[str]) -> None:
    """Write text in UTF-8, whole or not at all; raises as `write_netcdf` does."""
    with _file_to_fill(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


@contextmanager
def _file_to_fill(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a temporary path, and move what was written there to `path`."""
    path = Path(path)
    with _folder_to_fill(path.parent) as folder:
        if path.is_dir():
            raise CannotWrite(f"cannot write {path}: it is a folder")
        yield folder / path.name


@contextmanager
def _folder_to_fill(target: Path) -> Iterator[Path]:
    """Give a temporary folder inside `target`, and move its files up if all went well."""
    if not target.is_dir():
        raise MissingFile(f"no folder {target} to write into: make it first")
    try:
        with tempfile.TemporaryDirectory(prefix=".tsattr-", dir=target) as folder:
            yield Path(folder)
            # Headers last: a record without one is not seen.
            for file in sorted(Path(folder).iterdir(), key=lambda x: x.suffix == ".hea"):
                os.replace(file, target / file.name)
    except CannotWrite:
        raise
    except OSError as error:
        raise CannotWrite(f"cannot write into {target}: {error.strerror or error}") from error
