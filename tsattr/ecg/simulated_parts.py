"""The random parts of a simulated record: rhythm, subject, fibrillation waves, baseline wander and artefacts."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .simulated_waves import AMPLITUDE, CENTRE, P_GAIN, REFERENCE_RR, SIGMA, WAVE_OF_COMPONENT, Beats, Floats, P, T


def sinus_rhythm(rng: np.random.Generator, mean: float, duration: float) -> Floats:
    """Return R times from about -2 s on; the intervals have random tones from the spectrum of heart-rate variability."""
    frequency = np.concatenate([rng.normal(0.1, 0.01, 10), rng.normal(0.25, 0.01, 20)])  # power 1 : 2
    phase = rng.uniform(0, 2 * np.pi, frequency.size)
    sd = rng.uniform(1, 4) * mean**2 / 60  # sd of heart rate 1-4 per minute
    r = [-2 - rng.uniform() * mean]
    while r[-1] < duration + 2:
        tones = np.cos(2 * np.pi * frequency * r[-1] + phase).sum()
        r.append(r[-1] + mean + sd * np.sqrt(2 / frequency.size) * tones)
    return np.array(r)


def fibrillation(rng: np.random.Generator, mean: float, duration: float) -> Floats:
    """Return R times with independent gamma intervals, coefficient of variation 0.2, none below 0.3 s."""
    intervals = np.maximum(rng.gamma(25, mean / 25, int((duration + 6) / (0.5 * mean)) + 10), 0.3)
    r = -2 - rng.uniform() * mean + np.cumsum(intervals)
    return r[: np.searchsorted(r, duration + 2) + 1]


def healthy_beats(rng: np.random.Generator, r: Floats, variability: float) -> Beats:
    """Draw a subject and return the waves of its beats."""

    def spread(sd: float, size: int | tuple[int, ...] | None = None) -> Any:
        return np.exp(sd * variability * rng.standard_normal(size))

    def shift(sd: float, size: int | None = None) -> Any:
        return sd * variability * rng.standard_normal(size)

    gain = AMPLITUDE.T * spread(0.15) * spread(0.08, (5, 8))  # (component, lead)
    gain[P] *= P_GAIN
    gain *= np.repeat(spread(0.12, 3), [1, 3, 1])[:, None]  # P, QRS and T by themselves
    angle = np.deg2rad(
        shift(12) + np.repeat(shift(6, 3), [1, 3, 1])
    )  # the frontal axis turns, P, QRS and T nearly together
    x, y = gain[:, 0], (2 * gain[:, 1] - gain[:, 0]) / np.sqrt(3)  # I points to 0, II to 60 degrees
    x, y = x * np.cos(angle) - y * np.sin(angle), x * np.sin(angle) + y * np.cos(angle)
    gain[:, 0], gain[:, 1] = x, (x + np.sqrt(3) * y) / 2
    place = np.arange(6) + shift(0.3)  # the chest electrodes sit a little to one side
    gain[:, 2:] = np.stack([np.interp(place, np.arange(6), row) for row in gain[:, 2:]])

    rr = np.diff(r, prepend=2 * r[0] - r[1])
    stretch = np.sqrt(rr / REFERENCE_RR)
    centre, sigma = np.tile(CENTRE, (r.size, 1)), np.tile(SIGMA, (r.size, 1))
    centre[:, P] += shift(0.008)
    centre[:, T] *= stretch * spread(0.04)
    sigma[:, T] *= stretch
    sigma *= np.repeat(spread(0.06, 3), [1, 3, 1])
    breath = 1 + 0.04 * variability * np.sin(2 * np.pi * (0.25 * r + rng.uniform()))

    none = np.zeros((r.size, 1))
    return Beats(
        r=r,
        centre=np.hstack([centre, none]),
        sigma=np.hstack([sigma, none + 0.05]),
        gain=np.concatenate([gain[None] * breath[:, None, None], np.zeros((r.size, 1, 8))], axis=1),
        order=np.ones(6, dtype=int),
        wave=np.append(WAVE_OF_COMPONENT, 0),
    )


def fibrillation_waves(rng: np.random.Generator, time: Floats) -> Floats:
    """Return fibrillation waves of 5-7 Hz (8, time), most in V1 and the inferior leads."""
    gain = 0.05 * np.array([0.4, 1.0, 1.6, 1.0, 0.7, 0.5, 0.4, 0.4]) * np.exp(0.2 * rng.standard_normal(8))
    wobble = 0.5 * np.sin(2 * np.pi * (rng.uniform(0.1, 0.4) * time + rng.uniform()))
    phase = 2 * np.pi * (rng.uniform(5, 7) * time + rng.uniform()) + wobble
    swell = 1 + 0.3 * np.sin(2 * np.pi * (rng.uniform(0.2, 0.5) * time + rng.uniform()))
    return gain[:, None] * swell * (np.sin(phase) + 0.3 * np.sin(2 * phase + 1))


def baseline_wander(rng: np.random.Generator, time: Floats) -> Floats:
    """Return slow tones of root mean square 1 (8, time), the same in all leads up to their amplitudes."""
    tones = np.sin(2 * np.pi * (rng.uniform(0.05, 0.4, (4, 1)) * time + rng.uniform(size=(4, 1))))
    drift: Floats = rng.standard_normal((8, 4)) * np.sqrt(2 / 4) @ tones
    return drift


def chest_artefact(rng: np.random.Generator, time: Floats, corrupted: NDArray[np.bool_]) -> Floats:
    """Return an artefact (8, time) in one chest lead and mark its cells in `corrupted`; a limb electrode would show in several leads."""
    lead, width = rng.integers(2, 8), rng.uniform(0.4, 0.9)
    start = rng.uniform(0, time[-1] - width)
    cells = (time >= start) & (time < start + width)
    hann = np.sin(np.pi * (time[cells] - start) / width) ** 2
    if rng.uniform() < 0.5:  # the electrode moves
        shape = rng.choice([-1, 1]) * rng.uniform(0.4, 0.9) * hann
    else:  # a muscle contracts
        shape = rng.uniform(0.15, 0.3) * hann * rng.standard_normal(hann.size)
    corrupted[lead, cells] = True
    artefact = np.zeros((8, time.size))
    artefact[lead, cells] = shape
    return artefact
