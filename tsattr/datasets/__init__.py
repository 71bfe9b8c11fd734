"""Simulators and loaders of labelled data; nothing is downloaded."""

from .ecg import simulate_ecg

__all__ = ["simulate_ecg"]
