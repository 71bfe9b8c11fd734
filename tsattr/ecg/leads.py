"""Lead names, and what follows from the limb leads being combinations of two."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from types import MappingProxyType

import numpy as np
import xarray as xr

from ..core.units import voltage

LIMB_LEADS = ("I", "II", "III", "aVR", "aVL", "aVF")
CHEST_LEADS = ("V1", "V2", "V3", "V4", "V5", "V6")
LEADS = LIMB_LEADS + CHEST_LEADS
"""The twelve standard leads in their usual order."""

LEAD_GROUPS: Mapping[str, str] = MappingProxyType({**dict.fromkeys(LIMB_LEADS, "limb"), **{v: v for v in CHEST_LEADS}})
"""The group of each standard lead: the six limb leads carry two independent signals, so they go absent together."""

LIMB_FROM_I_II = np.array([[1, 0], [0, 1], [-1, 1], [-0.5, -0.5], [1, -0.5], [-0.5, 1]])
"""The six limb leads (rows, in the order of `LIMB_LEADS`) from I and II (columns)."""

# What monitors record beside the ECG, by the names that PhysioNet's databases use.
_OTHER_NAMES = re.compile(
    r"\s*(pleth|plethysmogram|ppg|pulse|sp?o2|sao2|resp|respiration|breath|airflow|flow|imp|co2|etco2|abp|art|n?i?bp|pressure"
    r"|pap|cvp|icp|lap|rap|uap|uvp|eeg|emg|eog|temp|temperature|acc|pcg)\d*(?![a-z])",
    re.IGNORECASE,
)
_NO_UNITS = frozenset(["", "1", "none", "dimensionless"])  # of which the name decides

_CANONICAL = {name.lower(): name for name in LEADS}


def canonical_lead(name: str) -> str:
    """Give the usual spelling of a standard lead; any other name comes back unchanged.

    A modified lead stays what it is: MLII is recorded from the chest and is not II.

    Examples
    --------
    >>> [canonical_lead(name) for name in ("avr", " ii", "v5", "MLII")]
    ['aVR', 'II', 'V5', 'MLII']
    """
    stripped = str(name).strip()
    return _CANONICAL.get(stripped.lower(), stripped)


def may_be_ecg(name: str, units: str) -> bool:
    """Say whether a channel may be a lead of an ECG: in volts or without units, and not named as another signal.

    Examples
    --------
    >>> may_be_ecg("MCL1", "mV"), may_be_ecg("ABP", "mmHg"), may_be_ecg("RESP", "mV"), may_be_ecg("V", "")
    (True, False, False, True)
    """
    in_volts = units.strip().lower() in _NO_UNITS or voltage(units) is not None
    return in_volts and not _OTHER_NAMES.match(name)


def limb_leads(ecg: xr.DataArray) -> xr.DataArray:
    """Give the six limb leads, computed from I and II.

    III = II - I, aVR = -(I + II)/2, aVL = I - II/2, aVF = II - I/2 (Einthoven, Goldberger).

    Parameters
    ----------
    ecg : DataArray
        Any dims, one of them ``lead``, whose coordinate names I and II in any case. Other leads are not used.

    Returns
    -------
    DataArray
        The dims, dtype, attributes and units of `ecg`; ``lead`` is I, II, III, aVR, aVL, aVF.

    Examples
    --------
    >>> two = xr.DataArray([[1.0, 0.5], [3.0, 1.0]], dims=("lead", "time"), coords={"lead": ["I", "II"]})
    >>> limb_leads(two).sel(lead="aVF").values
    array([2.5 , 0.75])
    """
    names = [canonical_lead(name) for name in lead_names(ecg)]
    missing = [name for name in ("I", "II") if names.count(name) != 1]
    if missing:
        raise ValueError(
            f"limb leads are computed from one lead I and one lead II; missing or double {missing} in {names}"
        )
    axis = ecg.dims.index("lead")
    pair = np.take(ecg.values, [names.index("I"), names.index("II")], axis=axis)
    matrix = LIMB_FROM_I_II.astype(np.result_type(pair.dtype, np.float32))
    values = np.moveaxis(np.tensordot(matrix, pair, axes=(1, axis)), 0, axis)
    coords = {k: v for k, v in ecg.coords.items() if "lead" not in v.dims}
    return xr.DataArray(
        values, dims=ecg.dims, coords={**coords, "lead": list(LIMB_LEADS)}, attrs=ecg.attrs, name=ecg.name
    )


def lead_groups(leads: xr.DataArray | Iterable[str]) -> xr.DataArray:
    """Label leads for joint removal: dependent limb leads are ``"limb"``, every other lead is itself.

    Of the six limb leads any two determine the rest, so credit among three or more of them is not identifiable, and
    taking one away alone makes an input that no heart can produce. One or two limb leads are independent and keep their
    names.

    Parameters
    ----------
    leads : DataArray or iterable of str
        The lead names, or an array that has a ``lead`` coordinate.

    Returns
    -------
    DataArray of str
        Dim ``lead``; for ``tsattr.groups.Labelled``.

    Examples
    --------
    >>> lead_groups(["I", "II", "aVF", "V1"]).values.tolist()
    ['limb', 'limb', 'limb', 'V1']
    >>> lead_groups(["I", "II", "V1"]).values.tolist()
    ['I', 'II', 'V1']
    """
    names = lead_names(leads) if isinstance(leads, xr.DataArray) else [str(name) for name in leads]
    groups = [canonical_lead(name) for name in names]
    if len(set(groups) & set(LIMB_LEADS)) > 2:
        groups = [LEAD_GROUPS.get(name, name) for name in groups]
    return xr.DataArray(groups, dims="lead", coords={"lead": names}, name="lead_group")


def lead_names(array: xr.DataArray) -> list[str]:
    """Return the names along ``lead``; ValueError where there are none."""
    if "lead" not in array.dims or "lead" not in array.coords:
        raise ValueError(
            f"needs a dim 'lead' with the lead names as its coordinate; dims {array.dims}, coords {list(array.coords)}"
        )
    return [str(name) for name in array["lead"].values]
