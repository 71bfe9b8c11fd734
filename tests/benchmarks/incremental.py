"""Occlusion by what has changed beside the best batching of the bare loop, and captum; see README.md here.

    OMP_NUM_THREADS=1 python tests/benchmarks/incremental.py [--cases resnet-1000 ...] [--repeats 5] [--captum]

One process, one thread, CPU time, in turns; medians with the smallest and the largest ratio. The bare loop and captum ask about an
even choice of the rows and are scaled to all of them.
"""

from __future__ import annotations

import argparse
import gc
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import torch
from run import Emulator, ResNet
from torch import Tensor, nn
from torch.nn import functional as F

import tsattr as ta
from tsattr.core.evaluation.incremental.evaluation import Incremental

BATCHES = (4, 16, 64)  # of the bare loop: of each network the quickest counts
ROWS = 64  # rows that the bare loop asks about in turn
DILATIONS = (1, 2, 4, 8, 16, 32) * 2


class WaveNet(nn.Module):
    """Gated dilated causal convolutions with skips; it sees 253 steps."""

    def __init__(self, leads: int = 12, classes: int = 5, width: int = 32) -> None:
        super().__init__()
        self.first, self.head = nn.Conv1d(leads, width, 1), nn.Linear(width, classes)
        self.gates = nn.ModuleList(nn.Conv1d(width, 2 * width, 3, dilation=d) for d in DILATIONS)
        self.onward = nn.ModuleList(nn.Conv1d(width, width, 1) for _ in DILATIONS)
        self.skips = nn.ModuleList(nn.Conv1d(width, width, 1) for _ in DILATIONS)

    def forward(self, x: Tensor) -> Tensor:
        x, total = self.first(x), torch.zeros(())
        for gate, onward, skip, d in zip(self.gates, self.onward, self.skips, DILATIONS):
            a, b = gate(F.pad(x, (2 * d, 0))).chunk(2, 1)
            y = torch.tanh(a) * torch.sigmoid(b)
            total, x = skip(y) + total, onward(y) + x
        return self.head(F.relu(total).mean(-1))


def two(n: int, inner: int, outer: int, kernel: int) -> nn.Sequential:
    """Two convolutions over `n` axes with their norms."""
    conv, norm = (nn.Conv1d, nn.Conv2d)[n - 1], (nn.BatchNorm1d, nn.BatchNorm2d)[n - 1]
    layers = []
    for i in (inner, outer):
        layers += [conv(i, outer, kernel, 1, kernel // 2), norm(outer), nn.ReLU()]
    return nn.Sequential(*layers)


class UNet(nn.Module):
    """Three levels over one axis or two, read as a field."""

    def __init__(self, n: int, channels: int, width: int, kernel: int, outputs: int) -> None:
        super().__init__()
        conv, up = (nn.Conv1d, nn.Conv2d)[n - 1], (nn.ConvTranspose1d, nn.ConvTranspose2d)[n - 1]
        self.pool = (F.max_pool1d, F.max_pool2d)[n - 1]
        w = (width, 2 * width, 4 * width if n == 1 else 2 * width)
        self.down = nn.ModuleList(
            [two(n, channels, w[0], kernel), two(n, w[0], w[1], kernel), two(n, w[1], w[2], kernel)]
        )
        self.rise = nn.ModuleList([up(w[2], w[1], 2, 2), up(w[1], w[0], 2, 2)])
        self.up = nn.ModuleList([two(n, 2 * w[1], w[1], kernel), two(n, 2 * w[0], w[0], kernel)])
        self.out = conv(w[0], outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        a = self.down[0](x)
        b = self.down[1](self.pool(a, 2))
        y = self.up[0](torch.cat([self.rise[0](self.down[2](self.pool(b, 2))), b], 1))
        return self.out(self.up[1](torch.cat([self.rise[1](y), a], 1)))


class InceptionTime(nn.Module):
    """Six blocks of parallel convolutions of 39, 19 and 9 steps and a pooling, two shortcuts."""

    def __init__(self, leads: int = 12, classes: int = 5, width: int = 16) -> None:
        super().__init__()
        sizes = [leads, *[4 * width] * 5]
        self.bottle = nn.ModuleList(nn.Conv1d(i, width, 1, bias=False) for i in sizes)
        self.convs = nn.ModuleList(
            nn.ModuleList(nn.Conv1d(width, width, k, padding=k // 2, bias=False) for k in (39, 19, 9)) for _ in sizes
        )
        self.pooled = nn.ModuleList(nn.Conv1d(i, width, 1, bias=False) for i in sizes)
        self.norms = nn.ModuleList(nn.BatchNorm1d(4 * width) for _ in sizes)
        self.short = nn.ModuleList(nn.Conv1d(i, 4 * width, 1, bias=False) for i in (leads, 4 * width))
        self.head = nn.Linear(4 * width, classes)

    def forward(self, x: Tensor) -> Tensor:
        kept = x
        for k, (bottle, convs, pooled, norm) in enumerate(zip(self.bottle, self.convs, self.pooled, self.norms)):
            z = bottle(x)
            x = F.relu(norm(torch.cat([*(conv(z) for conv in convs), pooled(F.max_pool1d(x, 3, 1, 1))], 1)))
            if k % 3 == 2:
                kept = x = F.relu(x + self.short[k // 3](kept))
        return self.head(x.mean(-1))


class Box(nn.Module):
    """A field of 88 x 176 cells, read as the mean over a box."""

    def __init__(self) -> None:
        super().__init__()
        self.net = UNet(2, 36, 24, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x[:, :, :88, :176])[:, :, 40:50, 95:120].mean((2, 3))


LEADS, FIELD = ("sample", "lead", "time"), ("sample", "lag", "lat", "lon")
ONE, ALL, BOXES = {"time": 25, "lead": 1}, {"time": 25}, {"lag": 3, "lat": 5, "lon": 5}
# Of each case: the network, the shape of a sample, its dims, the windows, samples, the goal.
CASES: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...], tuple[str, ...], dict[str, int], int, float]] = {
    "resnet-1000": (ResNet, (12, 1000), LEADS, ONE, 4, 3),
    "resnet-1000-all": (ResNet, (12, 1000), LEADS, ALL, 32, 3),
    "resnet-5000": (ResNet, (12, 5000), LEADS, ONE, 1, 12),
    "resnet-5000-all": (ResNet, (12, 5000), LEADS, ALL, 8, 12),
    "wavenet-1000": (WaveNet, (12, 1000), LEADS, ONE, 2, 2.5),
    "wavenet-5000": (WaveNet, (12, 5000), LEADS, ONE, 1, 10),
    "unet-1000": (lambda: UNet(1, 12, 16, 7, 4), (12, 1000), LEADS, ONE, 4, 3.5),
    "unet-5000": (lambda: UNet(1, 12, 16, 7, 4), (12, 5000), LEADS, ONE, 1, 11),
    "inception-1000": (InceptionTime, (12, 1000), LEADS, ONE, 2, 3),
    "emulator": (Emulator, (36, 89, 180), FIELD, {"lag": 9, "lat": 5, "lon": 5}, 1, 7),
    "unet-2d": (Box, (36, 89, 180), FIELD, {"lag": 9, "lat": 5, "lon": 5}, 1, 6),
}


def target(y: Tensor) -> Tensor:
    """One number of the outputs, whatever they are."""
    return y.flatten(1)[:, y[0].numel() // 2]


def rows_of(x: Tensor, dims: tuple[str, ...], windows: dict[str, int]) -> list[tuple[slice, ...]]:
    """The boxes of the windows, in order."""
    along = []
    for d, n in zip(dims[1:], x.shape[1:]):
        w = windows.get(d, n)
        along.append([slice(s, min(s + w, n)) for s in range(0, n, w)])
    found: list[tuple[slice, ...]] = [()]
    for each in along:
        found = [(*box, s) for box in found for s in each]
    return found


class Case:
    """A network, samples, and the same question to each contender."""

    def __init__(self, name: str) -> None:
        make, shape, self.dims, self.windows, n, self.goal = CASES[name]
        torch.manual_seed(0)
        self.model, self.x = make(), torch.randn(n, *shape)
        self.model(self.x[:1].repeat(4, *[1] * len(shape)) + torch.randn(4, *shape))  # trained-looking statistics
        self.model.eval().requires_grad_(False)
        self.boxes = rows_of(self.x, self.dims, self.windows)
        self.rows = n * len(self.boxes)
        chosen = torch.linspace(0, len(self.boxes) - 1, min(ROWS, len(self.boxes))).round().long().tolist()
        self.chosen = [self.boxes[k] for k in chosen]
        self.prices: list[Any] = []

    def bare(self, batch: int) -> float:
        """CPU seconds of all rows in the bare loop."""
        began = time.process_time()
        with torch.no_grad():
            for at in range(0, len(self.chosen), batch):
                part = self.chosen[at : at + batch]
                rows = self.x[:1].repeat(len(part), *[1] * (self.x.ndim - 1))
                for row, box in zip(rows, part):
                    row[box] = 0
                target(self.model(rows))
        return (time.process_time() - began) * self.rows / len(self.chosen)

    def ours(self, **settings: Any) -> tuple[float, Any]:
        """CPU seconds of the call, and its result."""
        method, counted = ta.Occlusion(ta.groups.Windows(**self.windows)), Incremental._counted

        def spied(own: Any, few: Any) -> Any:
            self.prices.append(counted(own, few))
            return self.prices[-1]

        with mock.patch.object(Incremental, "_counted", spied):
            began = time.process_time()
            found = ta.explain(self.model, self.x, method, target=target, dims=self.dims, **settings)
            return time.process_time() - began, found

    def captum(self, each: int) -> float:
        """CPU seconds of captum, for one sample, scaled to all."""
        from captum.attr import Occlusion

        window = tuple(self.windows.get(d, n) for d, n in zip(self.dims[1:], self.x.shape[1:]))
        began = time.process_time()
        Occlusion(lambda x: target(self.model(x))).attribute(self.x[:1], window, window, perturbations_per_eval=each)
        return (time.process_time() - began) * len(self.x)


def measured(name: str, repeats: int, captum: bool) -> Iterator[str]:
    """A row of the table."""
    case = Case(name)
    quickest = min(BATCHES, key=case.bare)
    ratios, theirs, spent = [], [], []
    for repeat in range(repeats + 1):
        gc.collect()
        bare = case.bare(quickest)
        seconds, found = case.ours()
        if repeat:  # the first warms up
            ratios.append(bare / seconds)
            spent.append(seconds)
            if captum:
                theirs.append(case.captum(quickest) / seconds)
    dense = case.ours(evaluation="dense")[1]
    gap = float(abs(found.attribution - dense.attribution).max() / abs(dense.prediction).max())
    price = case.prices[-1]
    limit = price.whole.products / (price.changed.products / price.rows)
    over = f"{statistics.median(ratios):.1f} ({min(ratios):.1f}-{max(ratios):.1f})"
    beside = f"{statistics.median(theirs):.1f}" if theirs else "-"
    yield (
        f"| {name} | {case.rows} | {statistics.median(spent):.2f} | **{over}** | {beside} | {case.goal} | {limit:.1f} | {gap:.0e} | "
        f"{found.attrs.get('evaluation')} |"
    )


def main() -> None:
    """Print the table."""
    torch.set_num_threads(1)
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", nargs="*", default=list(CASES))
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--captum", action="store_true")
    given = parser.parse_args()
    print(
        "| case | rows | seconds | over the bare loop | over captum | goal | multiply-adds | difference | evaluation |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    for name in given.cases:
        for line in measured(name, given.repeats, given.captum):
            print(line, flush=True)


if __name__ == "__main__":
    main()
