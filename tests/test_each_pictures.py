"""Pictures and reports of results that have the outputs' own dims: one output at a time, never a mean over them in silence."""

import numpy as np
import pytest
import torch
import xarray as xr

import tsattr as ta
from tsattr.edge.each_output import folded
from tsattr.plot.maps import map_dims

CELLS = {"sample": ["a", "b"], "feature": ["age", "lactate", "heart rate"]}
X = xr.DataArray([[2.0, 3.0, 1.0], [1.0, 1.0, 4.0]], dims=("sample", "feature"), coords=CELLS)
OUTPUTS = {"class": ["no", "yes"]}


def net(x):
    return torch.stack([x[:, 0] * x[:, 1], x.sum(1)], 1)


def of(method, target=None):
    return ta.explain(net, X, method, target=target or ta.targets.Each(), outputs=OUTPUTS)


def test_outputs_dims_are_folded_to_targets():
    ds, named = of(ta.IntegratedGradients()), of(ta.IntegratedGradients(), ["no", "yes"])
    xr.testing.assert_allclose(folded(ds)[list(named)], named)
    assert folded(ds).target.values.tolist() == ["no", "yes"]
    settings = {"target": ta.targets.Each(), "outputs": {"lead": [3, 6], **OUTPUTS}}
    grid = ta.explain(lambda x: torch.stack([net(x), 2 * net(x)], 1), X, ta.Saliency(), **settings)
    wanted = ["lead=3, class=no", "lead=3, class=yes", "lead=6, class=no", "lead=6, class=yes"]
    assert folded(grid).target.values.tolist() == wanted
    assert folded(named) is named
    for labels, texts in (
        (np.array([6, 36, 48], "m8[h]").astype("m8[ns]"), ["lead=6 h", "lead=36 h", "lead=2 d"]),
        (np.array(["2001-05", "2001-06"], "M8[ns]"), ["lead=2001-05-01", "lead=2001-06-01"]),
    ):
        each = xr.Dataset(
            {"prediction": (("sample", "lead"), np.zeros((1, len(labels)))), "status": ("sample", ["ok"])}
        )
        assert folded(each.assign_coords(lead=labels)).target.values.tolist() == texts


def test_pairs_draw_the_output_that_is_named():
    pairs = ta.ShapleyInteractions(ta.groups.Along("feature"))
    ds = of(pairs)
    with pytest.raises(ValueError, match=r"pairs draws one target; give target=, one of \['no', 'yes'\]"):
        ta.plot.pairs(ds)
    texts = [
        [t.get_text() for t in ta.plot.pairs(d, **k).axes[0].texts]
        for d, k in ((ds, {"target": "no"}), (of(pairs, "no"), {}))
    ]
    assert texts[0] == texts[1]


def test_completeness_has_a_point_for_each_output():
    ds, named = of(ta.IntegratedGradients()), of(ta.IntegratedGradients(), ["no", "yes"])
    lines = [np.ravel([v.get_ydata() for v in ta.plot.completeness(d).axes[0].lines][1]) for d in (ds, named)]
    np.testing.assert_allclose(*lines)


def test_waterfalls_and_reports_know_the_outputs():
    ds = of(ta.IntegratedGradients())
    assert "lactate = 3" in str(
        [t.get_text() for t in ta.plot.waterfall(ds, target="no", x=X).axes[0].get_yticklabels()]
    )
    page, named = (ta.report.report(d, X) for d in (ds, of(ta.IntegratedGradients(), ["no", "yes"])))
    assert page.count("<img") == named.count("<img")
    assert "Sample a, target yes" in page


def test_the_band_of_curves_is_over_samples_alone():
    settings = {"outputs": OUTPUTS, "fills": {"zero": ta.baselines.Constant(0.0)}, "resamples": 20}
    tables = [
        ta.compare(net, X, {"IG": ta.IntegratedGradients()}, target=t, **settings) for t in (ta.targets.Each(), [0, 1])
    ]
    bands = [ta.plot.curves(t).axes[0].collections[0].get_paths()[0].vertices for t in tables]
    np.testing.assert_allclose(*bands)


def test_a_map_is_over_the_latitudes_of_the_input():
    a = xr.DataArray(np.zeros((2, 3, 2, 3, 2)), dims=("lat", "lon", "output_lat", "output_lon", "lead"))
    assert map_dims(a) == ("lat", "lon")
    signal = xr.DataArray(np.arange(6.0).reshape(2, 3), dims=("lat", "lon"))
    assert ta.plot.field(a[:, :, 0, 0], signal).axes[0].collections  # the contours of the same signal in each panel
    with pytest.raises(ValueError, match="the signal has no dim 'lead', which the map has"):
        ta.plot.field(a[0, 0, 0], signal[0].rename(lon="output_lon"))
    with pytest.raises(ValueError, match=r"the coordinate of 'class' is <U3; use plot\.field"):
        ta.plot.world(
            a[:, 0, 0, 0].assign_coords(lat=[0.0, 1.0]).rename(lead="class").assign_coords({"class": ["no", "yes"]})
        )


def test_what_acts_together_is_of_a_named_target_and_of_groups_that_play():
    x = X.copy()
    x[1, 1] = np.nan
    pairs = ta.ShapleyInteractions(ta.groups.Along("feature"))
    ds = ta.explain(lambda x: net(torch.nan_to_num(x)), x, pairs, target=ta.targets.Each(), outputs=OUTPUTS)
    page = ta.report.report(ds, x)
    assert "Pairs make for no, the first target, 100 % of all" in page
    assert (
        "(mean over 2 samples) is age with lactate: 6, 6 by size." in page
    )  # where both are known, as the picture has it


def test_a_map_of_parts_by_time_has_the_names_of_the_parts():
    names = ["0.5-5 Hz", "rest"]
    coords = {"part": names, "time": np.arange(4) / 4}
    a = xr.DataArray(np.arange(8.0).reshape(2, 4), dims=("part", "time"), coords=coords)
    ax = ta.plot.field(a, a).axes[0]
    assert [t.get_text() for t in ax.get_yticklabels()] == names
    assert len(ax.collections) == 1  # no contours between a band and the next
    assert len(ta.plot.field(a.assign_coords(part=[1, 2]), a).axes[0].collections) > 1


def test_reports_set_outputs_side_by_side():
    ds = of(ta.IntegratedGradients())
    page = ta.report.report(ds, X)
    assert "What each output rests on" in page
    size = abs(ds.attribution).mean("sample")
    for name, k in (("no", 0), ("yes", 1)):
        column = size.isel({"class": k})
        best = column.feature.values[column.values.argmax()]
        assert f"{name} rests most on feature {best} ({100 * float(column.max() / column.sum()):.0f}" in page
    assert "Each(): no, yes" in page.replace("&#x27;", "'")
    assert "for no, the first target" in page
    one = ta.report.report(of(ta.IntegratedGradients(), "no"), X)
    assert "What each output rests on" not in one
    assert "the first target" not in one


def test_many_outputs_are_not_all_drawn():
    settings = {"target": ta.targets.Each(), "outputs": ("horizon",)}
    ds = ta.explain(lambda x: x @ torch.ones(3, 40, dtype=torch.float64), X, ta.IntegratedGradients(), **settings)
    page = ta.report.report(ds, X, samples=[])
    assert "Size of attribution by feature and output, mean over 2 samples; 16 more outputs are left out." in page
