"""Real records, end to end: read, explain, check, draw, save. Skipped where the data are not there."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr

import tsattr as ta
from tsattr.demo import SmallECGNet

DATA = Path(os.environ.get("TSATTR_DATA", Path(__file__).parents[1] / ".." / "shared" / "data")).resolve() / "ecg"
pytestmark = [pytest.mark.data, pytest.mark.skipif(not DATA.is_dir(), reason="no real records: set TSATTR_DATA")]


class Gaps(torch.nn.Module):
    """A random network that takes missing cells as 0."""

    def __init__(self, leads):
        super().__init__()
        torch.manual_seed(0)
        self.net = SmallECGNet(leads=leads, classes=3)

    def forward(self, x):
        return self.net(torch.nan_to_num(x))


def record(name, **kwargs):
    return ta.read_wfdb(DATA / name, **kwargs)


CASES = {
    "wfdb/100": {"annotator": "atr", "start": 60, "stop": 70},
    "wfdb/s0010_re": {"resample": 100, "stop": 10},
    "wfdb/multi-segment/s25047/s25047-2704-05-04-10-44": {"start": 1190, "stop": 1210},
    "ptbxl/records100/00000/00001_lr": {},
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("kind", ["gradients", "occlusion"])
def test_read_explain_draw_save(name, kind, tmp_path):
    if not (DATA / f"{name}.hea").exists():
        pytest.skip(f"{name} is not among the records here")
    x = record(name, **CASES[name]).expand_dims("sample")
    if kind == "gradients":
        method = ta.IntegratedGradients(ta.baselines.Blur(time="200ms"), steps=9)
    else:
        method = ta.Occlusion(ta.groups.Windows(time="500ms", lead=1), ta.baselines.Bridge())
    ds = ta.explain(Gaps(x.sizes["lead"]), x, method, target=1)
    a = ds.attribution
    assert a.dims == x.dims
    assert a.dtype == x.dtype
    np.testing.assert_array_equal(np.isnan(a), np.isnan(x))
    xr.testing.assert_identical(a.coords.to_dataset(), x.coords.to_dataset())
    assert ds.status.item() == "ok"
    if kind == "gradients":
        assert ds.completeness_error.item() < 0.2  # nine points on a ReLU network
    ta.io.write_netcdf(ds, tmp_path / "a.nc")
    with xr.open_dataset(tmp_path / "a.nc") as saved:
        xr.testing.assert_allclose(saved.attribution, a)
    draw = ta.plot.ecg if set(np.atleast_1d(x.units if "units" in x.coords else "mV")) == {"mV"} else ta.plot.trace
    draw(x[0], a[0]).savefig(tmp_path / "a.png")
    assert (tmp_path / "a.png").stat().st_size > 10_000
    assert "<h1>" in ta.report.report(ds, x)


def test_annotations_travel_with_slices_of_the_attribution():
    x = record("wfdb/100", annotator="atr", stop=30).expand_dims("sample")
    ds = ta.explain(Gaps(2), x, ta.Saliency(), target=0)
    part = ds.attribution.sel(time=slice(10, 20))
    beats = int((part.annotation > 0).sum())
    assert 10 <= beats <= 15


def test_occlusion_by_beat_from_the_annotations():
    x = record("wfdb/100", annotator="atr", start=0, stop=10).expand_dims("sample")
    beats = ta.ecg.beats(ta.ecg.r_peaks(x[0]))
    ds = ta.explain(Gaps(2), x, ta.Occlusion(ta.groups.Labelled(beats), ta.baselines.Bridge()), target=0)
    assert ds.sizes["group"] == len(np.unique(beats))
    one = ds.attribution.where(beats == 3)
    value = ds.group_value.sel(group="3").item()
    np.testing.assert_allclose(one.min(), value, rtol=1e-6)
    np.testing.assert_allclose(one.max(), value, rtol=1e-6)
