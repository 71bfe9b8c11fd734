"""Many records of one kind as samples, each with what is known of it."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from .wfdb_read import read_wfdb

_OWN = ("record", "comments", "age", "sex", "source", "sha256")  # attributes of a record that become coordinates
_FIXES = {
    "leads": "name those they share with leads=",
    "units": "convert them with units=",
    "sampling rate": "give them one with resample=",
    "length": "cut or pad them with seconds=",
}


def read_many(
    records: Iterable[str | os.PathLike[str]] | pd.DataFrame,
    *,
    path: str = "path",
    folder: str | os.PathLike[str] = ".",
    seconds: float | None = None,
    **options: Any,
) -> xr.DataArray:
    """Read WFDB records into one array, a sample for each, with what the headers and a table say of them as coordinates.

    Parameters
    ----------
    records
        Paths of records; or a table with a row for each, whose column `path` names them. Its other columns, such as a patient, a label
        or a fold, become coordinates along ``sample``; its index too, where it has a name.
    path
        Name of the column of paths.
    folder
        Where relative paths begin.
    seconds
        Length of each sample: longer records are cut there, and shorter ones are missing (NaN) from their end on. By default all records
        must be of one length.
    **options
        Of `read_wfdb`, for every record: ``leads``, ``resample``, ``band``, ``units``, ``annotator``, ``dtype``, ...

    Returns
    -------
    xarray.DataArray
        Dims (sample, lead, time), the coordinate of ``sample`` the names of the records where no two are alike, else counted. Along
        ``sample`` also ``record``, ``source``, ``sha256`` (of the header), ``comments``, ``age`` and ``sex`` of the headers, where one of them has
        any, and the columns of the table, which go before those of a header. What all records share stays in the attrs.

    Raises
    ------
    ValueError
        No record; a record that cannot be read, or has other leads, units, sampling rate or length than the first, which it
        names; a table without the column.

    Examples
    --------
    >>> import tempfile
    >>> from tsattr.io import write_wfdb
    >>> x = xr.DataArray([[0.0, 0.1, 0.2, 0.1]], dims=("lead", "time"), coords={"lead": ["II"]},
    ...                  attrs={"sampling_rate": 100.0, "units": "mV"})
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = write_wfdb(x, folder + "/a"), write_wfdb(2 * x, folder + "/b")
    ...     table = pd.DataFrame({"path": ["a", "b"], "patient": [7, 7], "label": ["NORM", "MI"]})
    ...     both = read_many(table, folder=folder)
    >>> both.dims, both.label.values.tolist()
    (('sample', 'lead', 'time'), ['NORM', 'MI'])
    """
    paths, columns = _listed(records, path)
    read: list[xr.DataArray] = []
    for name in paths:
        record = read_wfdb(Path(folder, name), **options)
        if seconds is not None:
            record = _cut(record, seconds)
        if read:
            _check_like(record, read[0], name, paths[0])
        read.append(record)
    names = [str(record.attrs["record"]) for record in read]
    whole = xr.concat(
        [record.drop_attrs() for record in read],
        pd.Index(names if len(set(names)) == len(names) else range(len(names)), name="sample"),
        join="override",
        coords="different",
        compat="equals",
    ).transpose("sample", "lead", "time", ...)
    for name, coordinate in read[0].coords.items():
        whole[name].attrs = coordinate.attrs
    shared = {k: v for k, v in read[0].attrs.items() if k not in _OWN and all(r.attrs.get(k) == v for r in read)}
    told = {k: [r.attrs.get(k) for r in read] for k in _OWN if any(k in r.attrs for r in read)}
    coords = {k: ("sample", np.asarray(_column(v))) for k, v in told.items()} | columns
    return whole.assign_coords(coords).assign_attrs(shared)


def _listed(records: Any, path: str) -> tuple[list[Any], dict[str, Any]]:
    """The paths, and the other columns as coordinates."""
    if not isinstance(records, pd.DataFrame):
        paths = [records] if isinstance(records, str | os.PathLike) else list(records)
        if not paths:
            raise ValueError("there is no record to read: give at least one path")
        return paths, {}
    table = records.reset_index() if records.index.name is not None else records
    if path not in table.columns:
        raise ValueError(
            f"the table has no column {path!r} of paths; its columns are {list(map(str, table.columns))}: name it by path="
        )
    if table.empty:
        raise ValueError("the table has no row: give at least one record")
    taken = {"sample", "lead", "time", "units", "annotation", "rhythm"} & set(map(str, table.columns))
    if taken:
        raise ValueError(
            f"the column {sorted(taken)[0]!r} has the name of a dim or coordinate of the record: rename it"
        )
    if (unknown := table[path].isna()).any():
        raise ValueError(f"{unknown.sum()} rows of the table have no path in {path!r}: drop them first")
    others = [c for c in table.columns if c != path]
    return table[path].tolist(), {str(c): ("sample", _column(table[c].tolist())) for c in others}


def _column(values: list[Any]) -> np.ndarray:
    """Numbers as numbers, NaN where unknown; else text, "" where unknown."""
    known = [v for v in values if not pd.isna(v)]
    if all(isinstance(v, int | float | np.integer | np.floating) and not isinstance(v, bool) for v in known) and known:
        return np.array(values if len(known) == len(values) else [np.nan if pd.isna(v) else v for v in values])
    if known and all(isinstance(v, bool | np.bool_) for v in known) and len(known) == len(values):
        return np.array(values)
    if known and all(isinstance(v, pd.Timestamp | np.datetime64) for v in known):
        dates: np.ndarray = pd.to_datetime(pd.Series(values)).to_numpy()
        return dates
    return np.array(["" if pd.isna(v) else str(v) for v in values])


def _cut(record: xr.DataArray, seconds: float) -> xr.DataArray:
    """The first seconds of a record, missing after its end."""
    rate = float(record.attrs["sampling_rate"])
    if not 1 <= seconds * rate < np.inf:
        raise ValueError(f"seconds is the length of a sample, at least one cell of {1 / rate:g} s, got {seconds!r}")
    cells = round(seconds * rate)
    short = cells - record.sizes["time"]
    if short <= 0:
        return record.isel(time=slice(0, cells))
    time = record.time.values[0] + np.arange(cells) / rate
    codes = {c: record[c] for c in ("annotation", "rhythm") if c in record.coords}
    padded = record.drop_vars(codes).pad(time=(0, short)).astype(record.dtype)
    coords: dict[str, Any] = {c: ("time", np.pad(v.values, (0, short)), v.attrs) for c, v in codes.items()}
    return padded.assign_coords({"time": ("time", time, record.time.attrs), **coords})


def _check_like(record: xr.DataArray, first: xr.DataArray, name: Any, first_name: Any) -> None:
    """ValueError unless a record has the leads, units, rate and length of the first."""
    for what, fix in _FIXES.items():
        ours, theirs = (_what_of(r)[what] for r in (record, first))
        if ours != theirs:
            raise ValueError(f"{name} has the {what} {ours}, and {first_name} has {theirs}: {fix}")


def _what_of(record: xr.DataArray) -> dict[str, Any]:
    return {
        "leads": record.lead.values.tolist(),
        "units": record.units.values.tolist() if "units" in record.coords else record.attrs.get("units"),
        "sampling rate": record.attrs["sampling_rate"],
        "length": record.sizes["time"],
    }
