"""The command line: the main job without writing Python, on embedded data or on the user's own model and files."""

from __future__ import annotations

import argparse
import sys
import textwrap
from collections.abc import Sequence

from .. import __version__
from . import blame, compare, datasets, demo, explain, report

COMMANDS = (demo, explain, compare, report, datasets)
_EXPECTED = (ValueError, TypeError, KeyError, IndexError, OSError, ImportError, MemoryError, RuntimeError)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    args = _parser().parse_args(argv)
    try:
        args.run(args)
    except (Exception, SystemExit) as error:
        theirs = blame.users(error)
        if theirs is None and not isinstance(error, _EXPECTED):
            raise  # a mistake of ours: the traceback is what a report of it needs
        text = f"the model raised {theirs}" if theirs is not None else _text(error)
        text = ". ".join([text, *getattr(error, "__notes__", [])])
        print(textwrap.fill(f"tsattr: {text}", 100, break_on_hyphens=False, break_long_words=False), file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("tsattr: stopped", file=sys.stderr)
        return 130
    return 0


def _text(error: BaseException) -> str:
    return str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="tsattr", description="Explain models of time series and tables over labelled data."
    )
    parser.add_argument("--version", action="version", version=f"tsattr {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for command in COMMANDS:
        command.add(commands)
    return parser
