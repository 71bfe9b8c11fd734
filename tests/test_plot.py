"""Pictures are tested by what they say (positions in mm, colours, limits, labels), not by their pixels."""

import io
import subprocess
import sys

import numpy as np
import pytest
import xarray as xr
from matplotlib.collections import LineCollection, QuadMesh
from matplotlib.figure import Figure
from matplotlib.image import imread
from scipy.stats import spearmanr

from tsattr import plot
from tsattr.ecg import LEADS
from tsattr.plot import shade
from tsattr.plot.comparison import chance_level

RATE = 100
MM = 25.4


def signal(leads=LEADS, seconds=10.0, units="mV"):
    """A signal whose lead k is a square pulse of 1 mV during the first half of each second, times 1 + k / 10."""
    time = np.arange(round(seconds * RATE)) / RATE
    pulse = (time % 1 < 0.3).astype(float)
    values = np.array([pulse * (1 + k / 10) for k in range(len(leads))])
    return xr.DataArray(
        values,
        dims=("lead", "time"),
        coords={"lead": list(leads), "time": ("time", time, {"units": "s"})},
        attrs={"units": units} if units else {},
    )


def attribution(like, seed=0):
    values = np.random.default_rng(seed).normal(size=like.shape)
    return like.copy(data=values).assign_attrs(units="logit")


def lines(figure, name):
    return [line for line in figure.axes[0].lines if line.get_label() == name]


def meshes(ax):
    return [c for c in ax.collections if isinstance(c, QuadMesh)]


def texts(figure):
    return " | ".join(t.get_text() for ax in figure.axes for t in [*ax.texts, ax.xaxis.label, ax.title])


def millimetres(figure, x, y):
    """Where the data point (x, y) of the first axes lies on the saved sheet."""
    figure.draw_without_rendering()
    return figure.axes[0].transData.transform((x, y)) / figure.dpi * MM


# --------------------------------------------------------------------------------------------------- colours, limits


def test_signs_have_different_hues_and_zero_is_bare():
    against, nothing, speaks = (np.array(shade.SIGNED(v)) for v in (0.0, 0.5, 1.0))
    assert against[2] > against[0]  # blue
    assert speaks[0] > speaks[2]  # orange
    assert nothing[3] < 0.01
    assert against[3] == speaks[3] > 0.8
    assert shade.SIGNED(0.6)[3] > 0.1  # weak values are seen: there is no dead zone around zero


def test_limit_is_the_quantile_unless_that_would_show_dust():
    values = np.arange(1, 101, dtype=float) * np.where(np.arange(100) % 2, 1, -1)
    assert shade.symmetric_limit(values) == pytest.approx(np.quantile(np.abs(values), 0.99, method="higher"))
    dust = np.full(1000, 1e-12)
    dust[3] = -2.0
    assert shade.symmetric_limit(dust) == pytest.approx(0.1)
    assert shade.symmetric_limit(np.zeros(4)) == 1.0
    assert shade.symmetric_limit(np.full(4, np.nan)) == 1.0
    with pytest.raises(ValueError, match=r"quantile.*\(0, 1\].*2"):
        shade.symmetric_limit(values, 2)


def test_limits_are_symmetric_and_shared_over_leads():
    x = signal(("I", "V1"))
    a = attribution(x)
    a[1] *= 100
    for figure in (plot.trace(x, a), plot.ecg(x, a)):
        limits = {
            mesh.get_clim() for ax in figure.axes for mesh in meshes(ax) if mesh.get_cmap().name == shade.SIGNED.name
        }
        ((low, high),) = limits
        assert low == -high
        assert high == pytest.approx(np.quantile(np.abs(a.values), 0.99, method="higher"))


def test_colour_bar_says_units_and_clipping():
    x = signal(("I",))
    a = attribution(x).assign_attrs(units="log-odds")
    assert "[log-odds]" in texts(plot.trace(x, a))
    assert "0.9 % of the cells lie beyond" in texts(plot.trace(x, a))
    assert "beyond" not in texts(plot.trace(x, a, limit=100))
    with pytest.raises(ValueError, match="limit must be a positive number, got -1"):
        plot.trace(x, a, limit=-1)


def test_thinning_keeps_the_strongest_of_each_block_and_the_extent():
    values = np.zeros(100_003)
    values[[17, 99_999]] = -5.0, 4.0
    edges, kept = shade.thin(np.arange(100_004.0), values)
    assert len(kept) <= 3000
    assert len(edges) == len(kept) + 1
    assert (edges[0], edges[-1]) == (0.0, 100_003.0)
    assert sorted(kept[kept != 0]) == [-5.0, 4.0]


# --------------------------------------------------------------------------------------------------------- the sheet


@pytest.mark.parametrize(("speed", "gain"), [(25.0, 10.0), (50.0, 5.0)])
def test_ecg_is_true_to_scale(speed, gain):
    figure = plot.ecg(signal(("MLII",), 4.0), speed=speed, gain=gain)
    (line,) = lines(figure, "MLII")
    x, y = line.get_data()
    low, high = millimetres(figure, x[0], y.min()), millimetres(figure, x[100], y.max())
    assert high - low == pytest.approx([speed, gain])  # a second across, a millivolt up
    pulse = figure.axes[0].lines[0].get_data()
    assert np.ptp(pulse[1]) == pytest.approx(gain)
    assert pulse[0][3] - pulse[0][2] == pytest.approx(0.2 * speed)


def test_saved_sheet_has_the_size_of_the_paper():
    figure = plot.ecg(signal(), attribution(signal()))
    target = io.BytesIO()
    figure.savefig(target, format="png", dpi=254)  # ten pixels a millimetre
    target.seek(0)
    height, width = imread(target).shape[:2]
    paper = np.ptp(figure.axes[0].get_xlim())
    assert paper >= 250 + 10
    assert width / 10 == pytest.approx(paper + 8, abs=0.2)  # margins of 4 mm
    assert height / 10 == pytest.approx(figure.get_size_inches()[1] * MM, abs=0.2)


def test_squares_are_one_and_five_millimetres():
    figure = plot.ecg(signal(("I",), 2.0))
    grids = [c for c in figure.axes[0].collections if isinstance(c, LineCollection)]
    spacings = []
    for grid in grids:
        upright = sorted(s[0][0] for s in grid.get_segments() if s[0][0] == s[1][0])
        spacings.append(set(np.round(np.diff(upright), 6)))
    assert spacings == [{1.0}, {5.0}]
    assert "small square 0.04 s × 0.1 mV" in texts(figure)


def test_three_by_four_shows_each_quarter_in_its_place():
    figure = plot.ecg(signal())
    rhythm = max(lines(figure, "II"), key=lambda line: len(line.get_xdata()))
    assert len(rhythm.get_xdata()) == 1000
    for k, name in enumerate(LEADS):
        shown = min(lines(figure, name), key=lambda line: len(line.get_xdata()))
        quarter = k // 3
        assert len(shown.get_xdata()) == 250
        assert shown.get_xdata()[0] == pytest.approx(rhythm.get_xdata()[250 * quarter])


def test_twelve_rows_and_other_leads_are_stacked():
    rows = [lines(plot.ecg(signal(), layout="12x1"), name)[0].get_ydata() for name in LEADS]
    middles = [np.median(row) for row in rows]
    assert middles == sorted(middles, reverse=True)
    assert all(len(row) == 1000 for row in rows)
    few = plot.ecg(signal(("MLII", "V1"), 3.0))
    assert [len(lines(few, name)[0].get_xdata()) for name in ("MLII", "V1")] == [300, 300]
    more = plot.ecg(signal((*LEADS, "vx")))
    assert len(lines(more, "vx")[0].get_xdata()) == 1000
    lower_case = plot.ecg(signal([name.lower() for name in LEADS]))
    assert len(lines(lower_case, "v6")[0].get_xdata()) == 250


def test_what_three_by_four_hides_is_said():
    x = signal()
    a = xr.zeros_like(x)
    a.loc["V1", 0:1] = 1.0
    a.loc["I", 0:1] = 1.0
    hidden = 101 / 202  # V1 has its place in the third quarter
    assert f"{hidden:.0%} of the absolute attribution lies outside" in texts(plot.ecg(x, a))
    assert "outside" not in texts(plot.ecg(x, a, layout="12x1"))


def test_ten_seconds_unless_said_otherwise():
    x = signal(("I",), 30.0)
    assert len(lines(plot.ecg(x), "I")[0].get_xdata()) == 1000
    assert len(lines(plot.ecg(x, start=12, stop=15.5), "I")[0].get_xdata()) == 350
    with pytest.raises(ValueError, match=r"start=40 s and stop=50 s: the record runs from 0 s to 29\.99 s"):
        plot.ecg(x, start=40)


def test_units_are_converted_or_refused():
    x = signal(("I", "II"), 2.0)
    arrays = x, (x * 1000).assign_attrs(units="uV"), x.drop_attrs().assign_coords(units=("lead", ["mV", "mV"]))
    heights = [np.ptp(lines(plot.ecg(array), "I")[0].get_ydata()) for array in arrays]
    assert heights == pytest.approx([10, 10, 10])
    with pytest.raises(ValueError, match=r"II: mmHg.*plot\.trace"):
        plot.ecg(x[1:].assign_attrs(units="mmHg"))
    assert "no units given" in texts(plot.ecg(signal(("I",), 2.0, units="")))


def test_bad_layouts_and_times():
    with pytest.raises(ValueError, match=r"layout must be .* got '6x2'"):
        plot.ecg(signal(), layout="6x2")
    with pytest.raises(ValueError, match="rhythm strip of 'X9'"):
        plot.ecg(signal(), layout="3x4+X9")
    with pytest.raises(ValueError, match="needs a time coordinate"):
        plot.ecg(signal().drop_vars("time"))
    x = signal()
    x.time.attrs["units"] = "days"
    with pytest.raises(ValueError, match=r"units of s, .* got 'days'"):
        plot.ecg(x)


def test_a_gap_is_neither_line_nor_band():
    x = signal(("I", "V1"), 4.0)
    a = attribution(x)
    x[0, 100:150] = np.nan
    a[0, 100:150] = np.nan
    sheet = plot.ecg(x, a)
    strip = plot.trace(x, a)
    assert np.isnan(lines(sheet, "I")[0].get_ydata()[100:150]).all()
    assert np.isnan(strip.axes[0].lines[0].get_ydata()[100:150]).all()
    for mesh in (meshes(sheet.axes[0])[0], meshes(strip.axes[0])[0]):
        missing = np.ma.getmaskarray(mesh.get_array()).ravel()
        assert missing[100:150].all()
        assert missing.sum() == 50


def test_truth_is_marked_where_it_is():
    x = signal(("I",), 4.0)
    truth = xr.zeros_like(x, dtype=bool)
    truth[0, [100, 101, 300]] = True
    figure = plot.ecg(x, truth=truth)
    (bar,) = meshes(figure.axes[0])
    assert np.flatnonzero(~np.ma.getmaskarray(bar.get_array()).ravel()).tolist() == [100, 101, 300]
    left = bar.get_coordinates()[0, [100, 101], 0]
    assert np.diff(left) == pytest.approx(0.25)  # a cell of 10 ms at 25 mm/s
    assert len(meshes(plot.trace(x, x, truth=truth).axes[0])) == 2
    assert "known truth" in texts(figure)


def test_a_figure_of_ones_own_gets_the_right_size():
    mine = Figure()
    assert plot.ecg(signal(("I",), 4.0), figure=mine) is mine
    assert mine.get_size_inches()[0] * MM == pytest.approx(120 + 8)


# ------------------------------------------------------------------------------------------------------------ traces


def test_one_sample_and_one_target_at_a_time():
    x = signal(("I",), 2.0).expand_dims(sample=3)
    with pytest.raises(ValueError, match=r"one sample at a time.*3 along 'sample'.*isel\(sample=0\)"):
        plot.trace(x)
    with pytest.raises(ValueError, match="one target at a time"):
        plot.trace(x[0], attribution(x[0]).expand_dims(target=2))
    with pytest.raises(ValueError, match="one sample at a time"):
        plot.ecg(x)
    with pytest.raises(TypeError, match=r"xarray\.DataArray, got ndarray"):
        plot.trace(x[0], np.zeros((1, 200)))
    assert len(plot.trace(x[:1]).axes) == 1


def test_labels_must_match():
    x = signal(("I", "II"), 2.0)
    with pytest.raises(ValueError, match=r"differ along 'time' \(100 and 200"):
        plot.trace(x, attribution(x)[:, :100])
    with pytest.raises(ValueError, match="differ along 'lead'"):
        plot.trace(x, attribution(x).assign_coords(lead=["I", "III"]))
    with pytest.raises(ValueError, match="must be the same"):
        plot.trace(x, attribution(x)[0].drop_vars("lead"))
    transposed = plot.trace(x, attribution(x).T)
    assert np.allclose(meshes(transposed.axes[1])[0].get_array().ravel(), attribution(x)[1])


def test_a_long_trace_is_its_range_above_its_attribution():
    x = signal(("II",), 200.0)
    x[0, 5000:7000] = np.nan
    figure = plot.trace(x, attribution(x))
    (ax, *_), (area,) = figure.axes, [c for c in figure.axes[0].collections if not isinstance(c, QuadMesh)]
    across, up = np.concatenate([p.vertices for p in area.get_paths()]).T
    assert up.min() == 0 == x.min()
    assert up.max() == 1 == x.max()
    assert not ((across > 50.5) & (across < 69.5)).any()
    assert not ax.lines
    (mesh,) = meshes(ax)
    assert mesh.get_coordinates()[..., 1].max() < 0
    assert mesh.get_coordinates()[..., 1].min() == ax.get_ylim()[0]
    assert len(plot.trace(x[:, :10_000], attribution(x)[:, :10_000]).axes[0].lines) == 1


def test_trace_on_an_ax_of_ones_own_and_with_dates():
    x = signal(("I", "II"), 2.0)
    ax = Figure().subplots()
    assert plot.trace(x[0], attribution(x[0]), ax=ax) is ax.figure
    with pytest.raises(ValueError, match="one ax holds one row, the signal has 2"):
        plot.trace(x, ax=ax)
    days = np.datetime64("2024-01-01", "ns") + np.arange(200) * np.timedelta64(1, "D")
    dated = x[0].assign_coords(time=days)
    figure = plot.trace(dated, dated)
    figure.draw_without_rendering()
    assert "2024" in " ".join(t.get_text() for t in figure.axes[0].get_xticklabels())
    with pytest.raises(ValueError, match="no dim 'hour'"):
        plot.trace(x[0], dim="hour")


def test_a_measurement_between_gaps_is_a_point():
    nan = np.nan
    values = [[5.0, nan, *range(14)], [nan, *range(14), nan], [5.0, nan] + [nan] * 12 + [2.0, 3.0], [nan] * 16]
    coords = {"feature": ["pH", "HR", "K", "GCS"], "units": ("feature", ["1", "1/min", "mmol/L", "1"])}
    x = xr.DataArray(values, coords, ("feature", "time"))
    figure = plot.trace(x, x)
    rows = figure.axes[:4]
    points = [[(line.get_xdata().tolist(), line.get_marker()) for line in ax.lines[1:]] for ax in rows]
    assert points == [[([0], ".")], [], [([0, 14, 15], ".")], []]  # the first of a series; all of one of single values
    assert [ax.get_ylabel() for ax in rows] == ["pH", "HR\n[1/min]", "K\n[mmol/L]", "GCS"]
    assert [[text.get_text() for text in ax.texts] for ax in rows] == [[], [], [], ["no value"]]
    maps = xr.concat([x[2], -x[2]], "method").assign_coords(method=["one", "other"])
    assert all(len(ax.lines) == 2 for ax in plot.baselines(maps, x[2]).axes[:2])


def test_field_puts_latitude_up_and_shows_the_strongest():
    a = xr.DataArray(np.arange(1.0, 41).reshape(5, 4, 2), dims=("lon", "lat", "level"), coords={"level": [850, 500]})
    figure = plot.field(a, most=1)
    assert [figure.axes[0].get_ylabel(), figure.axes[0].get_xlabel()] == ["lat", "lon"]
    assert figure.axes[0].get_title(loc="left") == "level: 500"
    assert np.allclose(meshes(figure.axes[0])[0].get_array(), a.sel(level=500).transpose("lat", "lon"))
    with pytest.raises(ValueError, match="at least two dims"):
        plot.field(a[:, 0, 0])


def test_field_outlines_the_truth():
    a = xr.DataArray(np.ones((4, 5)), dims=("lat", "lon"))
    truth = xr.zeros_like(a, dtype=bool)
    truth[1, 2] = True
    border = [line.get_xydata() for line in plot.field(a, a, truth=truth).axes[0].lines]
    corners = {tuple(point) for edge in border for point in edge}
    assert corners == {(1.5, 0.5), (2.5, 0.5), (1.5, 1.5), (2.5, 1.5)}


# -------------------------------------------------------------------------------------------------------------- bars


def test_bars_have_the_values_and_the_colours_of_their_signs():
    sums = xr.Dataset({"signed": ("lead", [1.0, -2.0]), "absolute": ("lead", [3.0, 4.0])}, {"lead": ["I", "II"]})
    error = xr.DataArray([0.5, 0.25], dims="lead")
    figure = plot.bars(sums, error)
    signed, absolute = figure.axes
    assert [p.get_width() for p in signed.patches] == [1.0, -2.0]
    assert [p.get_width() for p in absolute.patches] == [3.0, 4.0]
    assert signed.patches[0].get_facecolor() != signed.patches[1].get_facecolor()
    assert [t.get_text() for t in signed.get_yticklabels()] == ["I", "II"]
    (whiskers,) = [c for c in signed.collections if isinstance(c, LineCollection)]
    assert [np.ptp(s[:, 0]) for s in whiskers.get_segments()] == [1.0, 0.5]


def test_bars_keep_the_largest_and_say_so():
    values = xr.DataArray([0.0, -9.0, 3.0, np.nan, 5.0], dims="feature", coords={"feature": list("abcde")})
    ax = plot.bars(values, most=2).axes[0]
    assert [t.get_text() for t in ax.get_yticklabels()] == ["b", "e"]
    assert ax.get_ylabel() == "feature, 2 largest of 5"
    with pytest.raises(ValueError, match="one dim, got"):
        plot.bars(xr.DataArray(np.zeros((2, 2)), dims=("a", "b")))
    with pytest.raises(ValueError, match="'signed' or 'absolute'"):
        plot.bars(xr.Dataset({"z": ("a", [1.0])}))


# ------------------------------------------------------------------------------------------------------- comparisons


def test_agreement_is_spearman_over_the_cells_both_have():
    rng = np.random.default_rng(0)
    a = xr.DataArray(rng.normal(size=(3, 4, 50)), dims=("baseline", "lead", "time"))
    a[0, 0, :10] = np.nan
    a[2] = 1.0
    a[2, 0, 0] = -1.0
    found = plot.agreement(a)
    known = np.isfinite(a[0].values).ravel()
    expected = spearmanr(a[0].values.ravel()[known], a[1].values.ravel()[known]).statistic
    assert float(found[0, 1]) == pytest.approx(expected)
    assert float(found[1, 1]) == pytest.approx(1)
    constant = xr.concat([a[1], xr.ones_like(a[1])], "method")
    assert np.isnan(plot.agreement(constant)[0, 1])


def test_agreement_ranks_sizes_if_a_map_has_no_sign():
    a = xr.DataArray([[3.0, -2.0, 1.0], [3.0, 2.0, 1.0]], dims=("method", "time"))
    assert plot.agreement(a).attrs["signed"] == 0
    assert float(plot.agreement(a)[0, 1]) == pytest.approx(1)
    assert float(plot.agreement(a, signed=True)[0, 1]) == pytest.approx(0.5)
    with pytest.raises(ValueError, match="needs a dim 'method' or 'baseline'"):
        plot.agreement(a[0])


def test_comparison_scales_each_map_by_itself_and_sums_sizes_over_leads():
    x = signal(("I", "V1"), 2.0)
    a = attribution(x)
    a[1] *= 3
    maps = xr.concat([a, -5 * a], "method").assign_coords(method=["one", "two"])
    figure = plot.baselines(maps, x)
    one, two, matrix = figure.axes
    first, second = (meshes(ax)[0] for ax in (one, two))
    assert second.get_clim()[1] == pytest.approx(5 * first.get_clim()[1])
    assert np.allclose(first.get_array().ravel(), np.abs(a).sum("lead"))
    assert "lead V1, the strongest" in figure.get_supxlabel()
    assert [t.get_text() for t in matrix.texts] == ["1.00", "-1.00", "-1.00", "1.00"]
    single = plot.baselines(maps, x, lead="I")
    assert np.allclose(meshes(single.axes[0])[0].get_array().ravel(), a.sel(lead="I"))


def test_comparison_of_tables_and_fields():
    table = xr.DataArray([[1.0, -2.0], [2.0, 1.0]], dims=("baseline", "feature"), coords={"feature": ["a", "b"]})
    figure = plot.baselines(table, table[0].drop_vars("baseline", errors="ignore"))
    assert [p.get_height() for p in figure.axes[0].patches] == [1.0, -2.0]
    field = xr.DataArray(np.random.default_rng(0).normal(size=(2, 4, 5)), dims=("method", "lat", "lon"))
    assert np.allclose(meshes(plot.baselines(field, field[0]).axes[1])[0].get_array(), field[1])


def test_scores_are_ranked_with_chance():
    table = xr.Dataset(
        {
            "auprc": (("method", "sample"), [[0.1, 0.3], [0.8, 1.0]]),
            "auprc_chance": ("sample", [0.1, 0.2]),
            "name": ("method", ["x", "y"]),
        },
        {"method": ["weak", "strong"]},
    )
    (ax,) = plot.scores(table).axes
    assert [t.get_text() for t in ax.get_yticklabels()] == ["strong", "weak"]
    assert [p.get_width() for p in ax.patches] == pytest.approx([0.9, 0.2])
    assert ax.lines[-1].get_xdata()[0] == pytest.approx(0.15)
    assert chance_level(table, "auprc", {"auprc": 0.5}) == 0.5
    assert chance_level(table.drop_vars("auprc_chance"), "auprc") is None
    with pytest.raises(ValueError, match="dim 'method'"):
        plot.scores(table.isel(method=0))


# ------------------------------------------------------------------------------------------------------------ checks


def result(gap=(0.0, 0.5), status=("ok", "not converged")):
    a = xr.DataArray([[1.0, 2.0], [0.5, np.nan]], dims=("sample", "time"), coords={"sample": ["p", "q"]})
    total = a.sum("time")
    return xr.Dataset(
        {
            "attribution": a,
            "prediction": total + 1 - np.array(gap),
            "reference": xr.ones_like(total),
            "steps": ("sample", [9, 729]),
            "completeness_error": ("sample", np.array(gap)),
            "status": ("sample", list(status)),
        }
    )


def test_completeness_draws_sum_against_difference():
    ax = plot.completeness(result()).axes[0]
    by_label = {line.get_label(): line.get_xydata().tolist() for line in ax.lines}
    assert by_label["sample"] == [[3.0, 3.0]]
    assert by_label["status not ok"] == [[0.0, 0.5]]
    assert [t.get_text() for t in ax.texts] == ["q: not converged"]
    with pytest.raises(KeyError, match="needs 'reference'"):
        plot.completeness(result().drop_vars("reference"))


def test_completeness_counts_what_it_cannot_draw_and_takes_targets():
    ds = result()
    ds["prediction"][0] = np.nan
    assert "1 without a finite value" in plot.completeness(ds).axes[0].get_xlabel()
    several = result().expand_dims(target=["a", "b"], axis=-1)
    several["status"] = result().status
    drawn = plot.completeness(several).axes[0].lines
    assert sum(len(line.get_xdata()) for line in drawn if line.get_label() != "complete") == 4


def test_convergence_draws_steps_and_errors():
    figure = plot.convergence(result())
    values = [ax.collections[0].get_offsets()[:, 1].tolist() for ax in figure.axes]
    assert values == [[9, 729], [0.0, 0.5]]
    assert figure.axes[0].get_yscale() == "log"
    with pytest.raises(KeyError, match="'steps' or 'completeness_error'"):
        plot.convergence(result()[["prediction"]])


# --------------------------------------------------------------------------------------------------------- manners


def test_plots_leave_no_trace():
    code = (
        "import sys, numpy as np, xarray as xr, matplotlib as mpl; before = list(dict.items(mpl.rcParams));"
        "from tsattr import plot;"
        "x = xr.DataArray(np.eye(2, 50), dims=('lead', 'time'), coords={'time': np.arange(50) / 50, 'lead': ['I', 'V1']});"
        "[f.savefig('/dev/null', format='png') for f in (plot.ecg(x, x), plot.trace(x, x), plot.field(x), plot.bars(x[0]))];"
        "assert list(dict.items(mpl.rcParams)) == before; assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_figures_show_themselves_in_notebooks():
    assert plot.bars(xr.DataArray([1.0], dims="lead"))._repr_png_().startswith(b"\x89PNG")
