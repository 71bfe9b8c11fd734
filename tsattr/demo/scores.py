"""What the demos share: the scores of several methods, side by side."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import xarray as xr

Say = Callable[[str], None]


def along_method(parts: Mapping[str, xr.Dataset]) -> xr.Dataset:
    """Join datasets of the same variables along a new dim `method`."""
    joined = xr.concat(
        [p.drop_attrs() for p in parts.values()], "method", coords="minimal", compat="override", join="exact"
    )
    return joined.assign_coords(method=list(parts))


def ranking(scores: xr.Dataset) -> str:
    """Return a table of mean scores as text, sorted by the first score, with the level of chance."""
    columns = [str(k) for k in scores if not str(k).endswith("_chance")]
    mean = scores[columns].mean("sample").to_dataframe()[columns].sort_values(columns[0], ascending=False)
    mean.loc["(chance)"] = [float(scores[f"{k}_chance"].mean()) for k in columns]
    return str(mean.round(3).rename_axis(None).rename(columns=lambda c: c.replace("_", " ")).to_string())
