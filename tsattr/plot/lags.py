"""Pictures of importance by time and lag: which measurement moved which later prediction."""

from __future__ import annotations

from typing import cast

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from . import shade

_OUTPUT = 1.3  # heights of the rows of a picture
_SIGNAL, _MAP = 0.8, 1.2
_SIZE = "orange: its loss moves the prediction, blue: brings it back"
_LEAST_LIMIT = 0.5  # of the largest value: the colours saturate no lower


@shade.literal_text
def lags(
    attribution: xr.DataArray,
    signal: xr.DataArray | None = None,
    *,
    output: xr.DataArray | None = None,
    dim: str = "time",
    most: int = 5,
    limit: float | None = None,
    title: str | None = None,
    figure: Figure | None = None,
) -> Figure:
    """Draw one sample's importance by lag: across, when a value was measured; upward, how much later it moved a prediction.

    A column shows how long one measurement goes on to matter; a diagonal from bottom right to top left is one prediction
    and all that moved it. Cells without a prediction (beyond the end of the series or the window) stay bare.

    Parameters
    ----------
    attribution : DataArray
        Of `WinIT` with ``aggregate=None``, one sample: dims `dim`, ``lag`` and perhaps one more (feature, lead). Or its
        ``signed_shift``, which says which way each observation moved the predictions.
    signal : DataArray, optional
        The input, same dims without ``lag``; each series is drawn above its map, with a dot for each value, NaN a gap.
    output : DataArray, optional
        What the model says over time (dim `dim`), drawn on top: the result's ``output_over_time``.
    most : int
        Series shown, those with the largest sums of abs(attribution) first.
    limit : float, optional
        Value at which the colours saturate, one for all maps; by default the 99th percentile of abs(attribution), or half of
        its maximum where that is larger.

    Returns
    -------
    Figure

    Raises
    ------
    ValueError
        If there is no dim ``lag``, there are several samples or targets, or the arrays are labelled differently.

    Examples
    --------
    >>> import torch, tsattr as ta
    >>> f = lambda x: x.cumsum(1)
    >>> ds = ta.explain(f, torch.ones(1, 6), ta.WinIT(3), dims=("sample", "time"), outputs=("time",))
    >>> [axes.get_ylabel() for axes in lags(ds.attribution).axes][:1]
    ['lag [cells]']
    """
    if "lag" not in attribution.dims:
        raise ValueError(
            f"the attribution has dims {attribution.dims}, without 'lag'; explain by WinIT with aggregate=None, or draw it "
            "with tsattr.plot.trace"
        )
    rows_dim = [d for d in attribution.dims if d not in (dim, "lag", "sample", "target")][:1]
    attribution = shade.squeezed(attribution, (*rows_dim, "lag", dim), "attribution")
    if not rows_dim:
        attribution = attribution.expand_dims(series=[""])
        rows_dim, signal = ["series"], None if signal is None else signal.expand_dims(series=attribution.series)
    (series,) = rows_dim
    if signal is not None:
        signal = shade.aligned(
            attribution.isel(lag=0, drop=True), shade.squeezed(signal, (series, dim), "signal"), "signal"
        )
    strength = abs(attribution).sum(("lag", dim)).values
    shown = np.argsort(-strength, kind="stable")[:most]
    heights = [_OUTPUT] * (output is not None) + ([_SIGNAL, _MAP] if signal is not None else [_MAP]) * len(shown)
    figure = figure or shade.new_figure(10, 1.3 + 0.95 * sum(heights))
    axes = list(figure.subplots(len(heights), 1, sharex=True, squeeze=False, height_ratios=heights)[:, 0])
    rows = iter(axes)
    edges = shade.cell_edges(shade.axis_values(attribution, dim))
    if output is not None:
        ax = next(rows)
        y = shade.squeezed(output, (dim,), "output")
        shade.draw_series(ax, shade.axis_values(y, dim), y.values.astype(float), lw=1.4)
        name = y.attrs.get("what") or y.name or "output"
        label = shade.series_label(str(name), str(y.attrs.get("units", "")))
        ax.set_ylabel(label, rotation=0, ha="right", va="center", fontsize=9)
        shade.despine(ax)
    if (
        limit is None and attribution.notnull().any()
    ):  # few cells matter most: not so many colours that noise looks like them
        limit = max(shade.colour_limit(attribution, None), _LEAST_LIMIT * float(abs(attribution).max()))
    scale = shade.colour_limit(attribution, limit)
    up, label = _lag_axis(attribution)
    for k in shown:
        name = str(attribution[series].values[k]) if series in attribution.coords else str(k)
        if signal is not None:
            ax = next(rows)
            _series(ax, signal.isel({series: k}), dim, name)
        ax = next(rows)
        values = np.ma.masked_invalid(attribution.isel({series: k}).values.astype(float))
        mesh = ax.pcolormesh(edges, up, values, cmap=shade.SIGNED, vmin=-scale, vmax=scale, linewidth=0)
        ax.set_ylabel(label if signal is not None or not name else f"{name}\n{label}", fontsize=8)
        shade.despine(ax)
    axes[-1].set_xlim(edges[0], edges[-1])
    axes[-1].set_xlabel(f"{shade.axis_label(attribution, dim)} of the measurement")
    if title:
        axes[0].set_title(title, loc="left", fontsize=11, weight="bold")
    if len(shown) < len(strength):
        axes[0].set_title(f"{len(shown)} of {len(strength)} series", loc="right", fontsize=8)
    meaning = shade.DIRECTION if shade.has_direction(attribution) else _SIZE
    shade.colour_bar(figure, mesh, attribution, scale, meaning, ax=axes, pad=0.02, fraction=0.05, aspect=60, shrink=0.6)
    return cast(Figure, axes[0].figure)


def _lag_axis(attribution: xr.DataArray) -> tuple[np.ndarray, str]:
    """Return the edges of the lags and the axis label."""
    if "lag_time" in attribution.coords:
        lag, units = attribution.lag_time.values, attribution.lag_time.attrs.get("units", "")
        if lag.dtype.kind == "m":
            lag, units = lag / np.timedelta64(1, "h"), "h"
        return shade.cell_edges(lag.astype(float)), f"lag [{units}]" if units else "lag"
    return shade.cell_edges(np.arange(attribution.sizes["lag"], dtype=float)), "lag [cells]"


def _series(ax: Axes, values: xr.DataArray, dim: str, name: str) -> None:
    """Draw one series as a line with a dot for each value."""
    y = values.values.astype(float)
    ax.plot(shade.axis_values(values, dim), y, color=shade.INK, lw=0.8, marker=".", ms=3.5)
    ax.set_ylim(*shade.padded_limits(y))
    units = str(values.coords["units"].values) if "units" in values.coords else ""
    ax.set_ylabel(shade.series_label(name, units), rotation=0, ha="right", va="center", fontsize=9)
    shade.despine(ax)
