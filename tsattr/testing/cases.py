"""What the laws are checked on: small labelled signals, models of them in float64, and wrappers round a model."""

from __future__ import annotations

import contextlib
import math
import random
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import numpy as np
import torch
import xarray as xr
from torch import Tensor, nn

LEADS, TIMES, CLASSES = 3, 12, 3
Made = TypeVar("Made", bound=nn.Module)


def seeded(make: Callable[[], Made], seed: int = 0) -> Made:
    """A module in float64 and eval mode whose weights are always the same."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return make().double().eval()


def trained_statistics(module: nn.Module, seed: int = 0) -> nn.Module:
    """Batch normalisation as if trained: means and variances that are not 0 and 1."""
    numbers = torch.Generator().manual_seed(seed)
    for m in module.modules():
        if isinstance(m, nn.modules.batchnorm._BatchNorm) and m.running_mean is not None and m.running_var is not None:
            m.running_mean.copy_(torch.randn(m.num_features, generator=numbers))
            m.running_var.copy_(torch.rand(m.num_features, generator=numbers) + 0.5)
    return module


def signals(n: int = 4, seed: int = 1) -> xr.DataArray:
    """Labelled signals (sample, lead, time) whose values float32 can hold, so that precision alone tells dtypes apart."""
    values = np.random.default_rng(seed).normal(size=(n, LEADS, TIMES)).astype(np.float32).astype(np.float64)
    return xr.DataArray(
        values,
        dims=("sample", "lead", "time"),
        coords={
            "sample": [f"p{i}" for i in range(n)],
            "lead": ["I", "II", "V1"],
            "time": ("time", np.arange(TIMES) / 100, {"units": "s"}),
            "age": ("sample", 40.0 + np.arange(n), {"units": "years"}),
            "device": "A",
        },
        name="ecg",
        attrs={"units": "mV", "filtered": True, "site": "ward 3"},
    )


def network(event: tuple[int, ...] = (LEADS, TIMES)) -> nn.Module:
    """A network of three outputs for samples of a shape, with kinks; of two dims with every kind of layer that has a state."""
    if len(event) != 2 or event[1] < 2:
        return seeded(
            lambda: nn.Sequential(nn.Flatten(), nn.Linear(math.prod(event), 8), nn.ReLU(), nn.Linear(8, CLASSES))
        )
    layers = lambda: nn.Sequential(  # noqa: E731
        nn.Conv1d(event[0], 5, 3, padding=1),
        nn.BatchNorm1d(5),
        nn.ReLU(),
        nn.Dropout(0.3),
        nn.MaxPool1d(2),
        nn.Flatten(),
        nn.Linear(5 * (event[1] // 2), CLASSES),
    )
    return trained_statistics(seeded(layers))


def linear(event: tuple[int, ...] = (LEADS, TIMES), outputs: int = CLASSES) -> nn.Sequential:
    """A linear model: outputs ``x @ w + b``, the weights in its second layer."""
    return seeded(lambda: nn.Sequential(nn.Flatten(), nn.Linear(math.prod(event), outputs)))


class Around(nn.Module):
    """A function that calls a model, with the model in it for methods that look for its layers."""

    def __init__(self, model: Any, f: Callable[..., Tensor]) -> None:
        super().__init__()
        if isinstance(model, nn.Module):
            self.model = model
        self.f = f

    def forward(self, *args: Any, **kwargs: Any) -> Tensor:
        """What the function gives."""
        return self.f(*args, **kwargs)


def cut_to(array: Tensor, like: Tensor) -> Tensor:
    """The part of an array that belongs to rows of other lengths: to the prefixes that a method may ask about."""
    return array[tuple(slice(n) for n in like.shape)]


class Spy:
    """A model that counts the rows it is asked about."""

    def __init__(self, model: Callable[..., Tensor]) -> None:
        self.model, self.count = model, 0

    def __call__(self, x: Tensor, **context: Tensor) -> Tensor:
        """The outputs of the model."""
        self.count += len(x)
        return self.model(x, **context)


@contextlib.contextmanager
def other_global_state(seed: int) -> Iterator[None]:
    """Torch's, NumPy's and Python's global generators in another state, for the scope alone."""
    state, older = np.random.get_state(), random.getstate()  # noqa: NPY002 - put back
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        np.random.seed(seed)  # noqa: NPY002
        random.seed(seed)
        try:
            yield
        finally:
            np.random.set_state(state)  # noqa: NPY002
            random.setstate(older)


def example(x: Any, sample_dim: str, least: int) -> xr.DataArray:
    """The user's example, or the default one; with labelled samples, as draws are keyed by their labels."""
    if x is None:
        return signals()
    if not isinstance(x, xr.DataArray) or sample_dim not in x.dims:
        raise TypeError(f"x is an xarray.DataArray with the sample dim {sample_dim!r}, got {type(x).__name__}")
    if x.sizes[sample_dim] < least or not bool(np.isfinite(x).all()):
        raise ValueError(
            f"x holds {x.sizes[sample_dim]} samples; the laws need {least} or more, with no missing and no infinite values"
        )
    return x if sample_dim in x.coords else x.assign_coords({sample_dim: [f"p{i}" for i in range(x.sizes[sample_dim])]})
