"""Inputs of any known format, and results, read from files."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from ..core.atomic import MissingFile
from . import integrity
from .formats import file_format
from .wfdb_header import wfdb_stem


class SeveralVariables(ValueError):
    """A file holds the variables `names`, and `variable` names none of them, or nothing was named."""

    def __init__(self, path: Path, names: list[str], variable: str | None) -> None:
        super().__init__(f"{path} holds the variables {names}: choose one with variable=, got {variable!r}")
        self.names = names


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
    units: str | None = None,
) -> xr.DataArray | xr.Dataset | pd.DataFrame:
    """Read a file of any known kind, told by its name.

    Parameters
    ----------
    path
        A WFDB record (`.hea`, or a path that becomes a header when `.hea` is added); NetCDF (`.nc`, `.nc4`) or Zarr (`.zarr`);
        NumPy (`.npy`, `.npz`; pickled objects are refused); CSV (`.csv`), where a first column without name, or named
        sample, id or index, becomes the index.
    dims
        Names of the axes of a NumPy array. Of NetCDF and Zarr the order in which the model takes the dims, each by its
        name or as role=name: "sample=time" calls the file's time the sample dim.
    variable
        Which variable of a NetCDF, Zarr or npz file, where there are several; a list of names gives a Dataset.
    leads, start, stop, annotator, resample, band, units
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
    kind = file_format(path)
    if kind not in READERS and (kind == ".hea" or wfdb_stem(path)):
        kind = "WFDB"
    elif not path.exists():
        raise MissingFile(f"no file {path}, and no WFDB header {path}.hea")
    elif kind not in READERS:
        known = [x for x in READERS if x != "WFDB"]
        raise ValueError(f"cannot tell what {path} is: a WFDB record needs its .hea file, other kinds end in {known}")
    read, options = READERS[kind]
    given = {
        "leads": leads,
        "dims": dims,
        "variable": variable,
        "start": start,
        "stop": stop,
        "annotator": annotator,
        "resample": resample,
        "band": band,
        "units": units,
    }
    given = {name: value for name, value in given.items() if value is not None}
    if useless := [name for name in given if name not in options]:
        raise ValueError(f"{', '.join(useless)} cannot be used with {path}, which is read as {kind}")
    return read(path, **given)


def _read_record(path: Path, **options: Any) -> xr.DataArray:
    from .wfdb_read import read_wfdb

    return read_wfdb(path, **options)


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Name the file in the errors of a library that reads it."""
    try:
        yield
    except ImportError:
        raise
    except Exception as error:  # a damaged file makes libraries fail in any way
        pickles = " (it holds pickled objects, which can run code and are not read: save numbers)"
        damaged = " (bytes have changed since it was written: copy or make it again)"
        hint = pickles if "pickle" in str(error) else damaged if "filter returned failure" in str(error) else ""
        raise ValueError(f"{path} cannot be read as {path.suffix}: {error or type(error).__name__}{hint}") from error


def _read_dataset(
    path: Path, variable: str | Sequence[str] | None = None, dims: Sequence[str] | None = None
) -> xr.DataArray | xr.Dataset:
    with open_dataset(path) as data:
        names = list(map(str, data.data_vars))
        one = variable is None or isinstance(variable, str)
        asked = [variable] if variable is None or isinstance(variable, str) else list(variable)
        chosen = [_choose(names, x, path) for x in asked]
        found: xr.DataArray | xr.Dataset = data[chosen[0]] if one else data[chosen]
        if file_format(path) == ".zarr":
            with _reading(path):
                integrity.warn_of_missing_chunks(path, {*chosen, *map(str, found.coords)}, stacklevel=5)
        if "history" in data.attrs:  # of the file: what is made of its variable goes on with it
            found = found.assign_attrs(history=data.attrs["history"])
        ordered = found if dims is None else _with_dims(found, dims, path)
        with _reading(path):
            return ordered.load()


def read_result(path: str | os.PathLike[str]) -> xr.Dataset:
    """Read all of a result from NetCDF or Zarr, as `write_result` wrote it.

    Raises
    ------
    ValueError
        The file is missing (`MissingFile`), none that can be read, or damaged.

    Examples
    --------
    >>> import tempfile
    >>> from tsattr.io import write_result
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_result(xr.Dataset({"a": ("lead", [1.0, 2.0])}), folder + "/a.nc")
    ...     read_result(folder + "/a.nc").a.values
    array([1., 2.])
    """
    path = Path(path)
    if not path.exists():
        raise MissingFile(f"no file {path}")
    with open_dataset(path) as data, _reading(path):
        return data.load()


def open_dataset(path: Path) -> xr.Dataset:
    """Open NetCDF or Zarr after comparing the checksums that `write_netcdf` or `write_zarr` left in it, if any."""
    zarr = file_format(path) == ".zarr"
    if zarr != path.is_dir():
        raise ValueError(f"{path} cannot be read as {path.suffix}: it is {'no folder' if zarr else 'a folder'}")
    try:
        integrity.check_sums(path) if zarr else integrity.check_digest(path)
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from error
    try:
        with _reading(path):
            return xr.open_dataset(path, engine="zarr" if zarr else None)
    except ImportError as error:
        raise ValueError(f"{path} needs zarr: pip install 'tsattr[zarr]'") from error


def _with_dims(found: xr.DataArray | xr.Dataset, dims: Sequence[str], path: Path) -> xr.DataArray | xr.Dataset:
    """Return the variables with their dims in the order of `dims`, each a name or role=name, and named by their roles."""
    parts = [part.partition("=") for part in dims]
    role = {(name or first).strip(): first.strip() for first, _, name in parts}
    if set(role) != set(map(str, found.dims)):
        raise ValueError(
            f"{path} has dims {list(found.dims)}, and dims names {list(role)}; give each once, as name or role=name"
        )
    renamed = {name: new for name, new in role.items() if new != name}
    return found.transpose(*role, missing_dims="ignore").rename(renamed)


def _read_numpy(path: Path, dims: Sequence[str] | None = None, variable: str | None = None) -> xr.DataArray:
    with _reading(path):
        file = path.open("rb")  # np.load would leave a broken archive open
    with file:
        with _reading(path):
            data = np.load(file, allow_pickle=False)
        if isinstance(data, np.lib.npyio.NpzFile):
            variable = _choose(data.files, variable, path)
            with _reading(path):
                data = data[variable]
    if dims is None or len(dims) != data.ndim:
        raise ValueError(f"name the {data.ndim} axes of {path}, of sizes {data.shape}, with dims=; got {dims}")
    return xr.DataArray(data, dims=tuple(dims), name=variable)


def _read_csv(path: Path) -> pd.DataFrame:
    with _reading(path):
        frame = pd.read_csv(path)
    first = str(frame.columns[0])
    return frame.set_index(first) if first.casefold() in ("sample", "id", "index", "unnamed: 0") else frame


def _choose(names: list[str], variable: str | None, path: Path) -> str:
    if variable is None and len(names) == 1:
        return names[0]
    if variable not in names:
        raise SeveralVariables(path, sorted(names), variable)
    return variable


READERS: dict[str, tuple[Callable[..., Any], set[str]]] = {
    ".nc": (_read_dataset, {"variable", "dims"}),
    ".zarr": (_read_dataset, {"variable", "dims"}),
    ".npy": (_read_numpy, {"dims"}),
    ".npz": (_read_numpy, {"dims", "variable"}),
    ".csv": (_read_csv, set()),
    "WFDB": (_read_record, {"leads", "start", "stop", "annotator", "resample", "band", "units"}),
}  # with the options that apply to each
