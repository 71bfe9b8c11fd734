"""Profiles against closed forms on the sphere, loops and brute-force bootstraps; untrained networks; filters that look ahead."""

import math

import numpy as np
import pytest
import torch
import xarray as xr
from scipy import integrate, optimize, signal
from torch import nn

import tsattr as ta
from tests.reference import interval_of_resamples
from tsattr.climate import area_weights, distance
from tsattr.climate.blocks import Blocks
from tsattr.climate.controls import filtered, leakage, null
from tsattr.climate.pooling import Pool, pooled
from tsattr.climate.profiles import lag_distance, lag_profile, radial_profile, separability

RADIUS = 6371.0088


def grid(step=2.0, dims=("lat", "lon")):
    coords = {"lat": np.arange(-90 + step / 2, 90, step), "lon": np.arange(0, 360, step)}
    zeros = xr.DataArray(np.zeros((len(coords["lat"]), len(coords["lon"]))), dims=("lat", "lon"), coords=coords)
    return zeros.transpose(*dims)


def rough(n=30, seed=0):
    """Importance (sample, lag, lat, lon) at random, with land."""
    rng = np.random.default_rng(seed)
    like = grid(30.0)
    a = xr.DataArray(rng.gamma(1.0, size=(n, 4, *like.shape)), dims=("sample", "lag", "lat", "lon"), coords=like.coords)
    a = a.assign_coords(lag=[-4, -3, -2, -1], sample=np.arange(n))
    return a.where((a.lat > -80) | (a.lon > 100))


def haversine(lat, lon, lat0, lon0):
    p, q = math.radians(lat), math.radians(lat0)
    h = math.sin((p - q) / 2) ** 2 + math.cos(p) * math.cos(q) * math.sin(math.radians(lon - lon0) / 2) ** 2
    return 2 * RADIUS * math.asin(math.sqrt(h))


# ------------------------------------------------------------------------------------------------------------- distance


@pytest.mark.parametrize("length", [1500.0, 3000.0])
@pytest.mark.parametrize("lat", [0.0, 45.0])
def test_a_planted_exponential_kernel_is_found(length, lat):
    """Importance per area exp(-d / L): the radius in closed form on the sphere, the decay of the density with distance."""
    y = grid()
    km = distance(y, lat=lat, lon=200)
    m = area_weights(y) * np.exp(-km / length)
    found = radial_profile(m, km)
    held = lambda r: integrate.quad(lambda s: math.exp(-s / length) * math.sin(s / RADIUS), 0, r)[0]  # noqa: E731
    whole = held(math.pi * RADIUS)
    for share in (0.5, 0.8, 0.9):
        radius = optimize.brentq(lambda r, q=share: held(r) / whole - q, 1, math.pi * RADIUS)
        assert float(found.radius.sel(share=share)) == pytest.approx(radius, rel=0.02)
        cap = (1 - math.cos(radius / RADIUS)) / 2
        assert float(found.area_within.sel(share=share)) == pytest.approx(
            cap, rel=0.04
        )  # area goes like the radius squared
    inner = found.density.sel(distance=slice(1000, 8000))
    slope = np.polyfit(inner.distance, np.log(inner), 1)[0]
    assert -1 / slope == pytest.approx(length, rel=0.02)


def test_a_uniform_map_has_the_mass_where_the_area_is():
    y = grid()
    land = (y.lon > 100) & (y.lat > 20)
    found = radial_profile((area_weights(y) + y).where(~land), distance(y, lat=0, lon=190))
    np.testing.assert_allclose(found.mass_share, found.area_share, rtol=1e-12)
    np.testing.assert_allclose(found.density.dropna("distance"), 1, rtol=1e-12)
    assert float(found.mass_share.sum()) == pytest.approx(1, rel=1e-12)
    np.testing.assert_allclose(found.area_within, [0.5, 0.8, 0.9], atol=2e-3)


def test_radial_profile_by_a_loop():
    a = rough(1).isel(sample=0)
    y = grid(30.0)
    found = radial_profile(a, distance(y, lat=10, lon=50), bins=2000.0, shares=(0.3, 0.9))
    cells = []
    for j, lat in enumerate(y.lat.values):
        for i, lon in enumerate(y.lon.values):
            if not np.isnan(a.values[0, j, i]):
                km = haversine(lat, lon, 10, 50)
                cells.append((km, a.values[:, j, i].sum(), math.cos(math.radians(lat))))
    mass, area = (sum(c[k] for c in cells) for k in (1, 2))
    for b, middle in enumerate(found.distance.values):
        inside = [c for c in cells if 2000 * b <= c[0] < 2000 * (b + 1)]
        assert middle == 2000 * b + 1000
        assert float(found.mass_share[b]) == pytest.approx(sum(c[1] for c in inside) / mass, rel=1e-10)
        assert float(found.area_share[b]) == pytest.approx(sum(c[2] for c in inside) / area, rel=1e-10)
    for share in (0.3, 0.9):
        held, radius = 0.0, None
        for km, m, _ in sorted(cells):
            held += m
            if radius is None and held >= share * mass:
                radius = km
        assert float(found.radius.sel(share=share)) == pytest.approx(radius, rel=1e-6)
        within = sum(c[2] for c in cells if c[0] <= radius * (1 + 1e-9)) / area
        assert float(found.area_within.sel(share=share)) == pytest.approx(within, rel=1e-10)


def test_order_of_dims_direction_and_seam_change_nothing():
    a = rough(1).isel(sample=0)
    km = distance(grid(30.0), lat=10, lon=50)
    found = radial_profile(a, km), lag_distance(a, km), lag_profile(a), separability(a)
    turned = a.transpose("lon", "lag", "lat").isel(lat=slice(None, None, -1)).roll(lon=5, roll_coords=True)
    km = km.transpose("lon", "lat").isel(lat=slice(None, None, -1)).roll(lon=5, roll_coords=True)
    again = radial_profile(turned, km), lag_distance(turned, km), lag_profile(turned), separability(turned)
    for one, other in zip(found, again):
        xr.testing.assert_allclose(one, other, rtol=1e-9)


def test_other_dims_go_through():
    a = rough(3)
    km = distance(grid(30.0), lat=10, lon=50)
    for f in (lambda m: radial_profile(m, km), lambda m: lag_distance(m, km), lag_profile, separability):
        together = f(a)
        for k in range(3):
            alone = f(a.isel(sample=k))
            for name in alone.data_vars:
                np.testing.assert_allclose(
                    together[name].sel(sample=k) if "sample" in together[name].dims else together[name], alone[name]
                )


def test_lag_and_distance_together_sum_to_the_profiles():
    a = rough(1).isel(sample=0)
    km = distance(grid(30.0), lat=10, lon=50)
    both = lag_distance(a, km).mass_share
    assert float(both.sum()) == pytest.approx(1)
    np.testing.assert_allclose(both.sum("lag"), radial_profile(a, km).mass_share)
    np.testing.assert_allclose(both.sum("distance"), lag_profile(a).mass_share)


# ------------------------------------------------------------------------------------------------------------------ lag


@pytest.mark.parametrize("tau", [1.5, 4.0, 10.0])
@pytest.mark.parametrize("sign", [-1, 1])
def test_a_planted_decay_with_lag_is_found(tau, sign):
    lag = sign * np.arange(1.0, 37)
    m = xr.DataArray(np.exp(-abs(lag) / tau), dims="lag", coords={"lag": ("lag", lag, {"units": "months"})})
    place = xr.DataArray(np.random.default_rng(0).gamma(1.0, size=(3, 4)), dims=("lat", "lon"))
    for order in (slice(None), slice(None, None, -1)):
        found = lag_profile((m * place).isel(lag=order))
        assert float(found.efolding) == pytest.approx(tau, rel=1e-9)
        q = math.exp(-1 / tau)
        center = 1 / (1 - q) - 36 * q**36 / (1 - q**36)  # the mean of a geometric distribution cut off after 36
        assert float(found.center) == pytest.approx(center, rel=1e-12)
        for share in (0.5, 0.8, 0.9):
            reach = next(k for k in range(1, 37) if (1 - q**k) / (1 - q**36) >= share)
            assert float(found.reach.sel(share=share)) == reach
        assert found.efolding.attrs["units"] == "months"


def test_e_folding_is_counted_from_the_peak_and_may_not_be_reached():
    lag = {"lag": [-5.0, -4.0, -3.0, -2.0, -1.0]}
    peak = xr.DataArray([0.1, 1.0, math.e, 2.0, 1.0], dims="lag", coords=lag)
    assert float(lag_profile(peak).efolding) == pytest.approx(1.0)  # from lag 3 back to lag 4
    assert np.isnan(lag_profile(xr.DataArray([1.0, 1.0, 1.0, 1.0, 2.0], dims="lag", coords=lag)).efolding)
    assert float(lag_profile(xr.DataArray([0, 0, 0, 0, 1.0], dims="lag", coords=lag)).efolding) == 0


def test_lags_need_a_coordinate_that_counts_back():
    a = rough(1).isel(sample=0)
    with pytest.raises(KeyError, match="a dim 'lag' with a coordinate"):
        lag_profile(a.drop_vars("lag"))
    with pytest.raises(ValueError, match=r"numbers of one sign.*\[-1, 0, 1, 2\]"):
        lag_profile(a.assign_coords(lag=[-1, 0, 1, 2]))


# --------------------------------------------------------------------------------------------------------- separability


def test_rank_one_share_of_known_matrices():
    rng = np.random.default_rng(0)
    g, h = (
        xr.DataArray(rng.gamma(1.0, size=5), dims="lag"),
        xr.DataArray(rng.gamma(1.0, size=(3, 4)), dims=("lat", "lon")),
    )
    found = separability(g * h)
    assert float(found.rank1_share) == pytest.approx(1, abs=1e-12)
    np.testing.assert_allclose(found.lag_pattern, g / g.sum())
    # Two patterns that share neither lags nor places: the singular values are their sizes.
    two = xr.DataArray(np.zeros((2, 1, 2)), dims=("lag", "lat", "lon"))
    two[0, 0, 0], two[1, 0, 1] = 3.0, 1.0
    assert float(separability(two).rank1_share) == pytest.approx(9 / 10)


def test_rank_one_share_by_singular_values():
    a = rough(1).isel(sample=0)
    s = np.linalg.svd(np.nan_to_num(a.values).reshape(4, -1), compute_uv=False)
    assert float(separability(a).rank1_share) == pytest.approx(s[0] ** 2 / (s**2).sum(), rel=1e-10)


# ------------------------------------------------------------------------------------------------------------ intervals


def test_intervals_of_a_pool_are_those_of_resampled_maps():
    a = rough(30)
    pool = Pool(Blocks(6, resamples=40)).update(a)
    km = distance(grid(30.0), lat=10, lon=50)
    weights = Blocks(6, resamples=40).weights(5)
    resampled = [a.weighted(xr.DataArray(np.repeat(w, 6), dims="sample")).mean("sample") for w in weights]
    for f in (lambda m: radial_profile(m, km), lambda m: lag_distance(m, km), lag_profile, separability):
        found, whole = f(pool), f(a.mean("sample"))
        again = xr.concat([f(m) for m in resampled], "resample")
        for name in whole.data_vars:
            np.testing.assert_allclose(found[name], whole[name], rtol=1e-9)
            if f"{name}_low" not in found:
                continue
            most = 1 if name in ("mass_share", "area_within", "rank1_share", "lag_pattern") else np.inf
            drawn, low, high = (
                v.reshape(*v.shape[: v.ndim - whole[name].ndim], -1)
                for v in (again[name].values, found[f"{name}_low"].values, found[f"{name}_high"].values)
            )
            for k, center in enumerate(whole[name].values.reshape(-1)):
                ends = interval_of_resamples(drawn[:, k], weights, np.full(5, 0.2), center, 0.95)
                np.testing.assert_allclose([low[k], high[k]], np.clip(ends, 0, most), rtol=1e-6, atol=1e-9)
        assert found.attrs["resamples"] == 40
    assert {"radius_low", "mass_share_high", "density_low"} <= set(radial_profile(pool, km).data_vars)
    assert "area_share_low" not in radial_profile(pool, km)


@pytest.mark.slow
@pytest.mark.parametrize("memory", [0.0, 4.0])
@pytest.mark.parametrize("number", [6, 20])
def test_intervals_of_profiles_cover(number, memory):
    """Maps of known expected importance; percentiles cover the rank-1 share in .23 of experiments with six blocks and memory."""
    phi = np.exp(-1 / memory) if memory else 0.0
    lag, lon = np.arange(-6.0, 0), np.arange(0.0, 360, 45)
    size = xr.DataArray(np.exp(lag / 3), dims="lag", coords={"lag": lag}) * xr.DataArray(
        np.exp(-lon / 90), dims="lon", coords={"lon": lon}
    )
    size = (size * (1 + 0.3 * np.sin(np.outer(np.arange(6), np.arange(8))))).expand_dims(lat=[0.0])
    km = distance(size, lat=0, lon=0)
    noise = np.random.default_rng(number).normal(size=(12 * number, 200, *size.shape))
    noise[1:] *= np.sqrt(1 - phi**2)
    for t in range(1, len(noise)):
        noise[t] += phi * noise[t - 1]
    pool = Pool(12, statistics=("mean_absolute",)).update(
        xr.DataArray(noise, dims=("sample", "experiment", *size.dims)) * size
    )
    for f, names in (
        (lambda m: radial_profile(m, km, bins=4000.0), ("mass_share", "radius")),
        (lag_profile, ("center", "efolding", "reach")),
        (separability, ("rank1_share",)),
    ):
        found, truth = f(pool), f(size)
        for name in names:
            inside = (found[f"{name}_low"] <= truth[name] + 1e-9) & (found[f"{name}_high"] >= truth[name] - 1e-9)
            assert float(inside.mean()) > (0.9 if name != "rank1_share" else 0.88)


def test_conditions_go_through_a_profile():
    a = rough(24)
    by = xr.DataArray(["warm", "cold"] * 12, dims="sample", name="enso")
    found = lag_profile(Pool(Blocks(4, resamples=50)).update(a, by))
    np.testing.assert_allclose(found.center.sel(enso="warm"), lag_profile(a[::2].mean("sample")).center)
    assert found.center_low.dims == ("enso",)


def test_refusals():
    a = rough(1).isel(sample=0)
    km = distance(grid(30.0), lat=10, lon=50)
    with pytest.raises(ValueError, match="importance is at least 0"):
        radial_profile(a - 3, km)
    with pytest.raises(ValueError, match=r"not \['lat', 'lon'\]"):
        radial_profile(a.rename(lat="y", lon="x"), km)
    with pytest.raises(ValueError, match="lat"):
        radial_profile(a.assign_coords(lat=a.lat + 1e-3), km)  # cells that do not match are never left out
    with pytest.raises(ValueError, match="lat"):
        lag_distance(a.assign_coords(lat=a.lat + 1e-3), km)
    with pytest.raises(ValueError, match="width in km above 0"):
        radial_profile(a, km, bins=-1)
    with pytest.raises(ValueError, match=r"edges of bins increase.*\[3.0, 2.0\]"):
        radial_profile(a, km, bins=[3, 2])


def test_cells_beyond_the_last_edge_count_in_the_sums_only():
    a = rough(1).isel(sample=0)
    km = distance(grid(30.0), lat=10, lon=50)
    near = radial_profile(a, km, bins=[0, 4000, 8000])
    whole = radial_profile(a, km, bins=4000.0)
    np.testing.assert_allclose(near.mass_share, whole.mass_share[:2])
    assert float(near.mass_share.sum()) < 0.9


# ------------------------------------------------------------------------------------------------------ untrained networks


def network():
    torch.manual_seed(1)
    return nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), nn.Tanh(), nn.Conv2d(4, 1, 3, padding=1)).double()


def test_the_null_of_a_convolutional_network_is_its_receptive_field():
    """Two layers of width 3 see two cells each way, whatever was learnt; a trained copy is told from the null by its weights."""
    net = network()
    before = {name: p.clone() for name, p in net.state_dict().items()}
    state = torch.get_rng_state()
    rng = np.random.default_rng(0)
    like = grid(20.0)
    x = xr.DataArray(rng.normal(size=(12, 2, *like.shape)), dims=("sample", "lag", "lat", "lon"), coords=like.coords)
    x = x.assign_coords(lag=[-2, -1])
    point = ta.targets.Output(variable=0, lat=4, lon=9)

    def importance(m):
        return pooled(m, x, ta.Saliency(), target=point, outputs=("variable", "lat", "lon"), pool=Pool(3), chunk=5)

    maps = null(net, importance, number=3)
    assert maps.dims == ("member", "lag", "lat", "lon")
    seen = maps.isel(lat=slice(2, 7), lon=slice(7, 12))
    assert int((maps > 0).sum()) == seen.size
    assert float(seen.min()) > 0
    assert len({round(float(m.sum()), 12) for m in maps}) == 3
    xr.testing.assert_identical(maps, null(net, importance, number=3))
    assert not maps.equals(null(net, importance, number=3, seed=7))
    assert all(torch.equal(p, before[name]) for name, p in net.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)
    km = distance(like, lat=float(like.lat[4]), lon=float(like.lon[9]))
    found = radial_profile(importance(net), km, null=maps)
    np.testing.assert_allclose(found.radius_null, radial_profile(maps, km).radius)
    assert found.radius_null.dims == ("member", "share")
    assert found.mass_share_null.sum("distance").values == pytest.approx(1)
    with pytest.raises(ValueError, match="number is a whole number"):
        null(net, importance, number=0)


def test_a_planted_model_is_recovered_from_its_pooled_explanation():
    """A linear model of white noise: importance is its weights, but for what 600 samples leave to chance."""
    length, tau = 3000.0, 4.0
    like = grid(15.0)
    km = distance(like, lat=7.5, lon=180)
    lag = xr.DataArray(np.arange(-12, 0), dims="lag", coords={"lag": np.arange(-12, 0)})
    w = (area_weights(like) * np.exp(-km / length) * np.exp(lag / tau)).transpose("lag", "lat", "lon")
    weight = torch.as_tensor(w.values)
    values = np.random.default_rng(0).normal(size=(600, *w.shape))
    x = xr.DataArray(values, dims=("sample", *w.dims), coords=w.coords)
    pool = pooled(lambda x: (x * weight).sum((1, 2, 3)), x, ta.InputXGradient(), pool=Pool(12), chunk=100)
    exact, found = radial_profile(w, km), radial_profile(pool, km)
    np.testing.assert_allclose(found.radius, exact.radius, rtol=0.02)
    assert (found.radius_low <= exact.radius).all()
    assert (exact.radius <= found.radius_high).all()
    found = lag_profile(pool)
    assert float(found.efolding) == pytest.approx(tau, rel=0.02)
    assert float(found.efolding_low) < tau < float(found.efolding_high)
    found = separability(pool)
    assert float(found.rank1_share) > 0.99
    assert float(found.rank1_share_high) < 1  # noise is not of rank 1


# --------------------------------------------------------------------------------------------------------------- filters


def test_filters_are_those_of_scipy_and_have_the_stated_gain():
    time = np.arange(2400)
    wave = xr.DataArray(np.sin(2 * np.pi * time / 12), dims="time").expand_dims(lat=2).copy()
    wave[1] = np.nan  # land
    middle = slice(600, 1800)
    both, forward = filtered(wave, 12), filtered(wave, 12, causal=True)
    assert float(both[0, middle].std() / wave[0, middle].std()) == pytest.approx(1 / 2, rel=1e-3)
    assert float(forward[0, middle].std() / wave[0, middle].std()) == pytest.approx(np.sqrt(1 / 2), rel=1e-3)
    assert both[1].isnull().all()
    assert forward[1].isnull().all()
    sections = signal.butter(4, 1 / 6, output="sos")
    np.testing.assert_array_equal(both[0], signal.sosfiltfilt(sections, wave.values[0]))
    assert filtered(wave.astype(np.float32), 12).dtype == np.float32
    moved = filtered(wave.transpose("time", "lat"), 12)
    xr.testing.assert_identical(moved, both.transpose("time", "lat"))


def test_a_causal_filter_does_not_look_ahead_and_keeps_a_constant():
    x = xr.DataArray(np.random.default_rng(0).normal(size=200), dims="time")
    later = x.copy()
    later[120:] += 5
    np.testing.assert_array_equal(filtered(x, 8, causal=True)[:120], filtered(later, 8, causal=True)[:120])
    assert float(abs(filtered(x, 8)[:120] - filtered(later, 8)[:120]).max()) > 0.1
    np.testing.assert_allclose(filtered(xr.full_like(x, 3.0), 8, causal=True), 3.0)


def test_filter_refusals():
    x = xr.DataArray(np.zeros(50), dims="time")
    with pytest.raises(ValueError, match=r"period is more than two steps.*2"):
        filtered(x, 2)
    with pytest.raises(ValueError, match="gaps along 'time'"):
        filtered(x.where(x.time != 3) if "time" in x.coords else x.where(np.arange(50) != 3), 12)


def test_leakage_is_found_where_there_is_nothing_else_to_find():
    """White noise cannot be predicted. From its two-sided low-pass it can, as that holds some of what comes next."""
    n, lags = 6000, 6
    noise = np.random.default_rng(0).normal(size=n)
    series = xr.DataArray(noise, dims="time", coords={"time": np.arange(n)})

    def importance(smooth):
        histories = np.stack([smooth.values[k : n - lags + k] for k in range(lags)], 1)
        scale = histories.std(0)
        slopes = np.linalg.solve(histories.T @ histories / n + 1e-2 * np.eye(lags), histories.T @ noise[lags:] / n)
        return xr.DataArray(abs(slopes * scale), dims="lag", coords={"lag": np.arange(-lags, 0)})

    found = leakage(series, importance, 8, last=2, space=())
    two, one = (found.recent.sel(filter=name) for name in ("two-sided", "causal"))
    assert float(two) > 0.3  # in standard deviations of what is predicted
    assert float(one) < 0.3 * float(two)
    assert found["filter"].values.tolist() == ["two-sided", "causal"]
    np.testing.assert_allclose(found.recent_share, found.mass.sel(lag=[-2, -1]).sum("lag") / found.mass.sum("lag"))


def test_leakage_with_intervals():
    n = 300
    series = xr.DataArray(np.random.default_rng(0).normal(size=n), dims="time", coords={"time": np.arange(n)})

    def importance(smooth):
        maps = np.stack([smooth.values[k : n - 4 + k] for k in range(4)], 1)
        return Pool(12).update(xr.DataArray(maps, dims=("sample", "lag"), coords={"lag": [-4, -3, -2, -1]}))

    found = leakage(series, importance, 6, space=())
    assert (found.recent_share_low < found.recent_share).all()
    assert (found.recent_share < found.recent_share_high).all()


def test_places_are_known_by_any_of_their_names():
    maps = rough().mean("sample")
    names = {"lat": "latitude", "lon": "longitude"}
    renamed = maps.rename(names)
    for found, expected in ((lag_profile(renamed), lag_profile(maps)), (separability(renamed), separability(maps))):
        xr.testing.assert_identical(found, expected)
    with pytest.raises(ValueError, match="none of them known as a place; name them: space="):
        separability(maps.drop_vars(["lat", "lon"]).rename(lat="j", lon="i"))


@pytest.mark.parametrize("order", [1, 2, 4, 5])
def test_a_series_too_short_for_the_filter_is_refused(order):
    def line(n):
        return xr.DataArray(np.ones(n), dims="time")

    least = next(n for n in range(2, 100) if not _refused(line(n), order))
    assert _refused(line(least - 1), order).startswith(f"a filter of order {order} needs at least ")
    assert str(least) in _refused(line(least - 1), order)
    assert filtered(line(2), 12, causal=True, order=order).sizes["time"] == 2


def _refused(line, order):
    try:
        filtered(line, 12, order=order)
    except ValueError as error:
        return str(error)
    return ""
