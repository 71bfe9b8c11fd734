"""Fitting the additive model: mains, steps, pairs, nets, then one solve for everything."""

from __future__ import annotations

from .refit import cross_validated
from .stages.finishing import constant_outcomes, finished
from .stages.interactions import add_pairs, drop_pairs
from .stages.networks import train_nets
from .stages.screening import screen_features
from .stages.steps import add_pair_steps, add_steps
from .terms import AdditiveFunction
from .working import WorkingModel

MOST_CROSS_VALIDATED = 5000
"""Rows up to which classifiers choose the share of their penalties by cross-validation."""


def fit_terms(model: WorkingModel) -> AdditiveFunction:
    """Run all stages on a model of mains alone; the additive model that they end in."""
    settings = model.settings
    screen_features(model)
    if constant_outcomes(model):
        model.solution = model.problem().constant_solution()
        return finished(model)
    model.solve()
    if settings.splines:
        add_steps(model)
    else:
        train_nets(model)
    add_pairs(model)
    if settings.splines and model.pairs:
        add_steps(model)  # those that the pairs' part hid
        add_pair_steps(model)
    if model.pairs:
        train_nets(model)
    model.solve(final=True)
    if settings.attention == "least_squares":
        if settings.interactions == "auto" and drop_pairs(model):
            model.solve(final=True)
        if not model.family.dispersion and len(model.x) <= MOST_CROSS_VALIDATED:
            model.solution = cross_validated(model.problem(), model.solution)
    return finished(model)
