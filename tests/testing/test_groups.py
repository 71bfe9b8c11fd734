"""Groups of an outsider are found right, and each way to get them wrong is found by the law meant for it."""

import pickle
from dataclasses import dataclass

import numpy as np
import pytest
import torch
import xarray as xr

import tsattr as ta
from tsattr.testing import LawBroken, check_groups

from .sources import imported, is_found_wrong

STRIPES = '''
"""Every n-th cell along a dim: groups that are no boxes."""

from dataclasses import dataclass

import numpy as np
import torch

from tsattr.testing import BoundGroups, Groups


@dataclass(frozen=True)
class Stripes(Groups):
    """Cell t along a dim is in group t modulo n."""

    dim: str = "time"
    n: int = 3

    def bind(self, axes):
        return Bound(self.n, axes.axis(self.dim), axes.shape)


class Bound(BoundGroups):
    shared = True

    def __init__(self, n, axis, shape):
        self.n, self.axis, self.shape = n, axis, shape
        self.names = [f"stripe {k}" for k in range(n)]

    @property
    def order(self):
        return np.arange(self.n)[::-1]

    def _along(self, values):  # one number for each cell along the dim, as a row of the event's number of dims
        return values.reshape([-1, *(len(values[0]) if a == self.axis else 1 for a in range(len(self.shape)))])

    def mask(self, position, k):
        return self._along(torch.arange(self.shape[self.axis]) % self.n == k[:, None])

    def total(self, values, position):
        lines = values.movedim(1 + self.axis, 1).flatten(2).sum(2)
        return torch.stack([lines[:, k :: self.n].sum(1) for k in range(self.n)], 1)

    def spread(self, values, position, *, mean=True):
        cells = values[..., torch.arange(self.shape[self.axis]) % self.n]
        inner = [len(cells[0].T) if a == self.axis else 1 for a in range(len(self.shape))]
        return cells.reshape(*values.shape[:-1], *inner)

    def union(self, absent, position):
        return self._along(absent[:, torch.arange(self.shape[self.axis]) % self.n])

    def hull(self, position, k):
        start, size = torch.zeros(len(k), len(self.shape)).long(), torch.tensor(self.shape).repeat(len(k), 1)
        start[:, self.axis] = k
        size[:, self.axis] -= k
        return start, size
'''

MUTANTS = {
    "settings that can change": ("settings are frozen", ("(frozen=True)", "()")),
    "a setting that its repr hides": (
        "settings are frozen",
        ("n: int = 3", "n: int = __import__('dataclasses').field(default=2, repr=False)"),
    ),
    "one name for all": ("every group has a name of its own", ('f"stripe {k}" for', '"stripe" for')),
    "a mask beyond the input": (
        "masks are boolean and of the input's shape",
        ("% self.n == k[:, None])", "% self.n == k[:, None]).repeat(1, 1, 2)"),
    ),
    "a mask of numbers": (
        "masks are boolean and of the input's shape",
        ("% self.n == k[:, None])", "% self.n == k[:, None]).double()"),
    ),
    "a group of nothing": (
        "masks are boolean and of the input's shape",
        ("% self.n == k[:, None])", "% self.n == torch.where(k == 1, 9, k)[:, None])"),
    ),
    "the mask of the first row for all": (
        "a mask depends on its own row",
        ("% self.n == k[:, None])", "% self.n == k[:1, None].expand(len(k), 1))"),
    ),
    "a total of other cells": ("total agrees with the masks", ("lines[:, k :: self.n]", "lines[:, k + 1 :: self.n]")),
    "a count of cells that are not asked for": (
        "count agrees with the masks",
        (
            "    def total(self",
            "    def count(self, cells, position):\n        return self.total(torch.ones_like(cells).long(), position)\n\n"
            "    def total(self",
        ),
    ),
    "a count that is no whole number": (
        "count agrees with the masks",
        (
            "    def total(self",
            "    def count(self, cells, position):\n        return self.total(cells.double(), position)\n\n    def total(self",
        ),
    ),
    "a spread that knows no mean": (
        "spread agrees with the masks",
        ("cells = values[..., ", "cells = (1 if mean else 2) * values[..., "),
    ),
    "a spread over the neighbours": (
        "spread agrees with the masks",
        ("cells = values[..., torch.arange(", "cells = values[..., 1 + torch.arange(-1, -1 + "),
    ),
    "a union of none is all": (
        "union agrees with the masks",
        ("self._along(absent[:,", "self._along((absent | ~absent.any(1, keepdim=True))[:,"),
    ),
    "a hull too small": ("a hull holds its group", ("size[:, self.axis] -= k", "size[:, self.axis] -= k + 3")),
    "a hull beyond the input": ("a hull holds its group", ("size[:, self.axis] -= k", "size[:, self.axis] += 0")),
    "an order without the last": ("order holds each group once", ("np.arange(self.n)[::-1]", "np.arange(self.n) // 2")),
    "groups of each sample that say they are shared": (
        "shared groups are the same in all samples",
        ("% self.n == k[:, None])", "% self.n == (k + position % 2)[:, None] % self.n)"),
    ),
    "the place of a dim for its name": (
        "permuting dims permutes the groups",
        ("axes.axis(self.dim), axes.shape", "1, axes.shape"),
    ),
}


def test_groups_of_an_outsider_are_found_right(tmp_path):
    module = imported(tmp_path, STRIPES)
    for groups in (module.Stripes(), module.Stripes("lead", 2)):
        report = check_groups(groups)
        assert set(report.values()) == {"holds"}, str(report)


def test_groups_without_a_base_are_found_right():
    class Leads:
        names = ("I", "II", "V1")

        def bind(self, axes):
            self.axis = axes.axis("lead")
            return self

        def mask(self, position, k):
            one = torch.arange(3) == k[:, None]
            return one[:, :, None] if self.axis == 0 else one[:, None]

    report = check_groups(Leads())
    apart = {law: found for law, found in report.items() if found != "holds"}
    assert apart == {
        "settings are frozen": "does not apply: Leads is no dataclass",
        "a hull holds its group": "does not apply: its boxes are found from the masks",
        "shared groups are the same in all samples": "does not apply: they do not say that they are shared",
    }


@pytest.mark.parametrize("name", MUTANTS)
def test_groups_that_are_wrong_are_found_by_the_law_meant_for_it(name, tmp_path):
    law, change = MUTANTS[name]
    groups = imported(tmp_path, STRIPES, change).Stripes("time", 3)
    is_found_wrong(lambda **only: check_groups(groups, **only), law)


def test_a_message_says_what_was_seen_and_how_it_is_mended(tmp_path):
    law, change = MUTANTS["a total of other cells"]
    groups = imported(tmp_path, STRIPES, change).Stripes()
    message = is_found_wrong(lambda **only: check_groups(groups, **only), law)
    assert message.startswith("Stripes(dim='time', n=3) breaks the law 'total agrees with the masks'. Seen: total is ")
    assert " is expected; " in message
    assert message.endswith("total(values, position) is the sum of the values over each group, (rows, groups).")


def test_an_error_of_theirs_is_what_was_seen(tmp_path):
    groups = imported(tmp_path, STRIPES, ("axes.axis(self.dim), axes.shape", 'axes.axis("tide"), axes.shape')).Stripes()
    with pytest.raises(LawBroken, match=r"Seen: KeyError: .*no dim 'tide'.* \['lead', 'time'\]") as found:
        check_groups(groups)
    assert isinstance(found.value.__cause__, KeyError)
    again = pickle.loads(pickle.dumps(found.value))
    assert (str(again), again.law) == (str(found.value), found.value.law)


def test_an_example_of_ones_own_and_some_laws():
    x = xr.DataArray(np.zeros((2, 4, 5)), dims=("case", "lat", "lon"), coords={"lat": range(4), "lon": range(5)})
    laws = ["count agrees with the masks", "permuting dims permutes the groups"]
    report = check_groups(ta.groups.Along("lat"), x, sample_dim="case", laws=laws)
    assert report == dict.fromkeys(laws, "holds")
    assert str(report) == f"{laws[0]}: holds\n{laws[1]}: holds"
    report = check_groups(ta.groups.Cells(), laws=laws, exempt={laws[1]: "of no interest"})
    assert report == {laws[0]: "holds", laws[1]: "does not apply: of no interest"}
    with pytest.raises(LawBroken, match=r"KeyError: .*no dim 'lat'"):
        check_groups(ta.groups.Along("lat"))


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"laws": ["gravity"]}, ValueError, "'gravity' is no law of groups; they are: 'settings are frozen', "),
        ({"exempt": {"gravity": "light"}}, ValueError, "'gravity' is no law of groups"),
        ({"x": np.zeros((3, 2))}, TypeError, "x is an xarray.DataArray with the sample dim 'sample', got ndarray"),
        ({"x": xr.DataArray(np.zeros((1, 2)), dims=("sample", "time"))}, ValueError, "x holds 1 samples; .* need 2 or"),
    ],
)
def test_what_cannot_be_checked(given, error, message):
    with pytest.raises(error, match=message):
        check_groups(ta.groups.Cells(), **given)


def test_a_dataclass_of_a_function_is_not_asked_for_a_pickle():
    @dataclass(frozen=True)
    class Mine(ta.testing.Groups):
        def bind(self, axes):
            return ta.groups.Cells().bind(axes)

    assert set(check_groups(Mine()).values()) == {"holds"}
