"""Small inputs and references for the tests of baselines, and one fill of them."""

import numpy as np
import torch
import xarray as xr

from tsattr.core.axes import Axes
from tsattr.core.baselines.fills import bind
from tsattr.core.keys import Key

LEADS = np.array(["I", "II", "V1"])
TIME = np.arange(60) / 200
RNG = np.random.default_rng(0)
X = RNG.normal(size=(2, 3, 60))


def ecg(n=2, **changes):
    settings = {"coords": {"lead": LEADS, "time": TIME}, "samples": n}
    return Axes(("lead", "time"), (3, 60), **settings | changes)


def fill(baseline, x, axes, absent=None, draw=0, seed=0):
    """One fill of every sample, all absent by default, as numpy."""
    x = torch.as_tensor(x)
    absent = torch.ones(x.shape, dtype=torch.bool) if absent is None else torch.as_tensor(absent)
    n = len(x)
    key = Key(seed, np.arange(n, dtype=np.uint64), torch.arange(n), torch.full((n,), draw))
    return bind(baseline, axes).fill(x, absent, key).numpy()


def array(values, **coords):
    return xr.DataArray(values, dims=tuple(coords), coords={d: c for d, c in coords.items() if c is not None})


TRAIN = array(RNG.normal(size=(50, 3, 60)), sample=None, lead=LEADS, time=TIME)


def small_reference(n=5):
    return array(np.arange(n)[:, None, None] + RNG.random((n, 3, 60)) / 2, sample=None, lead=LEADS, time=TIME)
