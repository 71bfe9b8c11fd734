"""Explanations inside scikit-learn: attributions and window features as transformers, and scikit-learn's own, labelled."""

import numpy as np
import pandas as pd
import pytest
import sklearn
import xarray as xr
from sklearn.base import BaseEstimator, RegressorMixin, clone
from sklearn.cluster import KMeans
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestRegressor
from sklearn.frozen import FrozenEstimator
from sklearn.inspection import partial_dependence, permutation_importance
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import tsattr as ta
from tsattr import estimators
from tsattr.estimators import AttributionTransformer, WindowFeatures

CELLS = ta.groups.Cells()
SHAPLEY = ta.ShapleySampling(CELLS, ta.baselines.Samples, draws=6)


def table(n=60, seed=0):
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {"age": rng.uniform(20, 90, n), "dose": rng.gamma(2.0, 1.0, n), "ward": rng.choice(["icu", "home", "er"], n)},
        index=[f"p{i}" for i in range(n)],
    )
    risk = frame.age / 20 + 2 * (frame.ward == "icu") + rng.normal(size=n) * 0.3
    return frame, risk.to_numpy()


def pipeline(last):
    columns = make_column_transformer((StandardScaler(), ["age", "dose"]), (OneHotEncoder(), ["ward"]))
    return make_pipeline(columns, last)


# ---- attributions as a transformer


@parametrize_with_checks(
    [
        AttributionTransformer(Ridge(), ta.Occlusion(CELLS, ta.baselines.Samples, draws=2)),
        AttributionTransformer(LogisticRegression(), ta.ShapleySampling(CELLS, ta.baselines.Samples, draws=2)),
    ]
)
def test_the_contract_of_scikit_learn(estimator, check):
    check(estimator)


def test_attributions_are_those_of_explain():
    frame, risk = table()
    model = pipeline(Ridge()).fit(frame, risk)
    method = ta.ShapleySampling(CELLS, ta.baselines.Typical.fit(frame), draws=6)
    transformer = AttributionTransformer(model, method).fit(frame, risk)
    expected = ta.explain(model, frame, method)
    np.testing.assert_allclose(transformer.transform(frame), expected.attribution, atol=1e-9)
    whole = transformer.explain(frame)
    assert whole.sample.values.tolist() == list(frame.index)
    np.testing.assert_allclose(whole.prediction, model.predict(frame), rtol=1e-9)
    np.testing.assert_allclose(transformer.transform(frame).sum(1), whole.prediction - whole.reference, atol=1e-9)


def test_a_rows_attributions_depend_on_that_row_alone():
    frame, risk = table()
    transformer = AttributionTransformer(pipeline(Ridge()), SHAPLEY, seed=3).fit(frame, risk)
    values = transformer.transform(frame)
    order = np.random.default_rng(0).permutation(len(frame))[:20]
    np.testing.assert_array_equal(transformer.transform(frame.iloc[order]), values[order])
    twice = pd.concat([frame[:1]] * 2, ignore_index=True)
    np.testing.assert_array_equal(*transformer.transform(twice))


def test_a_baseline_given_as_a_class_is_fitted_to_the_training_table():
    frame, risk = table()
    transformer = AttributionTransformer(pipeline(Ridge()), SHAPLEY).fit(frame, risk)
    assert transformer.method_ == ta.ShapleySampling(CELLS, ta.baselines.Samples.fit(frame), draws=6)
    assert transformer.method is SHAPLEY


def test_the_estimator_is_cloned_unless_it_is_frozen():
    frame, risk = table()
    model = pipeline(Ridge()).fit(frame, risk)
    fitted = AttributionTransformer(model, SHAPLEY).fit(frame, -risk)
    assert fitted.estimator_ is not model
    np.testing.assert_allclose(fitted.estimator_.predict(frame), -model.predict(frame))
    frozen = AttributionTransformer(FrozenEstimator(model), SHAPLEY).fit(frame)
    np.testing.assert_allclose(frozen.explain(frame).prediction, model.predict(frame))
    np.testing.assert_allclose(fitted.transform(frame), -frozen.transform(frame), atol=1e-9)
    again = clone(frozen)
    assert again.get_params()["method"] == SHAPLEY
    assert not hasattr(again, "method_")


def test_names_and_output_containers():
    frame, risk = table()
    transformer = AttributionTransformer(pipeline(Ridge()), SHAPLEY).fit(frame, risk)
    assert transformer.get_feature_names_out().tolist() == ["age", "dose", "ward"]
    assert transformer.feature_names_in_.tolist() == ["age", "dose", "ward"]
    out = transformer.set_output(transform="pandas").transform(frame)
    assert out.columns.tolist() == ["age", "dose", "ward"]
    assert out.index.equals(frame.index)
    bare = AttributionTransformer(Ridge(), SHAPLEY).fit(frame[["age", "dose"]].to_numpy(), risk)
    assert bare.get_feature_names_out().tolist() == ["x0", "x1"]
    with pytest.raises(ValueError, match="feature names should match"):
        transformer.transform(frame.rename(columns={"age": "years"}))


def test_what_is_explained_of_classes():
    frame, risk = table()
    two, three = risk > 4, np.digitize(risk, [3.5, 5])
    model = pipeline(LogisticRegression(max_iter=1000))
    second = AttributionTransformer(model, SHAPLEY).fit(frame, two)
    np.testing.assert_allclose(second.explain(frame).prediction, second.estimator_.predict_proba(frame)[:, 1])
    each = AttributionTransformer(model, SHAPLEY).fit(frame, three)
    assert each.get_feature_names_out().tolist()[:4] == ["age|0", "age|1", "age|2", "dose|0"]
    values = each.transform(frame).reshape(len(frame), 3, 3)
    np.testing.assert_allclose(values.sum(2), 0, atol=1e-9)  # probabilities sum to 1
    one = AttributionTransformer(model, SHAPLEY, target=2).fit(frame, three)
    np.testing.assert_allclose(one.transform(frame), values[:, :, 2], atol=1e-12)
    assert one.get_feature_names_out().tolist() == ["age", "dose", "ward"]


def test_before_a_clustering_of_rows_by_reasons():
    frame, risk = table(200)
    grouped = Pipeline(
        [("why", AttributionTransformer(pipeline(Ridge()), SHAPLEY)), ("group", KMeans(2, random_state=0))]
    )
    labels = grouped.fit(frame, risk).predict(frame)
    icu = (frame.ward == "icu").to_numpy()
    assert max((labels == icu).mean(), (labels != icu).mean()) > 0.7
    search = GridSearchCV(
        make_pipeline(AttributionTransformer(pipeline(Ridge()), SHAPLEY), LinearRegression()),
        {"attributiontransformer__estimator__ridge__alpha": [0.1, 100.0]},
        cv=2,
    ).fit(frame, risk)
    assert search.best_score_ > 0.5


def test_metadata_goes_to_the_estimator():
    frame, risk = table()
    weight = np.where(frame.ward == "icu", 0.0, 1.0)
    x, kept = frame[["age", "dose"]], weight > 0
    weighted = AttributionTransformer(Ridge(), SHAPLEY).fit(x, risk, sample_weight=weight)
    np.testing.assert_allclose(weighted.estimator_.coef_, Ridge().fit(x[kept], risk[kept]).coef_)
    with sklearn.config_context(enable_metadata_routing=True):
        asks = AttributionTransformer(Ridge().set_fit_request(sample_weight=True), SHAPLEY)
        routed = Pipeline([("why", asks)]).fit(x, risk, sample_weight=weight)
        np.testing.assert_allclose(routed[-1].estimator_.coef_, weighted.estimator_.coef_)
        with pytest.raises(sklearn.exceptions.UnsetMetadataPassedError, match="sample_weight"):
            AttributionTransformer(Ridge(), SHAPLEY).fit(x, risk, sample_weight=weight)


@pytest.mark.parametrize("as_frame", [False, True])
def test_missing_cells_get_the_attribution_of_not_being_measured(as_frame):
    frame, risk = table()
    x = frame[["age", "dose"]].to_numpy(copy=True)
    x[::7, 0] = np.nan
    trees = HistGradientBoostingClassifier(max_iter=3, min_samples_leaf=3).fit(x, np.isnan(x[:, 0]))
    given = pd.DataFrame(x, columns=["age", "dose"]) if as_frame else x
    method = ta.Occlusion(CELLS, ta.baselines.Typical)
    transformer = AttributionTransformer(trees, method).fit(given, np.isnan(x[:, 0]))
    median = np.column_stack([np.full(len(x), np.nanmedian(x[:, 0])), x[:, 1]])
    here, there = (trees.predict_proba(rows)[:, 1] for rows in (x, median))
    np.testing.assert_allclose(transformer.transform(given)[:, 0], here - there, atol=1e-12)
    assert (transformer.transform(given)[::7, 0] > 0.1).all()
    with pytest.raises(ValueError, match="contains NaN"):
        AttributionTransformer(Ridge(), SHAPLEY).fit(x, risk)


# ---- polars


def test_frames_of_polars_are_given_to_the_model_as_they_are():
    pl = pytest.importorskip("polars")
    pytest.importorskip("pyarrow")
    import datetime

    frame = pl.DataFrame(
        {
            "whole": pl.Series([1, 2, None, 4], dtype=pl.Int32),
            "x": [0.5, None, 2.0, 3.0],
            "word": ["a", "b", None, "a"],
            "flag": [True, None, False, True],
            "level": pl.Series(["lo", "hi", "lo", None], dtype=pl.Enum(["lo", "mid", "hi"])),
            "day": [datetime.date(2020, 1, d) for d in (1, 2, 3, 4)],
            "time": [datetime.datetime(2020, 1, d, 12) for d in (1, 2, 3, 4)],
            "gap": [datetime.timedelta(hours=h) for h in (1, 2, 3, 4)],
        }
    )
    seen = []

    def model(rows):
        seen.append(rows)
        return rows["x"].fill_null(0.0).to_numpy() + rows["day"].dt.day().to_numpy()

    method = ta.Occlusion(CELLS, ta.baselines.Mode.fit(frame.to_pandas()))
    ds = ta.explain(ta.models.on_frames(model), frame, method, batch_size=4, check=False)
    assert seen[0].equals(frame)
    assert all(rows.schema == frame.schema for rows in seen)
    assert ds.feature.values.tolist() == frame.columns
    np.testing.assert_allclose(ds.attribution.sel(feature="day"), [0.0, 1.0, 2.0, 3.0])
    assert not np.isnan(ds.attribution).any()


def test_a_pipeline_of_polars_frames():
    pl = pytest.importorskip("polars")
    pytest.importorskip("pyarrow")
    frame, risk = table()
    given = pl.from_pandas(frame)
    model = pipeline(Ridge()).fit(given, risk)
    method = ta.ShapleySampling(CELLS, ta.baselines.Samples.fit(given), draws=4)
    named = ta.ShapleySampling(CELLS, ta.baselines.Samples.fit(frame), draws=4)
    found = ta.explain(model, given, method)
    by_position = frame.reset_index(drop=True)
    np.testing.assert_allclose(found.attribution, ta.explain(model, by_position, named).attribution, atol=1e-12)
    np.testing.assert_allclose(ta.explain(ta.models.last_step(model), given, method).attribution, found.attribution)
    transformer = AttributionTransformer(pipeline(Ridge()), SHAPLEY).fit(given, risk).set_output(transform="polars")
    out = transformer.transform(given)
    assert isinstance(out, pl.DataFrame)
    assert out.columns == given.columns


# ---- features of windows


def signals(n=40, leads=("I", "II"), size=20, seed=0):
    return xr.DataArray(
        np.random.default_rng(seed).normal(size=(n, len(leads), size)),
        dims=("sample", "lead", "time"),
        coords={"sample": np.arange(n), "lead": list(leads), "time": np.arange(size) / 10},
    )


def test_features_by_hand():
    x = signals()
    features = WindowFeatures("500ms", functions=("mean", "std", "min", "max", "median", "range", "rms", "slope"))
    out = features.fit_transform(x).reshape(40, 2, 4, 8)
    t = x.time.values
    for lead in range(2):
        for w in range(4):
            cells = slice(5 * w, 5 * w + 5)
            v = x.values[:, lead, cells]
            slope = [np.polyfit(t[cells], row, 1)[0] for row in v]
            ends = [v.min(1), v.max(1)]
            expected = [v.mean(1), v.std(1), *ends, np.median(v, 1), np.ptp(v, 1), np.sqrt((v**2).mean(1)), slope]
            np.testing.assert_allclose(out[:, lead, w], np.transpose(expected), atol=1e-12)
    names = features.get_feature_names_out()
    assert names[:2].tolist() == ["I|0|mean", "I|0|std"]
    assert names[-1] == "II|1.5|slope"
    named = features.set_output(transform="pandas").transform(x)
    assert named.columns.tolist() == names.tolist()


def test_missing_cells_are_left_out_of_a_window():
    x = signals(1)
    x[0, 0, :3] = np.nan
    x[0, 1, :5] = np.nan
    features = WindowFeatures(5, functions=("mean", "slope", "std"))
    out = features.fit_transform(x).reshape(2, 4, 3)
    v = x.values[0, 0, 3:5]
    np.testing.assert_allclose(out[0, 0], [v.mean(), (v[1] - v[0]) * 10, v.std()])
    assert np.isnan(out[1, 0]).all()
    assert np.isfinite(out[:, 1:]).all()


@pytest.mark.parametrize("dims", [("sample", "lead", "time"), ("lead", "time", "sample"), ("time", "sample", "lead")])
def test_layouts_are_named(dims):
    x = signals()
    expected = WindowFeatures("500ms").fit_transform(x)
    np.testing.assert_array_equal(WindowFeatures("500ms").fit_transform(x.transpose(*dims)), expected)
    np.testing.assert_allclose(
        WindowFeatures(5, functions=("mean", "max"), layout="aeon").fit_transform(x.values),
        WindowFeatures(5, functions=("mean", "max")).fit_transform(x),
    )
    swapped = x.values.transpose(0, 2, 1)
    for layout, given in (("sktime", x.values), ("tslearn", swapped), ("aeon", list(x.values))):
        found = WindowFeatures(5, functions=("mean",), layout=layout).fit_transform(given)
        np.testing.assert_array_equal(found, WindowFeatures(5, functions=("mean",)).fit_transform(x))
    rows = pd.MultiIndex.from_product([range(40), range(20)], names=["case", "time"])
    frame = pd.DataFrame(swapped.reshape(-1, 2), index=rows, columns=["I", "II"])
    found = WindowFeatures(5, functions=("mean",), layout="sktime").fit_transform(frame)
    np.testing.assert_array_equal(found, WindowFeatures(5, functions=("mean",)).fit_transform(x))
    with pytest.raises(ValueError, match="rows are not case by case at the same times; sort them"):
        WindowFeatures(5, layout="sktime").fit(frame.sort_index(level="time"))
    with pytest.raises(ValueError, match="cases have 19 to 20 times; pad them with NaN"):
        WindowFeatures(5, layout="sktime").fit(frame[1:])


def energy(v):
    return (v**2).sum(-1)


@pytest.mark.parametrize(
    ("make", "given", "error", "message"),
    [
        (
            {},
            np.ones((4, 2, 8)),
            ValueError,
            r"layout='aeon' \(case, channel, time\) or layout='tslearn' \(case, time, chan",
        ),
        ({"layout": "keras"}, np.ones((4, 2, 8)), ValueError, "layout is one of .*got 'keras'"),
        ({"layout": "aeon"}, np.ones((4, 8)), ValueError, r"signals are 3-D, got shape \(4, 8\)"),
        ({"layout": "aeon"}, [np.ones((2, 3)), np.ones((2, 4))], ValueError, "of unequal length: pad them with NaN"),
        ({"layout": "aeon"}, pd.DataFrame(np.ones((4, 2))), TypeError, "rows .case, time. and channels for columns"),
        ({"functions": ("mode",)}, signals(), KeyError, "function 'mode' is none of"),
        ({"functions": (energy, energy)}, signals(), ValueError, "two functions are named 'energy'"),
        ({}, signals().rename(lead="station"), ValueError, r"X has dims \['sample', 'station', 'time'\]"),
    ],
)
def test_signals_that_do_not_fit(make, given, error, message):
    with pytest.raises(error, match=message):
        WindowFeatures(4, **make).fit(given)


def test_signals_unlike_those_fitted():
    features = WindowFeatures(5).fit(signals())
    with pytest.raises(
        ValueError, match=r"X has leads \['I', 'V1'\] and 20 times, the features were fitted for \['I', 'II'"
    ):
        features.transform(signals(leads=("I", "V1")))
    with pytest.raises(ValueError, match="and 10 times"):
        features.transform(signals(size=10))


def additive(x, functions=("mean", energy)):
    """A model of signals that is additive over leads and windows of half a second."""
    features = WindowFeatures("500ms", functions=functions)
    rng = np.random.default_rng(3)
    weight = rng.normal(size=16)
    value = features.fit_transform(x) @ weight
    return make_pipeline(features, StandardScaler(), LinearRegression()).fit(x, value), weight


def test_features_are_given_back_to_their_windows():
    x = signals()
    model, weight = additive(x)
    np.testing.assert_allclose(
        model.predict(x), WindowFeatures("500ms", functions=("mean", energy)).fit_transform(x) @ weight
    )
    step = ta.models.last_step(model)
    ds = ta.explain(step, x, ta.IntegratedGradients(ta.baselines.Constant(0.0)))
    assert ds.attribution.dims == x.dims
    features = model[0].transform(x).reshape(40, 2, 4, 2)
    expected = (features * weight.reshape(2, 4, 2)).sum(3)  # features of nothing are 0
    windows = ds.attribution.values.reshape(40, 2, 4, 5)
    np.testing.assert_allclose(windows.sum(3), expected, atol=1e-9)
    np.testing.assert_allclose(windows, windows[..., :1].repeat(5, 3), atol=1e-12)  # evenly over the window
    turned = ta.explain(step, x.transpose("time", "sample", "lead"), ta.IntegratedGradients(ta.baselines.Constant(0.0)))
    np.testing.assert_allclose(turned.attribution.transpose(*x.dims), ds.attribution, atol=1e-12)


@pytest.mark.parametrize("missing", [False, True])
@pytest.mark.parametrize(
    "groups",
    [
        ta.groups.Windows(time=5, channel=1),
        ta.groups.Windows(time=10, step={"time": 5}, channel=2),
        ta.groups.Along("channel"),
    ],
)
@pytest.mark.parametrize("kind", ["constant", "mean", "samples"])
def test_the_last_step_says_what_changing_the_signals_says(groups, kind, missing):
    x = signals().values
    features = WindowFeatures(5, functions=("mean", "std", "max"), layout="aeon")
    model = make_pipeline(features, StandardScaler(), RandomForestRegressor(10, random_state=0))
    model.fit(x, x[:, 0, :5].sum(1) * x[:, 1, 5:10].max(1))
    train, x = x, x[:8].copy()
    if missing:
        x[3, 1, 5:7] = np.nan
        x[4, 0, 1:3] = np.nan
    baseline = {
        "constant": ta.baselines.Constant(0.5),
        "mean": ta.baselines.Mean("time"),
        "samples": ta.baselines.Samples.fit(train),
    }[kind]
    settings = {"dims": ("sample", "channel", "time")}
    step = ta.models.last_step(model)
    if missing and kind == "samples":
        with pytest.raises(
            ValueError, match=r"windows of sample 3, 4 have missing cells, .* another baseline than Samples"
        ):
            ta.explain(step, x, ta.Occlusion(groups, baseline), **settings)
        return
    for method in (ta.Occlusion(groups, baseline, draws=2), ta.ShapleySampling(groups, baseline, draws=4)):
        whole = ta.explain(model, x, method, **settings)
        fast = ta.explain(step, x, method, **settings)
        np.testing.assert_allclose(fast.group_value, whole.group_value, atol=1e-9)
        np.testing.assert_allclose(fast.attribution, whole.attribution, atol=1e-9)


def test_groups_that_cut_windows_are_refused():
    model, _ = additive(signals())
    step = ta.models.last_step(model)
    with pytest.raises(
        ValueError, match=r"group .* covers a part of lead=I, time=0\.\.0\.4, of which columns are made as a whole"
    ):
        ta.explain(step, signals(3), ta.Occlusion(ta.groups.Windows(time=4, lead=1)))
    flat = ta.models.last_step(make_pipeline(StandardScaler(), StandardScaler()))
    with pytest.raises(TypeError, match="WindowFeatures, or explain the pipeline itself"):
        ta.explain(flat, signals(3), ta.Occlusion(ta.groups.Cells()))


def test_overlapping_windows_share_their_cells():
    x = signals()
    features = WindowFeatures(6, step=2, functions=("mean",))
    model = make_pipeline(features, LinearRegression()).fit(x, x.values[:, 0, :4].sum(1))
    ds = ta.explain(ta.models.last_step(model), x, ta.IntegratedGradients(ta.baselines.Constant(0.0)))
    np.testing.assert_allclose(ds.attribution.sum(("lead", "time")), ds.prediction - ds.reference, atol=1e-9)
    # A linear model of means is linear in the cells: each has its own slope times its value, but in its windows it has a share.
    share = features.transform(x) * model[-1].coef_
    by_hand = np.zeros((40, 2, 20))
    for j, value in enumerate(share.T):
        lead, w = divmod(j, len(features.windows_))
        start, stop = features.windows_[w]
        by_hand[:, lead, start:stop] += value[:, None] / (stop - start)
    np.testing.assert_allclose(ds.attribution, by_hand, atol=1e-9)


# ---- scikit-learn's own


def test_permutation_importance_is_that_of_scikit_learn():
    frame, risk = table()
    model = pipeline(Ridge()).fit(frame, risk)
    theirs = permutation_importance(model, frame, risk, n_repeats=4, random_state=0)
    ours = estimators.permutation_importance(model, frame, risk, n_repeats=4, random_state=0)
    assert ours.importance.dims == ("feature", "repeat")
    assert ours.feature.values.tolist() == list(frame.columns)
    np.testing.assert_array_equal(ours.importance, theirs["importances"])
    np.testing.assert_array_equal(ours.importance_mean, theirs["importances_mean"])
    np.testing.assert_array_equal(ours.importance_std, theirs["importances_std"])
    several = estimators.permutation_importance(
        model, frame, risk, scoring=["r2", "neg_mean_absolute_error"], n_repeats=4, random_state=0
    )
    assert several.importance.dims == ("scorer", "feature", "repeat")
    np.testing.assert_array_equal(several.importance.sel(scorer="r2"), theirs["importances"])


def test_partial_dependence_is_that_of_scikit_learn():
    frame, risk = table()
    model = pipeline(Ridge()).fit(frame, risk)
    ds = estimators.partial_dependence(model, frame, grid_resolution=20, kind="both")
    for feature in ("age", "dose"):
        theirs = partial_dependence(model, frame, [feature], grid_resolution=20, kind="both")
        np.testing.assert_array_equal(ds.average.sel(feature=feature), theirs["average"][0])
        np.testing.assert_array_equal(ds.value.sel(feature=feature), theirs["grid_values"][0])
        np.testing.assert_array_equal(ds.individual.sel(feature=feature), theirs["individual"][0])
        assert (ds.level.sel(feature=feature) == "").all()
    ward = ds.sel(feature="ward").isel(grid=slice(3))
    assert ward.level.values.tolist() == ["er", "home", "icu"]
    assert ward.value.values.tolist() == [0, 1, 2]
    theirs = partial_dependence(model, frame, ["ward"], grid_resolution=20)
    np.testing.assert_array_equal(ward.average, theirs["average"][0])
    assert ds.average.sel(feature="ward")[3:].isnull().all()


def test_partial_dependence_of_levels_and_pairs_is_the_mean_over_rows():
    rng, n = np.random.default_rng(0), 60
    frame = pd.DataFrame(
        {
            "age": rng.uniform(20, 90, n),
            "visits": rng.integers(0, 5, n),
            "ward": rng.choice(["icu", "home", None], n),
            "grade": pd.Categorical(rng.choice(["low", "mid", "high"], n), ["low", "mid", "high"], ordered=True),
            "smoker": rng.random(n) < 0.3,
        }
    )
    said = {"low": 0.0, "mid": 2.0, "high": 5.0}

    class Rule(RegressorMixin, BaseEstimator):
        def fit(self, X, y=None):
            self.fitted_ = True
            return self

        def predict(self, X):
            grade = X["grade"].map(said).astype(float)
            return (X["age"] / 10 + X["visits"]) * (1 + (X["ward"] == "icu")) + grade * (1 + X["smoker"].astype(bool))

    model = Rule().fit(frame)

    def mean(**values):
        return model.predict(frame.assign(**{k: [v] * n for k, v in values.items()})).mean()

    ds = estimators.partial_dependence(model, frame, [*frame, ("age", "grade"), (2, "smoker")], grid_resolution=6)
    levels = {"ward": ["home", "icu"], "grade": ["low", "mid", "high"], "smoker": ["False", "True"]}
    for column in frame:
        here = ds.sel(feature=column)
        known = int(here.average.notnull().sum())
        values = here.value.values[:known]
        if column in levels:
            assert here.level.values[:known].tolist() == levels[column]
            values = [v == "True" if column == "smoker" else v for v in levels[column]]
        np.testing.assert_allclose(here.average[:known], [mean(**{column: v}) for v in values], rtol=1e-13)
    assert ds.pair.values.tolist() == ["age x grade", "ward x smoker"]
    for pair, (a, b) in zip(ds.pair.values, (("age", "grade"), ("ward", "smoker"))):
        here = ds.sel(pair=pair)
        first = here.value_first.values if a == "age" else levels[a]
        second = levels[b] if b == "grade" else [False, True]
        expected = [[mean(**{a: u, b: v}) for v in second] for u in first]
        np.testing.assert_allclose(here.average_pair[: len(first), : len(second)], expected, rtol=1e-13)
    with pytest.raises(ValueError, match="a pair is of two different columns"):
        estimators.partial_dependence(model, frame, [("age", 0)])


def not_measured(n=200):
    """A table of which a number and a level are missing in some rows, and what is made of that."""
    rng = np.random.default_rng(0)
    x = pd.DataFrame({"lab": rng.normal(size=n), "age": rng.uniform(20, 90, n), "ward": rng.choice(["icu", "home"], n)})
    x = x.mask(pd.DataFrame({"lab": rng.random(n) < 0.4, "age": False, "ward": rng.random(n) < 0.3}))
    return x.assign(ward=pd.Categorical(x.ward)), 3.0 * x.lab.isna() + x.age + 2.0 * x.ward.isna()


class Orders(RegressorMixin, BaseEstimator):
    """What was not ordered, and the age."""

    def fit(self, X, y=None):
        self.fitted_ = True
        return self

    def predict(self, X):
        return 3.0 * X["lab"].isna() + X["age"] + 2.0 * X["ward"].isna()


def test_missing_cells_are_shuffled_with_the_others():
    x, y = not_measured()
    found = estimators.permutation_importance(
        Orders().fit(x), x, y, scoring="neg_mean_squared_error", n_repeats=200, random_state=0
    )
    # of a shuffled column the mean squared difference is twice its variance, up to the rows' own places
    for column, size in (("lab", 3.0), ("ward", 2.0)):
        expected = 2 * (size * x[column].isna()).var(ddof=1)
        error = found.importance_std.sel(feature=column).item() / 200**0.5
        assert found.importance_mean.sel(feature=column).item() == pytest.approx(expected, abs=4 * error)


def test_partial_dependence_on_what_was_not_measured():
    x, _ = not_measured()
    model = Orders().fit(x)

    def mean(**values):
        return model.predict(x.assign(**values)).mean()

    ds = estimators.partial_dependence(model, x, grid_resolution=7)
    known = x[["lab"]].dropna()
    theirs = partial_dependence(LinearRegression().fit(known, known.lab), known, ["lab"], grid_resolution=7)
    np.testing.assert_array_equal(ds.value.sel(feature="lab"), theirs["grid_values"][0])
    np.testing.assert_allclose(ds.average.sel(feature="lab"), mean(lab=1.0), rtol=1e-13)
    assert ds.level.sel(feature="ward").values[:2].tolist() == ["home", "icu"]
    np.testing.assert_allclose(ds.average.sel(feature="ward")[:2], mean(ward="icu"), rtol=1e-13)
    expected = [mean(lab=np.nan), np.nan, mean(ward=None)]
    np.testing.assert_allclose(ds.average_missing, expected, rtol=1e-13)


def test_partial_dependence_of_trees_with_levels_and_missing_cells():
    x, y = not_measured()
    model = HistGradientBoostingClassifier(categorical_features="from_dtype", max_iter=5).fit(x, y > 60)
    ds = estimators.partial_dependence(model, x, ["lab", "ward", ("lab", "ward")], grid_resolution=5)
    for column in ("lab", "ward"):
        expected = model.predict_proba(x.assign(**{column: np.nan}).astype(x.dtypes))[:, 1].mean()
        assert ds.average_missing.sel(feature=column).item() == pytest.approx(expected, rel=1e-13)
    assert ds.average_pair.isel(grid=slice(5), grid_b=slice(2)).notnull().all()
    mine = estimators.partial_dependence(model, x, ["lab"], custom_values={"lab": [-1.0, 1.0]})
    assert mine.value.values.tolist() == [[-1.0, 1.0]]
    nobody = x.assign(lab=np.nan)
    assert estimators.partial_dependence(model, nobody, ["lab"]).sizes["grid"] == 0


def test_partial_dependence_of_classes_and_of_one_column():
    frame, risk = table()
    model = pipeline(LogisticRegression(max_iter=1000)).fit(frame, np.digitize(risk, [3.5, 5]))
    ds = estimators.partial_dependence(model, frame, ["age", "ward"], grid_resolution=7)
    assert ds.average.dims == ("feature", "grid", "target")
    assert ds.target.values.tolist() == [0, 1, 2]
    np.testing.assert_allclose(ds.average.sel(feature="age").sum("target"), 1)
    with pytest.raises(KeyError, match="feature 'agee' is none of the columns"):
        estimators.partial_dependence(model, frame, ["agee"])
    with pytest.raises(IndexError, match="feature 3 is not a position among the 3 columns"):
        estimators.partial_dependence(model, frame, [3])
