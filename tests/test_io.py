"""Reading and writing: known answers on records made here, and on real ones where they are at hand."""

import os
import socket
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.signal
import xarray as xr

from tsattr.io import CannotWrite, MissingFile, read_input, read_wfdb, write_netcdf, write_text, write_wfdb

with warnings.catch_warnings(action="ignore", category=DeprecationWarning):  # wfdb uses what pandas 3.1 deprecates
    import wfdb

RATE = 250.0
DATA = Path(os.environ.get("TSATTR_DATA", Path(__file__).parents[2] / "shared" / "data"))
CODES = {
    "flag_values": np.array([0, 1, 5, 28], np.int16),
    "flag_meanings": "none N V +",
}
RHYTHM = {"flag_values": np.array([0, 1, 3], np.int16), "flag_meanings": "none N AFIB"}


def signal(n=1000, leads=("I", "II", "V1"), rate=RATE, **coords):
    values = np.random.default_rng(0).normal(0, 0.5, (len(leads), n))
    time = ("time", np.arange(n) / rate, {"units": "s"})
    return xr.DataArray(
        values,
        dims=("lead", "time"),
        coords={"lead": list(leads), "time": time, **coords},
        attrs={"units": "mV", "sampling_rate": rate},
    )


def sine(hz, n=5000, rate=RATE, leads=("II",)):
    x = signal(n, leads, rate)
    return x.copy(data=np.sin(2 * np.pi * hz * np.arange(n) / rate) + np.zeros(x.shape))


def annotated(at, n=1000, symbols=None):
    """A signal with annotations at the given samples, N unless told."""
    codes = np.zeros(n, np.int16)
    codes[at] = 1 if symbols is None else symbols
    return signal(n, annotation=("time", codes, CODES))


def annotate(path, at, symbols, notes, fs=None):
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
        at, symbols = np.array(at), np.array(symbols)
        wfdb.wrann(path.name, "atr", at, symbols, aux_note=notes, fs=fs, write_dir=str(path.parent))


def counts(coordinate):
    """How often each word occurs, decoded as CF says."""
    words = dict(zip(coordinate.attrs["flag_values"].tolist(), coordinate.attrs["flag_meanings"].split()))
    codes, n = np.unique(coordinate.values, return_counts=True)
    return {words[c]: k for c, k in zip(codes.tolist(), n.tolist()) if c}


def amplitude(x, hz):
    """Least-squares amplitude and phase of a sine over the middle of a single-lead signal."""
    x = x.isel(lead=0)
    x = x.isel(time=slice(x.sizes["time"] // 4, -x.sizes["time"] // 4)).astype(float)
    basis = np.exp(2j * np.pi * hz * x.time.values)
    (a, b), *_ = np.linalg.lstsq(np.stack([basis.imag, basis.real], 1), x.values, rcond=None)
    return np.hypot(a, b), np.arctan2(b, a)


# ---------------------------------------------------------------------------------------------------- round trips


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


# ------------------------------------------------------------------------------------------------ leads and times


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


# ---------------------------------------------------------------------------------------------------- annotations


def test_annotations_slice_with_the_signal(tmp_path):
    at = [10, 260, 510, 760]
    x = read_wfdb(write_wfdb(annotated(at, symbols=[1, 5, 1, 1]), tmp_path / "a"), annotator="atr")
    assert np.flatnonzero(x.annotation).tolist() == at
    assert counts(x.annotation) == {"N": 3, "V": 1}
    assert counts(x.sel(time=slice(1.0, 2.0)).annotation) == {"V": 1}
    assert x.annotation.dtype == x.annotation.attrs["flag_values"].dtype  # as CF wants it
    n = len(x.annotation.attrs["flag_values"])
    assert len(x.annotation.attrs["flag_meanings"].split()) == len(x.annotation.attrs["flag_descriptions"].split()) == n


def test_without_an_annotator_there_are_no_annotations(tmp_path):
    assert "annotation" not in read_wfdb(write_wfdb(annotated([5]), tmp_path / "a")).coords


def test_a_beat_keeps_its_sample_and_the_others_stand_beside_it(tmp_path):
    write_wfdb(signal(), tmp_path / "a")
    at = np.array([20, 20, 20, 999, 999])
    symbols = np.array(["+", "N", "~", "T", "V"])
    annotate(tmp_path / "a", at, symbols, ["(AFIB", "", "", "", ""])
    x = read_wfdb(tmp_path / "a", annotator="atr").annotation
    words = dict(zip(x.attrs["flag_values"].tolist(), x.attrs["flag_meanings"].split()))
    assert {i: words[c] for i, c in enumerate(x.values.tolist()) if c} == {
        19: "~",
        20: "N",
        21: "+",
        998: "T",
        999: "V",
    }
    assert (x.attrs["moved"], x.attrs["moved_at_most_samples"]) == (3, 1)


@pytest.mark.parametrize("resample", [100.0, 360.0, 33.0])
def test_resampled_annotations_stand_on_the_nearest_sample_and_none_is_lost(tmp_path, resample):
    at = np.r_[0, np.sort(np.random.default_rng(1).choice(np.arange(1, 199), 60, replace=False)) * 5, 999]
    x = read_wfdb(write_wfdb(annotated(at), tmp_path / "a"), annotator="atr", resample=resample)
    assert counts(x.annotation) == {"N": len(at)}
    found = x.time.values[np.flatnonzero(x.annotation)]
    late = found - at / RATE
    assert np.abs(late[:-1]).max() <= (0.5 + x.annotation.attrs["moved_at_most_samples"]) / resample + 1e-9
    assert abs(late[-1]) < 1 / resample  # the last one may have no new sample after it
    if resample >= 100:
        assert x.annotation.attrs["moved"] == 0


def test_too_many_annotations_for_the_rate(tmp_path):
    header = write_wfdb(annotated(np.arange(100, 200)), tmp_path / "a")
    with pytest.raises(ValueError, match="100 annotations do not fit on 4 samples"):
        read_wfdb(header, annotator="atr", resample=1.0)


def test_rhythm_holds_until_the_next_one(tmp_path):
    rhythm = np.repeat([0, 1, 3, 1], [100, 300, 400, 200]).astype(np.int16)
    x = annotated([400, 700]).assign_coords(rhythm=("time", rhythm, RHYTHM))
    header = write_wfdb(x, tmp_path / "a")
    y = read_wfdb(header, annotator="atr")
    np.testing.assert_array_equal(y.rhythm, rhythm)
    assert counts(y.rhythm) == {"N": 500, "AFIB": 400}
    assert counts(y.annotation) == {"N": 2, "+": 3}
    cut = read_wfdb(header, annotator="atr", start=2.0, stop=3.0)  # the rhythm was announced before
    assert counts(cut.rhythm) == {"AFIB": 250}
    again = read_wfdb(write_wfdb(y, tmp_path / "b"), annotator="atr")
    np.testing.assert_array_equal(again.rhythm, rhythm)
    np.testing.assert_array_equal(again.annotation, y.annotation)


def test_annotations_outside_the_record_are_told(tmp_path):
    write_wfdb(signal(), tmp_path / "a")
    annotate(tmp_path / "a", [999, 1000, 1500], ["N", "N", "N"], ["", "", ""])
    with pytest.warns(UserWarning, match=r"2 of 3 annotations in .*a\.atr lie outside the record's 4 s"):
        x = read_wfdb(tmp_path / "a", annotator="atr")
    assert np.flatnonzero(x.annotation).tolist() == [999]


def test_annotations_may_count_at_another_rate_than_the_signal(tmp_path):
    write_wfdb(signal(), tmp_path / "a")
    annotate(tmp_path / "a", [100, 1000], ["N", "V"], ["", ""], fs=1000)
    x = read_wfdb(tmp_path / "a", annotator="atr")
    assert np.flatnonzero(x.annotation).tolist() == [25, 250]


def test_a_rhythm_of_its_own_name_gets_the_next_code(tmp_path):
    write_wfdb(signal(), tmp_path / "a")
    annotate(tmp_path / "a", [50], ["+"], ["(ODD\x00"])
    x = read_wfdb(tmp_path / "a", annotator="atr")
    assert counts(x.rhythm) == {"ODD": 950}


def test_a_record_written_without_annotations_does_not_inherit_old_ones(tmp_path):
    write_wfdb(annotated([5]), tmp_path / "a")
    write_wfdb(signal(), tmp_path / "a")
    with pytest.raises(MissingFile):
        read_wfdb(tmp_path / "a", annotator="atr")


# ------------------------------------------------------------------------------------------- resampling and filters


@pytest.mark.parametrize("resample", [100.0, 125.0, 360.0, 500.0])
def test_resampling_keeps_a_sine(tmp_path, resample):
    x = read_wfdb(write_wfdb(sine(7.0), tmp_path / "s"), resample=resample)
    assert x.attrs["sampling_rate"] == resample
    assert x.sizes["time"] == round(20 * resample)
    np.testing.assert_allclose(x.time, np.arange(x.sizes["time"]) / resample)
    size, phase = amplitude(x, 7.0)
    assert size == pytest.approx(1, abs=0.003)
    assert phase == pytest.approx(0, abs=0.002)


def test_resampling_removes_what_would_alias(tmp_path):
    header = write_wfdb(sine(80.0), tmp_path / "s")
    assert amplitude(read_wfdb(header), 80.0)[0] == pytest.approx(1, abs=1e-3)
    assert amplitude(read_wfdb(header, resample=100.0), 20.0)[0] < 0.01


def test_resampling_is_scipys_away_from_the_ends(tmp_path):
    header = write_wfdb(signal(), tmp_path / "s")
    x = read_wfdb(header, dtype="float64")
    y = read_wfdb(header, resample=100.0, dtype="float64")
    expected = scipy.signal.resample_poly(x.values, 2, 5, axis=1)
    np.testing.assert_allclose(y[:, 30:-30], expected[:, 30:-30], atol=1e-12)


def test_each_run_is_resampled_on_the_common_grid_and_gaps_stay(tmp_path):
    x = sine(3.0)
    x[0, 1003:2006] = np.nan  # edges on no point of the new grid
    y = read_wfdb(write_wfdb(x, tmp_path / "s"), resample=100.0)
    gap = (y.time >= 1003 / RATE - 1e-9) & (y.time < 2006 / RATE - 1e-9)
    np.testing.assert_array_equal(np.isnan(y[0]), gap)
    expected = np.sin(2 * np.pi * 3.0 * y.time)
    assert np.nanmax(np.abs(y[0] - expected)) < 0.04  # the worst is at the ends of runs
    inner = slice(10, 390)
    assert np.abs(y[0, inner] - expected[inner]).max() < 0.004


@pytest.mark.parametrize("resample", [100.0, 360.0])
def test_a_ramp_stays_a_ramp_up_to_its_ends(tmp_path, resample):
    x = signal(200, ("II",))
    x[0] = np.arange(200) - 100
    x[0, :90] = np.nan
    x[0, 111:] = np.nan
    y = read_wfdb(write_wfdb(x, tmp_path / "s"), resample=resample)[0]
    expected = y.time * RATE - 100
    assert np.nanmax(np.abs(y - expected)) < 0.02  # the ripple of the filter; constant extension is off by 0.2


@pytest.mark.parametrize("how", [{"resample": 100.0}, {"resample": 400.0}, {"band": (0.5, 40.0)}])
def test_nothing_crosses_a_gap(tmp_path, how):
    x = signal(2000)
    x[:, 900:950] = np.nan
    other = x.copy()
    other[:, :900] = 5.0
    a = read_wfdb(write_wfdb(x, tmp_path / "a"), **how)
    b = read_wfdb(write_wfdb(other, tmp_path / "b"), **how)
    after = a.time >= 950 / RATE
    np.testing.assert_array_equal(a[:, after.values], b[:, after.values])
    assert not np.array_equal(a[:, :100], b[:, :100])
    assert np.isfinite(a[:, after.values]).all()


@pytest.mark.parametrize(
    ("band", "kept", "removed"),
    [((5.0, 20.0), 10.0, 1.0), ((5.0, 20.0), 10.0, 60.0), ((None, 20.0), 1.0, 60.0), ((5.0, None), 60.0, 1.0)],
)
def test_the_band_keeps_what_is_inside_and_removes_what_is_outside(tmp_path, band, kept, removed):
    size, phase = amplitude(read_wfdb(write_wfdb(sine(kept), tmp_path / "in"), band=band), kept)
    assert size == pytest.approx(1, abs=0.01)
    assert phase == pytest.approx(0, abs=1e-3)
    assert amplitude(read_wfdb(write_wfdb(sine(removed), tmp_path / "out"), band=band), removed)[0] < 0.002


def test_the_amplitude_is_halved_at_the_limit(tmp_path):
    x = read_wfdb(write_wfdb(sine(20.0), tmp_path / "s"), band=(None, 20.0))
    assert amplitude(x, 20.0)[0] == pytest.approx(0.5, abs=0.002)
    assert "Butterworth" in x.attrs["processing"]


def test_a_run_too_short_to_filter_is_missing_and_said_so(tmp_path):
    x = signal(500, ("II",))
    x[0, 200:210] = np.nan
    x[0, 220:230] = np.nan
    header = write_wfdb(x, tmp_path / "s")
    with pytest.warns(UserWarning, match="10 samples lie in runs of 27 samples or less"):
        y = read_wfdb(header, band=(0.5, 40.0))
    assert np.isnan(y[0, 200:230]).all()
    assert np.isfinite(y[0, :200]).all()
    assert np.isfinite(y[0, 230:]).all()


def test_a_single_sample_between_gaps_is_resampled_to_itself(tmp_path):
    x = signal(500, ("II",))
    x[0, :] = np.nan
    x[0, 100] = 0.7
    y = read_wfdb(write_wfdb(x, tmp_path / "s"), resample=50.0)
    assert np.flatnonzero(np.isfinite(y[0])).tolist() == [20]
    assert y[0, 20].item() == pytest.approx(0.7, rel=2e-3)


# -------------------------------------------------------------------------------- records of several segments or rates


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
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
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


# ----------------------------------------------------------------------------------------------- what must be refused


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


def test_record_names_are_plain(tmp_path):
    with pytest.raises(ValueError, match=r"letters, digits, - and _ only, got 'a\.b'"):
        write_wfdb(signal(), tmp_path / "a.b")


# -------------------------------------------------------------------------------------------------------- read_input


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
            ds.to_zarr(path)
    xr.testing.assert_identical(read_input(path, variable="ecg"), ds["ecg"])
    xr.testing.assert_identical(read_input(path, variable=["ecg", "age"]), ds)
    with pytest.raises(ValueError, match=r"holds the variables \['age', 'ecg'\]: choose one with variable="):
        read_input(path)
    with pytest.raises(ValueError, match="got 'eeg'"):
        read_input(path, variable="eeg")


def test_input_dataset_of_one_variable_needs_no_name(tmp_path):
    write_netcdf(signal().rename("ecg"), tmp_path / "d.nc")
    xr.testing.assert_identical(read_input(tmp_path / "d.nc"), signal().rename("ecg"))


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
        ("x.csv", {}, r"x\.csv cannot be read as CSV"),
        ("x.nc", {}, r"x\.nc cannot be read as \.nc"),
        ("x.npy", {"dims": ("a",)}, r"x\.npy"),
        ("r1.hea", {"dims": ("a",)}, "dims cannot be used with .*, which is a WFDB record"),
    ],
)
def test_wrong_input(tmp_path, name, options, message):
    for suffix in ("txt", "csv", "nc", "npy"):
        (tmp_path / f"x.{suffix}").touch()
    write_wfdb(signal(), tmp_path / "r1")
    with pytest.raises(ValueError, match=message):
        read_input(tmp_path / name, **options)


# ----------------------------------------------------------------------------------------------------------- writing


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


WRITERS = [lambda path: write_text("new", path), lambda path: write_netcdf(xr.Dataset({"a": ("x", [1.0])}), path)]


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


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_write_permission(tmp_path):
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(CannotWrite, match="Permission denied"):
            write_text("new", tmp_path / "a")
    finally:
        tmp_path.chmod(0o700)


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


# --------------------------------------------------------------------------------------------------------- real data


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
