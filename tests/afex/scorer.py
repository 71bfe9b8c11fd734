"""How well an additive explainer recovers known terms, on a grid of equal steps of probability."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Protocol

import numpy as np

from .cases import Case

# A multiple of 12, so that halves, thirds and quarters of the box have as many nodes each, and no node lies on a jump there.
NODES = 48


class Explainer(Protocol):
    """What is scored: a fitted model's predictions of f and its terms, mains up to a constant."""

    def predict_f(self, x: np.ndarray) -> np.ndarray: ...

    def main(self, j: int, x: np.ndarray) -> np.ndarray: ...

    def pair(self, a: int, b: int, xa: np.ndarray, xb: np.ndarray) -> np.ndarray | None: ...


@dataclass(frozen=True)
class Afex:
    """A fitted AFEX estimator; scores of a classifier are log-odds."""

    model: Any

    def predict_f(self, x: np.ndarray) -> np.ndarray:
        return getattr(self.model, "decision_function", self.model.predict)(x)

    def main(self, j: int, x: np.ndarray) -> np.ndarray:
        return self.model.shape(j, x)

    def pair(self, a: int, b: int, xa: np.ndarray, xb: np.ndarray) -> np.ndarray | None:
        return self.model.interaction(a, b, xa, xb) if (a, b) in self.model.pairs_ else None


@dataclass(frozen=True)
class Truth:
    """The model that is right: every score of it is the best possible."""

    case: Case

    def predict_f(self, x: np.ndarray) -> np.ndarray:
        return self.case.f(x)

    def main(self, j: int, x: np.ndarray) -> np.ndarray:
        return self.case.mains[j](x) if j in self.case.mains else np.zeros(len(x))

    def pair(self, a: int, b: int, xa: np.ndarray, xb: np.ndarray) -> np.ndarray | None:
        return self.case.pairs[a, b](xa, xb) if (a, b) in self.case.pairs else None


@dataclass(frozen=True)
class Terms:
    """Mains (features, m) as delivered and purified, and pure pairs (m, m), on the grid."""

    raw: np.ndarray
    mains: np.ndarray
    pairs: dict[tuple[int, int], np.ndarray]


def grid(case: Case) -> np.ndarray:
    return case.low + (case.high - case.low) * (np.arange(NODES) + 0.5) / NODES


def purified(model: Explainer, case: Case) -> Terms:
    """Terms on the grid: what a pair has of a main is moved there, so that a model that does not purify is not punished."""
    x = grid(case)
    raw = np.stack([np.broadcast_to(model.main(j, x), NODES) for j in range(case.features)])
    raw = raw - raw.mean(1, keepdims=True)
    mains, pairs = raw.copy(), {}
    xa, xb = (v.ravel() for v in np.meshgrid(x, x, indexing="ij"))
    for a, b in combinations(range(case.features), 2):
        found = model.pair(a, b, xa, xb)
        if found is None:
            continue
        surface = found.reshape(NODES, NODES) - found.mean()
        rows, columns = surface.mean(1), surface.mean(0)
        mains[a] += rows
        mains[b] += columns
        pairs[a, b] = surface - rows[:, None] - columns
    return Terms(raw, mains, pairs)


def score(model: Explainer, case: Case, x_test: np.ndarray, f_test: np.ndarray) -> dict[str, float]:
    """Scores by name; NaN where the case has no main, or no pair, to be scored.

    r2
        Of the predictions of the noiseless f.
    mains, mains_min, corr, raw
        R2 of the active mains on the grid, their mean and their minimum; mean correlation (0 if flat); R2 as delivered.
    pairs
        Mean R2 of the true pairs; a missing one counts as a surface of zeros.
    leak, false_pair
        Root mean square of the worst main without a truth, and of the strongest false pair, over the sd of f.
    found
        Of as many pairs as are true, taken by size: the share that is true.
    """
    have, want = purified(model, case), purified(Truth(case), case)
    spread = f_test.std()
    zeros = np.zeros((NODES, NODES))
    active = sorted(case.mains)
    mains = [r2(have.mains[j], want.mains[j]) for j in active]
    null = [rms(have.mains[j] - want.mains[j]) for j in range(case.features) if j not in case.mains]
    return {
        "r2": r2(model.predict_f(x_test), f_test),
        "mains": mean(mains),
        "mains_min": min(mains, default=np.nan),
        "corr": mean(correlation(have.mains[j], want.mains[j]) for j in active),
        "raw": mean(r2(have.raw[j], want.mains[j]) for j in active),
        "pairs": mean(r2(have.pairs.get(p, zeros), want.pairs[p]) for p in case.pairs),
        "leak": max(null, default=0.0) / spread,
        "false_pair": max((rms(s) for p, s in have.pairs.items() if p not in case.pairs), default=0.0) / spread,
        "found": found(have.pairs, case),
    }


def r2(estimate: np.ndarray, truth: np.ndarray) -> float:
    return float(1 - np.mean((estimate - truth) ** 2) / truth.var())


def rms(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(values**2)))


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.corrcoef(a, b)[0, 1]) if a.std() > 1e-12 else 0.0


def mean(values: Iterable[float]) -> float:
    listed = list(values)
    return float(np.mean(listed)) if listed else np.nan


def found(pairs: dict[tuple[int, int], np.ndarray], case: Case) -> float:
    if not case.pairs:
        return 1.0
    strongest = sorted(pairs, key=lambda p: -rms(pairs[p]))[: len(case.pairs)]
    return sum(p in case.pairs for p in strongest) / len(case.pairs)
