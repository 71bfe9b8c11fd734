"""Which raw column each column of a fitted scikit-learn transformer is made of: read from what was fitted, not from names."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pandas as pd


@dataclass(frozen=True)
class ColumnProvenance:
    """The provenance of a table's columns, after some steps of a pipeline.

    Attributes
    ----------
    source
        Int (columns,): the position of the raw column that each is made of.
    names
        The columns' names, as long as they are the raw columns themselves; None once a step has made new ones.
    """

    source: np.ndarray
    names: tuple[str, ...] | None = None

    def at(self, positions: np.ndarray) -> ColumnProvenance:
        """The columns at some positions."""
        return ColumnProvenance(
            self.source[positions], None if self.names is None else tuple(self.names[i] for i in positions)
        )


Rule = Callable[[Any, ColumnProvenance], ColumnProvenance | np.ndarray | None]
"""``rule(step, inputs)``: the provenance of a fitted step's outputs, or their `source` alone; None where the step mixes columns."""


def trace(step: Any, columns: ColumnProvenance, name: str = "") -> ColumnProvenance:
    """The provenance of the columns that a fitted step makes.

    Parameters
    ----------
    step
        A fitted transformer, Pipeline, ColumnTransformer or FeatureUnion, "passthrough", or "drop".
    columns
        The provenance of its inputs.
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
    >>> trace(onehot, ColumnProvenance(np.arange(2))).source.tolist()
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
                return found if isinstance(found, ColumnProvenance) else ColumnProvenance(found)
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


def _pipeline(pipeline: Any, columns: ColumnProvenance) -> ColumnProvenance:
    for name, step in pipeline.steps:
        columns = trace(step, columns, name)
    return columns


def _union(union: Any, columns: ColumnProvenance) -> np.ndarray:
    return np.concatenate([trace(step, columns, name).source for name, step in union.transformer_list])


def _column_transformer(step: Any, columns: ColumnProvenance) -> np.ndarray:
    source = np.full(max((s.stop for s in step.output_indices_.values()), default=0), -1)
    for name, inner, selection in step.transformers_:
        made = step.output_indices_[name]
        if made.stop > made.start:
            source[made] = trace(inner, columns.at(_positions(step, selection, columns)), name).source
    return source


def _positions(step: Any, selection: Any, columns: ColumnProvenance) -> np.ndarray:
    """The positions, among `columns`, of a selection that was made when the ColumnTransformer was fitted."""
    fitted = getattr(step, "feature_names_in_", None)
    at = pd.Series(np.arange(step.n_features_in_), index=fitted)
    if isinstance(selection, slice):
        by_name = isinstance(selection.start or selection.stop, str)
    else:
        by_name = bool(np.size(selection)) and isinstance(np.asarray(selection, dtype=object).flat[0], str)
    positions = np.atleast_1d(at.loc[selection] if by_name else at.to_numpy()[selection])
    if columns.names is None or fitted is None:
        return positions
    return np.array([columns.names.index(fitted[i]) for i in positions], int)


@cache
def _rules() -> dict[Any, Rule]:
    """The rule of each class of transformer."""
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


def _imputer(imputer: Any, columns: ColumnProvenance) -> np.ndarray:
    """Columns without a value in training are left out; indicators of missing values come after the others."""
    seen = imputer.keep_empty_features | ~np.asarray(pd.isna(imputer.statistics_), bool)
    indicated = imputer.indicator_.features_ if imputer.add_indicator else []
    return np.concatenate([columns.source[seen], columns.source[np.asarray(indicated, int)]])


def _one_hot(encoder: Any, columns: ColumnProvenance) -> np.ndarray:
    rare = getattr(encoder, "infrequent_categories_", [None] * len(encoder.categories_))
    dropped = [None] * len(rare) if encoder.drop_idx_ is None else encoder.drop_idx_
    width = [
        len(levels) - (0 if few is None else len(few) - 1) - (drop is not None)
        for levels, few, drop in zip(encoder.categories_, rare, dropped)
    ]
    return columns.source.repeat(width)


def _target(encoder: Any, columns: ColumnProvenance) -> np.ndarray:
    """A column gives one column, or one for each class of a multiclass target."""
    return columns.source.repeat(len(encoder.classes_) if encoder.target_type_ == "multiclass" else 1)


def _function(function: Any, columns: ColumnProvenance) -> ColumnProvenance | np.ndarray | None:
    if function.func is None:
        return columns
    return columns.source if isinstance(function.feature_names_out, str) else None
