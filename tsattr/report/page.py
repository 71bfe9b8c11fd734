"""The report: a result, its input and what else is known, put together as one page."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
import xarray as xr

from .. import ecg
from ..edge.each_output import folded
from ..plot.checks import status_of
from ..plot.comparison import chance_level, score_names
from . import markup, sections, tables, words
from .absence import absence
from .divided import divided
from .markup import number, percent
from .material import (
    Input,
    all_inputs,
    cell_dims,
    is_clinical,
    maps_compared,
    names_of,
    sample_positions,
    shape_of,
    with_sample_dim,
)
from .outputs import by_output
from .pictures import pictures
from .together import together
from .unmeasured import unmeasured
from .unsure import unsure as what_makes_unsure


def report(
    ds: xr.Dataset,
    x: Any,
    *,
    title: str = "What the model looked at",
    scores: xr.Dataset | None = None,
    out: str | os.PathLike[str] | None = None,
    truth: xr.DataArray | None = None,
    comparisons: xr.Dataset | xr.DataArray | None = None,
    samples: Sequence[Any] | None = None,
    waves: xr.DataArray | None = None,
    unsure: xr.Dataset | None = None,
    notes: str | Iterable[str] | None = None,
    at_baseline: xr.Dataset | None = None,
) -> str:
    """Write a result up as one self-contained HTML page.

    Parameters
    ----------
    ds : Dataset
        A result of `tsattr.explain`, also of one sample alone (``ds.isel(sample=0)``). Its `attribution` may have a dim `method`: the first is then reported, and all of
        them compared. `attrs["model"]`, where given, names the model.
    x : DataArray, Dataset, DataFrame or array
        The input that was explained.
    title : str
        Heading of the page.
    scores : Dataset, optional
        Scores against known truth, as from `tsattr.compare` or `tsattr.evaluate`; see `tsattr.plot.scores` for chance.
    out : path, optional
        File to write, whole or not at all.
    truth : DataArray, optional
        Boolean, like `x`: where attribution is known to belong.
    comparisons : Dataset or DataArray, optional
        Attribution of the same samples along `method` or `baseline`.
    samples : sequence, optional
        Labels (else positions) of the samples to draw; by default the first three.
    waves : DataArray, optional
        Coded waves as from `tsattr.ecg.waves`; by default the coordinate `wave` of `x`, where there is one.
    unsure : Dataset, optional
        A result of `tsattr.explain` for `tsattr.targets.Uncertainty`, or for several: a section on what makes the model unsure. It is of
        `x`, or of samples of its own that it holds as its variable ``input``.
    notes : str or iterable of str, optional
        Your own remarks, printed first among the notes.
    at_baseline : Dataset, optional
        From `tsattr.report.at_baseline`, for the same samples: the baseline is shown, and what the model says of it.

    Returns
    -------
    str
        The page. It loads nothing from anywhere; its pictures are part of it. All text is escaped.

    Raises
    ------
    TypeError
        If `ds` is not a Dataset.
    ValueError
        If it has no attribution, samples are unknown, `x` does not fit it, or `out` cannot be written.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> x = xr.DataArray([[63.0, 1.4]], dims=("sample", "feature"), coords={"feature": ["age", "dose"]})
    >>> ds = xr.Dataset({"attribution": x / 10, "prediction": ("sample", [6.4])}, attrs={"method": "InputXGradient()"})
    >>> "<h1>Two columns</h1>" in report(ds, x, title="Two columns")
    True
    """
    ds = folded(ds) if isinstance(ds, xr.Dataset) else ds
    doubts = [] if unsure is None else what_makes_unsure(unsure, x)
    ds, x, truth, waves, comparisons, at_baseline = with_sample_dim(ds, x, truth, waves, comparisons, at_baseline)
    if comparisons is None and "attribution" in ds and "method" in ds["attribution"].dims:
        comparisons = ds["attribution"]
    if "method" in ds.dims:
        name = str(ds["method"].values[0]) if "method" in ds.coords else "the first method"
        ds = ds.isel(method=0, drop=True).assign_attrs({"method": name, **ds.attrs})
    ds = tables.as_result(ds)
    inputs = all_inputs(ds, x, truth)
    compared = maps_compared(comparisons, inputs[0].signal.dims)
    positions = sample_positions(ds, samples)
    waves = waves if waves is not None else inputs[0].signal.coords.get("wave")
    leads = set().union(*(names_of(part.signal) for part in inputs))
    shapes = ", and ".join(shape_of(part) for part in inputs)
    own = [notes] if isinstance(notes, str) else list(notes or [])
    standard = words.notes(
        ds,
        clinical=is_clinical(inputs),
        limb_leads=len(leads & set(ecg.LIMB_LEADS)) > 2,
        truth=truth is not None or scores is not None,
    )
    which, by_part = divided(ds, inputs, positions)
    gone, not_measured = unmeasured(inputs, words.head(ds.attrs.get("baseline", "")), positions)
    pages = [
        f"<header><h1>{markup.escape(title)}</h1></header>",
        _in_short(ds, compared, scores, [which or _strongest(inputs), gone]),
        markup.section("What was asked", markup.terms(words.call_terms(ds, ds.sizes["sample"], shapes))),
        markup.section("The result in one picture", *pictures(ds, inputs, positions)),
        markup.section("What stands for absence", *absence(at_baseline, positions)),
        markup.section("What in the signal, and when", *by_part),
        markup.section("Where the attribution lies", *sections.places(ds, inputs, positions, waves)),
        markup.section("What each output rests on", *by_output(inputs)),
        markup.section("What was not measured", *not_measured),
        markup.section("What acts together", *together(ds)),
        markup.section("What makes the model unsure", *doubts),
        markup.section("Other methods and baselines", *sections.comparison(compared, inputs, positions)),
        markup.section("Checks", *sections.checks(ds)),
        markup.section("Against known truth", *sections.against_truth(inputs, scores)),
        markup.section("What can and cannot be concluded", markup.bullets(own + standard)),
        markup.section("Settings and versions", sections.settings(ds, x)),
    ]
    made = f"Made by tsattr on {datetime.now(UTC):%Y-%m-%d %H:%M} UTC. This page loads nothing from the network."
    page = markup.page(title, "\n".join(part for part in pages if part), made)
    if out is not None:
        from ..io import write_text  # brings the readers of all file formats with it

        write_text(page, out)
    return page


def _in_short(ds: xr.Dataset, compared: xr.DataArray | None, scores: xr.Dataset | None, first: Sequence[str]) -> str:
    """Return the findings in a few sentences, the `first` ahead of what the checks say, as the page's summary."""
    lines = [text for text in first if text]
    verdict, _ = words.completeness_verdict(ds)
    if verdict:
        lines.append(verdict)
    trouble = int((status_of(ds) != "ok").sum())
    if trouble:
        lines.append(f"Samples with a status other than “ok”: {trouble} of {ds.sizes['sample']}; see Checks.")
    if compared is not None:
        mean = sections.mean_agreement(compared)[1]
        lines.append(f"Mean rank agreement of the maps compared is {number(mean, 2)}: {words.agreement_verdict(mean)}.")
    if scores is not None and (names := score_names(scores)):
        means = scores[names[0]].mean([d for d in scores[names[0]].dims if d != "method"])
        if bool(means.notnull().any()):
            methods = scores["method"].values if "method" in scores.coords else np.arange(means.size)
            best = methods[int(np.nanargmax(means.values))]
            level = chance_level(scores, names[0])
            against = f", where chance is {number(level)}" if level is not None else ""
            lines.append(f"Against known truth, {best} does best: {names[0]} {number(float(means.max()))}{against}.")
    return f'<section class="short" aria-label="In short">{markup.bullets(lines)}</section>' if lines else ""


def _strongest(inputs: list[Input]) -> str:
    """Return a sentence on the lead, column or other entry with the most absolute attribution."""
    part = inputs[0]
    if not bool(part.attribution.notnull().any()):
        return "There is no attribution to read: no sample could be explained; see Checks."
    dims = [d for d in cell_dims(part.attribution) if d != "time" and part.attribution.sizes[d] > 1]
    if len(dims) != 1:
        return ""
    size = abs(part.attribution).sum([d for d in part.attribution.dims if d != dims[0]], dtype="float64")
    if not float(size.sum()) > 0:
        return "The attribution is zero everywhere: by this method nothing in the input moved the target."
    if np.isclose(float(size.min()), float(size.max()), rtol=0.01):
        return f"The attribution is equally large on every {dims[0]}: along {dims[0]} it singles nothing out."
    best = size[dims[0]].values[size.values.argmax()] if dims[0] in size.coords else size.values.argmax()
    share, even = float(size.max() / size.sum()), 1 / size.size
    over = f"mean over {n} samples" if (n := part.attribution.sizes["sample"]) > 1 else "of this sample"
    return (
        f"The {dims[0]} with the most absolute attribution is {best}: {percent(share)} of the whole ({over}), where an even "
        f"spread would give {percent(even)}."
    )
