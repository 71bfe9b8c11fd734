"""Stored counterfactuals replayed: WinIT's published importances from the very draws of its authors' code.

Anything with a `fill` is a baseline. This one puts stored values in the place of what is absent; with it `WinIT` must give the
importances that were stored beside them. The files are a model (GRU), 40 series of Delayed Spike, draws by prediction time, lag,
feature, draw and sample, and the official arrays. They are found by TSATTR_ANCHORS, the folder that holds `winit`.
"""

import os
from pathlib import Path

import numpy as np
import torch
import xarray as xr
from torch import nn

import tsattr as ta

root = Path(os.environ.get("TSATTR_ANCHORS", Path(__file__).resolve().parents[2] / "shared" / "anchors"))
folder = root / "winit"
if not folder.is_dir():
    raise SystemExit(print(f"no stored results in {folder}; set TSATTR_ANCHORS"))


class Classifier(nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn = nn.GRU(3, 200)
        self.regressor = nn.Sequential(nn.BatchNorm1d(200), nn.ReLU(), nn.Dropout(0.5), nn.Linear(200, 1))

    def forward(self, x):
        h, _ = self.rnn(x.permute(2, 0, 1))
        return self.regressor(h.flatten(0, 1)).reshape(h.shape[:2]).T


class Replay:
    """``draws[t, n, feature, draw, sample, j]`` in the place of time t - n + j, for a gap of n + 1 steps that ends at t."""

    causal = True

    def __init__(self, draws):
        self.draws = torch.as_tensor(draws)

    def fill(self, x, absent, key):
        row, feature, time = absent.nonzero(as_tuple=True)
        first, last = (v[row] for v in (absent.any(1).int().argmax(1), absent.any(1).cumsum(1).argmax(1)))
        draw, sample = torch.as_tensor(key.draw)[row], key.position[row]
        out = x.clone()
        out[row, feature, time] = self.draws[last, last - first, feature, draw, sample, time - first]
        return out


net = Classifier()
net.load_state_dict(torch.load(folder / "spike2_model.pt", weights_only=True))
with np.load(folder / "spike2_data.npz") as data:
    x = xr.DataArray(data["x_test"][data["instances"]], dims=("sample", "feature", "time"))
with np.load(folder / "spike2_winit_counterfactuals.npz") as stored:
    replay = Replay(stored["cf"])
with np.load(folder / "spike2_winit_official.npz") as stored:
    official = {name: stored[name] for name in ("pd", "kl", "js", "pd_mean")}

for kind in ("pd", "kl", "js"):
    ds = ta.explain(net, x, ta.WinIT(10, replay, draws=3), outputs=("time",), target=ta.targets.Divergence(kind))
    by_prediction = [
        official[kind][:, :, lag:, 9 - lag] for lag in range(10)
    ]  # (sample, feature, prediction, place in window)
    apart = max(
        np.abs(ds.attribution[..., : 80 - lag, lag] - part).max().item() for lag, part in enumerate(by_prediction)
    )
    print(f"{kind}: read by {ds.attrs['reading']}, largest difference from the stored array {apart:.1e}")
mean = ta.explain(net, x, ta.WinIT(10, replay, draws=3, aggregate="mean"), outputs=("time",))
print(f"mean over lags: largest difference {np.abs(mean.attribution - official['pd_mean']).max().item():.1e}")
