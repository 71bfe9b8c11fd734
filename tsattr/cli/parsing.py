"""Objects written as text: ``Blur(time='50ms')``, known names and literal values, nothing evaluated."""

from __future__ import annotations

import ast
import dataclasses
import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from ..core.baselines.fills import Baseline
from ..core.bound import classes_of
from ..core.groups.masks import Groups
from ..core.targets.each import Each
from ..core.targets.entries import Entry
from ..core.targets.outputs import Target
from ..public import METHODS


def _written(base: Any, *first: str) -> dict[str, Any]:
    """What can be written on the command line, by name: the usual ones `first`, the others in the order of the alphabet."""
    known = {name: c for name, c in classes_of(base).items() if c.on_command_line}
    return {name: known[name] for name in first} | known


BASELINES = _written(Baseline, "Constant", "Mean", "Blur", "Samples")
TARGETS = _written(Target, "Region", "Output", "Probability")
TARGETS["Each"] = Each
TARGETS |= {f"{name}.at": c.at for name, c in TARGETS.items() if issubclass(c, Entry)}
GROUPS = _written(Groups, "Cells", "Windows")


class UsageError(ValueError):
    """Wrong usage: one paragraph on stderr and exit code 2."""


def named(texts: Sequence[str], option: str) -> dict[str, str]:
    """Objects as text by name: ``name=Object(...)``, or the text itself where it gives no name.

    >>> named(["IG=IntegratedGradients()", "Occlusion(draws=2)"], "--method")
    {'IG': 'IntegratedGradients()', 'Occlusion(draws=2)': 'Occlusion(draws=2)'}
    """
    found: dict[str, str] = {}
    for text in texts:
        name, equals, rest = text.partition("=")
        if not equals or name.count("(") != name.count(")"):  # an equals sign inside the brackets of a call
            name, rest = text, text
        name = name.strip()
        if not name or name in found:
            raise UsageError(f"every {option} has a name of its own, as in NAME={rest.strip()}; got {text!r}")
        found[name] = rest.strip()
    return found


def object_of(
    text: str,
    known: Mapping[str, Any],
    option: str,
    reference: Any = None,
    default: Mapping[str, Any] | None = None,
    **more: Any,
) -> Any:
    """The object that ``Name(key=value, ...)`` stands for; nothing is evaluated.

    Names are from `known`, values are literals, or methods, baselines, groups and targets written in the same way. `more` are settings made
    elsewhere, `default` those for what the text leaves open, where the object must be given such a setting.

    >>> object_of("Blur(time='50ms')", BASELINES, "--baseline")
    Blur(time='50ms')
    """
    name, call = _call(text, option)
    values = [_value(a, option, reference) for a in call.args]
    settings = {str(k.arg): _kind_of_each(name, k) or _value(k.value, option, reference) for k in call.keywords}
    if name not in known:
        raise UsageError(f"{option} knows {', '.join(known)}; got {name!r}")
    kind = known[name]
    if hasattr(kind, "fit") and not values and _required(kind) and not set(settings) & {"low", "high"}:
        if reference is None:
            raise UsageError(
                f"{option} {name} is fitted to data: name a file of training-like samples with --reference"
            )
        if hasattr(reference, "data_vars"):
            return {str(v): kind.fit(reference[v], **settings) for v in reference.data_vars}
        return kind.fit(reference, **settings)
    try:
        given = inspect.signature(kind).bind_partial(*values, **settings, **more).arguments
        open_ = {k: v for k, v in (default or {}).items() if k in _required(kind) and k not in given}
        return kind(*values, **settings, **more, **open_)
    except TypeError as error:
        raise UsageError(f"{option} {text!r}: {str(error).replace('.__init__()', '')}") from error


def _required(kind: type) -> set[str]:
    return {f.name for f in dataclasses.fields(kind) if f.default is f.default_factory is dataclasses.MISSING}


def _call(text: str, option: str) -> tuple[str, ast.Call]:
    """The name of what is called, and the call; a name alone stands for a call without arguments."""
    try:
        node = ast.parse(text.strip(), mode="eval").body
        call = node if isinstance(node, ast.Call) else ast.Call(node, [], [])
        if isinstance(call.func, ast.Name | ast.Attribute):
            return ast.unparse(call.func), call
    except (SyntaxError, ValueError):
        pass
    raise UsageError(
        f"{option} is a name with plain values, such as Constant(0.0) or \"Blur(time='50ms')\"; got {text!r}"
    )


def _kind_of_each(name: str, keyword: ast.keyword) -> type[Entry] | None:
    """The class of targets that ``Each(..., target=Probability)`` makes one of at each place; brackets make it one target."""
    kind = TARGETS.get(ast.unparse(keyword.value)) if isinstance(keyword.value, ast.Name) else None
    return kind if name == "Each" and keyword.arg == "target" and kind is not None and issubclass(kind, Entry) else None


def _value(node: ast.expr, option: str, reference: Any) -> Any:
    """A literal, or a method, baseline, group or target."""
    inner, text = METHODS | BASELINES | GROUPS | TARGETS, ast.unparse(node)
    if isinstance(node, ast.Name | ast.Call) and text.split("(")[0] in inner:
        return object_of(text, inner, option, reference)
    try:
        return ast.literal_eval(node)
    except ValueError:
        raise UsageError(
            f"{option} takes plain values and the methods, baselines, groups and targets {', '.join(inner)}; got {text!r}"
        ) from None
