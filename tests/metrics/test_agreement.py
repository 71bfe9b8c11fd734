from itertools import combinations, permutations

import numpy as np
import pytest
import xarray as xr
from scipy.stats import spearmanr

from tsattr.metrics import agreement, sign_agreement, spearman, top_iou
from tsattr.metrics.agreement import mean_spearman

MEASURES = [spearman, top_iou, sign_agreement]


def two(n=4, seed=0, decimals=8):
    rng = np.random.default_rng(seed)
    a = rng.normal(size=(n, 3, 20))
    return a.round(decimals), (a + rng.normal(size=a.shape)).round(decimals)


@pytest.mark.parametrize("decimals", [0, 8])
@pytest.mark.parametrize("signed", [True, False])
def test_spearman_is_that_of_scipy(decimals, signed):
    a, b = two(decimals=decimals)
    of = (lambda v: v) if signed else np.abs
    expected = [spearmanr(of(u).ravel(), of(v).ravel()).statistic for u, v in zip(a, b)]
    np.testing.assert_allclose(spearman(a, b, signed=signed), expected, rtol=1e-12)


def test_top_iou_is_that_of_sets():
    a, b = two()
    for share, k in ((0.1, 6), (0.5, 30), (1.0, 60), (1e-9, 1)):
        tops = [[set(np.argsort(-np.abs(m).ravel())[:k]) for m in maps] for maps in (a, b)]
        expected = [len(u & v) / len(u | v) for u, v in zip(*tops)]
        np.testing.assert_allclose(top_iou(a, b, share=share), expected, rtol=1e-12)


def test_sign_agreement_is_that_of_sets():
    a, b = two()
    expected = []
    for u, v in zip(a.reshape(4, -1), b.reshape(4, -1)):
        large = sorted({*np.argsort(-np.abs(u))[:6], *np.argsort(-np.abs(v))[:6]})
        expected.append(np.mean(np.sign(u[large]) == np.sign(v[large])))
    np.testing.assert_allclose(sign_agreement(a, b, share=0.1), expected, rtol=1e-12)


def test_ties_at_the_edge_of_a_top_are_shared():
    a, b = np.array([3.0, 1, 1, 1, 0, 0]), np.array([0, 1.0, 0, 0, 0, 5])
    broken = []
    for order in permutations([0.0, 0.1, 0.2]):
        top = set(np.argsort(-(a + np.array([0, *order, 0, 0])))[:2])
        broken.append(len(top & {1, 5}))
    expected = np.mean(broken)  # 1/3 of a cell
    assert top_iou(a[None], b[None], share=1 / 3)[0] == pytest.approx(expected / (4 - expected), rel=1e-12)
    assert top_iou(a[None], a[None], share=1 / 3)[0] == 1


def test_known_relations():
    a, _ = two()
    for measure in MEASURES:
        np.testing.assert_allclose(measure(a, 3 * a), 1)
    np.testing.assert_allclose(spearman(a, -a), -1)
    np.testing.assert_allclose(spearman(a, -a, signed=False), 1)
    np.testing.assert_allclose(top_iou(a, -a), 1)
    np.testing.assert_allclose(sign_agreement(a, -a), 0)
    np.testing.assert_allclose(spearman(a, np.exp(a)), 1)


def test_chance_levels():
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=(2, 400, 200))
    for measure, chance in ((spearman, 0.0), (top_iou, 0.1 / 1.9), (sign_agreement, 0.5)):
        found = measure(a, b)
        few = 0.001 if measure is top_iou else 0.0  # of 20 cells in a top, the mean of a ratio lies a little above
        assert abs(found.mean() - chance - few) < 3 * found.std() / 20


@pytest.mark.parametrize("measure", MEASURES)
def test_missing_cells_are_left_out_and_constants_are_not_compared(measure):
    a, b = two(2)
    a[0, 0, :3], b[0, 1, 2] = np.nan, np.nan
    known = ~(np.isnan(a[0]) | np.isnan(b[0]))
    assert measure(a, b)[0] == measure(a[0][known][None], b[0][known][None])[0]
    flat = np.stack([np.zeros((3, 20)), np.full((3, 20), np.nan)])
    assert np.isnan(measure(flat, b)).all()
    assert np.isnan(measure(b, flat + 1)).all()
    assert measure(a[:0], b[:0]).shape == (0,)


def test_one_size_everywhere_has_no_top_but_signs():
    a = np.array([[1.0, -1.0, 1.0, -1.0]])
    assert np.isnan(top_iou(a, a)).all()
    assert np.isnan(spearman(a, a, signed=False)).all()
    assert sign_agreement(a, a).tolist() == [1.0]
    assert sign_agreement(np.array([[0.0, 5.0]]), np.array([[2.0, 1.0]]), share=0.5).tolist() == [0.75]


def test_agreement_of_all_pairs():
    a, b = two()
    labels = {"sample": ["p", "q", "r", "s"], "lead": ["I", "II", "V1"]}
    one = xr.DataArray(a, dims=("sample", "lead", "time"), coords=labels)
    other = xr.DataArray(b, dims=("sample", "lead", "time"), coords=labels).transpose("time", "sample", "lead")
    found = agreement({"one": one, "other": other}, share=0.2)
    assert found.spearman.dims == ("member", "member_other", "sample")
    assert found.sample.values.tolist() == labels["sample"]
    pair = {"member": "other", "member_other": "one"}
    np.testing.assert_array_equal(found.spearman.sel(pair), spearman(a, b))
    np.testing.assert_array_equal(found.spearman_absolute.sel(pair), spearman(a, b, signed=False))
    np.testing.assert_array_equal(found.top_iou.sel(pair), top_iou(a, b, share=0.2))
    np.testing.assert_array_equal(found.sign_agreement.sel(pair), sign_agreement(a, b, share=0.2))
    for v in found.data_vars.values():
        np.testing.assert_allclose(np.diagonal(v.values), 1)
        np.testing.assert_array_equal(v, v.transpose("member_other", "member", "sample").values)
    assert {k: round(v.attrs["chance"], 4) for k, v in found.items()} == {
        "spearman": 0.0,
        "spearman_absolute": 0.0,
        "top_iou": 0.1111,
        "sign_agreement": 0.5,
    }
    along = xr.concat([one, other], xr.DataArray(["one", "other"], dims="method", name="method"))
    xr.testing.assert_identical(agreement(along, "method", share=0.2), found)
    plain = agreement({"one": a, "other": b}, share=0.2)
    np.testing.assert_array_equal(plain.spearman, found.spearman)


def test_what_cannot_be_compared_is_refused():
    a, b = two()
    one = xr.DataArray(a, dims=("sample", "lead", "time"), coords={"lead": ["I", "II", "V1"]})
    for measure in MEASURES:
        with pytest.raises(ValueError, match=r"\(4, 3, 20\) and \(3, 20\)"):
            measure(a, b[0])
        with pytest.raises(ValueError, match="1 cells are infinite"):
            measure(a, np.where(b == b.max(), np.inf, b))
    for measure in (top_iou, sign_agreement):
        with pytest.raises(ValueError, match="above 0 and at most 1, got 10"):
            measure(a, b, share=10)
    with pytest.raises(ValueError, match="two maps at least"):
        agreement({"one": a})
    with pytest.raises(KeyError, match="no dim 'method'"):
        agreement(one)
    with pytest.raises(KeyError, match="expand_dims"):
        agreement({"one": one[0], "other": one[1]})
    with pytest.raises(ValueError, match="coordinates differ"):
        agreement({"one": one, "other": one.assign_coords(lead=["I", "II", "V2"])})
    with pytest.raises(TypeError, match="all DataArrays or all plain"):
        agreement({"one": one, "other": a})


@pytest.mark.parametrize("lacking", [[], [0, 1, 2], [1]], ids=["none", "in all maps", "in one map"])
def test_the_mean_over_pairs_is_that_of_spearman(lacking):
    maps = np.random.default_rng(0).normal(size=(3, 4, 2, 20)).round(1)
    for k in lacking:
        maps[k, 1, 0, :5] = np.nan
    maps[:, 2] = 1.0
    found = mean_spearman(maps)
    expected = [spearman(a.reshape(8, 20), b.reshape(8, 20)) for a, b in combinations(maps, 2)]
    np.testing.assert_allclose(found.ravel(), np.mean(expected, 0), rtol=0, atol=1e-12)
    assert np.isnan(found[2]).all()
    assert np.isfinite(np.delete(found, 2, 0)).all()
