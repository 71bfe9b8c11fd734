"""The page of a comparison is read as a browser and as a reader would."""

import functools
import itertools
import re

import numpy as np
import pytest
import xarray as xr

import tsattr as ta
from tsattr.report import comparison

from .conftest import relu_net, signals
from .test_report import EVIL, Page

b, g = ta.baselines, ta.groups
X = signals(24, seed=5)


@functools.cache
def table() -> xr.Dataset:
    """A comparison with truth and reference, of methods of which one is named badly."""
    truth = xr.zeros_like(X, dtype=bool)
    truth[:, 0, :3] = True
    methods = {
        EVIL: ta.IntegratedGradients(steps=9),
        "IG mean": ta.IntegratedGradients(b.Mean(), steps=9),
        "again": ta.IntegratedGradients(b.Mean(), steps=9),
        "saliency": ta.Saliency(),
    }
    fills = {"zero": b.Constant(0.0), "mean": b.Mean(), "bridge": b.Bridge()}
    settings = {"target": 1, "groups": g.Windows(time=2, lead=1), "steps": 6, "subsets": 8, "truth": truth}
    return ta.compare(relu_net(), X, methods, fills=fills, reference=signals(40, seed=2), **settings)


@functools.cache
def page() -> str:
    return comparison(table(), title=f"Which of {EVIL}", notes="My remark.")


def test_the_recommendation_comes_first():
    text = Page(page()).text
    lines = table().attrs["recommendation"].splitlines()
    places = [text.index(line) for line in lines]
    assert places == sorted(places)
    assert places[-1] < text.index("Who comes first")
    assert text.count(lines[0]) == 1  # not once more among the settings


def test_nothing_is_loaded_from_elsewhere_and_text_is_escaped():
    read = Page(page())
    assert read.open == []
    assert {tag for tag, _ in read.tags}.isdisjoint({"script", "link", "iframe", "object", "embed", "base"})
    assert not re.search(r"https?:|//[a-z]|@import|url\(", re.sub(r'src="data:[^"]*"', "", page()))
    assert "<script" not in page()
    assert page().count("&lt;script&gt;") > 8


def test_headings_pictures_and_tables():
    read = Page(page())
    levels = [int(tag[1]) for tag, _ in read.tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(b - a <= 1 for a, b in itertools.pairwise(levels))
    assert len(read.alts()) == 6  # two rankings, the matrix, two curves, the truth
    assert all(len(alt) > 60 for alt in read.alts())
    headings = ["Who comes first", "Under each fill", "What the target does", "What cannot be told apart"]
    headings += ["Every measure", "Against known truth", "Do the maps agree", "What it cost", "How it was made"]
    places = [read.text.index(h) for h in headings]
    assert places == sorted(places)
    assert "My remark." in read.text


def rows(caption):
    """The cells of the tables whose caption holds this text."""
    found = []
    for part in page().split("<table")[1:]:
        if caption in part.split("</caption>")[0]:
            found += [re.findall(r"<t[dh][^>]*>(.*?)</t[dh]>", line) for line in part.split("<tr>")[1:]]
    return found


def test_pairs_that_cannot_be_told_apart_are_those_of_the_table():
    one = table().sel(measure="gap", ranking="signed")
    names = one.method.values.tolist()
    listed = {frozenset(row[:2]) for row in rows("Signed ranking: ")[1:]}
    wanted = {
        frozenset(n.replace("<", "&lt;").replace(">", "&gt;").replace('"', "&quot;") for n in (names[i], names[j]))
        for i, j in itertools.combinations(range(len(names)), 2)
        if not one.distinguishable.values[i, j] and not (one.control[i] and one.control[j])
    }
    assert listed == wanted
    assert frozenset(["IG mean", "again"]) in listed


def test_measures_have_arrows_and_numbers_of_the_table():
    head, *lines = rows("Signed ranking, best first by gap")
    assert head[:2] == ["method", "gap ↑"]
    assert "deletion ↓" in head
    scores = table().score.sel(measure="gap", ranking="signed")
    shown = {line[0]: line[1] for line in lines}
    assert shown["saliency"] == f"{float(scores.sel({'method': 'saliency'})):.3g}".replace("-", "−")
    assert "random (control)" in shown
    values = [float(line[1].replace("−", "-")) for line in lines]
    assert values == sorted(values, reverse=True)


def test_truth_stands_beside_its_chance():
    head, *lines = rows("Absolute ranking, best first by average precision")
    assert lines[-1][0] == "chance"
    at = head.index("average precision ↑")
    assert float(lines[-1][at]) == pytest.approx(float(table().average_precision_chance.mean()), rel=1e-2)
    assert "without a look at the truth" in Page(page()).text


def test_costs_and_fills():
    assert f"asked for {table().attrs['rows']} rows" in Page(page()).text
    cost = {row[0]: row[1] for row in rows("What the explanations cost")}
    assert cost["saliency"] == f"{float(table().model_evaluations.sel({'method': 'saliency'}).mean()):.4g}"
    assert "random (control)" not in cost
    assert [row[0] for row in rows("Off clean data")] == ["fill", "zero", "mean", "bridge"]


def test_it_is_written_whole_and_returned(tmp_path):
    given = comparison(table(), out=tmp_path / "c.html", title="Once")
    assert (tmp_path / "c.html").read_text("utf-8") == given
    assert list(tmp_path.iterdir()) == [tmp_path / "c.html"]
    assert "recommendation" in table().attrs  # the table is as it was
    with pytest.raises(ValueError, match="no folder"):
        comparison(table(), out=tmp_path / "no" / "c.html")


@pytest.mark.parametrize(
    "more",
    [
        {"controls": False, "fills": {"mean": b.Mean()}},
        {"target": [0, 1], "metrics": ["deletion"]},
        {"metrics": [], "truth": xr.ones_like(X, dtype=bool)},
        {"rankings": ("absolute",)},
    ],
)
def test_tables_of_other_shapes(more, tmp_path):
    settings = {"target": 1, "steps": 4, "subsets": 4, "fills": {"zero": b.Constant(0.0), "mean": b.Mean()}} | more
    found = ta.compare(relu_net(), X, {"IG": ta.IntegratedGradients(steps=4)}, **settings)
    found.to_netcdf(tmp_path / "t.nc")
    read = Page(comparison(xr.load_dataset(tmp_path / "t.nc")))
    assert found.attrs["recommendation"].splitlines()[0] in read.text
    assert ("Against known truth" in read.text) == ("truth" in more)
    assert ("What the target does" in read.text) == (more.get("metrics") != [])


def test_a_table_without_words_and_what_is_no_table():
    assert "carries no recommendation" in comparison(table().drop_attrs(deep=False))
    with pytest.raises(TypeError, match="got list"):
        comparison([1])
    with pytest.raises(ValueError, match=r"give what tsattr\.compare returned"):
        comparison(xr.Dataset({"a": ("x", np.zeros(2))}))
