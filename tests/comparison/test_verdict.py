"""What a comparison says in words, on tables whose numbers are known."""

import numpy as np
import xarray as xr

from tsattr.comparison.verdict import Standing, recommendation

NAMES = ["a", "b", "c", "chance"]


def table(cells, apart, *, own=(), fills=("mean", "blur")):
    """Methods of NAMES with means `cells` (method, fill) under two fills; the pairs in `apart` are told apart."""
    cells = np.asarray(cells, float)
    score = cells.mean(1)
    told = np.zeros((4, 4), bool)
    for i, j in apart:
        told[i, j] = told[j, i] = True
    kept = np.zeros(cells.shape, bool)
    for i, j in own:
        kept[i, j] = True
    pair = ("measure", "ranking", "method", "method_other")
    gap = np.broadcast_to(cells[:, None, :, None], (4, 3, 2, 1))
    return xr.Dataset(
        {
            "gap": (("method", "sample", "fill", "ranking"), gap, {"better": "higher", "long_name": "area between"}),
            "own_fill": (("method", "fill"), kept),
            "control": ("method", [False, False, False, True]),
            "model_evaluations": (("method", "sample"), np.full((4, 3), 5.0)),
            **{k: (pair[:3], score[None, None] + d) for k, d in (("score", 0), ("score_low", -1), ("score_high", 1))},
            "difference": (pair, (score[:, None] - score)[None, None]),
            "distinguishable": (pair, told[None, None]),
        },
        {
            "method": NAMES,
            "method_other": NAMES,
            "fill": list(fills),
            "ranking": ["signed"],
            "measure": ["gap"],
            "better": ("measure", ["higher"]),
        },
        {"blocks": 30},
    )


def test_a_best_that_may_be_chance_gives_way_to_one_that_is_not():
    words = recommendation(table([[5, 5], [4, 4], [1, 1], [0, 0]], [(1, 3), (0, 2)]), "sample")
    assert words.startswith(
        "Use b (4 [3, 5]): by gap (signed ranking) a has the better score (5 [4, 6]), but cannot be"
    )
    assert "told from chance." in words.splitlines()[0]


def test_nothing_is_recommended_where_the_best_may_be_chance_and_the_rest_is_worse():
    # b beats chance, and is told from a: chance is not told from the better one, which no order explains but noise does
    words = recommendation(table([[5, 5], [4, 4], [1, 1], [0, 0]], [(1, 3), (0, 1)]), "sample")
    assert words.startswith("No map can be recommended")


def test_fills_that_all_name_the_best_another_or_several():
    everyone = [(i, j) for i in range(4) for j in range(i)]
    best = recommendation(table([[5, 5], [4, 4], [1, 1], [0, 0]], everyone), "sample")
    assert "Every fill (mean and blur) puts a first." in best
    # a's own kinds of fill do not count for it
    other = recommendation(table([[5, 5], [4, 4], [1, 1], [0, 0]], everyone, own=[(0, 0), (0, 1)]), "sample")
    assert "could not be left out" in other
    several = recommendation(table([[5, 3], [4, 4], [1, 1], [0, 0]], everyone), "sample")
    assert "The fills do not agree on the first: b under blur." in several
    turned = recommendation(table([[2, 2], [9, 9], [1, 1], [0, 0]], everyone).assign(score=best_a()), "sample")
    assert "Each fill by itself (mean and blur) puts b before the other methods" in turned
    assert "over all fills a comes first" in turned


def best_a():
    """Scores that put a first, as an adjustment for fills left out may."""
    return ("measure", "ranking", "method"), np.array([[[5.0, 4.0, 1.0, 0.0]]])


def test_standing_orders_equals_as_named_and_puts_what_has_no_score_last():
    ds = table([[1, 1], [1 + 1e-12, 1], [np.nan, 1], [0, 0]], [])
    found = Standing(ds, "gap", "signed")
    assert [NAMES[k] for k in found.order] == ["a", "b", "chance", "c"]
    assert [NAMES[k] for k in found.methods] == ["a", "b"]
    assert found.tied.tolist() == [True, True, False, False]


def test_standing_puts_nothing_over_the_budget_first():
    everyone = [(i, j) for i in range(4) for j in range(i)]
    ds = table([[5, 5], [4, 4], [1, 1], [0, 0]], everyone)
    ds["over_budget"] = "method", [True, False, False, False]
    found = Standing(ds, "gap", "signed")
    assert [NAMES[k] for k in found.order] == ["a", "b", "c", "chance"]
    assert [NAMES[k] for k in found.methods] == ["b", "c"]
    assert NAMES[found.best] == "b"
    assert found.tied.tolist() == [False, True, False, False]
    words = recommendation(ds.assign_attrs(budget=3), "sample", {"a": 9}).splitlines()
    assert words[0].startswith("Use b: by gap (signed ranking) it comes first")
    assert words[1] == "Over the budget of 3 rows a sample, and so left out of this recommendation: a (up to 5)."
    more = recommendation(ds.assign_attrs(budget=7), "sample", {"a": 9}).splitlines()[1]
    assert more.endswith("left out of this recommendation: a (up to 9).")
