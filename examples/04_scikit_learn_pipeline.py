"""A whole scikit-learn pipeline in its raw columns: numbers, strings, categories, missing values; one column, one cell."""

import numpy as np
import pandas as pd
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

import tsattr as ta

rng = np.random.default_rng(0)
n = 600
table = pd.DataFrame(
    {
        "age": rng.integers(20, 90, n),
        "lactate": rng.gamma(2.0, 1.0, n).round(1),
        "ward": pd.Categorical(rng.choice(["medical", "surgical", "icu"], n)),
        "sex": rng.choice(["F", "M"], n),
    },
    index=[f"patient {i}" for i in range(n)],
)
risk = 0.04 * (table.age - 60) + 0.9 * (table.lactate - 2) + 1.2 * (table.ward == "icu")
died = rng.random(n) < 1 / (1 + np.exp(-risk))
table.loc[rng.random(n) < 0.1, "lactate"] = np.nan

numbers = make_pipeline(SimpleImputer(), StandardScaler())
pipeline = make_pipeline(
    make_column_transformer((numbers, ["age", "lactate"]), (OneHotEncoder(sparse_output=False), ["ward", "sex"])),
    HistGradientBoostingClassifier(max_iter=50, random_state=0),
).fit(table[:500], np.where(died[:500], "died", "survived"))

# What would the model say if it did not know a column? Other patients' values stand in for it, fifty of them.
train = table[:500]
method = ta.Occlusion(ta.groups.Cells(), ta.baselines.Samples.fit(train), draws=50)
ds = ta.explain(pipeline, table[500:], method, target="died")

first = ds.isel(sample=0)
print(table.iloc[500].to_string(), f"probability of death {first.prediction.item():.2f}", sep="\n")
print(first[["attribution", "standard_error"]].to_dataframe()[["attribution", "standard_error"]].round(3))
print("mean size over 100 patients (lactate that is missing is left out):")
print(abs(ds.attribution).mean("sample").to_series().sort_values(ascending=False).round(3).to_string())
