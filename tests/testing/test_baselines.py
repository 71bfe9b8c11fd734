"""Baselines of an outsider are found right, and each way to get one wrong is found by the law meant for it."""

from dataclasses import dataclass

import pytest
import torch
import xarray as xr

import tsattr as ta
from tsattr.testing import Baseline, Full, check_baseline

from .sources import imported, is_found_wrong

DRIFT = '''
"""What a series was on average so far, and a level that is drawn."""

from dataclasses import dataclass
from typing import ClassVar

import torch

from tsattr.testing import Baseline, BoundBaseline


@dataclass(frozen=True)
class Drift(Baseline):
    """The mean of the present cells before it, else 0, plus one normal number for the whole of a row."""

    sigma: float = 0.5
    dim: str = "time"
    random: ClassVar[bool] = True

    def _bind(self, axes):
        return Bound(self.sigma, 1 + axes.axis(self.dim))


class Bound(BoundBaseline):
    causal = True
    nested = True

    def __init__(self, sigma, axis):
        self.sigma, self.axis = sigma, axis

    def fill(self, x, absent, key):
        there = ~(absent | torch.isnan(x))
        number = there.cumsum(self.axis) - there.long()
        total = torch.where(there, x, 0).cumsum(self.axis) - torch.where(there, x, 0)
        level = key.each(lambda row: key.rng(row).standard_normal(), x).reshape(-1, *[1] * (x.ndim - 1))
        values = total / number.clamp(min=1) + self.sigma * level
        return torch.where(absent, values, x)
'''

HALF = '''
"""Half of each value: what every cell gets does not depend on what else is absent."""

from dataclasses import dataclass

import torch

from tsattr.testing import Baseline, BoundBaseline


@dataclass(frozen=True)
class Half(Baseline):
    """Half of the value; the mean of the sample where it is missing."""

    def _bind(self, axes):
        return Bound()


class Bound(BoundBaseline):
    conditional = False
    nested = True

    def full(self, x, key):
        return x / 2

    def fill(self, x, absent, key):
        return torch.where(absent, self.full(x, key), x)
'''

LEVEL = "level = key.each(lambda row: key.rng(row).standard_normal(), x)"
FILLED = "torch.where(absent, values, x)"
MUTANTS = {
    "settings that can change": ("settings are frozen", ("(frozen=True)", "()")),
    "binding changes the settings": (
        "settings are frozen",
        (
            "        return Bound(self",
            '        object.__setattr__(self, "sigma", self.sigma / 2)\n        return Bound(self',
        ),
    ),
    "always float64": ("a fill has the shape and the dtype of its rows", (FILLED, FILLED + ".double()")),
    "a cell too few": ("a fill has the shape and the dtype of its rows", (FILLED, FILLED + "[:, :, :-1]")),
    "writes into x": ("the input is not written into", (FILLED, "x.copy_(" + FILLED + ")")),
    "writes into the mask": (
        "the input is not written into",
        (f"        return {FILLED}", f"        found = {FILLED}\n        absent |= True\n        return found"),
    ),
    "fills present cells": ("present cells are kept", (FILLED, "values.to(x.dtype)")),
    "gives missing cells a number": ("present cells are kept", (FILLED, "torch.where(absent | x.isnan(), values, x)")),
    "no value before the first": ("absent cells get a number", ("number.clamp(min=1)", "number")),
    "leaks NaN": (
        "missing cells inform no fill",
        ("total = torch.where(there, x, 0).cumsum(self.axis)", "total = torch.where(absent, 0, x).cumsum(self.axis)"),
    ),
    "takes the mask for one of x's shape": (
        "a mask may broadcast",
        (FILLED, "x.masked_scatter(absent, values[absent] if absent.shape == x.shape else values * 0)"),
    ),
    "draws by the place in the batch": (
        "rows do not see each other",
        (LEVEL, "level = torch.arange(len(x)).to(x)"),
    ),
    "a mean over the batch": ("rows do not see each other", (FILLED, "torch.where(absent, values.mean(0), x)")),
    "draws from the global state": ("one key gives one fill", (LEVEL, "level = torch.randn(len(x)).to(x)")),
    "does not say that it draws": (
        "`random` says whether draws differ",
        ("random: ClassVar[bool] = True", "random: ClassVar[bool] = False"),
    ),
    "says that it draws and does not": ("`random` says whether draws differ", ("self.sigma * level", "0 * level")),
    "one draw for all": ("`random` says whether draws differ", ("key.rng(row)", "key.rng(row, per_sample=True)")),
    "one seed for all": (
        "`random` says whether draws differ",
        ("key.rng(row)", "type(key)(0, key.sample, key.position, key.draw).rng(row)"),
    ),
    "one draw for all samples": (
        "`random` says whether draws differ",
        ("key.rng(row)", "type(key)(key.seed, 0 * key.sample, key.position, key.draw).rng(row)"),
    ),
    "looks ahead and says it does not": (
        "a causal fill knows no future",
        (FILLED, "torch.where(absent, values + torch.where(there, x, 0).sum(self.axis, keepdim=True), x)"),
    ),
    "knows the length of the gap": (
        "a nested fill does not know how far its gap goes on",
        (FILLED, "torch.where(absent, values / absent.sum(self.axis, keepdim=True).clamp(min=1), x)"),
    ),
    "says that it is not conditional": (
        "a fill that is not conditional has one value for each cell",
        ("    nested = True\n", "    nested = True\n    conditional = False\n"),
    ),
    "goes on otherwise than it fills": (
        "what goes on from the past is what a whole row gets",
        (
            "    def fill(self, x",
            "    def ahead(self, known):\n        return lambda i, start, length, gone, key: known.movedim(self.axis, 1)[i, :length]"
            "\n\n    def fill(self, x",
        ),
    ),
    "the place of a dim for its name": ("permuting dims permutes the fill", ("1 + axes.axis(self.dim)", "2")),
    "keeps the axes on itself": (
        "a variable beside another is filled as by itself",
        (
            "        return Bound(self.sigma, 1 + axes.axis(self.dim))",
            "        Bound.times = getattr(Bound, 'times', 0) + 1\n        return Bound(self.sigma * Bound.times, "
            "1 + axes.axis(self.dim))",
        ),
    ),
}


def test_a_baseline_of_an_outsider_is_found_right(tmp_path):
    report = check_baseline(imported(tmp_path, DRIFT).Drift())
    assert {law for law, found in report.items() if found != "holds"} == {
        "a fill that is not conditional has one value for each cell",
        "what goes on from the past is what a whole row gets",
    }
    report = check_baseline(imported(tmp_path, HALF).Half())
    apart = {law: found for law, found in report.items() if found != "holds"}
    assert apart == {
        "a causal fill knows no future": "does not apply: it does not say that it is causal",
        "what goes on from the past is what a whole row gets": "does not apply: it fills whole rows",
    }


@pytest.mark.parametrize("name", MUTANTS)
def test_a_baseline_that_is_wrong_is_found_by_the_law_meant_for_it(name, tmp_path):
    law, change = MUTANTS[name]
    baseline = imported(tmp_path, DRIFT, change).Drift()
    is_found_wrong(lambda **only: check_baseline(baseline, **only), law)


def test_a_fill_alone_is_a_baseline():
    class Zero:
        def fill(self, x, absent, key):
            return torch.where(absent, 0.0, x)

    report = check_baseline(Zero())
    assert report["settings are frozen"] == "does not apply: Zero is no dataclass"
    assert report["present cells are kept"] == report["permuting dims permutes the fill"] == "holds"


def test_one_made_of_values_for_every_cell():
    @dataclass(frozen=True)
    class Third(Baseline):
        share: float = 1 / 3

        def _bind(self, axes):
            return Full(lambda x, key: x * self.share)

    assert check_baseline(Third())["a fill that is not conditional has one value for each cell"] == "holds"


def test_an_input_of_ones_own():
    x = xr.DataArray([[1.0, 2.0], [0.5, 3.0], [2.0, 2.0]], dims=("row", "column"))
    assert check_baseline(ta.baselines.Constant(0.0), x, sample_dim="row")["a mask may broadcast"] == "holds"
    report = check_baseline(ta.baselines.Uniform(0.0, 1.0), x, sample_dim="row")
    assert report["a causal fill knows no future"] == "does not apply: the input has no dim of time"


def test_what_has_no_value_for_some_says_so():
    class Some:
        def fill(self, x, absent, key):
            return torch.where(absent, torch.where(key.position == 1, torch.nan, 0.0).reshape(-1, 1, 1), x)

    lacks = dict.fromkeys(["absent cells get a number", "missing cells inform no fill"], "nothing is known of p1")
    report = check_baseline(Some(), exempt=lacks)
    assert report["absent cells get a number"] == "does not apply: nothing is known of p1"
    message = is_found_wrong(lambda **only: check_baseline(Some(), **only), "absent cells get a number")
    assert "Seen: NaN in " in message
