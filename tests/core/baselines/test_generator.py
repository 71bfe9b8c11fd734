"""The forecaster against slow loops over its own forecasts: calibration, gaps longer than its horizon, what training keeps."""

import numpy as np
import pytest
import torch
import xarray as xr

from tsattr.core import baselines as b
from tsattr.core.axes import Axes
from tsattr.core.baselines.fills import bind
from tsattr.core.baselines.generator import Forecaster, next_steps
from tsattr.core.baselines.training import Recipe, Series, split
from tsattr.core.keys import Key

from ... import reference

TIMES, H = 9, 3
RNG = np.random.default_rng(0)
X = xr.DataArray(
    RNG.normal(size=(14, 2, TIMES)).cumsum(2) * [[[1.0], [50.0]]],
    {"feature": ["a", "b"]},
    ("sample", "feature", "time"),
)
HOLES = X.where(RNG.random(X.shape) > 0.15)
AXES = Axes(("feature", "time"), (2, TIMES), {"feature": np.array(["a", "b"])}, samples=14)
KEY = Key(0, np.arange(14, dtype=np.uint64), torch.arange(14), np.zeros(14, int))


@pytest.fixture(scope="module")
def law():
    return b.Generator.fit(HOLES, horizon=H, epochs=30, hidden=5, batch=4, patience=4, learning_rate=0.005)


def forecast(law):
    return b.Generator(law.fitted, law.horizon, law.hidden, draw=False)


def test_the_calibration_is_the_error_of_what_is_filled(law):
    """From the second time on, each start, channel and horizon by itself."""
    rows = torch.as_tensor(HOLES.values)
    bound = bind(forecast(law), AXES)
    width = law.fitted["width"]
    square = [[] for _ in range(H)]
    for start in range(1, TIMES):
        absent = torch.zeros(rows.shape, dtype=torch.bool)
        absent[..., start : start + H] = True
        away = (bound.fill(rows, absent, KEY) - rows).numpy() / width[:, None]
        for h in range(min(H, TIMES - start)):
            square[h].extend(away[..., start + h][~np.isnan(away[..., start + h])] ** 2)
    found = law.calibration(HOLES)
    np.testing.assert_allclose(found.error, [np.sqrt(np.mean(s)) for s in square], rtol=1e-10)


@pytest.mark.parametrize("dims", [("time", "sample", "feature"), ("feature", "time", "sample")])
def test_a_calibration_knows_its_channels_in_any_order(law, dims):
    want = law.calibration(HOLES)
    found = law.calibration(HOLES.transpose(*dims).isel(feature=[1, 0]))
    np.testing.assert_allclose(found.table, want.table, rtol=1e-10)


def test_what_is_kept_is_the_epoch_with_the_least_validation_loss(law):
    losses = law.fitted["losses"]
    best = losses[:, 1].argmin()
    assert len(losses) in (30, best + 1 + 4)
    assert losses[best, 0] < losses[0, 0]
    data = Series.of(HOLES, "time", "sample")
    held = data.tensor[torch.as_tensor(split(14, Recipe())[1])]
    net: Forecaster = law.trained
    mean, log_sd = net.law(net(held)[:, :-1])
    came, known = next_steps(held, H)
    found = (log_sd + (came - mean) ** 2 / (2 * (2 * log_sd).exp()))[known].mean()
    assert found.item() == pytest.approx(losses[best, 1], rel=1e-10)
    rows = HOLES.isel(sample=split(14, Recipe())[1])
    np.testing.assert_allclose(law.validation.table, law.calibration(rows).table, rtol=1e-10)


def test_what_came_is_each_next_value():
    rows = Series.of(HOLES, "time", "sample").tensor
    came, known = next_steps(rows, H)
    for a in range(TIMES):
        for h in range(H):
            inside = a + h < TIMES
            assert torch.equal(known[:, a, h], rows[:, a + h, :, 1] > 0 if inside else torch.zeros(14, 2, dtype=bool))
            if inside:
                assert torch.equal(came[:, a, h], rows[:, a + h, :, 0])


def test_a_longer_gap_goes_on_from_what_was_filled(law):
    for each in (law, forecast(law)):
        bound, rows = bind(each, AXES), torch.as_tensor(X.values)
        at_once, first, second, third = (torch.zeros(rows.shape, dtype=torch.bool) for _ in range(4))
        at_once[:, 1, 1:8], first[:, 1, 1:4], second[:, 1, 4:7], third[:, 1, 7:8] = True, True, True, True
        by_turns = rows
        for absent in (first, second, third):
            by_turns = bound.fill(by_turns, absent, KEY)
        np.testing.assert_allclose(bound.fill(rows, at_once, KEY), by_turns, rtol=1e-10)


def test_from_nothing_it_is_the_law_of_the_first_times():
    """x_0 ~ N(3, 4), and steps of 0.5 from there."""
    steps = np.concatenate([3 + 2 * RNG.normal(size=(300, 1)), 0.5 * RNG.normal(size=(300, 4))], 1).cumsum(1)
    x = xr.DataArray(steps, dims=("sample", "time"))
    law = b.Generator.fit(x, horizon=4, hidden=5, epochs=40, learning_rate=0.02)
    key = Key(0, np.arange(300, dtype=np.uint64), torch.arange(300), np.zeros(300, int))
    rows = torch.as_tensor(steps)
    drawn = bind(law, Axes(("time",), (5,), samples=300)).fill(rows, torch.ones_like(rows, dtype=torch.bool), key)
    np.testing.assert_allclose(drawn[:, :4].mean(0), 3, atol=0.5)
    np.testing.assert_allclose(drawn[:, :4].std(0), np.sqrt(4 + 0.25 * np.arange(4)), rtol=0.2)


def test_two_times_are_enough():
    x = xr.DataArray(RNG.normal(size=(6, 2)), dims=("sample", "time"))
    law = b.Generator.fit(x, epochs=1, hidden=2)
    assert law.horizon == 1  # all that can be learnt
    ahead = bind(law, Axes(("time",), (2,), samples=6)).ahead(torch.as_tensor(x.values))
    key = Key(0, np.arange(6, dtype=np.uint64), torch.arange(6), np.zeros(6, int))
    found = ahead(torch.arange(6), torch.ones(6, dtype=torch.int64), 1, torch.ones(6, dtype=torch.bool), key)
    assert found.shape == (6, 1)
    assert torch.isfinite(found).all()


def test_precision_and_units_of_the_input(law):
    """float32 rows are continued as float64 ones are, to its precision; the law in other units is the law times them."""
    rows = torch.as_tensor(X.values)
    absent = torch.zeros(rows.shape, dtype=torch.bool)
    absent[:, 0, 4:6] = True
    wide = bind(law, AXES).fill(rows, absent, KEY)
    narrow = bind(law, AXES).fill(rows.float(), absent, KEY)
    assert narrow.dtype == torch.float32
    np.testing.assert_allclose(narrow, wide, rtol=1e-4, atol=1e-4)
    settings = {"horizon": H, "epochs": 3, "hidden": 4}
    one, other = (b.Generator.fit(scale * X, **settings) for scale in (1.0, 1000.0))
    found = [bind(g, AXES).fill(s * rows, absent, KEY) / s for g, s in ((one, 1.0), (other, 1000.0))]
    np.testing.assert_allclose(found[0], found[1], rtol=1e-6, atol=1e-6)


def test_a_series_that_is_never_known_is_refused():
    with pytest.raises(ValueError, match="1 series of the reference have no value at all"):
        b.Generator.fit(X.where(X.feature == "a"), epochs=1)


def test_training_that_diverges_says_so():
    with pytest.raises(ValueError, match="learning_rate is greater than 0"):
        b.Generator.fit(X, learning_rate=0.0)
    with pytest.raises(ValueError, match=r"validation loss is (nan|inf).*lower learning_rate"):
        b.Generator.fit(X, epochs=3, learning_rate=1e300)


@pytest.mark.parametrize("dims", [("feature", "time"), ("time", "feature")])
def test_hold_goes_on_as_it_fills(dims):
    x = HOLES.transpose("sample", *dims)
    x[0, :] = np.nan
    rows = torch.as_tensor(x.values)
    bound = bind(b.Hold(otherwise=-7.0), Axes(dims, rows.shape[1:], samples=14))
    ahead = bound.ahead(rows)
    for start in (1, 4, TIMES - 1):
        gone = torch.tensor([False, True]).expand(14, 2)
        found = ahead(torch.arange(14), torch.full((14,), start), 2, gone, KEY)
        for row, values in zip(x.transpose("sample", "feature", "time").values, found):
            absent = np.zeros(row.shape, bool)
            absent[1, start : start + 2] = True
            want = reference.hold(row, absent, -7.0)[1, start : start + 2]
            np.testing.assert_array_equal(values[: len(want), 1], want)
