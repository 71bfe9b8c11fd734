"""Shapley values of tables beside shap at equal error, and what frames, repeated rows and many samples cost.

python tests/benchmarks/tables.py beside     # six minutes on one thread: three models x 10, 20 and 50 columns
python tests/benchmarks/tables.py missing    # pipelines on frames with categories and missing cells
python tests/benchmarks/tables.py frames     # a pipeline on columns of ten kinds, beside the bare pipeline
python tests/benchmarks/tables.py repeats    # equal rows asked once, and not
python tests/benchmarks/tables.py many       # 10,000 samples of ten cells

Needs shap for `beside` and `missing`.
"""

from __future__ import annotations

import argparse
import logging
import statistics
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import torch
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestRegressor
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from threadpoolctl import threadpool_limits

import tsattr as ta
from tsattr.models import repeats

BACKGROUND, EXPLAINED = 20, 5
CELLS, EXACT = ta.groups.Cells(), 1e-9  # an error below which all is exact
MODELS: dict[str, Callable[[], Any]] = {
    "linear": Ridge,
    "forest": lambda: RandomForestRegressor(100, max_depth=8, random_state=0),
    "boosted trees": HistGradientBoostingRegressor,
}


def cpu(call: Callable[[], Any]) -> float:
    """Seconds of processor time."""
    start = time.process_time()
    call()
    return time.process_time() - start


def interleaved(calls: Sequence[Callable[[], Any]], repeats: int) -> list[list[float]]:
    """Seconds of each call, all of them at each repeat, so that they meet the same machine."""
    seconds: list[list[float]] = [[] for _ in calls]
    for turn in range(repeats):
        for k in range(len(calls)) if turn % 2 else reversed(range(len(calls))):
            seconds[k].append(cpu(calls[k]))
    return seconds


def spread(values: Sequence[float]) -> str:
    """Median, and least and largest."""
    return f"{statistics.median(values):.2f} ({min(values):.2f}-{max(values):.2f})"


def numbers(columns: int, levels: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """A table, of whole numbers where levels are given, and an answer with products and kinks."""
    rng = np.random.default_rng(0)
    x = rng.integers(levels, size=(1000, columns)).astype(float) if levels else rng.normal(size=(1000, columns))
    y = x[:, 0] * x[:, 1] + np.sin(x[:, 2]) + np.maximum(x[:, 4], x[:, 5]) + x[:, 3:].sum(1) / columns**0.5
    return x, y


# ---- beside shap


def beside(turns: int) -> None:
    """CPU time over that of shap's explainer, with the least effort whose error is no larger than shap's."""
    _header()
    for columns in (10, 20, 50):
        x, y = numbers(columns)
        for name, make in MODELS.items():
            model = make_pipeline(StandardScaler(), make()).fit(x, y)
            _beside(name, model, x, model.predict, x, turns)


def missing(turns: int) -> None:
    """As `beside`, of pipelines on a frame with categories and missing cells, which shap sees as an array of objects."""
    _header()
    table, y = with_gaps()

    def framed(model: Any, rows: np.ndarray) -> np.ndarray:
        return model.predict(pd.DataFrame(rows, columns=table.columns).astype(table.dtypes))

    scaled = make_pipeline(SimpleImputer(), StandardScaler())
    named = ["sex", "city", "grade"]
    for name, make in MODELS.items():
        columns = [
            ("numbers", scaled, [c for c in table if c not in named]),
            ("names", OneHotEncoder(sparse_output=False), named),
        ]
        model = make_pipeline(ColumnTransformer(columns), make()).fit(table, y)
        _beside(name, model, table, partial(framed, model), table.to_numpy(object), turns)


def with_gaps(rows: int = 1000) -> tuple[pd.DataFrame, np.ndarray]:
    """Ten columns, seven of numbers and three of categories, a tenth of the cells missing; and an answer."""
    rng = np.random.default_rng(0)
    x, y = numbers(10)
    table = pd.DataFrame(x[:rows, :7], columns=[f"number {k}" for k in range(7)])
    for name, levels in (("sex", ["f", "m"]), ("city", list("abcde")), ("grade", ["lo", "mid", "hi"])):
        table[name] = pd.Categorical(rng.choice(levels, rows), levels)
    y = y[:rows] + (table.city == "a") * table["number 0"] + table.grade.cat.codes
    return table.mask(rng.random(table.shape) < 0.1), y.to_numpy()


def _header() -> None:
    logging.getLogger("shap").setLevel(logging.ERROR)
    names = "columns | model | shap | rows | error | CPU ms | tsattr | rows | error | CPU over shap's"
    print(f"| {names} |\n" + "|---" * 10 + "|")


def _beside(name: str, model: Any, table: Any, theirs: Any, x: np.ndarray, turns: int) -> None:
    """Lines of one model: `table` is what tsattr explains it on, `x` what shap gives ``theirs``."""
    import shap

    columns, after = x.shape[1], slice(100, 100 + EXPLAINED)
    of = table if isinstance(table, np.ndarray) else table.iloc
    absent, explained, background = ta.baselines.Samples.fit(of[:BACKGROUND]), of[after], x[:BACKGROUND]
    exact = _exact(model, explained, absent, columns)
    masker = shap.maskers.Independent(background, max_samples=BACKGROUND)
    kernel, permuted, sampled = (
        shap.KernelExplainer(theirs, background),
        shap.PermutationExplainer(theirs, masker),
        shap.SamplingExplainer(theirs, background),
    )
    peers = {
        "KernelExplainer": (partial(_kernel, kernel, x[after]), kernels(columns, absent)),
        "PermutationExplainer": (partial(_permuted, permuted, x[after]), orders(absent)),
        "SamplingExplainer": (partial(_sampled, sampled, x[after]), orders(absent)),
    }
    for peer, (run, ladder) in peers.items():
        try:
            line = _at_equal_error(run, ladder, partial(ta.explain, model, explained), exact, turns)
        except (TypeError, ValueError) as error:  # shap's, of tables that it does not know
            line = f"{type(error).__name__}: {error}".partition("\n")[0]
        print(f"| {columns} | {name} | {peer} | {_rows_of(peer, columns):,} | {line} |", flush=True)


def _at_equal_error(
    theirs: Callable[[int], np.ndarray],
    ladder: Iterator[tuple[str, Any]],
    explain: Callable[..., Any],
    exact: np.ndarray,
    turns: int,
) -> str:
    """One line of the table: shap's error and time, and those of the first of a ladder of efforts that is as good."""
    error = _error([theirs(seed) for seed in range(3)], exact)
    for name, method in ladder:  # noqa: B007 - where none is as good the last one is told
        found = [explain(method, seed=seed) for seed in range(3)]
        if (own := _error([v.attribution.values for v in found], exact)) <= max(error, EXACT):
            break
    seconds = interleaved((partial(theirs, 0), partial(explain, method, seed=0)), turns)
    ratio = [b / a for a, b in zip(*seconds)]
    rows = int(found[0].model_evaluations.sum())
    return f"{error:.2g} | {1e3 * statistics.median(seconds[0]):.0f} | {name} | {rows:,} | {own:.2g} | {spread(ratio)}"


def _rows_of(peer: str, columns: int) -> int:
    """That shap asks of the model: of all rows of the background, but for sampled orders, which take a row of it each."""
    if peer == "SamplingExplainer":
        return EXPLAINED * 1000 * columns
    each = (
        min(2 * columns + 2048, 2**columns - 2) if peer == "KernelExplainer" else 500 // (2 * columns + 1) * 2 * columns
    )
    return EXPLAINED * BACKGROUND * each


def _kernel(explainer: Any, x: np.ndarray, seed: int) -> np.ndarray:
    np.random.seed(seed)  # noqa: NPY002 - which shap draws from
    return explainer.shap_values(x, silent=True, l1_reg=False)


def _permuted(explainer: Any, x: np.ndarray, seed: int) -> np.ndarray:
    np.random.seed(seed)  # noqa: NPY002
    return explainer(x, silent=True).values


def _sampled(explainer: Any, x: np.ndarray, seed: int) -> np.ndarray:
    np.random.seed(seed)  # noqa: NPY002
    return explainer.shap_values(x, silent=True)


def kernels(columns: int, absent: Any) -> Iterator[tuple[str, Any]]:
    """By effort: each row of the background with coalitions of its own."""
    for more in (0, 16, 32, 64, 128, 256, 512, 1024, 2048):
        yield f"KernelShap, {2 * columns + more} coalitions", ta.KernelShap(CELLS, absent, 2 * columns + more)


def orders(absent: Any) -> Iterator[tuple[str, Any]]:
    """By effort: each row of the background in so many pairs of orders."""
    for pairs in (1, 2, 3, 4, 6, 8, 12, 16, 24, 32):
        draws = 2 * pairs * BACKGROUND
        yield f"ShapleySampling, {draws} orders", ta.ShapleySampling(CELLS, absent, draws)


def _exact(model: Any, x: np.ndarray, absent: Any, columns: int) -> np.ndarray:
    if columns == 10:
        return ta.explain(model, x, ta.KernelShap(CELLS, absent)).attribution.values
    long = ta.ShapleySampling(CELLS, absent, 2 * BACKGROUND * 400)
    return ta.explain(model, x, long, seed=12345).attribution.values


def _error(found: Sequence[np.ndarray], exact: np.ndarray) -> float:
    """Root mean square over that of the exact values, median of several seeds."""
    return statistics.median(float(((v - exact) ** 2).mean() ** 0.5 / (exact**2).mean() ** 0.5) for v in found)


# ---- what tables cost


def mixed(rows: int = 2000) -> pd.DataFrame:
    """Columns of ten kinds."""
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "age": rng.integers(18, 90, rows),
            "income": rng.normal(30, 8, rows),
            "score": rng.normal(size=rows).astype(np.float32),
            "sex": pd.Categorical(rng.choice(["f", "m"], rows)),
            "city": rng.choice(list("abcde"), rows),
            "grade": pd.Categorical(rng.choice(["lo", "mid", "hi"], rows), ["lo", "mid", "hi"], ordered=True),
            "smoker": rng.choice([True, False], rows),
            "visits": pd.array(rng.integers(0, 9, rows), dtype="Int64"),
            "seen": pd.Timestamp("2020-01-01") + pd.to_timedelta(rng.integers(0, 900, rows), "D"),
            "note": pd.Series(rng.choice(["x", "y", None], rows), dtype=object),
        }
    )


def pipeline(table: pd.DataFrame) -> Any:
    """Numbers scaled, the others as indicators, a logistic regression."""
    named = ["sex", "city", "grade", "smoker", "note"]
    scaled = ["age", "income", "score", "visits"]
    columns = [("numbers", StandardScaler(), scaled), ("others", OneHotEncoder(handle_unknown="ignore"), named)]
    return make_pipeline(ColumnTransformer(columns), LogisticRegression()).fit(
        table, (table.income > 30) ^ (table.city == "a")
    )


def methods(background: Any) -> dict[str, Any]:
    """One of each kind, of some 1,900 and 3,000 rows a sample."""
    absent = ta.baselines.Samples.fit(background)
    return {
        "ShapleySampling": ta.ShapleySampling(CELLS, absent, 200),
        "KernelShap": ta.KernelShap(CELLS, absent, draws=3),
    }


def _predicted(model: Any, batches: Sequence[pd.DataFrame]) -> list[np.ndarray]:
    return [model.predict_proba(batch) for batch in batches]


def frames(turns: int) -> None:
    """CPU time of a call over that of the bare pipeline for as many rows, in one frame that is there."""
    table = mixed()
    model = pipeline(table)
    x = table.iloc[100:300]
    for name, method in methods(table.iloc[:20]).items():
        found = ta.explain(model, x, method)
        rows = int(found.model_evaluations.sum())
        asked = rows - found.attrs.get("repeated_rows", 0)
        ready = pd.concat([table] * (rows // len(table) + 1)).iloc[:rows]
        batches = [ready.iloc[at : at + 2**15] for at in range(0, rows, 2**15)]
        bare, ours = interleaved((partial(_predicted, model, batches), partial(ta.explain, model, x, method)), turns)
        ratio = [a / b for a, b in zip(ours, bare)]
        print(f"{name}: {rows:,} rows, {asked:,} of them asked; over the bare pipeline {spread(ratio)}")


def equal_rows(turns: int) -> None:
    """CPU time of a call where equal rows are asked once over that where they are not."""
    tables = {"two levels": numbers(10, 2), "five levels": numbers(10, 5), "continuous": numbers(10)}
    cases = {
        f"{kind}, {name}": (make().fit(x, y), x) for kind, (x, y) in tables.items() for name, make in MODELS.items()
    }
    cases["ten kinds, pipeline"] = (pipeline(mixed()), mixed())
    for case, (model, x) in cases.items():
        background, explained = (
            x[at] if isinstance(x, np.ndarray) else x.iloc[at] for at in (slice(20), slice(100, 200))
        )
        said = []
        for name, method in methods(background).items():
            found = ta.explain(model, explained, method)
            share = found.attrs.get("repeated_rows", 0) / int(found.model_evaluations.sum())
            calls = [partial(_with_looks, fewest, model, explained, method) for fewest in (repeats._FEWEST, 10**9)]
            once, every = interleaved(calls, turns)
            said.append(f"{name} {share:.0%} repeat, {spread([a / b for a, b in zip(once, every)])}")
        print(f"{case}: {'; '.join(said)}", flush=True)


def _with_looks(fewest: int, *args: Any) -> Any:
    """Explain where batches of at least so many rows are looked at for equal ones."""
    before, repeats._FEWEST = repeats._FEWEST, fewest
    try:
        return ta.explain(*args)
    finally:
        repeats._FEWEST = before


def many(turns: int) -> None:
    """Seconds of 10,000 samples of ten cells."""
    x = torch.as_tensor(np.random.default_rng(0).normal(size=(10_000, 10)))
    weights = torch.linspace(-1, 1, 10, dtype=torch.float64)

    def model(rows: torch.Tensor) -> torch.Tensor:
        return torch.tanh(rows @ weights) + rows[:, 0] * rows[:, 1]

    calls = {
        "KernelShap, 10.2 million rows": ta.KernelShap(CELLS),
        "ShapleySampling, 4.8 million": ta.ShapleySampling(CELLS),
    }
    seconds = interleaved([lambda m=m: ta.explain(model, x, m) for m in calls.values()], turns)
    for name, found in zip(calls, seconds):
        print(f"{name}: {spread(found)} s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("beside", "missing", "frames", "repeats", "many"))
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    torch.set_num_threads(1)
    with threadpool_limits(1):
        {"beside": beside, "missing": missing, "frames": frames, "repeats": equal_rows, "many": many}[args.what](
            args.repeats
        )


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main()
