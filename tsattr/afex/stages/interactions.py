"""Interactions: the pairs of features that have terms, those asked for or those that are significant."""

from __future__ import annotations

import numpy as np

from .. import pairs
from ..working import WorkingModel

PAIRS_PER_FEATURE = 5
"""Most pairs a feature that are selected."""


def add_pairs(model: WorkingModel) -> None:
    """Take the pairs asked for, or round by round those that are significant."""
    requested = model.settings.interactions
    if not isinstance(requested, str | int):
        model.pairs = [(min(p), max(p)) for p in requested]
        model.restore(j for p in model.pairs for j in p)
        model.solve()
        return
    most = PAIRS_PER_FEATURE * len(model.features) if requested == "auto" else int(requested)
    rows = model.subsample(pairs.ROWS)
    features = dict(enumerate(model.features)) | model.screened_out
    bases = [pairs.PairBasis.of(f, model.x[rows, j], model.w[rows]) for j, f in sorted(features.items())]
    tests = 2 * int(np.triu(_allowed(model), 1).sum())
    while len(model.pairs) < most:
        found = pairs.ranked(bases, model.fit()[rows], _allowed(model), most)
        if requested == "auto":
            found = [c for c in pairs.significant(found, tests) if c.gain > model.minimum_gain()]
        if not found:
            break
        before = model.pairs
        model.pairs = sorted([*before, *(c.pair for c in found[: most - len(before)])])
        model.restore(j for p in model.pairs for j in p)
        model.solve()
        if requested == "auto" and drop_pairs(model):
            model.solve()
        if set(model.pairs) <= set(before):
            break


def drop_pairs(model: WorkingModel) -> bool:
    """Drop the pairs that their penalties leave less than half a degree of freedom; whether there were any."""
    names, _, _ = model.numbered_groups(model.group_names())
    freedom = dict.fromkeys(model.pairs, 0.0)
    for name, f in zip(names, model.solution.freedom):
        if isinstance(name, tuple) and name[0] in ("pair", "surface"):
            freedom[name[1]] += f
    dropped = [p for p, f in freedom.items() if f < 0.5]
    model.pairs = [p for p in model.pairs if p not in dropped]
    model.surfaces = {p: surface for p, surface in model.surfaces.items() if p not in dropped}
    model.dropped_pairs += dropped
    return bool(dropped)


def _allowed(model: WorkingModel) -> np.ndarray:
    """Pairs that may be selected, bool (p, p)."""
    free = np.array([f.direction == 0 for f in model.features], bool) & model.varied
    allowed = np.outer(free, free) & ~np.eye(len(free), dtype=bool)
    if model.settings.heredity:
        size = np.array([np.sqrt((model.main_effect(j) ** 2).sum(1).mean()) for j in range(len(free))])
        active = size > 0.01 * max(size.max(initial=0), 1e-300)
        allowed &= np.outer(active, active)
    for a, b in [*model.pairs, *model.dropped_pairs]:
        allowed[a, b] = allowed[b, a] = False
    return allowed
