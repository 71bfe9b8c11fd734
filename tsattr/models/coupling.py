"""An invertible network: blocks of additive coupling, and a linear layer on what they give."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ..core.invertible import Invertible
from ..core.results import check_count

MIXINGS = ("permutation", "orthogonal")


class Coupling(Invertible):
    """A trainable classifier that is linear in invertible features: logits ``f(x) = W T(x) + b``, (rows, classes).

    T is a chain of blocks. Each mixes, parts the cells into two halves x1 and x2, and couples them by two small networks,

    ``y1 = x1 + F(x2), y2 = x2 + G(y1)``, which ``x2 = y2 - G(y1), x1 = y1 - F(x2)`` undoes to rounding, whatever F and G are

    (Dinh, Krueger and Bengio, NICE, 2014; as in Zhuang et al., explain_invertible, 2019). T has as many features as the input
    cells, keeps volumes, and is linear before training, as the last layers of F and G start at 0. There is no
    normalisation and no dropout: a row's output depends on the row alone. Train it as any module, on values of order 1.

    Nothing in the cross-entropy keeps points of the boundary that no row came near in the features near in the input. Where they
    are to explain (`tsattr.baselines.Projection`), have the loss ask for it: on two moons
    ``cross_entropy(net(x), y) + 0.1 * (net.project(x, 0, 1) - x).square().sum(1).mean()`` cost no accuracy, and brought them
    from hundreds of times as far as the nearest to within 1.1 of it (medians; ``examples/studies/two_moons.py``).

    A table's columns are halved by a random permutation, another one in each block; F and G have two hidden layers. A series
    is halved along time, into its even and its odd steps as in a wavelet's lifting, the block after the other way round; F and
    G are convolutions, dilated more in each block. Halves may differ by one cell.

    Parameters
    ----------
    shape
        A row's shape: a number of columns or ``(columns,)`` for a table, ``(channels, times)`` for series.
    classes
        Number of logits.
    blocks
        Number of blocks.
    width
        Units of each hidden layer of F and G.
    kernel
        Size of their convolutions, odd; of a table nothing.
    mixing
        "permutation": cells are only sorted into halves. "orthogonal": in each block the columns, or the channels, are also
        turned by a random rotation Q that is not trained, ``x Q``, so that either half holds something of all.

    Raises
    ------
    ValueError, TypeError
        Sizes that are no whole numbers above 0, a last dim of one cell, which has no halves, or more than two dims.

    Examples
    --------
    >>> import torch, tsattr as ta
    >>> net = ta.models.Coupling((2, 7), classes=3).double()
    >>> x = torch.randn(5, 2, 7, dtype=torch.float64)
    >>> net(x).shape, bool((net.inverse(net.features(x)) - x).abs().max() < 1e-12)
    (torch.Size([5, 3]), True)
    """

    def __init__(
        self,
        shape: int | Sequence[int],
        classes: int,
        blocks: int = 4,
        width: int = 32,
        kernel: int = 5,
        mixing: str = "permutation",
    ) -> None:
        super().__init__()
        self.shape = tuple(shape) if isinstance(shape, Sequence) else (shape,)
        for name, size in (("classes", classes), ("blocks", blocks), ("width", width), ("kernel", kernel)):
            check_count(name, size)
        for size in self.shape:
            check_count("each size of shape", size)
        if len(self.shape) not in (1, 2):
            raise ValueError(
                f"shape is (columns,) or (channels, times), got {self.shape}; flatten a row, or join its first dims to channels"
            )
        if self.shape[-1] == 1:
            raise ValueError(
                f"Coupling parts the last dim of shape {self.shape} into two halves, and one cell has none; give (channels,) as a "
                "table, or more cells"
            )
        if kernel % 2 == 0:
            raise ValueError(f"kernel is odd, so that a convolution has a middle, got {kernel}")
        if mixing not in MIXINGS:
            raise ValueError(f"mixing is one of {', '.join(map(repr, MIXINGS))}, got {mixing!r}")
        rotates = mixing == "orthogonal"
        self.blocks = nn.ModuleList(_Block(self.shape, width, kernel, number, rotates) for number in range(blocks))
        self.head = nn.Linear(math.prod(self.shape), classes)

    def features(self, x: Tensor) -> Tensor:
        """T(x), (rows, cells)."""
        if tuple(x.shape[1:]) != self.shape:
            raise ValueError(f"Coupling was made for rows of shape {self.shape}, got {tuple(x.shape[1:])}")
        for block in self.blocks:
            x = block(x)
        return x.flatten(1)

    def inverse(self, y: Tensor) -> Tensor:
        """T^-1(y), (rows, \\*shape)."""
        x = y.reshape(-1, *self.shape)
        for block in reversed(self.blocks):
            x = block.inverse(x)  # type: ignore[operator]
        return x


class _Block(nn.Module):
    """Mixing, and additive coupling of two halves of the last dim."""

    turn: Tensor | None
    order: Tensor
    back: Tensor

    def __init__(self, shape: tuple[int, ...], width: int, kernel: int, number: int, rotates: bool) -> None:
        super().__init__()
        cells, series = shape[-1], len(shape) == 2
        both = torch.arange(cells)
        order = torch.cat([both[number % 2 :: 2], both[1 - number % 2 :: 2]]) if series else torch.randperm(cells)
        self.register_buffer("order", order)
        self.register_buffer("back", order.argsort())
        self.register_buffer("turn", nn.init.orthogonal_(torch.empty(shape[0], shape[0])) if rotates else None)
        self.first = len(both[number % 2 :: 2]) if series else cells // 2
        dilation = min(2**number, max(1, self.first // kernel))

        def network(cells: int, out: int) -> nn.Module:
            return (
                _convolutions(shape[0], cells, out, width, kernel, dilation) if series else _layers(cells, out, width)
            )

        self.f, self.g = network(cells - self.first, self.first), network(self.first, cells - self.first)

    def forward(self, x: Tensor) -> Tensor:
        """The block's features, of the shape of `x`."""
        if self.turn is not None:
            x = torch.einsum("rc...,cd->rd...", x, self.turn)
        one, two = self._halves(x)
        one = one + self.f(two)
        two = two + self.g(one)
        return torch.cat([one, two], -1).index_select(-1, self.back)

    def inverse(self, y: Tensor) -> Tensor:
        """The rows of which `y` are the features."""
        one, two = self._halves(y)
        two = two - self.g(one)
        one = one - self.f(two)
        x = torch.cat([one, two], -1).index_select(-1, self.back)
        if self.turn is None:
            return x
        # Not its transpose: what was drawn in float32 is orthogonal to seven digits only, also in a module of float64.
        return torch.einsum("rd...,dc->rc...", x, torch.linalg.inv(self.turn))

    def _halves(self, x: Tensor) -> Sequence[Tensor]:
        return x.index_select(-1, self.order).tensor_split([self.first], -1)


def _layers(cells: int, out: int, width: int) -> nn.Sequential:
    """A network from some columns to others, 0 at first."""
    last = nn.Linear(width, out)
    return nn.Sequential(nn.Linear(cells, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU(), _zero(last))


def _convolutions(channels: int, times: int, out: int, width: int, kernel: int, dilation: int) -> nn.Sequential:
    """A network from every other step of a series to those between, of which there may be one more or less; 0 at first."""
    first, last = (
        nn.Conv1d(*sizes, kernel, padding="same", dilation=dilation) for sizes in ((channels, width), (width, channels))
    )
    # Cut or lengthened between the two, so that the last step is seen where it is the odd one out.
    return nn.Sequential(first, nn.ConstantPad1d((0, out - times), 0.0), nn.SiLU(), _zero(last))


def _zero(layer: nn.Linear | nn.Conv1d) -> nn.Module:
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer
