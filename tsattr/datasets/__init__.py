"""Simulators and loaders of labelled data; nothing is downloaded."""

from .delays import spike
from .ecg import simulate_ecg
from .icu import read_physionet2012
from .states import state, switch_feature

__all__ = ["read_physionet2012", "simulate_ecg", "spike", "state", "switch_feature"]
