"""The explainer of black boxes: known functions come back, with an honest fidelity."""

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor, RandomForestRegressor
from sklearn.linear_model import LinearRegression
from sklearn.metrics import r2_score

from tsattr.afex import AFEXExplainer

from .tables import mixed

QUICK = {"max_epochs": 40, "random_state": 0}


def additive(x):
    return np.sin(2 * x[:, 0]) + 2 * (x[:, 1] > 0.2) + x[:, 2] ** 2


def rows(n=800, p=4, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, (n, p))


def test_a_known_additive_function_comes_back():
    x = rows()
    model = AFEXExplainer(additive, **QUICK).fit(x)
    assert model.pairs_ == []
    assert model.fidelity_ > 0.999
    assert model.explain_global().attrs["fidelity"] == model.explain_local(x[:1]).attrs["fidelity"] == model.fidelity_
    grid = np.linspace(-1, 1, 60)
    for j, f in enumerate((lambda v: np.sin(2 * v), lambda v: 2 * (v > 0.2), lambda v: v**2, lambda v: 0 * v)):
        assert np.sqrt(np.mean((model.shape(j, grid) - (f(grid) - f(x[:, j]).mean())) ** 2)) < 0.05
    assert np.abs(model.predict(x) - additive(x)).max() < 0.3


def test_the_fidelity_is_that_of_new_rows():
    x, new = rows(), rows(5000, seed=1)

    def black_box(x):
        return additive(x) + np.prod(np.sign(x[:, :3]), axis=1)  # of three features: no sum of pairs

    model = AFEXExplainer(black_box, **QUICK).fit(x)
    assert model.fidelity_ == pytest.approx(r2_score(black_box(new), model.predict(new)), abs=0.06)
    assert 0.5 < model.fidelity_ < 0.9


def test_noise_has_no_fidelity():
    rng = np.random.default_rng(0)
    assert AFEXExplainer(lambda x: rng.normal(size=len(x)), **QUICK).fit(rows()).fidelity_ < 0.05


def test_a_classifier_by_its_log_odds_and_by_its_probability():
    x, y = mixed()
    x = x.assign(ward=x["ward"].astype("category"))
    black_box = HistGradientBoostingClassifier(max_iter=20, categorical_features="from_dtype").fit(x, y > 1)
    odds = AFEXExplainer(black_box, link="logit", **QUICK).fit(x)
    assert odds.fidelity_ > 0.9
    p = black_box.predict_proba(x)[:, 1]
    assert r2_score(p, odds.predict(x)) > 0.9
    ds = odds.explain_local(x[:10])
    assert np.allclose(ds["prediction"], np.log(odds.predict(x[:10]) / (1 - odds.predict(x[:10]))))
    assert odds.explain_global().attrs["units"] == "log-odds"
    probability = AFEXExplainer(black_box, **QUICK).fit(x)
    assert np.allclose(probability.predict(x), probability.explain_local(x)["prediction"])
    assert probability.explain_local(x[:2])["attribution"].dims == ("sample", "feature")


def test_several_classes_are_targets():
    x, y = mixed()
    x = x.drop(columns="ward")
    black_box = HistGradientBoostingClassifier(max_iter=20).fit(x, np.digitize(y, [0, 2]))
    model = AFEXExplainer(black_box, link="logit", **QUICK).fit(x)
    ds = model.explain_local(x[:5])
    assert ds["attribution"].dims == ("sample", "feature", "target")
    assert ds["target"].values.tolist() == ["0", "1", "2"]
    assert np.abs(ds["attribution"].sum("feature") + ds["reference"] - ds["prediction"]).max() < 1e-6
    assert np.allclose(model.predict(x).sum(1), 1)
    assert model.fidelity_ > 0.8


def test_rows_drawn_off_the_data_show_what_the_data_do_not():
    rng = np.random.default_rng(0)
    first = rng.uniform(-1, 1, 500)
    x = np.column_stack([first, first + 0.01 * rng.normal(size=500)])  # as good as the same column twice

    def black_box(x):
        return 3 * x[:, 0]

    assert AFEXExplainer(black_box, synthetic=500, **QUICK).fit(x).shape(0, [0.9])[0] == pytest.approx(2.7, abs=0.2)


def test_a_neighbourhood_asks_the_model_or_its_stand_in():
    x, asked = rows(), []

    def black_box(x):
        asked.append(len(x))
        return additive(x) + np.prod(np.sign(x[:, :3]), axis=1)

    model = AFEXExplainer(black_box, surrogate=True, **QUICK).fit(x)
    before = len(asked)
    stand_in = model.explain_near(x[:2], radius=0.3)
    assert len(asked) == before
    plain = AFEXExplainer(black_box, **QUICK).fit(x)
    before = len(asked)
    near = plain.explain_near(x[:2], radius=0.3)
    assert len(asked) > before
    for ds in (near, stand_in):
        assert ds["fidelity"].dims == ("sample",)
        assert np.abs(ds["attribution"].sum("feature") + ds["reference"] - ds["prediction"]).max() < 1e-6


def test_a_neighbourhood_without_interactions_is_explained_better_than_the_whole():
    x = rows()

    def black_box(x):
        return np.prod(np.sign(x[:, :3] + 0.001), axis=1) * x[:, 3]

    model = AFEXExplainer(black_box, interactions=0, **QUICK).fit(x)
    assert model.fidelity_ < 0.1
    near = model.explain_near([[0.5, 0.5, 0.5, 0.0]], radius=0.1)
    assert near["fidelity"].item() > 0.99
    up = model.explain_near([[0.5, 0.5, 0.5, 0.1]], radius=0.1)["prediction"].item()
    assert up == pytest.approx(0.1, abs=0.03)


def test_frames_reach_the_model_as_they_are():
    x, _ = mixed()
    model = AFEXExplainer(lambda f: f["age"] / 10 + (f["ward"] == "b"), synthetic=50, **QUICK).fit(x)
    assert model.fidelity_ > 0.999
    assert model.explain_near(x[:2])["fidelity"].min() > 0.99


def not_ordered(x):
    return 3.0 * x["lab"].isna() + x["age"] + 2.0 * x["ward"].isna()


def icu(n=400, seed=0):
    """A table in which a number and a category are missing in some rows."""
    rng = np.random.default_rng(seed)
    x = pd.DataFrame({"lab": rng.normal(size=n), "age": rng.uniform(0, 10, n), "ward": rng.choice(["icu", "home"], n)})
    x = x.mask(pd.DataFrame({"lab": rng.random(n) < 0.4, "age": False, "ward": rng.random(n) < 0.2}))
    return x.assign(ward=pd.Categorical(x.ward, ["home", "icu"]))


STATES = pd.DataFrame(
    {"lab": [np.nan, 2.0, -1.0], "age": [1.0, 1.0, 3.0], "ward": pd.Categorical([None, "icu", None], ["home", "icu"])}
)


@pytest.mark.parametrize("settings", [{}, {"synthetic": 300}, {"bags": 0}])
def test_what_was_not_measured_has_its_contribution(settings):
    x = icu()
    model = AFEXExplainer(not_ordered, n_nets=0, random_state=0, **settings).fit(x)
    assert model.fidelity_ > 0.999
    ds = model.explain_local(STATES)
    size = {"lab": 3.0, "ward": 2.0}
    fitted = model._fitted  # rows that are kept for the fit, and drawn for it
    for column, extra in size.items():
        share = np.average(np.isnan(fitted.x[:, list(x).index(column)]), weights=fitted.w)
        expected = extra * (STATES[column].isna() - share)
        np.testing.assert_allclose(ds.attribution.sel(feature=column), expected, atol=1e-3)
        assert model.explain_global().missing.sel(feature=column).item() == pytest.approx(extra * (1 - share), abs=1e-3)
    np.testing.assert_allclose(ds.prediction, not_ordered(STATES), atol=1e-3)


def test_trees_that_go_by_what_is_missing_are_explained():
    x = icu(1000)
    trees = HistGradientBoostingRegressor(categorical_features="from_dtype", random_state=0).fit(x, not_ordered(x))
    ds = AFEXExplainer(trees, n_nets=0, random_state=0).fit(x).explain_local(STATES)
    found = ds.attribution.sel(feature="lab")
    assert found[0].item() - found[1].item() == pytest.approx(3, abs=0.3)
    assert ds.attrs["fidelity"] > 0.99


@pytest.mark.parametrize("radius", [0.1, 1.0])
def test_round_a_row_cells_get_lost_and_are_found(radius):
    asked = []

    def told(x):
        asked.append(x)
        return not_ordered(x)

    model = AFEXExplainer(told, n_nets=0, random_state=0).fit(icu())
    del asked[:]
    ds = model.explain_near(STATES, radius=radius)
    assert len(asked) == len(STATES)
    for i, around in enumerate(asked):
        fitted = around[np.arange(len(around)) % 4 != 0]  # the others check the fit
        for column, extra in (("lab", 3.0), ("ward", 2.0)):
            assert 0 < fitted[column].isna().mean() < 1
            expected = extra * (STATES[column].isna()[i] - fitted[column].isna().mean())
            assert ds.attribution.sel(feature=column)[i].item() == pytest.approx(expected, abs=1e-3)
    assert ds.fidelity.min() > 0.999


def test_the_stand_in_tells_what_is_missing():
    model = AFEXExplainer(not_ordered, n_nets=0, random_state=0, surrogate=True).fit(icu())
    found = model.explain_near(STATES, radius=1.0).attribution
    asked = AFEXExplainer(not_ordered, n_nets=0, random_state=0).fit(icu()).explain_near(STATES, radius=1.0).attribution
    np.testing.assert_allclose(found.sel(feature=["lab", "ward"]), asked.sel(feature=["lab", "ward"]), atol=0.3)


def test_a_model_that_does_not_read_what_is_missing_says_so():
    x = icu()[["lab", "age"]]
    model = LinearRegression().fit(x.dropna(), x.dropna().age)
    with pytest.raises(ValueError, match="contains NaN"):
        AFEXExplainer(model, **QUICK).fit(x)
    with pytest.raises(ValueError, match="output is not finite for"):
        AFEXExplainer(lambda x: x["lab"] + x["age"], **QUICK).fit(x)


def test_cloning_keeps_the_fitted_model():
    x = rows(200)
    forest = RandomForestRegressor(5, random_state=0).fit(x, additive(x))
    model = AFEXExplainer(forest, **QUICK)
    again = clone(model)
    assert again.model is forest
    assert again.get_params()["max_epochs"] == 40
    assert again.fit(x).fidelity_ == model.fit(x).fidelity_


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"model": lambda x: x[:, 0], "link": "probit"}, "link is one of"),
        ({"model": lambda x: 3 * x[:, 0], "link": "logit"}, "probabilities between 0 and 1"),
        ({"model": lambda x: x[:3, 0]}, "one number or one row of numbers a row"),
        ({"model": lambda x: x[:, 0] * np.nan}, "not finite for 50 rows"),
    ],
)
def test_wrong_models(settings, message):
    with pytest.raises(ValueError, match=message):
        AFEXExplainer(**settings).fit(rows(50))


def test_what_is_no_model():
    with pytest.raises(TypeError, match="a fitted estimator or a function"):
        AFEXExplainer(3).fit(rows(50))
    frame = pd.DataFrame({"a": [1.0, 2.0], "b": [0.0, 1.0]})
    assert np.isnan(AFEXExplainer(lambda f: f["a"], n_nets=0).fit(frame).fidelity_)  # too few rows to keep any out
