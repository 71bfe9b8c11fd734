"""``tsattr report``."""

from __future__ import annotations

import argparse

import xarray as xr

from . import given
from .parsing import UsageError


def run(args: argparse.Namespace) -> None:
    """Write the page of an explanation or of a comparison."""
    from ..io import read_result

    given.check_outputs([args.result], report=args.out)
    ds = read_result(args.result)
    if "recommendation" in ds.attrs:
        from ..report import comparison

        comparison(ds, out=args.out, **({} if args.title is None else {"title": args.title}))
    elif "shape" in ds and "attribution" not in ds:
        from ..report import additive

        additive(ds, out=args.out, **({} if args.title is None else {"title": args.title}))
    else:
        _explanation(ds, args)
    print(f"wrote {args.out}")


def _explanation(ds: xr.Dataset, args: argparse.Namespace) -> None:
    from ..report import report

    several = {str(v): str(v).removeprefix("input_") for v in ds if str(v).startswith("input_")}
    if not any(str(v).startswith("attribution") for v in ds) or not ("input" in ds or several):
        raise UsageError(
            f"{args.result} lacks the variables attribution and input; give a file that tsattr explain, compare or "
            "demo wrote"
        )
    signal = ds["input"] if "input" in ds else ds[list(several)].rename(several)
    truth = ds.get("truth")
    scores = ds[[v for v in ds if str(v).startswith("score_")]].rename(
        {v: str(v)[6:] for v in ds if str(v).startswith("score_")}
    )
    report(
        ds.drop_vars([v for v in ("input", *several, "truth", *map("score_{}".format, scores)) if v in ds]),
        signal,
        title=args.title or "What the model looked at",
        truth=None if truth is None else truth.astype(bool),
        scores=scores if len(scores) else None,
        out=args.out,
    )
