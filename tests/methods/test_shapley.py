"""Shapley values: brute force, games with known values, exact sums, standard errors and the stopping rule."""

import itertools
import math

import numpy as np
import pytest
import torch
import xarray as xr

import tsattr as ta
from tsattr.core.coalitions import Design, constrained_least_squares
from tsattr.core.groups import masks

g, b = ta.groups, ta.baselines


def brute_force(game, players):
    """The definition: a sum over coalitions of what each player adds."""
    value = np.zeros(players)
    for p in range(players):
        others = [q for q in range(players) if q != p]
        for s in range(players):
            weight = math.factorial(s) * math.factorial(players - s - 1) / math.factorial(players)
            for members in itertools.combinations(others, s):
                value[p] += weight * (game({*members, p}) - game(set(members)))
    return value


def voting(weights, quota):
    """A weighted voting game as a model on 0/1 rows."""
    w = torch.tensor(weights, dtype=torch.float64)
    return lambda x: ((x @ w) >= quota).to(x.dtype)


def glove(left):
    """Players hold left or right gloves; a coalition is worth its number of pairs."""
    return lambda x: torch.minimum(x[:, :left].sum(1), x[:, left:].sum(1))


GAMES = {
    "voting": (voting([4, 3, 2, 1], 6), 4),
    "glove": (glove(2), 5),
    "twelve": (lambda x: torch.sin(x @ torch.arange(1.0, 13.0, dtype=x.dtype)) + x[:, 0] * x[:, 5] * x[:, 11], 12),
}


@pytest.mark.parametrize("name", GAMES)
def test_kernel_shap_is_exact_when_all_coalitions_are_affordable(name):
    model, players = GAMES[name]
    x = torch.ones(1, players, dtype=torch.float64)
    expected = brute_force(
        lambda s: model(torch.tensor([[float(p in s) for p in range(players)]], dtype=torch.float64)).item(), players
    )
    ds = ta.explain(model, x, ta.KernelShap(g.Cells(), coalitions=2**players - 2))
    np.testing.assert_allclose(ds.group_value[0], expected, atol=1e-10)
    np.testing.assert_allclose(ds.attribution[0], expected, atol=1e-10)
    assert ds.steps.item() == 2**players - 2
    assert ds.model_evaluations.item() == 2**players


@pytest.mark.parametrize("name", GAMES)
def test_sampling_agrees_within_its_standard_error(name):
    model, players = GAMES[name]
    x = torch.ones(1, players, dtype=torch.float64)
    exact = ta.explain(model, x, ta.KernelShap(g.Cells(), coalitions=2**players - 2)).group_value[0]
    ds = ta.explain(model, x, ta.ShapleySampling(g.Cells(), draws=600))
    z = (ds.group_value[0] - exact) / (ds.group_standard_error[0] + 1e-12)
    assert (abs(z) < 4).all()
    assert 0.2 < float((z**2).mean() ** 0.5) < 2  # neither boastful nor timid
    np.testing.assert_allclose(ds.group_value.sum(), ds.prediction - ds.reference, atol=1e-12)
    assert ds.completeness_gap.item() < 1e-12


def test_sampled_kernel_shap_comes_close_and_sums_exactly():
    model, players = GAMES["twelve"]
    x = torch.ones(1, players, dtype=torch.float64)
    exact = ta.explain(model, x, ta.KernelShap(g.Cells(), coalitions=4094)).group_value[0]
    ds = ta.explain(model, x, ta.KernelShap(g.Cells(), coalitions=800, draws=8))
    z = (ds.group_value[0] - exact) / ds.group_standard_error[0]
    assert float((z**2).mean() ** 0.5) < 2.5
    assert ds.completeness_gap.item() < 1e-12


@pytest.mark.parametrize("method", [ta.ShapleySampling(g.Cells(), draws=2), ta.KernelShap(g.Cells())])
def test_additive_games_are_exact_with_any_effort(method):
    w = torch.tensor([2.0, -3.0, 0.0, 1.0], dtype=torch.float64)
    x = np.array([[1.0, 2.0, 3.0, 4.0], [0.5, -1.0, 2.0, 0.0]])
    ds = ta.explain(lambda r: r @ w, x, method)
    np.testing.assert_allclose(ds.attribution, x * w.numpy(), atol=1e-12)
    assert (ds.attribution[:, 2] == 0).all() or np.allclose(ds.attribution[:, 2], 0, atol=1e-12)


def test_known_values_that_tell_shapley_from_integrated_gradients():
    x = torch.tensor([[2.0, 3.0]], dtype=torch.float64)
    cases = {
        "min": (lambda r: r.amin(1), [1.0, 1.0]),
        "max": (lambda r: r.amax(1), [1.0, 2.0]),
        "product": (lambda r: r[:, 0] * r[:, 1], [3.0, 3.0]),
        "square times": (lambda r: r[:, 0] ** 2 * r[:, 1], [6.0, 6.0]),
    }
    for f, expected in cases.values():
        for method in (ta.ShapleySampling(g.Cells(), draws=2), ta.KernelShap(g.Cells())):
            np.testing.assert_allclose(ta.explain(f, x, method).attribution[0], expected, atol=1e-12)


def test_a_groups_value_is_divided_over_its_valid_cells():
    x = xr.DataArray(np.arange(1.0, 13).reshape(1, 2, 6), dims=("sample", "lead", "time"))
    x[0, 0, 1] = np.nan
    x[0, 1, 3:] = np.nan
    method = ta.ShapleySampling(g.Windows(time=3, lead=1), draws=4)
    ds = ta.explain(lambda r: torch.nan_to_num(r).sum((1, 2)) ** 2, x, method)
    assert np.isnan(ds.group_value.values[0]).tolist() == [False, False, False, True]
    np.testing.assert_array_equal(np.isnan(ds.attribution), np.isnan(x))
    np.testing.assert_allclose(ds.attribution[0, 0, [0, 2]], ds.group_value[0, 0] / 2)
    np.testing.assert_allclose(ds.attribution.sum(), ds.prediction - ds.reference, rtol=1e-12)
    kernel = ta.explain(lambda r: torch.nan_to_num(r).sum((1, 2)) ** 2, x, ta.KernelShap(g.Windows(time=3, lead=1)))
    np.testing.assert_allclose(
        kernel.attribution,
        ta.explain(
            lambda r: torch.nan_to_num(r).sum((1, 2)) ** 2, x, ta.ShapleySampling(g.Windows(time=3, lead=1), draws=2000)
        ).attribution,
        rtol=0.1,
    )


def test_overlapping_windows_still_sum_to_the_difference():
    x = np.random.default_rng(0).normal(size=(2, 7))
    for method in (ta.ShapleySampling(g.Windows(dim_1=3, step=2), draws=6), ta.KernelShap(g.Windows(dim_1=3, step=2))):
        ds = ta.explain(lambda r: torch.tanh(r).prod(1) + r.sum(1), x, method)
        np.testing.assert_allclose(ds.attribution.sum("dim_1"), ds.prediction - ds.reference, atol=1e-12)


def test_the_stopping_rule_spares_easy_samples():
    # sample 0 is additive where it stands, sample 1 is not
    x = np.array([[1.0, 1, 1, 1, 0], [1.0, 1, 1, 1, 1]])
    f = lambda r: r[:, :4].sum(1) + r[:, 4] * torch.cos(7 * r[:, :4].sum(1))  # noqa: E731
    ds = ta.explain(f, x, ta.ShapleySampling(g.Cells(), draws=640, tolerance=0.02))
    assert ds.steps[0] < ds.steps[1]
    assert (ds.status == "ok").all()
    error = (ds.group_standard_error**2).sum("group") ** 0.5
    assert (error <= 0.02 * (ds.group_value**2).sum("group") ** 0.5).all()
    with pytest.warns(ta.ExplanationWarning, match="not converged: sample 1"):
        short = ta.explain(f, x, ta.ShapleySampling(g.Cells(), draws=8, tolerance=0.001))
    assert short.status.values.tolist() == ["ok", "not converged"]


def test_draws_of_the_baseline_are_averaged():
    rng = np.random.default_rng(0)
    x, train = rng.normal(size=(1, 4)), rng.normal(size=(16, 4))
    w = torch.tensor([1.0, 2.0, -1.0, 0.5], dtype=torch.float64)
    for method in (
        ta.ShapleySampling(g.Cells(), b.Samples.fit(train), draws=32),
        ta.KernelShap(g.Cells(), b.Samples.fit(train), draws=16),
    ):
        ds = ta.explain(lambda r: r @ w, x, method)
        np.testing.assert_allclose(ds.attribution[0], w.numpy() * (x[0] - train.mean(0)), atol=1e-12)


def test_several_targets_share_their_rows():
    x = np.random.default_rng(0).normal(size=(3, 5))
    f = lambda r: torch.stack([r.prod(1), r.sum(1) ** 2], 1)  # noqa: E731
    for method in (ta.ShapleySampling(g.Cells(), draws=6), ta.KernelShap(g.Cells())):
        both = ta.explain(f, x, method, target=[0, 1])
        for k in (0, 1):
            one = ta.explain(f, x, method, target=k)
            np.testing.assert_allclose(both.attribution.isel(target=k), one.attribution, atol=1e-12)
            assert (both.model_evaluations == one.model_evaluations).all()


def test_the_drawn_coalitions_weigh_what_the_kernel_says():
    z, w, _ = Design.of(10, 200).drawn(np.random.default_rng(0))
    assert len(z) == 200
    size = z.sum(1)
    for s in (1, 2):  # enumerated with their complements: 20 + 90
        assert (size == s).sum() == math.comb(10, s)
        assert w[size == s].sum() == pytest.approx(9 / (s * (10 - s)))
    middle = sum(9 / (s * (10 - s)) for s in range(3, 8))
    assert w[(size >= 3) & (size <= 7)].sum() == pytest.approx(middle)


def test_too_few_coalitions_are_refused():
    with pytest.raises(ValueError, match="at least two coalitions a group, 24 for 12 groups, got coalitions=20"):
        ta.explain(lambda r: r.sum(1), np.ones((1, 12)), ta.KernelShap(g.Cells(), coalitions=20))


def test_one_group_takes_all_and_no_group_gives_nothing():
    ds = ta.explain(lambda r: r.sum(1), np.ones((1, 3)), ta.KernelShap(g.Windows(dim_1=3)))
    np.testing.assert_allclose(ds.group_value, [[3.0]])
    assert constrained_least_squares(np.zeros((0, 0), bool), np.zeros(0), np.zeros((0, 1)), np.zeros(1)).shape == (1, 0)


# ------------------------------------------------------------------------------------------------- memory by groups


@pytest.mark.parametrize("method", [ta.ShapleySampling(g.Cells(), draws=4), ta.KernelShap(g.Cells(), coalitions=200)])
def test_masks_are_made_batch_by_batch(method, monkeypatch):
    """The masks of all rows together are quadratic in the groups: 64 samples of 4,800 cells would take gigabytes."""
    seen, own = [], masks.Boxes.union

    def union(groups, absent, position):
        seen.append(absent.numel())
        return own(groups, absent, position)

    monkeypatch.setattr(masks.Boxes, "union", union)
    x = torch.arange(210.0).reshape(3, 70)
    ds = ta.explain(lambda x: x.sum(1), x, method, batch_size=16)
    np.testing.assert_allclose(ds.attribution, x, rtol=1e-4, atol=1e-4)
    assert max(seen) <= 16 * 70


@pytest.mark.parametrize("bytes_", [1, 2**28])
def test_coalitions_of_several_samples_are_planned_together_or_one_by_one(bytes_, monkeypatch):
    monkeypatch.setattr("tsattr.methods.kernel_shap._COALITIONS", bytes_)
    model, players = GAMES["twelve"]
    x = torch.as_tensor(np.random.default_rng(0).normal(size=(5, players)))
    method = ta.KernelShap(g.Cells(), b.Gaussian(0.3), coalitions=100, draws=3)
    found = ta.explain(model, x, method)
    monkeypatch.undo()
    xr.testing.assert_allclose(found.group_value, ta.explain(model, x, method).group_value, rtol=1e-12, atol=1e-12)


def test_least_squares_too_large_for_memory_are_refused_before_any_work():
    x = torch.zeros(1, 12, 1000)
    with pytest.raises(ValueError, match=r"26048 coalitions x 12000 groups, 2\.5 GB .* ShapleySampling"):
        ta.explain(lambda x: x.sum((1, 2)), x, ta.KernelShap(g.Cells()), dry_run=True)


# ------------------------------------------------------------------------------------------------- what is made once


@pytest.mark.parametrize("method", [ta.KernelShap(g.Cells()), ta.ShapleyInteractions(g.Cells())])
def test_what_does_not_depend_on_the_sample_is_planned_once(method, monkeypatch):
    made, own = [], Design.of

    def of(players, budget):
        made.append(players)
        return own(players, budget)

    monkeypatch.setattr(Design, "of", of)
    x = np.random.default_rng(0).normal(size=(9, 5))
    x[2, 1] = x[5, 0] = np.nan
    x[7] = np.nan
    with pytest.warns(ta.ExplanationWarning, match="all missing: sample 7"):
        ds = ta.explain(lambda r: torch.nan_to_num(r).prod(1), x, method, missing="invalid")
    assert sorted(made) == [0, 4, 5]
    monkeypatch.undo()
    for at in (0, 2, 5, 8):  # the players of samples 2 and 5 are as many, and others
        one = ta.explain(lambda r: torch.nan_to_num(r).prod(1), x[[at]], method, missing="invalid")
        xr.testing.assert_allclose(ds.group_value[[at]], one.group_value, rtol=1e-12, atol=1e-14)


def test_a_target_without_finite_worths_has_no_values_and_the_others_have():
    z, w, _ = Design.of(4, 14).fixed
    y = np.stack([z @ [1.0, 2.0, 3.0, 4.0], np.where(z[:, 0], np.nan, 1.0), z @ [1.0, 0.0, 0.0, 0.0]], 1)
    found = constrained_least_squares(z, w, y, np.array([10.0, 1.0, np.inf]))
    np.testing.assert_allclose(found[0], [1, 2, 3, 4], atol=1e-12)
    assert np.isnan(found[1:]).all()


@pytest.mark.parametrize("players", [16, 30])
def test_drawn_coalitions_are_uniform_among_those_of_their_size(players):
    design = Design.of(players, 2 * players + 40_000)
    z = design.drawn(np.random.default_rng(0)).members[len(design.whole) :]
    assert (z[::2] != z[1::2]).all()  # each with its complement
    half = z[::2]
    for size in design.sizes[[0, len(design.sizes) // 2]]:
        some = half[half.sum(1) == size]
        share = size / players
        sd = (share * (1 - share) / len(some)) ** 0.5
        assert (abs(some.mean(0) - share) < 4.5 * sd).all()


def test_the_orders_of_a_pair_share_the_row_with_nobody_there():
    seen = []

    def model(rows):
        seen.append(rows.clone())
        return rows.prod(1)

    x = torch.tensor([[2.0, 3.0, 5.0]])
    ds = ta.explain(model, x, ta.ShapleySampling(g.Cells(), draws=8), check=False)
    rows = torch.cat(seen)
    assert len(rows) == ds.model_evaluations.item() == 1 + 4 * (2 * 3 - 1)
    assert (rows == 0).all(1).sum() == 4


@pytest.mark.parametrize(("rows", "draws"), [(4, 1), (5, 1), (6, 2), (10, 2), (11, 4), (16, 6)])
def test_as_many_orders_as_a_budget_allows(rows, draws):
    method = ta.ShapleySampling(g.Windows(dim_1=1), draws=50)
    axes = ta.core.axes.Axes(("dim_1",), (3,))
    kept = method.__class__(g.Windows(dim_1=1).bind(axes), draws=50).within(rows)
    assert kept.draws == draws
    assert kept.rows()[1] <= rows
