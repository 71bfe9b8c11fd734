"""WinIT, FIT and feature occlusion as their papers state them: one model call for each prefix, with nothing of tsattr in them.

`probability` maps a prefix (1, features, steps) to the class probabilities (classes,) at its last step; `law` gives the values
of features that are absent from `start` to `stop` (features, stop - start) of one sample. SampleSeries are (features, times) arrays.
`Counter` counts the time steps that the model is asked for.
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

Law = Callable[[int, int, np.ndarray, int], np.ndarray]  # start, stop, absent features, draw -> values


class Counter:
    """A model of prefixes (rows, features, steps) that counts its calls, and the time steps it runs over."""

    def __init__(self, f: Callable[[Tensor], Tensor]) -> None:
        self.f, self.calls, self.steps = f, 0, 0

    def __call__(self, rows: Tensor) -> Tensor:
        self.calls += 1
        self.steps += rows.shape[0] * rows.shape[2]
        with torch.no_grad():
            return self.f(rows)


def divergence(kind: str, p: np.ndarray, q: np.ndarray) -> float:
    if kind == "pd":
        return float(sum(abs(b - a) for a, b in zip(p, q)))
    if kind == "kl":
        return float(sum(a * (np.log(a) - np.log(b)) for a, b in zip(p, q) if a > 0))
    if kind == "js":
        m = [(a + b) / 2 for a, b in zip(p, q)]
        return (divergence("kl", p, m) + divergence("kl", q, m)) / 2
    raise ValueError(kind)


def stretch_losses(
    probability: Callable[[Tensor], np.ndarray],
    x: np.ndarray,
    law: Law,
    window: int,
    draws: int,
    kind: str,
    groups: list[list[int]],
) -> np.ndarray:
    """D (groups, times, lags): mean over draws of the divergence at a + lag with the group absent from a on; NaN elsewhere."""
    times = x.shape[1]
    out = np.full((len(groups), times, window), np.nan)
    for t in range(1, times):
        p = probability(torch.as_tensor(x[None, :, : t + 1]))
        for n in range(min(t, window)):
            a = t - n
            for g, group in enumerate(groups):
                found = []
                for s in range(draws):
                    other = x[:, : t + 1].copy()
                    other[group, a:] = law(a, t + 1, np.array(group), s)
                    found.append(divergence(kind, p, probability(torch.as_tensor(other[None]))))
                out[g, a, n] = np.mean(found)
    return out


def winit(losses: np.ndarray) -> np.ndarray:
    """I (groups, times, lags) from D."""
    out = losses.copy()
    for a in range(losses.shape[1] - 1):
        for n in range(1, losses.shape[2]):
            out[:, a, n] = losses[:, a, n] - losses[:, a + 1, n - 1]
    out[:, 0] = 0
    return out


def aggregate(importance: np.ndarray, how: str) -> np.ndarray:
    """Over the predictions that hold an observation in their window (groups, times)."""
    out = np.zeros(importance.shape[:2])
    for g, a in np.ndindex(*out.shape):
        known = importance[g, a][~np.isnan(importance[g, a])]
        if a > 0:
            largest = max(known, key=lambda v: (abs(v), v))
            out[g, a] = {"mean": known.mean(), "sum": known.sum(), "max": known.max(), "absmax": largest}[how]
    return out


def fit(probability: Callable[[Tensor], np.ndarray], x: np.ndarray, law: Law, draws: int) -> np.ndarray:
    """FIT (features, times) with `law` drawing all features but the one that is kept."""
    out = np.zeros_like(x)
    for t in range(1, x.shape[1]):
        p, before = (probability(torch.as_tensor(x[None, :, :k])) for k in (t + 1, t))
        for i in range(len(x)):
            others = np.array([k for k in range(len(x)) if k != i])
            gain = []
            for s in range(draws):
                other = x[:, : t + 1].copy()
                other[others, t] = law(t, t + 1, others, s)[:, 0]
                q = probability(torch.as_tensor(other[None]))
                gain.append(divergence("kl", p, before) - divergence("kl", p, q))
            out[i, t] = 2 / (1 + np.exp(-5 * np.mean(gain))) - 1
    return out


def steps_of(times: int, features: int, draws: int, window: int) -> int:
    """Time steps of the official call pattern: every prefix once intact, and once for each start, feature and draw."""
    return sum((t + 1) * (1 + features * draws * min(t, window)) for t in range(1, times))
