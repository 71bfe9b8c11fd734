"""The section of a report on what was not measured: shares that are known, in words and in a table."""

import re

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import tsattr as ta
from tsattr.report import report

from .test_report import Page
from .test_table_report import table

b, g = ta.baselines, ta.groups
EACH = g.Along("feature")
TABLE = "What was not measured"
X = pd.DataFrame({"lab": [np.nan, 2.0, np.nan, 4.0], "age": [1.0, 1.0, 5.0, 3.0]}, index=["a", "b", "c", "d"])
NOTHING = b.Constant({"lab": 1.0, "age": 0.0})


@ta.models.on_frames
def not_ordered(df):
    return 3.0 * df["lab"].isna() + df["age"]


def section(page):
    """The section's text; None where there is none."""
    found = re.search(f"<section>\n<h2>{TABLE}</h2>.*?</section>", page, re.S)
    return found and re.sub(r"\s+", " ", Page(found[0]).text)


@pytest.mark.filterwarnings("ignore:the constant baseline")
def test_the_share_of_what_was_not_measured():
    ds = ta.explain(not_ordered, X, ta.Occlusion(EACH, NOTHING))
    page = report(ds, X, samples=["a", "b", "c"])
    said = section(page)  # 3 + 3 of 6 + 10, on two of eight values
    assert "38 % of the attribution, by size, comes from values that were not measured (25 % of all values)" in said
    assert "from lab. There the model goes by the fact that nothing was measured" in said
    assert [row[1:] for row in table(page, TABLE)[1:]] == [["50 %", "100 %", "3"]]
    assert "Sample a: 75 % of its attribution, from lab." in said
    assert "Sample c: 38 % of its attribution, from lab." in said
    assert "Sample b" not in said
    assert "38 % of the attribution" in Page(re.search('<section class="short".*?</section>', page, re.S)[0]).text
    cells = table(page, "The strongest cells")
    assert ["a", "feature lab", "missing", "3"] in cells


def test_where_absent_means_not_measured():
    model = ta.models.on_frames(lambda df: df["lab"].fillna(3.0) + df["age"].fillna(0.0))
    said = section(report(ta.explain(model, X, ta.Occlusion(EACH, b.Missing())), X))
    assert "25 % of the values were not measured, and none of the attribution comes from them." in said
    assert "Absent means not measured here" in said
    as_numbers = section(report(ta.explain(model, X, ta.Occlusion(EACH, b.Constant({"lab": 3.0, "age": 2.0}))), X))
    assert "none of the attribution comes from them." in as_numbers
    assert "Absent means" not in as_numbers


def test_there_is_no_such_section_where_there_is_nothing_to_say():
    whole = X.fillna(0.0)
    assert section(report(ta.explain(not_ordered, whole, ta.Occlusion(EACH, b.Samples.fit(X), 2)), whole)) is None
    apart = ta.explain(not_ordered, X, ta.Occlusion(EACH, b.Samples.fit(X), 2), missing="invalid")
    assert section(report(apart, X)) is None


def test_of_series_the_leads_are_told_apart_and_targets_are_the_first():
    values = np.ones((2, 3, 4))
    values[0, 1, 2:] = np.nan
    x = xr.DataArray(values, dims=("sample", "lead", "time"), coords={"lead": ["I", "II", "V1"]})
    counts = lambda x: np.stack([np.isnan(x).sum((1, 2)), np.nan_to_num(x).sum((1, 2))], 1).astype(float)  # noqa: E731
    method = ta.Occlusion(g.Cells(), b.Constant(1.0))
    ds = ta.explain(ta.models.on_arrays(counts), x, method, target=[0, 1], missing="value")
    page = report(ds, x)
    assert "100 % of the attribution, by size, comes from values that were not measured (8.3 % of all values)" in page
    assert table(page, TABLE)[1:] == [["II", "25 %", "100 %", "1"]]


@pytest.mark.filterwarnings("ignore:the constant baseline")
def test_of_several_inputs_all_count():
    x = xr.Dataset(
        {
            "labs": (("sample", "lab"), [[np.nan, 2.0]]),
            "age": (("sample", "item"), [[5.0, 1.0]]),
        },
        coords={"lab": ["lactate", "crp"], "item": ["age", "sex"]},
    )

    def model(labs, age):
        return labs.isnan().sum(1) + age[:, 0]

    ds = ta.explain(model, x, ta.Occlusion(g.Cells(), b.Constant(0.0)), missing="value")
    page = report(ds, x)
    assert "17 % of the attribution, by size, comes from values that were not measured (25 % of all values)" in page
    assert table(page, TABLE)[1:] == [["labs: lactate", "100 %", "100 %", "1"]]
    assert "Sample 0: 17 % of its attribution, from labs: lactate." in section(page)


def test_additive_models_say_it_too():
    rng = np.random.default_rng(0)
    x = pd.DataFrame({"lab": np.where(rng.random(300) < 0.5, np.nan, rng.random(300)), "age": rng.random(300)})
    model = ta.AFEXExplainer(lambda df: 3.0 * df["lab"].isna() + df["age"], n_nets=0, random_state=0).fit(x)
    said = section(report(model.explain_local(x[:20]), x[:20]))
    assert "of the attribution, by size, comes from values that were not measured" in said
