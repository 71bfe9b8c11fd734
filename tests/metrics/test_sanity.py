import copy
import random
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr
from torch import nn

import tsattr as ta
from tsattr.metrics import (
    agreement,
    cascade,
    label_randomisation,
    randomised,
    sample_key,
    seeds,
    smooth_random,
    spearman,
)

from ..conftest import recurrent_net, relu_net, seeded, signals, smooth_net

SIZE = 60


class Scale(nn.Module):
    """Parameters without reset_parameters: a weight, equal gains and a single number."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(3 + 0.5 * torch.randn(400))
        self.gain = nn.Parameter(torch.ones(5))
        self.one = nn.Parameter(torch.tensor(2.0))
        self.inner = nn.Linear(2, 2)

    def reset_parameters(self):
        raise AssertionError("a module with modules inside resets no more than itself")


def mlp(seed=0):
    return seeded(
        lambda: nn.Sequential(nn.Linear(SIZE, 40), nn.Tanh(), nn.Linear(40, 20), nn.Tanh(), nn.Linear(20, 1)), seed
    )


def gradient(x):
    def explain(module):
        rows = x.clone().requires_grad_(True)
        return torch.autograd.grad(module(rows).sum(), rows)[0]

    return explain


@pytest.fixture
def rows():
    return torch.randn(8, SIZE, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def changed(a, b):
    """Names of parameters and buffers that differ."""
    old = a.state_dict()
    return {name for name, v in b.state_dict().items() if not torch.equal(v, old[name])}


def test_layers_go_from_the_output_back():
    net = relu_net()
    found = list(randomised(net))
    assert [name for name, _ in found] == ["6", "1", "0"]
    head = {"6.weight", "6.bias"}
    norm = {"1.running_mean", "1.running_var"}  # its weights have never been trained
    conv = {"0.weight", "0.bias"}
    assert [changed(net, m) for _, m in found] == [head, head | norm, head | norm | conv]
    assert [changed(net, m) for _, m in randomised(net, order="independent")] == [head, norm, conv]


@pytest.mark.parametrize("make", [relu_net, smooth_net, recurrent_net, Scale])
@pytest.mark.parametrize("order", ["cascading", "independent"])
def test_nothing_else_is_touched(make, order):
    module = make()
    before, modes = copy.deepcopy(module.state_dict()), [m.training for m in module.modules()]
    module.train()
    states = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()  # noqa: NPY002
    for _, other in randomised(module, order=order):
        assert other.training
        assert torch.equal(torch.get_rng_state(), states[0])
    assert np.array_equal(np.random.get_state()[1], states[1])  # noqa: NPY002
    assert random.getstate() == states[2]
    assert not any(m is o for m in module.modules() for o in other.modules())
    assert changed(module, module) == set()
    assert all(torch.equal(v, before[name]) for name, v in module.state_dict().items())
    assert all(m.training for m in module.modules())
    assert len(modes) == len(list(other.modules()))


def test_weights_depend_on_the_seed_and_the_layer_alone():
    net = smooth_net()
    last = list(randomised(net))[-1][1].state_dict()
    torch.manual_seed(5)
    assert all(torch.equal(v, last[k]) for k, v in list(randomised(net))[-1][1].state_dict().items())
    for name, one in randomised(net, order="independent"):
        assert torch.equal(one.state_dict()[f"{name}.weight"], last[f"{name}.weight"])
    other = list(randomised(net, seed=1))[-1][1].state_dict()
    assert not any(torch.equal(v, last[k]) for k, v in other.items())
    kept = [m for _, m in randomised(net)]
    assert len({m[5].weight.data_ptr() for m in kept}) == len(kept)


def test_parameters_without_a_reset_keep_mean_and_deviation():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = Scale()
    steps = list(randomised(net))
    assert [name for name, _ in steps] == ["inner", ""]
    new = steps[-1][1]
    assert changed(net, new) == {"weight", "inner.weight", "inner.bias"}
    assert abs(np.corrcoef(net.weight.detach(), new.weight.detach())[0, 1]) < 3 / np.sqrt(400)
    assert new.weight.mean().item() == pytest.approx(net.weight.mean().item(), abs=3 * 0.5 / np.sqrt(400))
    assert new.weight.std().item() == pytest.approx(net.weight.std().item(), rel=3 / np.sqrt(800))


def test_every_kind_of_layer_forgets():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        attention = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        normed = torch.nn.utils.parametrizations.weight_norm(nn.Linear(4, 6))
    for net in (attention, normed, recurrent_net()):
        last = list(randomised(net))[-1][1]
        learnt = {name for name, p in net.named_parameters() if p.std() > 0}
        assert learnt <= changed(net, last)


def test_statistics_alone_are_a_layer():
    norm = nn.BatchNorm1d(3, affine=False)
    norm.running_mean += 2
    [(name, new)] = randomised(nn.Sequential(norm, nn.ReLU(), nn.InstanceNorm1d(3)))
    assert name == "0"
    assert changed(nn.Sequential(norm), new) == {"0.running_mean"}


@pytest.mark.parametrize("seed", range(6))
def test_the_gradient_of_a_network_passes(rows, seed):
    found = cascade(mlp(seed), gradient(rows), seed=seed)
    assert found.spearman.dims == ("layer", "sample")
    assert found.layer.values.tolist() == ["4", "2", "0"]
    assert found.attrs["verdict"].startswith("passes: all layers random, ")
    assert found.attrs["spearman_last"] == pytest.approx(float(abs(found.spearman[-1]).mean()))


@pytest.mark.parametrize(
    "explain",
    [lambda x: lambda module: x, lambda x: lambda module: -abs(x) * (1 + gradient(x)(module) ** 2) ** 0.01],
    ids=["the input", "nearly the input's size"],
)
def test_what_shows_the_input_fails(rows, explain):
    found = cascade(mlp(), explain(rows))
    assert found.attrs["verdict"].startswith("fails: all layers random, ")
    assert found.attrs["spearman_absolute_last"] > 0.9 > found.attrs["spearman_absolute_band"]


def test_the_verdict_is_that_of_the_last_layer_also_when_only_it_is_explained(rows):
    asked = []
    explain = gradient(rows)
    last = cascade(mlp(), lambda m: asked.append(m) or explain(m), every=False)
    whole = cascade(mlp(), explain)
    assert len(asked) == 2
    assert last.attrs == whole.attrs
    xr.testing.assert_identical(last.isel(layer=0), whole.isel(layer=-1))


def test_a_map_with_its_sign_turned_is_the_same_map(rows):
    net = mlp()
    turned = {True: 1.0, False: -1.0}
    found = cascade(net, lambda m: turned[m is net] * rows)
    np.testing.assert_allclose(found.spearman, -1)
    assert found.attrs["spearman_last"] == pytest.approx(1)
    assert found.attrs["verdict"].startswith("fails")


def test_the_control_is_as_unsure_as_smooth_maps_are():
    noise = np.random.default_rng(0).normal(size=(40, 3, 150))
    smooth = np.apply_along_axis(np.convolve, -1, noise, np.ones(25), mode="valid")
    dims = ("sample", "lead", "time")
    net = nn.Linear(1, 1)

    def judged(maps):
        for i in range(0, len(maps), 2):
            pair = {True: maps[i : i + 1], False: maps[i + 1 : i + 2]}
            yield cascade(net, lambda m, pair=pair: pair[m is net], dims=dims, draws=60).attrs

    # Unrelated maps leave the bands in 1 case of 20: in 5 or more of 20 with a chance of 0.003.
    found = list(judged(smooth))
    assert sum(attrs["verdict"].startswith("passes") for attrs in found) >= 16
    rough = [attrs["spearman_band"] for attrs in judged(noise[:10])]
    assert np.mean([attrs["spearman_band"] for attrs in found]) > 2 * np.mean(rough)


def test_a_constant_map_is_no_verdict(rows):
    net = mlp()
    found = cascade(net, lambda m: rows if m is net else 0 * rows)
    assert found.attrs["verdict"].startswith("undecided")
    assert np.isnan(found.spearman).all()


def test_labels_are_kept_and_explain_goes_together():
    x = signals()
    net = smooth_net()
    explain = lambda m: ta.explain(m, x, ta.Saliency(absolute=False), target=1).attribution  # noqa: E731
    found = cascade(net, explain, draws=50)
    assert found.sample.values.tolist() == x.sample.values.tolist()
    assert found.spearman.dims == ("layer", "sample")
    turned = cascade(net, lambda m: explain(m).transpose("time", "sample", "lead"), draws=50)
    xr.testing.assert_allclose(found, turned, rtol=1e-12)
    assert turned.attrs["verdict"] == found.attrs["verdict"]
    assert found.spearman_control.dims == ("draw", "sample")
    maps = explain(net).values
    control = smooth_random(maps, replace(sample_key(4, draw=7), sample=np.zeros(4, np.uint64)), ("lead", "time"))
    np.testing.assert_allclose(found.spearman_control[7], spearman(maps, control), rtol=1e-12)


def logistic(x, y):
    """A linear model fitted by least squares, from a start that the global generator draws."""
    start = 1e-3 * torch.randn(x.shape[1], dtype=x.dtype)
    y = torch.tensor(np.asarray(y), dtype=x.dtype)
    layer = nn.Linear(x.shape[1], 1, dtype=x.dtype)
    with torch.no_grad():
        layer.weight.copy_((start + torch.linalg.lstsq(x, y[:, None] - 0.5).solution[:, 0])[None])
    return layer


@pytest.mark.parametrize(
    "kind",
    [
        list,
        np.asarray,
        torch.as_tensor,
        pd.Series,
        lambda y: xr.DataArray(y, dims="sample", coords={"sample": range(len(y))}),
    ],
)
def test_permuted_labels(kind):
    x = torch.randn(2000, 30, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    y = (x @ torch.linspace(-1, 1, 30, dtype=x.dtype) > 0).long().tolist()
    seen = []

    def train(x, y):
        seen.append(y)
        seen.append((torch.rand(1).item(), np.random.rand(), random.random()))  # noqa: NPY002
        return logistic(x, y)

    state = torch.get_rng_state()
    found = label_randomisation(train, gradient(x[:3]), x, kind(y), dims=("sample", "feature"))
    assert torch.equal(torch.get_rng_state(), state)
    true, first, permuted, second = seen
    assert first == second
    assert type(true) is type(permuted)
    assert list(np.asarray(true)) == y
    assert list(np.asarray(permuted)) != y
    assert sorted(np.asarray(permuted)) == sorted(y)
    if isinstance(true, pd.Series):
        assert true.index.equals(permuted.index)
    if isinstance(true, xr.DataArray):
        assert true.sample.equals(permuted.sample)
    assert found.spearman.dims == ("sample",)
    assert found.attrs["verdict"].startswith("passes: labels permuted")
    again = label_randomisation(train, lambda m: x[:3], x, kind(y))
    assert again.attrs["verdict"].startswith("fails: labels permuted")


def test_seeds_is_the_agreement_of_models(rows):
    models = {name: mlp(s) for s, name in enumerate("abc")}
    maps = {name: gradient(rows)(m).numpy() for name, m in models.items()}
    expected = agreement(maps, share=0.2)
    xr.testing.assert_identical(seeds(models, gradient(rows), share=0.2), expected)
    numbered = expected.assign_coords(member=[0, 1, 2], member_other=[0, 1, 2])
    xr.testing.assert_identical(seeds(list(models.values()), gradient(rows), share=0.2), numbered)
    xr.testing.assert_identical(seeds(mlp, gradient(rows), number=3, share=0.2), numbered)


def test_what_makes_no_sense_is_refused(rows):
    with pytest.raises(ValueError, match="'cascading' or 'independent', got 'random'"):
        next(randomised(mlp(), order="random"))
    with pytest.raises(ValueError, match="no parameters"):
        next(randomised(nn.ReLU()))
    with pytest.raises(ValueError, match=r"maps\[None\]"):
        cascade(mlp(), lambda m: np.ones(3))
    with pytest.raises(ValueError, match="two draws at least"):
        cascade(mlp(), gradient(rows), draws=1)
    net = mlp()
    with pytest.raises(ValueError, match="same samples and cells"):
        cascade(net, lambda m: rows if m is net else rows[:3])
