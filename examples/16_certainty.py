"""What makes the model unsure? Uncertainty as a target, of four networks together and of the passes of a dropout.

How undecided a prediction is has two parts: what the data leave open (each network by itself is undecided) and what the model
does not know (the networks disagree). Each is a number like any other, so every method explains it. Records are simulated, and
one lead of each is made noisy: the networks have met no such thing, and the map of their disagreement should lie there.
"""

import numpy as np
import torch
import xarray as xr
from torch import nn

import tsattr as ta
from tsattr.demo import LESIONS, SmallECGNet, train

Uncertainty = ta.targets.Uncertainty

torch.set_num_threads(1)
data = ta.datasets.simulate_ecg(308, lesions=LESIONS, sampling_rate=50.0, seed=1)
classes = data.label.attrs["flag_meanings"].split()
x, held, y = data.ecg[:300], data.ecg[300:], data.label.values[:300]
nets = {}
for seed in range(4):
    torch.manual_seed(seed)
    nets[f"seed {seed}"] = SmallECGNet(classes=len(classes))
    train(nets[f"seed {seed}"], x.values, y, epochs=12, seed=seed)
together = ta.models.Ensemble(nets)

rng = np.random.default_rng(0)
noisy = rng.integers(12, size=len(held))
burst = xr.zeros_like(held)
burst.values[np.arange(len(held)), noisy] = rng.standard_normal((len(held), held.sizes["time"]))  # 1 mV
corrupted = (held + burst).assign_attrs(held.attrs)

# All parts in one call: they share the forward passes of all networks.
parts = {k: Uncertainty(k) for k in ("mutual_information", "expected_entropy", "entropy")}
given = {"target": parts, "outputs": {"class": classes}}
clean = ta.explain(together, held, ta.Saliency(), **given)
ds = ta.explain(together, corrupted, ta.IntegratedGradients(tolerance=0.02), **given)
both = xr.concat([clean.prediction, ds.prediction], "record").assign_coords(record=["clean", "noisy"])
print("medians, in nats; entropy is the sum of the two before it")
print(both.median("sample").to_pandas().T.round(3).to_string())
total = ds.prediction.sel(target=["mutual_information", "expected_entropy"]).sum("target")
print(f"the parts add up to {abs(ds.prediction.sel(target='entropy') - total).max().item():.0e}")

table = ds.attribution.sum("time").idxmax("lead").to_pandas().iloc[:, :2].assign(noisy=held.lead.values[noisy])
print("\nthe lead with the largest sum of each map, and the noisy one")
print(table.to_string())

# A removal answers as well: how much surer would they be without the lead?
occlusion = ta.explain(together, corrupted, ta.Occlusion(ta.groups.Along("lead")), **given)
found = occlusion.group_value.sel(target="mutual_information").idxmax("group")
print(f"occlusion of whole leads points at the noisy one in {int((found == table.noisy.values).sum())} of {len(held)}")

# One network has passes where it has Dropout modules. Of a linear model the variance over them is known in closed form,
# r / (1 - r) sum (w x)^2 with rate r.
net = nn.Sequential(nn.Dropout(0.2), nn.Linear(6, 1, bias=False)).double()
row = torch.arange(1.0, 7.0, dtype=torch.float64)[None]
of = ta.explain(ta.models.dropout(net, passes=1000), row, ta.InputXGradient(), target=Uncertainty("variance"))
exact = 0.25 * (net[1].weight.detach() * row) ** 2
print(f"\nvariance over 1000 passes {of.prediction.item():.3f}, in closed form {exact.sum().item():.3f}")
print("input x gradient", of.attribution.values.round(2)[0], "in closed form", (2 * exact).numpy().round(2)[0])

# A network that predicts a variance beside its mean says what the data leave open: target=Uncertainty("variance", "mean",
# noise="variance"), with outputs={"head": ["mean", "variance"]}. Of a field: Uncertainty("variance", Region(lat=..., lon=...)).
figure = ta.plot.ecg(corrupted[0], ds.attribution[0].sel(target="mutual_information"), layout="12x1")
figure.savefig("certainty.png", dpi=100)
first = {"target": 0, "outputs": {"class": classes}}
report = ta.explain(nets["seed 0"], corrupted, ta.IntegratedGradients(), **first)
ta.report.report(report, corrupted, title="One lead is noisy", unsure=ds, out="certainty.html")
print("wrote certainty.png, certainty.html")
