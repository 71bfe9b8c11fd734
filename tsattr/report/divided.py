"""The section of a report on an input that is a sum of parts: which part the target rests on, and when."""

from __future__ import annotations

import numpy as np
import xarray as xr
from scipy import stats

from .. import plot
from ..core.cf import time_dim
from ..parts.summing import EDGE, PART
from ..plot.shade import is_the_models_own
from . import markup, sections, tables
from .markup import number, percent
from .material import Input, cell_dims, sample_name

_SUM = "The parts sum to the signal; what each contributes when all are there is its number."
_ALIKE = (
    "The map is the same for every part: this method asks what a small change would do, and a change is the same whichever part it is "
    "made in. Ask by a method that multiplies by the input, or that takes parts away."
)


def divided(ds: xr.Dataset, inputs: list[Input], positions: list[int]) -> tuple[str, list[str]]:
    """Return a sentence on the part that the target rests on most, and the section, pieces of HTML.

    Both are empty where no input is a sum of parts.

    Parameters
    ----------
    ds
        The result.
    inputs
        The inputs with their attributions.
    positions
        The samples that are drawn.
    """
    found = [part for part in inputs if part.attribution.sizes.get(PART, 1) > 1]
    if not found or not bool(found[0].attribution.notnull().any()) or is_the_models_own(found[0].attribution):
        return "", []
    maps = found[0].attribution
    maps = maps.isel(target=0, drop=True) if "target" in maps.dims else maps
    if float((maps.max(PART) - maps.min(PART)).max()) == 0 and float(abs(maps).max()) > 0:
        return _ALIKE, [markup.paragraph(_ALIKE)]
    others = [d for d in cell_dims(maps) if d != PART]
    sums = maps.sum(others, min_count=1, dtype="float64").transpose("sample", PART)
    mean, error, whiskers = _with_error(ds, sums)
    n, known = len(sums), int(sums.notnull().all(PART).sum())
    over = f"mean over {known if known == n else f'{known} of {n}'} samples" if n > 1 else "this sample"
    sentence = _sentence(mean, error if n > 1 else None, over)
    size = abs(maps).sum(others, min_count=1, dtype="float64").mean("sample")
    caption = f"What each part contributes, {over}{whiskers}."
    drawn = sections.bars(xr.Dataset({"signed": mean, "absolute": size}), caption, maps, error=error)
    return sentence, [markup.paragraph(f"{sentence} {_SUM}"), *drawn, *_when(maps, positions), *_assumed(maps)]


def _with_error(ds: xr.Dataset, sums: xr.DataArray) -> tuple[xr.DataArray, xr.DataArray | None, str]:
    """The mean of each part over the samples, its error and what that is; of one sample the standard error, where parts are groups."""
    mean, n = sums.mean("sample"), sums.count("sample")
    if len(sums) > 1:
        half = stats.t.ppf(0.975, np.maximum(n - 1, 1)) * sums.std("sample", ddof=1) / np.sqrt(n)
        return mean, half, "; whiskers: 95 % interval of the mean"
    if "group_standard_error" not in ds or not tables.groups_are_parts(ds):
        return mean, None, ""
    error = ds["group_standard_error"]
    error = error.isel(target=0, drop=True) if "target" in error.dims else error
    return mean, error.isel(sample=0, drop=True).rename(group=PART), "; whiskers: standard error of the draws"


def _sentence(mean: xr.DataArray, half: xr.DataArray | None, over: str) -> str:
    """Return which part the target rests on most, in words."""
    size = abs(mean).fillna(0).values
    if not size.sum() > 0:
        return "No part of the signal moves the target."
    k = int(size.argmax())
    name = mean[PART].values[k] if PART in mean.coords else k
    value, within = float(mean[k]), ""
    if half is not None and np.isfinite(half[k]):
        low, high = (number(value + sign * float(half[k]), 4) for sign in (-1, 1))
        within = f", 95 % interval {low} to {high}"
    return (
        f"The part of the signal that the target rests on most is {name}: it moves the target by {number(value, 4)} ({over}{within}), "
        f"{percent(float(size[k] / size.sum()))} of all that the parts contribute, by size."
    )


def _when(maps: xr.DataArray, positions: list[int]) -> list[str]:
    """Return a picture of parts by time for each sample drawn, nothing where there is no time or nothing changes along it."""
    time = time_dim(maps, map(str, cell_dims(maps)))
    if time is None or maps.sizes[time] < 2 or not positions:
        return []
    over = [d for d in cell_dims(maps) if d not in (PART, time)]
    drawn = maps.isel(sample=positions).sum(over, min_count=1).transpose("sample", PART, time)
    if np.allclose(drawn.max(time), drawn.min(time), rtol=1e-9, atol=0, equal_nan=True):
        return []
    summed = f", summed over {' and '.join(map(str, over))}" if over else ""
    names = ", ".join(sample_name(maps, i) for i in positions)
    which = f"sample{'s' if len(positions) > 1 else ''} {names}"
    caption = (
        f"What each part contributes when, {which}{summed}: across, {time}; upward, the parts. Orange speaks for the target, blue "
        "against it."
    )
    return [markup.picture(plot.field(drawn.assign_attrs(maps.attrs)), f"Heat map. {caption}", caption)]


def _assumed(maps: xr.DataArray) -> list[str]:
    """Return what the parts take for what is not known, and how much of the attribution rests on it."""
    assumes = str(maps[PART].attrs.get("assumes", "")) if PART in maps.coords else ""
    if not assumes:
        return []
    text = f"What is taken for granted by this division: {assumes}."
    if EDGE in maps.coords:
        size = abs(maps)
        share = float(size.where(maps[EDGE]).sum() / size.sum()) if float(size.sum()) > 0 else 0.0
        text += f" By size, {percent(share)} of the attribution lies in cells near an end or a gap, which rest on that."
    return [markup.paragraph(text)]
