"""Pictures of attribution and of its checks, with matplotlib.

Every function takes labelled arrays, draws on a figure of its own (or on the `figure` or `ax` it is given) and returns
that figure. None uses pyplot: nothing is shown, left open or changed for other plots. In a notebook the figure shows
itself; elsewhere, `figure.savefig("name.png")`.
"""

from .checks import completeness, convergence
from .comparison import agreement, baselines, scores
from .contributions import dependence, waterfall
from .curves import curves
from .fields import lag_distance, profile, skill, world
from .lags import lags
from .maps import bars, field, trace
from .paper import ecg
from .standing import matrix, ranking
from .terms import importance, interaction, shape

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
    "profile",
    "ranking",
    "scores",
    "shape",
    "skill",
    "trace",
    "waterfall",
    "world",
]
