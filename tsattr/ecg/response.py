"""The model's answer to edits of an ECG: against the dose, and by what they change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from ..core.baselines import Constant
from ..core.groups import Labelled
from ..explain import explain
from ..methods.occlusion import Occlusion
from ..metrics import bootstrap
from .cohorts import _along_samples, say_of_one_patient
from .edits import Edit, MoveBeats, RaiseST, Scale, WidenQRS

STANDARD: Mapping[str, tuple[Edit, float]] = {
    "RR before x 0.8": (MoveBeats(), 0.8),
    "P x 0": (Scale("P"), 0.0),
    "QRS lasts x 1.5": (WidenQRS(), 1.5),
    "ST + 0.1 mV": (RaiseST(), 0.1),
    "T x 0": (Scale("T"), 0.0),
}
"""The edits of `leaning`: an edit and its dose by what they do. The first is of timing, the others are of shape."""


def dose(
    model: Any,
    x: xr.DataArray,
    edit: Edit,
    doses: Sequence[float],
    *,
    measured: xr.Dataset,
    beats: xr.DataArray | None = None,
    patient: Any = None,
    level: float = 0.95,
    **settings: Any,
) -> xr.Dataset:
    """The model's output against the dose of an edit, with intervals over patients and how far off the data the edited records are.

    ``change_i(d) = f(edit(x_i, d)) - f(x_i)`` for the target f, and its mean over the samples i.

    Parameters
    ----------
    model, x
        As for `tsattr.explain`; `x` with the dims (sample, lead, time), any order.
    edit
        One of `tsattr.ecg.edits`.
    doses
        Its doses, such as ``[0, 0.5, 1, 1.5, 2]``.
    measured, beats
        What `delineate` gives of `x`, and which beats are edited (all by default).
    patient
        The patient of each sample: values along ``sample``, or the name of a coordinate. By default each sample is a patient.
    level
        Coverage of the intervals.
    **settings
        Of `tsattr.explain`: ``target``, ``context``, ``reference`` (clean records, for how far off them the edited ones are), ...

    Returns
    -------
    Dataset
        Along ``dose`` (and ``target`` for several): ``output`` and ``change`` (sample too); ``mean``, ``low`` and ``high`` of the change,
        intervals of `tsattr.metrics.bootstrap` over patients, and ``apart``, whether 0 lies outside an interval that holds for all
        doses together; with a ``reference`` ``shift`` and ``shift_intact``, 1 where clean data end. ``status`` (sample). The coordinate
        ``edit`` says what each dose does.

    Raises
    ------
    ValueError
        As `tsattr.explain` and the edit raise; no doses, patients of another number.
    TypeError
        What is no edit.

    Warns
    -----
    ExplanationWarning
        All samples are of one patient: there is no interval over patients then.

    Examples
    --------
    >>> import torch
    >>> from tsattr import ecg
    >>> from tsattr.datasets import simulate_ecg
    >>> d = simulate_ecg(4, lesions=[], sampling_rate=250)
    >>> x = d.ecg.astype("float64")
    >>> model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(x[0].size, 1)).double()
    >>> found = dose(model, x, ecg.edits.Scale("P"), [0, 1, 2], measured=ecg.delineate(d.ecg, d.r_peak))
    >>> found["mean"].sel(dose=1).item()  # nothing is changed
    0.0
    """
    doses = np.atleast_1d(doses).tolist()
    blocks = patients_of(patient, x)
    check_edits({"edit": (edit, 0.0)})
    if not len(doses):
        raise ValueError("there is no dose: give some, such as [0, 0.5, 1, 1.5, 2]")
    found = []
    for k, amount in enumerate(doses):
        found.append(
            against(
                model,
                x,
                edit(x, measured, amount, beats=beats),
                {**settings, "check": settings.get("check", True) and k == 0},
            )
        )
    amounts = xr.DataArray(np.asarray(doses, float), dims="dose", name="dose")
    whole = xr.concat(found, amounts, coords="minimal", compat="override", combine_attrs="drop_conflicts")
    say_of_one_patient([blocks])
    whole = whole.assign_coords(edit=("dose", [edit.label(float(d)) for d in doses]))
    interval = bootstrap(whole.change.transpose(..., "sample").values, blocks, level=level)
    dims = [d for d in whole.change.transpose(..., "sample").dims if d != "sample"]
    for name, values in zip(
        ("mean", "low", "high", "apart"), (interval.mean, interval.low, interval.high, interval.apart)
    ):
        whole[name] = (dims, values)
    counts = {
        "patients": len(np.unique(blocks)),
        "samples": x.sizes["sample"],
        "rows": sum(f.attrs["rows"] for f in found),
    }
    return whole.assign_attrs(level=level, **counts)


def leaning(
    model: Any,
    x: xr.DataArray,
    *,
    measured: xr.Dataset,
    classes: xr.DataArray | None = None,
    edits: Mapping[str, tuple[Edit, float]] = STANDARD,
    patient: Any = None,
    level: float = 0.95,
    **settings: Any,
) -> xr.Dataset:
    """Whether the model leans on timing or on shape: what each edit of the beats does to its output, with intervals over patients.

    Beside each edit stands its *removal*: all cells that the edit changes, bridged by straight lines. It answers another question, what
    the model does without them, and may say less or more than the edit: where time is stretched it takes whole beats away.

    Parameters
    ----------
    model, x, measured, patient, level, **settings
        As for `dose`.
    classes
        The class of each beat over the dims of ``measured.r``, such as its symbol; "" for beats that are left alone. Each class
        is edited by itself. By default all beats are of one class.
    edits
        By name, an edit and its dose.

    Returns
    -------
    Dataset
        Along ``edit`` and ``class``: ``mean``, ``low``, ``high`` of the change of the output (the mean over the samples that have such
        beats) and ``apart``, whether 0 lies outside intervals that hold for all rows together; ``removal``, the mean change when the
        edited cells are bridged; ``samples``; ``shift`` with a ``reference``. The coordinate ``kind`` of an edit is "timing" or "shape"; ``attrs["rows"]``
        says how many rows the model was asked for.

    Raises
    ------
    ValueError, TypeError
        As for `dose`; no beat or no edit; an edit without its dose; several outputs.

    Warns
    -----
    ExplanationWarning
        All samples are of one patient, or all that have beats of a class: there is no interval over patients then.
    """
    blocks = patients_of(patient, x)
    each = changes(model, x, edits, measured=measured, classes=classes, **settings)
    change = each.change.values
    say_of_one_patient(blocks[has] for has in ~np.isnan(change[0]))
    interval = bootstrap(change, blocks, level=level)
    dims = ("edit", "class")
    table = xr.Dataset(
        {
            **{n: (dims, v) for n, v in vars(interval).items()},
            "removal": (dims, bootstrap(each.removal.values, blocks, level=level).mean),
            "samples": (dims, (~np.isnan(change)).sum(-1)),
        },
        {name: each[name] for name in ("edit", "class", "kind")},
        {"level": level, "patients": len(np.unique(blocks)), "rows": each.attrs["rows"]},
    )
    return table if each["shift"].isnull().all() else table.assign(shift=each["shift"])


def changes(
    model: Any,
    x: xr.DataArray,
    edits: Mapping[str, tuple[Edit, float]],
    *,
    measured: xr.Dataset,
    classes: xr.DataArray | None = None,
    **settings: Any,
) -> xr.Dataset:
    """What `leaning` averages: ``change`` and ``removal`` (edit, class, sample), NaN for samples without such beats, ``shift`` (edit, class)."""
    check_edits(edits)
    known = measured.r.notnull()
    of_class = xr.full_like(known, "", dtype="<U1") if classes is None else classes.astype(str).transpose(*known.dims)
    names = [""] if classes is None else sorted(set(of_class.values[known.values]) - {""})
    if not names or not edits:
        raise ValueError("there is nothing to edit: `classes` names no beat, `measured` has none, or `edits` is empty")
    change = np.full((len(edits), len(names), x.sizes["sample"]), np.nan)
    removal, shift = change.copy(), np.full((len(edits), len(names)), np.nan)
    checked, rows = settings.pop("check", True), 0
    for k, (edit, amount) in enumerate(edits.values()):
        for j, name in enumerate(names):
            beats = known & (of_class == name)
            edited = edit(x, measured, amount, beats=beats)
            has = beats.any("beat").values
            given = {**settings, "check": checked and not k + j}
            found = against(model, x, edited, given)
            if set(found.change.dims) != {"sample"}:
                raise ValueError("leaning is of one output: give one target, such as target='AFIB'")
            change[k, j, has] = found.change.values[has]
            without = against(model, x, _bridged(x, edited), {**given, "check": False, "reference": None})
            removal[k, j, has] = without.change.values[has]
            rows += found.attrs["rows"] + without.attrs["rows"]
            if "shift" in found:
                shift[k, j] = np.nanmean(found["shift"].values[has])
    dims = ("edit", "class")
    return xr.Dataset(
        {"change": ((*dims, "sample"), change), "removal": ((*dims, "sample"), removal), "shift": (dims, shift)},
        {"edit": list(edits), "class": names, "kind": ("edit", [edit.kind for edit, _ in edits.values()])},
        {"rows": rows},
    )


def against(model: Any, x: xr.DataArray, edited: xr.DataArray, settings: Any) -> xr.Dataset:
    """Outputs of edited records and what they differ by from those of `x`: all cells are removed, and the edited ones put."""
    everything = xr.zeros_like(x["time"], dtype=int).drop_vars("time").drop_attrs().rename("cells")
    method = Occlusion(Labelled(everything), Constant(edited))
    ds = explain(model, x, method, **{"progress": False, **settings})
    change = -ds["group_value"].isel(group=0, drop=True)
    rows = int(ds["model_evaluations"].sum()) + ds.attrs["trial_rows"]
    found = xr.Dataset(
        {"output": ds["prediction"] + change, "change": change, "status": ds["status"]}, attrs={"rows": rows}
    )
    if "shift" in ds:
        found["shift"], found["shift_intact"] = ds["shift"].isel(group=0, drop=True), ds["shift_intact"]
    return found


def _bridged(x: xr.DataArray, edited: xr.DataArray) -> xr.DataArray:
    """`x` with straight lines where an edit changed something."""
    from scipy import ndimage

    turned = x.transpose(..., "time")
    changed = (turned.values != edited.transpose(*turned.dims).values).reshape(-1, x.sizes["time"])
    # R itself stays where QRS is stretched about it, and a wave may cross the line it is scaled over: no ends of a bridge
    changed = ndimage.binary_closing(np.pad(changed, ((0, 0), (4, 4))), np.ones((1, 4)))[:, 4:-4]
    return bridged(x, xr.DataArray(changed.reshape(turned.shape), dims=turned.dims))


def bridged(x: xr.DataArray, gone: xr.DataArray) -> xr.DataArray:
    """`x` with straight lines across the cells that are gone (True, over dims of `x`, time among them)."""
    turned = x.transpose(..., "time")
    values = turned.values.astype(float).reshape(-1, x.sizes["time"])
    cell = np.arange(values.shape[1])
    without = gone.broadcast_like(turned).transpose(*turned.dims).values.reshape(values.shape)
    for row, absent in zip(values, without):
        if absent.any() and not absent.all():
            row[absent] = np.interp(cell[absent], cell[~absent], row[~absent])
    return turned.copy(data=values.reshape(turned.shape).astype(x.dtype)).transpose(*x.dims)


def check_edits(edits: Mapping[str, Any]) -> None:
    """TypeError unless these are edits with their doses, by name."""
    for name, pair in edits.items():
        if not isinstance(pair, tuple | list) or len(pair) != 2 or not isinstance(pair[0], Edit):
            raise TypeError(
                f"edits are pairs of an edit of tsattr.ecg.edits and its dose, such as {{{name!r}: (Scale('P'), 0.0)}}; "
                f"{name!r} is {pair!r}"
            )


def patients_of(patient: Any, x: xr.DataArray) -> np.ndarray:
    """The patient of each sample; each sample its own where none is given."""
    if "sample" not in x.dims:
        raise ValueError(f"x has no sample dim: its dims are {x.dims}; for one sample use x.expand_dims('sample')")
    return np.arange(x.sizes["sample"]) if patient is None else _along_samples(patient, x, "patient", "x")
