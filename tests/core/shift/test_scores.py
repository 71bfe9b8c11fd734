"""Clean windows, removals and what lies between: closed forms, slow references, and the chance of clean data."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.spatial import distance
from torch import nn

import tsattr as ta
from tsattr.core.axes import Axes
from tsattr.core.baselines.fills import JoinedBaselines, bind
from tsattr.core.bound import BoundBaseline, BoundTargets
from tsattr.core.engine import Engine
from tsattr.core.groups.binding import bind as bind_groups
from tsattr.core.groups.masks import JoinedGroups
from tsattr.core.samples import SampleChunk
from tsattr.core.shift.detector import Detector
from tsattr.core.shift.novelty import Jumps, Subspace, VariableReference, clean_limit
from tsattr.core.shift.scores import Shifts, detector_auc, feature_recorder, penultimate

LEADS, TIMES, R = 2, 20, 0.6
WAVE = Axes(("lead", "time"), (LEADS, TIMES))
TABLE = Axes(("feature",), (3,))
COVARIANCE = np.array([[4.0, 1.0, 0.5], [1.0, 2.0, -0.6], [0.5, -0.6, 1.5]])
CPU = torch.device("cpu")


def waves(n, seed=0, axes=WAVE):
    """AR(1) series of unit variance, one for each lead, on an offset."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, *axes.shape))
    for t in range(1, x.shape[-1]):
        x[..., t] = R * x[..., t - 1] + math.sqrt(1 - R**2) * x[..., t]
    return x + 3


def table(n, seed=0, units=(1.0, 1.0, 1.0)):
    return np.random.default_rng(seed).multivariate_normal([5, -2, 1], COVARIANCE, n) * np.array(units)


def net(inputs=LEADS * TIMES):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Flatten(), nn.Linear(inputs, 6), nn.Tanh(), nn.Linear(6, 2)).double()


def samples(x, valid=None, module=None, batch_size=64, ids=None):
    x = torch.as_tensor(x)
    f = module or (lambda rows: rows.flatten(1)[:, :1])
    engine = Engine(lambda rows, at: f(rows), lambda shape: BoundTargets((lambda y, y0: y[:, 0],)), CPU, module=module)
    engine.batch_size = batch_size
    ids = np.arange(len(x), dtype=np.uint64) if ids is None else ids
    valid = None if valid is None else torch.as_tensor(valid)
    return SampleChunk(engine, x, valid, ids, torch.arange(len(x)))


def windows(axes=WAVE, **sizes):
    return bind_groups(ta.groups.Windows(**(sizes or {"time": 6, "step": 5, "lead": 1})), axes)


def fill(baseline, axes=WAVE):
    return bind(baseline, axes)


class Unchanged(BoundBaseline):
    def fill(self, x, absent, key):
        return x


class Drawn(BoundBaseline):
    """A draw of one absent cell inside an AR(1) series given its two neighbours."""

    def fill(self, x, absent, key):
        c = x - 3
        mean = R / (1 + R**2) * (c.roll(1, -1) + c.roll(-1, -1))
        noise = math.sqrt((1 - R**2) / (1 + R**2)) * key.normal(x)
        return torch.where(absent, 3 + mean + noise, x)


CLEAN = Detector.fit(waves(400), WAVE)


def diagnostic(fields, name, detector=CLEAN):
    return fields["shift_diagnostic"].values[..., detector.names.index(name)].numpy()


# ---- what is measured


def test_the_limit_is_the_smallest_score_that_one_in_a_hundred_exceeds():
    scores = np.random.default_rng(0).permutation(np.arange(1.0, 1000.0))  # 999 of them
    assert clean_limit(scores) == 990
    assert clean_limit(scores[:50]) == scores[:50].max()


def test_mahalanobis_is_scipys_where_the_subspace_is_the_whole_space():
    train, rows = table(500), table(20, seed=1) + 1
    inverse = np.linalg.inv(np.cov(train.T))
    expected = [distance.mahalanobis(row, train.mean(0), inverse) for row in rows]
    view = VariableReference(train, TABLE, 0)
    found, told = view.distances(rows)
    assert len(view.subspace.components) == 3
    np.testing.assert_allclose(found["mahalanobis"], expected, rtol=1e-10)
    np.testing.assert_array_equal(found["residual"], 0)
    np.testing.assert_allclose(np.linalg.norm(told, axis=1), expected, rtol=1e-10)


def test_mahalanobis_of_many_samples_is_that_of_the_population():
    rows = table(20, seed=1)
    inverse = np.linalg.inv(COVARIANCE)
    expected = [distance.mahalanobis(row, [5, -2, 1], inverse) for row in rows]
    found, _ = VariableReference(table(20000), TABLE, 0).distances(rows)
    np.testing.assert_allclose(found["mahalanobis"], expected, rtol=0.05)


def test_units_of_a_channel_do_not_matter():
    units = (1.0, 1e6, 1e-6)
    rows = table(20, seed=1) * 1.5
    plain = Detector.fit(table(300), TABLE).diagnose(rows)
    scaled = Detector.fit(table(300, units=units), TABLE).diagnose(rows * np.array(units))
    np.testing.assert_allclose(plain.diagnostics, scaled.diagnostics, rtol=1e-8)


def test_the_distances_agree_with_a_slow_reference():
    rng = np.random.default_rng(0)
    train = rng.normal(size=(90, 3)) @ (rng.normal(size=(3, 8)) * 3) + 0.3 * rng.normal(size=(90, 8))
    rows = rng.normal(size=(5, 8))
    space = Subspace(train, 0)
    values, vectors = np.linalg.eigh(np.cov(train.T))
    order = np.argsort(values)[::-1]
    kept = next(k for k in range(1, 9) if values[order[:k]].sum() >= 0.95 * values.sum())
    assert len(space.components) == kept < 8
    for row in rows:
        away = row - train.mean(0)
        scores = [vectors[:, a] @ away for a in order[:kept]]
        inside = sum(s * vectors[:, a] for s, a in zip(scores, order))
        near = sorted(math.dist([vectors[:, a] @ (other - row) for a in order[:kept]], [0] * kept) for other in train)
        found = space.scores(row[None])
        mahalanobis = math.sqrt(sum(s**2 / values[a] for s, a in zip(scores, order)))
        np.testing.assert_allclose(space.mahalanobis(found), mahalanobis)
        np.testing.assert_allclose(space.residual(row[None], found), math.dist(away, inside))
        np.testing.assert_allclose(space.neighbour(found), sum(near[:5]) / 5)


def test_combined_takes_both_the_distance_in_the_subspace_and_the_one_from_it():
    (view,) = CLEAN.references.every
    d, _ = view.distances(waves(5, seed=1).reshape(5, -1))
    limits = CLEAN.limits[0]
    expected = np.sqrt((d["mahalanobis"] / limits["mahalanobis"]) ** 2 + (d["residual"] / limits["residual"]) ** 2)
    np.testing.assert_allclose(CLEAN.diagnose(waves(5, seed=1)).diagnostics[:, 0], expected / CLEAN.overall["combined"])


def test_the_spectral_distance_is_that_of_log_power():
    axes = Axes(("time",), (64,))
    noise = np.random.default_rng(0).normal(size=(400, 64))
    spectrum = VariableReference(noise, axes, 0).spectrum
    rows = noise[:3]
    # Five times the amplitude is ln 25 more of log power in each band, whatever the series.
    louder = np.log(spectrum._power(5 * rows)) - np.log(spectrum._power(rows))
    np.testing.assert_allclose(louder, math.log(25))
    power = spectrum._power(rows[:1] + 7)  # a level has no frequency
    np.testing.assert_allclose(power, spectrum._power(rows[:1]))
    z = (np.log(power + spectrum.floor) - spectrum.mean) / spectrum.deviation
    np.testing.assert_allclose(spectrum(rows[:1]), np.sqrt((z**2).mean()))
    # The bands together hold the sum of the squares of the tapered series (Parseval).
    taper = np.hanning(65)[:-1]
    tapered = taper * (rows[0] - rows[0].mean())
    sums = power[0] * np.diff(spectrum.edges)
    one_sided = (2 * np.abs(np.fft.rfft(tapered)) ** 2 / (taper**2).sum())[1:]
    one_sided[-1] /= 2
    np.testing.assert_allclose(sums.sum(), one_sided.sum())


def test_a_flat_series_is_beyond_in_spectrum_and_not_infinitely_so():
    found = CLEAN.diagnose(np.full((1, LEADS, TIMES), 3.0)).diagnostics[0]
    spectrum = found[CLEAN.names.index("spectrum")]
    assert 1 < spectrum < 100
    # It is the mean of clean data, up to the error of a mean of 200 samples.
    assert found[CLEAN.names.index("mahalanobis")] < 0.1


# ---- joins


def ramps(n):
    """Lead 0 rises by 1 a step, lead 1 falls by 10; samples differ in level."""
    level = np.arange(float(n))[:, None, None]
    return level + np.array([1.0, -10.0])[:, None] * np.arange(TIMES)


def test_the_jump_of_a_constant_in_a_ramp():
    steps = Jumps(ramps(30), 2, (1,))
    np.testing.assert_allclose(steps.rms.reshape(-1), [1, 10])
    assert steps.limit == pytest.approx(1)
    x = ramps(1)
    absent = np.zeros(x.shape, bool)
    absent[0, 0, 5:9] = True
    filled = np.where(absent, 4.0, x)  # meets x_4 = 4 and x_9 = 9
    np.testing.assert_allclose(steps(filled, absent), math.sqrt((0**2 + 5**2) / 2))
    absent[0, 1, 5:9] = True
    filled = np.where(absent, 4.0, x)  # and in lead 1 -40 and -90
    np.testing.assert_allclose(steps(filled, absent), math.sqrt((0 + 5**2 + 4.4**2 + 9.4**2) / 4))
    absent[0, :, 9:] = True  # one edge in each lead
    filled = np.where(absent, 4.0, x)
    np.testing.assert_allclose(steps(filled, absent), math.sqrt((0 + 4.4**2) / 2))


def test_a_bridge_across_a_ramp_jumps_by_one_step():
    detector = Detector.fit(ramps(40), WAVE)
    found = Shifts(detector, fill(ta.baselines.Bridge()), windows(time=4))(samples(ramps(3)))
    inner = diagnostic(found, "join", detector)[:, 1:-1]
    np.testing.assert_allclose(inner, 1)


def test_without_an_end_in_time_there_is_no_join():
    shifts = Shifts(CLEAN, fill(ta.baselines.Constant(0.0)), bind_groups(ta.groups.Along("lead"), WAVE))
    found = shifts(samples(waves(3, seed=1)))
    assert np.isnan(diagnostic(found, "join")).all()
    assert np.isnan(shifts.summary()["shift_beyond"][CLEAN.names.index("join")])
    assert "join" not in Detector.fit(table(50), TABLE).names


# ---- what clean data are


def test_a_clean_window_is_beyond_once_in_a_hundred_times():
    repeats, share = 40, []
    for seed in range(repeats):
        detector = Detector.fit(waves(200, seed=2 * seed), WAVE, seed=seed)
        rows = detector.diagnose(waves(400, seed=2 * seed + 1)).diagnostics
        share.append((rows > 1).mean(0))
    found = dict(zip(detector.names, np.mean(share, 0)))
    # Of 100 calibrating windows the largest is the limit; a further one exceeds it once in 101 times. Over repeats the
    # share has a standard deviation of about 1/101 a repeat, and 400 windows each add little.
    for name in ("combined", "mahalanobis", "residual", "neighbour", "spectrum"):
        assert found[name] == pytest.approx(1 / 101, abs=4 / 101 / math.sqrt(repeats)), name


def test_few_samples_take_turns_and_are_cautious():
    repeats, share = 40, []
    for seed in range(repeats):
        detector = Detector.fit(waves(60, seed=2 * seed), WAVE, seed=seed)
        share.append((detector.diagnose(waves(200, seed=2 * seed + 1)).diagnostics > 1).mean(0))
    found = dict(zip(detector.names, np.mean(share, 0)))
    for name in ("combined", "mahalanobis", "residual", "neighbour", "spectrum"):
        assert 0.2 / 61 < found[name] < (1 + 4 / math.sqrt(repeats)) / 61, name


def test_a_clean_step_is_beyond_once_in_a_hundred_times():
    steps = np.diff(waves(4000, seed=9), axis=2)
    (view,) = CLEAN.references.every
    share = (abs(steps / view.jumps.rms) > view.jumps.limit).mean()
    assert share == pytest.approx(0.01, abs=0.003)  # 7600 steps of 200 windows: about 100 beyond, give or take 10 %


def test_nothing_changed_is_as_far_as_the_sample_itself():
    shifts = Shifts(CLEAN, Unchanged(), windows())
    found = shifts(samples(waves(40, seed=1)))
    intact = found["shift_intact"].values
    np.testing.assert_allclose(found["shift"].values, intact[:, None].expand_as(found["shift"].values), rtol=1e-12)
    assert shifts.summary()["detector_auc"] == 0.5


def test_a_constant_far_away_is_beyond_in_every_sample():
    shifts = Shifts(CLEAN, fill(ta.baselines.Constant(1000.0)), windows())
    found = shifts(samples(waves(25, seed=1)))
    assert (found["shift"].values > 10).all()
    for name in ("residual", "spectrum", "join"):
        assert (diagnostic(found, name) > 1).all(), name
    np.testing.assert_array_equal(found["shift"].values, found["shift_diagnostic"].values[..., 0])
    assert shifts.summary()["shift_beyond"][0] == 1


@pytest.fixture(scope="module")
def by_fill():
    # One cell inside the series is removed, of which the exact conditional is known.
    cells = windows(time=1, lead=1)
    some = SimpleNamespace(
        names=["all"],
        order=np.zeros(1, int),
        count=lambda c, position: cells.count(c, position)[:, 10:11],
        mask=lambda position, k: cells.mask(position, k + 10),
    )
    out = {}
    for name, baseline in {"drawn": Drawn(), "constant": fill(ta.baselines.Constant(-2.0))}.items():
        shifts = Shifts(CLEAN, baseline, some, draws=3)
        shifts(samples(waves(300, seed=1)))
        out[name] = shifts.summary()
    return out


def test_an_exact_conditional_draw_cannot_be_told_from_data(by_fill):
    # 300 samples: the area has a standard error of about 1 / sqrt(12 * 300 / 2) = 0.024.
    assert by_fill["drawn"]["detector_auc"] == pytest.approx(0.5, abs=0.06)
    share = by_fill["drawn"]["shift_beyond"][: CLEAN.names.index("join")]
    assert (share < 0.03).all()


def test_a_value_where_data_never_are_can_always_be_told(by_fill):
    assert by_fill["constant"]["detector_auc"] > 0.999
    assert by_fill["constant"]["shift_beyond"][CLEAN.names.index("join")] > 0.99
    shifts = Shifts(CLEAN, fill(ta.baselines.Constant(-7.0)), windows())  # ten standard deviations off
    shifts(samples(waves(60, seed=1)))
    assert shifts.summary()["detector_auc"] == 1


def test_the_area_for_rows_with_known_overlap():
    rng = np.random.default_rng(0)
    clean, other = rng.normal(size=(400, 1)), rng.normal(size=(400, 1)) + 1
    # Of N(0, 1) and N(1, 1) the best possible area is Phi(1 / sqrt 2) = 0.760.
    assert detector_auc(clean, other) == pytest.approx(0.760, abs=0.04)
    assert detector_auc(clean, rng.normal(size=(400, 1))) == pytest.approx(0.5, abs=0.06)
    assert math.isnan(detector_auc(clean[:19], other[:19]))


def test_the_end_of_a_path_is_one_removal_of_everything():
    shifts = Shifts(CLEAN, fill(ta.baselines.Constant(3.0)))
    found = shifts(samples(waves(4, seed=1)))
    assert shifts.names == ["all"]
    assert found["shift"].values.shape == (4, 1)
    expected = CLEAN.diagnose(np.full((1, LEADS, TIMES), 3.0)).diagnostics[0]
    np.testing.assert_allclose(found["shift_diagnostic"].values[:, 0], np.tile(expected, (4, 1)), rtol=1e-12)


# ---- what changes nothing


def full(x, valid=None, batch_size=64, ids=None):
    shifts = Shifts(CLEAN, fill(ta.baselines.Gaussian(0.7)), windows(), draws=3)
    return shifts, shifts(samples(x, valid, None, batch_size, ids))


def same(a, b, order=slice(None)):
    for name in a:
        np.testing.assert_allclose(np.asarray(a[name].values)[order], b[name].values, rtol=1e-12, err_msg=name)


@pytest.mark.parametrize("size", [1, 3, 1000])
def test_batch_size_changes_nothing(size):
    x = waves(30, seed=1)
    first, other = full(x), full(x, batch_size=size)
    same(first[1], other[1])
    for name, value in first[0].summary().items():
        np.testing.assert_array_equal(value, other[0].summary()[name])


def test_chunks_and_order_change_nothing():
    x, ids = waves(30, seed=1), np.arange(100, 130, dtype=np.uint64)
    whole, found = full(x, ids=ids)
    same(found, full(x[::-1].copy(), ids=ids[::-1].copy())[1], slice(None, None, -1))
    parts = Shifts(CLEAN, fill(ta.baselines.Gaussian(0.7)), windows(), draws=3)
    for at in (slice(20, 30), slice(7, 20), slice(0, 7)):
        s = samples(x[at], ids=ids[at])
        same(parts(s), {k: SimpleNamespace(values=f.values[at]) for k, f in found.items()})
    assert 0.3 < whole.summary()["detector_auc"] < 0.97  # it could differ
    for name, value in whole.summary().items():
        np.testing.assert_array_equal(value, parts.summary()[name])


def test_the_order_of_dims_changes_nothing():
    turned = Axes(("time", "lead"), (TIMES, LEADS))
    x, constant = waves(25, seed=1), ta.baselines.Constant(0.0)
    there = Shifts(CLEAN, fill(constant), windows())
    back = Shifts(
        Detector.fit(waves(400).transpose(0, 2, 1), turned),
        fill(constant, turned),
        windows(turned, time=6, step=5, lead=1),
    )
    a, b = there(samples(x)), back(samples(x.transpose(0, 2, 1).copy()))
    size = len(there.names) // LEADS
    order = [lead * size + window for window in range(size) for lead in range(LEADS)]
    np.testing.assert_allclose(a["shift_diagnostic"].values[:, order], b["shift_diagnostic"].values, rtol=1e-9)
    np.testing.assert_allclose(there.summary()["detector_auc"], back.summary()["detector_auc"])


@pytest.mark.parametrize("n", [50, 300])
def test_a_seed_gives_the_same_detector(n):
    x = waves(5, seed=1)
    first, again, other = (Detector.fit(waves(n), WAVE, seed=s).diagnose(x).diagnostics for s in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.allclose(first, other, equal_nan=True)


def test_the_global_random_state_is_left_alone():
    before = np.random.get_state()[1].copy(), torch.get_rng_state()  # noqa: NPY002
    full(waves(25, seed=1))[0].summary()
    assert np.array_equal(before[0], np.random.get_state()[1])  # noqa: NPY002
    assert torch.equal(before[1], torch.get_rng_state())


def test_a_long_signal_is_scored_alike_in_any_order_of_dims():
    axes, turned = Axes(("lead", "time"), (12, 400)), Axes(("time", "lead"), (400, 12))
    clean = np.cumsum(np.random.default_rng(0).normal(size=(700, 12, 400)), 2)  # 350 to fit to: randomised
    rows = clean[:4] + 5
    found = Detector.fit(clean, axes).diagnose(rows)
    other = Detector.fit(clean.transpose(0, 2, 1), turned).diagnose(rows.transpose(0, 2, 1))
    np.testing.assert_allclose(found.diagnostics, other.diagnostics, rtol=1e-6)


# ---- missing and invalid cells


def test_what_invalid_cells_hold_does_not_matter():
    x = waves(30, seed=1)
    valid = np.ones(x.shape, bool)
    valid[:, 1, 15:] = valid[3, 0, :6] = valid[4] = False
    results = [full(np.where(valid, x, junk), valid) for junk in (0.0, 1e5, np.nan)]
    for other in results[1:]:
        same(results[0][1], other[1])
        assert results[0][0].summary()["detector_auc"] == other[0].summary()["detector_auc"]
    found = results[0][1]
    gone = windows().count(torch.as_tensor(valid), torch.arange(len(x))) == 0
    assert gone.any()
    np.testing.assert_array_equal(torch.isnan(found["shift"].values), gone)
    assert torch.isnan(found["shift_intact"].values).nonzero().tolist() == [[4]]


def test_there_is_no_join_with_a_missing_cell():
    x = waves(2, seed=1)
    x[:, :, [4, 9]] = np.nan  # at the ends of the first two windows
    shifts = Shifts(CLEAN, fill(ta.baselines.Constant(0.0)), windows(time=5))
    join = diagnostic(shifts(samples(x, ~np.isnan(x))), "join")
    assert np.isnan(join).tolist() == [[True, True, False, False]] * 2  # the third has another end


def test_missing_cells_of_the_reference_inform_nothing():
    clean = waves(300)
    holes = np.random.default_rng(5).random(clean.shape) < 0.05
    a = Detector.fit(np.where(holes, np.nan, clean), WAVE)
    found = a.diagnose(waves(300, seed=1)).diagnostics
    assert (found[:, 0] > 1).mean() < 0.05
    (view,) = a.references.every
    np.testing.assert_allclose(view.jumps.rms.reshape(-1), math.sqrt(2 * (1 - R)), rtol=0.05)
    (complete,) = Detector.fit(clean, WAVE).references.every
    np.testing.assert_allclose(view.spectrum.mean, complete.spectrum.mean, atol=0.2)


# ---- features


def test_penultimate_features_are_the_input_of_the_last_linear_layer():
    module = net().train()
    x = torch.as_tensor(waves(30, seed=1))
    s = samples(x, module=module, batch_size=7)
    np.testing.assert_allclose(penultimate(s.engine, x), module[:3](x).detach().numpy())
    assert module.training
    assert not any(m._forward_pre_hooks for m in module.modules())


def test_a_model_without_a_linear_layer_has_no_features():
    x = torch.as_tensor(waves(3))
    conv = nn.Sequential(nn.Conv1d(LEADS, 1, TIMES), nn.Flatten()).double()
    assert penultimate(samples(x, module=conv).engine, x) is None
    assert penultimate(samples(x).engine, x) is None


def test_features_that_are_not_one_row_each_are_none():
    class Pooled(nn.Module):
        def __init__(self):
            super().__init__()
            self.head = nn.Linear(TIMES, 1).double()

        def forward(self, x):
            return self.head(x.reshape(-1, TIMES)).reshape(len(x), -1)

    x = torch.as_tensor(waves(3))
    assert penultimate(samples(x, module=Pooled()).engine, x) is None


def test_a_layer_that_is_changed_in_place_afterwards():
    class Residual(nn.Module):
        def __init__(self):
            super().__init__()
            self.head = nn.Linear(4, 4).double()

        def forward(self, x):
            h = 2 * x
            h += self.head(h)
            return h

    module, x = Residual(), torch.ones(3, 4, dtype=torch.float64)
    np.testing.assert_array_equal(penultimate(samples(x, module=module).engine, x), 2)


def test_the_hooks_are_gone_after_an_error():
    module = net()
    with pytest.raises(RuntimeError, match="shapes"), feature_recorder(module):
        module(torch.zeros(2, 3, dtype=torch.float64))
    assert not any(m._forward_pre_hooks for m in module.modules())


def test_features_are_looked_at_and_each_row_is_counted():
    module, clean, x = net(), waves(300), waves(25, seed=1)
    s = samples(x, module=module)
    method = ta.Occlusion(windows(), fill(ta.baselines.Constant(-50.0)), draws=2)
    shifts = Shifts.fit(method, clean, WAVE, s.engine, torch.float64)
    found = shifts(s)
    assert shifts.rows() == 2 * len(shifts.names)
    assert s.evaluations.tolist() == [1 + shifts.rows()] * len(x)
    features = diagnostic(found, "features", shifts.detector)
    assert np.median(features) > 1
    # The slow way, for one removal.
    mask = windows().mask(torch.zeros(1, dtype=torch.int64), torch.tensor([2]))
    row = torch.where(mask, -50.0, torch.as_tensor(x[:1]))
    told = module[:3](row).detach().numpy()
    slow = shifts.detector.diagnose(row.numpy(), features=told).diagnostics[0, -1]
    assert slow == pytest.approx(features[0, 2], rel=1e-9)
    other = Shifts.fit(method, clean, WAVE, s.engine, torch.float64, features=False)
    assert "features" not in other.detector.names
    assert other.rows() == 0


def test_a_shift_in_the_features_only():
    # The model looks at the sum of two cells whose sum is always the same in clean data.
    rng = np.random.default_rng(0)
    clean = rng.normal(size=(300, 3))
    features = np.stack([clean[:, 0], np.zeros(300)], 1)  # a unit that is never active
    detector = Detector.fit(clean, TABLE, features=features)
    found = dict(zip(detector.names, detector.diagnose(clean[:1], features=np.array([[0.0, 5.0]])).diagnostics[0]))
    assert found["features"] > 1 > found["combined"]


# ---- several variables, categories, degenerate data


def several():
    parts = [(slice(0, LEADS * TIMES), WAVE), (slice(LEADS * TIMES, LEADS * TIMES + 3), TABLE)]
    both = lambda n, seed=0: np.concatenate([waves(n, seed).reshape(n, -1), table(n, seed + 50)], 1)  # noqa: E731
    return parts, both


def test_of_several_variables_the_farthest_off_counts():
    parts, both = several()
    detector = Detector.fit(both(400), parts)
    assert detector.names == CLEAN.names
    rows = both(3, seed=1)
    rows[1, -1] += 100
    rows[2, :20] += 100
    found = detector.diagnose(rows).diagnostics[:, 0]
    assert found[0] < 1 < found[1:].min()
    alone = [Detector.fit(both(400)[:, at], axes) for at, axes in parts]  # the same halves
    own = [d.diagnose(rows[:, at]).diagnostics[:, 0] * d.overall["combined"] for d, (at, _) in zip(alone, parts)]
    np.testing.assert_allclose(found, np.maximum(*own) / detector.overall["combined"])
    share = (detector.diagnose(both(2000, seed=2)).diagnostics[:, 0] > 1).mean()
    assert share < 0.03


def test_groups_of_several_variables():
    parts, both = several()
    first, second = windows(), bind_groups(ta.groups.Cells(), TABLE)
    joined = JoinedGroups(
        ((parts[0][0], WAVE.shape, first), (parts[1][0], TABLE.shape, second)), [*first.names, *second.names]
    )
    zero = ta.baselines.Constant(-40.0)
    filled = JoinedBaselines(((parts[0][0], WAVE.shape, fill(zero)), (parts[1][0], TABLE.shape, fill(zero, TABLE))))
    detector = Detector.fit(both(400), parts)
    found = Shifts(detector, filled, joined)(samples(both(25, seed=1)))
    assert (found["shift"].values > 1).all()
    join = diagnostic(found, "join", detector)
    assert not np.isnan(join[:, : len(first.names)]).any()
    assert np.isnan(join[:, len(first.names) :]).all()


def test_categories_are_told_by_level():
    rng = np.random.default_rng(0)
    kind = rng.integers(0, 3, 600).astype(float)
    clean = np.stack([kind, np.where(kind == 1, 10.0, 0.0) + rng.normal(size=600)], 1)
    axes = Axes(("feature",), (2,), nominal=np.array([True, False]))
    detector = Detector.fit(clean, axes)
    rows = np.array([[1.0, 10.0], [1.0, 0.0], [2.0, 10.0], [7.0, 0.0], [np.nan, 5.0]])
    assert (detector.diagnose(rows).diagnostics[:, 0] > 1).tolist() == [False, True, True, True, False]


def test_data_that_keep_to_a_subspace_exactly():
    clean = np.random.default_rng(0).normal(size=(300, 2)) @ np.array([[1.0, 0.0, 1.0], [0.0, 1.0, 1.0]])
    detector = Detector.fit(clean, TABLE)
    rows = np.array([[0.5, 0.5, 1.0], [0.5, 0.5, 0.5]])  # the third is the sum of the others
    residual = detector.diagnose(rows).diagnostics[:, detector.names.index("residual")]
    assert residual[0] < 1e-6
    assert residual[1] > 100


def test_data_that_never_vary():
    detector = Detector.fit(np.ones((30, LEADS, TIMES)), WAVE)
    rows = np.stack([np.ones((LEADS, TIMES)), np.full((LEADS, TIMES), 2.0)])
    found = detector.diagnose(rows, np.zeros(rows.shape, bool)).diagnostics
    assert (found[:, 0] > 1).tolist() == [False, True]


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        (waves(19), "at least 20 reference samples, got 19"),
        (np.where(waves(30) > 5, np.inf, 0), "infinite values"),
        (waves(30)[:, :1], "20 cells a sample, the input 40"),
    ],
)
def test_a_reference_that_cannot_be_one(reference, message):
    with pytest.raises(ValueError, match=message):
        Detector.fit(reference, WAVE)
