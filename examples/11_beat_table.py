"""Heartbeats as a table: is a supraventricular beat known by when it comes, or by how it looks? AFEX on MIT-BIH beats.

Each beat is a row: RR intervals before and after, these over the local mean, and heights, widths and areas of its waves in
two leads. An additive model of three classes (N, S, V) learns from the DS1 patients and is tested on the DS2 patients (de
Chazal et al., 2004). What its S class leans on is read off its terms, and checked by taking the columns away.
"""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import wfdb
from sklearn.metrics import recall_score, roc_auc_score

import tsattr as ta

torch.set_num_threads(1)
DATA = Path(os.environ.get("TSATTR_DATA", Path(__file__).parents[1] / ".." / "shared" / "data")).resolve()
FOLDER = DATA / "ecg" / "mitdb"
if not FOLDER.is_dir():
    raise SystemExit(
        print(f"skipped: no MIT-BIH beats in {FOLDER}; set TSATTR_DATA to the folder that holds ecg/mitdb")
    )

BEATS = list("NLRBAaJSVrFejnE/fQ?")  # the annotation codes that are beats
BEFORE = 10  # RR intervals of the local mean


def local_rr(record: str, samples: np.ndarray, rate: float) -> np.ndarray:
    """Mean of the RR intervals that ended before each beat's own began; all there are, near the start of a record."""
    marks = wfdb.rdann(str(FOLDER / record), "atr")
    beats = marks.sample[np.isin(marks.symbol, BEATS)]
    mean = pd.Series(np.diff(beats) / rate).rolling(BEFORE, min_periods=1).mean().to_numpy()
    return np.r_[np.nan, np.nan, mean][np.searchsorted(beats, samples)]  # beat k ends interval k - 1: up to k - 2


def waves(mv: np.ndarray, time: np.ndarray, lead: str) -> dict[str, np.ndarray]:
    """Heights in mV, width in ms and area in mV ms of one lead (beats, time), above the level between P and QRS."""
    mv = mv - np.median(mv[:, (time > -0.1) & (time < -0.06)], axis=1, keepdims=True)
    part = {"P": (-0.24, -0.1), "QRS": (-0.12, 0.12), "T": (0.16, 0.44)}
    p, qrs, t = (mv[:, (time >= a) & (time < b)] for a, b in part.values())
    steep = np.abs(np.diff(qrs, axis=1))
    over = steep > 0.2 * steep.max(1, keepdims=True)
    width = over.shape[1] - over.argmax(1) - over[:, ::-1].argmax(1)
    step = 1000 * (time[1] - time[0])
    return {
        f"P height {lead}": np.ptp(p, axis=1),
        f"R height {lead}": qrs.max(1),
        f"S depth {lead}": -qrs.min(1),
        f"QRS width {lead}": step * width,
        f"QRS area {lead}": step * qrs.sum(1),
        f"T area {lead}": step * t.sum(1),
    }


def table() -> tuple[pd.DataFrame, pd.DataFrame]:
    """The features of each beat of class N, S or V, and its class, patient and split."""
    about = pd.read_csv(FOLDER / "beats.csv", dtype={"record": str})
    with np.load(FOLDER / "beats.npz") as z:
        mv = (z["x_adc"] - float(z["adc_zero"])) / float(z["adc_gain"])
        rate, time = float(z["fs"]), (np.arange(mv.shape[2]) - z["pre"]) / z["fs"]
    local = about.groupby("record")["sample"].transform(lambda s: local_rr(s.name, s.to_numpy(), rate))
    rr = {
        "RR before": about.rr_prev_s,
        "RR after": about.rr_next_s,
        "RR before / local": about.rr_prev_s / local,
        "RR after / local": about.rr_next_s / local,
    }
    features = pd.DataFrame(rr | waves(mv[:, 0], time, "1") | waves(mv[:, 1], time, "2"))
    keep = about.aami.isin(["N", "S", "V"]) & about.split.isin(["DS1", "DS2"])
    return features[keep], about[keep]


def scored(risk: np.ndarray, said: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Area under the ROC curve of S against the rest, and the recall of S."""
    return np.array([roc_auc_score(y == "S", risk), recall_score(y, said, labels=["S"], average=None)[0]])


x, about = table()
seen, unseen = (about.split == "DS1").to_numpy(), (about.split == "DS2").to_numpy()
timing = [name for name in x if name.startswith("RR")]
columns = {"all": list(x), "no RR": [c for c in x if c not in timing], "RR only": timing}
settings = {"interactions": 1, "n_nets": 0, "random_state": 0}
models = {name: ta.AFEXClassifier(**settings).fit(x.loc[seen, c], about.aami[seen]) for name, c in columns.items()}

y, patient = about.aami[unseen].to_numpy(), about.record[unseen].to_numpy()
patients = np.unique(patient)
answers = {
    name: (m.predict_proba(x.loc[unseen, columns[name]]), m.predict(x.loc[unseen, columns[name]]))
    for name, m in models.items()
}
place = list(models["all"].classes_).index("S")
# Beats of a patient resemble each other, so that patients are drawn, not beats.
rng = np.random.default_rng(0)
rows = [np.concatenate([np.flatnonzero(patient == p) for p in rng.choice(patients, len(patients))]) for _ in range(300)]
drawn = {name: np.array([scored(p[i, place], said[i], y[i]) for i in rows]) for name, (p, said) in answers.items()}
print(
    f"{seen.sum()} beats of {about.record[seen].nunique()} patients to learn from, {len(y)} of {len(patients)} others"
)
for name, (p, said) in answers.items():
    auc, recall = scored(p[:, place], said, y)
    low, high = np.quantile(drawn["all"] - drawn[name], [0.025, 0.975], axis=0)
    lost = f"; lost {low[0]:.3f} to {high[0]:.3f} and {low[1]:.3f} to {high[1]:.3f} (95 % over patients)"
    print(f"  {name:8} S against the rest: AUROC {auc:.3f}, recall {recall:.3f}{lost if name != 'all' else ''}")

model = models["all"]
terms = model.explain_global()
size = model.term_importances().transpose("term", "target").to_pandas()
of_timing = [any(part in timing for part in term.split(" x ")) for term in size.index]
for label in model.classes_:
    share = (size[label][of_timing] ** 2).sum() / (size[label] ** 2).sum()
    first = ", ".join(f"{name} {v:.2f}" for name, v in size[label].sort_values(ascending=False)[:5].items())
    print(f"class {label}: {share:.0%} of the terms' variance is of RR intervals; the largest: {first}")

local = model.explain_local(x[unseen]).attribution.sel(target="S")
for name, part in {"RR intervals": local.sel(feature=timing), "waves": local.drop_sel(feature=timing)}.items():
    sums = part.sum("feature").values
    means = ", ".join(f"{sums[y == c].mean():+.2f} in {c}" for c in model.classes_)
    print(f"{name} add to the score of S, on average over the beats of the unseen patients: {means}")

ta.plot.shape(terms, timing, target="S", title="What RR intervals add to the score of S").savefig("beat_table.png")
