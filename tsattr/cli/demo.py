"""``tsattr demo``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from .parsing import UsageError


def add(commands: Any, what: str) -> None:
    """Declare the command, which does `what`."""
    parser = commands.add_parser("demo", help=what)
    parser.add_argument("kind", nargs="?", choices=["ecg", "climate", "tabular"], default="ecg")
    parser.add_argument(
        "--out", type=Path, default=Path("demo"), help="folder for attribution.nc and report.html (default: demo)"
    )
    parser.add_argument("--quick", action="store_true", help="less data and fewer draws")
    parser.add_argument("--seed", type=int, default=0)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Make the demo's folder."""
    from .. import demo
    from ..io import CannotWrite

    try:
        getattr(demo, args.kind)(args.out, lambda line: print(line, flush=True), quick=args.quick, seed=args.seed)
    except (FileNotFoundError, FileExistsError, PermissionError, NotADirectoryError) as error:
        if isinstance(error, CannotWrite):
            raise
        raise UsageError(f"cannot write into the folder {args.out}: {error.strerror}") from error
