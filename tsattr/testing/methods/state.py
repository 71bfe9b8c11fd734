"""Laws of what a call must leave as it was: the model, the input, and what other calls do at the same time."""

from __future__ import annotations

import copy
import threading
import warnings
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ...core.targets import Divergence
from ...edge.warning import ExplanationWarning
from ..cases import cut_to
from ..laws import Seen, same, same_values
from .case import LAWS, MethodCase

law = LAWS.law

_OFTEN = 10**9  # more calls than there are


class Trap(nn.Module):
    """A model, some of it frozen and some in train mode, which fails at its `last` call.

    It notes what it has seen: in a buffer, and in tensors that are none.
    """

    def __init__(self, model: Any, last: int = _OFTEN) -> None:
        super().__init__()
        self.register_buffer("low", torch.zeros(()))
        self.low: Tensor
        self.seen, self.left = torch.zeros(()), last
        self.state: Tensor | None = None
        self.net = copy.deepcopy(model).train() if isinstance(model, nn.Module) else model
        if isinstance(model, nn.Module):
            layers = [m for m in self.net.modules() if not list(m.children())]
            for layer in layers[1::2]:
                layer.eval()
            for p in list(self.net.parameters())[:1]:
                p.requires_grad_(False)
            layers[-1].register_forward_hook(lambda *_: None)

    def forward(self, x: Tensor, **context: Tensor) -> Tensor:
        """What the model gives; an error where it is not in eval mode, and at the last call."""
        if any(m.training for m in self.modules()):
            raise Seen("a model that is asked in train mode")
        self.left -= 1
        with torch.no_grad():
            self.low.data.copy_(torch.minimum(self.low, x.min()))
            self.seen += len(x)
            self.state = x.mean(0)
        if not self.left:
            raise ArithmeticError("the model fails")
        found: Tensor = self.net(x, **context)
        return found


def state_of(model: nn.Module) -> tuple[dict[str, Tensor], list[Any]]:
    """Its tensors; and modes, hooks, what each parameter is, and what belongs to the process."""
    hooks = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    parts = [(name, m.training, *(len(getattr(m, h)) for h in hooks)) for name, m in model.named_modules()]
    flags = [(p.requires_grad, p.grad is None, id(p), p.device, p.dtype) for p in model.parameters()]
    tensors = {k: v.clone() for k, v in model.state_dict().items()}
    return tensors, [parts, flags, torch.is_grad_enabled(), torch.backends.cudnn.enabled]


def same_state(model: Trap, before: tuple[dict[str, Tensor], list[Any]]) -> None:
    """Raise unless a model is as it was, and the tensors that it keeps of what it saw are as before the call."""
    tensors, rest = state_of(model)
    for name, tensor in before[0].items():
        same_values(f"{name} of the model, once it was explained,", tensors[name], tensor, 0)
    if rest != before[1]:
        raise Seen("a model whose modes, hooks, gradients or switches are not as before")
    if model.seen != 0 or model.state is not None:
        raise Seen("a model that keeps a tensor of what it was asked")


@law(
    "the model is left as it was",
    "Ask the model through samples.without, samples.values and samples.gradients alone; hooks of your own go in `finally`.",
)
def model(case: MethodCase, lasts: Sequence[int] = (_OFTEN, 1, 2)) -> None:
    """Modes, frozen parameters, hooks, buffers, gradients: as before, also where the model fails at a call."""
    for last in lasts:
        trap = Trap(case.model, last)
        before = state_of(trap)
        if last == _OFTEN:
            same(case.explain(trap), case.answer, case.tolerance)
        else:
            _fails(case, trap)
        same_state(trap, before)


def _fails(case: MethodCase, trap: Trap) -> None:
    try:
        case.explain(trap, batch_size=2)
    except ArithmeticError as error:
        if str(error) == "the model fails":
            return
        raise
    raise Seen("an explanation of a model that failed")


@law(
    "two calls at once give the answers of one",
    "Keep nothing on the method or in a module during a call; samples holds what belongs to it.",
)
def threads(case: MethodCase) -> None:
    """Two threads explain two halves of the samples with one model."""
    trap, found = Trap(case.model), dict[int, Any]()
    before = state_of(trap)
    halves = [list(range(case.n // 2)), list(range(case.n // 2, case.n))]

    def work(k: int) -> None:
        try:
            found[k] = case.explain(trap, case.at(halves[k]))
        except Exception as error:
            found[k] = error

    both = [threading.Thread(target=work, args=(k,)) for k in (0, 1)]
    with warnings.catch_warnings():  # of all threads
        warnings.simplefilter("ignore", ExplanationWarning)
        for thread in both:
            thread.start()
        for thread in both:
            thread.join()
    for k, half in enumerate(halves):
        if isinstance(found[k], Exception):
            raise found[k]
        same(found[k], case.at(half, case.answer), case.tolerance)
    same_state(trap, before)


@law(
    "the input is not modified",
    "Fill new rows, removal.rows(at), and write into none that samples holds: samples.x, samples.known.",
)
def inputs(case: MethodCase) -> None:
    """`x` is as before, also where it may not be written."""
    x = case.x.copy(deep=True)
    x.values.setflags(write=False)
    case.explain(x=x)
    if not x.identical(case.x):
        raise Seen("another x than before")


@law(
    "a model may write into its input",
    "Give the model rows of their own: make(at) builds them anew, samples.x[i[at]] is a copy and samples.x is not.",
)
def careless(case: MethodCase) -> str | None:
    """The model overwrites the rows that it is given, of a method that needs no gradients."""
    if case.method.gradient:
        return "it takes gradients at the rows"

    def writes(x: Tensor, **context: Tensor) -> Tensor:
        y: Tensor = case.model(x, **context)
        x.fill_(torch.nan)
        return y

    same(case.explain(case.around(writes), batch_size=3), case.answer, case.tolerance)
    return None


@law(
    "a model may answer into a tensor of its own",
    "Use each batch of values before the next is asked for, or keep a copy of it.",
)
def reused(case: MethodCase) -> str | None:
    """Outputs that the next call of the model overwrites, of a method that needs no gradients."""
    if case.method.gradient:
        return "it takes gradients of the outputs"
    kept = torch.zeros((10**4, *case.outputs), dtype=torch.float64)

    def answers(x: Tensor, **context: Tensor) -> Tensor:
        y: Tensor = case.model(x, **context)
        return cut_to(kept, y).copy_(y)

    same(case.explain(case.around(answers), batch_size=3), case.answer, case.tolerance)
    if (
        len(case.outputs) == 1 and case.outputs[0] > 1
    ):  # a target that compares with what was kept of the intact samples
        target = Divergence("kl")
        same(case.explain(case.around(answers), target=target), case.explain(target=target), case.tolerance)
    return None
