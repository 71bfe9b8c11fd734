"""The command line as a stranger meets it: what it writes, what it says, and exit codes."""

import numpy as np
import pytest
import torch
import xarray as xr

import tsattr as ta
from tsattr.cli import main

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


def test_dry_run_writes_nothing(here, capsys):
    assert run("--dry-run") == 0
    assert "model_evaluations" in capsys.readouterr().out
    assert not (here / "attribution.nc").exists()


def test_report_of_a_saved_result(here):
    assert run("--target", "0") == 0
    assert main(["report", "attribution.nc", "--out", "again.html"]) == 0
    assert "<h1>" in (here / "again.html").read_text()


def test_datasets_lists_and_writes(here, capsys):
    assert main(["datasets"]) == 0
    assert "ecg" in capsys.readouterr().out
    assert main(["datasets", "ecg", "-n", "2", "--out", "d.nc"]) == 0
    with xr.open_dataset("d.nc") as ds:
        assert ds.sizes["sample"] == 2


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


def test_demo_into_a_folder_that_cannot_be(here, capsys):
    (here / "file").write_text("")
    assert main(["demo", "ecg", "--out", "file/demo"]) == 2
    assert "file/demo" in capsys.readouterr().err


def test_unknown_command_is_exit_code_2():
    with pytest.raises(SystemExit) as stop:
        main(["invent"])
    assert stop.value.code == 2
