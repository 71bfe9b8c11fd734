"""``tsattr compare``."""

from __future__ import annotations

import argparse
import sys
import textwrap
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from ..compare import compare
from ..comparison.verdict import Standing
from ..io.formats import file_format
from ..public import METHODS
from . import given, model
from .parsing import BASELINES, GROUPS, UsageError, named, object_of

SCORE = "gap"  # the measure that the recommendation rests on


def run(args: argparse.Namespace) -> None:
    """Compare the methods, and write and print what was found."""
    from ..io import write_result

    given.check_outputs([args.input, args.reference, args.truth], out=args.out, report=args.report)
    x = given.read(args.input, args)
    truth = None if args.truth is None else _truth(args, x)
    reference = None if args.reference is None else given.read_reference(args.reference, args)
    default = {"groups": given.default_groups(x)}
    methods = {
        name: object_of(text, METHODS, "--method", reference, default)
        for name, text in named(args.method, "--method").items()
    }
    fills = args.fill and {
        name: object_of(text, BASELINES, "--fill", reference) for name, text in named(args.fill, "--fill").items()
    }
    groups = None if args.groups is None else object_of(args.groups, GROUPS, "--groups")
    if args.samples is not None:
        x, truth = _spread(x, truth, args.samples, args.sample_dim or "sample")
    net = model.load(args)
    x = given.for_model(x, net, args)
    with given.notes():
        table = compare(
            net,
            x,
            methods,
            truth=truth,
            fills=fills,
            groups=groups,
            blocks=args.blocks,
            budget=args.budget,
            reference=reference if (args.sample_dim or "sample") in getattr(reference, "dims", ["sample"]) else None,
            progress=sys.stderr.isatty(),
            **given.settings(args, x),
        )
    write_result(table, args.out)
    print(summary(table))
    print(f"wrote {args.out}")
    if args.report is not None:
        from ..report import comparison

        comparison(table, out=args.report, title=f"Which explanation of {args.model} to believe")
        print(f"wrote {args.report}")


def _truth(args: argparse.Namespace, x: Any) -> xr.DataArray:
    """The truth file as booleans; the axes of a NumPy array are those of the input."""
    from ..io import read_input

    dims = None
    if file_format(args.truth) in (".npy", ".npz"):
        dims = args.dims.split(",") if args.dims else list(getattr(x, "dims", []))
    truth = read_input(args.truth, dims=dims, variable=args.truth_variable)
    name = args.sample_dim or "sample"
    labelled = xr.DataArray(truth, dims=(name, "feature")) if isinstance(truth, pd.DataFrame) else truth
    labelled = given.in_samples(labelled, args)
    if not np.isin(labelled.values, (0, 1)).all():
        raise UsageError(f"--truth is 1 where attribution belongs and 0 elsewhere; {args.truth} holds other values")
    known: xr.DataArray = labelled.astype(bool)
    return known


def _spread(x: Any, truth: xr.DataArray | None, count: int, dim: str) -> tuple[Any, xr.DataArray | None]:
    """`count` samples spread evenly over those there are, as files are often sorted, and the truth about them."""
    n = len(x) if isinstance(x, pd.DataFrame) else x.sizes[dim]
    if not 1 <= count <= n:
        raise UsageError(f"--samples is a number from 1 to the {n} samples of the input; got {count}")
    at = np.linspace(0, n - 1, count).round().astype(int)
    x = x.iloc[at] if isinstance(x, pd.DataFrame) else x.isel({dim: at})
    return x, truth if truth is None or truth.sizes[dim] != n else truth.isel({dim: at})


def summary(table: xr.Dataset) -> str:
    """The recommendation, and a table of the methods, best first."""
    paragraphs = [textwrap.fill(p, 100, break_on_hyphens=False) for p in table.attrs["recommendation"].splitlines()]
    return "\n\n".join([*paragraphs, _scores(table)])


def _scores(table: xr.Dataset) -> str:
    here = table.sel(measure=SCORE)
    rankings = [str(r) for r in table.ranking.values]
    standing = Standing(table, SCORE, rankings[0])
    rows = table.model_evaluations.mean([d for d in table.model_evaluations.dims if d != "method"]).values
    lines = [["method", *(f"{SCORE}, {r} ranking" for r in rankings), "rows", "seconds"]]
    for k in standing.order:
        control = standing.control[k]
        tied = standing.tied[k] and k != standing.best
        scores = [_interval(here.sel(ranking=r).isel(method=k)) for r in rankings]
        costs = ["", ""] if control else [_number(rows[k]), _number(table.seconds.values[k])]
        mark = " (control)" if control else " =" if tied else ""
        lines.append([f"{table.method.values[k]}{mark}", *scores, *costs])
    widths = [max(map(len, column)) for column in zip(*lines)]
    text = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip() for line in lines]
    return "\n".join([*text, "[95 % interval]; = cannot be told from the best; rows of the model a sample"])


def _interval(one: Mapping[Any, Any]) -> str:
    score, low, high = (float(one[k]) for k in ("score", "score_low", "score_high"))
    return f"{score:.3g} [{low:.3g}, {high:.3g}]"


def _number(value: float) -> str:
    return "" if np.isnan(value) else f"{value:.3g}"
