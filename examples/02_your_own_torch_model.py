"""Any torch model over any labelled array: dims in any order, targets by name, several at once, recurrent nets too."""

import numpy as np
import torch
import xarray as xr
from torch import nn

import tsattr as ta


class VitalsNet(nn.Module):
    """A GRU over (rows, time, vital): the risk at each hour, for two outcomes."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.GRU(3, 16, batch_first=True)
        self.head = nn.Linear(16, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.rnn(x)[0])  # (rows, time, outcome)


torch.manual_seed(0)
model = VitalsNet()
x = xr.DataArray(
    np.random.default_rng(0).normal(size=(4, 24, 3)).astype("float32"),
    dims=("patient", "time", "vital"),
    coords={
        "patient": ["a", "b", "c", "d"],
        "time": ("time", np.arange(24.0), {"units": "h"}),
        "vital": ["hr", "map", "spo2"],
    },
)
outputs = {"time": x.time, "outcome": ["sepsis", "death"]}
last = [ta.targets.Output(time=-1, outcome=name) for name in outputs["outcome"]]

# What is explained, before anything is computed:
cost = ta.explain(model, x, ta.IntegratedGradients(), sample_dim="patient", target=last, outputs=outputs, dry_run=True)
print(f"between {int(cost.model_evaluations_least.sum())} and {int(cost.model_evaluations.sum())} model rows")

ds = ta.explain(model, x, ta.IntegratedGradients(), sample_dim="patient", target=last, outputs=outputs)
print(ds)
print("by vital:", ds.attribution.sum("time").sel(patient="b").to_pandas().round(4), sep="\n")

# The same question by removal: the last value held for six hours, one vital at a time.
occlusion = ta.Occlusion(ta.groups.Windows(time="6h", vital=1), baseline=ta.baselines.Hold())
removed = ta.explain(model, x, occlusion, sample_dim="patient", target=last[0], outputs=outputs)
print(removed.group_value.sel(patient="b").to_series().abs().nlargest(3).round(4).to_string())

# Half a day's mean risk instead of one hour's:
mean = ta.targets.Region(time=(12.0, 23.0), outcome="sepsis")
print(
    "mean risk explained:",
    ta.explain(
        model, x, ta.InputXGradient(), sample_dim="patient", target=mean, outputs=outputs
    ).prediction.values.round(3),
)
