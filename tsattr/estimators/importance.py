"""scikit-learn's permutation importance and partial dependence as labelled Datasets."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr
from sklearn import inspection
from sklearn.dummy import DummyRegressor

from ..core.arrays import column_labels
from ..core.baselines.references import missing


def permutation_importance(estimator: Any, X: Any, y: Any, **settings: Any) -> xr.Dataset:
    """How much a score falls when a column's values are shuffled: :func:`sklearn.inspection.permutation_importance`, labelled.

    ``importance_jk = s - s_jk`` with s the score on `X` and s_jk that with column j shuffled for the k-th time. Breiman,
    2001. Columns that stand in for each other hide each other's importance. Missing cells are shuffled with the others, for
    estimators that read them: what a column tells by not being measured is part of its importance.

    Parameters
    ----------
    estimator, X, y
        As there: a fitted estimator, a table of raw columns, and what is to be predicted.
    **settings
        As there: `scoring`, `n_repeats`, `n_jobs`, `random_state`, `sample_weight`, `max_samples`.

    Returns
    -------
    xr.Dataset
        ``importance`` (feature, repeat), in units of the score; ``importance_mean``, ``importance_std`` (feature). With
        several scorers each has a leading dim `scorer`.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import LinearRegression
    >>> x = np.eye(4)[:, :2]
    >>> model = LinearRegression().fit(x, x[:, 0])
    >>> permutation_importance(model, x, x[:, 0], random_state=0).importance_mean.sel(feature="x1").round(9).item()
    0.0
    """
    found = inspection.permutation_importance(estimator, X, y, **settings)
    if "importances" not in found:
        parts = [_importances(one, X) for one in found.values()]
        return xr.concat(parts, xr.DataArray(list(found), dims="scorer", name="scorer"))
    return _importances(found, X)


def _importances(found: Any, x: Any) -> xr.Dataset:
    data = {
        "importance": (("feature", "repeat"), found["importances"]),
        "importance_mean": ("feature", found["importances_mean"]),
        "importance_std": ("feature", found["importances_std"]),
    }
    return xr.Dataset(data, coords={"feature": _names(x)})


def partial_dependence(
    estimator: Any,
    X: Any,
    features: Sequence[Any] | None = None,
    **settings: Any,
) -> xr.Dataset:
    """The mean prediction when columns are set to a value in all rows: :func:`sklearn.inspection.partial_dependence`, labelled.

    ``average_j(v) = mean_i f(x_i with x_ij = v)``. Friedman, 2001. Where columns are correlated it asks the model about
    rows that do not occur. Columns of text, categories and booleans are set to each of their levels, in their order where
    they have one. A missing cell is a state of its own, beside the values: grids are of those that were measured.

    Parameters
    ----------
    estimator, X
        As there: a fitted estimator and a table of raw columns.
    features
        Names or positions of columns, and pairs of them, ``("age", "ward")``; by default all columns.
    **settings
        As there: `kind`, `grid_resolution`, `percentiles`, `method`, `response_method`, `categorical_features`, ... The method
        is "brute" where a column asked about holds text or missing cells, which trees cannot be walked by.

    Returns
    -------
    xr.Dataset
        ``average`` (feature, grid), in units of the prediction; ``value`` (feature, grid), the values the column was set to: a
        number, or the number of the `level`; ``level`` (feature, grid), "" for a number; ``average_missing`` (feature), the
        mean prediction with the column missing in all rows, NaN where no row misses it. NaN past the end of a shorter
        grid. With ``kind="both"`` or "individual" also ``individual`` (feature, sample, grid). Of pairs ``average_pair``
        (pair, grid, grid_b), with ``value_first``, ``level_first`` (pair, grid), ``value_second``, ``level_second``
        (pair, grid_b) and the names `first` and `second`. Of several classes or outputs each has a trailing dim `target`.

    Raises
    ------
    KeyError, IndexError, ValueError
        A column that is not there; a pair of one column.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import LinearRegression
    >>> x = np.array([[0.0, 1.0], [1.0, 0.0], [2.0, 1.0]])
    >>> ds = partial_dependence(LinearRegression().fit(x, 3 * x[:, 0]), x, features=[0], grid_resolution=5)
    >>> ds.value.values.tolist(), ds.average.values.round(9).tolist()
    ([[0.0, 1.0, 2.0]], [[0.0, 3.0, 6.0]])

    That a column was not measured is what this one goes by:

    >>> from sklearn.ensemble import HistGradientBoostingRegressor
    >>> x = np.array([[np.nan], [1.0], [2.0]] * 20)
    >>> trees = HistGradientBoostingRegressor(min_samples_leaf=1, learning_rate=1.0).fit(x, 3.0 * np.isnan(x[:, 0]))
    >>> ds = partial_dependence(trees, x)
    >>> ds.average.values.round(6).tolist(), ds.average_missing.values.round(6).tolist()
    ([[0.0, 0.0]], [3.0])
    """
    names = _names(X)
    requested = list(range(len(names))) if features is None else list(features)
    pairs = [f for f in requested if isinstance(f, tuple) and f not in names.tolist()]
    single = [_position(f, names) for f in requested if f not in pairs]
    positions = [tuple(_position(f, names) for f in pair) for pair in pairs]
    levelled = _levelled(X, names)
    settings = {"categorical_features": levelled or None} | settings
    X = _floats(X)
    gaps = [j for j in range(len(names)) if missing(_column(X, j)).any()]
    asked = {*single, *(j for pair in positions for j in pair)}
    if any(j in gaps or _column(X, j).dtype.kind not in "iufb" for j in asked):
        settings = {"method": "brute"} | settings
    custom: Any = settings.get("custom_values") or {}
    given = {_position(k, names): v for k, v in custom.items()}
    grids = {j: _known_levels(X, j) if j in levelled else _known_grid(X, j, settings) for j in gaps}
    dependence = functools.partial(
        inspection.partial_dependence, estimator, X, **settings | {"custom_values": grids | given}
    )
    parts = []
    if single:
        absent = {j: np.array([None if j in levelled else np.nan]) for j in gaps}
        lost = {
            j: dependence([j], kind="average", custom_values={j: absent[j]})["average"] for j in single if j in gaps
        }
        curves = [_curve(dependence([j]), _order(X, j), lost.get(j, np.nan)) for j in single]
        ds = xr.concat(curves, xr.DataArray(names[single], dims="feature", name="feature"), join="outer")
        parts.append(ds.assign(level=ds.level.where(ds.level.notnull(), "").astype(str)))
    if pairs:
        if bad := [pair for pair, at in zip(pairs, positions) if len(set(at)) != 2 or len(at) != 2]:
            raise ValueError(f"a pair is of two different columns, got {bad[0]}")
        surfaces = [_surface(dependence(list(at), kind="average"), [_order(X, j) for j in at]) for at in positions]
        both = [names[[at[side] for at in positions]] for side in (0, 1)]
        label = xr.DataArray([f"{a} x {b}" for a, b in zip(*both)], dims="pair", name="pair")
        ds = xr.concat(surfaces, label, join="outer").assign_coords(first=("pair", both[0]), second=("pair", both[1]))
        sides = [f"level_{side}" for side in ("first", "second")]
        parts.append(ds.assign({n: ds[n].where(ds[n].notnull(), "").astype(str) for n in sides}))
    whole = xr.merge(parts, join="outer", compat="no_conflicts").drop_vars(["grid", "grid_b"], errors="ignore")
    classes = getattr(estimator, "classes_", None)
    if "target" not in whole.dims or classes is None:
        return whole
    return whole.assign_coords(target=classes)


def _levelled(x: Any, names: np.ndarray) -> list[Any]:
    """Positions of the columns that hold levels: text, categories, booleans and all else that is no number."""
    return [j for j in range(len(names)) if _column(x, j).dtype.kind not in "iuf"]


def _floats(x: Any) -> Any:
    """A table with its whole numbers as floats, as a grid has values between them."""
    if not hasattr(x, "iloc"):
        return x
    return x.astype({name: "float64" for name, dtype in x.dtypes.items() if getattr(dtype, "kind", "O") in "iu"})


def _column(x: Any, j: int) -> np.ndarray:
    """The values (rows,) of one column."""
    column = x.iloc[:, j] if hasattr(x, "iloc") else np.asarray(x)[:, j]
    return np.asarray(column)


def _known_levels(x: Any, j: int) -> np.ndarray:
    """The sorted levels of a column with missing cells, which scikit-learn cannot sort itself."""
    column = _column(x, j)
    return np.array(sorted(set(column[~missing(column)].tolist()), key=str), dtype=object)


def _known_grid(x: Any, j: int, settings: dict[str, Any]) -> np.ndarray:
    """The grid that scikit-learn would take of the numbers of a column, were the rows where it is missing not there."""
    column = _column(x, j)
    known = column[~missing(column)].astype(np.float64)[:, None]
    asked = {k: v for k, v in settings.items() if k in ("grid_resolution", "percentiles")}
    if not len(known):
        return np.array([np.nan])  # which is no point of the grid
    grid: np.ndarray = inspection.partial_dependence(DummyRegressor().fit(known, known[:, 0]), known, [0], **asked)[
        "grid_values"
    ][0]
    return grid


def _order(x: Any, j: int) -> list[Any] | None:
    """The levels, in their order, of an ordered category of a pandas frame; None for any other column."""
    dtype: Any = x.dtypes.iloc[j] if hasattr(x, "iloc") and hasattr(x, "dtypes") else None
    return list(dtype.categories) if getattr(dtype, "ordered", False) else None


def _axis(grid: Any, order: list[Any] | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Positions of a grid's entries in order, their values, and the names of their levels (each (grid,))."""
    grid = np.asarray(grid)
    at = np.arange(len(grid))
    if grid.dtype.kind in "iuf":
        at = np.flatnonzero(~np.isnan(grid))  # NaN pads a shorter grid
        return at, grid[at].astype(float), np.array([""] * len(at), dtype=object)
    if order is not None:
        at = np.array(sorted(at, key=lambda i: order.index(grid[i])))
    return at, np.arange(len(grid), dtype=float), grid[at].astype(str).astype(object)


def _curve(found: Any, order: list[Any] | None, absent: Any) -> xr.Dataset:
    """One feature's curve (grid,), with positions as coordinate, by which curves of different lengths are concatenated.

    `absent` (targets, 1) is what is said where the feature is missing, NaN where that is not asked.
    """
    at, value, level = _axis(found["grid_values"][0], order)
    data: dict[str, Any] = {"value": ("grid", value), "level": ("grid", level)}
    for name, dims in (("average", ("target", "grid")), ("individual", ("target", "sample", "grid"))):
        if name in found:
            data[name] = (dims, found[name][..., at])
    targets = len(found["average" if "average" in found else "individual"])
    data["average_missing"] = ("target", np.broadcast_to(np.ravel(absent), targets))
    ds = xr.Dataset(data, coords={"grid": np.arange(len(at))}).transpose(..., "target")
    return ds.isel(target=0) if ds.sizes["target"] == 1 else ds


def _surface(found: Any, orders: list[list[Any] | None]) -> xr.Dataset:
    """The partial dependence (grid, grid_b) on two columns."""
    (at, *first), (at_b, *second) = (_axis(grid, order) for grid, order in zip(found["grid_values"], orders))
    average = found["average"][:, at][:, :, at_b]
    data: dict[str, Any] = {"average_pair": (("target", "grid", "grid_b"), average)}
    data |= {f"{name}_first": ("grid", v) for name, v in zip(("value", "level"), first)}
    data |= {f"{name}_second": ("grid_b", v) for name, v in zip(("value", "level"), second)}
    ds = xr.Dataset(data, coords={"grid": np.arange(len(at)), "grid_b": np.arange(len(at_b))}).transpose(..., "target")
    return ds.isel(target=0) if ds.sizes["target"] == 1 else ds


def _names(x: Any) -> np.ndarray:
    """Names of a table's columns, as scikit-learn has them: x0, x1, ... where there are none."""
    columns = getattr(x, "columns", None)
    return np.array([f"x{j}" for j in range(np.shape(x)[1])], object) if columns is None else column_labels(columns)


def _position(feature: Any, names: np.ndarray) -> int:
    """A column's position, from its name or position."""
    if isinstance(feature, int | np.integer) and feature not in names.tolist():
        if not 0 <= feature < len(names):
            raise IndexError(f"feature {feature} is not a position among the {len(names)} columns")
        return int(feature)
    if feature not in names.tolist():
        raise KeyError(f"feature {feature!r} is none of the columns {names.tolist()}")
    position: int = names.tolist().index(feature)
    return position
