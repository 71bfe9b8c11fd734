"""Ways to get the model's outputs: each is tried against the dense one, then trusted; the cheapest answers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar, Self, TypeVar

import torch
from torch import Tensor

from .engine import out_of_memory
from .removal import Removal, Source

ROUNDING = 16  # units in the last place by which outputs of the same rows may differ between kernels
SAME = 1e-5  # of the range of an output over the trial, by which two ways to evaluate a removal may differ
TRIAL = 8  # rows on which an evaluation is tried

E = TypeVar("E", bound="Evaluation")


class Unsupported(Exception):
    """An evaluation does not hold for a model, or for what is asked of it: the reason."""


class OtherOutputs(Unsupported):
    """Its outputs are not the plain ones."""


class Evaluation(ABC):
    """One way to get the model's outputs, which holds for some models: tried against the plain way, then trusted.

    What is asked has a signature of its own: whole rows without some groups (`RemovalEvaluation`), or the times of a stretch
    (`tsattr.core.evaluation.series.StretchEvaluation`), whose outputs belong to times and whose past is that of the intact series.

    Attributes
    ----------
    name
        What the result's attrs call it.
    """

    name: str

    @classmethod
    @abstractmethod
    def tried(cls, *args: Any, **kwargs: Any) -> Evaluation:
        """One for some samples, after it gave on a trial what the model gives; raises `Unsupported` where it did not."""

    @abstractmethod
    def work(self, *args: Any, **kwargs: Any) -> Any:
        """What a row costs, in shares of a forward pass of a whole sample: it chooses, and sizes batches."""


class RemovalEvaluation(Evaluation):
    """One way to get the model's outputs for removals from some samples.

    Of its own it has a `name`, :meth:`work` and the verb; it is tried once it is named in `EVALUATIONS` of
    `tsattr.core.evaluation.removals`.

    Parameters
    ----------
    samples
        The intact samples, of which it may keep what it needs: activations, states.

    Attributes
    ----------
    trial_rows
        The most rows that a trial asks for, of each chunk of samples.
    """

    trial_rows: ClassVar[int] = 2 * TRIAL

    def __init__(self, samples: Source) -> None:
        self.samples = samples

    @classmethod
    def applies(cls, module: Any, differentiable: bool, cells: int) -> bool:
        """Whether it may hold for a model of samples of so many cells, told without asking it; if not, it is passed over in silence."""
        return True

    @classmethod
    def spared(cls, removal: Removal) -> str:
        """Why a trial cannot pay, told by what is asked for; nothing where it may."""
        return ""

    @classmethod
    def tried(cls, samples: Source, trial: Removal, rows: int) -> RemovalEvaluation:
        """One for some samples, after it gave the dense answer on some rows of so many that are asked for."""
        found = cls(samples)
        found.check(trial)
        return found

    @abstractmethod
    def work(self, removal: Removal) -> Tensor:
        """(r,) what each row costs, in shares of a forward pass of a whole sample."""

    def room(self, removal: Removal, work: Tensor) -> float:
        """The memory that a row takes beside a whole sample, which sizes batches: as much as its share of the work."""
        return float(work.mean())

    @abstractmethod
    def __call__(self, removal: Removal, at: slice) -> Tensor:
        """The model's outputs (rows, *out), float64, at some rows of a removal; raises `Unsupported` where it has no answer."""

    def check(self, trial: Removal) -> None:
        """Raise `Unsupported` unless the answer to a trial is the dense one but for rounding; see :func:`agree`."""
        engine, dense = self.samples.engine, Dense(self.samples)
        batches = [slice(at, at + engine.batch_size) for at in range(0, len(trial), engine.batch_size)]
        intact = trial.i.unique()
        known = torch.cat([self.samples.outputs(i, self.samples.x[i]) for i in intact.split(engine.batch_size)])
        plain, found = (torch.cat([evaluate(trial, at) for at in batches]) for evaluate in (dense, self))
        engine.count_trial(len(intact) + len(trial))
        agreed = partial(agree, found, plain, torch.cat([known, plain]), share=SAME, eps=engine.eps)
        try:
            agreed()
        except OtherOutputs:
            agreed(noise=self.noise(trial, plain))

    def noise(self, trial: Removal, plain: Tensor) -> Tensor | float:
        """How far each output may move by rounding beyond its own: where sums cancel, what they are made of is larger than they.

        Asked where outputs differ by more than that.
        """
        return 0.0


class Dense(RemovalEvaluation):
    """Every row is built, and the model is asked about it: the answer that all others are tried against."""

    name = "dense"

    @classmethod
    def tried(cls, samples: Source, trial: Removal, rows: int) -> Self:
        """It needs no trial."""
        return cls(samples)

    def work(self, removal: Removal) -> Tensor:
        """A forward pass for each row."""
        return torch.ones(len(removal), dtype=torch.float64, device=removal.i.device)

    def __call__(self, removal: Removal, at: slice) -> Tensor:
        """The model at the rows."""
        return removal.samples.outputs(removal.i[at], removal.rows(at))


def agree(y: Tensor, plain: Tensor, among: Tensor, *, share: float, eps: float, noise: Tensor | float = 0.0) -> None:
    """Raise `Unsupported` unless outputs are the plain ones, each but for rounding and for a share of its range.

    The range is that `among` outputs (rows, *out), and `eps` the spacing of the numbers at 1 that they are made of; `noise` is
    allowed beside.
    """
    if y.shape != plain.shape:
        raise Unsupported(f"{tuple(y.shape)} outputs instead of {tuple(plain.shape)}")
    size = torch.where(torch.isfinite(among), among.abs(), 0).amax(0)
    spread = (
        torch.where(torch.isfinite(among), among, -torch.inf).amax(0)
        - torch.where(torch.isfinite(among), among, torch.inf).amin(0)
    ).clamp(min=0)
    if not spread.any():
        raise Unsupported("outputs that do not move, which prove nothing")
    allowed = share * spread + ROUNDING * eps * size + noise
    if not (((y - plain).abs() <= allowed) | (y == plain) | (y.isnan() & plain.isnan())).all():
        raise OtherOutputs("other outputs")


def raise_if_out_of_memory(error: Exception) -> None:
    """Raise an out-of-memory error again: it does not say that an evaluation is wrong."""
    if out_of_memory(error):
        raise error


def attempt(make: Callable[[], E]) -> E | Unsupported:
    """The evaluation that `make` tries, or why it does not hold."""
    try:
        return make()
    except Unsupported as reason:
        return reason
    except Exception as error:
        raise_if_out_of_memory(error)
        return Unsupported(f"{type(error).__name__}: {error}".partition("\n")[0])


class Evaluator:
    """Chooses how removals from some samples are evaluated: of the ways that hold on a trial, the one with the least work.

    The trial is made once, on rows of the first removal that may pay for it. Where an evaluation fails later, the dense one takes its place. What
    was used, where it was not the dense one as a matter of course, and why others were not, is in the engine's notes.
    """

    def __init__(self, samples: Source) -> None:
        self.samples, self.dense = samples, Dense(samples)
        of = samples.engine.module, samples.engine.differentiable, samples.x[:1].numel()
        self.kinds = [kind for kind in samples.engine.evaluations if kind.applies(*of)]
        self.untried = list(self.kinds)
        self.trusted: list[RemovalEvaluation] = []

    def outputs(self, removal: Removal) -> tuple[Callable[[slice], Tensor], float]:
        """What gives the model's outputs at a slice of the rows, and the size of a row beside a whole sample."""
        if self.kinds and len(removal):
            work = {evaluation: evaluation.work(removal) for evaluation in self._candidates(removal)}
            best = min(work, key=lambda evaluation: float(work[evaluation].sum()))
            if best is not self.dense or "evaluation" in self.samples.engine.notes:
                self._note(best.name)
            if best is not self.dense:
                return partial(self._answer, best, removal), best.room(removal, work[best])
        return partial(self.dense, removal), 1.0

    def _candidates(self, removal: Removal) -> list[RemovalEvaluation]:
        """Those that agreed on a trial; the dense one first, which is taken where another is no cheaper."""
        for kind in [kind for kind in self.untried if not self._spared(kind, removal)]:
            self.untried.remove(kind)
            rows = torch.linspace(0, len(removal) - 1, min(TRIAL, len(removal))).round().long().to(removal.i.device)
            with torch.no_grad():
                found = attempt(partial(kind.tried, self.samples, removal.pick(rows), len(removal)))
            if isinstance(found, Unsupported):
                self._note(f"not {kind.name}: {found}")
            else:
                self.trusted.append(found)
        return [self.dense, *self.trusted]

    def _spared(self, kind: type[RemovalEvaluation], removal: Removal) -> bool:
        """Whether a kind is not tried for a removal, which may be for a later one."""
        if why := kind.spared(removal):
            self._note(f"not {kind.name}: {why}")
        return bool(why)

    def _answer(self, evaluation: RemovalEvaluation, removal: Removal, at: slice) -> Tensor:
        """By an evaluation, as long as it has an answer."""
        if evaluation in self.trusted:
            try:
                return evaluation(removal, at)
            except Unsupported as reason:
                self.trusted.remove(evaluation)
                self._note(f"not {evaluation.name}: {reason}")
                self._note(self.dense.name)
        return self.dense(removal, at)

    def _note(self, what: str) -> None:
        notes = self.samples.engine.notes
        said = str(notes.get("evaluation", ""))
        if f"; {what};" not in f"; {said};":
            notes["evaluation"] = f"{said}; {what}" if said else what
