"""The command line: the main job without writing Python, on embedded data or on the user's own model and files."""

from __future__ import annotations

import argparse
import importlib
import re
import sys
import textwrap
from collections.abc import Collection, Sequence

from ..version import __version__
from . import blame, commands

COMMANDS = {
    "demo": "the main job on embedded data: simulate, train, explain, score, report",
    "explain": "explain your own model on your own file",
    "compare": "which method and which baseline to believe, tested on your own model and file",
    "similar": "the cases that your model holds to be most like a record, and why",
    "report": "write the HTML report of a saved result",
    "datasets": "list the embedded data sets, or write one to a file",
}
"""What each does. `commands` declares its options; its module, of the same name, is loaded when it runs: help does not wait for
torch."""
_OPTIONS = (
    (r"check=False", "--no-check"),
    (r"x\.astype\('(float32|float64)'\)", r"--dtype \1"),
    (r", or several: target=\[0, 1\]", ""),
    (r",? or (x as float32 with )?autocast='bfloat16'", ""),  # which the command line has not
)
_NAMES = frozenset({"apart", "batch_size", "by", "device", "dims", "layer", "leads", "metric", "outputs", "resample"})
_NAMES |= {"sample_dim", "start", "stop", "target", "units", "variable"}
_ARGUMENT = re.compile(r"(?<!\w\()(?<!\w, )(?<![\w.])(\w+)=(?!=)([\w'\"\[{-]|\.\.\.|)")
_EXPECTED = (ValueError, TypeError, KeyError, IndexError, OSError, ImportError, MemoryError, RuntimeError)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    args = _parser().parse_args(argv)
    try:
        importlib.import_module(f".{args.command}", __name__).run(args)
    except (Exception, SystemExit) as error:
        cause = blame.user_error(error)
        if cause is None and not isinstance(error, _EXPECTED):
            raise  # a mistake of ours: the traceback is what a report of it needs
        text = f"the model raised {cause}" if cause is not None else _text(error)
        notes = [text, *getattr(error, "__notes__", [])]
        text = _as_options(". ".join(re.sub(r"(?<!\.)\.$", "", part) for part in notes), _NAMES & {*vars(args)})
        print(textwrap.fill(f"tsattr: {text}", 100, break_on_hyphens=False, break_long_words=False), file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("tsattr: stopped", file=sys.stderr)
        return 130
    return 0


def _text(error: BaseException) -> str:
    return str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)


def _as_options(text: str, names: Collection[str] = _NAMES) -> str:
    """Advice as it is followed on a command line: the arguments of a call that are options of this command, its `names`.

    >>> _as_options("give batch_size=1, or Samples.fit(x, sample_dim='stay'); check=False spares it")
    "give --batch-size 1, or Samples.fit(x, sample_dim='stay'); --no-check spares it"
    >>> _as_options("name them with dims=; give x.astype('float64')")
    'name them with --dims; give --dtype float64'
    >>> _as_options("such as target=0, or several: target=[0, 1]; outputs=... gives the labels")
    'such as --target 0; --outputs ... gives the labels'
    >>> _as_options("name it with layer=...; give target=0", {"target"})
    'name it with layer=...; give --target 0'
    """
    for said, instead in _OPTIONS:
        text = re.sub(said, instead, text)

    def option(found: re.Match[str]) -> str:
        return f"--{found[1].replace('_', '-')}{' ' * (found[2] != '')}{found[2]}" if found[1] in names else found[0]

    return _ARGUMENT.sub(option, text)


def _parser() -> argparse.ArgumentParser:
    """The parser of all commands, with their options."""
    parser = argparse.ArgumentParser(
        prog="tsattr", description="Explain models of time series and tables over labelled data."
    )
    parser.add_argument("--version", action="version", version=f"tsattr {__version__}")
    chosen = parser.add_subparsers(required=True, metavar="COMMAND", dest="command")
    for name, what in COMMANDS.items():
        getattr(commands, name)(chosen, what)
    return parser
