"""AFEX as scikit-learn estimators: additive models that are their own explanation."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import ClassifierMixin, RegressorMixin
from sklearn.utils import assert_all_finite, column_or_1d
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_array, check_consistent_length

from ..core.arrays import unmasked
from .base import AdditiveEstimator
from .families import REGRESSION, Family, Logit, Softmax, probability, softmax
from .parameters import check_choice, checked_weights
from .rows import canonical


class AFEXRegressor(RegressorMixin, AdditiveEstimator):
    """Additive model with pairs of features, of learnt one-feature functions weighted by attention, for regression.

    Fits the score ``f(x) = b + sum_j f_j(x_j) + sum_(a,b) f_ab(x_a, x_b)``, by default by least squares. Each f_j combines splines, steps and small
    nets of one feature, each f_ab products of such functions of two. The pairs are those whose products take more off the
    loss than chance explains. The weights are solved for in closed form at every step of the nets' training, the penalties
    are set by the marginal likelihood, and the terms are purified, so that they are identified: mains have mean 0 over the
    data, pairs hold what no main can.

    Konstantinov and Utkin, arXiv 2108.04855 (functions and attention); Lengerich et al., 2020 (purification).

    Parameters
    ----------
    loss
        "squared_error". "huber" for noise with outliers: beyond 1.345 robust standard deviations of the residuals the distance
        counts, not its square. "poisson" for counts and rates, "gamma" for positive outcomes whose noise grows with their
        mean: half the deviance, with the noise's size estimated; the score is the logarithm of the mean, so that terms
        multiply, and a skewed outcome needs no pairs for it.
    interactions
        "auto" takes the pairs that chance does not explain, at most 5 a feature; a number the strongest so many; a list
        of pairs of names or indices those; 0 none.
    heredity
        Whether a pair must be of features that have mains. Off by default: pure interactions have none.
    purify
        "marginals": pairs have mean 0 along each feature, weighted by its training distribution. "data": pairs are also
        uncorrelated with their mains over the joint distribution of the training data. The two differ where features do
        depend on each other.
    monotonic_cst
        1 (rising), -1 (falling) or 0 for each feature, as a list or a dict by name. Such a feature is in no pair and has
        no nets.
    categorical_features
        "from_dtype" takes what has no arithmetic in a DataFrame: text, categories, intervals, times of day; or a mask, indices or
        names; or None.
    atoms
        Whether each numeric feature has a spline and steps at the thresholds that the data show. Then nets are trained for the
        features of pairs; without atoms for all numeric features, as in the paper.
    n_nets, hidden
        Nets of each feature, and units of each net. Four times as many are tried where a pair's surface leaves more than chance,
        up to 8, and kept where rows held out show it. 0 nets: products are of the spline's leading directions.
    max_epochs
        Most steps of the nets' training; a part of the rows, `validation_fraction`, chooses the step.
    attention
        How weights are found: "least_squares" with penalties; "correlation" or "softmax" of the correlations, as in the
        paper, without splines and steps.
    bags
        Bootstrap replicates for bands and standard errors, by one Newton step each with the functions fixed; 0 for none.
    validation_fraction
        Share of the rows that chooses the step of the training; the weights are then solved for with all rows.
    random_state
        Seed, for the nets' start, the rows held out and the bootstrap.

    Attributes
    ----------
    intercept_
        The score where every term is 0.
    pairs_
        The selected pairs of indices.
    loss_
        Mean training loss.
    training_rows_
        Number of training rows that the fitted model holds and is saved with; `forget_rows` drops them.
    n_features_in_, feature_names_in_
        As everywhere in scikit-learn.

    Notes
    -----
    Values outside the training range count as its nearest end. Missing values (NaN) have a term of their own; unknown
    categories add 0. Dates count as days since 1970, periods as their first day and durations as days, with `units` in the results.

    Rows are sorted and merged first, so a row of weight 2 is the same as two rows. What the fit takes for sure depends on how
    many rows there are, not on the size of the weights: where a column tells the rows apart, weights are relative and worth
    ``(sum w)^2 / sum w^2`` rows. In tables whose rows recur, weights that are whole numbers are counts, in their largest common
    unit; fractions and the weights of classes are relative.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> X = rng.uniform(-1, 1, (500, 3))
    >>> est = AFEXRegressor(n_nets=0).fit(X, X[:, 0] * X[:, 1] + X[:, 2] ** 2)
    >>> est.pairs_
    [(0, 1)]
    >>> bool(abs(est.explain_local(X).attribution.sum("feature") + est.intercept_ - est.predict(X)).max() < 1e-6)
    True
    """

    def __init__(
        self,
        *,
        loss: str = "squared_error",
        interactions: Any = "auto",
        heredity: bool = False,
        purify: str = "marginals",
        monotonic_cst: Any = None,
        categorical_features: Any = "from_dtype",
        atoms: bool = True,
        n_nets: int = 2,
        hidden: int = 16,
        max_epochs: int = 150,
        attention: str = "least_squares",
        bags: int = 25,
        validation_fraction: float = 0.15,
        random_state: Any = None,
    ):
        super().__init__(
            interactions=interactions,
            heredity=heredity,
            purify=purify,
            monotonic_cst=monotonic_cst,
            categorical_features=categorical_features,
            atoms=atoms,
            n_nets=n_nets,
            hidden=hidden,
            max_epochs=max_epochs,
            attention=attention,
            bags=bags,
            validation_fraction=validation_fraction,
            random_state=random_state,
        )
        self.loss = loss

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.positive_only = self.loss in ("poisson", "gamma")
        return tags

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> AFEXRegressor:
        """Fit to outcomes `y` (n,).

        Parameters
        ----------
        X
            Table (n, p): array, DataFrame of pandas or polars, table of Arrow; NaN is missing.
        y
            Numbers (n,).
        sample_weight
            Weights of the rows; see the notes of `AFEXRegressor`.
        """
        _required(self, y)
        X, codes = self._read_training(X)
        y = column_or_1d(check_array(unmasked(y), ensure_2d=False, dtype=np.float64, input_name="y"), warn=True)
        check_consistent_length(codes, y)
        w = checked_weights(sample_weight, codes)
        self._fit_terms(*canonical(codes, y[:, None], w), self._loss(y[w > 0]), None, len(codes))
        return self

    def _loss(self, y: np.ndarray) -> Family:
        """The loss by its name. ValueError for outcomes outside its range."""
        check_choice("loss", self.loss, tuple(REGRESSION))
        if self.loss == "gamma" and (y <= 0).any():
            raise ValueError(f"loss='gamma' is for outcomes above 0, and y has {y.min():g}; 'poisson' takes zeros")
        if self.loss == "poisson" and ((y < 0).any() or not y.any()):
            raise ValueError(
                f"loss='poisson' is for outcomes of at least 0 that are not all 0, and y goes from {y.min():g} to {y.max():g}"
            )
        return REGRESSION[self.loss]

    def predict(self, X: Any) -> np.ndarray:
        """Predictions (n,): the score, or for the losses of a logarithm its exponential."""
        score = self._score(X)
        return self._family.mean(score)


class AFEXClassifier(ClassifierMixin, AdditiveEstimator):
    """Additive model with pairs of features, of learnt one-feature functions weighted by attention, for classification.

    As `AFEXRegressor`, with the log-loss: the terms add up to the log-odds of the second of two classes, or for more to the
    log-probability of each class up to a constant, centred over the classes. The functions are shared by the classes.

    Parameters
    ----------
    interactions, heredity, purify, monotonic_cst, categorical_features, atoms, n_nets, hidden, max_epochs
        See `AFEXRegressor`; `monotonic_cst` is for two classes.
    attention, bags, validation_fraction, random_state
        See `AFEXRegressor`.

    Attributes
    ----------
    classes_
        The classes.
    intercept_
        The score where every term is 0; for several classes (classes,).
    pairs_, loss_, training_rows_, n_features_in_, feature_names_in_
        See `AFEXRegressor`.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> X = rng.uniform(-1, 1, (400, 2))
    >>> est = AFEXClassifier(n_nets=0).fit(X, np.where(X[:, 0] + 0.2 * rng.normal(size=400) > 0, "ill", "well"))
    >>> est.classes_.tolist(), bool(est.shape(0, [0.9])[0] < est.shape(0, [-0.9])[0])
    (['ill', 'well'], True)
    """

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> AFEXClassifier:
        """Fit to classes `y` (n,).

        Parameters
        ----------
        X
            Table (n, p): array, DataFrame of pandas or polars, table of Arrow; NaN is missing.
        y
            Labels (n,).
        sample_weight
            Weights of the rows; see the notes of `AFEXRegressor`.
        """
        _required(self, y)
        X, codes = self._read_training(X)
        y = column_or_1d(y, warn=True)
        assert_all_finite(y, input_name="y")
        check_classification_targets(y)
        check_consistent_length(codes, y)
        w = checked_weights(sample_weight, codes)
        self.classes_ = np.unique(y[w > 0])
        if len(self.classes_) < 2:
            raise ValueError(
                f"{type(self).__name__} needs rows of at least two classes, got one class: {self.classes_}"
            )
        if len(self.classes_) == 2:
            second = (y == self.classes_[1])[:, None].astype(float)
            self._fit_terms(*canonical(codes, second, w), Logit(), None, len(codes))
            self._fitted.attrs["target"] = str(self.classes_[1])
        else:
            hot = (y[:, None] == self.classes_).astype(float)
            self._fit_terms(*canonical(codes, hot, w), Softmax(), self.classes_, len(codes))
        return self

    def decision_function(self, X: Any) -> np.ndarray:
        """Scores: log-odds of the second class (n,), or centred log-probabilities (n, classes)."""
        return self._score(X)

    def predict_proba(self, X: Any) -> np.ndarray:
        """Probabilities (n, classes)."""
        score = self._score(X)
        if score.ndim == 2:
            return softmax(score)
        p = probability(score)
        return np.column_stack([1 - p, p])

    def predict(self, X: Any) -> np.ndarray:
        """The most probable class (n,)."""
        score = self._score(X)
        label: np.ndarray = self.classes_[(score > 0).astype(int) if score.ndim == 1 else score.argmax(1)]
        return label


def _required(estimator: Any, y: Any) -> None:
    if y is None:
        raise ValueError(f"{type(estimator).__name__} requires y to be passed, but the target y is None")
