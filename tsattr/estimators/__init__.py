"""Explanations inside scikit-learn: attributions and window features as transformers, and scikit-learn's own, labelled."""

from .attribution import AttributionTransformer as AttributionTransformer
from .importance import partial_dependence as partial_dependence
from .importance import permutation_importance as permutation_importance
from .windows import WindowFeatures as WindowFeatures
