import hashlib

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from tsattr.core.arrays import Array, column_labels

LEADS = np.array(["I", "II", "V1"])


def labelled(values, **coords):
    return Array.of(xr.DataArray(values, dims=tuple(coords), coords={d: c for d, c in coords.items() if c is not None}))


def test_arrays_compare_by_values_dims_and_coords():
    one = labelled([1.0, 2.0], lead=["I", "II"])
    assert one == labelled([1.0, 2.0], lead=["I", "II"])
    assert hash(one) == hash(labelled([1.0, 2.0], lead=["I", "II"]))
    unlike = [
        labelled([1.0, 3.0], lead=["I", "II"]),
        labelled([1.0, 2.0], lead=["II", "I"]),
        labelled([1.0, 2.0], chan=["I", "II"]),
        labelled([1.0, 2.0], lead=None),
        Array.of(np.array([1.0, 2.0])),
        Array.of({"I": 1.0, "II": 2.0}),
        Array.of({"II": 1.0, "I": 2.0}),
    ]
    assert len({one, *unlike}) == 1 + len(unlike)
    assert len({repr(a) for a in (one, *unlike)}) == 1 + len(unlike)


def test_arrays_print_short_and_say_what_they_hold():
    assert repr(Array.of(2.5)) == "2.5"
    assert repr(Array.of({"age": 60, "sex": "F"})) == "{'age': 60, 'sex': 'F'}"
    big = repr(labelled(np.zeros((100, 3)), sample=None, lead=LEADS))
    assert big.startswith("<sample 100, lead 3: sha256 ")
    assert len(big) < 60


def test_a_mapping_keeps_each_value_as_it_is():
    assert Array.of({"age": 60, "smoker": True, "sex": "F"}).values.tolist() == [60, True, "F"]


def test_a_dataset_is_several_arrays():
    with pytest.raises(TypeError, match="a Dataset holds several variables: give one object for each"):
        Array.of(xr.Dataset({"a": ("sample", [1.0])}))


@pytest.mark.parametrize(
    ("columns", "labels"), [([0, 1], [0, 1]), (["a", 1], ["a", "1"]), ([True, False], ["True", "False"])]
)
def test_column_labels(columns, labels):
    assert column_labels(pd.Index(columns, dtype=object)).tolist() == labels


def test_text_is_the_same_text_however_it_is_kept():
    """Files give text back as objects under some versions: a reference read again is known as the same."""
    labels = np.array(["II", "V1"])
    one, other = (Array(np.zeros(2), ("lead",), {"lead": v}) for v in (labels, labels.astype(object)))
    assert one == other
    assert one != Array(np.zeros(2), ("lead",), {"lead": np.array(["II", "V2"])})


def test_an_array_is_hashed_once(monkeypatch):
    table = np.empty((1000, 3), object)
    table[:, 0], table[:, 1], table[:, 2] = np.arange(1000.0), "a", np.arange(1000)
    array, calls = Array.of(table), []
    sha256 = hashlib.sha256
    monkeypatch.setattr(hashlib, "sha256", lambda *a: calls.append(a) or sha256(*a))
    assert repr(array) == repr(array)
    assert array == array
    assert len(calls) == 1
    assert Array.of(table.copy()) == array
    for cell, other in (((5, 0), 5.5), ((5, 1), "b"), ((5, 2), 6), ((5, 2), "5"), ((5, 0), None), ((5, 0), 2**70)):
        changed = table.copy()
        changed[cell] = other
        assert Array.of(changed) != array
