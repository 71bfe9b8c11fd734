"""Several inputs explained jointly: an ECG and the patient's age and sex, each with a baseline and groups of its own."""

import numpy as np
import torch
import xarray as xr
from torch import nn

import tsattr as ta


class Joint(nn.Module):
    """Called with one tensor a variable, by keyword."""

    def __init__(self) -> None:
        super().__init__()
        self.wave = nn.Sequential(nn.Conv1d(12, 8, 9, 4), nn.Tanh(), nn.AdaptiveAvgPool1d(1), nn.Flatten())
        self.head = nn.Sequential(nn.Linear(10, 16), nn.Tanh(), nn.Linear(16, 1))

    def forward(self, ecg: torch.Tensor, person: torch.Tensor) -> torch.Tensor:
        return self.head(torch.cat([self.wave(ecg), person / 50], 1))


torch.manual_seed(0)
sim = ta.datasets.simulate_ecg(6, seed=3)
rng = np.random.default_rng(0)
person = xr.DataArray(
    np.stack([rng.uniform(30, 80, 6), rng.integers(0, 2, 6)], 1).astype("float32"),
    dims=("sample", "feature"),
    coords={"sample": sim.sample, "feature": ["age", "male"]},
)
x = xr.Dataset({"ecg": sim.ecg, "person": person})

baseline = {"ecg": ta.baselines.Constant(0.0), "person": ta.baselines.Constant({"age": 55.0, "male": 0.0})}
ds = ta.explain(Joint(), x, ta.IntegratedGradients(baseline))
shares = xr.Dataset({"ecg": ds.attribution_ecg.sum(["lead", "time"]), "person": ds.attribution_person.sum("feature")})
print(shares.to_dataframe().round(4))
total = shares.ecg + shares.person
print("sums to the difference from the baseline:", bool(np.allclose(total, ds.prediction - ds.reference, atol=1e-3)))

groups = {"ecg": ta.groups.Along("lead"), "person": ta.groups.Cells()}
removed = ta.explain(Joint(), x, ta.Occlusion(groups, baseline))
print(removed.group_value.isel(sample=0).to_series().abs().nlargest(4).round(4).to_string())
