"""Electrocardiograms: lead names, R peaks, beats, waves, and exact sums of an attribution over them.

Times are seconds and come from the `time` coordinate; nothing here guesses a sampling rate. Labels (`r_peaks`, `beats`,
`waves`, `lead_groups`) are DataArrays, so `tsattr.groups.Labelled` can remove what they name and `by_wave`, `by_beat`
and `by_lead` can sum an attribution over them.
"""

from .delineate import delineate
from .delineation import WAVE_PRIORITY, WAVE_WINDOWS, WAVES, beats, r_peaks, waves
from .leads import CHEST_LEADS, LEAD_GROUPS, LEADS, LIMB_FROM_I_II, LIMB_LEADS, canonical_lead, lead_groups, limb_leads
from .sums import by_beat, by_lead, by_wave

__all__ = [
    "CHEST_LEADS",
    "LEADS",
    "LEAD_GROUPS",
    "LIMB_FROM_I_II",
    "LIMB_LEADS",
    "WAVES",
    "WAVE_PRIORITY",
    "WAVE_WINDOWS",
    "beats",
    "by_beat",
    "by_lead",
    "by_wave",
    "canonical_lead",
    "delineate",
    "lead_groups",
    "limb_leads",
    "r_peaks",
    "waves",
]


def __dir__() -> list[str]:
    return __all__
