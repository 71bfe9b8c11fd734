"""State and Switch-Feature: a hidden state says which feature the label depends on."""

from __future__ import annotations

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from .benchmark import Bools, Floats, as_dataset, check_sizes, draw_samples, sigmoid

_FEATURES = 3
_EVERY_STEP = "the feature that the label depends on, at every step"

STATE_MEAN = np.array([[0.1, 1.6, 0.5], [-0.1, -0.4, -1.5]])
STATE_IMPORTANT = np.array([1, 2])
STATE_VARIANCE, STATE_COVARIANCE = 0.801, 0.01
_SLOPE = 2.0

SWITCH_MEAN = np.array([[0.8, -0.5, -0.2], [0.0, -1.0, 0.0], [-0.2, -0.2, 0.8]])
SWITCH_TRANSITION = np.array([[0.95, 0.02, 0.03], [0.02, 0.95, 0.03], [0.03, 0.02, 0.95]])
SWITCH_VARIANCE, SWITCH_LENGTH = 0.1, 0.2
_SWITCH_SLOPE = 3.0


def state(samples: int = 1000, *, times: int = 200, seed: int = 234) -> xr.Dataset:
    """Simulate State: two hidden states, each with its own mean, covariance and important feature.

    ::

        s[-1] ~ Bernoulli(.5)
        P(s[t] = 1 | s[t-1] = 1) = .95 - d / 500,   P(s[t] = 1 | s[t-1] = 0) = .05
        x[t] ~ N(m_s, Sigma_s),   m_0 = (.1, 1.6, .5),   m_1 = (-.1, -.4, -1.5)
        label[t] ~ Bernoulli(1 / (1 + exp(-2 x[t, k_s]))),   k_0 = 1,   k_1 = 2

    d is the number of steps that repeated the state before t, so stays in state 1 end sooner (a probability below 0
    would be 0). Sigma_s has .801 on its diagonal and .01 between feature 0 and the important feature k_s, else 0.

    **Two truths are in use, and methods rank differently on them.** ``truth_change`` (FIT, WinIT) marks k_s where the
    state changes and at time 0: 2 % of the cells. ``truth_every_step`` (Dynamask, and what followed it) marks k_s at
    every step: one third of the cells. Say which one a score belongs to.

    Parameters
    ----------
    samples, times : int
        Number of series (the first 80 % are suggested for training) and of time steps. FIT's own default is 100 steps;
        the later papers have 200.
    seed : int
        Sample i depends on `seed`, i and `times`, never on `samples`.

    Returns
    -------
    Dataset
        ``x`` (sample, feature, time), float32 without units; ``label`` and ``state`` (sample, time);
        ``truth_change`` and ``truth_every_step`` (sample, feature, time). ``split`` (sample) is "train" or "test".

    Raises
    ------
    TypeError, ValueError
        A number that is no integer, or is too small.

    References
    ----------
    S. Tonekaboni et al.: What went wrong and when? (FIT). NeurIPS 2020.
    J. Crabbé, M. van der Schaar: Explaining time series predictions with dynamic masks (Dynamask). ICML 2021.
    K. K. Leung et al.: Temporal dependencies in feature importance for time series prediction (WinIT). ICLR 2023.

    Examples
    --------
    >>> ds = state(50)
    >>> dict(ds.x.sizes)
    {'sample': 50, 'feature': 3, 'time': 200}
    >>> bool((ds.truth_every_step.sum("feature") == 1).all())
    True
    >>> bool(ds.truth_change.isel(time=0).any("feature").all())
    True
    """
    check_sizes(seed, samples=(samples, 1), times=(times, 1))

    def draw(rng: np.random.Generator) -> dict[str, NDArray[np.generic]]:
        return {"state": rng.random(times + 1), "x": rng.standard_normal((_FEATURES, times)), "y": rng.random(times)}

    drawn = draw_samples(seed, samples, draw)
    states, changed = _two_states(drawn["state"])
    x = STATE_MEAN[states] + np.einsum("stij,sjt->sti", _roots()[states], drawn["x"])
    important = _one_hot(STATE_IMPORTANT[states])
    changed[:, 0] = True
    return as_dataset(
        x.transpose(0, 2, 1),
        {
            "label": (_labels(x, important, _SLOPE, drawn["y"]), "label"),
            "state": (states, "hidden state"),
            "truth_change": _cells(important & changed[..., None], "the important feature where the state changes"),
            "truth_every_step": _cells(important, _EVERY_STEP),
        },
        title="State",
        source=f"tsattr.datasets.state(times={times}, seed={seed})",
        references="Tonekaboni et al., NeurIPS 2020 (FIT); Crabbé and van der Schaar, ICML 2021 (Dynamask)",
        truth_change_used_by="FIT (NeurIPS 2020), WinIT (ICLR 2023)",
        truth_every_step_used_by="Dynamask (ICML 2021), time_interpret (2023), ContraLSP (ICLR 2024)",
    )


def switch_feature(samples: int = 1000, *, times: int = 100, seed: int = 42) -> xr.Dataset:
    """Simulate Switch-Feature: three hidden states, in each of which another feature matters.

    ::

        s[0] ~ Bernoulli(1/3), so never 2;   P(s[t] | s[t-1]) = [[.95 .02 .03] [.02 .95 .03] [.03 .02 .95]]
        x_i[t] = m_s,i + g_i[t];   m_0 = (.8, -.5, -.2),   m_1 = (0, -1, 0),   m_2 = (-.2, -.2, .8)
        label[t] ~ Bernoulli(1 / (1 + exp(-3 x[t, s]))):  feature s matters in state s

    g_i is a Gaussian process with covariance ``.1 exp(-(t - t')^2 / (2 * .2^2))`` inside a stay in one state, and starts
    afresh in the next: over unit steps this is nearly white noise (correlation 4e-6).

    ``truth_change`` is that of FIT: feature s where the state changes and at time 0, **and feature 2 at every change**,
    which looks like a slip (``truth_change & truth_every_step`` is without it). ``truth_every_step`` is that of ContraLSP
    and time_interpret: feature s at every step.

    Parameters
    ----------
    samples, times : int
        Number of series (the first 80 % are suggested for training) and of time steps.
    seed : int
        Sample i depends on `seed`, i and `times`, never on `samples`.

    Returns
    -------
    Dataset
        As of `state`.

    Raises
    ------
    TypeError, ValueError
        A number that is no integer, or is too small.

    References
    ----------
    S. Tonekaboni et al.: What went wrong and when? (FIT). NeurIPS 2020.
    Z. Liu et al.: Explaining time series via contrastive and locally sparse perturbations (ContraLSP). ICLR 2024.

    Examples
    --------
    >>> ds = switch_feature(50)
    >>> dict(ds.x.sizes), np.unique(ds.state).tolist()
    ({'sample': 50, 'feature': 3, 'time': 100}, [0, 1, 2])
    >>> bool((ds.truth_every_step.argmax("feature") == ds.state).all())
    True
    """
    check_sizes(seed, samples=(samples, 1), times=(times, 1))

    def draw(rng: np.random.Generator) -> dict[str, NDArray[np.generic]]:
        return {"state": rng.random(times), "x": rng.standard_normal((times, _FEATURES)), "y": rng.random(times)}

    drawn = draw_samples(seed, samples, draw)
    states = _three_states(drawn["state"])
    changed = np.zeros(states.shape, dtype=bool)
    changed[:, 1:] = np.diff(states) != 0
    x = SWITCH_MEAN[states] + _restarted_process(drawn["x"], changed)
    important = _one_hot(states)
    truth = important & changed[..., None]
    truth[:, 0] = important[:, 0]
    truth[..., 2] |= changed
    return as_dataset(
        x.transpose(0, 2, 1),
        {
            "label": (_labels(x, important, _SWITCH_SLOPE, drawn["y"]), "label"),
            "state": (states, "hidden state"),
            "truth_change": _cells(truth, "the important feature, and feature 2, where the state changes"),
            "truth_every_step": _cells(important, _EVERY_STEP),
        },
        title="Switch-Feature",
        source=f"tsattr.datasets.switch_feature(times={times}, seed={seed})",
        references="Tonekaboni et al., NeurIPS 2020 (FIT); Liu et al., ICLR 2024 (ContraLSP)",
        truth_change_used_by="FIT (NeurIPS 2020)",
        truth_every_step_used_by="time_interpret (2023), ContraLSP (ICLR 2024)",
    )


def _two_states(uniform: Floats) -> tuple[NDArray[np.int64], Bools]:
    """Give the states (sample, time) and where they differ from the state before; `uniform` begins at t = -1."""
    samples, times = uniform.shape[0], uniform.shape[1] - 1
    states, changed = np.empty((samples, times), dtype=np.int64), np.empty((samples, times), dtype=bool)
    before, repeats = (uniform[:, 0] < 0.5).astype(np.int64), np.zeros(samples)
    for t in range(times):
        one = np.where(before == 1, 0.95 - repeats / 500, 0.05)
        states[:, t] = uniform[:, t + 1] < one
        changed[:, t] = states[:, t] != before
        repeats = np.where(changed[:, t], 0, repeats + 1)
        before = states[:, t]
    return states, changed


def _three_states(uniform: Floats) -> NDArray[np.int64]:
    cumulative = SWITCH_TRANSITION.cumsum(axis=1)[:, :-1]
    states = np.empty(uniform.shape, dtype=np.int64)
    states[:, 0] = uniform[:, 0] < 1 / 3
    for t in range(1, uniform.shape[1]):
        states[:, t] = (uniform[:, t, None] >= cumulative[states[:, t - 1]]).sum(axis=1)
    return states


def _roots() -> Floats:
    """Cholesky factors (state, feature, feature) of the covariances of State."""
    covariance = np.tile(STATE_VARIANCE * np.eye(_FEATURES), (len(STATE_IMPORTANT), 1, 1))
    for s, k in enumerate(STATE_IMPORTANT):
        covariance[s, 0, k] = covariance[s, k, 0] = STATE_COVARIANCE
    return np.linalg.cholesky(covariance)


def _restarted_process(normal: Floats, changed: Bools) -> Floats:
    """Turn white noise (sample, time, feature) into Gaussian processes that start afresh at each change."""
    times = np.arange(normal.shape[1])
    start = np.maximum.accumulate(np.where(changed, times, 0), axis=1)
    position = times - start
    root = np.linalg.cholesky(SWITCH_VARIANCE * np.exp(-0.5 * ((times[:, None] - times) / SWITCH_LENGTH) ** 2))
    x = np.zeros_like(normal)
    for lag in range(len(times)):
        weight = np.pad(root.diagonal(-lag), (lag, 0))  # of the noise `lag` steps ago, by position in the stay
        if weight.max() < 1e-16:  # exp(-50) from lag 2 on: far below rounding
            break
        x[:, lag:] += weight[position[:, lag:], None] * normal[:, : len(times) - lag]
    return x


def _one_hot(feature: NDArray[np.int64]) -> Bools:
    one_hot: Bools = feature[..., None] == np.arange(_FEATURES)
    return one_hot


def _labels(x: Floats, important: Bools, slope: float, uniform: Floats) -> NDArray[np.int64]:
    """Draw labels (sample, time) from the important feature of `x` (sample, time, feature)."""
    decides = np.where(important, x, 0).sum(axis=-1)
    return (uniform < sigmoid(slope * decides)).astype(np.int64)


def _cells(truth: Bools, text: str) -> tuple[Bools, str]:
    return truth.transpose(0, 2, 1), text
