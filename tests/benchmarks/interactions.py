"""Interactions beside shapiq, their standard errors and stopping rule, and what they and parts cost beside the plain call.

python tests/benchmarks/interactions.py            # two minutes on one thread; without shapiq its rows are left out
python tests/benchmarks/interactions.py --only coverage
"""

import argparse
import statistics
import time
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
import xarray as xr
from scipy.stats import t as student
from torch import nn

import tsattr as ta

try:
    import shapiq
except ImportError:
    shapiq = None

PLAYERS, BUDGETS = 16, (1200, 2000, 4000)
PEERS = (
    ("shapley", "k-SII", "KernelSHAPIQ"),
    ("shapley", "k-SII", "PermutationSamplingSII"),
    ("shapley", "k-SII", "SHAPIQ"),
)
PEERS += (("faithful", "FSII", "RegressionFSII"),)


def game(x: Any) -> torch.Tensor:
    """A game of 16 players in which several act together: products of squashed sums."""
    x = torch.as_tensor(np.atleast_2d(x) if isinstance(x, np.ndarray) else x).to(torch.float64)
    weights = torch.as_tensor(np.random.default_rng(1).normal(size=(PLAYERS, PLAYERS)) / 4)
    h = torch.tanh(x @ weights)
    return (h[:, :8] * h[:, 8:]).sum(1) + h.sum(1)


def interactions(repeats: int) -> None:
    """Root mean square error of the pairs, medians over the seeds, and seconds of a call."""
    x, upper = torch.ones(1, PLAYERS, dtype=torch.float64), np.triu_indices(PLAYERS, 1)

    def ours(index: str, coalitions: int, seed: int = 0) -> np.ndarray:
        method = ta.ShapleyInteractions(ta.groups.Cells(), index=index, coalitions=coalitions)
        return ta.explain(game, x, method, seed=seed).interaction.values[0][upper]

    def theirs(name: str, index: str, budget: int, seed: int) -> np.ndarray:
        kind = getattr(shapiq, name)
        try:
            made = kind(n=PLAYERS, max_order=2, index=index, random_state=seed)
        except TypeError:  # one index only
            made = kind(n=PLAYERS, max_order=2, random_state=seed)
        found = made.approximate(budget, lambda z: game(np.asarray(z, float)).numpy())
        return np.array([found[(i, j)] for i, j in zip(*upper)])

    print(f"{PLAYERS} players: error of pairs (seconds), medians of {repeats} seeds")
    for index, name, peer in PEERS:
        exact = ours(index, 2**PLAYERS)
        for budget in BUDGETS:
            rows = {f"tsattr, {index}": partial(ours, index, budget - 2)}
            if shapiq is not None:
                rows[peer] = partial(theirs, peer, name, budget)
            print(f"  {budget} rows: " + ", ".join(f"{k} {_error(v, exact, repeats)}" for k, v in rows.items()))


def _error(estimate: Callable[[int], np.ndarray], exact: np.ndarray, repeats: int) -> str:
    errors, seconds = [], []
    for seed in range(repeats):
        start = time.process_time()
        found = estimate(seed)
        seconds.append(time.process_time() - start)
        errors.append(float(((found - exact) ** 2).mean() ** 0.5))
    return f"{statistics.median(errors):.4f} ({statistics.median(seconds):.3f})"


def coverage(runs: int = 300, draws: int = 8) -> None:
    """How often Student's 95 % intervals of mains and pairs hold the exact values, over independent runs."""
    x, upper = torch.ones(1, PLAYERS, dtype=torch.float64), np.triu_indices(PLAYERS, 1)
    t = student.ppf(0.975, draws - 1)
    print(f"{draws} draws, {runs} runs: share of 95 % intervals that hold the exact value (root mean square of z)")
    for index in ("shapley", "faithful"):
        method = partial(ta.ShapleyInteractions, ta.groups.Cells(), index=index)
        exact = ta.explain(game, x, method(coalitions=2**PLAYERS))
        for coalitions in (544, 1200, 4000):
            found = ta.explain(game, x.expand(runs, -1), method(coalitions=coalitions, draws=draws))
            told = []
            for name, error in (
                ("group_value", "group_standard_error"),
                ("interaction", "interaction_standard_error"),
            ):
                away = (found[name] - exact[name][0]).values
                z = away / np.maximum(found[error].values, 1e-300)
                z = z[:, *upper] if name == "interaction" else z
                told.append(f"{(abs(z) <= t).mean():.3f} ({(z**2).mean() ** 0.5:.2f})")
            print(f"  {index}, {coalitions} coalitions: mains {told[0]}, pairs {told[1]}")


def stopping(runs: int = 100) -> None:
    """The error that is left against the tolerance asked for: both are root sums of squares over mains and pairs, relative."""
    x = torch.ones(1, PLAYERS, dtype=torch.float64)
    method = partial(ta.ShapleyInteractions, ta.groups.Cells())

    def size(mains: xr.DataArray, pairs: xr.DataArray) -> np.ndarray:
        return np.asarray(np.sqrt((mains**2).sum("group") + (pairs**2).sum(("group", "group_b")) / 2))

    exact = ta.explain(game, x, method(coalitions=2**PLAYERS)).isel(sample=0)
    whole = size(exact.group_value, exact.interaction)
    print(f"{runs} runs: error over the tolerance, median (10 % to 90 %); coalitions, median; not converged")
    for coalitions in (544, 1200):
        for tolerance in (0.2, 0.1, 0.05, 0.02):
            ds = ta.explain(game, x.expand(runs, -1), method(coalitions=coalitions, draws=128, tolerance=tolerance))
            error = size(ds.group_value - exact.group_value, ds.interaction - exact.interaction) / whole / tolerance
            low, middle, high = np.quantile(error, (0.1, 0.5, 0.9))
            failed = float((ds.status == "not converged").mean())
            steps = float(ds.steps.median())
            print(
                f"  {coalitions} a draw, tolerance {tolerance}: {middle:.2f} ({low:.2f}-{high:.2f}), {steps:.0f}, {failed:.0%}"
            )


def network() -> nn.Module:
    """A small convolutional network of 12 leads and 20 outputs."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv1d(12, 32, 15, 2, 7), nn.ReLU(), nn.Conv1d(32, 48, 11, 2, 5), nn.ReLU(), nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(48, 20)).eval()  # fmt: skip


def beside_kernel_shap(repeats: int) -> None:
    """CPU time of pairs beside that of Shapley values from as many coalitions, and of the bare model on as many rows, by turns."""
    net = network()
    values = np.random.default_rng(0).normal(size=(1, 12, 500)).cumsum(-1).astype(np.float32) / 5
    x = xr.DataArray(values, dims=("sample", "lead", "time"), coords={"time": np.arange(500) / 100})
    print(f"one record, CPU ms, medians of {repeats} by turns (lowest to highest)")
    for windows in (6, 10, 20, 40):
        groups = ta.groups.Windows(time=-(-500 // windows), lead=12)
        players = len(ta.explain(net, x, ta.Occlusion(groups), target=0, check=False).group)
        budget = min(2 * players * (players + 1) + 2048, 2**players - 2)
        pairs = ta.ShapleyInteractions(groups, coalitions=budget)
        values_alone = ta.KernelShap(groups, coalitions=budget)
        rows = torch.as_tensor(x.values).expand(64, -1, -1)

        def bare(number: int = budget + 2, rows: torch.Tensor = rows) -> None:
            with torch.no_grad():
                for at in range(0, number, 64):
                    net(rows[: min(64, number - at)].clone())

        calls = {
            "bare": bare,
            "KernelShap": lambda m=values_alone: ta.explain(net, x, m, target=0, check=False),
            "pairs": lambda m=pairs: ta.explain(net, x, m, target=0, check=False),
        }
        took: dict[str, list[float]] = {name: [] for name in calls}
        for _ in range(repeats):
            for name, call in calls.items():
                start = time.process_time()
                call()
                took[name].append(1e3 * (time.process_time() - start))
        ratio = [[a / b for a, b in zip(took["pairs"], took[name])] for name in ("bare", "KernelShap")]
        middle = statistics.median(took["pairs"])
        told = ", ".join(f"{k} {statistics.median(v):.0f} ({min(v):.0f}-{max(v):.0f})" for k, v in took.items())
        over = ", ".join(f"{statistics.median(r):.2f} ({min(r):.2f}-{max(r):.2f})" for r in ratio)
        number = players * (players - 1) // 2
        print(
            f"  {players} players, {number} pairs, {budget + 2} rows: {told}; over bare, KernelShap: {over}; a player {middle / players:.1f}, a pair {middle / number:.2f}"
        )


def beside_the_plain_call(repeats: int) -> None:
    """CPU time of a call in other terms over that of the plain call, by turns."""
    net = network()
    values = np.random.default_rng(0).normal(size=(16, 12, 500)).cumsum(-1).astype(np.float32) / 5
    x = xr.DataArray(values, dims=("sample", "lead", "time"), coords={"time": np.arange(500) / 100})
    parts = ta.parts.bands(x, [(0, 5), (5, 15), (15, 40)])
    windows, ig = ta.groups.Windows(time="500ms"), ta.IntegratedGradients(steps=20)
    plain: dict[str, Callable[[], Any]] = {
        "occlusion of 10 windows": lambda: ta.explain(net, x, ta.Occlusion(windows), target=0, check=False),
        "integrated gradients, 20 steps": lambda: ta.explain(net, x, ig, target=0, check=False),
    }
    occluded, graded = plain
    cases: dict[str, tuple[str, Callable[[], Any]]] = {
        "the same of 4 parts together": (occluded, lambda: ta.explain(ta.models.summed(net), parts, ta.Occlusion(windows), target=0, check=False)),
        "of 4 parts": (graded, lambda: ta.explain(ta.models.summed(net), parts, ig, target=0, check=False)),
    }  # fmt: skip
    print(f"CPU time over the plain call's, medians of {repeats} by turns")
    for name, (base, call) in cases.items():
        ratios = []
        for _ in range(repeats):
            start = time.process_time()
            plain[base]()
            middle = time.process_time()
            call()
            ratios.append((time.process_time() - middle) / (middle - start))
        print(f"  {base}: {name} {statistics.median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f})")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=7)
    parts: dict[str, Callable[[int], None]] = {
        "shapiq": interactions,
        "coverage": lambda _: coverage(),
        "stopping": lambda _: stopping(),
        "cost": beside_kernel_shap,
        "plain": beside_the_plain_call,
    }
    parser.add_argument("--only", choices=parts, help="one part of it")
    args = parser.parse_args()
    torch.set_num_threads(1)
    for name in [args.only] if args.only else parts:
        parts[name](args.repeats)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main()
