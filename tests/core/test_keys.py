import numpy as np
import pytest
import torch
from scipy import stats

from tsattr.core.keys import Key, sample_ids


def key(samples, draws, seed=0, stream=0):
    samples = np.asarray(samples, np.uint64)
    return Key(seed, samples, torch.arange(len(samples)), torch.as_tensor(draws), stream)


def test_a_sample_is_known_by_its_label_else_by_its_position():
    assert sample_ids(None, 3).tolist() == [0, 1, 2]
    labels = np.array(["b", "a", "c"])
    ids = dict(zip(labels.tolist(), sample_ids(labels, 3).tolist()))
    assert len(set(ids.values())) == 3
    assert sample_ids(labels[[2, 0]], 2).tolist() == [ids["c"], ids["b"]]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (np.array(["ab", "c"]), np.array(["ab", "c"], dtype=object)),
        (np.array([1, -2], np.int32), np.array([1, -2], np.int64)),
        (np.array([0.5, 2.0], np.float32), np.array([0.5, 2.0])),
        (np.array(["2001-05-31"], "M8[s]"), np.array(["2001-05-31"], "M8[ns]")),
    ],
    ids=["str", "int", "float", "date"],
)
def test_how_a_label_is_stored_does_not_matter(one, other):
    assert sample_ids(one, len(one)).tolist() == sample_ids(other, len(other)).tolist()


@pytest.mark.parametrize(
    "labels", [np.array(["a", "b", "a", "a"]), np.array([3, 1, 3, 3]), np.array([0.5, 1, 0.5, 0.5])]
)
def test_samples_of_one_label_have_draws_of_their_own(labels):
    ids = sample_ids(labels, 4)
    assert len(set(ids.tolist())) == 4
    assert ids[:2].tolist() == sample_ids(labels[:2], 2).tolist()
    assert sample_ids(labels[[1, 0, 2, 3]], 4).tolist() == ids[[1, 0, 2, 3]].tolist()


def test_draws_depend_on_seed_sample_draw_and_stream_alone():
    like = torch.zeros(4, 3, dtype=torch.float64)
    together = key([7, 8, 7, 8], [0, 0, 1, 1]).normal(like)
    alone = torch.cat([key([s], [d]).normal(like[:1]) for s, d in [(7, 0), (8, 0), (7, 1), (8, 1)]])
    assert torch.equal(together, alone)
    assert len(torch.unique(together)) == 12
    assert torch.equal(key([8, 7], [1, 0]).normal(like[:2]), together[[3, 0]])
    others = [key([7], [0], seed=1), key([7], [0], stream=1), key([7], [0]).fork(0), key([7], [0]).fork(1)]
    firsts = [together[:1], *(k.normal(like[:1]) for k in others[:1] + others[2:])]
    assert len({float(v[0, 0]) for v in firsts}) == len(firsts)


def test_labels_that_differ_in_their_last_bit_have_draws_of_their_own():
    values = key([2**63, 2**63 + 1, 2**64 - 2, 2**64 - 1], [0, 0, 0, 0]).uniform(torch.zeros(4, 1))
    assert len(torch.unique(values)) == 4


def test_equal_rows_share_one_draw():
    rows = key([5, 5, 6], [2, 2, 2]).uniform(torch.zeros(3, 4))
    assert torch.equal(rows[0], rows[1])
    assert not torch.equal(rows[0], rows[2])


def test_dtype_changes_no_draw():
    k = key([1, 2], [0, 3])
    assert torch.equal(k.normal(torch.zeros(2, 5)), k.normal(torch.zeros(2, 5, dtype=torch.float64)).float())


def test_distributions():
    k = key(np.arange(40), np.zeros(40, int))
    like = torch.zeros(40, 500, dtype=torch.float64)
    assert stats.kstest(k.uniform(like).flatten(), "uniform").pvalue > 0.01
    assert stats.kstest(k.normal(like).flatten(), "norm").pvalue > 0.01
    between = np.corrcoef(k.normal(like).numpy()) - np.eye(40)
    assert np.abs(between).max() < 5 / np.sqrt(500)


@pytest.mark.parametrize("seed", [-1, 2**63, 2**70])
def test_any_whole_number_is_a_seed(seed):
    value = key([0], [0], seed=seed).uniform(torch.zeros(1, 1))
    assert 0 <= float(value) < 1


def test_distinct_draws_of_samples():
    key = Key(0, np.array([7, 7, 5, 7, 5], np.uint64), torch.arange(5), np.array([0, 1, 0, 0, 0]))
    first, own = key.distinct()
    assert [(int(key.sample[f]), int(key.draw[f])) for f in first[own]] == [(7, 0), (7, 1), (5, 0), (7, 0), (5, 0)]
    assert sorted(first.tolist()) == [0, 1, 2]
    first, own = key.distinct(torch.arange(5))
    assert first[own].tolist() == [0, 1, 2, 3, 4]


def test_generators_in_turn_draw_what_each_of_its_own_draws():
    key = Key(2**63 + 5, np.array([0, 7, 2**64 - 1], np.uint64), torch.arange(3), np.array([0, 2**31, 4]), 3)
    drawn = [(rng.random(5).tolist(), rng.permutation(6).tolist(), rng.normal()) for rng in key.rngs()]
    own = [key.rng(row) for row in range(3)]
    assert drawn == [(rng.random(5).tolist(), rng.permutation(6).tolist(), rng.normal()) for rng in own]
