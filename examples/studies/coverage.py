"""Do intervals cover? Of pools, profiles and comparisons, by simulation where the truth is known.

AR(1) series of known memory (the time in which the autocorrelation falls to 1/e) are pooled in blocks of 12 samples, and the
95 % intervals that hold the truth are counted: of the mean, mean absolute value, root mean square and median of a Gaussian
cell, of profiles of maps whose expected shape is known, of a condition that holds in spells, of an ensemble whose members
share half of their variance, and of the scores of methods over patients. Beside the mean stand the percentiles of resampled
blocks, as they are mostly taken. A share p of R experiments has a standard error of sqrt(p (1 - p) / R).
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping

import numpy as np
import pandas as pd
import xarray as xr
from common import arguments, begin

import tsattr as ta
from tsattr.climate.pooling import Pool
from tsattr.io import write_netcdf

LENGTH = 12  # samples in a block
BLOCKS = (2, 4, 6, 8, 12, 30, 64)
MEMORY = (0, 1 / 6, 1 / 3, 1 / 2, 1)  # in blocks
TRUTH = {"mean": 0.0, "mean_absolute": np.sqrt(2 / np.pi), "rms": 1.0, "median": 0.0}


def autoregressive(rng: np.random.Generator, samples: int, memory: float, *shape: int) -> np.ndarray:
    """Stationary Gaussian AR(1) of unit variance (samples, *shape), with the memory in samples."""
    phi = np.exp(-1 / memory) if memory else 0.0
    x = rng.normal(size=(samples, *shape)) * np.sqrt(1 - phi**2)
    x[0] /= np.sqrt(1 - phi**2)
    for t in range(1, samples):
        x[t] += phi * x[t - 1]
    return x


def held(found: xr.Dataset, name: str, truth: float | xr.DataArray) -> xr.DataArray:
    """Whether the interval of each experiment holds the truth; a value met exactly may be off by rounding."""
    room = 1e-9 * abs(truth)
    return (found[f"{name}_low"] <= truth + room) & (found[f"{name}_high"] >= truth - room)


def percentiles(x: xr.DataArray) -> float:
    """Coverage of the percentiles of a thousand resamples of blocks, of means whose truth is 0."""
    means = x.values.reshape(-1, LENGTH, x.shape[1]).mean(1)
    number = len(means)
    weights = np.random.default_rng(0).multinomial(number, np.full(number, 1 / number), 1000) / number
    low, high = np.quantile(weights @ means, [0.025, 0.975], axis=0)
    return float(((low <= 0) & (high >= 0)).mean())


def cells(rng: np.random.Generator, number: int, memory: float, experiments: int) -> dict[str, float]:
    """Coverage of the statistics of a pool, a cell for each experiment."""
    x = xr.DataArray(autoregressive(rng, number * LENGTH, memory * LENGTH, experiments), dims=("sample", "experiment"))
    found = Pool(LENGTH, quantiles=(0.5,), keep=len(x)).update(x).result()
    found = found.assign({f"median{e}": found[f"quantile{e}"].isel(probability=0) for e in ("_low", "_high")})
    return {"percentiles": percentiles(x)} | {k: float(held(found, k, v).mean()) for k, v in TRUTH.items()}


def spells(rng: np.random.Generator, number: int, memory: float, experiments: int) -> dict[str, float]:
    """Coverage of the mean of a condition that holds where a slow index is high, in a third of the samples."""
    x = xr.DataArray(autoregressive(rng, number * LENGTH, memory * LENGTH, experiments), dims=("sample", "experiment"))
    index = autoregressive(rng, len(x), LENGTH)
    by = np.where(index > np.quantile(index, 2 / 3), "high", "other")
    found = Pool(LENGTH, statistics=("mean",)).update(x, by).result().sel(condition="high")
    there = found.mean_low.notnull()  # with two blocks it may hold in one alone, and there is no interval
    return {"condition": float(held(found, "mean", 0.0).where(there).mean())}


def ensemble(rng: np.random.Generator, number: int, memory: float, experiments: int) -> dict[str, float]:
    """Coverage of the mean over four members that share half of their variance, stacked one after another."""
    time = np.arange(number * LENGTH).astype("M8[M]").astype("M8[ns]")
    shared = autoregressive(rng, len(time), memory * LENGTH, 1, experiments)
    own = autoregressive(rng, len(time), memory * LENGTH, 4, experiments)
    x = xr.DataArray((shared + own) / np.sqrt(2), dims=("time", "member", "experiment"), coords={"time": time})
    x = x.stack(sample=("member", "time"), create_index=False).transpose("sample", ...)
    found = Pool(LENGTH, statistics=("mean",)).update(x.sortby("time")).result()
    return {"ensemble": float(held(found, "mean", 0.0).mean())}


def profiles(rng: np.random.Generator, number: int, memory: float, experiments: int) -> dict[str, float]:
    """Coverage of profiles of maps whose expected importance is known; half of the variance is common to all cells."""
    lag, lat, lon = np.arange(-6.0, 0), np.arange(-45.0, 46, 30), np.arange(0.0, 360, 45)
    coords = {"lag": lag, "lat": lat, "lon": lon}
    like = xr.DataArray(np.zeros((6, 4, 8)), dims=("lag", "lat", "lon"), coords=coords)
    km = ta.climate.distance(like, lat=0, lon=100)
    bend = 1 + 0.3 * np.sin(np.arange(6)[:, None, None] * np.arange(32).reshape(4, 8))
    size = (like + np.exp(like.lag / 3) * np.exp(-km / 3000)) * bend
    time = number * LENGTH
    shared = autoregressive(rng, time, memory * LENGTH, experiments, 1, 1, 1)
    own = autoregressive(rng, time, memory * LENGTH, experiments, *size.shape)
    maps = xr.DataArray((shared + own) / np.sqrt(2), dims=("sample", "experiment", *size.dims)) * size
    pool = Pool(LENGTH, statistics=("mean_absolute",)).update(maps)
    out = {}
    for f, names in (
        (lambda m: ta.climate.radial_profile(m, km, shares=(0.8,), bins=4000.0), ("mass_share", "radius")),
        (lambda m: ta.climate.lag_profile(m, shares=(0.8,)), ("center", "efolding", "reach")),
        (ta.climate.separability, ("rank1_share",)),
    ):
        found, truth = f(pool), f(size)
        out |= {name: float(held(found, name, truth[name]).mean()) for name in names}
    return out


def patients(rng: np.random.Generator, number: int, experiments: int) -> dict[str, float]:
    """Coverage of a paired difference over patients of five samples each, and how often equal methods are told apart."""
    patient = np.repeat(np.arange(number), 5)
    out = {}
    for name, draw in (("normal", rng.normal), ("skewed", lambda size: rng.exponential(size=size) - 1)):
        x = draw(size=(experiments, number))[:, patient] + rng.normal(size=(experiments, len(patient)))
        found = ta.metrics.bootstrap(x, patient, resamples=2)
        out[name] = float(((found.low <= 0) & (found.high >= 0)).mean())
    one, other = np.triu_indices(8, 1)
    wrong = 0
    for k in range(experiments):
        scores = rng.normal(size=(8, number))
        wrong += bool(ta.metrics.bootstrap(scores[one] - scores[other], resamples=500, seed=k).apart.any())
    return out | {"8 methods, none told apart": 1 - wrong / experiments}


def shown(rows: Mapping[tuple[str, int], Mapping[str, float]], experiments: int) -> str:
    error = np.sqrt(0.05 * 0.95 / experiments)
    return f"{pd.DataFrame(rows).T.round(3).to_string()}\n(standard error of .95: {error:.3f})\n"


def main(args: argparse.Namespace) -> None:
    say = begin(args)
    many, few = (400, 50) if args.quick else (4000, 500)
    rng = np.random.default_rng(args.seed)
    every = {}
    for title, studied, experiments in (
        ("statistics of a cell", (cells, spells, ensemble), many),
        ("functions of the pooled map", (profiles,), few),
    ):
        rows = {}
        for memory in MEMORY:
            for number in BLOCKS:
                at = (f"{memory:.2f} block", number)
                rows[at] = {k: v for f in studied for k, v in f(rng, number, memory, experiments).items()}
        say(f"{title}: coverage by memory and blocks\n{shown(rows, experiments)}")
        every[title] = rows
    rows = {("patients", number): patients(rng, number, many // 2) for number in (2, 3, 6, 10, 20, 60, 200)}
    say(f"scores of methods: coverage by patients\n{shown(rows, many // 2)}")
    for k, rows in enumerate(every.values()):
        frame = pd.DataFrame(rows).T.rename_axis(["memory", "blocks"])
        write_netcdf(xr.Dataset.from_dataframe(frame), args.out / f"coverage_{k}.nc")


if __name__ == "__main__":
    main(arguments(__doc__, study="coverage").parse_args())
