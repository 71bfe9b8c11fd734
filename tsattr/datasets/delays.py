"""Spike and Delayed Spike: the first spike of one feature switches the label on, at once or some steps later."""

from __future__ import annotations

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy.signal import butter, lfilter

from .benchmark import Bools, Floats, as_dataset, check_sizes, draw_samples

# Of each feature: (a0, a2, a3) of the recursion, trend per step, shift after scaling. Later features are like the last.
_FEATURES = (
    ((0.5, 1.5, 0.5), 0.003, 0.0),
    ((0.5, 1.5, 0.5), 0.065, 0.0),
    ((0.3, 1.5, 0.1), 0.0, -0.5),
)
_NOISE = 0.001
_LAG = 2
_SPIKE_PROBABILITY, _SPIKES, _HEIGHT = 0.3, 3.0, 1.5
_FILTER = {"N": 6, "Wn": 6.8, "fs": 30.0}


def spike(samples: int = 3000, *, delay: int = 0, features: int = 3, times: int = 80, seed: int = 0) -> xr.Dataset:
    """Simulate Spike (``delay=0``) or Delayed Spike: series whose label stays 1 from the first spike of feature 0 on.

    Each feature is a second-order recursion with a trend, scaled by its range, low-pass filtered, plus spikes::

        y[t] = a0 y[t-1] + a2 u[t-2] u[t] + a3,    u ~ U(0, 0.5),  y[-1] = 0
        z[t] = y[t] + e[t] + b t,                  e ~ N(0, 0.001^2)
        x = low_pass(z / (max z - min z) + c) + 1.5 * spikes

    with (a0, a2, a3; b; c) = (.5, 1.5, .5; .003; 0) for feature 0, (.5, 1.5, .5; .065; 0) for feature 1 and
    (.3, 1.5, .1; 0; -.5) for feature 2 and any further one. The published recursion has a fourth term,
    ``a1 y[t-1] * (sum of earlier y)``; in the program that made the data this sum is always empty or over zeros, so
    the term is 0, and is left out here. The filter is a causal Butterworth low-pass of order 6, cutoff 6.8 Hz at 30 Hz.
    A feature has Poisson(3) spikes with probability .3, else none, at different times drawn uniformly.

    With t0 the time of feature 0's first spike, ``label[t] = 1`` for t >= t0 + delay, and the only true cell is
    (feature 0, t0). There are ``.3 (1 - exp(-3)) = .285`` true cells per series; the truth stays where t0 + delay lies
    beyond the end and the label is 0 throughout. The series do not depend on `delay`.

    Parameters
    ----------
    samples : int
        Number of series (3000 take about a second). The first 80 % are suggested for training.
    delay : int
        Steps from the spike to the label; 0 is Spike, 1 to 4 are the published Delayed Spike. The program that made
        the published delayed sets is not public: this is the reading that agrees with their description.
    features, times : int
        Number of features and time steps.
    seed : int
        Sample i depends on `seed`, i, `features` and `times`, never on `samples`. The published arrays were drawn
        without a seed and cannot be made again.

    Returns
    -------
    Dataset
        ``x`` (sample, feature, time), float32 without units; ``label`` (sample, time); ``truth`` and ``spike``
        (sample, feature, time): the cell that decides, and every cell where a spike was added. ``split`` (sample) is
        "train" or "test".

    Raises
    ------
    TypeError, ValueError
        A number that is no integer, or is too small.

    References
    ----------
    S. Tonekaboni, S. Joshi, K. Campbell, D. Duvenaud, A. Goldenberg: What went wrong and when? Instance-wise feature
    importance for time-series black-box models (FIT). NeurIPS 2020.
    K. K. Leung, C. Rooke, J. Smith, S. Zuberi, M. Volkovs: Temporal dependencies in feature importance for time series
    prediction (WinIT; the delayed sets). ICLR 2023.

    Examples
    --------
    >>> ds = spike(20, delay=2, seed=3)
    >>> dict(ds.x.sizes)
    {'sample': 20, 'feature': 3, 'time': 80}
    >>> decides = ds.truth.sel(feature=0)
    >>> first = decides.argmax("time")[decides.any("time")].values
    >>> ds.label.argmax("time")[decides.any("time")].values - first
    array([2, 2, 2, 2, 2])
    """
    check_sizes(seed, samples=(samples, 1), delay=(delay, 0), features=(features, 1), times=(times, 2))

    def draw(rng: np.random.Generator) -> dict[str, NDArray[np.generic]]:
        shape = (features, times)
        return {
            "u": rng.uniform(0, 0.5, (features, _LAG + times)),
            "noise": rng.normal(0, _NOISE, shape),
            "number": np.where(rng.random(features) < _SPIKE_PROBABILITY, rng.poisson(_SPIKES, features), 0),
            "rank": rng.permuted(np.tile(np.arange(times), (features, 1)), axis=1),
        }

    drawn = draw_samples(seed, samples, draw)
    spikes: Bools = drawn["rank"] < drawn["number"][..., None]
    x = low_pass(_base(drawn["u"], drawn["noise"])) + _HEIGHT * spikes
    started = np.logical_or.accumulate(spikes[:, 0], axis=-1)
    truth = np.zeros_like(spikes)
    truth[:, 0] = started & (np.cumsum(started, axis=-1) == 1)
    label = np.zeros((samples, times), dtype=np.int64)
    label[:, delay:] = started[:, : max(times - delay, 0)]
    return as_dataset(
        x,
        {
            "label": (label, f"{delay} steps or more after the first spike of feature 0"),
            "truth": (truth, "the first spike of feature 0"),
            "spike": (spikes, "cells to which a spike was added"),
        },
        title="Delayed Spike" if delay else "Spike",
        source=f"tsattr.datasets.spike(delay={delay}, seed={seed})",
        references="Tonekaboni et al., NeurIPS 2020 (FIT); Leung et al., ICLR 2023 (WinIT)",
        delay=delay,
    )


def narma(u: Floats, a0: float, a2: float, a3: float) -> Floats:
    """Run ``y[t] = a0 y[t-1] + a2 u[t-2] u[t] + a3`` from 0, over the last axis of `u`, which begins at t = -2."""
    y: Floats = lfilter([1.0], [1.0, -a0], a2 * u[..., :-_LAG] * u[..., _LAG:] + a3)
    return y


def low_pass(x: Floats) -> Floats:
    """Filter along the last axis, causally and from rest: Butterworth of order 6, cutoff 6.8 Hz at 30 Hz."""
    filtered: Floats = lfilter(*butter(**_FILTER), x)
    return filtered


def _base(u: Floats, noise: Floats) -> Floats:
    x = np.empty_like(noise)
    step = np.arange(noise.shape[-1])
    for feature in range(noise.shape[1]):
        coefficients, trend, shift = _FEATURES[min(feature, len(_FEATURES) - 1)]
        y = narma(u[:, feature], *coefficients) + noise[:, feature] + trend * step
        x[:, feature] = y / np.ptp(y, axis=-1, keepdims=True) + shift
    return x
