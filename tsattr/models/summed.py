"""Models that are asked with the sum of an input's parts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .ensembles import Ensemble


@dataclass(frozen=True)
class Summed:
    """A model of sums over a dim; see :func:`summed`."""

    model: Any
    dim: str


def summed(model: Any, dim: str = "part") -> Any:
    """A model that is given the sum of its input over a dim: ``g(x) = f(sum_p x_p)``, to explain the parts of a signal.

    With an input that is a sum of parts (`tsattr.parts`), every method, baseline and group explains the parts: which band,
    harmonic, season or mode, and where in it. Of several variables those that have the dim are summed.

    Parameters
    ----------
    model
        Any model that `tsattr.explain` takes, as it takes the whole signal; of an `Ensemble` each member.
    dim
        The dim of the parts.

    Raises
    ------
    KeyError
        In the call, where no variable of the input has the dim.

    Examples
    --------
    >>> import numpy as np, xarray as xr, tsattr as ta
    >>> x = xr.DataArray([[[1.0, 2.0], [10.0, 20.0]]], dims=("sample", "part", "time"), coords={"part": ["slow", "fast"]})
    >>> model = ta.models.summed(lambda x: x[:, 1] ** 2)
    >>> ds = ta.explain(model, x, ta.ShapleySampling(ta.groups.Along("part"), draws=2))
    >>> ds.group_value.values.tolist()  # 22 ** 2, divided
    [[44.0, 440.0]]
    """
    if isinstance(model, Ensemble):
        members: Mapping[str, Any] = {n: summed(m, dim) for n, m in zip(model.names, model.members)}
        return Ensemble(members)
    return Summed(model, dim)
