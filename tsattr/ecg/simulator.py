"""A simulator of 12-lead electrocardiograms with planted lesions, so that an explanation can be marked right or wrong.

A record is a sum of Gaussian waves in closed form: five components a beat (P, Q, R, S, T) in the eight independent
leads, with amplitudes measured on normal records of PTB-XL (`datasets/ecg-simulator/README.md`). A lesion edits this
table of waves, and the truth mask follows from comparing the table before and after; nobody writes a mask by hand.
Noise, wander and artefacts are added to the eight leads too and the other four derived last, so that the limb-lead
identities hold for the final signal.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from .delineation import WAVE_PRIORITY, WAVES
from .leads import LEADS
from .simulated_parts import (
    baseline_wander,
    chest_artefact,
    fibrillation,
    fibrillation_waves,
    healthy_beats,
    sinus_rhythm,
)
from .simulated_waves import ALL_FROM_INDEPENDENT, LESIONS, Beats, Floats

RHYTHM_LESIONS = ("pvc", "af")


@dataclass(frozen=True)
class _Settings:
    """What the records of one call share; see `simulate_ecg`."""

    sampling_rate: float
    duration: float
    noise: float
    wander: float
    hr: tuple[float, float]
    variability: float
    distractor: bool


def simulate_ecg(
    n: int = 200,
    *,
    lesions: Sequence[str] = ("st_elevation_anterior", "t_inversion", "pvc", "af"),
    sampling_rate: float = 100.0,
    duration: float = 10.0,
    noise: float = 0.015,
    wander: float = 0.05,
    hr: tuple[float, float] = (55.0, 95.0),
    variability: float = 1.0,
    distractor: bool = True,
    seed: int = 0,
    dtype: str = "float32",
) -> xr.Dataset:
    """Simulate 12-lead ECG records with planted lesions, their truth masks, and an artefact that means nothing.

    Every record is ``sum over beats and waves of gain * exp(-((t - t_wave) / sigma)^2 / 2)``; RR intervals follow a
    spectrum of two Gaussians at 0.1 and 0.25 Hz (sd 0.01 Hz, power ratio 0.5; McSharry et al., IEEE TBME 50(3), 2003).
    Subjects differ in heart rate, voltage, electrical axis, electrode place, wave widths and intervals.

    Lesions (V leads unless said): ``st_elevation_anterior`` (0.2-0.3 mV in V1-V4), ``st_elevation_inferior`` (0.25 mV
    in II, III, aVF, with the reciprocal change that the identities force on aVR and aVL), ``peaked_t`` (V2-V4),
    ``t_inversion`` (V2-V5), ``lvh`` (voltage doubled in V1, V2, V5, V6), ``pathologic_q`` (as the inferior ST), ``pvc``
    (one to three wide early beats, no P, opposite T, full pause), ``av_block`` (PR 80 ms longer), ``af`` (no P,
    gamma-distributed RR with variation 0.2, f-waves of 5-7 Hz).

    Parameters
    ----------
    n : int
        Number of records (1000 of the default length take about 2 s).
    lesions : sequence of str
        Names of lesions, the classes 1, 2, ...; class 0 is ``normal``. Record i has class ``i mod (1 + len(lesions))``.
        With ``()`` all are normal: the healthy twins of the records of the same seed, wave for wave (af has its own
        rhythm).
    sampling_rate, duration : float
        In Hz (50 or more) and s (4 or more).
    noise, wander : float
        Root mean squares in mV of white noise and baseline wander in each of the eight independent leads.
    hr : (float, float)
        Range of the subjects' heart rates in beats per minute, within 30 to 180.
    variability : float
        1 for the spread between subjects described above, 0 for the average subject each time.
    distractor : bool
        Whether one chest lead of each record has an artefact (electrode movement or a muscle burst), drawn without
        regard to the class. An explanation should give it nothing.
    seed : int
        Record i depends on the settings, `seed` and i, never on `n`; it keeps its subject whatever the lesion.
    dtype : str
        Floating type of ``ecg``.

    Returns
    -------
    Dataset
        ``ecg`` (sample, lead, time) in mV; ``label`` (sample); ``truth`` (sample, lead, time), True where the lesion
        changes a wave by more than about 1 % of its height; ``distractor`` (sample, lead, time); ``wave`` (sample,
        time): 0 none, 1 P, 2 QRS, 3 ST, 4 T; ``beat`` (sample, time), numbered from 1 and bounded halfway between R
        peaks, 0 for beats whose R lies outside; ``r_peak`` (sample, time); ``rhythm`` (sample), True where the timing
        of beats tells the class too. A rhythm has no cells: the truth of ``pvc`` is the early beats' waves (not the
        pause), of ``af`` the places where P is missing (not the f-waves, which are everywhere, nor the R positions);
        test rhythm by occlusion or by moving beats.

    Raises
    ------
    ValueError
        An unknown or repeated lesion, or a number outside the ranges above.

    Examples
    --------
    >>> ds = simulate_ecg(10, seed=1)
    >>> dict(ds.ecg.sizes)
    {'sample': 10, 'lead': 12, 'time': 1000}
    >>> ds.label.attrs["flag_meanings"].split()
    ['normal', 'st_elevation_anterior', 't_inversion', 'pvc', 'af']
    >>> bool(ds.truth[0].any()), ds.lead.values[ds.truth[2].any("time")].tolist()
    (False, ['V2', 'V3', 'V4', 'V5'])
    """
    settings = _Settings(sampling_rate, duration, noise, wander, hr, variability, distractor)
    _check(n, lesions, settings, seed)
    classes = ("normal", *lesions)
    time = np.arange(round(duration * sampling_rate)) / sampling_rate
    by_lead, by_time = (n, len(LEADS), time.size), (n, time.size)
    arrays = {
        "ecg": np.empty(by_lead, dtype=dtype),
        "truth": np.empty(by_lead, dtype=bool),
        "distractor": np.empty(by_lead, dtype=bool),
        "wave": np.empty(by_time, dtype=np.int8),
        "beat": np.empty(by_time, dtype=np.int32),
        "r_peak": np.empty(by_time, dtype=bool),
    }
    label = np.arange(n) % len(classes)
    for i in range(n):
        for name, values in _record((seed, i), classes[label[i]], time, settings).items():
            arrays[name][i] = values

    dims = ("sample", "lead", "time")
    data = {name: (dims if a.ndim == 3 else ("sample", "time"), a, _ATTRS[name]) for name, a in arrays.items()}
    flags = {"flag_values": np.arange(len(classes)), "flag_meanings": " ".join(classes)}
    rhythm = np.isin(np.array(classes)[label], RHYTHM_LESIONS)
    return xr.Dataset(
        {
            **data,
            "label": ("sample", label, {"long_name": "class", **flags}),
            "rhythm": ("sample", rhythm, {"long_name": "the timing of beats tells the class too"}),
        },
        coords={
            "sample": np.arange(n),
            "lead": list(LEADS),
            "time": ("time", time, {"units": "s", "long_name": "time"}),
        },
        attrs={
            "title": "Simulated 12-lead ECG with planted lesions",
            "source": f"tsattr.datasets.simulate_ecg(seed={seed})",
            "references": "Wave amplitudes measured on PTB-XL (Wagner et al., Scientific Data 7:154, 2020), CC BY 4.0",
            "sampling_rate": float(sampling_rate),
        },
    )


_ATTRS: dict[str, dict[str, Any]] = {
    "ecg": {"units": "mV", "long_name": "electrocardiogram"},
    "truth": {"long_name": "cells changed by the lesion"},
    "distractor": {"long_name": "cells of an artefact that is unrelated to the class"},
    "wave": {
        "long_name": "wave",
        "flag_values": np.arange(len(WAVES), dtype=np.int8),
        "flag_meanings": " ".join(WAVES),
    },
    "beat": {"long_name": "beat number, 0 for none"},
    "r_peak": {"long_name": "R peak"},
}


def _check(n: int, lesions: Sequence[str], settings: _Settings, seed: int) -> None:
    """Raise for an unknown or repeated lesion, and for a number out of its range."""
    if isinstance(lesions, str):
        raise TypeError(f"lesions is a sequence of names, such as ({lesions!r},)")
    unknown = [name for name in lesions if name not in LESIONS]
    if unknown or len(set(lesions)) < len(lesions):
        raise ValueError(
            f"lesions are different names among {sorted(LESIONS)} (normal is always class 0), not {tuple(lesions)}"
        )
    s = settings
    rules = {
        f"n is at least 1, not {n}": n >= 1,
        f"sampling_rate is at least 50 Hz, or QRS is lost, not {s.sampling_rate}": s.sampling_rate >= 50,
        f"duration is at least 4 s, not {s.duration}": s.duration >= 4,
        f"noise and wander are not negative: {s.noise}, {s.wander}": s.noise >= 0 and s.wander >= 0,
        f"hr is (low, high) within 30 to 180 beats per minute, not {s.hr}": 30 <= s.hr[0] <= s.hr[1] <= 180,
        f"variability is within 0 to 1, not {s.variability}": 0 <= s.variability <= 1,
        f"seed is not negative: {seed}": seed >= 0,
    }
    for rule, holds in rules.items():
        if not holds:
            raise ValueError(rule)


def _record(key: tuple[int, int], lesion: str, time: Floats, settings: _Settings) -> dict[str, NDArray[Any]]:
    """Return the variables of one record. Each part has its own random stream, so that a lesion changes nothing else."""
    subject, rhythm, disease, background, artefact = np.random.default_rng(key).spawn(5)
    mean_rr = 60 / subject.uniform(*settings.hr)
    r = (fibrillation if lesion == "af" else sinus_rhythm)(rhythm, mean_rr, settings.duration)
    healthy = healthy_beats(subject, r, settings.variability)
    beats = healthy if lesion == "normal" else LESIONS[lesion](healthy, disease, settings.duration)
    signal = beats.signal(time)
    if lesion == "af":
        signal += fibrillation_waves(disease, time)
    wander = settings.wander * baseline_wander(background, time)
    signal += wander + settings.noise * background.standard_normal(signal.shape)
    corrupted = np.zeros((8, time.size), dtype=bool)
    if settings.distractor:
        signal += chest_artefact(artefact, time, corrupted)
    return {
        "ecg": ALL_FROM_INDEPENDENT @ signal,
        "truth": _changed(healthy, beats, time),
        "distractor": ALL_FROM_INDEPENDENT.astype(bool) @ corrupted,
        **_labels(beats, time),
    }


def _changed(healthy: Beats, beats: Beats, time: Floats) -> NDArray[np.bool_]:
    """Mark the support of every wave that differs, lead by lead: as it is, and as it was unless its beat has moved."""
    before, after = healthy.gain @ ALL_FROM_INDEPENDENT.T, beats.gain @ ALL_FROM_INDEPENDENT.T
    moved = (healthy.r != beats.r)[:, None]
    reshaped = (healthy.centre != beats.centre) | (healthy.sigma != beats.sigma) | moved
    differs = (np.abs(before - after) > 1e-9) | reshaped[..., None]
    mask = np.zeros((len(LEADS), time.size), dtype=bool)
    for waves, here in ((healthy, differs & (before != 0) & ~moved[..., None]), (beats, differs & (after != 0))):
        cells = np.searchsorted(time, waves.support)
        for b, c in zip(*np.nonzero(here.any(axis=-1))):
            mask[here[b, c], slice(*cells[b, c])] = True
    return mask


def _labels(beats: Beats, time: Floats) -> dict[str, NDArray[Any]]:
    """Return wave codes, beat numbers and R peaks along time."""
    present = beats.gain.any(axis=-1)
    edges: dict[str, Floats] = {}
    for name in ("P", "QRS", "T"):
        part = (present & (beats.wave == WAVES.index(name)))[..., None]
        edges[name] = np.stack(
            [
                np.where(part, beats.support, np.inf)[..., 0].min(axis=1),
                np.where(part, beats.support, -np.inf)[..., 1].max(axis=1),
            ],
            axis=1,
        )
    edges["ST"] = np.stack([edges["QRS"][:, 1], edges["T"][:, 0]], axis=1)
    wave = np.zeros(time.size, dtype=np.int8)
    for name in WAVE_PRIORITY:
        for first, last in np.searchsorted(time, edges[name]):
            wave[first:last] = WAVES.index(name)

    nearest = np.searchsorted((beats.r[1:] + beats.r[:-1]) / 2, time, side="right")
    step = time[1] - time[0]
    cell = np.rint(beats.r / step).astype(int)
    inside = (cell >= 0) & (cell < time.size)
    r_peak = np.zeros(time.size, dtype=bool)
    r_peak[cell[inside]] = True
    number = np.where(inside, np.cumsum(inside), 0)
    return {"wave": wave, "beat": number[nearest], "r_peak": r_peak}
