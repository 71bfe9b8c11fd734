"""A table of patients with a known risk: numbers, categories and missing values, and the exact share of each column."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from .benchmark import check_sizes

Floats = NDArray[np.float64]

_COLUMNS = {
    "age": "years",
    "temperature": "degC",
    "lactate": "mmol/L",
    "systolic_pressure": "mmHg",
    "heart_rate": "1/min",
    "ward": "",
    "potassium": "mmol/L",
    "weekday": "",
}
_WARDS = {"surgical": (0.45, -0.4), "medical": (0.35, 0.0), "cardiac": (0.15, 0.4), "trauma": (0.05, 0.9)}
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_LACTATE = 0.4, 0.6, 0.15  # mean and sd of its logarithm, share not measured
_STEPS = ((2.0, 0.9), (4.0, 1.1))
_SHOCK = 1.6
_INTERCEPT = -2.6


def simulate_risk(samples: int = 2000, *, seed: int = 0) -> xr.Dataset:
    """Simulate patients whose log-odds of an outcome are a known sum of shapes, with one interaction.

    ``log-odds = -2.6 + .04 max(age - 55, 0) + .5 (temperature - 37)^2 + .9 [lactate > 2] + 1.1 [lactate > 4]
    - .5 [lactate not measured] + 1.6 [systolic < 100][heart rate > 100] + ward``, with -.4, 0, .4 and .9 for surgical, medical,
    cardiac and trauma wards. Columns are independent; potassium and the weekday have no effect. A kink, a bowl, steps, a
    product, levels of which one is rare, and missing values: what shape functions should show, and black boxes should have
    learnt.

    Parameters
    ----------
    samples
        Number of patients.
    seed
        Row i depends on `seed` and i alone, never on `samples`.

    Returns
    -------
    Dataset
        One variable (sample) for each column named in the coordinate ``feature``, with ``units``; ``outcome`` (0 or 1),
        ``log_odds``, and ``truth`` (sample, feature): the exact Shapley value of each column for the log-odds against the
        population, which for an additive function of independent columns is its shape less the shape's mean, and half of the
        pure interaction. Rows of ``truth`` sum to the log-odds less their mean, ``truth.attrs["mean"]``. As a table:
        ``ds[ds.feature.values.tolist()].to_dataframe()``.

    Raises
    ------
    TypeError, ValueError
        A number of samples that is no integer, or below 1.

    Examples
    --------
    >>> ds = simulate_risk(500)
    >>> frame = ds[ds.feature.values.tolist()].to_dataframe()
    >>> frame.shape, sorted(frame.ward.unique())
    ((500, 8), ['cardiac', 'medical', 'surgical', 'trauma'])
    >>> gap = ds.truth.sum("feature") + ds.truth.attrs["mean"] - ds.log_odds
    >>> bool(abs(gap).max() < 1e-12)
    True
    """
    check_sizes(seed, samples=(samples, 1))
    # A generator for each column, so that the first rows do not depend on how many follow.
    rng = [np.random.default_rng((seed, j)) for j in range(len(_COLUMNS) + 2)]
    wards, chances = list(_WARDS), [p for p, _ in _WARDS.values()]
    middle, spread, unknown = _LACTATE
    measured = rng[8].random(samples) >= unknown
    columns = {
        "age": rng[0].uniform(20, 90, samples),
        "temperature": rng[1].normal(37, 0.8, samples),
        "lactate": np.where(measured, np.exp(rng[2].normal(middle, spread, samples)), np.nan),
        "systolic_pressure": rng[3].normal(115, 20, samples),
        "heart_rate": rng[4].normal(90, 18, samples),
        "ward": np.array(wards)[rng[5].choice(len(wards), samples, p=chances)],
        "potassium": rng[6].normal(4.2, 0.5, samples),
        "weekday": np.array(_DAYS)[rng[7].integers(0, len(_DAYS), samples)],
    }
    shapes, mean = _shares(columns)
    log_odds = mean + sum(shapes.values())
    ds = xr.Dataset({k: ("sample", v, {"units": u} if (u := _COLUMNS[k]) else {}) for k, v in columns.items()})
    ds["outcome"] = "sample", (rng[9].random(samples) < 1 / (1 + np.exp(-log_odds))).astype(np.int64)
    ds["log_odds"] = "sample", log_odds
    names = list(_COLUMNS)
    truth = np.stack([shapes.get(k, np.zeros(samples)) for k in names], 1)
    ds["truth"] = ("sample", "feature"), truth, {"long_name": "exact share of the log-odds", "mean": mean}
    return ds.assign_coords(sample=np.arange(samples), feature=names)


def _shares(columns: dict[str, NDArray[Any]]) -> tuple[dict[str, Floats], float]:
    """Each column's shape less its mean, with its half of the pure interaction, and the mean of the log-odds."""
    lactate = columns["lactate"]
    known = ~np.isnan(lactate)
    middle, spread, unknown = _LACTATE
    tails = [_above((math.log(at) - middle) / spread) for at, _ in _STEPS]
    steps = sum(height * (np.nan_to_num(lactate) > at) for at, height in _STEPS) - 0.5 * ~known
    levels = {k: v for k, (_, v) in _WARDS.items()}
    means = {
        "age": 0.04 * 35**2 / (2 * 70),  # of a ramp that begins 35 years before the end of 70 even years
        "temperature": 0.5 * 0.8**2,
        "lactate": (1 - unknown) * sum(h * p for (_, h), p in zip(_STEPS, tails)) - 0.5 * unknown,
        "ward": sum(p * v for p, v in _WARDS.values()),
    }
    whole = {
        "age": 0.04 * np.maximum(columns["age"] - 55, 0),
        "temperature": 0.5 * (columns["temperature"] - 37) ** 2,
        "lactate": np.asarray(steps, float),
        "ward": np.array([levels[w] for w in columns["ward"]]),
    }
    low, fast = (columns["systolic_pressure"] < 100).astype(float), (columns["heart_rate"] > 100).astype(float)
    p, q = _above((115 - 100) / 20), _above((100 - 90) / 18)
    pure = (low - p) * (fast - q) / 2
    out = {k: v - means[k] for k, v in whole.items()}
    out |= {
        "systolic_pressure": _SHOCK * ((low - p) * q + pure),
        "heart_rate": _SHOCK * ((fast - q) * p + pure),
    }
    return out, _INTERCEPT + sum(means.values()) + _SHOCK * p * q


def _above(z: float) -> float:
    """The probability that a standard normal number is larger."""
    return math.erfc(z / math.sqrt(2)) / 2
