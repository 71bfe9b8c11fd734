"""An input as the columns that a pipeline's transformers make of it, and attributions of those columns as ones of the input."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import xarray as xr

from ..core import groups
from ..core.arrays import INVALID, VALUE, Array
from ..core.axes import Axes
from ..core.baselines import Samples
from ..core.baselines.fills import Baseline, adopted
from ..core.baselines.references import reference_table
from ..core.bound import BoundGroups
from ..core.groups.masks import Boxes
from ..core.keys import Key
from ..core.method import Method
from ..core.results import EVENT
from ..labels.alignment import read_reference
from ..labels.inputs import Inputs
from .columns import ColumnGroups, SampleRows
from .linear import LinearModule
from .pipelines import LastStep
from .provenance import ColumnProvenance, trace

_CHECKED = 64  # rows on which the provenance of the columns, and a module in place of the last step, are tried


@dataclass
class TransformedInput:
    """An input as its transformed columns, each made of one part of it, and the way back.

    Attributes
    ----------
    step
        The transformer and the model of its output.
    raw
        The input.
    parts
        What columns are made of: the cells of a table, or boxes of cells (windows of a lead).
    source
        Int (columns,): the part that each column is made of.
    known
        Bool (samples, *event): cells of the input that are valid and not missing.
    values
        Float64 (samples, columns): the transformed columns.
    missing
        Whether missing cells are a "value" or "invalid".
    """

    step: LastStep
    raw: Inputs
    parts: Boxes
    source: np.ndarray
    known: np.ndarray
    values: np.ndarray
    missing: str = INVALID

    @classmethod
    def of(cls, step: LastStep, raw: Inputs, missing: str | None = None, *, removes: bool = False) -> TransformedInput:
        """Transform an input and trace each column to its part of it.

        Where nothing is said, missing cells of a table are values to a method that removes, if the transformers fill them.
        """
        if not raw.single:
            raise TypeError("last_step takes a table or one array, not a Dataset of several variables")
        parts, columns = _provenance(step.transformer, raw.variables[0].axes)
        x, valid = raw.load(slice(0, raw.n), missing or VALUE)
        out = cls(step, raw, parts, columns.source, np.ones(0), np.empty(0), missing or INVALID)
        out.values = out.transform(x.numpy(), np.arange(raw.n))
        if missing is None:
            if raw.codes is not None and removes and not np.isnan(out.values).any():
                out.missing = VALUE
            x, valid = raw.load(slice(0, raw.n), out.missing)
        out.known = np.ones(x.shape, bool) if valid is None else valid.numpy()
        return out

    @property
    def axes(self) -> Axes:
        """The axes of the input."""
        return self.raw.variables[0].axes

    def transform(self, rows: np.ndarray, position: np.ndarray | None = None) -> np.ndarray:
        """Rows of the input (n, *event), categories coded, of the samples at `position`, as float64 (n, columns)."""
        axes = self.axes
        named = self.raw.codes is not None or hasattr(self.step.transformer, "feature_names_in_")
        given: Any = rows
        if len(axes.shape) > 1:
            given = xr.DataArray(rows, dims=(axes.sample_dim, *axes.dims), coords=dict(axes.coords))
        elif named:
            given = self.raw.frame(rows, position)
        out = self.step.transformer.transform(given)
        out = np.asarray(out.toarray() if hasattr(out, "toarray") else out)
        if out.dtype.kind not in "biuf":
            try:
                out = out.astype(np.float64)
            except (TypeError, ValueError):
                raise TypeError(
                    f"the transformers give columns of dtype {out.dtype}; last_step needs numbers before the last step: "
                    "encode them, or explain the pipeline itself"
                ) from None
        if out.shape != (len(rows), len(self.source)):
            raise ValueError(
                f"the transformers give {out.shape[1:]} columns, {len(self.source)} were expected of what they say"
            )
        return out.astype(np.float64, copy=False)

    def table(self) -> xr.DataArray:
        """The transformed columns, labelled as the last step knows them, in the dtype of its parameters."""
        names = getattr(self.step.model, "feature_names_in_", np.arange(len(self.source)))
        data = xr.DataArray(self.values, dims=(self.raw.sample_dim, "feature"), coords=self.raw.sample_coords())
        floats = [p.dtype for p in getattr(self.step.model, "parameters", list)() if p.dtype.is_floating_point]
        return data.assign_coords(feature=names).astype(str(floats[0]).removeprefix("torch.") if floats else "float64")

    def valid(self) -> np.ndarray | None:
        """Bool (samples, columns): True where a column is made of a part with known cells; None where all are."""
        return None if self.known.all() else (self.part_sizes > 0)[:, self.source]

    def reference(self, reference: Any) -> Any:
        """Training-like raw data as transformed columns."""
        return None if reference is None else self.transform(read_reference(self.raw, reference))

    # ---- the call on the transformed columns

    def model(self, method: Method, outputs: Any) -> tuple[Any, Any]:
        """The last step, as a module where the method needs gradients and it is linear, and its output axes."""
        model = self.step.model
        linear = LinearModule.of(model, self.values[:_CHECKED]) if method.gradient else None
        if linear is None:
            return model, outputs
        classes = getattr(model, "classes_", None)
        if classes is not None and not hasattr(outputs, "items"):
            name = outputs if isinstance(outputs, str) else "output" if outputs is None else outputs[0]
            outputs = {name: classes}
        return linear, outputs

    def method(self, method: Method) -> Method:
        """The method with its baselines and groups, which are stated for the input, on the transformed columns."""
        self._check_adds_up(method)
        return method.with_settings(self._setting)

    def _check_adds_up(self, method: Method) -> None:
        """TypeError where attributions of columns do not sum to those of the input, by the method or one inside it."""
        name, cells = type(method).__name__, math.prod(self.axes.shape)
        if not method.has("baseline"):
            raise TypeError(
                f"{name} has no baseline: what it says of transformed columns does not add up in the raw "
                "ones; use IntegratedGradients, Occlusion, ShapleySampling or KernelShap"
            )
        if not method.in_target_units and not np.array_equal(np.sort(self.source), np.arange(cells)):
            raise TypeError(
                f"{name} does not divide the prediction among cells, so that what it says of the {len(self.source)} transformed "
                f"columns adds up to nothing in the {cells} raw ones; it takes transformers that make one column of each: "
                "explain the pipeline itself"
            )
        for inner in method.inner():
            self._check_adds_up(inner)

    def _setting(self, value: Any, kind: str) -> Any:
        """A setting that is stated for the input, on the transformed columns."""
        if kind == "baseline":
            return self._baseline(value)
        if kind == "groups":
            share = (self.part_sizes / np.maximum(self.columns_of_parts, 1))[:, self.source]
            return ColumnGroups(self.raw.bind(value, kind), self.parts, self.source, self.used, share)
        if kind == "noise":
            raise TypeError(
                f"last_step has no noise for transformed columns, got {value!r}; explain the pipeline itself"
            )
        return value

    def _baseline(self, given: Any) -> Baseline:
        """A baseline of the input as one of the columns: its values go through the transformers."""
        if isinstance(given, Samples):
            self._check_complete_parts()
            rows = reference_table(given.reference, given.sample_dim, self.axes, "Samples")
            self._check_provenance(rows)
            return Samples(Array(self.transform(rows)))
        bound = self.raw.bind(given, "baseline")
        if adopted(given).random or bound.conditional:
            raise TypeError(
                f"last_step takes a baseline with one value for each raw cell, whatever else is absent (Constant, Typical, "
                f"Mean, ...), or Samples, got {given!r}; explain the pipeline itself"
            )
        x, _ = self.raw.load(slice(0, self.raw.n))
        n = len(x)
        key = Key(0, self.raw.ids, torch.arange(n), np.zeros(n, np.int64))
        rows = np.where(self.known, bound.full(x, key).expand(x.shape).numpy(), x.numpy())
        self._check_provenance(rows)
        return SampleRows(self.transform(rows, np.arange(n)))

    def _check_complete_parts(self) -> None:
        """Raise where a part lacks some of its cells: other samples' columns are made of all of them."""
        one = torch.ones((1, *self.known.shape[1:]), dtype=torch.bool)
        sizes, complete = self.part_sizes, self.parts.count(one, torch.zeros(1, dtype=torch.int64)).numpy()
        if (cut := ((sizes > 0) & (sizes < complete)).any(1)).any():
            names = ", ".join(self.raw.names(np.flatnonzero(cut)[:10].tolist()))
            raise ValueError(
                f"windows of {self.raw.sample_dim} {names} have missing cells, which windows of other samples have not: use "
                "another baseline than Samples, or explain the pipeline itself"
            )

    def _check_provenance(self, fills: np.ndarray) -> None:
        """Raise where a column changes although its part does not: rows with parts filled at random show it."""
        if (self._sums_over_parts(np.ones((1, 1, len(self.parts.names)))) > 1).any():
            return  # parts overlap: one never goes absent by itself
        rows = np.arange(_CHECKED)
        x, _ = self.raw.variables[0].load(slice(0, min(_CHECKED, self.raw.n)))
        at = rows % len(x)
        x, fill = x[at], fills[rows % len(fills)]
        absent = np.random.default_rng(0).random((_CHECKED, len(self.parts.names))) < 0.5
        cells = self._sums_over_parts(absent[:, None].astype(float))[:, 0] > 0
        mixed = self.transform(np.where(cells, fill, x), at)
        expected = np.where(absent[:, self.source], self.transform(fill, at), self.transform(x, at))
        off = ~np.isclose(mixed, expected, rtol=1e-6, atol=1e-9, equal_nan=True)
        if off.any():
            column = int(off.any(0).argmax())
            raise ValueError(
                f"column {column} of what the transformers give is taken to be made of {self.parts.names[self.source[column]]} "
                "alone, but changes with others too: a step does not keep columns apart; explain the pipeline itself"
            )

    # ---- the result back on the input

    def result(self, ds: xr.Dataset, method: Method) -> xr.Dataset:
        """A result of the transformed columns as one of the input.

        Each part gets the sum of its columns, divided evenly over its known cells. So does the standard error, which is
        thereby at most too large.
        """
        maps = {name: ds[name] for name in ("attribution", "standard_error") if name in ds}
        ds = ds.drop_vars([*maps, "feature"], errors="ignore").assign_coords(self.raw.coords)
        bound = [self.raw.bind(setting, "groups") for setting in method.settings("groups")]
        if method.has("groups"):
            ds = self._unused_groups_as_zero(ds, bound[0])
        covered = self.known & np.logical_and.reduce([self._covered(one) for one in bound])
        for name, columns in maps.items():
            cells = self._cells(columns, covered)
            found = self.raw.label(name, ("target", EVENT), cells, "target" not in columns.dims)[name]
            found.attrs |= columns.attrs
            ds[name] = found
        ds = ds[["attribution", *(name for name in ds.data_vars if name != "attribution")]]
        settings = {kind: repr(method.setting(kind)) for kind in ("baseline", "groups") if method.has(kind)}
        ds.attrs |= {"method": repr(method), **settings, "model": repr(self.step)}
        return ds

    @property
    def used(self) -> np.ndarray:
        """Bool (samples, *event): known cells that some column is made of."""
        made = (self.columns_of_parts > 0)[None, None].astype(float)
        used: np.ndarray = self.known & (self._sums_over_parts(made)[0] > 0)
        return used

    @property
    def part_sizes(self) -> np.ndarray:
        """Int (samples, parts): the known cells of each part."""
        return self.parts.count(torch.from_numpy(self.known), torch.arange(len(self.known))).numpy()

    @property
    def columns_of_parts(self) -> np.ndarray:
        """Int (parts,): how many columns are made of each part."""
        return np.bincount(self.source, minlength=len(self.parts.names))

    def _sums_over_parts(self, values: np.ndarray) -> np.ndarray:
        """Values of parts (n, targets, parts) as those of cells (n, targets, *event): the sum over the parts that hold a cell."""
        found = self.parts.spread(torch.from_numpy(values), torch.arange(len(values)), mean=False)
        return np.asarray(found.expand(*values.shape[:2], *self.axes.shape).numpy())

    def _unused_groups_as_zero(self, ds: xr.Dataset, bound: BoundGroups) -> xr.Dataset:
        """The result with 0 for groups of known cells that no column is made of."""
        known, used = (torch.from_numpy(cells) for cells in (self.known, self.used))
        position = torch.arange(len(known))
        unused = (bound.count(known, position) > 0) & (bound.count(used, position) == 0)
        mask = xr.DataArray(unused.numpy(), dims=(self.raw.sample_dim, "group"))
        values = [name for name in ("group_value", "group_standard_error") if name in ds]
        return ds.assign({name: ds[name].where(~mask, 0).transpose(*ds[name].dims) for name in values})

    def _covered(self, bound: BoundGroups) -> np.ndarray:
        """Bool (samples, *event): cells of the input that are in some group."""
        cells = bound.spread(torch.ones(len(self.known), len(bound.names)), torch.arange(len(self.known)))
        return np.asarray(cells.expand(self.known.shape).isnan().logical_not().numpy())

    def _cells(self, columns: xr.DataArray, covered: np.ndarray) -> np.ndarray:
        """Maps of the columns as (samples, targets, *event), NaN where not covered."""
        v = columns.transpose(self.raw.sample_dim, ..., "feature").values.reshape(self.raw.n, -1, len(self.source))
        v = v.astype(np.float64)
        unexplained = np.isnan(v).all((1, 2))
        totals = np.nan_to_num(v) @ np.eye(len(self.parts.names))[self.source]
        out = self._sums_over_parts(totals / np.maximum(self.part_sizes[:, None], 1))
        out = np.where(covered[:, None], out, np.nan)
        out[unexplained] = np.nan
        if not np.allclose(np.nansum(out.reshape(*v.shape[:2], -1), 2), np.nansum(v, 2), rtol=1e-9, atol=1e-9):
            raise ValueError("attributions do not add up to the same sum in the raw columns")
        return out


def _provenance(transformer: Any, axes: Axes) -> tuple[Boxes, ColumnProvenance]:
    """The parts of the input that columns are made of, and which of them each column is made of."""
    if len(axes.shape) == 1:
        names = axes.coords.get(axes.dims[0])
        raw = ColumnProvenance(np.arange(axes.shape[0]), None if names is None else tuple(map(str, names)))
        return groups.Cells().bind(axes), trace(transformer, raw)
    steps = getattr(transformer, "steps", [("", transformer)])
    if not hasattr(steps[0][1], "parts"):
        raise TypeError(
            f"x has dims {list(axes.dims)}, and {type(steps[0][1]).__name__} does not say which part of it each of its columns "
            "is made of; use ta.estimators.WindowFeatures, or explain the pipeline itself"
        )
    parts, source = steps[0][1].parts(axes)
    columns = ColumnProvenance(source)
    for name, step in steps[1:]:
        columns = trace(step, columns, name)
    return parts, columns
