"""Learnt laws of the near future against processes whose law is known."""

import warnings

import numpy as np
import pytest
import torch
import xarray as xr

import tsattr as ta
from tsattr.core.axes import Axes
from tsattr.core.baselines.fills import bind
from tsattr.core.baselines.forecast import ahead_of
from tsattr.core.baselines.training import Series
from tsattr.core.keys import Key

from ...test_laws import Made

b = ta.baselines
PHI, NOISE = 0.8, 0.6


def ar1(n, times=24, seed=0, features=1):
    """x_t = phi x_t-1 + e, e ~ N(0, NOISE^2), in its stationary law."""
    rng = np.random.default_rng(seed)
    x = np.zeros((n, features, times))
    x[..., 0] = rng.normal(size=(n, features)) * NOISE / np.sqrt(1 - PHI**2)
    for t in range(1, times):
        x[..., t] = PHI * x[..., t - 1] + NOISE * rng.normal(size=(n, features))
    return xr.DataArray(x, {"feature": list("abcde"[:features])}, ("sample", "feature", "time"))


def twins(n, times=12, seed=0):
    """b_t = a_t + 0.3 e, a white: b is known from a at the same time, and nothing from the past."""
    rng = np.random.default_rng(seed)
    a = rng.normal(size=(n, 1, times))
    x = np.concatenate([a, a + 0.3 * rng.normal(size=(n, 1, times))], 1)
    return xr.DataArray(x, {"feature": ["a", "b"]}, ("sample", "feature", "time"))


@pytest.fixture(scope="module")
def forecast():
    return b.Generator.fit(ar1(400), horizon=4, hidden=8, epochs=60, learning_rate=0.01)


@pytest.fixture(scope="module")
def joint():
    return b.JointGenerator.fit(twins(400), hidden=6, epochs=60, learning_rate=0.01)


def bound(law, x, dims=None):
    dims = dims or ("feature", "time")
    x = x.transpose("sample", *dims)
    coords = {d: x[d].values for d in dims if d in x.coords}
    axes = Axes(dims, tuple(x.sizes[d] for d in dims), coords, {}, "sample", x.sizes["sample"])
    return bind(law, axes), torch.as_tensor(x.values)


def key(n, draw=0):
    return Key(0, np.arange(n, dtype=np.uint64), torch.arange(n), np.full(n, draw))


def gaps(x, start, stop, feature=0):
    absent = torch.zeros(x.shape, dtype=torch.bool)
    absent[:, feature, start:stop] = True
    return absent


# -------------------------------------------------------------------------------------------------------- what is learnt


def test_the_forecast_of_an_autoregressive_process(forecast):
    """E x_a+h = phi^(h+1) x_a-1, Var = NOISE^2 (1 - phi^(2 (h+1))) / (1 - phi^2)."""
    x = ar1(300, seed=1)
    mean, rows = bound(b.Generator(forecast.fitted, 4, 8, draw=False), x)
    filled = mean.fill(rows, gaps(rows, 10, 14), key(300))
    last = x.values[:, 0, 9]
    for h in range(4):
        want = PHI ** (h + 1) * last
        assert np.sqrt(np.mean((filled[:, 0, 10 + h].numpy() - want) ** 2)) < 0.1  # of a spread of 1
    found = forecast.calibration(x)
    spread = NOISE * np.sqrt((1 - PHI ** (2 * np.arange(1, 5))) / (1 - PHI**2)) / x.values.std()
    np.testing.assert_allclose(found.error, spread, rtol=0.08)
    np.testing.assert_allclose(found.ratio, 1, atol=0.1)
    np.testing.assert_allclose(found.inside_50, 0.5, atol=0.05)
    np.testing.assert_allclose(found.inside_90, 0.9, atol=0.04)
    assert "not converged" in forecast.fitted.source or "stopped" in forecast.fitted.source
    assert len(str(found).splitlines()) == 5


def test_draws_have_the_spread_that_was_learnt(forecast):
    law, rows = bound(forecast, ar1(1, seed=2))
    draws = torch.stack([law.fill(rows, gaps(rows, 10, 14), key(1, d))[0, 0, 10:14] for d in range(400)])
    spread = NOISE * np.sqrt((1 - PHI ** (2 * np.arange(1, 5))) / (1 - PHI**2))
    np.testing.assert_allclose(draws.std(0), spread, rtol=0.15)


def test_the_published_loss_collapses_and_says_so():
    with pytest.warns(UserWarning, match="have collapsed"):
        law = b.Generator.fit(ar1(200), horizon=2, hidden=6, epochs=80, learning_rate=0.02, loss="mse")
    assert law.calibration(ar1(200, seed=1)).ratio.max() < 0.5
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        b.Generator.fit(ar1(40), horizon=2, hidden=4, epochs=3, loss="mse", draw=False)


def test_a_joint_law_knows_the_present(joint):
    """E b_t given a_t is a_t, with sd 0.3; without a_t it is 0, with sd 1."""
    x = twins(200, seed=1)
    law, rows = bound(b.JointGenerator(joint.fitted, 6, draw=False), x)
    with_a = law.fill(rows, gaps(rows, 5, 9, feature=1), key(200))
    assert float((with_a[:, 1, 5:9] - rows[:, 0, 5:9]).std()) < 0.12
    both = gaps(rows, 5, 9, feature=0) | gaps(rows, 5, 9, feature=1)
    assert float(law.fill(rows, both, key(200))[:, :, 5:9].std()) < 0.25
    draws = bound(joint, x)[0]
    spread = [draws.fill(rows, gaps(rows, 5, 9, feature=1), key(200, d))[:, 1, 5:9] for d in range(20)]
    assert float((torch.stack(spread) - rows[:, 0, 5:9]).std()) == pytest.approx(0.3, abs=0.06)
    np.testing.assert_allclose(joint.calibration(x).ratio, 1, atol=0.1)


def test_the_pooled_distribution():
    values = np.array([[[1.0, 2.0, 2.0, np.nan]], [[2.0, 4.0, 4.0, 4.0]]])
    x = xr.DataArray(np.concatenate([values, 10 * values], 1), dims=("sample", "feature", "time"))
    law, rows = bound(b.Marginal.fit(x), x.fillna(0))
    drawn = torch.stack([law.fill(rows, torch.ones_like(rows, dtype=torch.bool), key(2, d)) for d in range(500)])
    for feature, scale in ((0, 1), (1, 10)):
        found, count = np.unique(drawn[:, :, feature], return_counts=True)
        assert found.tolist() == [scale, 2 * scale, 4 * scale]
        np.testing.assert_allclose(count / count.sum(), [1 / 7, 3 / 7, 3 / 7], atol=0.03)
    with pytest.raises(ValueError, match="no value at all"):
        b.Marginal.fit(x.where(x.feature > 0))


# -------------------------------------------------------------------------------------------------- laws of every law


FITTED, SMALL = ar1(30, times=10, features=3), {"epochs": 2, "hidden": 4}
LAWS = Made(
    {
        "generator": lambda: b.Generator.fit(FITTED, horizon=4, **SMALL),
        "generator, mean": lambda: b.Generator.fit(FITTED, horizon=4, draw=False, **SMALL),
        "joint": lambda: b.JointGenerator.fit(FITTED, **SMALL),
        "joint, mean": lambda: b.JointGenerator.fit(FITTED, draw=False, **SMALL),
        "marginal": lambda: b.Marginal.fit(FITTED),
        "hold": lambda: b.Hold(otherwise=0.0),
        "conditional gaussian": lambda: b.ConditionalGaussian.fit(FITTED, causal=True),
        "autoregressive": lambda: b.AutoRegressive.fit(FITTED, 2, causal=True),
        "autoregressive, drawn": lambda: b.AutoRegressive.fit(FITTED, 3, draw=True, causal=True),
        "conditional gaussian, drawn": lambda: b.ConditionalGaussian.fit(FITTED, causal=True, draw=True),
    }
)
every = pytest.mark.parametrize("name", LAWS)


@every
def test_the_future_plays_no_part(name):
    x = ar1(5, times=10, features=3, seed=3)
    law, rows = bound(LAWS[name], x)
    assert law.causal
    for absent in (gaps(rows, 4, 7, 1), gaps(rows, 4, 10, 0) | gaps(rows, 6, 8, 2), gaps(rows, 0, 10, 1)):
        filled = law.fill(rows, absent, key(5))
        assert torch.equal(filled[~absent], rows[~absent])
        for time in range(10):
            later = rows.clone()
            later[:, :, time + 1 :] = 7.0
            other = law.fill(later, absent, key(5))
            np.testing.assert_allclose(other[:, :, : time + 1], filled[:, :, : time + 1], atol=1e-12)


@every
@pytest.mark.parametrize("holes", [False, True])
def test_a_window_is_filled_as_a_whole_row_is(name, holes):
    x = ar1(5, times=10, features=3, seed=3)
    if holes:
        x = x.where(np.random.default_rng(1).random(x.shape) > 0.25)
    law, rows = bound(LAWS[name], x)
    ahead = ahead_of(law, rows, 2)
    for start in range(1, 10):
        length = min(3, 10 - start)
        absent = gaps(rows, start, start + length, 1)
        want = law.fill(rows, absent, key(5))[:, 1, start : start + length]
        gone = torch.tensor([False, True, False]).expand(5, 3)
        found = ahead(torch.arange(5), torch.full((5,), start), length, gone, key(5))[:, :, 1]
        np.testing.assert_allclose(found, want, atol=1e-12)
        shorter = ahead(torch.arange(5), torch.full((5,), start), 1, gone, key(5))[:, :, 1]
        np.testing.assert_allclose(shorter, found[:, :1], atol=1e-12)
        beyond = ahead(torch.arange(5), torch.full((5,), start), 4, gone, key(5))[:, :length, 1]
        np.testing.assert_allclose(beyond, found, atol=1e-12)
    # Rows of unlike samples, starts and draws at once, in any order, are what each is alone.
    i, start = torch.tensor([3, 0, 3, 4]), torch.tensor([7, 1, 2, 7])
    draws = Key(0, i.numpy().astype(np.uint64), i, np.array([1, 0, 0, 1]))
    found = ahead(i, start, 2, torch.ones(4, 3, dtype=torch.bool), draws)
    for r in range(4):
        at = torch.tensor([r])
        alone = ahead(i[at], start[at], 2, torch.ones(1, 3, dtype=torch.bool), draws.at(at))
        np.testing.assert_allclose(alone[0], found[r], atol=1e-12)


@every
def test_rows_dims_and_missing_values(name):
    x = ar1(5, times=10, features=3, seed=3)
    x[1, 0, 2:4] = np.nan
    law, rows = bound(LAWS[name], x)
    absent = gaps(rows, 4, 7, 1)
    want = law.fill(rows, absent, key(5))
    assert torch.isfinite(want[absent]).all()
    assert torch.equal(torch.isnan(want), torch.isnan(rows) & ~absent)
    one = law.fill(rows[2:3], absent[2:3], Key(0, np.array([2], np.uint64), torch.tensor([2]), np.array([0])))
    np.testing.assert_allclose(one, want[2:3], atol=1e-12)
    turned, other = bound(LAWS[name], x, ("time", "feature"))
    found = turned.fill(other, absent.transpose(1, 2), key(5)).transpose(1, 2)
    np.testing.assert_allclose(found, want, atol=1e-12)
    again, mixed = bound(LAWS[name], x.isel(feature=[2, 0, 1]))
    if name != "marginal" and "drawn" not in name and not LAWS[name].random:
        found = again.fill(mixed, absent[:, [2, 0, 1]], key(5))
        np.testing.assert_allclose(found, want[:, [2, 0, 1]], atol=1e-12)


@every
def test_in_use(name):
    """As the law of WinIT and as the fill of occlusion."""
    x = ar1(3, times=10, features=3, seed=3)
    ds = ta.explain(lambda x: x.cumsum(2).sum(1), x, ta.WinIT(3, LAWS[name], draws=2), outputs=("time",))
    assert (ds.status == "ok").all()
    assert repr(LAWS[name]) in ds.attrs["baseline"]
    ds = ta.explain(lambda x: x.sum((1, 2)), x, ta.Occlusion(ta.groups.Windows(time=5), LAWS[name]))
    assert np.isfinite(ds.attribution).all()


@pytest.mark.parametrize("name", ["generator", "joint"])
def test_save_and_load(name, tmp_path):
    law = LAWS[name]
    law.save(tmp_path / "law.npz")
    again = type(law).load(tmp_path / "law.npz")
    assert again == law
    assert repr(again) == repr(law)
    assert [p.name for p in tmp_path.iterdir()] == ["law.npz"]
    x = ar1(3, times=10, features=3, seed=3)
    for one, other in ((law, again),):
        (f, rows), (h, _) = bound(one, x), bound(other, x)
        assert torch.equal(f.fill(rows, gaps(rows, 2, 5), key(3)), h.fill(rows, gaps(rows, 2, 5), key(3)))
    with pytest.raises(ValueError, match="holds"):
        (b.JointGenerator if name == "generator" else b.Generator).load(tmp_path / "law.npz")


def test_fitting_leaves_random_states_and_depends_on_its_seed_alone():
    x = ar1(20, times=6)
    before = torch.get_rng_state()
    one, same, other = (b.Generator.fit(x, horizon=2, epochs=2, hidden=3, seed=s) for s in (0, 0, 1))
    assert torch.equal(before, torch.get_rng_state())
    assert one == same
    assert one != other


def test_series_with_gaps_are_fitted_to_what_is_known():
    x = ar1(60, times=12, features=2)
    holes = x.where(np.random.default_rng(0).random(x.shape) > 0.3)
    law = b.Generator.fit(holes, horizon=2, epochs=5, hidden=4)
    assert np.isfinite(law.calibration(holes).error).all()
    joint = b.JointGenerator.fit(holes, epochs=5, hidden=4)
    assert np.isfinite(joint.calibration(holes).error).all()


def test_wrong_settings():
    x = ar1(10, times=6)
    for settings, words in (
        ({"horizon": 0}, "at least 1"),
        ({"loss": "mae"}, "loss is one of"),
        ({"validation": 1.0}, "between 0 and 1"),
        ({"epochs": 0}, "at least 1"),
    ):
        with pytest.raises(ValueError, match=words):
            b.Generator.fit(x, **{"horizon": 2, "epochs": 1, **settings})
    with pytest.raises(ValueError, match="at least two samples"):
        b.Generator.fit(x[:1], epochs=1)
    with pytest.raises(ValueError, match="at least two times"):
        Series.of(x[..., :1], "time", "sample")
    law = b.Generator.fit(x, horizon=2, epochs=1, hidden=2)
    with pytest.raises(ValueError, match="forecasts 2 steps, and a window has 4"):
        ta.explain(lambda x: x.cumsum(2).sum(1), x, ta.WinIT(4, law), outputs=("time",))
    with pytest.raises(ValueError, match="has 1 entries along dim"):
        ta.explain(
            lambda x: x.cumsum(2).sum(1),
            ar1(2, 6, features=2).drop_vars("feature"),
            ta.WinIT(2, law),
            outputs=("time",),
        )
