import os
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr

import tsattr as ta
from tsattr.climate import area_mean, area_weights, box, histories
from tsattr.datasets.inverse_model import linear_inverse_model

RECORD = (
    Path(os.environ.get("TSATTR_DATA", Path(__file__).parents[2] / ".." / "shared" / "data")).resolve()
    / "climate"
    / "tropical_pacific_ssta_1970_2003.nc"
)
LEADS = (1, 6, 9)


@pytest.fixture(scope="module")
def lim():
    return linear_inverse_model(modes=12)


@pytest.fixture(scope="module")
def target(lim):
    region = box(lim.cells, lat=(-5, 5), lon=(190, 240))
    return area_weights(lim.cells) * region


@pytest.fixture(scope="module")
def long(lim):
    return lim.record(40_000, seed=1)


def test_the_projection_undoes_the_patterns(lim):
    found = xr.dot(lim.projection, lim.patterns.rename(mode="other"), dim=["lat", "lon"])
    np.testing.assert_allclose(found, np.eye(12), atol=1e-12)


def test_the_long_run_covariance_is_a_fixed_point(lim):
    c, g = lim.covariance, lim.propagator
    np.testing.assert_allclose(g @ c @ g.T + lim.noise, c, atol=1e-12)
    np.testing.assert_allclose(c, np.eye(12), atol=1e-12)  # amplitudes of unit variance, by construction
    assert np.abs(np.linalg.eigvals(g)).max() < 1


def test_patterns_are_orthogonal_by_area(lim):
    weighted = lim.patterns * np.sqrt(area_weights(lim.patterns))
    gram = xr.dot(weighted, weighted.rename(mode="other"), dim=["lat", "lon"]).values
    assert np.abs(gram - np.diag(np.diag(gram))).max() < 1e-12 * gram.max()
    assert (np.diff(np.diag(gram)) < 0).all()


def test_a_record_has_the_lagged_covariance_of_the_propagator(lim, long, target):
    reads = [float((lim.patterns[k] * target).sum() / target.sum()) for k in range(12)]
    y = area_mean(long, box(long, lat=(-5, 5), lon=(190, 240)))
    for lag in (0, 1, 6, 9, 24):
        expected = reads @ np.linalg.matrix_power(lim.propagator, lag) @ lim.covariance @ reads
        found = float((y.values[: len(y) - lag] * y.values[lag:]).mean())
        assert found == pytest.approx(expected, abs=0.05 * float(y.var()))  # memory of months: some 2000 free samples


def test_months_do_not_depend_on_how_many_there_are_but_on_the_seed(lim, long):
    xr.testing.assert_identical(lim.record(30, seed=1), long[:30])
    assert not np.allclose(lim.record(30, seed=2), long[:30])


def test_the_rows_are_what_a_unit_in_each_cell_changes(lim, target):
    rows = lim.rows(target, LEADS)
    model = lim.model(LEADS)
    with torch.no_grad():
        unit = torch.eye(lim.cells.size, dtype=torch.float64).reshape(-1, *lim.cells.shape)
        fields = model(unit) - model(torch.zeros_like(unit))
    weights = torch.tensor((target / target.sum()).transpose(*lim.cells.dims).values)
    changes = (fields * weights).sum((2, 3)).T.reshape(len(LEADS), *lim.cells.shape)
    np.testing.assert_allclose(rows, changes, atol=1e-12)


def test_the_truth_is_the_row_times_the_departure_month_by_month(lim, target):
    x, _ = histories(lim.record(20, seed=3), lags=4)
    b = lim.record(1, seed=4)[0].drop_vars("time")
    truth = lim.truth(x, target, LEADS, b)
    rows = lim.rows(target, LEADS)
    assert truth.dims == (*x.dims, "lead")
    for k, lead in enumerate(LEADS):
        for s, lag in ((0, -1), (5, -1), (5, -2)):
            there = x.isel(sample=s).sel(lag=lag).values.astype(float) - b.values
            expected = rows.sel(lead=lead).values * there if lag == -1 else 0 * there
            np.testing.assert_allclose(truth.values[s, lag, ..., k], expected, atol=1e-12)
    model = lim.model(LEADS)
    weights = torch.tensor((target / target.sum()).transpose("lat", "lon").values)

    def reads(v):
        return (model(torch.tensor(v)) * weights).sum((2, 3))

    gap = reads(x.values.astype(float)) - reads(b.values.astype(float)[None])
    np.testing.assert_allclose(truth.sum(["lag", "lat", "lon"]), gap, atol=1e-12)


def test_the_truth_of_a_flipped_field_is_flipped(lim, target):
    x, _ = histories(lim.record(8, seed=3), lags=3)
    b = lim.record(1, seed=4)[0].drop_vars("time")
    turned = x.isel(lat=slice(None, None, -1), lag=slice(None, None, -1)).roll(lon=2, roll_coords=True)
    found = lim.truth(turned, target, LEADS, b)
    xr.testing.assert_identical(found.sel(lat=x.lat, lon=x.lon, lag=x.lag), lim.truth(x, target, LEADS, b))


def test_explanations_of_the_emulator_find_the_propagator(lim, target):
    x, _ = histories(lim.record(8, seed=5), lags=3)
    x = x.astype(float)
    truth = lim.truth(x, target, LEADS)
    targets = {f"lead {k}": ta.targets.Region(target, lead=float(k)) for k in LEADS}
    outputs = {"lead": list(LEADS), "lat": lim.cells.lat.values, "lon": lim.cells.lon.values}
    for method in (ta.IntegratedGradients(steps=2), ta.Occlusion(ta.groups.Cells())):
        found = ta.explain(lim.model(LEADS), x, method, target=targets, outputs=outputs)
        np.testing.assert_allclose(found.attribution.transpose(..., "target"), truth, atol=1e-12)
    assert not truth.sel(lag=[-3, -2]).any(), "only the last month counts"


def test_the_forecast_is_the_best_linear_one_and_its_skill_is_known(lim, long, target):
    y = area_mean(long, box(long, lat=(-5, 5), lon=(190, 240))).values.astype(float)
    rows = lim.rows(target, LEADS)
    skill = lim.skill(target, LEADS)
    assert (np.diff(skill) < 0).all()
    for lead in LEADS:
        forecast = xr.dot(long[:-lead], rows.sel(lead=lead), dim=["lat", "lon"]).values
        left = y[lead:] - forecast
        assert np.corrcoef(forecast, y[lead:])[0, 1] == pytest.approx(float(skill.sel(lead=lead)), abs=0.03)
        assert abs(np.corrcoef(forecast, left)[0, 1]) < 0.05


def test_a_fit_to_a_long_record_finds_the_model(lim, long, target):
    fitted = linear_inverse_model(long, modes=12)
    found, truth = (m.rows(target, (1, 6)) for m in (fitted, lim))
    size = np.sqrt((truth**2).sum(["lat", "lon"]))
    away = np.sqrt(((found - truth) ** 2).sum(["lat", "lon"])) / size
    assert float(away.max()) < 0.15
    assert fitted.patterns.attrs["explained"] == pytest.approx(1, abs=1e-6)  # twelve patterns made it
    assert fitted.patterns.attrs["units"] == "degC"


def test_a_fit_leaves_noise_without_memory(long, target):
    short = long[:600]
    fitted = linear_inverse_model(short, modes=12)
    z = xr.dot(short - short.mean("time"), fitted.projection, dim=["lat", "lon"]).values
    left = z[1:] - z[:-1] @ fitted.propagator.T
    np.testing.assert_allclose(left.T @ z[:-1], 0, atol=1e-4 * len(z))  # the normal equations, of float32 months
    np.testing.assert_allclose(left.T @ left / len(left), fitted.noise, atol=1e-6)


def test_incomplete_cells_are_left_out_and_missing(long):
    gaps = long[:300].copy()
    gaps[:, 0, 0], gaps[7, 2, 3] = np.nan, np.nan
    fitted = linear_inverse_model(gaps, modes=5)
    assert int((~fitted.cells).sum()) == 2
    assert bool(fitted.record(2).isnull()[:, 2, 3].all())
    region = xr.ones_like(fitted.cells)
    assert int(fitted.rows(region, [1]).isnull().sum()) == 2
    x = torch.tensor(gaps.values[:2])
    assert (
        torch.equal(fitted.model()(x), fitted.model()(torch.where(torch.isnan(x), 7, x))) is False
    )  # NaN is not equal
    torch.testing.assert_close(fitted.model()(x), fitted.model()(torch.where(torch.isnan(x), 7, x)), equal_nan=True)


def test_no_step_is_taken_over_a_gap(long):
    whole = long[:400].copy()
    whole[200:203] = np.nan
    fitted = linear_inverse_model(whole, modes=4)
    z = np.einsum("tyx,kyx->tk", (whole - whole.mean("time")).fillna(0), fitted.projection.fillna(0))
    now, later = (np.concatenate([z[0 + k : 199 + k], z[203 + k : 399 + k]]) for k in (0, 1))
    np.testing.assert_allclose(fitted.propagator, np.linalg.lstsq(now, later, rcond=None)[0].T, atol=1e-5)
    ends = [long[:200], long[203:400].assign_coords(time=np.arange(200, 397))]
    joined = linear_inverse_model(xr.concat(ends, "time"), modes=4)
    assert abs(joined.propagator - fitted.propagator).max() > 1e-4


def test_bad_input(lim, long, target):
    with pytest.raises(ValueError, match="dim 'time' and two of space"):
        linear_inverse_model(long[0])
    with pytest.raises(ValueError, match="months is at least 60, not 50"):
        linear_inverse_model(long[:50], modes=30)
    with pytest.raises(ValueError, match="detrend"):
        linear_inverse_model(long[:200] * 1.05 ** xr.DataArray(np.arange(200.0), dims="time"), modes=2)
    with pytest.raises(ValueError, match="False everywhere"):
        linear_inverse_model(long[:100].where((long.time % 2 == 0) == (long.lat > 0)), modes=2)
    with pytest.raises(ValueError, match="months is at least 4, not 0"):
        linear_inverse_model(long[:100].where(False), modes=2)
    with pytest.raises(ValueError, match="'time' is not evenly spaced: 2 is followed by 4"):
        linear_inverse_model(long[:100].drop_isel(time=3), modes=2)
    with pytest.raises(ValueError, match="modes are at most the 12 cells"):
        linear_inverse_model(modes=40, grid=30)
    with pytest.raises(ValueError, match=r"months ahead, at least 1, got \[0\]"):
        lim.rows(target, [0])
    with pytest.raises(ValueError, match="no weight on any cell"):
        lim.rows(target * 0)


@pytest.mark.data
@pytest.mark.skipif(not RECORD.is_file(), reason="no record of the tropical Pacific: set TSATTR_DATA")
def test_the_tropical_pacific():
    record = xr.open_dataset(RECORD).ssta
    fitted = linear_inverse_model(record)
    region = box(record, lat=(-5, 5), lon=(190, 240))
    index = area_mean(record, region).values
    simulated = area_mean(fitted.record(6000), region).values
    assert simulated.std() == pytest.approx(index.std(), rel=0.15)
    for lag in (1, 3, 6):
        both = [np.corrcoef(v[:-lag], v[lag:])[0, 1] for v in (simulated, index)]
        assert both[0] == pytest.approx(both[1], abs=0.12)  # some 40 free samples in the record
    skill = fitted.skill(area_weights(record) * region, (1, 6, 12))
    assert (np.diff(skill) < 0).all()
    assert 0.9 < skill[0] < 1
