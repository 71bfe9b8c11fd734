"""An additive model as one page: what moves its score, the shape of each feature, pairs, and single cases."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
import xarray as xr

from ..plot.features import by_importance, check_terms, labels_of, score_units
from . import markup, sections, tables
from .markup import number
from .material import sample_positions, with_sample_dim

QUALITY = ("fidelity", "r2", "loss", "rmse", "accuracy", "auc")
FAITHFUL, FAIR = 0.95, 0.8  # shares of the variance of a black box that its additive picture keeps

LINKS = {
    "identity": "The score is the prediction itself: a contribution is in its units.",
    "logit": "The score is the logarithm of the odds: +0.7 doubles them, −0.7 halves them, +2.3 makes them tenfold. A score of 0 "
    "is a probability of 50 %.",
    "softmax": "Each class has a score; the class with the largest is predicted, and probabilities are the softmax of all scores. "
    "Only differences between the scores of classes matter.",
}


def additive(
    terms: xr.Dataset,
    local: xr.Dataset | None = None,
    x: Any = None,
    *,
    title: str = "What the model adds up",
    quality: Mapping[str, float] | None = None,
    samples: Sequence[Any] | None = None,
    out: str | os.PathLike[str] | None = None,
    notes: str | Iterable[str] | None = None,
) -> str:
    """Write an additive model up as one self-contained HTML page: importance, shapes, pairs, and cases step by step.

    Parameters
    ----------
    terms : Dataset
        What `explain_global()` of an additive model returned. `attrs["model"]`, where given, names what it explains.
    local : Dataset, optional
        What `explain_local(X)` returned, for single cases.
    x : DataFrame, DataArray or array, optional
        Those rows, for the values beside the names and for what lies beyond the training data.
    title : str
        Heading of the page.
    quality : mapping, optional
        Figures of merit on data that were held out, by name ("AUC, 2023 admissions": 0.87), printed with those that the
        result carries.
    samples : sequence, optional
        Labels (else positions) of the cases to draw; by default the first three.
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
        If `terms` or `local` is not a Dataset.
    ValueError
        If `terms` holds no shapes, samples are unknown, `x` does not fit `local`, or `out` cannot be written.

    Examples
    --------
    >>> import xarray as xr
    >>> grid = ("feature", "grid")
    >>> terms = xr.Dataset(
    ...     {
    ...         "value": (grid, [[0.0, 1.0]]),
    ...         "shape": (grid, [[-1.0, 1.0]]),
    ...         "kind": ("feature", ["numeric"]),
    ...         "importance": ("feature", [1.0]),
    ...     },
    ...     {"feature": ["age"]},
    ... )
    >>> "<h1>One feature</h1>" in additive(terms, title="One feature")
    True
    """
    check_terms(terms)
    if local is not None:
        local, x = with_sample_dim(local, x)
    own = [notes] if isinstance(notes, str) else list(notes or [])
    figures = _figures(terms, quality)
    faithful, bad = fidelity_in_words(terms)
    pages = [
        f"<header><h1>{markup.escape(title)}</h1></header>",
        f'<section class="short" aria-label="In short">{markup.bullets(_short(terms, faithful))}</section>',
        markup.section("What the model is", markup.terms(_model(terms))),
        markup.section("What moves the score", *tables.importance(terms)),
        markup.section("What each feature does", *tables.shapes(terms)),
        markup.section("What features do together", *tables.pairs(terms)),
        markup.section(
            "Single cases", *([] if local is None else tables.cases(local, x, sample_positions(local, samples)))
        ),
        markup.section("How good it is", markup.paragraph(faithful, bad) if faithful else "", figures),
        markup.section("Beyond the training data", *tables.outside(terms, local, x)),
        markup.section("What can and cannot be concluded", markup.bullets(own + _notes(terms, bool(faithful)))),
        markup.section("Settings and versions", sections.settings(terms, x)),
    ]
    made = f"Made by tsattr on {datetime.now(UTC):%Y-%m-%d %H:%M} UTC. This page loads nothing from the network."
    page = markup.page(title, "\n".join(part for part in pages if part), made)
    if out is not None:
        from ..io import write_text  # brings the readers of all file formats with it

        write_text(page, out)
    return page


def _short(terms: xr.Dataset, faithful: str) -> list[str]:
    lines = tables.strongest(terms)
    if "target" in terms.attrs:
        lines.insert(0, f"A higher score speaks for {terms.attrs['target']}.")
    if "target" not in terms.dims:
        lines[-1:-1] = tables.sentences(terms, by_importance(terms)[:1], 0.0)
    return [*lines, *([faithful] if faithful else [])]


def fidelity_in_words(terms: xr.Dataset) -> tuple[str, bool]:
    """Return how much of a black box its additive picture keeps, and whether that is too little; empty for a model itself."""
    found = [v for k, v in terms.attrs.items() if str(k).startswith("fidelity") and isinstance(v, int | float)]
    if not found:
        return "", False
    if np.isnan(found[0]):
        return (
            "How well the additive picture follows the black box could not be measured: too few rows were held out.",
            True,
        )
    share, held_out = float(found[0]), "of the variance of the black box's score, on rows that were held out"
    if share >= FAITHFUL:
        return f"The additive picture keeps {100 * share:.1f} % {held_out}: it can stand for the black box.", False
    if share >= FAIR:
        return f"The additive picture keeps {100 * share:.1f} % {held_out}; the rest it does not explain.", False
    return f"The additive picture keeps only {100 * share:.1f} % {held_out}: do not read it as an explanation.", True


def _model(terms: xr.Dataset) -> list[tuple[str, str, str]]:
    attrs, link = terms.attrs, str(terms.attrs.get("link", ""))
    n, p = terms.sizes["feature"], terms.sizes.get("pair", 0)
    form = f"score = intercept + one curve for each of {n} features + one surface for each of {p} pairs"
    rows = [("Form", form if p else form.split(" + one surface")[0], "")]
    rows += [("Explains", "", str(attrs["model"]))] if "model" in attrs else []
    rows += [("A higher score speaks for", "", str(attrs["target"]))] if "target" in attrs else []
    rows += [("Score", LINKS.get(link, ""), score_units(terms))]
    if "intercept" in terms:
        names = labels_of(terms, "target") if "target" in terms["intercept"].dims else [""]
        levels = [f"{name} {number(float(v))}".strip() for name, v in zip(names, terms["intercept"].values.ravel())]
        rows.append(("Intercept: where every sum starts", ", ".join(levels), ""))
    return [*rows, ("Method", "", str(attrs.get("method", "not recorded")))]


def _figures(terms: xr.Dataset, quality: Mapping[str, float] | None) -> str:
    """Return the figures of merit that the result carries, and those that were given."""
    carried = {
        "loss on the training data" if k == "loss" else str(k).replace("_", " "): float(v)
        for k, v in terms.attrs.items()
        if isinstance(v, int | float) and any(word in str(k) for word in QUALITY)
    }
    rows = [(name, number(value)) for name, value in {**carried, **(quality or {})}.items()]
    return markup.table("Figures of merit", ("measure", "value"), rows)


def _notes(terms: xr.Dataset, black_box: bool) -> list[str]:
    found = [
        "The curves and surfaces are not an approximation of the model: added up with the intercept they are its score, to the "
        "last digit."
        if not black_box
        else "The curves and surfaces are exact for the additive picture, which stands for the black box as far as its fidelity goes.",
        "The page is about the model, not about the world: it shows what the score rests on, right or wrong. It is no evidence "
        "of cause and effect: changing a value need not change the outcome.",
        "Features that go together can stand in for each other: how credit is divided among them is in part arbitrary, so read "
        "them together.",
        "Bands tell how far the curves move when the training rows are drawn again. They do not cover a model of another form, "
        "or data of another kind.",
    ]
    if terms.sizes.get("pair", 0):
        over = "the training data" if terms.attrs.get("purify") == "data" else "the values of either feature"
        found.append(f"A surface holds only what is left for both features together: averaged over {over} it is 0.")
    return found
