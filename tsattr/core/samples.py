"""Some samples as a method sees them, the verbs by which it asks the model about them, and means over draws."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .bound import BoundBaseline, BoundGroups
from .engine import Engine, Intact, Rows, Weighted, at_hand
from .evaluator import Evaluator
from .keys import Key
from .removal import Absent, Removal, cut_out
from .status import Status

_GRADIENTS = 2**28  # bytes that the gradients of all targets at the rows of one batch may take


class UnreadError(ValueError):
    """A model that does not read NaN met a reference with missing cells."""


def unread(baseline: BoundBaseline | None, reason: str | Exception) -> UnreadError:
    """The error for a model that does not read the missing cells of a baseline, by what it says itself."""
    assert baseline is not None
    of, said = baseline.with_gaps, str(reason).partition("\n")[0]
    return UnreadError(f"{of.why_gaps.format(gaps=of.gaps)}, and the model does not read NaN ({said}); {of.fill_gaps}")


def missing_in(rows: Tensor) -> Tensor:
    """Where rows of a baseline are NaN; ValueError where they are infinite, as what is too large for their dtype becomes."""
    if torch.isinf(rows).any():
        dtype = str(rows.dtype).removeprefix("torch.")
        raise ValueError(
            f"the baseline gives infinite values in {dtype}, whose largest number is {torch.finfo(rows.dtype).max:.3g}: give "
            "smaller ones" + ("" if dtype == "float64" else ", or x.astype('float64') and a model of it")
        )
    return torch.isnan(rows)


@dataclass
class SampleChunk:
    """Some samples of the input, as a method sees them, and the verbs with which it asks the model about them.

    Attributes
    ----------
    x
        (n, *event) as given, on the engine's device.
    valid
        Bool like `x`, or None where every cell is valid.
    ids, position
        (n,) by what random draws know each sample, and its position in the whole input.
    known
        `x` with NaN at invalid cells.
    prediction
        (n, targets) float64: the target values at `x`.
    intact_outputs
        (n, *out) float64: the model's outputs at `x`, or None where no target compares with them.
    evaluations
        (n,) rows asked about so far, whether or not the model was run on each.
    state
        (n,) the gravest trouble so far, a `Status`.
    ends
        (n,) where padded series end along the axis of time, for a method along it; None where nothing is padded.
    """

    engine: Engine
    x: Tensor
    valid: Tensor | None
    ids: np.ndarray
    position: Tensor
    graph: bool = False
    ends: Tensor | None = None

    def __post_init__(self) -> None:
        self.gaps_of: BoundBaseline | None = None  # whose missing cells they are
        self.common: tuple[BoundBaseline, Tensor, bool] | None = None
        n, device = len(self.x), self.x.device
        self.known = self.x if self.valid is None else torch.where(self.valid, self.x, torch.nan)
        self.evaluations = torch.ones(n, dtype=torch.int64, device=device)
        self.prediction, self.intact_outputs = self.engine.predict(self.x, self.position, graph=self.graph)
        self.state = torch.where(torch.isfinite(self.prediction).all(1), Status.OK, Status.OUTPUT)
        self.reference_gaps = 0  # missing cells of a reference that rows may hold
        self.rows_with_gaps = torch.zeros(
            0, dtype=torch.bool, device=device
        )  # of the rows asked about last, if any has
        self.evaluator = Evaluator(self)

    @property
    def n(self) -> int:
        """Number of samples."""
        return len(self.x)

    @property
    def event(self) -> tuple[int, ...]:
        """Shape of one sample."""
        return tuple(self.x.shape[1:])

    @property
    def valid_cells(self) -> Tensor:
        """Bool (n, *event): True where a cell is valid."""
        whole = torch.ones((), dtype=torch.bool, device=self.x.device)
        return whole.expand(self.x.shape) if self.valid is None else self.valid

    @property
    def targets(self) -> int:
        """Number of targets."""
        return self.prediction.shape[1]

    @property
    def indices(self) -> Tensor:
        """Int64 (n,): 0, 1, ..., n - 1."""
        return torch.arange(self.n, device=self.x.device)

    @property
    def failed(self) -> Tensor:
        """(n,) True where something was not finite: there is no map."""
        return self.state >= Status.GRADIENT

    def record_state(self, i: Tensor, state: Tensor) -> None:
        """Record a `Status` (r,) for rows of sample `i`: of each sample the gravest stays."""
        if at_hand(state) and not (state > Status.OK).any():
            return  # as mostly, and quicker to see than to record
        self.state.scatter_reduce_(0, i, state, "amax")

    def key(self, i: Tensor, draw: Tensor) -> Key:
        """The random key of rows of sample `i` and number `draw`."""
        return Key(self.engine.seed, self.ids[i.cpu().numpy()], self.position[i], draw.cpu().numpy())

    def draws(
        self, draws: int = 1, copies: int = 1, *, among: Tensor | None = None, first: int = 0
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Blocks of (sample, draw) pairs, sample by sample, large enough that `copies` rows of each fill a few batches.

        `among` keeps to some samples; the draws are numbered from `first`.
        """
        among = self.indices if among is None else among
        total = len(among) * draws
        block = max(1, math.ceil(4 * self.engine.batch_size / copies), min(self.engine.batch_size, 64))
        for start in range(0, total, block):
            pair = torch.arange(start, min(start + block, total), device=self.x.device)
            yield among[torch.div(pair, draws, rounding_mode="floor")], first + pair % draws

    def fill(self, baseline: BoundBaseline, i: Tensor, draw: Tensor, absent: Tensor | None = None) -> Tensor:
        """Rows of sample `i` with the valid absent cells (all, for None) replaced by the baseline's values.

        Where the baseline has no value for a cell of a row, the sample has no baseline: see `record_unfilled`.
        """
        known = self.known.index_select(0, i)  # several times as fast as known[i]
        filled = torch.ones((), dtype=torch.bool, device=known.device).expand_as(known) if absent is None else absent
        if baseline.conditional:
            rows = baseline.fill(known, filled.expand_as(known), self.key(i, draw))
        else:
            full, own = self._full(baseline, i, draw)
            full = full if len(full) == 1 else full.index_select(0, own)
            # Into the copy that is there: another array of the rows' size costs as much as the work, in page faults.
            rows = torch.where(filled, full, known, out=known if full.dtype == known.dtype else None)
        if rows.shape != known.shape:
            raise ValueError(
                f"baseline {baseline!r} gave shape {tuple(rows.shape)} for rows of shape {tuple(known.shape)}"
            )
        rows = rows.to(known.dtype)
        valid = None if self.valid is None else self.valid.index_select(0, i)
        present = rows if valid is None else torch.where(valid, rows, 0)
        # The sum is quick, and not finite wherever a cell is not; only then are they looked for.
        whole = baseline.common and self._common(baseline)[1]
        if (
            not (whole or torch.isfinite(present.sum()))
            and (missing := missing_in(present) & filled & self._measured(i)).any()
        ):
            self.gaps_of = baseline
            self.reference_gaps = 0 if absent is None else baseline.gaps
            if not self.reference_gaps:
                self.record_unfilled(i, missing)
                rows = torch.where(missing, self.x.index_select(0, i), rows)  # some models refuse NaN
        return rows if valid is None else torch.where(valid, rows, self.x.index_select(0, i))

    def fill_boxes(
        self, baseline: BoundBaseline, i: Tensor, draw: Tensor, start: Tensor, absent: Tensor
    ) -> Tensor | None:
        """As :meth:`fill`, the cells (r, *size) of one box of each row, that begins at `start` (r, axes); `absent` is of that shape.

        None where only whole rows tell: the baseline looks at other cells, or something is missing.
        """
        if baseline.conditional:
            return None
        size = absent.shape[1:]
        full, own = self._full(baseline, i, draw)
        full = full.expand(len(full), *self.event)
        present = absent if self.valid is None else absent & cut_out(self.valid, i, start, size)
        cells = torch.where(present, cut_out(full, own, start, size), cut_out(self.x, i, start, size)).to(self.x.dtype)
        return cells if torch.isfinite(cells.sum()) else None

    def _full(self, baseline: BoundBaseline, i: Tensor, draw: Tensor) -> tuple[Tensor, Tensor]:
        """What a baseline that is not conditional puts into every cell, and which of its rows each row of sample `i` takes.

        The same values serve every group of one (sample, draw).
        """
        if baseline.common:
            return self._common(baseline)[0], torch.zeros_like(i)
        # As one number, as unique pairs are slow to find.
        pairs, own = torch.unique_consecutive((i << 32) + draw, return_inverse=True)
        sample, number = pairs >> 32, pairs & (2**32 - 1)
        full = baseline.full(self.known[sample], self.key(sample, number))
        return full, torch.zeros_like(i) if len(full) == 1 else own

    def _common(self, baseline: BoundBaseline) -> tuple[Tensor, bool]:
        """The values (1, *event) of a baseline that has the same for all, and whether they are numbers: looked at once."""
        if self.common is None or self.common[0] is not baseline:
            first = self.indices[:1]
            full = baseline.full(self.known[:1], self.key(first, torch.zeros_like(first)))
            self.common = baseline, full, bool(torch.isfinite(full.to(self.known.dtype)).all())
        return self.common[1:]

    def _measured(self, i: Tensor) -> Tensor:
        """Bool, broadcasting to rows of sample `i`: False where the sample itself has no value, which is then none to lack."""
        return ~torch.isnan(self.x.index_select(0, i))

    def record_unfilled(self, i: Tensor, missing: Tensor) -> None:
        """Record the samples `i` for which a baseline has no value where `missing` (r, ...) is True.

        Trouble with the baseline of a sample never stops the others, but what has no value for any sample is no baseline:
        ValueError.
        """
        bad = missing.flatten(1).any(1)
        self.record_state(i, torch.where(bad, Status.BASELINE, Status.OK))
        self.engine.unfilled |= set(self.position[i[bad]].tolist())
        if len(self.engine.unfilled) >= self.engine.samples:
            raise ValueError(
                f"the baseline gives NaN at {int(missing.sum())} cells that are present in the input; give it a reference "
                "without missing values there, or mark those cells with valid=False"
            )

    def removal(
        self, groups: BoundGroups | None, baseline: BoundBaseline, i: Tensor, draw: Tensor, absent: Absent = None
    ) -> Removal:
        """Rows of sample `i` and of a baseline's draw without their absent groups; see `Removal`."""
        return Removal(self, groups, baseline, i, draw, absent)

    def without(
        self, groups: BoundGroups | None, baseline: BoundBaseline, i: Tensor, draw: Tensor, absent: Absent = None
    ) -> Iterator[tuple[slice, Tensor]]:
        """Target values (r, targets) float64, batch by batch, of samples `i` without their absent groups.

        The way in which methods, metrics and ablation ask what the model says of a removal. An `Evaluation` chooses how: row by
        row, or from what is known of the intact sample.
        """
        outputs, size = self.evaluator.outputs(self.removal(groups, baseline, i, draw, absent))
        return self._values(i, outputs, size)

    def outputs_without(
        self, groups: BoundGroups | None, baseline: BoundBaseline, i: Tensor, draw: Tensor, absent: Absent = None
    ) -> Iterator[tuple[slice, Tensor]]:
        """As `without`, the model's outputs (r, *out) float64, before any target is made of them."""
        outputs, size = self.evaluator.outputs(self.removal(groups, baseline, i, draw, absent))
        self.engine.expect(len(i))

        def run(at: slice) -> Tensor:
            with torch.no_grad():
                return outputs(at)

        for at, y in self.engine.cut(len(i), run, size):
            self._count(i[at])
            yield at, y

    def values(self, i: Tensor, make: Rows) -> Iterator[tuple[slice, Tensor]]:
        """Target values (r, targets) float64, batch by batch, at rows of sample `i` that ``make(slice)`` builds."""
        return self._values(i, lambda at: self.outputs(i[at], make(at)))

    def outputs(self, i: Tensor, rows: Tensor) -> Tensor:
        """The model's outputs (r, *out) at rows in the place of sample `i`."""
        gaps = (torch.isnan(rows) & self.valid_cells[i]).flatten(1).any(1) if self.reference_gaps else None
        self.rows_with_gaps = torch.zeros(0, dtype=torch.bool, device=rows.device) if gaps is None else gaps
        return self.engine.outputs(rows, self.position[i])

    def _values(
        self, i: Tensor, outputs: Callable[[slice], Tensor], size: float = 1.0
    ) -> Iterator[tuple[slice, Tensor]]:
        """Target values of outputs at rows of sample `i`, which are counted and whose states are recorded."""
        self.rows_with_gaps = torch.zeros(0, dtype=torch.bool, device=i.device)
        self.engine.expect(len(i))
        try:
            for at, v in self.engine.values(len(i), self._intact(i), outputs, size):
                if len(self.rows_with_gaps) and torch.isnan(v[self.rows_with_gaps]).any():
                    raise unread(self.gaps_of, "its output is NaN")
                self._count(i[at])
                self.record_state(i[at], torch.where(torch.isfinite(v).all(1), Status.OK, Status.OUTPUT))
                if self.engine.unfilled:  # what was not taken away has not changed anything: that is no zero
                    v = torch.where((self.state[i[at]] == Status.BASELINE)[:, None], torch.nan, v)
                yield at, v
        except UnreadError:
            raise
        except Exception as error:
            if not self.rows_with_gaps.any():
                raise
            raise unread(self.gaps_of, error) from error

    def gradients(
        self,
        i: Tensor,
        make: Callable[[slice], Tensor | Weighted],
        of: Callable[[slice], Tensor] | None = None,
        size: float | None = None,
    ) -> Iterator[tuple[slice, list[Tensor]]]:
        """Gradients (r, *event) of each target, 0 at invalid cells, batch by batch at rows of sample `i`.

        Of `Weighted` rows the sums (k, *event), of the samples that ``of(slice)`` says; `size` is that of a row beside a sample.
        """
        self.engine.expect(len(i))
        if size is None:
            of_batch = self.engine.batch_size * self.targets * self.x[0].numel() * self.x.element_size()
            size = max(1.0, of_batch / _GRADIENTS)
        for at, (v, grads) in self.engine.gradients(self.position[i], self._intact(i), make, size):
            own = i[at] if of is None else of(at)
            if self.valid is not None:
                grads = [torch.where(self.valid.index_select(0, own), g, 0) for g in grads]
            self._count(i[at])
            self.record_state(i[at], torch.where(torch.isfinite(v).all(1), Status.OK, Status.OUTPUT))
            sloped = torch.stack([torch.isfinite(g.sum(list(range(1, g.ndim)))) for g in grads]).all(0)
            self.record_state(own, torch.where(sloped, Status.OK, Status.GRADIENT))
            if at_hand(sloped) and not sloped.all():
                self._find_fault(i[at], make(at), torch.isfinite(v).all(1))
            yield at, grads

    def _find_fault(self, i: Tensor, given: Tensor | Weighted, finite: Tensor) -> None:
        """Find out, once, what makes the gradient at some rows, of finite outputs, not finite."""
        rows = given if isinstance(given, Tensor) else given.rows.detach()
        if finite.any():
            y0 = None if self.intact_outputs is None else self.intact_outputs[i][finite]
            self.engine.find_fault(rows[finite], self.position[i][finite], y0)

    def intact_gradients(self) -> Tensor:
        """Gradients (n, targets, *event), float64, at the samples themselves."""
        out = torch.empty((self.n, self.targets, *self.event), dtype=torch.float64, device=self.x.device)
        for at, grads in self.gradients(self.indices, lambda at: self.x[at]):
            out[at] = torch.stack(grads, 1).to(out.dtype)
        return out

    def with_rows(self, i: Tensor, rows: Tensor) -> SampleChunk:
        """`rows` (r, *event), each in the place of sample `i`: with its draws, context, and outputs to compare with."""
        out = copy.copy(self)
        out.evaluator = Evaluator(out)
        out.x, out.valid = rows, None if self.valid is None else self.valid[i]
        out.known = rows if out.valid is None else torch.where(out.valid, rows, torch.nan)
        out.ids, out.position = self.ids[i.cpu().numpy()], self.position[i]
        out.intact_outputs = None if self.intact_outputs is None else self.intact_outputs[i]
        out.evaluations = torch.zeros_like(i)
        out.state = torch.zeros_like(i)
        out.prediction = torch.empty_like(self.prediction[i])
        for at, v in out.values(out.indices, lambda at: rows[at].clone()):  # the model may write into its input
            out.prediction[at] = v
        return out

    def _intact(self, i: Tensor) -> Intact:
        y0 = self.intact_outputs
        return lambda at: None if y0 is None else y0[i[at]]

    def _count(self, i: Tensor) -> None:
        self.evaluations.index_add_(0, i, torch.ones_like(i))


class Moments:
    """Mean and standard error over the draws of each sample, as they come; equal draws give a standard error of 0.

    `draws` is the largest number of draws of a sample; with one, no room is made for squares.
    """

    def __init__(self, n: int, shape: tuple[int, ...], draws: int, device: torch.device) -> None:
        self.draws = draws
        self.pivot = torch.zeros((n, *shape), dtype=torch.float64, device=device)
        self.count = torch.zeros((n, *[1] * len(shape)), dtype=torch.float64, device=device)
        self.sum = torch.zeros_like(self.pivot) if draws > 1 else None
        self.square = torch.zeros_like(self.pivot) if draws > 1 else None

    def add(self, i: Tensor, draw: Tensor, values: Tensor) -> None:
        """Take one block; the first draw of a sample must not come after another of its draws."""
        values = values.to(torch.float64)
        if self.sum is None or self.square is None:
            self.pivot[i] = values
            return
        if at_hand(draw):
            first = draw == 0
            self.pivot[i[first]] = values[first]
        else:
            first = (draw == 0).reshape(-1, *[1] * (values.ndim - 1))
            self.pivot.index_add_(0, i, torch.where(first, values, 0))
        self.count.index_add_(0, i, torch.ones((len(i), *self.count.shape[1:]), dtype=torch.float64, device=i.device))
        deviation = values - self.pivot[i]  # from the first draw: no digits are lost in the squares
        self.sum.index_add_(0, i, deviation)
        self.square.index_add_(0, i, deviation**2)

    def mean(self) -> Tensor:
        """Mean over the draws."""
        return self.pivot if self.sum is None else self.pivot + self.sum / self.count

    def standard_error(self) -> Tensor:
        """Standard deviation over the draws (n - 1) over the square root of their number."""
        if self.sum is None or self.square is None:
            raise ValueError("a standard error needs at least two draws")
        variance = (self.square - self.sum**2 / self.count) / (self.count - 1)
        return (variance.clamp(min=0) / self.count).sqrt()
