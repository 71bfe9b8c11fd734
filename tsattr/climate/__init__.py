"""Explaining climate emulators.

Fields: histories cut from a record, masks and distances on the sphere, baselines in physical units. Importance pooled over
samples, its profiles in space and lag, and ablation in skill units.
"""

from .ablation import Retrain as Retrain
from .ablation import ablation as ablation
from .blocks import Blocks as Blocks
from .controls import filtered as filtered
from .controls import leakage as leakage
from .controls import null as null
from .emulators import errors as errors
from .emulators import normalised as normalised
from .pooling import Pool as Pool
from .pooling import pooled as pooled
from .profiles import lag_distance as lag_distance
from .profiles import lag_profile as lag_profile
from .profiles import radial_profile as radial_profile
from .profiles import separability as separability
from .records import bins as bins
from .records import crossed as crossed
from .records import histories as histories
from .records import partition as partition
from .regions import NINO_BOXES as NINO_BOXES
from .regions import box as box
from .regions import disc as disc
from .regions import nino34 as nino34
from .regions import polygon as polygon
from .regions import random_regions as random_regions
from .removals import ablated as ablated
from .sphere import EARTH_RADIUS_KM as EARTH_RADIUS_KM
from .sphere import area_mean as area_mean
from .sphere import area_weights as area_weights
from .sphere import coordinates as coordinates
from .sphere import distance as distance
from .states import Persistence as Persistence
from .states import SameSeason as SameSeason
from .states import State as State
