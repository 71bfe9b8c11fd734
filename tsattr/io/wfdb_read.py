"""WFDB records as labelled arrays in physical units, with annotations as coordinates."""

from __future__ import annotations

import hashlib
import math
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from ..core.units import voltage
from ..ecg import canonical_lead
from . import filters
from .annotations import annotation_coordinates
from .wfdb_header import start_attributes
from .wfdb_record import Record, open_record


def read_wfdb(
    path: str | os.PathLike[str],
    *,
    leads: str | Sequence[str] | None = None,
    start: float | None = None,
    stop: float | None = None,
    annotator: str | None = None,
    resample: float | None = None,
    band: tuple[float | None, float | None] | None = None,
    units: str | None = None,
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
    units
        A unit of voltage, such as "mV", into which every lead recorded in volts is converted; other channels (mmHg, bpm) keep
        theirs. By default all are as recorded.
    dtype
        "float32" or "float64".
    remote
        Stream from PhysioNet: `path` is then database and record, like "mitdb/100". The network is not used otherwise.

    Returns
    -------
    xarray.DataArray
        `signal` with dims (lead, time); `time` in seconds; NaN in gaps. Units are in `attrs["units"]` where all leads
        share them, else in a coordinate `units` along `lead`; volts are called mV and uV however they are spelled. A
        signal with several samples per frame is averaged frame
        by frame, and is missing where one of them is. With an annotator, two integer coordinates along `time`, whose
        `flag_values` and `flag_meanings` follow the CF conventions, 0 = none:

        - `annotation`: the WFDB code of the annotation at this sample. After resampling it stands on the nearest new
          sample. Where several fall on one sample, a beat keeps it before any other, then the first in the file; the
          others stand on the nearest free samples. None is lost, and the coordinate's attrs count those that moved.
        - `rhythm`, if the file has rhythm changes: the rhythm in force at this sample.

    Raises
    ------
    ValueError
        Header, signal or annotation file missing (`MissingFile`), unreadable or truncated; segments or signals that are
        announced and not listed; samples that do not add up to their checksum, where all of a file is read; a file outside
        the header's folder; unknown lead; times outside the record; a band that does not fit the sampling rate; `units` that are no voltage.

    Notes
    -----
    Gaps: each run of samples between gaps is filtered and resampled by itself, extended by its point reflection, so
    that nothing spreads into gaps or across them. A run too short for the filter becomes NaN, with a warning that says
    how many samples. A run that falls between two new samples vanishes.

    Headers are read as UTF-8, or Latin-1. Of their time and date also forms that are no standard but published are known
    (2014-05-08 05:05:15, 05-May-2020 09:49:17); of one that is not, such as a year of two digits, a warning tells.

    Examples
    --------
    >>> import tempfile, xarray as xr
    >>> from tsattr.io import read_wfdb, write_wfdb
    >>> x = xr.DataArray([[0.0, 0.1, 0.2, 0.1]], dims=("lead", "time"), coords={"lead": ["II"]},
    ...                  attrs={"sampling_rate": 100.0, "units": "mV"})
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     header = write_wfdb(x, folder + "/example")
    ...     read_wfdb(header, start=0.01).round(3).values
    array([[0.1, 0.2, 0.1]], dtype=float32)
    """
    if np.dtype(dtype) not in (np.float32, np.float64):
        raise ValueError(f"dtype must be float32 or float64, got {dtype!r}")
    record = open_record(path, remote)
    chosen = _choose_leads(record, leads)
    rate = record.rate
    first, last = _sample_range(start, stop, record.frames, rate)
    new_rate = rate if resample is None else filters.positive(resample, "resample")
    ratio = filters.rate_ratio(new_rate, rate)
    low, high = band or (None, None)
    sos = None if band is None else filters.band_filter(band, rate, new_rate)

    wanted = None if units is None else _wanted(units)
    values, recorded = record.read(chosen, first, last)
    done = []
    if wanted is not None:
        known = [voltage(u) or (u, None) for u in recorded]
        values *= np.array([1.0 if size is None else size / wanted[1] for _, size in known])[:, None]
        recorded = [unit if size is None else wanted[0] for unit, size in known]
    if sos is not None:
        values = filters.filtered(values, sos)
        done.append(f"band {low} to {high} Hz (Butterworth, order {filters.ORDER}, forwards and backwards)")
    if ratio != 1:
        values = filters.resampled(values, ratio)
        done.append(f"resampled from {rate:g} to {new_rate:g} Hz (polyphase)")

    n, begin = values.shape[1], first / rate
    time = begin + np.arange(n) / new_rate
    signal = xr.DataArray(
        values.astype(dtype),
        dims=("lead", "time"),
        coords={"lead": chosen, "time": ("time", time, {"units": "s", "long_name": "time"})},
        name="signal",
        attrs=_attributes(record, new_rate, "; ".join(done) or "none"),
    )
    if len(set(recorded)) == 1:
        signal.attrs["units"] = recorded[0]
    else:
        signal = signal.assign_coords(units=("lead", recorded))
    if annotator is not None:
        signal = signal.assign_coords(annotation_coordinates(record, annotator, begin, last / rate, new_rate, n))
    return signal


def _wanted(units: str) -> tuple[str, float]:
    """The spelling of the unit that is asked for, and its size in mV."""
    known = voltage(units)
    if known is None:
        raise ValueError(
            f'units is a unit of voltage, such as "mV" or "uV", got {units!r}; other channels keep their own'
        )
    return known


def _choose_leads(record: Record, leads: str | Sequence[str] | None) -> list[str]:
    if leads is None:
        return record.names
    chosen = [canonical_lead(x) for x in ([leads] if isinstance(leads, str) else leads)]
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


def _attributes(record: Record, rate: float, processing: str) -> dict[str, Any]:
    header = record.header
    attrs: dict[str, Any] = {
        "sampling_rate": rate,
        "original_sampling_rate": record.rate,
        "record": Path(record.stem).name,
        "source": f"{record.remote_dir}/{record.stem}.hea" if record.remote_dir else f"{record.stem}.hea",
        "processing": processing,
    }
    if record.remote_dir is None:
        attrs["sha256"] = hashlib.sha256(Path(record.stem + ".hea").read_bytes()).hexdigest()
    attrs |= start_attributes(header.start, record.stem, stacklevel=3)
    comments = "\n".join(x for x in header.comments if x)
    return attrs | ({"comments": comments} if comments else {}) | _age_and_sex(comments)


def _age_and_sex(comments: str) -> dict[str, Any]:
    """Find them as 'age: 81', '<age>: 81 <sex>: M', or '69 M ...' (MIT-BIH, which writes -1 for an unknown age)."""
    mit = re.search(r"^(-1|\d{1,3})\s+([MF])\b", comments, re.M)
    age = re.search(r"\bage>?\s*:\s*(\d{1,3})\b", comments, re.I) or mit
    sex = re.search(r"\bsex>?\s*:\s*([MF])(?:ale|emale)?\b", comments, re.I)
    found: dict[str, Any] = {"age": int(age[1])} if age and age[1] != "-1" else {}
    return found | ({"sex": sex[1].upper()} if sex else {"sex": mit[2]} if mit else {})
