"""Known answers of occlusion: numbers by hand, and a slow version with loops over masks."""

import functools

import numpy as np
import pytest
import torch
import xarray as xr
from torch import nn

import tsattr as ta

from .. import reference
from ..conftest import LEADS, TIMES, Spy

b, g = ta.baselines, ta.groups


def assert_close(a, b, tolerance=1e-10):
    np.testing.assert_allclose(a, b, rtol=0, atol=tolerance)


def explain(f, x, method, **kwargs):
    return ta.explain(f, np.atleast_2d(np.asarray(x, np.float64)), method, **kwargs)


def of(net, target=1):
    return lambda x: net(x)[:, target]


def masks(spans):
    """The products of windows of leads and of times, the last fastest."""
    out = []
    for leads in spans[0]:
        for times in spans[1]:
            out.append(np.zeros((LEADS, TIMES), bool))
            out[-1][slice(*leads), slice(*times)] = True
    return out


# ---- numbers by hand


class MultiLayer(nn.Module):
    """The network of captum's own tests: relu(x1 + x2 + x3 + (-10, 1, 1, 1)) summed, less 1."""

    def forward(self, x):
        return torch.relu(x.sum(1, keepdim=True) + torch.tensor([-10.0, 1, 1, 1])).sum(1) - 1


@pytest.mark.parametrize(
    ("size", "step", "baseline", "expected"),
    [
        (1, 1, 0.0, [80, 200, 120]),
        (2, 1, 10.0, [200, 220, 240]),
        (2, 2, 0.0, [280, 280, 120]),  # the last window is cut short
        (3, 3, 0.0, [390] * 3),  # all gone: the first unit's kink shows, (90 + 3 * 101) - 3
    ],
)
def test_the_numbers_of_captums_tests(size, step, baseline, expected):
    method = ta.Occlusion(g.Windows(dim_1=size, step=step), b.Constant(baseline))
    found = explain(MultiLayer(), [20.0, 50.0, 30.0], method).attribution[0]
    assert_close(found, expected, 0)


@pytest.mark.parametrize(
    ("f", "x", "expected"),
    [
        (torch.minimum, [2.0, 3.0], [2, 2]),
        (torch.maximum, [2.0, 3.0], [0, 1]),
        (torch.mul, [2.0, 3.0], [6, 6]),
    ],
)
def test_occlusion_is_not_complete(f, x, expected):
    assert_close(explain(lambda x: f(x[:, 0], x[:, 1]), x, ta.Occlusion(g.Cells())).attribution[0], expected, 0)


def test_a_linear_window_is_the_sum_of_its_cells():
    w = np.array([2.0, -3.0, 0.5, 1.0, 4.0])
    x, start = np.array([0.3, -1.0, 2.0, 5.0, 1.0]), 0.5
    cells = w * (x - start)
    ds = explain(lambda x: x @ torch.as_tensor(w), x, ta.Occlusion(g.Windows(dim_1=3, step=1), b.Constant(start)))
    values = [cells[:3].sum(), cells[1:4].sum(), cells[2:].sum()]
    assert_close(ds.group_value[0], values)
    by_cell = [values[0], np.mean(values[:2]), np.mean(values), np.mean(values[1:]), values[2]]
    assert_close(ds.attribution[0], by_cell)


def test_disjoint_windows_of_the_identity_sum_to_the_input():
    x = np.random.default_rng(0).normal(size=(2, 7))
    ds = ta.explain(lambda x: x.sum(1), x, ta.Occlusion(g.Windows(dim_1=3)))
    assert_close(ds.group_value, [[r[:3].sum(), r[3:6].sum(), r[6]] for r in x])
    assert_close(ds.group_value.sum("group"), x.sum(1))


def test_a_fill_equal_to_the_cell_takes_nothing_away(conv, ecg):
    ds = ta.explain(conv, ecg, ta.Occlusion(g.Windows(time=4), b.Constant(ecg.isel(sample=2))), target=0)
    assert_close(ds.attribution[2], 0, 1e-12)
    assert (abs(ds.attribution[0]) > 1e-6).any()


def test_shift_equivariance_of_single_cells(ecg):
    net = nn.Sequential(nn.Conv1d(3, 4, 3, padding=1, padding_mode="circular"), nn.Tanh()).double()
    f = lambda x: net(x).mean((1, 2))  # noqa: E731
    one, other = (ta.explain(f, ecg.roll(time=k), ta.Occlusion(g.Cells())).attribution for k in (0, 5))
    xr.testing.assert_allclose(one.roll(time=5), other, atol=1e-12)


@pytest.mark.parametrize("length", [3, 8, 19])
def test_one_hot_and_one_cold_day(length):
    # the idea of DIANNA's time series case: a model of the mean finds both days
    x = np.zeros(length)
    x[length // 3], x[-1] = 30, -20
    found = explain(lambda x: torch.sigmoid(x.mean(1) / 10), x, ta.Occlusion(g.Cells())).attribution.values[0]
    assert (int(found.argmax()), int(found.argmin())) == (length // 3, length - 1)
    assert np.count_nonzero(found) == 2


# ---- against the slow version

EACH_LEAD, EACH_TIME = ([(i, i + 1) for i in range(n)] for n in (LEADS, TIMES))
WINDOWS = {
    "cells": (g.Cells(), [EACH_LEAD, EACH_TIME]),
    "leads": (g.Along("lead"), [EACH_LEAD, [(0, TIMES)]]),
    "overlapping, ragged": (g.Windows(time=5, step=3), [[(0, LEADS)], reference.windows(TIMES, 5, 3)]),
    "deeply overlapping": (g.Windows(time=7, step=1), [[(0, LEADS)], reference.windows(TIMES, 7, 1)]),
    "one lead": (g.Windows(time=8, lead=1, step=8), [EACH_LEAD, reference.windows(TIMES, 8, 8)]),
    "two dims": (
        g.Windows(time="40ms", lead=2, step={"time": "30ms", "lead": 1}),
        [reference.windows(LEADS, 2, 1), reference.windows(TIMES, 4, 3)],
    ),
}
TIME = np.arange(TIMES) / 100
FILLS = {
    "constant": (b.Constant(0.3), lambda x, absent: 0 * x + 0.3),
    "mean": (b.Mean(), lambda x, absent: 0 * x + x.mean(1, keepdims=True)),
    "blur": (b.Blur(time=1.5), lambda x, absent: reference.blur(x, 1.5)),
    "maximum distance": (b.MaximumDistance(-2.0, 3.0), lambda x, absent: reference.maximum_distance(x, -2, 3)),
    "hold": (b.Hold(otherwise=0.1), functools.partial(reference.hold, otherwise=0.1)),
    "bridge": (b.Bridge(otherwise=0.1), functools.partial(reference.bridge, time=TIME, otherwise=0.1)),
}


@pytest.mark.parametrize("fill", FILLS)
@pytest.mark.parametrize("windows", WINDOWS)
def test_windows_equal_the_loop(windows, fill, conv, ecg):
    (groups, spans), (baseline, filled) = WINDOWS[windows], FILLS[fill]
    absent = masks(spans)
    ds = ta.explain(conv, ecg[:2], ta.Occlusion(groups, baseline), target=1)
    assert ds.sizes["group"] == len(absent)
    for at, x in enumerate(ecg.values[:2]):
        values, cells = reference.occlusion(of(conv), x, absent, functools.partial(filled, x))
        assert_close(ds.group_value[at], values)
        assert_close(ds.attribution[at], cells)


@pytest.mark.parametrize("fill", FILLS)
def test_labelled_parts_equal_the_loop(fill, conv, ecg):
    labels = np.random.default_rng(0).integers(
        -1, 3, size=(2, LEADS, TIMES)
    )  # a label of its own for each sample and cell
    labels[0][labels[0] == 2] = 1  # the first sample has no part 2
    baseline, filled = FILLS[fill]
    parts = g.Labelled(xr.DataArray(labels, dims=ecg.dims))
    ds = ta.explain(conv, ecg[:2], ta.Occlusion(parts, baseline), target=1)
    assert ds.group.values.tolist() == ["0", "1", "2"]
    for at, x in enumerate(ecg.values[:2]):
        present = [k for k in range(3) if (labels[at] == k).any()]
        groups = [labels[at] == k for k in present]
        values, cells = reference.occlusion(of(conv), x, groups, functools.partial(filled, x))
        assert_close(ds.group_value[at, present], values)
        assert ds.group_value[at].isnull().sum() == 3 - len(present)
        assert_close(ds.attribution[at], cells)
        assert int(ds.model_evaluations[at]) == 1 + len(present)


@pytest.mark.parametrize("fill", FILLS)
def test_missing_cells_are_never_perturbed(fill, conv, ecg):
    x = ecg.values.copy()
    x[0, 1, 4:7] = x[1, :, :3] = x[1, 0, 11] = np.nan
    spy = Spy(lambda x: of(conv)(torch.nan_to_num(x, 5.0)))
    baseline, filled = FILLS[fill]
    if fill == "mean":
        filled = lambda x, absent: 0 * x + np.nanmean(x, 1, keepdims=True)  # noqa: E731
    ds = ta.explain(spy, ecg.copy(data=x), ta.Occlusion(g.Windows(time=3, lead=1, step=2), baseline))
    np.testing.assert_array_equal(ds.attribution.isnull(), np.isnan(x))
    np.testing.assert_array_equal(torch.isnan(spy.plain).any(0), np.isnan(x).any(0))
    spans = [EACH_LEAD, reference.windows(TIMES, 3, 2)]
    for at in range(len(x)):
        there = ~np.isnan(x[at])
        groups = [m & there for m in masks(spans)]
        alive = [k for k, m in enumerate(groups) if m.any()]
        values, cells = reference.occlusion(
            spy.model, x[at], [groups[k] for k in alive], functools.partial(filled, x[at])
        )
        assert_close(ds.group_value[at, alive], values)
        assert int(ds.group_value[at].isnull().sum()) == len(groups) - len(alive)
        assert_close(ds.attribution[at], cells)


def test_a_missing_cell_that_the_model_reads_as_a_number():
    # captum replaces it through 0 * NaN and reports 0 for it; here it is left alone and has no value
    ds = explain(lambda x: torch.nan_to_num(x, 100.0).sum(1), [1.0, np.nan, 3.0], ta.Occlusion(g.Cells()))
    np.testing.assert_array_equal(ds.attribution[0], [1, np.nan, 3])
    assert ds.prediction == 104


# ---- draws


def test_draws_are_shared_by_the_groups_and_averaged(conv, ecg, train):
    spans = WINDOWS["overlapping, ragged"][1]
    for baseline in (b.Samples.fit(train), b.Uniform(-2.0, 2.0), b.Gaussian(0.4)):
        spy = Spy(conv)
        ds = ta.explain(spy, ecg[:1], ta.Occlusion(g.Windows(time=5, step=3), baseline, draws=4), target=1, check=False)
        x, rows = ecg.values[0], spy.plain.numpy()[1:].reshape(4, len(spans[1]), LEADS, TIMES)
        cells, values = [], []
        for draw in rows:
            fill = x.copy()
            for absent, row in zip(masks(spans), draw):
                assert_close(row[~absent], x[~absent], 0)
                fill[absent] = row[absent]
            for absent, row in zip(masks(spans), draw):
                assert_close(row[absent], fill[absent], 0)  # the same draw for every group
            v, c = reference.occlusion(of(conv), x, masks(spans), lambda absent, fill=fill: fill)
            values.append(v)
            cells.append(c)
        assert len({d[0, 0, 0] for d in rows}) == 4
        for name, each in (("attribution", cells), ("group_value", values)):
            assert_close(ds[name][0], np.mean(each, 0))
        for name, each in (("standard_error", cells), ("group_standard_error", values)):
            assert_close(ds[name][0], reference.standard_error(np.array(each)))


def test_reference_samples_are_drawn_without_replacement(ecg, train):
    spy = Spy(lambda x: x.sum((1, 2)))
    ta.explain(spy, ecg[:1], ta.Occlusion(g.Windows(time=TIMES), b.Samples.fit(train), draws=5), check=False)
    np.testing.assert_array_equal(np.sort(spy.plain.numpy()[1:], 0), np.sort(train.values, 0))


def test_the_mean_over_draws_is_unbiased(train):
    x = np.tile(np.linspace(-1, 1, TIMES), (1500, LEADS, 1))
    f = lambda x: torch.tanh(x.sum((1, 2)) / 3)  # noqa: E731
    gone = np.s_[:, 4:8]
    exact = []
    for s in train.values:
        row = x[0].copy()
        row[gone] = s[gone]
        exact.append(np.tanh(x[0].sum() / 3) - np.tanh(row.sum() / 3))
    ds = ta.explain(f, x, ta.Occlusion(g.Windows(dim_2=4), b.Samples.fit(train.values), draws=2))
    found = ds.group_value.isel(group=1)
    assert abs(found.mean() - np.mean(exact)) < 4 * found.std(ddof=1) / np.sqrt(len(x))


# ---- what the model is asked


def test_the_model_sees_one_row_for_each_group_and_draw(ecg):
    spy = Spy(lambda x: x.sum((1, 2)))
    ds = ta.explain(spy, ecg, ta.Occlusion(g.Along("lead"), b.Uniform(-1.0, 1.0), draws=4), check=False)
    assert ds.model_evaluations.values.tolist() == [1 + 3 * 4] * 4
    assert spy.count == 4 * 13
    assert ds.group.values.tolist() == ["I", "II", "V1"]
    assert not any(graded for graded, _ in spy.rows)


def test_models_without_gradients(ecg):
    f = lambda x: np.tanh(x).sum((1, 2))  # noqa: E731
    one = ta.explain(ta.models.on_arrays(f), ecg, ta.Occlusion(g.Along("lead")))
    assert_close(one.attribution[:, :, 0], np.tanh(ecg).sum("time"))


def test_wrong_draws():
    with pytest.raises(ValueError, match="draws is a whole number of at least 1, got 0"):
        ta.Occlusion(g.Cells(), draws=0)


# ---- draws where nobody says how many


W = np.array([1.0, -2.0, 0.5])
BY_DEFAULT = {
    "occlusion": lambda baseline: ta.Occlusion(g.Cells(), baseline),
    "kernel shap": lambda baseline: ta.KernelShap(g.Cells(), baseline),
    "ig": lambda baseline: ta.IntegratedGradients(baseline),
    "expected gradients": lambda baseline: ta.IntegratedGradients(baseline, steps=1),
}


@pytest.mark.parametrize("name", BY_DEFAULT)
def test_each_sample_of_a_reference_is_drawn_once_up_to_a_hundred(name):
    rng = np.random.default_rng(0)
    x, train = rng.normal(size=(4, 3)), rng.normal(size=(250, 3))
    weights = torch.as_tensor(W)
    f = lambda v: v @ weights  # noqa: E731
    for rows, draws in ((30, 30), (250, 100)):
        method = BY_DEFAULT[name](b.Samples.fit(train[:rows]))
        spy = Spy(f)
        ds = ta.explain(spy, x, method)
        assert ds.attrs["draws"] == draws
        away = ds.attribution - W * (x - train[:rows].mean(0))
        if rows == draws:  # the mean over all of them is exact
            np.testing.assert_allclose(away, 0, atol=1e-12)
        assert (abs(away) < 4 * ds.standard_error).all()
        cost = ta.explain(f, x, method, dry_run=True)
        assert (cost.model_evaluations_least <= ds.model_evaluations).all()
        assert (ds.model_evaluations <= cost.model_evaluations).all()
        assert spy.count == int(ds.model_evaluations.sum()) + ds.attrs["trial_rows"]


@pytest.mark.parametrize("name", BY_DEFAULT)
def test_one_draw_of_what_is_always_the_same_and_each_of_a_mixture(name):
    f = lambda v: v.sum(1)  # noqa: E731
    ds = ta.explain(f, np.ones((1, 3)), BY_DEFAULT[name](b.Constant(0.5)))
    assert ds.attrs["draws"] == 1
    assert "standard_error" not in ds
    ds = ta.explain(f, np.ones((1, 3)), BY_DEFAULT[name](b.Mixture(b.Constant(0.0), b.Constant(1.0))))
    assert ds.attrs["draws"] == 2
    if name != "expected gradients":
        np.testing.assert_allclose(ds.attribution, 0.5, atol=1e-12)
