"""What the estimators share: parameters, the reading of tables, the terms and their explanations."""

from __future__ import annotations

import inspect
from dataclasses import replace
from typing import Any

import numpy as np
import xarray as xr
from sklearn.base import BaseEstimator
from sklearn.utils import check_array, check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data
from threadpoolctl import threadpool_limits

from ..core.arrays import unmasked
from ..labels.tables import as_pandas
from . import near
from .basis import Feature
from .columns import TableReader, is_frame, nominal
from .families import Family
from .fitting import fit_terms
from .parameters import checked_directions, checked_settings
from .results import FittedModel, contributions, global_terms, versions
from .working import WorkingModel

LARGE = 2_000_000
"""Cells of a table below which linear algebra runs in one thread: more would spend their time waiting for each other."""


class AdditiveEstimator(BaseEstimator):
    """Parameters and methods of all AFEX estimators; not for use by itself."""

    def __init__(
        self,
        *,
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
        self.interactions = interactions
        self.heredity = heredity
        self.purify = purify
        self.monotonic_cst = monotonic_cst
        self.categorical_features = categorical_features
        self.atoms = atoms
        self.n_nets = n_nets
        self.hidden = hidden
        self.max_epochs = max_epochs
        self.attention = attention
        self.bags = bags
        self.validation_fraction = validation_fraction
        self.random_state = random_state

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.categorical = True
        return tags

    # Reading.

    def _table(self, x: Any, *, reset: bool) -> Any:
        """`x` checked: a frame as it is, another library's table as a frame, anything else as a float array."""
        x = x if is_frame(x) else as_pandas(x)
        if is_frame(x):
            validate_data(self, x, reset=reset, skip_check_array=True)
            if len(x) < 1 or len(x.columns) < 1:
                raise ValueError(
                    f"Found array with {len(x)} sample(s) and {len(x.columns)} feature(s) while a minimum of 1 is required."
                )
            return x
        x = unmasked(x) if np.ma.is_masked(x) else x
        if reset and not isinstance(self.categorical_features, str) and self.categorical_features is not None:
            return validate_data(self, x, reset=reset, dtype=None, ensure_all_finite="allow-nan")
        strings = not reset and self._reader.nominal.any()
        dtype = None if strings else np.float64
        return validate_data(self, x, reset=reset, dtype=dtype, ensure_all_finite="allow-nan")

    def _read_training(self, x: Any) -> tuple[Any, np.ndarray]:
        """The training table, checked, and its codes (n, p); sets the reader of tables like it."""
        x = self._table(x, reset=True)
        names = list(getattr(self, "feature_names_in_", [f"x{j}" for j in range(self.n_features_in_)]))
        self._reader = TableReader.fit(x, names, nominal(x, names, self.categorical_features))
        return x, self._codes(x)

    def _codes(self, x: Any) -> np.ndarray:
        """Codes (n, p) of a table that was checked."""
        codes: np.ndarray = check_array(
            self._reader.read(x), dtype=np.float64, ensure_all_finite="allow-nan", estimator=self, input_name="X"
        )
        return codes

    def _read(self, x: Any) -> np.ndarray:
        """Codes (n, p) of a table to predict for or to explain."""
        check_is_fitted(self)
        return self._codes(self._table(x, reset=False))

    # Fitting.

    def _fit_terms(
        self, x: np.ndarray, y: np.ndarray, w: np.ndarray, family: Family, targets: np.ndarray | None, rows: int
    ) -> None:
        """Fit the additive model of `y` (n, outputs), from rows that are in order; sets the fitted attributes."""
        family = family.rescaled(np.tile(family.start(y, w), (len(y), 1)), y, w)
        settings = checked_settings(self, self._reader)
        directions = checked_directions(self.monotonic_cst, self._reader)
        if directions.any() and targets is not None:
            raise ValueError("monotonic_cst is for one score: regression, or two classes")
        rng = np.random.default_rng(check_random_state(self.random_state).randint(2**31 - 1))
        features = [
            Feature.fit(x[:, j], w, levels=len(levels or ()), direction=int(directions[j]), atoms=settings.splines)
            for j, levels in enumerate(self._reader.levels)
        ]
        working = WorkingModel(x, y, w, features, family, settings, rng)
        with threadpool_limits(1 if x.size < LARGE else None, "blas"):
            model = fit_terms(working)
        self._y, self._family = y, (family := working.family)
        self.loss_ = family.unit * float(np.average(family.loss(model.score(x), y), weights=w))
        attrs = {
            "method": self._method_text(),
            "link": family.link,
            "units": family.units,
            "purify": self.purify,
            "attention": self.attention,
            "loss": self.loss_,
            "bags": self.bags,
            "rows": rows,
            **versions(),
        }
        self._fitted = FittedModel(model, self._reader, targets, x, w, attrs)
        intercept = model.intercept[:, 0]
        self.intercept_ = float(intercept[0]) if targets is None else intercept
        self.pairs_ = list(model.pairs)

    def _method_text(self) -> str:
        """The class and the parameters that differ from their defaults, as a result's attrs name the method."""
        defaults = {k: v.default for k, v in inspect.signature(type(self)).parameters.items()}
        changed = {k: v for k, v in self.get_params(deep=False).items() if k != "model"}
        shown = [f"{k}={v!r}" for k, v in changed.items() if repr(v) != repr(defaults[k])]
        return f"{type(self).__name__}({', '.join(shown)})"

    # The training rows.

    @property
    def training_rows_(self) -> int:
        """Number of distinct rows of the training table, with their outcomes, that this object holds and is saved with.

        `explain_global` and `explain_near` need them; `predict` and `explain_local` do not.
        """
        check_is_fitted(self)
        return len(self._fitted.x)

    def forget_rows(self) -> Any:
        """Drop the training rows, so that the fitted model can be given away without them; returns the estimator itself.

        `explain_global` and `term_importances` give the same results as before; `explain_near` raises from then on. What the
        results show stays: the names of levels, and grids of values that occur, the smallest and the largest among them.
        """
        terms = self.explain_global()
        fitted = self._fitted
        self._fitted = replace(fitted, x=fitted.x[:0].copy(), w=fitted.w[:0].copy(), terms=terms)
        self._y = self._y[:0].copy()
        return self

    # Terms and explanations.

    def _score(self, x: Any) -> np.ndarray:
        """The score (n,) or (n, targets)."""
        codes = self._read(x)
        return self._fitted.outputs_last(self._fitted.model.score(codes))

    def eval_terms(self, X: Any) -> xr.DataArray:
        """Each term's contribution to the score of each row.

        Returns
        -------
        xr.DataArray
            (sample, term) and `target` for several classes; terms are the features and the pairs ``"a x b"``. The sum over
            `term` and `intercept_` is the score.
        """
        codes = self._read(X)
        ds = contributions(self._fitted, codes)
        pairs = ds["pair_value"].drop_vars(["first", "second"]).rename(pair="term")
        mains = ds["main"].drop_vars("units", errors="ignore").rename(feature="term")
        return xr.concat([mains, pairs], "term").rename("contribution")

    def shape(self, feature: str | int, x: Any) -> np.ndarray:
        """The contribution f_j of one feature at values `x`.

        Parameters
        ----------
        feature
            Name or index.
        x
            Values (n,) in the feature's own units, levels for a category. Values outside the training range count as its
            nearest end, unknown levels add 0, NaN is a missing value.

        Returns
        -------
        np.ndarray
            (n,), or (n, targets) for several classes, in units of the score.
        """
        check_is_fitted(self)
        j = self._reader.index(feature)
        return self._fitted.outputs_last(self._fitted.model.main(j, self._values(j, x)))

    def interaction(self, a: str | int, b: str | int, xa: Any, xb: Any) -> np.ndarray:
        """The contribution f_ab of a pair at values `xa` and `xb` (n,), beyond its mains; zeros for a pair not selected.

        Returns
        -------
        np.ndarray
            (n,), or (n, targets) for several classes, in units of the score.
        """
        check_is_fitted(self)
        i, j = self._reader.index(a), self._reader.index(b)
        va, vb = np.broadcast_arrays(self._values(i, xa), self._values(j, xb))
        fitted = self._fitted
        if (min(i, j), max(i, j)) not in fitted.model.pairs:
            if i == j:
                raise ValueError(f"an interaction is of two different features, got {a!r} twice")
            return fitted.outputs_last(np.zeros((len(va), fitted.model.outputs)))
        position = fitted.model.pairs.index((min(i, j), max(i, j)))
        return fitted.outputs_last(
            fitted.model.pair(position, va, vb) if i < j else fitted.model.pair(position, vb, va)
        )

    def _values(self, j: int, x: Any) -> np.ndarray:
        """Codes (n,) of values of one feature."""
        values = np.atleast_1d(np.asarray(x))
        if values.ndim != 1:
            raise ValueError(f"values of a feature are one-dimensional, got shape {values.shape}")
        return self._reader.read_one(values, j)

    def explain_global(self) -> xr.Dataset:
        """All terms over grids of values, with bands, importances and the density of the training data.

        Returns
        -------
        xr.Dataset
            `value`, `shape`, `lower`, `upper` (95 % band of the bootstrap), `density`, `level` (feature, grid); `importance`
            (feature), the standard deviation of the term over the training data, with `_lower` and `_upper`; `missing`
            (feature), what a missing value adds; `interaction` (pair, grid, grid_b) with `value_first`, `value_second`
            and bands; `pair_importance` (pair); `interaction_importance` (feature, feature_b); `intercept`. For several
            classes scores have a leading dim `target`.
        """
        check_is_fitted(self)
        return global_terms(self._fitted)

    def explain_local(self, X: Any) -> xr.Dataset:
        """What each feature and each pair adds to the score of each row.

        Returns
        -------
        xr.Dataset
            `attribution` (sample, feature), pairs shared by feature_attribution, and its `standard_error`; `main` (sample, feature);
            `pair_value` (sample, pair); `prediction`, the score; `reference`, the intercept; `status`. For several classes
            with a trailing dim `target`. ``attribution.sum("feature") + reference`` is the prediction.
        """
        codes = self._read(X)
        return contributions(self._fitted, codes, _row_labels(X))

    def explain_near(self, X: Any, radius: float = 1.0) -> xr.Dataset:
        """Contributions of models of the neighbourhood of each row: the same functions, their weights solved for again.

        Parameters
        ----------
        X
            Rows to explain, each with a model of its own.
        radius
            Size of the neighbourhood in standard deviations of each feature: a row at distance d counts
            ``exp(-d^2 / (2 radius^2))``. Another category is one away, and so is a cell that is missing in one of the two rows.

        Returns
        -------
        xr.Dataset
            As `explain_local`, with the neighbourhood's mean score as `reference`, and by sample `fidelity`, the share of the
            loss of the neighbourhood's best constant that the local model takes off (weighted R2 for squared error), and
            `rows`, the effective number of rows it rests on.
        """
        if not radius > 0:
            raise ValueError(f"radius is a positive number of standard deviations, got {radius!r}")
        codes = self._read(X)
        if not len(self._fitted.x):
            raise ValueError("explain_near needs the training rows, which forget_rows() has dropped; fit again")
        with threadpool_limits(1, "blas"):
            return near.explain(self._fitted, codes, radius, self._neighbours(), _row_labels(X))

    def _neighbours(self) -> near.NeighbourSource:
        """What the models of neighbourhoods are fitted to: here the training rows."""
        return near.TrainingNeighbours(self._fitted.x, self._y, self._fitted.w, self._family)

    def term_importances(self) -> xr.DataArray:
        """Standard deviation of each term over the training data.

        Returns
        -------
        xr.DataArray
            (term,), with a leading dim `target` for several classes; terms are the features and the pairs ``"a x b"``.
        """
        check_is_fitted(self)
        if (known := self._fitted.terms) is not None:
            return self._importances(np.concatenate([known["importance"], known["pair_importance"]], -1))
        mains, pairs = self._fitted.sizes()
        return self._importances(self._fitted.outputs_first(np.concatenate([mains, pairs])[..., 0]))

    def _importances(self, sizes: np.ndarray) -> xr.DataArray:
        terms = [*self._fitted.feature, *self._fitted.pair_coords()["pair"].tolist()]
        coords = {"term": terms} | ({} if self._fitted.targets is None else {"target": self._fitted.targets})
        return xr.DataArray(sizes, dims=self._fitted.leading("term"), coords=coords, name="importance")


def _row_labels(x: Any) -> Any:
    """The labels of a table's rows, where it has them."""
    if isinstance(x, xr.DataArray):
        return x.indexes.get(x.dims[0])
    index = getattr(x, "index", None)
    return None if index is None or callable(index) else index
