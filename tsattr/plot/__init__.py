"""Pictures of attribution and of its checks, with matplotlib.

Every function takes labelled arrays, draws on a figure of its own (or on the `figure` or `ax` it is given) and returns
that figure. None uses pyplot: nothing is shown, left open or changed for other plots. In a notebook the figure shows
itself; elsewhere, `figure.savefig("name.png")`.
"""

from .checks import completeness, convergence
from .comparison import agreement, baselines, scores
from .curves import curves
from .lags import lags
from .maps import bars, field, trace
from .paper import ecg
from .standing import matrix, ranking

__all__ = [
    "agreement",
    "bars",
    "baselines",
    "completeness",
    "convergence",
    "curves",
    "ecg",
    "field",
    "lags",
    "matrix",
    "ranking",
    "scores",
    "trace",
]
