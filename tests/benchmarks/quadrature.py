"""Points of the path that refined integrated gradients take, beside those that captum needs for the same error; see README.md here.

python tests/benchmarks/quadrature.py                  # about half an hour on one thread, nearly all for the reference
python tests/benchmarks/quadrature.py --points 2000    # a coarser reference: a few minutes

Five networks in float64, trained for a few seconds on three shapes in coloured noise; 32 samples, a baseline of 0, the predicted class.
The error of a map is the root-sum-square of its difference to the reference over that of the reference; its 95th percentile counts.
"""

from __future__ import annotations

import argparse
import warnings

import captum.attr
import numpy as np
import torch
from run import Block
from torch import Tensor, nn
from torch.nn import functional as F

import tsattr as ta

TOLERANCES = (0.05, 0.02, 0.01, 0.005, 0.002)
COUNTS = (
    3,
    4,
    5,
    6,
    7,
    8,
    9,
    10,
    12,
    14,
    16,
    18,
    20,
    24,
    28,
    32,
    40,
    50,
    60,
    75,
    90,
    110,
    140,
    180,
    230,
    300,
    400,
    550,
    700,
)
METHODS = ("gausslegendre", "riemann_middle", "riemann_trapezoid", "riemann_left", "riemann_right")


class Recurrent(nn.Module):
    """A GRU read at its last step."""

    def __init__(self) -> None:
        super().__init__()
        self.cell, self.head = nn.GRU(2, 32, batch_first=True), nn.Linear(32, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.cell(x.mT)[0][:, -1])


class Transformer(nn.Module):
    """Two layers of attention with GELU, read as a mean."""

    def __init__(self) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(32, 4, 64, 0.0, "gelu", batch_first=True, norm_first=True)
        self.inner, self.place = nn.Linear(2, 32), nn.Parameter(0.1 * torch.randn(64, 32))
        self.body, self.head = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False), nn.Linear(32, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(self.inner(x.mT) + self.place).mean(1))


def cnn() -> nn.Module:
    """Three convolutions with ReLU and max-pooling."""
    return nn.Sequential(nn.Conv1d(2, 16, 7, padding=3), nn.ReLU(), nn.MaxPool1d(2), nn.Conv1d(16, 32, 5, padding=2), nn.ReLU(), nn.MaxPool1d(2), nn.Conv1d(32, 32, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(32, 3))  # fmt: skip


def resnet() -> nn.Module:
    """Nine convolutions in four blocks with shortcuts."""
    return nn.Sequential(nn.Conv1d(2, 12, 15, 2, 7, bias=False), nn.BatchNorm1d(12), nn.ReLU(), Block(12, 12), Block(12, 24, 2), Block(24, 24), Block(24, 48, 2), nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(48, 3))  # fmt: skip


def perceptron() -> nn.Module:
    """Two hidden layers with tanh."""
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 3))


NETWORKS = {"ReLU CNN, max-pool": (cnn, 128), "ResNet-1D": (resnet, 128), "GRU": (Recurrent, 64), "transformer, GELU": (Transformer, 64), "tanh perceptron": (perceptron, 32)}  # fmt: skip


def data(n: int, times: int) -> tuple[Tensor, Tensor]:
    """A hump, a wave or a hat somewhere in one of two leads of coloured noise, and which it is."""
    rng = np.random.default_rng(1)
    x, noise, kind = np.zeros((n, 2, times)), rng.normal(size=(n, 2, times)), rng.integers(0, 3, n)
    for t in range(times):
        x[..., t] = (0.8 * x[..., t - 1] if t else 0) + 0.5 * noise[..., t]
    for k in range(n):
        w = (np.arange(times) - rng.uniform(0.25, 0.75) * times) / (0.04 * times)
        x[k, rng.integers(0, 2)] += 3 * np.exp(-(w**2) / 2) * [1, -1.6 * w, 1.2 * (1 - w**2)][kind[k]]
    return torch.as_tensor(x), torch.as_tensor(kind)


def trained(name: str) -> tuple[nn.Module, Tensor, Tensor]:
    """A network, samples that it has not seen, and the classes that it predicts."""
    torch.manual_seed(0)
    make, times = NETWORKS[name]
    net, (x, kind) = make(), data(1500, times)
    optimizer = torch.optim.Adam(net.parameters(), 3e-3)
    for _ in range(30):
        for at in torch.randperm(1200).split(64):
            optimizer.zero_grad()
            F.cross_entropy(net(x[at].float()), kind[at]).backward()
            optimizer.step()
    net = net.double().eval().requires_grad_(False)
    return net, x[1200:1232], net(x[1200:1232]).argmax(1)


def reference(net: nn.Module, x: Tensor, kind: Tensor, points: int) -> Tensor:
    """Maps by midpoints, in float64."""
    maps = torch.zeros_like(x)
    for k, row in enumerate(x):
        for t in ((torch.arange(points, dtype=torch.float64) + 0.5) / points).split(500):
            rows = (row * t[:, None, None]).requires_grad_(True)
            maps[k] += torch.autograd.grad(net(rows)[:, kind[k]].sum(), rows)[0].sum(0)
    return maps * x / points


def error(maps: Tensor, truth: Tensor) -> float:
    """The 95th percentile of relative errors."""
    apart = (maps - truth).flatten(1).norm(dim=1) / truth.flatten(1).norm(dim=1)
    return float(np.quantile(apart.numpy(), 0.95))


def refined(net: nn.Module, x: Tensor, kind: Tensor, tolerance: float) -> tuple[Tensor, float]:
    """Maps, and the mean of all rows that a sample took."""
    maps, rows = torch.zeros_like(x), torch.zeros(len(x))
    for c in kind.unique().tolist():
        at = kind == c
        ds = ta.explain(net, x[at], ta.IntegratedGradients(tolerance=tolerance), target=c, check=False)
        maps[at], rows[at] = (
            torch.as_tensor(ds.attribution.values),
            torch.as_tensor(ds.model_evaluations.values).float(),
        )
    return maps, float(rows.mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--points", type=int, default=20_000)
    args = parser.parse_args()
    torch.set_num_threads(1)
    print(
        "| network | tolerance | rows a sample | error | captum's points | its method | ratio |\n|---|---|---|---|---|---|---|"
    )
    for name in NETWORKS:
        net, x, kind = trained(name)
        truth, explainer = reference(net, x, kind, args.points), captum.attr.IntegratedGradients(net)
        theirs = {}
        for n in COUNTS:
            found = {
                m: explainer.attribute(x, target=kind, n_steps=n, method=m, internal_batch_size=256) for m in METHODS
            }
            theirs[n] = min((error(maps.detach(), truth), m) for m, maps in found.items())
        for tolerance in TOLERANCES:
            maps, rows = refined(net, x, kind, tolerance)
            own = error(maps, truth)
            n = next((n for n in COUNTS if theirs[n][0] <= own), None)
            needed = f"{n} | {theirs[n][1]} | {rows / n:.2f}" if n else f"over {COUNTS[-1]} | |"
            print(f"| {name} | {tolerance} | {rows:.1f} | {own:.1e} | {needed} |", flush=True)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main()
