"""Agreement with Quantus where its definitions coincide with those here; run by hand, with quantus installed.

Where they do not: Quantus's `Sufficiency` compares samples with like attributions, and is not the one of DeYoung et al.;
its `Infidelity` lets perturbations of one sample accumulate; its `Completeness` compares floats by ``==``; its fills
"mean" and "black" are one number for all channels; its ROAD is for images.
"""

import numpy as np
import pytest
import torch
import xarray as xr

import tsattr as ta

from .conftest import relu_net, signals

quantus = pytest.importorskip("quantus", reason="quantus is not installed (extra: bench)")
pytestmark = pytest.mark.filterwarnings("ignore")

X = signals(6, seed=3)
NET = relu_net()
TARGET = np.ones(len(X), int)
MAPS = ta.explain(NET, X, ta.IntegratedGradients(), target=1)


class Probabilities(torch.nn.Module):
    def forward(self, x):
        return NET(x.double())


def score(metric, **more):
    return metric(
        model=Probabilities().eval(),
        x_batch=X.values,
        y_batch=TARGET,
        a_batch=MAPS.attribution.values,
        channel_first=True,
        softmax=False,
        **more,
    )


def test_pixel_flipping_is_the_deletion_curve():
    metric = quantus.PixelFlipping(
        features_in_step=1,
        perturb_baseline=0.0,
        normalise=False,
        abs=False,
        disable_warnings=True,
        display_progressbar=False,
        return_auc_per_sample=False,
    )
    theirs = np.array(score(metric))
    cells = X[0].size
    ours = ta.evaluate(
        NET, X, MAPS, target=1, fills={"zero": ta.baselines.Constant(0.0)}, groups=ta.groups.Cells(), steps=cells
    )
    mine = ours.deletion_curve.sel(fill="zero", ranking="signed").values
    np.testing.assert_allclose(theirs, mine[:, -theirs.shape[1] :], atol=1e-6)


def test_localisation():
    truth = (abs(X) > 1).values[:, :1]  # Quantus takes one segmentation for all channels
    common = {"abs": True, "normalise": False, "disable_warnings": True, "display_progressbar": False}
    maps = MAPS.attribution.values[:, :1]
    for theirs, ours in (
        (quantus.PointingGame(**common), ta.metrics.pointing_game),
        (quantus.RelevanceMassAccuracy(**common), ta.metrics.relevance_mass),
        (quantus.RelevanceRankAccuracy(**common), ta.metrics.relevance_rank),
        (quantus.AUC(**common), ta.metrics.auroc),
    ):
        found = theirs(
            model=Probabilities().eval(),
            x_batch=X.values[:, :1],
            y_batch=TARGET,
            a_batch=maps,
            s_batch=truth,
            channel_first=True,
        )
        np.testing.assert_allclose(np.array(found, float).ravel(), ours(abs(maps), truth), atol=1e-6, err_msg=str(ours))


def test_sensitivity_n_of_a_perfect_map():
    weight = torch.as_tensor(np.random.default_rng(0).normal(size=X.shape[1:]))

    class Linear(torch.nn.Module):
        def forward(self, x):
            return (x.double() * weight).sum((1, 2), keepdim=True)[:, :, 0]

    maps = X.values * weight.numpy()
    metric = quantus.FaithfulnessCorrelation(
        nr_runs=50,
        subset_size=10,
        perturb_baseline=0.0,
        normalise=False,
        abs=False,
        disable_warnings=True,
        display_progressbar=False,
    )
    theirs = metric(
        model=Linear().eval(), x_batch=X.values, y_batch=0 * TARGET, a_batch=maps, channel_first=True, softmax=False
    )
    ours = ta.evaluate(
        Linear(),
        X,
        xr.DataArray(maps, dims=X.dims, coords=X.coords),
        target=0,
        metrics="sensitivity_n",
        fills={"zero": ta.baselines.Constant(0.0)},
    )
    np.testing.assert_allclose(theirs, 1, atol=1e-6)
    np.testing.assert_allclose(ours.sensitivity_n, 1, atol=1e-6)
