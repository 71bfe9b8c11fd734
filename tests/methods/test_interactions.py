"""Shapley interactions: brute force, Moebius coefficients, games with known values, standard errors and the stopping rule."""

import itertools
import math

import numpy as np
import pytest
import torch
import xarray as xr

import tsattr as ta
from tsattr.core.coalitions import Design, _halves

g, b = ta.groups, ta.baselines
Interactions = ta.ShapleyInteractions


def worths(model, players):
    """The worth of every coalition of players at 1, by the set of its members."""
    sets = [frozenset(s) for k in range(players + 1) for s in itertools.combinations(range(players), k)]
    rows = torch.tensor([[float(p in s) for p in range(players)] for s in sets], dtype=torch.float64)
    return dict(zip(sets, model(rows).tolist()))


def shapley_index(v, players):
    """The definition of the Shapley interaction index, pair by pair and coalition by coalition."""
    index = np.zeros((players, players))
    for i, j in itertools.permutations(range(players), 2):
        for s, worth in v.items():
            if not s & {i, j}:
                weight = math.factorial(len(s)) * math.factorial(players - len(s) - 2) / math.factorial(players - 1)
                index[i, j] += weight * (v[s | {i, j}] - v[s | {i}] - v[s | {j}] + worth)
    return index


def shapley_values(v, players):
    value = np.zeros(players)
    for i in range(players):
        for s, worth in v.items():
            if i not in s:
                weight = math.factorial(len(s)) * math.factorial(players - len(s) - 1) / math.factorial(players)
                value[i] += weight * (v[s | {i}] - worth)
    return value


def faithful_index(v, players):
    """Mains and pairs from Moebius coefficients; Tsai, Yeh and Ravikumar (2023), theorem 19."""
    coefficient = {
        t: sum((-1) ** (len(t) - len(s)) * v[s] for s in v if s <= t) for t in v
    }  # a game as a sum of products

    def of(members):
        k, total = len(members), coefficient[frozenset(members)]
        for t, a in coefficient.items():
            if len(t) > 2 and set(members) < t:
                share = math.comb(len(t) - 1, 2) / math.comb(len(t) + 1, 2 + k)
                total += (-1) ** (2 - k) * k / (2 + k) * math.comb(2, k) * share * a
        return total

    mains = np.array([of({i}) for i in range(players)])
    pairs = np.array([[0.0 if i == j else of({i, j}) for j in range(players)] for i in range(players)])
    return mains, pairs


def wave(x):
    """All players act together."""
    return torch.sin(x @ torch.arange(1.0, 1.0 + x.shape[1], dtype=x.dtype)) + x[:, 0] * x[:, 2] * x[:, -1]


GAMES = {
    "pair": (lambda x: x[:, 0] * x[:, 1], 2),
    "majority": (lambda x: (x.sum(1) >= 2).to(x.dtype), 3),
    "gloves": (lambda x: torch.minimum(x[:, :2].sum(1), x[:, 2:].sum(1)), 5),
    "wave": (wave, 7),
    "ten": (wave, 10),
}


def ones(players, samples=1):
    return torch.ones(samples, players, dtype=torch.float64)


@pytest.mark.parametrize("name", GAMES)
def test_the_shapley_index_is_that_of_brute_force(name):
    model, players = GAMES[name]
    ds, v = ta.explain(model, ones(players), Interactions(g.Cells())), worths(model, players)
    pairs, values = shapley_index(v, players), shapley_values(v, players)
    np.testing.assert_allclose(ds.interaction[0], pairs, atol=1e-12)
    np.testing.assert_allclose(ds.group_value[0], values - pairs.sum(1) / 2, atol=1e-12)
    np.testing.assert_allclose(ds.attribution[0], values, atol=1e-12)  # main and half of the pairs
    assert ds.steps.item() == 2**players - 2
    assert ds.model_evaluations.item() == 2**players


@pytest.mark.parametrize("name", GAMES)
def test_the_faithful_index_is_that_of_the_moebius_coefficients(name):
    model, players = GAMES[name]
    ds = ta.explain(model, ones(players), Interactions(g.Cells(), index="faithful"))
    mains, pairs = faithful_index(worths(model, players), players)
    np.testing.assert_allclose(ds.interaction[0], pairs, atol=1e-12)
    np.testing.assert_allclose(ds.group_value[0], mains, atol=1e-12)


@pytest.mark.parametrize("index", ["shapley", "faithful"])
def test_mains_and_pairs_sum_to_the_difference(index):
    model, players = GAMES["ten"]
    for method in (Interactions(g.Cells(), index=index), Interactions(g.Cells(), index=index, coalitions=240)):
        ds = ta.explain(model, ones(players), method)
        total = ds.group_value.sum() + ds.interaction.sum() / 2
        np.testing.assert_allclose(total, ds.prediction - ds.reference, atol=1e-12)
        assert ds.completeness_gap.item() < 1e-12


@pytest.mark.parametrize("index", ["shapley", "faithful"])
def test_a_two_additive_game_is_exact_with_any_effort(index):
    rng = np.random.default_rng(0)
    players = 12
    linear, square = rng.normal(size=players), np.triu(rng.normal(size=(players, players)), 1)
    w, q = torch.as_tensor(linear), torch.as_tensor(square)
    x = torch.as_tensor(rng.normal(size=(3, players)))
    method = Interactions(g.Cells(), index=index, coalitions=2 * players * (players + 1))
    ds = ta.explain(lambda x: x @ w + ((x @ q) * x).sum(1), x, method)
    np.testing.assert_allclose(ds.group_value, x * w, atol=1e-10)
    products = (square + square.T) * x.numpy()[:, :, None] * x.numpy()[:, None]
    np.testing.assert_allclose(ds.interaction, products, atol=1e-10)
    assert (ds.steps == 2 * players * (players + 1)).all()


def test_an_additive_game_has_no_interactions():
    w = torch.tensor([2.0, -3.0, 0.0, 1.0], dtype=torch.float64)
    x = np.array([[1.0, 2.0, 3.0, 4.0], [0.5, -1.0, 2.0, 0.0]])
    ds = ta.explain(lambda r: r @ w, x, Interactions(g.Cells()))
    np.testing.assert_allclose(ds.interaction, 0, atol=1e-12)
    np.testing.assert_allclose(ds.group_value, x * w.numpy(), atol=1e-12)


@pytest.mark.parametrize("index", ["shapley", "faithful"])
def test_samples_of_coalitions_agree_within_their_standard_error(index):
    model, players = GAMES["ten"]
    exact = ta.explain(model, ones(players), Interactions(g.Cells(), index=index))
    ds = ta.explain(model, ones(players), Interactions(g.Cells(), index=index, coalitions=400, draws=40))
    upper = np.triu_indices(players, 1)
    z = ((ds.interaction - exact.interaction) / ds.interaction_standard_error).values[0][upper]
    assert 0.5 < (z**2).mean() ** 0.5 < 1.5  # neither boastful nor timid
    z = (ds.group_value - exact.group_value) / ds.group_standard_error
    assert 0.3 < float((z**2).mean() ** 0.5) < 2


def test_more_draws_until_the_standard_errors_are_within_the_tolerance():
    model, players = GAMES["ten"]
    some = torch.cat([ones(players), torch.nn.functional.pad(ones(players)[:, :-1], (0, 1))])
    loose, tight = (
        ta.explain(model, some, Interactions(g.Cells(), coalitions=240, draws=64, tolerance=t)) for t in (0.5, 0.1)
    )
    assert (loose.steps < tight.steps).all()

    def size(mains, pairs):
        return np.sqrt((mains**2).sum("group") + (pairs**2).sum(("group", "group_b")) / 2)

    error = size(tight.group_standard_error, tight.interaction_standard_error)
    assert (error <= 0.1 * size(tight.group_value, tight.interaction)).all()
    with pytest.warns(ta.ExplanationWarning, match="not converged: sample 0, 1"):
        ds = ta.explain(model, some, Interactions(g.Cells(), coalitions=240, draws=2, tolerance=0.1))
    assert ds.status.values.tolist() == ["not converged"] * 2


def test_with_a_tolerance_there_are_several_draws():
    ds = ta.explain(GAMES["wave"][0], ones(7), Interactions(g.Cells(), tolerance=0.1))
    assert ds.steps.item() == 2 * (2**7 - 2)  # exact: two draws that are alike
    assert float(ds.interaction_standard_error.max()) == 0


def test_labels_of_pairs_and_several_targets():
    x = xr.DataArray([[[1.0, 2.0], [3.0, 4.0]]], dims=("sample", "lead", "time"), coords={"lead": ["II", "V1"]})
    ds = ta.explain(
        lambda x: torch.stack([x[:, 0].sum(1) * x[:, 1].sum(1), x.sum((1, 2))], 1),
        x,
        Interactions(g.Along("lead")),
        target=[0, 1],
    )
    assert ds.interaction.dims == ("sample", "group", "group_b", "target")
    assert ds.interaction.sel(group="II", group_b="V1").values.tolist() == [
        [pytest.approx(21), pytest.approx(0, abs=1e-12)]
    ]
    assert ds.group_value.sel(group="V1").values.ravel().tolist() == [pytest.approx(0, abs=1e-12), pytest.approx(7)]


def test_a_group_without_valid_cells_does_not_play():
    x = torch.tensor([[2.0, torch.nan, 3.0], [2.0, 5.0, 3.0]], dtype=torch.float64)
    ds = ta.explain(lambda x: x[:, 0] * x[:, 2] + torch.nan_to_num(x[:, 1]), x, Interactions(g.Cells()))
    assert np.isnan(ds.interaction[0, 1]).all()
    assert np.isnan(ds.interaction[0, :, 1]).all()
    assert np.isnan(ds.group_value[0, 1])
    assert ds.interaction[:, 0, 2].values.tolist() == [pytest.approx(6), pytest.approx(6)]
    assert ds.group_value[1, 1].item() == pytest.approx(5)


def test_members_of_an_ensemble():
    models = ta.models.Ensemble([lambda x, k=k: k * x[:, 0] * x[:, 1] for k in (1.0, 3.0)])
    ds = ta.explain(models, ones(2), Interactions(g.Cells()))
    assert ds.interaction[0, 0, 1].item() == pytest.approx(2)
    assert ds.interaction_standard_error[0, 0, 1].item() == pytest.approx(1)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"order": 3}, "order is 2, mains and pairs, got 3; for mains alone give ShapleySampling"),
        ({"index": "banzhaf"}, "index is one of .*'faithful'.*, got 'banzhaf'"),
        ({"draws": 1, "tolerance": 0.1}, "several draws, got draws=1"),
        (
            {"coalitions": 100},
            "at least four coalitions for each main and pair, or all there are: 220 for 10 groups, got coalitions=100",
        ),
    ],
)
def test_settings_that_cannot_be(settings, message):
    with pytest.raises(ValueError, match=message):
        ta.explain(wave, ones(10), Interactions(g.Cells(), **settings))


def test_least_squares_too_large_for_memory_are_refused_before_any_work():
    with pytest.raises(ValueError, match=r"x 1000405 mains and pairs, .* GB .* larger groups"):
        ta.explain(lambda x: x.sum(1), torch.zeros(1, 1414), Interactions(g.Cells()), dry_run=True)


@pytest.mark.parametrize("bytes_", [1, 2**28])
def test_coalitions_of_several_samples_are_planned_together_or_one_by_one(bytes_, monkeypatch):
    model, players = GAMES["ten"]
    x = torch.as_tensor(np.random.default_rng(0).normal(size=(5, players)))
    method = Interactions(g.Cells(), b.Gaussian(0.3), coalitions=230, draws=3)
    expected = ta.explain(model, x, method)
    monkeypatch.setattr("tsattr.methods.interactions._COALITIONS", bytes_)
    found = ta.explain(model, x, method)
    xr.testing.assert_allclose(found.interaction, expected.interaction, rtol=1e-12, atol=1e-12)


def test_a_planted_pair_of_a_lead_s_wave_with_another_s_is_found():
    data = ta.datasets.simulate_ecg(6, duration=4.0, seed=0)
    leads = ["II", "V1", "V5"]
    x = data.ecg.sel(lead=leads).astype(float)
    code = data.wave.astype(int)  # of each sample
    names = data.wave.attrs["flag_meanings"].split()
    waves = [names.index(name) for name in ("P", "QRS", "T")]
    place = sum((k + 1) * (code == w) for k, w in enumerate(waves))  # 0 between waves
    label = xr.concat([(place - 1 + 3 * k).where(place > 0, -1) for k in range(3)], "lead").assign_coords(lead=leads)
    label = label.transpose("sample", "lead", "time").astype(int)

    def model(x, qrs, t):  # QRS in V1 times T in V5, and T in II by itself
        def size(lead, inside):
            return (x[:, lead].abs() * inside).sum(1) / inside.sum(1)

        return size(1, qrs) * size(2, t) * 10 + size(0, t)

    context = {"qrs": (code == waves[1]).values.astype(float), "t": (code == waves[2]).values.astype(float)}
    groups = g.Labelled(
        label.where(label >= 0, 9).assign_attrs(
            flag_values=list(range(10)),
            flag_meanings=" ".join([f"{lead}-{w}" for lead in leads for w in ("P", "QRS", "T")] + ["rest"]),
        )
    )
    ds = ta.explain(model, x, Interactions(groups), context=context)
    pairs = ds.interaction.stack(pair=("group", "group_b"))
    found = [set(v) for v in pairs.idxmax("pair").values]
    assert found == [{"V1-QRS", "V5-T"}] * 6
    largest = ds.group_value.idxmax("group")
    assert set(largest.values.tolist()) == {"II-T"}


@pytest.mark.parametrize("method", [Interactions(g.Cells()), ta.KernelShap(g.Cells())])
def test_an_infinite_output_is_a_status_and_nothing_else(method):
    with pytest.warns(ta.ExplanationWarning, match="non-finite output: sample 0") as told:
        ds = ta.explain(lambda x: 1 / x[:, 0] + x.sum(1), ones(3), method)
    assert len(told) == 1  # none of NumPy's
    assert ds.status.values.tolist() == ["non-finite output"]
    assert np.isnan(ds.group_value).all()


def test_a_budget_that_is_too_small_says_what_it_would_take():
    methods = {"pairs": Interactions(g.Cells()), "occlusion": ta.Occlusion(g.Cells())}
    with pytest.raises(
        ValueError, match=r"budget of 30 rows a sample allows 28 coalitions .* which needs 62 for 6 groups"
    ):
        ta.compare(wave, np.random.default_rng(0).normal(size=(4, 6)), methods, budget=30)


@pytest.mark.parametrize("pairs", [6, 7])
def test_halves_of_the_drawn_coalitions_stand_for_all_of_them(pairs):
    plan = Design.of(9, 18 + 2 * pairs).drawn(np.random.default_rng(0))
    assert (plan.enumerated, len(plan.weight)) == (18, 18 + 2 * pairs)
    for weights in np.concatenate(_halves(plan)):
        assert weights.sum() == pytest.approx(plan.weight.sum())
        assert weights[:18].tolist() == plan.weight[:18].tolist()


def test_a_planted_pair_of_waves_of_two_leads_is_the_largest_in_each_record():
    data = ta.datasets.simulate_ecg(4, lesions=(), duration=4.0, sampling_rate=50.0, seed=0)
    x, kinds = data.ecg.sel(lead=["II", "V1", "V5"]), data.wave.attrs["flag_meanings"].split()
    number = xr.DataArray(np.arange(3) * len(kinds), {"lead": x.lead}, "lead") + data.wave
    names = " ".join(f"{lead}-{kind}" for lead in x.lead.values for kind in kinds)
    groups = ta.groups.Labelled(number.assign_attrs(flag_values=range(3 * len(kinds)), flag_meanings=names))

    def rule(ecg, wave):
        def size(lead, kind):
            inside = (wave == kinds.index(kind)).to(ecg.dtype)
            return 10 * (ecg[:, lead].abs() * inside).sum(1) / inside.sum(1)

        return size(1, "QRS") * size(2, "T") + 3 * size(0, "T")

    method = ta.ShapleyInteractions(groups, coalitions=500)
    pairs = ta.explain(rule, x, method, context={"wave": data.wave}).interaction
    largest = abs(pairs).max(("group", "group_b"))
    np.testing.assert_array_equal(abs(pairs.sel(group="V1-QRS", group_b="V5-T")), largest)
    others = abs(pairs).sum(("group", "group_b")) - 2 * largest
    assert (others < 1e-3 * largest).all()
