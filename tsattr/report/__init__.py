"""One explanation, or one comparison of methods, as one HTML file that anyone can open, print and send on."""

from .absence import at_baseline
from .additive import additive
from .comparison import comparison
from .page import report

__all__ = ["additive", "at_baseline", "comparison", "report"]


def __dir__() -> list[str]:
    return __all__
