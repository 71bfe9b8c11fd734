"""Classifiers that are linear in features from which the input can be had back."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn


class Invertible(nn.Module, ABC):
    """A module that says what it is: a linear layer on features that can be inverted, ``f(x) = W T(x) + b``.

    A module of one's own derives from it, and has a ``head`` (an ``nn.Linear``), `features` and `inverse`. What it says is
    tried where something rests on it, as in ``tsattr.baselines.Projection.fit``.

    Examples
    --------
    >>> import torch, tsattr as ta
    >>> class Scaled(ta.models.Invertible):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.head = torch.nn.Linear(2, 3)
    ...     def features(self, x):
    ...         return x.sinh()
    ...     def inverse(self, y):
    ...         return y.asinh()
    >>> net = Scaled()
    >>> y = net(net.project(torch.ones(1, 2), 0, 1))
    >>> bool((y[:, 0] - y[:, 1]).abs() < 1e-5)
    True
    """

    head: nn.Linear

    @abstractmethod
    def features(self, x: Tensor) -> Tensor:
        """T(x): the features (rows, features) of rows (rows, \\*event)."""

    @abstractmethod
    def inverse(self, y: Tensor) -> Tensor:
        """The rows (rows, \\*event) whose features are `y` (rows, features)."""

    def forward(self, x: Tensor) -> Tensor:
        """The logits (rows, classes): the head's, of the features."""
        logits: Tensor = self.head(self.features(x))
        return logits

    def plane(self, a: int | Tensor, b: int | Tensor | None = None) -> tuple[Tensor, Tensor]:
        """w and c of the boundary between two classes in the features, ``w.y + c = 0``: the difference of their rows of the head.

        `a` and `b` are classes, or one for each row (rows,). Without `b` it is where the logit `a` itself is 0.
        """
        weight = self.head.weight
        bias = weight.new_zeros(len(weight)) if self.head.bias is None else self.head.bias
        return (weight[a], bias[a]) if b is None else (weight[a] - weight[b], bias[a] - bias[b])

    def project(self, x: Tensor, a: int | Tensor, b: int | Tensor | None = None) -> Tensor:
        """The rows on the boundary between two classes whose features are nearest to those of `x`, with a gradient.

        ``T^-1(y - (w.y + c) / |w|^2 w)`` with ``y = T(x)``; `a` and `b` as in `plane`.
        """
        w, c = self.plane(a, b)
        y = self.features(x)
        level = ((w * y).sum(1) + c) / (w * w).sum(-1)
        return self.inverse(y - level[:, None] * w)
