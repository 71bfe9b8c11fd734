"""Missing values and series of unequal length: NaN and padding are never perturbed and never counted."""

import numpy as np
import torch
import xarray as xr
from torch import nn

import tsattr as ta


class LastState(nn.Module):
    """A GRU over padded series that reads each one's last real step; missing values enter as 0 with a mask."""

    def __init__(self, vitals: int = 2) -> None:
        super().__init__()
        self.rnn = nn.GRU(2 * vitals, 12, batch_first=True)
        self.head = nn.Linear(12, 1)

    def forward(self, x: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        known = ~torch.isnan(x)
        rows = torch.cat([torch.where(known, x, 0), known.to(x.dtype)], -1)
        packed = nn.utils.rnn.pack_padded_sequence(rows, lengths.cpu(), batch_first=True, enforce_sorted=False)
        return self.head(self.rnn(packed)[1][0])[:, 0]


rng = np.random.default_rng(0)
lengths = np.array([30, 18, 24, 7])
values = rng.normal(size=(4, 30, 2)).astype("float32")
values[rng.random(values.shape) < 0.15] = np.nan  # not measured
x = xr.DataArray(values, dims=("sample", "time", "vital"), coords={"vital": ["hr", "map"]})
real = xr.DataArray(np.arange(30) < lengths[:, None], dims=("sample", "time"))  # no dim "vital": holds for both

torch.manual_seed(0)
model = LastState()
settings = {"valid": real, "context": {"lengths": lengths}}
ig = ta.explain(model, x, ta.IntegratedGradients(ta.baselines.Mean("time")), **settings)
print("completeness error by sample:", ig.completeness_error.values.round(4))
print("cells explained:", ig.attribution.notnull().sum(["time", "vital"]).values, "of", lengths * 2)

# Windows that lie wholly in the padding, or hold nothing but gaps, are not asked for and have no value.
occlusion = ta.explain(model, x, ta.Occlusion(ta.groups.Windows(time=6, vital=1), ta.baselines.Bridge()), **settings)
print("windows with a value:", occlusion.group_value.notnull().sum("group").values)

# What lies in the padding is nobody's business: garbage there changes nothing.
garbage = x.where(real, 1e6)
again = ta.explain(model, garbage, ta.IntegratedGradients(ta.baselines.Mean("time")), **settings)
print("unchanged by garbage in the padding:", bool(np.array_equal(again.attribution, ig.attribution, equal_nan=True)))
