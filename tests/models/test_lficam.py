import copy
import io

import numpy as np
import pytest
import torch
from scipy.stats import binomtest
from torch import nn

import tsattr as ta
from tsattr.models.lficam import unit_range

from .. import reference
from ..conftest import attention_net, seeded

SERIES, FIELDS = (3, 40), (2, 12, 10)


def series_trunk(norm=nn.Identity):
    return nn.Sequential(nn.Conv1d(3, 6, 5, stride=2, padding=2), norm(6), nn.ReLU(), nn.Conv1d(6, 5, 3), nn.Tanh())


def field_trunk(norm=nn.Identity):
    return nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), norm(4), nn.ReLU())


KINDS = {"series": (series_trunk, SERIES), "fields": (field_trunk, FIELDS)}
both = pytest.mark.parametrize("kind", KINDS)


def made(kind, seed=0):
    trunk, event = KINDS[kind]
    net = seeded(lambda: ta.LFICAM(trunk(), classes=3), seed)
    with torch.no_grad():  # of weights that tell the channels apart
        for p in net.parameters():
            p.add_(torch.randn(p.shape, generator=torch.Generator().manual_seed(p.numel()), dtype=p.dtype))
    return net, rows(event)


def rows(event, n=6):
    return torch.randn(n, *event, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


# ---- what it computes


@pytest.mark.parametrize("seed", range(3))
def test_it_is_the_papers_formula_worked_in_loops(seed):
    net, x = made("series", seed)
    w = {name.removeprefix("attention."): p.detach().numpy() for name, p in net.named_parameters()}
    with torch.no_grad():
        features = net.trunk(x)
        found = net(x), net.weights(x), net.attention(features, x)
    for k in range(len(x)):
        expected = reference.lficam(features[k].numpy(), x[k].numpy(), w)
        for one, other in zip(found, expected):
            np.testing.assert_allclose(one[k], other, rtol=0, atol=1e-12)


@both
def test_the_map_spans_0_to_1_and_the_weights_sum_to_1(kind):
    net, x = made(kind)
    a, s = net.attention(net.trunk(x), x), net.weights(x)
    assert a.shape == (len(x), *net.trunk(x).shape[2:])
    assert s.shape == (len(x), net.head.in_features)
    np.testing.assert_array_equal(a.flatten(1).amin(1).detach(), np.zeros(len(x)))
    np.testing.assert_array_equal(a.flatten(1).amax(1).detach(), np.ones(len(x)))
    np.testing.assert_allclose(s.sum(1).detach(), 1, rtol=0, atol=1e-15)
    assert (s > 0).all()
    assert s.std(0).min() > 1e-3  # of each sample its own


def test_one_channel_is_its_own_map():
    net = seeded(lambda: ta.LFICAM(nn.Conv1d(3, 1, 3, padding=1), classes=2))
    x = rows(SERIES)
    assert (net.weights(x) == 1).all()
    torch.testing.assert_close(net.attention(net.trunk(x), x), unit_range(net.trunk(x))[:, 0], rtol=0, atol=1e-15)


@both
@pytest.mark.parametrize("level", [0.0, 0.1, -7.0])
def test_a_constant_map_points_at_nothing_and_has_finite_gradients(kind, level):
    net, x = made(kind)
    with torch.no_grad():
        last = [m for m in net.trunk if hasattr(m, "weight")][-1]
        last.weight.zero_()
        last.bias.fill_(level)
    assert (net.attention(net.trunk(x), x) == 0).all()
    torch.testing.assert_close(net(x), net.head.bias.expand(len(x), -1))
    net(x).square().sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in net.parameters() if p.grad is not None)


def test_what_is_constant_up_to_rounding_is_constant():
    for dtype in (torch.float32, torch.float64):
        base = torch.full((2, 3, 8), 0.3, dtype=dtype)
        units = torch.randint(-2, 3, base.shape, generator=torch.Generator().manual_seed(0)).to(dtype)
        near = base * (1 + torch.finfo(dtype).eps * units)
        assert (near != base).any()
        assert (unit_range(near) == 0).all()
        found = unit_range(base + torch.linspace(0, 1e-3, 8, dtype=dtype))
        assert found.min() == 0
        assert found.max() == 1


def test_the_scale_of_a_sample_and_of_the_features_changes_no_map():
    net, x = made("series")
    f = net.trunk(x)
    torch.testing.assert_close(net.attention(3 * f + 2, x), net.attention(f, x), rtol=0, atol=1e-12)


def test_a_bump_that_moves_moves_the_map_with_it():
    net = seeded(lambda: ta.LFICAM(nn.Sequential(nn.Conv1d(1, 4, 5, padding=2), nn.ReLU()), classes=2), seed=3)
    t = torch.arange(120.0, dtype=torch.float64)
    x = torch.stack([torch.exp(-0.5 * ((t - at) / 3) ** 2) for at in (40, 57)])[:, None]
    a = net.attention(net.trunk(x), x)
    torch.testing.assert_close(a[1, 27:], a[0, 10:-17], rtol=0, atol=1e-12)  # but for the edges, where padding is seen
    assert a[1].argmax() == a[0].argmax() + 17


@pytest.mark.parametrize("shape", [(40,), (1, 40), (3, 40), (2, 3, 40)])
def test_inputs_of_any_channels_and_of_none(shape):
    class Trunk(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv1d(shape[:-1].numel() if shape[:-1] else 1, 4, 3, padding=1)

        def forward(self, x):
            return self.conv(x.reshape(len(x), -1, x.shape[-1]))

    shape = torch.Size(shape)
    net, x = seeded(lambda: ta.LFICAM(Trunk(), classes=2)), rows(shape)
    assert net(x).shape == (6, 2)
    mean = x.reshape(len(x), -1, 40).mean(1)  # what guides the weights
    f = net.trunk(x)
    torch.testing.assert_close(net.attention(f, x), net.attention(f, mean), rtol=0, atol=1e-14)


# ---- company, modes, devices of the state


@both
def test_a_batch_equals_single_runs_in_eval(kind):
    trunk, event = KINDS[kind]
    norm = nn.BatchNorm1d if kind == "series" else nn.BatchNorm2d
    net, x = seeded(lambda: ta.LFICAM(trunk(norm), classes=3)), rows(event)
    f = net.trunk(x)
    alone = torch.cat([net(row[None]) for row in x]), torch.cat([net.attention(net.trunk(r[None]), r[None]) for r in x])
    torch.testing.assert_close(net(x), alone[0], rtol=0, atol=1e-13)
    torch.testing.assert_close(net.attention(f, x), alone[1], rtol=0, atol=1e-12)


@both
def test_a_batch_equals_single_runs_in_training_where_the_trunk_does_not_mix_rows(kind):
    net, x = made(kind)
    net.train()
    torch.testing.assert_close(net(x), torch.cat([net(row[None]) for row in x]), rtol=0, atol=1e-13)
    assert not any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in [*net.attention.modules(), net.head])


def test_in_training_only_a_trunk_that_mixes_rows_lets_company_in():
    net, x = seeded(lambda: ta.LFICAM(series_trunk(nn.BatchNorm1d), classes=3)).train(), rows(SERIES)
    f = net.trunk(x)
    together = net.attention(f, x)
    torch.testing.assert_close(net.attention(f[:2], x[:2]), together[:2], rtol=0, atol=1e-13)
    assert not torch.allclose(net(x[:2]), net(x)[:2])


def test_everything_is_trained_and_a_map_without_gradients_would_not_be():
    net, x = made("series")
    net(x).square().sum().backward()
    assert all((p.grad != 0).any() for p in net.parameters())
    net.zero_grad()
    net.attention.register_forward_hook(lambda m, given, a: a.detach())  # as the authors' code
    net(x).square().sum().backward()
    assert all(p.grad is None for p in net.attention.parameters())


def test_the_gradient_is_that_of_the_function():
    net, x = made("series")
    assert torch.autograd.gradcheck(net, x[:1, :, :12].clone().requires_grad_(True))


def test_it_learns_where_to_look():
    generator = torch.Generator().manual_seed(0)
    x = 0.1 * torch.randn(60, 1, 40, generator=generator)
    y, at = torch.arange(60) % 2, torch.randint(5, 30, (60,), generator=generator)
    for k in range(60):
        x[k, 0, at[k] : at[k] + 5] += 2.0 * y[k] - 1
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = ta.LFICAM(nn.Sequential(nn.Conv1d(1, 8, 5, padding=2), nn.ReLU()), classes=2)
    optimiser = torch.optim.Adam(net.parameters(), 0.02)
    for _ in range(60):
        optimiser.zero_grad()
        nn.functional.cross_entropy(net(x), y).backward()
        optimiser.step()
    assert (net(x).argmax(1) == y).all()
    top = ta.explain(net, x.numpy(), ta.LearnedAttention()).attribution.values[:, 0].argmax(1)
    hits = np.sum((top >= at.numpy() - 2) & (top < at.numpy() + 7))  # where a kernel sees some of the bump
    assert binomtest(int(hits), 60, 9 / 40, alternative="greater").pvalue < 1e-3


def test_state_copies_and_files():
    net, x = made("series")
    expected = net(x)
    other = seeded(lambda: ta.LFICAM(series_trunk(), classes=3), seed=9)
    assert not torch.allclose(other(x), expected)
    other.load_state_dict(net.state_dict())
    file = io.BytesIO()
    torch.save(net, file)
    file.seek(0)
    for same in (other, copy.deepcopy(net), torch.load(file, weights_only=False)):
        torch.testing.assert_close(same(x), expected, rtol=0, atol=0)
    low = copy.deepcopy(net).float()
    assert low(x.float()).dtype == torch.float32
    torch.testing.assert_close(low(x.float()).double(), expected, rtol=0, atol=1e-4)
    with torch.device("meta"):  # no tensor of a fixed device is made on the way
        empty = ta.LFICAM(series_trunk(), classes=3)
        assert empty(torch.empty(2, *SERIES)).device.type == "meta"


# ---- Grad-CAM of it, and the others


def test_grad_cam_reads_the_trunk_and_not_the_attention():
    net = attention_net()
    x = rows((3, 12)).numpy()
    ds = ta.explain(net, x, ta.GradCAM(), target=1)
    assert ds.attrs["method"] == "GradCAM(layer='trunk.0', relu=True)"
    assert (ds.attribution > 0).any()
    named = ta.explain(net, x, ta.GradCAM("attention.importance.3", relu=False), target=1)
    assert named.attrs["method"] == "GradCAM(layer='attention.importance.3', relu=False)"


def test_integrated_gradients_add_up_but_from_where_the_map_is_constant():
    net, x = made("series")
    x, other = x.numpy(), rows(SERIES, 9).numpy()[6:]
    method = ta.IntegratedGradients(ta.baselines.Samples.fit(other), draws=3, tolerance=0.01)
    assert (ta.explain(net, x, method, target=0).status == "ok").all()
    with pytest.warns(ta.ExplanationWarning, match="not converged.*for its jumps and kinks"):
        found = ta.explain(net, x, ta.IntegratedGradients(), target=0)
    assert (found.status == "not converged").all()  # at zero A jumps from 0 to a map that spans [0, 1]


# ---- what is refused


@pytest.mark.parametrize(
    ("make", "error", "match"),
    [
        (lambda: ta.LFICAM(lambda x: x, 2), TypeError, "trunk is a torch module, got function"),
        (
            lambda: ta.LFICAM(nn.Linear(3, 4), 2),
            ValueError,
            "Linear has no convolution that .* give channels= and axes=",
        ),
        (lambda: ta.LFICAM(nn.Conv3d(1, 2, 3), 2), ValueError, r"axes is one of \(1, 2\), got 3"),
        (lambda: ta.LFICAM(series_trunk(), 0), ValueError, "classes is a whole number of at least 1, got 0"),
        (lambda: ta.LFICAM(series_trunk(), 2, channels=0.5), ValueError, "channels is a whole number"),
        (
            lambda: ta.LFICAM(series_trunk(), 2, channels=0),
            ValueError,
            "channels is a whole number of at least 1, got 0",
        ),
        (lambda: ta.LFICAM(series_trunk(), 2, axes=0), ValueError, r"axes is one of \(1, 2\), got 0"),
    ],
)
def test_trunks_that_cannot_be_attended_to(make, error, match):
    with pytest.raises(error, match=match):
        make()


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (
            lambda: ta.LFICAM(nn.Sequential(series_trunk(), nn.AdaptiveAvgPool1d(1), nn.Flatten()), 2),
            r"the trunk gives \(6, 5\) for rows \(6, 3, 40\).*two positions or more along 1 axis: leave out the pooling",
        ),
        (lambda: ta.LFICAM(nn.Sequential(series_trunk(), nn.AdaptiveAvgPool1d(1)), 2), r"the trunk gives \(6, 5, 1\)"),
        (lambda: ta.LFICAM(series_trunk(), 2, axes=2), r"\(6, 5, 18\) .* along 2 axes"),
        (lambda: ta.LFICAM(nn.GRU(40, 4), 2, channels=4, axes=1), "the trunk gives tuple"),
        (lambda: ta.LFICAM(series_trunk(), 2, channels=7), "gives 5 channels, where 7 are expected; give channels=5"),
    ],
)
def test_features_that_are_none_are_named(make, match):
    net = make()
    with pytest.raises(ValueError, match=match):
        net(rows(SERIES).float())
