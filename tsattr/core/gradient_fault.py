"""Where a gradient that is not finite is made: the operation, the layer that it belongs to, and the cells that it reaches."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class GradientFault:
    """The first operation of a backward pass that turned a finite gradient into one that is not.

    Attributes
    ----------
    operation
        Its name, such as "sqrt"; "" where it is not known.
    layer
        The innermost layer that it belongs to, such as "norm (LayerNorm)"; "" where the model is no torch module.
    cells
        Bool (*event): True where the gradient at the input is not finite.
    """

    operation: str
    layer: str
    cells: Tensor


@contextlib.contextmanager
def layers_of_nodes(module: nn.Module | None) -> Iterator[dict[Any, str]]:
    """The layer of each node of the graphs that are made in this scope, by the node."""
    made: dict[Any, str] = {}
    handles = []
    for name, layer in module.named_modules() if module is not None else ():
        said = f"{name} ({type(layer).__name__})" if name else type(layer).__name__

        def note(layer: nn.Module, given: Any, y: Any, said: str = said) -> None:
            stop = {t.grad_fn for t in _tensors(given)}
            for node in _nodes([t.grad_fn for t in _tensors(y)], made.keys() | stop):
                made[node] = said  # the innermost is done first, and keeps its own

        handles.append(layer.register_forward_hook(note))
    try:
        yield made
    finally:
        for handle in handles:
            handle.remove()


def gradient_fault(ask: Callable[[Tensor], Tensor], rows: Tensor, module: nn.Module | None) -> GradientFault:
    """Where the gradient of ``ask(rows)``, a number, at rows (r, *event) stops being finite."""
    leaf = rows.detach().clone().requires_grad_(True)
    with torch.enable_grad(), layers_of_nodes(module) as made:
        total = ask(leaf.clone())
    found: list[Any] = []

    def look(node: Any) -> Callable[[Any, Any], None]:
        def looked(after: Any, before: Any) -> None:
            if not found and _finite(before) and not _finite(after):
                found.append(node)

        return looked

    handles = [node.register_hook(look(node)) for node in _nodes([total.grad_fn], set())]
    (slope,) = torch.autograd.grad(total, leaf)
    for handle in handles:
        handle.remove()
    operation = re.sub(r"Backward\d*$", "", found[0].name()).lower() if found else ""
    return GradientFault(operation, made.get(found[0], "") if found else "", ~torch.isfinite(slope).all(0))


def _finite(gradients: Any) -> bool:
    return all(g is None or bool(torch.isfinite(g).all()) for g in gradients)


def _tensors(value: Any) -> list[Tensor]:
    """The tensors in what a layer takes or gives, in whatever they are nested."""
    if isinstance(value, Tensor):
        return [value]
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, tuple | list) else ()
    return [t for part in parts for t in _tensors(part)]


def _nodes(start: list[Any], stop: Any) -> list[Any]:
    """The nodes of a graph from some on, not further than those to stop at."""
    found: dict[Any, None] = {}
    todo = list(start)
    while todo:
        node = todo.pop()
        if node is not None and node not in found and node not in stop:
            found[node] = None
            todo += [before for before, _ in node.next_functions]
    return list(found)
