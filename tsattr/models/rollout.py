"""Autoregressive models: one step applied to its own output, with the outputs of all steps."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ..core.results import check_count, check_flag
from .ensembles import Ensemble

Step = Callable[..., Tensor]


def rollout(
    step: Any,
    steps: int,
    *,
    advance: Callable[[Tensor, Tensor], Tensor] | None = None,
    history: int | None = None,
    checkpoints: bool = True,
) -> Any:
    """A model of many steps, made of one of a single step: what in today's state moved day 5?

    ``y_1 = f(x), y_k = f(advance(x_{k-1}, y_{k-1}))``; the outputs (rows, steps, ...) hold every step, so that one call explains any
    of them, or all: ``outputs={"step": ["day 1", "day 2", ...], ...}``.

    Parameters
    ----------
    step
        The model of one step, a torch module or a function of tensors, or an `Ensemble` of them; entries of `context` are the same in every step.
    steps
        How many.
    advance
        ``advance(x, y)``: the next step's input, of this one's input and output. None: `history` says it, else the output itself.
    history
        The axis of `x` (rows are 0) that holds earlier states, the latest last: the output is appended there and the first
        state dropped.
    checkpoints
        Keep the inputs of the steps alone for the gradients, and run each step once more in the backward pass: the memory of one
        step and `steps` states, for a third more time. False keeps everything.

    Raises
    ------
    TypeError
        A step that cannot be called with a tensor, as an estimator.
    ValueError
        Both `advance` and `history`; in a call, an output that cannot be the next input.

    Examples
    --------
    >>> import torch, tsattr as ta
    >>> double = ta.models.rollout(lambda x: 2 * x, steps=3)
    >>> ds = ta.explain(double, torch.ones(1, 2), ta.InputXGradient(), target=ta.targets.Output(step="day 3", cell=0),
    ...                 outputs={"step": ["day 1", "day 2", "day 3"], "cell": None})
    >>> ds.attribution.values.tolist()
    [[8.0, 0.0]]
    """
    if isinstance(step, Ensemble):
        alike = partial(rollout, steps=steps, advance=advance, history=history, checkpoints=checkpoints)
        return Ensemble({n: alike(m) for n, m in zip(step.names, step.members)})
    if not callable(step):
        raise TypeError(
            f"step is a torch module or a function of tensors, which gives the next state, got {type(step).__name__}"
        )
    check_count("steps", steps)
    check_flag("checkpoints", checkpoints)
    if advance is not None and history is not None:
        raise ValueError("give advance or history, not both: each says what the next step's input is")
    if history is not None:
        check_count("history, an axis after the rows,", history)
        advance = _Shift(history)
    return _Rollout(step, steps, advance or _same, checkpoints)


class _Rollout(nn.Module):
    """See :func:`rollout`."""

    def __init__(self, step: Step, steps: int, advance: Callable[[Tensor, Tensor], Tensor], checkpoints: bool) -> None:
        super().__init__()
        self.step, self.steps, self.advance, self.checkpoints = step, steps, advance, checkpoints

    def forward(self, x: Tensor, **context: Any) -> Tensor:
        """Outputs (rows, steps, ...)."""
        found = []
        for k in range(self.steps):
            if self.checkpoints and torch.is_grad_enabled():
                y = checkpoint(self.step, x, use_reentrant=False, **context)
            else:
                y = self.step(x, **context)
            found.append(y)
            if k + 1 < self.steps:
                x = self.advance(x, y)
        return torch.stack(found, 1)

    def __repr__(self) -> str:
        return f"rollout of {self.steps} steps"


def _same(x: Tensor, y: Tensor) -> Tensor:
    """The output, which must be like the input."""
    if y.shape != x.shape:
        raise ValueError(
            f"a step gives {tuple(y.shape)} for an input of {tuple(x.shape)}, which is no next input; say how they make one: "
            "history=, the axis of earlier states, or advance=lambda x, y: ..."
        )
    return y


class _Shift:
    """A history with the output at its end, and without its first state."""

    def __init__(self, axis: int) -> None:
        self.axis = axis

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        states = y.unsqueeze(self.axis) if y.ndim == x.ndim - 1 else y
        expected = [*x.shape[: self.axis], *x.shape[self.axis + 1 :]]
        if x.ndim <= self.axis or [*states.shape[: self.axis], *states.shape[self.axis + 1 :]] != expected:
            raise ValueError(
                f"a step gives {tuple(y.shape)} for a history of {tuple(x.shape)}; along axis {self.axis} it gives one state or more, "
                "all else alike: say history= of another axis, or advance=lambda x, y: ..."
            )
        return torch.cat([x, states], self.axis).narrow(self.axis, states.shape[self.axis], x.shape[self.axis])
