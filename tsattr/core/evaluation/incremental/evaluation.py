"""Removals from what they change: a box goes through the unchanged module, over the activations of the intact samples."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, cast

import numpy as np
import torch
from torch import Tensor, nn

from ...evaluator import ROUNDING, SAME, TRIAL, RemovalEvaluation, Unsupported
from ...removal import Removal, Source
from ..stand_in import StandIn, refused, whole_outputs
from . import rules_cells, rules_recurrent, rules_shape, rules_sliding
from .beside import Largest, largest, one_by_one
from .cost import Cost, Meter, Steps
from .delta import NEARLY, Delta, Rows
from .tape import Tape

RULES = (rules_cells, rules_shape, rules_sliding, rules_recurrent)  # they name themselves where they are read

_FEWEST = 64  # rows that pay for a trial
_SMALLEST = 512  # cells of a sample, of which fewer cost less than what keeps the account of them
_LOOKED_AT = 16  # of a removal's rows, whose boxes tell what it costs
_COUNTED = 4  # rows that are counted
_COUNTING = 3.6e-4  # seconds for each operation of a forward pass, three passes of which are counted
_COUNTING_STEPS = 3e-5  # the same where there are recurrent layers, of which each step counts as some operations
_LEAST, _LEAST_STEPS = 4e-3, 2e-2  # seconds that counting takes at least: of ten operations; of recurrent layers
_TIMES = 20  # as long as that a call takes at least, so that it loses no more than a twentieth
_WORTH = 2  # times its rows that a trial must save
_GAIN = 0.8  # of a forward pass: what costs more is not worth the risk of a wrong estimate
_KEPT = 2**28  # bytes of intact activations
_STRETCH = 1024  # rows that are asked about in the order of where they change
_AHEAD = 4  # batches for whose samples activations are kept


@dataclass(frozen=True)
class _Price:
    """What rows with boxes of one size cost beside whole ones, and the room of the activations of an intact sample."""

    changed: Cost  # of `rows` rows
    rows: int
    whole: Cost
    nbytes: int

    @property
    def room(self) -> float:
        """The largest tensor of a row, beside that of a whole row."""
        return min(1.0, self.changed.largest / self.rows / max(1.0, self.whole.largest))


class Incremental(RemovalEvaluation):
    """For models of layers that look at their neighbourhood, as convolutions do, or go on from a state: only what a removal changes.

    A `Delta` that stands for the rows is put into the model in the place of its input. Operations that have a rule act on the
    boxes that have changed; the others, and all that come after them, act on whole rows. Exact but for rounding.

    A recurrent layer begins at the intact state before the boxes of a batch, whose rows are therefore chosen by where they begin, and
    ends where the state is the intact one again, but for 16 units in the last place of each of its numbers: what other orders
    of sums make of it, too. ``attrs["state_tolerance"]`` says how much that is; `ToTheEnd` does not stop.
    """

    name = "incremental"
    trial_rows = 4 * TRIAL + 2 * _COUNTED + 1
    stops: ClassVar[bool] = True

    def __init__(self, samples: Source) -> None:
        super().__init__(samples)
        self.tape: Tape | None = None
        self.held = np.empty(0, np.int64)  # the samples on the tape, in order
        self.prices: dict[tuple[int, ...], _Price] = {}
        self.whole: Cost | None = None
        self.most = 1
        self.recurs = _has(samples.engine.module, nn.RNNBase)
        self.stretch: _Stretch | None = None

    @classmethod
    def applies(cls, module: Any, differentiable: bool, cells: int) -> bool:
        """Whether the model may have layers that look at their neighbourhood, and samples are large enough to matter."""
        return differentiable and cells >= _SMALLEST and (module is None or _slides(module) or _has(module, *_TIED))

    @classmethod
    def spared(cls, removal: Removal) -> str:
        """Why a trial cannot pay; else nothing."""
        if _of_several(removal):
            return cls.spared(largest(removal)[0]) if one_by_one(removal) else "sets of groups of several variables"
        if len(removal) < _FEWEST:
            return f"{len(removal)} rows, fewer than pay for a trial"
        module, x = removal.samples.engine.module, removal.samples.x
        if module is not None and _has(module, nn.MultiheadAttention) and not _slides(module):
            return "every time attends to every other, so that all of them change and nothing exact is cheaper"
        least = _LEAST_STEPS if _has(module, nn.RNNBase) else _LEAST
        if len(removal) * _at_most(module, x) < _TIMES * least:
            return f"{len(removal)} rows, which take no longer than a trial is worth"
        return "" if _local(removal, _sizes(removal)) else "what is absent spans nearly the whole sample"

    @classmethod
    def tried(cls, samples: Source, trial: Removal, rows: int) -> RemovalEvaluation:
        """One for some samples, where it saves enough by what was counted, and gave the dense answer on some rows."""
        if _of_several(trial):
            own, mine = largest(trial)
            if len(own) < 2:
                raise Unsupported("few rows change the largest variable")
            return Largest(samples, cls.tried(own.samples, own, rows * len(mine) // len(trial)))
        if why := refused(samples.engine):
            raise Unsupported(why)
        found = cls(samples)
        whole = found._whole(trial)
        row = whole.seconds(samples.engine.device, rows=samples.engine.fitting(1.0), of=1)
        if rows * row < _TIMES * whole.calls * (_COUNTING_STEPS if found.recurs else _COUNTING):
            raise Unsupported(f"{rows} rows, which take no longer than a trial is worth")
        share = found._share(found._price(trial), rows / len(trial.i.unique()))
        if share > _GAIN:
            raise Unsupported(f"a row would take {share:.2f} of a forward pass")
        if rows * (1 - share) < _WORTH * cls.trial_rows:
            raise Unsupported(f"{rows} rows, of which a trial would take what is saved")
        samples.engine.count_trial(len(trial))
        found.check(trial)
        if found.recurs and cls.stops:
            samples.engine.notes["state_tolerance"] = ROUNDING * samples.engine.eps
        return found

    def noise(self, trial: Removal, plain: Tensor) -> Tensor | float:
        """What the last place of each cell makes: a sum of many terms, or of large ones, moves by more than its own rounding.

        Recurrent layers stop where states differ by as little.
        """
        at, x = slice(0, len(trial)), self.samples.x
        rows, draw = trial.rows(at), torch.Generator().manual_seed(0)
        sign = (2 * torch.randint(2, rows.shape, generator=draw) - 1).to(rows)
        y = self.samples.outputs(trial.i, rows * (1 + torch.finfo(x.dtype).eps * sign))
        self.samples.engine.count_trial(len(trial))
        moved: Tensor = (y - plain).abs().amax(0)
        return ROUNDING * moved

    def work(self, removal: Removal) -> Tensor:
        """(r,) by what was counted; all the same, as boxes are of one size in a batch."""
        rows = torch.ones(len(removal), dtype=torch.float64, device=removal.i.device)
        if len(removal) < _FEWEST or not _local(removal, _sizes(removal)):
            return rows
        share = self._share(self._price(removal), len(removal) / len(torch.unique_consecutive(removal.i)))
        return rows * (share if share <= _GAIN else 1.0)

    def room(self, removal: Removal, work: Tensor) -> float:
        """The largest tensor that a row makes."""
        return max(0.001, self._price(removal).room)

    def __call__(self, removal: Removal, at: slice) -> Tensor:
        """By boxes; densely where something is not finite, of which differences tell nothing."""
        y = self._in_order(removal, at) if self.recurs and not callable(removal.absent) else None
        y = self._by_boxes(removal, at) if y is None else y
        return self.samples.outputs(removal.i[at], removal.rows(at)) if y is None else y

    def _in_order(self, removal: Removal, at: slice) -> Tensor | None:
        """As :meth:`_by_boxes`, in batches of rows that change at nearly the same time."""
        found, at = [], slice(at.start, min(at.stop, len(removal)))
        for first in range(at.start // _STRETCH * _STRETCH, at.stop, _STRETCH):
            known = self.stretch
            if known is None or known.removal is not removal or known.first != first:
                self.stretch = known = _Stretch(removal, first, self._ordered(removal, first, at.stop - at.start))
            if known.outputs is None:
                return None
            found.append(known.outputs[max(0, at.start - first) : at.stop - first])
        return torch.cat(found)

    def _ordered(self, removal: Removal, first: int, batch: int) -> Tensor | None:
        """Outputs of the rows of a stretch."""
        mine = torch.arange(first, min(first + _STRETCH, len(removal)), device=removal.i.device)
        order = self._order(removal.pick(mine), self.most)
        rows, found = removal.pick(mine[order]), []
        for k in range(0, len(rows), batch):
            y = self._by_boxes(rows, slice(k, min(k + batch, len(rows))))
            if y is None:
                return None
            found.append(y)
        back: Tensor = torch.cat(found)[order.argsort()]
        return back

    def _order(self, removal: Removal, most: int) -> Tensor:
        """Rows by where their boxes begin along the longest axis, so many samples together."""
        hull = removal.hull(slice(0, len(removal)))
        if hull is None:
            return torch.arange(len(removal), device=removal.i.device)
        start, shape = hull[0], self.samples.x.shape[1:]
        block = torch.unique(removal.i, return_inverse=True)[1] // most
        place: Tensor = block * (max(shape) + 1) + start[:, int(np.argmax(shape))]
        return place.argsort(stable=True)

    def _by_boxes(self, removal: Removal, at: slice) -> Tensor | None:
        """Outputs by what boxes change; None where something is not finite, of which differences tell nothing."""
        return self._of_patch(removal, at, removal.patch(at))

    def _of_patch(self, removal: Removal, at: slice, patch: tuple[Tensor, Tensor] | None) -> Tensor | None:
        """As :meth:`_by_boxes`, of the starts and cells of the boxes."""
        i = removal.i[at].cpu().numpy()
        if (
            patch is not None
            and len(i)
            and patch[1].shape[1:] != self.samples.x.shape[1:]
            and torch.isfinite(patch[1].sum())
        ):
            y = self._in_parts(removal, at, i, patch[0].cpu().numpy(), patch[1])
            if torch.isfinite(y.sum()):
                return y
            self.samples.engine.count_trial(len(i))
        return None

    def _in_parts(self, removal: Removal, at: slice, i: np.ndarray, start: np.ndarray, cells: Tensor) -> Tensor:
        """Outputs of the rows of a batch, those together whose samples are on one tape."""
        found: Tensor | None = None
        for rows in self._blocks(removal, at, i):
            where = torch.from_numpy(rows).to(cells.device)
            y = self._asked(i[rows], start[rows], cells.index_select(0, where))
            found = y.new_empty((len(i), *y.shape[1:])) if found is None else found
            found[where] = y
        assert found is not None
        return found

    def _asked(self, i: np.ndarray, start: np.ndarray, cells: Tensor) -> Tensor:
        """Outputs of rows of samples that are on the tape, with their boxes replaced by cells (rows, *size)."""
        assert self.tape is not None
        tape, x = self.tape, self.samples.x
        rows = Rows(tape, np.searchsorted(self.held, i), x.device, self.stops)
        axes = tuple(a for a in range(1, x.ndim) if cells.shape[a] < x.shape[a])
        delta = Delta(rows, tape.x, axes, tuple(np.ascontiguousarray(start[:, a - 1]) for a in axes), new=cells)
        if self._drowns(delta):
            return self.samples.outputs(torch.from_numpy(i).to(x.device), delta.whole())
        tape.rewind()
        with whole_outputs(self.samples.engine):
            try:
                return self.samples.outputs(torch.from_numpy(i).to(x.device), cast(Tensor, delta))
            except NotImplementedError as reason:
                raise Unsupported(str(reason)) from reason

    def _drowns(self, delta: Delta) -> bool:
        """Whether what is taken away is so large that its rounding, which intact activations hold, would be seen in what is left.

        What is left outside a box of m cells is at least as large as the largest cell of the sample but m.
        """
        largest = delta.intact.largest_but(math.prod(delta.new.shape[1:])).index_select(0, delta.rows.index)
        gone, put = (torch.nan_to_num(v.flatten(1).abs(), posinf=torch.inf).amax(1) for v in (delta.old, delta.new))
        return bool((gone * self.samples.engine.eps > SAME * torch.maximum(put, largest)).any())

    def _blocks(self, removal: Removal, at: slice, i: np.ndarray) -> Iterator[np.ndarray]:
        """Rows of a batch whose samples are on one tape, which is then the one at hand."""
        left = np.ones(len(i), bool)
        while left.any():
            mine = left & np.isin(i, self.held)
            if not mine.any():
                self._hold(removal, slice(at.start + int(left.argmax()), at.start + _AHEAD * len(i)))
                mine = left & np.isin(i, self.held)
            yield np.flatnonzero(mine)
            left &= ~mine

    def _hold(self, removal: Removal, at: slice) -> None:
        """A tape for the first samples of some rows."""
        samples, first = np.unique(removal.i[at].cpu().numpy(), return_index=True)
        self.held = np.sort(samples[np.argsort(first)][: self.most])
        self.tape = Tape(self.samples.x[torch.from_numpy(self.held).to(self.samples.x.device)])

    # ---- what it costs

    def _price(self, removal: Removal) -> _Price:
        """Counted once for each size of box."""
        key, few = self._typical(removal)
        if key not in self.prices:
            self.prices[key] = price = self._counted(few)
            self.most = max(1, _KEPT // max(1, price.nbytes))
        return self.prices[key]

    def _typical(self, removal: Removal) -> tuple[tuple[int, ...], Removal]:
        """Some rows of one sample, and how those that cost as much look; of recurrent networks rows that begin in the middle of all."""
        size = _sizes(removal)
        if not self.recurs:
            return size, removal.pick(torch.zeros(_COUNTED, dtype=torch.int64, device=removal.i.device))
        some = removal.pick(_evenly(removal, _FEWEST))
        some = some.pick(self._order(some, len(some))[len(some) // 2 :])
        few = some.pick((some.i == some.i[0]).nonzero()[:1, 0].repeat(_COUNTED))
        hull = few.hull(slice(0, 1))
        place = [] if hull is None else [8 * s // n for s, n in zip(hull[0][0].tolist(), self.samples.x.shape[1:])]
        return (*size, *place), few

    def _counted(self, few: Removal) -> _Price:
        """The price of rows of one sample, once its intact activations are on a tape."""
        before, at = (self.tape, self.held), slice(0, len(few))
        self.tape, self.held = None, np.empty(0, np.int64)
        with torch.no_grad():
            with _metered() as made:
                patch = few.patch(at)
            self._of_patch(few, at, patch)
            with _metered() as meter:
                self._of_patch(few, at, patch)
        self.samples.engine.count_trial(2 * len(few))
        if made.largest < few.i.numel() * self.samples.x[0].numel():
            made.largest = 0.0  # of a sample, not of each row
        tape = cast(Any, self.tape)
        nbytes = 0 if tape is None else tape.nbytes
        self.tape, self.held = before
        return _Price(made.cost + meter.cost, len(few), self._whole(few), nbytes)

    def _whole(self, few: Removal) -> Cost:
        """Of a whole row; counted once."""
        if self.whole is None:
            with torch.no_grad(), _metered() as meter:
                self.samples.outputs(few.i[:1], few.rows(slice(0, 1)))
            self.samples.engine.count_trial(1)
            self.whole = meter.cost
        return self.whole

    def _share(self, price: _Price, rows: float) -> float:
        """Of a forward pass that a row takes, with its part of the passes for the intact activations, one for so many rows."""
        engine = self.samples.engine
        whole = price.whole.seconds(engine.device, rows=engine.fitting(1.0), of=1)
        changed = price.changed.seconds(engine.device, rows=engine.fitting(price.room), of=price.rows)
        return changed / whole + 1 / rows


class ToTheEnd(Incremental):
    """The same, but recurrent layers go on to the end of the series, also where their state is the intact one again."""

    stops = False


@dataclass(frozen=True)
class _Stretch:
    """Rows of a removal from the first on, and their outputs; None where there are none by boxes."""

    removal: Removal
    first: int
    outputs: Tensor | None


@contextlib.contextmanager
def _metered() -> Iterator[Meter]:
    """Counts what is asked."""
    with Meter() as meter, Steps(meter, rules_recurrent.RECURRENT, StandIn):
        yield meter


def _of_several(removal: Removal) -> bool:
    """Whether the samples have several variables."""
    return removal.groups is not None and bool(removal.groups.variables)


def _evenly(removal: Removal, most: int) -> Tensor:
    """The numbers of some rows."""
    return torch.linspace(0, len(removal) - 1, min(most, len(removal)), device=removal.i.device).round().long()


def _sizes(removal: Removal) -> tuple[int, ...]:
    """The largest box of some rows, evenly chosen; nothing where everything is absent."""
    rows = _evenly(removal, _LOOKED_AT)
    hull = removal.pick(rows).hull(slice(0, len(rows)))
    return () if hull is None else tuple(hull[1].amax(0).tolist())


def _local(removal: Removal, size: tuple[int, ...]) -> bool:
    """Whether boxes are much smaller than a sample."""
    return bool(size) and math.prod(size) < NEARLY * math.prod(removal.samples.x.shape[1:])


def _at_most(module: nn.Module | None, x: Tensor) -> float:
    """Seconds of a row by its multiply-adds, at most: of each weight at each place; inf where the weights are not known."""
    if module is None:
        return math.inf
    weights = sum(w.numel() for w in (*module.parameters(), *module.buffers()) if w.ndim > 1)
    places = x[0].numel() / min(x.shape[1:])
    return Cost(products=weights * places).seconds(x.device, rows=1, of=1)


def _slides(module: nn.Module) -> bool:
    """Whether a module has a weight with more axes than a matrix, as the kernel of a convolution has."""
    return any(w.ndim > 2 for w in (*module.parameters(), *module.buffers()))


_TIED = (nn.RNNBase, nn.MultiheadAttention)  # layers that tie times together without such a weight


def _has(module: nn.Module | None, *kinds: type[nn.Module]) -> bool:
    """Whether a module has a layer of some kinds."""
    return module is not None and any(isinstance(m, kinds) for m in module.modules())
