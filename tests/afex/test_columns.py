"""Tables as numbers."""

from datetime import date

import numpy as np
import pandas as pd
import pytest

from tsattr.afex.columns import MOST_LEVELS, TableReader, nominal


def frame():
    return pd.DataFrame(
        {
            "age": [1.0, np.nan, 3.0, 4.0],
            "sex": ["f", "m", None, "f"],
            "ward": pd.Categorical([2, 1, 2, 1]),
            "big": pd.array([1, None, 3, 4], "Int64"),
            "yes": [True, False, True, True],
        }
    )


def learnt(x, categorical="from_dtype"):
    names = list(x.columns)
    return TableReader.fit(x, names, nominal(x, names, categorical))


def test_kinds_codes_and_missing_values():
    table = learnt(frame())
    assert table.levels == (None, ("f", "m"), (1, 2), None, None)
    expected = [[1, 0, 1, 1, 1], [np.nan, 1, 0, np.nan, 0], [3, np.nan, 1, 3, 1], [4, 0, 0, 4, 1]]
    assert np.array_equal(table.read(frame()), expected, equal_nan=True)


def test_polars_reads_as_pandas():
    pl = pytest.importorskip("polars")
    x = pl.DataFrame({"age": [1.0, None, 3.0], "sex": ["f", "m", None]})
    table = learnt(x)
    assert table.levels == (None, ("f", "m"))
    assert np.array_equal(table.read(x), [[1, 0], [np.nan, 1], [3, np.nan]], equal_nan=True)


def test_an_unknown_level_has_no_place():
    assert learnt(frame()).read_one(["m", "x", None], 1).tolist()[:2] == [1.0, -1.0]


def test_many_levels_keep_the_frequent_ones():
    words = [f"w{i}" for i in range(MOST_LEVELS + 20)] + ["last"] * 5
    with pytest.warns(UserWarning, match=r"column 'a' has 1021 levels: the 1000 most .* \(2% of its rows\) add 0"):
        table = learnt(pd.DataFrame({"a": words}))
    assert len(table.levels[0]) == MOST_LEVELS
    assert "last" in table.levels[0]


@pytest.mark.parametrize("library", ["pandas", "polars", "numpy"])
def test_writing_is_the_reverse_of_reading(library):
    if library == "pandas":
        x = frame()
    elif library == "polars":
        pl = pytest.importorskip("polars")
        x = pl.DataFrame({"age": [1.0, None, 3.0], "sex": ["f", "m", None]})
    else:
        x = np.array([[1.0, 2.0], [3.0, np.nan]])
    names = list(getattr(x, "columns", ["a", "b"]))
    table = TableReader.fit(x, names, nominal(x, names, "from_dtype"))
    codes = table.read(x)
    again = table.write(codes, x)
    assert type(again) is type(x)
    assert np.array_equal(table.read(again), codes, equal_nan=True)
    if library == "pandas":
        assert again.dtypes.tolist() == x.dtypes.tolist()


@pytest.mark.parametrize(
    ("categorical", "expected"),
    [(None, []), ("from_dtype", ["sex", "ward"]), (["age"], ["age"]), ([4], ["yes"]), ([True] + [False] * 4, ["age"])],
)
def test_which_columns_are_categories(categorical, expected):
    x = frame()
    assert x.columns[nominal(x, list(x.columns), categorical)].tolist() == expected


@pytest.mark.parametrize(
    ("categorical", "message"),
    [("auto", "'from_dtype'"), (["no"], "names 'no'"), ([9], "index 9"), ([True], "one entry a column")],
)
def test_wrong_categories(categorical, message):
    x = frame()
    with pytest.raises(ValueError, match=message):
        nominal(x, list(x.columns), categorical)


TIMES = {
    "dates": (pd.to_datetime(["1970-01-03 00:00", "2020-01-01 12:00", None]), [2, 18262.5, np.nan]),
    "of seconds": (pd.to_datetime(["1970-01-03", None]).astype("datetime64[s]"), [2, np.nan]),
    "with a zone": (pd.to_datetime(["1970-01-03 01:00", "2020-07-01 02:00"]).tz_localize("Europe/Zurich"), [2, 18444]),
    "durations": (pd.to_timedelta(["36h", None]), [1.5, np.nan]),
    "periods": (pd.PeriodIndex(["1970-02", "1970-01"], freq="M"), [31, 0]),
}


@pytest.mark.parametrize("kind", TIMES)
def test_dates_and_durations_are_days(kind):
    values, days = TIMES[kind]
    x = pd.DataFrame({"when": values})
    table = learnt(x)
    assert np.allclose(table.read(x)[:, 0], days, equal_nan=True)
    assert np.allclose(table.read_one(values, 0), days, equal_nan=True)
    if kind != "periods":
        pd.testing.assert_frame_equal(table.write(table.read(x), x), x)
    with pytest.raises(TypeError, match=r"column 'when' holds .* and in training it held numbers"):
        learnt(pd.DataFrame({"when": [1.0]})).read(x)


def test_dates_of_polars_are_days():
    pl = pytest.importorskip("polars")
    x = pl.DataFrame({"when": [date(1970, 1, 3), None]})
    assert np.allclose(learnt(x).read(x)[:, 0], [2, np.nan], equal_nan=True)


def test_infinities_and_words_as_numbers_are_refused():
    infinite = pd.DataFrame({"a": [1.0, np.inf]})
    with pytest.raises(ValueError, match="contains infinity"):
        learnt(infinite).read(infinite)
    words = pd.DataFrame({"a": ["x", "y"]})
    with pytest.raises(ValueError, match="column 'a' is read as numbers"):
        learnt(words, None).read(words)
