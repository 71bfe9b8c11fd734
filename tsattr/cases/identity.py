"""Whether embeddings are of a gallery's own model: by its weights, or by what it makes of a case."""

from __future__ import annotations

import numpy as np
import xarray as xr
from torch import nn

from ..labels import parsing
from . import stored
from .contents import embedded, embeddings, made_by, side_information
from .embedding import EMBED, Embedder

_WITNESS = 1e-3  # how far embeddings of one record may be apart by rounding on another device
_CARRY = (
    "gallery.upgrade(new_model, pairs) carries the gallery over to a new model; or give the model that it was fitted with, or fit "
    "it anew"
)


def check_weights(data: xr.Dataset, fingerprint: str) -> None:
    """ValueError where a gallery's embeddings are by other weights; those of models without weights have no fingerprint."""
    own = str(data.attrs.get("fingerprint", ""))
    if own and fingerprint and own != fingerprint:
        raise ValueError(
            f"the gallery holds embeddings by {made_by(data)} with the weights {own[:12]}, the model has the weights "
            f"{fingerprint[:12]}: distances between the two mean nothing. {_CARRY}"
        )


def check_side_weights(data: xr.Dataset, fingerprint: str) -> None:
    """The same of what gives side information."""
    own = str(data.attrs.get("side_fingerprint", ""))
    if own and fingerprint and own != fingerprint:
        raise ValueError(
            f"the gallery holds side information by {data.attrs['side_model']} with the weights {own[:12]}, side= has the weights "
            f"{fingerprint[:12]}: give what the gallery was fitted with"
        )


def check_witness(data: xr.Dataset, embedder: Embedder) -> None:
    """As `check_weights` for a function, which weights do not tell: whether it makes of a case it embedded what the gallery holds."""
    if not _agrees(data, embedder, embeddings(data), embedded(data)[:1]):
        raise ValueError(
            f"the model makes other numbers of the gallery's first case than the gallery holds, by {made_by(data)}: it is not "
            f"the one that the gallery was fitted with. {_CARRY}"
        )


def check_side_witness(data: xr.Dataset, side: Embedder) -> None:
    """The same of what gives side information, of the first case."""
    own = side_information(data)
    if own is not None and not _agrees(data, side, own, np.arange(1)):
        raise ValueError(
            f"side= makes other numbers of the gallery's first case than the gallery holds, by {data.attrs['side_model']}: give "
            "what the gallery was fitted with"
        )


def _agrees(data: xr.Dataset, embedder: Embedder, own: np.ndarray, at: np.ndarray) -> bool:
    """Whether a function makes of the case at a position what is held of it; True where weights tell, or nothing does."""
    told = isinstance(embedder.model, nn.Module) and embedder.fingerprint
    if told or not len(at) or not stored.is_kept(data):
        return True
    x, kept = stored.restore(data, at, "sample")
    inputs = parsing.read(x, None, "sample", kept.pop("valid", None))
    a, own = embedder(inputs, {**EMBED, **kept, "check": False}).values, own[at]
    return a.shape == own.shape and np.allclose(a, own, _WITNESS, _WITNESS * np.abs(own).max(), equal_nan=True)
