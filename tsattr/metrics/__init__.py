"""Measures of an attribution: plain functions of plain arrays."""

from .curves import area, cumulative_change, drop, infidelity, sensitivity_n
from .localisation import (
    auroc,
    average_precision,
    chance,
    pointing_game,
    relevance_mass,
    relevance_rank,
    top1,
)

__all__ = ["auroc", "average_precision", "chance", "pointing_game", "relevance_mass", "relevance_rank", "top1"]
