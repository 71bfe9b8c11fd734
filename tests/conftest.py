"""Tiny seeded float64 models and labelled data, as functions for tables and as fixtures for tests."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
import xarray as xr
from torch import Tensor, nn

torch.set_num_threads(1)  # tensors are tiny here: a second thread only waits for the first

LEADS, TIMES, CLASSES = 3, 12, 3


def seeded(make: Callable[[], nn.Module], seed: int = 0) -> nn.Module:
    """A module in float64 and eval mode whose weights are always the same."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return make().double().eval()


def trained_statistics(module: nn.Module, seed: int = 0) -> nn.Module:
    """Batch normalisation as if trained: means and variances that are not 0 and 1."""
    numbers = torch.Generator().manual_seed(seed)
    for m in module.modules():
        if isinstance(m, nn.modules.batchnorm._BatchNorm):
            m.running_mean.copy_(torch.randn(m.num_features, generator=numbers))
            m.running_var.copy_(torch.rand(m.num_features, generator=numbers) + 0.5)
    return module


class Recurrent(nn.Module):
    """A GRU over (rows, lead, time) that reads its state after `lengths` steps, or after the last."""

    def __init__(self) -> None:
        super().__init__()
        self.gru = nn.GRU(LEADS, 5, num_layers=2, dropout=0.4, batch_first=True)
        self.head = nn.Linear(5, CLASSES)

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        states = self.gru(x.transpose(1, 2))[0]
        last = torch.full((len(x),), x.shape[2] - 1) if lengths is None else lengths.long() - 1
        return self.head(states[torch.arange(len(x)), last])


def linear_net() -> nn.Module:
    return seeded(lambda: nn.Sequential(nn.Flatten(), nn.Linear(LEADS * TIMES, CLASSES)))


def relu_net() -> nn.Module:
    """Every kind of layer with a state or a kink: convolution, batch normalisation, ReLU, dropout, max-pooling."""
    layers = lambda: nn.Sequential(  # noqa: E731
        nn.Conv1d(LEADS, 5, 3, padding=1),
        nn.BatchNorm1d(5),
        nn.ReLU(),
        nn.Dropout(0.3),
        nn.MaxPool1d(2),
        nn.Flatten(),
        nn.Linear(5 * TIMES // 2, CLASSES),
    )
    return trained_statistics(seeded(layers))


def smooth_net() -> nn.Module:
    layers = lambda: nn.Sequential(  # noqa: E731
        nn.Conv1d(LEADS, 5, 3, padding=1),
        nn.Tanh(),
        nn.Conv1d(5, 4, 3),
        nn.Softplus(),
        nn.Flatten(),
        nn.Linear(40, CLASSES),
    )
    return seeded(layers)


def recurrent_net() -> nn.Module:
    return seeded(Recurrent)


def signals(n: int = 4, seed: int = 1) -> xr.DataArray:
    """Labelled signals whose values float32 can hold, so that precision is the only difference between dtypes."""
    values = np.random.default_rng(seed).normal(size=(n, LEADS, TIMES)).astype(np.float32).astype(np.float64)
    return xr.DataArray(
        values,
        dims=("sample", "lead", "time"),
        coords={
            "sample": [f"p{i}" for i in range(n)],
            "lead": ["I", "II", "V1"],
            "time": ("time", np.arange(TIMES) / 100, {"units": "s"}),
            "age": ("sample", 40.0 + np.arange(n), {"units": "years"}),
            "device": "A",
        },
        name="ecg",
        attrs={"units": "mV", "filtered": True, "site": "ward 3"},
    )


@pytest.fixture
def ecg() -> xr.DataArray:
    return signals()


@pytest.fixture
def train() -> xr.DataArray:
    return signals(5, seed=2)


@pytest.fixture
def linear() -> nn.Module:
    return linear_net()


@pytest.fixture
def conv() -> nn.Module:
    return relu_net()


@pytest.fixture
def smooth() -> nn.Module:
    return smooth_net()


@pytest.fixture
def recurrent() -> nn.Module:
    return recurrent_net()


class Spy:
    """A model that keeps the rows it is asked about: `plain` those asked without gradients, `graded` those with."""

    def __init__(self, model: Callable[..., Tensor]) -> None:
        self.model = model
        self.rows: list[tuple[bool, Tensor]] = []

    def __call__(self, x: Tensor, **context: Tensor) -> Tensor:
        self.rows.append((x.requires_grad, x.detach().clone()))
        return self.model(x, **context)

    def _kept(self, graded: bool) -> Tensor:
        return torch.cat([rows for g, rows in self.rows if g is graded])

    @property
    def plain(self) -> Tensor:
        return self._kept(False)

    @property
    def graded(self) -> Tensor:
        return self._kept(True)

    @property
    def count(self) -> int:
        return sum(len(rows) for _, rows in self.rows)
