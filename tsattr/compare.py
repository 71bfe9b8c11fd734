"""`compare`: which method, which baseline? The same samples, the same tests, paired differences with intervals, and words."""

from __future__ import annotations

import dataclasses
import time
import warnings
from collections.abc import Callable, Mapping
from typing import Any, Unpack

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from . import metrics as measures
from .comparison.scoring import MEASURES, Measurement
from .comparison.settings import EVALUATION_DEFAULTS, EvaluationSettings
from .comparison.verdict import recommendation
from .core.baselines.fills import adopted
from .core.keys import Key
from .core.method import Method, OverBudget, check_is_method
from .core.results import check_count, check_flag
from .core.samples import SampleChunk
from .core.shift.detector import FEWEST
from .edge import trials
from .edge.call import Call
from .edge.each_output import EachOutput
from .edge.explained import explained
from .edge.settings import DEFAULTS, filled, shown
from .edge.warning import tell
from .labels import alignment
from .labels.inputs import Inputs
from .metrics import pairs

_CHOICE = 2**36  # the stream that chooses whose map a control is made from
CONTROLS = ("random", "smooth random")


@shown(EvaluationSettings, EVALUATION_DEFAULTS)
def compare(
    model: Any,
    x: Any,
    methods: Mapping[str, Any],
    *,
    blocks: Any = None,
    budget: int | None = None,
    controls: bool = True,
    resamples: int = 2000,
    **settings: Unpack[EvaluationSettings],
) -> xr.Dataset:
    """Compare explanations of one model on the same samples: which baseline, which method, and can one tell?

    Each method explains `x`; every map is then tested as by :func:`tsattr.evaluate`, on the same rows of the model where
    they coincide. Two controls stand beside them: a random map, and a smooth random map with the autocorrelation of the
    methods' own. A fill of the same kind as a method's own baseline is left out of that method's score, so that no
    baseline wins its own test; the scores are adjusted for which fills those are (`tsattr.metrics.adjusted`). The design is
    that of Sturmfels, Lundberg and Lee, Distill 2020.

    Parameters
    ----------
    model, x, target, outputs, dims, sample_dim, valid, missing, context, batch_size, device, autocast, evaluation, check, seed, progress
        As in :func:`tsattr.explain`.
    methods
        Methods by name; also results of `explain`, and attributions as DataArrays like `x`.
    truth, metrics, fills, groups, rankings, steps, top, subsets, sizes, draws, reference
        As in :func:`tsattr.evaluate`. Truth adds its own measures; the recommendation does not look at them.
    blocks
        The block (patient, year) of each sample: an array, or the name of a coordinate of `x` along the sample dim.
        Intervals then count blocks, as samples of one block are alike.
    budget
        Rows of the model a sample for each method: its steps, draws or coalitions are set to what the budget allows. One
        that takes more rows all the same, or may, as nothing of it can be set, is marked in ``over_budget``, and is not
        recommended: the recommendation names it with its rows. None takes the methods as they are; the rows they took are in
        the result.
    controls
        False leaves out the random maps.
    resamples
        Number of draws for the intervals that hold for all pairs together.

    Returns
    -------
    xr.Dataset
        Along `method`, the controls last: the curves and measures of `evaluate`; `score` with `score_low` and `score_high`
        (measure, ranking, method), the adjusted mean over fills and samples with its 95 % interval (Student's t over the
        blocks; see `tsattr.metrics.bootstrap`); `difference` with its
        interval (measure, ranking, method, method_other), paired and turned so that positive is better, and
        `distinguishable`: whether 0 lies outside an interval that holds for all pairs together; `own_fill`; `agreement` of
        the maps (mean Spearman correlation); `control`; `model_evaluations`, `seconds`; with a `budget`, ``over_budget``; with a
        `reference` of at least 20 samples `fill_shift` and `fill_auc`, how far off clean data half a removal is with each fill.
        ``attrs["recommendation"]``: in words what was found and what cannot be told, made without any truth.
        (``sel`` has an argument named method: choose one by ``tb.sel({"method": "IG"})``.)

    Raises
    ------
    TypeError, ValueError, KeyError, IndexError
        As `explain` and `evaluate`.

    Examples
    --------
    >>> import numpy as np, torch, tsattr as ta
    >>> f = lambda x: torch.tanh(x @ torch.tensor([3.0, -2.0, 1.0, 0.0], dtype=torch.float64))
    >>> x = np.random.default_rng(0).normal(size=(20, 4))
    >>> tb = ta.compare(f, x, {"IG": ta.IntegratedGradients(), "saliency": ta.Saliency()})
    >>> tb.method.values.tolist(), float(tb.score.sel(measure="gap", ranking="signed").idxmax("method") == "IG")
    (['IG', 'saliency', 'random', 'smooth random'], 1.0)
    """
    if not isinstance(methods, Mapping) or not methods:
        raise TypeError(f"methods is a mapping from names to methods, {{'IG': IntegratedGradients()}}, got {methods!r}")
    if taken := [name for name in methods if name in CONTROLS and controls]:
        raise ValueError(f"{taken[0]!r} is the name of a control; call the method otherwise, or set controls=False")
    for method in methods.values():
        if not isinstance(method, xr.Dataset | xr.DataArray):
            check_is_method(method)
    check_count("resamples", resamples)
    check_flag("controls", controls)
    if budget is not None:
        check_count("budget", budget)
    s = filled("compare", settings, EVALUATION_DEFAULTS)
    each = EachOutput.of(model, x, s)
    if each is not None:
        s = s | {"target": each.targets}
        methods = {name: each.fold(m) for name, m in methods.items()}
    call = Call.of(model, x, **{k: s[k] for k in DEFAULTS})
    measurement = Measurement.of(call, s)
    block = read_blocks(blocks, call.inputs)
    chosen, most = {}, {}
    for name, m in methods.items():
        chosen[name], most[name] = _within(m, budget, call)
    tried = trials.tried(call)
    measurement.call = call = call.unchecked()
    maps, costs, far = {}, {}, ""
    for name, method in chosen.items():
        began = time.perf_counter()
        ds = method
        if not isinstance(method, xr.Dataset | xr.DataArray):
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                ds = explained(call.asked_by(method), method)
            far = ds.attrs.get("reference_doubt", "")
            for w in caught:
                if str(w.message) not in (ds.attrs.get("target_taken"), far):  # which are said once, of all methods
                    tell(f"{name}: {w.message}", w.category)
        costs[name] = _rows(ds, call.inputs.n), time.perf_counter() - began
        maps[name] = alignment.read_maps(call.inputs, ds, len(call.targets.each))
    if far:
        tell(far)
    make = _Controls(call.inputs) if controls else None
    table = measurement.run(maps, controls=make)
    for name, given in methods.items():
        if doubt := alignment.other_target(given, table):
            tell(f"{name}: {doubt}")
    table = table.rename(model_evaluations="test_evaluations")
    names = table.method.values.tolist()
    clean = (
        None
        if call.settings["reference"] is None or not measurement.metrics
        else alignment.read_reference(call.inputs, call.settings["reference"], gaps=measurement.gaps)
    )
    if clean is not None and len(clean) >= FEWEST:
        table = table.merge(measurement.off_data(clean))
    table["own_fill"] = ("method", "fill"), _own_fills(chosen, measurement.unbound_fills, names)
    table["control"] = "method", np.array([n not in methods for n in names])
    rows = np.full((len(names), call.inputs.n), np.nan)
    rows[: len(methods)] = [r for r, _ in costs.values()]
    table["model_evaluations"] = ("method", call.inputs.sample_dim), rows
    if budget is not None:
        over = np.array([most.get(name, 0) > budget for name in names])
        table["over_budget"] = "method", over | (np.nan_to_num(rows) > budget).any(1)
    table["seconds"] = "method", np.array([s for _, s in costs.values()] + [0.0] * (len(names) - len(methods)))
    table["agreement"] = ("method", "method_other"), _agreement(maps, names, call.inputs)
    table = table.assign_coords(method_other=names)
    table = table.merge(_pairs(table, call.inputs.sample_dim, block, resamples, call.seed))
    table.attrs |= {
        "methods": "; ".join(f"{k}={m!r}" if isinstance(m, Method) else k for k, m in chosen.items()),
        "blocks": len(np.unique(block)),
        "resamples": resamples,
        "rows": int(np.nansum(rows) + table.test_evaluations.sum()) + tried,
        "trial_rows": tried,
        **({} if budget is None else {"budget": budget}),
    }
    table.attrs["recommendation"] = recommendation(table, call.inputs.sample_dim, most)
    return table if each is None else each.unfold(table)


def read_blocks(blocks: Any, inputs: Inputs) -> np.ndarray:
    """One label a sample; by default each sample is its own block."""
    if blocks is None:
        return np.arange(inputs.n)
    if isinstance(blocks, str):
        coords = inputs.sample_coords()
        if blocks not in coords:
            raise KeyError(f"x has no coordinate {blocks!r} along its samples; it has {sorted(coords)}")
        blocks = coords[blocks]
    found = alignment.read_samples(inputs, blocks, "blocks")
    if found.shape != (inputs.n,):
        raise ValueError(f"blocks has shape {found.shape}; give one label for each of the {inputs.n} samples")
    return found


def _within(method: Any, budget: int | None, call: Call) -> tuple[Any, int]:
    """The method with settings for a budget of rows a sample, or as it is where none keeps to it; and the most rows it takes."""
    if budget is None or not isinstance(method, Method):
        return method, 0
    inputs = call.inputs
    bound = method.prepared(call.model.module, [v.axes for v in inputs.variables]).bind(inputs.bind)
    try:
        bound = bound.within(budget)
    except OverBudget:
        return method, bound.rows()[1]
    return method.with_effort_of(bound), bound.rows()[1]


def _rows(ds: Any, n: int) -> np.ndarray:
    return ds["model_evaluations"].values.astype(float) if "model_evaluations" in ds else np.full(n, np.nan)


def _kinds(baseline: Any) -> set[type]:
    """The classes of baseline that a setting holds: of each variable, and of each member of a mixture."""
    if isinstance(baseline, Mapping):
        return set().union(*map(_kinds, baseline.values()))
    if isinstance(baseline, int | float):  # noise, as a share of the range
        return set()
    members = adopted(baseline).members
    return set().union(*map(_kinds, members)) if members else {type(baseline)}


def _own_fills(methods: Mapping[str, Any], fills: Mapping[str, Any], names: list[str]) -> np.ndarray:
    """Bool (methods, fills): True where the fill is of the class of a baseline of the method, or of a method inside it."""
    own = np.zeros((len(names), len(fills)), bool)
    for i, method in enumerate(methods.values()):
        if isinstance(method, Method):
            used = set().union(*map(_kinds, method.baselines()))
            own[i] = [bool(used & _kinds(fill)) for fill in fills.values()]
    return own


@dataclasses.dataclass
class _Controls:
    """Two random maps: white noise, and noise as smooth as the map of a method drawn for each sample."""

    inputs: Inputs

    def __call__(self, samples: SampleChunk, maps: Tensor) -> dict[str, Tensor]:
        every = torch.arange(samples.n, device=samples.x.device)
        key = samples.key(every, torch.zeros_like(every)).fork(_CHOICE)
        source = torch.tensor([int(key.rng(row).integers(len(maps))) for row in range(samples.n)], device=every.device)
        chosen = maps[source, every].to(torch.float64)
        if samples.valid is not None:
            chosen = torch.where(samples.valid[:, None], chosen, torch.nan)
        made = [
            np.stack([self._of(make, chosen[:, t], key) for t in range(samples.targets)], 1)
            for make in (measures.white_random, measures.smooth_random)
        ]
        return {name: torch.as_tensor(m, device=maps.device) for name, m in zip(CONTROLS, made)}

    def _of(self, make: Callable[..., np.ndarray], maps: Tensor, key: Key) -> np.ndarray:
        """A control of maps (n, *event), variable by variable."""
        values = maps.cpu().numpy()
        if self.inputs.single:
            return make(values, key, self.inputs.variables[0].axes.dims)
        parts = [
            make(values[:, v.at].reshape(-1, *v.axes.shape), key.fork(k), v.axes.dims).reshape(len(values), -1)
            for k, v in enumerate(self.inputs.variables)
        ]
        return np.concatenate(parts, 1)


def _agreement(maps: Mapping[str, np.ndarray], names: list[str], inputs: Inputs) -> np.ndarray:
    """Mean Spearman correlation over samples between maps (methods, methods); NaN for the controls."""
    out = np.full((len(names), len(names)), np.nan)
    every = list(maps.values())
    for i, a in enumerate(every):
        for j, b in enumerate(every[: i + 1]):
            r = measures.spearman(a.reshape(len(a), -1), b.reshape(len(b), -1))
            out[i, j] = out[j, i] = np.nanmean(r) if np.isfinite(r).any() else np.nan
    return out


def _pairs(table: xr.Dataset, sample: str, block: np.ndarray, resamples: int, seed: int) -> xr.Dataset:
    """Scores and paired differences of every measure and ranking, with their intervals."""
    names = [str(k) for k in table if k in MEASURES or table[k].attrs.get("uses_truth")]
    names = [k for k in names if not k.endswith("_chance")]
    rankings, methods = table.ranking.values.tolist(), table.sizes["method"]
    shape = (len(names), len(rankings), methods)
    out = {k: np.full(shape, np.nan) for k in ("score", "score_low", "score_high")}
    out |= {k: np.full((*shape, methods), np.nan) for k in ("difference", "difference_low", "difference_high")}
    apart = np.zeros((*shape, methods), bool)
    one, other = np.triu_indices(methods, 1)
    for m, name in enumerate(names):
        for r, ranking in enumerate(rankings):
            v = table[name].sel(ranking=ranking) if "ranking" in table[name].dims else table[name]
            v = v.mean("target") if "target" in v.dims else v
            if "fill" in v.dims:
                each = pairs.adjusted(v.transpose("method", "fill", sample).values, table.own_fill.values)
            else:
                each = v.transpose("method", sample).values
            out["score"][m, r], out["score_low"][m, r], out["score_high"][m, r] = pairs.intervals(each, block)
            sign = -1.0 if table[name].attrs["better"] == "lower" else 1.0
            difference = sign * (each[one] - each[other])
            # Maps that differ by rounding alone are equal.
            difference[np.abs(difference) <= 1e-9 * np.nanmax(np.abs(each), initial=0)] = 0
            found = pairs.bootstrap(difference, block, resamples=resamples, seed=seed)
            for key, up, down in (
                ("difference", found.mean, -found.mean),
                ("difference_low", found.low, -found.high),
                ("difference_high", found.high, -found.low),
            ):
                out[key][m, r, one, other], out[key][m, r, other, one] = up, down
            apart[m, r, one, other] = apart[m, r, other, one] = found.apart
    dims = ("measure", "ranking", "method", "method_other")
    ds = xr.Dataset({k: (dims[: v.ndim], v) for k, v in out.items()} | {"distinguishable": (dims, apart)})
    better = [table[name].attrs["better"] for name in names]
    return ds.assign_coords(measure=names, better=("measure", better))
