import numpy as np
import pytest
import xarray as xr

from tsattr.datasets import simulate_ecg
from tsattr.ecg import WAVES
from tsattr.ecg.simulated_parts import sinus_rhythm
from tsattr.ecg.simulated_waves import LESIONS, Beats

MORPHOLOGY = [name for name in LESIONS if name not in ("pvc", "af")]
QUIET = {"noise": 0.0, "wander": 0.0, "distractor": False, "dtype": "float64"}


def test_leads_labels_and_flags_survive_a_file(tmp_path):
    ds = simulate_ecg(6, seed=2)
    ds.to_netcdf(tmp_path / "ecg.nc", engine="h5netcdf")
    with xr.open_dataset(tmp_path / "ecg.nc", engine="h5netcdf") as back:
        xr.testing.assert_equal(back, ds)
        assert back.label.attrs["flag_meanings"] == ds.label.attrs["flag_meanings"]
    assert ds.ecg.dims == ("sample", "lead", "time")
    assert ds.ecg.dtype == np.float32
    assert ds.ecg.attrs["units"] == "mV"
    assert ds.time.attrs["units"] == "s"


def test_limb_identities_hold_for_the_final_signal():
    ecg = simulate_ecg(10, dtype="float64").ecg
    lead = {name: ecg.sel(lead=name, drop=True) for name in ecg.lead.values}
    one, two = lead["I"], lead["II"]
    for name, value in {
        "III": two - one,
        "aVR": -(one + two) / 2,
        "aVL": one - two / 2,
        "aVF": two - one / 2,
    }.items():
        np.testing.assert_allclose(lead[name], value, rtol=0, atol=1e-12)


def test_one_beat_is_the_sum_of_its_waves():
    gain = np.zeros((1, 2, 8))
    gain[0, 0, 0], gain[0, 1, 1] = 0.5, -0.25
    beats = Beats(
        r=np.array([1.0]),
        centre=np.array([[0.0, 0.3]]),
        sigma=np.array([[0.02, 0.05]]),
        gain=gain,
        order=np.array([1, 2]),
        wave=np.array([2, 4]),
    )
    ecg = beats.signal(np.array([1.0, 1.02, 1.3, 1.4]))
    np.testing.assert_allclose(ecg[0], [0.5, 0.5 * np.exp(-0.5), 0, 0], atol=1e-12)
    np.testing.assert_allclose(ecg[1], [0, 0, -0.25, -0.25 * np.exp(-8)], atol=1e-12)
    np.testing.assert_allclose(beats.support[0, 0], [0.94, 1.06])
    np.testing.assert_allclose(np.exp(-0.5 * ((beats.support[0, 1] - 1.3) / 0.05) ** 4), np.exp(-4.5))


@pytest.mark.parametrize(
    ("lead", "wave", "height"),
    [("II", "T", 0.198), ("V2", "T", 0.397), ("I", "P", 1.5 * 0.052), ("III", "T", 0.025), ("aVF", "P", 1.5 * 0.048)],
)
def test_the_average_subject_has_the_measured_amplitudes(lead, wave, height):
    ds = simulate_ecg(2, lesions=(), variability=0, sampling_rate=500, hr=(60, 60), **QUIET)
    heights = ds.ecg.sel(lead=lead).where(ds.wave == WAVES.index(wave)).max("time")
    np.testing.assert_allclose(heights, height, rtol=2e-3)


def test_sample_depends_on_seed_and_number_only():
    few, many, other = simulate_ecg(3, seed=5), simulate_ecg(11, seed=5), simulate_ecg(3, seed=6)
    xr.testing.assert_identical(few, many.isel(sample=slice(3)))
    assert abs(few.ecg - other.ecg).max() > 0.5


def test_classes_are_balanced_and_named():
    ds = simulate_ecg(50)
    assert np.bincount(ds.label).tolist() == [10] * 5
    names = np.array(ds.label.attrs["flag_meanings"].split())[ds.label]
    np.testing.assert_array_equal(ds.rhythm, np.isin(names, ["pvc", "af"]))
    np.testing.assert_array_equal(ds.truth.any(("lead", "time")), names != "normal")


@pytest.mark.parametrize("rate", [100.0, 360.0])
@pytest.mark.parametrize("lesion", MORPHOLOGY)
def test_truth_is_where_the_lesion_changes_the_signal(lesion, rate):
    settings = {"seed": 4, "sampling_rate": rate, "dtype": "float64"}
    sick, twin = simulate_ecg(6, lesions=(lesion,), **settings), simulate_ecg(6, lesions=(), **settings)
    for i in (1, 3, 5):
        change, truth = abs(sick.ecg - twin.ecg)[i].values, sick.truth[i].values
        for lead in range(12):
            largest = change[lead].max()
            if not truth[lead].any():
                assert largest < 1e-12
                continue
            assert largest > 1e-3
            assert change[lead][~truth[lead]].max() < 0.03 * largest
            assert np.mean(change[lead][truth[lead]] > 0.005 * largest) > 0.8
    assert not sick.truth[0].any()


def test_lesions_reach_their_territory():
    ds = simulate_ecg(20, lesions=tuple(MORPHOLOGY))
    reached = {
        name: set(ds.lead.values[ds.truth[1 + k].any("time").values].tolist()) for k, name in enumerate(MORPHOLOGY)
    }
    assert reached["st_elevation_anterior"] == {"V1", "V2", "V3", "V4"}
    assert reached["st_elevation_inferior"] == {"II", "III", "aVF", "aVR", "aVL"}
    assert reached["peaked_t"] == {"V2", "V3", "V4"}
    assert reached["lvh"] == {"V1", "V2", "V5", "V6"}
    assert reached["av_block"] == set(ds.lead.values)


def test_early_beats_are_masked_and_all_others_stay():
    sick, twin = simulate_ecg(8, lesions=("pvc",), seed=1, **QUIET), simulate_ecg(8, lesions=(), seed=1, **QUIET)
    for i in range(1, 8, 2):
        moved = ~np.isin(np.flatnonzero(sick.r_peak[i]), np.flatnonzero(twin.r_peak[i]))
        early = sick.time.values[sick.r_peak[i]][moved]
        late = twin.time.values[twin.r_peak[i]][~np.isin(*map(np.flatnonzero, (twin.r_peak[i], sick.r_peak[i])))]
        assert 1 <= early.size <= 3
        assert early.size == late.size
        displaced = np.any(abs(sick.time.values[:, None] - late - 0.1) < 0.5, axis=1)  # where the normal beats were
        change, truth = abs(sick.ecg - twin.ecg)[i].values, sick.truth[i].values
        assert np.all(truth.any(0)[sick.r_peak[i].values] == moved)
        assert change[:, ~displaced][~truth[:, ~displaced]].max() < 0.05 * change.max()
        before = sick.wave[i].values[
            np.any((sick.time.values[:, None] > early - 0.2) & (sick.time.values[:, None] < early - 0.1), 1)
        ]
        assert not np.any(before == WAVES.index("P"))


def test_fibrillation_has_no_p_and_an_irregular_rhythm():
    ds = simulate_ecg(40, lesions=("af",), duration=20)
    sick = ds.label.values == 1
    variation = np.array([np.std(rr) / np.mean(rr) for rr in (np.diff(ds.time.values[r]) for r in ds.r_peak.values)])
    assert variation[sick].min() > variation[~sick].max()
    assert not (ds.wave[sick] == WAVES.index("P")).any()
    assert (ds.wave[~sick] == WAVES.index("P")).any("time").all()
    share = ds.truth[sick].mean()
    assert 0.05 < share < 0.3
    np.testing.assert_array_equal(ds.truth[sick].all("lead"), ds.truth[sick].any("lead"))


def test_distractor_knows_nothing_of_the_class():
    sick, twin, clean = simulate_ecg(30), simulate_ecg(30, lesions=()), simulate_ecg(30, distractor=False)
    xr.testing.assert_identical(sick.distractor, twin.distractor)
    np.testing.assert_array_equal(sick.distractor.any("time").sum("lead"), 1)
    change = abs(sick.ecg - clean.ecg)
    assert change.where(~sick.distractor).max() == 0
    assert change.max(("lead", "time")).min() > 0.1
    assert not clean.distractor.any()
    xr.testing.assert_identical(sick.truth, clean.truth)


def test_waves_and_beats_follow_the_r_peaks():
    ds = simulate_ecg(10, lesions=())
    assert (ds.wave.values[ds.r_peak.values] == WAVES.index("QRS")).all()
    for i in range(10):
        beat, r = ds.beat[i].values, np.flatnonzero(ds.r_peak[i])
        np.testing.assert_array_equal(beat[r], 1 + np.arange(r.size))
        inner = np.arange(r[0], r[-1] + 1)
        nearest = abs(inner[:, None] - r)
        clear = np.partition(nearest, 1, axis=1)[:, 1] - nearest.min(1) > 2  # R lies between cells: not near a boundary
        np.testing.assert_array_equal(beat[inner][clear], 1 + nearest.argmin(1)[clear])


def test_heart_rate_varies_at_two_frequencies():
    low, high, spread = 0.0, 0.0, []
    for seed in range(20):
        r = sinus_rhythm(np.random.default_rng(seed), 0.8, 400)
        even = np.interp(np.arange(0, 400, 0.5), r[1:], np.diff(r))
        frequency, power = np.fft.rfftfreq(even.size, 0.5), abs(np.fft.rfft(even - even.mean())) ** 2
        low += power[(frequency > 0.05) & (frequency < 0.15)].sum()
        high += power[(frequency > 0.2) & (frequency < 0.3)].sum()
        spread.append(np.std(np.diff(r)))
    assert 0.4 < low / high < 0.8  # 0.5, a little more as intervals of 0.8 s damp the faster one
    assert 0.8**2 / 60 * 0.7 < min(spread) < max(spread) < 4 * 0.8**2 / 60 * 1.4


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"lesions": ("flu",)}, ValueError, "flu"),
        ({"lesions": ("pvc", "pvc")}, ValueError, "different names"),
        ({"lesions": ("normal",)}, ValueError, "always class 0"),
        ({"lesions": "pvc"}, TypeError, "sequence"),
        ({"n": 0}, ValueError, "n is at least 1, not 0"),
        ({"duration": 1.0}, ValueError, "at least 4 s, not 1.0"),
        ({"sampling_rate": 20}, ValueError, "50 Hz"),
        ({"hr": (90, 60)}, ValueError, "hr is"),
        ({"noise": -1}, ValueError, "not negative"),
        ({"seed": -1}, ValueError, "seed"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings, error, message):
    with pytest.raises(error, match=message):
        simulate_ecg(**{"n": 2, **settings})
