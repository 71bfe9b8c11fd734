"""The keyword arguments that every call shares, written down once: their names, types and defaults."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ForwardRef, TypedDict, TypeVar

F = TypeVar("F", bound=Callable[..., Any])


class CallSettings(TypedDict, total=False):
    """What a call on a model and its input takes; the parameters of :func:`tsattr.explain` say what they mean."""

    target: Any
    outputs: Any
    dims: Sequence[str] | None
    sample_dim: str | None
    valid: Any
    context: Mapping[str, Any] | None
    reference: Any
    missing: str | None
    batch_size: int | str
    device: Any
    autocast: Any
    evaluation: str | None
    check: bool
    seed: int | Sequence[int]
    progress: bool | Callable[[int, int], None]


DEFAULTS: dict[str, Any] = {
    **dict.fromkeys(CallSettings.__annotations__),
    **{"batch_size": "auto", "check": True, "seed": 0, "progress": False},
}


def shown(kind: type, defaults: Mapping[str, Any]) -> Callable[[F], F]:
    """Make ``help(f)`` and editors show each keyword of ``f(..., **settings: Unpack[kind])`` with its type and default."""

    def changed(f: F) -> F:
        own = inspect.signature(f)
        keywords = [
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=defaults[name], annotation=_written(hint))
            for name, hint in kind.__annotations__.items()
        ]
        plain = [p for p in own.parameters.values() if p.kind is not inspect.Parameter.VAR_KEYWORD]
        f.__signature__ = own.replace(parameters=[*plain, *keywords])  # type: ignore[attr-defined]
        return f

    return changed


def _written(hint: Any) -> Any:
    """An annotation of a TypedDict as it is written in the source, as other parameters show theirs."""
    return hint.__forward_arg__ if isinstance(hint, ForwardRef) else hint


def filled(name: str, given: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """All settings of a call of the function `name`; TypeError for one that it does not have."""
    if unknown := [k for k in given if k not in defaults]:
        raise TypeError(f"{name}() got an unexpected keyword argument {unknown[0]!r}; it takes {', '.join(defaults)}")
    return {**defaults, **given}
