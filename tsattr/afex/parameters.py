"""The estimators' parameters, checked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.utils.validation import _check_sample_weight

from .columns import TableReader
from .working import Settings

ATTENTION = ("least_squares", "correlation", "softmax")
PURIFY = ("marginals", "data")


def checked_settings(estimator: Any, reader: TableReader) -> Settings:
    """The checked parameters of the fit."""
    for name in ("n_nets", "bags", "max_epochs"):
        _check_count(name, getattr(estimator, name), 0)
    _check_count("hidden", estimator.hidden, 1)
    check_choice("attention", estimator.attention, ATTENTION)
    check_choice("purify", estimator.purify, PURIFY)
    if not 0 < estimator.validation_fraction < 1:
        raise ValueError(f"validation_fraction is between 0 and 1, got {estimator.validation_fraction!r}")
    return Settings(
        estimator.n_nets,
        estimator.hidden,
        estimator.max_epochs,
        estimator.attention,
        checked_interactions(estimator.interactions, reader),
        bool(estimator.heredity),
        estimator.purify,
        estimator.bags,
        estimator.validation_fraction,
        bool(estimator.atoms),
    )


def checked_interactions(requested: Any, reader: TableReader) -> Any:
    """ "auto", a number, or pairs of indices."""
    if requested == "auto" if isinstance(requested, str) else isinstance(requested, int | np.integer):
        if not isinstance(requested, str) and requested < 0:
            raise ValueError(f"interactions is not negative, got {requested}")
        return requested
    if isinstance(requested, str) or not isinstance(requested, Sequence):
        raise ValueError(f"interactions is 'auto', a number of pairs, or a list of pairs, got {requested!r}")
    pairs = [tuple(reader.index(item) for item in pair) for pair in requested]
    for pair in pairs:
        if len(pair) != 2 or pair[0] == pair[1]:
            raise ValueError(f"interactions are pairs of two different features, got {pair}")
    return sorted({(min(pair), max(pair)) for pair in pairs})


def checked_directions(given: Any, reader: TableReader) -> np.ndarray:
    """The direction of each feature, -1, 0 or 1 (p,)."""
    p = len(reader.names)
    directions = np.zeros(p, int)
    if given is None:
        return directions
    if isinstance(given, dict):
        for name, value in given.items():
            directions[reader.index(name)] = value
    else:
        if len(given) != p:
            raise ValueError(f"monotonic_cst has one entry a feature, {p}, got {len(given)}")
        directions[:] = given
    if not np.isin(directions, (-1, 0, 1)).all():
        raise ValueError(f"monotonic_cst holds -1, 0 and 1, got {given!r}")
    if (bad := directions.astype(bool) & reader.nominal).any():
        named = [reader.names[j] for j in np.flatnonzero(bad)]
        raise ValueError(f"monotonic_cst is for numeric features, and these are categories: {named}")
    return directions


def checked_weights(sample_weight: Any, codes: np.ndarray) -> np.ndarray:
    """Weights (n,), of which none is negative and one at least is positive."""
    weights: np.ndarray = _check_sample_weight(sample_weight, codes, dtype=np.float64, ensure_non_negative=True)
    if not weights.any():  # scikit-learn says so itself from 1.9 on
        raise ValueError("Sample weights must contain at least one non-zero number.")
    return weights


def _check_count(name: str, value: Any, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
        raise ValueError(f"{name} is a whole number of at least {least}, got {value!r}")


def check_choice(name: str, value: Any, choices: tuple[str, ...]) -> None:
    """ValueError for a value that is none of the `choices`."""
    if value not in choices:
        raise ValueError(f"{name} is one of {choices}, got {value!r}")
