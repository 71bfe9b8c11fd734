"""The nets' training: slopes against finite differences, and the frozen nets against the trained ones."""

import numpy as np
import pytest
import torch

from tsattr.afex.attention import Scores
from tsattr.afex.basis import Feature
from tsattr.afex.families import Identity, Logit, Softmax
from tsattr.afex.nets import Bank, NetInputs, NetTraining, _columns
from tsattr.afex.solve import Problem
from tsattr.afex.stages.networks import training_groups, training_step
from tsattr.afex.working import Settings, WorkingModel


def outcome(family, rng, n):
    label = rng.integers(3, size=n)
    return {"identity": rng.normal(size=(n, 1)), "logit": (label == 1).astype(float)[:, None]}.get(
        family.link, np.eye(3)[label]
    )


@pytest.mark.parametrize("family", [Identity(), Logit(), Softmax()])
@pytest.mark.parametrize("kind", ["least_squares", "correlation", "softmax"])
def test_the_slope_is_that_of_the_loss_after_the_solve(family, kind):
    rng = np.random.default_rng(0)
    n, number = 60, 50
    x, y, w = rng.normal(size=(n, 1)), outcome(family, rng, n), rng.uniform(0.5, 2, n)
    features = [Feature.fit(x[:, 0], w, atoms=False)]
    model = WorkingModel(x, y, w, features, family, Settings(n_nets=3, attention=kind, atoms=False), rng)
    step = training_step(model, training_groups(model, [0], 3), model.signs()[:1])
    z = rng.normal(size=(n, 4))
    step.penalty, step.count = np.array([3.0, 5.0]), 1  # held, so that the objective is known

    def objective(z):
        inside = (z[:number], y[:number], w[:number])
        if kind == "least_squares":
            found = Problem(*inside, family, step.groups).solve(step.penalty, tune=False)
            fit = w[:number] @ family.loss(found.eta, y[:number])
            return fit + (step.penalty[step.groups] @ found.coef[1:] ** 2).sum() / 2
        return w[:number] @ family.loss(Scores(*inside, kind).solution(family).eta, y[:number])

    for _ in range(10):  # a step takes few Newton steps: repeated ones converge
        step.count = 1
        step.penalty = np.array([3.0, 5.0])
        slope, loss = step(z, np.arange(n), number)
    assert np.isfinite(loss)
    assert (slope[number:] == 0).all()
    for i, j in ((0, 0), (7, 1), (20, 3)):
        up, down = z.copy(), z.copy()
        up[i, j] += 1e-4
        down[i, j] -= 1e-4
        expected = (objective(up) - objective(down)) / 2e-4 / (w[:number].sum() * step.scale)
        assert np.isclose(slope[i, j], expected, rtol=1e-3, atol=1e-7)


def test_frozen_nets_say_what_the_trained_ones_do():
    bank = Bank(3, 4, 8, seed=0)
    u = torch.linspace(-2, 2, 11).expand(3, 11)
    expected = bank(u).detach().numpy()
    for nets, columns in zip(bank.frozen(), expected):
        assert np.allclose(nets(u[0].double().numpy()), columns, atol=1e-5)
    assert np.array_equal(expected[0], expected[2])  # alike at the start, whatever the order of the features


def test_columns_are_centred_over_the_known_training_rows_and_products_are_theirs():
    rng = np.random.default_rng(0)
    u, known = rng.normal(size=(30, 2)), rng.random((30, 2)) > 0.2
    fixed = rng.normal(size=(30, 1))
    rows = NetInputs(u * known, known, fixed, [((fixed, 0), (np.zeros((30, 0)), 1))])
    w = torch.ones(30)
    w[20:] = 0
    found = _columns(Bank(2, 2, 4, 0), rows, w).detach().numpy()
    for q in range(2):
        own = found[:20, 2 * q : 2 * q + 2]
        assert np.allclose(own.mean(0), 0, atol=1e-6)
        assert np.allclose((own**2).sum(0) / known[:20, q].sum(), 1, atol=1e-4)
        assert (found[~known[:, q], 2 * q : 2 * q + 2] == 0).all()
    expected = [a * b for a in (fixed[:, 0], found[:, 0], found[:, 1]) for b in (found[:, 2], found[:, 3])]
    assert np.allclose(found[:, 4:], np.stack(expected, axis=1), atol=1e-5)


def test_the_kept_step_is_the_one_with_the_least_loss_held_out():
    losses, seen = [3.0, 1.0, 2.0, 2.5], []

    def step(z, rows, number):
        seen.append(z[:, 1:].copy())
        return np.ones_like(z), losses[len(seen) - 1]

    u = np.linspace(-1, 1, 40)[:, None]
    held = np.arange(40) % 4 == 0

    def ask(rows):
        return NetInputs(u[rows], np.ones((len(rows), 1), bool), np.ones((len(rows), 1)), [])

    found, least = NetTraining(ask, np.ones(40), held, step, 4, np.random.default_rng(0)).nets(1, 2, 4)
    assert least == 1
    rows = np.r_[np.flatnonzero(~held), np.flatnonzero(held)]
    columns = found[0](u[rows, 0])
    assert len(seen) == 4
    for k, z in enumerate(seen):
        same = [abs(np.corrcoef(columns[:, c], z[:, c])[0, 1]) > 1 - 1e-9 for c in range(2)]
        scaled = (columns - columns[: (~held).sum()].mean(0)) / columns[: (~held).sum()].std(0)
        assert np.allclose(scaled, z, atol=1e-4) == (k == 1) or all(same)


def test_large_tables_are_trained_in_batches():
    from tsattr.afex import nets

    rng = np.random.default_rng(0)
    n, sizes = 3 * nets.BATCH, []

    def step(z, rows, number):
        sizes.append((len(z), number))
        return np.zeros_like(z), 1.0

    u = rng.normal(size=(n, 1))

    def ask(rows):
        return NetInputs(u[rows], np.ones((len(rows), 1), bool), np.zeros((len(rows), 1)), [])

    NetTraining(ask, np.ones(n), np.arange(n) % 6 == 0, step, 2, rng).nets(1, 1, 2)
    assert sizes == [(nets.BATCH + n // 6, nets.BATCH)] * 2
