"""One call on all samples beside two of half of them: torch's own threads, Python's threads, processes. Wall time.

python -m tests.benchmarks.parallel           # a few minutes on two cores; only where nothing else runs are the figures worth much
"""

from __future__ import annotations

import argparse
import multiprocessing
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from torch import nn

import tsattr as ta
from tests.benchmarks import run
from tests.benchmarks.harness import BARE, race

METHODS = {
    "integrated gradients, 20 steps": lambda: ta.IntegratedGradients(steps=20, rule="gauss-legendre"),
    "occlusion, 40 windows": lambda: ta.Occlusion(ta.groups.Windows(time=50, step=25)),
}


def call(model: nn.Module, name: str, method: str, x: torch.Tensor, threads: int = 1) -> np.ndarray:
    """The map of some samples, by torch with so many threads."""
    torch.set_num_threads(threads)
    return ta.explain(model, x, METHODS[method](), target=0, dims=run.DIMS[name])["attribution"].values


def contenders(name: str, method: str, n: int, pools: dict[str, Any]) -> dict[str, Callable[[], Any]]:
    """By one thread; by two of torch; and two halves by each kind of worker."""
    model, x = run.problem(name, n)

    def halves(pool: Any) -> np.ndarray:
        return np.concatenate(
            [f.result() for f in [pool.submit(call, model, name, method, half) for half in x.chunk(2)]]
        )

    runs: dict[str, Callable[[], Any]] = {
        BARE: lambda: call(model, name, method, x),
        "two threads of torch": lambda: call(model, name, method, x, threads=2),
    }
    return runs | {kind: lambda pool=pool: halves(pool) for kind, pool in pools.items()}


def main() -> None:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=16)
    parser.add_argument("--turns", type=int, default=5)
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    print("| method, model | one thread, s | " + " | ".join(KINDS) + " |\n|---|---|---|---|---|")
    with ThreadPoolExecutor(2) as threads, ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as processes:
        pools = dict(zip(KINDS[1:], (threads, processes)))
        for method in METHODS:
            for name in ("resnet", "gru"):
                runs = contenders(name, method, args.samples, pools)
                ratios, found = race(runs, args.turns, clock=time.perf_counter)
                largest = abs(found[BARE]).max()
                assert all(abs(v - found[BARE]).max() < 1e-3 * largest for v in found.values())
                shown = " | ".join(str(r) for kind, r in ratios.items() if kind != BARE)
                print(f"| {method}, {name} | {ratios[BARE].seconds:.2f} | {shown} |", flush=True)


KINDS = ("two threads of torch", "two threads of Python", "two processes")

if __name__ == "__main__":
    main()
