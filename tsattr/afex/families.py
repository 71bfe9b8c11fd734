"""The losses of an additive model's scores, with their links, gradients and curvatures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy import logaddexp
from scipy.special import xlogy

from .basis import quantiles

EFFICIENT = 1.345
"""Width of Huber's loss in standard deviations of normal noise at which 95 % of the efficiency is kept."""
NORMAL_MEDIAN = 0.6744897501960817
"""Median distance of a standard normal value from 0."""
STEEP = 300.0
"""Logarithm at which means are clipped, against overflow."""


class Loss:
    """Base of the losses: what each declares, with defaults."""

    quadratic = False
    """Whether the loss is half the squared error."""
    dispersion = True
    """Whether the size of the noise is estimated."""
    unit = 1.0
    """The scale that the loss is in units of."""

    def rescaled(self, eta: np.ndarray, y: np.ndarray, w: np.ndarray) -> Any:
        """The loss in the scale of the residuals of scores `eta` (n, outputs); itself where it has no scale."""
        return self

    def mean(self, eta: np.ndarray) -> np.ndarray:
        """The predicted mean at scores, of their shape."""
        return eta


@dataclass(frozen=True)
class Identity(Loss):
    """Squared error: the score is the value itself."""

    link = "identity"
    units = "units of the output"
    quadratic = True

    def start(self, y: np.ndarray, w: np.ndarray) -> np.ndarray:
        """The best constant score (outputs,)."""
        return np.average(y, axis=0, weights=w)

    def loss(self, eta: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Loss of each row (n,) at scores `eta` (n, outputs)."""
        loss: np.ndarray = ((y - eta) ** 2).sum(1) / 2
        return loss

    def derivatives(self, eta: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Minus the gradient and the curvature of the loss, both (n, outputs)."""
        return y - eta, np.ones_like(eta)


@dataclass(frozen=True)
class Logit(Loss):
    """Log-loss of two classes: the score is the log-odds of the second."""

    link = "logit"
    units = "log-odds"
    dispersion = False

    def start(self, y: np.ndarray, w: np.ndarray) -> np.ndarray:
        """The best constant score (outputs,)."""
        p = _share(y, w)
        score: np.ndarray = np.log(p / (1 - p))
        return score

    def loss(self, eta: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Loss of each row (n,) at scores `eta` (n, outputs)."""
        loss: np.ndarray = (logaddexp(0, eta) - y * eta).sum(1)
        return loss

    def derivatives(self, eta: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Minus the gradient and the curvature of the loss, both (n, outputs)."""
        p = probability(eta)
        return y - p, p * (1 - p)


@dataclass(frozen=True)
class Softmax(Loss):
    """Log-loss of several classes: the scores are the log-probabilities up to a constant, centred over the classes."""

    link = "softmax"
    units = "log-probability, centred over the classes"
    dispersion = False

    def start(self, y: np.ndarray, w: np.ndarray) -> np.ndarray:
        """The best constant score (outputs,)."""
        score: np.ndarray = np.log(_share(y, w))
        score -= score.mean()
        return score

    def loss(self, eta: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Loss of each row (n,) at scores `eta` (n, outputs)."""
        top = eta.max(1, keepdims=True)
        loss: np.ndarray = np.log(np.exp(eta - top).sum(1)) + top[:, 0] - (y * eta).sum(1)
        return loss

    def derivatives(self, eta: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Minus the gradient and the curvature along one class with the scores centred, both (n, outputs)."""
        p = softmax(eta)
        classes = eta.shape[1]
        return y - p, p * (1 - p) * classes / (classes - 1)


@dataclass(frozen=True)
class Huber(Loss):
    """Squared error up to `width` from the outcome, beyond it the distance: outliers pull with a bounded force (Huber, 1964)."""

    width: float = np.inf
    link = "identity"
    units = "units of the output"

    def start(self, y: np.ndarray, w: np.ndarray) -> np.ndarray:
        """The median, as good as the best constant score (outputs,)."""
        return np.array([quantiles(column, w, np.array([0.5]))[0] for column in y.T])

    def loss(self, eta: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Loss of each row (n,) at scores `eta` (n, outputs)."""
        far = np.abs(y - eta)
        near = np.minimum(far, self.width)
        loss: np.ndarray = (near * (far - near / 2)).sum(1)
        return loss

    def derivatives(self, eta: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Minus the gradient of the loss and the curvature of a square above it that touches it here, both (n, outputs)."""
        left = y - eta
        far = np.abs(left)
        weight = np.divide(self.width, far, out=np.ones_like(far), where=far > self.width)
        return np.clip(left, -self.width, self.width), weight

    def rescaled(self, eta: np.ndarray, y: np.ndarray, w: np.ndarray) -> Huber:
        """With the width that is 95 % efficient for normal noise, in the scale of the median residual; itself if that differs by under 1 %."""
        far = np.abs(y - eta).mean(1)
        scale = float(quantiles(far, w, np.array([0.5]))[0]) or float(np.average(far, weights=w))
        width = EFFICIENT / NORMAL_MEDIAN * scale
        return self if abs(width - self.width) <= 0.01 * width or width == 0 else Huber(width)


class LogLink(Loss):
    """Losses whose score is the logarithm of the mean."""

    link = "log"
    units = "logarithm of the mean"

    def start(self, y: np.ndarray, w: np.ndarray) -> np.ndarray:
        """The best constant score (outputs,)."""
        return np.log(np.average(y, axis=0, weights=w))

    def mean(self, eta: np.ndarray) -> np.ndarray:
        """The predicted mean at scores, of their shape."""
        mean: np.ndarray = np.exp(np.minimum(eta, STEEP))
        return mean


@dataclass(frozen=True)
class Poisson(LogLink):
    """Half the Poisson deviance, for counts and rates; in units of the mean outcome, so that penalties know no units."""

    unit: float = 1.0

    def rescaled(self, eta: np.ndarray, y: np.ndarray, w: np.ndarray) -> Poisson:
        """The loss in units of the mean outcome."""
        return Poisson(float(np.average(y, axis=0, weights=w).mean()))

    def loss(self, eta: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Loss of each row (n,) at scores `eta` (n, outputs)."""
        loss: np.ndarray = (self.mean(eta) - y + xlogy(y, y) - y * eta).sum(1)
        return loss / self.unit

    def derivatives(self, eta: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Minus the gradient and the curvature of the loss, both (n, outputs)."""
        mean = self.mean(eta)
        return (y - mean) / self.unit, mean / self.unit


@dataclass(frozen=True)
class Gamma(LogLink):
    """Half the gamma deviance, for positive outcomes whose noise grows with their mean."""

    def loss(self, eta: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Loss of each row (n,) at scores `eta` (n, outputs)."""
        loss: np.ndarray = (y * self.mean(-eta) - 1 + eta - np.log(y)).sum(1)
        return loss

    def derivatives(self, eta: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Minus the gradient and the expected curvature of the loss, both (n, outputs)."""
        return y * self.mean(-eta) - 1, np.ones_like(eta)


Family = Identity | Logit | Softmax | Huber | Poisson | Gamma
REGRESSION: dict[str, Family] = {
    "squared_error": Identity(),
    "huber": Huber(),
    "poisson": Poisson(),
    "gamma": Gamma(),
}
"""The losses of regression by name."""


def _share(y: np.ndarray, w: np.ndarray) -> np.ndarray:
    """Shares of the classes, half a row from 0 and 1 at least: a part of the rows may lack a class."""
    least = 0.5 / w.sum()
    return np.clip(np.average(y, axis=0, weights=w), least, 1 - least)


def softmax(eta: np.ndarray) -> np.ndarray:
    """Probabilities (n, classes) of scores."""
    e = np.exp(eta - eta.max(1, keepdims=True))
    p: np.ndarray = e / e.sum(1, keepdims=True)
    return p


def probability(eta: np.ndarray) -> np.ndarray:
    """Probability of the second class at log-odds `eta`."""
    p: np.ndarray = 0.5 * (1 + np.tanh(eta / 2))
    return p
