"""Emulators as models of physical fields: with the normalisation inside the model, and of a forecast's errors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
import xarray as xr
from torch import Tensor, nn

from ..core.arrays import Array
from ..labels import parsing
from ..labels.inputs import Variable


def normalised(
    model: Callable[..., Any],
    x: xr.DataArray | xr.Dataset,
    mean: Any,
    std: Any,
    *,
    fill: float | None = None,
    sample_dim: str = "sample",
) -> nn.Module:
    """The model of physical fields behind one that was trained on normalised ones: ``x -> model((x - mean) / std)``.

    Then inputs, baselines and attributions are all in physical terms, and a baseline passes through the same normaliser as
    the input does.

    Parameters
    ----------
    model
        A torch module, or a callable on tensors.
    x
        An input of it, for the order of its dims: a DataArray, or a Dataset of several variables.
    mean, std
        In the units of `x`: DataArrays over some of its dims, matched by label, or numbers. For a Dataset one for each
        variable, in a Dataset or a mapping.
    fill
        What a missing cell becomes after normalising (0: the mean), as the model was trained with; None leaves NaN.
    sample_dim
        The dim that holds the samples.

    Raises
    ------
    KeyError, ValueError
        Labels that do not fit, statistics that vary by sample, a standard deviation that is not above 0.

    Examples
    --------
    >>> import numpy as np, tsattr as ta
    >>> x = xr.DataArray([[14.0, np.nan]], dims=("sample", "lat"), coords={"lat": [0.0, 2.0]})
    >>> physical = normalised(lambda z: z.sum(1), x, mean=10.0, std=2.0, fill=0.0)
    >>> ta.explain(physical, x, ta.Occlusion(ta.groups.Cells(), ta.baselines.Constant(12.0))).attribution.values.tolist()
    [[1.0, nan]]
    """
    statistics = {}
    for v in parsing.read(x, None, sample_dim, None).variables:
        at, scale = (_aligned(_of_variable(s, v, name), v, name) for name, s in (("mean", mean), ("std", std)))
        if (flat := int((scale <= 0).sum())) > 0:
            raise ValueError(
                f"std{v.suffix} is not above 0 in {flat} cells; give std.where(std > 0) to make them missing"
            )
        statistics[v.name] = at, scale
    return _Normalised(model, statistics, fill)


def _of_variable(value: Any, variable: Variable, name: str) -> Any:
    """The entry of one variable of a Dataset's statistic; the statistic itself of a DataArray."""
    if variable.name is None:
        return value
    if not isinstance(value, Mapping) or variable.name not in value:
        raise KeyError(f"{name} has none for variable {variable.name!r}; give one for each, in a Dataset or a mapping")
    return value[variable.name]


def _aligned(value: Any, variable: Variable, name: str) -> Tensor:
    """A statistic (1, *event) over the dims of one variable."""
    v = variable.axes.align(Array.of(value), name + variable.suffix)
    if len(v) > 1:
        raise ValueError(
            f"{name}{variable.suffix} varies along {variable.axes.sample_dim!r}; a normaliser is the same for all samples"
        )
    return torch.as_tensor(v.astype(variable.array.dtype))


class _Normalised(nn.Module):
    def __init__(
        self, model: Callable[..., Any], statistics: dict[str | None, tuple[Tensor, Tensor]], fill: float | None
    ) -> None:
        super().__init__()
        self.model, self.fill = model, fill
        self.number = {name: i for i, name in enumerate(statistics)}
        for i, (mean, std) in enumerate(statistics.values()):
            self.register_buffer(f"mean_{i}", mean)
            self.register_buffer(f"std_{i}", std)

    def forward(self, *rows: Tensor, **named: Tensor) -> Any:
        scaled = {k: self._scaled(v, k) if k in self.number else v for k, v in named.items()}
        return self.model(*(self._scaled(v, None) for v in rows), **scaled)

    def _scaled(self, x: Tensor, name: str | None) -> Tensor:
        i = self.number[name]
        z = (x - self.get_buffer(f"mean_{i}")) / self.get_buffer(f"std_{i}")
        return z if self.fill is None else torch.where(torch.isnan(z), self.fill, z)


def errors(model: Callable[..., Any]) -> nn.Module:
    """The model of a forecast's errors: ``(x, truth) -> model(x) - truth``, for explaining the skill of each sample.

    Give the truth as context, in the order of the model's outputs, and what is asked of the errors as the target: the sample's
    own loss ``ta.targets.RootMeanSquare(weights)``, its bias ``ta.targets.Region(weights)``. Truth that is missing (land)
    needs a weight of 0.

    Examples
    --------
    >>> import numpy as np, tsattr as ta
    >>> x = xr.DataArray([[1.0, 2.0], [3.0, 4.0]], dims=("sample", "lat"), coords={"lat": [0.0, 60.0]})
    >>> truth = xr.DataArray([[1.0, 0.0], [0.0, 4.0]], dims=("sample", "lat"))
    >>> loss = ta.targets.RootMeanSquare(np.array([1.0, 1.0]))
    >>> ds = ta.explain(errors(lambda x: x), x, ta.Saliency(), target=loss, context={"truth": truth}, outputs=("lat",))
    >>> (ds.prediction**2).values.round(9).tolist()
    [2.0, 4.5]
    """
    return _Errors(model)


class _Errors(nn.Module):
    def __init__(self, model: Callable[..., Any]) -> None:
        super().__init__()
        self.model = model

    def forward(self, *args: Tensor, truth: Tensor, **context: Tensor) -> Tensor:
        y: Tensor = self.model(*args, **context)
        if y.shape != truth.shape:
            raise ValueError(
                f"the truth has shape {tuple(truth.shape)}, the forecast {tuple(y.shape)}; give the same dims in the same order"
            )
        return y - truth
