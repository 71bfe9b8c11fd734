"""Edits of an ECG: one thing about its beats is changed, in doses, and the rest stays what the patient's heart made it.

An edit is called with a record, what `tsattr.ecg.delineate` measured in it, and a dose; it gives the edited record. Between edited
and other cells there is no jump. Waves are scaled over the line between their ends and time is stretched for all leads alike, so
that what holds between leads (III = II - I) goes on to hold.

As a *removal*, an edited record takes the place of a baseline: ``ta.Occlusion(groups, ta.baselines.Constant(edited))``.
"""

from __future__ import annotations

import warnings
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import xarray as xr

from ..core.indexing import same_labels
from ..core.units import voltage
from .delineation import _check_samples, _seconds
from .editing import Hindered, Record, beats_of, cells, moved, span, warped
from .leads import LIMB_FROM_I_II, LIMB_LEADS, canonical_lead, lead_names

__all__ = ["Edit", "EvenRhythm", "MoveBeats", "RaiseST", "Scale", "SwapBeats", "WidenQRS"]


def __dir__() -> list[str]:
    return __all__


@dataclass(frozen=True)
class Edit:
    """What all edits share: how they are called. ``neutral`` is the dose that changes nothing.

    Subclasses give ``_edited``, of one record and a dose.
    """

    neutral: ClassVar[float]
    kind: ClassVar[str]
    """"timing" or "shape": what of a beat it changes."""

    def __call__(
        self, ecg: xr.DataArray, measured: xr.Dataset, dose: float, *, beats: xr.DataArray | None = None
    ) -> xr.DataArray:
        """The edited record.

        Parameters
        ----------
        ecg
            Dims ``lead``, ``time`` (seconds) and optionally ``sample``, any order.
        measured
            `delineate(ecg, r_peak)` of it.
        dose
            How much, in the edit's own terms.
        beats
            True for the beats to edit, over the dims of ``measured.r``; all by default.

        Returns
        -------
        DataArray
            As `ecg`, with ``attrs["edit"]``.

        Raises
        ------
        ValueError
            Other dims, a dose that is not finite or makes no sense, beats of another record.
        """
        extra = set(ecg.dims) - {"sample", "lead", "time"}
        if extra or not {"lead", "time"} <= set(ecg.dims):
            raise ValueError(
                f"an edit takes an ECG with the dims (sample, lead, time), sample optional; these are {ecg.dims}"
            )
        if ("sample" in ecg.dims) != ("sample" in measured.r.dims):
            raise ValueError(
                f"ecg has the dims {ecg.dims}, and what was measured {measured.r.dims}: give `delineate` of this ecg"
            )
        if not np.isfinite(dose):
            raise ValueError(f"a dose is a finite number, got {dose!r}")
        time = _seconds(ecg)
        turned = ecg.transpose(..., "lead", "time")
        records = turned.values.astype(float).reshape(-1, *turned.shape[-2:])
        each = beats_of(measured, beats)
        if len(each) != len(records):
            raise ValueError(
                f"measured is of {len(each)} samples, ecg has {len(records)}: give `delineate` of this ecg"
            )
        _check_samples(ecg, measured.r, "measured")
        leads, in_mv = lead_names(ecg), _in_millivolts(ecg)
        hindered = Hindered()
        given = [Record(x, time, b, leads, in_mv, hindered) for x, b in zip(records, each)]
        if dose == self.neutral:
            return ecg.assign_attrs(edit=self.label(dose))
        edited = np.stack([self._edited(record, float(dose)) for record in given])
        hindered.warn()
        found = turned.copy(data=edited.reshape(turned.shape).astype(ecg.dtype)).transpose(*ecg.dims)
        return found.assign_attrs(edit=self.label(dose))

    def label(self, dose: float) -> str:
        """What the edit with a dose does, in words."""
        return f"{self} at {dose:g}"

    @abstractmethod
    def _edited(self, record: Record, dose: float) -> np.ndarray:
        """One record (lead, time) with its beats edited."""


@dataclass(frozen=True)
class Scale(Edit):
    """A wave of every beat times the dose: 0 takes it away, -1 inverts it, 1 leaves it.

    ``x' = l + dose (x - l)``, with l the straight line between the ends of the wave, each lead by itself.

    Parameters
    ----------
    wave
        "P", "QRS" or "T", where they were measured, or "ST", between QRS and T.
    leads
        Names of the leads to edit; all by default.

    Examples
    --------
    >>> from tsattr import ecg
    >>> from tsattr.datasets import simulate_ecg
    >>> record = simulate_ecg(1, lesions=[], sampling_rate=250).isel(sample=0)
    >>> measured = ecg.delineate(record.ecg, record.r_peak)
    >>> without = Scale("P")(record.ecg, measured, 0)
    >>> changed = abs(without - record.ecg).max("lead") > 0
    >>> bool((ecg.waves(record.r_peak, measured=measured)[changed] == ecg.WAVES.index("P")).all())
    True
    """

    neutral: ClassVar[float] = 1.0
    kind: ClassVar[str] = "shape"
    wave: str
    leads: Sequence[str] | None = None

    def __post_init__(self) -> None:
        if self.wave not in ("P", "QRS", "ST", "T"):
            raise ValueError(f'wave is "P", "QRS", "ST" or "T", got {self.wave!r}')

    def label(self, dose: float) -> str:
        """Such as "P x 0.5"."""
        return f"{self.wave} x {dose:g}"

    def _edited(self, record: Record, dose: float) -> np.ndarray:
        x, rows = record.x.copy(), _rows_of(self.leads, record.leads)
        for first, last in cells(record.time, span(record.beats, self.wave)[record.beats.chosen]):
            part = x[rows, first:last]
            line = np.linspace(part[:, 0], part[:, -1], last - first, axis=1)
            x[rows, first:last] = part + (dose - 1) * (part - line)  # with a dose of 1 exactly what it was
        return x


@dataclass(frozen=True)
class RaiseST(Edit):
    """ST raised by the dose in mV, or lowered: a plateau from the end of QRS to the beginning of T, with cosine flanks into T.

    Parameters
    ----------
    leads
        Names of the leads to edit; all by default. Limb leads are combinations of I and II, so that all of them change with those
        named: II, III and aVF raised by 0.2 mV lower aVR and aVL by 0.1 mV. By default I and II are named of them.
    """

    neutral: ClassVar[float] = 0.0
    kind: ClassVar[str] = "shape"
    leads: Sequence[str] | None = None

    def label(self, dose: float) -> str:
        """Such as "ST + 0.2 mV"."""
        return f"ST {'-' if dose < 0 else '+'} {abs(dose):g} mV"

    def _edited(self, record: Record, dose: float) -> np.ndarray:
        x, beats = record.x.copy(), record.beats
        heights = dose / record.in_mv * _share(self.leads, record.leads)
        knots = np.stack([beats.qrs[:, 1], beats.qrs[:, 1] + 0.02, span(beats, "ST")[:, 1], beats.stop], axis=1)
        for k in np.flatnonzero(beats.chosen):
            at = np.maximum.accumulate(knots[k])
            plateau = np.interp(record.time, at, [0.0, 1.0, 1.0, 0.0], left=0, right=0)
            x += heights[:, None] * (1 - np.cos(np.pi * plateau)) / 2
        return x


@dataclass(frozen=True)
class WidenQRS(Edit):
    """QRS lasts dose times as long, its shape stretched about R; what lies between it and the ends of P and T gives way.

    It takes at most four fifths of the room between P and the end of T, with a warning. Measured again by `delineate`, QRS lasts a
    little less than dose times as long: on simulated beats 90 ms become 128 at 1.5 and 165 at 2, as some 15 ms of a measured width
    are of the measurement (slopes in a band to 40 Hz, smoothed over 12 ms) and do not stretch.
    """

    neutral: ClassVar[float] = 1.0
    kind: ClassVar[str] = "shape"

    def label(self, dose: float) -> str:
        """Such as "QRS lasts x 1.5"."""
        return f"QRS lasts x {dose:g}"

    def _edited(self, record: Record, dose: float) -> np.ndarray:
        if dose <= 0:
            raise ValueError(f"QRS lasts a positive multiple of what it did, got a dose of {dose:g}")
        beats = record.beats
        left = np.fmax(np.where(np.isnan(beats.p[:, 1]), -np.inf, beats.p[:, 1]), beats.qrs[:, 0] - 0.12)
        left, right = np.minimum(left, beats.qrs[:, 0] - 0.02), np.maximum(beats.stop, beats.qrs[:, 1] + 0.05)
        r, (on, off) = beats.r, beats.qrs.T
        new_on, new_off = r - dose * (r - on), r + dose * (off - r)
        room_on, room_off = r - 0.8 * (r - left), r + 0.8 * (right - r)
        hindered = ((new_on < room_on) | (new_off > room_off))[beats.chosen]
        record.hindered.count("beats have a QRS that lasts only as long as P and T leave room for it", hindered)
        source = np.stack([left, on, r, off, right], axis=1)
        target = np.stack([left, np.maximum(new_on, room_on), r, np.minimum(new_off, room_off), right], axis=1)
        return warped(record.x, record.time, source[beats.chosen].ravel(), target[beats.chosen].ravel())


@dataclass(frozen=True)
class MoveBeats(Edit):
    """Beats come after dose times the RR interval before them: earlier below 1, later above. Shapes stay, and so do the other beats.

    A beat, from P to the end of T, moves as it is; only what lies between it and its neighbours is stretched. It goes as far as
    they and the ends of the record let it, with a warning. The first beat has no interval before it and stays.
    """

    neutral: ClassVar[float] = 1.0
    kind: ClassVar[str] = "timing"

    def label(self, dose: float) -> str:
        """Such as "RR before x 0.8"."""
        return f"RR before x {dose:g}"

    def _edited(self, record: Record, dose: float) -> np.ndarray:
        if dose <= 0:
            raise ValueError(f"an RR interval lasts a positive multiple of what it did, got a dose of {dose:g}")
        r = record.beats.r
        return moved(record, (dose - 1) * np.diff(r, prepend=r[:1]))


@dataclass(frozen=True)
class EvenRhythm(Edit):
    """Beats at equal intervals between the first and the last, by the dose: 0 leaves them, 1 makes all RR intervals equal."""

    neutral: ClassVar[float] = 0.0
    kind: ClassVar[str] = "timing"

    def label(self, dose: float) -> str:
        """Such as "rhythm 100 % even"."""
        return f"rhythm {100 * dose:g} % even"

    def _edited(self, record: Record, dose: float) -> np.ndarray:
        r = record.beats.r
        even = np.linspace(r[0], r[-1], len(r)) if len(r) > 2 else r
        return moved(record, dose * (even - r))


@dataclass(frozen=True)
class SwapBeats(Edit):
    """The shape of beats exchanged for a median beat, by the dose: 0 leaves them, 1 swaps them. Their times stay.

    Parameters
    ----------
    template
        (lead, offset) with ``offset`` in seconds from R, of these leads; :meth:`fit` makes it.

    Examples
    --------
    >>> from tsattr import ecg
    >>> from tsattr.datasets import simulate_ecg
    >>> records = simulate_ecg(2, lesions=[])
    >>> measured = ecg.delineate(records.ecg, records.r_peak)
    >>> SwapBeats.fit(records.ecg, measured).template.dims
    ('lead', 'offset')
    """

    neutral: ClassVar[float] = 0.0
    kind: ClassVar[str] = "shape"
    template: xr.DataArray

    @classmethod
    def fit(
        cls,
        ecg: xr.DataArray,
        measured: xr.Dataset,
        beats: xr.DataArray | None = None,
        *,
        before: float = 0.35,
        after: float = 0.55,
    ) -> SwapBeats:
        """The median of the beats (True in `beats`, all by default) of a patient, or of a cohort along ``sample``, lead by lead."""
        time, turned = _seconds(ecg), ecg.transpose(..., "lead", "time")
        step = float(np.median(np.diff(time)))
        offset = np.arange(-round(before / step), round(after / step) + 1) * step
        found = []
        for x, b in zip(turned.values.reshape(-1, *turned.shape[-2:]), beats_of(measured, beats)):
            found += [
                np.stack([np.interp(r + offset, time, lead, left=np.nan, right=np.nan) for lead in x])
                for r in b.r[b.chosen]
            ]
        if not found:
            raise ValueError("there is no beat to take the median of: choose some in beats")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # cells that every record cuts off
            median = np.nanmedian(np.stack(found), axis=0)
        known = ~np.isnan(median).any(axis=0)
        median = _consistent(median, lead_names(ecg))
        coords = {"lead": lead_names(ecg), "offset": ("offset", offset[known], {"units": "s"})}
        return cls(xr.DataArray(median[:, known], dims=("lead", "offset"), coords=coords, attrs=ecg.attrs))

    def label(self, dose: float) -> str:
        """Such as "100 % median beat"."""
        return f"{100 * dose:g} % median beat"

    def _edited(self, record: Record, dose: float) -> np.ndarray:
        names = lead_names(self.template)
        if not same_labels(np.array(record.leads), np.array(names)):
            raise ValueError(f"the template has the leads {names}, ecg has {record.leads}: fit it to these")
        x, time, beats, offset = record.x.copy(), record.time, record.beats, self.template["offset"].values
        for k in np.flatnonzero(beats.chosen):
            start, stop = max(beats.start[k], beats.r[k] + offset[0]), min(beats.stop[k], beats.r[k] + offset[-1])
            for first, last in cells(time, np.array([[start, stop]])):
                part = x[:, first:last]
                new = np.stack(
                    [np.interp(time[first:last] - beats.r[k], offset, lead) for lead in self.template.values]
                )
                ends = [np.linspace(v[:, 0], v[:, -1], last - first, axis=1) for v in (part, new)]
                x[:, first:last] = part + dose * (new - ends[1] + ends[0] - part)
        return x


def _rows_of(wanted: Sequence[str] | None, leads: list[str]) -> np.ndarray:
    if wanted is None:
        return np.arange(len(leads))
    names = [canonical_lead(name) for name in leads]
    asked = [canonical_lead(name) for name in ([wanted] if isinstance(wanted, str) else wanted)]
    if missing := [name for name in asked if name not in names]:
        raise ValueError(f"no lead {missing[0]!r} among {leads}")
    return np.array([names.index(name) for name in asked])


def _share(wanted: Sequence[str] | None, leads: list[str]) -> np.ndarray:
    """How much of the height of the named leads each lead takes: limb leads what follows from those named among them."""
    names = [canonical_lead(name) for name in leads]
    limb = [k for k, name in enumerate(names) if name in LIMB_LEADS]
    two = [k for k in limb if names[k] in ("I", "II")]
    rows = (
        _rows_of(wanted, leads)
        if wanted is not None
        else np.setdiff1d(np.arange(len(leads)), [k for k in limb if two and k not in two])
    )
    share = np.isin(np.arange(len(leads)), rows).astype(float)
    if named := [k for k in limb if k in rows]:
        matrix = LIMB_FROM_I_II[[LIMB_LEADS.index(names[k]) for k in limb]]
        i_and_ii = np.linalg.lstsq(matrix[[limb.index(k) for k in named]], np.ones(len(named)), rcond=None)[0]
        share[limb] = matrix @ i_and_ii
    return share


def _consistent(values: np.ndarray, leads: list[str]) -> np.ndarray:
    """(lead, ...) with limb leads that follow from I and II where both are there."""
    names = [canonical_lead(name) for name in leads]
    if {"I", "II"} <= set(names):
        pair = values[[names.index("I"), names.index("II")]]
        values = values.copy()
        for k, name in enumerate(names):
            if name in LIMB_LEADS:
                values[k] = LIMB_FROM_I_II[LIMB_LEADS.index(name)] @ pair
    return values


def _in_millivolts(ecg: xr.DataArray) -> np.ndarray:
    """The unit of each lead in mV; mV where none is known."""
    units = np.broadcast_to(ecg.coords.get("units", ecg.attrs.get("units", "mV")), ecg.sizes["lead"])
    return np.array([(voltage(str(u)) or ("", 1.0))[1] for u in units])
