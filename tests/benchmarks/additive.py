"""AFEX beside explainable boosting, and beside partial dependence and SHAP of gradient-boosted trees.

python -m tests.benchmarks.additive cases     # scores on tables with known terms, three draws: about 25 minutes
python -m tests.benchmarks.additive cases --seeds 1 --only friedman1 pairs_mix
python -m tests.benchmarks.additive time      # fits by turns in one process: about three minutes
python -m tests.benchmarks.additive tables    # three small real tables, cross-validated: about three minutes

Needs interpret-core; the rows of SHAP are left out where shap is not installed.
"""

from __future__ import annotations

import argparse
import statistics
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from interpret.glassbox import ExplainableBoostingClassifier, ExplainableBoostingRegressor
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_diabetes, load_wine
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.model_selection import RepeatedKFold, RepeatedStratifiedKFold, cross_validate
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from tests.afex.cases import CASES, Case, Draw
from tests.afex.scorer import Afex, Explainer, score
from tsattr.afex.estimators import AFEXClassifier, AFEXRegressor

BACKGROUND = 100  # rows that partial dependence averages over
EXPLAINED = 500  # rows with SHAP values, from which its curves and surfaces are averaged
SHOWN = ("r2", "mains", "mains_min", "raw", "pairs", "leak", "false_pair", "found")


@dataclass(frozen=True)
class Scored:
    """A fitted model that predicts f: a classifier by its log-odds."""

    model: Any

    def predict_f(self, x: np.ndarray) -> np.ndarray:
        return getattr(self.model, "decision_function", self.model.predict)(x)


class Boosted(Scored):
    """The terms of an explainable boosting machine, evaluated row by row."""

    def main(self, j: int, x: np.ndarray) -> np.ndarray:
        return self.term((j,), {j: x})

    def pair(self, a: int, b: int, xa: np.ndarray, xb: np.ndarray) -> np.ndarray | None:
        return self.term((a, b), {a: xa, b: xb}) if (a, b) in self.model.term_features_ else None

    def term(self, features: tuple[int, ...], values: Mapping[int, np.ndarray]) -> np.ndarray:
        rows = np.zeros((len(next(iter(values.values()))), self.model.n_features_in_))
        for j, v in values.items():
            rows[:, j] = v
        return self.model.eval_terms(rows)[:, self.model.term_features_.index(features)]


@dataclass(frozen=True)
class Dependence(Scored):
    """Partial dependence of a black box: a pair is the joint curve less the two single ones."""

    background: np.ndarray

    def main(self, j: int, x: np.ndarray) -> np.ndarray:
        return self.averaged({j: x})

    def pair(self, a: int, b: int, xa: np.ndarray, xb: np.ndarray) -> np.ndarray:
        (ua, ia), (ub, ib) = (np.unique(v, return_inverse=True) for v in (xa, xb))
        return self.averaged({a: xa, b: xb}) - self.main(a, ua)[ia] - self.main(b, ub)[ib]

    def averaged(self, values: Mapping[int, np.ndarray]) -> np.ndarray:
        n = len(next(iter(values.values())))
        rows = np.repeat(self.background, n, axis=0)
        for j, v in values.items():
            rows[:, j] = np.tile(v, len(self.background))
        return self.predict_f(rows).reshape(len(self.background), n).mean(0)


@dataclass(frozen=True)
class Shap(Scored):
    """Tree SHAP's main effects and interactions of single rows, averaged over the nearest of them."""

    rows: np.ndarray
    effects: np.ndarray

    def main(self, j: int, x: np.ndarray) -> np.ndarray:
        near = KNeighborsRegressor(10).fit(self.rows[:, [j]], self.effects[:, j, j])
        return near.predict(np.reshape(x, (-1, 1)))

    def pair(self, a: int, b: int, xa: np.ndarray, xb: np.ndarray) -> np.ndarray:
        near = KNeighborsRegressor(10).fit(self.rows[:, [a, b]], self.effects[:, a, b] + self.effects[:, b, a])
        return near.predict(np.column_stack([xa, xb]))


def afex(case: Case, draw: Draw, seed: int) -> Explainer:
    return Afex((AFEXClassifier if case.classifies else AFEXRegressor)(random_state=seed).fit(draw.x, draw.y))


def ebm(case: Case, draw: Draw, seed: int) -> Explainer:
    kind = ExplainableBoostingClassifier if case.classifies else ExplainableBoostingRegressor
    return Boosted(kind(outer_bags=4, n_jobs=1, random_state=seed).fit(draw.x, draw.y))


def trees(case: Case, draw: Draw, seed: int) -> Any:
    kind = HistGradientBoostingClassifier if case.classifies else HistGradientBoostingRegressor
    return kind(random_state=seed).fit(draw.x, draw.y)


def dependence(case: Case, draw: Draw, seed: int) -> Explainer:
    return Dependence(trees(case, draw, seed), draw.x[:BACKGROUND])


def tree_shap(case: Case, draw: Draw, seed: int) -> Explainer:
    import shap

    model, rows = trees(case, draw, seed), draw.x[:EXPLAINED]
    return Shap(model, rows, shap.TreeExplainer(model).shap_interaction_values(rows))


EXPLAINERS: dict[str, Callable[[Case, Draw, int], Explainer]] = {
    "AFEX": afex,
    "EBM, 4 bags": ebm,
    "HGB, dependence": dependence,
} | ({"HGB, tree SHAP": tree_shap} if find_spec("shap") else {})


def cases(names: Sequence[str], seeds: int) -> None:
    print(f"means over {seeds} draws; {EXPLAINED} rows for SHAP, {BACKGROUND} for dependence")
    print(f"{'case':16} {'explainer':16}" + "".join(f"{name:>11}" for name in SHOWN))
    for name in names:
        draws = [CASES[name].draw(seed) for seed in range(seeds)]
        for label, make in EXPLAINERS.items():
            runs = [score(make(CASES[name], d, seed), CASES[name], d.x_test, d.f_test) for seed, d in enumerate(draws)]
            means = (statistics.mean(run[key] for run in runs) for key in SHOWN)
            print(f"{name:16} {label:16}" + "".join(f"{m:11.3f}" for m in means), flush=True)
    if find_spec("shap"):
        agreement()


def agreement() -> None:
    """Compare the contributions of an AFEX model without pairs to SHAP's own explainer of additive models."""
    import shap

    case = CASES["additive_smooth"]
    draw = case.draw(0)
    model = AFEXRegressor(interactions=0, random_state=0).fit(draw.x, draw.y)
    masker = shap.maskers.Independent(draw.x, max_samples=len(draw.x))
    theirs = shap.explainers.Additive(model.predict, masker)(draw.x_test[:200])
    gap = np.abs(model.explain_local(draw.x_test[:200]).attribution.values - theirs.values).max()
    print(f"largest difference between AFEX's contributions and SHAP's additive explainer of it: {gap:.1e}")


def by_turns(names: Sequence[str], repeats: int) -> None:
    """Seconds of each fit, all in one process and by turns, so that all meet the same machine."""
    kinds = {
        "AFEX": lambda seed: AFEXRegressor(random_state=seed),
        "EBM, 4 bags": lambda seed: ExplainableBoostingRegressor(outer_bags=4, n_jobs=1, random_state=seed),
        "HGB": lambda seed: HistGradientBoostingRegressor(random_state=seed),
    }
    for name in names:
        cpu: dict[str, list[float]] = {kind: [] for kind in kinds}
        wall: dict[str, list[float]] = {kind: [] for kind in kinds}
        for seed in range(-1, repeats):  # the first turn loads and compiles, and is not counted
            draw = CASES[name].draw(max(seed, 0))
            for kind, make in kinds.items():
                start, start_cpu = time.perf_counter(), time.process_time()
                make(max(seed, 0)).fit(draw.x, draw.y)
                if seed >= 0:
                    cpu[kind].append(time.process_time() - start_cpu)
                    wall[kind].append(time.perf_counter() - start)
        print(f"{name}: {draw.x.shape[0]} rows, {draw.x.shape[1]} features, one thread, {repeats} repeats")
        for kind in kinds:
            ratio = [b / a for a, b in zip(cpu["EBM, 4 bags"], cpu[kind])]
            print(
                f"  {kind:12} CPU {statistics.median(cpu[kind]):6.2f} s ({min(cpu[kind]):.2f}-{max(cpu[kind]):.2f}), "
                f"wall {statistics.median(wall[kind]):6.2f} s, CPU over EBM's {statistics.median(ratio):.2f} "
                f"({min(ratio):.2f}-{max(ratio):.2f})",
                flush=True,
            )


def tables(repeats: int) -> None:
    """Cross-validated scores on real tables, and differences to AFEX fold by fold."""
    data = {"diabetes": load_diabetes, "breast cancer": load_breast_cancer, "wine": load_wine}
    for name, load in data.items():
        x, y = load(return_X_y=True)
        regression = name == "diabetes"
        folds = (RepeatedKFold if regression else RepeatedStratifiedKFold)(
            n_splits=5, n_repeats=repeats, random_state=0
        )
        scoring = (
            {"R2": "r2", "-rmse": "neg_root_mean_squared_error"}
            if regression
            else {"accuracy": "accuracy", "-logloss": "neg_log_loss", "AUC": "roc_auc_ovr"}
        )
        print(
            f"{name}: {x.shape[0]} rows, {x.shape[1]} features, 5 folds x {repeats}; mean, and AFEX less it +- its se"
        )
        ours: Mapping[str, np.ndarray] = {}
        for label, model in contenders(regression).items():
            scores = cross_validate(clone(model), x, y, cv=folds, scoring=scoring)
            ours = ours or scores  # AFEX comes first
            parts = [f"{k} {compared(ours, scores, f'test_{k}')}" for k in scoring]
            print(f"  {label:14} {', '.join(parts)}; {np.median(scores['fit_time']):.2f} s a fit", flush=True)


def compared(ours: Mapping[str, np.ndarray], theirs: Mapping[str, np.ndarray], key: str) -> str:
    difference = ours[key] - theirs[key]
    # Repeats reuse the rows, so the folds of one repeat only count as independent.
    error = difference.std(ddof=1) / np.sqrt(5)
    return f"{theirs[key].mean():.4f} ({difference.mean():+.4f} +- {error:.4f})"


def contenders(regression: bool) -> dict[str, Any]:
    """Models by name, AFEX first; EBM with pairs for regression only: it takes none of several classes, and minutes of 30 columns."""
    if regression:
        linear: Any = RidgeCV(np.logspace(-3, 3, 13))
        ours, theirs, boosting = AFEXRegressor, ExplainableBoostingRegressor, HistGradientBoostingRegressor
    else:
        linear = LogisticRegression(max_iter=1000)
        ours, theirs, boosting = AFEXClassifier, ExplainableBoostingClassifier, HistGradientBoostingClassifier
    paired = {"EBM, 4 bags": theirs(outer_bags=4, n_jobs=1, random_state=0)} if regression else {}
    return {
        "AFEX": ours(random_state=0),
        "linear": make_pipeline(StandardScaler(), linear),
        **paired,
        "EBM, no pairs": theirs(interactions=0, n_jobs=1, random_state=0),
        "HGB": boosting(random_state=0),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=("cases", "time", "tables"))
    parser.add_argument(
        "--only", nargs="*", choices=CASES, help="cases; all of them, or friedman1 and pairs_mix for time"
    )
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--repeats", type=int, help="fits for time (5), or divisions into folds for tables (1)")
    args = parser.parse_args()
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", module="interpret|shap|numba")
    if args.part == "cases":
        cases(args.only or list(CASES), args.seeds)
    elif args.part == "time":
        by_turns(args.only or ["friedman1", "pairs_mix"], args.repeats or 5)
    else:
        tables(args.repeats or 1)


if __name__ == "__main__":
    main()
