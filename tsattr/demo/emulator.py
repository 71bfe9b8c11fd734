"""A small encoder-decoder that forecasts fields, its training and its skill."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor, nn

from ..climate import area_weights
from .ocean import EFOLDING, LAGS
from .training import fit


class DenseBlock(nn.Module):
    """Densely connected convolutions: each takes the outputs of all before it. Huang et al., CVPR 2017."""

    def __init__(self, channels: int, layers: int, growth: int = 12) -> None:
        super().__init__()
        widths = [channels + k * growth for k in range(layers)]
        self.layers = nn.ModuleList(
            nn.Sequential(nn.BatchNorm2d(w), nn.ReLU(), nn.Conv2d(w, growth, 3, padding=1)) for w in widths
        )
        self.channels = channels + layers * growth

    def forward(self, x: Tensor) -> Tensor:
        """Return (rows, channels, lat, lon), with `x` the first of the channels."""
        for layer in self.layers:
            x = torch.cat([x, layer(x)], 1)
        return x


class SmallEmulator(nn.Module):
    """A dense encoder-decoder: (rows, lag, lat, lon) to (rows, lead, lat, lon). Missing cells (land) are read as 0."""

    def __init__(self, lags: int = LAGS, leads: int = len(EFOLDING), width: int = 24) -> None:
        super().__init__()
        self.stem = nn.Conv2d(lags, width, 3, padding=1)
        self.encoder = DenseBlock(width, 2)
        inner = self.encoder.channels
        self.down = nn.Sequential(nn.BatchNorm2d(inner), nn.ReLU(), nn.Conv2d(inner, width, 1), nn.AvgPool2d(2))
        self.middle = DenseBlock(width, 3)
        self.up = nn.ConvTranspose2d(self.middle.channels, width, 2, 2)
        self.decoder = DenseBlock(width + inner, 2)
        self.head = nn.Conv2d(self.decoder.channels, leads, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return forecasts (rows, lead, lat, lon)."""
        fine = self.encoder(self.stem(torch.nan_to_num(x)))
        coarse = self.middle(self.down(fine))
        fields: Tensor = self.head(self.decoder(torch.cat([self.up(coarse), fine], 1)))
        return fields


def train(
    model: nn.Module, x: xr.DataArray, y: xr.DataArray, *, epochs: int, seed: int = 0, batch_size: int = 16
) -> None:
    """Fit to the cells of the ocean by squared error, each lead in units of its own variance; see `training.fit`."""
    sea = torch.as_tensor(y[0].notnull().all("lead").values)
    rows, later = torch.tensor(x.values), torch.tensor(y.values)[..., sea]
    later_sd = later.std((0, 2), keepdim=True)

    def loss(part: Any) -> Tensor:
        error: Tensor = (model(rows[part])[..., sea] - later[part]) / later_sd
        return (error**2).mean()

    # Strong weight decay: otherwise months without influence keep their initial weights, whose small importance adds up.
    fit(model, loss, len(rows), epochs=epochs, batch_size=batch_size, decay=0.5, seed=seed)


def forecast(model: nn.Module, x: xr.DataArray, like: xr.DataArray, batch_size: int = 64) -> xr.DataArray:
    """Return the model's forecasts of `x`, labelled as `like`."""
    with torch.no_grad():
        parts = [model(torch.tensor(x[i : i + batch_size].values)) for i in range(0, len(x), batch_size)]
    return like.copy(data=torch.cat(parts).numpy()).where(like.notnull())


def persistence(x: xr.DataArray, y: xr.DataArray, later: xr.DataArray) -> xr.DataArray:
    """The last month of `later` times the regression of y on the last month of x, one number for each lead."""
    last = x.isel(lag=-1, drop=True)
    slope = (last * y).mean(["sample", "lat", "lon"]) / (last**2).mean()
    return (later.isel(lag=-1, drop=True) * slope).transpose(*y.dims)


def skill(found: xr.DataArray, y: xr.DataArray) -> xr.Dataset:
    """Anomaly correlation and root mean square error of the fields of each lead, cells weighted by their area."""
    weights = area_weights(y)
    error = ((found - y) ** 2).weighted(weights).mean(["sample", "lat", "lon"])
    acc = xr.corr(found, y, ["sample", "lat", "lon"], weights=weights)
    return xr.Dataset({"acc": acc, "rmse": np.sqrt(error)})
