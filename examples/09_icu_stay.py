"""An ICU stay: which vital sign moved the risk, and how much later? WinIT over hourly data with a small GRU.

The stays are simulated, so that the answer is known: low blood pressure raises the risk three hours later and for good, a fast
heart beat at once. With PhysioNet 2012 in TSATTR_DATA, `examples/studies/icu_mortality.py` does it on real ones.
"""

import numpy as np
import torch
import xarray as xr
from torch import nn

import tsattr as ta

HOURS, DELAY = 36, 3
NAMES, UNITS = ["heart rate", "mean arterial pressure", "temperature", "lactate"], ["bpm", "mmHg", "°C", "mmol/L"]
USUAL, SPREAD = np.array([85.0, 80.0, 37.0, 1.5]), np.array([12.0, 9.0, 0.5, 0.5])

# 600 stays: slow wandering about the usual values, and in half of them one fall of blood pressure for four hours.
rng = np.random.default_rng(0)
z = np.zeros((600, 4, HOURS))
for t in range(1, HOURS):
    z[:, :, t] = 0.85 * z[:, :, t - 1] + rng.normal(0, 0.45, (600, 4))
start = np.where(rng.random(600) < 0.5, rng.integers(6, HOURS - 8, 600), HOURS)
time = np.arange(HOURS)
low = (time >= start[:, None]) & (time < start[:, None] + 4)
z[:, 1] -= 3.5 * low
shocked = time >= start[:, None] + DELAY
logit = -3 + 4 * shocked + 1.2 * np.maximum(z[:, 0], 0)
died = (rng.random(logit.shape) < 1 / (1 + np.exp(-logit))).astype(np.float32)

x = xr.DataArray(
    (z * SPREAD[:, None] + USUAL[:, None]).astype(np.float32),
    dims=("sample", "vital", "time"),
    coords={"vital": NAMES, "time": ("time", time.astype(float), {"units": "h"}), "units": ("vital", UNITS)},
)


class Risk(nn.Module):
    """A GRU that gives the logit of the risk at every hour from the past alone."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("usual", torch.tensor(USUAL, dtype=torch.float32))
        self.register_buffer("spread", torch.tensor(SPREAD, dtype=torch.float32))
        self.rnn, self.head = nn.GRU(4, 24, batch_first=True), nn.Linear(24, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.rnn((x.transpose(1, 2) - self.usual) / self.spread)[0])[..., 0]


torch.manual_seed(0)
net = Risk()
optimiser = torch.optim.Adam(net.parameters(), lr=1e-2)
rows, labels = torch.as_tensor(x.values[:500]), torch.as_tensor(died[:500])
for _ in range(25):
    for at in torch.randperm(500).split(100):
        optimiser.zero_grad()
        nn.functional.binary_cross_entropy_with_logits(net(rows[at]), labels[at]).backward()
        optimiser.step()

# What would have come instead of the lost past: a learnt forecast from all that was known before.
forecast = ta.baselines.Generator.fit(x[:500], horizon=8, hidden=16, epochs=15)
print("calibration on stays that were not trained on:", forecast.calibration(x[500:]), sep="\n")

stay = x[500:].isel(sample=[int(np.flatnonzero((start[500:] > 8) & (start[500:] < 20))[0])])
ds = ta.explain(net, stay, ta.WinIT("8h", forecast, draws=10), outputs=("time",))
print(f"\nread by: {ds.attrs['reading']}; {int(ds.model_steps[0])} time steps asked of the model")
by_vital = ds.attribution.sum(("time", "lag")).isel(sample=0)
print(by_vital.to_series().round(2).to_string())
pressure = ds.attribution.sel(vital="mean arterial pressure").isel(sample=0).sum("time")
print("\nshift of the risk by how long ago the pressure was measured:")
print(pressure.to_series().round(2).to_string())

risk = ds.output_over_time  # the probability at each hour; the signed shift says which way each measurement moved it
ta.plot.lags(ds.signed_shift, stay, output=risk, title="What moved the risk, and how much later").savefig(
    "icu_stay.png"
)
