"""Which number of a model's output is explained.

A target is a frozen object of settings. ``bind(outputs)`` resolves labels to indices on the output axes and gives a
function ``(y, y0) -> values``: `y` (rows, *out) the outputs of a batch, `y0` the outputs of the same samples at the intact
input, values (rows,). Any object with such a ``bind`` is a target; so is a plain function of `y`.
"""

from .classes import LogOdds as LogOdds
from .classes import Margin as Margin
from .classes import Predicted as Predicted
from .classes import Probability as Probability
from .difference import Difference as Difference
from .divergence import Divergence as Divergence
from .each import Each as Each
from .entries import Output as Output
from .member import Member as Member
from .parsing import Function as Function
from .uncertainty import Uncertainty as Uncertainty
from .weighted import Projection as Projection
from .weighted import Region as Region
from .weighted import RootMeanSquare as RootMeanSquare

__all__ = [
    "Difference",
    "Divergence",
    "Each",
    "Function",
    "LogOdds",
    "Margin",
    "Member",
    "Output",
    "Predicted",
    "Probability",
    "Projection",
    "Region",
    "RootMeanSquare",
    "Uncertainty",
]


def __dir__() -> list[str]:
    return __all__
