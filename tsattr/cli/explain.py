"""``tsattr explain``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from ..edge.each_output import folded
from ..edge.table import words_of_class
from ..explain import explain
from ..labels.results import plain
from . import given, model
from .parsing import UsageError


def run(args: argparse.Namespace) -> None:
    """Explain the file, and write and print what was found."""
    from ..io import write_result

    if (args.record is None) == (args.input is None):
        raise UsageError("give one record or file to explain: tsattr explain RECORD, or --input RECORD")
    args.input = args.input or args.record
    given.check_outputs([args.input, args.reference], out=args.out, report=args.report, plot=args.plot)
    x = given.read(args.input, args)
    if args.plot is not None and not isinstance(x, xr.DataArray):
        raise UsageError("--plot draws one array; for a table or several variables use --report")
    method = given.method_of(args, x)
    net = model.load(args)
    x = given.for_model(x, net, args)
    settings = given.settings(args, x)
    if args.dry_run:
        with given.notes():
            print(_cost(explain(net, x, method, **settings, dry_run=True)))
        return
    with given.notes():
        ds = explain(net, x, method, **settings, progress=sys.stderr.isatty())
    write_result(ds.assign(_inputs(x)), args.out)
    one_by_one = folded(ds)
    print(_summary(one_by_one, args.sample_dim or "sample"))
    print(f"wrote {args.out}")
    if args.report is not None:
        from ..report import report

        title = f"What {ds.attrs['model']} looked at in {Path(args.input).name}"
        with given.notes():
            shown = _at_baseline(net, x, method, ds, settings)
            report(ds, _with_waves(x), title=title, at_baseline=shown, out=args.report)
        print(f"wrote {args.report}")
    if args.plot is not None:
        _plot(one_by_one, x, args.plot)
        of = f", the picture of target {one_by_one.target.values[0]}" if "target" in one_by_one.dims else ""
        print(f"wrote {args.plot}{of}")


def _inputs(x: Any) -> dict[str, xr.DataArray]:
    """The input as variables of the result, with its units: a later report needs it. A table is not kept."""
    given = {"input": x} if isinstance(x, xr.DataArray) else {}
    if isinstance(x, xr.Dataset):
        given = {f"input_{name}": values for name, values in x.data_vars.items()}
    return {name: v.reset_coords(drop=True).assign_attrs(plain(v.attrs)) for name, v in given.items()}


def _at_baseline(net: Any, x: Any, method: Any, ds: xr.Dataset, settings: dict[str, Any]) -> xr.Dataset | None:
    """What the model says of the baseline of the samples that a report shows; None where nothing stands for absence."""
    if not isinstance(x, xr.DataArray) or "predicted" not in ds or not method.has("baseline"):
        return None
    from ..report import at_baseline
    from ..report.material import MOST_SAMPLES

    some = x.isel({settings["sample_dim"] or "sample": slice(MOST_SAMPLES)})
    known = {name: value for name, value in settings.items() if name not in ("target", "check")}
    return at_baseline(net, some, method.setting("baseline"), **known, check=False)


def _with_waves(x: Any) -> Any:
    """An ECG with its R peaks and waves as coordinates, for a report; anything else as it is."""
    if not (isinstance(x, xr.DataArray) and {"lead", "time"} < set(x.dims) <= {"sample", "lead", "time"}):
        return x
    from .. import ecg

    try:
        r_peak = ecg.r_peaks(x)
        waves = ecg.waves(r_peak, measured=ecg.delineate(x, r_peak))
    except ValueError as error:  # no lead of an ECG, too short, too coarse
        given.note(f"no waves are marked: {error}")
        return x
    return x.assign_coords(r_peak=r_peak.variable, wave=waves.variable)


def _cost(ds: xr.Dataset) -> str:
    """What a call would cost, line by line."""
    said, n, tried = ds.attrs, ds.model_evaluations.size, ds.attrs["trial_rows"]
    most, least = int(ds.model_evaluations.max()), int(ds.model_evaluations_least.max())
    known = least > 1  # else only the intact samples are sure, as in every call

    def between(name: str, words: Callable[[float], str]) -> str:
        low, high = words(said[f"{name}_least"]), words(said[name])
        return high if low == high else f"{low} to {high}" if known else f"up to {high}"

    lines = {
        "samples": f"{n:,}, of {most if least in (1, most) else f'{least:,} to {most:,}'} rows of the model each",
        "rows": f"up to {said['rows']:,}, {tried:,} of which try the model",
        "model calls": f"up to {said['model_calls']:,}, of {said['batch_size']:,} rows, on {said['device']}",
        "evaluation": said["evaluation"],
        "multiply-adds": between("multiply_adds", _count),
        "time": between("seconds", _duration),
        "memory": f"{_bytes(said['peak_bytes'])} at most, beside the model and the input",
    }
    if not said["multiply_adds"]:
        del lines["multiply-adds"]  # no torch, and nothing to count
    return "\n".join(f"{name:14}{value}" for name, value in lines.items())


def _count(number: float) -> str:
    for size, word in ((1e12, "trillion"), (1e9, "billion"), (1e6, "million")):
        if number >= size:
            return f"{number / size:,.3g} {word}"
    return f"{number:,.0f}"


def _duration(seconds: float) -> str:
    for size, unit in ((86400, "days"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.2g} {unit}" if seconds < 10 * size else f"{seconds / size:.0f} {unit}"
    return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:.0f} s"


def _bytes(number: float) -> str:
    for size, unit in ((2**30, "GiB"), (2**20, "MiB")):
        if number >= size:
            return f"{number / size:.1f} {unit}"
    return f"{number / 2**10:.0f} KiB"


def _summary(ds: xr.Dataset, sample: str, most: int = 10) -> str:
    """One line a sample: the prediction, the check, and where the attribution is largest."""
    rows = []
    for i in range(min(ds.sizes[sample], most)):
        one = ds.isel({sample: i})
        error = f", completeness error {float(one.completeness_error.max()):.2g}" if "completeness_error" in one else ""
        label = ds[sample].values[i] if sample in ds.coords else i
        values = np.atleast_1d(one.prediction.values)
        value = ", ".join(f"{v:.4g}" for v in values[:most]) + f", ... {len(values) - most} more" * (len(values) > most)
        places = []
        for name in [str(v) for v in ds if str(v).startswith("attribution") and "draw" not in str(v)]:
            a = abs(one[name]) if "target" not in one[name].dims else abs(one[name].isel(target=0))
            if a.notnull().any():
                at = {str(d): int(k) for d, k in a.argmax(...).items()}
                places.append(", ".join(f"{d} {_label(a, d, k)}" for d, k in at.items()))
        where = f"; largest at {'; '.join(places)}" if places else ""
        predicted = words_of_class(one.predicted) if "predicted" in one else ""
        said = f"{predicted}, " if predicted else ""
        rows.append(f"{sample} {label}: {said}prediction {value}, {one.status.item()}{error}{where}")
    if ds.sizes[sample] > most:
        rows.append(f"... {ds.sizes[sample] - most} more")
    return "\n".join([f"target {ds.attrs['target']}, {ds.attrs['method']}", *rows])


def _label(a: xr.DataArray, dim: str, k: int) -> str:
    if dim not in a.coords:
        return str(k)
    v = a[dim].values[k]
    return f"{v:.6g} {a[dim].attrs.get('units', '')}".strip() if isinstance(v, np.floating) else str(v)


def _plot(ds: xr.Dataset, x: Any, path: Path) -> None:
    from ..io import write_figure
    from ..report.pictures import one_picture

    first = {ds.prediction.dims[0]: 0} | ({"target": 0} if "target" in ds.dims else {})
    one = ds.isel(first)
    figure, _ = one_picture(one.attribution, x.isel({ds.prediction.dims[0]: 0}), None, result=one)
    write_figure(figure, path)
