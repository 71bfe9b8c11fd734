"""How often a call waits for numbers from the device: once for a block of rows, and not for each of its batches."""

from collections import Counter

import numpy as np
import pytest
import torch
from torch.overrides import TorchFunctionMode

import tsattr as ta
from tsattr.core import samples
from tsattr.core.evaluation import paths

RNG = np.random.default_rng(0)
X, TRAIN = RNG.normal(size=(60, 3, 40)), RNG.normal(size=(20, 3, 40))
BATCH = 64
b, g = ta.baselines, ta.groups
# At most 64 draws of samples each, which are one block, and several batches of rows.
METHODS = {
    "saliency": (ta.Saliency(), 200),
    "integrated gradients": (ta.IntegratedGradients(steps=9), 60),
    "expected gradients": (ta.IntegratedGradients(b.Samples.fit(TRAIN), steps=9, draws=4), 16),
    "occlusion": (ta.Occlusion(g.Windows(time=4)), 60),
    "values by label": (ta.Occlusion(g.Windows(time=4), b.Constant(np.linspace(-1, 1, 120).reshape(3, 40))), 60),
    "shapley": (ta.ShapleySampling(g.Windows(time=10), draws=4), 16),
    "kernel": (ta.KernelShap(g.Windows(time=10)), 60),
}

# What hands numbers of a tensor to Python, or has a size that depends on them.
READS = {"item", "tolist", "numpy", "cpu", "__bool__", "__int__", "__float__", "__index__", "__contains__", "nonzero", "unique",
         "unique_consecutive", "masked_select", "equal", "allclose"}  # fmt: skip


class Reads(TorchFunctionMode):
    """Counts what a GPU would have to be waited for."""

    def __init__(self):
        super().__init__()
        self.found = Counter()

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func.__name__ in READS or (func.__name__ in ("__getitem__", "__setitem__") and self.by_value(args[1])):
            self.found[func.__name__] += 1
        return func(*args, **(kwargs or {}))

    @staticmethod
    def by_value(index):
        index = index if isinstance(index, tuple) else (index,)
        return any(isinstance(k, torch.Tensor) and (k.dtype == torch.bool or k.ndim == 0) for k in index)


def network():
    torch.manual_seed(0)
    layers = [torch.nn.Conv1d(3, 4, 5), torch.nn.Tanh(), torch.nn.Flatten(), torch.nn.Linear(4 * 36, 2)]
    return torch.nn.Sequential(*layers).double()


def explained(method, number, batch):
    x = np.resize(X, (number, 3, 40))
    given = {"target": [0, 1], "dims": ("sample", "lead", "time"), "batch_size": batch, "evaluation": "dense"}
    return ta.explain(network(), x, method, **given)


@pytest.fixture
def far(monkeypatch):
    """As on a device whose numbers are not at hand."""
    for module in (samples, paths):
        monkeypatch.setattr(module, "at_hand", lambda values: False)


def test_what_waits_is_counted():
    x = torch.arange(4.0)
    with Reads() as reads:
        x + 1, x[1:], x[torch.tensor([0, 1])]
        assert not reads.found
        x[0].item(), x.tolist(), x.cpu(), bool(x[0] > 1), x[x > 1], x.nonzero(), x.unique()
    assert sum(reads.found.values()) >= 7


@pytest.mark.parametrize(("method", "number"), METHODS.values(), ids=METHODS)
def test_more_batches_are_no_more_to_wait_for(far, method, number):
    found = []
    for batch in (BATCH, 4096):
        with Reads() as reads:
            explained(method, number, batch)
        found.append(reads.found)
    assert found[0] == found[1]


@pytest.mark.parametrize(("method", "number"), METHODS.values(), ids=METHODS)
def test_maps_are_those_of_a_device_at_hand(request, method, number):
    plain = explained(method, number, BATCH)
    request.getfixturevalue("far")
    far = explained(method, number, BATCH)
    np.testing.assert_allclose(far.attribution, plain.attribution, rtol=0, atol=1e-13 * abs(plain.attribution).max())
    np.testing.assert_array_equal(far.status, plain.status)
