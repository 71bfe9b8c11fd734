"""AFEX: additive models of learnt one-feature functions and their products, as scikit-learn estimators.

`AFEXRegressor` and `AFEXClassifier` are their own explanation; `AFEXExplainer` explains any fitted model and says how
faithfully. Konstantinov and Utkin, arXiv 2108.04855.
"""

from .estimators import AFEXClassifier as AFEXClassifier
from .estimators import AFEXRegressor as AFEXRegressor
from .explainer import AFEXExplainer as AFEXExplainer
