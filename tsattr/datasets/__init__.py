"""Simulators and loaders of labelled data; nothing is downloaded."""

from .delays import spike
from .ecg import simulate_ecg
from .icu import read_physionet2012
from .risk import simulate_risk
from .states import state, switch_feature

__all__ = ["read_physionet2012", "simulate_ecg", "simulate_risk", "spike", "state", "switch_feature"]
