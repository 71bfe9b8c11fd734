"""Each rule beside torch's own operation, on boxes anywhere, so that one that is broken is found by its name."""

import itertools

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from tsattr.core.evaluation.incremental import delta, evaluation
from tsattr.core.evaluation.incremental.boxes import tensor
from tsattr.core.evaluation.incremental.delta import Delta, Rows
from tsattr.core.evaluation.incremental.tape import Tape

assert evaluation.RULES  # read, so that they have named themselves

LENGTHS = {1: (23,), 2: (11, 9), 3: (8, 9, 10)}
CHANNELS = 4


def drawn(*shape, seed=0):
    """Numbers that are the same each time."""
    return torch.as_tensor(np.random.default_rng([seed, *shape]).normal(size=shape))


def rows_of(n, seed):
    """Intact samples, and rows with boxes at both borders and anywhere between: the sample, start and new cells of each."""
    rng, shape = np.random.default_rng(seed), LENGTHS[n]
    size = [int(rng.integers(1, k // 2 + 1)) for k in shape]
    start = tuple(np.concatenate([[0, k - w], rng.integers(0, k - w + 1, 4)]) for k, w in zip(shape, size))
    return drawn(2, CHANNELS, *shape), rng.integers(0, 2, 6), start, drawn(6, CHANNELS, *size, seed=1)


def check_outside(found):
    """The change is 0 where a box sticks out, which what comes after would add up."""
    for axis, s, w, n in zip(found.axes, found.start, found.box, found.length):
        at = s[:, None] + np.arange(w)
        for r, cells in enumerate(found.change):
            assert not cells.movedim(axis - 1, 0)[tensor((at[r] < 0) | (at[r] >= n), cells.device)].any()


def check(monkeypatch, f, n, *, ends=False, seeds=range(2)):
    """What `f` gives of a delta is what it gives of whole rows, and is a delta unless the boxes end there."""
    monkeypatch.setattr(delta, "NEARLY", 9.0)  # boxes are kept where they are the whole
    moved = False
    for seed in seeds:
        x, sample, start, new = rows_of(n, seed)
        rows = x[sample].clone()
        for r, cells in enumerate(new):
            rows[(r, slice(None), *(slice(s[r], s[r] + w) for s, w in zip(start, cells.shape[1:])))] = cells
        tape, axes = Tape(x), tuple(range(2, n + 2))
        y = f(Delta(Rows(tape, sample, x.device), tape.x, axes, start, new=new))
        expected = f(rows)
        for found, dense in zip(*((v if isinstance(v, tuple) else (v,)) for v in (y, expected))):
            assert isinstance(found, Delta) != ends
            if isinstance(found, Delta):
                check_outside(found)
            found = found.whole() if isinstance(found, Delta) else found
            torch.testing.assert_close(found, dense, rtol=1e-11, atol=1e-11)
        intact, expected = (v[0] if isinstance(v, tuple) else v for v in (f(x), expected))
        moved |= not torch.equal(intact[tensor(sample, x.device)], expected)
    assert moved


def convolution(n, *, transposed=False):
    return getattr(F, f"conv{'_transpose' if transposed else ''}{n}d")


@pytest.mark.parametrize("n", [1, 2, 3])
@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize(
    ("stride", "padding", "dilation"), [(1, 0, 1), (1, 1, 1), (2, 0, 1), (2, 1, 1), (3, 2, 1), (1, 2, 2), (2, 1, 2)]
)
def test_convolution(monkeypatch, n, groups, stride, padding, dilation):
    weight = drawn(4, CHANNELS // groups, *[3, 2, 3][:n])
    check(monkeypatch, lambda x: convolution(n)(x, weight, drawn(4), stride, padding, dilation, groups), n)


@pytest.mark.parametrize("n", [1, 2])
@pytest.mark.parametrize("mode", ["replicate", "reflect", "circular"])
def test_convolution_that_pads_otherwise(monkeypatch, n, mode):
    layer = (nn.Conv1d, nn.Conv2d)[n - 1](CHANNELS, 3, 3, padding=1, padding_mode=mode).double().requires_grad_(False)
    check(monkeypatch, layer, n)


@pytest.mark.parametrize("n", [1, 2, 3])
@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize(
    ("stride", "padding", "more", "dilation"), [(1, 0, 0, 1), (2, 0, 1, 1), (2, 1, 0, 1), (3, 1, 2, 1), (2, 1, 1, 2)]
)
def test_transposed_convolution(monkeypatch, n, groups, stride, padding, more, dilation):
    weight = drawn(CHANNELS, 2, *[3, 2, 3][:n])
    f = convolution(n, transposed=True)
    check(monkeypatch, lambda x: f(x, weight, drawn(2 * groups), stride, padding, more, groups, dilation), n)


POOLS = [(2, None, 0), (3, 1, 1), (3, 2, 0), (3, 2, 1), (2, 3, 1)]


@pytest.mark.parametrize("n", [1, 2, 3])
@pytest.mark.parametrize(("kernel", "stride", "padding"), POOLS)
@pytest.mark.parametrize(("dilation", "ceil"), [(1, False), (1, True), (2, False)])
def test_largest_of_a_window(monkeypatch, n, kernel, stride, padding, dilation, ceil):
    pool = getattr(F, f"max_pool{n}d")
    check(monkeypatch, lambda x: pool(x, kernel, stride, padding, dilation, ceil), n)


@pytest.mark.parametrize("n", [1, 2, 3])
@pytest.mark.parametrize(("kernel", "stride", "padding"), POOLS)
def test_mean_of_a_window(monkeypatch, n, kernel, stride, padding):
    pool = getattr(F, f"avg_pool{n}d")
    check(monkeypatch, lambda x: pool(x, kernel, stride, padding), n)


@pytest.mark.parametrize("n", [1, 2])
@pytest.mark.parametrize(("ceil", "counted"), [(True, True), (False, False)])
def test_mean_of_a_window_whose_cells_count_otherwise_is_asked_of_whole_rows(monkeypatch, n, ceil, counted):
    pool = getattr(F, f"avg_pool{n}d")
    check(monkeypatch, lambda x: pool(x, 3, 2, 1, ceil, counted), n, ends=True)


@pytest.mark.parametrize("n", [1, 2])
@pytest.mark.parametrize("kind", ["avg", "max"])
def test_pooled_to_one_cell(monkeypatch, n, kind):
    pool = getattr(F, f"adaptive_{kind}_pool{n}d")
    check(monkeypatch, lambda x: pool(x, 1), n, ends=True)


CELLWISE = {
    "relu": F.relu, "leaky_relu": F.leaky_relu, "relu6": F.relu6, "clamp": lambda x: x.clamp(-0.5, 0.7), "abs": torch.abs,
    "neg": lambda x: -x, "square": torch.square, "elu": F.elu, "gelu": F.gelu, "silu": F.silu, "mish": F.mish,
    "softplus": F.softplus, "tanh": torch.tanh, "sigmoid": torch.sigmoid, "exp": torch.exp, "sin": torch.sin, "erf": torch.erf,
    "sign": torch.sign, "hardswish": F.hardswish, "prelu": lambda x: F.prelu(x, drawn(CHANNELS).abs()),
}  # fmt: skip


@pytest.mark.parametrize("n", [1, 2])
@pytest.mark.parametrize("name", CELLWISE)
def test_each_cell_by_itself(monkeypatch, n, name):
    check(monkeypatch, CELLWISE[name], n)
    check(monkeypatch, lambda x: CELLWISE[name](F.avg_pool1d(x, 3, 1, 1)), 1)  # of a change, at the edges


OPERATIONS = {
    "sum": lambda x, y: x + y, "difference": lambda x, y: x - y, "product": lambda x, y: x * y, "ratio": lambda x, y: x / (2 + y * y),
    "power": lambda x, y: (1 + x * x) ** y, "largest": torch.maximum, "smallest": torch.minimum,
    "scaled": lambda x, y: torch.add(x, y, alpha=3),
}  # fmt: skip


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize(("a", "b"), list(itertools.product([1, 3, 5], repeat=2)))
def test_two_operands_of_other_boxes(monkeypatch, name, a, b):
    first, second = drawn(4, CHANNELS, a), drawn(4, CHANNELS, b, seed=2)
    f = OPERATIONS[name]
    check(monkeypatch, lambda x: f(F.conv1d(x, first, padding=a // 2), F.conv1d(x, second, padding=b // 2)), 1)


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize("shape", [(), (CHANNELS, 1), (1, CHANNELS, 23), (23,)])
def test_an_operand_that_is_the_same_for_all_rows(monkeypatch, name, shape):
    fixed, f = drawn(*shape) + 0.1, OPERATIONS[name]
    check(monkeypatch, lambda x: f(x, fixed), 1)
    check(monkeypatch, lambda x: f(fixed, x), 1)


@pytest.mark.parametrize("n", [1, 2])
def test_norms(monkeypatch, n):
    mean, weight, bias = (drawn(CHANNELS, seed=k) for k in range(3))
    check(monkeypatch, lambda x: F.batch_norm(x, mean, mean.square() + 0.1, weight, bias), n)
    check(monkeypatch, lambda x: F.layer_norm(x.movedim(1, -1), [CHANNELS], weight, bias), n)


PADS = {"constant": (2, 3), "reflect": (2, 1), "replicate": (4, 0), "circular": (3, 3)}


@pytest.mark.parametrize("mode", PADS)
@pytest.mark.parametrize("n", [1, 2])
def test_padding(monkeypatch, mode, n):
    check(monkeypatch, lambda x: F.pad(x, PADS[mode] * n, mode), n)


@pytest.mark.parametrize("mode", ["nearest", "nearest-exact", "linear"])
@pytest.mark.parametrize("n", [1, 2])
@pytest.mark.parametrize("factor", [2, 1.5])
def test_resampling(monkeypatch, mode, n, factor):
    mode = "bilinear" if (mode, n) == ("linear", 2) else mode
    check(monkeypatch, lambda x: F.interpolate(x, scale_factor=factor, mode=mode), n)


PLACES = {
    "cut": lambda x: x[..., 2:-1], "stepped": lambda x: x[..., 1::2], "channels": lambda x: x[:, 1:3], "channel": lambda x: x[:, 0],
    "halves": lambda x: x.chunk(2, 1), "split": lambda x: x.split([1, 3], 1), "turned": lambda x: x.transpose(1, 2),
    "another axis": lambda x: x[:, None], "joined": lambda x: torch.cat([x, F.max_pool1d(x, 3, 1, 1)], 1),
    "laid apart": lambda x: x.reshape(len(x), 2, 2, -1), "of parts": lambda x: torch.tanh(F.avg_pool1d(x, 3, 1, 1)[:, :2]),
}  # fmt: skip


@pytest.mark.parametrize("name", PLACES)
def test_cells_moved_about(monkeypatch, name):
    check(monkeypatch, PLACES[name], 1)


ENDS = {
    "mean": lambda x: x.mean(2), "sum": lambda x: x.sum((1, 2)), "largest": lambda x: x.amax(2), "last": lambda x: x[..., -1],
    "flat": lambda x: F.linear(x.flatten(1), drawn(3, CHANNELS * 23)),
}  # fmt: skip


@pytest.mark.parametrize("name", ENDS)
def test_where_boxes_end(monkeypatch, name):
    check(monkeypatch, ENDS[name], 1, ends=True)
