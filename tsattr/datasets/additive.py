"""Sums of piecewise-linear functions of single cells: attribution that is known exactly, for any baseline."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray
from scipy.stats import norm
from torch import Tensor, nn

from ..labels.alignment import in_order_of
from .benchmark import check_sizes, exact_join
from .covariance import NormalStates

Floats = NDArray[np.float64]

_SAMPLES = 1  # streams of random numbers: 0 makes the function, 1 the samples
_ORDERS = 100  # of a Hermite series, whose tail falls like orders**-1.5: a thousandth for one cell, far less for many


@dataclass(frozen=True, eq=False, repr=False)
class AdditiveField:
    """A function of a field that is a sum over its cells, and the normal states that it is evaluated at.

    ``y = F(x) = sum_i w_i c_i(x_i)`` with ``c_i(x) = integral_0^x s_i(z) dz``, the slope s_i constant between breaks, and x
    multivariate normal with N(0, 1) for each cell. As F has no interactions, what each cell contributes is known exactly
    against any baseline, whatever the correlation of the cells, and is what integrated gradients, occlusion and Shapley
    values must all find.

    Made by `additive_sphere` and `additive_history`.

    Parameters
    ----------
    shapes
        Dataset: ``break`` (knot, ...) in increasing order and ``slope`` (piece, ...), with a piece more than knots, over the
        cells' dims; ``weight`` over the cells' dims and maybe one of outputs; NaN where there is no cell.
    states
        The law of x, over the cells in row order.
    seed
        Of the samples, beside that of each call.
    """

    shapes: xr.Dataset
    states: NormalStates
    seed: int = 0

    def __repr__(self) -> str:
        sizes = ", ".join(f"{d}={n}" for d, n in self.shapes["weight"].sizes.items())
        return f"AdditiveField({sizes}; {int(self.cells.sum())} cells, seed={self.seed})"

    @property
    def cells(self) -> xr.DataArray:
        """True where there is a cell: a mask over the input's dims."""
        return self.shapes["slope"].isel(piece=0, drop=True).notnull().rename("mask")

    @property
    def outputs(self) -> tuple[Hashable, ...]:
        """The dim of the outputs, if there are several."""
        return tuple(d for d in self.shapes["weight"].dims if d not in self.cells.dims)

    def sample(self, samples: int = 1000, *, seed: int = 0, first: int = 0, truth: bool = True) -> xr.Dataset:
        """Draw states, with the function's value and what each cell contributes to it.

        Parameters
        ----------
        samples
            How many; as many as wanted, also in parts: ``first=1000`` goes on where 1000 samples ended.
        seed
            Sample number i depends on `seed`, i and the field's own seed, never on `samples`.
        first
            Number of the first sample.
        truth
            False leaves it out: training needs none, and it takes many times the memory of `x`.

        Returns
        -------
        Dataset
            ``x`` (sample, ...), float32, NaN where there is no cell; ``y`` (sample, and the dim of outputs), float64;
            ``truth``, with the dims of both: contributions against a baseline of 0, which sum to y.

        Examples
        --------
        >>> from tsattr.datasets.sphere import additive_sphere
        >>> ds = additive_sphere(grid=30).sample(3)
        >>> ds.truth.dims, bool((abs(ds.truth.sum(["lat", "lon"]) - ds.y) < 1e-12).all())
        (('sample', 'lat', 'lon'), True)
        """
        check_sizes(seed, samples=(samples, 1), first=(first, 0))
        cells = self.cells
        values = np.full((samples, *cells.shape), np.nan, np.float32)
        values[:, cells.values] = self.states.draw(samples, (self.seed, _SAMPLES, seed), first)
        coords = {"sample": np.arange(first, first + samples), **cells.coords}
        x = xr.DataArray(values, dims=("sample", *cells.dims), coords=coords, name="x")
        x.attrs = {"long_name": "standardised state", "units": "1"}
        with torch.no_grad():
            y = self.model()(torch.as_tensor(values)).numpy()
        outputs = {d: self.shapes[d] for d in self.outputs}
        ds = xr.Dataset(
            {"x": x, "y": (("sample", *outputs), y, {"long_name": "value of the function", "units": "1"})}, outputs
        )
        if truth:
            ds["truth"] = self.truth(x)
        return ds.assign_attrs(seed=seed, field_seed=self.seed)

    def truth(self, x: xr.DataArray, baseline: Any = 0.0) -> xr.DataArray:
        """What each cell contributes: ``w_i (c_i(x_i) - c_i(b_i))``; sums to F(x) - F(b).

        Parameters
        ----------
        x
            States with the field's dims in any order and direction, and any others.
        baseline
            b: a number, or a DataArray over dims of `x`.

        Returns
        -------
        DataArray
            float64, the dims of `x`, then that of the outputs; NaN where there is no cell.

        Raises
        ------
        ValueError
            Labels or dims that the field does not have.
        """
        b = baseline if isinstance(baseline, xr.DataArray) else xr.DataArray(float(baseline))
        b = in_order_of(x, b, "the baseline")
        found = self._labelled(self._contributions(x) - self._contributions(b, like=x), x)
        found.attrs["baseline"] = "given state" if b.ndim else f"{b.item():g}"
        return found

    def shapley(self, x: xr.DataArray, background: xr.DataArray | None = None) -> xr.DataArray:
        """What each cell contributes against the mean over a distribution: ``w_i (c_i(x_i) - E c_i)``; sums to F(x) - E F.

        The Shapley value of each cell with absent cells drawn from that distribution (interventional), and the limit of
        expected gradients: of a sum over cells they are the same, however the cells depend on each other.

        Parameters
        ----------
        x
            As for `truth`.
        background
            States with a dim ``sample``; None for the law of the field itself, in closed form, by
            ``E max(x - t, 0) = phi(t) - t (1 - Phi(t))``.
        """
        if background is None:
            mean = self._aligned(x, self._mean)
        elif "sample" not in background.dims:
            raise ValueError(
                f"background is states along a dim 'sample', got dims {background.dims}; see truth for one state"
            )
        else:
            mean = self._contributions(background).mean("sample")
        return self._labelled(self._contributions(x) - mean, x)

    @property
    def importance(self) -> xr.DataArray:
        """The expected size of what each cell contributes against 0, ``|w_i| E |c_i(x_i)|``: what pooled maps tend to."""
        found = abs(self.shapes["weight"]) * self._mean_absolute
        return found.rename("importance").assign_attrs(long_name="expected absolute contribution", units="1")

    def linear(self) -> xr.Dataset:
        """The best linear approximation of F over its states, in closed form.

        ``b_i = E[d F / d x_i] = w_i sum_k s_ik P(piece k)``, which by Stein's lemma is the regression of F on x whatever the
        correlation of x, even a singular one that leaves a fitted regression undetermined. What cell i contributes to it is
        ``b_i x_i``: the control that any explanation of a nonlinear model should beat.

        Returns
        -------
        Dataset
            ``coefficient`` over the cells, ``intercept`` = E F, ``variance`` = Var F, and ``r2``, the share of the variance
            that is linear: ``Var F = sum_k h_k' S^(k) h_k`` with S^(k) the correlation to the power k entry by entry and
            ``h_ki = w_i E[c_i(x) He_k(x)] / sqrt(k!)`` (Mehler), k = 1 being the linear part.

        References
        ----------
        C. Stein: Estimation of the mean of a multivariate normal distribution. Annals of Statistics 9(6), 1981.
        """
        weight, cells = self.shapes["weight"], self.cells
        w = weight.transpose(*self.outputs, *cells.dims).values[..., cells.values].reshape(-1, int(cells.sum()))
        parts = [self.states.covariance(w * h, k + 1) for k, h in enumerate(_hermite(*self._arrays, _ORDERS))]
        dims = self.outputs
        variance = np.sum(parts, 0)
        shape = [weight.sizes[d] for d in dims]
        found = xr.Dataset(
            {
                "coefficient": weight * self._per_cell(_hermite(*self._arrays, 1)[0]),
                "intercept": (weight * self._mean).sum(cells.dims),
                "variance": (dims, variance.reshape(shape)),
                "r2": (dims, (parts[0] / variance).reshape(shape)),
            }
        )
        return found.assign_attrs(long_name="best linear approximation")

    def model(self) -> AdditiveModel:
        """F as a torch module: (rows, *cells' dims) to (rows,), or (rows, outputs); float64, cells off the mask unread."""
        cells = self.cells
        weight = self.shapes["weight"].transpose(*self.outputs, *cells.dims).values[..., cells.values]
        return AdditiveModel(cells.values, *self._arrays, weight)

    @cached_property
    def _arrays(self) -> tuple[Floats, Floats]:
        """Breaks (knots, cells) and slopes (pieces, cells)."""
        cells = self.cells
        knots, slopes = (
            self.shapes[name].transpose(dim, *cells.dims).values[:, cells.values]
            for name, dim in (("break", "knot"), ("slope", "piece"))
        )
        return knots, slopes

    @cached_property
    def _mean(self) -> xr.DataArray:
        return self._per_cell(mean(*self._arrays))

    @cached_property
    def _mean_absolute(self) -> xr.DataArray:
        return self._per_cell(mean_absolute(*self._arrays))

    def _per_cell(self, values: Floats) -> xr.DataArray:
        out = self.cells.astype(float)
        out.values[self.cells.values] = values
        return out.where(self.cells)

    def _aligned(self, x: xr.DataArray, values: Any) -> Any:
        """Return `values` aligned with `x` by label; ValueError where `x` lacks a dim of the field."""
        lacking = [d for d in self.cells.dims if d not in x.dims]
        if lacking:
            raise ValueError(f"states have the field's dims {list(self.cells.dims)}, got {list(x.dims)}")
        return in_order_of(x, values, "the field")

    def _contributions(self, x: xr.DataArray, like: xr.DataArray | None = None) -> xr.DataArray:
        """Return c_i(x_i), without the weights; aligned with `like` where `x` lacks dims."""
        shapes = self._aligned(x if like is None else like, self.shapes)
        with exact_join():
            knots, slopes = shapes["break"], shapes["slope"]
            steps = slopes.diff("piece").rename(piece="knot")
            out: xr.DataArray = slopes.isel(piece=0) * x.astype(np.float64)
            for k in range(knots.sizes["knot"]):
                t, step = knots.isel(knot=k), steps.isel(knot=k)
                out = out + step * ((x - t).clip(0) - (-t).clip(0))
        return out

    def _labelled(self, contributions: xr.DataArray, x: xr.DataArray) -> xr.DataArray:
        found: xr.DataArray = (contributions * self._aligned(x, self.shapes["weight"])).transpose(
            *x.dims, *self.outputs, ...
        )
        return found.rename("truth").assign_attrs(long_name="exact contribution", units="1")


class AdditiveModel(nn.Module):
    """A sum of piecewise-linear functions of single cells, ``sum_i w_i c_i(x_i)``, as hinges; see `AdditiveField.model`."""

    cells: Tensor
    knots: Tensor
    start: Tensor
    steps: Tensor
    weight: Tensor

    def __init__(self, cells: NDArray[np.bool_], knots: Floats, slopes: Floats, weight: Floats) -> None:
        super().__init__()
        self.register_buffer("cells", torch.as_tensor(np.flatnonzero(cells)))
        for name, values in (
            ("knots", knots),
            ("start", slopes[0]),
            ("steps", np.diff(slopes, axis=0)),
            ("weight", weight),
        ):
            self.register_buffer(name, torch.tensor(values, dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        """Return values (rows,), or (rows, outputs)."""
        x = x.flatten(1)[:, self.cells].to(self.weight.dtype)
        total = self.start * x
        for knot, step in zip(self.knots, self.steps):
            total = total + step * (torch.relu(x - knot) - torch.relu(-knot))
        return total @ self.weight.mT if self.weight.ndim == 2 else total @ self.weight


def field_shapes(states: NormalStates, breaks: int, seed: int) -> tuple[Floats, Floats]:
    """Return breaks (breaks, cells), 0 among them, and slopes (breaks + 1, cells), drawn from the law of the states.

    So the functions of two cells are correlated as the cells are.
    """
    check_sizes(seed, breaks=(breaks, 1))
    drawn = states.draw(2 * breaks, (seed, 0))
    knots = np.vstack([np.zeros((1, drawn.shape[1])), drawn[: breaks - 1]])
    return np.sort(knots, axis=0), drawn[breaks - 1 :]


def as_shapes(cells: xr.DataArray, knots: Floats, slopes: Floats, weight: xr.DataArray) -> xr.Dataset:
    """Label breaks and slopes (..., cells) by the cells of a mask."""

    def over_cells(values: Floats, dim: str) -> xr.DataArray:
        out = np.full((len(values), *cells.shape), np.nan)
        out[:, cells.values] = values
        return xr.DataArray(out, dims=(dim, *cells.dims), coords=cells.coords)

    return xr.Dataset(
        {"break": over_cells(knots, "knot"), "slope": over_cells(slopes, "piece"), "weight": weight.where(cells)}
    )


def mean(knots: Floats, slopes: Floats) -> Floats:
    """Return ``E c(x)`` for x ~ N(0, 1), (cells,): hinge by hinge."""
    hinge = norm.pdf(knots) - knots * norm.sf(knots) - np.maximum(-knots, 0)
    means: Floats = (np.diff(slopes, axis=0) * hinge).sum(0)
    return means


def mean_absolute(knots: Floats, slopes: Floats) -> Floats:
    """Return ``E |c(x)|`` for x ~ N(0, 1), (cells,): every piece ``p + s x`` is cut where it crosses 0."""
    value = _at_knots(knots, slopes)
    start = np.vstack([value[:1], value]) - slopes * np.vstack([knots[:1], knots])
    edge = np.full((1, knots.shape[1]), np.inf)
    low, high = np.vstack([-edge, knots]), np.vstack([knots, edge])
    with np.errstate(divide="ignore", invalid="ignore"):  # a flat piece does not cross
        root = np.clip(np.nan_to_num(-start / slopes), low, high)

    def part(a: Floats, b: Floats) -> Floats:
        integral: Floats = np.abs(start * (norm.cdf(b) - norm.cdf(a)) - slopes * (norm.pdf(b) - norm.pdf(a)))
        return integral

    means: Floats = (part(low, root) + part(root, high)).sum(0)
    return means


def _at_knots(knots: Floats, slopes: Floats) -> Floats:
    """Return c at each knot, (knots, cells); one knot is 0, where c is 0."""
    rises = np.diff(knots, axis=0) * slopes[1:-1]
    climbed = np.vstack([np.zeros((1, knots.shape[1])), np.cumsum(rises, axis=0)])
    values: Floats = climbed - np.take_along_axis(climbed, (knots == 0).argmax(0)[None], 0)
    return values


def _hermite(knots: Floats, slopes: Floats, orders: int) -> Floats:
    """Return ``E[c(x) He_k(x)] / sqrt(k!)`` for k = 1 .. orders, (orders, cells).

    By parts it is ``E[c'(x) h_(k-1)(x)] / sqrt(k)`` with h the normalised polynomials, whose products with phi have the
    antiderivatives ``-h_(k-2) phi / sqrt(k-1)``.
    """
    steps = np.diff(slopes, axis=0)
    found = [slopes[0] + (steps * norm.sf(knots)).sum(0)]
    previous, current = np.zeros_like(knots), np.ones_like(knots)
    for k in range(2, orders + 1):
        found.append((steps * current * norm.pdf(knots)).sum(0) / np.sqrt(k * (k - 1)))
        previous, current = current, (knots * current - np.sqrt(k - 2) * previous) / np.sqrt(k - 1)
    return np.array(found)
