"""Intensive-care stays of the PhysioNet 2012 challenge: from the long table of measurements to a labelled grid."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from .icu_files import read_outcomes, read_records

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Bools = NDArray[np.bool_]
Table: TypeAlias = str | PathLike[str] | pd.DataFrame


class _Parameter(NamedTuple):
    text: str
    unit: str
    low: float  # values outside low to high are impossible in a living patient, or no reading at all
    high: float


_FEATURES = {
    "Albumin": _Parameter("albumin", "g/dL", 0.1, 10),
    "ALP": _Parameter("alkaline phosphatase", "IU/L", 1, 10_000),
    "ALT": _Parameter("alanine transaminase", "IU/L", 1, 50_000),
    "AST": _Parameter("aspartate transaminase", "IU/L", 1, 50_000),
    "Bilirubin": _Parameter("bilirubin", "mg/dL", 0, 100),
    "BUN": _Parameter("blood urea nitrogen", "mg/dL", 0.5, 400),
    "Cholesterol": _Parameter("cholesterol", "mg/dL", 10, 2000),
    "Creatinine": _Parameter("serum creatinine", "mg/dL", 0.05, 60),
    "DiasABP": _Parameter("invasive diastolic arterial blood pressure", "mmHg", 1, 300),
    "FiO2": _Parameter("fraction of inspired oxygen", "1", 0.2, 1),
    "GCS": _Parameter("Glasgow coma scale", "1", 3, 15),
    "Glucose": _Parameter("serum glucose", "mg/dL", 5, 3000),
    "HCO3": _Parameter("serum bicarbonate", "mmol/L", 1, 80),
    "HCT": _Parameter("haematocrit", "%", 3, 80),
    "HR": _Parameter("heart rate", "1/min", 1, 350),
    "K": _Parameter("serum potassium", "mmol/L", 1, 15),
    "Lactate": _Parameter("lactate", "mmol/L", 0.05, 50),
    "MAP": _Parameter("invasive mean arterial blood pressure", "mmHg", 1, 300),
    "MechVent": _Parameter("mechanical ventilation", "1", 0, 1),
    # The challenge's list says mmol/L; the values (median 2.0, normal for mg/dL) say otherwise.
    "Mg": _Parameter("serum magnesium", "mg/dL", 0.1, 20),
    "Na": _Parameter("serum sodium", "mmol/L", 80, 220),
    "NIDiasABP": _Parameter("non-invasive diastolic arterial blood pressure", "mmHg", 1, 300),
    "NIMAP": _Parameter("non-invasive mean arterial blood pressure", "mmHg", 1, 300),
    "NISysABP": _Parameter("non-invasive systolic arterial blood pressure", "mmHg", 1, 350),
    "PaCO2": _Parameter("arterial partial pressure of carbon dioxide", "mmHg", 5, 250),
    "PaO2": _Parameter("arterial partial pressure of oxygen", "mmHg", 5, 800),
    "pH": _Parameter("arterial pH", "1", 6, 8.5),
    "Platelets": _Parameter("platelets", "1/nL", 0.5, 5000),
    "RespRate": _Parameter("respiration rate", "1/min", 0, 150),
    "SaO2": _Parameter("oxygen saturation of haemoglobin", "%", 10, 100),
    "SysABP": _Parameter("invasive systolic arterial blood pressure", "mmHg", 1, 350),
    "Temp": _Parameter("temperature", "degC", 20, 45),
    "TroponinI": _Parameter("troponin I", "ug/L", 0, 1000),
    "TroponinT": _Parameter("troponin T", "ug/L", 0, 500),
    "Urine": _Parameter("urine output", "mL", 0, 20_000),
    "WBC": _Parameter("white blood cell count", "1/nL", 0, 1000),
    "Weight": _Parameter("weight", "kg", 20, 400),
}
# The descriptors of a record, by their name in the table: the variable's name, and what it is.
_DESCRIPTORS = {
    "Age": ("age", _Parameter("age", "year", 0, 120)),
    "Gender": ("gender", _Parameter("gender", "1", 0, 1)),
    "Height": ("height", _Parameter("height", "cm", 100, 250)),
    "ICUType": ("icu_type", _Parameter("kind of intensive-care unit", "1", 1, 4)),
    "Weight": ("weight", _FEATURES["Weight"]._replace(text="weight at admission")),
}
_FLAGS = {
    "gender": "female male",
    "icu_type": "coronary_care cardiac_surgery_recovery medical surgical",
}
_ROW = ("RecordID", "Time", "Parameter", "Value")
_OUTCOME = "In-hospital_death"
_AGGREGATES = ("mean", "last")


def read_physionet2012(
    long_table: Table,
    outcomes: Table | None = None,
    *,
    hours: float = 48,
    step: str = "1h",
    aggregate: str = "mean",
    limits: Mapping[str, tuple[float, float]] | None = None,
) -> xr.Dataset:
    """Read ICU stays of the PhysioNet/Computing in Cardiology Challenge 2012 onto a regular labelled grid.

    Cell k of a feature holds what was measured at k * step <= time < (k + 1) * step since admission; the last cell
    includes its end, so that the measurements at 48:00 have a place. Values that no living patient has (and the code -1)
    are no measurements: they are left out and counted. The 37 features are always all there, in alphabetic order, so
    that every set has the same layout.

    Age, gender, height and ICU type describe a record, and so does its first weight at 00:00, the weight at admission;
    every other weight is a measurement. Of a descriptor given twice, the first possible value holds.

    Parameters
    ----------
    long_table : path or DataFrame
        The challenge's own folder, or one of its sets ("set-a"): a file "132539.txt" for each record, with ``Time``,
        ``Parameter``, ``Value``. Or these put together, a measurement a row: ``RecordID``, ``Time`` (since admission,
        "HH:MM"), ``Parameter``, ``Value``, in any order; a CSV file may be compressed.
    outcomes : path or DataFrame, optional
        ``RecordID`` and ``In-hospital_death`` (0 or 1), a record a row, such as "Outcomes-a.txt"; it may have more records
        than the table. None: with a folder, those that lie in it or beside a set, if there are any.
    hours, step
        Length of the grid in hours, a multiple of `step`, a time such as "1h" or "30min".
    aggregate : "mean" or "last"
        What a cell holds of several measurements: their mean, or the latest (of those at one minute, the last in the
        table). A repeated time counts like any other measurement.
    limits : mapping, optional
        ``{parameter: (low, high)}``: other limits of what is possible, both included, for features and descriptors.

    Returns
    -------
    Dataset
        With a sample for each record, in the order of first appearance and labelled by RecordID:

        - ``x`` (sample, feature, time), float32 in each feature's units (coordinate ``units``, which pictures show), NaN
          where nothing was measured; of urine, an amount at each time, the cell's total is ``x * count`` of the means;
        - ``mask`` and ``count`` (sample, feature, time): whether, and how often, it was measured;
        - ``gap`` (sample, feature, time): hours from the feature's latest measurement to the end of the cell, to the
          minute; NaN before the first;
        - ``age`` (year), ``gender`` (0 female, 1 male), ``height`` (cm), ``weight`` (kg) and ``icu_type`` (1 coronary
          care, 2 cardiac surgery recovery, 3 medical, 4 surgical) by sample, NaN where unknown;
        - ``label`` (sample), 1 for death in hospital, if there are outcomes.

        The time is that of the cell's start, in hours. In attrs, ``measurements`` are the rows that are no descriptors;
        of these ``impossible`` and ``after_end`` (later than `hours`) are left out, so that ``count`` sums to what
        remains; ``repeated`` is the number of kept ones at a time that the same feature already has. The coordinate
        ``impossible`` and that attribute of the descriptors count by parameter.

    Raises
    ------
    KeyError
        A missing column.
    ValueError
        A folder without records, an unknown parameter, a time that is no "HH:MM", an empty cell of the table, records
        without an outcome or with two, a grid that is no multiple of `step`, or another option outside the above.

    References
    ----------
    I. Silva, G. Moody, D. J. Scott, L. A. Celi, R. G. Mark: Predicting in-hospital mortality of ICU patients: the
    PhysioNet/Computing in Cardiology Challenge 2012. Computing in Cardiology 39, 245-248 (2012).

    Examples
    --------
    >>> rows = [(7, "00:00", "Age", 61), (7, "00:10", "HR", 80), (7, "00:50", "HR", 90), (7, "02:30", "HR", 70)]
    >>> stays = pd.DataFrame(rows, columns=["RecordID", "Time", "Parameter", "Value"])
    >>> ds = read_physionet2012(stays, hours=4)
    >>> ds.x.sel(sample=7, feature="HR").values
    array([85., nan, 70., nan], dtype=float32)
    >>> ds.gap.sel(sample=7, feature="HR").values.round(2)
    array([0.17, 1.17, 0.5 , 1.5 ], dtype=float32)
    """
    if aggregate not in _AGGREGATES:
        raise ValueError(f"aggregate is one of {_AGGREGATES}, not {aggregate!r}")
    low, high = _limits(limits or {})
    width, times = _grid(hours, step)
    if (folder := _folder(long_table)) is not None:
        long_table, outcomes = read_records(folder), read_outcomes(folder) if outcomes is None else outcomes
    table = _read(long_table, _ROW)
    record, records = pd.factorize(table["RecordID"].to_numpy())
    minutes = _minutes(table["Time"])
    parameter = _parameters(table["Parameter"])
    value = pd.to_numeric(table["Value"]).to_numpy(dtype=float)

    possible = (value >= low[parameter]) & (value <= high[parameter])
    described = _described(record, minutes, parameter)
    measured, inside = ~described, minutes <= times * width
    kept = measured & possible & inside
    cell = np.minimum(minutes // width, times - 1).astype(np.int64)
    shape = (len(records), len(_FEATURES), times)
    flat = np.ravel_multi_index((record[kept], parameter[kept], cell[kept]), shape)
    variables, repeated = _cells(flat, value[kept], minutes[kept], shape, width, aggregate)
    impossible = np.bincount(parameter[measured & ~possible], minlength=len(_FEATURES))[: len(_FEATURES)]

    ds = xr.Dataset(
        variables | _descriptors(record, parameter, value, described, possible, len(records)),
        coords={
            "sample": ("sample", np.asarray(records), {"long_name": "RecordID"}),
            "feature": list(_FEATURES),
            "time": (
                "time",
                np.arange(times) * width / 60,
                {"units": "h", "long_name": "start of the cell, from admission"},
            ),
            "units": ("feature", [p.unit for p in _FEATURES.values()], {"long_name": "units of x"}),
            "description": ("feature", [p.text for p in _FEATURES.values()]),
            "impossible": ("feature", impossible, {"long_name": "values left out, as no patient has them"}),
        },
        attrs={
            "title": "PhysioNet/Computing in Cardiology Challenge 2012: ICU stays",
            "references": "Silva et al., Computing in Cardiology 39, 245-248 (2012)",
            "aggregate": aggregate,
            "measurements": int(measured.sum()),
            "impossible": int(impossible.sum()),
            "after_end": int((measured & possible & ~inside).sum()),
            "repeated": repeated,
        },
    )
    if outcomes is not None:
        text = {"long_name": "death in hospital", "flag_values": np.arange(2), "flag_meanings": "survived died"}
        ds["label"] = ("sample", _labels(_read(outcomes, ("RecordID", _OUTCOME)), records), text)
    return ds


def _folder(table: Table) -> Path | None:
    """Return the path of a folder, None for a table or the path of one."""
    return path if not isinstance(table, pd.DataFrame) and (path := Path(table)).is_dir() else None


def _read(table: Table, columns: tuple[str, ...]) -> pd.DataFrame:
    """Read the columns of a table, every cell of which must be filled."""
    frame = table if isinstance(table, pd.DataFrame) else pd.read_csv(table)
    if missing := [c for c in columns if c not in frame.columns]:
        raise KeyError(
            f"the table has no column {missing}; needed are {list(columns)}, there are {list(frame.columns)}"
        )
    if frame.empty:
        raise ValueError("the table has no rows")
    for column in columns:
        if empty := int(frame[column].isna().sum()):
            raise ValueError(f"{column} is empty in {empty} rows of the table: fill them in, or drop them")
    return frame


def _limits(changes: Mapping[str, tuple[float, float]]) -> tuple[Floats, Floats]:
    """Lowest and highest possible values, of the features and then of the descriptors that are none."""
    known = _FEATURES | {name: p for name, (_, p) in _DESCRIPTORS.items() if name not in _FEATURES}
    if unknown := sorted(set(changes) - set(known)):
        raise ValueError(f"limits for unknown parameters {unknown}; known are {list(known)}")
    pairs = np.array([changes.get(name, (p.low, p.high)) for name, p in known.items()], dtype=float)
    if (bad := ~(pairs[:, 0] <= pairs[:, 1])).any():
        raise ValueError(
            f"limits are (low, high) with low <= high, not {dict(zip(np.array([*known])[bad], pairs[bad]))}"
        )
    return pairs[:, 0], pairs[:, 1]


def _grid(hours: float, step: str) -> tuple[float, int]:
    """Width of a cell in minutes, and the number of cells."""
    width = pd.Timedelta(step) / pd.Timedelta("1min")
    times = round(hours * 60 / width) if width > 0 else 0
    if times < 1 or not np.isclose(times * width, hours * 60):
        raise ValueError(f"hours is a multiple of step, and both are above 0: not {hours} h and {step!r}")
    return width, times


def _minutes(column: pd.Series) -> Floats:
    code, texts = pd.factorize(column)
    parts = pd.Series(texts).astype(str).str.extract(r"^(\d+):([0-5]\d)$").astype(float)
    if (bad := parts.isna().any(axis=1)).any():
        raise ValueError(f"Time is hours and minutes since admission, 'HH:MM', not {str(texts[int(bad.argmax())])!r}")
    minutes: Floats = (60 * parts[0] + parts[1]).to_numpy()[code]
    return minutes


def _parameters(column: pd.Series) -> Integers:
    """Return each row's parameter as its index in `_limits`."""
    known = pd.Index([*_FEATURES, *(name for name in _DESCRIPTORS if name not in _FEATURES)])
    code, names = pd.factorize(column)
    place = known.get_indexer(np.asarray(names))
    if (place < 0).any():
        raise ValueError(f"unknown parameters {sorted(map(str, names[place < 0]))}; known are {list(known)}")
    places: Integers = place[code]
    return places


def _described(record: Integers, minutes: Floats, parameter: Integers) -> Bools:
    """Return a mask of the rows that describe a record: descriptors, and its first weight at 00:00."""
    described = parameter >= len(_FEATURES)
    weights = np.flatnonzero((parameter == list(_FEATURES).index("Weight")) & (minutes == 0))
    described[weights[np.unique(record[weights], return_index=True)[1]]] = True
    return described


def _cells(
    flat: Integers, value: Floats, minutes: Floats, shape: tuple[int, int, int], width: float, aggregate: str
) -> tuple[dict[Hashable, Any], int]:
    """Return the variables of the grid from measurements in the flat cells `flat`, and the number of repeated times."""
    size = int(np.prod(shape))
    count = np.bincount(flat, minlength=size)
    order = np.argsort(minutes, kind="stable")  # of several assignments to a cell the last one holds: the latest
    latest = np.full(size, np.nan)
    latest[flat[order]] = minutes[order]
    x = np.full(size, np.nan)
    if aggregate == "last":
        x[flat[order]] = value[order]
    else:
        np.divide(np.bincount(flat, value, size), count, out=x, where=count > 0)

    end = width * np.arange(1, shape[2] + 1)
    gap = (end - np.fmax.accumulate(latest.reshape(shape), axis=-1)) / 60
    repeated = int(pd.DataFrame({"cell": flat, "minute": minutes}).duplicated().sum())
    dims = ("sample", "feature", "time")
    return {
        "x": (dims, x.reshape(shape).astype(np.float32), {"long_name": f"{aggregate} of the cell's measurements"}),
        "mask": (dims, (count > 0).reshape(shape), {"long_name": "measured"}),
        "count": (dims, count.reshape(shape).astype(np.int32), {"long_name": "number of measurements"}),
        "gap": (dims, gap.astype(np.float32), {"long_name": "time since the latest measurement", "units": "h"}),
    }, repeated


def _descriptors(
    record: Integers, parameter: Integers, value: Floats, described: Bools, possible: Bools, samples: int
) -> dict[Hashable, Any]:
    """Return the variables that describe each record, each its first possible value."""
    places = _parameters(pd.Series(list(_DESCRIPTORS)))
    variables: dict[Hashable, Any] = {}
    for place, (name, (text, unit, low, high)) in zip(places, _DESCRIPTORS.values()):
        rows = described & (parameter == place)
        first = np.flatnonzero(rows & possible)[::-1]  # of several assignments the last one holds
        values = np.full(samples, np.nan, dtype=np.float32)
        values[record[first]] = value[first]
        attrs: dict[str, Any] = {"long_name": text, "units": unit, "impossible": int((rows & ~possible).sum())}
        if name in _FLAGS:
            attrs |= {"flag_values": np.arange(low, high + 1, dtype=np.float32), "flag_meanings": _FLAGS[name]}
        variables[name] = ("sample", values, attrs)
    return variables


def _labels(outcomes: pd.DataFrame, records: pd.Index) -> Integers:
    death = outcomes.set_index("RecordID")[_OUTCOME]
    if death.index.has_duplicates:
        twice = death.index[death.index.duplicated()].unique()
        raise ValueError(f"{len(twice)} records have several outcomes, such as {twice[0]}")
    found = death.reindex(records)
    if found.isna().any():
        without = found.index[found.isna()]
        raise ValueError(f"{len(without)} records have no outcome, such as {without[0]}")
    if not found.isin([0, 1]).all():
        raise ValueError(f"{_OUTCOME} is 0 or 1, not {sorted(set(found) - {0, 1})}")
    labels: Integers = found.to_numpy(dtype=np.int64)
    return labels
