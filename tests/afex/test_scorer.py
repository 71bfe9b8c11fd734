"""The truths of the cases against numerical integration, and the scorer against models whose scores are known."""

from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
import pytest

from .cases import CASES, Case
from .scorer import NODES, Truth, grid, purified, score

PARTNER = 420  # nodes of the feature that is averaged over: no jump of a case lies on a midpoint
ROWS = pytest.mark.parametrize("case", CASES.values(), ids=list(CASES))


def midpoints(case, n):
    return case.low + (case.high - case.low) * (np.arange(n) + 0.5) / n


def at(case, values):
    """Rows with the features in `values` at given values, and all others at one and the same place."""
    n = len(next(iter(values.values())))
    x = np.full((n, case.features), case.low + 0.37 * (case.high - case.low))
    for j, v in values.items():
        x[:, j] = v
    return x


def averaged(case, j, x):
    """Mean of f over every partner that j has in a pair, at values `x` of j; the truth of a main up to a constant."""
    partners = [b if a == j else a for a, b in case.pairs if j in (a, b)] or [(j + 1) % case.features]
    t = midpoints(case, PARTNER)
    total = np.zeros(len(x))
    for partner in partners:
        values = {j: np.repeat(x, PARTNER), partner: np.tile(t, len(x))}
        total += case.f(at(case, values)).reshape(len(x), PARTNER).mean(1)
    return total / len(partners)


def interaction(case, a, b):
    """f on a square of midpoints less the means of its rows and columns."""
    x = midpoints(case, PARTNER)
    xa, xb = (v.ravel() for v in np.meshgrid(x, x, indexing="ij"))
    f = case.f(at(case, {a: xa, b: xb})).reshape(PARTNER, PARTNER)
    return f - f.mean(1, keepdims=True) - f.mean(0) + f.mean()


@ROWS
def test_mains_are_what_integration_over_the_others_leaves(case):
    assert all(sum(j in p for p in case.pairs) <= 1 for j in range(case.features))  # as `averaged` takes for granted
    for j in range(case.features):
        want = averaged(case, j, midpoints(case, PARTNER))
        found = Truth(case).main(j, midpoints(case, PARTNER))
        np.testing.assert_allclose(found, want - want.mean(), atol=0.012)


@ROWS
def test_pairs_are_what_double_centring_leaves(case):
    for a, b in combinations(range(case.features), 2):
        want = interaction(case, a, b)
        x = midpoints(case, PARTNER)
        xa, xb = (v.ravel() for v in np.meshgrid(x, x, indexing="ij"))
        found = Truth(case).pair(a, b, xa, xb)
        if found is None:
            np.testing.assert_allclose(want, 0, atol=1e-12)
        else:
            np.testing.assert_allclose(found.reshape(want.shape), want, atol=2e-3)


@ROWS
def test_terms_sum_to_f(case):
    x = case.rows(500, np.random.default_rng(0))
    truth = Truth(case)
    mains = sum(truth.main(j, x[:, j]) for j in range(case.features))
    pairs = sum(g(x[:, a], x[:, b]) for (a, b), g in case.pairs.items())
    np.testing.assert_allclose(case.mean + mains + pairs, case.f(x), atol=1e-12)


@ROWS
def test_marginals_are_uniform_and_the_noise_is_as_stated(case):
    draw = case.draw(0)
    u = (np.concatenate([draw.x, draw.x_test]) - case.low) / (case.high - case.low)
    shares = np.linspace(0, 1, 5)
    np.testing.assert_allclose(np.quantile(u, shares, axis=0), np.tile(shares[:, None], case.features), atol=0.015)
    if case.outcome is None:
        noise = draw.f_test.std() / 3 if case.noise is None else case.noise
        assert (draw.y - case.f(draw.x)).std() == pytest.approx(noise, rel=0.06)
    together = np.corrcoef(u.T)[np.ix_(case.together, case.together)]
    if case.together:
        np.testing.assert_allclose(together[np.triu_indices(len(together), 1)], 0.683, atol=0.03)
    np.testing.assert_array_equal(case.draw(0).y, draw.y)
    assert not np.array_equal(case.draw(1).y, draw.y)


def test_a_normal_copula_of_correlation_r_gives_uniforms_of_6_arcsin_half_r_over_pi():
    assert 6 / np.pi * np.arcsin(CASES["correlated"].correlation / 2) == pytest.approx(0.683, abs=5e-4)


def test_sd_of_f_as_published():
    known = {"friedman1": 4.85, "additive_smooth": 1.78, "additive_jumpy": 1.25, "pairs_mix": 1.92}
    for name, sd in known.items():
        assert CASES[name].draw(0).f_test.std() == pytest.approx(sd, rel=0.02)


def test_published_closed_form_of_the_sine_product():
    case, x = CASES["friedman1"], np.linspace(0.1, 1, 5)
    np.testing.assert_allclose(case.mains[0](x), 10 * (1 - np.cos(np.pi * x)) / (np.pi * x) - 5.2466, atol=1e-4)
    assert case.mains[0](np.zeros(1)) == pytest.approx(-5.2466, abs=1e-4)


@ROWS
def test_an_odd_grid_would_leave_means_in_the_closed_forms_and_ours_does_not(case):
    left = [np.abs(purified(Truth(case), case).raw[j] - case.mains[j](grid(case))).max() for j in case.mains]
    assert max(left, default=0) < 0.06  # centring: a step between nodes is off by at most half a node's share of it
    if case.name == "afex_concat":
        odd = midpoints(case, NODES - 1)
        assert abs(case.mains[1](odd).mean()) > 0.03
        assert abs(case.mains[1](grid(case)).mean()) < 1e-12


@ROWS
def test_no_node_lies_on_a_jump(case):
    x = grid(case)
    for main in case.mains.values():
        np.testing.assert_allclose(main(x - 1e-7), main(x + 1e-7), atol=1e-5)
    for surface in case.pairs.values():
        np.testing.assert_allclose(surface(x - 1e-7, x[::-1]), surface(x + 1e-7, x[::-1]), atol=1e-5)


@ROWS
def test_the_truth_scores_best(case):
    draw = case.draw(0, n=10, n_test=2000)
    s = score(Truth(case), case, draw.x_test, draw.f_test)
    for name in ("r2", "found"):
        assert s[name] == 1
    for name in ("mains", "mains_min", "corr", "raw", "pairs"):
        active = case.pairs if name == "pairs" else case.mains
        assert s[name] == pytest.approx(1, abs=1e-3) if active else np.isnan(s[name])
    # Terms of mean 0 on the box have means of a few thousandths on the nodes, which purification moves.
    assert s["leak"] < 0.004
    assert s["false_pair"] == 0


@dataclass(frozen=True)
class Changed(Truth):
    """The truth with other terms: mains scaled and shifted, and functions added to mains and pairs."""

    scale: float = 1.0
    extra: Case | None = None

    def main(self, j, x):
        more = self.extra.mains[j](x) if self.extra and j in self.extra.mains else 0
        return self.scale * super().main(j, x) + more + 7

    def pair(self, a, b, xa, xb):
        own = super().pair(a, b, xa, xb)
        if self.extra and (a, b) in self.extra.pairs:
            return (0 if own is None else own) + self.extra.pairs[a, b](xa, xb)
        return own


def scored(case, model):
    draw = case.draw(0, n=10, n_test=2000)
    return score(model, case, draw.x_test, draw.f_test), draw.f_test.std()


def test_a_flat_model():
    class Flat(Truth):
        def predict_f(self, x):
            return np.full(len(x), self.case.f(x).mean())

        def main(self, j, x):
            return np.full(len(x), 3.0)

        def pair(self, a, b, xa, xb):
            return None

    s, _ = scored(CASES["pairs_mix"], Flat(CASES["pairs_mix"]))
    assert s["found"] == 0
    for name in ("r2", "mains", "mains_min", "corr", "raw", "pairs"):
        assert s[name] == pytest.approx(0, abs=1e-12)


def test_a_model_that_is_half_the_truth_has_three_quarters_of_each_main():
    case = CASES["pairs_mix"]
    s, _ = scored(case, Changed(case, scale=0.5))
    assert [s["mains"], s["mains_min"], s["raw"]] == pytest.approx([0.75] * 3)
    assert s["corr"] == pytest.approx(1)
    assert s["pairs"] == pytest.approx(1)


def test_mass_that_a_pair_keeps_of_its_mains_costs_the_raw_score_only():
    case = CASES["pairs_mix"]
    extra = replace(case, mains={0: lambda x: -3 * x}, pairs={(0, 1): lambda a, b: 3 * a})
    s, _ = scored(case, Changed(case, extra=extra))
    assert s["mains"] == pytest.approx(1)
    assert s["pairs"] == pytest.approx(1)
    assert s["raw"] == pytest.approx((1 - 9 + 1 + 1) / 3)  # the main x as -2 x: 1 - 3^2


def test_leaks_are_in_sds_of_f():
    case = CASES["additive_smooth"]
    extra = replace(case, mains={5: lambda x: 0.3 * side(x)}, pairs={(1, 6): lambda a, b: 0.2 * side(a) * side(b)})
    s, sd = scored(case, Changed(case, extra=extra))
    assert s["leak"] == pytest.approx(0.3 / sd)
    assert s["false_pair"] == pytest.approx(0.2 / sd)
    assert s["found"] == 1


def test_pairs_are_ranked_by_size_and_not_by_the_model():
    case = CASES["pairs_mix"]  # sizes of the true pairs: 2/3 and 1.5
    for height, share in ((0.5, 1.0), (0.9, 0.5)):
        extra = replace(case, mains={}, pairs={(2, 6): lambda a, b, h=height: h * side(a) * side(b)})
        assert scored(case, Changed(case, extra=extra))[0]["found"] == share


def side(x):
    return np.where(x >= 0, 1.0, -1.0)
