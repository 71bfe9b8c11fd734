"""The network of a transformation, what it is trained by, and its weights as one vector."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn


class Branches(nn.Module):
    """The old embedding and the side information through two layers each, joined by two more (Ramanujan et al., 2022).

    Gives the new embedding, and last the logarithm of the mean variance of its numbers.

    Parameters
    ----------
    old, side, new
        Numbers of each; no branch for what has none.
    most
        Width that no layer exceeds.
    """

    def __init__(self, old: int, side: int, new: int, most: int) -> None:
        super().__init__()
        self.sizes = [old, side]
        wide = min(2 * new, most)
        self.branches = nn.ModuleList(
            nn.Sequential(*_layer(n, min(2 * n, most)), *_layer(min(2 * n, most), wide)) for n in self.sizes if n
        )
        both = wide * len(self.branches)
        self.joined = nn.Sequential(*_layer(both, both), nn.Linear(both, new + 1))

    def forward(self, inputs: Tensor) -> Tensor:
        """(rows, new + 1) of rows (rows, old + side)."""
        parts = [part for part in inputs.split(self.sizes, 1) if part.shape[1]]
        joined: Tensor = self.joined(torch.cat([branch(part) for branch, part in zip(self.branches, parts)], 1))
        return joined

    def state(self) -> np.ndarray:
        """Parameters, and the means and variances of batch normalisation, as one vector."""
        return torch.cat([v.detach().double().reshape(-1) for v in self.state_dict().values()]).numpy()

    @classmethod
    def of(cls, sizes: Sequence[int], state: np.ndarray) -> Branches:
        """The network of some sizes with the weights of `state`, to be asked and not trained."""
        with torch.random.fork_rng(devices=[]):  # a new network draws its weights
            net = cls(*sizes).double()
        values, at = net.state_dict(), 0
        for name, v in values.items():
            values[name] = torch.tensor(state[at : at + v.numel()]).reshape(v.shape).to(v.dtype)
            at += v.numel()
        net.load_state_dict(values)
        return net.requires_grad_(False).eval()


def _layer(inputs: int, outputs: int) -> list[nn.Module]:
    return [nn.Linear(inputs, outputs, bias=False), nn.BatchNorm1d(outputs), nn.ReLU()]


def loss(net: Any, rows: Tensor) -> Tensor:
    """In training the weighted likelihood, else the mean squared error, of rows of inputs and outputs side by side."""
    inputs = sum(net.sizes)
    out = net(rows[:, :inputs])
    error: Tensor = (out[:, :-1] - rows[:, inputs:]).square().mean(1)
    if net.training:
        log_variance = out[:, -1]
        weight = (0.5 * log_variance).exp().detach()
        error = weight * (error * (-log_variance).exp() + log_variance)
    return error.mean()


def whole_batches(n: int, batch: int) -> int:
    """A size of batch that leaves no last one of a single row, which has no variance to be normalised by."""
    return next(size for size in range(max(batch, 2), batch + n + 2) if n % size != 1)
