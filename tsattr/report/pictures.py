"""Each sample in one picture, in the form that its dims ask for, with its caption and its description in words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from .. import ecg, plot
from ..core.units import voltage
from ..ecg.leads import may_be_ecg
from ..edge.table import words_of_class
from ..parts.summing import PART
from ..plot.maps import map_dims
from ..plot.shade import axis_units, has_direction, is_the_models_own
from . import markup, tables
from .markup import number
from .material import Input, cell_dims, sample_name

MOST_TARGETS, MOST_TRACES, MOST_MAPS = 6, 16, 6
_FOR_AND_AGAINST = "Orange speaks for the target, blue against it"
OF_UNCERTAINTY = "Orange makes the model less sure, blue surer"


def pictures(ds: xr.Dataset, inputs: list[Input], positions: list[int]) -> list[str]:
    """Return a picture of each sample at `positions`, of each target where there are several."""
    parts = []
    several = "target" in inputs[0].attribution.dims
    for i in positions:
        name = sample_name(ds, i)
        for k in range(min(ds.sizes.get("target", 1), MOST_TARGETS)):
            here = ds.isel(sample=i, target=k) if several else ds.isel(sample=i)
            target = f", target {here['target'].item() if 'target' in here.coords else k}" if several else ""
            parts.append(markup.heading(f"Sample {name}{target}"))
            parts.append(markup.paragraph(_prediction(here)))
            said = over_time(here)
            for part in inputs:
                where = {"sample": i, "target": k} if "target" in part.attribution.dims else {"sample": i}
                map_ = part.attribution.isel(where, drop=True)
                truth = None if part.truth is None else part.truth.isel(sample=i, drop=True)
                signal = part.signal.isel(sample=i)
                shown = part.shown.isel(where, drop=True)
                steps = tables.step_by_step(ds, part, i, k if several else None)
                colours = _colours(shown, _target(here))
                figure, caption = steps or one_picture(shown, signal, truth, output=said, colours=colours, result=here)
                of = f" {part.name}" if part.name else ""
                if said is not None and part.by_lag is None:
                    parts.append(_curve(said))
                alt = f"Attribution of{of} sample {name}{target}. {caption} {_alt(map_, signal)}"
                parts.append(markup.picture(figure, alt, f"{part.name + ': ' if part.name else ''}{caption}"))
    left = ds.sizes["sample"] - len(positions)
    if left > 0:
        parts.append(markup.paragraph(f"Samples in the result that are not drawn here: {left}."))
    if several and ds.sizes["target"] > MOST_TARGETS:
        parts.append(
            markup.paragraph(f"Targets in the result that are not drawn here: {ds.sizes['target'] - MOST_TARGETS}.")
        )
    return parts


def _target(here: xr.Dataset) -> str:
    """Return how the target is written that is explained here."""
    return str(here["target"].item() if "target" in here.coords else here.attrs.get("target", ""))


def _prediction(here: xr.Dataset) -> str:
    if "prediction" not in here:
        return ""
    y = float(here["prediction"])
    if not np.isfinite(y):
        return "The model gives no finite number for this input: there is nothing to explain."
    if str(here.attrs.get("target", "")).startswith("Divergence"):
        asked = "What is explained is how far the prediction moves when something is taken away."
        return f"{asked} {_said(over_time(here))}".rstrip()
    predicted = words_of_class(here["predicted"]) if "predicted" in here else ""
    said = f"The model predicts {predicted}. " if predicted else ""
    if "reference" not in here:
        return f"{said}The target is {number(y, 4)} for this input."
    y0 = float(here["reference"])
    return (
        f"{said}The target is {number(y, 4)} for this input and {number(y0, 4)} at the baseline; "
        f"the difference to be explained is {number(y - y0, 4)}."
    )


def over_time(here: xr.Dataset) -> xr.DataArray | None:
    """Return what the model says at each time of one sample and target; None where the result does not have it."""
    return here.get("output_over_time")


def _curve(curve: xr.DataArray) -> str:
    """Return the picture of what the model says at each time, for a map that has no room for it."""
    caption = "What the model says at each time, from the past alone."
    return markup.picture(plot.trace(curve.rename(str(curve.attrs["what"]))), f"{caption} {_said(curve)}", caption)


def _said(curve: xr.DataArray | None) -> str:
    """Return what the model says at first, at the end, and at most, in words."""
    if curve is None or not (known := np.flatnonzero(curve.notnull())).size:
        return ""
    at = known[[0, -1, int(np.argmax(curve.values[known]))]]
    first, last, most = (f"{number(float(curve[k]))} at {place_in_words(curve, (k,))}" for k in at)
    what = "probability that the model gives" if curve.attrs.get("what") == "probability" else "output of the model"
    return f"The {what} is {first}, {last}, and at most {most}."


def _colours(attribution: xr.DataArray, target: str) -> str:
    """Return what the colours of a map say of a target."""
    if has_direction(attribution):
        return "Orange: the observation raised what the model says, blue: lowered it"
    if is_the_models_own(attribution):
        return "Orange is where the model reads more, whatever the target"
    return OF_UNCERTAINTY if target.startswith("Uncertainty") else _FOR_AND_AGAINST


def one_picture(
    attribution: xr.DataArray,
    signal: xr.DataArray,
    truth: xr.DataArray | None,
    *,
    output: xr.DataArray | None = None,
    limit: float | None = None,
    colours: str = _FOR_AND_AGAINST,
    result: xr.Dataset | None = None,
) -> tuple[Figure, str]:
    """Return the picture that the dims ask for, and its caption, which says what its colours mean.

    `output` is what the model says over time, drawn above a map by lag. `limit` is the value at which the colours of a map saturate; see `tsattr.plot`.
    Of `result` a sheet says what is predicted.
    """
    if "lag" in attribution.dims and "lag" not in signal.dims:
        figure = plot.lags(attribution, signal, output=output, limit=limit)
        above = "" if output is None else "On top, what the model says at each time. "
        meaning = f" {colours}." if has_direction(attribution) else ""
        across = "Across, when a value was measured; upward, how much later it moved a prediction."
        return figure, f"{above}{across}{meaning} Series with most first."
    dims = cell_dims(attribution)
    signal = signal.transpose(*dims)
    truth = None if truth is None else truth.transpose(*dims)
    if "time" in dims and len(dims) <= 2:
        if "lead" in dims and _is_ecg(signal):
            start, stretch = _stretch(attribution)
            sheet = attribution if result is None else _with_map(result, attribution)
            figure = plot.ecg(signal, sheet, layout="12x1", truth=truth, start=start, limit=limit)
            return figure, f"The signal on ECG paper{stretch}. {colours}; no colour is no attribution."
        strongest, shown = _strongest_rows(attribution)
        known = None if truth is None else truth.isel(strongest)
        figure = plot.trace(signal.isel(strongest), attribution.isel(strongest), truth=known, limit=limit)
        return figure, f"The signal over time. {colours}; gaps are left bare.{shown}"
    if len(dims) == 1:
        return plot.bars(
            _with_values(attribution, signal), label="attribution"
        ), f"Each entry with its value, strongest first. {colours}."
    if PART in dims and "time" in dims:
        one, where, rank = _strongest_entry(attribution, [d for d in dims if d not in (PART, "time")])
        figure = plot.trace(signal.isel(one), attribution.isel(one), limit=limit, title=where)
        return figure, f"The parts of {where}, which has {rank}, over time; they sum to the signal. {colours}."
    numeric = signal if signal.dtype.kind in "fiu" else None
    figure = plot.field(attribution, numeric, truth=truth, most=MOST_MAPS, limit=limit)
    maps = attribution.size // int(np.prod([attribution.sizes[d] for d in map_dims(attribution)]))
    shown = (
        f" Of {maps} maps those with the most absolute attribution, {MOST_MAPS} at most." if maps > MOST_MAPS else ""
    )
    bare = " Grey: no value." if attribution.isnull().any() else ""
    return figure, f"Attribution as a map, the input as contour lines. {colours}.{bare}{shown}"


def _stretch(attribution: xr.DataArray, length: float = 10.0) -> tuple[float | None, str]:
    """Return where the `length` seconds with the most absolute attribution start, and how to say so."""
    time = attribution["time"].values
    if time.dtype.kind != "f" or attribution["time"].attrs.get("units", "s") != "s" or time[-1] - time[0] <= length:
        return None, ""
    size = abs(attribution).sum([d for d in attribution.dims if d != "time"]).values
    starts = np.arange(time[0], time[-1] - length + 1.0)
    upto = np.append(0.0, np.cumsum(size))
    sums = upto[np.searchsorted(time, starts + length)] - upto[np.searchsorted(time, starts)]
    start = float(starts[sums.argmax()])
    return start, f", the {length:g} seconds with the most attribution (from {start:g} s)"


def _strongest_entry(attribution: xr.DataArray, over: list[Any]) -> tuple[dict[Any, int], str, str]:
    """Return the position along some dims of the entry with the most absolute attribution, its labels, and how much it has."""
    size = abs(attribution).sum([d for d in attribution.dims if d not in over]).transpose(*over)
    at = {d: int(k) for d, k in zip(over, np.unravel_index(int(size.values.argmax()), size.shape))}
    named = (f"{d} {attribution[d].values[k] if d in attribution.coords else k}" for d, k in at.items())
    as_much = int(np.isclose(size.values, size.values.max(), rtol=1e-6, atol=0).sum())
    others = "1 other" if as_much == 2 else f"{as_much - 1} others"
    rank = "the most attribution" if as_much == 1 else f"as much attribution as {others}"
    return at, ", ".join(named), rank


def _strongest_rows(attribution: xr.DataArray) -> tuple[dict[Any, np.ndarray], str]:
    """Return the positions of as many rows as a picture holds, and how to say which."""
    others = [d for d in attribution.dims if d != "time"]
    if not others or attribution.sizes[others[0]] <= MOST_TRACES:
        return {}, ""
    strength = abs(attribution).sum("time").values
    best = np.sort(np.argsort(-strength, kind="stable")[:MOST_TRACES])
    return {others[0]: best}, f" The {MOST_TRACES} of {strength.size} with the most absolute attribution."


def _with_map(result: xr.Dataset, attribution: xr.DataArray) -> xr.Dataset:
    """Return what a result says of a sample beside its map."""
    said = [v for v in ("prediction", "predicted", "reference", "status") if v in result and not result[v].ndim]
    return (
        xr.Dataset({"attribution": attribution.drop_vars("target", errors="ignore")})
        .assign(result[said])
        .assign_attrs(result.attrs)
    )


def _is_ecg(signal: xr.DataArray) -> bool:
    """Whether a channel is a lead of an ECG: one that may be, in volts or with the name of a standard lead."""
    names = [str(name) for name in signal["lead"].values]
    units = [str(u) for u in np.broadcast_to(signal.coords.get("units", signal.attrs.get("units", "")), len(names))]
    known = {*ecg.LEADS, "MLII"}
    leads = (may_be_ecg(name, unit) and (voltage(unit) or name in known) for name, unit in zip(names, units))
    return "time" in signal.coords and any(leads)


def _with_values(attribution: xr.DataArray, signal: xr.DataArray) -> xr.DataArray:
    """Return one-dim attribution with each entry named by itself and its value, as in "age = 63"."""
    dim = attribution.dims[0]
    names = attribution[dim].values if dim in attribution.coords else range(attribution.size)
    shown = [
        "missing" if v is None or v != v else f"{v:.4g}" if isinstance(v, float | np.floating) else str(v)
        for v in signal.values
    ]
    named = attribution.assign_coords({dim: [f"{name} = {value}" for name, value in zip(names, shown)]})
    return named.isel({dim: np.argsort(-np.nan_to_num(np.abs(attribution.values)), kind="stable")})


def _alt(attribution: xr.DataArray, signal: xr.DataArray) -> str:
    """Return where the largest cell lies, for those who do not see the picture."""
    if attribution.ndim == 1 and attribution.dims != ("time",):
        attribution = _with_values(attribution, signal)
    size = np.abs(attribution.values.astype(float))
    if not np.isfinite(size).any() or np.nanmax(size) == 0:
        return "There is no attribution."
    at = np.unravel_index(np.nanargmax(size), size.shape)
    return f"The largest attribution is {number(float(attribution.values[at]))}, at {place_in_words(attribution, at)}."


def place_in_words(array: xr.DataArray, at: Sequence[Any]) -> str:
    """Return the coordinates, with units, of the cell at a position along each dim."""
    labels = []
    for dim, i in zip(array.dims, at):
        value = array[dim].values[i] if dim in array.coords else i
        shown = f"{value:.4g}" if isinstance(value, float | np.floating) else str(value)
        units = axis_units(array, dim)
        labels.append(f"{dim} {shown} {units}" if units else f"{dim} {shown}")
    return ", ".join(labels)
