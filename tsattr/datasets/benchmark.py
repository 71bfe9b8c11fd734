"""What the simulated benchmarks share: checks of sizes, a random stream for each sample, and the labels of series."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]
Bools = NDArray[np.bool_]

TRAIN_SHARE = 0.8


def check_sizes(seed: int, **sizes: tuple[int, int]) -> None:
    """Raise unless every size, given as ``name=(value, least)``, is an integer of at least its least."""
    for name, (value, least) in {**sizes, "seed": (seed, 0)}.items():
        if isinstance(value, bool) or not isinstance(value, int | np.integer):
            raise TypeError(f"{name} is an integer, not {value!r}")
        if value < least:
            raise ValueError(f"{name} is at least {least}, not {value}")


def draw_samples(
    seed: int, samples: int, draw: Callable[[np.random.Generator], Mapping[str, NDArray[Any]]]
) -> dict[str, NDArray[Any]]:
    """Stack ``draw(rng)`` over the samples; sample i's numbers depend on `seed` and i, never on `samples`."""
    rows = [draw(np.random.default_rng((seed, i))) for i in range(samples)]
    return {name: np.stack([row[name] for row in rows]) for name in rows[0]}


def as_dataset(x: Floats, variables: Mapping[str, tuple[NDArray[Any], str]], **attrs: Any) -> xr.Dataset:
    """Return series (sample, feature, time) and other `variables`, each ``(values, long_name)``, as a labelled dataset."""
    samples, features, times = x.shape
    dims = {2: ("sample", "time"), 3: ("sample", "feature", "time")}
    split = np.where(np.arange(samples) < int(TRAIN_SHARE * samples), "train", "test")
    return xr.Dataset(
        {
            "x": (dims[3], x.astype(np.float32), {"long_name": "series"}),
            **{name: (dims[a.ndim], a, {"long_name": text}) for name, (a, text) in variables.items()},
        },
        coords={
            "sample": np.arange(samples),
            "feature": np.arange(features),
            "time": ("time", np.arange(times), {"long_name": "time step"}),
            "split": ("sample", split, {"long_name": "suggested use: the first 80 % of the samples are for training"}),
        },
        attrs=attrs,
    )


def exact_join() -> AbstractContextManager[object]:
    """A context in which arithmetic on arrays that are labelled differently raises, rather than joining their labels."""
    set_options: Callable[..., AbstractContextManager[object]] = xr.set_options  # has no types of its own
    return set_options(arithmetic_join="exact")


def sigmoid(x: Floats) -> Floats:
    """1 / (1 + exp(-x))."""
    return 1 / (1 + np.exp(-x))
