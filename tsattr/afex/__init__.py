"""AFEX: additive models of learnt one-feature functions and their products, as scikit-learn estimators.

`AFEXRegressor` and `AFEXClassifier` are their own explanation; `AFEXExplainer` explains any fitted model and says how
faithfully. Konstantinov and Utkin, arXiv 2108.04855.
"""

from .estimators import AFEXClassifier, AFEXRegressor
from .explainer import AFEXExplainer

__all__ = [
    "AFEXClassifier",
    "AFEXExplainer",
    "AFEXRegressor",
]


def __dir__() -> list[str]:
    return __all__
