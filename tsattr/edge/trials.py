"""What a call tries of its model on a few samples before it is believed, and refuses where it does not hold.

A model must be a function of its row: what it says of a sample must not depend on the other rows of the batch, on chance, or
on what it was asked before, as methods ask about rows of their own making, in batches of any size.

Skipped by ``check=False``. How many rows the trials asked for is in the result's attrs, as ``trial_rows``.
"""

from __future__ import annotations

import contextlib
import math
import traceback
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..core.engine import Engine, out_of_memory
from .call import Call
from .warning import tell

# As shares of how far the outputs of two samples are apart: from the first on a model is refused, between the two (a batch that
# is quantised together, a little noise) it is told. Both are far above rounding, as batches of one size are compared, whose
# kernels add up in the same order.
_REFUSED, _TOLD = 0.02, 1e-3
_ROUNDING = 8  # units in the last place of the largest output
_FLAT = 0.01  # outputs of two samples that are nearer than this share of their size are taken to be so far apart
# Of the outputs that differ, as many differ by no more than is said: two samples may happen to agree in one.
_MOST = 0.75
_SEVERAL = 32  # copies of a row that a model is asked about that draws random numbers

_ROWS = 8  # of a table that are tried
_NEAR = 1e-6  # rounding of a model in float32

_BATCH = (
    "depends on the other rows of the batch: {by} when another sample stood before it. Usual causes are batch normalisation "
    "without running statistics, a mean over the rows, a batch that is read as time (batch_first), rows packed or padded to "
    "the longest"
)
_CHANCE = (
    "draws random numbers ({which}): {by} when the same rows were asked about again. Usual causes are F.dropout without "
    "training=self.training, and noise that is added"
)
_STATE = (
    "is not the same from call to call: {by} when the same rows were asked about again. It draws random numbers, or keeps a state "
    "(a recurrent state, a running mean, a buffer)"
)


@contextlib.contextmanager
def running(call: Call, total: int, what: str = "explain") -> Iterator[Engine]:
    """The engine of a call, after its model was tried; then all as before."""
    with call.running(total, what) as engine:
        if call.check:
            for doubt in check(call, engine):
                tell(doubt)
                engine.notes["trial"] = doubt
        yield engine


def tried(call: Call) -> int:
    """Try the model of a call now; the rows that this took."""
    with running(call.quiet(), 0) as engine:
        return int(engine.notes["trial_rows"])


def rows(call: Call) -> int:
    """How many rows :func:`check` asks of a model that passes."""
    return 2 + min(2, call.batch_size) + 2 * len(_of_table(call)) if call.check else 0


def calls(call: Call) -> int:
    """In how many calls of the model."""
    return (2 if call.batch_size > 1 else 3) + (2 if len(_of_table(call)) else 0) if call.check else 0


def check(call: Call, engine: Engine) -> list[str]:
    """Try the model of a call on some of its samples.

    Returns
    -------
    What a reader of the explanation must know.

    Raises
    ------
    ValueError
        Naming what was seen, where the model cannot be explained.
    """
    try:
        doubts = _function_of_its_row(_Trial(call, engine))
    except Exception as error:
        if not out_of_memory(error):
            if not _ours(error):
                error.add_note("This was a trial of the model on two rows; check=False spares it.")
            raise
        doubts = []  # the engine goes on in smaller batches, which a trial cannot
    _sees_the_table(call, engine)
    return doubts


def _ours(error: Exception) -> bool:
    """Whether it was raised by this package, which would find the same without a trial, and not by the model."""
    last = traceback.extract_tb(error.__traceback__)[-1].filename
    return Path(last).is_relative_to(Path(__file__).parents[1])


def _function_of_its_row(trial: _Trial) -> list[str]:
    """A sample is asked about after another one, and twice in one batch."""
    if trial.rows is None:
        return []
    beside, twice = trial.beside(), trial.copies(2)
    moved = max(trial.share(twice[:1], twice[-1:], beside), trial.share(beside[-1:], twice[-1:], beside))
    if drawn := trial.engine.drawn:  # of a dropout two rows may show nothing
        several = trial.copies(_SEVERAL)
        moved = max(moved, trial.share(several[1:], several[:-1], beside))
    if moved <= _TOLD:
        return []
    if drawn:
        what = _CHANCE
    else:
        what = _BATCH if trial.share(trial.copies(2), twice, beside) <= _TOLD else _STATE
    by = f"the outputs for one sample moved by {min(moved, 9.99):.1%} of how far those of two samples are apart"
    said = f"the model is not a function of its row, as it {what.format(by=by, which=', '.join(sorted(drawn)))}"
    if moved <= _REFUSED:
        return [f"{said}. Results vary by as much with batch_size, and from call to call"]
    fix = (
        "batch_size=1 asks about each row by itself, for a model that takes one row"
        if what is _BATCH
        else "switch that off, or fix it for all calls"
    )
    raise ValueError(f"{said}. Make it treat each row by itself ({fix}); check=False spares this trial")


class _Trial:
    """Two rows of a call's samples, the second of which is tried; `rows` is None where they cannot be read."""

    def __init__(self, call: Call, engine: Engine) -> None:
        self.call, self.engine = call, engine
        first, second = _unlike(call)
        try:
            parts = [call.inputs.load(slice(at, at + 1))[0] for at in (first, second)]
        except ValueError:  # of infinite cells the call itself tells, of all samples
            self.rows = None
            return
        self.rows = torch.cat(parts).to(call.device)
        self.position = torch.tensor([first, second], device=call.device)
        if torch.isnan(self.rows[1]).all():
            self.rows, self.position = self.rows.flip(0), self.position.flip(0)
        alike = all(torch.equal(v[first], v[second]) for v in call.context.values())
        alike = alike and torch.equal(*self.rows.nan_to_num())
        self.made_up = alike or bool(torch.isnan(self.rows[0]).all())
        if self.made_up:
            self.rows[0], self.position[0] = _other(self.rows[1], call), self.position[1]

    def beside(self) -> Tensor:
        """Outputs of both rows; of the second alone where a batch holds no more, or the model takes no made-up row."""
        try:
            return self._ask([0, 1]) if self.call.batch_size > 1 else self._ask([1])
        except Exception as error:
            if not self.made_up or out_of_memory(error):
                raise
            return self.copies(2)

    def copies(self, number: int) -> Tensor:
        """Outputs of the second row, asked about so many times, in one batch where it holds as many."""
        size = min(number, self.call.batch_size)
        return torch.cat([self._ask([1] * min(size, number - done)) for done in range(0, number, size)])

    def _ask(self, which: list[int]) -> Tensor:
        assert self.rows is not None
        self.engine.count_trial(len(which))
        with torch.no_grad():
            return self.engine.outputs(self.rows[which], self.position[which])  # a copy: the model may write into it

    def share(self, y: Tensor, other: Tensor, beside: Tensor) -> float:
        """How far outputs of one sample differ by more than rounding, as a share of how far those `beside` each other do."""
        if torch.equal(y, other):
            return 0.0
        known = torch.isfinite(y) & torch.isfinite(other)
        if not torch.equal(torch.isfinite(y), torch.isfinite(other)):
            return float("inf")
        apart = torch.where(known, (y - other).abs(), 0).amax(0)
        finite = torch.where(torch.isfinite(beside), beside, 0)
        size = finite.abs().amax(0)
        eps = max(torch.finfo(d).eps for d in (self.call.autocast or self.call.dtype, torch.float32))
        largest = size.max() if size.numel() else size.sum()
        scale = torch.maximum(finite.amax(0) - finite.amin(0), _FLAT * size.clamp(min=0.1 * largest))
        shares = (apart / scale)[apart > _ROUNDING * eps * largest]
        return float(shares.kthvalue(math.ceil(_MOST * len(shares)))[0]) if len(shares) else 0.0


def _unlike(call: Call) -> tuple[int, int]:
    """Two samples: the first two, or those with the smallest and the largest context, such as lengths of series."""
    second = min(1, call.inputs.n - 1)
    for value in call.context.values():
        size = torch.nan_to_num(value.reshape(call.inputs.n, -1).to(torch.float64)).sum(1)
        if size.min() < size.max():
            return int(size.argmax()), int(size.argmin())
    return second, 0


def _other(row: Tensor, call: Call) -> Tensor:
    """A made-up row beside one: half of each number, and codes of categories as they are."""
    half = torch.where(row == 0, 0.5, row / 2)
    if call.inputs.codes is None:
        return half
    nominal = torch.tensor([levels is not None for levels in call.inputs.codes.levels], device=row.device)
    return torch.where(nominal, row, half)


# ---- tables


def _of_table(call: Call) -> np.ndarray:
    """The rows of a table that are tried."""
    codes, n = call.inputs.codes, call.inputs.n
    if codes is None or call.model.on_frame is None:
        return np.empty(0, int)
    gaps = np.isnan(codes.coded).argmax(0)  # a row with a missing cell of each column
    return np.unique([*np.linspace(0, n - 1, min(n, _ROWS)).astype(int), *gaps[: 2 * _ROWS]])


@torch.no_grad()
def _sees_the_table(call: Call, engine: Engine) -> None:
    """ValueError where the model says another thing of rows of a table than of the same rows as they were given."""
    codes, on_frame, at = call.inputs.codes, call.model.on_frame, _of_table(call)
    if codes is None or on_frame is None:
        return
    engine.count_trial(2 * len(at))
    context = {name: value[torch.from_numpy(at)] for name, value in call.context.items()}
    given, inside = codes.given(at), codes.decode(codes.coded[at], at)
    own, ours = on_frame(given, context), on_frame(inside, context)
    if _same(own, ours) or not _same(own, on_frame(codes.given(at), context)):  # one that draws is another trial's
        return
    row = 0 if own.shape != ours.shape else int((own != ours).reshape(len(own), -1).any(1).nonzero()[0])
    said = [y[row].flatten()[:3].tolist() for y in (own, ours)]
    for name in given.columns:
        if not _same(ours, on_frame(codes.with_column(inside, given, name), context)):
            what = f"column {name!r} came as {given[name].dtype} and the model would get {inside[name].dtype}"
            break
    else:
        what = "it depends on something beside the cells and the index"
    raise ValueError(
        f"the model gives {said[0]} for {call.inputs.sample_dim} {call.inputs.names([int(at[row])])[0]} of the table as it is, and "
        f"{said[1]} inside a call: {what}. Give the column as plain text or numbers, with all levels that occur in a "
        "reference, or explain a function that takes such: ta.models.on_frames(f)"
    )


def _same(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Equal but for rounding."""
    if a.shape != b.shape:
        return False
    size = torch.nan_to_num(a, posinf=0, neginf=0).abs().max().item() if a.numel() else 0.0
    return torch.allclose(a, b, rtol=_NEAR, atol=_NEAR * size, equal_nan=True)
