"""Networks: nets of one feature and surfaces of two, trained beside the columns so far and chosen on held-out rows."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import replace

import numpy as np

from .. import attention, nets, pairs
from ..basis import FIXED, Nets
from ..design import Design, with_ones
from ..rows import held_out_rows
from ..solve import Problem
from ..surfaces import Surface
from ..terms import main_groups
from ..working import WorkingModel

FEWEST = 60
"""Distinct rows below which no nets are trained: there is nothing to choose the step by."""
NETS_P, SURFACE_P = 0.05, 0.4
"""p-values of what a pair leaves below which more nets of one feature, or a surface of two, are tried; held-out rows decide."""
MOST_NETS, BETTER = 8, 0.99
"""Most nets of a feature, and the share of the loss that four times as many, or a surface, must come to, on held-out rows, to be kept."""


def train_nets(model: WorkingModel) -> None:
    """Train the nets of all numeric features that act in pairs, or without splines of all, and the surfaces of pairs."""
    features = [j for j in model.numeric_features() if not model.features[j].direction]
    if model.settings.splines:
        features = [j for j in features if any(j in pair for pair in model.pairs)]
    if not features or not model.settings.n_nets or len(model.x) < FEWEST:
        return
    held_out = held_out_rows(len(model.x), model.settings.validation_fraction, model.rng)
    number, least = model.settings.n_nets, np.inf
    while True:
        found, loss = _trained(model, features, number, held_out)
        if loss > BETTER * least:
            break
        for j, net in zip(features, found):
            model.set_feature(j, replace(model.features[j], nets=net))
        if not model.surfaces:
            _add_surfaces(model, features, held_out)
        number, least = 4 * number, loss
        if number > MOST_NETS or not _underfitted_pairs(model, NETS_P):
            break


def training_step(model: WorkingModel, group_names: list[Hashable], signs: np.ndarray) -> attention.TrainingStep:
    """A step of training with columns of these groups, of which the first have signs."""
    _, number, penalty = model.numbered_groups(group_names)
    kind = model.settings.attention
    return attention.TrainingStep(model.y, model.w, model.family, kind, number, penalty, signs)


def training_groups(model: WorkingModel, features: list[int], number: int) -> list[Hashable]:
    """The penalty group of each column while so many nets of each of the features are trained."""

    def width(j: int) -> int:
        """Columns of a feature that take part in products."""
        f = model.features[j]
        return int(np.isin(f.kinds[f.in_products], FIXED).sum()) + (number if j in features else 0)

    mains = main_groups(model.features, model.pooled)
    surfaces = [("surface", p) for p, surface in model.surfaces.items() for _ in range(surface.table.shape[2])]
    new = [("net", j) for j in features for _ in range(number)]
    products = [("pair", (a, b)) for a, b in model.pairs for _ in range(width(a) * width(b))]
    return [*mains, *surfaces, *new, *products]


def _trained(model: WorkingModel, features: list[int], number: int, held_out: np.ndarray) -> tuple[list[Nets], float]:
    """So many nets of each feature, and the loss on the held-out rows."""
    before = list(model.features)
    for j in features:
        model.set_feature(j, replace(model.features[j], nets=None))
    groups = training_groups(model, features, number)
    step = training_step(model, groups, model.signs()[: sum(len(f.kinds) for f in model.features)])
    training = nets.NetTraining(
        lambda rows: _net_inputs(model, features, rows),
        model.w,
        held_out,
        step,
        model.settings.max_epochs,
        model.rng,
    )
    found = training.nets(len(features), number, model.settings.hidden)
    for j in features:
        model.set_feature(j, before[j])
    return found


def _net_inputs(model: WorkingModel, features: list[int], rows: np.ndarray) -> nets.NetInputs:
    """What the columns of the nets of these features, and the products with them, are made of."""
    x = model.x[rows][:, features]
    present = ~np.isnan(x)
    values = np.where(present, x, 0).T
    u = np.column_stack([model.features[j].standardised(v) for j, v in zip(features, values)])
    position = {j: q for q, j in enumerate(features)}
    z = [model.main_columns(j, rows) for j in range(len(model.features))]
    surfaces = [
        surface(*(model.features[j].standardised(model.x[rows, j]) for j in p)) for p, surface in model.surfaces.items()
    ]

    def side(j: int) -> tuple[np.ndarray, int]:
        f = model.features[j]
        fixed = f.in_products[np.isin(f.kinds[f.in_products], FIXED)]
        return z[j][:, fixed], position.get(j, -1)

    sides = [(side(a), side(b)) for a, b in model.pairs]
    return nets.NetInputs(u * present, present, np.concatenate([*z, *surfaces], axis=1), sides)


def _underfitted_pairs(model: WorkingModel, p_value: float) -> list[tuple[int, int]]:
    """The pairs without a surface whose cells still show an interaction of at most this p-value."""
    if not model.pairs or model.settings.attention != "least_squares":
        return []
    model.solve()
    rows = model.subsample(pairs.ROWS)
    bases = {j: pairs.PairBasis.of(model.features[j], model.x[rows, j], model.w[rows]) for p in model.pairs for j in p}
    bound, fit = float(np.log(p_value)), model.fit()[rows]
    tested = [pairs.interaction_test(bases[a].cells, bases[b].cells, fit, bound) for a, b in model.pairs]
    return [
        p
        for p, (gain, log_p) in zip(model.pairs, tested)
        if log_p < bound and gain > model.minimum_gain() and p not in model.surfaces
    ]


def _add_surfaces(model: WorkingModel, features: list[int], held_out: np.ndarray) -> None:
    """Add surfaces to the pairs of features with nets, where the held-out rows show that they are better."""
    for pair in _underfitted_pairs(model, SURFACE_P):
        if set(pair) <= set(features):
            before = _validation_loss(model, held_out)
            model.surfaces[pair] = _surface(model, pair, held_out)
            if _validation_loss(model, held_out) > BETTER * before:
                del model.surfaces[pair]
            model.solve()


def _validation_loss(model: WorkingModel, held_out: np.ndarray) -> float:
    """The loss on the held-out rows when the coefficients of the columns so far are solved for without them."""
    rows = model.subsample(pairs.ROWS)
    z, y, w, out = model.columns(rows), model.y[rows], model.w[rows], held_out[rows]
    _, number, start = model.numbered_groups(model.group_names())
    problem = Problem(z[~out], y[~out], w[~out], model.family, number, model.signs())
    coef = problem.solve(start, exact=False).coef
    return float(np.average(model.family.loss(with_ones(z[out]) @ coef, y[out]), weights=w[out]))


def _surface(model: WorkingModel, pair: tuple[int, int], held_out: np.ndarray) -> Surface:
    """A surface of a pair, trained beside its mains and the contributions of all other terms."""
    u = np.column_stack([model.features[j].standardised(model.x[:, j]) for j in pair])
    turn = np.argsort((model.w * model.y.sum(1)) @ np.nan_to_num(u))  # whatever the order of the features
    present = ~np.isnan(u)
    coef = model.solution.coef[1:][[name == ("pair", pair) for name in model.group_names()]]
    products = Design(lambda rows: model.pair_columns(pair, rows), len(u), len(coef))
    rest = model.solution.eta - products.scores(np.pad(coef, ((1, 0), (0, 0))))
    fixed = np.concatenate([rest, *(model.main_columns(j) for j in pair)], axis=1)
    names = ["rest"] * rest.shape[1] + [("main", j) for j in pair for _ in model.features[j].kinds]
    training = nets.NetTraining(
        lambda rows: nets.NetInputs(np.where(present, u, 0)[rows][:, turn], present[rows], fixed[rows], []),
        model.w,
        held_out,
        training_step(model, [*names, *["plane"] * nets.FOLDED], np.zeros(0, bool)),
        2 * model.settings.max_epochs,
        model.rng,
    )
    plane = training.plane()
    return Surface.of(replace(plane, weight=plane.weight[:, turn]), u, model.w)
