"""Edits of beats: what they change and what they leave, and what models that lean on one thing answer to them."""

import numpy as np
import pytest
import torch
import xarray as xr

import tsattr as ta
from tsattr import ecg
from tsattr.datasets import simulate_ecg
from tsattr.ecg import edits
from tsattr.ecg.response import STANDARD

RATE = 250.0
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*have a QRS of 0.12 s or more"),
    pytest.mark.filterwarnings("ignore:.*moved only as far as"),
    pytest.mark.filterwarnings("ignore:.*have a QRS that lasts only as long"),
]


@pytest.fixture(scope="module")
def records():
    d = simulate_ecg(3, lesions=[], sampling_rate=RATE, seed=1, noise=0.005, dtype="float64")
    return d.ecg, ecg.delineate(d.ecg, d.r_peak), d.r_peak


def every_edit(x, measured):
    swap = edits.SwapBeats.fit(x, measured)
    return [
        (edits.Scale("P"), 0.0),
        (edits.Scale("QRS"), 0.5),
        (edits.Scale("ST"), 2.0),
        (edits.Scale("T"), -1.0),
        (edits.RaiseST(), 0.2),
        (edits.WidenQRS(), 1.5),
        (edits.MoveBeats(), 0.9),
        (edits.EvenRhythm(), 1.0),
        (swap, 1.0),
    ]


@pytest.mark.parametrize("k", range(9))
def test_what_all_edits_have_in_common(records, k):
    x, measured, _ = records
    edit, dose = every_edit(x, measured)[k]
    edited = edit(x, measured, dose)
    assert (edited.dims, edited.dtype) == (x.dims, x.dtype)
    assert edited.attrs["edit"] == edit.label(dose)
    assert not edited.equals(x)
    # a neutral dose changes nothing; one record is as in the batch; the order of dims is the user's
    np.testing.assert_array_equal(edit(x, measured, edit.neutral), x)
    alone = edit(x[1], measured.isel(sample=1), dose)
    np.testing.assert_array_equal(alone, edited[1])
    turned = edit(x.transpose("time", "sample", "lead"), measured, dose)
    np.testing.assert_array_equal(turned.transpose(*x.dims), edited)
    # no jump that was not there, and limb leads that are combinations of I and II
    assert abs(edited.diff("time")).max() < 1.05 * max(1, abs(dose)) * abs(x.diff("time")).max()
    limb = ecg.limb_leads(edited)
    np.testing.assert_allclose(edited.sel(lead=limb.lead), limb, atol=1e-9)
    # beats that are not chosen stay as they are
    one = (measured.beat == 4) & measured.r.notnull()
    far = edit(x, measured, dose, beats=one)
    r = measured.r.sel(beat=[3, 5])
    for i in range(3):
        outside = (x.time < float(r[i, 0]) - 0.02) | (x.time > float(r[i, 1]) + 0.02)
        np.testing.assert_array_equal(far[i].where(outside), x[i].where(outside))


@pytest.mark.parametrize("wave", ["P", "T"])
def test_scaling_is_over_the_line_between_the_ends(records, wave):
    x, measured, _ = records
    on, off = (float(measured[v].sel(wave=wave, beat=3)[0]) for v in ("onset", "offset"))
    part = x[0].sel(time=slice(on - 1e-9, off - 1e-6), lead="II")
    line = np.linspace(part.values[0], part.values[-1], part.size)
    for dose in (0.0, 0.5, -1.0, 2.0):
        edited = edits.Scale(wave)(x, measured, dose)[0].sel(time=part.time, lead="II")
        np.testing.assert_allclose(edited, line + dose * (part - line), atol=1e-12)
    only = edits.Scale(wave, leads=["v2"])(x, measured, 0.0)
    changed = (only != x).any(("sample", "time"))
    assert changed.lead[changed].values.tolist() == ["V2"]


def test_beats_that_move_keep_their_shape_and_their_neighbours(records):
    x, measured, _ = records
    one = (measured.beat == 4) & measured.r.notnull()
    edited = edits.MoveBeats()(x, measured, 0.9, beats=one)
    for i in range(3):
        r = measured.r[i].values
        shift = round(-0.1 * (r[3] - r[2]) * RATE)
        at = round(r[3] * RATE)
        qrs = slice(at - 15, at + 16)
        np.testing.assert_allclose(
            edited[i].values[:, qrs.start + shift : qrs.stop + shift], x[i].values[:, qrs], atol=1e-9
        )
    found = ecg.r_peaks(edited)
    again = np.diff(edited.time.values[found[0].values])
    before = np.diff(measured.r[0].dropna("beat"))
    np.testing.assert_allclose(again[2] / before[2], 0.9, atol=0.015)
    np.testing.assert_allclose(again[2:4].sum(), before[2:4].sum(), atol=0.01)


def test_a_beat_goes_no_farther_than_its_neighbours_let_it(records):
    x, measured, _ = records
    with pytest.warns(UserWarning, match="only as far as their neighbours let them"):
        edits.MoveBeats()(x, measured, 0.3)


@pytest.mark.parametrize("dose", [2.0, 3.0])
def test_no_beat_leaves_the_record(records, dose):
    x, measured, r = (a.isel(sample=0) for a in records)
    edited = edits.MoveBeats()(x, measured, dose)
    peak = x.sel(lead="II", time=float(measured.r[-2]))
    peaks = edited.sel(lead="II", time=slice(float(measured.r[-2]), None))
    assert float(peaks.max()) > 0.9 * float(peak)
    found = ecg.r_peaks(edited, method="derivative")
    assert int(found.sum()) == int(r.sum())
    assert float(abs(edited.diff("time")).max()) < 1.05 * float(abs(x.diff("time")).max())  # nothing is squeezed


def test_an_even_rhythm_is_even(records):
    x, measured, _ = records
    even = edits.EvenRhythm()(x, measured, 1.0)
    gaps = np.diff(even.time.values[ecg.r_peaks(even)[0].values])
    assert np.ptp(gaps) < 0.02 < np.ptp(np.diff(measured.r[0].dropna("beat")))


@pytest.mark.parametrize("dose", [1.5, 1.25])
def test_a_wider_qrs_is_measured_wider(records, dose):
    x, measured, r_peak = records
    again = ecg.delineate(edits.WidenQRS()(x, measured, dose), r_peak)
    width = [(m.offset - m.onset).sel(wave="QRS").median() for m in (measured, again)]
    np.testing.assert_allclose(width[1] / width[0], dose, rtol=0.12)


@pytest.mark.filterwarnings("default")
def test_a_qrs_that_finds_no_room_says_so(records):
    x, measured, _ = records
    n = int(measured.r.count())
    with pytest.warns(
        UserWarning, match=f"^{n} of {n} beats have a QRS that lasts only as long as P and T leave"
    ) as told:
        edits.WidenQRS()(x, measured, 20.0)
    assert x.sizes["sample"] > len(told) == 1  # of all records together
    assert told[0].filename == __file__


def test_a_raised_st_territory_has_its_reciprocal_change(records):
    x, measured, _ = records
    change = edits.RaiseST(leads=["II", "III", "aVF"])(x, measured, 0.2) - x
    end = float(measured.offset.sel(wave="QRS", beat=3)[0])
    at = change[0].sel(time=end + 0.04, method="nearest")
    expected = {"I": 0, "II": 0.2, "III": 0.2, "aVF": 0.2, "aVR": -0.1, "aVL": -0.1, "V2": 0}
    for lead, height in expected.items():
        np.testing.assert_allclose(at.sel(lead=lead), height, atol=1e-9)
    microvolts = (1e3 * x).assign_attrs(units="uV")
    np.testing.assert_allclose(
        edits.RaiseST()(microvolts, measured, 0.1), 1e3 * edits.RaiseST()(x, measured, 0.1), atol=1e-9
    )


def test_swapped_beats_are_the_median_and_keep_their_times(records):
    x, measured, _ = records
    swap = edits.SwapBeats.fit(x[:1], measured.isel(sample=[0]))
    edited = swap(x, measured, 1.0)
    np.testing.assert_array_equal(
        np.abs(edited.time.values[ecg.r_peaks(edited)[0]] - measured.r[0].dropna("beat")) < 0.02, True
    )
    shapes = [
        edited[0].sel(lead="V4").values[round(r * RATE) - 10 : round(r * RATE) + 10] for r in measured.r[0].values[2:6]
    ]
    apart = np.ptp([s - s[0] for s in shapes], axis=0).max()
    assert (
        apart
        < 0.5
        * np.ptp(
            [
                x[0].sel(lead="V4").values[round(r * RATE) - 10 : round(r * RATE) + 10]
                for r in measured.r[0].values[2:6]
            ],
            axis=0,
        ).max()
    )


def test_missing_cells_stay_missing(records):
    x, measured, _ = records
    gap = x.where((x.time < 2) | (x.time > 2.4))
    for edit, dose in [e for e in every_edit(x, measured) if e[0].kind == "shape"]:
        edited = edit(gap, measured, dose)
        assert np.isfinite(edited.sel(time=slice(6, 7))).all()
        assert np.isnan(edited.sel(time=slice(2.1, 2.3))).all()


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (lambda x, m: edits.Scale("U"), 'wave is "P", "QRS", "ST" or "T", got \'U\''),
        (lambda x, m: edits.Scale("P")(x, m, np.nan), "a dose is a finite number"),
        (lambda x, m: edits.Scale("P")(x[0], m, 0), "give `delineate` of this ecg"),
        (lambda x, m: edits.Scale("P")(x[:2], m, 0), "measured is of 3 samples, ecg has 2"),
        (lambda x, m: edits.Scale("P")(x[::-1], m, 0), "measured is of other samples, or in another order"),
        (lambda x, m: ecg.leaning(torch.nn.Flatten(), x, measured=m, edits={}), "there is nothing to edit"),
        (lambda x, m: edits.Scale("P", leads=["X"])(x, m, 0), "no lead 'X'"),
        (lambda x, m: edits.Scale("P")(x, m, 0, beats=m.r), "beats is True or False along"),
        (lambda x, m: edits.WidenQRS()(x, m, -1), "a positive multiple"),
        (lambda x, m: edits.MoveBeats()(x, m, 0), "a positive multiple"),
        (lambda x, m: edits.SwapBeats.fit(x[:, :2], m)(x, m, 1), "fit it to these"),
        (lambda x, m: edits.SwapBeats.fit(x, m, m.r < 0), "no beat to take the median of"),
        (lambda x, m: ecg.dose(torch.nn.Flatten(), x, edits.Scale("P"), [], measured=m), "there is no dose"),
        (
            lambda x, m: ecg.dose(torch.nn.Flatten(), x, edits.Scale("P"), [0], measured=m, patient=[1]),
            "patient names 1 samples, x has 3",
        ),
    ],
)
def test_what_makes_no_sense_is_refused(records, wrong, told):
    with pytest.raises(ValueError, match=told):
        wrong(*records[:2])


@pytest.mark.parametrize("wrong", [edits.Scale("P"), (edits.Scale("P"),), ("P", 0.0)])
def test_an_edit_without_its_dose_says_how_it_is_given(records, wrong):
    x, measured, _ = records
    with pytest.raises(TypeError, match=r"pairs of an edit of tsattr\.ecg\.edits and its dose.*'a' is "):
        ecg.leaning(torch.nn.Flatten(), x, measured=measured, edits={"a": wrong})
    with pytest.raises(TypeError, match="pairs of an edit"):
        ecg.dose(torch.nn.Flatten(), x, "P", [0, 1], measured=measured)


@pytest.mark.parametrize(
    "call",
    [
        lambda *given, **more: ecg.dose(*given, edits.Scale("P"), [0.0, 1.0], **more),
        lambda *given, **more: ecg.leaning(*given, edits={"P": (edits.Scale("P"), 0.0)}, **more),
    ],
)
def test_one_patient_has_no_interval_and_says_so(records, call):
    x, measured, _ = records
    with pytest.warns(ta.ExplanationWarning, match="are of one patient: an interval over patients takes two at least"):
        found = call(lambda v: v.mean((1, 2))[:, None], x, measured=measured, patient=np.zeros(3))
    assert np.isfinite(found["mean"]).all()
    assert np.isnan(found.low).all()
    assert not found.apart.any()


# ---- models that lean on one thing


def measure(values, what):
    """What a model that leans on one thing gives of records (n, lead, time)."""
    found = []
    for x in np.asarray(values, float):
        mark = ecg.r_peaks(xr.DataArray(x, dims=("lead", "time"), coords={"time": np.arange(x.shape[1]) / RATE}))
        r = np.flatnonzero(mark.values)[1:-1]
        lead = x[1]
        if what == "RR":
            value = np.mean(np.abs(np.diff(r, 2))) / RATE
        elif what == "P":
            value = np.mean([np.ptp(lead[k - 60 : k - 20]) for k in r])
        elif what == "ST":
            value = np.mean([lead[k + 25] - lead[k - 18] for k in r])
        else:
            value = np.mean([(lead[k - 30 : k + 30] > lead[k] / 2).sum() for k in r]) / RATE  # at half its height
        found.append([value])
    return np.array(found)


@pytest.mark.parametrize(
    ("what", "edit", "change"),
    [
        ("RR", "RR before x 0.8", 0.3),
        ("P", "P x 0", -0.05),
        ("ST", "ST + 0.1 mV", 0.1),
        ("QRS", "QRS lasts x 1.5", 0.004),
    ],
)
def test_exactly_the_edit_of_what_the_model_leans_on_moves_it(what, edit, change):
    d = simulate_ecg(6, lesions=[], sampling_rate=RATE, seed=4, noise=0.003, wander=0.0, dtype="float64")
    measured = ecg.delineate(d.ecg, d.r_peak)
    every = xr.zeros_like(measured.r, dtype=int).assign_coords(beat=measured.beat)
    odd = xr.where((every.beat % 2 == 0) & measured.r.notnull(), "even", "")
    model = ta.models.on_arrays(lambda v: measure(v, what))
    table = ecg.leaning(model, d.ecg, measured=measured, classes=odd, check=False)
    found = table["mean"].sel({"class": "even"})
    assert table.kind.values.tolist() == ["timing", "shape", "shape", "shape", "shape"]
    own = abs(found.sel(edit=edit).item())
    assert np.sign(found.sel(edit=edit)) == np.sign(change)
    assert own > 0.25 * abs(change)
    for other in table.edit.values:
        if other != edit:
            assert abs(found.sel(edit=other).item()) < 0.2 * own
    assert table.low.sel(edit=edit).item() * table.high.sel(edit=edit).item() > 0
    if what != "RR":  # of which records without any beat, as their removal makes, have none
        whole = ecg.leaning(model, d.ecg, measured=measured, edits={edit: STANDARD[edit]}, check=False)
        assert np.sign(whole["mean"].item()) == np.sign(change)
    if what == "RR":  # taking the beats' cells away says less of when they come
        assert table.removal.sel(edit=edit).notnull().all()


def test_the_answer_to_a_dose_is_the_models_and_its_interval_that_of_patients():
    d = simulate_ecg(6, lesions=[], sampling_rate=RATE, seed=2, dtype="float64")
    measured = ecg.delineate(d.ecg, d.r_peak)
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(d.ecg[0].size, 2)).double()
    patient = np.array([0, 0, 1, 1, 2, 2])
    found = ecg.dose(net, d.ecg, edits.Scale("T"), [0, 1, 2], measured=measured, patient=patient, target=1)
    for k, amount in enumerate([0, 1, 2]):
        edited = edits.Scale("T")(d.ecg, measured, amount)
        with torch.no_grad():
            expected = net(torch.as_tensor(edited.values))[:, 1]
        np.testing.assert_allclose(found.output.isel(dose=k), expected, rtol=1e-9)
    np.testing.assert_allclose(found.change.sel(dose=1), 0, atol=1e-12)
    interval = ta.metrics.bootstrap(found.change.transpose(..., "sample").values, patient)
    np.testing.assert_allclose(found.low, interval.low)
    np.testing.assert_allclose(found["mean"], interval.mean)
    assert found.edit.values.tolist() == ["T x 0", "T x 1", "T x 2"]
    assert found.attrs["patients"] == 3


def test_how_far_off_the_data_a_dose_goes_grows_with_it():
    d = simulate_ecg(60, lesions=[], seed=2)
    measured = ecg.delineate(d.ecg[:4], d.r_peak[:4])
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(d.ecg[0].size, 2))
    found = ecg.dose(net, d.ecg[:4], edits.RaiseST(), [0, 0.5, 3.0], measured=measured, target=0, reference=d.ecg[4:])
    shift = found["shift"].mean("sample").values
    assert shift[0] == pytest.approx(found.shift_intact.isel(dose=0).mean().item(), rel=1e-6)
    assert shift[0] < shift[1] < shift[2]


def test_the_removal_of_a_stretched_qrs_does_not_go_through_r(records):
    x, measured, _ = records
    largest = lambda z: z.amax(dim=(1, 2))[:, None]  # noqa: E731
    found = ecg.leaning(largest, x, measured=measured, edits={"QRS": (edits.WidenQRS(), 1.5)})
    assert found.removal.item() < -0.3 * float(x.max(["lead", "time"]).mean())


def test_an_edited_record_is_a_removal():
    d = simulate_ecg(2, lesions=[], sampling_rate=RATE, seed=2, dtype="float64")
    measured = ecg.delineate(d.ecg, d.r_peak)
    waves = ecg.waves(d.r_peak, measured=measured)
    edited = edits.Scale("T")(d.ecg, measured, 0.0)
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(d.ecg[0].size, 2)).double()
    ds = ta.explain(net, d.ecg, ta.Occlusion(ta.groups.Labelled(waves), ta.baselines.Constant(edited)), target=0)
    value = ds.group_value.sel(group=[g for g in ds.group.values if "P" in str(g)])
    np.testing.assert_allclose(value, 0, atol=1e-12)
    whole = ecg.dose(net, d.ecg, edits.Scale("T"), [0], measured=measured, target=0)
    np.testing.assert_allclose(ds.group_value.sum("group"), -whole.change.isel(dose=0), atol=1e-9)
