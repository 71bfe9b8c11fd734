"""What bound baselines and groups declare, what they do by default, and how one of another class is adopted or refused."""

import importlib

import numpy as np
import pytest
import torch
import xarray as xr

import tsattr as ta
from tsattr.cli import parsing as notation
from tsattr.core import baselines as b
from tsattr.core import groups as g
from tsattr.core import targets as t
from tsattr.core.arrays import Array
from tsattr.core.axes import Axes
from tsattr.core.baselines.fills import Baseline, adopted, bind, enough_draws
from tsattr.core.bound import BoundBaseline, BoundGroups, adopted_baseline, classes_of
from tsattr.core.groups.binding import bind as bind_groups
from tsattr.core.groups.masks import Groups, OneGroup
from tsattr.core.keys import Key
from tsattr.core.targets.outputs import Target
from tsattr.core.targets.parsing import Named, resolve

AXES = Axes(("lead", "time"), (2, 6), {"lead": np.array(["I", "II"])}, samples=3)
X = torch.as_tensor(np.random.default_rng(0).normal(size=(3, 2, 6)))
KEY = Key(0, np.arange(3), torch.arange(3), np.zeros(3, np.int64))
OUT = Axes(("output",), (2,))
POSITION = torch.arange(3)


class Zero:
    """A baseline of another class that says nothing of itself."""

    def fill(self, x, absent, key):
        return torch.where(absent, 0.0, x)


class MaskOnly(BoundGroups):
    """Groups by masks alone: those of others."""

    def __init__(self, others):
        self.others, self.names = others, others.names

    def mask(self, position, k):
        return self.others.mask(position, k)


LABELS = np.random.default_rng(1).integers(-1, 3, (3, 2, 6))
GROUPS = {
    "windows": g.Windows(time=2, lead=1),
    "overlapping": g.Windows(time=3, step=1),
    "leads": g.Along("lead"),
    "cells": g.Cells(),
    "labels of each sample": g.Labelled(Array(LABELS, ("sample", "lead", "time"))),
    "shared labels": g.Labelled(Array(LABELS[0], ("lead", "time"))),
}


# ---- baselines


def test_one_that_says_nothing_promises_nothing():
    bound = bind(Zero(), AXES)
    assert isinstance(bound, BoundBaseline)
    assert (bound.causal, bound.nested, bound.conditional, bound.begins, bound.gaps) == (False, False, True, False, 0)
    assert bound.ahead(X) is None
    assert (adopted(Zero()).random, enough_draws(Zero()), adopted(Zero()).members) == (False, 1, ())


def test_one_of_another_class_is_taken_by_its_word():
    class Says(Zero):
        causal = nested = random = True
        conditional, gaps, enough = False, 4, 7

        def bind(self, axes):
            return self

        def full(self, x, key):
            return torch.ones(())

        def ahead(self, known):
            return lambda i, start, length, gone, key: known.new_zeros(len(i), length, 2)

    bound = bind(Says(), AXES)
    assert (bound.causal, bound.nested, bound.conditional, bound.begins, bound.gaps) == (True, True, False, False, 4)
    assert bound.full(X, KEY) == 1
    assert bound.ahead(X)(POSITION, POSITION, 2, None, KEY).shape == (3, 2, 2)
    assert (adopted(Says()).random, enough_draws(Says())) == (True, 7)
    del Says.enough
    assert enough_draws(Says()) == enough_draws(b.Uniform(0.0, 1.0)) > 1


def test_a_baseline_of_ones_own_needs_one_verb():
    class Half(BoundBaseline):
        conditional = False

        def fill(self, x, absent, key):
            return torch.where(absent, x / 2, x)

    assert torch.equal(bind(Half(), AXES).full(X, KEY), X / 2)
    with pytest.raises(TypeError, match=r"abstract method '?fill"):
        type("Nothing", (BoundBaseline,), {})()
    with pytest.raises(TypeError, match=r"Nothing has no _bind\(axes\)"):
        bind(type("Nothing", (Baseline,), {})(), AXES)


@pytest.mark.parametrize("what", [5, "zero", np.zeros(3), {"a": Zero()}, Zero])
def test_what_is_no_baseline_is_refused_at_binding(what):
    with pytest.raises(TypeError, match="baseline"):
        bind(what, AXES)
    if isinstance(what, int):
        with pytest.raises(TypeError, match="baseline"):
            enough_draws(what)


@pytest.mark.parametrize(
    ("says", "message"),
    [
        ({"causal": "yes"}, "causal of baseline .* is True or False, got 'yes'"),
        ({"nested": 1}, "nested of baseline .* is True or False, got 1"),
        ({"conditional": None}, "conditional of baseline .* is True or False, got None"),
        ({"gaps": True}, "gaps of baseline .* is the number of missing cells, got True"),
        ({"random": "often"}, "random of baseline .* is True or False, got 'often'"),
        ({"fill": None}, r"a bound baseline has fill\(x, absent, key\)"),
        ({"bind": lambda self, axes: 3}, r"a bound baseline has fill\(x, absent, key\), which 3 lacks"),
    ],
)
def test_a_baseline_that_breaks_the_contract_is_told_at_binding(says, message):
    with pytest.raises(TypeError, match=message):
        bind(type("Broken", (Zero,), says)(), AXES)


def test_a_subclass_is_held_to_the_contract_too():
    class Sure(BoundBaseline):
        causal = "of course"

        def fill(self, x, absent, key):
            return x

    with pytest.raises(TypeError, match=r"causal of baseline .* is True or False, got 'of course'"):
        adopted_baseline(Sure())


@pytest.mark.parametrize(
    ("filled", "error", "message"),
    [
        (lambda x: x[:, :1], ValueError, r"gave shape \(3, 1, 6\) for rows of shape \(3, 2, 6\)"),
        (lambda x: x.numpy(), TypeError, "gives a tensor like x, got ndarray"),
    ],
)
def test_a_fill_of_the_wrong_kind_is_told_with_the_baseline(filled, error, message):
    class Crop:
        def fill(self, x, absent, key):
            return filled(x)

    with pytest.raises(error, match=f"(?s)Crop.*{message}"):
        bind(Crop(), AXES).fill(X, torch.ones_like(X, dtype=torch.bool), KEY)


# ---- groups


@pytest.mark.parametrize("name", GROUPS)
def test_masks_alone_make_groups(name):
    fast = bind_groups(GROUPS[name], AXES)
    slow = MaskOnly(fast)
    cells = X > 0
    np.testing.assert_array_equal(slow.count(cells, POSITION), fast.count(cells, POSITION))
    np.testing.assert_allclose(slow.total(X, POSITION), fast.total(X, POSITION), atol=1e-12)
    values = torch.as_tensor(np.random.default_rng(2).normal(size=(3, 2, len(fast.names))))
    for mean in (True, False):
        found, want = (v.spread(values, POSITION, mean=mean).expand(3, 2, 2, 6) for v in (slow, fast))
        np.testing.assert_allclose(found, want, atol=1e-12)
    absent = torch.as_tensor(np.random.default_rng(3).random((3, len(fast.names))) < 0.5)
    found, want = (v.union(absent, POSITION).expand(3, 2, 6) for v in (slow, fast))
    np.testing.assert_array_equal(found, want)
    assert slow.order.tolist() == list(range(len(fast.names)))
    assert not slow.shared
    assert slow.hull(POSITION, POSITION) is None


def test_which_groups_are_the_same_in_all_samples():
    assert {name: bind_groups(groups, AXES).shared for name, groups in GROUPS.items()} == {
        name: name != "labels of each sample" for name in GROUPS
    }


CIRCLE = Axes(
    ("time", "lon"),
    (4, 12),
    {"lon": np.arange(0.0, 360, 30)},
    {"lon": "degrees_east"},
    samples=3,
    periodic=frozenset({"lon"}),
)


@pytest.mark.parametrize(
    ("groups", "axes"),
    [
        (g.Windows(time=4, step=3), AXES),
        (g.Cells(), AXES),
        (g.Windows(time=2, lon="90deg", step={"lon": "60deg"}), CIRCLE),
    ],
)
def test_a_box_is_its_hull(groups, axes):
    bound = bind_groups(groups, axes)
    k = torch.arange(len(bound.names))
    start, size = bound.hull(torch.zeros_like(k), k)
    assert start.shape == size.shape == (len(k), 2)
    for row, inside in enumerate(bound.mask(torch.zeros_like(k), k).expand(-1, *axes.shape)):
        for axis in range(2):
            at = inside.any(1 - axis).nonzero()[:, 0]
            first, last = int(start[row, axis]), int(start[row, axis] + size[row, axis])
            past = (at.diff() > 1).any()  # round the circle: the box is the whole turn
            assert (first, last) == ((0, axes.shape[axis]) if past else (int(at[0]), int(at[-1]) + 1))
    if axes is CIRCLE:
        assert (size[:, 1] == 12).any()


def test_one_group_is_given_by_its_mask():
    of_all = OneGroup(X[:1] > 0)
    of_some = OneGroup(X[1:] > 0, first=1, name="half")
    assert (of_all.names, of_some.names, of_all.shared, of_some.shared) == (["absent"], ["half"], True, False)
    k = torch.zeros(2, dtype=torch.int64)
    assert torch.equal(of_all.mask(POSITION[1:], k), (X[:1] > 0).expand(2, 2, 6))
    assert torch.equal(of_some.mask(POSITION[1:], k), X[1:] > 0)
    np.testing.assert_array_equal(of_some.count(X[1:] > 1, POSITION[1:]), (X[1:] > 1).flatten(1).sum(1, keepdim=True))


class Bands:
    """Groups of another class: the two leads, and nothing else said."""

    names = ("I", "II")

    def bind(self, axes):
        return self

    def mask(self, position, k):
        return torch.arange(2)[None, :, None] == k[:, None, None]


def test_groups_of_another_class_are_adopted():
    bound, own = bind_groups(Bands(), AXES), bind_groups(g.Along("lead"), AXES)
    assert isinstance(bound, BoundGroups)
    assert not bound.shared
    assert bound.order.tolist() == [0, 1]
    np.testing.assert_allclose(bound.total(X, POSITION), own.total(X, POSITION), atol=1e-12)
    quick = type("Quick", (Bands,), {"shared": True, "count": lambda self, cells, position: "mine", "order": (1, 0)})
    assert bind_groups(quick(), AXES).count(X > 0, POSITION) == "mine"
    assert (bind_groups(quick(), AXES).order.tolist(), bind_groups(quick(), AXES).shared) == ([1, 0], True)
    assert bind_groups(bound, AXES) is bound


@pytest.mark.parametrize(
    ("says", "error", "message"),
    [
        ({"names": None}, TypeError, "bound groups have names, a list of one text for each group, got None"),
        ({"names": ()}, TypeError, r"bound groups have names, .* got \(\)"),
        ({"names": "ab"}, TypeError, "bound groups have names, .* got 'ab'"),
        ({"mask": None}, TypeError, r"bound groups have mask\(position, k\)"),
        ({"order": (0, 0)}, ValueError, r"order of groups .* holds each of 0\.\.1 once, got \[0, 0\]"),
        ({"mask": lambda self, position, k: torch.ones(1, 2, 6)}, TypeError, "gives a boolean tensor"),
        (
            {"mask": lambda self, position, k: torch.ones(1, 6, 2, dtype=torch.bool)},
            ValueError,
            r"gives shape \(1, 6, 2\) for one row; it is \(1, 2, 6\)",
        ),
    ],
)
def test_groups_that_break_the_contract_are_told_at_binding(says, error, message):
    with pytest.raises(error, match=message):
        bind_groups(type("Broken", (Bands,), says)(), AXES)


def test_groups_of_ones_own_need_names_and_a_mask():
    with pytest.raises(TypeError, match=r"abstract method '?mask"):
        type("Nothing", (BoundGroups,), {"names": ["a"]})()
    with pytest.raises(TypeError, match=r"bound groups have names, .* got None"):
        bind_groups(
            type(
                "Nameless",
                (Bands,),
                {"bind": lambda self, axes: type("N", (MaskOnly,), {"__init__": object.__init__})()},
            )(),
            AXES,
        )


@pytest.mark.parametrize("method", [ta.Occlusion, ta.ShapleySampling, ta.KernelShap])
def test_groups_and_a_baseline_of_other_classes_explain_and_are_scored_as_ours(method):
    x = xr.DataArray(X.numpy(), dims=("sample", "lead", "time"))
    model = lambda x: x.cumsum(2)[:, 0, -1] * x[:, 1].sum(1)  # noqa: E731
    theirs, ours = (Bands(), Zero()), (g.Along("lead"), b.Constant(0.0))
    maps, scores = [], []
    for groups, baseline in (theirs, ours):
        maps.append(ta.explain(model, x, method(groups, baseline)))
        scores.append(ta.evaluate(model, x, maps[-1], groups=groups, fills={"zero": baseline}))
    np.testing.assert_allclose(maps[0].attribution, maps[1].attribution, atol=1e-12)
    for name in ("gap", "infidelity", "sensitivity_n"):
        np.testing.assert_allclose(scores[0][name], scores[1][name], atol=1e-12)


def test_a_fill_that_says_that_it_draws_is_drawn_as_often_as_asked():
    class Noise(Zero):
        def fill(self, x, absent, key):
            return torch.where(absent, key.normal(x), x)

    x = xr.DataArray(X.numpy(), dims=("sample", "lead", "time"))
    model = lambda x: x.flatten(1).sum(1)  # noqa: E731
    ds = ta.explain(model, x, ta.Occlusion(Bands(), Zero()))
    rows = []
    for says in ({}, {"random": True}):
        fill = type("Noise", (Noise,), says)()
        found = ta.evaluate(model, x, ds, groups=Bands(), fills={"noise": fill}, draws=3, metrics=["deletion"])
        rows.append(int(found.model_evaluations.max()) - 1)  # beside the intact one
    assert rows[1] == 3 * rows[0]


# ---- targets


def test_a_target_of_another_class_is_adopted():
    class First:
        def bind(self, outputs):
            return lambda y, y0: y[:, 0]

    y = torch.arange(6.0).reshape(3, 2)
    target = resolve(First())
    assert isinstance(target, Target)
    assert (target.compares, target.keeps_units) == (True, False)  # it promises nothing
    assert target.bind(OUT)(y, y).tolist() == [0, 2, 4]
    assert target.label == repr(target) == repr(target.given)
    assert not resolve(type("Says", (First,), {"compares": False})()).compares
    assert resolve(target) is target


@pytest.mark.parametrize(
    ("bound", "says", "error", "message"),
    [
        (3, {}, TypeError, r"bind of target .*Broken.* gives a function \(y, y0\) -> \(rows,\), got 3"),
        (lambda y, y0: y, {}, ValueError, r"Broken.* gave shape \(3, 2\) for 3 rows; a target gives one number a row"),
        (3, {"compares": "no"}, TypeError, "compares of target .*Broken.* is True or False, got 'no'"),
    ],
)
def test_a_target_that_breaks_the_contract_is_told(bound, says, error, message):
    broken = type("Broken", (), {"bind": lambda self, outputs: bound, **says})()
    y = torch.zeros(3, 2)
    with pytest.raises(error, match=message):
        resolve(broken).bind(OUT)(y, y)


def test_what_targets_declare():
    compares = [t.Predicted(), t.Margin(), t.Difference(t.Predicted(), 0), t.Divergence(), Named(t.Margin(), "a")]
    never = [t.Output(0), t.Margin(0, 1), t.Difference(1, 0), resolve(lambda y: y[:, 0]), t.Region(output=0)]
    assert [u.compares for u in (*compares, *never)] == [True] * 5 + [False] * 5
    keep = [t.Output(0), t.Predicted(), t.Region(output=0), t.RootMeanSquare(output=0), resolve(None)]
    keep += [t.Difference(1, 0), Named(t.Output(0), "a")]
    lose = [
        t.Probability(0),
        t.LogOdds(0),
        t.Margin(),
        t.Divergence(),
        t.Projection(output=0),
        t.Difference(1, t.Margin()),
    ]
    assert [u.keeps_units for u in (*keep, *lose)] == [True] * len(keep) + [False] * len(lose)


# ---- the register of the package's own classes


def test_every_baseline_has_a_sentence_of_its_own():
    importlib.import_module("tsattr.climate")
    known = classes_of(Baseline)
    assert {"Constant", "JointGenerator", "Mixture", "SameSeason"} <= set(known)
    assert not {"Baseline", "Learnt", "_Range", "Mine"} & set(known)
    assert [name for name, c in known.items() if not vars(c).get("sentence")] == []
    assert [name for name, c in known.items() if c.sentence[0].isupper() or c.sentence.endswith(".")] == []
    assert [name for name, c in known.items() if c.note and not c.note.endswith(".")] == []
    parent = {name: c.__mro__[1].note for name, c in known.items() if "note" not in vars(c)}
    assert not any(parent.values())  # one that is another's in part says its own


def test_the_register_holds_the_packages_own_classes():
    class Mine(Baseline):
        pass

    assert "Mine" not in classes_of(Baseline)
    assert {"Along", "Cells", "Labelled", "Windows"} <= set(classes_of(Groups))
    assert {"Output", "Divergence", "Named"} <= set(classes_of(Target))
    assert not {"Entry", "Mine"} & set(classes_of(Target))


def test_what_the_command_line_knows_is_what_says_so():
    assert set(notation.BASELINES) == {n for n, c in classes_of(Baseline).items() if c.on_command_line}
    assert not {"Boundary", "MedianBeat", "Projection", "State"} & set(notation.BASELINES)
    assert set(notation.GROUPS) == {n for n, c in classes_of(Groups).items() if c.on_command_line}
    assert "Labelled" not in notation.GROUPS
    assert {"Projection", "Output.at", "LogOdds.at", "Difference"} <= set(notation.TARGETS)
    assert not {"Function", "Default", "Named", "Region.at"} & set(notation.TARGETS)
    made = {
        "Mixture(Constant(0.0), Hold())": b.Mixture(b.Constant(0.0), b.Hold()),
        "Jitter(0.1)": b.Jitter(0.1),
        "BandStop(low=1.0, high=2.0)": b.BandStop(low=1.0, high=2.0),
    }
    assert {text: notation.object_of(text, notation.BASELINES, "--baseline") for text in made} == made
