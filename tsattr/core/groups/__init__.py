"""What goes absent together: cells, windows, the entries of a dim, labelled parts such as beats, waves and regions."""

from .windows import Along as Along
from .windows import Cells as Cells
from .windows import Labelled as Labelled
from .windows import Windows as Windows
from .windows import split as split

__all__ = ["Along", "Cells", "Labelled", "Windows", "split"]


def __dir__() -> list[str]:
    return __all__
