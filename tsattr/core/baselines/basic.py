"""What "absent" means: the values that take the place of what is removed, decided once for every method.

A baseline is a frozen object of settings. ``bind(axes)`` turns units, coordinates and fitted references into plain
arrays; the bound object has one verb, ``fill(x, absent, key)``, which returns `x` with the cells where `absent` is True
replaced (NaN in `x` is missing and never informs a fill). ``absent`` all True gives the end point of a path.
Any object with a ``fill`` is a baseline; one with a ``bind`` is bound first. A bound one whose values at a time depend on
earlier times alone says ``causal = True``; WinIT and its family take no other.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from ..axes import Array, Axes, numbers_of
from ..bound import Ahead
from ..keys import Key
from .autoregressive import AutoRegressive as AutoRegressive
from .boundary import Boundary as Boundary
from .fills import DRAWS, Kernel, draw_by_name, enough_draws, fill_lines, nan_mean, per_row
from .fills import Baseline as Baseline
from .fills import Causal as Causal
from .fills import Conditional as Conditional
from .fills import Full as Full
from .fills import Joined as Joined
from .fills import bind as bind
from .gaussian import ConditionalGaussian as ConditionalGaussian
from .generator import Generator as Generator
from .inpaint import Inpaint as Inpaint
from .joint import JointGenerator as JointGenerator
from .marginal import Marginal as Marginal
from .noise import Gaussian as Gaussian
from .noise import Jitter as Jitter
from .references import checked, dealt, fitted_mean, fitted_range, median, most_frequent, reference_table, without_mode
from .spectral import BandStop as BandStop
from .spectral import PhaseRandomised as PhaseRandomised
from .templates import Climatology as Climatology
from .templates import MedianBeat as MedianBeat
from .typical import Typical as Typical


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

    sentence: ClassVar[str] = "a fixed value in every absent cell"
    note: ClassVar[str] = (
        "The baseline is constant, so cells that already equal it get nothing, however much the model needs them: "
        "a flat stretch at that value cannot be credited. Check with a second baseline before concluding that it "
        "does not matter."
    )
    value: Any = 0.0
    arithmetic: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if not isinstance(self.value, int | float | str):
            object.__setattr__(self, "value", Array.of(self.value))

    def values(self, axes: Axes) -> np.ndarray:
        """The constants as an array that broadcasts to (samples, *event), categories coded."""
        v = axes.align(Array.of(self.value), f"{type(self).__name__} baseline")
        if axes.code is None:
            return numbers_of(v, f"the baseline {self!r}")
        v = np.broadcast_to(v, (len(v), *axes.shape))
        return axes.coded(v.reshape(len(v), -1)).reshape(v.shape)

    def _bind(self, axes: Axes) -> Full:
        values = self.values(axes)
        return Full(lambda x, key: per_row(values, x, key), causal=True)


@dataclass(frozen=True)
class Mean(Baseline):
    """The sample's own mean over a dim: ``x'_i = mean over `over` of x_i``, missing cells left out; or, fitted, a reference's.

    The columns of a table have no mean in common: ``Mean.fit(train)`` is the mean of each.

    Parameters
    ----------
    over
        A dim or several; by default "time" where the input has it, else all dims.
    values
        What :meth:`fit` found.
    """

    sentence: ClassVar[str] = "the sample's own mean"
    note: ClassVar[str] = (
        "The baseline is the sample's own mean: a level that is the same throughout (an offset) cannot be credited."
    )
    over: str | tuple[str, ...] | None = None
    values: Array | None = None

    @classmethod
    def fit(cls, reference: Any, *, over: Any = None, sample_dim: str = "sample") -> Mean:
        """The mean of each channel over a reference's samples and time, the same for all samples.

        Parameters
        ----------
        reference
            Training-like data with a sample dim: DataArray, DataFrame of numbers or array (samples first).
        over
            Dims pooled besides the samples: by default "time" where there is one, else all dims but lead, channel,
            feature and variable.
        sample_dim
            Name of the reference's sample dim.
        """
        return cls(values=fitted_mean(reference, over, sample_dim))

    def _bind(self, axes: Axes) -> Full:
        if self.values is not None:
            values = axes.align(self.values, "the reference of Mean").astype(np.float64)
            return Full(lambda x, key: per_row(values, x, key), causal=True)
        if self.over is None and axes.dims in (("feature",), ("variable",)):
            raise ValueError(
                "Mean() is the sample's own mean, and the columns of a table have none in common; use Mean.fit(train), the mean "
                "of each column, or Typical.fit(train), its median or most frequent level"
            )
        time = axes.called("time")
        over = (time,) if self.over is None and time in axes.dims else self.over
        dims = axes.dims if over is None else (over,) if isinstance(over, str) else over
        at = [1 + axes.axis(axes.called(d)) for d in dims]
        return Full(lambda x, key: nan_mean(x, at) if at else x)


@dataclass(frozen=True)
class _Range(Baseline):
    low: Any
    high: Any

    def __post_init__(self) -> None:
        for name in ("low", "high"):
            if not isinstance(value := getattr(self, name), int | float):
                object.__setattr__(self, name, Array.of(value))
        low, high = (Array.of(getattr(self, n)) for n in ("low", "high"))
        for name, value in (("low", low), ("high", high)):
            if np.isnan(numbers_of(value.values, f"{name} of {type(self).__name__}")).all():
                raise ValueError(f"{type(self).__name__} needs numbers, got {name}={value!r}")
        if low.values.shape == high.values.shape and (low.values > high.values).any():
            raise ValueError(f"{type(self).__name__} needs low <= high, got low={self.low!r}, high={self.high!r}")

    def _bounds(self, axes: Axes) -> tuple[np.ndarray, np.ndarray]:
        name = type(self).__name__
        low, high = (axes.align(Array.of(v), f"{name} baseline") for v in (self.low, self.high))
        return numbers_of(low, f"low of the {name} baseline"), numbers_of(high, f"high of the {name} baseline")

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
        return cls(*fitted_range(reference, quantiles, over, sample_dim))


@dataclass(frozen=True)
class MaximumDistance(_Range):
    """The farthest valid value: ``x'_i = low if x_i >= (low + high) / 2 else high``.

    Diagnostic: it carries much information about `x` (a negative, not an absence). Sturmfels et al., Distill 2020.

    Parameters
    ----------
    low, high
        The valid range: numbers, or arrays labelled by some of the input's dims. :meth:`fit` takes quantiles per channel.
    """

    sentence: ClassVar[str] = "in each cell the end of the valid range that is farthest from the input"
    note: ClassVar[str] = (
        "Absent cells take the farthest valid value. Nothing is overlooked because it equals the baseline, but "
        "the end point is far from any real record, and the model may behave there as it never does on data."
    )

    def _bind(self, axes: Axes) -> Full:
        low, high = self._bounds(axes)
        middle = (low + high) / 2

        def full(x: Tensor, key: Key) -> Tensor:
            lo, hi, mid = (per_row(v, x, key) for v in (low, high, middle))
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

    sentence: ClassVar[str] = "random values, all equally likely within a range"
    note: ClassVar[str] = (
        "The baseline is noise that no recording looks like; the model's answer to it may mean little."
    )
    random: ClassVar[bool] = True

    def _bind(self, axes: Axes) -> Full:
        low, high = self._bounds(axes)

        def full(x: Tensor, key: Key) -> Tensor:
            lo, hi = (per_row(v, x, key) for v in (low, high))
            return lo + (hi - lo) * draw_by_name(key.uniform, x, axes)

        return Full(full, causal=True)


@dataclass(frozen=True, init=False)
class Blur(Baseline):
    """A Gaussian-blurred copy: ``x' = K * x`` along the named dims, never across the others.

    ``Blur(time="50ms")`` names the standard deviation along each dim, in coordinate units or in cells. Truncated at four
    standard deviations; edges reflect (``d c b a | a b c d | d c b a``), periodic dims wrap. Missing cells are left out
    by normalised convolution, ``K * (m x) / K * m``. A sinusoid of angular frequency w is scaled by
    ``exp(-sigma^2 w^2 / 2)``. What is smooth anyway gets little attribution.
    """

    sentence: ClassVar[str] = "a blurred copy of the input"
    note: ClassVar[str] = (
        "The baseline is a blurred copy: only what the blur removes, sharp and fast structure, can be credited. "
        "Slow levels and drifts remain in the baseline and get next to nothing."
    )
    sigma: tuple[tuple[str, float | str], ...]

    def __init__(self, sigma: Any = (), **sigmas: float | str) -> None:
        pairs = tuple(dict(sigma).items()) + tuple(sigmas.items())
        if not pairs:
            raise ValueError("Blur needs a standard deviation along at least one dim, like Blur(time='50ms')")
        object.__setattr__(self, "sigma", pairs)

    def __repr__(self) -> str:
        return f"Blur({', '.join(f'{d}={s!r}' for d, s in self.sigma)})"

    def _bind(self, axes: Axes) -> Full:
        kernels = [Kernel.of(axes, dim, size) for dim, size in self.sigma]

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
class Samples(Baseline):
    """The training distribution: each draw is one reference sample, drawn without replacement.

    With ``IntegratedGradients(Samples.fit(train), draws=k, steps=1)`` this is expected gradients (Erion et al., 2021).
    Each sample takes its own random order through the reference; after all have been used the order starts again. A
    method that is not told how many `draws` takes each once, up to a hundred. References of several variables with as many
    samples are drawn together: what belongs to one sample stays together.

    A missing cell of a reference sample stays missing: methods that remove hand it on to a model that reads NaN; others
    refuse it.
    """

    sentence: ClassVar[str] = "records drawn from the training distribution"
    note: ClassVar[str] = (
        "The baseline is the training distribution: the map tells how this record differs from typical ones. What "
        "it shares with them gets nothing, even where the model depends on it."
    )
    reference: Array
    sample_dim: str = "sample"
    arithmetic: ClassVar[bool] = False
    random: ClassVar[bool] = True

    @classmethod
    def fit(cls, reference: Any, *, sample_dim: str = "sample") -> Samples:
        """Keep a reference with a sample dim: DataArray, DataFrame, or array (samples first)."""
        return cls(checked(reference, sample_dim), sample_dim)

    @property
    def enough(self) -> int:
        """Each sample of the reference once, up to a hundred."""
        dims = self.reference.dims or (self.sample_dim,)
        return min(DRAWS, self.reference.values.shape[dims.index(self.sample_dim)])

    def _bind(self, axes: Axes) -> Full:
        table = reference_table(self.reference, self.sample_dim, axes, type(self).__name__)
        every, gaps = np.arange(len(table)), int(np.isnan(table).sum())
        return Full(lambda x, key: dealt(table, x, key, lambda position: every), causal=True, gaps=gaps)


@dataclass(frozen=True)
class Mode(Baseline):
    """The most frequent value of each cell over a reference, missing ones left out: for categories, and for counts.

    Cells of numbers in which no value stands out, such as measurements beside categories, get their median, with a warning;
    where no cell has a value that stands out, it is refused: see :class:`Typical`.
    """

    sentence: ClassVar[str] = "the most frequent value of each column"
    note: ClassVar[str] = "The baseline is the most frequent value: a column that already holds it gets nothing."
    reference: Array
    sample_dim: str = "sample"
    arithmetic: ClassVar[bool] = False

    @classmethod
    def fit(cls, reference: Any, *, sample_dim: str = "sample") -> Mode:
        """Keep a reference with a sample dim: DataArray, DataFrame, or array (samples first)."""
        return cls(checked(reference, sample_dim), sample_dim)

    def _bind(self, axes: Axes) -> Full:
        table = reference_table(self.reference, self.sample_dim, axes, "Mode")
        columns = table.reshape(len(table), -1).T
        lacking = without_mode(columns, axes)
        if lacking.any():
            names = [axes.name_of(i) for i in np.flatnonzero(lacking).tolist()]
            what = (
                f"no value of {', '.join(names[:8])}{', ...' * (len(names) > 8)} is more frequent than others, so that the most "
                "frequent one says nothing"
            )
            if lacking.all():
                raise ValueError(f"{what}; use Typical.fit(reference), which takes the median of numbers")
            warnings.warn(f"{what}: Mode takes the median there, as Typical.fit(reference) does", stacklevel=2)
        values = np.array([median(c) if lost else most_frequent(c) for c, lost in zip(columns, lacking)])
        values = values.reshape(1, *axes.shape)
        return Full(lambda x, key: per_row(values, x, key), causal=True)


@dataclass(frozen=True)
class Hold(Baseline):
    """The last value before the gap: ``x'_t = x_s``, s the last time before t that is present. Causal.

    Parameters
    ----------
    dim
        The dim to hold along.
    otherwise
        Where nothing earlier is present; so the end point of a path is this constant. None: 0, but methods on prefixes (WinIT
        and its family) leave the cell as it is, as nothing was known that could be lost.
    """

    sentence: ClassVar[str] = "the last value before the gap"
    note: ClassVar[str] = "Gaps are filled with the last value before them: a cell that repeats it gets nothing."
    dim: str = "time"
    otherwise: float | None = None

    def _bind(self, axes: Axes) -> Causal:
        axis = 1 + axes.axis(axes.called(self.dim))
        otherwise, unknown = (0.0, torch.nan) if self.otherwise is None else (self.otherwise, self.otherwise)

        def held(lines: Tensor, row: Tensor, cell: Tensor, before: Tensor, after: Tensor) -> Tensor:
            return torch.where(before >= 0, lines[row, before.clamp(min=0)], otherwise)

        def ahead(known: Tensor) -> Ahead:
            series = known.movedim(axis, 1)
            steps = torch.arange(series.shape[1], device=known.device).reshape(1, -1, *[1] * (series.ndim - 2))
            last = torch.where(torch.isnan(series), -1, steps).cummax(1).values

            def values(i: Tensor, start: Tensor, length: int, gone: Tensor, key: Key) -> Tensor:
                at = last[i, start - 1]
                value = series[i].gather(1, at.clamp(min=0)[:, None])
                value = torch.where(at[:, None] >= 0, value, unknown)
                return value.expand(-1, length, *value.shape[2:])

            return values

        return Causal(
            lambda x, absent, key: fill_lines(x, absent, axis, held), ahead, begins=self.otherwise is not None
        )


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

    sentence: ClassVar[str] = "a straight line across the gap"
    note: ClassVar[str] = (
        "Gaps are bridged by straight lines: slow change survives removal, only what departs from the line is credited."
    )
    dim: str = "time"
    otherwise: float = 0.0

    def _bind(self, axes: Axes) -> Conditional:
        dim = axes.called(self.dim)
        axis, n, where = 1 + axes.axis(dim), axes.shape[axes.axis(dim)], axes.line(dim)

        def line(lines: Tensor, row: Tensor, cell: Tensor, before: Tensor, after: Tensor) -> Tensor:
            p = torch.as_tensor(where, device=lines.device)
            # At an edge both ends are the one neighbour there is, and the share between them does not matter.
            left = torch.where(before >= 0, before, after).clamp(max=n - 1)
            right = torch.where(after < n, after, before).clamp(min=0)
            share = torch.where(right > left, (p[cell] - p[left]) / (p[right] - p[left]), 0).to(lines.dtype)
            values = torch.lerp(lines[row, left], lines[row, right], share)
            return torch.where((before >= 0) | (after < n), values, self.otherwise)

        return Conditional(lambda x, absent, key: fill_lines(x, absent, axis, line))


@dataclass(frozen=True, init=False)
class Mixture(Baseline):
    """Several baselines in turn: draw d is one of the d-th of them, so that their mean and spread can be reported.

    With as many draws as members each is used once; with a multiple, equally often. ``per_draw=True`` of
    `IntegratedGradients` keeps each one's own map.

    Examples
    --------
    >>> import numpy as np, tsattr as ta
    >>> both = Mixture(Constant(0.0), Constant(1.0))
    >>> ds = ta.explain(lambda x: x.sum(1), np.full((1, 1), 3.0), ta.IntegratedGradients(both, draws=2, per_draw=True))
    >>> ds.attribution.round(9).item(), ds.attribution_draw.values.round(9).tolist()
    (2.5, [[[3.0, 2.0]]])
    """

    sentence: ClassVar[str] = "several baselines in turn, one for each draw"
    members: tuple[Any, ...]
    arithmetic: ClassVar[bool] = False  # each member says for itself
    random: ClassVar[bool] = True

    def __init__(self, *members: Any) -> None:
        if len(members) < 2:
            raise ValueError(f"Mixture needs at least two baselines, got {members}")
        object.__setattr__(self, "members", members)

    def __repr__(self) -> str:
        return f"Mixture({', '.join(map(repr, self.members))})"

    @property
    def enough(self) -> int:
        """Each member as often as the one that needs most draws."""
        return len(self.members) * max(map(enough_draws, self.members))

    def _bind(self, axes: Axes) -> Conditional:
        bound = [bind(m, axes) for m in self.members]

        def fill(x: Tensor, absent: Tensor, key: Key) -> Tensor:
            out = torch.empty_like(x)
            for m, member in enumerate(bound):
                rows = np.flatnonzero(key.draw % len(bound) == m)
                if len(rows):
                    at = torch.as_tensor(rows, device=x.device)
                    own = replace(
                        key, sample=key.sample[rows], position=key.position[at], draw=key.draw[rows] // len(bound)
                    )
                    out[at] = member.fill(x[at], absent[at], own)
            return out

        return Conditional(fill, causal=all(m.causal for m in bound), gaps=sum(m.gaps for m in bound))
