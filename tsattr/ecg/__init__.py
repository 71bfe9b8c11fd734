"""Electrocardiograms: lead names, R peaks, beats, waves, and exact sums of an attribution over them.

Times are seconds and come from the `time` coordinate; nothing here guesses a sampling rate. Labels (`r_peaks`, `beats`,
`waves`, `lead_groups`) are DataArrays, so `tsattr.groups.Labelled` can remove what they name and `by_wave`, `by_beat`
and `by_lead` can sum an attribution over them.
"""

import importlib as _importlib
from typing import TYPE_CHECKING as _TYPE_CHECKING
from typing import Any as _Any

from . import edits
from .delineate import delineate
from .delineation import WAVE_PRIORITY, WAVE_WINDOWS, WAVES, beats, r_peaks, waves
from .leads import CHEST_LEADS, LEAD_GROUPS, LEADS, LIMB_FROM_I_II, LIMB_LEADS, canonical_lead, lead_groups, limb_leads
from .sums import by, by_beat, by_lead, by_wave

if _TYPE_CHECKING:
    from .audit import check
    from .cohorts import aligned, cohort
    from .response import dose, leaning

__all__ = [
    "CHEST_LEADS",
    "LEADS",
    "LEAD_GROUPS",
    "LIMB_FROM_I_II",
    "LIMB_LEADS",
    "WAVES",
    "WAVE_PRIORITY",
    "WAVE_WINDOWS",
    "aligned",
    "beats",
    "by",
    "by_beat",
    "by_lead",
    "by_wave",
    "canonical_lead",
    "check",
    "cohort",
    "delineate",
    "dose",
    "edits",
    "lead_groups",
    "leaning",
    "limb_leads",
    "r_peaks",
    "waves",
]

_LATER = {  # which explain
    "aligned": "cohorts",
    "check": "audit",
    "cohort": "cohorts",
    "dose": "response",
    "leaning": "response",
}


def __getattr__(name: str) -> _Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(_importlib.import_module(f".{_LATER[name]}", __name__), name)


def __dir__() -> list[str]:
    return __all__
