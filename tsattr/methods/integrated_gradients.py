"""Integrated gradients, and with one point of the path for each draw expected gradients."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from ..core.baselines import Constant
from ..core.completeness import CompletenessTest, completeness
from ..core.evaluation.paths import Paths, add_gradients
from ..core.method import Method
from ..core.quadrature import gauss_legendre, left, midpoint, refinements
from ..core.results import EVENT, Field, affordable, check_count, check_positive
from ..core.samples import Moments, SampleChunk
from ..core.status import Status

_RULES: dict[str, Callable[[int], tuple[np.ndarray, np.ndarray]]] = {
    "midpoint": midpoint,
    "gauss-legendre": gauss_legendre,
    "left": left,
}
_PATH = 2**32  # the stream of random path points, far from those of an input's variables


@dataclass(frozen=True)
class IntegratedGradients(Method):
    """Integrated gradients along the straight line from the baseline to the input.

    ``a_i = (x_i - x'_i) * Integral_0^1 df/dx_i (x' + t (x - x')) dt``, so that the attributions sum to f(x) - f(x')
    (completeness). Sundararajan, Taly and Yan, ICML 2017. With a baseline that draws, the mean over the draws; with
    ``steps=1`` that is expected gradients (Erion et al., 2021), one stratified point of the path for each draw.

    Parameters
    ----------
    baseline
        What absent means; an object of `tsattr.baselines`.
    steps
        Number of path points for each draw. None refines the rule for each sample until half the map's last relative
        change, ``|a_new - a_old| / |a_new| / 2`` (the estimate of what is left, as the error falls like 1/n), is within
        `tolerance` for every target, and its completeness error within twice that.
    rule
        Quadrature: "midpoint" (nested, tripled: 9, 27, ..., 729 points), "gauss-legendre" (4, 12, 36, ...), or "auto":
        Gauss-Legendre where the model's autograd graph has no kink (ReLU, max-pooling, ...), else midpoint. Neither uses
        the end points, where ties of ReLU and max-pooling give wrong gradients. "left" does: with ``steps=1`` it is the
        local linear form at the baseline, ``df/dx_i(x') (x_i - x'_i)`` for each draw, whose `completeness_gap` is what it
        leaves out (above half of the whole, the sample is "not converged").
    tolerance, max_steps
        Target of the refinement and the largest rule it may use; past that the sample's status is "not converged". So it is
        where the sum misses, as where rounding, ``long()`` or ``detach()`` block gradients: where ``completeness_error`` is
        above twice `tolerance`, with fixed `steps` above ``2 / steps`` (at most 0.5) if that is more; over several draws
        where it is so of their own maps on average. Of expected gradients the mean map counts, which may miss by chance as
        well, by the half width of the sum's 99.9 % interval (Student's t over the draws): few draws tell little. Rounding of
        the outputs is left out.
    draws
        Number of draws of the baseline. None: one of what is always the same, each sample of a `Samples` reference once, a
        hundred at most.
    per_draw
        Also return ``attribution_draw`` with a `draw` dim: each baseline's own result; and how far they agree,
        ``agreement``: the mean Spearman correlation over pairs of draws.

    Returns
    -------
    attribution, reference, completeness_gap, completeness_error, steps, and standard_error over several draws. Where
    ``attrs["evaluation"]`` says "linewise", the affine first layers of the model were asked about the two ends of each path and
    not about each point, as that is exact but for rounding and was counted to be quicker.

    Examples
    --------
    >>> import torch, tsattr as ta
    >>> f = lambda x: x[:, 0] * x[:, 1]
    >>> ds = ta.explain(f, torch.tensor([[2.0, 3.0]]), ta.IntegratedGradients())
    >>> ds.attribution.values.round(6).tolist(), float(ds.reference[0])
    ([[3.0, 3.0]], 0.0)
    """

    baseline: Any = Constant(0.0)  # noqa: RUF009 - frozen
    steps: int | None = None
    rule: str = "auto"
    tolerance: float = 0.01
    max_steps: int = 729
    draws: int | None = None
    per_draw: bool = False
    gradient: ClassVar[bool] = True
    binds: ClassVar[Mapping[str, str]] = {"baseline": "baseline", "draws": "draws"}
    effort: ClassVar[tuple[str, ...]] = ("steps", "draws")
    in_target_units: ClassVar[bool] = True
    sentence: ClassVar[str] = (
        "Integrated gradients: go in a straight line from the baseline to the input and add up how much each cell's own "
        "change moved the target on the way."
    )
    note: ClassVar[str] = (
        "The straight way from baseline to input passes through inputs that no recording produces; what the model does "
        "there is part of the answer."
    )

    @property
    def needs_smoothness(self) -> bool:
        """True if the rule depends on the kinks of the model's graph."""
        return self.rule == "auto"

    @property
    def points(self) -> bool:
        """True for expected gradients: one point of the path for each of several draws."""
        return self.steps == 1 and self._draws > 1 and self.rule != "left"

    @property
    def share(self) -> float:
        """The largest completeness error, but for chance and rounding, of a sum that is right."""
        coarse = 0 if self.steps is None or self.points else min(0.5, 2 / self.steps)
        return max(2 * self.tolerance, coarse)

    def __post_init__(self) -> None:
        check_count("max_steps", self.max_steps)
        for name in ("draws", "steps"):
            check_count(name, getattr(self, name), none=True)
        if self.rule != "auto" and self.rule not in _RULES:
            raise ValueError(f"rule is 'auto', 'midpoint', 'gauss-legendre' or 'left', got {self.rule!r}")
        check_positive("tolerance must be", self.tolerance)

    @property
    def _draws(self) -> int:
        """How many there are, which is known once the baseline is bound."""
        return self.draws or 1

    def __call__(self, samples: SampleChunk) -> dict[str, Field]:
        """Explain some samples."""
        n, device = samples.n, samples.x.device
        moments = Moments(n, (samples.targets, *samples.event), self._draws, device)
        test = CompletenessTest(samples, self._draws, self.share, points=self.points)
        ends = Moments(n, (samples.targets,), self._draws, device)
        steps = torch.zeros(n, dtype=torch.int64, device=device)
        kept: list[Tensor] = []
        for i, draw in samples.draws(self._draws, copies=self.steps or 9):
            start = samples.fill(self.baseline, i, draw)
            end = torch.empty(len(i), samples.targets, dtype=torch.float64, device=device)
            for at, v in samples.values(i, start.__getitem__):
                end[at] = v
            ends.add(i, draw, end)
            maps, used = self._integrate(samples, i, draw, start, end, test)
            moments.add(i, draw, maps)
            test.add(i, draw, maps, samples.prediction[i] - end)
            steps.scatter_reduce_(0, i, used, "amax")
            if self.per_draw:
                kept.append(maps)
        mean, reference = moments.mean(), ends.mean()
        failed = test.failed(mean, samples.prediction - reference)
        samples.record_state(samples.indices, torch.where(failed, Status.NOT_CONVERGED, Status.OK))
        out = {
            "attribution": Field(("target", EVENT), mean),
            **completeness(samples, mean, mean.flatten(2).sum(2), reference),
            "steps": Field((), steps),
        }
        if self._draws > 1:
            out["standard_error"] = Field(("target", EVENT), moments.standard_error())
        if self.per_draw:
            out["attribution_draw"] = Field(
                ("draw", "target", EVENT), torch.cat(kept).reshape(n, self._draws, *kept[0].shape[1:])
            )
        return out

    def _integrate(
        self, samples: SampleChunk, i: Tensor, draw: Tensor, start: Tensor, end: Tensor, test: CompletenessTest
    ) -> tuple[Tensor, Tensor]:
        """Maps (m, targets, *event) of the paths from `start`, with the target's values `end` there, and the points used."""
        m, device = len(i), i.device
        rule = self.rule if self.rule != "auto" else "gauss-legendre" if samples.engine.smooth else "midpoint"
        away = (samples.x[i] - start).to(torch.float64)
        if samples.valid is not None:
            away = torch.where(samples.valid[i], away, 0)
        away = away[:, None]
        total = torch.zeros((m, samples.targets, *samples.event), dtype=torch.float64, device=device)
        active = torch.arange(m, device=device)
        if self.steps is not None:
            nodes, weights = _RULES[rule](self.steps)
            points = torch.as_tensor(nodes, device=device).expand(m, -1)
            if self.points:  # one for each draw, in a stratum of its own
                key = samples.key(i, draw).fork(_PATH)
                shift = key.each(lambda row: key.rng(row).random(), points)
                points = ((draw + shift) / self._draws)[:, None]
            self._add(samples, i, start, active, points, weights, total)
            return total * away, torch.full((m,), self.steps, device=device)
        used = torch.zeros(m, dtype=torch.int64, device=device)
        previous: Tensor | None = None
        for count, nodes, weights, carry in refinements(rule, self.max_steps):
            total[active] *= carry
            each = torch.as_tensor(nodes, device=device).expand(len(active), -1)
            self._add(samples, i, start, active, each, weights, total)
            used[active] = count
            maps = total[active] * away[active]
            if previous is not None:
                sample = i[active]
                size = maps.flatten(2).norm(dim=2)
                change = (maps - previous).flatten(2).norm(dim=2)
                unsettled = (change > 2 * self.tolerance * size).any(1)
                unsettled |= test.fails(sample, maps, size, samples.prediction[sample] - end[active])
                go_on = unsettled & ~samples.failed[sample]  # a map that is not finite never settles
                if go_on.any():
                    needed = (
                        count * (change / (2 * self.tolerance * size)).amax(1)[go_on]
                    )  # as the change falls like 1/n
                    self._foresee(samples, rule, used, needed)
                active, maps = active[go_on], maps[go_on]
            previous = maps
            if not len(active):
                break
        samples.record_state(i[active], torch.full_like(active, Status.NOT_CONVERGED))
        return total * away, used

    def _foresee(self, samples: SampleChunk, rule: str, used: Tensor, needed: Tensor) -> None:
        """Tell how many times its fewest rows it is likely to take: paths have `used` points, and some are not done until `needed`."""
        counts, new = zip(*((count, len(nodes)) for count, nodes, *_ in refinements(rule, self.max_steps)))
        points, asked = (torch.tensor(v, device=used.device) for v in (counts, np.cumsum(new)))
        now = torch.searchsorted(points, used)
        goal = (
            torch.searchsorted(points, needed.nan_to_num(posinf=counts[-1]))
            .maximum(now.amax() + 1)
            .clamp(max=len(points) - 1)
        )
        done = asked[now].sum() - len(goal) * asked[now.amax()]  # of paths that are
        each = float(done + asked[goal].sum()) / len(used)
        samples.engine.foresee((1 + self._draws * (1 + each)) / self.rows()[0])

    @staticmethod
    def _add(
        samples: SampleChunk,
        i: Tensor,
        start: Tensor,
        active: Tensor,
        points: Tensor,
        weights: np.ndarray,
        total: Tensor,
    ) -> None:
        """Add weighted gradients at path points (active, s) to the sums of the active paths."""
        j, w = active.repeat_interleave(points.shape[1]), torch.as_tensor(weights, device=i.device)
        add_gradients(Paths(samples, i, _common(start), j, points.reshape(-1), w.repeat(len(active))), total)

    def rows(self) -> tuple[int, int]:
        """The intact sample, the end point of each draw, and the path points."""
        if self.steps is not None:
            return 1 + self._draws * (1 + self.steps), 1 + self._draws * (1 + self.steps)
        least = most = 0
        for rule in ("midpoint", "gauss-legendre") if self.rule == "auto" else (self.rule,):
            new = [len(nodes) for _, nodes, *_ in refinements(rule, self.max_steps)]
            low, most = sum(new[:2]), max(most, sum(new))
            least = min(least, low) if least else low
        return 1 + self._draws * (1 + least), 1 + self._draws * (1 + most)

    def within(self, rows: int) -> IntegratedGradients:
        """As many points of each path as `rows` rows a sample allow; of expected gradients, as many draws."""
        if self.steps == 1:
            draws = affordable("draws", (rows - 1) // 2, self, rows)
            return replace(self, draws=min(draws, self._draws) if self.rule == "left" else draws)
        draws = max(1, min(self._draws, (rows - 1) // 2))
        return replace(self, steps=affordable("steps", (rows - 1) // draws - 1, self, rows), draws=draws)


def _common(start: Tensor) -> Tensor:
    """The one start (1, *event) of all paths, where it is the same for all; else all of them."""
    return start[:1] if len(start) > 1 and bool((start == start[:1]).all()) else start
