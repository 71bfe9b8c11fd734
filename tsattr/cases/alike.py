"""Why two cases are alike to a model: the similarity of their embeddings as a model that any method explains."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import torch
import xarray as xr
from torch import Tensor

from ..core.method import Method
from ..core.targets.entries import Output
from ..edge.explained import explained
from ..edge.settings import DEFAULTS
from ..edge.warning import said_once
from ..labels import parsing
from ..labels.inputs import Inputs
from . import stored
from .contents import embeddings
from .embedding import Embedder, EmbedSettings
from .neighbours import NEIGHBOUR

OF_CASE = "_of_case"
_OTHER = "embedding_of_the_other"


class WhySettings(EmbedSettings, total=False):
    """What an explanation of a similarity takes beside; see :func:`tsattr.explain`."""

    reference: Any
    seed: int


WHY: dict[str, Any] = {name: DEFAULTS[name] for name in WhySettings.__annotations__}


def similarity(a: Tensor, b: Tensor, metric: str) -> Tensor:
    """(rows,) the cosine of the angle between rows, 0 where one is all zero; or minus their squared Euclidean distance.

    >>> similarity(torch.tensor([[3.0, 4.0]]), torch.tensor([[3.0, 0.0]]), "cosine").item()
    0.6
    """
    a, b = (v.reshape(len(v), -1).to(torch.float64) for v in (a, b))
    if metric == "euclidean":
        return -(a - b).square().sum(1)
    return torch.nn.functional.cosine_similarity(a, b, dim=1)


def why(
    embedder: Embedder,
    metric: str,
    inputs: Inputs,
    others: np.ndarray,
    method: Method,
    settings: Mapping[str, Any],
) -> xr.Dataset:
    """Explain the similarity of each sample to one other embedding, which is held fixed.

    Parameters
    ----------
    others
        (samples, numbers): for each sample the embedding that it is compared with.
    """
    call = embedder.call(inputs, {**settings, "target": Output()}, method)
    inner, on_frame = call.model.call, call.model.on_frame

    def compared(rows: Tensor, context: dict[str, Tensor], position: Tensor) -> Any:
        own = {name: v for name, v in context.items() if name != _OTHER}
        a = inner(rows, own, position)
        return similarity(a, context[_OTHER].to(a.device), metric) if isinstance(a, Tensor) else a

    def compared_frame(frame: Any, context: dict[str, Tensor]) -> Tensor:
        assert on_frame is not None
        own = {name: v for name, v in context.items() if name != _OTHER}
        return similarity(on_frame(frame, own), context[_OTHER], metric)

    model = replace(
        call.model,
        call=compared,
        name=f"{_named(metric)} of embeddings by {embedder.name}",
        on_frame=None if on_frame is None else compared_frame,
        labels=None,
        outputs=None,
        scale="value",
    )
    context = call.context | {_OTHER: torch.as_tensor(others, dtype=torch.float64)}
    return explained(replace(call, model=model, context=context), method)


def both_sides(
    embedder: Embedder,
    data: xr.Dataset,
    inputs: Inputs,
    own: np.ndarray,
    near: xr.Dataset,
    method: Method,
    settings: Mapping[str, Any],
) -> xr.Dataset:
    """Why samples and their neighbours are alike, to the samples and, where these are kept, to the cases.

    Parameters
    ----------
    data, near
        Of the gallery, and the neighbours that it found.
    own
        (samples, numbers): the embeddings of the samples.
    """
    kind, embedding = str(data.attrs["metric"]), embeddings(data)
    queries, cases, check = [], [], settings["check"]
    with said_once():
        for at in np.maximum(near["position"].values, 0).T:  # the first case stands for one that is not there
            asked = {**settings, "check": check}
            queries.append(why(embedder, kind, inputs, embedding[at], method, asked))
            if stored.is_kept(data):
                theirs, kept = _cases(data, at, inputs)
                cases.append(why(embedder, kind, theirs, own, method, {**asked, "context": None, **kept}))
            check = False  # of the same model
    found = _joined(queries, near)
    attrs = {"target": _named(kind), "metric": kind, "layer": embedder.layer}
    attrs |= {name: near.attrs[name] for name in ("cases", "left_out") if name in near.attrs}
    if cases:
        found = found.merge(_renamed(_joined(cases, near), found), combine_attrs="override")
    return found.assign({str(k): v.variable for k, v in near.data_vars.items() if k != "status"}).assign_attrs(attrs)


def _named(metric: str) -> str:
    return "cosine similarity" if metric == "cosine" else "minus squared distance"


def _cases(data: xr.Dataset, at: np.ndarray, inputs: Inputs) -> tuple[Inputs, dict[str, Any]]:
    """The cases at some positions, in the places and with the labels of the samples that they are compared with."""
    x, kept = stored.restore(data, at, inputs.sample_dim)
    if isinstance(x, pd.DataFrame) and inputs.codes is not None:
        x.index = inputs.codes.frame.index
    elif not isinstance(x, pd.DataFrame):
        x = x.assign_coords(inputs.sample_coords())
        order = inputs.variables[0].dims
        x = x.transpose(*order) if set(x.dims) == set(order) else x
    return parsing.read(x, None, inputs.sample_dim, kept.pop("valid", None)), kept


def _joined(parts: Sequence[xr.Dataset], near: xr.Dataset) -> xr.Dataset:
    """The results for the first, second, ... neighbours along `neighbour`, after the sample dim; none where there is none."""
    joined = xr.concat(parts, pd.Index(near[NEIGHBOUR].values, name=NEIGHBOUR), combine_attrs="override")
    sample = str(near["position"].dims[0])
    there = near["position"].reset_coords(drop=True) >= 0
    out = {}
    for name, v in joined.data_vars.items():
        dims = [d for d in v.dims if d != NEIGHBOUR]
        place = dims.index(sample) + 1 if sample in dims else 0
        v = v.transpose(*dims[:place], NEIGHBOUR, *dims[place:])
        if sample in dims and name == "status":
            v = v.where(there, "no case")
        elif sample in dims and v.dtype.kind == "f":
            v = v.where(there)
        out[name] = v.variable  # labels are those of `joined`
    return joined.assign(out)


def _renamed(cases: xr.Dataset, samples: xr.Dataset) -> xr.Dataset:
    """The results for the cases by names of their own; so are dims on which they have other cells than the samples."""
    other = [
        str(d)
        for d in cases.dims
        if d in samples.dims and (cases.sizes[d] != samples.sizes[d] or not _same_labels(cases, samples, str(d)))
    ]
    beside = [k for k, c in cases.coords.items() if k not in cases.xindexes and not set(c.dims) & set(other)]
    cases = cases.drop_vars(beside)
    moved = [*other, *(k for k in cases.coords if k not in cases.xindexes), *cases.data_vars]
    return cases.rename({name: f"{name}{OF_CASE}" for name in moved})


def _same_labels(a: xr.Dataset, b: xr.Dataset, dim: str) -> bool:
    return bool(a[dim].equals(b[dim])) if dim in a.coords and dim in b.coords else dim not in a.coords
