"""Bases of methods, baselines, groups and targets of one's own, and the laws that they keep.

`check_baseline` and `check_groups` try what is written elsewhere against the laws that hold for all of this package's own.
They need no test runner, raise `LawBroken` where one does not hold, and return a report of what became of each.
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
from .baselines import check_baseline as check_baseline
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
    "check_baseline",
    "check_groups",
]


def __dir__() -> list[str]:
    return __all__
