"""Orders of removal."""

import numpy as np
import torch

from tsattr.metrics import removal


def test_places_undo_an_order_as_sorting_it_again_would():
    order = torch.as_tensor(np.random.default_rng(0).permuted(np.tile(np.arange(50), (7, 1)), axis=1))
    assert torch.equal(removal._inverse(order), order.argsort(1))
    assert torch.equal(removal._inverse(order.to(torch.int32)), order.argsort(1))


def test_everything_takes_the_groups_that_play_first():
    playing = torch.tensor([[False, True, False, True], [True, True, True, True], [False, False, False, False]])
    every = removal.everything(playing)
    assert every.place.dtype == torch.int32
    assert every.place.tolist() == [[2, 0, 3, 1], [0, 1, 2, 3], [0, 1, 2, 3]]
    assert torch.equal(every.place < every.counts, playing)


def test_groups_that_do_not_play_come_after_those_of_the_lowest_score():
    playing = torch.tensor([[True, False, True, True]])
    score, ties = torch.tensor([[-torch.inf, 5.0, 2.0, 3.0]]), torch.tensor([[1, 0, 2, 3]])
    assert removal.by_score(score, playing, ties).tolist() == [[2, 3, 1, 0]]
    assert removal.by_score(score, torch.ones_like(playing), ties).tolist() == [[3, 0, 2, 1]]
