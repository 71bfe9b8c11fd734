"""What the scores of an additive model stand for: the loss of each, its gradient and its curvature."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy import logaddexp


@dataclass(frozen=True)
class Identity:
    """Squared error: the score is the value itself."""

    link = "identity"
    units = "units of the output"
    dispersion = True

    def start(self, y: np.ndarray, w: np.ndarray) -> np.ndarray:
        """The best constant score (outputs,)."""
        return np.average(y, axis=0, weights=w)

    def loss(self, eta: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Loss of each row (n,) at scores `eta` (n, outputs)."""
        return ((y - eta) ** 2).sum(1) / 2

    def slopes(self, eta: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Minus the gradient and the curvature of the loss, both (n, outputs)."""
        return y - eta, np.ones_like(eta)


@dataclass(frozen=True)
class Logit:
    """Log-loss of two classes: the score is the log-odds of the second."""

    link = "logit"
    units = "log-odds"
    dispersion = False

    def start(self, y: np.ndarray, w: np.ndarray) -> np.ndarray:
        """The best constant score (outputs,)."""
        p = _share(y, w)
        return np.log(p / (1 - p))

    def loss(self, eta: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Loss of each row (n,) at scores `eta` (n, outputs)."""
        return (logaddexp(0, eta) - y * eta).sum(1)

    def slopes(self, eta: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Minus the gradient and the curvature of the loss, both (n, outputs)."""
        p = _half(eta)
        return y - p, p * (1 - p)


@dataclass(frozen=True)
class Softmax:
    """Log-loss of several classes: the scores are the log-probabilities up to a constant, centred over the classes."""

    link = "softmax"
    units = "log-probability, centred over the classes"
    dispersion = False

    def start(self, y: np.ndarray, w: np.ndarray) -> np.ndarray:
        """The best constant score (outputs,)."""
        score = np.log(_share(y, w))
        return score - score.mean()

    def loss(self, eta: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Loss of each row (n,) at scores `eta` (n, outputs)."""
        top = eta.max(1, keepdims=True)
        return np.log(np.exp(eta - top).sum(1)) + top[:, 0] - (y * eta).sum(1)

    def slopes(self, eta: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Minus the gradient and the curvature along one class with the scores centred, both (n, outputs)."""
        p = softmax(eta)
        classes = eta.shape[1]
        return y - p, p * (1 - p) * classes / (classes - 1)


Family = Identity | Logit | Softmax


def _share(y: np.ndarray, w: np.ndarray) -> np.ndarray:
    """Shares of the classes, half a row from 0 and 1 at least: a part of the rows may lack a class."""
    least = 0.5 / w.sum()
    return np.clip(np.average(y, axis=0, weights=w), least, 1 - least)


def _half(eta: np.ndarray) -> np.ndarray:
    return 0.5 * (1 + np.tanh(eta / 2))


def softmax(eta: np.ndarray) -> np.ndarray:
    """Probabilities (n, classes) of scores."""
    e: Any = np.exp(eta - eta.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


def probability(eta: np.ndarray) -> np.ndarray:
    """Probability of the second class at log-odds `eta`."""
    return _half(eta)
