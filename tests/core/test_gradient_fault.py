"""What makes a gradient that is not finite: named by operation, layer and the entries of the input that it reaches."""

import numpy as np
import pytest
import torch
import xarray as xr
from torch import nn

import tsattr as ta
from tsattr.core.gradient_fault import gradient_fault
from tsattr.report import report

X = xr.DataArray(
    np.array([[[1.0, 2.0], [0.0, 0.0], [3.0, 1.0]], [[1.0, 1.0], [2.0, 1.0], [1.0, 3.0]]]),
    {"sample": [7, 8], "feature": ["HR", "Urine", "pH"]},
    ("sample", "feature", "time"),
)


class Norm(nn.Module):
    """The length of each series, whose slope is NaN where all of it is 0."""

    def forward(self, x):
        return x.square().sum(-1).sqrt()


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Identity(), Norm())
        self.head = nn.Linear(3, 1)

    def forward(self, x):
        return torch.tanh(self.head(self.body(x)))[:, 0]


METHODS = [ta.Saliency(), ta.InputXGradient(), ta.IntegratedGradients()]


@pytest.mark.parametrize("method", METHODS)
def test_the_layer_and_the_feature_are_named(method):
    net = Net().double()
    hooks = [dict(m._forward_hooks) for m in net.modules()]
    with pytest.warns(
        ta.ExplanationWarning, match=r"gradient: sample 7 .*made by sqrt in body\.1 \(Norm\), at feature Urine"
    ):
        ds = ta.explain(net, X, method)
    assert ds.status.values.tolist() == ["non-finite gradient", "ok"]
    assert ds.attrs["gradient_fault"] == "sqrt in body.1 (Norm), at feature Urine"
    assert np.isfinite(ds.prediction).all()
    assert "is made by sqrt in body.1 (Norm), at feature Urine." in report(ds, X)
    assert ds.attribution[1].notnull().all()
    assert [dict(m._forward_hooks) for m in net.modules()] == hooks


def test_a_callable_has_operations_alone():
    with pytest.warns(ta.ExplanationWarning, match="It is made by log, at feature Urine"):
        ds = ta.explain(lambda x: torch.where(x > 0, x.log(), x).sum((1, 2)), X, ta.Saliency())
    assert ds.attrs["gradient_fault"] == "log, at feature Urine"


def test_what_no_hook_can_look_into_keeps_its_status(monkeypatch):
    def refuses(*args):
        raise RuntimeError("no hooks here")

    monkeypatch.setattr("tsattr.core.engine.gradient_fault", refuses)
    with pytest.warns(ta.ExplanationWarning, match="outputs are finite and their gradients"):
        ds = ta.explain(Net().double(), X, ta.Saliency())
    assert ds.status.values.tolist() == ["non-finite gradient", "ok"]
    assert "gradient_fault" not in ds.attrs


def test_cells_and_operation():
    rows = torch.tensor([[0.0, 1.0], [4.0, 9.0]])
    found = gradient_fault(lambda x: x.sqrt().sum(), rows, None)
    assert (found.operation, found.layer, found.cells.tolist()) == ("sqrt", "", [True, False])
    assert gradient_fault(lambda x: x.square().sum(), rows, None).operation == ""
    shared = nn.ReLU()
    twice = nn.Sequential(shared, Norm(), shared)  # a layer that is used twice
    found = gradient_fault(lambda x: twice(x).sum(), torch.zeros(1, 2), twice)
    assert (found.operation, found.layer) == ("sqrt", "1 (Norm)")
