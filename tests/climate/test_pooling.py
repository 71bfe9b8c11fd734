"""Pooling: streaming equals in-memory, in any chunks; intervals against loops, a known variance, coverage; order of time."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr

import tsattr as ta
from tests.reference import interval_of_resamples, student_of_blocks
from tsattr.climate import pooling
from tsattr.climate.blocks import Blocks, chunks
from tsattr.climate.estimates import estimate
from tsattr.climate.pooling import Pool, pooled

STATISTICS = {
    "mean": lambda a: a.mean("sample"),
    "mean_absolute": lambda a: abs(a).mean("sample"),
    "rms": lambda a: np.sqrt((a**2).mean("sample")),
}


def maps(n=50, seed=0, gaps=True):
    """Maps (sample, lag, lat, lon) with land, and sea ice at some samples."""
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(n, 2, 3, 4))
    if gaps:
        values[:, :, 0, 1] = np.nan
        values[rng.random(n) < 0.3, :, 2] = np.nan
    coords = {"sample": np.arange(n), "lag": [-2, -1], "lat": [-10.0, 0.0, 10.0], "lon": [0.0, 90.0, 180.0, 270.0]}
    return xr.DataArray(values, dims=("sample", "lag", "lat", "lon"), coords=coords)


def streamed(pool, a, cuts, by=None):
    for part in np.split(np.arange(a.sizes["sample"]), cuts):
        if len(part):
            pool.update(a.isel(sample=part), None if by is None else by.isel(sample=part))
    return pool


def autoregressive(n, cells, phi, seed=0):
    """Stationary AR(1) of unit variance."""
    rng = np.random.default_rng(seed)
    noise = rng.normal(size=(n, cells)) * np.sqrt(1 - phi**2)
    noise[0] = rng.normal(size=cells)
    for t in range(1, n):
        noise[t] += phi * noise[t - 1]
    return xr.DataArray(noise, dims=("sample", "lat"))


# ---------------------------------------------------------------------------------------------- streaming = in memory


@pytest.mark.parametrize("cuts", [[], [1, 2, 3], [7, 20, 41], list(range(50))])
@pytest.mark.parametrize("blocks", [Blocks(5), Blocks(3, most=4)])
def test_streaming_is_in_memory_in_any_chunks(cuts, blocks):
    a = maps()
    found = streamed(Pool(blocks, quantiles=(0.0, 0.1, 0.5, 1.0)), a, cuts).result()
    whole = Pool(blocks, quantiles=(0.0, 0.1, 0.5, 1.0)).update(a).result()
    xr.testing.assert_allclose(found, whole, rtol=1e-12, atol=1e-12)
    for name, f in STATISTICS.items():
        xr.testing.assert_allclose(found[name], f(a), rtol=1e-12, atol=1e-12)
    np.testing.assert_array_equal(found.samples, a.notnull().sum("sample"))
    with np.errstate(all="ignore"), pytest.warns(RuntimeWarning, match="All-NaN"):
        expected = np.nanquantile(a.values, [0.0, 0.1, 0.5, 1.0], axis=0, method="inverted_cdf")
    np.testing.assert_array_equal(found["quantile"], expected)


def test_blocks_are_joined_two_by_two_when_there_are_too_many():
    a = maps(50)
    few = Pool(Blocks(3, most=4), quantiles=(0.5,)).update(a).result()
    long = (
        Pool(Blocks(24), quantiles=(0.5,)).update(a).result()
    )  # 3 * 2 * 2 * 2: the first length with 4 blocks or fewer
    assert few.attrs["samples_in_block"] == 24
    assert few.attrs["blocks"] == 3
    xr.testing.assert_allclose(few, long, rtol=1e-12)


def test_sums_do_not_grow_with_the_samples():
    pool = Pool(Blocks(1, most=8), quantiles=(0.5,), keep=16)
    for k in range(40):
        pool.update(maps(25, seed=k))
    assert sum(v.size for v in pool._sums.values()) == 4 * 8 * 24
    assert len(pool._reservoirs[""].maps) == 16
    assert pool.samples == 1000


def test_composites_are_those_of_each_condition():
    a = maps(60)
    by = xr.DataArray(np.array(["warm", "cold", None, "warm", ""] * 12, object), dims="sample", name="enso")
    pool = streamed(Pool(Blocks(6), quantiles=(0.5,)), a, [13, 30], by)
    found = pool.result()
    assert found.enso.values.tolist() == ["all", "cold", "warm"]
    for label in ("cold", "warm"):
        mine = a.isel(sample=np.flatnonzero(by.values == label))
        for name, f in STATISTICS.items():
            xr.testing.assert_allclose(found[name].sel(enso=label, drop=True), f(mine), rtol=1e-12)
        alone = Pool(Blocks(6), quantiles=(0.5,)).update(mine).result()["quantile"]
        xr.testing.assert_identical(found["quantile"].sel(enso=label, drop=True), alone)
    every = Pool(Blocks(6), quantiles=(0.5,)).update(a).result()
    xr.testing.assert_allclose(found.sel(enso="all", drop=True), every, rtol=1e-12)


def test_all_of_several_conditions_are_those_without_conditions_when_few_maps_are_kept():
    a = maps(80)
    by = xr.DataArray(["warm", "cold", None, "warm"] * 20, dims="sample", name="enso")
    found = streamed(Pool(5, quantiles=(0.2, 0.5), keep=12), a, [30, 31], by).result()
    every = Pool(5, quantiles=(0.2, 0.5), keep=12).update(a).result()
    xr.testing.assert_identical(found["quantile"].sel(enso="all", drop=True), every["quantile"])
    assert not found["quantile"].sel(enso="warm", drop=True).equals(every["quantile"])


def test_more_dims_order_and_labels():
    a = maps(20)
    found = Pool(5).update(a[:10]).update(a[10:].transpose("lon", "sample", "lag", "lat")).result()
    xr.testing.assert_allclose(found, Pool(5).update(a).result(), rtol=1e-12)
    dated = a.assign_coords(time=(("sample", "lag"), np.zeros((20, 2))), month=("sample", np.arange(20)), level=3)
    assert set(Pool(5).update(dated).result().coords) == {"lag", "lat", "lon", "level"}


def test_failed_samples_are_left_out():
    a = maps(12, gaps=False)
    a[3] = np.nan
    a[7] = np.inf
    found = Pool(4).update(a).result()
    xr.testing.assert_allclose(found["mean"], a.isel(sample=[0, 1, 2, 4, 5, 6, 8, 9, 10, 11]).mean("sample"))
    assert (found.samples == 10).all()


# ---------------------------------------------------------------------------------------------------------- intervals


def test_intervals_are_students_of_the_slow_part_of_blocks():
    a = maps(50)
    found = Pool(Blocks(6, level=0.9)).update(a).result()
    blocks = [a.values[k : k + 6].reshape(-1, 24) for k in range(0, 50, 6)]
    count = np.array([np.isfinite(b).sum(0) for b in blocks], float)
    for name, term in (("mean", lambda v: v), ("mean_absolute", np.abs), ("rms", np.square)):
        total = np.array([np.nansum(term(b), 0) for b in blocks])
        for cell in np.flatnonzero(count.sum(0)):
            mean, low, high = student_of_blocks(total[:, cell], count[:, cell], 0.9)
            if name != "mean":  # the same width on the logarithm
                low, high = mean * np.exp((low - mean) / mean), mean * np.exp((high - mean) / mean)
            ends = [float(found[f"{name}_{end}"].values.ravel()[cell]) for end in ("low", "high")]
            np.testing.assert_allclose(ends, np.sqrt([low, high]) if name == "rms" else [low, high], rtol=1e-9)


def test_slabs_change_nothing(monkeypatch):
    a = maps(40)
    by = xr.DataArray(["x", "y"] * 20, dims="sample")
    whole = Pool(5, quantiles=(0.5,)).update(a, by)
    one, profile = whole.result(), whole.interval(lambda m: m.sum("lat").to_dataset(name="m"))
    monkeypatch.setattr("tsattr.climate.blocks._SLAB", 3000)
    xr.testing.assert_identical(one, whole.result())
    xr.testing.assert_allclose(profile, whole.interval(lambda m: m.sum("lat").to_dataset(name="m")), rtol=1e-12)


def test_the_variance_of_the_mean_of_an_autoregressive_series():
    """Blocks of L have means of known variance; of B of them the bootstrap gives (B - 1) / B^2 times that, on average."""
    phi, n, length = 0.6, 4000, 50
    pool = Pool(Blocks(length, most=80, resamples=2000)).update(autoregressive(n, 200, phi))
    resampled = xr.concat(list(pool.resampled("mean")), "resample")
    j = np.arange(1, length)
    of_block = (1 + 2 * ((1 - j / length) * phi**j).sum()) / length
    blocks = n // length
    expected = of_block * (blocks - 1) / blocks**2
    # A variance estimated from B blocks scatters by sqrt(2 / B); 200 series average that.
    assert float(resampled.var("resample").mean()) == pytest.approx(expected, rel=4 * np.sqrt(2 / blocks / 200))
    exact = (1 + phi) / (1 - phi) / n
    assert expected == pytest.approx(exact, rel=0.06)  # what blocks of this length miss of the whole variance
    single = Pool(Blocks(1, most=n)).update(autoregressive(n, 20, phi))
    alone = xr.concat(list(single.resampled("mean")), "resample")
    assert float(alone.var("resample").mean()) < 0.35 * exact  # months one by one promise too much


COVERED = {0: (0.94, 0.96), 1 / 6: (0.93, 0.96), 1 / 3: (0.92, 0.96)}  # by memory in blocks; of 3000, .95 +- .004


@pytest.mark.parametrize("memory", COVERED)
@pytest.mark.parametrize("number", [6, 12, 40])
def test_intervals_cover_from_six_blocks_on(memory, number):
    """Percentiles of resampled blocks cover .80 and .86 with six and twelve blocks and memory of a third of a block."""
    phi = np.exp(-1 / (12 * memory)) if memory else 0.0
    found = Pool(12, quantiles=(0.5,), keep=480).update(autoregressive(12 * number, 3000, phi, seed=number)).result()
    low, high = COVERED[memory]
    mean = float(((found.mean_low < 0) & (found.mean_high > 0)).mean())
    assert max(low, 0.925) < mean < high
    truth = np.sqrt(2 / np.pi)
    size = float(((found.mean_absolute_low < truth) & (found.mean_absolute_high > truth)).mean())
    assert low < size < high
    median = found.isel(probability=0)
    assert 0.93 < float(((median.quantile_low < 0) & (median.quantile_high > 0)).mean()) < 0.975


def test_few_blocks_and_long_memory_are_told():
    few = Pool(12).update(autoregressive(48, 50, 0.0)).result().attrs
    assert few["blocks"] == 4
    assert "With fewer than 6 blocks they are wide" in few["intervals"]
    enough = Pool(12).update(autoregressive(240, 200, np.exp(-1 / 4))).result().attrs
    assert "too short" not in enough["intervals"]
    assert enough["block_correlation"] == pytest.approx(0.2, abs=0.08)  # .22 where memory is a third of a block
    long = Pool(12).update(autoregressive(240, 200, np.exp(-1 / 12)))
    told = long.result().attrs
    assert told["block_correlation"] == pytest.approx(0.5, abs=0.1)  # (1 - 1/e)^2 / (2 / e) = .543, less some bias
    assert "too short for the samples' memory" in told["intervals"]
    assert (
        "too short for the samples' memory"
        in long.interval(lambda m: m.rename("m").to_dataset(), "mean").attrs["intervals"]
    )
    assert "no intervals" in Pool(12).update(autoregressive(12, 2, 0.0)).result().attrs["intervals"]


def test_a_condition_in_few_blocks_is_judged_by_those():
    """In three of twenty blocks: Student's t has one degree of freedom and not seven; in one block: no interval."""
    a = autoregressive(200, 2000, 0.0)
    by = np.full(200, "other")
    by[[5, 6, 7, 95, 96, 97, 155, 156, 157]] = "rare"
    by[40:45] = "once"
    found = Pool(10, statistics=("mean",)).update(a, by).result()
    held = (found.mean_low < 0) & (found.mean_high > 0)
    assert 0.93 < float(held.sel(condition="rare").mean()) < 0.998
    assert found.sel(condition="once").mean_low.isnull().all()
    profile = Pool(10).update(a, by).interval(lambda m: m.isel(lat=0, drop=True).to_dataset(name="m"))
    assert np.isnan(profile.m_low.sel(condition="once"))
    assert np.isfinite(profile.m_low.sel(condition="rare"))


DATES = np.arange("1990-01", "1995-01", dtype="M8[M]").astype("M8[ns]")


def ensemble():
    """Four members of five years, one after another, with a time that they share."""
    rng = np.random.default_rng(5)
    common = autoregressive(60, 6, 0.5).values
    values = common + 0.3 * rng.normal(size=(4, 60, 6))
    x = xr.DataArray(values, dims=("member", "time", "lat"), coords={"member": list("abcd"), "time": DATES})
    return x.stack(sample=("member", "time"))


@pytest.mark.parametrize("flat", [False, True])
def test_members_of_one_time_lie_in_one_block(flat):
    x = ensemble()
    alone = Pool(12).update(x.unstack().mean("member").rename(time="sample").transpose("sample", "lat")).result()
    x = x.reset_index("sample") if flat else x
    found = pooled(lambda x: x.sum(1), x, ta.InputXGradient(), pool=Pool(12), chunk=50).result()
    assert found.attrs["blocks"] == 5
    assert found.attrs["samples"] == 240
    for end in ("", "_low", "_high"):
        np.testing.assert_allclose(found[f"mean{end}"], alone[f"mean{end}"], rtol=1e-9)


def test_samples_out_of_order_of_time_are_sorted_or_refused():
    order = np.random.default_rng(0).permutation(60)
    x = autoregressive(60, 6, 0.8).assign_coords(sample=DATES)
    mixed, by = x[order], np.where(np.arange(60) % 2, "odd", "even")
    settings = {"context": {"scale": np.arange(60.0)}}
    f = lambda x, scale: (x**2).sum(1) * scale  # noqa: E731
    method = ta.IntegratedGradients(ta.baselines.Gaussian(0.1), draws=2, steps=3)
    whole = pooled(f, x, method, pool=Pool(12), by=by, **settings).result()
    shuffled = {"context": {"scale": np.arange(60.0)[order].tolist()}}
    for given in (by[order], list(by[order]), pd.Series(by[order], index=order)):
        found = pooled(f, mixed, method, pool=Pool(12), by=given, chunk=7, **shuffled).result()
        xr.testing.assert_allclose(found, whole, rtol=1e-9)
    beside = mixed.rename(sample="s").drop_vars("s").assign_coords(time=("s", mixed.sample.values))
    settings = {"sample_dim": "s", "context": {"scale": torch.tensor(np.arange(60.0)[order])}}
    found = pooled(f, beside, ta.InputXGradient(), pool=Pool(12, sample_dim="s"), **settings).result()
    np.testing.assert_allclose(found.mean_low, Pool(12).update(2 * x**2 * np.arange(60.0)[:, None]).result().mean_low)
    with pytest.raises(ValueError, match=r"of 19.*comes after 19.*sort the samples by time"):
        Pool(12).update(mixed)
    pool = Pool(12).update(x[12:])
    with pytest.raises(ValueError, match=r"sample 48, of 1990-01.*comes after 1994-12"):
        pool.update(x[:12])
    with pytest.raises(ValueError, match="some samples carry dates"):
        pool.update(x[:12].drop_vars("sample"))
    with pytest.raises(ValueError, match="'sample' lacks the time of 1 samples"):
        Pool().update(x.assign_coords(sample=np.where(np.arange(60) == 3, np.datetime64("NaT"), DATES)))
    with pytest.raises(ValueError, match="have a 'member' and no time"):
        Pool().update(ensemble().reset_index("sample").drop_vars("time"))


def test_a_condition_may_be_the_name_of_a_coordinate_or_of_a_part_of_a_date():
    x = autoregressive(60, 3, 0.5).assign_coords(sample=DATES, phase=("sample", ["warm", "cold"] * 30))
    mixed, method, f = x[np.random.default_rng(1).permutation(60)], ta.InputXGradient(), lambda x: x.sum(1)
    for name, by in (("phase", x.phase), ("sample.year", x["sample.year"])):
        expected = Pool(12).update(x, by).result()
        xr.testing.assert_allclose(Pool(12).update(x, name).result(), expected)
        xr.testing.assert_allclose(
            pooled(f, mixed, method, pool=Pool(12), by=name, chunk=7).result()["mean"], expected["mean"]
        )
    assert np.isnan(
        expected.mean_low.sel(year="1990")
    ).all()  # a year lies in one block, which says nothing of its scatter
    with pytest.raises(KeyError, match=r"no coordinate 'enso'; they have \['sample', 'phase'\]"):
        Pool().update(x, "enso")


def test_decimal_years_called_time_and_calendars_of_models_are_times():
    cftime = pytest.importorskip("cftime")
    x = autoregressive(24, 3, 0.5)
    whole = Pool(4).update(x).result()
    for time in (
        2000 + np.arange(24) / 12,
        [cftime.DatetimeNoLeap(2000 + k // 12, 1 + k % 12, 1) for k in range(24)],
    ):
        dated = x.assign_coords(time=("sample", time))
        xr.testing.assert_allclose(Pool(4).update(dated).result(), whole)
        with pytest.raises(ValueError, match="comes after"):
            Pool(4).update(dated[::-1])


def test_one_block_says_nothing_of_its_scatter():
    pool = Pool(12, quantiles=(0.5,)).update(maps(10, gaps=False))
    found = pool.result()
    for name in ("mean", "mean_absolute", "rms", "quantile"):
        assert found[name].notnull().all()
        assert found[f"{name}_low"].isnull().all()
        assert found[f"{name}_high"].isnull().all()
    assert pool.interval(lambda m: m.sum("lat").to_dataset(name="m")).m_low.isnull().all()


def test_quantiles_of_more_samples_than_are_kept():
    n, keep, q = 3000, 200, 0.8
    a = xr.DataArray(
        np.random.default_rng(0).permuted(np.tile(np.arange(n), (50, 1)), axis=1).T / n, dims=("sample", "lat")
    )
    pool = Pool(10, quantiles=(q,), keep=keep)
    for start in range(0, n, 700):
        pool.update(a[start : start + 700])
    found = pool.result()["quantile"]
    error = np.sqrt(q * (1 - q) / keep)
    assert abs(found - q).max() < 4 * error
    assert 0.7 * error < float((found - q).std()) < 1.3 * error  # of 50 independent columns
    other = Pool(10, quantiles=(q,), keep=keep).update(a).result()["quantile"]
    xr.testing.assert_identical(found, other)


def test_the_interval_of_a_quantile_by_a_loop():
    a = maps(30)
    found = Pool(4, quantiles=(0.3,)).update(a).result().isel(lag=1, lat=2, lon=3, probability=0)
    cell = a.values[:, 1, 2, 3]
    quantile = np.nanquantile(cell, 0.3, method="inverted_cdf")
    blocks = [cell[k : k + 4][~np.isnan(cell[k : k + 4])] for k in range(0, 30, 4)]
    below, count = np.array([[(b <= quantile).sum(), len(b)] for b in blocks], float).T
    share, low, high = student_of_blocks(below, count, 0.95)
    ends = [
        np.nanquantile(cell, np.clip(0.3 + share - q, 0, 1), method="inverted_cdf") for q in (min(high, 1), max(low, 0))
    ]
    assert [float(found.quantile_low), float(found.quantile_high)] == ends


def test_coverage_of_the_interval_of_a_quantile():
    """The median of an autoregressive Gaussian series is 0, and its tenth percentile -1.2816."""
    pool = Pool(Blocks(25, level=0.9), quantiles=(0.1, 0.5), keep=1500)
    found = pool.update(autoregressive(1500, 300, 0.5, seed=4)).result()
    for q, truth in ((0.1, -1.2816), (0.5, 0.0)):
        ends = found.sel(probability=q)
        covered = float(((ends.quantile_low <= truth) & (ends.quantile_high >= truth)).mean())
        assert covered == pytest.approx(0.9, abs=4 * np.sqrt(0.09 / 300))


def test_a_function_of_the_map_with_its_interval():
    a = maps(40, gaps=False)
    pool = Pool(Blocks(5, resamples=60)).update(a)

    def f(m):
        return (
            xr.Dataset({"share": m.isel(lag=0).sum() / m.sum(), "constant": 3.0})
            if "resample" not in m.dims
            else xr.Dataset(
                {"share": m.isel(lag=0).sum(["lat", "lon"]) / m.sum(["lag", "lat", "lon"]), "constant": 3.0}
            )
        )

    found = pool.interval(f)
    size = abs(a.values)
    again = []
    for w in Blocks(5, resamples=60).weights(8):
        m = np.average(size, axis=0, weights=np.repeat(w, 5))
        again.append(m[0].sum() / m.sum())
    ends = interval_of_resamples(again, Blocks(5, resamples=60).weights(8), np.full(8, 1 / 8), float(found.share), 0.95)
    np.testing.assert_allclose([found.share_low, found.share_high], ends, rtol=1e-9)
    assert "constant_low" not in found
    null = abs(a.isel(sample=slice(3))).rename(sample="member")
    beside = estimate(lambda m: m.sum(["lag", "lat", "lon"]).to_dataset(name="total"), pool, null)
    np.testing.assert_allclose(beside.total_null, null.sum(["lag", "lat", "lon"]))


# -------------------------------------------------------------------------------------------------- explaining in chunks


def model(x, scale=None):
    y = (x**2).sum((1, 2))
    return y if scale is None else y * scale


@pytest.mark.parametrize("chunk", [1, 7, 100])
@pytest.mark.parametrize("coordinate", [True, False])
def test_pooled_is_explain_then_pool(chunk, coordinate):
    x = maps(20, gaps=False).isel(lag=0, drop=True)
    x = x.assign_coords(sample=1000 - 3 * x.sample) if coordinate else x.drop_vars("sample")
    by = xr.DataArray(["a", "b"] * 10, dims="sample", coords={"sample": x.sample} if coordinate else None)
    method = ta.IntegratedGradients(ta.baselines.Gaussian(0.1), draws=2, steps=3)  # draws keyed by the sample
    settings = {"context": {"scale": np.arange(20.0)}, "valid": x > -1.0, "seed": 3}
    whole = Pool(4).update(ta.explain(model, x, method, **settings), by).result()
    found = pooled(model, x, method, pool=Pool(4), by=by, chunk=chunk, **settings).result()
    xr.testing.assert_allclose(found, whole, rtol=1e-12, atol=1e-12)


def test_pooled_of_a_dataset_and_of_groups():
    x = xr.Dataset({"sst": maps(10, gaps=False).isel(lag=0, drop=True), "heat": maps(10, seed=1, gaps=False)})
    f = lambda sst, heat: sst.sum((1, 2)) + 2 * heat.sum((1, 2, 3))  # noqa: E731
    found = pooled(f, x, ta.InputXGradient(), pool=Pool(5, variable="attribution_heat"), chunk=4).result()
    xr.testing.assert_allclose(found["mean"], 2 * x.heat.mean("sample"))
    method = ta.Occlusion(ta.groups.Along("lat"))
    groups = pooled(lambda x: x.sum((1, 2)), x.sst, method, pool=Pool(5, variable="group_value"), chunk=4).maps("mean")
    np.testing.assert_allclose(groups, x.sst.mean("sample").sum("lon"))


def test_lazy_input_is_read_chunk_by_chunk():
    pytest.importorskip("dask")
    x = maps(12, gaps=False).isel(lag=0, drop=True)
    method = ta.InputXGradient()
    found = pooled(model, x.chunk(sample=5), method, chunk=4).result()
    xr.testing.assert_allclose(found, pooled(model, x, method).result())


def test_several_targets_go_through():
    x = maps(12, gaps=False).isel(lag=0, drop=True)
    f = lambda x: torch.stack([x.sum((1, 2)), -x.sum((1, 2))], 1)  # noqa: E731
    found = pooled(f, x, ta.InputXGradient(), target=[0, 1], pool=Pool(3)).result()
    xr.testing.assert_allclose(found["mean"].sel(target="1", drop=True), -x.mean("sample"))


# ------------------------------------------------------------------------------------------------------------- refusals


def test_refusals():
    a = maps(10)
    with pytest.raises(ValueError, match=r"statistics are some of .*median"):
        Pool(statistics=("median",))
    with pytest.raises(ValueError, match=r"quantiles are probabilities.*\[50\]"):
        Pool(quantiles=(50,))
    with pytest.raises(ValueError, match=r"even number of blocks.*7"):
        Pool(Blocks(12, most=7))
    with pytest.raises(ValueError, match=r"level.*between 0 and 1.*95"):
        Blocks(level=95)
    with pytest.raises(ValueError, match="size is a whole number"):
        Pool(0)
    with pytest.raises(ValueError, match="the pool is empty"):
        Pool().result()
    with pytest.raises(KeyError, match=r"no variable 'attribution'; it has \['a'\]"):
        Pool().update(a.to_dataset(name="a"))
    with pytest.raises(ValueError, match="none of them the sample dim 'sample'"):
        Pool().update(a[0])
    pool = Pool().update(a)
    with pytest.raises(ValueError, match="other cells"):
        pool.update(a.assign_coords(lat=[0.0, 1.0, 2.0]))
    with pytest.raises(ValueError, match="other cells"):
        pool.update(a.isel(lag=0))
    with pytest.raises(ValueError, match="keep to one"):
        pool.update(a, ["x"] * 10)
    with pytest.raises(KeyError, match=r"keeps \['mean'\], not 'rms'"):
        Pool(statistics=("mean",)).update(a).maps("rms")
    with pytest.raises(ValueError, match="9 labels for 10 samples"):
        Pool().update(a, ["x"] * 9)
    with pytest.raises(ValueError, match="stands for all samples"):
        Pool().update(a, ["all"] * 10)
    with pytest.raises(ValueError, match="other labels than the maps"):
        Pool().update(a, xr.DataArray(["x"] * 10, dims="sample", coords={"sample": np.arange(10) + 5}))
    with pytest.raises(ValueError, match="give by= with these too"):
        Pool().update(a, ["x"] * 10).update(a)
    with pytest.raises(TypeError, match=r"a DataArray or a Dataset, got ndarray"):
        list(chunks(a.values, 3, {}))
    with pytest.raises(ValueError, match="none of them the sample dim 'time'"):
        list(chunks(a, 3, {"sample_dim": "time"}))
    with pytest.raises(ValueError, match=r"importance is at least 0, got -"):
        estimate(lambda m: m.to_dataset(name="m"), a)
    with pytest.raises(TypeError, match="a Pool or a DataArray, got Dataset"):
        estimate(lambda m: m, a.to_dataset(name="a"))
    assert dataclasses.is_dataclass(pooling.Pool)


def test_a_refused_update_leaves_the_pool_as_it_was():
    a = maps(10)
    pool = Pool(3)
    with pytest.raises(ValueError, match="labels for"):
        pool.update(a, ["x"] * 9)
    xr.testing.assert_identical(pool.update(a).result(), Pool(3).update(a).result())


def test_conditions_may_be_missing_in_any_way():
    maps = xr.DataArray(np.arange(4.0)[:, None], dims=("sample", "lat"))
    for by in (
        ["a", None, "a", "b"],
        np.array(["a", np.nan, "a", "b"], dtype=object),
        pd.array(["a", pd.NA, "a", "b"], dtype="string"),
        pd.Series(["a", pd.NaT, "a", "b"]),
    ):
        found = Pool(blocks=1).update(maps, by=by).result()
        assert found["mean"].sel(condition="a").item() == 1
        assert found["samples"].values[:, 0].tolist() == [4, 2, 1]
    with pytest.raises(ValueError, match=r"by is called 'lat', as a dim of the maps is; give by.rename"):
        Pool().update(maps, by=xr.DataArray(["a"] * 4, dims="sample", name="lat"))
