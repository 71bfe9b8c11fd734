from dataclasses import replace
from datetime import datetime, timedelta

import cftime
import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr
from scipy.special import log_softmax, softmax

import tsattr as ta
from tsattr.core import targets as t
from tsattr.core.axes import Axes
from tsattr.core.targets.call_targets import CallTargets
from tsattr.core.targets.outputs import outputs_axes
from tsattr.core.targets.parsing import is_many, resolve, resolve_all

CLASSES = np.array(["N", "S", "V"])
RNG = np.random.default_rng(0)
Y = RNG.normal(size=(6, 3))
Y0 = RNG.normal(size=(6, 3))
ONE = Axes(("class",), (3,), {"class": CLASSES})
TWO = Axes(("class",), (2,))
CLASSES_OF_THREE = Axes(("class",), (3,))


def value(target, y=Y, y0=Y0, axes=ONE):
    found = resolve(target).bind(axes)(torch.as_tensor(y), torch.as_tensor(y0))
    assert found.shape == (len(y),)
    return found.numpy()


# ---- one axis


@pytest.mark.parametrize("target", [2, -1, np.int64(2), "V", t.Output(2), t.Output("V"), t.Output(**{"class": "V"})])
def test_an_int_is_an_index_and_a_string_a_label(target):
    np.testing.assert_array_equal(value(target), Y[:, 2])


NUMBERS = {  # labels, what is asked for, the entry, whether it must be told
    "leads": (np.array([1, 2, 3]), 2, 1, True),
    "a numpy int": (np.array([1, 2, 3], "int32"), np.int16(2), 1, True),
    "the last lead": (np.array([1, 6, 9]), 9, 2, True),
    "label and index agree": (np.array([2, 1, 0]), 1, 1, False),
    "labels in another order": (np.array([2, 0, 1]), 0, 1, True),
    "lags": (np.array([-3, -2, -1]), -2, 1, True),
    "classes": (np.array([-1, 0, 1]), -1, 0, True),
    "as floats": (np.array([1.0, 6.0, 9.0]), 6, 1, True),
    "as text": (np.array(["1", "2", "3"]), 2, 1, True),
    "as objects": (np.array([1, 2, 3], object), 3, 2, True),
    "beyond floats": (np.array([2**60, 2**60 + 1, 2**60 + 2]), 2**60 + 1, 1, True),
    "0, 1, 2": (np.array([0, 1, 2]), 2, 2, False),
    "0, 1, 2, from the end": (np.array([0, 1, 2]), -1, 2, False),
    "no label is negative": (np.array([1, 2, 3]), -1, 2, True),
    "names": (CLASSES, 2, 2, False),
    "names, from the end": (CLASSES, -1, 2, False),
    "no labels": (None, 2, 2, False),
    "fractions": (np.array([0.0, 0.5, 1.0]), 1, 1, True),
    "fractions, no such label": (np.array([0.1, 0.2, 0.3]), 1, 1, False),
    "dates": (np.array(["2001", "2002", "2003"], "M8[Y]"), 1, 1, False),
    "truths": (np.array([False, True, True])[:2], True, 1, False),
}


@pytest.mark.parametrize("kind", [t.Output, t.Probability, t.LogOdds, t.Margin, t.Region, t.Difference])
@pytest.mark.parametrize("case", NUMBERS)
def test_a_whole_number_is_a_label_where_there_are_such_labels(kind, case):
    labels, where, at, told = NUMBERS[case]
    n = 3 if labels is None else len(labels)
    axes = Axes(("k",), (n,), {} if labels is None else {"k": labels})
    other = t.Output.at(0 if at else 1)
    make = {t.Region: lambda w: kind(k=w), t.Difference: lambda w: kind(w, other)}.get(kind, kind)
    plain = Axes(("k",), (n,))
    if kind is t.Difference and isinstance(where, bool | np.integer):
        where = t.Output(where)
    np.testing.assert_array_equal(value(make(where), Y[:, :n], axes=axes), value(make(at), Y[:, :n], axes=plain))
    assert bool(axes.taken) == told


def test_what_an_int_was_taken_for_is_said():
    leads, lat = np.array([1, 2, 3]), np.array([-2.5, 0.0, 2.5])
    for target, labels, said in (
        (t.Output(k=2), leads, "k=2 of the target is a label, of entry 1 counted from 0; the index is Output.at(2)"),
        (t.Output(-1), leads, "k=-1 of the target counts from the end: the output labelled 3"),
        (t.Region(k=0), lat, "k=0 of the target is an index: the output labelled -2.5"),
    ):
        axes = Axes(("k",), (3,), {"k": labels})
        target.bind(axes)
        assert axes.taken == [said]


def test_at_is_always_an_index():
    axes = Axes(("lead", "class"), (3, 3), {"lead": np.array([1, 2, 3]), "class": np.array([3, 2, 1])})
    y = RNG.normal(size=(2, 3, 3))
    for kind in (t.Output, t.Probability, t.LogOdds):
        at = value(kind.at(lead=1, **{"class": -1}), y, y, axes)
        np.testing.assert_array_equal(at, value(kind(lead=2.0, **{"class": "1"}), y, y, axes))
    assert axes.taken == []
    assert repr(t.Output.at(lead=-1)) == "Output.at(lead=-1)"
    assert t.Output.at(2).label == "Output.at(2)"
    assert t.Output.at(2) != t.Output(2)
    for wrong in (True, 1.0, "1"):
        with pytest.raises(TypeError, match="a place on an output axis is an int, counted from 0, got"):
            t.Output.at(wrong)
    with pytest.raises(IndexError, match="target 3 is out of range: output axis 'lead' has 3 entries"):
        t.Output.at(lead=3).bind(Axes(("lead",), (3,), {"lead": np.array([1, 2, 3])}))


@pytest.mark.parametrize(
    ("region", "inside"),
    [
        (t.Region(k=(1, 2)), [0, 1]),
        (t.Region(k=slice(2, None)), [1, 2]),
        (t.Region(k=(np.int64(3), 9)), [2]),
    ],
)
def test_stretches_of_whole_numbers_are_of_labels(region, inside):
    axes = Axes(("k",), (3,), {"k": np.array([1, 2, 3])})
    np.testing.assert_allclose(value(region, axes=axes), Y[:, inside].mean(1), rtol=1e-13)


@pytest.mark.parametrize("ends", [(-2, -1), slice(-2, None), (1, 2)])
def test_stretches_of_an_axis_without_labels_count_from_its_ends(ends):
    np.testing.assert_allclose(value(t.Region(k=ends), axes=Axes(("k",), (3,))), Y[:, 1:].mean(1), rtol=1e-13)


def test_predicted_is_the_class_of_the_intact_sample():
    np.testing.assert_array_equal(value(t.Predicted()), Y[np.arange(6), Y0.argmax(1)])
    np.testing.assert_array_equal(value(t.Predicted(), Y0), Y0.max(1))


def test_probability_and_log_odds():
    p = softmax(Y, 1)
    np.testing.assert_allclose(value(t.Probability("S")), p[:, 1], rtol=1e-12)
    np.testing.assert_allclose(value(t.LogOdds("S")), np.log(p[:, 1] / (1 - p[:, 1])), rtol=1e-12)


def test_one_logit_stands_for_two_classes():
    for axes, y in ((Axes((), ()), Y[:, 0]), (Axes(("output",), (1,)), Y[:, :1])):
        np.testing.assert_allclose(value(t.Probability(), y, y, axes), 1 / (1 + np.exp(-Y[:, 0])), rtol=1e-12)
        np.testing.assert_array_equal(value(t.LogOdds(), y, y, axes), Y[:, 0])


def scaled(scale, axes=ONE):
    return replace(axes, scale=scale)


def test_probabilities_are_taken_as_they_are():
    p = softmax(Y, 1)
    for target, axes in (("S", scaled("probability")), (1, scaled("probability")), ({"of": "probability"}, ONE)):
        where = "S" if isinstance(target, dict) else target
        more = target if isinstance(target, dict) else {}
        np.testing.assert_array_equal(value(t.Probability(where, **more), p, p, axes), p[:, 1])
        found = value(t.LogOdds(where, **more), p, p, axes)
        np.testing.assert_allclose(found, np.log(p[:, 1] / (1 - p[:, 1])), rtol=1e-12)


def test_log_odds_of_probabilities_keep_their_digits_and_their_ends():
    p = np.array([[1e-18, 1.0], [1.0, 0.0], [0.0, 1.0]])
    expected = [np.log(1e18), -np.inf, np.inf]
    np.testing.assert_array_equal(value(t.LogOdds(1), p, p, scaled("probability", TWO)), expected)
    one = Axes((), (), scale="probability")
    np.testing.assert_allclose(value(t.LogOdds(), p[:, 0], p[:, 0], one), [np.log(1e-18), np.inf, -np.inf], rtol=1e-13)


def test_log_odds_of_classes_that_do_not_exclude_each_other():
    p = np.array([[0.9, 0.4, 0.5]])
    np.testing.assert_allclose(value(t.LogOdds(0), p, p, scaled("probability")), [np.log(9)], rtol=1e-13)


@pytest.mark.parametrize("kind", [t.Probability, t.LogOdds])
def test_what_outputs_are_taken_for_is_refused_where_it_cannot_be(kind):
    p = torch.as_tensor(softmax(Y, 1))
    bound = kind("S").bind(ONE)
    with pytest.raises(
        ValueError, match=r"\('S'\): every row .* sums to 1, which logits do not; give of='probability'"
    ):
        bound(p, p)
    with pytest.raises(ValueError, match="of='probability'; leave out of="):
        kind("S", of="logits").bind(scaled("probability"))
    with pytest.raises(ValueError, match="values, not a class's probability"):
        kind("S").bind(scaled("value"))
    with pytest.raises(ValueError, match="of is 'logits', 'probability' or None"):
        kind(of="value")
    one = torch.linspace(0, 1, 200, dtype=torch.float64)
    with pytest.warns(UserWarning, match="all of 200 lie between 0 and 1"):
        kind().bind(Axes((), ()))(one, one)


def test_values_have_no_predicted_class():
    for target in (None, t.Predicted(), t.Margin()):
        with pytest.raises(ValueError, match=r"gives 3 values.* along 'class' \('N', 'S', 'V'\), such as target=0"):
            resolve(target).bind(scaled("value"))
    np.testing.assert_array_equal(value(t.Margin("N", "V"), axes=scaled("value")), Y[:, 0] - Y[:, 2])
    np.testing.assert_array_equal(value(None, Y[:, :1], axes=Axes(("output",), (1,), scale="value")), Y[:, 0])


def test_a_divergence_takes_the_outputs_for_what_the_model_says():
    p, p0 = softmax(Y, 1), softmax(Y0, 1)
    for scale, y, y0 in (("probability", p, p0), (None, Y, Y0), ("logits", Y, Y0)):
        found = value(t.Divergence(), y, y0, scaled(scale))
        np.testing.assert_allclose(found, -abs(p - p0).sum(1), rtol=1e-12)
        assert t.Divergence().choose(scaled(scale)).of == (scale or "logits")
    with pytest.raises(ValueError, match=r"gives values: give Divergence\('difference'\)"):
        t.Divergence().bind(scaled("value"))
    with pytest.raises(ValueError, match="takes the outputs for logits, but the model's are of='probability'"):
        t.Divergence(of="logits").bind(scaled("probability"))


def test_log_odds_of_a_saturated_class_are_finite():
    y = np.array([[900.0, 0.0, 0.0]])
    np.testing.assert_allclose(value(t.LogOdds(0), y, y), [900 - np.log(2)], rtol=1e-12)


def test_margin():
    np.testing.assert_array_equal(value(t.Margin("N", "V")), Y[:, 0] - Y[:, 2])
    np.testing.assert_array_equal(value(t.Margin("N")), Y[:, 0] - Y[:, 1:].max(1))
    first = Y0.argmax(1)
    rest = Y.copy()
    rest[np.arange(6), first] = -np.inf
    np.testing.assert_array_equal(value(t.Margin()), Y[np.arange(6), first] - rest.max(1))
    assert (value(t.Margin(), Y0) >= 0).all()


def test_a_function_of_the_outputs():
    np.testing.assert_allclose(value(lambda y: y.sum(1)), Y.sum(1))
    with pytest.raises(
        ValueError, match=r"Function\(total\) gave shape \(\) for 6 rows; a target gives one number a row"
    ):
        value(t.Function(lambda y: y.sum(), name="total"))


def test_gradients_pass_through_every_target():
    box = t.Region(**{"class": ("N", "S")})
    for target in (0, t.Predicted(), t.Probability(1), t.LogOdds(1), t.Margin(), t.Margin(0, 1), box):
        y = torch.tensor(Y, requires_grad=True)
        (grad,) = torch.autograd.grad(resolve(target).bind(ONE)(y, torch.as_tensor(Y0)).sum(), y)
        assert grad.abs().sum(1).gt(0).all()
    y = torch.tensor(Y, requires_grad=True)
    t.LogOdds(1).bind(ONE)(y, y).sum().backward()
    others = np.exp(log_softmax(Y[:, [0, 2]], 1))
    np.testing.assert_allclose(y.grad, np.stack([-others[:, 0], np.ones(6), -others[:, 1]], 1), rtol=1e-12)


# ---- several axes

LAT, LON = np.array([10.0, 0.0, -10.0]), np.array([0.0, 90.0, 180.0, 270.0])
DATES = pd.date_range("2001-01-31", periods=4, freq="10D").to_numpy()
MAPS = Axes(("time", "lat", "lon"), (4, 3, 4), {"time": DATES, "lat": LAT, "lon": LON})
FIELD = RNG.normal(size=(2, 4, 3, 4))


@pytest.mark.parametrize(
    ("where", "index"),
    [
        ({"time": -1, "lat": 0.0, "lon": 270.0}, (3, 1, 3)),
        ({"time": "2001-02-10", "lat": 0, "lon": 90}, (1, 1, 1)),
        ({"time": np.datetime64("2001-02-20T00:00"), "lat": -10.0000001, "lon": np.float32(90)}, (2, 2, 1)),
        ({"time": pd.Timestamp("2001-02-20"), "lat": np.int32(-10), "lon": -90}, (2, 2, 3)),
    ],
)
def test_one_entry_of_several_axes(where, index):
    np.testing.assert_array_equal(value(t.Output(**where), FIELD, FIELD, MAPS), FIELD[(slice(None), *index)])


@pytest.mark.parametrize(
    ("region", "part"),
    [
        (t.Region(lat=(-10, 0), lon=(90, 180), time=0), FIELD[:, 0, 1:, 1:3]),
        (t.Region(lat=slice(-10, 0), lon=(90, 180), time="2001-01-31"), FIELD[:, 0, 1:, 1:3]),
        (t.Region(lat=0.0, lon=(0, 360), time=-1), FIELD[:, 3, 1]),
        (t.Region(time=("2001-02-01", "2001-02-15"), lat=10, lon=0), FIELD[:, 1:2, 0, 0]),
        (t.Region(time=("2001-02", "2001-02"), lat=10, lon=0), FIELD[:, 1:3, 0, 0]),
        (t.Region(time=(DATES[1], DATES[3]), lat=10, lon=(0, 360)), FIELD[:, 1:, 0]),
    ],
)
def test_the_mean_of_a_box_has_its_ends_included(region, part):
    np.testing.assert_allclose(value(region, FIELD, FIELD, MAPS), part.reshape(2, -1).mean(1), rtol=1e-12)


def test_region_weights_are_aligned_and_multiply_the_box():
    w = xr.DataArray(np.cos(np.deg2rad(LAT[::-1])), dims="lat", coords={"lat": LAT[::-1]})
    expected = np.average(FIELD[:, 2][:, :, 1:3].mean(2), axis=1, weights=np.cos(np.deg2rad(LAT)))
    np.testing.assert_allclose(value(t.Region(w, lon=(90, 180), time=2), FIELD, FIELD, MAPS), expected, rtol=1e-12)
    mask = xr.DataArray(RNG.random((4, 3)) < 0.5, dims=("lon", "lat"), coords={"lon": LON, "lat": LAT})
    inside = FIELD[:, 1].transpose(0, 2, 1)[:, mask.values]
    np.testing.assert_allclose(value(t.Region(mask, time=1), FIELD, FIELD, MAPS), inside.mean(1), rtol=1e-12)
    holes = w.where(w.lat != 0)
    expected = FIELD[:, 2, [0, 2], 0].mean(1)
    np.testing.assert_allclose(value(t.Region(holes, lon=0, time=2), FIELD, FIELD, MAPS), expected, rtol=1e-12)


def test_the_probability_of_a_class_at_one_time():
    axes = Axes(("time", "class"), (4, 3), {"class": CLASSES})
    y = RNG.normal(size=(2, 4, 3))
    at = {"time": 2, "class": "S"}
    np.testing.assert_allclose(value(t.Probability(**at), y, y, axes), softmax(y[:, 2], 1)[:, 1], rtol=1e-12)
    p = softmax(y[:, 2], 1)[:, 1]
    np.testing.assert_allclose(value(t.LogOdds(**at), y, y, axes), np.log(p / (1 - p)), rtol=1e-12)


# ---- None


def test_none_is_the_single_output_else_the_predicted_one():
    np.testing.assert_array_equal(value(None, Y[:, 0], Y0[:, 0], Axes((), ())), Y[:, 0])
    np.testing.assert_array_equal(value(None, Y[:, :1], Y0[:, :1], Axes(("output",), (1,))), Y[:, 0])
    np.testing.assert_array_equal(
        value(None, Y[:, None, :1], None or Y0[:, None, :1], Axes(("a", "b"), (1, 1))), Y[:, 0]
    )
    np.testing.assert_array_equal(value(None), value(t.Predicted()))


def test_none_does_not_choose_among_several_axes():
    with pytest.raises(
        ValueError,
        match=r"axes \{'time': 4, 'lat': 3, 'lon': 4\}: say which number to explain, such as "
        r"target=ta.targets.Output\(time='2001-03-02.*', lat=-10.0, lon=",
    ):
        value(None, FIELD, FIELD, MAPS)


def test_the_one_number_of_a_model_without_output_axis_is_entry_0():
    for index in (0, -1):
        np.testing.assert_array_equal(value(index, Y[:, 0], Y0[:, 0], Axes((), ())), Y[:, 0])


# ---- errors


@pytest.mark.parametrize(
    ("target", "axes", "error", "message"),
    [
        (3, ONE, IndexError, r"target 3 is out of range: output axis 'class' has 3 entries \(0 to 2\)"),
        (-4, ONE, IndexError, "target -4 is out of range"),
        (1, Axes((), ()), IndexError, "target 1 is out of range: output axis 'output' has 1 entries"),
        ("X", ONE, KeyError, r"no label 'X' on output axis 'class'; its labels are 'N', 'S', 'V'"),
        (
            "N",
            Axes(("output",), (3,)),
            KeyError,
            r"'N' is a label, but output axis 'output' has none; name them, e.g. outputs=",
        ),
        (0.5, ONE, TypeError, "target is an int .* got 0.5"),
        (True, ONE, TypeError, "a target along 'class' is an int or a label, got True"),
        (
            4,
            Axes(("lead",), (3,), {"lead": np.array([1, 2, 3])}),
            KeyError,
            r"no label 4 on output axis 'lead'; its labels are 1, 2, 3; an entry by its index is Output.at\(4\)",
        ),
        (0, Axes(("class",), (2,), {"class": np.array([1, 2])}), KeyError, "no label 0 on output axis 'class'"),
        (t.Output(**{"class": [0, 1]}), ONE, TypeError, r"class=\[0, 1\] is no one entry of output axis 'class'"),
        (t.Region(**{"class": range(2)}), ONE, TypeError, r"Region takes the mean of a stretch, \(first, last\)"),
        (t.Predicted, ONE, TypeError, r"an object with its settings: Predicted\(...\), not the class"),
        (t.Output(True), ONE, TypeError, "got True"),
        (t.Output(time=1), ONE, KeyError, r"no output axis 'time'; the model's are \['class'\], named by outputs="),
        (
            t.Output(time=1),
            MAPS,
            ValueError,
            r"Output\(time=1\) leaves output axis 'lat' open; say where: lat=index or label",
        ),
        (t.Output(time="2001-02-11", lat=0, lon=0), MAPS, KeyError, "no label '2001-02-11' on output axis 'time'"),
        (
            t.Output(time="Feb", lat=0, lon=0),
            MAPS,
            KeyError,
            "'Feb' is no date, but output axis 'time' is labelled by dates",
        ),
        (
            t.Output(time=0, lat=0.5, lon=0),
            MAPS,
            KeyError,
            "no label 0.5 on output axis 'lat'; its labels are 10.0, 0.0, -10.0",
        ),
        (
            0,
            MAPS,
            ValueError,
            r"Output\(0\) needs a model with one output axis, but its axes are .* say where on each: ta.targets.Output\(time",
        ),
        (t.Predicted(), MAPS, ValueError, r"Predicted\(\) needs a model with one output axis"),
        (t.Margin(), Axes(("class",), (1,)), ValueError, "needs at least two outputs, the model has 1"),
        (
            t.Region(lat=(50, 60), lon=0, time=0),
            MAPS,
            ValueError,
            r"no entry of output axis 'lat' lies in \[50, 60\]; it runs",
        ),
        (t.Region(lat=(0, 60)), MAPS, ValueError, "leaves output axis 'time' open; say where: time="),
        (t.Region(lat=(0, 60), lev=3), MAPS, KeyError, "no output axis 'lev'"),
        (
            t.Region(xr.DataArray(np.zeros(3), dims="lat"), lon=0, time=0),
            MAPS,
            ValueError,
            "sum to 0.0: nothing to average",
        ),
        (
            t.Region(lat=(10, 0), lon=(180, 90), time=0),
            MAPS,
            ValueError,
            r"lat=\(10, 0\) of .* runs backwards; give \(low, high\)",
        ),
        (t.Region(xr.DataArray(np.ones(2), dims="lat"), lon=0, time=0), MAPS, ValueError, "2 entries along dim 'lat'"),
    ],
)
def test_targets_that_do_not_fit(target, axes, error, message):
    with pytest.raises(error, match=message):
        resolve(target).bind(axes)


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.int64])
@pytest.mark.parametrize("convention", [0, 180])
def test_longitudes_count_modulo_a_turn_and_run_eastward(dtype, convention):
    lon = ((np.arange(0, 360, 30) + convention) % 360 - convention).astype(dtype)
    axes, y = Axes(("lon",), (12,), {"lon": lon}), torch.arange(12.0, dtype=torch.float64)[None]
    for ends, inside in {(330, 30): [11, 0, 1], (-30, 30): [11, 0, 1], (150, -150): [5, 6, 7], (90, 90): [3]}.items():
        assert float(t.Region(lon=ends).bind(axes)(y, y)) == pytest.approx(np.mean(inside), rel=1e-12)
    assert float(t.Region(lon=(0, 360)).bind(axes)(y, y)) == pytest.approx(5.5, rel=1e-12)
    for label, at in ((270.0, 9), (-90.0, 9), (360.0, 0)):
        assert float(t.Output(lon=label).bind(axes)(y, y)) == at
    with pytest.raises(ValueError, match=r"no entry of output axis 'lon' lies in \[100, 110\]"):
        t.Region(lon=(100, 110)).bind(axes)


def test_an_axis_called_lon_need_not_be_a_circle():
    y = torch.arange(5.0, dtype=torch.float64)[None]
    axes = Axes(("lon",), (5,), {"lon": np.arange(0, 2000, 400.0)}, {"lon": "km"})
    assert float(t.Region(lon=(0, 400)).bind(axes)(y, y)) == pytest.approx(0.5, rel=1e-12)


def dates(kind):
    if kind == "numpy":
        return np.arange("2000-01-15", "2000-07", 30, dtype="M8[D]").astype("M8[ns]")
    return np.array([cftime.Datetime360Day(2000, month, 15) for month in range(1, 7)])


@pytest.mark.parametrize("kind", ["numpy", "cftime"])
@pytest.mark.parametrize(
    ("ends", "inside"),
    [
        (("2000-02", "2000-03"), [1, 2]),
        (slice("2000-05", None), [4, 5]),
        ((None, "2000-02"), [0, 1]),
        (("2000-02-01", "2000-02-20"), [1]),
        ((None, None), [0, 1, 2, 3, 4, 5]),
    ],
)
def test_stretches_of_dates_of_any_calendar(kind, ends, inside):
    labels = dates(kind)[:6]
    axes, y = Axes(("time",), (6,), {"time": labels}), torch.arange(6.0, dtype=torch.float64)[None]
    assert float(t.Region(time=ends).bind(axes)(y, y)) == pytest.approx(np.mean(inside), rel=1e-12)


@pytest.mark.parametrize("kind", ["numpy", "cftime"])
def test_one_date_of_any_calendar(kind):
    labels = dates(kind)[:6]
    axes, y = Axes(("time",), (6,), {"time": labels}), torch.arange(6.0, dtype=torch.float64)[None]
    for where in ("2000-03", str(labels[2])[:10], labels[2]):
        assert float(t.Output(time=where).bind(axes)(y, y)) == 2
    for wrong, message in (("2001", "no label '2001'"), ("2000", "no label '2000'"), ("Feb", "'Feb' is no date")):
        with pytest.raises(KeyError, match=message):
            t.Output(time=wrong).bind(axes)


def test_one_sided_boxes_steps_and_circles():
    axes, y = Axes(("lat",), (5,), {"lat": np.arange(-20, 21, 10.0)}), torch.arange(5.0, dtype=torch.float64)[None]
    assert float(t.Region(lat=(None, -10)).bind(axes)(y, y)) == pytest.approx(0.5, rel=1e-12)
    assert float(t.Region(lat=slice(10, None)).bind(axes)(y, y)) == pytest.approx(3.5, rel=1e-12)
    with pytest.raises(ValueError, match=r"has a step; a region is a stretch: slice\(0, 20\)"):
        t.Region(lat=slice(0, 20, 2)).bind(axes)
    circle = Axes(("lon",), (12,), {"lon": np.arange(0, 360, 30)})
    with pytest.raises(ValueError, match=r"has one end, and a circle needs two; give \(west, east\)"):
        t.Region(lon=slice(None, 10)).bind(circle)
    field = xr.DataArray(np.zeros((1, 12)), dims=("lat", "lon"), coords={"lat": [0.0], "lon": np.arange(0, 360, 30)})
    y = torch.arange(12.0, dtype=torch.float64)[None]
    for ends in [(180, -180), (360, 0), (0, -360), (350, 20), (-20, 340)]:  # as ta.climate.box counts
        inside = ta.climate.box(field, lon=ends).values[0].nonzero()[0]
        assert float(t.Region(lon=ends).bind(circle)(y, y)) == pytest.approx(inside.mean(), rel=1e-12)


def test_the_ends_of_a_box_are_in_it_whatever_the_labels_are_rounded_to():
    lat = np.arange(-1, 1.05, 0.1)
    for labels in (lat, lat.astype(np.float32)):
        axes, y = Axes(("lat",), (21,), {"lat": labels}), torch.arange(21.0)[None]
        assert float(t.Region(lat=(-0.3, 0.4)).bind(axes)(y, y)) == pytest.approx(10.5)


def test_a_pattern_is_summed_and_an_error_is_squared():
    w = xr.DataArray([2.0, 0.0, -1.0], dims="lat", coords={"lat": LAT})
    y = FIELD.copy()
    y[:, :, 1] = np.nan  # what has no weight is not looked at
    expected = 2 * y[:, 1, 0, 1:3].sum(1) - y[:, 1, 2, 1:3].sum(1)
    np.testing.assert_allclose(value(t.Projection(w, lon=(90, 180), time=1), y, y, MAPS), expected, rtol=1e-12)
    expected = np.sqrt(((2 * y[:, 1, 0] ** 2 + y[:, 1, 2] ** 2) / 12).sum(1))
    target = t.RootMeanSquare(abs(w), lon=(0, 360), time=1)
    np.testing.assert_allclose(value(target, y, y, MAPS), expected, rtol=1e-12)
    rows = torch.tensor(y, requires_grad=True)
    target.bind(MAPS)(rows, rows).sum().backward()
    assert torch.isfinite(rows.grad).all()


def test_the_difference_of_two_targets():
    a, b = t.Region(lat=(0, 10), lon=0, time=0), t.Output(time=1, lat=10, lon=0)
    expected = value(a, FIELD, FIELD, MAPS) - FIELD[:, 1, 0, 0]
    np.testing.assert_allclose(value(t.Difference(a, b), FIELD, FIELD, MAPS), expected, rtol=1e-12)
    np.testing.assert_array_equal(value(t.Difference(2, "N")), Y[:, 2] - Y[:, 0])
    assert not t.Difference(a, b).compares
    assert t.Difference(a, t.Predicted()).compares


def test_a_mapping_names_its_targets():
    targets = resolve_all({"first": 0, "lead": t.Predicted()})
    assert [u.label for u in targets] == ["first", "lead"]
    assert [u.compares for u in targets] == [False, True]
    np.testing.assert_array_equal(value(targets[0]), Y[:, 0])
    np.testing.assert_array_equal(value(targets[1]), Y[np.arange(6), Y0.argmax(1)])
    assert is_many({"first": 0})


def test_region_needs_something():
    with pytest.raises(ValueError, match="Projection needs a box, like"):
        t.Projection()
    with pytest.raises(ValueError, match="Region needs a box, like"):
        t.Region()


# ---- names and output axes


@pytest.mark.parametrize(
    "target",
    [t.Output(2), t.Output("V"), t.Output(time=-1, lat=0.0), t.Predicted(), t.Probability("V"), t.LogOdds(1),
     t.Margin("N"), t.Margin("N", 2), t.Region(lat=(-5, 5), lon=3),
     t.Projection(lat=(-5, 5)), t.RootMeanSquare(lat=0), t.Difference(t.Output(1), t.Output(0))],
    ids=repr,
)  # fmt: skip
def test_print_and_compare_by_setting(target):
    again = eval(repr(target), vars(t))
    assert again == target
    assert hash(again) == hash(target)


def test_names_along_a_target_dim():
    assert [resolve(u).label for u in (2, "V", t.Margin("N", "V"))] == ["2", "V", "Margin(a='N', b='V')"]


@pytest.mark.parametrize(
    ("outputs", "shape", "labels", "dims", "coords"),
    [
        (None, (3,), None, ("output",), {}),
        (None, (3,), CLASSES, ("output",), {"output": ["N", "S", "V"]}),
        (None, (2,), CLASSES, ("output",), {}),
        (None, (4, 3), CLASSES, ("output_1", "output_2"), {}),
        ("class", (3,), CLASSES, ("class",), {"class": ["N", "S", "V"]}),
        (("time", "class"), (4, 3), None, ("time", "class"), {}),
        ({"time": None, "class": ["N", "S", "V"]}, (4, 3), None, ("time", "class"), {"class": ["N", "S", "V"]}),
        (None, (), None, (), {}),
    ],
)
def test_output_axes(outputs, shape, labels, dims, coords):
    axes = outputs_axes(outputs, shape, labels)
    assert (axes.dims, axes.shape) == (dims, shape)
    assert {d: c.tolist() for d, c in axes.coords.items()} == coords


@pytest.mark.parametrize(
    ("outputs", "shape", "message"),
    [
        (("time", "class"), (3,), r"outputs names 2 axes \['time', 'class'\], but the model's output has shape \(3,\)"),
        ({"class": ["a", "b"]}, (3,), "outputs gives 2 labels for axis 'class', but the model's output has 3 entries"),
        (("class",), (), r"outputs names 1 axes \['class'\], but the model's output has shape \(\) per sample"),
    ],
)
def test_output_axes_that_do_not_fit(outputs, shape, message):
    with pytest.raises(ValueError, match=message):
        outputs_axes(outputs, shape)


def test_a_label_of_any_type_is_a_target_as_it_is():
    dates = Axes(("output",), (3,), {"output": np.array(["2020", "2021", "2022"], "M8[s]")})
    levels = Axes(("output",), (3,), {"output": np.array([0.5, 1.5, 2.5])})
    for given in (np.datetime64("2021-01-01"), datetime(2021, 1, 1), pd.Timestamp("2021")):
        np.testing.assert_array_equal(value(given, Y, Y0, dates), Y[:, 1])
    np.testing.assert_array_equal(value(t.Output(2.5), Y, Y0, levels), Y[:, 2])


@pytest.mark.parametrize("dims", [("label", "class"), ("time", "lat")])
def test_the_entry_that_is_named_as_an_example_can_be_asked_for(dims):
    outputs = Axes(dims, (2, 2), {dims[1]: np.array([0.5, 1.5])})
    with pytest.raises(ValueError, match="such as target=") as refused:
        value(None, torch.zeros(1, 2, 2), torch.zeros(1, 2, 2), outputs)
    text = str(refused.value).split("target=")[1].split("; outputs")[0].split(", or a mean")[0]
    y = torch.arange(4.0).reshape(1, 2, 2)
    assert value(eval(text.removeprefix("ta.targets."), {"Output": t.Output}), y, y, outputs).item() == 3


LEADS = Axes(("lead",), (3,), {"lead": np.array([6, 12, 36], "m8[h]").astype("m8[ns]")})


@pytest.mark.parametrize(
    "where", ["12 h", "0.5 d", "43200 seconds", np.timedelta64(12, "h"), pd.Timedelta("12h"), timedelta(hours=12), 1]
)
def test_lead_times_are_labels(where):
    np.testing.assert_array_equal(value(where, axes=LEADS), Y[:, 1])
    np.testing.assert_array_equal(value(t.Output(lead=where), axes=LEADS), Y[:, 1])


def test_a_mean_over_lead_times():
    for box in (("7 h", "2 d"), (np.timedelta64(12, "h"), None)):
        np.testing.assert_allclose(value(t.Region(lead=box), axes=LEADS), Y[:, 1:].mean(1))
    with pytest.raises(KeyError, match=r"no label '1 d' on output axis 'lead'; its labels are '6 h', "):
        value("1 d", axes=LEADS)
    with pytest.raises(KeyError, match=r"'1 m' is no duration, but output axis 'lead' is labelled by durations"):
        value("1 m", axes=LEADS)


def test_a_choice_along_an_axis_that_is_not_left_is_refused():
    with pytest.raises(ValueError, match=r"Margin\(a=1, b=2\) chooses along an output axis, and there is none left"):
        value(t.Margin(1, 2), Y[:, 0], Y0[:, 0], Axes((), ()))


@pytest.mark.parametrize("shape", [(3,), (2, 3), (3, 1)])
@pytest.mark.parametrize("kind", [t.Output, t.Probability, t.LogOdds])
def test_many_entries_at_once_are_each_by_itself(kind, shape):
    outputs = Axes(("class", "other")[: len(shape)], shape)
    y = torch.as_tensor(RNG.normal(size=(5, *shape)))
    targets = t.Each(target=kind).targets(outputs)
    bound = CallTargets.of(targets[::-1], outputs).bind(outputs)
    assert (bound.together is not None) == (kind is not t.LogOdds)
    each = torch.stack([value(y, y) for value in bound.values], 1)
    if bound.together is not None:
        torch.testing.assert_close(bound.together(y, y), each, rtol=0, atol=0)
    mixed = CallTargets.of([*targets, t.Function(lambda y: y.flatten(1)[:, 0])], outputs).bind(outputs)
    assert mixed.together is None


def test_many_probabilities_are_looked_at_once():
    p = torch.as_tensor(softmax(Y, -1))
    bound = CallTargets.of([t.Probability(k) for k in range(3)], CLASSES_OF_THREE).bind(CLASSES_OF_THREE)
    with pytest.raises(ValueError, match="every row of the model's outputs lies in"):
        bound.together(p, p)
    given = CallTargets.of([t.Probability(k, of="probability") for k in (2, 0)], CLASSES_OF_THREE).bind(
        CLASSES_OF_THREE
    )
    torch.testing.assert_close(given.together(p, p), p[:, [2, 0]])
    mixed = CallTargets.of([t.Probability(0, of="logits"), t.Probability(1)], CLASSES_OF_THREE).bind(CLASSES_OF_THREE)
    assert mixed.together is None
