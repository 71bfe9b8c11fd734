"""Rollouts equal written-out loops, in values, gradients and memory."""

import numpy as np
import pytest
import torch
import xarray as xr

import tsattr as ta

X = xr.DataArray(
    np.random.default_rng(0).normal(size=(3, 4, 5)), dims=("sample", "lag", "cell"), coords={"lag": [-3, -2, -1, 0]}
)


def net(seed=0, inputs=20, out=5):
    torch.manual_seed(seed)
    return torch.nn.Sequential(
        torch.nn.Flatten(), torch.nn.Linear(inputs, 16), torch.nn.Tanh(), torch.nn.Linear(16, out)
    ).double()


def written_out(model, x, steps):
    found = []
    for _ in range(steps):
        y = model(x)
        found.append(y)
        x = torch.cat([x[:, 1:], y[:, None]], 1)
    return torch.stack(found, 1)


DAYS = [f"day {k}" for k in range(1, 6)]
OUTPUTS = {"step": DAYS[:4], "place": list("abcde")}


@pytest.mark.parametrize("checkpoints", [True, False])
@pytest.mark.parametrize(
    "method", [ta.IntegratedGradients(steps=6), ta.Occlusion(ta.groups.Along("lag")), ta.Saliency()]
)
def test_a_rollout_is_the_written_out_loop(method, checkpoints):
    model = net()
    target = [ta.targets.Output(step=k, place="b") for k in ("day 1", "day 4")]
    settings = {"target": target, "outputs": OUTPUTS}
    found = ta.explain(ta.models.rollout(model, 4, history=1, checkpoints=checkpoints), X, method, **settings)
    expected = ta.explain(lambda x: written_out(model, x, 4), X, method, **settings)
    np.testing.assert_allclose(found.attribution, expected.attribution, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(found.prediction, expected.prediction, rtol=1e-12)


def test_the_first_step_knows_nothing_of_later_ones():
    model = net()
    one = ta.explain(model, X, ta.Saliency(), target=2)
    many = ta.explain(
        ta.models.rollout(model, 4, history=1),
        X,
        ta.Saliency(),
        target=ta.targets.Output(step="day 1", place="c"),
        outputs=OUTPUTS,
    )
    np.testing.assert_allclose(many.attribution, one.attribution, rtol=1e-12)


def test_a_linear_step_is_a_power_of_its_matrix():
    a = torch.as_tensor(np.random.default_rng(1).normal(size=(5, 5)) / 3)
    x = X.isel(lag=0, drop=True)
    ds = ta.explain(
        ta.models.rollout(lambda x: x @ a.T, 5),
        x,
        ta.IntegratedGradients(steps=1),
        target=ta.targets.Output(step="day 5", cell=3),
        outputs={"step": DAYS, "cell": range(5)},
    )
    np.testing.assert_allclose(ds.attribution, np.linalg.matrix_power(a.numpy(), 5)[3] * x, rtol=1e-10)


def test_the_next_input_is_made_as_the_user_says():
    model = net(inputs=5, out=1)
    steps = ta.models.rollout(model, 3, advance=lambda x, y: x + y)
    x = torch.ones(2, 5, dtype=torch.float64)
    first = model(x)
    second = model(x + first)
    torch.testing.assert_close(steps(x), torch.stack([first, second, model(x + first + second)], 1))


def test_a_step_may_give_several_states():
    x = torch.arange(6.0).reshape(1, 6)
    model = ta.models.rollout(lambda x: x[:, -2:] + 2, 3, history=1)
    assert model(x).tolist() == [[[6.0, 7.0], [8.0, 9.0], [10.0, 11.0]]]


def test_checkpoints_keep_the_inputs_of_steps_alone():
    model = net()
    x = torch.as_tensor(X.values).requires_grad_()

    def saved(checkpoints):
        kept = []
        with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t.numel()) or t, lambda t: t):
            ta.models.rollout(model, 6, history=1, checkpoints=checkpoints)(x)
        return sum(kept)

    assert saved(True) < saved(False) / 4


def test_context_is_the_same_in_every_step():
    model = ta.models.rollout(lambda x, scale: scale[:, None] * x, 3)
    ds = ta.explain(
        model,
        X.isel(lag=0, drop=True),
        ta.Saliency(absolute=False),
        target=ta.targets.Output(step="day 3", cell=0),
        outputs={"step": DAYS[:3], "cell": range(5)},
        context={"scale": np.array([1.0, 2.0, 3.0])},
    )
    assert ds.attribution[:, 0].values.tolist() == [1.0, 8.0, 27.0]


def test_a_module_is_left_as_it_was():
    model = net().train()
    model.add_module("dropout", torch.nn.Dropout(0.5))
    ta.explain(
        ta.models.rollout(model, 2, history=1),
        X,
        ta.Saliency(),
        target=ta.targets.Output(step="day 2", place="a"),
        outputs={"step": DAYS[:2], "place": list("abcde")},
    )
    assert model.training
    assert all(p.grad is None for p in model.parameters())


def test_members_of_an_ensemble_are_rolled_out_each():
    both = ta.models.rollout(ta.models.Ensemble({"a": lambda x: 2 * x, "b": lambda x: 3 * x}), 3)
    ds = ta.explain(both, torch.ones(1, 2), ta.InputXGradient(), target=ta.targets.Each(), outputs=("step", "cell"))
    assert ds.prediction[0, :, 0].values.tolist() == [2.5, 6.5, 17.5]
    with pytest.raises(TypeError, match=r"a torch module or a function of tensors, .* got Summed"):
        ta.models.rollout(ta.models.summed(lambda x: x), 2)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ta.models.rollout(net(), 0), "steps is a whole number of at least 1"),
        (lambda: ta.models.rollout(net(), 2, advance=max, history=1), "advance or history, not both"),
        (lambda: ta.models.rollout(net(), 2, history=0), "an axis after the rows"),
        (
            lambda: ta.models.rollout(net(), 2)(torch.zeros(1, 4, 5).double()),
            r"a step gives \(1, 5\) for an input of \(1, 4, 5\)",
        ),
        (
            lambda: ta.models.rollout(net(), 2, history=2)(torch.zeros(1, 4, 5).double()),
            r"a step gives \(1, 5\) for a history of",
        ),
        (
            lambda: ta.models.rollout(net(), 2, history=3)(torch.zeros(1, 4, 5).double()),
            r"history=3 is no axis of a state of \(1, 4, 5\), whose axes after the rows are 1, 2",
        ),
    ],
)
def test_what_cannot_be(make, message):
    with pytest.raises(ValueError, match=message):
        make()


# ---- forcings: what every step has of its own

FORCED = np.random.default_rng(2).normal(size=(3, 4, 5))


class Forced(torch.nn.Module):
    """A state that is pushed by a forcing, at a speed of each sample."""

    def __init__(self):
        super().__init__()
        self.net = net(inputs=5)

    def forward(self, x, push, speed):
        return x + speed[:, None] * torch.tanh(self.net(x) + push)


def pushed(step, x, push, speed, steps):
    found = []
    for k in range(steps):
        x = step(x, push[:, k], speed)
        found.append(x)
    return torch.stack(found, 1)


@pytest.mark.parametrize("checkpoints", [True, False])
def test_values_and_gradients_of_forced_steps_are_those_of_the_written_out_loop(checkpoints):
    step, weights = Forced(), torch.as_tensor(np.random.default_rng(3).normal(size=(3, 4, 5)))
    model = ta.models.rollout(step, 4, forcings=["push"], checkpoints=checkpoints)
    found, slopes = [], []
    for f in (model, lambda x, push, speed: pushed(step, x, push, speed, 4)):
        given = [torch.as_tensor(v).requires_grad_() for v in (X.values[:, 0], FORCED, np.array([0.1, 0.2, 0.3]))]
        y = f(given[0], push=given[1], speed=given[2])
        found.append(y.detach())
        slopes.append(torch.autograd.grad((weights * y).sum(), [*given, *step.parameters()]))
    torch.testing.assert_close(found[0], found[1], rtol=1e-12, atol=1e-12)
    for a, b in zip(*slopes):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


def test_forcings_are_context():
    step, speed = Forced(), np.array([0.1, 0.2, 0.3])
    x = X.isel(lag=0, drop=True)
    settings = {
        "target": ta.targets.Each("step", target=ta.targets.Output(place="a")),
        "outputs": OUTPUTS,
        "context": {"push": FORCED, "speed": speed},
    }
    method = ta.IntegratedGradients(steps=4)
    ds = ta.explain(ta.models.rollout(step, 4, forcings="push"), x, method, **settings)
    loop = ta.explain(lambda x, push, speed: pushed(step, x, push, speed, 4), x, method, **settings)
    np.testing.assert_allclose(ds.attribution, loop.attribution, rtol=1e-12, atol=1e-14)
    assert ds.attribution.dims == ("sample", "cell", "step")


def test_forcings_are_explained_beside_the_state():
    """Of a linear step ``x + push`` the state moves every step, and a forcing its own step and those after it."""
    data = xr.Dataset(
        {
            "ocean": (("sample", "cell"), X.values[:, 0]),
            "push": (("sample", "day", "cell"), FORCED),
        }
    )
    model = ta.models.rollout(lambda x, push: x + push, 4, forcings="push", state="ocean")
    each = ta.targets.Each("step", target=ta.targets.Output(place="b"))
    ds = ta.explain(model, data, ta.IntegratedGradients(steps=1), target=each, outputs=OUTPUTS)
    for k in range(4):
        np.testing.assert_allclose(ds.attribution_ocean[:, 1, k], data.ocean[:, 1], rtol=1e-12)
        np.testing.assert_allclose(ds.attribution_push[:, : k + 1, 1, k], data.push[:, : k + 1, 1], rtol=1e-12)
        assert not ds.attribution_push[:, k + 1 :, :, k].any()


def test_steps_take_context_by_any_name():
    model = ta.models.rollout(lambda x, debug: x * debug[:, None], 2)
    x = torch.ones(1, 2, requires_grad=True)
    assert model(x, debug=torch.tensor([3.0])).tolist() == [[[3.0, 3.0], [9.0, 9.0]]]


@pytest.mark.parametrize(
    ("settings", "given", "message"),
    [
        ({}, {"ocean": 1, "push": 1}, r"say which is the state that steps advance, rollout\(\.\.\., state='ocean'\)"),
        ({"forcings": "sun"}, {"x": 1, "push": 1}, r"forcing 'sun' is none of what the model is given .* \['push'\]"),
        ({"forcings": "push"}, {"x": 1, "push": 1}, r"forcing 'push' has the shape \(3,\): .* each of 2 steps"),
    ],
)
def test_forcings_that_cannot_be(settings, given, message):
    values = {name: torch.zeros(3) for name in given}
    first = [values.pop("x")] if "x" in values else []
    with pytest.raises(ValueError, match=message):
        ta.models.rollout(lambda x, push: x, 2, **settings)(*first, **values)
