"""The waves of a heart beat in twelve leads, and what diseases do to them.

A record is a table of Gaussian waves (`Beats`); a lesion is a function that edits the table.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .delineation import WAVES
from .leads import CHEST_LEADS, LIMB_FROM_I_II

Floats = NDArray[np.float64]

INDEPENDENT_LEADS = ("I", "II", *CHEST_LEADS)

# Median of 204 normal PTB-XL records (100 Hz, 0.5-40 Hz, median RR 0.895 s): components P, Q, R, S, T. They are fitted
# Gaussians that overlap, not clinical Q, R and S amplitudes.
CENTRE = np.array([-0.146, -0.018, 0.0, 0.015, 0.244])  # s from R
SIGMA = np.array([0.0215, 0.0091, 0.0111, 0.0105, 0.0502])  # s
AMPLITUDE = np.array(  # mV, rows as INDEPENDENT_LEADS
    [
        [0.052, -0.060, 0.688, -0.198, 0.173],
        [0.074, -0.121, 0.977, -0.234, 0.198],
        [-0.010, 0.272, -0.633, -0.291, 0.013],
        [0.012, 0.503, -0.551, -0.775, 0.397],
        [0.023, 0.136, 0.986, -0.885, 0.406],
        [0.031, -0.065, 1.488, -0.683, 0.331],
        [0.032, -0.156, 1.480, -0.472, 0.260],
        [0.034, -0.183, 1.195, -0.229, 0.200],
    ]
)
REFERENCE_RR = 0.895  # s
P_GAIN = 1.5  # the median over records whose P waves are not aligned is too low (judgement)

P, Q, R, S, T, EXTRA = range(6)
QRS = slice(Q, S + 1)
WAVE_OF_COMPONENT = np.array([1, 2, 2, 2, 4])  # indices into WAVES

ALL_FROM_INDEPENDENT = np.zeros((12, 8))
ALL_FROM_INDEPENDENT[:6, :2] = LIMB_FROM_I_II
ALL_FROM_INDEPENDENT[6:, 2:] = np.eye(6)


@dataclass(frozen=True)
class Beats:
    """The waves of one record, ``gain * exp(-((t - r - centre) / sigma)^(2 order) / 2)`` for each beat and component.

    The sixth component is empty in health and there for lesions to use.
    """

    r: Floats  # (beat,) s
    centre: Floats  # (beat, component) s from R
    sigma: Floats  # (beat, component) s
    gain: Floats  # (beat, component, 8 leads) mV
    order: NDArray[np.int_]  # (component,): 1 a Gaussian, 2 a plateau with soft edges
    wave: NDArray[np.int_]  # (component,): index into WAVES

    @property
    def support(self) -> Floats:
        """Start and stop of every wave (beat, component, 2): where it exceeds exp(-9/2) of its peak (3 sigma)."""
        half = self.sigma * 9 ** (0.5 / self.order)
        middle = self.r[:, None] + self.centre
        return np.stack([middle - half, middle + half], axis=-1)

    def signal(self, time: Floats) -> Floats:
        """Give the eight independent leads (8, time) in mV."""
        ecg = np.zeros((8, time.size))
        # Beyond this reach every wave is below 1e-12 of its peak.
        reach = np.searchsorted(time, np.stack([self.r - 0.6, self.r + 1.2], axis=1))
        for b, (first, last) in enumerate(reach):
            z = (time[first:last] - self.r[b] - self.centre[b][:, None]) / self.sigma[b][:, None]
            ecg[:, first:last] += self.gain[b].T @ np.exp(-0.5 * (z**2) ** self.order[:, None])
        return ecg


Lesion = Callable[[Beats, np.random.Generator, float], Beats]


def _gains(**leads: float) -> Floats:
    return np.array([leads.get(name, 0.0) for name in INDEPENDENT_LEADS])


def _scaled(beats: Beats, components: int | slice, factor: Floats | float) -> Beats:
    gain = beats.gain.copy()
    gain[:, components] *= factor
    return replace(beats, gain=gain)


def _with_extra(beats: Beats, centre: Any, sigma: Any, gain: Floats, order: int, wave: int) -> Beats:
    new = {name: getattr(beats, name).copy() for name in ("centre", "sigma", "gain", "order", "wave")}
    for name, value in (("centre", centre), ("sigma", sigma), ("gain", gain)):
        new[name][:, EXTRA] = value
    new["order"][EXTRA], new["wave"][EXTRA] = order, wave
    return replace(beats, **new)


def _st_elevation(**leads: float) -> Lesion:
    """Raise a plateau of 0.05 to 0.20 s after R."""
    half = 0.075

    def lesion(beats: Beats, rng: np.random.Generator, duration: float) -> Beats:
        return _with_extra(beats, 0.125, half / 9 ** (1 / 4), _gains(**leads) * rng.uniform(0.8, 1.2), order=2, wave=0)

    return lesion


def _peaked_t(beats: Beats, rng: np.random.Generator, duration: float) -> Beats:
    """Make T three times as high and 0.6 as wide in V2 to V4."""
    where = _gains(V2=1, V3=1, V4=1)
    tall = beats.gain[:, T] * where * 3
    flat = _scaled(beats, T, 1 - where)
    return _with_extra(flat, beats.centre[:, T], 0.6 * beats.sigma[:, T], tall, order=1, wave=WAVES.index("T"))


def _t_inversion(beats: Beats, rng: np.random.Generator, duration: float) -> Beats:
    return _scaled(beats, T, 1 - 2 * _gains(V2=1, V3=1, V4=1, V5=1))


def _lvh(beats: Beats, rng: np.random.Generator, duration: float) -> Beats:
    """Double the voltage: the negative components of V1 and V2, R of V5 and V6."""
    right = 1 + _gains(V1=1, V2=1)
    return _scaled(_scaled(_scaled(beats, R, right), S, right), R, 1 + _gains(V5=1, V6=1))


def _pathologic_q(beats: Beats, rng: np.random.Generator, duration: float) -> Beats:
    """Begin QRS with a Q of -0.3 mV, 40 ms wide, in the inferior leads."""
    return _with_extra(
        beats, -0.03, 0.04 / 3, _gains(II=-0.3) * rng.uniform(0.8, 1.2), order=1, wave=WAVES.index("QRS")
    )


def _pvc(beats: Beats, rng: np.random.Generator, duration: float) -> Beats:
    """Make one to three beats early (0.6 RR), wide, without P and with opposite T; the other beats keep their places.

    So the pause after them is 1.4 RR, compensatory.
    """
    inside = np.flatnonzero((beats.r > 0.8) & (beats.r < duration - 0.3))
    wanted = rng.integers(1, 4)
    chosen: list[int] = []
    for b in rng.permutation(inside):
        if len(chosen) < wanted and all(abs(b - other) > 1 for other in chosen):
            chosen.append(b)
    r, centre, sigma, gain = beats.r.copy(), beats.centre.copy(), beats.sigma.copy(), beats.gain.copy()
    r[chosen] -= 0.4 * (beats.r[chosen] - beats.r[np.array(chosen) - 1])
    direction = 1.2 * gain[chosen, R] + 0.5 * gain[chosen, S]
    gain[chosen, P] = 0
    gain[chosen, Q] = 0
    gain[chosen, R], gain[chosen, S] = direction, -0.25 * direction
    gain[chosen, T] = -0.35 * direction
    sigma[chosen, QRS] *= 2.2
    centre[chosen, S] = 0.06
    centre[chosen, T] += 0.05
    return replace(beats, r=r, centre=centre, sigma=sigma, gain=gain)


def _av_block(beats: Beats, rng: np.random.Generator, duration: float) -> Beats:
    """Move P 0.08 s away from QRS (first degree)."""
    centre = beats.centre.copy()
    centre[:, P] -= 0.08
    return replace(beats, centre=centre)


def _no_p(beats: Beats, rng: np.random.Generator, duration: float) -> Beats:
    return _scaled(beats, P, 0)


LESIONS: dict[str, Lesion] = {
    "st_elevation_anterior": _st_elevation(V1=0.2, V2=0.3, V3=0.3, V4=0.2),
    "st_elevation_inferior": _st_elevation(II=0.25),
    "peaked_t": _peaked_t,
    "t_inversion": _t_inversion,
    "lvh": _lvh,
    "pathologic_q": _pathologic_q,
    "pvc": _pvc,
    "av_block": _av_block,
    "af": _no_p,  # the irregular rhythm and the f-waves are made in `_record`
}
"""The lesions by name; each edits the waves of a record."""
