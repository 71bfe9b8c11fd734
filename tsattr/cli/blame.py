"""Errors raised in the user's own code (the model, its module), told from those of the package and of libraries."""

from __future__ import annotations

import sys
import sysconfig
import traceback
from pathlib import Path

_PACKAGE = Path(__file__).parents[1]
_CALLERS = [str(_PACKAGE / "models" / name) for name in ("calling.py", "ensembles.py")]  # which call the user's model
_INSTALLED = [Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib", "purelib", "platlib")]


def user_error(error: BaseException) -> str | None:
    """The error in words, with the last line of the user's code on its way; None where it was raised outside of that code."""
    frames = traceback.extract_tb(error.__traceback__)
    last = max((k for k, frame in enumerate(frames) if Path(frame.filename).is_relative_to(_PACKAGE)), default=-1)
    user_frames = [frame for frame in frames[last + 1 :] if not _installed(frame.filename)]
    text = f"{type(error).__name__}: {' '.join(str(error).split())}"
    if user_frames:
        at = user_frames[-1]
        return f"{text} ({at.filename}, line {at.lineno}, in {at.name})"
    return text if last >= 0 and frames[last].filename in _CALLERS and last + 1 < len(frames) else None


def _installed(file: str) -> bool:
    """True for code of the interpreter and of installed packages, and for code that is in no file."""
    return file.startswith("<") or any(
        Path(file).is_relative_to(folder) for folder in (*_INSTALLED, Path(sys.base_prefix, "lib"))
    )
