"""What WFDB reading and writing must refuse, and what it says."""

import socket

import numpy as np
import pytest
import wfdb
import xarray as xr

from tsattr.io import MissingFile, read_wfdb, write_wfdb

from .records import annotated, counts, signal


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"leads": ["I", "V9"]}, r"leads must be different names out of \['I', 'II', 'V1'\], got \['I', 'V9'\]"),
        ({"leads": []}, "leads must be different names"),
        ({"leads": ["I", "i"]}, "leads must be different names"),
        ({"start": -1.0}, r"0 <= start < stop <= 4 s \(the length of the record\) must hold, got -1.0 and 4.0"),
        ({"stop": 4.1}, "got 0.0 and 4.1"),
        ({"start": 2.0, "stop": 2.0}, "got 2.0 and 2.0"),
        ({"start": 0.0011, "stop": 0.002}, "no sample from 0.0011 s up to 0.002 s at 250 Hz"),
        ({"band": (0.5, 125.0)}, "band must be .* < 125 Hz, half the sampling rate.* got"),
        ({"band": (0.5, 60.0), "resample": 100.0}, "< 50 Hz"),
        ({"band": (40.0, 0.5)}, "0 < low < high"),
        ({"band": (0.0, 40.0)}, "0 < low < high"),
        ({"band": (None, None)}, "band must be"),
        ({"resample": 0.0}, "resample must be a positive rate in Hz, got 0.0"),
        ({"resample": 100 * np.pi}, "no simple ratio of the sampling rate 250 Hz"),
        ({"dtype": "int16"}, "dtype must be float32 or float64"),
        ({"annotator": "qrs"}, r"no annotations .*r1.qrs; annotators there: \['atr'\]"),
        ({"annotator": "../atr"}, "annotator must be the extension"),
    ],
)
def test_wrong_options(tmp_path, options, message):
    header = write_wfdb(annotated([5]), tmp_path / "r1")
    with pytest.raises(ValueError, match=message):
        read_wfdb(header, **options)


def test_mlii_is_no_lead_ii(tmp_path):
    header = write_wfdb(signal(leads=("MLII", "V5")), tmp_path / "r1")
    with pytest.raises(ValueError, match="MLII is a modified lead II: ask for it by its own name"):
        read_wfdb(header, leads=["II"])


def test_missing_files_are_named(tmp_path):
    with pytest.raises(MissingFile, match=r"no WFDB header .*nothing\.hea"):
        read_wfdb(tmp_path / "nothing")
    write_wfdb(signal(), tmp_path / "r1")
    (tmp_path / "r1.dat").unlink()
    with pytest.raises(FileNotFoundError, match=r"signal file 'r1\.dat' named by r1\.hea is not in"):
        read_wfdb(tmp_path / "r1")


def test_what_the_header_shows_is_raised_before_the_signal_is_read(tmp_path):
    header = write_wfdb(signal(), tmp_path / "r1")
    (tmp_path / "r1.dat").unlink()
    for options in ({"band": (0.5, 200.0)}, {"resample": 100 * np.pi}, {"stop": 5.0}):
        with pytest.raises(ValueError, match=r"band must be|no simple ratio|length of the record"):
            read_wfdb(header, **options)


def test_only_the_files_of_the_wanted_leads_are_needed(tmp_path):
    header = write_wfdb(signal(), tmp_path / "r1")
    header.write_text(header.read_text().replace("r1 3", "r1 4") + "gone.dat 16 1000/mV 16 0 0 0 0 vx\n")
    assert read_wfdb(header, leads=["I"]).sizes["lead"] == 1
    with pytest.raises(MissingFile, match=r"gone\.dat"):
        read_wfdb(header)


def test_a_truncated_file_is_told_in_bytes_and_what_is_there_can_be_read(tmp_path):
    header = write_wfdb(signal(), tmp_path / "r1")
    whole = read_wfdb(header)
    data = tmp_path / "r1.dat"
    data.write_bytes(data.read_bytes()[:3001])
    with pytest.raises(
        ValueError, match=r"'r1\.dat' of r1\.hea is truncated: 6000 bytes expected, 3001 found.*ends 2 s"
    ):
        read_wfdb(header)
    np.testing.assert_array_equal(read_wfdb(header, stop=2.0), whole[:, :500])


def test_a_skewed_signal_is_read_ahead(tmp_path):
    header = write_wfdb(signal(leads=("II",)), tmp_path / "r1")
    whole = read_wfdb(header)
    header.write_text(header.read_text().replace("r1.dat 16", "r1.dat 16:3"))
    np.testing.assert_array_equal(read_wfdb(header)[:, :-3], whole[:, 3:])
    data = tmp_path / "r1.dat"
    data.write_bytes(data.read_bytes()[: 2 * 500])
    with pytest.raises(ValueError, match="1006 bytes expected, 1000 found"):
        read_wfdb(header, stop=2.0)


@pytest.mark.parametrize(
    "name", ["../secret.dat", "/etc/passwd", "sub/x.dat", "..", "http://example.org/x.dat", "..\\x"]
)
def test_a_header_must_not_leave_its_folder(tmp_path, name):
    write_wfdb(signal(leads=("II",)), tmp_path / "secret")
    folder = tmp_path / "in"
    folder.mkdir()
    header = write_wfdb(signal(leads=("II",)), folder / "r1")
    header.write_text(header.read_text().replace("r1.dat", name))
    with pytest.raises(ValueError, match="may only name files in its own folder"):
        read_wfdb(header)


def test_a_segment_must_not_leave_the_folder(tmp_path):
    write_wfdb(signal(), tmp_path / "secret")
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "all.hea").write_text("# a comment\n\nall/1 3 250 1000\n../secret 1000\n")
    with pytest.raises(ValueError, match=r"names the file '\.\./secret'"):
        read_wfdb(tmp_path / "in" / "all")


@pytest.mark.parametrize("text", ["", "# only a comment\n", "r1\n", "r1 1 250 10\nr1.dat nonsense\n", "r1 0 250 10\n"])
def test_a_header_that_is_none(tmp_path, text):
    (tmp_path / "r1.hea").write_text(text)
    with pytest.raises(ValueError, match=r"r1\.hea (is not a WFDB header|describes no signals)"):
        read_wfdb(tmp_path / "r1")


def test_annotations_that_are_none(tmp_path):
    header = write_wfdb(signal(), tmp_path / "r1")
    (tmp_path / "r1.atr").write_bytes(b"abc")
    with pytest.raises(ValueError, match=r"r1\.atr is not an annotation file"):
        read_wfdb(header, annotator="atr")


def test_the_network_is_left_alone(tmp_path, monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("network")

    header = write_wfdb(annotated([5]), tmp_path / "r1")
    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    with pytest.raises(AssertionError, match="network"):
        socket.create_connection(("localhost", 1))
    assert read_wfdb(header, annotator="atr", resample=100.0).sizes["lead"] == 3
    for path in ("http://example.org/r1", "s3://bucket/r1", "mitdb/100"):
        with pytest.raises(ValueError, match=r"no local file|no WFDB header"):
            read_wfdb(path)


def test_remote_records_are_asked_of_physionet(tmp_path, monkeypatch):
    folder = tmp_path / "local"
    folder.mkdir()
    write_wfdb(annotated([5]), folder / "r1")
    asked = []

    def local(read):
        def answer(name, *args, pn_dir=None, **kwargs):
            asked.append((name, pn_dir))
            return read(str(folder / name), *args, **kwargs)

        return answer

    for name in ("rdheader", "rdrecord", "rdann"):
        monkeypatch.setattr(wfdb, name, local(getattr(wfdb, name)))
    x = read_wfdb("db/1.0.0/r1", remote=True, annotator="atr")
    assert x.shape == (3, 1000)
    assert counts(x.annotation) == {"N": 1}
    assert asked == [("r1", "db/1.0.0")] * 3
    assert "sha256" not in x.attrs
    with pytest.raises(ValueError, match="'database/record'"):
        read_wfdb("100", remote=True)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x: x.expand_dims("sample"), r"has dims \('lead', 'time'\), got .*; select one sample first"),
        (lambda x: x * 100, "32767 / gain = 32.767, largest is"),
        (lambda x: x + np.inf, "values must be within"),
        (lambda x: x.drop_vars("time").assign_attrs(sampling_rate=np.nan), "sampling_rate must be a positive rate"),
        (lambda x: x.drop_vars("time").drop_attrs(), "sampling rate is unknown"),
        (lambda x: x.assign_coords(annotation=("time", np.full(1000, 7))), r"do not explain the codes \[7\]"),
        (
            lambda x: x.assign_coords(
                annotation=("time", np.full(1000, 2), {"flag_values": [0, 2], "flag_meanings": "none beat"})
            ),
            r"WFDB has no annotation symbol \['beat'\]",
        ),
    ],
)
def test_what_a_wfdb_record_cannot_hold(tmp_path, change, message):
    with xr.set_options(keep_attrs=True), pytest.raises(ValueError, match=message):
        write_wfdb(change(signal()), tmp_path / "r1")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("gain", [0.0, -1.0, np.inf])
def test_a_gain_is_positive(tmp_path, gain):
    with pytest.raises(ValueError, match="gain must be a positive number of steps per unit, got"):
        write_wfdb(signal(), tmp_path / "r1", gain=gain)


def test_record_names_are_plain(tmp_path):
    with pytest.raises(ValueError, match=r"letters, digits, - and _ only, got 'a\.b'"):
        write_wfdb(signal(), tmp_path / "a.b")
