import copy
import random
import sys
import threading
import time
import warnings

import numpy as np
import pytest
import torch
from torch import nn

import tsattr as ta
from tsattr.core import preserve
from tsattr.core.preserve import preserved_state, temporary_hooks, without_cudnn

CPU = torch.device("cpu")
X = np.random.default_rng(0).normal(size=(5, 8)).astype(np.float32)


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Dropout(0.5), nn.Linear(6, 3))


def together(*work):
    """What functions return that run in a thread each; the first error of any."""
    found, errors = {}, []

    def run(k, f):
        try:
            found[k] = f()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=pair) for pair in enumerate(work)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    if errors:
        raise errors[0]
    return [found[k] for k in range(len(work))]


# ---- what a model holds


class Keeps(nn.Module):
    """Writes into all that it holds, in every way."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(8, 2)
        self.register_buffer("low", torch.zeros(()))
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))
        self.register_buffer("passed", torch.zeros(3), persistent=False)
        self.register_buffer("new", torch.zeros(2))
        self.plain = torch.zeros(2)
        self.state = None
        self.pair = (torch.zeros(1), torch.zeros(1))
        self.calls = 0

    def forward(self, x):
        with torch.no_grad():
            self.low.data.copy_(torch.minimum(self.low, x.min()))
            self.seen += len(x)
            self.passed[0] = 1
            self.new = self.new + 1
            self.plain += 1
            self.state = x.mean(0)
            self.pair[0].fill_(2)
            self.pair = (torch.ones(1), torch.ones(1))
            self.late = torch.ones(2)
        self.calls += 1
        return self.linear(x)


def held(net):
    return {
        name: copy.deepcopy(v) for name, v in {**vars(net), **net._buffers}.items() if name not in vars(nn.Module())
    }


@pytest.mark.parametrize("fails", [False, True])
def test_tensors_that_a_model_holds_are_put_back_in_value_and_identity(fails):
    net = Keeps()
    before, objects = held(net), {**net._buffers, "plain": net.plain, "pair": net.pair}
    if fails:
        net.register_forward_hook(lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            ta.explain(net, X, ta.Saliency(), target=0)
    else:
        ta.explain(net, X, ta.Saliency(), target=0)
    after = held(net)
    assert after.pop("calls") > before.pop("calls")  # numbers that a model counts are its own business
    assert before.keys() == after.keys()
    assert after["state"] is None
    for name, value in before.items():
        for was, now in zip(value, after[name]) if name == "pair" else [(value, after[name])]:
            assert now is was or torch.equal(was, now), name
    for name, value in objects.items():
        assert {**vars(net), **net._buffers}[name] is value, name


def test_what_did_not_change_is_not_written_to():
    net = network()
    versions = {name: b._version for name, b in net.named_buffers()}
    ta.explain(net, X, ta.Saliency(), target=0)
    assert {name: b._version for name, b in net.named_buffers()} == versions


def test_a_tensor_too_large_to_be_copied_is_told(monkeypatch):
    monkeypatch.setattr(preserve, "_COPY_LIMIT", 30)
    net = Keeps()
    with pytest.warns(RuntimeWarning, match="Keeps wrote into a tensor of .* of which no copy was kept"):
        ta.explain(net, X, ta.Saliency(), target=0)
    quiet = network()
    ta.explain(quiet, X, ta.Saliency(), target=0)


class Merges(nn.Linear):
    """Adds to its weight in eval mode, as adapters do."""

    merged = False

    def train(self, mode=True):
        if mode == self.merged:
            self.weight.data += -1 if mode else 1
            self.merged = not mode
        return super().train(mode)


def test_weights_that_a_change_of_mode_merges_are_put_back():
    net = nn.Sequential(Merges(8, 2))
    weight = net[0].weight.detach().clone()
    ta.explain(net, X, ta.Saliency(), target=0)
    assert torch.equal(net[0].weight, weight)
    assert net[0].training


def scripted(net, *changes):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of TorchScript itself
        net = torch.jit.script(net)
        for change in changes:
            net = change(net)
    return net


def exported(net):
    torch._dynamo.reset()  # old torches count every export against one limit of recompilations
    rows = torch.export.Dim("rows", min=1, max=8192)
    return torch.export.export(net, (torch.as_tensor(X),), dynamic_shapes=({0: rows},)).module()


KINDS = {
    "scripted": lambda net: scripted(net),
    "frozen": lambda net: scripted(net, torch.jit.freeze),
    "traced": lambda net: torch.jit.trace(net, torch.as_tensor(X)),
    "exported": exported,
    "compiled": lambda net: torch.compile(net, backend="eager"),
    "compiled with autograd": lambda net: torch.compile(net, backend="aot_eager"),
    "in another module": lambda net: nn.Sequential(nn.Identity(), scripted(net, torch.jit.freeze), nn.Identity()),
    "exported, in another module": lambda net: nn.Sequential(exported(net), nn.Dropout(0.5)),
    "in parallel": nn.DataParallel,
}


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")  # of torch.compile at work
@pytest.mark.filterwarnings("ignore:`torch.jit.*:DeprecationWarning")
@pytest.mark.parametrize("method", [ta.Saliency(), ta.IntegratedGradients(steps=3), ta.Occlusion(ta.groups.Cells())])
@pytest.mark.parametrize("kind", KINDS)
def test_a_model_as_it_is_deployed_gives_the_numbers_of_its_module(kind, method):
    net = network().eval()
    made = KINDS[kind](net)
    modes = [getattr(m, "training", "none") for m in made.modules()]
    found = ta.explain(made, X, method, target=1)
    np.testing.assert_allclose(found.attribution, ta.explain(net, X, method, target=1).attribution, atol=1e-5)
    assert [getattr(m, "training", "none") for m in made.modules()] == modes
    assert not any("training" in vars(m) for m in made.modules() if getattr(m, "training", "none") == "none")


class Counts(nn.Module):
    def __init__(self):
        super().__init__()
        self.plain = torch.zeros(2)
        self.register_buffer("buffer", torch.zeros(2))

    def forward(self, x):
        self.plain = self.plain + 1
        self.buffer += 1
        return x.sum(1)


def test_tensors_of_torchscript_are_put_back():
    net = scripted(Counts())
    ta.explain(net, X, ta.Saliency())
    assert net.plain.tolist() == net.buffer.tolist() == [0, 0]


# ---- two calls at once


class Meets(nn.Module):
    """A network of which one call waits within its first pass until the other has ended."""

    def __init__(self, net, waits="first"):
        super().__init__()
        self.net, self.waits = net, waits
        self.begun, self.ended = threading.Event(), threading.Event()

    def forward(self, x):
        if threading.current_thread().name == self.waits and not self.begun.is_set():
            self.begun.set()
            assert self.ended.wait(20)
        assert not self.training
        return self.net(x)


def overlapping(model, first, second):
    """What two functions return, the second of which begins and ends within the first."""
    found, errors = {}, {}

    def run(name, f):
        try:
            if name == "second":
                assert model.begun.wait(20)
            found[name] = f()
        except BaseException as error:
            errors[name] = error
        finally:
            if name == "second":
                model.ended.set()

    threads = [threading.Thread(target=run, args=pair, name=pair[0]) for pair in (("first", first), ("second", second))]
    for t in threads:
        t.start()
    for t in threads:
        t.join(40)
    return found, errors


@pytest.mark.parametrize("error", [None, KeyError, KeyboardInterrupt])
@pytest.mark.parametrize("shared", [False, True])
def test_a_call_that_ends_first_leaves_the_mode_to_the_other(error, shared):
    net = network().train()
    model = Meets(net)
    other = nn.Sequential(nn.Identity(), net) if shared else model  # shares its layers, or is the same
    expected = ta.explain(network().eval(), X, ta.Saliency(), target=1)

    def second():
        def fails(*args):
            if error is not None:
                raise error("stop")

        return ta.explain(other, X, ta.Saliency(), target=1, progress=fails)

    found, errors = overlapping(model, lambda: ta.explain(model, X, ta.Saliency(), target=1), second)
    np.testing.assert_array_equal(found["first"].attribution, expected.attribution)
    if error is None:
        np.testing.assert_array_equal(found["second"].attribution, expected.attribution)
    else:
        assert isinstance(errors["second"], error)
    assert all(m.training for m in (*model.modules(), *other.modules()))
    assert torch.backends.mha.get_fastpath_enabled()
    assert not preserve._SAVED


@pytest.mark.parametrize("method", [ta.GuidedBackprop(), ta.GradCAM(), ta.TemporalRescaling(ta.Saliency())])
@pytest.mark.filterwarnings("ignore:GuidedBackprop fails")
def test_methods_that_look_inside_do_not_see_the_other_threads_calls(method):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv1d(2, 3, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(24, 3)).double()
    x = np.random.default_rng(1).normal(size=(4, 6, 2, 8))
    dims = ("sample", "lead", "time")
    expected = [ta.explain(net, part, method, target=0, dims=dims, batch_size=2).attribution for part in x]
    for _ in range(3):
        work = [lambda part=part: ta.explain(net, part, method, target=0, dims=dims, batch_size=2) for part in x]
        for one, other in zip(together(*work), expected):
            np.testing.assert_allclose(one.attribution, other, rtol=0, atol=1e-12)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in net.modules())


def test_a_hook_sees_the_calls_of_its_own_thread():
    net, seen = nn.Identity(), []
    with temporary_hooks((net, net.register_forward_hook, lambda *args: seen.append(args))):
        together(lambda: net(1))
        assert not seen
        net(1)
    assert len(seen) == 1
    assert not net._forward_hooks


def test_switches_are_put_back_by_the_last():
    inside, done = threading.Event(), threading.Event()

    def short():
        with without_cudnn():
            inside.set()
            done.wait(20)

    def long():
        inside.wait(20)
        with without_cudnn():
            done.set()
            time.sleep(0.05)
            return torch.backends.cudnn.enabled

    before = torch.backends.cudnn.enabled
    assert together(short, long)[1] is False
    assert torch.backends.cudnn.enabled == before


# ---- random numbers


def draw(kind):
    return {"torch": lambda: torch.rand(1).item(), "numpy": np.random.rand, "random": random.random}[kind]()


@pytest.mark.parametrize("kind", ["torch", "numpy", "random"])
def test_the_draws_of_another_thread_do_not_come_twice(kind):
    net, stop, drawn = network(), threading.Event(), []

    def bystander():
        while not stop.is_set():
            drawn.append(draw(kind))
            time.sleep(0)

    def explains():
        while len(drawn) < 300:
            ta.explain(net, X, ta.Occlusion(ta.groups.Cells()), target=0)
        stop.set()

    together(bystander, explains)
    assert len(set(drawn)) > 0.99 * len(drawn)  # float32 numbers of torch meet by chance


@pytest.mark.parametrize("kind", ["torch", "numpy", "random"])
def test_a_model_that_draws_beside_other_threads_leaves_the_state_as_it_was(kind):
    waits = threading.Event()
    idle = threading.Thread(target=waits.wait, args=(20,))
    idle.start()
    try:
        before = preserve._states()
        found = ta.explain(lambda x: x.sum(1) + 0 * draw(kind), X, ta.Occlusion(ta.groups.Cells()))
        assert all(preserve._same_state(before[name], state) for name, state in preserve._states().items())
        assert found.attribution.shape == X.shape
    finally:
        waits.set()
        idle.join()


def test_a_scope_that_draws_leaves_the_state_as_it_was_beside_other_threads():
    waits = threading.Event()
    idle = threading.Thread(target=waits.wait, args=(20,))
    idle.start()
    before = preserve._states()
    with preserved_state(None, None, draws=True):
        torch.manual_seed(1)
        np.random.seed(1)  # noqa: NPY002
        random.seed(1)
    waits.set()
    idle.join()
    assert not preserve._changed(before)


def test_two_calls_of_models_that_draw_leave_the_first_ones_state():
    before = torch.get_rng_state()

    class Draws(nn.Module):
        def forward(self, x):
            torch.rand(3)
            return x.sum(1)

    model = Meets(Draws())
    explains = lambda: ta.explain(model, X, ta.Saliency())  # noqa: E731
    _, errors = overlapping(model, explains, explains)
    assert not errors
    assert torch.equal(before, torch.get_rng_state())


# ---- interrupts


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # of generators that it closes
def test_an_interrupt_at_any_point_leaves_all_as_it_was():
    net = network().train()
    states = [m.training for m in net.modules()]
    buffers = {k: v.clone() for k, v in net.state_dict().items()}

    def call():
        with preserved_state(net, CPU), temporary_hooks((net[0], net[0].register_forward_hook, lambda *_: None)):
            with torch.no_grad():
                net[1].running_mean += 1
            torch.rand(1)

    number = 0
    while True:
        count, stopped = 0, False

        def look(frame, event, arg, number=number):
            nonlocal count, stopped
            if frame.f_code.co_filename != preserve.__file__:
                return None
            if event == "call" and not stopped:  # where Python looks for signals
                count += 1
                if count > number:
                    stopped = True
                    raise KeyboardInterrupt
            return None

        sys.settrace(look)
        try:
            call()
        except KeyboardInterrupt:
            pass
        finally:
            sys.settrace(None)
        assert [m.training for m in net.modules()] == states, number
        assert all(torch.equal(v, buffers[k]) for k, v in net.state_dict().items()), number
        assert torch.backends.mha.get_fastpath_enabled(), number
        assert not net[0]._forward_hooks, number
        assert not preserve._SAVED, number
        if not stopped:
            break
        number += 1
    assert number > 50


@pytest.mark.parametrize("where", ["model", "progress"])
@pytest.mark.parametrize("method", [ta.GradCAM(), ta.IntegratedGradients(), ta.Occlusion(ta.groups.Cells())])
def test_an_interrupt_of_the_user_leaves_all_as_it_was(where, method):
    net = nn.Sequential(nn.Unflatten(1, (1, 8)), nn.Conv1d(1, 2, 3), nn.BatchNorm1d(2), nn.Flatten(), nn.Linear(12, 2))
    before, left = {k: v.clone() for k, v in net.state_dict().items()}, [4]

    def stop(*_):
        left[0] -= 1
        if not left[0]:
            raise KeyboardInterrupt

    handle = net[1].register_forward_hook(stop) if where == "model" else None
    with pytest.raises(KeyboardInterrupt):
        ta.explain(net, X, method, target=0, batch_size=1, progress=stop if where == "progress" else False)
    if handle is not None:
        handle.remove()
    assert all(m.training and not m._forward_hooks for m in net.modules())
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())
    assert not preserve._SAVED
