"""The multivariate normal with a factor covariance: its conditional means and draws, and its forecasts from every start."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor

from ..keys import Key
from .fitted import Fitted

_BLOCK = 2**24  # numbers in memory at once besides the rows


class Normal:
    """A normal for each block of cells, with the covariance F F^T + diag(noise).

    A sample is ``mu + F z + e`` with z ~ N(0, 1): what is present tells z, and z tells what is absent.
    """

    def __init__(self, mean: np.ndarray, factor: np.ndarray, noise: np.ndarray) -> None:
        self.mean, self.factor, self.noise = mean.reshape(noise.shape), factor, noise

    @classmethod
    def of(cls, fitted: Fitted) -> Normal:
        """The normal that a `ConditionalGaussian` holds."""
        return cls(fitted["mean"], fitted["factor"], fitted["noise"])

    def times(self, cells: Tensor) -> Tensor:
        """Rows (rows, cells) times the covariance."""
        factor, noise = (torch.as_tensor(v, device=cells.device) for v in (self.factor, self.noise))
        blocks = cells.reshape(-1, *noise.shape)
        inner = torch.einsum("rbm,bmk->rbk", blocks, factor)
        return (noise * blocks + torch.einsum("rbk,bmk->rbm", inner, factor)).reshape(cells.shape)

    def fill(self, cells: Tensor, key: Key | None) -> Tensor:
        """Every cell (rows, cells) from those that are not NaN: its mean, or with a key a draw."""
        mean, factor, noise = (torch.as_tensor(v, device=cells.device) for v in (self.mean, self.factor, self.noise))
        deviation = cells.reshape(-1, *noise.shape) - mean
        known = ~torch.isnan(deviation)
        score = torch.einsum("rbm,bmk->rbk", torch.where(known, deviation / noise, 0), factor)
        numbers = None if key is None else key.fork(0).normal(score)
        latent = torch.empty_like(score)
        for masks, rows, which in self._by_mask(known):
            weight = masks / noise
            precision = torch.eye(factor.shape[2], dtype=torch.float64, device=cells.device)
            precision = precision + factor.mT @ (weight[..., None] * factor)
            root = torch.linalg.cholesky(precision)[which]
            latent[rows] = latent_of(score[rows], root, None if numbers is None else numbers[rows])
        out = mean + torch.einsum("rbk,bmk->rbm", latent, factor)
        if key is not None:
            out = out + noise.sqrt() * key.fork(1).normal(out)
        return out.reshape(cells.shape)

    def _by_mask(self, known: Tensor) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Blocks of distinct masks, with the rows that have one of them and the index of each row's mask in the block."""
        packed = np.packbits(known.reshape(len(known), -1).cpu().numpy(), axis=1)
        _, first, back = np.unique(packed, axis=0, return_index=True, return_inverse=True)
        which = torch.as_tensor(back.reshape(-1), device=known.device)
        step = max(1, _BLOCK // self.factor.size)
        for start in range(0, len(first), step):
            rows = ((which >= start) & (which < start + step)).nonzero()[:, 0]
            yield known[torch.as_tensor(first[start : start + step], device=known.device)], rows, which[rows] - start


class NormalForecast:
    """What a normal expects from each start on given the cells before it: ``ahead`` of a causal `ConditionalGaussian`.

    The precision of z before a start is a sum over the cells before it, so that one pass along time gives it for all starts, at
    a cost of one factorisation a start for all samples that lack the same cells.
    """

    def __init__(self, normal: Normal, cells: Tensor, index: np.ndarray, draw: bool, dtype: torch.dtype) -> None:
        """`cells` (n, cells) are NaN where missing; `index` (times, \\*channels) says where an input's cells are in them."""
        self.normal, self.index, self.draw, self.dtype = normal, index, draw, dtype
        self.mean, self.factor, self.noise = (
            torch.as_tensor(v, device=cells.device) for v in (normal.mean, normal.factor, normal.noise)
        )
        deviation = cells.reshape(-1, *normal.noise.shape) - self.mean
        known = ~torch.isnan(deviation)
        packed = np.packbits(known.flatten(1).cpu().numpy(), axis=1)
        _, first, which = np.unique(packed, axis=0, return_index=True, return_inverse=True)
        self.which = torch.as_tensor(which.reshape(-1), device=cells.device)
        self._pass_along_time(torch.where(known, deviation, 0), known[torch.as_tensor(first, device=cells.device)])

    def _pass_along_time(self, deviation: Tensor, masks: Tensor) -> None:
        """Means of z (n, times, blocks, k), and for draws the roots of its precision (masks, times, blocks, k, k)."""
        times, (blocks, k) = len(self.index), (len(self.noise), self.factor.shape[2])
        time = np.full(self.noise.numel(), times)  # a cell that the input lacks is never seen
        time[self.index] = np.arange(times).reshape(-1, *[1] * (self.index.ndim - 1))
        time = time.reshape(self.noise.shape)
        self.z = deviation.new_empty(len(deviation), times, blocks, k)
        self.roots = deviation.new_empty(len(masks), times, blocks, k, k) if self.draw else None
        score = deviation.new_zeros(len(deviation), blocks, k)
        precision = torch.eye(k, dtype=deviation.dtype, device=deviation.device).repeat(len(masks), blocks, 1, 1)
        for start in range(times):
            root = torch.linalg.cholesky(precision)
            self.z[:, start] = latent_of(score, root[self.which], None)
            if self.roots is not None:
                self.roots[:, start] = root
            now = torch.as_tensor(time == start, device=deviation.device)
            at = now.any(0).nonzero()[:, 0]
            factor, weight = self.factor[:, at], (now / self.noise)[:, at]
            score = score + torch.einsum("rbm,bmk->rbk", deviation[:, :, at] * weight, factor)
            precision = precision + factor.mT @ ((masks[:, :, at] * weight)[..., None] * factor)

    def __call__(self, i: Tensor, start: Tensor, length: int, absent: Tensor, key: Key) -> Tensor:
        """Values (r, length, \\*channels) from each start on; see `tsattr.core.bound.Ahead`."""
        at = start.cpu().numpy()[:, None] + np.arange(length)
        cells = torch.as_tensor(self.index[np.minimum(at, len(self.index) - 1)], device=start.device)
        own = torch.arange(len(i), device=start.device).reshape(-1, *[1] * (cells.ndim - 1))
        z, noise = self._drawn(i, start, key) if self.draw else (self.z[i, start], None)
        factor = self.factor.flatten(0, 1)[cells]
        out = self.mean.flatten()[cells] + (factor * z[own, cells // self.noise.shape[1]]).sum(-1)
        return (out if noise is None else out + noise(own, cells)).to(self.dtype)

    def _drawn(self, i: Tensor, start: Tensor, key: Key) -> tuple[Tensor, Callable[[Tensor, Tensor], Tensor]]:
        """A draw of z for each row, and of the noise of some cells of some rows."""
        assert self.roots is not None
        first, own = key.distinct()
        key = key.at(first)
        numbers = key.fork(0).normal(self.z[i[first], 0])[own]
        noise = key.fork(1).normal(self.noise.expand(len(first), *self.noise.shape)) * self.noise.sqrt()
        z = self.z[i, start] + coloured(self.roots[self.which[i], start], numbers)
        return z, lambda row, cell: noise.flatten(1)[own[row], cell]


def latent_of(score: Tensor, root: Tensor, numbers: Tensor | None) -> Tensor:
    """z (..., k) of a factor model x = mu + F z + e given x: its mean, or a draw by N(0, 1) `numbers`.

    Its precision is ``I + F^T F / noise = root root^T``, its mean ``precision^-1 score``, score ``F^T (x - mu) / noise``.
    """
    z = torch.cholesky_solve(score[..., None], root)[..., 0]
    return z if numbers is None else z + coloured(root, numbers)


def coloured(root: Tensor, numbers: Tensor) -> Tensor:
    """N(0, 1) `numbers` (..., k) as numbers whose precision is ``root root^T``."""
    found: Tensor = torch.linalg.solve_triangular(root.mT, numbers[..., None], upper=True)
    return found[..., 0]
