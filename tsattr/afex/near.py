"""Additive models of the neighbourhood of a row: the functions stay, their weights are solved for again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import xarray as xr

from .families import Family, Identity
from .results import FittedModel, feature_attribution, local_dataset
from .solve import Problem
from .terms import AdditiveFunction, groups

DRAWN = 1000
"""Rows drawn around a point, whose outcomes the black box gives."""


@dataclass(frozen=True)
class Neighbourhood:
    """Rows (m, p) around a point, their outcomes (m, outputs), their weights (m,) in the fit and in its check."""

    x: np.ndarray
    y: np.ndarray
    w: np.ndarray
    check: np.ndarray


class NeighbourSource(Protocol):
    """What gives the rows of a neighbourhood: the training data, or a model that answers for new rows."""

    @property
    def family(self) -> Family:
        """The loss of the outcomes."""
        ...

    def around(self, model: AdditiveFunction, x0: np.ndarray, radius: float) -> Neighbourhood:
        """The neighbourhood of `x0` (p,) at a radius in standard deviations."""
        ...


@dataclass(frozen=True)
class TrainingNeighbours:
    """The training rows, weighted by their distance."""

    x: np.ndarray
    y: np.ndarray
    w: np.ndarray
    family: Family

    def around(self, model: AdditiveFunction, x0: np.ndarray, radius: float) -> Neighbourhood:
        """All rows; one at a root mean square distance d over the features weighs ``exp(-d^2 / (2 radius^2))``."""
        total = np.zeros(len(self.x))
        for j, f in enumerate(model.features):
            column = self.x[:, j]
            differs = (column != x0[j]) & ~(np.isnan(column) & np.isnan(x0[j]))
            squared = np.zeros(len(column)) if f.levels else ((column - np.clip(x0[j], f.low, f.high)) / f.scale) ** 2
            total += np.where(np.isnan(squared) | bool(f.levels), differs, squared)
        total /= max(len(model.features), 1)
        w = self.w * np.exp((total.min() - total) / (2 * radius**2))
        w *= w.sum() / (w**2).sum()
        return Neighbourhood(self.x, self.y, w, w)


@dataclass(frozen=True)
class SampledNeighbours:
    """Rows drawn around the point from a normal distribution, with the outcomes that `ask` gives; a quarter of them check the fit."""

    ask: Callable[[np.ndarray], np.ndarray]
    x: np.ndarray
    family: Family
    seed: int

    def around(self, model: AdditiveFunction, x0: np.ndarray, radius: float) -> Neighbourhood:
        """Numbers with a spread of `radius` standard deviations; categories, and whether a cell is missing, keep with probability 1/(1 + radius)."""
        rng = np.random.default_rng(self.seed)
        x = np.tile(x0, (DRAWN, 1))
        for j, f in enumerate(model.features):
            if f.levels or np.isnan(x0[j]):
                other = rng.random(DRAWN) < radius / (1 + radius)
                x[other, j] = rng.choice(self.x[:, j], other.sum())
            else:
                x[:, j] = np.clip(x0[j] + radius * f.scale * rng.normal(size=DRAWN), f.low, f.high)
                if f.missing:  # not to be measured is one more way to be otherwise
                    other = rng.random(DRAWN) < radius / (1 + radius)
                    x[other & np.isnan(rng.choice(self.x[:, j], DRAWN)), j] = np.nan
        check = np.arange(DRAWN) % 4 == 0
        return Neighbourhood(x, self.ask(x), (~check).astype(float), check.astype(float))


def explain(
    fitted: FittedModel, x: np.ndarray, radius: float, neighbours: NeighbourSource, sample: Any = None
) -> xr.Dataset:
    """Contributions to each row of `x` (n, p) of the model of its neighbourhood; see `AFEXRegressor.explain_near`."""
    parts = [_local(fitted.model, x0, radius, neighbours) for x0 in x]
    mains, pairs, reference, fidelity, rows = (np.stack(part) for part in zip(*parts))
    ds = local_dataset(fitted, mains, pairs, feature_attribution(fitted.model, mains, pairs), None, reference, sample)
    ds["fidelity"], ds["rows"] = ("sample", fidelity), ("sample", rows)
    return ds.assign_attrs(radius=float(radius))


def _local(
    model: AdditiveFunction, x0: np.ndarray, radius: float, neighbours: NeighbourSource
) -> tuple[np.ndarray, ...]:
    """Mains (p, outputs), pairs (pairs, outputs), reference (outputs,), fidelity, effective number of rows."""
    rows, family = neighbours.around(model, x0, radius), neighbours.family
    changes = _coefficient_changes(model, rows, family)
    sizes = np.cumsum([b.shape[1] for b in model.blocks(x0[None])])[:-1]
    share = rows.w / rows.w.sum()

    def terms(x: np.ndarray) -> np.ndarray:
        mains, pairs = model.terms(x)
        change = [z @ coef for z, coef in zip(model.blocks(x), np.split(changes[1:], sizes))]
        return np.stack([t + c for t, c in zip([*mains, *pairs], change)])

    around, here = terms(rows.x), terms(x0[None])[:, 0]
    mean = np.einsum("n,tnk->tk", share, around)
    eta = around.sum(0) + model.intercept[:, 0] + changes[0]
    reference = share @ eta
    p = len(model.features)
    constant = np.tile(family.start(rows.y, rows.check + 1e-300), (len(eta), 1))
    loss, largest = (float(rows.check @ family.loss(e, rows.y)) for e in (eta, constant))
    fidelity = 1 - loss / largest if largest > 0 else np.nan
    return (here - mean)[:p], (here - mean)[p:], reference, np.array(fidelity), np.array(rows.w.sum())


def _coefficient_changes(model: AdditiveFunction, rows: Neighbourhood, family: Family) -> np.ndarray:
    """What the local coefficients (1 + m, outputs) add to the global ones: fitted to these' residuals, with penalties of their own."""
    eta = model.score(rows.x)
    gradient, curvature = family.derivatives(eta, rows.y)
    z = np.concatenate(model.blocks(rows.x), axis=1)
    names = groups(model.features, model.pairs, model.surfaces)
    number = {name: i for i, name in enumerate(dict.fromkeys(names))}
    group = np.array([number[name] for name in names], int)
    kept = rows.w > 1e-6 * rows.w.max()
    changes = []
    for g, h in zip(gradient.T, curvature.T):
        h = np.maximum(h, 1e-6)
        problem = Problem(z[kept], (g / h)[kept, None], (rows.w * h)[kept], Identity(), group)
        changes.append(problem.solve(np.full(len(number), problem.rows)).coef[:, 0])
    return np.stack(changes, axis=1)
