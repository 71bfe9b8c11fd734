"""What a method returns: plain arrays with the names of their dims, samples first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

EVENT = "..."
"""Stands for the input's own dims in :attr:`Field.dims`."""

MAPS = ("attribution", "attribution_draw", "standard_error")
"""Results with the input's own dims: of several variables, one each, ``attribution_<name>``."""
RESERVED = frozenset(
    {
        *MAPS,
        "agreement",
        "completeness_error",
        "completeness_gap",
        "detector_auc",
        "diagnostic",
        "draw",
        "group",
        "group_b",
        "group_standard_error",
        "group_value",
        "interaction",
        "interaction_standard_error",
        "model_evaluations",
        "model_evaluations_least",
        "model_steps",
        "output_over_time",
        "predicted",
        "prediction",
        "prediction_sd",
        "reference",
        "shift",
        "shift_beyond",
        "shift_diagnostic",
        "shift_intact",
        "signed_shift",
        "status",
        "steps",
        "target",
        EVENT,
    }
)
"""Names of the variables and dims of a result, which no dim or coordinate of an input may have."""


@dataclass(frozen=True)
class Field:
    """One variable of a result: its dims after the sample dim ("..." for the event's, "target", "group"), its values."""

    dims: tuple[str, ...]
    values: Tensor


def check_count(name: str, value: Any, *, none: bool = False) -> None:
    """ValueError unless `value` is a whole number of at least 1; or None, where that may be."""
    if none and value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
        raise ValueError(f"{name} is a whole number of at least 1, got {value!r}")


def check_flag(name: str, value: Any) -> None:
    """TypeError unless `value` is True or False: text such as "no" would count as True."""
    if not isinstance(value, bool | np.bool_):
        raise TypeError(f"{name} is True or False, got {value!r}")


def check_choice(name: str, value: Any, known: tuple[Any, ...]) -> None:
    """ValueError for anything but one of the known values."""
    if value not in known:
        raise ValueError(f"{name} is one of {known}, got {value!r}")


def check_positive(rule: str, value: Any, otherwise: str = "") -> None:
    """Raise unless `value` is a finite number above 0; the message begins with the rule: "tolerance must be"."""
    if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating):
        raise TypeError(f"{rule} a number > 0{otherwise}, got {value!r}")
    if not 0 < value < np.inf:
        raise ValueError(f"{rule} {'finite' if value == np.inf else '> 0'}{otherwise}, got {value}")


def affordable(name: str, number: int, method: Any, rows: int) -> int:
    """`number` of steps, draws or the like that a budget of `rows` allows; ValueError where it allows none."""
    if number < 1:
        raise ValueError(
            f"a budget of {rows} rows a sample allows no {name} of {type(method).__name__}; give more rows"
        )
    return number
