"""How near is a boundary that is found in the features? Two moons, after Zhuang et al., explain_invertible (2019).

For each seed 1,000 points (noise 0.2) are split 60/40, and one invertible network is trained three times from the same start: for
its classes alone; with its features kept near the input, ``+ 0.1 |T(x) - x|^2``; and with the way to the boundary kept short,
``+ 0.1 |x_p - x|^2``. Of each, every validation point is brought to the boundary in the features (`Projection`) and in the input
(`Boundary`), and both are compared with the nearest point of the boundary as it is drawn on a fine grid. The picture has the
first seed.
"""

import argparse
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import contourpy
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
import xarray as xr
from common import arguments, begin
from scipy import stats
from scipy.spatial import cKDTree
from sklearn.datasets import make_moons
from sklearn.model_selection import train_test_split
from torch import Tensor, nn

import tsattr as ta
from tsattr.io import write_netcdf

SEEDS, EPOCHS, BATCH = 10, 100, 100
WEIGHT = 0.1
EDGE, CELL = 4.0, 0.01  # of the grid on which the boundary is drawn
PENALTIES: dict[str, Callable[[ta.models.Coupling, Tensor], Tensor]] = {
    "classes alone": lambda net, x: x.new_zeros(()),
    "features near": lambda net, x: WEIGHT * (net.features(x) - x).square().sum(1).mean(),
    "way short": lambda net, x: WEIGHT * (net.project(x, 0, 1) - x).square().sum(1).mean(),
}


@dataclass(frozen=True)
class Moons:
    """The points of one seed, in two parts."""

    x: np.ndarray
    y: np.ndarray
    held: np.ndarray
    held_y: np.ndarray

    @classmethod
    def draw(cls, seed: int) -> "Moons":
        """The setting of the original: 1,000 points, noise 0.2, 60/40."""
        x, y = make_moons(1000, noise=0.2, random_state=seed)
        x, held, y, held_y = train_test_split(x, y, train_size=0.6, random_state=seed)
        return cls(x, y, held, held_y)


def train(moons: Moons, penalty: Callable[[ta.models.Coupling, Tensor], Tensor], seed: int) -> ta.models.Coupling:
    """A network trained by cross-entropy and a penalty."""
    torch.manual_seed(seed)
    net = ta.models.Coupling(2, classes=2).double()
    x, y = torch.as_tensor(moons.x), torch.as_tensor(moons.y)
    optimiser = torch.optim.AdamW(net.parameters(), weight_decay=1e-2)
    steps = EPOCHS * len(x) // BATCH
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 1e-2, total_steps=steps)
    for _ in range(EPOCHS):
        for rows in torch.randperm(len(x)).split(BATCH):
            optimiser.zero_grad()
            (nn.functional.cross_entropy(net(x[rows]), y[rows]) + penalty(net, x[rows])).backward()
            optimiser.step()
            schedule.step()
    return net.eval()


@torch.no_grad()
def accuracy(net: nn.Module, x: np.ndarray, y: np.ndarray) -> float:
    """Share of points whose class is right."""
    return float((net(torch.as_tensor(x)).argmax(1).numpy() == y).mean())


@torch.no_grad()
def drawn(net: nn.Module) -> np.ndarray:
    """Points of the boundary, a hundredth apart: where the margin is 0 on a grid."""
    axis = np.arange(-EDGE, EDGE, CELL)
    grid = torch.as_tensor(np.stack(np.meshgrid(axis, axis), -1).reshape(-1, 2))
    y = torch.cat([net(rows) for rows in grid.split(2**15)])
    lines = contourpy.contour_generator(axis, axis, (y[:, 0] - y[:, 1]).reshape(len(axis), -1).numpy()).lines(0.0)
    return np.concatenate(lines)


def timed(fit: Callable[..., ta.baselines.Boundary], net: nn.Module, x: xr.DataArray) -> tuple[object, float]:
    """A fitted baseline, and its milliseconds a point."""
    start = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that margins are left is counted
        found = fit(net, x, a=0, b=1)
    return found, 1000 * (time.perf_counter() - start) / len(x)


def scored(moons: Moons, net: ta.models.Coupling) -> dict[str, float]:
    """What the two baselines of one network are like."""
    x = xr.DataArray(moons.held, dims=("sample", "feature"), coords={"feature": ["x1", "x2"]})
    projection, fast = timed(ta.baselines.Projection.fit, net, x)
    boundary, slow = timed(ta.baselines.Boundary.fit, net, x)
    nearest, _ = cKDTree(drawn(net)).query(moons.held)
    explain = {"target": ta.targets.Margin(0, 1), "outputs": {"class": ["upper", "lower"]}}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ta.ExplanationWarning)  # that sums miss the margin is measured
        path = ta.explain(net, x, ta.IntegratedGradients(projection, tolerance=1e-7), **explain)
        linear = ta.explain(net, x, ta.IntegratedGradients(projection, steps=1, rule="left"), **explain)
    margin = abs(path.prediction)
    inside, far, near = (v.values for v in (projection.feature_distance, projection.distance, boundary.distance))
    turn = np.sum(projection.difference.values * boundary.difference.values, 1) / (far * near)
    return {
        "training accuracy": accuracy(net, moons.x, moons.y),
        "validation accuracy": accuracy(net, moons.held, moons.held_y),
        "feature distance": np.median(inside),
        "input distance": np.median(far),
        "nearest": np.median(nearest),
        "over nearest": np.median(far / nearest),
        "over nearest, 90 %": np.quantile(far / nearest, 0.9),
        "Boundary over nearest": np.median(near / nearest),
        "Boundary over nearest, 90 %": np.quantile(near / nearest, 0.9),
        "Boundary not found": np.mean(boundary.margin.values > 1e-3),
        "same way": np.median(turn),
        "sum off the margin, share": float((abs(path.attribution.sum("feature") - path.prediction) / margin).max()),
        "steps": float(path.steps.max()),
        "linear form off the margin, share": float((linear.completeness_gap / margin).median()),
        "ms a point": fast,
        "Boundary ms a point": slow,
    }


def picture(moons: Moons, nets: dict[str, ta.models.Coupling], most: int = 14) -> plt.Figure:
    """The boundary, the points, and the ways of some of them to it by both baselines."""
    figure, axes = plt.subplots(
        1, len(nets), figsize=(4.2 * len(nets), 3.9), sharex=True, sharey=True, layout="constrained"
    )
    low, high = moons.held.min(0) - 0.7, moons.held.max(0) + 0.7
    some = moons.held[:most]
    for ax, (name, net) in zip(axes, nets.items()):
        ax.scatter(*moons.held.T, s=5, c=np.array(["tab:gray", "black"])[moons.held_y], alpha=0.35, linewidths=0)
        ax.scatter(*drawn(net).T, s=0.6, c="black", linewidths=0)
        for fit, colour, label in (
            (ta.baselines.Projection.fit, "tab:orange", "nearest in the features"),
            (ta.baselines.Boundary.fit, "tab:blue", "nearest in the input"),
        ):
            found, _ = timed(fit, net, xr.DataArray(some, dims=("sample", "feature")))
            ends = found.value.values
            for start, end in zip(some, ends):
                ax.plot(*np.stack([start, end]).T, c=colour, lw=1)
            ax.scatter(*ends.T, s=16, c=colour, label=label, zorder=3)
        ax.scatter(*some.T, s=14, facecolors="white", edgecolors="black", zorder=3)
        ax.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), title=name, xlabel="x1", aspect="equal")
    axes[0].set_ylabel("x2")
    axes[0].legend(loc="lower left", fontsize=8)
    return figure


def table(found: xr.Dataset) -> str:
    """Medians over the seeds with 95 % intervals by the order statistics of a sign test."""
    n = found.sizes["seed"]
    cut = max(int(stats.binom.ppf(0.025, n, 0.5)) - 1, 0)
    rows = {}
    for name in found:
        values = np.sort(found[name].transpose("training", "seed").values, 1)
        ends = zip(np.median(values, 1), values[:, cut], values[:, n - 1 - cut])
        rows[name] = [f"{m:.3g} [{low:.3g}, {high:.3g}]" for m, low, high in ends]
    return pd.DataFrame(rows, index=found.training.values).T.to_string()


def main() -> None:
    args: argparse.Namespace = arguments(__doc__, study="two_moons").parse_args()
    say = begin(args)
    seeds = range(args.seed, args.seed + (2 if args.quick else SEEDS))
    rows = []
    for seed in seeds:
        moons = Moons.draw(seed)
        nets = {name: train(moons, penalty, seed) for name, penalty in PENALTIES.items()}
        rows.append([scored(moons, net) for net in nets.values()])
        if seed == seeds[0]:
            picture(moons, nets).savefig(args.out / "two_moons.png", dpi=130)
        say(f"seed {seed}: over nearest " + ", ".join(f"{row['over nearest']:.2f}" for row in rows[-1]))
    values = {name: (("seed", "training"), [[row[name] for row in each] for each in rows]) for name in rows[0][0]}
    found = xr.Dataset(values, {"seed": list(seeds), "training": list(PENALTIES)})
    write_netcdf(found, args.out / "table.nc")
    print(table(found))


if __name__ == "__main__":
    main()
