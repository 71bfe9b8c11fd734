"""A method with a model and an input: what a law of methods is checked on."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
import xarray as xr
from torch import Tensor

from ...core.method import Method
from ...edge.call import Call
from ...edge.warning import ExplanationWarning
from ...explain import explain
from ..cases import Around
from ..laws import Laws, Seen

LAWS = Laws("methods")


@dataclass(frozen=True)
class MethodCase:
    """A method, the model and the labelled input that it explains, and further settings of the call.

    Attributes
    ----------
    x
        Four samples or more, labelled, without missing values.
    tolerance
        How far values may be off that are computed in another order, as a share of the largest of each variable.
    """

    method: Method
    model: Any
    x: xr.DataArray
    settings: Mapping[str, Any] = field(default_factory=dict)
    tolerance: float = 1e-12

    @property
    def name(self) -> str:
        """The method, as the user wrote it."""
        return repr(self.method)

    @property
    def sample_dim(self) -> str:
        """The dim that holds the samples."""
        return self.settings.get("sample_dim") or "sample"

    @property
    def event(self) -> list[str]:
        """The other dims, in the order in which the model has them."""
        return [str(d) for d in self.x.dims if d != self.sample_dim]

    @property
    def shape(self) -> tuple[int, ...]:
        """Cells of one sample."""
        return tuple(self.x.sizes[d] for d in self.event)

    @property
    def n(self) -> int:
        """Number of samples."""
        return self.x.sizes[self.sample_dim]

    @property
    def rows(self) -> Tensor:
        """The input as the model gets it."""
        return torch.tensor(self.x.transpose(self.sample_dim, *self.event).values)

    @cached_property
    def outputs(self) -> tuple[int, ...]:
        """The shape of what the model says of one sample, without context."""
        with torch.no_grad():
            return tuple(self.model(self.rows).shape[1:])

    @cached_property
    def answer(self) -> xr.Dataset:
        """The explanation that others are compared with."""
        return self.explain()

    @cached_property
    def bound(self) -> Method:
        """The method with its settings as plain arrays for this input."""
        call = Call.of(self.model, self.x, self.method, **self.settings)
        prepared = self.method.prepared(call.model.module, [v.axes for v in call.inputs.variables])
        return prepared.bind(call.inputs.bind)

    def explain(
        self, model: Any = None, x: xr.DataArray | None = None, method: Method | None = None, **settings: Any
    ) -> xr.Dataset:
        """The explanation with some things otherwise."""
        model = self.model if model is None else model
        return explain(model, self.x if x is None else x, method or self.method, **{**self.settings, **settings})

    def around(self, f: Callable[..., Tensor]) -> Around:
        """A model that is a function of inputs, with the case's model in it for methods that look for layers."""
        return Around(self.model, f)

    def at(self, samples: list[int], ds: Any = None) -> Any:
        """Some samples of the input, or of a result."""
        return (self.x if ds is None else ds).isel({self.sample_dim: samples})

    def labels_of(self, samples: list[int]) -> list[str]:
        """What these samples are called."""
        return [str(label) for label in self.x[self.sample_dim].values[samples]]


@contextmanager
def told(pattern: str) -> Iterator[None]:
    """Raise unless an ExplanationWarning begins as a regular expression says; other warnings go on."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    said = [w for w in caught if issubclass(w.category, ExplanationWarning) and re.match(pattern, str(w.message))]
    for other in caught:
        if other not in said:
            warnings.warn_explicit(other.message, other.category, other.filename, other.lineno)
    if not said:
        raise Seen(f"no ExplanationWarning that says {pattern!r}")


def statuses(ds: xr.Dataset, expected: list[str]) -> None:
    """Raise unless the statuses are these."""
    if (found := ds.status.values.tolist()) != expected:
        raise Seen(f"the statuses {found}, where {expected} are expected")
