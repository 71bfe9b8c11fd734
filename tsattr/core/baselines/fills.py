"""The base of baselines and their bound forms: unconditional, conditional and causal fills."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from ..axes import Axes
from ..bound import Ahead, BoundBaseline, adopted_baseline
from ..keys import Key


@dataclass(frozen=True)
class Full(BoundBaseline):
    """A bound baseline that knows a value for every cell, whatever else is absent: ``values(x, key)``."""

    values: Callable[[Tensor, Key], Tensor]
    causal: bool = False
    gaps: int = 0
    common: bool = False
    conditional = False
    nested = True

    def full(self, x: Tensor, key: Key) -> Tensor:
        """The values, of the shape of `x` or broadcasting to it."""
        return self.values(x, key)

    def fill(self, x: Tensor, absent: Tensor, key: Key) -> Tensor:
        """`x` with the absent cells replaced."""
        return torch.where(absent, self.values(x, key), x)


@dataclass(frozen=True)
class Conditional(BoundBaseline):
    """A bound baseline whose values depend on what is still present."""

    filled: Callable[[Tensor, Tensor, Key], Tensor]
    causal: bool = False
    gaps: int = 0
    made_of: tuple[BoundBaseline, ...] = ()

    def fill(self, x: Tensor, absent: Tensor, key: Key) -> Tensor:
        """`x` with the absent cells replaced."""
        return self.filled(x, absent, key)


@dataclass(frozen=True)
class Causal(BoundBaseline):
    """A bound baseline that goes on from the past, and can say how without a whole row; see `tsattr.core.baselines.forecast`."""

    filled: Callable[[Tensor, Tensor, Key], Tensor]
    forecast: Callable[[Tensor], Ahead]
    begins: bool = False
    causal = True
    nested = True

    def fill(self, x: Tensor, absent: Tensor, key: Key) -> Tensor:
        """`x` with the absent cells replaced."""
        return self.filled(x, absent, key)

    def ahead(self, known: Tensor) -> Ahead:
        """Values from any time of the series `known` on."""
        return self.forecast(known)


DRAWS = 100  # by default: the standard error of their mean is then a tenth of the spread between them


class Baseline:
    """Base of baselines: frozen settings that ``bind(axes)`` turns into a `BoundBaseline`, made by the class's ``_bind(axes)``.

    Attributes
    ----------
    arithmetic
        True where it computes with the values, which binding refuses for columns that hold categories.
    random
        True where draws differ. One that does not say so is taken to give the same in every draw, and is asked once.
    members
        The baselines that it is a mixture of.
    sentence
        What it puts in absent cells, in a few plain words for reports.
    note
        What can and what cannot be credited against it, in plain sentences for reports.
    ends_paths
        True where it can be the end of a path, from which methods of gradients walk.
    on_command_line
        True where it can be written on the command line: its settings are plain values, or a reference to fit.
    """

    arithmetic: ClassVar[bool] = True
    random: ClassVar[bool] = False
    members: tuple[Any, ...] = ()
    sentence: ClassVar[str] = ""
    note: ClassVar[str] = ""
    ends_paths: ClassVar[bool] = True
    on_command_line: ClassVar[bool] = True

    @property
    def enough(self) -> int:
        """The default number of draws: 1 where all are the same, else `DRAWS`."""
        return DRAWS if self.random else 1

    def bind(self, axes: Axes) -> BoundBaseline:
        """Turn units, coordinates and references into plain arrays for an input with these axes."""
        if self.arithmetic and axes.nominal is not None and axes.nominal.any():
            names = axes.coords[axes.dims[-1]][axes.nominal.reshape(-1, axes.shape[-1]).any(0)].tolist()
            raise TypeError(
                f"{type(self).__name__} does arithmetic, but columns {names} hold categories; use Samples.fit(reference), "
                "Mode.fit(reference), Typical.fit(reference) or Constant({column: category, ...})"
            )
        return self._bind(axes)

    def _bind(self, axes: Axes) -> BoundBaseline:
        raise TypeError(f"{type(self).__name__} has no _bind(axes), which gives its bound form: a BoundBaseline")


def tensor_like(values: np.ndarray, like: Tensor) -> Tensor:
    """An array on the device and in the dtype of `like`."""
    return torch.as_tensor(values).to(like.device, like.dtype)


def per_row(values: np.ndarray, x: Tensor, key: Key) -> Tensor:
    """Values of shape (samples or 1, *event) as rows that match `x`."""
    rows = values if len(values) == 1 else values[key.position.cpu().numpy()]
    return tensor_like(rows, x)


def draw_by_name(numbers: Callable[[Tensor], Tensor], x: Tensor, axes: Axes) -> Tensor:
    """Random numbers of the shape of `x`, drawn by the names of its dims, so that transposing `x` only transposes them."""
    order = [0, *(1 + int(a) for a in np.argsort(axes.dims))]
    return numbers(x.permute(order)).permute(np.argsort(order).tolist())


@dataclass(frozen=True)
class JoinedBaselines(BoundBaseline):
    """Bound baselines of several variables that lie side by side in one flat event."""

    parts: tuple[tuple[slice, tuple[int, ...], BoundBaseline], ...]

    @property
    def conditional(self) -> bool:  # type: ignore[override]
        """True where any part is conditional."""
        return any(bound.conditional for *_, bound in self.parts)

    @property
    def made_of(self) -> tuple[BoundBaseline, ...]:  # type: ignore[override]
        """The baselines of the variables."""
        return tuple(bound for *_, bound in self.parts)

    @property
    def gaps(self) -> int:  # type: ignore[override]
        """The missing cells of all references."""
        return sum(bound.gaps for *_, bound in self.parts)

    @property
    def causal(self) -> bool:  # type: ignore[override]
        """True where every part is causal."""
        return all(bound.causal for *_, bound in self.parts)

    def fill(self, x: Tensor, absent: Tensor, key: Key) -> Tensor:
        """Fill each variable's own view."""
        absent = absent.expand_as(x)
        filled = [
            bound.fill(x[:, at].reshape(-1, *shape), absent[:, at].reshape(-1, *shape), key.fork(v)).reshape(len(x), -1)
            for v, (at, shape, bound) in enumerate(self.parts)
        ]
        return torch.cat(filled, 1)


class _AdoptedSettings(Baseline):
    """A baseline of another class: something with ``bind(axes)``, or bound as it is, with what it says of its draws."""

    arithmetic: ClassVar[bool] = False  # it knows itself what it does to categories

    def __init__(self, given: Any) -> None:
        self.given = given
        for name in ("random", "members"):
            setattr(self, name, getattr(given, name, getattr(self, name)))
        if not isinstance(self.random, bool | np.bool_):
            raise TypeError(f"random of baseline {given!r} is True or False, got {self.random!r}")

    @property
    def enough(self) -> int:
        return int(getattr(self.given, "enough", super().enough))

    def _bind(self, axes: Axes) -> BoundBaseline:
        return adopted_baseline(self.given.bind(axes) if hasattr(self.given, "bind") else self.given)


def adopted(baseline: Any) -> Baseline:
    """A baseline of any class as a `Baseline`; TypeError for what is none.

    An object of another class says by `random` whether its draws differ, by `enough` how many a method takes that is not told,
    and by `members` what it is a mixture of.
    """
    if isinstance(baseline, Baseline):
        return baseline
    if isinstance(baseline, type):
        raise TypeError(f"a baseline is an object with its settings: {baseline.__name__}(...), not the class")
    if isinstance(baseline, Mapping):
        raise TypeError("a mapping of baselines is for an input of several variables (an xarray.Dataset)")
    other = isinstance(baseline, np.ndarray)  # whose ``fill`` is another verb
    if other or not (hasattr(baseline, "bind") or hasattr(baseline, "fill")):
        raise TypeError(
            f"a baseline is an object of tsattr.baselines, or anything with fill(x, absent, key), got {baseline!r}; "
            "a number or an array is Constant(...)"
        )
    return _AdoptedSettings(baseline)


def enough_draws(baseline: Any) -> int:
    """The default number of draws of a baseline, or the largest of a mapping of them by variable."""
    if isinstance(baseline, Mapping):
        return max(map(enough_draws, baseline.values()))
    return adopted(baseline).enough


def bind(baseline: Any, axes: Axes) -> BoundBaseline:
    """The bound form of anything that is a baseline: what its ``bind(axes)`` gives if it has one, else itself if it can fill."""
    return adopted_baseline(adopted(baseline).bind(axes))  # once more: a class of one's own may break the contract
