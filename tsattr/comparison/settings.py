"""The keyword arguments that `evaluate` and `compare` share, written down once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

from ..edge.settings import DEFAULTS, CallSettings


class MeasurementSettings(TypedDict, total=False):
    """What is measured, with which fills and on which groups; :func:`tsattr.evaluate` says what they mean."""

    metrics: Sequence[str] | None
    fills: Mapping[str, Any] | None
    groups: Any
    rankings: Sequence[str]
    truth: Any
    steps: int
    top: float
    subsets: int
    sizes: Sequence[float]
    draws: int


class EvaluationSettings(CallSettings, MeasurementSettings, total=False):
    """Those of a measurement, and of the call on which it is made."""


RANKINGS = ("signed", "absolute")
MEASUREMENT_DEFAULTS: dict[str, Any] = {
    **dict.fromkeys(MeasurementSettings.__annotations__),
    **{"rankings": RANKINGS, "steps": 10, "top": 0.2, "subsets": 32, "sizes": (0.1, 0.3), "draws": 1},
}
EVALUATION_DEFAULTS = DEFAULTS | MEASUREMENT_DEFAULTS
