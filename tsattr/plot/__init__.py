"""Pictures of attribution and of its checks, with matplotlib.

Every function takes labelled arrays, draws on a figure of its own (or on the `figure` or `ax` it is given) and returns
that figure. None uses pyplot: nothing is shown, left open or changed for other plots. In a notebook the figure shows
itself; elsewhere, `figure.savefig("name.png")`, or `save(figure, "name.pdf", width="85mm")` for print.
"""

from .checks import completeness, convergence
from .comparison import agreement, baselines, scores
from .curves import curves
from .dependence import dependence
from .lags import lags
from .maps import bars, field, trace
from .pairs import pairs
from .paper import ecg
from .printing import save
from .profiles import lag_distance, profile, skill
from .shapes import shape
from .standing import matrix, ranking
from .terms import importance, interaction
from .waterfall import waterfall
from .world import world

__all__ = [
    "agreement",
    "bars",
    "baselines",
    "completeness",
    "convergence",
    "curves",
    "dependence",
    "ecg",
    "field",
    "importance",
    "interaction",
    "lag_distance",
    "lags",
    "matrix",
    "pairs",
    "profile",
    "ranking",
    "save",
    "scores",
    "shape",
    "skill",
    "trace",
    "waterfall",
    "world",
]


def __dir__() -> list[str]:
    return __all__
