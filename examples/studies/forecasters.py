"""Does windowed temporal saliency rescaling find more in a forecaster than temporal rescaling? WinTSR, Islam and Fox (2024).

WinTSR multiplies how much the *output* moves when a whole time is taken away, scaled to [0, 1] over the sample's times, by how much
it moves when a cell (or a window of one feature) is. `TemporalRescaling` multiplies how much a *map* moves. Where the map is
occlusion of the whole input, one number in every cell, the second is the first but for a factor and the scaling, which is checked
here to rounding. Both stand beside occlusion, integrated gradients and saliency on two small forecasters, five networks each:
simulated series whose next value rests on planted cells, and the Nino 3.4 index half a year ahead from four boxes of the
tropical Pacific.
"""

import argparse
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import torch
import xarray as xr
from common import arguments, begin, data_folder
from torch import Tensor, nn

import tsattr as ta
from tsattr.core.samples import SampleChunk
from tsattr.io import write_netcdf
from tsattr.testing import EVENT, Field, Method

g, b = ta.groups, ta.baselines
NETWORKS, EPOCHS = 5, 30
PLANTED = {"a": 4, "b": 9, "c": 9, "d": 1}  # features, and how many steps before the end they matter
LAGS, LEAD = 24, 6
MEASURES = ["gap", "comprehensiveness", "sufficiency"]


@dataclass(frozen=True)
class WinTSR(Method):
    """Relevance of a cell's time times its own, of the output: ``(d_t - min d) / (max d - min d) * |f(x) - f(x without g)|``.

    ``d_t = |f(x) - f(x without all at time t)|``; cells at times up to the `threshold` quantile of d get nothing. Row by row.
    """

    groups: Any = g.Along("time")  # noqa: RUF009 - frozen
    features: Any = g.Cells()  # noqa: RUF009 - frozen
    baseline: Any = b.Constant(0.0)  # noqa: RUF009 - frozen
    threshold: float = 0.0
    gradient: ClassVar[bool] = False
    binds: ClassVar[Mapping[str, str]] = {"groups": "groups", "features": "groups", "baseline": "baseline"}
    sentence: ClassVar[str] = (
        "WinTSR: how much the output moves without a time, times how much it moves without a feature."
    )

    def __call__(self, samples: SampleChunk) -> dict[str, Field]:
        time, cell = self._moves(samples, self.groups), self._moves(samples, self.features)
        low, high = time.amin(2, keepdim=True), time.amax(2, keepdim=True)
        late = time > time.quantile(self.threshold, 2, keepdim=True)
        scaled = torch.where(late, ((time - low) / (high - low)).nan_to_num(), 0)
        maps = self.groups.spread(scaled, samples.position) * self.features.spread(cell, samples.position)
        return {"attribution": Field(("target", EVENT), maps), "group_value": Field(("target", "group"), time)}

    def _moves(self, samples: SampleChunk, groups: Any) -> Tensor:
        """(n, targets, groups): how far the output moves without each group."""
        out = torch.empty(samples.n, samples.targets, len(groups.names), dtype=torch.float64)
        for i in range(samples.n):
            for k in range(len(groups.names)):
                one = torch.tensor([i])
                for _, v in samples.without(groups, self.baseline, one, torch.zeros_like(one), torch.tensor([k])):
                    out[i, :, k] = (samples.prediction[i] - v[0]).abs()
        return out

    def rows(self) -> tuple[int, int]:
        rows = 1 + len(self.groups.names) + len(self.features.names)
        return rows, rows


class Forecaster(nn.Module):
    """A GRU over (rows, feature, time) that gives one number: the forecast."""

    def __init__(self, features: int, hidden: int = 24) -> None:
        super().__init__()
        self.rnn, self.head = nn.GRU(features, hidden, batch_first=True), nn.Linear(hidden, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.rnn(x.transpose(1, 2))[0][:, -1])[:, 0]


def trained(x: np.ndarray, y: np.ndarray, seed: int, penalty: float) -> nn.Module:
    """A forecaster trained on squared errors."""
    torch.manual_seed(seed)
    net = Forecaster(x.shape[1]).double()
    rows, truth = torch.as_tensor(x), torch.as_tensor(y)
    optimiser = torch.optim.AdamW(net.parameters(), weight_decay=penalty)
    steps = EPOCHS * -(-len(rows) // 64)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 1e-2, total_steps=steps)
    for _ in range(EPOCHS):
        for at in torch.randperm(len(rows)).split(64):
            optimiser.zero_grad()
            nn.functional.mse_loss(net(rows[at]), truth[at]).backward()
            optimiser.step()
            schedule.step()
    return net.eval()


def planted(samples: int, seed: int) -> xr.Dataset:
    """AR(1) series (0.5) of four features whose next value is ``a[-4] + b[-9] c[-9] + d[-1]`` and noise of 0.1."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(samples, len(PLANTED), LAGS))
    for t in range(1, LAGS):
        x[..., t] = 0.5 * x[..., t - 1] + np.sqrt(0.75) * x[..., t]
    truth = np.zeros((len(PLANTED), LAGS), bool)
    for k, lag in enumerate(PLANTED.values()):
        truth[k, -lag] = True
    cells = x[:, truth]  # of a, b, c and d
    y = cells[:, 0] + cells[:, 1] * cells[:, 2] + cells[:, 3] + rng.normal(0, 0.1, samples)
    dims = ("sample", "feature", "time")
    coords = {"sample": np.arange(samples), "feature": list(PLANTED)}
    return xr.Dataset(
        {"x": (dims, x), "y": ("sample", y), "truth": (dims, np.broadcast_to(truth, x.shape)), "block": ("sample", np.arange(samples))},
        coords,
    )  # fmt: skip


def pacific() -> xr.Dataset:
    """Two years of four Nino boxes, over their standard deviations, and the Nino 3.4 index half a year later; blocks are years."""
    field = xr.open_dataset(data_folder("climate") / "tropical_pacific_ssta_1970_2003.nc")
    ssta = next(field[name] for name in field.data_vars if {"lat", "lon"} <= set(field[name].dims))
    time = next(d for d in ssta.dims if d not in ("lat", "lon"))
    area = ta.climate.area_weights(ssta)
    boxes = {name: area * ta.climate.box(ssta, **where) for name, where in ta.climate.NINO_BOXES.items()}
    index = xr.concat(
        [ssta.weighted(w).mean(("lat", "lon")) for w in boxes.values()], pd.Index(list(boxes), name="feature")
    )
    index = (index / index.std(time)).transpose("feature", time)
    ends = np.arange(LAGS, index.sizes[time] - LEAD + 1)
    x = np.stack([index.values[:, end - LAGS : end] for end in ends])
    y = index.sel(feature="nino34").values[ends + LEAD - 1]
    year = index[time].dt.year.values[ends - 1]
    coords = {"sample": ends, "feature": list(boxes)}
    return xr.Dataset({"x": (("sample", "feature", "time"), x), "y": ("sample", y), "block": ("sample", year)}, coords)


def methods() -> dict[str, Method]:
    """Each from a baseline of 0, the mean of every feature."""
    whole = ta.Occlusion(g.Windows(time=LAGS))
    windows = {"features": g.Windows(time=3, feature=1)}
    return {
        "WinTSR": WinTSR(),
        "WinTSR, windows of 3": WinTSR(**windows),
        "rescaled occlusion of all": ta.TemporalRescaling(whole, threshold=0.0),
        "rescaled, windows of 3": ta.TemporalRescaling(whole, threshold=0.0, **windows),
        "rescaled saliency": ta.TemporalRescaling(ta.Saliency()),
        "rescaled IG": ta.TemporalRescaling(ta.IntegratedGradients(steps=6)),
        "occlusion": ta.Occlusion(g.Cells()),
        "IG": ta.IntegratedGradients(),
        "saliency": ta.Saliency(),
    }


def same(net: nn.Module, x: xr.DataArray) -> float:
    """How far WinTSR before its scaling is from the rescaled occlusion of all, over the number of cells squared."""
    mine, ours = (ta.explain(net, x, methods()[name]) for name in ("WinTSR", "rescaled occlusion of all"))
    time = mine.group_value.rename(group="time")
    low, high = time.min("time"), time.max("time")
    cell = abs(ta.explain(net, x, ta.Occlusion(g.Cells())).attribution)
    cells = x.sizes["feature"] * x.sizes["time"]
    unscaled = time.drop_vars("time") * cell
    scaled = ((time - low) / (high - low)).drop_vars("time") * cell
    assert np.allclose(
        scaled.transpose(*x.dims), mine.attribution, rtol=1e-9, atol=1e-14
    )  # WinTSR is what its formula says
    return float(abs(ours.attribution / cells**2 - unscaled).max() / unscaled.max())


def run(
    data: xr.Dataset, learn: np.ndarray, test: np.ndarray, chosen: int, penalty: float, say: Any, seed: int
) -> xr.Dataset:
    """Scores of every method over the networks, on the samples of the highest forecasts."""
    found = []
    reference = data.x[learn]
    fills = {"mean": b.Mean("time"), "bridge": b.Bridge(), "training": b.Samples.fit(reference[:200])}
    for k in range(seed, seed + NETWORKS):
        net = trained(reference.values, data.y.values[learn], k, penalty)
        with torch.no_grad():
            forecast = net(torch.as_tensor(data.x.values[test])).numpy()
        r2 = 1 - np.mean((forecast - data.y.values[test]) ** 2) / np.var(data.y.values[test])
        high = np.sort(test[np.argsort(-forecast)[:chosen]])
        x = data.x[high]
        truth = {"truth": data.truth[high]} if "truth" in data else {}
        tb = ta.compare(
            net,
            x,
            methods(),
            fills=fills,
            rankings=["absolute"],
            metrics=MEASURES,
            blocks=data.block.values[high],
            seed=k,
            **truth,
        )
        say(
            f"network {k}: R2 {r2:.2f}; WinTSR off the rescaled occlusion by {same(net, x[:10]):.1e}; {tb.attrs['recommendation']}"
        )
        keep = tb[
            [
                "score",
                "difference",
                "difference_low",
                "difference_high",
                "model_evaluations",
                *(["average_precision"] if truth else []),
            ]
        ]
        found.append(keep.mean("sample"))
    return xr.concat(found, pd.Index(range(NETWORKS), name="network"))


def table(found: xr.Dataset) -> str:
    """Means over networks with their standard deviations; and how often WinTSR is told from each by a measure, better and worse."""
    rows = {}
    for name in found.method.values:
        here = found.sel({"method": name})
        values = {m: here.score.sel(measure=m, ranking="absolute") for m in MEASURES}
        if "average_precision" in here:
            values["average precision"] = here.average_precision.sel(ranking="absolute")
        shown = {m: f"{float(v.mean()):.3f} ({float(v.std(ddof=1)):.3f})" for m, v in values.items()}
        pair = {"method": "WinTSR", "method_other": name, "ranking": "absolute", "measure": MEASURES}
        low, high = (found[f"difference_{end}"].sel(pair) for end in ("low", "high"))
        shown["WinTSR better, worse"] = f"{int((low > 0).sum())}, {int((high < 0).sum())}"
        rows[name] = shown | {"rows": f"{float(here.model_evaluations.mean()):.0f}"}
    return pd.DataFrame(rows).T.to_string()


def main() -> None:
    args: argparse.Namespace = arguments(__doc__, study="forecasters").parse_args()
    say = begin(args)
    simulated = planted(8600, args.seed)
    parts = {"planted": (simulated, np.arange(8000), np.arange(8000, 8600), 40, 1e-2)}
    observed = pacific()
    n = observed.sizes["sample"]
    parts["Nino 3.4"] = (observed, np.arange(2 * n // 3), np.arange(2 * n // 3 + LAGS + LEAD, n), 40, 0.3)
    for name, (data, learn, test, chosen, penalty) in parts.items():
        found = run(data, learn, test, 12 if args.quick else chosen, penalty, say, args.seed)
        write_netcdf(found, args.out / f"{name.replace(' ', '_').lower()}.nc")
        print(f"\n{name}\n{table(found)}\n")


if __name__ == "__main__":
    main()
