"""Which measurements carry an ICU model's prediction? Masking protocols of the WinIT paper on PhysioNet 2012.

A GRU learns death in hospital from the first 48 hours of 37 irregular measurements, carried forward and standardised, with
the label at every hour, so that its prefixes mean something. Methods then rank the cells of the stays it has not seen; the 5 %
of all cells with the largest importance are masked, and the fall of the last prediction's AUC and its mean change are
measured. A cell (i, a) is masked by carrying the value before it forward: to the end of the stay ("END"), or until the series
has left the masked value by more than its own standard deviation ("STD"). The first hour is never masked.

Then the direction: of each measurement, what WinIT's shifts add up to where it rose and where it fell, over a stay.

A method with a small change finds cells that the model does not need; the random row says what masking alone does. Each stay
counts as one sample in the bootstrap.
"""

import argparse
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import torch
import xarray as xr
from common import arguments, begin, data_folder
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn

import tsattr as ta

WINDOW, SHARE = 10, 0.05
b = ta.baselines


class Mortality(nn.Module):
    """A GRU over (rows, feature, time) with a logit for each hour."""

    def __init__(self, features: int, hidden: int = 64) -> None:
        super().__init__()
        self.rnn = nn.GRU(features, hidden, batch_first=True)
        self.head = nn.Sequential(nn.Dropout(0.4), nn.Linear(hidden, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.rnn(x.transpose(1, 2))[0])[..., 0]


def load() -> xr.Dataset:
    """Stays carried forward, standardised by the training stays; 0, their mean, before the first measurement."""
    folder = data_folder("clinical", "physionet2012")
    ds = ta.datasets.read_physionet2012(folder / "set-a-long.csv.gz", folder / "outcomes.csv")
    order = np.random.default_rng(0).permutation(ds.sizes["sample"])
    part = np.full(ds.sizes["sample"], "train", dtype="<U5")
    part[order[-len(order) // 5 :]] = "test"
    ds = ds.assign_coords(split=("sample", part))
    seen = ds.x.isel(sample=part == "train")
    series = ds.x.transpose("sample", "feature", "time")
    forward = pd.DataFrame(series.values.reshape(-1, series.shape[2])).ffill(axis=1).to_numpy().reshape(series.shape)
    x = (series.copy(data=forward) - seen.mean(("sample", "time"))) / seen.std(("sample", "time"))
    return ds.assign(filled=x.clip(-5, 5).fillna(0).astype("float32"))


def train(x: np.ndarray, y: np.ndarray, *, epochs: int, seed: int) -> Mortality:
    """The epoch of the best validation AUC on a tenth of the stays."""
    torch.manual_seed(seed)
    net, loss = Mortality(x.shape[1]), nn.BCEWithLogitsLoss()
    rows, labels = torch.as_tensor(x), torch.as_tensor(y.astype(np.float32))
    held = len(rows) // 10
    optimiser = torch.optim.Adam(net.parameters(), lr=2e-3, weight_decay=1e-4)
    best, state = 0.0, net.state_dict()
    for _ in range(epochs):
        net.train()
        for at in (torch.randperm(len(rows) - held) + held).split(100):
            optimiser.zero_grad()
            loss(net(rows[at]), labels[at, None].expand(-1, rows.shape[2])).backward()
            optimiser.step()
        net.eval()
        found = roc_auc_score(labels[:held], last(net, rows[:held].numpy()))
        if found > best:
            best, state = found, {k: v.clone() for k, v in net.state_dict().items()}
    net.load_state_dict(state)
    return net.eval()


@torch.no_grad()
def last(net: nn.Module, x: np.ndarray) -> np.ndarray:
    """The probability of the last hour."""
    return torch.sigmoid(net(torch.as_tensor(x))[:, -1]).numpy()


def explanations(
    net: nn.Module, seen: xr.DataArray, x: xr.DataArray, args: argparse.Namespace
) -> dict[str, np.ndarray]:
    """Maps (sample, feature, time) by size."""
    recipe = {"epochs": 3 if args.quick else 60, "patience": 5, "hidden": 64}
    drawn = b.Generator.fit(seen, horizon=WINDOW, **recipe)
    forecast = b.Generator(drawn.fitted, drawn.horizon, drawn.hidden, draw=False)
    methods: dict[str, Any] = {
        "WinIT, forecast": ta.WinIT(WINDOW, forecast, draws=1, aggregate="mean"),
        "WinIT, calibrated draws": ta.WinIT(WINDOW, drawn, draws=3, aggregate="mean"),
        "WinIT, hold": ta.WinIT(WINDOW, b.Hold(), draws=1, aggregate="mean"),
        "WinIT, hold, whole stretch": ta.WinIT(WINDOW, b.Hold(), draws=1, aggregate="mean", difference=False),
        "FIT": ta.FIT(b.JointGenerator.fit(seen, **recipe), draws=5),
        "AFO": ta.AugmentedOcclusion(b.Marginal.fit(seen)),
        "FO": ta.FeatureOcclusion(),
    }
    maps = {name: ta.explain(net, x, m, outputs=("time",)).attribution.values for name, m in methods.items()}
    path = ta.IntegratedGradients(b.Constant(0.0), steps=50)
    maps["IG, last hour"] = abs(
        ta.explain(net, x, path, outputs=("time",), target=ta.targets.Output(time=-1)).attribution.values
    )
    return maps | {"random": np.random.default_rng(args.seed).random(x.shape)}


class Filled(nn.Module):
    """The same network asked about series that are missing before their first measurement."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        return self.net(torch.nan_to_num(x))


def directions(net: nn.Module, test: xr.Dataset, *, most: int, seed: int) -> pd.DataFrame:
    """Of the measurements that shift the risk most: the sum over a stay of all shifts, and of those by a value that rose or fell.

    A value is held at the one before it instead; its shifts, of the hour itself and of those after it, are signed as it moved the
    probability. Intervals are over stays.
    """
    x = test.filled.where(test.x.transpose(*test.filled.dims).notnull().cumsum("time") > 0)
    found = ta.explain(
        Filled(net), x, ta.WinIT(WINDOW, b.Hold(), draws=1), outputs=("time",), missing="value", progress=True
    )
    change = x.diff("time").reindex(time=x.time)
    sums = {
        "importance": found.attribution,
        "risk where it rose": found.signed_shift.where(change > 0),
        "risk where it fell": found.signed_shift.where(change < 0),
    }
    sums = {name: v.sum(("time", "lag")).transpose("feature", "sample") for name, v in sums.items()}
    order = np.argsort(-sums["importance"].mean("sample").values)[:most]
    table = pd.DataFrame(index=[f"{f}, {u}" for f, u in zip(x.feature.values[order], x.units.values[order])])
    table["measured"] = [f"{v:.0%}" for v in x.notnull().any("time").mean("sample").values[order]]
    for name, v in sums.items():
        of = ta.metrics.bootstrap(v.values[order], np.arange(x.sizes["sample"]), seed=seed)
        table[name] = [f"{m:.3f} [{low:.3f}, {high:.3f}]" for m, low, high in zip(of.mean, of.low, of.high)]
    return table


def most_important(values: np.ndarray, share: float, seed: int) -> np.ndarray:
    """The share of all cells with the largest values, those of the first hour left out; ties drawn at random."""
    score = np.where(np.arange(values.shape[2]) > 0, values, -np.inf).ravel()
    order = np.lexsort((np.random.default_rng(seed).random(score.size), -score))
    chosen = np.zeros(score.size, bool)
    chosen[order[: round(share * score.size)]] = True
    return chosen.reshape(values.shape)


def masked(x: np.ndarray, chosen: np.ndarray, protocol: str) -> np.ndarray:
    """Each chosen cell's predecessor carried forward to the end, or while the series stays near the masked value."""
    out = x.copy()
    spread = x.std(2)
    for t in range(1, x.shape[2]):
        s, f = chosen[:, :, t].nonzero()
        until = np.full(len(s), x.shape[2])
        if protocol == "STD":
            left = np.abs(x[s, f, t:] - x[s, f, t, None]) > spread[s, f, None]
            until = t + np.where(left.any(1), left.argmax(1), x.shape[2] - t)
        for after in range(t, x.shape[2]):
            on = until > after
            out[s[on], f[on], after] = out[s[on], f[on], t - 1]
    return out


def intervals(values: np.ndarray, statistic: Callable[[np.ndarray], float], seed: int, resamples: int = 500) -> str:
    """A statistic of stays with its 95 % bootstrap interval."""
    rng = np.random.default_rng(seed)
    found = [statistic(rng.integers(0, len(values), len(values))) for _ in range(resamples)]
    low, high = np.quantile(found, [0.025, 0.975])
    return f"{statistic(np.arange(len(values))):.3f} [{low:.3f}, {high:.3f}]"


def main(args: argparse.Namespace) -> None:
    say = begin(args)
    ds = load()
    seen, test = (ds.isel(sample=(ds.split == s).values) for s in ("train", "test"))
    if args.quick:
        seen, test = seen.isel(sample=slice(0, 600)), test.isel(sample=slice(0, 120))
    net = train(seen.filled.values, seen.label.values, epochs=4 if args.quick else 25, seed=args.seed)
    x, y = test.filled.values, test.label.values.astype(int)
    before = last(net, x)
    say(
        f"{len(x)} stays that were not trained on, {y.mean():.1%} of them fatal; AUC at 48 h {roc_auc_score(y, before):.3f} "
        f"({seen.sizes['sample']} training stays)"
    )
    moved = directions(net, test, most=12, seed=args.seed)
    print(f"\nwhat moves the risk, summed over a stay\n{moved.to_string()}\n")
    moved.to_csv(args.out / "directions.csv")
    maps = explanations(net, seen.filled, test.filled, args)
    say("explained")
    rows = []
    for name, values in maps.items():
        chosen = most_important(values, SHARE, args.seed)
        row = {"method": name}
        for protocol in ("END", "STD"):
            after = last(net, masked(x, chosen, protocol))

            def drop(at: np.ndarray, after: np.ndarray = after) -> float:
                return roc_auc_score(y[at], before[at]) - roc_auc_score(y[at], after[at])

            def change(at: np.ndarray, after: np.ndarray = after) -> float:
                return float(np.abs(after - before)[at].mean())

            row[f"{protocol}: AUC drop"] = intervals(y, drop, args.seed)
            row[f"{protocol}: change"] = intervals(y, change, args.seed)
        rows.append(row)
    table = pd.DataFrame(rows).set_index("method")
    table.to_csv(args.out / "table.csv")
    print(f"\nthe top {SHARE:.0%} of all cells masked\n{table.rename_axis(None).to_string()}\n")
    say(f"wrote table.csv and directions.csv to {args.out}")


if __name__ == "__main__":
    main(arguments(__doc__, study="icu_mortality").parse_args())
