"""What a call tries of its model on a few samples before it is believed, and refuses where it does not hold.

Skipped by ``check=False``. What the trials cost is in the result's attrs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from .core.engine import Engine

if TYPE_CHECKING:
    from .edge import Call


_ROWS = 8  # of the input that are tried
_ROUNDING = 1e-6  # of a model in float32


def check(call: Call, engine: Engine) -> None:
    """Try the model of a call on some of its samples; ValueError, naming what was seen, where it cannot be explained."""
    _sees_the_table(call)


@torch.no_grad()
def _sees_the_table(call: Call) -> None:
    """ValueError where the model says another thing of rows of a table than of the same rows as they were given."""
    codes, on_frame, n = call.inputs.codes, call.model.on_frame, call.inputs.n
    if codes is None or on_frame is None:
        return
    gaps = np.isnan(codes.coded).argmax(0)  # a row with a missing cell of each column
    at = np.unique([*np.linspace(0, n - 1, min(n, _ROWS)).astype(int), *gaps[: 2 * _ROWS]])
    context = {name: value[torch.from_numpy(at)] for name, value in call.about.items()}
    given, inside = codes.given(at), codes.decode(codes.coded[at], at)
    own, ours = on_frame(given, context), on_frame(inside, context)
    if _same(own, ours) or not _same(own, on_frame(codes.given(at), context)):  # one that draws is another trial's
        return
    row = 0 if own.shape != ours.shape else int((own != ours).reshape(len(own), -1).any(1).nonzero()[0])
    said = [y[row].flatten()[:3].tolist() for y in (own, ours)]
    for name in given.columns:
        if not _same(ours, on_frame(codes.with_column(inside, given, name), context)):
            what = f"column {name!r} came as {given[name].dtype} and the model would get {inside[name].dtype}"
            break
    else:
        what = "it depends on something beside the cells and the index"
    raise ValueError(
        f"the model gives {said[0]} for {call.inputs.sample_dim} {call.inputs.names([int(at[row])])[0]} of the table as it is, and "
        f"{said[1]} inside a call: {what}. Give the column as plain text or numbers, with all levels that occur in a "
        "reference, or explain a function that takes such: ta.models.on_frames(f)"
    )


def _same(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Equal but for rounding."""
    if a.shape != b.shape:
        return False
    size = torch.nan_to_num(a, posinf=0, neginf=0).abs().max().item() if a.numel() else 0.0
    return torch.allclose(a, b, rtol=_ROUNDING, atol=_ROUNDING * size, equal_nan=True)
