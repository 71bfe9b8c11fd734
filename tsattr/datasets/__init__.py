"""Simulators and loaders of labelled data; nothing is downloaded."""

from tsattr.datasets.ecg import simulate_ecg

__all__ = ["simulate_ecg"]
