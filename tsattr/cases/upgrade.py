"""A gallery carried over to a new model: what it learns from, what comes out, and which cases to embed anew first."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr
from torch import nn

from ..labels import parsing
from .contents import EMBEDDING, SIDE, SIDE_DIM, UNCERTAINTY, embeddings, metric, side_information
from .embedding import DIM, Embedder
from .identity import check_side_weights, check_weights
from .labels import comparable
from .stored import CASE
from .transformation import Transformation

_NAMES = ("old", "side", "new")
_PARTS = ("model", "layer", "fingerprint")
_TINY = np.finfo(np.float64).tiny


def found(
    data: xr.Dataset,
    old: Embedder | None,
    side: Embedder | None,
    new_model: Any,
    pairs: Any,
    layer: str | None,
    blocks: Any,
    seed: int,
    settings: Mapping[str, Any],
) -> tuple[Transformation, Embedder | None]:
    """What carries a gallery of the old model over to the new one, and what embeds by the new one where it is there.

    The parameters are the gallery's, and those of `Gallery.upgrade`.
    """
    embedder = None
    if isinstance(pairs, Transformation):
        h = pairs
    else:
        if isinstance(pairs, Mapping) and ("old" in pairs or not isinstance(pairs, xr.Dataset)):
            made = given_pairs(pairs)
        else:
            before, beside = _embedders(data, old, side, new_model)
            made, embedder = run_both(pairs, before, beside, new_model, layer, settings)
        h = learnt(made, blocks, seed=seed, progress=bool(settings["progress"]))
    check_fits(h, data)
    if embedder is None and new_model is not None:
        embedder = Embedder(new_model, _layer_of(h, new_model) if layer is None else layer)
    return h, embedder


def _layer_of(h: Transformation, new_model: Any) -> str:
    """The layer of the new model that made the new embeddings of the pairs."""
    if not isinstance(new_model, nn.Module):
        return ""
    if "new_layer" not in h.data.attrs:
        raise ValueError(
            "the pairs do not say which layer of the new model made 'new': name it, layer=... ('' is the model's own output), or "
            "give embeddings as tsattr.cases.embed returns them"
        )
    return str(h.data.attrs["new_layer"])


def _embedders(
    data: xr.Dataset, old: Embedder | None, side: Embedder | None, new_model: Any
) -> tuple[Embedder, Embedder | None]:
    """What the pairs are embedded with beside the new model; ValueError where some of it is missing."""
    if old is None or new_model is None:
        which = "new" if old is not None else "old"
        raise ValueError(
            f"the {which} model is needed to embed the pairs: give it (the old one by Gallery.read(path, model=...)), or give "
            "what it made of them, pairs={'old': ..., 'new': ...}"
        )
    if SIDE in data and side is None:
        raise ValueError(
            "the gallery's cases have side information, and what gave it is needed for the pairs: Gallery.read(path, model=..., "
            "side=...)"
        )
    check_weights(data, old.fingerprint)
    if side is not None:
        check_side_weights(data, side.fingerprint)
    return old, side if SIDE in data else None


def run_both(
    x: Any, old: Embedder, side: Embedder | None, new_model: Any, layer: str | None, given: Mapping[str, Any]
) -> tuple[dict[str, xr.DataArray], Embedder]:
    """The embeddings of samples by the old and the new model, their side information, and what embeds by the new model."""
    inputs = parsing.read(x, given["dims"], given["sample_dim"], given["valid"])
    new = Embedder.of(new_model, inputs, layer, given)
    found = {"old": old(inputs, given), "new": new(inputs, given)}
    return found if side is None else found | {"side": side(inputs, given)}, new


def given_pairs(pairs: Mapping[Any, Any]) -> dict[str, xr.DataArray]:
    """Embeddings that were made before, each (sample, number) of the same samples."""
    if unknown := [name for name in pairs if name not in _NAMES]:
        raise ValueError(f"pairs of embeddings have the names 'old', 'new' and perhaps 'side', got {unknown}")
    if missing := [name for name in ("old", "new") if name not in pairs]:
        raise ValueError(
            f"pairs of embeddings lack {missing}: the same samples by the gallery's model and by the new one"
        )
    found = {}
    for name in _NAMES:
        if name in pairs:
            a = pairs[name] if isinstance(pairs[name], xr.DataArray) else xr.DataArray(np.asarray(pairs[name]))
            if a.ndim != 2:
                raise ValueError(f"{name!r} of pairs has the dims (sample, number), got {a.dims} of shape {a.shape}")
            found[name] = a
    old = found["old"]
    for name, a in found.items():
        labels = [v.coords[v.dims[0]].values.tolist() for v in (old, a) if v.dims[0] in v.coords]
        if len(a) != len(old) or (len(labels) == 2 and labels[0] != labels[1]):
            raise ValueError(
                f"{name!r} of pairs is of other samples than 'old': give the same samples in the same order"
            )
    return found


def learnt(pairs: Mapping[str, xr.DataArray], blocks: Any, **settings: Any) -> Transformation:
    """The transformation, which remembers the models that it goes from and to."""
    old, new, side = pairs["old"], pairs["new"], pairs.get("side")
    if isinstance(blocks, str):
        if blocks not in old.coords or old[blocks].dims != old.dims[:1]:
            raise ValueError(f"blocks={blocks!r} is no coordinate of the pairs; they have {list(old.coords)}")
        blocks = old[blocks].values
    h = Transformation.fit(old.values, new.values, None if side is None else side.values, blocks=blocks, **settings)
    models = {f"{which}_{part}": str(a.attrs[part]) for which, a in pairs.items() for part in _PARTS if part in a.attrs}
    return Transformation(h.data.assign_attrs(models))


def check_fits(h: Transformation, data: xr.Dataset) -> None:
    """ValueError where a transformation is not one for a gallery."""
    a = h.data.attrs
    sizes = {"old": data.sizes[DIM], "side": data.sizes[SIDE_DIM] if SIDE in data else 0}
    if a["side"] and not sizes["side"]:
        raise ValueError(
            f"the transformation needs {a['side']} numbers of side information for each case, and the gallery has none; fit the "
            "gallery with side=..., or leave it out of the pairs"
        )
    if sizes["side"] and not a["side"]:
        raise ValueError(
            "the gallery's cases have side information, and the pairs have none: give it as pairs['side'], or leave it out of "
            "the gallery, Gallery(gallery.data.drop_vars('side'), gallery.embedder)"
        )
    for name, size in sizes.items():
        if size != a[name]:
            what = "embeddings by the old model" if name == "old" else "side information"
            raise ValueError(
                f"the pairs have {what} of {a[name]} numbers, the gallery of {size}: they are not of one kind"
            )
    own, other = str(data.attrs.get("fingerprint", "")), str(a.get("old_fingerprint", ""))
    if own and other and own != other:
        raise ValueError(
            f"the pairs go from a model with the weights {other[:12]}, and the gallery's has {own[:12]}: embed the pairs with the "
            "gallery's own model"
        )
    check_side_weights(data, str(a.get("side_fingerprint", "")))


def carried_over(data: xr.Dataset, h: Transformation, embedder: Embedder | None) -> xr.Dataset:
    """A gallery's data with the new model's embeddings as far as they can be told, and how far each may be off."""
    a, kind = embeddings(data), metric(data)
    values, error = h(a, side_information(data))
    if UNCERTAINTY in data.coords:  # what was wrong before is carried on, on the scale of the new model
        before = _length(data[UNCERTAINTY].values, a, kind)
        error = np.hypot(error, before * float(h.data.attrs["gain"]))
    carried = data.drop_vars(EMBEDDING).assign({EMBEDDING: ((CASE, DIM), values)})
    told = {"long_name": f"expected {kind} distance from the model's own embedding; 0 where it is that"}
    carried = carried.assign_coords({UNCERTAINTY: (CASE, np.maximum(_distance(error, values, kind), _TINY), told)})
    given = (
        {}
        if embedder is None
        else {"model": embedder.name, "layer": embedder.layer, "fingerprint": embedder.fingerprint}
    )
    new = {part: str(h.data.attrs.get(f"new_{part}", given.get(part, ""))) for part in _PARTS}
    step = f"{_named(data.attrs)} to {_named(new)}: {h.describe()}"
    chain = [str(data.attrs["updates"])] if "updates" in data.attrs else []
    return carried.assign_attrs(new | {"updates": "\n".join([*chain, step])})


def _named(model: Mapping[str, Any]) -> str:
    mark = str(model.get("fingerprint", ""))[:12]
    return f"{model.get('model') or 'a model'}{f' {mark}' if mark else ''}"


def most_uncertain(data: xr.Dataset, n: int | None) -> xr.DataArray:
    """The uncertainty of the cases whose embedding is transformed, largest first; first of all those that have none."""
    check_transformed(data)
    u = data[UNCERTAINTY].values
    order = np.argsort(-np.where(np.isnan(u), np.inf, u), kind="stable")
    at = order[u[order] != 0][:n]
    found = data[UNCERTAINTY].isel({CASE: at}).reset_coords(drop=True)
    return found.assign_coords(
        {name: c for name, c in data.isel({CASE: at}).coords.items() if name != UNCERTAINTY and c.dims == (CASE,)}
    ).assign_coords(position=(CASE, at))


def positions(data: xr.Dataset, at: Any, labels: np.ndarray | None) -> np.ndarray:
    """Where in a gallery some cases are: as positions, as `most_uncertain` names them, or by labels of samples."""
    check_transformed(data)
    n = data.sizes[CASE]
    if isinstance(at, xr.DataArray) and "position" in at.coords:
        at = at["position"].values
    if at is not None:
        found = np.asarray(at)
        if found.ndim != 1 or (found.size and found.dtype.kind not in "iu") or not ((found >= 0) & (found < n)).all():
            raise ValueError(f"at is what to_embed returns, or a list of positions from 0 to {n - 1}, got {at!r}")
    else:
        if labels is None or CASE not in data.coords:
            raise ValueError(
                "which cases these are is told by at=gallery.to_embed(n), or by labels of x and of the gallery"
            )
        own = {label: k for k, label in enumerate(comparable(data[CASE].values))}
        if len(own) < n:
            raise ValueError("the gallery's cases do not have labels of their own: say which they are by at=...")
        asked = comparable(labels)
        if unknown := [label for label in asked if label not in own]:
            raise ValueError(f"{len(unknown)} samples are no cases of the gallery, such as {unknown[0]!r}")
        found = np.array([own[label] for label in asked], int)
    if len(np.unique(found)) < len(found):
        raise ValueError("a case is named twice")
    return found.astype(int)


def replaced(data: xr.Dataset, at: np.ndarray, values: np.ndarray) -> xr.Dataset:
    """A gallery's data with the model's own embeddings of some cases."""
    if len(values) != len(at):
        raise ValueError(f"{len(values)} samples for {len(at)} cases: give one for each, in their order")
    embedding = embeddings(data).copy()
    uncertainty = data[UNCERTAINTY].values.copy()
    embedding[at], uncertainty[at] = values, 0.0
    told = (CASE, uncertainty, data[UNCERTAINTY].attrs)
    return data.assign({EMBEDDING: ((CASE, DIM), embedding)}).assign_coords({UNCERTAINTY: told})


def check_transformed(data: xr.Dataset) -> None:
    """ValueError where no case of a gallery is transformed."""
    if UNCERTAINTY not in data.coords:
        raise ValueError("every case of this gallery was embedded by its model; none is to be embedded anew")


def _distance(error: np.ndarray, a: np.ndarray, metric: str) -> np.ndarray:
    """The distance that an error of some length makes; of the cosine, where the error stands at right angles to the embedding."""
    if metric == "euclidean":
        return error
    with np.errstate(divide="ignore", invalid="ignore"):
        tangent = np.where(error > 0, error / np.linalg.norm(a, axis=1), error)
        secant = np.hypot(1, tangent)
        return np.where(
            np.isinf(tangent), 1.0, tangent / secant * (tangent / (secant + 1))
        )  # 1 - 1 / secant, not rounded to 0


def _length(distance: np.ndarray, a: np.ndarray, metric: str) -> np.ndarray:
    """The reverse."""
    if metric == "euclidean":
        return distance
    with np.errstate(divide="ignore"):
        return np.asarray(np.linalg.norm(a, axis=1) * np.sqrt(distance * (2 - distance)) / (1 - distance))
