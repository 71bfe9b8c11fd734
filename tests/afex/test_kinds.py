"""What `explain` takes as a column of a table, an additive model takes: one home says what a column holds."""

import datetime
import decimal
import pickle

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone

import tsattr as ta
from tsattr.afex import AFEXExplainer, AFEXRegressor
from tsattr.labels.tables import kind_of

N = 48
DAYS = pd.Series(pd.date_range("2020-01-01 06:00", periods=N, freq="D"))
HOURS = pd.Series(pd.to_timedelta(np.arange(N), unit="h"))
WORDS = pd.Series(list("abca") * (N // 4))
FLAGS = pd.Series(np.arange(N) % 3 == 0)
PANDAS = {
    "dates": (DAYS, "date"),
    "dates of a zone": (DAYS.dt.tz_localize("Europe/Zurich"), "date"),
    "dates of seconds": (DAYS.astype("M8[s]"), "date"),
    "periods": (pd.Series(pd.period_range("2000-01", periods=N, freq="M")), "period"),
    "durations": (HOURS, "duration"),
    "flags": (FLAGS, "flag"),
    "nullable flags": (FLAGS.astype("boolean"), "flag"),
    "nullable numbers": (pd.Series([None, *range(N - 1)], dtype="Int64"), "number"),
    "categories": (WORDS.astype("category"), "level"),
    "text": (WORDS, "level"),
    "intervals": (pd.Series(pd.cut(np.arange(N), 4)), "level"),
    "intervals of their own dtype": (
        pd.Series(pd.arrays.IntervalArray.from_breaks(np.arange(N + 1) // 12 * 1.0)),
        "level",
    ),
    "sparse numbers": (pd.Series(pd.arrays.SparseArray(np.arange(N) % 3 * 1.0)), "number"),
}
ARROW = {
    "timestamp[ns][pyarrow]": (DAYS, "date"),
    "timestamp[s, tz=UTC][pyarrow]": (DAYS.dt.tz_localize("UTC"), "date"),
    "date32[pyarrow]": (DAYS, "date"),
    "duration[us][pyarrow]": (HOURS, "duration"),
    "int64[pyarrow]": (pd.Series(np.arange(N)), "number"),
    "bool[pyarrow]": (FLAGS, "flag"),
    "string[pyarrow]": (WORDS, "level"),
    "decimal": (pd.Series([decimal.Decimal(i) for i in range(N)]), "decimal"),
    "time64[us][pyarrow]": (pd.Series([datetime.time(i % 24) for i in range(N)]), "level"),
}
POLARS = {
    "Date": [d.date() for d in DAYS],
    "Datetime": DAYS.tolist(),
    "Duration": HOURS.tolist(),
    "Boolean": [None, *FLAGS.tolist()[1:]],
    "Int64": [None, *range(N - 1)],
    "String": WORDS.tolist(),
    "Categorical": WORDS.tolist(),
    "Time": [datetime.time(i % 24) for i in range(N)],
    "Decimal": [decimal.Decimal(i) for i in range(N)],
}


def written(frame):
    """The types of columns as text; older polars writes the largest precision of decimals where none was given."""
    return [str(dtype).replace("precision=None", "precision=38") for dtype in frame.dtypes]


def both_take(frame, first):
    """`explain` and additive models fit, predict and explain; the model gets tables of the columns' own types."""
    y = np.arange(N) % 7 * 1.0

    def model(rows):
        assert type(rows) is type(frame)
        assert written(rows) == written(frame)
        return np.arange(len(rows)) % 5 * 1.0

    method = ta.Occlusion(ta.groups.Cells(), ta.baselines.Samples.fit(frame))
    assert ta.explain(ta.models.on_frames(model), frame, method, check=False).attribution.shape == (N, 2)
    est = clone(AFEXRegressor(n_nets=0, bags=2, interactions=1)).fit(frame, y)
    assert est.feature_names_in_.tolist() == ["c", "z"]
    again = pickle.loads(pickle.dumps(est))
    np.testing.assert_array_equal(again.predict(frame), est.predict(frame))
    found = est.explain_local(frame)
    np.testing.assert_allclose(found.attribution.sum("feature") + est.intercept_, est.predict(frame), rtol=0, atol=1e-9)
    terms = est.eval_terms(frame)
    np.testing.assert_allclose(terms.sum("term") + est.intercept_, est.predict(frame), rtol=0, atol=1e-9)
    np.testing.assert_array_equal(again.shape("c", first.iloc[:9]), found.main.sel(feature="c")[:9])
    np.testing.assert_array_equal(again.shape("c", list(first.iloc[:9])), found.main.sel(feature="c")[:9])
    ta.plot.shape(est.explain_global())
    AFEXExplainer(model, link="identity", n_nets=0, bags=0, interactions=0, synthetic=10).fit(frame)


@pytest.mark.parametrize("name", PANDAS)
def test_columns_of_pandas(name):
    column, kind = PANDAS[name]
    assert kind_of(column.dtype) == kind
    both_take(pd.DataFrame({"c": column, "z": np.arange(N) * 1.0}), column)


@pytest.mark.parametrize("dtype", ARROW)
def test_columns_of_arrow(dtype):
    pa = pytest.importorskip("pyarrow")
    values, kind = ARROW[dtype]
    column = values.astype(pd.ArrowDtype(pa.decimal128(5, 2)) if dtype == "decimal" else dtype)
    assert kind_of(column.dtype) == kind
    both_take(pd.DataFrame({"c": column, "z": np.arange(N) * 1.0}), column)


@pytest.mark.parametrize("dtype", POLARS)
def test_columns_of_polars(dtype):
    pl, _ = pytest.importorskip("polars"), pytest.importorskip("pyarrow")
    frame = pl.DataFrame({"c": pl.Series(POLARS[dtype], dtype=getattr(pl, dtype)), "z": np.arange(N) * 1.0})
    both_take(frame, pd.Series(POLARS[dtype], dtype=object))


def test_a_table_of_arrow():
    pa = pytest.importorskip("pyarrow")
    frame = pd.DataFrame({"when": DAYS, "word": WORDS})
    table, y = pa.Table.from_pandas(frame), np.arange(N) * 1.0
    one, other = (AFEXRegressor(n_nets=0, bags=0).fit(x, y) for x in (frame, table))
    np.testing.assert_array_equal(one.predict(frame), other.predict(table))


def test_a_neighbourhood_asks_the_model_at_the_very_values_that_are_fitted():
    rng = np.random.default_rng(0)
    x = pd.DataFrame({"count": rng.integers(0, 9, 300), "yes": rng.random(300) < 0.5})
    asked = []

    def model(rows):
        asked.append(rows)
        return rows["count"].to_numpy(float) + rows["yes"].to_numpy(float)

    est = AFEXExplainer(model, link="identity", n_nets=0, bags=0, interactions=0, synthetic=0).fit(x)
    assert est.explain_near(x[:2]).fidelity.min() > 0.7
    assert asked[0].dtypes.equals(x.dtypes)
    assert (asked[-1]["count"] % 1 != 0).any()  # whole numbers moved by half a step stay there, as for `explain`
    assert 0 < asked[-1]["yes"].mean() < 1
