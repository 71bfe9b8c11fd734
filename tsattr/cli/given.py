"""What the options that several commands share stand for: files, methods, settings."""

from __future__ import annotations

import argparse
import re
import sys
import textwrap
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from ..io.formats import file_format
from ..public import METHODS
from . import names
from .parsing import BASELINES, GROUPS, TARGETS, UsageError, object_of

_LABELLED = (".nc", ".zarr")


def method_of(args: argparse.Namespace, x: Any) -> Any:
    """The method that the options stand for, for the input `x`."""
    reference = None if args.reference is None else read_reference(args.reference, args)
    given: dict[str, Any] = {}
    if args.baseline is not None:
        given["baseline"] = object_of(args.baseline, BASELINES, "--baseline", reference)
    if args.groups is not None:
        name = args.method.split("(")[0].strip()
        if name in METHODS and "groups" not in METHODS[name].binds:
            raise UsageError(f"--groups says what a method such as Occlusion removes; --method is {args.method}")
        given["groups"] = object_of(args.groups, GROUPS, "--groups")
    return object_of(args.method, METHODS, "--method", reference, {"groups": default_groups(x)}, **given)


RESULTS = (".nc", ".nc4", ".cdf", ".netcdf", ".zarr")
PAGES = (".html", ".htm")


def check_outputs(read: Iterable[str | None] = (), **paths: Path | None) -> None:
    """Raise before any work where a file cannot be written, is of a kind that its option does not write, or is `read`."""
    from ..io import check_writable

    given = {name: path for name, path in paths.items() if path is not None}
    kinds = {"out": RESULTS, "gallery": RESULTS, "report": PAGES, "plot": _pictures() if "plot" in given else ()}
    for name, path in given.items():
        if path.suffix.lower() not in kinds[name]:
            raise UsageError(f"--{name} writes files that end in {', '.join(kinds[name])}; got {path}")
        check_writable(path)
        if any(path.exists() and Path(other).exists() and path.samefile(other) for other in read if other is not None):
            raise UsageError(f"--{name} {path} is read by this command, and would be lost; name another file")
    if len({path.resolve() for path in given.values()}) < len(given):
        raise UsageError(f"{', '.join(f'--{name}' for name in given)} must name different files")


def _pictures() -> tuple[str, ...]:
    from matplotlib.backend_bases import FigureCanvasBase

    return tuple(sorted(f".{kind}" for kind in FigureCanvasBase.get_supported_filetypes()))


def settings(args: argparse.Namespace, x: Any) -> dict[str, Any]:
    """The keyword arguments of `explain` and `compare` that the shared options stand for, for the input `x`."""
    return {
        "target": _target(args.target),
        "outputs": _outputs(args, getattr(x, "coords", {})),
        "sample_dim": args.sample_dim,
        "missing": args.missing,
        "batch_size": "auto" if args.batch_size is None else args.batch_size,
        "device": args.device,
        "seed": args.seed,
        "check": args.check,
    }


def _target(text: str | None) -> Any:
    if text is None:
        return None
    if re.fullmatch(r"[A-Z][\w.]*\s*\(.*\)", text.strip(), re.DOTALL):
        return object_of(text, TARGETS, "--target")
    return int(text) if text.lstrip("-").isdigit() else text


def _outputs(args: argparse.Namespace, known: Any) -> Any:
    if args.outputs is None:
        return None
    file, _, variable = args.outputs.rpartition(":") if ":" in args.outputs else (args.outputs, "", None)
    if file_format(file) in _LABELLED:
        return _renamed(_like_outputs(file, variable), args)
    axes = (axis.strip().partition("=") for axis in args.outputs.split(";"))
    return {
        name: labels.split(",") if labels else known[name].values if name in known else None for name, _, labels in axes
    }


def _like_outputs(file: str, variable: str | None) -> Any:
    from ..io import read_input
    from ..io.reading import SeveralVariables

    try:
        return read_input(file, variable=variable)
    except SeveralVariables as error:
        raise UsageError(f"{file} holds {', '.join(error.names)}: choose one with --outputs {file}:NAME") from error


def _roles(args: argparse.Namespace) -> dict[str, str]:
    """The names that --dims gives the dims of a file, by the file's own names."""
    parts = (part.partition("=") for part in (args.dims or "").split(",") if part)
    return {(name or role).strip(): role.strip() for role, _, name in parts}


def _renamed(x: Any, args: argparse.Namespace) -> Any:
    """Labelled data with its dims renamed as --dims says."""
    return x.rename({old: new for old, new in _roles(args).items() if old != new and old in x.dims})


def read_reference(path: str, args: argparse.Namespace) -> Any:
    """A file of reference data: samples like the input's, or a record that has other dims, as it is."""
    from ..io import read_input

    if not args.dims or file_format(path) not in _LABELLED:
        return read(path, args)
    found = read_input(path, variable=_variables(args))
    record = not set(_roles(args)) <= set(map(str, found.dims))
    return found if record else _converted(_renamed(found, args), args)


def _variables(args: argparse.Namespace) -> Any:
    names = [name.strip() for name in (args.variable or "").split(",") if name.strip()]
    return names if len(names) > 1 else args.variable


def read(path: str, args: argparse.Namespace) -> Any:
    """A file as the options say, with a sample dim."""
    from ..io import read_input

    with notes():
        x = read_input(
            path,
            leads=args.leads.split(",") if args.leads else None,
            dims=args.dims.split(",") if args.dims else None,
            variable=_variables(args),
            start=args.start,
            stop=args.stop,
            annotator=args.annotator,
            resample=args.resample,
            band=_band(args.band),
            units=args.units,
        )
    return _converted(x, args)


def _converted(x: Any, args: argparse.Namespace) -> Any:
    """Labelled data with a sample dim, in the dtype of --dtype; a table as it is."""
    x = in_samples(x, args)
    if isinstance(x, xr.Dataset):
        x = x.map(_cast, keep_attrs=True, dtype=args.dtype)
    x = _cast(x, args.dtype) if isinstance(x, xr.DataArray) else x
    return x if args.parts is None else _in_parts(x, args)


def _in_parts(x: Any, args: argparse.Namespace) -> xr.DataArray:
    """The parts of a signal that --parts asks for."""
    if not isinstance(x, xr.DataArray):
        raise UsageError("--parts is for one array, such as a record; a table or several variables have none")
    from .. import parts

    known = {name: partial(getattr(parts, name), x, sample_dim=args.sample_dim or "sample") for name in names.PARTS}
    found: xr.DataArray = object_of(args.parts, known, "--parts")
    return found


def for_model(x: Any, net: Any, args: argparse.Namespace) -> Any:
    """A table of numbers as an array of the dtype asked for, where it goes to a module, which takes tensors; else as it is."""
    from torch import nn

    numbers = isinstance(x, pd.DataFrame) and all(dtype.kind in "biuf" for dtype in x.dtypes)
    if not numbers or not isinstance(net, nn.Module):
        return x
    name = args.sample_dim or "sample"
    coords = {name: x.index.to_numpy(), "feature": list(map(str, x.columns))}
    return xr.DataArray(x.to_numpy(args.dtype), dims=(name, "feature"), coords=coords)


def _cast(x: xr.DataArray, dtype: str) -> xr.DataArray:
    """Numbers in the dtype asked for, whole numbers and flags too; a note where it rounds those."""
    if x.dtype.kind not in "biuf":
        return x
    out = x.astype(dtype)
    if x.dtype.kind in "iu" and x.size and int(abs(x.astype("float64")).max()) >= 2 ** (np.finfo(dtype).nmant + 1):
        more = "; --dtype float64 keeps more of them" if dtype == "float32" else ""
        note(f"{x.name or 'the input'} holds whole numbers beyond those that {dtype} tells apart{more}")
    return out


def _band(text: str | None) -> tuple[float | None, float | None] | None:
    if text is None:
        return None
    try:
        low, high = (float(v) if v.strip() else None for v in text.split(","))
    except ValueError:
        raise UsageError(f"--band is LOW,HIGH in Hz, such as 0.5,40 or ,40; got {text!r}") from None
    return low, high


def in_samples(x: Any, args: argparse.Namespace) -> Any:
    """Labelled data cut into samples, or as the one sample that it is; a table as it is."""
    from ..io import split

    if not isinstance(x, xr.DataArray | xr.Dataset):
        return x
    if args.split is not None:
        x = split(x, args.split)
    name = args.sample_dim or "sample"
    return x if name in x.dims else x.expand_dims(name)


def default_groups(x: Any) -> Any:
    """What a method on groups removes where nothing is said: windows of a tenth of the last dim."""
    if not isinstance(x, xr.DataArray):
        return object_of("Cells()", GROUPS, "--groups")
    last = str(x.dims[-1])
    return object_of(f"Windows({last}={max(1, x.sizes[last] // 10)})", GROUPS, "--groups")


@contextmanager
def notes() -> Iterator[None]:
    """Print warnings as notes on stderr."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    for w in caught:
        note(str(w.message))


def note(text: str) -> None:
    """Print a note on stderr."""
    print(textwrap.fill(f"note: {text}", 100, break_on_hyphens=False), file=sys.stderr)
