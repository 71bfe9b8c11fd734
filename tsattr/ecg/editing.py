"""The beats of a record as edits need them, and time that is stretched between them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import numpy as np
import xarray as xr

from ..edge.warning import tell
from .delineation import _ST, _bridged


@dataclass(frozen=True)
class Beats:
    """The beats of one record: seconds, NaN for a wave that is absent; and which are to be edited."""

    r: np.ndarray
    p: np.ndarray
    qrs: np.ndarray
    t: np.ndarray
    chosen: np.ndarray

    @property
    def start(self) -> np.ndarray:
        """Where each beat begins: its P, else its QRS."""
        return np.where(np.isnan(self.p[:, 0]), self.qrs[:, 0] - 0.02, self.p[:, 0])

    @property
    def stop(self) -> np.ndarray:
        """Where each beat ends, at the latest where the next begins: its T, else 0.1 s after its QRS."""
        ends = np.where(np.isnan(self.t[:, 1]), self.qrs[:, 1] + 0.1, self.t[:, 1])
        found: np.ndarray = np.minimum(ends, np.append(self.start[1:], np.inf))
        return found


@dataclass
class Hindered:
    """How many beats of the records of one call were edited less than asked, by what kept them; told once, when all are edited."""

    fewer: Counter[str] = field(default_factory=Counter)
    of: Counter[str] = field(default_factory=Counter)

    def count(self, what: str, hindered: np.ndarray) -> None:
        """Add the edited beats of a record, True where they were hindered."""
        self.fewer[what] += int(hindered.sum())
        self.of[what] += len(hindered)

    def warn(self) -> None:
        """Warn the caller of the edit, in one sentence for each hindrance."""
        for what, n in self.fewer.items():
            if n:
                tell(f"{n} of {self.of[what]} {what}", UserWarning)


@dataclass(frozen=True)
class Record:
    """One record (lead, time), its times and beats, the names of its leads and their units in mV, and what hinders its edit."""

    x: np.ndarray
    time: np.ndarray
    beats: Beats
    leads: list[str]
    in_mv: np.ndarray
    hindered: Hindered


def beats_of(measured: xr.Dataset, beats: xr.DataArray | None) -> list[Beats]:
    """The beats of each record."""
    if beats is not None and (set(beats.dims) != set(measured.r.dims) or beats.dtype != bool):
        raise ValueError(f"beats is True or False along {measured.r.dims}, got {beats.dtype} along {beats.dims}")
    chosen = xr.ones_like(measured.r, dtype=bool) if beats is None else beats.transpose(*measured.r.dims)
    if chosen.shape != measured.r.shape:
        raise ValueError(f"beats is of {dict(chosen.sizes)}, what was measured of {dict(measured.r.sizes)}")
    r, chosen = np.atleast_2d(measured.r.values), np.atleast_2d(chosen.values)
    spans = (
        measured[["onset", "offset"]]
        .to_dataarray("end")
        .transpose(..., "beat", "wave", "end")
        .sel(wave=["P", "QRS", "T"])
    )
    ends = spans.values.reshape(*r.shape, 3, 2)
    known = ~np.isnan(r)
    return [Beats(r[i, k], ends[i, k, 0], ends[i, k, 1], ends[i, k, 2], chosen[i, k]) for i, k in enumerate(known)]


def span(beats: Beats, wave: str) -> np.ndarray:
    """From when to when (beats, 2) a wave lasts."""
    if wave != "ST":
        found: np.ndarray = {"P": beats.p, "QRS": beats.qrs, "T": beats.t}[wave]
        return found
    end = beats.qrs[:, 1]
    return np.stack([end, np.where(np.isnan(beats.t[:, 0]), end + _ST, beats.t[:, 0])], axis=1)


def cells(time: np.ndarray, spans: np.ndarray) -> list[tuple[int, int]]:
    """First and last cell of each span that is there and inside the record."""
    there = spans[~np.isnan(spans).any(axis=1)]
    return [(a, b) for a, b in np.searchsorted(time, there).tolist() if b - a > 2]


def moved(record: Record, shift: np.ndarray) -> np.ndarray:
    """Each chosen beat later by so many seconds, as it is; what lies between beats is stretched."""
    time, beats = record.time, record.beats
    shift = np.where(beats.chosen, shift, 0.0)
    if not shift.any():
        return record.x
    step = float(np.median(np.diff(time)))
    start, stop, least = beats.start.copy(), beats.stop, 2 * step
    shift = np.rint(shift / step) * step  # whole cells: shapes stay what they are to the last place
    start[1:] = np.maximum(start[1:], stop[:-1] + 1e-9)
    order, possible = np.arange(len(shift)), shift.copy()
    if len(order):  # nor does a beat leave the record
        possible[0] = max(possible[0], min(0.0, time[0] - start[0] + least))
        possible[-1] = min(possible[-1], max(0.0, time[-1] - stop[-1] - least))
    for k in order[1:]:  # a beat stops before it runs into the one before, which has been moved already
        possible[k] = max(possible[k], min(0.0, possible[k - 1] + stop[k - 1] - start[k] + least))
    for k in order[-2::-1]:
        possible[k] = min(possible[k], max(0.0, possible[k + 1] + start[k + 1] - stop[k] - least))
    hindered = np.abs(possible - shift) > 1e-9
    record.hindered.count(
        "beats were moved only as far as their neighbours let them", hindered[hindered | (shift != 0)]
    )
    possible = np.trunc(possible / step + np.sign(possible) * 1e-6) * step
    source = np.stack([start, stop], axis=1).ravel()
    return warped(record.x, time, source, source + np.repeat(possible, 2))


def warped(x: np.ndarray, time: np.ndarray, source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """What was at `source` lies at `target`, time between them stretched; the ends of the record stay."""
    from scipy.interpolate import CubicSpline

    inside = (source > time[0]) & (source < time[-1]) & (target > time[0]) & (target < time[-1])
    source, target = (np.concatenate([time[:1], v[inside], time[-1:]]) for v in (source, target))
    was = np.interp(time, np.maximum.accumulate(target), np.maximum.accumulate(source))
    known = ~np.isnan(x)
    whole = np.stack([_bridged(lead) if some.any() else np.zeros(len(time)) for lead, some in zip(x, known)])
    found = CubicSpline(time, whole, axis=1)(was)
    found[:, np.abs(was - time) < 1e-9] = whole[:, np.abs(was - time) < 1e-9]
    nearest = np.searchsorted(time, was - np.median(np.diff(time)) / 2).clip(max=len(time) - 1)
    edited: np.ndarray = np.where(known[:, nearest], found, np.nan)
    return edited
