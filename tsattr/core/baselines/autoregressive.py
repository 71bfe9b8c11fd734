"""The baseline of linear prediction: autoregressive processes, which fill a gap from both sides or forecast into it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from ..axes import Axes
from ..bound import Ahead
from ..keys import Key
from ..results import check_count
from .fills import Baseline, Causal, Conditional, draw_by_name
from .fitted import Fitted, Training, cell_index
from .spectral import even_step


@dataclass(frozen=True)
class AutoRegressive(Baseline):
    """What a linear process AR(p) along one dim expects in a gap, given both sides of it; or a draw from that.

    ``x_t - mu = sum_j phi_j (x_{t-j} - mu) + e_t``, ``e_t ~ N(0, s^2)``, stationary, of its own for each label of the
    other dims. The precision matrix Q of such a series is a band of width p, so that the normal of the absent cells S
    given the present cells R, ``N(mu - Q_SS^-1 Q_SR (x_R - mu), Q_SS^-1)``, is exact at a cost of ``cells * p^2``. For
    p = 1 and one absent cell it is ``phi/(1 + phi^2) (x_- + x_+)`` with variance ``s^2/(1 + phi^2)`` about the mean.

    With ``causal=True`` each absent cell is forecast from the cells before it, with forecasts in the place of what is
    missing there. In a gap after p present cells that is the exact expectation given the past.

    It assumes evenly spaced cells, sampled as the reference was, and one stationary spectrum: long gaps tend to the mean
    (without draws, to a flat line), and beats or seasons that p cells do not span are not carried on. It knows no other
    channel; :class:`ConditionalGaussian` does.

    Parameters
    ----------
    fitted
        Made by :meth:`fit`.
    dim
        The dim it runs along.
    draw
        Draw from the process instead of taking its mean; use several draws.
    causal
        Forecast from the past only.

    Examples
    --------
    >>> import xarray as xr
    >>> train = xr.DataArray([[1.0, 0.5, -0.5, -1.0]], dims=("sample", "time"))
    >>> AutoRegressive.fit(train, order=1).coefficients  # 2 sum x_t x_{t-1} / sum (x_t^2 + x_{t-1}^2), of a mean of 0
    array([0.5])
    """

    sentence: ClassVar[str] = "what a linear process expects in the gap"
    fitted: Fitted
    dim: str = "time"
    draw: bool = False
    causal: bool = False

    @classmethod
    def fit(
        cls,
        reference: Any,
        order: int,
        dim: str = "time",
        draw: bool = False,
        causal: bool = False,
        *,
        sample_dim: str = "sample",
    ) -> AutoRegressive:
        """Mean, variance and coefficients of each channel, by Burg's recursion pooled over the samples.

        Burg's estimate is always stationary, has little bias on short series, and leaves missing cells out.

        Parameters
        ----------
        reference
            Training-like data with a sample dim and `dim`, a DataArray.
        order
            p, the number of past cells that predict the next.
        dim, draw, causal
            As in the class.
        sample_dim
            Name of the reference's sample dim.

        Raises
        ------
        ValueError
            An order that the series are too short for.
        KeyError
            A reference without `dim`.
        """
        check_count("order", order)
        train = Training.of(reference, sample_dim)
        axis = 1 + train.axes.axis(dim)
        series = np.moveaxis(train.values, axis, -1)
        if order >= series.shape[-1]:
            raise ValueError(
                f"order={order} needs series of more cells along {dim!r}; the reference has {series.shape[-1]}"
            )
        rest = tuple(d for d in train.axes.dims if d != dim)
        shape = series.shape[1:-1]
        series = series.reshape(len(series), -1, series.shape[-1])
        known = ~np.isnan(series)
        count = known.sum((0, 2))
        mean = np.where(count > 0, np.where(known, series, 0).sum((0, 2)) / np.maximum(count, 1), np.nan)
        deviation = series - mean[:, None]
        variance = np.where(known, deviation**2, 0).sum((0, 2)) / np.maximum(count, 1)
        arrays = {
            "mean": train.cells(rest, mean.reshape(shape)),
            "variance": train.cells(rest, variance.reshape(shape)),
            "reflection": train.cells((*rest, ""), _burg(deviation, order).reshape(*shape, order)),
        }
        return cls(Fitted(arrays, train.source(order=order)), dim, draw, causal)

    @property
    def random(self) -> bool:  # type: ignore[override]
        """True where draws differ."""
        return self.draw

    @property
    def coefficients(self) -> np.ndarray:
        """phi_1 .. phi_p along the last axis, for each channel."""
        found = _Process.of(self.fitted).predictors[:, -1]
        return found.reshape(self.fitted["reflection"].shape)

    def _bind(self, axes: Axes) -> Conditional | Causal:
        axis = 1 + axes.axis(self.dim)
        even_step(axes, self.dim)
        index = np.moveaxis(cell_index(self.fitted.arrays["mean"], axes, "AutoRegressive"), axis - 1, -1)[..., 0]
        others = tuple(n for d, n in zip(axes.dims, axes.shape) if d != self.dim)
        channel = np.broadcast_to(index, others).reshape(-1)
        process = _Process.of(self.fitted)
        bands = None if self.causal else process.precision(axes.shape[axis - 1])

        def lines_of(v: Tensor) -> np.ndarray:
            found: np.ndarray = v.movedim(axis, -1).reshape(-1, axes.shape[axis - 1]).cpu().numpy()
            return found

        def numbers(x: Tensor, key: Key) -> np.ndarray:
            """N(0, 1) for every cell of `x`, or 0 for the mean."""
            wide = x.to(torch.float64)
            return lines_of(draw_by_name(key.normal, wide, axes) if self.draw else torch.zeros_like(wide))

        def fill(x: Tensor, absent: Tensor, key: Key) -> Tensor:
            lines, absent_lines, noise = lines_of(x.to(torch.float64)), lines_of(absent.expand_as(x)), numbers(x, key)
            touched = np.flatnonzero(absent_lines.any(1))
            which = np.tile(channel, len(x))[touched]
            deviation = (lines[touched] - process.mean[which, None], absent_lines[touched] | np.isnan(lines[touched]))
            noise = noise[touched]
            found = (
                process.forecast(which, *deviation, noise)
                if bands is None
                else process.bridge(bands, which, *deviation, noise)
            )
            lines = lines.copy()
            lines[touched] = np.where(absent_lines[touched], found + process.mean[which, None], lines[touched])
            return torch.as_tensor(lines).reshape(x.movedim(axis, -1).shape).movedim(-1, axis).to(x.device, x.dtype)

        def ahead(known: Tensor) -> Ahead:
            def values(i: Tensor, start: Tensor, length: int, absent: Tensor, key: Key) -> Tensor:
                first, own = key.distinct(i)
                past = known[i[first]]
                lines, noise = lines_of(past.to(torch.float64)), numbers(past, key.at(first))
                which = np.tile(channel, len(first))
                missing = np.isnan(lines)
                lines = process.forecast(which, lines - process.mean[which, None], missing, noise)
                row = (own.cpu().numpy()[:, None] * len(channel) + np.arange(len(channel))).reshape(-1)
                begin = np.repeat(start.cpu().numpy(), len(channel))
                found = (
                    process.forecast_from(which[row], lines, noise, row, begin, length) + process.mean[which[row], None]
                )
                shape = (len(i), *others, length)
                return torch.as_tensor(found).reshape(shape).movedim(-1, 1).to(known.device, known.dtype)

            return values

        return Causal(fill, ahead) if self.causal else Conditional(fill)


def _burg(deviation: np.ndarray, order: int) -> np.ndarray:
    """Reflection coefficients (channels, order) of deviations (samples, channels, time), NaN where missing."""
    forward, backward = deviation[..., 1:], deviation[..., :-1]
    found = []
    for _ in range(order):
        product, power = forward * backward, (forward**2 + backward**2) / 2
        power = np.nansum(np.where(np.isnan(product), 0, power), (0, 2))
        found.append(np.divide(np.nansum(product, (0, 2)), power, out=np.zeros_like(power), where=power > 0))
        k = found[-1][:, None]
        forward, backward = (forward - k * backward)[..., 1:], (backward - k * forward)[..., :-1]
    return np.stack(found, 1)


@dataclass(frozen=True)
class _Process:
    """Stationary processes, one a channel.

    `predictors` (channels, p + 1, p) are the best predictors from 0, 1, ..., p past cells, the latest first; `errors`
    (channels, p + 1) their variances as a share of the series' own, whose root is `scale`.
    """

    mean: np.ndarray
    scale: np.ndarray
    predictors: np.ndarray
    errors: np.ndarray

    @classmethod
    def of(cls, fitted: Fitted) -> _Process:
        """By the Levinson recursion from the reflection coefficients."""
        reflection = fitted["reflection"]
        order = reflection.shape[-1]
        reflection = reflection.reshape(-1, order)
        predictors = np.zeros((len(reflection), order + 1, order))
        errors = np.ones((len(reflection), order + 1))
        for m, k in enumerate(reflection.T, start=1):
            before = predictors[:, m - 1, : m - 1]
            predictors[:, m, : m - 1] = before - k[:, None] * before[:, ::-1]
            predictors[:, m, m - 1] = k
            # A series that its past determines exactly would have an infinite precision.
            errors[:, m] = errors[:, m - 1] * np.maximum(1 - k**2, 1e-12)
        return cls(fitted["mean"].reshape(-1), np.sqrt(fitted["variance"].reshape(-1)), predictors, errors)

    @property
    def order(self) -> int:
        """The number of past cells that predict the next."""
        return int(self.predictors.shape[2])

    def precision(self, n: int) -> np.ndarray:
        """Inverse covariance of n cells, in units of the variance: (channels, p + 1, n), row j its j-th subdiagonal.

        The density is the product of the prediction errors, each from as many past cells as there are up to p.
        """
        past = np.minimum(np.arange(n), self.order)
        errors = np.concatenate([np.ones((*self.errors.shape, 1)), -self.predictors], 2)[:, past]
        weight = 1 / self.errors[:, past]
        bands = np.zeros((len(self.mean), self.order + 1, n))
        for late in range(self.order + 1):
            for early in range(late, min(self.order + 1, n)):
                # The error at t has x_{t-early} and x_{t-late} in it.
                bands[:, early - late, : n - early] += (weight * errors[:, :, early] * errors[:, :, late])[:, early:]
        return bands

    def bridge(
        self, bands: np.ndarray, which: np.ndarray, deviation: np.ndarray, unknown: np.ndarray, noise: np.ndarray
    ) -> np.ndarray:
        """Deviations (lines, n), the unknown ones conditional on both sides; `noise` is N(0, 1), or 0 for the mean."""
        from scipy.linalg import cho_solve_banded, cholesky_banded, solve_banded

        out = np.where(unknown, 0, deviation)
        push = -_banded_product(bands[which], out)
        for rows in _by_gaps(which, unknown):
            gap = unknown[rows[0]]
            first, last = np.flatnonzero(gap)[[0, -1]]
            at = slice(first, last + 1)
            root = cholesky_banded(_restricted(bands[which[rows[0]]][:, at], gap[at]), lower=True)
            found = cho_solve_banded((root, True), push[rows, at].T * gap[at, None])
            reach = len(root) - 1
            upper = np.stack([np.roll(root[j], j) for j in range(reach, -1, -1)])
            found += self.scale[which[rows[0]]] * solve_banded((0, reach), upper, noise[rows, at].T)
            out[rows, at] = np.where(gap[at], found.T, out[rows, at])
        return out

    def forecast(self, which: np.ndarray, deviation: np.ndarray, unknown: np.ndarray, noise: np.ndarray) -> np.ndarray:
        """Deviations (lines, n) with each unknown one forecast from those before it."""
        out = np.where(unknown, 0, deviation)
        spread = self.scale[:, None] * np.sqrt(self.errors)
        for t in np.flatnonzero(unknown.any(0)).tolist():
            m = min(t, self.order)
            past = out[:, t - m : t][:, ::-1]
            expected = (self.predictors[which, m, :m] * past).sum(1) + spread[which, m] * noise[:, t]
            out[:, t] = np.where(unknown[:, t], expected, out[:, t])
        return out

    def forecast_from(
        self, which: np.ndarray, lines: np.ndarray, noise: np.ndarray, row: np.ndarray, start: np.ndarray, length: int
    ) -> np.ndarray:
        """Forecasts (rows, length) of deviations from each start on; `lines[row]` (n,) are the deviations that a row starts from."""
        order = self.order
        known = np.pad(lines, ((0, 0), (order, 0)))  # where there is no past yet, its predictors are 0
        past = known[row[:, None], start[:, None] + np.arange(order - 1, -1, -1)]
        spread = self.scale[:, None] * np.sqrt(self.errors)
        out = np.empty((len(row), length))
        for step in range(length):
            m, at = np.minimum(start + step, order), np.minimum(start + step, lines.shape[1] - 1)
            out[:, step] = (self.predictors[which, m] * past).sum(1) + spread[which, m] * noise[row, at]
            past = np.concatenate([out[:, step, None], past[:, :-1]], 1)
        return out


def _banded_product(bands: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Symmetric banded matrices (lines, p + 1, n) times vectors (lines, n)."""
    n = values.shape[1]
    out: np.ndarray = bands[:, 0] * values
    for j in range(1, min(bands.shape[1], n)):
        out[:, j:] += bands[:, j, : n - j] * values[:, : n - j]
        out[:, : n - j] += bands[:, j, : n - j] * values[:, j:]
    return out


def _restricted(bands: np.ndarray, gap: np.ndarray) -> np.ndarray:
    """The banded matrix restricted to the cells of a gap, with the identity at the other cells."""
    n = len(gap)
    out = np.zeros((min(len(bands), n), n))
    for j, row in enumerate(out):
        row[: n - j] = bands[j, : n - j] * gap[j:] * gap[: n - j]
    out[0] += ~gap
    return out


def _by_gaps(which: np.ndarray, unknown: np.ndarray) -> Iterator[np.ndarray]:
    """The numbers of the lines of one channel with the same gaps: they share a factorisation."""
    found: dict[tuple[int, bytes], list[int]] = {}
    for row, pair in enumerate(zip(which.tolist(), map(bytes, np.packbits(unknown, axis=1)))):
        found.setdefault(pair, []).append(row)
    return map(np.array, found.values())
