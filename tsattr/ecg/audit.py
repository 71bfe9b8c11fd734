"""`check`: what the evidence supports of a model of ECGs and of its maps, claim by claim."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import xarray as xr
from torch import nn

from ..core.method import Method, check_is_method
from ..edge.progress import Progress, reported
from ..explain import explain
from ..metrics import cascade, pointing_game, sample_key
from .claims import NOT_SUPPORTED, SUPPORTED, UNKNOWN, Claim, judged, mean_over, rate_over
from .delineate import delineate
from .delineation import WAVES, _seconds, beats, r_peaks, waves
from .edits import Edit, MoveBeats, RaiseST, Scale, WidenQRS, _in_millivolts
from .leads import LEADS, canonical_lead, lead_names
from .response import STANDARD, against, bridged, changes, check_edits, patients_of
from .simulator import simulate_ecg

PLANTED: Mapping[str, tuple[Edit, float]] = {
    "ST + 0.2 mV": (RaiseST(), 0.2),
    "P x 0": (Scale("P"), 0.0),
    "QRS lasts x 1.5": (WidenQRS(), 1.5),
    "one beat early": (MoveBeats(), 0.75),
}
"""What is planted in simulated records: an edit and its dose; the last in one beat, the others in all."""

COUNTS = 0.1
"""Of the largest mean change of the output, what counts as an answer of the model."""

_ALONE = 0.2  # of what a map changes where the model answers, below which it leaves a change alone
_TOLERANCE = 0.05  # seconds by which a map may miss a planted change
_NOISE = 0.005  # mV of simulated records, less than is usual: an edit that stretches time moves the noise too
_SEEN = 0.05  # of the largest change of a record, what counts as a changed cell
_SHARE, _OTHERS = 0.2, 10  # of the waves, what is taken away; how many random choices stand beside it
_MOST = 10  # patients whose maps are made again with random weights
_CELL = 0.02  # seconds of a cell in which those are compared
_MEASURES = ("spearman", "spearman_absolute", "top_iou")
_ROOM = ".*(moved only as far as|lasts only as long as|have a QRS of).*"  # what edits of simulated beats warn of


def check(
    model: Any,
    x: xr.DataArray,
    methods: Any,
    *,
    measured: xr.Dataset | None = None,
    edits: Mapping[str, tuple[Edit, float]] = STANDARD,
    patient: Any = None,
    subjects: int = 16,
    level: float = 0.95,
    seed: int = 0,
    progress: bool | Callable[[int, int], None] = False,
    **settings: Any,
) -> xr.Dataset:
    """What the evidence supports of a model of ECGs and of its maps: claims, figures with intervals, and a sentence for each.

    - *planted*: in simulated records, of which all is known, ST is raised, P taken away, QRS widened, and one beat comes early.
      Where the output f answers to that, the map should change there: its largest change between a record and its healthy
      twin lies within 50 ms of a cell that was changed (by a twentieth of the largest change), more often than a place at random would.
      Where f does not answer, the map should be left alone: in all, and per mV of what was changed, it changes less than a fifth of
      what it does where f answers. (Not asked of the early beat, with which a map moves along.)
    - *removal*: the fifth of the waves that the map ranks first (mean absolute value over leads and cells) is bridged by straight
      lines, and so are waves drawn at random that last as long together:
      ``|f(x without the first) - f(x)| - mean |f(x without random ones) - f(x)|`` is above 0.
    - *edits*: what moves the output of these records (`leaning`), of timing and of shape; and of the waves whose shape is edited, the one that moves
      the output most is the one to which the map gives most, more often than by chance.
    - *weights*: with all weights random, the map of ten patients' records, in cells of 20 ms, is no more like the map than unrelated ones
      are (`tsattr.metrics.cascade`, whose rule decides).

    A claim is "supported" where an interval over patients (planted: over simulated subjects) that holds for all claims together (Bonferroni)
    lies on its side of chance; "not supported" where it does not; "cannot be told" with fewer than six patients, or where nothing moves
    the output; "not run" where a part does not fit, and the sentence says why. The model answers to a change where its mean
    lies beyond a tenth of the largest mean change. Nothing here shows that a map is right, or a model: only what was tried.

    Parameters
    ----------
    model, x, **settings
        As for `tsattr.explain`: ``target`` (one), ``outputs``, ``context``, ...; `x` with the dims (sample, lead, time), any order, seconds.
    methods
        A method with its baseline, such as ``IntegratedGradients(Blur(time="200ms"))``, or several by name.
    measured
        What `delineate` gives of `x`; by default of the R peaks that `r_peaks` finds.
    edits
        By name, an edit and its dose, as for `leaning`.
    patient
        The patient of each sample: values along ``sample``, or the name of a coordinate. By default each sample is a patient.
    subjects
        How many simulated subjects are planted in.
    level
        Coverage of each interval that is shown, and of all together by which is judged.
    seed
        Of simulated records, of other places and of random weights.
    progress
        As for `tsattr.explain`, of all rows; how many they will be is known as the parts begin.

    Returns
    -------
    Dataset
        Along ``claim``: ``verdict``, ``estimate`` with ``low`` and ``high``, ``against`` (chance, or what counts), ``n``, and
        ``sentence``, which says all of it; coordinates ``part``, ``method`` ("" for the model alone), ``what`` the estimate is and of
        what ``n``. ``attrs["verdict"]``, all sentences; ``attrs["rows"]``, for how many rows the model was asked.

    Raises
    ------
    ValueError, TypeError
        As `tsattr.explain` and `leaning`; several outputs without a target; maps without one number a cell.

    Notes
    -----
    It explains `x` once, ``5 subjects`` simulated records and ten more for each method, and asks for 22 rows a record for
    removals and four for each edit.

    Examples
    --------
    >>> import torch, tsattr as ta
    >>> from tsattr.ecg.edits import Scale
    >>> d = ta.datasets.simulate_ecg(8, lesions=(), sampling_rate=100, duration=4.0)
    >>> model = lambda x: x.amax((1, 2))[:, None]  # reads the largest R
    >>> edits = {"P x 0": (Scale("P"), 0.0), "QRS x 2": (Scale("QRS"), 2.0)}
    >>> found = check(model, d.ecg, ta.Saliency(), edits=edits, measured=ta.ecg.delineate(d.ecg, d.r_peak), subjects=6)
    >>> for sentence in found.sentence.sel(claim=["edit P x 0", "edit QRS x 2"]).values:
    ...     print(sentence)
    not supported: the output answers to P x 0; change of the output 0 [0, 0], what counts beyond 0.126, n = 8 patients.
    supported: the output answers to QRS x 2; change of the output 1.26 [1.11, 1.41], what counts beyond 0.126, n = 8 patients.
    """
    named = dict(methods) if isinstance(methods, Mapping) else {type(methods).__name__: methods}
    for method in named.values():
        check_is_method(method)
    check_edits(edits)
    blocks = patients_of(patient, x)
    if measured is None:
        measured = delineate(x, r_peaks(x))
    with reported(progress, 0, "check") as told:
        asking = _Asking(model, settings | {"seed": seed}, told)
        records = _Records(x, measured, blocks, asking, seed)
        maps = {name: asking.map(x, method) for name, method in named.items()}
        claims = [
            *_planted(records, named, subjects, level),
            *_removed(records, maps),
            *_edited(records, edits, maps, level),
            *_random_weights(records, named, maps),
        ]
    table = judged(claims, level)
    return table.assign_attrs(rows=asking.rows, seed=seed, verdict=_in_words(table, x, blocks))


@dataclass
class _Asking:
    """The model with the settings of the call, and for how many rows it was asked."""

    model: Any
    settings: dict[str, Any]
    told: Progress
    rows: int = 0

    def map(self, x: xr.DataArray, method: Method, model: Any = None) -> xr.DataArray:
        """The map of a method, in the order of the dims of `x`."""
        given = self.settings | {"progress": self.step()}
        ds = explain(self.model if model is None else model, x, method, **given)
        self.settings |= {"check": False, "reference": None}  # what they say is said of the first map
        self.rows += int(ds["model_evaluations"].sum()) + ds.attrs["trial_rows"]
        if "predicted" in ds and self.settings.get("target") is None:
            raise ValueError(
                "check is of one output, also where another one is predicted: give target='AFIB' or the like"
            )
        if set(ds["attribution"].dims) != set(x.dims):
            raise ValueError(
                f"check is of maps with one number a cell, over {x.dims}; that of {type(method).__name__} has {ds['attribution'].dims}: "
                "give one target, and a method without lags"
            )
        return ds["attribution"].transpose(*x.dims).assign_attrs(prediction=ds["prediction"].values)

    def step(self) -> Callable[[int, int], None]:
        """What `explain` tells of its rows, call after call, is told of all of them."""
        seen = [0, 0]

        def told(done: int, known: int) -> None:
            if done < seen[0]:
                seen[:] = [0, 0]
            if known > seen[1]:
                self.told.expect(known - seen[1])
            self.told.advance(done - seen[0])
            seen[:] = [done, known]

        return told


@dataclass
class _Records:
    """The records that are asked about, what was measured in them, and whose they are."""

    x: xr.DataArray
    measured: xr.Dataset
    patients: np.ndarray
    asking: _Asking
    seed: int
    wave: xr.DataArray = field(init=False)
    beat: xr.DataArray = field(init=False)

    def __post_init__(self) -> None:
        time = _seconds(self.x)
        marks = np.zeros((self.x.sizes["sample"], len(time)), bool)
        for row, r in zip(marks, self.measured.r.transpose("sample", "beat").values):
            row[np.abs(time[:, None] - r[~np.isnan(r)]).argmin(0)] = True
        coords = {d: self.x[d] for d in ("sample", "time") if d in self.x.coords}
        peaks = xr.DataArray(marks, dims=("sample", "time"), coords=coords)
        self.wave, self.beat = waves(peaks, measured=self.measured), beats(peaks)


# ---- changes planted in simulated records


def _planted(records: _Records, methods: Mapping[str, Method], subjects: int, level: float) -> Iterator[Claim]:
    """Where the output answers to what is planted, the map points there; where it does not, the map leaves it alone."""
    healthy, measured, why = _simulated(records, subjects)
    if healthy is None or measured is None:
        yield Claim(
            "planted", "planted", "the map points to what is planted in simulated records", reason=why, ran=False
        )
        return
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=_ROOM)
        planted = {
            name: edit(healthy, measured, dose, beats=_where(name, measured)) for name, (edit, dose) in PLANTED.items()
        }
    together = 1 - (1 - level) / len(planted)
    for name, method in methods.items():
        twin = records.asking.map(healthy, method)
        each = {
            what: _Planted.of(healthy, x, twin, records.asking.map(x, method), together) for what, x in planted.items()
        }
        for what in planted:
            yield _of_planted(what, name, each)


@dataclass(frozen=True, eq=False)
class _Planted:
    """What one planted change did, subject by subject: to the record, to the output, and to the map.

    ``area`` is what it changed of the record, ``size`` what of the map (sums over cells); ``hit`` says whether the map changes most
    where the record was changed, ``chance`` how often a place at random would.
    """

    area: np.ndarray
    answer: np.ndarray
    size: np.ndarray
    hit: np.ndarray
    chance: np.ndarray
    level: float

    @classmethod
    def of(cls, healthy: xr.DataArray, x: xr.DataArray, twin: xr.DataArray, a: xr.DataArray, level: float) -> _Planted:
        """Of a record and its healthy twin, and their maps."""
        dims = ("sample", "lead", "time")
        changed, moved = (
            np.nan_to_num(abs(u - v).transpose(*dims).values.astype(float)) for u, v in ((x, healthy), (a, twin))
        )
        truth = changed > _SEEN * changed.max((1, 2), keepdims=True)
        cells = round(_TOLERANCE / float(np.median(np.diff(x["time"]))))
        hit, chance = (pointing_game(s, truth, tolerance=cells) for s in (moved, np.zeros_like(moved)))
        area = changed.sum((1, 2))
        area[area == 0] = np.nan  # a subject without such a wave has no change to point to
        answer = np.where(np.isnan(area), np.nan, a.attrs["prediction"] - twin.attrs["prediction"])
        return cls(area, answer, moved.sum((1, 2)), hit, chance, level)

    def within(self, values: np.ndarray, counts: float) -> str:
        """Whether the mean of values lies "beyond" what counts, on either side, "within" it, or it is "unclear"."""
        low, high = mean_over(values, np.arange(len(values)))[1](self.level)
        return (
            "beyond" if low > counts or high < -counts else "within" if -counts <= low and high <= counts else "unclear"
        )


def _of_planted(what: str, method: str, each: Mapping[str, _Planted]) -> Claim:
    """The claim on one planted change: that the map points there, where the output answers, or else leaves it alone."""
    own = each[what]
    most = COUNTS * max(abs(float(np.nanmean(p.answer))) for p in each.values())
    most_per_area = COUNTS * max(abs(float(np.nanmean(p.answer / p.area))) for p in each.values())
    answering = [p for p in each.values() if p.within(p.answer, most) == "beyond"]
    words = f"{what} planted in simulated records (change of the output {np.nanmean(own.answer):.3g})"
    claim = Claim("planted", f"planted {what}", f"the map points to {words}", method, of="simulated subjects")
    block, chance = np.arange(len(own.answer)), float(np.nanmean(own.chance))
    if own in answering:
        estimate, interval, n = rate_over(own.hit, block)
        return replace(claim, what="rate", estimate=estimate, interval=interval, n=n, against=chance)
    claim = replace(claim, claim=f"the map leaves alone {words}", n=len(block))
    if not answering:
        return replace(claim, reason="the output answers to nothing that is planted")
    if {own.within(own.answer, most), own.within(own.answer / own.area, most_per_area)} != {"within"}:
        return replace(claim, reason="it is not clear whether the output answers to this")
    if PLANTED[what][0].kind == "timing":
        return replace(claim, reason="a map moves along with a beat, and rightly so")
    usual, usual_per_area = (
        np.mean([np.nanmean(v) for v in sizes])
        for sizes in ([p.size for p in answering], [p.size / p.area for p in answering])
    )
    if not usual > 0:
        return replace(claim, reason="the map does not change where the output answers either")
    estimate, interval, n = mean_over(np.maximum(own.size / usual, own.size / own.area / usual_per_area), block)
    said = "its change, of that where the output answers,"
    return replace(claim, what=said, estimate=estimate, interval=interval, n=n, against=_ALONE, side="below")


def _simulated(records: _Records, subjects: int) -> tuple[xr.DataArray | None, xr.Dataset | None, str]:
    """Healthy simulated records like `x` with what is measured in them, or why there are none."""
    x, settings = records.x, records.asking.settings
    names, time = lead_names(x), _seconds(x)
    leads = [canonical_lead(name) for name in names]
    rate = (len(time) - 1) / (time[-1] - time[0])
    if unknown := [name for name in leads if name not in LEADS]:
        return None, None, f"the simulator has the twelve standard leads, and not {unknown[0]}"
    if rate < 50 or len(time) / rate < 4:
        return (
            None,
            None,
            f"the simulator makes 4 s or more at 50 Hz or more; these are {len(time) / rate:.3g} s at {rate:.4g} Hz",
        )
    if settings.get("context") or settings.get("valid") is not None:
        return None, None, "simulated subjects have no context, and no padding, as these records have"
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=_ROOM)
        d = simulate_ecg(
            subjects,
            lesions=(),
            sampling_rate=rate,
            duration=len(time) / rate,
            distractor=False,
            noise=_NOISE,
            seed=records.seed,
            dtype="float64",
        )
        measured = delineate(d.ecg, d.r_peak)
    ecg = d.ecg.sel(lead=leads).assign_coords(lead=names) / xr.DataArray(_in_millivolts(x), dims="lead")
    ecg = ecg.assign_attrs({k: v for k, v in x.attrs.items() if k == "units"})
    if "units" in x.coords and x.coords["units"].dims == ("lead",):
        ecg = ecg.assign_coords(units=("lead", x.coords["units"].values))
    simulated: xr.DataArray = ecg.transpose(*x.dims).astype(x.dtype)
    return simulated, measured, ""


def _where(name: str, measured: xr.Dataset) -> xr.DataArray | None:
    """The beats that are changed: one in the middle comes early, else all."""
    if name != "one beat early":
        return None
    middle: xr.DataArray = (measured.beat == measured.r.count("beat") // 2 + 1) & measured.r.notnull()
    return middle


# ---- waves taken away


def _removed(records: _Records, maps: Mapping[str, xr.DataArray]) -> Iterator[Claim]:
    """The waves that the map ranks first move the output more than random waves that last as long together."""
    labels = records.x["sample"].values if "sample" in records.x.coords else None
    code = (records.beat * len(WAVES) + records.wave).where(records.wave > 0, -1).transpose("sample", "time")
    for name, a in maps.items():
        first = _first_waves(code, abs(a).mean("lead").transpose("sample", "time").fillna(0).values)
        size = _effect(records, first)
        others = np.zeros((_OTHERS, len(size)))
        for draw in range(_OTHERS):
            key = sample_key(len(size), labels=labels, seed=records.seed, draw=draw)
            drawn = [
                _random_waves(c, int(f.sum()), key.rng(i)) for i, (c, f) in enumerate(zip(code.values, first.values))
            ]
            others[draw] = _effect(records, first.copy(data=np.stack(drawn)))
        estimate, interval, n = mean_over(size - others.mean(0), records.patients)
        claim = "taking away the waves that the map ranks first moves the output more than random waves of the same length do"
        yield Claim("removal", "removal", claim, name, "by", estimate, interval, n)


def _first_waves(code: xr.DataArray, size: np.ndarray) -> xr.DataArray:
    """True (sample, time) in the fifth of each record's waves, beat by beat, that have the largest mean size."""
    first = np.zeros(code.shape, bool)
    for row, wave, strength in zip(first, code.values, size):
        names, at = np.unique(wave, return_inverse=True)
        mean = np.where(names < 0, -1.0, np.bincount(at, strength) / np.bincount(at))
        most = np.argsort(-mean, kind="stable")[: max(1, round(_SHARE * (names >= 0).sum()))]
        row[:] = np.isin(at, most) & (wave >= 0)
    return code.drop_attrs().copy(data=first)


def _random_waves(code: np.ndarray, length: int, rng: np.random.Generator) -> np.ndarray:
    """True along time in waves drawn at random, so many cells in all; the last wave is cut short."""
    chosen = np.zeros(len(code), bool)
    for wave in rng.permutation(np.unique(code[code >= 0])):
        chosen[np.flatnonzero(code == wave)[: length - chosen.sum()]] = True
    return chosen


def _effect(records: _Records, gone: xr.DataArray) -> np.ndarray:
    """By how much the output of each record moves without some of its time."""
    found = against(
        records.asking.model,
        records.x,
        bridged(records.x, gone),
        records.asking.settings | {"progress": records.asking.step()},
    )
    records.asking.rows += found.attrs["rows"]
    size: np.ndarray = np.abs(found["change"].values)
    return size


# ---- edits of the records themselves


def _edited(
    records: _Records, edits: Mapping[str, tuple[Edit, float]], maps: Mapping[str, xr.DataArray], level: float
) -> Iterator[Claim]:
    """What moves the output, of timing and of shape; and whether the map gives most to the wave that does."""
    settings = records.asking.settings | {"progress": records.asking.step()}
    found = changes(records.asking.model, records.x, edits, measured=records.measured, **settings)
    records.asking.rows += found.attrs["rows"]
    change = dict(zip(edits, found.change.values[:, 0]))
    counts = COUNTS * max(abs(float(np.nanmean(c))) for c in change.values())
    answers = set()
    for name, (edit, _) in edits.items():
        estimate, interval, n = mean_over(change[name], records.patients)
        low, high = interval(1 - (1 - level) / len(edits))
        answers |= {edit.kind} if low > counts or high < -counts else set()
        timing = " (timing, for which a map of cells has no place)" if edit.kind == "timing" else ""
        yield Claim(
            "edits",
            f"edit {name}",
            f"the output answers to {name}{timing}",
            "",
            "change of the output",
            estimate,
            interval,
            n,
            against=counts,
            side="beyond",
        )
    claim = "the wave whose shape moves the output most is the one to which the map gives most"
    moving = {
        w: np.fmax.reduce([np.abs(change[n]) for n, (e, _) in edits.items() if _wave_of(e) == w])
        for w in WAVES
        if any(_wave_of(e) == w for e, _ in edits.values())
    }
    for name, a in maps.items():
        if len(moving) < 2:
            yield Claim(
                "edits", "waves", claim, name, reason="it takes edits of the shape of two waves at least", ran=False
            )
            continue
        hit = _same_first(records, a, moving)
        estimate, interval, n = rate_over(hit, records.patients)
        why = "" if "shape" in answers else "no edit of shape is seen to move the output"
        yield Claim("edits", "waves", claim, name, "rate", estimate, interval, n, against=1 / len(moving), reason=why)


def _wave_of(edit: Edit) -> str:
    """The wave whose shape an edit changes, "" where it is not one."""
    if isinstance(edit, Scale):
        return edit.wave
    return "ST" if isinstance(edit, RaiseST) else "QRS" if isinstance(edit, WidenQRS) else ""


def _same_first(records: _Records, a: xr.DataArray, moving: Mapping[str, np.ndarray]) -> np.ndarray:
    """Of each record, 1 where the wave that moves the output most has the largest mean size of the map; NaN where none moves it."""
    size = abs(a).mean("lead")
    given = np.stack([size.where(records.wave == WAVES.index(w)).mean("time").fillna(0).values for w in moving])
    moves = np.nan_to_num(np.stack(list(moving.values())))
    same = (given.argmax(0) == moves.argmax(0)) & (given.max(0) > 0)
    return np.where(moves.max(0) > 0, same.astype(float), np.nan)


# ---- random weights


def _random_weights(
    records: _Records, methods: Mapping[str, Method], maps: Mapping[str, xr.DataArray]
) -> Iterator[Claim]:
    """With random weights the map is another."""
    part, model = "weights", records.asking.model
    claim = "the map depends on what the model has learnt: with random weights it is another"
    if not isinstance(model, nn.Module) or not any(True for _ in model.parameters()):
        yield Claim(
            part, part, claim, reason=f"{type(model).__name__} has no weights that could be made random", ran=False
        )
        return
    some = np.sort(np.unique(records.patients, return_index=True)[1][:_MOST])
    if records.asking.settings.get("context") or records.asking.settings.get("valid") is not None:
        some = np.arange(len(records.patients))  # which are given of all samples
    x = records.x.isel(sample=some)
    for name, method in methods.items():
        again = _Again(records.asking, x, method, maps[name].isel(sample=some))
        found = cascade(model, again, every=False, seed=records.seed)
        excess = {k: found.attrs[f"{k}_last"] - found.attrs[f"{k}_band"] for k in _MEASURES}
        worst = max(excess, key=lambda k: excess[k])
        estimate, interval, n = mean_over(abs(found[worst][-1]).values, records.patients[some])
        decided = {"passes": SUPPORTED, "fails": NOT_SUPPORTED}.get(found.attrs["verdict"].split(":")[0], UNKNOWN)
        yield Claim(
            part, part, claim, name, f"likeness ({worst.replace('_', ' ')})", estimate, interval, n,
            against=found.attrs[f"{worst}_band"], side="below", decided=decided,
        )  # fmt: skip


@dataclass(frozen=True)
class _Again:
    """The map of some records by a copy of the model; of the model itself it is there already."""

    asking: _Asking
    x: xr.DataArray
    method: Method
    own: xr.DataArray

    def __call__(self, model: nn.Module) -> xr.DataArray:
        """In cells of 20 ms."""
        return _coarse(self.own if model is self.asking.model else self.asking.map(self.x, self.method, model))


def _coarse(a: xr.DataArray) -> xr.DataArray:
    """A map in cells of 20 ms: no reader sees finer, and likeness is quicker to count."""
    step = float(np.median(np.diff(_seconds(a))))
    return a.coarsen(time=max(1, round(_CELL / step)), boundary="trim").mean()


def _in_words(table: xr.Dataset, x: xr.DataArray, patients: np.ndarray) -> str:
    """All sentences, and what they are of."""
    head = (
        f"{x.sizes['sample']} records of {len(np.unique(patients))} patients. Intervals are of {table.attrs['level']:.0%} each; verdicts hold for all "
        f"{table.attrs['judged_together']} claims together (each by its interval of {table.attrs['level_of_each']:.2%})."
    )
    tail = "Nothing here shows that a map or a model is right: only what was tried, in these records."
    return "\n".join([head, *(f"- {s}" for s in table.sentence.values), tail])
