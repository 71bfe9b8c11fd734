"""How far a call is, and what is left of it."""

import time

import numpy as np
import pytest
import torch

import tsattr as ta
from tsattr.edge.progress import Parts, Progress

CELLS = ta.groups.Cells()


class Clock:
    """Says the time that it is told."""

    now = 0.0

    def __call__(self):
        return self.now


def test_each_part_has_its_price():
    clock = Clock()
    parts = Parts(clock)
    for expected, batches in ((4, [(4, 8.0)]), (20, [(5, 100.0), (5, 10.0), (5, 20.0)]), (10, [(5, 5.0)])):
        parts.expect(expected)
        for rows, seconds in batches:
            clock.now += seconds
            parts.advance(rows)
    intact, later = parts.prices
    assert intact == 2
    assert later == pytest.approx((20 * 3 + 10 * 1) / 30)  # the first of several batches also loads and tries


def test_what_is_left_is_what_was_announced_and_what_is_likely():
    now = Progress(lambda progress, rows: None, total=100)
    now.parts = Parts(clock := Clock())
    for expected, rows, seconds in ((10, 10, 1.0), (50, 10, 5.0), (20, 5, 0.5)):
        now.expect(expected)
        clock.now += seconds
        now.advance(rows)
    assert (now.done, now.known, now.sure, now.likely) == (25, 80, 100, 100)
    usual = (50 * 0.5 + 20 * 0.1) / 70
    assert now.seconds_left == pytest.approx(15 * 0.1 + 60 * usual)
    now.foresee(2.5)
    assert (now.sure, now.likely) == (100, 250)
    assert now.seconds_left == pytest.approx(15 * 0.1 + 210 * usual)


def followed(monkeypatch, look):
    """What `look` says of the progress of a call, after each batch."""
    seen, advance = [], Progress.advance

    def watched(self, rows):
        advance(self, rows)
        seen.append(look(self))

    monkeypatch.setattr(Progress, "advance", watched)
    return seen


def kinked():
    torch.manual_seed(0)
    layers = [
        torch.nn.Linear(30, 40),
        torch.nn.ReLU(),
        torch.nn.Linear(40, 40),
        torch.nn.ReLU(),
        torch.nn.Linear(40, 1),
    ]
    return torch.nn.Sequential(*layers).double()


@pytest.mark.parametrize(
    "method",
    [
        ta.IntegratedGradients(tolerance=0.003),
        ta.ShapleySampling(ta.groups.Windows(dim_1=3), draws=1500, tolerance=0.03),
        ta.Occlusion(CELLS),
    ],
    ids=["refined", "until a tolerance", "removal"],
)
def test_the_rows_to_come_are_foreseen(monkeypatch, method):
    seen = followed(monkeypatch, lambda now: (now.done, now.likely))
    x = torch.randn(40, 30, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    ds = ta.explain(kinked(), x, method, batch_size=64, check=False)
    done, likely = np.array(seen).T
    total = int(ds.model_evaluations.sum())
    assert done[-1] == likely[-1] == total
    assert (abs(likely[done > total / 4] / total - 1) < 0.25).all()


class EachStep(torch.nn.Module):
    """A recurrent model of three series, read at every step or at the last."""

    def __init__(self, last):
        super().__init__()
        self.last, self.cell = last, torch.nn.GRU(3, 4, batch_first=True)

    def forward(self, x):
        y = self.cell(x)[0][..., 0]
        return y[:, -1] if self.last else y


RESCALED = {"saliency": ta.Saliency(), "path": ta.IntegratedGradients(steps=5), "refined": ta.IntegratedGradients()}
SERIES = {
    "windows": (ta.WinIT(6), False),
    "both orders": (ta.WinIT(6, order="symmetric"), False),
    "at the last time": (ta.WinIT(6, order="symmetric", predictions="last"), False),
    "steps": (ta.FeatureOcclusion(), False),
    "drawn references": (ta.IntegratedGradients(ta.baselines.Mean("time"), steps=1, draws=20), True),
    **{f"rescaled {name}": (ta.TemporalRescaling(method), True) for name, method in RESCALED.items()},
    "rescaled removal": (ta.TemporalRescaling(ta.Occlusion(ta.groups.Windows(time=5))), True),
}


@pytest.mark.parametrize("batch", [16, 128])
@pytest.mark.parametrize(("method", "last"), SERIES.values(), ids=SERIES)
def test_the_rows_to_come_of_series_are_foreseen(monkeypatch, method, last, batch):
    seen = followed(monkeypatch, lambda now: (now.done, now.likely))
    x = torch.randn(8, 20, 3, generator=torch.Generator().manual_seed(1))
    given = {"target": None} if last else {"outputs": ("time",)}
    ta.explain(EachStep(last), x, method, dims=("sample", "time", "lead"), batch_size=batch, check=False, **given)
    done, likely = np.array(seen).T
    assert (abs(likely[done > done[-1] / 4] / done[-1] - 1) < 0.25).all()


class SlowSlope(torch.autograd.Function):
    """The sum, whose gradient takes three times as long."""

    @staticmethod
    def forward(context, x):
        context.save_for_backward(x)
        time.sleep(5e-4 * len(x))
        return x.sum(1)

    @staticmethod
    def backward(context, slope):
        (x,) = context.saved_tensors
        time.sleep(1e-3 * len(x))
        return slope[:, None].expand_as(x)


def test_rows_of_another_price_are_weighed(monkeypatch):
    seen = followed(monkeypatch, lambda now: (time.perf_counter(), now.seconds_left))
    x = torch.randn(8, 3, generator=torch.Generator().manual_seed(0))
    ta.explain(
        SlowSlope.apply,
        x,
        ta.IntegratedGradients(ta.baselines.Samples.fit(x.numpy()), steps=1, draws=64),
        batch_size=16,
        check=False,
    )
    at, left = np.array(seen).T
    whole = at[-1] - at[0]
    said = (at - at[0] + left) / whole
    assert (abs(said[at - at[0] > 0.25 * whole] - 1) < 0.25).all()


def test_the_bar_says_what_is_left(capsys):
    ta.explain(lambda x: x.sum(1), torch.randn(5, 4), ta.Occlusion(CELLS), progress=True)
    said = capsys.readouterr().err
    assert "explain: 100%" in said
    assert "25.0/25.0" in said
