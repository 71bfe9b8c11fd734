import itertools

import numpy as np
import pytest
import xarray as xr

from tsattr.datasets import state, states, switch_feature

SIMULATORS = pytest.mark.parametrize("simulate", [state, switch_feature])


@pytest.fixture(scope="module")
def stays():
    return state()


@pytest.fixture(scope="module")
def switches():
    return switch_feature()


def repeats_before(s):
    """How many of the steps before t repeated their state, for t >= 1, by a slow loop; -1 before the first change."""
    count = np.full(s.shape, -1)
    for row, out in zip(s, count):
        d = -1  # until the first change, the state before time 0 matters, and it is not kept
        for t in range(1, len(row)):
            out[t] = d
            d = 0 if row[t] != row[t - 1] else d + (d >= 0)
    return count


def test_state_stays_as_its_formula_says(stays):
    s = stays.state.values
    d = repeats_before(s)[:, 1:]
    before, after = s[:, :-1], s[:, 1:]
    known = d >= 0
    expected = np.where(before == 1, 0.95 - d / 500, 0.05)
    for group in [known & (before == 0), *(known & (before == 1) & (d // 10 == k) for k in range(4))]:
        n, p = group.sum(), expected[group].mean()
        assert n > 400
        assert abs(after[group].mean() - p) < 4 * np.sqrt(p * (1 - p) / n)  # 4 standard errors
    assert abs(s[:, 0].mean() - 0.5) < 4 * 0.5 / np.sqrt(1000)


def test_state_series_have_the_mean_and_covariance_of_their_state(stays):
    rows = stays.x.transpose("sample", "time", "feature").values.reshape(-1, 3).astype(float)
    s = stays.state.values.ravel()
    for which, mean, k in ((0, [0.1, 1.6, 0.5], 1), (1, [-0.1, -0.4, -1.5], 2)):
        cov = 0.801 * np.eye(3)
        cov[0, k] = cov[k, 0] = 0.01
        x = rows[s == which]
        error = 4 / np.sqrt(len(x))  # about 0.013: 4 standard errors for variance 1
        np.testing.assert_allclose(x.mean(axis=0), mean, rtol=0, atol=error)
        np.testing.assert_allclose(np.cov(x.T), cov, rtol=0, atol=error * np.sqrt(2) * 0.801)


def test_state_covariance_is_exact():
    """Draws alone cannot tell it: .01 is within the error of a covariance estimated from 80000 cells."""
    expected = [
        [[0.801, 0.01, 0], [0.01, 0.801, 0], [0, 0, 0.801]],
        [[0.801, 0, 0.01], [0, 0.801, 0], [0.01, 0, 0.801]],
    ]
    np.testing.assert_allclose(states._roots() @ states._roots().transpose(0, 2, 1), expected, atol=1e-12)


@pytest.mark.parametrize(("simulate", "important", "slope"), [(state, [1, 2], 2), (switch_feature, [0, 1, 2], 3)])
def test_label_probability_is_calibrated(simulate, important, slope):
    ds = simulate()
    decides = ds.x.isel(feature=xr.DataArray(np.array(important)[ds.state], dims=("sample", "time"))).values
    p = 1 / (1 + np.exp(-slope * decides))
    for low in np.arange(0, 1, 0.1):
        here = (p >= low) & (p < low + 0.1)
        se = np.sqrt((p[here] * (1 - p[here])).sum())
        assert here.sum() > 300
        assert abs(ds.label.values[here].sum() - p[here].sum()) < 4 * se


def test_state_truths_follow_from_the_states(stays):
    s, important = stays.state.values, np.array([1, 2])
    change, every = np.zeros((1000, 3, 200), bool), np.zeros((1000, 3, 200), bool)
    for i in range(50):
        for t in range(200):
            every[i, important[s[i, t]], t] = True
            change[i, important[s[i, t]], t] = t == 0 or s[i, t] != s[i, t - 1]
    np.testing.assert_array_equal(stays.truth_every_step[:50], every[:50])
    # The first step is always marked, and marks only the important feature.
    np.testing.assert_array_equal(stays.truth_change[:50], change[:50])


def test_state_base_rates_are_the_published_ones(stays):
    later = stays.truth_change.isel(time=slice(1, None)).sum(("feature", "time"))
    assert abs(later.mean() - 11.6) < 4 * later.std() / np.sqrt(1000)
    assert float(stays.truth_every_step.mean()) == pytest.approx(1 / 3)


def test_switch_follows_its_transitions(switches):
    s = switches.state.values
    assert not (s[:, 0] == 2).any()
    assert abs(s[:, 0].mean() - 1 / 3) < 4 * np.sqrt(2 / 9 / 1000)
    for before in range(3):
        after = s[:, 1:][s[:, :-1] == before]
        expected = states.SWITCH_TRANSITION[before]
        error = 4 * np.sqrt(expected * (1 - expected) / after.size)
        assert (abs(np.bincount(after, minlength=3) / after.size - expected) < error).all()


def test_switch_series_have_the_mean_and_variance_of_their_state(switches):
    rows = switches.x.transpose("sample", "time", "feature").values.reshape(-1, 3).astype(float)
    for which, mean in enumerate([[0.8, -0.5, -0.2], [0, -1, 0], [-0.2, -0.2, 0.8]]):
        x = rows[switches.state.values.ravel() == which]
        error = 4 * np.sqrt(0.1 / len(x))
        np.testing.assert_allclose(x.mean(axis=0), mean, rtol=0, atol=error)
        np.testing.assert_allclose(np.cov(x.T), 0.1 * np.eye(3), rtol=0, atol=error * np.sqrt(0.2))


def test_a_stay_is_a_gaussian_process_that_starts_afresh(monkeypatch):
    """With a long correlation, unlike the published one, so that it shows: against a Cholesky factor for each stay."""
    monkeypatch.setattr(states, "SWITCH_LENGTH", 1.5)
    normal = np.random.default_rng(0).standard_normal((4, 12, 3))
    changed = np.zeros((4, 12), bool)
    changed[0, [3, 4, 9]] = changed[1, 1] = changed[2, 11] = True
    expected = np.empty_like(normal)
    for i in range(4):
        edges = [0, *np.flatnonzero(changed[i]), 12]
        for a, b in itertools.pairwise(edges):
            t = np.arange(b - a)
            cov = 0.1 * np.exp(-((t[:, None] - t) ** 2) / (2 * 1.5**2))
            expected[i, a:b] = np.linalg.cholesky(cov) @ normal[i, a:b]
    np.testing.assert_allclose(states._restarted_process(normal, changed), expected, atol=1e-12)


def test_switch_truths_follow_from_the_states(switches):
    s = switches.state.values
    for i in range(50):
        change, every = np.zeros((3, 100), bool), np.zeros((3, 100), bool)
        for t in range(100):
            every[s[i, t], t] = True
            if t == 0 or s[i, t] != s[i, t - 1]:
                change[s[i, t], t] = True
            if t > 0 and s[i, t] != s[i, t - 1]:
                change[2, t] = True
        np.testing.assert_array_equal(switches.truth_every_step[i], every)
        np.testing.assert_array_equal(switches.truth_change[i], change)


@SIMULATORS
def test_sample_depends_on_seed_and_number_only(simulate):
    few, more, other = (simulate(n, seed=s).drop_vars("split") for n, s in ((3, 5), (11, 5), (3, 6)))
    xr.testing.assert_identical(few, more.isel(sample=slice(3)))
    assert abs(few.x - other.x).mean() > 0.1
    assert abs(few.x[0] - few.x[1]).mean() > 0.1


@SIMULATORS
def test_layout(simulate, tmp_path):
    ds = simulate(10, times=7)
    assert ds.x.dims == ds.truth_change.dims == ds.truth_every_step.dims == ("sample", "feature", "time")
    assert ds.x.shape == (10, 3, 7)
    assert ds.x.dtype == np.float32
    assert ds.label.dims == ds.state.dims == ("sample", "time")
    assert ds.split.values.tolist() == ["train"] * 8 + ["test"] * 2
    assert "FIT" in ds.attrs["truth_change_used_by"]
    ds.to_netcdf(tmp_path / "ds.nc", engine="h5netcdf")
    with xr.open_dataset(tmp_path / "ds.nc", engine="h5netcdf") as back:
        xr.testing.assert_equal(back, ds)
    assert simulate(1, times=1).x.shape == (1, 3, 1)


@SIMULATORS
def test_wrong_settings(simulate):
    with pytest.raises(ValueError, match="samples is at least 1, not 0"):
        simulate(0)
    with pytest.raises(ValueError, match="times is at least 1, not 0"):
        simulate(2, times=0)
    with pytest.raises(TypeError, match="samples is an integer"):
        simulate("many")
