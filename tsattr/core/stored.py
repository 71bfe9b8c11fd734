"""Fitted baselines in files: one ``.npz`` archive of plain arrays with a header in JSON, and no pickle."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import IO, Any

import numpy as np

from .axes import Array
from .fitted import Fitted


class Stored:
    """For a frozen dataclass of a `fitted` and settings that JSON can hold: how it is saved and loaded."""

    fitted: Fitted

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write it to one ``.npz`` file, whole or not at all, without pickle.

        Raises
        ------
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
            A file of another kind.
        """
        fitted, settings = _read(path, cls.__name__)
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
    with _replacing(path) as file:
        np.savez(file, allow_pickle=False, header=np.array(json.dumps(header)), **parts)


def _plain(values: np.ndarray, dim: str) -> list[str | int | float]:
    labels: list[Any] = values.tolist()
    if not all(isinstance(v, str | int | float) for v in labels):
        raise TypeError(f"labels of dim {dim!r} cannot be saved: text, numbers and dates can, got {labels[:3]}")
    return labels


def _read(path: str | os.PathLike[str], kind: str) -> tuple[Fitted, dict[str, Any]]:
    with np.load(path, allow_pickle=False) as file:
        header = json.loads(str(file["header"])) if "header" in file else {}
        if header.get("kind") != kind:
            raise ValueError(f"{os.fspath(path)} holds {header.get('kind', 'no baseline')!r}, not a {kind}")
        arrays = {}
        for name, about in header["arrays"].items():
            coords = {
                dim: np.array(about["labels"][dim], dtype=object)
                if dim in about["labels"]
                else file[f"coordinate {dim} of {name}"]
                for dim in about["coords"]
            }
            dims = None if about["dims"] is None else tuple(about["dims"])
            arrays[name] = Array(file[f"array {name}"], dims, coords)
    return Fitted(arrays, header["source"]), header["settings"]


@contextlib.contextmanager
def _replacing(path: Path) -> Iterator[IO[bytes]]:
    """A file beside `path` that takes its name once it is whole, and is gone after an error."""
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".") as folder:
        whole = Path(folder, path.name)
        with whole.open("wb") as file:
            yield file
        os.replace(whole, path)
