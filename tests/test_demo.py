"""The demo's parts: scores at chance for a map that knows nothing, and the whole run (slow)."""

import numpy as np
import pytest
import xarray as xr

import tsattr as ta
from tsattr import demo
from tsattr.demo import tables


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
