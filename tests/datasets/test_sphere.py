import itertools

import numpy as np
import pytest
import torch
import xarray as xr
from scipy.integrate import quad
from scipy.special import eval_hermitenorm, factorial
from scipy.stats import norm

import tsattr as ta
from tsattr.datasets.additive import _hermite, mean, mean_absolute
from tsattr.datasets.covariance import Teleconnection, great_circle_correlation, grid_cells, square_root
from tsattr.datasets.sphere import additive_sphere

SPACE = ("lat", "lon")


def c_of(x, knots, slopes):
    """The integral of the slope from 0 to x, piece by piece."""
    total, low, high = 0.0, min(0.0, x), max(0.0, x)
    edges = [-np.inf, *knots, np.inf]
    for slope, start, end in zip(slopes, edges[:-1], edges[1:]):
        total += slope * max(0.0, min(high, end) - max(low, start))
    return total if x > 0 else -total


def shapes_at(field, i):
    """Knots and slopes of cell i in row order."""
    at = np.flatnonzero(field.cells.values)[i]
    return (field.shapes[k].values.reshape(len(field.shapes[k]), -1)[:, at] for k in ("break", "slope"))


@pytest.fixture(scope="module")
def field():
    mask = grid_cells(30)
    mask[0, :4] = False
    return additive_sphere(mask, seed=3, teleconnections=[Teleconnection((0, 195), (45, 315))])


@pytest.fixture(scope="module")
def ds(field):
    return field.sample(6, seed=1)


@pytest.mark.parametrize("kind", ["zero", "number", "state", "by sample"])
def test_the_truth_is_the_integral_of_the_slopes(field, ds, kind):
    b = {"zero": 0.0, "number": 0.7, "state": ds.x[5], "by sample": ds.x.roll(sample=1)}[kind]
    truth = field.truth(ds.x, b)
    states, base = ds.x.astype(float), ds.x.astype(float) * 0 + b
    x, base = (v.values[:, field.cells.values] for v in (states, base))
    d = int(field.cells.sum())
    expected = np.empty(x.shape)
    for i in range(d):
        knots, slopes = map(list, shapes_at(field, i))
        for n in range(len(x)):
            expected[n, i] = (c_of(x[n, i], knots, slopes) - c_of(base[n, i], knots, slopes)) / d
    np.testing.assert_allclose(truth.values[:, field.cells.values], expected, atol=1e-12)
    model = field.model()
    gap = model(torch.tensor(ds.x.values)) - model(torch.tensor((states * 0 + b).values))
    np.testing.assert_allclose(truth.sum(SPACE), gap, atol=1e-12)


def test_zero_is_a_break_and_the_breaks_increase(field):
    knots = field.shapes["break"].values[:, field.cells.values]
    assert knots.shape[0] == 5
    assert field.shapes.sizes["piece"] == 6
    assert ((knots == 0).sum(0) == 1).all()
    assert (np.diff(knots, axis=0) > 0).all()


def test_expectations_under_the_normal_law_against_quadrature(field):
    knots, slopes = field._arrays
    orders = 12
    series = _hermite(knots, slopes, orders)
    for i in (0, 7, 40):
        own = knots[:, i], slopes[:, i]

        def expect(f, own=own):
            ends = [-9, *own[0], 9]
            return sum(
                quad(lambda z: f(z) * norm.pdf(z), a, b, epsabs=1e-11, epsrel=1e-9)[0]
                for a, b in itertools.pairwise(ends)
            )

        assert mean(knots, slopes)[i] == pytest.approx(expect(lambda z: c_of(z, *own)), abs=1e-10)  # noqa: B023
        grid = np.linspace(-9, 9, 400_001)
        size = np.abs(np.interp(grid, *_drawn(*own))) * norm.pdf(grid)
        assert mean_absolute(knots, slopes)[i] == pytest.approx(np.trapezoid(size, grid), abs=1e-8)
        for k in range(1, orders + 1):
            value = expect(lambda z: c_of(z, *own) * eval_hermitenorm(k, z)) / np.sqrt(factorial(k))  # noqa: B023
            assert series[k - 1, i] == pytest.approx(value, abs=1e-9)


def _drawn(knots, slopes):
    at = np.array([-9.0, *knots, 9.0])
    return at, [c_of(z, knots, slopes) for z in at]


def test_the_size_of_a_shape_that_changes_sign_within_a_piece():
    knots, slopes = np.array([[0.0], [1.0]]), np.array([[0.0], [1.0], [-1.0]])  # a tent, 0 again at x = 2
    grid = np.linspace(0, 12, 1_200_001)
    tent = np.abs(np.where(grid < 1, grid, 2 - grid)) * norm.pdf(grid)
    assert mean_absolute(knots, slopes)[0] == pytest.approx(np.trapezoid(tent, grid), abs=1e-9)


def test_the_truth_against_a_background_is_the_shapley_value_by_brute_force():
    field = additive_sphere(grid_cells(90, lat=(-90, 90)), seed=1)  # eight cells, of which four are made absent in turn
    ds, background = field.sample(2, seed=1), field.sample(5, seed=2).x
    model = field.model()
    truth = field.shapley(ds.x, background)
    cells = 4

    def value(row, present):
        rows = torch.tensor(background.values).flatten(1).clone()
        keep = [*present, *range(cells, rows.shape[1])]
        rows[:, keep] = row.flatten()[keep]
        return float(model(rows.unflatten(1, field.cells.shape)).mean())

    for n in range(2):
        row = torch.tensor(ds.x.values[n])
        shares = np.zeros(cells)
        orders = list(itertools.permutations(range(cells)))
        for order in orders:
            for k, cell in enumerate(order):
                shares[cell] += (value(row, order[: k + 1]) - value(row, order[:k])) / len(orders)
        np.testing.assert_allclose(truth.values[n].reshape(-1)[:cells], shares, atol=1e-9)
    gap = model(torch.tensor(ds.x.values)) - model(torch.tensor(background.values)).mean()
    np.testing.assert_allclose(truth.sum(SPACE), gap, atol=1e-12)


def test_the_law_of_the_field_is_the_limit_of_a_background(field, ds):
    background = field.sample(4000, seed=9)
    spread = 5 * background.truth.std("sample", skipna=False) / np.sqrt(4000)
    assert (abs(field.shapley(ds.x) - field.shapley(ds.x, background.x)) < spread).where(field.cells, True).all()
    total = float(field.linear().intercept)
    np.testing.assert_allclose(field.shapley(ds.x).sum(SPACE), ds.y - total, atol=1e-12)
    assert abs(background.y.mean() - total) < 5 * background.y.std() / np.sqrt(4000)


def test_the_correlation_is_the_formula():
    mask = grid_cells(45)
    one, other, width = (22.5, 67.5), (-22.5, 247.5), 2000.0
    link = Teleconnection(one, other, strength=0.8, width_km=width)
    lat, lon = (np.deg2rad(c.values.reshape(-1)) for c in xr.broadcast(mask.lat, mask.lon))

    def km(p, q):
        inner = np.sin(p[0]) * np.sin(q[0]) + np.cos(p[0]) * np.cos(q[0]) * np.cos(p[1] - q[1])
        return 6371.0088 * np.arccos(np.clip(inner, -1, 1))

    places = list(zip(lat, lon))
    v = []
    for p in places:
        near, far = (km(p, np.deg2rad(c)) for c in (one, other))
        v.append(0.8 * (np.exp(-(near**2) / 2 / width**2) - np.exp(-(far**2) / 2 / width**2)))
    c = np.array([[np.exp(-km(p, q) / 1800) + v[i] * v[j] for j, q in enumerate(places)] for i, p in enumerate(places)])
    expected = c / np.sqrt(np.outer(np.diag(c), np.diag(c)))
    np.testing.assert_allclose(great_circle_correlation(mask, 1800, [link]), expected, atol=1e-6)  # arccos near 1


def test_a_teleconnection_is_a_seesaw_between_its_ends():
    mask = grid_cells(10)
    link = Teleconnection((5, 205), (45, 315))
    cells = xr.DataArray(np.arange(mask.size).reshape(mask.shape), coords=mask.coords)
    i, j = (int(cells.sel(lat=lat, lon=lon)) for lat, lon in (link.one, link.other))
    assert great_circle_correlation(mask)[i, j] < 0.02
    assert great_circle_correlation(mask, teleconnections=[link])[i, j] < -0.45  # near -s^2 / (1 + s^2)


@pytest.mark.parametrize("length_km", [200.0, 2000.0, 20000.0])
def test_the_exponential_is_positive_definite(length_km):
    correlation = great_circle_correlation(grid_cells(15), length_km)
    assert np.linalg.eigvalsh(correlation).min() > 0
    np.testing.assert_array_equal(np.diag(correlation), 1)
    root = square_root(correlation)
    np.testing.assert_allclose(root @ root, correlation, atol=1e-12)


def test_the_squared_exponential_of_great_circle_distance_is_refused():
    mask = grid_cells(15)
    distance = -np.log(great_circle_correlation(mask, 1.0 * 6371.0088))
    with pytest.raises(ValueError, match=r"positive semidefinite.*eigenvalue -"):
        additive_sphere(mask, covariance=np.exp(-((distance / 1.5) ** 2)))
    additive_sphere(mask, covariance=np.exp(-((2 * np.sin(distance / 2) / 1.5) ** 2)))  # of chords


def test_cells_are_standard_normal_with_the_stated_correlation(field):
    n = 4000
    x = field.sample(n, seed=4).x.values[:, field.cells.values].astype(float)
    assert np.abs(x.mean(0)).max() < 5 / np.sqrt(n)
    assert np.abs((x**2).mean(0) - 1).max() < 5 * np.sqrt(2 / n)
    assert np.abs((x**4).mean(0) - 3).max() < 5 * np.sqrt(96 / n)
    assert np.abs(x.T @ x / n - field.states.space).max() < 5 * np.sqrt(2 / n)


def test_a_covariance_of_the_user_s_own_is_scaled_to_correlations():
    rng = np.random.default_rng(0)
    mask = grid_cells(60)
    months = rng.normal(size=(7, mask.size)) * rng.uniform(1, 9, mask.size)  # fewer months than cells: singular
    field = additive_sphere(mask, covariance=np.cov(months.T))
    np.testing.assert_allclose(field.states.space, np.corrcoef(months.T), atol=1e-12)
    x = field.sample(2000).x.values.reshape(2000, -1)
    assert np.linalg.matrix_rank(x - x.mean(0), tol=1e-3) == 6


def test_samples_depend_on_their_number_and_seed_alone(field, ds):
    xr.testing.assert_allclose(field.sample(3, seed=1, first=2), ds.isel(sample=slice(2, 5)), atol=1e-12)
    assert not np.allclose(field.sample(6, seed=2).x, ds.x, equal_nan=True)
    other = additive_sphere(field.cells, seed=4)
    assert not np.allclose(other.shapes["slope"], field.shapes["slope"], equal_nan=True)
    assert not np.allclose(other.sample(6, seed=1).x, ds.x, equal_nan=True)


def test_samples_without_their_truth(field, ds):
    xr.testing.assert_identical(field.sample(6, seed=1, truth=False), ds.drop_vars("truth"))


def test_the_truth_follows_the_labels_and_not_the_batch(field, ds):
    flipped = ds.x.isel(lat=slice(None, None, -1)).roll(lon=5, roll_coords=True).transpose("lon", "sample", "lat")
    found = field.truth(flipped)
    assert found.dims == flipped.dims
    xr.testing.assert_identical(found.transpose(*ds.truth.dims).sel(lat=ds.lat, lon=ds.lon), ds.truth)
    xr.testing.assert_identical(field.truth(ds.x[2:3]), ds.truth[2:3])
    with pytest.raises(ValueError, match="the field lacks"):
        field.truth(ds.x.assign_coords(lon=ds.lon + 1))
    with pytest.raises(ValueError, match="dims"):
        field.truth(ds.x.isel(lat=0))


def test_land_is_missing_and_unread(field, ds):
    land = ~field.cells
    assert land.sum() == 4
    for name in ("x", "truth"):
        np.testing.assert_array_equal(ds[name].isnull().any("sample"), land)
        np.testing.assert_array_equal(ds[name].isnull().all("sample"), land)
    x = torch.tensor(ds.x.values)
    model = field.model()
    assert torch.equal(model(x), model(torch.where(torch.isnan(x), 1e9, x)))


def test_the_best_linear_approximation(field):
    n = 20_000
    ds = field.sample(n, seed=5)
    linear = field.linear()
    x, y = ds.x.values[:, field.cells.values].astype(float), ds.y.values
    design = np.column_stack([np.ones(n), x])
    fitted, (left,), *_ = np.linalg.lstsq(design, y, rcond=None)
    expected = np.r_[float(linear.intercept), linear.coefficient.values[field.cells.values]]
    error = np.sqrt(np.diag(np.linalg.inv(design.T @ design)) * left / n)
    # The residual's size depends on x, so that these standard errors are rough.
    assert (np.abs(fitted - expected) / error).max() < 8
    assert float(linear.r2) == pytest.approx(1 - left / n / y.var(), abs=0.01)
    assert float(linear.variance) == pytest.approx(y.var(), rel=5 * np.sqrt(2 / n))


def test_the_variance_of_one_cell_is_its_integral():
    field = additive_sphere(grid_cells(180, lon=(0, 180)), seed=2)
    own = [list(v) for v in shapes_at(field, 0)]
    moments = [
        quad(lambda z, p=p: c_of(z, *own) ** p * norm.pdf(z), -12, 12, points=own[0], limit=200)[0] for p in (1, 2)
    ]
    linear = field.linear()
    assert float(linear.variance) == pytest.approx(moments[1] - moments[0] ** 2, rel=2e-3)  # the series is cut
    assert float(linear.intercept) == pytest.approx(moments[0], abs=1e-9)


def test_the_importance_is_the_mean_size_of_the_truth(field):
    truth = abs(field.sample(4000, seed=6).truth)
    error = truth.std("sample", skipna=False) / np.sqrt(4000)
    assert (abs(truth.mean("sample") - field.importance) < 5 * error).where(field.cells, True).all()


@pytest.mark.parametrize("baseline", [0.0, "state"])
def test_integrated_gradients_of_the_exact_function(field, ds, baseline):
    b = field.sample(1, seed=8).x[0].drop_vars("sample").where(field.cells, 0) if baseline == "state" else baseline
    found = ta.explain(field.model(), ds.x, ta.IntegratedGradients(ta.baselines.Constant(b), steps=2187))
    truth = field.truth(ds.x, b)
    assert (1 - xr.corr(found.attribution, truth, dim=SPACE) <= 1e-6).all()
    assert (found.completeness_error <= 1e-3).all()
    np.testing.assert_array_equal(found.attribution.isnull(), truth.isnull())


def test_the_error_of_integrated_gradients_falls_like_one_over_steps(field, ds):
    def error(steps):
        found = ta.explain(field.model(), ds.x.astype(float), ta.IntegratedGradients(steps=steps))
        return float(abs(found.attribution - ds.truth).sum())

    # A single kink errs anywhere between 0 and its worst: the sum over cells falls by about the ratio of steps.
    assert error(27) / error(2187) == pytest.approx(81, rel=0.3)


def test_occlusion_and_shapley_are_exact_without_interactions(field, ds):
    x = ds.x[:2]
    for method in (ta.Occlusion(ta.groups.Cells()), ta.ShapleySampling(ta.groups.Cells(), draws=2)):
        found = ta.explain(field.model(), x, method)
        np.testing.assert_allclose(found.attribution, ds.truth[:2], atol=1e-7)
    assert not np.allclose(
        ta.explain(field.model(), x, ta.InputXGradient()).attribution, ds.truth[:2], atol=1e-3, equal_nan=True
    )


def test_expected_gradients_tend_to_the_truth_against_the_background(field, ds):
    background = field.sample(40, seed=7).x
    method = ta.IntegratedGradients(ta.baselines.Samples.fit(background), draws=40, steps=81)
    found = ta.explain(field.model(), ds.x[:2], method)
    truth = field.shapley(ds.x[:2], background)
    assert float((1 - xr.corr(found.attribution, truth, dim=SPACE)).max()) < 1e-5
    against_zero = xr.corr(truth, ds.truth[:2], dim=SPACE)
    assert (against_zero < 0.95).all(), "the two truths differ: each baseline answers a question of its own"


def test_bad_input():
    mask = grid_cells(60)
    with pytest.raises(ValueError, match="9 cells"):
        additive_sphere(mask.where(mask.lon < 180, False), covariance=np.eye(5))
    with pytest.raises(TypeError, match="mask is a boolean DataArray"):
        additive_sphere(mask.astype(float))
    with pytest.raises(ValueError, match="False everywhere"):
        additive_sphere(mask & False)
    with pytest.raises(ValueError, match="breaks is at least 1, not 0"):
        additive_sphere(mask, breaks=0)
    with pytest.raises(ValueError, match="length_km is a distance above 0, got -1"):
        additive_sphere(mask, length_km=-1)
    with pytest.raises(ValueError, match="whole cells, got 70 degrees"):
        additive_sphere(grid=70)
    with pytest.raises(ValueError, match="symmetric"):
        additive_sphere(mask, covariance=np.triu(np.ones((18, 18))))
    with pytest.raises(ValueError, match="cell 3 has variance 0"):
        additive_sphere(mask, covariance=np.diag(np.arange(18) != 3).astype(float))
    field = additive_sphere(mask)
    with pytest.raises(ValueError, match="samples is at least 1, not 0"):
        field.sample(0)
    with pytest.raises(ValueError, match="dim 'sample'"):
        field.shapley(field.sample(2).x, field.sample(1).x[0])


def test_the_truth_against_a_state_is_matched_by_label(field, ds):
    state = ds.x[3].drop_vars("sample", errors="ignore")
    expected = field.truth(ds.x, state)
    for turned in (lambda v: v.isel(lat=slice(None, None, -1)), lambda v: v.roll(lon=2, roll_coords=True)):
        for x, b in ((turned(ds.x), state), (ds.x, turned(state)), (turned(ds.x), turned(state))):
            found = field.truth(x, b)
            xr.testing.assert_identical(found.sel(lat=expected.lat, lon=expected.lon), expected)
