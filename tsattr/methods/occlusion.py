"""Occlusion: what the output loses when one group of cells is removed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch

from ..core.baselines import Constant
from ..core.method import Method
from ..core.results import EVENT, Field, affordable, check_count
from ..core.samples import Moments, SampleChunk


@dataclass(frozen=True)
class Occlusion(Method):
    """Remove one group at a time: ``v_g = f(x) - f(x without g)``, the mean over the baseline's draws.

    Each cell gets the full value of its group; where groups overlap, the mean over the groups that cover it. The values
    do not sum to the output difference unless the model is additive over the groups. Zeiler and Fergus, 2014.

    Parameters
    ----------
    groups
        What goes absent together; an object of `tsattr.groups`.
    baseline
        What takes its place; an object of `tsattr.baselines`.
    draws
        Number of draws of the baseline. All groups of a sample see the same draws, so that they can be compared. None: one of
        what is always the same, each sample of a `Samples` reference once, a hundred at most.

    Returns
    -------
    attribution, group_value, and their standard errors over several draws. A group without valid cells in a sample has
    the value NaN and is not asked for.

    Examples
    --------
    >>> import torch, tsattr as ta
    >>> f = lambda x: (x * torch.tensor([2.0, -3.0])).sum(1)
    >>> ds = ta.explain(f, torch.ones(1, 2), ta.Occlusion(ta.groups.Cells()))
    >>> ds.group_value.values.tolist()
    [[2.0, -3.0]]
    """

    groups: Any
    baseline: Any = Constant(0.0)  # noqa: RUF009 - frozen
    draws: int | None = None
    gradient: ClassVar[bool] = False
    binds: ClassVar[Mapping[str, str]] = {"groups": "groups", "baseline": "baseline", "draws": "draws"}
    effort: ClassVar[tuple[str, ...]] = ("draws",)
    in_target_units: ClassVar[bool] = True
    sentence: ClassVar[str] = (
        "Occlusion: take one group of cells away at a time, put the baseline in its place, and record by how much the "
        "target falls."
    )
    note: ClassVar[str] = (
        "With occlusion every cell shows the whole effect of the group (window, lead, wave) it belongs to, averaged where"
        " groups overlap. The picture is no finer than the groups, colours do not add up to the prediction, and evidence "
        "that is present twice can hide: taking one copy away changes nothing."
    )

    def __post_init__(self) -> None:
        check_count("draws", self.draws, none=True)

    @property
    def _draws(self) -> int:
        """How many there are, which is known once the baseline is bound."""
        return self.draws or 1

    def __call__(self, samples: SampleChunk) -> dict[str, Field]:
        """Explain some samples."""
        n, targets, device = samples.n, samples.targets, samples.x.device
        size = len(self.groups.names)
        filled = self.groups.count(samples.valid_cells, samples.position) > 0
        samples.engine.foresee(1 + self._draws * float(filled.sum(1).double().mean()))  # times the intact sample
        maps = Moments(n, (targets, *samples.event), self._draws, device)
        groups = Moments(n, (targets, size), self._draws, device)
        for i, draw in samples.draws(self._draws, copies=size):
            j, k = filled[i].nonzero(as_tuple=True)
            block = torch.full((len(i), targets, size), torch.nan, dtype=torch.float64, device=device)
            for at, v in samples.without(self.groups, self.baseline, i[j], draw[j], k):
                block[j[at], :, k[at]] = samples.prediction[i[j[at]]] - v
            spread = self.groups.spread(block, samples.position[i])
            maps.add(i, draw, spread.expand(len(i), targets, *samples.event))
            groups.add(i, draw, block)
        out = {
            "attribution": Field(("target", EVENT), maps.mean()),
            "group_value": Field(("target", "group"), groups.mean()),
        }
        if self._draws > 1:
            out["standard_error"] = Field(("target", EVENT), maps.standard_error())
            out["group_standard_error"] = Field(("target", "group"), groups.standard_error())
        return out

    def rows(self) -> tuple[int, int]:
        """The intact sample, and each group for each draw."""
        return 1, 1 + self._draws * len(self.groups.names)

    def within(self, rows: int) -> Occlusion:
        """As many of its draws as `rows` rows a sample allow."""
        most = affordable("draws", (rows - 1) // len(self.groups.names), self, rows)
        return replace(self, draws=min(self._draws, most))
