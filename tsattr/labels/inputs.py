"""A labelled input as one tensor (samples, *event), and results with its labels."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
import torch
import xarray as xr
from torch import Tensor

from ..core.arrays import INVALID
from ..core.axes import Axes
from ..core.baselines import Jitter, fills
from ..core.groups import binding, masks
from ..core.keys import sample_ids
from ..core.results import EVENT, MAPS, RESERVED
from .results import plain
from .tables import Codes

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
    """One input variable, as it was given: its axes, and the slice of the flat event that its cells take."""

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
        """The suffix of its result variables: "" or "_name"."""
        return "" if self.name is None else f"_{self.name}"

    def load(self, samples: slice, missing: str = INVALID) -> tuple[np.ndarray, np.ndarray]:
        """Values and validity (m, *shape) of some samples; cells without a value are valid where `missing` is "value"."""
        part = self.array.variable.isel({self.axes.sample_dim: samples}).transpose(self.axes.sample_dim, ...)
        x = np.array(part.values)
        ok = ~np.isnan(x) if missing == INVALID else np.ones(x.shape, bool)
        if self.valid is not None:
            ok &= self.valid if len(self.valid) == 1 else self.valid[samples]
        return x, ok


@dataclass
class Inputs:
    """The explained input as samples of one tensor (samples, *event); several variables lie side by side in a flat event.

    Attributes
    ----------
    sample_dim
        The dim of the samples.
    variables
        One for an array or a table, else each variable of a Dataset.
    codes
        Of a DataFrame: how its columns are numbers.
    device
        That of a torch tensor.
    shared_draws
        True where all samples take the same random draws.
    history
        The input's attribute of that name, which results carry on.
    """

    sample_dim: str
    variables: list[Variable]
    codes: Codes | None = None
    device: torch.device | None = None
    shared_draws: bool = False
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
        """Uint64 (samples,): the keys of each sample's random draws."""
        return np.zeros(self.n, np.uint64) if self.shared_draws else sample_ids(self.sample_coord, self.n)

    @property
    def sample_coord(self) -> np.ndarray | None:
        """The samples' coordinate values, if they have any."""
        return self.variables[0].axes.sample_coord

    def load(self, samples: slice, missing: str = INVALID) -> tuple[Tensor, Tensor | None]:
        """The tensor (m, *event) of some samples and their valid cells, None where all are; see `Variable.load`."""
        parts = [v.load(samples, missing) for v in self.variables]
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
        """Rows of the tensor as one tensor for each variable, in its own shape and dtype."""
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
        bind_one: Callable[[Any, Axes], Any] = fills.bind if kind == "baseline" else binding.bind
        if self.single:
            return bind_one(setting, self.variables[0].axes)

        def bound(v: Variable) -> Any:
            try:
                return bind_one(each[str(v.name)], v.axes)
            except (KeyError, TypeError, ValueError) as error:
                hint = "" if isinstance(setting, Mapping) else f"; a mapping gives each variable its own {kind}"
                raise type(error)(f"variable {v.name!r}: {error.args[0]}{hint}") from error

        names = [v.name for v in self.variables]
        if isinstance(setting, Mapping):
            wrong = [k for k in setting if k not in names]
            lacking = [k for k in names if k not in setting]
            if wrong or lacking:
                raise KeyError(
                    f"the {kind} of several variables names each of {names}; "
                    + (f"{wrong[0]!r} is none of them" if wrong else f"{lacking[0]!r} has none")
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
        names_of_groups = [f"{v.name}: {name}" for v, (*_, g) in zip(self.variables, parts) for name in g.names]
        return masks.JoinedGroups(parts, names_of_groups)

    def label(
        self, name: str, dims: tuple[str, ...], values: np.ndarray, single_target: bool
    ) -> dict[str, xr.Variable]:
        """The result variables of one field (samples first), with the input's dims in its order; they have its `coords`."""
        if single_target and "target" in dims:
            values = values.take(0, axis=1 + dims.index("target"))
            dims = tuple(d for d in dims if d != "target")
        if EVENT not in dims:
            data = xr.Variable((self.sample_dim, *dims), values)
            return {name: data.transpose(..., "target") if "target" in dims else data}
        out = {}
        lead = dims.index(EVENT) + 1
        others = [d for d in dims if d not in (EVENT, "target")] + [d for d in dims if d == "target"]
        for v in self.variables:
            part = values if self.single else values[..., v.at].reshape(*values.shape[:lead], *v.axes.shape)
            part = part.astype(v.array.dtype, copy=False)
            attrs = {k: u for k, u in v.array.attrs.items() if k not in _INPUT_ONLY}
            if "units" in v.array.attrs:
                attrs["input_units"] = v.array.attrs["units"]
            data = xr.Variable((self.sample_dim, *dims[: lead - 1], *v.axes.dims), part, plain(attrs))
            out[name + v.suffix] = data.transpose(*v.dims, *others)
        return out

    @cached_property
    def coords(self) -> xr.Coordinates:
        """All coordinates of the variables, with their indexes, and with attributes that any file takes."""
        # Made once, of parts: each xarray that is made of labelled ones would align and copy them all again.
        variables: dict[Any, xr.Variable] = {}
        indexes: dict[Any, Any] = {}
        for v in self.variables:
            variables |= {k: c.copy(deep=False) for k, c in v.array.coords.variables.items()}
            indexes |= v.array.xindexes
        for c in variables.values():
            c.attrs = plain(c.attrs)
        return xr.Coordinates(variables, indexes)

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
        """ValueError where the sample dim or one of its coordinates is called like a variable of a table of scores, `own`."""
        _refuse_names(self.variables[0].array, [self.sample_dim, *self.sample_coords()], own, "the table of scores")

    def sample_coords(self) -> dict[str, Any]:
        """The coordinates along the sample dim alone."""
        array = self.variables[0].array
        return {str(k): c for k, c in array.coords.items() if c.dims == (self.sample_dim,)}

    def names(self, positions: Sequence[int]) -> list[str]:
        """The labels of samples, else their positions, as text."""
        coord = self.sample_coord
        return [str(i if coord is None else coord[i]) for i in positions]


def _refuse_names(array: xr.DataArray, names: Sequence[Any], own: Collection[str], of: str) -> None:
    """ValueError where one of the names of dims or coordinates of `array` is among `own`, the names used in `of`."""
    for name in map(str, names):
        if name in own:
            what, drop = ("dim", "") if name in array.dims else ("coordinate", f", or drop it: x.drop_vars({name!r})")
            raise ValueError(
                f"x has a {what} {name!r}, which is the name of something in {of}; rename it: "
                f"x.rename({{{name!r}: ...}}){drop}"
            )
