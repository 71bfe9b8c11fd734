"""Bases of methods, baselines, groups and targets of one's own, what they return, and the laws that they keep.

`check_method`, `check_baseline` and `check_groups` try what is written elsewhere against the laws that hold for all of this package's own.
They need no test runner, raise `LawBroken` where one does not hold, and return a report of what became of each.
"""

from ..core.baselines.fills import Baseline as Baseline
from ..core.baselines.fills import Full as Full
from ..core.bound import BoundBaseline as BoundBaseline
from ..core.bound import BoundGroups as BoundGroups
from ..core.completeness import completeness as completeness
from ..core.groups.masks import Groups as Groups
from ..core.method import Method as Method
from ..core.method import OverBudget as OverBudget
from ..core.results import EVENT as EVENT
from ..core.results import Field as Field
from ..core.status import Status as Status
from ..core.targets.outputs import Target as Target
from .baselines import check_baseline as check_baseline
from .groups import check_groups as check_groups
from .laws import LawBroken as LawBroken
from .laws import Report as Report
from .methods import check_method as check_method

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
    "OverBudget",
    "Report",
    "Status",
    "Target",
    "check_baseline",
    "check_groups",
    "check_method",
    "completeness",
]


def __dir__() -> list[str]:
    return __all__
