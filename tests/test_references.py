"""What a reference adds: how far off clean data each removal is; and what several members or seeds add."""

import numpy as np
import pytest
import torch
import xarray as xr

import tsattr as ta

from .conftest import Spy, relu_net, signals

X, CLEAN = signals(24, seed=6), signals(60, seed=4)
b, g = ta.baselines, ta.groups
NET = relu_net()
METHODS = {
    "occlusion": ta.Occlusion(g.Windows(time=4, lead=1), b.Constant(0.0)),
    "occlusion, draws": ta.Occlusion(g.Along("lead"), b.Samples.fit(CLEAN), draws=3),
    "shapley": ta.ShapleySampling(g.Along("lead"), b.Bridge(), draws=2),
    "ig": ta.IntegratedGradients(b.Mean(), steps=3),
}


def explain(method, x=X, **more):
    return ta.explain(NET, x, method, target=1, reference=CLEAN, **more)


@pytest.mark.parametrize("name", METHODS)
def test_shift_stands_beside_what_the_method_says(name):
    found, plain = explain(METHODS[name]), ta.explain(NET, X, METHODS[name], target=1)
    for k in set(plain) - {"model_evaluations"}:
        np.testing.assert_array_equal(found[k], plain[k], err_msg=k)
    groups = plain.sizes.get("group", 1)
    assert found["shift"].dims == ("sample", "group")
    assert found["shift"].shape == (len(X), groups)
    np.testing.assert_allclose(found.shift_diagnostic.sel(diagnostic="combined"), found["shift"])
    assert 0 <= float(found.shift_beyond.sel(diagnostic="combined")) <= 1
    assert found.diagnostic.values.tolist()[:3] == ["combined", "mahalanobis", "residual"]
    if "group" in plain.dims:
        assert found.group.values.tolist() == plain.group.values.tolist()
    else:
        assert found.group.values.tolist() == ["all"]


@pytest.mark.parametrize("name", METHODS)
def test_shift_keeps_the_laws(name, tmp_path):
    found = explain(METHODS[name])
    for other in (explain(METHODS[name], batch_size=5), explain(METHODS[name], X.isel(sample=slice(None, None, -1)))):
        other = other.sel(sample=X.sample)
        for k in ("shift", "shift_diagnostic", "shift_intact"):
            np.testing.assert_allclose(other[k], found[k], rtol=1e-9, atol=1e-12, err_msg=k)
        np.testing.assert_allclose(other.shift_beyond, found.shift_beyond)
        np.testing.assert_allclose(other.detector_auc, found.detector_auc)
    found.to_netcdf(tmp_path / "a.nc")
    xr.testing.assert_identical(xr.load_dataset(tmp_path / "a.nc"), found)


def test_far_off_is_far_and_nothing_removed_is_not():
    with pytest.warns(ta.ExplanationWarning, match="lies outside the observed range"):
        far = explain(ta.Occlusion(g.Along("lead"), b.Constant(50.0)))
    assert (far["shift"] > 5).all()
    assert (far.shift_beyond.sel(diagnostic=["combined", "residual"]) > 0.9).any()
    assert float(far.detector_auc) > 0.95
    same = explain(ta.Occlusion(g.Along("lead"), b.Constant(X)))
    np.testing.assert_allclose(same["shift"], same.shift_intact.broadcast_like(same["shift"]), rtol=1e-9)
    assert float(same.detector_auc) == pytest.approx(0.5, abs=1e-9)


def test_rows_asked_for_features_are_counted():
    spy = Spy(NET)

    class Wrapped(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.net = NET

        def forward(self, x):
            return spy(x)

    found = ta.explain(Wrapped(), X, METHODS["occlusion"], target=1, reference=CLEAN)
    assert "features" in found.diagnostic
    assert spy.count == int(found.model_evaluations.sum()) + found.attrs["trial_rows"]
    assert found.attrs["trial_rows"] >= len(CLEAN)  # what clean data look like to the model


def test_without_gradients_or_module_there_are_no_features():
    found = ta.explain(lambda x: NET(x), X, METHODS["ig"], target=1, reference=CLEAN)
    assert "features" not in found.diagnostic


def test_a_reference_of_a_few_samples_says_nothing_of_shift():
    found = ta.explain(NET, X, METHODS["ig"], target=1, reference=CLEAN[:5])
    assert "shift" not in found


def test_methods_that_remove_nothing_have_no_shift():
    assert "shift" not in explain(ta.Saliency())


def test_several_inputs():
    vitals = xr.DataArray(np.random.default_rng(0).normal(size=(60, 2)), dims=("sample", "vital"))
    both = xr.Dataset({"ecg": CLEAN, "vitals": vitals.assign_coords(sample=CLEAN.sample)})
    model = lambda ecg, vitals: NET(ecg)[:, 1] + vitals.sum(1)  # noqa: E731
    method = ta.Occlusion({"ecg": g.Along("lead"), "vitals": g.Cells()}, b.Constant(0.0))
    found = ta.explain(model, both.isel(sample=slice(10)), method, reference=both)
    assert found["shift"].shape == (10, 5)
    assert found["shift"].notnull().all()


def test_seeds_and_ensembles_are_members():
    method = ta.IntegratedGradients(b.Samples.fit(CLEAN), steps=1, draws=4)
    several = ta.explain(NET, X, method, target=1, seed=[0, 1, 2])
    alone = [ta.explain(NET, X, method, target=1, seed=s) for s in range(3)]
    mean = np.mean([a.attribution for a in alone], 0)
    np.testing.assert_allclose(several.attribution, mean, atol=1e-12)
    sd = np.std([a.attribution for a in alone], 0, ddof=1)
    np.testing.assert_allclose(several.standard_error, sd / np.sqrt(3), atol=1e-12)
    assert ((several.agreement > 0) & (several.agreement <= 1)).all()
    both = ta.explain(ta.models.Ensemble([NET, NET]), X, ta.Saliency(), target=1)
    np.testing.assert_allclose(both.agreement, 1)
    np.testing.assert_allclose(both.standard_error, 0)
    cost = ta.explain(ta.models.Ensemble([NET, NET]), X, ta.Saliency(), target=1, dry_run=True)
    assert cost.attrs["rows"] == int(both.model_evaluations.sum()) + both.attrs["trial_rows"]


def test_compare_says_how_far_off_its_fills_are():
    fills = {"zero": b.Constant(0.0), "far": b.Constant(30.0), "samples": b.Samples.fit(CLEAN)}
    found = ta.compare(NET, X, {"s": ta.Saliency()}, target=1, fills=fills, reference=CLEAN, metrics="gap")
    far = dict(zip(found.fill.values.tolist(), found.fill_shift.values.tolist()))
    assert far["far"] > 0.9
    assert far["samples"] < 0.2
    assert "far (100%)" in found.attrs["recommendation"]
    assert "zero (" not in found.attrs["recommendation"]


def test_draws_that_are_kept_say_how_far_they_agree():
    from scipy.stats import spearmanr

    method = ta.IntegratedGradients(b.Mixture(b.Constant(0.0), b.Mean(), b.Bridge()), steps=4, draws=3, per_draw=True)
    found = ta.explain(NET, X, method, target=1)
    for sample in (0, 7):
        maps = found.attribution_draw.isel(sample=sample).transpose("draw", ...).values.reshape(3, -1)
        expected = np.mean([spearmanr(maps[i], maps[j]).statistic for i, j in ((0, 1), (0, 2), (1, 2))])
        assert float(found.agreement[sample]) == pytest.approx(expected)
