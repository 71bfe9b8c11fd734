"""What every output at once costs beside the plain call of one, and what a rollout keeps in memory.

python tests/benchmarks/outputs.py time       # about a minute on one thread: CPU time by the number of outputs
python tests/benchmarks/outputs.py fields     # Each("lat", "lon") of 89 x 180 outputs: peak memory and time, by samples
python tests/benchmarks/outputs.py rollout    # peak memory by the number of steps, with checkpoints and without
"""

import argparse
import resource
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import nn

import tsattr as ta

LEADS, TIMES, SAMPLES = 12, 500, 16
COUNTS = (1, 5, 20, 100)
Each, Output = ta.targets.Each, ta.targets.Output


class Rows(nn.Module):
    """A model that counts the rows that it is asked about."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net, self.rows = net, 0

    def forward(self, x: torch.Tensor) -> Any:
        """The outputs of the network."""
        self.rows += len(x)
        return self.net(x)


def convolutions(outputs: int) -> nn.Module:
    """The network of `interactions.py`, with so many outputs."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv1d(LEADS, 32, 15, 2, 7), nn.ReLU(), nn.Conv1d(32, 48, 11, 2, 5), nn.ReLU(), nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(48, outputs)).eval()  # fmt: skip


def by_outputs(repeats: int) -> None:
    """CPU time over the plain call's and rows, by the number of outputs; contenders by turns in one process."""
    values = np.random.default_rng(0).normal(size=(SAMPLES, LEADS, TIMES)).cumsum(-1).astype(np.float32) / 5
    x = xr.DataArray(values, dims=("sample", "lead", "time"), coords={"time": np.arange(TIMES) / 100})
    windows = ta.groups.Windows(time="500ms")
    methods = {
        "occlusion of 10 windows": ta.Occlusion(windows),
        "Kernel SHAP, 100 coalitions": ta.KernelShap(windows, coalitions=100),
        "integrated gradients, 20 steps": ta.IntegratedGradients(steps=20),
    }
    for name, method in methods.items():
        ratios: dict[int, list[float]] = {n: [] for n in COUNTS}
        rows = {}
        for _ in range(repeats + 1):
            plain = 0.0
            for n in COUNTS:
                net, outputs = Rows(convolutions(COUNTS[-1])), {"class": np.arange(COUNTS[-1])}
                first = nn.Sequential(net, _First(n))
                target = Output.at(0) if n == 1 else Each("class")
                start = time.process_time()
                ta.explain(first, x, method, target=target, outputs={"class": outputs["class"][:n]}, check=False)
                spent = time.process_time() - start
                plain = spent if n == 1 else plain
                ratios[n].append(spent / plain)
                rows[n] = net.rows
        ratios = {n: values[1:] for n, values in ratios.items()}  # the first turn warms up
        shown = [
            f"{n}: {statistics.median(v):.2f} ({min(v):.2f}-{max(v):.2f}), {rows[n]} rows" for n, v in ratios.items()
        ]
        print(f"{name}: {'; '.join(shown)}", flush=True)


class _First(nn.Module):
    """The first outputs of many: the network is the same whatever is explained of it."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.outputs = outputs

    def forward(self, y: torch.Tensor) -> torch.Tensor:
        """The first so many."""
        return y[:, : self.outputs]


def fields(samples: int, cells: str, target: str) -> None:
    """One call of a field of 89 x 180 outputs, in this process: seconds, peak memory above the start, bytes of the result."""
    lat, lon, modes = 89, 180, 10
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(36 * modes, 32), nn.Tanh(), nn.Linear(32, lat * lon), nn.Unflatten(1, (lat, lon)))  # fmt: skip
    values = np.random.default_rng(0).normal(size=(samples, 36, modes)).astype(np.float32)
    x = xr.DataArray(values, dims=("sample", "lag", "mode"))
    groups = ta.groups.Along("lag") if cells == "lags" else ta.groups.Cells()
    outputs = {"lat": np.linspace(-88, 88, lat), "lon": np.arange(lon) * 2.0}
    wanted: Any = Each("lat", "lon") if target == "all" else Output.at(lat=0, lon=0)
    small = {"target": Output.at(lat=0, lon=0), "outputs": outputs}
    ta.explain(net, x[:1], ta.Occlusion(groups), **small)
    _measured(lambda: ta.explain(net, x, ta.Occlusion(groups), target=wanted, outputs=outputs).nbytes)


def rollout(steps: int, checkpoints: bool) -> None:
    """One call of integrated gradients through so many steps, in this process."""
    torch.manual_seed(0)
    width = 64
    inner = nn.Sequential(nn.Conv1d(4, width, 5, padding=2), nn.GELU(), nn.Conv1d(width, width, 5, padding=2), nn.GELU(), nn.Conv1d(width, 4, 5, padding=2))  # fmt: skip

    class Residual(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + 0.1 * inner(x)

    x = xr.DataArray(
        np.random.default_rng(0).normal(size=(1, 4, 512)).astype(np.float32), dims=("sample", "level", "x")
    )
    model = ta.models.rollout(Residual(), steps, checkpoints=checkpoints)
    outputs = ("step", "level", "x")
    target = Output.at(step=-1, level=0, x=256)
    one = ta.models.rollout(Residual(), 1, checkpoints=checkpoints)
    ta.explain(one, x, ta.IntegratedGradients(steps=2), target=Output.at(step=0, level=0, x=0), outputs=outputs)

    def call() -> int:
        method = ta.IntegratedGradients(steps=16)
        return ta.explain(model, x, method, target=target, outputs=outputs, batch_size=16).nbytes

    _measured(call)


def _measured(call: Callable[[], int]) -> None:
    """Print seconds, the peak of the resident set above the start, and the bytes of what the call gives, both in MiB."""
    before, start = _peak(), time.process_time()
    size = call()
    print(f"{time.process_time() - start:.2f} s, {_peak() - before:.0f} MiB, result {size / 2**20:.0f} MiB")


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _alone(*arguments: object) -> str:
    """A figure of a fresh process, as the peak of a process never falls."""
    command = [sys.executable, __file__, "one", *map(str, arguments)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["time", "fields", "rollout", "one"])
    parser.add_argument("of", nargs="*")
    parser.add_argument("--repeats", type=int, default=7)
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.what == "time":
        by_outputs(args.repeats)
    elif args.what == "fields":
        for cells in ("lags", "cells"):
            for samples, target in ((1, "one"), (1, "all"), (4, "all"), (16, "all")):
                print(f"{cells}, {samples} samples, {target}: {_alone('fields', samples, cells, target)}", flush=True)
    elif args.what == "rollout":
        for steps in (1, 5, 20, 80):
            for checkpoints in (1, 0):
                print(f"{steps} steps, checkpoints {checkpoints}: {_alone('rollout', steps, checkpoints)}", flush=True)
    elif args.of[0] == "fields":
        fields(int(args.of[1]), args.of[2], args.of[3])
    else:
        rollout(int(args.of[1]), args.of[2] == "1")


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main()
