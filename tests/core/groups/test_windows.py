import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from tsattr.core import groups as g
from tsattr.core.axes import Axes
from tsattr.core.groups import masks
from tsattr.core.groups.binding import bind as bind_groups
from tsattr.core.removal import _bounding_box

LEADS = np.array(["I", "II", "V1"])


def line(coord, units=None, dim="time"):
    coord = np.asarray(coord)
    return Axes((dim,), (len(coord),), {dim: coord}, {} if units is None else {dim: units})


def windows(groups, axes, dim="time"):
    """(start, stop) of each window along the one dim that has several."""
    bound = bind_groups(groups, axes)
    boxes = [bound.box(k)[dim] for k in range(len(bound.names))]
    return [(start, start + size) for start, size in boxes]


# ---- windows in cells


@pytest.mark.parametrize(
    ("n", "size", "step", "expected"),
    [
        (10, 5, None, [(0, 5), (5, 10)]),
        (10, 4, None, [(0, 4), (4, 8), (8, 10)]),
        (10, 4, 3, [(0, 4), (3, 7), (6, 10)]),
        (10, 4, 1, [(k, k + 4) for k in range(7)]),
        (11, 4, 2, [(0, 4), (2, 6), (4, 8), (6, 10), (8, 11)]),
        (4, 4, 1, [(0, 4)]),
        (1, 1, None, [(0, 1)]),
        (3, 1, None, [(0, 1), (1, 2), (2, 3)]),
    ],
)
def test_windows_in_cells(n, size, step, expected):
    assert windows(g.Windows(time=size, step=step), Axes(("time",), (n,))) == expected


@given(n=st.integers(1, 30), size=st.integers(1, 30), step=st.integers(1, 30))
def test_windows_start_at_multiples_of_step_and_end_with_the_first_that_reaches_the_end(n, size, step):
    size, step = min(size, n), min(step, size, n)
    expected, start = [], 0
    while True:
        expected.append((start, min(start + size, n)))
        if start + size >= n:
            break
        start += step
    assert windows(g.Windows(time=size, step=step), Axes(("time",), (n,))) == expected


# ---- windows along a coordinate


def reference_windows(coord, size, step):
    """Window k holds the cells with k step <= t < k step + size, up to the first window that reaches the end."""
    where = np.abs(np.asarray(coord, float) - coord[0])
    end = where[-1] + np.median(np.diff(where))
    found, k = [], 0
    while True:
        inside = np.flatnonzero((where >= k * step) & (where < k * step + size))
        if len(inside) and (inside[0], inside[-1] + 1) not in found:
            found.append((int(inside[0]), int(inside[-1]) + 1))
        if k * step + size >= end:
            return found
        k += 1


@given(data=st.data())
def test_windows_in_units_on_an_irregular_coordinate(data):
    gaps = data.draw(st.lists(st.sampled_from([1, 1, 1, 2, 5]), min_size=1, max_size=12))
    coord = np.cumsum([data.draw(st.integers(-3, 3)), *gaps])
    coord = -coord if data.draw(st.booleans()) else coord
    unit = float(np.median(gaps))
    end = abs(coord[-1] - coord[0]) + unit
    size = data.draw(st.integers(int(np.ceil(unit)), int(end)))
    step = data.draw(st.integers(1, size))
    found = windows(g.Windows(time=f"{size}s", step=f"{step}s"), line(coord.astype(float)))
    n = len(coord)
    down = n > 1 and coord[0] > coord[-1]
    expected = reference_windows(coord[::-1] if down else coord, size, step)  # from the low end
    assert found == ([(n - stop, n - start) for start, stop in expected[::-1]] if down else expected)
    assert set(range(len(coord))) == {c for start, stop in found for c in range(start, stop)}


@pytest.mark.parametrize(
    ("axes", "size", "step", "expected"),
    [
        (line(np.arange(10) / 10), "0.5s", None, [(0, 5), (5, 10)]),
        (line(np.arange(10) / 10), "400ms", None, [(0, 4), (4, 8), (8, 10)]),
        (line(np.arange(10) / 10 + 7), "400ms", "300ms", [(0, 4), (3, 7), (6, 10)]),
        (line(np.arange(10) * 100, "ms"), "0.4 s", "300ms", [(0, 4), (3, 7), (6, 10)]),
        (line(np.arange(10) / 10), 4, "300ms", [(0, 4), (3, 7), (6, 10)]),
        (line(np.arange(10) / 10), "400ms", 3, [(0, 4), (3, 7), (6, 10)]),
        (line(pd.date_range("2001-02-27", periods=5, freq="D").to_numpy()), "2days", None, [(0, 2), (2, 4), (4, 5)]),
        (line([0.0, 1.0, 2.0, 9.0, 10.0]), "2s", None, [(0, 2), (2, 3), (3, 4), (4, 5)]),
    ],
)
def test_windows_in_units(axes, size, step, expected):
    assert windows(g.Windows(time=size, step=step), axes) == expected


@pytest.mark.parametrize("size", ["30deg", 2])
def test_windows_down_a_latitude_are_those_of_its_flip(size):
    up, down = (
        windows(g.Windows(lat=size), line(lat, dim="lat"), "lat")
        for lat in (np.arange(-90, 91, 15.0), np.arange(90, -91, -15.0))
    )
    assert up == [(k, min(k + 2, 13)) for k in range(0, 13, 2)]
    assert down == [(13 - stop, 13 - start) for start, stop in up[::-1]]


@pytest.mark.parametrize("rate", [125, 257, 360, 1000])
def test_rounding_of_a_long_time_axis_moves_no_window(rate):
    n = 40 * rate
    cells = rate // 5
    for time in (np.arange(n) / rate, np.linspace(0, 40, n, endpoint=False), np.arange(n) * (1 / rate) + 1e4):
        found = windows(g.Windows(time=f"{cells / rate!r}s"), line(time))
        assert found == [(k, min(k + cells, n)) for k in range(0, n, cells)]


def test_one_step_holds_for_every_dim_of_longer_windows_and_a_mapping_names_them():
    ecg = Axes(("lead", "time"), (4, 10), {"time": np.arange(10) / 10})
    both = g.Windows(lead=2, time=4, step=2).bind(ecg)
    assert both.shape == (2, 4)
    single = g.Windows(lead=1, time=4, step=2).bind(ecg)
    assert single.shape == (4, 4)
    by_unit = g.Windows(lead=2, time="400ms", step="200ms").bind(ecg)
    assert by_unit.shape == (2, 4)
    named = g.Windows(lead=2, time=4, step={"lead": 1}).bind(ecg)
    assert named.shape == (3, 3)


def test_a_dim_that_is_not_named_is_taken_whole():
    bound = g.Windows(time=5).bind(Axes(("lead", "time"), (3, 10)))
    assert [bound.box(k) for k in (0, 1)] == [{"lead": (0, 3), "time": (0, 5)}, {"lead": (0, 3), "time": (5, 5)}]


ECG = Axes(("lead", "time"), (3, 10), {"lead": LEADS, "time": np.arange(10) / 10})


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: g.Windows(), ValueError, "a size along at least one dim, like"),
        (lambda: g.Windows(tme=3), KeyError, r"no dim 'tme' to work along; the input's dims are \['lead', 'time'\]"),
        (lambda: g.Windows(time=11), ValueError, "a window of 11 cells is longer than dim 'time', which has 10"),
        (lambda: g.Windows(time="2s"), ValueError, "a window of '2s' is longer than dim 'time', which spans 1 s"),
        (lambda: g.Windows(time="2000ms"), ValueError, "which spans 1000 ms"),
        (lambda: g.Windows(time="50ms"), ValueError, "'50ms' is shorter than the spacing of dim 'time', 100 ms"),
        (
            lambda: g.Windows(time="5deg"),
            ValueError,
            "'5deg' is not a size along dim 'time', whose coordinate is a time",
        ),
        (lambda: g.Windows(lead="5mm"), ValueError, "dim 'lead' is labelled by"),
        (
            lambda: g.Windows(time=2, step=3),
            ValueError,
            "step 3 along 'time' is longer than the window 2: cells between",
        ),
        (
            lambda: g.Windows(time="200ms", step="0.3s"),
            ValueError,
            "step '0.3s' along 'time' is longer than the window",
        ),
        (lambda: g.Windows(time=2, step={"lead": 1}), KeyError, "a step along 'lead' but no size"),
        (
            lambda: g.Windows(lead=2, time=2, step="5deg"),
            ValueError,
            r"step '5deg' is no size along any of the dims \['lead', 'time'\]",
        ),
        (lambda: g.Windows(lead=1, time=2, step="2 apples"), ValueError, "'2 apples'; known units"),
        (lambda: g.Windows(time=0), ValueError, "number of cells >= 1 or a string like '200ms', got 0"),
        (lambda: g.Windows(time=2.0), ValueError, "number of cells >= 1 or a string like '200ms', got 2.0"),
        (lambda: g.Windows(time=True), ValueError, "number of cells >= 1 or a string like '200ms', got True"),
        (lambda: g.Windows(time=2, step=0), ValueError, "window's step along 'time' is a number of cells >= 1"),
        (lambda: g.Along(), ValueError, r"at least one dim, like Along\('lead'\)"),
        (lambda: g.Along("led"), KeyError, "no dim 'led'"),
        (lambda: g.Labelled(np.zeros(10, int)), TypeError, "labels with dims: an xarray.DataArray"),
        (lambda: g.Labelled(xr.DataArray([0.5] * 10, dims="time")), TypeError, "integers or strings, got fractional"),
        (lambda: g.Labelled(xr.DataArray([-1] * 10, dims="time")), ValueError, "no cell has a label"),
        (lambda: g.Labelled(xr.DataArray([1, 2], dims="time")), ValueError, "the array of Labelled has 2 entries"),
        (lambda: g.Labelled(xr.DataArray([1, 2], dims="beat")), ValueError, "dim 'beat', which the input lacks"),
        (lambda: g.Cells, TypeError, r"an object with its settings: Cells\(...\), not the class"),
        (lambda: "lead", TypeError, r"such as Windows\(time='200ms'\) or Along\('lead'\), .*, which 'lead' lacks"),
    ],
)
def test_groups_that_do_not_fit(make, error, message):
    with pytest.raises(error, match=message):
        bind_groups(make(), ECG)


def test_a_unit_on_a_dim_without_coordinate():
    with pytest.raises(ValueError, match=r"needs a coordinate on dim 'time', which has none; give an int number"):
        bind_groups(g.Windows(time="200ms"), Axes(("time",), (5,)))


# ---- names


@pytest.mark.parametrize(
    ("groups", "names"),
    [
        (g.Along("lead"), ["I", "II", "V1"]),
        (g.Windows(time="500ms"), ["time=0..0.4", "time=0.5..0.9"]),
        (g.Windows(lead=1, time=5), [f"lead={n}, time={w}" for n in LEADS for w in ("0..0.4", "0.5..0.9")]),
        (g.Windows(lead=2), ["lead=I..II", "V1"]),
        (g.Along("lead", "time"), [f"lead={n}, time={t / 10:g}" for n in LEADS for t in range(10)]),
        (g.Cells(), [f"lead={n}, time={t / 10:g}" for n in LEADS for t in range(10)]),
    ],
)
def test_names(groups, names):
    assert bind_groups(groups, ECG).names == names


@pytest.mark.parametrize(
    "groups", [g.Cells(), g.Along("lead"), g.Windows(time="200ms", lead=1), g.Windows(time=3, step={"time": 2})]
)
def test_print_and_compare_by_setting(groups):
    assert eval(repr(groups), vars(g)) == groups
    assert hash(eval(repr(groups), vars(g))) == hash(groups)


# ---- labels


def cells_of(bound, k, shape, position=0):
    mask = bound.mask(torch.tensor([position]), torch.tensor([k]))
    return mask.expand(1, *shape)[0].numpy()


@pytest.mark.parametrize(
    ("labels", "names", "first"),
    [
        ([3, 3, -1, 0, 0, 0, 0, 0, 0, 0], ["0", "3"], slice(3, 10)),
        ([2.0, 2.0, np.nan, 7, 7, 7, 7, 7, 7, -1.0], ["2", "7"], slice(0, 2)),
        (["P", "P", "", "QRS", "QRS", "QRS", "T", "T", "T", ""], ["P", "QRS", "T"], slice(0, 2)),
        (np.array(["a", None, np.nan, *"bbbbbbb"], dtype=object), ["a", "b"], slice(0, 1)),
        ([True] * 4 + [False] * 6, ["False", "True"], slice(4, 10)),
    ],
    ids=["int", "float", "str", "object", "bool"],
)
def test_every_label_is_a_group(labels, names, first):
    bound = bind_groups(g.Labelled(xr.DataArray(labels, dims="time")), ECG)
    assert bound.names == names
    expected = np.zeros((3, 10), bool)
    expected[:, first] = True
    np.testing.assert_array_equal(cells_of(bound, 0, (3, 10)), expected)


def test_flag_meanings_name_the_groups():
    flags = {"flag_values": np.array([0, 1, 2]), "flag_meanings": "none P QRS"}
    labels = xr.DataArray([1, 1, 0, 2, 2, 0, 0, 0, 5, 5], dims="time", attrs=flags)
    assert bind_groups(labels, ECG).names == ["none", "P", "QRS", "5"]


def test_labels_are_aligned_and_may_differ_by_sample():
    axes = Axes(("lead", "time"), (3, 10), ECG.coords, samples=2, sample_coord=np.array(["a", "b"]))
    by_lead = xr.DataArray(["chest", "limb", "limb"], dims="lead", coords={"lead": ["V1", "II", "I"]})
    limb = bind_groups(by_lead, axes)
    np.testing.assert_array_equal(cells_of(limb, 1, (3, 10))[:, 0], [True, True, False])
    beats = xr.DataArray([[1] * 5 + [2] * 5, [2] * 10], dims=("sample", "time"), coords={"sample": ["b", "a"]})
    bound = bind_groups(beats, axes)
    assert cells_of(bound, 0, (3, 10), 0).sum() == 0
    assert cells_of(bound, 0, (3, 10), 1).sum() == 15


# ---- round a circle


def circle(lon, lat=None):
    coords = {"lon": np.asarray(lon, float)} | ({} if lat is None else {"lat": np.asarray(lat, float)})
    dims = tuple(coords)
    return Axes(dims, tuple(map(len, coords.values())), coords, periodic=frozenset({"lon"}))


def cuts(n):
    """The same circle of n cells, cut at each of them."""
    return [np.roll(np.arange(n) * 360 / n, k) for k in range(n)] + [(np.arange(n) - n // 2) * 360 / n]


def longitudes(groups, axes):
    """The longitudes in each window."""
    bound = bind_groups(groups, axes)
    lon = axes.coords["lon"] % 360
    return [sorted(lon[cells_of(bound, k, axes.shape)].round(9).tolist()) for k in range(len(bound.names))]


def reference_circle(n, size, step):
    """Every step of a turn a window of `size` degrees from 0 E on, without overlap cut where the first starts."""
    lon, found = np.arange(n) * 360 / n, []
    if size == 360:
        return [lon.round(9).tolist()]
    for k in range(int(np.ceil(360 / step - 1e-9))):
        width = min(size, 360 - k * step) if size == step else size
        inside = (lon - k * step + 1e-6) % 360 < width
        found.append(sorted(lon[inside].round(9).tolist()))
    return found


@pytest.mark.parametrize(
    ("n", "size", "step"),
    [(12, 90, 30), (12, 90, 90), (12, 150, 150), (12, 120, 50), (10, 72, 36), (8, 360, 45), (3, 240, 120)],
)
def test_windows_round_a_circle_do_not_know_where_it_is_cut(n, size, step):
    expected = reference_circle(n, size, step)
    for lon in cuts(n):
        assert longitudes(g.Windows(lon=f"{size}deg", step=f"{step}deg"), circle(lon)) == expected
        if size % (360 // n) == 0 == step % (360 // n):
            assert longitudes(g.Windows(lon=size * n // 360, step=step * n // 360), circle(lon)) == expected


def test_windows_over_the_seam_are_named_by_their_ends():
    bound = bind_groups(g.Windows(lon="90deg", step="60deg"), circle(np.arange(0, 360, 30)))
    assert bound.names == ["lon=0..60", "lon=60..120", "lon=120..180", "lon=180..240", "lon=240..300", "lon=300..0"]
    assert bound.box(5) == {"lon": (10, 3)}


@pytest.mark.parametrize(
    ("size", "step", "message"),
    [
        ("400deg", None, "longer than dim 'lon', which spans 360 deg"),
        ("20deg", None, "shorter than the spacing of dim 'lon', 30 deg"),
        ("60deg", "90deg", "cells between would stay unseen"),
        (13, None, "longer than dim 'lon', which has 12"),
        (3, 4, "cells between would stay unseen"),
    ],
)
def test_windows_that_do_not_fit_a_circle(size, step, message):
    with pytest.raises(ValueError, match=message):
        bind_groups(g.Windows(lon=size, step=step), circle(np.arange(0, 360, 30)))


@settings(max_examples=60, deadline=None)
@given(data=st.data(), n=st.integers(3, 9), seed=st.integers(0, 99))
def test_mask_count_and_spread_agree_round_a_circle(data, n, seed):
    size = data.draw(st.integers(1, n))
    groups = g.Windows(lon=size, step=data.draw(st.integers(1, size)))
    shape = (n, 2)
    bound = bind_groups(groups, circle(np.roll(np.arange(n) * 360 / n, data.draw(st.integers(0, n))), [0, 10]))
    rng = np.random.default_rng(seed)
    position = torch.tensor([0, 0])
    values, cells = rng.normal(size=(2, len(bound.names))), rng.random((2, *shape)) < 0.6
    masks = [cells_of(bound, k, shape) for k in range(len(bound.names))]
    assert np.any(masks, axis=0).all()
    counted = [[int((row & mask).sum()) for mask in masks] for row in cells]
    assert bound.count(torch.as_tensor(cells), position).tolist() == counted
    spread = bound.spread(torch.as_tensor(values), position).expand(2, *shape)
    np.testing.assert_allclose(spread, brute(bound, values, shape, position), atol=1e-12)
    total = bound.spread(torch.as_tensor(values), position, mean=False).expand(2, *shape)
    np.testing.assert_allclose(total, np.einsum("rg,gxy->rxy", values, masks), atol=1e-12)
    for k, mask in enumerate(masks):
        (start, length) = bound.box(k)["lon"]
        alone = np.zeros(shape, bool)
        alone[np.arange(start, start + length) % n] = True
        np.testing.assert_array_equal(mask, alone)


# ---- the verbs agree


def brute(bound, values, shape, position):
    """Mean over covering groups of each cell, from the masks alone."""
    out = np.full((len(position), *shape), np.nan)
    for r, p in enumerate(position.tolist()):
        masks = np.stack([cells_of(bound, k, shape, p) for k in range(len(bound.names))])
        cover = masks.sum(0)
        total = np.einsum("g,g...->...", values[r], masks)
        out[r][cover > 0] = total[cover > 0] / cover[cover > 0]
    return out


@st.composite
def problems(draw):
    shape = tuple(draw(st.lists(st.integers(1, 5), min_size=1, max_size=3)))
    dims = ("time", "lat", "lon")[: len(shape)]
    if draw(st.booleans()):
        sizes = {d: draw(st.integers(1, n)) for d, n in zip(dims, shape) if draw(st.booleans())} or {"time": 1}
        return shape, g.Windows({d: draw(st.integers(1, s)) for d, s in sizes.items()}, **sizes)
    seed = draw(st.integers(0, 999))
    kept = [d for d in dims if draw(st.booleans())] or ["time"]
    if draw(st.booleans()):
        kept = ["sample", *kept]
    extent = {"sample": 3, **dict(zip(dims, shape))}
    labels = np.random.default_rng(seed).integers(-1, 3, size=[extent[d] for d in kept])
    labels.flat[0] = 1
    return shape, g.Labelled(xr.DataArray(labels, dims=kept))


@settings(max_examples=80, deadline=None)
@given(problem=problems(), seed=st.integers(0, 99))
def test_mask_count_and_spread_agree(problem, seed):
    shape, groups = problem
    bound = bind_groups(groups, Axes(("time", "lat", "lon")[: len(shape)], shape, samples=3))
    rng = np.random.default_rng(seed)
    position = torch.tensor([2, 0])
    cells = torch.as_tensor(rng.random((2, *shape)) < 0.6)
    size = len(bound.names)
    counted = [
        [int((cells[r].numpy() & cells_of(bound, k, shape, p)).sum()) for k in range(size)]
        for r, p in enumerate(position.tolist())
    ]
    assert bound.count(cells, position).tolist() == counted
    values = rng.normal(size=(2, size))
    spread = bound.spread(torch.as_tensor(values), position).expand(2, *shape).numpy()
    np.testing.assert_allclose(spread, brute(bound, values, shape, position), atol=1e-12)
    several = bound.spread(torch.as_tensor(np.stack([values, 2 * values], 1)), position)
    np.testing.assert_allclose(several.expand(2, 2, *shape)[:, 1].numpy(), 2 * spread, atol=1e-12)
    if isinstance(bound, masks.Boxes):
        covered = np.zeros(shape, bool)
        for k in range(size):
            box = tuple(slice(start, start + length) for start, length in bound.box(k).values())
            alone = np.zeros(shape, bool)
            alone[box] = True
            np.testing.assert_array_equal(cells_of(bound, k, shape), alone)
            covered |= alone
        assert covered.all()


def test_overlapping_windows_are_averaged_by_cover():
    bound = bind_groups(g.Windows(time=3, step=1), Axes(("time",), (5,)))
    spread = bound.spread(torch.tensor([[3.0, 6.0, 12.0]]), torch.tensor([0]))
    np.testing.assert_allclose(spread, [[3, 4.5, 7, 9, 12]], rtol=1e-6)
    both = bind_groups(g.Windows(time=2, lat=2, step=1), Axes(("time", "lat"), (3, 3)))
    spread = both.spread(torch.tensor([[1.0, 2.0, 3.0, 6.0]]), torch.tensor([0]))
    np.testing.assert_allclose(spread, [[[1, 1.5, 2], [2, 3, 4], [3, 4.5, 6]]], rtol=1e-6)


def test_spread_keeps_a_missing_group_to_its_own_cells():
    bound = bind_groups(g.Windows(time=2), Axes(("time",), (6,)))
    spread = bound.spread(torch.tensor([[1.0, torch.nan, 3.0]]), torch.tensor([0]))
    np.testing.assert_array_equal(spread, [[1, 1, np.nan, np.nan, 3, 3]])


def test_joined_groups_number_each_variables_own():
    ecg = bind_groups(g.Windows(time=2), Axes(("lead", "time"), (2, 4)))
    age = bind_groups(g.Cells(), Axes((), ()))
    joined = masks.JoinedGroups(((slice(0, 8), (2, 4), ecg), (slice(8, 9), (), age)), ["ecg: a", "ecg: b", "age"])
    position = torch.tensor([0, 1])
    np.testing.assert_array_equal(joined.mask(position, torch.tensor([1, 2])), [[0, 0, 1, 1] * 2 + [0], [0] * 8 + [1]])
    cells = torch.ones(2, 9, dtype=torch.bool)
    cells[1, 8] = False
    assert joined.count(cells, position).tolist() == [[4, 4, 1], [4, 4, 0]]
    spread = joined.spread(torch.tensor([[1.0, 2.0, 3.0]]), position[:1])
    np.testing.assert_array_equal(spread, [[1, 1, 2, 2, 1, 1, 2, 2, 3]])


@pytest.mark.parametrize("own", [False, True])
def test_a_hull_of_labels_is_that_of_their_masks(own):
    rng = np.random.default_rng(0)
    label = rng.integers(-1, 4, size=(3 if own else 1, 4, 5))
    label[0][label[0] == 2] = 1  # a sample without a group
    parts, position = masks.Parts(label, list("abcd")), torch.tensor([0, 2, 1, 1, 0, 2] if own else [0, 1, 2, 3, 4, 5])
    k = torch.tensor([0, 1, 2, 3, 2, 2])
    for found, expected in zip(parts.hull(position, k), _bounding_box(parts.mask(position, k), (4, 5))):
        torch.testing.assert_close(found, expected)
    assert not parts.solid
    assert masks.Parts(np.repeat(label[:, :1, :1], 2, 1), list("abcd")).hull(position, k) is None
    boxes = np.repeat(np.array([[[0, 0, 1], [2, 3, 3]]]), 2, 2)
    assert masks.Parts(boxes, list("abcd")).solid
    assert not masks.Parts(np.where(boxes == 3, 0, boxes), list("abc")).solid


@pytest.mark.parametrize("own", [False, True])
def test_a_union_of_labels_is_that_of_their_masks(own):
    rng = np.random.default_rng(0)
    label = rng.integers(-1, 4, size=(3 if own else 1, 2, 5))
    parts = masks.Parts(label, list("abcd"))
    absent, position = torch.as_tensor(rng.random((6, 4)) < 0.4), torch.tensor([0, 2, 1, 1, 0, 2])
    found = parts.union(absent, position)
    each = torch.stack([parts.mask(position, torch.full((6,), k)) & absent[:, k, None, None] for k in range(4)])
    assert found.dtype == torch.bool
    torch.testing.assert_close(found, each.any(0))


@pytest.mark.parametrize(
    "sizes", [{"time": 3}, {"time": 5, "step": 2}, {"time": 2, "lead": 2, "step": 1}, {"lon": "90deg", "step": "60deg"}]
)
def test_a_union_of_windows_is_that_of_their_masks(sizes):
    rng = np.random.default_rng(0)
    dims = ("lead", "lon") if "lon" in sizes else ("lead", "time")
    coords = {"lon": np.arange(0.0, 360, 45)} if "lon" in sizes else {}
    bound = bind_groups(g.Windows(**sizes), Axes(dims, (3, 8), coords, {"lon": "degrees_east"} if coords else {}))
    groups, position = len(bound.names), torch.arange(6)
    absent = torch.as_tensor(rng.random((6, groups)) < 0.3)
    each = torch.stack([bound.mask(position, torch.full((6,), k)) & absent[:, k, None, None] for k in range(groups)])
    found = bound.union(absent, position)
    assert found.dtype == torch.bool
    torch.testing.assert_close(found.expand(6, 3, 8), each.any(0).expand(6, 3, 8))
