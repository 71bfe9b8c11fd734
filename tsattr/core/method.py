"""What a method is: frozen settings with one verb, every attribute that the rest of the package may ask it for, and its register."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Self

from torch import Tensor, nn

from .axes import Axes
from .bound import classes_of
from .results import EVENT, Field, check_flag
from .samples import SampleChunk

KINDS = ("groups", "baseline", "noise", "method", "draws")
_GIVE = {
    "__call__": "def __call__(self, samples) -> dict[str, Field], which explains some samples",
    "gradient": "gradient: ClassVar[bool], True if it needs the model's gradients",
    "rows": "def rows(self) -> tuple[int, int], the fewest and the most rows that it asks of the model for each sample",
}


class OverBudget(ValueError):
    """A method that has no setting by which it could keep to a budget of rows."""


class Method(ABC):
    """Frozen settings and one verb. A method is a frozen dataclass derived from this, in a file of its own.

    ``gradient``, :meth:`__call__` and :meth:`rows` are its own; all else has a default that is right for most. An attribute
    that is a property here may be a ``ClassVar`` of the method.

    Batches, memory, devices, random draws, missing cells and labels are not its business: it asks ``samples.without`` about
    removals, ``samples.values`` or ``samples.gradients`` at a flat list of rows of its own. What befell a sample it tells
    ``samples.record_state``; rows of no sample ``samples.engine.count_trial``.
    """

    __dataclass_fields__: ClassVar[dict[str, Any]]

    binds: ClassVar[Mapping[str, str]] = {}
    """Which settings become plain arrays before a call, by field, and as what.

    "groups": an object of `tsattr.groups`; "baseline": one of `tsattr.baselines`; "noise": a baseline that draws round the
    input, or a number, the standard deviation as a share of the sample's range; "method": another method; "draws": the
    number of draws, where None is as many as the baseline has to give. Of two fields of a kind the first speaks for the method.
    """

    effort: ClassVar[tuple[str, ...]] = ()
    """The settings that :meth:`within` changes: numbers of steps, draws or the like."""

    sentence: ClassVar[str] = ""
    """What the method does, in a plain sentence for reports."""

    note: ClassVar[str] = ""
    """What can and cannot be concluded from its map, in plain sentences for reports."""

    def __new__(cls, *args: Any, **settings: Any) -> Self:
        """A new method, of a class that is one."""
        _check_class(cls)
        return super().__new__(cls)

    @property
    @abstractmethod
    def gradient(self) -> bool:
        """True if it needs the model's gradients."""

    @property
    def needs_smoothness(self) -> bool:
        """True if it asks ``samples.engine.smooth``: whether the model's autograd graph has no kink."""
        return False

    @property
    def arrays(self) -> int:
        """Arrays of a sample's size that it holds in memory at once."""
        return 1

    @property
    def in_target_units(self) -> bool:
        """True if its attributions are parts of the target, in its units."""
        return False

    @property
    def of_target(self) -> bool:
        """False if its map is the network's own, the same whatever the target."""
        return True

    @property
    def along(self) -> str | None:
        """The dim whose output axis, where there is one, it tells apart itself: its targets are of one entry of it."""
        return None

    @property
    def implied_baseline(self) -> Any:
        """The baseline that it stands for without having one as a setting."""
        return None

    @property
    def caution(self) -> str | None:
        """What every call warns of."""
        return None

    @property
    def default_target(self) -> Any:
        """The target where the user names none; None: as :func:`tsattr.explain` says."""
        return None

    @property
    def extra_rows(self) -> int:
        """The most rows of no sample that it asks of the model for each chunk of samples."""
        return 0

    @abstractmethod
    def __call__(self, samples: SampleChunk) -> dict[str, Field]:
        """Explain some samples. The keys are the result's variables, "attribution" among them."""

    @abstractmethod
    def rows(self) -> tuple[int, int]:
        """The fewest and the most rows it asks of the model for each sample, the intact one included; its groups are bound."""

    def work(self) -> tuple[float, float]:
        """The fewest and the most work for each sample, in forward passes of the model; its groups are bound."""
        return self.rows()

    def within(self, rows: int) -> Self:
        """The method, bound, with its `effort` set to what `rows` rows a sample allow; OverBudget where nothing can be set."""
        most = self.rows()[1]
        if most > rows:
            raise OverBudget(
                f"{type(self).__name__} takes up to {most} rows a sample, which none of its settings makes fewer, where {rows} are "
                "allowed; give more rows, or larger groups where it has groups"
            )
        return self

    def prepared(self, module: nn.Module | None, axes: Sequence[Axes]) -> Self:
        """The method with what it must know of the model and of the axes of each variable; it may refuse them."""
        return self

    def coordinates(self) -> dict[str, Any]:
        """Coordinates of the dims that it adds to the result, as xarray takes them; it is bound."""
        return {}

    def bind(self, to: Callable[[Any, str], Any]) -> Self:
        """The method with its `binds` as plain arrays.

        ``to(setting, kind)`` makes them such, "noise" as a baseline; ``to(baseline, "draws")`` is how many draws it has to give.
        """
        changes: dict[str, Any] = {}
        for name, kind in self.binds.items():
            value = getattr(self, name)
            if kind == "method":
                changes[name] = value.bind(to)
            elif kind != "draws":
                changes[name] = to(value, kind)
            elif value is None:
                changes[name] = to(self.setting("baseline"), "draws")
        return dataclasses.replace(self, **changes)

    def with_effort_of(self, other: Self) -> Self:
        """The method with the effort of another of its class, also of a method inside."""
        changes = {name: getattr(other, name) for name in self.effort}
        for name, kind in self.binds.items():
            if kind == "method":
                changes[name] = getattr(self, name).with_effort_of(getattr(other, name))
        return dataclasses.replace(self, **changes)

    def has(self, kind: str) -> bool:
        """True if a setting is bound as `kind`."""
        return kind in self.binds.values()

    def setting(self, kind: str) -> Any:
        """The first setting bound as `kind`; None where there is none."""
        return next((getattr(self, name) for name, k in self.binds.items() if k == kind), None)

    def settings(self, kind: str) -> list[Any]:
        """All settings bound as `kind`, those of a method inside after its own."""
        own = [getattr(self, name) for name, k in self.binds.items() if k == kind]
        return own + [value for method in self.inner() for value in method.settings(kind)]

    def baselines(self) -> list[Any]:
        """All that it puts in place of cells: baselines and noise among its settings, the implied one, and those of methods inside."""
        own = [getattr(self, name) for name, kind in self.binds.items() if kind in ("baseline", "noise")]
        own = [baseline for baseline in (*own, self.implied_baseline) if baseline is not None]
        return own + [baseline for method in self.inner() for baseline in method.baselines()]

    def inner(self) -> list[Method]:
        """The methods that are settings of this one."""
        return [getattr(self, name) for name, kind in self.binds.items() if kind == "method"]

    def with_settings(self, change: Callable[[Any, str], Any]) -> Self:
        """The method with ``change(setting, kind)`` in place of each of its `binds`; a method inside changes its own."""
        changes = {}
        for name, kind in self.binds.items():
            value = getattr(self, name)
            changes[name] = value.with_settings(change) if kind == "method" else change(value, kind)
        return dataclasses.replace(self, **changes)

    def with_setting(self, kind: str, value: Any) -> Self:
        """The method with another value of the first setting bound as `kind`."""
        name = next(name for name, k in self.binds.items() if k == kind)
        return dataclasses.replace(self, **{name: value})


def _check_class(cls: type[Method]) -> None:
    """TypeError for a class that is no method yet, with what it lacks."""
    name = cls.__name__
    if lacking := sorted(cls.__abstractmethods__):
        raise TypeError(f"{name} is no method yet: give it {'; '.join(_GIVE.get(k, k) for k in lacking)}")
    if "__dataclass_params__" not in vars(cls):
        raise TypeError(f"{name} is no dataclass: write @dataclass(frozen=True) above class {name}")
    if not vars(cls)["__dataclass_params__"].frozen:
        raise TypeError(f"{name} is a dataclass that can be changed: write @dataclass(frozen=True) above class {name}")
    fields = {f.name for f in dataclasses.fields(cls)}
    for field, kind in cls.binds.items():
        if field not in fields or kind not in KINDS:
            raise TypeError(
                f"{name}.binds says {{{field!r}: {kind!r}}}: it is from its fields, {', '.join(sorted(fields))}, to {', '.join(KINDS)}"
            )
    if unknown := sorted(set(cls.effort) - fields):
        raise TypeError(f"{name}.effort names {unknown[0]!r}; it is of its fields, {', '.join(sorted(fields))}")


def module_of(method: Method, module: nn.Module | None) -> nn.Module:
    """The model's torch module, for a method that looks inside; TypeError where there is none."""
    if module is None:
        raise TypeError(
            f"{type(method).__name__} looks inside a torch module, and the model is a plain callable; give the module "
            "itself, or one whose forward does what the callable does"
        )
    return module


def check_is_method(method: Any) -> None:
    """TypeError for anything but a method, and for one whose switches are not True or False."""
    if isinstance(method, type):
        raise TypeError(f"method is an object with its settings: {method.__name__}(...), not the class")
    if not isinstance(method, Method):
        of_own = f"; derive {type(method).__name__} from tsattr.testing.Method" if callable(method) else ""
        raise TypeError(
            f"method is an object such as IntegratedGradients(...) or Occlusion(...), got {method!r}{of_own}"
        )
    for f in dataclasses.fields(method):
        if f.type in ("bool", bool):
            check_flag(f"{f.name} of {type(method).__name__}", getattr(method, f.name))


def results_of(method: Method, samples: SampleChunk) -> dict[str, Field]:
    """What a bound method finds of some samples; an error where its dims and shapes are not what they must be."""
    found, name = method(samples), type(method).__name__
    if not isinstance(found, dict) or "attribution" not in found:
        got = f"a dict of {list(found)}" if isinstance(found, dict) else f"a {type(found).__name__}"
        raise TypeError(f'{name} returns {got}; it returns {{"attribution": Field(("target", EVENT), values), ...}}')
    groups = method.setting("groups")
    sizes: dict[str, tuple[int, ...]] = {"target": (samples.targets,), EVENT: samples.event}
    if groups is not None:
        sizes["group"] = (len(groups.names),)
    for key, field in found.items():
        _check_field(f"{key!r} of {name}", field, samples.n, sizes)
    if not {"target", EVENT} <= set(found["attribution"].dims):
        raise ValueError(
            f"'attribution' of {name} has the dims {found['attribution'].dims}; a map has ('target', '...') among them, '...' "
            "for the input's own"
        )
    return found


def _check_field(what: str, field: Any, n: int, sizes: Mapping[str, tuple[int, ...]]) -> None:
    """Raise unless `field` is a Field whose values (samples first) have the sizes of its dims; those not in `sizes` are free."""
    if not (isinstance(field, Field) and isinstance(field.values, Tensor)):
        raise TypeError(
            f'{what} is a {type(field).__name__}; it is a Field(("target", EVENT), values), values a tensor'
        )
    expected = [n, *(size for dim in field.dims for size in sizes.get(dim, (-1,)))]
    shape = list(field.values.shape)
    if len(shape) != len(expected) or any(e not in (-1, size) for e, size in zip(expected, shape)):
        shown = ", ".join("any" if e == -1 else str(e) for e in expected)
        raise ValueError(
            f"{what} has values of shape {tuple(shape)}; samples first, dims {field.dims} make it ({shown})"
        )


def registry() -> dict[str, type[Method]]:
    """The package's methods by name; those that others derive are not among them."""
    return classes_of(Method)
