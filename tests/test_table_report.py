"""Pages about tables say what the terms and cases hold: read on a model whose terms are known."""

import re

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from matplotlib.figure import Figure

import tsattr as ta
from tsattr import plot
from tsattr.report import additive as page_of
from tsattr.report import report
from tsattr.report.tables import pair_in_words, sentences, shape_in_words

from .test_report import EVIL, Page
from .test_term_plots import ABSENT, FEATURES, additive, local, rows


@pytest.fixture(scope="module")
def full():
    """The page of everything: two pairs, missing values, three cases, one of them beyond the training data."""
    frame = rows(6)
    frame.loc[3, "age"], frame.loc[4, "ward"] = 95.0, "hospice"
    return page_of(additive(), local(), frame, title="Who dies?", quality={"AUC, held out": 0.871})


def table(html, caption):
    """The rows of a table as lists of cells."""
    inner = re.search(rf"<caption>{caption}.*?</caption>(.*?)</table>", html, re.S)[1]
    return [re.findall("<t[dh][^>]*>(.*?)</t[dh]>", row) for row in re.findall("<tr>(.*?)</tr>", inner)]


# ------------------------------------------------------------------------------------------------------------ the page


def test_sections_in_order_and_pictures_described(full):
    page = Page(full)
    assert page.open == []
    assert re.findall("<h2>(.*?)</h2>", full) == [
        "What the model is",
        "What moves the score",
        "What each feature does",
        "What features do together",
        "Single cases",
        "How good it is",
        "Beyond the training data",
        "What can and cannot be concluded",
        "Settings and versions",
    ]
    alts = page.alts()
    assert len(alts) == 1 + 1 + 2 + 3  # importance, shapes, pairs, cases
    assert all(len(alt) > 60 for alt in alts)
    assert "Cases in the result that are not drawn here: 3." in page.text


def test_nothing_is_loaded_and_all_text_is_escaped():
    terms = additive().assign_coords(feature=[EVIL, *FEATURES[1:]]).assign_attrs(model=EVIL, method=EVIL)
    terms = terms.assign_coords(pair=[EVIL, "b&b"], first=("pair", [EVIL] * 2))
    cases = local().assign_coords(feature=[EVIL, *FEATURES[1:]], sample=[EVIL, *"bcdef"])
    html = page_of(terms, cases, rows(6), title=EVIL, quality={EVIL: 1.0}, notes=EVIL)
    assert "<script" not in html
    assert html.count("&lt;script&gt;") >= 10
    assert not re.search(r"https?:|//[a-z]|@import|url\(", re.sub(r'src="data:[^"]*"', "", html))


def test_it_is_written_and_needs_only_terms(tmp_path):
    html = page_of(additive(pairs=False), out=tmp_path / "page.html", notes="Mine.")
    assert (tmp_path / "page.html").read_text(encoding="utf-8") == html
    assert "Single cases" not in html
    assert "cases beyond" not in html
    assert "No pair of features was found" in html
    assert "the model is a sum of single features" in Page(html).text
    notes = html[html.index("What can and cannot") :]
    assert notes.index("Mine.") < notes.index("no evidence of cause")
    assert "A surface holds" not in notes


def test_errors_say_where_to_go():
    with pytest.raises(ValueError, match=r"tsattr\.report\.additive\(ds\)"):
        report(additive(), rows(6))
    with pytest.raises(ValueError, match="lacks"):
        page_of(local())
    with pytest.raises(TypeError, match="got ndarray"):
        page_of(additive(), local()["attribution"].values)
    with pytest.raises(ValueError, match=r"samples \['z'\] are not in the result"):
        page_of(additive(), local(), samples=["z"])
    with pytest.raises(ValueError, match=r"x has shape \(5, 5\)"):
        page_of(additive(), local(), rows(5))


# ------------------------------------------------------------------------------------------------- what sentences claim


def one(values, shape, **attrs):
    grid = ("feature", "grid")
    return xr.Dataset(
        {"value": (grid, [values]), "shape": (grid, [shape]), "kind": ("feature", ["numeric"])},
        {"feature": ["v"]},
        attrs,
    )


def test_curves_rise_fall_turn_and_jump():
    x = np.linspace(0, 10, 41)
    assert shape_in_words(one(x, x / 5 - 1), 0) == "v: the score rises from −1 at 0 to +1 at 10."
    assert shape_in_words(one(x, 1 - x / 5), 0) == "v: the score falls from +1 at 0 to −1 at 10."
    turned = shape_in_words(one(x, (x - 5) ** 2 / 25), 0)
    assert turned == "v: the score is highest with +1 at 0 and lowest with +0 at 5."
    jump = shape_in_words(one(x, np.where(x > 5, 1.0, -1.0)), 0)
    assert jump == "v: the score rises from −1 at 0 to +1 at 10, with a jump of +2 between 5 and 5.25."
    sparse = np.append(x, 20.0)  # a long way between two values is no jump
    assert "jump" not in shape_in_words(one(sparse, sparse / 10 - 1), 0)
    odds = shape_in_words(one(x, x / 10, link="logit"), 0)
    assert odds.endswith(f"the odds grow {np.e:.2g}-fold.")
    assert shape_in_words(one(x, x * 0.6, link="logit"), 0).endswith("the odds grow 403-fold.")
    assert shape_in_words(one(x, x * 100, link="logit"), 0).endswith("the odds grow more than a thousandfold.")


def test_levels_and_missing_values():
    terms = additive()
    ward = shape_in_words(terms, FEATURES.index("ward"))
    assert ward.startswith("ward: the score is highest for intensive care (+1.5) and lowest for medical (−0.4)")
    bmi = shape_in_words(terms, FEATURES.index("bmi"))
    assert bmi.endswith(f"A missing value (13 % of the training data) adds +{ABSENT}.")
    assert "missing" not in ward


def test_what_does_nothing_shares_a_sentence():
    terms = additive()
    largest = float((terms["shape"].max("grid") - terms["shape"].min("grid")).max())
    told = sentences(terms, [0, 4], largest)
    assert told[0].startswith("age: the score rises")
    assert told[1:] == ["Next to nothing, whatever the value: noise."]


def test_pairs_are_told_by_their_extremes():
    terms = additive()
    surface = terms["interaction"][0].values
    i, k = np.unravel_index(np.nanargmax(surface), surface.shape)
    age, sex = float(terms["value_first"][0][i]), ["female", "male"][k]
    told = pair_in_words(terms, 0)
    assert f"at most +{np.nanmax(surface):.3g} where age is {age:.4g} and sex is {sex}" in told


def test_in_short(full):
    text = Page(full).text
    size = additive()["importance"].values
    pairs = additive()["pair_importance"].values
    assert f"age moves the score most: typically by {size.max():.3g} log-odds" in text
    assert f"{100 * size.max() / (size.sum() + pairs.sum()):.2g} % of the sum over all 7 terms" in text
    assert "Features act together in 2 pairs, most of all age x sex." in text
    assert (
        "No term moves the score"
        in Page(page_of(one([0.0, 1.0], [0.0, 0.0]).assign(importance=("feature", [0.0])))).text
    )


@pytest.mark.parametrize(
    ("share", "said", "bad"),
    [(0.99, "it can stand for the black box", 0), (0.9, "the rest it does not explain", 0), (0.4, "do not read it", 1)],
)
def test_fidelity_is_judged(share, said, bad):
    html = page_of(additive(pairs=False).assign_attrs(fidelity_r2=share))
    assert said in Page(html).text
    assert f"{100 * share:.1f} %" in Page(html).text
    assert html.count('class="bad"') == bad
    assert "exact for the additive picture" in html


def test_a_fidelity_that_is_not_known_is_bad_news():
    html = page_of(additive(pairs=False).assign_attrs(fidelity=np.nan))
    assert "could not be measured" in Page(html).text
    assert html.count('class="bad"') == 1


def test_the_class_that_the_score_speaks_for_is_named():
    text = Page(page_of(additive(pairs=False).assign_attrs(target="died"))).text
    assert text.count("A higher score speaks for") == 2
    assert "A higher score speaks for died." in text


def test_a_model_that_explains_itself_has_no_fidelity(full):
    text = Page(full).text
    assert "black box" not in text
    assert "to the last digit" in text


def test_figures_of_merit_are_those_carried_and_those_given():
    html = page_of(additive(pairs=False).assign_attrs(r2_validation=0.75, loss=0.5, seed=3), quality={"AUC": 0.871})
    assert table(html, "Figures of merit")[1:] == [
        ["r2 validation", "0.75"],
        ["loss on the training data", "0.5"],
        ["AUC", "0.871"],
    ]


def test_what_lies_beyond_the_training_data_is_counted(full):
    found = {row[0]: row[1:] for row in table(full, "What the training data held")[1:]}
    terms = additive()
    low, high = (float(f(terms["value"][0])) for f in (np.min, np.max))
    assert found["age"] == [f"{low:.4g} to {high:.4g}", "0 %", "–", "1", "0"]
    assert found["ward"] == ["3 levels", "0 %", "–", "1", "0"]
    assert found["bmi"][1:] == ["13 %", "+0.4", "0", "1"]


def test_a_column_without_a_value_in_training():
    terms = additive(pairs=False)
    for name in ("value", "shape", "lower", "upper", "density"):
        terms[name].loc["noise"] = np.nan
    html = page_of(terms, local(pairs=False), rows(6))
    found = {row[0]: row[1:] for row in table(html, "What the training data held")[1:]}
    assert found["noise"] == ["no value", "100 %", "–", "6", "0"]
    assert "Next to nothing, whatever the value: noise." in Page(html).text


def test_cases_are_told_with_their_probability():
    found = local()
    text = Page(page_of(additive(), found, rows(6), samples=[1])).text
    score = float(found["prediction"][1])
    assert f"The score is −{-score:.3g} log-odds, a probability of {100 / (1 + np.exp(-score)):.2g} %" in text
    assert "the reference is −1 log-odds, a probability of 27 %" in text
    k = int(np.argmax(np.abs(found["attribution"].values[1])))
    does = "raises" if found["attribution"].values[1, k] > 0 else "lowers"
    assert f"Most of all, {FEATURES[k]} {does} it" in text


def test_classes_have_their_own_sentences_and_pairs_their_strongest_class():
    names = ["normal", "supraventricular", "ventricular"]
    terms = additive(names)
    terms["pair_importance"].loc["ventricular", "age x sex"] = 9.0
    html = page_of(terms, local(targets=names), rows(6))
    assert re.findall("<h3>Class (.*?)</h3>", html) == names
    assert "<h3>age x sex, class ventricular</h3>" in html
    assert "<h3>age x bmi, class normal</h3>" in html
    assert table(html, "Importance")[0] == ["term", *names]
    best = names[int(local(targets=names)["prediction"][0].values.argmax())]
    assert f"The score of class {best}, the largest, is" in Page(html).text
    assert ", mean over classes" in html
    assert "normal −1, supraventricular 0, ventricular 1" in html


# ------------------------------------------------------------------------- tables that any method explains, by `report`


def risk(frame):
    """A black box on a frame with a string column."""
    return 0.1 * frame["age"].to_numpy() + np.where(frame["sex"] == "male", 2.0, 0.0)


def people(n=12):
    return pd.DataFrame({"age": np.linspace(30.0, 80.0, n), "sex": ["male", "female"] * (n // 2)})


def test_complete_methods_are_told_step_by_step():
    x = people()
    model = ta.models.on_frames(risk)
    ds = ta.explain(model, x, ta.ShapleySampling(ta.groups.Cells(), ta.baselines.Samples.fit(x), draws=4))
    html = report(ds, x)
    alts = Page(html).alts()
    assert "from the reference to the prediction" in alts[0]
    assert any("Attribution of every case against its value" in alt for alt in alts)
    assert "12 samples of 2 features" in html
    assert "Effect of taking each group away" not in html  # the groups are the columns


def test_few_cases_get_no_scatter_and_methods_without_reference_keep_their_bars():
    x = people(4)
    ds = ta.explain(ta.models.on_frames(risk), x, ta.Occlusion(ta.groups.Cells(), ta.baselines.Typical.fit(people())))
    alts = Page(report(ds, x)).alts()
    assert "strongest first" in alts[0]
    assert not any("every case against" in alt for alt in alts)


def test_contributions_of_an_additive_model_are_a_result_like_any_other():
    frame = rows(10)
    text = Page(report(local(frame), frame)).text
    assert "The maps add up: for all of 10 samples" in text
    assert "the model is a sum of one curve for each feature" in text
    assert "[log-odds]" not in text  # units stand in pictures
    broken = local(frame)
    broken["prediction"] = broken["prediction"] + 5
    assert "do not add up to prediction − reference: 10 of 10" in Page(report(broken, frame)).text
    several = report(local(frame, ["N", "V"]), frame, samples=[0])
    assert "Sample 0, target V" in several


def test_columns_come_strongest_first(monkeypatch):
    drawn, frame = [], rows(10)
    monkeypatch.setattr(plot, "bars", lambda sums, *_, **__: drawn.append(sums) or Figure())
    found = local(frame)
    report(found, frame)
    size = abs(found["attribution"]).mean("sample").values
    (sums,) = drawn
    assert sums["feature"].values.tolist() == [FEATURES[i] for i in np.argsort(-size)]


def test_long_tables_are_cut_and_say_so():
    wide = additive(pairs=False).isel(feature=np.arange(60) % 5).assign_coords(feature=[f"f{i}" for i in range(60)])
    html = page_of(wide)
    assert len(table(html, "Importance")) == 1 + 50
    assert "the 50 largest of 60" in html
    assert len(table(html, "What the training data held")) == 1 + 50
    assert "The 12 most important of 60 features." in html
