"""Autoregressive models: one step applied to its own output, with the outputs of all steps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
    forcings: str | Sequence[str] = (),
    state: str | None = None,
    checkpoints: bool = True,
) -> Any:
    """A model of many steps, made of one of a single step: what in today's state moved day 5?

    ``x_1 = x, y_k = f(x_k, u_k), x_{k+1} = advance(x_k, y_k)``, u being forcings, if there are any; the outputs (rows, steps, ...)
    hold y_1 to y_steps, so that one call explains any of them, or all: ``outputs={"step": ["day 1", "day 2", ...], ...}``.

    Parameters
    ----------
    step
        The model of one step, ``f(x, **others)``: a torch module or a function of tensors, or an `Ensemble` of them. Entries of
        `context`, and other variables of a Dataset, are the same in every step, unless they are forcings.
    steps
        How many.
    advance
        ``advance(x, y)``: the next step's input, of this one's input and output. None: `history` says it, else the output itself.
    history
        The axis of `x` (rows are 0) that holds earlier states, the latest last: the output is appended there and the first
        state dropped.
    forcings
        Names of entries of `context`, or of variables of a Dataset, that have a value for every step, (rows, steps, ...), such as the
        season, the sun or a sea-surface temperature: step k is given the k-th.
    state
        Where the input is a Dataset: the name of the variable that is x, the one that is advanced.
    checkpoints
        Keep the inputs of the steps alone for the gradients, and run each step once more in the backward pass: the memory of one
        step and `steps` states, for a third more time. False keeps everything.

    Raises
    ------
    TypeError
        A step that cannot be called with a tensor, as an estimator.
    ValueError
        Both `advance` and `history`; in a call, an output that cannot be the next input, a forcing of fewer steps.

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
        settings: Any = {
            "advance": advance,
            "history": history,
            "forcings": forcings,
            "state": state,
            "checkpoints": checkpoints,
        }
        return Ensemble({n: rollout(m, steps, **settings) for n, m in zip(step.names, step.members)})
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
    forced = (forcings,) if isinstance(forcings, str) else tuple(forcings)
    return _Rollout(step, steps, advance or _same, forced, state, checkpoints)


class _Rollout(nn.Module):
    """See :func:`rollout`."""

    def __init__(
        self,
        step: Step,
        steps: int,
        advance: Callable[[Tensor, Tensor], Tensor],
        forcings: tuple[str, ...],
        state: str | None,
        checkpoints: bool,
    ) -> None:
        super().__init__()
        self.step, self.steps, self.advance = step, steps, advance
        self.forcings, self.state, self.checkpoints = forcings, state, checkpoints

    def forward(self, *x: Tensor, **given: Any) -> Tensor:
        """Outputs (rows, steps, ...)."""
        state, others = self._state(x, given)
        found = []
        for k in range(self.steps):
            step = partial(self.step, **{name: v[:, k] if name in self.forcings else v for name, v in others.items()})
            if self.checkpoints and torch.is_grad_enabled():
                y = checkpoint(step, state, use_reentrant=False)
            else:
                y = step(state)
            found.append(y)
            if k + 1 < self.steps:
                state = self.advance(state, y)
        return torch.stack(found, 1)

    def _state(self, x: tuple[Tensor, ...], given: dict[str, Any]) -> tuple[Tensor, dict[str, Any]]:
        """The first state, and what else every step is given."""
        if not x and self.state not in given:
            raise ValueError(
                f"the input has variables {', '.join(given)}: say which is the state that steps advance, rollout(..., state={next(iter(given))!r})"
            )
        first = x[0] if x else given[str(self.state)]
        others = {name: v for name, v in given.items() if x or name != self.state}
        for name in self.forcings:
            if name not in others:
                raise ValueError(
                    f"forcing {name!r} is none of what the model is given beside its state: {list(others)}"
                )
            if others[name].ndim < 2 or others[name].shape[1] < self.steps:
                raise ValueError(
                    f"forcing {name!r} has the shape {tuple(others[name].shape)}: rows first, then one entry for each of {self.steps} steps"
                )
        return first, others

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
        if x.ndim <= self.axis:
            raise ValueError(
                f"history={self.axis} is no axis of a state of {tuple(x.shape)}, whose axes after the rows are "
                f"{', '.join(map(str, range(1, x.ndim)))}: say which of them holds earlier states"
            )
        states = y.unsqueeze(self.axis) if y.ndim == x.ndim - 1 else y
        expected = [*x.shape[: self.axis], *x.shape[self.axis + 1 :]]
        if [*states.shape[: self.axis], *states.shape[self.axis + 1 :]] != expected:
            raise ValueError(
                f"a step gives {tuple(y.shape)} for a history of {tuple(x.shape)}; along axis {self.axis} it gives one state or more, "
                "all else alike: say history= of another axis, or advance=lambda x, y: ..."
            )
        return torch.cat([x, states], self.axis).narrow(self.axis, states.shape[self.axis], x.shape[self.axis])
