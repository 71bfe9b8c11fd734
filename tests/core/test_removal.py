"""A removal against the closures it took the place of, and the evaluations that may answer one."""

import numpy as np
import pytest
import torch
import xarray as xr

from tsattr.core import evaluation as ev
from tsattr.core import groups as g
from tsattr.core.axes import Axes
from tsattr.core.baselines import Bridge, Constant, Gaussian
from tsattr.core.engine import Engine
from tsattr.core.fills import bind
from tsattr.core.samples import Samples

CPU = torch.device("cpu")
N, SHAPE = 4, (3, 8)
RNG = np.random.default_rng(0)
X = torch.as_tensor(RNG.normal(size=(N, *SHAPE)))
VALID = torch.as_tensor(RNG.random((N, *SHAPE)) > 0.2)
LEAD = np.arange(3)
LINE = Axes(("lead", "time"), SHAPE, {"lead": LEAD, "time": np.arange(8.0)}, samples=N)
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
}
BASELINES = {"constant": Constant(0.5), "bridge": Bridge(), "noise": Gaussian(1.0)}

every = pytest.mark.parametrize("name", GROUPS)


def samples_of(model=lambda x: x.flatten(1).sum(1), *, valid=VALID, n=N, shape=SHAPE, x=None):
    engine = Engine(lambda rows, position: model(rows), lambda shape: [lambda y, y0: y.reshape(len(y), -1).sum(1)], CPU)
    engine.samples = n
    x = X if x is None else x
    return Samples(engine, x, valid, np.arange(n, dtype=np.uint64), torch.arange(n))


def bound(name):
    groups, axes = GROUPS[name]
    return g.bind(groups, axes), axes


def asked(groups, rows=30):
    """Samples, draws, one group and a set of groups for each row."""
    rng = torch.Generator().manual_seed(1)
    i = torch.randint(N, (rows,), generator=rng).sort().values
    draw, k = (torch.randint(m, (rows,), generator=rng) for m in (3, len(groups.names)))
    sets = torch.rand((rows, len(groups.names)), generator=rng) < 0.3
    sets[0], sets[1] = False, True
    return i, draw, k, sets


def cells_of(groups, sample, k):
    """The cells of one group of one sample, True."""
    one = torch.tensor([sample])
    return groups.mask(one, torch.tensor([k])).expand(1, *SHAPE)[0]


@every
@pytest.mark.parametrize("baseline", BASELINES)
@pytest.mark.parametrize("valid", [None, VALID])
def test_rows_are_those_of_the_closures(name, baseline, valid):
    groups, axes = bound(name)
    samples, fill = samples_of(valid=valid), bind(BASELINES[baseline], axes)
    i, draw, k, sets = asked(groups)
    one, several = samples.removal(groups, fill, i, draw, k), samples.removal(groups, fill, i, draw, sets)
    for at in (slice(0, 30), slice(3, 11), slice(29, 30)):
        gone = torch.stack([cells_of(groups, int(s), int(m)) for s, m in zip(i[at], k[at])])
        assert torch.equal(one.mask(at).expand_as(gone), gone)
        assert torch.equal(one.rows(at), samples.fill(fill, i[at], draw[at], gone))
        gone = torch.stack(
            [
                sum((cells_of(groups, int(s), m) for m in np.flatnonzero(z)), torch.zeros(SHAPE)) > 0
                for s, z in zip(i[at], sets[at])
            ]
        )
        assert torch.equal(several.mask(at).expand_as(gone), gone)
        assert torch.equal(several.rows(at), samples.fill(fill, i[at], draw[at], gone))


@every
def test_what_is_made_lazily_is_what_is_made_at_once(name):
    groups, axes = bound(name)
    samples, fill = samples_of(), bind(Bridge(), axes)
    i, draw, k, sets = asked(groups)
    at = slice(5, 17)
    for absent in (k, sets):
        ready, lazy = (samples.removal(groups, fill, i, draw, a) for a in (absent, lambda at, a=absent: a[at]))
        assert torch.equal(ready.mask(at), lazy.mask(at))
        assert torch.equal(ready.rows(at), lazy.rows(at))
        few = torch.tensor([2, 7, 7, 29])
        assert torch.equal(ready.pick(few).rows(slice(None)), lazy.pick(few).rows(slice(0, 4)))


def test_everything_has_no_hull():
    samples, fill = samples_of(), bind(Constant(0.0), LINE)
    i = torch.tensor([0, 2])
    removal = samples.removal(None, fill, i, torch.zeros_like(i))
    assert removal.hull(slice(None)) is None
    assert removal.patch(slice(None)) is None
    assert removal.mask(slice(None)).all()
    assert torch.equal(removal.rows(slice(None)), samples.fill(fill, i, torch.zeros_like(i)))


# ---- evaluations


def test_a_lack_of_memory_is_no_reason():
    with pytest.raises(MemoryError):
        ev.attempt(lambda: (_ for _ in ()).throw(MemoryError()))
