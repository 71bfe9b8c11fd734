"""What a dry run says: rows by the method's account, multiply-adds, seconds and memory from a few batches."""

import time

import numpy as np
import pytest
import torch

import tsattr as ta
from tsattr.edge.rehearsal import Meter

X = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))
CELLS = ta.groups.Cells()


def linear(cells=4, out=3):
    torch.manual_seed(0)
    return torch.nn.Linear(cells, out)


def cost(model, x=X, method=None, **settings):
    method = ta.Occlusion(CELLS) if method is None else method
    return ta.explain(model, x, method, **({"target": 0, "dry_run": True} | settings)).attrs


# ---- multiply-adds


def test_multiply_adds_of_a_matrix_are_its_entries():
    said = cost(linear())
    assert said["rows"] == 6 * 5 + 4
    assert said["multiply_adds"] == 34 * 12
    assert said["multiply_adds_least"] == 10 * 12  # where a sample has no cell to take away; and the trials


def test_a_gradient_costs_the_transposed_product_too():
    said = cost(linear(), method=ta.IntegratedGradients(steps=5), check=False)
    assert said["multiply_adds"] == said["multiply_adds_least"] == pytest.approx(6 * (12 + 12 + 5 * 24))


def test_expected_gradients_ask_as_often_without_a_gradient():
    method = ta.IntegratedGradients(ta.baselines.Samples.fit(X.numpy()), steps=1, draws=6)
    said = cost(linear(), method=method, check=False, batch_size=8)
    assert said["multiply_adds"] == pytest.approx(6 * (12 + 6 * (12 + 24)))


@pytest.mark.parametrize(
    ("layer", "products"),
    [
        (torch.nn.LSTM(3, 5, 2, batch_first=True), 7 * (20 * (3 + 5) + 20 * (5 + 5))),
        (torch.nn.LSTM(3, 5, batch_first=True, bidirectional=True), 2 * 7 * 20 * (3 + 5)),
        (torch.nn.GRU(3, 5, batch_first=True), 7 * 15 * (3 + 5)),
        (torch.nn.Conv1d(7, 2, 3), 2 * 7 * 3 * 1),
    ],
)
def test_multiply_adds_of_layers(layer, products):
    with Meter() as meter, torch.no_grad():
        layer(torch.randn(2, 7, 3))
    assert meter.products == 2 * products


def test_a_model_that_is_not_torchs_has_none():
    said = cost(ta.models.on_arrays(lambda x: x.sum(1)))
    assert said["multiply_adds"] == 0
    assert said["seconds"] > 0


def test_rows_by_which_paths_are_tried_are_said():
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(512, 256), torch.nn.Tanh(), torch.nn.Linear(256, 1))
    x = torch.randn(64, 512)
    given = {"method": ta.IntegratedGradients(steps=40), "check": False}
    said, made = cost(model, x, **given), ta.explain(model, x, target=0, **given)
    assert made.attrs["trial_rows"] >= 2
    assert said["trial_rows"] == made.attrs["trial_rows"]
    assert said["rows"] == int(made.model_evaluations.sum()) + made.attrs["trial_rows"]


# ---- seconds


@pytest.mark.parametrize("method", [ta.Occlusion(CELLS), ta.IntegratedGradients(steps=16)], ids=["removal", "path"])
def test_seconds_are_those_of_the_call(method):
    def slow(x):
        time.sleep(0.004 * len(x))  # as models do, in proportion to the rows
        return x.sum(1)

    x = X.repeat(4, 1)[:20]
    said = cost(slow, x, method, target=None, batch_size=8, check=False)
    began = time.perf_counter()
    ta.explain(slow, x, method, batch_size=8, check=False)
    assert said["seconds"] >= 0.004 * said["rows"]
    assert said["seconds"] == pytest.approx(time.perf_counter() - began, rel=0.25)


def test_a_method_that_refines_itself_is_in_between():
    said = cost(linear(), method=ta.IntegratedGradients())
    assert 0 < said["seconds_least"] < said["seconds"]
    assert 0 < said["multiply_adds_least"] < said["multiply_adds"]


# ---- memory


@pytest.mark.parametrize("gradient", [False, True])
def test_peak_memory_is_what_lives_at_once(gradient):
    factor = torch.ones(1, 100, 1)

    def wide(x):
        y = x[:, None] * factor  # 100 times as much as the rows
        return (y * y).sum((1, 2))  # and twice that, as the first is kept

    x = torch.randn(64, 1000)
    method = ta.Saliency() if gradient else ta.Occlusion(ta.groups.Windows(dim_1=500))
    said = cost(wide, x, method, target=None, batch_size=64)
    one = 64 * 1000 * 4
    assert (200 if not gradient else 300) * one <= said["peak_bytes"] <= 1.15 * (200 if not gradient else 300) * one


def test_tensors_are_counted_while_they_live():
    with Meter() as meter:
        a = torch.ones(1000)
        b = a.view(10, 100).t()  # the same storage
        del a
        torch.ones(500).add_(1)
        c = torch.ones(1000)
    del b, c
    assert meter.peak == 8000
    assert meter.live == 0


# ---- the model is asked a little, and left alone


def test_few_batches_are_asked_about():
    class Spy(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layer, self.calls = linear(40, 1), []

        def forward(self, x):
            self.calls.append(len(x))
            return self.layer(x)

    spy, x = Spy().train(), torch.randn(200, 40)
    state = torch.random.get_rng_state()
    said = cost(spy, x, batch_size=16, target=None)
    assert said["rows"] == 200 * 41 + 4
    assert len(spy.calls) <= 2 * (1 + 2)  # the intact samples and two batches without something, counted and timed
    assert spy.training
    assert spy.layer.weight.requires_grad
    assert torch.equal(torch.random.get_rng_state(), state)
    asked = len(spy.calls)
    cost(spy, x, dry_run="rows", target=None)
    assert len(spy.calls) == asked


def test_an_error_of_the_model_is_the_callers():
    def broken(x):
        raise RuntimeError("no such sensor")

    with pytest.raises(RuntimeError, match="no such sensor"):
        cost(broken)
    assert cost(broken, dry_run="rows")["rows"] == 34


def test_how_removals_are_answered_is_said():
    torch.manual_seed(0)
    gru = torch.nn.GRU(3, 4, batch_first=True)
    method = ta.WinIT(3, ta.baselines.Hold(dim="time"))
    said = cost(lambda x: gru(x)[0], torch.randn(2, 8, 3), method, dims=("sample", "time", "lead"), outputs=("time", "class"),
                target=None)  # fmt: skip
    assert said["evaluation"] != "dense"
    assert cost(linear())["evaluation"] == "dense"


def test_the_evaluation_is_that_of_the_call():
    torch.manual_seed(0)
    layers = torch.nn.Conv1d(4, 16, 9, padding=4), torch.nn.ReLU(), torch.nn.Conv1d(16, 16, 9, padding=4)
    net = torch.nn.Sequential(*layers, torch.nn.AdaptiveAvgPool1d(1), torch.nn.Flatten()).eval()
    x = torch.randn(40, 4, 1000)
    given = {"dims": ("sample", "lead", "time"), "target": 0}
    for method in (ta.Occlusion(ta.groups.Windows(time=20)), ta.Occlusion(ta.groups.Windows(time=600))):
        assert cost(net, x, method, **given)["evaluation"] == ta.explain(net, x, method, **given).attrs.get(
            "evaluation"
        )


def test_members_cost_their_sum():
    one, two = (cost(m) for m in (linear(), ta.models.Ensemble([linear(), linear()])))
    assert two["multiply_adds"] == 2 * one["multiply_adds"]
    assert two["rows"] == 2 * one["rows"]
    assert two["peak_bytes"] < 2 * one["peak_bytes"]
    assert two["seconds"] > 0


@pytest.mark.parametrize("rows", [1, 3, "auto"])
def test_batches_change_no_count(rows):
    method = ta.ShapleySampling(CELLS, draws=10)
    said = cost(linear(), method=method, batch_size=rows, check=False)
    assert said["multiply_adds"] == pytest.approx(12 * said["rows"])
    np.testing.assert_allclose(said["multiply_adds_least"], said["multiply_adds"])
