"""What the studies share: where the data are, a small network and its training, and how results are written."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor, nn

import tsattr as ta
from tsattr.io import write_netcdf

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
    parser.add_argument("--out", type=Path, default=Path("out") / study, help="folder for the results")
    parser.add_argument(
        "--quick", action="store_true", help="fewer samples and draws, for a look within a minute or two"
    )
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


def path_methods(reference: xr.DataArray, *, rows: int, blur: str, noise: float, rank: int) -> dict[str, Any]:
    """Integrated gradients with nine baselines, each asking for about `rows` rows of the model a sample.

    Those of Sturmfels, Lundberg and Lee (Distill, 2020), with the sample's own mean beside zero for a constant; and two
    that keep more of what data look like, their spectrum and their covariance.
    """
    b, draws = ta.baselines, 5
    path = ta.IntegratedGradients
    methods = {
        "IG zero": path(b.Constant(0.0)),
        "IG own mean": path(b.Mean()),
        "IG blurred": path(b.Blur(time=blur)),
        "IG maximum distance": path(b.MaximumDistance.fit(reference)),
        "IG uniform": path(b.Uniform.fit(reference), draws=draws),
        "IG Gaussian": path(b.Gaussian(noise), draws=draws),
        "IG training": path(b.Samples.fit(reference), steps=1),
        "IG phase-randomised": path(b.PhaseRandomised(), draws=draws),
        "IG normal draws": path(b.ConditionalGaussian.fit(reference, rank=rank, draw=True), steps=1),
    }
    return {name: method.within(rows) for name, method in methods.items()}


def fills(reference: xr.DataArray, *, blur: str) -> dict[str, Any]:
    """Four ways to take something away."""
    b = ta.baselines
    return {"mean": b.Mean(), "blur": b.Blur(time=blur), "bridge": b.Bridge(), "training": b.Samples.fit(reference)}


def by_removal(table: xr.Dataset, measure: str, ranking: str) -> xr.DataArray:
    """A measure (method, sample) over the fills but those of a method's own kind, turned so that higher is better."""
    cells = table[measure].sel(ranking=ranking).transpose("method", "fill", "sample")
    sign = -1 if table[measure].attrs["better"] == "lower" else 1
    return sign * cells.isel(fill=0, drop=True).copy(data=ta.metrics.adjusted(cells.values, table.own_fill.values))


def scoreboard(table: xr.Dataset, *, measure: str = "gap") -> str:
    """A measure of each method under each ranking: by fill, over the fills not its own with its interval, best first."""
    parts = []
    for ranking in table.ranking.values:
        here = table.sel(measure=measure, ranking=ranking)
        by_fill = table[measure].sel(ranking=ranking).mean("sample")
        frame = by_fill.transpose("method", "fill").to_pandas().round(3).astype(str)
        frame = frame.mask(table.own_fill.to_pandas(), frame + "*")
        ends = zip(here.score.values, here.score_low.values, here.score_high.values)
        frame["score [95 %]"] = [f"{s:.3f} [{low:.3f}, {high:.3f}]" for s, low, high in ends]
        sign = -1 if str(here.better.values) == "lower" else 1
        parts.append(
            f"{measure}, {ranking} ranking ({here.better.item()} is better; * the method's own kind of fill, left out)\n"
            + frame.iloc[np.argsort(-sign * here.score.values)].rename_axis(None).rename_axis(None, axis=1).to_string()
        )
    return "\n\n".join(parts)


def off_data(table: xr.Dataset) -> str:
    """How far off clean data half a removal is, by fill."""
    both = zip(table.fill.values, table.fill_shift.values, table.fill_auc.values)
    told = (f"{fill} {shift:.0%}, {auc:.2f}" for fill, shift, auc in both)
    return "half removed: share beyond the 99th percentile of clean data, AUC of a classifier\n" + "; ".join(told)


def save(out: Path, table: xr.Dataset, *, title: str, notes: Sequence[str] = ()) -> None:
    """Write a comparison as ``table.nc`` and ``report.html``."""
    write_netcdf(table, out / "table.nc")
    ta.report.comparison(table, title=title, out=out / "report.html", notes=notes)
