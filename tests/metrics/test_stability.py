import numpy as np
import pytest
import torch
import xarray as xr

import tsattr as ta
from tsattr.metrics import max_sensitivity

from ..conftest import signals, smooth_net

CHANGES = {"noise": 0.1, "wander": 0.1, "amplitude": 0.1, "shift": 2}


class Kept:
    """An explanation that keeps what it was asked about."""

    def __init__(self, explain):
        self.explain, self.seen = explain, []

    def __call__(self, x):
        self.seen.append(x)
        return self.explain(x)


@pytest.mark.parametrize("change", ["noise", "wander", "amplitude"])
@pytest.mark.parametrize("norm", ["max", "l1", "l2"])
def test_a_constant_gradient_does_not_move(change, norm):
    x = signals()
    found = max_sensitivity(lambda x: 0 * x + 2, x, radius=0.1, change=change, norm=norm)
    assert found.values.tolist() == [0] * 4
    assert found.sample.values.tolist() == x.sample.values.tolist()


def test_the_gradient_of_a_quadratic_form():
    """Of x'Ax / 2 it is Ax: |A d| <= radius * (largest row sum of |A|), reached at a corner of the box."""
    rng = np.random.default_rng(0)
    a = rng.normal(size=(2, 2))
    a = a + a.T
    x = xr.DataArray(rng.normal(size=(3, 2)), dims=("sample", "time"))
    explain = lambda x: x.copy(data=x.values @ a)  # noqa: E731
    bound = 0.2 * np.abs(a).sum(0).max() / np.abs(x.values @ a).max(1)
    few, many = (max_sensitivity(explain, x, radius=0.2, scale=1.0, draws=n).values for n in (5, 1000))
    assert np.all(few <= many)
    assert np.all(many <= bound)
    # A draw comes so near to one of the two corners at least once in 100: all 1000 miss with a chance of 4e-5.
    assert np.all(many > 0.9 * bound)


@pytest.mark.parametrize(("norm", "order"), [("max", np.inf), ("l2", 2), ("l1", 1)])
@pytest.mark.parametrize("change", ["noise", "wander", "amplitude"])
def test_it_is_the_largest_relative_change(change, norm, order):
    x, explain = signals(), Kept(lambda x: x**3)
    found = max_sensitivity(explain, x, radius=0.3, draws=4, change=change, norm=norm)
    phi = [(s**3).values.reshape(4, -1) for s in explain.seen]
    apart = [np.linalg.norm(p - phi[0], order, axis=1) / np.linalg.norm(phi[0], order, axis=1) for p in phi[1:]]
    np.testing.assert_allclose(found, np.max(apart, axis=0), rtol=1e-12)
    assert len(explain.seen) == 5
    xr.testing.assert_identical(explain.seen[0], x)
    xr.testing.assert_identical(explain.seen[1] * 0, x * 0)


def changes(x, change, draws=50, **settings):
    explain = Kept(lambda x: x)
    max_sensitivity(explain, x, change=change, draws=draws, **settings)
    return xr.concat(explain.seen[1:], "draw") - x


def test_noise_fills_the_box():
    x = signals()
    size = 0.5 * x.std("time")
    d = changes(x, "noise", radius=0.5) / size
    assert float(abs(d).max()) <= 1 + 1e-12
    assert float(abs(d).max(("draw", "time")).min()) > 0.98
    assert abs(float(d.mean())) < 3 / np.sqrt(3 * d.size)
    by_lead = xr.DataArray([0.1, 0.2, 0.3], dims="lead", coords={"lead": x.lead})
    found = abs(changes(x, "noise", radius=by_lead, scale=1.0)).max(("draw", "time", "sample"))
    np.testing.assert_allclose(found, by_lead, rtol=0.01)


def test_wander_is_slow_and_of_each_lead():
    x = signals()
    d = changes(x, "wander", radius=0.5, scale=1.0)
    assert 0.45 < float(abs(d).max()) <= 0.5
    # At most two periods in 12 cells.
    assert float(abs(d.diff("time")).max()) <= 0.5 * 2 * np.pi * 2 / 12
    a, b = d.isel(lead=0), d.isel(lead=1)
    np.testing.assert_allclose(a * b.isel(time=0), b * a.isel(time=0), atol=1e-12)
    ratio = (a / b).isel(time=3)
    assert float(ratio.std()) > 0.5


def test_amplitude_is_one_factor():
    x = signals()
    factor = changes(x, "amplitude", radius=0.2) / x
    np.testing.assert_allclose(factor, factor.isel(time=0, lead=0).broadcast_like(factor), rtol=1e-9)
    assert 0.19 < float(abs(factor).max()) <= 0.2


def test_an_explanation_that_moves_along_is_not_sensitive_to_a_shift():
    x = signals()
    explain = Kept(lambda x: x**2)
    assert max_sensitivity(explain, x, radius=3, change="shift").values.tolist() == [0] * 4
    line = xr.DataArray(np.arange(12.0)[None], dims=("sample", "time"))
    moved = {tuple(v[0].values) for v in changes(line, "shift", radius=2) + line}
    assert moved == {tuple(np.clip(np.arange(12) - cells, 0, 11)) for cells in (-2, -1, 1, 2)}
    # A map that stays where it is changes by what x differs from its neighbours.
    still = xr.DataArray(np.eye(1, 12, 5), dims=("sample", "time"))
    assert max_sensitivity(lambda x: still, line, radius=2, change="shift").item() == 1


@pytest.mark.parametrize("change", CHANGES)
def test_company_order_and_dims_change_nothing(change):
    x = signals()
    explain = lambda x: x**2 + x.shift(time=1, fill_value=0)  # noqa: E731
    run = lambda x: max_sensitivity(explain, x, radius=CHANGES[change], change=change)  # noqa: E731
    found = run(x)
    xr.testing.assert_identical(run(x.isel(sample=[2, 0])), found.isel(sample=[2, 0]))
    xr.testing.assert_allclose(run(x.transpose("time", "sample", "lead")), found, rtol=1e-12)
    assert run(x.astype(np.float32)).values == pytest.approx(found.values, rel=1e-4)


@pytest.mark.parametrize("change", CHANGES)
def test_missing_cells_take_no_part(change):
    x = signals()
    padded = x.copy()
    padded[1, :, 8:] = np.nan
    found = max_sensitivity(lambda x: x**2, padded, radius=CHANGES[change], change=change)
    assert np.isfinite(found).all()
    others = max_sensitivity(lambda x: x**2, x, radius=CHANGES[change], change=change)
    np.testing.assert_array_equal(found[[0, 2, 3]], others[[0, 2, 3]])
    padded[1] = np.nan
    found = max_sensitivity(lambda x: x**2, padded, radius=CHANGES[change], change=change)
    assert np.isnan(found).values.tolist() == [False, True, False, False]


def test_a_map_of_zeros():
    x = xr.DataArray(np.zeros((1, 4)), dims=("sample", "time"))
    assert max_sensitivity(lambda x: 0 * x, x, radius=0.1, scale=1.0).values.tolist() == [0]
    assert max_sensitivity(lambda x: x, x, radius=0.1, scale=1.0).values.tolist() == [np.inf]


def test_against_captum():
    metrics = pytest.importorskip("captum.metrics")
    net, x, draws = smooth_net(), signals(), 7
    explain = Kept(lambda x: ta.explain(net, x, ta.Saliency(absolute=False), target=1).attribution)
    found = max_sensitivity(explain, x, radius=0.05, scale=1.0, norm="l2", draws=draws)

    def gradient(given):
        with torch.enable_grad():
            rows = (given[0] if isinstance(given, tuple) else given).clone().requires_grad_(True)
            return torch.autograd.grad(net(rows)[:, 1].sum(), rows)

    changed = np.stack([s.values for s in explain.seen[1:]], 1).reshape(4 * draws, *x.shape[1:])
    expected = metrics.sensitivity_max(
        gradient,
        torch.as_tensor(x.values),
        perturb_func=lambda rows: torch.as_tensor(changed),
        n_perturb_samples=draws,
    )
    np.testing.assert_allclose(found, expected, rtol=1e-10)


def test_what_makes_no_sense_is_refused():
    x = signals()
    same = lambda x: x  # noqa: E731
    with pytest.raises(ValueError, match="norm is one of"):
        max_sensitivity(same, x, radius=0.1, norm="l3")
    with pytest.raises(ValueError, match="got 'rotation'"):
        max_sensitivity(same, x, radius=0.1, change="rotation")
    with pytest.raises(ValueError, match="above 0, got -1"):
        max_sensitivity(same, x, radius=-1)
    with pytest.raises(ValueError, match="draws is 1 or more"):
        max_sensitivity(same, x, radius=0.1, draws=0)
    with pytest.raises(ValueError, match="whole number of cells, below 12"):
        max_sensitivity(same, x, radius=0.5, change="shift")
    with pytest.raises(KeyError, match="along dim 'hour'"):
        max_sensitivity(same, x, radius=1, change="shift", dim="hour")
    with pytest.raises(ValueError, match=r"train\.std"):
        max_sensitivity(same, x.isel(time=0).rename(lead="feature"), radius=0.1)
    with pytest.raises(TypeError, match="with a dim 'sample'"):
        max_sensitivity(same, x[0], radius=0.1)
    with pytest.raises(TypeError, match="int64"):
        max_sensitivity(same, x.astype(np.int64), radius=0.1)
    with pytest.raises(TypeError, match="with the dims"):
        max_sensitivity(lambda x: x.values, x, radius=0.1)
    with pytest.raises(ValueError, match="dims of x"):
        max_sensitivity(same, x, radius=xr.DataArray([0.1, 0.2], dims="draw"), scale=1.0)
