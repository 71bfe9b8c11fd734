"""Bases of methods, baselines, groups and targets of one's own, and the laws that they keep.

``check_groups`` tries what is written elsewhere against the laws that hold for all of this package's own. It needs no test
runner, raises `LawBroken` where one does not hold, and returns a report of what became of each.
"""

from ..core.baselines.fills import Baseline as Baseline
from ..core.baselines.fills import Full as Full
from ..core.bound import BoundBaseline as BoundBaseline
from ..core.bound import BoundGroups as BoundGroups
from ..core.groups.masks import Groups as Groups
from ..core.method import Method as Method
from ..core.results import EVENT as EVENT
from ..core.results import Field as Field
from ..core.targets.outputs import Target as Target
from .groups import check_groups as check_groups
from .laws import LawBroken as LawBroken
from .laws import Report as Report

__all__ = [
    "EVENT",
    "Baseline",
    "BoundBaseline",
    "BoundGroups",
    "Field",
    "Full",
    "Groups",
    "LawBroken",
    "Method",
    "Report",
    "Target",
    "check_groups",
]


def __dir__() -> list[str]:
    return __all__
