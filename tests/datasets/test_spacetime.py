import numpy as np
import pytest
import torch

import tsattr as ta
from tsattr.climate import distance
from tsattr.datasets.spacetime import additive_history

EFOLDING = {1: 2.0, 6: 4.0, 9: 6.0}
TARGET, RADIUS_KM = (-5.0, 215.0), 2000.0
EVENT = ("lag", "lat", "lon")


def planted(**settings):
    return additive_history(lags=18, efolding=EFOLDING, target=TARGET, radius_km=RADIUS_KM, seed=2, **settings)


@pytest.fixture(scope="module")
def field():
    return planted()


@pytest.fixture(scope="module")
def pooled(field):
    """What a study would have: the mean size of the contributions over samples."""
    return abs(field.sample(300, seed=1).truth).mean("sample")


def test_the_weights_are_the_formula():
    field = planted(remote=(-25.0, 145.0), remote_share=0.4, remote_km=900.0)
    importance = field.importance

    def km(lat, lon, place):
        a, b, c, d = np.deg2rad([lat, lon, *place])
        return 6371.0088 * np.arccos(np.clip(np.sin(a) * np.sin(c) + np.cos(a) * np.cos(c) * np.cos(b - d), -1, 1))

    cells = [(float(lat), float(lon)) for lat in field.cells.lat for lon in field.cells.lon]
    near = [np.exp(-km(*cell, TARGET) / RADIUS_KM) for cell in cells]
    far = [np.exp(-(km(*cell, (-25.0, 145.0)) ** 2) / 2 / 900.0**2) for cell in cells]
    for lead, tau in EFOLDING.items():
        decay = [np.exp(-(back - 1) / tau) for back in range(18, 0, -1)]
        for t, g in enumerate(decay):
            h = [0.6 * a / sum(near) + 0.4 * b / sum(far) for a, b in zip(near, far)]
            expected = g / sum(decay) * np.array(h)
            np.testing.assert_allclose(
                importance.sel(lead=lead)[t].values.ravel(), expected, rtol=1e-5
            )  # arccos near 1
    np.testing.assert_allclose(importance.sum(EVENT), 1)


def test_the_pooled_truth_tends_to_the_planted_importance(field):
    truth = abs(field.sample(1000, seed=3).truth).sel(lead=6)
    z = (truth.mean("sample") - field.importance.sel(lead=6)) / (truth.std("sample") / np.sqrt(1000))
    assert 0.9 < float(z.std()) < 1.1
    # Of 1944 cells a few are flat but for a tail, which 1000 samples meet rarely: their errors are larger than they say.
    assert float(abs(z).quantile(0.995)) < 4


def test_the_locality_radius_is_recovered(field, pooled):
    km = distance(field.cells, lat=TARGET[0], lon=TARGET[1])
    for lead in EFOLDING:
        mass = pooled.sel(lead=lead).sum("lag")
        slope = np.polyfit(km.values.ravel(), np.log(mass.values.ravel()), 1)[0]
        assert -1 / slope == pytest.approx(RADIUS_KM, rel=0.15)


def test_the_efolding_lag_is_recovered_and_grows_with_the_lead(pooled):
    by_lag = pooled.sum(["lat", "lon"])
    found = [-1 / np.polyfit(by_lag.lag, -np.log(by_lag.sel(lead=lead)), 1)[0] for lead in EFOLDING]
    np.testing.assert_allclose(found, list(EFOLDING.values()), rtol=0.15)
    center = (by_lag * -by_lag.lag).sum("lag") / by_lag.sum("lag")
    assert (np.diff(center) > 0.5).all()


def test_the_decay_with_lag_is_the_same_everywhere(field):
    for lead in EFOLDING:
        matrix = field.importance.sel(lead=lead).stack(place=["lat", "lon"]).transpose("lag", "place").values
        size = np.linalg.svd(matrix, compute_uv=False)
        assert size[1] < 1e-12 * size[0]


def test_the_remote_place_is_found_and_the_teleconnection_of_the_states_is_not_one():
    place = (-25.0, 145.0)
    remote = planted(remote=place, remote_share=0.3)
    link = planted(teleconnections=[ta.datasets.covariance.Teleconnection(TARGET, place, strength=2.0)])
    mass = {}
    for name, field in {"remote": remote, "link": link}.items():
        pooled = abs(field.sample(200, seed=4).truth).mean("sample").sum("lag")
        there = distance(field.cells, lat=place[0], lon=place[1]) < 2500
        mass[name] = (pooled.where(there).sum(["lat", "lon"]) / pooled.sum(["lat", "lon"])).values
    # 95.6 % of a Gaussian blob lies within 2.5 widths of its centre, in the plane.
    np.testing.assert_allclose(mass["remote"] - 0.7 * mass["link"], 0.3, rtol=0.15)
    assert (mass["link"] < 0.06).all()
    i, j = (int(np.argmin(distance(link.cells, lat=p[0], lon=p[1]).values)) for p in (TARGET, place))
    assert link.states.space[i, j] < -0.5


def test_histories_are_autoregressive_in_time_and_correlated_in_space():
    field = additive_history(grid=30, lags=5, persistence=0.7, seed=1, length_km=3000.0)
    n = 4000
    x = field.sample(n, seed=2).x.values.reshape(n, -1).astype(float)
    m = field.states.space.shape[0]
    expected = np.array(
        [
            [0.7 ** abs(t - s) * field.states.space[i, j] for s in range(5) for j in range(m)]
            for t in range(5)
            for i in range(m)
        ]
    )
    assert np.abs(x.T @ x / n - expected).max() < 5.5 * np.sqrt(2 / n)


def test_the_truth_sums_to_the_output_at_every_lead(field):
    ds = field.sample(4, seed=5)
    assert ds.truth.dims == ("sample", *EVENT, "lead")
    assert ds.y.dims == ("sample", "lead")
    model = field.model()
    np.testing.assert_allclose(model(torch.tensor(ds.x.values)), ds.y, atol=1e-12)
    b = ds.x[0].drop_vars("sample")
    gap = model(torch.tensor(ds.x.values)) - model(torch.tensor(b.values)[None])
    np.testing.assert_allclose(field.truth(ds.x, b).sum(EVENT), gap, atol=1e-12)
    np.testing.assert_allclose(field.shapley(ds.x).sum(EVENT), ds.y - field.linear().intercept, atol=1e-12)


def test_all_leads_are_explained_at_once(field):
    ds = field.sample(2, seed=6)
    outputs, leads = {"lead": list(EFOLDING)}, [ta.targets.Output.at(k) for k in range(3)]
    found = ta.explain(field.model(), ds.x, ta.IntegratedGradients(steps=729), target=leads, outputs=outputs)
    attribution = found.attribution.transpose(..., "target").values
    for k in range(3):
        for n in range(2):
            r = np.corrcoef(attribution[n, ..., k].ravel(), ds.truth.values[n, ..., k].ravel())[0, 1]
            assert 1 - r < 1e-5
    np.testing.assert_array_less(found.completeness_error, 5e-3)


def test_the_variance_at_every_lead():
    field = additive_history(grid=30, lags=6, seed=3)
    y = field.sample(20_000, seed=1).y
    linear = field.linear()
    np.testing.assert_allclose(linear.variance, y.var("sample"), rtol=0.06)  # five standard errors, as of a normal law
    assert linear.variance.dims == ("lead",)
    assert linear.coefficient.dims == ("lead", *EVENT)


def test_land_is_missing_at_every_lag():
    mask = ta.datasets.covariance.grid_cells(20, lat=(-20, 20), lon=(160, 280))
    mask[0, 0] = False
    ds = additive_history(mask, lags=3).sample(2)
    np.testing.assert_array_equal(ds.x.isnull(), ~mask.broadcast_like(ds.x).transpose(*ds.x.dims))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"lags": 0}, "lags is at least 1"),
        ({"efolding": {1: 0.0}}, "efolding gives each lead"),
        ({"efolding": {}}, "efolding gives each lead"),
        ({"radius_km": 0.0}, "distances above 0, got 0.0"),
        ({"remote_share": 1.5}, "remote_share is between 0 and 1, got 1.5"),
        ({"persistence": 1.0}, "from 0 to below 1, got 1.0"),
    ],
)
def test_bad_input(settings, message):
    with pytest.raises(ValueError, match=message):
        additive_history(grid=30, **settings)
