"""What goes absent together: cells, windows, the entries of a dim, labelled parts such as beats, waves and regions.

A group object is frozen settings; ``bind(axes)`` gives the bound groups with plain arrays, whose verbs are
``mask(position, k)`` (which cells group k of a sample covers), ``count`` (how many cells of a boolean array lie in each
group) and ``spread`` (from a value for each group to the mean over the groups that cover each cell).
"""

from .labelled import Labelled as Labelled
from .refinement import split as split
from .windows import Along as Along
from .windows import Cells as Cells
from .windows import Windows as Windows

__all__ = ["Along", "Cells", "Labelled", "Windows", "split"]


def __dir__() -> list[str]:
    return __all__
