"""Whose an error is: the user's own code, where the last of its lines says what to mend; or none of theirs."""

from __future__ import annotations

import sys
import sysconfig
import traceback
from pathlib import Path

_PACKAGE = Path(__file__).parents[1]
_CALLERS = [str(_PACKAGE / "models" / name) for name in ("calling.py", "ensembles.py")]  # which call the user's model
_INSTALLED = [Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib", "purelib", "platlib")]


def users(error: BaseException) -> str | None:
    """What the user's code did, and where; None where the error was raised outside of it."""
    frames = traceback.extract_tb(error.__traceback__)
    last = max((k for k, frame in enumerate(frames) if Path(frame.filename).is_relative_to(_PACKAGE)), default=-1)
    theirs = [frame for frame in frames[last + 1 :] if not _installed(frame.filename)]
    said = f"{type(error).__name__}: {' '.join(str(error).split())}"
    if theirs:
        return f"{said} ({theirs[-1].filename}, line {theirs[-1].lineno}, in {theirs[-1].name})"
    return said if last >= 0 and frames[last].filename in _CALLERS and last + 1 < len(frames) else None


def _installed(file: str) -> bool:
    return file.startswith("<") or any(
        Path(file).is_relative_to(folder) for folder in (*_INSTALLED, Path(sys.base_prefix, "lib"))
    )
