"""Every method, baseline and groups of the table of laws on the parts of a signal; evaluate, compare and pools as well."""

import numpy as np
import pytest
import torch
import xarray as xr

import tsattr as ta
from tsattr.testing.methods import MethodCase

from .. import test_laws as laws
from ..conftest import attention_net

g, b = ta.groups, ta.baselines
WHOLE, TRAIN = laws.X, laws.TRAIN
# Boundary and Projection are fitted with a network that takes the whole signal
pytestmark = pytest.mark.filterwarnings("ignore:GuidedBackprop fails weight-randomisation:tsattr.ExplanationWarning")
NAMES = [name for name in laws.METHODS if not name.endswith(("boundary", "projection"))]
FILLS = [name for name in laws.MAKERS if name not in ("boundary", "projection")]
KINDS = [name for name in laws.KINDS if name in NAMES]
IDLE = "its maps cover whole times, or the whole signal at a layer's resolution, whatever cell is used"
EXEMPT = {"grad-cam, signed": IDLE, "rescaled ig, windows": IDLE}


def one_part(x):
    return x.expand_dims(part=["all"], axis=1)


def three_parts(x):
    return ta.parts.bands(x, [(0, 12), (12, 30)])


class SumFirst(torch.nn.Module):
    """What `models.summed` makes of a module, as a module."""

    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, x):
        return self.net(x.sum(1))


@pytest.fixture
def table(monkeypatch):
    """The table of laws with its baselines fitted on parts that a function makes."""

    def made(parts):
        monkeypatch.setattr(laws, "X", parts(WHOLE))
        monkeypatch.setattr(laws, "TRAIN", parts(TRAIN))
        return laws.Made(laws.makers(lambda name: laws.MAKERS[name][0]()))

    return made


@pytest.mark.parametrize("name", NAMES)
def test_a_signal_that_is_its_only_part_is_explained_as_the_signal(name, table):
    expected = laws.answer(name)  # of the table as it is, before its data are parts
    method = table(one_part)[name]
    whole = laws.case(name)
    found = ta.explain(ta.models.summed(whole.model), one_part(whole.x), method, **whole.settings)
    found = found.isel({"part": 0} if "part" in found.dims else {}, drop=True)
    for variable in ("attribution", "prediction", "reference", "standard_error"):
        assert (variable in found) == (variable in expected)
        if variable in found:
            wanted = expected[variable]
            np.testing.assert_allclose(found[variable].transpose(*wanted.dims), wanted, rtol=1e-12, atol=1e-12)
    assert found.status.values.tolist() == expected.status.values.tolist()
    assert (found.model_evaluations == expected.model_evaluations).all()


@pytest.mark.slow
@pytest.mark.parametrize("name", KINDS)
def test_a_kind_of_method_keeps_its_laws_on_parts(name, table):
    net = attention_net() if name == "learned attention" else laws.NET
    method = table(three_parts)[name]
    idle = "an unused feature gets exactly nothing"
    exempt = {idle: EXEMPT[name]} if name in EXEMPT else {}
    case = MethodCase(method, SumFirst(net), three_parts(WHOLE), {"target": 1})
    assert case.answer.attribution.dims[:4] == ("sample", "part", "lead", "time")
    assert case.answer.status.values.tolist() == ["ok"] * len(WHOLE)
    ta.testing.check_method(method, SumFirst(net), three_parts(WHOLE), exempt=exempt, target=1)


@pytest.mark.parametrize("name", FILLS)
def test_a_baseline_keeps_its_laws_on_parts(name, table):
    table(three_parts)
    ta.testing.check_baseline(laws.MAKERS[name][0](), three_parts(WHOLE))


@pytest.mark.parametrize("groups", [*laws.GROUPS.values(), g.Along("part"), g.Windows(part=1, time="40ms")])
def test_groups_keep_their_laws_on_parts(groups):
    ta.testing.check_groups(groups, three_parts(WHOLE))


# ---- bands and windows together as players


@pytest.mark.parametrize(
    "method",
    [
        ta.ShapleySampling(g.Windows(part=1, time="40ms"), draws=8),
        ta.KernelShap(g.Windows(part=1, time="40ms"), draws=2),
    ],
)
def test_bands_and_windows_are_players_with_standard_errors(method):
    x = three_parts(WHOLE)
    ds = ta.explain(ta.models.summed(laws.NET), x, method, target=1)
    assert ds.sizes["group"] == 3 * 3  # of 12 cells 10 ms apart
    assert ds.group.values[0] == "part=0-12 Hz, time=0..0.03"
    np.testing.assert_allclose(ds.group_value.sum("group"), ds.prediction - ds.reference, atol=1e-9)
    assert "group_standard_error" in ds
    assert np.isfinite(ds.group_standard_error).all()


def test_shapley_values_of_bands_and_windows_are_those_of_all_orders():
    x = three_parts(WHOLE)[:1]
    groups = g.Windows(part=1, time="60ms")  # six players
    ds = ta.explain(ta.models.summed(laws.NET), x, ta.KernelShap(groups, coalitions=64), target=1)
    players = [(k, w) for k in range(3) for w in range(2)]
    value = {}
    for size in range(64):
        kept = xr.zeros_like(x)
        for bit, (part, window) in enumerate(players):
            if size >> bit & 1:
                at = {"part": part, "time": slice(6 * window, 6 * window + 6)}
                kept[at] = x[at]
        value[size] = laws.NET(torch.as_tensor(kept.sum("part").values))[0, 1].item()
    for bit in range(6):
        total = 0.0
        for size in range(64):
            if not size >> bit & 1:
                s = size.bit_count()
                weight = np.prod(range(1, s + 1)) * np.prod(range(1, 6 - s)) / 720
                total += weight * (value[size | 1 << bit] - value[size])
        assert float(ds.group_value[0, bit]) == pytest.approx(total, abs=1e-9)


# ---- evaluate, compare, pools


def test_maps_of_parts_are_evaluated_and_compared():
    x, model = three_parts(WHOLE), ta.models.summed(laws.NET)
    ds = ta.explain(model, x, ta.IntegratedGradients(), target=1)
    scores = ta.evaluate(model, x, ds, target=1, groups=g.Along("part"), truth=x.part == "0-12 Hz")
    assert {"deletion", "insertion", "auroc"} <= set(scores)
    assert np.isfinite(scores.deletion).all()
    methods = {"IG": ta.IntegratedGradients(), "occlusion": ta.Occlusion(g.Windows(part=1, time=4))}
    table = ta.compare(model, x, methods, target=1, resamples=50)
    assert {"IG", "occlusion"} <= set(table.method.values.tolist())


def test_parts_of_fields_are_pooled_with_their_labels():
    rng = np.random.default_rng(0)
    time = np.arange("2001-01", "2005-01", dtype="M8[M]").astype("M8[ns]")
    coords = {"time": time, "lat": [-30.0, 0.0, 45.0], "lon": [0.0, 90.0, 180.0, 270.0]}
    x = xr.DataArray(rng.normal(size=(6, 48, 3, 4)), dims=("sample", "time", "lat", "lon"), coords=coords)
    parts = ta.parts.bands(x, [(None, "18 months"), ("18 months", "6 months")])
    model = ta.models.summed(lambda x: x[:, -12:].mean((1, 2, 3)))
    ds = ta.explain(model, parts, ta.InputXGradient())
    mean = (
        ta.climate.Pool(blocks=1).update(ds[{"sample": slice(4)}]).update(ds[{"sample": slice(4, 6)}]).result()["mean"]
    )
    assert mean.dims == ("part", "time", "lat", "lon")
    assert mean.part.values.tolist() == ["over 18 months", "18 months-6 months", "rest"]
    whole = ta.explain(lambda x: x[:, -12:].mean((1, 2, 3)), x, ta.InputXGradient()).attribution
    np.testing.assert_allclose(mean.sum("part"), whole.mean("sample"), atol=1e-12)


def test_winit_credits_the_parts_of_a_series_at_every_time():
    x = three_parts(WHOLE)
    model = lambda x: x.sum(1).cumsum(-1).tanh()[..., None]  # noqa: E731 - (rows, time, one output)
    method = ta.WinIT(3, b.Constant(0.0), draws=1)
    settings = {"target": 0, "outputs": {"time": None, "class": ["risk"]}}
    ds = ta.explain(ta.models.summed(model), x, method, **settings)
    assert ds.attribution.dims == ("sample", "part", "lead", "time", "lag")
    alone = ta.explain(ta.models.summed(model), one_part(WHOLE), method, **settings)
    whole = ta.explain(model, WHOLE, method, **settings)
    np.testing.assert_allclose(alone.attribution[:, 0], whole.attribution, atol=1e-12)
