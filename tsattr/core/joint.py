"""A learnt law of all series together, step by step: what is absent given what is present now and all of the past."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from .ahead import noise
from .axes import Axes
from .fills import Baseline, Causal
from .fitted import Fitted
from .keys import Key
from .results import check_count
from .training import Calibration, Channels, Frame, Recipe, load, save, split, state_arrays, train, with_weights

_MOST = 64  # channels: a full covariance of each step


class StepLaw(nn.Module):
    """From the past of all channels to the mean and the Cholesky factor of the covariance of the next step."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.channels, self.hidden = channels, hidden
        self.past = nn.GRU(2 * channels, hidden, batch_first=True)
        self.head = nn.Sequential(
            nn.Linear(hidden, hidden), nn.Tanh(), nn.Linear(hidden, channels + channels * (channels + 1) // 2)
        )
        self.at: Tensor
        self.register_buffer("at", torch.tril_indices(channels, channels), persistent=False)

    def law(self, state: Tensor) -> tuple[Tensor, Tensor]:
        """Mean (..., channels) and factor (..., channels, channels) of the step after a state (..., hidden)."""
        found = self.head(state)
        mean, low = found[..., : self.channels], found[..., self.channels :]
        root = low.new_zeros(*low.shape[:-1], self.channels, self.channels)
        root[..., self.at[0], self.at[1]] = low
        diagonal = root.diagonal(dim1=-2, dim2=-1).clamp(-7, 7).exp()
        return mean, root.tril(-1) + torch.diag_embed(diagonal)

    def step(self, rows: Tensor, state: Tensor) -> Tensor:
        """The state (r, hidden) after one more step (r, channels, 2)."""
        after: Tensor = self.past(rows.flatten(1)[:, None], state[None].contiguous())[1][0]
        return after

    def forward(self, rows: Tensor) -> Tensor:
        """States (n, times + 1, hidden) before each step of rows (n, times, channels, 2), and after the last."""
        states = self.past(rows.flatten(2))[0]
        return torch.cat([torch.zeros_like(states[:, :1]), states], 1)


def conditioned(mean: Tensor, root: Tensor, values: Tensor, present: Tensor, numbers: Tensor | None) -> Tensor:
    """`values` (r, channels) with what is not present at its conditional mean, or a draw, of N(mean, root root^T).

    The draw is Matheron's: one of the whole normal, y, and ``y_A + C_AP C_PP^-1 (x_P - y_P)``, which is exact.
    """
    drawn = mean if numbers is None else mean + (root @ numbers[..., None])[..., 0]
    covariance = root @ root.mT
    both = present[:, :, None] & present[:, None, :]
    one = torch.eye(mean.shape[1], dtype=mean.dtype, device=mean.device)
    away = torch.where(present, values - drawn, 0)
    weight = torch.linalg.solve(torch.where(both, covariance, one), away[..., None])
    weight = torch.where(present[..., None], weight, 0)
    return torch.where(present, values, drawn + (covariance @ weight)[..., 0])


@dataclass(frozen=True)
class JointGenerator(Baseline):
    """What is absent at a time given what is present at that time and the past of all series, learnt. Causal.

    A GRU over the past gives a normal law of all series at the next step, with a full covariance, trained by likelihood.
    To fill, it walks through the gap: at each step the law is conditioned, exactly, on the series that are present, the
    absent ones are drawn (or set to their mean), and the step so completed is part of the past of the next. So it serves
    any pattern of gaps: a feature given the others, or, as FIT asks, the others given a feature.

    It assumes that a step is about normal given the past. For many series (more than 64) give it families of them.

    Parameters
    ----------
    fitted
        Made by :meth:`fit`.
    hidden
        The GRU's size.
    dim
        The dim of time.
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
            Fewer than two samples or times, more than 64 series, a setting out of range, a loss that is not finite.
        """
        check_count("hidden", hidden)
        settings = Recipe(**recipe)
        data = Channels.of(reference, dim, sample_dim)
        if data.rows.shape[2] > _MOST:
            raise ValueError(
                f"a joint law of {data.rows.shape[2]} series is too large, at most {_MOST} can be; fit it to a selection, or "
                "use Generator"
            )
        net, how = train(lambda: StepLaw(data.rows.shape[2], hidden), _risk, data.tensor, settings)
        held = data.tensor[torch.as_tensor(split(len(data.rows), settings)[1])]
        how += f", predicted/actual error={_calibration(net, held).ratio.mean():.2f}"
        return cls(Fitted(data.arrays | state_arrays(net), data.source() + f"; {how}"), hidden, dim, draw)

    @property
    def random(self) -> bool:  # type: ignore[override]
        """True where draws differ."""
        return self.draw

    def _net(self) -> Any:
        return with_weights(lambda: StepLaw(self.fitted["shift"].size, self.hidden), self.fitted)

    def calibration(self, x: Any, *, sample_dim: str = "sample") -> Calibration:
        """How well one-step forecasts of series that were not trained on agree with what came."""
        return _calibration(self._net(), Channels.of(x, self.dim, sample_dim).in_units_of(self.fitted))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write it to an ``.npz`` file, whole or not at all, without pickle."""
        save(path, type(self).__name__, self.fitted, {"hidden": self.hidden, "dim": self.dim, "draw": self.draw})

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> JointGenerator:
        """Read what :meth:`save` wrote."""
        fitted, settings = load(path, cls.__name__)
        return cls(fitted, **settings)

    def _bind(self, axes: Axes) -> Causal:
        frame, net = Frame(self.fitted, axes, self.dim, "JointGenerator"), self._net()

        def numbers(key: Key, start: Tensor) -> Tensor | None:
            """For each step after a start, whatever the length of its window."""
            if not self.draw:
                return None
            values = noise(key, start, 1, frame.times, frame.others)[:, 0]
            return frame.to_channels(values)

        def completed(rows: Tensor, present: Tensor, state: Tensor, drawn: Tensor | None) -> Tensor:
            """One step (r, channels, 2) with what is neither present nor missing filled."""
            mean, root = net.law(state)
            values = conditioned(mean, root, rows[..., 0], present, drawn)
            known = (rows[..., 1] > 0) | ~present
            return torch.stack([torch.where(known, values, 0), known.to(values.dtype)], -1)

        def walk(rows: Tensor, gone: Tensor, state: Tensor, drawn: Any) -> tuple[Tensor, Tensor]:
            """Fill one step: values of all channels, and the state after it. Missing cells stay missing in the past."""
            present = ~gone & (rows[..., 1] > 0)
            full = completed(rows, present, state, drawn)
            past = torch.where((gone | present)[..., None], full, 0)
            return full[..., 0], net.step(past, state)

        def ahead(known: Tensor) -> Any:
            series = frame.to_rows(known)
            with torch.no_grad():
                states = net.to(known.device)(series)

            def values(i: Tensor, start: Tensor, length: int, gone: Tensor, key: Key) -> Tensor:
                absent, state, out = frame.to_channels(gone), states[i, start], []
                with torch.no_grad():
                    for step in range(length):
                        at = (start + step).clamp(max=frame.times - 1)
                        filled, state = walk(series[i, at], absent, state, numbers(key.fork(step), start))
                        out.append(filled)
                return frame.to_values(torch.stack(out, 1)).to(known.dtype)

            return values

        def fill(x: Tensor, absent: Tensor, key: Key) -> Tensor:
            series = frame.to_rows(torch.where(absent, torch.nan, x))
            gone = absent.expand_as(x).movedim(1 + frame.axis, 1)
            state, out = series.new_zeros(len(x), net.hidden), []
            with torch.no_grad():
                net.to(x.device)
                for time in range(frame.times):
                    absent_now = frame.to_channels(gone[:, time])
                    at = torch.full((len(x),), time, device=x.device)
                    filled, state = walk(series[:, time], absent_now, state, numbers(key, at))
                    out.append(filled)
            values = frame.to_values(torch.stack(out, 1)).movedim(1, 1 + frame.axis).to(x.dtype)
            return torch.where(absent, values, x)

        return Causal(fill, ahead)


def _risk(net: Any, rows: Tensor) -> Tensor:
    """Minus the log-likelihood of each known step given the past, by channel; missing channels are left out exactly."""
    mean, root = net.law(net(rows)[:, :-1])
    known = rows[..., 1] > 0
    one = torch.eye(mean.shape[-1], dtype=mean.dtype)
    covariance = root @ root.mT
    both = known[..., :, None] & known[..., None, :]
    lower = torch.linalg.cholesky(torch.where(both, covariance, one))
    away = torch.where(known, rows[..., 0] - mean, 0)
    white = torch.linalg.solve_triangular(lower, away[..., None], upper=False)[..., 0]
    cost = (white**2).sum(-1) / 2 + lower.diagonal(dim1=-2, dim2=-1).log().sum(-1)
    return cost.sum() / known.sum().clamp(min=1)


def _calibration(net: Any, rows: Tensor) -> Calibration:
    """One step ahead, from the second on: what comes first is not forecast from anything."""
    with torch.no_grad():
        mean, root = net.law(net(rows)[:, 1:-1])
    sd = (root**2).sum(-1).sqrt()
    came = rows[:, 1:]
    parts = (mean, sd, came[..., 0], came[..., 1] > 0)
    return Calibration.of(*(v[..., None].numpy() for v in parts))
