"""Objects written as text: ``Blur(time='50ms')``, names that are known here and literal values, nothing evaluated."""

from __future__ import annotations

import ast
from typing import Any

from . import baselines, groups
from .methods import backprop, gradient, occlusion, shapley

METHODS = {
    c.__name__: c
    for c in (
        gradient.IntegratedGradients,
        occlusion.Occlusion,
        gradient.Saliency,
        gradient.InputXGradient,
        gradient.SmoothGrad,
        backprop.GuidedBackprop,
        backprop.GradCAM,
        shapley.ShapleySampling,
        shapley.KernelShap,
    )
}
BASELINES = {
    c.__name__: c
    for c in (
        baselines.Constant,
        baselines.Mean,
        baselines.MaximumDistance,
        baselines.Blur,
        baselines.Uniform,
        baselines.Gaussian,
        baselines.Samples,
        baselines.Mode,
        baselines.Bridge,
        baselines.Hold,
        baselines.Inpaint,
        baselines.BandStop,
        baselines.PhaseRandomised,
        baselines.ConditionalGaussian,
        baselines.AutoRegressive,
        baselines.Climatology,
    )
}
GROUPS = {c.__name__: c for c in (groups.Cells, groups.Windows, groups.Along)}


class UsageError(ValueError):
    """Wrong usage: one paragraph on stderr and exit code 2."""


def object_of(text: str, known: dict[str, Any], option: str, reference: Any = None, **more: Any) -> Any:
    """The object that ``Name(key=value, ...)`` stands for: names from `known`, literal values only, nothing is evaluated."""
    try:
        node = ast.parse(text.strip(), mode="eval").body
        call = node if isinstance(node, ast.Call) else ast.Call(node, [], [])
        if not isinstance(call.func, ast.Name):
            raise ValueError
        name = call.func.id
        args = [ast.literal_eval(a) for a in call.args]
        kwargs = {str(k.arg): ast.literal_eval(k.value) for k in call.keywords}
    except (SyntaxError, ValueError):
        raise UsageError(
            f"{option} is a name with plain values, such as {next(iter(known))}() or \"Blur(time='50ms')\"; got {text!r}"
        ) from None
    if name not in known:
        raise UsageError(f"{option} knows {', '.join(known)}; got {name!r}")
    kind = known[name]
    if hasattr(kind, "fit") and not args and not set(kwargs) & {"low", "high"}:
        if reference is None:
            raise UsageError(
                f"{option} {name} is fitted to data: name a file of training-like samples with --reference"
            )
        return kind.fit(reference, **kwargs)
    try:
        return kind(*args, **kwargs, **more)
    except TypeError as error:
        raise UsageError(f"{option} {text!r}: {str(error).replace('.__init__()', '')}") from error
