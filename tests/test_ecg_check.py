"""The check of a model and its maps: right claims for right maps of models whose ways are known, and none for wrong maps."""

from dataclasses import dataclass
from functools import cache
from typing import ClassVar
from zlib import crc32

import numpy as np
import pytest
import torch
from scipy.signal import find_peaks

import tsattr as ta
from tsattr import ecg
from tsattr.datasets import simulate_ecg
from tsattr.ecg.claims import Claim, judged, mean_over, rate_over
from tsattr.testing import EVENT, Field, Method

RATE = 250
OWN = {"RR": "one beat early", "P": "P x 0", "ST": "ST + 0.2 mV", "QRS": "QRS lasts x 1.5"}
EDITS = {"RR": "RR before x 0.8", "P": "P x 0", "ST": "ST + 0.1 mV", "QRS": "QRS lasts x 1.5"}
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*have a QRS of 0.12 s or more"),
    pytest.mark.filterwarnings("ignore:.*moved only as far as"),
    pytest.mark.filterwarnings("ignore:.*have a QRS that lasts only as long"),
]


def read(x, what):
    """What a model that reads one thing in lead II says of a record (lead, time), and the cells that it is read from: they sum to it."""
    lead, a = np.asarray(x[1], float), np.zeros(x.shape)
    r, _ = find_peaks(lead, height=0.5 * np.quantile(lead, 0.999), distance=75)
    for k in r[(r > 70) & (r < len(lead) - 70)]:
        if what == "P":
            a[1, k - 42 : k - 30] = lead[k - 42 : k - 30] / 12
        elif what == "ST":
            a[1, k + 21 : k + 23] = lead[k + 21 : k + 23] / 2
        elif what == "QRS":
            a[1, k - 25 + np.flatnonzero(lead[k - 25 : k + 25] > lead[k] / 2)] = 1 / RATE
    if what == "RR" and len(r) > 2:
        rr = np.diff(r) / RATE
        a[1, r[1:]] = np.maximum(abs(rr - np.median(rr)) - 0.02, 0)
    a /= max(1, len(r))
    return a.sum(), a


def reader(what):
    return ta.models.on_arrays(lambda v: np.array([[read(x, what)[0]] for x in v]))


@dataclass(frozen=True)
class Shown(Method):
    """A map by formula: of a reader, of edges, or of chance."""

    what: str
    gradient: ClassVar[bool] = False
    in_target_units: ClassVar[bool] = False
    sentence: ClassVar[str] = "A map by formula."

    def __call__(self, samples):
        x = samples.x
        if self.what == "edges":
            a = torch.diff(x, dim=-1, prepend=x[..., :1]).abs()
        elif self.what == "nothing":
            a = torch.zeros_like(x)
        elif self.what == "chance":
            a = torch.as_tensor(
                np.stack([np.random.default_rng(crc32(v.tobytes())).normal(size=v.shape) for v in x.numpy()])
            )
        else:
            a = torch.as_tensor(np.stack([read(v, self.what)[1] for v in x.numpy()]))
        assert samples.prediction.shape[1] == 1
        return {"attribution": Field(("target", EVENT), a[:, None].double())}

    def rows(self):
        return 1, 1


@pytest.fixture(scope="module")
def records():
    d = simulate_ecg(
        10,
        lesions=(),
        sampling_rate=RATE,
        duration=6.0,
        noise=0.005,
        wander=0.0,
        distractor=False,
        seed=3,
        dtype="float64",
    )
    return d.ecg, ecg.delineate(d.ecg, d.r_peak)


@pytest.fixture(scope="module")
def checked(records):
    """A check of a reader by a map, made once."""
    x, measured = records
    return cache(lambda what, shown: ecg.check(reader(what), x, Shown(shown), measured=measured))


def verdicts(found, part):
    at = found.isel(claim=(found.part == part).values)
    return dict(zip(at.claim.values.tolist(), at.verdict.values.tolist()))


@pytest.mark.parametrize("what", OWN)
def test_a_right_map_of_a_model_that_reads_one_thing(checked, what):
    found = checked(what, what)
    planted = verdicts(found, "planted")
    timing = planted.pop("planted one beat early")
    assert set(planted.values()) | ({timing} if what == "RR" else set()) == {"supported"}
    assert timing == ("supported" if what == "RR" else "cannot be told")
    for name in OWN.values():  # it points to what the model answers to, and to nothing else
        points = "points to" in found.sentence.sel(claim=f"planted {name}").item()
        assert points == (name == OWN[what])
    answers = {name for name, v in verdicts(found, "edits").items() if v == "supported"}
    assert answers == {f"edit {EDITS[what]}"} | (set() if what == "RR" else {"waves"})
    if what in ("P", "QRS"):  # a level bridged is the level still, and a beat away is no other time
        assert verdicts(found, "removal") == {"removal": "supported"}
    assert verdicts(found, "weights") == {"weights": "not run"}
    assert "OnArrays has no weights" in found.sentence.sel(claim="weights").item()


@pytest.mark.parametrize("what", OWN)
@pytest.mark.parametrize("wrong", ["edges", "chance"])
def test_a_wrong_map_is_not_believed_whatever_the_model_reads(checked, what, wrong):
    right, found = checked(what, what), checked(what, wrong)
    of_model = found.method.values == ""
    assert found.verdict.values[of_model].tolist() == right.verdict.values[of_model].tolist()
    planted = verdicts(found, "planted")
    points = planted.pop(f"planted {OWN[what]}")
    assert "not supported" in planted.values()
    assert planted.get("planted P x 0", "not supported") == "not supported"
    if wrong == "chance":
        assert points == "not supported"
        assert "supported" not in {*planted.values(), *verdicts(found, "removal").values()}
        assert verdicts(found, "edits")["waves"] != "supported"
    elif what in ("P", "ST"):  # of QRS, edges are right
        assert verdicts(found, "edits")["waves"] == "not supported"


def test_a_map_that_shows_nothing_points_to_nothing(records):
    x, measured = records
    planted = verdicts(ecg.check(reader("P"), x, Shown("nothing"), measured=measured, subjects=6), "planted")
    assert planted.pop("planted P x 0") == "not supported"
    assert set(planted.values()) == {"cannot be told"}


def test_a_model_that_ignores_its_input_has_nothing_to_be_told_of(records):
    x, measured = records
    found = ecg.check(lambda v: 0 * v.mean((1, 2))[:, None] + 3, x, Shown("edges"), measured=measured, subjects=6)
    assert set(verdicts(found, "planted").values()) == {"cannot be told"}
    edited = verdicts(found, "edits")
    assert edited.pop("waves") == "cannot be told"
    assert {*edited.values(), *verdicts(found, "removal").values()} == {"not supported"}
    assert "to nothing that is planted" in found.sentence.values[0]


def test_of_one_patient_nothing_can_be_told(records):
    x, measured = records
    found = ecg.check(reader("P"), x, Shown("P"), measured=measured, patient=np.zeros(10), subjects=6)
    for part in ("removal", "edits"):
        assert set(verdicts(found, part).values()) == {"cannot be told"}
    assert (
        found.sentence.sel(claim="edit P x 0")
        .item()
        .endswith("n = 1 patient. Fewer than 6 patients could all be on one side by chance.")
    )
    assert verdicts(found, "planted")["planted P x 0"] == "supported"  # of simulated subjects
    assert "10 records of 1 patients" in found.attrs["verdict"]


def test_five_patients_are_too_few_and_their_interval_is_told():
    five = Claim("p", "a", "five agree", "", "by", *mean_over([1.0, 1.1, 1.2, 1.1, 1.0], np.arange(5)))
    six = Claim("p", "b", "six agree", "", "by", *mean_over([1.0, 1.1, 1.2, 1.1, 1.0, 1.1], np.arange(6)))
    table = judged([five, six], 0.95)
    assert table.verdict.values.tolist() == ["cannot be told", "supported"]
    assert "by 1.08 [0.976, 1.18], n = 5 patients. Fewer than 6" in table.sentence.values[0]
    assert table.attrs["level_of_each"] == pytest.approx(0.975)


def test_claims_are_judged_together():
    v = np.array([0.2, 1.4, 0.9, -0.1, 1.0, 0.6, 0.1, 0.9])
    claim = Claim("p", "a", "it is", "", "by", *mean_over(v, np.arange(8)))
    assert judged([claim], 0.95).verdict.item() == "supported"
    assert judged([claim] * 20, 0.95).verdict.values.tolist() == ["not supported"] * 20
    assert judged([claim] * 20, 0.95).low.values[0] == judged([claim], 0.95).low.item() > 0


def test_a_rate_has_the_interval_of_clopper_and_pearson():
    from scipy.stats import binomtest

    rate, interval, n = rate_over([1, 1, 0, 1, np.nan, 0, 1], np.array([0, 0, 1, 2, 2, 3, 4]))
    expected = binomtest(3, 5).proportion_ci(0.95, "exact")
    assert (rate, n) == (0.6, 5)
    np.testing.assert_allclose(interval(0.95), expected)
    assert rate_over(np.ones(6), np.arange(6))[1](0.95)[1] == 1


def test_the_same_seed_says_the_same_and_rows_are_counted(records):
    x, measured = records
    asked, told = [], []
    model = ta.models.on_arrays(lambda v: (asked.append(len(v)), np.array([[read(r, "P")[0]] for r in v]))[1])
    found = [
        ecg.check(model, x[:7], Shown("chance"), measured=measured.isel(sample=slice(7)), subjects=6, progress=p)
        for p in (False, lambda done, known: told.append((done, known)))
    ]
    assert found[0].identical(found[1])
    assert 2 * found[0].attrs["rows"] == sum(asked)
    done, known = np.array(told).T
    assert (np.diff(done) >= 0).all()
    assert (done <= known).all()
    other = ecg.check(model, x[:7], Shown("chance"), measured=measured.isel(sample=slice(7)), subjects=6, seed=1)
    assert not found[0].estimate.equals(other.estimate)


def test_maps_of_several_methods_with_weights_that_are_made_random(records):
    x, measured = records
    torch.manual_seed(0)
    net = torch.nn.Sequential(
        torch.nn.Conv1d(12, 4, 15, 4), torch.nn.Tanh(), torch.nn.Flatten(), torch.nn.Linear(4 * 372, 2)
    ).double()
    before = {k: v.clone() for k, v in net.state_dict().items()}
    found = ecg.check(
        net, x, {"slope": ta.Saliency(), "edges": Shown("edges")}, measured=measured, subjects=6, target=0
    )
    assert found.verdict.sel(claim="edges: weights").item() == "not supported"
    assert found.verdict.sel(claim="slope: weights").item() == "supported"
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())
    assert {"edit P x 0", "slope: removal", "edges: waves"} <= set(found.claim.values.tolist())
    with pytest.raises(ValueError, match="check is of one output"):
        ecg.check(net, x, ta.Saliency(), measured=measured)


def test_records_unlike_the_simulators_say_why_nothing_is_planted(records):
    x, _ = records
    height = lambda v: v.amax((1, 2))[:, None]  # noqa: E731
    for other, told in [
        (x[:, :2].assign_coords(lead=["MLII", "V1"]), "twelve standard leads, and not MLII"),
        (x.isel(time=slice(0, 600)), "4 s or more at 50 Hz or more; these are 2.4 s"),
    ]:
        marks = ecg.r_peaks(other)
        found = ecg.check(height, other, ta.Saliency(), measured=ecg.delineate(other, marks), subjects=6)
        assert found.verdict.sel(claim="planted").item() == "not run"
        assert told in found.sentence.sel(claim="planted").item()


def test_units_leads_and_the_order_of_dims_are_those_of_the_records(records):
    x, measured = records
    some = ["V2", "II", "I"]
    millivolts = x.sel(lead=some)
    microvolts = (
        (1e3 * millivolts)
        .assign_attrs(units="uV")
        .assign_coords(lead=["v2", "ii", "i"])
        .transpose("time", "sample", "lead")
    )
    found = []
    for given in (millivolts, microvolts):
        unit = 1e-3 if given is microvolts else 1.0
        axis = given.transpose("sample", ...).get_axis_num("time")
        model = lambda v, axis=axis, unit=unit: unit * v.select(3 - axis, 1).amax(1)[:, None]  # noqa: E731
        found.append(ecg.check(model, given, ta.Saliency(), measured=measured, subjects=6))
    assert found[0].verdict.equals(found[1].verdict)
    np.testing.assert_allclose(found[0].estimate, found[1].estimate, rtol=1e-6, atol=1e-12)


def test_patients_by_name_and_a_reference_that_is_looked_at_once(records):
    x, measured = records
    x = x.assign_coords(patient=("sample", np.arange(10) // 2))
    mean = lambda v: v.mean((1, 2))[:, None]  # noqa: E731
    method = ta.Occlusion(ta.groups.Along("lead"))
    with pytest.warns(ta.ExplanationWarning, match="x varies") as told:
        found = ecg.check(mean, x, method, measured=measured, subjects=6, patient="patient", reference=1e-3 * x)
    assert sum("x varies" in str(w.message) for w in told) == 1
    assert found.n.sel(claim="removal") == 5
    same = ecg.check(mean, x, method, measured=measured, subjects=6, patient="patient")
    assert same.attrs["rows"] == found.attrs["rows"]
