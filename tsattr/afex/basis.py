"""The functions of one feature that an additive model is a combination of, each centred over the training data."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

KNOTS = 40
"""Most knots of a spline or a monotone curve."""
RANK = 15
"""Most principal directions kept of a spline."""
PRODUCT_RANK = 3
"""Leading directions of a spline that take part in products where the feature has no nets."""
FIXED = ("linear", "step", "level", "missing")
"""Kinds of columns that take part in products and that training nets does not change."""
PAIRED_LEVELS = 16
"""Levels of a category that take part in products, the most frequent ones."""


def quantiles(values: np.ndarray, w: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """The values below which the given shares of the weight lie; each is one of `values`.

    >>> quantiles(np.array([3.0, 1.0, 2.0]), np.array([1.0, 1.0, 2.0]), np.array([0.1, 0.5, 1.0])).tolist()
    [1.0, 2.0, 3.0]
    """
    order = np.argsort(values, kind="stable")
    below = np.cumsum(w[order])
    at = np.searchsorted(below, shares * below[-1] * (1 - 1e-12))
    found: np.ndarray = values[order][np.clip(at, 0, len(values) - 1)]
    return found


def knots_of(u: np.ndarray, w: np.ndarray, number: int) -> np.ndarray:
    """Distinct quantiles of values `u` inside their range, at most `number`."""
    distinct = np.unique(quantiles(u, w, np.arange(1, number + 1) / (number + 1)))
    inside: np.ndarray = distinct[(distinct > u.min()) & (distinct < u.max())]
    return inside


@dataclass(frozen=True)
class Spline:
    """Leading directions of a piecewise linear curve with many knots, its straight part taken out.

    Independent changes of slope at the knots are the prior of a cubic smoothing spline; the principal directions of the
    hinges ``max(u - knot, 0)`` span what that prior allows with a few columns.
    """

    knots: np.ndarray
    rotation: np.ndarray
    slope: np.ndarray

    @classmethod
    def fit(cls, u: np.ndarray, w: np.ndarray) -> Spline | None:
        """The spline of values `u` with weights `w`; None where they are too few for a knot."""
        knots = knots_of(u, w, KNOTS)
        if not len(knots):
            return None
        hinges = np.maximum(u[:, None] - knots, 0)
        share = w / w.sum()
        hinges -= share @ hinges
        straight = u - share @ u
        slope = (share * straight) @ hinges / (share @ straight**2)
        bends = hinges - np.outer(straight, slope)
        size, rotation = np.linalg.eigh((bends.T * share) @ bends)
        keep = np.flatnonzero(size > 1e-7 * size[-1])[::-1][:RANK]
        rotation = rotation[:, keep] / np.sqrt(size[-1])
        return cls(knots, rotation, slope @ rotation)

    def __call__(self, u: np.ndarray) -> np.ndarray:
        """Columns (n, rank)."""
        columns: np.ndarray = np.maximum(u[:, None] - self.knots, 0) @ self.rotation - np.outer(u, self.slope)
        return columns


@dataclass(frozen=True)
class Nets:
    """Small networks of one feature with a trainable shortcut: ``mix * slope * u + (1 - mix) * out @ tanh(weight * u + bias)``.

    weight, bias, out: (nets, hidden); mix, slope: (nets,).
    """

    weight: np.ndarray
    bias: np.ndarray
    out: np.ndarray
    mix: np.ndarray
    slope: np.ndarray

    def __call__(self, u: np.ndarray) -> np.ndarray:
        """Columns (n, nets)."""
        curve = (np.tanh(u[:, None, None] * self.weight + self.bias) * self.out).sum(2)
        columns: np.ndarray = u[:, None] * (self.mix * self.slope) + (1 - self.mix) * curve
        return columns


@dataclass(frozen=True)
class Feature:
    """All basis functions of one feature; a missing value has an indicator of its own and 0 in every other column.

    A numeric feature has ``u``, the value clipped to the training range and standardised, then the columns of a spline, of
    steps ``u > threshold`` and of nets; a monotone one has ``u``, ramps between knots and steps, which get coefficients of
    one sign. A category has a column for each level. One that is not `used` has no columns.
    """

    levels: int
    low: float
    high: float
    mean: float
    scale: float
    direction: int = 0
    missing: bool = False
    spline: Spline | None = None
    ramps: np.ndarray | None = None
    steps: np.ndarray = field(default_factory=lambda: np.zeros(0))
    nets: Nets | None = None
    kinds: np.ndarray = field(default_factory=lambda: np.zeros(0, object))
    center: np.ndarray = field(default_factory=lambda: np.zeros(0))
    spread: np.ndarray = field(default_factory=lambda: np.zeros(0))
    in_products: np.ndarray = field(default_factory=lambda: np.zeros(0, int))
    used: bool = True

    @classmethod
    def fit(cls, x: np.ndarray, w: np.ndarray, *, levels: int = 0, direction: int = 0, atoms: bool = True) -> Feature:
        """Choose knots from values `x` (n,) with weights `w`; `levels` > 0 for the codes of a category."""
        present = ~np.isnan(x)
        missing = bool(not present.all())
        if levels or not present.any():
            return cls(levels, 0.0, 0.0, 0.0, 1.0, 0, missing).centred(x, w)
        values, weight = x[present], w[present]
        low, high = float(values.min()), float(values.max())
        if low == high:
            return cls(0, low, high, low, 1.0, direction, missing).centred(x, w)
        mean = float(np.average(values, weights=weight))
        scale = float(np.sqrt(np.average((values - mean) ** 2, weights=weight)))
        varied = high > low and scale > 0
        feature = cls(0, low, high, mean, scale if varied else 1.0, direction, missing)
        u = feature.standardised(values)
        if varied and direction:
            feature = replace(feature, ramps=np.r_[u.min(), knots_of(u, weight, KNOTS // 2), u.max()])
        elif varied and atoms:
            feature = replace(feature, spline=Spline.fit(u, weight))
        return feature.centred(x, w)

    @property
    def varied(self) -> bool:
        """Whether the feature takes several values."""
        return self.high > self.low

    def standardised(self, x: np.ndarray) -> np.ndarray:
        """`x` clipped to the training range, in standard deviations from the mean."""
        u: np.ndarray = (np.clip(x, self.low, self.high) - self.mean) / self.scale
        return u

    def centred(self, x: np.ndarray, w: np.ndarray) -> Feature:
        """The feature with every column centred over the training data, and linear, ramp and net columns scaled to variance 1."""
        columns, kinds = self._raw(x)
        weight = np.where(self._present(x)[:, None], w[:, None], 0.0)
        total = np.maximum(weight.sum(0), np.finfo(float).tiny)
        center = (weight * columns).sum(0) / total
        spread = np.sqrt((weight * (columns - center) ** 2).sum(0) / total)
        scaled = np.isin(kinds, ["linear", "net", "ramp"])
        spread = np.where(scaled & (spread > 1e-12), spread, 1.0)
        if self.missing and self.used:
            kinds = np.append(kinds, "missing")
            center, spread = np.append(center, np.average(~np.isnan(x), weights=w)), np.append(spread, 1.0)
        return replace(
            self, kinds=kinds, center=center, spread=spread, in_products=self._product_columns(kinds, center)
        )

    def _product_columns(self, kinds: np.ndarray, center: np.ndarray) -> np.ndarray:
        """Positions of the columns that take part in products."""
        if self.levels:
            most = np.argsort(-center[: self.levels], kind="stable")[:PAIRED_LEVELS]
            return np.sort(np.r_[most, np.flatnonzero(kinds == "missing")])
        bends = np.flatnonzero(kinds == ("net" if self.nets is not None else "spline"))
        return np.sort(
            np.r_[np.flatnonzero(np.isin(kinds, FIXED)), bends if self.nets is not None else bends[:PRODUCT_RANK]]
        )

    def _present(self, x: np.ndarray) -> np.ndarray:
        """Where a value is neither missing nor an unknown level: bool (n,)."""
        return x >= 0 if self.levels else ~np.isnan(x)

    def _raw(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Columns before centring, and the kind of each."""
        if not self.used:
            return np.zeros((len(x), 0)), np.zeros(0, object)
        if self.levels:
            return (x[:, None] == np.arange(self.levels)).astype(float), np.full(self.levels, "level", object)
        if not self.varied:
            return np.zeros((len(x), 0)), np.zeros(0, object)
        u = self.standardised(np.where(np.isnan(x), self.mean, x))
        parts = {"linear": u[:, None]}
        if self.ramps is not None:
            parts["ramp"] = np.clip((u[:, None] - self.ramps[:-1]) / np.diff(self.ramps), 0, 1)
        if self.spline is not None:
            parts["spline"] = self.spline(u)
        parts["step"] = (u[:, None] > self.steps).astype(float)
        if self.nets is not None:
            parts["net"] = self.nets(u)
        sign = self.direction or 1
        kinds = np.concatenate([np.full(part.shape[1], kind, object) for kind, part in parts.items()])
        return sign * np.concatenate(list(parts.values()), axis=1), kinds

    def columns(self, x: np.ndarray) -> np.ndarray:
        """Centred columns (n, m) at values `x` (n,); 0 for a missing value or an unknown level, but for its indicator."""
        raw, _ = self._raw(x)
        m = raw.shape[1]
        z = np.where(self._present(x)[:, None], (raw - self.center[:m]) / self.spread[:m], 0.0)
        if self.missing and self.used:
            z = np.column_stack([z, self.center[-1] - ~np.isnan(x)])
        return z
