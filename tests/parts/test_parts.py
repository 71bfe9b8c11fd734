"""Parts sum to their signal, keep its labels and gaps, and hold what they are named for."""

import warnings

import numpy as np
import pytest
import torch
import xarray as xr

import tsattr as ta

p, g, b = ta.parts, ta.groups, ta.baselines


def signals(n=97, samples=3, leads=2, seed=0, **coords):
    """Random walks with an offset, (sample, lead, time) at 50 Hz."""
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(samples, leads, n)).cumsum(-1) + 3
    coords = {"time": np.arange(n) / 50, "lead": ["I", "V1"][:leads], **coords}
    return xr.DataArray(values, dims=("sample", "lead", "time"), coords=coords, attrs={"units": "mV"}, name="ecg")


def months(years=8, n=3, seed=0):
    """Monthly fields (sample, time, lat, lon) with a trend, a season and noise."""
    rng = np.random.default_rng(seed)
    time = np.arange("2001-01", f"{2001 + years}-01", dtype="M8[M]").astype("M8[ns]")
    t = np.arange(len(time))[:, None, None]
    values = 0.02 * t + np.sin(2 * np.pi * t / 12) + 0.1 * rng.normal(size=(n, len(time), 3, 4))
    coords = {"time": time, "lat": [-30.0, 0.0, 45.0], "lon": [0.0, 2.0, 4.0, 6.0]}
    return xr.DataArray(values, dims=("sample", "time", "lat", "lon"), coords=coords, attrs={"units": "K"})


X = signals()
PEAKS = xr.DataArray(np.arange(97) % 24 == 10, dims="time", coords={"time": X.time}).expand_dims(sample=3)
BEATS = b.MedianBeat.fit(X, PEAKS, window=("-100ms", "160ms")).at(PEAKS)
HEART = xr.DataArray([1.0, 2.0], dims="sample", coords={"sample": [6, 7]})
MAKERS = {
    "bands": (lambda x: p.bands(x, [(0.5, 5), (5, 15)]), X),
    "bands, periodic": (lambda x: p.bands(x, [(0, 5), (10, None)], ends="periodic"), X),
    "bands, even": (lambda x: p.bands(x, [("2s", "0.2s"), (None, 0.4)]), X.isel(time=slice(96))),
    "octaves": (lambda x: p.octaves(x, 3), X),
    "harmonics": (lambda x: p.harmonics(x, 1.3, 2), X),
    "harmonics of each": (lambda x: p.harmonics(x, xr.DataArray([1.0, 1.5, 2.0], dims="sample")[: len(x)]), X),
    "stl": (lambda x: p.trend_season(x, 12), months()),
    "stl, robust, in units": (lambda x: p.trend_season(x, "240ms", robust=True), X),
    "cycle": (lambda x: p.trend_season(x, "month", method="cycle"), months()),
    "modes": (lambda x: p.modes(x, months(seed=1), 3), months()),
    "modes over leads": (lambda x: p.modes(x, signals(seed=1), 1, "lead"), X),
    "beats": (lambda x: p.beats_and_residual(x, BEATS), X),
}
every = pytest.mark.parametrize("name", MAKERS)


@every
def test_parts_sum_to_the_signal_and_keep_its_labels(name):
    make, x = MAKERS[name]
    parts = make(x)
    xr.testing.assert_allclose(parts.sum("part"), x, rtol=0, atol=1e-12)
    assert parts.dims == (x.dims[0], "part", *x.dims[1:])
    assert parts.attrs == x.attrs
    assert parts.name == x.name
    for k, coord in x.coords.items():
        xr.testing.assert_identical(parts[k].variable, coord.variable)
    assert len(set(parts.part.values.tolist())) == parts.sizes["part"] > 1
    assert parts.part.values[-1] in ("rest", "residual")


@every
def test_single_precision_stays_and_sums_to_rounding(name):
    make, x = MAKERS[name]
    parts = make(x.astype(np.float32))
    assert parts.dtype == np.float32
    scale = float(abs(parts).max())
    np.testing.assert_allclose(parts.sum("part"), x.astype(np.float32), rtol=0, atol=4e-7 * scale)
    np.testing.assert_allclose(parts, make(x), rtol=0, atol=1e-4 * scale)


@every
def test_gaps_stay_gaps_and_nothing_else_does(name):
    make, x = MAKERS[name]
    holes = x.copy()
    holes[{"sample": 0, "time": slice(5, 9)}] = np.nan
    holes[{"sample": 1, "time": 0}] = np.nan
    parts = make(holes)
    assert (parts.isnull() == holes.isnull()).all()
    xr.testing.assert_allclose(parts.sum("part", skipna=False), holes, rtol=0, atol=1e-12)
    expected = make(x).isel(sample=-1)  # without gaps
    np.testing.assert_allclose(parts.isel(sample=-1), expected, atol=1e-12)


@every
def test_dims_in_another_order_give_the_parts_in_that_order(name):
    make, x = MAKERS[name]
    turned = make(x.transpose(*x.dims[::-1]))
    at = x.dims[::-1].index("sample") + 1
    assert turned.dims == (*x.dims[::-1][:at], "part", *x.dims[::-1][at:])
    np.testing.assert_allclose(turned.transpose(*make(x).dims), make(x), atol=1e-12)


@every
def test_a_sample_by_itself_has_the_same_parts(name):
    make, x = MAKERS[name]
    if name == "harmonics of each":
        x = x[:1]  # its frequencies are of these samples
    if name == "beats":
        found = p.beats_and_residual(x[:1], BEATS.at(PEAKS[:1]))
    else:
        found = make(x[:1])
    np.testing.assert_allclose(found, make(x)[:1], atol=1e-12)


# ---- what the parts hold


@pytest.mark.parametrize("n", [100, 101])
@pytest.mark.parametrize("ends", ["periodic", "mirrored"])
def test_bands_are_orthogonal(n, ends):
    parts = p.bands(signals(n), [(0, 3), (3, 9), (9, None)], ends=ends)
    inside = parts.sel(part=[v for v in parts.part.values if v != "rest"])
    np.testing.assert_allclose(parts.sel(part="rest"), 0, atol=1e-9)
    products = xr.dot(inside, inside.rename(part="other"), dim="time")
    apart = ~np.eye(3, dtype=bool)
    size = float(abs(products).max())
    np.testing.assert_allclose(
        products.transpose("part", "other", ...).values[apart], 0, atol=(1e-9 if ends == "periodic" else 0.5) * size
    )


def test_a_tone_is_in_its_band_alone():
    t = np.arange(500) / 100
    x = xr.DataArray(np.sin(2 * np.pi * 7 * t)[None], dims=("sample", "time"), coords={"time": t})
    parts = p.bands(x, [(0.5, 5), (5, 10), (10, 20)], ends="periodic")
    np.testing.assert_allclose(parts.sel(part="5-10 Hz"), x, atol=1e-9)
    np.testing.assert_allclose(parts.sel(part=["0.5-5 Hz", "10-20 Hz", "rest"]), 0, atol=1e-9)
    mirrored = p.bands(x, [(0.5, 5), (5, 10), (10, 20)])
    inner = ~mirrored.edge.sel(part="0.5-5 Hz")
    assert float((mirrored.sel(part="5-10 Hz").where(inner) ** 2).sum() / (x.where(inner) ** 2).sum()) > 0.99


def test_mirrored_ends_make_no_jump():
    t = np.arange(200) / 100
    x = xr.DataArray(t[None], dims=("sample", "time"), coords={"time": t})  # ends unlike
    fast = [abs(p.bands(x, [(5, None)], ends=ends).isel(part=0)).max().item() for ends in ("mirrored", "periodic")]
    assert fast[0] < fast[1] / 10


def test_cells_near_the_ends_are_marked_up_to_a_period_of_the_lowest_frequency():
    edge = p.bands(X, [(5, 10), (10, None), (None, 5)]).edge
    assert edge.dims == ("part", "time")
    assert edge.sum("time").values.tolist() == [20, 10, 97, 97]  # 200 ms and 100 ms at 50 Hz, at either end
    assert edge.isel(part=0).values[:10].all()
    assert edge.isel(part=0).values[-10:].all()


@pytest.mark.parametrize("chunks", [None, {"time": 30}])
def test_cells_near_a_bridged_gap_are_marked_as_those_near_an_end(chunks):
    holes = X.copy()
    holes[0, 0, 40:43] = np.nan
    holes[1, 1, :2] = np.nan
    if chunks:
        pytest.importorskip("dask")
        holes = holes.chunk(chunks)
    parts = p.bands(holes, [(5, 10), (10, None)])
    assert parts.edge.dims == parts.dims
    plain = p.bands(X, [(5, 10), (10, None)]).edge
    for sample, lead in np.ndindex(3, 2):
        missing = [-1, *np.flatnonzero(holes[sample, lead].isnull()), 97]  # beyond the ends nothing is known either
        for part, reach in enumerate([10, 5, 10]):  # a period of 5 Hz and of 10 Hz, and the larger for the rest
            expected = [min(abs(cell - at) for at in missing) <= reach for cell in range(97)]
            assert parts.edge[sample, part, lead].values.tolist() == expected
    assert (parts.edge[2] == plain.broadcast_like(parts.edge[2])).all()
    assert parts.edge[0, :, 0].sum() > plain.sum()


def test_seasons_by_local_regression_mark_a_season_at_each_end():
    edge = p.trend_season(months(), 12).edge
    assert edge.dims == ("part", "time")
    assert (edge.sum("time") == 24).all()
    assert "edge" not in p.trend_season(months(), 12, method="cycle").coords  # fitted to what is known
    assert "edge" not in p.harmonics(X, 1.3).coords


def test_edges_reach_the_explanation_and_a_file(tmp_path):
    parts = p.bands(X.where(X.time != 0.5), [(5, 10)])
    ds = ta.explain(
        ta.models.summed(ta.models.on_arrays(lambda x: np.nansum(x, (1, 2)))), parts, ta.Occlusion(g.Along("part"))
    )
    xr.testing.assert_identical(ds.edge.transpose(*parts.edge.dims).variable, parts.edge.variable)
    assert ds.part.attrs == parts.part.attrs
    parts.to_netcdf(tmp_path / "parts.nc")
    back = xr.load_dataarray(tmp_path / "parts.nc")
    assert (back.edge == parts.edge).all()
    assert back.part.attrs == parts.part.attrs


def test_a_straight_line_and_a_cycle_are_told_apart_across_a_gap():
    t = np.arange(24.0)
    x = xr.DataArray((0.3 * t + np.tile([0, 2, -1, 1], 6))[None], dims=("sample", "time"))
    x[0, 3:9] = np.nan
    parts = p.trend_season(x, 4, method="cycle")
    np.testing.assert_allclose(parts.sel(part="rest")[:, parts[0, 0].notnull()], 0, atol=1e-9)
    np.testing.assert_allclose(parts.sel(part="trend")[0, 9:].diff("time"), 0.3, atol=1e-9)


@every
def test_parts_say_what_they_are_and_what_they_assume(name):
    make, x = MAKERS[name]
    attrs = make(x).part.attrs
    assert set(attrs) == {"long_name", "assumes"}
    assert all(attrs.values())


def test_names_have_one_language():
    def names(limits, x=X, dim="time"):
        return p.bands(x, limits, dim).part.values.tolist()[:-1]

    assert names([("2s", "500ms"), (2, 5), (10, None)]) == ["2s-500ms", "0.5 s-0.2 s", "under 0.1 s"]
    assert names([("2s", 2)]) == ["2s-0.5 s"]
    assert names([(0, 2), ("500ms", "0.1s")]) == ["over 500 ms", "500ms-0.1s"]
    plain = X.drop_vars("time")
    assert names([(0.1, 0.2)], plain) == ["0.1-0.2 per cell"]
    assert p.octaves(plain, 1).part.values[0] == "0.25-0.5 per cell"
    assert names([(0.1, 0.2)], plain.assign_coords(time=("time", np.arange(97.0), {"units": "months"}))) == [
        "0.1-0.2 per month"
    ]
    depth = plain.rename(time="depth").assign_coords(depth=np.arange(97.0))
    assert names([(0.1, 0.2)], depth, "depth") == ["0.1-0.2"]
    depth.depth.attrs["units"] = "km"
    assert names([(1e-4, 2e-4)], depth, "depth") == ["0.0001-0.0002 per metre"]


def test_frequencies_on_a_limit_go_to_the_upper_band():
    t = np.arange(100) / 100
    x = xr.DataArray(np.cos(2 * np.pi * 5 * t)[None], dims=("sample", "time"), coords={"time": t})
    parts = p.bands(x, [(1, 5), (5, 9)], ends="periodic")
    np.testing.assert_allclose(parts.sel(part="5-9 Hz"), x, atol=1e-12)


def test_bands_of_months_are_given_by_periods():
    x = months(years=16).mean("sample").expand_dims("sample").mean(("lat", "lon"))
    x = x.assign_coords(time=("time", np.arange(x.sizes["time"]), {"units": "months"}))
    parts = p.bands(x, [("6 months", "2 years")], ends="mirrored")
    assert parts.part.values.tolist() == ["6 months-2 years", "rest"]
    season = np.sin(2 * np.pi * np.arange(192) / 12)
    assert np.corrcoef(parts.isel(part=0, sample=0), season)[0, 1] > 0.98


def test_a_limit_on_one_side_alone_has_a_name_and_all_beyond_it():
    parts = p.bands(X, [(None, "500ms"), ("200ms", None)])
    assert parts.part.values.tolist() == ["over 500ms", "under 200ms", "rest"]
    numbers = p.bands(X, [(None, 2), (5, None)])
    assert numbers.part.values.tolist() == ["below 2 Hz", "from 5 Hz", "rest"]
    np.testing.assert_allclose(parts, numbers, atol=1e-12)


def test_octaves_halve_from_the_nyquist_frequency():
    parts = p.octaves(X, 3)
    assert parts.part.values.tolist() == ["12.5-25 Hz", "6.25-12.5 Hz", "3.125-6.25 Hz", "rest"]
    expected = p.bands(X, [(12.5, None), (6.25, 12.5), (3.125, 6.25)])
    np.testing.assert_allclose(parts, expected, atol=1e-12)


def test_harmonics_of_a_frequency_that_does_not_fit():
    t = np.arange(150) / 50
    wave = 2 + np.cos(2 * np.pi * 1.37 * t + 0.3) + 0.5 * np.sin(2 * np.pi * 2.74 * t)
    x = xr.DataArray(wave[None], dims=("sample", "time"), coords={"time": t})
    parts = p.harmonics(x, 1.37, 2)
    np.testing.assert_allclose(parts.sel(part="mean"), 2, atol=1e-9)
    np.testing.assert_allclose(parts.sel(part="harmonic 2")[0], 0.5 * np.sin(2 * np.pi * 2.74 * t), atol=1e-9)
    np.testing.assert_allclose(parts.sel(part="rest"), 0, atol=1e-9)
    period = p.harmonics(x, f"{1000 / 1.37}ms", 2)
    np.testing.assert_allclose(period, parts, atol=1e-6)


@pytest.mark.parametrize("settings", [{"period": "month", "method": "cycle"}, {"period": 12}])
def test_a_trend_and_a_season_are_found(settings):
    x = months()
    parts = p.trend_season(x, **settings)
    t = np.arange(x.sizes["time"])
    for name, truth in (("trend", 0.02 * t), ("season", np.sin(2 * np.pi * t / 12))):
        found = parts.sel(part=name).mean(("sample", "lat", "lon"))
        assert np.corrcoef(found, truth)[0, 1] > 0.99
    assert float(abs(parts.sel(part="rest")).mean()) < 0.15


def test_a_straight_line_and_a_cycle_are_told_apart_exactly():
    t = np.arange(20.0)
    x = xr.DataArray((0.3 * t + np.tile([0, 2, -1, 1], 5))[None], dims=("sample", "time"))
    parts = p.trend_season(x, 4, method="cycle")
    np.testing.assert_allclose(parts.sel(part="rest"), 0, atol=1e-9)
    np.testing.assert_allclose(parts.sel(part="trend")[0].diff("time"), 0.3, atol=1e-9)


def test_modes_are_those_of_the_reference_weighted_by_area():
    lat = np.array([0.0, 60.0])
    weight = np.cos(np.deg2rad(lat))[:, None]
    first, second = np.array([[1.0, -2.0], [2.0, 1.0]]), np.array([[1.0, 1.0], [1.0, 0.0]])
    second -= first * (weight * second * first).sum() / (weight * first**2).sum()  # orthogonal in the metric of area
    score, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(50, 3)) * [0, 1, 1] + [1, 0, 0])
    fields = 30 * score[:, 1, None, None] * first + 10 * score[:, 2, None, None] * second + 7
    coords = {"lat": lat, "lon": [0.0, 180.0]}
    train = xr.DataArray(fields, dims=("time", "lat", "lon"), coords=coords)
    x = xr.DataArray((7 + 5 * first - 2 * second)[None], dims=("sample", "lat", "lon"), coords=coords)
    parts = p.modes(x, train, 2)
    np.testing.assert_allclose(parts[0], [np.full((2, 2), 7), 5 * first, -2 * second, np.zeros((2, 2))], atol=1e-9)
    of_first = 9 * (weight * first**2).sum()
    share = of_first / (of_first + (weight * second**2).sum())
    assert parts.part.values[1] == f"mode 1 ({share:.0%})"


def test_cells_missing_in_the_reference_are_in_no_mode():
    train = months(seed=1)
    train[..., 0, 0] = np.nan
    parts = p.modes(months(), train, 2)
    assert (parts.isel(part=slice(3), lat=0, lon=0) == 0).all()
    xr.testing.assert_allclose(parts.sum("part"), months(), rtol=0, atol=1e-12)


def test_the_median_beat_is_what_the_baseline_fills_in():
    parts = p.beats_and_residual(X, BEATS)
    ds = ta.explain(lambda x: x.sum((1, 2)), X, ta.IntegratedGradients(BEATS, steps=1))
    np.testing.assert_allclose(parts.sel(part="residual"), ds.attribution, atol=1e-9)


@pytest.mark.parametrize("calendar", ["standard", "360_day"])
def test_dates_that_step_by_months_are_counted_in_months(calendar):
    dates = xr.date_range("2001-01-15", periods=120, freq="MS", calendar=calendar, use_cftime=calendar != "standard")
    values = np.random.default_rng(0).normal(size=(2, 120)).cumsum(1)
    x = xr.DataArray(values, dims=("sample", "time"), coords={"time": dates})
    counted = x.assign_coords(time=("time", np.arange(120), {"units": "months"}))
    for make in (
        lambda x: p.bands(x, [("2 years", "7 years"), (0.2, 0.4)]),
        lambda x: p.octaves(x, 3),
        lambda x: p.harmonics(x, "1 year"),
        lambda x: p.trend_season(x, "1 year", method="cycle"),
    ):
        found = make(x)
        np.testing.assert_allclose(found, make(counted), atol=1e-9)
        assert found.time.values.tolist() == dates.values.tolist()
    assert p.octaves(x, 1).part.values.tolist()[0] == "0.25-0.5 per month"


@pytest.mark.parametrize(("calendar", "days"), [("360_day", 360), ("noleap", 365), ("standard", 365.2425)])
def test_a_year_of_days_is_that_of_the_calendar(calendar, days):
    dates = xr.date_range("2001-01-01", periods=1500, freq="D", calendar=calendar, use_cftime=calendar != "standard")
    wave = np.cos(2 * np.pi * np.arange(1500) / days)
    x = xr.DataArray(wave[None], dims=("sample", "time"), coords={"time": dates})
    parts = p.harmonics(x, "1 year", 1)
    np.testing.assert_allclose(parts.sel(part="harmonic 1")[0], wave, atol=1e-6)
    assert p.bands(x, [("6 months", "2 years")]).part.values[0] == "6 months-2 years"


@every
def test_chunked_signals_have_the_same_parts(name):
    pytest.importorskip("dask")
    make, x = MAKERS[name]
    chunked = x.chunk(dict(zip(x.dims, [1, 1, 30, 2])))
    xr.testing.assert_allclose(make(chunked).compute(), make(x), rtol=0, atol=1e-12)


def test_modes_match_cells_by_their_labels():
    x, train = months(), months(seed=1)
    parts = p.modes(x, train, 2)
    flipped = p.modes(x.isel(lat=slice(None, None, -1)), train.roll(lon=1, roll_coords=True), 2)
    xr.testing.assert_allclose(flipped.sortby("lat"), parts, rtol=0, atol=1e-9)


# ---- what is refused


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: p.bands(X, [(5, 1)]), "runs from a frequency of 0 or more upwards, got"),
        (lambda: p.bands(X, [(0, 5), (4, 9)]), r"\(0, 5\) and \(4, 9\) overlap"),
        (lambda: p.bands(X, []), "no bands are given"),
        (lambda: p.bands(X, [(30, 40)]), "holds no frequency of 97 cells 0.02 apart"),
        (lambda: p.bands(X, [(1, 2, 3)]), "a band is a pair"),
        (lambda: p.bands(X, [(1, 5)], ends="open"), "ends is one of"),
        (lambda: p.bands(X.assign_coords(time=np.arange(97.0) ** 2), [(1, 5)]), "not evenly spaced"),
        (lambda: p.bands(X.isel(time=[0]), [(1, 5)]), "one cell, which has no frequencies"),
        (lambda: p.bands(X.rename(lead="part"), [(1, 5)]), "x has 'part' already"),
        (lambda: p.bands(X[0], [(1, 5)]), "x has no sample dim|x has no dim 'sample'"),
        (lambda: p.harmonics(X, 0.0), "f0 is a frequency above 0"),
        (lambda: p.harmonics(X.isel(time=slice(5)), 1.0, 2), "5 unknowns, and 'time' 5 cells"),
        (lambda: p.trend_season(X, 60), "told from a trend in two cycles or more"),
        (lambda: p.trend_season(X, "30ms"), "a whole number of cells, two or more; '30ms' is 1.5"),
        (lambda: p.trend_season(X, 12, method="x11"), "method is one of"),
        (lambda: p.trend_season(X, 97, method="cycle"), "97 phases is told from a trend where a phase comes again"),
        (lambda: p.harmonics(X.assign_coords(sample=[4, 5, 6]), HEART), "f0 has no frequency of sample 4, 5; give one"),
        (lambda: p.harmonics(X, HEART.values), r"f0 is a number, .* DataArray over the samples, got ndarray; give xr"),
        (lambda: p.bands(X, (0.5, 5)), r"limits is a list of pairs .*, got \(0.5, 5\)"),
        (lambda: p.bands(X, "0.5-5"), "limits is a list of pairs"),
        (lambda: p.bands(X.where(X < 3, np.inf), [(1, 5)]), "x has infinite values"),
        (lambda: p.bands(X.assign_coords(edge=0), [(1, 5)]), "x has 'edge' already"),
        (lambda: p.modes(months(), months().assign_coords(lat=[0.0, 45.0, 60.0]), 1), "lacks 1 of the input's labels"),
        (lambda: p.modes(X, X, 1), "modes are over dims"),
        (lambda: p.modes(X, signals(seed=1), 3, "lead"), "has 2 modes at most, got number=3"),
    ],
)
def test_what_cannot_be_is_refused_with_a_reason(make, message):
    with pytest.raises((ValueError, KeyError, TypeError), match=message):
        make()


def test_an_array_without_labels_is_no_signal():
    with pytest.raises(TypeError, match=r"parts are of an xarray\.DataArray, got ndarray"):
        p.bands(X.values, [(1, 5)])


# ---- models asked with the sum


NET = torch.nn.Sequential(
    torch.nn.Conv1d(2, 4, 5), torch.nn.Tanh(), torch.nn.Flatten(), torch.nn.Linear(4 * 93, 3)
).double()
PARTS = p.bands(X, [(0, 3), (3, 9)])


def test_maps_of_parts_sum_to_the_map_of_the_signal():
    method = ta.IntegratedGradients(steps=8)
    whole = ta.explain(NET, X, method, target=1)
    parts = ta.explain(ta.models.summed(NET), PARTS, method, target=1)
    assert parts.attribution.dims == ("sample", "part", "lead", "time")
    np.testing.assert_allclose(parts.attribution.sum("part"), whole.attribution, atol=1e-12)
    np.testing.assert_allclose(parts.prediction, whole.prediction, atol=1e-12)
    assert parts.attrs["model"] == whole.attrs["model"]


@every
def test_integrated_gradients_of_parts_sum_to_those_of_the_signal(name):
    make, x = MAKERS[name]
    rng = np.random.default_rng(3)
    first, last = (torch.as_tensor(rng.normal(size=s) / x[0].size ** 0.5) for s in ((x[0].size, 5), (5,)))
    net = lambda x: torch.tanh(x.flatten(1) @ first) @ last  # noqa: E731
    method = ta.IntegratedGradients(steps=8)
    whole = ta.explain(net, x, method)
    parts = ta.explain(ta.models.summed(net), make(x), method)
    np.testing.assert_allclose(parts.attribution.sum("part"), whole.attribution, rtol=0, atol=1e-12)
    np.testing.assert_allclose(parts.prediction, whole.prediction, rtol=0, atol=1e-12)


def fourier_gradients(net, series, steps):
    """Integrated gradients of the coefficients of a real Fourier series, by loops: credit (frequencies,) of a series (n,)."""
    n = len(series)
    t = np.arange(n)
    total = np.zeros(n)
    for k in range(steps):
        point = torch.as_tensor((k + 0.5) / steps * series).requires_grad_()
        total += torch.autograd.grad(net(point[None]).sum(), point)[0].numpy() / steps
    credit = np.zeros(n // 2 + 1)
    for k in range(n // 2 + 1):
        once = k == 0 or 2 * k == n  # the mean, and the Nyquist frequency of an even length, stand alone
        for wave in (np.cos(2 * np.pi * k * t / n), np.sin(2 * np.pi * k * t / n)):
            coefficient = (1 if once else 2) / n * sum(wave[i] * series[i] for i in range(n))
            credit[k] += coefficient * sum(wave[i] * total[i] for i in range(n))
    return credit


@pytest.mark.parametrize("n", [96, 97])
def test_maps_of_bands_are_integrated_gradients_of_fourier_coefficients(n):
    x = signals(n).isel(lead=0)
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(n, 5), torch.nn.Tanh(), torch.nn.Linear(5, 1)).double()
    limits = [(0, 3), (3, 9), (9, None)]
    parts = p.bands(x, limits, ends="periodic")
    ds = ta.explain(ta.models.summed(net), parts, ta.IntegratedGradients(steps=8, rule="midpoint"))
    frequency = np.arange(n // 2 + 1) / (n / 50)
    for sample in range(3):
        credit = fourier_gradients(net, x.values[sample], 8)
        for name, (low, high) in zip(ds.part.values, limits):
            inside = (frequency >= low) & (frequency < (high or np.inf))
            found = float(ds.attribution[sample].sel(part=name).sum("time"))
            assert found == pytest.approx(credit[inside].sum(), abs=1e-12)


def test_a_filter_puts_all_on_its_band():
    def low_power(x):
        spectrum = torch.fft.rfft(x)
        spectrum[..., 6:] = 0  # below 3 Hz of 97 cells at 50 Hz
        return torch.fft.irfft(spectrum, x.shape[-1]).square().sum((1, 2))

    parts = p.bands(X, [(0, 3), (3, None)], ends="periodic")
    ds = ta.explain(ta.models.summed(low_power), parts, ta.IntegratedGradients(steps=4))
    np.testing.assert_allclose(ds.attribution.isel(part=0).sum(("lead", "time")), ds.prediction, rtol=1e-9)
    np.testing.assert_allclose(ds.attribution.isel(part=[1, 2]).sum(("lead", "time")), 0, atol=1e-9)


@pytest.mark.parametrize(
    "method",
    [
        ta.Occlusion(g.Windows(part=1, time="400ms"), b.Constant(0.0)),
        ta.ShapleySampling(g.Along("part"), b.Constant(0.0), draws=4),
        ta.ShapleyInteractions(g.Along("part"), b.Constant(0.0)),
    ],
)
def test_bands_and_windows_are_players(method):
    ds = ta.explain(ta.models.summed(NET), PARTS, method, target=1)
    assert ds.status.values.tolist() == ["ok"] * 3
    assert ds.sizes["group"] == (3 if isinstance(method.groups, g.Along) else 15)


def test_every_kind_of_model_is_asked_with_the_sum():
    expected = ta.explain(ta.models.on_arrays(lambda x: x[:, 0].max(1)), X, ta.Occlusion(g.Along("lead")))
    function = ta.models.summed(ta.models.on_arrays(lambda x: x[:, 0].max(1)))
    found = ta.explain(function, PARTS, ta.Occlusion(g.Along("lead")))
    np.testing.assert_allclose(found.group_value, expected.group_value, atol=1e-12)
    both = ta.models.summed(ta.models.Ensemble([NET, NET]))
    ds = ta.explain(both, PARTS, ta.Saliency(), target=0)
    assert float(ds.standard_error.max()) == 0
    data = xr.Dataset({"ecg": PARTS, "age": ("sample", np.ones(3))}).expand_dims(feature=1)
    data["ecg"] = PARTS
    many = ta.models.summed(lambda ecg, age: ecg.sum((1, 2)) + age[:, 0])
    ds = ta.explain(many, data.transpose("sample", ...), ta.InputXGradient())
    np.testing.assert_allclose(ds.attribution_ecg.sum(("part", "lead", "time")), X.sum(("lead", "time")), rtol=1e-12)
    number = xr.Dataset({"age": ("sample", np.ones(3)), "ecg": PARTS})  # one number a sample
    ds = ta.explain(ta.models.summed(lambda age, ecg: ecg.sum((1, 2)) + age), number, ta.InputXGradient())
    np.testing.assert_allclose(ds.attribution_ecg.sum(("part", "lead", "time")), X.sum(("lead", "time")), rtol=1e-12)
    np.testing.assert_allclose(ds.attribution_age, 1, rtol=1e-12)


def test_gaps_reach_the_model_as_gaps():
    holes = X.copy()
    holes[0, 0, 3] = np.nan
    seen = []

    def model(x):
        seen.append(torch.isnan(x).any().item())
        return torch.nan_to_num(x).sum((1, 2))

    ds = ta.explain(ta.models.summed(model), p.bands(holes, [(0, 3)]), ta.InputXGradient())
    assert any(seen)
    assert np.isnan(ds.attribution[0, :, 0, 3]).all()
    assert np.isfinite(ds.attribution[1]).all()


def test_an_input_without_parts():
    with pytest.raises(
        KeyError, match=r"the sum over dim 'part', which the input lacks; its dims are \['lead', 'time'\]"
    ):
        ta.explain(ta.models.summed(NET), X, ta.Saliency(), target=0)


def test_it_warns_of_nothing():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        p.bands(X, [(1, 5)])
