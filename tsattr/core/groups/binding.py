"""Groups of any class bound to an input's axes."""

from __future__ import annotations

from typing import Any

from ..axes import Axes
from ..bound import BoundGroups, adopted_groups
from .labelled import Labelled


def bind(groups: Any, axes: Axes) -> BoundGroups:
    """The bound form of a groups object of any class, or what is bound already; a DataArray of labels is taken for `Labelled`."""
    if isinstance(groups, BoundGroups):
        return groups
    if hasattr(groups, "dims") and hasattr(groups, "coords"):
        groups = Labelled(groups)
    if isinstance(groups, type):
        raise TypeError(f"groups are an object with its settings: {groups.__name__}(...), not the class")
    if not hasattr(groups, "bind"):  # of any class: what it gives is adopted
        raise TypeError(
            f"groups are an object of tsattr.groups, such as Windows(time='200ms') or Along('lead'), or of a class "
            f"with bind(axes), which {groups!r} lacks"
        )
    return adopted_groups(groups.bind(axes), axes)
