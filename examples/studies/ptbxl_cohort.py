"""On which leads and waves do five diagnoses rest, and do edits of the waves say the same? PTB-XL, by patient.

Five small networks learn the superclasses from the 12-lead records of folds 1 to 8; their mean is asked about the records of
folds 9 and 10, which hold other patients. Waves are measured beat by beat. Of each diagnosis a table says what each lead and wave
of the records that have it adds to its logit, beside the normal records, with intervals over patients. Then normal records are
edited, one wave at a time, as a disease would change them, and the table of edit by diagnosis says what each logit makes of it.
"""

import argparse
import warnings

import numpy as np
import pandas as pd
import torch
import xarray as xr
from common import arguments, begin, logits
from ptbxl_sanity import CLASSES, load, trainer
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn
from tqdm import tqdm

import tsattr as ta
from tsattr import ecg
from tsattr.io import write_netcdf

EDITS = {
    "T x 0": (ecg.edits.Scale("T"), 0.0),
    "T x -1": (ecg.edits.Scale("T"), -1.0),
    "ST + 0.1 mV": (ecg.edits.RaiseST(), 0.1),
    "ST - 0.1 mV": (ecg.edits.RaiseST(), -0.1),
    "QRS lasts x 1.5": (ecg.edits.WidenQRS(), 1.5),
    "QRS x 1.5": (ecg.edits.Scale("QRS"), 1.5),
    "QRS x 0.5": (ecg.edits.Scale("QRS"), 0.5),
    "P x 0": (ecg.edits.Scale("P"), 0.0),
    "RR before x 0.8": (ecg.edits.MoveBeats(), 0.8),
}
EXPECTED = {
    "T x 0": "STTC",
    "T x -1": "STTC",
    "ST - 0.1 mV": "STTC",
    "ST + 0.1 mV": "MI",
    "QRS lasts x 1.5": "CD",
    "QRS x 1.5": "HYP",
}
"""Which logit a cardiologist would have raised most."""


class Mean(nn.Module):
    """The mean of the logits of several networks."""

    def __init__(self, models: list[nn.Module]) -> None:
        super().__init__()
        self.models = nn.ModuleList(models)

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([m(x) for m in self.models]).mean(0)


def tables(
    model: nn.Module, data: xr.Dataset, wave: xr.DataArray, method: ta.IntegratedGradients, seed: int
) -> dict[str, xr.Dataset]:
    """Of each diagnosis the cohort table of those who have it and of the normal records."""
    found = {}
    for name in tqdm(CLASSES[1:], "tables"):
        label = data.label.sel({"class": [name, "NORM"]}).values > 0
        some = label[:, 0] != label[:, 1]  # normal, or with this diagnosis
        x = data.ecg.isel(sample=some)
        attribution = ta.explain(
            model, x, method, target=name, outputs={"class": CLASSES}, seed=seed, check=False
        ).attribution
        found[name] = ecg.cohort(
            attribution,
            over=data.patient.values[some],
            by_class=np.where(label[some, 0], name, "NORM"),
            wave=wave.isel(sample=some),
            seed=seed,
        )
    return found


def largest(table: xr.Dataset, name: str, most: int = 4) -> str:
    """The cells in which those with the diagnosis differ most from normal records, of those that hold together."""
    here = table.sel(pair=f"NORM - {name}") if f"NORM - {name}" in table.pair else table.sel(pair=f"{name} - NORM")
    sign = -1.0 if str(here.pair.values).startswith("NORM") else 1.0
    cells = here[["difference", "difference_low", "difference_high", "difference_apart"]].to_dataframe().dropna()
    cells = cells[cells.difference_apart.astype(bool)].sort_values("difference", key=lambda v: -abs(v)).head(most)
    words = []
    for (lead, wave), cell in cells[["difference", "difference_low", "difference_high"]].iterrows():
        low, high = sorted((sign * cell.difference_low, sign * cell.difference_high))
        words.append(f"{lead} {wave} {sign * cell.difference:.2f} [{low:.2f}, {high:.2f}]")
    return "; ".join(words) or "none"


def by_wave(table: xr.Dataset, name: str) -> dict[str, float]:
    """What each wave adds over all leads to the logit of those who have the diagnosis, less what it adds to that of normal records."""
    mean = table["mean"].sum("lead")
    more = mean.sel({"class": name}) - mean.sel({"class": "NORM"})
    return {str(w): round(float(more.sel(wave=w)), 2) for w in ("P", "QRS", "ST", "T", "other")}


def edited(model: nn.Module, data: xr.Dataset, measured: xr.Dataset) -> pd.DataFrame:
    """The change of every logit by every edit of the normal records, with intervals over patients."""
    normal = data.label.sel({"class": "NORM"}).values > 0
    x, patient = data.ecg.isel(sample=normal), data.patient.values[normal]
    mine = measured.isel(sample=normal)
    rows = {}
    for name, (edit, amount) in tqdm(EDITS.items(), "edits"):
        found = ecg.dose(
            model, x, edit, [amount], measured=mine, patient=patient, target=CLASSES, outputs={"class": CLASSES}
        ).isel(dose=0)
        rows[name] = {
            c: f"{float(found['mean'].sel(target=c)):.2f} [{float(found.low.sel(target=c)):.2f}, {float(found.high.sel(target=c)):.2f}]"
            for c in found.target.values
        } | {"moved most": str(found["mean"].sel(target=CLASSES[1:]).idxmax("target").values)}
    table = pd.DataFrame(rows).T
    table["expected"] = pd.Series(EXPECTED)
    return table.fillna("")


def main(args: argparse.Namespace) -> None:
    warnings.filterwarnings("ignore", message=".*QRS of 0.12 s or more")  # many have: it is a diagnosis here
    say = begin(args)
    data = load()
    seen, unseen = (data.isel(sample=k.values) for k in (data.fold <= 8, data.fold > 8))
    epochs, number = (5, 2) if args.quick else (25, 5)
    models = [
        trainer(epochs, args.seed + k)(seen.ecg.values, seen.label.values) for k in tqdm(range(number), "training")
    ]
    model = Mean(models).eval()
    auroc = roc_auc_score(unseen.label, logits(model, unseen.ecg.values), average=None)
    counts = unseen.label.sum("sample").values.astype(int)
    say(
        f"mean of {number} networks; AUROC on {unseen.sizes['sample']} records of {len(np.unique(unseen.patient))} other patients: "
        + ", ".join(f"{c} {v:.2f} ({n})" for c, v, n in zip(CLASSES, auroc, counts))
        + f"; macro {auroc.mean():.3f}"
    )
    r = ecg.r_peaks(unseen.ecg)
    measured = ecg.delineate(unseen.ecg, r)
    wave = ecg.waves(r, measured=measured)
    method = ta.IntegratedGradients(ta.baselines.Samples.fit(seen.ecg[::3]), steps=1).within(20 if args.quick else 100)
    found = tables(model, unseen, wave, method, args.seed)
    cells = pd.DataFrame(
        {name: {**by_wave(t, name), "lead and wave, apart from normal": largest(t, name)} for name, t in found.items()}
    ).T
    print(f"\n{cells.to_string()}\n")
    cells.to_csv(args.out / "waves.csv")
    edits = edited(model, unseen, measured)
    print(f"\n{edits.to_string()}\n")
    edits.to_csv(args.out / "edits.csv")
    for name, table in found.items():
        write_netcdf(table, args.out / f"{name}.nc")
    say(f"wrote waves.csv, edits.csv and a table of each diagnosis to {args.out}")


if __name__ == "__main__":
    main(arguments(__doc__, study="ptbxl_cohort").parse_args())
