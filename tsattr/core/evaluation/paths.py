"""Sums of gradients along straight paths: at each point by itself, or by `Lines`, with what is affine asked once a path."""

from __future__ import annotations

import copy
import math
from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Self

import torch
from torch import Tensor, nn

from ..engine import Engine, Rows, Weighted, at_hand
from ..evaluator import SAME, Evaluation, Unsupported, agree, attempt, raise_if_out_of_memory
from ..samples import SampleChunk
from .cost import Account, Cost
from .lines import SMALL, Lines, Points
from .stand_in import StandIn, refused, whole_outputs

# Cells from which gradients are added row by row: a batch of them in float64 is more than the caches hold.
_LONG = 2**16
_CELLS, _ROWS, _WORTH = (
    64,
    40,
    2**20,
)  # of a sample, of a call, and cells of all rows: from which on a trial costs less than it may save
_STEPPED = 8  # times as many where a few rows go step by step, which takes nearly as long as a batch
_TAKEN = 9  # numbers written for each cell of a point that is made, and of whose gradient a sum is kept
_IN_STEPS = 6  # numbers written for each one that is made of small lines, of many at once
_KINKS = 0.02  # of a gradient, by which kinks near a point may change it
_GAIN = 0.95  # of the plain way's cost: what costs more is not worth the risk of a wrong estimate
_SMALLEST = 1 / 64  # size of a point
_MORE = 3  # points of a path, from which on it may pay


@dataclass(frozen=True)
class Paths:
    """Points on straight paths from some starts to the samples, and their weights.

    Parameters
    ----------
    samples
        Where the paths end.
    i
        (m,) the sample of each path.
    start
        (m, *event), or (1, *event) of one start for all.
    path
        (r,) the path of each point, those of a path one after the other.
    t, weights
        (r,) float64: how far along it lies, from 0 at the start to 1, and what its gradient counts.
    """

    samples: SampleChunk
    i: Tensor
    start: Tensor
    path: Tensor
    t: Tensor
    weights: Tensor

    def __len__(self) -> int:
        return len(self.path)

    def starts(self, paths: Tensor) -> Tensor:
        """(k, *event) where some paths start; (1, *event) where all start at one."""
        return self.start if len(self.start) == 1 else self.start.index_select(0, paths)

    def after(self, done: int) -> Paths:
        """The points from some on."""
        return replace(self, path=self.path[done:], t=self.t[done:], weights=self.weights[done:])

    def few(self) -> Paths:
        """The first point of the first path, and its last one, alone."""
        one = self.path[:1]
        at = torch.tensor([0, self.longest - 1], device=one.device)
        return Paths(self.samples, self.i[one], self.starts(one), one.new_zeros(2), self.t[at], self.weights[at])

    @property
    def longest(self) -> int:
        """How many points the first path has, as all have."""
        return int((self.path == self.path[0]).sum())


@dataclass(frozen=True)
class _Price:
    """What a point costs in the plain way, and what a point and a path cost by lines."""

    plain: Cost
    of_point: Cost
    of_path: Cost


class PathEvaluation(Evaluation):
    """One way to sum gradients along paths."""

    def __init__(self, samples: SampleChunk) -> None:
        self.samples = samples

    @abstractmethod
    def steps(self, paths: Paths, total: Tensor) -> Iterator[int]:
        """As the call does, batch by batch: how many points are done."""

    def __call__(self, paths: Paths, total: Tensor) -> None:
        """Add the weighted gradients of each target to the sums (m, targets, *event), float64, of their paths."""
        for _ in self.steps(paths, total):
            pass


class Pointwise(PathEvaluation):
    """The model is asked about each point, and its gradient there is added: the answer that others are tried against."""

    name = "pointwise"

    def work(self, paths: Paths) -> float:
        """A pass for each point."""
        return 1.0

    @classmethod
    def tried(cls, samples: SampleChunk, paths: Paths) -> Self:
        """It needs no trial."""
        return cls(samples)

    def steps(self, paths: Paths, total: Tensor) -> Iterator[int]:
        """Row by row."""
        samples, j = self.samples, paths.path
        w = paths.weights.reshape(-1, *[1] * len(samples.event))
        for at, grads in samples.gradients(paths.i[j], self._points(paths)):
            for k, g in enumerate(grads):
                if g[0].numel() >= _LONG and at_hand(g):
                    for path, row, weight in zip(j[at].tolist(), g.contiguous(), w[at].flatten().tolist()):
                        total[path, k].add_(row, alpha=weight)
                    continue
                # Laid out and converted first: strides and a product of two dtypes cost several times as much.
                own = g.to(total.dtype, copy=True, memory_format=torch.contiguous_format)
                total[:, k].index_add_(0, j[at], own.mul_(w[at]))
            yield at.stop

    def _points(self, paths: Paths) -> Rows:
        samples, t = self.samples, paths.t.to(self.samples.x.dtype).reshape(-1, *[1] * len(self.samples.event))

        def points_at(at: slice) -> Tensor:
            own = paths.path[at]
            if at_hand(own) and own[0] == own[-1]:  # a single one, as paths follow each other: nothing to repeat
                own = own[:1]
            end = samples.x.index_select(0, paths.i[own])
            rows = torch.lerp(paths.starts(own), end, t[at])
            # An invalid cell may hold anything, also what no line can be drawn to.
            return rows if samples.valid is None else torch.where(samples.valid[paths.i[own]], rows, end)

        return points_at


class Linewise(PathEvaluation):
    """For models whose first layers are affine: those are asked about a path's start and direction, and not about each point.

    With ``x(t) = start + t d`` the sum over points ``sum_k w_k df/dx(x(t_k))`` is the gradient of ``sum_k (w_k / t_k) f(x(t_k))``
    at d: the gradient of each point is never made, and the first layers have one backward pass a path. A `Lines` goes through the
    unchanged model. Exact but for rounding.
    """

    name = "linewise"

    def __init__(self, samples: SampleChunk, price: _Price | None = None) -> None:
        super().__init__(samples)
        self.price = price

    @classmethod
    def tried(cls, samples: SampleChunk, paths: Paths) -> Self:
        """Where it saves enough by what was counted, and gives of two points of a path what the plain way gives."""
        if why := refused(samples.engine):
            raise Unsupported(why)
        found, few = cls(samples), paths.few()
        with Account(len(few)) as account:
            y, sums = _quietly(found, few)
        found.price = found.counted(account)
        if found.work(paths) < _GAIN:
            check(y, sums, *_quietly(Pointwise(samples), few), samples.engine.eps)
        return found

    def steps(self, paths: Paths, total: Tensor) -> Iterator[int]:
        """Path by path."""
        samples, engine = self.samples, self.samples.engine

        def of(at: slice) -> Tensor:
            return paths.i[torch.unique_consecutive(paths.path[at])]

        with whole_outputs(engine):
            for at, grads in samples.gradients(paths.i[paths.path], partial(self._lines, paths), of, self.room(paths)):
                own = torch.unique_consecutive(paths.path[at])
                for k, g in enumerate(grads):
                    total[:, k].index_add_(0, own, g.to(total.dtype))
                yield at.stop

    def _lines(self, paths: Paths, at: slice) -> Weighted:
        """What stands for some points, of which the gradient is taken at the directions of their paths."""
        samples = self.samples
        own, counts = torch.unique_consecutive(paths.path[at], return_counts=True)
        start, end = paths.starts(own), samples.x.index_select(0, paths.i[own])
        direction = end - start
        if samples.valid is not None:  # an invalid cell may hold anything, also what no line can be drawn to
            valid = samples.valid.index_select(0, paths.i[own])
            start, direction = torch.where(valid, start, end), torch.where(valid, direction, 0)
        leaf = direction.detach().requires_grad_(True)
        with torch.enable_grad():
            lines = Lines(Points(paths.t[at], counts.tolist()), start, leaf.view_as(leaf))
            # A tensor of one row may be an activation, or be the same for all rows: with one row nothing tells them apart.
            rows = lines if len(lines) > 1 else lines.whole()
        return Weighted(rows, leaf, paths.weights[at] / paths.t[at])

    def work(self, paths: Paths) -> float:
        """What a point costs beside the plain way, by what was counted."""
        device, price = self.samples.x.device, self.price
        assert price is not None
        path = max(0.0, price.of_path.seconds(device)) / self.in_batch(paths)
        return (price.of_point.seconds(device) + path) / price.plain.seconds(device)

    def room(self, paths: Paths) -> float:
        """The size of a point beside one in the plain way, where batches can be the larger for it.

        Of the largest tensor, or of what is kept for its path.
        """
        if self.price is None:
            return 1.0
        engine, kept = (
            self.samples.engine,
            math.prod(paths.samples.event) * paths.samples.targets / self.in_batch(paths),
        )
        found = max(_SMALLEST, max(self.price.of_point.largest, kept) / max(1.0, self.price.plain.largest))
        return found if found > 1 or engine.fitting(found) > engine.batch_size else 1.0

    def in_batch(self, paths: Paths) -> float:
        """How many points of a path are in one batch."""
        return min(len(paths) / len(torch.unique_consecutive(paths.path)), self.samples.engine.batch_size)

    def counted(self, account: Account) -> _Price:
        """By the shapes of what the model made of some points."""
        cells, known, rest = float(math.prod(self.samples.event)), account.known, account.rest
        # A backward pass takes what a forward pass does. Beside them, points are made, and gradients added in float64.
        plain = (known + rest) * 2 + Cost(_TAKEN * cells, 0.0, cells)
        made = account.made * (_IN_STEPS if account.made.largest < SMALL else 2)
        return _Price(plain, rest * 2 + made, known * 3 + Cost(_TAKEN * cells))


def check(y: Tensor, sums: Tensor, plain_y: Tensor, plain: Tensor, eps: float) -> None:
    """Raise `Unsupported` unless outputs (r, *out) and sums (m, targets, *event) are the plain ones.

    Outputs but for rounding. Of gradients a share is allowed, as rounding decides on which side of a kink a unit is.
    """
    agree(y, plain_y, plain_y, share=SAME, eps=eps)
    apart, size = (v.flatten(2).norm(dim=2) for v in (sums - plain, plain))
    if not (torch.isfinite(sums) == torch.isfinite(plain)).all() or (apart > _KINKS * size).any():
        raise Unsupported("other gradients")


def add_gradients(paths: Paths, total: Tensor) -> None:
    """Add the weighted gradients of each target along paths to the sums (m, targets, *event), float64, in the cheapest way that holds."""
    done = 0
    if (linewise := _linewise(paths)) is not None:
        _note(paths.samples.engine, linewise.name)
        try:
            for at in linewise.steps(paths, total):
                done = at
            return
        except Exception as error:
            raise_if_out_of_memory(error)
            paths.samples.engine.found[Linewise.name] = Unsupported(str(error))
            _note(paths.samples.engine, f"not {Linewise.name}: {error}")
    Pointwise(paths.samples)(paths.after(done), total)


def _linewise(paths: Paths) -> Linewise | None:
    """The way by lines where it is worth it: tried once a call, as it knows nothing of the samples."""
    engine, cells = paths.samples.engine, math.prod(paths.samples.event)
    rows = len(paths) / len(paths.i) * max(engine.samples, len(paths.i))  # of the whole call
    if (
        engine.dense
        or cells < _CELLS
        or rows < _ROWS
        or rows * cells < _WORTH * (_STEPPED if _steps(engine.module) else 1)
        or not bool((paths.t > 0).all())
        or paths.longest < _MORE
    ):
        return None
    if Linewise.name not in engine.found:
        found = attempt(partial(Linewise.tried, paths.samples, paths))
        engine.found[Linewise.name] = found if isinstance(found, Unsupported) else found.price
        if isinstance(found, Unsupported):
            _note(engine, f"not {Linewise.name}: {found}")
    price = engine.found[Linewise.name]
    if not isinstance(price, _Price):
        return None
    linewise = Linewise(paths.samples, price)
    return linewise if linewise.work(paths) < _GAIN else None


def _steps(module: nn.Module | None) -> bool:
    """Whether a model has a recurrent layer."""
    return module is not None and any(isinstance(m, nn.RNNBase) for m in module.modules())


def _note(engine: Engine, what: str) -> None:
    said = str(engine.notes.get("evaluation", ""))
    if f"; {what};" not in f"; {said};":
        engine.notes["evaluation"] = f"{said}; {what}" if said else what


def _quietly(way: PathEvaluation, paths: Paths) -> tuple[Tensor, Tensor]:
    """Outputs (r, *out) and sums (m, targets, *event) of the points of a trial, of which no sample is told."""
    samples = copy.copy(paths.samples)
    samples.engine = engine = replace(samples.engine, advance=lambda rows: None, expect=lambda rows: None)
    samples.evaluations, samples.state = samples.evaluations.clone(), samples.state.clone()
    engine.count_trial(len(paths))
    total = samples.x.new_zeros((len(paths.i), samples.targets, *samples.event), dtype=torch.float64)
    asked, seen = engine.forward, list[Tensor]()

    def forward(rows: Tensor, position: Tensor) -> Any:
        y: Any = asked(rows, position)
        seen.append((y.whole() if isinstance(y, StandIn) else y).detach().to(torch.float64, copy=True))
        return y

    with engine.by_forward(forward):
        type(way)(samples)(replace(paths, samples=samples), total)
    return torch.cat(seen), total
