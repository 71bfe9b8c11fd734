"""The table of the cases nearest to queries: labelled, some left out, and checked when it comes back."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from ..labels.inputs import Inputs
from . import search
from .contents import embeddings, metric, versions
from .labels import check_kinds, comparable, matched, order_of, taken
from .stored import CASE

NEIGHBOUR = "neighbour"


def table(data: xr.Dataset, a: xr.DataArray, k: int, apart: str | None, itself: bool) -> xr.Dataset:
    """The k cases of a gallery nearest to each query, of embedding `a` (sample, number), as `Gallery.nearest` returns them."""
    n = data.sizes[CASE]
    if k > n:
        raise ValueError(f"k={k} neighbours are asked for, and the gallery has {n} cases; give k of at most {n}")
    sample = str(a.dims[0])
    own = data[CASE].values if CASE in data.coords else None
    at, distance = search.nearest(
        embeddings(data),
        a.values,
        k,
        metric=metric(data),
        kin=_kin(data, a, apart, itself),
        rank=None if own is None else order_of(own),
    )
    dims = (sample, NEIGHBOUR)
    found: dict[str, Any] = {
        "case": (dims, at if own is None else taken(own, at)),
        "distance": (dims, distance, {"long_name": f"{metric(data)} distance"}),
        "position": (dims, at),
    }
    for name, c in data.coords.items():
        if c.dims == (CASE,) and name != CASE:
            found[f"case_{name}"] = (dims, taken(c.values, at), c.attrs)
    unknown = np.isnan(search.directions(a.values, metric(data))).any(1)
    found["status"] = ((sample,), np.where(unknown, "no embedding", np.where((at < 0).any(1), "fewer cases", "ok")))
    coords = {name: c for name, c in a.coords.items() if c.dims == (sample,)} | {NEIGHBOUR: np.arange(1, k + 1)}
    attrs = {name: v for name, v in data.attrs.items() if name != "format"} | versions()
    attrs |= {"cases": n, "left_out": _left_out(apart, itself)}
    return xr.Dataset(found, coords, attrs)


def check(near: xr.Dataset, inputs: Inputs, data: xr.Dataset) -> None:
    """ValueError for neighbours of other queries or of another gallery."""
    if not isinstance(near, xr.Dataset) or "position" not in near or near["position"].dims[1:] != (NEIGHBOUR,):
        raise ValueError("near is what gallery.nearest(q) returns, (sample, neighbour)")
    names = None if inputs.sample_coord is None else comparable(inputs.sample_coord)
    labels = comparable(near[inputs.sample_dim].values) if inputs.sample_dim in near.coords else None
    if near["position"].dims[0] != inputs.sample_dim or len(near["position"]) != inputs.n or names != labels:
        raise ValueError("near is of other queries than q; give gallery.nearest(q)")
    check_gallery(near, data)


def check_gallery(near: xr.Dataset, data: xr.Dataset) -> None:
    """ValueError for neighbours in another gallery."""
    own = data[CASE].values if CASE in data.coords else np.arange(data.sizes[CASE])
    at = near["position"].values
    if at.max() >= len(own) or comparable(own[at[at >= 0]]) != comparable(near["case"].values[at >= 0]):
        raise ValueError("the neighbours are of another gallery; give what this gallery's nearest(q) found")


def _kin(data: xr.Dataset, a: xr.DataArray, apart: str | None, itself: bool) -> list[search.Kin]:
    """What leaves a case out for a query: the query's own label, and what is asked for."""
    sample, found = str(a.dims[0]), []
    if not itself and CASE in data.coords and sample in a.coords:
        found.append(matched(data[CASE].values, a[sample].values))
    if apart is None:
        return found
    for where, labelled in (("the queries", a), ("the gallery", data)):
        if apart not in labelled.coords or labelled[apart].ndim != 1:
            raise ValueError(f"apart={apart!r} is no coordinate of {where}; they have {list(labelled.coords)}")
    cases, queries = data[apart].values, a[apart].values
    check_kinds(apart, cases, queries)
    return [*found, matched(cases, queries)]


def _left_out(apart: str | None, itself: bool) -> str:
    parts = [] if itself else ["the query itself (by its label)"]
    return " and ".join(parts + ([] if apart is None else [f"cases of the same {apart}"])) or "nothing"
