"""Training small networks: the weights of all columns are solved for at every step, the networks follow the gradient of the loss."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from .basis import Nets
from .surfaces import Plane

BATCH = 4096
"""Most training rows of one step."""
RATE = 0.02
"""Adam's learning rate."""
PLANE_RATE = 0.04
"""Adam's learning rate for a network of two features."""
RIDGES, FOLDED = 32, 4
"""Ridges of a network of two features, and their combinations that are its columns."""
STEEP = 3.0
"""Slope of a ridge at the start, for standardised features."""
PATIENCE = 30
"""Steps without a better validation loss after which training ends."""

Frozen = TypeVar("Frozen")
Gradient = Callable[[np.ndarray, np.ndarray, int], tuple[np.ndarray, float]]
"""From columns (n, m), the rows they are of and how many of these are for training: the gradient (n, m) of the training loss by
the columns, and the loss on the other rows."""


@dataclass(frozen=True)
class NetInputs:
    """What the columns of networks are made of, for some rows.

    u (n, q): standardised values of the features with networks; present (n, q): where they are not missing; fixed (n, m):
    columns that do not change; sides: for each pair and each of its features, the columns (n, k) that do not change and take
    part in the products, and the feature's position among those with networks, or -1.
    """

    u: np.ndarray
    present: np.ndarray
    fixed: np.ndarray
    sides: list[tuple[tuple[np.ndarray, int], tuple[np.ndarray, int]]]


class Bank(torch.nn.Module):
    """Nets of several features at once, each feature's with the same start."""

    def __init__(self, features: int, nets: int, hidden: int, seed: int):
        super().__init__()
        draw = torch.Generator().manual_seed(seed)
        weight = torch.randn(nets, hidden, generator=draw) * 2
        bias = -weight * (torch.rand(nets, hidden, generator=draw) * 4 - 2)
        out = torch.randn(nets, hidden, generator=draw) / hidden**0.5

        def each(start: Tensor) -> torch.nn.Parameter:
            return torch.nn.Parameter(start.expand(features, *start.shape).clone())

        self.weight, self.bias, self.out = each(weight), each(bias), each(out)
        self.mix, self.slope = each(torch.full((nets,), 0.1)), each(torch.ones(nets))

    def forward(self, u: Tensor) -> Tensor:
        """Columns (features, n, nets) at `u` (features, n)."""
        features, nets, hidden = self.weight.shape
        flat = (features, 1, nets * hidden)
        active = torch.tanh(torch.addcmul(self.bias.reshape(flat), u[:, :, None], self.weight.reshape(flat)))
        curve = (active.view(features, -1, nets, hidden) * self.out[:, None]).sum(3)
        mix = self.mix[:, None]
        return u[:, :, None] * (mix * self.slope[:, None]) + (1 - mix) * curve

    def frozen(self) -> list[Nets]:
        """Each feature's nets as float64 arrays."""
        parts = [p.detach().double().numpy() for p in (self.weight, self.bias, self.out, self.mix, self.slope)]
        return [Nets(*(p[j].copy() for p in parts)) for j in range(len(parts[0]))]


class PlaneBank(torch.nn.Module):
    """A network of two features: steep ridges in all directions, then few combinations of these."""

    def __init__(self, seed: int):
        super().__init__()
        draw = torch.Generator().manual_seed(seed)
        angle = torch.pi * torch.arange(RIDGES) / RIDGES
        self.weight = torch.nn.Parameter(STEEP * torch.stack([angle.cos(), angle.sin()], 1))
        self.bias = torch.nn.Parameter(STEEP * (torch.rand(RIDGES, generator=draw) * 3 - 1.5))
        self.mix = torch.nn.Parameter(torch.randn(FOLDED, RIDGES, generator=draw) * 2 / RIDGES**0.5)
        self.shift = torch.nn.Parameter(torch.zeros(FOLDED))

    def forward(self, u: Tensor) -> Tensor:
        """Columns (n, FOLDED) at `u` (n, 2)."""
        return torch.tanh(torch.tanh(u @ self.weight.T + self.bias) @ self.mix.T + self.shift)

    def frozen(self) -> Plane:
        """The network as float64 arrays."""
        return Plane(*(p.detach().double().numpy().copy() for p in (self.weight, self.bias, self.mix, self.shift)))


def _plane_columns(bank: PlaneBank, rows: NetInputs, w: Tensor) -> Tensor:
    """The network's columns (n, FOLDED), centred and scaled over the rows of positive weight where both values are present."""
    present = torch.as_tensor(rows.present.all(1), dtype=torch.float32)[:, None]
    share = present * w[:, None]
    share = share / share.sum().clamp(min=1e-12)
    g: Tensor = bank(torch.as_tensor(rows.u, dtype=torch.float32))
    g = g - (share * g).sum(0)
    return present * g / (share * g**2).sum(0).clamp(min=1e-12).sqrt()


def _columns(bank: Bank, rows: NetInputs, w: Tensor) -> Tensor:
    """The nets' columns and the products (n, m), centred and scaled over the rows of positive weight."""
    g = bank(torch.as_tensor(rows.u.T, dtype=torch.float32))
    present = torch.as_tensor(rows.present.T, dtype=torch.float32)[:, :, None]
    share = present * w[None, :, None]
    share = share / share.sum(1, keepdim=True).clamp(min=1e-12)
    g = g - (share * g).sum(1, keepdim=True)
    g = present * g / (share * g**2).sum(1, keepdim=True).clamp(min=1e-12).sqrt()
    parts = [g.transpose(0, 1).flatten(1)]
    for sides in rows.sides:
        a, b = (torch.cat([torch.as_tensor(c, dtype=torch.float32), *([g[q]] if q >= 0 else [])], 1) for c, q in sides)
        parts.append((a[:, :, None] * b[:, None, :]).flatten(1))
    return torch.cat(parts, 1)


@dataclass(frozen=True)
class NetTraining:
    """Gradient descent of networks, which are kept as they are at the step with the least loss on held-out rows.

    The weights of the columns minimise the loss on the training rows, so by the envelope theorem the gradient of the minimum
    by the networks is that with the weights fixed: nothing is propagated through the solve (variable projection; Golub and
    Pereyra, 1973).

    Parameters
    ----------
    inputs
        From positions of rows to what the networks' columns are made of.
    w, held_out
        Weights (n,) of all rows, and which of them (bool) choose the step.
    gradient
        Solves for the weights of given columns; see `Gradient`.
    steps
        Most steps.
    rng
        Generator of the networks' start and of the batches.
    """

    inputs: Callable[[np.ndarray], NetInputs]
    w: np.ndarray
    held_out: np.ndarray
    gradient: Gradient
    steps: int
    rng: np.random.Generator

    def nets(self, features: int, number: int, hidden: int) -> tuple[list[Nets], float]:
        """So many nets of each feature, and the loss on the held-out rows."""
        bank = Bank(features, number, hidden, int(self.rng.integers(2**31)))
        return self._descent(bank.parameters(), partial(_columns, bank), bank.frozen, RATE)

    def plane(self) -> Plane:
        """A network of two features."""
        bank = PlaneBank(int(self.rng.integers(2**31)))
        return self._descent(bank.parameters(), partial(_plane_columns, bank), bank.frozen, PLANE_RATE)[0]

    def _descent(
        self,
        parameters: Iterable[Tensor],
        columns_of: Callable[[NetInputs, Tensor], Tensor],
        frozen: Callable[[], Frozen],
        rate: float,
    ) -> tuple[Frozen, float]:
        """What `frozen` gives at the step with the least loss on the held-out rows, and that loss."""
        adam = torch.optim.Adam(parameters, lr=rate)
        train, validation = np.flatnonzero(~self.held_out), np.flatnonzero(self.held_out)
        best, since, kept = np.inf, 0, frozen()
        batch, number, whole = np.r_[train, validation], min(len(train), BATCH), len(train) <= BATCH
        rows = self.inputs(batch) if whole else None
        for _ in range(self.steps):
            if rows is None or not whole:
                batch = np.r_[np.sort(self.rng.choice(train, BATCH, replace=False)), validation[:BATCH]]
                rows = self.inputs(batch)
            weight = np.where(np.arange(len(batch)) < number, self.w[batch], 0.0)
            columns = columns_of(rows, torch.as_tensor(weight, dtype=torch.float32))
            z = np.concatenate([rows.fixed, columns.detach().double().numpy()], axis=1)
            gradient, loss = self.gradient(z, batch, number)
            if loss < best * (1 - 1e-4):
                best, since, kept = loss, 0, frozen()
            since += 1
            if since > PATIENCE:
                break
            adam.zero_grad()
            torch.autograd.backward(columns, torch.as_tensor(gradient[:, rows.fixed.shape[1] :], dtype=torch.float32))
            adam.step()
        return kept, best
