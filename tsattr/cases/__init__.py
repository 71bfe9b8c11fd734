"""Galleries of cases as a model sees them: the cases most like a query, why, and a page of pictures; carried over to a new model."""

from .embedding import embed as embed
from .gallery import Gallery as Gallery
from .page import page as page
from .transformation import Transformation as Transformation

__all__ = ["Gallery", "Transformation", "embed", "page"]


def __dir__() -> list[str]:
    return __all__
