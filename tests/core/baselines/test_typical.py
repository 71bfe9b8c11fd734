"""The typical sample of a reference."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from tsattr.core import baselines as b
from tsattr.core.axes import Axes

from .inputs import fill


def test_typical_is_the_median_of_what_is_known():
    values = np.array([[1.0, 4.0, 0.5], [3.0, np.nan, 0.1], [np.nan, 7.0, 0.3], [8.0, 9.0, 0.2]])
    table = Axes(("feature",), (3,))
    np.testing.assert_allclose(fill(b.Typical.fit(values), np.zeros((1, 3)), table), [[3, 7, 0.25]], rtol=1e-15)
    wave = xr.DataArray(values.reshape(2, 2, 3).round(0), dims=("sample", "lead", "time"))
    np.testing.assert_array_equal(b.Typical.fit(wave).row.values, np.nanmin(wave, 0))  # the lower of two


def test_typical_of_words_dates_and_gaps():
    frame = pd.DataFrame(
        {
            "word": ["b", "a", None, "a", "b"],
            "day": pd.to_datetime(["2001-05-01", "2001-01-01", "2001-03-01", None, "2001-02-01"]),
            "flag": [True, True, False, True, False],
            "count": pd.array([4, None, 1, 3, 2], dtype="Int64"),
            "ward": pd.Categorical([7, 7, 9, 9, 9]),
            "gaps": [0.0, np.nan, 0.0, 0.6, 1.2],
        }
    )
    row = b.Typical.fit(frame).row
    assert row.values.tolist() == ["a", pd.Timestamp("2001-02-01"), True, 2, 9, 0.3]
    central = b.Typical.fit(frame.drop(columns="day"), observed=True).row
    assert central.values.tolist() == ["a", True, 3, 9, 0.6]  # the nearest of three complete rows
    with pytest.raises(ValueError, match="missing in all samples of the reference"):
        b.Typical.fit(frame.assign(gaps=np.nan))
    with pytest.raises(ValueError, match="every sample of the reference has missing cells"):
        b.Typical.fit(frame.loc[[1, 2], ["word", "count"]], observed=True)


def test_the_typical_level_of_what_has_no_order_is_the_most_frequent_one():
    frame = pd.DataFrame({"raw": [b"z", b"z", b"a"], "mixed": pd.Series([1, "a", "a"], dtype=object)})
    assert b.Typical.fit(frame).row.values.tolist() == [b"z", "a"]
    with pytest.raises(TypeError, match=r"^notes holds dict, which has no typical value"):
        b.Typical.fit(pd.DataFrame({"notes": [{"a": 1}, {"a": 2}]}))
    with pytest.raises(ValueError, match=r"^notes is missing in all samples"):
        b.Typical.fit(pd.DataFrame({"age": [1, 2], "notes": [None, None]}))
