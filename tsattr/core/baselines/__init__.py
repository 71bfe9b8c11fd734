"""What "absent" means: the values that take the place of what is removed, as frozen objects of settings."""

from .autoregressive import AutoRegressive as AutoRegressive
from .basic import Blur as Blur
from .basic import Bridge as Bridge
from .basic import Constant as Constant
from .basic import Hold as Hold
from .basic import MaximumDistance as MaximumDistance
from .basic import Mean as Mean
from .basic import Mixture as Mixture
from .basic import Mode as Mode
from .basic import Samples as Samples
from .basic import Uniform as Uniform
from .boundary import Boundary as Boundary
from .gaussian import ConditionalGaussian as ConditionalGaussian
from .generator import Generator as Generator
from .inpaint import Inpaint as Inpaint
from .joint import JointGenerator as JointGenerator
from .marginal import Marginal as Marginal
from .noise import Gaussian as Gaussian
from .noise import Jitter as Jitter
from .spectral import BandStop as BandStop
from .spectral import PhaseRandomised as PhaseRandomised
from .templates import Climatology as Climatology
from .templates import MedianBeat as MedianBeat
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
    "Mixture",
    "Mode",
    "PhaseRandomised",
    "Samples",
    "Typical",
    "Uniform",
]


def __dir__() -> list[str]:
    return __all__
