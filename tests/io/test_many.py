"""Many records as samples, with what is known of each."""

import numpy as np
import pandas as pd
import pytest

from tsattr.io import read_many, read_wfdb, write_wfdb

from .records import annotated, signal


@pytest.fixture
def folder(tmp_path):
    for k, name in enumerate("abc"):
        x = annotated([10 + k, 400]).assign_attrs(
            sampling_rate=250.0, comments=f"age: {60 + k} sex: F\nMI" if k else ""
        )
        write_wfdb(x * (k + 1), tmp_path / name) if k else write_wfdb(x, tmp_path / name)
    return tmp_path


def test_records_are_samples_with_what_headers_and_table_say(folder):
    table = pd.DataFrame(
        {"file": ["a", "b", "c"], "patient": [1, 1, 2], "label": ["NORM", None, "MI"], "weight": [70.0, np.nan, 80]}
    )
    x = read_many(table, path="file", folder=folder)
    assert x.dims == ("sample", "lead", "time")
    assert x.sample.values.tolist() == ["a", "b", "c"]
    for name in "abc":
        np.testing.assert_array_equal(x.sel(sample=name), read_wfdb(folder / name))
    assert x.patient.values.tolist() == [1, 1, 2]
    assert x.label.values.tolist() == ["NORM", "", "MI"]
    np.testing.assert_array_equal(x.weight, [70, np.nan, 80])
    assert x.record.values.tolist() == ["a", "b", "c"]
    assert len(set(x.sha256.values.tolist())) >= 2
    assert x.attrs["sampling_rate"] == 250.0
    assert x.attrs["units"] == "mV"
    assert "record" not in x.attrs


def test_annotations_of_each_record_travel(folder):
    x = read_many([folder / "a", folder / "b"], annotator="atr")
    assert x.annotation.dims == ("sample", "time")
    assert [np.flatnonzero(row).tolist() for row in x.annotation.values] == [[10, 400], [11, 400]]
    assert x.annotation.attrs["flag_meanings"]


def test_one_path_is_one_sample(folder):
    assert read_many(str(folder / "a")).sizes["sample"] == 1


def test_records_of_one_name_are_counted(folder, tmp_path):
    (tmp_path / "other").mkdir()
    write_wfdb(signal(), tmp_path / "other" / "a")
    assert read_many([folder / "a", tmp_path / "other" / "a"]).sample.values.tolist() == [0, 1]


@pytest.mark.parametrize("seconds", [2.0, 6.0])
def test_records_are_cut_or_padded_to_one_length(folder, tmp_path, seconds):
    write_wfdb(signal(750), tmp_path / "short")
    x = read_many([folder / "a", folder / "short"], seconds=seconds)
    n = round(250 * seconds)
    assert x.sizes["time"] == n
    np.testing.assert_allclose(np.diff(x.time), 1 / 250, rtol=1e-6)
    short = read_wfdb(tmp_path / "short").values
    kept = min(n, 750)
    np.testing.assert_array_equal(x[1, :, :kept], short[:, :kept])
    assert np.isnan(x[1, :, kept:]).all()


@pytest.mark.parametrize(
    ("other", "told"),
    [
        (
            signal(leads=("I", "II", "V2")),
            r"has the leads \['I', 'II', 'V2'\], and .* name those they share with leads=",
        ),
        (signal().assign_attrs(units="uV") * 1, "has the units|has"),
        (signal(rate=500.0), "has the sampling rate 500.0, and .* has 250.0: give them one with resample="),
        (signal(500), "has the length 500, and .* has 1000: cut or pad them with seconds="),
    ],
)
def test_records_that_do_not_fit_are_named_with_the_way_out(folder, other, told):
    write_wfdb(
        other.assign_attrs(signal().attrs | other.attrs | {"units": "uV" if "units" in told else "mV"}),
        folder / "other",
    )
    with pytest.raises(ValueError, match=told):
        read_many([folder / "a", folder / "other"])


def test_tables_that_cannot_be_read_are_refused(folder):
    with pytest.raises(ValueError, match="no record to read"):
        read_many([])
    with pytest.raises(ValueError, match=r"no column 'path' of paths; its columns are \['file'\]"):
        read_many(pd.DataFrame({"file": ["a"]}))
    with pytest.raises(ValueError, match="no row"):
        read_many(pd.DataFrame({"path": []}))
    with pytest.raises(ValueError, match="'lead' has the name of a dim"):
        read_many(pd.DataFrame({"path": ["a"], "lead": [1]}))
    with pytest.raises(ValueError, match="no WFDB header"):
        read_many(["nothing"], folder=folder)
    with pytest.raises(ValueError, match="1 rows of the table have no path"):
        read_many(pd.DataFrame({"path": ["a", None]}), folder=folder)
    with pytest.raises(ValueError, match=r"at least one cell of .* s, got nan"):
        read_many(["a"], folder=folder, seconds=float("nan"))
