"""Text from data is drawn as it is written, in every picture and report."""

import inspect
import io
import itertools

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr
from matplotlib.figure import Figure
from matplotlib.text import Text

import tsattr as ta
from tsattr import plot, report
from tsattr.plot.shade import png

from .test_comparison_plots import table
from .test_term_plots import additive, local

RNG = np.random.default_rng(0)
ODD = ["${}_1$", "{} a$b", r"\frac {}$", "_{}", "% {} {{0}}", "<b>&{}"]
PATTERNS, NAMED = itertools.cycle(ODD), {}


def odd(ds):
    """Every label that is text turned into one that could be taken for something else."""
    for name, coord in ds.coords.items():
        if coord.dtype.kind in "UO" and name not in ("ranking", "measure", "better"):
            new = [NAMED.setdefault(v, next(PATTERNS).format(v)) for v in coord.values.tolist()]
            ds = ds.assign_coords({name: (coord.dims, np.array(new))})
    return ds.assign_attrs(units="$u_1$ &")


def result(method, dims=("lead", "time"), **sizes):
    shape = [3, *(sizes.get(d, 6) for d in dims)]
    coords = {"sample": list("abc"), "lead": list("uvwxyz"), "time": np.arange(shape[-1]) / 10}
    x = xr.DataArray(RNG.normal(size=shape), dims=("sample", *dims), attrs={"units": "mV"})
    x = odd(x.assign_coords({d: coords[d][: x.sizes[d]] for d in ("sample", *dims) if d in coords}))

    def model(rows):
        return torch.stack([rows.flatten(1).sum(1), (rows**2).flatten(1).sum(1)], 1)

    named = {"target": ["$c_1$", "_c"], "outputs": {"k": ["$c_1$", "_c"]}}
    winit = isinstance(method, ta.WinIT)
    ds = ta.explain((lambda r: r.flatten(1).sum(1)) if winit else model, x, method, **({} if winit else named))
    return x, ds


X, IG = result(ta.IntegratedGradients(steps=8))
MAP, ONE = IG.attribution[0], IG.isel(target=1)
PAIRS = result(ta.ShapleyInteractions(ta.groups.Along("lead")))[1]
LAG_X, LAGS = result(ta.WinIT(3, ta.baselines.Uniform(-1.0, 1.0), predictions="last"))
FIELD_X, FIELD = result(ta.Saliency(), ("lead", "lat", "lon"), lead=2, lat=3, lon=4)
PLACES = {"lat": [0.0, 5, 10], "lon": [0.0, 5, 10, 15]}
WORLD = FIELD.attribution[0, ..., 0].assign_coords(PLACES).isel(lead=slice(2))
SHARES = odd(
    xr.Dataset(
        {
            "mass_share": (("lag", "distance", "lead"), RNG.random((3, 4, 2))),
            "area_share": ("distance", np.full(4, 0.25)),
        },
        {"lag": [-3, -2, -1], "distance": [0.0, 1, 2, 3], "lead": ["_lead", "$l$"]},
    )
)
SKILL = xr.Dataset({"rmse": ("case", [1.0, 1.5, 2.0])}, {"case": ["intact", "$c_1$ $", "_c"]})
TERMS, LOCAL, TABLE = odd(additive(targets=["a", "b"])), odd(local()), odd(table())
TITLE = {"title": "$t_1$ <&> a$b"}

PICTURES = {
    "trace": lambda: plot.trace(X[0], MAP[..., 0], **TITLE),
    "field": lambda: plot.field(MAP[..., 0], **TITLE),
    "bars": lambda: plot.bars(MAP[..., 0].sum("time"), **TITLE),
    "ecg": lambda: plot.ecg(X[0].assign_attrs(units="mV"), MAP[..., 0], **TITLE),
    "lags": lambda: plot.lags(LAGS.attribution[0], LAG_X[0], **TITLE),
    "pairs": lambda: plot.pairs(PAIRS, target=str(PAIRS.target.values[0])),
    "completeness": lambda: plot.completeness(IG),
    "convergence": lambda: plot.convergence(IG),
    "baselines": lambda: plot.baselines(IG.attribution[0].rename(target="method"), X[0], dim="method"),
    "scores": lambda: plot.scores(xr.Dataset({"auroc": ("method", [0.5, 0.7])}, {"method": ["$m_1$", "_m"]})),
    "ranking": lambda: plot.ranking(TABLE),
    "matrix": lambda: plot.matrix(TABLE),
    "curves": lambda: plot.curves(TABLE),
    "world": lambda: plot.world(WORLD, **TITLE),
    "lag_distance": lambda: plot.lag_distance(SHARES, **TITLE),
    "profile": lambda: plot.profile(SHARES.mean("lag"), **TITLE),
    "skill": lambda: plot.skill(SKILL, **TITLE),
    "shape": lambda: plot.shape(TERMS, **TITLE),
    "interaction": lambda: plot.interaction(TERMS, 0, target=str(TERMS.target.values[0]), **TITLE),
    "importance": lambda: plot.importance(TERMS, **TITLE),
    "waterfall": lambda: plot.waterfall(LOCAL, str(LOCAL.sample.values[0]) if "sample" in LOCAL.coords else 0, **TITLE),
    "dependence": lambda: plot.dependence(LOCAL, LOCAL.attribution.values, **TITLE),
}


def words(figure):
    return [text.get_text() for text in figure.findobj(Text) if text.get_text()]


def test_every_picture_is_here():
    draws = {
        name for name in plot.__all__ if inspect.signature(getattr(plot, name)).return_annotation in ("Figure", Figure)
    }
    assert draws == set(PICTURES)


@pytest.mark.parametrize("name", PICTURES)
def test_names_are_no_formulas(name):
    figure = PICTURES[name]()
    assert png(figure)[:4] == b"\x89PNG"
    read = [text for text in figure.findobj(Text) if "$" in text.get_text() and text.get_parse_math()]
    assert not [text for text in read if "mathdefault" not in text.get_text()]  # powers of ten are matplotlib's own
    assert any("$" in text for text in words(figure)) or name in ("completeness", "convergence")


def test_names_that_begin_with_an_underscore_are_in_the_legend():
    terms = additive(targets=["_a", "__b"])
    (legend,) = plot.shape(terms).legends
    assert [text.get_text() for text in legend.get_texts()] == ["_a", "__b"]


def test_what_a_user_drew_on_a_figure_of_theirs_stays_as_it_was():
    figure = Figure()
    formula = figure.text(0.1, 0.9, "$x_1$")
    ax = figure.subplots()
    ax.set_title("$y^2$")
    plot.trace(X[0, :1], MAP[:1, :, 0], ax=ax)
    assert formula.get_parse_math()
    png(figure)


@pytest.mark.parametrize("ds", [IG, LAGS, FIELD], ids=["path", "lags", "field"])
def test_reports_of_such_names(ds):
    x = {id(IG): X, id(LAGS): LAG_X, id(FIELD): FIELD_X}[id(ds)]
    page = report.report(ds, x, title="$t_1$ <&>")
    assert "$t_1$ &lt;&amp;&gt;" in page
    assert "<b>&" not in page


def test_other_reports_of_such_names():
    page = report.additive(TERMS, LOCAL, title="$t_1$ <&>")
    assert "$t_1$ &lt;&amp;&gt;" in page
    assert "<b>&" not in page


@pytest.mark.parametrize(
    "name", ["\u5fc3\u96fb\u56f3", "\U0001f691", "x" * 300, "a\0b"], ids=["CJK", "emoji", "long", "zero"]
)
def test_names_that_no_font_has_or_no_picture_can_hold_are_drawn(name):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({name: rng.normal(size=60), "other": rng.normal(size=60)})
    model = ta.AFEXRegressor().fit(frame, frame[name])
    for figure in (ta.plot.shape(model.explain_global()), ta.plot.waterfall(model.explain_local(frame[:2]), 0)):
        figure.savefig(io.BytesIO())  # warnings are errors
