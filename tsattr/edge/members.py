"""One explanation from several of the same samples: of the members of an ensemble, or of several seeds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from ..core.targets.parsing import of_members
from ..labels.results import completeness
from ..metrics.agreement import mean_spearman
from ..models import Ensemble
from .table import STATUS, no_class
from .warning import tell


def runs(model: Any, seed: Any, target: Any = None) -> dict[str, tuple[Any, Any]]:
    """The (model, seed) of each run by name: one for each member of an `Ensemble` and each of several seeds.

    An ensemble whose `target` is of all members together is one model.

    >>> runs("model", [0, 1])
    {'seed 0': ('model', 0), 'seed 1': ('model', 1)}
    """
    several = isinstance(seed, list | tuple | range | np.ndarray)
    seeds = [int(s) if isinstance(s, np.integer) else s for s in seed] if several else [seed]
    if several and len(set(seeds)) < max(2, len(seeds)):
        raise ValueError(f"several seeds are at least two different ones, got {seed!r}; give one as a number")
    apart = isinstance(model, Ensemble) and not of_members(target)
    members = dict(zip(model.names, model.members)) if apart else {"": model}
    return {
        " ".join(filter(None, [name, f"seed {s}" if several else ""])): (member, s)
        for name, member in members.items()
        for s in seeds
    }


def combine(results: Mapping[str, xr.Dataset]) -> xr.Dataset:
    """The mean of several results for the same samples, and how far they agree.

    For each sample, with k results (the members):

    - ``attribution``, ``prediction``, ``reference``, ``group_value`` and other numbers: the mean over the members;
    - ``standard_error`` (``group_standard_error``): ``sd / sqrt(k)``, sd the standard deviation between members (k - 1).
      It takes the place of the members' own, which say nothing of the difference between models;
    - ``prediction_sd``: the standard deviation of the predictions between members (k - 1);
    - ``agreement``: the mean Spearman correlation of the maps over the pairs of members and the valid cells, 1 for the same
      order; NaN where a map is the same everywhere;
    - ``completeness_gap``, ``completeness_error``: of the means;
    - ``model_evaluations``: the sum; ``steps``: the largest; ``status``: the gravest; ``predicted``: the most frequent.

    Parameters
    ----------
    results
        Results of `explain` by the names of the members, at least two, with the same variables, dims and labels.

    Raises
    ------
    ValueError
        Fewer than two results, or results that differ in shape.

    Warns
    -----
    ExplanationWarning
        Where members predict different classes and each explains its own: name the target to explain one.

    Examples
    --------
    >>> import torch, tsattr as ta
    >>> two = {str(w): ta.explain(lambda x, w=w: w * x.sum(1), torch.ones(1, 2), ta.Saliency()) for w in (2, 4)}
    >>> ds = combine(two)
    >>> ds.attribution.values.tolist(), ds.standard_error.values.tolist(), ds.prediction.item()
    ([[3.0, 3.0]], [[1.0, 1.0]], 6.0)
    """
    if len(results) < 2:
        raise ValueError(f"combine needs at least two results, got {len(results)}")
    first = next(iter(results.values()))
    replaced = ("standard_error", "group_standard_error", "interaction_standard_error", "completeness_")
    names = [name for name in map(str, first.data_vars) if not name.startswith(replaced)]
    out = first[names]
    for name in names:
        values = np.stack([_like(r, first[name]) for r in results.values()])
        out[name] = first[name].copy(data=_combined(name, values))
        if spread := _spread_name(name, first[name]):
            size = _sd(values) / (1 if name == "prediction" else len(values) ** 0.5)
            out[spread] = first[name].copy(data=size)
            if "long_name" in first[name].attrs:
                out[spread].attrs["long_name"] = (
                    first[name].attrs["long_name"].replace("attribution", "standard error", 1)
                )
    maps = [v for v in map(str, first.data_vars) if v.startswith("attribution") and "draw" not in first[v].dims]
    sample = str(first["status"].dims[0])
    if "completeness_gap" in first:
        out.update(_completeness(out, maps, sample))
    out["agreement"] = _agreement([[r[v].transpose(*first[v].dims) for v in maps] for r in results.values()], sample)
    if "predicted" in first:
        _warn_of_unlike_classes(results, sample)
    out = out[[*(k for k in out.data_vars if k != "status"), "status"]]
    seeds = [str(r.attrs["seed"]) for r in results.values()]
    models = list(dict.fromkeys(str(r.attrs["model"]) for r in results.values()))
    out.attrs = first.attrs | {"model": ", ".join(models), "members": ", ".join(results)}
    for name in ("trial_rows", "repeated_rows"):
        if counts := [int(r.attrs[name]) for r in results.values() if name in r.attrs]:
            out.attrs[name] = sum(counts)
    if len(set(seeds)) > 1:
        out.attrs["seed"] = ", ".join(dict.fromkeys(seeds))
    return out


def agreement_of_draws(ds: xr.Dataset) -> xr.DataArray | None:
    """Mean Spearman correlation over pairs of the draws' own maps, where a result keeps them; else None."""
    maps = [v for v in map(str, ds.data_vars) if v.startswith("attribution_draw")]
    if not maps or ds.sizes["draw"] < 2:
        return None
    return _agreement([[ds[v].isel(draw=k) for v in maps] for k in range(ds.sizes["draw"])], str(ds["status"].dims[0]))


def total_cost(costs: Mapping[str, xr.Dataset]) -> xr.Dataset:
    """What several runs cost together, from the dry run of each."""
    first = next(iter(costs.values()))
    out = first.copy()
    for name in first.data_vars:
        out[name] = sum(c[name] for c in costs.values())
    summed = ("rows", "trial_rows", "model_calls", "multiply_adds", "multiply_adds_least", "seconds", "seconds_least")
    out.attrs = first.attrs | {k: sum(c.attrs[k] for c in costs.values()) for k in summed if k in first.attrs}
    if "peak_bytes" in first.attrs:
        out.attrs["peak_bytes"] = max(c.attrs["peak_bytes"] for c in costs.values())
    return out


def _like(result: xr.Dataset, other: xr.DataArray) -> NDArray[Any]:
    name = str(other.name)
    if name not in result or set(result[name].dims) != set(other.dims):
        raise ValueError(f"the results differ: {name!r} with dims {list(other.dims)} is not in all of them")
    v = result[name].transpose(*other.dims)
    if v.shape != other.shape:
        raise ValueError(f"the results differ: {name!r} has shape {v.shape} in one, {other.shape} in another")
    return v.values


def _combined(name: str, values: NDArray[Any]) -> NDArray[Any]:
    """The values of an ensemble from those of its members (members, ...): by the variable, their worst, sum, mode or mean."""
    if name == "status":
        order = STATUS.tolist()
        return np.asarray(STATUS[np.vectorize(order.index)(values).max(0)])
    if name == "model_evaluations":
        return np.asarray(values.sum(0))
    if name == "predicted":
        none = no_class(values)
        levels = np.unique(values[~none]) if not none.all() else values[0]
        return np.asarray(np.where(none.all(0), values[0], levels[(values[..., None] == levels).sum(0).argmax(-1)]))
    if values.dtype.kind in "iu":
        return np.asarray(values.max(0))
    return np.asarray(values.mean(0, dtype=np.float64).astype(values.dtype))


def _spread_name(name: str, variable: xr.DataArray) -> str | None:
    """The variable that holds the spread of `name` between members, if one does."""
    if name.startswith("attribution") and "draw" not in variable.dims:
        return name.replace("attribution", "standard_error", 1)
    spreads = {"group_value": "group_standard_error", "interaction": "interaction_standard_error"}
    return (spreads | {"prediction": "prediction_sd"}).get(name)


def _sd(values: NDArray[Any]) -> NDArray[Any]:
    """The standard deviation between members (members, ...)."""
    return np.asarray(values.std(0, ddof=1, dtype=np.float64).astype(values.dtype))


def _completeness(ds: xr.Dataset, maps: list[str], sample: str) -> dict[str, xr.DataArray]:
    def over(power: int) -> xr.DataArray:
        cells = (ds[v].astype(np.float64) ** power for v in maps)
        return sum((c.sum([d for d in c.dims if d not in (sample, "target")]) for c in cells), xr.DataArray(0.0))

    size: Any = np.sqrt(over(2))
    return completeness(over(1), ds["prediction"] - ds["reference"], size)


def _agreement(members: list[list[xr.DataArray]], sample: str) -> xr.DataArray:
    """Mean rank correlation over the pairs of members, from maps of one or several variables each."""
    many = "target" in members[0][0].dims
    keep = [sample, "target"] if many else [sample]
    flat = [
        np.concatenate([v.transpose(*keep, ...).values.reshape(*(v.sizes[d] for d in keep), -1) for v in maps], -1)
        for maps in members
    ]
    like = members[0][0]
    coords = {n: c for n, c in like.coords.items() if set(c.dims) <= set(keep)}
    return xr.DataArray(mean_spearman(np.stack(flat)), dims=keep, coords=coords)


def _warn_of_unlike_classes(results: Mapping[str, xr.Dataset], sample: str) -> None:
    classes = np.stack([r["predicted"].values for r in results.values()])
    unlike = np.flatnonzero(((classes != classes[0]) & ~no_class(classes) & ~no_class(classes[0])).any(0))
    if len(unlike):
        first = next(iter(results.values()))
        labels = first[sample].values if sample in first.coords else np.arange(first.sizes[sample])
        shown = ", ".join(map(str, labels[unlike[:10]])) + (f", ... ({len(unlike)} in all)" if len(unlike) > 10 else "")
        tell(
            f"the members predict different classes for {sample} {shown}, and each explains its own: the mean is of unlike "
            "maps there; name the target"
        )
