"""What would have to be otherwise for the model to be undecided? An invertible network, its boundary, and two ways to it.

Two moons (Zhuang et al., explain_invertible, 2019): the nearest point of the boundary in the features of the network is a
formula, its pre-image is a baseline, and integrated gradients from there explain the margin between the classes, whole. The
nearest point in the input is `Boundary`, of any model, by search.
"""

import warnings

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
import xarray as xr
from sklearn.datasets import make_moons
from torch import nn

import tsattr as ta

torch.set_num_threads(1)
torch.manual_seed(0)
points, labels = make_moons(1000, noise=0.2, random_state=0)
x, y = torch.as_tensor(points[:600]), torch.as_tensor(labels[:600])

# The last term keeps points of the boundary near: without it the network is as accurate, and they are hundreds of times as far
# off as the nearest (examples/studies/two_moons.py).
net = ta.models.Coupling(2, classes=2).double()
optimiser = torch.optim.AdamW(net.parameters(), lr=5e-3)
for _ in range(60):
    for rows in torch.randperm(600).split(100):
        optimiser.zero_grad()
        way = (net.project(x[rows], 0, 1) - x[rows]).square().sum(1).mean()
        (nn.functional.cross_entropy(net(x[rows]), y[rows]) + 0.1 * way).backward()
        optimiser.step()
net.eval()
with torch.no_grad():
    right = (net(torch.as_tensor(points)).argmax(1).numpy() == labels).astype(float)
print(f"accuracy: {right[:600].mean():.3f} in training, {right[600:].mean():.3f} on 400 other points")

names = {"sample": [f"p{i}" for i in range(400)], "feature": ["x1", "x2"]}
held = xr.DataArray(points[600:], names, ("sample", "feature"), name="moons")
projection = ta.baselines.Projection.fit(net, held, a=0, b=1)
boundary = ta.baselines.Boundary.fit(net, held, a=0, b=1)
print(projection, boundary, sep="\n")
print(
    f"medians: {np.median(projection.feature_distance.values):.2f} in the features; in the input "
    f"{np.median(projection.distance.values):.3f}, and {np.median(boundary.distance.values):.3f} to the nearest that was found"
)

# The difference itself, in the units of x; what each coordinate has of the margin; and the local linear form, which leaves
# some of the margin out: where that is more than half, a warning says so.
margin = {"target": ta.targets.Margin(0, 1), "outputs": {"class": ["upper", "lower"]}}
ds = ta.explain(net, held[:8], ta.IntegratedGradients(projection, tolerance=1e-6), **margin)
with warnings.catch_warnings():
    warnings.simplefilter("ignore", ta.ExplanationWarning)
    linear = ta.explain(net, held[:8], ta.IntegratedGradients(projection, steps=1, rule="left"), **margin)
moved = xr.DataArray(projection.difference.values, projection.difference.coords, projection.difference.dims)
parts = {"x - x_p": moved[:8], "of the margin": ds.attribution, "linear form": linear.attribution}
table = {(name, part): a.sel(feature=part).values for name, a in parts.items() for part in ("x1", "x2")}
table |= {("margin", ""): ds.prediction.values, ("left out", ""): linear.completeness_gap.values}
print(pd.DataFrame(table, index=ds.sample.values).round(3).to_string())
gap = float(abs(ds.attribution.sum("feature") - ds.prediction).max())
print(f"integrated gradients from the boundary miss the margin by {gap:.1e} at most")

figure, ax = plt.subplots(figsize=(6, 4.5), layout="constrained")
ax.scatter(*points[600:].T, s=6, c=np.array(["tab:gray", "black"])[labels[600:]], alpha=0.4, linewidths=0)
axis = np.linspace(-2.5, 3.5, 300)
grid = torch.as_tensor(np.stack(np.meshgrid(axis, axis), -1).reshape(-1, 2))
with torch.no_grad():
    decision = (net(grid) @ torch.tensor([1.0, -1.0]).double()).reshape(300, 300)
ax.contour(axis, axis, decision, levels=[0], colors="black", linewidths=1)
for found, colour, label in ((projection, "tab:orange", "in the features"), (boundary, "tab:blue", "in the input")):
    ends = found.value.values[:16]
    ax.plot(*np.stack([points[600:616], ends]).transpose(2, 0, 1), c=colour, lw=1)
    ax.scatter(*ends.T, s=16, c=colour, label=f"nearest {label}", zorder=3)
ax.scatter(*points[600:616].T, s=14, facecolors="white", edgecolors="black", zorder=3)
ax.set(xlabel="x1", ylabel="x2", xlim=(-1.8, 2.8), ylim=(-1.4, 1.9), title="Ways to the boundary between two classes")
ax.legend(loc="lower left")
figure.savefig("boundary.png", dpi=120)

ta.report.report(ds, held[:8], title="Which moon, and by how much", out="boundary.html")
