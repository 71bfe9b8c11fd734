"""A network that learns where to look: LFI-CAM round a trunk of one's own, its map beside Grad-CAM's and the planted truth.

The map is the network's own: there from the forward pass, the same for every class, without units. Where it lies is checked
against the planted lesions like any other map.
"""

import numpy as np
import torch
from torch import nn

import tsattr as ta
from tsattr.demo import accuracy, train

torch.set_num_threads(1)
data = ta.datasets.simulate_ecg(400, lesions=("t_inversion", "pvc"), duration=4.0, seed=0)
classes = data.label.attrs["flag_meanings"].split()
x, y = data.ecg, data.label.values


def trunk() -> nn.Sequential:
    """Features (rows, 32, times / 4) of leads (rows, 12, times): no pooling and no head."""
    layers: list[nn.Module] = []
    for i, o, stride in ((12, 16, 2), (16, 24, 2), (24, 32, 1)):
        layers += [nn.Conv1d(i, o, 9, stride, padding=4, bias=False), nn.BatchNorm1d(o), nn.ReLU()]
    return nn.Sequential(*layers)


# The same trunk, read by LFI-CAM and by means and a linear layer.
torch.manual_seed(0)
bare = nn.Sequential(trunk(), nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(32, len(classes)))
torch.manual_seed(0)
net = ta.LFICAM(trunk(), len(classes))
for name, model in (("bare trunk", bare), ("LFI-CAM", net)):
    train(model, x.values[:300], y[:300], epochs=8)
    print(f"{name:10} accuracy on 100 held-out records: {accuracy(model, x.values[300:], y[300:]):.2f}")

# What it computes on the way, of one sample or of many, alone or in company.
rows = torch.as_tensor(x.values[300:])
with torch.no_grad():
    weights, learned, alone = net.weights(rows), net.attention(net.trunk(rows), rows), net.weights(rows[:1])
print(f"weights of {weights.shape[1]} channels sum to {weights.sum(1).mean():.3f}, the largest {weights.max():.2f}")
print(f"attention {tuple(learned.shape)} from {learned.min():.0f} to {learned.max():.0f}")
print(f"a sample alone: weights differ by {(alone - weights[:1]).abs().max():.0e}")

with torch.no_grad():
    right = [model(rows).argmax(1).numpy() == y[300:] for model in (bare, net)]
chosen = 300 + np.flatnonzero(right[0] & right[1] & (y[300:] > 0))[:40]
settings = {"outputs": {"class": classes}}
maps = {
    "learned attention": ta.explain(net, x[chosen], ta.LearnedAttention(), **settings),
    "Grad-CAM of LFI-CAM": ta.explain(net, x[chosen], ta.GradCAM(), **settings),
    "Grad-CAM of the bare trunk": ta.explain(bare, x[chosen], ta.GradCAM(), **settings),
}
print(maps["learned attention"].attribution.attrs["long_name"])

# None of them tells leads apart: a time counts as found where a lesion lies in any lead.
truth = data.truth[chosen].any("lead").values
print(f"average precision in time (chance {truth.mean():.2f})")
for name, ds in maps.items():
    print(f"  {name:28}{ta.metrics.average_precision(ds.attribution.isel(lead=0).values, truth).mean():.2f}")

# One lead of four records; the map is the same for all leads.
names = [f"record {k}, {classes[y[k]]}" for k in chosen[:4]]
parts = (x[chosen[:4]], maps["learned attention"].attribution[:4], data.truth[chosen[:4]])
signal, attention, lesion = (
    p.sel(lead="V3", drop=True).rename(sample="record").assign_coords(record=names) for p in parts
)
ta.plot.trace(signal, attention, truth=lesion, title="Lead V3").savefig("learned_attention.png")
ta.report.report(maps["learned attention"], x[chosen], out="learned_attention.html")
print("wrote learned_attention.png and learned_attention.html")
