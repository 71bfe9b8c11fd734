"""LFI-CAM: a network that learns a map of where its features matter, and reads them by it."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..core.attention import AttentionMap
from ..core.evaluation.layers import convolutions
from ..core.results import check_choice, check_count

_SCALE = (
    10.0  # Means of features on [0, 1] are about a tenth: the head reads them in units that train as fast as others.
)
_ROUNDING = 8  # units in the last place of its largest value by which a constant map may vary


class LFICAM(nn.Module):
    """A classifier whose features are weighed by a map that it learns: ``y = head(10 mean_t (1 + A_t) F_t)``.

    F (K, T') are the trunk's features of one sample, brought to [0, 1] by their least and largest value over channels and
    positions; T' stands for one axis of positions or two. How much channel k matters is asked of a feature-importance network
    (FIN) of two convolutions, which sees the features times g, the mean of the input over its channels, averaged down to T':

        s = softmax_k(mean_t FIN(F g)_kt),    A = (m - min m) / (max m - min m),    m_t = sum_k s_k F_kt.

    So ``s_k > 0`` sums to 1 and A lies in [0, 1]; it is the same for all classes. Train it like any network, with cross
    entropy of its outputs; :class:`tsattr.LearnedAttention` shows A. Lee et al., ICCV Workshops 2021.

    Some things differ from the authors' code. *Every extreme and every mean is of one sample*: theirs run over the batch, so
    that a map depends on its company. Their batch normalisation in FIN is a layer normalisation (over channels and
    positions: over positions alone every channel's mean would be the same). A batch equals single runs in training too,
    unless the trunk mixes rows. *A passes gradients*: theirs is detached, and then nothing trains FIN. *A map that is constant up
    to rounding becomes 0*, with gradient 0: it has nothing to point at, and theirs stops. *The head reads ten times the
    means*, which are about a tenth, so that it trains as fast as one on raw features.

    A sample's scale is lost in the features, as in any normalisation over a sample. And A jumps where it becomes constant, as at a
    sample of zeros: integrated gradients from there do not add up, and say so; from a reference, `baselines.Samples`, they do.

    Parameters
    ----------
    trunk
        A module that takes the input (rows, [channels,] *positions) and gives features (rows, K, *positions) at two positions or
        more: a convolutional network without its last pooling and what follows.
    classes
        Number of outputs.
    channels, axes
        K, and the number of axes of positions, 1 or 2; None: those of the trunk's last convolution.

    Attributes
    ----------
    trunk, attention, head
        Its parts; ``attention(trunk(x), x)`` is A (rows, *positions).

    Raises
    ------
    TypeError, ValueError
        The trunk is no module, or has no convolution and `channels` or `axes` is None. When called: features that are not (rows,
        K, *positions).

    Examples
    --------
    >>> import torch, tsattr as ta
    >>> trunk = torch.nn.Sequential(torch.nn.Conv1d(2, 4, 5, padding=2), torch.nn.ReLU())
    >>> net, x = ta.LFICAM(trunk, classes=3), torch.randn(8, 2, 50)
    >>> net(x).shape, net.attention(net.trunk(x), x).shape, net.weights(x).shape
    (torch.Size([8, 3]), torch.Size([8, 50]), torch.Size([8, 4]))
    >>> ta.explain(net, x, ta.LearnedAttention()).attribution.shape
    (8, 2, 50)
    """

    def __init__(self, trunk: nn.Module, classes: int, *, channels: int | None = None, axes: int | None = None) -> None:
        super().__init__()
        if not isinstance(trunk, nn.Module):
            raise TypeError(f"trunk is a torch module, got {type(trunk).__name__}")
        check_count("classes", classes)
        if channels is None or axes is None:
            found = _of_last_convolution(trunk)
            channels, axes = (own if given is None else given for given, own in zip((channels, axes), found))
        check_count("channels", channels)
        check_choice("axes", axes, (1, 2))
        self.trunk = trunk
        self.attention = FeatureImportance(channels, axes)
        self.head = nn.Linear(channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (rows, classes)."""
        features = self._features(x)
        attended = (1 + self.attention(features, x)[:, None]) * unit_range(features)
        logits: Tensor = self.head(_SCALE * attended.flatten(2).mean(2))
        return logits

    def weights(self, x: Tensor) -> Tensor:
        """How much each channel counts in the map, s (rows, K), which sums to 1."""
        return self.attention.weights(unit_range(self._features(x)), x)

    def _features(self, x: Tensor) -> Tensor:
        f, (channels, axes) = self.trunk(x), (self.head.in_features, self.attention.axes)
        if not isinstance(f, Tensor) or f.ndim != 2 + axes or f.shape[2:].numel() < 2:
            shape = tuple(f.shape) if isinstance(f, Tensor) else type(f).__name__
            raise ValueError(
                f"the trunk gives {shape} for rows {tuple(x.shape)}; it gives (rows, channels, positions...) with two positions or "
                f"more along {axes} {'axis' if axes == 1 else 'axes'}: leave out the pooling and flattening at its end, or give axes="
            )
        if f.shape[1] != channels:
            raise ValueError(
                f"the trunk gives {f.shape[1]} channels, where {channels} are expected; give channels={f.shape[1]}"
            )
        return f


class FeatureImportance(AttentionMap):
    """The attention of :class:`LFICAM`: which channels matter, and the map that they make."""

    def __init__(self, channels: int, axes: int) -> None:
        super().__init__()
        conv = (nn.Conv1d, nn.Conv2d)[axes - 1]
        self.axes = axes
        self.pooled: Callable[..., Tensor] = (functional.adaptive_avg_pool1d, functional.adaptive_avg_pool2d)[axes - 1]
        self.importance = nn.Sequential(
            conv(channels, channels, 3, padding=1, bias=False),
            nn.GroupNorm(1, channels),
            nn.ReLU(),
            conv(channels, channels, 3, padding=1, bias=False),
            nn.GroupNorm(1, channels),
        )

    def forward(self, features: Tensor, x: Tensor) -> Tensor:
        """The map A (rows, *positions) of features (rows, K, *positions) that a trunk made of `x`."""
        f = unit_range(features)
        # No ReLU as in the paper: weights and features are not negative.
        return unit_range(torch.einsum("rk,rk...->r...", self.weights(f, x), f))

    def weights(self, f: Tensor, x: Tensor) -> Tensor:
        """Softmax over the channels (rows, K) of what the small network says of features on [0, 1]."""
        if x.ndim <= self.axes:
            raise ValueError(
                f"x is (rows, channels, positions...) with {self.axes} axes of positions, got {tuple(x.shape)}"
            )
        guide = x[:, None].flatten(1, x.ndim - self.axes).mean(1, keepdim=True).to(f.dtype)
        said: Tensor = self.importance(f * self.pooled(guide, f.shape[2:]))
        return said.flatten(2).mean(2).softmax(1)


def unit_range(maps: Tensor) -> Tensor:
    """Each row on [0, 1], ``(m - min) / (max - min)``; 0 and without a gradient where it is constant up to rounding.

    Without that rule rounding would be blown up to a map, and not the same one in each batch.

    >>> unit_range(torch.tensor([[1.0, 3.0, 2.0], [7.0, 7.0, 7.0]])).tolist()
    [[0.0, 1.0, 0.5], [0.0, 0.0, 0.0]]
    """
    over = tuple(range(1, maps.ndim))
    low, high = maps.amin(over, keepdim=True), maps.amax(over, keepdim=True)
    span = high - low
    flat = span <= _ROUNDING * torch.finfo(maps.dtype).eps * torch.maximum(low.abs(), high.abs())
    return torch.where(flat, 0, (maps - low) / torch.where(flat, 1, span))  # no 0 / 0, whose gradient were NaN


def _of_last_convolution(trunk: nn.Module) -> tuple[int, int]:
    """Its channels and its number of axes of positions."""
    names = convolutions(trunk)
    if not names:
        raise ValueError(f"{type(trunk).__name__} has no convolution that tells its channels; give channels= and axes=")
    last = trunk.get_submodule(names[-1])
    assert isinstance(last, nn.modules.conv._ConvNd)
    return last.out_channels, len(last.kernel_size)
