"""Agreement with shap where a missing value is a value: exact Shapley values against the same background; run by hand.

Of boosted trees on histograms shap's `TreeExplainer` is another thing: where values are missing its own values do not sum to the
prediction (by up to 0.54 here, of outputs that range over 3.2; shap 0.51), so that nothing is to be learnt from how far it is away.
"""

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier

import tsattr as ta

from .edge.test_missing import EACH, boosted

shap = pytest.importorskip("shap", reason="shap is not installed (extra: bench)")
pytestmark = pytest.mark.filterwarnings("ignore")


def exact(predict, rows, background):
    """Exact Shapley values and their reference by shap, which hands missing cells on from both as well."""
    predict_rows = lambda v: predict(pd.DataFrame(v, columns=rows.columns))  # noqa: E731
    masker = shap.maskers.Independent(background.to_numpy(), max_samples=len(background))
    found = shap.explainers.Exact(predict_rows, masker)(rows.to_numpy(), silent=True)
    return found.values, found.base_values


def test_boosted_trees_with_informative_missing_values():
    model, x = boosted()
    background, rows = x[50:90], x[x.isna().any(axis=1)][:40]
    ds = ta.explain(model, rows, ta.KernelShap(EACH, ta.baselines.Samples.fit(background), draws=40))
    values, reference = exact(model.predict, rows, background)
    np.testing.assert_allclose(ds.attribution, values, atol=1e-9)
    np.testing.assert_allclose(ds.reference, reference, atol=1e-9)
    assert abs(values[rows.isna()]).max() > 0.5


def test_probabilities_of_a_classifier():
    _, x = boosted()
    model = HistGradientBoostingClassifier(max_iter=20, random_state=0).fit(x, x.b.isna() ^ (x.a > 0))
    background, rows = x[50:80], x[:30]
    ds = ta.explain(model, rows, ta.KernelShap(EACH, ta.baselines.Samples.fit(background), draws=30), target=1)
    values, reference = exact(lambda frame: model.predict_proba(frame)[:, 1], rows, background)
    np.testing.assert_allclose(ds.attribution, values, atol=1e-9)
    np.testing.assert_allclose(ds.reference, reference, atol=1e-9)
