"""Fitted baselines in files: one ``.npz`` archive of plain arrays with a header in JSON, and no pickle."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from ..arrays import Array
from ..atomic import MissingFile, atomic_write
from .fitted import Fitted


class Stored:
    """For a frozen dataclass of a `fitted` and settings that JSON can hold: how it is saved and loaded."""

    fitted: Fitted

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write it to one ``.npz`` file, whole or not at all, without pickle.

        Raises
        ------
        ValueError
            A file that cannot be written.
        TypeError
            Labels of the reference that are neither text, numbers nor dates.
        """
        settings = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "fitted"}  # type: ignore[arg-type]
        _write(Path(path), type(self).__name__, self.fitted, settings)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Any:
        """Read what :meth:`save` wrote: an object equal to the one saved.

        Raises
        ------
        ValueError
            No such file, or one of another kind, damaged, or of another version.
        """
        fitted, settings = _read(path, cls.__name__)
        if unknown := set(settings) - {f.name for f in fields(cls)}:  # type: ignore[arg-type]
            raise ValueError(
                f"{path} was saved by another version of {cls.__name__}: it has the settings {sorted(unknown)}"
            )
        return cls(fitted, **settings)  # type: ignore[call-arg]


def _write(path: Path, kind: str, fitted: Fitted, settings: Mapping[str, Any]) -> None:
    parts: dict[str, np.ndarray] = {}
    described = {}
    for name, array in fitted.arrays.items():
        parts[f"array {name}"] = array.values
        labels = {}
        for dim, values in array.coords.items():
            if values.dtype == object:  # what only pickle could keep as an array
                labels[dim] = _plain(values, dim)
            else:
                parts[f"coordinate {dim} of {name}"] = values.astype(values.dtype.str)  # without metadata of the dtype
        described[name] = {"dims": array.dims, "coords": list(array.coords), "labels": labels}
    header = {"kind": kind, "settings": dict(settings), "source": fitted.source, "arrays": described}
    with atomic_write(path) as temporary, temporary.open("wb") as file:
        np.savez(file, allow_pickle=False, header=np.array(json.dumps(header)), **parts)


def _plain(values: np.ndarray, dim: str) -> list[str | int | float]:
    labels: list[Any] = values.tolist()
    if not all(isinstance(v, str | int | float) for v in labels):
        raise TypeError(f"labels of dim {dim!r} cannot be saved: text, numbers and dates can, got {labels[:3]}")
    return labels


def _read(path: str | os.PathLike[str], kind: str) -> tuple[Fitted, dict[str, Any]]:
    path = Path(path)
    if not path.is_file():
        raise MissingFile(f"no file {path} to load a {kind} from")
    try:
        _check_sizes(path)
        with np.load(path, allow_pickle=False) as file:
            header = json.loads(str(file["header"])) if "header" in file else {}
            if header.get("kind") != kind:
                raise NotThatKind(f"{path} holds {header.get('kind', 'no baseline')!r}, not a {kind}")
            arrays = {name: _array(name, described, file) for name, described in header["arrays"].items()}
        return Fitted(arrays, header["source"]), header["settings"]
    except NotThatKind:
        raise
    except Exception as error:  # a damaged file makes libraries fail in any way
        raise ValueError(f"{path} cannot be read as a saved {kind}: {error or type(error).__name__}") from error


class NotThatKind(ValueError):
    """A file that holds something else than is asked for."""


def _check_sizes(path: Path) -> None:
    """ValueError where the parts would unpack to more than the file's size: saved baselines are not compressed."""
    with zipfile.ZipFile(path) as archive:
        parts = archive.infolist()
    announced, size = sum(part.file_size for part in parts), path.stat().st_size
    if announced > size or any(part.compress_type != zipfile.ZIP_STORED for part in parts):
        raise ValueError(
            f"it would take {announced} bytes of memory, unpacked from {size}, and a saved baseline is not compressed; save "
            "it again where it was fitted"
        )


def _array(name: str, described: Mapping[str, Any], file: Mapping[str, np.ndarray]) -> Array:
    coords = {
        dim: np.array(described["labels"][dim], dtype=object)
        if dim in described["labels"]
        else file[f"coordinate {dim} of {name}"]
        for dim in described["coords"]
    }
    return Array(file[f"array {name}"], None if described["dims"] is None else tuple(described["dims"]), coords)
