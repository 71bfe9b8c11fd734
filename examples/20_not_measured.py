"""What was not measured tells: a model of an intensive-care table that goes by which tests were ordered.

A lactate is measured where somebody is worried, and a model of who dies learns that; a CRP that is ordered by rote tells nothing by
being there. With a missing cell as a value that has its attribution; with Missing() as the baseline a measurement has what it told
beyond its not having been made. Simulated.
"""

import numpy as np
import pandas as pd
import xarray as xr
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score

import tsattr as ta

rng = np.random.default_rng(0)
n = 3000
ill = rng.normal(size=n)  # how ill somebody is, which nobody sees
worried = ill + rng.normal(size=n) > 0.8  # and who is thought to be, which is seen in what is ordered
table = pd.DataFrame(
    {
        "lactate": np.where(worried, 1.5 + 0.8 * np.maximum(ill, 0) + rng.gamma(2, 0.3, n), np.nan),  # mmol/l
        "age": rng.uniform(20, 90, n),
        "heart rate": 80 + 8 * ill + 10 * rng.normal(size=n),
        "crp": np.where(rng.random(n) < 0.5, rng.gamma(2, 20, n), np.nan),  # ordered by rote, and says nothing
        "ward": pd.Categorical(np.where(rng.random(n) < 0.1, None, rng.choice(["medical", "surgical"], n))),
        "ventilated": np.where(
            ill + rng.normal(size=n) > 1.2, 1.0, np.nan
        ),  # written down where it is so, as MechVent is
    },
    index=[f"stay {k}" for k in range(n)],
)
died = rng.random(n) < 1 / (1 + np.exp(2.5 - 1.5 * ill - 0.03 * (table["age"] - 55)))

train, test = slice(0, 2000), slice(2000, n)
model = HistGradientBoostingClassifier(
    categorical_features="from_dtype", learning_rate=0.05, max_iter=60, random_state=0
)
model.fit(table[train], died[train])
print(
    f"{died.mean():.0%} died; AUC {roc_auc_score(died[test], model.predict_proba(table[test])[:, 1]):.2f} on stays kept out"
)

columns, x = ta.groups.Along("feature"), table[test][:100]
background = ta.baselines.Samples.fit(table[train][:100])
why = ta.explain(
    model, x, ta.KernelShap(columns, background, draws=100), target=1
)  # in a table missing="value" is the default
measured = xr.DataArray(x.notna().to_numpy(), why.attribution.coords, ("sample", "feature"))

print("\nmean attribution (probability of death) where a value was measured, and where it was not:")
for name in table:
    here = why.attribution.sel(feature=name)
    known = measured.sel(feature=name)
    gone = "" if known.all() else f"{here.where(~known).mean().item():+.3f} in {(~known).mean().item():.0%} of stays"
    print(f"  {name:10} {here.where(known).mean().item():+.3f}   {gone}")

size = abs(why.attribution)
print(f"by size {(size.where(~measured).sum() / size.sum()).item():.0%} of it comes from what was not measured")
apart = ta.explain(model, x, ta.KernelShap(columns, background, draws=100), target=1, missing="invalid")
print(f"with missing='invalid' {apart.attribution.isnull().mean().item():.0%} of the cells have none")

# What the measurement told beyond that nobody made it: the same rows with the cell taken away.
told = ta.explain(model, x, ta.Occlusion(columns, ta.baselines.Missing()), target=1, reference=table[train][:300])
print("\nbeside its not having been measured, the risk is moved by")
for name in ("lactate", "ventilated"):  # of a column that is 1 or missing, all that it says is that it is there
    moved = told.attribution.sel(feature=name).where(measured.sel(feature=name))
    print(f"  {name:10} {moved.mean().item():+.3f} where it was measured")
print("median shift of a removal, 1 being the 99th percentile of clean data:")
print("  " + ", ".join(f"{g} {v:.2f}" for g, v in zip(told.group.values, told["shift"].median("sample").values)))

# The same of the model as a whole: a level of its own for "missing", beside the curve.
curve = ta.estimators.partial_dependence(model, table[train], ["lactate", "crp"], grid_resolution=20)
for name in ("lactate", "crp"):
    one = curve.sel(feature=name)
    low, high = one.average.min().item(), one.average.max().item()
    print(f"{name}: measured {low:.2f} to {high:.2f} by its value, not measured {one.average_missing.item():.2f}")
drop = ta.estimators.permutation_importance(
    model, table[test], died[test], scoring="roc_auc", n_repeats=5, random_state=0
).importance_mean
print("AUC lost by shuffling:", ", ".join(f"{name} {v:.3f}" for name, v in zip(table, drop.values)))

ta.report.report(why, x, title="Who dies, and what nobody measured", out="not_measured.html")
ta.plot.dependence(why, x).savefig("not_measured.png")
