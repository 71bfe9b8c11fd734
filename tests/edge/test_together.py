"""An ensemble asked as one model, for a target of all its members together."""

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr
from scipy.special import softmax
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from torch import nn

import tsattr as ta
from tsattr import demo
from tsattr.core.axes import Axes
from tsattr.core.preserve import temporary_hooks
from tsattr.testing.methods.state import state_of

from ..conftest import recurrent_net, relu_net, seeded, signals
from ..test_laws import assert_same

X = signals()
U = ta.targets.Uncertainty
b, g = ta.baselines, ta.groups
RNG = np.random.default_rng(0)


def unlike(make, seed):
    """A network with weights of its own."""
    net = make()
    numbers = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in net.parameters():
            p.add_(0.3 * torch.randn(p.shape, generator=numbers, dtype=p.dtype))
    return net


class Stacked(nn.Module):
    """What a user writes who stacks members himself."""

    def __init__(self, members):
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(self, x):
        return torch.stack([m(x) for m in self.members], 1)


NETS = [unlike(relu_net, seed) for seed in range(3)]
ALL = ta.models.Ensemble(NETS)
LEADS = g.Along("lead")
METHODS = {
    "saliency": ta.Saliency(),
    "smoothgrad": ta.SmoothGrad(draws=3),
    "guided": ta.GuidedBackprop(),
    "ig": ta.IntegratedGradients(b.Constant(0.1)),
    "expected gradients": ta.IntegratedGradients(b.Uniform(-1.0, 1.0), steps=1, draws=4),
    "occlusion": ta.Occlusion(g.Windows(time=5, step=3, lead=1), b.Bridge()),
    "shapley": ta.ShapleySampling(LEADS, b.Uniform(-1.0, 1.0), draws=3),
    "kernel shap": ta.KernelShap(LEADS, b.Constant(0.0), 20),
    "rescaled": ta.TemporalRescaling(ta.Saliency()),
    "winit": ta.WinIT(3, draws=1, predictions="last"),
    "feature occlusion": ta.FeatureOcclusion(b.Uniform(-1.0, 1.0), draws=2, predictions="last"),
}
TARGETS = [U(), U("mutual_information"), U("variance", 1)]
pytestmark = pytest.mark.filterwarnings("ignore:GuidedBackprop fails weight-randomisation:tsattr.ExplanationWarning")


@pytest.mark.parametrize("name", METHODS)
def test_every_method_explains_members_together_as_a_model_that_stacks_them(name):
    ds = ta.explain(ALL, X, METHODS[name], target=TARGETS)
    stacked = ta.explain(Stacked(NETS), X, METHODS[name], target=TARGETS, outputs=("member", "class"))
    assert_same(ds, stacked)
    assert (ds.status == "ok").all()
    assert ds.attrs["members"] == "0, 1, 2"
    assert "predicted" not in ds
    with torch.no_grad():
        p = softmax(np.stack([net(torch.as_tensor(X.values)) for net in NETS], 1), -1)
    mean = p.mean(1)
    np.testing.assert_allclose(ds.prediction[:, 0], -(mean * np.log(mean)).sum(-1), rtol=1e-12)


@pytest.mark.parametrize("name", ["ig", "occlusion", "shapley"])
@pytest.mark.parametrize("target", TARGETS)
def test_the_laws_of_methods_hold_for_uncertainty(name, target):
    members = Stacked(NETS).eval()
    method = ta.IntegratedGradients(steps=5) if name == "ig" else METHODS[name]
    ta.testing.check_method(method, members, X, target=target, outputs=("member", "class"))


def test_batches_order_company_and_threads_change_nothing():
    def run(x=X, **settings):
        return ta.explain(ALL, x, METHODS["expected gradients"], target=U("mutual_information"), **settings)

    usual = run()
    for size in (1, 3, 1000):
        assert_same(run(batch_size=size), usual)
    assert_same(run(X[::-1])[{"sample": slice(None, None, -1)}], usual)
    singles = xr.concat([run(X[[i]]) for i in range(4)], "sample")
    assert_same(singles, usual)


def test_passes_of_dropout_share_their_masks_over_rows():
    net = seeded(lambda: nn.Sequential(nn.Flatten(), nn.Linear(36, 20), nn.Tanh(), nn.Dropout(0.5), nn.Linear(20, 3)))
    run = lambda x=X, seed=0, **kw: ta.explain(  # noqa: E731
        ta.models.dropout(net, 6, seed), x, ta.IntegratedGradients(steps=4), target=U("mutual_information"), **kw
    )
    usual = run()
    assert_same(run(batch_size=1), usual)
    assert_same(run(X[[2]]), usual.isel(sample=[2]))
    assert not np.allclose(run(seed=1).attribution, usual.attribution)
    by_hand = [m(torch.as_tensor(X.values)).detach() for m in ta.models.dropout(net, 6).members]
    p = softmax(np.stack(by_hand, 1), -1)
    kl = (p * np.log(p / p.mean(1, keepdims=True))).sum(-1).mean(1)
    np.testing.assert_allclose(usual.prediction, kl, rtol=1e-10)


def test_evaluate_and_compare_take_members_together():
    given = {"target": U("mutual_information")}
    methods = {"ig": METHODS["ig"], "occlusion": METHODS["occlusion"]}
    table = ta.compare(ALL, X, methods, steps=4, subsets=4, resamples=50, **given)
    same = ta.compare(Stacked(NETS), X, methods, steps=4, subsets=4, resamples=50, outputs=("member", "class"), **given)
    xr.testing.assert_allclose(table.drop_vars("seconds"), same.drop_vars("seconds"), rtol=1e-9)
    scores = ta.evaluate(ALL, X, ta.explain(ALL, X, METHODS["ig"], **given), steps=4, subsets=4, **given)
    np.testing.assert_allclose(scores.gap, table.gap.sel({"method": "ig"}), rtol=1e-9)
    with pytest.raises(TypeError, match=r"only explain takes an Ensemble.*but for a target of all members together"):
        ta.evaluate(ALL, X, X, target=1)


def test_members_that_agree_have_a_map_of_nothing_and_no_warning():
    ds = ta.explain(ta.models.Ensemble([NETS[0]] * 3), X, METHODS["ig"], target=[U("mutual_information"), U()])
    assert (ds.status == "ok").all()
    assert (ds.attribution[..., 0] == 0).all()
    assert (ds.attribution[..., 1] != 0).any()


def test_several_seeds_and_a_dry_run():
    method = METHODS["expected gradients"]
    ds = ta.explain(ALL, X, method, target=U(), seed=[0, 1])
    each = [ta.explain(ALL, X, method, target=U(), seed=s) for s in (0, 1)]
    np.testing.assert_allclose(ds.attribution, sum(r.attribution for r in each) / 2, rtol=0, atol=1e-12)
    cost = ta.explain(ALL, X, method, target=U(), dry_run=True)
    np.testing.assert_array_equal(cost.model_evaluations, each[0].model_evaluations)
    assert cost.attrs["rows"] == each[0].model_evaluations.sum() + each[0].attrs["trial_rows"]


def test_a_named_target_and_a_difference_of_parts():
    ds = ta.explain(ALL, X, METHODS["ig"], target={"model": U("mutual_information"), "data": U("expected_entropy")})
    assert ds.target.values.tolist() == ["model", "data"]
    less = ta.explain(ALL, X, METHODS["ig"], target=ta.targets.Difference(U(), U("expected_entropy")))
    np.testing.assert_allclose(less.prediction, ds.prediction.sel(target="model"), rtol=0, atol=1e-12)


def test_targets_of_each_and_of_all_are_refused_in_one_call():
    with pytest.raises(
        ValueError, match=r"of the members together and Output\(1\) of each by itself: explain them in two"
    ):
        ta.explain(ALL, X, METHODS["ig"], target=[1, U()])
    both = ta.explain(  # a model that stacks its members says where
        Stacked(NETS),
        X,
        METHODS["saliency"],
        target=[ta.targets.Output(member=0, **{"class": 1}), U()],
        outputs=("member", "class"),
    )
    alone = ta.explain(NETS[0], X, METHODS["saliency"], target=1)
    np.testing.assert_allclose(both.attribution[..., 0], alone.attribution, rtol=0, atol=1e-12)


# ---- states, devices, kinds of models


def test_every_member_is_left_as_it_was_also_after_an_error():
    nets = [unlike(relu_net, seed).train() for seed in range(2)]
    nets[1].eval()
    before = [state_of(net) for net in nets]

    def same():
        for net, (tensors, modes) in zip(nets, before):
            now = state_of(net)
            assert all(torch.equal(tensor, now[0][name]) for name, tensor in tensors.items())
            assert modes == now[1]

    ta.explain(ta.models.Ensemble(nets), X, METHODS["ig"], target=U())
    same()

    def broken(module, inputs):
        raise ArithmeticError("fails")

    hook = nets[1].register_forward_pre_hook(broken)
    with pytest.raises(ArithmeticError, match="fails") as error:
        ta.explain(ta.models.Ensemble({"one": nets[0], "two": nets[1]}), X, METHODS["ig"], target=U())
    hook.remove()
    same()
    assert "This was member 'two' of the ensemble." in error.value.__notes__


def test_a_member_that_is_not_finite_is_a_status():
    bad = lambda x: torch.where(x[:, :1, 0] > 0, torch.nan, NETS[0](x))  # noqa: E731
    with pytest.warns(ta.ExplanationWarning, match="non-finite output"):
        ds = ta.explain(ta.models.Ensemble([NETS[1], bad]), X, METHODS["saliency"], target=U())
    ill = (X[:, 0, 0] > 0).values
    assert ill.any()
    assert not ill.all()
    assert ds.status.values.tolist() == ["non-finite output" if i else "ok" for i in ill]


def test_dtypes_devices_and_calls_without_gradients_together():
    numpy = ta.models.on_arrays(lambda x: NETS[0](torch.as_tensor(x)).detach().numpy())
    ds = ta.explain(ta.models.Ensemble([numpy, NETS[1], NETS[2]]), X, METHODS["occlusion"], target=U())
    assert_same(ds, ta.explain(ALL, X, METHODS["occlusion"], target=U()))
    with pytest.raises(TypeError, match="needs gradients"):
        ta.explain(ta.models.Ensemble([numpy, NETS[1]]), X, METHODS["ig"], target=U())
    single = [unlike(relu_net, seed).float() for seed in range(3)]
    ds = ta.explain(ta.models.Ensemble(single), X.astype("float32"), METHODS["ig"], target=U())
    assert ds.attribution.dtype == np.float32
    np.testing.assert_allclose(ds.attribution, ta.explain(ALL, X, METHODS["ig"], target=U()).attribution, atol=1e-5)
    with pytest.raises(TypeError, match="x is float64, the model's parameters are float32"):
        ta.explain(ta.models.Ensemble([single[0], single[1]]), X, METHODS["ig"], target=U())


def test_members_that_squeeze_the_output_of_one_row():
    members = [lambda x, k=k: (k * x.sum((1, 2), keepdim=True)).squeeze() for k in (1.0, 2.0, 4.0)]
    ds = ta.explain(ta.models.Ensemble(members), X, ta.InputXGradient(), target=U("variance"), batch_size=1)
    spread = np.var([1.0, 2.0, 4.0]) * X.sum(("lead", "time")) ** 2
    np.testing.assert_allclose(ds.prediction, spread, rtol=1e-12)
    squeezed = ta.models.Ensemble([lambda x, net=net: net(x).squeeze() for net in NETS])  # (classes,) of one row
    ds = ta.explain(squeezed, X, METHODS["ig"], target=TARGETS, batch_size=1)
    assert_same(ds, ta.explain(ALL, X, METHODS["ig"], target=TARGETS, batch_size=1))


def test_members_of_other_shapes_labels_and_scales_are_refused():
    other = lambda x: NETS[0](x)[:, :2]  # noqa: E731
    with pytest.raises(ValueError, match=r"different shapes for \d+ rows: '0' \(\d, 3\), '1' \(\d, 2\)"):
        ta.explain(ta.models.Ensemble([NETS[0], other]), X, METHODS["ig"], target=U())
    with pytest.raises(TypeError, match="the model must return one tensor, got tuple") as error:
        ta.explain(ta.models.Ensemble([NETS[0], lambda x: (x, x)]), X, METHODS["ig"], target=U())
    assert "This was member '1' of the ensemble." in error.value.__notes__
    with pytest.raises(ValueError, match="'member', which is that of the ensemble's members"):
        ta.explain(ALL, X, METHODS["ig"], target=U(), outputs=("member",))
    with pytest.raises(TypeError, match="x is float64, the model's parameters are float32"):
        ta.explain(ta.models.Ensemble([NETS[0], unlike(relu_net, 1).float()]), X, METHODS["ig"], target=U())
    with pytest.raises(TypeError, match="member '1' is itself an Ensemble; give all of their members"):
        ta.models.Ensemble([NETS[0], ALL])
    with pytest.raises(TypeError, match="LearnedAttention reads a layer of one network"):
        ta.explain(ALL, X, ta.LearnedAttention(), target=U())


@pytest.mark.parametrize("kind", ["mutual_information", "entropy", "expected_entropy"])
@pytest.mark.parametrize("dropped", [False, True])
def test_grad_cam_of_members_together_is_the_sum_over_their_layers(kind, dropped):
    def network(seed):
        torch.manual_seed(seed)
        layers = [torch.nn.Conv1d(3, 5, 3, padding=1), torch.nn.ReLU(), torch.nn.Dropout(0.4 * dropped)]
        return torch.nn.Sequential(*layers, torch.nn.AdaptiveAvgPool1d(1), torch.nn.Flatten(), torch.nn.Linear(5, 3))

    nets = [network(k).double().eval() for k in range(3)]
    model = ta.models.dropout(nets[0], passes=4) if dropped else ta.models.Ensemble(nets)
    ds = ta.explain(model, X, ta.GradCAM(relu=False), target=U(kind))
    rows = torch.as_tensor(X.transpose("sample", "lead", "time").values)
    layers = []

    def keep(module, inputs, output):
        layers.append(output)
        output.retain_grad()

    with temporary_hooks(*((net[0], net[0].register_forward_hook, keep) for net in nets)):
        logits = [member(rows) for member in model.members]
    bound = U(kind).bind(Axes(("member", "class"), (len(logits), 3)))
    y = torch.stack(logits, 1)
    bound(y, y).sum().backward()
    slow = sum((a.grad.mean(2, keepdim=True) * a).sum(1) for a in layers)
    np.testing.assert_allclose(ds.attribution.transpose("sample", "lead", "time")[:, 0], slow.detach(), atol=1e-12)
    named = ta.explain(model, X, ta.GradCAM("0", relu=False), target=U(kind))
    assert_same(named.drop_attrs(), ds.drop_attrs())
    both = ta.explain(model, X, ta.GradCAM(relu=False), target=[U(kind), U("entropy")])
    np.testing.assert_allclose(both.attribution[..., 0], ds.attribution, atol=1e-12)


def test_grad_cam_of_networks_of_other_kinds_is_refused():
    short = torch.nn.Sequential(torch.nn.Conv1d(3, 4, 5, 2), torch.nn.Flatten(), torch.nn.LazyLinear(3)).double()
    short(torch.zeros(1, 3, X.sizes["time"], dtype=torch.float64))
    long = torch.nn.Sequential(torch.nn.Conv1d(3, 4, 3), torch.nn.Flatten(), torch.nn.LazyLinear(3)).double()
    long(torch.zeros(1, 3, X.sizes["time"], dtype=torch.float64))
    with pytest.raises(ValueError, match=r"positions in one network of the ensemble and .* in another"):
        ta.explain(ta.models.Ensemble([short, long]), X, ta.GradCAM(), target=U())


def test_one_network_of_a_reference_grad_cam_and_pools():
    entropy = ta.explain(NETS[0], X, ta.GradCAM(), target=U())
    assert (entropy.attribution >= 0).all()
    assert (entropy.attribution.max(("lead", "time")) > 0).any()
    clean = signals(40, seed=3)
    shifts = [
        ta.explain(model, X, ta.Occlusion(LEADS), target=U(), reference=clean, **given)["shift"]
        for model, given in ((ALL, {}), (Stacked(NETS), {"outputs": ("member", "class")}))
    ]
    xr.testing.assert_allclose(*shifts, rtol=1e-12)
    pool = ta.climate.pooled(ALL, X, ta.InputXGradient(), target=U(), chunk=3).result()
    expected = abs(ta.explain(ALL, X, ta.InputXGradient(), target=U()).attribution).mean("sample")
    np.testing.assert_allclose(pool.mean_absolute, expected, rtol=1e-6)


@pytest.fixture
def patients():
    n = 60
    age, ward = RNG.normal(60, 10, n), RNG.choice(["icu", "home"], n)
    x = pd.DataFrame({"age": age, "dose": RNG.normal(size=n), "ward": ward})
    return x, np.where(0.2 * (age - 60) + 2 * (ward == "icu") + RNG.normal(size=n) > 1, "died", "lived")


def test_pipelines_on_tables(patients):
    x, y = patients
    halves = [np.arange(len(x)) % 3 != k for k in range(3)]
    make = lambda: make_pipeline(OneHotEncoder(handle_unknown="ignore"), LogisticRegression())  # noqa: E731
    pipes = [make().fit(x[["ward"]].assign(old=x.age > 60 + k)[at], y[at]) for k, at in enumerate(halves)]
    table = x[["ward"]].assign(old=x.age > 60)
    ds = ta.explain(ta.models.Ensemble(pipes), table, ta.Occlusion(g.Cells(), b.Mode.fit(table)), target=U())
    p = np.stack([pipe.predict_proba(table) for pipe in pipes], 1).mean(1)
    np.testing.assert_allclose(ds.prediction, -(p * np.log(p)).sum(1), rtol=1e-12)
    changed = table.assign(ward=table.ward.mode()[0])
    q = np.stack([pipe.predict_proba(changed) for pipe in pipes], 1).mean(1)
    loss = -(p * np.log(p)).sum(1) + (q * np.log(q)).sum(1)
    np.testing.assert_allclose(ds.attribution.sel(feature="ward"), loss, rtol=0, atol=1e-12)
    died = U("variance", ta.targets.Probability("died"))
    ds = ta.explain(ta.models.Ensemble(pipes), table, ta.Occlusion(g.Cells(), b.Mode.fit(table)), target=died)
    spread = np.stack([pipe.predict_proba(table)[:, 0] for pipe in pipes]).var(0)
    np.testing.assert_allclose(ds.prediction, spread, rtol=0, atol=1e-14)


def test_kinds_of_estimators_together(patients):
    x, y = patients[0][["age", "dose"]], patients[1]
    kinds = [LogisticRegression(), RandomForestClassifier(5, random_state=0)]
    both = ta.models.Ensemble([make_pipeline(StandardScaler(), m).fit(x, y) for m in kinds])
    ds = ta.explain(both, x, ta.Occlusion(g.Cells(), b.Typical.fit(x)), target=[U(), U("mutual_information")])
    assert (ds.prediction >= 0).all()
    values = LinearRegression().fit(x, y == "died")
    with pytest.raises(ValueError, match="give probability and value; give models of one kind"):
        ta.explain(ta.models.Ensemble([both.members[0], values]), x, ta.Occlusion(g.Cells()), target=U())
    turned = LogisticRegression().fit(x, np.where(y == "died", "yes", "no"))
    with pytest.raises(ValueError, match="members '0' and '1' of the ensemble label their outputs otherwise"):
        ta.explain(ta.models.Ensemble([both.members[0], turned]), x, ta.Occlusion(g.Cells()), target=U())
    lines = [LinearRegression().fit(x[k::2], (y == "died")[k::2]) for k in (0, 1)]
    ds = ta.explain(ta.models.Ensemble(lines), x, ta.Occlusion(g.Cells(), b.Typical.fit(x)), target=U("variance"))
    np.testing.assert_allclose(ds.prediction, np.stack([m.predict(x) for m in lines]).var(0), rtol=0, atol=1e-12)


def test_several_variables_context_and_padding():
    row = xr.DataArray(RNG.normal(size=(4, 2)), dims=("sample", "vital"))
    members = [lambda ecg, row, k=k: k * ecg.mean((1, 2)) + row.sum(1) for k in (1.0, 3.0)]
    ds = ta.explain(
        ta.models.Ensemble(members), xr.Dataset({"ecg": X, "row": row}), METHODS["ig"], target=U("variance")
    )
    assert abs(ds.attribution_row).max() < 1e-12  # both read it alike
    np.testing.assert_allclose(ds.prediction, X.mean(("lead", "time")) ** 2, rtol=1e-12)
    nets = [unlike(recurrent_net, seed) for seed in range(2)]
    valid = xr.DataArray(np.arange(12) < 7, dims="time")
    given = {"context": {"lengths": np.full(4, 7)}, "valid": valid, "target": U()}
    ds = ta.explain(ta.models.Ensemble(nets), X, ta.InputXGradient(), **given)
    short = ta.explain(ta.models.Ensemble(nets), X[:, :, :7], ta.InputXGradient(), target=U())
    np.testing.assert_allclose(ds.attribution[:, :, :7], short.attribution, rtol=0, atol=1e-12)


def test_a_model_of_every_time_under_winit():
    class EachTime(nn.Module):
        def __init__(self, seed):
            super().__init__()
            self.net = unlike(recurrent_net, seed)

        def forward(self, x):
            return self.net.head(self.net.gru(x.transpose(1, 2))[0])

    nets = [EachTime(seed) for seed in range(2)]
    given = {"target": U("mutual_information"), "method": ta.WinIT(3, draws=1)}
    ds = ta.explain(ta.models.Ensemble(nets), X, outputs=("time", "class"), **given)
    stacked = ta.explain(Stacked(nets), X, outputs=("member", "time", "class"), **given)
    assert_same(ds, stacked)
    # The loss of the last prediction when the last step is held: by hand.
    held = X.copy()
    held.values[:, 0, -1] = X.values[:, 0, -2]

    def information(x):
        with torch.no_grad():
            p = softmax(np.stack([net(torch.as_tensor(x.values))[:, -1] for net in nets], 1), -1)
        return (p * np.log(p / p.mean(1, keepdims=True))).sum(-1).mean(1)

    found = ds.attribution.isel(lead=0, time=-1).sel(lag=0)
    np.testing.assert_allclose(found, information(X) - information(held), rtol=0, atol=1e-12)


def test_fields_and_what_makes_the_emulator_unsure_of_a_region():
    lat, lon = xr.DataArray([-5.0, 0.0, 5.0], dims="lat"), xr.DataArray([0.0, 10.0], dims="lon")
    x = xr.DataArray(RNG.normal(size=(3, 3, 2)), dims=("sample", "lat", "lon"), coords={"lat": lat, "lon": lon})
    factors = RNG.normal(size=(4, 3, 2))
    members = ta.models.Ensemble([lambda x, f=f: x * torch.as_tensor(f) for f in factors])
    box = ta.targets.Region(lat=(0, 5), lon=0.0)
    ds = ta.explain(members, x, METHODS["saliency"], target=U("variance", box), outputs=x)
    means = (x.values[None] * factors[:, None])[:, :, 1:, 0].mean(2)
    np.testing.assert_allclose(ds.prediction, means.var(0), rtol=1e-12)
    assert (ds.attribution.isel(lon=1) == 0).all()
    assert (ds.attribution.sel(lat=-5.0) == 0).all()
    assert "units" not in ds.attribution.attrs


# ---- a planted artefact


@pytest.mark.slow
def test_networks_are_less_certain_of_a_noisy_lead_and_the_map_lies_there():
    data = ta.datasets.simulate_ecg(348, lesions=demo.LESIONS, sampling_rate=50.0, seed=1)
    x, held, nets = data.ecg[:300], data.ecg[300:], []
    for seed in range(5):
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            nets.append(demo.SmallECGNet(classes=5))
            demo.train(nets[-1], x.values, data.label.values[:300], epochs=12, seed=seed)
    rng, noisy = np.random.default_rng(0), np.random.default_rng(1).integers(12, size=48)
    values = held.values.copy()
    values[np.arange(48), noisy] += rng.standard_normal((48, 500))
    bad = held.copy(data=values)
    kinds = {"target": [U("mutual_information"), U()]}
    clean = ta.explain(ta.models.Ensemble(nets), held, ta.Saliency(), **kinds).prediction
    ds = ta.explain(ta.models.Ensemble(nets), bad, ta.IntegratedGradients(tolerance=0.02), **kinds)
    assert ((ds.prediction > clean).mean("sample") > 0.9).all()
    size = ds.attribution.isel(target=0).sum("time").transpose("sample", "lead").values
    top = (size.argmax(1) == noisy).mean()
    assert top > 0.9
    # A map that knows nothing finds one in twelve.
    assert (np.random.default_rng(2).permuted(size, axis=1).argmax(1) == noisy).mean() < 0.4
