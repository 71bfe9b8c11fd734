"""What a model's skill loses without a region or without the past, beside what it loses without any other region."""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from ..core.results import check_count
from ..labels.alignment import in_order_of
from .blocks import Blocks, chunks, time_numbers
from .predictions import Predictions
from .profiles import lags_back
from .regions import random_regions
from .removals import ablated, valid_cells
from .skill import INTACT, Truth, scores, skill

_KEEP, _DROP = "keep region", "drop region"

Remove = Callable[[xr.DataArray], xr.DataArray]


@dataclass(frozen=True)
class Retrain:
    """Given to `ablation` for a model: how to train one, anew for each case, without what the case takes away.

    Remove and retrain (Hooker et al., NeurIPS 2019): an input with parts missing is one that a frozen model has not been
    trained on. The skill that is lost after retraining cannot be learnt from the rest.

    Parameters
    ----------
    train
        ``train(x, y)`` returns a fitted model. It is called once for each case and each random region, and must seed itself,
        so that nothing but the input differs.
    x, y
        The samples to train with, apart from those that are tested.

    Examples
    --------
    >>> import torch, tsattr as ta
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
    missing is one the model was not trained on: what it loses may be due to that. Given a `Retrain`
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
        A baseline of `tsattr.baselines`: what replaces the cells that are taken away.
    region
        Boolean over the dims of space. Gives the cases "keep region" (all else goes, at every lag) and "drop region"; and for
        each, as a control, `controls` random regions of equal area instead.
    lags
        Gives the cases "last k": what is further back than k goes.
    absent
        Further cases by name: boolean over some dims of `x`, True where values are taken away.
    controls
        Number of random regions; see `random_regions`.
    weights
        Of the cells of `y`; by default the cosine of latitude where that is summed over, else equal.
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
        cases); ``rmse_random``, ``acc_random`` (dim ``control``), the skill with a random region instead.

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
    masks: dict[str, xr.DataArray | None] = {INTACT: None, **_masks(x, region, lags, lag), **(absent or {})}
    if len(masks) == 1:
        raise ValueError("there is nothing to take away: give region=, lags= or absent=")
    truth = Truth.of(x, y, weights, over, settings.get("sample_dim") or "sample")
    cases = _Cases(model, x, truth, fill, draws, seed, chunk, settings)
    found = cases.moments(list(masks.values())).assign_coords(case=list(masks))
    blocks = blocks if isinstance(blocks, Blocks) else Blocks(blocks)
    out = scores(found, truth.sample, blocks, time_numbers(x, truth.sample))
    if region is not None and controls:
        others = random_regions(region, controls, valid=cases.has_values(region), seed=seed)
        again = cases.moments([mask for other in others for mask in (~other, other)], check=False).sum(truth.sample)
        pairs = [again.isel(case=slice(k, k + 2)) for k in range(0, again.sizes["case"], 2)]
        random = skill(xr.concat(pairs, "control")).assign_coords(case=[_KEEP, _DROP])
        random = random.reindex(case=out.case).transpose("case", "control", ...)
        out.update(random.rename({name: f"{name}_random" for name in random.data_vars}))
    for name, values in out.data_vars.items():
        values.attrs = {"units": y.attrs.get("units", "1") if str(name).startswith("rmse") else "1"}
    return out.assign_attrs(fill=repr(fill), retrained=int(isinstance(model, Retrain)))


@dataclass(frozen=True)
class _Cases:
    """A model with its input and the truth, whose predictions are compared without the cells that are absent in each case."""

    model: Any
    x: xr.DataArray
    truth: Truth
    fill: Any
    draws: int
    seed: int
    chunk: int
    settings: Mapping[str, Any]

    def has_values(self, region: xr.DataArray) -> xr.DataArray:
        """Where some sample has a valid value, bool over the dims of a region."""
        inner = [d for d in self.x.dims if d not in region.dims]
        parts = (valid_cells(part, rest).any(inner) for _, part, rest in chunks(self.x, self.chunk, self.settings))
        return functools.reduce(operator.or_, parts)

    def moments(self, masks: Sequence[xr.DataArray | None], *, check: bool = True) -> xr.DataArray:
        """Moments (case, moment, sample, ...) of the predictions without the cells that are absent in each case."""
        if isinstance(self.model, Retrain):
            sums = [self._moments_of(self._retrained(self.model, absent), [absent], check=True)[0] for absent in masks]
        else:
            sums = self._moments_of(self.model, masks, check=check)
        return self.truth.labelled(sums)

    def _retrained(self, model: Retrain, absent: xr.DataArray | None) -> Any:
        """The model trained without the absent cells."""

        def remove(x: xr.DataArray) -> xr.DataArray:
            return x if absent is None else ablated(x, absent, self.fill, seed=self.seed, sample_dim=self.truth.sample)

        return model.without(remove)

    def _moments_of(
        self, model: Any, masks: Sequence[xr.DataArray | None], *, check: bool
    ) -> list[NDArray[np.float64]]:
        """Moments (moment, samples, ...) of each case; each chunk of the input is read once for all cases."""
        parts: list[list[NDArray[np.float64]]] = [[] for _ in masks]
        for at, x, settings in chunks(self.x, self.chunk, self.settings):
            settings["check"] &= check
            predictions = Predictions.of(model, x, {**settings, "seed": self.seed}, self.fill)
            for sums, draws in zip(parts, predictions.without(masks, self.draws, self.truth.y[at])):
                sums.append(np.mean([self.truth.moments(f, at) for f in draws], axis=0))
        return [np.concatenate(sums, 1) for sums in parts]


def _masks(
    x: xr.DataArray, region: xr.DataArray | None, lags: Sequence[float], lag: str
) -> dict[str, xr.DataArray | None]:
    """The absent cells of the cases of a region and of lags, by case."""
    spatial = {} if region is None else {_KEEP: ~region, _DROP: region}
    return {**spatial, **{f"last {k:g}": lags_back(x, lag) > k for k in lags}}
