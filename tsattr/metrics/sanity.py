"""Does an explanation depend on what the model has learnt? Its weights, its labels and its seed, randomised in turn."""

from __future__ import annotations

import copy
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray
from torch import nn

from ..core.arrays import unmasked
from ..core.preserve import preserved_state
from .agreement import agreement, similarities
from .controls import sample_key, smooth_random

Explain = Callable[[Any], Any]

_LEVEL = 1 - 0.05 / 3  # of each of three measures, so that unrelated maps leave the bands in at most 1 of 20 cases


def randomised(module: nn.Module, *, seed: int = 0, order: str = "cascading") -> Iterator[tuple[str, nn.Module]]:
    """Copies of a module with layers re-initialised, from the output back.

    A layer is a module with parameters or statistics of its own, and the order is that of ``named_modules()`` reversed:
    that in which layers were registered, which is nearly always that in which they run. A layer's ``reset_parameters``
    is called where there is one; parameters that it leaves as they are, and those of other layers, are drawn anew from a
    normal with their own mean and standard deviation (so a parameter of one number, or of equal ones, stays). Batch
    normalisation forgets its running statistics with its weights: they too are learnt from data.

    Parameters
    ----------
    module
        Left exactly as it is, as is the global random state.
    seed
        The new weights of a layer depend on it and on the layer's name alone.
    order
        "cascading": each copy has all layers down to this one random, the last copy the whole module (Adebayo et al.,
        NeurIPS 2018). "independent": this layer only.

    Yields
    ------
    (name, module)
        The layer's name, "" for the module itself, and a copy of the module.

    Examples
    --------
    >>> net = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    >>> [name for name, _ in randomised(net)]
    ['2', '0']
    """
    if order not in ("cascading", "independent"):
        raise ValueError(f"order is 'cascading' or 'independent', got {order!r}")
    names = [name for name, layer in module.named_modules() if _learns(layer)][::-1]
    if not names:
        raise ValueError(f"{type(module).__name__} has no parameters, so there is nothing to randomise")
    key = sample_key(len(names), labels=np.array(names, dtype=object), seed=seed)
    current = copy.deepcopy(module)
    for row, name in enumerate(names):
        if order == "independent":
            current = copy.deepcopy(module)
        _redraw(current.get_submodule(name), int(key.rng(row).integers(2**63)))
        yield name, copy.deepcopy(current)


def cascade(
    module: nn.Module,
    explain: Explain,
    *,
    dims: Sequence[str] | None = None,
    share: float = 0.1,
    draws: int = 100,
    every: bool = True,
    seed: int = 0,
) -> xr.Dataset:
    """Follow an explanation while the module's layers are randomised from the output back (model parameter randomisation).

    An explanation of a model whose weights are random must not look like that of the trained one. How much two unrelated
    maps look alike depends on how smooth they are, so the same measures are taken of random maps with the
    autocorrelation of the original (`smooth_random`): the control. Its random numbers are the same for all samples, as
    maps of one model are much alike and their means vary as much as one of them does. Adebayo et al., NeurIPS 2018.

    Parameters
    ----------
    module
        Left exactly as it is.
    explain
        ``explain(module)`` returns the maps of some samples: a DataArray, samples along "sample" (else its first dim) and
        all other dims cells, or an array (n, cells...). It should ask for a fixed class, as the predicted one changes
        with the weights: ``lambda m: ta.explain(m, x, method, target=2).attribution``.
    dims
        Names of an array's dims, samples first; along lead, channel, feature and variable the control is shuffled, along
        all others smooth. By default ``sample, dim_1, ...``, all smooth.
    share
        See `top_iou`.
    draws
        Number of control maps of each sample.
    every
        False: explain only with all layers random, which is what the verdict is of; two explanations in all.
    seed
        Of the weights and of the control.

    Returns
    -------
    Dataset
        ``spearman``, ``spearman_absolute``, ``top_iou`` of the map at each layer (dim layer: all down to it random) and
        sample against the original; ``<name>_control`` (draw, sample) of the control; attrs: ``verdict`` ("passes",
        "fails" or "undecided", with its reasons and numbers) and, for each measure, ``<name>_last`` (the mean size over
        samples, all layers random) and ``<name>_band`` (what the control's mean size stays below: at 98.3 % for each
        measure, so that at most 5 % of unrelated maps leave any of the three).

    Notes
    -----
    The explanation passes if, with all layers random, the mean over samples of each measure's size is within the
    control's band; the size, as a map with its sign turned is the same map. Gradient times input, and any map that
    shows the input, fail where the input has structure of its own: they answer partly for the input.

    Examples
    --------
    >>> x = torch.randn(2, 60, generator=torch.Generator().manual_seed(0))
    >>> found = cascade(nn.Linear(60, 1), lambda m: x)  # shows the input, whatever the model
    >>> found.attrs["verdict"].split(":")[0], found.spearman.values.round(9).tolist()
    ('fails', [[1.0, 1.0]])
    """
    original = _labelled(explain(module), dims)
    copies = randomised(module, seed=seed)
    chosen = copies if every else deque(copies, maxlen=1)
    layers = {name: _labelled(explain(m), dims) for name, m in chosen}
    ds = _against(original, layers, "layer", share, draws, seed)
    ds.attrs = _judged(ds, "layer", "all layers random", "the weights")
    return ds


def label_randomisation(
    train: Callable[[Any, Any], Any],
    explain: Explain,
    x: Any,
    y: Any,
    *,
    dims: Sequence[str] | None = None,
    share: float = 0.1,
    draws: int = 100,
    seed: int = 0,
) -> xr.Dataset:
    """Compare an explanation of a model with that of one trained on permuted labels (data randomisation).

    An explanation of a model that could only learn its samples by heart must not look like that of one that learnt what
    the labels mean. Adebayo et al., NeurIPS 2018.

    Parameters
    ----------
    train
        ``train(x, y)`` returns a fitted model. It is called twice, with torch's, numpy's and random's global states seeded
        alike, and these are put back: only the labels differ.
    explain
        ``explain(model)``: see `cascade`.
    x, y
        Given to `train`; `y` (array, tensor, list, pandas or xarray object, samples first) with its values permuted the
        second time, its labels left in place.
    dims, share, draws, seed
        See `cascade`; `seed` is also that of the permutation and of the trainings.

    Returns
    -------
    Dataset
        As of `cascade`, without a dim layer.
    """
    maps = [_labelled(explain(_trained(train, x, labels, seed)), dims) for labels in (y, _permuted(y, seed))]
    ds = _against(maps[0], {"permuted": maps[1]}, "labels", share, draws, seed).isel(labels=0, drop=True)
    ds.attrs = _judged(ds, None, "labels permuted", "the labels")
    return ds


def seeds(
    train_or_models: Callable[[int], Any] | Sequence[Any] | Mapping[Any, Any],
    explain: Explain,
    *,
    number: int = 5,
    dims: Sequence[str] | None = None,
    share: float = 0.1,
) -> xr.Dataset:
    """Compare the explanations of models that differ only in the seed they were trained with.

    What differs between them is not a property of the data: it bounds what a single map can be trusted with.

    Parameters
    ----------
    train_or_models
        ``train(seed)``, called with 0, 1, ... and put in charge of its own seeding; or models, in a sequence or by name.
    explain
        ``explain(model)``: see `cascade`.
    number
        How many models to train.
    dims, share
        See `cascade`.

    Returns
    -------
    Dataset
        As of `agreement`: dims member (the seed or the name), member_other, sample.

    Examples
    --------
    >>> found = seeds(lambda seed: seed, lambda model: np.array([[1.0, 2.0, 3.0 - 3 * model]]), number=2)
    >>> found.spearman.values[0, 1].tolist()
    [-0.5]
    """
    if isinstance(train_or_models, Mapping):
        models: dict[Any, Any] = dict(train_or_models)
    elif isinstance(train_or_models, Sequence | nn.ModuleList):
        models = dict(enumerate(train_or_models))
    else:
        models = {seed: train_or_models(seed) for seed in range(number)}
    maps = {name: _labelled(explain(model), dims) for name, model in models.items()}
    return agreement(maps, sample_dim=str(next(iter(maps.values())).dims[0]), share=share)


def _learns(layer: nn.Module) -> bool:
    own = any(True for _ in layer.parameters(recurse=False))
    return own or (hasattr(layer, "reset_running_stats") and any(True for _ in layer.buffers(recurse=False)))


def _redraw(layer: nn.Module, seed: int) -> None:
    """New values for what a layer itself has learnt."""
    before = {name: p.detach().clone() for name, p in layer.named_parameters(recurse=False)}
    # Of a module with modules inside, it might reset those too.
    reset: Any = getattr(layer, "reset_parameters", None)
    if reset is not None and not any(True for _ in layer.children()):
        place = next((t.device for t in [*layer.parameters(), *layer.buffers()]), torch.device("cpu"))
        with preserved_state(None, None, draws=True):
            torch.manual_seed(seed)
            layer.cpu()  # so that the device changes no draw
            reset()
        layer.to(place)
    numbers = torch.Generator().manual_seed(seed)
    for name, p in layer.named_parameters(recurse=False):
        if p.is_floating_point() and torch.equal(p, before[name]):
            z = torch.randn(p.shape, generator=numbers, dtype=torch.float64)
            p.data.copy_(p.mean() + p.std(correction=0) * z.to(p))


def _labelled(maps: Any, dims: Sequence[str] | None) -> xr.DataArray:
    """Maps as a float64 DataArray with the sample dim first."""
    if isinstance(maps, xr.DataArray):
        first = "sample" if "sample" in maps.dims else maps.dims[0]
        return maps.transpose(first, ...).astype(np.float64)
    if isinstance(maps, torch.Tensor):
        maps = maps.detach().cpu()
    values = unmasked(maps, np.float64)
    names = tuple(dims) if dims else ("sample", *(f"dim_{i}" for i in range(1, values.ndim)))
    if len(names) != values.ndim or values.ndim < 2:
        raise ValueError(
            f"explain(model) returns maps (samples, cells...), got shape {values.shape} for dims {names}; "
            "for one sample use maps[None]"
        )
    return xr.DataArray(values, dims=names)


def _against(
    original: xr.DataArray, others: Mapping[str, xr.DataArray], dim: str, share: float, draws: int, seed: int
) -> xr.Dataset:
    """Similarity of other maps, and of control maps, to the original."""
    sample = original.dims[0]
    if draws < 2:
        raise ValueError(f"a control takes two draws at least, got draws={draws}")
    for name, m in others.items():
        if m.dims != original.dims or m.shape != original.shape:
            raise ValueError(
                f"explain returned {dict(m.sizes)} for {dim} {name!r} and {dict(original.sizes)} for the model as it is; "
                "it must explain the same samples and cells each time"
            )
    coords = {sample: original[sample]} if sample in original.coords else {}
    ds = xr.Dataset(coords={dim: list(others), **coords})
    controls = [_control(original, seed, draw) for draw in range(draws)]
    measures = similarities(share)
    for name in ("spearman", "spearman_absolute", "top_iou"):
        measure, _ = measures[name]
        ds[name] = (dim, sample), np.stack([measure(original.values, m.values) for m in others.values()])
        ds[f"{name}_control"] = ("draw", sample), np.stack([measure(original.values, c) for c in controls])
    return ds


def _control(original: xr.DataArray, seed: int, draw: int) -> NDArray[np.float64]:
    n = len(original)  # one set of random numbers for all samples: see `cascade`
    key = replace(sample_key(n, seed=seed, draw=draw), sample=np.zeros(n, np.uint64))
    return smooth_random(original.values, key, tuple(map(str, original.dims[1:])))


def _judged(ds: xr.Dataset, dim: str | None, when: str, what: str) -> dict[str, Any]:
    """Whether the last map is within the control's band, in words and in numbers."""
    names = [str(name) for name in ds.data_vars if f"{name}_control" in ds]
    last = {name: float(abs(ds[name] if dim is None else ds[name].isel({dim: -1})).mean()) for name in names}
    means = {name: abs(ds[f"{name}_control"]).mean(str(ds[f"{name}_control"].dims[1])) for name in names}
    band = {name: float(means[name].quantile(_LEVEL)) for name in names}
    said = ", ".join(f"{name} {last[name]:.3f} (unrelated: up to {band[name]:.3f})" for name in names)
    beyond = [name for name in names if last[name] > band[name]]
    if not all(np.isfinite([*last.values(), *band.values()])):
        verdict = f"undecided: {when}, the map or its control is constant, and there is nothing to compare"
    elif beyond:
        verdict = (
            f"fails: {when}, the map still looks like the original, more than unrelated maps of the same smoothness do, so it "
            f"does not depend on {what} alone: {said}"
        )
    else:
        verdict = f"passes: {when}, the map looks no more like the original than unrelated maps of the same smoothness: {said}"
    numbers = {f"{name}_{kind}": values[name] for name in names for kind, values in (("last", last), ("band", band))}
    return {"verdict": verdict, **numbers}


def _trained(train: Callable[[Any, Any], Any], x: Any, y: Any, seed: int) -> Any:
    import random

    with preserved_state(None, None, draws=True):
        torch.manual_seed(seed)
        np.random.seed(seed % 2**32)  # noqa: NPY002 - the training may draw from it
        random.seed(seed)
        return train(x, y)


def _permuted(y: Any, seed: int) -> Any:
    """Labels in random order, in an object of the same kind whose own index stays in place."""
    order = sample_key(1, seed=seed).rng(0).permutation(len(y))
    if isinstance(y, xr.DataArray):
        return y.copy(data=y.values[order])
    if hasattr(y, "iloc"):
        return y.iloc[order].set_axis(y.index, axis=0)
    if isinstance(y, list | tuple):
        return type(y)(y[i] for i in order)
    return y[torch.as_tensor(order, device=y.device) if isinstance(y, torch.Tensor) else order]
