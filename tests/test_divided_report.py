"""The section of a report on the parts of a signal: which part, and when, with intervals that are known."""

import re

import numpy as np
import pytest
import torch
import xarray as xr

import tsattr as ta
from tsattr.report import report

from .test_report import Page

HEADING = "What in the signal, and when"
RNG = np.random.default_rng(0)
X = xr.DataArray(
    RNG.normal(size=(4, 2, 100)).cumsum(-1),
    dims=("sample", "lead", "time"),
    coords={"lead": ["II", "V1"], "time": np.arange(100) / 50},
)
PARTS = ta.parts.bands(X, [(0.5, 5), (5, 15)])
WEIGHT = xr.DataArray([1.0, 3.0, 0.5], dims="part", coords={"part": PARTS.part})
EACH, IG = ta.groups.Along("part"), ta.IntegratedGradients(steps=2)


def own(values, name="part"):
    """Parts of one's own, (sample, part, time), from numbers (sample, part) that hold at both times."""
    values = np.repeat(np.array(values)[..., None], 2, -1) * [1.0, 2.0]
    names = [f"p{k}" for k in range(values.shape[1])]
    return xr.DataArray(values, dims=("sample", name, "time"), coords={name: names, "time": [0.0, 1.0]})


def section(page):
    """The section, as HTML; None where there is none."""
    found = re.search(f"<section>\n<h2>{HEADING}</h2>.*?</section>", page, re.S)
    return found and found[0]


def text(html):
    return re.sub(r"\s+", " ", Page(html).text)


def short(page):
    return text(re.search('<section class="short".*?</section>', page, re.S)[0])


def summed(x):
    return x.sum(1)


def test_the_sentence_has_the_interval_of_the_mean():
    x = own([[1.0, -2.0], [1.0, -4.0]])  # p0 contributes 3, 3; p1 -6, -12
    ds = ta.explain(ta.models.summed(summed), x, IG)
    page = report(ds, x)
    half = 12.706204736 * 3  # of Student's t, one degree of freedom; the standard error is 6 / 2
    expected = (
        "The part of the signal that the target rests on most is p1: it moves the target by −9 (mean over 2 samples, 95 % interval "
        f"−{9 + half:.2f} to {half - 9:.2f}), 75 % of all that the parts contribute, by size."
    )
    assert expected in short(page)
    assert expected in text(section(page))
    assert "whiskers: 95 % interval of the mean" in text(section(page))
    assert "taken for granted" not in text(section(page))  # one's own parts say nothing of that


def test_one_sample_has_the_standard_error_of_the_draws_where_parts_are_players():
    model = ta.models.summed(lambda x: x.pow(3).sum((1, 2)))
    ds = ta.explain(model, PARTS[:1], ta.ShapleySampling(EACH, draws=4))
    said = text(section(report(ds, PARTS[:1])))
    assert "(this sample)" in said
    assert "whiskers: standard error of the draws" in said
    windows = ta.explain(model, PARTS[:1], ta.ShapleySampling(ta.groups.Windows(part=1, time="1s"), draws=2))
    assert "whiskers" not in text(section(report(windows, PARTS[:1])))


def test_sums_that_are_no_contributions_are_not_called_so():
    x = own([[1.0, -2.0], [1.0, -4.0]])
    model = ta.models.summed(lambda x: x[:, 0] + x[:, 1])
    parts = short(report(ta.explain(model, x, ta.Occlusion(EACH)), x))
    assert "it moves the target by −9 (mean over 2 samples, 95 %" in parts  # the effect, and not that of every cell
    cells = short(report(ta.explain(model, x, ta.Occlusion(ta.groups.Windows(part=1, time=1))), x))
    assert (
        "The part of the signal with the most attribution is p1: 75 % of the whole, by size (mean over 2 samples)"
        in cells
    )
    assert "moves the target by" not in cells


def test_bars_and_a_map_of_parts_by_time_are_drawn():
    ds = ta.explain(ta.models.summed(lambda x: x[:, 1].square().sum(1)), PARTS, ta.IntegratedGradients(steps=4))
    alts = Page(section(report(ds, PARTS, samples=[1, 3]))).alts()
    assert [alt.split(".")[0] for alt in alts] == ["Bar chart", "Heat map"]
    assert "samples 1, 3, summed over lead: across, time; upward, the parts." in alts[1]
    players = ta.explain(ta.models.summed(lambda x: x.square().sum((1, 2))), PARTS, ta.Occlusion(EACH))
    page = report(players, PARTS)
    assert len(Page(section(page)).alts()) == 1  # nothing changes along time
    assert "Effect of taking each group away" not in page  # the groups are the parts, whose bars are there


def test_what_is_assumed_and_how_much_rests_on_it():
    ds = ta.explain(ta.models.summed(lambda x: x.sum((1, 2))), PARTS, ta.InputXGradient())
    size = abs(ds.attribution)
    share = float(size.where(PARTS.edge).sum() / size.sum())
    said = text(section(report(ds, PARTS)))
    assert "taken for granted by this division: beyond its ends the series goes on as its mirror image" in said
    assert f"By size, {100 * share:.0f} % of the attribution lies in cells near an end or a gap" in said


@pytest.mark.parametrize("method", [ta.Saliency(), ta.SmoothGrad(draws=2)])
def test_a_map_that_is_the_same_for_every_part_is_said_to_be(method):
    ds = ta.explain(ta.models.summed(lambda x: x.square().sum((1, 2))), PARTS, method)
    page = report(ds, PARTS)
    assert "The map is the same for every part" in short(page)
    assert Page(section(page)).alts() == []


@pytest.mark.filterwarnings("ignore:all missing")
def test_no_section_without_parts_or_a_map():
    ds = ta.explain(lambda x: x.sum((1, 2)), X, ta.InputXGradient())
    assert section(report(ds, X)) is None
    one = own([[1.0], [2.0]])
    assert section(report(ta.explain(ta.models.summed(summed), one, ta.InputXGradient()), one)) is None
    nothing = xr.full_like(PARTS, np.nan)
    ds = ta.explain(ta.models.summed(lambda x: x.sum((1, 2))), nothing, ta.InputXGradient())
    assert section(report(ds, nothing)) is None


@pytest.mark.filterwarnings("ignore:all missing")
def test_parts_that_move_nothing_and_samples_without_a_map():
    x = own([[1.0, -2.0], [np.nan, np.nan], [1.0, -4.0]])
    ds = ta.explain(ta.models.summed(summed), x, IG)
    assert "it moves the target by −9 (mean over 2 of 3 samples" in short(report(ds, x))
    flat = ta.explain(ta.models.summed(lambda x: 0 * x.sum(1)), x[:1], ta.Occlusion(EACH))
    assert "No part of the signal moves the target" in short(report(flat, x[:1]))


def test_a_lead_that_is_a_label_of_all_is_no_trouble():
    one = PARTS.isel(lead=0)
    ds = ta.explain(ta.models.summed(lambda x: x.sum(1)), one, ta.InputXGradient())
    assert section(report(ds, one)) is not None


def test_of_several_targets_and_inputs_the_first_in_parts_is_told():
    x = own([[1.0, -2.0], [1.0, -4.0]])
    ds = ta.explain(
        ta.models.summed(lambda x: torch.stack([x.sum(1), -x.sum(1)], 1)), x, ta.Occlusion(EACH), target=[1, 0]
    )
    said = text(section(report(ds, x)))
    assert "rests on most is p1: it moves the target by 9 (mean over 2 samples, for 1, the first target, 95 %" in said
    data = xr.Dataset({"age": ("sample", [50.0, 60.0]), "ecg": x})
    both = ta.explain(ta.models.summed(lambda age, ecg: ecg.sum(1) + age), data, IG)
    assert "rests on most is p1: it moves the target by −9" in short(report(both, data))
