"""Does a network of heartbeats lean on when they come or on what they look like? Edits of MIT-BIH beats, beside removals.

A small network learns N, S and V beats of the DS1 patients (de Chazal et al., 2004) from two leads and the RR intervals before
and after. Of the DS2 patients' S and V beats each thing that they are known by is edited towards a normal beat of the same patient:
the RR interval before, P, the width of QRS, T, or the whole shape; and the cells of the same wave are bridged, as a removal would.
What the margin over N loses is averaged with intervals over patients. Before that, how well waves are measured: of records and
classes, the share of the slope energy within QRS, beside fixed windows (and neurokit2, where it is installed).
"""

import argparse
import warnings

import numpy as np
import pandas as pd
import xarray as xr
from common import arguments, begin, data_folder, logits
from mitdb_baselines import CLASSES, load, train
from sklearn.metrics import roc_auc_score

import tsattr as ta
from tsattr import ecg

RECORDS = {"mitdb/208": "NVF", "mitdb/209": "NA", "mitdb/212": "NR", "wfdb/100": "NA"}


def measured_waves(seconds: float) -> pd.DataFrame:
    """Widths, shares of slope energy and the share of beats with a P, by record and symbol."""
    rows = []
    for name, symbols in RECORDS.items():
        x = ta.read_wfdb(data_folder("ecg") / name, annotator="atr", stop=seconds)
        r = ecg.r_peaks(x)
        found, rate = ecg.delineate(x, r), float(x.attrs["sampling_rate"])
        words = dict(zip(np.atleast_1d(x.annotation.attrs["flag_values"]), x.annotation.attrs["flag_meanings"].split()))
        symbol = np.array([words[c] for c in x.annotation.values[r.values]])
        qrs = found.sel(wave="QRS")
        peaks = np.flatnonzero(r)
        others = by_neurokit(x, peaks, rate)
        for s in symbols:
            mine = symbol == s
            shares = [
                share(x.values, peaks[mine], rate, *(v[mine] for v in spans))
                for spans in ((qrs.onset - qrs.r, qrs.offset - qrs.r), others) if spans is not None
            ]  # fmt: skip
            fixed = share(x.values, peaks[mine], rate, np.full(mine.sum(), -0.06), np.full(mine.sum(), 0.06))
            width = 1000 * (qrs.offset - qrs.onset)[mine]
            rows.append(
                {
                    "record": name, "beats": f"{mine.sum()} {s}", "QRS, ms": f"{float(width.median()):.0f} [{', '.join(f'{v:.0f}' for v in np.quantile(width, [0.05, 0.95]))}]",
                    "slope inside": shares[0], "fixed": fixed, "neurokit2": shares[1] if len(shares) > 1 else np.nan,
                    "P found": float(found.onset.sel(wave="P")[mine].notnull().mean()),
                }
            )  # fmt: skip
    return pd.DataFrame(rows)


def share(x: np.ndarray, peaks: np.ndarray, rate: float, start: np.ndarray, stop: np.ndarray) -> float:
    """Of the slope energy of the average beat within 0.2 s of R, what lies within the median window."""
    half = round(0.2 * rate)
    at = peaks[(peaks > half) & (peaks < x.shape[1] - half - 1)]
    average = np.stack([x[:, k - half : k + half + 1] for k in at]).mean(0)
    energy, offset = (np.gradient(average, axis=1) ** 2).sum(0), (np.arange(2 * half + 1) - half) / rate
    inside = (offset >= np.nanmedian(start) - 1e-9) & (offset < np.nanmedian(stop) + 1e-9)
    return float(energy[inside].sum() / energy.sum())


def by_neurokit(x: xr.DataArray, peaks: np.ndarray, rate: float) -> tuple[np.ndarray, np.ndarray] | None:
    """QRS by neurokit2's wavelets on the first lead, seconds from R; None without neurokit2."""
    try:
        import neurokit2
    except ImportError:
        return None
    _, found = neurokit2.ecg_delineate(x.values[0].astype(float), peaks, sampling_rate=round(rate), method="dwt")
    ends = [np.array(found[name], float) for name in ("ECG_R_Onsets", "ECG_R_Offsets")]
    return (ends[0] - peaks) / rate, (ends[1] - peaks) / rate


def edited(beats: xr.Dataset, normal: xr.Dataset, seed: int) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Signals and RR intervals of beats, each with one thing made normal or taken away."""
    peak = xr.DataArray(
        np.broadcast_to(beats.time == 0, (beats.sizes["sample"], beats.sizes["time"])),
        dims=("sample", "time"),
        coords={"time": beats.time},
    )
    measured = ecg.delineate(beats.ecg, peak)
    x, rr, swapped = beats.ecg, beats.rr.values.copy(), beats.ecg.values.copy()
    for patient in np.unique(beats.patient):
        own = normal.isel(sample=(normal.patient == patient).values)
        own = own if own.sizes["sample"] else normal  # of one who has none, everybody's
        there = peak[0].broadcast_like(own.ecg.isel(lead=0, drop=True))
        usual = ecg.edits.SwapBeats.fit(own.ecg, ecg.delineate(own.ecg, there), before=0.25, after=0.44)
        mine = np.flatnonzero(beats.patient == patient)
        swapped[mine] = usual(x[mine], measured.isel(sample=mine), 1.0)
        rr[mine, 0] = float(own.rr[:, 0].median())
    average = normal.rr.values.mean(0)
    shapes = {
        "P taken away": ecg.edits.Scale("P")(x, measured, 0.0),
        "QRS lasts x 0.6": ecg.edits.WidenQRS()(x, measured, 0.6),
        "T taken away": ecg.edits.Scale("T")(x, measured, 0.0),
        "QRS bridged": ecg.edits.Scale("QRS")(x, measured, 0.0),
    }
    found = {
        "RR before: the patient's own": (x.values, rr),
        "RR before: the average (removal)": (x.values, np.stack([np.full(len(rr), average[0]), rr[:, 1]], 1)),
    }
    found |= {name: (v.values, beats.rr.values) for name, v in shapes.items()}
    return found | {
        "shape: the patient's normal beat": (swapped, beats.rr.values),
        "both": (swapped, rr),
    }


def main(args: argparse.Namespace) -> None:
    warnings.filterwarnings("ignore", message=".*QRS of 0.12 s or more")
    say = begin(args)
    waves = measured_waves(120 if args.quick else 1800)
    print(waves.round(3).to_string(index=False))
    waves.to_csv(args.out / "waves.csv", index=False)

    data = load()
    seen, unseen = (data.isel(sample=(data.split == s).values) for s in ("DS1", "DS2"))
    net = train(seen, epochs=6 if args.quick else 15, activation="relu", seed=args.seed)
    scores = logits(net, unseen.ecg.values, unseen.rr.values)
    normal = unseen.isel(sample=(unseen.label == "N").values)
    rows = []
    for name in ("S", "V"):
        k, truth = CLASSES.index(name), unseen.label.values
        two = np.isin(truth, ["N", name])
        say(
            f"{name} against N on DS2: AUROC {roc_auc_score(truth[two] == name, (scores[:, k] - scores[:, 0])[two]):.3f}"
        )
        beats = unseen.isel(sample=truth == name)
        before = logits(net, beats.ecg.values, beats.rr.values)
        margin = before[:, k] - before[:, 0]
        for edit, (x, rr) in edited(beats, normal, args.seed).items():
            after = logits(net, x.astype(np.float32), rr.astype(np.float32))
            change = after[:, k] - after[:, 0] - margin
            interval = ta.metrics.bootstrap(change, beats.patient.values, seed=args.seed)
            called = (after.argmax(1) == k).mean()
            rows.append(
                {
                    "class": name,
                    "edit": edit,
                    "margin": f"{margin.mean():.2f}",
                    "change": f"{interval.mean:.2f} [{interval.low:.2f}, {interval.high:.2f}]",
                    "still called so": round(float(called), 2),
                    "patients": len(np.unique(beats.patient)),
                }
            )
    table = pd.DataFrame(rows)
    print(f"\n{table.to_string(index=False)}\n")
    table.to_csv(args.out / "edits.csv", index=False)
    say(f"wrote waves.csv and edits.csv to {args.out}")


if __name__ == "__main__":
    main(arguments(__doc__, study="timing_or_shape").parse_args())
