"""Laws that hold for every baseline, and how one is bound."""

import copy

import numpy as np
import pytest
import torch
import xarray as xr

import tsattr as ta
from tsattr.core import baselines as b
from tsattr.core.axes import Axes
from tsattr.core.baselines.fills import JoinedBaselines, bind
from tsattr.core.keys import Key

from ...conftest import coupling_net
from .inputs import LEADS, TIME, TRAIN, X, array, ecg, fill

RNG = np.random.default_rng(0)


PEAKS = array(np.broadcast_to(np.arange(60) % 20 == 5, (50, 60)), sample=None, time=TIME)
EACH = {
    "constant": lambda: b.Constant(0.5),
    "constant by label": lambda: b.Constant({"I": 1.0, "II": 2.0, "V1": 3.0}),
    "constant array": lambda: b.Constant(array([1.0, 2.0, 3.0], lead=LEADS)),
    "mean": lambda: b.Mean(),
    "mean over all": lambda: b.Mean(("lead", "time")),
    "maximum distance": lambda: b.MaximumDistance(-1.0, 2.0),
    "maximum distance fitted": lambda: b.MaximumDistance.fit(TRAIN),
    "uniform": lambda: b.Uniform(-1.0, 2.0),
    "uniform fitted": lambda: b.Uniform.fit(TRAIN),
    "gaussian": lambda: b.Gaussian(0.5),
    "gaussian truncated": lambda: b.Gaussian(0.5, -1.0, 1.0),
    "blur": lambda: b.Blur(time="20ms"),
    "samples": lambda: b.Samples.fit(TRAIN),
    "mode": lambda: b.Mode.fit(TRAIN.round(1)),
    "typical": lambda: b.Typical.fit(TRAIN),
    "typical, observed": lambda: b.Typical.fit(TRAIN, observed=True),
    "mean, fitted": lambda: b.Mean.fit(TRAIN),
    "hold": lambda: b.Hold(),
    "bridge": lambda: b.Bridge(),
    "mixture": lambda: b.Mixture(b.Mean(), b.Uniform(-1.0, 2.0)),
    "conditional gaussian": lambda: b.ConditionalGaussian.fit(TRAIN),
    "conditional gaussian drawn": lambda: b.ConditionalGaussian.fit(TRAIN, "time", rank=5, draw=True),
    "autoregressive": lambda: b.AutoRegressive.fit(TRAIN, 3),
    "autoregressive drawn": lambda: b.AutoRegressive.fit(TRAIN, 3, draw=True),
    "autoregressive causal": lambda: b.AutoRegressive.fit(TRAIN, 3, causal=True),
    "phase randomised": lambda: b.PhaseRandomised(),
    "band stop": lambda: b.BandStop(10.0, 30.0),
    "climatology": lambda: b.Climatology.fit(TRAIN, by="50ms"),
    "median beat": lambda: b.MedianBeat.fit(TRAIN, PEAKS, window=("-50ms", "60ms")).at(PEAKS[:2]),
    "boundary": lambda: b.Boundary.fit(lambda x: x.sum((1, 2)), array(X, sample=None, lead=LEADS, time=TIME), a=0),
    "projection": lambda: b.Projection.fit(coupling_net((3, 60)), array(X, sample=None, lead=LEADS, time=TIME), a=0),
    "inpaint": lambda: b.Inpaint(),
    "inpaint with noise": lambda: b.Inpaint(("lead", "time"), noise=0.1),
}
# Found from the whole of a sample when they were made, whatever is asked later.
MADE_BEFORE = (b.MedianBeat, b.Boundary, b.Projection)


@pytest.fixture(params=list(EACH))
def baseline(request):
    return EACH[request.param]()


def test_only_absent_cells_change_and_the_input_is_left_alone(baseline):
    absent = RNG.random(X.shape) < 0.3
    x = X.copy()
    filled = fill(baseline, x, ecg(), absent)
    np.testing.assert_array_equal(x, X)
    np.testing.assert_array_equal(filled[~absent], X[~absent])
    assert np.isfinite(filled).all()
    assert (filled[absent] != X[absent]).any()


def test_a_mask_may_broadcast(baseline):
    absent = np.zeros((2, 1, 60), bool)
    absent[..., 10:20] = True
    full = np.broadcast_to(absent, X.shape)
    np.testing.assert_array_equal(fill(baseline, X, ecg(), absent), fill(baseline, X, ecg(), full.copy()))


def test_rows_do_not_see_each_other(baseline):
    absent = RNG.random(X.shape) < 0.3
    together = fill(baseline, X, ecg(), absent)
    x = torch.as_tensor(X[1:])
    key = Key(0, np.array([1], np.uint64), torch.tensor([1]), torch.tensor([0]))
    alone = bind(baseline, ecg()).fill(x, torch.as_tensor(absent[1:]), key)
    np.testing.assert_allclose(together[1:], alone, rtol=0, atol=1e-12)


def test_missing_cells_inform_no_fill(baseline):
    """Another value under a NaN gives the same fill: what is missing is not known."""
    missing = np.zeros(X.shape, bool)
    missing[:, :, 15:18], missing[:, 1, 40] = True, True
    absent = np.zeros(X.shape, bool)
    absent[:, :, 18:25], absent[:, 1, 41] = True, True
    filled = fill(baseline, np.where(missing, np.nan, X), ecg(), absent)
    assert np.isfinite(filled[absent]).all()
    assert np.isnan(filled[missing]).all()


def test_float32_gives_the_same_values_in_float32(baseline):
    wide, narrow = (
        fill(baseline, X.astype(np.float32).astype(float), ecg()),
        fill(baseline, X.astype(np.float32), ecg()),
    )
    assert narrow.dtype == np.float32
    np.testing.assert_allclose(narrow, wide, rtol=1e-5, atol=1e-5)


def test_causal_means_that_the_future_changes_nothing_before_it(baseline):
    changed = X.copy()
    changed[..., 30:] += 10.0
    absent = np.zeros(X.shape, bool)
    absent[..., 20:40] = True
    before = slice(20, 31)  # what is put at 30 depends on earlier times only, so not on the value at 30 either
    same = np.array_equal(
        fill(baseline, X, ecg(), absent)[..., before], fill(baseline, changed, ecg(), absent)[..., before]
    )
    assert same == (bind(baseline, ecg()).causal or isinstance(baseline, MADE_BEFORE))


def test_random_means_that_two_draws_differ(baseline):
    absent = np.broadcast_to(np.arange(60) % 7 < 3, X.shape).copy()
    one, other = (fill(baseline, X, ecg(), absent, draw=d) for d in (0, 1))
    assert baseline.random == bool((one != other).any())
    np.testing.assert_array_equal(fill(baseline, X, ecg(), absent, draw=0), one)


@pytest.mark.parametrize("name", EACH)
def test_frozen_comparable_and_printable(name):
    one, other = EACH[name](), EACH[name]()
    assert one == other == copy.deepcopy(one)
    assert hash(one) == hash(other)
    assert repr(one) == repr(other)
    assert len(repr(one)) < 200
    field = next(iter(one.__dataclass_fields__))
    with pytest.raises(AttributeError):
        setattr(one, field, 1)


def test_no_two_of_them_are_equal():
    every = [make() for make in EACH.values()]
    assert len(set(every)) == len({repr(u) for u in every}) == len(every)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (b.Constant({"I": 1.0, "II": 2.0}), b.Constant({"II": 1.0, "I": 2.0})),
        (b.Samples.fit(TRAIN), b.Samples.fit(TRAIN.isel(lead=[1, 0, 2]).assign_coords(lead=LEADS))),
        (b.Samples.fit(TRAIN), b.Samples.fit(TRAIN.assign_coords(lead=["I", "II", "V2"]))),
        (b.Uniform.fit(TRAIN), b.Uniform.fit(TRAIN, (0, 1))),
    ],
)
def test_other_values_or_labels_are_another_baseline(one, other):
    assert one != other
    assert repr(one) != repr(other)


@pytest.mark.parametrize(
    ("thing", "message"),
    [
        (0.0, r"got 0.0; a number or an array is Constant\(...\)"),
        (b.Mean, r"an object with its settings: Mean\(...\), not the class"),
        ({"ecg": b.Mean()}, "a mapping of baselines is for an input of several variables"),
    ],
)
def test_what_is_no_baseline(thing, message):
    with pytest.raises(TypeError, match=message):
        bind(thing, ecg())


def test_anything_with_a_fill_is_a_baseline():
    class Flip:
        def fill(self, x, absent, key):
            return torch.where(absent, -x, x)

    np.testing.assert_array_equal(fill(Flip(), X, ecg()), -X)


@pytest.mark.parametrize(
    "name",
    [
        k
        for k in EACH
        if k
        not in ("constant", "constant by label", "constant array", "samples", "mode", "typical", "typical, observed")
    ],
)
def test_arithmetic_on_categories_is_refused(name):
    nominal = ecg(nominal=np.ones((3, 60), bool), coords={"lead": LEADS, "time": TIME})
    with pytest.raises(TypeError, match=r"does arithmetic, but columns .* hold categories; use Samples.fit.*Mode.fit"):
        bind(EACH[name](), nominal)


def test_joined_baselines_fill_each_its_own_view_with_its_own_draws():
    axes = Axes(("feature",), (4,))
    part = bind(b.Uniform(0.0, 1.0), axes)
    joined = JoinedBaselines(
        ((slice(0, 4), (4,), part), (slice(4, 8), (4,), part), (slice(8, 9), (), bind(b.Constant(7.0), Axes((), ()))))
    )
    x = torch.zeros(2, 9, dtype=torch.float64)
    absent = torch.ones(2, 9, dtype=torch.bool)
    absent[:, 1] = False
    out = joined.fill(
        x, absent, Key(0, np.arange(2, dtype=np.uint64), torch.arange(2), torch.zeros(2, dtype=torch.long))
    )
    assert (out[:, 1] == 0).all()
    assert (out[:, 8] == 7).all()
    assert len(torch.unique(out[:, [0, 2, 3, 4, 5, 6, 7]])) == 14
    assert joined.causal


TIMES = {"axis": {"axis": "T"}, "standard name": {"standard_name": "time", "units": "seconds since 2000-01-01"}}


@pytest.mark.parametrize("attrs", TIMES.values(), ids=TIMES)
@pytest.mark.parametrize(
    "baseline", [b.Mean(), b.Hold(), b.Bridge(), b.PhaseRandomised(), b.BandStop(low=0.1, high=0.3)], ids=repr
)
def test_time_is_known_by_its_attributes_whatever_it_is_called(baseline, attrs):
    values = np.random.default_rng(0).normal(size=(2, 3, 8))
    x = xr.DataArray(values, dims=("sample", "lead", "time"), coords={"time": np.arange(8.0)})
    other = x.rename(time="t").assign_coords(t=("t", np.arange(8.0), attrs))
    cells, half = ta.groups.Along("lead"), ta.groups.Windows(t=4)
    for named, found in ((cells, cells), (ta.groups.Windows(time=4), half)):
        right = ta.explain(lambda r: r.square().sum((1, 2)), x, ta.Occlusion(named, baseline))
        np.testing.assert_array_equal(
            ta.explain(lambda r: r.square().sum((1, 2)), other, ta.Occlusion(found, baseline)).attribution,
            right.attribution,
        )
