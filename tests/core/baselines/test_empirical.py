"""Samples drawn from a reference."""

import itertools

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from tsattr.core import baselines as b
from tsattr.core.axes import Axes
from tsattr.core.baselines.fills import bind

from .inputs import X, ecg, fill, small_reference


def test_samples_are_drawn_without_replacement_and_start_again_when_used_up():
    reference = small_reference()
    drawn = np.stack([fill(b.Samples.fit(reference), X, ecg(), draw=d) for d in range(12)])
    index = np.floor(drawn[:, :, 0, 0]).astype(int)
    np.testing.assert_array_equal(drawn, reference.values[index])
    for sample in (0, 1):
        for lap in (index[:5, sample], index[5:10, sample]):
            assert sorted(lap) == [0, 1, 2, 3, 4]
    assert not np.array_equal(index[:5, 0], index[:5, 1])
    assert not np.array_equal(index[:5, 0], index[5:10, 0])


def test_every_reference_sample_is_as_likely_at_every_draw():
    reference = b.Samples.fit(small_reference(4))
    axes, x = ecg(1600), np.zeros((1600, 3, 60))
    for draw in (0, 2, 4):
        first = np.floor(fill(reference, x, axes, draw=draw)[:, 0, 0])
        assert stats.chisquare(np.bincount(first.astype(int), minlength=4)).pvalue > 0.01


@pytest.mark.parametrize("dims", list(itertools.permutations(["sample", "lead", "time"])))
def test_samples_are_aligned_by_label_whatever_their_order(dims):
    reference = small_reference()
    mixed = reference.isel(lead=[2, 0, 1], time=slice(None, None, -1)).transpose(*dims)
    expected = fill(b.Samples.fit(reference), X, ecg(), draw=3)
    np.testing.assert_array_equal(fill(b.Samples.fit(mixed), X, ecg(), draw=3), expected)
    named = mixed.rename(sample="record")
    np.testing.assert_array_equal(fill(b.Samples.fit(named, sample_dim="record"), X, ecg(), draw=3), expected)


def test_samples_from_a_bare_array_and_from_a_table():
    reference = small_reference()
    bare = fill(b.Samples.fit(reference.values), X, Axes(("lead", "time"), (3, 60)))
    np.testing.assert_array_equal(bare, fill(b.Samples.fit(reference), X, ecg()))
    table = Axes(("feature",), (2,), {"feature": np.array(["a", "b"])})
    frame = pd.DataFrame({"b": [1.0, 2.0], "a": [10.0, 20.0]})
    both = {tuple(fill(b.Samples.fit(frame), [[0.0, 0.0]], table, draw=d)[0]) for d in (0, 1)}
    assert both == {(10, 1), (20, 2)}


def test_a_missing_cell_of_the_reference_stays_missing():
    reference = small_reference().copy()
    reference[2, 1, 7] = np.nan
    drawn = np.stack([fill(b.Samples.fit(reference), X, ecg(), draw=d)[0] for d in range(5)])
    row = drawn[np.floor(drawn[:, 0, 0]) == 2][0]
    assert np.isnan(row).sum() == np.isnan(row[1, 7]) == 1
    assert bind(b.Samples.fit(reference), ecg()).gaps == 1


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        (
            small_reference().drop_vars("lead").isel(lead=[0, 1]),
            "the reference of Samples has 2 entries along dim 'lead'",
        ),
        (
            small_reference().isel(lead=[0, 1]),
            r"the reference of Samples lacks 1 .* along dim 'lead', such as \['V1'\]",
        ),
        (small_reference().isel(lead=0, drop=True), "the reference of Samples has shape .* per sample, the input"),
        (
            small_reference().values[:, :2],
            r"the reference of Samples has shape \(2, 60\), but a sample has shape \(3, 60\)",
        ),
        (small_reference().expand_dims("beat"), "the reference of Samples has dim 'beat', which the input lacks"),
    ],
)
def test_a_reference_that_does_not_fit(reference, message):
    with pytest.raises(ValueError, match=message):
        fill(b.Samples.fit(reference), X, ecg())


def test_a_reference_needs_samples():
    with pytest.raises(ValueError, match="the reference has no samples"):
        b.Samples.fit(small_reference().isel(sample=slice(0)))
    with pytest.raises(ValueError, match="none of them 'sample'; say which holds its samples"):
        b.Samples.fit(small_reference().isel(sample=0))
