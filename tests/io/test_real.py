"""Reading, cutting and saving real records, where they are at hand."""

import os
from pathlib import Path

import numpy as np
import pytest
import wfdb
import xarray as xr

from tsattr.io import read_input, read_wfdb, split, write_netcdf

from .records import counts

DATA = Path(os.environ.get("TSATTR_DATA", Path(__file__).parents[3] / "shared" / "data"))


@pytest.fixture
def real():
    folder = DATA / "ecg" / "wfdb"
    if not folder.is_dir():
        pytest.skip(f"no real records in {folder}; name their folder by TSATTR_DATA")
    return folder


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "shape", "leads", "missing"),
    [
        ("100", (2, 650_000), ["MLII", "V5"], 0),
        ("s0010_re", (15, 38_400), None, 0),
        ("a103l", (3, 82_500), ["II", "V", "PLETH"], 0),
        ("v102s", (4, 75_000), ["II", "V", "PLETH", "RESP"], 23),
        ("03700181", (3, 75_000), ["MCL1", "ABP", "RESP"], 4),
        ("3000003_0003", (2, 1028), ["II", "V"], 0),
        ("test01_00s", (4, 4000), ["ECG 1", "ECG 2", "ECG 3", "ECG 4"], 0),
        ("multi-segment/041s/041s", (7, 2000), ["III", "I", "V", "ABP", "PAP", "PLETH", "RESP"], None),
        ("multi-segment/fixed1/v102s", (4, 225_000), ["II", "V", "PLETH", "RESP"], 69),
        ("multi-segment/s25047/s25047-2704-05-04-10-44", (3, 543_240), ["II", "V", "ABP"], None),
    ],
)
def test_real_records_agree_with_wfdb(real, name, shape, leads, missing):
    x = read_wfdb(real / name, dtype="float64")
    assert x.shape == shape
    assert leads is None or x.lead.values.tolist() == leads
    record = wfdb.rdrecord(str(real / name), smooth_frames=False)
    for lead, expected, per_frame in zip(x, record.e_p_signal, record.samps_per_frame):
        np.testing.assert_array_equal(lead, expected.reshape(-1, per_frame).mean(1))
    assert missing is None or np.isnan(x).sum() == missing
    np.testing.assert_allclose(x.time, np.arange(shape[1]) / record.fs)
    units = x.units.values.tolist() if "units" in x.coords else [x.attrs["units"]] * shape[0]
    assert units == record.units


@pytest.mark.data
def test_record_100_with_its_annotations(real):
    x = read_wfdb(real / "100", annotator="atr")
    assert counts(x.annotation) == {"N": 2239, "A": 33, "V": 1, "+": 1}
    assert counts(x.rhythm) == {"N": 650_000 - 18}
    assert x.annotation.attrs["moved"] == 0
    assert (x.attrs["age"], x.attrs["sex"]) == (69, "M")
    y = read_wfdb(real / "100", annotator="atr", resample=100.0, band=(0.5, 40.0))
    assert counts(y.annotation) == counts(x.annotation)
    beats = x.annotation.values > 0
    late = y.time.values[y.annotation.values > 0] - x.time.values[beats]
    assert np.abs(late).max() <= 0.005 + 1e-9


@pytest.mark.data
def test_record_100_cut_in_samples_of_10_s(real):
    x = read_wfdb(real / "100", annotator="atr")
    with pytest.warns(UserWarning, match=r"the last 2000 of 650000 cells along 'time' \(from 1800\.0 on\)"):
        cut = split(x, "10s")
    assert dict(cut.sizes) == {"sample": 180, "lead": 2, "time": 3600}
    np.testing.assert_array_equal(cut.sample, 10.0 * np.arange(180))
    np.testing.assert_array_equal(cut.time, x.time[:3600])
    for i in (0, 77, 179):
        part = x.sel(time=slice(10 * i - 1e-6, 10 * i + 10 - 1e-6))
        np.testing.assert_array_equal(cut[i], part)
        np.testing.assert_array_equal(cut.annotation[i], part.annotation)
    before = x.isel(time=slice(0, 648_000))
    assert counts(cut.annotation) == counts(before.annotation)
    assert counts(cut.rhythm) == counts(before.rhythm)
    assert cut.attrs == x.attrs


@pytest.mark.data
def test_s0010_re_keeps_the_limb_lead_identities(real):
    x = read_wfdb(real / "s0010_re", dtype="float64")
    standard = ["I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6"]
    assert x.lead.values.tolist() == [*standard, "vx", "vy", "vz"]
    one, two, three = (x.sel(lead=k) for k in ("I", "II", "III"))
    assert np.abs(two - one - three).max() <= 0.001 + 1e-9  # the files have steps of 0.5 uV
    assert (x.attrs["age"], x.attrs["sex"]) == (81, "F")


@pytest.mark.data
def test_s25047_is_missing_for_30_6_percent(real):
    path = real / "multi-segment/s25047/s25047-2704-05-04-10-44"
    x = read_wfdb(path)
    assert np.isnan(x).mean().item() == pytest.approx(0.306, abs=0.0005)
    assert x.units.values.tolist() == ["mV", "mV", "mmHg"]
    assert x.attrs["start_datetime"].startswith("2704-05-04T10:44:18.529")
    part = read_wfdb(path, leads=["ABP", "II"], start=3500.0, stop=3600.0)
    np.testing.assert_array_equal(part, x.sel(lead=["ABP", "II"])[:, 437_500:450_000])
    y = read_wfdb(path, resample=250.0)
    np.testing.assert_array_equal(np.isnan(y)[:, ::2], np.isnan(x))


@pytest.mark.data
def test_a_ptbxl_record(real):
    x = read_wfdb(real.parent / "ptbxl/records100/00000/00001_lr")
    assert x.shape == (12, 1000)
    assert x.lead.values.tolist() == ["I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6"]
    assert x.attrs["sampling_rate"] == 100.0
    assert x.attrs["units"] == "mV"


@pytest.mark.data
def test_a_real_record_survives_netcdf(real, tmp_path):
    x = read_wfdb(real / "100", annotator="atr", stop=60.0)
    write_netcdf(x, tmp_path / "x.nc")
    xr.testing.assert_identical(read_input(tmp_path / "x.nc"), x)
