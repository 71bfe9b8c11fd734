"""The nearest input between two classes, as a baseline: what would have to change for the model to be undecided."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from ..arrays import Array
from ..axes import Axes
from ..bound import BoundTargets
from ..engine import Engine
from ..preserve import device_of, preserved_state
from ..results import check_count
from .fills import Baseline
from .fitted import Training, cell_index
from .gaussian import ConditionalGaussian
from .neutral import Neutral, dtype_of, margins, other_classes, spread_of
from .normal import Normal

Metric = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Boundary(Neutral, Baseline):
    """The class-neutral input nearest to each sample: ``argmin (x'-x)^T C^-1 (x'-x)`` subject to ``f_a(x') = f_b(x')``.

    With outputs that are logits, a path from it explains the margin ``f_a(x) - f_b(x)`` and nothing else, as the target's
    value there is 0. For a linear model it is the projection ``x - C w (w.x + c) / (w^T C w)`` on the hyperplane between
    the classes; for others that projection is repeated on the linearised model with a step that shrinks until both the
    margin and the distance are better (Hasofer and Lind, 1974; Zhang and Der Kiureghian, 1995).

    It is a contrast, not an absence: what is the same on both sides gets nothing. With ``covariance=None`` it is an
    adversarial example, close to `x` and unlike any data; a covariance of the data keeps the change to directions in which
    data vary. The nearest point found is a local one, and where the boundary bends much it is approached slowly: on a
    sphere, 50 steps came within 0.4 % of the least squared distance. Samples whose margin could not be brought to 0 (a class that the
    model never gives, flat regions) are reported by `margin`, and by a warning.

    Parameters
    ----------
    value
        The neutral inputs, samples first; made by :meth:`fit`.
    margin
        What is left of |f_a - f_b| at each.
    difference
        The samples less their neutral inputs; `distance` is its norm.
    source
        How it was fitted, in words.

    Examples
    --------
    >>> w = torch.tensor([3.0, 4.0], dtype=torch.float64)
    >>> neutral = Boundary.fit(lambda x: x @ w, np.array([[1.0, 1.0]]), a=0)
    >>> neutral.value.values.round(9).tolist()  # x - w (w.x) / |w|^2
    [[0.16, -0.12]]
    """

    sentence: ClassVar[str] = "the nearest input that the model finds undecided between two classes"
    on_command_line: ClassVar[bool] = False  # made of a model, and its classes
    note: ClassVar[str] = (
        "The baseline is a contrast, the nearest input without a decision: what is the same on both sides of the boundary "
        "gets nothing."
    )
    value: Array
    margin: Array
    difference: Array
    source: str

    def __repr__(self) -> str:
        left = np.abs(self.margin.values).max()
        return f"Boundary({self.value!r}, {self.source}, margin<={left:.2g}, distance {spread_of(self.distance)})"

    @classmethod
    def fit(
        cls,
        model: Any,
        x: Any,
        a: int,
        b: int | None = None,
        covariance: Any = None,
        steps: int = 50,
        tolerance: float = 1e-5,
        *,
        sample_dim: str = "sample",
        batch_size: int = 256,
    ) -> Boundary:
        """Find the neutral input of each sample.

        Parameters
        ----------
        model
            A torch module or callable on tensors (samples, \\*event) in `x`'s order of dims, which gives one output a sample
            or one for each class: logits. It is left as it was.
        x
            The samples that will be explained, as they will be given: a DataArray, or an array (samples first). Missing
            cells stay missing and are not moved.
        a, b
            The two classes. ``b=None``: the strongest other class at each sample; with a single output, the value 0.
        covariance
            The metric: None for equal cells; a matrix over the cells of a sample, in `x`'s order; or what a
            `ConditionalGaussian` holds, given as such or as a reference to fit one to.
        steps
            Most projections for each sample.
        tolerance
            When to stop: what is left of the margin and the last move, as shares of the margin at `x` and of the way gone.
        sample_dim
            Name of the sample dim.
        batch_size
            Rows the model is given at once; halved when memory runs out.

        Raises
        ------
        TypeError, ValueError, IndexError
            Classes that are no whole numbers, that the model does not have or that are the same; a dtype of `x` that no parameter
            of the model has; or a covariance of another shape.
        """
        check_count("steps", steps)
        train = Training.of(x, sample_dim)
        start = torch.as_tensor(train.values)
        metric, provenance = _metric(covariance, train.axes, sample_dim)
        module = model if isinstance(model, torch.nn.Module) else None
        ask = _asker(model, device_of(module) or torch.device("cpu"), dtype_of(x, module))
        with preserved_state(module, None):
            with torch.no_grad():
                outputs = torch.cat([ask(rows) for rows in torch.split(start, batch_size)])
            other = other_classes(outputs, a, b)
            engine = Engine(
                lambda rows, position: margins(ask(rows), a, other[position]),
                lambda shape: BoundTargets((lambda y, y0: y,)),
                start.device,
                module=module,
                batch_size=batch_size,
            )
            search = _Search(engine, start, metric, tolerance)
            search.run(steps)
        search.warn()
        return cls(
            train.of_samples(search.point.numpy()),
            train.of_samples(search.value.abs().numpy()),
            train.of_samples((start - search.point).numpy()),
            f"a={a}, b={b}, covariance={provenance}",
        )


def _asker(model: Any, home: torch.device, dtype: torch.dtype) -> Callable[[Tensor], Tensor]:
    """The model on float64 rows, its outputs as (rows, classes)."""

    def ask(rows: Tensor) -> Tensor:
        y = model(rows.to(home, dtype))
        if not isinstance(y, Tensor) or y.ndim not in (1, 2) or len(y) != len(rows):
            shape = tuple(y.shape) if isinstance(y, Tensor) else type(y).__name__
            raise ValueError(f"Boundary needs one output a sample or one for each class, the model gave {shape}")
        return y.reshape(len(rows), -1).to(rows.device)

    return ask


def _metric(covariance: Any, axes: Axes, sample_dim: str) -> tuple[Metric, str]:
    """Multiplication of (rows, *event) by the covariance, and its provenance."""
    if covariance is None:
        return (lambda g: g), "None"
    size = int(np.prod(axes.shape))
    if not isinstance(covariance, ConditionalGaussian):
        given = Array.of(covariance)
        if given.values.shape == (size, size) and sample_dim not in (given.dims or ()):
            return _by_matrix(given.values.astype(np.float64)), f"<matrix: sha256 {given.digest}>"
        if given.values.ndim != 1 + len(axes.shape):
            raise ValueError(
                f"covariance is a matrix of shape {(size, size)}, a reference of samples of shape {axes.shape}, or a "
                f"ConditionalGaussian; got shape {given.values.shape}"
            )
        covariance = ConditionalGaussian.fit(covariance, sample_dim=sample_dim)
    normal = Normal.of(covariance.fitted)
    index = cell_index(covariance.fitted.arrays["mean"], axes, "Boundary")
    at = torch.as_tensor(np.broadcast_to(index, axes.shape).flatten())

    def times(g: Tensor) -> Tensor:
        cells = torch.zeros(len(g), normal.mean.size, dtype=g.dtype)
        cells[:, at] = g.reshape(len(g), -1)
        return normal.times(cells)[:, at].reshape(g.shape)

    return times, f"<normal: sha256 {covariance.fitted.digest}>"


def _by_matrix(matrix: np.ndarray) -> Metric:
    if not np.allclose(matrix, matrix.T) or not np.linalg.eigvalsh(matrix)[0] > 0:
        raise ValueError("covariance must be symmetric and positive definite; add a share of the identity")
    c = torch.as_tensor(matrix)
    return lambda g: (g.reshape(len(g), -1) @ c).reshape(g.shape)


def _dot(u: Tensor, v: Tensor) -> Tensor:
    return (u * v).flatten(1).sum(1)


class _Search:
    """Repeated projection on the linearised boundary, each sample by itself.

    A point is ``start + C dual``, so that its squared distance from the start is ``dual . C dual`` and C is never inverted.
    """

    def __init__(self, engine: Engine, start: Tensor, metric: Metric, tolerance: float) -> None:
        self.engine, self.start, self.metric, self.tolerance = engine, start, metric, tolerance
        self.dual, self.away = torch.zeros_like(start), torch.zeros_like(start)
        self.value, self.gradient = self._margins(self.away, torch.arange(len(start)))
        self.enough = tolerance * self.value.abs()
        self.todo = (self.value != 0) & torch.isfinite(self.value)

    @property
    def point(self) -> Tensor:
        """The current point (n, *event) of each sample."""
        return self.start + self.away

    def run(self, steps: int) -> None:
        """Project until every sample has converged to the nearest point of its boundary; then bring the rest to any point of it."""
        self._repeat(steps, nearest=True)
        self.todo = self.value.abs() > self.enough
        self._repeat(steps, nearest=False)

    def _repeat(self, steps: int, nearest: bool) -> None:
        for _ in range(steps):
            rows = self.todo.nonzero()[:, 0]
            if len(rows) == 0:
                return
            self._project(rows, nearest)

    def _margins(self, away: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Margin and its gradient at ``start + away`` of some samples."""
        found = list(self.engine.gradients(rows, lambda at: None, lambda at: self.start[rows[at]] + away[at]))
        gradient = torch.cat([g[0] for _, (_, g) in found])
        return torch.cat([v[:, 0] for _, (v, _) in found]), torch.where(self.start[rows].isnan(), 0, gradient)

    def _project(self, rows: Tensor, nearest: bool) -> None:
        """One step of each of these samples, by backtracking: the longest of 1, 1/2, 1/4, ... that improves its merit.

        With `nearest` to the point of the linearised boundary that is nearest to the start, else to the one nearest to
        where the sample is, for which the margin alone is the merit: at a kink the first may lead nowhere.
        """
        dual, away, value, gradient = (v[rows] for v in (self.dual, self.away, self.value, self.gradient))
        push = self.metric(gradient)
        steep = _dot(gradient, push)
        level = torch.where(steep > 0, ((_dot(gradient, away) if nearest else 0) - value) / steep, torch.nan)
        wide = level.reshape(-1, *[1] * (dual.ndim - 1))
        turn, move = wide * gradient - nearest * dual, wide * push - nearest * away
        squared = nearest * _dot(dual, away)
        # With this weight of the margin the direction goes down in the merit, distance^2 / 2 + weight |margin|.
        weight = 2 * torch.maximum(level.abs(), (squared / steep).sqrt())
        merit, slope = squared / 2 + weight * value.abs(), nearest * _dot(away, turn) - weight * value.abs()
        left = torch.isfinite(level)
        self.todo[rows[~left]] = False
        for share in 0.5 ** torch.arange(12.0, dtype=torch.float64):
            at = left.nonzero()[:, 0]
            if len(at) == 0:
                return
            new_dual, new_away = dual[at] + share * turn[at], away[at] + share * move[at]
            new_value, new_gradient = self._margins(new_away, rows[at])
            new_merit = nearest * _dot(new_dual, new_away) / 2 + weight[at] * new_value.abs()
            better = new_merit <= merit[at] + 1e-4 * share * slope[at]
            near = new_value.abs() <= self.enough[rows[at]]
            step = _dot(turn[at], move[at]).clamp(min=0).sqrt()
            still = step <= self.tolerance * _dot(new_dual, new_away).clamp(min=0).sqrt()
            took = better | (near & still)  # at convergence the merit improves by less than rounding
            to = rows[at[took]]
            self.dual[to], self.away[to], self.value[to], self.gradient[to] = (
                v[took] for v in (new_dual, new_away, new_value, new_gradient)
            )
            self.todo[rows[at[near & still]]] = False
            left[at[took]] = False
        self.todo[rows[left]] = False

    def warn(self) -> None:
        """Say for how many samples there is no neutral input."""
        bad = ~(self.value.abs() <= self.enough)
        if bad.any():
            warnings.warn(
                f"Boundary found no class-neutral input for {int(bad.sum())} of {len(bad)} samples: what is left of their "
                f"margins is up to {float(self.value[bad].abs().max()):.3g}; see .margin",
                stacklevel=3,
            )
