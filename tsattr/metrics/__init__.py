"""Measures of an attribution: plain functions of plain arrays."""

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
