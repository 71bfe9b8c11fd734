"""``tsattr datasets``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

_KINDS = {
    "ecg": ("simulate_ecg", "12-lead electrocardiograms with planted lesions and their truth masks"),
    "risk": ("simulate_risk", "a table of patients whose risk is a known sum of shapes, with one interaction"),
    "spike": ("spike", "series whose label stays on from the first spike of one feature (Spike; FIT, WinIT)"),
    "state": ("state", "a hidden state decides which feature matters; two truths (State; FIT, Dynamask, WinIT)"),
    "switch-feature": ("switch_feature", "three states, three features; two truths (Switch-Feature; FIT, ContraLSP)"),
}  # name: (function of tsattr.datasets, what it is); all are simulated


def add(commands: Any) -> None:
    """Declare the command."""
    parser = commands.add_parser("datasets", help="list the embedded data sets, or write one to a file")
    parser.add_argument("name", nargs="?", choices=list(_KINDS))
    parser.add_argument("-n", type=int, default=200, help="number of samples")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="NetCDF file to write")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """List the data sets, or make one."""
    from .. import datasets

    if args.name is None:
        for name, (_, text) in _KINDS.items():
            print(f"{name:16} {text}")
        return
    ds = getattr(datasets, _KINDS[args.name][0])(args.n, seed=args.seed)
    if args.out is None:
        print(ds)
        return
    from ..io import write_netcdf

    write_netcdf(ds, args.out)
    print(f"wrote {args.out}")
