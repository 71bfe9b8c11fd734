"""What "absent" means: the values that take the place of what is removed, decided once for every method.

A baseline is a frozen object of settings. ``bind(axes)`` turns units, coordinates and fitted references into plain
arrays; the bound object has one verb, ``fill(x, absent, key)``, which returns `x` with the cells where `absent` is True
replaced (NaN in `x` is missing and never informs a fill). ``absent`` all True gives the end point of a path.
Any object with a ``fill`` is a baseline; one with a ``bind`` is bound first.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from .axes import Array, Axes
from .keys import Key


@dataclass(frozen=True)
class Full:
    """A bound baseline that knows a value for every cell, whatever else is absent.

    ``full(x, key)`` gives those values, of the shape of `x` or broadcasting to it; the engine computes them once for
    each (sample, draw) and not once for each group.
    """

    full: Callable[[Tensor, Key], Tensor]
    causal: bool = False
    conditional: ClassVar[bool] = False

    def fill(self, x: Tensor, absent: Tensor, key: Key) -> Tensor:
        """`x` with the absent cells replaced."""
        return torch.where(absent, self.full(x, key), x)


@dataclass(frozen=True)
class Conditional:
    """A bound baseline whose values depend on what is still present."""

    fill: Callable[[Tensor, Tensor, Key], Tensor]
    causal: bool = False
    conditional: ClassVar[bool] = True


class Baseline:
    """Base of the baselines here: binding refuses arithmetic on categories."""

    arithmetic: ClassVar[bool] = True

    def bind(self, axes: Axes) -> Any:
        """Turn units, coordinates and references into plain arrays for an input with these axes."""
        if self.arithmetic and axes.nominal is not None and axes.nominal.any():
            names = axes.coords[axes.dims[-1]][axes.nominal.reshape(-1, axes.shape[-1]).any(0)].tolist()
            raise TypeError(
                f"{type(self).__name__} does arithmetic, but columns {names} hold categories; use Samples.fit(reference), "
                "Mode.fit(reference) or Constant({column: category, ...})"
            )
        return self._bind(axes)

    def _bind(self, axes: Axes) -> Any:
        raise NotImplementedError


def _tensor(values: np.ndarray, like: Tensor) -> Tensor:
    return torch.as_tensor(values).to(like.device, like.dtype)


def _per_row(values: np.ndarray, x: Tensor, key: Key) -> Tensor:
    """Values of shape (samples or 1, *event) as rows that match `x`."""
    rows = values if len(values) == 1 else values[key.position.cpu().numpy()]
    return _tensor(rows, x)


def _draw(numbers: Callable[[Tensor], Tensor], x: Tensor, axes: Axes) -> Tensor:
    """Random numbers of the shape of `x`, drawn by the names of its dims, so that transposing `x` only transposes them."""
    order = [0, *(1 + int(a) for a in np.argsort(axes.dims))]
    return numbers(x.permute(order)).permute(np.argsort(order).tolist())


def _nan_mean(x: Tensor, axes: list[int]) -> Tensor:
    return x.to(torch.float64).nanmean(axes, keepdim=True).to(x.dtype)


@dataclass(frozen=True)
class Constant(Baseline):
    """A constant in the units of `x`: one number, or one for each label.

    ``x'_i = value_i``. A cell that already has its constant gets no attribution from any path method: it is blind to its
    own value. A constant outside a channel's observed range warns.

    Parameters
    ----------
    value
        A number; a DataArray over some dims of the input (also its sample dim); a mapping from the labels of one dim to
        values (``{"age": 60, "sex": "F"}`` for a table); or an array of a sample's shape.

    Examples
    --------
    >>> Constant(0.0)
    Constant(value=0.0)
    """

    value: Any = 0.0
    arithmetic: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if not isinstance(self.value, int | float | str):
            object.__setattr__(self, "value", Array.of(self.value))

    def values(self, axes: Axes) -> np.ndarray:
        """The constants as an array that broadcasts to (samples, *event), categories coded."""
        v = axes.align(Array.of(self.value), f"{type(self).__name__} baseline")
        if axes.code is not None:
            v = np.broadcast_to(v, (len(v), *axes.shape))
        return axes.coded(v.reshape(len(v), -1)).reshape(v.shape)

    def _bind(self, axes: Axes) -> Full:
        values = self.values(axes)
        return Full(lambda x, key: _per_row(values, x, key), causal=True)


@dataclass(frozen=True)
class Mean(Baseline):
    """The sample's own mean over a dim: ``x'_i = mean over `over` of x_i``, missing cells left out.

    Parameters
    ----------
    over
        A dim or several; by default "time" where the input has it, else all dims.
    """

    over: str | tuple[str, ...] | None = None

    def _bind(self, axes: Axes) -> Full:
        over = ("time",) if self.over is None and "time" in axes.dims else self.over
        dims = axes.dims if over is None else (over,) if isinstance(over, str) else over
        at = [1 + axes.axis(d) for d in dims]
        return Full(lambda x, key: _nan_mean(x, at) if at else x)


def _fitted_range(reference: Any, quantiles: tuple[float, float], over: Any, sample_dim: str) -> tuple[Array, Array]:
    """Quantiles of a reference over its samples and `over` (by default time, else every dim that is no channel)."""
    r = Array.of(reference)
    if r.dims is None:
        names: tuple[str, ...] = (sample_dim, *(f"dim_{i}" for i in range(1, r.values.ndim)))
        r = Array(r.values, names)
    if r.dims is None or sample_dim not in r.dims:
        raise ValueError(
            f"the reference has dims {r.dims}, none of them {sample_dim!r}; say which holds its samples: sample_dim=..."
        )
    rest = [d for d in r.dims if d != sample_dim]
    if over is None:
        over = ("time",) if "time" in rest else [d for d in rest if d not in Axes(tuple(rest), ()).channels]
    drop = {sample_dim, *((over,) if isinstance(over, str) else over)}
    axis = tuple(i for i, d in enumerate(r.dims) if d in drop)
    low, high = np.nanquantile(r.values.astype(np.float64), quantiles, axis=axis)
    kept = tuple(d for d in r.dims if d not in drop)
    coords = {d: c for d, c in r.coords.items() if d in kept}
    return Array(np.asarray(low), kept, coords), Array(np.asarray(high), kept, coords)


@dataclass(frozen=True)
class _Range(Baseline):
    low: Any
    high: Any

    def __post_init__(self) -> None:
        for name in ("low", "high"):
            if not isinstance(value := getattr(self, name), int | float):
                object.__setattr__(self, name, Array.of(value))
        low, high = (Array.of(getattr(self, n)) for n in ("low", "high"))
        if low.values.shape == high.values.shape and (low.values > high.values).any():
            raise ValueError(f"{type(self).__name__} needs low <= high, got low={self.low!r}, high={self.high!r}")

    def _bounds(self, axes: Axes) -> tuple[np.ndarray, np.ndarray]:
        name = type(self).__name__
        low, high = (axes.align(Array.of(v), f"{name} baseline") for v in (self.low, self.high))
        return low.astype(np.float64), high.astype(np.float64)

    @classmethod
    def fit(
        cls,
        reference: Any,
        quantiles: tuple[float, float] = (0.001, 0.999),
        *,
        over: Any = None,
        sample_dim: str = "sample",
    ) -> Any:
        """The range of each channel: quantiles over the reference's samples and time.

        Parameters
        ----------
        reference
            Training-like data with a sample dim: DataArray, DataFrame or array (samples first).
        quantiles
            The two quantiles that bound the range; (0, 1) for the extremes.
        over
            Dims pooled besides the samples: by default "time" where there is one, else all dims but lead, channel,
            feature and variable.
        sample_dim
            Name of the reference's sample dim.
        """
        return cls(*_fitted_range(reference, quantiles, over, sample_dim))


@dataclass(frozen=True)
class MaximumDistance(_Range):
    """The farthest valid value: ``x'_i = low if x_i >= (low + high) / 2 else high``.

    Diagnostic: it carries much information about `x` (a negative, not an absence). Sturmfels et al., Distill 2020.

    Parameters
    ----------
    low, high
        The valid range: numbers, or arrays labelled by some of the input's dims. :meth:`fit` takes quantiles per channel.
    """

    def _bind(self, axes: Axes) -> Full:
        low, high = self._bounds(axes)
        middle = (low + high) / 2

        def full(x: Tensor, key: Key) -> Tensor:
            lo, hi, mid = (_per_row(v, x, key) for v in (low, high, middle))
            return torch.where(x >= mid, lo, hi)

        return Full(full)


@dataclass(frozen=True)
class Uniform(_Range):
    """Independent draws from the valid range: ``x'_i ~ U(low_i, high_i)``; use several draws.

    Parameters
    ----------
    low, high
        As in :class:`MaximumDistance`; :meth:`fit` takes quantiles per channel.
    """

    def _bind(self, axes: Axes) -> Full:
        low, high = self._bounds(axes)

        def full(x: Tensor, key: Key) -> Tensor:
            lo, hi = (_per_row(v, x, key) for v in (low, high))
            return lo + (hi - lo) * _draw(key.uniform, x, axes)

        return Full(full, causal=True)


@dataclass(frozen=True)
class Gaussian(Baseline):
    """Noise centred on the input: ``x'_i ~ N(x_i, sigma_i^2)``, truncated (not clipped) to ``[low, high]`` if given.

    Truncation redraws within the bounds, so no mass piles up on them; as sigma grows it tends to :class:`Uniform`. An
    `x` outside the bounds is drawn from the part of its normal that lies inside.

    Parameters
    ----------
    sigma
        Standard deviation in the units of `x`: a number or an array labelled by some of the input's dims.
    low, high
        Bounds, or None.
    """

    sigma: Any
    low: Any = None
    high: Any = None

    def __post_init__(self) -> None:
        for name in ("sigma", "low", "high"):
            if not isinstance(value := getattr(self, name), int | float | None):
                object.__setattr__(self, name, Array.of(value))
        if not (Array.of(self.sigma).values > 0).all():
            raise ValueError(f"Gaussian needs sigma > 0, got {self.sigma!r}")

    def _bind(self, axes: Axes) -> Full:
        sigma = axes.align(Array.of(self.sigma), "Gaussian baseline").astype(np.float64)
        bounds = [None if b is None else axes.align(Array.of(b), "Gaussian baseline") for b in (self.low, self.high)]

        def full(x: Tensor, key: Key) -> Tensor:
            s = _per_row(sigma, x, key)
            if all(b is None for b in bounds):
                return x + s * _draw(key.normal, x, axes)
            x64, s64 = x.double(), s.double()
            low, high = (
                torch.tensor(p, dtype=torch.float64, device=x.device)
                if b is None
                else torch.special.ndtr((_per_row(b, x64, key) - x64) / s64)
                for b, p in zip(bounds, (0.0, 1.0))
            )
            tiny = torch.finfo(torch.float64).tiny
            z = torch.special.ndtri((low + (high - low) * _draw(key.uniform, x64, axes)).clamp(tiny, 1 - 2**-53))
            out = x64 + s64 * z
            for b, limit in zip(bounds, (torch.maximum, torch.minimum)):  # far tails: the quantile has no digits left
                out = out if b is None else limit(out, _per_row(b, x64, key))
            return out.to(x.dtype)

        return Full(full)


@dataclass(frozen=True)
class Jitter(Baseline):
    """Noise centred on the input, in proportion to the sample: ``x'_i ~ N(x_i, (share * (max x - min x))^2)``.

    Parameters
    ----------
    share
        Standard deviation as a share of the range of the sample's valid cells (Smilkov et al., 2017).
    """

    share: float

    def __post_init__(self) -> None:
        if not self.share > 0:
            raise ValueError(f"Jitter needs share > 0, got {self.share!r}")

    def _bind(self, axes: Axes) -> Full:
        def full(x: Tensor, key: Key) -> Tensor:
            missing, cells = torch.isnan(x), list(range(1, x.ndim))
            high = torch.where(missing, -torch.inf, x).amax(cells, keepdim=True)
            low = torch.where(missing, torch.inf, x).amin(cells, keepdim=True)
            return x + self.share * (high - low) * _draw(key.normal, x, axes)

        return Full(full)


@dataclass(frozen=True, init=False)
class Blur(Baseline):
    """A Gaussian-blurred copy: ``x' = K * x`` along the named dims, never across the others.

    ``Blur(time="50ms")`` names the standard deviation along each dim, in coordinate units or in cells. Truncated at four
    standard deviations; edges reflect (``d c b a | a b c d | d c b a``), periodic dims wrap. Missing cells are left out
    by normalised convolution, ``K * (m x) / K * m``. A sinusoid of angular frequency w is scaled by
    ``exp(-sigma^2 w^2 / 2)``. What is smooth anyway gets little attribution.
    """

    sigma: tuple[tuple[str, float | str], ...]

    def __init__(self, sigma: Any = (), **sigmas: float | str) -> None:
        pairs = tuple(dict(sigma).items()) + tuple(sigmas.items())
        if not pairs:
            raise ValueError("Blur needs a standard deviation along at least one dim, like Blur(time='50ms')")
        object.__setattr__(self, "sigma", pairs)

    def __repr__(self) -> str:
        return f"Blur({', '.join(f'{d}={s!r}' for d, s in self.sigma)})"

    def _bind(self, axes: Axes) -> Full:
        kernels = [_Kernel.of(axes, dim, size) for dim, size in self.sigma]

        def smooth(v: Tensor) -> Tensor:
            for kernel in kernels:
                v = kernel(v)
            return v

        def full(x: Tensor, key: Key) -> Tensor:
            missing = torch.isnan(x)
            if not missing.any():
                return smooth(x)
            known = smooth(torch.where(missing, 0, x))
            weight = smooth((~missing).to(x.dtype))
            # A gap wider than the kernel has no weight; its cells are invalid, so their value is never used.
            return known / torch.where(weight > 0, weight, 1)

        return Full(full)


@dataclass(frozen=True)
class _Kernel:
    """Gaussian convolution along one axis, as scipy.ndimage.gaussian_filter1d does it."""

    axis: int
    taps: np.ndarray
    source: np.ndarray

    @classmethod
    def of(cls, axes: Axes, dim: str, size: float | str) -> _Kernel:
        sigma = axes.cells(dim, size)
        if not sigma > 0:
            raise ValueError(f"Blur needs a standard deviation > 0 along dim {dim!r}, got {size!r}")
        if math.isinf(sigma):
            raise ValueError(f"Blur along dim {dim!r}, which has one cell: {size!r} has no meaning there; leave it out")
        radius = int(4 * sigma + 0.5)
        taps = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
        n = axes.shape[axes.axis(dim)]
        source = np.pad(np.arange(n), radius, mode="wrap" if dim in axes.periodic else "symmetric")
        return cls(1 + axes.axis(dim), taps / taps.sum(), source)

    def __call__(self, x: Tensor) -> Tensor:
        padded = x.index_select(self.axis, torch.as_tensor(self.source, device=x.device)).movedim(self.axis, -1)
        taps = _tensor(self.taps, x)[None, None]
        out = torch.nn.functional.conv1d(padded.reshape(-1, 1, padded.shape[-1]), taps)
        return out.reshape(*padded.shape[:-1], -1).movedim(-1, self.axis)


@dataclass(frozen=True)
class Samples(Baseline):
    """The training distribution: each draw is one reference sample, drawn without replacement.

    With ``IntegratedGradients(Samples.fit(train), draws=k, steps=1)`` this is expected gradients (Erion et al., 2021).
    Each sample takes its own random order through the reference; after all have been used the order starts again. A
    missing cell of a reference sample takes the reference's mean there (a category: its most frequent value). References
    of several variables with as many samples are drawn together: what belongs to one sample stays together.
    """

    reference: Array
    sample_dim: str = "sample"
    arithmetic: ClassVar[bool] = False

    @classmethod
    def fit(cls, reference: Any, *, sample_dim: str = "sample") -> Samples:
        """Keep a reference with a sample dim: DataArray, DataFrame, or array (samples first)."""
        r = Array.of(reference)
        if r.dims is not None and sample_dim not in r.dims:
            raise ValueError(
                f"the reference has dims {r.dims}, none of them {sample_dim!r}; say which holds its samples: sample_dim=..."
            )
        if len(r.values) == 0:
            raise ValueError("the reference has no samples")
        return cls(r, sample_dim)

    def _bind(self, axes: Axes) -> Full:
        table = reference_table(self.reference, self.sample_dim, axes, type(self).__name__)
        n = len(table)

        def pick(key: Key, row: int) -> np.ndarray:
            lap, at = divmod(int(key.draw[row]), n)
            order = replace(key, stream=lap).rng(row, per_sample=True).permutation(n)
            return table[order[at]]

        return Full(lambda x, key: key.each(lambda row: pick(key, row), x), causal=True)


def reference_table(reference: Array, sample_dim: str, axes: Axes, what: str) -> np.ndarray:
    """A reference as float64 (samples, *event) on these axes, categories coded and missing cells filled."""
    values, dims = reference.values, reference.dims
    if dims is not None and sample_dim in dims:
        values = np.moveaxis(values, dims.index(sample_dim), 0)
        dims = tuple(d for d in dims if d != sample_dim)
    coords = {d: c for d, c in reference.coords.items() if d != sample_dim}
    # One sample stands for all: they share their dims and coordinates.
    flat = np.arange(values[0].size).reshape(values[0].shape)
    order = axes.align(Array(flat, dims, coords), f"the reference of {what}")
    if order.shape[1:] != axes.shape:
        raise ValueError(f"the reference of {what} has shape {values.shape[1:]} per sample, the input {axes.shape}")
    out = axes.coded(values.reshape(len(values), -1)[:, order.reshape(-1)])
    nominal = np.zeros(out.shape[1], bool) if axes.nominal is None else axes.nominal.reshape(-1)
    for i in np.flatnonzero(np.isnan(out).any(0)):
        known = out[~np.isnan(out[:, i]), i]
        if len(known):
            out[np.isnan(out[:, i]), i] = most_frequent(known) if nominal[i] else known.mean()
    return out.reshape(len(values), *axes.shape)


def most_frequent(values: np.ndarray) -> float:
    """The most frequent value, the smallest of them at a tie."""
    levels, counts = np.unique(values, return_counts=True)
    return float(levels[counts.argmax()])


@dataclass(frozen=True)
class Mode(Baseline):
    """The most frequent value of each cell over a reference: for categories, and for counts."""

    reference: Array
    sample_dim: str = "sample"
    arithmetic: ClassVar[bool] = False

    @classmethod
    def fit(cls, reference: Any, *, sample_dim: str = "sample") -> Mode:
        """Keep a reference with a sample dim: DataArray, DataFrame, or array (samples first)."""
        kept = Samples.fit(reference, sample_dim=sample_dim)
        return cls(kept.reference, sample_dim)

    def _bind(self, axes: Axes) -> Full:
        table = reference_table(self.reference, self.sample_dim, axes, "Mode").reshape(-1, math.prod(axes.shape))
        values = np.array([most_frequent(c) for c in table.T]).reshape(1, *axes.shape)
        return Full(lambda x, key: _per_row(values, x, key), causal=True)


@dataclass(frozen=True)
class Hold(Baseline):
    """The last value before the gap: ``x'_t = x_s``, s the last time before t that is present. Causal.

    Parameters
    ----------
    dim
        The dim to hold along.
    otherwise
        Where nothing earlier is present; so the end point of a path is this constant.
    """

    dim: str = "time"
    otherwise: float = 0.0

    def _bind(self, axes: Axes) -> Conditional:
        axis = 1 + axes.axis(self.dim)

        def held(lines: Tensor, row: Tensor, cell: Tensor, before: Tensor, after: Tensor) -> Tensor:
            return torch.where(before >= 0, lines[row, before.clamp(min=0)], self.otherwise)

        return Conditional(lambda x, absent, key: _fill_lines(x, absent, axis, held), causal=True)


@dataclass(frozen=True)
class Bridge(Baseline):
    """The straight line across the gap, by coordinate: exact for a linear series, and continuous.

    ``x'_t = x_s + (t - s) / (e - s) (x_e - x_s)`` with s and e the nearest present neighbours. A gap that reaches an edge
    takes the nearest present value.

    Parameters
    ----------
    dim
        The dim to interpolate along.
    otherwise
        Where nothing along the dim is present; so the end point of a path is this constant.
    """

    dim: str = "time"
    otherwise: float = 0.0

    def _bind(self, axes: Axes) -> Conditional:
        axis, n = 1 + axes.axis(self.dim), axes.shape[axes.axis(self.dim)]
        where = axes.line(self.dim)

        def line(lines: Tensor, row: Tensor, cell: Tensor, before: Tensor, after: Tensor) -> Tensor:
            p = torch.as_tensor(where, device=lines.device)
            # At an edge both ends are the one neighbour there is, and the share between them does not matter.
            left = torch.where(before >= 0, before, after).clamp(max=n - 1)
            right = torch.where(after < n, after, before).clamp(min=0)
            share = torch.where(right > left, (p[cell] - p[left]) / (p[right] - p[left]), 0).to(lines.dtype)
            values = torch.lerp(lines[row, left], lines[row, right], share)
            return torch.where((before >= 0) | (after < n), values, self.otherwise)

        return Conditional(lambda x, absent, key: _fill_lines(x, absent, axis, line))


def _fill_lines(x: Tensor, absent: Tensor, axis: int, value: Callable[..., Tensor]) -> Tensor:
    """Fill each line along `axis` from its nearest present cells; lines and cells that are not absent cost nothing.

    ``value(lines, row, cell, before, after)`` gives the value of each absent cell: `before` and `after` are the cells of
    its nearest present neighbours, -1 and n where there is none.
    """
    n = x.shape[axis]
    out = x.movedim(axis, -1).reshape(-1, n)
    if out.data_ptr() == x.data_ptr():
        out = out.clone()
    gone = absent.expand_as(x).movedim(axis, -1).reshape(-1, n)
    touched = gone.any(1).nonzero()[:, 0]
    lines, gone = out[touched], gone[touched]
    row, cell = gone.nonzero(as_tuple=True)
    unknown = gone | torch.isnan(lines)
    index = torch.arange(n, device=x.device, dtype=torch.int32)
    before = torch.where(unknown, -1, index).cummax(1).values[row, cell].long()
    after = torch.where(unknown, n, index).flip(1).cummin(1).values[row, n - 1 - cell].long()
    out[touched[row], cell] = value(lines, row, cell, before, after)
    return out.reshape(x.movedim(axis, -1).shape).movedim(-1, axis)


@dataclass(frozen=True)
class Joined:
    """Bound baselines of several variables that lie side by side in one flat event."""

    parts: tuple[tuple[slice, tuple[int, ...], Any], ...]
    conditional: bool = field(init=False, default=True)

    @property
    def causal(self) -> bool:
        """True where every part is causal."""
        return all(getattr(bound, "causal", False) for *_, bound in self.parts)

    def fill(self, x: Tensor, absent: Tensor, key: Key) -> Tensor:
        """Fill each variable's own view."""
        absent = absent.expand_as(x)
        filled = [
            bound.fill(x[:, at].reshape(-1, *shape), absent[:, at].reshape(-1, *shape), key.fork(v)).reshape(len(x), -1)
            for v, (at, shape, bound) in enumerate(self.parts)
        ]
        return torch.cat(filled, 1)


def observed(reference: Any, axes: Axes) -> np.ndarray:
    """A reference that holds its samples along the input's sample dim, on the input's axes."""
    fitted = Samples.fit(reference, sample_dim=axes.sample_dim)
    return reference_table(fitted.reference, axes.sample_dim, axes, "explain")


def outside_range(constant: Constant, axes: Axes, x: np.ndarray) -> list[str]:
    """The channels of which `constant` lies outside the observed range, widened by a tenth, each with that range.

    With fewer than 32 observed values a range says little, and nothing is reported.
    """
    values = constant.values(axes)
    values = np.broadcast_to(values, (len(values), *axes.shape))
    keep = [1 + axes.axis(d) for d in axes.channels]
    rest = tuple(a for a in range(x.ndim) if a not in keep)
    known = ~np.isnan(x)
    low = np.where(known, x, np.inf).min(rest)
    high = np.where(known, x, -np.inf).max(rest)
    margin = 0.1 * (high - low)
    inner = tuple(a for a in range(values.ndim) if a not in keep)
    bad = (known.sum(rest) >= 32) & ((values.max(inner) < low - margin) | (values.min(inner) > high + margin))
    if axes.nominal is not None:
        bad = bad & ~axes.nominal
    names = ["all"] if not keep else ["/".join(map(str, p)) for p in _labels(axes)]
    return [
        f"{name} [{lo:.4g}, {hi:.4g}]"
        for name, lo, hi, b in zip(names, low.reshape(-1), high.reshape(-1), np.asarray(bad).reshape(-1))
        if b
    ]


def _labels(axes: Axes) -> list[tuple[Any, ...]]:
    return list(
        itertools.product(*(axes.coords.get(d, np.arange(axes.shape[axes.axis(d)])).tolist() for d in axes.channels))
    )


def bind(baseline: Any, axes: Axes) -> Any:
    """The bound form of anything that is a baseline: its ``bind(axes)`` if it has one, else itself if it can fill."""
    if isinstance(baseline, type):
        raise TypeError(f"a baseline is an object with its settings: {baseline.__name__}(...), not the class")
    if hasattr(baseline, "bind"):
        return baseline.bind(axes)
    if hasattr(baseline, "fill"):
        return baseline
    if isinstance(baseline, Mapping):
        raise TypeError("a mapping of baselines is for an input of several variables (an xarray.Dataset)")
    raise TypeError(
        f"a baseline is an object of tsattr.baselines, or anything with fill(x, absent, key), got {baseline!r}; "
        "a number or an array is Constant(...)"
    )
