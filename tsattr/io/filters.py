"""Filters and resampling that respect gaps: nothing spreads into them or across them."""

from __future__ import annotations

import math
import warnings
from fractions import Fraction

import numpy as np
import scipy.signal

ORDER = 4


def positive(value: float, name: str, what: str = "rate in Hz") -> float:
    """Give `value` as a float, which must be positive and finite."""
    if not (np.isfinite(value) and value > 0):
        raise ValueError(f"{name} must be a positive {what}, got {value!r}")
    return float(value)


def band_filter(band: tuple[float | None, float | None], rate: float, new_rate: float) -> np.ndarray:
    """Design a Butterworth filter as second-order sections; (low, high) in Hz, either may be None."""
    low, high = band
    nyquist = min(rate, new_rate) / 2
    limits = [x for x in band if x is not None]
    if not limits or not all(0 < x < nyquist for x in limits) or limits != sorted(set(limits)):
        raise ValueError(
            f"band must be (low, high) with 0 < low < high < {nyquist:g} Hz, half the sampling rate, and one of them "
            f"may be None; got {band}"
        )
    kind = "highpass" if high is None else "lowpass" if low is None else "bandpass"
    sections: np.ndarray = scipy.signal.butter(ORDER, np.squeeze(limits), kind, fs=rate, output="sos")
    return sections


def filtered(values: np.ndarray, sos: np.ndarray) -> np.ndarray:
    """Filter each run of finite values forwards and backwards."""
    result = np.full_like(values, np.nan)
    extension = 3 * (2 * len(sos) + 1)
    lost = 0
    for row, out in zip(values, result):
        for a, b in _runs(row):
            if b - a > extension:
                out[a:b] = scipy.signal.sosfiltfilt(sos, row[a:b], padlen=extension)
            else:
                lost += b - a
    if lost:
        warnings.warn(
            f"band: {lost} samples lie in runs of {extension} samples or less between gaps, too short to filter, "
            f"and are now NaN",
            stacklevel=3,
        )
    return result


def rate_ratio(new_rate: float, rate: float) -> Fraction:
    """Give new samples per old one."""
    ratio = Fraction(new_rate / rate).limit_denominator(10_000)
    if abs(float(ratio) * rate / new_rate - 1) > 1e-9:
        raise ValueError(
            f"resample={new_rate:g} is no simple ratio of the sampling rate {rate:g} Hz; take a round rate"
        )
    return ratio


def resampled(values: np.ndarray, ratio: Fraction) -> np.ndarray:
    """Resample each run onto one grid that starts with the first sample: new sample j is at j / ratio old ones."""
    up, down = ratio.numerator, ratio.denominator
    margin = down * math.ceil(10 * max(up, down) / (up * down))  # half the filter's length, in whole steps of the grid
    result = np.full((len(values), math.ceil(values.shape[1] * ratio)), np.nan)
    for row, out in zip(values, result):
        for a, b in _runs(row):
            before = margin + a % down  # so that the extended run starts on a point of the grid
            extended = np.pad(row[a:b], (before, margin), mode="reflect", reflect_type="odd")
            shift = (a - before) // down * up
            lo, hi = math.ceil(a * ratio), math.ceil(b * ratio)
            out[lo:hi] = scipy.signal.resample_poly(extended, up, down)[lo - shift : hi - shift]
    return result


def _runs(values: np.ndarray) -> list[list[int]]:
    """Give start and end of each run of finite values."""
    edges = np.flatnonzero(np.diff(np.isfinite(values), prepend=False, append=False))
    return edges.reshape(-1, 2).tolist()
