"""The sections of a report, each a list of pieces of HTML."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from .. import ecg, plot
from ..core.cf import role
from ..parts.summing import PART
from ..plot.checks import status_of, total_attribution
from ..plot.comparison import chance_level, score_names
from . import markup, tables, words
from .markup import number, percent
from .material import Input, cell_dims, sample_name
from .pictures import place_in_words

MOST_ROWS = 50


def places(ds: xr.Dataset, inputs: list[Input], positions: list[int], waves: xr.DataArray | None) -> list[str]:
    """Return bars of attribution by coordinate, wave and group, and a table of the strongest cells of some samples."""
    parts = []
    n = ds.sizes["sample"]
    over = f"mean over {n} samples" if n > 1 else "this sample"
    if ds.sizes.get("target", 1) > 1:
        over += f", for {ds['target'].values[0]}, the first target"
    for part in inputs:
        attribution = _of_first_target(part.attribution)
        cells = cell_dims(attribution)
        own = [d for d in cells if d != PART and role(d, attribution[d].attrs) is None]  # parts have a section
        for dim in [d for d in own if attribution.sizes[d] > 1][:1]:
            if len(cells) == 1 and n == 1:
                continue  # the picture above shows the same bars
            rest = [d for d in cells if d != dim]
            sums = xr.Dataset({"signed": attribution.sum(rest), "absolute": abs(attribution).sum(rest)}).mean("sample")
            if not rest:
                sums = sums.isel({dim: np.argsort(-sums["absolute"].values, kind="stable")})
            parts += bars(sums, f"Sums per {dim}, {over}.", attribution)
            parts += [] if rest else tables.by_value(attribution, part.signal)
        if waves is not None and "time" in cells and set(waves.dims) <= set(attribution.dims):
            sums = ecg.by_wave(attribution, waves)
            sums = sums[["signed", "absolute"]].sum([d for d in cells if d != "time"]).mean("sample")
            parts += bars(
                sums, f"Sums per wave, {over}. Waves are where they are expected, not where one was found.", attribution
            )
    if "group_value" in ds and "group" in ds["group_value"].dims and not tables.groups_are_shown(ds):
        values = _of_first_target(ds["group_value"])
        mean = values.mean([d for d in values.dims if d != "group"])
        alone = "interaction" in ds
        caption = (
            f"{'Each group by itself, without its pairs' if alone else 'Effect of taking each group away'}, {over}."
        )
        sums = xr.Dataset({"signed": mean})
        parts += bars(sums, caption, inputs[0].attribution, "effect")
    rows = [row for part in inputs for i in positions for row in _top(part, i, sample_name(ds, i))]
    head = ["sample", "place", "input", "attribution"] + ["direction"] * any(p.direction is not None for p in inputs)
    parts.append(markup.table("The strongest cells of the samples drawn", head, rows))
    return parts


def _of_first_target(values: xr.DataArray) -> xr.DataArray:
    return values.isel(target=0, drop=True) if "target" in values.dims else values


def bars(
    sums: xr.Dataset,
    caption: str,
    attribution: xr.DataArray,
    label: str | None = None,
    error: xr.DataArray | None = None,
) -> list[str]:
    """Return a bar chart of sums by the entries of a dim, or nothing where there are none; `error` is of the signed ones."""
    sums.attrs["units"] = attribution.attrs.get("units", "")
    first = sums["absolute" if "absolute" in sums else "signed"]
    if not first.size or not bool(first.notnull().any()):
        return []
    i = int(abs(first.values).argmax())
    name = first[first.dims[0]].values[i] if first.dims[0] in first.coords else i
    alt = f"Bar chart. {caption} The largest is {first.dims[0]} {name} with {number(float(first[i]))}."
    return [markup.picture(plot.bars(sums, error, label=label), alt, caption)]


def _top(part: Input, i: int, name: str, most: int = 5) -> list[tuple[str, ...]]:
    array = _of_first_target(part.attribution)
    map_, signal = array.isel(sample=i, drop=True), part.signal.isel(sample=i, drop=True).transpose(*cell_dims(array))
    size = np.nan_to_num(np.abs(map_.values.astype(float)))
    best = [np.unravel_index(k, size.shape) for k in np.argsort(-size, axis=None, kind="stable")[:most]]
    prefix = f"{part.name}: " if part.name else ""
    rows: list[tuple[str, ...]] = []
    units = signal.coords["units"].broadcast_like(signal) if "units" in signal.coords else None
    for at in best:
        value: Any = signal.values[at]
        known = number(float(value)) if isinstance(value, float | np.floating) else str(value)
        unit = "" if units is None or units.values[at] == "1" else str(units.values[at])
        shown = "missing" if pd.isna(value) else f"{known} {unit}".rstrip()
        if size[at] > 0:
            row = (name, prefix + place_in_words(map_, at), shown, number(float(map_.values[at])))
            rows.append(row if part.direction is None else (*row, _direction(part, i, map_, at)))
    return rows


def _direction(part: Input, i: int, map_: xr.DataArray, at: Sequence[Any]) -> str:
    """Return which way a cell moved what the model says, on the whole of its lags."""
    signed = part.direction if part.direction is not None else part.attribution
    here = _of_first_target(signed).isel({"sample": i, **dict(zip(map_.dims, at))})
    value = float(here.mean())
    return "raised it" if value > 0 else "lowered it" if value < 0 else "neither"


def mean_agreement(compared: xr.DataArray) -> tuple[xr.DataArray, float]:
    """Return the agreement of maps averaged over samples, and its mean over pairs."""
    per_sample = [plot.agreement(compared.isel(sample=i)) for i in range(compared.sizes["sample"])]
    mean = xr.concat(per_sample, "sample").mean("sample")
    pairs = mean.values[~np.eye(len(mean), dtype=bool)]
    return mean, float(np.nanmean(pairs)) if np.isfinite(pairs).any() else np.nan


def comparison(compared: xr.DataArray | None, inputs: list[Input], positions: list[int]) -> list[str]:
    """Return the comparison of maps, drawn for the first sample at `positions` and counted over all."""
    if compared is None or not positions:
        return []
    part, i = inputs[0], positions[0]
    truth = None if part.truth is None else part.truth.isel(sample=i, drop=True)
    figure = plot.baselines(compared.isel(sample=i, drop=True), part.signal.isel(sample=i, drop=True), truth=truth)
    matrix, mean = mean_agreement(compared)
    dim = str(matrix.dims[0])
    names = [str(v) for v in matrix[dim].values] if dim in matrix.coords else [str(k) for k in range(len(matrix))]
    pairs = [(float(matrix[a, b]), names[a], names[b]) for a in range(len(names)) for b in range(a)]
    sentence = f"Mean rank agreement over all samples and pairs is {number(mean, 2)}: {words.agreement_verdict(mean)}."
    known = sorted(pair for pair in pairs if np.isfinite(pair[0]))
    if len(known) > 1:
        low, high = known[0], known[-1]
        best, worst = (f"{one} and {other} ({number(r, 2)})" for r, one, other in (high, low))
        sentence += f" Most alike are {best}, least {worst}."
    name = sample_name(part.attribution, i)
    alt = f"Attribution of sample {name} by {len(names)} choices of {dim}: {', '.join(names)}. {sentence}"
    return [markup.paragraph(sentence), markup.picture(figure, alt, f"Sample {name}, by {dim}.")]


def checks(ds: xr.Dataset) -> list[str]:
    """Return whether maps add up and samples went well, in words, pictures and numbers."""
    verdict, bad = words.completeness_verdict(ds)
    parts = [markup.paragraph(verdict, bad)] if verdict else []
    if not verdict:
        parts.append(
            markup.paragraph(
                "This method does not promise that its map adds up to the prediction; the sum is not checked."
            )
        )
    status = status_of(ds)
    by_state: dict[str, list[str]] = {}
    for i, state in enumerate(status.values):
        by_state.setdefault(str(state), []).append(sample_name(ds, i))
    if fault := str(ds.attrs.get("gradient_fault", "")):
        parts.append(markup.paragraph(f"The gradient that is not finite is made by {fault}."))
    parts.append(
        markup.bullets(
            words.status_sentences(by_state) or ["Every sample was explained without trouble (status “ok”)."]
        )
    )
    if "standard_error" in ds and "attribution" in ds:
        parts.append(markup.paragraph(_uncertainty(ds)))
    if "reference" in ds and verdict:
        caption = "Each sample's sum of attribution against prediction − reference. On the line nothing is lost."
        parts.append(markup.picture(plot.completeness(ds), f"Scatter plot. {caption} {verdict}", caption))
    if "steps" in ds:
        steps = ds["steps"].values
        caption = f"Steps that each sample took, {steps.min()} to {steps.max()}, and the error it ended with."
        parts.append(markup.picture(plot.convergence(ds), f"Scatter plot. {caption}", caption))
    return [*parts, _check_table(ds, status)]


def _uncertainty(ds: xr.Dataset) -> str:
    size, error = np.abs(ds["attribution"].values), ds["standard_error"].values
    known = np.isfinite(size) & np.isfinite(error)
    if not known.any() or size[known].max() == 0:
        return "Standard errors are not known."
    strong = known & (size >= np.quantile(size[known], 0.99)) & (size > 0)
    ratio = float(np.median(error[strong] / size[strong]))
    clear = float(np.mean(size[known] > 2 * error[known]))
    return (
        f"Random draws leave the strongest 1 % of cells with a standard error of {percent(ratio)} of their value "
        "(median); "
        f"{percent(clear)} of all cells exceed twice their standard error."
    )


def _check_table(ds: xr.Dataset, status: xr.DataArray) -> str:
    """Return the numbers of each sample and target, those with the largest errors where there are many."""
    sums = total_attribution(ds)
    columns = {"prediction": ds.get("prediction"), "reference": ds.get("reference")}
    columns |= {"sum of attribution": sums} if "completeness_error" in ds else {}
    columns |= {"gap": ds.get("completeness_gap"), "error": ds.get("completeness_error")}
    columns |= {"steps": ds.get("steps"), "model evaluations": ds.get("model_evaluations")}
    known = {name: a.broadcast_like(sums).transpose(*sums.dims) for name, a in columns.items() if a is not None}
    places = list(np.ndindex(sums.shape))
    trouble = known["error"].values.astype(float) if "error" in known else np.zeros(sums.shape)
    trouble = np.where(np.isnan(trouble), np.inf, trouble)
    shown = sorted(sorted(places, key=lambda at: -trouble[at])[:MOST_ROWS])
    rows = []
    for at in shown:
        here = dict(zip(sums.dims, at))
        name = sample_name(ds, here["sample"])
        if "target" in here:
            name += f", {sums['target'].values[here['target']] if 'target' in sums.coords else here['target']}"
        cells = [
            percent(float(a.values[at])) if k == "error" else number(float(a.values[at]), 4) for k, a in known.items()
        ]
        error = float(known["error"].values[at]) if "error" in known else np.nan
        rows.append((name, *cells, words.sample_verdict(error, str(status.values[here["sample"]]))))
    kept = f"the {MOST_ROWS} with the largest errors of {len(places)}" if len(places) > MOST_ROWS else "all samples"
    first = "sample, target" if "target" in sums.dims else "sample"
    return markup.table(f"Numbers behind the checks: {kept}", (first, *known, "verdict"), rows)


def against_truth(inputs: list[Input], scores: xr.Dataset | None) -> list[str]:
    """Return the share of attribution inside the known region, and the scores of methods."""
    parts = []
    for part in inputs:
        if part.truth is None:
            continue
        size = abs(part.attribution)
        known = size.notnull()
        inside = float(size.where(part.truth).sum() / size.sum()) if float(size.sum()) else np.nan
        chance = float((known & part.truth).sum() / known.sum()) if bool(known.any()) else np.nan
        of = f" of {part.name}" if part.name else ""
        parts.append(
            markup.paragraph(
                f"{percent(inside)} of the absolute attribution{of} lies in the known region, which holds "
                f"{percent(chance)} "
                "of the cells: an even spread would put that much there by chance."
            )
        )
    if scores is None:
        return parts
    names = score_names(scores)
    if names:
        alt = "Bar chart of scores by method, best on top, with the level of chance. The table below has the numbers."
        parts.append(
            markup.picture(plot.scores(scores), alt, "Dots are samples, bars their means, the dashed line is chance.")
        )
        order = np.argsort(
            -scores[names[0]].mean([d for d in scores[names[0]].dims if d != "method"]).fillna(-np.inf).values
        )
        methods = scores["method"].values if "method" in scores.coords else np.arange(scores.sizes["method"])
        rows = [
            (str(methods[k]), *[number(float(scores[name].isel(method=k).mean())) for name in names]) for k in order
        ]
        levels = [chance_level(scores, name) for name in names]
        if any(level is not None for level in levels):
            rows.append(("chance", *["–" if level is None else number(level) for level in levels]))
        parts.append(markup.table("Means over samples, best first by the first score", ("method", *names), rows))
    else:
        numeric = [name for name in scores if scores[name].dtype.kind in "biuf"]
        rows = [
            (str(n), *[number(float(f)) for f in (scores[n].mean(), scores[n].min(), scores[n].max())]) for n in numeric
        ]
        parts.append(markup.table("Scores of this result", ("score", "mean", "least", "largest"), rows))
    return parts


def settings(ds: xr.Dataset, x: Any) -> str:
    """Return the attributes of a result and of its input as a table."""
    rows = [(str(k), str(v)) for k, v in ds.attrs.items()]
    if isinstance(x, xr.DataArray | xr.Dataset):
        rows += [(f"input: {k}", str(v)) for k, v in x.attrs.items()]
    rows += [("cells", ", ".join(f"{d}: {n}" for d, n in ds.sizes.items()))]
    return markup.table("As recorded in the result", ("setting", "value"), rows, kind="settings")
