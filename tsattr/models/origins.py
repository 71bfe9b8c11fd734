"""Which raw column each column of a fitted scikit-learn transformer is made of: read from what was fitted, not from names."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pandas as pd


@dataclass(frozen=True)
class Columns:
    """Columns on their way through a pipeline: what each is made of, and their names while they are the raw ones."""

    source: np.ndarray
    names: tuple[str, ...] | None = None

    def at(self, positions: np.ndarray) -> Columns:
        """Some of the columns."""
        return Columns(self.source[positions], None if self.names is None else tuple(self.names[i] for i in positions))


Rule = Callable[[Any, Columns], Columns | np.ndarray | None]


def follow(step: Any, columns: Columns, name: str = "") -> Columns:
    """What each column is made of after a fitted step.

    Parameters
    ----------
    step
        A fitted transformer, Pipeline, ColumnTransformer or FeatureUnion, "passthrough", or "drop".
    columns
        What its inputs are made of.
    name
        The step's name, for the error.

    Raises
    ------
    TypeError
        Naming the step, where a column is made of several (PCA, PolynomialFeatures, ...), or the transformer is not known.

    Examples
    --------
    >>> from sklearn.preprocessing import OneHotEncoder
    >>> onehot = OneHotEncoder().fit([["a", "x"], ["b", "y"], ["c", "x"]])
    >>> follow(onehot, Columns(np.arange(2))).source.tolist()
    [0, 0, 0, 1, 1]
    """
    if step is None or (isinstance(step, str) and step == "passthrough"):
        return columns
    if isinstance(step, str) and step == "drop":
        return columns.at(np.empty(0, int))
    for kind, rule in {**_containers(), **_rules()}.items():
        if isinstance(step, kind):
            found = rule(step, columns)
            if found is not None:
                return found if isinstance(found, Columns) else Columns(found)
    label = f"step {name!r} ({type(step).__name__})" if name else type(step).__name__
    raise TypeError(
        f"{label} mixes columns, or is not known to keep them apart, so that attributions of its output cannot be given back "
        "to single columns; explain the pipeline itself: ta.explain(pipeline, ...)"
    )


@cache
def _containers() -> dict[Any, Rule]:
    from sklearn.compose import ColumnTransformer
    from sklearn.pipeline import FeatureUnion, Pipeline

    return {Pipeline: _pipeline, ColumnTransformer: _column_transformer, FeatureUnion: _union}


def _pipeline(pipeline: Any, columns: Columns) -> Columns:
    for name, step in pipeline.steps:
        columns = follow(step, columns, name)
    return columns


def _union(union: Any, columns: Columns) -> np.ndarray:
    return np.concatenate([follow(step, columns, name).source for name, step in union.transformer_list])


def _column_transformer(step: Any, columns: Columns) -> np.ndarray:
    source = np.full(max((s.stop for s in step.output_indices_.values()), default=0), -1)
    for name, inner, chosen in step.transformers_:
        place = step.output_indices_[name]
        if place.stop > place.start:
            source[place] = follow(inner, columns.at(_positions(step, chosen, columns)), name).source
    return source


def _positions(step: Any, chosen: Any, columns: Columns) -> np.ndarray:
    """Where the columns that a ColumnTransformer chose when it was fitted are now."""
    fitted = getattr(step, "feature_names_in_", None)
    at = pd.Series(np.arange(step.n_features_in_), index=fitted)
    words = isinstance(chosen, str) or (isinstance(chosen, slice) and isinstance(chosen.start or chosen.stop, str))
    if not words and not isinstance(chosen, slice) and np.size(chosen):
        words = isinstance(np.asarray(chosen, dtype=object).flat[0], str)
    positions = np.atleast_1d(at.loc[chosen] if words else at.to_numpy()[chosen])
    if columns.names is None or fitted is None:
        return positions
    return np.array([columns.names.index(fitted[i]) for i in positions], int)


@cache
def _rules() -> dict[Any, Rule]:
    """For each class of transformer, what its outputs are made of; None where its settings mix columns."""
    from sklearn import impute, preprocessing
    from sklearn.feature_selection import SelectorMixin

    same = (
        preprocessing.StandardScaler,
        preprocessing.MinMaxScaler,
        preprocessing.MaxAbsScaler,
        preprocessing.RobustScaler,
        preprocessing.PowerTransformer,
        preprocessing.QuantileTransformer,
        preprocessing.Binarizer,
        preprocessing.OrdinalEncoder,
    )
    return {
        **dict.fromkeys(same, lambda t, c: c.source),
        SelectorMixin: lambda t, c: c.source[t.get_support()],
        impute.SimpleImputer: _imputer,
        impute.MissingIndicator: lambda t, c: c.source[t.features_],
        preprocessing.OneHotEncoder: _one_hot,
        preprocessing.TargetEncoder: _target,
        preprocessing.KBinsDiscretizer: lambda t, c: c.source if t.encode == "ordinal" else c.source.repeat(t.n_bins_),
        preprocessing.SplineTransformer: lambda t, c: c.source.repeat(t.n_features_out_ // t.n_features_in_),
        preprocessing.FunctionTransformer: _function,
    }


def _imputer(imputer: Any, columns: Columns) -> np.ndarray:
    """Columns never seen are left out; indicators come after the others."""
    seen = imputer.keep_empty_features | ~np.asarray(pd.isna(imputer.statistics_), bool)
    indicated = imputer.indicator_.features_ if imputer.add_indicator else []
    return np.concatenate([columns.source[seen], columns.source[np.asarray(indicated, int)]])


def _one_hot(encoder: Any, columns: Columns) -> np.ndarray:
    rare = getattr(encoder, "infrequent_categories_", [None] * len(encoder.categories_))
    dropped = [None] * len(rare) if encoder.drop_idx_ is None else encoder.drop_idx_
    width = [
        len(levels) - (0 if few is None else len(few) - 1) - (drop is not None)
        for levels, few, drop in zip(encoder.categories_, rare, dropped)
    ]
    return columns.source.repeat(width)


def _target(encoder: Any, columns: Columns) -> np.ndarray:
    """One column for each class of a multiclass target."""
    return columns.source.repeat(len(encoder.classes_) if encoder.target_type_ == "multiclass" else 1)


def _function(function: Any, columns: Columns) -> Columns | np.ndarray | None:
    if function.func is None:
        return columns
    return columns.source if isinstance(function.feature_names_out, str) else None
