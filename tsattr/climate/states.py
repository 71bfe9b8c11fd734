"""Baselines of fields: a state with its provenance, the last state persisting, draws of the same season.

All in the units of the input. The climatology by calendar month is ``ta.baselines.Climatology``, a surrogate with the same
spectrum ``ta.baselines.PhaseRandomised("lag")``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from ..core.axes import Axes
from ..core.baselines import Constant, Samples
from ..core.baselines.climatology import date_text, phases_of
from ..core.baselines.fills import Baseline, Full
from ..core.baselines.references import drawn_without_replacement, reference_table
from ..core.keys import Key


@dataclass(frozen=True)
class State(Constant):
    """One state of the field, in the units of the input, with its provenance: ``x'_i = value_i``.

    Each state asks another question, and the result records it. Mamalakis, Barnes and Ebert-Uphoff, 2023.

    Parameters
    ----------
    value
        A DataArray over some of the input's dims; with the sample dim, each sample has its own.
    source
        What it is, in words; recorded in the result's attrs.

    Examples
    --------
    >>> dates = np.arange("1850-01", "1852-01", dtype="M8[M]").astype("M8[ns]")
    >>> sst = xr.DataArray(np.arange(24.0)[:, None], dims=("time", "lat"), coords={"time": dates})
    >>> State.period(sst, "1850", "1850")
    State(mean of 12 times, 1850-01-01..1850-12-01: <lat 1: sha256 ...>)
    """

    sentence: ClassVar[str] = "one given state of the field"
    note: ClassVar[str] = ""
    on_command_line: ClassVar[bool] = False
    source: str = ""

    def __repr__(self) -> str:
        return f"State({self.source + ': ' if self.source else ''}{self.value!r})"

    @classmethod
    def period(cls, field: xr.DataArray, start: Any, stop: Any = None, *, dim: str = "time") -> State:
        """The mean over a period: what drives the change since then?

        Parameters
        ----------
        field
            The record, in the units of the input; its missing times are left out.
        start, stop
            Dates, ends included. Without `stop`, the mean of that one year or month, or the state of that one date.
        dim
            The dim of time.

        Raises
        ------
        ValueError
            No time in the period.
        """
        stop = start if stop is None else stop
        field = field if field.indexes[dim].is_monotonic_increasing else field.sortby(dim)
        return cls._mean(field.sel({dim: slice(start, stop)}), dim, f"between {start} and {stop}", "")

    @classmethod
    def composite(cls, field: xr.DataArray, where: xr.DataArray, name: str = "", *, dim: str = "time") -> State:
        """The mean over the times at which a condition holds: what makes this an El Nino forecast?

        A composite by calendar month is the climatology of those times: ``ta.baselines.Climatology.fit(field.sel(time=where))``.

        Parameters
        ----------
        field
            The record, in the units of the input.
        where
            Boolean along `dim`, such as ``abs(nino34(ssta)) < 0.5``.
        name
            The condition in words, for the record.
        dim
            The dim of time.

        Raises
        ------
        TypeError, ValueError
            No boolean along `dim`; other times than the field's; no time at which it holds.
        """
        if where.dtype != bool or where.dims != (dim,):
            raise TypeError(f"where is boolean along {dim!r}, got {where.dtype} along {list(where.dims)}")
        xr.align(field, where, join="exact")
        return cls._mean(field.isel({dim: np.flatnonzero(where.values)}), dim, "at which the condition holds", name)

    @classmethod
    def ensemble(cls, x: xr.DataArray, dim: str = "member") -> State:
        """The mean over the members of an ensemble at each sample's own time: internal variability, or forced signal?

        Parameters
        ----------
        x
            The input of every member, along `dim`; samples are matched by label.
        dim
            The dim of the members.
        """
        return cls(x.mean(dim), f"mean of {x.sizes[dim]} along {dim}")

    @classmethod
    def _mean(cls, times: xr.DataArray, dim: str, which: str, name: str) -> State:
        n = times.sizes[dim]
        if n == 0:
            raise ValueError(f"the field has no time {which}")
        first, last = (date_text(v) for v in times[dim].values[[0, -1]])
        return cls(times.mean(dim), f"{name + ', ' if name else ''}mean of {n} times, {first}..{last}")


@dataclass(frozen=True)
class Persistence(Baseline):
    """The last state repeated over the history: ``x'_lag = x_last``. What does evolution add to the present state?

    A cell that is missing in the last state takes its last known value. The last state itself gets no attribution.

    Parameters
    ----------
    dim
        The dim of the history; the largest value of its coordinate (without one, its last entry) is the last state.

    Examples
    --------
    >>> import tsattr as ta
    >>> x = xr.DataArray([[1.0, 4.0, 3.0]], dims=("sample", "lag"), coords={"lag": [-3, -2, -1]})
    >>> ta.explain(lambda x: x.sum(1), x, ta.IntegratedGradients(Persistence())).attribution.values.round(9).tolist()
    [[-2.0, 1.0, 0.0]]
    """

    sentence: ClassVar[str] = "the last state, repeated over the history"
    on_command_line: ClassVar[bool] = False
    dim: str = "lag"

    def _bind(self, axes: Axes) -> Full:
        axis = 1 + axes.axis(self.dim)
        coord = axes.coords.get(self.dim)
        backward = coord is not None and coord[0] > coord[-1]

        def full(x: Tensor, key: Key) -> Tensor:
            line = x.flip(axis) if backward else x
            steps = torch.arange(x.shape[axis], device=x.device).reshape(
                [-1 if a == axis else 1 for a in range(x.ndim)]
            )
            last = torch.where(torch.isnan(line), 0, steps).amax(axis, keepdim=True)
            return line.gather(axis, last)

        return Full(full)


@dataclass(frozen=True)
class SameSeason(Samples):
    """Draws from the reference samples of the input sample's own calendar month, or season.

    As ``ta.baselines.Samples``, but a January is only ever replaced by Januaries; so is the end of a history, whose sample is
    labelled by the date of its last lag. A reference that holds the sample itself, or histories that overlap with it, makes
    attributions smaller: fit it on other years.

    Parameters
    ----------
    reference, sample_dim
        As in :meth:`fit`; the sample dim is labelled by dates, the input's too.
    by
        "month", or "season" (December to February, and so on).

    Raises
    ------
    ValueError
        Samples without dates, or a month of the input that the reference lacks.
    """

    sentence: ClassVar[str] = "records of the same month or season, drawn from the training distribution"
    note: ClassVar[str] = ""
    on_command_line: ClassVar[bool] = False
    by: str = "month"
    random: ClassVar[bool] = True

    @classmethod
    def fit(cls, reference: Any, *, sample_dim: str = "sample", by: str = "month") -> SameSeason:
        """Keep a reference of samples with dates."""
        if by not in ("month", "season"):
            raise ValueError(f"by is 'month' or 'season', got {by!r}")
        kept = Samples.fit(reference, sample_dim=sample_dim)
        return cls(kept.reference, sample_dim, by)

    def _bind(self, axes: Axes) -> Full:
        reference_phases = self._phases(self.reference.coords.get(self.sample_dim), "reference")
        phases = self._phases(axes.sample_coord, "input")
        if lost := sorted(set(phases.tolist()) - set(reference_phases.tolist())):
            raise ValueError(f"the reference of SameSeason has no sample of {self.by} {lost}, which the input has")
        table = reference_table(self.reference, self.sample_dim, axes, type(self).__name__)
        pools = {phase: np.flatnonzero(reference_phases == phase) for phase in set(phases.tolist())}
        gaps = int(np.isnan(table).sum())
        return Full(
            lambda x, key: drawn_without_replacement(table, x, key, lambda position: pools[int(phases[position])]),
            causal=True,
            gaps=gaps,
        )

    def _phases(self, dates: np.ndarray | None, whose: str) -> np.ndarray:
        """The calendar month or season of each sample, as a number (samples,)."""
        if dates is None:
            raise ValueError(
                f"SameSeason needs the dates of the {whose}'s samples, and its sample dim has no coordinate"
            )
        month = np.asarray(phases_of(dates, None, "month", self.sample_dim)[0])
        return month if self.by == "month" else month % 12 // 3
