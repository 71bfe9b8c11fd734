"""Inputs of any kind; results written whole or not at all."""

import hashlib
import importlib.util
import os
import subprocess
import sys
import warnings

import h5py
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from matplotlib.figure import Figure

from tsattr.io import (
    CannotWrite,
    MissingFile,
    check_writable,
    read_input,
    read_result,
    read_wfdb,
    write_figure,
    write_netcdf,
    write_result,
    write_text,
    write_wfdb,
)

from .records import RHYTHM, annotated, signal


@pytest.mark.parametrize("name", ["r1", "r1.hea", "r1.dat"])
def test_input_wfdb(tmp_path, name):
    write_wfdb(annotated([5]), tmp_path / "r1")
    x = read_input(tmp_path / name, leads="II", stop=1.0, annotator="atr", resample=100.0, band=(None, 40.0))
    assert x.sizes == {"lead": 1, "time": 100}
    assert "annotation" in x.coords


@pytest.mark.parametrize("suffix", ["nc", "zarr"])
def test_input_dataset(tmp_path, suffix):
    ds = xr.Dataset({"ecg": signal(), "age": ("sample", [50, 60])})
    path = tmp_path / f"d.{suffix}"
    if suffix == "nc":
        write_netcdf(ds, path)
    else:
        pytest.importorskip("zarr")
        with warnings.catch_warnings(action="ignore"):
            ds.to_zarr(path, zarr_format=2)  # text has no type in format 3 yet
    xr.testing.assert_identical(read_input(path, variable="ecg"), ds["ecg"])
    xr.testing.assert_identical(read_input(path, variable=["ecg", "age"]), ds)
    with pytest.raises(ValueError, match=r"holds the variables \['age', 'ecg'\]: choose one with variable="):
        read_input(path)
    with pytest.raises(ValueError, match="got 'eeg'"):
        read_input(path, variable="eeg")


def test_input_dataset_of_one_variable_needs_no_name(tmp_path):
    write_netcdf(signal().rename("ecg"), tmp_path / "d.nc")
    xr.testing.assert_identical(read_input(tmp_path / "d.nc"), signal().rename("ecg"))


@pytest.mark.parametrize("ending", ["nc4", "NC", "Nc4", "cdf", "ZARR"])
def test_endings_in_use_for_netcdf_and_zarr_are_known(tmp_path, ending):
    if ending == "ZARR":
        pytest.importorskip("zarr")
    write_result(xr.Dataset({"ecg": signal()}), tmp_path / f"d.{ending}")
    assert (tmp_path / f"d.{ending}").is_dir() == (ending == "ZARR")
    xr.testing.assert_identical(read_input(tmp_path / f"d.{ending}"), signal().rename("ecg"))


def test_dims_of_a_dataset_are_laid_out_and_renamed(tmp_path):
    ds = xr.Dataset({"sst": (("time", "lat", "lon"), np.arange(24.0).reshape(2, 3, 4)), "depth": ("lat", np.zeros(3))})
    write_netcdf(ds, tmp_path / "d.nc")
    one = read_input(tmp_path / "d.nc", variable="sst", dims=["sample=time", "lon", "lat"])
    xr.testing.assert_identical(one, ds.sst.rename(time="sample").transpose("sample", "lon", "lat"))
    both = read_input(tmp_path / "d.nc", variable=["sst", "depth"], dims=["sample=time", "lon", "lat"])
    assert both.depth.dims == ("lat",)
    with pytest.raises(ValueError, match="give each once"):
        read_input(tmp_path / "d.nc", variable="sst", dims=["time", "lat"])


@pytest.mark.parametrize("suffix", ["nc", "zarr"])
def test_results_are_written_with_a_history_or_not_at_all(tmp_path, suffix):
    if suffix == "zarr":
        pytest.importorskip("zarr")
    path = tmp_path / f"d.{suffix}"
    ds = xr.Dataset({"a": ("lead", [1.0, 2.0])}, {"lead": ["I", "II"]})
    made = ds.assign_attrs(method="Saliency()", model="Net", version_tsattr="9", history="2000 drawn")
    write_result(made, path)
    found = xr.open_dataset(path)
    assert found.attrs["history"].splitlines()[0] == "2000 drawn"
    assert found.attrs["history"].splitlines()[1].endswith("Z tsattr 9: Saliency() of Net")
    xr.testing.assert_equal(found, ds)
    found.close()
    with pytest.raises(ValueError, match="no folder"):
        write_result(ds, tmp_path / "none" / path.name)
    assert sorted(p.name for p in tmp_path.iterdir()) == [path.name]
    if suffix == "zarr":
        with pytest.raises(ValueError, match="it is a folder"):
            write_result(ds, path)


def test_input_numpy(tmp_path):
    x = np.random.default_rng(0).normal(size=(4, 3, 5))
    np.save(tmp_path / "x.npy", x)
    np.savez(tmp_path / "x.npz", x=x, y=x[0, 0])
    dims = ("sample", "lead", "time")
    xr.testing.assert_identical(read_input(tmp_path / "x.npy", dims=dims), xr.DataArray(x, dims=dims))
    xr.testing.assert_identical(
        read_input(tmp_path / "x.npz", dims=dims, variable="x"), xr.DataArray(x, dims=dims, name="x")
    )
    with pytest.raises(ValueError, match=r"holds the variables \['x', 'y'\]"):
        read_input(tmp_path / "x.npz", dims=dims)
    for wrong in (None, ("sample",)):
        with pytest.raises(ValueError, match=r"name the 3 axes of .*x\.npy, of sizes \(4, 3, 5\), with dims="):
            read_input(tmp_path / "x.npy", dims=wrong)


@pytest.mark.parametrize("name", ["x.npy", "x.npz"])
def test_pickles_are_not_read(tmp_path, name):
    x = np.array([{"a": 1}], dtype=object)
    np.save(tmp_path / "x.npy", x, allow_pickle=True)
    np.savez(tmp_path / "x.npz", x=x)
    with pytest.raises(ValueError, match="holds pickled objects, which can run code"):
        read_input(tmp_path / name, dims=("sample",))


def test_a_broken_archive_is_named(tmp_path):
    (tmp_path / "x.npz").write_bytes(b"PK\x03\x04 and no more")
    with pytest.raises(ValueError, match=r"x\.npz cannot be read as \.npz"):
        read_input(tmp_path / "x.npz", dims=("sample",))
    np.savez(tmp_path / "x.npz", x=np.arange(3))
    with pytest.raises(ValueError, match="got 'y'"):
        read_input(tmp_path / "x.npz", dims=("sample",), variable="y")


def test_zarr_names_the_extra_to_install(tmp_path, monkeypatch):
    (tmp_path / "x.zarr").mkdir()
    monkeypatch.setitem(sys.modules, "zarr", None)
    with pytest.raises(ValueError, match=r"x\.zarr needs zarr: pip install 'tsattr\[zarr\]'"):
        read_input(tmp_path / "x.zarr")


@pytest.mark.parametrize("first", ["sample", "ID", "index", ""])
def test_input_csv_with_an_index(tmp_path, first):
    (tmp_path / "t.csv").write_text(f"{first},age,sex\na,50,M\nb,60,F\n")
    frame = read_input(tmp_path / "t.csv")
    assert isinstance(frame, pd.DataFrame)
    assert frame.index.tolist() == ["a", "b"]
    assert frame.columns.tolist() == ["age", "sex"]


def test_input_csv_without_an_index(tmp_path):
    (tmp_path / "t.csv").write_text("age,sex\n50,M\n60,F\n")
    assert read_input(tmp_path / "t.csv").columns.tolist() == ["age", "sex"]


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("gone.nc", {}, "no file .*gone.nc"),
        ("gone", {}, "no file .*gone, and no WFDB header .*gone.hea"),
        ("gone.hea", {}, "no WFDB header .*gone.hea"),
        (
            "x.txt",
            {},
            r"cannot tell what .*x\.txt is: .* other kinds end in \['\.nc', '\.zarr', '\.npy', '\.npz', '\.csv'\]",
        ),
        ("x.csv", {"resample": 100.0, "leads": "II"}, r"leads, resample cannot be used with .*x\.csv"),
        ("x.csv", {"dims": ("a", "b")}, "dims cannot be used"),
        ("x.csv", {"variable": "a"}, "variable cannot be used"),
        ("x.csv", {}, r"x\.csv cannot be read as \.csv: No columns"),
        ("x.nc", {}, r"x\.nc cannot be read as \.nc"),
        ("x.npy", {"dims": ("a",)}, r"x\.npy"),
        ("r1.hea", {"dims": ("a",)}, "dims cannot be used with .*, which is read as WFDB"),
    ],
)
def test_wrong_input(tmp_path, name, options, message):
    for suffix in ("txt", "csv", "nc", "npy"):
        (tmp_path / f"x.{suffix}").touch()
    write_wfdb(signal(), tmp_path / "r1")
    with pytest.raises(ValueError, match=message):
        read_input(tmp_path / name, **options)


def test_netcdf_round_trip_is_identical(tmp_path):
    rhythm = ("time", np.ones(1000, np.int16), RHYTHM)
    x = read_wfdb(write_wfdb(annotated([5]).assign_coords(rhythm=rhythm), tmp_path / "r1"), annotator="atr")
    x = x.assign_coords(units=("lead", ["mV", "mV", "NU"]))
    ds = x.to_dataset(name="attribution").assign(status=("lead", ["ok", "not converged", "é"]))
    ds.attrs = {"method": "IntegratedGradients(steps=10)", "seed": 0, "version": "0.1"}
    write_netcdf(ds, tmp_path / "a.nc")
    with xr.open_dataset(tmp_path / "a.nc", engine="h5netcdf") as back:
        xr.testing.assert_identical(back, ds)
    write_netcdf(read_input(tmp_path / "a.nc", variable=["attribution", "status"]), tmp_path / "b.nc")
    with xr.open_dataset(tmp_path / "b.nc", engine="h5netcdf") as back:
        xr.testing.assert_identical(back, ds)


def test_the_packing_of_an_earlier_file_is_forgotten(tmp_path):
    x = xr.DataArray([0.123], dims="x", name="a")
    x.encoding = {"dtype": "int16", "scale_factor": 0.1}
    write_netcdf(x, tmp_path / "a.nc")
    assert read_input(tmp_path / "a.nc").item() == 0.123


def test_text_is_written_in_utf8(tmp_path):
    write_text("σ ≤ 1\n", tmp_path / "t.html")
    assert (tmp_path / "t.html").read_bytes() == "σ ≤ 1\n".encode()
    write_text("new", tmp_path / "t.html")
    assert [x.name for x in tmp_path.iterdir()] == ["t.html"]


WRITERS = [
    lambda path: write_text("new", path),
    lambda path: write_netcdf(xr.Dataset({"a": ("x", [1.0])}), path),
    check_writable,
]


@pytest.mark.parametrize("write", WRITERS)
def test_folders_that_cannot_be_written(tmp_path, monkeypatch, write):
    with pytest.raises(MissingFile, match=r"no folder .*missing to write into: make it first"):
        write(tmp_path / "missing" / "a.nc")
    (tmp_path / "folder").mkdir()
    with pytest.raises(CannotWrite, match="it is a folder"):
        write(tmp_path / "folder")

    def refuse(*args, **kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("tempfile.mkdtemp", refuse)  # as in a folder without write permission, which stops no root user
    with pytest.raises(ValueError, match=r"cannot write into .*: Permission denied"):
        write(tmp_path / "a.nc")
    assert [x.name for x in tmp_path.iterdir()] == ["folder"]


@pytest.mark.parametrize("mode", [0o500, 0o000])
@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_write_permission(tmp_path, mode):
    tmp_path.chmod(mode)
    try:
        with pytest.raises(CannotWrite, match="Permission denied"):
            write_text("new", tmp_path / "a")
    finally:
        tmp_path.chmod(0o700)


@pytest.mark.parametrize("old", [None, "old"])
def test_a_check_changes_nothing(tmp_path, old):
    path = tmp_path / "a.nc"
    if old:
        path.write_text(old)
    check_writable(path)
    check_writable(str(path))
    assert (path.read_text() if old else list(tmp_path.iterdir())) == (old or [])


def test_a_record_is_written_where_it_can_be(tmp_path):
    with pytest.raises(MissingFile, match="make it first"):
        write_wfdb(signal(), tmp_path / "missing" / "r1")
    (tmp_path / "r1.hea").mkdir()
    with pytest.raises(CannotWrite, match="it is a folder"):
        write_wfdb(signal(), tmp_path / "r1")
    assert [x.name for x in tmp_path.iterdir()] == ["r1.hea"]


def test_netcdf_is_written_and_read_without_wfdb(tmp_path):
    code = f"""
import sys, xarray as xr, tsattr.io
tsattr.io.write_netcdf(xr.DataArray([1.0], name="a"), {str(tmp_path / "a.nc")!r})
assert tsattr.io.read_input({str(tmp_path / "a.nc")!r}).item() == 1
assert "wfdb" not in sys.modules and "scipy.signal" not in sys.modules
assert "read_wfdb" in dir(tsattr.io) and callable(tsattr.io.read_wfdb)
assert "wfdb" in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path):
    write_netcdf(xr.Dataset({"a": ("x", [1.0])}), tmp_path / "a.nc")
    before = (tmp_path / "a.nc").read_bytes()
    with pytest.raises(TypeError):
        write_netcdf(xr.Dataset({"a": ("x", [1.0])}, attrs={"bad": {"a": 1}}), tmp_path / "a.nc")
    assert (tmp_path / "a.nc").read_bytes() == before
    assert [x.name for x in tmp_path.iterdir()] == ["a.nc"]


def test_written_files_have_ordinary_permissions(tmp_path):
    write_text("x", tmp_path / "ours")
    (tmp_path / "theirs").touch()
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "theirs").stat().st_mode


# ------------------------------------------------------------------------------------- full disks, damaged files

FULL = """
import resource, signal, sys
from pathlib import Path
import numpy as np, xarray as xr
from matplotlib.figure import Figure
from tsattr import io
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
r = np.random.default_rng(0)
data = xr.Dataset({"a": (("x", "y"), r.normal(size=(500, 400))), "name": ("x", ["abcdef"] * 500)}, {"x": np.arange(500)})
writers = {
    "a.nc": io.write_netcdf,
    "a.txt": lambda data, path: io.write_text("x" * 2_000_000, path),
    "a.png": lambda data, path: io.write_figure(Figure((30, 30)), path, dpi=300),
    "a.zarr": io.write_zarr,
}
folder = Path(sys.argv[1])
for name in list(writers)[: int(sys.argv[2])]:
    for limit in (0, 100, 3000, 20_000):
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
        try:
            writers[name](data, folder / name)
        except io.CannotWrite as error:
            assert str(error) == f"cannot write into {folder}: File too large", error
        else:
            raise AssertionError((name, limit))
        assert not list(folder.glob(".*"))
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
io.write_netcdf(data, folder / "later.nc")
print("alive")
"""


def test_a_full_disk_is_an_error_and_leaves_what_was_there(tmp_path):
    zarr = importlib.util.find_spec("zarr") is not None
    old = {"a.nc", "a.txt", "a.png"}
    for name in old:
        (tmp_path / name).write_bytes(b"old")
    argv = [sys.executable, "-W", "ignore", "-c", FULL, str(tmp_path), str(3 + zarr)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "alive\n", "")
    assert {x.name for x in tmp_path.iterdir()} == {*old, "later.nc"}
    assert {(tmp_path / name).read_bytes() for name in old} == {b"old"}


def wide():
    r = np.random.default_rng(0)
    coords = {"lead": ["I", "II"], "time": np.arange(2000) / 250, "date": ("time", pd.date_range("2000", periods=2000))}
    return xr.Dataset(
        {"a": (("lead", "time"), r.normal(size=(2, 2000))), "flag": ("time", r.random(2000) > 0.5), "one": 1.0}, coords
    )


@pytest.mark.parametrize("name", ["a", "flag", "time", "date"])
@pytest.mark.parametrize("read", [read_result, lambda path: read_input(path, variable="a"), xr.open_dataset])
def test_a_byte_that_changed_in_netcdf_is_noticed_by_any_reader(tmp_path, name, read):
    path = tmp_path / "a.nc"
    write_netcdf(wide(), path)
    with h5py.File(path) as file:
        at = file[name].id.get_chunk_info(0).byte_offset
    data = bytearray(path.read_bytes())
    data[at + 100] ^= 1
    path.write_bytes(data)
    if name == "flag" and read not in (read_result, xr.open_dataset):
        read = read_result  # reads what is asked for alone
    with pytest.raises((ValueError, OSError), match=r"read data|bytes in it have changed"):
        read(path).load()


@pytest.mark.parametrize("read", [read_result, lambda path: read_input(path, variable="a")])
def test_any_byte_that_changed_in_netcdf_is_noticed_by_our_readers(tmp_path, read):
    path = tmp_path / "a.nc"
    write_netcdf(wide().assign_attrs(units="mV"), path)
    whole = path.read_bytes()
    r = np.random.default_rng(0)
    labels = whole.index(b"mV"), whole.index(b"II")
    for at in (0, 9, *labels, *r.integers(len(whole) - 79, size=60)):
        data = bytearray(whole)
        data[at] ^= 1 << int(r.integers(8))
        path.write_bytes(data)
        with pytest.raises(ValueError, match=r"a\.nc is not as it was written: bytes in it have changed"):
            read(path)


def test_what_others_change_in_netcdf_is_no_damage(tmp_path):
    path = tmp_path / "a.nc"
    write_netcdf(wide(), path)
    with h5py.File(path, "r+") as file:
        file["a"][0, 0] = 7.0
    assert read_result(path).a[0, 0] == 7.0
    xr.Dataset({"b": ("time", np.ones(2000))}).to_netcdf(path, mode="a", engine="h5netcdf")
    assert set(read_result(path)) == {"a", "flag", "one", "b"}
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(ValueError, match="cannot be read as"):
        read_result(path)


def test_what_is_written_with_checksums_is_the_same(tmp_path):
    write_netcdf(wide(), tmp_path / "a.nc")
    xr.testing.assert_identical(read_result(tmp_path / "a.nc"), wide())
    with pytest.raises(MissingFile, match="gone"):
        read_result(tmp_path / "gone.nc")


def zarr_store(tmp_path, write):
    pytest.importorskip("zarr")
    path = tmp_path / "a.zarr"
    data = wide().drop_vars("date")
    data.a[:, 500:] = np.nan
    write(data, path)
    return data, path


def files_of(path):
    return sorted(x for x in path.rglob("*") if x.is_file() and x.name != "SHA256SUMS")


@pytest.mark.parametrize("change", ["remove", "flip", "cut", "empty"])
def test_a_zarr_store_that_lacks_or_has_other_bytes_is_refused(tmp_path, change):
    data, path = zarr_store(tmp_path, write_result)
    xr.testing.assert_identical(read_input(path, variable=["a", "flag", "one"]), data)
    for file in files_of(path):
        before = file.read_bytes()
        if change == "remove":
            file.unlink()
        else:
            flipped = bytes([before[0] ^ 1]) + before[1:]
            file.write_bytes({"flip": flipped, "cut": before[:-1], "empty": b""}[change])
        with pytest.raises(ValueError, match=r"not as it was written: 1 of its files .* copy the store again"):
            read_input(path, variable="a")
        file.write_bytes(before)
    xr.testing.assert_identical(read_result(path), data)


def test_the_sums_of_a_store_are_those_that_sha256sum_checks(tmp_path):
    _, path = zarr_store(tmp_path, write_result)
    for line in (path / "SHA256SUMS").read_text().splitlines():
        digest, name = line.split("  ")
        assert hashlib.sha256((path / name).read_bytes()).hexdigest() == digest


def test_chunks_that_a_foreign_store_lacks_are_told(tmp_path):
    def foreign(data, path):
        with warnings.catch_warnings(action="ignore"):
            data.to_zarr(path, encoding={"a": {"chunks": (1, 500), "write_empty_chunks": True}})

    data, path = zarr_store(tmp_path, foreign)
    with warnings.catch_warnings(action="error"):
        xr.testing.assert_identical(read_input(path, variable="a").drop_attrs(), data.a)
    (chunk, *_) = [x for x in files_of(path / "a") if x.name != "zarr.json"]
    chunk.unlink()
    with pytest.warns(UserWarning, match="1 of the 8 chunks of 'a' are not in .* and are read as nan"):
        read_input(path, variable="a")
    with warnings.catch_warnings(action="error"):
        read_input(path, variable="flag")  # which lacks none
    chunk.write_bytes(b"no chunk at all")
    with pytest.raises(ValueError, match=r"a\.zarr cannot be read as \.zarr"):
        read_input(path, variable="a")


def test_a_picture_keeps_its_permissions_and_takes_options(tmp_path):
    path = tmp_path / "p.png"
    path.touch(0o600)
    write_figure(Figure((2, 1)), path, dpi=50)
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.read_bytes()[16:24] == (100).to_bytes(4) + (50).to_bytes(4)  # width and height
    with pytest.raises(ValueError, match="xyz"):
        write_figure(Figure(), tmp_path / "p.xyz")
    assert [x.name for x in tmp_path.iterdir()] == ["p.png"]


def test_a_folder_that_is_called_like_a_file_is_named(tmp_path):
    (tmp_path / "a.nc").mkdir()
    with pytest.raises(ValueError, match=r"a.nc cannot be read as .nc: it is a folder"):
        read_input(tmp_path / "a.nc")
