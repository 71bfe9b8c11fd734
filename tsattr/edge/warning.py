"""What the reader of an explanation must know, said once and at the line of who asked for it."""

from __future__ import annotations

import contextlib
import os
import sys
import warnings
from collections.abc import Iterator
from contextvars import ContextVar
from pathlib import Path

_PACKAGE = f"{Path(__file__).parents[1]}{os.sep}"
_SAID: ContextVar[set[str] | None] = ContextVar("said", default=None)


class ExplanationWarning(UserWarning):
    """Something about an explanation that its reader must know: samples that did not converge, a doubtful baseline."""


@contextlib.contextmanager
def said_once() -> Iterator[None]:
    """What several explanations within would each warn of in the same words is said once."""
    said = _SAID.get()
    before = _SAID.set(set() if said is None else said)
    try:
        yield
    finally:
        _SAID.reset(before)


def tell(text: str, kind: type[Warning] = ExplanationWarning) -> None:
    """Warn, at the line outside this package from which the call came."""
    said = _SAID.get()
    if said is not None:
        if text in said:
            return
        said.add(text)
    level, frame = 2, sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        level, frame = level + 1, frame.f_back
    warnings.warn(text, kind, stacklevel=level)
