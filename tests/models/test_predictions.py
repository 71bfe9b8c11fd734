"""What fitted estimators of all kinds are asked for, and what they are refused for."""

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.cluster import DBSCAN, AffinityPropagation, BisectingKMeans, KMeans, MeanShift
from sklearn.compose import TransformedTargetRegressor
from sklearn.covariance import EllipticEnvelope
from sklearn.ensemble import IsolationForest, RandomForestClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression, RidgeClassifier
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import GridSearchCV
from sklearn.multiclass import OneVsRestClassifier
from sklearn.multioutput import ClassifierChain, MultiOutputClassifier, MultiOutputRegressor
from sklearn.neighbors import KNeighborsClassifier, LocalOutlierFactor
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC, OneClassSVM
from sklearn.tree import DecisionTreeClassifier

import tsattr as ta

RNG = np.random.default_rng(0)
X = pd.DataFrame(RNG.normal(size=(60, 3)), columns=list("abc"))
Y = np.c_[X.a + X.b > 0, X.c > 0].astype(int)
METHOD = ta.Occlusion(ta.groups.Cells())


def wrapped(model):
    """The estimator, at the end of a pipeline, and found by a search."""
    return {
        "alone": model,
        "pipeline": make_pipeline(StandardScaler(), model),
        "search": GridSearchCV(make_pipeline(StandardScaler(), model), {}, cv=2),
    }


WAYS = list(wrapped(None))


def occluded(f, column):
    """The closed form: the output less that with the column at 0."""
    return np.asarray(f(X)) - np.asarray(f(X.assign(**{column: 0.0})))


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "model",
    [
        MultiOutputClassifier(LogisticRegression()),
        RandomForestClassifier(5, random_state=0),
        KNeighborsClassifier(),
        DecisionTreeClassifier(random_state=0),
        ClassifierChain(LogisticRegression()),
        OneVsRestClassifier(LogisticRegression()),
        MLPClassifier((4,), max_iter=5, random_state=0),
    ],
    ids=lambda model: type(model).__name__,
)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("n", [2, 60])
def test_several_labels_are_two_axes(model, way, n):
    model = wrapped(model)[way].fit(X, Y)
    p = model.predict_proba(X)
    right = p[1][:, 1] if isinstance(p, list) else p[:, 1]
    target = ta.targets.Output(label=1, **{"class": 1})
    ds = ta.explain(model, X[:n], METHOD, target=target, batch_size=n)
    np.testing.assert_allclose(ds.prediction, right[:n])

    def of_label(x):
        p = model.predict_proba(x)
        return p[1][:, 1] if isinstance(p, list) else p[:, 1]

    np.testing.assert_allclose(ds.attribution.sel(feature="c"), occluded(of_label, "c")[:n], atol=1e-12)
    with pytest.raises(ValueError, match="label"):
        ta.explain(model, X[:n], METHOD)


def test_labels_of_classes_with_names_and_of_unequal_numbers():
    words = np.where(Y == 1, "yes", "no")
    model = RandomForestClassifier(5, random_state=0).fit(X, words)
    target = ta.targets.Output(label=0, **{"class": "yes"})
    ds = ta.explain(model, X, METHOD, target=target)
    np.testing.assert_array_equal(ds.prediction, model.predict_proba(X)[0][:, 1])
    three = np.c_[words[:, 0], np.digitize(X.c, [-0.5, 0.5]).astype(str)]
    model = RandomForestClassifier(5, random_state=0).fit(X, three)
    with pytest.raises(TypeError, match=r"list of arrays, one for each of 2 labels, with \[2, 3\] classes"):
        ta.explain(model, X, METHOD, target=target)
    one = ta.models.on_frames(lambda x: model.predict_proba(x)[1])
    np.testing.assert_array_equal(ta.explain(one, X, METHOD, target=2).prediction, model.predict_proba(X)[1][:, 2])


@pytest.mark.parametrize("n", [2, 5])
@pytest.mark.parametrize("form", [list, tuple])
def test_a_list_of_arrays_from_a_function_is_refused(n, form):
    for wrapper in (ta.models.on_arrays, ta.models.on_frames):
        model = wrapper(lambda x: form([np.ones((len(x), 2)), np.ones((len(x), 2))]))
        with pytest.raises(TypeError, match=rf"gives a {form.__name__} of 2 arrays of shapes \({n}, 2\), .* np.stack"):
            ta.explain(model, X[:n], METHOD, target=0, check=False)  # a trial asks about two rows
    numbers = ta.models.on_arrays(lambda x: [float(v) for v in x.sum(1)])
    np.testing.assert_allclose(ta.explain(numbers, X.to_numpy()[:n], METHOD).prediction, X[:n].sum(axis=1))


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "model",
    [KMeans(3, n_init=2, random_state=0), BisectingKMeans(3, random_state=0), MeanShift(), AffinityPropagation()],
    ids=lambda model: type(model).__name__,
)
def test_clusters_have_no_order_and_their_explanation_has_a_way(model, way):
    model = wrapped(model)[way]
    if way == "search":
        model.scoring = lambda model, x, y=None: 0.0
    for x, wrapper in ((X, ta.models.on_frames), (X.to_numpy(), ta.models.on_arrays)):
        model = clone(model).fit(x)
        with pytest.raises(TypeError, match="clusters have no order") as refused:
            ta.explain(model, x, METHOD)
        assert f"ta.models.{wrapper.__name__}(lambda x: model.predict(x) == k)" in str(refused.value)
        ds = ta.explain(wrapper(lambda x, fitted=model: fitted.predict(x) == 0), x, METHOD)
        np.testing.assert_array_equal(ds.prediction, model.predict(x) == 0)
        if hasattr(model, "transform"):
            assert f"ta.models.{wrapper.__name__}(model.transform)" in str(refused.value)
            ds = ta.explain(wrapper(model.transform), x, METHOD, target=1)
            np.testing.assert_allclose(ds.prediction, model.transform(x)[:, 1])
    with pytest.raises(TypeError, match="clusters have no order"):
        ta.AFEXExplainer(model).fit(x)


@pytest.mark.filterwarnings("ignore:X does not have valid feature names")  # LocalOutlierFactor says it to itself
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "model",
    [
        IsolationForest(n_estimators=10, random_state=0),
        OneClassSVM(),
        EllipticEnvelope(random_state=0),
        LocalOutlierFactor(novelty=True),
    ],
    ids=lambda model: type(model).__name__,
)
def test_outlier_detectors_are_explained_by_their_decision_function(model, way):
    model = wrapped(model)[way]
    if way == "search":
        model.scoring = lambda model, x, y=None: 0.0
    model.fit(X)
    ds = ta.explain(model, X, METHOD)
    np.testing.assert_allclose(ds.prediction, model.decision_function(X))
    np.testing.assert_allclose(ds.attribution.sel(feature="b"), occluded(model.decision_function, "b"), atol=1e-12)
    assert ds.attrs["model"].endswith(".decision_function")


@pytest.mark.parametrize("way", WAYS)
def test_mixtures_are_explained_by_the_probability_of_a_component(way):
    model = wrapped(GaussianMixture(2, random_state=0))[way].fit(X)
    ds = ta.explain(model, X, METHOD, target=1)
    np.testing.assert_allclose(ds.prediction, model.predict_proba(X)[:, 1])


@pytest.mark.parametrize("way", WAYS)
def test_regressors_of_transformed_and_of_several_targets(way):
    model = wrapped(TransformedTargetRegressor(LinearRegression(), func=np.log, inverse_func=np.exp))[way]
    model.fit(X, np.exp(X.a))
    ds = ta.explain(model, X, METHOD)
    np.testing.assert_allclose(ds.attribution.sel(feature="a"), np.exp(X.a) - 1, rtol=1e-9, atol=1e-9)
    model = wrapped(MultiOutputRegressor(LinearRegression()))[way].fit(X, np.c_[X.a, X.b])
    ds = ta.explain(model, X, METHOD, target=1)
    np.testing.assert_allclose(ds.attribution.sel(feature="b"), X.b, atol=1e-9)


@pytest.mark.parametrize("way", WAYS)
def test_classifiers_without_probabilities_are_refused_with_a_way(way):
    for model in (RidgeClassifier(), LinearSVC()):
        model = wrapped(model)[way].fit(X, Y[:, 0])
        with pytest.raises(TypeError, match=r"ta.models.on_frames\(model.decision_function\)"):
            ta.explain(model, X, METHOD)
        ds = ta.explain(ta.models.on_frames(model.decision_function), X, METHOD)
        np.testing.assert_allclose(ds.prediction, model.decision_function(X))
    several = MultiOutputClassifier(LinearSVC()).fit(X, Y)
    with pytest.raises(TypeError, match=r"without predict_proba; calibrate it"):
        ta.explain(several, X, METHOD)


def test_what_only_labels_its_training_rows_is_no_model():
    with pytest.raises(TypeError, match="got DBSCAN"):
        ta.explain(DBSCAN().fit(X), X, METHOD)


def test_an_estimator_that_is_none_of_scikit_learns_is_asked_as_before():
    class Own:
        def predict(self, x):
            return np.asarray(x)[:, 0]

    np.testing.assert_array_equal(ta.explain(Own(), X, METHOD).prediction, X.a)


def test_the_farthest_centre_is_no_predicted_class():
    x = pd.DataFrame(np.random.default_rng(0).normal(size=(30, 2)), columns=["a", "b"])
    clusters = KMeans(3, n_init=1, random_state=0).fit(x)
    model, method = ta.models.on_frames(clusters.transform), ta.Occlusion(ta.groups.Cells(), ta.baselines.Constant(0.0))
    with pytest.raises(ValueError, match="the model gives 3 values, of which none is a predicted class"):
        ta.explain(model, x, method)
    np.testing.assert_allclose(
        ta.explain(model, x, method, target=2).prediction, clusters.transform(x)[:, 2], rtol=1e-12
    )
