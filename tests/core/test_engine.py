import collections
import dataclasses
import random
import types
from collections import OrderedDict

import numpy as np
import pytest
import torch
import xarray as xr

import tsattr as ta
from tsattr.core.bound import BoundTargets
from tsattr.core.engine import Engine, smooth
from tsattr.core.preserve import preserved_state
from tsattr.core.samples import Moments

W = torch.arange(1.0, 9.0, dtype=torch.float64)
X = np.random.default_rng(0).normal(size=(5, 8))
CPU = torch.device("cpu")


def f(x):
    return torch.tanh(x) @ W.to(x)


class Spy:
    """A model that keeps what it was given and has memory for so many rows."""

    def __init__(self, f=f, memory=None, error=torch.cuda.OutOfMemoryError):
        self.f, self.memory, self.error, self.batches = f, memory, error, []

    def __call__(self, x):
        if self.memory is not None and len(x) > self.memory:
            raise self.error("DefaultCPUAllocator: can't allocate memory: you tried to allocate 5 TB")
        self.batches.append(x.detach().clone())
        return self.f(x)


METHODS = {
    "integrated gradients": ta.IntegratedGradients(ta.baselines.Uniform(-1.0, 1.0), draws=3, steps=5),
    "refined": ta.IntegratedGradients(),
    "occlusion": ta.Occlusion(ta.groups.Windows(dim_1=3, step=2), ta.baselines.Gaussian(1.0), draws=2),
    "saliency": ta.Saliency(),
    "smoothgrad": ta.SmoothGrad(draws=4),
}


@pytest.fixture(params=METHODS)
def method(request):
    return METHODS[request.param]


def same(one, other):
    assert set(one) == set(other)
    for name in one:
        if one[name].dtype.kind == "f":
            np.testing.assert_allclose(one[name], other[name], rtol=1e-12, atol=1e-12)
        else:
            np.testing.assert_array_equal(one[name], other[name])


# ---- batches


@pytest.mark.parametrize("rows", [1, 2, 7, 1000])
def test_where_batches_are_cut_does_not_matter(method, rows):
    spy = Spy()
    same(ta.explain(spy, X, method, batch_size=rows), ta.explain(f, X, method))
    assert max(map(len, spy.batches)) <= rows


def test_batches_are_filled(method):
    spy = Spy()
    ds = ta.explain(spy, X, method, batch_size=4, check=False)
    asked = int(ds.model_evaluations.sum())
    assert sum(map(len, spy.batches)) == asked
    assert len(spy.batches) <= asked / 4 + 12


@pytest.mark.parametrize("error", [torch.cuda.OutOfMemoryError, MemoryError, RuntimeError])
@pytest.mark.parametrize("memory", [1, 3, 6])
def test_batches_halve_when_memory_runs_out(method, memory, error):
    spy = Spy(memory=memory, error=error)
    same(ta.explain(spy, X, method), ta.explain(f, X, method))
    assert max(map(len, spy.batches)) <= memory


def test_a_model_may_write_into_its_input(method):
    def writes(x):
        x *= 1.0
        return f(x)

    before = X.copy()
    same(ta.explain(writes, X, method), ta.explain(f, X, method))
    assert (before == X).all()


def test_a_batch_size_that_was_given_is_kept_and_the_error_says_what_to_do(method):
    with pytest.raises(MemoryError, match="no memory for a batch of 5 rows; give a smaller batch_size"):
        ta.explain(Spy(memory=4), X, method, batch_size=5)


def test_one_row_too_many():
    with pytest.raises(MemoryError, match="no memory for a batch of 1 rows"):
        ta.explain(Spy(memory=0), X, ta.Saliency())


def test_another_error_is_not_taken_for_memory(method):
    def broken(x):
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        ta.explain(broken, X, method)


# ---- what a model may return


@pytest.mark.parametrize(
    ("model", "error", "message"),
    [
        (lambda x: f(x)[:-1], ValueError, r"returned shape \(4,\) for 5 rows; it must give one output for each row"),
        (lambda x: f(x).sum(), ValueError, r"returned shape \(\) for 5 rows"),
        (lambda x: (f(x), None), TypeError, r"must return one tensor, got tuple; wrap it: lambda x: model\(x\)\[0\]"),
        (lambda x: {"logits": f(x)}, TypeError, "must return one tensor, got dict; wrap it"),
        (lambda x: torch.complex(f(x), f(x)), TypeError, "output is complex; return real numbers, such as its modulus"),
    ],
)
def test_what_a_model_must_return(method, model, error, message):
    with pytest.raises(error, match=message):
        ta.explain(model, X, method, check=False)


Pair = collections.namedtuple("Pair", "hidden logits")


@dataclasses.dataclass
class Output:
    loss: object
    logits: torch.Tensor


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda y: {"hidden": None, "scores": y}, r"model\(x\)\['scores'\], .* its tensors are \['scores'\] \(2,\)"),
        (lambda y: OrderedDict(logits=y, states=y[:, None]), r"\['logits'\] \(2,\), \['states'\] \(2, 1\)"),
        (lambda y: (None, y), r"got tuple; wrap it: lambda x: model\(x\)\[1\]"),
        (lambda y: Pair(None, y), r"got Pair; wrap it: lambda x: model\(x\)\.logits"),
        (lambda y: Output(None, y), r"got Output; wrap it: lambda x: model\(x\)\.logits"),
        (lambda y: types.SimpleNamespace(value=y), r"got SimpleNamespace; wrap it: lambda x: model\(x\)\.value"),
        (lambda y: y.detach().numpy(), r"got ndarray; where it works on numpy arrays, give ta.models.on_arrays\(f\)"),
        (lambda y: None, "got NoneType; return one of numbers"),
        (lambda y: y.detach().to_sparse(), r"output is a torch.sparse_coo tensor .* return a plain one: to_dense\(\)"),
    ],
)
def test_outputs_that_are_structures_are_told_by_their_fields(make, message):
    with pytest.raises(TypeError, match=message):
        ta.explain(lambda x: make(f(x)), X, ta.Saliency())


@pytest.mark.parametrize("rows", [1, 2, 4, "auto"])
@pytest.mark.parametrize("check", [True, False])
@pytest.mark.parametrize("classes", [1, 2, 8])
def test_a_squeezed_output_is_that_of_the_model_without(method, rows, check, classes):
    whole = lambda x: torch.tanh(x[:, :classes])  # noqa: E731
    squeezed = lambda x: whole(x)[:, None].squeeze()  # noqa: E731
    target = 0 if classes > 1 else None
    for x in (X, X[:1]):
        found = ta.explain(squeezed, x, method, target=target, batch_size=rows, check=check)
        expected = ta.explain(whole, x, method, target=target, batch_size=rows, check=check)
        assert found.attribution.identical(expected.attribution)
        assert found.model_evaluations.identical(expected.model_evaluations)


def test_an_output_of_no_row_is_not_taken_for_a_squeezed_one():
    for model in (lambda x: x.sum(0), lambda x: x.sum((0, 1)), lambda x: torch.ones(3, dtype=x.dtype)):
        for rows in (1, "auto"):
            for check in (True, False):
                with pytest.raises(ValueError, match="must give one output for each row"):
                    ta.explain(model, X, ta.Saliency(), target=0, batch_size=rows, check=check)


def test_an_output_that_is_the_input_or_another_tensor_of_the_model_is_copied():
    kept = torch.zeros(64, 8, dtype=torch.float64)
    occlusion = ta.Occlusion(ta.groups.Cells())
    target = ta.targets.Divergence("kl")
    expected = ta.explain(lambda x: x.clone(), X, occlusion, target=target, batch_size=3).attribution
    for model in (lambda x: x, lambda x: x.view_as(x), lambda x: kept[: len(x)].copy_(x)):
        found = ta.explain(model, X, occlusion, target=target, batch_size=3)
        np.testing.assert_array_equal(found.attribution, expected)


def test_a_target_out_of_range_is_found_at_the_first_batch():
    spy = Spy(lambda x: x)
    with pytest.raises(IndexError, match="target 8 is out of range: output axis 'output' has 8 entries"):
        ta.explain(spy, X, ta.Occlusion(ta.groups.Cells()), target=8, batch_size=2)
    assert len(spy.batches) == 1


def test_no_gradient_says_what_to_use():
    for model in (lambda x: f(x).detach(), lambda x: (x > 0).sum(1)):
        with pytest.raises(TypeError, match=r"no gradient with respect to its input .* use Occlusion, or keep"):
            ta.explain(model, X, ta.Saliency())


def test_a_cell_the_model_never_reads_has_gradient_zero():
    ds = ta.explain(lambda x, age: f(age), ds_of(x=X, age=X), ta.Saliency())
    assert not ds.attribution_x.any()
    assert ds.attribution_age.all()


def ds_of(**variables):
    return xr.Dataset({k: (("sample", "cell"), v) for k, v in variables.items()})


# ---- kinks


class Opaque(torch.autograd.Function):
    """A ReLU that the graph does not show."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.relu()

    @staticmethod
    def backward(ctx, gradient):
        return gradient * (ctx.saved_tensors[0] > 0)


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        (torch.nn.Sequential(torch.nn.Linear(8, 4), torch.nn.Tanh(), torch.nn.Linear(4, 2), torch.nn.Softmax(1)), True),
        (torch.nn.Sequential(torch.nn.Linear(8, 4), torch.nn.Softplus(), torch.nn.Linear(4, 2)), True),
        (torch.nn.Sequential(torch.nn.Linear(8, 4), torch.nn.ReLU(), torch.nn.Linear(4, 2)), False),
        (torch.nn.Sequential(torch.nn.Unflatten(1, (1, 8)), torch.nn.MaxPool1d(2), torch.nn.Flatten()), False),
        (lambda x: x.abs().sum(1), False),
        (lambda x: x.clamp(-1, 1).sum(1), False),
        (lambda x: torch.where(x > 0, x, 0).sum(1), False),
        (lambda x: (x**3).logsumexp(1), True),
        (lambda x: Opaque.apply(x).sum(1), False),
    ],
)
def test_kinks_are_seen_in_the_graph(model, expected):
    x = torch.randn(3, 8, generator=torch.Generator().manual_seed(0), requires_grad=True)
    assert smooth(model(x)) is expected


# ---- everything as it was


def states():
    return torch.get_rng_state().tolist(), np.random.get_state()[1].tolist(), random.getstate()  # noqa: NPY002


def network():
    torch.manual_seed(0)
    net = torch.nn.Sequential(
        torch.nn.Linear(8, 6), torch.nn.BatchNorm1d(6), torch.nn.ReLU(), torch.nn.Dropout(0.5), torch.nn.Linear(6, 3)
    ).double()
    net[0].weight.requires_grad_(False)
    net[1].eval()
    net[4].weight.grad = torch.ones_like(net[4].weight)
    net.register_forward_hook(lambda module, args, out: None)
    return net


def snapshot(net):
    return (
        {k: v.tolist() for k, v in net.state_dict().items()},
        [m.training for m in net.modules()],
        [p.requires_grad for p in net.parameters()],
        [None if p.grad is None else p.grad.tolist() for p in net.parameters()],
        [dict(m._forward_hooks) | dict(m._backward_hooks) | dict(m._forward_pre_hooks) for m in net.modules()],
        [p.data_ptr() for p in net.parameters()],
        (torch.backends.cudnn.enabled, torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic),
        torch.is_grad_enabled(),
    )


@pytest.mark.parametrize("fails", [False, True])
def test_the_model_and_the_random_states_are_left_as_they_were(method, fails):
    net = network()
    calls = []

    def noisy(module, args):
        calls.append(len(args[0]))
        torch.rand(3)
        np.random.random()  # noqa: NPY002
        random.random()
        assert not any(m.training for m in module.modules())
        if fails and len(calls) == 2:
            raise KeyError("a model's own trouble")

    net.register_forward_pre_hook(noisy)
    before, numbers = snapshot(net), states()
    x = X.copy()
    if fails:
        with pytest.raises(KeyError, match="a model's own trouble"):
            ta.explain(net, x, method, target=1, batch_size=3)
    else:
        ta.explain(net, x, method, target=1, batch_size=3)
    assert calls
    assert snapshot(net) == before
    assert states() == numbers
    np.testing.assert_array_equal(x, X)


def test_a_bound_method_is_its_module(method):
    net = network().train()
    same(ta.explain(net.forward, X, method, target=1), ta.explain(net, X, method, target=1))
    assert net.training


def test_gradients_work_where_they_are_switched_off(method):
    with torch.no_grad():
        found = ta.explain(f, X, method)
        assert not torch.is_grad_enabled()
    same(found, ta.explain(f, X, method))


def test_untouched_without_a_module():
    with preserved_state(None, None, draws=True):
        first = torch.rand(3)
    assert torch.equal(first, torch.rand(3))


def test_autocast_is_close(method):
    net = network().float().eval()
    x = X.astype(np.float32)
    full, half = (ta.explain(net, x, method, target=1, autocast=a) for a in (None, "bfloat16"))
    scale = np.abs(full.attribution).max()
    difference = np.abs(half.attribution - full.attribution).max()
    assert 0 < difference < 0.05 * scale
    assert half.attribution.dtype == np.float32
    assert not torch.is_autocast_enabled("cpu")
    with pytest.raises(ValueError, match="autocast is 'bfloat16', 'float16' or None, got 'int8'"):
        ta.explain(net, x, method, autocast="int8")


# ---- progress and cost


@pytest.mark.parametrize("rows", [3, "auto"])
def test_progress_runs_up_to_its_total(method, rows):
    seen = []
    ds = ta.explain(f, X, method, batch_size=rows, progress=lambda done, total: seen.append((done, total)))
    done, total = map(list, zip(*seen))
    assert done == sorted(set(done))
    assert total == sorted(total)
    assert all(d <= t for d, t in seen)
    assert done[-1] == total[-1] == int(ds.model_evaluations.sum())


def test_a_progress_bar(method, capsys):
    ta.explain(f, X, method, progress=True)
    assert "explain: 100%" in capsys.readouterr().err


@pytest.mark.parametrize("name", [k for k in METHODS if k != "refined"])
def test_a_dry_run_counts_the_rows_and_calls_nothing(name):
    spy = Spy()
    cost = ta.explain(spy, X, METHODS[name], dry_run="rows", batch_size=4, check=False)
    assert not spy.batches
    ds = ta.explain(f, X, METHODS[name])
    np.testing.assert_array_equal(cost.model_evaluations, ds.model_evaluations)
    assert cost.attrs["rows"] == int(ds.model_evaluations.sum())
    assert cost.attrs["model_calls"] == -(-cost.attrs["rows"] // 4)


def test_a_dry_run_bounds_what_refinement_may_need():
    cost = ta.explain(f, X, METHODS["refined"], dry_run=True)
    used = ta.explain(f, X, METHODS["refined"]).model_evaluations
    assert (cost.model_evaluations_least <= used).all()
    assert (used <= cost.model_evaluations).all()


# ---- moments


def test_moments_are_numpys():
    values = np.random.default_rng(1).normal(size=(4, 2, 3)) + 1e8
    moments = Moments(2, (3,), 4, CPU)
    for draws in ([0], [1, 2], [3]):
        i, draw = torch.tensor([0] * len(draws) + [1] * len(draws)), torch.tensor(draws * 2)
        moments.add(i, draw, torch.as_tensor(values[draw, i]))
    np.testing.assert_allclose(moments.mean(), values.mean(0), rtol=1e-12)
    np.testing.assert_allclose(moments.standard_error(), values.std(0, ddof=1) / 2, rtol=1e-6)
    assert (Moments(2, (3,), 1, CPU).mean() == 0).all()


def test_equal_draws_have_no_standard_error():
    moments = Moments(1, (1,), 3, CPU)
    moments.add(torch.zeros(3, dtype=torch.long), torch.arange(3), torch.full((3, 1), 0.1, dtype=torch.float64))
    assert float(moments.standard_error()) == 0


def test_cut_covers_every_row_once():
    engine = Engine(lambda x, p: x, lambda shape: BoundTargets(()), CPU, batch_size=4)
    assert [(at.start, at.stop) for at, _ in engine.cut(10, lambda at: at)] == [(0, 4), (4, 8), (8, 10)]


@pytest.mark.parametrize("compares", [True, False])
def test_outputs_are_kept_only_where_a_target_compares_with_them(compares):
    x = torch.as_tensor(X)
    engine = Engine(
        lambda rows, at: rows**2, lambda shape: BoundTargets((lambda y, y0: y[:, 3],)), CPU, compares, batch_size=2
    )
    values, outputs = engine.predict(x, torch.arange(5), graph=False)
    torch.testing.assert_close(values, x[:, 3:4] ** 2)
    if compares:
        torch.testing.assert_close(outputs, x**2)
    else:
        assert outputs is None
