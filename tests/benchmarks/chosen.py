"""Is a call that chooses how removals are answered ever slower than the dense one? Twelve architectures by five methods.

python tests/benchmarks/chosen.py            # three minutes on one thread
python tests/benchmarks/chosen.py gru lstm   # some of the networks
"""

import argparse
import statistics
import time
import warnings
from collections.abc import Callable

import torch
from torch import Tensor, nn

import tsattr as ta

LEADS, TIMES = 12, 1000


class Residual(nn.Module):
    """Three convolutions, two of them strided, and a residual sum."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.same = nn.Conv1d(LEADS, 32, 7, 2, 3), nn.Conv1d(32, 32, 5, 1, 2)
        self.down, self.head = nn.Conv1d(32, 64, 5, 2, 2), nn.Linear(64, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x).relu()
        x = (x + self.same(x)).relu()
        y: Tensor = self.head(self.down(x).relu().mean(-1))
        return y


class Memory(nn.Module):
    """A recurrent layer read at its last time, after a front."""

    def __init__(self, layer: nn.RNNBase, front: nn.Module | None = None) -> None:
        super().__init__()
        self.front, self.layer = front or nn.Identity(), layer
        self.head = nn.Linear(layer.hidden_size * (1 + layer.bidirectional), 3)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.head(self.layer(self.front(x).transpose(1, 2))[0][:, -1])
        return y


class Attention(nn.Module):
    """An encoder of full attention on patches, or on every tenth time."""

    def __init__(self, patches: bool) -> None:
        super().__init__()
        self.patches = nn.Conv1d(LEADS, 32, 16, 16) if patches else None
        self.embed, self.head = nn.Linear(LEADS, 32), nn.Linear(32, 3)
        self.encoder = nn.TransformerEncoderLayer(32, 4, 64, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        z = self.embed(x[:, :, ::10].transpose(1, 2)) if self.patches is None else self.patches(x).transpose(1, 2)
        y: Tensor = self.head(self.encoder(z).mean(1))
        return y


def pooled(*layers: nn.Module, width: int) -> nn.Module:
    """Layers, the mean over time, a linear one."""
    return nn.Sequential(*layers, nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(width, 3))


def _dilated() -> nn.Module:
    layers: list[nn.Module] = []
    for k in range(5):
        layers += [nn.Conv1d(24 if k else LEADS, 24, 3, dilation=2**k, padding=2**k), nn.ReLU()]
    return pooled(*layers, width=24)


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "residual": Residual,
    "dilated": _dilated,
    "gru": lambda: Memory(nn.GRU(LEADS, 32, batch_first=True)),
    "gru, both ways": lambda: Memory(nn.GRU(LEADS, 32, batch_first=True, bidirectional=True)),
    "lstm, 2 layers": lambda: Memory(nn.LSTM(LEADS, 32, 2, batch_first=True)),
    "convolution, gru": lambda: Memory(nn.GRU(24, 32, batch_first=True), nn.Conv1d(LEADS, 24, 7, 4, 3)),
    "patches, attention": lambda: Attention(patches=True),
    "attention": lambda: Attention(patches=False),
    "perceptron": lambda: nn.Sequential(nn.Flatten(), nn.Linear(LEADS * TIMES, 64), nn.ReLU(), nn.Linear(64, 3)),
    "tiny": lambda: pooled(nn.Conv1d(LEADS, 4, 9, 4, 4), nn.ReLU(), width=4),
    "group norm": lambda: pooled(
        nn.Conv1d(LEADS, 32, 7, 2, 3), nn.GroupNorm(4, 32), nn.ReLU(), nn.Conv1d(32, 32, 5, 2, 2), nn.ReLU(), width=32
    ),
    "long kernels": lambda: pooled(
        nn.Conv1d(LEADS, 16, 101, padding=50), nn.ReLU(), nn.Conv1d(16, 16, 101, padding=50), nn.ReLU(), width=16
    ),
}
_WINDOWS, _BY_LEAD = ta.groups.Windows(dim_2=50), ta.groups.Windows(dim_2=25, dim_1=1)
METHODS = {
    "occlusion, 20 windows": ta.Occlusion(_WINDOWS),
    "occlusion, 480 by lead": ta.Occlusion(_BY_LEAD),
    "Shapley, 4 orders": ta.ShapleySampling(_WINDOWS, draws=4),
    "KernelShap, 60": ta.KernelShap(_WINDOWS, coalitions=60),
    "IG, 16 steps": ta.IntegratedGradients(steps=16),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", help=f"of {', '.join(NETWORKS)}")
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    x = torch.randn(4, LEADS, TIMES)
    print(
        f"dense over chosen, CPU time, medians of {args.repeats} by turns (lowest to highest); * where it was not dense"
    )
    for name, make in NETWORKS.items():
        net, told = make().eval(), [name]
        for method in METHODS.values() if not args.networks or name in args.networks else ():
            ratios, how = [], ""
            for k in range(args.repeats + 1):
                took = {}
                for way in (None, "dense") if k % 2 else ("dense", None):
                    start = time.process_time()
                    ds = ta.explain(net, x, method, target=0, evaluation=way)
                    took[way] = time.process_time() - start
                    how = ds.attrs.get("evaluation", "") if way is None else how
                ratios.append(took["dense"] / took[None])
            ratios = ratios[1:]  # the first of a process imports
            mark = "*" if how in ("incremental", "linewise") else ""
            told.append(f"{statistics.median(ratios):.2f}{mark} ({min(ratios):.2f}-{max(ratios):.2f})")
        if len(told) > 1:
            print("| " + " | ".join(told) + " |", flush=True)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main()
