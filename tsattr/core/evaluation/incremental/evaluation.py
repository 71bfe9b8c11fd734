"""Removals from what they change: a box goes through the unchanged module, over the activations of the intact samples."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Self, cast

import numpy as np
import torch
from torch import Tensor, nn

from ...evaluator import SAME, TRIAL, RemovalEvaluation, Unsupported
from ...removal import Removal, Source
from ..stand_in import refused, whole_outputs
from . import rules_cells, rules_shape, rules_sliding
from .cost import Cost, Meter
from .delta import NEARLY, Delta, Rows
from .tape import Tape

RULES = (rules_cells, rules_shape, rules_sliding)  # they name themselves where they are read

_FEWEST = 64  # rows that pay for a trial
_SMALLEST = 512  # cells of a sample, of which fewer cost less than what keeps the account of them
_LOOKED_AT = 16  # of a removal's rows, whose boxes tell what it costs
_COUNTED = 4  # rows that are counted
_GAIN = 0.8  # of a forward pass: what costs more is not worth the risk of a wrong estimate
_KEPT = 2**28  # bytes of intact activations
_AHEAD = 4  # batches for whose samples activations are kept


@dataclass(frozen=True)
class _Price:
    """What rows with boxes of one size cost beside whole ones, and the activations of an intact sample."""

    changed: Cost  # of `rows` rows
    rows: int
    intact: Cost
    whole: Cost
    nbytes: int

    @property
    def room(self) -> float:
        """The largest tensor of a row, beside that of a whole row."""
        return min(1.0, self.changed.largest / self.rows / max(1.0, self.whole.largest))


class Incremental(RemovalEvaluation):
    """For models of layers that look at their neighbourhood, as convolutions do: only what a removal changes is computed.

    A `Delta` that stands for the rows is put into the model in the place of its input. Operations that have a rule act on the
    boxes that have changed; the others, and all that come after them, act on whole rows. Exact but for rounding.
    """

    name = "incremental"
    trial_rows = 3 * TRIAL + 2 * _COUNTED + 1

    def __init__(self, samples: Source) -> None:
        super().__init__(samples)
        self.tape: Tape | None = None
        self.held = np.empty(0, np.int64)  # the samples on the tape, in order
        self.prices: dict[tuple[int, ...], _Price] = {}
        self.most = 1

    @classmethod
    def applies(cls, module: Any, differentiable: bool, cells: int) -> bool:
        """Whether the model may have layers that look at their neighbourhood, and samples are large enough to matter."""
        return differentiable and cells >= _SMALLEST and (module is None or _slides(module))

    @classmethod
    def spared(cls, removal: Removal) -> str:
        """Why a trial cannot pay; else nothing."""
        if len(removal) < _FEWEST:
            return f"{len(removal)} rows, fewer than pay for a trial"
        return "" if _local(removal, _sizes(removal)) else "what is absent spans nearly the whole sample"

    @classmethod
    def tried(cls, samples: Source, trial: Removal) -> Self:
        """One for some samples, where it saves enough by what was counted, and gave the dense answer on some rows."""
        if why := refused(samples.engine):
            raise Unsupported(why)
        found = cls(samples)
        share = found._share(found._price(trial), 1.0)
        if share > _GAIN:
            raise Unsupported(f"a row would take {share:.2f} of a forward pass")
        samples.engine.count_trial(len(trial))
        found.check(trial)
        return found

    def work(self, removal: Removal) -> Tensor:
        """(r,) by what was counted; all the same, as boxes are of one size in a batch."""
        rows = torch.ones(len(removal), dtype=torch.float64, device=removal.i.device)
        if len(removal) < _FEWEST or not _local(removal, _sizes(removal)):
            return rows
        passes = len(torch.unique_consecutive(removal.i)) / len(removal)
        share = self._share(self._price(removal), passes * len(removal))
        return rows * (share if share <= _GAIN else 1.0)

    def room(self, removal: Removal, work: Tensor) -> float:
        """The largest tensor that a row makes."""
        return max(0.001, self._price(removal).room)

    def __call__(self, removal: Removal, at: slice) -> Tensor:
        """By boxes; densely where something is not finite, of which differences tell nothing."""
        patch, i = removal.patch(at), removal.i[at].cpu().numpy()
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
        return self.samples.outputs(removal.i[at], removal.rows(at))

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
        rows = Rows(tape, np.searchsorted(self.held, i), x.device)
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
        size = _sizes(removal)
        if size not in self.prices:
            rows = torch.arange(min(_COUNTED, len(removal)), device=removal.i.device)
            price = self._counted(removal.pick(rows[removal.i[rows] == removal.i[0]]))
            self.prices[size] = price
            self.most = max(1, _KEPT // max(1, price.nbytes))
        return self.prices[size]

    def _counted(self, few: Removal) -> _Price:
        """The price of rows of one sample: the intact activations are what a second pass spares."""
        samples, costs = self.samples, []
        before = self.tape, self.held
        self.tape, self.held = None, np.empty(0, np.int64)
        with torch.no_grad():
            for _ in range(2):
                with Meter() as meter:
                    self(few, slice(0, len(few)))
                costs.append(meter.cost)
            with Meter() as meter:
                samples.outputs(few.i[:1], few.rows(slice(0, 1)))
        samples.engine.count_trial(1 + 2 * len(few))
        tape = cast(Any, self.tape)
        nbytes = 0 if tape is None else tape.nbytes
        self.tape, self.held = before
        return _Price(costs[1], len(few), costs[0] - costs[1], meter.cost, nbytes)

    def _share(self, price: _Price, passes: float) -> float:
        """Of a forward pass that a row takes, where so many samples' activations are computed."""
        engine = self.samples.engine
        rows, device = engine.fitting(price.room), engine.device
        whole = price.whole.seconds(device, rows=engine.fitting(1.0), of=1)
        changed = price.changed.seconds(device, rows=rows, of=price.rows)
        del passes
        return changed / whole


def _sizes(removal: Removal) -> tuple[int, ...]:
    """The largest box of some rows, evenly chosen; nothing where everything is absent."""
    rows = torch.linspace(0, len(removal) - 1, min(_LOOKED_AT, len(removal)), device=removal.i.device).round().long()
    hull = removal.pick(rows).hull(slice(0, len(rows)))
    return () if hull is None else tuple(hull[1].amax(0).tolist())


def _local(removal: Removal, size: tuple[int, ...]) -> bool:
    """Whether boxes are much smaller than a sample."""
    return bool(size) and math.prod(size) < NEARLY * math.prod(removal.samples.x.shape[1:])


def _slides(module: nn.Module) -> bool:
    """Whether a module has a weight with more axes than a matrix, as the kernel of a convolution has."""
    return any(w.ndim > 2 for w in (*module.parameters(), *module.buffers()))
