"""WFDB headers as they are published: units, names and dates beyond the standard, files that lie, damaged samples."""

import random
import re
import time
import tracemalloc
import warnings

import numpy as np
import pytest
import wfdb
import xarray as xr

from tsattr.io import MissingFile, read_wfdb, write_wfdb
from tsattr.io.annotations import _one_per_sample
from tsattr.io.wfdb_header import start_attributes

from .records import annotated, signal


def record(folder, line="16 1000/mV 16 0 0 0 0 II", first="1 250 50", encoding="utf-8", name="a"):
    (folder / f"{name}.dat").write_bytes(np.arange(50, dtype="<i2").tobytes())
    (folder / f"{name}.hea").write_bytes(f"{name} {first}\n{name}.dat {line}\n".encode(encoding))
    return folder / name


# ------------------------------------------------------------------------------------------------ units and names


@pytest.mark.parametrize(
    ("unit", "encoding", "expected"),
    [
        ("µV", "utf-8", "uV"),  # the micro sign
        ("μV", "utf-8", "uV"),  # the Greek letter
        ("µV", "latin-1", "uV"),
        ("uV", "ascii", "uV"),
        ("UV", "ascii", "uV"),
        ("mv", "ascii", "mV"),
        ("MV", "ascii", "mV"),
        ("mV", "utf-8-sig", "mV"),
        ("°C", "utf-8", "°C"),
        ("°C", "latin-1", "°C"),
        ("Ω", "utf-8", "Ω"),
        ("\u2126", "utf-8", "\u2126"),  # the ohm sign
        ("µmol/l", "utf-8", "µmol/l"),
        ("1/min", "ascii", "1/min"),
        ("", "ascii", "mV"),
    ],
)
def test_units_are_those_of_the_header(tmp_path, unit, encoding, expected):
    path = record(tmp_path, f"16 2/{unit} 16 0 0 0 0 II", encoding=encoding)
    x = read_wfdb(path)
    assert x.attrs["units"] == expected
    np.testing.assert_array_equal(x[0], np.arange(50) / 2)


@pytest.mark.parametrize("name", ["Sauerstoffsättigung", "心電図 1", "ΔP", "ECG 1", "a,b (c)"])
def test_names_beyond_ascii_and_units_survive_a_round_trip(tmp_path, name):
    rhythm = ("time", np.ones(1000, int), {"flag_values": [0, 1], "flag_meanings": "none Flimmern/ä"})
    x = signal(leads=(name, "II"), rhythm=rhythm).assign_coords(units=("lead", ["°C", "µV"]))
    y = read_wfdb(write_wfdb(x, tmp_path / "r1", gain=100.0), annotator="atr")
    assert y.rhythm.attrs["flag_meanings"].endswith(" Flimmern/ä")
    assert y.lead.values.tolist() == [name, "II"]
    assert y.units.values.tolist() == ["°C", "uV"]
    assert read_wfdb(tmp_path / "r1", leads=name).shape == (1, 1000)


def test_microvolts_are_written_so_that_any_reader_knows_them(tmp_path):
    write_wfdb(signal().assign_attrs(units="µV"), tmp_path / "r1")
    assert wfdb.rdheader(str(tmp_path / "r1")).units == ["uV"] * 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x: x.assign_coords(lead=["I ", "II", "V1"]), "the lead name 'I ' cannot be kept .* read as 'I'"),
        (lambda x: x.assign_coords(lead=["", "II", "V1"]), "the lead name '' cannot be kept"),
        (lambda x: x.assign_coords(lead=["I\nx", "II", "V1"]), "could not be read back"),
        (lambda x: x.assign_coords(lead=["II", "ii", "V1"]), "have names of their own"),
        (lambda x: x.assign_attrs(units="m V"), "could not be read back"),
        (lambda x: x.assign_attrs(units=""), "the units of 'I' cannot be kept .* read as 'mV'"),
        (lambda x: x.assign_attrs(comments="#5"), "comments cannot be kept"),
        (lambda x: x.assign_attrs(start_datetime="2001-02-03T04:05:06+01:00"), "no time zone"),
        (lambda x: x.assign_attrs(start_datetime="yesterday"), r"attrs\['start_datetime'\] must be in the form of 2001-02-03T04"),
        (lambda x: x.assign_attrs(start_time="25:00:00"), r"attrs\['start_time'\] must be in the form of 04:05:06"),
        (lambda x: x.assign_coords(lead=["II\u00a0", "II", "V1"]), "cannot be kept|names of their own"),
        (lambda x: x.isel(time=slice(0)), "at least one lead and one sample"),
        (lambda x: x.assign_coords(rhythm=("time", [0] * 999 + [1], {"flag_values": [0, 1], "flag_meanings": "none " + "x" * 300})), "annotation file|aux_note|note"),
    ],
)  # fmt: skip
def test_what_would_not_be_read_back_is_not_written(tmp_path, change, message):
    with xr.set_options(keep_attrs=True), pytest.raises(ValueError, match=message):
        write_wfdb(change(signal()), tmp_path / "r1")
    assert not list(tmp_path.iterdir())


# ----------------------------------------------------------------------------------------------------------- dates

READABLE = {
    "09:49:17 05/05/2020": "2020-05-05T09:49:17",  # the standard
    "9:49:7 5/5/2020": "2020-05-05T09:49:07",
    "09:49:17.25 05/05/2020": "2020-05-05T09:49:17.250000",
    "09:49:17.1234567 05/05/2020": "2020-05-05T09:49:17.123456",
    "[09:49:17 05/05/2020]": "2020-05-05T09:49:17",
    "05-May-2020 09:49:17": "2020-05-05T09:49:17",  # the challenges of 2020 and 2021
    "2014-05-08 05:05:15": "2014-05-08T05:05:15",  # that of 2017
    "2014-05-08T05:05:15": "2014-05-08T05:05:15",
    "05:05:15 08.05.2014": "2014-05-08T05:05:15",
    "05:05:15 8 october 2014": "2014-10-08T05:05:15",
    "10:44:18.529 04/05/2704": "2704-05-04T10:44:18.529000",  # shifted, as in MIMIC
    "09:49:17": "09:49:17",
    "4:02": "00:04:02",
}
UNREADABLE = {
    "2006": None,  # cerebral perfusion in diabetes
    "89": None,
    "05/05/2020": None,  # no time of day: a date alone is no start
    "25:00:00 05/05/2020": None,
    "09:49:17 PM": None,
    "09:49:17 05/05/20": "09:49:17",  # of which century? (slpdb)
    "09:49:17 5/5/199": "09:49:17",  # mghdb
    "09:49:17 31/02/2020": "09:49:17",
    "09:49:17 05-Foo-2020": "09:49:17",
    "yesterday": None,
}


@pytest.mark.parametrize("text", READABLE)
def test_starts_in_published_forms(tmp_path, text):
    with warnings.catch_warnings(action="error"):
        attrs = read_wfdb(record(tmp_path, first=f"1 250 50 {text}")).attrs
    assert attrs.get("start_datetime", attrs.get("start_time")) == READABLE[text]
    assert "start_datetime" not in attrs or "start_time" not in attrs


@pytest.mark.parametrize("text", UNREADABLE)
def test_starts_that_cannot_be_known_are_warned_of_and_the_signal_is_read(tmp_path, text):
    with pytest.warns(UserWarning, match=f"starts at '{re.escape(text)}', which is not hh:mm:ss dd/mm/yyyy"):
        x = read_wfdb(record(tmp_path, first=f"1 250 50 {text}"))
    assert x.attrs.get("start_time") == UNREADABLE[text]
    assert "start_datetime" not in x.attrs
    assert x.shape == (1, 50)


@pytest.mark.parametrize("start", [{"start_time": "04:05:06"}, {"start_datetime": "0999-01-02T03:04:05.000006"}])
def test_a_start_is_written_as_it_is_read(tmp_path, start):
    assert read_wfdb(write_wfdb(signal().assign_attrs(start), tmp_path / "r1")).attrs.items() >= start.items()


def test_no_start_is_none():
    assert start_attributes("", "r1") == {}


# ------------------------------------------------------------------------------------- headers and files that lie


@pytest.mark.parametrize(
    ("line", "first", "message"),
    [
        ("16 1000/mV", "1 0 50", "sampling frequency must be a positive number, .* got 0"),
        ("16 1000/mV", "1 -250 50", "sampling frequency must be a positive number, .* got -250"),
        ("16 1000/mV", "1 nan 50", "line 1 must be name"),
        ("16 1000/mV", "1 1e999 50", "sampling frequency must be a positive number, .* got inf"),
        ("16 1000/mV", "1 1e-320 50", "sampling frequency must be a positive number"),
        ("16 1000/mV", "1 250 09:49:17", "line 1 must be name"),
        ("16 1000/mV", "2 250 50", "announces 2 signals and lists 1: fetch the header again"),
        ("16x0 1000/mV", "1 250 50", "at least one sample in a frame, got x0"),
        ("17 1000/mV", "1 250 50", "format 17 is none of 0, 8"),
        ("0 1000/mV", "1 250 50", "format 0 is for a signal without a file"),
        ("16 1e-310/mV", "1 250 50", "gain 1e-310 makes the samples infinite"),
        ("16 1e-35/mV", "1 250 50", "gain 1e-35 makes the samples infinite"),
        ("16 inf/mV", "1 250 50", "line 2 must be file format"),
        ("16 1000/mV(5)", "1 250 50", "the baseline goes before the units"),
        ("16 1000/mV 16 0 0 nan 0 II", "1 250 50", "line 2 must be file format"),
        ("16 1000/mV", "1 250 300000000", "truncated: 600000000 bytes expected, 100 found"),
        ("212 1000/mV", "1 250 300000000", "truncated: 450000000 bytes expected, 100 found"),
        ("16+200 1000/mV", "1 250 50", "truncated: 300 bytes expected, 100 found"),
        ("516 1000/mV", "1 250 50", "cannot be read as FLAC"),
    ],
)  # fmt: skip
def test_headers_that_lie_are_refused_before_memory_is_taken(tmp_path, line, first, message):
    path = record(tmp_path, line, first)
    tracemalloc.start()
    with pytest.raises(ValueError, match=message):
        read_wfdb(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20e6


@pytest.mark.parametrize("first", ["1 250", "1 250 0", "1"])
def test_a_length_that_is_not_said_is_that_of_the_file(tmp_path, first):
    x = read_wfdb(record(tmp_path, first=first))
    assert x.shape == (1, 50)
    assert x.attrs["sampling_rate"] == 250.0  # the standard's, where none is said


def test_a_compressed_file_is_as_long_as_the_header_says(tmp_path):
    wfdb.wrsamp(
        "f",
        250,
        ["mV"],
        ["II"],
        np.zeros((400, 1)),
        fmt=["516"],
        adc_gain=[100.0],
        baseline=[0],
        write_dir=str(tmp_path),
    )
    header = tmp_path / "f.hea"
    assert read_wfdb(header).shape == (1, 400)
    header.write_text(header.read_text().replace(" 400", " 300000000"))
    with pytest.raises(ValueError, match=r"300000000 samples expected, 400 found.*ends 1\.6 s"):
        read_wfdb(header)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("all/3 1 250 100\na 50\nb 50\n", "announces 3 segments and lists 2"),
        ("all/1 1 250 100\na 50\nb 50\n", "announces 1 segments and lists 2"),
        ("all/2 1 250 150\na 50\nb 50\n", "announces 150 samples, and its segments have 100"),
        ("all/2 1 250 90\na 50\nb 50\n", "announces 90 samples, and its segments have 100"),
        ("all/2 1 250 100\na 50\nc 50\n", r"no WFDB header .*c\.hea"),
        ("all/2 1 250 100\na 50\nb x\n", "line 3 must be the name of a segment"),
        ("all/3 1 250 900000000000100\na 50\n~ 900000000000000\nb 50\n", "do not fit into memory: read a part"),
    ],
)  # fmt: skip
def test_segments_that_are_announced_and_not_there(tmp_path, text, message):
    record(tmp_path, name="a")
    record(tmp_path, name="b")
    (tmp_path / "all.hea").write_text(text)
    with pytest.raises(ValueError, match=message):
        read_wfdb(tmp_path / "all")


def test_a_segment_whose_samples_are_gone_is_named(tmp_path):
    record(tmp_path, name="a")
    record(tmp_path, name="b")
    (tmp_path / "all.hea").write_text("all/2 1 250 100\na 50\nb 50\n")
    (tmp_path / "b.dat").unlink()
    with pytest.raises(MissingFile, match=r"signal file 'b\.dat' named by b\.hea"):
        read_wfdb(tmp_path / "all")
    assert read_wfdb(tmp_path / "all", stop=0.2).shape == (1, 50)


def test_signals_of_one_file_stand_together(tmp_path):
    lines = ["a 3 250 50", *(f"{name}.dat 16 1000/mV" for name in "aba")]
    (tmp_path / "a.hea").write_text("\n".join(lines))
    with pytest.raises(ValueError, match=r"signals of 'a\.dat' must follow each other"):
        read_wfdb(tmp_path / "a")


# ------------------------------------------------------------------------------------------- formats and checksums


def triples(x):
    return np.concatenate([x, np.zeros(-len(x) % 3, int)]).reshape(-1, 3).astype(np.uint32)


def in_310(x):
    """Each three samples of 10 bits in two words: the third is cut between the highest bits of both."""
    a, b, c = (triples(x) % 1024).T
    words = np.stack([a << 1 | (c & 31) << 11, b << 1 | (c >> 5) << 11], 1)
    return words.astype("<u2").tobytes()


def in_311(x):
    a, b, c = (triples(x) % 1024).T
    return (a | b << 10 | c << 20).astype("<u4").tobytes()


BY_HAND = {
    "61": lambda x: x.astype(">i2").tobytes(),
    "160": lambda x: (x + 2**15).astype("<u2").tobytes(),
    "310": in_310,
    "311": in_311,
}  # that the wfdb package does not write
FORMATS = ["80", "212", "16", "24", "32", "508", "516", "524", *BY_HAND]


def written(folder, fmt, per_frame=1):
    """A record of two signals, whose samples in their order in the file are given too."""
    values = np.random.default_rng(0).integers(-100, 100, (2, 301 * per_frame))
    wfdb.wrsamp(
        "r1",
        250,
        ["mV", "mV"],
        ["I", "II"],
        e_d_signal=list(values.astype(np.int32)),
        samps_per_frame=[per_frame] * 2,
        fmt=["16" if fmt in BY_HAND else fmt] * 2,
        adc_gain=[10.0, 20.0],
        baseline=[0, 3],
        write_dir=str(folder),
    )
    if fmt in BY_HAND:
        in_order = values.reshape(2, -1, per_frame).transpose(1, 0, 2).reshape(-1)
        (folder / "r1.dat").write_bytes(BY_HAND[fmt](in_order))
        header = folder / "r1.hea"
        header.write_text(header.read_text().replace("r1.dat 16", f"r1.dat {fmt}"))
    return values, folder / "r1"


@pytest.mark.parametrize("per_frame", [1, 2])
@pytest.mark.parametrize("fmt", FORMATS)
def test_every_format_is_decoded_and_summed(tmp_path, fmt, per_frame):
    values, path = written(tmp_path, fmt, per_frame)
    expected = ((values - [[0.0], [3.0]]) / [[10.0], [20.0]]).reshape(2, -1, per_frame).mean(-1)
    np.testing.assert_array_equal(read_wfdb(path, dtype="float64"), expected)
    np.testing.assert_array_equal(read_wfdb(path, dtype="float64", start=0.1, stop=1.0), expected[:, 25:250])
    header = path.with_suffix(".hea")
    header.write_text(re.sub(r"( -?\d+)( 0 II)$", r" 1\2", header.read_text(), flags=re.M))
    with pytest.raises(
        ValueError, match=r"the samples of 'II' in 'r1\.dat' add up to the checksum .*says 1: one of the"
    ):
        read_wfdb(path)
    assert read_wfdb(path, leads="I").shape == (1, 301)  # what is whole can be read
    assert read_wfdb(path, stop=1.0).shape == (2, 250)  # a part has no checksum
    header.write_text(header.read_text().replace(" 1 0 II", " 0 0 II"))
    np.testing.assert_array_equal(read_wfdb(path, dtype="float64"), expected)  # 0: not known


@pytest.mark.parametrize("cells", [1, 200])
def test_changed_samples_are_noticed(tmp_path, cells):
    header = write_wfdb(signal(), tmp_path / "r1")
    data = np.fromfile(tmp_path / "r1.dat", "<i2")
    data[:cells] += 1
    data.tofile(tmp_path / "r1.dat")
    with pytest.raises(ValueError, match=r"checksum.*fetch them again, or, if you know that the samples are right"):
        read_wfdb(header)


def test_the_sum_may_be_written_without_a_sign(tmp_path):
    header = write_wfdb(signal(leads=("II",)), tmp_path / "r1")
    text = header.read_text()
    sums = [int(x) for x in re.findall(r"(-?\d+) 0 II", text)]
    header.write_text(re.sub(r"-?\d+ 0 II", f"{sums[0] % 2**16} 0 II", text))
    assert read_wfdb(header).shape == (1, 1000)


def test_differences_have_no_sample_that_means_a_gap(tmp_path):
    steps = np.full(300, -1, np.int8)  # down to -300, by -128
    (tmp_path / "r8.dat").write_bytes(steps.tobytes())
    (tmp_path / "r8.hea").write_text("r8 1 100 300\nr8.dat 8 1/mV 12 0 0 0 0 II\n")
    np.testing.assert_array_equal(read_wfdb(tmp_path / "r8")[0], -1 - np.arange(300))


def test_a_skewed_signal_ends_in_a_gap_whatever_its_frames(tmp_path):
    values, path = written(tmp_path, "16", 2)
    header = path.with_suffix(".hea")
    header.write_text(header.read_text().replace("16x2", "16x2:3", 1))
    x = read_wfdb(path, dtype="float64")
    np.testing.assert_array_equal(x[0, :-3], (values[0] / 10.0).reshape(-1, 2).mean(1)[3:])
    assert np.isnan(x[0, -3:]).all()
    assert not np.isnan(x[1]).any()


# ---------------------------------------------------------------------------------------------- many annotations


def test_marks_on_one_sample_take_the_nearest_free_ones():
    codes = np.array([28, 1, 28, 1, 28])
    result, moved, farthest = _one_per_sample(np.full(5, 3), codes, 6)
    assert result.tolist() == [0, 28, 28, 1, 1, 28]  # beats first; later samples before earlier ones
    assert (moved, farthest) == (4, 2)


def test_many_marks_on_one_sample_cost_in_proportion(tmp_path):
    def seconds(n):
        start = time.process_time()
        _one_per_sample(np.full(n, n), np.ones(n, int), 2 * n)
        return time.process_time() - start

    assert seconds(20_000) < 40 * min(seconds(2_000) for _ in range(3))  # 10 for linear, 100 for quadratic


def test_an_annotation_file_that_was_cut_off_is_refused(tmp_path):
    header = write_wfdb(annotated([5, 500]), tmp_path / "r1")
    marks = tmp_path / "r1.atr"
    marks.write_bytes(marks.read_bytes()[:-2])
    with pytest.raises(ValueError, match=r"r1\.atr is not an annotation file that is whole"):
        read_wfdb(header, annotator="atr")


# ------------------------------------------------------------------------------------------------------- mutations


def mutated(text, r):
    """A header with a few characters, fields or lines that are others, gone, or there twice."""
    fields = [
        "0",
        "-1",
        "1e308",
        "1e-320",
        "nan",
        "99999999999999999999",
        "",
        "~",
        "x",
        "µ",
        "/",
        "\0",
        "2:3:4",
        "16x9+3",
    ]
    for _ in range(r.randint(1, 2)):
        way = r.randrange(4)
        if way == 0:
            at = r.randrange(len(text) + 1)
            text = text[:at] + r.choice([*"0123456789/:()+-x.~# \n\té\0", ""]) + text[at + r.randint(0, 2) :]
        elif way == 1:
            words = re.split(r"( |\n|/)", text)
            words[r.randrange(len(words))] = r.choice(fields)
            text = "".join(words)
        else:
            lines = text.split("\n")
            k = r.randrange(len(lines))
            lines[k : k + 1] = [] if way == 2 else [lines[k], r.choice(lines)]
            text = "\n".join(lines)
    return text


def try_mutations(folder, count, seed):
    """Read mutated headers of several kinds; give how many were read, and were refused."""
    write_wfdb(annotated([5, 500]).assign_attrs(start_datetime="2001-02-03T04:05:06"), folder / "p")
    written(folder, "212")
    write_wfdb(signal(400), folder / "s1")
    write_wfdb(signal(600), folder / "s2")
    (folder / "all.hea").write_text("all/3 3 250 1100\ns1 400\n~ 100\ns2 600\n# age: 50\n")
    originals = {name: (folder / f"{name}.hea").read_text() for name in ("p", "r1", "all")}
    r = random.Random(seed)
    outcomes = {"read": 0, "refused": 0}
    for k in range(count):
        name = ("p", "r1", "all")[k % 3]
        text = mutated(originals[name], r)
        (folder / f"{name}.hea").write_bytes(text.encode(r.choice(["utf-8", "latin-1"]), "replace"))
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                warnings.filterwarnings("ignore", "(?s).*(starts at|annotations in|too short).*")
                x = read_wfdb(
                    folder / name, band=(0.5, 40.0) if k % 5 == 0 else None, annotator="atr" if name == "p" else None
                )
        except ValueError as error:
            outcomes["refused" if len(str(error)) > 20 else text] = 1 + outcomes["refused"]
        else:
            assert not np.isinf(x).any(), text
            assert x.size, text
            assert np.isfinite(x.time).all(), text
            outcomes["read"] += 1
    assert set(outcomes) == {"read", "refused"}
    return outcomes


def test_a_header_with_errors_is_read_or_refused(tmp_path):
    outcomes = try_mutations(tmp_path, 450, 0)
    assert min(outcomes.values()) > 20  # both ways are tried


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 11))
def test_many_headers_with_errors_are_read_or_refused(tmp_path, seed):
    try_mutations(tmp_path, 3000, seed)


def test_signals_that_a_record_of_segments_announces_and_has_not_are_told(tmp_path):
    (tmp_path / "s_1.dat").write_bytes(np.arange(20, dtype="<i2").tobytes())
    (tmp_path / "s_1.hea").write_text("s_1 1 125 20\ns_1.dat 16 100/mV 16 0 0 0 0 II\n")
    (tmp_path / "s.hea").write_text("s/1 1 125 20\ns_1 20\n")
    assert read_wfdb(tmp_path / "s").lead.values.tolist() == ["II"]
    (tmp_path / "s.hea").write_text("s/1 2 125 20\ns_1 20\n")
    with pytest.raises(ValueError, match=r"announces 2 signals, and its segments have 1, \['II'\]"):
        read_wfdb(tmp_path / "s")


def test_a_layout_alone_has_no_samples(tmp_path):
    (tmp_path / "s_layout.hea").write_text("s_layout 1 125 0\n~ 0 100/mV 16 0 0 0 0 II\n")
    with pytest.raises(MissingFile, match=r"s_layout.hea is the layout of a record of several segments"):
        read_wfdb(tmp_path / "s_layout")
