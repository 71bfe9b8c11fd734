"""Which number of a model's output is explained."""

from .divergence import Divergence as Divergence
from .values import Difference as Difference
from .values import Function as Function
from .values import LogOdds as LogOdds
from .values import Margin as Margin
from .values import Output as Output
from .values import Predicted as Predicted
from .values import Probability as Probability
from .weighted import Projection as Projection
from .weighted import Region as Region
from .weighted import RootMeanSquare as RootMeanSquare

__all__ = [
    "Difference",
    "Divergence",
    "Function",
    "LogOdds",
    "Margin",
    "Output",
    "Predicted",
    "Probability",
    "Projection",
    "Region",
    "RootMeanSquare",
]


def __dir__() -> list[str]:
    return __all__
