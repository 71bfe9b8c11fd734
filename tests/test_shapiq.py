"""Agreement of interactions with shapiq's exact values, by definition and not by estimate."""

import numpy as np
import pytest
import torch

import tsattr as ta

shapiq = pytest.importorskip("shapiq", reason="shapiq is not installed (extra: bench)")


def game(x):
    """A game in which several players act together, that of none not 0."""
    weights = torch.as_tensor(np.random.default_rng(x.shape[1]).normal(size=(x.shape[1], 4)))
    return torch.tanh(x @ weights).prod(1) + torch.sin(x.sum(1)) + x[:, 0] * x[:, -1] + 2


@pytest.mark.parametrize("players", [2, 3, 5, 8, 10])
@pytest.mark.parametrize(("index", "theirs"), [("shapley", "k-SII"), ("faithful", "FSII")])
def test_the_exact_values_agree(players, index, theirs):
    exact = shapiq.ExactComputer(lambda z: game(torch.as_tensor(np.asarray(z, float))).numpy(), n_players=players)
    found = exact(theirs, order=2)
    ds = ta.explain(
        game, torch.ones(1, players, dtype=torch.float64), ta.ShapleyInteractions(ta.groups.Cells(), index=index)
    )
    first, second = np.triu_indices(players, 1)
    # shapiq gives the empty and the whole coalition a weight of 1e8 in place of a constraint, which leaves some 1e-9.
    tolerance = 1e-12 if index == "shapley" else 1e-7
    pairs = [found[(i, j)] for i, j in zip(first.tolist(), second.tolist())]
    np.testing.assert_allclose(ds.interaction.values[0, first, second], pairs, rtol=0, atol=tolerance)
    np.testing.assert_allclose(ds.group_value[0], [found[(i,)] for i in range(players)], rtol=0, atol=tolerance)


def test_the_sum_of_a_main_and_half_of_its_pairs_is_shapiq_s_shapley_value():
    exact = shapiq.ExactComputer(lambda z: game(torch.as_tensor(np.asarray(z, float))).numpy(), n_players=7)("SV")
    ds = ta.explain(game, torch.ones(1, 7, dtype=torch.float64), ta.ShapleyInteractions(ta.groups.Cells()))
    np.testing.assert_allclose(ds.attribution[0], [exact[(i,)] for i in range(7)], rtol=0, atol=1e-12)
