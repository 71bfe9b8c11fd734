import itertools
import sys

import numpy as np
import pytest
import torch
import xarray as xr

import tsattr as ta

LEADS = ["I", "II", "V1"]
CLASSES = ["N", "S", "V"]
W = np.random.default_rng(1).normal(size=(3, 4, 3))


@pytest.fixture
def x():
    rng = np.random.default_rng(0)
    return xr.DataArray(
        rng.normal(size=(2, 3, 4)),
        dims=("sample", "lead", "time"),
        coords={
            "sample": ["p7", "p3"],
            "lead": LEADS,
            "time": ("time", np.arange(4) / 10, {"units": "s"}),
            "age": ("sample", [61.0, 48.0]),
            "beat": ("time", [0, 0, 1, 1]),
        },
        attrs={"units": "mV", "record": "a/b", "filtered": True, "valid_range": [-5, 5]},
        name="ecg",
    )


def linear(x):
    """Three linear outputs of (rows, lead, time)."""
    return torch.einsum("rlt,ltc->rc", x, torch.as_tensor(W).to(x))


IG = ta.IntegratedGradients(ta.baselines.Constant(0.25))
OCCLUSION = ta.Occlusion(ta.groups.Along("lead"), ta.baselines.Uniform(-1.0, 1.0), draws=3)
METHODS = [IG, OCCLUSION, ta.Saliency(), ta.InputXGradient(), ta.SmoothGrad(draws=3)]


@pytest.fixture(params=METHODS, ids=lambda m: type(m).__name__)
def method(request):
    return request.param


# ---- the result


def test_a_linear_model_has_its_closed_form(x):
    ds = ta.explain(linear, x, IG, target=2)
    w = W[..., 2]
    np.testing.assert_allclose(ds.attribution, w * (x - 0.25), atol=1e-12)
    np.testing.assert_allclose(ds.prediction, (w * x).sum(("lead", "time")), atol=1e-12)
    np.testing.assert_allclose(ds.reference, 0.25 * w.sum(), atol=1e-12)
    assert (ds.completeness_gap < 1e-12).all()
    assert (ds.completeness_error < 1e-12).all()
    by_lead = ta.explain(linear, x, ta.Occlusion(ta.groups.Along("lead"), ta.baselines.Constant(0.25)), target=2)
    expected = (w * (x - 0.25)).sum("time")
    np.testing.assert_allclose(by_lead.group_value, expected, atol=1e-12)
    np.testing.assert_allclose(by_lead.attribution, expected.expand_dims(time=4, axis=2), atol=1e-12)
    assert by_lead.group.values.tolist() == LEADS


def test_variables_dims_and_labels(x, method):
    ds = ta.explain(linear, x, method, target=0)
    assert ds.attribution.dims == x.dims
    for name in x.coords:
        xr.testing.assert_identical(ds.attribution[name].drop_attrs(), x[name].drop_attrs())
    assert ds.time.attrs == {"units": "s"}
    assert ds.attribution.attrs["record"] == "a/b"
    assert ds.attribution.attrs["input_units"] == "mV"
    assert "units" not in ds.attribution.attrs  # the target's, not the input's
    assert "valid_range" not in ds.attribution.attrs
    for name in ("prediction", "model_evaluations", "status"):
        assert ds[name].dims == ("sample",)
        assert ds[name].sample.values.tolist() == ["p7", "p3"]
        assert ds[name].age.values.tolist() == [61, 48]
    assert ds.status.values.tolist() == ["ok", "ok"]
    several = (getattr(method, "draws", None) or 1) > 1
    assert ("standard_error" in ds) == several
    assert not several or ds.standard_error.dims == x.dims
    assert ("group_value" in ds) == ("group" in ds.dims) == isinstance(method, ta.Occlusion)
    for name in ("reference", "completeness_gap", "completeness_error", "steps"):
        assert (name in ds) == isinstance(method, ta.IntegratedGradients)


def test_attrs_say_how_it_was_made_in_plain_values(x, method):
    ds = ta.explain(linear, x, method, target="V", outputs={"class": CLASSES}, seed=7)
    assert ds.attrs["method"] == repr(method)
    assert ds.attrs["target"] == "V"
    assert ds.attrs["seed"] == 7
    assert ds.attrs["version_tsattr"] == ta.__version__
    assert all(type(v) in (str, int, float) for v in ds.attrs.values())
    if hasattr(method, "baseline"):
        assert ds.attrs["baseline"] == repr(method.baseline)
    if hasattr(method, "groups"):
        assert ds.attrs["groups"] == "Along('lead')"


def test_a_fitted_baseline_leaves_its_fingerprint(x):
    train = x.drop_vars(["sample", "age"])
    texts = [
        ta.explain(linear, x, ta.IntegratedGradients(ta.baselines.Samples.fit(t)), target=0).attrs["baseline"]
        for t in (train, train.copy(), train + 1e-9)
    ]
    assert texts[0] == texts[1] != texts[2]
    assert "sample 2, lead 3, time 4: sha256 " in texts[0]


@pytest.mark.parametrize("target", [0, [0, "Predicted"]], ids=["one", "several"])
def test_to_netcdf_and_back(x, method, target, tmp_path):
    target = [0, ta.targets.Predicted()] if isinstance(target, list) else target
    ds = ta.explain(linear, x, method, target=target)
    ds.to_netcdf(tmp_path / "a.nc")
    with xr.open_dataset(tmp_path / "a.nc") as read:
        xr.testing.assert_identical(read.load(), ds)


@pytest.mark.parametrize("dims", list(itertools.permutations(["sample", "lead", "time"])))
def test_the_order_of_dims_is_kept_and_the_model_gets_the_samples_first(x, method, dims):
    given = x.transpose(*dims)
    shapes = set()

    def model(rows):
        shapes.add(tuple(rows.shape[1:]))
        return linear(rows if dims.index("lead") < dims.index("time") else rows.transpose(1, 2))

    ds = ta.explain(model, given, method, target=1)
    assert ds.attribution.dims == dims
    assert shapes == {tuple(given.sizes[d] for d in dims if d != "sample")}
    usual = ta.explain(linear, x, method, target=1)
    xr.testing.assert_allclose(ds.attribution.transpose(*x.dims), usual.attribution)


def test_another_name_for_the_sample_dim(x):
    named = x.rename(sample="record")
    with pytest.raises(ValueError, match="x has no sample dim: its dims are"):
        ta.explain(linear, named, IG, target=0)
    ds = ta.explain(linear, named, IG, target=0, sample_dim="record")
    assert ds.attribution.dims == ("record", "lead", "time")
    assert ds.prediction.dims == ("record",)
    xr.testing.assert_allclose(ds.attribution.rename(record="sample"), ta.explain(linear, x, IG, target=0).attribution)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_dtype_follows_x_and_sums_stay_wide(x, method, dtype):
    ds = ta.explain(linear, x.astype(dtype), method, target=0)
    assert ds.attribution.dtype == dtype
    assert ds.prediction.dtype == "float64"
    exact = ta.explain(linear, x.astype(dtype).astype("float64"), method, target=0)
    np.testing.assert_allclose(ds.attribution, exact.attribution, atol=1e-12 if dtype == "float64" else 1e-5)


# ---- samples


def test_a_sample_is_explained_the_same_alone_in_company_and_in_any_order(x, method):
    whole = ta.explain(linear, x, method, target=0)
    for part in (x[:1], x[1:], x[::-1]):
        found = ta.explain(linear, part, method, target=0)
        xr.testing.assert_allclose(found, whole.sel(sample=part.sample), atol=1e-12)


def test_draws_follow_the_seed(x):
    one, again, other = (ta.explain(linear, x, OCCLUSION, target=0, seed=s) for s in (0, 0, 1))
    xr.testing.assert_identical(one, again)
    assert (one.attribution != other.attribution).any()


def test_without_a_coordinate_a_sample_is_its_position(x):
    bare = x.drop_vars("sample")
    first = ta.explain(linear, bare, OCCLUSION, target=0)
    second = ta.explain(linear, bare[[0, 0]], OCCLUSION, target=0)
    np.testing.assert_array_equal(first.attribution[0], second.attribution[0])
    assert (second.attribution[0] != second.attribution[1]).any()


def test_chunks_of_samples_change_nothing(x, method, monkeypatch):
    many = xr.concat([x.drop_vars(["sample", "age"])] * 5, "sample").assign_coords(sample=np.arange(10))
    whole = ta.explain(linear, many, method, target=0)
    monkeypatch.setattr(sys.modules["tsattr.edge.call"], "_CHUNK", 1)
    xr.testing.assert_allclose(ta.explain(linear, many, method, target=0, batch_size=3), whole, atol=1e-12)


# ---- targets


def test_several_targets_add_a_dim(x, method):
    targets = ["V", 0, ta.targets.Margin("N", "S"), ta.targets.Predicted()]
    ds = ta.explain(linear, x, method, target=targets, outputs={"class": CLASSES})
    names = ["V", "0", "Margin(a='N', b='S')", "Predicted()"]
    assert ds.target.values.tolist() == names
    assert ds.attribution.dims == (*x.dims, "target")
    assert ds.prediction.dims == ("sample", "target")
    for k, target in enumerate(targets):
        alone = ta.explain(linear, x, method, target=target, outputs={"class": CLASSES})
        np.testing.assert_allclose(ds.attribution.isel(target=k), alone.attribution, atol=1e-10)
        np.testing.assert_allclose(ds.prediction.isel(target=k), alone.prediction, atol=1e-12)
    one = ta.explain(linear, x, method, target=["V"], outputs={"class": CLASSES})
    assert one.attribution.sizes["target"] == 1


def test_none_is_the_predicted_class(x):
    ds = ta.explain(linear, x, IG)
    assert ds.attrs["target"] == "Predicted()"
    outputs = linear(torch.as_tensor(x.values)).numpy()
    np.testing.assert_allclose(ds.prediction, outputs.max(1), rtol=1e-12)
    w = W[..., outputs.argmax(1)].transpose(2, 0, 1)
    np.testing.assert_allclose(ds.attribution, w * (x - 0.25), atol=1e-12)


def test_outputs_with_axes_of_their_own(x):
    def forecast(rows):  # (rows, step, lat, lon)
        steps = torch.arange(1.0, 3.0).to(rows)
        return steps[None, :, None, None] * rows[:, None]

    outputs = {"step": None, "lat": xr.DataArray([10.0, 0.0, -10.0], dims="lat"), "lon": [0.0, 90.0, 180.0, 270.0]}
    box = ta.targets.Region(step=1, lat=(-10, 0), lon=(90, 180))
    cell = ta.targets.Output(step=0, lat=10.0, lon=-90.0)
    ds = ta.explain(forecast, x, ta.IntegratedGradients(), target=[box, cell], outputs=outputs)
    expected = np.zeros((2, 3, 4))
    expected[:, 1:, 1:3] = 2 * x.values[:, 1:, 1:3] / 4
    np.testing.assert_allclose(ds.attribution.isel(target=0), expected, atol=1e-12)
    expected = np.zeros((2, 3, 4))
    expected[:, 0, 3] = x.values[:, 0, 3]
    np.testing.assert_allclose(ds.attribution.isel(target=1), expected, atol=1e-12)
    with pytest.raises(ValueError, match="say which number to explain"):
        ta.explain(forecast, x, IG, outputs=("step", "lat", "lon"))


# ---- trouble with some samples


def test_trouble_with_one_sample_stops_no_other_and_one_warning_names_it(x, method):
    x = x.copy()
    x[0] += 100.0

    def overflows(rows):
        return torch.where(rows.sum((1, 2), keepdim=True)[:, 0] > 100, torch.inf, linear(rows))

    with pytest.warns(ta.ExplanationWarning, match="^non-finite output: sample p7 ") as caught:
        ds = ta.explain(overflows, x, method, target=0)
    assert len(caught) == 1
    assert caught[0].filename == __file__
    assert ds.status.values.tolist() == ["non-finite output", "ok"]
    assert np.isnan(ds.attribution[0]).all()
    xr.testing.assert_allclose(
        ds.attribution[1], ta.explain(linear, x[1:], method, target=0).attribution[0], atol=1e-12
    )


def test_an_all_missing_sample_is_named(x, method):
    x = x.where(x.sample != "p3")
    with pytest.warns(ta.ExplanationWarning, match=r"^all missing: sample p3 \(see the variable `status`\)"):
        ds = ta.explain(lambda rows: linear(rows.nan_to_num()), x, method, target=0)
    assert ds.status.values.tolist() == ["ok", "all missing"]
    assert np.isnan(ds.attribution[1]).all()
    assert np.isfinite(ds.attribution[0]).all()


def test_many_troubled_samples_are_counted(x):
    many = xr.DataArray(np.full((30, 2), np.nan), dims=("sample", "time"))
    with pytest.warns(ta.ExplanationWarning, match=r"all missing: sample 0, 1, .*, 9, ... \(30 in all\)"):
        ta.explain(lambda rows: rows.nan_to_num().sum(1), many, ta.Saliency())


@pytest.mark.parametrize(
    ("labels", "none"),
    [
        (None, np.nan),
        ([-1, 1, 2], np.nan),
        (["N", "S", "V"], ""),
        ([False, True], np.nan),
        (np.array(["2000", "2001", "2002"], "M8[ns]"), np.datetime64("NaT", "ns")),
    ],
)
def test_where_the_output_is_nan_no_class_is_predicted(x, labels, none, tmp_path):
    outputs = {"class": [0, 1, 2] if labels is None else labels}
    n = len(outputs["class"])

    def model(rows):
        return torch.where((rows[:, :1, 0] == 0) & (torch.arange(n) == 1), torch.nan, rows.flatten(1)[:, :n])

    x = x.copy()
    x[0, 0, 0] = 0
    x[1].values.flat[:n] = np.arange(1.0, n + 1)
    with pytest.warns(ta.ExplanationWarning, match="^non-finite output: sample p7"):
        ds = ta.explain(model, x, ta.Saliency(), target=ta.targets.Predicted(), outputs=outputs)
    np.testing.assert_array_equal(ds.predicted.values, np.array([none, outputs["class"][-1]], ds.predicted.dtype))
    assert ds.predicted.dtype.kind == ("f" if none is np.nan else np.asarray(labels).dtype.kind)
    ds.to_netcdf(tmp_path / "a.nc")
    xr.testing.assert_identical(xr.load_dataset(tmp_path / "a.nc").predicted, ds.predicted)


def test_not_converged(x):
    def jagged(rows):
        return torch.sin(200 * rows).sum((1, 2))

    method = ta.IntegratedGradients(rule="midpoint", max_steps=9)
    with pytest.warns(ta.ExplanationWarning, match="^not converged: sample p7, p3 "):
        ds = ta.explain(jagged, x, method)
    assert (ds.status == "not converged").all()
    assert (ds.steps == 9).all()
    assert np.isfinite(ds.attribution).all()


# ---- a constant that never occurs


def long(values=None, leads=2):
    rng = np.random.default_rng(0)
    values = rng.uniform(1, 2, size=(3, leads, 20)) if values is None else values
    return xr.DataArray(values, dims=("sample", "lead", "time"), coords={"lead": LEADS[:leads]})


@pytest.mark.parametrize(
    ("constant", "named"),
    [
        (0.0, ["I", "II"]),
        ({"I": 1.5, "II": 5.0}, ["II"]),
        ({"I": 1.5, "II": 1.5}, []),
        (xr.DataArray([9.0, 9.0, 9.0], dims="sample"), ["I", "II"]),
        (xr.DataArray([1.5, 1.5, 1.5], dims="sample"), []),
    ],
)
def test_a_constant_outside_a_channels_range_warns(constant, named, recwarn):
    method = ta.Occlusion(ta.groups.Along("lead"), ta.baselines.Constant(constant))
    ta.explain(lambda r: r.sum((1, 2)), long(), method)
    texts = [str(w.message) for w in recwarn.list]
    assert len(texts) == bool(named)
    if named:
        assert "lies outside the observed range of x: " in texts[0]
        assert "Give a constant inside the range, or Mean(), Samples.fit(train)" in texts[0]
        assert [n for n in LEADS if f" {n} [1.0" in texts[0] or f" {n} [1," in texts[0]] == named
        assert recwarn.list[0].filename == __file__


def test_constants_of_a_method_inside_are_looked_at_once_each():
    x, far = long(), ta.baselines.Constant(99.0)
    inside = ta.Occlusion(ta.groups.Along("lead"), far)
    for baseline, named in ((ta.baselines.Mean(), ["99"]), (far, ["99"]), (ta.baselines.Constant(98.0), ["98", "99"])):
        method = ta.TemporalRescaling(inside, ta.groups.Along("lead"), ta.groups.Along("lead"), baseline)
        with pytest.warns(ta.ExplanationWarning, match="lies outside the observed range") as found:
            ta.explain(lambda r: r.sum((1, 2)), x, method)
        assert [str(w.message).partition("value=")[2][:2] for w in found] == named


def test_the_range_may_come_from_a_reference(recwarn):
    method = ta.Occlusion(ta.groups.Along("lead"))
    model = ta.models.on_arrays(lambda r: r.sum((1, 2)))
    ta.explain(model, long(), method, reference=long() - 2)
    assert not recwarn.list
    with pytest.warns(ta.ExplanationWarning, match=r"I \[3\.0.*II \[3\.0"):
        ta.explain(model, long() - 2, method, reference=long() + 2)


def test_the_reference_is_matched_by_label_whatever_its_order(recwarn):
    x = long()
    train = x.where(x.lead == "I", x + 10)  # II runs from 11 to 12
    method = ta.Occlusion(ta.groups.Along("lead"), ta.baselines.Constant({"I": 1.5, "II": 11.5}))
    ta.explain(lambda r: r.sum((1, 2)), train, method, reference=train[:, ::-1].transpose("time", "lead", "sample"))
    assert not recwarn.list


def test_a_short_input_or_an_event_of_zeros_says_little_of_a_range(recwarn):
    ta.explain(lambda r: r.sum((1, 2)), long()[:1, :, :5], ta.IntegratedGradients())
    ta.explain(lambda r: r.sum((1, 2)), long(np.zeros((3, 2, 20))), ta.IntegratedGradients())
    assert not recwarn.list


def test_the_predicted_class_is_named_where_the_target_depends_on_it():
    x, outputs = np.array([[1.0, 0.0], [0.0, 1.0]]), {"class": ["N", "V"]}
    ds = ta.explain(lambda r: r * 2, x, ta.Saliency(), outputs=outputs)
    assert ds.predicted.values.tolist() == ["N", "V"]
    assert ds.predicted.dims == ("sample",)
    assert ta.explain(lambda r: r * 2, x, ta.Saliency()).predicted.values.tolist() == [0, 1]
    assert "predicted" not in ta.explain(lambda r: r * 2, x, ta.Saliency(), target="V", outputs=outputs)


def test_outputs_like_a_truth_give_their_labels_and_units():
    x = xr.DataArray(np.ones((2, 3)), dims=("time", "cell"))
    truth = xr.DataArray(
        np.zeros((2, 3)), dims=("time", "lat"), coords={"lat": [0.0, 10.0, 20.0]}, attrs={"units": "degC"}
    )
    common = {"outputs": truth, "sample_dim": "time"}
    north = ta.targets.Region(lat=(10, 20))
    steps = ta.targets.Difference(ta.targets.Output(lat=20.0), ta.targets.Output(0))
    for target in (north, steps, {"north": north}, [ta.targets.Output(lat=10.0), north]):
        ds = ta.explain(lambda x: 2 * x, x, ta.IntegratedGradients(), target=target, **common)
        assert {ds[k].attrs["units"] for k in ("attribution", "prediction", "completeness_gap")} == {"degC"}
    ds = ta.explain(lambda x: 2 * x, x, ta.Saliency(), target=north, **common)
    assert "units" not in ds.attribution.attrs  # degC per unit of x
    assert ds.prediction.attrs["units"] == "degC"
    ds = ta.explain(
        lambda x: 2 * x,
        x,
        ta.Occlusion(ta.groups.Cells()),
        target=ta.targets.Margin("10"),
        outputs={"lat": ["0", "10", "20"]},
        sample_dim="time",
    )
    assert "units" not in ds.prediction.attrs


def test_named_targets_are_defined_in_the_result(x):
    aims = {"first": ta.targets.Output(0), "less": ta.targets.Difference(0, 1)}
    ds = ta.explain(linear, x, ta.Saliency(), target=aims)
    assert ds.attrs["target"] == "first, less"
    assert ds.attrs["target_definition"] == "; ".join(f"{name}: {aim!r}" for name, aim in aims.items())
    assert "target_definition" not in ta.explain(linear, x, ta.Saliency(), target=[0, 1]).attrs
