"""``tsattr demo``."""

from __future__ import annotations

import argparse

from .parsing import UsageError


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
