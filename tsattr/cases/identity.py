"""Whether embeddings are of a gallery's own model: by its weights, or by what it makes of a case."""

from __future__ import annotations

import numpy as np
import xarray as xr
from torch import nn

from ..labels import parsing
from . import stored
from .contents import embedded, embeddings, made_by
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


def check_witness(data: xr.Dataset, embedder: Embedder) -> None:
    """As `check_weights` for a function, which weights do not tell: whether it makes of a case it embedded what the gallery holds."""
    if (isinstance(embedder.model, nn.Module) and embedder.fingerprint) or not stored.is_kept(data):
        return
    first = embedded(data)[:1]
    if not len(first):
        return
    x, kept = stored.restore(data, first, "sample")
    inputs = parsing.read(x, None, "sample", kept.pop("valid", None))
    a, own = embedder(inputs, {**EMBED, **kept, "check": False}).values, embeddings(data)[first]
    if a.shape != own.shape or not np.allclose(a, own, _WITNESS, _WITNESS * np.abs(own).max(), equal_nan=True):
        raise ValueError(
            f"the model makes other numbers of the gallery's first case than the gallery holds, by {made_by(data)}: it is not "
            f"the one that the gallery was fitted with. {_CARRY}"
        )
