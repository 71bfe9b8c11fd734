"""The command line as a stranger meets it: what it writes, what it says, and exit codes."""

import operator
import os
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr

import tsattr as ta
from tsattr.cli import main, names, parsing
from tsattr.core.arrays import INVALID, VALUE
from tsattr.public import METHODS

MODULE = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(2))
    def forward(self, x):                      # (rows, lead, time) -> two classes
        s = (x * self.scale[:, None]).sum((1, 2))
        return torch.stack([s, -s], 1)

def make():
    return Net()

def along_time():
    return lambda x: x.sum(1).cumsum(1)[..., None] * torch.tensor([1.0, -1.0])  # (rows, time, two classes)

def emulator():
    return lambda x: torch.stack([x[:, -1], 2 * x[:, -1]], 1)  # (rows, lag, lat, lon) -> (rows, lead, lat, lon)

def two():
    return lambda sst, z: sst.sum((1, 2)) + 3 * z.sum((1, 2)) / 2

def total():
    return lambda x: (x ** 2).flatten(1).sum(1)

class Weighed(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(2))
    def forward(self, sst, z):
        return self.scale[0] * sst.sum((1, 2)) + self.scale[1] * z.sum((1, 2))

def weighed():
    return Weighed()

def attending():
    import tsattr
    return tsattr.LFICAM(nn.Conv1d(2, 3, 5), classes=2)

def several():
    import tsattr
    return tsattr.models.Ensemble([lambda x, k=k: x.mean((1, 2))[:, None] * torch.tensor([1.0, k]) for k in (1.0, 3.0)])

not_a_function = 3
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own_model.py").write_text(MODULE)
    monkeypatch.syspath_prepend("")
    x = np.random.default_rng(0).normal(size=(3, 2, 50)).astype("float32")
    coords = {"lead": ["I", "II"], "time": ("time", np.arange(50) / 100, {"units": "s"})}
    xr.DataArray(x, dims=("sample", "lead", "time"), coords=coords, name="ecg").to_netcdf("x.nc")
    yield tmp_path
    import sys

    sys.modules.pop("own_model", None)


def run(*argv):
    return main(["explain", "--input", "x.nc", "--model", "own_model:make", *argv])


def test_help_lists_what_the_package_has():
    assert (*METHODS,) == names.METHODS
    assert (*parsing.BASELINES,) == names.BASELINES
    assert (*parsing.GROUPS,) == names.GROUPS
    assert {*names.MISSING} == {VALUE, INVALID}


def test_a_learned_map_is_shown_and_a_model_without_one_is_told_so(here, capsys):
    argv = ["explain", "--input", "x.nc", "--method", "LearnedAttention"]
    assert main([*argv, "--model", "own_model:attending", "--report", "r.html", "--plot", "p.png"]) == 0
    assert "LearnedAttention(layer='attention')" in capsys.readouterr().out
    with xr.open_dataset("attribution.nc") as ds:
        assert (ds.attribution.min(), ds.attribution.max()) == (0, 1)
    assert main([*argv, "--model", "own_model:make"]) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert (
        "LearnedAttention finds no attention, as of an LFICAM, in Net; name the module that gives the map with layer="
        in said
    )


def test_explain_writes_the_result_and_says_where_it_is(here, capsys):
    assert run("--target", "1", "--report", "r.html", "--plot", "p.png") == 0
    said = capsys.readouterr().out
    assert "wrote attribution.nc" in said
    assert "prediction" in said
    with xr.open_dataset("attribution.nc") as ds, xr.open_dataarray("x.nc") as x:
        np.testing.assert_allclose(ds.attribution, -x, rtol=1e-6)
        assert ds.attrs["target"] == "1"
    assert (here / "r.html").read_text().startswith("<!")
    assert (here / "p.png").stat().st_size > 1000


def test_methods_baselines_and_groups_are_written_as_in_python(here):
    argv = ("--method", "Occlusion(draws=2)", "--groups", "Windows(time='100ms', lead=1)", "--baseline", "Samples")
    assert run(*argv, "--reference", "x.nc", "--outputs", "class=N,V", "--target", "V") == 0
    with xr.open_dataset("attribution.nc") as ds, xr.open_dataarray("x.nc") as x:
        method = ta.Occlusion(ta.groups.Windows(time="100ms", lead=1), ta.baselines.Samples.fit(x.load()), draws=2)

        def model(rows):
            return torch.stack([rows.sum((1, 2)), -rows.sum((1, 2))], 1)

        expected = ta.explain(model, x, method, target="V", outputs={"class": ["N", "V"]})
        np.testing.assert_allclose(ds.attribution, expected.attribution, rtol=1e-6)
        assert ds.attrs["method"] == expected.attrs["method"]


def test_a_method_inside_a_method(here):
    inside = "TemporalRescaling(Occlusion(Windows(time=10), Mean()), features=Along('lead'))"
    assert run("--method", inside, "--groups", "Windows(time=25)", "--target", "0") == 0
    with xr.open_dataset("attribution.nc") as ds, xr.open_dataarray("x.nc") as x:
        times, leads = ta.groups.Windows(time=25), ta.groups.Along("lead")
        method = ta.TemporalRescaling(ta.Occlusion(ta.groups.Windows(time=10), ta.baselines.Mean()), times, leads)
        expected = ta.explain(lambda rows: rows.sum((1, 2)), x.load(), method)
        assert float(expected.attribution.max()) > 0
        np.testing.assert_allclose(ds.attribution, expected.attribution, rtol=1e-5)
        assert ds.attrs["method"] == repr(method)


@pytest.mark.parametrize("suffix", ["nc", "zarr"])
def test_fields_with_dims_by_role_and_the_mean_of_a_region(here, suffix):
    if suffix == "zarr":
        pytest.importorskip("zarr")
    field = ta.datasets.additive_history(grid=20, lags=3, seed=0).sample(2).x
    ta.io.write_result(field.rename(sample="start", lag="month").transpose("month", "lon", ...), f"f.{suffix}")
    argv = ("--input", f"f.{suffix}", "--dims", "sample=start,lag=month,lat,lon", "--model", "own_model:emulator")
    where = ("--outputs", "lead=1,6;lat;lon", "--target", "Region(lat=(-15, 15), lon=(200, 240), lead='6')")
    assert run(*argv, *where, "--method", "InputXGradient", "--out", f"a.{suffix}", "--report", "r.html") == 0
    ds = xr.open_dataset(f"a.{suffix}")
    assert ds.attribution.dims == ("sample", "lag", "lat", "lon")
    inside = (abs(field.lat) <= 15) & (field.lon >= 200) & (field.lon <= 240)
    expected = (field * inside / inside.sum()).where(field.lag == -1, 0) * 2
    np.testing.assert_allclose(ds.attribution, expected, atol=1e-7)
    assert "tsattr 0" in ds.attrs["history"]
    assert "InputXGradient() of" in ds.attrs["history"]
    assert "how much later" not in (here / "r.html").read_text()  # the lag is a history's, not WinIT's


def test_a_file_of_the_truth_names_and_measures_the_outputs(here):
    field = ta.datasets.additive_history(grid=20, lags=3, seed=0).sample(3)
    x = field.x.rename(sample="start").assign_attrs(units="K")
    xr.Dataset({"x": x}, attrs={"history": "2020-01-01 made by hand"}).to_netcdf("f.nc")
    truth = (
        xr.zeros_like(x.isel(lag=[0, 1])).rename(lag="lead").assign_coords(lead=[1.0, 6.0]).assign_attrs(units="degC")
    )
    truth.to_netcdf("y.nc")
    months = xr.date_range("2001-01", periods=24, freq="MS")
    record = x.isel(start=0, lag=0, drop=True).expand_dims(time=months) + xr.DataArray(np.arange(24) % 12, dims="time")
    record.to_dataset(name="x").to_netcdf("record.nc")
    dates = months[5:8].to_numpy()[:, None] + np.array([0, 31, 61], "timedelta64[D]")
    x.assign_coords(time=(("start", "lag"), dates)).to_netcdf("dated.nc")
    argv = ("--dims", "sample=start,lag,lat,lon", "--model", "own_model:emulator", "--outputs", "y.nc")
    where = ("--target", "Region(lat=(-15, 15), lon=(-160, -120), lead=6.0)")
    assert run("--input", "f.nc", *argv, *where, "--method", "InputXGradient") == 0
    with xr.open_dataset("attribution.nc") as ds:
        assert ds.attrs["history"].startswith("2020-01-01 made by hand\n2")
        assert (ds.attribution.units, ds.prediction.units, ds.input.units) == ("degC", "degC", "K")
        last = ds.attribution.load()
    inside = (abs(x.lat) <= 15) & (x.lon >= 200) & (x.lon <= 240)
    expected = (x * inside / inside.sum()).where(x.lag == -1, 0) * 2
    np.testing.assert_allclose(last, expected, atol=1e-7)
    # a record, whose dims are not those of the histories, as the reference
    assert run("--input", "dated.nc", *argv, *where, "--baseline", "Climatology", "--reference", "record.nc") == 0
    with xr.open_dataset("attribution.nc") as ds:
        assert "mean of 24 times" in ds.attrs["baseline"]


def test_several_variables_of_a_file(here):
    x = xr.DataArray(np.arange(12.0).reshape(2, 2, 3), dims=("sample", "lat", "lon"), attrs={"units": "K"})
    xr.Dataset({"sst": x, "z": 2 * x.rename(lat="y", lon="x"), "other": x[0, 0]}).to_netcdf("two.nc")
    argv = ("--input", "two.nc", "--variable", "sst, z", "--model", "own_model:two", "--method", "InputXGradient")
    assert run(*argv, "--report", "now.html") == 0
    with xr.open_dataset("attribution.nc") as ds:
        np.testing.assert_allclose(ds.attribution_z.values, 1.5 * ds.input_z.values)
        assert ds.input_sst.units == "K"
    assert main(["report", "attribution.nc", "--out", "later.html"]) == 0
    now, later = ((here / name).read_text() for name in ("now.html", "later.html"))
    assert now.count("<img") == later.count("<img") > 3


def test_compare_takes_a_record_to_fit_baselines_to(here):
    months = xr.date_range("2001-01", periods=30, freq="MS")
    rng = np.random.default_rng(0)
    record = xr.DataArray(rng.normal(size=(30, 2, 3)), dims=("time", "lat", "lon"), coords={"time": months}, name="x")
    record.to_netcdf("record.nc")
    ta.climate.histories(record, lags=3)[0].rename(sample="start").to_netcdf("f.nc")
    argv = [
        "--input",
        "f.nc",
        "--dims",
        "sample=start,lag,lat,lon",
        "--model",
        "own_model:total",
        "--reference",
        "record.nc",
    ]
    methods = ["--method", "IG=IntegratedGradients(Climatology)", "--method", "Saliency", "--fill", "Climatology"]
    assert main(["compare", *argv, *methods, "--samples", "4"]) == 0


def test_several_variables_with_a_fitted_baseline_in_the_wanted_precision(here, capsys):
    x = xr.DataArray(np.arange(12.0).reshape(2, 2, 3), dims=("sample", "lat", "lon"))
    xr.Dataset({"sst": x, "z": 2 * x.rename(lat="y", lon="x")}).to_netcdf("two.nc")
    argv = ("--input", "two.nc", "--variable", "sst,z", "--model", "own_model:weighed")
    assert run(*argv, "--method", "IntegratedGradients", "--baseline", "Samples", "--reference", "two.nc") == 0
    with xr.open_dataset("attribution.nc") as ds:
        assert ds.attribution_z.dtype == np.float32
    assert run(*argv, "--method", "InputXGradient", "--dtype", "float64") == 2  # its weights are float32
    assert "float64" in capsys.readouterr().err
    assert run(*argv, "--plot", "p.png") == 2
    assert "several variables" in capsys.readouterr().err


def test_targets_within_targets_and_unknown_ones(here, capsys):
    assert (
        run("--outputs", "class=N,S", "--target", "Difference(Output('N'), Output('S'))", "--method", "Saliency") == 0
    )
    with xr.open_dataset("attribution.nc") as ds:
        assert (ds.attribution == 2).all()
    assert run("--target", "Regin(lat=(0, 1))") == 2
    assert "--target knows Region, Output" in capsys.readouterr().err


def test_what_makes_an_ensemble_unsure(here, capsys):
    argv = (
        "explain",
        "--input",
        "x.nc",
        "--model",
        "own_model:several",
        "--outputs",
        "class=N,S",
        "--dtype",
        "float64",
    )
    spread = "Uncertainty('variance', target=Output('S'))"
    assert main([*argv, "--target", spread, "--report", "r.html"]) == 0
    x = xr.open_dataarray("x.nc").astype("float64")
    with xr.open_dataset("attribution.nc") as ds:
        np.testing.assert_allclose(ds.prediction, x.mean(("lead", "time")) ** 2, rtol=1e-5)
        assert ds.attrs["members"] == "0, 1"
    assert "how unsure the model is" in (here / "r.html").read_text()
    assert main([*argv[:4], "own_model:make", "--target", "Uncertainty('variance')"]) == 2
    assert "is between the members of an ensemble" in " ".join(capsys.readouterr().err.split())


def test_one_variable_of_a_file_of_truths(here, capsys):
    y = xr.DataArray(np.zeros((3, 2)), dims=("sample", "class"), coords={"class": ["N", "S"]}, attrs={"units": "mV"})
    xr.Dataset({"y": y, "other": y}).to_netcdf("y.nc")
    assert run("--outputs", "y.nc", "--target", "S") == 2
    assert "choose one with --outputs y.nc:NAME" in capsys.readouterr().err.replace("\n", " ")
    assert run("--outputs", "y.nc:y", "--target", "S") == 0
    with xr.open_dataset("attribution.nc") as ds:
        assert ds.attribution.units == "mV"


def test_dims_that_do_not_fit_are_named(here, capsys):
    assert run("--dims", "sample,lead,hour") == 2
    said = capsys.readouterr().err.replace("\n", " ")
    assert "has dims ['sample', 'lead', 'time']" in said


def test_winit_along_time(here, capsys):
    argv = ("--model", "own_model:along_time", "--outputs", "time;class=N,S", "--method", "WinIT(4, Marginal)")
    assert run(*argv, "--reference", "x.nc", "--report", "r.html", "--plot", "p.png") == 0
    said = capsys.readouterr().out
    assert ", lag " in said
    with xr.open_dataset("attribution.nc") as ds:
        assert ds.attribution.dims == ("sample", "lead", "time", "lag")
        assert "predicted" not in ds  # the time with the largest output is no class
        assert not np.signbit(ds.prediction).any()
    page = (here / "r.html").read_text()
    assert "how far the prediction moves" in page
    assert "how much later it moved a prediction" in page
    assert (here / "p.png").stat().st_size > 1000


def test_weights_are_loaded_and_pickles_are_not(here, capsys):
    torch.save({"scale": torch.tensor([2.0, 0.0])}, "w.pt")
    assert run("--target", "0", "--weights", "w.pt") == 0
    with xr.open_dataset("attribution.nc") as ds:
        assert float(abs(ds.attribution.sel(lead="II")).max()) == 0
    torch.save(torch.nn.Linear(1, 1), "whole.pt")
    assert run("--weights", "whole.pt") == 2
    assert "not a plain state_dict" in capsys.readouterr().err.replace("\n", " ")


@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")
def test_a_model_file_needs_the_trust_flag(here, capsys):
    torch.jit.trace(torch.nn.Flatten(), torch.zeros(1, 2, 50)).save("m.pt")
    argv = ["explain", "--input", "x.nc", "--model", "m.pt", "--target", "3"]
    assert main(argv) == 2
    assert "--trust-model" in capsys.readouterr().err
    assert main([*argv, "--trust-model"]) == 0


def test_a_record_is_read_cut_and_explained(here, capsys):
    data = ta.datasets.simulate_ecg(1, seed=0)
    ta.io.write_wfdb(data.ecg[0].drop_vars("sample").sel(lead=["I", "II"]), "rec")
    argv = ["explain", "--input", "rec", "--model", "own_model:make", "--split", "2.5s", "--method", "Saliency"]
    assert main(argv) == 0
    with xr.open_dataset("attribution.nc") as ds:
        assert dict(ds.attribution.sizes) == {"sample": 4, "lead": 2, "time": 250}
        np.testing.assert_allclose(ds.sample, [0, 2.5, 5, 7.5])


def test_a_record_becomes_a_report_with_its_beats_and_waves(here, capsys):
    data = ta.datasets.simulate_ecg(1, seed=0)
    ta.io.write_wfdb(data.ecg[0].drop_vars("sample").sel(lead=["I", "II"]), "rec")
    assert main(["explain", "rec", "--report", "--model", "own_model:make", "--method", "Saliency"]) == 0
    assert "wrote report.html" in capsys.readouterr().out
    page = (here / "report.html").read_text()
    assert "The signal on ECG paper" in page
    assert "Bar chart. Sums per wave" in page
    assert "not a medical device" in page
    assert "What stands for absence" not in page  # saliency has none
    assert main(["explain", "rec", "--report", "--model", "own_model:make"]) == 0
    assert "the baseline is called" in (here / "report.html").read_text()
    assert main(["explain", "--model", "own_model:make"]) == 2
    assert "give one record or file to explain" in capsys.readouterr().err
    assert main(["explain", "rec", "--input", "rec", "--model", "own_model:make"]) == 2


def test_a_record_without_an_ecg_is_reported_without_waves(here, capsys):
    x = (
        ta.datasets.simulate_ecg(1, seed=0)
        .ecg[0]
        .drop_vars("sample")
        .sel(lead=["I", "II"])
        .assign_coords(lead=["ABP", "CVP"])
    )
    ta.io.write_wfdb(x.assign_attrs(units="mmHg"), "rec")
    assert main(["explain", "rec", "--report", "r.html", "--model", "own_model:make", "--method", "Saliency"]) == 0
    assert "no waves are marked: R peaks are found in an ECG" in " ".join(capsys.readouterr().err.split())
    assert "The signal over time" in (here / "r.html").read_text()


TABLE_MODULE = """
import tsattr as ta

def make():
    return ta.models.on_frames(lambda df: df["age"] / 10 + (df["ward"] == "icu"))
"""


def test_a_csv_is_a_table_and_an_npy_an_array(here):
    (here / "table_model.py").write_text(TABLE_MODULE)
    (here / "t.csv").write_text("id,age,ward\na,60,icu\nb,50,general\nc,70,general\n")
    base = ["explain", "--input", "t.csv", "--model", "table_model:make", "--method", "Occlusion(draws=3)"]
    assert main([*base, "--baseline", "Samples", "--reference", "t.csv", "--report", "t.html"]) == 0
    with xr.open_dataset("attribution.nc") as ds:
        np.testing.assert_allclose(ds.attribution.sel(sample="a", feature="ward"), 2 / 3)
        np.testing.assert_allclose(ds.attribution.sel(feature="age"), [0, -1, 1], atol=1e-12)
    with xr.open_dataarray("x.nc") as x:
        np.save("x.npy", x.values)
        argv = [
            "explain",
            "--input",
            "x.npy",
            "--dims",
            "sample,lead,time",
            "--model",
            "own_model:make",
            "--target",
            "0",
        ]
        assert main(argv) == 0
        with xr.open_dataset("attribution.nc") as ds:
            np.testing.assert_allclose(ds.attribution, x.values, rtol=1e-6)


NOT_ORDERED_MODULE = """
import tsattr as ta


def make():
    return ta.models.on_frames(lambda df: 3.0 * df["lab"].isna() + df["age"] + 2.0 * df["ward"].isna())
"""


@pytest.mark.parametrize("missing", [None, "value", "invalid"])
def test_missing_cells_of_a_csv_are_values_unless_said_otherwise(here, missing):
    (here / "orders.py").write_text(NOT_ORDERED_MODULE)
    (here / "t.csv").write_text("id,lab,age,ward\na,,1,icu\nb,2,1,\nc,3,5,icu\n")
    base = ["explain", "--input", "t.csv", "--model", "orders:make", "--method", "Occlusion", "--baseline", "Mode"]
    own = ["--groups", "Along('feature')", "--reference", "t.csv", "--report", "t.html", "--dtype", "float64"]
    assert main([*base, *own, *([] if missing is None else ["--missing", missing])]) == 0
    gone = np.nan if missing == "invalid" else 1
    with xr.open_dataset("attribution.nc") as ds:
        assert ds.attrs["missing"] == (missing or "value")
        np.testing.assert_array_equal(ds.attribution.sel(feature="lab"), [3 * gone, 0, 0])
        np.testing.assert_array_equal(ds.attribution.sel(feature="ward"), [0, 2 * gone, 0])
    said = "comes from values that were not measured (22 % of all values)"
    assert (said in (here / "t.html").read_text()) == (missing != "invalid")


def test_missing_cells_are_compared_as_values(here):
    (here / "orders_of_two.py").write_text(NOT_ORDERED_MODULE.replace(' + 2.0 * df["ward"].isna()', ""))
    (here / "t.csv").write_text("id,lab,age\n" + "".join(f"{k},{k if k % 2 else ''},{k}\n" for k in range(8)))
    argv = [
        "compare",
        "--input",
        "t.csv",
        "--model",
        "orders_of_two:make",
        "--reference",
        "t.csv",
        "--groups",
        "Along('feature')",
    ]
    argv += ["--method", "Occlusion(Along('feature'), Mode())", "--fill", "Mode", "--dtype", "float64"]
    ends = {}
    for missing in ("value", "invalid"):
        assert main([*argv, "--missing", missing, "--out", "s.nc"]) == 0
        with xr.open_dataset("s.nc") as ds:
            ends[missing] = ds.deletion_curve.isel(method=0, share=-1).sel(ranking="absolute").values.squeeze()
    np.testing.assert_allclose(
        ends["value"], 0, atol=1e-12
    )  # all is as usual, measured and of the most frequent age, 0
    np.testing.assert_allclose(ends["invalid"], [3, 0] * 4, atol=1e-12)


def test_dry_run_writes_nothing(here, capsys):
    assert run("--dry-run") == 0
    said = {line[:14].rstrip(): line[14:] for line in capsys.readouterr().out.splitlines()}
    assert list(said) == ["samples", "rows", "model calls", "evaluation", "time", "memory"]  # no products to count
    assert said["time"].endswith(" s")
    assert not (here / "attribution.nc").exists()


def test_report_of_a_saved_result(here):
    assert run("--target", "0") == 0
    assert main(["report", "attribution.nc", "--out", "again.html"]) == 0
    assert "<h1>" in (here / "again.html").read_text()


@pytest.mark.parametrize("name", ["ecg", "risk", "spike", "state", "switch-feature", "sphere", "history", "ocean"])
def test_datasets_lists_and_writes(here, capsys, name):
    assert main(["datasets"]) == 0
    assert name in capsys.readouterr().out
    assert main(["datasets", name, "-n", "2", "--out", "d.nc"]) == 0
    with xr.open_dataset("d.nc") as ds:
        assert 2 in ds.sizes.values()


# ---------------------------------------------------------------------------------------------------------- compare


COMPARE_MODULE = """
import torch
from own_model import Net

def make():                                    # not linear: the methods differ
    net = Net()
    return lambda x: torch.tanh(net(x[..., :10]) / 3)
"""
FIRST = ("--method", "IG zero=IntegratedGradients(steps=4)")
FILLS = ("--fill", "mean=Mean()", "--fill", "zero=Constant(0.0)")


@pytest.fixture
def many(here):
    """Twelve records of three patients, of which the model reads the first ten cells of each lead."""
    (here / "curved_model.py").write_text(COMPARE_MODULE)
    x = np.random.default_rng(1).normal(size=(12, 2, 50)).astype("float32")
    time = ("time", np.arange(50) / 100, {"units": "s"})
    coords = {"sample": [f"r{i}" for i in range(12)], "lead": ["I", "II"], "time": time}
    coords |= {"patient": ("sample", np.repeat([0, 1, 2], 4))}
    array = xr.DataArray(x, coords, ("sample", "lead", "time"))
    ds = xr.Dataset({"ecg": array, "truth": xr.zeros_like(array, dtype=bool)})
    ds.truth[..., :10] = True
    ds.to_netcdf("many.nc")
    yield ds
    import sys

    sys.modules.pop("curved_model", None)


def compared(*argv):
    return main(["compare", "--input", "many.nc", "--variable", "ecg", "--model", "curved_model:make", *argv])


def test_compare_is_that_of_python(many, capsys):
    methods = ("--method", "Occlusion(Windows(time=5, lead=1), baseline=Bridge(), draws=1)")
    fills = (*FILLS, "--fill", "Samples", "--reference", "many.nc")
    options = ("--target", "0", "--groups", "Windows(time=5, lead=1)", "--blocks", "patient", "--budget", "60")
    assert compared(*FIRST, *methods, *fills, *options, "--dtype", "float64", "--seed", "3") == 0
    x = many.ecg.astype(float)
    b, windows = ta.baselines, ta.groups.Windows(time=5, lead=1)
    from tsattr.cli.model import _from_factory

    expected = ta.compare(
        _from_factory("curved_model:make"),
        x,
        {"IG zero": ta.IntegratedGradients(steps=4), methods[1]: ta.Occlusion(windows, b.Bridge(), draws=1)},
        target=0,
        groups=windows,
        fills={"mean": b.Mean(), "zero": b.Constant(0.0), "Samples": b.Samples.fit(x)},
        blocks="patient",
        budget=60,
        reference=x,
        seed=3,
    )
    with xr.open_dataset("compare.nc") as found:
        xr.testing.assert_identical(found.load().drop_vars("seconds"), expected.drop_vars("seconds"))
    said = capsys.readouterr().out
    assert " ".join(said.split()).startswith(" ".join(expected.attrs["recommendation"].split()))
    assert said.rstrip().endswith("wrote compare.nc")


def test_compare_prints_the_methods_best_first(many, capsys):
    argv = ("--method", "again=IntegratedGradients(steps=4)", "--method", "Saliency", "--target", "0", *FILLS)
    assert compared(*FIRST, *argv) == 0
    lines = capsys.readouterr().out.splitlines()
    at = next(k for k, line in enumerate(lines) if line.startswith("method "))
    names = [line.split("  ")[0] for line in lines[at + 1 : at + 6]]
    with xr.open_dataset("compare.nc") as table:
        score = table.score.sel(measure="gap", ranking="signed").to_series().round(9)
        one = table.sel(measure="gap", ranking="signed").sel({"method": "IG zero"})
        shown = f"{float(one.score):.3g} [{float(one.score_low):.3g}, {float(one.score_high):.3g}]"
        rows = float(table.model_evaluations.sel({"method": "Saliency"}).mean())
    assert [name.removesuffix(" =").removesuffix(" (control)") for name in names] == list(
        score.sort_values(ascending=False, kind="stable").index
    )
    assert names[:2] == ["IG zero", "again ="]  # the same map cannot be told from itself
    assert {"random (control)", "smooth random (control)"} <= set(names)
    assert shown in lines[at + 1]
    assert lines[at + 1 + names.index(next(n for n in names if n.startswith("Saliency")))].split()[-2] == f"{rows:.3g}"


def test_truth_is_read_and_a_part_is_spread_over_the_file(many):
    argv = ("--target", "0", "--samples", "5", "--truth", "many.nc", "--truth-variable", "truth", *FILLS)
    assert compared(*FIRST, *argv) == 0
    with xr.open_dataset("compare.nc") as table:
        assert table.sample.values.tolist() == ["r0", "r3", "r6", "r8", "r11"]
        np.testing.assert_allclose(table.average_precision_chance, 0.2)
        assert float(table.average_precision.sel({"method": "IG zero", "ranking": "absolute"}).min()) == pytest.approx(
            1
        )
    np.save("truth.npy", many.truth.values.astype(int))  # numbers, with the axes of the input
    assert compared(*FIRST, "--target", "0", "--samples", "5", "--truth", "truth.npy", *FILLS, "--out", "b.nc") == 0
    with xr.open_dataset("compare.nc") as one, xr.open_dataset("b.nc") as other:
        np.testing.assert_array_equal(one.average_precision, other.average_precision)


def test_a_table_is_compared(here):
    (here / "table_model.py").write_text(TABLE_MODULE)
    rows = "".join(f"p{i},{40 + 3 * i},{('icu', 'general')[i % 2]}\n" for i in range(12))
    (here / "t.csv").write_text("id,age,ward\n" + rows)
    (here / "truth.csv").write_text("id,age,ward\n" + "".join(f"p{i},1,0\n" for i in range(12)))
    argv = (
        "compare",
        "--input",
        "t.csv",
        "--model",
        "table_model:make",
        "--reference",
        "t.csv",
        "--truth",
        "truth.csv",
    )
    argv += ("--method", "typical=Occlusion(baseline=Typical)", "--method", "Occlusion(baseline=Samples(), draws=3)")
    assert main([*argv, "--samples", "6"]) == 0
    with xr.open_dataset("compare.nc") as table:
        assert table.sample.values.tolist() == ["p0", "p2", "p4", "p7", "p9", "p11"]
        assert table.method.values.tolist()[:2] == ["typical", "Occlusion(baseline=Samples(), draws=3)"]
        assert bool(table.average_precision_chance.notnull().all())


def test_compare_writes_a_report_that_can_be_written_again(many):
    assert compared(*FIRST, "--target", "0", *FILLS, "--report", "c.html") == 0
    assert main(["report", "compare.nc", "--out", "again.html", "--title", "Once more"]) == 0
    with open("c.html") as first, open("again.html") as again:
        assert "<h1>Which explanation of curved_model:make to believe</h1>" in first.read()
        assert "<h1>Once more</h1>" in again.read()


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (FIRST, "every --method has a name of its own"),
        (("--method", "Saliency(Mean(Meen()))"), "'Meen()'"),
        (("--method", "IntegratedGradients(Samples)"), "--method Samples is fitted"),
        (("--method", "TemporalRescaling(Mean())"), "TemporalRescaling rescales a method such as Saliency"),
        (("--method", "Rescaling(Saliency())"), "--method knows AugmentedOcclusion, FIT, "),
        (("--method", "IntegratedGradients(baseline=Blur(depth=3))"), "depth"),
        (("--method", "random=Saliency"), "the name of a control"),
        (("--fill", "IntegratedGradients()"), "--fill knows Constant"),
        (("--fill", "=Mean()"), "every --fill has a name"),
        (("--groups", "Windows(hour=2)"), "hour"),
        (("--blocks", "ward"), "no coordinate 'ward'"),
        (("--samples", "13"), "from 1 to the 12 samples"),
        (("--samples", "0"), "from 1 to the 12 samples"),
        (("--budget", "0"), "budget is a whole number"),
        (("--truth", "many.nc"), "choose one"),
        (("--truth", "x.nc"), "holds other values"),
        (("--truth", "absent.nc"), "absent.nc"),
        (("--out", "no_such_folder/a.nc"), "no_such_folder"),
        (("--report", "no_such_folder/a.html"), "no_such_folder"),
    ],
)
def test_wrong_use_of_compare(many, here, capsys, argv, said):
    assert compared(*FIRST, "--target", "0", *argv) == 2
    err = capsys.readouterr().err
    assert said in " ".join(err.split())
    assert "Traceback" not in err
    assert not list(here.glob("*compare.nc"))


def test_a_method_may_hold_its_groups_and_its_baseline(here):
    assert run("--target", "0", "--method", "Occlusion(Windows(time=10, lead=1), Mean())") == 0
    with xr.open_dataset("attribution.nc") as one:
        kept = one.attribution.load()
    options = ("--method", "Occlusion", "--groups", "Windows(time=10, lead=1)", "--baseline", "Mean()")
    assert run("--target", "0", *options) == 0
    with xr.open_dataset("attribution.nc") as other:
        np.testing.assert_array_equal(kept, other.attribution)
    assert run("--method", "Occlusion(Cells())", "--groups", "Cells()") == 2


def test_run_as_a_module(here):
    import subprocess
    import sys

    done = subprocess.run([sys.executable, "-m", "tsattr.cli", "datasets"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("ecg ")


# ------------------------------------------------------------------------------------------------------ wrong use


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (("--model", "nothing_there:make"), "no module 'nothing_there'"),
        (("--model", "own_model"), "MODULE:FACTORY"),
        (("--model", "own_model:absent"), "no function 'absent'"),
        (("--model", "own_model:not_a_function"), "no function 'not_a_function'"),
        (("--method", "Magic"), "IntegratedGradients"),
        (("--method", "Occlusion(__import__('os'))"), "plain values"),
        (("--baseline", "Blur(time='50 parsecs')"), "parsecs"),
        (("--baseline", "Samples"), "--reference"),
        (("--baseline", "Constant(depth=3)"), "depth"),
        (("--groups", "Windows(time='2min')", "--method", "Occlusion"), "longer than dim 'time'"),
        (("--target", "9"), "out of range"),
        (("--outputs", "class=N,V", "--target", "X"), "'N', 'V'"),
        (("--input", "absent.nc"), "absent.nc"),
        (("--out", "no_such_folder/a.nc"), "no_such_folder"),
        (("--report", "no_such_folder/r.html"), "no_such_folder"),
        (("--band", "wide"), "--band"),
    ],
)
def test_wrong_use_is_one_paragraph_and_exit_code_2(here, capsys, argv, said):
    assert run(*argv) == 2
    err = capsys.readouterr().err
    assert said in err.replace("\n", " ")
    assert "Traceback" not in err
    assert err.strip().count("\n\n") == 0
    assert not list(here.glob(".tsattr*"))


USERS = """
import sys
import torch
from torch import nn

class Odd(Exception):
    pass

def raises(what):
    def model(x):
        raise what
    return lambda: model

odd, exits, asserts = raises(Odd("of its own")), raises(SystemExit(0)), raises(AssertionError("three leads"))

def deep():
    layer = nn.Linear(7, 1)
    def model(x):
        return layer(x)
    return model

def makes_none():
    raise Odd("no weights")

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.ones(2))
    def forward(self, x):
        return (x * self.w[:, None]).sum((1, 2))
"""


@pytest.mark.parametrize(
    "case",
    [
        (("--model", "users:odd"), "the model raised Odd: of its own (", "users.py, line 11, in model)"),
        (("--model", "users:exits"), "the model raised SystemExit: 0 (", "line 11, in model)"),
        (("--model", "users:asserts"), "the model raised AssertionError: three leads ("),
        (("--model", "users:deep"), "the model raised RuntimeError: mat1 and mat2", "users.py, line 19, in model)"),
        (("--model", "users:makes_none"), "users:makes_none() gave no model: Odd: no weights (", "in makes_none)"),
        (("--model", "users:absent"), "no function 'absent' that makes the model; it has ['Odd',"),
        (("--model", "syntax:make"), "'syntax' cannot be imported: ", "syntax.py, line 2)"),
        (("--model", "imports:make"), "No module named 'absent_package' (", "imports.py, line 1", "install what it imports"),
        (("--model", "divides:make"), "'divides' cannot be imported: ZeroDivisionError", "divides.py, line 3, in <module>)"),
        (("--model", "leaves:make"), "'leaves' cannot be imported: SystemExit"),
        (("--model", ":make"), "--model is MODULE:FACTORY"),
        (("--model", "empty.pkl", "--trust-model"), "empty.pkl holds no model that can be loaded (EOFError"),
        (("--model", "junk.pkl", "--trust-model"), "junk.pkl holds no model that can be loaded"),
        (("--model", "empty.pt", "--trust-model"), "empty.pt is no TorchScript file"),
        (("--model", "folder.pt", "--trust-model"), "no model file folder.pt"),
        (("--model", "junk.pkl", "--trust-model", "--weights", "w.pt"), "junk.pkl has its own"),
        (("--model", "own_model:total", "--weights", "w.pt"), "own_model:total makes a function, which has none"),
        (("--model", "users:Net", "--weights", "w.pt"), "w.pt does not hold the weights of what users:Net makes", "size mismatch"),
        (("--model", "users:Net", "--weights", "tensor.pt"), "does not hold the weights", "dict-like"),
        (("--model", "users:Net", "--weights", "empty.pt"), "empty.pt is not a plain state_dict"),
        (("--model", "users:Net", "--weights", "folder.pt"), "no weights file folder.pt"),
        (("--plot", "a.xyz"), "--plot writes files that end in", ".png", "got a.xyz"),
        (("--report", "a.nc"), "--report writes files that end in .html"),
        (("--out", "a.xyz"), "--out writes files that end in .nc", "got a.xyz"),
        (("--out", "a"), "--out writes files that end in .nc"),
        (("--plot", "absent/a.png"), "no folder absent"),
        (("--report", "a.svg", "--plot", "a.svg"), "--report writes"),
        (("--out", "pipe.nc"), "a device or a pipe"),
    ],
)  # fmt: skip
def test_faults_of_the_users_files_are_told_as_theirs(here, capsys, case):
    files = {
        "users.py": USERS,
        "syntax.py": "x = 1\ndef make(:\n",
        "imports.py": "import absent_package\n",
        "divides.py": "\n\n1 / 0\n",
        "leaves.py": "import sys\nsys.exit(0)\n",
        "empty.pkl": "",
        "junk.pkl": "junk",
        "empty.pt": "",
    }
    for name, text in files.items():
        (here / name).write_text(text)
    (here / "folder.pt").mkdir()
    os.mkfifo(here / "pipe.nc")
    torch.save({"w": torch.ones(3)}, "w.pt")
    torch.save(torch.ones(3), "tensor.pt")
    before = set(here.iterdir())
    argv, *said = case
    try:
        assert run(*argv) == 2
    finally:
        for name in files:
            sys.modules.pop(name.removesuffix(".py"), None)
    err = " ".join(capsys.readouterr().err.split())
    assert [part for part in said if part not in err] == []
    assert "Traceback" not in err
    assert set(here.iterdir()) - before <= {here / "__pycache__"}


@pytest.mark.parametrize(
    "argv", [("--plot", "a.xyz"), ("--out", "a.csv"), ("--report", "r.pdf"), ("--plot", "attribution.nc")]
)
def test_names_of_results_are_looked_at_before_the_model(here, capsys, argv):
    (here / "never.py").write_text("raise AssertionError('imported')\n")
    assert main(["explain", "--input", "x.nc", "--model", "never:make", *argv]) == 2
    assert "imported" not in capsys.readouterr().err
    assert main(["compare", "--input", "x.nc", "--model", "never:make", "--method", "Saliency", "--out", "a.xyz"]) == 2
    assert "imported" not in capsys.readouterr().err


def test_what_is_read_is_not_overwritten(here, capsys):
    before = (here / "x.nc").read_bytes()
    (here / "link.nc").symlink_to("x.nc")
    for name in ("x.nc", "./x.nc", "link.nc"):
        assert run("--out", name) == 2
        assert "is read by this command, and would be lost" in " ".join(capsys.readouterr().err.split())
    assert (here / "x.nc").read_bytes() == before


def test_warnings_of_a_reader_are_notes(here, capsys):
    np.arange(200, dtype="<i2").tofile("r.dat")
    (here / "r.hea").write_text("r 2 100 100 2006\nr.dat 16 1000/mV 16 0 0 0 0 I\nr.dat 16 1000/mV 16 0 0 0 0 II\n")
    assert main(["explain", "--input", "r", "--model", "own_model:make", "--target", "0"]) == 0
    said = capsys.readouterr().err
    assert "note: r.hea says that the record starts at '2006'" in " ".join(said.split())
    assert "Warning" not in said


def test_results_are_named_differently(here, capsys):
    assert run("--report", "a.html", "--plot", "a.png", "--out", "a.nc") == 0
    (here / "b.svg").symlink_to("a.nc")
    assert run("--out", "a.nc", "--plot", "b.svg") == 2
    assert "must name different files" in capsys.readouterr().err


def test_a_mistake_of_ours_is_not_the_users(here, monkeypatch):
    monkeypatch.setattr("tsattr.cli.explain._inputs", operator.attrgetter("absent"))
    with pytest.raises(AttributeError):
        run()


def test_demo_into_a_folder_that_cannot_be(here, capsys):
    (here / "file").write_text("")
    assert main(["demo", "ecg", "--out", "file/demo"]) == 2
    assert "file/demo" in capsys.readouterr().err


def test_unknown_command_is_exit_code_2():
    with pytest.raises(SystemExit) as stop:
        main(["invent"])
    assert stop.value.code == 2


@pytest.mark.parametrize("dtype", ["int16", "uint8", "int64", "bool", ">i4"])
@pytest.mark.parametrize("kind", ["npy", "nc"])
def test_whole_numbers_are_cast_to_the_dtype_asked_for(here, capsys, dtype, kind):
    counts = np.random.default_rng(0).integers(0, 2 if dtype == "bool" else 10, (3, 2, 50)).astype(dtype)
    file = f"counts.{kind}"
    if kind == "npy":
        np.save(file, counts)
    else:
        xr.DataArray(counts, dims=("sample", "lead", "time"), name="adc").to_netcdf(file)
    dims = [] if kind == "nc" else ["--dims", "sample,lead,time"]
    own = ["--model", "own_model:total", "--method", "Saliency()", "--out", "o.nc"]
    for precision in ("float32", "float64"):
        assert main(["explain", "--input", file, *dims, *own, "--dtype", precision]) == 0
        with xr.open_dataset("o.nc") as ds:
            np.testing.assert_array_equal(ds.prediction, (counts.astype(float) ** 2).sum((1, 2)))
            assert ds.attribution.dtype == precision
    assert "note" not in capsys.readouterr().err


@pytest.mark.parametrize(("dtype", "most"), [("float32", 2**24), ("float64", 2**53)])
def test_whole_numbers_that_a_dtype_rounds_are_noted(here, capsys, dtype, most):
    own = ["--model", "own_model:total", "--method", "Saliency()", "--dims", "sample,lead,time", "--dtype", dtype]
    for value, noted in ((most - 1, False), (most + 1, True)):
        np.save("large.npy", np.full((1, 1, 1), value))
        assert main(["explain", "--input", "large.npy", *own]) == 0
        said = " ".join(capsys.readouterr().err.split())
        assert (f"holds whole numbers beyond those that {dtype} tells apart" in said) == noted
        assert ("--dtype float64 keeps more" in said) == (noted and dtype == "float32")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_table_for_a_network_has_the_dtype_asked_for(here, dtype):
    Path("own_net.py").write_text(
        "import torch\ndef make():\n"
        "    net = torch.nn.Linear(2, 1, bias=False)\n"
        "    torch.nn.init.constant_(net.weight, 2.0)\n"
        f"    return net.to(torch.{dtype})\n"
    )
    Path("table.csv").write_text("id,a,b\np,1,2.5\nq,3,4\n")
    own = ["--input", "table.csv", "--model", "own_net:make", "--dtype", dtype]
    assert main(["explain", *own, "--method", "IntegratedGradients()", "--out", "t.nc"]) == 0
    sys.modules.pop("own_net")
    with xr.open_dataset("t.nc") as ds:
        assert ds.sample.values.tolist() == ["p", "q"]
        np.testing.assert_allclose(ds.attribution, [[2.0, 5.0], [6.0, 8.0]], rtol=1e-6)


def test_advice_is_in_the_words_of_the_command_line(here, capsys):
    np.save("x.npy", np.ones((2, 3)))
    assert main(["explain", "--input", "x.npy", "--model", "own_model:make"]) == 2
    assert "with --dims; got None" in " ".join(capsys.readouterr().err.split())


def test_the_trial_may_be_spared_on_the_command_line(here):
    counts = []
    for more in ((), ("--no-check",)):
        assert run("--target", "0", "--out", "o.nc", *more) == 0
        counts.append(int(xr.open_dataset("o.nc").attrs["trial_rows"]))
    assert counts[0] > 0
    assert counts[1] == 0


def test_similar_makes_a_gallery_and_asks_it(here, capsys):
    x = np.random.default_rng(1).normal(size=(8, 2, 50)).astype("float32")
    coords = {"sample": [f"r{i}" for i in range(8)], "label": ("sample", list("abababab")), "lead": ["I", "II"]}
    xr.DataArray(x, dims=("sample", "lead", "time"), coords=coords).to_netcdf("train.nc")
    similar = ["similar", "--model", "own_model:make"]
    assert main([*similar, "--cases", "train.nc", "--gallery", "g.nc", "--metric", "euclidean"]) == 0
    assert "Gallery(8 cases, 2 numbers each, euclidean, by Net)" in capsys.readouterr().out
    asked = [*similar, "--gallery", "g.nc", "--input", "x.nc", "-k", "2"]
    assert main([*asked, "--out", "near.nc", "--report", "p.html"]) == 0
    said = capsys.readouterr().out
    assert "wrote near.nc" in said
    ds = ta.io.read_result("near.nc")
    first = f"{ds.case.values[0, 0]} ({ds.case_label.values[0, 0]}) {ds.distance.values[0, 0]:.3g}"
    assert f"sample 0: {first}, " in said
    assert ds.attribution.dims == ds.attribution_of_case.dims == ("sample", "neighbour", "lead", "time")
    assert "1. Case r" in Path("p.html").read_text("utf-8")
    torch.save({"scale": torch.full((2,), 3.0)}, "w.pt")
    assert main([*asked, "--weights", "w.pt"]) == 2
    assert "distances between the two mean nothing" in " ".join(capsys.readouterr().err.split())


def test_similar_says_how_far_off_transformed_cases_may_be(here, capsys):
    import own_model

    x = np.random.default_rng(1).normal(size=(40, 2, 50)).astype("float32")
    gallery = ta.cases.Gallery.fit(lambda x: x[:, 0, :2] + x[:, 1, :2], x[:5], metric="euclidean")
    gallery.upgrade(own_model.make(), x).write("g.nc")
    assert main(["similar", "--model", "own_model:make", "--gallery", "g.nc", "--input", "x.nc", "-k", "2"]) == 0
    off = np.median(
        ta.cases.Gallery.read("g.nc", model=own_model.make()).nearest(xr.open_dataset("x.nc").ecg, 2).case_uncertainty
    )
    said = f"6 of these cases are transformed from an earlier model's, expected to be off by {off:.3g} (median)"
    assert said in capsys.readouterr().out


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        ((), "name the gallery to ask"),
        (("--gallery", "g.nc"), "name the records to ask about"),
        (("--gallery", "g.nc", "--input", "x.nc", "--layer", "conv"), "they go with --cases"),
        (("--cases", "x.nc", "--gallery", "x.nc"), "is read by this command"),
        (("--cases", "x.nc", "--input", "x.nc", "-k", "4"), "the gallery has 3 cases"),
        (("--cases", "x.nc", "--input", "x.nc", "--layer", "conv"), "has no layer 'conv'"),
        (("--cases", "x.nc", "--input", "x.nc", "--apart", "patient", "-k", "2"), "--apart 'patient' is no coordinate"),
    ],
)
def test_similar_says_what_is_wrong(here, capsys, argv, said):
    assert main(["similar", "--model", "own_model:make", *argv]) == 2
    assert said in " ".join(capsys.readouterr().err.split())


def test_explain_the_parts_of_a_signal(here, capsys):
    assert (
        run(
            "--parts",
            "bands([(2, 10), (10, 30)])",
            "--method",
            "Occlusion",
            "--groups",
            "Along('part')",
            "--target",
            "0",
        )
        == 0
    )
    ds = xr.load_dataset("attribution.nc")
    assert ds.attribution.dims == ("sample", "part", "lead", "time")
    assert ds.part.values.tolist() == ["2-10 Hz", "10-30 Hz", "rest"]
    np.testing.assert_allclose(ds.group_value.sum("group"), ds.prediction - 0, atol=1e-3)  # linear
    assert "largest at part" in capsys.readouterr().out


def test_parts_that_there_are_not(here, capsys):
    assert run("--parts", "wavelets(3)") == 2
    assert "--parts knows bands, harmonics, octaves, trend_season; got 'wavelets'" in capsys.readouterr().err
    assert run("--parts", "bands([(80, 90)])") == 2
    assert "holds no frequency of 50 cells" in capsys.readouterr().err


def test_each_output_from_the_command_line(here):
    assert run("--target", "Each('class')", "--outputs", "class=N,S", "--method", "Saliency") == 0
    ds = xr.load_dataset("attribution.nc")
    assert ds.attribution.dims == ("sample", "lead", "time", "class")
    assert ds["class"].values.tolist() == ["N", "S"]
    settings = ("--outputs", "class=N,S", "--method", "Saliency")
    assert run("--target", "Each('class', target=Probability)", *settings) == 0
    ds = xr.load_dataset("attribution.nc")
    np.testing.assert_allclose(ds.prediction.sum("class"), 1, rtol=1e-6)  # of all classes, and no logit each


def test_pictures_and_summaries_of_each_output(here, capsys):
    (here / "many.py").write_text("def model():\n    return lambda x: x.sum(1)[:, :12].reshape(len(x), 3, 4)\n")
    outputs = ("--outputs", "day=1,2,3;place", "--target", "Each()", "--model", "many:model")
    assert run(*outputs, "--method", "Saliency", "--plot", "a.png", "--report", "a.html") == 0
    said = capsys.readouterr().out
    assert ", ... 2 more, ok" in said
    assert "wrote a.png, the picture of target day=1, place=0" in said
    assert "target day=1, place=1" in Path("a.html").read_text()
