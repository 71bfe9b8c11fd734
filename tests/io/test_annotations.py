"""Annotations and rhythms as coordinates."""

import numpy as np
import pytest
import wfdb

from tsattr.io import MissingFile, read_wfdb, write_wfdb

from .records import RATE, RHYTHM, annotate, annotated, counts, signal


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


def test_labels_of_the_files_own_and_codes_without_one(tmp_path):
    write_wfdb(signal(), tmp_path / "a")
    at, codes = np.array([100, 200, 300]), np.array([1, 42, 45])
    own = [(42, "z", "zig zag"), (45, "y", "yes")]
    wfdb.wrann("a", "atr", at, label_store=codes, custom_labels=own, write_dir=str(tmp_path))
    x = read_wfdb(tmp_path / "a", annotator="atr").annotation
    assert counts(x) == {"N": 1, "z": 1, "y": 1}
    assert "zig_zag" in x.attrs["flag_descriptions"].split()
    (tmp_path / "a.atr").write_bytes(np.array([(1 << 10) + 100, (45 << 10) + 100, 0], "<u2").tobytes())
    x = read_wfdb(tmp_path / "a", annotator="atr").annotation
    assert counts(x) == {"N": 1, "undefined_45": 1}
    assert np.flatnonzero(x).tolist() == [100, 200]


def test_a_record_written_without_annotations_does_not_inherit_old_ones(tmp_path):
    write_wfdb(annotated([5]), tmp_path / "a")
    write_wfdb(signal(), tmp_path / "a")
    with pytest.raises(MissingFile):
        read_wfdb(tmp_path / "a", annotator="atr")
