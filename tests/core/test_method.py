"""The type of a method: what it declares, what it says of a class or a result that breaks the contract, and its register."""

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pytest
import torch

import tsattr as ta
from tsattr.core.method import Method, OverBudget, registry
from tsattr.core.results import EVENT, Field

X = np.arange(6.0).reshape(2, 3)
OWN = list(registry().values())


def f(x):
    return x.sum(1)


@dataclass(frozen=True)
class Ablation(Method):
    """What an outsider writes: each group filled in turn, its loss spread over its cells."""

    groups: Any = ta.groups.Cells()  # noqa: RUF009 - frozen
    baseline: Any = ta.baselines.Constant(0.0)  # noqa: RUF009 - frozen
    binds: ClassVar[Mapping[str, str]] = {"groups": "groups", "baseline": "baseline"}
    gradient: ClassVar[bool] = False

    def __call__(self, samples):
        out = torch.zeros(samples.n, samples.targets, len(self.groups.names), dtype=torch.float64)
        for g in range(len(self.groups.names)):
            i = samples.indices

            def without(at, g=g):
                gone = self.groups.mask(samples.position[at], torch.full_like(samples.position[at], g))
                return samples.fill(self.baseline, samples.indices[at], torch.zeros_like(samples.indices[at]), gone)

            for at, v in samples.values(i, without):
                out[at, :, g] = samples.prediction[at] - v
        maps = self.groups.spread(out, samples.position).expand(samples.n, samples.targets, *samples.event)
        return {"attribution": Field(("target", EVENT), maps), "group_value": Field(("target", "group"), out)}

    def rows(self):
        return 1 + len(self.groups.names), 1 + len(self.groups.names)


def test_a_method_of_an_outsider_needs_a_verb_gradient_and_rows_alone():
    ds, expected = (ta.explain(f, X, m) for m in (Ablation(), ta.Occlusion(ta.groups.Cells())))
    for name in ("attribution", "group_value", "prediction", "status", "model_evaluations"):
        np.testing.assert_array_equal(ds[name], expected[name])
    assert ds.attrs["baseline"] == "Constant(value=0.0)"
    assert ds.attrs["groups"] == "Cells()"
    assert ta.explain(f, X, Ablation(), dry_run=True).attrs["rows"] == 8 + 2 * 2
    assert "Ablation" not in registry()


def test_what_a_method_does_not_say_has_a_default():
    method = Ablation()
    assert (method.needs_smoothness, method.arrays, method.in_target_units, method.extra_rows) == (False, 1, False, 0)
    assert method.of_target
    assert (method.along, method.implied_baseline, method.caution, method.default_target) == (None,) * 4
    assert method.coordinates() == {}
    assert method.prepared(None, ()) is method
    bound = method.bind(lambda setting, kind: SizedAs(4) if kind == "groups" else setting)
    assert bound.rows() == bound.work() == (5, 5)
    assert bound.within(5) is bound
    with pytest.raises(
        OverBudget, match=r"Ablation takes up to 5 rows a sample, .* where 4 are allowed; give more rows"
    ):
        bound.within(4)


class SizedAs:
    def __init__(self, n):
        self.names = [""] * n


# ---- a class that is no method yet


def verb(self, samples):
    return {}


COMPLETE = {"__call__": verb, "gradient": False, "rows": lambda self: (1, 1)}


@pytest.mark.parametrize(
    ("lacking", "message"),
    [
        ("rows", r"Mine is no method yet: give it def rows\(self\) -> tuple\[int, int\], the fewest and the most rows"),
        ("gradient", r"Mine is no method yet: give it gradient: ClassVar\[bool\], True if it needs"),
        ("__call__", r"Mine is no method yet: give it def __call__\(self, samples\) -> dict\[str, Field\]"),
    ],
)
def test_a_class_without_part_of_the_contract(lacking, message):
    kind = type("Mine", (Method,), {k: v for k, v in COMPLETE.items() if k != lacking})
    with pytest.raises(TypeError, match=message):
        dataclass(frozen=True)(kind)()


def test_a_class_that_is_no_frozen_dataclass():
    fix = r"write @dataclass\(frozen=True\) above class Mine"
    with pytest.raises(TypeError, match=f"Mine is no dataclass: {fix}"):
        type("Mine", (Method,), COMPLETE)()
    with pytest.raises(TypeError, match=f"Mine is a dataclass that can be changed: {fix}"):
        dataclass(type("Mine", (Method,), COMPLETE))()
    with pytest.raises(TypeError, match=f"Mine is no dataclass: {fix}"):
        type("Mine", (ta.Saliency,), {})()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (
            {"binds": {"fill": "baseline"}},
            r"Mine.binds says \{'fill': 'baseline'\}: it is from its fields, absolute, to",
        ),
        ({"binds": {"absolute": "size"}}, r"Mine.binds says \{'absolute': 'size'\}: .* to groups, baseline, noise"),
        ({"effort": ("steps",)}, "Mine.effort names 'steps'; it is of its fields, absolute"),
    ],
)
def test_a_class_that_binds_what_it_has_not(wrong, message):
    with pytest.raises(TypeError, match=message):
        dataclass(frozen=True)(type("Mine", (ta.Saliency,), wrong))()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (ta.Saliency, r"method is an object with its settings: Saliency\(...\), not the class"),
        ("Saliency", r"method is an object such as IntegratedGradients\(...\) or Occlusion\(...\), got 'Saliency'"),
        (f, r"got <function f .*; derive function from tsattr.testing.Method"),
    ],
)
def test_what_is_no_method(given, message):
    with pytest.raises(TypeError, match=message):
        ta.explain(f, X, given)


# ---- a result that is not one


@dataclass(frozen=True)
class Returns(Method):
    """Returns what `make` makes of the samples."""

    make: Any
    gradient: ClassVar[bool] = False

    def __call__(self, samples):
        return self.make(samples)

    def rows(self):
        return 1, 1


def zeros(*shape):
    return torch.zeros(shape, dtype=torch.float64)


MAP = Field(("target", EVENT), zeros(2, 1, 3))


@pytest.mark.parametrize(
    ("found", "error", "message"),
    [
        (
            None,
            TypeError,
            r'Returns returns a NoneType; it returns {"attribution": Field\(\("target", EVENT\), values\)',
        ),
        ({"group_value": MAP}, TypeError, r"Returns returns a dict of .'group_value'.; it returns {\"attribution\""),
        ({"attribution": zeros(2, 1, 3)}, TypeError, r"'attribution' of Returns is a Tensor; it is a Field\("),
        (
            {"attribution": Field(("target", EVENT), [1.0])},
            TypeError,
            "'attribution' of Returns is a Field; .* a tensor",
        ),
        (
            {"attribution": Field(("target", EVENT), zeros(2, 3))},
            ValueError,
            r"'attribution' of Returns has values of shape \(2, 3\); samples first, dims \('target', '...'\) make it \(2, 1, 3\)",
        ),
        (
            {"attribution": Field(("target", EVENT), zeros(2, 1, 4))},
            ValueError,
            r"'attribution' of Returns has values of shape \(2, 1, 4\); .* make it \(2, 1, 3\)",
        ),
        (
            {"attribution": MAP, "steps": Field(("target", "lag"), zeros(1, 1, 9))},
            ValueError,
            r"'steps' of Returns has values of shape \(1, 1, 9\); .* make it \(2, 1, any\)",
        ),
        (
            {"attribution": Field(("target", "group"), zeros(2, 1, 3))},
            ValueError,
            r"'attribution' of Returns has the dims \('target', 'group'\); a map has \('target', '...'\) among them",
        ),
    ],
)
def test_a_result_that_breaks_the_contract(found, error, message):
    with pytest.raises(error, match=message):
        ta.explain(f, X, Returns(lambda samples: found))
    if found is not None:
        with pytest.raises(error, match=message):
            ta.explain(f, X, ta.TemporalRescaling(Returns(lambda samples: found), ta.groups.Along("dim_1")))


def test_values_of_groups_are_one_for_each():
    @dataclass(frozen=True)
    class Wrong(Ablation):
        def __call__(self, samples):
            return {"attribution": MAP, "group_value": Field(("target", "group"), zeros(2, 1, 2))}

    with pytest.raises(
        ValueError, match=r"'group_value' of Wrong has values of shape \(2, 1, 2\); .* make it \(2, 1, 3\)"
    ):
        ta.explain(f, X, Wrong())


# ---- the register


def test_every_method_of_the_package_is_registered_once_with_its_words():
    public = {name for name in dir(ta) if isinstance(kind := getattr(ta, name), type) and issubclass(kind, Method)}
    assert set(registry()) == public
    sentences = [kind.sentence for kind in OWN]
    assert all(re.fullmatch(r"[A-Z][^\n]{20,}\.", s) and "  " not in s for s in sentences)
    assert len(set(sentences)) == len(sentences)
    assert all(kind.note == "" or re.fullmatch(r"[A-Z][^\n]{20,}\.", kind.note) for kind in OWN)


@pytest.mark.parametrize("kind", OWN, ids=lambda kind: kind.__name__)
def test_what_learns_or_counts_is_declared(kind):
    names = [field.name for field in dataclasses.fields(kind)]
    assert [name for name in names if name in ("groups", "features")] == [
        k for k, v in kind.binds.items() if v == "groups"
    ]
    for name, bound in {"baseline": "baseline", "noise": "noise", "method": "method", "draws": "draws"}.items():
        assert (name in names) == (kind.binds.get(name) == bound)


def test_a_switch_is_true_or_false_however_its_type_is_written():
    @dataclass(frozen=True)
    class Switched(Ablation):
        twice: bool = False

    for method in (ta.Saliency(absolute="no"), Switched(twice="no")):
        with pytest.raises(TypeError, match=r"(absolute of Saliency|twice of Switched) is True or False, got 'no'"):
            ta.explain(f, X, method)


def test_settings_are_found_and_changed_also_in_a_method_inside():
    inner = ta.Occlusion(ta.groups.Along("a"), ta.baselines.Mean(), draws=2)
    method = ta.TemporalRescaling(inner, ta.groups.Along("b"), ta.groups.Cells(), ta.baselines.Constant(1.0))
    groups = [ta.groups.Along("b"), ta.groups.Cells(), ta.groups.Along("a")]
    assert method.settings("groups") == groups
    assert method.settings("baseline") == [ta.baselines.Constant(1.0), ta.baselines.Mean()]
    assert method.baselines() == [ta.baselines.Constant(1.0), ta.baselines.Mean()]
    assert ta.InputXGradient().baselines() == [ta.baselines.Constant(0.0)]
    assert ta.SmoothGrad(0.1).baselines() == [0.1]
    assert ta.Saliency().baselines() == []
    assert method.inner() == [inner]
    assert inner.inner() == method.settings("noise") == []
    changed = method.with_settings(lambda value, kind: 3 if kind == "draws" else f"{kind} {value!r}")
    assert changed.groups == f"groups {groups[0]!r}"
    assert changed.features == f"groups {groups[1]!r}"
    assert changed.method == ta.Occlusion(f"groups {groups[2]!r}", f"baseline {ta.baselines.Mean()!r}", draws=3)
