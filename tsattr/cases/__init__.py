"""Galleries of cases as a model sees them: the cases most like a query, and why."""

from .embedding import embed as embed
from .gallery import Gallery as Gallery

__all__ = ["Gallery", "embed"]


def __dir__() -> list[str]:
    return __all__
