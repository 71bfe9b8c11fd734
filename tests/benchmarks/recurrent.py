"""Occlusion of recurrent networks by what has changed beside the best batching of the bare loop; see README.md here.

    OMP_NUM_THREADS=1 python tests/benchmarks/recurrent.py [--cases gru-last ...] [--repeats 5]

One process, one thread, CPU time, in turns; medians with the smallest and the largest ratio. "To the end" never stops early: what
begins at the state before a window goes on to the end of the series.
"""

from __future__ import annotations

import argparse
import gc
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor, nn

import tsattr as ta

TIMES, LEADS, WINDOW, SAMPLES = 1000, 12, 25, 4
BATCHES = (16, 64, 256)  # of the bare loop: of each network the quickest counts


class Series(nn.Module):
    """Recurrent layers over 12 leads, read at the last step, by the mean of all, or at each."""

    def __init__(self, kind: type[nn.RNNBase], read: str = "last", layers: int = 1, both: bool = False) -> None:
        super().__init__()
        self.cell = kind(LEADS, 64, layers, batch_first=True, bidirectional=both)
        self.head, self.read = nn.Linear(64 * (1 + both), 5), read

    def forward(self, x: Tensor) -> Tensor:
        h = self.cell(x)[0]
        return self.head(h[:, -1] if self.read == "last" else h.mean(1) if self.read == "mean" else h)


def long_memory() -> Series:
    """An LSTM whose forget gates are open: a cell keeps what it holds for some 150 steps."""
    model = Series(nn.LSTM)
    model.cell.bias_hh_l0.data[64:128] = 5.0
    return model


# Of each case: the network, where windows begin, the goal.
CASES: dict[str, tuple[Callable[[], nn.Module], int, float]] = {
    "gru-last": (lambda: Series(nn.GRU), 0, 1.8),
    "gru-last-second-half": (lambda: Series(nn.GRU), TIMES // 2, 3),
    "gru-mean": (lambda: Series(nn.GRU, "mean"), 0, 3),
    "gru-each": (lambda: Series(nn.GRU, "each"), 0, 3),
    "lstm-2-last": (lambda: Series(nn.LSTM, layers=2), 0, 3),
    "lstm-long-memory": (long_memory, 0, 1.4),
    "rnn-last": (lambda: Series(nn.RNN), 0, 1.8),
    "bigru-mean": (lambda: Series(nn.GRU, "mean", both=True), 0, 1.4),
    "bigru-each": (lambda: Series(nn.GRU, "each", both=True), 0, 1.4),
    "bigru-2-mean": (lambda: Series(nn.GRU, "mean", 2, True), 0, 1.4),
}


def target(y: Tensor) -> Tensor:
    """One number of the outputs, whatever they are."""
    return y[:, 0] if y.ndim == 2 else y[:, -20, 0]


class Case:
    """A network, samples, and the same question to each contender."""

    def __init__(self, name: str) -> None:
        make, self.begin, self.goal = CASES[name]
        torch.manual_seed(0)
        self.model, self.x = make().eval().requires_grad_(False), torch.randn(SAMPLES, TIMES, LEADS)
        number = np.full((TIMES, LEADS), -1)
        self.boxes = [(t, lead) for t in range(self.begin, TIMES, WINDOW) for lead in range(LEADS)]
        for k, (t, lead) in enumerate(self.boxes):
            number[t : t + WINDOW, lead] = k
        labels = xr.DataArray(number, dims=("time", "lead"))
        whole = ta.groups.Windows(time=WINDOW, lead=1)
        self.method = ta.Occlusion(ta.groups.Labelled(labels) if self.begin else whole)
        self.rows = SAMPLES * len(self.boxes)

    def bare(self, batch: int) -> float:
        """CPU seconds of the bare loop."""
        began = time.process_time()
        with torch.no_grad():
            for x in self.x:
                for at in range(0, len(self.boxes), batch):
                    part = self.boxes[at : at + batch]
                    rows = x.repeat(len(part), 1, 1)
                    for row, (t, lead) in zip(rows, part):
                        row[t : t + WINDOW, lead] = 0
                    target(self.model(rows))
        return time.process_time() - began

    def ours(self, **settings: Any) -> tuple[float, Any]:
        """CPU seconds of the call, and its result."""
        began = time.process_time()
        found = ta.explain(self.model, self.x, self.method, target=target, dims=("sample", "time", "lead"), **settings)
        return time.process_time() - began, found

    def to_the_end(self) -> float:
        """The same where no row stops before the end of its series."""
        return self.ours(evaluation="exact")[0]


def measured(name: str, repeats: int) -> Iterator[str]:
    """A row of the table."""
    case = Case(name)
    quickest = min(BATCHES, key=case.bare)
    ratios, to_end, spent = [], [], []
    for repeat in range(repeats + 1):
        gc.collect()
        bare = case.bare(quickest)
        seconds, found = case.ours()
        end = case.to_the_end()
        if repeat:  # the first warms up
            ratios.append(bare / seconds)
            to_end.append(bare / end)
            spent.append(seconds)
    dense = case.ours(evaluation="dense")[1]
    gap = float(abs(found.attribution - dense.attribution).max() / abs(dense.prediction).max())
    over, until = (f"{statistics.median(r):.1f} ({min(r):.1f}-{max(r):.1f})" for r in (ratios, to_end))
    yield (
        f"| {name} | {case.rows} | {quickest} | {statistics.median(spent):.2f} | **{over}** | {until} | {case.goal} | {gap:.0e} | "
        f"{found.attrs.get('evaluation')} |"
    )


def main() -> None:
    """Print the table."""
    torch.set_num_threads(1)
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", nargs="*", default=list(CASES))
    parser.add_argument("--repeats", type=int, default=5)
    given = parser.parse_args()
    print("| case | rows | bare batch | seconds | over the bare loop | to the end | goal | difference | evaluation |")
    print("|---|---|---|---|---|---|---|---|---|")
    for name in given.cases:
        for line in measured(name, given.repeats):
            print(line, flush=True)


if __name__ == "__main__":
    main()
