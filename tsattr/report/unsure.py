"""The section of a report on what makes a model unsure: a result of `explain` for `tsattr.targets.Uncertainty`."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import xarray as xr

from ..core.cf import role
from . import markup, sections
from .markup import number, percent
from .material import all_inputs, cell_dims, sample_name, with_sample_dim
from .pictures import OF_UNCERTAINTY, one_picture

_KINDS = {
    "entropy": "how undecided the prediction is in all, in nats: the sum of expected entropy and mutual information",
    "expected_entropy": "how undecided each member is, in nats: what the data leave open",
    "mutual_information": "how far the members disagree, in nats: what the model does not know",
    "variance": "the variance of the prediction in all",
    "expected_variance": "the variance that the members predict: what the data leave open",
    "variance_of_means": "the variance between the members: what the model does not know",
}
_NOTE = (
    "The map shows what the model's doubt rests on: without a part in orange it would be surer. That is no error found: a model may be "
    "sure and wrong, and what it has never met may leave it sure."
)
MOST_ROWS = 12


def unsure(ds: xr.Dataset, x: Any) -> list[str]:
    """Return how unsure the model is of each sample, and where what makes it so lies, as pieces of HTML.

    Parameters
    ----------
    ds : Dataset
        A result of `tsattr.explain` for `tsattr.targets.Uncertainty`, or for several; the first is drawn.
    x : DataArray, Dataset, DataFrame or array
        The input that was explained; where `ds` holds it as its variable ``input``, that is taken.
    """
    ds, x = with_sample_dim(ds, ds.get("input", x))
    labels = _labels(ds)
    asked = str(ds.attrs.get("target_definition") or ds.attrs.get("target", "none"))
    if "Uncertainty(" not in asked:
        raise ValueError(
            f"unsure is a result of explain for a target tsattr.targets.Uncertainty(...), got one for {asked}"
        )
    values = ds["prediction"].transpose("sample", ...).values.reshape(ds.sizes["sample"], -1)
    members = "" if "prediction_sd" in ds else str(ds.attrs.get("members", ""))  # of several seeds, these
    of = f" {len(members.split(', '))} members are asked together." if members else ""
    definitions = [(name, _meaning(text), text) for name, text in labels.items()]
    least_sure = int(np.nanargmax(values[:, 0])) if np.isfinite(values[:, 0]).any() else 0
    parts = [
        markup.paragraph(f"What is explained here is how unsure the model is, not what it predicts.{of}"),
        markup.terms(definitions),
    ]
    part, *others = all_inputs(ds, x, None)
    map_ = part.attribution.isel(target=0, drop=True) if "target" in part.attribution.dims else part.attribution
    cells = cell_dims(map_)
    dim = next((d for d in cells if role(d, map_[d].attrs) is None and map_.sizes[d] > 1), None)
    sums = None if dim is None else map_.sum([d for d in cells if d != dim])
    if others:
        left = " and ".join(other.name for other in others)
        parts.append(markup.paragraph(f"Shown is the input {part.name}; what comes of {left} is not in these sums."))
    parts.append(_table(ds, list(labels), values, sums))
    if sums is not None:
        both = xr.Dataset({"signed": sums, "absolute": abs(map_).sum([d for d in cells if d != dim])}).mean("sample")
        parts += sections.bars(both, f"What makes it unsure: sums per {dim}, mean over samples.", map_)
    name = sample_name(ds, least_sure)
    figure, caption = one_picture(
        map_.isel(sample=least_sure, drop=True),
        part.signal.isel(sample=least_sure, drop=True),
        None,
        colours=OF_UNCERTAINTY,
    )
    of_first = f"{next(iter(labels))} {number(float(values[least_sure, 0]))}"
    parts.append(markup.heading(f"Sample {name}, of which it is least sure ({of_first})"))
    parts.append(markup.picture(figure, f"What makes the model unsure of sample {name}. {caption}", caption))
    return [*parts, markup.paragraph(_NOTE)]


def _labels(ds: xr.Dataset) -> dict[str, str]:
    """The name of each target, and how it is written."""
    target = str(ds.attrs.get("target", "uncertainty"))
    names = [str(v) for v in ds["target"].values] if "target" in ds.dims else [target]
    written = dict(
        part.split(": ", 1) for part in str(ds.attrs.get("target_definition", "")).split("; ") if ": " in part
    )
    return {_short(name): written.get(name, name) for name in names}


def _short(name: str) -> str:
    """A target's name without what every one of them has."""
    found = re.fullmatch(r"Uncertainty\('(\w+)'\)", name)
    return found[1].replace("_", " ") if found else name


def _meaning(text: str) -> str:
    found = re.match(r"Uncertainty\('(\w+)'", text)
    return _KINDS.get(found[1], "") if found else ""


def _table(ds: xr.Dataset, names: list[str], values: np.ndarray, sums: xr.DataArray | None) -> str:
    """Return the uncertainty of each sample, the least sure first, and the part that most makes it so."""
    order = np.argsort(-np.nan_to_num(values[:, 0], nan=-np.inf), kind="stable")[:MOST_ROWS]
    rows = []
    for i in order:
        row = [sample_name(ds, int(i)), *(number(float(v)) for v in values[i])]
        rows.append((*row, *([] if sums is None else [_most(sums.isel(sample=int(i)))])))
    least = f"the {MOST_ROWS} of {len(values)} of which it is least sure" if len(values) > MOST_ROWS else "all samples"
    columns = ("sample", *names, *([] if sums is None else [f"{sums.dims[-1]} that most makes it unsure"]))
    return markup.table(f"How unsure the model is: {least}", columns, rows)


def _most(sums: xr.DataArray) -> str:
    """Return the entry with the largest sum, and its share of what makes the model unsure."""
    v = np.nan_to_num(sums.values.astype(float))
    if not (v > 0).any():
        return "none"
    name = sums[sums.dims[0]].values[v.argmax()] if sums.dims[0] in sums.coords else v.argmax()
    return f"{name} ({percent(float(v.max() / v[v > 0].sum()))})"
