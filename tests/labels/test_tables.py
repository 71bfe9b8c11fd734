"""What a model sees of a table: the user's own cells, exactly; and what it says of them."""

import datetime
import decimal
import zlib

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn.base import BaseEstimator, RegressorMixin

import tsattr as ta
from tsattr.labels.tables import Codes

CELLS = ta.groups.Cells()
ZONE = "Europe/Berlin"
BIG = st.integers(2**53, 2**63 - 1) | st.integers(2**60, 2**60 + 300)
NANOSECONDS = st.integers(10**18, 10**18 + 500) | st.integers(-(2**62), 2**62)

# Of each kind of column its type, some of its values and how one of them may be missing.
KINDS = {
    "float": ("float64", st.floats(allow_nan=False, allow_infinity=False), [np.nan]),
    "float32": ("float32", st.floats(width=32, allow_nan=False, allow_infinity=False), [np.nan]),
    "whole": ("int64", st.integers(-9, 9), []),
    "small": ("uint8", st.integers(0, 255), []),
    "ids": ("int64", BIG | st.integers(-9, 9), []),
    "unsigned": ("uint64", st.integers(2**63, 2**64 - 1) | st.integers(0, 9), []),
    "nullable": ("Int64", BIG | st.integers(-9, 9), [pd.NA]),
    "nullable unsigned": ("UInt64", st.integers(2**63, 2**64 - 1), [pd.NA]),
    "nullable float": ("Float64", st.floats(allow_nan=False, allow_infinity=False), [pd.NA]),
    "flag": ("bool", st.booleans(), []),
    "nullable flag": ("boolean", st.booleans(), [pd.NA]),
    "flags as objects": ("object", st.booleans(), [None, np.nan, pd.NA]),
    "text": ("object", st.sampled_from(["a", "b", ""]), [None, np.nan, pd.NA]),
    "str": ("str", st.sampled_from(["a", "b", ""]), [np.nan]),
    "string": ("string[python]", st.sampled_from(["a", "b", ""]), [pd.NA]),
    "mixed": (
        "object",
        st.sampled_from(["1", 1, 1.0, True, (1,), b"1", decimal.Decimal(1), datetime.date(2020, 1, 1)]),
        [None, np.nan, pd.NA, pd.NaT],
    ),
    "floats as objects": ("object", st.floats(-9, 9) | st.integers(-9, 9), [None, np.nan]),
    "category": (pd.CategoricalDtype(["lo", "mid", "hi"]), st.sampled_from(["lo", "hi"]), [np.nan]),
    "ordered": (pd.CategoricalDtype([3, 1, 2], ordered=True), st.sampled_from([1, 2, 3]), [np.nan]),
    "date": ("datetime64[ns]", NANOSECONDS.map(lambda n: pd.Timestamp(n)), [pd.NaT]),
    "date in seconds": ("datetime64[s]", st.integers(0, 2**33).map(lambda n: pd.Timestamp(n, unit="s")), [pd.NaT]),
    "zoned": (f"datetime64[ns, {ZONE}]", NANOSECONDS.map(lambda n: pd.Timestamp(n, tz=ZONE)), [pd.NaT]),
    "duration": ("timedelta64[ns]", NANOSECONDS.map(lambda n: pd.Timedelta(n)), [pd.NaT]),
    "period": ("period[M]", st.integers(0, 900).map(lambda n: pd.Period(ordinal=n, freq="M")), [pd.NaT]),
    "interval": ("interval[int64, right]", st.integers(0, 9).map(lambda n: pd.Interval(n, n + 1)), []),
}
KINDS |= {
    "sparse flag": (pd.SparseDtype(bool), st.booleans(), []),
    "sparse": (pd.SparseDtype("float64"), st.floats(-9, 9), [np.nan]),
    "float16": ("float16", st.integers(-9, 9).map(float), [np.nan]),
    "bytes": ("object", st.binary(max_size=2), [None]),
    "decimals": ("object", st.decimals(-9, 9, places=2), [None, decimal.Decimal("NaN")]),
}
ARROW = {
    "arrow whole": ("int64[pyarrow]", BIG, [pd.NA]),
    "arrow float": ("double[pyarrow]", st.floats(allow_nan=False, allow_infinity=False), [pd.NA]),
    "arrow flag": ("bool[pyarrow]", st.booleans(), [pd.NA]),
    "arrow text": ("string[pyarrow]", st.sampled_from(["a", "b"]), [pd.NA]),
    "arrow date": ("timestamp[ns][pyarrow]", NANOSECONDS.map(lambda n: pd.Timestamp(n)), [pd.NA]),
    "arrow day": ("date32[day][pyarrow]", st.dates(datetime.date(1900, 1, 1), datetime.date(2100, 1, 1)), [pd.NA]),
}
INDEXES = {
    "names": lambda n: [f"p{i}" for i in range(n)],
    "years": lambda n: pd.Index(range(2000, 2000 + n), name="year"),
    "twice": lambda n: [0] * n,
    "dates": lambda n: pd.date_range("2001-01-01", periods=n, freq="h", tz=ZONE, name="time"),
    "levels": lambda n: pd.MultiIndex.from_arrays([list("ab") * n, range(2 * n)], names=["ward", "bed"])[:n],
}


def cell(value):
    """All that tells a cell from others: type, value and how it is missing."""
    return type(value).__name__, repr(value)


def seen(frame):
    """Each row as its entry of the index and its cells."""
    return [(cell(i), *map(cell, row)) for i, row in zip(frame.index, frame.astype(object).itertuples(index=False))]


def by_hash(frame):
    """A model that depends on everything in a row."""
    return np.array([zlib.crc32(repr(row).encode()) for row in seen(frame)], float)


@st.composite
def tables(draw):
    kinds = KINDS | ARROW
    n = draw(st.integers(2, 5))
    columns = {"row": np.arange(float(n))}
    for name in draw(st.lists(st.sampled_from(sorted(kinds)), min_size=1, max_size=4, unique=True)):
        dtype, values, missing = kinds[name]
        cells = draw(st.lists(values | st.sampled_from(missing) if missing else values, min_size=n, max_size=n))
        columns[name] = pd.Series(_objects(cells), dtype=dtype)
    return pd.DataFrame(columns).set_axis(INDEXES[draw(st.sampled_from(sorted(INDEXES)))](n))


def _objects(cells):
    out = np.empty(len(cells), object)
    out[:] = cells
    return out


LAW = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@LAW
@given(tables(), st.integers(0, 9))
def test_each_cell_that_a_model_sees_is_its_samples_own_or_the_references(frame, seed):
    rows = []

    def model(given, which):
        rows.extend(zip(which, seen(given)))
        return by_hash(given)

    method = ta.Occlusion(CELLS, ta.baselines.Samples.fit(frame), draws=2)
    which = np.arange(len(frame))
    ta.explain(ta.models.on_frames(model), frame, method, seed=seed, context={"which": which})
    own = seen(frame)
    known = [{row[c] for row in own} for c in range(1 + frame.shape[1])]
    gaps = [False, *frame.isna().any()]  # a reference's gaps are filled by other rules
    for i, row in rows:
        changed = [c for c, (a, b) in enumerate(zip(row, own[i])) if a != b]
        assert len(changed) <= 1
        assert all(c > 0 and (gaps[c] or row[c] in known[c]) for c in changed)


@LAW
@given(tables())
def test_the_prediction_is_the_models_own_on_the_table_as_given(frame):
    method = ta.Occlusion(CELLS, ta.baselines.Mode.fit(frame))
    ds = ta.explain(ta.models.on_frames(by_hash), frame, method)
    np.testing.assert_array_equal(ds.prediction, by_hash(frame))


# ---- kinds of missing, whole numbers beyond 2**53, dates


def exact(values):
    """A model that knows the hash of each cell: 0 where a cell is none of those that it was trained on."""
    known = {cell(v): 1.0 + k for k, v in enumerate(values)}
    return ta.models.on_frames(lambda rows: np.array([known.get(cell(v), 0.0) for v in rows["c"].astype(object)]))


@pytest.mark.parametrize(
    ("dtype", "values"),
    [
        ("int64", [2**60, 2**60 + 1, -(2**60) - 1, 3]),
        ("uint64", [2**64 - 1, 2**64 - 2, 2**63 + 1, 3]),
        ("Int64", [2**60, 2**60 + 1, 2**53 + 1, 3]),
        ("int64[pyarrow]", [2**60, 2**60 + 1, 2**53 + 1, 3]),
        ("datetime64[ns]", [pd.Timestamp(10**18 + k) for k in (0, 1, 2, 300)]),
        (f"datetime64[ns, {ZONE}]", [pd.Timestamp(10**18 + k, tz=ZONE) for k in (0, 1, 2, 300)]),
        ("timedelta64[ns]", [pd.Timedelta(10**18 + k) for k in (0, 1, 2, 300)]),
        ("object", [True, 1, 1.0, 2]),
    ],
)
def test_cells_that_differ_by_little_are_told_apart_in_the_table_and_in_the_reference(dtype, values):
    if "pyarrow" in dtype:
        pytest.importorskip("pyarrow")
    frame = pd.DataFrame({"c": pd.Series(_objects(values[:2]), dtype=dtype), "other": [0.0, 1.0]})
    model = exact(frame["c"].tolist() + (more := pd.Series(_objects(values), dtype=dtype)).tolist()[2:])
    for k in range(4):
        usual = pd.DataFrame({"c": more[[k] * 3].array, "other": 0.5})
        for baseline in (ta.baselines.Mode.fit(usual), ta.baselines.Samples.fit(usual)):
            ds = ta.explain(model, frame, ta.Occlusion(CELLS, baseline))
            assert ds.prediction.values.tolist() == [1, 2]
            assert ds.attribution.sel(feature="c").values.tolist() == [1 - (k + 1), 2 - (k + 1)]


def test_a_million_neighbours_beyond_the_range_are_coded_apart_and_quickly():
    ids = np.arange(2**61, 2**61 + 100_000)
    codes = Codes.of(frame := pd.DataFrame({"id": ids}))
    assert len(np.unique(codes.coded)) == len(ids)
    assert np.abs(codes.coded[:, 0] - 2.0**61).max() <= 100_000 * 512  # the spacing of float64 there, for each
    pd.testing.assert_frame_equal(codes.decode(codes.coded), frame)


def test_arithmetic_on_large_counts_is_right_but_for_rounding():
    days = pd.DataFrame({"day": pd.to_datetime([1_600_000_000_123_456_789, 1_600_000_000_123_456_791])})
    model = ta.models.on_frames(lambda rows: rows["day"].astype("int64") / 1e9)
    ds = ta.explain(model, days, ta.Occlusion(CELLS, ta.baselines.MaximumDistance(0.0, 1e18)))
    np.testing.assert_allclose(ds.attribution[:, 0], days["day"].astype("int64") / 1e9)


# ---- ordered categories


def ordered(values, levels):
    return pd.DataFrame({"grade": pd.Categorical(values, levels, ordered=True), "x": 1.0})


def test_levels_of_a_reference_take_their_place_in_the_order():
    frame = ordered(["low", "high"], ["low", "high"])
    reference = ordered(["mid"] * 3, ["none", "low", "mid", "high", "top"])
    model = ta.models.on_frames(lambda rows: (rows["grade"] >= "high").astype(float) + 2 * (rows["grade"] > "low"))
    ds = ta.explain(model, frame, ta.Occlusion(CELLS, ta.baselines.Mode.fit(reference)))
    assert ds.prediction.values.tolist() == [0, 3]
    assert ds.attribution.sel(feature="grade").values.tolist() == [-2, 1]


@pytest.mark.parametrize(
    "reference",
    [
        ordered(["mid"] * 3, ["high", "mid", "low"]),
        ordered(["mid"] * 3, ["low", "mid"]),
        ordered(["mid"] * 3, ["mid"]).astype({"grade": "category"}),
        ordered(["mid"] * 3, ["mid"]).astype({"grade": object}),
    ],
)
def test_levels_without_a_place_are_refused(reference):
    frame = ordered(["low", "high"], ["low", "high"])
    method = ta.Occlusion(CELLS, ta.baselines.Mode.fit(reference))
    with pytest.raises(ValueError, match=r"'mid' is no level of the ordered column 'grade' \('low', 'high'\)"):
        ta.explain(ta.models.on_frames(lambda rows: rows["x"]), frame, method)


def test_a_model_that_counts_levels_is_refused_where_a_reference_has_more():
    frame = ordered(["low", "high"], ["low", "high"])
    reference = ordered(["mid"] * 3, ["low", "mid", "high"])
    method = ta.Occlusion(CELLS, ta.baselines.Mode.fit(reference))
    model = ta.models.on_frames(lambda rows: rows["grade"].cat.codes * rows["x"])
    with pytest.raises(
        ValueError, match=r"gives \[1.0\] for sample 1 of the table as it is, and \[2.0\] .* column 'grade'"
    ):
        ta.explain(model, frame, method)
    assert ta.explain(model, frame, method, check=False).prediction.values.tolist() == [0, 2]


# ---- the index


@pytest.mark.parametrize("kind", INDEXES)
def test_each_row_keeps_its_samples_entry_of_the_index(kind):
    index = pd.Index(INDEXES[kind](4))
    frame = pd.DataFrame({"a": [1.0, 2.0, 3.0, 4.0], "b": 1.0}, index)
    weight = {cell(i): k for k, i in enumerate(index)}
    model = ta.models.on_frames(lambda rows: rows["a"] * [weight[cell(i)] for i in rows.index])
    ds = ta.explain(model, frame, ta.Occlusion(CELLS))
    np.testing.assert_array_equal(ds.attribution.sel(feature="a"), frame["a"] * [weight[cell(i)] for i in index])
    np.testing.assert_array_equal(ds.attribution.sel(feature="b"), 0)


def test_the_names_of_the_index_and_the_columns_stay():
    index = pd.MultiIndex.from_product([["icu"], [1, 2]], names=["ward", "bed"])
    frame = pd.DataFrame({"a": [1.0, 2.0]}, index).rename_axis(columns="vital")
    rows = []

    def model(given):
        rows.append(given)
        return given.reset_index("bed")["bed"].array * given["a"].array

    ds = ta.explain(ta.models.on_frames(model), frame, ta.Occlusion(CELLS))
    assert all(given.index.names == ["ward", "bed"] and given.columns.name == "vital" for given in rows)
    assert ds.attribution.values.tolist() == [[1], [4]]


def test_a_labelled_array_as_a_table_has_its_sample_labels_as_the_index():
    x = xr.DataArray(np.ones((3, 2)), dims=("sample", "feature"), coords={"sample": [5, 7, 9], "feature": ["a", "b"]})
    ds = ta.explain(ta.models.on_frames(lambda rows: rows["a"] * rows.index), x, ta.Occlusion(CELLS))
    assert ds.attribution.values.tolist() == [[5, 0], [7, 0], [9, 0]]


def test_a_transformer_of_rows_gives_its_estimator_the_index_too():
    class ByYear(RegressorMixin, BaseEstimator):
        def fit(self, x, y):
            self.fitted_ = True
            return self

        def predict(self, x):
            return x["a"].to_numpy() * (x.index.to_numpy() - 2000)

    frame = pd.DataFrame({"a": [1.0, 2.0, 3.0]}, index=[2001, 2005, 2002])
    method = ta.Occlusion(CELLS)
    transformer = ta.AttributionTransformer(ByYear(), method).fit(frame, frame["a"])
    assert transformer.transform(frame).tolist() == [[1], [10], [6]]
    assert transformer.explain(frame).sample.values.tolist() == [2001, 2005, 2002]


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (
            [[1], [2, 3]],
            r"column 'c' holds what is neither number, category, text nor date \(unhashable type: 'list'\)",
        ),
        ([{}, None], "unhashable type: 'dict'"),
        ([1j, 2], "column 'c' is complex; give its real and its imaginary part"),
    ],
)
def test_cells_that_cannot_be_levels_are_refused_by_the_columns_name(column, message):
    frame = pd.DataFrame({"c": column, "x": 1.0})
    with pytest.raises(TypeError, match=message):
        ta.explain(ta.models.on_frames(lambda rows: rows["x"]), frame, ta.Occlusion(CELLS))


def test_columns_of_one_name_as_text_are_refused():
    frame = pd.DataFrame({1: [1.0, 2.0], "1": [3.0, 4.0]})
    with pytest.raises(ValueError, match="several columns are called 1"):
        ta.explain(ta.models.on_frames(lambda rows: rows[1]), frame, ta.Occlusion(CELLS))


def test_infinite_cells_of_a_table_are_refused_with_advice_for_tables():
    frame = pd.DataFrame({"a": [1.0, np.inf], "word": ["x", "y"]})
    method = ta.Occlusion(CELLS, ta.baselines.Mode.fit(frame.replace(np.inf, np.nan)))
    model = ta.models.on_frames(lambda rows: rows["a"].fillna(0.0))
    with pytest.raises(ValueError, match="in sample 1; replace them, or make them NaN"):
        ta.explain(model, frame, method)
    assert ta.explain(model, frame.replace([np.inf, -np.inf], np.nan), method).prediction.values.tolist() == [1, 0]


# ---- polars

POLARS = {
    "whole": (lambda pl: pl.Int64, BIG),
    "unsigned": (lambda pl: pl.UInt64, st.integers(2**63, 2**64 - 1)),
    "small": (lambda pl: pl.Int8, st.integers(-128, 127)),
    "float": (lambda pl: pl.Float32, st.floats(-9, 9, width=32)),
    "text": (lambda pl: pl.String, st.sampled_from(["a", "b", ""])),
    "flag": (lambda pl: pl.Boolean, st.booleans()),
    "level": (lambda pl: pl.Enum(["lo", "mid", "hi"]), st.sampled_from(["lo", "hi"])),
    "category": (lambda pl: pl.Categorical, st.sampled_from(["lo", "hi"])),
    "day": (lambda pl: pl.Date, st.dates(datetime.date(1900, 1, 1), datetime.date(2100, 1, 1))),
    "hour": (lambda pl: pl.Time, st.times()),
    "number": (lambda pl: pl.Decimal(10, 2), st.decimals(-9, 9, places=2)),
    "bytes": (lambda pl: pl.Binary, st.binary(max_size=2)),
}


@LAW
@given(st.data())
def test_a_model_of_polars_frames_sees_the_very_cells(data):
    pl = pytest.importorskip("polars")
    pytest.importorskip("pyarrow")
    n = data.draw(st.integers(2, 4))
    columns = {"row": np.arange(float(n))}
    for name in data.draw(st.lists(st.sampled_from(sorted(POLARS)), min_size=1, max_size=3, unique=True)):
        dtype, values = POLARS[name]
        cells = data.draw(st.lists(st.none() | values, min_size=n, max_size=n))
        columns[name] = pl.Series(cells, dtype=dtype(pl))
    frame = pl.DataFrame(columns)
    rows = []

    def model(given, which):
        assert given.schema == frame.schema
        rows.extend(zip(which, given.iter_rows()))
        return np.array([zlib.crc32(repr(row).encode()) for row in given.iter_rows()], float)

    method = ta.Occlusion(CELLS, ta.baselines.Mode.fit(frame))
    ds = ta.explain(ta.models.on_frames(model), frame, method, context={"which": np.arange(n)})
    own = list(frame.iter_rows())
    np.testing.assert_array_equal(ds.prediction, [zlib.crc32(repr(row).encode()) for row in own])
    for i, row in rows:
        assert sum(repr(a) != repr(b) for a, b in zip(row, own[i])) <= 1


def test_whole_numbers_of_128_bits_are_refused_by_their_column():
    polars = pytest.importorskip("polars")
    frame = polars.DataFrame({"age": [1.0, 2.0], "device": polars.Series([1, 2], dtype=polars.Int128)})
    method = ta.Occlusion(ta.groups.Cells(), ta.baselines.Constant(0.0))
    with pytest.raises(TypeError, match=r"column 'device' holds whole numbers of 128 bits.*polars.Int64"):
        ta.explain(ta.models.on_frames(lambda rows: rows["age"].to_numpy()), frame, method)
