"""Small tables with known functions, for the tests of the estimators."""

import numpy as np
import pandas as pd


def numbers(n=400, p=4, seed=0):
    """Uniform columns, and a smooth function with a pair and a jump, with noise."""
    rng = np.random.default_rng(seed)
    x = rng.uniform(-1, 1, (n, p))
    f = np.sin(3 * x[:, 0]) + 2 * x[:, 0] * x[:, 1] + (x[:, 2] > 0.3)
    return x, f + 0.1 * rng.normal(size=n)


def mixed(n=600, seed=0):
    """Numbers, a category and missing values: the outcome is a sum of known contributions."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "age": rng.uniform(20, 90, n),
            "dose": rng.normal(size=n),
            "ward": rng.choice(["a", "b", "c"], n, p=[0.6, 0.38, 0.02]),
        }
    )
    absent = rng.random(n) < 0.2
    y = 0.05 * (frame["age"] - 55) + frame["ward"].map({"a": 0.0, "b": 1.0, "c": 3.0})
    y = y + np.where(absent, 2.0, frame["dose"]) + 0.2 * rng.normal(size=n)
    return frame.assign(dose=frame["dose"].mask(absent)), y.to_numpy()
