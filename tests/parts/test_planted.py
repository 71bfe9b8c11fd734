"""What was planted in one part is found there: by integrated gradients, occlusion and Shapley values, in most draws of the noise."""

import numpy as np
import pytest
import scipy.stats
import torch
import xarray as xr

import tsattr as ta

g, p = ta.groups, ta.parts
DRAWS = 40
METHODS = {
    "integrated gradients": ta.IntegratedGradients(steps=32),
    "occlusion": ta.Occlusion(g.Along("part")),
    "shapley": ta.KernelShap(g.Along("part")),  # exact with so few players
}


def tone():
    """A detector of one frequency, whatever its phase, in a random walk with another tone."""
    rng, t = np.random.default_rng(0), np.arange(300) / 100
    turn = rng.uniform(0, 2 * np.pi, (DRAWS, 2, 1))
    values = np.cos(2 * np.pi * 7 * t + turn[:, 0]) + np.cos(2 * np.pi * 22 * t + turn[:, 1])
    values += 0.1 * rng.normal(size=(DRAWS, 300)).cumsum(1)
    x = xr.DataArray(values, dims=("sample", "time"), coords={"time": t})
    wave = torch.exp(2j * torch.pi * 7 * torch.as_tensor(t))
    detector = lambda x: (x.to(wave.dtype) @ wave).abs().square() / 150**2  # noqa: E731
    return detector, p.bands(x, [(0.5, 5), (5, 10), (10, 20), (20, 40)]), "5-10 Hz"


def trend():
    """The sign of a slope, smoothly, under a season that is larger."""
    rng, t = np.random.default_rng(1), np.arange(120)
    slope = rng.choice([-1, 1], (DRAWS, 1)) * rng.uniform(0.5, 1.5, (DRAWS, 1))
    values = slope * (t / 120 - 0.5) + np.sin(2 * np.pi * t / 12) + 0.3 * rng.normal(size=(DRAWS, 120))
    x = xr.DataArray(values, dims=("sample", "time"))
    line = torch.as_tensor((t - t.mean()) / ((t - t.mean()) ** 2).sum() * 120)
    return lambda x: torch.tanh(x @ line), p.trend_season(x, 12), "trend"


def mode():
    """The strength of the second of four patterns of a field, weighted by area."""
    rng = np.random.default_rng(2)
    lat, lon = np.linspace(-60, 60, 6), np.arange(0, 360, 45.0)
    area = np.cos(np.deg2rad(lat))[:, None] * np.ones(8)
    patterns = np.linalg.qr(rng.normal(size=(48, 4)))[0].T.reshape(4, 6, 8) / area**0.5
    score = rng.normal(size=(200 + DRAWS, 4)) * [4, 3, 2, 1]
    score[200:, 1] = np.where(score[200:, 1] > 0, 3, -3)
    values = np.einsum("sk,kij->sij", score, patterns) + 0.02 * rng.normal(size=(200 + DRAWS, 6, 8))
    fields = xr.DataArray(values, dims=("sample", "lat", "lon"), coords={"lat": lat, "lon": lon})
    weight = torch.as_tensor(patterns[1] * area)
    parts = p.modes(fields[200:], fields[:200], 4)
    assert str(parts.part.values[2]).startswith("mode 2")
    return lambda x: torch.tanh((x * weight).sum((1, 2)) / 3), parts, str(parts.part.values[2])


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("planted", [tone, trend, mode])
def test_the_planted_part_is_first(planted, name):
    model, parts, truth = planted()
    ds = ta.explain(ta.models.summed(model), parts, METHODS[name])
    by_part = ds.attribution.sum([d for d in ds.attribution.dims if d not in ("sample", "part")])
    if "group_value" in ds:
        by_part = ds.group_value.rename(group="part")
    first = by_part.part.values[abs(by_part).argmax("part")]
    hits = int((first == truth).sum())
    interval = scipy.stats.binomtest(hits, DRAWS).proportion_ci(method="wilson")
    assert interval.low > 0.9, f"{hits} of {DRAWS}"
