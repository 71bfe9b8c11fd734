"""What a report says about tables: shapes and pairs of an additive model in words, and cases step by step."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from .. import plot
from ..labels.results import completeness
from ..parts.summing import PART
from ..plot.features import (
    FeatureValues,
    by_importance,
    explained_values,
    labels_of,
    missing_share,
    ranked_terms,
    score_units,
)
from ..plot.waterfall import probability, signed_text, value_text
from . import markup
from .markup import number, percent
from .material import NOT_CELLS, Input, cell_dims, sample_name

MOST_SHAPES, MOST_PAIRS, MOST_ROWS, FEW_CASES = 12, 6, 50, 8
NOTHING = 0.01  # a term that moves the score by less than this share of the largest adds next to nothing
STEEP, NARROW = (
    0.2,
    0.06,
)  # a jump: more than this share of a curve's total variation within less than that share of its range


def strongest(terms: xr.Dataset) -> list[str]:
    """Return what moves the score most, and whether features act together."""
    ranked = over_targets(ranked_terms(terms))
    names, size = ranked["term"].values, ranked["importance"].values
    if not size[0] > 0:
        return ["No term moves the score: the model predicts the same for everyone."]
    share = f"{percent(size[0] / size.sum())} of the sum over all {len(size)} terms"
    several = "" if "target" not in terms.dims else ", mean over classes"
    lines = [
        f"{names[0]} moves the score most: typically by {number(size[0])} {score_units(terms)}{several} ({share})."
    ]
    if len(names) > 1:
        follow = [f"{name} ({number(s)})" for name, s in zip(names[1:4], size[1:4]) if s > NOTHING * size[0]]
        lines[0] += f" Then come {', '.join(follow)}." if follow else " No other term comes near."
    pairs = names[ranked["is_pair"].values]
    if pairs.size:
        lines.append(f"Features act together in {_count(pairs.size, 'pair')}, most of all {pairs[0]}.")
    else:
        lines.append("No two features act together: the model is a sum of single features.")
    return lines


def over_targets(table: xr.Dataset) -> xr.Dataset:
    """Return the mean over targets, where there are several."""
    return table.mean("target") if "target" in table.dims else table


def _count(n: int, what: str) -> str:
    return f"one {what}" if n == 1 else f"{n} {what}s"


def importance(terms: xr.Dataset) -> list[str]:
    """Return the picture and the numbers of what moves the score."""
    caption = (
        "How much each term moves the score over the training data: the standard deviation of its contribution, with its "
        "95 % interval. A pair counts only what it adds beyond its two features."
    )
    ranked = ranked_terms(terms)
    mean = over_targets(ranked)
    alt = f"Bar chart. {caption} The largest is {mean['term'].values[0]} with {number(float(mean['importance'][0]))}."
    several = [str(name) for name in labels_of(ranked, "target")] if "target" in ranked.dims else []
    shown = ranked if several else ranked.expand_dims("target", axis=-1)
    columns = [shown[name].transpose("term", "target").values for name in ("importance", "lower", "upper")]
    rows = [
        (str(name), *[f"{number(v)} [{number(low)}, {number(high)}]" for v, low, high in zip(*sizes)])
        for name, *sizes in zip(ranked["term"].values[:MOST_ROWS], *columns)
    ]
    head = ("term", *(several or ["size [95 % interval]"]))
    caption_of_table = f"Importance, {score_units(terms)}{_cut(ranked.sizes['term'])}"
    return [markup.picture(plot.importance(terms), alt, caption), markup.table(caption_of_table, head, rows)]


def _cut(n: int) -> str:
    return f": the {MOST_ROWS} largest of {n}" if n > MOST_ROWS else ""


def shapes(terms: xr.Dataset) -> list[str]:
    """Return the shapes as pictures and in sentences, the most important first."""
    order = by_importance(terms)
    caption = (
        "What each value adds to the score (above the line) or takes away (below it). The band is where the curve lies in "
        "95 % of resampled data; grey bars show where the training data lie: where there are none, nobody has checked."
    )
    left = len(order) - MOST_SHAPES
    caption += f" The {MOST_SHAPES} most important of {len(order)} features." if left > 0 else ""
    names = [str(terms["feature"].values[i]) for i in order[:MOST_SHAPES]]
    alt = f"Curves of contribution against value for {', '.join(names)}. {caption} The sentences below tell what they show."
    parts = [markup.picture(plot.shape(terms, most=MOST_SHAPES), alt, caption)]
    for k in range(terms.sizes.get("target", 1)):
        here = terms.isel(target=k) if "target" in terms.dims else terms
        if "target" in terms.dims:
            parts.append(markup.heading(f"Class {labels_of(terms, 'target')[k]}"))
        parts.append(markup.bullets(sentences(here, order[:MOST_SHAPES], _extent(terms).max())))
    return parts


def _extent(terms: xr.Dataset) -> np.ndarray:
    """Return from how low to how high the shape of each feature goes."""
    return (terms["shape"].max("grid") - terms["shape"].min("grid")).fillna(0).values


def sentences(terms: xr.Dataset, order: list[int], largest: float) -> list[str]:
    """Return a sentence for each feature that does something beside the largest, and one for all that do not."""
    extent = _extent(terms)
    acting = [i for i in order if extent[i] > NOTHING * largest]
    idle = [str(terms["feature"].values[i]) for i in order if i not in acting]
    rest = [f"Next to nothing, whatever the value: {', '.join(idle)}."] if idle else []
    return [shape_in_words(terms, i) for i in acting] + rest


def shape_in_words(terms: xr.Dataset, i: int) -> str:
    """Return a sentence on the shape of one feature of one target.

    Examples
    --------
    >>> grid = ("feature", "grid")
    >>> terms = xr.Dataset(
    ...     {"value": (grid, [[0.0, 1.0, 2.0]]), "shape": (grid, [[-1.0, 0.0, 1.0]]), "kind": ("feature", ["numeric"])},
    ...     {"feature": ["age"]},
    ... )
    >>> shape_in_words(terms, 0)
    'age: the score rises from −1 at 0 to +1 at 2.'
    """
    values, name = FeatureValues.of(terms, i), terms["feature"].values[i]
    y = terms["shape"].values[i][values.cells]
    text = _curve_in_words(values, y) if values.levels is None else _levels_in_words(values, y)
    if terms.attrs.get("link") == "logit":
        text += f"; from its lowest to its highest point the odds grow {_fold(float(np.ptp(y)))}"
    return f"{name}: {text}.{_missing_in_words(terms, i)}"


def _fold(extent: float) -> str:
    """Return how many times larger odds become as their logarithm grows by `extent`."""
    if extent > np.log(1000):
        return "more than a thousandfold"
    return f"{number(float(np.exp(extent)), 2 if extent < np.log(100) else 3)}-fold"


def _levels_in_words(values: FeatureValues, y: np.ndarray) -> str:
    levels = [str(name).replace("\n", " ") for name in values.levels or []]
    high, low = int(y.argmax()), int(y.argmin())
    return f"the score is highest for {levels[high]} ({signed_text(y[high])}) and lowest for {levels[low]} ({signed_text(y[low])})"


def _curve_in_words(values: FeatureValues, y: np.ndarray) -> str:
    """Return whether a curve rises, falls or turns, and where it jumps."""
    steps = np.diff(y)
    variation, net = float(np.abs(steps).sum()), float(y[-1] - y[0])
    at = [f"{signed_text(level)} at {value_text(float(x))}" for level, x in zip(y, values.positions)]
    if abs(net) > 0.9 * variation:
        text = f"the score {'rises' if net > 0 else 'falls'} from {at[0]} to {at[-1]}"
    else:
        text = f"the score is highest with {at[int(y.argmax())]} and lowest with {at[int(y.argmin())]}"
    k = int(np.abs(steps).argmax())
    narrow = np.diff(values.positions)[k] < NARROW * np.ptp(values.positions) if len(y) > 1 else False
    if narrow and abs(steps[k]) > STEEP * variation:
        between = f"{value_text(float(values.positions[k]))} and {value_text(float(values.positions[k + 1]))}"
        text += f", with a jump of {signed_text(steps[k])} between {between}"
    return text


def _missing_in_words(terms: xr.Dataset, i: int) -> str:
    value = float(terms["missing"].values[i]) if "missing" in terms else np.nan
    if not np.isfinite(value):
        return ""
    share = missing_share(terms, i)
    of_training = f" ({percent(share)} of the training data)" if share > 0 else ""
    return f" A missing value{of_training} adds {signed_text(value)}."


def pairs(terms: xr.Dataset) -> list[str]:
    """Return heat maps of the strongest pairs, each of the target where it is strongest."""
    if not terms.sizes.get("pair", 0):
        return [markup.paragraph("No pair of features was found to act together beyond the sum of the two.")]
    size = over_targets(terms[["pair_importance"]])["pair_importance"].values
    order = np.argsort(-size, kind="stable")
    parts = []
    for p in order[:MOST_PAIRS].tolist():
        here, target = terms, None
        if "target" in terms.dims:
            target = int(terms["pair_importance"].isel(pair=p).values.argmax())
            here = terms.isel(target=target)
        of = "" if target is None else f", class {labels_of(terms, 'target')[target]}"
        text = pair_in_words(here, p)
        parts.append(markup.heading(f"{terms['pair'].values[p]}{of}"))
        alt = f"Heat map of the pair {terms['pair'].values[p]}{of}. {text}"
        parts.append(markup.picture(plot.interaction(terms, p, target=target, title=""), alt, text))
    if len(order) > MOST_PAIRS:
        parts.append(markup.paragraph(f"Pairs in the model that are not drawn here: {len(order) - MOST_PAIRS}."))
    return parts


def pair_in_words(terms: xr.Dataset, p: int) -> str:
    """Return where the surface of a pair, of one target, is highest and lowest."""
    here = terms.isel(pair=p)
    surface = here["interaction"].transpose("grid", "grid_b").values
    names = labels_of(terms, "feature")
    both = [(names.index(here[w].item()), here[f"value_{w}"].values) for w in ("first", "second")]
    axes = [FeatureValues.of(terms, i, grid) for i, grid in both]
    surface = surface[np.ix_(axes[0].cells, axes[1].cells)]
    ends = [np.unravel_index(k, surface.shape) for k in (np.nanargmax(surface), np.nanargmin(surface))]
    places = [f"{signed_text(float(surface[at]))} where {_where(axes, at)}" for at in ends]
    return f"Both together add, beyond what each adds alone, at most {places[0]}, and at least {places[1]}."


def _where(axes: list[FeatureValues], at: Any) -> str:
    return " and ".join(
        f"{axis.name} is {axis.levels[k] if axis.levels else value_text(float(axis.positions[k]))}".replace("\n", " ")
        for axis, k in zip(axes, at)
    )


def cases(local: xr.Dataset, x: Any, positions: list[int]) -> list[str]:
    """Return the waterfall of each case at `positions`."""
    parts = []
    for i in positions:
        parts.append(markup.heading(f"Case {sample_name(local, i)}"))
        text = case_in_words(local, i)
        caption = (
            "From the reference, which is the model's intercept, each step adds what one feature or pair contributes."
        )
        figure = plot.waterfall(
            local.drop_vars("sample", errors="ignore"), i, x=x
        )  # i is a position, whatever the labels
        parts += [markup.paragraph(text), markup.picture(figure, f"Waterfall chart. {text} {caption}", caption)]
    left = local.sizes["sample"] - len(positions)
    if left > 0:
        parts.append(markup.paragraph(f"Cases in the result that are not drawn here: {left}."))
    return parts


def case_in_words(local: xr.Dataset, i: int) -> str:
    """Return the prediction of a case, where it started from, and what moved it most."""
    shares = {name: probability(local, name) for name in ("prediction", "reference")}
    here, of = local.isel(sample=i), ""
    where: dict[str, int] = {"sample": i}
    if "target" in here.dims:
        where["target"] = int(here["prediction"].values.argmax())
        of = f" of class {labels_of(local, 'target')[where['target']]}, the largest"
        here = here.isel(target=where["target"])
    at = {}
    for name, share in shares.items():
        extra = "" if share is None else f", a probability of {percent(float(share.isel(where)))}"
        at[name] = f"{number(float(here[name]))} {score_units(local)}{extra}"
    strongest = int(np.nanargmax(np.abs(here["attribution"].values)))
    value, feature = float(here["attribution"][strongest]), here["feature"].values[strongest]
    verb = "raises" if value > 0 else "lowers"
    return (
        f"The score{of}, is {at['prediction']}; the reference is {at['reference']}. Most of all, {feature} {verb} it, by "
        f"{number(abs(value))}{', its halves of pairs included' if local.sizes.get('pair', 0) else ''}."
    ).replace("The score, is", "The score is")


def step_by_step(ds: xr.Dataset, part: Input, i: int, target: int | None) -> tuple[Figure, str] | None:
    """Return the waterfall of one sample of a table and its caption; None where the result has no stairs to draw."""
    table = not part.name and len(cell_dims(part.attribution)) == 1 and "time" not in part.attribution.dims
    if not table or not {"prediction", "reference"} <= set(ds):
        return None
    here = ds.drop_vars("sample", errors="ignore")  # i is a position, whatever the labels
    label = None if target is None else labels_of(ds, "target")[target]
    ends = here[["prediction", "reference"]].isel(sample=i)
    known = np.isfinite(ends["prediction"]).all() & np.isfinite(ends["reference"]).all()
    if not known or not bool(here["attribution"].isel(sample=i).notnull().any()):
        return None
    figure = plot.waterfall(here, i, x=part.signal.drop_vars("sample", errors="ignore"), target=label, title="")
    caption = "Each entry with its value, the largest first, from the reference to the prediction."
    return figure, f"{caption} Orange raises the target, blue lowers it."


def by_value(attribution: xr.DataArray, signal: xr.DataArray) -> list[str]:
    """Return a picture of attribution against value, where a table has cases enough."""
    if attribution.sizes["sample"] < FEW_CASES:
        return []
    figure = plot.dependence(attribution.to_dataset(name="attribution"), signal)
    caption = (
        "Attribution of every case against its value, for the columns with the most. Dots apart at one value are cases that "
        "differ in other columns; short lines are means."
    )
    return [markup.picture(figure, f"Scatter plots, one a column. {caption}", caption)]


def groups_are_shown(ds: xr.Dataset) -> bool:
    """Return whether each group is one column of a table, or one part of a signal, whose sums are shown by themselves."""
    columns = [d for d in ds["attribution"].dims if d not in NOT_CELLS] if "attribution" in ds else []
    return (len(columns) == 1 and _groups_are(ds, str(columns[0]))) or groups_are_parts(ds)


def groups_are_parts(ds: xr.Dataset) -> bool:
    """Return whether each group is one part of a signal."""
    return PART in ds.dims and _groups_are(ds, PART)


def _groups_are(ds: xr.Dataset, dim: str) -> bool:
    return "group" in ds.dims and labels_of(ds, "group") == [str(v) for v in labels_of(ds, dim)]


def as_result(ds: xr.Dataset) -> xr.Dataset:
    """Return the contributions of an additive model in the form of any result, with units and `completeness_error`."""
    if "main" not in ds or "completeness_error" in ds:
        return ds
    maps = ds["attribution"]
    found = completeness(maps.sum("feature"), ds["prediction"] - ds["reference"], (maps**2).sum("feature") ** 0.5)
    return ds.assign(found | {"attribution": maps.assign_attrs(units=score_units(ds))})


def outside(terms: xr.Dataset, local: xr.Dataset | None, x: Any) -> list[str]:
    """Return what the training data did not hold: ranges, missing values, and the cases that go beyond."""
    if x is not None and local is not None:
        values = explained_values(x, local)
    else:
        values = np.empty((0, terms.sizes["feature"]))
    rows = [_coverage_row(terms, i, values[:, i]) for i in by_importance(terms)[:MOST_ROWS]]
    head = ["feature", "seen in training", "missing in training", "a missing value adds"]
    head += ["cases beyond", "cases missing"] if len(values) else []
    text = (
        "Beyond the range of the training data a contribution is held at what it is at the end of the range. A level that "
        "training did not have adds 0, and so does a missing value where training had none."
    )
    caption = f"What the training data held{_cut(terms.sizes['feature'])}"
    table = markup.table(caption, head, [row[: len(head)] for row in rows])
    return [markup.paragraph(text), table]


def _coverage_row(terms: xr.Dataset, i: int, given: np.ndarray) -> tuple[str, ...]:
    """Return a row of the table: a feature, its range in training, missing values, and how many of the cases go beyond it."""
    values = FeatureValues.of(terms, i)
    missing_cases = np.array([value_text(v) == "missing" for v in given], bool)
    if values.levels is not None:
        known = {str(v) for v in terms["level"].values[i][values.cells]}
        seen, beyond = f"{len(known)} levels", sum(str(v) not in known for v in given[~missing_cases])
    elif not len(values.positions):
        seen, beyond = "no value", int((~missing_cases).sum())
    else:
        low, high = float(values.positions[0]), float(values.positions[-1])
        seen = f"{value_text(low)} to {value_text(high)}"
        numbers = given[~missing_cases].astype(float)
        beyond = int(((numbers < low) | (numbers > high)).sum())
    missing = terms["missing"].isel(feature=i).values if "missing" in terms else np.array(np.nan)
    adds = "–" if not np.isfinite(missing).any() else ", ".join(signed_text(float(v)) for v in np.atleast_1d(missing))
    return (
        str(terms["feature"].values[i]),
        seen,
        percent(missing_share(terms, i)),
        adds,
        str(beyond),
        str(int(missing_cases.sum())),
    )
