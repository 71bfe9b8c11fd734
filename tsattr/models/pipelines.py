"""The last step of a fitted pipeline, explained by itself and mapped back to what the pipeline is given."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from ..core import groups
from ..core.arrays import Array
from ..core.axes import Axes
from ..core.baselines import Samples
from ..core.baselines.fills import Baseline, Full, adopted, per_row
from ..core.baselines.references import reference_table
from ..core.bound import BoundGroups
from ..core.groups.masks import Boxes
from ..core.keys import Key
from ..core.method import Method
from ..core.results import EVENT
from ..labels.alignment import read_reference
from ..labels.inputs import Inputs
from .linear import Linear
from .origins import Columns, follow

_CHECKED = 64  # rows on which what is believed of the steps is tried


@dataclass(frozen=True)
class LastStep:
    """A fitted transformer and the model of its output; see :func:`last_step`."""

    transformer: Any
    model: Any

    def __repr__(self) -> str:
        return f"last_step({type(self.model).__name__} after {type(self.transformer).__name__})"


def last_step(pipeline: Any, model: Any = None) -> LastStep:
    """Explain a pipeline by its last step, in the columns the pipeline is given: ``explain(last_step(pipe), frame, method)``.

    The table is transformed once; the method asks the last step alone; the attributions of all columns made of one raw
    column are summed into it. Groups and baselines are stated in raw columns, as for the pipeline itself: a baseline's raw
    values go through the transformers too, and a raw column goes absent with all that is made of it. So `Occlusion`,
    `ShapleySampling` and `KernelShap` give what they give for the whole pipeline; `IntegratedGradients`, which it has no
    gradients for, walks a straight line in the transformed columns, where the last step is linear or a torch module.

    It holds only where each transformed column is made of one raw column. That is read from the fitted transformers
    (never from names), and tried on rows that are partly absent. The transformed table is held in memory.

    Parameters
    ----------
    pipeline
        A fitted scikit-learn Pipeline; or, with `model`, any fitted transformer, such as ``pipeline[:-1]``.
    model
        What takes the transformer's columns, where that is not the pipeline's last step: a torch module or anything else
        that `explain` takes. A module gets them in the dtype of its parameters.

    Raises
    ------
    TypeError
        Not a Pipeline of at least two steps. When explaining: a step that mixes columns (PCA, PolynomialFeatures, ...),
        which is named; a method without a baseline; a baseline whose values depend on what is still present.

    Examples
    --------
    >>> import pandas as pd, tsattr as ta
    >>> from sklearn.linear_model import LinearRegression
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import OneHotEncoder
    >>> x = pd.DataFrame({"ward": ["icu", "icu", "home"]})
    >>> pipe = make_pipeline(OneHotEncoder(), LinearRegression()).fit(x, [3.0, 3.0, 1.0])
    >>> method = ta.IntegratedGradients(ta.baselines.Constant({"ward": "home"}))
    >>> ta.explain(ta.models.last_step(pipe), x, method).attribution.values.round(9).tolist()
    [[2.0], [2.0], [0.0]]
    """
    if model is not None:
        if not hasattr(pipeline, "transform"):
            raise TypeError(f"last_step(transformer, model) takes a fitted transformer, got {type(pipeline).__name__}")
        return LastStep(pipeline, model)
    pipeline = getattr(pipeline, "best_estimator_", pipeline)
    if not hasattr(pipeline, "steps") or len(pipeline.steps) < 2:
        raise TypeError(
            f"last_step takes a fitted Pipeline of at least two steps, got {type(pipeline).__name__}; explain it as it is, "
            "or give last_step(transformer, model)"
        )
    return LastStep(pipeline[:-1], pipeline[-1])


@dataclass
class Transformed:
    """An input as its transformed columns, which part of the input each is made of, and the way back."""

    step: LastStep
    raw: Inputs
    parts: Boxes
    source: np.ndarray
    values: np.ndarray
    known: np.ndarray

    @classmethod
    def of(cls, step: LastStep, raw: Inputs) -> Transformed:
        """Transform an input and find out where each column comes from."""
        if not raw.single:
            raise TypeError("last_step takes a table or one array, not a Dataset of several variables")
        axes = raw.variables[0].axes
        parts, columns = _origins(step.transformer, axes)
        x, known = raw.load(slice(0, raw.n))
        out = cls(
            step, raw, parts, columns.source, np.empty(0), np.ones(x.shape, bool) if known is None else known.numpy()
        )
        out.values = out.transform(x.numpy(), np.arange(raw.n))
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
        """The transformed columns, labelled as the last step knows them."""
        names = getattr(self.step.model, "feature_names_in_", np.arange(len(self.source)))
        data = xr.DataArray(self.values, dims=(self.raw.sample_dim, "feature"), coords=self.raw.sample_coords())
        floats = [p.dtype for p in getattr(self.step.model, "parameters", list)() if p.dtype.is_floating_point]
        return data.assign_coords(feature=names).astype(str(floats[0]).removeprefix("torch.") if floats else "float64")

    def model(self, method: Method, outputs: Any) -> tuple[Any, Any]:
        """The last step, with gradients where the method needs them and it is linear, and its output axes."""
        model = self.step.model
        linear = Linear.of(model, self.values[:_CHECKED]) if method.gradient else None
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
        """TypeError where the sum over the columns made of a part is not what the method, or one inside it, gives the part."""
        name = type(method).__name__
        if not method.has("baseline"):
            raise TypeError(
                f"{name} has no baseline: what it says of transformed columns does not add up in the raw "
                "ones; use IntegratedGradients, Occlusion, ShapleySampling or KernelShap"
            )
        if not method.in_target_units and not np.array_equal(
            np.sort(self.source), np.arange(math.prod(self.axes.shape))
        ):
            raise TypeError(
                f"{name} does not divide the prediction among cells, so that what it says of the {len(self.source)} transformed "
                f"columns adds up to nothing in the {math.prod(self.axes.shape)} raw ones; it takes transformers that make one column "
                "of each: explain the pipeline itself"
            )
        for inner in method.inner():
            self._check_adds_up(inner)

    def _setting(self, value: Any, kind: str) -> Any:
        """A setting that is stated for the input, on the transformed columns."""
        if kind == "baseline":
            return self._baseline(value)
        if kind == "groups":
            return Parted(self.raw.bind(value, "groups"), self)
        if kind == "noise":
            raise TypeError(
                f"last_step has no noise for transformed columns, got {value!r}; explain the pipeline itself"
            )
        return value

    def valid(self) -> np.ndarray | None:
        """Which transformed values may change: those made of a part of the input that is not missing."""
        return None if self.known.all() else (self.sizes(slice(None)) > 0)[:, self.source]

    def reference(self, reference: Any) -> Any:
        """Training-like raw data as transformed columns."""
        if reference is None:
            return None
        return self.transform(read_reference(self.raw, reference))

    def sizes(self, at: Any) -> np.ndarray:
        """Known cells (samples, parts) of each part of the input."""
        known = torch.from_numpy(self.known[at])
        return self.parts.count(known, torch.arange(len(known))).numpy()

    @property
    def children(self) -> np.ndarray:
        """How many columns are made of each part."""
        return np.bincount(self.source, minlength=len(self.parts.names))

    def _baseline(self, given: Any) -> Baseline:
        if isinstance(given, Samples):
            self._check_whole()
            rows = reference_table(given.reference, given.sample_dim, self.axes, "Samples")
            self._check_apart(rows)
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
        self._check_apart(rows)
        return _Rows(self.transform(rows, np.arange(n)))

    def _check_whole(self) -> None:
        """Raise where a part lacks some of its cells: other samples' columns are made of all of them."""
        one = torch.ones((1, *self.known.shape[1:]), dtype=torch.bool)
        sizes, whole = self.sizes(slice(None)), self.parts.count(one, torch.zeros(1, dtype=torch.int64)).numpy()
        if (cut := ((sizes > 0) & (sizes < whole)).any(1)).any():
            names = ", ".join(self.raw.names(np.flatnonzero(cut)[:10].tolist()))
            raise ValueError(
                f"windows of {self.raw.sample_dim} {names} have missing cells, which windows of other samples have not: use "
                "another baseline than Samples, or explain the pipeline itself"
            )

    def _check_apart(self, fills: np.ndarray) -> None:
        """Raise where a column changes though the part that it should be made of is as it was."""
        if (self._spread(np.ones((1, 1, len(self.parts.names)))) > 1).any():
            return  # windows that overlap never go absent by themselves
        rows = np.arange(_CHECKED)
        x, _ = self.raw.variables[0].load(slice(0, min(_CHECKED, self.raw.n)))
        at = rows % len(x)
        x, fill = x[at], fills[rows % len(fills)]
        gone = np.random.default_rng(0).random((_CHECKED, len(self.parts.names))) < 0.5
        mixed = self.transform(np.where(self._spread(gone[:, None].astype(float))[:, 0] > 0, fill, x), at)
        expected = np.where(gone[:, self.source], self.transform(fill, at), self.transform(x, at))
        off = ~np.isclose(mixed, expected, rtol=1e-6, atol=1e-9, equal_nan=True)
        if off.any():
            column = int(off.any(0).argmax())
            raise ValueError(
                f"column {column} of what the transformers give is taken to be made of {self.parts.names[self.source[column]]} "
                "alone, but changes with others too: a step does not keep columns apart; explain the pipeline itself"
            )

    def _spread(self, values: np.ndarray) -> np.ndarray:
        """Values (n, targets, parts) as sums over each cell's parts (n, targets, *event)."""
        found = self.parts.spread(torch.from_numpy(values), torch.arange(len(values)), mean=False)
        return found.expand(*values.shape[:2], *self.axes.shape).numpy()

    def labelled(self, ds: xr.Dataset, method: Method) -> xr.Dataset:
        """A result for the transformed columns as one for the input.

        Each part gets the sum of its columns, divided evenly over its known cells. So does the standard error, which is
        thereby at most too large.
        """
        maps = {name: ds[name] for name in ("attribution", "standard_error") if name in ds}
        ds = ds.drop_vars([*maps, "feature"], errors="ignore")
        groups = [self.raw.bind(one, "groups") for one in method.settings("groups")]
        if method.has("groups"):
            ds = self._unkept_as_zero(ds, groups[0])
        reached = self.known & np.logical_and.reduce([self._covered(one) for one in groups])
        for name, columns in maps.items():
            back = self.raw.label(name, ("target", EVENT), self._back(columns, reached), "target" not in columns.dims)[
                name
            ]
            ds[name] = back.assign_attrs(columns.attrs)
        ds = ds[["attribution", *(name for name in ds.data_vars if name != "attribution")]]
        told = {kind: repr(method.setting(kind)) for kind in ("baseline", "groups") if method.has(kind)}
        ds.attrs |= {"method": repr(method), **told, "model": repr(self.step)}
        return ds

    @property
    def kept(self) -> np.ndarray:
        """Known cells (samples, *event) that some column is made of."""
        return self.known & (self._spread((self.children > 0)[None, None].astype(float))[0] > 0)

    def _unkept_as_zero(self, ds: xr.Dataset, raw: Any) -> xr.Dataset:
        """Groups of known cells that no column is made of are worth 0."""
        known, kept = (torch.from_numpy(cells) for cells in (self.known, self.kept))
        at = torch.arange(len(known))
        unkept = (raw.count(known, at) > 0) & (raw.count(kept, at) == 0)
        mask = xr.DataArray(unkept.numpy(), dims=(self.raw.sample_dim, "group"))
        values = [name for name in ("group_value", "group_standard_error") if name in ds]
        return ds.assign({name: ds[name].where(~mask, 0).transpose(*ds[name].dims) for name in values})

    def _covered(self, groups: BoundGroups) -> np.ndarray:
        """Cells (samples, *event) of the input that are in some group."""
        cells = groups.spread(torch.ones(len(self.known), len(groups.names)), torch.arange(len(self.known)))
        return ~cells.expand(self.known.shape).isnan().numpy()

    def _back(self, columns: xr.DataArray, reached: np.ndarray) -> np.ndarray:
        """Maps of the columns as (samples, targets, *event), NaN where not reached."""
        v = columns.transpose(self.raw.sample_dim, ..., "feature").values.reshape(self.raw.n, -1, len(self.source))
        v = v.astype(np.float64)
        lost = np.isnan(v).all((1, 2))
        member = np.eye(len(self.parts.names))[self.source]
        total = np.nan_to_num(v) @ member
        sizes = self.sizes(slice(None))[:, None]
        out = self._spread(total / np.maximum(sizes, 1))
        out = np.where(reached[:, None], out, np.nan)
        out[lost] = np.nan
        if not np.allclose(np.nansum(out.reshape(*v.shape[:2], -1), 2), np.nansum(v, 2), rtol=1e-9, atol=1e-9):
            raise ValueError("attributions do not add up to the same sum in the raw columns")
        return out


def _origins(transformer: Any, axes: Axes) -> tuple[Boxes, Columns]:
    """The parts of the input that columns are made of, and which of them each column is made of."""
    if len(axes.shape) == 1:
        names = axes.coords.get(axes.dims[0])
        start = Columns(np.arange(axes.shape[0]), None if names is None else tuple(map(str, names)))
        return groups.Cells().bind(axes), follow(transformer, start)
    steps = getattr(transformer, "steps", [("", transformer)])
    if not hasattr(steps[0][1], "parts"):
        raise TypeError(
            f"x has dims {list(axes.dims)}, and {type(steps[0][1]).__name__} does not say which part of it each of its columns "
            "is made of; use ta.estimators.WindowFeatures, or explain the pipeline itself"
        )
    parts, source = steps[0][1].parts(axes)
    columns = Columns(source)
    for name, step in steps[1:]:
        columns = follow(step, columns, name)
    return parts, columns


@dataclass(frozen=True, eq=False)
class _Rows(Baseline):
    """One row of values for each sample."""

    values: np.ndarray

    def _bind(self, axes: Axes) -> Full:
        return Full(lambda x, key: per_row(self.values, x, key))


class Parted(BoundGroups):
    """Groups of the input's cells as groups of the columns made of them."""

    def __init__(self, raw: BoundGroups, view: Transformed) -> None:
        self.raw, self.parts = raw, view.parts
        self.names, self.shared = raw.names, raw.shared
        self.event = view.axes.shape
        self.kept = torch.from_numpy(view.kept)
        self.source = torch.from_numpy(view.source)
        boxes = [list(view.parts.box(k).values()) for k in range(len(view.parts.names))]
        first = np.ravel_multi_index(np.array([[start for start, _ in box] for box in boxes]).T, self.event)
        self.cell = torch.from_numpy(first)[
            self.source
        ]  # one of those that a column is made of: groups hold all or none
        self.size = torch.tensor([math.prod(size for _, size in box) for box in boxes])
        self.share = torch.from_numpy(view.sizes(slice(None)) / np.maximum(view.children, 1))[:, self.source]

    @property
    def order(self) -> np.ndarray:
        """That of the groups of the input."""
        return self.raw.order

    def mask(self, position: Tensor, k: Tensor) -> Tensor:
        """Bool (rows, columns)."""
        if not self.shared:
            return self._mask(position, k)
        which, back = k.unique(return_inverse=True)
        return self._mask(position[:1].expand(len(which)), which)[back]

    def _mask(self, position: Tensor, k: Tensor) -> Tensor:
        cells = self.raw.mask(position, k).expand(-1, *self.event)
        count = self.parts.count(cells, position)
        cut = (count != 0) & (count != self.size.to(count.device))
        if cut.any():
            row, part = cut.nonzero()[0].tolist()
            raise ValueError(
                f"group {self.names[k[row]]} covers a part of {self.parts.names[part]}, of which columns are made as a whole: "
                "give groups of whole ones, or explain the pipeline itself"
            )
        return (count > 0)[:, self.source.to(count.device)]

    def count(self, cells: Tensor, position: Tensor) -> Tensor:
        """Known cells (rows, groups) of the input that columns are made of."""
        return self.raw.count(self.kept[position.cpu()].to(position.device), position)

    def spread(self, values: Tensor, position: Tensor, *, mean: bool = True) -> Tensor:
        """(rows, ..., groups) -> (rows, ..., columns), such that a part's columns sum to the sum over its known cells."""
        cells = self.raw.spread(values, position, mean=mean)
        cells = cells.expand(*values.shape[:-1], *self.event).flatten(values.ndim - 1)
        share = self.share[position.cpu()].to(cells.device, cells.dtype)
        return cells[..., self.cell.to(cells.device)] * share.reshape(len(share), *[1] * (values.ndim - 2), -1)
