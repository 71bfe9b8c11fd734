"""What an electrocardiogram needs on top: lead names, R peaks, beats, waves, and exact sums of a map over them.

Times are seconds and come from the `time` coordinate; nothing here guesses a sampling rate. Labels (`r_peaks`, `beats`,
`waves`, `lead_groups`) are DataArrays, so `tsattr.groups.Labelled` can remove what they name and `by_wave`, `by_beat`
and `by_lead` can sum an attribution over them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import xarray as xr

LIMB_LEADS = ("I", "II", "III", "aVR", "aVL", "aVF")
CHEST_LEADS = ("V1", "V2", "V3", "V4", "V5", "V6")
LEADS = LIMB_LEADS + CHEST_LEADS
"""The twelve standard leads in their usual order."""

LEAD_GROUPS: Mapping[str, str] = MappingProxyType({**dict.fromkeys(LIMB_LEADS, "limb"), **{v: v for v in CHEST_LEADS}})
"""The group of each standard lead: the six limb leads carry two independent signals, so they go absent together."""

LIMB_FROM_I_II = np.array([[1, 0], [0, 1], [-1, 1], [-0.5, -0.5], [1, -0.5], [-0.5, 1]])
"""The six limb leads (rows, in the order of `LIMB_LEADS`) from I and II (columns)."""

WAVES = ("none", "P", "QRS", "ST", "T")
"""The meaning of the wave codes 0 to 4."""

WAVE_WINDOWS: Mapping[str, tuple[float, float]] = MappingProxyType(
    {"P": (-0.24, -0.08), "QRS": (-0.06, 0.06), "ST": (0.06, 0.14), "T": (0.14, 0.44)}
)
"""Nominal windows in seconds from the R peak; the end of T is multiplied by the square root of the RR interval in s."""

WAVE_PRIORITY = ("ST", "T", "P", "QRS")
"""Where windows of neighbouring beats overlap, the later name in this list keeps the cell."""

# The beat codes of the WFDB annotation standard; everything else marks rhythm, noise or comments.
_BEAT_SYMBOLS = frozenset("NLRBAaJSVrFejnE/fQ?")

_CANONICAL = {name.lower(): name for name in LEADS}


def canonical_lead(name: str) -> str:
    """Give the usual spelling of a standard lead; any other name comes back unchanged.

    A modified lead stays what it is: MLII is recorded from the chest and is not II.

    Examples
    --------
    >>> [canonical_lead(name) for name in ("avr", " ii", "v5", "MLII")]
    ['aVR', 'II', 'V5', 'MLII']
    """
    stripped = str(name).strip()
    return _CANONICAL.get(stripped.lower(), stripped)


def limb_leads(ecg: xr.DataArray) -> xr.DataArray:
    """Give the six limb leads, computed from I and II.

    III = II - I, aVR = -(I + II)/2, aVL = I - II/2, aVF = II - I/2 (Einthoven, Goldberger).

    Parameters
    ----------
    ecg : DataArray
        Any dims, one of them ``lead``, whose coordinate names I and II in any case. Other leads are not used.

    Returns
    -------
    DataArray
        The dims, dtype, attributes and units of `ecg`; ``lead`` is I, II, III, aVR, aVL, aVF.

    Examples
    --------
    >>> two = xr.DataArray([[1.0, 0.5], [3.0, 1.0]], dims=("lead", "time"), coords={"lead": ["I", "II"]})
    >>> limb_leads(two).sel(lead="aVF").values
    array([2.5 , 0.75])
    """
    names = [canonical_lead(name) for name in _lead_names(ecg)]
    missing = [name for name in ("I", "II") if names.count(name) != 1]
    if missing:
        raise ValueError(
            f"limb leads are computed from one lead I and one lead II; missing or double {missing} in {names}"
        )
    axis = ecg.dims.index("lead")
    pair = np.take(ecg.values, [names.index("I"), names.index("II")], axis=axis)
    matrix = LIMB_FROM_I_II.astype(np.result_type(pair.dtype, np.float32))
    values = np.moveaxis(np.tensordot(matrix, pair, axes=(1, axis)), 0, axis)
    coords = {k: v for k, v in ecg.coords.items() if "lead" not in v.dims}
    return xr.DataArray(
        values, dims=ecg.dims, coords={**coords, "lead": list(LIMB_LEADS)}, attrs=ecg.attrs, name=ecg.name
    )


def lead_groups(leads: xr.DataArray | Iterable[str]) -> xr.DataArray:
    """Label leads for joint removal: dependent limb leads are ``"limb"``, every other lead is itself.

    Of the six limb leads any two determine the rest, so credit among three or more of them is not identifiable, and
    taking one away alone makes an input that no heart can produce. One or two limb leads are independent and keep their
    names.

    Parameters
    ----------
    leads : DataArray or iterable of str
        The lead names, or an array that has a ``lead`` coordinate.

    Returns
    -------
    DataArray of str
        Dim ``lead``; for ``tsattr.groups.Labelled``.

    Examples
    --------
    >>> lead_groups(["I", "II", "aVF", "V1"]).values.tolist()
    ['limb', 'limb', 'limb', 'V1']
    >>> lead_groups(["I", "II", "V1"]).values.tolist()
    ['I', 'II', 'V1']
    """
    names = _lead_names(leads) if isinstance(leads, xr.DataArray) else [str(name) for name in leads]
    groups = [canonical_lead(name) for name in names]
    if len(set(groups) & set(LIMB_LEADS)) > 2:
        groups = [LEAD_GROUPS.get(name, name) for name in groups]
    return xr.DataArray(groups, dims="lead", coords={"lead": names}, name="lead_group")


def r_peaks(ecg: xr.DataArray, method: str = "auto") -> xr.DataArray:
    """Mark the R peaks of a record.

    Annotations are preferred, as no detector is right on every record. The detector takes the root mean square over
    leads of the derivative in the band 5 to 25 Hz, smooths it over 80 ms, keeps peaks above 0.35 of their
    neighbourhood's level and at least 250 ms apart, and puts the mark where the band-passed signal is largest within 60
    ms. It is a helper for explanations, not a diagnostic detector.

    Parameters
    ----------
    ecg : DataArray
        Dims ``time`` and optionally ``lead`` and ``sample``, any order; NaN where nothing was recorded.
    method : {"auto", "annotation", "derivative"}
        "auto" takes the beats of the coordinate ``annotation`` where there is one (as `tsattr.read_wfdb` gives it), the
        detector otherwise.

    Returns
    -------
    DataArray of bool
        The dims of `ecg` without ``lead``. Attributes: ``detector``; ``count``, peaks in all; ``alternating_rr``, the
        number of samples whose RR intervals alternate between short and long, which mostly means that T waves were
        counted as beats (bigeminy looks the same). With several samples the flag is also a coordinate along ``sample``.

    Raises
    ------
    ValueError
        Unknown method or dims, no evenly spaced ``time`` coordinate, or no annotation where one is asked for.

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
        with_lead = ecg if "lead" in ecg.dims else ecg.expand_dims("lead")
        signal = with_lead.transpose(*[d for d in dims if d != "time"], "lead", "time").values.astype(float)
        records = signal.reshape(-1, *signal.shape[-2:])
        marked = np.stack([_detect(record, rate) for record in records]).reshape(*signal.shape[:-2], -1)
        marked = np.moveaxis(marked, -1, dims.index("time"))
    peaks = xr.DataArray(marked, dims=dims, coords=template.coords, name="r_peak").drop_vars(
        "annotation", errors="ignore"
    )
    time = _seconds(ecg)
    alternating = np.array([_alternates(time[row]) for row in _rows(peaks)])
    peaks.attrs = {"detector": detector, "count": int(marked.sum()), "alternating_rr": int(alternating.sum())}
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


def waves(r_peak: xr.DataArray, *, absent: Iterable[str] = ()) -> xr.DataArray:
    """Code the waves of every beat by nominal windows around its R peak.

    The windows are `WAVE_WINDOWS`: they say where a wave is expected, not that there is one, and hold for adults in
    sinus rhythm with narrow QRS. T ends at 0.44 sqrt(RR) s, with the interval before the beat (after it, for the first;
    1 s for a single beat). Where windows of neighbouring beats overlap, QRS goes before P, P before T, T before ST.

    Parameters
    ----------
    r_peak : DataArray of bool
        Dims ``time`` (a coordinate in seconds) and optionally ``sample``.
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
    coded = _label_rows(r_peak, lambda time, r: _code_waves(time, r, names), "wave")
    evidence = "nominal windows around R, presence not checked" + (
        f"; stated absent: {', '.join(absent)}" if absent else ""
    )
    coded.attrs = {"flag_values": np.arange(5, dtype=np.int8), "flag_meanings": " ".join(WAVES), "evidence": evidence}
    return coded.astype(np.int8)


def by_lead(attribution: xr.DataArray) -> xr.Dataset:
    """Sum an attribution over time, lead by lead.

    Parameters
    ----------
    attribution : DataArray
        Dims ``lead``, ``time`` and any others, which are kept. NaN cells are skipped.

    Returns
    -------
    Dataset
        ``signed`` (sums of the values), ``absolute`` (sums of their sizes) and ``cells`` (number of cells summed). The
        QRS complex is biphasic, so that its signed credit may cancel where the absolute does not: read both.

    Examples
    --------
    >>> a = xr.DataArray([[1.0, -2.0], [3.0, np.nan]], dims=("lead", "time"), coords={"lead": ["I", "II"]})
    >>> by_lead(a).absolute.values
    array([3., 3.])
    """
    _lead_names(attribution)
    everything = xr.zeros_like(attribution.isel({d: 0 for d in attribution.dims if d != "time"}, drop=True), dtype=int)
    return _sums(attribution, everything, "all", ["all"]).squeeze("all", drop=True)


def by_wave(attribution: xr.DataArray, wave: xr.DataArray) -> xr.Dataset:
    """Sum an attribution over the waves, ``"other"`` included, so that the sums add up to the total.

    Parameters
    ----------
    attribution : DataArray
        Dims ``time`` and any others, which are kept (``.sum("lead")`` of the result joins the leads). NaN cells are
        skipped.
    wave : DataArray of int
        Codes along ``time`` and optionally ``sample``, as from `waves` or the simulator; ``flag_meanings`` names them.

    Returns
    -------
    Dataset
        ``signed``, ``absolute`` and ``cells`` as in `by_lead`, with the new dim ``wave``.

    Examples
    --------
    >>> code = xr.DataArray([0, 1, 2, 2], dims="time", attrs={"flag_meanings": "none P QRS"})
    >>> by_wave(xr.DataArray([1.0, 2.0, 3.0, -4.0], dims="time"), code).signed.to_series().to_dict()
    {'other': 1.0, 'P': 2.0, 'QRS': -1.0}
    """
    meanings = str(wave.attrs.get("flag_meanings", " ".join(WAVES))).split()
    values = np.asarray(wave.attrs.get("flag_values", np.arange(len(meanings)))).tolist()
    if values != list(range(len(meanings))):
        raise ValueError(f"wave codes count up from 0 (= none); flag_values are {values} for {meanings}")
    return _sums(attribution, wave, "wave", ["other", *meanings[1:]])


def by_beat(attribution: xr.DataArray, beat: xr.DataArray) -> xr.Dataset:
    """Sum an attribution over the beats; number 0 collects the cells outside all beats, so that the sums add up.

    Parameters
    ----------
    attribution : DataArray
        Dims ``time`` and any others, which are kept. NaN cells are skipped.
    beat : DataArray of int
        Numbers from 1 along ``time`` and optionally ``sample``, as from `beats`; 0 for none.

    Returns
    -------
    Dataset
        ``signed``, ``absolute`` and ``cells`` as in `by_lead`, with the new dim ``beat``. Samples with fewer beats than
        the longest have sums 0 and ``cells`` 0 for those they lack.

    Examples
    --------
    >>> number = xr.DataArray([0, 1, 1, 2], dims="time")
    >>> by_beat(xr.DataArray([1.0, 2.0, 3.0, -4.0], dims="time"), number).absolute.values
    array([1., 5., 4.])
    """
    return _sums(attribution, beat, "beat", list(range(int(beat.max()) + 1)))


def _lead_names(array: xr.DataArray) -> list[str]:
    if "lead" not in array.dims or "lead" not in array.coords:
        raise ValueError(
            f"needs a dim 'lead' with the lead names as its coordinate; dims {array.dims}, coords {list(array.coords)}"
        )
    return [str(name) for name in array["lead"].values]


def _seconds(array: xr.DataArray) -> np.ndarray:
    """Give the time coordinate as float seconds."""
    if "time" not in array.dims or "time" not in array.coords:
        raise ValueError(
            f"needs a dim 'time' with a coordinate in seconds; dims {array.dims}, coords {list(array.coords)}"
        )
    time = array["time"].values
    if time.dtype.kind in "mM":
        return (time - time[0]) / np.timedelta64(1, "s")
    units = str(array["time"].attrs.get("units", "s"))
    if units not in ("s", "sec", "second", "seconds"):
        raise ValueError(f"time is needed in seconds, its units attribute says {units!r}; convert the coordinate first")
    return time.astype(float)


def _sampling_rate(array: xr.DataArray) -> float:
    step = np.diff(_seconds(array))
    if step.size == 0 or step.min() <= 0 or np.ptp(step) > 0.01 * np.median(step):
        raise ValueError(
            "the detector needs an evenly spaced, increasing time coordinate of at least two cells; resample first"
        )
    return 1 / float(np.mean(step))


def _rows(mark: xr.DataArray) -> np.ndarray:
    """Give boolean marks as (rows, time)."""
    if mark.dtype != bool:
        raise TypeError(f"R peaks are marked by booleans, not {mark.dtype}; compare first, such as `code > 0`")
    if set(mark.dims) - {"sample"} != {"time"}:
        raise ValueError(f"R peaks have the dims (sample, time), sample optional; these are {mark.dims}")
    return mark.transpose(..., "time").values.reshape(-1, mark.sizes["time"])


def _label_rows(r_peak: xr.DataArray, label: Any, name: str) -> xr.DataArray:
    """Apply ``label(time, times of the R peaks) -> codes`` to every sample."""
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


def _code_waves(time: np.ndarray, r: np.ndarray, names: list[str]) -> np.ndarray:
    code = np.zeros(time.size, dtype=int)
    rr = np.diff(r) if r.size > 1 else np.ones(1)
    before = np.concatenate([rr[:1], rr])[: r.size]
    for name in names:
        start, stop = WAVE_WINDOWS[name]
        ends = stop * np.sqrt(before) if name == "T" else np.full(r.size, stop)
        for first, last in np.searchsorted(time, np.stack([r + start, r + ends], axis=1)):
            code[first:last] = WAVES.index(name)
    return code


def _annotated_beats(annotation: xr.DataArray) -> xr.DataArray:
    """Give True where the annotation code means a beat."""
    meanings = str(annotation.attrs.get("flag_meanings", "")).split()
    values = np.atleast_1d(annotation.attrs.get("flag_values", []))
    if not meanings or len(meanings) != len(values):
        raise ValueError(
            "the coordinate 'annotation' needs flag_values and flag_meanings of one length to tell beats from marks"
        )
    codes = [value for value, meaning in zip(values, meanings) if meaning in _BEAT_SYMBOLS]
    return annotation.isin(codes)


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
    return found & ~missing.all(axis=0)


def _bridged(lead: np.ndarray) -> np.ndarray:
    """Interpolate NaN linearly; the filters need finite values."""
    known = ~np.isnan(lead)
    return np.interp(np.arange(lead.size), np.flatnonzero(known), lead[known])


def _alternates(r: np.ndarray) -> bool:
    """Say whether RR intervals change by over a fifth, up and down in turn, nearly everywhere."""
    change = np.diff(np.diff(r))
    if change.size < 5:
        return False
    in_turn = np.mean(change[1:] * change[:-1] < 0)
    return bool(in_turn > 0.8 and np.median(np.abs(change)) > 0.2 * np.mean(np.diff(r)))


def _sums(attribution: xr.DataArray, labels: xr.DataArray, dim: str, names: list[Any]) -> xr.Dataset:
    """Sum over time by label; codes index `names`."""
    if "time" not in attribution.dims or "time" not in labels.dims or not set(labels.dims) <= set(attribution.dims):
        raise ValueError(
            f"labels lie along 'time' and dims of the attribution {attribution.dims}; these have {labels.dims}"
        )
    if dim in attribution.dims:
        raise ValueError(f"the attribution already has a dim {dim!r}")
    for shared in labels.dims:
        if labels.sizes[shared] != attribution.sizes[shared]:
            raise ValueError(
                f"labels and attribution differ along {shared!r}: "
                f"{labels.sizes[shared]} and {attribution.sizes[shared]} cells"
            )
    if labels.dtype.kind not in "iu" or labels.min() < 0 or labels.max() >= len(names):
        raise ValueError(
            f"{dim} labels are integers from 0 to {len(names) - 1}, "
            f"not {labels.dtype} from {labels.min().item()} to {labels.max().item()}"
        )

    def total(values: xr.DataArray) -> xr.DataArray:
        summed = xr.apply_ufunc(
            _sum_by_code,
            values,
            labels.reset_coords(drop=True),
            input_core_dims=[["time"], ["time"]],
            output_core_dims=[[dim]],
            kwargs={"size": len(names)},
            join="exact",
        )
        return summed.assign_coords({dim: names})

    known = attribution.notnull()
    values = attribution.fillna(0).astype(float)
    result = xr.Dataset({"signed": total(values), "absolute": total(abs(values)), "cells": total(known).astype(int)})
    for name in ("signed", "absolute"):
        result[name].attrs = {k: v for k, v in attribution.attrs.items() if k == "units"}
    return result


def _sum_by_code(values: np.ndarray, codes: np.ndarray, size: int) -> np.ndarray:
    """Sum the last axis of `values` by code, every row by itself."""
    values, codes = np.broadcast_arrays(values, codes)
    rows = np.arange(values[..., 0].size)[:, None] * size
    cells = (rows + codes.reshape(-1, codes.shape[-1])).ravel()
    return np.bincount(cells, weights=values.ravel(), minlength=rows.size * size).reshape(*values.shape[:-1], size)
