"""Temporal saliency rescaling: any method's map, taken apart into when and what."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ..core.baselines import Constant
from ..core.bound import BoundGroups
from ..core.groups import Along, Cells
from ..core.method import Method, results_of
from ..core.results import EVENT, Field
from ..core.samples import SampleChunk


@dataclass(frozen=True)
class TemporalRescaling(Method):
    """How much a map changes when a time is taken away, times how much it changes when a feature is.

    With R the map of another method and x without g the input with the cells of g absent,
    ``relevance(g) = sum_j |R_j(x) - R_j(x without g)|``; a cell i at time t gets ``relevance(t) * relevance(i)``. The
    features of a time are looked at only if its relevance is not 0 and at least the `threshold` quantile of those of the
    sample; elsewhere the map is 0. Two-step rescaling of Ismail et al., NeurIPS 2020, who found that maps of recurrent
    networks mix up times. The result has no sign and does not sum to anything; its units are the square of those of R.

    WinTSR (Islam and Fox, arXiv 2412.04532) takes for R the output itself, and its time relevances less their least over their
    range: ``relevance(g) = |f(x) - f(x without g)|``. So it is this with ``method=Occlusion(Windows(time=times))``, which puts
    ``f(x) - f(x')`` into every cell, a constant baseline, ``threshold=0`` and windows as `features`, but for a factor and that
    scaling (``examples/studies/forecasters.py``).

    The class explained is that of the intact sample, draws are the same with and without g, and invalid cells are neither
    taken away nor counted. Cells to which the method gives nothing, as they are in none of its groups, get nothing here.

    Parameters
    ----------
    method
        Any method with one map a target; it is asked for a map of x, of each time and of each feature that is looked at.
    groups
        The times: ``Along("time")``, or windows of them; an object of `tsattr.groups`.
    features
        What is taken away at the relevant times: ``Cells()``, or ``Windows(time=10, lead=1)`` beside
        ``groups=Windows(time=10)``.
    baseline
        What takes their place, one draw of it; an object of `tsattr.baselines`.
    threshold
        Quantile of the sample's time relevances, between 0 (all times) and 1 (the most relevant one).

    Returns
    -------
    attribution; ``group_value``, the relevance of each time, NaN where it has no valid cells.

    Examples
    --------
    >>> import torch, tsattr as ta
    >>> f = lambda x: (x**2).sum((1, 2)) / 2
    >>> x = ta.explain(f, torch.tensor([[[3.0, 0.0, 1.0]]]), ta.TemporalRescaling(ta.Saliency(), ta.groups.Along("dim_2")))
    >>> x.group_value.values.tolist(), x.attribution.values.tolist()
    ([[3.0, 0.0, 1.0]], [[[9.0, 0.0, 0.0]]])
    """

    method: Method
    groups: Any = Along("time")  # noqa: RUF009 - frozen
    features: Any = Cells()  # noqa: RUF009 - frozen
    baseline: Any = Constant(0.0)  # noqa: RUF009 - frozen
    threshold: float = 0.55
    binds: ClassVar[Mapping[str, str]] = {
        "method": "method",
        "groups": "groups",
        "features": "groups",
        "baseline": "baseline",
    }
    sentence: ClassVar[str] = (
        "Temporal rescaling: how much another method's map changes when a time is taken away, times how much it changes "
        "when a feature is."
    )
    note: ClassVar[str] = (
        "Temporal rescaling has no sign and does not add up to the prediction: it tells when and where, not for or "
        "against."
    )

    def __post_init__(self) -> None:
        if not isinstance(self.method, Method):
            raise TypeError(f"TemporalRescaling rescales a method such as Saliency(), got {self.method!r}")
        if not 0 <= self.threshold <= 1:
            raise ValueError(f"threshold is a quantile between 0 and 1, got {self.threshold!r}")

    @property
    def gradient(self) -> bool:
        """Whether the method inside needs gradients."""
        return self.method.gradient

    @property
    def needs_smoothness(self) -> bool:
        """Whether the method inside asks for the kinks of the model's graph."""
        return self.method.needs_smoothness

    @property
    def caution(self) -> str | None:
        """What the method inside warns of."""
        return self.method.caution

    def prepared(self, module: nn.Module | None, axes: Any) -> TemporalRescaling:
        """Itself with the method inside prepared."""
        return replace(self, method=self.method.prepared(module, axes))

    def __call__(self, samples: SampleChunk) -> dict[str, Field]:
        """Explain some samples."""
        times = self.groups.count(samples.valid_cells, samples.position) > 0
        features = self.features.count(samples.valid_cells, samples.position) > 0
        maps = 1 + times.sum(1) + (1 - self.threshold) * features.sum(1)  # as if features were alike at all times
        with samples.engine.repeating(float(maps.double().mean())):
            return self._rescaled(samples, times)

    def _rescaled(self, samples: SampleChunk, times: Tensor) -> dict[str, Field]:
        """The fields, of the `times` (n, groups) that have valid cells."""
        position = samples.position
        found = results_of(self.method, samples)
        intact = found["attribution"].values
        time_relevance = self._relevance(samples, intact, self.groups, times)
        level = time_relevance.nanquantile(self.threshold, 2, keepdim=True)
        high = (time_relevance >= level * (1 - 1e-9)) & (
            time_relevance > 0
        )  # times that are equal but for rounding are one
        cells = self.groups.union(high.any(1), position).expand_as(samples.x) & samples.valid_cells
        playing = self.features.count(cells, position) > 0
        feature_relevance = self._relevance(samples, intact, self.features, playing).nan_to_num()
        by_time = self.groups.spread(torch.where(high, time_relevance, 0), position)
        by_feature = self.features.spread(feature_relevance, position)
        return {
            "attribution": Field(("target", EVENT), torch.where(intact.isnan(), torch.nan, by_time * by_feature)),
            "group_value": Field(("target", "group"), time_relevance),
        }

    def _relevance(self, samples: SampleChunk, intact: Tensor, groups: BoundGroups, playing: Tensor) -> Tensor:
        """(n, targets, groups): how far the map moves without each group that plays, NaN for the others."""
        i, k = playing.nonzero(as_tuple=True)
        out = torch.full((*intact.shape[:2], playing.shape[1]), torch.nan, dtype=torch.float64, device=i.device)
        for pick in torch.split(torch.arange(len(i), device=i.device), samples.engine.batch_size) if len(i) else ():
            sample, group = i[pick], k[pick]
            removal = samples.removal(groups, self.baseline, sample, torch.zeros_like(sample), group)
            without = samples.with_rows(sample, removal.rows(slice(None)))
            found = results_of(self.method, without)
            change = (intact[sample] - found["attribution"].values).abs()
            if samples.valid is not None:
                change = torch.where(samples.valid[sample][:, None], change, 0)
            out[sample, :, group] = change.to(torch.float64).flatten(2).nansum(2)
            samples.evaluations.index_add_(0, sample, without.evaluations)
            samples.record_state(sample, without.state)
        return out

    @property
    def extra_rows(self) -> int:
        """What the method asks about no sample, for its maps of the intact ones."""
        return self.method.extra_rows

    def rows(self) -> tuple[int, int]:
        """A map of the sample, of each time and of each feature; with rows of no sample for each, at worst."""
        least, most = self.method.rows()
        without = len(self.groups.names) + len(self.features.names)
        return least, most + (most + self.extra_rows) * without

    def within(self, rows: int) -> TemporalRescaling:
        """With a method whose own budget is that of one of so many maps."""
        maps = 1 + len(self.groups.names) + len(self.features.names)
        try:
            return replace(self, method=self.method.within((rows - self.extra_rows) // maps))
        except ValueError as error:
            raise type(error)(f"TemporalRescaling shares {rows} rows a sample among {maps} maps: {error}") from error
