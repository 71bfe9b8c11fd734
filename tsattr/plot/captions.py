"""What an ECG sheet says beside its traces: whose record and what the model said of it, clock times, beats and waves."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from ..edge.table import words_of_class
from . import shade

SECONDS = {"s": 1.0, "sec": 1.0, "second": 1.0, "seconds": 1.0, "ms": 1e-3, "min": 60.0, "h": 3600.0}
RESEARCH = "research on models: no medical device"


class Clock(NamedTuple):
    """The seconds of each cell's coordinate, when it begins on the recording, and the date of the recording's start if known."""

    time: np.ndarray
    begin: float = 0.0
    start: np.datetime64 | None = None
    dated: bool = False

    @classmethod
    def of(cls, signal: xr.DataArray) -> Clock:
        """Return the recording's own time: of a sample that `tsattr.io.split` cut, counted from the start of the whole."""
        time, begin = _seconds(signal), signal.coords.get("sample")
        recorded = signal.attrs.get("start_datetime")
        start = None if recorded is None else np.datetime64(str(recorded))
        if signal["time"].dtype.kind == "M":
            return cls(time, 0.0, signal["time"].values[0], True)
        if begin is None or begin.ndim or not is_start(begin):
            return cls(time, 0.0, start)
        if begin.dtype.kind == "M":
            return cls(time, 0.0, begin.values[()], True)
        return cls(time, float(begin) * SECONDS.get(begin.attrs.get("units", "s"), 1.0), start)

    def label(self, second: float) -> str:
        """Return how a time of the coordinate is written: of day where it is dated, else in s, min:s or h:min:s of the recording.

        >>> [Clock(np.arange(2.0)).label(s) for s in (7, 0.2, 100, 3725)]
        ['7 s', '0.2 s', '1:40', '1:02:05']
        """
        if self.dated:
            return str(self.at(second)).partition("T")[2]
        second = round(second + self.begin, 3)
        if second < 60:
            return f"{second:g} s"
        minutes, rest = divmod(second, 60)
        hours, minutes = divmod(int(minutes), 60)
        tail = f"{rest:02.0f}" if rest == int(rest) else f"{rest:04.1f}"
        return f"{hours}:{minutes:02d}:{tail}" if hours else f"{minutes}:{tail}"

    def at(self, second: float) -> np.datetime64 | None:
        """Return the date and time of day of a time of the coordinate, to the second."""
        if self.start is None:
            return None
        begun: np.datetime64 = (self.start + np.timedelta64(round((second + self.begin) * 1000), "ms")).astype("M8[s]")
        return begun


def is_start(sample: xr.DataArray) -> bool:
    """Whether the label of a sample says where on a recording it starts, as `tsattr.io.split` labels them."""
    return str(sample.attrs.get("long_name", "")).startswith("time at the start")


def _seconds(signal: xr.DataArray) -> np.ndarray:
    if "time" not in signal.coords:
        raise ValueError("ECG paper needs a time coordinate; give one with x.assign_coords(time=np.arange(n) / rate)")
    time = signal.time
    if time.dtype.kind in "Mm":
        zero = time.values[0] if time.dtype.kind == "M" else np.timedelta64(0, "s")
        return np.asarray((time.values - zero) / np.timedelta64(1, "s"))
    units = time.attrs.get("units", "s")
    if units not in SECONDS:
        raise ValueError(f"time must have units of {', '.join(SECONDS)}, got {units!r}; convert the coordinate")
    return np.asarray(time.values.astype(float) * SECONDS[units])


def heading(signal: xr.DataArray, result: xr.Dataset | None, clock: Clock, first: float) -> tuple[str, str]:
    """Return the title, the record's name, and a line on patient, time and prediction; empty where nothing is known."""
    attrs, label, begun = signal.attrs, signal.coords.get("sample"), clock.at(first)
    whose = [f"{name} {attrs[name]}" for name in ("age", "sex") if name in attrs]
    said = [", ".join(whose)] if whose else []
    said += [str(begun).replace("T", " ")] if begun is not None else []
    if label is not None and not label.ndim and not is_start(label):
        said.append(f"sample {label.item()}")
    return str(attrs.get("record", "")), "   ".join(said + ([] if result is None else prediction(result)))


def prediction(result: xr.Dataset) -> list[str]:
    """Return what a model said of one sample, and what its target was at the baseline."""
    said = []
    predicted = words_of_class(result["predicted"]) if "predicted" in result and not result["predicted"].ndim else ""
    if "prediction" in result:
        name = str(result["target"].item() if "target" in result.coords else result.attrs.get("target", ""))
        units = result["prediction"].attrs.get("units", "")
        own = f"predicted {predicted}, target" if predicted and name.startswith("Predicted") else f"target {name}:"
        value = f"{own} {float(result['prediction']):.3g}{f' {units}' if units else ''}"
        said.append(value + (f" ({float(result['reference']):.3g} at the baseline)" if "reference" in result else ""))
        predicted = "" if own.startswith("predicted") else predicted
    said += [f"predicted {predicted}"] if predicted else []
    status = str(result["status"].item()) if "status" in result and not result["status"].ndim else "ok"
    return said + ([] if status == "ok" else [f"status: {status}"])


def along_time(signal: xr.DataArray, given: xr.DataArray | None, *names: str) -> xr.DataArray | None:
    """Return marks along the time of one sample, as given or else of the coordinates `names`; None where there are none."""
    found = given if given is not None else next((signal.coords[n] for n in names if n in signal.coords), None)
    if found is None or (given is None and "time" not in found.dims):
        return None
    marks = shade.squeezed(found, ("time",), "marks along time")
    if marks.dims != ("time",) or marks.sizes["time"] != signal.sizes["time"]:
        raise ValueError(
            f"beats and waves are marked along the {signal.sizes['time']} cells of time, got {dict(marks.sizes)}"
        )
    return marks


def symbols(marks: xr.DataArray, cells: slice) -> Iterator[tuple[int, str]]:
    """Yield the cell and the symbol of each annotation that is no change of rhythm; R peaks are pointed at."""
    values = marks.values[cells]
    names = _meanings(marks)
    for k in np.flatnonzero(values):
        symbol = names.get(int(values[k]), str(values[k])) if marks.dtype != bool else "▾"
        if symbol != "+":
            yield cells.start + int(k), symbol


def runs(marks: xr.DataArray | None, cells: slice) -> Iterator[tuple[int, int, str]]:
    """Yield the first cell, the cell after the last and the name of each run of one code: of a wave, of a rhythm."""
    if marks is None:
        return
    values, names = marks.values[cells], _meanings(marks)
    cuts = np.flatnonzero(np.diff(values)) + 1
    for a, b in zip([0, *cuts], [*cuts, len(values)]):
        if values[a]:
            yield cells.start + int(a), cells.start + int(b), names.get(int(values[a]), str(values[a]))


def _meanings(marks: xr.DataArray) -> dict[int, str]:
    meanings = str(marks.attrs.get("flag_meanings", "")).split()
    return dict(zip(np.atleast_1d(marks.attrs.get("flag_values", range(len(meanings)))).tolist(), meanings))


def evidence(waves: xr.DataArray) -> str:
    """Return a line on what marks below the paper are, and on what grounds."""
    grounds: Any = waves.attrs.get("evidence")
    return f"below the paper: P, QRS, ST (thin) and T{f', {grounds}' if grounds else ''}"
