"""Explaining climate emulators.

Fields: histories cut from a record, masks and distances on the sphere, baselines in physical units. Importance pooled over
samples, its profiles in space and lag, and ablation in skill units.
"""

from .ablation import Retrain, ablation
from .blocks import Blocks
from .controls import filtered, leakage, null
from .emulators import errors, normalised
from .pooling import Pool, pooled
from .profiles import lag_distance, lag_profile, radial_profile, separability
from .records import bins, crossed, histories, partition
from .regions import NINO_BOXES, box, disc, nino34, polygon, random_regions
from .removals import ablated
from .sphere import EARTH_RADIUS_KM, area_mean, area_weights, coordinates, distance
from .states import Persistence, SameSeason, State

__all__ = [
    "EARTH_RADIUS_KM",
    "NINO_BOXES",
    "Blocks",
    "Persistence",
    "Pool",
    "Retrain",
    "SameSeason",
    "State",
    "ablated",
    "ablation",
    "area_mean",
    "area_weights",
    "bins",
    "box",
    "coordinates",
    "crossed",
    "disc",
    "distance",
    "errors",
    "filtered",
    "histories",
    "lag_distance",
    "lag_profile",
    "leakage",
    "nino34",
    "normalised",
    "null",
    "partition",
    "polygon",
    "pooled",
    "radial_profile",
    "random_regions",
    "separability",
]


def __dir__() -> list[str]:
    return __all__
