"""The demo's parts: scores at chance for a map that knows nothing, and the whole run (slow)."""

import re

import numpy as np
import pytest
import xarray as xr

import tsattr as ta
from tsattr import demo
from tsattr.climate import NINO_BOXES, area_mean, box
from tsattr.demo import emulator, findings, ocean, tables


def test_a_constant_map_scores_at_chance_and_the_truth_scores_one():
    data = ta.datasets.simulate_ecg(6, lesions=demo.LESIONS, seed=0)[["ecg", "truth", "wave"]].isel(sample=slice(1, 5))
    zero = demo.score(xr.zeros_like(data.ecg), data.truth, data.wave)
    best = demo.score(data.truth.astype(float), data.truth, data.wave)
    for name in ("average_precision", "pointing_game", "lead_top1", "wave_top1"):
        np.testing.assert_allclose(zero[name].mean(), zero[f"{name}_chance"])
        np.testing.assert_allclose(best[name], 1)


def test_columns_of_the_truth_score_one_and_zeros_score_as_said():
    data = ta.datasets.simulate_risk(50, seed=0)
    truth = data.truth.transpose("sample", "feature")
    zero, best = tables.score(0 * truth, truth), tables.score(truth[:, ::-1], truth)
    np.testing.assert_allclose(zero.error.mean(), zero.error_chance)
    np.testing.assert_allclose(best.correlation, 1)
    np.testing.assert_allclose(best.error, 0, atol=1e-12)
    assert (best.top1 == 1).all()


@pytest.mark.slow
def test_tabular_demo_finds_the_columns(tmp_path):
    said = []
    ds = demo.tabular(tmp_path / "demo", said.append, quick=True)
    with xr.open_dataset(tmp_path / "demo" / "attribution.nc") as saved:
        assert {"attribution", "truth", "score_correlation"} <= set(saved)
        means = saved.score_correlation.mean("sample")
        assert means.sel({"method": "AFEX of the pipeline"}) > 0.8
        assert means.sel({"method": "Shapley sampling, training patients"}) > 0.7
    assert ds.attrs["held_out_auc_AFEX"] > 0.7
    assert any("fidelity" in line for line in said)
    page = (tmp_path / "demo" / "report.html").read_text()
    assert 'src="http' not in page


@pytest.mark.slow
def test_demo_learns_explains_and_beats_chance(tmp_path):
    said = []
    ds = demo.ecg(tmp_path / "demo", said.append, quick=True)
    assert ds.attrs["held_out_accuracy"] > 0.9
    with xr.open_dataset(tmp_path / "demo" / "attribution.nc") as saved:
        assert {"attribution", "truth"} <= set(saved)
        assert "method" in saved.attribution.dims
        best = saved.score_average_precision.mean("sample").max()
        assert best > 3 * saved.score_average_precision_chance.max()
    page = (tmp_path / "demo" / "report.html").read_text()
    assert 'src="http' not in page
    assert 'href="http' not in page
    assert "<h2>What makes the model unsure</h2>" in page
    (line,) = [line for line in said if line.startswith("what makes it unsure")]
    assert re.search(r"mutual information is largest in [34] ", line)


def test_the_planted_ocean_is_what_it_says():
    """The box mean is the planted weights times the response of the months before; its reach is the planted one."""
    cells = ocean.ocean()
    region = box(cells, **NINO_BOXES["nino34"]) & cells
    x, y = ocean.simulate(400, seed=3)
    assert (x.isnull() == ~cells).all()
    weight = ocean.planted(cells, region)
    signal = (weight * ocean.response(x)).sum(["lag", "lat", "lon"])
    found = area_mean(y, region).rename(lead="target").assign_coords(target=signal.target)
    assert (xr.corr(signal, found, "sample") > 0.97).all()  # the rest is noise, a fifth of the signal before averaging
    lags = ta.climate.lag_profile(weight)
    np.testing.assert_allclose(lags.efolding, list(ocean.EFOLDING.values()))
    np.testing.assert_allclose(ta.climate.separability(weight).rank1_share, 1)


def test_response_bends_where_it_says():
    np.testing.assert_allclose(ocean.response(np.array([-2.5, -1.0, 0.0, 1.0, 2.5])), [-1.375, -0.75, 0, 1.25, 2.375])


def test_the_falloff_of_an_exponential_is_its_length():
    cells = ocean.ocean()
    km = ta.climate.distance(cells, lat=0, lon=215).where(cells)
    maps = np.exp(-km / 800) * xr.DataArray([1.0, 2.0], dims="lag") * xr.DataArray([1.0, 3.0], dims="target")
    np.testing.assert_allclose(findings.falloff(maps, km), 800)


def test_findings_hold_for_the_planted_truth_and_fail_for_a_scattered_map():
    cells = ocean.ocean()
    region = box(cells, **NINO_BOXES["nino34"]) & cells
    km = ta.climate.distance(cells, region).where(cells)
    weight = ocean.planted(cells, region)
    rng = np.random.default_rng(0)
    untrained = weight * xr.DataArray(rng.random((2, *weight.shape)), dims=("member", *weight.dims))
    truth = findings.profiles(weight, km)

    def verdicts(maps):
        pool = ta.climate.Pool(blocks=ta.climate.Blocks(2, resamples=50)).update(
            maps * xr.DataArray(1 + 0.01 * rng.random(24), dims="sample")
        )
        return [finding.holds for finding in findings.findings(findings.profiles(pool, km, untrained), truth)]

    assert verdicts(weight) == [True] * 5
    scattered = km * xr.DataArray(rng.random(weight[0].shape) ** 8, dims=weight.dims[1:])
    assert verdicts(scattered * xr.ones_like(weight)) == [False] * 5
    assert "does NOT hold" in str(findings.Finding("A", False, "b."))


def test_persistence_is_scaled_to_fit():
    x, _ = ocean.simulate(60, seed=1)
    y = (0.5 * x.isel(lag=-1, drop=True)).expand_dims(lead=[1, 6], axis=1)
    found = emulator.persistence(x, y, x)
    xr.testing.assert_allclose(found, y, rtol=1e-5)
    np.testing.assert_allclose(emulator.skill(found, y).acc, 1, atol=1e-6)
    np.testing.assert_allclose(emulator.skill(found, y).rmse, 0, atol=1e-5)


@pytest.mark.slow
def test_climate_demo_learns_and_finds_what_was_planted(tmp_path):
    said = []
    demo.climate(tmp_path / "demo", said.append, quick=True)
    with xr.open_dataset(tmp_path / "demo" / "attribution.nc") as ds:
        assert (ds.skill_acc.sel(forecast="network") > 0.95).all()
        assert (ds.skill_acc.sel(forecast="network") > ds.skill_acc.sel(forecast="persistence") + 0.2).all()
        means = ds.score_correlation.mean("sample")
        assert means.sel({"method": "IG, climatology"}) > 0.9
        assert {"truth", "importance", "radial_density", "lag_center_low", "ablation_rmse"} <= set(ds)
        lost = ds.ablation_rmse.sel(case="drop region")
        assert (lost > 2 * ds.ablation_rmse_random.sel(case="drop region").mean("control")).all()
    verdicts = {
        line.split(":")[0]: " holds here" in line for line in said if line.startswith(("Finding", "The radius"))
    }
    assert verdicts == dict.fromkeys(verdicts, True)
    assert len(verdicts) == 4
    page = (tmp_path / "demo" / "report.html").read_text()
    assert "<h2>What makes the emulator unsure</h2>" in page
    assert 'src="http' not in page
