import numpy as np
import pytest
import torch
import xarray as xr
from torch import nn

import tsattr as ta

from ..conftest import attention_net, recurrent_net, relu_net, seeded, signals

X = signals()


def explained(net, x=X, **settings):
    return ta.explain(net, x, ta.LearnedAttention(settings.pop("layer", None)), target=0, **settings)


# ---- the map, and where it lies


@pytest.mark.parametrize(("stride", "padding"), [(1, 2), (2, 2), (3, 0), (4, 1)])
def test_the_map_lies_at_the_centres_of_the_features_cells(stride, padding):
    net = seeded(lambda: ta.LFICAM(nn.Sequential(nn.Conv1d(2, 4, 5, stride, padding), nn.ReLU()), classes=2))
    x = torch.randn(5, 2, 60, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    coarse = net.attention(net.trunk(x), x).detach().numpy()
    at = 2 - padding + stride * np.arange(coarse.shape[1])  # of a kernel of five
    found = explained(net, x.numpy()).attribution
    for k in range(5):
        for lead in range(2):
            np.testing.assert_allclose(found[k, lead], np.interp(np.arange(60), at, coarse[k]), rtol=0, atol=1e-12)


@pytest.mark.parametrize("stride", [1, 3])
def test_a_bump_comes_out_where_it_is(stride):
    net = seeded(lambda: ta.LFICAM(nn.Conv1d(1, 1, 7, stride, padding=3, bias=False), classes=2))
    with torch.no_grad():
        net.trunk.weight.fill_(1 / 7)
    t, places = np.arange(200), np.array([71.0, 100.0, 113.5])
    x = xr.DataArray(np.exp(-0.5 * ((t - places[:, None]) / 5) ** 2)[:, None], dims=("sample", "lead", "time"))
    found = explained(net, x).attribution.isel(lead=0)
    np.testing.assert_allclose((found * t).sum("time") / found.sum("time"), places, rtol=0, atol=0.01)


def test_fields_in_two_dimensions_whatever_the_order_of_dims():
    net = seeded(lambda: ta.LFICAM(nn.Conv2d(2, 3, 3, stride=2, padding=1), classes=2))
    x = xr.DataArray(np.random.default_rng(0).normal(size=(2, 2, 8, 10)), dims=("sample", "level", "lat", "lon"))
    rows = torch.as_tensor(x.values)
    coarse = net.attention(net.trunk(rows), rows).detach().numpy()
    found = explained(net, x).attribution
    np.testing.assert_allclose(found[:, 1, ::2, ::2], coarse, rtol=0, atol=1e-12)
    np.testing.assert_allclose(found[:, 0, ::2, 1:-1:2], (coarse[..., :-1] + coarse[..., 1:]) / 2, rtol=0, atol=1e-12)

    class Turned(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = net

        def forward(self, x):
            return self.net(x.permute(0, 3, 2, 1))

    turned = explained(Turned(), x.transpose("sample", "lon", "lat", "level")).attribution
    xr.testing.assert_allclose(turned.transpose(*found.dims), found, rtol=0, atol=1e-12)


def test_features_that_see_everything_are_spread_over_the_axis_that_holds_them():
    """Time before leads: thirty cells are no leads."""

    class Turned(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = ta.LFICAM(nn.Sequential(nn.Conv1d(3, 4, 3, padding=1), nn.GroupNorm(1, 4), nn.ReLU()), classes=2)

        def forward(self, x):
            return self.net(x.transpose(1, 2))

    net = seeded(Turned)
    x = torch.randn(3, 30, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    turned = x.transpose(1, 2)
    expected = net.net.attention(net.net.trunk(turned), turned).detach().numpy()
    for lead in range(3):
        np.testing.assert_allclose(explained(net, x.numpy()).attribution[:, :, lead], expected, rtol=0, atol=1e-12)
    cam = ta.explain(net, x.numpy(), ta.GradCAM("net.trunk.2"), target=0).attribution
    assert (cam.std("dim_2") < 1e-12).all()
    assert (cam.std("dim_1") > 1e-4).any()


class Attending(nn.Module):
    """Attention of other kinds: a softmax over time with and without an axis of channels, a gate, a mask of cells."""

    def __init__(self, kind):
        super().__init__()
        self.kind = kind
        self.body = nn.Conv1d(3, 4, 3, stride=2, padding=1)
        self.score = nn.Conv1d(4, 1, 1)
        self.weight = {"gate": nn.Sigmoid, "mask": nn.Tanh}.get(kind, lambda: nn.Softmax(-1))()
        self.head = nn.Linear(4, 2)

    def forward(self, x):
        if self.kind == "mask":
            x = x * self.weight(x)
        f = self.body(x)
        score = self.score(f)
        if self.kind == "softmax":
            f = f * self.weight(score[:, 0])[:, None]
        elif self.kind != "mask":
            f = f * self.weight(score)
        return self.head(f.sum(2))


@pytest.mark.parametrize("kind", ["softmax", "softmax of one channel", "gate"])
def test_the_attention_of_any_module_is_read(kind):
    net = seeded(lambda: Attending(kind))
    a = net.score(net.body(torch.as_tensor(X.values)))[:, 0]
    a = (a.sigmoid() if kind == "gate" else a.softmax(1)).detach().numpy()
    found = explained(net, layer="weight").attribution
    expected = np.stack([np.interp(np.arange(12), 2 * np.arange(6), m) for m in a])
    np.testing.assert_allclose(found.transpose("lead", ...), np.stack([expected] * 3), rtol=0, atol=1e-12)


def test_a_mask_of_cells_tells_leads_apart():
    found = explained(seeded(lambda: Attending("mask")), layer="weight").attribution
    np.testing.assert_allclose(found, np.tanh(X.values), rtol=0, atol=1e-12)


def test_features_that_see_everything_are_spread_evenly():
    """Normalised over the sample in the trunk, in one dim and in two."""
    for conv, event in ((nn.Conv1d, (2, 24)), (nn.Conv2d, (2, 8, 12))):
        trunk = nn.Sequential(conv(2, 4, 3, stride=2, padding=1), nn.GroupNorm(1, 4), nn.ReLU())
        net = seeded(lambda trunk=trunk: ta.LFICAM(trunk, classes=2))
        x = torch.randn(3, *event, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        expected = net.attention(net.trunk(x), x).detach().numpy()
        found = explained(net, x.numpy()).attribution.values
        for axis in range(2, 1 + len(event)):  # cells of two lie at 0.5, 2.5, ...
            expected = np.apply_along_axis(
                lambda m, n=event[axis - 1]: np.interp(np.arange(n), 2 * np.arange(len(m)) + 0.5, m), axis - 1, expected
            )
        np.testing.assert_allclose(found[:, 0], expected, rtol=0, atol=1e-12)


# ---- what it says of itself


def test_it_is_the_same_for_every_target_and_has_no_units():
    net = attention_net()
    outputs = xr.DataArray(np.zeros(3), {"class": ["a", "b", "c"]}, attrs={"units": "mm"})
    ds = ta.explain(net, X, ta.LearnedAttention(), target=["a", "c"], outputs=outputs)
    assert ds.attrs["method"] == "LearnedAttention(layer='attention')"
    xr.testing.assert_identical(ds.attribution.isel(target=0, drop=True), ds.attribution.isel(target=1, drop=True))
    assert ds.attribution.attrs["long_name"] == "attribution of the model, the same for every target"
    assert "units" not in ds.attribution.attrs
    assert (ds.attribution.min(), ds.attribution.max()) == (0, 1)
    occluded = ta.explain(net, X, ta.Occlusion(ta.groups.Along("lead")), target="a", outputs=outputs)
    assert occluded.attribution.attrs["units"] == ds.prediction.attrs["units"] == "mm"


def test_pictures_and_reports_do_not_say_that_it_speaks_for_the_target(tmp_path):
    ds = explained(attention_net())
    page = ta.report.report(ds, X)
    assert "Orange is where the model reads more, whatever the target" in page
    assert "speaks for the target" not in page
    assert "not what speaks for its answer" in page
    words = [ax.get_xlabel() for ax in ta.plot.ecg(X[0], ds.attribution[0]).axes]
    assert any("the model's own map, without units, the same for every target" in w for w in words)
    ta.io.write_netcdf(ds, tmp_path / "map.nc")
    xr.testing.assert_identical(xr.load_dataset(tmp_path / "map.nc").attribution, ds.attribution)
    assert "Orange speaks for the target" in ta.report.report(ta.explain(attention_net(), X, ta.GradCAM(), target=0), X)


def test_the_target_needs_no_gradient():
    net = attention_net()

    class Decides(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = net

        def forward(self, x):
            return nn.functional.one_hot(self.net(x).argmax(1), 3)

    expected = explained(net).attribution
    np.testing.assert_array_equal(explained(Decides()).attribution, expected)


def test_a_map_that_is_not_finite_is_no_map():
    class Fails(nn.Module):
        def __init__(self):
            super().__init__()
            self.map = nn.Identity()
            self.body = nn.Conv1d(3, 1, 1)

        def forward(self, x):
            a = self.map(self.body(x).log())
            return torch.nan_to_num(a).sum(2)

    net = seeded(Fails)
    with torch.no_grad():
        net.body.weight.zero_()
        net.body.weight[0, 0] = 1.0
        net.body.bias.zero_()
    x = abs(X)
    x[1, 0, 3] = -1.0
    with pytest.warns(ta.ExplanationWarning, match="non-finite output: sample p1"):
        found = explained(net, x, layer="map")
    assert found.status.values.tolist() == ["ok", "non-finite output", "ok", "ok"]
    assert found.attribution[1].isnull().all()
    assert found.attribution[[0, 2, 3]].notnull().all()


def test_invalid_cells_get_nan():
    valid = xr.DataArray(np.arange(12) < 7, dims="time")
    found = explained(attention_net(), valid=valid).attribution
    np.testing.assert_array_equal(found.isnull(), (~valid).broadcast_like(X))
    xr.testing.assert_identical(found.isel(time=slice(7)), explained(attention_net()).attribution.isel(time=slice(7)))


def test_it_goes_into_comparisons_and_rescaling():
    net = attention_net()
    methods = {"attention": ta.LearnedAttention(), "rescaled": ta.TemporalRescaling(ta.LearnedAttention())}
    table = ta.compare(net, X, methods, target=0, resamples=5, steps=3)
    assert np.isfinite(table.score.sel(measure="gap")).all()


# ---- what is refused


class Twice(nn.Module):
    def __init__(self):
        super().__init__()
        self.score, self.weight, self.never = nn.Conv1d(3, 1, 3, padding=1), nn.Sigmoid(), nn.Sigmoid()
        self.apart = nn.Sigmoid()

    def forward(self, x):
        a = self.score(x)
        self.apart(a.detach())
        return (self.weight(a) * x + self.weight(-a)).sum(2)


def two():
    return nn.Sequential(attention_net(), nn.Unflatten(1, (1, 3)), ta.LFICAM(nn.Conv1d(1, 2, 1), 2).double().eval())


@pytest.mark.parametrize(
    ("net", "layer", "error", "match"),
    [
        (
            relu_net,
            None,
            KeyError,
            r"finds no attention, as of an LFICAM, in Sequential; name the module that gives the map",
        ),
        (two, None, KeyError, r"finds several attentions in Sequential; .* of \['0.attention', '2.attention'\]"),
        (attention_net, "atention", KeyError, r"finds no layer 'atention' in LFICAM; .* of \['attention'\]"),
        (
            attention_net,
            "trunk",
            ValueError,
            "'trunk' gives a map with an axis of 5 that follows no axis of the input, as channels",
        ),
        (attention_net, "trunk.0", ValueError, "with an axis of 5 that follows no axis of the input"),
        (
            attention_net,
            "attention.importance.1",  # of which every cell sees all of the sample
            ValueError,
            "with an axis of 5 that follows no axis of the input",
        ),
        (recurrent_net, "gru", ValueError, r"gives tuple for 8 rows; LearnedAttention needs \(rows, 1, positions...\)"),
        (lambda: seeded(Twice), "weight", ValueError, "'weight' is used 2 times for one prediction"),
        (lambda: seeded(Twice), "never", ValueError, "'never' is not called for a prediction"),
        (lambda: seeded(Twice), "apart", ValueError, "'apart' has no gradient: it does not depend on the input"),
        (
            lambda: lambda x: attention_net()(x),
            None,
            TypeError,
            "a plain callable",
        ),
        (
            lambda: torch.compile(attention_net(), backend="eager"),
            None,
            TypeError,
            "LearnedAttention reads a layer .* torch.compile",
        ),
    ],
)
def test_what_has_no_map_is_refused_and_no_hook_stays(net, layer, error, match):
    model = net()
    with pytest.raises(error, match=match):
        explained(model, layer=layer)
    if isinstance(model, nn.Module):
        assert not any(m._forward_hooks for m in model.modules())


def test_several_variables_are_refused():
    with pytest.raises(TypeError, match="LearnedAttention explains an input of one variable, got 2"):
        explained(attention_net(), xr.Dataset({"a": X, "b": X.isel(lead=0, drop=True)}))
