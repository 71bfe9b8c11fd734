"""A result, its input and maps to compare in the form that reports need: labelled, with samples along `sample`."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import xarray as xr

from .. import ecg
from ..plot.shade import has_direction

MOST_SAMPLES = 3
NOT_CELLS = ("sample", "target")


class Input(NamedTuple):
    """One input of the model, its attribution, and the truth about it and the attribution by lag where there are such."""

    name: str
    attribution: xr.DataArray
    signal: xr.DataArray
    truth: xr.DataArray | None
    by_lag: xr.DataArray | None
    direction: xr.DataArray | None = (
        None  # by lag, if the attribution is: which way each observation moved what the model says
    )

    @property
    def shown(self) -> xr.DataArray:
        """The map for pictures: that which says most."""
        return next(a for a in (self.direction, self.by_lag, self.attribution) if a is not None)


def with_sample_dim(ds: xr.Dataset, *others: Any) -> list[Any]:
    """Return everything with the sample dim called "sample", and the result checked."""
    if not isinstance(ds, xr.Dataset):
        raise TypeError(f"ds must be the xarray.Dataset that explain returns, got {type(ds).__name__}")
    if "shape" in ds and "attribution" not in ds:
        raise ValueError("ds holds the terms of an additive model; write them up with tsattr.report.additive(ds)")
    if not any(str(name).startswith("attribution") for name in ds):
        raise ValueError(f"ds has no attribution; its variables are {list(ds.data_vars)}")
    found = [d for d in ds["prediction"].dims if d not in ("target", "method")] if "prediction" in ds else ["sample"]
    if not found:
        ds, *rest = _one_sample(ds, *others)
        others = tuple(rest)
        found = [ds["prediction"].dims[0]]
    rename = {found[0]: "sample"} if found[0] != "sample" else {}
    labelled = (xr.DataArray, xr.Dataset)
    return [
        a.rename({k: v for k, v in rename.items() if k in a.dims}) if isinstance(a, labelled) else a
        for a in (ds, *others)
    ]


_OF_ALL = ("shift_beyond", "detector_auc")  # variables of a result that have no sample dim


def _one_sample(ds: xr.Dataset, x: Any, *others: Any) -> list[Any]:
    """Return the result of one sample, as of ``ds.isel(sample=0)``, with a sample dim again; and all else that lacks it."""
    cells = next(ds[v].dims for v in ds if str(v).startswith("attribution"))
    extra = [d for d in x.dims if d not in cells] if isinstance(x, xr.DataArray) else []
    name = extra[0] if extra else "sample"
    whole = ds[[v for v in ds if v in _OF_ALL]]
    ds = ds.drop_vars(whole.data_vars).expand_dims(name).merge(whole)
    labelled = (xr.DataArray, xr.Dataset)
    given = [
        a.expand_dims(name) if isinstance(a, labelled) and name not in a.dims and "method" not in a.dims else a
        for a in (x, *others)
    ]
    if not isinstance(x, labelled):
        if isinstance(x, pd.Series):
            given[0] = x.to_frame().T
        elif not isinstance(x, pd.DataFrame) and np.ndim(x) == len([d for d in cells if d not in NOT_CELLS]):
            given[0] = np.asarray(x)[None]
    return [ds, *given]


_VITALS = frozenset(
    [
        "abp",
        "art",
        "bun",
        "creatinine",
        "dbp",
        "diasabp",
        "etco2",
        "fio2",
        "gcs",
        "hct",
        "heart_rate",
        "hr",
        "lactate",
        "map",
        "mcl1",
        "mlii",
        "nidiasabp",
        "nimap",
        "nisysabp",
        "paco2",
        "pao2",
        "platelets",
        "pleth",
        "resp",
        "resprate",
        "sao2",
        "sbp",
        "spo2",
        "sysabp",
        "temp",
        "urine",
        "wbc",
    ]
)
_UNITS = frozenset(["mv", "uv", "mmhg", "bpm", "beats/min"])
_PATIENTS = frozenset(["patient", "patient_id", "subject_id", "recordid"])


def is_clinical(inputs: Sequence[Input]) -> bool:
    """Whether the inputs are measured on patients: by their dims, the names along these, their units, or whose they are."""
    return any(_clinical(part.signal) for part in inputs)


def _clinical(x: xr.DataArray) -> bool:
    known = {name.lower() for name in names_of(x)}
    units = {str(u).lower() for u in np.atleast_1d(x.coords.get("units", x.attrs.get("units", ""))).ravel()}
    whose = {str(name).lower() for name in (*x.coords, *x.attrs)}
    leads = known & {name.lower() for name in ecg.LEADS}
    return bool(
        "lead" in x.dims or len(leads) > 2 or len(known & _VITALS) > 1 or (units & _UNITS) or (whose & _PATIENTS)
    )


def names_of(x: xr.DataArray) -> set[str]:
    """Return the names along the dims of cells: of leads, channels, columns."""
    return {str(v) for d in cell_dims(x) if d in x.coords and x[d].dtype.kind in "UO" for v in x[d].values}


def all_inputs(ds: xr.Dataset, x: Any, truth: xr.DataArray | None) -> list[Input]:
    """Return the inputs with their attributions, in the order of the result."""
    parts = []
    for key in ds:
        name = str(key)
        if name != "attribution" and not name.startswith("attribution_"):
            continue
        attribution, by_lag = ds[name], None
        of = name.removeprefix("attribution").removeprefix("_")
        given = x[of] if of and isinstance(x, xr.Dataset) else x
        if "lag" in attribution.dims and not _has_lag(given, attribution):
            attribution, by_lag = attribution.mean("lag", keep_attrs=True), attribution
        dims = [d for d in attribution.dims if d != "target"]
        signal = _labelled(given, attribution, dims)
        known = truth[of] if isinstance(truth, xr.Dataset) else truth
        if not cell_dims(attribution):  # one number a sample is a table of one column
            attribution, signal = (a.expand_dims(column=[of], axis=1) for a in (attribution, signal))
            dims = [*dims, "column"]
        if known is not None:
            known = of_samples(known, attribution, "truth")
            known = known.broadcast_like(signal).transpose(*dims) if set(known.dims) <= set(dims) else None
        signed = ds["signed_shift" if "signed_shift" in ds else key]
        parts.append(Input(of, attribution, signal, known, by_lag, signed if has_direction(signed) else None))
    return parts


def _has_lag(x: Any, attribution: xr.DataArray) -> bool:
    """Whether the lag is a dim of the input, a history, and not of WinIT's result."""
    return "lag" in x.dims if isinstance(x, xr.DataArray) else np.ndim(x) == len({*attribution.dims} - {"target"})


def _labelled(x: Any, attribution: xr.DataArray, dims: list[Hashable]) -> xr.DataArray:
    """Return the input as a DataArray with the labels of its attribution: of the same samples, where both name them."""
    if isinstance(x, xr.DataArray):
        if set(x.dims) != set(dims):
            raise ValueError(
                f"x has dims {x.dims} and its attribution {tuple(dims)}; give the input that was explained"
            )
        signal: xr.DataArray = of_samples(x.transpose(*dims), attribution)
        _check_shape(signal.shape, attribution, dims)
        return signal
    x = of_samples(x, attribution)
    values = x.to_numpy() if isinstance(x, pd.DataFrame) else np.asarray(x)
    _check_shape(values.shape, attribution, dims)
    coords = {d: attribution[d] for d in dims if d in attribution.coords}
    return xr.DataArray(values, dims=dims, coords=coords)


def of_samples(x: Any, of: xr.DataArray | xr.Dataset, name: str = "x") -> Any:
    """Return the samples of a result, by their labels where both have some; ValueError where `x` lacks some."""
    explained, there = of.indexes.get("sample"), _labels(x)
    if explained is None or there is None or there.equals(explained):
        return x
    if not there.is_unique or len(lost := explained.difference(there)):
        what = "names some samples twice" if not there.is_unique else f"lacks the samples {lost.tolist()[:10]}"
        raise ValueError(f"{name} {what}; give that of the samples that were explained")
    return x.loc[explained] if isinstance(x, pd.DataFrame) else x.sel(sample=explained)


def _labels(x: Any) -> pd.Index | None:
    if isinstance(x, pd.DataFrame):
        return None if isinstance(x.index, pd.RangeIndex) else x.index
    return x.indexes.get("sample") if isinstance(x, xr.DataArray | xr.Dataset) else None


def _check_shape(shape: tuple[int, ...], attribution: xr.DataArray, dims: list[Hashable]) -> None:
    explained = tuple(attribution.sizes[d] for d in dims)
    if shape != explained:
        raise ValueError(f"x has shape {shape} and its attribution {explained}; give the input that was explained")


def sample_positions(ds: xr.Dataset, samples: Sequence[Any] | None) -> list[int]:
    """Return the positions of samples given by label, else by position; of the first few where none are given."""
    n = ds.sizes["sample"]
    if samples is None:
        return list(range(min(n, MOST_SAMPLES)))
    names = ds["sample"].values.tolist() if "sample" in ds.coords else list(range(n))
    unknown = [s for s in samples if s not in names and not (isinstance(s, int) and -n <= s < n)]
    if unknown:
        raise ValueError(f"samples {unknown} are not in the result, whose samples are {names[:10]}{', …' * (n > 10)}")
    return [names.index(s) if s in names else s % n for s in samples]


def maps_compared(comparisons: xr.Dataset | xr.DataArray | None, cells: Sequence[Hashable]) -> xr.DataArray | None:
    """Return the maps to compare over the dims of the input, of the first target; None where there are fewer than two."""
    found = comparisons["attribution"] if isinstance(comparisons, xr.Dataset) else comparisons
    if found is None:
        return None
    dim = next((d for d in ("method", "baseline") if d in found.dims), None)
    if dim is None:
        raise ValueError(f"comparisons need a dim 'method' or 'baseline', got {found.dims}; join maps by xr.concat")
    found = found.mean("lag", keep_attrs=True) if "lag" in found.dims and "lag" not in cells else found
    if "target" in found.dims:
        found = found.isel(target=0, drop=True)
    return found if found.sizes[dim] > 1 else None


def sample_name(ds: xr.Dataset | xr.DataArray, i: int) -> str:
    """Return a sample's label, else its position."""
    return str(ds["sample"].values[i]) if "sample" in ds.coords else str(i)


def shape_of(part: Input) -> str:
    """Return the sizes of an input in words."""
    known = {d: n for d, n in part.signal.sizes.items() if d != "sample"}
    sizes = " × ".join(f"{n} {d}" for d, n in known.items()) + "s" * (len(known) == 1 and 1 not in known.values())
    return f"{part.name} ({sizes})" if part.name else sizes


def cell_dims(array: xr.DataArray) -> list[Hashable]:
    """Return the dims of a sample's cells."""
    return [d for d in array.dims if d not in NOT_CELLS]
