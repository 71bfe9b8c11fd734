"""Integrated gradients of random networks by lines and point by point: several variables, context, targets, kinds of baselines."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
import xarray as xr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

import tsattr as ta
from tsattr.core.evaluation import paths

from .networks import ACTIVATIONS, Random

quiet = {"deadline": None, "suppress_health_check": list(HealthCheck), "derandomize": True, "database": None}
b = ta.baselines
NOT_IN_PLACE = [f for f in ACTIVATIONS if f.__name__ != "<lambda>"]  # gradients need what some would overwrite
BASELINES = [
    (b.Constant(0.3), 1),
    (b.Mean(), 1),
    (b.Gaussian(0.5), 2),
    (b.Mixture(b.Constant(0.1), b.Jitter(0.2)), 2),
]


@pytest.fixture(autouse=True)
def always(monkeypatch):
    """By lines wherever they hold, however little they save."""
    for name, value in {"_CELLS": 1, "_ROWS": 1, "_WORTH": 0, "_GAIN": 1e9}.items():
        monkeypatch.setattr(paths, name, value)


class Model(nn.Module):
    """Two outputs of a random network of the first variable, with what a second one and the context do to them."""

    def __init__(self, network, several, context):
        super().__init__()
        self.network, self.several, self.context = network, several, context
        self.beside = nn.Linear(2, 2)

    def forward(self, x, vitals=None, scale=None):
        y = self.network(x).flatten(1)
        y = torch.stack([(y * torch.linspace(-1, 2, y.shape[1]).to(y)).sum(1), y[:, 0]], 1)
        y = y + torch.tanh(self.beside(vitals)) if self.several else y
        return y * scale[:, None] if self.context else y


@dataclass
class Case:
    """A call of integrated gradients, that is made in both ways."""

    model: Model
    x: xr.DataArray | xr.Dataset
    method: ta.IntegratedGradients
    settings: dict

    def check(self, tolerance):
        found, expected = (
            ta.explain(self.model, self.x, self.method, check=False, **self.settings, evaluation=e)
            for e in (None, "dense")
        )
        assert found.attrs["evaluation"] in ("linewise", "not linewise: outputs that do not move, which prove nothing")
        np.testing.assert_array_equal(found.model_evaluations, expected.model_evaluations)
        names = [k for k in expected.data_vars if str(k).startswith("attribution")]
        size = max(float(abs(expected[k]).max()) for k in names)
        for k in names:
            assert float(abs(found[k] - expected[k]).max()) <= tolerance * size


@st.composite
def cases(draw):
    """Calls of any kind, in batches of some points, of one path or of several."""
    n = draw(st.sampled_from([1, 1, 2]))
    shape = tuple(draw(st.integers(5, 30 if n == 1 else 9)) for _ in range(n))
    seed, samples = draw(st.integers(0, 2**16)), draw(st.integers(1, 3))
    several, context = draw(st.booleans()), draw(st.booleans())
    rng = np.random.default_rng(seed)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = Random(draw, shape, activations=NOT_IN_PLACE)
        model = Model(network, several, context).double().eval()
    dims = ("sample", "lead", "time", "place")[: 2 + n]
    x = xr.DataArray(rng.normal(size=(samples, 3, *shape)), dims=dims)
    if several:
        x = xr.Dataset({"x": x, "vitals": (("sample", "vital"), rng.normal(size=(samples, 2)))})
    baseline, draws = draw(st.sampled_from(BASELINES))
    method = ta.IntegratedGradients(
        baseline, draw(st.integers(3, 9)), draw(st.sampled_from(["midpoint", "gauss-legendre"])), draws=draws
    )
    settings = {"target": draw(st.sampled_from([0, [0, 1]])), "batch_size": draw(st.sampled_from([4, 7, 100]))}
    if context:
        settings["context"] = {"scale": rng.uniform(1, 2, samples)}
    return Case(model, x, method, settings)


@settings(max_examples=100, **quiet)
@given(cases())
@pytest.mark.filterwarnings("ignore::tsattr.ExplanationWarning")
def test_a_random_network_gives_what_it_gives_point_by_point(case):
    case.check(1e-10)


@pytest.mark.slow
@settings(max_examples=3000, **(quiet | {"derandomize": False}))
@given(cases())
@pytest.mark.filterwarnings("ignore::tsattr.ExplanationWarning")
def test_thousands_of_random_networks(case):
    case.check(1e-10)
