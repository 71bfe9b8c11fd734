import numpy as np
import pytest
import torch
import xarray as xr

import tsattr as ta

from ..conftest import recurrent_net, relu_net, signals

X = signals(2)
b, g = ta.baselines, ta.groups


def by_loops(method, model, x, fill, threshold, **settings):
    """(relevance of each time, map) of one sample (lead, time), removing one time or one cell at a time.

    `fill(x, absent)` gives the sample without its absent cells.
    """

    def map_of(values):
        one = xr.DataArray(values[None], dims=("sample", "lead", "time"))
        return ta.explain(model, one, method, **settings).attribution.values[0]

    intact, known = map_of(x), ~np.isnan(x)

    def relevance(absent):
        return np.abs(intact - map_of(fill(x, absent & known)))[known].sum()

    when = np.full(x.shape[1], np.nan)
    for t in range(x.shape[1]):
        if known[:, t].any():
            absent = np.zeros(x.shape, bool)
            absent[:, t] = True
            when[t] = relevance(absent)
    level = np.nanquantile(when, threshold)
    out = np.where(known, 0.0, np.nan)
    for t, lead in np.ndindex(x.shape[::-1]):
        if known[lead, t] and when[t] >= level and when[t] > 0:
            absent = np.zeros(x.shape, bool)
            absent[lead, t] = True
            out[lead, t] = when[t] * relevance(absent)
    return when, out


def zeros(x, absent):
    return np.where(absent, 0.0, x)


def lead_means(x, absent):
    return np.where(absent, np.nanmean(x, 1, keepdims=True), x)


@pytest.mark.parametrize("threshold", [0.0, 0.55, 1.0])
@pytest.mark.parametrize(
    ("method", "net"),
    [
        (ta.Saliency(), recurrent_net()),
        (ta.InputXGradient(), relu_net()),
        (ta.IntegratedGradients(steps=3), relu_net()),
        (ta.Occlusion(g.Along("lead")), recurrent_net()),
    ],
    ids=lambda v: type(v).__name__,
)
def test_any_method_is_rescaled_as_by_loops(method, net, threshold):
    for baseline, fill in ((b.Constant(0.0), zeros), (b.Mean(), lead_means)):
        found = ta.explain(net, X, ta.TemporalRescaling(method, baseline=baseline, threshold=threshold), target=1)
        for s, x in enumerate(X.values):
            when, expected = by_loops(method, net, x, fill, threshold, target=1)
            np.testing.assert_allclose(found.group_value[s], when, rtol=1e-10, atol=1e-12)
            np.testing.assert_allclose(found.attribution[s], expected, rtol=1e-10, atol=1e-12)
        assert (found.attribution > 0).any("lead").sum("time").values.tolist() == [
            {0.0: 12, 0.55: 5, 1.0: 1}[threshold]
        ] * 2


class Patient(torch.nn.Module):
    """A network for input with missing cells, which keeps the rows it is asked about."""

    def __init__(self):
        super().__init__()
        self.net, self.asked = relu_net(), []

    def forward(self, x):
        self.asked.append(x.detach().clone())
        return self.net(torch.nan_to_num(x, nan=0.7))


@pytest.mark.parametrize(
    "method", [ta.Saliency(), ta.GradCAM(relu=False)]
)  # the second has values at missing cells too
def test_missing_cells_are_neither_removed_nor_counted(method):
    holes = X.copy(deep=True)
    holes[0, 1, 3] = holes[1, 2, 5:9] = np.nan
    holes[1, :, 10] = np.nan
    model = Patient()
    found = ta.explain(model, holes, ta.TemporalRescaling(method, baseline=b.Mean()), target=0)
    lacking = {np.isnan(row).tobytes() for row in torch.cat(model.asked).numpy()}
    for s, x in enumerate(holes.values):
        when, expected = by_loops(method, model, x, lead_means, 0.55, target=0)
        np.testing.assert_allclose(found.group_value[s], when, rtol=1e-10, atol=1e-12)
        np.testing.assert_allclose(found.attribution[s], expected, rtol=1e-10, atol=1e-12)
    of_none = {np.zeros(X.shape[1:], bool).tobytes()} if method.extra_rows else set()
    assert lacking == {np.isnan(x).tobytes() for x in holes.values} | of_none


def test_the_class_stays_that_of_the_intact_sample():
    w = torch.tensor([[1.0, 1.0, 1.0, 1.0], [0.0, 0.0, 0.0, 2.5]], dtype=torch.float64)
    model = lambda x: (x**2)[:, 0] @ w.T  # noqa: E731 - without the last time the other class wins
    x = xr.DataArray([[[0.0, 1.0, 1.0, 2.0]]], dims=("sample", "lead", "time"))
    found = ta.explain(model, x, ta.TemporalRescaling(ta.Saliency(), threshold=0.0))
    assert found.predicted.item() == 1
    assert found.group_value.values.tolist() == [[0, 0, 0, 10]]
    assert found.attribution.values.tolist() == [[[0, 0, 0, 100]]]


def test_several_targets_look_where_any_of_them_has_a_reason_to():
    together = ta.explain(relu_net(), X, ta.TemporalRescaling(ta.Saliency()), target=[0, 2])
    for at, target in enumerate([0, 2]):
        alone = ta.explain(relu_net(), X, ta.TemporalRescaling(ta.Saliency()), target=target)
        for name in ("attribution", "group_value"):
            np.testing.assert_allclose(together[name].isel(target=at), alone[name], rtol=0, atol=1e-12)
        assert (together.model_evaluations >= alone.model_evaluations).all()


def test_windows_of_another_dim_and_features_of_them():
    x = X.rename(time="day")
    weight = torch.zeros(3, 12, dtype=torch.float64)
    weight[1, 4:8] = 3.0
    model = lambda x: (weight * x**2).sum((1, 2)) / 2  # noqa: E731
    method = ta.TemporalRescaling(ta.Saliency(), g.Windows(day=4), g.Windows(day=4, lead=1), threshold=1.0)
    found = ta.explain(model, x, method)
    size = 3 * abs(x.sel(lead="II").isel(day=slice(4, 8))).sum("day")  # the gradients 3 |x| that vanish
    np.testing.assert_allclose(found.group_value, np.stack([0 * size, size, 0 * size], 1), rtol=1e-12)
    assert found.group.values.tolist() == ["day=0..0.03", "day=0.04..0.07", "day=0.08..0.11"]
    expected = xr.zeros_like(x)
    expected.loc[{"lead": "II"}] = (size**2).expand_dims(day=12).T.values * (np.arange(12) // 4 == 1)
    np.testing.assert_allclose(found.attribution, expected, rtol=1e-12, atol=0)


def test_settings():
    with pytest.raises(TypeError, match=r"rescales a method such as Saliency\(\), got <class"):
        ta.TemporalRescaling(ta.Saliency)
    with pytest.raises(ValueError, match="threshold is a quantile between 0 and 1, got 55"):
        ta.TemporalRescaling(ta.Saliency(), threshold=55)
    with pytest.raises(KeyError, match="no dim 'time' to work along"):
        ta.explain(relu_net(), X.rename(time="day"), ta.TemporalRescaling(ta.Saliency()), target=0)
    with pytest.raises(TypeError, match="TemporalRescaling needs gradients"):
        ta.explain(ta.models.on_arrays(lambda x: x.sum((1, 2))), X, ta.TemporalRescaling(ta.Saliency()))
    occlusion = ta.TemporalRescaling(ta.Occlusion(g.Along("lead")))
    assert ta.explain(ta.models.on_arrays(lambda x: (x**2).sum((1, 2))), X, occlusion).attribution.notnull().all()


def test_what_the_method_prepares_and_warns_of_is_kept():
    found = ta.explain(relu_net(), X, ta.TemporalRescaling(ta.GradCAM()), target=0)
    assert "GradCAM(layer='0', relu=True)" in found.attrs["method"]
    with pytest.warns(ta.ExplanationWarning, match="GuidedBackprop fails"):
        ta.explain(relu_net(), X, ta.TemporalRescaling(ta.GuidedBackprop()), target=0)


def test_trouble_with_a_removal_is_that_of_its_sample():
    model = lambda x: torch.log(x.sum((1, 2)).abs())  # noqa: E731 - nothing left: log 0
    x = np.array([[[1.0, 2.0]], [[4.0, 0.0]]])
    with pytest.warns(ta.ExplanationWarning, match="non-finite output: sample 1"):
        found = ta.explain(model, x, ta.TemporalRescaling(ta.Saliency(), g.Along("dim_2")))
    assert found.status.values.tolist() == ["ok", "non-finite output"]
    assert found.attribution[1].isnull().all()
    short = ta.IntegratedGradients(max_steps=3, tolerance=1e-9)
    with pytest.warns(ta.ExplanationWarning, match="not converged"):
        found = ta.explain(relu_net(), X, ta.TemporalRescaling(short), target=0)
    assert (found.status == "not converged").all()


def test_without_a_group_to_take_away_nothing_is_asked_for():
    x = X[:1].where(X.time == X.time[0])  # cells of one time, which is in no group
    label = xr.DataArray(np.where(X.time == X.time[0], -1, 0), dims="time")
    method = ta.TemporalRescaling(ta.Saliency(), g.Labelled(label), g.Labelled(label))
    ds = ta.explain(lambda r: torch.nan_to_num(r).sum((1, 2)), x, method)
    assert ds.attribution.isnull().all()
    assert ds.status.values.tolist() == ["ok"]


def test_a_rescaled_map_is_missing_where_the_map_is():
    times = np.arange(X.sizes["time"])
    label = xr.DataArray(np.where(times < 2, -1, times // 3), dims="time")
    method = ta.Occlusion(g.Labelled(label))
    f = lambda r: torch.tanh(r).sum((1, 2)) ** 2  # noqa: E731
    plain, found = (ta.explain(f, X, m).attribution for m in (method, ta.TemporalRescaling(method)))
    np.testing.assert_array_equal(found.isnull(), plain.isnull())


def test_times_that_are_equal_but_for_rounding_are_one():
    x = xr.DataArray([[[0.1 + 0.2, 0.3, 0.0]]], dims=("sample", "lead", "time"))
    f = lambda scale: lambda r: scale * (r**2).sum((1, 2)) / 2  # noqa: E731
    one, other = (
        ta.explain(f(c), x, ta.TemporalRescaling(ta.Saliency(), threshold=0.75)).attribution for c in (1.0, 3.0)
    )
    assert (one[0, 0, :2] > 0).all()
    np.testing.assert_allclose(other, 9 * one, rtol=1e-12)


@pytest.mark.parametrize("width", [1, 4])
def test_of_the_occlusion_of_all_it_is_wintsr_before_its_scaling(width):
    """Islam and Fox, arXiv 2412.04532: both relevances are moves of the output; by loops, over windows of one lead."""
    net = relu_net()
    f = lambda x: net(torch.as_tensor(x)[None])[0, 1].item()  # noqa: E731
    settings = {"groups": g.Along("time"), "features": g.Windows(time=width, lead=1), "threshold": 0.0}
    ds = ta.explain(net, X, ta.TemporalRescaling(ta.Occlusion(g.Windows(time=X.sizes["time"])), **settings), target=1)
    for found, x in zip(ds.attribution.values, X.values):
        expected = np.empty_like(x)
        for lead, t in np.ndindex(x.shape):
            no_time, no_window = x.copy(), x.copy()
            no_time[:, t] = 0
            no_window[lead, t - t % width : t - t % width + width] = 0
            expected[lead, t] = abs(f(x) - f(no_time)) * abs(f(x) - f(no_window))
        np.testing.assert_allclose(found / x.size**2, expected, rtol=1e-9, atol=1e-15)
