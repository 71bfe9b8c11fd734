"""Simulators and loaders of labelled data; nothing is downloaded."""

from ..ecg.simulator import simulate_ecg
from .delays import spike
from .icu import read_physionet2012
from .inverse_model import linear_inverse_model
from .risk import simulate_risk
from .spacetime import additive_history
from .sphere import additive_sphere
from .states import state, switch_feature

__all__ = [
    "additive_history",
    "additive_sphere",
    "linear_inverse_model",
    "read_physionet2012",
    "simulate_ecg",
    "simulate_risk",
    "spike",
    "state",
    "switch_feature",
]


def __dir__() -> list[str]:
    return __all__
