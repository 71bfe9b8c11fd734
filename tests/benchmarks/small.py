"""What a call costs beside its model: one sample of tiny models, by `explain`, a prepared call and captum; import and help.

python tests/benchmarks/small.py                  # a minute on one thread; without captum its rows are left out
"""

import argparse
import resource
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator

import numpy as np
import torch
import xarray as xr
from torch import Tensor, nn

import tsattr as ta

try:
    from captum.attr import IntegratedGradients, Saliency
except ImportError:
    IntegratedGradients = Saliency = None

STEPS, BLOCK = 20, 20
LEADS, TIMES = ["I", "II", "V1"], 40


def problems() -> Iterator[tuple[str, nn.Module, xr.DataArray | Tensor, Tensor]]:
    """Name, model, the input as it is given, and its tensor."""
    torch.manual_seed(0)
    x = torch.randn(1, 10)
    yield "linear, 10 columns", nn.Linear(10, 3), x, x
    yield "perceptron, 10 columns", nn.Sequential(nn.Linear(10, 32), nn.ReLU(), nn.Linear(32, 3)), x, x
    layers = nn.Conv1d(3, 8, 5), nn.ReLU(), nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(8, 3)
    x = torch.randn(1, len(LEADS), TIMES)
    coords = {"sample": ["a"], "lead": LEADS, "time": np.arange(TIMES) / 100}
    yield "convolutions, 3 leads x 40, labelled", nn.Sequential(*layers), xr.DataArray(x.numpy(), coords), x


def gradient(model: nn.Module, rows: Tensor) -> Tensor:
    """The bare model, forward and backward."""
    rows = rows.detach().clone().requires_grad_(True)
    return torch.autograd.grad(model(rows)[:, 1].sum(), rows)[0]


def path(model: nn.Module, x: Tensor) -> Tensor:
    """The bare integral from zero, with the prediction and the reference."""
    with torch.no_grad():
        model(x), model(torch.zeros_like(x))
    at = (torch.arange(STEPS) + 0.5) / STEPS
    return gradient(model, at.reshape(-1, *[1] * (x.ndim - 1)) * x).mean(0) * x


def contenders(model: nn.Module, given: xr.DataArray | Tensor, x: Tensor, *, integrated: bool) -> dict[str, Callable]:
    """Each way to the same map."""
    method = ta.IntegratedGradients(steps=STEPS, rule="midpoint") if integrated else ta.Saliency()
    runs = {"bare": (lambda: path(model, x)) if integrated else (lambda: gradient(model, x).abs())}
    if Saliency is not None:
        peer = IntegratedGradients(model) if integrated else Saliency(model)
        steps = {"n_steps": STEPS} if integrated else {}
        runs["captum"] = lambda: peer.attribute(x, target=1, **steps)
    runs["explain"] = lambda: ta.explain(model, given, method, target=1)
    runs["explain, check=False"] = lambda: ta.explain(model, given, method, target=1, check=False)
    if "prepare" in dir(ta):
        prepared = ta.prepare(model, given, method, target=1)
        runs["prepared"] = lambda: prepared(given)
    return runs


def times(runs: dict[str, Callable], repeats: int) -> dict[str, tuple[float, float]]:
    """Median and fastest tenth, milliseconds of CPU, in blocks by turns."""
    spent: dict[str, list[float]] = {k: [] for k in runs}
    for _ in range(repeats):
        for k, run in runs.items():
            for at in range(2 * BLOCK):
                start = time.process_time()
                run()
                if at >= BLOCK:  # the first half brings it into the caches
                    spent[k].append(1e3 * (time.process_time() - start))
    return {k: (statistics.median(v), statistics.quantiles(v, n=10)[0]) for k, v in spent.items()}


def started(*arguments: str, before: str = "") -> float:
    """Seconds of CPU of a Python process, the least of three, less those of a process that runs `before` alone."""

    def once(*words: str) -> float:
        begun = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, *words], check=True, stdout=subprocess.DEVNULL)
        ended = resource.getrusage(resource.RUSAGE_CHILDREN)
        return ended.ru_utime + ended.ru_stime - begun.ru_utime - begun.ru_stime

    less = min(once("-c", before) for _ in range(3)) if before else 0.0
    return min(once(*arguments) for _ in range(3)) - less


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=15)
    repeats = parser.parse_args().repeats
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    print(f"torch {torch.__version__}, one thread; milliseconds of CPU: median (fastest tenth), above the bare model")
    for name, model, given, x in problems():
        for integrated in (False, True):
            found = times(contenders(model, given, x, integrated=integrated), repeats)
            print(f"{name}, {f'integrated gradients, {STEPS} steps' if integrated else 'saliency'}")
            for k, (median, least) in found.items():
                print(f"  {k:24s}{median:6.2f} ({least:.2f})  {median - found['bare'][0]:+.2f}")
    libraries = "import torch, xarray"
    print("seconds of CPU: import and first use beyond torch and xarray", end=" ")
    print(f"{started('-c', f'{libraries}; import tsattr; tsattr.explain', before=libraries):.2f},", end=" ")
    print(
        f"import alone {started('-c', 'import tsattr'):.2f}, tsattr --help {started('-m', 'tsattr.cli', '--help'):.2f}"
    )


if __name__ == "__main__":
    main()
