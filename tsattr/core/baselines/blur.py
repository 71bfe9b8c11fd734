"""The baseline that is a blurred copy of the input: Gaussian convolution along some dims."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from ..axes import Axes
from ..keys import Key
from .fills import Baseline, Full, tensor_like


@dataclass(frozen=True, init=False)
class Blur(Baseline):
    """A Gaussian-blurred copy: ``x' = K * x`` along the named dims, never across the others.

    ``Blur(time="50ms")`` names the standard deviation along each dim, in coordinate units or in cells. Truncated at four
    standard deviations; edges reflect (``d c b a | a b c d | d c b a``), periodic dims wrap. Missing cells are left out
    by normalised convolution, ``K * (m x) / K * m``. A sinusoid of angular frequency w is scaled by
    ``exp(-sigma^2 w^2 / 2)``. What is smooth anyway gets little attribution.
    """

    sentence: ClassVar[str] = "a blurred copy of the input"
    note: ClassVar[str] = (
        "The baseline is a blurred copy: only what the blur removes, sharp and fast structure, can be credited. "
        "Slow levels and drifts remain in the baseline and get next to nothing."
    )
    sigma: tuple[tuple[str, float | str], ...]

    def __init__(self, sigma: Any = (), **sigmas: float | str) -> None:
        pairs = tuple(dict(sigma).items()) + tuple(sigmas.items())
        if not pairs:
            raise ValueError("Blur needs a standard deviation along at least one dim, like Blur(time='50ms')")
        object.__setattr__(self, "sigma", pairs)

    def __repr__(self) -> str:
        return f"Blur({', '.join(f'{d}={s!r}' for d, s in self.sigma)})"

    def _bind(self, axes: Axes) -> Full:
        kernels = [Kernel.of(axes, dim, size) for dim, size in self.sigma]

        def smooth(v: Tensor) -> Tensor:
            for kernel in kernels:
                v = kernel(v)
            return v

        def full(x: Tensor, key: Key) -> Tensor:
            missing = torch.isnan(x)
            if not missing.any():
                return smooth(x)
            known = smooth(torch.where(missing, 0, x))
            weight = smooth((~missing).to(x.dtype))
            # A gap wider than the kernel has no weight; its cells are invalid, so their value is never used.
            return known / torch.where(weight > 0, weight, 1)

        return Full(full)


@dataclass(frozen=True)
class Kernel:
    """Gaussian convolution along one axis, as scipy.ndimage.gaussian_filter1d does it.

    The padded line is periodic, mirrored or not. The taps of a kernel that is longer than a period are folded onto one, so
    that none is longer; the widest kernels are the mean over the period.
    """

    axis: int
    taps: np.ndarray
    source: np.ndarray
    folded: bool = False

    @classmethod
    def of(cls, axes: Axes, dim: str, size: float | str) -> Kernel:
        """The kernel of a standard deviation in cells or with a unit."""
        sigma = axes.cells(dim, size)
        if isinstance(size, bool) or not sigma > 0:
            raise ValueError(f"Blur needs a standard deviation > 0 along dim {dim!r}, got {size!r}")
        n, axis = axes.shape[axes.axis(dim)], 1 + axes.axis(dim)
        line = np.arange(n) if dim in axes.periodic else np.concatenate([np.arange(n), np.arange(n)[::-1]])
        if sigma > 4 * len(line):  # even over a period, to the accuracy of a kernel cut at four standard deviations
            return cls(axis, np.full(len(line), 1 / len(line)), line, True)
        radius = int(4 * sigma + 0.5)
        at = np.arange(-radius, radius + 1)
        taps = np.exp(-0.5 * (at / sigma) ** 2)
        taps /= taps.sum()
        if len(taps) > len(line):
            return cls(axis, np.bincount(at % len(line), taps, len(line)), line, True)
        return cls(axis, taps, np.pad(np.arange(n), radius, mode="wrap" if dim in axes.periodic else "symmetric"))

    def __call__(self, x: Tensor) -> Tensor:
        """`x` (rows, *event) smoothed along the axis."""
        padded = x.index_select(self.axis, torch.as_tensor(self.source, device=x.device)).movedim(self.axis, -1)
        if self.folded:
            period = len(self.taps)
            taps = torch.fft.rfft(torch.as_tensor(self.taps, device=x.device))
            out = torch.fft.irfft(torch.fft.rfft(padded.to(torch.float64)) * taps, period)
            smoothed: Tensor = out[..., : x.shape[self.axis]].to(x.dtype)
            return smoothed.movedim(-1, self.axis)
        taps = tensor_like(self.taps, x)[None, None]
        out = torch.nn.functional.conv1d(padded.reshape(-1, 1, padded.shape[-1]), taps)
        return out.reshape(*padded.shape[:-1], -1).movedim(-1, self.axis)
