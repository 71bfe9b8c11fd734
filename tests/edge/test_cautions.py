"""Cautions of an input and its reference: another unit than the model was trained on."""

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr

import tsattr as ta


def records(n, seed, factor=1.0, **attrs):
    rng = np.random.default_rng(seed)
    values = factor * rng.normal(size=(n, 2, 40)) * np.array([1.0, 0.1])[:, None]
    return xr.DataArray(values, dims=("sample", "lead", "time"), coords={"lead": ["I", "V1"]}, attrs=attrs)


def mean(x):
    return x.mean((1, 2))


@pytest.mark.parametrize("method", [ta.Saliency(), ta.IntegratedGradients(), ta.Occlusion(ta.groups.Along("lead"))])
@pytest.mark.parametrize("factor", [1e3, 1e-3])
def test_a_record_in_another_unit_than_the_reference_is_told(method, factor):
    with pytest.warns(ta.ExplanationWarning, match="x varies .* times as much as the reference"):
        ds = ta.explain(mean, records(3, 0, factor), method, reference=records(30, 1))
    said = ds.attrs["reference_doubt"]
    assert float(said.split()[2]) == pytest.approx(factor, rel=0.1)
    assert "give it the same unit" in said


@pytest.mark.parametrize("factor", [1.0, 0.05, 20.0])
def test_another_patient_is_no_other_unit(factor):
    ds = ta.explain(mean, records(3, 0, factor), ta.Saliency(), reference=records(30, 1))
    assert "reference_doubt" not in ds.attrs


def test_units_that_differ_are_told_and_those_spelled_otherwise_are_not():
    with pytest.warns(ta.ExplanationWarning, match="Its units are 'uV', and those of the reference 'mV'"):
        ta.explain(mean, records(3, 0, units="uV"), ta.Saliency(), reference=records(30, 1, units="mV"))
    ta.explain(mean, records(3, 0, units="MV"), ta.Saliency(), reference=records(30, 1, units="mV"))


def test_of_several_inputs_the_one_is_named():
    def both(ecg, age):
        return ecg.mean((1, 2)) + age.mean(1)

    age = xr.DataArray(np.random.default_rng(0).normal(50, 9, (40, 1)), dims=("sample", "feature"))
    x, train = (xr.Dataset({"ecg": e, "age": age[: len(e)]}) for e in (records(35, 0, 1e3), records(40, 1)))
    with pytest.warns(ta.ExplanationWarning, match="^ecg varies [^;]*$"):
        ta.explain(both, x, ta.Saliency(), reference=train)


def test_one_channel_of_many_is_no_other_unit_and_categories_have_none():
    rng = np.random.default_rng(0)
    table = pd.DataFrame(
        {"a": rng.normal(size=60), "b": rng.normal(size=60), "sex": ["m", "f"] * 30, "c": rng.normal(size=60)}
    )
    odd = table.assign(a=1e4 * table.a)
    model = ta.models.on_frames(lambda f: (f.b + (f.sex == "m")).to_numpy())
    method = ta.Occlusion(ta.groups.Cells(), ta.baselines.Samples.fit(table))
    assert "reference_doubt" not in ta.explain(model, odd, method, reference=table).attrs
    with pytest.warns(ta.ExplanationWarning, match="x varies"):
        ta.explain(model, table.assign(a=1e4 * table.a, b=1e4 * table.b), method, reference=table)


def test_flat_and_short_inputs_have_no_scale():
    flat = records(3, 0) * 0
    assert "reference_doubt" not in ta.explain(mean, flat, ta.Saliency(), reference=records(30, 1)).attrs
    one = 1e4 + torch.rand(2, 3)
    assert (
        "reference_doubt" not in ta.explain(lambda x: x.sum(1), one, ta.Saliency(), reference=torch.rand(40, 3)).attrs
    )


def test_compare_says_it_once_of_all_methods():
    with pytest.warns(ta.ExplanationWarning) as told:
        ta.compare(
            mean, records(6, 0, 1e3), {"a": ta.Saliency(), "b": ta.InputXGradient()}, metrics=["gap"], steps=2, resamples=10,
            reference=records(10, 1),
        )  # fmt: skip
    assert [str(w.message)[:8] for w in told] == ["x varies"]


def test_a_rehearsal_counts_what_the_call_asks_for():
    given = {"reference": records(30, 1)}
    for method in (ta.Saliency(), ta.Occlusion(ta.groups.Along("lead"))):
        cost = ta.explain(mean, records(3, 0), method, dry_run="rows", **given)
        assert ta.explain(mean, records(3, 0), method, **given).model_evaluations.sum() <= cost.attrs["rows"]
