"""Death in hospital from a table of an ICU stay's first 48 hours: which measurements count, and does missing count too?

Each stay of PhysioNet 2012 is a row: the last value, the slope and the number of measurements of each vital sign and
laboratory value, NaN where nothing was measured. An additive model learns a shape for each column, a term of its own for
missing, and the pairs that chance does not explain; logistic regression and gradient boosting show what that costs.
"""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import xarray as xr
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss, roc_auc_score
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import tsattr as ta

torch.set_num_threads(1)
DATA = Path(os.environ.get("TSATTR_DATA", Path(__file__).parents[1] / ".." / "shared" / "data")).resolve()
FOLDER = DATA / "clinical" / "physionet2012"
if not FOLDER.is_dir():
    raise SystemExit(print(f"skipped: no stays in {FOLDER}; set TSATTR_DATA to the folder of clinical/physionet2012"))

MEASURED = ["BUN", "Bilirubin", "Creatinine", "FiO2", "GCS", "Glucose", "HCO3", "HCT", "HR", "K", "Lactate", "MAP"]
MEASURED += ["MechVent", "Na", "PaO2", "Platelets", "RespRate", "SysABP", "Temp", "Urine", "WBC", "Weight", "pH"]


def summary(stays: xr.Dataset) -> pd.DataFrame:
    """Columns "HR last", "HR slope" (per hour) and "HR count" for each measurement, and age, gender, height and kind of unit."""
    x = stays.x.sel(feature=MEASURED)
    hours = stays.time.where(x.notnull())
    away = hours - hours.mean("time")
    parts = {
        "last": x.isel(time=hours.fillna(-1).argmax("time")),
        "slope": ((away * x).sum("time") / (away**2).sum("time")).where(x.notnull().sum("time") > 1),
        "count": stays["count"].sel(feature=MEASURED).sum("time"),
    }
    columns = {f"{name} {part}": v.sel(feature=name).values for name in MEASURED for part, v in parts.items()}
    unit = pd.Categorical.from_codes(
        stays.icu_type.values.astype(int) - 1, ["coronary", "cardiac surgery", "medical", "surgical"]
    )
    about = {"age": stays.age.values, "gender": stays.gender.values, "height": stays.height.values, "unit": unit}
    table = pd.DataFrame(about | columns)
    return table.loc[:, table.nunique() > 1]


stays = ta.datasets.read_physionet2012(FOLDER / "set-a-long.csv.gz", FOLDER / "outcomes.csv")
table, died = summary(stays), stays.label.values
# A row is a stay and a stay a patient, so that no patient is on both sides.
x, x_test, y, y_test = train_test_split(table, died, test_size=0.3, stratify=died, random_state=0)

numbers = table.columns.drop("unit")
linear = make_pipeline(
    SimpleImputer(strategy="median", add_indicator=True), StandardScaler(), LogisticRegression(C=0.01)
)
fitted = {
    "additive": ta.AFEXClassifier(n_nets=0, random_state=0).fit(x, y),
    "logistic regression": linear.fit(x[numbers], y),
    "gradient boosting": HistGradientBoostingClassifier(learning_rate=0.05, random_state=0).fit(x[numbers], y),
}
risk = {name: m.predict_proba(x_test if name == "additive" else x_test[numbers])[:, 1] for name, m in fitted.items()}
draws = np.random.default_rng(0).integers(len(y_test), size=(500, len(y_test)))
print(f"{len(table)} stays, {died.mean():.1%} died; {table.shape[1]} columns; tested on {len(y_test)} stays")
for name, p in risk.items():
    gain = [roc_auc_score(y_test[i], p[i]) - roc_auc_score(y_test[i], risk["additive"][i]) for i in draws]
    low, high = np.quantile(gain, [0.025, 0.975])
    print(
        f"  {name:20} AUC {roc_auc_score(y_test, p):.3f} (less that of the additive model: {low:+.3f} to {high:+.3f}), "
        f"log-loss {log_loss(y_test, p):.3f}"
    )

model = fitted["additive"]
terms = model.explain_global()
size = terms.importance.to_series().sort_values(ascending=False)
print("\nspread of the largest terms over stays, in log-odds, with 95 % bands")
for name in size.index[:8]:
    own = terms.sel(feature=name)
    low, high = own.importance_lower.item(), own.importance_upper.item()
    print(f"  {name:16} {size[name]:.2f} ({low:.2f} to {high:.2f})")
pairs = terms.pair_importance.to_series().sort_values(ascending=False)
print("pairs:", ", ".join(f"{name} {value:.2f}" for name, value in pairs.items()) or "none")

by_part = {
    part: np.sqrt((size[[n for n in size.index if n.endswith(part)]] ** 2).sum()) for part in ("last", "slope", "count")
}
print("root of summed squares:", ", ".join(f"{part} {value:.2f}" for part, value in by_part.items()))
# What was never measured has a count of 0, and neither a last value nor a slope.
never = {
    name: model.shape(f"{name} count", [0])[0]
    + sum(np.nan_to_num(terms.missing.sel(feature=f"{name} {part}").item()) for part in ("last", "slope"))
    for name in MEASURED
    if {f"{name} count", f"{name} last"} <= set(x) and x[f"{name} last"].isna().mean() > 0.02
}
for name in sorted(never, key=lambda name: -abs(never[name]))[:5]:
    share = x[f"{name} last"].isna().mean()
    print(f"  {name} never measured ({share:.0%} of stays) adds {never[name]:+.2f} to the log-odds of death")

ta.plot.shape(terms, list(size.index[:9]), title="What each measurement adds to the log-odds of death").savefig(
    "icu_table.png"
)
