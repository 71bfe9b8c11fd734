"""Tables whose additive model is known: the score f, its purified mains and pairs in closed form, and draws from it.

Features are uniform on a box, independent but where a case says otherwise. The truth is the functional ANOVA of f under the
product of the marginals: mains of mean 0, pairs of mean 0 along each of their features.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
from scipy.special import expit, ndtr, sici

Function = Callable[[np.ndarray], np.ndarray]
Surface = Callable[[np.ndarray, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Draw:
    """Rows to fit and fresh rows to test on, with the noiseless score of these."""

    x: np.ndarray
    y: np.ndarray
    x_test: np.ndarray
    f_test: np.ndarray


@dataclass(frozen=True)
class Case:
    """A score `f` of rows (n, features) on [low, high], its `mean`, and all its `mains` and `pairs`.

    noise
        Standard deviation of the noise; None for a third of that of f.
    outcome
        What is observed given (f, noise, x, rng): f + noise unless a case says otherwise.
    correlation
        Of the normal scores of any two features in `together`; 0 for independent features.
    """

    name: str
    features: int
    low: float
    high: float
    f: Function
    mean: float
    mains: Mapping[int, Function]
    pairs: Mapping[tuple[int, int], Surface] = field(default_factory=dict)
    noise: float | None = None
    outcome: Callable[[np.ndarray, float, np.ndarray, np.random.Generator], np.ndarray] | None = None
    correlation: float = 0.0
    together: tuple[int, ...] = ()
    classifies: bool = False

    def rows(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """Draw rows (n, features); a normal copula gives correlated features uniform marginals."""
        u = rng.random((n, self.features))
        if self.together:
            shared = rng.normal(size=(n, 1))
            own = rng.normal(size=(n, len(self.together)))
            u[:, self.together] = ndtr(np.sqrt(self.correlation) * shared + np.sqrt(1 - self.correlation) * own)
        return self.low + (self.high - self.low) * u

    def draw(self, seed: int, n: int = 2000, n_test: int = 10_000) -> Draw:
        """Draw a training set and a test set."""
        rng = np.random.default_rng(seed)
        x, x_test = self.rows(n, rng), self.rows(n_test, rng)
        f_test = self.f(x_test)
        noise = f_test.std() / 3 if self.noise is None else self.noise
        return Draw(x, (self.outcome or added)(self.f(x), noise, x, rng), x_test, f_test)


def added(f: np.ndarray, noise: float, x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Observe f with normal noise."""
    return f + noise * rng.normal(size=len(f))


def contaminated(f: np.ndarray, noise: float, x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Observe f with noise that grows threefold along the first feature, and each fiftieth value far off."""
    noise = noise * (1 + x[:, 0] / 2)
    far = np.where(rng.random(len(f)) < 0.02, 5.0, 1.0)
    return f + noise * far * rng.normal(size=len(f))


def drawn(f: np.ndarray, noise: float, x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Observe one of two classes whose log-odds are f."""
    return (rng.random(len(f)) < expit(f)).astype(int)


# Means over [-1, 1] and [0, 1] that the closed forms subtract.
EXP_MEAN = np.sinh(1.0)
SINE_PRODUCT_MEAN = 10 / np.pi * (np.euler_gamma + np.log(np.pi) - sici(np.pi)[1])


def sine_product_main(x: np.ndarray) -> np.ndarray:
    """Mean of 10 sin(pi x t) over t in [0, 1], 10 (1 - cos(pi x)) / (pi x), less its own mean."""
    return 10 * np.sin(np.pi * x / 2) * np.sinc(x / 2) - SINE_PRODUCT_MEAN


def sine_product_pair(x: np.ndarray, t: np.ndarray) -> np.ndarray:
    return 10 * np.sin(np.pi * x * t) - sine_product_main(x) - sine_product_main(t) - SINE_PRODUCT_MEAN


def three_heights(x: np.ndarray) -> np.ndarray:
    return np.select([x < -0.5, x < 0.4], [-1.0, 0.5], -0.25)


def saw(x: np.ndarray) -> np.ndarray:
    return 2 * ((1.5 * x) % 1) - 1


def side(x: np.ndarray) -> np.ndarray:
    """The sign of x, 1 at 0, so that no value is left without a side."""
    return np.where(x >= 0, 1.0, -1.0)


def third(x: np.ndarray) -> np.ndarray:
    """Which third of [-1, 1]: 0, 1 or 2."""
    return np.clip(np.floor(1.5 * (x + 1)), 0, 2)


def latin(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """-1.5, 0 or 1.5 by thirds, each once in every row and column of thirds: a surface without any main."""
    return 1.5 * ((third(a) + third(b)) % 3 - 1)


PUBLISHED = (
    Case(
        "friedman1",
        features=10,
        low=0,
        high=1,
        f=lambda x: 10 * np.sin(np.pi * x[:, 0] * x[:, 1]) + 20 * (x[:, 2] - 0.5) ** 2 + 10 * x[:, 3] + 5 * x[:, 4],
        mean=SINE_PRODUCT_MEAN + 5 / 3 + 5 + 2.5,
        mains={
            0: sine_product_main,
            1: sine_product_main,
            2: lambda x: 20 * (x - 0.5) ** 2 - 5 / 3,
            3: lambda x: 10 * x - 5,
            4: lambda x: 5 * x - 2.5,
        },
        pairs={(0, 1): sine_product_pair},
        noise=1.0,
    ),
    Case(
        "additive_smooth",
        features=8,
        low=-1,
        high=1,
        f=lambda x: (
            2 * np.sin(3 * x[:, 0]) + 2 * x[:, 1] ** 2 + 1.5 * np.abs(x[:, 2]) + 0.7 * np.exp(x[:, 3]) + x[:, 4]
        ),
        mean=2 / 3 + 0.75 + 0.7 * EXP_MEAN,
        mains={
            0: lambda x: 2 * np.sin(3 * x),
            1: lambda x: 2 * x**2 - 2 / 3,
            2: lambda x: 1.5 * np.abs(x) - 0.75,
            3: lambda x: 0.7 * (np.exp(x) - EXP_MEAN),
            4: lambda x: x,
        },
    ),
    Case(
        "additive_jumpy",
        features=6,
        low=-1,
        high=1,
        f=lambda x: 1.5 * (x[:, 0] > 0.25) + three_heights(x[:, 1]) + saw(x[:, 2]) + np.floor(4 * x[:, 3]) / 4,
        mean=0.5625 - 0.1 - 0.125,
        mains={
            0: lambda x: 1.5 * (x > 0.25) - 0.5625,
            1: lambda x: three_heights(x) + 0.1,
            2: saw,
            3: lambda x: np.floor(4 * x) / 4 + 0.125,
        },
    ),
    Case(
        "pairs_mix",
        features=8,
        low=-1,
        high=1,
        f=lambda x: (
            2 * x[:, 0] * x[:, 1]
            + np.sin(2 * x[:, 2])
            + 1.5 * side(x[:, 3]) * side(x[:, 4])
            + x[:, 0]
            + 0.5 * x[:, 5] ** 2
        ),
        mean=1 / 6,
        mains={0: lambda x: x, 2: lambda x: np.sin(2 * x), 5: lambda x: 0.5 * x**2 - 1 / 6},
        pairs={(0, 1): lambda a, b: 2 * a * b, (3, 4): lambda a, b: 1.5 * side(a) * side(b)},
    ),
    Case(
        "afex_mul",
        features=5,
        low=-3,
        high=3,
        f=lambda x: x[:, 0] * x[:, 1],
        mean=0.0,
        mains={},
        pairs={(0, 1): lambda a, b: a * b},
        noise=0.0,
    ),
    Case(
        "afex_concat",
        features=5,
        low=-3,
        high=3,
        f=lambda x: np.where(x[:, 1] >= 0, x[:, 0] ** 2, x[:, 0]),
        mean=1.5,
        mains={0: lambda x: (x**2 + x) / 2 - 1.5, 1: lambda x: 1.5 * side(x)},
        pairs={(0, 1): lambda a, b: side(b) * (a**2 - a - 3) / 2},
        noise=0.0,
    ),
)
"""Those of the published comparisons that the package's targets are stated for."""

OWN = (
    Case(
        "high_frequency",
        features=6,
        low=-1,
        high=1,
        f=lambda x: 1.5 * np.sin(15 * x[:, 0]) + x[:, 1] + np.cos(np.pi * x[:, 2]),
        mean=0.0,
        mains={0: lambda x: 1.5 * np.sin(15 * x), 1: lambda x: x, 2: lambda x: np.cos(np.pi * x)},
    ),
    Case(
        "correlated",
        features=7,
        low=-1,
        high=1,
        f=lambda x: 2 * x[:, 0] + np.sin(3 * x[:, 1]) - 1.5 * x[:, 2] ** 2 + np.abs(x[:, 5]),
        mean=0.0,
        mains={
            0: lambda x: 2 * x,
            1: lambda x: np.sin(3 * x),
            2: lambda x: 0.5 - 1.5 * x**2,
            5: lambda x: np.abs(x) - 0.5,
        },
        correlation=0.7,
        together=(0, 1, 2, 3),  # feature 3 does nothing itself, and knows of what does
    ),
    Case(
        "checkerboard",
        features=6,
        low=-1,
        high=1,
        f=lambda x: latin(x[:, 0], x[:, 1]) + x[:, 2] + 0.75 * np.abs(x[:, 3]),
        mean=0.375,
        mains={2: lambda x: x, 3: lambda x: 0.75 * np.abs(x) - 0.375},
        pairs={(0, 1): latin},
    ),
    Case(
        "outliers",
        features=7,
        low=-1,
        high=1,
        f=lambda x: np.sin(3 * x[:, 0]) + 1.5 * x[:, 1] ** 2 + 1.5 * x[:, 2] * x[:, 3] + 0.5 * (x[:, 4] > 0),
        mean=0.75,
        mains={
            0: lambda x: np.sin(3 * x),
            1: lambda x: 1.5 * x**2 - 0.5,
            4: lambda x: 0.5 * (x > 0) - 0.25,
        },
        pairs={(2, 3): lambda a, b: 1.5 * a * b},
        outcome=contaminated,
    ),
    Case(
        "logit",
        features=7,
        low=-1,
        high=1,
        f=lambda x: 3 * np.sin(2 * x[:, 0]) + 3 * x[:, 1] ** 2 - 1 + 1.5 * side(x[:, 2] - 0.2) + x[:, 3],
        mean=-0.3,
        mains={
            0: lambda x: 3 * np.sin(2 * x),
            1: lambda x: 3 * x**2 - 1,
            2: lambda x: 1.5 * side(x - 0.2) + 0.3,
            3: lambda x: x,
        },
        outcome=drawn,
        classifies=True,
    ),
)
"""More of the kind, so that nothing is tuned to the published ones."""

CASES = {case.name: case for case in (*PUBLISHED, *OWN)}
