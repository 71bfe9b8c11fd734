"""A learnt law of the near future given the past of all series: what WinIT puts in the place of a feature's recent past."""

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
from .forecast import fill_gaps, noise
from .training import ChannelMap, Learnt, Past, Recipe, Series

LOSSES = ("likelihood", "mse")


class Forecaster(Past):
    """From the past of all channels to the mean and log standard deviation of each at the next `horizon` steps."""

    def __init__(self, channels: int, horizon: int, hidden: int) -> None:
        super().__init__(channels, hidden, 2 * horizon * channels)
        self.shape = horizon, channels, 2

    def law(self, state: Tensor) -> tuple[Tensor, Tensor]:
        """Means and log standard deviations (..., horizon, channels) after a state (..., hidden)."""
        found = self.head(state).reshape(*state.shape[:-1], *self.shape)
        return found[..., 0], found[..., 1].clamp(-7, 7)


def next_steps(rows: Tensor, horizon: int) -> tuple[Tensor, Tensor]:
    """The values of the next `horizon` steps from each time on (n, times, horizon, channels), and where they are known."""
    ahead = torch.nn.functional.pad(rows, (0, 0, 0, 0, 0, horizon - 1)).unfold(1, horizon, 1)
    ahead = ahead.permute(0, 1, 4, 2, 3)
    return ahead[..., 0], ahead[..., 1] > 0


@dataclass(frozen=True)
class Generator(Learnt):
    """The next steps of each series given the past of all, learnt: a draw from N(mean, sd), or the mean alone. Causal.

    A GRU over the past gives, by one pass, the mean and standard deviation of every series at each of the next `horizon`
    steps; given the past, series and steps are drawn by themselves. A gap longer than the horizon is continued from what
    was filled; ``WinIT`` refuses one. Missing values are told to the network, and never trained on.

    With ``loss="likelihood"`` the spread is learnt as it is, and draws are calibrated (look at :meth:`calibration`). With
    ``loss="mse"``, the squared error of a draw as in the authors' code of WinIT, the best spread is 0: draws collapse to a
    point forecast, and several of them are a waste. With ``draw=False`` it is one, whatever the loss.

    It assumes that the future is about normal given the past, of series like those it was fitted to.

    Parameters
    ----------
    fitted
        Made by :meth:`fit`.
    horizon, hidden
        Steps ahead, and the GRU's size.
    dim
        The dim of time; its cells count as even steps.
    draw
        Draw instead of taking the mean; use several draws.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> walks = np.random.default_rng(0).normal(size=(40, 1, 12)).cumsum(2)
    >>> x = xr.DataArray(walks, dims=("sample", "feature", "time"))
    >>> law = Generator.fit(x, horizon=3, epochs=2, hidden=4)
    >>> law.calibration(x).error.shape
    (3,)

    References
    ----------
    Leung et al., "Temporal dependencies in feature importance for time series prediction", ICLR 2023.
    """

    sentence: ClassVar[str] = "values from a learnt generator, given what came before"
    fitted: Fitted
    horizon: int = 10
    hidden: int = 50
    dim: str = "time"
    draw: bool = True

    @classmethod
    def fit(
        cls,
        reference: Any,
        horizon: int = 10,
        *,
        dim: str = "time",
        draw: bool = True,
        loss: str = "likelihood",
        hidden: int = 50,
        sample_dim: str = "sample",
        **recipe: Any,
    ) -> Generator:
        """Train on a reference with a sample dim (DataArray, or array with the samples first); its NaN are missing.

        Parameters
        ----------
        reference
            Training-like series.
        horizon
            Steps ahead: at least the window of the WinIT that is to use it. No more can be learnt than the reference has
            times less one.
        dim, draw, hidden
            As in the class.
        loss
            "likelihood" or "mse", see the class.
        sample_dim
            Name of the reference's sample dim.
        **recipe
            ``epochs`` (300 at most), ``patience`` (20 epochs without a better validation loss end the training, and the
            best is kept), ``batch``, ``learning_rate``, ``validation`` (share of samples), ``seed``, ``progress``.

        Raises
        ------
        ValueError
            Fewer than two samples or times, a series without values, a setting out of range, a loss that is not finite.

        Warns
        -----
        UserWarning
            Where draws have collapsed: they predict less than half of the errors they make.
        """
        check_count("horizon", horizon)
        check_count("hidden", hidden)
        if loss not in LOSSES:
            raise ValueError(f"loss is one of {LOSSES}, got {loss!r}")
        settings = Recipe(**recipe)
        data = Series.of(reference, dim, sample_dim)
        horizon = min(horizon, data.rows.shape[1] - 1)

        def risk(net: Forecaster, rows: Tensor) -> Tensor:
            mean, log_sd = net.law(net(rows)[:, :-1])
            observed, known = next_steps(rows, horizon)
            if loss == "mse":
                cost = (observed - mean) ** 2 + (2 * log_sd).exp()  # the expectation of (observed - mean - sd e)^2
            else:
                cost = log_sd + ((observed - mean) / log_sd.exp()) ** 2 / 2
            return torch.where(known, cost, 0).sum() / known.sum().clamp(min=1)

        draft = cls(Fitted(data.arrays, ""), horizon, hidden, dim, draw)
        trained: Generator = draft._trained(data, risk, settings, horizon=horizon, loss=loss)
        return trained

    def network(self) -> Forecaster:
        """The network of these settings, not trained."""
        return Forecaster(self.fitted["shift"].size, self.horizon, self.hidden)

    def _forecasts(self, net: Any, rows: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        mean, log_sd = net.law(net(rows)[:, 1:-1])
        observed, known = next_steps(rows, self.horizon)
        return mean.mT, log_sd.exp().mT, observed[:, 1:].mT, known[:, 1:].mT

    def _bind(self, axes: Axes) -> Causal:
        channels = ChannelMap(self.fitted, axes, self.dim, type(self).__name__)
        net: Forecaster = self.trained

        def forecast(state: Tensor, start: Tensor, key: Key) -> Tensor:
            """Values (r, horizon, \\*channels of the input) from each start on."""
            with torch.no_grad():
                mean, log_sd = net.law(state)
            values = channels.to_values(mean)
            if not self.draw:
                return values
            return values + channels.to_widths(log_sd.exp()) * noise(
                key, start, self.horizon, channels.times, channels.others
            )

        def states(rows: Tensor) -> Tensor:
            with torch.no_grad():
                found: Tensor = net.to(rows.device)(rows)
            return found

        def ahead(known: Tensor) -> Ahead:
            before = states(channels.to_rows(known))

            def values(i: Tensor, start: Tensor, length: int, absent: Tensor, key: Key) -> Tensor:
                if length > self.horizon:
                    raise ValueError(
                        f"the generator forecasts {self.horizon} steps, and a window has {length}; fit it with "
                        f"horizon={length}, or take a shorter window"
                    )
                return forecast(before[i, start], start, key)[:, :length].to(known.dtype)

            return values

        def after(x: Tensor, start: int, key: Key) -> Tensor:
            state = states(channels.to_rows(x)[:, :start])[:, -1]
            return forecast(state, torch.full((len(x),), start, device=x.device), key)

        return Causal(lambda x, absent, key: fill_gaps(x, absent, 1 + channels.axis, key, after), ahead)
