"""What methods on prefixes share: a dim of time, a causal baseline, groups of whole series, and how a model is read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar, Self

from torch import Tensor, nn

from ..axes import Axes
from ..baselines import Hold
from ..method import Method
from ..results import Field, check_choice, check_count
from ..samples import SampleChunk
from ..targets import Divergence
from .choice import trial_rows
from .stretches import Stretches
from .timing import Timing, each_series


class PrefixMethod(Method):
    """A method that asks what a model says at each time of a series from the past alone.

    Its own are the settings and :meth:`__call__`; the dim of time, the windows and the groups are bound here.
    """

    gradient: ClassVar[bool] = False
    binds: ClassVar[Mapping[str, str]] = {"groups": "groups", "baseline": "baseline", "draws": "draws"}
    default_target: ClassVar[Any] = Divergence("pd")

    baseline: Any
    dim: str
    draws: int
    groups: Any
    timing: Timing | None
    predictions = "every"
    window: int | str = 1

    def __post_init__(self) -> None:
        check_count("draws", self.draws)
        check_choice("predictions", self.predictions, ("every", "last"))
        if self.baseline == Hold():  # the default holds along the method's own dim
            object.__setattr__(self, "baseline", Hold(self.dim))

    @property
    def along(self) -> str:
        """The dim of time, whose output axis the method tells apart itself."""
        return self.dim

    @property
    def bound_timing(self) -> Timing:
        """Where time and the windows lie in the input, known once :meth:`prepared`."""
        if self.timing is None:
            raise ValueError(f"{type(self).__name__} is run by tsattr.explain")
        return self.timing

    @property
    def arrays(self) -> int:
        """Arrays of a sample's size in memory at once: some for each lag."""
        return self.bound_timing.arrays

    def prepared(self, module: nn.Module | None, axes: Sequence[Axes]) -> Self:
        """The method with its windows and groups on an input with these axes."""
        timing = Timing.of(axes, self.dim, self.window, module)
        groups = each_series(axes[0], self.dim) if self.groups is None else self.groups
        return replace(self, timing=timing, groups=groups)

    @property
    def extra_rows(self) -> int:
        """The most rows of no sample by which it finds out how the model can be read, for each chunk of samples."""
        return 0 if self.timing is None else trial_rows(self.timing.times, self.timing.remembered > 0)

    def _intact_rows(self) -> int:
        """The most rows of an intact sample: as it is, step by step for its states, and each prefix for what it predicts."""
        return 1 + self.bound_timing.times * (2 if self.bound_timing.remembered else 1)

    def _stretches(self, samples: SampleChunk, *, directed: bool = False) -> Stretches:
        """The samples as series, with what is absent and the quickest way to ask about it."""
        last, name = self.predictions == "last", type(self).__name__
        return Stretches.of(
            samples, self.bound_timing, self.baseline, self.groups, last=last, method=name, directed=directed
        )

    def _fields(
        self, stretches: Stretches, value: Tensor, error: Tensor | None, names: tuple[str, ...] = ()
    ) -> dict[str, Field]:
        r"""The result's fields from values (n, targets, groups, times, \*names) and, over several draws, their standard errors."""
        dims = ("target", "group", self.dim, *names)
        fields = {"attribution": stretches.to_cells(value, names), "group_value": Field(dims, value)}
        if error is not None:
            fields["standard_error"] = stretches.to_cells(error, names)
            fields["group_standard_error"] = Field(dims, error)
        if self.predictions == "every":
            fields["output_over_time"] = Field(("target", self.dim), stretches.said)
        return fields | {"model_steps": Field((), stretches.series.time_steps)}
