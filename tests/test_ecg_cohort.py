"""Sums over leads, waves and beats at once, and tables of cohorts with intervals over patients."""

import itertools

import numpy as np
import pytest
import xarray as xr

import tsattr as ta
from tsattr import ecg
from tsattr.datasets import simulate_ecg


@pytest.fixture(scope="module")
def explained():
    d = simulate_ecg(12, lesions=["t_inversion"], seed=3, dtype="float64")
    rng = np.random.default_rng(0)
    a = d.ecg.copy(data=rng.normal(size=d.ecg.shape)).assign_attrs(units="1").rename("attribution")
    a = a.where((a.time > 0.05) | (a.sample > 2))
    return d, a.assign_coords(
        patient=("sample", np.arange(12) // 2), label=("sample", np.where(d.label.values == 1, "MI", "NORM"))
    )


def test_sums_over_leads_waves_and_beats_are_exact(explained):
    d, a = explained
    wave, beat = ecg.waves(d.r_peak), ecg.beats(d.r_peak)
    both = ecg.by(a, wave=wave, beat=beat)
    assert both.signed.dims == ("sample", "lead", "beat", "wave")
    assert both.wave.values.tolist() == ["other", "P", "QRS", "ST", "T"]
    for i, k in itertools.product((0, 5), (0, 3)):
        v, w, b = a.values[i, k], wave.values[i], beat.values[i]
        for number, code in itertools.product((0, 1, 4), range(5)):
            cells = v[(w == code) & (b == number)]
            np.testing.assert_allclose(both.signed[i, k, number, code], np.nansum(cells), atol=1e-12)
            np.testing.assert_allclose(both.absolute[i, k, number, code], np.nansum(np.abs(cells)), atol=1e-12)
            assert both.cells[i, k, number, code] == np.isfinite(cells).sum()
    xr.testing.assert_allclose(ecg.by(a, wave=wave).signed, ecg.by_wave(a, wave).signed)
    xr.testing.assert_allclose(both.sum("beat").signed, ecg.by_wave(a, wave).signed)
    xr.testing.assert_allclose(both.sum("wave").signed, ecg.by_beat(a, beat).signed)
    xr.testing.assert_allclose(both.sum(("wave", "beat")).signed, ecg.by_lead(a).signed)
    assert list(ecg.by(a, wave=wave).to_dataframe().index.names) == ["sample", "lead", "wave"]
    with pytest.raises(ValueError, match="wave labels are integers from 0"):
        ecg.by(a, wave=wave - 1)


def test_the_table_of_a_cohort_is_made_of_the_samples_sums(explained):
    d, a = explained
    wave = ecg.waves(d.r_peak)
    table = ecg.cohort(a, over="patient", by_class="label", wave=wave)
    sums = ecg.by_wave(a, wave).signed
    for name in ("MI", "NORM"):
        mine = (a.label == name).values
        expected = ta.metrics.bootstrap(sums.values[mine].reshape(mine.sum(), -1).T, a.patient.values[mine])
        np.testing.assert_allclose(table["mean"].sel({"class": name}).values.ravel(), sums.values[mine].mean(0).ravel())
        np.testing.assert_allclose(table.low.sel({"class": name}).values.ravel(), expected.low)
        assert table.samples.sel({"class": name}) == mine.sum()
    assert table.pair.values.tolist() == ["MI - NORM"]
    np.testing.assert_allclose(table.difference[0], table["mean"][0] - table["mean"][1], atol=1e-12)
    assert (table.difference_low <= table.difference).all()
    assert table["mean"].attrs["units"] == "1"
    shuffled = np.random.default_rng(1).permutation(12)
    again = ecg.cohort(a[shuffled], over="patient", by_class="label", wave=wave[shuffled])
    xr.testing.assert_allclose(again, table)


def test_a_planted_difference_is_found_where_it_is_and_nowhere_else():
    rng = np.random.default_rng(2)
    patient = np.repeat(np.arange(60), 2)
    sick = patient % 2 == 1
    a = rng.normal(size=(120, 3, 40)) + rng.normal(size=60)[patient][:, None, None]  # patients differ
    code = xr.DataArray(np.repeat([0, 1, 2, 3], 10), dims="time", attrs={"flag_meanings": "none P QRS ST"})
    a[np.ix_(sick, [1], range(20, 30))] += 3
    x = xr.DataArray(a, dims=("sample", "lead", "time"), coords={"lead": ["I", "II", "V1"]})
    table = ecg.cohort(x, over=patient, by_class=np.where(sick, "MI", "NORM"), wave=code)
    found = table.difference_apart.sel(pair="MI - NORM")
    assert found.sel(lead="II", wave="QRS")
    assert int(found.sum()) == 1


@pytest.mark.parametrize("shared", [False, True])
def test_intervals_of_differences_cover_what_they_say(shared):
    rng = np.random.default_rng(5)
    hits, turns = 0, 200
    code = xr.DataArray([0, 0], dims="time", attrs={"flag_meanings": "none"})
    for _ in range(turns):
        patient = np.repeat(np.arange(16), 3)
        sick = rng.random(48) < 0.5 if shared else patient % 2 == 1  # patients with samples in both classes, or in one
        a = rng.normal(size=16)[patient] + 0.5 * rng.normal(size=48) + sick
        x = xr.DataArray(np.stack([a / 2, a / 2], -1)[:, None], dims=("sample", "lead", "time"), coords={"lead": ["I"]})
        table = ecg.cohort(x, over=patient, by_class=np.where(sick, "b", "a"), wave=code)
        hits += bool((table.difference_low <= -1) & (table.difference_high >= -1))
    assert 0.90 <= hits / turns <= 0.99


def test_a_patient_unlike_the_rest_is_named():
    rng = np.random.default_rng(3)
    a = rng.normal(size=(40, 2, 30))
    a[14:16] += 4
    x = xr.DataArray(a, dims=("sample", "lead", "time"), coords={"lead": ["I", "II"]})
    table = ecg.cohort(x, over=np.arange(40) // 2)
    assert table.patient[table.unlike].values.tolist() == [7]
    assert "pair" not in table.dims


def test_beats_are_aligned_at_their_r_peaks(explained):
    d, a = explained
    cut = ecg.aligned(a, d.r_peak, before=0.2, after=0.3)
    assert cut.dims == ("beat", "lead", "offset")
    np.testing.assert_allclose(cut.offset, np.arange(-20, 31) / 100)
    r = np.flatnonzero(d.r_peak.values[4])
    whole = [k for k in r if k >= 20 and k + 30 < d.sizes["time"]]
    mine = cut[(cut.sample == 4).values]
    assert mine.sizes["beat"] == len(whole)
    np.testing.assert_array_equal(mine[1], a.values[4][:, whole[1] - 20 : whole[1] + 31])
    assert set(mine.patient.values.tolist()) == {2}
    assert mine.number.values.tolist() == [list(r).index(k) + 1 for k in whole]
    np.testing.assert_array_equal(ecg.aligned(a[4], d.r_peak[4], before=0.2, after=0.3), mine)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (lambda d, a: ecg.cohort(a, over=[1, 2]), "over names 2 samples, the attribution has 12"),
        (lambda d, a: ecg.cohort(a, over="patient", by_class=[1]), "by_class names 1 samples"),
        (lambda d, a: ecg.cohort(a, over="patient", size="squared"), 'size is "signed" or "absolute"'),
        (lambda d, a: ecg.aligned(a[..., 1:], d.r_peak), "other times than the values"),
        (lambda d, a: ecg.aligned(a, d.r_peak & False), "no beat lies whole within the record"),
    ],
)
def test_what_does_not_fit_is_refused(explained, wrong, told):
    with pytest.raises(ValueError, match=told):
        wrong(*explained)


def test_patients_and_beats_of_other_samples_are_refused():
    time = {"time": np.arange(30) / 10}
    a = xr.DataArray(np.ones((4, 30)), dims=("sample", "time"), coords={"sample": list("abcd"), **time})
    r = (a > 0) & (a.time == 1.5)
    patient = xr.DataArray([1, 1, 2, 2], dims="sample", coords={"sample": list("abcd")})
    for told, wrong in {
        "over is of other samples, or in another order": lambda: ecg.cohort(a, over=patient[::-1]),
        "over is missing of 1 samples": lambda: ecg.cohort(a, over=[1, 1, 2, np.nan]),
        "by_class is missing of 1 samples": lambda: ecg.cohort(a, over=patient, by_class=["A", "B", "A", None]),
        "over: no coordinate 'patient'": lambda: ecg.cohort(a, over="patient"),
        "a cohort has a dim 'sample'": lambda: ecg.cohort(a[0], over="patient"),
        "r_peak is of other samples": lambda: ecg.aligned(a, r[::-1]),
        "r_peak is of 1 samples": lambda: ecg.aligned(a, r[:1]),
        "give that of these samples": lambda: ecg.aligned(a[0], r),
        "before and after are seconds round R": lambda: ecg.aligned(a, r, before=-0.5),
    }.items():
        with pytest.raises(ValueError, match=told):
            wrong()


def test_sums_of_chunks_are_those_of_the_whole():
    a = xr.DataArray(np.random.default_rng(0).normal(size=(4, 30)), dims=("sample", "time"))
    code = xr.DataArray(np.arange(30) % 5, dims="time")
    xr.testing.assert_identical(ecg.by(a.chunk(time=7), wave=code.chunk()), ecg.by(a, wave=code))


def test_a_class_of_one_patient_has_no_interval_and_says_so():
    a = xr.DataArray(
        np.random.default_rng(0).normal(size=(6, 1, 5)), dims=("sample", "lead", "time"), coords={"lead": ["I"]}
    )
    with pytest.warns(ta.ExplanationWarning, match="are of one patient"):
        table = ecg.cohort(a, over=[0, 0, 1, 2, 3, 4], by_class=["A", "A", "B", "B", "B", "B"])
    assert table.low.isnull().sel({"class": "A"}).all()
    assert table.low.notnull().sel({"class": "B"}).all()
