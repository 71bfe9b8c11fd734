"""WFDB records: round trips, leads, times, segments, known answers on records made here."""

import numpy as np
import pytest
import wfdb
import xarray as xr

from tsattr.io import read_wfdb, write_wfdb

from .records import RATE, annotated, counts, signal


@pytest.mark.parametrize("gain", [200.0, 1000.0])
def test_what_is_written_is_read_back_to_half_a_step(tmp_path, gain):
    x = signal().transpose("time", "lead")  # any order of dims
    header = write_wfdb(x, tmp_path / "r1", gain=gain)
    y = read_wfdb(header, dtype="float64")
    assert y.dims == ("lead", "time")
    assert y.name == "signal"
    error = np.abs(y - x.transpose("lead", "time")).max().item()
    assert 0.1 / gain < error <= 0.5 / gain + 1e-12
    np.testing.assert_allclose(y.time, x.time)
    assert y.time.attrs["units"] == "s"
    assert y.attrs["units"] == "mV"
    assert y.attrs["sampling_rate"] == y.attrs["original_sampling_rate"] == RATE
    assert (y.attrs["record"], y.attrs["processing"]) == ("r1", "none")
    assert len(y.attrs["sha256"]) == 64


@pytest.mark.parametrize("name", ["r1", "r1.hea", "r1.dat"])
def test_a_record_is_found_by_its_stem_header_or_signal_file(tmp_path, name):
    write_wfdb(signal(), tmp_path / "r1")
    assert read_wfdb(tmp_path / name).shape == (3, 1000)
    assert read_wfdb(str(tmp_path / name)).dtype == np.float32


def test_a_path_may_be_relative(tmp_path, monkeypatch):
    write_wfdb(annotated([3]), tmp_path / "r1")
    monkeypatch.chdir(tmp_path)
    x = read_wfdb("r1", annotator="atr")
    assert counts(x.annotation) == {"N": 1}
    assert x.attrs["source"] == "r1.hea"


def test_gaps_are_nan_exactly_where_they_were(tmp_path):
    x = signal()
    x[0, 100:200] = np.nan
    x[:, 990:] = np.nan
    y = read_wfdb(write_wfdb(x, tmp_path / "gaps"))
    np.testing.assert_array_equal(np.isnan(y), np.isnan(x))


def test_units_that_differ_are_a_coordinate(tmp_path):
    x = signal(leads=("II", "ABP")).assign_coords(units=("lead", ["mV", "mmHg"]))
    y = read_wfdb(write_wfdb(x, tmp_path / "units"))
    assert "units" not in y.attrs
    assert y.units.sel(lead="ABP").item() == "mmHg"
    assert read_wfdb(tmp_path / "units", leads="ABP").attrs["units"] == "mmHg"


def test_one_unit_stands_for_all_leads(tmp_path):
    x = signal().drop_attrs().assign_coords(units="uV").assign_attrs(sampling_rate=RATE)
    assert read_wfdb(write_wfdb(x, tmp_path / "units")).attrs["units"] == "uV"


def test_start_and_patient_survive(tmp_path):
    x = signal().isel(time=slice(250, None))
    x.attrs |= {"start_datetime": "2001-02-03T04:05:06", "age": 61, "sex": "F"}
    y = read_wfdb(write_wfdb(x, tmp_path / "who"))
    assert y.attrs["start_datetime"] == "2001-02-03T04:05:07"  # the record starts a second later
    assert (y.attrs["age"], y.attrs["sex"]) == (61, "F")


@pytest.mark.parametrize(
    ("comment", "expected"),
    [
        ("age: 81\nsex: female", {"age": 81, "sex": "F"}),
        ("<age>: 25  <sex>: M  <diagnoses>: (none)", {"age": 25, "sex": "M"}),
        ("69 M 1085 1629 x1", {"age": 69, "sex": "M"}),
        ("-1 F 12 x1", {"sex": "F"}),
        ("<age>: ?? <sex>: ?", {}),
        ("Asystole\nStage: 3", {}),
    ],
)
def test_age_and_sex_are_found_in_comments(tmp_path, comment, expected):
    x = signal()
    x.attrs["comments"] = comment
    attrs = read_wfdb(write_wfdb(x, tmp_path / "c")).attrs
    assert {k: attrs[k] for k in ("age", "sex") if k in attrs} == expected
    assert attrs["comments"] == comment


def test_lead_names_get_standard_case_and_nothing_else(tmp_path):
    x = signal(leads=("i", "AVR", "avl", "v6", "MLII", "vx", "Pleth"))
    y = read_wfdb(write_wfdb(x, tmp_path / "names"))
    assert y.lead.values.tolist() == ["I", "aVR", "aVL", "V6", "MLII", "vx", "Pleth"]


def test_a_repeated_name_gets_its_number(tmp_path):
    header = write_wfdb(signal(leads=("ECG", "other")), tmp_path / "twice")
    header.write_text(header.read_text().replace("other", "ECG"))
    y = read_wfdb(header)
    assert y.lead.values.tolist() == ["ECG", "ECG_1"]


def test_leads_come_in_the_order_asked(tmp_path):
    header = write_wfdb(signal(), tmp_path / "r1")
    whole = read_wfdb(header)
    xr.testing.assert_identical(read_wfdb(header, leads=["v1", "I"]), whole.sel(lead=["V1", "I"]))
    assert read_wfdb(header, leads="ii").lead.values.tolist() == ["II"]


@pytest.mark.parametrize(("start", "stop"), [(0.5, 2.0), (None, 1.0), (3.0, None), (0.501, 0.5041)])
def test_a_cut_is_the_slice_of_the_whole(tmp_path, start, stop):
    x = annotated([130, 250, 499, 500, 900])
    header = write_wfdb(x, tmp_path / "cut")
    whole = read_wfdb(header, annotator="atr")
    inside = (whole.time >= (start or 0) - 1e-9) & (whole.time < (stop or 4) - 1e-9)
    cut = read_wfdb(header, annotator="atr", start=start, stop=stop)
    assert cut.sizes["time"] == inside.sum() > 0
    xr.testing.assert_allclose(cut, whole[:, inside.values])
    np.testing.assert_array_equal(cut.annotation, whole.annotation[inside.values])


def test_rounding_costs_no_sample(tmp_path):
    assert 0.55 * 100 > 55
    header = write_wfdb(signal(rate=100.0), tmp_path / "r1")
    np.testing.assert_allclose(read_wfdb(header, start=0.55, stop=0.58).time, [0.55, 0.56, 0.57])


def pieces(tmp_path):
    """Two segments of 400 and 600 samples; the second has another lead besides."""
    x = signal(1000, ("II", "V", "ABP"))
    write_wfdb(x.isel(time=slice(0, 400)).sel(lead=["V", "II"]), tmp_path / "s1")
    write_wfdb(x.isel(time=slice(400, 1000)), tmp_path / "s2")
    return x


def test_a_variable_layout_record_has_gaps_where_a_segment_or_lead_is_missing(tmp_path):
    x = pieces(tmp_path)
    lines = ["all_layout 3 250 0"] + [f"~ 0 200/mV 16 0 0 0 0 {name}" for name in ("II", "V", "ABP")]
    (tmp_path / "all_layout.hea").write_text("\n".join(lines) + "\n")
    (tmp_path / "all.hea").write_text("all/4 3 250 1100\nall_layout 0\ns1 400\n~ 100\ns2 600\n# age: 50\n")
    y = read_wfdb(tmp_path / "all", dtype="float64")
    expected = np.full((3, 1100), np.nan)
    expected[:2, :400] = x[:2, :400]
    expected[:, 500:] = x[:, 400:]
    np.testing.assert_allclose(y, expected, atol=0.5001e-3)
    assert y.lead.values.tolist() == ["II", "V", "ABP"]
    assert y.attrs["age"] == 50
    cut = read_wfdb(tmp_path / "all", leads=["ABP", "V"], start=1.0, stop=2.4, dtype="float64")
    np.testing.assert_array_equal(cut, y.sel(lead=["ABP", "V"])[:, 250:600])


def test_a_fixed_layout_record_is_the_segments_in_a_row(tmp_path):
    x = signal()
    write_wfdb(x[:, :400], tmp_path / "s1")
    write_wfdb(x[:, 400:], tmp_path / "s2")
    (tmp_path / "all.hea").write_text("all/2 3 250 1000\ns1 400\ns2 600\n")
    whole = read_wfdb(tmp_path / "all", dtype="float64")
    np.testing.assert_allclose(whole, x, atol=0.5001e-3)
    np.testing.assert_array_equal(read_wfdb(tmp_path / "all", start=1.5, stop=1.7, dtype="float64"), whole[:, 375:425])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("all/1 3 250 400\ns9 400\n", "no WFDB header .*s9.hea"),
        ("all/1 3 250 400\ns1 300\n", "segment 's1' does not fit .* one plain record of 300 samples .* says 400"),
        ("all/1 3 500 400\ns1 400\n", "segment 's1' does not fit"),
        ("all/1 3 250 400\nall 400\n", "segment 'all' does not fit"),
        ("all/2 3 250 1000\ns1 400\ns2 600\n", "different signals, and there is no layout"),
        ("all/2 2 250 400\ns0 0\ns2 600\n", r"have the signals \['ABP'\], which its layout segment lacks"),
        ("all/1 3 250 400\n~ 400\n", "gaps only"),
    ],
)
def test_segments_that_do_not_fit(tmp_path, text, message):
    pieces(tmp_path)
    (tmp_path / "s0.hea").write_text("s0 2 250 0\n~ 0 200/mV 16 0 0 0 0 II\n~ 0 200/mV 16 0 0 0 0 V\n")
    (tmp_path / "all.hea").write_text(text)
    with pytest.raises(ValueError, match=message):
        read_wfdb(tmp_path / "all")


def test_a_lead_that_changes_its_unit_between_segments(tmp_path):
    x = signal(800, ("II",))
    write_wfdb(x[:, :400], tmp_path / "s1")
    write_wfdb(x[:, 400:].assign_attrs(units="uV"), tmp_path / "s2")
    (tmp_path / "all.hea").write_text("all/2 1 250 800\ns1 400\ns2 400\n")
    with pytest.raises(ValueError, match=r"lead 'II' is in mV in one segment of .* and in uV in s2"):
        read_wfdb(tmp_path / "all")


def test_faster_signals_are_averaged_frame_by_frame(tmp_path):
    slow, fast = np.arange(100.0), np.arange(400.0)
    fast[41] = np.nan
    wfdb.wrsamp(
        "multi",
        fs=100,
        units=["NU", "mV"],
        sig_name=["RESP", "II"],
        e_p_signal=[slow, fast],
        samps_per_frame=[1, 4],
        fmt=["16", "16"],
        adc_gain=[1.0, 2.0],
        baseline=[0, 0],
        write_dir=str(tmp_path),
    )
    x = read_wfdb(tmp_path / "multi", start=0.05)
    expected = fast.reshape(-1, 4).mean(1)  # NaN where one of the four is
    np.testing.assert_array_equal(x.sel(lead="II"), expected[5:])
    np.testing.assert_array_equal(x.sel(lead="RESP"), slow[5:])


def test_a_signal_stored_as_differences_can_be_cut(tmp_path):
    steps = np.random.default_rng(0).integers(-100, 100, 300).astype(np.int8)
    (tmp_path / "r8.dat").write_bytes(steps.tobytes())
    (tmp_path / "r8.hea").write_text("r8 1 100 300\nr8.dat 8 10/mV 12 0 7 0 0 II\n")
    expected = (7 + np.cumsum(steps.astype(int))) / 10
    np.testing.assert_allclose(read_wfdb(tmp_path / "r8", dtype="float64")[0], expected)
    np.testing.assert_allclose(read_wfdb(tmp_path / "r8", start=1.0, stop=1.5, dtype="float64")[0], expected[100:150])


def test_a_header_without_length_takes_it_from_the_file(tmp_path):
    header = write_wfdb(signal(), tmp_path / "r1")
    whole = read_wfdb(header)
    header.write_text(header.read_text().replace("r1 3 250 1000", "r1 3 250"))
    np.testing.assert_array_equal(read_wfdb(header), whole)
    np.testing.assert_array_equal(read_wfdb(header, start=1.0, stop=2.0), whole[:, 250:500])


@pytest.mark.parametrize(
    ("recorded", "asked", "factor"), [("uV", "mV", 1e-3), ("MV", "uv", 1e3), ("V", "millivolts", 1e3)]
)
def test_leads_are_converted_to_the_unit_of_voltage_asked_for(tmp_path, recorded, asked, factor):
    x = signal(leads=("II", "ABP")).drop_attrs(deep=False).assign_attrs(sampling_rate=RATE)
    file = write_wfdb(x.assign_coords(units=("lead", [recorded, "mmHg"])), tmp_path / "a")
    plain, converted = read_wfdb(file, dtype="float64"), read_wfdb(file, units=asked, dtype="float64")
    np.testing.assert_allclose(converted[0], factor * plain[0], rtol=1e-14)
    np.testing.assert_array_equal(converted[1], plain[1])
    assert converted.units.values.tolist() == [{"uv": "uV"}.get(asked, "mV"), "mmHg"]
    assert read_wfdb(file, leads="II", units=asked).attrs["units"] == converted.units.values[0]


def test_a_unit_that_is_no_voltage_cannot_be_asked_for(tmp_path):
    file = write_wfdb(signal(), tmp_path / "a")
    with pytest.raises(ValueError, match='units is a unit of voltage, such as "mV" or "uV", got \'mmHg\''):
        read_wfdb(file, units="mmHg")
