"""Targets of one member of an ensemble, and differences between two."""

import numpy as np
import pytest
import torch
import xarray as xr

import tsattr as ta

T = ta.targets
RNG = np.random.default_rng(0)
X = xr.DataArray(
    RNG.normal(size=(4, 6)), dims=("sample", "feature"), coords={"feature": list("abcdef"), "sample": list("pqrs")}
)
OLD, NEW = (torch.as_tensor(RNG.normal(size=(6, 3))) for _ in range(2))
BOTH = ta.models.Ensemble({"old": lambda x: x @ OLD, "new": lambda x: x @ NEW})
OUTPUTS = {"class": ["N", "S", "V"]}
START = 0.25
METHODS = {
    "integrated gradients": ta.IntegratedGradients(ta.baselines.Constant(START)),
    "occlusion": ta.Occlusion(ta.groups.Cells(), ta.baselines.Constant(START)),
    "shapley": ta.ShapleySampling(ta.groups.Cells(), ta.baselines.Constant(START), draws=2),
    "kernel shap": ta.KernelShap(ta.groups.Cells(), ta.baselines.Constant(START)),
}


@pytest.mark.parametrize("name", METHODS)
def test_of_two_linear_models_it_is_the_difference_of_weights_times_the_way(name):
    beyond = T.Difference(T.Member("new", "V"), T.Member("old", "V"))
    ds = ta.explain(BOTH, X, METHODS[name], target=beyond, outputs=OUTPUTS)
    np.testing.assert_allclose(ds.attribution, (NEW - OLD)[:, 2].numpy() * (X - START), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(ds.prediction, X.values @ (NEW - OLD)[:, 2].numpy(), rtol=1e-9)
    assert ds.attrs["target"] == "Difference(a=Member('new', 'V'), b=Member('old', 'V'))"
    assert ds.attrs["members"] == "old, new"


@pytest.mark.parametrize("name", METHODS)
def test_of_two_outputs_it_is_the_difference_of_weights_times_the_way(name):
    ds = ta.explain(lambda x: x @ NEW, X, METHODS[name], target=T.Difference("V", "N"), outputs=OUTPUTS)
    np.testing.assert_allclose(ds.attribution, (NEW[:, 2] - NEW[:, 0]).numpy() * (X - START), rtol=1e-9, atol=1e-12)


def test_each_difference_between_two_models():
    each = T.Each("class", target=T.Difference(T.Member("new"), T.Member("old")))
    ds = ta.explain(BOTH, X, ta.IntegratedGradients(), target=each, outputs=OUTPUTS)
    expected = (NEW - OLD).numpy() * X.values[..., None]
    np.testing.assert_allclose(ds.attribution.transpose("sample", "feature", "class"), expected, rtol=1e-9)
    assert ds["class"].values.tolist() == OUTPUTS["class"]


def test_a_member_is_the_model_by_itself():
    for target in ("S", T.Probability("S"), T.Margin("S", "N"), None):
        method = ta.IntegratedGradients(steps=8)
        ds = ta.explain(BOTH, X, method, target=T.Member("old", target), outputs=OUTPUTS)
        alone = ta.explain(lambda x: x @ OLD, X, method, target=target, outputs=OUTPUTS)
        np.testing.assert_allclose(ds.attribution, alone.attribution, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(ds.prediction, alone.prediction, rtol=1e-9)


def test_a_model_with_an_axis_of_members():
    def stacked(x):
        return torch.stack([x @ OLD, x @ NEW], 1)

    settings = {"outputs": {"member": ["old", "new"], **OUTPUTS}}
    beyond = T.Difference(T.Member("new", "V"), T.Member("old", "V"))
    ds = ta.explain(stacked, X, ta.IntegratedGradients(), target=beyond, **settings)
    together = ta.explain(BOTH, X, ta.IntegratedGradients(), target=beyond, outputs=OUTPUTS)
    np.testing.assert_allclose(ds.attribution, together.attribution, rtol=1e-12)


def test_certainties_of_two_kinds():
    """What is explained beyond the data's part: the difference of maps, as both are linear in the target."""
    u, method = T.Uncertainty, ta.IntegratedGradients(steps=8)
    kinds = [u("mutual_information"), u("expected_entropy")]
    ds = ta.explain(BOTH, X, method, target=T.Difference(*kinds), outputs=OUTPUTS)
    model, data = (ta.explain(BOTH, X, method, target=k, outputs=OUTPUTS) for k in kinds)
    np.testing.assert_allclose(ds.attribution, model.attribution - data.attribution, atol=1e-12)
    mixed = T.Difference(u("variance", T.Probability("V")), T.Member("old", T.Probability("V")))
    ds = ta.explain(BOTH, X, method, target=mixed, outputs=OUTPUTS)
    parts = [ta.explain(BOTH, X, method, target=k, outputs=OUTPUTS) for k in (mixed.a, mixed.b)]
    np.testing.assert_allclose(ds.attribution, parts[0].attribution - parts[1].attribution, atol=1e-12)


def test_scores_and_comparisons_take_it():
    beyond = T.Difference(T.Member("new", "V"), T.Member("old", "V"))
    settings = {"target": beyond, "outputs": OUTPUTS, "fills": {"zero": ta.baselines.Constant(0.0)}}
    ds = ta.explain(BOTH, X, ta.IntegratedGradients(), target=beyond, outputs=OUTPUTS)
    scores = ta.evaluate(BOTH, X, ds, **settings)
    np.testing.assert_allclose(scores.prediction, ds.prediction)
    table = ta.compare(BOTH, X, {"ig": ta.IntegratedGradients(), "slope": ta.Saliency()}, **settings, resamples=20)
    assert np.isfinite(table.score.sel(method="ig")).any()
    assert "one output or model is above another" in ta.report.report(ds, X)


@pytest.mark.parametrize(
    ("model", "target", "error", "message"),
    [
        (lambda x: x @ OLD, T.Member("old", "V"), ValueError, "there is one model: give ta.models.Ensemble"),
        (
            BOTH,
            T.Member("older", "V"),
            KeyError,
            "no label 'older' on output axis 'member'; its labels are 'old', 'new'",
        ),
        (BOTH, [T.Member("old", "V"), "V"], ValueError, "is of the members together and Output"),
        (BOTH, T.Difference(T.Member("old", "V"), "V"), ValueError, r"say where on each: .*'member': 'new'"),
        (BOTH, T.Output(member="old"), KeyError, r"of one member of an ensemble: ta\.targets\.Member\(name, target\)"),
    ],
)
def test_what_cannot_be(model, target, error, message):
    with pytest.raises(error, match=message):
        ta.explain(model, X, ta.IntegratedGradients(), target=target, outputs=OUTPUTS)
