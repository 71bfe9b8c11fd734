import os
import re
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from tsattr import ecg
from tsattr.datasets import simulate_ecg

DATA = Path(os.environ.get("TSATTR_DATA", Path(__file__).parents[1].parent / "shared" / "data")) / "ecg"


def real_record(name, **options):
    from tsattr.io import read_wfdb

    path = DATA / "wfdb" / name
    if not path.with_suffix(".hea").exists():
        pytest.skip(f"no record {name}: TSATTR_DATA names no folder with the real records")
    return read_wfdb(path, **options)


def hits(true, found, tolerance=0.05):
    """Count true times that have exactly one found time nearby, and found times that have no true one."""
    near = abs(np.subtract.outer(true, found)) <= tolerance
    return int((near.sum(1) == 1).sum()), int((~near.any(0)).sum())


def marks(*seconds, n=400, rate=100.0):
    time = np.arange(n) / rate
    r = np.zeros(n, dtype=bool)
    r[[round(s * rate) for s in seconds]] = True
    return xr.DataArray(r, dims="time", coords={"time": ("time", time, {"units": "s"})})


def test_lead_names_change_case_only():
    assert [ecg.canonical_lead(name.lower()) for name in ecg.LEADS] == list(ecg.LEADS)
    assert [ecg.canonical_lead(name) for name in ("MLII", "PLETH", "vx")] == ["MLII", "PLETH", "vx"]


def test_limb_leads_are_those_of_the_simulator():
    x = simulate_ecg(3, dtype="float64").ecg
    six = ecg.limb_leads(x.sel(lead=["V1", "II", "I"]))
    xr.testing.assert_allclose(six, x.sel(lead=list(ecg.LIMB_LEADS)), atol=1e-12)
    turned = ecg.limb_leads(x.transpose("time", "lead", "sample").astype("float32"))
    assert turned.dims == ("time", "lead", "sample")
    assert turned.dtype == np.float32
    with pytest.raises(ValueError, match=r"\['II'\]"):
        ecg.limb_leads(x.sel(lead=["I", "V1"]))
    with pytest.raises(ValueError, match="'lead'"):
        ecg.limb_leads(x.isel(lead=0))


def test_lead_groups_join_dependent_leads_only():
    labels = ecg.lead_groups(simulate_ecg(1).ecg)
    assert labels.to_series().to_dict() == dict(ecg.LEAD_GROUPS)
    assert ecg.lead_groups(["i", "AVF", "III"]).values.tolist() == ["limb"] * 3
    assert ecg.lead_groups(["I", "i", "II", "MLII"]).values.tolist() == ["I", "I", "II", "MLII"]


def test_detector_finds_simulated_beats_of_every_kind():
    from tsattr.ecg.simulated_waves import LESIONS

    ds = simulate_ecg(100, lesions=tuple(LESIONS), seed=11)
    found = ecg.r_peaks(ds.ecg)
    counts = np.array([hits(ds.time.values[ds.r_peak[i]], ds.time.values[found[i]]) for i in range(100)]).sum(0)
    total = int(ds.r_peak.sum())
    assert counts[0] / total > 0.99
    assert counts[1] / total < 0.01
    assert found.attrs["detector"] == "derivative"
    assert found.attrs["count"] == int(found.sum())
    assert found.alternating_rr.dims == ("sample",)


def test_detector_does_not_mind_order_of_dims_or_gaps():
    x = simulate_ecg(3, seed=3).ecg
    found = ecg.r_peaks(x)
    turned = ecg.r_peaks(x.transpose("time", "sample", "lead"))
    assert turned.dims == ("time", "sample")
    xr.testing.assert_equal(turned.transpose("sample", "time"), found)
    xr.testing.assert_equal(ecg.r_peaks(x[0]), found[0].drop_vars("alternating_rr"))
    missing = (x.time > 4) & (x.time < 6)
    gapped = ecg.r_peaks(x.where(~missing).where(x.lead != "V3"))
    assert not gapped.where(missing, False).any()
    for i in range(3):
        clear = found[i].where((x.time < 3.9) | (x.time > 6.1), False)
        matched, extra = hits(x.time.values[clear], x.time.values[gapped[i]], tolerance=0.02)
        assert matched == clear.sum()
        assert extra <= 1  # a wave that is cut by the gap's edge
    assert ecg.r_peaks(x[0] * np.nan).attrs["count"] == 0
    assert ecg.r_peaks(x[0] * 0).attrs["count"] == 0


OTHERS = [
    "PLETH",
    "Pleth L",
    "PPG_1",
    "ABP",
    "ABP1",
    "ART",
    "CVP",
    "RESP",
    "Resp (sum)",
    "Respiration",
    "SpO2",
    "EEG C3-A2",
    "co2",
]


@pytest.mark.parametrize("name", OTHERS)
def test_channels_that_are_no_ecg_are_not_looked_at(name):
    x = simulate_ecg(1, seed=3).ecg[0]
    alone = ecg.r_peaks(x.sel(lead=["II", "V5"]))
    other = x.sel(lead=["V1"]).copy(data=100 * np.sin(np.arange(x.sizes["time"]) / 7)[None]).assign_coords(lead=[name])
    found = ecg.r_peaks(xr.concat([other, x.sel(lead=["II", "V5"])], "lead"))
    np.testing.assert_array_equal(found, alone)
    assert (found.attrs["leads"], found.attrs["detector"]) == ("II, V5", "derivative")
    with pytest.raises(ValueError, match=rf"none of these is one: {re.escape(name)} \(mV\); select ECG leads"):
        ecg.r_peaks(other)
    with pytest.raises(ValueError, match="none of these is one"):
        ecg.r_peaks(other[0])


@pytest.mark.parametrize("unit", ["mmHg", "%", "degC", "°C", "bpm", "Ω", "ohm", "NU", "adu"])
def test_units_that_no_ecg_has_tell_too(unit):
    x = simulate_ecg(1, seed=3).ecg[0].sel(lead=["II", "V5"]).assign_coords(lead=["II", "P1"])
    with pytest.raises(ValueError, match=re.escape(f"II ({unit}), P1 ({unit})")):
        ecg.r_peaks(x.assign_attrs(units=unit))
    with pytest.raises(ValueError, match="none of these"):
        ecg.r_peaks(x.drop_vars("lead").assign_attrs(units=unit))
    found = ecg.r_peaks(x.assign_coords(units=("lead", ["mV", unit])))
    assert found.attrs["leads"] == "II"
    np.testing.assert_array_equal(found, ecg.r_peaks(x.sel(lead=["II"])))


@pytest.mark.parametrize(
    "name", ["I", "MLII", "MCL1", "ECG 1", "vx", "D3", "CM5", "Artefact-free", "impedance corrected", "Pulsed"]
)
def test_other_names_of_leads_are_taken_for_an_ecg(name):
    x = simulate_ecg(1, seed=3).ecg[0].sel(lead=["II"])
    np.testing.assert_array_equal(ecg.r_peaks(x.assign_coords(lead=[name])), ecg.r_peaks(x))


def test_leads_in_several_units_count_alike():
    x = simulate_ecg(1, seed=3).ecg[0].sel(lead=["II", "V5"])
    factor = xr.DataArray([1e3, 1e-3], dims="lead")
    mixed = (x * factor).assign_coords(units=("lead", ["uV", "V"]))
    np.testing.assert_array_equal(ecg.r_peaks(mixed), ecg.r_peaks(x))


@pytest.mark.parametrize("level", [0.0, 5.0, -1e6])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_flat_line_has_no_beats_and_does_not_hide_those_of_others(level, dtype):
    x = simulate_ecg(1, seed=3).ecg[0].sel(lead=["II", "V5"]).astype(dtype)
    flat = x.where(x.lead == "II", level)
    assert ecg.r_peaks(flat.sel(lead=["V5"])).attrs["count"] == 0
    np.testing.assert_array_equal(ecg.r_peaks(flat), ecg.r_peaks(x.sel(lead=["II"])))


@pytest.mark.parametrize("value", [np.inf, -np.inf])
def test_infinite_samples_are_missing(value):
    x = simulate_ecg(1, seed=3).ecg[0].sel(lead=["II", "V5"])
    gap = (x.time > 4) & (x.time < 6)
    np.testing.assert_array_equal(ecg.r_peaks(x.where(~gap, value)), ecg.r_peaks(x.where(~gap)))


@pytest.mark.parametrize(
    ("unit", "size"), [("mv", 1), ("MV", 1), ("µV", 1000), ("UV", 1000), ("microvolts", 1000), ("v", 1e-3)]
)
def test_volts_are_known_however_they_are_written(unit, size):
    x = simulate_ecg(1, seed=3).ecg[0].sel(lead=["II", "V5"])
    mixed = (x * xr.DataArray([size, 1.0], dims="lead")).assign_coords(units=("lead", [unit, "mV"]))
    np.testing.assert_array_equal(ecg.r_peaks(mixed), ecg.r_peaks(x))


def test_annotations_go_before_the_detector():
    x = simulate_ecg(1).ecg[0]
    code = np.zeros(x.sizes["time"], dtype=int)
    code[[100, 300]], code[200] = 1, 28
    attrs = {"flag_values": np.array([0, 1, 28]), "flag_meanings": "none N +"}
    annotated = x.assign_coords(annotation=("time", code, attrs))
    found = ecg.r_peaks(annotated)
    assert np.flatnonzero(found).tolist() == [100, 300]
    assert found.attrs["detector"] == "annotation"
    assert ecg.r_peaks(annotated, method="derivative").attrs["count"] > 5
    with pytest.raises(ValueError, match="no coordinate 'annotation'"):
        ecg.r_peaks(x, method="annotation")
    with pytest.raises(ValueError, match="flag_meanings"):
        ecg.r_peaks(x.assign_coords(annotation=("time", code)))


def test_alternating_intervals_are_flagged():
    x = simulate_ecg(1).ecg[0]
    attrs = {"flag_values": np.array([0, 1]), "flag_meanings": "none N"}

    def annotated(cells):
        code = np.zeros(x.sizes["time"], dtype=int)
        code[cells] = 1
        return x.assign_coords(annotation=("time", code, attrs))

    assert ecg.r_peaks(annotated(np.arange(0, 1000, 90))).attrs["alternating_rr"] == 0
    twice = np.sort(np.concatenate([np.arange(0, 960, 90), np.arange(34, 960, 90)]))
    assert ecg.r_peaks(annotated(twice)).attrs["alternating_rr"] == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x: x.drop_vars("time"), "coordinate in seconds"),
        (lambda x: x.assign_coords(time=("time", x.time.values, {"units": "ms"})), "'ms'"),
        (lambda x: x.isel(time=[0, 1, 2, 5, 9, *range(10, 300)]), "evenly spaced"),
        (lambda x: x.rename(lead="channel"), "dims"),
        (lambda x: x.isel(time=slice(50)), "at least 1 s"),
    ],
)
def test_what_the_detector_cannot_use_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        ecg.r_peaks(change(simulate_ecg(1).ecg[0]))
    with pytest.raises(ValueError, match="method"):
        ecg.r_peaks(simulate_ecg(1).ecg[0], method="xqrs")


def test_beats_reach_halfway():
    number = ecg.beats(marks(1.0, 2.0, 2.6))
    at = {0.4: 0, 0.6: 1, 1.4: 1, 1.6: 2, 2.2: 2, 2.4: 3, 2.8: 3, 3.0: 0}
    assert {t: int(number.sel(time=t, method="nearest")) for t in at} == at
    assert set(ecg.beats(marks()).values) == {0}
    assert set(ecg.beats(marks(1.0)).values) == {1}
    both = xr.concat([marks(1.0, 2.0), marks()], dim="sample")
    assert ecg.beats(both).max("time").values.tolist() == [2, 0]
    with pytest.raises(TypeError, match="booleans"):
        ecg.beats(number)


def test_waves_are_the_table_of_windows():
    code = ecg.waves(marks(1.0, 2.0))
    at = {0.75: 0, 0.78: 1, 0.91: 1, 0.93: 0, 0.95: 2, 1.05: 2, 1.07: 3, 1.13: 3, 1.15: 4, 1.43: 4, 1.45: 0}
    assert {t: int(code.sel(time=t, method="nearest")) for t in at} == at
    assert "presence not checked" in code.attrs["evidence"]
    fast = ecg.waves(marks(1.0, 1.4, 1.8))
    assert int(fast.sel(time=1.2, method="nearest")) == ecg.WAVES.index("P")  # P of the next beat before T of this
    assert int(fast.sel(time=1.8 + 0.44 * np.sqrt(0.4) + 0.02, method="nearest")) == 0
    no_p = ecg.waves(marks(1.0, 2.0), absent=["P"])
    assert not (no_p == 1).any()
    assert "stated absent: P" in no_p.attrs["evidence"]
    with pytest.raises(ValueError, match="'U'"):
        ecg.waves(marks(1.0), absent="U")


def test_nominal_waves_agree_with_the_simulator():
    ds = simulate_ecg(5, lesions=(), variability=0)
    code = ecg.waves(ds.r_peak)
    for wave in ("P", "QRS", "T"):
        middle = (ds.wave == ecg.WAVES.index(wave)) & (ds.time > 1) & (ds.time < 9)
        assert float((code == ecg.WAVES.index(wave)).values[middle.values].mean()) > 0.6


@pytest.fixture
def explained():
    ds = simulate_ecg(4, seed=8)
    rng = np.random.default_rng(0)
    a = ds.ecg.copy(data=rng.normal(size=ds.ecg.shape)).assign_attrs(units="1")
    return ds, a.where(rng.uniform(size=a.shape) > 0.05)


@pytest.mark.parametrize("kind", ["lead", "wave", "beat"])
def test_sums_add_up_to_the_total(explained, kind):
    ds, a = explained
    by = {
        "lead": lambda a: ecg.by_lead(a),
        "wave": lambda a: ecg.by_wave(a, ds.wave),
        "beat": lambda a: ecg.by_beat(a, ds.beat),
    }
    result = by[kind](a)
    dims = ["sample", "lead"] if kind == "lead" else ["sample", "lead", kind]
    assert list(result.signed.dims) == dims
    total = result.sum(dims[1:])
    np.testing.assert_allclose(total.signed, a.sum(("lead", "time")), rtol=1e-12)
    np.testing.assert_allclose(total.absolute, abs(a).sum(("lead", "time")), rtol=1e-12)
    np.testing.assert_array_equal(total.cells, a.count(("lead", "time")))
    assert result.signed.attrs["units"] == "1"
    per_row = by[kind](a.transpose("time", "lead", "sample"))
    xr.testing.assert_allclose(per_row.transpose(*result.dims), result, rtol=1e-12)


def test_sums_are_those_of_a_loop(explained):
    ds, a = explained
    result = ecg.by_wave(a, ds.wave)
    assert result.wave.values.tolist() == ["other", "P", "QRS", "ST", "T"]
    for i, lead, code in [(0, 3, 0), (1, 0, 2), (3, 11, 4)]:
        cells = [v for v, w in zip(a.values[i, lead], ds.wave.values[i]) if w == code and not np.isnan(v)]
        np.testing.assert_allclose(result.signed[i, lead, code], sum(cells), rtol=1e-12)
        np.testing.assert_allclose(result.absolute[i, lead, code], sum(map(abs, cells)), rtol=1e-12)
        assert int(result.cells[i, lead, code]) == len(cells)


def test_sums_keep_other_dims_and_shared_labels(explained):
    ds, a = explained
    several = xr.concat([a, 2 * a], dim="target")
    shared = ds.wave[0].drop_vars("sample")
    result = ecg.by_wave(several, shared)
    assert set(result.signed.dims) == {"target", "sample", "lead", "wave"}
    xr.testing.assert_allclose(result.signed[1], ecg.by_wave(2 * a, shared).signed)
    single = ecg.by_beat(a[0], ds.beat[0])
    assert single.signed.dims == ("lead", "beat")
    assert single.beat.values.tolist() == list(range(int(ds.beat[0].max()) + 1))


def test_labels_that_do_not_fit_are_refused(explained):
    ds, a = explained
    with pytest.raises(ValueError, match="differ along 'time'"):
        ecg.by_wave(a, ds.wave.isel(time=slice(10)))
    with pytest.raises(ValueError, match="dims of the attribution"):
        ecg.by_wave(a[0], ds.wave)
    with pytest.raises(ValueError, match="from 0 to 2"):
        ecg.by_wave(a, ds.wave.assign_attrs(flag_meanings="none P QRS", flag_values=np.arange(3)))
    with pytest.raises(ValueError, match="lie at different places along"):
        ecg.by_wave(a, ds.wave.assign_coords(time=ds.time + 1))


@pytest.mark.data
def test_detector_on_record_100():
    x = real_record("100", annotator="atr", stop=120)
    true, found = ecg.r_peaks(x), ecg.r_peaks(x, method="derivative")
    assert true.attrs == {"detector": "annotation", "count": 148, "alternating_rr": 0}
    assert hits(true.time.values[true], found.time.values[found]) == (148, 0)


@pytest.mark.data
def test_detector_on_a_record_of_fifteen_leads():
    x = real_record("s0010_re", dtype="float64")
    found = ecg.r_peaks(x)
    assert found.attrs["count"] == 52
    assert np.ptp(np.diff(found.time.values[found])) < 0.1
    recorded = x.sel(lead=list(ecg.LIMB_LEADS))
    assert abs(ecg.limb_leads(x) - recorded).max() < 0.0015  # 1 uV, and the rounding of storage
