"""A waterfall: how one prediction comes about, step by step from the reference."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any, NamedTuple, cast

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.special import expit, softmax

from ..edge.each_output import folded
from . import shade
from .features import explained_values, label_position, labels_of, one_target, score_units
from .standing import wrapped

_ENDS = ("reference", "prediction")
_ROUNDING = 1e-3  # a gap below this share of the largest step is rounding


class WaterfallStep(NamedTuple):
    """One bar of a waterfall: its label, length, standard error (NaN: none) and kind (feature, pair, rest, gap)."""

    name: str
    value: float
    error: float
    kind: str


@shade.literal_text
def waterfall(
    local: xr.Dataset,
    sample: Hashable | None = None,
    *,
    x: Any = None,
    target: Hashable | None = None,
    most: int = 10,
    title: str | None = None,
    figure: Figure | None = None,
    ax: Axes | None = None,
) -> Figure:
    """Draw how one prediction comes about, step by step from the reference: features with their values, then pairs.

    Parameters
    ----------
    local : Dataset
        What `explain_local(X)` of an additive model returned, or any result of `tsattr.explain` on a table that has a
        `reference`: `attribution` (sample, feature), `prediction` and `reference` (sample), perhaps with a dim ``target``.
        With `main` and `pair_value` features and pairs are steps of their own.
    sample : label or int, optional
        Which case: its label; a position only where the labels are no numbers. By default the first.
    x : DataFrame, DataArray or array, optional
        The rows that were explained, for the values beside the names.
    target : label or int, optional
        One class of several; by default the one with the largest prediction.
    most : int
        Steps drawn, the largest first; the rest is summed.

    Returns
    -------
    Figure
        Orange raises the score, blue lowers it, hatched steps are pairs. Grey: what the contributions of an incomplete method
        leave unexplained.

    Raises
    ------
    TypeError, ValueError
        If `local` has no table of attribution or no reference, `x` does not fit it, or the sample or target is unknown.

    Examples
    --------
    >>> import xarray as xr
    >>> cells = ("sample", "feature")
    >>> local = xr.Dataset(
    ...     {"attribution": (cells, [[1.0, -3.0]]), "prediction": ("sample", [-1.5]), "reference": ("sample", [0.5])},
    ...     {"feature": ["age", "dose"]},
    ... )
    >>> rows = [tick.get_text() for tick in waterfall(local, x=[[63, 1.5]]).axes[0].get_yticklabels()]
    >>> rows
    ['reference', 'dose = 1.5', 'age = 63', 'prediction']
    """
    case, case_values = one_case(local, sample, x)
    case = case.assign({f"{n}_probability": p for n in _ENDS if (p := probability(case, n)) is not None})
    case = one_target(case, target)
    if "target" in case.dims:
        case = case.isel(target=int(case["prediction"].values.argmax()))
    steps = _largest(_steps(case, case_values), most)
    start, end = float(case["reference"]), float(case["prediction"])
    gap = end - start - sum(step.value for step in steps)
    if abs(gap) > _ROUNDING * max([abs(end - start), *[abs(step.value) for step in steps]]):
        steps.append(WaterfallStep("not accounted for", gap, np.nan, "gap"))
    if ax is None:
        ax = (figure or shade.new_figure(8.0, 1.4 + 0.34 * (len(steps) + 2))).subplots()
    _stairs(ax, steps, *[_endpoint(case, name) for name in _ENDS])
    ax.set_xlabel(f"score [{score_units(local)}]: {_legend_text(steps)}", fontsize=8)
    if title is None:
        title = _target_title(case)
    if title:
        ax.set_title(title, loc="left", fontsize=11, weight="bold")
    return cast(Figure, ax.figure)


def _target_title(case: xr.Dataset) -> str | None:
    """Return the title: the class that is explained, or the target that the result records; None without either."""
    named = case["target"].item() if "target" in case.coords else case.attrs.get("target")
    if "predicted" in case and str(named) in ("Predicted()", "None"):
        named = case["predicted"].item()
    return None if named is None or str(named) in ("", "default", "Output()") else f"target: {named}"


def probability(ds: xr.Dataset, name: str) -> xr.DataArray | None:
    """Return the score `name` (prediction, reference) as a probability, where the result's link makes it one."""
    link = ds.attrs.get("link")
    if link == "logit":
        logistic: xr.DataArray = expit(ds[name])
        return logistic
    if link == "softmax" and "target" in ds[name].dims:
        along = [["target"]]
        shares: xr.DataArray = xr.apply_ufunc(
            softmax, ds[name], kwargs={"axis": -1}, input_core_dims=along, output_core_dims=along
        )
        return shares
    return None


def one_case(local: xr.Dataset, sample: Hashable | None, x: Any = None) -> tuple[xr.Dataset, list[Any] | None]:
    """Return the explanation of one sample of a table, and the sample's feature values where `x` is given."""
    if not isinstance(local, xr.Dataset):
        raise TypeError(f"local must be the xarray.Dataset of an explanation, got {type(local).__name__}")
    missing = [name for name in ("attribution", "prediction", "reference") if name not in local]
    if missing:
        raise ValueError(f"a waterfall needs {missing}, which this result has not; use tsattr.plot.bars")
    local = folded(local)
    dims = [str(d) for d in local["attribution"].dims if d != "target"]
    if len(dims) != 2:
        raise ValueError(
            f"a waterfall is of a table, samples and features, got {tuple(dims)}; use tsattr.plot.bars or trace"
        )
    first, feature = dims
    i = 0 if sample is None else label_position(labels_of(local, first), sample, "sample")
    case = local.isel({first: i})
    if feature != "feature":
        case = case.rename({feature: "feature"})
    return case, None if x is None else explained_values(x, local, first)[i].tolist()


def value_text(value: Any) -> str:
    """Return a value of a table as text: four significant digits, or "missing".

    Examples
    --------
    >>> value_text(63.0), value_text(-0.123456), value_text(None), value_text("f")
    ('63', '−0.1235', 'missing', 'f')
    """
    if value is None or value is pd.NA or value is pd.NaT or value != value:
        return "missing"
    return f"{value:.4g}".replace("-", "−", 1) if isinstance(value, float | np.floating) else str(value)


def signed_text(value: float) -> str:
    """Return a contribution with its sign.

    Examples
    --------
    >>> signed_text(0.5), signed_text(-1.23456), signed_text(-0.0)
    ('+0.5', '−1.23', '+0')
    """
    return f"{value + 0.0:+.3g}".replace("-", "−", 1)


def _steps(case: xr.Dataset, case_values: list[Any] | None) -> list[WaterfallStep]:
    """Return a step for each feature, and one for each pair where the result has pairs of their own."""
    names = [wrapped(name) for name in labels_of(case, "feature")]
    if case_values is not None:
        names = [f"{name} = {wrapped(value_text(value))}" for name, value in zip(names, case_values)]
    pairs = "main" in case and case.sizes.get("pair", 0) > 0
    values = case["main" if pairs else "attribution"].values
    error = case["standard_error"].values if "standard_error" in case else np.full(values.shape, np.nan)
    if pairs:  # the error is that of the feature with its halves of pairs
        error = np.where(np.isclose(values, case["attribution"].values), error, np.nan)
    steps = [WaterfallStep(n, float(v), float(e), "feature") for n, v, e in zip(names, values, error) if np.isfinite(v)]
    if pairs:
        steps += [
            WaterfallStep(wrapped(n), float(v), np.nan, "pair")
            for n, v in zip(labels_of(case, "pair"), case["pair_value"].values)
        ]
    return steps


def _largest(steps: list[WaterfallStep], most: int) -> list[WaterfallStep]:
    """Return the largest steps in order of their size, the rest as one."""
    steps = sorted(steps, key=lambda step: -abs(step.value))
    if len(steps) <= most:
        return steps
    rest = steps[most - 1 :]
    return [*steps[: most - 1], WaterfallStep(f"{len(rest)} smaller terms", sum(s.value for s in rest), np.nan, "rest")]


def _endpoint(case: xr.Dataset, name: str) -> tuple[float, str]:
    """Return the score `name` (reference or prediction) and its text, with the probability where there is one."""
    level = float(case[name])
    text = f"{level:.4g}".replace("-", "−")
    share = case.get(f"{name}_probability")
    return level, text if share is None else f"{text}  (probability {100 * float(share):.3g} %)"


def _legend_text(steps: Sequence[WaterfallStep]) -> str:
    """Return the legend of the colours, hatching and whiskers that are drawn."""
    parts = ["orange raises it, blue lowers it"]
    parts += ["hatched: a pair beyond its features"] if any(step.kind == "pair" for step in steps) else []
    parts += ["whisker: standard error"] if any(np.isfinite(step.error) for step in steps) else []
    return "; ".join(parts)


def _stairs(ax: Axes, steps: Sequence[WaterfallStep], first: tuple[float, str], last: tuple[float, str]) -> None:
    """Draw the steps from the reference (top) to the prediction (bottom); both are scores with their texts."""
    n = len(steps)
    (start, _), (end, _) = first, last
    after = start + np.cumsum([step.value for step in steps])
    before = np.append(start, after[:-1])
    errors = np.nan_to_num([step.error for step in steps])
    levels = np.concatenate([[start, end], after - errors, after + errors])
    reach = np.ptp(levels) or abs(start) or 1.0
    for k, (step, left, error) in enumerate(zip(steps, before, errors), 1):
        colour = shade.NEUTRAL if step.kind == "gap" else shade.POSITIVE if step.value >= 0 else shade.NEGATIVE
        hatch = "////" if step.kind == "pair" else None
        ax.barh(k, step.value, left=left, height=0.66, color=colour, hatch=hatch, edgecolor="white", lw=0)
        if np.isfinite(step.error):
            ax.errorbar(left + step.value, k, xerr=step.error, fmt="none", ecolor=shade.INK, elinewidth=0.9, capsize=2)
        ax.plot([left + step.value] * 2, [k - 0.33, k + 1.33], color=shade.NEUTRAL, lw=0.7)
        right = max(left, left + step.value + error)
        ax.text(right + 0.012 * reach, k, signed_text(step.value), va="center", fontsize=8)
    ax.plot([start] * 2, [-0.33, 1.33], color=shade.NEUTRAL, lw=0.7)
    for k, (level, text) in ((0, first), (n + 1, last)):
        ax.plot(level, k, "|", color=shade.INK, ms=15, mew=2.4)
        right = level > (levels.min() + levels.max()) / 2  # write towards the middle
        ax.text(
            level + (-0.02 if right else 0.02) * reach,
            k,
            text,
            ha="right" if right else "left",
            va="center",
            fontsize=9,
            weight="bold",
        )
    ax.set_yticks(range(n + 2), ["reference", *[step.name for step in steps], "prediction"], fontsize=9)
    ax.set(ylim=(n + 1.6, -0.6), xlim=(levels.min() - 0.06 * reach, levels.max() + 0.16 * reach))
    ax.grid(axis="x", color="#ececec")
    ax.set_axisbelow(True)
    shade.despine(ax)
