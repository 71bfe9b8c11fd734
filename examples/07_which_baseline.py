"""Which baseline? Seven of them, and other methods, tested on the model itself and then held against the planted truth.

The design is that of Sturmfels, Lundberg and Lee (Distill, 2020): attribute with each baseline, take the most important
parts away in several ways, watch the output fall. The recommendation is made without the truth; as the records are
simulated and the lesions planted, one can look afterwards whether the test by removal and the truth agree.
"""

import numpy as np
import torch
from scipy.stats import spearmanr

import tsattr as ta
from tsattr.demo import SmallECGNet, accuracy, train

torch.manual_seed(0)
data = ta.datasets.simulate_ecg(420, lesions=("st_elevation_anterior", "t_inversion", "pathologic_q", "pvc"), seed=0)
names = data.label.attrs["flag_meanings"].split()
x, y = data.ecg, data.label.values
net = SmallECGNet(classes=len(names))
train(net, x.values[:320], y[:320], epochs=7)
print(f"accuracy on 100 held-out records: {accuracy(net, x.values[320:], y[320:]):.2f}")

with torch.no_grad():
    right = net(torch.as_tensor(x.values[320:])).argmax(1).numpy() == y[320:]
chosen = 320 + np.flatnonzero(right & (y[320:] > 0))[:16]
b, reference = ta.baselines, x[:320:4]
methods = {
    "IG zero": ta.IntegratedGradients(b.Constant(0.0)),
    "IG own mean": ta.IntegratedGradients(b.Mean()),
    "IG blurred": ta.IntegratedGradients(b.Blur(time="200ms")),
    "IG maximum distance": ta.IntegratedGradients(b.MaximumDistance.fit(reference)),
    "IG uniform": ta.IntegratedGradients(b.Uniform.fit(reference), draws=5),
    "IG Gaussian": ta.IntegratedGradients(b.Gaussian(0.3), draws=5),
    "IG training": ta.IntegratedGradients(b.Samples.fit(reference), steps=1, draws=40),
    "saliency": ta.Saliency(),
}
table = ta.compare(
    net,
    x[chosen],
    methods,
    outputs={"class": names},
    truth=data.truth[chosen],
    budget=82,  # rows of the model a sample: the same for all that can use them
    fills={"mean": b.Mean(), "blur": b.Blur(time="200ms"), "bridge": b.Bridge(), "training": b.Samples.fit(reference)},
    reference=reference,
    metrics=["gap", "deletion", "insertion", "cumulative_deletion"],
)
print(f"\n{table.attrs['rows']} rows asked of the model\n\n{table.attrs['recommendation']}\n")

score = table.score.sel(ranking="signed", measure=["gap", "deletion", "insertion"]).to_pandas().T
score["average precision"] = table.average_precision.sel(ranking="absolute").mean("sample").to_pandas()
print(score.round(3).sort_values("gap", ascending=False).to_string())
chance = float(table.average_precision_chance.mean())
kept = ~table.control.values
r = spearmanr(score["gap"][kept], score["average precision"][kept]).statistic
print(
    f"\n(average precision by chance: {chance:.3f}) removal and truth order the methods alike to r = {r:.2f} (Spearman)"
)
