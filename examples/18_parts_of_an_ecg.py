"""What in the signal, not only where: an ECG as the sum of bands of frequencies, and what each contributes, when.

The model is asked with the sum of the parts, so that every method, baseline and group works on them: here Shapley values of
bands, and of bands in windows of time, and integrated gradients of every cell of every band.
"""

import numpy as np
import torch

import tsattr as ta
from tsattr.demo import SmallECGNet, accuracy, train

torch.set_num_threads(1)
data = ta.datasets.simulate_ecg(400, lesions=("t_inversion", "pvc"), duration=4.0, seed=0)
classes = data.label.attrs["flag_meanings"].split()
hum = 0.1 * np.sin(2 * np.pi * 40 * data.time)  # mV, in all leads: it means nothing
x, y = (data.ecg + hum.astype("float32")).assign_attrs(data.ecg.attrs), data.label.values
net = SmallECGNet(classes=len(classes))
train(net, x.values[:300], y[:300], epochs=8)
print(f"accuracy on 100 held-out records: {accuracy(net, x.values[300:], y[300:]):.2f}")

held = x[300:][y[300:] == classes.index("t_inversion")][:12]
bands = ta.parts.bands(held, [(None, 0.5), (0.5, 5), (5, 20), (20, 35), (35, 45)])
bands = bands.assign_coords(part=["baseline", "P and T", "QRS", "fine", "hum", "rest"])
assert float(abs(bands.sum("part") - held).max()) < 1e-5  # in single precision
model, outputs = ta.models.summed(net), {"class": classes}
print(f"{bands.sizes['part']} parts of {len(held)} records; power of each:")
print((bands**2).mean(("sample", "lead", "time")).to_series().round(4).to_string())

# Bands as players: exact with six of them. Absent is 0 mV in that band.
margin = ta.targets.LogOdds("t_inversion")
each = ta.explain(model, bands, ta.KernelShap(ta.groups.Along("part")), target=margin, outputs=outputs)
mean, low, high = (
    each.group_value.quantile(q, "sample") if q else each.group_value.mean("sample") for q in (0, 0.1, 0.9)
)
print("\nlog odds of an inverted T wave by band: mean over the records [10 %, 90 %]")
for name in each.group.values:
    print(
        f"  {name:9} {float(mean.sel(group=name)):+6.2f} [{float(low.sel(group=name)):+.2f}, {float(high.sel(group=name)):+.2f}]"
    )

# The slow level is what the model goes by, more than the band of the T wave itself; and bands act together.
pairs = ta.explain(model, bands, ta.ShapleyInteractions(ta.groups.Along("part")), target=margin, outputs=outputs)
together = pairs.interaction.mean("sample").sel(group="P and T", group_b="QRS")
print(f"P and T together with QRS, beyond both: {float(together):+.2f}")

# When: every cell of every band, summed over the waves of the beats.
cells = ta.explain(model, bands, ta.IntegratedGradients(steps=32), target=margin, outputs=outputs)
waves = ta.ecg.by_wave(cells.attribution.sum("lead"), data.wave.sel(sample=held.sample)).signed.mean("sample")
print("\nthe same by integrated gradients, over the waves")
print(waves.to_pandas().round(2).to_string())

one = cells.isel(sample=0)
lead = str(abs(one.attribution).sum(("part", "time")).idxmax("lead").item())
figure = ta.plot.trace(
    bands[0].sel(lead=lead),
    one.attribution.sel(lead=lead),
    title=f"lead {lead}: each band, shaded by what it contributes",
)
figure.savefig("bands.png", dpi=100)
ta.report.report(pairs, bands, out="bands.html", title="Which band of the signal says that the T wave is inverted")
print("wrote bands.png and bands.html")
