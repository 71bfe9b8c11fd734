"""Whole pipelines in their raw columns, and their last step mapped back: the two must say the same."""

import numpy as np
import pandas as pd
import pytest
import sklearn
import torch
from sklearn.compose import ColumnTransformer, make_column_selector, make_column_transformer
from sklearn.decomposition import PCA
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestRegressor
from sklearn.feature_selection import SelectKBest, VarianceThreshold, f_classif
from sklearn.impute import KNNImputer, MissingIndicator, SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression, PoissonRegressor, Ridge
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.pipeline import FeatureUnion, Pipeline, make_pipeline, make_union
from sklearn.preprocessing import (
    Binarizer,
    FunctionTransformer,
    KBinsDiscretizer,
    MaxAbsScaler,
    MinMaxScaler,
    Normalizer,
    OneHotEncoder,
    OrdinalEncoder,
    PolynomialFeatures,
    PowerTransformer,
    QuantileTransformer,
    RobustScaler,
    SplineTransformer,
    StandardScaler,
    TargetEncoder,
)
from sklearn.svm import LinearSVC

import tsattr as ta
from tsattr.models.provenance import ColumnProvenance, trace

CELLS = ta.groups.Cells()
NEW = tuple(map(int, sklearn.__version__.split(".")[:2])) >= (1, 9)  # takes folds and deprecates `shuffle`
UNSHUFFLED = {"cv": KFold(5)} if NEW else {"shuffle": False}


def days(frame):
    """Dates as days since 2020; a date that is missing stays so."""
    return (frame - pd.Timestamp("2020-01-01")) / pd.Timedelta("1D")


def patients(n=120, seed=0):
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "age": rng.uniform(20, 90, n),
            "visits": rng.integers(0, 9, n),
            "count": pd.array(rng.integers(0, 5, n), dtype="Int64"),
            "ward": pd.Categorical(rng.choice(["icu", "home", "ward"], n)),
            "sex": rng.choice(["F", "M"], n),
            "code": rng.choice(["a", "b", "c", "d", "e"], n, p=[0.4, 0.4, 0.1, 0.06, 0.04]),
            "smoker": rng.random(n) < 0.4,
            "alive": pd.array(rng.random(n) < 0.7, dtype="boolean"),
            "seen": pd.Timestamp("2020-03-01") + pd.to_timedelta(rng.integers(0, 400, n), unit="D"),
            "note": rng.choice(["x", "y"], n),
        },
        index=[f"p{i}" for i in range(n)],
    )
    for column in ("age", "count", "sex", "alive", "seen"):
        frame.loc[rng.random(n) < 0.1, column] = pd.NA if column in ("count", "alive") else None
    ill = (frame.age.fillna(50) / 50 + (frame.ward == "icu") + frame.smoker + rng.normal(size=n) * 0.5) > 1.9
    return frame, np.where(ill, "ill", "well")


def preprocessing():
    dates = make_pipeline(FunctionTransformer(days, feature_names_out="one-to-one"), SimpleImputer(), StandardScaler())
    numbers = make_pipeline(SimpleImputer(add_indicator=True), StandardScaler())
    words = make_pipeline(SimpleImputer(strategy="most_frequent"), OneHotEncoder(drop="first", sparse_output=False))
    flags = make_pipeline(
        FunctionTransformer(lambda f: f.astype("float64"), feature_names_out="one-to-one"), SimpleImputer()
    )
    return ColumnTransformer(
        [
            ("numbers", numbers, ["age", "count"]),
            ("onehot", OneHotEncoder(handle_unknown="ignore", sparse_output=False), ["ward"]),
            ("rare", OneHotEncoder(min_frequency=0.15, sparse_output=False), make_column_selector("code")),
            ("words", words, ["sex"]),
            ("target", TargetEncoder(**UNSHUFFLED), ["code", "ward"]),
            ("order", OrdinalEncoder(), ["code"]),
            ("dates", dates, ["seen"]),
            ("flags", flags, ["alive"]),
            ("gone", "drop", ["note"]),
            ("same", "passthrough", ["visits"]),
            ("none", StandardScaler(), []),
        ],
        remainder=Binarizer(threshold=0.5),
    )


@pytest.fixture(scope="module")
def clinic():
    frame, label = patients()
    return frame, label, make_pipeline(preprocessing(), LogisticRegression(max_iter=1000)).fit(frame, label)


def constants(frame):
    """The first row without missing values."""
    return frame.dropna().iloc[0].to_dict()


METHODS = {
    "occlusion": lambda frame, draws: ta.Occlusion(CELLS, ta.baselines.Samples.fit(frame), draws=draws),
    "mode": lambda frame, draws: ta.Occlusion(CELLS, ta.baselines.Typical.fit(frame)),
    "constant": lambda frame, draws: ta.Occlusion(CELLS, ta.baselines.Constant(constants(frame))),
    "shapley": lambda frame, draws: ta.ShapleySampling(CELLS, ta.baselines.Samples.fit(frame), draws=draws),
    "kernel": lambda frame, draws: ta.KernelShap(CELLS, ta.baselines.Samples.fit(frame), draws=8 * draws),
    "kernel mode": lambda frame, draws: ta.KernelShap(CELLS, ta.baselines.Typical.fit(frame), draws=8 * draws),
}


@pytest.fixture(params=METHODS)
def method(request, clinic):
    return METHODS[request.param](clinic[0], 6)


# ---- the whole pipeline


def test_a_whole_pipeline_says_of_its_raw_columns_what_it_predicts(clinic, method):
    frame, _, pipeline = clinic
    x = frame[:10]
    ds = ta.explain(pipeline, x, method, target="ill")
    assert ds.attribution.dims == ("sample", "feature")
    assert ds.feature.values.tolist() == list(frame.columns)
    np.testing.assert_allclose(ds.prediction, pipeline.predict_proba(x)[:, 0], rtol=1e-12)
    assert not np.isnan(ds.attribution).any()  # what is missing is a value, which the pipeline fills
    apart = ta.explain(pipeline, x, method, target="ill", missing="invalid")
    np.testing.assert_array_equal(np.isnan(apart.attribution), x.isna())
    np.testing.assert_allclose(ds.attribution.sel(feature="note"), 0, atol=1e-12)
    assert (ds.status == "ok").all()
    if "reference" in ds:
        np.testing.assert_allclose(ds.attribution.sum("feature"), ds.prediction - ds.reference, atol=1e-9)


def test_occlusion_by_hand(clinic):
    frame, _, pipeline = clinic
    x, usual = frame[:10], constants(frame)
    ds = ta.explain(pipeline, x, ta.Occlusion(CELLS, ta.baselines.Constant(usual)), target="ill")
    for column, value in usual.items():
        there = x[column].notna().to_numpy()
        swapped = x.copy()
        swapped.loc[there, column] = value
        expected = (pipeline.predict_proba(x) - pipeline.predict_proba(swapped))[:, 0]
        np.testing.assert_allclose(ds.attribution.sel(feature=column)[there], expected[there], atol=1e-12)


@pytest.mark.parametrize(
    "column",
    [
        pd.Series([1, None, 3], dtype="Int64"),
        pd.Series([1.5, None, 3], dtype="Float64"),
        pd.Series([0.1, None, 3], dtype="float32"),
        pd.Series([True, None, False], dtype="boolean"),
        pd.Series(["a", None, "b"], dtype="string"),
        pd.Series(["a", None, 3], dtype=object),
        pd.Series(["2020-01-01", None, "2021-05-06"], dtype="datetime64[s]"),
        pd.Series(["2020-01-01", None, "2021-05-06"], dtype="datetime64[us, Europe/Berlin]"),
        pd.Series(pd.to_timedelta([1, None, 3], unit="h")),
        pd.Series([1, 2, 255], dtype="uint8"),
        pd.Series(pd.Categorical([3, None, 1], categories=[1, 2, 3], ordered=True)),
    ],
    ids=lambda c: str(c.dtype),
)
@pytest.mark.parametrize("name", ["x", 0, ("a", 1)])
def test_the_model_gets_every_dtype_as_it_was(column, name):
    frame = pd.DataFrame({"first": column, "other": 1.0})
    frame = frame.set_axis(pd.Index([name, "other"], dtype=object, tupleize_cols=False), axis=1)
    seen = []
    method = ta.Occlusion(CELLS, ta.baselines.Typical.fit(frame))
    ta.explain(ta.models.on_frames(lambda rows: seen.append(rows) or np.zeros(len(rows))), frame, method, check=False)
    pd.testing.assert_frame_equal(seen[0], frame)
    assert all(rows[name].dtype == column.dtype for rows in seen)


@pytest.mark.parametrize("dtype", ["int64[pyarrow]", "double[pyarrow]", "bool[pyarrow]", "timestamp[us][pyarrow]"])
def test_columns_of_arrow(dtype):
    pytest.importorskip("pyarrow")
    values = pd.to_datetime(["2020-01-01", None, "2021-05-06"]) if "time" in dtype else [1, None, 0]
    frame = pd.DataFrame({"x": pd.Series(values), "other": 1.0})
    frame["x"] = (frame["x"].astype("boolean") if "bool" in dtype else frame["x"]).astype(dtype)
    seen = []
    method = ta.Occlusion(CELLS, ta.baselines.Typical.fit(frame))
    ta.explain(ta.models.on_frames(lambda rows: seen.append(rows) or np.zeros(len(rows))), frame, method, check=False)
    pd.testing.assert_frame_equal(seen[0], frame)


def test_a_fraction_in_a_column_of_whole_numbers_stays_one():
    frame = pd.DataFrame({"n": pd.array([1, 2, 3, None], dtype="Int64"), "other": 1})
    seen = []
    model = ta.models.on_frames(lambda rows: seen.append(rows["n"]) or rows["n"].to_numpy(float, na_value=0.0))
    ds = ta.explain(model, frame, ta.Occlusion(CELLS, ta.baselines.Constant({"n": 1.5, "other": 1})))
    np.testing.assert_array_equal(ds.attribution[:, 0], [-0.5, 0.5, 1.5, -1.5])


# ---- the last step


def test_the_last_step_says_what_the_whole_pipeline_says(clinic, method):
    frame, _, pipeline = clinic
    x = frame[:10]
    whole = ta.explain(pipeline, x, method, target=["ill", "well"])
    fast = ta.explain(ta.models.last_step(pipeline), x, method, target=["ill", "well"])
    assert set(fast) == set(whole)
    for name in whole.data_vars:
        assert fast[name].dims == whole[name].dims
        if name in ("model_evaluations", "steps"):  # not asked without the column that no step keeps
            assert (fast[name] <= whole[name]).all()
        elif fast[name].dtype.kind == "f":
            np.testing.assert_allclose(fast[name], whole[name], atol=1e-9, err_msg=name)
        else:
            np.testing.assert_array_equal(fast[name], whole[name])
    for name, labels in whole.coords.items():
        np.testing.assert_array_equal(fast[name], labels)
    assert fast.attrs["baseline"] == whole.attrs["baseline"]
    assert fast.attrs["method"] == whole.attrs["method"]
    assert fast.attrs["model"] == "last_step(LogisticRegression after Pipeline)"


def test_groups_of_raw_columns(clinic):
    frame, _, pipeline = clinic
    import xarray as xr

    kinds = ["body", "use", "use", "use", "body", "use", "body", "body", "use", ""]
    labels = xr.DataArray(kinds, dims="feature", coords={"feature": list(frame.columns)})
    for method in (
        ta.Occlusion(ta.groups.Labelled(labels), ta.baselines.Typical.fit(frame)),
        ta.ShapleySampling(ta.groups.Labelled(labels), ta.baselines.Typical.fit(frame), draws=4),
        ta.Occlusion(ta.groups.Windows(feature=3, step=2), ta.baselines.Typical.fit(frame)),
    ):
        whole = ta.explain(pipeline, frame[:10], method, target=0)
        fast = ta.explain(ta.models.last_step(pipeline), frame[:10], method, target=0)
        np.testing.assert_allclose(fast.group_value, whole.group_value, atol=1e-9)
        kept = frame.columns.drop("note")
        np.testing.assert_allclose(fast.attribution.sel(feature=kept), whole.attribution.sel(feature=kept), atol=1e-9)
        assert (fast.attribution.sel(feature="note").fillna(0) == 0).all()


@pytest.mark.parametrize("missing", [False, True])
def test_a_method_inside_another_is_stated_in_raw_columns(missing):
    rng = np.random.default_rng(2)
    frame = pd.DataFrame(rng.normal(3.0, 2.0, (60, 3)), columns=["a", "b", "c"])
    value = 3 * frame.a * frame.b + frame.c**2
    if missing:
        frame = frame.mask(rng.random(frame.shape) < 0.2)
    pipeline = make_pipeline(SimpleImputer(), StandardScaler(), RandomForestRegressor(5, random_state=0))
    pipeline.fit(frame, value)
    pairs, usual = ta.groups.Windows(feature=2, step=1), ta.baselines.Constant({"a": 1.0, "b": 2.0, "c": 3.0})
    for inner in (ta.Occlusion(CELLS, usual), ta.ShapleySampling(pairs, ta.baselines.Samples.fit(frame), draws=4)):
        for groups, features in ((CELLS, CELLS), (pairs, CELLS)):
            method = ta.TemporalRescaling(inner, groups, features, ta.baselines.Typical.fit(frame), threshold=0.0)
            whole = ta.explain(pipeline, frame[:10], method)
            fast = ta.explain(ta.models.last_step(pipeline), frame[:10], method)
            assert whole.attribution.max() > 1
            for name in ("attribution", "group_value", "prediction"):
                np.testing.assert_allclose(fast[name], whole[name], rtol=1e-9, atol=1e-9, err_msg=name)
            assert fast.attrs["method"] == whole.attrs["method"]


def test_gradients_of_a_linear_last_step(clinic):
    frame, _, _ = clinic
    value = frame.age.fillna(40) / 20 - 2 * (frame.ward == "icu")
    pipeline = make_pipeline(preprocessing(), Ridge()).fit(frame, value)
    x, step = frame[:10], ta.models.last_step(pipeline)
    for baseline in (ta.baselines.Typical.fit(frame), ta.baselines.Constant(constants(frame))):
        slope = ta.explain(step, x, ta.IntegratedGradients(baseline))
        # A model that is additive over columns has the same values whatever the method.
        np.testing.assert_allclose(
            slope.attribution,
            ta.explain(pipeline, x, ta.Occlusion(CELLS, baseline), missing="invalid").attribution,
            atol=1e-9,
        )
    expected = ta.IntegratedGradients(ta.baselines.Samples.fit(frame), steps=1, draws=8)
    drawn = ta.explain(step, x, expected)
    same = ta.explain(pipeline, x, ta.Occlusion(CELLS, expected.baseline, draws=8), missing="invalid")
    np.testing.assert_allclose(drawn.attribution, same.attribution, atol=1e-9)
    assert (drawn.standard_error >= same.standard_error - 1e-9).where(same.standard_error.notnull(), True).all()


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("set_output", ["default", "pandas"])
def test_gradients_of_a_linear_classifier_name_its_classes(clinic, classes, set_output):
    frame, label, _ = clinic
    label = np.where(frame.sex.isna(), "unknown", label) if classes == 3 else label
    pipeline = make_pipeline(preprocessing(), LogisticRegression(max_iter=1000)).set_output(transform=set_output)
    pipeline.fit(frame, label)
    step, method = (
        ta.models.last_step(pipeline),
        ta.IntegratedGradients(ta.baselines.Typical.fit(frame), tolerance=1e-4),
    )
    ds = ta.explain(step, frame[:9], method, target=["well", "ill"], outputs="diagnosis")
    at = [list(pipeline.classes_).index(c) for c in ("well", "ill")]
    np.testing.assert_allclose(ds.prediction, pipeline.predict_proba(frame[:9])[:, at], rtol=1e-9)
    np.testing.assert_allclose(ds.attribution.sum("feature"), ds.prediction - ds.reference, atol=1e-3)
    predicted = ta.explain(step, frame[:9], method)
    np.testing.assert_array_equal(predicted.predicted, pipeline.predict(frame[:9]))
    shapley = ta.explain(pipeline, frame[:9], ta.ShapleySampling(CELLS, method.baseline), target="ill")
    assert np.corrcoef(
        ds.attribution.sel(target="ill").fillna(0).values.flat, shapley.attribution.fillna(0).values.flat
    )[0, 1] > (0.98)


def test_a_network_as_the_last_step(clinic):
    frame, _, pipeline = clinic
    torch.manual_seed(0)
    width = pipeline[:-1].transform(frame).shape[1]
    net = torch.nn.Sequential(torch.nn.Linear(width, 8), torch.nn.Softplus(), torch.nn.Linear(8, 1))
    step = ta.models.last_step(pipeline[:-1], net)
    ds = ta.explain(step, frame[:10], ta.IntegratedGradients(ta.baselines.Typical.fit(frame)))
    np.testing.assert_allclose(ds.attribution.sum("feature"), ds.prediction - ds.reference, atol=0.02)
    with torch.no_grad():
        z = torch.as_tensor(pipeline[:-1].transform(frame[:10]), dtype=torch.float32)
        np.testing.assert_allclose(ds.prediction, net(z)[:, 0], rtol=1e-5)
        whole = ta.models.on_frames(lambda f: net(torch.as_tensor(pipeline[:-1].transform(f)).float())[:, 0].numpy())
        occlusion = ta.Occlusion(CELLS, ta.baselines.Samples.fit(frame), draws=3)
        np.testing.assert_allclose(
            ta.explain(step, frame[:10], occlusion).attribution,
            ta.explain(whole, frame[:10], occlusion).attribution,
            atol=1e-6,
        )


def test_what_comes_with_explain_comes_here_too(clinic):
    frame, _, pipeline = clinic
    step, method = ta.models.last_step(pipeline), ta.Occlusion(CELLS, ta.baselines.Typical.fit(frame))
    cost = ta.explain(step, frame[:10], method, dry_run=True)
    assert cost.model_evaluations.values.tolist() == [1 + 10] * 10
    both = ta.models.Ensemble([step, ta.models.last_step(pipeline[:-1], pipeline[-1])])
    assert "agreement" in ta.explain(both, frame[:10], method, target=0)
    shifted = ta.explain(step, frame[:10], method, target=0, reference=frame)
    assert shifted["shift"].sizes == {"sample": 10, "group": 10}
    valid = np.ones((4, 10), bool)
    valid[:, 3] = False
    part = ta.explain(step, frame[:4], method, target=0, valid=valid)
    np.testing.assert_array_equal(np.isnan(part.attribution), ~valid)
    part = ta.explain(step, frame[:4], method, target=0, valid=valid, missing="invalid")
    np.testing.assert_array_equal(np.isnan(part.attribution), frame[:4].isna() | ~valid)
    search = GridSearchCV(pipeline, {"logisticregression__C": [1.0]}, cv=2).fit(frame, clinic[1])
    found = ta.explain(ta.models.last_step(search), frame[:4], method, target=0)
    np.testing.assert_allclose(found.attribution, ta.explain(step, frame[:4], method, target=0).attribution)
    scores = ta.evaluate(pipeline, frame[:4], found, target=0, fills={"mode": method.baseline}, metrics=["deletion"])
    assert np.isfinite(scores.deletion).all()
    seeds = ta.explain(step, frame[:4], METHODS["shapley"](frame, 4), target=0, seed=[0, 1])
    assert "agreement" in seeds
    with pytest.raises(TypeError, match=r"only explain takes a last_step\(LogisticRegression after Pipeline\)"):
        ta.evaluate(step, frame[:4], found, target=0)


def test_a_table_without_names():
    x = np.random.default_rng(0).normal(size=(40, 3))
    x[:2, 0] = np.nan
    pipeline = make_pipeline(SimpleImputer(), SplineTransformer(), RandomForestRegressor(5, random_state=0))
    pipeline.fit(x, x[:, 1] + x[:, 2] ** 2)
    method = ta.Occlusion(CELLS, ta.baselines.Samples.fit(x), draws=7)
    whole = ta.explain(pipeline, x, method)
    np.testing.assert_allclose(ta.explain(ta.models.last_step(pipeline), x, method).attribution, whole.attribution)


def test_columns_in_another_order_and_more_of_them(clinic):
    frame, _, pipeline = clinic
    other = frame[frame.columns[::-1]].assign(extra=1.0)
    method = ta.Occlusion(CELLS, ta.baselines.Typical.fit(other))
    fast = ta.explain(ta.models.last_step(pipeline), other[:6], method, target=0)
    np.testing.assert_allclose(
        fast.attribution, ta.explain(pipeline, other[:6], method, target=0).attribution, atol=1e-9
    )
    own = ta.explain(pipeline, frame[:6], ta.Occlusion(CELLS, ta.baselines.Typical.fit(frame)), target=0)
    np.testing.assert_allclose(fast.attribution.sel(feature=own.feature), own.attribution, atol=1e-9)


# ---- where columns come from


def numbers(n=60, p=3):
    rng = np.random.default_rng(1)
    return rng.gamma(2.0, 1.0, (n, p)), rng.integers(0, 2, n)


KEPT = {
    "scalers": make_pipeline(StandardScaler(), MinMaxScaler(), MaxAbsScaler(), RobustScaler(), PowerTransformer()),
    "quantiles": QuantileTransformer(n_quantiles=20),
    "bins": KBinsDiscretizer(4, quantile_method="averaged_inverted_cdf"),
    "bins in order": KBinsDiscretizer(3, encode="ordinal", quantile_method="averaged_inverted_cdf"),
    "splines": SplineTransformer(4),
    "splines without bias": SplineTransformer(4, include_bias=False),
    "selected": make_pipeline(SelectKBest(f_classif, k=2), VarianceThreshold()),
    "union": make_union(StandardScaler(), "passthrough", "drop", SplineTransformer()),
    "identity": FunctionTransformer(),
    "function": FunctionTransformer(np.log, feature_names_out="one-to-one"),
    "by slice": make_column_transformer((StandardScaler(), slice(1, 3)), remainder="passthrough"),
    "by mask": make_column_transformer((StandardScaler(), [True, False, True]), remainder="drop"),
    "by number": make_column_transformer(
        (StandardScaler(), [-1]), (SplineTransformer(), [0]), remainder=MinMaxScaler()
    ),
    "deep": make_pipeline(
        make_column_transformer((SplineTransformer(), [2, 0]), remainder="passthrough"),
        make_column_transformer((StandardScaler(), [0, 5, 6, 13, 14]), ("drop", [1]), remainder="passthrough"),
    ),
}


def made_of(transformer, x):
    """For each output column the inputs that change it, one at a time."""
    z, found = transformer.transform(x), []
    for j in range(x.shape[1]):
        other = x.copy()
        other[:, j] = np.roll(x[:, j], 1)
        found.append(np.asarray(np.abs(transformer.transform(other) - z).sum(0)).ravel() > 1e-12)
    return np.stack(found, 1)


@pytest.mark.parametrize("name", KEPT)
def test_columns_are_followed_through(name):
    x, y = numbers()
    transformer = KEPT[name].fit(x, y)
    source = trace(transformer, ColumnProvenance(np.arange(3))).source
    np.testing.assert_array_equal(np.eye(3, dtype=bool)[source], made_of(transformer, x))


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"drop": "first"},
        {"drop": "if_binary"},
        {"drop": np.array(["a", "y"], dtype=object)},
        {"min_frequency": 3, "handle_unknown": "infrequent_if_exist"},
        {"max_categories": 3},
        {"drop": "first", "max_categories": 3},
        {"drop": "if_binary", "max_categories": 2},
    ],
)
def test_one_hot_columns_are_counted(settings):
    x = np.array([["a", "x"]] * 5 + [["b", "y"]] * 4 + [["c", "x"]] * 2 + [["d", "y"]] * 2 + [["e", "x"]], dtype=object)
    encoder = OneHotEncoder(sparse_output=False, **settings).fit(x)
    source = trace(encoder, ColumnProvenance(np.arange(2))).source
    width = [OneHotEncoder(sparse_output=False, **(settings | own)).fit(x[:, [j]]).transform(x[:, [j]]).shape[1]
             for j, own in enumerate([{"drop": [d]} for d in settings["drop"]] if isinstance(settings.get("drop"), np.ndarray) else [{}, {}])]  # fmt: skip
    assert source.tolist() == [0] * width[0] + [1] * width[1]
    assert len(source) == encoder.transform(x).shape[1]


@pytest.mark.filterwarnings("ignore:Skipping features without any observed values")
@pytest.mark.parametrize("keep", [True, False])
@pytest.mark.parametrize("strategy", ["mean", "median", "most_frequent", "constant"])
def test_imputers_drop_what_was_never_seen_and_indicate(strategy, keep):
    x, _ = numbers(p=4)
    x[:5, 3] = np.nan
    x[:, 1] = np.nan
    imputer = SimpleImputer(strategy=strategy, keep_empty_features=keep, add_indicator=True).fit(x)
    kept = [0, 1, 2, 3] if keep else [0, 2, 3]
    assert trace(imputer, ColumnProvenance(np.arange(4))).source.tolist() == [*kept, 1, 3]
    assert imputer.transform(x).shape[1] == len(kept) + 2
    assert trace(MissingIndicator().fit(x), ColumnProvenance(np.arange(4))).source.tolist() == [1, 3]


def test_target_encoder_of_several_classes():
    x = np.array([["a", "x"], ["b", "y"], ["c", "x"]] * 10, dtype=object)
    for y, width in ((["u", "v", "w"] * 10, 3), (["u", "v", "u"] * 10, 1), (np.arange(30) + 0.5, 1)):
        encoder = TargetEncoder().fit(x, y)
        assert trace(encoder, ColumnProvenance(np.arange(2))).source.tolist() == [0] * width + [1] * width
        assert encoder.transform(x).shape[1] == 2 * width


@pytest.mark.parametrize(
    "mixing",
    [
        PCA(2),
        PolynomialFeatures(2),
        Normalizer(),
        KNNImputer(),
        FunctionTransformer(np.log),
        FunctionTransformer(np.sort),
    ],
)
def test_what_mixes_columns_is_refused_and_named(mixing):
    x, y = numbers()
    named = ColumnTransformer([("kept", StandardScaler(), [0]), ("mixing", mixing, [1, 2])])
    pipeline = Pipeline([("columns", named), ("model", LinearRegression())]).fit(x, y)
    kind = type(mixing).__name__
    with pytest.raises(TypeError, match=rf"step 'mixing' \({kind}\) mixes columns, or .*explain the pipeline itself"):
        ta.explain(ta.models.last_step(pipeline), x, ta.Occlusion(CELLS))
    union = FeatureUnion([("mixing", mixing)])
    pipeline = make_pipeline(union, LinearRegression()).fit(x, y)
    with pytest.raises(TypeError, match="step 'mixing'"):
        ta.explain(ta.models.last_step(pipeline), x, ta.Occlusion(CELLS))


def test_a_function_that_only_says_it_keeps_columns_apart_is_found_out():
    x, y = numbers()
    sorts = FunctionTransformer(lambda v: np.sort(v, 1), feature_names_out="one-to-one")
    pipeline = make_pipeline(sorts, LinearRegression()).fit(x, y)
    with pytest.raises(
        ValueError,
        match=r"column \d of what the transformers give is taken to be made of feature=\d alone|made of \d alone",
    ):
        ta.explain(ta.models.last_step(pipeline), x[:3], ta.Occlusion(CELLS))


@pytest.mark.parametrize(
    ("method", "message"),
    [
        (ta.Saliency(), "Saliency has no baseline: what it says of transformed columns does not add up"),
        (ta.SmoothGrad(), "SmoothGrad has no baseline"),
        (ta.Occlusion(CELLS, ta.baselines.Gaussian(1.0)), "takes a baseline with one value for each raw cell"),
        (ta.Occlusion(CELLS, ta.baselines.Uniform(0.0, 1.0)), "takes a baseline with one value for each raw cell"),
    ],
)
def test_methods_and_baselines_that_cannot_be_mapped_back(method, message):
    x, y = numbers()
    pipeline = make_pipeline(StandardScaler(), LinearRegression()).fit(x, y)
    with pytest.raises(TypeError, match=message):
        ta.explain(ta.models.last_step(pipeline), x, method)


def test_what_is_no_share_of_the_prediction_is_refused_where_a_column_becomes_several():
    x, y = numbers()
    method = ta.TemporalRescaling(ta.Occlusion(CELLS, ta.baselines.Constant(1.0)), CELLS, CELLS)
    for transformer in (SplineTransformer(), SelectKBest(f_classif, k=2)):
        step = ta.models.last_step(make_pipeline(transformer, LinearRegression()).fit(x, y))
        with pytest.raises(
            TypeError, match=r"TemporalRescaling does not divide the prediction among cells.* 3 raw ones"
        ):
            ta.explain(step, x, method)
    step = ta.models.last_step(make_pipeline(StandardScaler(), LinearRegression()).fit(x, y))
    with pytest.raises(TypeError, match="Saliency has no baseline"):
        ta.explain(step, x, ta.TemporalRescaling(ta.Saliency(), CELLS, CELLS, ta.baselines.Constant(1.0)))


def test_a_last_step_without_gradients_names_occlusion():
    x, y = numbers()
    for last in (HistGradientBoostingClassifier(max_iter=2), PoissonRegressor()):
        step = ta.models.last_step(make_pipeline(StandardScaler(), last).fit(x, y))
        with pytest.raises(TypeError, match=f"needs gradients, and {type(last).__name__} has none; use Occlusion"):
            ta.explain(step, x[:4], ta.IntegratedGradients(ta.baselines.Typical.fit(x)))


def test_a_classifier_without_probabilities_by_its_margin():
    x, y = numbers()
    pipeline = make_pipeline(StandardScaler(), LinearSVC()).fit(x, y)
    margin = ta.models.on_arrays(pipeline[-1].decision_function)
    ds = ta.explain(ta.models.last_step(pipeline[:-1], margin), x[:5], ta.Occlusion(CELLS, ta.baselines.Constant(1.0)))
    expected = (x[:5] - 1) / pipeline[0].scale_ * pipeline[-1].coef_
    np.testing.assert_allclose(ds.attribution, expected, atol=1e-12)
    with pytest.raises(TypeError, match="LinearSVC is a classifier without predict_proba; explain its margin"):
        ta.explain(ta.models.last_step(pipeline), x[:5], ta.IntegratedGradients(ta.baselines.Constant(1.0)))


def test_several_outputs_of_a_linear_model():
    x, _ = numbers()
    y = np.stack([x[:, 0], x[:, 1] - 2 * x[:, 2]], 1)
    step = ta.models.last_step(make_pipeline(StandardScaler(), LinearRegression()).fit(x, y))
    ds = ta.explain(step, x, ta.IntegratedGradients(ta.baselines.Constant(1.0)), target=[0, 1])
    np.testing.assert_allclose(ds.attribution.sel(target="0"), (x - 1) * [1, 0, 0], atol=1e-9)
    np.testing.assert_allclose(ds.attribution.sel(target="1"), (x - 1) * [0, 1, -2], atol=1e-9)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (
            lambda: ta.models.last_step(LinearRegression()),
            TypeError,
            "a fitted Pipeline of at least two steps, got Linear",
        ),
        (lambda: ta.models.last_step(make_pipeline(LinearRegression())), TypeError, "at least two steps, got Pipeline"),
        (
            lambda: ta.models.last_step(LinearRegression(), "m"),
            TypeError,
            "takes a fitted transformer, got LinearRegression",
        ),
    ],
)
def test_wrong_use(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_words_before_the_last_step_are_refused():
    frame = pd.DataFrame({"a": ["x", "y", "x"], "b": [1.0, 2.0, 3.0]})
    step = ta.models.last_step(FunctionTransformer(), ta.models.on_arrays(lambda z: z[:, 1]))
    with pytest.raises(TypeError, match="give columns of dtype object; last_step needs numbers before the last step"):
        ta.explain(step, frame, ta.Occlusion(CELLS, ta.baselines.Typical.fit(frame)))
