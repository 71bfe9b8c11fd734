"""`evaluate` against slow references and closed forms, and the laws that hold for it as for every method."""

import functools
import sys

import numpy as np
import pytest
import torch
import xarray as xr
from torch import nn

import tsattr as ta
from tsattr.comparison.scoring import MEASURES

from .conftest import TIMES, Spy, relu_net, signals

X, TRAIN = signals(), signals(5, seed=2)
b, g = ta.baselines, ta.groups
NET = relu_net()
WEIGHT = torch.as_tensor(np.random.default_rng(3).normal(size=X.shape[1:]))
FILLS = {"zero": b.Constant(0.0), "bridge": b.Bridge(), "samples": b.Samples.fit(TRAIN)}
WINDOWS = g.Windows(time=4, lead=1)
evaluate = functools.partial(ta.evaluate, target=1, fills=FILLS, groups=WINDOWS, steps=5, subsets=6)


def linear(x):
    return (x * WEIGHT).sum((1, 2))


@functools.cache
def explained() -> xr.Dataset:
    return ta.explain(NET, X, ta.IntegratedGradients(), target=1)


@functools.cache
def scored() -> xr.Dataset:
    return evaluate(NET, X, explained())


def assert_same(a, b, tolerance=1e-12):
    assert set(a.data_vars) == set(b.data_vars)
    for k in a.data_vars:
        assert a[k].dims == b[k].dims, k
        np.testing.assert_allclose(a[k], b[k], rtol=0, atol=tolerance * max(1, float(abs(b[k]).max())), err_msg=k)


# ---- slow references


def windows():
    """Masks (lead, time) of the groups, in their order."""
    out = []
    for lead in range(X.sizes["lead"]):
        for start in range(0, TIMES, 4):
            mask = np.zeros(X.shape[1:], bool)
            mask[lead, start : start + 4] = True
            out.append(mask)
    return out


def value(x):
    with torch.no_grad():
        return float(NET(torch.as_tensor(x)[None])[0, 1])


def bridge(x, absent):
    out = x.copy()
    for row, gone in zip(out, absent):
        if gone.all():
            row[:] = 0
        elif gone.any():
            row[gone] = np.interp(np.flatnonzero(gone), np.flatnonzero(~gone), row[~gone])
    return out


def zero(x, absent):
    return np.where(absent, 0, x)


@pytest.mark.parametrize("ranking", ["signed", "absolute"])
@pytest.mark.parametrize(("name", "fill"), [("zero", zero), ("bridge", bridge)])
def test_curves_equal_the_loop(name, fill, ranking):
    groups = windows()
    for at, (x, a) in enumerate(zip(X.values, explained().attribution.values)):
        credit = [a[m].sum() for m in groups]
        order = np.argsort([-abs(c) if ranking == "absolute" else -c for c in credit])
        deletion, insertion = [], []
        for share in np.linspace(0, 1, 6):
            k = int(np.round(share * len(groups)))
            gone = np.zeros(x.shape, bool)
            for m in order[:k]:
                gone |= groups[m]
            deletion.append(value(fill(x, gone)))
            gone = np.zeros(x.shape, bool)
            for m in order[k:]:
                gone |= groups[m]
            insertion.append(value(fill(x, gone)))
        here = scored().isel(sample=at).sel(fill=name, ranking=ranking)
        np.testing.assert_allclose(here.deletion_curve, deletion, rtol=0, atol=1e-12)
        np.testing.assert_allclose(here.insertion_curve, insertion, rtol=0, atol=1e-12)


def test_measures_are_those_of_the_curves():
    s, q = scored(), scored().share.values
    down, up = s.deletion_curve.values, s.insertion_curve.values
    np.testing.assert_allclose(s.deletion, ta.metrics.area(down, q))
    np.testing.assert_allclose(s.insertion, ta.metrics.area(up, q))
    np.testing.assert_allclose(s.gap, s.insertion - s.deletion)
    prediction = s.prediction.values[:, None, None]
    np.testing.assert_allclose(s.comprehensiveness, prediction - down[..., 1])  # shares 0, 0.2, ...
    np.testing.assert_allclose(s.sufficiency, prediction - up[..., 1])
    np.testing.assert_allclose(down[..., 0], np.broadcast_to(prediction, down.shape[:-1]))
    np.testing.assert_allclose(up[..., -1], down[..., 0])
    np.testing.assert_allclose(up[..., 0], down[..., -1])  # nothing is left of either
    for name, (better, *_) in MEASURES.items():
        assert s[name].attrs["better"] == better


def test_completeness_is_that_of_the_explanation():
    here = scored().completeness.sel(fill="zero")  # the map's own baseline
    np.testing.assert_allclose(here, explained().completeness_error, rtol=1e-9, atol=1e-12)


# ---- closed forms of an additive model


def contributions(x=X):
    return xr.DataArray(x.values * WEIGHT.numpy(), dims=x.dims, coords=x.coords)


def test_the_true_map_of_an_additive_model_gives_the_lower_envelope():
    score = functools.partial(ta.evaluate, linear, X, fills={"zero": b.Constant(0.0)}, groups=g.Cells(), steps=36)
    found = score(contributions())
    total = np.sort(contributions().values.reshape(len(X), -1), 1)[:, ::-1]
    left = total.sum(1, keepdims=True) - np.pad(total.cumsum(1), ((0, 0), (1, 0)))
    np.testing.assert_allclose(found.deletion_curve.sel(ranking="signed")[:, 0], left, rtol=0, atol=1e-12)
    np.testing.assert_allclose(
        found.insertion_curve.sel(ranking="signed")[:, 0], np.pad(total.cumsum(1), ((0, 0), (1, 0))), rtol=0, atol=1e-12
    )
    others = [xr.full_like(X, 0.0), -contributions(), X, xr.DataArray(WEIGHT, dims=X.dims[1:]).broadcast_like(X)]
    for other in others:
        curve = score(other.transpose(*X.dims)).deletion_curve.sel(ranking="signed")
        assert (curve >= found.deletion_curve.sel(ranking="signed") - 1e-12).all()
    # reversed, it is the insertion curve of the opposite map read backwards
    opposite = score(-contributions())
    np.testing.assert_allclose(
        opposite.deletion_curve.sel(ranking="signed"),
        found.insertion_curve.sel(ranking="signed")[..., ::-1],
        rtol=0,
        atol=1e-12,
    )
    np.testing.assert_allclose(opposite.gap.sel(ranking="signed"), -found.gap.sel(ranking="signed"), atol=1e-12)
    np.testing.assert_allclose(found.sensitivity_n, 1)
    np.testing.assert_allclose(found.infidelity, 0, atol=1e-12)
    np.testing.assert_allclose(found.completeness, 0, atol=1e-12)
    np.testing.assert_allclose(opposite.sensitivity_n, -1)


@pytest.mark.parametrize("value", [0.0, 0.37])
def test_a_map_that_says_nothing_scores_at_chance(value):
    """Its ties go in random order: on average the curves are the straight line, and the gap is nothing."""
    many = xr.concat([X.isel(sample=[0]).assign_coords(sample=[f"s{k}"]) for k in range(400)], "sample")
    same = xr.full_like(many, value)
    found = ta.evaluate(linear, many, same, fills={"zero": b.Constant(0.0)}, groups=WINDOWS, steps=9)
    curve = found.deletion_curve.sel(ranking="signed", fill="zero")
    line = float(linear(torch.as_tensor(X.values[:1]))) * (1 - found.share)
    error = curve.std("sample") / 20
    assert (abs(curve.mean("sample") - line) <= 4 * error + 1e-9).all()
    gap = found.gap.sel(ranking="signed", fill="zero")
    assert abs(gap.mean()) < 4 * gap.std() / 20
    assert found.sensitivity_n.isnull().all()
    np.testing.assert_allclose(found.infidelity, 1 if value == 0 else found.infidelity)


def test_groups_that_overlap_and_labels():
    credit = contributions()
    wave = xr.DataArray(np.arange(TIMES) // 5 - 1, dims="time", coords={"time": X.time})  # the first five in no group
    for groups in (g.Windows(time=5, step=3), g.Labelled(wave), g.Along("lead")):
        found = ta.evaluate(linear, X, credit, fills={"zero": b.Constant(0.0)}, groups=groups, subsets=4)
        np.testing.assert_allclose(found.infidelity, 0, atol=1e-12)  # credit of a subset is that of its cells
        kept = (
            credit.where(wave < 0, 0).sum(("lead", "time"))
            if isinstance(groups, g.Labelled)
            else 0 * credit.sum(("lead", "time"))
        )
        np.testing.assert_allclose(found.deletion_curve[:, 0, 0, -1], kept, atol=1e-12)


# ---- sharing


def test_what_coincides_is_asked_once():
    spy = Spy(NET)
    found = ta.evaluate(
        spy, X, explained(), target=1, metrics=["gap"], fills={"mean": b.Mean()}, groups=WINDOWS, steps=9, check=False
    )
    assert int(found.model_evaluations.sum()) == spy.count
    seen = {row.numpy().tobytes() for row in spy.plain}
    assert len(seen) == spy.count  # no row twice, though four curves begin and end alike
    assert spy.count <= len(X) * (1 + 4 * 8 + 1)


def test_only_the_rows_of_the_measures_asked_for():
    rows = {
        name: int(evaluate(NET, X, explained(), metrics=name, draws=2).model_evaluations.sum()) for name in MEASURES
    }
    assert rows["completeness"] == len(X) * (
        1 + 1 + 1 + 2
    )  # intact, and everything gone by three fills, one of them twice
    assert rows["deletion"] < rows["gap"]
    assert rows["gap"] <= int(evaluate(NET, X, explained(), draws=2).model_evaluations.sum())
    found = evaluate(NET, X, explained(), metrics=["deletion"])
    assert set(found) == {"deletion_curve", "deletion", "prediction", "model_evaluations"}


# ---- laws


@pytest.mark.parametrize("size", [1, 7])
def test_batch_size_changes_nothing(size):
    assert_same(evaluate(NET, X, explained(), batch_size=size), scored())


def test_chunks_company_and_order_change_nothing(monkeypatch):
    order = [2, 0]
    some = evaluate(NET, X.isel(sample=order), explained().isel(sample=order))
    assert_same(some, scored().isel(sample=order))
    monkeypatch.setattr(sys.modules["tsattr.edge.call"], "_CHUNK", 1)
    assert_same(evaluate(NET, X, explained(), batch_size=3), scored())


@pytest.mark.parametrize("dims", [("time", "sample", "lead"), ("lead", "time", "sample")])
def test_permuting_dims_changes_nothing(dims):
    event = [d for d in dims if d != "sample"]
    back = [0, 1 + event.index("lead"), 1 + event.index("time")]
    found = evaluate(lambda x: NET(x.permute(back)), X.transpose(*dims), explained())
    # which subsets are drawn depends on the groups alone, and those are named alike
    assert_same(found, scored())


def test_labels_of_the_map_are_matched():
    shuffled = explained().isel(lead=[2, 0, 1])
    assert_same(evaluate(NET, X, shuffled), scored())
    assert_same(evaluate(NET, X, explained().attribution), scored())


def test_several_targets_equal_single_ones():
    targets = [0, ta.targets.Probability(2)]
    maps = ta.explain(NET, X, ta.IntegratedGradients(), target=targets)
    together = evaluate(NET, X, maps, target=targets)
    for at, target in enumerate(targets):
        alone = evaluate(NET, X, maps.isel(target=at, drop=True), target=target)
        kept = together.isel(target=at, drop=True).drop_vars("model_evaluations")
        assert_same(kept, alone.drop_vars("model_evaluations"))


def test_the_model_is_left_as_it_was():
    model = relu_net().train()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    state = torch.get_rng_state()
    evaluate(model, X, explained())
    assert model.training
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert torch.equal(state, torch.get_rng_state())


def test_invalid_cells_take_no_part():
    valid = xr.DataArray(np.arange(TIMES) < 8, dims="time", coords={"time": X.time}).broadcast_like(X)

    def run(padding):
        x = X.where(valid, padding)
        return evaluate(lambda v: NET(torch.where(keep, v, 0)), x, explained().attribution.where(valid), valid=valid)

    keep = torch.arange(TIMES) < 8
    assert_same(run(99.0), run(-3.0))
    assert_same(run(np.nan), run(-3.0))
    whole = run(0.0)
    assert (whole.deletion_curve.sel(fill="zero")[..., -1].std("sample") < 1e-12).all()  # all that was there is gone


def test_a_sample_without_map_or_finite_output_has_no_score():
    maps = explained().attribution.copy(deep=True)
    maps[1] = np.nan
    found = evaluate(NET, X, maps)
    assert found.gap.isel(sample=1).isnull().all()
    assert_same(found.isel(sample=[0, 2, 3]), scored().isel(sample=[0, 2, 3]))

    def sick(x):
        y = NET(x)
        return torch.where((x[:, :1, 0] > X.values[:, 0, 0].max() - 1e-9), torch.nan, y)

    found = evaluate(sick, X, explained())
    assert found.gap.isnull().any("fill").any("ranking").sum() >= 1


def test_several_inputs_and_tables():
    vitals = xr.DataArray(np.linspace(-1, 1, 8).reshape(4, 2), dims=("sample", "vital"), coords={"vital": ["hr", "rr"]})
    both = xr.Dataset({"ecg": X, "vitals": vitals})
    model = lambda ecg, vitals: (ecg * WEIGHT).sum((1, 2)) + vitals.sum(1)  # noqa: E731
    zero = {"zero": {"ecg": b.Constant(0.0), "vitals": b.Constant(0.0)}}
    ds = ta.explain(model, both, ta.IntegratedGradients(), target=0)
    found = ta.evaluate(model, both, ds, fills=zero, groups={"ecg": WINDOWS, "vitals": g.Cells()})
    np.testing.assert_allclose(found.completeness, 0, atol=1e-12)
    np.testing.assert_allclose(found.sensitivity_n, 1)
    assert ta.evaluate(model, both, ds).fill.values.tolist() == ["samples"]


def test_a_frame_with_categories():
    import pandas as pd

    frame = pd.DataFrame({"a": [1.0, 2.0, 3.0], "b": ["x", "y", "x"], "c": [0.0, 1.0, 0.5]})
    model = ta.models.on_frames(lambda f: 3 * f["a"] + (f["b"] == "x") - f["c"])
    method = ta.Occlusion(g.Cells(), b.Mode.fit(frame))
    ds = ta.explain(model, frame, method)
    found = ta.evaluate(model, frame, ds)
    assert np.isfinite(found.gap).all()
    assert found.fill.values.tolist() == ["samples"]


# ---- truth


def test_truth_adds_localisation_with_its_chance():
    truth = abs(contributions()) > 1
    found = ta.evaluate(linear, X, contributions(), truth=truth, metrics=["completeness"])
    by = found.average_precision.sel(ranking="absolute")
    np.testing.assert_allclose(by, 1)
    np.testing.assert_allclose(found.average_precision_chance.sel(ranking="signed"), truth.mean(("lead", "time")))
    expected = ta.metrics.auroc(contributions().values, truth.values)
    np.testing.assert_allclose(found.auroc.sel(ranking="signed"), expected)
    assert found.auroc.attrs["uses_truth"]


# ---- bad input


@pytest.mark.parametrize(
    ("settings", "error", "words"),
    [
        ({"metrics": ["accuracy"]}, ValueError, "metrics knows gap"),
        ({"rankings": ["random"]}, ValueError, "rankings knows signed"),
        ({"fills": {}}, ValueError, "fills is empty"),
        ({"steps": 0}, ValueError, "steps is a whole number"),
        ({"subsets": 2}, ValueError, "at least 3 subsets"),
        ({"top": 1.0}, ValueError, "shares between 0 and 1"),
        ({"sizes": (0.0,)}, ValueError, "shares between 0 and 1"),
        ({"truth": np.zeros(X.shape)}, TypeError, "truth is boolean"),
        ({"target": [0, 1]}, ValueError, "of 1 targets, the call of 2"),
    ],
)
def test_bad_settings(settings, error, words):
    with pytest.raises(error, match=words):
        evaluate(NET, X, explained(), **settings)


def test_an_explanation_that_does_not_fit():
    with pytest.raises(KeyError, match="has no variable 'attribution'"):
        evaluate(NET, X, explained()[["prediction"]])
    with pytest.raises(ValueError, match="lacks 2 of the input's labels along dim 'sample'"):
        evaluate(NET, X, explained().isel(sample=[0, 1]))
    with pytest.raises(ValueError, match="has a dim 'lag'"):
        evaluate(NET, X, explained().attribution.expand_dims(lag=2))


def test_nothing_is_left_of_a_failing_model(monkeypatch):
    class Fails(nn.Module):
        def __init__(self):
            super().__init__()
            self.net, self.left = relu_net().train(), 2

        def forward(self, x):
            self.left -= 1
            if self.left < 0:
                raise ArithmeticError("the model fails")
            return self.net(x)

    model = Fails()
    with pytest.raises(ArithmeticError):
        evaluate(model, X, explained(), batch_size=2)
    assert model.net.training


def test_a_map_made_for_another_target_is_said():
    net = relu_net()
    ds = ta.explain(net, X, ta.Saliency(), target=1)
    short = {"metrics": ["gap"], "fills": {"zero": b.Constant(0.0)}}
    ta.evaluate(net, X, ds, target=1, **short)
    ta.evaluate(
        net, X[::-1], ds, target=ta.targets.Output(1), seed=3, **short
    )  # another name, order and seed of the same
    with pytest.warns(ta.ExplanationWarning, match="made for the target '1', and the model is asked about '2'"):
        ta.evaluate(net, X, ds, target=2, **short)
    with pytest.warns(ta.ExplanationWarning, match="made before: the map was made for the target '1'"):
        ta.compare(net, X, {"made before": ds, "IG": ta.IntegratedGradients()}, target=0, **short)


def test_a_fill_without_values_for_a_sample_is_no_change_of_zero():
    class Lacks:
        def fill(self, x, absent, key):
            lost = torch.as_tensor(key.position == 1).reshape(-1, 1, 1)
            return torch.where(absent, torch.where(lost, torch.nan, 0.0), x)

    net, short = relu_net(), {"target": 1, "metrics": ["gap", "infidelity"]}
    ds = ta.explain(net, X, ta.Saliency(), target=1)
    with pytest.warns(
        ta.ExplanationWarning, match=r"a fill has no value \(NaN\) for cells of sample p1, which has no scores"
    ):
        found = ta.evaluate(net, X, ds, fills={"lacks": Lacks()}, **short)
    assert found.gap.isnull().any(("fill", "ranking")).values.tolist() == [False, True, False, False]
    full = ta.evaluate(net, X, ds, fills={"lacks": b.Constant(0.0)}, **short)
    xr.testing.assert_allclose(found.gap[[0, 2, 3]], full.gap[[0, 2, 3]])
