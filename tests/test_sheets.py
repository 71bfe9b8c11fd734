"""ECG sheets: what is written on them, where it lies, and that nothing is cut or on top of something else."""

import itertools

import numpy as np
import pytest
import xarray as xr
from matplotlib.figure import Figure

import tsattr as ta
from tsattr import plot
from tsattr.plot.lettering import broken, width_of

from .test_plot import MM, attribution, lines, meshes, signal, texts


def boxes(figure):
    """The extents in pixels of all texts of a figure that say something, by text."""
    figure.draw_without_rendering()
    found = [t for ax in figure.axes for t in [*ax.texts, ax.xaxis.label, *ax.get_xticklabels(), *ax.get_yticklabels()]]
    return [(t.get_text(), t.get_window_extent()) for t in found if t.get_text() and t.get_visible()]


def written(figure):
    return [t for t, _ in boxes(figure)]


def assert_whole(figure):
    width, height = figure.get_size_inches() * figure.dpi
    for text, box in boxes(figure):
        assert box.x0 > -0.5, text
        assert box.y0 > -0.5, text
        assert box.x1 < width + 0.5, text
        assert box.y1 < height + 0.5, text


def annotated(seconds=10.0):
    x = signal(seconds=seconds)
    codes, rhythm = np.zeros((2, x.sizes["time"]), int)
    codes[np.array([1, 3, 5]) * len(codes) // 20] = 1, 5, 28
    rhythm[len(codes) // 4 :] = 2
    flags = {"flag_values": [0, 1, 5, 28], "flag_meanings": "none N V +"}
    return x.assign_coords(
        annotation=("time", codes, flags),
        rhythm=("time", rhythm, {"flag_values": [0, 1, 2], "flag_meanings": "none N AFIB"}),
        wave=("time", np.repeat([0, 1, 2, 3, 4], x.sizes["time"] // 5), {"flag_meanings": "none P QRS ST T"}),
    ).assign_attrs(record="r1", age=63, sex="F", start_datetime="2001-02-03T04:05:06")


def result(x):
    values = {"attribution": attribution(x).expand_dims("sample"), "prediction": ("sample", [4.21])}
    said = {"predicted": ("sample", ["pvc"]), "reference": ("sample", [0.7]), "status": ("sample", ["ok"])}
    return xr.Dataset(values | said, attrs={"target": "Predicted()"})


# ------------------------------------------------------------------------------------------------------------ letters


@pytest.mark.parametrize("width", [15.0, 40.0, 200.0])
def test_no_broken_line_is_wider_than_there_is_room(width):
    text = "one two three four averylongwordthatfitsinnoline\nand a second line"
    found = broken(text, 8, width)
    assert all(width_of(line, 8) <= width for line in found.split("\n"))
    assert found.replace("\n", "").replace(" ", "") == text.replace("\n", "").replace(" ", "")


def test_the_width_is_that_of_the_drawn_text():
    figure = Figure(dpi=300)
    text = figure.text(0, 0, "aVR and 25 mm/s", fontsize=9)
    figure.draw_without_rendering()
    assert text.get_window_extent().width / 300 * MM == pytest.approx(width_of("aVR and 25 mm/s", 9), rel=0.02)


# ------------------------------------------------------------------------------------------------- what a sheet says


def test_a_sheet_names_record_patient_time_and_prediction():
    x = annotated()
    said = texts(plot.ecg(x, result(x)))
    assert "r1" in said
    assert "age 63, sex F   2001-02-03 04:05:06   predicted pvc, target 4.21 (0.7 at the baseline)" in said
    assert "no medical device" in said
    assert "mine" in texts(plot.ecg(x, result(x), title="mine"))
    bad = result(x).assign(status=("sample", ["not converged"]))
    assert "status: not converged" in texts(plot.ecg(x, bad))
    two = xr.concat([result(x)] * 2, "sample")
    with pytest.raises(ValueError, match="one sample at a time"):
        plot.ecg(x, two)


def test_beats_and_rhythm_are_written_where_they_are():
    figure = plot.ecg(annotated())
    ax = figure.axes[0]
    where = {t.get_text(): t.get_position() for t in ax.texts}
    first = lines(figure, "II")[-1].get_xdata()[0]
    assert where["N"][0] == pytest.approx(first + 0.5 * 25)
    assert where["V"][0] == pytest.approx(first + 1.5 * 25)
    assert where["rhythm AFIB"][0] == pytest.approx(first + 2.5 * 25)
    assert min(where[name][1] for name in ("N", "V", "rhythm AFIB")) > ax.get_ylim()[1]
    assert "+" not in where
    peaks = annotated().annotation > 0
    assert written(plot.ecg(signal(), beats=peaks)).count("▾") == 3
    with pytest.raises(ValueError, match="marked along the 1000 cells"):
        plot.ecg(signal(), beats=peaks[:10])


def test_waves_are_marked_where_they_are():
    figure = plot.ecg(annotated())
    ax, first = figure.axes[0], lines(plot.ecg(annotated()), "II")[-1].get_xdata()[0]
    spans = [line.get_xdata() for line in ax.lines if line.get_ydata()[0] < 0]
    expected = [first + 25 * np.array([2.0 * k, 2.0 * k + 1.99]) for k in range(1, 5)]
    np.testing.assert_allclose(spans, expected)
    assert [t for t in written(figure) if t in ("P", "QRS", "ST", "T")] == ["P", "QRS", "T"]
    assert "below the paper: P, QRS, ST (thin) and T" in texts(figure)


def test_times_are_those_of_the_recording():
    long = signal(("II",), 130.0)
    cut = ta.io.split(long, "10s")
    for sheet in (plot.ecg(cut[12]), plot.ecg(cut.isel(sample=[12])), plot.ecg(long, start=120)):
        assert [t for t in written(sheet) if ":" in t] == [f"2:{s:02d}" for s in range(10)]
    assert "2:00" not in texts(plot.ecg(cut[0]))
    dated = long.assign_coords(
        time=np.datetime64("2001-02-03T23:59:00", "ns") + (long.time * 1e9).astype("m8[ns]").values
    )
    for sheet in (plot.ecg(dated, start=60), plot.ecg(ta.io.split(dated, "10s")[6])):
        assert "2001-02-04 00:00:00" in texts(sheet)
        assert "00:00:09" in written(sheet)
    recorded = long.assign_attrs(start_datetime="2001-02-03T23:59:00")
    assert "2001-02-04 00:00:30" in texts(plot.ecg(recorded, start=90))


# ------------------------------------------------------------------------------------------------------- where it lies


@pytest.mark.parametrize("seconds", [0.6, 1.0, 2.5])
def test_short_records_are_shown_in_full_and_nothing_overlaps(seconds):
    x = signal(seconds=seconds)
    figure = plot.ecg(x, attribution(x))
    for name in ta.ecg.LEADS:
        (line,) = lines(figure, name)
        assert len(line.get_xdata()) == x.sizes["time"]
    assert "lies outside" not in texts(figure)
    for (a, one), (b, other) in itertools.combinations(boxes(figure), 2):
        assert not one.overlaps(other), (a, b)


@pytest.mark.parametrize("width", [None, 85.0, 170.0])
@pytest.mark.parametrize("seconds", [0.6, 3.0, 10.0])
def test_nothing_is_cut(width, seconds):
    x = annotated(seconds)
    figure = plot.ecg(x, result(x), title="A title that is far too long for its sheet " * 5, width=width)
    assert_whole(figure)
    if width is not None:
        assert figure.get_size_inches()[0] * MM == pytest.approx(width)
        assert min(t.get_fontsize() for ax in figure.axes for t in ax.texts) >= 6


@pytest.mark.parametrize("width", [60.0, 136.5, 273.0])
def test_a_sheet_for_print_says_its_scale(width):
    figure = plot.ecg(signal(("II",)), width=width)
    (line,) = lines(figure, "II")
    ends = figure.axes[0].transData.transform([(line.get_xdata()[0], 0), (line.get_xdata()[100], 0)])
    printed = np.diff(ends[:, 0])[0] / figure.dpi * MM
    assert f"{printed:.3g} mm/s" in texts(figure)
    assert ("small square" in texts(figure)) == (printed >= 12.5)


# ------------------------------------------------------------------------------------------------------------ monitors


def test_other_channels_lie_below_with_their_own_scales():
    x = signal(("II", "ABP", "RESP", "PLETH"), 4.0) * xr.DataArray([1, 100, 1, 1], dims="lead")
    x = x.assign_coords(units=("lead", ["mV", "mmHg", "mV", "NU"]))
    a = attribution(x)
    figure = plot.ecg(x, a, truth=a > 2)
    paper, *panels = figure.axes[:4]
    assert [line.get_label() for line in paper.lines if not line.get_label().startswith("_")] == ["II"]
    for panel, name, units in zip(panels, ("ABP", "RESP", "PLETH"), ("mmHg", "mV", "NU")):
        (line,) = panel.lines
        assert np.ptp(line.get_ydata()) == pytest.approx(x.sel(lead=name).max().item())
        assert panel.texts[0].get_text() == f"{name} [{units}]"
        assert panel.get_xlim() == paper.get_xlim()
        np.testing.assert_allclose(line.get_xdata(), paper.lines[1].get_xdata())
        np.testing.assert_allclose(meshes(panel)[-1].get_array().ravel(), a.sel(lead=name))
    heights = [ax.get_position().y0 for ax in (paper, *panels)]
    assert heights == sorted(heights, reverse=True)
    assert_whole(figure)
    with pytest.raises(ValueError, match=r"got ABP: mmHg, RESP: mV; use plot\.trace"):
        plot.ecg(x.sel(lead=["ABP", "RESP"]))
