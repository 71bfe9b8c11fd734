"""What has changed, pushed through a network, gives what the whole rows give."""

import re

import numpy as np
import pytest
import torch
import xarray as xr
from hypothesis import HealthCheck, given, settings
from torch import nn
from torch.nn import functional as F

import tsattr as ta
from tsattr.core.evaluation import removals
from tsattr.core.evaluation.incremental import cost, evaluation

from .networks import cases

quiet = {"deadline": None, "suppress_health_check": list(HealthCheck), "derandomize": True, "database": None}


@settings(max_examples=300, **quiet)
@given(cases())
def test_a_random_network_gives_what_it_gives_of_whole_rows(case):
    case.check(1e-10)


@settings(max_examples=100, **quiet)
@given(cases(torch.float32))
def test_a_random_network_in_single_precision(case):
    case.check(1e-5)


@pytest.mark.slow
@settings(max_examples=5000, **(quiet | {"derandomize": False}))
@given(cases())
def test_thousands_of_random_networks(case):
    case.check(1e-10)


# ---- calls


@pytest.fixture
def eager(monkeypatch):
    """As if operations cost nothing of themselves, so that a small network is worth while."""
    monkeypatch.setattr(cost, "_CPU", (0.0, 1e-9, 4e-11))
    monkeypatch.setattr(evaluation, "_GAIN", 1.0)
    monkeypatch.setattr(evaluation, "_TIMES", 0)
    monkeypatch.setattr(evaluation, "_WORTH", 0)


def network(length=240, seed=0):
    """Convolutions, pooling, a residual; trained-looking statistics."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return Network(length).double().eval()


class Network(nn.Module):
    def __init__(self, length):
        super().__init__()
        self.stem, self.norm = nn.Conv1d(4, 8, 7, 2, 3), nn.BatchNorm1d(8)
        self.body, self.head = nn.Conv1d(8, 8, 5, padding=2), nn.Linear(8, 3)

    def forward(self, x):
        y = F.max_pool1d(F.relu(self.norm(self.stem(x))), 2)
        y = F.relu(self.body(y) + y)
        return self.head(y.mean(2))


def signal(samples=3, length=240, seed=1):
    x = np.random.default_rng(seed).normal(size=(samples, 4, length))
    return xr.DataArray(x, dims=("sample", "lead", "time"))


def both(monkeypatch, model, x, method, target=1, **settings):
    """A result by what has changed, and densely."""
    found = ta.explain(model, x, method, target=target, **settings)
    with monkeypatch.context() as patch:
        patch.setattr(removals, "EVALUATIONS", ())
        return found, ta.explain(model, x, method, target=target, **settings)


METHODS = {
    "leads apart": ta.Occlusion(ta.groups.Windows(time=5, lead=1)),
    "all leads": ta.Occlusion(ta.groups.Windows(time=4), ta.baselines.Mean("time")),
    "overlapping": ta.Occlusion(ta.groups.Windows(time=9, step=4), ta.baselines.Bridge()),
    "drawn": ta.Occlusion(ta.groups.Windows(time=12), ta.baselines.Gaussian(1.0), draws=4),
}


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("batch", ["auto", 7])
def test_a_call_gives_what_it_gives_densely_and_says_how(monkeypatch, name, batch):
    found, dense = both(monkeypatch, network(), signal(), METHODS[name], batch_size=batch)
    assert found.attrs["evaluation"] == "incremental"
    assert "evaluation" not in dense.attrs
    xr.testing.assert_allclose(found, dense, rtol=1e-10, atol=1e-12)


@pytest.mark.usefixtures("eager")
def test_the_model_is_as_it_was_and_no_row_is_written_into(monkeypatch):
    net, x = network(), signal()
    before, kept = {k: v.clone() for k, v in net.state_dict().items()}, x.copy(deep=True)
    both(monkeypatch, net, x, METHODS["all leads"])
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())
    xr.testing.assert_identical(x, kept)


@pytest.mark.usefixtures("eager")
def test_padded_and_missing_cells(monkeypatch):
    x = signal()
    x[0, :, 200:] = np.nan
    x[1, 2, 50:60] = np.nan
    model = lambda x: network()(x.nan_to_num())  # noqa: E731
    found, dense = both(monkeypatch, model, x, METHODS["leads apart"])
    xr.testing.assert_allclose(found, dense, rtol=1e-10, atol=1e-12)


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("size", [1e6, 1e20])
def test_a_cell_that_is_far_too_large_leaves_nothing_of_itself(monkeypatch, size):
    """A fill value of a file, a spike: what is rounded away beside it is there again without it."""
    x, net = signal().astype(np.float32), network().float()
    x[0, 1, 101] = size
    found, dense = both(monkeypatch, lambda x: net.head(net.stem(x).tanh().mean(2)), x, METHODS["leads apart"])
    assert found.attrs["evaluation"] == "incremental"
    np.testing.assert_allclose(found.group_value, dense.group_value, rtol=0, atol=1e-6)


@pytest.mark.usefixtures("eager")
def test_a_model_that_rounds_more_than_its_outputs_tell(monkeypatch):
    """What cancels leaves the rounding of what it was: it is seen by the last place of the input, and is no reason to refuse."""
    x, net = signal().astype(np.float32), network().float()
    large = 1e4 * net.head.weight

    def model(x):
        y = net.stem(x).tanh().mean(2)
        return F.linear(y, large + net.head.weight) - F.linear(y, large)

    found, dense = both(monkeypatch, model, x, METHODS["leads apart"])
    assert found.attrs["evaluation"] == "incremental"
    np.testing.assert_allclose(found.group_value, dense.group_value, rtol=0, atol=1e4 * 2.0**-20)


def said(model, x=None, method=METHODS["all leads"], **settings):
    return ta.explain(model, signal() if x is None else x, method, **{"target": 1, **settings}).attrs.get("evaluation")


class Hooked(Network):
    def __init__(self, length):
        super().__init__(length)
        self.body.register_forward_hook(lambda *_: None)


class Grouped(Network):
    def __init__(self, length):
        super().__init__(length)
        self.norm = nn.GroupNorm(2, 8)


def test_why_it_is_not_used(monkeypatch):
    assert said(network()) == "not incremental: 180 rows, which take no longer than a trial is worth; dense"
    monkeypatch.setattr(evaluation, "_TIMES", 0)
    assert (
        said(network(), method=METHODS["leads apart"], batch_size=1)
        == "not incremental: one row is asked about at a time; dense"
    )
    assert said(network(), method=ta.Occlusion(ta.groups.Along("lead"))).startswith("not incremental: 12 rows, fewer")
    sets = ta.ShapleySampling(ta.groups.Windows(time=20), draws=8)
    assert said(network(), method=sets) == "not incremental: what is absent spans nearly the whole sample; dense"
    assert said(Hooked(240).double()) == "not incremental: a hook of the model sees its activations; dense"
    assert re.match(r"not incremental: a row would take [.\d]+ of a forward pass; dense", said(Grouped(240).double()))
    assert said(network(), x=signal(length=60)) is None  # too small for anyone to wonder
    assert said(nn.Sequential(nn.Flatten(), nn.Linear(960, 3)).double()) is None  # no layer looks at a neighbourhood


@pytest.mark.usefixtures("eager")
def test_a_model_that_takes_another_way_from_batch_to_batch(monkeypatch):
    net = network()

    def model(x):
        calls.append(len(x))
        y = F.relu(net.norm(net.stem(x)))
        scale = torch.full((8, 1), 1.0 + len(calls) % 2, dtype=x.dtype)  # made anew, and not always the same
        y = y * scale / scale if len(calls) % 3 else y / scale * scale
        return net.head(y.mean(2))

    calls = []
    found, dense = both(monkeypatch, model, signal(), METHODS["all leads"], check=False, batch_size=16)
    assert found.attrs["evaluation"] == "incremental"
    xr.testing.assert_allclose(found, dense, rtol=1e-10, atol=1e-12)


def aliased(x, net):
    y = net.stem(x)
    z = y
    z += 1
    F.relu_(y)
    y.clamp_(max=2)
    return net.head((y + z).mean(2))


def written_by_a_view(x, net):
    y = net.stem(x)
    y[:, :4].relu_()
    return net.head(y.mean(2))


def written_into(x, net):
    y = net.stem(x)
    y[:, :, 3] = 0
    return net.head(y.mean(2))


def by_a_transposed_view(x, net):
    y = net.stem(x)
    t = y.mT  # no rule knows it
    t.mul_(2)
    return net.head(y.mean(2))


def input_written_into(x, net):
    x -= 1
    x.mul_(2)
    return net.head(net.stem(x).mean(2))


def by_value(x, net):
    y = net.stem(x)
    return net.head(y.mean(2) if len(x) > 1e6 or bool((y > -1e9).all()) else y.amax(2))


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize(
    "f", [aliased, written_by_a_view, written_into, by_a_transposed_view, input_written_into, by_value]
)
def test_what_is_written_in_place_is_seen_or_refused(monkeypatch, f):
    net = network()
    found, dense = both(monkeypatch, lambda x: f(x, net), signal(), METHODS["all leads"])
    xr.testing.assert_allclose(found, dense, rtol=1e-10, atol=1e-12)
    if f in (aliased, input_written_into):
        assert found.attrs["evaluation"] == "incremental"
    if f is written_by_a_view:
        assert "by way of a part of it" in found.attrs["evaluation"]


@pytest.mark.usefixtures("eager")
def test_whole_rows_where_they_are_asked_for():
    x = signal()
    dense = ta.explain(network(), x, METHODS["all leads"], target=1, evaluation="dense")
    assert "evaluation" not in dense.attrs
    with pytest.raises(ValueError, match=r"evaluation is one of \(None, 'dense', 'exact'\), got 'quick'"):
        ta.explain(network(), x, METHODS["all leads"], target=1, evaluation="quick")
    cost = ta.explain(network(), x, METHODS["all leads"], target=1, evaluation="dense", dry_run="rows")
    assert cost.attrs["rows"] < ta.explain(network(), x, METHODS["all leads"], target=1, dry_run="rows").attrs["rows"]


def test_a_call_that_is_too_short_is_not_tried_at_all():
    x, method = signal(), METHODS["leads apart"]
    short = ta.explain(network(), x, method, target=0)
    plain = ta.explain(network(), x, method, target=0, evaluation="dense")
    assert short.attrs["trial_rows"] == plain.attrs["trial_rows"]
    xr.testing.assert_identical(short.attribution, plain.attribution)


def test_a_trial_must_save_what_it_takes(monkeypatch, eager):
    monkeypatch.setattr(evaluation, "_WORTH", 100)
    found = ta.explain(network(), signal(), METHODS["leads apart"], target=0)
    assert found.attrs["evaluation"].endswith("rows, of which a trial would take what is saved; dense")
