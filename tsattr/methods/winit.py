"""WinIT and its family: what losing the recent past of a feature does to the predictions that follow, by time and lag."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from ..core.baselines import Hold, Uniform
from ..core.evaluation.prefix_method import PrefixMethod
from ..core.evaluation.stretches import Stretches, StretchRemoval
from ..core.evaluation.timing import Timing
from ..core.results import Field, check_choice, check_count
from ..core.samples import Moments, SampleChunk
from ..core.status import Status

AGGREGATES = (None, "mean", "max", "absmax", "sum")


@dataclass(frozen=True)
class WinIT(PrefixMethod):
    """Windowed feature importance in time: what losing a feature's recent past does to each prediction, by lag.

    For the prediction at t, with feature i absent over ``a .. t`` in ``x~``,

        ``D(i, a, t) = g(f(x_0..t), f(x~_0..t))``, the mean over the baseline's draws, and
        ``I(i, a, t) = D(i, a, t) - D(i, a + 1, t)``; ``I(i, t, t) = D(i, t, t)``,

    with the target's loss for g: by default the shift of the predictive distribution, ``Divergence("pd")``. Over a window the
    I telescope to D of the whole of it, so they are its share by one order of removal, the latest first; a single I may be
    negative. ``order="symmetric"`` is the mean with the earliest first, a two-permutation Shapley value over the window.
    Before the first observation of a series nothing is known: it is never removed, and has importance 0, but for a baseline that
    says what was known, ``Hold(otherwise=...)`` or ``Missing()``, and at the first time. So too where ``missing="value"`` makes a
    missing cell a value. A group begins with the first of its series; another one's first observation stays, whoever goes with it.

    A draw from a start to the end of the window serves every prediction in it where the baseline allows: T N model steps a
    feature and draw in place of T N^2 / 2 for draws of their own, and T^2 N / 2 for prefixes run from their beginning. The
    values have the same expectation; errors of one start at several predictions are correlated.

    How the model is read is found by trial, and said in ``attrs["reading"]``: from the cached state of recurrent layers, in
    one pass of a causal model that gives an output for each time, or prefix by prefix. A model that gives one output for a
    series is asked about its prefixes, and should have seen such in training; ``predictions="last"`` explains its one
    prediction at the end instead.

    Parameters
    ----------
    window
        Length of the window in cells, or an extent along the coordinate of time ("6h").
    baseline
        What takes the place of the lost past: `Hold`, `Constant`, `Marginal`, `Generator`, ...; one that says that it is causal.
    dim
        The dim of time. An output axis of that name in ``outputs=`` holds the model's output for each time.
    draws
        Draws of a baseline that draws.
    difference
        False for D: what losing everything from the observation on does.
    aggregate
        None for a dim ``lag``, the prediction's time less the observation's in cells; or over the predictions whose window
        holds the observation the "mean", "max", "absmax" (the signed value of the largest size) or "sum"; 0 where there is
        none. Near the end of the series the mean is over the fewer predictions that there are.
    order
        "backward", as published, or "symmetric".
    horizons
        "shared" draws; "independent", one for each start and prediction; "auto": shared where what the baseline puts at a
        time does not depend on how far the gap goes on.
    groups
        SampleSeries that go absent together, ``Along("lead")`` or ``Labelled(...)`` over features; by default each by itself.
    predictions
        "every" time, or the "last" alone.

    Returns
    -------
    attribution (the input's dims, and ``lag``), ``group_value`` for each group, their standard errors over draws, and
    ``model_steps``, the time steps asked of the model. With lags, NaN where no prediction's window holds the observation so
    much earlier. ``output_over_time``, what the model says at each time: for a divergence the probability of the one class, or of
    the class that is likeliest at the end (of ``where``), else the target. Where the target says how far and not which way,
    ``signed_shift``, like the attribution, has the same differences of that number: above 0 where the observation raised it.

    Raises
    ------
    ValueError
        A baseline that is not, or does not say that it is, causal; groups that change along time, a window shorter than a step.
    TypeError
        An input of several variables.

    Examples
    --------
    >>> import torch, tsattr as ta
    >>> x = torch.tensor([[0.0, 0.0, 1.0, 0.0, 0.0]])[..., None]
    >>> delayed = lambda x: torch.nn.functional.pad(x, (0, 0, 1, 0))[:, :-1]  # what came in one step before
    >>> ds = ta.explain(delayed, x, ta.WinIT(3, ta.baselines.Constant(0.0)), dims=("sample", "time", "feature"), outputs=("time", "output"),
    ...                 target=ta.targets.Divergence("difference"))
    >>> ds.attribution.sel(time=2).values[0, 0].tolist()  # nothing at once, all of it a step later
    [0.0, 1.0, 0.0]

    References
    ----------
    Leung et al., "Temporal dependencies in feature importance for time series prediction", ICLR 2023.
    """

    window: int | str = 10
    baseline: Any = Hold()  # noqa: RUF009 - frozen
    dim: str = "time"
    draws: int = 3
    difference: bool = True
    aggregate: str | None = None
    order: str = "backward"
    horizons: str = "auto"
    groups: Any = None
    predictions: str = "every"
    timing: Timing | None = field(default=None, repr=False, compare=False)
    sentence: ClassVar[str] = (
        "WinIT: take a feature's recent past away and record how much the prediction at the later time shifts."
    )
    note: ClassVar[str] = (
        "WinIT credits a cell for what it does to predictions up to its window later; other times are not asked about."
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.window, str):
            check_count("window", self.window)
        check_choice("aggregate", self.aggregate, AGGREGATES)
        check_choice("order", self.order, ("backward", "symmetric"))
        check_choice("horizons", self.horizons, ("auto", "shared", "independent"))
        if self.order == "symmetric" and not self.difference:
            raise ValueError("order='symmetric' averages two orders of differences; give difference=True")

    @property
    def shared(self) -> bool:
        """True where one draw from a start serves all predictions after it."""
        return self.horizons == "shared" or (self.horizons == "auto" and self.baseline.nested)

    def __call__(self, samples: SampleChunk) -> dict[str, Field]:
        """Explain some samples."""
        with torch.no_grad():
            stretches, inside = self._stretches(samples, directed=True), self._inside(samples)
            moments, k = self._moments(samples, stretches, inside), samples.targets
            value, error = moments.mean(), moments.standard_error() if self.draws > 1 else None
            if self.aggregate in ("max", "absmax"):
                pick = _extreme(value[:, :k], inside[:, None, None], self.aggregate)
                value, error = pick(value), None if error is None else pick(error)
            names = ("lag",) if self.aggregate is None else ()
            found = self._fields(stretches, value[:, :k], None if error is None else error[:, :k], names)
            if stretches.directed:
                found["signed_shift"] = stretches.to_cells(value[:, k:], names)
            return found

    def _inside(self, samples: SampleChunk) -> Tensor:
        """Bool (n, times, lags): True where an observation belongs to the window of the prediction so much later."""
        ends = None if samples.ends is None else samples.ends.cpu().numpy()
        inside = self.bound_timing.inside(last=self.predictions == "last", ends=ends)
        return torch.as_tensor(inside, device=samples.x.device).expand(samples.n, *inside.shape[-2:])

    def _moments(self, samples: SampleChunk, stretches: Stretches, inside: Tensor) -> Moments:
        """Moments over the draws of I (n, columns, groups, times, lags); without lags where I is summed or averaged."""
        has_window = inside[:, None, None]  # beside targets and groups
        known_before = stretches.known_before[:, None, :, :, None]
        summed = self.aggregate in ("mean", "sum")
        shape = (stretches.columns, len(stretches.groups), *inside.shape[1 : 2 if summed else 3])
        moments = Moments(samples.n, shape, self.draws, samples.x.device)
        self._foresee(samples, inside)
        for draw in range(self.draws):
            found = self._importance(stretches, inside, draw)
            found = torch.where(known_before, found, 0)  # nothing comes before the first observation to take its place
            bad = (has_window & ~torch.isfinite(found)).flatten(1).any(1)
            samples.record_state(samples.indices, torch.where(bad, Status.OUTPUT, Status.OK))
            found = torch.where(has_window | ~known_before, found, torch.nan)
            if summed:
                found = _over_lags(found, has_window, mean=self.aggregate == "mean")
            moments.add(samples.indices, torch.full_like(samples.indices, draw), found)
        return moments

    def _foresee(self, samples: SampleChunk, inside: Tensor) -> None:
        """Tell how many times its fewest rows it takes, by the windows that there are."""
        together = self.shared and self.predictions == "every"
        each = (inside.any(2) if together else inside).sum()
        if self.difference and self.order == "symmetric":
            each = (
                each + inside.sum() - inside[..., 0].sum()
            )  # what a window of one step takes is known from the other order
        each = each * len(self.groups.names) * self.draws / len(inside)
        samples.engine.foresee(float(1 + each) / self.rows()[0])

    def _importance(self, stretches: Stretches, inside: Tensor, draw: int) -> Tensor:
        """I of one draw, (n, targets, groups, times, lags)."""
        loss = self._losses(stretches, inside, draw)
        if not self.difference:
            return loss
        backward = loss.clone()
        backward[..., :-1, 1:] -= loss[..., 1:, :-1]
        if self.order == "backward":
            return backward
        return (backward + self._forward_order(stretches, loss, inside, draw)) / 2

    def _losses(self, stretches: Stretches, inside: Tensor, draw: int) -> Tensor:
        """D of one draw, (n, targets, groups, times, lags); anything where there is no such window."""
        n, times, lags = inside.shape
        shape = (n, stretches.columns, len(stretches.groups), times, lags)
        out = torch.full(shape, torch.nan, dtype=torch.float64, device=inside.device)
        if self.shared and self.predictions == "every":
            i, a, g = _rows(inside.any(2), len(stretches.groups))
            removal = StretchRemoval(i, a, g, draw, gap=lags, length=lags, every=True)
            for at, v in stretches.losses(removal):
                out[i[at], :, g[at], a[at]] = v.transpose(1, 2)
            return out
        for lag in range(lags):
            stream = 0 if self.shared else 1 + lag
            for length in self._lengths(inside, lag):
                starts = inside[:, :, lag]
                if self.predictions == "last":  # what the model says at the end of the series, padded or not
                    starts = starts & (torch.arange(times, device=starts.device) == times - length)
                i, a, g = _rows(starts, len(stretches.groups))
                removal = StretchRemoval(i, a, g, draw, gap=lag + 1, length=length, every=False, stream=stream)
                for at, v in stretches.losses(removal):
                    out[i[at], :, g[at], a[at], lag] = v[:, 0]
        return out

    def _lengths(self, inside: Tensor, lag: int) -> list[int]:
        """The numbers of times from an observation to where the model is read."""
        if self.predictions == "every":
            return [lag + 1]
        starts = inside[:, :, lag].any(0).nonzero()[:, 0]
        return (inside.shape[1] - starts).tolist()

    def _forward_order(self, stretches: Stretches, loss: Tensor, inside: Tensor, draw: int) -> Tensor:
        """I by removal of the earliest first: the window of each prediction is absent up to a, and then up to a - 1.

        A window starts after the first observation of a group.
        """
        groups, times = loss.shape[2:4]
        i, t = (v.repeat_interleave(groups) for v in _predictions(inside))
        g = torch.arange(groups, device=loss.device).repeat(len(i) // groups)
        start = torch.as_tensor(self.bound_timing.first, device=loss.device)[t].maximum(stretches.begun[i, g])
        size = t - start + 1
        read = size if self.predictions == "every" else times - start
        before = torch.zeros((len(i), loss.shape[1]), dtype=loss.dtype, device=loss.device)
        out = torch.full_like(loss, torch.nan)
        for gap in range(1, self.bound_timing.lags + 1):
            up_to = before.clone()
            whole = (size == gap).nonzero()[:, 0]  # known from the other order
            up_to[whole] = loss[i[whole], :, g[whole], start[whole], gap - 1]
            for length in torch.unique(read[size > gap]).tolist():
                rows = ((read == length) & (size > gap)).nonzero()[:, 0]
                removal = StretchRemoval(i[rows], start[rows], g[rows], draw, gap=gap, length=length, every=False)
                for at, v in stretches.losses(removal):
                    up_to[rows[at]] = v[:, 0]
            (reached,) = (size >= gap).nonzero(as_tuple=True)
            a = start[reached] + gap - 1
            out[i[reached], :, g[reached], a, t[reached] - a] = (up_to - before)[reached]
            before = up_to
        return out

    def rows(self) -> tuple[int, int]:
        """The stretch from each start; to each prediction where it takes rows of its own."""
        inside, each = self.bound_timing.inside(last=self.predictions == "last"), len(self.groups.names) * self.draws
        starts, windows = int(inside.any(1).sum()), int(inside.sum())
        together = self.shared and self.predictions == "every"
        backward = starts * self.bound_timing.lags if together else windows
        forward = windows if self.order == "symmetric" else 0
        least = starts if together else windows
        return 1 + least * each, self._intact_rows() + (backward + forward) * each

    def coordinates(self) -> dict[str, Any]:
        """The lags in cells, and in the unit of an evenly spaced coordinate."""
        if self.aggregate is not None:
            return {}
        timing, lag = self.bound_timing, np.arange(self.bound_timing.lags)
        out: dict[str, Any] = {
            "lag": ("lag", lag, {"long_name": "time of the prediction less that of the observation, in cells"})
        }
        if timing.spacing is not None:
            units = {"units": timing.units} if timing.units and not isinstance(timing.spacing, np.timedelta64) else {}
            out["lag_time"] = ("lag", lag * timing.spacing, {"long_name": "lag"} | units)
        return out


def _predictions(inside: Tensor) -> tuple[Tensor, Tensor]:
    """Sample and time of each prediction that has a window."""
    i, a, lag = inside.nonzero(as_tuple=True)
    i, t = torch.unique(torch.stack([i, a + lag]), dim=1)
    return i, t


def _rows(which: Tensor, groups: int) -> tuple[Tensor, Tensor, Tensor]:
    """Sample, start and group of each row, of the samples and starts (n, times) that are True."""
    i, a = which.nonzero(as_tuple=True)
    group = torch.arange(groups, device=which.device).repeat(len(i))
    return i.repeat_interleave(groups), a.repeat_interleave(groups), group


def _over_lags(found: Tensor, inside: Tensor, *, mean: bool) -> Tensor:
    """The sum or the mean over the predictions whose window holds an observation; 0 where there are none."""
    total = torch.where(inside, found, 0).sum(-1)
    return total / inside.sum(-1).clamp(min=1) if mean else total


def _extreme(value: Tensor, inside: Tensor, aggregate: str) -> Callable[[Tensor], Tensor]:
    """What picks columns at the lag of the largest value, or of the largest size (of equals, the positive one), of each target.

    0 where the observation is in no window.
    """
    ranked = torch.where(inside, value, -torch.inf)
    if aggregate == "absmax":
        size = torch.where(inside, value.abs(), -torch.inf)
        ranked = torch.where(size == size.amax(-1, keepdim=True), ranked, -torch.inf)
    lag, some = ranked.argmax(-1, keepdim=True), inside.any(-1)

    def pick(v: Tensor) -> Tensor:
        each = lag.repeat(1, v.shape[1] // lag.shape[1], *[1] * (lag.ndim - 2))
        return torch.where(some, v.gather(-1, each)[..., 0], 0)

    return pick


@dataclass(frozen=True)
class FeatureOcclusion(PrefixMethod):
    """What each observation adds to the prediction at its own time: ``g(f(x_0..t), f(x_0..t with x_i,t replaced))``.

    WinIT with a window of one step, so delayed effects are not seen. Values as published are half of "pd", the mean over
    two classes. The first observation has importance 0.

    Parameters
    ----------
    baseline
        What takes the observation's place; by default U(-3, 3), as published for standardised data.
    dim, draws, groups, predictions
        As in `WinIT`.

    Returns
    -------
    attribution, ``group_value``, their standard errors over draws, ``model_steps``.

    Examples
    --------
    >>> import torch, tsattr as ta
    >>> f = lambda x: (x * torch.tensor([2.0, 0.0])).sum(-1)  # an output for each time
    >>> ds = ta.explain(f, torch.ones(1, 2, 2), ta.FeatureOcclusion(ta.baselines.Constant(0.0)), outputs=("time",),
    ...                 dims=("sample", "time", "feature"), target=ta.targets.Divergence("difference"))
    >>> ds.attribution.values.tolist()
    [[[0.0, 0.0], [2.0, 0.0]]]

    References
    ----------
    Suresh et al., "Clinical intervention prediction and understanding with deep neural networks", MLHC 2017; as in
    Tonekaboni et al., NeurIPS 2020.
    """

    baseline: Any = Uniform(-3.0, 3.0)  # noqa: RUF009 - frozen
    dim: str = "time"
    draws: int = 10
    groups: Any = None
    predictions: str = "every"
    timing: Timing | None = field(default=None, repr=False, compare=False)
    sentence: ClassVar[str] = (
        "Feature occlusion: replace one feature at one time and record the shift of the prediction."
    )

    def __call__(self, samples: SampleChunk) -> dict[str, Field]:
        """Explain some samples."""
        return self._as_window()(samples)

    def _as_window(self) -> WinIT:
        same = {"groups": self.groups, "predictions": self.predictions, "timing": self.timing}
        return WinIT(1, self.baseline, self.dim, self.draws, difference=False, aggregate="sum", **same)

    def rows(self) -> tuple[int, int]:
        """As WinIT with a window of one step."""
        return self._as_window().rows()


@dataclass(frozen=True)
class AugmentedOcclusion(FeatureOcclusion):
    """Feature occlusion with values that occur: ``x_i,t`` is drawn from the feature's own distribution in training data.

    Parameters
    ----------
    baseline
        ``Marginal.fit(train)``, as published; any causal baseline that draws.
    dim, draws, groups, predictions
        As in `WinIT`.

    Returns
    -------
    As `FeatureOcclusion`.

    References
    ----------
    Tonekaboni et al., "What went wrong and when? Instance-wise feature importance for time-series black-box models",
    NeurIPS 2020.
    """

    baseline: Any = field()
    sentence: ClassVar[str] = (
        "Augmented feature occlusion: replace one feature by values drawn from the data and record the shift."
    )
