"""Which time scales does a forecast of the Nino 3.4 index rest on, lead by lead? Histories as the sum of bands of periods.

One call explains every lead: ``Each("lead")`` shares the forward passes and puts the leads' labels on the result. Without the
record of the index (TSATTR_DATA) an index of the same kind is simulated: a damped oscillation that weather keeps going.
"""

import os
from pathlib import Path

import numpy as np
import torch
import xarray as xr
from sklearn.linear_model import RidgeCV

import tsattr as ta

torch.set_num_threads(1)
DATA = Path(os.environ.get("TSATTR_DATA", Path(__file__).parents[1] / ".." / "shared" / "data")).resolve()
FILE = DATA / "climate" / "nino34_index_1870_2019.nc"
MONTHS, LEADS = 96, [1, 3, 6, 9]


def simulated() -> xr.DataArray:
    """150 years of temperature and of the heat that feeds it, which turn round each other in four years, pushed by weather."""
    rng, turn = np.random.default_rng(0), 2 * np.pi / 48
    step = 0.97 * np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    state, found = np.zeros(2), []
    for _ in range(1800):
        state = step @ state + 0.2 * rng.normal(size=2)
        found.append(state[0])
    time = np.arange("1870-01", "2020-01", dtype="M8[M]").astype("M8[ns]")
    return xr.DataArray(found, dims="time", coords={"time": time})


if FILE.is_file():
    with xr.open_dataset(FILE) as ds:
        index = ds[next(iter(ds.data_vars))].load().squeeze(drop=True).dropna("time")
else:
    index = simulated()
    print(f"no record in {FILE}: an index is simulated; set TSATTR_DATA to the folder of climate for the real one")
starts = np.arange(MONTHS, len(index) - max(LEADS))
history = np.stack([index.values[s - MONTHS : s] for s in starts]).astype("float32")
x = xr.DataArray(
    history,
    dims=("sample", "month"),
    coords={"sample": index.time.values[starts - 1], "month": ("month", np.arange(1 - MONTHS, 1), {"units": "month"})},
    attrs={"units": "degC"},
)
y = np.stack([index.values[starts + lead - 1] for lead in LEADS], 1)
train = x.sample.values < np.datetime64("1990")
fits = [RidgeCV(alphas=np.logspace(0, 4, 9)).fit(x.values[train], y[train, k]) for k in range(len(LEADS))]
weights = torch.as_tensor(np.stack([fit.coef_ for fit in fits]).astype("float32"))
offset = torch.as_tensor(np.array([fit.intercept_ for fit in fits], "float32"))


def forecast(rows: torch.Tensor) -> torch.Tensor:
    """The index 1, 3, 6 and 9 months after histories (rows, month)."""
    return rows @ weights.T + offset


later = x[~train]
bands = ta.parts.bands(
    later, [(None, "8 years"), ("2 years", "8 years"), ("9 months", "2 years"), ("9 months", None)], "month"
)
outputs = {"lead": xr.DataArray(LEADS, dims="lead", attrs={"units": "month"})}
ds = ta.explain(
    ta.models.summed(forecast), bands, ta.IntegratedGradients(steps=1), target=ta.targets.Each("lead"), outputs=outputs
)
share = ds.attribution.sum("month")
print(f"{len(later)} forecasts from 1990 on; {ds.attrs['target']}, dims {ds.attribution.dims}")
print("standard deviation [degC] of what each band contributes, by lead in months")
print(share.std("sample").to_pandas().round(2).to_string())
for k, lead in enumerate(LEADS):
    truth = xr.DataArray(y[~train, k], dims="sample")
    r = float(xr.corr(ds.prediction.sel(lead=lead).drop_vars("sample"), truth))
    only = share.sel(lead=lead).drop_vars("sample")
    best = {str(p): float(xr.corr(only.sel(part=p), truth)) for p in only.part.values}
    print(
        f"lead {lead}: correlation with what came {r:.2f}; of each band alone "
        + ", ".join(f"{p} {v:.2f}" for p, v in best.items())
    )

strongest = int(ds.prediction.sel(lead=6).argmax("sample"))
one = ds.isel(sample=strongest)
print(
    f"the warmest forecast at 6 months, {float(one.prediction.sel(lead=6)):.2f} degC after {str(one.sample.values)[:7]}:"
)
print(one.attribution.sum("month").sel(lead=6).to_series().round(2).to_string())
figure = ta.plot.trace(
    bands[strongest],
    one.attribution.sel(lead=6),
    dim="month",
    title="what each band of the history says of the index 6 months ahead",
)
figure.savefig("forecast.png", dpi=100)
print("wrote forecast.png")
