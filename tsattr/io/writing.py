"""Results, texts and pictures written whole or not at all."""

from __future__ import annotations

import asyncio
import importlib.util
import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import h5netcdf
import xarray as xr
from xarray.backends import H5NetCDFStore

from ..core.atomic import atomic_write
from . import integrity
from .formats import file_format

_UNNAMED = "__xarray_dataarray_variable__"  # as xarray calls it


_SUMMED = "biufMm"  # kinds of data that HDF5 can keep checksums of


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
    >>> from tsattr.io import read_input
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
        integrity.append_digest(temporary)


class _FileForHDF5(io.FileIO):
    """A file whose writes never fail for HDF5: after the first error, which is kept in `failed`, they are dropped.

    Left to itself, HDF5 keeps a file open that it cannot write to the end, and the interpreter crashes as it stops.
    """

    failed: OSError | None = None

    @contextmanager
    def errors(self) -> Iterator[None]:
        """At the end, raise the first error of writing, in place of any that followed from it."""
        try:
            yield
        finally:
            if self.failed is not None:
                raise self.failed

    def write(self, data: Any) -> int:
        """Write all of `data`, or nothing after an error; return its size either way, as HDF5 expects."""
        left = whole = memoryview(data).cast("B")
        try:
            while self.failed is None and len(left):
                left = left[super().write(left) or 0 :]
        except OSError as error:
            self.failed = error
        return len(whole)

    def truncate(self, size: int | None = None) -> int:
        """Set the length, unless there was an error."""
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
    >>> from tsattr.io import read_input
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_zarr(xr.Dataset({"a": ("lead", [1.0, 2.0])}, {"lead": ["I", "II"]}), folder + "/a.zarr")
    ...     read_input(folder + "/a.zarr").sel(lead="II").item()
    2.0
    """
    with atomic_write(path) as temporary:
        try:
            _evenly_chunked(_with_history(data).drop_encoding()).to_zarr(temporary, zarr_format=2)
        except ImportError as error:
            raise ValueError(f"{path} needs zarr: pip install 'tsattr[zarr]'") from error
        except BaseException:
            _finish_zarr_writes()
            raise
        integrity.write_sums(temporary)


def _evenly_chunked(data: xr.Dataset | xr.DataArray) -> xr.Dataset | xr.DataArray:
    """What is in chunks of dask, in such of one size, as Zarr has them."""
    if isinstance(data, xr.Dataset):
        return data.assign({name: _evenly_chunked(v) for name, v in data.data_vars.items()})
    return data if data.chunks is None else data.chunk({d: max(c) for d, c in zip(data.dims, data.chunks)})


def _finish_zarr_writes() -> None:
    """Wait for zarr's pending writes after one failed: they would create the temporary folder again."""
    from zarr.core.sync import sync

    async def others() -> None:
        await asyncio.gather(*asyncio.all_tasks() - {asyncio.current_task()}, return_exceptions=True)

    sync(others())


def write_result(data: xr.Dataset | xr.DataArray, path: str | os.PathLike[str]) -> None:
    """Write NetCDF, or Zarr where the name ends in ``.zarr``."""
    (write_zarr if file_format(path) == ".zarr" else write_netcdf)(data, path)


def _with_history(data: xr.Dataset | xr.DataArray) -> xr.Dataset | xr.DataArray:
    """Return the data with a line on the method, the model and the time added to their attr history (CF conventions)."""
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
    if file_format(path) == ".zarr" and importlib.util.find_spec("zarr") is None:
        raise ValueError(f"{path} needs zarr: pip install 'tsattr[zarr]'")
    with atomic_write(path):
        pass  # all of a write but the file
