"""A learnt law of the near future given the past of all series: what WinIT puts in the place of a feature's recent past."""

from __future__ import annotations

import os
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from .ahead import fill_gaps, noise
from .axes import Axes
from .fills import Baseline, Causal
from .fitted import Fitted
from .keys import Key
from .results import check_count
from .training import Calibration, Channels, Frame, Recipe, load, save, split, state_arrays, train, with_weights

LOSSES = ("likelihood", "mse")
_COLLAPSED = 0.5  # ratio of predicted to actual errors below which draws are a point forecast with a little noise


class Forecaster(nn.Module):
    """From the past of all channels to the mean and log standard deviation of each at the next `horizon` steps."""

    def __init__(self, channels: int, horizon: int, hidden: int) -> None:
        super().__init__()
        self.shape = horizon, channels, 2
        self.past = nn.GRU(2 * channels, hidden, batch_first=True)
        self.head = nn.Sequential(nn.Linear(hidden, hidden), nn.Tanh(), nn.Linear(hidden, 2 * horizon * channels))

    def forward(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Rows (n, times, channels, 2) to (n, times, horizon, channels) twice: of the steps after each time."""
        found = self.head(self.past(rows.flatten(2))[0]).reshape(*rows.shape[:2], *self.shape)
        return found[..., 0], found[..., 1].clamp(-7, 7)


def following(rows: Tensor, horizon: int) -> tuple[Tensor, Tensor]:
    """What comes after each time (n, times - 1, horizon, channels), and where it is known."""
    ahead = torch.nn.functional.pad(rows, (0, 0, 0, 0, 0, horizon - 1)).unfold(1, horizon, 1)[:, 1:]
    ahead = ahead.permute(0, 1, 4, 2, 3)
    return ahead[..., 0], ahead[..., 1] > 0


@dataclass(frozen=True)
class Generator(Baseline):
    """The next steps of each series given the past of all, learnt: a draw from N(mean, sd), or the mean alone. Causal.

    A GRU over the past gives, by one pass, the mean and standard deviation of every series at each of the next `horizon`
    steps; given the past, series and steps are drawn by themselves. A gap longer than the horizon is continued from what
    was filled. Before the first time nothing is known: there it is the series' mean and spread.

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
        The dim of time.
    draw
        Draw instead of taking the mean; use several draws.

    Examples
    --------
    >>> import xarray as xr
    >>> walks = np.random.default_rng(0).normal(size=(40, 1, 12)).cumsum(2)
    >>> x = xr.DataArray(walks, dims=("sample", "feature", "time"))
    >>> law = Generator.fit(x, horizon=3, epochs=2, hidden=4)
    >>> law.calibration(x).error.shape
    (3,)

    References
    ----------
    Leung et al., "Temporal dependencies in feature importance for time series prediction", ICLR 2023.
    """

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
            Steps ahead: at least the window of the WinIT that is to use it.
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
            Fewer than two samples or times, a setting out of range, a loss that is not finite.

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
        data = Channels.of(reference, dim, sample_dim)
        horizon = min(horizon, data.rows.shape[1] - 1)

        def risk(net: nn.Module, rows: Tensor) -> Tensor:
            mean, log_sd = (v[:, :-1] for v in net(rows))
            came, known = following(rows, horizon)
            if loss == "mse":
                cost = (mean + log_sd.exp() * torch.randn_like(mean) - came) ** 2
            else:
                cost = log_sd + ((came - mean) / log_sd.exp()) ** 2 / 2
            return torch.where(known, cost, 0).sum() / known.sum().clamp(min=1)

        net, how = train(lambda: Forecaster(data.rows.shape[2], horizon, hidden), risk, data.tensor, settings)
        held = data.tensor[torch.as_tensor(split(len(data.rows), settings)[1])]
        found = _calibration(net, held, horizon)
        how += f", predicted/actual error={found.ratio.mean():.2f}"
        if draw and found.ratio.mean() < _COLLAPSED:
            warnings.warn(
                f"the generator's draws have collapsed: on validation samples they predict {found.ratio.mean():.0%} of the "
                "errors they make; fit with loss='likelihood', or take draw=False for the point forecast that it is",
                UserWarning,
                stacklevel=2,
            )
        source = data.source(horizon=horizon, loss=loss) + f"; {how}"
        return cls(Fitted(data.arrays | state_arrays(net), source), horizon, hidden, dim, draw)

    @property
    def random(self) -> bool:  # type: ignore[override]
        """True where draws differ."""
        return self.draw

    def _net(self) -> nn.Module:
        return with_weights(lambda: Forecaster(self.fitted["shift"].size, self.horizon, self.hidden), self.fitted)

    def calibration(self, x: Any, *, sample_dim: str = "sample") -> Calibration:
        """How well forecasts of series that were not trained on agree with what came; print it."""
        rows = Channels.of(x, self.dim, sample_dim).in_units_of(self.fitted)
        return _calibration(self._net(), rows, self.horizon)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write it to an ``.npz`` file, whole or not at all, without pickle."""
        settings = {"horizon": self.horizon, "hidden": self.hidden, "dim": self.dim, "draw": self.draw}
        save(path, type(self).__name__, self.fitted, settings)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Generator:
        """Read what :meth:`save` wrote."""
        fitted, settings = load(path, cls.__name__)
        return cls(fitted, **settings)

    def _bind(self, axes: Axes) -> Causal:
        frame, net = Frame(self.fitted, axes, self.dim, "Generator"), self._net()

        def forecasts(rows: Tensor) -> tuple[Tensor, Tensor]:
            """Means and standard deviations (n, times + 1, horizon, channels) from each start on, 0 being before all."""
            with torch.no_grad():
                mean, log_sd = net.to(rows.device)(rows)
            first = torch.zeros_like(mean[:, :1])
            return torch.cat([first, mean], 1), torch.cat([torch.ones_like(first), log_sd.exp()], 1)

        def drawn(mean: Tensor, sd: Tensor, start: Tensor, key: Key) -> Tensor:
            values = frame.to_values(mean)
            if not self.draw:
                return values
            width = frame.to_values(sd) - frame.to_values(torch.zeros_like(sd))
            return values + width * noise(key, start, self.horizon, frame.times, frame.others)

        def ahead(known: Tensor) -> Any:
            mean, sd = forecasts(frame.to_rows(known))

            def values(i: Tensor, start: Tensor, length: int, gone: Tensor, key: Key) -> Tensor:
                if length > self.horizon:
                    raise ValueError(
                        f"the generator forecasts {self.horizon} steps, and a window has {length}; fit it with "
                        f"horizon={length}, or take a shorter window"
                    )
                return drawn(mean[i, start], sd[i, start], start, key)[:, :length].to(known.dtype)

            return values

        def after(x: Tensor, start: int, key: Key) -> Tensor:
            mean, sd = (v[:, start] for v in forecasts(frame.to_rows(x)))
            return drawn(mean, sd, torch.full((len(x),), start, device=x.device), key)

        return Causal(lambda x, absent, key: fill_gaps(x, absent, 1 + frame.axis, key, after), ahead)


def _calibration(net: nn.Module, rows: Tensor, horizon: int) -> Calibration:
    with torch.no_grad():
        mean, log_sd = (v[:, :-1].movedim(2, -1).numpy() for v in net(rows))
    came, known = (v.movedim(2, -1).numpy() for v in following(rows, horizon))
    return Calibration.of(mean, np.exp(log_sd), came, known)
