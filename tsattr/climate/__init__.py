"""Explaining climate emulators.

Fields: histories cut from a record, masks and distances on the sphere, baselines in physical units. Importance pooled over
samples, its profiles in space and lag, and ablation in skill units.
"""

from .emulators import errors as errors
from .emulators import normalised as normalised
from .records import bins as bins
from .records import crossed as crossed
from .records import histories as histories
from .records import partition as partition
from .regions import EARTH_RADIUS_KM as EARTH_RADIUS_KM
from .regions import NINO_BOXES as NINO_BOXES
from .regions import area_mean as area_mean
from .regions import area_weights as area_weights
from .regions import box as box
from .regions import coordinates as coordinates
from .regions import disc as disc
from .regions import distance as distance
from .regions import nino34 as nino34
from .regions import polygon as polygon
from .states import Persistence as Persistence
from .states import SameSeason as SameSeason
from .states import State as State
