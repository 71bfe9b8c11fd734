"""Read labelled signals from files, cut them into samples, write results: WFDB, NetCDF, Zarr, NumPy, CSV.

What needs the `wfdb` package is loaded when first used.
"""

import importlib as _importlib
from typing import TYPE_CHECKING as _TYPE_CHECKING
from typing import Any as _Any

from ..core.atomic import CannotWrite, MissingFile
from .joining import join
from .reading import read_input, read_result
from .samples import split
from .writing import check_writable, write_figure, write_netcdf, write_result, write_text, write_zarr

if _TYPE_CHECKING:
    from .many import read_many
    from .wfdb_read import read_wfdb
    from .wfdb_write import write_wfdb

__all__ = [
    "CannotWrite",
    "MissingFile",
    "check_writable",
    "join",
    "read_input",
    "read_many",
    "read_result",
    "read_wfdb",
    "split",
    "write_figure",
    "write_netcdf",
    "write_result",
    "write_text",
    "write_wfdb",
    "write_zarr",
]

_LATER = {"read_many": "many", "read_wfdb": "wfdb_read", "write_wfdb": "wfdb_write"}


def __getattr__(name: str) -> _Any:
    if name in _LATER:
        return getattr(_importlib.import_module(f".{_LATER[name]}", __name__), name)
    raise AttributeError(f"module 'tsattr.io' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
