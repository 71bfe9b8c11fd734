"""Networks that can be inverted: the way back, halves of every size, mixing, dtypes, training."""

import numpy as np
import pytest
import torch
from torch import nn

import tsattr as ta

from ..conftest import coupling_net

SHAPES = [2, 3, np.int64(7), (6,), (1, 2), (1, 9), (2, 12), (3, 5)]


def rows(shape, n=5):
    shape = shape if isinstance(shape, tuple) else (shape,)
    return torch.randn(n, *shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


@pytest.mark.parametrize("mixing", ["permutation", "orthogonal"])
@pytest.mark.parametrize("shape", SHAPES)
def test_the_inverse_undoes_the_features_and_the_features_the_inverse(shape, mixing):
    net, x = coupling_net(shape, mixing=mixing), rows(shape)
    with torch.no_grad():
        y = net.features(x)
        assert y.shape == (5, x[0].numel())
        torch.testing.assert_close(net.inverse(y), x, rtol=0, atol=1e-13)
        torch.testing.assert_close(net.features(net.inverse(x.flatten(1))), x.flatten(1), rtol=0, atol=1e-13)
        assert (y - x.flatten(1)).abs().max() > 0.1
        torch.testing.assert_close(net(x), net.head(y))


@pytest.mark.parametrize("shape", SHAPES)
def test_every_feature_rests_on_every_cell_near_it_and_volumes_are_kept(shape):
    net, x = coupling_net(shape, blocks=4), rows(shape, 1)
    slope = torch.autograd.functional.jacobian(lambda row: net.features(row[None])[0], x[0]).reshape(x.numel(), -1)
    assert abs(torch.linalg.det(slope).abs().item() - 1) < 1e-12
    assert (slope != 0).all()


def test_a_block_is_the_coupling_of_its_halves_written_out():
    net, x = coupling_net((2, 7), blocks=1), rows((2, 7))
    block = net.blocks[0]
    even, odd = x[..., [0, 2, 4, 6]], x[..., [1, 3, 5]]
    with torch.no_grad():
        even = even + block.f(odd)
        odd = odd + block.g(even)
        y = net.features(x).reshape(x.shape)
    torch.testing.assert_close(y[..., ::2], even)
    torch.testing.assert_close(y[..., 1::2], odd)


def test_untrained_it_is_linear_and_its_features_are_the_cells():
    x = rows((2, 8))
    net = ta.models.Coupling((2, 8), 3).double()
    assert torch.equal(net.features(x), x.flatten(1))
    turned = ta.models.Coupling(5, 3, mixing="orthogonal").double()
    lengths = (turned.features(rows(5)).norm(dim=1), rows(5).norm(dim=1))
    torch.testing.assert_close(*lengths, rtol=1e-6, atol=0)


def test_batches_and_company_change_nothing_and_it_is_smooth():
    net, x = coupling_net(), rows((3, 12))
    torch.testing.assert_close(torch.cat([net(row[None]) for row in x]), net(x), rtol=0, atol=1e-13)
    assert not [m for m in net.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm | nn.Dropout)]
    from tsattr.core.engine import smooth

    assert smooth(net(x.requires_grad_()))


def test_float32_is_exact_to_its_own_rounding():
    net, x = coupling_net(mixing="orthogonal").float(), rows((3, 12)).float()
    torch.testing.assert_close(net.inverse(net.features(x)), x, rtol=0, atol=1e-5)


def test_weights_come_from_a_file_with_their_permutations():
    one, other = coupling_net(9, mixing="orthogonal"), ta.models.Coupling(9, 3, width=6, mixing="orthogonal").double()
    other.load_state_dict(one.state_dict())
    assert torch.equal(one(rows(9)), other(rows(9)))


def test_a_point_on_the_boundary_has_a_gradient_for_training():
    net, x = coupling_net(4), rows(4)
    way = (net.project(x, 0, torch.tensor([1, 2, 1, 2, 1])) - x).square().sum()
    way.backward()
    assert all(p.grad is not None for p in net.parameters())
    y = net(net.project(x, 2, 0))
    torch.testing.assert_close(y[:, 2], y[:, 0], rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"shape": 2.5}, "each size of shape is a whole number of at least 1, got 2.5"),
        ({"shape": 1}, r"halves, and one cell has none; give \(channels,\) as a table"),
        ({"shape": (4, 1)}, r"shape \(4, 1\) into two halves"),
        ({"shape": (2, 3, 4)}, r"\(columns,\) or \(channels, times\), got \(2, 3, 4\)"),
        ({"shape": (2, 0)}, "each size of shape is a whole number of at least 1"),
        ({"classes": 0}, "classes is a whole number of at least 1"),
        ({"kernel": 4}, "kernel is odd.*got 4"),
        ({"mixing": "none"}, "mixing is one of 'permutation', 'orthogonal', got 'none'"),
    ],
)
def test_what_is_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        ta.models.Coupling(**{"shape": 4, "classes": 2} | settings)


def test_rows_of_another_shape():
    with pytest.raises(ValueError, match=r"made for rows of shape \(3, 12\), got \(12, 3\)"):
        coupling_net()(rows((12, 3)))
