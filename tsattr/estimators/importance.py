"""scikit-learn's permutation importance and partial dependence as labelled Datasets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr
from sklearn import inspection

from ..core.axes import column_labels


def permutation_importance(estimator: Any, X: Any, y: Any, **settings: Any) -> xr.Dataset:
    """How much a score falls when a column's values are shuffled: :func:`sklearn.inspection.permutation_importance`, labelled.

    ``importance_jk = s - s_jk`` with s the score on `X` and s_jk that with column j shuffled for the k-th time. Breiman,
    2001. Columns that stand in for each other hide each other's importance.

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
    """The mean prediction when one column is set to a value in all rows: :func:`sklearn.inspection.partial_dependence`, labelled.

    ``average_j(v) = mean_i f(x_i with x_ij = v)``. Friedman, 2001. Where columns are correlated it asks the model about
    rows that do not occur.

    Parameters
    ----------
    estimator, X
        As there: a fitted estimator and a table of raw columns.
    features
        Names or positions of single columns; by default all.
    **settings
        As there: `kind`, `grid_resolution`, `percentiles`, `method`, `response_method`, `categorical_features`, ...

    Returns
    -------
    xr.Dataset
        ``average`` (feature, grid), in units of the prediction; ``value`` (feature, grid), the values the column was set to: a
        number, or the number of the `level`; ``level`` (feature, grid), "" for a number. NaN past the end of a shorter
        grid. With ``kind="both"`` or "individual" also ``individual`` (feature, sample, grid). Of several classes or
        outputs each has a trailing dim `target`.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import LinearRegression
    >>> x = np.array([[0.0, 1.0], [1.0, 0.0], [2.0, 1.0]])
    >>> ds = partial_dependence(LinearRegression().fit(x, 3 * x[:, 0]), x, features=[0], grid_resolution=5)
    >>> ds.value.values.tolist(), ds.average.values.round(9).tolist()
    ([[0.0, 1.0, 2.0]], [[0.0, 3.0, 6.0]])
    """
    names = _names(X)
    chosen = [_position(f, names) for f in (range(len(names)) if features is None else features)]
    curves = [_curve(inspection.partial_dependence(estimator, X, [j], **settings)) for j in chosen]
    ds = xr.concat(curves, xr.DataArray(names[chosen], dims="feature", name="feature"), join="outer")
    ds = ds.drop_vars("grid")
    ds["level"] = ds.level.where(ds.level.notnull(), "").astype(str)
    classes = getattr(estimator, "classes_", None)
    if "target" not in ds.dims:
        return ds
    return ds.assign_coords(target=classes) if classes is not None else ds


def _curve(found: Any) -> xr.Dataset:
    """One feature's curve; positions on the grid are a coordinate while curves of unlike lengths are put together."""
    grid = np.asarray(found["grid_values"][0])
    numeric = grid.dtype.kind in "biuf"
    data: dict[str, Any] = {
        "value": ("grid", grid.astype(float) if numeric else np.arange(len(grid), dtype=float)),
        "level": ("grid", np.array([""] * len(grid) if numeric else grid.astype(str), dtype=object)),
    }
    for name, dims in (("average", ("target", "grid")), ("individual", ("target", "sample", "grid"))):
        if name in found:
            data[name] = (dims, found[name])
    ds = xr.Dataset(data, coords={"grid": np.arange(len(grid))}).transpose(..., "target")
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
    return names.tolist().index(feature)
