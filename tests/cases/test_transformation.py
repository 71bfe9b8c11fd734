"""The transformation from an old model's embeddings to a new one's: known answers, files, and what is refused."""

import numpy as np
import pytest
import torch
import xarray as xr
from scipy.stats import special_ortho_group

from tsattr.cases import Transformation
from tsattr.cases.calibration import Calibration
from tsattr.metrics import retrieval


@pytest.fixture
def old():
    return np.random.default_rng(0).normal(size=(80, 4))


@pytest.fixture(scope="module")
def learnt():
    """From pairs whose new embedding bends the old one, needs the side information, and is noisy where the first number is large."""
    rng = np.random.default_rng(1)
    old, side = rng.normal(size=(600, 4)), rng.normal(size=(600, 2))
    new = np.abs(old[:, :3]) + side[:, [0, 1, 0]] + np.where(old[:, :1] > 0.5, 0.8, 0.05) * rng.normal(size=(600, 3))
    h = Transformation.fit(old[:400], new[:400], side[:400], epochs=60)
    return h, old[400:], new[400:], side[400:]


def test_an_invertible_linear_map_is_found_and_searched_as_the_new_model_itself(old):
    rng = np.random.default_rng(2)
    matrix = special_ortho_group.rvs(4, random_state=rng) * [0.5, 1, 2, 3]
    new = old @ matrix + [1, 2, 3, 4]
    cases = rng.normal(size=(60, 4))
    h = Transformation.fit(old, new, epochs=2)
    values, uncertainty = h(cases)
    np.testing.assert_allclose(values, cases @ matrix + [1, 2, 3, 4], atol=1e-6)
    assert uncertainty.max() < 1e-5
    assert h.data.attrs["kind"] == "least squares"
    label, query = np.arange(60) % 3, rng.normal(size=(40, 4)) @ matrix + [1, 2, 3, 4]
    truly = cases @ matrix + [1, 2, 3, 4]
    for metric in ("cosine", "euclidean"):
        found, expected = (retrieval(a, label, query, np.arange(40) % 3, metric=metric) for a in (values, truly))
        for name in expected:
            np.testing.assert_allclose(found[name], expected[name], rtol=1e-12, err_msg=name)


def test_constant_side_information_is_none_at_all(old):
    new = np.tanh(old[:, :3] @ np.random.default_rng(3).normal(size=(3, 5)))
    alone = Transformation.fit(old, new, epochs=5)
    beside = Transformation.fit(old, new, np.full((80, 2), 7.5), epochs=5)
    for a, b in zip(alone(old), beside(old, np.zeros((80, 2)))):
        np.testing.assert_array_equal(a, b)


def test_a_network_is_taken_where_it_is_nearer(learnt):
    h, old, new, side = learnt
    a = h.data.attrs
    assert a["kind"] == "network"
    assert a["error_network"] < a["error_least_squares"]
    values, _ = h(old, side)
    held_out = np.linalg.norm(values - new, axis=1)
    assert np.sqrt((held_out**2).mean()) < 1.3 * a["error_network"]
    assert np.sqrt((held_out**2).mean()) < a["error_least_squares"]


def test_what_is_uncertain_is_known(learnt):
    h, old, new, side = learnt
    c = h.calibrated(old, new, side)
    noisy = old[:, 0] > 0.5
    _, uncertainty = h(old, side)
    assert np.median(uncertainty[noisy]) > 1.5 * np.median(uncertainty[~noisy])
    assert c.rank_correlation > 0.3  # 200 independent pairs have one beyond 0.25 once in 2000
    assert h.calibration.ratio == pytest.approx(1)
    assert str(c).splitlines()[-1].startswith("  all")


def test_a_batch_is_its_cases_and_what_is_not_known_stays_so(learnt):
    h, old, _, side = learnt
    whole = h(old[:5], side[:5])
    for i in range(5):
        for a, b in zip(whole, h(old[i : i + 1], side[i : i + 1])):
            np.testing.assert_allclose(a[i : i + 1], b, rtol=1e-12)
    holed = side[:5].copy()
    holed[2, 1] = np.nan
    for a, b in zip(whole, h(old[:5], holed)):
        assert np.isnan(b[2]).all()
        np.testing.assert_array_equal(np.delete(a, 2, 0), np.delete(b, 2, 0))


def test_same_seed_same_answer_and_the_global_state_is_left_alone(old):
    new = old[:, :2] ** 2
    torch.manual_seed(5)
    state = torch.get_rng_state()
    first, again, other = (Transformation.fit(old, new, epochs=3, seed=s) for s in (0, 0, 1))
    first(old)
    assert torch.equal(torch.get_rng_state(), state)
    xr.testing.assert_identical(first.data, again.data)
    assert not np.array_equal(first.data.weights, other.data.weights)


def test_blocks_are_held_out_whole(old):
    patient = np.arange(80) // 8
    rng = np.random.default_rng(6)
    own = np.concatenate(
        [old, np.eye(10)[patient]], 1
    )  # each patient has a number of its own, and an answer of its own
    new = rng.normal(size=(10, 3))[patient] + 0.01 * rng.normal(size=(80, 3))
    known, unknown = (Transformation.fit(own, new, blocks=b, epochs=5) for b in (None, patient))
    assert known.calibration.actual.mean() < 0.1
    assert unknown.calibration.actual.mean() > 0.5
    assert "of blocks of their own" in unknown.data.attrs["held_out"]
    assert unknown.data.sizes["pair"] % 8 == 0


def test_blocks_that_are_missing_are_blocks_of_their_own(old):
    new = old[:, ::-1].copy()
    named = np.array([*range(40), *[None] * 38, "", float("nan")], object)
    known, unknown = (Transformation.fit(old, new, blocks=b, epochs=2) for b in (np.arange(80), named))
    assert known.data.sizes["pair"] == unknown.data.sizes["pair"] == 16


def test_pairs_without_embedding_are_left_out_and_counted(old):
    new = old[:, ::-1].copy()
    new[3, 0], old[5, 1] = np.nan, np.inf
    h = Transformation.fit(old, new, epochs=2)
    kept = np.delete(np.arange(80), [3, 5])
    assert (h.data.attrs["pairs"], h.data.attrs["pairs_left_out"]) == (78, 2)
    xr.testing.assert_equal(h.data, Transformation.fit(old[kept], new[kept], epochs=2).data)


@pytest.mark.parametrize("name", ["h.nc", "h.zarr"])
def test_it_survives_a_file(learnt, tmp_path, name):
    h, old, _, side = learnt
    h.write(tmp_path / name)
    read = Transformation.read(tmp_path / name)
    for a, b in zip(h(old, side), read(old, side)):
        np.testing.assert_array_equal(a, b)
    assert (
        repr(read) == repr(h) == "Transformation(4 numbers and 2 of side information to 3 by network, from 400 pairs)"
    )


def test_a_last_batch_of_one_pair_is_no_trouble():
    rng = np.random.default_rng(7)
    old = rng.normal(size=(41, 2))  # 33 to train on: a batch of 32 would leave one
    h = Transformation.fit(old, np.abs(old), epochs=2, batch=32)
    assert np.isfinite(h(old)[0]).all()


def test_numbers_that_never_vary_in_the_pairs_do_not_matter(old):
    dead = np.concatenate([old, np.zeros((80, 1))], 1)  # a unit that is off for all pairs, and on for a case
    h = Transformation.fit(dead, np.tanh(old), epochs=2)
    alive = dead.copy()
    alive[:, 4] = 100.0
    np.testing.assert_array_equal(h(dead)[0], h(alive)[0])


def test_what_it_refuses(old, learnt):
    h = learnt[0]
    with pytest.raises(ValueError, match=r"at least 20 pairs.*got 10, 10 of them finite"):
        Transformation.fit(old[:10], old[:10])
    with pytest.raises(ValueError, match=r"as many rows as old has, 80; got new \(79, 4\)"):
        Transformation.fit(old, old[:79])
    with pytest.raises(ValueError, match="one entry for each of the 80 pairs"):
        Transformation.fit(old, old, blocks=[1, 2])
    with pytest.raises(ValueError, match="one block alone"):
        Transformation.fit(old, old, blocks=np.ones(80))
    with pytest.raises(ValueError, match="are left to learn from"):
        Transformation.fit(old, old, blocks=np.arange(80) == 0)
    with pytest.raises(ValueError, match="the new embeddings are the same in all pairs"):
        Transformation.fit(old, np.ones((80, 2)))
    with pytest.raises(ValueError, match="the old embeddings and side information are the same"):
        Transformation.fit(np.ones((80, 2)), old)
    with pytest.raises(ValueError, match="learnt with 2 numbers of side information, got none"):
        h(old)
    with pytest.raises(ValueError, match="learnt with 4 numbers of old embeddings, got 3"):
        h(old[:, :3], old[:, :2])
    with pytest.raises(ValueError, match="no transformation"):
        Transformation(xr.Dataset())


def test_rows_that_do_not_fit(learnt):
    h, old, _, side = learnt
    with pytest.raises(ValueError, match=r"old embeddings are arrays \(cases, numbers\), .*; got shape \(4,\)"):
        h(old[0], side[0])
    with pytest.raises(
        ValueError, match=r"side information .* a row for each of the old embeddings; got shape \(3, 2\)"
    ):
        h(old, side[:3])
    with pytest.raises(ValueError, match="batch is a whole number of at least 1, got 0"):
        Transformation.fit(old, old, batch=0)
    assert Transformation.fit(old, old, batch=1, epochs=1).data.sizes["pair"] == 40


def test_calibration_of_what_never_varies():
    c = Calibration(np.ones(3), np.array([1.0, 2.0, 3.0]))
    assert np.isnan(c.rank_correlation)
    assert len(str(c).splitlines()) == 5
