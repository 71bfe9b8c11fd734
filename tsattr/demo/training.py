"""How the demos train their networks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn


def fit(
    model: nn.Module, loss: Callable[[Any], Tensor], rows: int, *, epochs: int, batch_size: int, decay: float, seed: int
) -> None:
    """Minimise ``loss(row indices)`` over shuffled batches, by AdamW with a one-cycle learning rate."""
    rng = np.random.default_rng(seed)
    batches = -(-rows // batch_size)
    optimiser = torch.optim.AdamW(model.parameters(), weight_decay=decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=5e-3, total_steps=epochs * batches)
    model.train()
    for _ in range(epochs):
        for part in np.array_split(rng.permutation(rows), batches):
            optimiser.zero_grad()
            torch.autograd.backward(loss(part))
            optimiser.step()
            schedule.step()
    model.eval()
