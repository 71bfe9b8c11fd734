"""Gaps filled from their present neighbours, against loops."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tsattr.core import baselines as b
from tsattr.core.axes import Axes

from .inputs import fill


def reference_bridge(line, absent, where, otherwise):
    out = line.copy()
    present = ~absent & ~np.isnan(line)
    out[absent] = np.interp(where[absent], where[present], line[present]) if present.any() else otherwise
    return out


def reference_hold(line, absent, where, otherwise):
    out, last = line.copy(), otherwise
    for i, v in enumerate(line):
        if absent[i]:
            out[i] = last
        elif not np.isnan(v):
            last = v
    return out


@pytest.mark.parametrize(("kind", "slow"), [(b.Bridge, reference_bridge), (b.Hold, reference_hold)])
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_bridge_and_hold_against_a_loop(kind, slow, data):
    rows, n = data.draw(st.integers(1, 3)), data.draw(st.integers(1, 8))
    steps = data.draw(st.lists(st.sampled_from([0.5, 1.0, 4.0]), min_size=n, max_size=n))
    where = np.cumsum(steps)
    cells = st.sampled_from(["present", "missing", "absent", "absent and missing"])
    state = np.array(data.draw(st.lists(st.lists(cells, min_size=n, max_size=n), min_size=2 * rows, max_size=2 * rows)))
    x = np.random.default_rng(data.draw(st.integers(0, 99))).normal(size=(2 * rows, n))
    x[(state == "missing") | (state == "absent and missing")] = np.nan
    absent = (state == "absent") | (state == "absent and missing")
    expected = np.stack([slow(v, a, where, -7.0) for v, a in zip(x, absent)])
    first = Axes(("time", "lead"), (n, 2), {"time": where})
    swapped = [v.reshape(rows, 2, n).transpose(0, 2, 1) for v in (x, absent, expected)]
    np.testing.assert_allclose(fill(kind(otherwise=-7.0), swapped[0], first, swapped[1]), swapped[2], atol=1e-12)
    last = Axes(("lead", "time"), (2, n), {"time": where})
    together = [v.reshape(rows, 2, n) for v in (x, absent, expected)]
    np.testing.assert_allclose(fill(kind(otherwise=-7.0), together[0], last, together[1]), together[2], atol=1e-12)


@pytest.mark.parametrize(
    "coord",
    [
        np.cumsum([1.0, 0.1, 3.0, 2.0, 0.5, 1.0]),
        -np.cumsum([1.0, 0.1, 3.0, 2.0, 0.5, 1.0]),
        np.datetime64("2001-01-01", "h") + np.cumsum([1, 2, 24, 5, 1, 7]).astype("m8[h]"),
    ],
    ids=["irregular", "descending", "dates"],
)
@pytest.mark.parametrize("dim", ["time", "depth"])
def test_bridge_is_exact_on_a_line(coord, dim):
    where = (coord - coord[0]) / (np.timedelta64(1, "h") if coord.dtype.kind == "M" else 1.0)
    line = (3.0 - 2.0 * where)[None]
    absent = np.array([[False, True, True, False, True, False]])
    axes = Axes((dim,), (6,), {dim: coord})
    np.testing.assert_allclose(fill(b.Bridge(dim), np.where(absent, 99.0, line), axes, absent), line, atol=1e-12)


def test_a_gap_at_an_edge_takes_the_nearest_present_value():
    x = np.array([[1.0, 2.0, 3.0, 4.0, 5.0]])
    axes = Axes(("time",), (5,), {"time": np.arange(5.0)})
    ends = np.array([[True, True, False, False, True]])
    np.testing.assert_array_equal(fill(b.Bridge(), x, axes, ends), [[3, 3, 3, 4, 4]])
    np.testing.assert_array_equal(fill(b.Hold(otherwise=-1.0), x, axes, ends), [[-1, -1, 3, 4, 4]])
    assert (fill(b.Bridge(otherwise=8.0), x, axes) == 8).all()
    assert (fill(b.Hold(otherwise=8.0), x, axes) == 8).all()
