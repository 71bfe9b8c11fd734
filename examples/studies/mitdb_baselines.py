"""Which baseline for heartbeats? The design of Sturmfels, Lundberg and Lee (Distill, 2020) on MIT-BIH beats.

A small network learns N, S and V beats of the DS1 patients (de Chazal et al., 2004) and is tested on the DS2 patients. It
sees two leads, and the RR intervals before and after beside them, which are not explained: early beats of supraventricular
origin differ from normal ones mostly in when they come. The beats of DS2 that it gets right are explained for the class it
predicts, by path methods with eleven baselines and by other methods; the maps are tested by removal with four fills; and
differences are judged by resampling patients.
"""

import argparse

import numpy as np
import pandas as pd
import torch
import xarray as xr
from common import (
    SignalNet,
    arguments,
    begin,
    by_removal,
    data_folder,
    fills,
    fit,
    logits,
    off_data,
    parameters,
    path_methods,
    save,
    scoreboard,
)
from sklearn.metrics import accuracy_score, f1_score
from torch import nn

import tsattr as ta

CLASSES = ["N", "S", "V"]  # F and Q are too few, and a mixture of the others
ACTIVATIONS = {"relu": nn.ReLU, "softplus": lambda: nn.Softplus(beta=10)}


def load() -> xr.Dataset:
    """Beats in mV less each record's median (so that 0 is about the isoelectric level), their class, patient and split."""
    folder = data_folder("ecg", "mitdb")
    with np.load(folder / "beats.npz") as z:
        mv = ((z["x_adc"] - z["adc_zero"].astype(np.float32)) / z["adc_gain"]).astype(np.float32)
        time = (np.arange(mv.shape[-1]) - z["pre"]) / z["fs"]
    t = pd.read_csv(folder / "beats.csv")
    for record in t.record.unique():
        own = (t.record == record).values
        mv[own] -= np.median(mv[own], axis=(0, 2))[:, None]
    rr = np.log(t[["rr_prev_s", "rr_next_s"]].values).astype(np.float32)
    ds = xr.Dataset(
        {
            "ecg": (("sample", "lead", "time"), mv, {"units": "mV"}),
            "rr": (("sample", "side"), rr, {"long_name": "logarithm of RR before and after"}),
            "label": ("sample", t.aami.to_numpy(str)),
            "split": ("sample", t.split.to_numpy(str)),
        },
        # The second lead is V1 in most records, and V5 or V4 in three.
        coords={"sample": np.arange(len(t)), "lead": ["MLII", "chest"], "time": ("time", time, {"units": "s"})},
    )
    ds = ds.assign_coords(patient=("sample", t.record.to_numpy()))
    return ds.isel(sample=np.isin(ds.label, CLASSES))


def train(data: xr.Dataset, *, epochs: int, activation: str, seed: int) -> SignalNet:
    """Fit to all beats of `data`, rare classes weighted by the root of how rare they are."""
    y = np.array([CLASSES.index(c) for c in data.label.values])
    weight = torch.tensor(np.sqrt(len(y) / len(CLASSES) / np.bincount(y)), dtype=torch.float32)
    net = SignalNet(2, len(CLASSES), beside=2, parts=4, dropout=0.2, activation=ACTIVATIONS[activation])
    loss = nn.CrossEntropyLoss(weight=weight)
    fit(net, (data.ecg.values, data.rr.values), y, loss, epochs=epochs, seed=seed, shift=5)
    return net


def balanced(labels: np.ndarray, number: int, seed: int) -> np.ndarray:
    """Positions of `number` samples, as many of each class as there are to be had."""
    rng = np.random.default_rng(seed)
    pools = sorted((rng.permutation(np.flatnonzero(labels == c)) for c in np.unique(labels)), key=len)
    chosen: list[int] = []
    for left, pool in zip(range(len(pools), 0, -1), pools):
        chosen += pool[: (number - len(chosen)) // left].tolist()
    return np.sort(chosen)


def explained_by(beats: xr.DataArray, normal: xr.DataArray, rows: int) -> dict:
    """The methods that are compared; `beats` is the training distribution."""
    b = ta.baselines
    peak = beats.time == 0
    own = {
        "IG band 5-25 Hz": ta.IntegratedGradients(b.BandStop(5.0, 25.0)).within(rows),
        "IG median normal beat": ta.IntegratedGradients(b.MedianBeat.fit(normal, peak).at(peak)).within(rows),
        "occlusion": ta.Occlusion(ta.groups.Windows(time="50ms", step="25ms", lead=1), b.Bridge()),
        "saliency": ta.Saliency(),
    }
    return path_methods(beats, rows=rows, blur="50ms", noise=0.5, rank=32) | own


def by_class(table: xr.Dataset, labels: np.ndarray) -> str:
    """The gap of each method in each class, over all fills but its own kind, signed ranking."""
    classes = xr.DataArray(labels, dims="sample", name="class")
    frame = by_removal(table, "gap", "signed").groupby(classes).mean().transpose("method", "class").to_pandas()
    return frame.round(3).to_string()


def main(args: argparse.Namespace) -> None:
    say = begin(args)
    data = load()
    seen, unseen = (data.isel(sample=(data.split == s).values) for s in ("DS1", "DS2"))
    net = train(seen, epochs=6 if args.quick else 15, activation=args.activation, seed=args.seed)
    predicted = np.array(CLASSES)[logits(net, unseen.ecg.values, unseen.rr.values).argmax(1)]
    f1 = f1_score(unseen.label, predicted, labels=CLASSES, average=None)
    patients = [len(np.unique(d.patient)) for d in (seen, unseen)]
    say(
        f"{parameters(net)} parameters trained on {seen.sizes['sample']} beats of {patients[0]} patients (DS1); on "
        f"{unseen.sizes['sample']} beats of {patients[1]} others (DS2) accuracy "
        f"{accuracy_score(unseen.label, predicted):.3f}, F1 " + ", ".join(f"{c} {v:.3f}" for c, v in zip(CLASSES, f1))
    )

    right = unseen.isel(sample=predicted == unseen.label.values)
    chosen = right.isel(sample=balanced(right.label.values, 60 if args.quick else 510, args.seed))
    counts = ", ".join(f"{(chosen.label == c).sum().item()} {c}" for c in CLASSES)
    say(f"explaining {chosen.sizes['sample']} beats that it gets right ({counts})")
    reference = seen.ecg[:: 8 if args.quick else 2]
    methods = explained_by(reference, seen.ecg.isel(sample=(seen.label == "N").values), 30 if args.quick else 82)
    settings = {"outputs": {"class": CLASSES}, "seed": args.seed}
    table = ta.compare(
        net,
        chosen.ecg,
        methods,
        context={"beside": chosen.rr},
        fills=fills(reference, blur="50ms"),
        reference=reference,
        metrics=["gap", "deletion", "insertion", "cumulative_deletion"],
        blocks="patient",
        progress=True,
        **settings,
    )
    say(f"{table.attrs['rows']} rows asked of the model")
    print(f"\n{scoreboard(table)}\n\ngap by class, signed ranking\n{by_class(table, chosen.label.values)}\n")
    print(f"{off_data(table)}\n\n{table.attrs['recommendation']}\n")

    save(args.out, table, title="Which baseline for MIT-BIH beats?")
    say(f"wrote table.nc and report.html to {args.out}")


if __name__ == "__main__":
    parser = arguments(__doc__, study="mitdb_baselines")
    parser.add_argument("--activation", choices=ACTIVATIONS, default="relu")
    main(parser.parse_args())
