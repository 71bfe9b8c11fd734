"""Pictures of additive models are tested by what they say, on terms whose shapes are known."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from matplotlib.collections import QuadMesh
from matplotlib.colors import to_hex, to_rgb
from matplotlib.dates import date2num
from matplotlib.figure import Figure

from tsattr import plot
from tsattr.plot import shade
from tsattr.plot.curves import COLOURS
from tsattr.plot.features import FeatureValues, _date_ticks, missing_share, ranked_terms

GRID, GRID_B = 33, 17
FEATURES = ["age", "bmi", "sex", "ward", "noise"]
LEVELS = {"sex": ["female", "male"], "ward": ["medical", "surgical", "intensive care"]}
PAIRS = [("age", "sex"), ("age", "bmi")]
ABSENT = 0.4  # what a missing bmi adds


def rows(n=500, seed=0):
    """A table of patients; one bmi in eight is missing."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "age": rng.uniform(20, 90, n),
            "bmi": rng.lognormal(3.3, 0.2, n),
            "sex": rng.choice(LEVELS["sex"], n),
            "ward": rng.choice(LEVELS["ward"], n, p=[0.6, 0.3, 0.1]),
            "noise": rng.normal(size=n),
        }
    )
    return frame.mask(np.arange(n)[:, None] % 8 == np.array([9, 0, 9, 9, 9]))


def codes(frame):
    """The table as numbers, levels by their place."""
    coded = {name: frame[name].map(LEVELS[name].index) if name in LEVELS else frame[name] for name in frame}
    return pd.DataFrame(coded)


MAINS = {
    "age": lambda v: 0.04 * (v - 55) + 0.8 * (v > 65) - 0.3,
    "bmi": lambda v: 0.01 * (v - 27) ** 2 - 0.3,
    "sex": lambda v: 0.3 - 0.6 * v,
    "ward": lambda v: np.array([-0.4, 0.3, 1.5])[v.astype(int)],
    "noise": lambda v: 0.0 * v,
}
SURFACES = [lambda a, b: 0.02 * (a - 55) * (2 * b - 1), lambda a, b: 0.003 * (a - 55) * (b - 27)]


def grid_of(values, name, points):
    """Quantiles of numbers, codes of levels, filled up with NaN."""
    known = np.arange(len(LEVELS[name])) if name in LEVELS else np.nanquantile(values, np.linspace(0, 1, points))
    return np.pad(known.astype(float), (0, points - len(known)), constant_values=np.nan)


def nearest_share(values, grid):
    known = values[np.isfinite(values)]
    at = np.nanargmin(abs(known[:, None] - grid), axis=1)
    return np.bincount(at, minlength=len(grid)) / len(values)


def evaluated(function, *grids):
    """A function on a grid, NaN beyond its points."""
    kept = np.isfinite(sum(grids))
    return np.where(kept, function(*[np.nan_to_num(g) for g in grids]), np.nan)


def additive(targets=None, pairs=True, frame=None):
    """The terms of the known model as `explain_global` gives them; with targets, each a multiple of it."""
    frame = rows() if frame is None else frame
    table = codes(frame)
    value = np.array([grid_of(table[name].values, name, GRID) for name in FEATURES])
    shape = np.array([evaluated(MAINS[name], grid) for name, grid in zip(FEATURES, value)])
    level = np.full(value.shape, "", dtype=object)
    for name, known in LEVELS.items():
        level[FEATURES.index(name), : len(known)] = known
    missing = np.array([ABSENT if name == "bmi" else np.nan for name in FEATURES])
    size = np.array([np.nanstd(MAINS[name](table[name].fillna(27).values)) for name in FEATURES])
    chosen = PAIRS if pairs else []
    first = np.array([grid_of(table[a].values, a, GRID_B) for a, _ in chosen]).reshape(-1, GRID_B)
    second = np.array([grid_of(table[b].values, b, GRID_B) for _, b in chosen]).reshape(-1, GRID_B)
    surface = [evaluated(f, a[:, None], b) for f, a, b in zip(SURFACES, first, second)]
    surface = np.array(surface).reshape(-1, GRID_B, GRID_B)
    pair_size = np.array([np.nanstd(s) for s in surface])
    first = np.pad(first, ((0, 0), (0, GRID - GRID_B)), constant_values=np.nan)  # `grid` is that of the shapes
    surface = np.pad(surface, ((0, 0), (0, GRID - GRID_B), (0, 0)), constant_values=np.nan)
    matrix = np.zeros((5, 5))
    for (a, b), s in zip(chosen, pair_size):
        matrix[FEATURES.index(a), FEATURES.index(b)] = matrix[FEATURES.index(b), FEATURES.index(a)] = s
    scores = {
        "shape": (("feature", "grid"), shape, 0.15),
        "importance": (("feature",), size, 0.05),
        "interaction": (("pair", "grid", "grid_b"), surface, 0.1),
        "pair_importance": (("pair",), pair_size, 0.05),
        "missing": (("feature",), missing, None),
        "interaction_importance": (("feature", "feature_b"), matrix, None),
        "intercept": ((), np.array(-1.0), None),
    }
    factor = np.array([1.0]) if targets is None else np.linspace(1, -1, len(targets))
    variables = {}
    for name, (dims, values, half) in scores.items():
        ends = {"": 0.0} if half is None else {"": 0.0, "lower": -half, "upper": half}
        for end, shift in ends.items():
            key = name if not end else end if name == "shape" else f"{name}_{end}"
            size = name.endswith("importance")
            each = np.stack([(abs(f * values) if size else f * values) + shift for f in factor])
            each = np.maximum(each, 0) if size else each
            variables[key] = (dims, each[0]) if targets is None else (("target", *dims), each)
    density = [nearest_share(table[name].values, grid) for name, grid in zip(FEATURES, value)]
    ds = xr.Dataset(
        {
            **variables,
            "value": (("feature", "grid"), value),
            "level": (("feature", "grid"), level.astype(str)),
            "density": (("feature", "grid"), np.array(density)),
            "kind": ("feature", ["categorical" if name in LEVELS else "numeric" for name in FEATURES]),
            "value_first": (("pair", "grid"), first),
            "value_second": (("pair", "grid_b"), second),
        },
        {
            "feature": FEATURES,
            "feature_b": FEATURES,
            "pair": [f"{a} x {b}" for a, b in chosen],
            "first": ("pair", [a for a, _ in chosen]),
            "second": ("pair", [b for _, b in chosen]),
        },
        {"method": "AFEXClassifier()", "link": "logit", "units": "log-odds", "purify": "marginals"},
    )
    return ds if targets is None else ds.assign_coords(target=targets).assign_attrs(link="softmax")


def local(frame=None, targets=None, pairs=True):
    """The contributions of the known model to rows, as `explain_local` gives them."""
    frame = rows(6) if frame is None else frame
    table = codes(frame)
    main = np.stack([np.where(table[n].isna(), ABSENT, MAINS[n](table[n].fillna(27).values)) for n in FEATURES], 1)
    chosen = list(zip(PAIRS, SURFACES)) if pairs else []
    shared = [np.nan_to_num(f(table[a].values, table[b].values)) for (a, b), f in chosen]
    pair_value = np.stack(shared, 1) if shared else np.zeros((len(frame), 0))
    attribution = main.copy()
    for k, ((a, b), _) in enumerate(chosen):
        attribution[:, [FEATURES.index(a), FEATURES.index(b)]] += pair_value[:, [k]] / 2
    scores = {
        "attribution": (("sample", "feature"), attribution),
        "main": (("sample", "feature"), main),
        "pair_value": (("sample", "pair"), pair_value),
        "standard_error": (("sample", "feature"), np.full(main.shape, 0.08)),
        "prediction": (("sample",), attribution.sum(1) - 1.0),
        "reference": (("sample",), np.full(len(frame), -1.0)),
    }
    factor = np.linspace(1, -1, len(targets)) if targets is not None else None
    if factor is not None:
        scores = {k: ((*dims, "target"), v[..., None] * factor) for k, (dims, v) in scores.items()}
        scores["standard_error"] = (scores["attribution"][0], np.full((*main.shape, len(targets)), 0.08))
    coords = {name: additive(pairs=pairs)[name] for name in ("feature", "pair", "first", "second")}
    ds = xr.Dataset(scores, coords, {"method": "AFEXClassifier()", "link": "logit", "units": "log-odds"})
    ds["status"] = ("sample", ["ok"] * len(frame))
    return ds if targets is None else ds.assign_coords(target=targets).assign_attrs(link="softmax")


def lines(ax, style="-"):
    """The lines of a style that have points enough to be a shape."""
    return [line for line in ax.lines if line.get_linestyle() == style and len(line.get_xdata()) > 2]


def rectangles(ax):
    """The bars of an axes, its tinted background left out: left, bottom, width, height."""
    bars = [p for p in ax.patches if p.get_alpha() != 0.05]
    return np.array([(*p.get_xy(), p.get_width(), p.get_height()) for p in bars])


def ticks(axis):
    return [t.get_text() for t in axis.get_ticklabels()]


def words(figure):
    texts = [t.get_text() for ax in figure.axes for t in ax.texts]
    return " | ".join([*texts, *(t.get_text() for t in figure.texts)])


# -------------------------------------------------------------------------------------------------------------- shapes


def test_a_number_is_a_line_with_its_band_and_stays_constant_beyond_the_range():
    terms = additive()
    (ax,) = plot.shape(terms, "age").axes
    here = terms.sel(feature="age")
    (line,) = lines(ax)
    np.testing.assert_array_equal(line.get_xdata(), here["value"])
    np.testing.assert_array_equal(line.get_ydata(), here["shape"])
    (band,) = [c for c in ax.collections if len(c.get_paths()) == 1]
    vertices = band.get_paths()[0].vertices
    at_start = vertices[vertices[:, 0] == float(here["value"][0])][:, 1]
    assert [at_start.min(), at_start.max()] == pytest.approx([float(here[end][0]) for end in ("lower", "upper")])
    low, high = (line.get_data() for line in ax.lines if line.get_linestyle() == ":")
    assert low[0][1] < low[0][0] == float(here["value"][0])
    assert high[0][1] > high[0][0] == float(here["value"][-1])
    assert set(low[1]) == {float(here["shape"][0])}
    assert set(high[1]) == {float(here["shape"][-1])}


def test_levels_are_points_with_names():
    figure = plot.shape(additive(), "ward")
    (ax,) = figure.axes
    assert ticks(ax.xaxis) == ["medical", "surgical", "intensive\ncare"]
    (points,) = [line for line in ax.lines if line.get_marker() == "o"]
    np.testing.assert_allclose(points.get_data(), [[0, 1, 2], [-0.4, 0.3, 1.5]])
    assert not [line for line in ax.lines if line.get_linestyle() == ":"]
    assert "dotted" not in words(figure)


def test_a_missing_value_stands_apart_with_its_share():
    figure = plot.shape(additive(), "bmi")
    (ax,) = figure.axes
    (point,) = [line for line in ax.lines if line.get_marker() == "D"]
    largest = float(additive().sel(feature="bmi")["value"].max())
    assert point.get_xdata()[0] > largest
    assert point.get_ydata()[0] == ABSENT
    assert "missing, 13 %" in words(figure)
    figure.draw_without_rendering()
    assert max(ax.get_xticks()) < point.get_xdata()[0]
    assert not [line for line in plot.shape(additive(), "age").axes[0].lines if line.get_marker() == "D"]


def test_the_missing_level_comes_after_the_others():
    terms = additive()
    terms["missing"].loc["sex"] = -0.7
    (ax,) = plot.shape(terms, "sex").axes
    (point,) = [line for line in ax.lines if line.get_marker() == "D"]
    assert [point.get_xdata()[0], point.get_ydata()[0]] == [2.0, -0.7]
    assert ticks(ax.xaxis) == LEVELS["sex"]


def test_the_strip_shows_where_the_data_lie():
    terms = additive()
    (ax,) = plot.shape(terms, "ward").axes
    share = terms["density"].sel(feature="ward").values[:3]
    bars = rectangles(ax)
    np.testing.assert_allclose(bars[:, 0] + bars[:, 2] / 2, [0, 1, 2])
    np.testing.assert_allclose(bars[:, 3] / bars[:, 3].max(), share / share.max())


def test_shares_are_spread_without_loss_and_where_they_belong():
    terms = additive()
    values = FeatureValues.of(terms, 1)
    centres, widths, share = values.density_bars(terms["density"].values[1][values.cells])
    assert share.sum() == pytest.approx(float(terms["density"][1].sum())) == pytest.approx(1 - 63 / 500)
    bmi = rows()["bmi"].dropna()
    counted = np.histogram(bmi, np.append(centres - widths / 2, centres[-1] + widths[-1] / 2))[0] / 500
    assert abs(np.cumsum(counted) - np.cumsum(share)).max() < 1.5 / GRID  # a grid point stands for 1 / GRID of the data


def test_few_numbers_keep_a_bar_each():
    terms = additive().isel(grid=slice(0, 5), feature=[0])
    values = FeatureValues.of(terms, 0)
    centres, widths, share = values.density_bars(np.array([0.1, 0.2, 0.3, 0.2, 0.2]))
    np.testing.assert_array_equal(centres, terms["value"][0])
    assert share.tolist() == [0.1, 0.2, 0.3, 0.2, 0.2]
    assert widths[0] < np.diff(centres).min()


def test_a_feature_of_one_value_is_drawn():
    terms = additive().isel(feature=[0])
    constant = np.where(np.arange(GRID) == 0, 5.0, np.nan)[None]
    figure = plot.shape(terms.assign(value=(("feature", "grid"), constant)), "age")
    figure.draw_without_rendering()
    assert 5.0 in figure.axes[0].lines[0].get_xdata()


def test_several_features_by_importance_on_one_scale():
    terms = additive()
    figure = plot.shape(terms)
    order = [FEATURES[i] for i in np.argsort(-terms["importance"].values)]
    assert [ax.get_xlabel() for ax in figure.axes] == order == ["age", "ward", "bmi", "sex", "noise"]
    assert [ax.get_xlabel() for ax in plot.shape(terms, most=2).axes] == order[:2]
    assert [ax.get_xlabel() for ax in plot.shape(terms, ["sex", 0]).axes] == ["sex", "age"]
    (limits,) = {ax.get_ylim() for ax in figure.axes}
    assert limits[0] < float(terms["lower"].min())
    assert limits[1] > float(terms["upper"].max())
    assert [ax.get_ylabel() for ax in figure.axes] == ["contribution [log-odds]", "", "", "contribution [log-odds]", ""]
    for said in ("95 %", "training data lie", "beyond the training range"):
        assert said in figure.get_supxlabel()


def test_each_class_has_a_line_of_its_colour():
    terms = additive(["N", "S", "V"])
    figure = plot.shape(terms, ["age", "sex"])
    drawn = lines(figure.axes[0])
    assert [line.get_color() for line in drawn] == list(COLOURS[:3])
    np.testing.assert_array_equal([line.get_ydata() for line in drawn], terms["shape"].sel(feature="age"))
    assert [t.get_text() for t in figure.legends[0].get_texts()] == ["N", "S", "V"]
    points = [line for line in figure.axes[1].lines if line.get_marker() == "o"]
    assert len({tuple(p.get_xdata()) for p in points}) == 3  # side by side
    assert [p.get_color() for p in points] == list(COLOURS[:3])
    (alone,) = lines(plot.shape(terms, "age", target="V").axes[0])
    np.testing.assert_array_equal(alone.get_ydata(), terms["shape"].sel(feature="age", target="V"))
    np.testing.assert_array_equal(lines(plot.shape(terms, "age", target=2).axes[0])[0].get_ydata(), alone.get_ydata())
    with pytest.raises(ValueError, match=r"target 'X' is not in the result, which has \['N', 'S', 'V'\]"):
        plot.shape(terms, target="X")
    with pytest.raises(ValueError, match="13 targets"):
        plot.shape(additive([str(k) for k in range(13)]))
    with pytest.raises(ValueError, match="a single target"):
        plot.shape(additive(), target="N")


def test_shapes_are_drawn_where_asked():
    ax = Figure().subplots()
    assert plot.shape(additive(), "age", ax=ax) is ax.figure
    assert ax.get_xlabel() == "age"
    with pytest.raises(ValueError, match="one ax holds one feature, 5"):
        plot.shape(additive(), ax=ax)
    assert plot.shape(additive(), "age", title="cost $").get_suptitle() == r"cost \$"
    units = additive().assign_coords(units=("feature", ["years", "kg/m2", "", "", ""]))
    assert [ax.get_xlabel() for ax in plot.shape(units, ["age", "sex"]).axes] == ["age [years]", "sex"]


def test_what_is_no_shape():
    with pytest.raises(TypeError, match=r"explain_global returns, got DataArray"):
        plot.shape(additive()["shape"])
    with pytest.raises(ValueError, match=r"lacks \['shape', 'value', 'kind'\]"):
        plot.shape(local())
    with pytest.raises(ValueError, match=r"feature 'weight' is not in the result, which has \['age'"):
        plot.shape(additive(), "weight")
    with pytest.raises(ValueError, match="no feature is named"):
        plot.shape(additive(), [])


# --------------------------------------------------------------------------------------------------------------- pairs


def mesh(ax, hatched=False):
    (found,) = [c for c in ax.collections if bool(c.get_hatch()) == hatched and c.get_array() is not None]
    return found


def test_a_pair_is_a_map_centred_at_zero():
    terms = additive()
    figure = plot.interaction(terms, "age x bmi")
    ax, above, beside = figure.axes[:3]
    cells = mesh(ax)
    assert isinstance(cells, QuadMesh)
    surface = terms["interaction"][1, :GRID_B].values
    np.testing.assert_array_equal(np.asarray(cells.get_array()).reshape(GRID_B, GRID_B), surface.T)
    assert cells.get_cmap() is shade.SIGNED
    assert cells.get_clim()[1] == -cells.get_clim()[0] == shade.symmetric_limit(surface)
    assert [ax.get_xlabel(), ax.get_ylabel()] == ["age", "bmi"]
    value = terms["value_first"][1].values
    assert ax.get_xlim() == pytest.approx((np.nanmin(value), np.nanmax(value)))
    shares = [rectangles(above)[:, 3].sum(), rectangles(beside)[:, 2].sum()]
    np.testing.assert_allclose(shares, terms["density"].sel(feature=["age", "bmi"]).sum("grid"))
    label = figure.axes[-1].get_xlabel()
    assert "[log-odds]" in label
    assert "beyond each alone" in label


def test_levels_of_a_pair_have_names():
    ax = plot.interaction(additive(), "age x sex").axes[0]
    assert ticks(ax.yaxis) == LEVELS["sex"]
    assert ax.get_ylim() == (-0.5, 1.5)


def test_cells_that_cannot_be_told_from_zero_are_hatched():
    terms = additive()
    drawn = np.ma.getmaskarray(mesh(plot.interaction(terms, 1).axes[0], hatched=True).get_array()).ravel()
    low, high = (terms[f"interaction_{end}"][1, :GRID_B].values.T for end in ("lower", "upper"))
    np.testing.assert_array_equal(~drawn, ((low <= 0) & (high >= 0)).ravel())
    assert 0 < drawn.mean() < 1
    sure = plot.interaction(terms.drop_vars("interaction_lower"), 1)
    assert "hatched" not in sure.axes[-1].get_xlabel()


def test_a_pair_is_known_by_label_place_or_names():
    terms = additive()
    for pair in ("age x bmi", 1, -1, ("age", "bmi"), ("bmi", "age")):
        assert plot.interaction(terms, pair).get_suptitle() == "age x bmi"
    with pytest.raises(ValueError, match=r"pair \('sex', 'bmi'\) is not in the result, which has \['age x sex'"):
        plot.interaction(terms, ("sex", "bmi"))
    with pytest.raises(ValueError, match="has no pairs"):
        plot.interaction(additive(pairs=False), "age x sex")
    several = additive(["N", "V"])
    with pytest.raises(ValueError, match=r"one of \['N', 'V'\]"):
        plot.interaction(several, 0)
    one = mesh(plot.interaction(several, 1, target="V").axes[0]).get_array()
    np.testing.assert_array_equal(np.ravel(one), -np.ravel(mesh(plot.interaction(terms, 1).axes[0]).get_array()))


# ---------------------------------------------------------------------------------------------------------- importance


def test_bars_of_features_and_pairs_by_size():
    terms = additive()
    ranked = ranked_terms(terms)
    figure = plot.importance(terms)
    (ax,) = figure.axes
    names = ["age", "ward", "age x sex", "age x bmi", "bmi", "sex", "noise"]
    assert ticks(ax.yaxis) == ranked["term"].values.tolist() == names
    np.testing.assert_allclose(rectangles(ax)[:, 2], ranked["importance"])
    segments = ax.collections[0].get_segments()
    ends = [[s[0][0], s[1][0]] for s in segments]
    np.testing.assert_allclose(
        ends, np.column_stack([np.minimum(ranked["lower"], ranked["importance"]), ranked["upper"]])
    )
    pale = [name for name, bar in zip(names, ax.patches) if to_hex(bar.get_facecolor()) == "#b8b8b8"]
    assert pale == [f"{a} x {b}" for a, b in PAIRS]
    few = plot.importance(terms, most=3).axes[0]
    assert ticks(few.yaxis) == names[:3]
    assert few.get_ylabel() == "3 largest of 7 terms"
    assert "[log-odds]" in figure.get_supxlabel()


def test_each_class_has_its_bars():
    terms = additive(["N", "S", "V"])
    figure = plot.importance(terms)
    assert [ax.get_title(loc="left") for ax in figure.axes] == ["N", "S", "V"]
    sizes = [rectangles(ax)[0, 2] for ax in figure.axes]
    np.testing.assert_allclose(sizes, terms["importance"].sel(feature="age"))
    assert len(plot.importance(terms, target="S").axes) == 1
    assert ticks(plot.importance(additive(pairs=False)).axes[0].yaxis)[0] == "age"


# ----------------------------------------------------------------------------------------------------------- waterfall


def stairs(ax):
    """Start and end of each step."""
    bars = rectangles(ax)
    return np.column_stack([bars[:, 0], bars[:, 0] + bars[:, 2]])


def test_steps_lead_from_the_reference_to_the_prediction():
    found, frame = local(), rows(6)
    (ax,) = plot.waterfall(found, 1, x=frame).axes
    steps = stairs(ax)
    assert steps[0, 0] == float(found["reference"][1])
    np.testing.assert_allclose(steps[1:, 0], steps[:-1, 1])
    assert steps[-1, 1] == pytest.approx(float(found["prediction"][1]))
    size = abs(steps[:, 1] - steps[:, 0])
    assert (np.diff(size) <= 1e-12).all()
    assert size.sum() == pytest.approx(float(abs(found["main"][1]).sum() + abs(found["pair_value"][1]).sum()))
    names = ticks(ax.yaxis)
    assert [names[0], names[-1]] == ["reference", "prediction"]
    assert f"age = {frame['age'][1]:.4g}" in names
    assert {f"sex = {frame['sex'][1]}", "age x sex", "age x bmi"} < set(names)
    hatched = [bar.get_hatch() for bar in ax.patches]
    assert [bool(h) for h in hatched] == [" x " in name for name in names[1:-1]]
    colours = [to_hex(bar.get_facecolor()) for bar in ax.patches]
    assert colours == [shade.POSITIVE if b >= a else shade.NEGATIVE for a, b in steps]


def test_missing_values_and_names_without_values():
    names = ticks(plot.waterfall(local(), 0, x=rows(6)).axes[0].yaxis)
    assert "bmi = missing" in names
    assert {"age", "bmi"} < set(ticks(plot.waterfall(local(), 0).axes[0].yaxis))


def test_the_rest_is_summed():
    found = local()
    (ax,) = plot.waterfall(found, 2, most=3).axes
    names, steps = ticks(ax.yaxis), stairs(ax)
    assert len(steps) == 3
    assert names[3] == "5 smaller terms"
    assert steps[-1, 1] == pytest.approx(float(found["prediction"][2]))


def test_ends_are_written_as_probabilities_where_the_link_makes_them_such():
    found = local()
    chance = 100 / (1 + np.exp(-float(found["prediction"][1])))
    said = words(plot.waterfall(found, 1))
    assert f"(probability {chance:.3g} %)" in said
    assert "(probability 26.9 %)" in said  # at a score of -1
    assert "probability" not in words(plot.waterfall(found.assign_attrs(link="identity"), 1))
    several = local(targets=["N", "S", "V"])
    odds = np.exp(several["prediction"][1].values)
    (ax,) = plot.waterfall(several, 1).axes
    assert ax.get_title(loc="left") == f"target: {'NSV'[odds.argmax()]}"
    assert f"(probability {100 * odds.max() / odds.sum():.3g} %)" in words(ax.figure)
    assert plot.waterfall(several, 1, target="S").axes[0].get_title(loc="left") == "target: S"


@pytest.mark.parametrize("sample", range(3))
def test_ends_are_written_inside_the_picture(sample):
    (ax,) = plot.waterfall(local(), sample).axes
    ax.figure.draw_without_rendering()
    frame = ax.get_window_extent()
    boxes = [t.get_window_extent() for t in ax.texts]
    assert all(frame.x0 <= box.x0 and box.x1 <= frame.x1 for box in boxes)


def test_what_is_not_accounted_for_is_a_step_of_its_own():
    cells = ("sample", "feature")
    incomplete = xr.Dataset(
        {
            "attribution": (cells, [[1.0, -3.0, np.nan]]),
            "prediction": ("sample", [0.5]),
            "reference": ("sample", [2.0]),
        },
        {"feature": ["a", "b", "c"]},
    )
    (ax,) = plot.waterfall(incomplete).axes
    assert ticks(ax.yaxis) == ["reference", "b", "a", "not accounted for", "prediction"]
    np.testing.assert_allclose(stairs(ax)[-1], [0.0, 0.5])
    whole = incomplete.assign(prediction=("sample", [1e-9]))
    assert "not accounted for" not in ticks(plot.waterfall(whole).axes[0].yaxis)


def test_standard_errors_of_steps_that_are_whole_attributions():
    found = local()
    (ax,) = plot.waterfall(found, 1).axes
    ends = [c.get_segments()[0] for c in ax.collections if len(c.get_segments()) == 1]
    widths = [s[1][0] - s[0][0] for s in ends]
    np.testing.assert_allclose(widths, [0.16, 0.16])  # ward and noise are in no pair
    plain = plot.waterfall(local(pairs=False), 1).axes[0]
    assert len([c for c in plain.collections if len(c.get_segments()) == 1]) == 5


def test_waterfalls_that_cannot_be():
    found = local()
    with pytest.raises(ValueError, match=r"needs \['reference'\]"):
        plot.waterfall(found.drop_vars("reference"))
    with pytest.raises(ValueError, match=r"x has shape \(5, 5\) and its attribution \(6, 5\)"):
        plot.waterfall(found, x=rows(5))
    with pytest.raises(ValueError, match="sample 6 is not in the result"):
        plot.waterfall(found, 6)
    with pytest.raises(TypeError, match="got ndarray"):
        plot.waterfall(found["attribution"].values)
    named = found.assign_coords(sample=list("abcdef"))
    assert stairs(plot.waterfall(named, "c").axes[0]).tolist() == stairs(plot.waterfall(found, 2).axes[0]).tolist()
    shuffled = rows(6)[FEATURES[::-1]]
    assert ticks(plot.waterfall(found, 1, x=shuffled).axes[0].yaxis) == ticks(
        plot.waterfall(found, 1, x=rows(6)).axes[0].yaxis
    )


# ---------------------------------------------------------------------------------------------------------- dependence


def test_attribution_against_value():
    frame = rows(60)
    found = local(frame)
    figure = plot.dependence(found, frame, ["age", "ward", "bmi"])
    age, ward, bmi = figure.axes
    np.testing.assert_allclose(age.lines[0].get_data(), [frame["age"], found["attribution"].sel(feature="age")])
    assert ticks(ward.xaxis) == ["intensive\ncare", "medical", "surgical"]
    heights = [s[0][1] for c in ward.collections for s in c.get_segments()]
    np.testing.assert_allclose(heights, [1.5, -0.4, 0.3])
    assert "missing, 13 %" in words(figure)
    gone = [line for line in bmi.lines if line.get_color() == shade.POSITIVE]
    np.testing.assert_allclose(gone[0].get_ydata(), ABSENT)
    assert gone[0].get_xdata().min() > frame["bmi"].max()
    assert plot.dependence(found, frame).axes[0].get_xlabel() == "age"
    assert age.get_ylabel() == "attribution [log-odds]"
    several = plot.dependence(local(frame, ["N", "V"]), frame, "age", target="V")
    np.testing.assert_allclose(several.axes[0].lines[0].get_ydata(), -found["attribution"].sel(feature="age"))


def test_dates_and_many_levels_of_a_column():
    day = pd.Series(pd.date_range("2020-01-01", periods=40, freq="D"))
    frame = pd.DataFrame({"day": day.where(day.index != 5), "name": [f"n{min(i // 2, 15)}" for i in range(40)]})
    a = xr.DataArray(np.ones((40, 2)), dims=("sample", "feature"), coords={"feature": ["day", "name"]})
    dates, names = plot.dependence(xr.Dataset({"attribution": a}), frame, ["day", "name"]).axes
    at = dates.lines[0].get_xdata()
    np.testing.assert_allclose(at, np.delete(date2num(day), 5))
    assert len(ticks(names.xaxis)) == 13
    assert ticks(names.xaxis)[-1] == "other levels"


def test_the_outer_hundredths_of_the_data_set_no_scale():
    grid, value = ("feature", "grid"), np.arange(5.0)[None]
    data = {
        "value": (grid, value),
        "shape": (grid, np.array([[-90.0, -1.0, 0.0, 1.0, 50.0]])),
        "density": (grid, np.array([[0.005, 0.3, 0.39, 0.3, 0.005]])),
        "kind": ("feature", ["numeric"]),
    }
    terms = xr.Dataset(data, {"feature": ["age"]}, {"units": "log-odds"})
    low, high = plot.shape(terms).axes[0].get_ylim()
    assert -3 < low < -1
    assert 1 < high < 3
    levels = terms.assign(kind=("feature", ["categorical"]), level=(grid, np.array([list("abcde")])))
    low, high = plot.shape(levels).axes[0].get_ylim()
    assert low < -90
    assert high > 50


# ---- labels, orders, shares


def test_a_whole_number_is_a_label_or_a_place_and_never_both():
    found = local(rows(6))
    numbered = found.assign_coords(sample=[5, 3, 0, 9, 8, 7])
    ends = lambda figure: figure.axes[0].texts[-1].get_text()  # noqa: E731
    by_label = ends(plot.waterfall(numbered, 0))
    assert by_label == ends(plot.waterfall(found.drop_vars("sample", errors="ignore"), 2))
    assert ends(plot.waterfall(numbered)) == ends(plot.waterfall(numbered, 5))  # by default the first
    with pytest.raises(
        ValueError, match=r"sample 1 is not in the result.* labelled by numbers, and 1 is taken for a label"
    ):
        plot.waterfall(numbered, 1)
    named = found.assign_coords(sample=list("abcdef"))
    assert ends(plot.waterfall(named, 2)) == ends(plot.waterfall(named, "c")) == by_label


def test_levels_stand_in_the_order_of_their_names():
    days = ["Fri", "Mon", "Sat", "Sun", "Thu", "Tue", "Wed"]
    week = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"]
    grid = ("feature", "grid")
    size = np.arange(7.0)[None]
    terms = xr.Dataset(
        {"value": (grid, size), "shape": (grid, size), "level": (grid, [days]), "kind": ("feature", ["categorical"])},
        {"feature": ["day"]},
    )
    (ax,) = plot.shape(terms, "day").axes
    assert [tick.get_text() for tick in ax.get_xticklabels()] == week
    shown = ax.containers[0].lines[0].get_ydata()
    np.testing.assert_array_equal(shown, [days.index(day) for day in week])
    frame = pd.DataFrame(
        {"day": np.tile(days, 4), "size": pd.Categorical(["S", "M", "L", "M"] * 7, ["S", "M", "L"], True)}
    )
    a = xr.DataArray(np.ones((28, 2)), dims=("sample", "feature"), coords={"feature": ["day", "size"]})
    figure = plot.dependence(xr.Dataset({"attribution": a}), frame, ["day", "size"])
    assert [[t.get_text() for t in ax.get_xticklabels()] for ax in figure.axes] == [week, ["S", "M", "L"]]


def test_nothing_missing_is_no_share():
    terms = additive()
    off = terms["density"] * (1 - 1e-15)
    assert missing_share(terms.assign(density=off), 0) == 0
    assert missing_share(terms, 1) == pytest.approx(0.125, abs=0.01)
    assert np.isnan(missing_share(terms.drop_vars("density"), 0))


def test_dots_are_coloured_by_another_column():
    frame = rows(60)
    found = local(frame)
    age, scale = plot.dependence(found, frame, "age", colour="bmi").axes
    assert scale.get_ylabel() == "bmi"
    colours = age.collections[0].get_facecolors()[:, :3]
    low, high = frame["bmi"].idxmin(), frame["bmi"].idxmax()
    assert not np.allclose(colours[low], colours[high])
    np.testing.assert_allclose(colours[frame["bmi"].isna()], to_rgb(shade.NEUTRAL) * np.ones((8, 3)), atol=0.01)
    figure = plot.dependence(found, frame, "age", colour="sex")
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["female", "male"]


def test_dependence_needs_a_target_that_is_the_same_for_all():
    frame = rows(4)
    a = xr.DataArray(np.ones((4, 5)), dims=("sample", "feature"), coords={"feature": FEATURES})
    ds = xr.Dataset({"attribution": a, "predicted": ("sample", ["V", "N", "V", "V"])}, attrs={"target": "Predicted()"})
    with pytest.raises(ValueError, match=r"its own predicted class, one of \['N', 'V'\].* target=class"):
        plot.dependence(ds, frame)
    plot.dependence(ds.isel(sample=[0, 2]), frame.iloc[[0, 2]], "age")
    plot.dependence(ds.assign_attrs(target="V"), frame, "age")


def test_a_waterfall_names_what_is_explained():
    found = local(rows(3))
    assert plot.waterfall(found.assign_attrs(target="V")).axes[0].get_title("left") == "target: V"
    own = found.assign(predicted=("sample", ["N", "V", "V"])).assign_attrs(target="Predicted()")
    assert plot.waterfall(own, 0).axes[0].get_title("left") == "target: N"


def test_bars_of_columns_are_sorted():
    values = xr.DataArray([1.0, -3.0, 2.0], dims="feature", coords={"feature": ["a", "b", "c"]})
    names = lambda figure: [t.get_text() for t in figure.axes[0].get_yticklabels()]  # noqa: E731
    assert names(plot.bars(values)) == ["b", "c", "a"]
    assert names(plot.bars(values, sort=False)) == ["a", "b", "c"]
    leads = values.rename(feature="lead")
    assert names(plot.bars(leads)) == ["a", "b", "c"]
    assert names(plot.bars(leads, sort=True, most=2)) == ["b", "c"]


@pytest.mark.parametrize("days", np.geomspace(1e-4, 40000, 40))
def test_the_ticks_of_dates_are_few_whatever_they_span(days):
    ax = Figure(figsize=(3, 2)).subplots()
    ax.xaxis.set_major_locator(_date_ticks())
    ax.set_xlim(18000.1, 18000.1 + days)
    low, high = ax.get_xlim()
    assert sum(low <= tick <= high for tick in ax.get_xticks()) <= 6


TIMES = pd.Series(pd.date_range("2020-01-01", periods=20, freq="D"))
OF_TIME = {
    "dates": (TIMES, "day", 18262.0, 18281.0),
    "dates of a zone": (TIMES.dt.tz_localize("UTC"), "day", 18262.0, 18281.0),
    "days of Arrow": ("date32[pyarrow]", "day", 18262.0, 18281.0),
    "periods": (TIMES.dt.to_period("D"), "day", 18262.0, 18281.0),
    "durations": (TIMES - TIMES[0], "day [days]", 0.0, 19.0),
    "polars": ("polars", "day", 18262.0, 18281.0),
    "nullable numbers": (pd.Series([None, *range(19)], dtype="Int64"), "day", 0.0, 18.0),
}


@pytest.mark.parametrize("name", OF_TIME)
def test_a_column_is_drawn_as_what_it_holds(name):
    column, words, low, high = OF_TIME[name]
    if isinstance(column, str):
        module = pytest.importorskip("pyarrow" if "pyarrow" in column else column)
        column = TIMES.astype(column) if "pyarrow" in column else module.Series(TIMES.to_list())
    a = xr.DataArray(np.arange(20.0)[:, None], dims=("sample", "feature"), coords={"feature": ["day"]})
    frame = pd.DataFrame({"day": column}) if isinstance(column, pd.Series) else module.DataFrame({"day": column})
    ax = plot.dependence(xr.Dataset({"attribution": a}), frame, ["day"]).axes[0]
    at = np.asarray(ax.lines[0].get_xdata(), float)
    assert (at.min(), at.max(), ax.get_xlabel()) == (low, high, words)
    dates = type(ax.xaxis.get_major_locator()).__name__ == "AutoDateLocator"
    assert dates == (low > 0)
