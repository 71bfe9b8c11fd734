"""Measures of an attribution, and of a search for similar cases: plain functions of plain arrays."""

from .agreement import agreement, sign_agreement, spearman, top_iou
from .controls import sample_key, smooth_random, white_random
from .curves import area, cumulative_change, drop, infidelity, sensitivity_n
from .localisation import (
    against_truth,
    aup,
    aur,
    auroc,
    average_precision,
    chance,
    mean_rank,
    pointing_game,
    relevance_mass,
    relevance_rank,
    top1,
)
from .pairs import adjusted, bootstrap
from .retrieval import cmc, retrieval, retrieval_average_precision, retrieval_chance
from .sanity import cascade, label_randomisation, randomised, seeds
from .stability import max_sensitivity

__all__ = [
    "adjusted",
    "against_truth",
    "agreement",
    "area",
    "aup",
    "aur",
    "auroc",
    "average_precision",
    "bootstrap",
    "cascade",
    "chance",
    "cmc",
    "cumulative_change",
    "drop",
    "infidelity",
    "label_randomisation",
    "max_sensitivity",
    "mean_rank",
    "pointing_game",
    "randomised",
    "relevance_mass",
    "relevance_rank",
    "retrieval",
    "retrieval_average_precision",
    "retrieval_chance",
    "sample_key",
    "seeds",
    "sensitivity_n",
    "sign_agreement",
    "smooth_random",
    "spearman",
    "top1",
    "top_iou",
    "white_random",
]


def __dir__() -> list[str]:
    return __all__
