"""scikit-learn's own checks of the three estimators: none is expected to fail."""

import numpy as np
import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from tsattr.afex import AFEXClassifier, AFEXExplainer, AFEXRegressor


class Total:
    """A function that is named alike in every process: pytest-xdist compares the tests' names."""

    def __call__(self, x):
        return np.nansum(np.asarray(x, dtype=float), axis=1)

    def __repr__(self):
        return "total"


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
@parametrize_with_checks(
    [AFEXRegressor(max_epochs=10), AFEXClassifier(max_epochs=10), AFEXExplainer(Total(), max_epochs=10)]
)
def test_scikit_learn(estimator, check):
    check(estimator)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
@parametrize_with_checks([AFEXRegressor(loss=loss, max_epochs=10) for loss in ("huber", "poisson", "gamma")])
def test_scikit_learn_with_other_losses(estimator, check):
    check(estimator)
