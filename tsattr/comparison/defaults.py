"""What takes the place of removed cells, and what is removed together, where the user does not say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..core import baselines, groups
from ..core.axes import Axes
from ..core.baselines.fills import adopted
from ..labels.inputs import Inputs


def is_random(fill: Any) -> bool:
    """True where a fill draws random numbers; of a mapping by variable, where any of them does."""
    by_variable = fill.values() if isinstance(fill, Mapping) else [fill]
    return any(adopted(f).random for f in by_variable)


def default_fills(inputs: Inputs, reference: Any) -> dict[str, Any]:
    """Fills by name: the mean over time and the bridge (for series), and values of other samples."""
    fills: dict[str, Any] = {}
    if all(v.axes.called("time") in v.axes.dims for v in inputs.variables):
        fills = {"mean": baselines.Mean("time"), "bridge": baselines.Bridge("time")}
    name = inputs.sample_dim
    if inputs.single:
        given = inputs.variables[0].array if reference is None else reference
        if inputs.codes is not None and reference is None:
            given = inputs.codes.frame
        return fills | {"samples": baselines.Samples.fit(given, sample_dim=name)}
    given = {v.name: v.array if reference is None else reference[v.name] for v in inputs.variables}
    return fills | {"samples": {k: baselines.Samples.fit(v, sample_dim=name) for k, v in given.items()}}


def default_groups(inputs: Inputs) -> Any:
    """Windows of a fiftieth of the time dim for every channel, cells where there is no time."""
    each = {v.name: _windows(v.axes) for v in inputs.variables}
    return each[None] if inputs.single else each


def _windows(axes: Axes) -> Any:
    time = axes.called("time")
    if time not in axes.dims or (size := axes.shape[axes.axis(time)] // 50) < 2:
        return groups.Cells()
    return groups.Windows(step=None, **{d: 1 for d in axes.dims if d != time}, **{time: size})
