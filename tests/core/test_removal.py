"""A removal against the closures it took the place of, and the evaluations that may answer one."""

import numpy as np
import pytest
import torch
import xarray as xr

import tsattr as ta
from tsattr.core import evaluator as ev
from tsattr.core import groups as g
from tsattr.core.axes import Axes
from tsattr.core.baselines import Bridge, Constant, Gaussian
from tsattr.core.baselines.fills import bind
from tsattr.core.bound import BoundTargets
from tsattr.core.engine import Engine
from tsattr.core.evaluation import removals
from tsattr.core.groups import masks
from tsattr.core.groups.binding import bind as bind_groups
from tsattr.core.samples import SampleChunk

N, SHAPE = 4, (3, 8)
RNG = np.random.default_rng(0)
X = torch.as_tensor(RNG.normal(size=(N, *SHAPE)))
VALID = torch.as_tensor(RNG.random((N, *SHAPE)) > 0.2)
LEAD = np.arange(3)
LINE = Axes(("lead", "time"), SHAPE, {"lead": LEAD, "time": np.arange(8.0)}, samples=N)
FLAT = Axes(("time",), (24,))
CIRCLE = Axes(("lead", "time"), SHAPE, {"lead": LEAD, "time": np.arange(8) * 45.0}, periodic=frozenset({"time"}))
BEATS = xr.DataArray(RNG.integers(-1, 3, (N, 8)), dims=("sample", "time"))
GROUPS = {
    "cells": (g.Cells(), LINE),
    "windows": (g.Windows(time=3, lead=1), LINE),
    "overlapping": (g.Windows(time=3, step=2), LINE),
    "along": (g.Along("lead"), LINE),
    "everything": (g.Windows(time=8), LINE),
    "round a circle": (g.Windows(time=3, step=2), CIRCLE),
    "labelled": (g.Labelled(BEATS[0]), LINE),
    "labelled by sample": (g.Labelled(BEATS), LINE),
    "by a mask": (masks.OneGroup(VALID), LINE),
    "several variables": (
        masks.JoinedGroups(
            (
                (slice(0, 15), (3, 5), g.Windows(time=2, lead=1).bind(Axes(("lead", "time"), (3, 5)))),
                (slice(15, 24), (9,), g.Cells().bind(Axes(("column",), (9,)))),
            ),
            list("abcdefghijklmnopqr"),
        ),
        FLAT,
    ),
}
BASELINES = {"constant": Constant(0.5), "bridge": Bridge(), "noise": Gaussian(1.0)}

every = pytest.mark.parametrize("name", GROUPS)


def samples_of(axes, valid=VALID):
    def model(rows, position):
        return rows.flatten(1).sum(1)

    engine = Engine(model, lambda shape: BoundTargets((lambda y, y0: y,)), torch.device("cpu"), samples=N)
    valid = None if valid is None else valid.reshape(N, *axes.shape)
    return SampleChunk(engine, X.reshape(N, *axes.shape), valid, np.arange(N, dtype=np.uint64), torch.arange(N))


def bound(name):
    groups, axes = GROUPS[name]
    return (groups if isinstance(groups, masks.BoundGroups) else bind_groups(groups, axes)), axes


def asked(groups, rows=30):
    """Samples, draws, one group and a set of groups for each row."""
    rng = torch.Generator().manual_seed(1)
    i = torch.randint(N, (rows,), generator=rng).sort().values
    draw, k = (torch.randint(m, (rows,), generator=rng) for m in (3, len(groups.names)))
    sets = torch.rand((rows, len(groups.names)), generator=rng) < 0.3
    sets[0], sets[1] = False, True
    return i, draw, k, sets


def cells_of(groups, sample, k, shape):
    """The cells of one group of one sample, True."""
    return groups.mask(torch.tensor([int(sample)]), torch.tensor([int(k)])).expand(1, *shape)[0]


@every
@pytest.mark.parametrize("baseline", BASELINES)
@pytest.mark.parametrize("valid", [None, VALID])
def test_rows_are_those_of_the_closures(name, baseline, valid):
    groups, axes = bound(name)
    samples, fill = samples_of(axes, valid), bind(BASELINES[baseline], axes)
    i, draw, k, sets = asked(groups)
    one, several = samples.removal(groups, fill, i, draw, k), samples.removal(groups, fill, i, draw, sets)
    for at in (slice(0, 30), slice(3, 11), slice(29, 30)):
        gone = torch.stack([cells_of(groups, s, m, axes.shape) for s, m in zip(i[at], k[at])])
        assert torch.equal(one.mask(at).expand_as(gone), gone)
        assert torch.equal(one.rows(at), samples.fill(fill, i[at], draw[at], gone))
        gone = torch.zeros_like(gone)
        for row, (s, absent) in enumerate(zip(i[at], sets[at])):
            for m in absent.nonzero()[:, 0]:
                gone[row] |= cells_of(groups, s, m, axes.shape)
        assert torch.equal(several.mask(at).expand_as(gone), gone)
        assert torch.equal(several.rows(at), samples.fill(fill, i[at], draw[at], gone))


@every
def test_what_is_made_lazily_is_what_is_made_at_once(name):
    groups, axes = bound(name)
    samples, fill = samples_of(axes), bind(Bridge(), axes)
    i, draw, k, sets = asked(groups)
    at = slice(5, 17)
    for absent in (k, sets):
        ready, lazy = (samples.removal(groups, fill, i, draw, a) for a in (absent, lambda at, a=absent: a[at]))
        assert torch.equal(ready.mask(at), lazy.mask(at))
        assert torch.equal(ready.rows(at), lazy.rows(at))
        assert all(torch.equal(a, b) for a, b in zip(ready.hull(at), lazy.hull(at)))
        few = torch.tensor([2, 7, 7, 29])
        assert torch.equal(ready.pick(few).rows(slice(None)), lazy.pick(few).rows(slice(0, 4)))


@every
@pytest.mark.parametrize("kind", ["one group", "a set"])
def test_the_hull_is_the_box_round_the_mask_and_the_patch_its_rows(name, kind):
    groups, axes = bound(name)
    samples, fill = samples_of(axes), bind(Bridge(), axes)
    i, draw, k, sets = asked(groups)
    removal = samples.removal(groups, fill, i, draw, k if kind == "one group" else sets)
    at = slice(0, 20)
    start, size = removal.hull(at)
    rows, masks = removal.rows(at), removal.mask(at).expand(20, *axes.shape)
    first, cells = removal.patch(at)
    for r, inside in enumerate(masks.numpy()):
        where = np.argwhere(inside)
        if not len(where):
            assert not size[r].any()
        else:
            assert start[r].tolist() == where.min(0).tolist()
            assert (start[r] + size[r]).tolist() == (where.max(0) + 1).tolist()
        box = tuple(slice(int(s), int(s) + n) for s, n in zip(first[r], cells.shape[1:]))
        assert torch.equal(cells[r], rows[r][box])
        back = samples.x[i[r]].clone()
        back[box] = cells[r]
        assert torch.equal(back, rows[r])


def test_everything_has_no_hull():
    samples, fill = samples_of(LINE), bind(Constant(0.0), LINE)
    i = torch.tensor([0, 2])
    removal = samples.removal(None, fill, i, torch.zeros_like(i))
    assert removal.hull(slice(None)) is None
    assert removal.patch(slice(None)) is None
    assert removal.mask(slice(None)).all()
    assert torch.equal(removal.rows(slice(None)), samples.fill(fill, i, torch.zeros_like(i)))
    groups, _ = bound("windows")
    nobody = samples.removal(groups, fill, i[:0], i[:0], i[:0])
    assert nobody.patch(slice(None))[1].shape == (0, 0, 0)


# ---- evaluations


class Patched(ev.RemovalEvaluation):
    """For models that are linear: from the intact output, by what the cells of the hull have changed."""

    name = "linear patch"
    weights = torch.linspace(1, 2, 24, dtype=torch.float64).reshape(SHAPE)
    calls = 0

    def work(self, removal):
        _, size = removal.hull(slice(0, len(removal)))
        return size.prod(1) / (SHAPE[0] * SHAPE[1])

    def __call__(self, removal, at):
        type(self).calls += 1
        start, cells = removal.patch(at)
        intact = self.samples.x[removal.i[at]]
        y = (intact * self.weights).sum((1, 2))
        for row, first in enumerate(start.tolist()):
            box = tuple(slice(a, a + n) for a, n in zip(first, cells.shape[1:]))
            y[row] += ((cells[row] - intact[row][box]) * self.weights[box]).sum()
        return y


class Dear(Patched):
    name = "dear"

    def work(self, removal):
        return 1 + super().work(removal)


class Wrong(Patched):
    name = "wrong"

    def __call__(self, removal, at):
        return 1.001 * super().__call__(removal, at)


class Broken(Patched):
    name = "broken"

    def __call__(self, removal, at):
        raise RuntimeError("no such layer\nin this model")


class Moody(Patched):
    """Holds on the trial only."""

    name = "moody"

    def __call__(self, removal, at):
        if len(removal) > 8:
            raise ev.Unsupported("too many rows")
        return super().__call__(removal, at)


def linear(x):
    linear.rows += len(x)
    return (x * Patched.weights).sum((1, 2))


METHODS = {
    "occlusion": ta.Occlusion(g.Windows(time=2), Bridge()),
    "noise": ta.Occlusion(g.Windows(time=2, lead=1), Gaussian(1.0), draws=2),
    "shapley": ta.ShapleySampling(g.Windows(time=2), draws=4),
    "kernel": ta.KernelShap(g.Along("lead")),
    "rescaling": ta.TemporalRescaling(ta.Occlusion(g.Cells())),
}


def explained(monkeypatch, method, *evaluations, x=X, **settings):
    monkeypatch.setattr(removals, "EVALUATIONS", evaluations)
    linear.rows = Patched.calls = 0
    x = xr.DataArray(x.numpy(), dims=("sample", "lead", "time"))
    return ta.explain(linear, x, method, check=False, **settings), linear.rows


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("batch", [1, 3, "auto"])
def test_what_is_cheaper_and_holds_is_taken(monkeypatch, name, batch):
    dense, asked = explained(monkeypatch, METHODS[name], batch_size=batch)
    quick, fewer = explained(monkeypatch, METHODS[name], Patched, batch_size=batch)
    xr.testing.assert_allclose(quick, dense, rtol=1e-9, atol=1e-9)
    assert "evaluation" not in dense.attrs
    assert quick.attrs["evaluation"] == "linear patch"
    assert Patched.calls > 1
    if name != "rescaling":  # which tries anew for each chunk of changed samples
        assert fewer <= N + 2 * 8 + 2 * (batch == 1) <= asked + 2
    assert quick.attrs["trial_rows"] > dense.attrs["trial_rows"] == 0


@pytest.mark.parametrize(
    ("evaluation", "said"),
    [
        (Wrong, "not wrong: other outputs; dense"),
        (Broken, "not broken: RuntimeError: no such layer; dense"),
        (Moody, "moody; not moody: too many rows; dense"),
    ],
)
def test_what_does_not_hold_is_refused_with_its_reason(monkeypatch, evaluation, said):
    dense, _ = explained(monkeypatch, METHODS["shapley"])
    refused, _ = explained(monkeypatch, METHODS["shapley"], evaluation)
    assert refused.attrs["evaluation"] == said
    xr.testing.assert_equal(refused, dense)


def test_the_next_is_tried_and_the_dense_way_stays_where_it_is_cheaper(monkeypatch):
    both, _ = explained(monkeypatch, METHODS["occlusion"], Wrong, Patched)
    assert both.attrs["evaluation"] == "not wrong: other outputs; linear patch"
    dense, _ = explained(monkeypatch, METHODS["occlusion"])
    dear, _ = explained(monkeypatch, METHODS["occlusion"], Dear)
    xr.testing.assert_identical(dear.drop_attrs(deep=False), dense.drop_attrs(deep=False))
    assert "evaluation" not in dear.attrs


def test_outputs_that_do_not_move_prove_nothing(monkeypatch):
    ds, _ = explained(monkeypatch, METHODS["occlusion"], Patched, x=torch.zeros_like(X))
    assert ds.attrs["evaluation"].startswith("not linear patch: outputs that do not move")


def test_a_lack_of_memory_is_no_reason():
    with pytest.raises(MemoryError):
        ev.attempt(lambda: (_ for _ in ()).throw(MemoryError()))


def test_scores_by_removal_ask_in_the_same_way(monkeypatch):
    found, _ = explained(monkeypatch, METHODS["occlusion"])
    x = xr.DataArray(X.numpy(), dims=("sample", "lead", "time"))
    scores = []
    for evaluations in ((), (Patched,)):
        monkeypatch.setattr(removals, "EVALUATIONS", evaluations)
        scores.append(ta.evaluate(linear, x, found, groups=g.Windows(time=2), metrics=["deletion"], check=False))
    dense, quick = scores
    xr.testing.assert_allclose(quick, dense, rtol=1e-9, atol=1e-9)
    assert "evaluation" not in dense.attrs
    assert quick.attrs["evaluation"] == "linear patch"
