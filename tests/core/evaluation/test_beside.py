"""Of several variables the largest goes through a network by what has changed, and the answer is that of whole rows."""

import numpy as np
import pytest
import torch
import xarray as xr
from torch import nn

import tsattr as ta
from tsattr.core.evaluation.incremental import beside

from .test_incremental import both, eager, network  # noqa: F401 - a fixture

pytestmark = pytest.mark.usefixtures("eager")

g, b = ta.groups, ta.baselines


class Fused(nn.Module):
    """A waveform, and numbers that join it as a bias of its channels, or at the head."""

    def __init__(self, early=False):
        super().__init__()
        self.early, self.wave = early, network()
        with torch.random.fork_rng():
            torch.manual_seed(3)
            self.join, self.head = nn.Linear(3, 4).double(), nn.Linear(3, 3).double()

    def forward(self, ecg, table):
        return self.wave(ecg + self.join(table)[..., None]) if self.early else self.wave(ecg) * self.head(table)


def data(samples=3, *, turned=False):
    rng = np.random.default_rng(2)
    ecg = xr.DataArray(rng.normal(size=(samples, 4, 240)), dims=("sample", "lead", "time"))
    table = xr.DataArray(rng.normal(size=(samples, 3)), dims=("sample", "column"))
    return xr.Dataset({"table": table, "ecg": ecg} if turned else {"ecg": ecg, "table": table})


METHODS = {
    "constant": ta.Occlusion({"ecg": g.Windows(time=5, lead=1), "table": g.Cells()}),
    "from neighbours": ta.Occlusion({"ecg": g.Windows(time=5), "table": g.Along("column")}, {"ecg": b.Bridge(), "table": b.Constant(0.5)}),
    "drawn": ta.Occlusion({"ecg": g.Windows(time=12), "table": g.Cells()}, b.Gaussian(1.0), draws=4),
}  # fmt: skip


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("early", [False, True])
@pytest.mark.parametrize("batch", ["auto", 7])
@pytest.mark.parametrize("turned", [False, True])
def test_a_call_gives_what_it_gives_densely_and_says_how(monkeypatch, method, early, batch, turned):
    found, dense = both(monkeypatch, Fused(early), data(turned=turned), METHODS[method], batch_size=batch)
    if not early:  # else the table is added to all of the waveform, and nothing of it is known to be intact
        assert found.attrs["evaluation"] == "incremental"
    xr.testing.assert_allclose(found, dense, rtol=1e-10, atol=1e-12)
    assert float(abs(dense.attribution_table).min()) > 0


def test_missing_cells_and_other_targets(monkeypatch):
    x = data()
    x["ecg"][0, :, 200:] = np.nan
    x["table"][1, 2] = np.nan
    net = Fused()
    found, dense = both(
        monkeypatch,
        lambda ecg, table: net(ecg.nan_to_num(), table.nan_to_num()),
        x,
        METHODS["constant"],
        target=[0, 2],
    )
    assert found.attrs["evaluation"] == "incremental"
    xr.testing.assert_allclose(found, dense, rtol=1e-10, atol=1e-12)


def test_recurrent_layers_and_two_waveforms(monkeypatch):
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            with torch.random.fork_rng():
                torch.manual_seed(0)
                self.rnn, self.head = nn.GRU(4, 8, batch_first=True).double(), nn.Linear(8, 2).double()
                self.other = nn.Conv1d(2, 8, 5).double()

        def forward(self, ecg, pleth):
            return self.head(self.rnn(ecg.transpose(1, 2))[0].mean(1) + self.other(pleth).mean(2))

    rng = np.random.default_rng(4)
    x = xr.Dataset(
        {
            "pleth": (("sample", "channel", "t"), rng.normal(size=(3, 2, 100))),
            "ecg": (("sample", "lead", "time"), rng.normal(size=(3, 4, 240))),
        }
    )
    method = ta.Occlusion({"ecg": g.Windows(time=8), "pleth": g.Windows(t=10)})
    found, dense = both(monkeypatch, Two(), x, method)
    assert found.attrs["evaluation"] == "incremental"
    xr.testing.assert_allclose(found, dense, rtol=1e-9, atol=1e-11)


def test_batches_ask_each_row_once(monkeypatch):
    """Rows of the waveform as boxes, those of the table whole, and the answers in the order of the rows."""
    seen = []
    inner = beside.Largest.__call__

    def watched(self, removal, at):
        y = inner(self, removal, at)
        torch.testing.assert_close(y, self.dense(removal, at), rtol=1e-10, atol=1e-12)
        seen.append(len(y))
        return y

    monkeypatch.setattr(beside.Largest, "__call__", watched)
    ta.explain(Fused(), data(), METHODS["constant"], target=1, batch_size=11)
    assert sum(seen) == 3 * (4 * 48 + 3)


@pytest.mark.parametrize(
    ("method", "said"),
    [
        (ta.KernelShap({"ecg": g.Windows(time=60), "table": g.Cells()}), "sets of groups of several variables"),
        (ta.Occlusion({"ecg": g.Windows(time=240), "table": g.Cells()}), "fewer than pay for a trial"),
    ],
)
def test_what_is_asked_whole_says_why(method, said):
    found = ta.explain(Fused(), data(), method, target=1)
    assert said in found.attrs.get("evaluation", "")
