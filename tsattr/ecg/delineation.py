"""R peaks, and the beats and waves round them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import xarray as xr

from ..core.indexing import same_labels
from ..core.units import voltage
from .leads import may_be_ecg

WAVES = ("none", "P", "QRS", "ST", "T")
"""The meaning of the wave codes 0 to 4."""

WAVE_WINDOWS: Mapping[str, tuple[float, float]] = MappingProxyType(
    {"P": (-0.24, -0.08), "QRS": (-0.06, 0.06), "ST": (0.06, 0.14), "T": (0.14, 0.44)}
)
"""Nominal windows in seconds from the R peak; the end of T is multiplied by the square root of the RR interval in s."""

WAVE_PRIORITY = ("ST", "T", "P", "QRS")
"""Where windows of neighbouring beats overlap, the later name in this list keeps the cell."""

_ST = 0.08  # seconds that it is taken to last where no T was found

# The beat codes of the WFDB annotation standard; everything else marks rhythm, noise or comments.
_BEAT_SYMBOLS = frozenset("NLRBAaJSVrFejnE/fQ?")


def r_peaks(ecg: xr.DataArray, method: str = "auto") -> xr.DataArray:
    """Mark the R peaks of a record.

    Annotations are preferred, as no detector is right on every record. The detector takes the root mean square over
    leads of the derivative in the band 5 to 25 Hz, smooths it over 80 ms, keeps peaks above 0.35 of their
    neighbourhood's level and at least 250 ms apart, and puts the mark where the band-passed signal is largest within 60
    ms. It is a helper for explanations, not a diagnostic detector, and takes any rhythm of steep slopes for beats: channels
    in units that are no voltage (mmHg, ohm, bpm, NU), or that are named as pulse, pressure, respiration or the like are
    (``PLETH``, ``ABP``), are not looked at.

    Parameters
    ----------
    ecg : DataArray
        Dims ``time`` and optionally ``lead`` and ``sample``, any order; NaN or infinite where nothing was recorded.
    method : {"auto", "annotation", "derivative"}
        "auto" takes the beats of the coordinate ``annotation`` where there is one (as `tsattr.read_wfdb` gives it), the
        detector otherwise.

    Returns
    -------
    DataArray of bool
        The dims of `ecg` without ``lead``. Attributes: ``detector``; ``count``, peaks in all; ``alternating_rr``, the
        number of samples whose RR intervals alternate between short and long, which mostly means that T waves were
        counted as beats (bigeminy looks the same); ``leads``, those that the detector looked at. With several samples the flag is also a coordinate along ``sample``.

    Raises
    ------
    ValueError
        Unknown method or dims, no evenly spaced ``time`` coordinate, no annotation where one is asked for, or no channel
        that may be an ECG.

    Examples
    --------
    >>> from tsattr.datasets import simulate_ecg
    >>> record = simulate_ecg(1, seed=1)
    >>> found = r_peaks(record.ecg[0])
    >>> found.attrs["count"] == int(record.r_peak.sum())
    True
    """
    if method not in ("auto", "annotation", "derivative"):
        raise ValueError(f'method must be "auto", "annotation" or "derivative", not {method!r}')
    extra = set(ecg.dims) - {"sample", "lead", "time"}
    if "time" not in ecg.dims or extra:
        raise ValueError(f"an ECG has the dims (sample, lead, time), the first two optional; these are {ecg.dims}")
    if method == "annotation" and "annotation" not in ecg.coords:
        raise ValueError(f"no coordinate 'annotation' among {sorted(map(str, ecg.coords))}; use method='derivative'")

    dims = [dim for dim in ecg.dims if dim != "lead"]
    template = ecg.isel(lead=0, drop=True) if "lead" in ecg.dims else ecg
    if method == "annotation" or (method == "auto" and "annotation" in ecg.coords):
        detector = "annotation"
        marked = _annotated_beats(ecg.coords["annotation"]).broadcast_like(template).transpose(*dims).values
    else:
        detector = "derivative"
        rate = _sampling_rate(ecg)
        with_lead = _ecg_leads(ecg if "lead" in ecg.dims else ecg.expand_dims("lead"))
        signal = with_lead.transpose(*[d for d in dims if d != "time"], "lead", "time").values.astype(float)
        records = signal.reshape(-1, *signal.shape[-2:])
        marked = np.stack([_detect(record, rate) for record in records]).reshape(*signal.shape[:-2], -1)
        marked = np.moveaxis(marked, -1, dims.index("time"))
    peaks = xr.DataArray(marked, dims=dims, coords=template.coords, name="r_peak").drop_vars(
        "annotation", errors="ignore"
    )
    if detector == "derivative" and "lead" in ecg.coords:
        peaks.attrs["leads"] = ", ".join(map(str, np.atleast_1d(with_lead["lead"].values)))
    time = _seconds(ecg)
    alternating = np.array([_alternates(time[row]) for row in _rows(peaks)])
    peaks.attrs |= {"detector": detector, "count": int(marked.sum()), "alternating_rr": int(alternating.sum())}
    if "sample" in dims:
        peaks = peaks.assign_coords(alternating_rr=("sample", alternating))
    return peaks


def beats(r_peak: xr.DataArray) -> xr.DataArray:
    """Number the beats of a record from 1, each reaching halfway to its neighbours.

    The first and last beat reach as far outwards as inwards (a single beat takes the whole record); cells beyond have
    number 0.

    Parameters
    ----------
    r_peak : DataArray of bool
        Dims ``time`` and optionally ``sample``.

    Returns
    -------
    DataArray of int
        The dims of `r_peak`.

    Examples
    --------
    >>> r = xr.DataArray(np.arange(12) % 4 == 3, dims="time", coords={"time": np.arange(12) / 4.0})
    >>> beats(r).values.tolist()
    [0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3]
    """
    return _label_rows(r_peak, _number_beats, "beat")


def waves(r_peak: xr.DataArray, *, measured: xr.Dataset | None = None, absent: Iterable[str] = ()) -> xr.DataArray:
    """Code the waves of every beat, by nominal windows around its R peak or as they were measured.

    The windows are `WAVE_WINDOWS`: they say where a wave is expected, not that there is one, and hold for adults in
    sinus rhythm with narrow QRS. T ends at 0.44 sqrt(RR) s, with the interval before the beat (after it, for the first;
    1 s for a single beat). Where windows of neighbouring beats overlap, QRS goes before P, P before T, T before ST.

    Parameters
    ----------
    r_peak : DataArray of bool
        Dims ``time`` (a coordinate in seconds) and optionally ``sample``.
    measured : Dataset
        What `delineate` gives of the same R peaks. P, QRS and T then lie where they were found, P and T nowhere where they were
        not; ST lies between the end of QRS and T, for 0.08 s where there is no T.
    absent : iterable of str
        Waves that the record is known to lack, such as ``["P"]`` in atrial fibrillation; they are not coded.

    Returns
    -------
    DataArray of int8
        0 none, 1 P, 2 QRS, 3 ST, 4 T, also in the attributes ``flag_values`` and ``flag_meanings``.

    Examples
    --------
    >>> r = xr.DataArray(np.arange(100) == 50, dims="time", coords={"time": np.arange(100) / 100})
    >>> waves(r).sel(time=[0.2, 0.3, 0.5, 0.6, 0.8], method="nearest").values.tolist()
    [0, 1, 2, 3, 4]
    """
    absent = [absent] if isinstance(absent, str) else list(absent)
    unknown = [name for name in absent if name not in WAVE_WINDOWS]
    if unknown:
        raise ValueError(f"absent names waves among {list(WAVE_WINDOWS)}; unknown: {unknown}")
    names = [name for name in WAVE_PRIORITY if name not in absent]
    if measured is None:
        coded = _label_rows(r_peak, lambda time, r: _code_waves(time, _nominal(r), names), "wave")
        evidence = "nominal windows around R, presence not checked"
    else:
        spans = iter(_measured(measured, _rows(r_peak), _seconds(r_peak)))
        coded = _label_rows(r_peak, lambda time, r: _code_waves(time, next(spans), names), "wave")
        evidence = str(measured.attrs.get("evidence", "measured"))
    evidence += f"; stated absent: {', '.join(absent)}" if absent else ""
    coded.attrs = {"flag_values": np.arange(5, dtype=np.int8), "flag_meanings": " ".join(WAVES), "evidence": evidence}
    return coded.astype(np.int8)


def _rows(mark: xr.DataArray) -> np.ndarray:
    """Return boolean marks as (rows, time)."""
    if mark.dtype != bool:
        raise TypeError(f"R peaks are marked by booleans, not {mark.dtype}; compare first, such as `code > 0`")
    if set(mark.dims) - {"sample"} != {"time"}:
        raise ValueError(f"R peaks have the dims (sample, time), sample optional; these are {mark.dims}")
    return mark.transpose(..., "time").values.reshape(-1, mark.sizes["time"])


def _label_rows(r_peak: xr.DataArray, label: Any, name: str) -> xr.DataArray:
    """Return ``label(time, times of the R peaks)``, codes along time, of every sample."""
    rows, time = _rows(r_peak), _seconds(r_peak)
    last = r_peak.transpose(..., "time")
    values = np.stack([label(time, time[row]) for row in rows]).reshape(last.shape)
    return xr.DataArray(values, dims=last.dims, coords=r_peak.coords, name=name).transpose(*r_peak.dims)


def _number_beats(time: np.ndarray, r: np.ndarray) -> np.ndarray:
    if r.size == 0:
        return np.zeros(time.size, dtype=int)
    if r.size == 1:
        return np.ones(time.size, dtype=int)
    half = np.diff(r) / 2
    edges = np.concatenate([r[:1] - half[:1], r[:-1] + half, r[-1:] + half[-1:]])
    number = np.searchsorted(edges, time, side="right")
    return np.where(number > r.size, 0, number)


def _nominal(r: np.ndarray) -> dict[str, np.ndarray]:
    """From when to when (beats, 2) each wave is expected."""
    rr = np.diff(r) if r.size > 1 else np.ones(1)
    before = np.concatenate([rr[:1], rr])[: r.size]
    ends = {name: stop * np.sqrt(before) if name == "T" else stop for name, (_, stop) in WAVE_WINDOWS.items()}
    return {name: np.stack([r + start, r + ends[name]], axis=1) for name, (start, _) in WAVE_WINDOWS.items()}


def _measured(measured: xr.Dataset, rows: np.ndarray, time: np.ndarray) -> list[dict[str, np.ndarray]]:
    """From when to when (beats, 2) each wave of each row was measured."""
    table = measured.transpose(..., "beat", "wave")
    r = np.atleast_2d(table["r"].values)
    onset, offset = (table[v].values.reshape(*r.shape, table.sizes["wave"]) for v in ("onset", "offset"))
    known = [x[~np.isnan(x)] for x in r]
    if [len(x) for x in known] != rows.sum(1).tolist() or not np.allclose(
        np.concatenate(known), np.concatenate([time[row] for row in rows])
    ):
        raise ValueError("measured is of other R peaks: give `delineate(ecg, r_peak)` of these")
    found = []
    for k, row in enumerate(rows):
        spans = {
            str(w): np.stack([onset[k, : row.sum(), j], offset[k, : row.sum(), j]], axis=1)
            for j, w in enumerate(table["wave"].values)
        }
        end, t = spans["QRS"][:, 1], spans["T"][:, 0]
        spans["ST"] = np.stack([end, np.where(np.isnan(t), end + _ST, t)], axis=1)
        found.append(spans)
    return found


def _code_waves(time: np.ndarray, spans: dict[str, np.ndarray], names: list[str]) -> np.ndarray:
    code = np.zeros(time.size, dtype=int)
    for name in names:
        there = spans[name][~np.isnan(spans[name]).any(axis=1)]
        for first, last in np.searchsorted(time, there):
            code[first:last] = WAVES.index(name)
    return code


def _annotated_beats(annotation: xr.DataArray) -> xr.DataArray:
    """Return True where the annotation code means a beat."""
    meanings = str(annotation.attrs.get("flag_meanings", "")).split()
    values = np.atleast_1d(annotation.attrs.get("flag_values", []))
    if not meanings or len(meanings) != len(values):
        raise ValueError(
            "the coordinate 'annotation' needs flag_values and flag_meanings of one length to tell beats from marks"
        )
    codes = [value for value, meaning in zip(values, meanings) if meaning in _BEAT_SYMBOLS]
    return annotation.isin(codes)


def _seconds(array: xr.DataArray) -> np.ndarray:
    """Return the time coordinate in seconds, as floats."""
    if "time" not in array.dims or "time" not in array.coords:
        raise ValueError(
            f"needs a dim 'time' with a coordinate in seconds; dims {array.dims}, coords {list(array.coords)}"
        )
    time = array["time"].values
    if time.dtype.kind in "mM":
        return np.asarray((time - time[0]) / np.timedelta64(1, "s"))
    units = str(array["time"].attrs.get("units", "s"))
    if units not in ("s", "sec", "second", "seconds"):
        raise ValueError(f"time is needed in seconds, its units attribute says {units!r}; convert the coordinate first")
    return np.asarray(time.astype(float))


def _check_samples(ours: xr.DataArray, theirs: xr.DataArray, told: str) -> None:
    """ValueError unless what was found in records is of the samples of `ours`, in their order."""
    if not all("sample" in a.dims for a in (ours, theirs)):
        if "sample" in ours.dims or "sample" in theirs.dims:
            raise ValueError(
                f"{told} has the dims {theirs.dims}, and the record {ours.dims}: give that of these samples"
            )
        return
    if ours.sizes["sample"] != theirs.sizes["sample"]:
        raise ValueError(f"{told} is of {theirs.sizes['sample']} samples, and the record of {ours.sizes['sample']}")
    labelled = all("sample" in a.coords for a in (ours, theirs))
    if labelled and not same_labels(ours["sample"].values, theirs["sample"].values):
        raise ValueError(f"{told} is of other samples, or in another order: select the same first")


def _sampling_rate(array: xr.DataArray) -> float:
    step = np.diff(_seconds(array))
    if step.size == 0 or step.min() <= 0 or np.ptp(step) > 0.01 * np.median(step):
        raise ValueError(
            "the detector needs an evenly spaced, increasing time coordinate of at least two cells; resample first"
        )
    return 1 / float(np.mean(step))


def _ecg_leads(ecg: xr.DataArray) -> xr.DataArray:
    """Return the leads that may be an ECG by name and unit, in mV where the unit is known; ValueError where none may."""
    count = ecg.sizes["lead"]
    names = [str(name) for name in np.atleast_1d(ecg["lead"].values)] if "lead" in ecg.coords else [""] * count
    units = [str(u) for u in np.broadcast_to(ecg.coords.get("units", ecg.attrs.get("units", "")), count)]
    kept = [k for k in range(count) if may_be_ecg(names[k], units[k])]
    if not kept:
        others = ", ".join(f"{n or 'a channel'} ({u or 'no units'})" for n, u in zip(names, units))
        raise ValueError(
            f"R peaks are found in an ECG, and by its name or units none of these is one: {others}; select ECG leads, rename "
            "a lead that is one, or give annotations"
        )
    sizes = [(voltage(units[k]) or ("", 1.0))[1] for k in kept]  # in mV
    leads = ecg.isel(lead=kept) * xr.DataArray(sizes, dims="lead")
    return leads.where(np.isfinite(leads))  # an amplifier at its limit writes infinities


def _detect(signal: np.ndarray, rate: float) -> np.ndarray:
    """Find R peaks in one record (lead, time)."""
    from scipy import ndimage
    from scipy import signal as sig

    found = np.zeros(signal.shape[-1], dtype=bool)
    missing = np.isnan(signal)
    signal = np.stack([_bridged(lead) for lead in signal[~missing.all(axis=1)]] or [np.zeros(found.size)])
    if rate <= 20 or found.size < rate:
        raise ValueError(
            f"the detector needs at least 1 s at more than 20 Hz; this is {found.size / rate:.3g} s at {rate:.4g} Hz"
        )
    band = sig.butter(2, [5, min(25, 0.45 * rate)], "bandpass", fs=rate, output="sos")
    filtered = sig.sosfiltfilt(band, signal, axis=-1)
    slope = np.sqrt(np.mean(np.gradient(filtered, axis=-1) ** 2, axis=0))
    slope = ndimage.uniform_filter1d(slope, max(1, round(0.08 * rate)))
    # The level is the median over 10 s of the largest slope within 2 s: an artefact or a pause does not move it.
    level = ndimage.maximum_filter1d(slope, round(2 * rate))[:: max(1, round(0.5 * rate))]
    level = np.interp(
        np.arange(found.size), np.arange(level.size) * max(1, round(0.5 * rate)), ndimage.median_filter(level, 21)
    )
    peaks, _ = sig.find_peaks(slope, height=np.maximum(0.35 * level, 1e-9), distance=max(1, round(0.25 * rate)))
    size, reach = np.sum(filtered**2, axis=0), round(0.06 * rate)
    for peak in peaks:
        first = max(0, peak - reach)
        found[first + np.argmax(size[first : peak + reach + 1])] = True
    marked: np.ndarray = found & ~missing.all(axis=0)
    return marked


def _bridged(lead: np.ndarray) -> np.ndarray:
    """Interpolate NaN linearly; the filters need finite values."""
    known = ~np.isnan(lead)
    return np.asarray(np.interp(np.arange(lead.size), np.flatnonzero(known), lead[known]))


def _alternates(r: np.ndarray) -> bool:
    """Return whether RR intervals alternate: they change by over a fifth, up and down in turn, nearly everywhere."""
    change = np.diff(np.diff(r))
    if change.size < 5:
        return False
    in_turn = np.mean(change[1:] * change[:-1] < 0)
    return bool(in_turn > 0.8 and np.median(np.abs(change)) > 0.2 * np.mean(np.diff(r)))
