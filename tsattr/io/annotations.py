"""Annotations of a WFDB record as coded coordinates along time, and back.

Codes follow the CF conventions: `flag_values` and `flag_meanings` in the coordinate's attrs, 0 = none.
"""

from __future__ import annotations

import itertools
import re
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import wfdb
import xarray as xr
from wfdb.io.annotation import ann_labels, is_qrs

from ..core.atomic import MissingFile
from .wfdb_record import BAD_FILE, Record

# The rhythms of the MIT-BIH databases have fixed codes, so that records can be put together; others follow.
RHYTHMS = ["N", "AB", "AFIB", "AFL", "B", "BII", "IVR", "NOD", "P", "PREX", "SBR", "SVTA", "T", "VFL", "VT"]
Coordinates = dict[str, tuple[str, np.ndarray, dict[str, Any]]]


def annotation_coordinates(
    record: Record, annotator: str, begin: float, end: float, rate: float, n: int
) -> Coordinates:
    """Code the annotations from `begin` up to `end` seconds on `n` samples at `rate`."""
    found = _read(record, annotator)
    labels = {x.label_store: (x.symbol, x.description) for x in ann_labels}
    labels |= {code: (symbol, text) for code, symbol, text in found.custom_labels or ()}
    labels |= {c: (f"undefined_{c}",) * 2 for c in set(found.label_store.tolist()) - set(labels)}
    labels[0] = "none", "none"
    seconds = found.sample / float(found.fs or record.rate)
    length = record.frames / record.rate
    if outside := int(((seconds < 0) | (seconds >= length)).sum()):
        warnings.warn(
            f"{outside} of {len(seconds)} annotations in {record.stem}.{annotator} lie outside the record's "
            f"{length:g} s and are left out",
            stacklevel=3,
        )

    position = np.rint((seconds - begin) * rate).astype(int)
    inside = (seconds >= begin - 1e-9) & (seconds < end - 1e-9)
    position[inside] = np.clip(position[inside], 0, n - 1)  # the last ones may round up past the end
    codes, moved, farthest = _one_per_sample(position[inside], found.label_store[inside], n)
    descriptions = [re.sub(r"\W+", "_", text).strip("_") or "undefined" for _, (_, text) in sorted(labels.items())]
    attrs = _flags((code, symbol) for code, (symbol, _) in labels.items()) | {
        "flag_descriptions": " ".join(descriptions),
        "long_name": "annotation at this sample, as WFDB symbol",
        "moved": moved,
        "moved_at_most_samples": farthest,
    }
    coordinates: Coordinates = {"annotation": ("time", codes, attrs)}
    notes = [(x or "").rstrip("\x00").strip().lstrip("(") for x in found.aux_note]
    changes = [(at, note) for at, code, note in zip(position, found.label_store, notes) if labels[code][0] == "+"]
    if any(name for _, name in changes):
        coordinates["rhythm"] = ("time", *_rhythm(changes, n))
    return coordinates


def _read(record: Record, annotator: str) -> wfdb.Annotation:
    stem, folder = record.stem, record.remote_dir
    if not re.fullmatch(r"\w+", annotator):
        raise ValueError(f"annotator must be the extension of an annotation file, such as 'atr', got {annotator!r}")
    if folder is None and not Path(f"{stem}.{annotator}").is_file():
        signals = {c.file for x in record.segments for c in x.header.channels}
        files = [x for x in Path(stem).parent.iterdir() if x.stem == Path(stem).name and x.name not in signals]
        others = sorted(x.suffix[1:] for x in files if x.suffix != ".hea")
        raise MissingFile(f"no annotations {stem}.{annotator}; annotators there: {others}")
    if folder is None and not Path(f"{stem}.{annotator}").read_bytes().endswith(b"\0\0"):
        raise ValueError(
            f"{stem}.{annotator} is not an annotation file that is whole, as its end mark is missing: fetch it again"
        )
    try:
        return wfdb.rdann(stem, annotator, pn_dir=folder, return_label_elements=["label_store"])
    except BAD_FILE as error:
        raise ValueError(f"{stem}.{annotator} is not an annotation file that can be read: {error}") from error


def _one_per_sample(position: np.ndarray, codes: np.ndarray, n: int) -> tuple[np.ndarray, int, int]:
    """Return codes (n,) with at most one a sample, how many moved to the nearest free sample, and the longest move."""
    if len(position) > n:
        raise ValueError(f"{len(position)} annotations do not fit on {n} samples: resample to a higher rate")
    result = np.zeros(n, np.int16)
    later: dict[int, int] = {}  # from each taken sample to one that may be free, and back
    earlier: dict[int, int] = {}
    moved = farthest = 0
    beat = np.isin(codes, np.flatnonzero(is_qrs))
    for i in np.argsort(~beat, kind="stable"):
        desired = int(position[i])
        near = [at for at in (_free(later, desired), _free(earlier, desired)) if 0 <= at < n]
        at = min(near, key=lambda at: abs(at - desired))
        result[at], later[at], earlier[at] = codes[i], at + 1, at - 1
        moved += at != desired
        farthest = max(farthest, abs(at - desired))
    return result, moved, farthest


def _free(onwards: dict[int, int], at: int) -> int:
    """Return the first free sample from `at` on; `onwards` is compressed (union-find), so that long runs stay fast."""
    path = []
    while at in onwards:
        path.append(at)
        at = onwards[at]
    onwards.update(dict.fromkeys(path, at))
    return at


def _rhythm(changes: list[tuple[int, str]], n: int) -> tuple[np.ndarray, dict[str, Any]]:
    names = ["none", *RHYTHMS, *sorted({x for _, x in changes} - {"", *RHYTHMS})]
    codes = {name: code for code, name in enumerate(names)}
    result = np.zeros(n, np.int16)
    ordered = sorted(changes, key=lambda change: change[0])  # so that each holds until the next
    for (at, name), (end, _) in itertools.pairwise([*ordered, (n, "")]):
        result[max(0, at) : max(0, end)] = codes[name or "none"]
    return result, _flags(enumerate(names)) | {"long_name": "rhythm in force at this sample"}


def _flags(words: Iterable[tuple[int, str]]) -> dict[str, Any]:
    codes, names = zip(*sorted(words))
    return {
        "flag_values": np.array(codes, np.int16),
        "flag_meanings": " ".join(re.sub(r"\s+", "_", name) for name in names),
    }


def _decoded(coordinate: xr.DataArray) -> list[str]:
    """Return the meaning of each code of a coordinate; "" for 0."""
    flags, words = coordinate.attrs.get("flag_values", ()), coordinate.attrs.get("flag_meanings", "").split()
    meanings = dict(zip(np.atleast_1d(flags).tolist(), words)) | {0: ""}
    if unknown := sorted(set(np.unique(coordinate.values).tolist()) - set(meanings)):
        raise ValueError(f"flag_values and flag_meanings of {coordinate.name!r} do not explain the codes {unknown}")
    return [meanings[code] for code in coordinate.values.tolist()]


def annotation_list(signal: xr.DataArray) -> list[tuple[int, str, str]]:
    """Return annotations as (sample, symbol, note); rhythm changes ("+") come from `rhythm` where there is one."""
    found: dict[tuple[int, str], str] = {}
    if "annotation" in signal.coords:
        found |= {(i, symbol): "" for i, symbol in enumerate(_decoded(signal["annotation"])) if symbol}
    if "rhythm" in signal.coords:
        rhythm = ["", *_decoded(signal["rhythm"])]
        found = {key: "" for key in found if key[1] != "+"}
        found |= {(i, "+"): f"({b}" for i, (a, b) in enumerate(itertools.pairwise(rhythm)) if a != b}
    known = [x.symbol for x in ann_labels[1:]]
    if unknown := {symbol for _, symbol in found}.difference(known):
        raise ValueError(f"WFDB has no annotation symbol {sorted(unknown)}; it has {known}")
    return [(i, symbol, note) for (i, symbol), note in sorted(found.items())]
