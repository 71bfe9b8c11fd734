import itertools
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from tsattr.datasets import read_physionet2012

DATA = Path(os.environ.get("TSATTR_DATA", Path(__file__).parents[3] / "shared" / "data")) / "clinical" / "physionet2012"
COLUMNS = ["RecordID", "Time", "Parameter", "Value"]
ROWS = [
    (30, "00:00", "Age", 64.0),
    (30, "00:00", "Gender", 1.0),
    (30, "00:00", "Height", -1.0),
    (30, "00:00", "ICUType", 3.0),
    (30, "00:00", "Weight", 80.0),
    (30, "00:00", "Weight", 81.0),  # the second at 00:00 is a measurement
    (30, "02:59", "HR", 100.0),
    (30, "00:30", "HR", 60.0),  # not in order of time
    (30, "00:45", "HR", 90.0),
    (30, "00:45", "HR", 93.0),  # a repeated time
    (30, "03:00", "HR", 70.0),
    (30, "04:00", "HR", 72.0),  # exactly the end
    (30, "04:01", "HR", 75.0),  # after it
    (30, "01:00", "pH", 0.0),
    (30, "01:20", "pH", 7.25),
    (30, "02:00", "Temp", 0.0),
    (30, "02:00", "Temp", -1.0),
    (10, "00:00", "Weight", -1.0),
    (10, "00:00", "Age", 30.0),
    (10, "00:00", "Age", 31.0),
    (10, "01:10", "Weight", 70.0),
    (20, "00:00", "Age", -1.0),
]
DEATHS = pd.DataFrame({"RecordID": [10, 20, 30, 40], "SAPS-I": 5, "In-hospital_death": [1, 0, 0, 1]})
NAN = np.nan


def long_table(rows=ROWS):
    return pd.DataFrame(rows, columns=COLUMNS)


@pytest.fixture
def ds():
    return read_physionet2012(long_table(), DEATHS, hours=4)


def cells(variable, sample, feature):
    return variable.sel(sample=sample, feature=feature).values


def test_measurements_lie_in_their_cells(ds):
    assert ds.sample.values.tolist() == [30, 10, 20]  # as they first appear
    np.testing.assert_array_equal(cells(ds.x, 30, "HR"), [81, NAN, 100, 71])
    np.testing.assert_array_equal(cells(ds["count"], 30, "HR"), [3, 0, 1, 2])
    np.testing.assert_array_equal(cells(ds.x, 30, "pH"), np.float32([NAN, 7.25, NAN, NAN]))
    np.testing.assert_array_equal(cells(ds.x, 30, "Weight"), [81, NAN, NAN, NAN])
    np.testing.assert_array_equal(cells(ds.x, 10, "Weight"), [NAN, 70, NAN, NAN])
    assert ds.x.notnull().sum() == 6
    np.testing.assert_array_equal(ds["mask"], ds.x.notnull())
    np.testing.assert_array_equal(ds["mask"], ds["count"] > 0)


def test_gap_runs_from_the_latest_measurement_to_the_end_of_the_cell(ds):
    np.testing.assert_allclose(cells(ds.gap, 30, "HR"), [0.25, 1.25, 1 / 60, 0], rtol=1e-6)
    np.testing.assert_allclose(cells(ds.gap, 30, "pH"), [NAN, 40 / 60, 1 + 40 / 60, 2 + 40 / 60], rtol=1e-6)
    assert ds.gap.sel(feature="Temp").isnull().all()
    assert ds.gap.attrs["units"] == "h"


def test_the_latest_of_a_cell(ds):
    last = read_physionet2012(long_table(), hours=4, aggregate="last")
    np.testing.assert_array_equal(cells(last.x, 30, "HR"), [93, NAN, 100, 72])
    xr.testing.assert_identical(last[["count", "gap"]].drop_attrs(), ds[["count", "gap"]].drop_attrs())


def test_what_is_left_out_is_counted(ds):
    assert ds.attrs["measurements"] == 13
    assert ds.attrs["impossible"] == 3
    assert ds.attrs["after_end"] == 1
    assert ds.attrs["repeated"] == 1
    assert ds["count"].sum() == 13 - 3 - 1
    assert ds.impossible.sel(feature=["pH", "Temp", "HR"]).values.tolist() == [1, 2, 0]
    assert ds.height.attrs["impossible"] == 1


def test_descriptors_and_labels(ds):
    np.testing.assert_array_equal(ds.age, [64, 30, NAN])
    np.testing.assert_array_equal(ds.gender, [1, NAN, NAN])
    np.testing.assert_array_equal(ds.height, [NAN, NAN, NAN])
    np.testing.assert_array_equal(ds.weight, [80, NAN, NAN])
    np.testing.assert_array_equal(ds.icu_type, [3, NAN, NAN])
    np.testing.assert_array_equal(ds.label, [0, 1, 0])
    assert (ds.age.attrs["units"], ds.weight.attrs["units"]) == ("year", "kg")
    assert "label" not in read_physionet2012(long_table())


def test_layout(ds, tmp_path):
    assert ds.x.dims == ("sample", "feature", "time")
    assert ds.x.dtype == np.float32
    assert ds.sizes["feature"] == 37
    assert ds.time.values.tolist() == [0, 1, 2, 3]
    assert ds.time.attrs["units"] == "h"
    assert ds.units.sel(feature=["HR", "Temp", "MAP"]).values.tolist() == ["1/min", "degC", "mmHg"]
    assert read_physionet2012(long_table()).sizes["time"] == 48
    ds.to_netcdf(tmp_path / "ds.nc", engine="h5netcdf")
    with xr.open_dataset(tmp_path / "ds.nc", engine="h5netcdf") as back:
        xr.testing.assert_equal(back, ds)


@pytest.mark.parametrize("aggregate", ["mean", "last"])
@pytest.mark.parametrize(("hours", "step", "width"), [(6, "1h", 60), (6, "30min", 30), (4, "2h", 120)])
def test_grid_is_that_of_a_slow_loop(aggregate, hours, step, width):
    rng = np.random.default_rng(3)
    n = 400
    names = rng.choice(["HR", "K", "Urine"], n)
    table = pd.DataFrame(
        {
            "RecordID": rng.integers(5, 9, n),
            "Time": [f"{m // 60:02d}:{m % 60:02d}" for m in rng.integers(0, 7 * 60, n)],
            "Parameter": names,
            "Value": rng.uniform(2, 9, n),
        }
    )
    got = read_physionet2012(table, hours=hours, step=step, aggregate=aggregate)
    times = hours * 60 // width
    assert got.time.values.tolist() == [k * width / 60 for k in range(times)]
    minute = np.array([int(t[:2]) * 60 + int(t[3:]) for t in table.Time])
    found = got.transpose("sample", "feature", "time")
    for record, name, k in itertools.product(range(4), ["HR", "K", "Urine", "HCT"], range(times)):
        mine = (table.RecordID == got.sample.values[record]) & (table.Parameter == name)
        where = record, got.feature.values.tolist().index(name), k
        end = (k + 1) * width
        here = mine & (minute >= k * width) & ((minute < end) | ((k == times - 1) & (minute == end)))
        assert found["count"].values[where] == here.sum()
        expected = NAN
        if here.any():
            latest = np.flatnonzero(here & (minute == minute[here].max()))[-1]
            expected = table.Value[here].mean() if aggregate == "mean" else table.Value[latest]
        np.testing.assert_allclose(found.x.values[where], expected, rtol=1e-6)
        before = minute[mine & ((minute < end) | here)]
        np.testing.assert_allclose(
            found.gap.values[where], (end - before.max()) / 60 if before.size else NAN, atol=1e-6
        )


def test_files_and_kinds_of_columns_make_no_difference(ds, tmp_path):
    long_table().to_csv(tmp_path / "long.csv.gz", index=False)
    DEATHS.to_csv(tmp_path / "outcomes.csv", index=False)
    xr.testing.assert_identical(read_physionet2012(tmp_path / "long.csv.gz", tmp_path / "outcomes.csv", hours=4), ds)
    coded = long_table().astype({"RecordID": "category", "Time": "category", "Parameter": "category"})
    xr.testing.assert_identical(read_physionet2012(coded, DEATHS, hours=4), ds)


def write_folder(folder, rows=ROWS):
    """Write records as the challenge has them: a file each, its RecordID in a row of its own, the outcomes beside the set."""
    (folder / "set-a").mkdir()
    for record, own in long_table(rows).groupby("RecordID"):
        lines = [f"00:00,RecordID,{record}", *(f"{t},{p},{v:g}" for _, t, p, v in own.itertuples(index=False))]
        (folder / "set-a" / f"{record}.txt").write_text("\n".join(["Time,Parameter,Value", *lines, ""]))
    DEATHS.to_csv(folder / "Outcomes-a.txt", index=False)
    return folder


def test_the_folder_of_the_challenge(ds, tmp_path):
    folder, by_number = write_folder(tmp_path), ds.sortby("sample")
    xr.testing.assert_identical(read_physionet2012(folder, hours=4), by_number)
    xr.testing.assert_identical(read_physionet2012(str(folder / "set-a"), hours=4), by_number)
    xr.testing.assert_identical(read_physionet2012(folder, DEATHS, hours=4), by_number)
    (folder / "Outcomes-a.txt").rename(folder / "set-a" / "Outcomes-a.txt")
    xr.testing.assert_identical(read_physionet2012(folder / "set-a", hours=4), by_number)
    (folder / "set-a" / "Outcomes-a.txt").unlink()
    xr.testing.assert_identical(read_physionet2012(folder, hours=4), by_number.drop_vars("label"))


def test_several_sets_are_read_together(ds, tmp_path):
    folder = write_folder(tmp_path)
    (folder / "set-b").mkdir()
    (folder / "set-a" / "30.txt").rename(folder / "set-b" / "30.txt")
    DEATHS.query("RecordID != 30").to_csv(folder / "Outcomes-a.txt", index=False)
    with pytest.raises(ValueError, match="1 records have no outcome, such as 30"):
        read_physionet2012(folder, hours=4)
    DEATHS.query("RecordID == 30").to_csv(folder / "Outcomes-b.txt", index=False)
    xr.testing.assert_identical(read_physionet2012(folder, hours=4), ds.sortby("sample"))
    assert read_physionet2012(folder / "set-b", hours=4).sample.values.tolist() == [30]


def test_a_folder_that_is_not_the_challenges(tmp_path):
    with pytest.raises(ValueError, match=r"has no records: files such as 132539.txt.*unpack set-a\.tar\.gz"):
        read_physionet2012(tmp_path)
    folder = write_folder(tmp_path)
    (folder / "set-a" / "30.txt").write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match=r"30\.txt is no record of the challenge: it begins with 'a,b'"):
        read_physionet2012(folder)
    (folder / "set-a" / "30.txt").write_text("Time,Parameter,Value\n00:00,RecordID,31\n00:00,HR,80\n")
    with pytest.raises(ValueError, match=r"30\.txt says that it is of record 31"):
        read_physionet2012(folder)


def test_the_table_given_is_left_as_it_was():
    table, outcomes = long_table(), DEATHS.copy()
    read_physionet2012(table, outcomes)
    pd.testing.assert_frame_equal(table, long_table())
    pd.testing.assert_frame_equal(outcomes, DEATHS)


def test_limits_can_be_changed():
    wide = read_physionet2012(long_table(), hours=4, limits={"Temp": (0, 45), "Age": (0, 50)})
    assert cells(wide.x, 30, "Temp")[2] == 0
    np.testing.assert_array_equal(wide.age, [NAN, 30, NAN])
    assert wide.attrs["impossible"] == 2


@pytest.mark.parametrize(
    ("rows", "error", "words"),
    [
        ([(1, "00:00", "Pulse", 60.0)], ValueError, r"unknown parameters \['Pulse'\]; known are"),
        ([(1, "00:75", "HR", 60.0)], ValueError, "HH:MM', not '00:75'"),
        ([(1, "soon", "HR", 60.0)], ValueError, "not 'soon'"),
        ([(1, "00:00", "HR", None)], ValueError, "Value is empty in 1 rows"),
        ([(1, None, "HR", 60.0)], ValueError, "Time is empty in 1 rows"),
        ([], ValueError, "no rows"),
        ([(1, "00:00", "HR", "fast")], ValueError, "fast"),
    ],
)
def test_bad_tables(rows, error, words):
    with pytest.raises(error, match=words):
        read_physionet2012(long_table(rows))


def test_missing_columns():
    with pytest.raises(KeyError, match=r"no column \['Value'\]"):
        read_physionet2012(long_table().drop(columns="Value"))
    with pytest.raises(KeyError, match=r"no column \['In-hospital_death'\]"):
        read_physionet2012(long_table(), DEATHS.drop(columns="In-hospital_death"))


def test_bad_outcomes():
    with pytest.raises(ValueError, match="1 records have no outcome, such as 20"):
        read_physionet2012(long_table(), DEATHS.query("RecordID != 20"))
    with pytest.raises(ValueError, match="1 records have several outcomes, such as 10"):
        read_physionet2012(long_table(), pd.concat([DEATHS, DEATHS[:1]]))
    with pytest.raises(ValueError, match=r"In-hospital_death is 0 or 1, not \[.*2"):
        read_physionet2012(long_table(), DEATHS.assign(**{"In-hospital_death": 2}))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"aggregate": "median"}, r"aggregate is one of \('mean', 'last'\), not 'median'"),
        ({"hours": 0}, "hours is a multiple of step"),
        ({"step": "5h"}, "hours is a multiple of step.*'5h'"),
        ({"step": "-1h"}, "both are above 0"),
        ({"limits": {"Pulse": (0, 1)}}, r"limits for unknown parameters \['Pulse'\]"),
        ({"limits": {"HR": (9, 1)}}, "low <= high.*HR"),
    ],
)
def test_wrong_settings(settings, words):
    with pytest.raises(ValueError, match=words):
        read_physionet2012(long_table(), **settings)


@pytest.mark.data
@pytest.mark.skipif(not DATA.is_dir(), reason="no PhysioNet 2012 table: set TSATTR_DATA")
def test_the_real_table_loses_nothing():
    table = pd.read_csv(DATA / "set-a-long.csv.gz")
    ds = read_physionet2012(table, DATA / "outcomes.csv")
    assert dict(ds.x.sizes) == {"sample": 2800, "feature": 37, "time": 48}
    assert ds.label.sum() == 404
    np.testing.assert_array_equal(ds.sample, table.RecordID.unique())

    descriptors = table.Parameter.isin(["Age", "Gender", "Height", "ICUType"])
    descriptors |= (table.Parameter == "Weight") & (table.Time == "00:00")
    measured = table[~descriptors]
    assert ds.attrs["measurements"] == len(measured) == 1_214_788
    assert ds["count"].sum() == len(measured) - ds.attrs["impossible"] - ds.attrs["after_end"]
    assert ds.attrs["after_end"] == 0
    assert ds.attrs["impossible"] < 0.002 * len(measured)
    by_feature = measured.Parameter.value_counts().reindex(ds.feature.values)
    np.testing.assert_array_equal(ds["count"].sum(("sample", "time")) + ds.impossible, by_feature)
    total = float((ds.x.sel(feature="Urine").astype(float) * ds["count"].sel(feature="Urine")).sum())
    assert total == pytest.approx(table.Value[table.Parameter == "Urine"].sum(), rel=1e-6)
    assert ds.age.notnull().all()
    assert (ds.gender.isnull().sum(), ds.weight.isnull().sum()) == (2, 215)
