"""``tsattr datasets``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any


def add(commands: Any) -> None:
    """Declare the command."""
    parser = commands.add_parser("datasets", help="list the embedded data sets, or write one to a file")
    parser.add_argument("name", nargs="?", choices=["ecg"])
    parser.add_argument("-n", type=int, default=200, help="number of samples")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="NetCDF file to write")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """List the data sets, or make one."""
    from ..datasets import simulate_ecg

    if args.name is None:
        print("ecg    12-lead electrocardiograms with planted lesions and their truth masks (simulated)")
        return
    ds = simulate_ecg(args.n, seed=args.seed)
    if args.out is None:
        print(ds)
        return
    from ..io import write_netcdf

    write_netcdf(ds, args.out)
    print(f"wrote {args.out}")
