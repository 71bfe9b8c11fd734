"""Inputs of any known kind, told by their names; results that are written whole or not at all."""

from __future__ import annotations

import asyncio
import importlib.util
import io
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import h5netcdf
import numpy as np
import pandas as pd
import xarray as xr
from xarray.backends import H5NetCDFStore

from ..core.atomic import CannotWrite as CannotWrite
from ..core.atomic import MissingFile, atomic_write
from . import damage
from .wfdb_header import wfdb_stem


class SeveralVariables(ValueError):
    """A file holds `names`, and which of them is meant was not said, or said wrongly."""

    def __init__(self, path: Path, names: list[str], variable: str | None) -> None:
        super().__init__(f"{path} holds the variables {names}: choose one with variable=, got {variable!r}")
        self.names = names


# --------------------------------------------------------------------------------------------------------- reading


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
        A WFDB record (`.hea`, or a path that becomes a header when `.hea` is added); NetCDF (`.nc`, `.nc4`) or Zarr (`.zarr`);
        NumPy (`.npy`, `.npz`; pickled objects are refused); CSV (`.csv`), where a first column without name, or named
        sample, id or index, becomes the index.
    dims
        Names of the axes of a NumPy array. Of NetCDF and Zarr the order in which the model takes the dims, each by its
        name or as role=name: "sample=time" calls the file's time the sample dim.
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
    kind = kind_of(path)
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
    }
    given = {name: value for name, value in given.items() if value is not None}
    if useless := [name for name in given if name not in options]:
        raise ValueError(f"{', '.join(useless)} cannot be used with {path}, which is read as {kind}")
    return read(path, **given)


def kind_of(path: str | os.PathLike[str]) -> str:
    """What a file is by its name: the ending in small letters, of NetCDF's the usual one.

    >>> kind_of("RUN.NC"), kind_of("run.nc4"), kind_of("run.zarr/")
    ('.nc', '.nc', '.zarr')
    """
    ending = Path(path).suffix.lower()
    return ".nc" if ending in (".nc4", ".cdf", ".netcdf") else ending


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
        if kind_of(path) == ".zarr":
            with _reading(path):
                damage.warn_of_gaps(path, {*chosen, *map(str, found.coords)}, stacklevel=5)
        if "history" in data.attrs:  # of the file: what is made of its variable goes on with it
            found = found.assign_attrs(history=data.attrs["history"])
        laid_out = found if dims is None else _laid_out(found, dims, path)
        with _reading(path):
            return laid_out.load()


def read_result(path: str | os.PathLike[str]) -> xr.Dataset:
    """Read all of a result from NetCDF or Zarr, as `write_result` wrote it.

    Raises
    ------
    ValueError
        The file is missing (`MissingFile`), none that can be read, or damaged.

    Examples
    --------
    >>> import tempfile
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
    """Open NetCDF or Zarr, of which all that `write_zarr` wrote must be there as it was."""
    zarr = kind_of(path) == ".zarr"
    if zarr != path.is_dir():
        raise ValueError(f"{path} cannot be read as {path.suffix}: it is {'no folder' if zarr else 'a folder'}")
    try:
        damage.check_sums(path) if zarr else damage.check_seal(path)
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from error
    try:
        with _reading(path):
            return xr.open_dataset(path, engine="zarr" if zarr else None)
    except ImportError as error:
        raise ValueError(f"{path} needs zarr: pip install 'tsattr[zarr]'") from error


def _laid_out(found: xr.DataArray | xr.Dataset, dims: Sequence[str], path: Path) -> xr.DataArray | xr.Dataset:
    """The dims in the order given, and called by their roles."""
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


READERS: dict[str, tuple[Callable[..., Any], set[str]]] = {
    ".nc": (_read_dataset, {"variable", "dims"}),
    ".zarr": (_read_dataset, {"variable", "dims"}),
    ".npy": (_read_numpy, {"dims"}),
    ".npz": (_read_numpy, {"dims", "variable"}),
    ".csv": (_read_csv, set()),
    "WFDB": (_read_record, {"leads", "start", "stop", "annotator", "resample", "band"}),
}  # with the options that apply to each


def _choose(names: list[str], variable: str | None, path: Path) -> str:
    if variable is None and len(names) == 1:
        return names[0]
    if variable not in names:
        raise SeveralVariables(path, sorted(names), variable)
    return variable


# --------------------------------------------------------------------------------------------------------- writing


def write_netcdf(data: xr.Dataset | xr.DataArray, path: str | os.PathLike[str]) -> None:
    """Write NetCDF-4, whole or not at all: a file of that name stays as it is if anything fails.

    The file keeps its permissions and its owner; where the name is a symbolic link, what it points to is written. Numbers
    are stored with checksums (Fletcher-32), so that reading bytes that have changed is an error for any reader; `read_input`
    and `read_result` also compare the SHA-256 at the end of the file.

    A result's attr ``history`` gets a line with the time, the method and the model.

    Raises
    ------
    ValueError
        As `check_writable`, and where writing fails, as on a full disk (`CannotWrite`).
    TypeError
        Attrs that NetCDF cannot hold.

    Examples
    --------
    >>> import tempfile, xarray as xr
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_netcdf(xr.Dataset({"a": ("lead", [1.0, 2.0])}, {"lead": ["I", "II"]}), folder + "/a.nc")
    ...     read_input(folder + "/a.nc").sel(lead="II").item()
    2.0
    """
    # The encoding of the file that data came from need not fit this one.
    plain = _with_history(data).drop_encoding().compute()
    dataset = plain if isinstance(plain, xr.Dataset) else plain.to_dataset(name=plain.name or _UNNAMED)
    summed = [k for k, v in dataset.variables.items() if v.ndim and v.size and v.dtype.kind in _SUMMED]
    encoding = {name: {"fletcher32": True} for name in summed}  # so that a changed byte is an error for any reader
    with atomic_write(path) as temporary:
        with _FileForHDF5(temporary, "w+") as file, file.errors(), h5netcdf.File(file, "w") as netcdf:
            dataset.dump_to_store(H5NetCDFStore(netcdf), encoding=encoding)
        damage.seal(temporary)


_UNNAMED = "__xarray_dataarray_variable__"  # as xarray calls it
_SUMMED = "biufMm"  # kinds of data that HDF5 can keep checksums of


class _FileForHDF5(io.FileIO):
    """A file that HDF5 can always close: after an error, what it writes goes nowhere.

    Left to itself, HDF5 keeps a file open that it cannot write to the end, and the interpreter crashes as it stops.
    """

    failed: OSError | None = None

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Raise the error that the file had, whatever followed from it."""
        try:
            yield
        finally:
            if self.failed is not None:
                raise self.failed

    def write(self, data: Any) -> int:
        """Write all of it, while there is no error."""
        left = whole = memoryview(data).cast("B")
        try:
            while self.failed is None and len(left):
                left = left[super().write(left) or 0 :]
        except OSError as error:
            self.failed = error
        return len(whole)

    def truncate(self, size: int | None = None) -> int:
        """Set the length, while there is no error."""
        try:
            return self.tell() if self.failed is not None else super().truncate(size)
        except OSError as error:
            self.failed = error
            return self.tell()


def write_zarr(data: xr.Dataset | xr.DataArray, path: str | os.PathLike[str]) -> None:
    """Write a Zarr store, whole or not at all, as `write_netcdf` writes a file; a store that is there already is refused.

    The store has a file SHA256SUMS, by which `read_input` (or the program sha256sum) finds files that are missing or damaged.

    Raises
    ------
    ValueError
        As `write_netcdf`; and where zarr is not installed.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_zarr(xr.Dataset({"a": ("lead", [1.0, 2.0])}, {"lead": ["I", "II"]}), folder + "/a.zarr")
    ...     read_input(folder + "/a.zarr").sel(lead="II").item()
    2.0
    """
    with atomic_write(path) as temporary:
        try:
            _with_history(data).drop_encoding().to_zarr(temporary, zarr_format=2)
        except ImportError as error:
            raise ValueError(f"{path} needs zarr: pip install 'tsattr[zarr]'") from error
        except BaseException:
            _let_zarr_end()
            raise
        damage.write_sums(temporary)


def _let_zarr_end() -> None:
    """Wait for the writes that are still under way after one failed: they would make again the folder that is removed."""
    from zarr.core.sync import sync

    async def others() -> None:
        await asyncio.gather(*asyncio.all_tasks() - {asyncio.current_task()}, return_exceptions=True)

    sync(others())


def write_result(data: xr.Dataset | xr.DataArray, path: str | os.PathLike[str]) -> None:
    """Write NetCDF, or Zarr where the name ends in ``.zarr``."""
    (write_zarr if kind_of(path) == ".zarr" else write_netcdf)(data, path)


def _with_history(data: xr.Dataset | xr.DataArray) -> xr.Dataset | xr.DataArray:
    """What was made of the data, and when, added to the history that they had (CF conventions)."""
    if "method" not in data.attrs or "version_tsattr" not in data.attrs:
        return data
    made = f"{data.attrs['method']} of {data.attrs.get('model', 'the model')}"
    line = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ} tsattr {data.attrs['version_tsattr']}: {made}"
    before = [str(data.attrs["history"])] if "history" in data.attrs else []
    return data.assign_attrs(history="\n".join([*before, line]))


def write_text(text: str, path: str | os.PathLike[str]) -> None:
    """Write text in UTF-8, whole or not at all; raises as `write_netcdf` does.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_text("0.5 ≤ p", folder + "/note.txt")
    ...     pathlib.Path(folder, "note.txt").read_text("utf-8")
    '0.5 ≤ p'
    """
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_figure(figure: Any, path: str | os.PathLike[str], **options: Any) -> None:
    """Save a matplotlib figure, whole or not at all; `options` are those of its ``savefig``. Raises as `write_netcdf` does.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> from matplotlib.figure import Figure
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_figure(Figure(), folder + "/empty.png")
    ...     pathlib.Path(folder, "empty.png").read_bytes()[1:4]
    b'PNG'
    """
    with atomic_write(path) as temporary:
        figure.savefig(temporary, **options)


def check_writable(path: str | os.PathLike[str]) -> None:
    """Raise now what writing `path` would raise: before long work whose result it is to hold.

    Nothing is left behind, and a file that is there already is left alone.

    Raises
    ------
    ValueError
        The folder is missing (`MissingFile`) or cannot be written, or `path` is itself a folder, a device, a pipe or
        read-only (`CannotWrite`); a Zarr store where zarr is not installed.

    Examples
    --------
    >>> check_writable("no/such/folder/result.nc")
    Traceback (most recent call last):
    ...
    tsattr.core.atomic.MissingFile: no folder no/such/folder to write into: make it first
    """
    if kind_of(path) == ".zarr" and importlib.util.find_spec("zarr") is None:
        raise ValueError(f"{path} needs zarr: pip install 'tsattr[zarr]'")
    with atomic_write(path):
        pass  # all of a write but the file
