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

_SUM = "The parts sum to the signal."
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
    first = f", for {maps['target'].values[0]}, the first target" if maps.sizes.get("target", 1) > 1 else ""
    maps = maps.isel(target=0, drop=True) if "target" in maps.dims else maps
    if float((maps.max(PART) - maps.min(PART)).max()) == 0 and float(abs(maps).max()) > 0:
        return _ALIKE, [markup.paragraph(_ALIKE)]
    values, sizes = _of_parts(ds, maps)
    mean, error, whiskers = _with_error(ds, values)
    n, known = len(values), int(values.notnull().all(PART).sum())
    over = f"mean over {known if known == n else f'{known} of {n}'} samples" if n > 1 else "this sample"
    over += first
    size = sizes.mean("sample")
    if "completeness_error" in ds or tables.groups_are_parts(ds):
        sentence, what = _sentence(mean, error if n > 1 else None, over), "What each part contributes"
    else:
        sentence, what = _by_size(size, over), "Sums of the map over each part"
    drawn = sections.bars(
        xr.Dataset({"signed": mean, "absolute": size}), f"{what}, {over}{whiskers}.", maps, error=error
    )
    when = _when(maps, positions, first)
    return sentence, [markup.paragraph(f"{sentence} {_SUM}"), *drawn, *when, *_assumed(maps)]


def _of_parts(ds: xr.Dataset, maps: xr.DataArray) -> tuple[xr.DataArray, xr.DataArray]:
    """The value and the size of each part (sample, part): of a group where parts are groups, else sums over the cells."""
    if tables.groups_are_parts(ds):
        found = ds["group_value"]
        found = found.isel(target=0, drop=True) if "target" in found.dims else found
        found = found.rename(group=PART).transpose("sample", PART)
        return found, abs(found)
    others = [d for d in cell_dims(maps) if d != PART]
    values, sizes = (a.sum(others, min_count=1, dtype="float64").transpose("sample", PART) for a in (maps, abs(maps)))
    return values, sizes


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
    value, within = float(mean[k]), ""
    if half is not None and np.isfinite(half[k]):
        low, high = (number(value + sign * float(half[k]), 4) for sign in (-1, 1))
        within = f", 95 % interval {low} to {high}"
    return (
        f"The part of the signal that the target rests on most is {_name(mean, k)}: it moves the target by {number(value, 4)} ({over}{within}), "
        f"{percent(float(size[k] / size.sum()))} of all that the parts contribute, by size."
    )


def _by_size(size: xr.DataArray, over: str) -> str:
    """Return which part has most of a map whose sums are no contributions, as of windows taken away, in words."""
    known = size.fillna(0).values
    if not known.sum() > 0:
        return "No part of the signal moves the target."
    k = int(known.argmax())
    share = percent(float(known[k] / known.sum()))
    return (
        f"The part of the signal with the most attribution is {_name(size, k)}: {share} of the whole, by size ({over})."
    )


def _name(values: xr.DataArray, k: int) -> str:
    return str(values[PART].values[k] if PART in values.coords else k)


def _when(maps: xr.DataArray, positions: list[int], first: str) -> list[str]:
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
        f"What each part contributes when, {which}{summed}{first}: across, {time}; upward, the parts. Orange speaks for the target, blue "
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
