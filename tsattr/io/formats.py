"""The format of a file, told by its name."""

from __future__ import annotations

import os
from pathlib import Path


def file_format(path: str | os.PathLike[str]) -> str:
    """Return the format of a file by its name: the suffix in lower case, ".nc" for every one that NetCDF has.

    >>> file_format("RUN.NC"), file_format("run.nc4"), file_format("run.zarr/")
    ('.nc', '.nc', '.zarr')
    """
    ending = Path(path).suffix.lower()
    return ".nc" if ending in (".nc4", ".cdf", ".netcdf") else ending
