import itertools
import math
import sys

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from tsattr.metrics import cmc, retrieval, retrieval_average_precision, retrieval_chance

METRICS = [cmc, lambda d, s: cmc(d, s, k=3), retrieval_average_precision]


def by_hand(distance, same, k):
    """CMC at k and average precision of one query, over all orders that the distances allow, place by place."""
    known = [(d, s) for d, s in zip(distance, same) if not math.isnan(d)]
    if not any(s for _, s in known):
        return math.nan, math.nan
    found, precision = [], []
    for order in itertools.permutations(known):
        if any(a[0] > b[0] for a, b in itertools.pairwise(order)):
            continue
        hits = [s for _, s in order]
        found.append(any(hits[:k]))
        precision.append(np.mean([sum(hits[: i + 1]) / (i + 1) for i, hit in enumerate(hits) if hit]))
    return np.mean(found), np.mean(precision)


@pytest.fixture
def searched():
    """Distances of few values, so that many are tied, some of no candidates; one query without any match."""
    rng = np.random.default_rng(0)
    distance, same = rng.integers(0, 3, (12, 6)).astype(float), rng.uniform(size=(12, 6)) < 0.4
    distance[rng.uniform(size=distance.shape) < 0.2] = np.nan
    same[0] = False
    return distance, same


@pytest.mark.parametrize("k", [1, 2, 3, 9])
def test_every_order_of_tied_cases_one_by_one(searched, k):
    expected = np.array([by_hand(d, s, k) for d, s in zip(*searched)])
    assert np.isnan(expected[0]).all()
    assert np.isfinite(expected[1:]).sum() > 12
    np.testing.assert_allclose(cmc(*searched, k=k), expected[:, 0], rtol=1e-12)
    np.testing.assert_allclose(retrieval_average_precision(*searched), expected[:, 1], rtol=1e-12)


def test_average_precision_is_that_of_scikit_learn_where_nothing_is_tied():
    rng = np.random.default_rng(1)
    distance, same = rng.uniform(size=(5, 300)), rng.uniform(size=(5, 300)) < 0.1
    expected = [average_precision_score(s, -d) for d, s in zip(distance, same)]
    np.testing.assert_allclose(retrieval_average_precision(distance, same), expected, rtol=1e-12)


@pytest.mark.parametrize("metric", METRICS)
def test_a_batch_is_its_queries_and_the_order_of_cases_is_nothing(metric, searched):
    distance, same = searched
    single = [metric(distance[i : i + 1], same[i : i + 1])[0] for i in range(len(distance))]
    np.testing.assert_array_equal(metric(distance, same), single)
    np.testing.assert_allclose(metric(distance[:, ::-1], same[:, ::-1]), single, rtol=1e-12)


@pytest.mark.parametrize(("n", "m", "k"), [(7, 1, 1), (7, 3, 1), (7, 3, 2), (40, 4, 5), (3, 3, 1)])
def test_chance_in_closed_form(n, m, k):
    distance, same = np.random.default_rng(2).uniform(size=(1, n)), np.arange(n)[None] < m
    harmonic = sum(1 / i for i in range(1, n + 1))
    expected = (harmonic + (m - 1) * (n - harmonic) / (n - 1)) / n
    assert retrieval_chance(retrieval_average_precision, distance, same)[0] == pytest.approx(expected, rel=1e-12)
    expected = 1 - math.comb(n - m, k) / math.comb(n, k)
    assert retrieval_chance(cmc, distance, same, k=k)[0] == pytest.approx(expected, rel=1e-12)


def test_random_embeddings_find_the_share_of_the_class():
    """1200 queries in a gallery where a quarter are of each class: means within four standard errors of chance."""
    rng = np.random.default_rng(3)
    found = retrieval(
        rng.normal(size=(80, 4)), np.arange(80) % 4, rng.normal(size=(1200, 4)), np.arange(1200) % 4, k=[1, 5]
    )
    assert found["cmc_1_chance"] == pytest.approx(0.25)
    for name in ("cmc_1", "cmc_5", "average_precision"):
        off = found[name] - found[f"{name}_chance"]
        assert abs(off.mean()) < 4 * off.std() / np.sqrt(1200), name


def test_a_gallery_of_duplicates_is_always_right():
    rng = np.random.default_rng(4)
    cases, label = rng.normal(size=(30, 3)).repeat(2, 0), np.arange(30).repeat(2)
    found = retrieval(cases, label, metric="euclidean", k=[1])
    assert (found["cmc_1"] == 1).all()
    assert (found["average_precision"] == 1).all()
    found = retrieval(cases, label, cases, label, metric="euclidean", k=[1])
    assert (found["cmc_1"] == 1).all()


def test_a_query_does_not_find_itself_nor_its_own_patient():
    cases, label = np.array([[0.0], [1.0], [2.0], [10.0]]), np.array(["a", "b", "b", "a"])
    found = retrieval(cases, label, metric="euclidean", k=[1])
    assert found["cmc_1"].tolist() == [0, 0.5, 1, 0]
    found = retrieval(cases, label, metric="euclidean", k=[1], group=[1, 2, 2, 3])
    np.testing.assert_array_equal(found["cmc_1"], [0, np.nan, np.nan, 0])  # the patient of b has the only ones
    # Queries that are in the gallery under their patient's name are left out in the same way.
    again = retrieval(
        cases, label, cases, label, metric="euclidean", k=[1], group=[1, 2, 2, 3], query_group=[1, 2, 2, 3]
    )
    np.testing.assert_array_equal(again["cmc_1"], found["cmc_1"])


def test_blocks_of_queries_change_nothing(monkeypatch):
    rng = np.random.default_rng(5)
    cases, label = rng.normal(size=(23, 3)), rng.integers(0, 3, 23)
    whole = retrieval(cases, label)
    monkeypatch.setattr(sys.modules["tsattr.metrics.retrieval"], "_BLOCK", 50)
    for name, values in retrieval(cases, label).items():
        np.testing.assert_allclose(values, whole[name], rtol=1e-12, err_msg=name)


@pytest.mark.parametrize("metric", METRICS)
def test_nothing_to_find(metric):
    assert metric(np.empty((0, 3)), np.empty((0, 3), bool)).shape == (0,)
    assert np.isnan(metric(np.empty((2, 0)), np.empty((2, 0), bool))).all()
    assert np.isnan(metric(np.full((1, 2), np.nan), np.ones((1, 2), bool))).all()


@pytest.mark.parametrize("metric", METRICS)
def test_input_that_makes_no_sense_is_refused(metric):
    with pytest.raises(ValueError, match=r"\(1, 3\) and \(1, 2\)"):
        metric(np.ones((1, 3)), np.ones((1, 2), bool))
    with pytest.raises(ValueError, match="distance\\[None\\]"):
        metric(np.ones(2), np.ones(2, bool))
    with pytest.raises(TypeError, match="boolean, not float64"):
        metric(np.ones((1, 2)), np.ones((1, 2)))
    with pytest.raises(ValueError, match="1 are infinite"):
        metric([[1.0, np.inf]], [[True, False]])


def test_a_search_that_makes_no_sense_is_refused():
    cases, label = np.ones((3, 2)), np.arange(3)
    with pytest.raises(ValueError, match="k is a whole number of at least 1, got 0"):
        cmc(np.ones((1, 2)), np.ones((1, 2), bool), k=0)
    with pytest.raises(ValueError, match="embeddings of 2 numbers, not 3"):
        retrieval(cases, label, np.ones((1, 3)), [0])
    with pytest.raises(ValueError, match="a label for each of the 3 cases of gallery"):
        retrieval(cases, label[:2])
    with pytest.raises(ValueError, match="2 of its values are not finite"):
        retrieval(np.array([[np.nan, np.inf], [0, 1]]), label[:2])
    with pytest.raises(ValueError, match="groups of both or of neither"):
        retrieval(cases, label, cases, label, group=label)
    with pytest.raises(ValueError, match="give query="):
        retrieval(cases, label, query_label=label)
