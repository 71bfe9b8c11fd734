"""One table, methods x baselines x groups, and the laws that hold for every entry of it."""

import functools
import inspect
from collections.abc import Mapping

import numpy as np
import pytest
import scipy.stats
import torch
import xarray as xr
from sklearn.covariance import LedoitWolf

import tsattr as ta
from tsattr.comparison.scoring import COLUMNS
from tsattr.core.method import registry
from tsattr.core.results import RESERVED
from tsattr.testing.cases import Around
from tsattr.testing.laws import same
from tsattr.testing.methods import LAWS, MethodCase, answers, axioms, missing, state

from . import reference
from .conftest import TIMES, Spy, attention_net, coupling_net, linear_net, recurrent_net, relu_net, signals

X, TRAIN = signals(), signals(5, seed=2)
b, g = ta.baselines, ta.groups
WAVE = xr.DataArray(np.arange(TIMES) // 5, dims="time", coords={"time": X.time}, attrs={"flag_values": [0, 1, 2]})
BEAT = xr.DataArray(
    [np.roll(np.arange(TIMES) // 4, shift) for shift in range(len(X))],
    dims=("sample", "time"),
    coords={"sample": X.sample},
)

PEAK = xr.DataArray(
    [np.roll(np.arange(TIMES) % 7 == 3, shift) for shift in range(5)],
    dims=("sample", "time"),
    coords={"sample": TRAIN.sample},
)


class Made(Mapping):
    """What each function of a table gives, made when first asked for.

    One that cannot be made fails the tests of its own name, and the others are collected and run.
    """

    def __init__(self, makers):
        self.makers, self.made = makers, functools.cache(lambda name: makers[name]())

    def __getitem__(self, name):
        return self.made(name)

    def __iter__(self):
        return iter(self.makers)

    def __len__(self):
        return len(self.makers)


# name: (what makes the baseline, draws). Those that draw are given several.
MAKERS = {
    "constant": (lambda: b.Constant(0.0), 1),
    "constant by lead": (lambda: b.Constant({"I": 0.1, "II": 0.2, "V1": -0.3}), 1),
    "constant by sample": (lambda: b.Constant(X.isel(time=0, drop=True) / 2), 1),
    "mean": (lambda: b.Mean(), 1),
    "mean over leads": (lambda: b.Mean("lead"), 1),
    "maximum distance": (lambda: b.MaximumDistance(-3.0, 3.0), 1),
    "maximum distance, fitted": (lambda: b.MaximumDistance.fit(TRAIN), 1),
    "blur": (lambda: b.Blur(time="15ms", lead=0.4), 1),
    "uniform": (lambda: b.Uniform.fit(TRAIN), 3),
    "gaussian": (lambda: b.Gaussian(0.5), 3),
    "gaussian, truncated": (lambda: b.Gaussian(TRAIN.std(("sample", "time")), -2.0, 2.0), 3),
    "jitter": (lambda: b.Jitter(0.1), 3),
    "samples": (lambda: b.Samples.fit(TRAIN), 3),
    "mean, fitted": (lambda: b.Mean.fit(TRAIN), 1),
    "mode": (lambda: b.Mode.fit(TRAIN.round(1)), 1),
    "typical": (lambda: b.Typical.fit(TRAIN), 1),
    "hold": (lambda: b.Hold(), 1),
    "bridge": (lambda: b.Bridge(), 1),
    "mixture": (lambda: b.Mixture(b.Mean(), b.Uniform.fit(TRAIN)), 4),
    "conditional gaussian": (lambda: b.ConditionalGaussian.fit(TRAIN), 1),
    "conditional gaussian, drawn": (lambda: b.ConditionalGaussian.fit(TRAIN, "time", rank=2, draw=True), 3),
    "conditional gaussian, causal": (lambda: b.ConditionalGaussian.fit(TRAIN, causal=True), 1),
    "generator": (lambda: b.Generator.fit(TRAIN, horizon=4, hidden=3, epochs=1), 3),
    "generator, joint": (lambda: b.JointGenerator.fit(TRAIN, hidden=3, epochs=1, draw=False), 1),
    "marginal": (lambda: b.Marginal.fit(TRAIN), 3),
    "autoregressive": (lambda: b.AutoRegressive.fit(TRAIN, 2), 1),
    "autoregressive, drawn": (lambda: b.AutoRegressive.fit(TRAIN, 2, draw=True), 3),
    "autoregressive, causal": (lambda: b.AutoRegressive.fit(TRAIN, 2, causal=True), 1),
    "phase randomised": (lambda: b.PhaseRandomised(), 3),
    "band stop": (lambda: b.BandStop(10.0, 30.0), 1),
    "climatology": (lambda: b.Climatology.fit(TRAIN, by="40ms"), 1),
    "median beat": (lambda: b.MedianBeat.fit(TRAIN, PEAK, window=("-20ms", "30ms")).at(PEAK), 1),
    "inpaint": (lambda: b.Inpaint(), 1),
    "inpaint, two dims, noise": (lambda: b.Inpaint(("lead", "time"), noise=0.2), 3),
    "boundary": (lambda: b.Boundary.fit(relu_net(), X, a=1, covariance=TRAIN), 1),
    "projection": (lambda: b.Projection.fit(coupling_net(), X, a=1, b=2), 1),
}
BASELINES = Made({name: lambda m=make, d=draws: (m(), d) for name, (make, draws) in MAKERS.items()})
GROUPS = {
    "cells": g.Cells(),
    "windows": g.Windows(time=4, lead=1),
    "overlapping, ragged": g.Windows(time=5, step=3),
    "in units, two dims": g.Windows(time="40ms", lead=2, step={"time": "30ms", "lead": 1}),
    "along leads": g.Along("lead"),
    "waves": g.Labelled(WAVE),
    "beats of each sample": g.Labelled(BEAT),
}
LAST = {"predictions": "last"}  # of a network that takes whole series


def makers(fill):
    """What makes each method, where `fill` gives the baseline of a name."""
    table = {
        "saliency": ta.Saliency,
        "saliency, signed": lambda: ta.Saliency(absolute=False),
        "input x gradient": ta.InputXGradient,
        "smoothgrad": lambda: ta.SmoothGrad(draws=4),
        "smoothgrad, gaussian": lambda: ta.SmoothGrad(b.Gaussian({"I": 0.1, "II": 0.2, "V1": 0.3}), draws=4),
    }
    ragged = GROUPS["overlapping, ragged"]
    for k, gone in (("not measured", b.Missing()), ("missing cells", fill("samples"))):  # see `case`
        table |= {
            f"occlusion, windows, {k}": lambda gone=gone: ta.Occlusion(GROUPS["windows"], gone, 3),
            f"shapley, beats of each sample, {k}": lambda gone=gone: ta.ShapleySampling(
                GROUPS["beats of each sample"], gone, draws=4
            ),
            f"kernel shap, along leads, {k}": lambda gone=gone: ta.KernelShap(GROUPS["along leads"], gone, draws=3),
            f"interactions, along leads, {k}": lambda gone=gone: ta.ShapleyInteractions(
                GROUPS["along leads"], gone, draws=3
            ),
            f"winit, {k}": lambda gone=gone: ta.WinIT(4, gone, draws=3, aggregate="sum", **LAST),
            f"feature occlusion, {k}": lambda gone=gone: ta.FeatureOcclusion(gone, draws=3, **LAST),
            f"rescaled occlusion, {k}": lambda gone=gone: ta.TemporalRescaling(
                ta.Occlusion(GROUPS["along leads"], gone, 3), baseline=gone
            ),
        }
    for k, (_, n) in MAKERS.items():
        table[f"ig, {k}"] = lambda k=k, n=n: ta.IntegratedGradients(fill(k), steps=6, rule="midpoint", draws=n)
        table[f"occlusion, overlapping, ragged, {k}"] = lambda k=k, n=n: ta.Occlusion(ragged, fill(k), n)
    for name, groups in GROUPS.items():
        for k in ("constant", "samples", "bridge"):
            table[f"occlusion, {name}, {k}"] = lambda k=k, u=groups: ta.Occlusion(u, fill(k), MAKERS[k][1])
    for k in ("constant", "maximum distance", "uniform", "samples", "bridge"):
        for name, settings in {
            "refined": {"tolerance": 0.06},
            "gauss-legendre": {"steps": 5, "rule": "gauss-legendre"},
        }.items():
            table[f"ig {name}, {k}"] = lambda k=k, s=settings: ta.IntegratedGradients(fill(k), draws=MAKERS[k][1], **s)
    for k in ("uniform", "samples"):  # not at a constant, where all is a tie for max-pooling
        table[f"ig left, {k}"] = lambda k=k: ta.IntegratedGradients(fill(k), 12, "left", draws=MAKERS[k][1])
    for k in ("uniform", "gaussian", "samples"):
        table[f"expected gradients, {k}"] = lambda k=k: ta.IntegratedGradients(fill(k), steps=1, draws=8)
    for k, runs in (("windows", 2), ("beats of each sample", 1)):  # three beats: exact, whatever the seed
        table[f"shapley, {k}, samples"] = lambda k=k: ta.ShapleySampling(GROUPS[k], fill("samples"), draws=4)
        table[f"interactions, {k}, samples"] = lambda k=k, r=runs: ta.ShapleyInteractions(
            GROUPS[k], fill("samples"), coalitions=200, draws=r
        )
        table[f"kernel shap, {k}, bridge"] = lambda k=k, r=runs: ta.KernelShap(GROUPS[k], fill("bridge"), 30, r)
    return table | {
        "guided backpropagation": ta.GuidedBackprop,
        "guided backpropagation, size": lambda: ta.GuidedBackprop(absolute=True),
        "grad-cam": ta.GradCAM,
        "grad-cam, signed": lambda: ta.GradCAM(relu=False),
        "learned attention": ta.LearnedAttention,
        "rescaled saliency": lambda: ta.TemporalRescaling(ta.Saliency()),
        "rescaled occlusion, samples": lambda: ta.TemporalRescaling(
            ta.Occlusion(GROUPS["along leads"]), baseline=fill("samples")
        ),
        "rescaled ig, windows": lambda: ta.TemporalRescaling(
            ta.IntegratedGradients(fill("uniform"), steps=2, draws=2),
            GROUPS["overlapping, ragged"],
            GROUPS["windows"],
            fill("bridge"),
            0.3,
        ),
        "shapley to a tolerance": lambda: ta.ShapleySampling(GROUPS["overlapping, ragged"], draws=64, tolerance=0.3),
        "faithful interactions to a tolerance": lambda: ta.ShapleyInteractions(
            GROUPS["overlapping, ragged"], fill("uniform"), index="faithful", draws=64, tolerance=4.0
        ),
        "winit": lambda: ta.WinIT(TIMES, draws=1, aggregate="sum", **LAST),
        "winit, samples": lambda: ta.WinIT(5, fill("samples"), aggregate="mean", **LAST),
        "winit, symmetric, uniform": lambda: ta.WinIT(
            TIMES, fill("uniform"), draws=2, aggregate="absmax", order="symmetric", **LAST
        ),
        "winit, independent": lambda: ta.WinIT(
            "50ms", fill("uniform"), aggregate="max", horizons="independent", groups=g.Along("lead"), **LAST
        ),
        "feature occlusion": lambda: ta.FeatureOcclusion(fill("uniform"), draws=3, **LAST),
        "augmented occlusion": lambda: ta.AugmentedOcclusion(fill("samples"), draws=3, **LAST),
    }


METHODS = Made(makers(lambda name: BASELINES[name][0]))
# The same with a baseline that needs no fit: what the tests are chosen by, before any is run.
SETTINGS = {name: make() for name, make in makers(lambda _: b.Uniform(-1.0, 1.0)).items()}

GRADIENT = [name for name, m in SETTINGS.items() if m.gradient]
FIXED = [
    name
    for name, m in SETTINGS.items()
    if getattr(m, "steps", 1) is not None and not isinstance(m, ta.TemporalRescaling)
]
IG = [name for name, m in SETTINGS.items() if isinstance(m, ta.IntegratedGradients)]
RANDOM = [
    name
    for name, m in SETTINGS.items()
    if getattr(m, "draws", 1) > 1 and not (name.endswith("not measured") and not isinstance(m, ta.ShapleySampling))
]

pytestmark = pytest.mark.filterwarnings("ignore:GuidedBackprop fails weight-randomisation:tsattr.ExplanationWarning")
every = pytest.mark.parametrize("name", METHODS)
explain = functools.partial(ta.explain, target=1)
NET = relu_net()


HOLES = X.where(np.random.default_rng(5).random(X.shape) > 0.2)


class ReadsMissing(torch.nn.Module):
    """The network's outputs and, lead by lead, how much is missing, early cells more than late ones."""

    def __init__(self):
        super().__init__()
        self.net = NET

    def forward(self, x):
        lost = torch.isnan(x).to(x.dtype) @ torch.linspace(0.5, 0.1, x.shape[2], dtype=x.dtype)
        return self.net(torch.nan_to_num(x)) + torch.tanh(lost.cumsum(1))


MISSING = [name for name in SETTINGS if name.endswith(("not measured", "missing cells"))]


@functools.cache
def case(name: str) -> MethodCase:
    """A method of the table, on what it explains here: of what is missing, a model that reads it, and cells that are values."""
    if name in MISSING:
        x = HOLES if name.endswith("missing cells") else X
        return MethodCase(METHODS[name], ReadsMissing().eval(), x, {"target": 1, "missing": "value"})
    return MethodCase(METHODS[name], attention_net() if name == "learned attention" else NET, X, {"target": 1})


def answer(name: str) -> xr.Dataset:
    """The explanation that a law compares others with."""
    return case(name).answer


def assert_same(found: xr.Dataset, expected: xr.Dataset) -> None:
    """Equal variables up to rounding."""
    same(found, expected, 1e-12)


def test_the_table_has_every_baseline_groups_and_method():
    def public(module, base):
        return {
            c for n, c in inspect.getmembers(module, inspect.isclass) if issubclass(c, base) and not n.startswith("_")
        }

    # Missing needs models that read NaN: it has rows of its own
    assert {type(baseline) for baseline, _ in BASELINES.values()} == public(b, ta.testing.Baseline) - {b.Missing}
    assert {type(groups) for groups in GROUPS.values()} == {g.Cells, g.Windows, g.Along, g.Labelled}
    # FIT needs prefixes: tests/methods/test_winit.py
    assert {type(m) for m in SETTINGS.values()} == {*registry().values()} - {ta.FIT}


@pytest.mark.parametrize("name", BASELINES)
def test_a_baseline_keeps_its_laws(name):
    ta.testing.check_baseline(BASELINES[name][0], X)


@pytest.mark.parametrize("name", GROUPS)
def test_groups_keep_their_laws(name):
    ta.testing.check_groups(GROUPS[name], X)


# Laws of methods that hold for every entry of the table, one by one below; and those of each kind of method.
TABLE = {answers.labels, answers.batch_size, answers.single_runs, answers.order, answers.chunks, answers.dims}
TABLE |= {answers.float32, answers.targets, answers.rows, answers.one_seed, answers.global_state}
TABLE |= {state.model, state.threads, state.reused, state.inputs, state.careless, missing.padding, missing.nan}
TABLE |= {missing.blocked, missing.gradients, missing.unknown, axioms.sums, axioms.unused}
KINDS = list({type(m): name for name, m in SETTINGS.items()}.values())


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("law", [law.name for law in LAWS.known.values() if law not in TABLE])
def test_a_kind_of_method_keeps_the_other_laws(law, name):
    LAWS.known[law](case(name))


# ---- batches, chunks, company, order


@every
@pytest.mark.parametrize("size", [1, 3, 1000])
def test_batch_size_changes_nothing(name, size):
    assert answers.batch_size(case(name), [size]) == "holds"


@every
def test_a_batch_equals_single_runs(name):
    # Beats are of each sample; which labels there are is known of all the samples together.
    assert answers.single_runs(case(name)) == "holds"


@every
def test_order_and_company_change_nothing(name):
    assert answers.order(case(name)) == "holds"


@every
def test_chunks_change_nothing(name):
    assert answers.chunks(case(name)) == "holds"


# ---- dims, labels, dtype


@every
@pytest.mark.parametrize("dims", [("time", "sample", "lead"), ("lead", "time", "sample")])
def test_permuting_dims_permutes_the_answer(name, dims):
    assert answers.dims(case(name), [dims]) == "holds"


@every
def test_labels_and_dtype_are_kept(name):
    assert answers.labels(case(name)) == "holds"
    found = answer(name).attribution
    assert found.dims == X.dims
    assert found.attrs["site"] == "ward 3"
    assert found.attrs["input_units"] == "mV"
    assert "units" not in found.attrs  # the attribution has the units of the target


@every
def test_float32_agrees_with_float64(name):
    assert answers.float32(case(name), 2e-6, leave=["completeness_error"]) == "holds"


@every
def test_netcdf_round_trip(name, tmp_path):
    ds = answer(name)
    ds.to_netcdf(tmp_path / "a.nc")
    xr.testing.assert_identical(xr.load_dataset(tmp_path / "a.nc"), ds)


@pytest.mark.parametrize("name", [name for name, (_, draws) in MAKERS.items() if draws == 1])
def test_a_variable_beside_another_is_explained_as_by_itself(name):
    # of an additive model; draws differ, as each variable has its own
    vitals = xr.DataArray(np.linspace(-1, 1, 8).reshape(4, 2), dims=("sample", "vital"), coords={"vital": ["hr", "rr"]})
    x = xr.Dataset({"vitals": vitals, "ecg": X.transpose("time", "sample", "lead")})

    def model(vitals, ecg):
        return NET(ecg.transpose(1, 2)) + torch.tanh(vitals).sum(1, keepdim=True)

    baseline = {"vitals": b.Constant(0.0), "ecg": BASELINES[name][0]}
    found = explain(model, x, ta.IntegratedGradients(baseline, steps=6, rule="midpoint"))
    assert found.attribution_ecg.dims == ("time", "sample", "lead")
    beside = found.attribution_ecg.transpose(*X.dims)
    np.testing.assert_allclose(beside, answer(f"ig, {name}").attribution, rtol=0, atol=1e-12)
    np.testing.assert_allclose(found.attribution_vitals.sum("vital"), np.tanh(vitals).sum("vital"), atol=0.01)
    groups = {"vitals": g.Along("vital"), "ecg": GROUPS["overlapping, ragged"]}
    found = explain(model, x, ta.Occlusion(groups, baseline))
    beside = found.attribution_ecg.transpose(*X.dims)
    expected = answer(f"occlusion, overlapping, ragged, {name}").attribution
    np.testing.assert_allclose(beside, expected, rtol=0, atol=1e-12)
    np.testing.assert_allclose(found.attribution_vitals, np.tanh(vitals), rtol=0, atol=1e-12)
    assert found.sizes["group"] == 2 + 4


# ---- targets, rows


# A refined one goes on until every target is within the tolerance; a rescaled one looks where any target has a reason to.
@pytest.mark.parametrize("name", FIXED)
def test_several_targets_equal_single_runs(name):
    several = [ta.targets.Output(2), ta.targets.Probability(0), ta.targets.Margin(1)]
    assert answers.targets(case(name), several) == "holds"


@pytest.mark.parametrize("name", ["saliency", "smoothgrad", "ig, uniform", "occlusion, cells, samples"])
def test_the_predicted_class_is_that_of_the_intact_sample(name):
    usual = NET(torch.as_tensor(X.values)).mean(0).detach()
    contrast = lambda x: NET(x) - usual  # noqa: E731 - so that the samples are of several classes
    found = ta.explain(contrast, X, METHODS[name])
    predicted = contrast(torch.as_tensor(X.values)).argmax(1).tolist()
    assert len(set(predicted)) > 1
    for at, target in enumerate(predicted):
        alone = ta.explain(contrast, X.isel(sample=[at]), METHODS[name], target=target)
        assert_same(found.isel(sample=[at]).drop_vars("predicted"), alone)
    assert found.predicted.values.tolist() == predicted


@every
def test_model_evaluations_are_the_rows_the_model_saw(name):
    assert answers.rows(case(name)) == "holds"


@pytest.mark.parametrize("name", ["occlusion, windows, samples", "ig, constant", "expected gradients, samples"])
def test_a_dry_run_counts_what_a_reference_costs(name):
    spy, clean = Spy(NET), signals(40, seed=3)
    ds = explain(Around(NET, spy), X, METHODS[name], reference=clean)
    cost = explain(Around(NET, NET), X, METHODS[name], reference=clean, dry_run=True)
    assert spy.count == int(ds.model_evaluations.sum()) + ds.attrs["trial_rows"] == cost.attrs["rows"]
    assert ds.attrs["trial_rows"] == cost.attrs["trial_rows"] >= 40


# ---- randomness


@every
def test_one_seed_one_answer(name):
    assert answers.one_seed(case(name)) == "holds"


@pytest.mark.parametrize("name", RANDOM)
def test_another_seed_another_answer(name):
    other = case(name).explain(seed=1)
    assert not np.allclose(other.attribution, answer(name).attribution, equal_nan=True)
    assert (other.standard_error > 0).any()


@every
def test_the_global_random_state_is_untouched(name):
    assert answers.global_state(case(name)) == "holds"


# ---- the model and the input stay as they were


@every
@pytest.mark.parametrize("last", [10**9, 1, 2])
def test_the_model_is_left_as_it_was(name, last):
    assert state.model(case(name), [last]) == "holds"


@every
def test_two_calls_at_once_give_the_answers_of_one(name):
    assert state.threads(case(name)) == "holds"


@pytest.mark.parametrize("name", [name for name, m in SETTINGS.items() if not m.gradient])
def test_a_model_may_answer_into_a_tensor_of_its_own(name):
    assert state.reused(case(name)) == "holds"


@every
def test_the_input_is_not_modified(name):
    assert state.inputs(case(name)) == "holds"


@pytest.mark.parametrize("name", [name for name, m in SETTINGS.items() if not m.gradient])
def test_a_model_may_write_into_its_input(name):
    assert state.careless(case(name)) == "holds"


@pytest.mark.parametrize("name", ["ig, constant", "smoothgrad", "occlusion, windows, samples"])
@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_the_callers_grad_mode_changes_nothing(name, mode):
    with mode():
        assert_same(explain(NET, X, METHODS[name]), answer(name))


# ---- missing and ragged data


@every
def test_padding_changes_nothing_elsewhere(name):
    assert missing.padding(case(name), [12, 9, 5, 7]) == "holds"


@pytest.mark.parametrize("name", [name for name in METHODS if name not in MISSING])
def test_nan_never_leaks(name):
    assert missing.nan(case(name)) == "holds"


@pytest.mark.parametrize("name", MISSING)
def test_where_a_missing_cell_is_a_value_none_is_without_attribution(name):
    assert missing.nan(case(name)) == "does not apply: a missing cell is a value, as missing='value' says"
    lags = answer(name).attribution
    assert set(answer(name).status.values.tolist()) == {"ok"}
    lags = lags.sum("lag", skipna=True, min_count=1) if "lag" in lags.dims else lags
    assert lags.notnull().all()
    assert (abs(lags.where(HOLES.isnull())).sum() > 0).item()


@pytest.mark.parametrize("name", MISSING)
def test_what_a_model_does_not_read_gets_nothing_by_being_missing(name):
    model = case(name).model
    unread = case(name).around(lambda x: model(torch.cat([x[:, :2], torch.zeros_like(x[:, 2:])], 1)))
    found = case(name).explain(unread).attribution.fillna(0)
    if "beats" not in name:  # which hold all leads
        np.testing.assert_allclose(found.sel(lead="V1"), 0, atol=1e-12)
    assert (found.sel(lead="I") != 0).any()


@pytest.mark.parametrize("name", ["ig, mean", "expected gradients, samples", "occlusion, along leads, constant"])
def test_ragged_series_in_a_recurrent_network_equal_short_ones(name):
    net = recurrent_net()
    method = METHODS[name]
    lengths = np.array([12.0, 9, 5, 7])
    valid = xr.DataArray(np.arange(TIMES) < lengths[:, None], dims=("sample", "time"))
    found = explain(net, X.where(valid, 99.0), method, valid=valid, context={"lengths": lengths})
    for at, length in enumerate(lengths.astype(int)):
        short = X.isel(sample=[at], time=slice(length))
        if isinstance(getattr(method, "baseline", None), b.Samples):
            short_method = ta.IntegratedGradients(b.Samples.fit(TRAIN.isel(time=slice(length))), steps=1, draws=8)
        else:
            short_method = method
        alone = explain(net, short, short_method)
        np.testing.assert_allclose(found.attribution[at, :, :length], alone.attribution[0], rtol=0, atol=1e-12)


# ---- statuses: what has no right map has no "ok"


@pytest.mark.parametrize("name", IG)
def test_a_model_that_blocks_gradients_is_never_ok(name):
    assert missing.blocked(case(name)) == "holds"


@pytest.mark.parametrize("name", [name for name in GRADIENT if not name.startswith("grad-cam")])  # looks at a layer
def test_a_gradient_that_is_not_finite_is_not_taken_for_an_output(name):
    assert missing.gradients(case(name)) == "holds"


REMOVING = [name for name, m in SETTINGS.items() if m.has("baseline") or m.has("noise")]


@pytest.mark.parametrize("name", REMOVING)
def test_what_a_baseline_does_not_know_is_never_a_zero(name):
    assert missing.unknown(case(name), ["ok"]) == "holds"


# ---- axioms


@pytest.mark.parametrize("name", [name for name in GRADIENT if not name.startswith("grad-cam")])  # knows no leads
def test_an_unused_feature_gets_exactly_nothing(name):
    assert axioms.unused(case(name)) == "holds"


@pytest.mark.parametrize("baseline", BASELINES)
def test_occluding_an_unused_feature_changes_nothing(baseline):
    used = torch.tensor([1.0, -2.0, 0.0], dtype=torch.float64)[:, None]
    method = ta.Occlusion(GROUPS["windows"], *BASELINES[baseline])
    found = ta.explain(lambda x: torch.tanh(x * used).sum((1, 2)), X, method).attribution
    assert (found.sel(lead="V1") == 0).all()
    assert (found.sel(lead="I") != 0).any()


@pytest.mark.parametrize("name", IG)
def test_attributions_sum_to_the_difference(name):
    steps = SETTINGS[name].steps
    assert axioms.sums(case(name), 0.05 if steps is None else 0.3 if steps > 1 else 3) == "holds"


def alone(fill):
    """What takes the place of each cell of a sample (lead, time) when it goes by itself."""

    def one_by_one(x):
        out = np.empty_like(x)
        for at in np.ndindex(x.shape):
            absent = np.zeros(x.shape, bool)
            absent[at] = True
            out[at] = fill(x, absent)[at]
        return out

    return one_by_one


ZERO = lambda x: np.zeros_like(x)  # noqa: E731
LOW, HIGH = (TRAIN.quantile(q, ("sample", "time")).values[:, None] for q in (0.001, 0.999))
CENTRE = TRAIN.values.mean(0)
SCALE = np.broadcast_to((TRAIN.values - CENTRE).std((0, 2))[:, None], CENTRE.shape).ravel()
NORMAL = LedoitWolf().fit(TRAIN.values.reshape(len(TRAIN), -1) / SCALE).covariance_ * np.outer(SCALE, SCALE)
LINEAR = [reference.burg(list(TRAIN.values[:, lead]), 2) for lead in range(3)]
LEVEL = np.array([[mean] for mean, _, _ in LINEAR])
AUTOCOVARIANCE = [reference.autoregressive_covariance(phi, variance, TIMES) for _, variance, phi in LINEAR]


def by_lead(fill, x, absent):
    """Each lead from its own process."""
    return np.stack([fill(u, gone, m, c) for u, gone, m, c in zip(x, absent, LEVEL[:, 0], AUTOCOVARIANCE)])


# The mean over the draws of what takes the place of each cell: when all go, and when each goes by itself.
FILLS = {
    "constant": (ZERO, ZERO),
    "constant by lead": (lambda x: np.array([[0.1], [0.2], [-0.3]]) + 0 * x,) * 2,
    "constant by sample": (lambda x: x[:, :1] / 2 + 0 * x,) * 2,
    "mean": (lambda x: x.mean(1, keepdims=True) + 0 * x,) * 2,
    "mean over leads": (lambda x: x.mean(0, keepdims=True) + 0 * x,) * 2,
    "maximum distance": (lambda x: reference.maximum_distance(x, -3, 3),) * 2,
    "maximum distance, fitted": (lambda x: np.where(x >= (LOW + HIGH) / 2, LOW, HIGH),) * 2,
    "blur": (lambda x: reference.blur(reference.blur(x, 1.5, 1), 0.4, 0),) * 2,
    "samples": (lambda x: TRAIN.values.mean(0),) * 2,
    "mode": (lambda x: scipy.stats.mode(TRAIN.values.round(1)).mode,) * 2,  # the smallest of equals
    "hold": (ZERO, alone(reference.hold)),
    "bridge": (ZERO, alone(lambda x, absent: reference.bridge(x, absent, X.time.values))),
    "conditional gaussian": (
        lambda x: CENTRE,
        alone(lambda x, gone: reference.conditional(x, gone, CENTRE, NORMAL)[0]),
    ),
    "autoregressive": (
        lambda x: LEVEL + 0 * x,
        alone(lambda x, gone: by_lead(lambda *line: reference.conditional(*line)[0], x, gone)),
    ),
    "autoregressive, causal": (lambda x: LEVEL + 0 * x, alone(lambda x, gone: by_lead(reference.forecast, x, gone))),
    "band stop": (lambda x: reference.band_stop(x, 10, 30, 100),) * 2,
    "climatology": (lambda x: np.stack([TRAIN.values[..., p % 4 :: 4].mean((0, 2)) for p in range(TIMES)], 1),) * 2,
    "inpaint": (ZERO, alone(lambda x, gone: reference.bridge(x, gone, np.arange(TIMES)))),
    "projection": (lambda x: reference.projection(coupling_net(), x, 1, 2),) * 2,
}


def seen(x, method, kind, draws):
    """What takes the place of each cell, from what the model saw: at the ends of the paths, or in the one cell that changed."""
    spy = Spy(linear_net())
    if kind == 0:
        explain(spy, x, ta.IntegratedGradients(method.baseline, steps=1, draws=draws), check=False)
        starts = spy.plain.numpy()
        assert len(starts) == draws
        return starts.mean(0)
    explain(spy, x, method, check=False)
    rows, changed = spy.plain.numpy(), spy.plain.numpy() != x.values
    assert changed.sum((1, 2)).tolist() == [0] + [1] * draws * x[0].size
    return (rows * changed).sum(0) / draws


@pytest.mark.parametrize("name", BASELINES)
def test_a_linear_model_gives_weight_times_the_distance_to_the_mean_fill(name):
    net = linear_net()
    weight = net[1].weight[1].detach().reshape(X.shape[1:]).numpy()
    baseline, draws = BASELINES[name]
    draws = len(TRAIN) if name == "samples" else draws
    methods = {
        0: [
            ta.IntegratedGradients(baseline, draws=draws),
            ta.IntegratedGradients(baseline, steps=1, draws=draws),
            ta.IntegratedGradients(baseline, steps=5, rule="midpoint", draws=draws),
        ],
        1: [ta.Occlusion(g.Cells(), baseline, draws)],
    }
    for kind, several in methods.items():
        for method in several:
            ds = explain(net, X, method)
            for at, x in enumerate(X.values):
                if name in FILLS:
                    fill = FILLS[name][kind](x)
                else:
                    fill = seen(X.isel(sample=[at]), method, kind, draws)
                np.testing.assert_allclose(ds.attribution[at], weight * (x - fill), rtol=0, atol=1e-12)


# ---- names

LAGS = ("lag", "lag_time")  # of a method that has lags


def test_what_results_hold_has_reserved_names():
    clean = signals(24, seed=3)
    more = [
        ta.explain(NET, X, METHODS["occlusion, windows, samples"], target=1, reference=clean, seed=[0, 1]),
        ta.explain(NET, X, ta.IntegratedGradients(BASELINES["mixture"][0], draws=4, steps=3, per_draw=True)),
        explain(NET, X, METHODS["saliency"], dry_run=True),
        ta.explain(NET, X, METHODS["saliency"], target=[0, 1]),
    ]
    lags = explain(NET, X, ta.WinIT(5, BASELINES["uniform"][0], **LAST))
    each = {"outputs": ("time", "class"), "check": False}
    hourly = ta.explain(lambda v: v.cumsum(2).transpose(1, 2), X, ta.WinIT(5, BASELINES["uniform"][0]), **each)
    held = {str(k) for ds in [*map(answer, METHODS), *more, lags, hourly] for k in [*ds.variables, *ds.dims]}
    assert held - set(map(str, X.coords)) == RESERVED - {"..."} | set(LAGS)


def called(name):
    """Inputs with a dim or a coordinate of that name."""
    yield X.rename(time=name)
    yield X.assign_coords({name: 1})
    yield X.assign_coords({name: ("sample", np.arange(len(X)))})
    yield X.assign_coords({name: ("lead", ["a", "b", "c"])})
    yield xr.Dataset({"ecg": X, "other": X.assign_coords({name: 1})})
    yield X.rename(sample=name)


@pytest.mark.parametrize("name", sorted(RESERVED))
def test_no_dim_or_coordinate_is_called_like_a_result(name):
    for x in called(name):
        spy, dim = Spy(NET), name if name in x.dims and "sample" not in x.dims else "sample"
        with pytest.raises(
            ValueError, match=rf"x has a (dim|coordinate) '{name}', .* rename it: x.rename\({{'{name}': ...}}\)"
        ):
            ta.explain(spy, x, ta.Saliency(), target=0, sample_dim=dim)
        assert spy.count == 0
    with pytest.raises(ValueError, match=f"outputs names an axis '{name}'"):
        ta.explain(NET, X, ta.Saliency(), target=0, outputs=(name,))


@pytest.mark.parametrize("name", LAGS)
def test_a_dim_of_a_method_is_refused_by_that_method_alone(name):
    x = X.assign_coords({name: ("time", np.arange(TIMES))})
    assert ta.explain(NET, x, ta.Saliency(), target=1)[name].dims == ("time",)
    with pytest.raises(ValueError, match=f"x has a coordinate '{name}', which is the name of something in the result"):
        explain(NET, x, ta.WinIT(5, BASELINES["uniform"][0], **LAST))


def test_what_tables_of_scores_hold_has_names_of_its_own():
    truth = X > 0
    methods = {"a": METHODS["occlusion, windows, constant"], "b": METHODS["saliency"]}
    table = ta.compare(
        NET, X, methods, target=1, truth=truth, reference=signals(24, seed=3), resamples=5, steps=3, subsets=4
    )
    held = {str(k) for k in [*table.variables, *table.dims]} - set(map(str, X.coords))
    assert held - RESERVED == COLUMNS - RESERVED
    for name in COLUMNS:
        for x in (X.assign_coords({name: ("sample", np.arange(len(X)))}), X.rename(sample=name)):
            dim = "sample" if "sample" in x.dims else name
            with pytest.raises(ValueError, match=rf"x has a (dim|coordinate) '{name}'"):
                ta.compare(NET, x, methods, target=1, sample_dim=dim)


def test_variables_beside_another_have_names_of_their_own_in_the_result():
    other = X.rename(time="t")
    x = xr.Dataset({"ecg": X, "other": other})
    for name in ("attribution_ecg", "standard_error_other", "attribution_draw_ecg"):
        with pytest.raises(ValueError, match=f"x has a coordinate '{name}'"):
            ta.explain(NET, x.assign_coords({name: 1}), ta.Saliency())
    for name in ("draw", "draw_ecg", "drawing"):
        with pytest.raises(ValueError, match=f"a variable called '{name}' would be taken for draws"):
            ta.explain(NET, x.rename(other=name), ta.Saliency())


# ---- borders of shapes


@pytest.mark.parametrize(
    "groups", [g.Windows(time=TIMES), g.Windows(time=TIMES, lead=1), g.Windows(time=5, step=3), g.Cells()]
)
@pytest.mark.parametrize("method", [ta.Occlusion, ta.ShapleySampling, ta.KernelShap])
def test_a_descending_coordinate_is_the_ascending_one_flipped(method, groups):
    if method is ta.ShapleySampling and isinstance(groups, g.Cells):
        pytest.skip("as many draws as cells are needed")
    down = X.isel(time=slice(None, None, -1))
    found = explain(Around(NET, lambda x: NET(x.flip(2))), down, method(groups, b.Bridge()))
    expected = explain(NET, X, method(groups, b.Bridge()))
    np.testing.assert_allclose(
        found.attribution.isel(time=slice(None, None, -1)), expected.attribution, rtol=0, atol=1e-12
    )


def linear_lone(x):
    return (x * torch.tensor([1.0, -2.0, 3.0], dtype=x.dtype)[:, None]).sum((1, 2))


LONE, LONE_TRAIN = X.isel(time=[0]), signals(30, seed=2).isel(time=[0])
NOT_LONE = {  # what needs steps along time says that there are none
    "autoregressive": (
        lambda: b.AutoRegressive.fit(LONE_TRAIN, 2),
        "needs series of more cells along 'time'; the reference has 1",
    ),
    "band stop": (lambda: b.BandStop(10.0, 30.0), "takes frequencies out, and dim 'time' has one cell, which has none"),
    "climatology": (lambda: b.Climatology.fit(LONE_TRAIN, by="40ms"), "needs steps along 'time', which has one cell"),
    "median beat": (
        lambda: b.MedianBeat.fit(LONE_TRAIN, PEAK.isel(time=[0])),
        "a beat needs more than one cell along 'time'",
    ),
    "generator": (lambda: b.Generator.fit(LONE_TRAIN, horizon=4), "needs at least two times, the reference has 1"),
    "generator, joint": (lambda: b.JointGenerator.fit(LONE_TRAIN), "needs at least two times, the reference has 1"),
}


@pytest.mark.parametrize("name", BASELINES)
def test_a_dim_of_one_cell_is_filled_or_refused_by_name(name):
    baseline, draws = BASELINES[name]
    if name in ("boundary", "projection"):
        return  # of the very samples it was fitted to
    if (kind := name if name in NOT_LONE else name.split(",")[0]) in NOT_LONE:
        make, message = NOT_LONE[kind]
        with pytest.raises(ValueError, match=message):
            ta.explain(linear_lone, LONE, ta.IntegratedGradients(make(), steps=2))
        return
    if hasattr(type(baseline), "fit"):
        baseline = type(baseline).fit(LONE_TRAIN.round(0) if name == "mode" else LONE_TRAIN)
    elif name == "mixture":
        baseline = b.Mixture(b.Mean(), b.Uniform.fit(LONE_TRAIN))
    for method in (ta.Occlusion(g.Cells(), baseline, draws), ta.IntegratedGradients(baseline, steps=2, draws=draws)):
        ds = ta.explain(linear_lone, LONE, method)
        assert ds.attribution.notnull().all()
        if name == "phase randomised":  # the spectrum of one cell is its mean
            np.testing.assert_allclose(ds.attribution, 0, atol=1e-12)


# ---- galleries of similar cases


class Likeness(torch.nn.Module):
    """Minus the squared distance of the network's outputs from given ones."""

    def __init__(self):
        super().__init__()
        self.net = NET

    def forward(self, x, other):
        return -(self.net(x) - other).square().sum(1)


@pytest.mark.filterwarnings("ignore:not converged:tsattr.ExplanationWarning")
@pytest.mark.parametrize("name", [name for name in KINDS if name != "learned attention"])  # which is of its own module
def test_why_cases_are_alike_is_what_the_method_says_of_their_similarity(name):
    gallery = ta.cases.Gallery.fit(NET, TRAIN, layer="", metric="euclidean")
    near = gallery.nearest(X.drop_vars("sample"), k=2).assign_coords(sample=X.sample)
    found = gallery.why(X, near, method=METHODS[name])
    for j in range(2):
        at = near.position.values[:, j]
        theirs = TRAIN.isel(sample=at).assign_coords(sample=X.sample)
        for side, x, other in (("", X, gallery.embedding[at]), ("_of_case", theirs, ta.cases.embed(NET, X, "").values)):
            slow = ta.explain(Likeness(), x, METHODS[name], target=ta.targets.Output(), context={"other": other})
            xr.testing.assert_allclose(found[f"attribution{side}"][:, j].drop_vars("neighbour"), slow.attribution)
            assert (found[f"status{side}"].values[:, j] == slow.status.values).all()
