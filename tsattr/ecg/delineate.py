"""Onsets and offsets of waves, measured on all leads of a record, beat by beat."""

from __future__ import annotations

import warnings
from typing import NamedTuple

import numpy as np
import xarray as xr

from .delineation import _annotated_beats, _check_samples, _ecg_leads, _rows, _sampling_rate, _seconds

MEASURED = ("P", "QRS", "T")
WIDE = 0.12
"""Seconds from which on a QRS complex is wide."""

# Rhythms and beats of the WFDB annotation standard that have no P wave of their own before the QRS.
_NO_P_RHYTHMS = frozenset(["AFIB", "AFL", "VT", "VFL", "VF", "IVR", "NOD", "P"])
_NO_P_BEATS = frozenset("VE/r!")

_BEFORE, _AFTER = 0.4, 0.6  # seconds round R that are measured in
_LIKE, _NEAR, _MOST = (
    0.9,
    50,
    25,
)  # correlation of beats that are averaged; on how many beats to each side they are looked for
_SHARE = 0.04  # of the steepest slope, below which a QRS has ended
_PAUSE = 0.012  # seconds of less slope that are within it; between P and a fast heart's QRS may lie no more than 30 ms
_P_EARLIEST, _P_SHORTEST = 0.32, 0.04
_STRETCH = 10.0
_FALLEN = 0.1  # of its size, where a bump ends
_CERTAIN, _THERE = 3.0, 0.5  # standard errors; the confidence of a wave that counts


def delineate(ecg: xr.DataArray, r_peak: xr.DataArray) -> xr.Dataset:
    """Measure where P, QRS and T of each beat begin and end, on all leads together.

    A beat is averaged with those like it (correlation of at least 0.9 within 0.15 s of R) among the 50 before and after it, up to 25. Of
    the average, with a slope s(t) that is the root mean square over leads in the band 0.5 to 40 Hz:

    - QRS is the stretch round its steepest place where s stays above its noise (the 0.3 quantile round the beat) by 4 per cent
      of the largest slope, with pauses up to 12 ms, within 0.2 s of R and half the way to the next beat.
    - T is the largest bump after it, up to 0.44 sqrt(RR) + 0.1 s: over the line between the ends of the search, to where it has
      fallen to a tenth of its size, or two standard errors.
    - P the same before it, from 0.32 s before R or the end of the T before.

    A bump has the confidence 1 - exp(-(z / 3)^2 / 2), z its size over the standard error of the average there (of one or two
    beats by the roughness of each lead), and is a wave
    from 0.5 on: what does not repeat from beat to beat, as the waves of atrial fibrillation, averages out. Those of flutter that
    is conducted regularly do repeat: only annotations, or ``absent=`` of `waves`, tell that they are no P.

    Parameters
    ----------
    ecg
        Dims ``time`` and optionally ``lead`` and ``sample``, as `r_peaks` takes; of its coordinates ``annotation`` and ``rhythm``, which
        `tsattr.read_wfdb` gives, those tell where there is no P: in atrial fibrillation and flutter, ventricular, junctional and
        paced rhythm, and before ventricular, paced and escape beats.
    r_peak : DataArray of bool
        As from `r_peaks`.

    Returns
    -------
    Dataset
        Dims (``beat``) from 1, as `beats` numbers them, or (``sample``, ``beat``), NaN for beats that a sample lacks: ``r``, seconds;
        ``onset`` and ``offset`` along ``wave`` (P, QRS, T) too, seconds on the time axis of `ecg`, NaN where a wave is absent;
        ``confidence`` of each, 0 to 1; ``stretch``, its median over the beats of the ten seconds round a beat; ``wide``, whether QRS
        lasts 0.12 s or more (False where none was found, confidence 0); ``like``, the number of beats averaged.

    Raises
    ------
    ValueError
        Dims, units or labels as for `r_peaks`; R peaks of other times or samples.

    Warns
    -----
    UserWarning
        Wide beats, whose ST begins where their QRS ends and which have often no P: how many.

    Notes
    -----
    It is a measurement for explanations, not a diagnostic one.

    Examples
    --------
    >>> from tsattr.datasets import simulate_ecg
    >>> record = simulate_ecg(1, lesions=[], sampling_rate=500, seed=1).isel(sample=0)
    >>> found = delineate(record.ecg, record.r_peak)
    >>> 0.06 < float((found.offset - found.onset).sel(wave="QRS").median()) < 0.12
    True
    """
    rows, rate = _rows(r_peak), _sampling_rate(ecg)
    if not np.array_equal(_seconds(ecg), _seconds(r_peak)):
        raise ValueError("ecg and r_peak have different times: select the same first")
    _check_samples(ecg, r_peak, "r_peak")
    leads = _ecg_leads(ecg if "lead" in ecg.dims else ecg.expand_dims("lead")).transpose(..., "lead", "time")
    signals = leads.values.astype(float).reshape(-1, leads.sizes["lead"], leads.sizes["time"])
    free = _without_p(ecg).transpose(..., "time").values.reshape(-1, signals.shape[-1])
    free = np.broadcast_to(free, (len(signals), free.shape[1]))
    found = [_Record(x, rate).measured(np.flatnonzero(row), none) for x, row, none in zip(signals, rows, free)]
    return _labelled(found, r_peak, _seconds(ecg))


def _without_p(ecg: xr.DataArray) -> xr.DataArray:
    """True along time where the annotations say that there is no P."""
    told = xr.zeros_like(ecg["time"], dtype=bool).drop_attrs()
    if "rhythm" in ecg.coords:
        told = told | _means(ecg.coords["rhythm"], _NO_P_RHYTHMS)
    if "annotation" in ecg.coords:
        told = told | (_means(ecg.coords["annotation"], _NO_P_BEATS) & _annotated_beats(ecg.coords["annotation"]))
    return told


def _means(coordinate: xr.DataArray, words: frozenset[str]) -> xr.DataArray:
    flags = zip(np.atleast_1d(coordinate.attrs["flag_values"]), str(coordinate.attrs["flag_meanings"]).split())
    return coordinate.isin([value for value, meaning in flags if meaning in words])


class _Bump(NamedTuple):
    """Where a wave begins and ends, in samples of the beat, and how sure it is."""

    onset: float
    offset: float
    confidence: float


_NONE = _Bump(np.nan, np.nan, 0.0)


class _Record:
    """One record (lead, time), band-passed, and what is measured in the averages of its beats."""

    def __init__(self, signal: np.ndarray, rate: float) -> None:
        from scipy import signal as sig

        from .delineation import _bridged

        known = signal[~np.isnan(signal).all(axis=1)]
        whole = np.stack([_bridged(lead) for lead in known]) if len(known) else np.zeros((1, signal.shape[1]))
        band = sig.butter(2, [0.5, min(40, 0.45 * rate)], "bandpass", fs=rate, output="sos")
        self.rate, self.signal = rate, sig.sosfiltfilt(band, whole, axis=-1)
        self.before, self.after = round(_BEFORE * rate), round(_AFTER * rate)

    def measured(self, r: np.ndarray, without_p: np.ndarray) -> dict[str, np.ndarray]:
        """Onsets, offsets and confidences (beats, waves), in samples of the record."""
        shapes = self._cut(r)
        gaps = np.maximum(np.diff(r), 2) if len(r) > 1 else np.array([self.rate])
        before, after = np.concatenate([gaps[:1], gaps])[: len(r)], np.concatenate([gaps, gaps[-1:]])[: len(r)]
        waves = np.full((len(r), len(MEASURED), 3), np.nan)
        like = np.zeros(len(r), int)
        t_end = -np.inf
        for k, near in enumerate(self._like(shapes)):
            like[k] = len(near)
            average, error = shapes[near].mean(0), _error(shapes[near], self.rate)
            qrs = self._qrs(average, before[k] / 2, after[k] / 2)
            t = self._t(average, error, qrs, before[k], after[k])
            start = max(
                self.before - _P_EARLIEST * self.rate, t_end - r[k] + self.before, self.before - 0.6 * before[k]
            )
            p = (
                _NONE
                if without_p[r[k]]
                else self._bump(average, error, start, qrs.onset - 0.01 * self.rate, _P_SHORTEST)
            )
            waves[k] = [p, qrs, t]
            t_end = r[k] - self.before + t.offset if t.offset == t.offset else -np.inf
        waves[..., :2] += (r - self.before)[:, None, None]
        return {"r": r.astype(float), "waves": waves, "like": like}

    def _cut(self, r: np.ndarray) -> np.ndarray:
        """(beats, lead, cells) round each R, the record continued by its ends."""
        padded = np.pad(self.signal, ((0, 0), (self.before, self.after)), "edge")
        cells = r[:, None] + np.arange(self.before + self.after)
        return np.moveaxis(padded[:, cells], 0, 1)

    def _like(self, shapes: np.ndarray) -> list[np.ndarray]:
        """Of each beat those like it, itself first."""
        reach = round(0.15 * self.rate)
        core = shapes[..., self.before - reach : self.before + reach + 1]
        core = core.reshape(len(shapes), core.shape[1] * core.shape[2])
        core = core - core.mean(1, keepdims=True)
        core /= np.maximum(np.linalg.norm(core, axis=1, keepdims=True), 1e-12)
        found = []
        for k in range(len(core)):
            first = max(0, k - _NEAR)
            r = core[first : k + _NEAR + 1] @ core[k]
            r[k - first] = 2
            order = np.argsort(-r, kind="stable")[:_MOST]
            found.append(first + order[r[order] >= _LIKE])
        return found

    def _qrs(self, average: np.ndarray, before: float, after: float) -> _Bump:
        from scipy import ndimage

        slope = np.sqrt(np.mean(np.gradient(average, axis=-1) ** 2, axis=0))
        slope = ndimage.uniform_filter1d(slope, max(1, round(0.012 * self.rate)))
        low = max(0, round(self.before - min(0.2 * self.rate, before)))
        high = min(len(slope), round(self.before + min(0.2 * self.rate, after)) + 1)
        near = round(0.08 * self.rate)
        top = self.before - near + int(slope[self.before - near : self.before + near + 1].argmax())
        noise = np.quantile(slope[max(0, round(self.before - before)) : round(self.before + after)], 0.3)
        steep = slope > noise + _SHARE * max(slope[top] - noise, 0)
        steep[:low] = steep[high:] = False
        pause = max(1, round(_PAUSE * self.rate))
        closed = ndimage.binary_closing(np.pad(steep, pause), np.ones(pause + 1))[pause:-pause]
        where = np.flatnonzero(ndimage.label(closed)[0] == ndimage.label(closed)[0][top])
        return (
            _Bump(where[0], where[-1] + 1, 1.0) if closed[top] else _Bump(self.before - near, self.before + near, 0.0)
        )

    def _t(self, average: np.ndarray, error: np.ndarray, qrs: _Bump, before: float, after: float) -> _Bump:
        stop = min(0.44 * np.sqrt(before * self.rate) + 0.1 * self.rate, after - 0.25 * self.rate, 0.75 * after)
        return self._bump(average, error, qrs.offset + 0.02 * self.rate, self.before + stop, 0.08)

    def _bump(self, average: np.ndarray, error: np.ndarray, start: float, stop: float, shortest: float) -> _Bump:
        """The largest bump over the line between the ends of a stretch."""
        first, last = max(0, round(start)), min(average.shape[1], round(stop))
        if last - first < max(3, shortest * self.rate):
            return _NONE
        part = average[:, first:last]
        line = np.linspace(part[:, 0], part[:, -1], last - first, axis=1)
        size = np.sqrt(np.mean((part - line) ** 2, axis=0))
        top, noise = int(size.argmax()), np.sqrt(np.mean(error[:, first:last] ** 2))
        confidence = 1 - np.exp(-((size[top] / max(noise, 1e-9) / _CERTAIN) ** 2) / 2)
        high = size > max(_FALLEN * size[top], 2 * noise)
        left = top - int(np.argmin(np.append(high[top::-1], False))) + 1
        right = top + int(np.argmin(np.append(high[top:], False)))
        if confidence < _THERE:
            return _Bump(np.nan, np.nan, confidence)
        return _Bump(first + left, first + right, confidence)


def _error(beats: np.ndarray, rate: float) -> np.ndarray:
    """The standard error of an average of beats (beats, lead, cells); of fewer than three by how rough each lead is."""
    n = len(beats)
    if n >= 3:
        error: np.ndarray = beats.std(0, ddof=1) / np.sqrt(n)
        return error
    lag = max(1, round(rate / 80))  # over which noise below 40 Hz has forgotten itself
    bend = beats[..., : -2 * lag] - 2 * beats[..., lag:-lag] + beats[..., 2 * lag :]
    rough = np.median(np.abs(bend), axis=(0, 2)) / 0.6745 / np.sqrt(6 * n)
    return np.broadcast_to(rough[:, None], beats.shape[1:])


def _labelled(found: list[dict[str, np.ndarray]], r_peak: xr.DataArray, time: np.ndarray) -> xr.Dataset:
    """The table of the records, NaN where one has fewer beats than another."""
    most = max((len(f["r"]) for f in found), default=0)
    at = np.arange(len(time))
    waves, r, like = (np.full((len(found), most, *shape), np.nan) for shape in ((len(MEASURED), 3), (), ()))
    stretch = waves[..., 0].copy()
    for k, f in enumerate(found):
        n = len(f["r"])
        r[k, :n], like[k, :n], waves[k, :n] = np.interp(f["r"], at, time), f["like"], f["waves"]
        for b in range(n):
            round_it = np.abs(r[k, :n] - r[k, b]) <= _STRETCH / 2
            stretch[k, b] = np.median(waves[k, :n][round_it, :, 2], axis=0)
    onset, offset = (np.interp(waves[..., w], at, time) for w in (0, 1))
    dims = ("sample", "beat") if "sample" in r_peak.dims else ("beat",)
    pick = slice(None) if "sample" in r_peak.dims else 0
    seconds = {"units": "s"}
    table = xr.Dataset(
        {
            "r": (dims, r[pick], seconds | {"long_name": "R peak"}),
            "onset": ((*dims, "wave"), onset[pick], seconds),
            "offset": ((*dims, "wave"), offset[pick], seconds),
            "confidence": ((*dims, "wave"), waves[pick][..., 2], {"units": "1"}),
            "stretch": (
                (*dims, "wave"),
                stretch[pick],
                {"units": "1", "long_name": "median confidence of ten seconds"},
            ),
            "wide": (dims, (((offset - onset) >= WIDE) & (waves[..., 2] > 0))[pick][..., MEASURED.index("QRS")]),
            "like": (dims, like[pick], {"units": "1", "long_name": "beats averaged"}),
        },
        {"beat": np.arange(1, most + 1), "wave": list(MEASURED)},
        {"evidence": "measured on the average of beats alike, on all leads together"},
    )
    if "sample" in r_peak.coords:
        table = table.assign_coords(sample=r_peak["sample"])
    if wide := int(table.wide.sum()):
        warnings.warn(
            f"{wide} of {int(table.r.count())} beats have a QRS of {WIDE:g} s or more (paced, ventricular, bundle branch block, or "
            "fused): their ST begins where it ends, and what lies before them may be no P",
            stacklevel=3,
        )
    return table
