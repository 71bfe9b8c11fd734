"""Tiny seeded float64 models and labelled data, as functions for tables and as fixtures for tests."""

from collections.abc import Callable

import pytest
import torch
import xarray as xr
from torch import Tensor, nn

import tsattr
from tsattr.models import Coupling
from tsattr.testing.cases import CLASSES, LEADS, seeded, signals
from tsattr.testing.cases import TIMES as TIMES
from tsattr.testing.cases import linear as linear_net
from tsattr.testing.cases import network as relu_net
from tsattr.testing.cases import trained_statistics as trained_statistics

torch.set_num_threads(1)  # tensors are tiny here: a second thread only waits for the first


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


def attention_net() -> tsattr.LFICAM:
    """An LFICAM whose trunk has every kind of layer that has a state."""
    layers = lambda: nn.Sequential(  # noqa: E731
        nn.Conv1d(LEADS, 5, 3, padding=1), nn.BatchNorm1d(5), nn.ReLU(), nn.Dropout(0.3), nn.MaxPool1d(2)
    )
    net = seeded(lambda: tsattr.LFICAM(layers(), CLASSES))
    trained_statistics(net)
    return net


def recurrent_net() -> nn.Module:
    return seeded(Recurrent)


def coupling_net(shape: int | tuple[int, ...] = (LEADS, TIMES), **settings: object) -> Coupling:
    """An invertible network whose couplings are not 0, as they are before training."""

    def make() -> Coupling:
        net = Coupling(shape, CLASSES, **{"width": 6, "kernel": 3} | settings)
        for block in net.blocks:
            for last in (block.f[-1], block.g[-1]):
                last.reset_parameters()
        return net

    return seeded(make)


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
