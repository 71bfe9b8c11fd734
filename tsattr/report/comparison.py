"""A comparison of methods as one page: what was found first, then the numbers it rests on."""

from __future__ import annotations

import os
from collections.abc import Iterable
from datetime import UTC, datetime
from itertools import combinations

import numpy as np
import xarray as xr

from .. import plot
from ..comparison.verdict import Standing, listing, words_of
from ..plot.curves import CURVE_AXIS
from ..plot.standing import check_comparison
from . import markup, sections
from .markup import number, percent

ARROWS = {"higher": "↑", "lower": "↓"}


def comparison(
    table: xr.Dataset,
    *,
    title: str = "Which explanation to believe",
    out: str | os.PathLike[str] | None = None,
    notes: str | Iterable[str] | None = None,
) -> str:
    """Write a comparison of methods up as one self-contained HTML page, the recommendation first.

    Parameters
    ----------
    table : Dataset
        What `tsattr.compare` returned.
    title : str
        Heading of the page.
    out : path, optional
        File to write, whole or not at all.
    notes : str or iterable of str, optional
        Your own remarks, printed first among the notes.

    Returns
    -------
    str
        The page. It loads nothing from anywhere; its pictures are part of it. All text is escaped.

    Raises
    ------
    TypeError
        If `table` is not a Dataset.
    ValueError
        If it is no comparison, or `out` cannot be written.

    Examples
    --------
    >>> import numpy as np, torch, tsattr as ta
    >>> f = lambda x: torch.tanh(x @ torch.tensor([3.0, -2.0, 1.0, 0.0], dtype=torch.float64))
    >>> x = np.random.default_rng(0).normal(size=(20, 4))
    >>> tb = ta.compare(f, x, {"IG": ta.IntegratedGradients()}, metrics=["gap", "deletion"])
    >>> "<h1>A small model</h1>" in ta.report.comparison(tb, title="A small model")
    True
    """
    check_comparison(table, None, None)
    removal, truth = _measures(table)
    main = next(iter(["gap"] if "gap" in removal else removal), None)
    rankings = [str(r) for r in table["ranking"].values]
    own = [notes] if isinstance(notes, str) else list(notes or [])
    pages = [
        f"<header><h1>{markup.escape(title)}</h1></header>",
        f'<section class="short" aria-label="Recommendation">{markup.bullets(_lines(table))}</section>',
        markup.section("Who comes first", *[_ranking(table, main, r) for r in rankings if main]),
        markup.section("Under each fill", *_fills(table, main, rankings[0])),
        markup.section("What the target does", *[_curves(table, curve, rankings[0]) for curve in CURVE_AXIS]),
        markup.section("What cannot be told apart", *_ties(table, main, rankings)),
        markup.section("Every measure", *[_scores(table, removal, r) for r in rankings]),
        markup.section("Against known truth", *_truth(table, truth, rankings)),
        markup.section("Do the maps agree", *_agreement(table)),
        markup.section("What it cost", _costs(table)),
        markup.section("What can and cannot be concluded", markup.bullets(own + _notes(table, bool(truth)))),
        markup.section("How it was made", sections.settings(_without_words(table), None)),
    ]
    made = f"Made by tsattr on {datetime.now(UTC):%Y-%m-%d %H:%M} UTC. This page loads nothing from the network."
    page = markup.page(title, "\n".join(part for part in pages if part), made)
    if out is not None:
        from ..io import write_text  # brings the readers of all file formats with it

        write_text(page, out)
    return page


def _measures(table: xr.Dataset) -> tuple[list[str], list[str]]:
    """Return the names of the measures by removal, and of those against truth."""
    names = [str(m) for m in table["measure"].values]
    truth = [name for name in names if table[name].attrs.get("uses_truth")]
    return [name for name in names if name not in truth], truth


def _lines(table: xr.Dataset) -> list[str]:
    return str(table.attrs.get("recommendation", "The table carries no recommendation.")).splitlines()


def _ranking(table: xr.Dataset, measure: str, ranking: str) -> str:
    standing = Standing(table, measure, ranking)
    best = [standing.names[k] for k in standing.methods if standing.tied[k]]
    alt = "No method has a finite score."
    if best:
        alt = f"The best by {words_of(measure)}, {ranking} ranking: {best[0]}"
        alt += f"; not to be told from it: {listing(best[1:])}." if best[1:] else ", told from every other."
    caption = (
        "Score of each method over samples and fills, a fill of its own kind left out, with its 95 % interval. Intervals may "
        "overlap where a paired difference is clear: methods are told apart by their differences on the same samples."
    )
    figure = plot.ranking(table, measure, ranking)
    return markup.heading(f"{ranking.capitalize()} ranking") + markup.picture(figure, f"{alt} {caption}", caption)


def _fills(table: xr.Dataset, measure: str | None, ranking: str) -> list[str]:
    if measure is None or "fill" not in table[measure].dims:
        return []
    caption = "Mean over samples for each method under each fill: what takes the place of what is taken away."
    alt = f"A table in colour, {words_of(measure)} by method and fill. {caption} The scores are in the tables below."
    return [markup.picture(plot.matrix(table, measure, ranking), alt, caption), _fill_table(table)]


def _fill_table(table: xr.Dataset) -> str:
    if "fill_shift" not in table:
        return ""
    rows = [
        (str(fill), percent(float(shift)), number(float(auc)))
        for fill, shift, auc in zip(table["fill"].values, table["fill_shift"].values, table["fill_auc"].values)
    ]
    caption = (
        "Off clean data with half of it gone: the share beyond its 99th percentile, and the AUC of telling them apart"
    )
    return markup.table(caption, ("fill", "beyond clean data", "AUC"), rows)


def _curves(table: xr.Dataset, curve: str, ranking: str) -> str:
    if curve not in table:
        return ""
    what = {
        "deletion_curve": "Taking cells away, the most important first: the sooner the target falls, the better the map.",
        "insertion_curve": "Keeping only the most important cells: the sooner the target is back, the better the map.",
    }[curve]
    alt = f"Line charts, one for each of the fills {listing(table['fill'].values.tolist())}. {what} The areas are in the tables below."
    return markup.picture(plot.curves(table, curve, ranking), alt, what)


def _ties(table: xr.Dataset, measure: str | None, rankings: list[str]) -> list[str]:
    """Return the pairs of methods that are not distinguishable, by ranking."""
    if measure is None or table.sizes["method"] < 2:
        return []
    words = (
        "Two methods are told apart where their paired difference is clear over all pairs together. The intervals here are of "
        "one pair by itself, and narrower: some leave 0 out."
    )
    return [markup.paragraph(words), *[_pairs(table, measure, r) for r in rankings]]


def _pairs(table: xr.Dataset, measure: str, ranking: str) -> str:
    """Return the pairs of methods whose difference may be chance, best method first."""
    here = table.sel(measure=measure, ranking=ranking)
    difference, low, high = (here[f"difference{end}"].values for end in ("", "_low", "_high"))
    standing = Standing(table, measure, ranking)
    order, control, names = standing.order, standing.control, standing.names
    pairs = [(a, b) for a, b in combinations(order, 2) if not (control[a] and control[b])]
    close = [(a, b) for a, b in pairs if not here["distinguishable"].values[a, b] and np.isfinite(difference[a, b])]
    if not close:
        return markup.paragraph(f"{ranking.capitalize()} ranking: every pair of methods is told apart.")
    rows = [(names[a], names[b], number(difference[a, b]), _interval(low[a, b], high[a, b])) for a, b in close]
    caption = f"{ranking.capitalize()} ranking: {len(close)} of {len(pairs)} pairs; differences by {words_of(measure)}"
    return markup.table(caption, ("method", "other", "difference", "95 % interval"), rows)


def _scores(table: xr.Dataset, measures: list[str], ranking: str) -> str:
    if not measures:
        return ""
    measures = sorted(measures, key=lambda name: name != "gap")
    order = Standing(table, measures[0], ranking).order
    rows = [_row(table, measures, ranking, k) for k in order]
    caption = (
        f"{ranking.capitalize()} ranking, best first by {words_of(measures[0])}; ↑ higher is better, ↓ lower is better"
    )
    return markup.table(caption, ("method", *[_head(table, name) for name in measures]), rows)


def _row(table: xr.Dataset, measures: list[str], ranking: str, k: int) -> tuple[str, ...]:
    score = table["score"].sel(ranking=ranking).isel(method=k)
    return (_method(table, k), *[number(float(score.sel(measure=name))) for name in measures])


def _head(table: xr.Dataset, measure: str) -> str:
    return f"{words_of(measure)} {ARROWS[str(table['better'].sel(measure=measure).values)]}"


def _method(table: xr.Dataset, k: int) -> str:
    return f"{table['method'].values[k]}{' (control)' if table['control'].values[k] else ''}"


def _truth(table: xr.Dataset, measures: list[str], rankings: list[str]) -> list[str]:
    """Return how the maps stand against the truth, by the ranking that knows no sign where there is one."""
    if not measures:
        return []
    first = "average_precision" if "average_precision" in measures else measures[0]
    shown = "absolute" if "absolute" in rankings else rankings[0]
    caption = f"By {words_of(first)}, {shown} ranking, with its 95 % interval; the dashed line is chance."
    alt = f"Scores of each method against the known truth. {caption} The numbers are in the table below."
    parts = [markup.picture(plot.ranking(table, first, shown), alt, caption)]
    for ranking in rankings:
        rows = [_row(table, measures, ranking, k) for k in Standing(table, first, ranking).order]
        rows.append(("chance", *[number(_chance(table, name, ranking)) for name in measures]))
        head = ("method", *[_head(table, name) for name in measures])
        parts.append(markup.table(f"{ranking.capitalize()} ranking, best first by {words_of(first)}", head, rows))
    return [*parts, markup.paragraph("The recommendation was made without a look at the truth.")]


def _chance(table: xr.Dataset, measure: str, ranking: str) -> float:
    if f"{measure}_chance" not in table:
        return np.nan
    level = table[f"{measure}_chance"]
    return float((level.sel(ranking=ranking) if "ranking" in level.dims else level).mean())


def _agreement(table: xr.Dataset) -> list[str]:
    kept = np.flatnonzero(~table["control"].values.astype(bool)).tolist()
    if "agreement" not in table or len(kept) < 2:
        return []
    r = table["agreement"].values
    names = [str(v) for v in table["method"].values]
    rows = [(names[a], *[number(r[a, b], 2) for b in kept]) for a in kept]
    return [markup.table("Mean Spearman correlation of the maps", ("method", *[names[b] for b in kept]), rows)]


def _costs(table: xr.Dataset) -> str:
    rows = table["model_evaluations"].mean([d for d in table["model_evaluations"].dims if d != "method"]).values
    kept = np.flatnonzero(~table["control"].values.astype(bool)).tolist()
    lines = [(_method(table, k), number(rows[k], 4), number(float(table["seconds"].values[k]))) for k in kept]
    total = f"; the whole comparison asked for {table.attrs['rows']} rows" if "rows" in table.attrs else ""
    head = ("method", "rows of the model a sample", "seconds")
    return markup.table(f"What the explanations cost{total}", head, lines)


def _notes(table: xr.Dataset, truth: bool) -> list[str]:
    found = [
        "Removal tests whether a map says what this model reacts to. It is no evidence that the prediction is correct, and none "
        "of cause and effect.",
        "No fill is innocent: what takes the place of removed cells may be something the model has never seen. Read a result "
        "that hangs on one fill as a result about that fill.",
        "“Not told apart” means that these samples do not suffice to tell, and not that the methods are equal.",
    ]
    if truth:
        found.append(
            "The truth is what was planted or marked. A model may reach the right answer on other grounds; low scores can be "
            "the model's doing and not the method's."
        )
    return found


def _interval(low: float, high: float) -> str:
    return f"[{number(low)}, {number(high)}]"


def _without_words(table: xr.Dataset) -> xr.Dataset:
    """Return the table without its recommendation among the settings: it stands on top of the page."""
    kept = {k: v for k, v in table.attrs.items() if k != "recommendation"}
    return table.drop_attrs(deep=False).assign_attrs(kept)
