"""Methods that read the model's gradient at the input or near it: saliency, input times gradient, SmoothGrad."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from ..core.baselines import Constant
from ..core.method import Method
from ..core.results import EVENT, Field, affordable, check_count, check_positive
from ..core.samples import Moments, SampleChunk


@dataclass(frozen=True)
class Saliency(Method):
    """The gradient at the input, by default its size: ``|df/dx_i|``.

    Which cells the output would react to most, per unit of `x`; it says nothing of what is there, and is 0 where the
    model is saturated. Simonyan et al., 2014.

    Parameters
    ----------
    absolute
        False keeps the gradient's sign.

    Examples
    --------
    >>> import torch, tsattr as ta
    >>> f = lambda x: (x * torch.tensor([2.0, -3.0])).sum(1)
    >>> ta.explain(f, torch.ones(1, 2), ta.Saliency()).attribution.values.tolist()
    [[2.0, 3.0]]
    """

    absolute: bool = True
    gradient: ClassVar[bool] = True
    sentence: ClassVar[str] = "Saliency: the slope of the target at the input, cell by cell."
    note: ClassVar[str] = (
        "A slope tells where a small change would matter, not what the present value contributed: a model that is sure "
        "may have slopes near zero everywhere."
    )

    def __call__(self, samples: SampleChunk) -> dict[str, Field]:
        """Explain some samples."""
        g = samples.intact_gradients()
        return {"attribution": Field(("target", EVENT), g.abs() if self.absolute else g)}

    def rows(self) -> tuple[int, int]:
        """The intact sample, and once more with its gradient."""
        return 2, 2


@dataclass(frozen=True)
class InputXGradient(Method):
    """The input times its gradient: ``x_i df/dx_i``.

    Integrated gradients with a zero baseline for functions of degree one; elsewhere its first-order guess. So it warns where
    a zero baseline would. Shrikumar et al., 2016.

    Examples
    --------
    >>> import torch, tsattr as ta
    >>> f = lambda x: (x * torch.tensor([2.0, -3.0])).sum(1)
    >>> ta.explain(f, torch.ones(1, 2), ta.InputXGradient()).attribution.values.tolist()
    [[2.0, -3.0]]
    """

    gradient: ClassVar[bool] = True
    in_target_units: ClassVar[bool] = True
    implied_baseline: ClassVar[Constant] = Constant(0.0)
    sentence: ClassVar[str] = "Input times gradient: the slope of the target at the input, times the input's own value."
    note: ClassVar[str] = (
        "Input times gradient looks at the model near the input only, and a cell at zero gets nothing."
    )

    def __call__(self, samples: SampleChunk) -> dict[str, Field]:
        """Explain some samples."""
        x = samples.known.to(torch.float64)[:, None]
        return {"attribution": Field(("target", EVENT), samples.intact_gradients() * x)}

    def rows(self) -> tuple[int, int]:
        """The intact sample, and once more with its gradient."""
        return 2, 2


@dataclass(frozen=True)
class SmoothGrad(Method):
    """The mean gradient over noisy copies: ``E[df/dx_i (x + e)], e ~ N(0, sigma^2)``, with its standard error.

    Smilkov et al., 2017.

    Parameters
    ----------
    noise
        A number: sigma as a share of the sample's own range (largest less smallest valid value), as in the paper, of each
        variable by itself. Or a baseline that draws round the input, such as ``Gaussian(sigma)`` in the units of `x`.
    draws
        Number of noisy copies.
    absolute
        True for the size of the mean gradient.
    """

    noise: Any = 0.15
    draws: int = 50
    absolute: bool = False
    gradient: ClassVar[bool] = True
    binds: ClassVar[Mapping[str, str]] = {"noise": "noise", "draws": "draws"}
    effort: ClassVar[tuple[str, ...]] = ("draws",)
    sentence: ClassVar[str] = "SmoothGrad: slopes of the target averaged over noisy copies of the input."
    note: ClassVar[str] = "A slope tells where a small change would matter, not what the present value contributed."

    def __post_init__(self) -> None:
        check_count("draws", self.draws)
        if isinstance(self.noise, int | float):
            check_positive("SmoothGrad needs noise", self.noise)

    def __call__(self, samples: SampleChunk) -> dict[str, Field]:
        """Explain some samples."""
        moments = Moments(samples.n, (samples.targets, *samples.event), self.draws, samples.x.device)
        for i, draw in samples.draws(self.draws):

            def noisy(at: slice, i: Tensor = i, draw: Tensor = draw) -> Tensor:
                return samples.fill(self.noise, i[at], draw[at])

            for at, grads in samples.gradients(i, noisy):
                moments.add(i[at], draw[at], torch.stack(grads, 1))
        mean = moments.mean()
        out = {"attribution": Field(("target", EVENT), mean.abs() if self.absolute else mean)}
        if self.draws > 1:
            out["standard_error"] = Field(("target", EVENT), moments.standard_error())
        return out

    def rows(self) -> tuple[int, int]:
        """The intact sample and the noisy copies."""
        return 1 + self.draws, 1 + self.draws

    def within(self, rows: int) -> SmoothGrad:
        """As many draws as `rows` rows a sample allow."""
        return replace(self, draws=affordable("draws", rows - 1, self, rows))
