"""What became of each sample, from well to worst: of several troubles the gravest is the one to report."""

from __future__ import annotations

from enum import IntEnum


class Status(IntEnum):
    """The states of a sample; from `GRADIENT` on it has no map."""

    OK = 0
    NOT_CONVERGED = 1
    GRADIENT = 2
    OUTPUT = 3
    BASELINE = 4
    MISSING = 5

    def __str__(self) -> str:
        return NAMES[self]


NAMES = ("ok", "not converged", "non-finite gradient", "non-finite output", "no baseline", "all missing")
"""Their names in results, in the order of the states."""
