"""What a model's skill loses without a region or without the past, beside what it loses without any other region."""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray
from torch import Tensor

from ..core.arrays import Array
from ..core.axes import Axes
from ..core.bound import BoundBaseline, Value
from ..core.engine import Engine
from ..core.groups.masks import OneGroup
from ..core.indexing import positions_of
from ..core.results import check_count
from ..core.samples import SampleChunk
from ..core.targets.outputs import Target, outputs_axes
from ..edge import trials
from ..edge.call import Call
from ..labels.inputs import in_order_of
from ..metrics.intervals import members
from .blocks import BLOCK, RESAMPLE, Blocks, chunks, time_numbers, within
from .profiles import lags_back
from .regions import random_regions
from .sphere import area_weights, everywhere, space_dims

_INTACT, _KEEP, _DROP = "intact", "keep region", "drop region"
_MOMENTS = ("weight", "error", "f", "y", "ff", "yy", "fy")

Remove = Callable[[xr.DataArray], xr.DataArray]


@dataclass(frozen=True)
class Retrain:
    """In the place of a model: one that is trained anew for each case of `ablation`, without what the case takes away.

    Hooker et al., NeurIPS 2019, ask so of every importance, as an input with parts missing is one that a frozen model has not
    met. What is lost then cannot be learnt from the rest.

    Parameters
    ----------
    train
        ``train(x, y)`` returns a fitted model. It is called once for each case and each random region, and must seed itself,
        so that nothing but the input differs.
    x, y
        The samples to train with, apart from those that are tested.

    Examples
    --------
    >>> import tsattr as ta
    >>> x = xr.DataArray(np.random.default_rng(0).normal(size=(90, 2)), dims=("sample", "lat"))
    >>> def train(x, y):
    ...     w = torch.as_tensor(np.linalg.lstsq(x.values, y.values)[0])
    ...     return lambda rows: rows @ w
    >>> first = xr.DataArray([True, False], dims="lat")
    >>> model, zero = Retrain(train, x[:60], x[:60, 0]), ta.baselines.Constant(0.0)
    >>> ds = ablation(model, x[60:], x[60:, 0], fill=zero, absent={"first": first})
    >>> bool(ds.rmse[0] < 1e-9), bool(ds.rmse[1] > 0.5)
    (True, True)
    """

    train: Callable[[xr.DataArray, xr.DataArray], Any]
    x: xr.DataArray
    y: xr.DataArray

    def without(self, remove: Remove) -> Any:
        """A model trained without what `remove` takes away."""
        return self.train(remove(self.x), self.y)


def ablation(
    model: Any,
    x: xr.DataArray,
    y: xr.DataArray,
    *,
    fill: Any,
    region: xr.DataArray | None = None,
    lags: Sequence[float] = (),
    absent: Mapping[str, xr.DataArray] | None = None,
    controls: int = 20,
    weights: xr.DataArray | None = None,
    over: Sequence[Hashable] | None = None,
    lag: str = "lag",
    blocks: Blocks | int = 12,
    draws: int = 1,
    seed: int = 0,
    chunk: int = 256,
    **settings: Any,
) -> xr.Dataset:
    """The skill of a model from which parts of the input are taken away.

    With prediction f and truth y, weights w, sums over samples and the dims `over`, and bars for weighted means:
    ``rmse = sqrt(sum w (f - y)^2 / sum w)``, and the anomaly correlation
    ``acc = sum w (f - f̄)(y - ȳ) / sqrt(sum w (f - f̄)^2 sum w (y - ȳ)^2)``, NaN where f does not vary. An input with parts
    missing is one the model has not met: what it loses may be due to that. Given a `Retrain`
    for a model, each case is trained anew on an input with the same parts missing: what could be learnt without them.

    Parameters
    ----------
    model
        As in `tsattr.explain`, and left as it is; or a `Retrain`.
    x
        With the sample dim; samples without dates in order of time.
    y
        The truth: the model's outputs, or, with a ``target=`` among the settings, the target's values. It is matched by label
        where the outputs have labels (those of ``outputs=``, a classifier's classes) and where several targets have names,
        else by position. NaN cells are left out.
    fill
        A baseline of `tsattr.baselines`: what takes the place of what is taken away.
    region
        Boolean over the dims of space. Gives the cases "keep region" (all else goes, at every lag) and "drop region"; and for
        each, as a control, `controls` random regions of equal area in its place.
    lags
        Gives the cases "last k": what is further back than k goes.
    absent
        Further cases by name: boolean over some dims of `x`, True where values go.
    controls
        Number of random regions; see `random_regions`.
    weights
        Of the cells of `y`; by default the cosine of latitude where that is summed over, else alike.
    over
        Dims of `y` that are summed over, where it has them; others, such as lead or target, go through. None: those of latitude
        and longitude.
    lag
        The dim of the history, whose coordinate counts back from the present.
    blocks
        `Blocks`, or the number of samples in a block, for the intervals.
    draws
        Of a fill that draws; errors are averaged over them.
    chunk
        Samples in memory at once.
    **settings
        ``target``, ``outputs``, ``sample_dim``, ``valid``, ``context``, ``batch_size``, ``device``, as of `tsattr.explain`.

    Returns
    -------
    Dataset
        Along ``case``, "intact" first: ``rmse`` (units of `y`), ``acc``, and ``rmse_change``, ``acc_change`` since the intact
        input, each with ``_low`` and ``_high`` over blocks of samples (changes are paired: one resample serves all
        cases); ``rmse_random``, ``acc_random`` (dim ``control``), the skill with a random region in the place of the region.

    Raises
    ------
    TypeError, ValueError, KeyError
        Masks that are not boolean or do not fit; outputs that do not fit `y`, or lack labels that it has; nothing to take away.

    Examples
    --------
    >>> import tsattr as ta
    >>> x = xr.DataArray([[2.0, 5.0], [-2.0, 7.0]] * 12, dims=("sample", "lat"))
    >>> first = xr.DataArray([True, False], dims="lat")
    >>> zero = ta.baselines.Constant(0.0)
    >>> ds = ablation(lambda x: x[:, 0], x, x[:, 0], fill=zero, absent={"first": first, "others": ~first})
    >>> ds.rmse.values.tolist(), ds.acc.values.tolist()
    ([0.0, 2.0, 0.0], [1.0, nan, 1.0])
    """
    check_count("draws", draws)
    region = None if region is None else in_order_of(x, region, "the region")
    masks: dict[str, xr.DataArray | None] = {_INTACT: None, **_masks(x, region, lags, lag), **(absent or {})}
    if len(masks) == 1:
        raise ValueError("there is nothing to take away: give region=, lags= or absent=")
    trial = _Trial.of(model, x, y, weights, over, fill, draws, seed, chunk, settings)
    found = trial.moments(list(masks.values())).assign_coords(case=list(masks))
    blocks = blocks if isinstance(blocks, Blocks) else Blocks(blocks)
    out = _scores(found, trial.sample, blocks, time_numbers(x, trial.sample))
    if region is not None and controls:
        others = random_regions(region, controls, valid=trial.seen(region), seed=seed)
        again = trial.moments([mask for other in others for mask in (~other, other)], check=False).sum(trial.sample)
        each = [again.isel(case=slice(k, k + 2)) for k in range(0, again.sizes["case"], 2)]
        random = _skill(xr.concat(each, "control")).assign_coords(case=[_KEEP, _DROP])
        random = random.reindex(case=out.case).transpose("case", "control", ...)
        out.update(random.rename({name: f"{name}_random" for name in random.data_vars}))
    for name, values in out.data_vars.items():
        values.attrs = {"units": y.attrs.get("units", "1") if str(name).startswith("rmse") else "1"}
    return out.assign_attrs(fill=repr(fill), retrained=int(isinstance(model, Retrain)))


@dataclass(frozen=True)
class _Trial:
    """A model, its input and the truth, and what is asked of them in every case. Samples come first in `y` and `weights`."""

    model: Any
    x: xr.DataArray
    y: xr.DataArray
    weights: NDArray[np.float64]
    over: Sequence[Hashable]
    fill: Any
    draws: int
    seed: int
    chunk: int
    settings: Mapping[str, Any]

    @classmethod
    def of(
        cls, model: Any, x: xr.DataArray, y: xr.DataArray, weights: Any, over: Sequence[Hashable] | None, *rest: Any
    ) -> _Trial:
        sample = rest[-1].get("sample_dim") or "sample"
        if sample not in y.dims:
            raise ValueError(f"y has dims {list(y.dims)}, none of them the sample dim {sample!r}; give sample_dim=")
        y = y.transpose(sample, ...)
        if y.sizes[sample] != x.sizes[sample]:
            raise ValueError(
                f"y has {y.sizes[sample]} samples, x has {x.sizes[sample]}; give the truth of each sample of x"
            )
        if {sample} <= set(x.indexes) & set(y.indexes) and not x.indexes[sample].equals(y.indexes[sample]):
            raise ValueError(f"y has other labels along {sample!r} than x; give y.sel({sample}=x.{sample})")
        over = space_dims(y) if over is None else over
        if weights is None:
            weights = (
                area_weights(y) if set(over) & set(space_dims(y, ["latitude"])) else xr.ones_like(y[0], dtype=float)
            )
        weights = everywhere(in_order_of(y, weights, "weights", "y's"), y[0])
        return cls(model, x, y, weights.values, over, *rest)

    @property
    def sample(self) -> str:
        return str(self.y.dims[0])

    def seen(self, region: xr.DataArray) -> xr.DataArray:
        """Where some sample has a value, over the dims of a region."""
        inner = [d for d in self.x.dims if d not in region.dims]
        parts = (_known(part, rest).any(inner) for _, part, rest in chunks(self.x, self.chunk, self.settings))
        return functools.reduce(operator.or_, parts)

    def moments(self, masks: Sequence[xr.DataArray | None], *, check: bool = True) -> xr.DataArray:
        """Sums (case, moment, sample, ...) without the cells that are absent in each case, from which skill is made."""
        if isinstance(self.model, Retrain):
            sums = [self._sums_of(self._retrained(self.model, absent), [absent], check=True)[0] for absent in masks]
        else:
            sums = self._sums_of(self.model, masks, check=check)
        kept = [d for d in self.y.dims if d not in self.over]
        coords = {d: self.y[d] for d in kept if d in self.y.coords and d != self.sample} | {"moment": list(_MOMENTS)}
        return xr.DataArray(np.stack(sums), dims=("case", "moment", *kept), coords=coords)

    def _retrained(self, model: Retrain, absent: xr.DataArray | None) -> Any:
        def remove(x: xr.DataArray) -> xr.DataArray:
            return x if absent is None else ablated(x, absent, self.fill, seed=self.seed, sample_dim=self.sample)

        return model.without(remove)

    def _sums_of(self, model: Any, masks: Sequence[xr.DataArray | None], *, check: bool) -> list[NDArray[np.float64]]:
        """Sums (moment, sample, ...) of each case; each chunk of the input is read once for all cases."""
        parts: list[list[NDArray[np.float64]]] = [[] for _ in masks]
        for at, x, settings in chunks(self.x, self.chunk, self.settings):
            settings["check"] &= check
            predictions = _Predictions.of(model, x, {**settings, "seed": self.seed}, self.fill)
            for sums, draws in zip(parts, predictions.without(masks, self.draws, self.y[at])):
                sums.append(np.mean([self._sums(f, at) for f in draws], axis=0))
        return [np.concatenate(sums, 1) for sums in parts]

    def _sums(self, f: NDArray[np.float64], at: slice) -> NDArray[np.float64]:
        y = self.y.values[at].astype(np.float64)
        w = np.where(np.isnan(y), 0, self.weights)
        y, f = np.nan_to_num(y), np.where(w > 0, f, 0)
        terms = np.stack([np.ones_like(y), (f - y) ** 2, f, y, f**2, y**2, f * y])
        return np.asarray((w * terms).sum(tuple(1 + k for k, d in enumerate(self.y.dims) if d in self.over)))


def ablated(
    x: xr.DataArray,
    absent: xr.DataArray,
    fill: Any,
    *,
    draw: int = 0,
    seed: int = 0,
    valid: Any = None,
    sample_dim: str | None = None,
) -> xr.DataArray:
    """`x` with the absent cells filled by a baseline, as the methods and metrics of tsattr fill them.

    Parameters
    ----------
    absent
        Boolean over some dims of `x`, True where values go. Invalid cells stay as they are.
    fill
        A baseline of `tsattr.baselines`.
    draw, seed
        Which draw of a fill that draws.

    Examples
    --------
    >>> import tsattr as ta
    >>> x = xr.DataArray([[1.0, 2.0, np.nan]], dims=("sample", "lat"))
    >>> gone = xr.DataArray([False, True, True], dims="lat")
    >>> ablated(x, gone, ta.baselines.Constant(0.0)).values.tolist()
    [[1.0, 0.0, nan]]
    """
    call = Call.of(_nothing, x, valid=valid, sample_dim=sample_dim, seed=seed, device="cpu", check=False)
    bound = call.inputs.bind(fill, "baseline")
    group, parts = _group(call, absent), []
    with call.running(call.inputs.n) as engine:
        for _, samples in call.chunks(engine):
            every = torch.arange(samples.n)
            removal = samples.removal(group, bound, every, torch.full_like(every, draw), torch.zeros_like(every))
            parts.append(removal.rows(slice(None)))
    _check_filled(engine, call, fill)
    order = (call.inputs.sample_dim, *call.inputs.variables[0].axes.dims)
    return x.transpose(*order).copy(data=torch.cat(parts).numpy()).transpose(*x.dims)


def _group(call: Call, absent: xr.DataArray) -> OneGroup:
    """The absent cells as one group of the call's input."""
    if absent.dtype != bool:
        raise TypeError(f"absent is boolean, True where values go, got {absent.dtype}")
    return OneGroup(torch.as_tensor(call.inputs.variables[0].axes.align(Array.of(absent), "absent")))


def _check_filled(engine: Engine, call: Call, fill: Any) -> None:
    """ValueError where a fill had no value for cells that are there."""
    if engine.unfilled:
        raise ValueError(
            f"the fill {fill!r} gives NaN at cells that are present in {call.inputs.sample_dim} "
            f"{', '.join(call.inputs.names(sorted(engine.unfilled)[:10]))}; give it a reference without missing values there, or "
            "mark those cells with valid=False"
        )


@dataclass(frozen=True)
class _Outputs(Target):
    """A target that keeps the whole outputs: its value is of no use."""

    def bind(self, outputs: Axes) -> Value:
        return lambda y, y0: y.flatten(1).sum(1) if y.ndim > 1 else y


def _nothing(rows: torch.Tensor) -> torch.Tensor:
    return torch.zeros(len(rows))


def _known(x: xr.DataArray, settings: Mapping[str, Any]) -> xr.DataArray:
    """Which cells are valid."""
    inputs = Call.of(
        _nothing, x, device="cpu", **{k: settings[k] for k in ("valid", "sample_dim") if k in settings}
    ).inputs
    known = inputs.load(slice(0, inputs.n))[1]
    dims = (inputs.sample_dim, *inputs.variables[0].axes.dims)
    ordered = x.transpose(*dims)
    return xr.ones_like(ordered, dtype=bool) if known is None else ordered.copy(data=known.numpy())


@dataclass(frozen=True)
class _Predictions:
    """A model's outputs, or its target values where one is asked for, as some of the input is absent."""

    call: Call
    target: Any
    fill: Any

    @classmethod
    def of(cls, model: Any, x: xr.DataArray, settings: Mapping[str, Any], fill: Any) -> _Predictions:
        target = settings.get("target")
        call = Call.of(model, x, **{**settings, "target": _Outputs() if target is None else target})
        return cls(call.quiet(), target, fill)

    def without(
        self, masks: Sequence[xr.DataArray | None], draws: int, y: xr.DataArray
    ) -> list[list[NDArray[np.float64]]]:
        """For each case those of each draw, in the places of `y`; None is the intact input."""
        call = self.call
        groups = [None if absent is None else _group(call, absent) for absent in masks]
        fill = call.inputs.bind(self.fill, "baseline")
        found: list[list[list[Tensor]]] = [[[] for _ in range(draws)] for _ in masks]
        with trials.running(call, call.inputs.n) as engine:
            for _, samples in call.chunks(engine):
                for case, group in zip(found, groups):
                    for draw, parts in enumerate(case):
                        parts.append(self._of(samples, group, fill, draw))
        _check_filled(engine, call, self.fill)
        names = list(engine.bound.names)
        return [[self._in_places_of(y, torch.cat(parts).cpu().numpy(), names) for parts in case] for case in found]

    def _of(self, samples: SampleChunk, group: OneGroup | None, fill: BoundBaseline, draw: int) -> Tensor:
        """(n, *out) outputs, or (n, targets) target values."""
        if group is None:
            whole = samples.intact_outputs
            return samples.prediction if whole is None or self.target is not None else whole
        every = samples.indices
        asked = group, fill, every, torch.full_like(every, draw), torch.zeros_like(every)
        answers = samples.outputs_without(*asked) if self.target is None else samples.without(*asked)
        return torch.cat([values for _, values in answers])

    def _in_places_of(self, y: xr.DataArray, found: NDArray[Any], names: list[str]) -> NDArray[np.float64]:
        what, labels = ("outputs", _labels(self.call, found, y)) if self.target is None else ("target values", None)
        if isinstance(self.target, Mapping):
            labels = {"target": names}
        if labels is not None and set(y.dims[1:]) <= set(labels):
            found = _in_place(found, labels, y, what)
        if found.size != y.size or (found.ndim == y.ndim and found.shape != y.shape):
            raise ValueError(
                f"the model's {what} have shape {found.shape}, y has {dict(y.sizes)}; they must be the same"
            )
        return found.reshape(y.shape)


def _labels(call: Call, found: NDArray[Any], y: xr.DataArray) -> dict[str, Any] | None:
    """The axes of the outputs with their labels; None where nothing is known of them."""
    axes = outputs_axes(call.outputs, found.shape[1:], call.model.labels)
    assert axes is not None
    if call.outputs is None:  # the classes of a classifier may be called as y calls them
        return {str(y.dims[1]): axes.coords[axes.dims[0]]} if axes.coords and y.ndim == 2 else None
    if set(y.dims[1:]) - set(axes.dims):
        raise ValueError(f"y has dims {list(y.dims)}, outputs= calls the model's {list(axes.dims)}; use the same names")
    return {d: axes.coords.get(d) for d in axes.dims}


def _in_place(found: NDArray[Any], labels: Mapping[str, Any], y: xr.DataArray, what: str) -> NDArray[Any]:
    """Outputs (samples, *labels) in the order of the dims and labels of `y`; what has no labels, by position."""
    coords = {d: np.asarray(v) for d, v in labels.items() if v is not None}
    made = xr.DataArray(found, dims=(y.dims[0], *labels), coords=coords)
    for d in [d for d in labels if d not in y.dims]:
        if made.sizes[d] != 1:
            raise ValueError(
                f"the model's {what} have axes {list(labels)}, y has dims {list(y.dims)}; select one entry of {d!r}"
            )
        if d in coords and d in y.coords:
            positions_of(np.atleast_1d(y[d].values), coords[d], "the model", d, whose="y's")
        made = made.isel({d: 0}, drop=True)
    return in_order_of(y, made, "the model", "y's").transpose(*y.dims).values


def _masks(
    x: xr.DataArray, region: xr.DataArray | None, lags: Sequence[float], lag: str
) -> dict[str, xr.DataArray | None]:
    spatial = {} if region is None else {_KEEP: ~region, _DROP: region}
    return {**spatial, **{f"last {k:g}": lags_back(x, lag) > k for k in lags}}


def _skill(sums: xr.DataArray) -> xr.Dataset:
    """Root mean square error and anomaly correlation from sums along ``moment``."""
    mean = sums / sums.sel(moment="weight")
    error, f, y, ff, yy, fy = (mean.sel(moment=name, drop=True) for name in _MOMENTS[1:])
    vf, vy = ff - f**2, yy - y**2
    # What is left of the variance of a constant is rounding.
    acc = ((fy - f * y) / np.sqrt(vf * vy)).where((vf > 1e-12 * ff) & (vy > 1e-12 * yy))
    return xr.Dataset({"rmse": np.sqrt(error), "acc": acc})


def _scores(sums: xr.DataArray, sample: str, blocks: Blocks, time: NDArray[np.int64]) -> xr.Dataset:
    """Skill of each case and its change since the intact input, with intervals; `time` numbers that of each sample."""

    def scores(total: xr.DataArray) -> xr.Dataset:
        skill = _skill(total)
        change = skill - skill.sel(case=_INTACT, drop=True)
        return skill.merge(change.rename({name: f"{name}_change" for name in skill.data_vars}))

    block = time // blocks.size_for(int(time.max()) + 1)
    member = xr.DataArray(members(block, int(block.max()) + 1), dims=(BLOCK, sample))
    of_block = xr.dot(member, sums.drop_vars([c for c in sums.coords if sample in sums[c].dims]), dim=sample)
    weights = xr.DataArray(blocks.weights(len(member)), dims=(RESAMPLE, BLOCK))
    resampled = scores(xr.dot(weights, of_block, dim=BLOCK))
    out = blocks.interval(scores(sums.sum(sample)), resampled, member.sum(sample))
    return within(out, {"rmse": (0.0, None), "acc": (-1.0, 1.0)})
