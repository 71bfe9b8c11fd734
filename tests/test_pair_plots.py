"""Pictures of interactions are tested by what they say, on games whose pairs are known."""

import numpy as np
import pytest
import torch
import xarray as xr
from matplotlib.collections import QuadMesh

import tsattr as ta

NAMES = ["age", "lactate", "heart rate", "sex"]
X = xr.DataArray([[2.0, 3.0, 1.0, 5.0]], dims=("sample", "feature"), coords={"feature": NAMES})


def explained(model=lambda x: x[:, 0] * x[:, 1] - 2 * x[:, 2], x=X, **settings):
    return ta.explain(model, x, ta.ShapleyInteractions(ta.groups.Along("feature")), **settings)


def matrix(figure):
    (mesh,) = [m for m in figure.axes[0].collections if isinstance(m, QuadMesh)][1:]
    return mesh.get_array()


def test_mains_are_on_the_diagonal_and_pairs_beside_it():
    figure = ta.plot.pairs(explained())
    expected = np.zeros((4, 4))
    expected[0, 1] = expected[1, 0] = 6
    expected[2, 2] = -2
    np.testing.assert_allclose(matrix(figure), expected, atol=1e-9)
    assert [t.get_text() for t in figure.axes[0].get_yticklabels()] == NAMES
    assert [t.get_text() for t in figure.axes[0].texts].count("0") == 13
    assert [t.get_text() for t in figure.axes[1].texts] == NAMES


def test_the_network_has_a_line_for_each_pair_that_is_something():
    (line,) = ta.plot.pairs(explained()).axes[1].lines
    assert line.get_color() == ta.plot.shade.POSITIVE
    (line,) = ta.plot.pairs(explained(lambda x: x[:, 0] * 0.0 - x[:, 1] * x[:, 3])).axes[1].lines
    assert line.get_color() == ta.plot.shade.NEGATIVE


def test_the_mean_over_samples_and_one_of_several_targets():
    x = xr.concat([X, -X], "sample")
    model = lambda x: torch.stack([x[:, 0] * x[:, 1] + x[:, 2], x[:, 3]], 1)  # noqa: E731
    ds = explained(model, x, target=[0, 1])
    found = matrix(ta.plot.pairs(ds, target=0))
    assert found[0, 1] == pytest.approx(6)
    assert found[2, 2] == 0  # 1 and -1
    with pytest.raises(ValueError, match="pairs draws one target; give target="):
        ta.plot.pairs(ds)


def test_only_the_largest_groups_are_drawn_in_their_order():
    assert [t.get_text() for t in ta.plot.pairs(explained(), most=2).axes[1].texts] == ["age", "lactate"]


def test_groups_that_did_not_play_are_grey():
    x = X.copy()
    x[0, 3] = np.nan
    found = matrix(ta.plot.pairs(explained(lambda x: x[:, 0] * x[:, 1], x)))
    assert found.mask[3].all()
    assert not found.mask[:3, :3].any()


def test_a_result_without_interactions():
    ds = ta.explain(lambda x: x.sum(1), X, ta.Occlusion(ta.groups.Cells()))
    with pytest.raises(KeyError, match="pairs needs 'interaction' in the result"):
        ta.plot.pairs(ds)
