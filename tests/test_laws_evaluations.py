"""The table of the laws once more: every method gives the same in the quicker ways to ask a model as it does densely."""

import functools

import numpy as np
import pytest
import torch
from torch import nn

import tsattr as ta
from tsattr.core.evaluation import paths
from tsattr.core.evaluation.incremental import cost, delta, evaluation

from .conftest import CLASSES, LEADS, relu_net, seeded
from .test_laws import METHODS, MISSING, SETTINGS, assert_same, case

pytestmark = pytest.mark.filterwarnings("ignore:GuidedBackprop fails weight-randomisation:tsattr.ExplanationWarning")


class Recurrent(nn.Module):
    """A GRU that is read at its last step, over the leads that a gate of each time lets in."""

    def __init__(self):
        super().__init__()
        self.gate, self.rnn = nn.Conv1d(LEADS, LEADS, 1), nn.GRU(LEADS, 6, batch_first=True)
        self.head = nn.Linear(6, CLASSES)

    def forward(self, x):
        known = torch.nan_to_num(x)
        return self.head(self.rnn((known * torch.sigmoid(self.gate(known))).transpose(1, 2))[0][:, -1])


NETS = {"convolutions": relu_net(), "recurrent": seeded(Recurrent)}


@pytest.fixture
def eager(monkeypatch):
    """Quicker ways wherever they hold: as if they cost nothing, and however small samples and calls are."""
    monkeypatch.setattr(cost, "_CPU", (0.0, 1e-9, 4e-11))
    monkeypatch.setattr(delta, "NEARLY", 9.0)
    for name, value in {"_FEWEST": 2, "_SMALLEST": 1, "_TIMES": 0, "_WORTH": 0}.items():
        monkeypatch.setattr(evaluation, name, value)
    monkeypatch.setattr(evaluation.Incremental, "_share", lambda *_: 0.5)
    for name, value in {"_CELLS": 1, "_ROWS": 1, "_WORTH": 0, "_GAIN": 1e9}.items():
        monkeypatch.setattr(paths, name, value)


def answers(name, net):
    """By the ways that hold, and densely."""
    of = case(name)
    own = name == "learned attention" or (name in MISSING and net == "convolutions")
    model = of.model if own else NETS[net]
    explain = functools.partial(ta.explain, model, of.x, of.method, **of.settings)
    return explain(), explain(evaluation="dense")


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("net", NETS)
@pytest.mark.parametrize("name", METHODS)
def test_quicker_ways_change_nothing(name, net):
    if net == "recurrent" and (
        isinstance(SETTINGS[name], ta.GradCAM | ta.GuidedBackprop) or name == "learned attention"
    ):
        pytest.skip("of convolutions only")
    found, dense = answers(name, net)
    asked = [
        v for v in ("model_steps", "model_evaluations") if "model_steps" in found
    ]  # of prefixes, which are read otherwise
    assert_same(found.drop_vars(asked), dense.drop_vars(asked))
    assert "evaluation" not in dense.attrs
    assert dense.attrs.get("reading", "prefixes").startswith("prefixes")


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("net", NETS)
@pytest.mark.parametrize(
    ("name", "way"),
    [
        ("occlusion, windows, samples", "incremental"),
        ("occlusion, overlapping, ragged, bridge", "incremental"),
        ("occlusion, waves, constant", "incremental"),
        ("ig, constant", "linewise"),
        ("ig gauss-legendre, samples", "linewise"),
    ],
)
def test_they_are_taken(name, way, net):
    found, _ = answers(name, net)
    assert way in found.attrs["evaluation"].split("; ")


# In single precision an attribution is a sum over a path, or a difference of two outputs: both round as the largest does.
@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("name", ["ig, uniform", "ig refined, samples", "expected gradients, samples", "occlusion, windows, samples"])  # fmt: skip
@pytest.mark.parametrize("net", NETS)
def test_quicker_ways_in_single_precision(name, net):
    of, single = case(name), {key: value.float() for key, value in NETS[net].state_dict().items()}
    model = relu_net() if net == "convolutions" else seeded(Recurrent)
    model.float().load_state_dict(single)
    x = of.x.astype(np.float32)
    found = ta.explain(model, x, of.method, **of.settings)
    dense = ta.explain(model, x, of.method, **of.settings, evaluation="dense")
    largest = float(abs(dense.attribution).max())
    np.testing.assert_allclose(found.attribution, dense.attribution, rtol=0, atol=1e-5 * largest)
