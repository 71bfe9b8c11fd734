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

from .annotations import marks
from .files import file_to_fill
from .filters import positive

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
        Other dims, no sampling rate, values beyond 32767 / gain, an annotation WFDB has no symbol for; a folder that is
        missing (`MissingFile`) or cannot be written (`CannotWrite`).

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
    header = Path(os.fspath(path).removesuffix(".hea") + ".hea")
    if not re.fullmatch(r"[-\w]+", header.stem):
        raise ValueError(f"a record name has letters, digits, - and _ only, got {header.stem!r}")
    values = signal.transpose("time", "lead").values.astype(np.float64)
    steps = np.rint(values * positive(gain, "gain", "number of steps per unit"))
    if np.isinf(values).any() or np.nanmax(np.abs(steps), initial=0) > 32767:
        raise ValueError(
            f"values must be within 32767 / gain = {32767 / gain:g}, largest is {np.nanmax(np.abs(values)):g}; "
            f"pass a smaller gain"
        )
    names = [str(x) if "lead" in signal.coords else f"signal_{x}" for x in signal["lead"].values]
    units = np.broadcast_to(signal.coords.get("units", signal.attrs.get("units", "mV")), len(names)).tolist()
    rate = _sampling_rate(signal)
    annotations = marks(signal)
    with file_to_fill(header) as temporary:
        folder = str(temporary.parent)
        wfdb.wrsamp(
            header.stem,
            fs=rate,
            units=units,
            sig_name=names,
            d_signal=np.where(np.isnan(steps), GAP, steps).astype(np.int16),
            fmt=["16"] * len(names),
            adc_gain=[float(gain)] * len(names),
            baseline=[0] * len(names),
            comments=_comments(signal.attrs),
            base_datetime=_first_datetime(signal),
            write_dir=folder,
        )
        if annotations:
            at, symbols, notes = map(list, zip(*annotations))
            wfdb.wrann(header.stem, "atr", np.array(at), np.array(symbols), aux_note=notes, write_dir=folder)
        else:  # those of an earlier record of this name would be taken for this one's
            header.with_suffix(".atr").unlink(missing_ok=True)
    return header


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
        return str(attrs["comments"]).splitlines()
    return [f"{key}: {attrs[key]}" for key in ("age", "sex") if key in attrs]


def _first_datetime(signal: xr.DataArray) -> datetime | None:
    if "start_datetime" not in signal.attrs:
        return None
    offset = float(signal["time"][0]) if "time" in signal.coords else 0.0
    return datetime.fromisoformat(signal.attrs["start_datetime"]) + timedelta(seconds=offset)
