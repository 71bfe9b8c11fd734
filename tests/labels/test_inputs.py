import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr
from sklearn.linear_model import LogisticRegression

import tsattr as ta
from tsattr.plot.maps import map_dims
from tsattr.plot.shade import axis_units

RNG = np.random.default_rng(0)
t, g, b = ta.targets, ta.groups, ta.baselines


def signal(labels=None, samples=4, name="sample"):
    x = xr.DataArray(RNG.normal(size=(samples, 3)), dims=(name, "time"))
    return x if labels is None else x.assign_coords({name: labels})


# ---- labels before positions


def forecast(x):
    """Three horizons; the first is the first cell, and so on."""
    return x * torch.tensor([1.0, 10.0, 100.0], dtype=x.dtype)


@pytest.mark.parametrize(
    "target", [2, np.int64(2), t.Output(horizon=2), t.Region(horizon=2), t.Difference(2, t.Output.at(0))]
)
@pytest.mark.parametrize("labels", [[1, 2, 3], np.array([1, 2, 3], "int16"), [1.0, 2.0, 3.0], ["1", "2", "3"]])
def test_whole_numbers_are_labels_and_the_result_says_so(target, labels):
    with pytest.warns(
        ta.ExplanationWarning, match="horizon=2 of the target is a label, of entry 1 counted from 0"
    ) as said:
        ds = ta.explain(forecast, signal(), ta.Saliency(), target=target, outputs={"horizon": labels})
    assert len(said) == 1
    assert ds.attribution.values[:, 1].tolist() == [10.0] * 4
    assert str(said[0].message) == ds.attrs["target_taken"]


def test_nothing_is_said_where_label_and_index_agree():
    for labels, target in (
        ([0, 1, 2], 1),
        ([2, 1, 0], 1),
        (["a", "b", "c"], 1),
        (None, 1),
        ([1, 2, 3], t.Output.at(1)),
    ):
        ds = ta.explain(forecast, signal(), ta.Saliency(), target=target, outputs={"horizon": labels})
        assert ds.attribution.values[0].tolist() == [0, 10, 0]
        assert "target_taken" not in ds.attrs


def test_the_leads_of_histories_are_asked_for_by_their_labels():
    field = xr.DataArray(np.arange(60.0).reshape(20, 3), dims=("time", "lat"), coords={"lat": [-30.0, 0.0, 30.0]})
    x, y = ta.climate.histories(field, lags=2, lead=[1, 6])

    def model(rows):  # (rows, lag, lat) -> (rows, lead, lat)
        return torch.stack([rows[:, 0], 6 * rows[:, 1]], 1)

    for lead in (1, 6):
        with pytest.warns(ta.ExplanationWarning, match=f"lead={lead} of the target is a label"):
            ds = ta.explain(model, x, ta.Saliency(), target=t.Region(lead=lead, lat=(-30, 30)), outputs=y)
        assert ds.attribution.sel(lag=-2 if lead == 1 else -1).values[0].tolist() == pytest.approx([lead / 3] * 3)


@pytest.mark.parametrize("classes", [[1, 2, 3], [-1, 0, 1], [3, 5, 7]])
def test_classes_that_are_numbers_are_labels(classes):
    x = RNG.normal(size=(60, 2))
    y = np.array(classes)[np.digitize(x[:, 0], [-0.4, 0.4])]
    model = LogisticRegression().fit(x, y)
    explain = lambda target: ta.explain(model, x[:3], ta.Occlusion(g.Cells()), target=target)  # noqa: E731
    for at, name in enumerate(classes):
        with pytest.warns(ta.ExplanationWarning, match=f"output={name} of the target is a label") as said:
            ds = explain(name)
        np.testing.assert_array_equal(ds.prediction, model.predict_proba(x[:3])[:, at])
        np.testing.assert_array_equal(explain(t.Output.at(at)).prediction, ds.prediction)
        assert len(said) == 1


def test_classes_that_are_truths():
    x = RNG.normal(size=(60, 2))
    model = LogisticRegression().fit(x, x[:, 0] > 0)
    for truth in (False, True, np.True_):
        ds = ta.explain(model, x[:3], ta.Occlusion(g.Cells()), target=truth)
        np.testing.assert_array_equal(ds.prediction, model.predict_proba(x[:3])[:, int(truth)])


def test_compare_and_evaluate_take_the_same_label():
    x, outputs = signal(samples=6), {"horizon": [1, 2, 3]}
    method = ta.Occlusion(g.Cells())
    settings = {"target": 2, "outputs": outputs, "fills": {"zero": b.Constant(0.0)}, "metrics": ["completeness"]}
    with pytest.warns(ta.ExplanationWarning, match="horizon=2 of the target is a label") as said:
        table = ta.compare(forecast, x, {"a": method, "b": ta.Saliency()}, controls=False, resamples=5, **settings)
    assert len(said) == 1
    assert "horizon=2" in table.attrs["target_taken"]
    np.testing.assert_allclose(table.completeness.sel({"method": "a"}), 0, atol=1e-12)
    np.testing.assert_array_equal(table.prediction, 10 * x[:, 1])


@pytest.mark.parametrize(
    ("outputs", "message"),
    [
        ({"horizon": [1, 2, 2]}, "outputs labels axis 'horizon' by 2 twice"),
        ({"horizon": ["a", "b", "a"]}, "outputs labels axis 'horizon' by 'a' twice"),
        (("horizon", "horizon"), "every output axis needs a name of its own"),
    ],
)
def test_output_axes_that_say_one_thing_twice(outputs, message):
    with pytest.raises(ValueError, match=message):
        ta.explain(forecast, signal(), ta.Saliency(), target=0, outputs=outputs)


# ---- no label twice in silence

TWICE = ["p1", "p1", "p2", "p2"]


def tanh(x):
    return torch.tanh(x).sum(1)


def test_samples_of_one_label_are_explained_each_by_itself():
    x = signal(TWICE)
    method = ta.Occlusion(g.Cells(), b.Uniform(-1.0, 1.0), draws=3)
    ds = ta.explain(tanh, x, method)
    assert ds.sample.values.tolist() == TWICE
    own = x.copy(data=np.broadcast_to(x[:1].values, x.shape))  # alike but for their draws
    found = ta.explain(tanh, own, method).attribution.values
    assert not np.allclose(found[0], found[1])
    np.testing.assert_array_equal(ta.explain(tanh, x[[0, 2]], method).attribution, ds.attribution[[0, 2]])


def matched(x, labels):
    """Everything that is matched by sample label, with `labels` in place of those of x."""
    other = x.assign_coords(sample=labels)
    method = ta.Occlusion(g.Cells())
    ds = ta.explain(tanh, x.drop_vars("sample"), method).assign_coords(sample=labels)
    blocks = xr.DataArray([0, 0, 1, 1], dims="sample", coords={"sample": labels})
    compare = {"controls": False, "resamples": 5, "metrics": ["completeness"]}
    constant = b.Constant(other.isel(time=0, drop=True))
    label = g.Labelled(xr.ones_like(other, dtype=int) * [0, 1, 2])
    return {
        "valid": lambda: ta.explain(tanh, x, method, valid=xr.ones_like(other, dtype=bool)),
        "context": lambda: ta.explain(lambda r, a: tanh(r) + a, x, method, context={"a": blocks}),
        "constants": lambda: ta.explain(tanh, x, ta.Occlusion(g.Cells(), constant)),
        "groups": lambda: ta.explain(tanh, x, ta.Occlusion(label)),
        "a map for evaluate": lambda: ta.evaluate(tanh, x, ds),
        "a map for compare": lambda: ta.compare(tanh, x, {"a": ds.attribution}, **compare),
        "truth": lambda: ta.evaluate(tanh, x, ds.assign_coords(sample=x.sample), truth=xr.ones_like(other) > 0),
        "blocks": lambda: ta.compare(tanh, x, {"a": method}, blocks=blocks, **compare),
        "a series of blocks": lambda: ta.compare(tanh, x, {"a": method}, blocks=blocks.to_series(), **compare),
    }


@pytest.mark.parametrize("what", matched(signal(list("abcd")), list("abcd")))
def test_labels_that_are_there_twice_are_not_matched_in_another_order(what):
    matched(signal(TWICE), TWICE)[what]()  # in one order they belong together one by one
    for mine, theirs in (
        (TWICE, ["p1", "p2", "p1", "p2"]),
        (TWICE, ["p1", "p2", "p3", "p4"]),
        (["p1", "p2", "p3", "p4"], TWICE),
    ):
        with pytest.raises(ValueError, match=r"twice|has other sample labels"):
            matched(signal(mine), theirs)[what]()


def test_blocks_are_matched_by_label():
    x = signal(list("abcd")).assign_coords(patient=("sample", [7, 8, 7, 8]))
    method = {"a": ta.Occlusion(g.Cells()), "b": ta.Saliency()}
    settings = {"metrics": ["completeness", "gap"], "fills": {"zero": b.Constant(0.0)}, "resamples": 50}
    expected = ta.compare(tanh, x, method, blocks="patient", **settings)
    shuffled = x.patient.isel(sample=[3, 0, 1, 2]).drop_vars("patient")
    for blocks in (shuffled, shuffled.to_series()):
        found = ta.compare(tanh, x, method, blocks=blocks, **settings)
        xr.testing.assert_identical(found.drop_vars("seconds"), expected.drop_vars("seconds"))
    by_position = ta.compare(tanh, x, method, blocks=pd.Series([7, 8, 7, 8]), **settings)
    xr.testing.assert_identical(by_position.drop_vars("seconds"), expected.drop_vars("seconds"))


# ---- dims known by their attributes


def test_maps_are_drawn_over_the_sphere_by_attributes_too():
    y, x = {"standard_name": "latitude"}, {"units": "degreesE"}
    field = xr.DataArray(
        np.zeros((3, 2, 4)), dims=("i", "j", "k"), coords={"i": ("i", [0.0, 9, 18], x), "j": ("j", [0.0, 9], y)}
    )
    assert map_dims(field) == ("j", "i")
    assert map_dims(field.drop_vars("i").rename(k="x")) == ("j", "x")
    assert axis_units(field, "j") == "°N"
    place = {"lat": (-1, 10), "lon": (8, 10)}
    assert ta.climate.box(field, **place).transpose("j", "i").values.tolist() == [[False, True, False]] * 2
    radians = field.assign_coords(j=("j", np.deg2rad([0.0, 9]), {"standard_name": "latitude", "units": "radians"}))
    np.testing.assert_allclose(ta.climate.area_weights(radians), ta.climate.area_weights(field), rtol=1e-12)
