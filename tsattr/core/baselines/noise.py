"""Baselines that draw round the input itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from ..arrays import Array, numbers_of
from ..axes import Axes
from ..keys import Key
from .fills import Baseline, Full, draw_by_name, per_row


@dataclass(frozen=True)
class Gaussian(Baseline):
    """Noise centred on the input: ``x'_i ~ N(x_i, sigma_i^2)``, truncated (not clipped) to ``[low, high]`` if given.

    Truncation redraws within the bounds, so no mass piles up on them; as sigma grows it tends to :class:`Uniform`. An
    `x` outside the bounds is drawn from the part of its normal that lies inside.

    Parameters
    ----------
    sigma
        Standard deviation in the units of `x`: a number or an array labelled by some of the input's dims.
    low, high
        Bounds, or None.
    """

    sentence: ClassVar[str] = "the input with random noise added"
    note: ClassVar[str] = (
        "The baseline is a noisy copy of the input: the map tells what the model does in its neighbourhood."
    )
    sigma: Any
    low: Any = None
    high: Any = None
    random: ClassVar[bool] = True

    def __post_init__(self) -> None:
        for name in ("sigma", "low", "high"):
            if not isinstance(value := getattr(self, name), int | float | None):
                object.__setattr__(self, name, Array.of(value))
        if not (numbers_of(Array.of(self.sigma).values, "sigma of Gaussian") > 0).all():
            raise ValueError(f"Gaussian needs sigma > 0, got {self.sigma!r}")

    def _bind(self, axes: Axes) -> Full:
        sigma = axes.align(Array.of(self.sigma), "Gaussian baseline").astype(np.float64)
        bounds = [None if b is None else axes.align(Array.of(b), "Gaussian baseline") for b in (self.low, self.high)]

        def full(x: Tensor, key: Key) -> Tensor:
            s = per_row(sigma, x, key)
            if all(b is None for b in bounds):
                return x + s * draw_by_name(key.normal, x, axes)
            x64, s64 = x.double(), s.double()
            low, high = (
                torch.tensor(p, dtype=torch.float64, device=x.device)
                if b is None
                else torch.special.ndtr((per_row(b, x64, key) - x64) / s64)
                for b, p in zip(bounds, (0.0, 1.0))
            )
            tiny = torch.finfo(torch.float64).tiny
            z = torch.special.ndtri((low + (high - low) * draw_by_name(key.uniform, x64, axes)).clamp(tiny, 1 - 2**-53))
            out = x64 + s64 * z
            for b, limit in zip(bounds, (torch.maximum, torch.minimum)):  # far tails: the quantile has no digits left
                out = out if b is None else limit(out, per_row(b, x64, key))
            drawn: Tensor = out.to(x.dtype)
            return drawn

        return Full(full)


@dataclass(frozen=True)
class Jitter(Baseline):
    """Noise centred on the input, in proportion to the sample: ``x'_i ~ N(x_i, (share * (max x - min x))^2)``.

    Parameters
    ----------
    share
        Standard deviation as a share of the range of the sample's valid cells (Smilkov et al., 2017).
    """

    sentence: ClassVar[str] = "the input with random noise added, in proportion to its range"
    share: float
    random: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not self.share > 0:
            raise ValueError(f"Jitter needs share > 0, got {self.share!r}")

    def _bind(self, axes: Axes) -> Full:
        def full(x: Tensor, key: Key) -> Tensor:
            missing, cells = torch.isnan(x), list(range(1, x.ndim))
            high = torch.where(missing, -torch.inf, x).amax(cells, keepdim=True)
            low = torch.where(missing, torch.inf, x).amin(cells, keepdim=True)
            return x + self.share * (high - low) * draw_by_name(key.normal, x, axes)

        return Full(full)
