"""Rows that repeat within a batch are asked of a model once, and nothing else changes."""

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

import tsattr as ta
from tsattr.models.repeats import Distinct, repeats

CELLS = ta.groups.Cells()
VALUES = st.sampled_from([0.0, -0.0, 1.0, -1.0, 2.0, 0.5, 1e300, float("nan")])


class Spy:
    """A model on arrays that remembers what it was asked."""

    def __init__(self):
        self.asked = []

    @property
    def rows(self):
        return sum(map(len, self.asked))

    def __call__(self, rows, **context):
        self.asked.append(np.asarray(rows))
        return self.answer(np.asarray(rows), **context)

    @staticmethod
    def answer(rows, **context):
        return (rows * np.arange(1, rows.shape[1] + 1)).prod(1) + rows.sum(1)


@given(st.integers(1, 4).flatmap(lambda m: st.lists(st.lists(VALUES, min_size=m, max_size=m), min_size=1, max_size=20)))
def test_rows_are_told_apart_by_their_bits(values):
    rows = torch.tensor(values, dtype=torch.float64)
    position = torch.arange(len(rows)) // 7
    first, which = repeats(rows, position)
    seen = {}
    for at, (row, own) in enumerate(zip(rows.numpy(), position.tolist())):
        assert first[which[at]] == seen.setdefault((row.tobytes(), own), at)
    assert len(first) == len(seen)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
@pytest.mark.parametrize("event", [(), (3,), (2, 4)])
def test_rows_of_any_shape_and_dtype(dtype, event):
    one, other = torch.zeros(1, *event, dtype=dtype), torch.ones(1, *event, dtype=dtype)
    first, which = repeats(torch.cat([one, other, one, other, one]), torch.zeros(5, dtype=torch.int64))
    assert first.tolist() == [0, 1]
    assert which.tolist() == [0, 1, 0, 1, 0]


def table(levels, rows=40):
    return np.random.default_rng(0).integers(0, levels, (rows, 6)).astype(float)


METHODS = [
    ta.KernelShap(CELLS, ta.baselines.Samples.fit(table(2)[:5])),
    ta.ShapleySampling(CELLS, ta.baselines.Samples.fit(table(2)[:5]), draws=40),
    ta.ShapleyInteractions(CELLS, ta.baselines.Samples.fit(table(2)[:5])),
    ta.Occlusion(CELLS, ta.baselines.Samples.fit(table(2)[:5]), draws=40),
]


@pytest.mark.parametrize("method", METHODS, ids=lambda m: type(m).__name__)
@pytest.mark.parametrize("batch", [300, "auto"])
def test_the_same_answer_for_fewer_rows(method, batch, monkeypatch):
    x, spy = table(2), Spy()
    found = ta.explain(ta.models.on_arrays(spy), x, method, batch_size=batch)
    repeated = found.attrs["repeated_rows"]
    assert repeated > 0.4 * int(found.model_evaluations.sum())
    assert spy.rows == int(found.model_evaluations.sum()) + found.attrs["trial_rows"] - repeated
    monkeypatch.setattr("tsattr.models.repeats._FEWEST", 10**9)
    spy = Spy()
    plain = ta.explain(ta.models.on_arrays(spy), x, method, batch_size=batch)
    assert "repeated_rows" not in plain.attrs
    assert spy.rows == int(plain.model_evaluations.sum()) + plain.attrs["trial_rows"]
    xr.testing.assert_allclose(found, plain, rtol=1e-12, atol=1e-12)


def test_equal_rows_of_samples_with_other_context_are_asked_apart():
    class Scaled(Spy):
        @staticmethod
        def answer(rows, scale):
            return rows.prod(1) * scale

    x, scale = np.ones((30, 5)), np.arange(0.0, 30)
    x[0] = 0.0
    method = ta.ShapleySampling(CELLS, draws=20)
    found = ta.explain(ta.models.on_arrays(Scaled()), x, method, context={"scale": scale})
    assert found.attrs["repeated_rows"] > 0
    np.testing.assert_allclose(found.attribution.sum("dim_1"), scale)
    for at in (0, 7, 29):
        one = ta.explain(ta.models.on_arrays(Scaled()), x[[at]], method, context={"scale": scale[[at]]}, check=False)
        assert one.prediction.item() == scale[at]


def test_a_frames_index_is_that_of_its_sample():
    frame = pd.DataFrame(table(2, 30), index=[f"p{i}" for i in range(30)]).rename(columns=str)
    number = lambda f: f.index.str[1:].astype(int).to_numpy()  # noqa: E731
    model = ta.models.on_frames(lambda f: f.sum(axis=1).to_numpy() * number(f))
    found = ta.explain(model, frame, ta.ShapleySampling(CELLS, ta.baselines.Typical.fit(frame), draws=30))
    assert found.attrs["repeated_rows"] > 0
    typical = ta.explain(model, frame, ta.Occlusion(CELLS, ta.baselines.Typical.fit(frame)))
    np.testing.assert_allclose(found.attribution, typical.attribution, atol=1e-9)  # additive for each sample


def test_tables_without_repeats_are_looked_at_twice_and_no_more(monkeypatch):
    looked, own = [], repeats

    def spied(rows, position):
        looked.append(len(rows))
        return own(rows, position)

    monkeypatch.setattr("tsattr.models.repeats.repeats", spied)
    x = np.random.default_rng(0).normal(size=(20, 6))
    method = ta.ShapleySampling(CELLS, ta.baselines.Samples.fit(x[:10]), draws=20)
    found = ta.explain(ta.models.on_arrays(Spy()), x[10:], method, batch_size=300)
    assert len(looked) == 2
    assert "repeated_rows" not in found.attrs


def test_outputs_without_the_axis_of_the_rows_are_left_to_the_engine():
    calls = []

    def call(rows, context, position):
        calls.append(len(rows))
        return torch.tensor(0.0) if len(rows) < 300 else rows.sum(1)

    rows = torch.zeros(300, 2)
    found = Distinct(call)(rows, {}, torch.zeros(300, dtype=torch.int64))
    assert calls == [1, 300]
    assert found.shape == (300,)


def test_runs_of_several_seeds_add_up_what_they_spared():
    one = [ta.explain(ta.models.on_arrays(Spy()), table(2), METHODS[1], seed=s).attrs["repeated_rows"] for s in (0, 1)]
    both = ta.explain(ta.models.on_arrays(Spy()), table(2), METHODS[1], seed=[0, 1])
    assert both.attrs["repeated_rows"] == sum(one)
