"""The estimators: identities that hold for every fit, and known answers."""

import functools
import pickle
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LassoCV
from sklearn.metrics import log_loss, r2_score, roc_auc_score
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.utils.class_weight import compute_sample_weight

import tsattr as ta
from tsattr.afex import AFEXClassifier, AFEXExplainer, AFEXRegressor, design, nets, working

from .tables import mixed, numbers

QUICK = {"max_epochs": 25, "random_state": 0}


@pytest.fixture(scope="module")
def regressor():
    return AFEXRegressor(**QUICK).fit(*numbers())


@pytest.fixture(scope="module")
def several():
    x, y = numbers()
    return AFEXClassifier(**QUICK).fit(x, np.digitize(y, [-0.5, 0.8]))


@pytest.fixture(scope="module")
def table():
    return AFEXRegressor(**QUICK).fit(*mixed())


def test_the_training_rows_can_be_dropped():
    rng = np.random.default_rng(0)
    x = pd.DataFrame({"a": rng.normal(size=300), "b": rng.choice(["u", "v"], 300), "c": rng.normal(size=300)})
    secret = 123.456789
    x.loc[7, ["a", "c"]] = [secret, secret]
    y = x.a.clip(-2, 2) + (x.b == "u") * x.c.clip(-2, 2)
    own = AFEXRegressor(n_nets=0, bags=3, random_state=0).fit(x, y)
    outside = AFEXExplainer(own.predict, n_nets=0, bags=3, random_state=0).fit(x)
    for fitted in (own, outside):
        before = fitted.explain_global(), fitted.term_importances(), fitted.predict(x), fitted.explain_local(x)
        assert fitted.training_rows_ > 200
        assert fitted.forget_rows() is fitted
        assert fitted.training_rows_ == 0
        for one, other in zip(before, (fitted.explain_global(), fitted.term_importances(), fitted.predict(x))):
            np.testing.assert_equal(other, one) if isinstance(one, np.ndarray) else xr.testing.assert_identical(
                other, one
            )
        xr.testing.assert_identical(fitted.explain_local(x), before[3])
        with pytest.raises(
            ValueError, match=r"explain_near needs the training rows, which forget_rows\(\) has dropped"
        ):
            fitted.explain_near(x[:1])
    held = [v for v in (own._y, own._fitted.x, own._fitted.w) if v.size]
    assert not held


def test_the_known_function_is_found(regressor):
    x, y = numbers(2000, seed=1)
    assert regressor.pairs_ == [(0, 1)]
    assert regressor.score(x, y) > 0.98
    grid = np.linspace(-0.9, 0.9, 37)
    truth = np.sin(3 * grid)
    found = regressor.shape(0, grid)
    assert np.corrcoef(truth, found)[0, 1] > 0.995
    a, b = np.meshgrid(grid, grid)
    pair = regressor.interaction(0, 1, a.ravel(), b.ravel())
    assert 1 - np.mean((pair - 2 * (a * b).ravel()) ** 2) / np.mean(4 * (a * b) ** 2) > 0.97
    jump = regressor.shape(2, [0.25, 0.35])
    assert np.isclose(np.diff(jump)[0], 1, atol=0.1)
    assert np.abs(regressor.shape(3, grid)).max() < 0.05


@pytest.mark.parametrize("name", ["regressor", "several", "table"])
def test_terms_sum_to_the_score(name, request):
    model = request.getfixturevalue(name)
    x = mixed()[0] if name == "table" else numbers()[0]
    x = x[:50]
    ds = model.explain_local(x)
    score = model.decision_function(x) if name == "several" else model.predict(x)
    assert np.abs(ds["attribution"].sum("feature") + ds["reference"] - score).max() < 1e-6
    assert np.abs(ds["main"].sum("feature") + ds["pair_value"].sum("pair") + ds["reference"] - score).max() < 1e-6
    assert np.allclose(ds["prediction"], score)
    assert np.abs(model.eval_terms(x).sum("term") + model.intercept_ - score).max() < 1e-6
    assert (ds["standard_error"] >= 0).all()
    columns = [np.asarray(x[c]) for c in x] if name == "table" else x.T
    for j, values in enumerate(columns):
        assert np.allclose(model.shape(j, values), ds["main"].isel(feature=j))
    for i, (a, b) in enumerate(model.pairs_):
        assert np.allclose(model.interaction(b, a, columns[b], columns[a]), ds["pair_value"].isel(pair=i))


def test_scores_of_several_classes_are_centred(several):
    x = numbers()[0][:20]
    assert np.abs(several.decision_function(x).sum(1)).max() < 1e-8
    assert np.abs(several.explain_local(x)["main"].sum("target")).max() < 1e-8
    assert np.allclose(several.predict_proba(x).sum(1), 1)
    assert (several.classes_[several.predict_proba(x).argmax(1)] == several.predict(x)).all()


def test_mains_are_centred_and_pairs_pure_over_the_marginals(regressor):
    x, _ = numbers()
    assert np.abs(regressor.explain_local(x)["main"].mean("sample")).max() < 1e-8
    for v in (-0.7, 0.1, 0.6):
        assert abs(regressor.interaction(0, 1, x[:, 0], np.full(len(x), v)).mean()) < 1e-8
        assert abs(regressor.interaction(0, 1, np.full(len(x), v), x[:, 1]).mean()) < 1e-8


def test_over_the_data_pairs_are_uncorrelated_with_their_mains():
    rng = np.random.default_rng(0)
    x = rng.multivariate_normal([0, 0], [[1, 0.7], [0.7, 1]], 800)
    y = x[:, 0] * x[:, 1] + 0.5 * x[:, 0] ** 2 + 0.1 * rng.normal(size=800)
    data, marginals = (AFEXRegressor(purify=p, interactions=[(0, 1)], **QUICK).fit(x, y) for p in ("data", "marginals"))
    assert np.allclose(data.predict(x), marginals.predict(x))
    pair = data.interaction(0, 1, x[:, 0], x[:, 1])
    assert abs(pair.mean()) < 1e-8
    for j in (0, 1):
        assert abs(np.mean(pair * data.shape(j, x[:, j]))) < 1e-8
        assert abs(np.mean(pair * x[:, j])) < 1e-8
        assert abs(data.shape(j, x[:, j]).mean()) < 1e-8
    other = marginals.interaction(0, 1, x[:, 0], x[:, 1])
    assert np.abs(pair - other).max() > 0.1  # the two differ where features depend on each other


@pytest.mark.parametrize("shift", [(2.0, 5.0), (1e-3, -1.0), (1e4, 1e6)])
def test_units_of_a_feature_do_not_matter(regressor, shift):
    x, y = numbers()
    scaled = x.copy()
    scaled[:, 0] = shift[0] * x[:, 0] + shift[1]
    other = AFEXRegressor(**QUICK).fit(scaled, y)
    assert np.allclose(other.predict(scaled), regressor.predict(x), atol=1e-3)
    grid = np.linspace(-1, 1, 9)
    assert np.allclose(other.shape(0, shift[0] * grid + shift[1]), regressor.shape(0, grid), atol=2e-3)


def test_units_of_the_outcome_scale_the_terms(regressor):
    x, y = numbers()
    other = AFEXRegressor(**QUICK).fit(x, 100 * y)
    assert np.allclose(other.predict(x) / 100, regressor.predict(x), atol=1e-3)
    assert np.allclose(other.term_importances() / 100, regressor.term_importances(), atol=1e-3)


def test_the_order_of_the_features_does_not_matter(regressor):
    x, y = numbers()
    order = [2, 0, 3, 1]
    other = AFEXRegressor(**QUICK).fit(x[:, order], y)
    assert other.pairs_ == [(1, 3)]
    assert np.allclose(other.predict(x[:, order]), regressor.predict(x), atol=1e-3)


def test_the_order_of_the_rows_does_not_matter(regressor):
    x, y = numbers()
    order = np.random.default_rng(0).permutation(len(x))
    assert np.allclose(AFEXRegressor(**QUICK).fit(x[order], y[order]).predict(x), regressor.predict(x))


@pytest.mark.parametrize("classes", [0, 2, 3])
def test_a_row_given_twice_is_a_row_of_weight_two(classes):
    x, y = numbers(200)
    w = np.random.default_rng(0).integers(0, 3, 200)
    y = np.digitize(y, np.linspace(-0.5, 0.8, classes - 1)) if classes else y
    model = (AFEXClassifier if classes else AFEXRegressor)(**QUICK)
    weighted = clone(model).fit(x, y, sample_weight=w)
    repeated = clone(model).fit(np.repeat(x, w, axis=0), np.repeat(y, w))
    ask = (lambda m: m.decision_function(x)) if classes else (lambda m: m.predict(x))
    assert np.allclose(ask(weighted), ask(repeated), atol=1e-8)
    normalised = clone(model).fit(x, y, sample_weight=np.full(200, 1 / 200))
    assert np.allclose(ask(normalised), ask(clone(model).fit(x, y)))


def rare(seed, n=2000):
    """A rare outcome of two columns of six, in a table without pairs."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 6))
    return x, rng.random(n) < 1 / (1 + np.exp(3.2 - np.sin(2 * x[:, 0]) - x[:, 1]))


RELATIVE = {
    "fractions": lambda y, rng: compute_sample_weight("balanced", y),
    "whole": lambda y, rng: np.where(y, 12, 1),
    "of a survey": lambda y, rng: rng.integers(50, 500, len(y)),
}


@pytest.mark.parametrize("weights", RELATIVE)
@pytest.mark.parametrize("step", [0, 0.5])
def test_weights_that_are_not_counts_make_no_pairs(weights, step):
    (x, y), (new, outcome) = rare(0), rare(1, 20_000)
    if step:
        x = np.round(x / step) * step  # rows recur, or could
    w = RELATIVE[weights](y, np.random.default_rng(0)) / (7 if step else 1)
    settings = {"n_nets": 0, "bags": 0}
    weighted, plain = AFEXClassifier(**settings).fit(x, y, w), AFEXClassifier(**settings).fit(x, y)
    assert weighted.pairs_ == []
    lost = [roc_auc_score(outcome, m.decision_function(new)) for m in (plain, weighted)]
    assert lost[1] > lost[0] - 0.02


@pytest.mark.parametrize("scale", [100, 0.37, 1e-9])
@pytest.mark.parametrize("step", [0, 0.5])
def test_the_scale_of_weights_does_not_matter(scale, step):
    x, y = numbers(300)
    x, y = (np.round(x / step), np.round(2 * y)) if step else (x, y)
    w = np.full(300, scale)
    est = AFEXRegressor(n_nets=0, bags=0)
    assert np.allclose(clone(est).fit(x, y, w).predict(x), clone(est).fit(x, y).predict(x), atol=1e-8)
    w = np.arange(300) % 4 + 0.3
    assert np.allclose(clone(est).fit(x, y, scale * w).predict(x), clone(est).fit(x, y, w).predict(x), atol=1e-6)


def test_counts_of_rows_that_recur_are_rows():
    rng = np.random.default_rng(0)
    x = rng.integers(3, size=(400, 2)).astype(float)
    y = rng.integers(2, size=400) | (x[:, 0] > 1)
    rows, counts = np.unique(np.column_stack([x, y]), axis=0, return_counts=True)
    once = AFEXClassifier(n_nets=0, bags=0).fit(rows[:, :2], rows[:, 2], counts)
    assert np.allclose(once.decision_function(x), AFEXClassifier(n_nets=0, bags=0).fit(x, y).decision_function(x))


def test_categories_missing_values_and_unknown_levels(table):
    x, _ = mixed()
    effect = table.shape("ward", ["a", "b"])
    assert np.isclose(np.diff(effect)[0], 1, atol=0.1)
    rare = table.shape("ward", ["c"])[0] - effect[0]
    assert 2 < rare < 3.2
    assert table.shape("ward", ["never seen"])[0] == 0
    known = table.shape("dose", [0.0, np.nan])
    assert np.isclose(np.diff(known)[0], 2, atol=0.2)
    terms = table.explain_global()
    assert np.isclose(terms["missing"].sel(feature="dose"), known[1])
    assert terms["missing"].isnull().values.tolist() == [True, False, True]
    assert abs(table.explain_local(x)["main"].mean("sample")).max() < 1e-8
    unseen = pd.DataFrame({"age": [1e6], "dose": [None], "ward": [None]}).astype({"dose": float})
    assert np.isfinite(table.predict(unseen)).all()


NOTHING = {
    "number": np.ones(200),
    "large number": np.full(200, 1e300),
    "no": np.zeros(200, bool),
    "date": np.full(200, np.datetime64("2020-01-01", "ns")),
    "missing": np.full(200, np.nan),
    "word": np.full(200, "a", dtype=object),
    "no word": np.full(200, None, dtype=object),
}


@functools.cache
def predicted_without(*settings):
    x, y = numbers(200)
    frame = pd.DataFrame(x)
    return AFEXRegressor(**QUICK, **dict(settings)).fit(frame, y).predict(frame)


@pytest.mark.parametrize("column", NOTHING)
@pytest.mark.parametrize(
    "settings",
    [{}, {"interactions": [(0, 1), (0, 4)], "purify": "data"}, {"attention": "correlation"}, {"atoms": False}],
)
def test_a_column_of_one_value_adds_nothing(column, settings):
    x, y = numbers(200)
    frame = pd.DataFrame(x)
    more = frame.assign(nothing=NOTHING[column]).set_axis([*"abcde"], axis=1)
    model = AFEXRegressor(**QUICK, **settings).fit(more, y)
    ds, terms = model.explain_local(more), model.explain_global()
    assert (ds["main"].sel(feature="e") == 0).all()
    assert (terms["importance"].sel(feature="e") == 0).all()
    assert np.allclose(ds["attribution"].sum("feature") + ds["reference"], model.predict(more))
    assert np.isfinite(model.explain_near(more[:2])["attribution"]).all()
    if "purify" not in settings:
        assert np.allclose(model.predict(more), predicted_without(*settings.items()), atol=1e-6)


def test_a_column_of_one_value_and_gaps_is_its_gaps():
    x, _ = numbers(200)
    gap = np.arange(200) % 3 == 0
    frame = pd.DataFrame({"a": x[:, 0], "ward": np.where(gap, np.nan, 7.0)})
    model = AFEXRegressor(**QUICK).fit(frame, x[:, 0] + 3 * gap)
    assert np.diff(model.shape("ward", [7.0, np.nan]))[0] == pytest.approx(3, rel=1e-3)


@pytest.mark.parametrize("columns", [1, 3])
@pytest.mark.parametrize("value", [0.0, 0.1, -3e8])
@pytest.mark.parametrize("attention", ["least_squares", "softmax"])
def test_a_constant_outcome_is_its_value_and_no_term(columns, value, attention):
    x = numbers(50, 3)[0][:, :columns] if columns == 3 else np.ones((50, 1))
    model = AFEXRegressor(attention=attention, **QUICK).fit(x, np.full(50, value))
    outside = AFEXExplainer(lambda x: np.full(len(x), value), attention=attention, **QUICK).fit(x)
    assert columns == 1 or outside.fidelity_ == 1  # rows that are equal are one, and none is kept out
    for est in (model, outside):
        assert (est.predict(x) == value).all()
        assert est.intercept_ == value
        assert (est.explain_local(x)["attribution"] == 0).all()
        assert (est.explain_near(x[:2])["attribution"] == 0).all()
        terms = est.explain_global()
        assert (terms["importance"] == 0).all()
        assert (terms["upper"].fillna(0) == 0).all()


def test_values_outside_the_training_range_count_as_its_end(regressor):
    assert np.allclose(regressor.shape(0, [5.0, -5.0]), regressor.shape(0, [1.0, -1.0]), atol=0.02)
    assert regressor.shape(0, [5.0]) == regressor.shape(0, [500.0])


def test_rare_levels_are_shrunk():
    rng = np.random.default_rng(0)
    levels = np.array([f"l{i}" for i in range(40)])
    ward = np.r_[np.repeat(levels[:30], 30), levels[30:]]
    truth = dict(zip(levels, rng.normal(size=40)))
    y = np.array([truth[v] for v in ward]) + rng.normal(size=len(ward))
    frame = pd.DataFrame({"ward": ward})
    model = AFEXRegressor(**QUICK).fit(frame, y)
    means = frame.assign(y=y - y.mean()).groupby("ward")["y"].mean()
    ratio = model.shape("ward", means.index.to_numpy()) / means.to_numpy()
    assert np.all(np.abs(ratio[means.index.isin(levels[30:])]) < 0.75)
    assert np.median(ratio[means.index.isin(levels[:30])]) > 0.9


@pytest.mark.parametrize("levels", [300, 800])
def test_hundreds_of_levels_have_effects_of_their_own(levels):
    rng = np.random.default_rng(0)
    truth, ward = rng.normal(size=levels), rng.integers(levels, size=10 * levels)
    frame = pd.DataFrame({"ward": np.char.add("w", ward.astype(str)), "age": rng.normal(size=len(ward))})
    y = truth[ward] + frame["age"] + 0.3 * rng.normal(size=len(ward))
    model = AFEXRegressor(n_nets=0, bags=0).fit(frame, y)
    means = frame.assign(y=y - frame["age"]).groupby("ward")["y"].mean()
    found = model.shape("ward", means.index.to_numpy())
    # with as many rows of each level, the best shrunk means (James and Stein) are the means times one share
    assert np.corrcoef(found, means)[0, 1] > 0.999
    new = rng.integers(levels, size=5000)
    f = truth[new] + rng.normal(size=5000)
    assert model.score(pd.DataFrame({"ward": np.char.add("w", new.astype(str)), "age": f - truth[new]}), f) > 0.98


def few(kind, n, p, seed):
    """A table of more columns than rows allow, five of which count, and the noiseless outcome."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, p))
    if kind == "straight":
        return x, x[:, :5] @ [3, -2, 1.5, 1, -1]
    return x, 3 * np.sin(x[:, 0]) - 2 * x[:, 1] + 2 * (x[:, 2] > 0) + 1.5 * np.abs(x[:, 3]) - x[:, 4]


@pytest.mark.parametrize(("rows", "columns"), [(80, 500), (100, 100), (200, 100)])
@pytest.mark.parametrize("kind", ["straight", "bent"])
def test_of_many_columns_those_that_count_are_selected(kind, rows, columns):
    (x, f), (new, truth) = few(kind, rows, columns, 0), few(kind, 4000, columns, 1)
    y = f + 0.3 * np.random.default_rng(2).normal(size=rows)
    model = AFEXRegressor(bags=0, random_state=0).fit(x, y)
    lasso = LassoCV().fit(x, y)
    assert model.score(new, truth) > min(lasso.score(new, truth) - 0.01, 0.97)
    assert kind == "straight" or model.score(new, truth) > lasso.score(new, truth) + 0.1
    sizes = model.term_importances().values[:columns]
    assert (sizes[:5] > 0).all()
    assert (sizes > 0).sum() <= 10


def test_columns_are_selected_for_classes_too():
    (x, f), (new, truth) = few("straight", 200, 100, 0), few("straight", 4000, 100, 1)
    model = AFEXClassifier(bags=0, random_state=0).fit(x, f > 0)
    lasso = LassoCV().fit(x, (f > 0).astype(float)).predict(new)
    assert roc_auc_score(truth > 0, model.decision_function(new)) > roc_auc_score(truth > 0, lasso)
    assert (model.term_importances().values[:5] > 0).all()


def test_a_pair_of_columns_without_mains_is_found_among_many():
    x, _ = few("straight", 200, 60, 0)
    y = 2 * x[:, 7] * x[:, 30] + x[:, 0] + 0.2 * np.random.default_rng(1).normal(size=200)
    assert AFEXRegressor(bags=0, random_state=0).fit(x, y).pairs_ == [(7, 30)]
    assert (3, 9) in AFEXRegressor(bags=0, random_state=0, interactions=[(3, 9)]).fit(x, y).pairs_


LOSSES = {
    "huber": lambda f, rng: f + 0.4 * rng.standard_t(1.5, len(f)),
    "poisson": lambda f, rng: rng.poisson(np.exp(f)),
    "gamma": lambda f, rng: np.exp(f) * rng.gamma(2.0, 0.5, len(f)),
}


def skewed(n, seed):
    """A table without pairs, and its score."""
    x = np.random.default_rng(seed).uniform(-1, 1, (n, 5))
    return x, np.sin(3 * x[:, 0]) + 2 * x[:, 1] ** 2 + x[:, 2] + (x[:, 3] > 0.2)


@pytest.mark.parametrize("loss", LOSSES)
def test_each_loss_finds_the_score_of_its_noise(loss):
    (x, f), (new, truth) = skewed(2000, 0), skewed(4000, 1)
    y = LOSSES[loss](f, np.random.default_rng(2))
    model = AFEXRegressor(loss=loss, **QUICK).fit(x, y)
    assert model.pairs_ == []  # though those of logarithms act together on their mean
    score = model.explain_local(new)["prediction"].values
    assert r2_score(truth, score) > 0.985
    assert np.allclose(model.predict(new), score if loss == "huber" else np.exp(score))
    assert model.explain_global().attrs["link"] == ("identity" if loss == "huber" else "log")
    assert np.isfinite(model.explain_near(new[:2])["attribution"]).all()


@pytest.mark.slow
@pytest.mark.parametrize("loss", LOSSES)
def test_bands_of_each_loss_are_as_wide_as_the_draws_differ(loss):
    standard = []
    for seed in range(12):
        x, f = skewed(1000, seed)
        y = LOSSES[loss](f, np.random.default_rng(seed + 100))
        terms = AFEXRegressor(loss=loss, n_nets=0, random_state=0).fit(x, y).explain_global().sel(feature="x2")
        error = (terms["upper"] - terms["lower"]) / (2 * 1.96)
        truth = terms["value"] - x[:, 2].mean()
        standard.append(((terms["shape"] - truth) / error).values[[5, -6]])
    assert 0.6 < np.std(standard) < 1.4


@pytest.mark.parametrize("loss", LOSSES)
def test_each_loss_counts_weights_as_rows_and_knows_no_units(loss):
    x, f = skewed(300, 0)
    rng = np.random.default_rng(2)
    y, w = LOSSES[loss](f, rng).astype(float), rng.integers(0, 3, 300)
    est = AFEXRegressor(loss=loss, n_nets=0, bags=0)
    repeated = clone(est).fit(np.repeat(x, w, axis=0), np.repeat(y, w)).predict(x)
    assert np.allclose(clone(est).fit(x, y, w).predict(x), repeated)
    scaled = clone(est).fit(x, 1000 * y, w).predict(x) / 1000
    assert np.allclose(scaled, repeated, rtol=1e-4)


@pytest.mark.parametrize("loss", ["squared_error", *LOSSES])
@pytest.mark.parametrize("value", [1.0, 0.3])
def test_a_constant_outcome_under_each_loss(loss, value):
    model = AFEXRegressor(loss=loss, **QUICK).fit(numbers(50)[0], np.full(50, value))
    assert np.allclose(model.predict(numbers(50)[0]), value, rtol=1e-15)
    assert (model.explain_global()["importance"] == 0).all()


def test_a_mostly_constant_outcome_has_a_width_of_its_own():
    x, _ = numbers(200)
    y = np.where(x[:, 0] > 0.5, x[:, 1], 0.0)
    assert np.isfinite(AFEXRegressor(loss="huber", **QUICK).fit(x, y).predict(x)).all()


@pytest.mark.parametrize("constraint", [{"monotonic_cst": [1, 0, -1]}, {"monotonic_cst": {"a": 1, "c": -1}}])
@pytest.mark.parametrize("kind", [AFEXRegressor, AFEXClassifier])
def test_monotone_constraints_hold_everywhere(constraint, kind):
    rng = np.random.default_rng(0)
    x = pd.DataFrame(rng.uniform(-1, 1, (500, 3)), columns=list("abc"))
    f = np.sin(4 * x["a"]) + x["b"] ** 2 - np.tanh(5 * x["c"]) + (x["a"] > 0.5)
    y = f + 0.3 * rng.normal(size=500)
    model = kind(**QUICK, **constraint).fit(x, y > 0.3 if kind is AFEXClassifier else y)
    grid = np.linspace(-1.2, 1.2, 500)
    assert np.diff(model.shape("a", grid)).min() >= -1e-10
    assert np.diff(model.shape("c", grid)).max() <= 1e-10
    assert np.ptp(model.shape("a", grid)) > 0.5
    assert np.diff(model.shape("b", grid)).min() < -1e-3
    assert not any(j in pair for pair in model.pairs_ for j in (0, 2))


def test_pairs_on_request(regressor):
    x, y = numbers()
    assert AFEXRegressor(interactions=0, **QUICK).fit(x, y).pairs_ == []
    assert (0, 1) in AFEXRegressor(interactions=2, **QUICK).fit(x, y).pairs_
    named = pd.DataFrame(x, columns=list("abcd"))
    assert AFEXRegressor(interactions=[("d", "a")], **QUICK).fit(named, y).pairs_ == [(0, 3)]
    assert (regressor.interaction(0, 3, x[:5, 0], x[:5, 3]) == 0).all()


JUMPS = {
    "half-plane": lambda a, b: np.where(a + b > 0.3, 1.0, -1.0),
    "disc": lambda a, b: np.where(a**2 + b**2 < 0.5, 1.5, -0.5),
}


def jumping(jump, seed, n=2000):
    """Columns and outcome of a pair that jumps, beside three mains; noise of a third of the sd of f; fresh columns and their f."""
    rng = np.random.default_rng(seed)
    x, new = rng.uniform(-1, 1, (n, 5)), rng.uniform(-1, 1, (5000, 5))
    f, truth = (JUMPS[jump](v[:, 0], v[:, 1]) + np.sin(2 * v[:, 2]) + v[:, 3] ** 2 + v[:, 4] / 2 for v in (x, new))
    return x, f + truth.std() / 3 * rng.normal(size=n), new, truth


def pure_jump(jump, nodes):
    """The nodes of both features and what no main has of the jump there."""
    v = -1 + 2 * (np.arange(nodes) + 0.5) / nodes
    a, b = np.meshgrid(v, v, indexing="ij")
    surface = JUMPS[jump](a, b)
    return a, b, surface - surface.mean(0) - surface.mean(1, keepdims=True) + surface.mean()


def r2_of_products(jump, products, nodes=96):
    """R2 of the best sum of that many products of a function of the one feature and one of the other (Eckart and Young)."""
    share = np.linalg.svd(pure_jump(jump, nodes)[2], compute_uv=False) ** 2
    return share[:products].sum() / share.sum()


def pure_r2(model, jump, nodes=96):
    """R2 of the interaction of the first two features, against what no main has of the jump."""
    a, b, pure = pure_jump(jump, nodes)
    found = model.interaction(0, 1, a.ravel(), b.ravel()).reshape(pure.shape)
    return 1 - np.mean((found - pure) ** 2) / np.mean(pure**2)


@pytest.mark.parametrize(
    ("jump", "seed"),
    [
        ("half-plane", 0),
        *(pytest.param(j, s, marks=pytest.mark.slow) for j, s in (("half-plane", 1), ("disc", 0), ("disc", 1))),
    ],
)
def test_jumps_along_other_lines_than_the_axes_take_a_surface(jump, seed):
    x, y, new, truth = jumping(jump, seed)
    model = AFEXRegressor(random_state=0, bags=0).fit(x, y)
    assert model.pairs_ == list(model._fitted.model.surfaces) == [(0, 1)]
    assert model.score(new, truth) >= 0.95
    assert pure_r2(model, jump) > r2_of_products(jump, 2)


def tabled(**settings):
    """A fit with missing cells that has a surface, its columns and its outcome."""
    x, y, _, _ = jumping("half-plane", 0, 900)
    x[np.random.default_rng(9).random(900) < 0.1, 0] = np.nan
    model = AFEXRegressor(random_state=0, **settings).fit(x, y)
    assert (0, 1) in model._fitted.model.surfaces
    return model, x, y


def test_a_surface_is_pure_has_bands_and_adds_up():
    model, x, _ = tabled()
    for value in (-0.9, 0.13, 0.7, np.nan):
        across = model.interaction(0, 1, np.full(len(x), value), x[:, 1])
        along = model.interaction(0, 1, x[:, 0], np.full(len(x), value))
        assert abs(across.mean()) < 1e-9
        assert abs(along.mean()) < 1e-9
    assert (
        model.interaction(0, 1, [0.3, np.nan], [np.nan, 0.3]) == model.interaction(1, 0, [np.nan, 0.3], [0.3, np.nan])
    ).all()
    assert np.allclose(
        model.interaction(0, 1, [9.0], [-9.0]), model.interaction(0, 1, [np.nanmax(x[:, 0])], [x[:, 1].min()])
    )
    score, ds = model.predict(x), model.explain_local(x)
    assert np.allclose(ds["attribution"].sum("feature") + ds["reference"], score, atol=1e-9)
    assert np.allclose(model.eval_terms(x).sum("term") + model.intercept_, score, atol=1e-9)
    assert (ds["standard_error"] > 0).all()
    terms = model.explain_global()
    known = terms["interaction"].notnull()
    assert known.any()
    assert (terms["interaction_upper"] - terms["interaction_lower"]).where(known).min() >= 0
    again = pickle.loads(pickle.dumps(model))
    assert (again.eval_terms(x) == model.eval_terms(x)).all()
    assert np.isfinite(model.explain_near(x[:2])["attribution"]).all()


def test_a_surface_over_the_data_is_orthogonal_to_its_mains():
    model, x, _ = tabled(purify="data", bags=0)
    pair = model.interaction(0, 1, x[:, 0], x[:, 1])
    assert pair.std() > 0.3
    for columns in model._fitted.model.blocks(x)[:2]:
        assert np.abs(columns.T @ pair).max() < 1e-6 * len(x)


def test_a_surface_knows_neither_the_order_of_the_features_nor_how_often_rows_are_given():
    model, x, y = tabled(bags=0)
    other = AFEXRegressor(random_state=0, bags=0).fit(x[::-1, ::-1], y[::-1])
    assert other.pairs_ == [(3, 4)]
    assert np.allclose(other.predict(x[:, ::-1]), model.predict(x), atol=1e-3)
    twice = AFEXRegressor(random_state=0, bags=0).fit(x, y, sample_weight=np.full(len(y), 2.0))
    assert np.allclose(twice.predict(x), model.predict(x), atol=1e-6)


def test_smooth_pairs_keep_few_nets():
    rng = np.random.default_rng(0)
    x = rng.uniform(size=(1000, 3))
    y = 10 * np.sin(np.pi * x[:, 0] * x[:, 1]) + rng.normal(size=1000)
    model = AFEXRegressor(random_state=0, bags=0).fit(x, y)
    assert [len(feature.nets.mix) for feature in model._fitted.model.features[:2]] == [2, 2]


def test_heredity_refuses_pairs_without_mains():
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, (600, 3))
    y = x[:, 0] * x[:, 1] + x[:, 2] + 0.1 * rng.normal(size=600)
    assert AFEXRegressor(**QUICK).fit(x, y).pairs_ == [(0, 1)]
    assert AFEXRegressor(heredity=True, **QUICK).fit(x, y).pairs_ == []


def test_additive_data_give_no_pairs():
    found = 0
    for seed in range(6):
        rng = np.random.default_rng(seed)
        x = rng.multivariate_normal(np.zeros(5), 0.5 * np.eye(5) + 0.5, 500)
        y = np.sin(2 * x[:, 0]) + x[:, 1] ** 2 + np.abs(x[:, 2]) + 0.5 * rng.normal(size=500)
        found += len(AFEXRegressor(n_nets=0, bags=0).fit(x, y).pairs_)
    assert found <= 1


@pytest.mark.parametrize("attention", ["correlation", "softmax"])
def test_the_scores_of_the_paper_as_weights(attention):
    x, y = numbers()
    model = AFEXRegressor(attention=attention, interactions=0, **QUICK).fit(x, y)
    assert model.score(x, y) > 0.3
    ds = model.explain_local(x)
    assert np.abs(ds["attribution"].sum("feature") + ds["reference"] - model.predict(x)).max() < 1e-6
    labels = AFEXClassifier(attention=attention, interactions=0, **QUICK).fit(x, y > 0)
    assert labels.score(x, y > 0) > 0.6


def test_nets_alone_fit_without_splines_and_steps():
    x, y = numbers(1000)
    model = AFEXRegressor(atoms=False, n_nets=4, random_state=0).fit(x, y)
    assert model.pairs_ == [(0, 1)]
    assert model.score(*numbers(1000, seed=1)) > 0.93


def test_bands_cover_and_importances_are_standard_deviations(regressor):
    x, _ = numbers()
    terms = regressor.explain_global()
    assert list(terms["pair"].values) == ["x0 x x1"]
    assert terms["first"].values.tolist() == ["x0"]
    grid = terms["value"].sel(feature="x0").values
    assert np.allclose(terms["shape"].sel(feature="x0"), regressor.shape(0, grid))
    assert grid[0] == x[:, 0].min()
    assert grid[-1] == x[:, 0].max()
    truth = np.sin(3 * grid) - np.sin(3 * x[:, 0]).mean()
    inside = (truth > terms["lower"].sel(feature="x0")) & (truth < terms["upper"].sel(feature="x0"))
    assert inside.mean() > 0.6
    assert np.allclose(terms["density"].sum("grid"), 1)
    local = regressor.explain_local(x)
    assert np.allclose(terms["importance"], local["main"].std("sample"))
    assert np.allclose(terms["pair_importance"], local["pair_value"].std("sample"))
    assert np.isclose(terms["interaction_importance"].sel(feature="x1", feature_b="x0"), terms["pair_importance"][0])
    assert np.allclose(regressor.term_importances(), np.r_[terms["importance"].values, terms["pair_importance"].values])


def test_bands_are_as_wide_as_repeated_draws_differ():
    grid, shapes, widths = np.linspace(-0.8, 0.8, 9), [], []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        x = rng.uniform(-1, 1, (300, 1))
        model = AFEXRegressor(n_nets=0, bags=50, random_state=0).fit(
            x, np.sin(2 * x[:, 0]) + 0.5 * rng.normal(size=300)
        )
        shapes.append(model.shape(0, grid))
        widths.append(model._fitted.model.main(0, grid, draws=True)[:, 0, 1:].std(1))
    ratio = np.mean(widths, axis=0) / np.std(shapes, axis=0, ddof=1)
    assert 0.6 < np.median(ratio) < 1.6


def test_global_terms_of_several_classes_have_a_target(several):
    terms = several.explain_global()
    assert terms["shape"].dims == ("target", "feature", "grid")
    assert terms["interaction"].dims == ("target", "pair", "grid", "grid_b")
    assert terms["target"].values.tolist() == ["0", "1", "2"]
    assert several.explain_local(numbers()[0][:3])["attribution"].dims == ("sample", "feature", "target")
    assert terms.attrs["link"] == "softmax"


def test_results_can_be_written(table, several, tmp_path):
    x, _ = mixed()
    for name, ds in {
        "g": table.explain_global(),
        "l": table.explain_local(x[:4]),
        "m": several.explain_global(),
    }.items():
        ds.to_netcdf(tmp_path / f"{name}.nc", engine="h5netcdf")
        again = xr.load_dataset(tmp_path / f"{name}.nc", engine="h5netcdf")
        assert again.sizes == ds.sizes


def test_near_the_training_data_as_a_whole_the_weights_stay(regressor):
    x, _ = numbers()
    far, own = regressor.explain_near(x[:5], radius=1e6), regressor.explain_local(x[:5])
    assert np.abs(far["prediction"] - own["prediction"]).max() < 0.02
    assert np.abs(far["main"] - own["main"]).max() < 0.02
    assert np.allclose(far["rows"], 400)
    assert (far["fidelity"] > 0.98).all()


def test_near_a_row_the_model_is_that_of_its_neighbourhood():
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, (1500, 2))
    y = np.where(x[:, 1] > 0, 3 * x[:, 0], -3 * x[:, 0])
    model = AFEXRegressor(interactions=0, **QUICK).fit(x, y)  # an additive model sees no effect of the first
    assert model.term_importances()[0] < 0.3
    near = model.explain_near([[0.5, 0.6], [0.5, -0.6]], radius=0.2)
    assert np.sign(near["main"].isel(feature=0)).values.tolist() == [1, -1] or near["prediction"].diff("sample")[0] < -1
    assert (near["fidelity"] > 0.5).all()
    assert (near["rows"] < 400).all()
    assert near.attrs["radius"] == 0.2


def test_results_are_evaluated_like_any_other(regressor):
    x, _ = numbers()
    scores = ta.evaluate(regressor, x[:8], regressor.explain_local(x[:8]))
    assert np.allclose(scores["prediction"], regressor.predict(x[:8]))
    assert np.isfinite(scores["deletion"]).all()


def test_pickles_and_clones(table):
    x, _ = mixed()
    again = pickle.loads(pickle.dumps(table))
    assert np.array_equal(again.predict(x), table.predict(x))
    assert xr.testing.assert_identical(again.explain_global(), table.explain_global()) is None
    assert clone(table).get_params() == table.get_params()


def test_polars_gives_the_same_fit(table):
    pl = pytest.importorskip("polars")
    x, y = mixed()
    other = pl.from_dict({c: [None if v != v else v for v in x[c].tolist()] for c in x})
    assert np.allclose(AFEXRegressor(**QUICK).fit(other, y).predict(other), table.predict(x))


def test_names_come_from_frames(table):
    assert table.feature_names_in_.tolist() == ["age", "dose", "ward"]
    with pytest.raises(ValueError, match="feature names"):
        table.predict(mixed()[0].rename(columns={"age": "years"}))
    assert table.explain_local(mixed()[0].iloc[[7, 3]])["sample"].values.tolist() == [7, 3]


def test_inside_pipelines_and_searches():
    x, y = mixed(200)
    columns = make_column_transformer(
        (OneHotEncoder(sparse_output=False, handle_unknown="ignore"), ["ward"]), (StandardScaler(), ["age", "dose"])
    ).set_output(transform="pandas")
    pipe = make_pipeline(columns, AFEXRegressor(n_nets=0, bags=0))
    search = GridSearchCV(pipe, {"afexregressor__interactions": [0, 1]}, cv=2).fit(x, y)
    assert search.best_score_ > 0.8
    assert "standardscaler__age" in search.best_estimator_[-1].feature_names_in_
    classifier = CalibratedClassifierCV(AFEXClassifier(n_nets=0, bags=0), cv=2).fit(x, y > 1)
    assert log_loss(y > 1, classifier.predict_proba(x)) < 0.35


def test_probabilities_are_calibrated():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(3000, 2))
    p = 1 / (1 + np.exp(-(np.sin(2 * x[:, 0]) * 2 + x[:, 1])))
    y = rng.random(3000) < p
    found = AFEXClassifier(**QUICK).fit(x[:1500], y[:1500]).predict_proba(x[1500:])[:, 1]
    assert np.sqrt(np.mean((found - p[1500:]) ** 2)) < 0.05
    assert log_loss(y[1500:], found) < log_loss(y[1500:], p[1500:]) + 0.02


def test_the_same_seed_gives_the_same_fit(regressor):
    x, y = numbers()
    assert np.array_equal(AFEXRegressor(**QUICK).fit(x, y).predict(x), regressor.predict(x))


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"interactions": "all"}, ValueError, "interactions is 'auto'"),
        ({"interactions": -1}, ValueError, "not negative"),
        ({"interactions": [(0, 0)]}, ValueError, "two different features"),
        ({"interactions": [("a", "b")]}, KeyError, "no feature 'a'"),
        ({"interactions": [(0, 9)]}, IndexError, "feature 9 of 4"),
        ({"attention": "dot"}, ValueError, "attention is one of"),
        ({"loss": "log"}, ValueError, "loss is one of"),
        ({"loss": "gamma"}, ValueError, "for outcomes above 0, and y has -"),
        ({"loss": "poisson"}, ValueError, "at least 0 that are not all 0"),
        ({"purify": "no"}, ValueError, "purify is one of"),
        ({"validation_fraction": 1.5}, ValueError, "between 0 and 1"),
        ({"n_nets": -1}, ValueError, "n_nets is a whole number"),
        ({"hidden": 0}, ValueError, "hidden is a whole number"),
        ({"monotonic_cst": [1]}, ValueError, "one entry a feature"),
        ({"monotonic_cst": [2, 0, 0, 0]}, ValueError, "holds -1, 0 and 1"),
    ],
)
def test_wrong_settings(settings, error, message):
    with pytest.raises(error, match=message):
        AFEXRegressor(**settings).fit(*numbers(50))


def test_wrong_calls(regressor, table):
    x, y = numbers(50)
    with pytest.raises(KeyError, match="no feature 'height'"):
        table.shape("height", [1])
    with pytest.raises(TypeError, match="name or an index"):
        regressor.shape(1.5, [1])
    with pytest.raises(ValueError, match="one-dimensional"):
        regressor.shape(0, np.zeros((2, 2)))
    with pytest.raises(ValueError, match="two different features"):
        regressor.interaction(1, 1, [0.0], [0.0])
    with pytest.raises(ValueError, match="radius"):
        regressor.explain_near(x[:1], radius=0)
    with pytest.raises(ValueError, match="categories: \\['ward'\\]"):
        AFEXRegressor(monotonic_cst={"ward": 1}).fit(*mixed(50))
    with pytest.raises(ValueError, match="one class"):
        AFEXClassifier().fit(x, np.zeros(50))
    with pytest.raises(ValueError, match="monotonic_cst is for one score"):
        AFEXClassifier(monotonic_cst=[1, 0, 0, 0]).fit(x, np.arange(50) % 3)
    with pytest.raises(ValueError, match="at least one non-zero"):
        AFEXRegressor().fit(x, y, np.zeros(50))


NOISE = {
    "rare outcome": lambda rng, x: None,
    "normal": lambda rng, x: rng.normal(size=len(x)),
    "skewed": lambda rng, x: rng.lognormal(sigma=1.5, size=len(x)),
    "larger in places": lambda rng, x: rng.normal(size=len(x)) * np.exp(np.nan_to_num(x[:, 8])),
}


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("noise", NOISE)
def test_chance_makes_no_steps_and_no_pairs(noise, seed):
    rng = np.random.default_rng(seed)
    x = np.column_stack(
        [rng.lognormal(sigma=1.5, size=(1500, 4)), rng.poisson(1.0, (1500, 4)), rng.normal(size=(1500, 4))]
    )
    x[rng.random(x.shape) < 0.3] = np.nan
    e = NOISE[noise](rng, x)
    if e is None:
        est = AFEXClassifier(bags=0, n_nets=0).fit(x, rng.random(1500) < 0.05)
    else:
        est = AFEXRegressor(bags=0, n_nets=0).fit(x, e + e.std() * np.nan_to_num(x[:, 9]))
    assert est.pairs_ == []
    assert sum(len(f.steps) for f in est._fitted.model.features) == 0


def test_results_say_what_a_higher_score_speaks_for():
    x, y = numbers(100)
    model = AFEXClassifier(**QUICK).fit(x, np.where(y > 0, "ill", "well"))
    outside = AFEXExplainer(model, link="logit", **QUICK).fit(x)
    assert model.explain_global().attrs["target"] == outside.explain_local(x[:2]).attrs["target"] == "well"
    assert outside.explain_global().attrs["model"] == "AFEXClassifier"


@pytest.mark.parametrize("kind", [AFEXRegressor, AFEXClassifier])
def test_columns_made_piece_by_piece_give_the_same_fit(kind, monkeypatch):
    x, y = numbers(300)
    y = y > 0.3 if kind is AFEXClassifier else y
    whole = kind(purify="data", **QUICK).fit(x, y)
    monkeypatch.setattr(working, "CELLS", 0)
    monkeypatch.setattr(design, "CELLS", 0)
    monkeypatch.setattr(design, "PIECE", 5000)
    monkeypatch.setattr(nets, "BATCH", 300)
    pieces = kind(purify="data", **QUICK).fit(x, y)
    assert pieces.pairs_ == whole.pairs_ == [(0, 1)]
    assert np.allclose(pieces.explain_local(x)["main"], whole.explain_local(x)["main"], atol=1e-5)
    assert np.allclose(pieces.explain_global()["lower"], whole.explain_global()["lower"], atol=1e-5, equal_nan=True)


MEMORY = """
import resource, numpy as np
from tsattr.afex import AFEXRegressor
rng = np.random.default_rng(0)
x = rng.normal(size=(100_000, 50))
y = np.sin(2 * x[:, 0]) + x[:, 1] * x[:, 2] + rng.normal(size=len(x))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
AFEXRegressor(n_nets=0, random_state=0).fit(x, y)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 2**20)
"""


@pytest.mark.slow
def test_a_large_fit_stays_below_a_gigabyte():
    out = subprocess.run([sys.executable, "-c", MEMORY], capture_output=True, text=True, check=True)
    assert float(out.stdout) < 1


@pytest.mark.parametrize("zone", [None, "Europe/Zurich"])
def test_dates_are_explained_as_dates(zone):
    rng = np.random.default_rng(0)
    x = pd.DataFrame({"when": pd.date_range("2020-01-01", periods=300, tz=zone), "dose": rng.normal(size=300)})
    y = np.arange(300) / 100 + x["dose"]
    fitted = AFEXRegressor(**QUICK).fit(x, y)
    assert np.allclose(np.diff(fitted.shape("when", x["when"][[50, 150]])), 1, atol=0.02)
    terms = fitted.explain_global()
    assert terms["units"].values.tolist() == ["days since 1970-01-01", ""]
    days = (x["when"].dt.tz_convert("UTC").dt.tz_localize(None) if zone else x["when"]).to_numpy("datetime64[ns]")
    ends = terms["value"].sel(feature="when").values[[0, -1]]
    assert np.allclose(ends, (days[[0, -1]] - np.datetime64(0, "ns")) / np.timedelta64(1, "D"))
    figure = ta.plot.shape(terms)
    figure.canvas.draw()
    axes = next(ax for ax in figure.axes if ax.get_xlabel() == "when")
    assert any(
        "2020" in axes.xaxis.get_major_formatter().get_offset() or "2020" in t.get_text()
        for t in axes.get_xticklabels()
    )
    outside = AFEXExplainer(lambda f: (f["when"] - x["when"][0]) / pd.Timedelta(days=100), synthetic=20, **QUICK).fit(x)
    assert outside.fidelity_ > 0.999
    assert np.isfinite(outside.explain_near(x[:2])["attribution"]).all()
