"""What acts together: pairs of table columns, and of the waves of ECG leads, beyond what each does by itself.

Shapley values divide what two groups do together between them, and a pair looks like two strong groups. Shapley interactions keep
it apart: a group by itself, each pair of groups, and all of it sums to what the model says above its reference.
"""

import numpy as np
import pandas as pd
import torch
import xarray as xr
from sklearn.ensemble import HistGradientBoostingRegressor

import tsattr as ta

torch.set_num_threads(1)

# A table. A drug helps the kidney's patients and harms the others: neither column says much alone.
rng = np.random.default_rng(0)
frame = pd.DataFrame(
    {
        "age": rng.uniform(30, 90, 3000),
        "creatinine": rng.gamma(4.0, 0.3, 3000),
        "drug": rng.integers(0, 2, 3000).astype(float),
        "lactate": rng.gamma(3.0, 0.6, 3000),
    }
)
stay = frame.age / 30 + 2.0 * frame.drug * (1.2 - frame.creatinine) + rng.normal(0, 0.3, 3000)
trees = HistGradientBoostingRegressor(max_iter=150, random_state=0).fit(frame[:2500], stay[:2500])
print(f"boosted trees: R2 {trees.score(frame[2500:], stay[2500:]):.2f} on 500 rows kept out")

each = ta.groups.Along("feature")
usual = ta.baselines.Samples.fit(frame[:50])
ds = ta.explain(trees, frame[2500:2600], ta.ShapleyInteractions(each, usual))
pairs = ds.interaction.isel(sample=0).to_pandas()
print(
    f"\none patient, drug {frame.drug.iloc[2500]:.0f}, creatinine {frame.creatinine.iloc[2500]:.2f}: pairs of columns"
)
print(pairs.round(2).fillna(0).to_string())
together = ds.group_value.sum("group") + ds.interaction.sum(("group", "group_b")) / 2
assert float(abs(together - (ds.prediction - ds.reference)).max()) < 1e-8  # nothing is lost, nothing is counted twice
size = abs(ds.interaction).mean("sample")
print(f"drug with creatinine: {float(size.sel(group='drug', group_b='creatinine')):.2f} on average, by size")
print(f"age with lactate:     {float(size.sel(group='age', group_b='lactate')):.2f}")
ta.plot.pairs(ds.isel(sample=0)).savefig(
    "columns.png", dpi=100
)  # over the patients its sign changes, and the mean is near 0

# An ECG. The model is a rule that is written down here, so that the answer is known: the QRS of V1 times the T wave of V5,
# and the T wave of II by itself. Players are the waves of three leads.
data = ta.datasets.simulate_ecg(24, lesions=(), duration=4.0, sampling_rate=100.0, seed=0)
x, kinds = data.ecg.sel(lead=["II", "V1", "V5"]), data.wave.attrs["flag_meanings"].split()
lead = {name: k for k, name in enumerate(x.lead.values)}


def rule(ecg: torch.Tensor, wave: torch.Tensor) -> torch.Tensor:
    """The model: of the signal, and of which wave each cell is of."""

    def size(name: str, kind: str) -> torch.Tensor:  # the mean over the wave, in tenths of a millivolt
        inside = (wave == kinds.index(kind)).to(ecg.dtype)
        return 10 * (ecg[:, lead[name]].abs() * inside).sum(1) / inside.sum(1).clamp(min=1)

    return size("V1", "QRS") * size("V5", "T") + size("II", "T")


number = xr.DataArray(np.arange(3) * len(kinds), {"lead": x.lead}, "lead") + data.wave
names = " ".join(f"{name}-{kind}" for name in lead for kind in kinds)
number = number.assign_attrs(flag_values=range(3 * len(kinds)), flag_meanings=names)
waves = ta.groups.Labelled(number)
context = {"wave": data.wave}
found = ta.explain(rule, x, ta.ShapleyInteractions(waves, coalitions=1000), context=context)
alone = ta.explain(rule, x, ta.KernelShap(waves, coalitions=1000), context=context).group_value.mean("sample")
print("\nECG: Shapley values put the two that act together beside the one that acts by itself")
print(alone.sortby(-abs(alone))[:3].to_pandas().round(2).to_string())
pair = found.interaction.mean("sample").sel(group="V1-QRS", group_b="V5-T")
print(f"interactions: V1-QRS with V5-T {float(pair):+.2f} of their own:", end=" ")
print({g: round(float(found.group_value.mean("sample").sel(group=g)), 2) for g in ("V1-QRS", "V5-T", "II-T")})
assert abs(pair) == abs(found.interaction.mean("sample")).max()  # the largest of 105 pairs
ta.plot.pairs(found, most=8).savefig("waves.png", dpi=100)
ta.report.report(found, x, out="together.html")
print("columns.png, waves.png, together.html")
