"""A law: what must hold, and how what breaks it is mended; how several are checked, and the report of what became of each."""

from __future__ import annotations

import copy
import dataclasses
import pickle
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import xarray as xr

from ..edge.warning import ExplanationWarning

HOLDS = "holds"


class LawBroken(AssertionError):
    """A law that does not hold: the message says which, what was seen, and how it is mended.

    Attributes
    ----------
    law
        The name of the law.
    """

    law: str = ""


class Seen(AssertionError):
    """What a check saw that no law allows."""


class Report(dict[str, str]):
    """What became of each law by its name: "holds", or "does not apply: " and why."""

    def __str__(self) -> str:
        return "\n".join(f"{law}: {found}" for law, found in self.items())


@dataclass(frozen=True)
class Law:
    """One law, and how it is checked on a case.

    Parameters
    ----------
    name
        What holds, in a sentence.
    fix
        What usually breaks it, and what to do.
    check
        ``check(case) -> str | None``: raises where the law does not hold, returns why where it does not apply. It may have
        settings, for tests that are about one of them.
    """

    name: str
    fix: str
    check: Callable[..., str | None]

    def __call__(self, case: Any, *settings: Any, **named: Any) -> str:
        """ "holds", or "does not apply: " and why; LawBroken where it does not hold."""
        try:
            why = self.check(case, *settings, **named)
        except Exception as error:
            seen = str(error) if isinstance(error, Seen) else f"{type(error).__name__}: {error}"
            broken = LawBroken(f"{case.name} breaks the law {self.name!r}. Seen: {seen.rstrip('.')}. {self.fix}")
            broken.law = self.name
            raise broken from error
        return HOLDS if why is None else f"does not apply: {why}"


@dataclass(frozen=True)
class Laws:
    """The laws of one noun, by name, in the order in which they are checked."""

    of: str
    known: dict[str, Law] = field(default_factory=dict)

    def law(self, name: str, fix: str) -> Callable[[Callable[..., str | None]], Law]:
        """Register a check as a law."""

        def register(check: Callable[..., str | None]) -> Law:
            self.known[name] = Law(name, fix, check)
            return self.known[name]

        return register

    def check(self, case: Any, laws: Iterable[str] | None, exempt: Mapping[str, str] | None) -> Report:
        """Check the `laws` (all, for None) on a case, but for those exempt."""
        exempt = {} if exempt is None else exempt
        wanted = list(self.known if laws is None else laws)
        if unknown := [name for name in [*wanted, *exempt] if name not in self.known]:
            raise ValueError(f"{unknown[0]!r} is no law of {self.of}; they are: {', '.join(map(repr, self.known))}")
        report = Report()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExplanationWarning)  # cautions that each explanation would repeat
            for name in wanted:
                report[name] = f"does not apply: {exempt[name]}" if name in exempt else self.known[name](case)
        return report


# ---- equal up to rounding


def same(found: xr.Dataset, expected: xr.Dataset, tolerance: float, leave: Iterable[str] = ()) -> None:
    """Raise unless two results have the same variables, dims and values up to `tolerance` of the largest value of each."""
    if set(found.data_vars) != set(expected.data_vars):
        raise Seen(f"the variables {sorted(map(str, found))}, where {sorted(map(str, expected))} are expected")
    for name in sorted(set(map(str, found.data_vars)) - set(leave)):
        if found[name].dims != expected[name].dims:
            raise Seen(f"{name} with the dims {found[name].dims}, where {expected[name].dims} are expected")
        same_values(name, found[name].values, expected[name].values, tolerance)


def same_values(what: str, found: Any, expected: Any, tolerance: float) -> None:
    """Raise unless two arrays agree, numbers up to `tolerance` of the largest of those expected, or of 1; NaN is NaN."""
    found, expected = np.asarray(found), np.asarray(expected)
    if found.shape != expected.shape:
        raise Seen(f"{what} of shape {found.shape}, where {expected.shape} is expected")
    if expected.dtype.kind == "f":
        finite = np.abs(expected[np.isfinite(expected)])
        agree = np.isclose(found, expected, rtol=0, atol=tolerance * max(1.0, finite.max(initial=0)), equal_nan=True)
    else:
        agree = found == expected
    if not agree.all():
        at = tuple(int(i) for i in np.argwhere(~agree)[0])
        raise Seen(
            f"{what} is {_shown(found[at])} at {list(at)}, where {_shown(expected[at])} is expected; {int((~agree).sum())} of "
            f"{agree.size} values differ"
        )


def _shown(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float | np.floating) else str(value)


# ---- settings


def settings_are_frozen(thing: Any) -> str | None:
    """Settings of any noun: a frozen dataclass that is equal to its copies, and that its repr and a pickle give again."""
    if not dataclasses.is_dataclass(thing) or isinstance(thing, type):
        return f"{type(thing).__name__} is no dataclass"
    if not type(thing).__dataclass_params__.frozen:  # type: ignore[attr-defined]
        raise Seen(f"{type(thing).__name__} is a dataclass whose settings can be changed")
    if copy.deepcopy(thing) != thing:
        raise Seen(f"a copy of {thing!r} is not equal to it")
    classes = {type(v).__name__: type(v) for v in _held(thing)}
    found = not any("<locals>" in c.__qualname__ for c in classes.values())  # a pickle knows a class by where it lies
    if found and pickle.loads(pickle.dumps(thing)) != thing:
        raise Seen(f"what is pickled and read again is not equal to {thing!r}")
    if any(not (dataclasses.is_dataclass(v) or isinstance(v, _PLAIN)) for v in _held(thing)):
        if repr(copy.deepcopy(thing)) != repr(thing):  # data stand for themselves, by a sum of what they hold
            raise Seen(f"a copy of {thing!r} prints otherwise")
        return None
    text = repr(thing)
    for c in classes.values():  # of one that a function defines, the name alone
        text = text.replace(c.__qualname__, c.__name__)
    if (again := eval(text, classes)) != thing:  # plain settings, written by themselves
        raise Seen(f"its repr {thing!r} stands for {again!r}, with other settings")
    return None


_PLAIN = (int, float, str, bool, type(None), tuple, list, dict)


def _held(thing: Any) -> list[Any]:
    """A setting and all that it holds; fields that neither equality nor the repr look at are none."""
    inner: list[Any] = []
    if dataclasses.is_dataclass(thing):
        inner = [getattr(thing, f.name) for f in dataclasses.fields(thing) if f.compare]
    elif isinstance(thing, tuple | list):
        inner = list(thing)
    elif isinstance(thing, dict):
        inner = [*thing, *thing.values()]
    return [thing, *(v for part in inner for v in _held(part))]
