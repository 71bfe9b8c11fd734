"""Global sea-surface temperature: which cells and months does a linear forecast of next month's Nino 3.4 rest on?

The model takes temperatures in degC, as they are in the file: land is NaN, latitudes descend, longitudes run from 0 to 358. What
"absent" means is the climatology of the same calendar month, so that attributions say why it is not a normal forecast.
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
FILE = DATA / "climate" / "ersst_global_2010_2020.nc"
if not FILE.is_file():
    raise SystemExit(print(f"skipped: no record in {FILE}; set TSATTR_DATA to the folder of climate"))

with xr.open_dataset(FILE) as ds:
    sst = ds["sst"].load()
period = sst.sel(time=slice("2010", "2017"))  # fitted on; the years after are forecast
usual = period.groupby("time.month").mean("time")
ssta = sst.groupby("time.month") - usual
ssta.attrs = {**sst.attrs, "long_name": "anomaly from the monthly means of 2010 to 2017"}

x, y = ta.climate.histories(sst, lags=3, lead=1)
anomaly, _ = ta.climate.histories(ssta, lags=3)
anomaly, target = anomaly.sel(sample=x.sample), ta.climate.nino34(ta.climate.histories(ssta, lags=3, lead=1)[1])
sea = x.notnull().all(["sample", "lag"])
# Cells count by the root of their area, so that the ridge does not lean on the many small ones near the poles.
scale = np.sqrt(ta.climate.area_weights(sst)).where(sea, 0).broadcast_like(sea).transpose("lat", "lon")
rows = (anomaly.fillna(0) * scale).values.reshape(len(x), -1)
train = (target.time < np.datetime64("2018")).values
ridge = RidgeCV(alphas=np.logspace(1, 6, 11)).fit(rows[train], target.values[train])
weights = torch.as_tensor((ridge.coef_.reshape(x.shape[1:]) * scale.values).astype("float32"))


def forecast(rows: torch.Tensor, usual: torch.Tensor) -> torch.Tensor:
    """Nino 3.4 anomaly of the next month, of temperatures in degC; `usual` is the climatology of each lag's month."""
    return (torch.nan_to_num(rows - usual) * weights).sum((1, 2, 3)) + float(ridge.intercept_)


held = x[~train]
context = {"usual": usual.sel(month=held.time.dt.month).transpose("sample", "lag", "lat", "lon")}
climatology = ta.baselines.Climatology.fit(period)
ds = ta.explain(forecast, held, ta.IntegratedGradients(climatology, steps=1), context=context)
boxes = ta.groups.Windows(
    lat="30deg", lon="60deg", lag=1, step={"lon": "30deg"}
)  # half of a box over the next, and round
removed = ta.explain(forecast, held, ta.Occlusion(boxes, climatology), context=context)

truth = target[~train]
print(f"baseline: {ds.attrs['baseline']}")
for name, f in {"ridge": ds.prediction, "persistence": ta.climate.nino34(anomaly)[~train, -1]}.items():
    error = float(((f - truth) ** 2).mean()) ** 0.5
    print(f"{name:12} {len(held)} later months: correlation {float(xr.corr(f, truth)):.2f}, RMSE {error:.2f} degC")
one = ds.isel(sample=ds.prediction.argmax("sample"))
print(f"warmest forecast {float(one.prediction):.2f} degC, for the month after {str(one.sample.values)[:7]}; by lag:")
print(one.attribution.sum(["lat", "lon"]).to_series().round(2).to_string())
near = ta.climate.box(sst, lat=(-15, 15), lon=(160, 270))
print(f"of this from the tropical Pacific: {float(one.attribution.where(near).sum()):.2f} degC; largest boxes:")
print(removed.group_value.sel(sample=one.sample).to_series().nlargest(4).round(3).to_string())

figure = ta.plot.world(
    one.attribution.sum("lag", min_count=1).assign_attrs(units="degC"),
    region=ta.climate.box(sst, **ta.climate.NINO_BOXES["nino34"]),
    centre=200,
    title="What makes the warmest forecast of Nino 3.4 warm",
)
figure.savefig("sea_surface.png")
ds.to_netcdf("sea_surface.nc", engine="h5netcdf")
with xr.open_dataset("sea_surface.nc", engine="h5netcdf") as again:
    print(f"read back from sea_surface.nc the same: {again.equals(ds) and again.attrs == ds.attrs}")
