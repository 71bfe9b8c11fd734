"""The table of all methods beside the bare model, and how cost grows: what ``python -m tests.benchmarks`` runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import nn

import tsattr as ta
from tests.benchmarks import comparison, run
from tests.benchmarks.harness import Run
from tsattr.edge.rehearsal import Meter

BATCH = 64


def rows() -> Iterator[tuple[str, dict[str, Run]]]:
    """Name and contenders of each row of the table. The bare model is asked about as many rows, in batches of as many."""
    for method, count in (("integrated gradients", 12), ("occlusion", 24)):
        for name in ("resnet", "gru"):
            runs = run.METHODS[method](name, 12, count, BATCH)
            runs.pop("captum" if "captum, batched" in runs else "", None)  # all rows at once: gigabytes
            yield f"{method}, {name}", runs
    yield "Shapley values, 20 columns, perceptron", _of_table(ta.ShapleySampling(ta.groups.Cells(), draws=100))
    yield "kernel SHAP, 20 columns, perceptron", _of_table(ta.KernelShap(ta.groups.Cells(), coalitions=400))
    yield "WinIT, GRU", _winit()
    yield "compare, two maps of a small network", _compare()


def _of_table(method: Any) -> dict[str, Run]:
    model, x = run.problem("table", 256)
    asked = int(ta.explain(model, x, method, target=0, dry_run="rows").model_evaluations.sum())
    batch = run.batch_rows(x, 4096)
    return {
        "bare": lambda: run.forward_loop(model, batch, asked),
        "tsattr": lambda: ta.explain(model, x, method, target=0, batch_size=4096),
    }


class Steps(nn.Module):
    """A recurrent cell read at every step."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.cell, self.head = nn.GRU(3, hidden, batch_first=True), nn.Linear(hidden, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.cell(x)[0])[..., 0]


def _winit() -> dict[str, Run]:
    torch.manual_seed(0)
    model, x = Steps(200).requires_grad_(False), torch.randn(8, 100, 3)
    method, given = (
        ta.WinIT(10, ta.baselines.Hold(dim="time")),
        {"dims": ("sample", "time", "vital"), "outputs": ("time",)},
    )
    asked = int(ta.explain(model, x, method, **given).model_evaluations.sum())
    stretch = run.batch_rows(x[:, :10], 256)  # ten steps for each row
    return {
        "bare": lambda: run.forward_loop(model, stretch, asked),
        "tsattr": lambda: ta.explain(model, x, method, **given),
    }


def _compare() -> dict[str, Run]:
    net = comparison.network()
    values = np.random.default_rng(0).normal(size=(40, 2, 252)).cumsum(-1).astype(np.float32) / 5
    b = ta.baselines
    methods = {"zero": ta.IntegratedGradients(steps=9), "mean": ta.IntegratedGradients(b.Mean("dim_2"), steps=9)}
    maps = {name: ta.explain(net, values, method, target=0) for name, method in methods.items()}
    settings: dict[str, Any] = {"target": 0, "fills": {"mean": b.Mean("dim_2")}, "controls": False}
    asked = int(ta.compare(net, values, maps, **settings).test_evaluations.sum())
    batch = run.batch_rows(torch.as_tensor(values), 1024)
    return {
        "bare": lambda: run.forward_loop(net, batch, asked),
        "tsattr": lambda: ta.compare(net, values, maps, **settings),
    }


# ---- how cost grows

# What grows, through which sizes, and the call of each: the samples, the length, the windows, the steps, the targets.
AXES: dict[str, tuple[tuple[int, ...], Callable[[int], tuple[int, int, Any, list[int]]]]] = {
    "samples": ((4, 8, 16, 32, 64), lambda k: (k, 1000, _path(8), [0])),
    "length": ((250, 500, 1000, 2000, 4000), lambda k: (4, k, _path(8), [0])),
    "windows": ((10, 20, 40, 80, 160), lambda k: (4, 1000, _windows(k), [0])),
    "steps": ((4, 8, 16, 32, 64), lambda k: (4, 1000, _path(k), [0])),
    "targets": ((1, 2, 3, 4, 5), lambda k: (4, 1000, _path(8), list(range(k)))),
}


def _path(steps: int) -> Any:
    return ta.IntegratedGradients(steps=steps, rule="gauss-legendre")


def _windows(number: int) -> Any:
    return ta.Occlusion(ta.groups.Windows(time=-(-1000 // number)), ta.baselines.Mean("time"))


def curve(axis: str, size: int, clock: Callable[[], float]) -> dict[str, float]:
    """Seconds, and MiB of tensors that live at once, of one call on the residual network."""
    n, length, method, targets = AXES[axis][1](size)
    model, _ = run.problem("resnet", 1)
    x = torch.randn(n, 12, length)

    def call() -> Any:
        return ta.explain(model, x, method, target=targets, dims=run.DIMS["resnet"], batch_size=BATCH, check=False)

    with Meter() as meter:  # also warms up
        call()
    start = clock()
    call()
    return {"size": size, "seconds": clock() - start, "MiB": meter.peak / 2**20}
