"""The same maps on a GPU as on the processor; run by ``python -m tests.benchmarks.gpu``."""

import numpy as np
import pytest
import torch

import tsattr as ta

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]
DIMS = ("sample", "lead", "time")
X = np.random.default_rng(0).normal(size=(6, 3, 600))
TRAIN = np.random.default_rng(1).normal(size=(20, 3, 600))


def network():
    torch.manual_seed(0)
    layers = [torch.nn.Conv1d(3, 8, 7, 2, 3), torch.nn.ReLU(), torch.nn.Conv1d(8, 8, 5, 2, 2), torch.nn.ReLU()]
    return torch.nn.Sequential(
        *layers, torch.nn.AdaptiveAvgPool1d(1), torch.nn.Flatten(), torch.nn.Linear(8, 3)
    ).double()


b, g = ta.baselines, ta.groups
METHODS = {
    "saliency": ta.Saliency(),
    "path": ta.IntegratedGradients(steps=6),
    "refined": ta.IntegratedGradients(),
    "samples": ta.IntegratedGradients(b.Samples.fit(TRAIN), steps=1, draws=10),
    "smooth": ta.SmoothGrad(draws=5),
    "occlusion": ta.Occlusion(g.Windows(time=20, step=10), b.Bridge()),
    "shapley": ta.ShapleySampling(g.Windows(time=100), draws=6),
    "kernel": ta.KernelShap(g.Along("lead")),
}


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_maps_are_those_of_the_processor(method):
    net = network()
    expected = ta.explain(net, X, method, target=[0, 2], dims=DIMS)
    found = ta.explain(net, X, method, target=[0, 2], dims=DIMS, device="cuda")
    scale = float(abs(expected.attribution).max())
    np.testing.assert_allclose(found.attribution, expected.attribution, rtol=0, atol=1e-8 * scale)
    np.testing.assert_array_equal(found.status, expected.status)
    assert {p.device.type for p in net.parameters()} == {"cpu"}


def test_invalid_cells_and_small_batches():
    valid = np.ones_like(X, bool)
    valid[2:, :, 500:] = False
    expected, found = (
        ta.explain(
            network(), X, METHODS["occlusion"], target=0, dims=DIMS, valid=valid, batch_size=16, device=device
        ).attribution
        for device in ("cpu", "cuda")
    )
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-8 * float(abs(expected).max()))


def test_a_dry_run_times_and_measures_there():
    said = ta.explain(network(), X, METHODS["path"], target=0, dims=DIMS, device="cuda", dry_run=True).attrs
    assert said["device"].startswith("cuda")
    assert said["seconds"] > 0
    assert said["multiply_adds"] > 0
