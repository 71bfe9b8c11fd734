"""Baselines that know how cells go together: a multivariate normal over a sample, fitted to training data."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from ..arrays import Array
from ..axes import Axes
from ..bound import Ahead
from ..keys import Key
from ..results import check_count
from .fills import Baseline, Causal, Conditional
from .fitted import Fitted, Training, cell_index
from .normal import Normal, NormalForecast

_LARGEST = 4096  # columns of a factor: beyond it, one fill takes minutes


@dataclass(frozen=True)
class ConditionalGaussian(Baseline):
    """What a multivariate normal expects of the absent cells given the present ones, or a draw from it.

    ``x_S ~ N(mu_S + C_SR C_RR^-1 (x_R - mu_R), C_SS - C_SR C_RR^-1 C_RS)`` with S absent and R present. With
    ``draw=False`` the mean of that normal; a mean understates the spread, so that what is filled looks smoother than
    data. With everything absent: mu, or a draw from the whole normal. Aas, Jullum and Løland, 2021.

    The covariance is held as ``C = F F^T + diag(noise)``, F with one column for each factor. So a fill costs
    ``cells * factors^2`` for each distinct mask (Woodbury), and 12 leads by 1000 times are within reach. Rows of a batch
    with the same mask share their factorisation.

    It assumes one elliptical population with linear dependence. It fails on mixtures (the mean of two kinds of beats is
    neither), on series that are not aligned (the covariance of shifted beats is that of a blur), and on few samples,
    where shrinkage pulls it to independence.

    Parameters
    ----------
    fitted
        Made by :meth:`fit`.
    draw
        Draw from the conditional normal instead of taking its mean; use several draws.
    causal
        Let only cells before the start of a gap along "time" inform: the exact forecast of this normal, for `WinIT` and
        its family. A gap is a run of absent times of one series. At the first time it is the mean, or a draw from the
        whole normal; gaps with unlike starts are drawn each by itself, with the same numbers.

    Examples
    --------
    >>> import torch, tsattr as ta
    >>> train = np.array([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]]) @ np.array([[1.0, 0.5], [0.0, 1.0]])
    >>> baseline = ConditionalGaussian.fit(train, shrinkage=0.0)  # cov(x1, x2) / var(x1) = 0.5
    >>> ds = ta.explain(lambda x: x[:, 1], np.array([[2.0, 3.0]]), ta.Occlusion(ta.groups.Cells(), baseline))
    >>> ds.attribution.values.round(9).tolist()  # x2 - 0.5 x1
    [[0.0, 2.0]]
    """

    sentence: ClassVar[str] = "random values that fit what is left in place"
    fitted: Fitted
    draw: bool = False
    causal: bool = False

    @classmethod
    def fit(
        cls,
        reference: Any,
        dims: str | tuple[str, ...] | None = None,
        rank: int | None = None,
        shrinkage: float | str = "ledoit-wolf",
        draw: bool = False,
        *,
        sample_dim: str = "sample",
        causal: bool = False,
    ) -> ConditionalGaussian:
        """Mean and covariance of a reference; a missing cell of it counts as its mean.

        Each channel is divided by its standard deviation first, so that units do not matter, and the covariance S of
        what comes out is shrunk to a multiple of the identity, ``(1 - s) S + s tr(S)/cells I``. With a `rank` the
        largest principal components are kept as factors, and what they leave of each cell's variance is its noise.

        Parameters
        ----------
        reference
            Training-like data with a sample dim: DataArray, DataFrame of numbers, or array (samples first).
        dims
            Dims whose cells are taken together; each label of the other dims has a normal of its own. None for all.
        rank
            Number of factors. None for all that there are, which is for inputs or references up to a few thousand.
        shrinkage
            s in [0, 1], or "ledoit-wolf" for the best s that the data tell (Ledoit and Wolf, 2004).
        draw, causal
            As in the class.
        sample_dim
            Name of the reference's sample dim.

        Raises
        ------
        ValueError
            Fewer than two samples, a shrinkage or rank out of range, a covariance that is singular, or with ``causal``
            `dims` without "time".
        KeyError
            `dims` that the reference lacks.
        """
        train = Training.of(reference, sample_dim)
        n = len(train.values)
        if n < 2:
            raise ValueError(f"a covariance needs at least two samples, the reference has {n}")
        if shrinkage != "ledoit-wolf" and not (isinstance(shrinkage, int | float) and 0 <= shrinkage <= 1):
            raise ValueError(f"shrinkage is a number from 0 to 1 or 'ledoit-wolf', got {shrinkage!r}")
        joint = train.axes.dims if dims is None else (dims,) if isinstance(dims, str) else tuple(dims)
        if causal and "time" not in joint:
            raise ValueError(
                f"causal=True conditions on earlier times, and dims={joint} are taken together at one time"
            )
        joint_axes = [train.axes.axis(d) for d in joint]
        order = [a for a in range(len(train.axes.dims)) if a not in joint_axes] + joint_axes
        values = train.values.transpose(0, *(1 + a for a in order))
        names = tuple(train.axes.dims[a] for a in order)
        size = math.prod(train.axes.shape[a] for a in joint_axes)
        most = min(n, size)
        if rank is not None:
            check_count("rank", rank)
        if (most if rank is None else rank) > min(most, _LARGEST):
            raise ValueError(
                f"rank={rank} of {n} samples of {size} cells: a rank of at most {min(most, _LARGEST)} is needed; "
                "a few dozen factors are usual, such as rank=32"
            )

        mean, centred = _centred(values)
        scale = _channel_scale(centred, names)
        parts = [_factors(block, rank, shrinkage) for block in (centred / scale).reshape(n, -1, size).swapaxes(0, 1)]
        spread = np.broadcast_to(scale, mean.shape).reshape(-1, size)
        factor = np.stack([f for f, _ in parts]) * spread[..., None]
        noise = np.stack([v for _, v in parts]) * spread**2
        arrays = {
            "mean": train.cells(names, mean),
            "factor": Array(factor),
            "noise": Array(noise),
        }
        return cls(Fitted(arrays, train.source(dims=joint, rank=rank, shrinkage=shrinkage)), draw, causal)

    @property
    def random(self) -> bool:  # type: ignore[override]
        """True where draws differ."""
        return self.draw

    def _bind(self, axes: Axes) -> Conditional | Causal:
        normal = Normal.of(self.fitted)
        index = cell_index(self.fitted.arrays["mean"], axes, "ConditionalGaussian")
        index = np.broadcast_to(index, axes.shape)

        def cells_of(x: Tensor) -> Tensor:
            """Rows on the cells that were fitted, NaN where the input has none."""
            cells = torch.full((len(x), normal.mean.size), torch.nan, dtype=torch.float64, device=x.device)
            cells[:, torch.as_tensor(index.flatten(), device=x.device)] = x.to(torch.float64).reshape(len(x), -1)
            return cells

        def fill(x: Tensor, absent: Tensor, key: Key) -> Tensor:
            filled = normal.fill(cells_of(torch.where(absent, torch.nan, x)), key if self.draw else None)
            at = torch.as_tensor(index.flatten(), device=x.device)
            return torch.where(absent, filled[:, at].reshape(x.shape).to(x.dtype), x)

        if not self.causal:
            return Conditional(fill)
        axis = 1 + axes.axis("time")

        def from_the_past(x: Tensor, absent: Tensor, key: Key) -> Tensor:
            begin = _starts(absent.expand_as(x), axis)
            time = torch.arange(x.shape[axis], device=x.device).reshape(-1, *[1] * (x.ndim - 1 - axis))
            out = x.clone()
            for start in torch.unique(begin[begin >= 0]).tolist():
                here = begin == start
                rows = here.flatten(1).any(1).nonzero()[:, 0]
                filled = fill(x[rows], absent.expand_as(x)[rows] | (time >= start), key.at(rows))
                out[rows] = torch.where(here[rows], filled, out[rows])
            return out

        def ahead(known: Tensor) -> Ahead:
            return NormalForecast(normal, cells_of(known), np.moveaxis(index, axis - 1, 0), self.draw, known.dtype)

        return Causal(from_the_past, ahead)


def _starts(absent: Tensor, axis: int) -> Tensor:
    """For each absent cell the first time of its run of absent cells, -1 for cells that are present."""
    series = absent.movedim(axis, 1)
    time = torch.arange(series.shape[1], device=absent.device).reshape(1, -1, *[1] * (series.ndim - 2))
    present = torch.where(series, -1, time).cummax(1).values
    return torch.where(series, present + 1, -1).movedim(1, axis)


def _centred(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean of each cell, NaN where it is never known, and the deviations, 0 where missing."""
    known = ~np.isnan(values)
    count = known.sum(0)
    mean = np.where(count > 0, np.where(known, values, 0).sum(0) / np.maximum(count, 1), np.nan)
    return mean, np.where(known, values - mean, 0)


def _channel_scale(centred: np.ndarray, dims: tuple[str, ...]) -> np.ndarray:
    """Standard deviation of each channel over its samples and cells; 1 where it does not vary."""
    channels = Axes(dims, ()).channels
    over = (0, *(1 + a for a, d in enumerate(dims) if d not in channels))
    scale = np.sqrt((centred**2).mean(over, keepdims=True))[0]
    return np.where(scale > 0, scale, 1)


def _factors(rows: np.ndarray, rank: int | None, shrinkage: float | str) -> tuple[np.ndarray, np.ndarray]:
    """Factors (cells, rank) and noise (cells,) of centred rows (samples, cells)."""
    from sklearn.covariance import ledoit_wolf_shrinkage

    n, cells = rows.shape
    share = ledoit_wolf_shrinkage(rows, assume_centered=True) if isinstance(shrinkage, str) else shrinkage
    _, sizes, components = np.linalg.svd(rows, full_matrices=False)
    variance = (rows**2).mean(0)
    level = share * variance.mean()
    roots = (1 - share) * sizes**2 / n + level
    # What every direction has goes to the noise: with all components kept, all of the noise is this floor.
    floor = roots[-1] if n >= cells else level
    factors = components[:rank].T * np.sqrt(np.maximum(roots[:rank] - floor, 0))
    noise = (1 - share) * variance + level - (factors**2).sum(1)
    if not (noise > 1e-12 * variance.max()).all():
        raise ValueError(
            f"the covariance of {n} samples of {cells} cells is singular with shrinkage={float(share):.3g} "
            f"({int((variance == 0).sum())} cells never vary); give shrinkage > 0, more samples or a smaller rank"
        )
    return factors, noise
