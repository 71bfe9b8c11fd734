"""A normal that conditions on the past of each gap alone, against closed forms and the textbook, cell by cell."""

import numpy as np
import pytest
import torch
import xarray as xr

import tsattr as ta
from tsattr.core import baselines as b
from tsattr.core.arrays import Array
from tsattr.core.axes import Axes
from tsattr.core.baselines.fills import bind
from tsattr.core.baselines.fitted import Fitted
from tsattr.core.keys import Key

from ... import reference

LEADS, TIMES = ["I", "II", "V1"], 8
RNG = np.random.default_rng(0)
MIX = RNG.normal(size=(TIMES * 3, TIMES * 3))
COVARIANCE = MIX @ MIX.T + np.eye(TIMES * 3)
MEAN = RNG.normal(size=(3, TIMES))
X = RNG.normal(size=(5, 3, TIMES)) * 4
AXES = Axes(("lead", "time"), (3, TIMES), {"lead": np.array(LEADS)}, samples=5)


def normal(covariance, mean, draw=False, dims=("lead", "time"), coords=None):
    """A law with a known covariance, as factors and noise."""
    noise = np.full(len(covariance), np.linalg.eigvalsh(covariance)[0] / 2)
    sizes, directions = np.linalg.eigh(covariance - np.diag(noise))
    coords = {"lead": np.array(LEADS)} if coords is None else coords
    arrays = {
        "mean": Array(mean, dims, coords),
        "factor": Array((directions * np.sqrt(sizes))[None]),
        "noise": Array(noise[None]),
    }
    return b.ConditionalGaussian(Fitted(arrays, "a covariance"), draw, causal=True)


LAW, DRAWN = (normal(COVARIANCE, MEAN, draw) for draw in (False, True))


def key(n, draw=0):
    return Key(0, np.arange(n, dtype=np.uint64), torch.arange(n), np.full(n, draw))


def by_cell(x, absent):
    """Each absent cell from the present ones before the start of its own gap; mean and variance."""
    mean, variance = x.copy(), np.zeros(x.shape)
    for lead, t in zip(*np.nonzero(absent)):
        start = t
        while start and absent[lead, start - 1]:
            start -= 1
        unknown = absent | np.isnan(x) | (np.arange(TIMES) >= start)
        where = np.flatnonzero(np.flatnonzero(unknown) == lead * TIMES + t)[0]
        found, covariance = reference.conditional(np.where(unknown, 0, x), unknown, MEAN, COVARIANCE)
        mean[lead, t], variance[lead, t] = found[lead, t], covariance[where, where]
    return mean, variance


PATTERNS = RNG.random(X.shape) < 0.4
HOLES = np.where(RNG.random(X.shape) < 0.2, np.nan, X)


@pytest.mark.parametrize("x", [X, HOLES])
def test_each_gap_is_the_textbook_given_its_past(x):
    bound = bind(LAW, AXES)
    assert bound.causal
    found = bound.fill(torch.as_tensor(x), torch.as_tensor(PATTERNS), key(5)).numpy()
    for row, absent, filled in zip(x, PATTERNS, found):
        np.testing.assert_allclose(filled, by_cell(row, absent)[0], rtol=0, atol=1e-9)


def test_draws_of_every_gap_have_the_law_given_its_past():
    n = 5000
    rows, absent = (torch.as_tensor(v[:1]).expand(n, 3, TIMES) for v in (X, PATTERNS))
    drawing = Key(0, np.zeros(n, np.uint64), torch.zeros(n, dtype=torch.int64), np.arange(n))
    drawn = bind(DRAWN, AXES).fill(rows, absent, drawing).numpy()[:, PATTERNS[0]]
    mean, variance = (v[PATTERNS[0]] for v in by_cell(X[0], PATTERNS[0]))
    assert np.abs((drawn.mean(0) - mean) / np.sqrt(variance)).max() < 5 / np.sqrt(n)
    np.testing.assert_allclose(drawn.var(0), variance, rtol=5 * np.sqrt(2 / n))


@pytest.mark.parametrize("draw", [False, True])
def test_a_first_order_process_is_forecast_exactly(draw):
    """E x_a+h = phi^(h+1) x_a-1, variance s^2 (1 - phi^2(h+1)) / (1 - phi^2), covariance phi^|h-g| times the earlier one."""
    phi, s2, times, start = 0.8, 0.36, 12, 5
    lag = np.abs(np.subtract.outer(np.arange(times), np.arange(times)))
    law = normal(s2 / (1 - phi**2) * phi**lag, np.zeros(times), draw, ("time",), {})
    n = 20000 if draw else 1
    x = torch.as_tensor(RNG.normal(size=(1, times)))
    drawing = Key(0, np.zeros(n, np.uint64), torch.zeros(n, dtype=torch.int64), np.arange(n))
    ahead = bind(law, Axes(("time",), (times,))).ahead(x)
    gone = torch.ones(n, dtype=torch.bool)
    found = ahead(torch.zeros(n, dtype=torch.int64), torch.full((n,), start), 4, gone, drawing).numpy()
    power = np.arange(1, 5)
    want = phi**power * x[0, start - 1].item()
    if not draw:
        np.testing.assert_allclose(found[0], want, rtol=0, atol=1e-8)
        return
    variance = s2 * (1 - phi ** (2 * power)) / (1 - phi**2)
    covariance = phi ** np.abs(np.subtract.outer(power, power)) * np.minimum.outer(variance, variance)
    scale = np.sqrt(np.outer(variance, variance))
    np.testing.assert_allclose(found.mean(0), want, atol=5 * np.sqrt(variance.max() / n))
    np.testing.assert_allclose(np.cov(found.T) / scale, covariance / scale, atol=6 / np.sqrt(n))


@pytest.mark.parametrize("law", [LAW, DRAWN])
@pytest.mark.parametrize("x", [X, HOLES])
@pytest.mark.parametrize("gone", [[1], [0, 2], [0, 1, 2]])
def test_a_window_is_filled_as_a_row_is(law, x, gone):
    bound, rows = bind(law, AXES), torch.as_tensor(x)
    ahead = bound.ahead(rows)
    which = torch.zeros(5, 3, dtype=torch.bool)
    which[:, gone] = True
    for start in range(1, TIMES):
        found = ahead(torch.arange(5), torch.full((5,), start), 3, which, key(5, 2))
        assert found.shape == (5, 3, 3)
        absent = torch.zeros(rows.shape, dtype=torch.bool)
        absent[:, gone, start : start + 3] = True
        want = bound.fill(rows, absent, key(5, 2))[:, gone, start : start + 3].transpose(1, 2)
        np.testing.assert_allclose(found[:, : want.shape[1], gone], want, rtol=0, atol=1e-9)


def test_one_factorisation_a_start_serves_all_samples(monkeypatch):
    sizes = []
    cholesky = torch.linalg.cholesky
    monkeypatch.setattr(torch.linalg, "cholesky", lambda v: sizes.append(len(v)) or cholesky(v))
    ahead = bind(LAW, AXES).ahead(torch.as_tensor(X))
    ahead(torch.arange(5), torch.full((5,), 4), 3, torch.ones(5, 3, dtype=torch.bool), key(5))
    assert sizes == [1] * TIMES
    sizes.clear()
    bind(LAW, AXES).ahead(torch.as_tensor(HOLES))
    assert sizes == [5] * TIMES  # each sample lacks cells of its own


def test_other_orders_fewer_labels_and_blocks():
    train = xr.DataArray(RNG.normal(size=(60, 24)) @ MIX, dims=("sample", "cell"))
    train = xr.DataArray(train.values.reshape(60, 3, TIMES), {"lead": LEADS}, ("sample", "lead", "time"))
    some = Axes(("time", "lead"), (TIMES, 2), {"lead": np.array(["V1", "I"])}, samples=5)
    for dims in (None, "time"):
        law = b.ConditionalGaussian.fit(train, dims, shrinkage=0.1, draw=True, causal=True)
        for draw in (False, True):
            law = b.ConditionalGaussian(law.fitted, draw, True)
            lost = X.copy()
            lost[:, 1] = np.nan
            rows, turned = torch.as_tensor(lost), torch.as_tensor(X[:, [2, 0]].transpose(0, 2, 1).copy())
            whole, part = bind(law, AXES), bind(law, some)
            absent = torch.as_tensor(PATTERNS)
            want = whole.fill(rows, absent, key(5))[:, [2, 0]].transpose(1, 2)
            found = part.fill(turned, absent[:, [2, 0]].transpose(1, 2), key(5))
            np.testing.assert_allclose(found, want, atol=1e-10)
            start, gone = torch.full((5,), 3), torch.ones(5, 3, dtype=torch.bool)
            want = whole.ahead(rows)(torch.arange(5), start, 4, gone, key(5))[:, :, [2, 0]]
            found = part.ahead(turned)(torch.arange(5), start, 4, gone[:, :2], key(5))
            np.testing.assert_allclose(found, want, atol=1e-10)


@pytest.mark.parametrize("batch_size", [1, 7])
def test_batches_change_nothing(batch_size):
    x = xr.DataArray(X, {"lead": LEADS}, ("sample", "lead", "time"))
    method = ta.WinIT(3, DRAWN, draws=3)
    found, want = (
        ta.explain(lambda x: (x.cumsum(2) ** 2).sum(1), x, method, outputs=("time",), batch_size=size).attribution
        for size in (batch_size, 64)
    )
    np.testing.assert_allclose(found, want, rtol=1e-9, atol=1e-9)


def test_two_times_of_one_series():
    covariance = np.array([[2.0, 1.0], [1.0, 3.0]])
    law = bind(normal(covariance, np.array([1.0, 2.0]), dims=("time",), coords={}), Axes(("time",), (2,)))
    x = torch.tensor([[4.0, 0.0]], dtype=torch.float64)
    gone = torch.ones(1, dtype=torch.bool)
    found = law.ahead(x)(torch.tensor([0]), torch.tensor([1]), 5, gone, key(1))
    assert found[0, 0].item() == pytest.approx(2 + 1 / 2 * 3, abs=1e-12)
    both = law.fill(x, torch.ones_like(x, dtype=torch.bool), key(1))
    np.testing.assert_allclose(both, [[1.0, 2.0]], atol=1e-12)


def test_dims_without_time_are_refused():
    train = xr.DataArray(RNG.normal(size=(9, 3, 4)), dims=("sample", "lead", "time"))
    with pytest.raises(ValueError, match=r"earlier times, and dims=\('lead',\)"):
        b.ConditionalGaussian.fit(train, "lead", causal=True)
