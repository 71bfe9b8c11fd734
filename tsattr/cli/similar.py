"""``tsattr similar``."""

from __future__ import annotations

import argparse
import sys
from typing import Any

import numpy as np
import xarray as xr

from . import given, model
from .parsing import UsageError


def run(args: argparse.Namespace) -> None:
    """Make or read the gallery; find, write and print neighbours."""
    _check(args)
    net = model.load(args)
    gallery = _gallery(args, net)
    if args.input is None:
        return
    x = given.read(args.input, args)
    method = given.method_of(args, x)
    x = given.for_model(x, net, args)
    settings = _settings(args)
    near = gallery.nearest(x, args.k, apart=args.apart, **settings)
    print(_summary(near))
    if args.out is None and args.report is None:
        return
    with given.notes():
        ds = gallery.why(x, near, method=method, **settings, seed=args.seed, progress=sys.stderr.isatty())
    if args.out is not None:
        from ..io import write_result

        write_result(ds, args.out)
        print(f"wrote {args.out}")
    if args.report is not None:
        from ..cases import page

        page(ds, x, gallery, by=args.by, out=args.report)
        print(f"wrote {args.report}")


def _check(args: argparse.Namespace) -> None:
    """Raise before any work what the options alone tell."""
    if args.cases is None and args.gallery is None:
        raise UsageError(
            "name the gallery to ask, --gallery gallery.nc, or a file of cases to make one of, --cases train.nc"
        )
    if args.cases is None and (args.layer is not None or args.metric is not None):
        raise UsageError("--layer and --metric are settled when a gallery is made: they go with --cases")
    if args.input is None and (args.gallery is None or args.cases is None):
        raise UsageError(
            "name the records to ask about, --input new.nc; or make a gallery, --cases train.nc --gallery gallery.nc"
        )
    written = {"out": args.out, "report": args.report} | ({} if args.cases is None else {"gallery": args.gallery})
    read = [args.input, args.cases, args.reference] + ([] if args.cases is not None else [str(args.gallery)])
    given.check_outputs(read, **written)


def _settings(args: argparse.Namespace) -> dict[str, Any]:
    return {
        "sample_dim": args.sample_dim,
        "batch_size": "auto" if args.batch_size is None else args.batch_size,
        "device": args.device,
        "check": args.check,
    }


def _gallery(args: argparse.Namespace, net: Any) -> Any:
    """The gallery: made of the cases, and written where a file is named, or read."""
    from ..cases import Gallery

    if args.cases is None:
        return Gallery.read(args.gallery, model=net)
    cases = given.for_model(given.read(args.cases, args), net, args)
    with given.notes():
        gallery = Gallery.fit(net, cases, layer=args.layer, metric=args.metric or "cosine", **_settings(args))
    print(gallery)
    if args.gallery is not None:
        gallery.write(args.gallery)
        print(f"wrote {args.gallery}")
    return gallery


def _summary(near: xr.Dataset, most: int = 10) -> str:
    """One line a sample: its cases with their labels and distances."""
    sample = str(near["position"].dims[0])
    rows = []
    for i in range(min(near.sizes[sample], most)):
        one = near.isel({sample: i})
        found = [
            f"{case}{'' if 'case_label' not in one else f' ({one.case_label.values[j]})'} {one.distance.values[j]:.3g}"
            for j, case in enumerate(one.case.values)
            if one.position.values[j] >= 0
        ]
        name = near[sample].values[i] if sample in near.coords else i
        state = "" if one.status == "ok" else f" [{one.status.item()}]"
        rows.append(f"{sample} {name}: {', '.join(found)}{state}")
    if near.sizes[sample] > most:
        rows.append(f"... {near.sizes[sample] - most} more")
    return "\n".join([f"{near.attrs['metric']} distance; left out: {near.attrs['left_out']}", *_update(near), *rows])


def _update(near: xr.Dataset) -> list[str]:
    """How far off the cases' embeddings may be, where the gallery was carried over to the model."""
    if "case_uncertainty" not in near:
        return []
    off = near.case_uncertainty.values[near.position.values >= 0]
    off = off[off != 0]
    if not len(off):
        return []
    return [
        f"{len(off)} of these cases are transformed from an earlier model's, expected to be off by {np.nanmedian(off):.3g} (median)"
    ]
