"""Integrated gradients with the affine first layers asked once a path, beside asking them at each point; see README.md here.

python tests/benchmarks/path.py    # under a minute on one thread
"""

from __future__ import annotations

import argparse
import statistics
import time
import warnings
from typing import Any
from unittest import mock

import torch
from run import Emulator, ResNet, Table
from torch import Tensor, nn

import tsattr as ta
from tsattr.core.evaluation import paths


def convolutions() -> nn.Module:
    """The network of `interactions.py`."""
    return nn.Sequential(nn.Conv1d(12, 32, 15, 2, 7), nn.ReLU(), nn.Conv1d(32, 48, 11, 2, 5), nn.ReLU(), nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(48, 1))  # fmt: skip


def wide() -> nn.Module:
    """A perceptron of a whole field."""
    return nn.Sequential(nn.Flatten(), nn.Linear(64800, 64), nn.ReLU(), nn.Linear(64, 1))


CASES: dict[str, tuple[Any, tuple[int, ...], int]] = {
    "perceptron of a field, 64,800 to 64": (wide, (8, 64800), 20),
    "perceptron of a table, 200 columns": (lambda: Table(200), (4096, 200), 20),
    "perceptron of a table, 20 columns": (Table, (4096, 20), 20),
    "emulator, 36 x 89 x 180": (Emulator, (1, 36, 89, 180), 50),
    "two convolutions, 12 x 500": (convolutions, (32, 12, 500), 20),
    "residual network, 12 x 1000": (ResNet, (4, 12, 1000), 20),
}


def timed(net: nn.Module, x: Tensor, steps: int, by_points: bool) -> tuple[float, Any]:
    """CPU time of a call, and what it gives; `by_points` without lines."""
    start = time.process_time()
    with mock.patch.object(paths, "_WORTH", float("inf") if by_points else paths._WORTH):
        ds = ta.explain(net, x, ta.IntegratedGradients(steps=steps), target=0, check=False)
    return time.process_time() - start, ds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=7)
    args = parser.parse_args()
    torch.set_num_threads(1)
    print("| model | by points, s | times faster | evaluation | largest difference |\n|---|---|---|---|---|")
    for name, (make, shape, steps) in CASES.items():
        torch.manual_seed(0)
        net, x = make().eval(), torch.randn(shape)
        spent: dict[bool, list[float]] = {True: [], False: []}
        found = {}
        for k in range(args.repeats + 1):
            for by_points in (True, False) if k % 2 else (False, True):
                seconds, found[by_points] = timed(net, x, steps, by_points)
                spent[by_points].append(seconds)
        ratios = sorted(a / b for a, b in zip(spent[True][1:], spent[False][1:]))  # the first turn warms up
        apart = abs(found[True].attribution - found[False].attribution).max() / abs(found[True].attribution).max()
        print(
            f"| {name} | {statistics.median(spent[True]):.3f} | {statistics.median(ratios):.2f} ({ratios[0]:.2f}-{ratios[-1]:.2f}) "
            f"| {found[False].attrs.get('evaluation', 'by points')} | {float(apart):.0e} |",
            flush=True,
        )


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main()
