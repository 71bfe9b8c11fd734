"""The section of a report on what was not measured: how much of the attribution lies on cells without a value."""

from __future__ import annotations

from collections.abc import Hashable
from typing import NamedTuple

import numpy as np
import pandas as pd
import xarray as xr

from ..core.cf import role
from . import markup
from .markup import number, percent
from .material import Input, cell_dims, sample_name

MOST_ROWS, MOST_NAMES = 50, 3
_WHAT = (
    "There the model goes by the fact that nothing was measured, which may say more of who decides to measure than of what would "
    "have been found."
)
_AS_IT_IS = (
    " Absent means not measured here, so what nobody measured is as it is: each number says what a measurement moved beside its not "
    "having been made."
)
_NOTE = (
    "The attribution of a value that was not measured is what its being missing moved, beside what the baseline puts in its place. "
    "By size: the sum of absolute attribution over these values, as a share of that over all."
)


class Gaps(NamedTuple):
    """The attribution (of the first target) of one input, and where it is that of a cell without a value."""

    name: str
    attribution: xr.DataArray
    missing: xr.DataArray

    @classmethod
    def of(cls, part: Input) -> Gaps:
        """Where cells of an input have no value, and have attribution nevertheless."""
        maps = part.attribution
        maps = maps.isel(target=0, drop=True) if "target" in maps.dims else maps
        nothing = part.signal.copy(data=np.asarray(pd.isna(part.signal.values), bool)).transpose(*maps.dims)
        return cls(part.name, maps, nothing.drop_vars(list(nothing.coords)) & maps.notnull())

    @property
    def dim(self) -> Hashable | None:
        """The dim of columns, leads or the like, whose entries are told apart."""
        dims = [d for d in cell_dims(self.attribution) if role(d, self.attribution[d].attrs) is None]
        return next((d for d in dims if self.attribution.sizes[d] > 1), None)

    def sizes(self, *keep: Hashable) -> tuple[np.ndarray, np.ndarray]:
        """The sums of absolute attribution over cells without a value and over all, by the dims of `keep`."""
        size = abs(self.attribution)
        over = [d for d in size.dims if d not in keep]
        gone, whole = size.where(self.missing).sum(over, dtype="float64"), size.sum(over, dtype="float64")
        return gone.transpose(*keep).values, whole.transpose(*keep).values

    def names(self) -> list[str]:
        """The entries of `dim`, each with the name of the input where it has one."""
        entries = [""] if self.dim is None else [str(v) for v in self.attribution[self.dim].values]
        return [": ".join(filter(None, (self.name, entry))) or "the input" for entry in entries]


def unmeasured(inputs: list[Input], baseline: str, positions: list[int]) -> tuple[str, list[str]]:
    """Return a sentence on how much of the attribution comes from what was not measured, and the section, pieces of HTML.

    Both are empty where no cell without a value has attribution.

    Parameters
    ----------
    inputs
        The inputs with their attributions.
    baseline
        The name of the baseline's class; of `Missing`, absence is what these cells have.
    positions
        The samples that are drawn.
    """
    parts = [gaps for part in inputs if bool((gaps := Gaps.of(part)).missing.any())]
    if not parts:
        return "", []
    every = [Gaps.of(part) for part in inputs]
    gone, whole = (sum(float(v) for v in values) for values in zip(*(gaps.sizes() for gaps in every)))
    cells = sum(int(g.missing.sum()) for g in every) / sum(int(g.attribution.notnull().sum()) for g in every)
    rows = sorted((row for gaps in parts for row in _rows(gaps)), key=lambda row: -row[0])
    sentence = _sentence(gone, whole, cells, rows, baseline)
    if not gone > 0:
        return sentence, [markup.paragraph(sentence)]
    caption = "What was not measured: how often, and what comes of it"
    if len(rows) > MOST_ROWS:
        caption += f": the {MOST_ROWS} with the most of {len(rows)}"
    head = ("what", "not measured", "share of its attribution that comes from these", "move the target by, mean")
    table = markup.table(caption, head, [row[1:] for row in rows[:MOST_ROWS]])
    drawn = [_of_sample(every, i) for i in positions]
    told = [markup.bullets(texts)] if (texts := [text for text in drawn if text]) else []
    return sentence, [markup.paragraph(sentence), table, *told, markup.paragraph(_NOTE)]


def _sentence(
    gone: float, whole: float, cells: float, rows: list[tuple[float, str, str, str, str]], baseline: str
) -> str:
    """Return how much of the attribution comes from what was not measured, in words."""
    if not gone > 0:
        why = _AS_IT_IS if baseline == "Missing" else ""
        return f"{percent(cells)} of the values were not measured, and none of the attribution comes from them.{why}"
    most = f", most of it from {rows[0][1]}" if len(rows) > 1 else f", from {rows[0][1]}"
    return (
        f"{percent(gone / whole)} of the attribution, by size, comes from values that were not measured ({percent(cells)} of all "
        f"values){most}. {_WHAT}"
    )


def _rows(gaps: Gaps) -> list[tuple[float, str, str, str, str]]:
    """Return the size, the name and the numbers of each entry that was not measured somewhere."""
    keep = () if gaps.dim is None else (gaps.dim,)
    over = [d for d in gaps.attribution.dims if d not in keep]
    gone, whole = gaps.sizes(*keep)
    share = (gaps.missing.sum(over) / gaps.attribution.notnull().sum(over)).values
    mean = gaps.attribution.where(gaps.missing).mean(over, dtype="float64").values
    columns = zip(*(np.atleast_1d(a).tolist() for a in (gone, whole, share, mean)), gaps.names())
    return [
        (lost, name, percent(often), percent(lost / all_of_it if all_of_it else 0.0), number(moved))
        for lost, all_of_it, often, moved, name in columns
        if often > 0
    ]


def _of_sample(every: list[Gaps], i: int) -> str:
    """Return a sentence on one sample; nothing where all of it was measured."""
    here = [Gaps(g.name, g.attribution.isel(sample=[i]), g.missing.isel(sample=[i])) for g in every]
    gone, whole = (sum(float(v) for v in values) for values in zip(*(gaps.sizes() for gaps in here)))
    rows = sorted((row for gaps in here for row in _rows(gaps) if row[0] > 0), key=lambda row: -row[0])
    if not rows:
        return ""
    names = ", ".join(row[1] for row in rows[:MOST_NAMES]) + (", ..." if len(rows) > MOST_NAMES else "")
    return f"Sample {sample_name(every[0].attribution, i)}: {percent(gone / whole)} of its attribution, from {names}."
