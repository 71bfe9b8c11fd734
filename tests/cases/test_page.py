"""The page of similar cases: what it says is what was found, for every kind of input, and it stands alone."""

import re

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler

import tsattr as ta

from ..test_report import Page


def gallery_of(x, f=lambda x: x.flatten(1)[:, :5] + 1, **settings):
    return ta.cases.Gallery.fit(f, x, metric="euclidean", **settings)


@pytest.fixture
def x():
    rng = np.random.default_rng(0)
    time = ("time", np.arange(100) / 100, {"units": "s"})
    coords = {"sample": [f"r{i}" for i in range(8)], "lead": ["II", "V2"], "time": time}
    coords["label"] = ("sample", np.array(["sinus", "AF"])[np.arange(8) % 2])
    return xr.DataArray(rng.normal(0, 0.2, (8, 2, 100)), coords, ("sample", "lead", "time"), attrs={"units": "mV"})


def test_it_says_what_was_found(x, tmp_path):
    gallery = gallery_of(x[:6])
    ds = gallery.why(x[6:], gallery.nearest(x[6:], k=3))
    html = ta.cases.page(ds, x[6:], gallery, out=tmp_path / "page.html", notes="seen by <nobody>")
    assert (tmp_path / "page.html").read_text("utf-8") == html
    page = Page(html)
    labels = ds.case_label.values[0].tolist()
    first = max(set(labels), key=labels.count)
    assert f"; {labels.count(first)} of them {first}, {3 - labels.count(first)} " in page.text
    assert "(the record itself: sinus)" in page.text
    for j in range(3):
        assert f"{j + 1}. Case {ds.case.values[0, j]}, label {labels[j]}" in page.text
    assert len(page.all("img")) == 6  # the first record with each of its cases
    assert all(alt.startswith(("Record r6.", "Case r")) for alt in page.alts())
    assert "The maps add up: for all of 12 samples" in page.text  # both records, from both sides
    assert "seen by <nobody>" in page.text
    assert "<nobody>" not in html
    assert not page.open


def test_it_tells_of_an_update(x):
    rng = np.random.default_rng(1)
    pairs = xr.DataArray(rng.normal(size=(40, 2, 100)), dims=("sample", "lead", "time"))
    gallery = gallery_of(x[:6]).upgrade(lambda x: x.flatten(1)[:, :5].cumsum(1), pairs).embed_anew(at=[0, 1, 2])
    ds = gallery.why(x[6:], gallery.nearest(x[6:], k=6))
    page = Page(ta.cases.page(ds, x[6:], gallery))
    assert "Of the gallery's cases 3 were embedded by an earlier model" in page.text
    assert page.text.count("embedding is transformed from an earlier model's") == 3
    assert gallery.data.attrs["updates"] in page.text
    assert "uncertainty" in page.text
    fresh = gallery_of(x[:6])
    assert "an earlier model" not in Page(ta.cases.page(fresh.why(x[6:]), x[6:], fresh)).text


def test_it_loads_nothing(x):
    gallery = gallery_of(x[:6])
    html = ta.cases.page(gallery.why(x[6:], gallery.nearest(x[6:], k=2)), x[6:], gallery, samples=["r7", 0])
    page = Page(html)
    assert all(attrs["src"].startswith("data:image/png") for attrs in page.all("img"))
    assert not re.search(r"https?://", html)
    assert page.text.index("Record r7") < page.text.index("Record r6")
    assert len(page.all("img")) == 8


def test_how_near_a_nearest_case_is():
    line = xr.DataArray(np.array([[0.0, 1], [1, 1], [3, 1], [7, 1]]), dims=("sample", "feature"))
    gallery = gallery_of(line)
    q = xr.DataArray(np.array([[9.5, 1.0]]), dims=("sample", "feature"))
    ds = gallery.why(q, gallery.nearest(q, k=1))
    text = Page(ta.cases.page(ds, q, gallery)).text
    assert "the case most like it lies at a euclidean distance of 2.5." in text
    # the cases are 1, 1, 2 and 4 from their nearest
    assert "25 % are at least as far from the case most like them (half of them within 1.5)" in text


def test_fields_and_tables():
    rng = np.random.default_rng(0)
    field = xr.DataArray(rng.normal(size=(6, 4, 5)), dims=("year", "lat", "lon"))
    field = field.assign_coords(lat=[-30.0, -10, 10, 30], lon=np.arange(0, 360, 72.0), year=np.arange(2000, 2006))
    near = gallery_of(field[:5], sample_dim="year")
    ds = near.why(field[5:], near.nearest(field[5:], k=1))
    page = Page(ta.cases.page(ds, field[5:], near))
    assert "1. Case 200" in page.text
    assert all("Attribution as a map" in alt for alt in page.alts())

    table = pd.DataFrame({"age": [50.0, 60, 70, 80], "dose": [1.0, 2, 4, 2]}, index=list("abcd"))
    pca = PCA(2).fit(table)
    near = ta.cases.Gallery.fit(pca, table[:3], labels=["x", "y", "x"])
    method = ta.Occlusion(ta.groups.Cells(), ta.baselines.Constant(60.0))
    ds = near.why(table[3:], near.nearest(table[3:], k=2), method=method)
    page = Page(ta.cases.page(ds, table[3:], near, by="label"))
    assert all("Each entry with its value" in alt for alt in page.alts())
    assert len(page.all("img")) == 4


def test_several_variables_have_a_pair_each():
    rng = np.random.default_rng(0)
    x = xr.Dataset(
        {
            "signal": (("sample", "time"), rng.normal(size=(5, 20))),
            "row": (("sample", "feature"), rng.normal(size=(5, 3))),
        }
    )
    gallery = gallery_of(x, lambda signal, row: torch.cat([signal[:, :4], row], 1))
    page = Page(ta.cases.page(gallery.why(x, gallery.nearest(x, k=1, itself=True)), x, gallery))
    assert [alt.split(".")[0] for alt in page.alts()] == [
        "Record 0, signal",
        "Case 0, signal",
        "Record 0, row",
        "Case 0, row",
    ]


def test_without_cases_or_neighbours(x):
    bare = gallery_of(x[:6], keep=False)
    page = Page(ta.cases.page(bare.why(x[6:], bare.nearest(x[6:], k=2)), x[6:], bare))
    assert [alt[:10] for alt in page.alts()] == ["Record r6."] * 2
    gallery = gallery_of(x)
    ds = gallery.why(x, gallery.nearest(x, k=8, apart="label"))
    page = Page(ta.cases.page(ds, x, gallery))
    assert "the 4 cases most like it" in page.text
    alone = gallery_of(x[::2])
    ds = alone.why(x[:1], alone.nearest(x[:1], k=1, apart="label"))
    assert "Record r0 has no case near it" in Page(ta.cases.page(ds, x[:1], alone)).text


def test_what_it_refuses(x):
    gallery = gallery_of(x)
    near = gallery.nearest(x, k=1)
    with pytest.raises(ValueError, match=r"ds is what gallery\.why\(q, near\) returns"):
        ta.cases.page(near, x, gallery)
    ds = gallery.why(x, near)
    with pytest.raises(ValueError, match="by='ward' is no coordinate of the cases; they have"):
        ta.cases.page(ds, x, gallery, by="ward")
    with pytest.raises(ValueError, match=r"samples .* are not in the result"):
        ta.cases.page(ds, x, gallery, samples=["nobody"])


def test_records_and_cases_are_those_that_were_explained():
    """By label: no picture of one record is drawn under the map of another, nor of a case of another gallery."""
    frame = pd.DataFrame(np.random.default_rng(0).normal(size=(8, 2)), [f"p{i}" for i in range(8)], ["age", "dose"])
    scaler = StandardScaler().fit(frame)
    gallery = ta.cases.Gallery.fit(scaler, frame)
    ds = gallery.why(frame[:2], gallery.nearest(frame[:2], k=1), method=ta.Occlusion(ta.groups.Cells()))
    whole, fewer = (timeless(ta.cases.page(ds, q, gallery, samples=["p1"])) for q in (frame[:2], frame[::-1]))
    assert whole == fewer
    with pytest.raises(ValueError, match=r"x lacks the samples \['p0', 'p1'\]"):
        ta.cases.page(ds, frame[3:5], gallery)
    with pytest.raises(ValueError, match="q has 1 samples, and ds explains 2"):
        ta.cases.page(ds, frame[:1].values, gallery)
    with pytest.raises(ValueError, match="the neighbours are of another gallery"):
        ta.cases.page(ds, frame[:2], ta.cases.Gallery.fit(scaler, frame[::-1]))
    alone = ta.cases.page(ds, frame[:2], ta.cases.Gallery.fit(scaler, frame, keep=False))
    assert alone.count("<img") < ta.cases.page(ds, frame[:2], gallery).count("<img")


def timeless(text):
    return re.sub(r"Made by tsattr on [^.]*", "", text)
