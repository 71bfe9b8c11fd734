"""The laws of baselines: what a fill may change, what may inform it, and what it promises of time, gaps and draws."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from ..core.baselines.fills import adopted, bind
from ..core.bound import BoundBaseline
from ..core.keys import Key
from ..labels import parsing
from ..labels.inputs import Inputs
from .cases import example, other_global_state
from .laws import Laws, Report, Seen, same_values, settings_are_frozen

LAWS = Laws("baselines")
law = LAWS.law

_DRAWS = 8  # of which two at least are unlike, where draws differ


@dataclass(frozen=True)
class BaselineCase:
    """A baseline, and the labelled input that it is bound to and fills."""

    baseline: Any
    x: xr.DataArray
    sample_dim: str = "sample"
    tolerance: float = 1e-12

    @property
    def name(self) -> str:
        """The baseline, as the user wrote it."""
        return repr(self.baseline)

    @cached_property
    def inputs(self) -> Inputs:
        """The input as one tensor with its axes."""
        return parsing.read(self.x, None, self.sample_dim, None)

    @cached_property
    def bound(self) -> BoundBaseline:
        """The baseline on the input."""
        return bind(self.baseline, self.inputs.variables[0].axes)

    @property
    def n(self) -> int:
        """Number of samples."""
        return self.inputs.n

    @property
    def rows(self) -> Tensor:
        """A row for each sample (n, *event), made anew."""
        return self.inputs.load(slice(0, self.n))[0].clone()

    @property
    def time(self) -> int | None:
        """The axis of time among those of the rows; None where there is none."""
        axes = self.inputs.variables[0].axes
        dim = axes.called("time")
        return 1 + axes.axis(dim) if dim in axes.dims else None

    @cached_property
    def masks(self) -> dict[str, Tensor]:
        """What is absent: cells here and there, a gap along the last axis in every other line, and everything."""
        shape = tuple(self.rows.shape)
        scattered = torch.as_tensor(np.random.default_rng(0).random(shape) < 0.3)
        whole = torch.ones(shape, dtype=torch.bool)
        gap, n = ~whole, shape[-1]
        gap.reshape(self.n, -1, n)[:, ::2, n // 3 : 1 + n // 2] = True
        return {"scattered cells": scattered, "a gap": gap, "everything": whole}

    def key(self, i: Iterable[int] | None = None, draw: int = 0, seed: int = 0) -> Key:
        """The key of some samples (all, for None) and of a draw."""
        at = np.arange(self.n) if i is None else np.array(list(i))
        return Key(seed, self.inputs.ids[at], torch.as_tensor(at), np.full(len(at), draw))

    def fill(self, absent: Tensor, draw: int = 0, seed: int = 0, x: Tensor | None = None) -> Tensor:
        """Every sample with its absent cells filled."""
        return self.bound.fill(self.rows if x is None else x, absent.clone(), self.key(draw=draw, seed=seed))


@law(
    "settings are frozen",
    "Write @dataclass(frozen=True) above the class, with every setting a field that its repr shows; what is learnt is a field too.",
)
def frozen(case: BaselineCase) -> str | None:
    """Settings of a baseline are frozen, comparable, printable and picklable, and binding leaves them as they are."""
    before = copy.deepcopy(case.baseline)
    case.fill(case.masks["a gap"])
    why = settings_are_frozen(case.baseline)
    if why is None and before != case.baseline:
        raise Seen(f"{before!r} is {case.baseline!r} once it has been used")
    return why


@law(
    "a fill has the shape and the dtype of its rows",
    "fill(x, absent, key) gives a tensor like x: numbers that were drawn or learnt in float64 go through .to(x.dtype).",
)
def shape(case: BaselineCase) -> None:
    """In float64 and in float32, whose values agree in half of the digits that float32 has."""
    narrow = case.rows.to(torch.float32)
    for what, absent in case.masks.items():
        wide = case.fill(absent, x=narrow.to(torch.float64))
        for found, x in ((wide, case.rows), (case.fill(absent, x=narrow.clone()), narrow)):
            if found.shape != x.shape or found.dtype != x.dtype:
                raise Seen(f"{tuple(found.shape)} of {found.dtype} for rows {tuple(x.shape)} of {x.dtype}, of {what}")
        digits = float(torch.finfo(torch.float32).eps) ** 0.5
        same_values(f"the fill of {what} in float32", found.to(torch.float64), wide, digits)


@law("the input is not written into", "Fill a new tensor: torch.where(absent, values, x), or x.clone() before writing.")
def preserved_state(case: BaselineCase) -> None:
    """Neither the rows nor the mask change."""
    for what, absent in case.masks.items():
        x, mask = case.rows, absent.clone()
        case.bound.fill(x, mask, case.key())
        same_values(f"the rows, once {what} is filled,", x, case.rows, 0)
        same_values(f"the mask, once {what} is filled,", mask, absent, 0)


@law("present cells are kept", "Replace cells where `absent` is True, and no others: torch.where(absent, values, x).")
def present(case: BaselineCase) -> None:
    """``fill(x, absent)[~absent] == x[~absent]`` to the last bit, NaN where a cell is missing."""
    for x in (case.rows, _with_holes(case)):
        for what, absent in case.masks.items():
            kept = torch.where(absent, 0, case.fill(absent, x=x.clone()))
            same_values(f"a present cell, beside {what},", kept, torch.where(absent, 0, x), 0)


@law(
    "absent cells get a number",
    "Give a value for every absent cell; one that has none for the whole of a sample gives NaN there.",
)
def finite(case: BaselineCase) -> None:
    """Numbers, also where everything is absent, the end of a path; NaN is for missing cells of the reference, `gaps`."""
    for what, absent in case.masks.items():
        _check_finite(case, f"where {what} is absent", case.fill(absent)[absent])


@law(
    "missing cells inform no fill",
    "NaN in x is a missing cell: leave it out, as nanmean does, or torch.where(torch.isnan(x), 0, x) before sums.",
)
def missing(case: BaselineCase) -> None:
    """An absent cell gets a number though others are missing, and what is missing and not absent stays so."""
    holes = _with_holes(case)
    for what in ("scattered cells", "a gap"):
        absent = case.masks[what] & ~torch.isnan(holes)
        _check_finite(
            case, f"where {what} is absent and others are missing", case.fill(absent, x=holes.clone())[absent]
        )


def _with_holes(case: BaselineCase) -> Tensor:
    """The rows with some missing cells, in each sample one at least."""
    x = case.rows
    flat = x.flatten(1)
    flat[torch.as_tensor(np.random.default_rng(1).random(tuple(flat.shape)) < 0.15)] = torch.nan
    flat[:, 0] = torch.nan
    return flat.reshape(x.shape)


def _check_finite(case: BaselineCase, where: str, values: Tensor) -> None:
    if torch.isinf(values).any():
        raise Seen(f"infinite values {where}")
    if torch.isnan(values).any() and not case.bound.gaps:
        raise Seen(f"NaN in {int(torch.isnan(values).sum())} of {values.numel()} cells {where}")


@law("a mask may broadcast", "`absent` broadcasts to x: use torch.where, or absent.expand_as(x) before indexing.")
def broadcast(case: BaselineCase) -> None:
    """A mask of size 1 along an axis is the same mask, repeated."""
    for axis in range(2, case.rows.ndim):
        absent = case.masks["scattered cells"].narrow(axis, 0, 1)
        whole = case.fill(absent.expand_as(case.rows))
        same_values("a fill by a mask that broadcasts", case.fill(absent), whole, case.tolerance)


@law(
    "rows do not see each other",
    "Row r comes from x[r], absent[r] and the key of row r alone: draw with key.normal(x), key.uniform(x) or key.each(...).",
)
def company(case: BaselineCase) -> None:
    """Rows in another order, or one by one, are filled as they were: draws depend on the key, not on the place in a batch."""
    for what, absent in case.masks.items():
        for draw in (0, 1):
            together = case.fill(absent, draw)
            for i in ([*reversed(range(case.n))], *([k] for k in range(case.n))):
                found = case.bound.fill(case.rows[i], absent[i].clone(), case.key(i, draw))
                same_values(f"a fill of {what} in other company", found, together[i], case.tolerance)


@law(
    "one key gives one fill",
    "Draw from key.rng(row), key.normal(x) or key.uniform(x), never from torch.rand or np.random.",
)
def keyed(case: BaselineCase) -> None:
    """The same (seed, sample, draw) gives the same values to the last bit, whatever the global random states are."""
    for what, absent in case.masks.items():
        with other_global_state(1):
            first = case.fill(absent, 3)
        with other_global_state(2):
            same_values(f"a fill of {what} by the same key", case.fill(absent, 3), first, 0)


@law(
    "`random` says whether draws differ",
    "Set random = True where draws differ, else it is asked once; draw by the seed, the sample and the draw of the key.",
)
def random(case: BaselineCase) -> None:
    """Fills of several draws, seeds and samples differ where `random` is True, and are the same where it is not."""
    absent, says = case.masks["scattered cells"], bool(adopted(case.baseline).random)
    one = case.rows[:1].expand(_DRAWS, *case.rows.shape[1:]).clone()
    of_one = absent[:1].expand(_DRAWS, *absent.shape[1:])
    position, others = torch.zeros(_DRAWS, dtype=torch.int64), np.arange(_DRAWS, dtype=np.uint64)
    same_draws = (Key(0, others, position, np.full(_DRAWS, draw)) for draw in range(4))
    unlike = {
        "draw": _differ(case.fill(absent, k) for k in range(_DRAWS)),
        "seed": any(_differ(case.fill(absent, draw, k) for k in range(4)) for draw in range(4)),
        "sample": any(_differ(case.bound.fill(one.clone(), of_one.clone(), k)) for k in same_draws),
    }
    for what, differ in unlike.items():
        if differ != says:
            so = "differ" if differ else "do not differ"
            raise Seen(f"random is {says}, and the fills of several {what}s {so}")


def _differ(fills: Iterable[Tensor]) -> bool:
    first, *others = fills
    return any(((first != other) & ~(first.isnan() & other.isnan())).any() for other in others)


@law(
    "a causal fill knows no future",
    "Set causal = True only where what is put at a time comes from earlier times; Hold() and AutoRegressive(causal=True) do so.",
)
def causal(case: BaselineCase) -> str | None:
    """Where `causal` is True: with other values after t, what is put at t and before it is the same."""
    if not case.bound.causal:
        return "it does not say that it is causal"
    if (axis := case.time) is None:
        return "the input has no dim of time"
    for absent in case.masks.values():
        filled = case.fill(absent)
        for t in range(filled.shape[axis] - 1):
            later = case.rows
            later.movedim(axis, 0)[t + 1 :] += 10.0
            found, before = (u.narrow(axis, 0, t + 1) for u in (case.fill(absent, x=later), filled))
            kept = torch.where(absent.narrow(axis, 0, t + 1), found, before)
            same_values(f"a fill up to time {t}, with other values after it,", kept, before, case.tolerance)
    return None


@law(
    "a nested fill does not know how far its gap goes on",
    "Set nested = True only where the value at a time is the same however long the gap is.",
)
def nested(case: BaselineCase) -> str | None:
    """Where `nested` is True: a gap from a to b, and one from a to a later c, get the same values from a to b."""
    if not case.bound.nested:
        return "it does not say that it is nested"
    if (axis := case.time) is None:
        return "the input has no dim of time"
    times = case.rows.shape[axis]
    for start in range(1, times):
        longest = case.fill(_gap(case, axis, start, times))
        for stop in {start + 1, (start + times) // 2, times - 1} & set(range(start + 1, times)):
            found, long = (u.narrow(axis, 0, stop) for u in (case.fill(_gap(case, axis, start, stop)), longest))
            same_values(f"a fill from time {start} to {stop}, of a gap that ends there,", found, long, case.tolerance)
    return None


def _gap(case: BaselineCase, axis: int, start: int, stop: int, channels: int | None = None) -> Tensor:
    """Absent from a time to another: of all channels, or of so many of the first."""
    absent = torch.zeros(case.rows.movedim(axis, 1).shape, dtype=torch.bool)
    lines = absent.reshape(*absent.shape[:2], -1)  # a view
    lines[:, start:stop, :channels] = True
    return absent.movedim(1, axis)


@law(
    "a fill that is not conditional has one value for each cell",
    "Leave conditional = True where values depend on what else is absent; else full(x, key) is what fill puts there.",
)
def conditional(case: BaselineCase) -> str | None:
    """Where `conditional` is False: ``fill(x, absent)[absent] == full(x)[absent]`` for every mask."""
    if case.bound.conditional:
        return "it says that it is conditional"
    for what, absent in case.masks.items():
        full = case.bound.full(case.rows, case.key()).expand_as(case.rows)
        found = torch.where(absent, case.fill(absent), full)
        same_values(f"what is put where {what} is absent", found, full, case.tolerance)
    return None


@law(
    "what goes on from the past is what a whole row gets",
    "ahead(known)(i, start, length, gone, key) gives what fill puts in that window where the channels `gone` are absent.",
)
def ahead(case: BaselineCase) -> str | None:
    """``ahead`` of a causal one agrees with ``fill`` in every window, for rows of several samples at once."""
    if (axis := case.time) is None:
        return "the input has no dim of time"
    if (onward := case.bound.ahead(case.rows)) is None:
        return "it fills whole rows"
    times, i = case.rows.shape[axis], torch.arange(case.n)
    for start in range(1, times):
        stop = min(start + 3, times)
        absent = _gap(case, axis, start, stop, 1)
        gone = absent.movedim(axis, 1)[:, start]
        found = onward(i, torch.full_like(i, start), stop - start, gone, case.key())
        whole = case.fill(absent).movedim(axis, 1)[:, start:stop]
        kept = torch.where(gone[:, None], found, whole)
        same_values(f"what goes on from time {start}", kept, whole, case.tolerance)
    return None


@law(
    "permuting dims permutes the fill",
    "Find dims by their names, axes.axis(dim); what is drawn for several dims is drawn in the order of their names.",
)
def dims(case: BaselineCase) -> None:
    """A transposed input gets the transposed fill."""
    event = [str(d) for d in case.x.dims if d != case.sample_dim]
    other = BaselineCase(case.baseline, case.x.transpose(*reversed(event), case.sample_dim), case.sample_dim)
    back = [0, *reversed(range(1, 1 + len(event)))]
    for what, absent in case.masks.items():
        found = other.fill(absent.permute(back)).permute(back)
        same_values(f"the fill of {what} of the transposed input", found, case.fill(absent), case.tolerance)


@law(
    "a variable beside another is filled as by itself",
    "Keep nothing of what bind(axes) was given but in what it returns: one object may be bound to several variables.",
)
def variables(case: BaselineCase) -> None:
    """Two variables of one Dataset get what each gets alone by its part of the key, ``key.fork(v)``."""
    twins = parsing.read(xr.Dataset({"one": case.x, "other": case.x}), None, case.sample_dim, None)
    joined = twins.bind({"one": case.baseline, "other": case.baseline}, "baseline")
    x = twins.load(slice(0, case.n))[0]
    for what, absent in case.masks.items():
        found = joined.fill(x.clone(), absent.flatten(1).repeat(1, 2), case.key())
        for v, at in enumerate(twins.variables):
            alone = case.bound.fill(case.rows, absent.clone(), case.key().fork(v))
            filled = found[:, at.at].reshape(absent.shape)
            same_values(f"the fill of {what} beside another variable", filled, alone, case.tolerance)


def check_baseline(
    baseline: Any,
    x: xr.DataArray | None = None,
    *,
    sample_dim: str = "sample",
    tolerance: float = 1e-12,
    laws: Iterable[str] | None = None,
    exempt: Mapping[str, str] | None = None,
) -> Report:
    """Check that a baseline keeps the laws that all baselines do.

    A fill replaces what is absent and nothing else, from what is present and from its own key alone; and what it says of
    itself (``random``, ``causal``, ``nested``, ``conditional``) is true.

    Parameters
    ----------
    baseline
        An object of settings with ``bind(axes)``, or anything with ``fill(x, absent, key)``.
    x
        A labelled example that it fills, two samples or more, without missing values; by default signals of shape
        (4 samples, 3 leads, 12 times). One that learnt from data needs an example with the dims of these.
    sample_dim
        The dim that holds its samples.
    tolerance
        How far values may be off that are not copied, as a share of the largest: rounding in float64.
    laws
        The names of the laws to check; None for all.
    exempt
        Laws that are not checked, each with the reason, which the report repeats.

    Returns
    -------
    Report
        A mapping from the name of each law to "holds", or to "does not apply: " and why.

    Raises
    ------
    LawBroken
        The first law that does not hold, with what was seen and how it is mended.

    Examples
    --------
    >>> import tsattr as ta
    >>> report = ta.testing.check_baseline(ta.baselines.Hold())
    >>> report["a causal fill knows no future"]
    'holds'
    >>> report["a fill that is not conditional has one value for each cell"]
    'does not apply: it says that it is conditional'
    """
    return LAWS.check(BaselineCase(baseline, example(x, sample_dim, 2), sample_dim, tolerance), laws, exempt)
