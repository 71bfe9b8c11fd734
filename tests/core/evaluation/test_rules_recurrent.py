"""Recurrent layers from the state before what has changed give what whole rows give."""

import numpy as np
import pytest
import torch
import xarray as xr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

import tsattr as ta
from tsattr.core.evaluation import removals
from tsattr.core.evaluation.incremental import evaluation, rules_recurrent
from tsattr.core.evaluation.incremental.delta import Delta, Rows
from tsattr.core.evaluation.incremental.tape import Tape

from .networks import Case

quiet = {"deadline": None, "suppress_health_check": list(HealthCheck), "derandomize": True, "database": None}
READS = ["last", "first", "middle", "mean", "largest", "each", "state", "both states", "flat", "stretch"]
LAYERS = {
    "GRU": nn.GRU,
    "LSTM": nn.LSTM,
    "RNN": nn.RNN,
    "relu": lambda *a, **k: nn.RNN(*a, nonlinearity="relu", **k),
}


class Recurrent(nn.Module):
    """Perhaps a convolution, recurrent layers, perhaps others on top of them, and what is read of them."""

    def __init__(self, draw, times, channels=3):
        super().__init__()
        self.front = draw(st.sampled_from([None, nn.Conv1d(channels, channels, 3, draw(st.sampled_from([1, 2])), 1)]))
        hidden, both = draw(st.integers(1, 5)), draw(st.booleans())
        self.first = draw(st.booleans())
        layers = draw(st.integers(1, 3))
        self.layer = LAYERS[draw(st.sampled_from(list(LAYERS)))](
            channels,
            hidden,
            layers,
            bias=draw(st.booleans()),
            batch_first=self.first,
            dropout=draw(st.sampled_from([0.0, 0.5])) if layers > 1 else 0.0,  # in evaluation, where nothing is dropped
            bidirectional=both,
        )
        self.packed = draw(st.sampled_from([False, False, False, True]))
        width = hidden * (1 + both)
        self.again = draw(st.sampled_from([None, None, nn.GRU(width, width, batch_first=self.first)]))
        self.between = draw(st.sampled_from([None, nn.Linear(width, width), nn.Tanh(), nn.ReLU(inplace=True)]))
        self.begin = draw(st.sampled_from([None, None, "learned", "of the row"]))
        self.read = draw(st.sampled_from(READS))
        steps = times if self.front is None else self.front(torch.zeros(1, channels, times)).shape[2]
        self.head, self.flat = nn.Linear(width, 2), nn.Linear(width * steps, 2)
        self.turn = draw(st.sampled_from([lambda x: x.permute(2, 0, 1), lambda x: x.transpose(1, 2).transpose(0, 1)]))

    def _state(self, x):
        if self.begin is None:
            return None
        rows = x.shape[0 if self.first else 1]
        shape = (self.layer.num_layers * (1 + self.layer.bidirectional), rows, self.layer.hidden_size)
        value = torch.linspace(-1, 1, shape[0] * shape[2], dtype=x.dtype).reshape(shape[0], 1, shape[2]).expand(shape)
        if self.begin == "of the row":
            value = value * x.sum((1, 2) if self.first else (0, 2))[:, None]
        value = value.contiguous()
        return (value, value / 2) if isinstance(self.layer, nn.LSTM) else value

    def forward(self, x):
        x = x if self.front is None else self.front(x)
        x = x.transpose(1, 2) if self.first else self.turn(x)
        if self.packed:
            lengths = torch.full((x.shape[0 if self.first else 1],), x.shape[1 if self.first else 0])
            y, state = self.layer(pack_padded_sequence(x, lengths, self.first), self._state(x))
            y = pad_packed_sequence(y, self.first)[0]
        else:
            y, state = self.layer(x, self._state(x))
        y = y if self.between is None else self.between(y)
        y = y if self.again is None else self.again(y)[0]
        h = state[0] if isinstance(state, tuple) else state
        time = 1 if self.first else 0
        at = lambda k: y[:, k] if self.first else y[k]  # noqa: E731
        rows = lambda: y if self.first else y.transpose(0, 1)  # noqa: E731
        return {
            "last": lambda: self.head(at(-1)),
            "first": lambda: self.head(at(0)),
            "middle": lambda: self.head(at(y.shape[time] // 2)),
            "mean": lambda: self.head(y.mean(time)),
            "largest": lambda: self.head(y.amax(time)),
            "each": lambda: rows(),
            "state": lambda: h[-1],
            "both states": lambda: torch.cat([h[0], h[-1]], 1),
            "flat": lambda: self.flat(rows().flatten(1)),
            "stretch": lambda: (y[:, 2:] if self.first else y[2:].transpose(0, 1)).mean(1),
        }[self.read]()


@st.composite
def recurrent(draw, dtype=torch.float64):
    """Recurrent networks over boxes in time, at the borders and overlapping too."""
    times, seed = draw(st.integers(5, 60)), draw(st.integers(0, 2**16))
    samples, rows = draw(st.integers(1, 3)), draw(st.integers(1, 9))
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = Recurrent(draw, times).to(dtype).eval().requires_grad_(False)
        w = draw(st.integers(1, times // 2))
        rng = np.random.default_rng(seed)
        start = rng.integers(0, times - w + 1, rows)
        if draw(st.booleans()):
            start[0], start[-1] = 0, times - w
        if draw(st.booleans()):
            start[:] = start[-1]
        new = torch.randn(rows, 3, w, dtype=dtype)
        x = torch.randn(samples, 3, times, dtype=dtype)
        return Case(network, x, rng.integers(0, samples, rows), (start,), new, draw(st.sampled_from([0.75, 9.0])))


@pytest.fixture(autouse=True)
def short(monkeypatch):
    """Blocks so short that series have several."""
    monkeypatch.setattr(rules_recurrent, "BLOCK", 4)


@settings(max_examples=120, **quiet)
@given(recurrent())
def test_a_random_recurrent_network_gives_what_it_gives_of_whole_rows(case):
    case.check(1e-10)


@settings(max_examples=60, **quiet)
@given(recurrent(torch.float32))
def test_a_random_recurrent_network_in_single_precision(case):
    case.check(1e-5)


@pytest.mark.slow
@settings(max_examples=3000, **(quiet | {"derandomize": False}))
@given(recurrent())
def test_thousands_of_random_recurrent_networks(case):
    case.check(1e-10)


# ---- how much is asked


TIMES = 200


@pytest.fixture
def asked(monkeypatch):
    """The rows and steps of each stretch that a layer runs over."""
    torch.manual_seed(0)
    found, step = [], rules_recurrent._stepped

    def spied(func, x, *rest):
        found.append(x.shape[:2])
        return step(func, x, *rest)

    monkeypatch.setattr(rules_recurrent, "_stepped", spied)
    return found


def steps_of(layer, start, asked, rows=5, width=8, turned=False):
    """The outputs by what has changed beside the dense ones, and row-steps asked for beside the tape."""
    x, new = torch.randn(2, TIMES, 3).double(), torch.randn(rows, width, 3).double()
    tape, sample = Tape(x), np.arange(rows) % 2
    whole = x[sample].clone()
    for r in range(rows):
        whole[r, start[r] : start[r] + width] = new[r]

    def run(x):
        return layer(x.transpose(0, 1))[0].transpose(0, 1) if turned else layer(x)[0]

    with torch.no_grad():
        for _ in range(2):
            del asked[:]
            tape.rewind()
            y = run(Delta(Rows(tape, sample, x.device), tape.x, (1,), (np.array(start),), new=new))
        torch.testing.assert_close(y.whole(), run(whole), rtol=1e-12, atol=1e-12)
    return y, sum(r * n for r, n in asked)


def forgetful(**settings):
    """A layer that halves what it remembers."""
    layer = nn.RNN(3, 3, batch_first=True, **settings).double()
    for name, w in layer.named_parameters():
        w.data.copy_(torch.eye(3) / 2 if name.startswith("weight") else torch.zeros(3))
    return layer


def test_it_ends_where_the_state_is_the_intact_one_again(asked):
    y, steps = steps_of(forgetful(), [40] * 5, asked)
    assert steps <= 5 * (8 + 64)  # to the last place are 52 steps
    assert y.box[0] < 80
    back, steps = steps_of(forgetful(bidirectional=True), [120] * 5, asked)
    assert steps <= 2 * 5 * (8 + 64)
    assert 0 < back.start[0].max() < 100


def test_what_is_never_forgotten_goes_to_the_end(asked):
    layer = nn.RNN(3, 3, batch_first=True, nonlinearity="relu").double()
    for name, w in layer.named_parameters():
        w.data.copy_(torch.eye(3) if name.startswith("weight") else torch.full((3,), 5.0))  # ReLU at 0 would forget
    y, steps = steps_of(layer, [100, 102, 108, 104, 100], asked)
    assert steps == 3 * 100 + 92 + 96  # each from its own block on
    assert y.box == [100]


def test_a_state_that_grows_hides_no_difference(asked):
    layer = nn.RNN(3, 3, batch_first=True, nonlinearity="relu").double()
    for name, w in layer.named_parameters():
        w.data.copy_(1.3 * torch.eye(3) if name.startswith("weight") else torch.ones(3))
    y, _ = steps_of(layer, [8, 8, 12, 9, 10], asked)
    assert y.box[0] == TIMES - 8


def test_rows_that_are_themselves_again_leave(asked):
    layer = forgetful()
    x = torch.zeros(1, TIMES, 3).double()
    new = torch.zeros(2, 4, 3).double()
    new[1] = 1
    tape = Tape(x)
    with torch.no_grad():
        layer(Delta(Rows(tape, np.zeros(2, int), x.device), tape.x, (1,), (np.array([8, 8]),), new=new))
    assert (2, 4) in asked  # the box
    assert asked[-1] == (1, 4)


def test_time_first_and_the_second_half(asked):
    layer = nn.GRU(3, 4, 2).double()
    _, steps = steps_of(layer, [150] * 5, asked, turned=True)
    assert steps <= 2 * 5 * (50 + 4)


# ---- calls


@pytest.fixture
def eager(monkeypatch):
    """Whatever it costs, as small networks do not pay."""
    monkeypatch.setattr(evaluation.Incremental, "_share", lambda *_: 0.5)
    monkeypatch.setattr(evaluation, "_TIMES", 0)
    monkeypatch.setattr(evaluation, "_WORTH", 0)


class Series(nn.Module):
    def __init__(self, read="last", first=True, **settings):
        super().__init__()
        self.read, self.first = read, first
        self.layer = nn.GRU(4, 6, batch_first=first, **settings)
        self.head = nn.Linear(6 * (1 + self.layer.bidirectional), 3)

    def forward(self, x):
        y = self.layer(x if self.first else x.transpose(0, 1))[0]
        y = y if self.first else y.transpose(0, 1)
        return self.head(y[:, -1] if self.read == "last" else y.mean(1) if self.read == "mean" else y)


def network(**settings):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Series(**settings).double().eval()


def series(samples=3):
    x = np.random.default_rng(1).normal(size=(samples, TIMES, 4))
    return xr.DataArray(x, dims=("sample", "time", "lead"))


METHODS = {
    "leads apart": ta.Occlusion(ta.groups.Windows(time=5, lead=1)),
    "overlapping": ta.Occlusion(ta.groups.Windows(time=9, step=4), ta.baselines.Bridge()),
    "drawn": ta.Occlusion(ta.groups.Windows(time=12), ta.baselines.Gaussian(1.0), draws=4),
}


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("settings", [{}, {"read": "each"}, {"bidirectional": True, "read": "mean"}, {"first": False}])
def test_a_call_gives_what_it_gives_densely_in_order(monkeypatch, name, settings):
    monkeypatch.setattr(evaluation, "_STRETCH", 50)
    target = 1 if settings.get("read") != "each" else lambda y: y[:, 150, 1]
    for batch in ("auto", 7):
        found = ta.explain(network(**settings), series(), METHODS[name], target=target, batch_size=batch)
        with monkeypatch.context() as patch:
            patch.setattr(removals, "EVALUATIONS", ())
            dense = ta.explain(network(**settings), series(), METHODS[name], target=target, batch_size=batch)
        assert found.attrs["evaluation"] == "incremental"
        xr.testing.assert_allclose(found, dense, rtol=1e-10, atol=1e-12)


@pytest.mark.usefixtures("eager")
def test_where_exactness_is_asked_a_layer_goes_on_to_the_end(asked):
    method, steps = ta.Occlusion(ta.groups.Windows(time=5)), []
    for evaluation_ in (None, "exact", "dense"):
        del asked[:]
        found = ta.explain(network(), series(), method, target=1, evaluation=evaluation_)
        steps.append(sum(rows * times for rows, times in asked))
        assert found.attrs.get("evaluation") == (None if evaluation_ == "dense" else "incremental")
        assert found.attrs.get("state_tolerance") == (None if evaluation_ else 16 * np.finfo("float64").eps)
    assert 0 == steps[2] < steps[0] < steps[1]


def test_attention_of_all_to_all_says_that_nothing_is_cheaper():
    layer = nn.TransformerEncoderLayer(4, 2, 8, batch_first=True).double().eval()
    found = ta.explain(layer, series(), METHODS["leads apart"], target=lambda y: y[:, -1, 0])
    assert found.attrs["evaluation"].startswith("not incremental: every time attends to every other")
