"""Random convolutional networks, rows of which a box has changed, and what they give densely and by what has changed."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from tsattr.core.evaluation.incremental import delta, evaluation
from tsattr.core.evaluation.incremental.boxes import tensor
from tsattr.core.evaluation.incremental.tape import Tape

assert evaluation.RULES  # read, so that they have named themselves

CONVOLUTIONS, TRANSPOSED, NORMS = (
    (nn.Conv1d, nn.Conv2d),
    (nn.ConvTranspose1d, nn.ConvTranspose2d),
    (nn.BatchNorm1d, nn.BatchNorm2d),
)
MAX, AVERAGE = (F.max_pool1d, F.max_pool2d), (F.avg_pool1d, F.avg_pool2d)
ACTIVATIONS = [
    F.relu,
    F.gelu,
    torch.tanh,
    F.leaky_relu,
    F.silu,
    lambda x: F.relu(x, inplace=True),
    lambda x: x.clamp(-1, 1),
]
KINDS = ["conv", "conv", "conv", "norm", "activation", "activation", "max", "average", "residual", "branches", "transposed", "up", "pad", "gate",
         "shift", "cut", "shuffle", "layer norm", "position", "ceil"]  # fmt: skip
HEADS = ["mean", "largest", "flat", "field", "last", "adaptive", "softmax", "both"]


class Random(nn.Module):
    """Layers of drawn kinds, over one axis or two."""

    def __init__(self, draw, shape, channels=3, activations=ACTIVATIONS):
        super().__init__()
        self.n, self.layers, self.parts, self.activations = len(shape), [], nn.ModuleList(), activations
        x = torch.zeros(1, channels, *shape)
        for kind in draw(st.lists(st.sampled_from(KINDS), min_size=1, max_size=7)):
            layer = getattr(self, "_" + kind.replace(" ", "_"))(draw, x)
            try:
                y = layer(x)
            except RuntimeError:  # too short for it
                continue
            if min(y.shape) > 0 and y.numel() < 4e4:
                x = y
                self.layers.append(layer)
        head = draw(st.sampled_from(HEADS))
        self.layers.append(self._head(head, x))

    def forward(self, x):
        for layer in self.layers:
            x = layer(x)
        return x

    def _kept(self, module):
        self.parts.append(module)
        return module

    def _each(self, draw, values):
        return tuple(draw(st.sampled_from(values)) for _ in range(self.n))

    def _conv(self, draw, x):
        c = x.shape[1]
        groups = draw(st.sampled_from([g for g in (1, 2, 3, 4) if c % g == 0]))
        return self._kept(
            CONVOLUTIONS[self.n - 1](
                c,
                groups * draw(st.sampled_from([1, 2])),
                self._each(draw, [1, 2, 3, 5]),
                self._each(draw, [1, 1, 2, 3]),
                self._each(draw, [0, 1, 2]),
                self._each(draw, [1, 1, 2, 4]),
                groups,
                draw(st.booleans()),
                draw(st.sampled_from(["zeros", "zeros", "replicate", "reflect", "circular"])),
            )
        )

    def _transposed(self, draw, x):
        stride = self._each(draw, [1, 2, 3])
        return self._kept(
            TRANSPOSED[self.n - 1](
                x.shape[1],
                draw(st.sampled_from([2, 3])),
                self._each(draw, [1, 2, 4]),
                stride,
                self._each(draw, [0, 1]),
                tuple(draw(st.integers(0, s - 1)) for s in stride),
            )
        )

    def _norm(self, draw, x):
        norm = self._kept(NORMS[self.n - 1](x.shape[1]))
        for value in (norm.running_mean, norm.running_var, norm.weight.data, norm.bias.data):
            value.copy_(torch.rand_like(value) + 0.5)
        return norm.eval()

    def _activation(self, draw, x):
        return draw(st.sampled_from(self.activations))

    def _max(self, draw, x):
        k, s = draw(st.sampled_from([2, 3])), draw(st.sampled_from([None, 1, 2]))
        # Of a window that is all padding torch gives the gradient to a cell that is not there, and writes into other memory.
        pad, apart = draw(st.sampled_from([0, 1])), draw(st.sampled_from([1, 1, 2] if min(x.shape[2:]) > 1 else [1]))
        return lambda x: MAX[self.n - 1](x, k, s, pad, apart)

    def _ceil(self, draw, x):
        return lambda x: MAX[self.n - 1](x, 3, 2, 1, 1, True)

    def _average(self, draw, x):
        k, s, pad = draw(st.sampled_from([2, 3])), draw(st.sampled_from([None, 1, 2])), draw(st.sampled_from([0, 1]))
        return lambda x: AVERAGE[self.n - 1](x, k, s, pad)

    def _residual(self, draw, x):
        k = draw(st.sampled_from([1, 3, 5]))
        conv = self._kept(CONVOLUTIONS[self.n - 1](x.shape[1], x.shape[1], k, padding=k // 2))
        return lambda x: x + F.relu(conv(x))

    def _branches(self, draw, x):
        a, b = (self._kept(CONVOLUTIONS[self.n - 1](x.shape[1], 2, k, padding=k // 2)) for k in (3, 5))
        pool = draw(st.booleans())
        return lambda x: torch.cat([a(x), b(MAX[self.n - 1](x, 3, 1, 1) if pool else x), x], 1)

    def _up(self, draw, x):
        mode = draw(st.sampled_from(["nearest", ("linear", "bilinear")[self.n - 1]]))
        size = tuple(draw(st.integers(n, 2 * n)) for n in x.shape[2:])
        kind = draw(st.sampled_from(["size", "factor", "corners"]))
        if kind == "corners" and mode != "nearest":
            return lambda x: F.interpolate(x, size, mode=mode, align_corners=True)
        return (
            (lambda x: F.interpolate(x, scale_factor=2.0, mode=mode))
            if kind == "factor"
            else lambda x: F.interpolate(x, size, mode=mode)
        )

    def _pad(self, draw, x):
        mode = draw(st.sampled_from(["constant", "replicate", "reflect", "circular"]))
        pads = [draw(st.integers(0, 3)) for _ in range(2 * self.n)]
        return lambda x: F.pad(x, pads, mode)

    def _gate(self, draw, x):
        conv = self._kept(CONVOLUTIONS[self.n - 1](x.shape[1], 4, 3, padding=1))

        def gated(x):
            a, b = conv(x).chunk(2, 1)
            return torch.tanh(a) * torch.sigmoid(b)

        return gated

    def _shift(self, draw, x):
        scale = self._kept(nn.ParameterList([torch.randn(x.shape[1], *[1] * self.n), torch.randn(1)]))
        return lambda x: 2 - x * scale[0] / 3 + scale[1]

    def _position(self, draw, x):
        where = self._kept(nn.ParameterList([torch.randn(x.shape[1], *x.shape[2:]), torch.rand(1, 1, *x.shape[2:])]))
        return lambda x: (x + where[0]) * where[1]

    def _cut(self, draw, x):
        low, step = draw(st.integers(0, 3)), draw(st.sampled_from([1, 1, 2]))
        return lambda x: x[..., low::step]

    def _shuffle(self, draw, x):
        if x.shape[1] % 2:
            return lambda x: x.transpose(1, 2).transpose(1, 2)
        return lambda x: x.reshape(len(x), 2, -1, *x.shape[2:]).transpose(1, 2).reshape(len(x), -1, *x.shape[2:])

    def _layer_norm(self, draw, x):
        norm, linear = self._kept(nn.LayerNorm(x.shape[1])), self._kept(nn.Linear(x.shape[1], 3))
        return lambda x: linear(norm(x.movedim(1, -1))).movedim(-1, 1)

    def _head(self, kind, x):
        c, dims = x.shape[1], tuple(range(2, x.ndim))
        linear, flat = self._kept(nn.Linear(c, 2)), self._kept(nn.Linear(x[0].numel(), 2))
        pool = (F.adaptive_avg_pool1d, F.adaptive_avg_pool2d)[self.n - 1]
        return {
            "mean": lambda x: linear(x.mean(dims)),
            "largest": lambda x: linear(x.amax(dims)),
            "flat": lambda x: flat(x.flatten(1)),
            "field": lambda x: x,
            "last": lambda x: linear(x[..., -1].flatten(2).mean(2) if self.n == 2 else x[..., -1]),
            "adaptive": lambda x: linear(pool(x, 1).flatten(1)),
            "softmax": lambda x: x.softmax(1),
            "both": lambda x: linear(x.mean(dims)) + flat(x.flatten(1)).sum(1, keepdim=True),
        }[kind]


@dataclass
class Case:
    """A network, samples, and the boxes of rows that have changed."""

    network: nn.Module
    x: torch.Tensor
    row: np.ndarray
    start: tuple[np.ndarray, ...]
    new: torch.Tensor
    nearly: float  # share of a row from which on boxes are given up; above 1 they are kept where they are the whole

    def dense(self):
        rows = self.x[self.row].clone()
        for r in range(len(rows)):
            box = tuple(slice(s[r], s[r] + w) for s, w in zip(self.start, self.new.shape[2:]))
            rows[(r, slice(None), *box)] = self.new[r]
        return self.network(rows)

    def changed(self, tape):
        axes = tuple(range(2, self.x.ndim))
        tape.rewind()
        rows = delta.Rows(tape, self.row, self.x.device)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(delta, "NEARLY", self.nearly)
            y = self.network(delta.Delta(rows, tape.x, axes, self.start, new=self.new.clone()))
            return y.whole() if isinstance(y, delta.Delta) else y

    def check(self, tolerance):
        """The same twice: when the tape is written, and when it is read."""
        tape = Tape(self.x.clone())
        with torch.no_grad():
            dense, intact = self.dense(), self.network(self.x.clone())[tensor(self.row, self.x.device)]
            scale = torch.maximum(dense.abs().amax(), intact.abs().amax())
            for _ in range(2):
                y = self.changed(tape)
                assert y.shape == dense.shape
                assert float((y - dense).abs().max()) <= tolerance * float(scale)
        assert torch.equal(tape.x.cells, self.x)


@st.composite
def cases(draw, dtype=torch.float64):
    """Cases of any kind, with boxes at the borders too, and batches of one row."""
    n = draw(st.sampled_from([1, 1, 2]))
    shape = tuple(draw(st.integers(5, 40 if n == 1 else 14)) for _ in range(n))
    seed, samples, rows = draw(st.integers(0, 2**16)), draw(st.integers(1, 3)), draw(st.integers(1, 9))
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = Random(draw, shape).to(dtype).requires_grad_(False)
        size = [draw(st.integers(1, max(1, k // 2))) for k in shape]
        rng = np.random.default_rng(seed)
        start = [rng.integers(0, k - w + 1, rows) for k, w in zip(shape, size)]
        if draw(st.booleans()):
            for s, k, w in zip(start, shape, size):
                s[0], s[-1] = 0, k - w
        new = torch.randn(rows, 3, *size, dtype=dtype)
        return Case(
            network,
            torch.randn(samples, 3, *shape, dtype=dtype),
            rng.integers(0, samples, rows),
            tuple(start),
            new,
            draw(st.sampled_from([0.75, 9.0])),
        )
