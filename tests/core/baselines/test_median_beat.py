import numpy as np
import pytest
import xarray as xr

import tsattr as ta
from tsattr.core import baselines as b
from tsattr.core.axes import Axes
from tsattr.core.baselines.fills import bind

from .inputs import LEADS, fill

RNG = np.random.default_rng(0)

RATE = 100
TIME = np.arange(400) / RATE
BEAT = np.stack([s * np.exp(-0.5 * ((np.arange(-25, 46) - c) / 3) ** 2) for s, c in ((1.0, 0), (-0.5, 2), (0.3, 20))])


def beats(starts, size=1.0, n=400):
    """Beats with R peaks at some cells, on a level of 0, and the marks of their peaks."""
    out, marks = np.zeros((3, n)), np.zeros(n, bool)
    for at in starts:
        for k in range(-25, 46):
            if 0 <= at + k < n:
                out[:, at + k] += size * BEAT[:, k + 25]
        marks[at] = True
    return out, marks


def labelled(values, marks):
    coords = {"sample": [f"r{i}" for i in range(len(values))], "lead": LEADS, "time": TIME}
    x = xr.DataArray(np.stack(values), dims=("sample", "lead", "time"), coords=coords)
    return x, xr.DataArray(np.stack(marks), dims=("sample", "time"), coords={k: coords[k] for k in ("sample", "time")})


RECORDS, MARKS = labelled(
    *zip(*(beats(s, size) for s, size in (([60, 150, 240], 1.0), ([90, 200], 1.2), ([10, 130, 300], 0.8))))
)
NORMAL = b.MedianBeat.fit(RECORDS, MARKS)


def axes_of(x):
    return Axes(("lead", "time"), x.shape[1:], {"lead": x.lead.values, "time": x.time.values}, samples=len(x),
                sample_coord=x["sample"].values)  # fmt: skip


def test_the_template_is_the_median_of_the_beats():
    values, marks = RECORDS.values, MARKS.values
    expected = np.empty((3, 71))
    for lead in range(3):
        for k in range(71):
            seen = [
                values[s, lead, r + k - 25] for s in range(3) for r in np.flatnonzero(marks[s]) if 0 <= r + k - 25 < 400
            ]
            expected[lead, k] = np.median(seen)
    np.testing.assert_array_equal(NORMAL.fitted["template"], expected)
    assert "template, grid of 3 samples (lead 3, time 400); beats=8; window=('-250ms', '450ms')" in repr(NORMAL)


def test_a_record_of_normal_beats_is_its_own_baseline():
    usual, marks = labelled(*zip(beats([40, 140, 230]), beats([100, 300])))
    normal = b.MedianBeat.fit(usual, marks)
    np.testing.assert_allclose(
        fill(normal.at(marks), usual.values, axes_of(usual)), usual, atol=1e-6
    )  # tails of a beat
    late, peaks = labelled(*zip(beats([5, 120, 395])))
    np.testing.assert_allclose(fill(normal.at(peaks), late.values, axes_of(late)), late, atol=1e-6)


def test_where_windows_overlap_the_nearer_peak_has_it_and_between_them_a_line():
    step = NORMAL.fitted["template"] + np.array([1.0, 2.0, 3.0])[:, None] * np.linspace(0, 1, 71)
    normal = b.MedianBeat.fit(*labelled([np.pad(step, ((0, 0), (75, 254)))], [np.arange(400) == 100]))
    template = normal.fitted["template"]
    np.testing.assert_allclose(template, step)
    x, peaks = labelled([np.zeros((3, 400))], [np.isin(np.arange(400), [100, 140, 300])])
    found = fill(normal.at(peaks), x.values, axes_of(x))[0]
    for t in range(400):
        near = min((100, 140, 300), key=lambda r: (abs(t - r), r))
        if -25 <= t - near <= 45:
            expected = template[:, t - near + 25]
        elif t < 75:
            expected = template[:, 0]
        elif t > 345:
            expected = template[:, -1]
        else:  # from the end of the window at 140 to the start of that at 300
            expected = template[:, -1] + (t - 185) / (275 - 185) * (template[:, 0] - template[:, -1])
        np.testing.assert_allclose(found[:, t], expected, atol=1e-12)


def test_a_record_without_peaks_is_level():
    x, peaks = labelled([np.zeros((3, 400))] * 2, [np.zeros(400, bool), np.arange(400) == 200])
    found = fill(NORMAL.at(peaks), x.values, axes_of(x))
    ends = NORMAL.fitted["template"][:, [0, -1]].mean(1)
    np.testing.assert_allclose(found[0], np.broadcast_to(ends[:, None], (3, 400)))
    assert found[1].max() > 0.9


def test_peaks_are_matched_by_sample_and_the_leads_by_name():
    ds = ta.explain(lambda x: x.sum((1, 2)), RECORDS, ta.IntegratedGradients(NORMAL.at(MARKS), steps=1))
    turned = RECORDS.isel(sample=[2, 0], lead=[1, 2, 0]).transpose("time", "sample", "lead")
    found = ta.explain(lambda x: x.sum((1, 2)), turned, ta.IntegratedGradients(NORMAL.at(MARKS), steps=1))
    expected = ds.attribution.isel(sample=[2, 0], lead=[1, 2, 0]).transpose("time", "sample", "lead")
    np.testing.assert_allclose(found.attribution, expected, atol=1e-12)


def test_marks_as_the_ecg_module_gives_them():
    from tsattr.datasets import simulate_ecg

    x = simulate_ecg(1, seed=1).ecg
    peaks = ta.ecg.r_peaks(x)
    normal = b.MedianBeat.fit(x, peaks).at(peaks)
    ds = ta.explain(lambda x: x.sum((1, 2)), x, ta.IntegratedGradients(normal, steps=1))
    assert float((ds.attribution**2).mean()) < 0.25 * float(x.var())  # beats of one patient in sinus rhythm are alike


def test_missing_cells_of_the_reference_are_left_out_of_the_median():
    holes = RECORDS.copy()
    holes[0, 0] = np.nan
    fewer = b.MedianBeat.fit(RECORDS[1:], MARKS[1:])
    np.testing.assert_array_equal(b.MedianBeat.fit(holes, MARKS).fitted["template"][0], fewer.fitted["template"][0])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"r_peaks": MARKS & False}, "r_peaks marks no R peak in the reference"),
        ({"window": ("50ms", "400ms")}, "window starts at or before the R peak"),
        ({"window": ("-1kg", "400ms")}, "an extent is a number with a unit"),
        ({"r_peaks": MARKS.rename(time="t")}, "r_peaks has dim 't', which the input lacks"),
        ({"r_peaks": RECORDS > 0.5}, "it needs 'time', and besides only 'sample'"),
        ({"reference": RECORDS.assign_coords(time=TIME**2)}, "not evenly spaced"),
    ],
)
def test_what_a_median_beat_refuses(settings, message):
    with pytest.raises(ValueError, match=message):
        b.MedianBeat.fit(**{"reference": RECORDS, "r_peaks": MARKS, **settings})


def test_an_input_that_does_not_fit_a_median_beat():
    with pytest.raises(ValueError, match=r"does not know where the input's R peaks are; give them: baseline.at\("):
        bind(NORMAL, axes_of(RECORDS))
    slow = RECORDS.assign_coords(time=TIME * 2)
    with pytest.raises(ValueError, match=r"fitted at steps of 0\.01, the input has 0\.02"):
        bind(NORMAL.at(MARKS.assign_coords(time=TIME * 2)), axes_of(slow))
    with pytest.raises(ValueError, match="r_peaks lacks 1 of the input's labels along dim 'sample'"):
        bind(NORMAL.at(MARKS[:2]), axes_of(RECORDS))
