"""A learnt law of all series together, step by step: what is absent given what is present now and all of the past."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from ..axes import Axes
from ..bound import Ahead
from ..keys import Key
from ..results import check_count
from .fills import Causal
from .fitted import Fitted
from .forecast import noise
from .normal import latent_of
from .training import ChannelMap, Learnt, Past, Recipe, Series

_FACTORS = 32  # of the covariance of many channels; of fewer it is full


class StepLaw(Past):
    """From the past of all channels to the normal law of the next step, mu + F z + e; any covariance needs channels - 1 factors."""

    def __init__(self, channels: int, factors: int, hidden: int) -> None:
        super().__init__(channels, hidden, channels * (2 + factors))
        self.shape = channels, 2 + factors

    def law(self, state: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Mean (..., channels), factor (..., channels, factors) and noise (..., channels), a variance, after a state."""
        found = self.head(state).reshape(*state.shape[:-1], *self.shape)
        return found[..., 0], found[..., 2:], (2 * found[..., 1].clamp(-7, 7)).exp()


def posterior(mean: Tensor, factor: Tensor, noise: Tensor, values: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
    """Score and root of the precision of z (see `latent_of`) given the `values` (..., channels) that are present."""
    weight = present / noise
    away = torch.where(present, values - mean, 0)
    one = torch.eye(factor.shape[-1], dtype=mean.dtype, device=mean.device)
    root = torch.linalg.cholesky(one + factor.mT @ (weight[..., None] * factor))
    return (factor.mT @ (weight * away)[..., None])[..., 0], root


def conditioned(
    mean: Tensor, factor: Tensor, noise: Tensor, values: Tensor, present: Tensor, numbers: tuple[Tensor, Tensor] | None
) -> Tensor:
    """`values` (r, channels), those not present at their conditional mean, or drawn by N(0, 1) `numbers` for z and e."""
    z = latent_of(*posterior(mean, factor, noise, values, present), None if numbers is None else numbers[0])
    found = mean + (factor @ z[..., None])[..., 0]
    if numbers is not None:
        found = found + noise.sqrt() * numbers[1]
    return torch.where(present, values, found)


def negative_log_density(mean: Tensor, factor: Tensor, noise: Tensor, values: Tensor, present: Tensor) -> Tensor:
    """Minus the log density (...) of the present values, up to a constant, by the lemmas of Woodbury and Sylvester."""
    score, root = posterior(mean, factor, noise, values, present)
    white = torch.linalg.solve_triangular(root, score[..., None], upper=False)[..., 0]
    square = torch.where(present, (values - mean) ** 2 / noise, 0).sum(-1) - (white**2).sum(-1)
    size = torch.where(present, noise.log(), 0).sum(-1) + 2 * root.diagonal(dim1=-2, dim2=-1).log().sum(-1)
    found: Tensor = (square + size) / 2
    return found


@dataclass(frozen=True)
class JointGenerator(Learnt):
    """What is absent at a time given what is present at that time and the past of all series, learnt. Causal.

    A GRU over the past gives a normal law of all series at the next step, with a full covariance, trained by likelihood.
    To fill, it walks through the gap: at each step the law is conditioned, exactly, on the series that are present, the
    absent ones are drawn (or set to their mean), and the step so completed is part of the past of the next. So it serves
    any pattern of gaps: a feature given the others, or, as FIT asks, the others given a feature.

    The covariance is held as ``F F^T + diag(noise)``, F with one factor less than there are series, which can be any
    covariance, and with at most 32. Draws have the same numbers at a time whatever the start of the gap, so that what
    later starts change is not noise.

    It assumes that a step is about normal given the past.

    Parameters
    ----------
    fitted
        Made by :meth:`fit`.
    hidden
        The GRU's size.
    dim
        The dim of time; its cells count as even steps.
    draw
        Draw instead of taking the mean; use several draws.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> rng = np.random.default_rng(0)
    >>> twins = rng.normal(size=(60, 1, 8)) + 0.1 * rng.normal(size=(60, 2, 8))
    >>> x = xr.DataArray(twins, dims=("sample", "feature", "time"))
    >>> law = JointGenerator.fit(x, epochs=2, hidden=4)
    >>> law.calibration(x).error.shape
    (1,)

    References
    ----------
    Tonekaboni et al., "What went wrong and when? Instance-wise feature importance for time-series black-box models",
    NeurIPS 2020, whose generator is of one step, with a latent variable.
    """

    sentence: ClassVar[str] = "values from a learnt generator, given what came before and what is present"
    fitted: Fitted
    hidden: int = 50
    dim: str = "time"
    draw: bool = True

    @classmethod
    def fit(
        cls,
        reference: Any,
        *,
        dim: str = "time",
        draw: bool = True,
        hidden: int = 50,
        sample_dim: str = "sample",
        **recipe: Any,
    ) -> JointGenerator:
        """Train on a reference with a sample dim; `recipe` is that of `Generator.fit`.

        Raises
        ------
        ValueError
            Fewer than two samples or times, a series without values, a setting out of range, a loss that is not finite.
        """
        check_count("hidden", hidden)
        settings = Recipe(**recipe)
        data = Series.of(reference, dim, sample_dim)
        draft = cls(Fitted(data.arrays, ""), hidden, dim, draw)
        trained: JointGenerator = draft._trained(data, _risk, settings)
        return trained

    def network(self) -> StepLaw:
        """The network of these settings, not trained."""
        channels = self.fitted["shift"].size
        return StepLaw(channels, min(channels - 1, _FACTORS), self.hidden)

    def _forecasts(self, net: Any, rows: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """One step ahead, from the second step on: nothing comes before the first."""
        mean, factor, noise = net.law(net(rows)[:, 1:-1])
        sd = ((factor**2).sum(-1) + noise).sqrt()
        observed = rows[:, 1:]
        return mean[..., None], sd[..., None], observed[..., :1], observed[..., 1:] > 0

    def _bind(self, axes: Axes) -> Causal:
        channels = ChannelMap(self.fitted, axes, self.dim, type(self).__name__)
        net: StepLaw = self.trained

        def numbers(key: Key) -> tuple[Tensor, Tensor, Tensor] | None:
            """For z and for e of every time, (distinct, times, ...), and which of them is each row's."""
            if not self.draw:
                return None
            first, own = key.distinct()
            key, start = key.at(first), torch.zeros_like(first)
            error = noise(key, start, channels.times, 1, channels.others)
            latent = key.fork(0).normal(error.new_empty(len(first), channels.times, net.shape[1] - 2))
            return latent, channels.to_channels(error), own

        def fill_step(rows: Tensor, absent: Tensor, state: Tensor, drawn: Any, time: Any) -> tuple[Tensor, Tensor]:
            """The filled values (r, channels) of one step (r, channels, 2), and the state after it; missing cells stay missing in it."""
            known = rows[..., 1] > 0
            now = None if drawn is None else (drawn[0][drawn[2], time], drawn[1][drawn[2], time])
            values = conditioned(*net.law(state), rows[..., 0], known & ~absent, now)
            known = (known | absent).to(values.dtype)
            return values, net.step(torch.stack([values * known, known], -1), state)

        def ahead(known: Tensor) -> Ahead:
            series = channels.to_rows(known)
            with torch.no_grad():
                states = net.to(known.device)(series)

            def values(i: Tensor, start: Tensor, length: int, absent: Tensor, key: Key) -> Tensor:
                absent, state, drawn, out = channels.to_channels(absent), states[i, start], numbers(key), []
                with torch.no_grad():
                    for step in range(length):
                        at = (start + step).clamp(max=channels.times - 1)
                        filled, state = fill_step(series[i, at], absent, state, drawn, at)
                        out.append(filled)
                return channels.to_values(torch.stack(out, 1)).to(known.dtype)

            return values

        def fill(x: Tensor, absent: Tensor, key: Key) -> Tensor:
            absent = absent.expand_as(x)
            series = channels.to_rows(torch.where(absent, torch.nan, x))
            absent_channels = channels.to_channels(absent.movedim(1 + channels.axis, 1))
            times = absent_channels.flatten(2).any(2).any(0).nonzero()[:, 0].tolist()
            if not times:
                return x
            drawn, out = numbers(key), series[..., 0].clone()
            with torch.no_grad():
                state = net.to(x.device)(series[:, : times[0]])[:, -1]
                for time in range(times[0], times[-1] + 1):
                    out[:, time], state = fill_step(series[:, time], absent_channels[:, time], state, drawn, time)
            values = channels.to_values(out).movedim(1, 1 + channels.axis).to(x.dtype)
            return torch.where(absent, values, x)

        return Causal(fill, ahead)


def _risk(net: StepLaw, rows: Tensor) -> Tensor:
    """Minus the log-likelihood of each known step given the past, by channel; missing channels are left out exactly."""
    known = rows[..., 1] > 0
    return negative_log_density(*net.law(net(rows)[:, :-1]), rows[..., 0], known).sum() / known.sum().clamp(min=1)
