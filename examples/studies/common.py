"""What the studies share: where the data are, a small network and its training, and how results are written."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import torch
import xarray as xr
from torch import Tensor, nn

import tsattr as ta
from tsattr.io import write_netcdf

matplotlib.use("Agg")
from matplotlib.figure import Figure  # noqa: E402 - after the backend is chosen

_ROOT = Path(__file__).resolve().parents[2]


def data_folder(*parts: str) -> Path:
    """A folder of the real data, or exit code 2 and where to put them."""
    root = Path(os.environ.get("TSATTR_DATA", _ROOT / ".." / "shared" / "data")).resolve()
    folder = root.joinpath(*parts)
    if not folder.is_dir():
        print(f"no data in {folder}; set TSATTR_DATA to the folder that holds {'/'.join(parts)}", file=sys.stderr)
        raise SystemExit(2)
    return folder


def arguments(doc: str, *, study: str) -> argparse.ArgumentParser:
    """The options that every study has."""
    parser = argparse.ArgumentParser(description=doc.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("studies") / study, help="folder for the results")
    parser.add_argument("--quick", action="store_true", help="fewer samples and draws, for a look within a minute or two")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2, help="threads of torch")
    return parser


def begin(args: argparse.Namespace) -> Callable[[str], None]:
    """Make the folder, fix seed and threads; returns a `print` that shows the seconds since now."""
    args.out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(args.seed)
    torch.set_num_threads(args.threads)
    start = time.perf_counter()
    return lambda text: print(f"[{time.perf_counter() - start:5.0f} s] {text}", flush=True)


class SignalNet(nn.Module):
    """Strided convolutions, means over parts of the time, and a linear layer that may see more beside the signal.

    Parameters
    ----------
    channels, classes, beside
        Numbers of leads, of logits, and of numbers beside the signal.
    widths, kernels
        Channels and kernel sizes of the convolutions, each of stride 2.
    parts
        Number of parts of the time that are averaged by themselves.
    activation
        The module class between layers.
    """

    def __init__(
        self,
        channels: int,
        classes: int,
        *,
        beside: int = 0,
        widths: Sequence[int] = (24, 32, 48),
        kernels: Sequence[int] = (11, 9, 7),
        parts: int = 1,
        dropout: float = 0.0,
        activation: Callable[[], nn.Module] = nn.ReLU,
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for i, o, k in zip((channels, *widths), widths, kernels):
            layers += [nn.Conv1d(i, o, k, 2, k // 2, bias=False), nn.BatchNorm1d(o), activation()]
        self.trunk = nn.Sequential(*layers, nn.AdaptiveAvgPool1d(parts), nn.Flatten(), nn.Dropout(dropout))
        self.hidden = nn.Sequential(nn.Linear(widths[-1] * parts + beside, 32), activation())
        self.head = nn.Linear(32, classes)

    def forward(self, x: Tensor, beside: Tensor | None = None) -> Tensor:
        features = self.trunk(x)
        if beside is not None:
            features = torch.cat([features, beside], 1)
        return self.head(self.hidden(features))


def fit(
    model: nn.Module,
    inputs: Sequence[np.ndarray],
    y: np.ndarray,
    loss: Callable[[Tensor, Tensor], Tensor],
    *,
    epochs: int,
    seed: int = 0,
    batch: int = 64,
    shift: int = 0,
) -> nn.Module:
    """Train by AdamW with a one-cycle learning rate; the signal (the first input) moved at random by up to `shift` cells."""
    rng = np.random.default_rng(seed)
    rows, labels = [torch.as_tensor(v) for v in inputs], torch.as_tensor(y)
    pieces = -(-len(labels) // batch)
    optimiser = torch.optim.AdamW(model.parameters(), weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=4e-3, total_steps=epochs * pieces)
    model.train()
    for _ in range(epochs):
        for at in np.array_split(rng.permutation(len(labels)), pieces):
            signal, *beside = (v[at] for v in rows)
            moved = torch.roll(signal, int(rng.integers(-shift, shift + 1)), -1)
            optimiser.zero_grad()
            loss(model(moved, *beside), labels[at]).backward()
            optimiser.step()
            schedule.step()
    return model.eval()


@torch.no_grad()
def logits(model: nn.Module, *inputs: np.ndarray) -> np.ndarray:
    """What a model in eval mode says of all rows."""
    return model(*(torch.as_tensor(v) for v in inputs)).numpy()


def parameters(model: nn.Module) -> int:
    """Number of trainable numbers."""
    return sum(p.numel() for p in model.parameters())
