"""Do methods over the parts of a signal find what was planted in one? A tone, a trend, a mode, in growing noise.

Networks learn to tell whether a tone is there, which way a trend runs, and the sign of a mode of a field. Other records are
then explained by parts, and the part with the largest value is compared with the one that the label was planted in. A
network that learnt labels in random order, explained on the same records, says how often that is so without anything learnt.
"""

import argparse
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import torch
import xarray as xr
from common import SignalNet, arguments, begin, fit, logits
from scipy.stats import binomtest
from torch import nn

import tsattr as ta
from tsattr.io import write_netcdf

NOISES = (0.5, 1.0, 2.0, 4.0, 8.0)
Case = tuple[xr.DataArray, np.ndarray, Callable[[xr.DataArray, xr.DataArray], xr.DataArray], str]


def red(rng: np.random.Generator, n: int, length: int) -> np.ndarray:
    """Red noise of unit variance, of first order with a memory of 0.8."""
    white, series = rng.normal(size=(n, length)), np.empty((n, length))
    series[:, 0] = white[:, 0]
    for t in range(1, length):
        series[:, t] = 0.8 * series[:, t - 1] + 0.6 * white[:, t]
    return series


def tone(n: int, noise: float, seed: int) -> Case:
    """Is there a tone of 10 to 20 Hz? Beside it, as often and by chance, one of 25 to 40 Hz, which means nothing."""
    rng, t = np.random.default_rng(seed), np.arange(300) / 100
    there, other = rng.integers(2, size=(2, n))
    waves = [np.sin(2 * np.pi * (rng.uniform(*f, (n, 1)) * t + rng.random((n, 1)))) for f in ((10.5, 19.5), (26, 39))]
    values = there[:, None] * waves[0] + other[:, None] * waves[1] + noise * red(rng, n, 300)
    limits = [(0.3, 2), (2, 5), (5, 10), (10, 20), (20, 25), (25, 40)]
    x = xr.DataArray(values[:, None], dims=("sample", "lead", "time"), coords={"time": t})
    return x, there, lambda x, train: ta.parts.bands(x, limits), "10-20 Hz"


def trend(n: int, noise: float, seed: int) -> Case:
    """Does it rise by 1 over the record, or fall, under a season of 20 cells with an amplitude of 1?"""
    rng, t = np.random.default_rng(seed), np.arange(200)
    up = rng.integers(2, size=n)
    season = np.sin(2 * np.pi * (t / 20 + rng.random((n, 1))))
    values = (2 * up[:, None] - 1) * (t / 200 - 0.5) + season + noise * rng.normal(size=(n, 200)) / 2
    x = xr.DataArray(values[:, None], dims=("sample", "lead", "time"))
    return x, up, lambda x, train: ta.parts.trend_season(x, 20), "trend"


def mode(n: int, noise: float, seed: int, variances: tuple[float, ...] = (16, 9, 4, 1)) -> Case:
    """The sign of the second of four patterns on the sphere, whose sizes differ."""
    rng, world = np.random.default_rng(seed), np.random.default_rng(99)
    lat, lon = np.linspace(-75, 75, 10), np.arange(0, 360, 22.5)
    area = np.cos(np.deg2rad(lat))[:, None] * np.ones(len(lon))
    waves = [
        np.cos(k * np.deg2rad(lon) + world.uniform(0, 6)) * np.cos(np.deg2rad(lat))[:, None] ** k for k in (1, 2, 3, 4)
    ]
    patterns = np.stack([w / (area * w**2).sum() ** 0.5 for w in waves])
    score = rng.normal(size=(n, 4)) * np.sqrt(variances)
    label = (score[:, 1] > 0).astype(int)
    score[:, 1] = (2 * label - 1) * np.maximum(abs(score[:, 1]), 0.3 * variances[1] ** 0.5)
    values = np.einsum("sk,kij->sij", score, patterns) + noise * rng.normal(size=(n, *area.shape)) / 10
    x = xr.DataArray(values, dims=("sample", "lat", "lon"), coords={"lat": lat, "lon": lon})
    return x, label, lambda x, train: ta.parts.modes(x, train, 4), "mode 2"


def alike(n: int, noise: float, seed: int) -> Case:
    """The same where the first and the second pattern have the same variance, so that no reference tells them apart."""
    return mode(n, noise, seed, (9, 9, 4, 1))


CASES = {"tone": tone, "trend": trend, "mode": mode, "modes of equal variance": alike}
METHODS = {
    "integrated gradients": ta.IntegratedGradients(steps=32),
    "occlusion": ta.Occlusion(ta.groups.Along("part")),
    "Shapley values": ta.KernelShap(ta.groups.Along("part")),
}


def network(x: xr.DataArray) -> nn.Module:
    """A small convolutional network of a signal; a perceptron of a field."""
    if "lat" in x.dims:
        return nn.Sequential(nn.Flatten(), nn.Linear(x[0].size, 32), nn.ReLU(), nn.Linear(32, 2))
    return SignalNet(1, 2, widths=(12, 16, 16), parts=4)


CONTROL = "labels in random order"


def by_part(ds: xr.Dataset) -> xr.DataArray:
    """The value of each part (sample, part)."""
    return ds.attribution.sum([d for d in ds.attribution.dims if d not in ("sample", "part")])


def one(case: Any, noise: float, seed: int, args: argparse.Namespace) -> tuple[dict[str, np.ndarray], float]:
    """Whether the planted part was first in each record that the network gets right, by method; and its accuracy."""
    train, held, shown = (300, 200, 20) if args.quick else (800, 400, 40)
    x, y, parts_of, planted = case(train + held, noise, seed)
    x = x.astype("float32")

    def trained(labels: np.ndarray) -> nn.Module:
        torch.manual_seed(seed)
        return fit(network(x), (x.values[:train],), labels, nn.CrossEntropyLoss(), epochs=12, seed=seed)

    net, control = trained(y[:train]), trained(np.random.default_rng(seed).permutation(y[:train]))
    said = logits(net, x.values[train:]).argmax(1)
    wanted = (said == y[train:]) & ((y[train:] == 1) | (planted != "10-20 Hz"))  # an absent tone is in no band
    few = x[train:][np.flatnonzero(wanted)[:shown]]
    parts = parts_of(few, x[:train])
    hits, asked = {}, [(name, net, method) for name, method in METHODS.items()]
    for name, model, method in [*asked, (CONTROL, control, METHODS["integrated gradients"])]:
        ds = ta.explain(ta.models.summed(model), parts, method, target=ta.targets.Margin(1), check=False)
        first = by_part(ds).part.values[abs(by_part(ds)).argmax("part")]
        hits[name] = np.array([str(v).startswith(planted) for v in first])
    return hits, float((said == y[train:]).mean())


def main(args: argparse.Namespace) -> None:
    say = begin(args)
    seeds, rows = 3 if args.quick else 8, {}
    for name, case in CASES.items():
        for noise in NOISES:
            runs = [one(case, noise, args.seed + k, args) for k in range(seeds)]
            row = {"accuracy": f"{np.mean([a for _, a in runs]):.2f}"}
            for method in [*METHODS, CONTROL]:
                found = [hits[method] for hits, _ in runs]
                every = np.concatenate(found)
                ends = binomtest(int(every.sum()), len(every)).proportion_ci(method="wilson")
                lowest = min(hits.mean() for hits in found)
                row[method] = f"{every.mean():.2f} [{ends.low:.2f}, {ends.high:.2f}], {lowest:.2f}"
            row["records"] = str(len(every))
            rows[name, noise] = row
            say(f"{name}, noise {noise}: " + ", ".join(f"{k} {v}" for k, v in row.items()))
    table = pd.DataFrame(rows).T.rename_axis(["planted", "noise"])
    print("\nshare of records in which the planted part is first [Wilson's 95 %], lowest share of a seed")
    print(table.to_string())
    write_netcdf(xr.Dataset.from_dataframe(table), args.out / "first.nc")


if __name__ == "__main__":
    parser = arguments(__doc__, study="parts")
    main(parser.parse_args())
