"""Interactions beside shapiq at the same budget, and what parts cost beside the plain call.

python tests/benchmarks/interactions.py            # a minute on one thread; without shapiq its rows are left out
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


def beside_the_plain_call(repeats: int) -> None:
    """CPU time of a call in other terms over that of the plain call, by turns."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv1d(12, 32, 15, 2, 7), nn.ReLU(), nn.Conv1d(32, 48, 11, 2, 5), nn.ReLU(), nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(48, 20)).eval()  # fmt: skip
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
    args = parser.parse_args()
    torch.set_num_threads(1)
    interactions(args.repeats)
    beside_the_plain_call(args.repeats)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main()
