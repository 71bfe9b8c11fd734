"""Bases of methods, baselines, groups and targets of one's own, and the laws that they keep."""

from ..core.baselines.fills import Baseline as Baseline
from ..core.baselines.fills import Full as Full
from ..core.bound import BoundBaseline as BoundBaseline
from ..core.bound import BoundGroups as BoundGroups
from ..core.groups.windows import Groups as Groups
from ..core.method import Method as Method
from ..core.results import EVENT as EVENT
from ..core.results import Field as Field
from ..core.targets.outputs import Target as Target

__all__ = ["EVENT", "Baseline", "BoundBaseline", "BoundGroups", "Field", "Full", "Groups", "Method", "Target"]


def __dir__() -> list[str]:
    return __all__
