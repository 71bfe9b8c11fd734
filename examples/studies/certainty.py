"""What makes a model unsure, and does its uncertainty rank its errors? Planted artefacts on ECGs, and beats of MIT-BIH.

Networks learn clean simulated 12-lead records. Of other records one lead, or one second of all leads, is then replaced by
something they have not met. Asked is whether they are less certain of the corrupted record than of the same record clean,
whether maps of their uncertainty lie on what was corrupted, and whether uncertainty tells errors from right answers better
than the largest probability does: there, and on heartbeats of patients who were not in the training set.
"""

import argparse
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import torch
import xarray as xr
from common import SignalNet, arguments, begin, fit, parameters
from mitdb_baselines import CLASSES as BEATS
from mitdb_baselines import load as load_beats
from mitdb_baselines import train as train_on_beats
from sklearn.metrics import roc_auc_score
from torch import nn

import tsattr as ta
from tsattr.io import write_netcdf

LESIONS = ("st_elevation_anterior", "t_inversion", "pathologic_q", "pvc")
CLASSES = ["normal", *LESIONS]
TARGETS = {k: ta.targets.Uncertainty(k) for k in ("entropy", "mutual_information")}
PASSES = 20


def corrupted(x: xr.DataArray, kind: str, seed: int) -> tuple[xr.DataArray, np.ndarray]:
    """The records with one lead or one second of each replaced, and which."""
    rng = np.random.default_rng(seed)
    values, second = x.values.copy(), 100
    where = rng.integers(12 if "lead" in kind else 10, size=len(values))
    for record, at in zip(values, where):
        if kind == "lead, noise of 1 mV":
            record[at] += rng.standard_normal(record.shape[1])
        elif kind == "lead, electrode off":  # an open input drifts, and sees no heart
            phase = 2 * np.pi * (rng.uniform(0.1, 1.0) * np.arange(record.shape[1]) / second + rng.random())
            record[at] = np.sin(phase)
        else:
            record[:, at * second : (at + 1) * second] += rng.standard_normal((12, second))
    return x.copy(data=values), where


KINDS = ("lead, noise of 1 mV", "lead, electrode off", "second, noise of 1 mV")


def explained_by(reference: xr.DataArray, groups: Any) -> dict[str, Any]:
    """The methods whose maps of uncertainty are looked at, each of about as many rows."""
    b = ta.baselines
    return {
        "IG, zero": ta.IntegratedGradients(b.Constant(0.0), steps=16),
        "IG, training records": ta.IntegratedGradients(b.Samples.fit(reference), steps=1, draws=16),
        "Shapley values, zero": ta.ShapleySampling(groups, b.Constant(0.0), draws=2),
        "occlusion, zero": ta.Occlusion(groups, b.Constant(0.0)),
        "occlusion, training records": ta.Occlusion(groups, b.Samples.fit(reference), 2),
        "input x gradient": ta.InputXGradient(),
        "saliency": ta.Saliency(),
    }


@torch.no_grad()
def probabilities(model: Any, *inputs: np.ndarray) -> np.ndarray:
    """Of every member, or of one model, (samples, members, classes) in float64."""
    given = [torch.as_tensor(v) for v in inputs]
    members = model.members if isinstance(model, ta.models.Ensemble) else [model]
    return torch.stack([m(*given).double().softmax(-1) for m in members], 1).numpy()


def doubts(p: np.ndarray) -> dict[str, np.ndarray]:
    """Measures of uncertainty of probabilities (samples, members, classes), larger where less is certain."""
    log = np.log(np.maximum(p, 1e-300))
    mean = p.mean(1)
    total, data = -(mean * np.log(np.maximum(mean, 1e-300))).sum(-1), -(p * log).sum(-1).mean(1)
    found = {"largest probability": -mean.max(-1), "entropy": total}
    return found if p.shape[1] == 1 else found | {"expected_entropy": data, "mutual_information": total - data}


def areas(wrong: np.ndarray, found: Mapping[str, np.ndarray], block: np.ndarray, seed: int, draws: int) -> pd.DataFrame:
    """Areas under the ROC curve of errors, and what each has over the largest probability; intervals over blocks."""
    rng, names = np.random.default_rng(seed), list(found)
    labels, number = np.unique(block, return_inverse=True)
    members = [np.flatnonzero(number == k) for k in range(len(labels))]

    def of(at: np.ndarray) -> list[float]:
        return [roc_auc_score(wrong[at], found[name][at]) for name in names]

    every, drawn = np.array(of(np.arange(len(wrong)))), []
    while len(drawn) < draws:
        at = np.concatenate([members[k] for k in rng.integers(len(members), size=len(members))])
        if 0 < wrong[at].sum() < len(at):
            drawn.append(of(at))
    rows = {}
    for label, (value, sample) in {
        "area": (every, np.array(drawn)),
        "over the largest probability": (every - every[0], np.array(drawn) - np.array(drawn)[:, :1]),
    }.items():
        low, high = np.quantile(sample, [0.025, 0.975], axis=0)
        rows[label] = [f"{v:.3f} [{a:.3f}, {b:.3f}]" for v, a, b in zip(value, low, high)]
    return pd.DataFrame(rows, index=names)


def largest(ds: xr.Dataset, kind: str) -> xr.DataArray:
    """The lead or second with the largest sum of each map, the part that most makes the model unsure."""
    sums = ds.attribution
    if "lead" in kind:
        return sums.sum("time").argmax("lead")
    return sums.sum("lead").coarsen(time=100).sum().argmax("time")


def kinds_of_model(nets: list[nn.Module]) -> dict[str, Any]:
    """An ensemble, the passes of its first member's dropout, and that member by itself."""
    return {
        f"ensemble of {len(nets)}": ta.models.Ensemble(nets),
        f"{PASSES} passes": ta.models.dropout(nets[0], PASSES),
        "one network": nets[0],
    }


def simulated(args: argparse.Namespace, say: Any) -> None:
    train, held, shown, members = (400, 150, 10, 3) if args.quick else (800, 600, 60, 5)
    data = ta.datasets.simulate_ecg(train + held, lesions=LESIONS, seed=args.seed)
    x, y = data.ecg, data.label.values
    nets = []
    for k in range(members):
        torch.manual_seed(args.seed + k)
        net = SignalNet(12, len(CLASSES), dropout=0.3)
        nets.append(
            fit(net, (x[:train].values,), y[:train], nn.CrossEntropyLoss(), epochs=8, seed=args.seed + k, shift=20)
        )
    models = {
        f"ensemble of {members}": ta.models.Ensemble(nets),
        f"{PASSES} passes": ta.models.dropout(nets[0], PASSES),
    }
    models["one network"] = nets[0]
    reference, clean, truth = x[:train:8], x[train:], y[train:]
    before = {name: probabilities(m, clean.values) for name, m in models.items()}
    right = ", ".join(f"{name} {(p.mean(1).argmax(1) == truth).mean():.3f}" for name, p in before.items())
    say(f"{parameters(nets[0])} parameters trained on {train} clean records; accuracy on {held} others: {right}")
    top = {}
    for kind in KINDS:
        bad, where = corrupted(clean, kind, args.seed)
        for name, model in models.items():
            p = probabilities(model, bad.values)
            say(f"{kind}, {name}: accuracy {(p.mean(1).argmax(1) == truth).mean():.3f}")
            old, new = doubts(before[name]), doubts(p)
            risen = {
                k: f"{np.median(old[k]):.3f} -> {np.median(new[k]):.3f}, up in {(new[k] > old[k]).mean():.0%}"
                for k in new
            }
            print("  medians, paired: " + "; ".join(f"{k} {v}" for k, v in risen.items()))
            both = {k: np.concatenate([old[k], new[k]]) for k in new}
            wrong = np.concatenate([before[name].mean(1).argmax(1) != truth, p.mean(1).argmax(1) != truth])
            block = np.tile(np.arange(held), 2)
            print(areas(wrong, both, block, args.seed, 100 if args.quick else 500).to_string())
            if name == "one network":
                continue
            groups = ta.groups.Along("lead") if "lead" in kind else ta.groups.Windows(time="1s")
            few = shown if "ensemble" in name else max(shown // 3, 10)
            for method_name, method in explained_by(reference, groups).items():
                ds = ta.explain(model, bad[:few], method, target=TARGETS, outputs={"class": CLASSES}, seed=args.seed)
                hit = (largest(ds, kind) == xr.DataArray(where[:few], dims="sample")).values
                rose = np.stack([new[k][:few] > old[k][:few] for k in TARGETS], 1)
                shares = {"all": hit.mean(0), "less certain": (hit & rose).sum(0) / rose.sum(0)}
                top |= {(kind, name, method_name, which): share for which, share in shares.items()}
        say(f"{kind}: explained")
    table = pd.DataFrame(top, index=list(TARGETS)).T.rename_axis(["kind", "model", "method", "of"])
    print(
        "\nshare of records whose largest lead or second is the corrupted one: of all, and of those it is less certain of"
    )
    print(table.unstack(["kind", "model", "of"]).stack(0, future_stack=True).round(2).to_string())
    write_netcdf(xr.Dataset.from_dataframe(table), args.out / "top1.nc")


def beats(args: argparse.Namespace, say: Any) -> None:
    data = load_beats()
    seen, unseen = (data.isel(sample=(data.split == s).values) for s in ("DS1", "DS2"))
    nets = []
    for k in range(2 if args.quick else 5):
        torch.manual_seed(args.seed + k)
        nets.append(train_on_beats(seen, epochs=2 if args.quick else 8, activation="relu", seed=args.seed + k))
    given = unseen.ecg.values, unseen.rr.values
    for name, model in kinds_of_model(nets).items():
        p = probabilities(model, *given)
        wrong = np.array(BEATS)[p.mean(1).argmax(1)] != unseen.label.values
        say(f"MIT-BIH, {unseen.sizes['sample']} beats of DS2, {name}: accuracy {1 - wrong.mean():.3f}")
        print(areas(wrong, doubts(p), unseen.patient.values, args.seed, 100 if args.quick else 500).to_string())


def main(args: argparse.Namespace) -> None:
    say = begin(args)
    simulated(args, say)
    if args.beats:
        beats(args, say)


if __name__ == "__main__":
    parser = arguments(__doc__, study="certainty")
    parser.add_argument("--no-beats", action="store_false", dest="beats", help="leave the real beats out")
    main(parser.parse_args())
