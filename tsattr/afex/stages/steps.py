"""Steps: thresholds of one feature, at which its main jumps or beyond which a pair's surface is another."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..atoms import BINS, Bins, residual_step, step_gains
from ..pairs import PairBasis, best_edge
from ..significance import Fit, critical_gain
from ..working import WorkingModel

MOST_STEPS = 24
"""Most steps of one feature."""
EDGE_BINS = 256
"""Most thresholds of a feature that are tried in a pair."""


def add_steps(model: WorkingModel) -> None:
    """Add the best step of every feature while it is significant, then move or drop each."""
    bins = {j: _bins(model, j) for j in model.numeric_features()}
    tests = sum(len(b.thresholds) for b in bins.values())
    minimum = max(critical_gain(tests, model.y.shape[1]), model.minimum_gain())
    for _ in range(MOST_STEPS):
        fit, added = model.fit(), False
        for j, b in bins.items():
            threshold = _best_step(model, j, b, fit, minimum)
            if threshold is not None and threshold not in model.features[j].steps:
                _add_step(model, j, threshold)
                added = True
        if not added:
            break
        model.solve()
    moved = {j: _relocated_steps(model, j, b, minimum) for j, b in bins.items() if len(model.features[j].steps)}
    for j, steps in moved.items():
        model.set_feature(j, replace(model.features[j], steps=steps))
    if moved:
        model.solve()


def add_pair_steps(model: WorkingModel) -> None:
    """Add steps at thresholds beyond which a pair's surface is another, the most significant one at a time."""
    numeric = set(model.numeric_features())
    bins = {j: _bins(model, j, EDGE_BINS) for j in {i for p in model.pairs for i in p} & numeric}
    bases = {j: PairBasis.of(model.features[j], model.x[:, j], model.w) for p in model.pairs for j in p}
    sides = [(a, b) for p in model.pairs for a, b in (p, p[::-1]) if a in bins]
    tests = 2 * sum(len(bins[a].thresholds) for a, _ in sides)
    for _ in range(MOST_STEPS):
        fit, best = model.fit(), (0.0, -1, 0.0)
        for a, b in sides:
            for cells in _divisions(model, b, bases[b]):
                minimum = max(critical_gain(tests, cells.shape[1] * model.y.shape[1]), model.minimum_gain())
                t, gain = best_edge(bins[a], cells, fit, minimum)
                margin = gain - minimum
                if margin > best[0] and bins[a].thresholds[t] not in model.features[a].steps:
                    best = (margin, a, float(bins[a].thresholds[t]))
        if best[1] < 0:
            break
        _add_step(model, best[1], best[2])
        model.solve()


def _add_step(model: WorkingModel, j: int, threshold: float) -> None:
    feature = model.features[j]
    model.set_feature(j, replace(feature, steps=np.sort(np.append(feature.steps, threshold))))


def _bins(model: WorkingModel, j: int, most: int = BINS) -> Bins:
    """Cells of a numeric feature, in its standardised values."""
    present = ~np.isnan(model.x[:, j])
    u = model.features[j].standardised(np.where(present, model.x[:, j], 0))
    return Bins.of(u, present, model.w, most)


def _best_step(
    model: WorkingModel,
    j: int,
    bins: Bins,
    fit: Fit,
    minimum: float,
    omit: int | None = None,
    removed: np.ndarray | None = None,
) -> float | None:
    """The threshold with the largest gain beside the feature's columns, None where that gain is below the `minimum`.

    With `omit`, that column is left out, and what it contributes, `removed` (n, outputs), is taken off the scores first.
    """
    if not len(bins.thresholds):
        return None
    f = model.features[j]
    beside = np.flatnonzero(f.kinds != "missing")
    if omit is not None:
        beside = beside[beside != omit]
    penalty = np.array([model.penalties[k if k in model.pooled else (k, j)] for k in f.kinds[beside]])
    penalty = penalty / fit.dispersion
    smooth = model.main_columns(j)[:, beside]
    gain = step_gains(bins, fit.score, smooth, penalty, model.w, removed)
    if f.direction:
        gain = np.where(f.direction * bins.above(fit.score.gradient).sum(1) > 0, gain, 0.0)
    t = int(gain.argmax())
    if gain[t] <= minimum:
        return None
    step = residual_step(bins, t, fit.score, smooth, penalty)
    return float(bins.thresholds[t]) if fit.gain(step, 0.0 if removed is None else removed) > minimum else None


def _relocated_steps(model: WorkingModel, j: int, bins: Bins, minimum: float) -> np.ndarray:
    """The best threshold of each of a feature's steps when that step alone is removed; those that gain too little are left out."""
    f, fit = model.features[j], model.fit()
    first, kept = model.first_coefficient(j), []
    for column in np.flatnonzero(f.kinds == "step").tolist():
        part = model.main_columns(j)[:, column, None] * model.solution.coef[first + column]
        threshold = _best_step(model, j, bins, fit, minimum, column, part)
        if threshold is not None:
            kept.append(threshold)
    return np.unique(kept)


def _divisions(model: WorkingModel, j: int, basis: PairBasis) -> list[np.ndarray]:
    """Divisions of a feature's range, each as indicators (n, cells): cells of equal weight, and those between its steps."""
    steps = model.features[j].steps
    if not len(steps):
        return [basis.cells]
    present = ~np.isnan(model.x[:, j])
    cell = np.searchsorted(steps, model.features[j].standardised(np.where(present, model.x[:, j], 0)))
    return [basis.cells, ((cell[:, None] == np.arange(len(steps) + 1)) & present[:, None]).astype(float)]
