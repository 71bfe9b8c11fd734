"""The laws of methods, and `check_method`, which checks a method on them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import xarray as xr

from ...core.method import Method, check_is_method
from ..cases import example, network
from ..laws import Report

# In the order in which they are checked.
from . import answers, axioms, missing, state  # noqa: F401
from .case import LAWS, MethodCase


def check_method(
    method: Method,
    model: Any = None,
    x: xr.DataArray | None = None,
    *,
    tolerance: float = 1e-12,
    laws: Iterable[str] | None = None,
    exempt: Mapping[str, str] | None = None,
    **settings: Any,
) -> Report:
    """Check that a method keeps the laws that all methods do.

    What it says of a sample depends on the model, the sample, its settings and the seed alone, and on no batch, chunk,
    company, order, thread or dim's place; it asks for no more rows than it says; it leaves the model, the input and the
    global random states as they were, also after an error; what is invalid, not finite or unknown has no map and stops no
    other sample; and what it promises (sums, units, budgets) is so.

    Parameters
    ----------
    method
        An object such as ``Occlusion(...)``.
    model
        A torch module in float64 and eval mode, or a callable on tensors; by default a small network with convolution, batch
        normalisation, ReLU, dropout and max-pooling, which gives three outputs for a sample.
    x
        A labelled example, four samples or more, without missing values; by default signals of shape (4 samples, 3 leads, 12
        times).
    tolerance
        How far values may be off that are computed in another order, as a share of the largest: rounding in float64. An
        iteration that stops at a tolerance of its own needs that one.
    laws
        The names of the laws to check; None for all.
    exempt
        Laws that are not checked, each with the reason, which the report repeats.
    **settings
        Of :func:`tsattr.explain`: `target` (by default 1 of the default model), `outputs`, `sample_dim`, `context`.

    Returns
    -------
    Report
        A mapping from the name of each law to "holds", or to "does not apply: " and why.

    Raises
    ------
    LawBroken
        The first law that does not hold, with what was seen and how it is mended.
    TypeError, ValueError
        What cannot be checked: no method, an `x` without labels, an unknown law.

    Examples
    --------
    >>> import tsattr as ta
    >>> method = ta.Occlusion(ta.groups.Windows(time=4, lead=1))
    >>> report = ta.testing.check_method(method, laws=["batch size changes nothing", "a model that blocks gradients is never ok"])
    >>> print(report)
    batch size changes nothing: holds
    a model that blocks gradients is never ok: does not apply: it needs no gradients, or does not say that its map sums to anything
    """
    check_is_method(method)
    sample_dim = settings.get("sample_dim") or "sample"
    x = example(x, sample_dim, 4)
    if model is None:
        model = network(tuple(n for d, n in x.sizes.items() if d != sample_dim))
        settings = {"target": 1, **settings}
    if not callable(model):  # a module is
        raise TypeError(f"model is a torch module or a callable on tensors, got {type(model).__name__}")
    return LAWS.check(MethodCase(method, model, x, settings, tolerance), laws, exempt)
