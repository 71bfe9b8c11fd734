"""The constant baseline, by label, by sample and by cell."""

import numpy as np

from tsattr.core import baselines as b

from .inputs import LEADS, X, array, ecg, fill


def test_constant_by_label_per_sample_and_by_cell():
    x, axes = np.ones((2, 3, 60)), ecg()
    by_lead = np.array([1.0, 2.0, 3.0])
    for value in (
        {"V1": 3.0, "II": 2.0, "I": 1.0},
        array([3.0, 2.0, 1.0], lead=["V1", "II", "I"]),
        array([9.0, 3.0, 2.0, 1.0], lead=["V6", "V1", "II", "I"]),
    ):
        np.testing.assert_array_equal(fill(b.Constant(value), x, axes), np.broadcast_to(by_lead[:, None], x.shape))
    per_sample = fill(b.Constant(array([4.0, 5.0], sample=None)), x, axes)
    np.testing.assert_array_equal(per_sample[:, 0, 0], [4, 5])
    labelled = ecg(sample_coord=np.array([11, 12]))
    both = array([[6.0, 7.0], [1.0, 2.0], [0.0, 0.0]], lead=LEADS, sample=[12, 11])
    np.testing.assert_array_equal(fill(b.Constant(both), x, labelled)[..., 0], [[7, 2, 0], [6, 1, 0]])
    np.testing.assert_array_equal(fill(b.Constant(X[0]), x, axes)[1], X[0])
