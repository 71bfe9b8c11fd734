import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.covariance import LedoitWolf

import tsattr as ta
from tsattr.core import baselines as b
from tsattr.core.axes import Axes
from tsattr.core.baselines.fills import bind
from tsattr.core.keys import Key

from ... import reference
from .inputs import LEADS, TIME, array, fill

RNG = np.random.default_rng(0)

AXES = Axes(("lead", "time"), (3, 8), {"lead": LEADS, "time": TIME[:8]}, samples=5)
MIX = RNG.normal(size=(24, 24))
ROWS = 1.0 + RNG.normal(size=(200, 24)) @ MIX
TRAIN = array(ROWS.reshape(200, 3, 8), sample=None, lead=LEADS, time=TIME[:8])
X = (1.0 + RNG.normal(size=(5, 24)) @ MIX).reshape(5, 3, 8)
ABSENT = RNG.random(X.shape) < 0.4
# Of equal units in every lead, so that the lead's scale is one number.
SCALE = np.repeat((ROWS - ROWS.mean(0)).reshape(200, 3, 8).std((0, 2)), 8)


def shrunk(share=None):
    away = (ROWS - ROWS.mean(0)) / SCALE
    if share is None:
        found = LedoitWolf(assume_centered=True).fit(away).covariance_
    else:
        sample = away.T @ away / len(away)
        found = (1 - share) * sample + share * np.trace(sample) / 24 * np.eye(24)
    return found * np.outer(SCALE, SCALE)


@pytest.mark.parametrize("share", [None, 0.0, 0.3])
def test_the_mean_is_that_of_the_textbook(share):
    fitted = b.ConditionalGaussian.fit(TRAIN, shrinkage="ledoit-wolf" if share is None else share)
    filled = fill(fitted, X, AXES, ABSENT)
    for x, absent, found in zip(X, ABSENT, filled):
        expected, _ = reference.conditional(x, absent, ROWS.mean(0).reshape(3, 8), shrunk(share))
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-9)
    np.testing.assert_allclose(fill(fitted, X, AXES), np.broadcast_to(ROWS.mean(0).reshape(3, 8), X.shape), atol=1e-12)


def test_a_full_rank_is_the_full_covariance_and_the_smallest_keeps_every_variance():
    full = fill(b.ConditionalGaussian.fit(TRAIN), X, AXES, ABSENT)
    np.testing.assert_allclose(fill(b.ConditionalGaussian.fit(TRAIN, rank=24), X, AXES, ABSENT), full, atol=1e-10)
    one = b.ConditionalGaussian.fit(TRAIN, rank=1)
    variance = (one.fitted["factor"] ** 2).sum(2) + one.fitted["noise"]
    np.testing.assert_allclose(variance[0], np.diag(shrunk()), rtol=1e-12)


def test_low_rank_is_the_textbook_with_factors_and_noise():
    low = b.ConditionalGaussian.fit(TRAIN, rank=3)
    factor, noise = low.fitted["factor"][0], low.fitted["noise"][0]
    for x, absent, found in zip(X, ABSENT, fill(low, X, AXES, ABSENT)):
        expected, _ = reference.conditional(x, absent, ROWS.mean(0).reshape(3, 8), factor @ factor.T + np.diag(noise))
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-10)


def test_dims_that_are_not_named_are_independent_and_have_a_normal_each():
    by_lead = b.ConditionalGaussian.fit(TRAIN, dims="time", shrinkage=0.2)
    for lead in range(3):
        part = b.ConditionalGaussian.fit(TRAIN.isel(lead=[lead]), shrinkage=0.2)
        axes = Axes(("lead", "time"), (1, 8), {"lead": LEADS[[lead]], "time": TIME[:8]}, samples=5)
        alone = fill(part, X[:, [lead]], axes, ABSENT[:, [lead]])
        np.testing.assert_allclose(fill(by_lead, X, AXES, ABSENT)[:, [lead]], alone, atol=1e-11)


def test_missing_cells_are_absent_for_the_conditioning():
    holes, hidden = np.where(ABSENT, np.nan, X), ABSENT.copy()
    wanted = np.zeros(X.shape, bool)
    wanted[:, 1] = True
    found = fill(b.ConditionalGaussian.fit(TRAIN), holes, AXES, wanted)
    expected = fill(b.ConditionalGaussian.fit(TRAIN), X, AXES, wanted | hidden)
    np.testing.assert_allclose(found[wanted], expected[wanted], atol=1e-12)


def test_draws_have_the_conditional_mean_and_covariance():
    n = 20000
    baseline = b.ConditionalGaussian.fit(TRAIN, draw=True)
    key = Key(0, np.zeros(n, np.uint64), torch.zeros(n, dtype=torch.int64), np.arange(n))
    rows = torch.as_tensor(X[:1]).expand(n, 3, 8)
    drawn = bind(baseline, AXES).fill(rows, torch.as_tensor(ABSENT[:1]).expand(n, 3, 8), key).numpy()
    mean, covariance = reference.conditional(X[0], ABSENT[0], ROWS.mean(0).reshape(3, 8), shrunk())
    values = drawn[:, ABSENT[0]]
    deviation = np.sqrt(np.diag(covariance))
    assert np.abs((values.mean(0) - mean[ABSENT[0]]) / deviation).max() < 5 / np.sqrt(n)
    np.testing.assert_allclose(np.cov(values.T) / np.outer(deviation, deviation),
                               covariance / np.outer(deviation, deviation), atol=6 / np.sqrt(n))  # fmt: skip


def test_units_of_a_channel_change_nothing():
    other = TRAIN * array([1.0, 1e3, 1e-3], lead=LEADS)
    factor = np.array([1.0, 1e3, 1e-3])[:, None]
    found = fill(b.ConditionalGaussian.fit(other), X * factor, AXES, ABSENT)
    np.testing.assert_allclose(found / factor, fill(b.ConditionalGaussian.fit(TRAIN), X, AXES, ABSENT), rtol=1e-9)


def test_an_input_may_have_another_order_and_fewer_labels():
    baseline = b.ConditionalGaussian.fit(TRAIN)
    some = Axes(("time", "lead"), (8, 2), {"lead": LEADS[[2, 0]], "time": TIME[:8]}, samples=5)
    x, absent = (v[:, [2, 0]].transpose(0, 2, 1).copy() for v in (X, ABSENT))
    lost = X.copy()
    lost[:, 1] = np.nan
    expected = fill(baseline, lost, AXES, ABSENT)[:, [2, 0]].transpose(0, 2, 1)
    np.testing.assert_allclose(fill(baseline, x, some, absent), expected, atol=1e-12)


def test_what_is_never_known_in_the_reference_informs_nothing_and_has_no_value():
    sea = TRAIN.where(TRAIN.lead != "II")
    baseline = b.ConditionalGaussian.fit(sea)
    other = X.copy()
    other[:, 1] += 5.0
    absent = ABSENT.copy()
    absent[:, 1] = False
    np.testing.assert_array_equal(fill(baseline, other, AXES, absent)[absent], fill(baseline, X, AXES, absent)[absent])
    absent[:, 1] = True
    assert np.isnan(fill(baseline, X, AXES, absent)[:, 1]).all()


def test_twelve_leads_by_a_thousand_times_are_within_reach():
    leads = [f"L{i}" for i in range(12)]
    wave = RNG.normal(size=(40, 4)) @ RNG.normal(size=(4, 12000))
    train = array(wave.reshape(40, 12, 1000), sample=None, lead=leads, time=None)
    baseline = b.ConditionalGaussian.fit(train, rank=8, shrinkage=1e-6)
    axes = Axes(("lead", "time"), (12, 1000), {"lead": np.array(leads)}, samples=4)
    x = (RNG.normal(size=(4, 4)) @ np.linalg.svd(wave, full_matrices=False)[2][:4] * 50).reshape(4, 12, 1000)
    absent = np.zeros(x.shape, bool)
    absent[:, :, 300:700] = True
    assert np.abs(fill(baseline, x, axes, absent) - x).max() < 0.05 * x.std()  # four factors are told by what is left


def test_a_table_and_a_bare_array():
    frame = pd.DataFrame({"age": [30.0, 50.0, 70.0, 40.0], "bp": [110.0, 130.0, 155.0, 119.0]})
    baseline = b.ConditionalGaussian.fit(frame)
    ds = ta.explain(lambda x: x.sum(1), frame, ta.IntegratedGradients(baseline))
    np.testing.assert_allclose(ds.attribution, frame - frame.mean(), atol=1e-9)
    bare = b.ConditionalGaussian.fit(frame.to_numpy())
    ds = ta.explain(lambda x: x.sum(1), frame.to_numpy(), ta.IntegratedGradients(bare))
    np.testing.assert_allclose(ds.attribution, frame - frame.mean(), atol=1e-9)


@pytest.mark.parametrize(
    ("settings", "kind", "message"),
    [
        ({"reference": TRAIN[:1]}, ValueError, "at least two samples, the reference has 1"),
        ({"shrinkage": 1.5}, ValueError, "a number from 0 to 1 or 'ledoit-wolf', got 1.5"),
        ({"shrinkage": "oas"}, ValueError, "got 'oas'"),
        ({"rank": 25}, ValueError, "rank=25 of 200 samples of 24 cells: a rank of at most 24"),
        ({"rank": 0}, ValueError, "rank is a whole number of at least 1"),
        ({"reference": TRAIN[:10], "shrinkage": 0.0}, ValueError, "singular with shrinkage=0 .*give shrinkage > 0"),
        ({"reference": 0 * TRAIN}, ValueError, r"singular .*\(24 cells never vary\)"),
        ({"dims": "lat"}, KeyError, "no dim 'lat'"),
        ({"reference": pd.DataFrame({"sex": ["F", "M"]})}, TypeError, "holds categories or dates"),
        ({"reference": TRAIN + np.inf}, ValueError, "infinite values"),
    ],
)
def test_what_is_refused(settings, kind, message):
    with pytest.raises(kind, match=message):
        b.ConditionalGaussian.fit(**{"reference": TRAIN, **settings})


def test_an_input_that_does_not_fit():
    with pytest.raises(ValueError, match="lacks 1 of the input's labels along dim 'lead'"):
        bind(b.ConditionalGaussian.fit(TRAIN.isel(lead=[0, 1])), AXES)


def test_provenance_says_what_was_fitted_on_what():
    one, other = (b.ConditionalGaussian.fit(t, "time", rank=2) for t in (TRAIN, TRAIN[:199]))
    assert one != other
    assert one == b.ConditionalGaussian.fit(TRAIN.copy(), "time", rank=2)
    assert "mean, factor, noise of 200 samples (lead 3, time 8); dims=('time',); rank=2;" in repr(one)
    ds = ta.explain(lambda x: x.sum((1, 2)), TRAIN[:2], ta.IntegratedGradients(one))
    assert one.fitted.digest in ds.attrs["baseline"]
