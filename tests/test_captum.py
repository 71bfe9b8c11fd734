"""Agreement with captum, in double precision and as it comes.

captum 0.9 rounds the weights of its quadrature and the results of its occlusion to float32 whatever the input's dtype. So each
case is compared twice: with those two casts lifted (the default dtype is float64 and ``Tensor.float`` is ``Tensor.double``
during captum's call), where both must agree to 1e-12; and untouched, where they must agree to float32's rounding of the
largest value.
"""

import contextlib

import numpy as np
import pytest
import torch
from torch import nn

import tsattr as ta

from .conftest import LEADS, TIMES, seeded, signals, trained_statistics

captum_attr = pytest.importorskip("captum.attr", reason="captum is not installed (extra: test)")
b, g = ta.baselines, ta.groups

X = signals(4)
ROWS = torch.as_tensor(X.values)


@contextlib.contextmanager
def double(monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(torch.Tensor, "float", torch.Tensor.double)
        before = torch.get_default_dtype()
        torch.set_default_dtype(torch.float64)
        try:
            yield
        finally:
            torch.set_default_dtype(before)


def assert_agree(ours, captum, monkeypatch):
    with double(monkeypatch):
        theirs = captum().detach().numpy()
    assert abs(theirs).max() > 1e-3
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-12)
    theirs = captum().detach().numpy()
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=np.finfo(np.float32).eps * abs(theirs).max())


class Field(nn.Module):
    """A 2-D convolution over (lead, time) as if it were a picture."""

    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv2d(1, 4, (2, 3)),
            nn.BatchNorm2d(4),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(4 * (LEADS - 1) * (TIMES - 2), 3),
        )

    def forward(self, x):
        return self.net(x[:, None])


@pytest.fixture
def field():
    return trained_statistics(seeded(Field))


NETS = ["linear", "conv", "smooth", "recurrent", "field"]
START = signals(4, seed=5).values
BASELINES = {
    "zero": (b.Constant(0.0), 0.0),
    "constant": (b.Constant(0.7), 0.7),
    "another signal for each sample": (b.Constant(X.copy(data=START)), torch.as_tensor(START)),
    "mean": (b.Mean(), ROWS.mean(2, keepdim=True).expand_as(ROWS)),
}


@pytest.mark.parametrize("net", NETS)
@pytest.mark.parametrize("baseline", BASELINES)
@pytest.mark.parametrize("steps", [5, 50])
def test_integrated_gradients(net, baseline, steps, request, monkeypatch):
    net = request.getfixturevalue(net)
    fill, start = BASELINES[baseline]
    method = ta.IntegratedGradients(fill, steps=steps, rule="gauss-legendre")
    ours = ta.explain(net, X, method, target=2).attribution
    theirs = captum_attr.IntegratedGradients(net)
    assert_agree(ours, lambda: theirs.attribute(ROWS, start, target=2, n_steps=steps), monkeypatch)


@pytest.mark.parametrize("net", ["conv", "recurrent"])
def test_midpoints(net, request, monkeypatch):
    net = request.getfixturevalue(net)
    ours = ta.explain(net, X, ta.IntegratedGradients(b.Constant(0.7), steps=20, rule="midpoint"), target=0).attribution
    theirs = captum_attr.IntegratedGradients(net)
    assert_agree(ours, lambda: theirs.attribute(ROWS, 0.7, target=0, n_steps=20, method="riemann_middle"), monkeypatch)


# name: (windows, captum's window and stride over (lead, time))
WINDOWS = {
    "cells": (g.Cells(), (1, 1), (1, 1)),
    "all leads, disjoint": (g.Windows(time=4), (LEADS, 4), (LEADS, 4)),
    "all leads, overlapping": (g.Windows(time=5, step=2), (LEADS, 5), (LEADS, 2)),
    "all leads, overlapping and ragged": (g.Windows(time=5, step=3), (LEADS, 5), (LEADS, 3)),
    "one lead, ragged": (g.Windows(time=5, lead=1), (1, 5), (1, 5)),
    "two leads, overlapping and ragged": (
        g.Windows(time=5, lead=2, step={"time": 3, "lead": 1}), (2, 5), (1, 3),
    ),
    "two leads, ragged in both": (g.Windows(time=7, lead=2, step={"time": 4, "lead": 2}), (2, 7), (2, 4)),
}  # fmt: skip


@pytest.mark.parametrize("net", ["conv", "recurrent", "field"])
@pytest.mark.parametrize("baseline", BASELINES)
@pytest.mark.parametrize("windows", WINDOWS)
def test_occlusion(net, baseline, windows, request, monkeypatch):
    net = request.getfixturevalue(net)
    (groups, size, stride), (fill, start) = WINDOWS[windows], BASELINES[baseline]
    ours = ta.explain(net, X, ta.Occlusion(groups, fill), target=1).attribution
    theirs = captum_attr.Occlusion(net)
    call = lambda: theirs.attribute(  # noqa: E731
        ROWS, sliding_window_shapes=size, strides=stride, baselines=start, target=1, perturbations_per_eval=3
    )
    assert_agree(ours, call, monkeypatch)


@pytest.mark.parametrize("net", ["conv", "smooth", "recurrent"])
def test_saliency_and_input_x_gradient(net, request):
    net = request.getfixturevalue(net)
    for ours, theirs in ((ta.Saliency(), captum_attr.Saliency), (ta.InputXGradient(), captum_attr.InputXGradient)):
        expected = theirs(net).attribute(ROWS.clone().requires_grad_(), target=2).detach()
        np.testing.assert_allclose(ta.explain(net, X, ours, target=2).attribution, expected, rtol=0, atol=1e-12)
