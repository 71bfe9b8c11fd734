"""What "absent" means: the values that take the place of what is removed, decided once for every method.

A baseline is a frozen object of settings. ``bind(axes)`` turns units, coordinates and fitted references into plain
arrays; the bound object has one verb, ``fill(x, absent, key)``, which returns `x` with the cells where `absent` is True
replaced (NaN in `x` is missing and never informs a fill). ``absent`` all True gives the end point of a path.
Any object with a ``fill`` is a baseline; one with a ``bind`` is bound first. A bound one whose values at a time depend on
earlier times alone says ``causal = True``; WinIT and its family take no other.
"""

from .autoregressive import AutoRegressive as AutoRegressive
from .blur import Blur as Blur
from .boundary import Boundary as Boundary
from .climatology import Climatology as Climatology
from .constant import Constant as Constant
from .empirical import Samples as Samples
from .gaps import Bridge as Bridge
from .gaps import Hold as Hold
from .gaussian import ConditionalGaussian as ConditionalGaussian
from .generator import Generator as Generator
from .inpaint import Inpaint as Inpaint
from .joint import JointGenerator as JointGenerator
from .marginal import Marginal as Marginal
from .median_beat import MedianBeat as MedianBeat
from .missing import Missing as Missing
from .mixture import Mixture as Mixture
from .noise import Gaussian as Gaussian
from .noise import Jitter as Jitter
from .projection import Projection as Projection
from .ranges import MaximumDistance as MaximumDistance
from .ranges import Uniform as Uniform
from .spectral import BandStop as BandStop
from .spectral import PhaseRandomised as PhaseRandomised
from .statistics import Mean as Mean
from .statistics import Mode as Mode
from .typical import Typical as Typical

__all__ = [
    "AutoRegressive",
    "BandStop",
    "Blur",
    "Boundary",
    "Bridge",
    "Climatology",
    "ConditionalGaussian",
    "Constant",
    "Gaussian",
    "Generator",
    "Hold",
    "Inpaint",
    "Jitter",
    "JointGenerator",
    "Marginal",
    "MaximumDistance",
    "Mean",
    "MedianBeat",
    "Missing",
    "Mixture",
    "Mode",
    "PhaseRandomised",
    "Projection",
    "Samples",
    "Typical",
    "Uniform",
]


def __dir__() -> list[str]:
    return __all__
