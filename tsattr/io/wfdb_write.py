"""Labelled signals written as WFDB records."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import wfdb
import xarray as xr

from ..core.atomic import atomic_write
from ..core.units import spelled
from ..ecg import canonical_lead
from .annotations import annotation_list
from .filters import positive
from .wfdb_header import Channel, Header, checksum, header_text, read_header

GAP = -32768  # in format 16


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
        Other dims, no sampling rate, values beyond 32767 / gain, an annotation WFDB has no symbol for; names, units,
        comments or a start that would not be read back as they are; a folder that is missing (`MissingFile`) or cannot
        be written (`CannotWrite`).

    Examples
    --------
    >>> import pathlib, tempfile, xarray as xr
    >>> x = xr.DataArray([[0.0, 0.1, 0.2]], dims=("lead", "time"), coords={"lead": ["II"]})
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     header = write_wfdb(x.assign_attrs(sampling_rate=100.0, units="mV"), folder + "/example")
    ...     sorted(file.name for file in pathlib.Path(folder).iterdir())
    ['example.dat', 'example.hea']
    """
    if set(signal.dims) != {"lead", "time"}:
        raise ValueError(f"a WFDB record has dims ('lead', 'time'), got {signal.dims}; select one sample first")
    if not signal.size:
        raise ValueError(f"a WFDB record has at least one lead and one sample, got {dict(signal.sizes)}")
    header = Path(os.fspath(path).removesuffix(".hea") + ".hea")
    if not re.fullmatch(r"[-\w]+", header.stem, re.ASCII):
        raise ValueError(f"a record name has letters, digits, - and _ only, got {header.stem!r}")
    values = signal.transpose("lead", "time").values.astype(np.float64)
    steps = np.rint(values * positive(gain, "gain", "number of steps per unit"))
    if np.isinf(values).any() or np.nanmax(np.abs(steps), initial=0) > 32767:
        raise ValueError(
            f"values must be within 32767 / gain = {32767 / gain:g}, largest is {np.nanmax(np.abs(values)):g}; "
            f"pass a smaller gain"
        )
    names = [str(x) if "lead" in signal.coords else f"signal_{x}" for x in signal["lead"].values]
    given = np.broadcast_to(signal.coords.get("units", signal.attrs.get("units", "mV")), len(names)).tolist()
    units = [spelled(str(unit)) for unit in given]  # a micro sign is lost on other readers
    samples = np.where(np.isnan(steps), GAP, steps).astype("<i2")
    channels = tuple(
        Channel(f"{header.stem}.dat", "16", name, unit, float(gain), initial=int(row[0]), checksum=checksum(row))
        for name, unit, row in zip(names, units, samples)
    )
    text = Header(
        _sampling_rate(signal),
        samples.shape[1],
        channels,
        start=_start(signal),
        comments=tuple(_comments(signal.attrs)),
    )
    annotations = annotation_list(signal)
    with atomic_write(header) as temporary:
        temporary.write_text(header_text(header.stem, text), encoding="utf-8")
        temporary.with_suffix(".dat").write_bytes(samples.T.tobytes())
        _check_read_back(text, temporary)
        if annotations:
            at, symbols, notes = map(list, zip(*annotations))
            folder = str(temporary.parent)
            wfdb.wrann(header.stem, "atr", np.array(at), np.array(symbols), aux_note=notes, write_dir=folder)
            _check_annotations(annotations, temporary)
        else:  # those of an earlier record of this name would be taken for this one's
            header.with_suffix(".atr").unlink(missing_ok=True)
    return header


def _check_read_back(expected: Header, written: Path) -> None:
    """Raise ValueError, naming the value, unless the header is read back as `expected`."""
    try:
        found = read_header(written)
    except ValueError as error:
        raise ValueError(
            f"a WFDB header cannot hold these leads, units or comments, as it could not be read back: {error}".replace(
                f"{written} ", "it "
            )
        ) from error
    if len({canonical_lead(c.name or "") for c in expected.channels}) < len(expected.channels):
        raise ValueError(
            f"the leads of a WFDB record have names of their own, got {[c.name for c in expected.channels]}"
        )
    fields: list[tuple[str, Any, Any]] = [
        ("comments", expected.comments, found.comments),
        ("start", expected.start, found.start),
    ]
    for a, b in zip(expected.channels, found.channels):
        fields += [
            (f"the lead name {a.name!r}", a.name, b.name and b.name.strip()),
            (f"the units of {a.name!r}", a.units, b.units),
        ]
    for what, before, after in fields:
        if before != after:
            raise ValueError(
                f"{what} cannot be kept in a WFDB header: {before!r} would be read as {after!r}; change it"
            )
    if expected != found:
        raise ValueError(f"a WFDB header cannot hold {expected}: it would be read as {found}")


def _check_annotations(expected: list[tuple[int, str, str]], header: Path) -> None:
    found = wfdb.rdann(str(header.with_suffix("")), "atr")
    read = list(zip(found.sample.tolist(), found.symbol, (note.rstrip("\0") for note in found.aux_note)))
    if lost := [a for a, b in zip(expected, read) if a != b] or expected[len(read) :]:
        raise ValueError(
            f"a WFDB annotation file cannot hold {lost[0]} (sample, symbol, note): it would be read differently"
        )


def _sampling_rate(signal: xr.DataArray) -> float:
    if "sampling_rate" in signal.attrs:
        return positive(signal.attrs["sampling_rate"], "sampling_rate")
    if "time" in signal.coords and signal["time"].dtype.kind == "f" and signal.sizes["time"] > 1:
        steps = np.diff(signal["time"].values)
        if np.allclose(steps, steps.mean(), rtol=1e-3):
            return positive(round(1 / steps.mean(), 6), "sampling_rate")
    raise ValueError("the sampling rate is unknown: set attrs['sampling_rate'] in Hz, or an even `time` in seconds")


def _comments(attrs: Mapping[Any, Any]) -> list[str]:
    if "comments" in attrs:
        return [line.strip() for line in str(attrs["comments"]).splitlines()]
    return [f"{key}: {attrs[key]}" for key in ("age", "sex") if key in attrs]


def _start(signal: xr.DataArray) -> str:
    """The time and date of the first sample, as a header has them."""
    offset = timedelta(seconds=float(signal["time"][0]) if "time" in signal.coords else 0.0)
    for name, form in (("start_datetime", "2001-02-03T04:05:06"), ("start_time", "04:05:06")):
        if name in signal.attrs:
            text = str(signal.attrs[name])
            try:
                start = datetime.fromisoformat(text if name == "start_datetime" else f"2000-01-01T{text}")
            except ValueError:
                raise ValueError(f"attrs[{name!r}] must be in the form of {form}, got {text!r}") from None
            if start.tzinfo is not None:
                raise ValueError(f"a WFDB header has no time zone: give {name} without one, got {text!r}")
            start += offset
            day = f" {start:%d/%m}/{start.year:04}" if name == "start_datetime" else ""
            return f"{start.time().isoformat()}{day}"
    return ""
