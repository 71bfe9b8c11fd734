"""Pictures of a comparison are tested by what they say, on tables whose numbers are known."""

import numpy as np
import pytest
import xarray as xr
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

import tsattr as ta
from tsattr import plot
from tsattr.comparison.verdict import Standing
from tsattr.plot import shade

NAMES = ["a", "b", "c", "d"]


def table(**more):
    """Two methods and two controls over two fills and four samples; b is best, a cannot be told from it."""
    score = np.array([2.0, 3.0, 0.1, -0.2])
    per_fill = np.array([[1.0, 3.0], [3.0, 3.0], [0.1, 0.1], [-0.1, -0.3]])
    wobble = np.array([-0.3, -0.1, 0.1, 0.3])
    gap = per_fill[:, None, :, None] + wobble[None, :, None, None] + np.array([0.0, 0.5])
    share = np.linspace(0, 1, 5)
    falling = per_fill[:, None, :, None, None] * (1 - share) + wobble[None, :, None, None, None] + np.zeros((2, 1))
    distinct = np.ones((4, 4), bool)
    distinct[[0, 1], [1, 0]] = distinct[range(4), range(4)] = False
    pair = ("measure", "ranking", "method", "method_other")
    difference = np.broadcast_to(score[:, None] - score, (1, 2, 4, 4))
    ds = xr.Dataset(
        {
            "gap": (("method", "sample", "fill", "ranking"), gap, {"better": "higher", "long_name": "area between"}),
            "deletion_curve": (("method", "sample", "fill", "ranking", "share"), falling),
            "own_fill": (("method", "fill"), [[True, False], [False, False], [False, False], [False, False]]),
            "control": ("method", [False, False, True, True]),
            "score": (pair[:3], np.broadcast_to(score, (1, 2, 4))),
            "score_low": (pair[:3], np.broadcast_to(score - 0.25, (1, 2, 4))),
            "score_high": (pair[:3], np.broadcast_to(score + 0.5, (1, 2, 4))),
            "difference": (pair, difference),
            "difference_low": (pair, difference - 1),
            "difference_high": (pair, difference + 1),
            "distinguishable": (pair, np.broadcast_to(distinct, (1, 2, 4, 4))),
        },
        {
            "method": NAMES,
            "method_other": NAMES,
            "fill": ["mean", "zero"],
            "ranking": ["signed", "absolute"],
            "share": share,
            "measure": ["gap"],
            "better": ("measure", ["higher"]),
        },
    )
    return ds.assign(more)


def ticks(axis):
    return [t.get_text() for t in axis.get_ticklabels()]


def drawn(figure):
    figure.draw_without_rendering()
    return figure


# ----------------------------------------------------------------------------------------------------------- standing


def test_the_best_and_those_not_told_from_it():
    found = Standing(table(), "gap", "signed")
    order, control, tied = found.order, found.control, found.tied
    assert [NAMES[k] for k in order] == ["b", "a", "c", "d"]
    assert control.tolist() == [False, False, True, True]
    assert tied.tolist() == [True, True, False, False]


def test_lower_may_be_better_and_what_has_no_score_comes_last():
    ds = table().assign_coords(better=("measure", ["lower"]))
    ds["difference"] = -ds.difference
    assert [NAMES[k] for k in Standing(ds, "gap", "signed").order] == ["d", "c", "a", "b"]
    ds = table()
    ds["score"] = ds.score.where(ds.method != "b")
    found = Standing(ds, "gap", "signed")
    order, tied = found.order, found.tied
    assert [NAMES[k] for k in order] == ["a", "c", "d", "b"]
    assert tied.tolist() == [True, False, False, False]
    ds["score"] = ds.score * np.nan
    assert not Standing(ds, "gap", "signed").tied.any()


def test_of_equals_the_first_named_comes_first():
    ds = table()
    ds["score"] = ds.score.copy(data=np.broadcast_to([3.0, 3.0 + 1e-13, 0.0, 0.0], (1, 2, 4)))
    assert [NAMES[k] for k in Standing(ds, "gap", "signed").order] == ["a", "b", "c", "d"]


def test_a_control_that_is_best_is_not_called_the_best_method():
    ds = table()
    ds["score"] = ds.score.where(ds.method != "d", 9.0)
    found = Standing(ds, "gap", "signed")
    order, tied = found.order, found.tied
    assert NAMES[order[0]] == "d"
    assert tied.tolist() == [True, True, False, False]


# ------------------------------------------------------------------------------------------------------------ ranking


def test_ranking_draws_scores_with_their_intervals_best_on_top():
    ax = drawn(plot.ranking(table())).axes[0]
    assert ticks(ax.yaxis) == ["b", "a", "c", "d"]
    assert ax.get_ylim()[0] > ax.get_ylim()[1]  # the first row is on top
    intervals = [line.get_xdata().tolist() for line in ax.lines[::2]]
    assert intervals == [[s - 0.25, s + 0.5] for s in (3.0, 2.0, 0.1, -0.2)]
    assert [float(line.get_xdata()[0]) for line in ax.lines[1::2]] == [3.0, 2.0, 0.1, -0.2]
    assert "3 [2.75, 3.5]" in [t.get_text() for t in ax.texts]
    assert ax.get_xlabel() == "gap (area between), signed ranking: higher is better"


def test_ranking_tells_tied_worse_and_controls_apart():
    ds = table()
    ds["distinguishable"] = ds.distinguishable | True
    ax = plot.ranking(ds).axes[0]
    b, a, c, _ = ax.lines[1::2]
    assert to_hex(b.get_markerfacecolor()) == to_hex(b.get_color()) == shade.NEGATIVE
    assert to_hex(a.get_markerfacecolor()) == "#ffffff"
    assert to_hex(c.get_color()) == shade.NEUTRAL
    said = [t.get_text() for t in ax.get_legend().get_texts()]
    assert said == ["the best, told from every other (95 %)", "worse", "control: knows nothing"]
    tied = plot.ranking(table()).axes[0]
    assert {to_hex(line.get_markerfacecolor()) for line in tied.lines[1:4:2]} == {shade.NEGATIVE}
    said = [t.get_text() for t in tied.get_legend().get_texts()]
    assert said == ["the best, and those not told from it (95 %)", "control: knows nothing"]


def test_ranking_shows_chance_and_missing_scores():
    ds = table(gap_chance=("sample", [0.1, 0.3, 0.2, 0.2]))
    ds["score"] = ds.score.where(ds.method != "a")
    ax = plot.ranking(ds).axes[0]
    assert ax.lines[-1].get_xdata()[0] == pytest.approx(0.2)
    words = [t.get_text() for t in ax.texts]
    assert "chance 0.2" in words
    assert "no finite score" in words
    own = Figure().subplots()
    assert plot.ranking(table(), ax=own) is own.figure


# ------------------------------------------------------------------------------------------------------------- matrix


def test_matrix_has_the_means_and_hatches_a_method_s_own_fill():
    ax = plot.matrix(table()).axes[0]
    assert ticks(ax.xaxis) == ["mean", "zero", "score"]
    assert ticks(ax.yaxis) == ["b", "a", "c", "d"]
    cells = np.array([t.get_text() for t in ax.texts]).reshape(4, 3)
    assert cells.tolist() == [
        ["3.00", "3.00", "3.00"],
        ["1.00", "3.00", "2.00"],
        ["0.10", "0.10", "0.10"],
        ["−0.10", "−0.30", "−0.20"],
    ]
    (hatched,) = [p for p in ax.patches if isinstance(p, Rectangle) and p.get_hatch()]
    assert hatched.get_xy() == (-0.5, 0.5)  # the first fill of the second row
    assert "left out of its score" in ax.get_xlabel()
    absolute = plot.matrix(table(), ranking="absolute").axes[0]
    assert absolute.texts[0].get_text() == "3.50"


def test_matrix_says_where_own_fills_could_not_be_left_out():
    ds = table(own_fill=(("method", "fill"), np.eye(4, 2, dtype=bool) | np.eye(4, 2, k=-1, dtype=bool)))
    ds["own_fill"][2:] = True
    assert "too few others to leave it out" in plot.matrix(ds).axes[0].get_xlabel()
    assert "hatched" not in plot.matrix(table(own_fill=table().own_fill & False)).axes[0].get_xlabel()


def test_matrix_has_a_signed_scale_only_where_signs_differ():
    (image,) = plot.matrix(table()).axes[0].images
    low, high = image.get_clim()
    assert low == -high == pytest.approx(-3)
    assert image.get_cmap().name == shade.SIGNED.name
    ds = table()
    ds["gap"] = abs(ds.gap).assign_attrs(ds.gap.attrs)
    (image,) = plot.matrix(ds).axes[0].images
    assert image.get_clim()[0] >= 0
    best, worst = (np.array(image.get_cmap()(v)[:3]).sum() for v in (1.0, 0.0))
    assert best < worst  # darker is better
    lower = ds.assign_coords(better=("measure", ["lower"]))
    (image,) = plot.matrix(lower).axes[0].images
    best, worst = (np.array(image.get_cmap()(v)[:3]).sum() for v in (0.0, 1.0))
    assert best < worst


# ------------------------------------------------------------------------------------------------------------- curves


def test_curves_are_means_with_a_standard_error_a_panel_for_each_fill():
    figure = plot.curves(table())
    assert [ax.get_title(loc="left") for ax in figure.axes] == ["mean", "zero"]
    means = {to_hex(line.get_color()): line.get_ydata() for line in figure.axes[1].lines}
    np.testing.assert_allclose(means[plot_colour(0)], 3 * np.linspace(1, 0, 5), atol=1e-12)
    error = np.std([-0.3, -0.1, 0.1, 0.3], ddof=1) / 2
    bands = {to_hex(b.get_facecolor()): b.get_paths()[0].vertices[:, 1] for b in figure.axes[1].collections}
    assert bands[plot_colour(0)].max() == pytest.approx(3 + error)
    assert len(figure.axes[0].lines) == 4


def plot_colour(k):
    from tsattr.plot.curves import COLOURS

    return COLOURS[k]


def test_curves_mark_controls_own_fills_and_number_the_lines_like_the_legend():
    figure = plot.curves(table())
    (legend,) = figure.legends
    # b and a have the largest areas, averaged over fills.
    assert [t.get_text() for t in legend.get_texts()] == ["1  b", "2  a", "3  c", "4  d", "fill of its own kind"]
    styles = {line.get_linestyle() for line in figure.axes[0].lines if to_hex(line.get_color()) == shade.NEUTRAL}
    assert styles == {"--", "-."}
    own, other = (
        next(line for line in ax.lines if to_hex(line.get_color()) == plot_colour(0)).get_linestyle()
        for ax in figure.axes
    )
    assert (own, other) == (":", "-")
    assert [t.get_text() for t in figure.axes[0].texts] == ["1", "2", "3", "4"]
    plain = plot.curves(table(own_fill=table().own_fill & False))
    assert [t.get_text() for t in plain.legends[0].get_texts()] == ["1  b", "2  a", "3  c", "4  d"]


def test_curves_of_twelve_methods_have_a_colour_each():
    names = [f"method {k}" for k in range(12)]
    ds = table().isel(method=[0] * 12, method_other=[0] * 12).assign_coords(method=names, method_other=names)
    colours = {to_hex(line.get_color()) for line in plot.curves(ds).axes[0].lines}
    assert len(colours) == 12


@pytest.mark.parametrize("fills", [1, 2, 4, 5])
def test_every_column_of_panels_has_its_shares(fills):
    names = [f"fill {k}" for k in range(fills)]
    ds = table().isel(fill=[0] * fills).assign_coords(fill=names)
    figure = drawn(plot.curves(ds))
    assert len(figure.axes) == fills
    left = {round(ax.get_position().x0, 2) for ax in figure.axes}
    labelled = [ax for ax in figure.axes if any(t.get_visible() and t.get_text() for t in ax.get_xticklabels())]
    assert {round(ax.get_position().x0, 2) for ax in labelled} == left


# ------------------------------------------------------------------------------------------------------- what is given


@pytest.mark.filterwarnings("error")
def test_names_are_no_formulas():
    names = [r"$\frac$ costs $5$", "_hidden", "c", "a name that is much too long to be written on one line of a label"]
    ds = table().assign_coords(method=names, fill=["$", "_z"])
    for figure in (plot.ranking(ds), plot.matrix(ds), plot.curves(ds)):
        drawn(figure)


@pytest.mark.parametrize("name", ["ranking", "matrix", "curves"])
def test_what_is_no_comparison_is_refused(name):
    draw = getattr(plot, name)
    with pytest.raises(TypeError, match="Dataset that compare returns, got ndarray"):
        draw(np.zeros(3))
    with pytest.raises(ValueError, match=r"give what tsattr\.compare returned"):
        draw(table().drop_vars("score"))
    with pytest.raises(ValueError, match=r"ranking is one of \['signed', 'absolute'\], got 'size'"):
        draw(table(), ranking="size")


def test_measures_and_curves_that_are_not_there():
    with pytest.raises(ValueError, match=r"measure is one of \['gap'\], got 'deletion'"):
        plot.ranking(table(), "deletion")
    with pytest.raises(ValueError, match=r"curve is one of \['deletion_curve'\] in this table, got 'insertion_curve'"):
        plot.curves(table(), "insertion_curve")
    with pytest.raises(ValueError, match="knows no fills"):
        plot.matrix(table(gap=table().gap.mean("fill", keep_attrs=True)))


def test_a_real_table_with_targets_one_fill_and_no_controls(tmp_path):
    from .conftest import relu_net, signals

    methods = {"IG": ta.IntegratedGradients(steps=4), "saliency": ta.Saliency()}
    found = ta.compare(
        relu_net(),
        signals(6, seed=5),
        methods,
        target=[0, 1],
        fills={"mean": ta.baselines.Mean()},
        controls=False,
        subsets=4,
    )
    found.to_netcdf(tmp_path / "t.nc")
    again = xr.load_dataset(tmp_path / "t.nc")
    for measure in again.measure.values:
        drawn(plot.ranking(again, str(measure)))
        drawn(plot.matrix(again, str(measure), "absolute"))
    ax = drawn(plot.curves(again, "insertion_curve")).axes[0]
    expected = found.insertion_curve.sel(ranking="signed").mean(["sample", "target"]).isel(fill=0)
    order = [line.get_ydata() for line in ax.lines]
    np.testing.assert_allclose(np.sort(order, 0), np.sort(expected.transpose("method", "share").values, 0))
