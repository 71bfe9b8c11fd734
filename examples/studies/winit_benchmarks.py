"""WinIT and its peers on the benchmarks of its paper: Spike, Delayed Spike and State, with models trained as published.

The paper's classifier (a GRU of 200 and a head on each state) is trained on four fifths of the training series, once for
each fold; generators are trained until their validation loss stops falling; every method explains the same test series; and
all cells but those of the first step are pooled and scored against the truth. State has two truths: the cells where the
state changes (FIT, WinIT), and the important feature at every step (Dynamask and others). Rankings turn over between them.

Average precision and average ranks are the scores to trust. The trapezoid area under precision and recall, which the papers
print, gives a map of zeros one half: see the row. On State, the setting called "chosen" is taken by average precision on
training series only.
"""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import xarray as xr
from common import arguments, begin
from scipy.stats import rankdata
from sklearn.metrics import auc, average_precision_score, precision_recall_curve, roc_auc_score
from torch import Tensor, nn

import tsattr as ta

WINDOW, BEST = 10, 100  # cells; training series on which a setting is chosen
b = ta.baselines


class Classifier(nn.Module):
    """The paper's: GRU(features -> 200), then BatchNorm, ReLU, Dropout and a linear layer on each state."""

    def __init__(self, features: int = 3, hidden: int = 200) -> None:
        super().__init__()
        self.rnn = nn.GRU(features, hidden, batch_first=True)
        self.head = nn.Sequential(nn.BatchNorm1d(hidden), nn.ReLU(), nn.Dropout(0.5), nn.Linear(hidden, 1))

    def forward(self, x: Tensor) -> Tensor:
        h, _ = self.rnn(x.transpose(1, 2))
        return self.head(h.flatten(0, 1)).reshape(h.shape[:2])


def train(x: np.ndarray, y: np.ndarray, *, epochs: int, seed: int) -> Classifier:
    """As published: Adam, learning rate 1e-3, weight decay 1e-3, batches of 100, the loss at every step."""
    torch.manual_seed(seed)
    net, loss = Classifier(x.shape[1]), nn.BCEWithLogitsLoss()
    rows, labels = torch.as_tensor(x), torch.as_tensor(y.astype(np.float32))
    optimiser = torch.optim.Adam(net.parameters(), lr=1e-3, weight_decay=1e-3)
    for _ in range(epochs):
        for at in torch.randperm(len(rows)).split(100):
            optimiser.zero_grad()
            loss(net(rows[at]), labels[at]).backward()
            optimiser.step()
    return net.eval()


def folds(n: int, number: int = 5, seed: int = 1234) -> list[tuple[np.ndarray, np.ndarray]]:
    """The training series permuted once, and cut into folds: positions to fit on and to leave out."""
    order = np.random.default_rng(seed).permutation(n)
    held = np.array_split(order, number)
    return [(np.setdiff1d(order, part), part) for part in held]


def variants(net: nn.Module, x: xr.DataArray, laws: dict[str, tuple[Any, int]]) -> dict[str, np.ndarray]:
    """WinIT's maps for each law (with a number of draws): with and without the difference, over lags in three ways.

    All come from the losses of whole stretches, D of the docstring of `WinIT`, which are asked for once.
    """
    maps = {}
    for name, (law, draws) in laws.items():
        whole = explained(net, x, ta.WinIT(WINDOW, law, draws=draws, difference=False))
        parts = whole.copy()
        parts[:, :, :-1, 1:] -= whole[:, :, 1:, :-1]
        for values, end in ((parts, ""), (whole, ", whole stretch")):
            known = np.where(np.isnan(values), -np.inf, values)
            largest = np.abs(np.nan_to_num(values)).argmax(-1)[..., None]
            maps[f"{name}, mean{end}"] = np.nanmean(values, -1)
            maps[f"{name}, max{end}"] = known.max(-1)
            maps[f"{name}, absmax{end}"] = np.take_along_axis(values, largest, -1)[..., 0]
    return maps


def gradients() -> dict[str, tuple[Any, Any]]:
    """Integrated gradients of the last step's logit, as in the published tables, and of all steps' sum."""
    path = ta.IntegratedGradients(b.Constant(0.0), steps=50)
    return {
        "IG, last step": (path, ta.targets.Output(time=-1)),
        "IG, all steps": (path, ta.targets.Function(lambda y: y.flatten(1).sum(1), "sum over time")),
    }


def scores(values: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """Of maps and truth (samples, features, times), the first step left out, all cells pooled."""
    score, true = np.nan_to_num(values[..., 1:]).ravel(), truth[..., 1:].ravel()
    precision, recall, _ = precision_recall_curve(true, score)
    ranks = [
        rankdata(-np.nan_to_num(one[:, 1:]).ravel(), method="average")[cell[:, 1:].ravel()]
        for one, cell in zip(values, truth)
    ]
    return {
        "AP": float(average_precision_score(true, score)),
        "AUROC": float(roc_auc_score(true, score)),
        "trapezoid": float(auc(recall, precision)),
        "mean rank": float(np.concatenate(ranks).mean()),
    }


def load(name: str, quick: bool) -> tuple[xr.Dataset, dict[str, str]]:
    """A data set, and its truths by name."""
    if name == "State":
        return ta.datasets.state(200 if quick else 1000), {"changes": "truth_change", "every step": "truth_every_step"}
    delay = int(name.split()[1]) if name.startswith("Delay") else 0
    return ta.datasets.spike(300 if quick else 3000, delay=delay), {"first spike": "truth"}


def one_fold(name: str, number: int, args: argparse.Namespace, say: Callable[[str], None]) -> pd.DataFrame:
    """Train, explain and score one fold of one data set."""
    data, truths = load(name, args.quick)
    seen, test = (data.isel(sample=(data.split == s).values) for s in ("train", "test"))
    at, held = folds(seen.sizes["sample"])[number]
    own, x = seen.isel(sample=at), test.x
    epochs = 3 if args.quick else 30
    net = train(own.x.values, own.label.values, epochs=epochs, seed=args.seed + number)
    with torch.no_grad():
        quality = [
            roc_auc_score(d.label.values.ravel(), net(torch.as_tensor(d.x.values)).numpy().ravel())
            for d in (test, seen.isel(sample=held))
        ]
    say(f"{name}, fold {number}: AUC {quality[0]:.4f} on test series, {quality[1]:.4f} on held-out training series")
    recipe = {"horizon": WINDOW, "epochs": 3 if args.quick else 150, "patience": 10, "learning_rate": 3e-3}
    mse = b.Generator.fit(own.x, loss="mse", draw=False, **recipe)  # `draw` below, as the fit warns of its collapse
    mse = b.Generator(mse.fitted, mse.horizon, mse.hidden)
    drawn = b.Generator.fit(own.x, **recipe)
    forecast = b.Generator(drawn.fitted, drawn.horizon, drawn.hidden, draw=False)
    joint = b.JointGenerator.fit(own.x, **{k: v for k, v in recipe.items() if k != "horizon"})
    say("generators, as published: " + mse.fitted.source.split("; ", 1)[1])
    say("by likelihood: " + drawn.fitted.source.split("; ", 1)[1])
    say("joint: " + joint.fitted.source.split("; ", 1)[1])

    laws = {"published": (mse, 3), "forecast": (forecast, 1), "draws": (drawn, 5), "hold": (b.Hold(), 1)}
    few = own.isel(sample=slice(0, 10 if args.quick else BEST))
    maps, chosen = variants(net, few.x, laws), {}
    for truth_name, truth in truths.items():
        found = {k: scores(values, few[truth].values)["AP"] for k, values in maps.items()}
        chosen[truth_name] = max(found, key=found.__getitem__)
        say(
            f"chosen on training series for {truth_name}: {chosen[truth_name]} (average precision {found[chosen[truth_name]]:.3f})"
        )

    maps = {f"WinIT, {k}": values for k, values in variants(net, x, laws).items()}
    say("WinIT and its variants explained")
    maps["FIT"] = explained(net, x, ta.FIT(joint))
    maps["AFO"] = explained(net, x, ta.AugmentedOcclusion(b.Marginal.fit(own.x)))
    maps["FO"] = explained(net, x, ta.FeatureOcclusion())
    for k, (method, target) in gradients().items():
        maps[k] = np.abs(explained(net, x, method, target=target))
    maps["random"] = np.random.default_rng(args.seed).random(x.shape)
    maps["zeros"] = np.zeros(x.shape)
    rows = []
    for truth_name, truth in truths.items():
        for k, values in maps.items():
            rows.append(
                {"data": name, "truth": truth_name, "fold": number, "method": k, **scores(values, test[truth].values)}
            )
        best = next(r for r in rows if r["truth"] == truth_name and r["method"] == f"WinIT, {chosen[truth_name]}")
        rows.append({**best, "method": "WinIT, chosen on training series"})
    return pd.DataFrame(rows)


def explained(net: nn.Module, x: xr.DataArray, method: Any, target: Any = None) -> np.ndarray:
    """The map of each series."""
    return ta.explain(net, x, method, outputs=("time",), target=target).attribution.values


def summary(table: pd.DataFrame) -> str:
    """Means and standard deviations over folds."""
    parts = []
    for (data, truth), part in table.groupby(["data", "truth"], sort=False):
        grouped = part.groupby("method", sort=False)[["AP", "AUROC", "trapezoid", "mean rank"]]
        mean, spread = grouped.mean(), grouped.std().fillna(0)
        digits = {"AP": 3, "AUROC": 3, "trapezoid": 3, "mean rank": 1}
        text = pd.DataFrame(
            {c: [f"{m:.{d}f} ({s:.{d}f})" for m, s in zip(mean[c], spread[c])] for c, d in digits.items()}, mean.index
        )
        order = mean.AP.sort_values(ascending=False, kind="stable").index
        parts.append(
            f"{data}, truth: {truth}, {part.fold.nunique()} folds\n{text.loc[order].rename_axis(None).to_string()}"
        )
    return "\n\n".join(parts)


def main(args: argparse.Namespace) -> None:
    say = begin(args)
    path: Path = args.out / "table.csv"
    done = pd.read_csv(path) if path.exists() else pd.DataFrame(columns=["data", "fold"])
    for number in range(args.folds):
        for name in args.data:
            if ((done.data == name) & (done.fold == number)).any():
                continue  # a run that was cut short goes on where it stopped
            done = pd.concat([done, one_fold(name, number, args, say)], ignore_index=True)
            whole = path.with_suffix(".tmp")
            done.to_csv(whole, index=False)
            whole.replace(path)
            say(f"{name}, fold {number} done; results in {path}")
    print(f"\n{summary(done)}")


if __name__ == "__main__":
    parser = arguments(__doc__, study="winit_benchmarks")
    parser.add_argument("--data", nargs="*", default=["Spike", "Delay 2", "State"])
    parser.add_argument("--folds", type=int, default=5)
    main(parser.parse_args())
