import numpy as np
import pytest
import torch
import xarray as xr

import tsattr as ta

g = ta.groups
T = 32


def bump_model(x):
    """The product of a sample's two neighbours 21 and 22, and a little of cell 3."""
    return (x[:, 0, 21] * x[:, 0, 22] + 0.05 * x[:, 0, 3])[:, None]


def data(n=3):
    values = np.random.default_rng(0).uniform(1, 2, (n, 2, T))
    values[:, :, -1] = 0  # so that the constant 0 occurs
    coords = {"sample": [f"s{i}" for i in range(n)], "time": ("time", np.arange(T) / 10, {"units": "s"})}
    return xr.DataArray(values, dims=("sample", "lead", "time"), coords=coords)


def windows_of(labels):
    """(start, stop) of each run of equal labels."""
    start = np.flatnonzero(np.r_[True, labels[1:] != labels[:-1]])
    return list(zip(start.tolist(), [*start[1:].tolist(), len(labels)]))


@pytest.mark.parametrize(
    "method", [ta.KernelShap, lambda w: ta.ShapleySampling(w, draws=6)], ids=["kernel", "sampling"]
)
def test_a_loop_isolates_the_bump_and_the_total_stays(method):
    x = data()
    groups, sizes = g.Windows(time=16), []
    for _ in range(8):
        ds = ta.explain(bump_model, x, method(groups))
        np.testing.assert_allclose(ds.group_value.sum("group"), ds.prediction - ds.reference, rtol=0, atol=1e-9)
        np.testing.assert_allclose(
            ds.attribution.sum(("lead", "time")), ds.prediction - ds.reference, rtol=0, atol=1e-9
        )
        finer = g.split(groups, ds, threshold=0.3, least=2)
        if finer == groups:
            break
        groups = finer
        for row in groups.labels.values:
            windows = windows_of(row)
            assert [start for start, _ in windows] == sorted(set(row.tolist()))  # named by their first cells
            assert [stop for _, stop in windows[:-1]] == [start for start, _ in windows[1:]]
        sizes.append(len(windows_of(groups.labels.values[0])))
    assert sizes == [3, 4, 5]
    for row in groups.labels.values:
        assert windows_of(row) == [(0, 16), (16, 20), (20, 22), (22, 24), (24, 32)]
    found = ds.attribution.isel(lead=0)
    assert (found.isel(time=[20, 21, 22, 23]).sum("time") * 2 > 0.9 * ds.prediction).all()


def test_each_sample_has_windows_of_its_own():
    x = data(2)
    model = lambda x: x[torch.arange(len(x)), 0, (x[:, 1, 0] * 4).long()][:, None]  # noqa: E731
    x[0, 1, 0], x[1, 1, 0] = 0.5, 5.0  # looks at cell 2 in one, at cell 20 in the other
    fixed = ta.baselines.Constant(x.isel(lead=1).broadcast_like(x).transpose(*x.dims).where(x.lead == 1, 0.0))
    ds = ta.explain(model, x, ta.KernelShap(g.Windows(time=8), fixed))
    halves = g.split(g.Windows(time=8), ds, threshold=0.5)
    assert windows_of(halves.labels.values[0]) == [(0, 4), (4, 8), (8, 16), (16, 24), (24, 32)]
    assert windows_of(halves.labels.values[1]) == [(0, 8), (8, 16), (16, 20), (20, 24), (24, 32)]
    again = ta.explain(model, x, ta.KernelShap(halves, fixed))
    assert again.group.values.tolist() == ["0", "4", "8", "16", "20", "24"]
    np.testing.assert_array_equal(again.group_value.isnull(), [[0, 0, 0, 0, 1, 0], [0, 1, 0, 0, 0, 0]])
    swapped = ta.explain(model, x[::-1], ta.KernelShap(halves, ta.baselines.Constant(fixed.value)))
    xr.testing.assert_allclose(swapped.attribution[::-1], again.attribution)


def split_of(values, threshold=1.0, **settings):
    """The windows that come of four windows of eight cells with these values."""
    ds = ta.explain(bump_model, data(1), ta.Occlusion(g.Windows(time=8)))
    ds["group_value"] = ds.group_value.copy(data=[values])
    return windows_of(g.split(g.Windows(time=8), ds, threshold=threshold, **settings).labels.values[0])


def test_the_threshold_the_smallest_size_and_the_largest_number():
    whole = [(0, 8), (8, 16), (16, 24), (24, 32)]
    assert split_of([1.0, -1.0, 0.0, np.nan]) == whole  # passes: is above
    assert split_of([1.1, -1.2, 0.0, np.nan]) == [(0, 4), (4, 8), (8, 12), (12, 16), *whole[2:]]
    assert split_of([1.1, -1.2, 0, 0], most=5) == [whole[0], (8, 12), (12, 16), *whole[2:]]  # the larger by size
    assert split_of([1.1, -1.2, 0, 0], most=4) == whole
    assert split_of([1.1, -1.2, 0, 0], most=1) == whole
    assert split_of([1.1, 0, 0, 0], least=4) == [(0, 4), (4, 8), *whole[1:]]
    assert split_of([1.1, 0, 0, 0], least=5) == whole


def test_of_several_targets_the_largest_counts():
    two = lambda x: torch.stack([x[:, 0, 2], x[:, 0, 30]], 1)  # noqa: E731
    ds = ta.explain(two, data(1), ta.Occlusion(g.Windows(time=16)), target=[0, 1])
    assert windows_of(g.split(g.Windows(time=16), ds, threshold=0.5).labels.values[0]) == [
        (0, 8), (8, 16), (16, 24), (24, 32)
    ]  # fmt: skip


def test_what_is_no_tiling_of_the_dim_is_refused():
    x = data(1)
    gaps = g.Labelled(xr.DataArray([0] * 10 + [-1] * 2 + [1] * 20, dims="time"))
    apart = g.Labelled(xr.DataArray([0] * 10 + [1] * 2 + [0] * 20, dims="time"))
    for groups in (g.Windows(time=8, step=4), g.Windows(time=8, lead=1), g.Cells(), gaps, apart):
        with pytest.raises(ValueError, match="halves windows along 'time' alone that neither overlap nor leave gaps"):
            g.split(groups, ta.explain(bump_model, x, ta.Occlusion(groups)), threshold=1.0)
    with pytest.raises(KeyError, match="'group_value'"):
        g.split(g.Windows(time=8), ta.explain(bump_model, x, ta.Saliency()), threshold=1.0)
    ds = ta.explain(bump_model, x, ta.Occlusion(g.Windows(time=8)))
    with pytest.raises(KeyError, match="no dim 'day'"):
        g.split(g.Windows(time=8), ds, "day", threshold=1.0)
