"""Features of windows of signals, with the lead and window that each is made of."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from ..core.axes import Axes
from ..core.groups import Windows
from ..core.groups.masks import Boxes
from ..labels import parsing

LAYOUTS = {
    "aeon": ("sample", "channel", "time"),
    "sktime": ("sample", "channel", "time"),
    "tslearn": ("sample", "time", "channel"),
}
"""Dims of bare arrays, as the libraries of these names lay them out."""


def _slope(v: np.ndarray, t: np.ndarray) -> np.ndarray:
    """Least-squares slope (...) of values v (..., cells) on times t, over the cells that are not missing."""
    times = np.where(np.isnan(v), np.nan, t)
    centred = times - np.nanmean(times, -1, keepdims=True)
    spread = np.nansum(centred**2, -1)
    slope = np.nansum(centred * v, -1) / np.where(spread > 0, spread, 1)
    return np.where(np.isnan(v).all(-1), np.nan, slope)


FUNCTIONS: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "mean": lambda v, t: np.nanmean(v, -1),
    "std": lambda v, t: np.nanstd(v, -1),
    "min": lambda v, t: np.nanmin(v, -1),
    "max": lambda v, t: np.nanmax(v, -1),
    "median": lambda v, t: np.nanmedian(v, -1),
    "range": lambda v, t: np.nanmax(v, -1) - np.nanmin(v, -1),
    "rms": lambda v, t: np.sqrt(np.nanmean(v**2, -1)),
    "slope": _slope,
}
"""Statistics of a window's values v (..., cells) at times t; missing cells are left out, NaN where all are missing."""


def _without_times(f: Callable[[np.ndarray], np.ndarray]) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    return lambda v, t: f(v)


class WindowFeatures(TransformerMixin, BaseEstimator):
    """A table of features of the windows of signals: one column for each lead, window and function.

    Which column is made of what is known: ``ta.explain(ta.models.last_step(pipeline), signals, method)`` gives the signal's
    windows what the estimator behind makes of their features. To explain the same pipeline by changing the signals
    themselves, name the `layout` and give it to `explain` as it is.

    Parameters
    ----------
    size, step
        Length of the windows and distance of their starts, in cells or with a unit ("200ms"), as in
        :class:`tsattr.groups.Windows`.
    functions
        Names among mean, std (with n), min, max, median, range, rms, slope (least squares, per unit of the time coordinate);
        or functions of values (..., cells) that give (...).
    layout
        How bare 3-D arrays lie: "aeon" or "sktime" (case, channel, time), "tslearn" (case, time, channel). "sktime" also
        takes frames whose rows are (case, time). A DataArray needs none: its dims have names.

    Attributes
    ----------
    windows_
        Starts and stops of the windows, in cells.
    leads_
        Labels of the leads or channels.

    Raises
    ------
    ValueError
        A bare 3-D array without a `layout`: which axis is time is never guessed. Signals unlike those fitted.
    TypeError, KeyError
        What is no signal; a function that is not known.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.arange(6.0).reshape(1, 1, 6)
    >>> features = WindowFeatures(3, functions=("mean", "slope"), layout="aeon")
    >>> features.fit_transform(x).tolist(), features.get_feature_names_out().tolist()
    ([[1.0, 1.0, 4.0, 1.0]], ['0|0|mean', '0|0|slope', '0|3|mean', '0|3|slope'])

    The model reads the level of the first window. By the features of each window, and by changing the signal:

    >>> import tsattr as ta
    >>> from sklearn.linear_model import LinearRegression
    >>> from sklearn.pipeline import make_pipeline
    >>> train = np.random.default_rng(0).normal(size=(40, 1, 6))
    >>> pipe = make_pipeline(features, LinearRegression()).fit(train, train[:, 0, :3].mean(1))
    >>> method = ta.Occlusion(ta.groups.Windows(time=3, channel=1))
    >>> for model in (ta.models.last_step(pipe), pipe):
    ...     ds = ta.explain(model, x, method, dims=("sample", "channel", "time"))
    ...     (ds.group_value.values.round(9) + 0.0).tolist()
    [[1.0, 0.0]]
    [[1.0, 0.0]]
    """

    def __init__(
        self,
        size: int | str,
        *,
        step: int | str | None = None,
        functions: Sequence[str | Callable[[np.ndarray], np.ndarray]] = ("mean", "std", "min", "max", "slope"),
        layout: str | None = None,
    ) -> None:
        self.size = size
        self.step = step
        self.functions = functions
        self.layout = layout

    def fit(self, X: Any, y: Any = None) -> WindowFeatures:
        """Learn where the windows lie: nothing of the values.

        Parameters
        ----------
        X
            Signals (sample, lead, time): a DataArray in any order of dims, or what `layout` names.
        y
            Not used.
        """
        x = self._read(X)
        self._named()
        bound = self._windows(_axes(x))
        times = bound.along[1]
        self.windows_ = np.stack([times.start, times.stop], 1)
        self.leads_ = np.asarray(x[x.dims[1]].values)
        self.times_ = np.asarray(x["time"].values)
        return self

    def transform(self, X: Any) -> np.ndarray:
        """Features (samples, leads x windows x functions)."""
        check_is_fitted(self)
        x = self._read(X)
        if x.shape[2] != len(self.times_) or x[x.dims[1]].values.tolist() != self.leads_.tolist():
            raise ValueError(
                f"X has leads {x[x.dims[1]].values.tolist()} and {x.shape[2]} times, the features were fitted for "
                f"{self.leads_.tolist()} and {len(self.times_)}"
            )
        t = _axes(x).line("time")
        out = np.empty((*x.shape[:2], len(self.windows_), len(self._named())))
        with warnings.catch_warnings():  # windows without values are NaN
            warnings.filterwarnings("ignore", "(?i)mean of empty|all-nan|degrees of freedom", RuntimeWarning)
            for w, (start, stop) in enumerate(self.windows_):
                values = x.values[..., start:stop].astype(np.float64)
                for f, function in enumerate(self._named().values()):
                    out[:, :, w, f] = function(values, t[start:stop])
        return out.reshape(len(out), -1)

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Names ``lead|start|function``, the start as a time coordinate; `input_features` is not used."""
        check_is_fitted(self)
        starts = [_text(self.times_[start]) for start, _ in self.windows_]
        names = [f"{lead}|{start}|{f}" for lead in self.leads_ for start in starts for f in self._named()]
        return np.array(names, dtype=object)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array, tags.input_tags.two_d_array = True, False
        tags.input_tags.allow_nan = True
        return tags

    def parts(self, axes: Axes) -> tuple[Boxes, np.ndarray]:
        """The windows of an input with these axes, and for each feature the number of its window among them."""
        if "time" not in axes.dims or len(axes.dims) != 2 or not set(axes.dims) & set(axes.channels):
            raise ValueError(
                f"x has dims {list(axes.dims)}; name a lead (or channel) and a time: dims=('sample', 'channel', 'time')"
            )
        bound = self._windows(axes)
        order = np.arange(len(bound.names)).reshape(bound.shape)
        order = order if axes.dims[1] == "time" else order.T
        return bound, order.reshape(-1).repeat(len(self._named()))

    def _windows(self, axes: Axes) -> Boxes:
        (lead,) = axes.channels
        return Windows(time=self.size, step={"time": self.step} if self.step is not None else None, **{lead: 1}).bind(
            axes
        )

    def _named(self) -> dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]]:
        """The functions of values and times by name."""
        named: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {}
        for f in self.functions:
            name = f if isinstance(f, str) else getattr(f, "__name__", type(f).__name__)
            if isinstance(f, str) and f not in FUNCTIONS:
                raise KeyError(f"function {f!r} is none of {list(FUNCTIONS)}; give a function of values (..., cells)")
            if name in named:
                raise ValueError(
                    f"two functions are named {name!r}: columns are known by them; name them apart (def ...)"
                )
            named[name] = FUNCTIONS[f] if isinstance(f, str) else _without_times(f)
        return named

    def _read(self, X: Any) -> xr.DataArray:
        """Signals as (sample, lead, time)."""
        if self.layout is not None and self.layout not in LAYOUTS:
            raise ValueError(f"layout is one of {list(LAYOUTS)}, or None for a DataArray, got {self.layout!r}")
        if not isinstance(X, xr.DataArray):
            X = xr.DataArray(self._array(X), dims=LAYOUTS[self.layout or "aeon"])
        channels = [str(d) for d in X.dims if d in ("lead", "channel", "feature", "variable")]
        if X.ndim != 3 or "time" not in X.dims or len(channels) != 1:
            raise ValueError(f"signals have a sample dim, a lead (or channel) and time; X has dims {list(X.dims)}")
        x: xr.DataArray = X.transpose(..., channels[0], "time")
        return x.assign_coords({d: np.arange(x.sizes[d]) for d in x.dims[1:] if d not in x.coords})

    def _array(self, X: Any) -> np.ndarray:
        """A bare 3-D array whose layout was named. ValueError for any other."""
        if isinstance(X, pd.DataFrame):
            return _from_multiindex(X, self.layout)
        try:
            x = np.asarray(X)
        except ValueError:
            raise ValueError("signals of unequal length: pad them with NaN to one length") from None
        if x.ndim != 3:
            raise ValueError(
                f"signals are 3-D, got shape {x.shape}; of a single channel: X[:, None, :] with layout='aeon'"
            )
        if self.layout is None:
            raise ValueError(
                f"X is a bare 3-D array of shape {x.shape}: name how it lies, layout='aeon' (case, channel, time) or "
                "layout='tslearn' (case, time, channel), or give a DataArray"
            )
        return x


def _from_multiindex(frame: pd.DataFrame, layout: str | None) -> np.ndarray:
    """Signals (case, channel, time) from sktime's pd-multiindex frame: rows (case, time), columns channels."""
    if layout != "sktime" or frame.index.nlevels != 2:
        raise TypeError(
            "a DataFrame of signals has rows (case, time) and channels for columns, and layout='sktime'; got "
            f"{frame.index.nlevels} index level(s) and layout={layout!r}"
        )
    lengths = frame.groupby(level=0, sort=False).size()
    if lengths.nunique() != 1:
        raise ValueError(f"cases have {lengths.min()} to {lengths.max()} times; pad them with NaN to one length")
    cases, times = (np.asarray(frame.index.get_level_values(i)).reshape(len(lengths), -1) for i in (0, 1))
    if (cases != cases[:, :1]).any() or (times != times[:1]).any():
        raise ValueError("rows are not case by case at the same times; sort them: X.sort_index(), and pad with NaN")
    values: np.ndarray = frame.to_numpy(np.float64).reshape(*cases.shape, -1)
    return values.transpose(0, 2, 1)


def _axes(x: xr.DataArray) -> Axes:
    x = x.astype("float64", copy=False)
    return parsing.read(x, None, str(x.dims[0]), None).variables[0].axes


def _text(v: Any) -> str:
    return f"{v:.6g}" if isinstance(v, float | np.floating) else str(v)
