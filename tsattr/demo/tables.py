"""The demo of tables: a pipeline on raw columns, explained as a black box and beside a model that explains itself."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import xarray as xr

from .. import baselines, groups
from ..core.targets import Function
from ..datasets import simulate_risk
from ..explain import explain
from ..io import write_netcdf
from ..methods.kernel_shap import KernelShap
from ..methods.occlusion import Occlusion
from ..methods.shapley import ShapleySampling
from .scores import Say, along_method, ranking


def pipeline(frame: pd.DataFrame) -> Any:
    """Boosted trees on raw columns, categories one-hot."""
    from sklearn.compose import make_column_transformer
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder

    words = [c for c in frame if not pd.api.types.is_numeric_dtype(frame[c])]
    one_hot = make_column_transformer(
        (OneHotEncoder(sparse_output=False, handle_unknown="ignore"), words), remainder="passthrough"
    )
    trees = HistGradientBoostingClassifier(max_iter=150, learning_rate=0.05, max_leaf_nodes=8, random_state=0)
    return make_pipeline(one_hot, trees)


def score(attribution: xr.DataArray, truth: xr.DataArray) -> xr.Dataset:
    """Score maps (sample, feature) against exact shares, chance beside each.

    ``correlation`` is Pearson's over a sample's columns, ``error`` the root mean square over the columns in the target's unit
    (chance: a map of zeros), ``top1`` whether the column with the largest size is the one with the largest share.
    """
    order = ("sample", "feature")
    found = attribution.transpose(*order).sel(feature=truth.feature).reset_coords(drop=True)
    largest, right = abs(found).argmax("feature"), abs(truth).argmax("feature")
    return xr.Dataset(
        {
            "correlation": xr.corr(found, truth, "feature").fillna(0),
            "error": np.sqrt(((found - truth) ** 2).mean("feature")),
            "top1": (largest == right).astype(float),
            "correlation_chance": 0.0,
            "error_chance": float(np.sqrt((truth**2).mean("feature")).mean()),
            "top1_chance": 1 / truth.sizes["feature"],
        }
    )


def tabular(out: Path, say: Say = print, *, quick: bool = False, seed: int = 0) -> xr.Dataset:
    """Simulate, train, explain, score, and write ``attribution.nc`` and ``report.html`` into `out`.

    Parameters
    ----------
    out
        A folder; made if its parent exists.
    say
        Takes a line of text for each step.
    quick
        Fewer patients and draws, for a look within a minute.
    seed
        Of the simulator, the training and the draws.
    """
    from sklearn.metrics import roc_auc_score

    from ..afex import AFEXClassifier, AFEXExplainer

    out.mkdir(exist_ok=True)
    start = time.perf_counter()
    data = simulate_risk(2000 if quick else 4000, seed=seed)
    columns = [str(c) for c in data.feature.values]
    frame, outcome = data[columns].to_dataframe(), data.outcome.values
    cut = round(0.75 * len(frame))
    say(
        f"simulated {len(frame)} patients, {len(columns)} columns: {', '.join(columns)}; {outcome.mean():.0%} have the outcome"
    )
    model = pipeline(frame).fit(frame[:cut], outcome[:cut])
    held = {"the pipeline": model.predict_proba(frame[cut:])[:, 1], "the true risk": data.log_odds.values[cut:]}
    quality = {name: float(roc_auc_score(outcome[cut:], risk)) for name, risk in held.items()}
    say("AUC on held-out patients: " + ", ".join(f"{name} {value:.3f}" for name, value in quality.items()))
    own = AFEXClassifier(random_state=seed).fit(frame[:cut], outcome[:cut])
    quality["AFEX"] = float(roc_auc_score(outcome[cut:], own.predict_proba(frame[cut:])[:, 1]))
    outside = AFEXExplainer(model, link="logit", random_state=seed).fit(frame[:cut])
    say(
        f"AFEX in the place of the pipeline: AUC {quality['AFEX']:.3f}; AFEX as an explanation of it: fidelity "
        f"{outside.fidelity_:.3f} (R2 of the log-odds on rows kept out)"
    )
    chosen = frame[cut:][: 60 if quick else 200]
    truth = data.truth.sel(sample=chosen.index.values)
    say(f"explaining {len(chosen)} held-out patients by the log-odds of the outcome, in the raw columns")
    target = Function(lambda p: torch.log(p[:, 1] / p[:, 0]), "log-odds of the outcome")
    draws = 4 if quick else 16
    each, law = groups.Along("feature"), baselines.Samples.fit(frame[:cut])
    methods = {
        "Shapley sampling, training patients": ShapleySampling(each, law, draws=4 * draws),
        "KernelSHAP, training patients": KernelShap(each, law, draws=2 * draws),
        "Occlusion, training patients": Occlusion(each, law, draws=draws),
        "Occlusion, typical patient": Occlusion(each, baselines.Typical.fit(frame[:cut])),
    }
    results = {}
    for name, method in methods.items():
        began = time.perf_counter()
        results[name] = explain(model, chosen, method, target=target, seed=seed)
        say(f"  {name}: {int(results[name].model_evaluations.sum())} model rows in {time.perf_counter() - began:.1f} s")
    results["AFEX of the pipeline"] = outside.explain_local(chosen)
    results["AFEX itself"] = own.explain_local(chosen)
    tables = {name: score(ds.attribution, truth) for name, ds in results.items()}
    noise = truth.copy(data=np.random.default_rng(seed).normal(size=truth.shape))
    shown = along_method(tables | {"random": score(noise, truth)})
    shown.attrs["chance"] = "a map of zeros, or of noise"
    say(ranking(shown))
    first = results["Shapley sampling, training patients"]
    ds = first.drop_vars("attribution").assign(
        attribution=along_method({k: r[["attribution"]].reset_coords(drop=True) for k, r in results.items()})[
            "attribution"
        ],
        truth=truth,
    )
    ds.update({f"score_{k}": v for k, v in along_method(tables).items()})
    ds.attrs = first.attrs | {f"held_out_auc_{k.replace(' ', '_')}": v for k, v in quality.items()}
    write_netcdf(ds, out / "attribution.nc")
    from ..report import additive

    shown_rows = chosen[:3]
    additive(
        outside.explain_global(),
        outside.explain_local(shown_rows),
        shown_rows,
        title="Demo: which column decided a patient's risk?",
        quality={f"AUC on held-out patients, {k}": v for k, v in quality.items()},
        notes="The patients are simulated: age, temperature, lactate, ward and low pressure with a fast heart beat decide.",
        out=out / "report.html",
    )
    say(f"wrote {out / 'attribution.nc'} and {out / 'report.html'} after {time.perf_counter() - start:.0f} s")
    return ds
