"""The report is read as a browser and as a reader would: structure, escaping, and what its sentences claim."""

import itertools
import re
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr

import tsattr as ta
from tsattr.ecg import LEADS
from tsattr.edge.table import STATUS
from tsattr.report import at_baseline, report, words
from tsattr.report.pictures import one_picture

from .conftest import coupling_net

EVIL = '<script>alert("x")</script>'
VOID = {"meta", "img", "br", "hr", "link", "input"}


class Page(HTMLParser):
    """What a page holds: tags with their attributes, text by heading, and whether tags close in order."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.open, self.text = [], [], ""
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.text += data

    def all(self, name):
        return [attrs for tag, attrs in self.tags if tag == name]

    def alts(self):
        return [attrs["alt"] for attrs in self.all("img")]


def ecg_input(n=2, leads=LEADS, seconds=2.0):
    rng = np.random.default_rng(0)
    time = np.arange(round(100 * seconds)) / 100
    coords = {"sample": [f"rec{i}" for i in range(n)], "lead": list(leads), "time": ("time", time, {"units": "s"})}
    return xr.DataArray(
        rng.normal(0, 0.2, (n, len(leads), len(time))), coords, ("sample", "lead", "time"), attrs={"units": "mV"}
    )


def explained(x, error=0.001, **attrs):
    """A complete result in which all attribution lies on the second entry of the second dim, off by `error`."""
    a = (x * 0).astype(float)
    a[:, 1] = 1.0
    total = a.sum([d for d in a.dims if d != "sample"])
    ds = xr.Dataset({"attribution": a, "prediction": total + 1, "reference": xr.ones_like(total)})
    ds["completeness_error"] = xr.full_like(total, error)
    ds["completeness_gap"] = error * total
    ds["steps"] = xr.full_like(total, 27, dtype=int)
    ds["status"] = xr.full_like(total, "ok", dtype=object)
    attrs = {
        "method": "IntegratedGradients(baseline=Constant(0.0))",
        "baseline": "Constant(0.0)",
        "target": "yes",
    } | attrs
    return ds.assign_attrs(attrs)


@pytest.fixture(scope="module")
def full():
    """A report with everything in it, and everything that a user may name named badly."""
    x = ecg_input()
    x = x.assign_coords(lead=[EVIL, *LEADS[1:]], sample=[EVIL, "b&b"])
    ds = explained(x, error=0.2, model=EVIL, target=EVIL, method=f"IntegratedGradients({EVIL})", note=f'"{EVIL}')
    ds["status"][0] = EVIL
    maps = xr.concat([ds.attribution, 2 * ds.attribution + x], "method").assign_coords(method=[EVIL, "b"])
    scores = xr.Dataset({EVIL: ("method", [0.2, 0.3])}, {"method": [EVIL, "b"]})
    return report(ds, x, title=EVIL, scores=scores, truth=x > 0.3, comparisons=maps, notes=[EVIL])


def text(*args, **kwargs):
    return Page(report(*args, **kwargs)).text


# --------------------------------------------------------------------------------------------------------- the page


def test_nothing_is_loaded_from_elsewhere(full):
    page = Page(full)
    assert {tag for tag, _ in page.tags}.isdisjoint({"script", "link", "iframe", "object", "embed", "base", "video"})
    for tag, attrs in page.tags:
        for name, value in attrs.items():
            assert not name.startswith("on"), (tag, name)
            if name in ("src", "href", "srcset", "poster", "data", "action"):
                assert value.startswith("data:image/png;base64,")
    assert not re.search(r"https?:|//[a-z]|@import|url\(", re.sub(r'src="data:[^"]*"', "", full))
    (policy,) = [attrs["content"] for attrs in page.all("meta") if "http-equiv" in attrs]
    assert "default-src 'none'" in policy


def test_user_text_is_escaped_everywhere(full):
    assert "<script" not in full
    assert full.count("&lt;script&gt;alert(&quot;x&quot;)&lt;/script&gt;") >= 10
    assert "b&amp;b" in full


def test_structure(full):
    page = Page(full)
    assert page.open == []
    tags = [tag for tag, _ in page.tags]
    assert tags.count("h1") == tags.count("main") == tags.count("title") == 1
    levels = [int(tag[1]) for tag in tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert all(b - a <= 1 for a, b in itertools.pairwise(levels))
    assert page.all("html")[0]["lang"] == "en"
    assert any(attrs.get("name") == "viewport" for attrs in page.all("meta"))
    assert "@media print" in full
    headings = re.findall("<h2>(.*?)</h2>", full)
    assert headings == [
        "What was asked",
        "The result in one picture",
        "Where the attribution lies",
        "Other methods and baselines",
        "Checks",
        "Against known truth",
        "What can and cannot be concluded",
        "Settings and versions",
    ]


def test_every_image_is_described(full):
    alts = Page(full).alts()
    assert len(alts) >= 6
    assert all(len(alt) > 30 for alt in alts)


# ------------------------------------------------------------------------------------------------- the right picture


def test_picture_follows_the_dims():
    x = ecg_input(1, ("I", "V1"))
    assert "ECG paper" in Page(report(explained(x), x)).alts()[0]
    pressure = x.assign_attrs(units="mmHg")
    assert "signal over time" in Page(report(explained(pressure), pressure)).alts()[0]
    field = xr.DataArray(np.ones((1, 4, 5)), dims=("sample", "lat", "lon"))
    assert "as a map" in Page(report(explained(field), field)).alts()[0]
    table = xr.DataArray([[63.0, 1.5]], dims=("sample", "feature"), coords={"feature": ["age", "dose"]})
    page = Page(report(explained(table), table))
    assert "Each entry with its value" in page.alts()[0]
    assert "The largest attribution is 1, at feature dose = 1.5." in page.alts()[0]


def test_a_long_record_is_drawn_where_the_attribution_is():
    x = ecg_input(1, ("I",), 40.0)
    ds = explained(ecg_input(1, ("I", "II"), 40.0)).isel(lead=[0])
    ds["attribution"][0, 0, 2500:2600] = 1.0
    found = re.search(r"the 10 seconds with the most attribution \(from (\d+) s\)", report(ds, x))
    assert 16 <= int(found[1]) <= 25


def test_inputs_of_other_kinds():
    frame = pd.DataFrame({"age": [63, 50], "sex": ["f", None]})
    a = xr.DataArray([[1.0, -3.0], [0.5, 0.0]], dims=("sample", "feature"), coords={"feature": ["age", "sex"]})
    ds = xr.Dataset({"attribution": a, "prediction": ("sample", [1.0, 2.0])})
    assert "The largest attribution is −3, at feature sex = f." in Page(report(ds, frame)).alts()[0]
    assert "sex = missing" in Page(report(ds, frame.assign(sex=[None, "m"]))).alts()[0]
    signal = xr.DataArray(np.eye(2, 30), dims=("sample", "time"))
    assert "signal over time" in report(xr.Dataset({"attribution": signal}), signal.values)
    with pytest.raises(ValueError, match=r"x has shape \(2, 29\) and its attribution \(2, 30\)"):
        report(xr.Dataset({"attribution": signal}), signal.values[:, 1:])
    with pytest.raises(ValueError, match="x has dims"):
        report(xr.Dataset({"attribution": signal}), signal.rename(time="lag"))


def test_several_inputs_targets_and_sample_dims():
    x = xr.Dataset({"wave": ecg_input(2, ("I",)), "age": ("sample", [50.0, 60.0])})
    parts = {"attribution_wave": x.wave * 0 + 1.0, "attribution_age": x.age * 0 + 2.0}
    several = xr.Dataset({**parts, "prediction": ("sample", [1.0, 2.0])})
    wave, age = Page(report(several, x, samples=["rec1"])).alts()[:2]
    assert "Attribution of wave sample rec1" in wave
    assert "The largest attribution is 2, at column age = 60." in age
    two = explained(ecg_input(2, ("I", "V1")))
    two = xr.concat([two, two], "target", data_vars="all").assign_coords(target=["N", "V"])
    two["status"], two["steps"] = two.status[0], two.steps[0]
    two.attrs = {}
    html = report(two, ecg_input(2, ("I", "V1")), samples=[0])
    assert "Sample rec0, target N" in html
    assert "Sample rec0, target V" in html
    other = explained(ecg_input(2, ("I", "V1"))).rename(sample="patient")
    assert "Sample rec1" in report(other, ecg_input(2, ("I", "V1")).rename(sample="patient"))


def test_lags_and_methods_are_reduced():
    x = ecg_input(1, ("I", "V1"))
    ds = explained(x)
    lagged = ds.assign(attribution=xr.concat([ds.attribution, 3 * ds.attribution], "lag"))
    assert "The largest attribution is 2, at lead V1" in report(lagged, x)
    both = ds.assign(
        attribution=xr.concat([ds.attribution, ds.attribution + x], "method").assign_coords(method=["a", "b"])
    )
    assert "Other methods and baselines" in report(both, x)


# ----------------------------------------------------------------------------------------------- what sentences claim


@pytest.mark.parametrize("aggregate", [None, "sum"])
def test_a_page_along_time_says_what_the_model_said_and_which_way_it_moved(aggregate):
    """A sum over the past of two series, of which the second counts against: known risk, known directions."""
    values = np.array([[[1.0, 2.0, 3.0, 4.0], [1.0, np.nan, 2.0, np.nan]]])
    coords = {
        "feature": ["HR", "K"],
        "units": ("feature", ["1/min", "mmol/L"]),
        "time": ("time", np.arange(4.0), {"units": "h"}),
    }
    x = xr.DataArray(values, coords, ("sample", "feature", "time"))
    f = lambda x: (x[:, 0] - x[:, 1].nan_to_num()).cumsum(1)  # noqa: E731
    ds = ta.explain(f, x, ta.WinIT(2, draws=1, aggregate=aggregate), outputs=("time",))
    html = report(ds, x)
    page = Page(html)
    assert "The probability that the model gives is 0.5 at time 0 h, 0.999 at time 3 h, and at most 0.999" in page.text
    assert "Orange: the observation raised what the model says, blue: lowered it" in page.text
    rows = [re.findall(r"<td[^>]*>(.*?)</td>", row) for row in re.findall(r"<tr>(.*?)</tr>", html)]
    found = {row[1]: (row[2], row[4]) for row in rows if len(row) == 5}
    assert found["feature K, time 2 h"] == ("2 mmol/L", "lowered it")
    assert found["feature HR, time 1 h"] == ("2 1/min", "raised it")


def test_a_history_keeps_its_lags():
    x = xr.DataArray(np.ones((2, 3, 4, 5)), dims=("sample", "lag", "lat", "lon"))
    for given in (x, x.values):
        page = Page(report(explained(x), given))
        assert "3 lag × 4 lat × 5 lon" in page.text
        assert "Attribution as a map" in " ".join(page.alts())
        assert "those with the most" not in page.text
    long = xr.DataArray(np.ones((1, 9, 4, 5)), dims=x.dims)
    assert "Of 9 maps those with the most absolute attribution, 6 at most." in Page(report(explained(long), long)).text


def test_completeness_is_judged():
    x = ecg_input(2, ("I", "V1"))
    assert "The maps add up: for all of 2 samples" in text(explained(x, 0.002), x)
    assert "add up roughly for all of 2" in text(explained(x, 0.03), x)
    bad = report(explained(x, 0.3), x)
    assert "do not add up to prediction − reference: 2 of 2" in Page(bad).text
    assert 'class="bad"' in bad
    assert "does not promise that its map adds up" in text(explained(x)[["attribution", "prediction"]], x)
    unknown = explained(x, np.nan)
    assert "could not be compared" in text(unknown, x)


def test_status_is_told_by_name():
    x = ecg_input(3, ("I", "V1"))
    ds = explained(x)
    assert "without trouble" in text(ds, x)
    ds["status"][1] = "non-finite output"
    ds["attribution"][1] = np.nan
    told = text(ds, x)
    assert "Sample rec1: made the model answer with NaN" in told
    assert "other than “ok”: 1 of 3" in told
    assert "There is no attribution." in Page(report(ds, x)).alts()[1]


def test_shares_of_leads_and_of_the_truth_are_right():
    x = ecg_input(2, ("I", "V1"))
    truth = xr.zeros_like(x, dtype=bool)
    truth[:, 1, :50] = True  # a quarter of one lead, an eighth of all
    told = text(explained(x), x, truth=truth)
    assert "The lead with the most absolute attribution is V1: 100 % of the whole" in told
    assert "spread would give 50 %" in told
    even = explained(x).assign(attribution=xr.ones_like(x))
    assert "equally large on every lead" in text(even, x)
    assert "25 % of the absolute attribution lies in the known region, which holds 12 % of the cells" in told


def test_waves_and_groups_get_bars():
    x = ecg_input(2, ("I", "V1"))
    wave = xr.DataArray(np.repeat([0, 2], 100), dims="time", attrs={"flag_meanings": "none P QRS"})
    alts = Page(report(explained(x), x, waves=wave)).alts()
    assert any("Sums per wave" in alt for alt in alts)
    assert any("Sums per wave" in alt for alt in Page(report(explained(x), x.assign_coords(wave=wave))).alts())
    grouped = (
        explained(x)
        .assign(group_value=(("sample", "group"), [[1.0, -4.0], [1.0, -2.0]]))
        .assign_coords(group=["p", "q"])
    )
    assert any("The largest is group q with −3." in alt for alt in Page(report(grouped, x)).alts())


@pytest.fixture
def unsure():
    """Two records, three models of which disagree about lead V1 alone, and a result for that."""
    x = ecg_input(2, seconds=0.2)
    models = ta.models.Ensemble([lambda x, k=k: x[:, 0].sum(1) + k * x[:, 6].square().sum(1) for k in (1.0, 2.0, 6.0)])
    kinds = {"in all": ta.targets.Uncertainty("variance"), "half": ta.targets.Uncertainty("variance", lambda y: y / 2)}
    return x, models, ta.explain(models, x, ta.IntegratedGradients(steps=8), target=kinds)


def test_what_makes_the_model_unsure(unsure):
    x, _, ds = unsure
    page = Page(report(ds.isel(target=0), x, unsure=ds))
    assert "What makes the model unsure" in page.text
    assert "3 members are asked together." in page.text
    assert "the variance of the prediction in all" in page.text
    assert page.text.count("V1 (100 %)") == 2
    spread = np.var([1.0, 2.0, 6.0]) * (x.sel(lead="V1") ** 2).sum("time") ** 2
    name, value = str(spread.idxmax().item()), float(spread.max())
    assert f"Sample {name}, of which it is least sure (in all {value:.3g})" in page.text
    assert "Orange makes the model less sure, blue surer" in page.text
    assert any(alt.startswith(f"What makes the model unsure of sample {name}.") for alt in page.alts())
    assert "What makes the model unsure" not in text(ds.isel(target=0), x)


def test_what_makes_the_model_unsure_of_samples_of_its_own(unsure):
    x, models, ds = unsure
    other = x.isel(sample=[0]).assign_coords(sample=["noisy"]) + 1
    one = ta.explain(models, other, ta.Occlusion(ta.groups.Along("lead")), target=ta.targets.Uncertainty("variance"))
    page = text(ds.isel(target=0), x, unsure=one.assign(input=other))
    assert "Sample noisy, of which it is least sure (variance" in page
    table = pd.DataFrame({"a": [1.0, 2.0], "b": [3.0, 1.0]})
    both = ta.models.Ensemble([ta.models.on_arrays(lambda x, k=k: x @ np.array([1.0, k])) for k in (1.0, 3.0)])
    of_b = ta.Occlusion(ta.groups.Cells(), ta.baselines.Constant(1.5))
    one = ta.explain(both, table, of_b, target=ta.targets.Uncertainty("variance"))
    assert "b (100 %)" in text(one, table, unsure=one)


def test_what_makes_the_model_unsure_is_of_uncertainty_of_one_input_and_of_members(unsure):
    x, models, ds = unsure
    with pytest.raises(
        ValueError, match=r"unsure is a result of explain for a target .*Uncertainty\(...\), got one for 1"
    ):
        report(ds, x, unsure=ds.assign_attrs(target="1", target_definition="1"))
    both = xr.Dataset({"ecg": x, "age": x.mean(("lead", "time"))})
    of_both = ta.models.Ensemble([lambda ecg, age, m=m: m(ecg) + age for m in models.members])
    ds = ta.explain(of_both, both, ta.InputXGradient(), target=ta.targets.Uncertainty("variance"))
    assert "Shown is the input ecg; what comes of age is not in these sums." in text(ds, both, unsure=ds)
    ds = ta.explain(models, x, ta.SmoothGrad(draws=2), target=ta.targets.Uncertainty("variance"), seed=[0, 1])
    assert "members are asked together" not in text(ds, x, unsure=ds)


def test_pictures_are_of_the_samples_that_were_explained():
    x = ecg_input(3, seconds=0.2)
    ds = ta.explain(lambda x: x.sum((1, 2)), x, ta.InputXGradient())
    picture = lambda ds, x, at: Page(report(ds, x, samples=[at])).all("img")[0]["src"]  # noqa: E731
    assert picture(ds, x[::-1], 1) == picture(ds, x, 1)
    assert picture(ds.isel(sample=[2]), x, 0) == picture(ds, x, 2) != picture(ds, x, 0)
    with pytest.raises(ValueError, match=r"x lacks the samples \['q'\]; give that of the samples that were explained"):
        report(ds.isel(sample=[0]).assign_coords(sample=["q"]), x.assign_coords(sample=["a", "b", "c"]))
    one = picture(ds.isel(sample=[1]), x[[1]], 0)
    for given in (x[1], x[[1]], *([x] if "sample" in x.coords else [])):
        assert picture(ds.isel(sample=1), given, 0) == one


def test_one_sample_of_a_table_and_of_an_array():
    frame = pd.DataFrame({"age": [63.0, 41.0], "dose": [1.0, 2.0]}, index=["a", "b"])
    ds = ta.explain(lambda x: x.sum(1), xr.DataArray(frame.values, dims=("sample", "feature")), ta.InputXGradient())
    named = ds.assign_coords(sample=["a", "b"], feature=["age", "dose"])
    for given in (frame, frame.loc["b"], frame.loc[["b"]]):
        assert "age = 41" in report(named.isel(sample=1), given)
    assert "= 41" in report(ds.isel(sample=1), frame.values[1])


@pytest.mark.parametrize(
    ("dims", "names", "units"),
    [
        (("sample", "lead", "time"), None, ""),
        (("sample", "channel", "step"), ["I", "II", "V1", "V2"], ""),
        (("sample", "time", "feature"), ["HR", "SysABP", "GCS", "x"], ""),
        (("sample", "row", "column"), None, "mmHg"),
    ],
)
def test_reports_of_patients_are_no_medical_device_whatever_the_dims_are_called(dims, names, units):
    x = xr.DataArray(np.ones((1, 4, 4)), dims=dims, attrs={"units": units} if units else {})
    where = next((d for d in dims if d in ("channel", "feature")), None)
    x = x if names is None else x.assign_coords({where: names})
    ds = ta.explain(lambda x: x.sum((1, 2)), x, ta.InputXGradient())
    assert "not a medical device" in report(ds, x)


def test_reports_of_anything_else_are_not_called_clinical():
    x = xr.DataArray(np.ones((1, 4, 4)), dims=("sample", "lat", "lon"), attrs={"units": "K"})
    ds = ta.explain(lambda x: x.sum((1, 2)), x, ta.InputXGradient())
    assert "medical device" not in report(ds, x)


def test_the_target_of_uncertainty_has_its_own_words():
    x = ecg_input(1)
    page = text(explained(x, target="Uncertainty('entropy')"), x)
    assert "how unsure the model is" in page
    assert "Orange makes the model less sure" in page
    assert "speaks for the target" not in page


def test_agreement_is_counted():
    x = ecg_input(2, ("I", "V1"))
    same = xr.concat([x, 2 * x, 3 * x], "baseline").assign_coords(baseline=["zero", "mean", "blur"])
    assert "Mean rank agreement over all samples and pairs is 1: the maps rank the cells alike" in text(
        explained(x), x, comparisons=same
    )
    opposed = xr.concat([x, -x], "method").assign_coords(method=["a", "b"])
    assert "is −1: the maps disagree" in text(explained(x), x, comparisons=opposed)
    with pytest.raises(ValueError, match="need a dim 'method' or 'baseline'"):
        report(explained(x), x, comparisons=x)


def test_scores_are_ranked_beside_chance():
    x = ecg_input(1, ("I", "V1"))
    table = xr.Dataset(
        {"auprc": (("method", "sample"), [[0.2], [0.7]]), "auprc_chance": ("sample", [0.1])},
        {"method": ["weak", "strong"]},
    )
    html = report(explained(x), x, scores=table)
    assert "strong does best: auprc 0.7, where chance is 0.1." in Page(html).text
    assert re.findall(r"<tr><td>(\w+)</td><td class=\"number\">([\d.]+)</td></tr>", html)[:3] == [
        ("strong", "0.7"),
        ("weak", "0.2"),
        ("chance", "0.1"),
    ]
    evaluated = xr.Dataset({"deletion": ("sample", [0.25, 0.75])})
    assert "Scores of this result" in report(explained(x), x, scores=evaluated)


@pytest.mark.parametrize(
    ("method", "baseline", "claim"),
    [
        ("IntegratedGradients(baseline=Constant(0.0))", "Constant(0.0)", "cells that already equal it get nothing"),
        ("IntegratedGradients(...)", "Samples(n=20)", "differs from typical ones"),
        ("Occlusion(groups=Windows(time='200ms'))", "Blur(time='50ms')", "whole effect of the group"),
        ("tsattr.Saliency()", "", "A slope tells where a small change would matter"),
    ],
)
def test_notes_fit_method_and_baseline(method, baseline, claim):
    x = ecg_input(1, ("I", "V1"))
    told = text(explained(x, method=method, baseline=baseline), x)
    assert claim in told
    assert ("depends on the baseline" in told) == bool(baseline)


def test_both_distances_of_a_projection_are_told():
    x = ecg_input(3, ("I", "II", "V1"), 0.2)
    net = coupling_net((3, 20))
    projection = ta.baselines.Projection.fit(net, x, a=0, b=1)
    ds = ta.explain(net, x, ta.IntegratedGradients(projection), target=ta.targets.Margin(0, 1))
    text = Page(report(ds, x)).text
    near, far = projection.feature_distance.values, projection.distance.values
    assert (
        f"feature distance {near.min():.3g} to {near.max():.3g}, input distance {far.min():.3g} to {far.max():.3g}"
        in text
    )
    assert "the input distance beside the feature distance says how far it lies" in text


def test_notes_fit_the_field():
    x = ecg_input(1)
    assert "III = II − I" in text(explained(x), x)
    assert "not a medical device" in text(explained(x), x)
    chest = ecg_input(1, ("V1", "V2"))
    assert "III = II − I" not in text(explained(chest), chest)
    field = xr.DataArray(np.ones((1, 4, 5)), dims=("sample", "lat", "lon"))
    assert "medical" not in text(explained(field), field)
    drawn = explained(x).assign(standard_error=explained(x).attribution * 0.1)
    assert "standard error of 10 % of their value" in text(drawn, x)


def test_settings_are_all_there():
    x = ecg_input(1, ("I", "V1"))
    told = text(explained(x, seed=7, version_torch="2.13"), x.assign_attrs(record="s0010"), notes="Read with care.")
    for said in ("Constant(0.0)", "seed", "version_torch", "2.13", "s0010", "Read with care."):
        assert said in told


# ----------------------------------------------------------------------------------------------------------- writing


def test_the_file_is_the_page(tmp_path):
    x = ecg_input(1, ("I", "V1"))
    html = report(explained(x), x, out=tmp_path / "report.html")
    assert (tmp_path / "report.html").read_text(encoding="utf-8") == html
    assert [p.name for p in tmp_path.iterdir()] == ["report.html"]


def test_where_it_cannot_be_written(tmp_path):
    x = ecg_input(1, ("I", "V1"))
    (tmp_path / "file").write_text("kept")
    for out in (tmp_path / "none" / "r.html", tmp_path / "file" / "r.html"):
        with pytest.raises(ValueError, match=str(out.parent.name)):
            report(explained(x), x, out=out)
    assert [p.name for p in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_text() == "kept"


def test_wrong_arguments():
    x = ecg_input(2, ("I", "V1"))
    with pytest.raises(TypeError, match=r"xarray\.Dataset that explain returns, got DataArray"):
        report(x, x)
    with pytest.raises(ValueError, match="no attribution; its variables are"):
        report(explained(x)[["prediction"]], x)
    with pytest.raises(
        ValueError, match=r"samples \['rec9'\] are not in the result, whose samples are \['rec0', 'rec1'\]"
    ):
        report(explained(x), x, samples=["rec9"])


def test_every_status_is_explained():
    said = words.status_sentences({state: ["p1"] for state in STATUS.tolist()})
    assert len(said) == len(STATUS) - 1
    for state, sentence in zip(STATUS[1:], said):
        assert sentence.endswith(f"(status “{state}”).")
        assert not sentence.startswith(f"Sample p1: {state}")  # the status alone is no explanation


def test_what_acts_together():
    x = xr.DataArray(
        [[2.0, 3.0, 1.0], [1.0, 2.0, 5.0]], dims=("sample", "feature"), coords={"feature": ["age", "lactate", "dose"]}
    )
    ds = ta.explain(lambda x: x[:, 0] * x[:, 1] + x[:, 2], x, ta.ShapleyInteractions(ta.groups.Along("feature")))
    text = report(ds, x)
    assert "What acts together" in text
    assert "The largest (mean over 2 samples) is age with lactate: 4" in text
    assert "Pairs make 57 % of all" in text  # 6 + 2 of 14
    one = report(ds.isel(sample=[0]), x.isel(sample=[0]))
    assert "The largest (this sample) is age with lactate: 6" in one
    plain = ta.explain(lambda x: x.sum(1), x, ta.Occlusion(ta.groups.Along("feature")))
    assert "What acts together" not in report(plain, x)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_pairs_of_rounding_are_no_pairs(dtype):
    x = xr.DataArray(np.array([[0.1, 0.7, 0.2], [0.3, 1.1, 0.9]], dtype), dims=("sample", "feature"))
    method = ta.ShapleyInteractions(ta.groups.Along("feature"), ta.baselines.Constant(0.3))
    text = report(ta.explain(lambda x: (x / 3).sum(1), x, method), x)
    assert "No two groups act together: each contributes by itself, whatever the others do." in text
    assert "The largest pairs" not in text


def test_pairs_are_ranked_by_size_and_not_by_a_mean_in_which_signs_cancel():
    x = xr.DataArray(
        [[2.0, 3.0, 1.0], [-2.0, 3.0, 1.0]], dims=("sample", "feature"), coords={"feature": ["age", "lactate", "dose"]}
    )
    method = ta.ShapleyInteractions(ta.groups.Along("feature"))
    text = report(ta.explain(lambda x: x[:, 0] * x[:, 1] + 0.5 * x[:, 1] * x[:, 2], x, method), x)
    assert "The largest (mean over 2 samples) is age with lactate: 0, 6 by size" in text
    assert "1.5" in text


def test_parts_of_a_signal_are_drawn_over_time():
    x = xr.DataArray(
        np.random.default_rng(0).normal(size=(1, 2, 100)).cumsum(-1),
        dims=("sample", "lead", "time"),
        coords={"lead": ["II", "V1"], "time": np.arange(100) / 50},
    )
    parts = ta.parts.bands(x, [(0.5, 5)])
    ds = ta.explain(ta.models.summed(lambda x: x[:, 1].square().sum(1)), parts, ta.IntegratedGradients(steps=4))
    figure, caption = one_picture(ds.attribution[0], parts[0], None)
    assert "The parts of lead V1, which has the most attribution, over time" in caption
    assert [ax.get_ylabel() for ax in figure.axes[:2]] == ["0.5-5 Hz", "rest"]
    whole = ta.explain(ta.models.summed(lambda x: x[:, 1].sum(1)), parts, ta.Occlusion(ta.groups.Along("part")))
    _, caption = one_picture(whole.attribution[0], parts[0], None)
    assert "The parts of lead II, which has as much attribution as 1 other, over time" in caption


def test_the_baseline_is_shown_and_what_the_model_calls_it():
    x = ecg_input(2, seconds=1.0)

    def model(x):
        strength = x.abs().sum((1, 2))
        return torch.stack([10 - strength, strength], 1)

    names = {"class": ["NORM", "MI"]}
    found = at_baseline(model, x, ta.baselines.Constant(0.0), outputs=names)
    assert float(abs(found.baseline).max()) == 0
    np.testing.assert_allclose(found.model_output, model(torch.tensor(x.values)), rtol=1e-6)
    np.testing.assert_allclose(found.baseline_output, [[10, 0]] * 2)
    ds = ta.explain(model, x, ta.IntegratedGradients(steps=4), outputs=names)
    page = report(ds, x, at_baseline=found)
    assert "<h2" in page
    assert "What stands for absence" in Page(page).text
    said = re.findall(r"Sample \w+: (the baseline is called[^<]*)", page)
    assert len(said) == 2
    assert all(text.startswith("the baseline is called NORM at 10, the record at ") for text in said)
    assert sum("what stands for absence, Constant" in alt for alt in Page(page).alts()) == 2
    one = report(ds.isel(sample=1), x.isel(sample=1), at_baseline=found.isel(sample=1))
    assert one.count("the baseline is called NORM") == 1
    weaker = at_baseline(model, x, ta.baselines.Constant(0.0), outputs=names).assign(
        model_output=found.model_output + 1e6
    )
    assert "is called NORM at 10, the record has" in report(ds, x, at_baseline=weaker)
    assert "What stands for absence" not in report(ds, x)
