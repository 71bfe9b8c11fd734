"""Pictures of what features contribute: over all data, in one case, and by their values."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any, NamedTuple, cast

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize, to_hex
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from scipy.special import expit, softmax

from ..labels.tables import as_pandas, days_of, kind_of
from . import shade
from .curves import COLOURS
from .features import (
    in_order,
    name_levels,
    name_missing,
    name_scale,
    names_of,
    one_target,
    position,
    score_units,
    small_multiples,
    wanted,
)
from .standing import label

_SIZE, _ALPHA = 3.5, 0.6
_SCALE = colormaps["viridis"]
_MOST_LEVELS = 12
_ENDS = ("reference", "prediction")
_SMALL = 1e-3  # a gap below this share of the largest step is rounding


class Step(NamedTuple):
    """One row of a waterfall."""

    name: str
    value: float
    error: float
    kind: str


@shade.literal
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
        Which case: its label; a place only where the labels are no numbers. By default the first.
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
    here, row = one_case(local, sample, x)
    here = here.assign({f"{n}_probability": p for n in _ENDS if (p := probability(here, n)) is not None})
    here = one_target(here, target)
    if "target" in here.dims:
        here = here.isel(target=int(here["prediction"].values.argmax()))
    steps = _folded(_steps(here, row), most)
    start, end = float(here["reference"]), float(here["prediction"])
    gap = end - start - sum(step.value for step in steps)
    if abs(gap) > _SMALL * max([abs(end - start), *[abs(step.value) for step in steps]]):
        steps.append(Step("not accounted for", gap, np.nan, "gap"))
    if ax is None:
        ax = (figure or shade.figure(8.0, 1.4 + 0.34 * (len(steps) + 2))).subplots()
    _stairs(ax, steps, *[_level(here, name) for name in _ENDS])
    ax.set_xlabel(f"score [{score_units(local)}]: {_key(steps)}", fontsize=8)
    if title is None:
        title = _explained(here)
    if title:
        ax.set_title(title, loc="left", fontsize=11, weight="bold")
    return cast(Figure, ax.figure)


def _explained(here: xr.Dataset) -> str | None:
    """Return which number of the output is explained: the class, or what the result says of its target."""
    named = here["target"].item() if "target" in here.coords else here.attrs.get("target")
    if "predicted" in here and str(named) in ("Predicted()", "None"):
        named = here["predicted"].item()
    return None if named is None or str(named) in ("", "default", "Output()") else f"target: {named}"


def probability(ds: xr.Dataset, name: str) -> xr.DataArray | None:
    """Return the score `name` (prediction, reference) as a probability, where the result's link makes it one."""
    link = ds.attrs.get("link")
    if link == "logit":
        return expit(ds[name])
    if link == "softmax" and "target" in ds[name].dims:
        along = [["target"]]
        return xr.apply_ufunc(softmax, ds[name], kwargs={"axis": -1}, input_core_dims=along, output_core_dims=along)
    return None


def one_case(local: xr.Dataset, sample: Hashable | None, x: Any = None) -> tuple[xr.Dataset, list[Any] | None]:
    """Return one sample of a table's explanation, and its values where `x` is given."""
    if not isinstance(local, xr.Dataset):
        raise TypeError(f"local must be the xarray.Dataset of an explanation, got {type(local).__name__}")
    missing = [name for name in ("attribution", "prediction", "reference") if name not in local]
    if missing:
        raise ValueError(f"a waterfall needs {missing}, which this result has not; use tsattr.plot.bars")
    first, feature = (str(d) for d in [d for d in local["attribution"].dims if d != "target"])
    i = 0 if sample is None else position(names_of(local, first), sample, "sample")
    here = local.isel({first: i})
    if feature != "feature":
        here = here.rename({feature: "feature"})
    return here, None if x is None else values_of(x, local, first)[i].tolist()


def values_of(x: Any, local: xr.Dataset, first: str = "sample") -> np.ndarray:
    """Return the values (sample, feature) of a table in the order of its explanation, having checked their number."""
    dims = [d for d in local["attribution"].dims if d != "target"]
    names, x = names_of(local, str(dims[1])), as_pandas(x)
    if isinstance(x, xr.DataArray):
        x = x.transpose(*dims)
    elif isinstance(x, pd.DataFrame) and set(names) <= set(x.columns):
        x = x[names].astype(object)
    values = np.asarray(x)
    shape = (local.sizes[first], len(names))
    if values.shape != shape:
        raise ValueError(f"x has shape {values.shape} and its attribution {shape}; give the rows that were explained")
    return values


def written(value: Any) -> str:
    """Return a value of a table as a reader wants it.

    Examples
    --------
    >>> written(63.0), written(-0.123456), written(None), written("f")
    ('63', '−0.1235', 'missing', 'f')
    """
    if value is None or value is pd.NA or value is pd.NaT or value != value:
        return "missing"
    return f"{value:.4g}".replace("-", "−", 1) if isinstance(value, float | np.floating) else str(value)


@shade.literal
def dependence(
    ds: xr.Dataset,
    x: Any,
    feature: Hashable | Sequence[Hashable] | None = None,
    *,
    target: Hashable | None = None,
    colour: Hashable | None = None,
    most: int = 9,
    title: str | None = None,
    figure: Figure | None = None,
) -> Figure:
    """Draw the attribution of each case against its value: what any explanation of a table has for a shape.

    Parameters
    ----------
    ds : Dataset
        A result on a table: `attribution` (sample, feature), perhaps with a dim ``target``.
    x : DataFrame, DataArray or array
        The rows that were explained.
    feature : str, int or sequence of them, optional
        Names, else positions; by default those with the largest mean absolute attribution.
    target : label or int, optional
        One class of several; by default the first.
    colour : str or int, optional
        Another column, whose values colour the cases: low to high, or a colour a level. What depends on it jointly shows.
    most : int
        Panels drawn where no features are named.

    Returns
    -------
    Figure
        A dot is a case; dots that lie apart at one value differ in other features. Missing values stand at the right.

    Raises
    ------
    ValueError
        If `x` does not fit the result, or a feature or target is not in it; if each case is explained for a class of its
        own, the predicted one, as attributions of unlike targets have no scale in common.

    Examples
    --------
    >>> import xarray as xr
    >>> a = xr.DataArray([[1.0, -3.0], [2.0, 1.0]], dims=("sample", "feature"), coords={"feature": ["age", "sex"]})
    >>> figure = dependence(xr.Dataset({"attribution": a}), [[63, "f"], [70, "m"]])
    >>> [axes.get_xlabel() for axes in figure.axes]
    ['sex', 'age']
    """
    ds = one_target(ds, target)
    ds = ds.isel(target=0) if "target" in ds["attribution"].dims else ds
    _check_one_target(ds)
    first, dim = (str(d) for d in ds["attribution"].dims)
    values, names = values_of(x, ds, first), names_of(ds, dim)
    size = abs(ds["attribution"]).mean(first).fillna(0).values
    chosen = wanted(names, feature, np.argsort(-size, kind="stable")[:most].tolist())
    axes = small_multiples(figure, len(chosen))
    by = None if colour is None else position(names, colour, "feature")
    tint = None if by is None else _Tint.of(_series(x, values, names, by))
    for ax, i in zip(axes, chosen):
        dots = np.full(len(values), shade.INK, object) if tint is None else tint.colours
        _cases(ax, column := _series(x, values, names, i), ds["attribution"].isel({dim: i}).values, dots)
        ax.set_xlabel(label(names[i]) + " [days]" * (kind_of(column.dtype) == "duration"), fontsize=9)
    name_scale(axes, f"attribution [{score_units(ds)}]", title)
    drawn = cast(Figure, axes[0].figure)
    if tint is not None and by is not None:
        tint.explain(drawn, axes, label(names[by]))
    return drawn


def _check_one_target(ds: xr.Dataset) -> None:
    """Raise ValueError where the target is each sample's own predicted class, and these are several."""
    if str(ds.attrs.get("target")) in ("Predicted()", "Margin(a=None, b=None)") and "predicted" in ds:
        classes = np.unique(ds["predicted"].values).tolist()
        if len(classes) > 1:
            raise ValueError(
                f"each case is explained for its own predicted class, one of {classes}: dots of unlike targets have no scale in "
                "common; explain a fixed one: target=class"
            )


def _series(x: Any, values: np.ndarray, names: list[Any], i: int) -> pd.Series:
    """Return one column: numbers and times as `x` holds them, an ordered category with its order where `x` says so."""
    column, x = pd.Series(values[:, i]).infer_objects(), as_pandas(x)
    own = x.dtypes.get(names[i]) if isinstance(x, pd.DataFrame) and names[i] in x.columns else None
    if own is None or (kind_of(own) == "level" and not (isinstance(own, pd.CategoricalDtype) and own.ordered)):
        return column
    return x[names[i]].reset_index(drop=True)


class _Tint(NamedTuple):
    """Colours of cases by the values of a column, and what they mean."""

    colours: np.ndarray
    levels: dict[str, Any]
    low: float
    high: float

    @classmethod
    def of(cls, values: pd.Series) -> _Tint:
        """Return a colour for each case; grey where the value is missing."""
        known = values.notna().to_numpy()
        colours = np.full(len(values), shade.NEUTRAL, object)
        if _is_counted(values):
            numbers = values.astype(float).to_numpy()
            low, high = np.quantile(numbers[known], [0.02, 0.98]) if known.any() else (0.0, 1.0)
            share = np.clip((numbers[known] - low) / ((high - low) or 1), 0, 1)
            colours[known] = [to_hex(c) for c in _SCALE(share)]
            return cls(colours, {}, float(low), float(high))
        levels = _ordered_levels(values)
        shown = {level: COLOURS[k] for k, level in enumerate(levels[: len(COLOURS)])}
        colours[known] = [shown.get(str(v), shade.NEUTRAL) for v in values[known]]
        return cls(colours, shown, 0.0, 0.0)

    def explain(self, figure: Figure, axes: Sequence[Axes], name: str) -> None:
        """Write beside the panels what the colours mean."""
        if not self.levels:
            scale = ScalarMappable(Normalize(self.low, self.high), _SCALE)
            figure.colorbar(scale, ax=list(axes), pad=0.02, fraction=0.05, aspect=35).set_label(name, fontsize=8)
            return
        dots = [Line2D([], [], color=c, ls="", marker="o", ms=4, label=label(v, 12)) for v, c in self.levels.items()]
        figure.legend(handles=dots, title=name, loc="outside right upper", fontsize=8, frameon=False)


def _is_counted(values: pd.Series) -> bool:
    return kind_of(values.dtype) in ("number", "decimal")


def _ordered_levels(values: pd.Series) -> list[str]:
    """Return the levels of a column in the order of the category, else in that of their names."""
    if isinstance(values.dtype, pd.CategoricalDtype):
        used = set(values.dropna())
        return [str(v) for v in values.dtype.categories if v in used]
    names = sorted(values.dropna().astype(str).unique())
    return [names[k] for k in in_order(names)]


def _cases(ax: Axes, values: pd.Series, attribution: np.ndarray, dots: np.ndarray) -> None:
    """Draw a dot for each case, those with a missing value apart."""
    gone, counted, kind = values.isna().to_numpy(), _is_counted(values), kind_of(values.dtype)
    if kind in ("date", "period", "duration"):
        values, counted = pd.Series(days_of(values)), True
    if kind in ("date", "period"):  # as Matplotlib counts
        ax.xaxis_date()
    draw = _by_number if counted else _by_level
    border, end = draw(ax, values[~gone], attribution[~gone], dots[~gone])
    if gone.any():
        own = np.where(dots[gone] == shade.INK, shade.POSITIVE, dots[gone])
        _dots(ax, np.full(gone.sum(), end), attribution[gone], own)
        name_missing(ax, border, f"missing, {100 * gone.mean():.2g} %")
    ax.axhline(0, color=shade.NEUTRAL, lw=0.8, zorder=1)
    shade.plain(ax)


def _dots(ax: Axes, at: np.ndarray, attribution: np.ndarray, colours: np.ndarray) -> None:
    """Draw a dot for each case: as one line of dots where they share a colour."""
    if len(set(colours.tolist())) == 1:
        ax.plot(at, attribution, color=colours[0], marker="o", ms=_SIZE, ls="", mew=0, alpha=_ALPHA)
    else:
        ax.scatter(at, attribution, c=colours.tolist(), s=_SIZE**2, linewidths=0, alpha=_ALPHA)


def _by_number(ax: Axes, values: pd.Series, attribution: np.ndarray, dots: np.ndarray) -> tuple[float, float]:
    """Draw cases along an axis of numbers; return where it ends, and where a missing value goes."""
    at = values.astype(float).values
    _dots(ax, at, attribution, dots)
    last, reach = (float(at.max()), float(np.ptp(at)) or 1.0) if len(at) else (0.0, 1.0)
    return last + 0.08 * reach, last + 0.13 * reach


def _by_level(ax: Axes, values: pd.Series, attribution: np.ndarray, dots: np.ndarray) -> tuple[float, float]:
    """Draw cases level by level, with a bar at their mean; rare levels share a place at the end."""
    names = values.astype(str)
    common = set(names.value_counts().index[:_MOST_LEVELS])
    levels = [level for level in _ordered_levels(values) if level in common]
    names = names.where(names.isin(common), "other levels")
    levels += ["other levels"] if (names == "other levels").any() else []
    for code, level in enumerate(levels):
        here = (names == level).to_numpy()
        own = attribution[here]
        _dots(ax, code + np.linspace(-0.25, 0.25, len(own)), own, dots[here])
        ax.hlines(own.mean(), code - 0.32, code + 0.32, color=shade.POSITIVE, lw=1.6)
    name_levels(ax.xaxis, np.arange(len(levels)), [label(v, 12) for v in levels])
    return len(levels) - 0.5, float(len(levels))


def signed(value: float) -> str:
    """Return a contribution with its sign.

    Examples
    --------
    >>> signed(0.5), signed(-1.23456), signed(-0.0)
    ('+0.5', '−1.23', '+0')
    """
    return f"{value + 0.0:+.3g}".replace("-", "−", 1)


def _steps(here: xr.Dataset, row: list[Any] | None) -> list[Step]:
    """Return a step for each feature, and one for each pair where the result tells them apart."""
    names = [label(name) for name in names_of(here, "feature")]
    if row is not None:
        names = [f"{name} = {label(written(value))}" for name, value in zip(names, row)]
    pairs = "main" in here and here.sizes.get("pair", 0) > 0
    values = here["main" if pairs else "attribution"].values
    error = here["standard_error"].values if "standard_error" in here else np.full(values.shape, np.nan)
    if pairs:  # the error is that of the feature with its halves of pairs
        error = np.where(np.isclose(values, here["attribution"].values), error, np.nan)
    steps = [Step(n, float(v), float(e), "feature") for n, v, e in zip(names, values, error) if np.isfinite(v)]
    if pairs:
        steps += [
            Step(label(n), float(v), np.nan, "pair") for n, v in zip(names_of(here, "pair"), here["pair_value"].values)
        ]
    return steps


def _folded(steps: list[Step], most: int) -> list[Step]:
    """Return the largest steps in order of their size, the rest as one."""
    steps = sorted(steps, key=lambda step: -abs(step.value))
    if len(steps) <= most:
        return steps
    rest = steps[most - 1 :]
    return [*steps[: most - 1], Step(f"{len(rest)} smaller terms", sum(s.value for s in rest), np.nan, "rest")]


def _level(here: xr.Dataset, name: str) -> tuple[float, str]:
    """Return the score at an end of the stairs, and how to write it."""
    level = float(here[name])
    text = f"{level:.4g}".replace("-", "−")
    share = here.get(f"{name}_probability")
    return level, text if share is None else f"{text}  (probability {100 * float(share):.3g} %)"


def _key(steps: Sequence[Step]) -> str:
    """Say what colours, hatching and whiskers mean, of what is drawn."""
    parts = ["orange raises it, blue lowers it"]
    parts += ["hatched: a pair beyond its features"] if any(step.kind == "pair" for step in steps) else []
    parts += ["whisker: standard error"] if any(np.isfinite(step.error) for step in steps) else []
    return "; ".join(parts)


def _stairs(ax: Axes, steps: Sequence[Step], first: tuple[float, str], last: tuple[float, str]) -> None:
    """Draw the steps from the reference on top to the prediction at the bottom."""
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
        ax.text(right + 0.012 * reach, k, signed(step.value), va="center", fontsize=8)
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
    shade.plain(ax)
