"""Pictures of interactions are tested by what they say, on games whose pairs are known."""

import numpy as np
import pytest
import torch
import xarray as xr
from matplotlib.collections import QuadMesh
from scipy.stats import t as student

import tsattr as ta
from tsattr.plot.pairs import averaged

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


def noisy(n=12):
    rng = np.random.default_rng(0)
    values = 1 + 0.3 * rng.standard_normal((n, 4))
    values[:, 2:] = rng.standard_normal((n, 2))
    return xr.DataArray(
        values, dims=("sample", "feature"), coords={"feature": NAMES, "who": ("sample", np.arange(n) // 2)}
    )


def test_means_over_samples_have_student_s_intervals():
    x = noisy()
    ds = explained(lambda x: x[:, 0] * x[:, 1] + x[:, 2] * x[:, 3], x)
    told = averaged(ds)
    products = x.values[:, [0, 2]] * x.values[:, [1, 3]]
    half = student.ppf(0.975, 11) * products.std(0, ddof=1) / 12**0.5
    for k, (row, column) in enumerate([(0, 1), (2, 3)]):
        for at in ((row, column), (column, row)):
            assert told.mean[at] == pytest.approx(products[:, k].mean())
            assert told.high[at] - told.mean[at] == pytest.approx(half[k])
    assert told.apart[0, 1]
    assert not told.apart[2, 3]
    figure = ta.plot.pairs(ds)
    solid, broken = sorted(figure.axes[1].lines, key=lambda line: line.get_linestyle() != "-")
    assert (solid.get_linestyle(), broken.get_linestyle()) == ("-", "--")
    numbers = {t.get_text(): t.get_color() for t in figure.axes[0].texts}
    assert numbers[f"{products[:, 1].mean():.2g}".replace("-", "−")] == "#8a8a8a"
    assert f"± {half[0]:.2g}" in numbers
    assert "mean over 12 samples, 95 % intervals" in figure.axes[0].get_title()


def test_samples_of_one_patient_count_as_one():
    x = noisy()
    ds = explained(lambda x: x[:, 0] * x[:, 1], x)
    product = (x.values[:, 0] * x.values[:, 1]).reshape(6, 2).mean(1)
    half = student.ppf(0.975, 5) * product.std(ddof=1) / 6**0.5
    for blocks in ("who", x.who.values):
        text = [t.get_text() for t in ta.plot.pairs(ds, blocks=blocks).axes[0].texts]
        assert f"± {half:.2g}" in text


def test_a_single_sample_has_the_standard_errors_of_its_draws():
    method = ta.ShapleyInteractions(ta.groups.Along("feature"), ta.baselines.Gaussian(0.5), draws=8)
    ds = ta.explain(lambda x: x[:, 0] * x[:, 1], X, method)
    told = averaged(ds)
    np.testing.assert_allclose(told.high - told.mean, told.mean - told.low)
    assert told.high[0, 1] - told.mean[0, 1] == pytest.approx(2 * ds.interaction_standard_error[0, 0, 1].item())
    assert told.high[0, 0] - told.mean[0, 0] == pytest.approx(2 * ds.group_standard_error[0, 0].item())
    assert "two standard errors of the draws" in ta.plot.pairs(ds.isel(sample=0)).axes[0].get_title()
    assert "±" not in "".join(t.get_text() for t in ta.plot.pairs(explained()).axes[0].texts)


def test_pools_of_interactions_have_the_means_and_intervals_of_the_matrix():
    x = noisy().drop_vars("who")
    ds = explained(lambda x: x[:, 0] * x[:, 1] + x[:, 2] * x[:, 3], x)
    pool = ta.climate.Pool(blocks=1, variable="interaction", statistics=("mean",))
    found = pool.update(ds.isel(sample=slice(5))).update(ds.isel(sample=slice(5, None))).result()
    told = averaged(ds)
    for name in ("mean", "mean_low", "mean_high"):
        matrix = found[name].transpose("group", "group_b").values
        np.testing.assert_array_equal(matrix, matrix.T)
    off = ~np.eye(4, dtype=bool)
    np.testing.assert_allclose(found["mean"].transpose("group", "group_b").values[off], told.mean[off], atol=1e-12)
    assert (found.mean_low <= found["mean"]).all()
    assert found["mean"].sel(group="age", group_b="lactate").item() == pytest.approx(told.mean[0, 1])
