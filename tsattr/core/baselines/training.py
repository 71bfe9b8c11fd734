"""Training of the small recurrent networks behind learnt baselines, and the calibration of their forecasts."""

from __future__ import annotations

import copy
import math
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..arrays import Array
from ..axes import Axes
from ..results import check_count
from .fills import Baseline
from .fitted import Fitted, Training, cell_index
from .stored import Stored

_COLLAPSED = 0.5  # ratio of predicted to actual errors below which draws are hardly more than a point forecast


@dataclass(frozen=True)
class Recipe:
    """How a network is trained: Adam, until the validation loss has not fallen for `patience` epochs; the best is kept."""

    epochs: int = 300
    patience: int = 20
    batch: int = 64
    learning_rate: float = 3e-3
    validation: float = 0.2
    seed: int = 0
    progress: bool = False

    def __post_init__(self) -> None:
        for name in ("epochs", "patience", "batch"):
            check_count(name, getattr(self, name))
        if not 0 < self.validation < 1:
            raise ValueError(
                f"validation is the share of samples kept for it, between 0 and 1, got {self.validation!r}"
            )
        if not self.learning_rate > 0:
            raise ValueError(f"learning_rate is greater than 0, got {self.learning_rate!r}")


def split(n: int, recipe: Recipe) -> tuple[np.ndarray, np.ndarray]:
    """Positions to train on and to validate with; ValueError for fewer than two samples."""
    if n < 2:
        raise ValueError(f"a generator is fitted to at least two samples, one of them for validation; got {n}")
    order = np.random.default_rng(recipe.seed).permutation(n)
    kept = min(n - 1, max(1, round(recipe.validation * n)))
    return np.sort(order[kept:]), np.sort(order[:kept])


@dataclass(frozen=True)
class Trained:
    """A network with the least validation loss, and the losses (epochs, 2) of training and validation that led to it."""

    net: Any
    losses: np.ndarray
    stopped: bool

    def __str__(self) -> str:
        ended = "stopped" if self.stopped else "not converged"
        best = int(self.losses[:, 1].argmin())
        return f"epochs={len(self.losses)}, {ended}, validation loss={self.losses[best, 1]:.4g} at epoch {1 + best}"


def train(
    make: Callable[[], nn.Module],
    loss: Callable[[Any, Tensor], Tensor],
    training: Tensor,
    validation: Tensor,
    recipe: Recipe,
) -> Trained:
    """Train on the rows of `training`, stop by the loss of those of `validation`; the global random state is preserved."""
    # Only the processor's generator is used: `torch.manual_seed` would seed those of all devices.
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        torch.default_generator.manual_seed(recipe.seed)
        net = make().double().train()
        optimiser = torch.optim.Adam(net.parameters(), lr=recipe.learning_rate)
        best, least, since, losses = copy.deepcopy(net.state_dict()), math.inf, 0, []
        for _ in _epochs(recipe):
            total = 0.0
            for at in torch.split(torch.randperm(len(training)), recipe.batch):
                optimiser.zero_grad()
                batch_loss = loss(net, training[at])
                batch_loss.backward()  # type: ignore[no-untyped-call, unused-ignore]
                # The gradient of one rare event can undo what was learnt from all others.
                nn.utils.clip_grad_norm_(net.parameters(), 1.0)
                optimiser.step()
                total += batch_loss.item() * len(at) / len(training)
            with torch.no_grad():
                found = loss(net.eval(), validation).item()
            net.train()
            losses.append((total, found))
            since += 1
            if found < least:
                best, least, since = copy.deepcopy(net.state_dict()), found, 0
            if since >= recipe.patience:
                break
    if not math.isfinite(least):
        raise ValueError(f"the validation loss is {found}; check the reference, or lower learning_rate")
    net.load_state_dict(best)
    return Trained(net.eval(), np.array(losses), since >= recipe.patience)


def _epochs(recipe: Recipe) -> Any:
    if not recipe.progress:
        return range(recipe.epochs)
    from tqdm.auto import tqdm

    return tqdm(range(recipe.epochs), desc="fit", unit="epoch")


class Past(nn.Module):
    """A GRU over the past of all channels, and a head that reads from its state what comes next.

    Rows are (n, times, channels, 2): standardised values, 0 where missing, and 1 where they are known.
    """

    def __init__(self, channels: int, hidden: int, outputs: int) -> None:
        super().__init__()
        self.past = nn.GRU(2 * channels, hidden, batch_first=True)
        self.head = nn.Sequential(nn.Linear(hidden, hidden), nn.Tanh(), nn.Linear(hidden, outputs))

    def forward(self, rows: Tensor) -> Tensor:
        """States (n, times + 1, hidden) before each step of rows (n, times, channels, 2), and after the last."""
        first = rows.new_zeros(len(rows), 1, self.past.hidden_size)
        return torch.cat([first, self.past(rows.flatten(2))[0]], 1) if rows.shape[1] else first

    def step(self, rows: Tensor, state: Tensor) -> Tensor:
        """The state (r, hidden) after one more step (r, channels, 2)."""
        after: Tensor = self.past(rows.flatten(1)[:, None], state[None].contiguous())[1][0]
        return after


@dataclass(frozen=True)
class Series:
    """Series of a reference as standardised rows (samples, times, channels), 0 where missing, and the shift and width of each."""

    rows: np.ndarray
    known: np.ndarray
    arrays: dict[str, Array]
    axes: Axes
    source: Callable[..., str]

    @classmethod
    def of(cls, reference: Any, dim: str, sample_dim: str) -> Series:
        """Read a reference, and standardise each channel over samples and times."""
        train = Training.of(reference, sample_dim)
        axis = train.axes.axis(dim)
        if train.axes.shape[axis] < 2:
            raise ValueError(f"a generator needs at least two times, the reference has {train.axes.shape[axis]}")
        values = np.moveaxis(train.values, 1 + axis, 1)
        names = tuple(d for d in train.axes.dims if d != dim)
        known = ~np.isnan(values)
        if (lost := int((~known.any((0, 1))).sum())) > 0:
            raise ValueError(f"{lost} series of the reference have no value at all; leave them out")
        count = known.sum((0, 1))
        mean = np.where(known, values, 0).sum((0, 1)) / count
        scale = np.sqrt((np.where(known, values - mean, 0) ** 2).sum((0, 1)) / count)
        scale = np.where(scale > 0, scale, 1.0)
        rows = np.where(known, (values - mean) / scale, 0)
        flat = (*rows.shape[:2], -1)
        shift, width = (train.cells(names, v) if names else Array(v, (), {}) for v in (mean, scale))
        arrays = {"shift": shift, "width": width}
        return cls(rows.reshape(flat), known.reshape(flat), arrays, train.axes, train.source)

    @property
    def tensor(self) -> Tensor:
        """(samples, times, channels, 2): values, and 1 where they are known."""
        return torch.as_tensor(np.stack([self.rows, self.known], -1))


class ChannelMap:
    """Maps the series of an input to the standardised channels of a network, and back."""

    def __init__(self, fitted: Fitted, axes: Axes, dim: str, what: str) -> None:
        self.axis, self.times = axes.axis(dim), axes.shape[axes.axis(dim)]
        self.others = [(d, n) for d, n in zip(axes.dims, axes.shape) if d != dim]
        shape = tuple(n for _, n in self.others)
        cells = fitted.arrays["shift"]
        index = np.zeros((), int) if not cells.values.shape else cell_index(cells, axes, what)
        index = np.moveaxis(np.broadcast_to(index, axes.shape), self.axis, 0)[0].reshape(-1)
        if sorted(index.tolist()) != list(range(cells.values.size)):
            raise ValueError(
                f"{what} was fitted to {cells.values.size} series and continues all of them; the input has {shape or (1,)}"
            )
        self.order = torch.as_tensor(index.copy())  # the network's channel of each of the input's
        self.back = torch.argsort(self.order)
        self.shift, self.width = (torch.as_tensor(fitted[k].reshape(-1).astype(np.float64)) for k in ("shift", "width"))
        self.shape = shape

    def to_rows(self, x: Tensor) -> Tensor:
        """(n, \\*event) as (n, times, channels, 2) on the processor of `x`: standardised values, and 1 where known."""
        series = self.to_channels(x.movedim(1 + self.axis, 1).to(torch.float64))
        series = (series - self.shift.to(x.device)) / self.width.to(x.device)
        known = ~torch.isnan(series)
        return torch.stack([torch.where(known, series, 0), known.to(torch.float64)], -1)

    def to_values(self, rows: Tensor) -> Tensor:
        """(..., channels) as values (..., \\*channels of the input)."""
        values = rows * self.width.to(rows.device) + self.shift.to(rows.device)
        return values[..., self.order.to(rows.device)].reshape(*rows.shape[:-1], *self.shape)

    def to_widths(self, rows: Tensor) -> Tensor:
        """Standard deviations (..., channels) as those of values (..., \\*channels of the input)."""
        wide = rows * self.width.to(rows.device)
        return wide[..., self.order.to(rows.device)].reshape(*rows.shape[:-1], *self.shape)

    def to_channels(self, cells: Tensor) -> Tensor:
        """(..., \\*channels of the input) as (..., channels)."""
        lead = cells.shape[: cells.ndim - len(self.shape)]
        return cells.reshape(*lead, -1)[..., self.back.to(cells.device)]


class Learnt(Stored, Baseline, ABC):
    """Base of the baselines that are networks: frozen dataclasses of settings, and the weights with where they come from."""

    dim: str
    draw: bool

    @property
    def random(self) -> bool:  # type: ignore[override]
        """True where draws differ."""
        return self.draw

    @abstractmethod
    def network(self) -> Any:
        """The network of these settings, not trained."""

    @abstractmethod
    def _forecasts(self, net: Any, rows: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Means, standard deviations, observed values and where they are known, (..., horizons) each."""

    def _trained(self, data: Series, objective: Callable[[Any, Tensor], Tensor], recipe: Recipe, **noted: Any) -> Any:
        """This baseline with the weights that training finds; a warning if its draws have collapsed."""
        training, validation = (data.tensor[torch.as_tensor(at)] for at in split(len(data.rows), recipe))
        found = train(self.network, objective, training, validation, recipe)
        check = self._calibration(found.net, validation)
        weights = nn.utils.parameters_to_vector(found.net.parameters()).detach().numpy()
        learnt = {"weights": weights, "losses": found.losses, "calibration": check.table}
        arrays = data.arrays | {name: Array(values) for name, values in learnt.items()}
        ratio = float(check.ratio.mean())
        if self.draw and ratio < _COLLAPSED:
            warnings.warn(
                f"the generator's draws have collapsed: on validation samples they predict {ratio:.0%} of the errors they "
                "make; fit with loss='likelihood', or take draw=False for the point forecast that it is",
                UserWarning,
                stacklevel=3,
            )
        source = data.source(**noted, seed=recipe.seed) + f"; {found}, predicted/actual error={ratio:.2f}"
        return replace(self, fitted=Fitted(arrays, source))  # type: ignore[type-var]

    @property
    def trained(self) -> Any:
        """The network with the weights that were found."""
        with torch.random.fork_rng(devices=[]):  # a new network draws its weights
            net = self.network().double().requires_grad_(False)
        nn.utils.vector_to_parameters(torch.tensor(self.fitted["weights"]), net.parameters())
        return net.eval()

    @property
    def validation(self) -> Calibration:
        """The calibration on the samples that were kept for validation, which chose when to stop."""
        return Calibration(*self.fitted["calibration"])

    def calibration(self, x: Any, *, sample_dim: str = "sample") -> Calibration:
        """How well forecasts of series that were not trained on agree with the observations; print it."""
        data = Series.of(x, self.dim, sample_dim)
        channels = ChannelMap(self.fitted, data.axes, self.dim, type(self).__name__)
        values = torch.as_tensor(Training.of(x, sample_dim).values)
        return self._calibration(self.trained, channels.to_rows(values))

    def _calibration(self, net: Any, rows: Tensor) -> Calibration:
        with torch.no_grad():
            return Calibration.of(*(v.numpy() for v in self._forecasts(net, rows)))


@dataclass(frozen=True, eq=False)
class Calibration:
    """How well forecasts and their spread agree with the observations, by horizon in steps.

    `error` is the root mean square of the forecasts' errors, `predicted` that of the predicted standard deviations;
    `inside_50` and `inside_90` are the shares of values within the central intervals; `spread` is the standard deviation
    of the values themselves. All in units of each channel's standard deviation in training, over all channels.

    Examples
    --------
    >>> print(Calibration.of(np.array([[0.0, 2.0]]), np.ones((1, 2)), np.array([[1.0, 1.0]]), np.ones((1, 2), bool)))
    horizon   error  predicted   ratio  inside 50 %  inside 90 %  spread
          1   1.000      1.000   1.000        0.000        1.000   0.000
          2   1.000      1.000   1.000        0.000        1.000   0.000
    """

    error: np.ndarray
    predicted: np.ndarray
    inside_50: np.ndarray
    inside_90: np.ndarray
    spread: np.ndarray

    @classmethod
    def of(cls, mean: np.ndarray, sd: np.ndarray, observed: np.ndarray, known: np.ndarray) -> Calibration:
        """From arrays (..., horizons) of forecasts, their spread, the observed values, and where these are known."""
        over = tuple(range(mean.ndim - 1))

        def average(values: np.ndarray) -> np.ndarray:
            found: np.ndarray = np.where(known, values, 0).sum(over) / np.maximum(known.sum(over), 1)
            return found

        size = np.abs(observed - mean) / np.maximum(np.abs(sd), 1e-300)
        return cls(
            np.sqrt(average((observed - mean) ** 2)),
            np.sqrt(average(sd**2)),
            average(size < 0.6744898),
            average(size < 1.6448536),
            np.sqrt(average((observed - average(observed)) ** 2)),
        )

    @property
    def table(self) -> np.ndarray:
        """Its five columns as (5, horizons)."""
        return np.stack([self.error, self.predicted, self.inside_50, self.inside_90, self.spread])

    @property
    def ratio(self) -> np.ndarray:
        """Predicted standard deviation over the size of the errors: 1 for calibrated draws, near 0 for collapsed ones."""
        found: np.ndarray = self.predicted / np.maximum(self.error, 1e-300)
        return found

    def __str__(self) -> str:
        lines = ["horizon   error  predicted   ratio  inside 50 %  inside 90 %  spread"]
        for k, row in enumerate(
            zip(self.error, self.predicted, self.ratio, self.inside_50, self.inside_90, self.spread)
        ):
            lines.append("{:7d}{:8.3f}{:11.3f}{:8.3f}{:13.3f}{:13.3f}{:8.3f}".format(k + 1, *row))
        return "\n".join(lines)
