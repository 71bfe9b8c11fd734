"""Explanations inside scikit-learn: attributions and window features as transformers, and scikit-learn's own, labelled."""

from .attribution import AttributionTransformer
from .importance import partial_dependence, permutation_importance
from .windows import WindowFeatures

__all__ = [
    "AttributionTransformer",
    "WindowFeatures",
    "partial_dependence",
    "permutation_importance",
]


def __dir__() -> list[str]:
    return __all__
