"""The section of a report on what acts together: pairs of groups, as `tsattr.ShapleyInteractions` gives them."""

from __future__ import annotations

import numpy as np
import xarray as xr

from .. import plot
from ..plot.pairs import averaged
from . import markup
from .markup import number, percent

MOST_ROWS = 10
_ROUNDING = 1e-6  # of all that the groups contribute, which outputs in single precision may leave in the pairs
_NOTE = (
    "A pair's value is what the two contribute together beyond what each contributes by itself: positive where together they move the "
    "prediction further up than both apart, negative where one does what the other does too, or they work against each other. "
    "It is a property of the model, and no interaction in the patient or the climate."
)


def together(ds: xr.Dataset) -> list[str]:
    """Return mains and the largest pairs in words, a picture and a table, as pieces of HTML; nothing without interactions."""
    if "interaction" not in ds:
        return []
    several = "target" in ds.dims
    one = ds.isel(target=0, drop=True) if several else ds
    of = f" for {ds['target'].values[0]}, the first target," if several else ""
    n = one.sizes["sample"]
    over = f"mean over {n} samples" if n > 1 else "this sample"
    names = [str(v) for v in one["group"].values]
    pairs = one["interaction"].transpose("sample", "group", "group_b").values
    mains = one["group_value"].transpose("sample", "group").values
    first, second = np.triu_indices(len(names), 1)
    of_pairs = np.nan_to_num(pairs[:, first, second])
    # A group that does not play in a sample says nothing there: the mean is over those where both do, as in the picture.
    told = averaged(one)
    mean, half, apart = (np.nan_to_num(v)[first, second] for v in (told.mean, told.high - told.mean, told.apart))
    # By size: a pair that speaks for the target in one sample and against it in the next has a mean of nothing.
    size_of = np.nan_to_num(abs(one["interaction"]).mean("sample").transpose("group", "group_b").values)[first, second]
    order = np.argsort(-size_of, kind="stable")[:MOST_ROWS]
    size = np.nan_to_num(abs(mains)).sum() + abs(of_pairs).sum()
    if not len(order) or not size > 0:
        return []
    share = float(abs(of_pairs).sum() / size)
    if share < _ROUNDING:
        sentence = f"No two groups act together{of.rstrip(',')}: each contributes by itself, whatever the others do."
        return [markup.paragraph(sentence)]
    best = order[0]
    value = number(float(mean[best]))
    sentence = (
        f"Pairs make{of} {percent(share)} of all that the groups contribute, by size. The largest ({over}) is {names[first[best]]} with "
        f"{names[second[best]]}: {value}{f', {number(float(size_of[best]))} by size' if n > 1 else ''}."
    )
    columns = {"together": mean}
    if n > 1:
        columns["by size"] = size_of
    if half.any():
        sentence += (
            f" {int(apart.sum())} of {len(mean)} pairs {'have a mean that can' if n > 1 else 'can'} be told from 0."
        )
        columns["±, 95 % of the mean" if n > 1 else "±, two standard errors"] = half
    rows = [(names[first[k]], names[second[k]], *(number(float(v[k])) for v in columns.values())) for k in order]
    alt = (
        f"Matrix of {len(names)} groups, each by itself on the diagonal, and a network of the largest pairs. {sentence}"
    )
    return [
        markup.paragraph(sentence),
        markup.picture(plot.pairs(one), alt, f"Groups by themselves and in pairs, {over}."),
        markup.table(f"The largest pairs by size, {over}", ("group", "with", *columns), rows),
        markup.paragraph(_NOTE),
    ]
