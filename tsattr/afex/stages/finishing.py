"""Finishing: the coefficients with their bootstrap replicates, and the pairs purified of what their mains can say."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from .. import attention, refit
from ..terms import AdditiveFunction
from ..working import WorkingModel

ROUNDING = 8 * np.finfo(float).eps
"""Outcomes that differ by no more than this share of their size are one value."""


def constant_outcomes(model: WorkingModel) -> bool:
    """Whether all outcomes are the same but for rounding: then nothing is to be explained."""
    return bool((np.ptp(model.y, axis=0) <= ROUNDING * np.abs(model.y).max(0)).all())


def finished(model: WorkingModel) -> AdditiveFunction:
    """The additive model, purified, with bootstrap replicates of its coefficients."""
    solution, bags = model.solution, model.settings.bags
    draws = _replicates(model) if bags else np.zeros((*solution.coef.shape, 0))
    coef = np.concatenate([solution.coef[:, :, None], draws], axis=2)
    ends = np.cumsum([len(f.kinds) for f in model.features]).tolist()
    mains = np.split(coef[1 : 1 + ends[-1]], ends[:-1])
    sizes = [model.pair_columns(p, slice(0, 1)).shape[1] for p in model.pairs]
    pairs = np.split(coef[1 + ends[-1] :], np.cumsum(sizes)[:-1]) if sizes else []
    removed = (None,) * len(sizes)
    additive = AdditiveFunction(
        tuple(model.features), tuple(model.pairs), coef[0], tuple(mains), tuple(pairs), removed, model.surfaces
    )
    return _purified(model, additive) if model.settings.purify == "data" and sizes else additive


def _replicates(model: WorkingModel) -> np.ndarray:
    """Coefficients (1 + m, outputs, bags) under rows drawn with replacement."""
    kind = model.settings.attention
    weights = model.rng.poisson(model.w, (model.settings.bags, len(model.x)))
    if kind == "least_squares" or constant_outcomes(model):
        return refit.replicates(model.problem(), model.solution, weights, model.rng)
    z = model.columns()
    return np.stack([attention.Scores(z, model.y, w, kind).solution(model.family).coef for w in weights], axis=2)


def _purified(model: WorkingModel, additive: AdditiveFunction) -> AdditiveFunction:
    """Pairs made orthogonal to their mains over the data, what they had in common moved into these (Hooker, 2007)."""
    intercept, mains, removed = additive.intercept.copy(), [m.copy() for m in additive.main_coef], []
    for (a, b), coef in zip(model.pairs, additive.pair_coef):
        base = np.concatenate([np.ones((len(model.x), 1)), model.main_columns(a), model.main_columns(b)], axis=1)
        weighted = base.T * model.w
        surface = np.tensordot(model.pair_columns((a, b)), coef, 1)
        inverse = np.linalg.pinv(weighted @ base, rcond=1e-10, hermitian=True)
        part = np.tensordot(inverse, np.tensordot(weighted, surface, 1), 1)
        intercept += part[0]
        mains[a] += part[1 : 1 + len(mains[a])]
        mains[b] += part[1 + len(mains[a]) :]
        removed.append(part)
    return replace(additive, intercept=intercept, main_coef=tuple(mains), removed_coef=tuple(removed))
