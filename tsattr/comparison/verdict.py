"""What a comparison says, in words: which method comes first, which cannot be told from it, and what the test cannot know."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from ..metrics import pairs

_READ = ["score", "score_low", "score_high", "difference", "distinguishable"]  # what a standing is read from
_FEW = 20  # blocks below which skewed scores keep Student's t from covering as it says


def recommendation(table: xr.Dataset, sample: str, most: Mapping[str, int] | None = None) -> str:
    """Paragraphs from a table of :func:`tsattr.compare`. No measure that looks at truth is read.

    Of a method over the budget that took fewer rows, `most` has the rows that it may take.
    """
    measures = [str(m) for m in table.measure.values if not table[str(m)].attrs.get("uses_truth")]
    if not measures:
        return "No measure by removal was asked for, so nothing can be recommended without looking at the truth."
    main = "gap" if "gap" in measures else measures[0]
    ranking = str(table.ranking.values[0])
    v = Standing(table, main, ranking)
    words = [v.first(), *_over_budget(table, most or {})]
    if v.methods:
        words += v.against_controls()
        words.append(_fills(table, v))
        words += _rankings(table, v)
        words += _other_measures(table, v, measures)
        words += _agreement(table, v)
    words.append(_caveats(table, v, sample))
    return "\n".join(w for w in words if w)


class Standing:
    """How the methods of a comparison stand by one measure under one ranking.

    Parameters
    ----------
    table : Dataset
        What `tsattr.compare` returned.
    measure, ranking : str
        Which score.

    Attributes
    ----------
    order : array of int
        Positions of methods and controls, best first; of equals the one named first; what has no score comes last.
    left_out : array of bool
        The controls, and the methods over the budget: none of them is recommended.
    methods : list of int
        The others that have a score, best first.
    best : int
        The first of those that may be recommended; where there is none, the first that is no control.
    tied : array of bool
        The best and the methods that cannot be told from it.
    """

    def __init__(self, table: xr.Dataset, measure: str, ranking: str) -> None:
        here = table[_READ].sel(measure=measure, ranking=ranking)
        self.table, self.measure, self.ranking = table, measure, ranking
        self.names = [str(n) for n in table.method.values]
        self.control = table.control.values.astype(bool)
        self.score, self.low, self.high = (here[k].values for k in ("score", "score_low", "score_high"))
        self.sign = -1.0 if str(here.better.values) == "lower" else 1.0
        self.distinguishable, self.difference = here.distinguishable.values, here.difference.values
        merit: np.ndarray = self.sign * self.score
        # Scores that differ by rounding are equal.
        merit = np.round(merit / (np.nanmax(np.abs(merit), initial=0) or 1), 9)
        self.order = np.argsort(-merit, kind="stable")
        over = table.over_budget.values if "over_budget" in table else False
        self.left_out = self.control | over
        self.methods = [int(k) for k in self.order if not self.left_out[k] and np.isfinite(merit[k])]
        self.best = next(int(k) for rest in (self.left_out, self.control) for k in self.order if not rest[k])
        self.tied = np.zeros(len(self.order), bool)
        for k in self.methods:
            self.tied[k] = not self.surely_better(self.best, k)

    def surely_better(self, i: int, j: int) -> bool:
        """True where method i is distinguishably better than method j."""
        return bool(self.distinguishable[i, j] and self.difference[i, j] > 0)

    def beaten_by_chance(self, i: int) -> list[str]:
        """The names of the controls that method i is not distinguishably better than."""
        return [self.names[c] for c in np.flatnonzero(self.control).tolist() if not self.surely_better(i, c)]

    def value(self, i: int) -> str:
        """The score with its interval."""
        return f"{self.score[i]:.3g} [{self.low[i]:.3g}, {self.high[i]:.3g}]"

    def first(self) -> str:
        """Which method to use, in a sentence or two."""
        if not self.methods:
            if (self.left_out & ~self.control).any():
                return f"No method keeps to the budget of {self.table.attrs['budget']} rows a sample: give more rows."
            return "No method has a score: the model gave no finite values to compare."
        by = f"by {words_of(self.measure)} ({self.ranking} ranking)"
        best, tied = self.names[self.best], [i for i in self.methods if self.tied[i] and i != self.best]
        fair = [i for i in self.methods if self.tied[i] and not self.beaten_by_chance(i)]
        if not fair:
            return (
                f"No map can be recommended: {by} even the best, {best} ({self.value(self.best)}), cannot be told from "
                f"{listing(self.beaten_by_chance(self.best))}."
            )
        if self.best not in fair:
            return (
                f"Use {self.names[fair[0]]} ({self.value(fair[0])}): {by} {best} has the better score "
                f"({self.value(self.best)}), but cannot be told from {listing(self.beaten_by_chance(self.best))}."
            )
        if not tied:
            return f"Use {best}: {by} it comes first ({self.value(self.best)}), distinguishably before every other."
        text = f"{best} comes first {by} ({self.value(self.best)}), but {listing([self.names[i] for i in tied])} cannot be told from it."
        rows = self.table.model_evaluations.mean([d for d in self.table.model_evaluations.dims if d != "method"]).values
        cheap = min(fair, key=lambda i: rows[i])
        if np.isfinite(rows[fair]).all() and rows[cheap] <= rows[self.best] / 2:
            text += f" Of these {self.names[cheap]} asks least of the model ({rows[cheap]:.4g} rows a sample)."
        return text

    def against_controls(self) -> list[str]:
        """The controls, and which methods are no better than they, in sentences."""
        poor = {self.names[i]: c for i in self.methods if i != self.best and (c := self.beaten_by_chance(i))}
        chance = [f"{self.names[c]} {self.value(c)}" for c in np.flatnonzero(self.control).tolist()]
        out = [f"Controls: {listing(chance)}."] if chance else []
        if poor:
            out.append(
                f"Not to be told from a control, or worse: {listing([f'{k} ({listing(c)})' for k, c in poor.items()])}."
            )
        return out


def _over_budget(table: xr.Dataset, most: Mapping[str, int]) -> list[str]:
    """Which methods take more rows of the model than the budget allows, in a sentence."""
    if "over_budget" not in table or not table.over_budget.any():
        return []
    took = table.model_evaluations.max([d for d in table.model_evaluations.dims if d != "method"])
    over = [
        f"{name} (up to {rows if rows > table.attrs['budget'] else most[name]:.4g})"
        for name, rows, over in zip(table.method.values.tolist(), took.values.tolist(), table.over_budget.values)
        if over
    ]
    return [
        f"Over the budget of {table.attrs['budget']} rows a sample, and so left out of this recommendation: {listing(over)}."
    ]


def _fills(table: xr.Dataset, v: Standing) -> str:
    from scipy.stats import spearmanr

    values = table[v.measure]
    if "fill" not in values.dims or table.sizes["fill"] < 2:
        return "Only one fill was used: the order may be that fill's doing." if "fill" in values.dims else ""
    values = values.sel(ranking=v.ranking) if "ranking" in values.dims else values
    cells = (
        v.sign * values.mean([d for d in values.dims if d not in ("method", "fill")]).transpose("method", "fill").values
    )
    own = pairs.left_out(table.own_fill.values)
    leaders = {}
    for f, name in enumerate(table.fill.values.tolist()):
        column = np.where(own[:, f] | v.left_out | np.isnan(cells[:, f]), -np.inf, cells[:, f])
        leaders[name] = v.names[int(column.argmax())]
    other = {k: w for k, w in leaders.items() if w != v.names[v.best]}
    if not other:
        text = f"Every fill ({listing(list(leaders))}) puts {v.names[v.best]} first."
    elif len(set(leaders.values())) == 1:
        first = leaders.popitem()[1]
        text = (
            f"Each fill by itself ({listing(list(other))}) puts {first} before the other methods that are not of its own "
            f"kind; over all fills {v.names[v.best]} comes first."
        )
    else:
        text = f"The fills do not agree on the first: {listing([f'{w} under {k}' for k, w in other.items()])}."
    rest = np.flatnonzero(~v.left_out)
    if len(rest) > 2:
        r = [spearmanr(cells[rest, a], cells[rest, b]).statistic for a, b in zip(*np.triu_indices(cells.shape[1], 1))]
        text += f" The orders of the methods under two fills correlate by {np.nanmean(r):.2f} on average (Spearman)."
    if table.own_fill.values.any() and not own.any():
        text += " The fills of a method's own kind could not be left out: too few others. Add a fill of another kind."
    return text


def _rankings(table: xr.Dataset, v: Standing) -> list[str]:
    out = []
    for ranking in table.ranking.values[1:]:
        w = Standing(table, v.measure, str(ranking))
        if w.methods and w.best != v.best:
            sure = "and can be told from it" if w.surely_better(w.best, v.best) else "but cannot be told from it"
            out.append(f"With {ranking} ranking {w.names[w.best]} comes before {v.names[v.best]}, {sure}.")
    return out


def _other_measures(table: xr.Dataset, v: Standing, measures: Sequence[str]) -> list[str]:
    firsts: dict[str, list[str]] = {}
    for measure in measures:
        w = Standing(table, measure, v.ranking)
        # Completeness is a property of a method's definition, and no test of which map is right.
        if (
            measure != v.measure
            and measure != "completeness"
            and w.methods
            and w.best != v.best
            and w.surely_better(w.best, v.best)
        ):
            firsts.setdefault(w.names[w.best], []).append(words_of(measure))
    return [f"{name} is distinguishably better by {listing(by)}." for name, by in firsts.items()]


def _agreement(table: xr.Dataset, v: Standing) -> list[str]:
    rest = np.flatnonzero(~v.left_out)
    if "agreement" not in table or len(rest) < 2:
        return []
    r = table.agreement.values[np.ix_(rest, rest)][np.triu_indices(len(rest), 1)]
    if not np.isfinite(r).any():
        return []
    text = f"The maps' rank correlations run from {np.nanmin(r):.2f} to {np.nanmax(r):.2f}, {np.nanmedian(r):.2f} in the middle"
    return [text + (": they are not interchangeable." if np.nanmedian(r) < 0.7 else ".")]


def _caveats(table: xr.Dataset, v: Standing, sample: str) -> str:
    n, blocks = table.sizes[sample], int(table.attrs.get("blocks", table.sizes[sample]))
    of = f"{n} sample{'s' if n > 1 else ''}" + (f" in {blocks} blocks" if blocks != n else "")
    out = [f"This holds for this model and {of}."]
    if blocks < _FEW:
        what = "samples" if blocks == n else "blocks"
        out.append(
            f"With fewer than {_FEW} {what} the intervals (Student's t) are wide, and rough where scores are skewed; gather more "
            "before relying on them."
        )
    rows = table.model_evaluations.mean(sample).values[~v.left_out]
    if np.isfinite(rows).all() and len(rows) and rows.max() > 2 * rows.min() and "budget" not in table.attrs:
        out.append(
            f"The methods did not have the same budget ({rows.min():.4g} to {rows.max():.4g} rows a sample); budget=... gives "
            "them one."
        )
    lost = int(
        table[v.measure]
        .isel(method=np.flatnonzero(~v.left_out))
        .isnull()
        .any([d for d in table[v.measure].dims if d != sample])
        .sum()
    )
    if lost:
        out.append(f"{lost} samples without a map or a finite output were left out.")
    if "fill_shift" in table:
        far = [f"{k} ({s:.0%})" for k, s in zip(table.fill.values, table.fill_shift.values) if s > 0.1]
        if far:
            out.append(
                f"Beyond the 99th percentile of clean data lie the removals by {listing(far)}: the model may answer for that."
            )
    out.append("Removal shows what the model reacts to, which need not be what is so in the world.")
    return " ".join(out)


def words_of(measure: str) -> str:
    """A measure's name as words.

    >>> words_of("cumulative_deletion")
    'cumulative deletion'
    """
    return measure.replace("_", " ")


def listing(items: Sequence[Any]) -> str:
    """Items as an English list.

    >>> listing(["a", "b", "c"])
    'a, b and c'
    """
    texts = [str(i) for i in items]
    return texts[0] if len(texts) == 1 else f"{', '.join(texts[:-1])} and {texts[-1]}"
