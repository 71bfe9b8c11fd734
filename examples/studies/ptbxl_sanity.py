"""Which methods depend on what a PTB-XL model has learnt? Weights, labels and seeds randomised in turn.

A small network learns the five diagnostic superclasses from the 12-lead records of folds 1 to 8 and is tested on folds 9 and
10, which hold other patients. Records of the test folds are then explained for one class by several methods, and each method
has to pass: the map must not outlive the weights (cascading randomisation) nor the labels (Adebayo et al., NeurIPS 2018),
and must be more alike between models of different seeds than unrelated maps are.
"""

import argparse
import ast
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
import torch
import xarray as xr
from common import SignalNet, arguments, begin, data_folder, fit, logits, parameters
from matplotlib.figure import Figure
from sklearn.metrics import roc_auc_score
from torch import nn
from tqdm import tqdm

import tsattr as ta
from tsattr.io import write_netcdf

CLASSES = ["NORM", "STTC", "CD", "MI", "HYP"]
MEASURES = ("spearman", "spearman_absolute", "top_iou")


def load() -> xr.Dataset:
    """Records in mV, their superclasses (any diagnostic statement of the class counts), patient and fold."""
    folder = data_folder("ecg", "ptbxl")
    t = pd.read_csv(folder / "ptbxl_database.csv", index_col="ecg_id")
    statements = pd.read_csv(folder / "scp_statements.csv", index_col=0)
    superclass = statements[statements.diagnostic == 1].diagnostic_class
    found = [{superclass.get(code) for code in ast.literal_eval(codes)} for codes in t.scp_codes]
    records = [ta.read_wfdb(folder / name).squeeze() for name in tqdm(t.filename_lr, "reading")]
    ecg = np.stack([r.transpose("lead", "time").values for r in records]).astype(np.float32)
    return xr.Dataset(
        {
            "ecg": (("sample", "lead", "time"), ecg, {"units": "mV"}),
            "label": (("sample", "class"), np.array([[c in f for c in CLASSES] for f in found], np.float32)),
            "fold": ("sample", t.strat_fold.values),
            "patient": ("sample", t.patient_id.values.astype(int)),
        },
        coords={"sample": t.index.values, "class": CLASSES, "lead": records[0].lead.values, "time": records[0].time},
    )


def trainer(epochs: int, seed: int) -> Callable[[np.ndarray, np.ndarray], SignalNet]:
    """``train(x, y)``, which trains but once for the same labels."""
    models: dict[bytes, SignalNet] = {}

    def train(x: np.ndarray, y: np.ndarray) -> SignalNet:
        if y.tobytes() not in models:
            torch.manual_seed(seed)
            net = SignalNet(12, len(CLASSES), widths=(24, 32, 48, 64), kernels=(11, 9, 7, 5), dropout=0.3)
            models[y.tobytes()] = fit(
                net, (x,), y, nn.BCEWithLogitsLoss(), epochs=epochs, seed=seed, batch=32, shift=50
            )
        return models[y.tobytes()]

    return train


def explained_by(reference: xr.DataArray, rows: int) -> dict[str, Any]:
    """The methods that are tested."""
    b = ta.baselines
    return {
        "saliency": ta.Saliency(),
        "input x gradient": ta.InputXGradient(),
        "IG zero": ta.IntegratedGradients(b.Constant(0.0)).within(rows),
        "IG training": ta.IntegratedGradients(b.Samples.fit(reference), steps=1).within(rows),
        "guided backprop": ta.GuidedBackprop(),
        "Grad-CAM": ta.GradCAM(),
        "occlusion": ta.Occlusion(ta.groups.Windows(time="200ms", lead=1), b.Bridge()),
    }


def mapped(model: nn.Module, *, x: xr.DataArray, method: Any, settings: dict[str, Any]) -> xr.DataArray:
    """The maps of one model."""
    return ta.explain(model, x, method, **settings).attribution


def verdicts(weights: xr.Dataset, labels: xr.Dataset, seeds: xr.Dataset) -> dict[str, str]:
    """Pass or fail of one method in each test, with the measure that comes nearest to failing (or is farthest beyond)."""
    words = {}
    for test, found in (("weights", weights), ("labels", labels)):
        name = max(MEASURES, key=lambda m: found.attrs[f"{m}_last"] - found.attrs[f"{m}_band"])
        last, band = found.attrs[f"{name}_last"], found.attrs[f"{name}_band"]
        words[test] = f"{found.attrs['verdict'].split(':')[0]} ({name} {last:.2f}, unrelated {band:.2f})"
    between, band = between_seeds(seeds), weights.attrs["spearman_absolute_band"]
    words["seeds"] = (
        f"{'passes' if between > band else 'fails'} (spearman_absolute {between:.2f}, unrelated {band:.2f})"
    )
    return words


def between_seeds(seeds: xr.Dataset) -> float:
    """Mean rank correlation of sizes over records and pairs of models."""
    r = seeds.spearman_absolute.mean("sample").values
    return float(np.nanmean(r[np.triu_indices(len(r), 1)]))


def cascades(found: dict[str, xr.Dataset]) -> Figure:
    """How alike the maps stay while layer after layer is randomised."""
    figure = Figure(figsize=(11, 5), layout="constrained")
    ax = figure.subplots()
    layers = next(iter(found.values())).layer.values
    for (name, ds), colour in zip(found.items(), matplotlib.colormaps["turbo"](np.linspace(0.05, 0.95, len(found)))):
        ax.plot(abs(ds.spearman_absolute).mean("sample"), "o-", color=colour, label=name)
        ax.axhline(ds.attrs["spearman_absolute_band"], color=colour, ls=":", lw=1)
    ax.set_xticks(np.arange(len(layers)), layers, rotation=30, ha="right")
    ax.set(xlabel="random from the output down to this layer", ylabel="rank correlation with the original, of sizes")
    ax.set_title("dotted: what unrelated maps of the same smoothness stay below", loc="left", fontsize=9)
    figure.legend(frameon=False, loc="outside right upper")
    return figure


def main(args: argparse.Namespace) -> None:
    say = begin(args)
    warnings.filterwarnings("ignore", "GuidedBackprop fails")  # what is tested here
    data = load()
    seen, unseen = (data.isel(sample=k.values) for k in (data.fold <= 8, data.fold > 8))
    if shared := set(seen.patient.values) & set(unseen.patient.values):
        raise ValueError(f"patients {sorted(shared)} are in the training and the test folds")
    x, y = seen.ecg.values, seen.label.values
    epochs, number = (5, 2) if args.quick else (25, 5)
    trainers = [trainer(epochs, args.seed + k) for k in range(number)]
    models = [train(x, y) for train in tqdm(trainers, "training")]
    auroc = np.stack([roc_auc_score(unseen.label, logits(m, unseen.ecg.values), average=None) for m in models])
    say(
        f"{parameters(models[0])} parameters trained on {len(x)} records; AUROC on {unseen.sizes['sample']} records of other "
        f"patients, mean of {len(models)} seeds: "
        + ", ".join(f"{c} {v:.2f}" for c, v in zip(CLASSES, auroc.mean(0)))
        + f"; macro {auroc.mean():.3f} (from {auroc.mean(1).min():.3f} to {auroc.mean(1).max():.3f} between seeds)"
    )

    chosen = unseen.ecg.isel(sample=unseen.label.sel({"class": args.target}).values > 0)[: 6 if args.quick else 16]
    say(f"explaining {args.target} of {chosen.sizes['sample']} records that have it")
    settings = {"target": args.target, "outputs": {"class": CLASSES}, "seed": args.seed}
    methods = explained_by(seen.ecg[::3], 16 if args.quick else 50)
    draws = 20 if args.quick else 100
    weights, rows, maps = {}, {}, {}
    for name, method in tqdm(methods.items(), "testing"):
        explain = partial(mapped, x=chosen, method=method, settings=settings)
        maps[name] = explain(models[0])
        weights[name] = ta.metrics.cascade(models[0], explain, draws=draws, seed=args.seed)
        labels = ta.metrics.label_randomisation(trainers[0], explain, x, y, draws=draws, seed=args.seed)
        rows[name] = verdicts(weights[name], labels, ta.metrics.seeds(models, explain))
    table = pd.DataFrame(rows).T
    say(
        "how alike maps are after the change (of seeds: between models), and what unrelated ones of their smoothness reach"
    )
    agree = ta.metrics.agreement(maps)
    matrix = agree.spearman_absolute.mean("sample").to_pandas().round(2).rename_axis(None).rename_axis(None, axis=1)
    print(f"\n{table.to_string()}\n\nagreement of the methods (Spearman, sizes)\n{matrix.to_string()}\n")

    result = xr.concat(weights.values(), "method", combine_attrs="drop").assign_coords(method=list(weights))
    for test in table:
        result[f"verdict_{test}"] = "method", table[test].values.astype(str)
    result["agreement"] = ("method", "method_other"), matrix.values
    write_netcdf(result.assign_coords(method_other=list(weights)), args.out / "table.nc")
    cascades(weights).savefig(args.out / "cascades.png", dpi=120)
    say(f"wrote table.nc and cascades.png to {args.out}")


if __name__ == "__main__":
    parser = arguments(__doc__, study="ptbxl_sanity")
    parser.add_argument("--target", choices=CLASSES, default="NORM")
    main(parser.parse_args())
