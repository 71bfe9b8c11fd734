"""Waves measured on all leads: onsets and offsets of known beats, what is absent, and where they go."""

import os
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import tsattr as ta
from tsattr import ecg
from tsattr.datasets import simulate_ecg

DATA = Path(os.environ.get("TSATTR_DATA", Path(__file__).parents[1] / ".." / "shared" / "data")).resolve() / "ecg"
RATE = 500.0
pytestmark = pytest.mark.filterwarnings("ignore:.*have a QRS of 0.12 s or more")


def record(width=0.03, p=0.15, t=0.3, noise=0.005, beats=12, seed=0):
    """Two leads of Gaussian waves whose places and widths are known; R every 0.9 s, with a little of its own."""
    rng = np.random.default_rng(seed)
    r = 0.7 + np.cumsum(0.9 + 0.03 * rng.normal(size=beats))
    time = np.arange(0, r[-1] + 1, 1 / RATE)
    wave = lambda at, size, sd: size * np.exp(-(((time[:, None] - r - at) / sd) ** 2) / 2).sum(1)  # noqa: E731
    x = wave(0, 1.0, width / 3) + wave(-0.16, p, 0.02) + wave(0.3, t, 0.05)
    leads = np.stack([x, 0.6 * x]) + noise * rng.normal(size=(2, len(time)))
    x = xr.DataArray(leads, dims=("lead", "time"), coords={"lead": ["I", "II"], "time": time}, attrs={"units": "mV"})
    mark = xr.DataArray(np.isin(np.arange(len(time)), np.rint(r * RATE)), dims="time", coords={"time": time})
    return x, mark


@pytest.mark.parametrize("width", [0.03, 0.045, 0.09])
def test_qrs_begins_and_ends_where_it_does(width):
    x, r = record(width, p=0)
    found = ecg.delineate(x, r)
    start, stop = (found[v].sel(wave="QRS") - found.r for v in ("onset", "offset"))
    # a Gaussian's slope is 4 per cent of its largest at 3.1 standard deviations
    np.testing.assert_allclose([start.median(), stop.median()], [-3.1 * width / 3, 3.1 * width / 3], atol=0.012)
    assert float(start.std()) < 0.004
    assert found.wide.all() == (width > 0.06)
    assert found.confidence.sel(wave="QRS").min() == 1


def test_p_and_t_lie_where_they_are():
    found = ecg.delineate(*record())
    for wave, at in (("P", -0.16), ("T", 0.3)):
        one = found.sel(wave=wave)
        middle = (one.onset + one.offset) / 2 - found.r
        np.testing.assert_allclose(middle, at, atol=0.02)
        assert one.confidence.min() > 0.9
        assert one.stretch.min() > 0.9


@pytest.mark.parametrize(("wave", "size"), [("P", {"p": 0.0}), ("T", {"t": 0.0})])
def test_a_wave_that_is_not_there_is_absent(wave, size):
    x, r = record(noise=0.02, beats=24, **size)
    found = ecg.delineate(x, r).sel(wave=wave)
    assert float(np.isnan(found.onset).mean()) > 0.7
    assert float(found.confidence.median()) < 0.5
    code = ecg.waves(r, measured=ecg.delineate(x, r))
    assert (code == ecg.WAVES.index(wave)).mean() < 0.3 * (ecg.waves(r) == ecg.WAVES.index(wave)).mean()


@pytest.mark.skipif(not (DATA / "wfdb" / "v102s.hea").exists(), reason="needs the records")
@pytest.mark.parametrize("name", ["a103l", "v102s"])
def test_a_p_close_to_it_is_no_part_of_a_qrs(name):
    x = ta.read_wfdb(DATA / "wfdb" / name, stop=60)
    found = ecg.delineate(x, ecg.r_peaks(x))
    lasts = (found.offset - found.onset).sel(wave="QRS")
    assert 0.08 <= float(lasts.median()) < 0.11
    assert float(found.wide.mean()) < 0.05
    assert float(found.onset.sel(wave="P").isnull().mean()) < 0.05


def test_what_the_annotations_tell_goes_before_what_is_measured():
    x, r = record()
    beats = np.flatnonzero(r)
    codes = np.zeros(len(r), np.int16)
    codes[beats] = 1
    codes[beats[3]] = 5
    flags = {"flag_values": np.array([0, 1, 5], np.int16), "flag_meanings": "none N V"}
    rhythm = np.where(np.arange(len(r)) < beats[8] - 100, 1, 2).astype(np.int16)
    rhythms = {"flag_values": np.array([0, 1, 2], np.int16), "flag_meanings": "none N AFIB"}
    told = x.assign_coords(annotation=("time", codes, flags), rhythm=("time", rhythm, rhythms))
    p = ecg.delineate(told, r).sel(wave="P")
    absent = np.isnan(p.onset.values)
    assert absent.tolist() == [k == 3 or k >= 8 for k in range(12)]
    assert (p.confidence.values[absent] == 0).all()


def test_st_of_a_wide_beat_begins_where_its_qrs_ends():
    x, r = record(width=0.12)
    with pytest.warns(UserWarning, match="12 of 12 beats have a QRS of 0.12 s or more"):
        found = ecg.delineate(x, r)
    code = ecg.waves(r, measured=found)
    assert code.attrs["evidence"].startswith("measured on the average")
    for k in range(12):
        after = code.sel(time=slice(float(found.r[k]), None)).values
        ends = int(np.argmax(after != 2)) / RATE + float(found.r[k])
        np.testing.assert_allclose(ends, found.offset.sel(wave="QRS")[k], atol=2 / RATE)
        assert after[np.argmax(after != 2)] in (3, 4)
    nominal = ecg.waves(r)
    assert (nominal == 2).sum() < (code == 2).sum()


def test_a_batch_equals_its_records_and_lead_order_scale_and_gaps_change_nothing():
    d = simulate_ecg(3, lesions=["pvc"], sampling_rate=250, seed=2)
    found = ecg.delineate(d.ecg, d.r_peak)
    assert found.onset.dims == ("sample", "beat", "wave")
    for i in range(3):
        x, r = d.ecg[i], d.r_peak[i]
        alone = ecg.delineate(x, r)
        xr.testing.assert_allclose(
            found.isel(sample=i, beat=slice(0, alone.sizes["beat"])).drop_vars("sample"), alone.drop_vars("sample")
        )
        xr.testing.assert_allclose(
            ecg.delineate(x.isel(lead=slice(None, None, -1)).transpose("time", "lead"), r), alone
        )
        xr.testing.assert_allclose(ecg.delineate((1e3 * x).assign_attrs(units="uV"), r), alone, atol=0.004)
    gap = d.ecg[0].where(d.ecg.time > 0.3)
    assert ecg.delineate(gap, d.r_peak[0]).onset.notnull().sum() > 0


def test_of_a_single_beat_what_is_in_the_noise_is_no_wave():
    found = [
        ecg.delineate(*record(beats=1, noise=0.02, p=p, seed=s)).confidence.sel(wave="P").item()
        for s in range(12)
        for p in (0.0, 0.2)
    ]
    assert np.median(found[1::2]) > 0.9
    assert max(found[::2]) < 0.5


def test_no_beats_and_flat_lines_do_no_harm():
    x, r = record()
    assert ecg.delineate(x, r & False).sizes["beat"] == 0
    flat = ecg.delineate(x * 0, r)
    assert np.isnan(flat.onset.sel(wave=["P", "T"])).all()
    assert not flat.wide.any()  # a QRS that was not found is not a wide one
    beside = r & False
    beside[[300, 301]] = True
    assert ecg.delineate(x, beside).sizes["beat"] == 2
    assert (ecg.waves(r & False, measured=ecg.delineate(x, r & False)) == 0).all()


def test_what_does_not_belong_together_is_refused():
    x, r = record()
    with pytest.raises(ValueError, match="different times"):
        ecg.delineate(x[:, 1:], r)
    both, marks = (xr.concat([a, a], xr.DataArray(["a", "b"], dims="sample", name="sample")) for a in (x, r))
    with pytest.raises(ValueError, match="r_peak is of other samples, or in another order"):
        ecg.delineate(both, marks[::-1])
    with pytest.raises(ValueError, match="r_peak is of 1 samples, and the record of 2"):
        ecg.delineate(both, marks[:1])
    for one, other in ((x, marks), (both, r)):
        with pytest.raises(ValueError, match="give that of these samples"):
            ecg.delineate(one, other)
    found = ecg.delineate(x, r)
    with pytest.raises(ValueError, match="measured is of other R peaks"):
        ecg.waves(r.roll(time=5, roll_coords=False), measured=found)
    with pytest.raises(ValueError, match="measured is of other R peaks"):
        ecg.waves(r & (r.time > 3), measured=found)


def test_simulated_beats_have_their_onsets_within_ten_milliseconds():
    d = simulate_ecg(8, lesions=[], sampling_rate=500, seed=3)
    found = ecg.delineate(d.ecg, d.r_peak)
    errors = []
    for i in range(8):
        time, code = d.time.values, d.wave[i].values == 2
        for k in range(int(d.r_peak[i].sum())):
            at = time[code & (abs(time - float(found.r[i, k])) < 0.2)]
            errors.append(float(found.onset.sel(wave="QRS")[i, k]) - at[0])
    assert np.quantile(np.abs(errors), 0.9) < 0.010


@pytest.mark.data
@pytest.mark.skipif(not (DATA / "mitdb" / "208.dat").is_file(), reason="no real records: set TSATTR_DATA")
@pytest.mark.parametrize(
    ("name", "symbol", "least", "fixed"), [("208", "V", 0.98, 0.7), ("212", "R", 0.975, 0.85), ("209", "N", 0.98, 1.0)]
)
def test_the_slopes_of_real_complexes_lie_within_them(name, symbol, least, fixed):
    x = ta.read_wfdb(DATA / "mitdb" / name, annotator="atr", stop=300)
    r = ecg.r_peaks(x)
    found = ecg.delineate(x, r)
    words = dict(
        zip(np.atleast_1d(x.annotation.attrs["flag_values"]).tolist(), x.annotation.attrs["flag_meanings"].split())
    )
    mine = np.array([words[c] == symbol for c in x.annotation.values[r.values]])
    at, half = np.flatnonzero(r)[mine], round(0.2 * 360)
    at = at[(at > half) & (at < x.sizes["time"] - half)]
    average = np.stack([x.values[:, k - half : k + half + 1] for k in at]).mean(0)
    energy, offset = (np.gradient(average, axis=1) ** 2).sum(0), (np.arange(2 * half + 1) - half) / 360
    qrs = found.sel(wave="QRS").isel(beat=mine)
    inside = (offset >= float((qrs.onset - qrs.r).median())) & (offset < float((qrs.offset - qrs.r).median()))
    assert energy[inside].sum() / energy.sum() >= least
    assert energy[abs(offset) <= 0.06].sum() / energy.sum() <= fixed
    if symbol == "V":
        assert np.isnan(found.onset.sel(wave="P").isel(beat=mine)).all()
