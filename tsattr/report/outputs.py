"""The section of a report on several outputs: what each of them rests on, side by side."""

from __future__ import annotations

import numpy as np
import xarray as xr

from .. import plot
from ..core.cf import role
from ..plot.shade import is_the_models_own
from . import markup
from .markup import percent
from .material import Input, cell_dims

_MOST = 24  # entries of the input's dim, and outputs, that a picture has room for
_WORDS = 6  # outputs that are put into words


def by_output(inputs: list[Input]) -> list[str]:
    """Return a matrix of sizes by an entry of the input and an output, and a sentence; nothing for one output."""
    parts = []
    for part in inputs:
        size = _sizes(part.attribution)
        if size is not None:
            parts += _shown(size, part)
    return parts


def _sizes(attribution: xr.DataArray) -> xr.DataArray | None:
    """Mean size of attribution (entry, target), summed over the other dims of a map; None where there is nothing to set side by side."""
    if attribution.sizes.get("target", 1) < 2 or is_the_models_own(attribution):
        return None
    long = [d for d in cell_dims(attribution) if attribution.sizes[d] > 1]
    dims = [d for d in long if role(d, attribution[d].attrs) is None]
    if not dims:
        return None
    size = abs(attribution.astype("float64")).sum([d for d in cell_dims(attribution) if d != dims[0]], min_count=1)
    found = size.mean("sample").transpose(dims[0], "target")
    return found if float(found.sum()) > 0 else None


def _shown(size: xr.DataArray, part: Input) -> list[str]:
    dim, n = str(size.dims[0]), part.attribution.sizes["sample"]
    over = f"mean over {n} samples" if n > 1 else "this sample"
    names = size[dim].values if dim in size.coords else np.arange(size.sizes[dim])
    targets = size["target"].values if "target" in size.coords else np.arange(size.sizes["target"])
    total = size.sum(dim).values
    said = []
    for k in range(min(len(targets), _WORDS)):
        column = np.nan_to_num(size.values[:, k])
        if total[k] > 0:
            best = int(column.argmax())
            said.append(f"{targets[k]} rests most on {dim} {names[best]} ({percent(float(column[best] / total[k]))})")
    of = f" of {part.name}" if part.name else ""
    sentence = f"By the size of attribution{of} ({over}): {'; '.join(said)}."
    strongest = np.argsort(-size.sum("target").values, kind="stable")[:_MOST]
    named = np.asarray(names).dtype.kind not in "iufM"
    drawn = size.isel({dim: strongest[::-1] if named else np.sort(strongest), "target": slice(_MOST)})
    left = size.sizes["target"] - drawn.sizes["target"]
    caption = f"Size of attribution by {dim} and output, {over}" + (
        f"; {left} more outputs are left out." if left else "."
    )
    alt = f"Matrix of {drawn.sizes[dim]} entries of {dim} by {drawn.sizes['target']} outputs. {sentence}"
    figure = plot.field(drawn.rename(target="output"))
    bar = figure.axes[-1]
    bar.set_xlabel(f"size of attribution [{part.attribution.attrs.get('units') or 'units of the target'}]")
    bar.set_xlim(0, None)  # of sizes none is below
    return [markup.paragraph(sentence), markup.picture(figure, alt, caption)]
