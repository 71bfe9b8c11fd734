"""Guided backpropagation: the gradient at the input, without negative parts at any ReLU."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from ..core.engine import Engine, Forward, graph
from ..core.method import Method, module_of
from ..core.results import EVENT, Field
from ..core.samples import SampleChunk


@dataclass(frozen=True)
class GuidedBackprop(Method):
    """The gradient at the input with negative parts stopped at every ReLU on the way back.

    A ReLU at z lets the gradient g through as ``g * 1[z > 0] * 1[g > 0]``. The maps are sharp, but they show little of what
    the model has learnt: they hardly change when its weights are replaced by random ones (Adebayo et al., NeurIPS 2018).
    Each call warns of it. Springenberg et al., 2015.

    ReLUs are found in the autograd graph, whatever made them: ``nn.ReLU``, ``ReLU6``, ``F.relu``, ``torch.relu``,
    ``clamp(min=0)``, ``threshold`` at 0, ``maximum`` with zeros. One spelt as a selection (``torch.where(z > 0, z, 0)``,
    ``z * (z > 0)``) is not told from a mask, and passes the plain gradient.

    Parameters
    ----------
    absolute
        True for the size of the map.

    Returns
    -------
    attribution, in the target's units per unit of `x`.

    Raises
    ------
    TypeError
        The model is not a torch module.
    ValueError
        The model has no ReLU, or a part whose graph is hidden: compiled by ``torch.compile``, or an ``autograd.Function``.

    Examples
    --------
    >>> import torch, warnings, tsattr as ta
    >>> net = torch.nn.Sequential(torch.nn.Linear(2, 2, bias=False), torch.nn.ReLU(), torch.nn.Linear(2, 1, bias=False))
    >>> _ = net[0].weight.data.copy_(torch.eye(2)), net[2].weight.data.copy_(torch.tensor([[3.0, -2.0]]))
    >>> with warnings.catch_warnings():
    ...     warnings.simplefilter("ignore")
    ...     ta.explain(net, torch.ones(1, 2), ta.GuidedBackprop()).attribution.values.tolist()
    [[3.0, 0.0]]
    """

    absolute: bool = False
    gradient: ClassVar[bool] = True
    caution: ClassVar[str] = (
        "GuidedBackprop fails weight-randomisation tests (Adebayo et al., 2018): its map hardly depends on what the model "
        "has learnt; do not take it as evidence of what the model uses"
    )
    sentence: ClassVar[str] = "Guided backpropagation: slopes, with negative signals dropped in every rectifier."
    note: ClassVar[str] = (
        "Guided backpropagation is known to stay much the same when a model's weights are randomised: it may show edges "
        "of the input rather than reasons of the model."
    )

    def prepared(self, module: nn.Module | None, axes: Sequence[Any]) -> GuidedBackprop:
        """Itself, for a model that it can explain."""
        module_of(self, module)
        return self

    def __call__(self, samples: SampleChunk) -> dict[str, Field]:
        """Explain some samples."""
        with samples.engine.by_forward(_guided(samples.engine)):
            out = samples.intact_gradients()
        return {"attribution": Field(("target", EVENT), out.abs() if self.absolute else out)}

    def rows(self) -> tuple[int, int]:
        """The intact sample, and once more with its gradient."""
        return 2, 2


def _guided(engine: Engine) -> Forward:
    """The engine's forward pass, with negative gradients stopped at every ReLU of its graph."""
    forward = engine.forward

    def guided(rows: Tensor, position: Tensor) -> Any:
        with _InPlaceReLUs() as in_place:
            y = forward(rows, position)
        if isinstance(y, Tensor) and y.requires_grad:
            nodes = graph(y)
            if hidden := sorted({node.name() for node in nodes if _hides(node)}):
                raise ValueError(
                    f"GuidedBackprop cannot see the ReLUs inside {', '.join(hidden)}; give the module itself where it went through "
                    "torch.compile (model._orig_mod, or a copy made before .compile()), checkpoint with use_reentrant=False, and "
                    "write an autograd.Function with operations of torch"
                )
            relus = [node for node in nodes if _is_relu(node)]
            if not relus and not in_place.found:
                raise ValueError(
                    f"GuidedBackprop finds no ReLU in the graph of {type(engine.module).__name__}, so there is nothing to guide: "
                    "use Saliency(absolute=False)"
                )
            for node in relus:
                node.register_prehook(lambda grads: tuple(None if g is None else g.clamp(min=0) for g in grads))
        return y

    return guided


def _hides(node: Any) -> bool:
    """True for a node that may hold any number of ReLUs: one written in Python, or compiled."""
    return isinstance(node, torch.autograd.function.BackwardCFunction) or any(
        sign in node.name() for sign in ("CppNode", "DifferentiableGraph", "GeneratedBackward")
    )


def _is_relu(node: Any) -> bool:
    """True for a node that passes nothing where its input is below 0."""
    name = node.name()
    if name.startswith("ThresholdBackward"):
        return bool(node._saved_threshold == 0)
    if name.startswith("HardtanhBackward"):
        return bool(node._saved_min_val == 0)
    if name.startswith("Clamp") and not name.startswith("ClampMax"):
        return node._saved_min is not None and not torch.as_tensor(node._saved_min).any()
    if name.startswith(("MaximumBackward", "FmaxBackward")):
        return not (node._saved_self.any() and node._saved_other.any())
    return bool(name.startswith("ReluBackward"))


class _InPlaceReLUs(TorchFunctionMode):
    """Stops negative gradients at ReLUs in place on a view, such as a flattened tensor, which the graph hides."""

    def __init__(self) -> None:
        super().__init__()
        self.found = 0

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """The function's own result, watched."""
        y = func(*args, **(kwargs or {}))
        if getattr(func, "__name__", "").startswith("relu") and y is args[0] and y._is_view() and y.requires_grad:
            y.register_hook(lambda g: g.clamp(min=0))
            self.found += 1
        return y
