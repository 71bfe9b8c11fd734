"""The labelled edge: DataArrays, Datasets, DataFrames and bare arrays to one tensor (samples, *event), and back."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import torch
import xarray as xr
from torch import Tensor

from ..core.arrays import Array, column_labels, unmasked
from ..core.axes import Axes
from ..core.baselines import Jitter, fills
from ..core.cf import goes_round, time_dim, units_of
from ..core.completeness import incompleteness
from ..core.groups import binding, masks
from ..core.indexing import is_dates, positions_of, repeated
from ..core.keys import sample_ids
from ..core.results import EVENT, MAPS, RESERVED
from .tables import Codes, as_pandas

_INPUT_ONLY = (
    "units",
    "standard_name",
    "long_name",
    "valid_min",
    "valid_max",
    "valid_range",
    "flag_values",
    "flag_meanings",
)


@dataclass
class Variable:
    """One input variable: its place in the flat event, its axes and how it was given."""

    name: str | None
    array: xr.DataArray
    axes: Axes
    at: slice
    valid: np.ndarray | None = None

    @property
    def dims(self) -> tuple[str, ...]:
        """Dims as given, the sample dim among them."""
        return tuple(map(str, self.array.dims))

    @property
    def suffix(self) -> str:
        """What its result variables' names end in."""
        return "" if self.name is None else f"_{self.name}"

    def load(self, samples: slice) -> tuple[np.ndarray, np.ndarray]:
        """Values and validity (m, *shape) of some samples."""
        part = self.array.isel({self.axes.sample_dim: samples}).transpose(self.axes.sample_dim, ...)
        x = np.array(part.values)
        ok = ~np.isnan(x)
        if self.valid is not None:
            ok &= self.valid if len(self.valid) == 1 else self.valid[samples]
        return x, ok


@dataclass(frozen=True)
class Alike:
    """An input whose samples all take the same draws, whatever their labels and their order: what a transformer of rows needs."""

    x: Any


@dataclass
class Inputs:
    """The explained input as samples of one tensor, whatever it came as."""

    sample_dim: str
    variables: list[Variable]
    codes: Codes | None = None
    device: torch.device | None = None
    alike: bool = False
    history: str = ""

    @property
    def n(self) -> int:
        """Number of samples."""
        return self.variables[0].axes.samples

    @property
    def single(self) -> bool:
        """True for one array or frame, False for a Dataset."""
        return self.variables[0].name is None

    @property
    def cells(self) -> int:
        """Cells of one sample."""
        return sum(math.prod(v.axes.shape) for v in self.variables)

    @property
    def dtype(self) -> np.dtype:
        """The widest dtype of the variables."""
        return (
            np.dtype("float64") if self.codes is not None else np.result_type(*(v.array.dtype for v in self.variables))
        )

    @property
    def ids(self) -> np.ndarray:
        """What the draws of each sample are keyed by."""
        return np.zeros(self.n, np.uint64) if self.alike else sample_ids(self.sample_coord, self.n)

    @property
    def sample_coord(self) -> np.ndarray | None:
        """The samples' coordinate values, if they have any."""
        return self.variables[0].axes.sample_coord

    def load(self, samples: slice) -> tuple[Tensor, Tensor | None]:
        """The tensor (m, *event) of some samples and their valid cells, None where all are."""
        parts = [v.load(samples) for v in self.variables]
        if self.single:
            x, ok = parts[0]
        else:
            x = np.concatenate([p.reshape(len(p), -1).astype(self.dtype) for p, _ in parts], 1)
            ok = np.concatenate([o.reshape(len(o), -1) for _, o in parts], 1)
        infinite = (np.isinf(x) & ok).reshape(len(x), -1).any(1)
        if infinite.any():
            rows = np.flatnonzero(infinite) + samples.start
            raise ValueError(
                f"the input has infinite values, in {self.sample_dim} {', '.join(self.names(rows[:10].tolist()))}; replace "
                "them, or make them NaN if they are missing"
            )
        return torch.from_numpy(x), None if ok.all() else torch.from_numpy(ok)

    def ends(self, samples: slice, dim: str | None) -> Tensor | None:
        """Where series along `dim` end (m,): after the last cell that the user calls valid; None where nothing was said.

        Cells that are merely missing at the end do not end a series.
        """
        first = self.variables[0]
        if not self.single or first.valid is None or dim not in first.axes.dims:
            return None
        given = first.valid if len(first.valid) == 1 else first.valid[samples]
        lines = np.moveaxis(given, 1 + first.axes.axis(dim), 1)
        some = np.any(lines.reshape(*lines.shape[:2], -1), axis=2)
        ends = np.where(np.any(some, axis=1), some.shape[1] - np.argmax(some[:, ::-1], axis=1), 0)
        return torch.from_numpy(np.broadcast_to(ends, (samples.stop - samples.start,)).copy())

    def restore(self, rows: Tensor) -> dict[str | None, Tensor]:
        """Rows as one tensor a variable, in its own shape and dtype."""
        if self.single:
            return {None: rows}
        out: dict[str | None, Tensor] = {}
        for v in self.variables:
            part = rows[:, v.at].reshape(-1, *v.axes.shape)
            out[v.name] = part.to(getattr(torch, str(v.array.dtype)))
        return out

    def frame(self, rows: np.ndarray, position: np.ndarray | None = None) -> pd.DataFrame:
        """Rows of a table as the DataFrame they stand for, with the index of the samples at `position`."""
        if self.codes is not None:
            return self.codes.decode(rows, position)
        axes = self.variables[0].axes
        if len(axes.shape) != 1 or not self.single:
            raise ValueError(
                f"a model on DataFrames needs a table (sample, feature); the input's dims are {list(self.variables[0].dims)}"
            )
        labels = self.variables[0].array.indexes.get(self.sample_dim)
        index = None if labels is None or position is None else labels.take(position)
        return pd.DataFrame(rows, index, axes.coords.get(axes.dims[0], np.arange(axes.shape[0])))

    def bind(self, setting: Any, kind: str) -> Any:
        """Bind a baseline, noise or a groups object (or a mapping of them by variable) to the axes; count a baseline's "draws"."""
        if kind == "draws":
            return fills.enough_draws(setting)
        if kind == "noise":
            return self.bind(Jitter(setting) if isinstance(setting, int | float) else setting, "baseline")
        one: Callable[[Any, Axes], Any] = fills.bind if kind == "baseline" else binding.bind
        if self.single:
            return one(setting, self.variables[0].axes)

        def bound(v: Variable) -> Any:
            try:
                return one(each[str(v.name)], v.axes)
            except (KeyError, TypeError, ValueError) as error:
                hint = "" if isinstance(setting, Mapping) else f"; a mapping gives each variable its own {kind}"
                raise type(error)(f"variable {v.name!r}: {error.args[0]}{hint}") from error

        names = [v.name for v in self.variables]
        if isinstance(setting, Mapping):
            wrong = [k for k in setting if k not in names]
            lost = [k for k in names if k not in setting]
            if wrong or lost:
                raise KeyError(
                    f"the {kind} of several variables names each of {names}; "
                    + (f"{wrong[0]!r} is none of them" if wrong else f"{lost[0]!r} has none")
                )
        each = {str(v.name): setting[v.name] if isinstance(setting, Mapping) else setting for v in self.variables}
        if kind == "baseline":
            return fills.JoinedBaselines(tuple((v.at, v.axes.shape, bound(v)) for v in self.variables))
        found = {}
        for v in self.variables:
            try:
                found[v.name] = bound(v)
            except KeyError:
                # One object for all: what lacks its dim (an age) goes as a whole, but something must have it.
                if isinstance(setting, Mapping) or (v is self.variables[-1] and not found):
                    raise
        parts = tuple(
            (v.at, v.axes.shape, found[v.name] if v.name in found else masks.whole(v.axes)) for v in self.variables
        )
        titles = [f"{v.name}: {name}" for v, (*_, g) in zip(self.variables, parts) for name in g.names]
        return masks.JoinedGroups(parts, titles)

    def label(
        self, name: str, dims: tuple[str, ...], values: np.ndarray, single_target: bool
    ) -> dict[str, xr.DataArray]:
        """The result variables of one field (samples first), with the input's dims, order and coordinates."""
        if single_target and "target" in dims:
            values = values.take(0, axis=1 + dims.index("target"))
            dims = tuple(d for d in dims if d != "target")
        if EVENT not in dims:
            data = xr.DataArray(values, dims=(self.sample_dim, *dims), coords=self.sample_coords())
            return {name: data.transpose(..., "target") if "target" in dims else data}
        out = {}
        lead = dims.index(EVENT) + 1
        others = [d for d in dims if d not in (EVENT, "target")] + [d for d in dims if d == "target"]
        for v in self.variables:
            part = values if self.single else values[..., v.at].reshape(*values.shape[:lead], *v.axes.shape)
            part = part.astype(v.array.dtype, copy=False)
            data = xr.DataArray(part, dims=[self.sample_dim, *dims[: lead - 1], *v.axes.dims])
            data = data.transpose(*v.dims, *others).assign_coords(v.array.coords)
            data.attrs = {k: u for k, u in v.array.attrs.items() if k not in _INPUT_ONLY}
            if "units" in v.array.attrs:
                data.attrs["input_units"] = v.array.attrs["units"]
            out[name + v.suffix] = data
        return out

    @property
    def parts(self) -> list[tuple[slice, Axes]]:
        """Where each variable lies in the flat event, and its axes."""
        return [(v.at, v.axes) for v in self.variables]

    def check_names(self, more: Collection[str] = ()) -> None:
        """ValueError where a dim or coordinate is called like a variable of the result, or like one of `more`."""
        own = {f"{name}{v.suffix}" for v in self.variables for name in MAPS} | RESERVED | set(more)
        for v in self.variables:
            if v.suffix.startswith("_draw"):
                raise ValueError(
                    f"a variable called {v.name!r} would be taken for draws; rename it: x.rename({{{v.name!r}: ...}})"
                )
            _refuse_names(v.array, [*v.array.dims, *v.array.coords], own, "the result")

    def check_samples(self, own: Collection[str]) -> None:
        """The same of what a table of scores keeps: the samples and their coordinates."""
        _refuse_names(self.variables[0].array, [self.sample_dim, *self.sample_coords()], own, "the table of scores")

    def sample_coords(self) -> dict[str, Any]:
        """The coordinates along the sample dim alone."""
        array = self.variables[0].array
        return {str(k): c for k, c in array.coords.items() if c.dims == (self.sample_dim,)}

    def names(self, positions: Sequence[int]) -> list[str]:
        """Samples as a user knows them."""
        coord = self.sample_coord
        return [str(i if coord is None else coord[i]) for i in positions]


def _refuse_names(array: xr.DataArray, names: Sequence[Any], own: Collection[str], of: str) -> None:
    for name in map(str, names):
        if name in own:
            what, drop = ("dim", "") if name in array.dims else ("coordinate", f", or drop it: x.drop_vars({name!r})")
            raise ValueError(
                f"x has a {what} {name!r}, which is the name of something in {of}; rename it: "
                f"x.rename({{{name!r}: ...}}){drop}"
            )


def read(x: Any, dims: Sequence[str] | None, sample_dim: str | None, valid: Any) -> Inputs:
    """Check an input of any accepted kind and describe it.

    Raises
    ------
    TypeError
        A kind that is none of DataArray, Dataset, DataFrame, numpy array, torch tensor; numbers that are not floating.
    ValueError, KeyError
        No samples, an empty dim, a sample dim or dims that do not fit, a `valid` of another shape.
    """
    if isinstance(x, Inputs):
        return x
    if isinstance(x, Alike):
        return replace(read(x.x, dims, sample_dim, valid), alike=True)
    found = _read(x, dims, sample_dim, valid)
    found.check_names()
    history = x.attrs.get("history", "") if isinstance(x, xr.DataArray | xr.Dataset | pd.DataFrame) else ""
    return replace(found, history=str(history or ""))


def _read(x: Any, dims: Sequence[str] | None, sample_dim: str | None, valid: Any) -> Inputs:
    device = x.device if isinstance(x, Tensor) else None
    table, x, valid = x, as_pandas(x), as_pandas(valid)
    codes = Codes.of(table) if isinstance(x, pd.DataFrame) else None
    x = _labelled(x, dims, codes)
    if codes is not None and isinstance(valid, pd.DataFrame):
        valid = valid.to_numpy()
    name = _sample_dim(x, sample_dim)
    if isinstance(x, xr.Dataset):
        return Inputs(name, _variables(x, name, valid), device=device)
    if x.ndim == 1:
        raise ValueError(
            f"x has no dim besides its sample dim {name!r}: nothing to divide an attribution among; for one number a "
            "sample use x.expand_dims('feature', axis=1)"
        )
    only = _variable(None, x, name, slice(None), valid)
    if codes is not None:
        nominal = np.array([u is not None for u in codes.levels])
        only.axes = replace(only.axes, nominal=nominal, code=codes.code)
    return Inputs(name, [only], codes, device)


def _labelled(x: Any, dims: Sequence[str] | None, codes: Codes | None) -> xr.DataArray | xr.Dataset:
    """Any accepted input as a DataArray or a Dataset."""
    if codes is not None:
        index = [str(v) for v in x.index] if isinstance(x.index, pd.MultiIndex) else x.index.to_numpy()
        coords = {"sample": index, "feature": column_labels(x.columns)}
        x = xr.DataArray(codes.coded, dims=("sample", "feature"), coords=coords)
    elif isinstance(x, np.ndarray | Tensor):
        if isinstance(x, np.ndarray) and x.dtype.names is not None:
            raise TypeError(f"x is an array of records with the fields {list(x.dtype.names)}; give pandas.DataFrame(x)")
        if isinstance(x, Tensor):
            if x.dtype == torch.bfloat16:
                raise TypeError(
                    "x is bfloat16, which numpy does not have: give x.float(), and autocast='bfloat16' for a model of it"
                )
            x = x.detach().cpu().numpy()
        names = ("sample", *(f"dim_{i}" for i in range(1, x.ndim))) if dims is None else tuple(dims)
        if len(names) != x.ndim:
            raise ValueError(f"dims names {len(names)} dims {list(names)}, but x has shape {x.shape}")
        if len(set(names)) < len(names):
            raise ValueError(f"dims names {list(names)}: every dim needs a name of its own")
        x = xr.DataArray(x, dims=names)
    elif not isinstance(x, xr.DataArray | xr.Dataset):
        ways = {
            "LazyFrame": "x.collect()",
            "Series": "x.to_frame()",
            "dict": "pandas.DataFrame(x)",
            "list": "numpy.array(x)",
        }
        way = "x.toarray()" if hasattr(x, "toarray") else ways.get(type(x).__name__, "one of these made of it")
        raise TypeError(
            "x is an xarray.DataArray or Dataset, a pandas DataFrame, a polars one, a numpy array or a torch tensor, got "
            f"{type(x).__name__}; give {way}"
        )
    if odd := [d for d in x.dims if not isinstance(d, str)]:
        raise TypeError(f"a dim is named by text, got {odd[0]!r}; rename it: x.rename({{{odd[0]!r}: 'time'}})")
    if dims is not None and isinstance(x, xr.DataArray) and tuple(x.dims) != tuple(dims):
        raise ValueError(f"x already has dims {list(x.dims)}; dims={tuple(dims)} is for bare arrays")
    return x


def _variables(x: xr.Dataset, sample: str, valid: Any) -> list[Variable]:
    """The variables of a Dataset, side by side in one flat event."""
    given = {str(k): v for k, v in x.data_vars.items()}
    if not given:
        raise ValueError("the Dataset has no variables to explain")
    lacking = [k for k, v in given.items() if sample not in v.dims]
    if lacking:
        raise ValueError(f"variables {lacking} lack the sample dim {sample!r}; give what is not explained in context=")
    if valid is not None and not isinstance(valid, Mapping | xr.Dataset):
        raise TypeError("valid for several variables is a Dataset or a mapping by variable")
    masks = {} if valid is None else valid
    if unknown := [k for k in masks if k not in given]:
        raise KeyError(f"valid names {unknown[0]!r}, which is none of the variables {list(given)}")
    variables, first = [], 0
    for k, v in given.items():
        size = math.prod(n for d, n in v.sizes.items() if d != sample)
        variables.append(_variable(k, v, sample, slice(first, first + size), masks.get(k)))
        first += size
    return variables


def _sample_dim(x: xr.DataArray | xr.Dataset, wanted: str | None) -> str:
    name = "sample" if wanted is None else wanted
    if name not in x.dims:
        what = "x has no sample dim" if wanted is None else f"x has no dim {wanted!r} to be the sample dim"
        raise ValueError(
            f"{what}: its dims are {list(map(str, x.dims))}; for one sample use x.expand_dims('sample'), else say which dim holds "
            "the samples: sample_dim=..."
        )
    return name


def _variable(name: str | None, array: xr.DataArray, sample: str, at: slice, valid: Any) -> Variable:
    what = "x" if name is None else f"variable {name!r}"
    if array.dtype.kind != "f":
        fix = "x.astype('float32')" if array.dtype.kind in "biu" else "numbers, or a DataFrame for categories"
        raise TypeError(f"{what} has dtype {array.dtype}; attribution needs floating-point cells: give {fix}")
    array = array.astype(array.dtype.newbyteorder("="), copy=False)  # torch knows the machine's own byte order only
    if array.dtype.itemsize > 8:
        raise TypeError(f"{what} has dtype {array.dtype}, which torch does not have; give x.astype('float64')")
    empty = [str(d) for d, n in array.sizes.items() if n == 0]
    if empty:
        raise ValueError(f"{what} has no {'samples' if sample in empty else 'cells'}: dim {empty[0]!r} is empty")
    dims = tuple(str(d) for d in array.dims if d != sample)
    coords = {d: array[d].values for d in dims if d in array.coords}
    axes = Axes(
        dims,
        tuple(array.sizes[d] for d in dims),
        coords,
        units_of(array),
        sample,
        array.sizes[sample],
        array[sample].values if sample in array.coords else None,
        frozenset(d for d in coords if goes_round(coords[d], d, array[d].attrs)),
        {str(k): Array.of(c) for k, c in array.coords.items() if c.ndim and k not in array.dims and is_dates(c.values)},
        time=time_dim(array, dims),
    )
    return Variable(name, array, axes, at, _valid(valid, array, axes, what))


def _valid(valid: Any, array: xr.DataArray, axes: Axes, what: str) -> np.ndarray | None:
    if valid is None:
        return None
    if not isinstance(valid, xr.DataArray):
        v = valid.detach().cpu().numpy() if isinstance(valid, Tensor) else unmasked(valid)
        if v.shape != array.shape:
            raise ValueError(
                f"valid has shape {v.shape}, {what} has {array.shape}; give the same shape, or a DataArray with its dims"
            )
        valid = xr.DataArray(v, dims=array.dims)
    if valid.dtype != bool:
        raise TypeError(f"valid is boolean, True where a cell counts, got {valid.dtype}")
    return axes.align(Array.of(valid), "valid")


def read_context(context: Mapping[str, Any] | None, inputs: Inputs) -> dict[str, Tensor]:
    """Per-sample arrays for the model as tensors, samples first."""
    out = {}
    for name, value in (context or {}).items():
        if isinstance(value, xr.DataArray):
            if inputs.sample_dim not in value.dims:
                raise ValueError(
                    f"context {name!r} has dims {list(value.dims)}, none of them the sample dim {inputs.sample_dim!r}"
                )
            theirs = value.indexes.get(inputs.sample_dim)
            mine = inputs.sample_coord
            if theirs is not None and mine is not None and not np.array_equal(theirs.to_numpy(), mine):
                twice = repeated(mine)
                dim = inputs.sample_dim
                way = f"context.sel({dim}=x.{dim})" if twice is None else f"by position, as {twice!r} is there twice"
                raise ValueError(f"context {name!r} has other sample labels than x; align them first, e.g. {way}")
            value = value.transpose(inputs.sample_dim, ...).values
        v = value if isinstance(value, Tensor) else torch.as_tensor(_numbers(name, value))
        if v.ndim == 0 or len(v) != inputs.n:
            raise ValueError(
                f"context {name!r} has shape {tuple(v.shape)}; its first axis must hold the {inputs.n} samples"
            )
        out[str(name)] = v
    return out


def _numbers(name: str, value: Any) -> np.ndarray:
    v = unmasked(value)
    if v.dtype.kind not in "biuf":
        raise TypeError(f"context {name!r} has dtype {v.dtype}; give numbers, one entry for each sample")
    return v


def completeness(total: xr.DataArray, change: xr.DataArray, size: xr.DataArray) -> dict[str, xr.DataArray]:
    """The gap and the error of maps with sums `total` and norms `size`, as `core.completeness.completeness` gives them.

    >>> one = xr.DataArray(2.0)
    >>> [float(v) for v in completeness(one + 1, one, one).values()]
    [1.0, 0.5]
    """

    def measured(*values: np.ndarray) -> tuple[np.ndarray, ...]:
        return tuple(v.numpy() for v in incompleteness(*map(torch.as_tensor, values)))

    gap, error = xr.apply_ufunc(measured, total, change, size, output_core_dims=[[], []], keep_attrs=False)
    return {"completeness_gap": gap, "completeness_error": error}


def plain(attrs: Mapping[Any, Any]) -> dict[str, Any]:
    """Attributes that any file format takes: numbers, strings and arrays of numbers; anything else as text."""
    out: dict[str, Any] = {}
    for k, v in attrs.items():
        if isinstance(v, bool | np.bool_):
            out[str(k)] = int(v)
        elif isinstance(v, str | int | float | np.integer | np.floating):
            out[str(k)] = v
        elif isinstance(v, np.ndarray | list | tuple) and np.asarray(v).dtype.kind in "iuf":
            out[str(k)] = np.asarray(v)
        else:
            out[str(k)] = str(v)
    return out


def in_order_of(like: xr.DataArray, values: Any, what: str, whose: str = "the input's") -> Any:
    """The entries of `values` that belong to the labels of `like`, in its order, along the dims that both label.

    Numbers match within rounding, longitudes modulo a turn. ValueError where `what` lacks labels that are `whose`.
    """
    for d in values.dims:
        if d not in values.indexes or d not in like.dims or d not in like.indexes:
            continue
        mine, theirs = like[d].values, values[d].values
        axes = Axes((str(d),), mine.shape, {str(d): mine}, units_of(like))
        period = 360.0 if axes.is_longitude(str(d)) and theirs.dtype.kind in "fiu" else None
        at = positions_of(mine, theirs, what, str(d), period=period, whose=whose)
        values = values.isel({d: at}).assign_coords({d: like[d].variable})
    return values
