"""What a call would cost: rows by the method's own account, the rest from its first batches."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import xarray as xr

from ..core.method import Method
from ..core.shift.detector import FEWEST
from ..core.shift.scores import shift_rows
from . import trials
from .call import Call
from .rehearsal import Rehearsal

ROWS = "rows"  # the dry run that asks the model nothing


def check_dry_run(value: Any) -> None:
    """TypeError for what is no kind of dry run."""
    if not isinstance(value, bool | np.bool_) and value != ROWS:
        raise TypeError(f"dry_run is True, False or {ROWS!r}, got {value!r}")


def of(call: Call, bound: Method, clean: int, *, asks: bool) -> xr.Dataset:
    """What a call takes at most, and at least, beside so many `clean` samples of a reference.

    With `asks` the model is asked about a few batches, and what they take is said of all rows.
    """
    inputs = call.inputs
    found: dict[str, xr.Variable] = {}
    least, most = bound.rows()
    looked, once = shift_rows(bound, clean, call.model.module) if clean >= FEWEST and not call.context else (0, 0)
    most += looked
    ways = 0 if bound.gradient else call.trial_rows
    once += (bound.extra_rows + ways) * math.ceil(inputs.n / call.size(bound.arrays))
    seen = Rehearsal.of(call, bound) if asks else None
    if seen is not None:  # paths try, too, where their points may be asked about in a quicker way
        once = max(once, seen.trial_rows)
    for name, count in (("model_evaluations", most), ("model_evaluations_least", least)):
        found |= inputs.label(name, (), np.full(inputs.n, count), True)
    ds = xr.Dataset(found, inputs.sample_coords())
    total, tried = inputs.n * most + once, trials.rows(call)
    ds.attrs = {
        "rows": total + tried,
        "trial_rows": once + tried,
        "batch_size": call.batch_size,
        "model_calls": math.ceil(total / call.batch_size) + trials.calls(call),
        "input_bytes_per_batch": call.batch_size * inputs.cells * inputs.dtype.itemsize,
        "device": str(call.device),
    }
    if seen is not None:
        ds.attrs |= _measured(call, bound, seen, (least, most), once + tried)
    return ds


def _measured(call: Call, bound: Method, seen: Rehearsal, rows: tuple[int, int], more: int) -> dict[str, Any]:
    """Multiply-adds, seconds, memory and the evaluation, of these rows a sample and some `more`."""
    n = call.inputs.n

    def whole(price: tuple[float, float], each: int) -> float:
        return n * price[0] + (n * (each - 1) + more) * price[1]

    found: dict[str, Any] = {}
    for name, price in (("multiply_adds", seen.products), ("seconds", seen.seconds)):
        found |= {name: whole(price, rows[1]), f"{name}_least": whole(price, rows[0])}
    return found | {"peak_bytes": _peak(call, bound, seen), "evaluation": seen.evaluation}


def _peak(call: Call, bound: Method, seen: Rehearsal) -> int:
    """Bytes of what was seen to live at once, of the other samples of a chunk, and of the result."""
    cells, itemsize, targets = call.inputs.cells, call.inputs.dtype.itemsize, len(call.targets.each)
    held = cells * (itemsize + 8 * targets * bound.arrays)
    others = min(call.inputs.n, call.size(bound.arrays)) - seen.samples
    return seen.peak + max(0, others) * held + call.inputs.n * cells * itemsize * targets
