"""Pictures of whether attribution adds up, and of the work it took."""

from __future__ import annotations

from typing import cast

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from ..edge.each_output import folded
from . import shade


@shade.literal_text
def completeness(ds: xr.Dataset, *, ax: Axes | None = None, figure: Figure | None = None) -> Figure:
    """Draw, for each sample, the sum of attribution against prediction - reference: equal where nothing is lost.

    Parameters
    ----------
    ds : Dataset
        A result of a complete method, with `prediction` and `reference`. Samples whose `status` is not "ok" are
        crossed and named, with it.

    Returns
    -------
    Figure

    Raises
    ------
    KeyError
        If the result has no `reference`, as its method does not promise completeness.
    """
    for name in ("prediction", "reference"):
        if name not in ds:
            raise KeyError(
                f"completeness needs {name!r} in the result, which has {list(ds.data_vars)}; the method gives none"
            )
    ds = folded(ds)
    change = ds.prediction - ds.reference
    total = total_attribution(ds)
    if ax is None:
        ax = (figure or shade.new_figure(4.9, 4.4)).subplots()
    across, up = np.broadcast_arrays(change.values, total.transpose(*change.dims).values)
    finite = np.concatenate([across[np.isfinite(across)], up[np.isfinite(up)], [0.0]])
    low, high = shade.padded_limits(finite)
    ax.plot([low, high], [low, high], color=shade.NEUTRAL, lw=1, label="complete")
    ax.vlines(across, across, up, color=shade.NEGATIVE, lw=1.2, label="gap")
    status = status_of(ds).broadcast_like(change).transpose(*change.dims).values
    good = status == "ok"
    ax.plot(across[good], up[good], "o", color=shade.INK, ms=5, alpha=0.8, label="sample")
    if not good.all():
        ax.plot(across[~good], up[~good], "x", color=shade.POSITIVE, ms=8, mew=2, label="status not ok")
    names = change.sample.values if "sample" in change.coords else np.arange(change.sizes["sample"])
    names = xr.DataArray(names, dims="sample").broadcast_like(change).transpose(*change.dims).values
    for x, y, name, state in list(zip(across[~good], up[~good], names[~good], status[~good]))[:8]:
        if np.isfinite(x) and np.isfinite(y):
            ax.annotate(f"{name}: {state}", (x, y), xytext=(7, -3), textcoords="offset points", fontsize=7)
    lost = int((~np.isfinite(across + up)).sum())
    ax.set(xlim=(low, high), ylim=(low, high))
    ax.set_aspect("equal")
    ax.set_xlabel(
        "prediction − reference" + (f"   ({lost} without a finite value not shown)" if lost else ""), fontsize=9
    )
    ax.set_ylabel("sum of attribution", fontsize=9)
    ax.legend(fontsize=8, frameon=False, loc="upper left")
    shade.despine(ax)
    return cast(Figure, ax.figure)


@shade.literal_text
def convergence(ds: xr.Dataset, *, figure: Figure | None = None) -> Figure:
    """Draw the steps each sample took and the completeness error it ended with.

    Parameters
    ----------
    ds : Dataset
        A result with `steps`, `completeness_error` or both. Samples whose `status` is not "ok" are orange.

    Returns
    -------
    Figure

    Raises
    ------
    KeyError
        If the result has neither.
    """
    shown = [name for name in ("steps", "completeness_error") if name in ds]
    if not shown:
        raise KeyError(
            f"convergence needs 'steps' or 'completeness_error' in the result, which has {list(ds.data_vars)}"
        )
    figure = figure or shade.new_figure(8.5, 0.6 + 2.0 * len(shown))
    axes = figure.subplots(len(shown), 1, sharex=True, squeeze=False)[:, 0]
    good = (status_of(ds) == "ok").values
    for ax, name in zip(axes, shown):
        values = ds[name].max([d for d in ds[name].dims if d != "sample"]).values.astype(float)
        position = np.arange(len(values))
        ax.scatter(position, values, color=list(np.where(good, shade.INK, shade.POSITIVE)), s=28)
        ax.grid(axis="y", color="#e4e4e4")
        ax.set_axisbelow(True)
        positive = values[np.isfinite(values) & (values > 0)]
        if positive.size and positive.max() > 20 * positive.min():
            ax.set_yscale("log")
            ax.yaxis.set_minor_formatter(NullFormatter())
            ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if positive.max() < 100 * positive.min() else (1,)))
            ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        ax.set_ylabel(name.replace("_", "\n"), fontsize=9)
        shade.despine(ax)
    if len(good) <= 40:
        names = ds.sample.values if "sample" in ds.coords else np.arange(len(good))
        turn = {"rotation": 90} if max(len(str(n)) for n in names) * len(names) > 80 else {}
        axes[-1].set_xticks(np.arange(len(good)), [str(n) for n in names], fontsize=8, **turn)
    axes[-1].set_xlabel("sample" + ("" if good.all() else "   (orange: status not ok)"), fontsize=9)
    return figure


def total_attribution(ds: xr.Dataset) -> xr.DataArray:
    """Return the sum of attribution over all cells of all inputs, in float64: dims sample (and target)."""
    inputs = [ds[name] for name in ds if str(name) == "attribution" or str(name).startswith("attribution_")]
    sums = [a.sum([d for d in a.dims if d not in ("sample", "target")], dtype="float64") for a in inputs]
    return sum(sums[1:], start=sums[0])


def status_of(ds: xr.Dataset) -> xr.DataArray:
    """Return the status of each sample, "ok" where the result has none."""
    if "status" in ds:
        return ds["status"]
    a = total_attribution(ds)
    return xr.full_like(a.isel(target=0, drop=True) if "target" in a.dims else a, "ok", dtype=object)
