import itertools

import numpy as np
import pytest

from tsattr.datasets import simulate_risk


def log_odds(row):
    """The docstring's formula, for one row of values."""
    lactate = row["lactate"]
    return (
        -2.6
        + 0.04 * max(row["age"] - 55, 0)
        + 0.5 * (row["temperature"] - 37) ** 2
        + 0.9 * (lactate > 2)
        + 1.1 * (lactate > 4)
        - 0.5 * np.isnan(lactate)
        + 1.6 * (row["systolic_pressure"] < 100) * (row["heart_rate"] > 100)
        + {"surgical": -0.4, "medical": 0.0, "cardiac": 0.4, "trauma": 0.9}[row["ward"]]
    )


def test_the_log_odds_are_the_formula_and_the_shares_sum_to_them():
    ds = simulate_risk(300, seed=2)
    frame = ds[ds.feature.values.tolist()].to_dataframe()
    np.testing.assert_allclose(ds.log_odds, [log_odds(r) for _, r in frame.iterrows()])
    np.testing.assert_allclose(ds.truth.sum("feature") + ds.truth.attrs["mean"], ds.log_odds)
    assert not ds.truth.sel(feature=["potassium", "weekday"]).any()


def test_the_shares_are_shapley_values_over_a_large_sample():
    ds = simulate_risk(20000, seed=1)
    frame = ds[ds.feature.values.tolist()].to_dataframe()
    rng = np.random.default_rng(0)
    names = ["systolic_pressure", "heart_rate", "age"]  # the two of the interaction, and one beside them
    row = frame.iloc[int(np.argmax((frame.systolic_pressure < 100) & (frame.heart_rate > 100)))]
    others = frame.iloc[rng.permutation(len(frame))[:4000]].to_dict("records")
    mean = {}
    for size in range(4):
        for own in itertools.combinations(names, size):
            mean[frozenset(own)] = np.mean([log_odds({**o, **{k: row[k] for k in own}}) for o in others])
    for name in names:
        value = 0.0
        for order in itertools.permutations(names):
            before = frozenset(order[: order.index(name)])
            value += (mean[before | {name}] - mean[before]) / 6
        assert float(ds.truth.sel(sample=row.name, feature=name)) == pytest.approx(value, abs=0.05)
    assert abs(ds.truth.mean("sample")).max() < 0.02  # of a standard deviation of up to .6, over 20,000 rows


def test_rows_do_not_depend_on_how_many_there_are_but_on_the_seed():
    few, many, other = simulate_risk(20, seed=3), simulate_risk(50, seed=3), simulate_risk(20, seed=4)
    assert few.identical(many.isel(sample=slice(0, 20)))
    assert not few.equals(other)


def test_the_outcome_is_drawn_with_the_stated_probability():
    ds = simulate_risk(20000, seed=0)
    risk = 1 / (1 + np.exp(-ds.log_odds))
    for low, high in itertools.pairwise([0.0, 0.1, 0.3, 1.0]):
        at = (risk >= low) & (risk < high)
        spread = 4 * np.sqrt(float((risk * (1 - risk)).where(at).sum())) / int(at.sum())
        assert abs(float((ds.outcome - risk).where(at).mean())) < spread
    assert float(np.isnan(ds.lactate).mean()) == pytest.approx(0.15, abs=0.01)


def test_bad_sizes():
    with pytest.raises(ValueError, match="samples is at least 1"):
        simulate_risk(0)
    with pytest.raises(TypeError, match="seed is an integer"):
        simulate_risk(3, seed=0.5)
