"""Known answers of the gradient methods: closed forms, and slow versions written from the papers."""

import warnings

import numpy as np
import pytest
import torch
import xarray as xr
from torch import nn

import tsattr as ta

from .. import reference
from ..conftest import LEADS, TIMES, Spy

b = ta.baselines
IG = ta.IntegratedGradients
RULES = ("midpoint", "gauss-legendre", "left")
relu = torch.relu


def explain(f, x, method, **kwargs):
    return ta.explain(f, np.atleast_2d(np.asarray(x, np.float64)), method, **kwargs)


def attribution(f, x, method):
    """Of one sample, or of several."""
    return explain(f, x, method).attribution.values.squeeze()


def assert_close(a, b, tolerance=1e-10):
    np.testing.assert_allclose(a, b, rtol=0, atol=tolerance)


def of(net, target=1):
    """One output of a network as a function (rows, *event) -> (rows,)."""
    return lambda x: net(x)[:, target]


# ---- closed forms


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("steps", [1, 2, 3, 10, 50])
def test_linear(rule, steps):
    # peers.md, own list (a): any rule whose weights sum to 1; a trapezoid without its ends' halves fails by 1/n
    w = np.array([2.0, -3.0, 0.5, 0.0])
    x, start = np.array([0.3, -1.0, 2.0, 5.0]), np.array([1.0, 1.0, -1.0, 2.0])
    ds = explain(lambda x: x @ torch.as_tensor(w) + 4, x, IG(b.Constant(start), steps=steps, rule=rule))
    assert_close(ds.attribution[0], w * (x - start), 1e-12)
    assert_close(ds.completeness_gap, 0, 1e-12)
    assert_close(ds.reference, w @ start + 4, 1e-12)
    assert_close(ds.prediction, w @ x + 4, 1e-12)


@pytest.mark.parametrize("start", [0.0, 1.0, -2.5])
def test_one_step_on_the_identity_is_the_distance(start):
    x = np.array([[1.0, -2.0, 0.0]])
    assert_close(attribution(lambda x: x.sum(1), x, IG(b.Constant(start), steps=1)), (x - start)[0], 1e-12)


def test_saturation():
    f = lambda x: (1 - relu(1 - x)).sum(1)  # noqa: E731
    assert attribution(f, [2.0], ta.Saliency()) == 0
    assert attribution(f, [2.0], ta.InputXGradient()) == 0
    assert_close(attribution(f, [2.0], IG(steps=10, rule="midpoint")), 1)
    assert_close(attribution(f, [2.0], IG()), 1, 0.01)


@pytest.mark.parametrize(
    "f",
    [
        lambda x: relu(relu(x[:, 0]) - 1 - relu(x[:, 1])),
        lambda x: relu(relu(x[:, 0] - 1) - relu(x[:, 1])),
    ],
)
def test_implementation_invariance(f):
    ds = explain(f, [3.0, 1.0], IG(steps=20, rule="midpoint"))
    assert_close(ds.attribution[0], [1.5, -0.5])
    assert_close(ds.prediction - ds.reference, 1)


@pytest.mark.parametrize(
    ("f", "x", "expected"),
    [
        (torch.minimum, [2.0, 3.0], [2, 0]),
        (torch.maximum, [2.0, 3.0], [0, 3]),
        (torch.minimum, [2.0, 2.0], [1, 1]),  # torch splits the gradient of a tie
    ],
)
def test_minimum_and_maximum(f, x, expected):
    assert_close(attribution(lambda x: f(x[:, 0], x[:, 1]), x, IG()), expected)


@pytest.mark.parametrize("rule", ["midpoint", "gauss-legendre"])
def test_product(rule):
    f = lambda x: x[:, 0] * x[:, 1]  # noqa: E731
    assert_close(attribution(f, [2.0, 3.0], IG(rule=rule)), [3, 3])
    assert_close(attribution(f, [2.0, 3.0], IG(rule=rule, steps=1)), [3, 3])
    assert_close(attribution(f, [2.0, 3.0], ta.InputXGradient()), [6, 6])
    assert_close(attribution(f, [2.0, -3.0], ta.Saliency()), [3, 2])
    assert_close(attribution(f, [2.0, -3.0], ta.Saliency(absolute=False)), [-3, 2])


def test_aumann_shapley_is_not_shapley():
    f = lambda x: x[:, 0] ** 2 * x[:, 1]  # noqa: E731
    assert_close(attribution(f, [2.0, 3.0], IG(rule="gauss-legendre", steps=2)), [8, 4])
    assert_close(attribution(f, [2.0, 3.0], IG(tolerance=1e-6)), [8, 4], 1e-6)
    assert abs(attribution(f, [2.0, 3.0], IG(rule="midpoint", steps=2)) - [8, 4]).max() > 0.1


@pytest.mark.parametrize("degree", [1, 2, 5, 8, 13])
def test_gauss_legendre_is_exact_for_polynomials(degree):
    n = (degree + 1) // 2  # the integrand has degree d - 1; n points are exact up to 2n - 1
    f = lambda x: (x**degree).sum(1)  # noqa: E731
    assert_close(attribution(f, [1.5], IG(rule="gauss-legendre", steps=n)), 1.5**degree)
    if n > 1:
        assert abs(attribution(f, [1.5], IG(rule="gauss-legendre", steps=n - 1)) - 1.5**degree) > 1e-4


def test_quadratic():
    rng = np.random.default_rng(0)
    a = rng.normal(size=(5, 5))
    a, x, start = a + a.T, rng.normal(size=5), rng.normal(size=5)
    quadratic = lambda x: 0.5 * ((x @ torch.as_tensor(a)) * x).sum(1)  # noqa: E731
    for method in (IG(b.Constant(start), steps=1), IG(b.Constant(start))):
        assert_close(attribution(quadratic, x, method), (x - start) * (a @ (x + start)) / 2)


def test_sensitivity_symmetry_and_linearity(smooth, recurrent, ecg):
    f, h = of(smooth), of(recurrent)
    method = IG(b.Blur(time=2.0), steps=8)
    one, other = (ta.explain(m, ecg, method).attribution for m in (f, h))
    both = ta.explain(lambda x: 3 * f(x) - h(x), ecg, method).attribution
    xr.testing.assert_allclose(both, 3 * one - other, atol=1e-12)
    twin = lambda x: torch.tanh(x[:, 0] + x[:, 1] + 0.3 * x[:, 2])  # noqa: E731
    found = attribution(twin, [0.4, 0.4, 0.1], IG())
    assert_close(found[0], found[1], 1e-12)
    assert (found != 0).all()
    found = attribution(lambda x: torch.tanh(x[:, 0] * x[:, 1]), [0.4, 0.7], IG(b.Constant([0.4, 0.2])))
    assert found[0] == 0 != found[1]  # only one feature differs from the baseline


def test_shift_equivariance(ecg):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = nn.Sequential(nn.Conv1d(3, 4, 3, padding=1, padding_mode="circular"), nn.Tanh()).double()
    f = lambda x: net(x).mean(2) @ torch.tensor([1.0, -2.0, 0.5, 3.0], dtype=torch.float64)  # noqa: E731
    start = ecg.mean("time") + ecg.isel(sample=3, drop=True) / 2

    def run(shift):
        moved = ecg.roll(time=shift)  # cells only: the clock stays
        return ta.explain(f, moved, IG(b.Constant(start.roll(time=shift)), steps=5)).attribution

    xr.testing.assert_allclose(run(4), run(0).roll(time=4), atol=1e-12)


def test_maximum_distance():
    x = np.array([[-1.0, -0.4, 0.0, 0.7]])
    w = np.array([1.0, 2.0, 3.0, -4.0])
    found = attribution(lambda x: x @ torch.as_tensor(w), x, IG(b.MaximumDistance(-1.0, 1.0)))
    assert_close(found, w * np.where(x[0] >= 0, 1, -1) * (1 + abs(x[0])))


def test_additive_truth():
    # f = sum C_i(x_i), piecewise linear with knots at 0 and 1/2: IG_i = C_i(x_i) - C_i(x'_i)
    slopes = np.random.default_rng(3).normal(size=(6, 3))

    def parts(x):
        s = torch.as_tensor(slopes)
        return s[:, 0] * x + s[:, 1] * relu(x) + s[:, 2] * relu(x - 0.5)

    x, start = np.random.default_rng(4).normal(size=(2, 5, 6))
    method = IG(b.Constant(xr.DataArray(start, dims=("sample", "dim_1"))), rule="midpoint", steps=729)
    truth = parts(torch.as_tensor(x)) - parts(torch.as_tensor(start))
    assert_close(attribution(lambda x: parts(x).sum(1), x, method), truth, 0.02)
    assert_close(explain(lambda x: parts(x).sum(1), x, method).prediction, parts(torch.as_tensor(x)).sum(1))


@pytest.mark.parametrize("n", [10, 50, 200, 500])
def test_a_kink_costs_what_the_rule_says(n):
    # relu(10 (x - 0.9)) at 1: the nodes beyond 0.9 count, each with its weight
    nodes, weights = reference.rule("gauss-legendre", n)
    gap = abs(10 * weights[nodes > 0.9].sum() - 1)
    ds = explain(lambda x: relu(10 * (x - 0.9)).sum(1), [1.0], IG(rule="gauss-legendre", steps=n))
    assert_close(ds.completeness_gap, gap)
    assert_close(ds.attribution.sum(), 10 * weights[nodes > 0.9].sum())


def test_path_points_lie_on_the_line(ecg):
    spy = Spy(lambda x: (x**2).sum((1, 2)))
    ta.explain(spy, ecg[:1], IG(b.Constant(0.5), steps=7, rule="gauss-legendre"), check=False)
    nodes, _ = reference.rule("gauss-legendre", 7)
    path = 0.5 + nodes[:, None, None] * (ecg.values[0] - 0.5)
    np.testing.assert_allclose(spy.graded, path, atol=1e-12)
    np.testing.assert_array_equal(spy.plain, [ecg.values[0], np.full_like(ecg.values[0], 0.5)])


# ---- against the slow versions


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("net", ["conv", "smooth", "recurrent"])
def test_fixed_steps_equal_the_loop(net, rule, ecg, request):
    net = request.getfixturevalue(net)
    ds = ta.explain(net, ecg, IG(b.Blur(time=1.5), steps=11, rule=rule), target=1)
    for at, x in enumerate(ecg.values):
        start = reference.blur(x, 1.5)
        assert_close(ds.attribution[at], reference.integrated_gradients(of(net), x, start, 11, rule))
        assert_close(ds.reference[at], reference.value(of(net), start))


@pytest.mark.filterwarnings("ignore:not converged:tsattr.ExplanationWarning")  # where it misses half of the difference
def test_one_step_from_the_left_is_the_local_linear_form_at_the_baseline(smooth, ecg, train):
    ds = ta.explain(smooth, ecg, IG(b.Samples.fit(train), steps=1, rule="left"), target=1)
    for at, x in enumerate(ecg.values):  # each training sample once
        forms = [(x - start) * reference.gradient(of(smooth), start) for start in train.values]
        assert_close(ds.attribution[at], np.mean(forms, 0))
    product = explain(lambda x: x[:, 0] * x[:, 1], [2.0, 3.0], IG(b.Constant([1.0, 1.0]), steps=1, rule="left"))
    assert product.attribution.values.tolist() == [[1.0, 2.0]]
    assert product.completeness_gap.item() == 2.0  # (2 - 1)(3 - 1), which is of second order


def test_a_budget_leaves_the_local_linear_form_what_it_is(train):
    form = IG(steps=1, rule="left")
    assert form.within(50) == IG(steps=1, rule="left", draws=1)
    assert IG(b.Samples.fit(train), steps=1, rule="left", draws=5).within(7).draws == 3


def test_missing_cells_take_no_part(conv, ecg):
    x = ecg.values.copy()
    x[0, 1, 4:7] = x[2, :, 0] = np.nan
    model = lambda x: of(conv)(torch.nan_to_num(x))  # noqa: E731
    ds = ta.explain(model, ecg.copy(data=x), IG(b.Blur(time=1.5), steps=4))
    for at in range(len(x)):
        there = ~np.isnan(x[at])
        start = np.where(there, reference.blur(x[at], 1.5), 0)
        expected = reference.integrated_gradients(model, np.where(there, x[at], 0), start, 4)
        assert_close(ds.attribution[at].fillna(0), expected)
        assert_close(ds.completeness_gap[at], abs(expected.sum() - ds.prediction[at] + reference.value(model, start)))


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        (IG(), [1, 9]),
        (IG(b.Mean(), draws=2), [1 - 4, 9 - 4]),
        (ta.Saliency(), [2, 6]),
        (ta.InputXGradient(), [2, 18]),
        (ta.SmoothGrad(1e-13, draws=3), [2, 6]),
    ],
)
def test_a_gradient_that_is_nan_at_a_missing_cell_does_no_harm(method, expected):
    # in torch the branch of where that is not taken gives 0 * nan
    found = explain(lambda x: torch.where(torch.isnan(x), 0, x**2).sum(1), [1.0, np.nan, 3.0], method)
    assert found.status.item() == "ok"
    assert_close(found.attribution[0], [expected[0], np.nan, expected[1]])


def test_smoothgrad_of_known_functions():
    w = torch.tensor([2.0, -3.0], dtype=torch.float64)
    ds = explain(lambda x: x @ w, [1.0, 4.0], ta.SmoothGrad(draws=5))
    assert_close(ds.attribution[0], w)
    assert_close(ds.standard_error, 0)
    # f = sum x^2: the mean of 2 (x + e); e has a tenth of the range of x, and the error of the mean falls like 1 / sqrt(n)
    n, x = 400, np.array([1.0, 3.0, 6.0])
    ds = explain(lambda x: (x**2).sum(1), x, ta.SmoothGrad(0.1, draws=n))
    sigma = 2 * 0.1 * 5 / np.sqrt(n)
    np.testing.assert_allclose(ds.standard_error[0], sigma, rtol=0.15)
    assert (abs(ds.attribution[0] - 2 * x) < 4 * sigma).all()
    assert (ds.attribution[0] != 2 * x).all()


def test_smoothgrad_is_the_mean_gradient_at_the_rows_the_model_saw(conv, ecg):
    for noise in (0.2, b.Gaussian(0.3)):
        spy = Spy(of(conv))
        ds = ta.explain(spy, ecg[:1], ta.SmoothGrad(noise, draws=6))
        each = np.stack([reference.gradient(of(conv), row) for row in spy.graded.numpy()])
        assert len(each) == 6
        assert_close(ds.attribution[0], each.mean(0))
        assert_close(ds.standard_error[0], reference.standard_error(each))
        size = ta.explain(of(conv), ecg[:1], ta.SmoothGrad(noise, draws=6, absolute=True)).attribution
        assert_close(size[0], abs(each.mean(0)))


def test_smoothgrad_noise_is_in_proportion_to_each_variable():
    rng = np.random.default_rng(0)
    ecg, age = rng.normal(size=(2, 50)) / 1000, [[40.0, 90.0], [60.0, 61.0]]
    x = xr.Dataset({"ecg": (("sample", "time"), ecg), "age": (("sample", "feature"), age)})
    seen = []

    def model(ecg, age):
        seen.append((ecg.detach(), age.detach()))
        return ecg.sum(1) + age.sum(1)

    ta.explain(model, x, ta.SmoothGrad(0.1, draws=100), check=False)
    for name, rows in zip(("ecg", "age"), (torch.cat([s[k] for s in seen[1:]]) for k in (0, 1))):
        noise = rows.reshape(2, 100, -1) - torch.as_tensor(x[name].values)[:, None]
        span = torch.as_tensor((x[name].max(x[name].dims[1]) - x[name].min(x[name].dims[1])).values)
        torch.testing.assert_close(noise.std((1, 2)), 0.1 * span, rtol=0.2, atol=0)


# ---- refinement

LEVELS = {"midpoint": [9, 27, 81, 243, 729], "gauss-legendre": [4, 12, 36, 108, 324]}
LEVELS["left"] = LEVELS["midpoint"]


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("tolerance", [0.03, 0.004])
def test_refinement_stops_where_half_the_last_change_is_within_the_tolerance(rule, tolerance, conv, ecg):
    spy = Spy(of(conv))
    ds = ta.explain(spy, ecg, IG(b.Constant(0.1), rule=rule, tolerance=tolerance), check=False)
    for at, x in enumerate(ecg.values):
        expected, steps, converged = reference.refined(of(conv), x, 0 * x + 0.1, rule, LEVELS[rule], tolerance)
        assert converged
        assert int(ds.steps[at]) == steps
        assert_close(ds.attribution[at], expected)
        # midpoints and left ends are kept when they are tripled; Gauss-Legendre rules share none
        points = sum(n for n in LEVELS[rule] if n <= steps) if rule == "gauss-legendre" else steps
        assert int(ds.model_evaluations[at]) == 1 + 1 + points
    assert int(ds.model_evaluations.sum()) == spy.count
    assert (ds.status == "ok").all()


def test_the_default_tolerance_is_kept(conv, ecg):
    ds = ta.explain(of(conv), ecg[:2], IG(b.Constant(0.1)))
    for at, x in enumerate(ecg.values[:2]):
        truth = reference.integrated_gradients(of(conv), x, 0 * x + 0.1, 2001)
        assert np.linalg.norm(ds.attribution[at] - truth) <= 0.01 * np.linalg.norm(truth)


def kinked(x):
    return relu(x - 0.9).sum(1)


def test_what_does_not_converge_is_named_once_and_what_does_drops_out():
    spy, tolerance = Spy(kinked), 2e-3
    x = xr.DataArray(
        [[0.5, 0.5], [1.0, 3.0], [4.0, 5.0], [-1.0, 1.7]],
        dims=("sample", "time"),
        coords={"sample": ["a", "b", "c", "d"]},
    )
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        ds = ta.explain(spy, x, IG(tolerance=tolerance, max_steps=243), check=False)
    found = [reference.refined(kinked, row, np.zeros(2), "midpoint", [9, 27, 81, 243], tolerance) for row in x.values]
    assert ds.steps.values.tolist() == [steps for _, steps, _ in found] == [27, 243, 81, 243]
    assert ds.status.values.tolist() == ["ok", "not converged", "ok", "ok"]
    assert [converged for *_, converged in found] == [True, False, True, True]
    assert_close(ds.attribution, [expected for expected, *_ in found])
    assert ds.model_evaluations.values.tolist() == [2 + n for n in ds.steps.values]
    assert spy.count == 8 + ds.steps.sum()
    assert [str(w.message) for w in caught] == ["not converged: sample b (see the variable `status`)"]
    assert caught[0].category is ta.ExplanationWarning
    assert caught[0].filename == __file__


def test_two_rules_may_agree_by_missing_the_same_kink_and_the_sum_tells():
    # of 9 midpoints 1 lies beyond 0.9, of 27 there are 3: no change, and both are wrong by a ninth; of 81 and 243 8 and 24
    ds = explain(kinked, [1.0], IG())
    assert (int(ds.steps[0]), ds.status.item()) == (243, "ok")
    assert_close(ds.attribution, 8 / 81)
    assert_close(ds.completeness_gap, 0.1 - 8 / 81)
    assert_close(ds.completeness_error, 1 - 80 / 81)
    with pytest.warns(ta.ExplanationWarning, match="^not converged: sample 0 "):
        assert explain(kinked, [1.0], IG(max_steps=27)).status.item() == "not converged"


@pytest.mark.parametrize("most", [1, 8, 9, 26, 27, 100])
@pytest.mark.parametrize("rule", RULES)
def test_max_steps_is_never_passed(rule, most):
    spy, method = Spy(kinked), IG(rule=rule, max_steps=most, tolerance=1e-9)
    with pytest.warns(ta.ExplanationWarning, match="not converged: sample 0"):
        ds = explain(spy, [1.0, 3.1], method, check=False)
    assert 1 <= int(ds.steps[0]) <= most
    assert spy.count == ds.model_evaluations == explain(kinked, [1.0, 3.1], method, dry_run=True).model_evaluations


@pytest.mark.parametrize("net", ["smooth", "recurrent"])
def test_smooth_networks_get_gauss_legendre(net, ecg, request):
    net = request.getfixturevalue(net)
    ds = ta.explain(net, ecg, IG(tolerance=1e-6), target=0)
    assert int(ds.steps.max()) <= 36  # the third rule
    for at, x in enumerate(ecg.values):
        truth = reference.integrated_gradients(of(net, 0), x, np.zeros_like(x), 100, "gauss-legendre")
        assert np.linalg.norm(ds.attribution[at] - truth) < 1e-6 * np.linalg.norm(truth)
    assert (ds.completeness_error < 1e-6).all()


KINKS = [
    relu, nn.functional.leaky_relu, nn.functional.hardtanh, nn.functional.hardshrink, nn.functional.softshrink, torch.abs,
    nn.PReLU().double(), lambda x: x.clamp(0), lambda x: x.cummax(1)[0], lambda x: torch.fmax(x, -x), lambda x: x.sort(1)[0],
    lambda x: torch.where(x > 0, x, 2 * x), lambda x: nn.functional.max_pool1d(x, 2), lambda x: x.amax(1, keepdim=True),
]  # fmt: skip
SMOOTH = [torch.tanh, nn.functional.gelu, nn.functional.silu, nn.functional.softplus, torch.sigmoid, torch.sin]


@pytest.mark.parametrize(("f", "steps"), [(f, (9, 27)) for f in KINKS] + [(f, (4, 12)) for f in SMOOTH])
def test_the_rule_is_chosen_by_the_graph(f, steps):
    spy = Spy(lambda x: f(x).sum(1))
    explain(spy, [0.3, -0.4, 1.0, 0.2], IG(tolerance=10.0), check=False)
    assert spy.count == 2 + (27 if steps[0] == 9 else 4 + 12)


def test_a_sample_without_finite_gradients_is_not_refined_further():
    f = lambda x: (relu(x - 0.3) * torch.where(x > 1, torch.nan, 1.0)).sum(1)  # noqa: E731
    with pytest.warns(ta.ExplanationWarning, match="^non-finite output: sample 1 "):
        ds = explain(f, [[0.5, 0.2], [3.0, 0.1]], IG())
    assert ds.status.values.tolist() == ["ok", "non-finite output"]
    assert ds.attribution.isnull().values.tolist() == [[False] * 2, [True] * 2]
    assert int(ds.model_evaluations[1]) == 2 + 27 < int(ds.model_evaluations[0])


def quantised(x):
    return x[:, 0] + 3 * torch.round(x[:, 1])


def embedded(x):
    return x[:, 0] + torch.tensor([0.0, 1.0, -2.0, 4.0], dtype=x.dtype)[x[:, 1].long() % 4]


def straight_through(x):
    return x[:, 0] + x[:, 1] + (20 * torch.sign(x[:, 1]) - x[:, 1]).detach()


def half_detached(x):
    return x[:, 0] + 3 * x[:, 1].detach()


def steep(x):
    return 100 * relu(x.sum(1) - 0.4) - 100 * relu(x.sum(1) - 0.41)


BLOCKED = {"round": quantised, "long": embedded, "straight through": straight_through, "detach": half_detached}
PATHS = {
    "refined": IG(),
    "9 steps": IG(steps=9),
    "50 steps": IG(steps=50),
    "draws, refined": IG(b.Uniform(-0.4, 0.4), draws=4),
    "draws, 9 steps": IG(b.Uniform(-0.4, 0.4), draws=4, steps=9),
    "expected": IG(b.Uniform(-0.4, 0.4), draws=60, steps=1),
}


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("name", BLOCKED)
def test_a_sum_that_misses_is_not_converged(name, path):
    x, f = torch.tensor([[0.2, 3.0]], dtype=torch.float64), BLOCKED[name]
    with pytest.warns(
        ta.ExplanationWarning, match=r"^not converged: sample 0 .*The attributions of 0 sum to .*round, "
    ):
        ds = ta.explain(f, x, PATHS[path])
    assert ds.status.item() == "not converged"
    smooth = ta.explain(lambda x: x[:, 0] + torch.tanh(x[:, 1]), x, PATHS[path])
    assert smooth.status.item() == "ok"


def test_the_sentence_says_both_numbers():
    said = (
        "The attributions of 1 sum to 0.2 where the target differs by 9.2 from that at the baseline: no gradient passes"
    )
    with pytest.warns(ta.ExplanationWarning, match=said):
        explain(quantised, [[1.0, 0.1], [0.2, 3.0]], IG())


def test_a_steep_step_is_found_by_going_on_and_named_where_it_is_not():
    # 0 up to a sum of 0.4, 1 from 0.41 on: of 81 midpoints one lies between, of 9 and 27 none
    with pytest.warns(ta.ExplanationWarning, match="sum to 0 where the target differs by 1 "):
        short = explain(steep, [0.7, 0.3], IG(max_steps=27))
    assert (short.status.item(), short.completeness_error.item()) == ("not converged", 1.0)
    ds = explain(steep, [0.7, 0.3], IG(tolerance=0.05, max_steps=2187))
    assert (ds.status.item(), int(ds.steps[0])) == ("ok", 2187)
    assert_close(ds.attribution.sum(), 100 * 22 / 2187)


def test_expected_gradients_are_not_blamed_for_chance(conv, ecg, train):
    for draws in (2, 5, 30):
        ds = ta.explain(of(conv), ecg, IG(b.Samples.fit(train), steps=1, draws=draws))
        assert (ds.status == "ok").all()


def test_rounding_of_the_outputs_is_no_miss():
    f = lambda x: x.sum(1) + 1e6  # noqa: E731 - a difference of 0.01 in float32 is one of 0 or 0.0625
    ds = ta.explain(f, torch.full((1, 2), 0.005), IG())
    assert ds.completeness_error.item() > 0.5
    assert ds.status.item() == "ok"


def test_a_gradient_that_is_not_finite_is_a_status_of_its_own():
    f = lambda x: torch.where(x > 0.3, torch.sqrt(x - 0.3), 0.0).sum(1)  # noqa: E731 - 0 with a slope of 0 * NaN below 0.3
    with pytest.warns(
        ta.ExplanationWarning, match="^non-finite gradient: sample 0 .*outputs are finite and their gradients"
    ):
        ds = explain(f, [[0.1, 2.0], [3.0, 0.4]], ta.Saliency())
    assert ds.status.values.tolist() == ["non-finite gradient", "ok"]
    assert ds.attribution.isnull().values.tolist() == [[True] * 2, [False] * 2]


# ---- draws


def test_expected_gradients_of_known_draws(conv, ecg, train):
    """What the model saw gives the draws; the paper's formula at them gives the answer."""
    for at in range(2):
        x = ecg.values[at]
        spy = Spy(of(conv))
        ds = ta.explain(spy, ecg[[at]], IG(b.Samples.fit(train), steps=1, draws=10, per_draw=True), check=False)
        starts, path = spy.plain.numpy(), spy.graded.numpy()[1:]
        alphas = [((p - s) / (x - s)).mean() for p, s in zip(path, starts)]
        each = reference.expected_gradients(of(conv), x, starts, alphas)
        assert_close(ds.attribution_draw[0].transpose("draw", ...), each)
        assert_close(ds.attribution[0], each.mean(0))
        assert_close(ds.standard_error[0], reference.standard_error(each))
        assert_close(ds.reference[0], np.mean([reference.value(of(conv), s) for s in starts]))
        assert sorted(int(10 * a) for a in alphas) == list(range(10))  # one in each stratum
        assert len({round(10 * a % 1, 6) for a in alphas}) == 10  # and not at the same place of it
        used = [int(abs(train.values - s).sum((1, 2)).argmin()) for s in starts]
        np.testing.assert_array_equal(starts, train.values[used])
        assert sorted(used) == sorted(list(range(5)) * 2)  # each reference once before any comes again
        assert sorted(used[:5]) == list(range(5))


def test_each_sample_draws_for_itself(ecg, train):
    spy = Spy(lambda x: x.sum((1, 2)))
    x = xr.concat([ecg] * 3, "sample").assign_coords(sample=np.arange(12))
    ta.explain(spy, x, IG(b.Samples.fit(train), steps=1, draws=5), check=False)
    orders = {tuple(rows[:, 0, 0].tolist()) for rows in spy.plain.reshape(12, 5, LEADS, TIMES)}
    assert len(orders) > 6


def test_path_points_are_independent_of_every_variables_fill():
    x = xr.Dataset({name: (("sample", "cell"), np.ones((1, 1))) for name in "abc"})
    starts, path = [], []

    def model(**variables):
        row = torch.cat([variables[name] for name in "abc"], 1)
        (path if row.requires_grad else starts).append(row.detach())
        return row.sum(1)

    ta.explain(model, x, IG(b.Uniform(0.0, 1.0), steps=1, draws=20), check=False)
    start, point = torch.cat(starts).numpy(), torch.cat(path).numpy()[1:]
    place = 20 * ((point - start) / (1 - start)).mean(1) % 1  # in its stratum
    numbers = np.concatenate([place, start.reshape(-1)])
    assert len(np.unique(numbers.round(9))) == 20 * 4


def test_several_baselines_give_the_mean_of_their_maps(conv, ecg, train):
    method = IG(b.Samples.fit(train), steps=7, rule="midpoint", draws=5, per_draw=True)
    ds = ta.explain(conv, ecg, method, target=1)
    assert ds.attribution_draw.dims == ("sample", "lead", "time", "draw")
    each = np.stack([[reference.integrated_gradients(of(conv), x, s, 7) for s in train.values] for x in ecg.values])
    assert_close(ds.attribution, each.mean(1))
    assert_close(ds.standard_error, [reference.standard_error(e) for e in each])
    assert_close(np.sort(ds.attribution_draw, axis=3), np.sort(np.moveaxis(each, 1, 3), axis=3))
    mean_reference = np.mean([reference.value(of(conv), s) for s in train.values])
    assert_close(ds.reference, mean_reference)
    total = ds.attribution.sum(("lead", "time"))
    assert_close(ds.completeness_gap, abs(total - ds.prediction + mean_reference))


def gaussian_quadratic(seed=0, features=4, references=60):
    """1/2 x'Ax and draws of a correlated normal: the quadratic, A, a sample, the references."""
    rng = np.random.default_rng(seed)
    a = rng.normal(size=(features, features))
    a = a + a.T
    drawn = rng.normal(size=(references, features)) @ rng.normal(size=(features, features)) + rng.normal(size=features)
    return (lambda x: 0.5 * ((x @ torch.as_tensor(a)) * x).sum(1)), a, rng.normal(size=features), drawn


def test_expected_gradients_of_a_quadratic_over_a_whole_reference():
    f, a, x, drawn = gaussian_quadratic()
    mu, s = drawn.mean(0), np.cov(drawn.T, bias=True)
    closed = 0.5 * (x * (a @ x) + x * (a @ mu) - mu * (a @ x) - np.diag(a @ s) - mu * (a @ mu))
    # the gradient is linear along a path, so two points for each of all the references are exact
    fixed = IG(b.Samples.fit(drawn), steps=2, draws=len(drawn))
    assert_close(attribution(f, x, fixed), closed)
    ds = explain(f, x, IG(b.Samples.fit(drawn), steps=1, draws=20 * len(drawn)))
    apart = abs(ds.attribution[0] - closed) / ds.standard_error[0]
    assert (apart < 3).all()
    assert (apart > 0).all()


def test_the_mean_of_many_runs_is_unbiased():
    f, a, x, drawn = gaussian_quadratic(seed=1, references=7)
    exact = np.mean([(x - s) * (a @ (x + s)) / 2 for s in drawn], axis=0)
    runs = 3000
    method = IG(b.Samples.fit(drawn), steps=1, draws=4)
    found = explain(f, np.tile(x, (runs, 1)), method)
    spread = found.attribution.std("sample", ddof=1) / np.sqrt(runs)
    assert (abs(found.attribution.mean("sample") - exact) < 4 * spread).all()
    # without replacement and stratified, the spread is less than the plain formula says, never much more
    claimed = np.sqrt((found.standard_error**2).mean("sample"))
    assert (found.attribution.std("sample", ddof=1) < 1.1 * claimed).all()


def test_standard_errors_of_independent_draws_are_true():
    x = np.tile([0.3, -0.2, 1.0], (2000, 1))
    f = lambda x: torch.tanh(x.sum(1))  # noqa: E731
    ds = explain(f, x, IG(b.Uniform(-1.0, 1.5), steps=3, draws=8))
    claimed = np.sqrt((ds.standard_error**2).mean("sample"))
    np.testing.assert_allclose(ds.attribution.std("sample", ddof=1), claimed, rtol=0.06)


def test_equal_draws_have_no_standard_error(conv, ecg):
    ds = ta.explain(conv, ecg, IG(b.Mean(), steps=4, draws=3), target=0)
    one = ta.explain(conv, ecg, IG(b.Mean(), steps=4), target=0)
    assert (ds.standard_error < 1e-12).all()
    assert "standard_error" not in one
    xr.testing.assert_allclose(ds.attribution, one.attribution, atol=1e-12)


# ---- modules


def test_recurrent_modules_are_explained_in_eval_mode(recurrent, ecg):
    expected = ta.explain(recurrent, ecg, IG(steps=4), target=0)  # its dropout is idle
    recurrent.train()
    modes = []
    recurrent.register_forward_pre_hook(lambda module, _: modes.append(module.training))
    again = ta.explain(recurrent, ecg, IG(steps=4), target=0)
    xr.testing.assert_identical(again, expected)
    assert modes
    assert not any(modes)
    assert recurrent.training
    assert recurrent.gru.training


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_recurrent_modules_on_cuda(recurrent, ecg):
    expected = ta.explain(recurrent, ecg, IG(steps=4), target=0)
    enabled = torch.backends.cudnn.enabled
    found = ta.explain(recurrent, ecg, IG(steps=4), target=0, device="cuda")
    xr.testing.assert_allclose(found.attribution, expected.attribution, atol=1e-12)
    assert torch.backends.cudnn.enabled == enabled
    assert {p.device.type for p in recurrent.parameters()} == {"cpu"}


def test_a_model_without_gradients_says_what_to_use():
    model = ta.models.on_arrays(lambda x: x.sum(1))
    for method in (ta.Saliency(), ta.InputXGradient(), ta.SmoothGrad(), IG()):
        with pytest.raises(TypeError, match=rf"{type(method).__name__} needs gradients, and .* use Occlusion"):
            explain(model, [1.0, 2.0], method)
    with pytest.raises(TypeError, match=r"no gradient with respect to its input .* use Occlusion"):
        explain(lambda x: x.detach().sum(1), [1.0, 2.0], IG())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: IG(steps=0), "steps is a whole number of at least 1, got 0"),
        (lambda: IG(steps=2.5), "steps is a whole number of at least 1, got 2.5"),
        (lambda: IG(draws=True), "draws is a whole number of at least 1, got True"),
        (lambda: IG(max_steps=-1), "max_steps is a whole number of at least 1, got -1"),
        (lambda: IG(rule="trapezoid"), "rule is 'auto', 'midpoint', 'gauss-legendre' or 'left', got 'trapezoid'"),
        (lambda: IG(tolerance=0), "tolerance must be > 0, got 0"),
        (lambda: ta.SmoothGrad(0.0), "noise > 0, got 0.0"),
        (lambda: ta.SmoothGrad(draws=0), "draws is a whole number of at least 1, got 0"),
    ],
)
def test_wrong_settings(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_gradients_of_large_fields_are_added_row_by_row_to_the_same(monkeypatch):
    x = np.random.default_rng(0).normal(size=(2, 3, 5))
    method = ta.IntegratedGradients(ta.baselines.Gaussian(1.0), draws=3, steps=5)
    batch = ta.explain(lambda x: (x**3).sum((1, 2)), x, method, batch_size=4)
    monkeypatch.setattr("tsattr.core.evaluation.paths._LONG", 1)
    rows = ta.explain(lambda x: (x**3).sum((1, 2)), x, method, batch_size=4)
    np.testing.assert_allclose(rows.attribution, batch.attribution, rtol=1e-12)
