"""What stands for absence: the baseline itself, and what the model says of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
import xarray as xr

from .. import plot
from ..core.method import Method
from ..core.results import EVENT, Field
from ..core.samples import SampleChunk
from ..core.targets import Each
from ..explain import explain
from . import markup
from .markup import number
from .material import sample_name
from .pictures import _is_ecg


@dataclass(frozen=True)
class _Baseline(Method):
    """The baseline in place of a map, and the targets there; of a random baseline its first draw."""

    baseline: Any
    gradient: ClassVar[bool] = False
    binds: ClassVar = {"baseline": "baseline"}

    def __call__(self, samples: SampleChunk) -> dict[str, Field]:
        i = torch.arange(samples.n, device=samples.x.device)
        rows = samples.fill(self.baseline, i, torch.zeros_like(i))
        there = torch.empty(samples.n, samples.targets, dtype=torch.float64, device=i.device)
        for at, v in samples.values(i, rows.__getitem__):
            there[at] = v
        maps = rows[:, None].expand(samples.n, samples.targets, *samples.event)
        return {"attribution": Field(("target", EVENT), maps), "reference": Field(("target",), there)}

    def rows(self) -> tuple[int, int]:
        return 2, 2


def at_baseline(model: Any, x: xr.DataArray, baseline: Any, **settings: Any) -> xr.Dataset:
    """Return the baseline of each sample, and every output of the model at the sample and at its baseline.

    For ``report(ds, x, at_baseline=...)``, which shows the baseline and says where the model takes it for a case of a class.

    Parameters
    ----------
    model, x, **settings
        As of `tsattr.explain`, without a method and a target. `x` is one array.
    baseline : Baseline
        Of a random one the first draw is shown.

    Returns
    -------
    Dataset
        ``baseline`` with the dims of `x`; ``model_output`` and ``baseline_output`` with the sample dim and the outputs' own.

    Examples
    --------
    >>> import tsattr as ta, torch, xarray as xr
    >>> x = xr.DataArray([[1.0, 3.0]], dims=("sample", "time"))
    >>> found = at_baseline(lambda x: torch.stack([x.sum(1), 1 - x.sum(1)], 1), x, ta.baselines.Constant(0.0))
    >>> found.model_output.values.tolist(), found.baseline_output.values.tolist(), found.baseline.values.tolist()
    ([[4.0, -3.0]], [[0.0, 1.0]], [[0.0, 0.0]])
    """
    ds = explain(model, x, _Baseline(baseline), target=Each(), **settings)
    names = {"attribution": "baseline", "prediction": "model_output", "reference": "baseline_output"}
    found = ds[list(names)].rename(names)
    outputs = [d for d in found["model_output"].dims if d not in x.dims]
    found["baseline"] = found["baseline"].isel(dict.fromkeys(outputs, 0), drop=True).assign_attrs(x.attrs)
    return found.assign_attrs(baseline=repr(baseline))


def absence(found: xr.Dataset | None, positions: list[int]) -> list[str]:
    """Return the section on the baseline: what the model calls it, and its picture, of each sample at `positions`."""
    if found is None:
        return []
    parts = []
    for i in [i for i in positions if i < found.sizes["sample"]]:
        one, name = found.isel(sample=i), sample_name(found, i)
        parts.append(markup.paragraph(f"Sample {name}: {verdict(one)}"))
        x = one["baseline"]
        if "time" in x.dims and x.ndim <= 2:
            figure = plot.ecg(x, layout="12x1") if "lead" in x.dims and _is_ecg(x) else plot.trace(x)
            caption = f"The baseline of sample {name}: what stands for absence, {found.attrs.get('baseline', '')}."
            parts.append(markup.picture(figure, caption, caption))
    return parts


def verdict(one: xr.Dataset) -> str:
    """Return what a model says of the baseline of one sample, and whether it is there a case of a class of its own."""
    y, y0 = one["model_output"], one["baseline_output"]
    if y.ndim != 1 or y.size < 2 or not bool(np.isfinite(y0).all()):
        values = ", ".join(number(float(v), 3) for v in np.ravel(y0.values)[:6])
        return f"at the baseline the model gives {values}."
    k = int(y0.values.argmax())
    name = y0[y0.dims[0]].values[k] if y0.dims[0] in y0.coords else k
    here, there = number(float(y[k]), 3), number(float(y0[k]), 3)
    if float(y0[k]) <= float(y[k]):
        return f"the baseline is called {name} at {there}, the record has {here} for it."
    return (
        f"the baseline is called {name} at {there}, the record at {here}: to this model it is no absence but a clearer case of "
        f"{name} than the record is. Attribution then says what speaks for or against {name}; compare another baseline."
    )
