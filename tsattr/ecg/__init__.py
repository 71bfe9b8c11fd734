"""Electrocardiograms: lead names, R peaks, beats, waves, and exact sums of an attribution over them.

Times are seconds and come from the `time` coordinate; nothing here guesses a sampling rate. Labels (`r_peaks`, `beats`,
`waves`, `lead_groups`) are DataArrays, so `tsattr.groups.Labelled` can remove what they name and `by_wave`, `by_beat`
and `by_lead` can sum an attribution over them.
"""

from .delineation import WAVE_PRIORITY as WAVE_PRIORITY
from .delineation import WAVE_WINDOWS as WAVE_WINDOWS
from .delineation import WAVES as WAVES
from .delineation import beats as beats
from .delineation import r_peaks as r_peaks
from .delineation import waves as waves
from .leads import CHEST_LEADS as CHEST_LEADS
from .leads import LEAD_GROUPS as LEAD_GROUPS
from .leads import LEADS as LEADS
from .leads import LIMB_FROM_I_II as LIMB_FROM_I_II
from .leads import LIMB_LEADS as LIMB_LEADS
from .leads import canonical_lead as canonical_lead
from .leads import lead_groups as lead_groups
from .leads import limb_leads as limb_leads
from .sums import by_beat as by_beat
from .sums import by_lead as by_lead
from .sums import by_wave as by_wave
