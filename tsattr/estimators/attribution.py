"""Attributions as a scikit-learn transformer."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from sklearn import get_config
from sklearn.base import BaseEstimator, MetaEstimatorMixin, OneToOneFeatureMixin, TransformerMixin, clone
from sklearn.utils import Bunch, get_tags
from sklearn.utils.metadata_routing import MetadataRouter, MethodMapping, process_routing
from sklearn.utils.validation import check_is_fitted, validate_data

from ..core.method import check_is_method
from ..explain import explain
from ..labels.parsing import SharedDraws
from ..labels.tables import as_pandas


class AttributionTransformer(OneToOneFeatureMixin, TransformerMixin, MetaEstimatorMixin, BaseEstimator):
    """Rows of a table as the attributions of a model's output to its columns.

    ``transform(X)[i, j]`` is what the method gives to column j of row i, in units of the target. It ends a pipeline, or
    goes before what works on attributions, such as a clustering of rows by the reasons for their prediction. A row's
    attributions depend on that row alone: all rows share the draws of a baseline.

    Parameters
    ----------
    estimator
        The classifier, regressor or pipeline to explain; a clone of it is fitted. One that is fitted already is kept as it
        is in ``sklearn.frozen.FrozenEstimator(estimator)``.
    method
        An object such as ``Occlusion(groups, baseline)``, or any other method of `tsattr` that needs no gradients. A baseline
        given as a class, such as ``baseline=ta.baselines.Samples``, is fitted to the table that `fit` is given.
    target
        What is explained, as in :func:`tsattr.explain`. None: a regressor's prediction; of two classes the second; of more
        each, side by side.
    seed
        Seed of all draws.
    batch_size
        Rows of one call of the estimator, or "auto".

    Attributes
    ----------
    estimator_
        The fitted estimator.
    method_
        The method with its fitted baseline. A `Samples` baseline is the training table itself, which is saved with the
        transformer; `Typical` and `Mean` hold one row of numbers.
    targets_
        The explained targets, one or several.
    n_features_in_, feature_names_in_
        As everywhere in scikit-learn.

    Raises
    ------
    TypeError, ValueError
        As :func:`tsattr.explain`, and as the estimator, for an input that does not fit.

    Notes
    -----
    A missing cell is a value like any other, as ``explain(..., missing="value")`` has it: what it moves by not being measured is its
    attribution. The estimator must read it, as must what comes before it in a pipeline. Names of columns are those of the input; of several targets
    ``"column|target"``. Frames of pandas and polars are taken with strings, categories and dates.

    Examples
    --------
    >>> import numpy as np, tsattr as ta
    >>> from sklearn.linear_model import LinearRegression
    >>> x = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0], [0.0, 0.0]])
    >>> method = ta.Occlusion(ta.groups.Cells(), ta.baselines.Constant(0.0))
    >>> AttributionTransformer(LinearRegression(), method).fit(x, x @ [2.0, 3.0]).transform(x).round(9).tolist()
    [[2.0, 0.0], [0.0, 3.0], [2.0, 3.0], [0.0, 0.0]]
    """

    def __init__(
        self, estimator: Any, method: Any, *, target: Any = None, seed: int = 0, batch_size: int | str = "auto"
    ) -> None:
        self.estimator = estimator
        self.method = method
        self.target = target
        self.seed = seed
        self.batch_size = batch_size

    def fit(self, X: Any, y: Any = None, **fit_params: Any) -> AttributionTransformer:
        """Fit the estimator, unless it is frozen, and the baseline.

        Parameters
        ----------
        X
            The training table (rows, columns).
        y
            Its targets, as the estimator takes them.
        **fit_params
            For the estimator's `fit`, such as `sample_weight`; routed as asked for where metadata routing is on.
        """
        x = self._checked(X, reset=True)
        routed = Bunch(estimator=Bunch(fit=fit_params))
        if get_config()["enable_metadata_routing"]:
            routed = process_routing(self, "fit", **fit_params)
        self.estimator_ = clone(self.estimator).fit(x, y, **routed.estimator.fit)
        self.method_ = _fitted(self.method, x)
        classes = getattr(self.estimator_, "classes_", None)
        if self.target is not None or classes is None or not hasattr(self.estimator_, "predict_proba"):
            self.targets_ = self.target
        else:
            self.targets_ = 1 if len(classes) == 2 else list(range(len(classes)))
        # A transformer names its columns before it transforms; the targets are known once the model has been called.
        first = self._explained(x[:1])
        self._names = [str(t) for t in first.target.values] if "target" in first.dims else None
        return self

    def transform(self, X: Any) -> np.ndarray:
        """Attributions (rows, columns), or (rows, columns x targets) with the targets of a column side by side."""
        check_is_fitted(self)
        values: np.ndarray = self._explained(self._checked(X, reset=False)).attribution.values
        return values.reshape(len(values), -1)

    def explain(self, X: Any) -> xr.Dataset:
        """The whole result of :func:`tsattr.explain`: the attributions with predictions, checks and labels."""
        check_is_fitted(self)
        return self._explained(self._checked(X, reset=False))

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Names of the columns of `transform`: the input's, with the target's after a bar where there are several."""
        names: np.ndarray = super().get_feature_names_out(input_features)
        if self._names is None:
            return names
        return np.array([f"{name}|{target}" for name in names for target in self._names], dtype=object)

    def get_metadata_routing(self) -> MetadataRouter:
        """Metadata of `fit` goes to the estimator's `fit`."""
        return MetadataRouter(owner=type(self).__name__).add(
            estimator=self.estimator, method_mapping=MethodMapping().add(caller="fit", callee="fit")
        )

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        inner = get_tags(self.estimator)
        tags.target_tags.required = inner.target_tags.required
        tags.input_tags.allow_nan = inner.input_tags.allow_nan
        tags.input_tags.string = inner.input_tags.string
        tags.input_tags.categorical = inner.input_tags.categorical
        return tags

    def _checked(self, X: Any, *, reset: bool) -> Any:
        """A frame as it is, its columns checked by name; anything else as a float64 array."""
        if hasattr(X, "columns"):
            validate_data(self, X, reset=reset, skip_check_array=True)
            return X
        finite = "allow-nan" if get_tags(self.estimator).input_tags.allow_nan else True
        return validate_data(self, X, reset=reset, dtype="float64", ensure_all_finite=finite)

    def _explained(self, x: Any) -> xr.Dataset:
        rows = x if hasattr(x, "columns") else xr.DataArray(x, dims=("sample", "feature"))
        settings = {"target": self.targets_, "seed": self.seed, "batch_size": self.batch_size, "missing": "value"}
        return explain(self.estimator_, SharedDraws(rows), self.method_, **settings)


def _fitted(method: Any, x: Any) -> Any:
    """The method, with a baseline that was given as a class fitted to `x`."""
    check_is_method(method)
    baseline: Any = method.setting("baseline")
    if not isinstance(baseline, type):
        return method
    return method.with_setting("baseline", baseline.fit(as_pandas(x)))  # type: ignore[attr-defined]
