"""Explain raw millivolts, not the filtered and standardised signal: make the preprocessing part of the model.

A baseline is a statement about the raw signal ("0 mV"), and after a z-score that statement is lost. Composed into the
model, filter and z-score are differentiated through like any other layer.
"""

import warnings

import numpy as np
import torch
from scipy.signal import firwin
from torch import nn

import tsattr as ta
from tsattr.demo import SmallECGNet, accuracy, train


class BandPass(nn.Module):
    """A linear-phase FIR band-pass on each lead by itself."""

    def __init__(self, low: float, high: float, sampling_rate: float, taps: int = 101) -> None:
        super().__init__()
        kernel = firwin(taps, [low, high], pass_zero=False, fs=sampling_rate)
        self.register_buffer("kernel", torch.tensor(kernel, dtype=torch.float32)[None, None])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        rows, leads, n = x.shape
        return nn.functional.conv1d(x.reshape(rows * leads, 1, n), self.kernel, padding="same").reshape(x.shape)


class ZScore(nn.Module):
    """Each lead less its mean, over its standard deviation, both of the record itself."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (x - x.mean(-1, keepdim=True)) / (x.std(-1, keepdim=True) + 1e-6)


data = ta.datasets.simulate_ecg(400, lesions=("t_inversion",), seed=2, wander=0.2)
classes = data.label.attrs["flag_meanings"].split()
torch.manual_seed(0)
net = nn.Sequential(BandPass(0.5, 40.0, 100.0), ZScore(), SmallECGNet(classes=2))
train(net, data.ecg.values[:300], data.label.values[:300], epochs=4)
print(f"accuracy on raw millivolts: {accuracy(net, data.ecg.values[300:], data.label.values[300:]):.3f}")

x = data.ecg[301:309:2]
settings = {"target": "t_inversion", "outputs": {"class": classes}}
blurred = ta.IntegratedGradients(ta.baselines.Blur(time="200ms"))
raw = ta.explain(net, x, blurred, **settings)

# The usual way, for comparison: filter first, and explain what is left.
with torch.no_grad():
    prepared = x.copy(data=net[:2](torch.as_tensor(x.values)).numpy())
after = ta.explain(net[2], prepared, blurred, **settings)

truth = data.truth.sel(sample=x.sample).values
for name, unit, ds in (("raw millivolts", "mV", raw), ("prepared signal", "sd", after)):
    found = ta.metrics.average_precision(np.abs(ds.attribution.values), truth)
    print(
        f"{name} (input in {unit}): status {sorted(set(ds.status.values.tolist()))}, average precision against the planted "
        f"T inversion {found.mean():.3f} (chance {truth.mean():.3f})"
    )

# A trap: a z-score does not change along the straight line from 0 mV (it forgets the scale), so all of the change sits at
# the very start of the path, where no quadrature finds it. The status says so, and the picture is not to be used.
with warnings.catch_warnings():
    warnings.simplefilter("ignore", ta.ExplanationWarning)
    zero = ta.explain(net, x, ta.IntegratedGradients(ta.baselines.Constant(0.0)), **settings)
print(
    f"from 0 mV: {zero.status.values.tolist()}, completeness error {zero.completeness_error.values.round(2).tolist()}"
)
