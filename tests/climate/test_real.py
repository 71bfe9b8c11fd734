"""Real records: reading, indices, histories and masks as they come. Skipped where the data are not there."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr

import tsattr as ta
from tsattr import climate as c

DATA = Path(os.environ.get("TSATTR_DATA", Path(__file__).parents[2] / ".." / "shared" / "data")).resolve() / "climate"
pytestmark = [pytest.mark.data, pytest.mark.skipif(not DATA.is_dir(), reason="no real records: set TSATTR_DATA")]


def test_the_nino34_index_of_a_record_is_the_published_one():
    with xr.open_dataset(DATA / "tropical_pacific_ssta_1970_2003.nc") as record:
        mine = c.nino34(record["ssta"].load())
    with xr.open_dataset(DATA / "nino34_index_1870_2019.nc") as index:
        mine, theirs = xr.align(mine, index["nino34"].load())
    assert mine.sizes["time"] == 399
    # Another product, another reference period: alike, and not equal.
    assert float(xr.corr(mine, theirs)) > 0.97
    assert float(((mine - theirs) ** 2).mean()) ** 0.5 < 0.35


def test_global_sst_with_land_down_a_latitude():
    with xr.open_dataset(DATA / "ersst_global_2010_2020.nc") as record:
        sst = record["sst"].load()
    x, _ = c.histories(sst, lags=6)
    x = x.isel(sample=[30, 60])
    clim = ta.baselines.Climatology.fit(sst.sel(time=slice("2010", "2019")))
    weights = (c.area_weights(sst) * c.box(sst, **c.NINO_BOXES["nino34"])).where(x.notnull().all(("sample", "lag")))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = torch.nn.Sequential(torch.nn.Conv2d(6, 1, 3, padding=1), torch.nn.Tanh(), torch.nn.Flatten(1, 2))
    std = sst.std("time", skipna=False)  # of land none, and no warning by older libraries
    model = c.normalised(net, x, sst.mean("time"), std.where(std > 0), fill=0.0)
    settings = {"target": ta.targets.Region(weights), "outputs": {"lat": sst.lat, "lon": sst.lon}}
    ds = ta.explain(model, x, ta.IntegratedGradients(clim), **settings)
    land = x.isnull()
    assert 0.3 < float(land.mean()) < 0.4
    assert bool((ds.attribution.isnull() == land).all())
    near = c.box(sst, lat=(-7, 7), lon=(188, 242))  # the box and the reach of one convolution
    assert float(abs(ds.attribution.where(~near)).max()) == 0 < float(abs(ds.attribution.where(near)).max())
    assert float(ds.completeness_error.max()) < 0.01
    boxes = ta.groups.Windows(lat="60deg", lon="60deg", lag="3months")
    occluded = ta.explain(model, x, ta.Occlusion(boxes, clim), **settings)
    assert occluded.sizes["group"] == 3 * 6 * 2
    with pytest.warns(ta.ExplanationWarning, match="of the places of x the baseline Constant"):
        ta.explain(model, x, ta.Occlusion(boxes), **settings)
    assert np.isfinite(occluded.group_value).sum() > 0
