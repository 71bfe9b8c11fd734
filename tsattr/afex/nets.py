"""Training the nets: the weights of all columns are solved for at every step, the nets follow the gradient of what is left."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

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
"""The same for a network of two features."""
RIDGES, FOLDED = 32, 4
"""Ridges of a network of two features, and their combinations that are its columns."""
STEEP = 3.0
"""Slope of a ridge at the start, for standardised features."""
PATIENCE = 30
"""Steps without a better validation loss after which training ends."""


@dataclass(frozen=True)
class Inputs:
    """What the columns are made of, for some rows.

    u (n, q): standardised values of the features with nets; known (n, q): where they are not missing; fixed (n, m): columns
    that do not change; inner: for each pair and side, columns (n, k) that do not change and take part in the products, and
    the feature's place among those with nets, or -1.
    """

    u: np.ndarray
    known: np.ndarray
    fixed: np.ndarray
    inner: list[tuple[tuple[np.ndarray, int], tuple[np.ndarray, int]]]


Step = Callable[[np.ndarray, np.ndarray, int], tuple[np.ndarray, float]]
"""Columns (n, m) of given rows, of which the first so many are for training: the loss's gradient by them, the validation loss."""


class Bank(torch.nn.Module):
    """Nets of several features at once, alike at the start."""

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


def _plane_columns(bank: PlaneBank, rows: Inputs, w: Tensor) -> Tensor:
    """The network's columns (n, FOLDED), centred and scaled over the rows of positive weight where both values are known."""
    known = torch.as_tensor(rows.known.all(1), dtype=torch.float32)[:, None]
    share = known * w[:, None]
    share = share / share.sum().clamp(min=1e-12)
    g = bank(torch.as_tensor(rows.u, dtype=torch.float32))
    g = g - (share * g).sum(0)
    return known * g / (share * g**2).sum(0).clamp(min=1e-12).sqrt()


def _columns(bank: Bank, rows: Inputs, w: Tensor) -> Tensor:
    """The nets' columns and the products (n, m), centred and scaled over the rows of positive weight."""
    g = bank(torch.as_tensor(rows.u.T, dtype=torch.float32))
    known = torch.as_tensor(rows.known.T, dtype=torch.float32)[:, :, None]
    share = known * w[None, :, None]
    share = share / share.sum(1, keepdim=True).clamp(min=1e-12)
    g = g - (share * g).sum(1, keepdim=True)
    g = known * g / (share * g**2).sum(1, keepdim=True).clamp(min=1e-12).sqrt()
    parts = [g.transpose(0, 1).flatten(1)]
    for sides in rows.inner:
        a, b = (torch.cat([torch.as_tensor(c, dtype=torch.float32), *([g[q]] if q >= 0 else [])], 1) for c, q in sides)
        parts.append((a[:, :, None] * b[:, None, :]).flatten(1))
    return torch.cat(parts, 1)


def train(
    inputs: Callable[[np.ndarray], Inputs],
    features: int,
    w: np.ndarray,
    held: np.ndarray,
    step: Step,
    *,
    nets: int,
    hidden: int,
    steps: int,
    rng: np.random.Generator,
) -> tuple[list[Nets], float]:
    """Nets of each feature at the step with the best loss on the rows `held` out of training, and that loss.

    The weights of the columns minimise the loss on the training rows, so by the envelope theorem the gradient of the minimum
    by the nets is that with the weights held: nothing is propagated through the solve (variable projection; Golub and
    Pereyra, 1973).
    """
    bank = Bank(features, nets, hidden, int(rng.integers(2**31)))
    return _descent(bank, _columns, inputs, w, held, step, steps, RATE, rng)


def train_plane(
    inputs: Callable[[np.ndarray], Inputs],
    w: np.ndarray,
    held: np.ndarray,
    step: Step,
    *,
    steps: int,
    rng: np.random.Generator,
) -> Plane:
    """A network of two features, found as `train` finds nets."""
    bank = PlaneBank(int(rng.integers(2**31)))
    return _descent(bank, _plane_columns, inputs, w, held, step, steps, PLANE_RATE, rng)[0]


def _descent(
    bank: Any,
    make: Callable[[Any, Inputs, Tensor], Tensor],
    inputs: Callable[[np.ndarray], Inputs],
    w: np.ndarray,
    held: np.ndarray,
    step: Step,
    steps: int,
    rate: float,
    rng: np.random.Generator,
) -> tuple[Any, float]:
    """What `bank` is at the step with the best loss on the rows `held` out of training, and that loss."""
    adam = torch.optim.Adam(bank.parameters(), lr=rate)
    inside, outside = np.flatnonzero(~held), np.flatnonzero(held)
    best, since, kept = np.inf, 0, bank.frozen()
    batch, number, whole = np.r_[inside, outside], min(len(inside), BATCH), len(inside) <= BATCH
    rows = inputs(batch) if whole else None
    for _ in range(steps):
        if rows is None or not whole:
            batch = np.r_[np.sort(rng.choice(inside, BATCH, replace=False)), outside[:BATCH]]
            rows = inputs(batch)
        weight = torch.as_tensor(np.where(np.arange(len(batch)) < number, w[batch], 0.0), dtype=torch.float32)
        columns = make(bank, rows, weight)
        z = np.concatenate([rows.fixed, columns.detach().double().numpy()], axis=1)
        slope, loss = step(z, batch, number)
        if loss < best * (1 - 1e-4):
            best, since, kept = loss, 0, bank.frozen()
        since += 1
        if since > PATIENCE:
            break
        adam.zero_grad()
        columns.backward(torch.as_tensor(slope[:, rows.fixed.shape[1] :], dtype=torch.float32))
        adam.step()
    return kept, best
