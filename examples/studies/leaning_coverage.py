"""Do the intervals of `ecg.leaning` cover 95 per cent? Simulated patients, models that read one thing, and the effect in all of them.

Each patient has one to three stretches of four seconds of one record. Five models by formula read one thing in lead II: the deviation of
RR intervals, the height of P, the level of ST over that of R, the width of QRS, and P through an exponential, whose changes are skewed.
The standard edits are made in all patients; their mean change there is the truth. Then some patients at a time are drawn as
a study would, and the interval of `ecg.leaning` either holds the truth or not. How often is said with its own interval (Wilson),
and beside it those of others: of the bootstrap over patients by percentiles, BCa (both `scipy.stats.bootstrap`) and of Student's t.
"""

import argparse
import warnings

import numpy as np
import pandas as pd
import xarray as xr
from common import arguments, begin
from scipy.signal import find_peaks
from scipy.stats import binomtest, bootstrap

import tsattr as ta
from tsattr import ecg
from tsattr.ecg.response import STANDARD

RATE, SECONDS, MOST = 250, 4.0, 3
PATIENTS = (6, 10, 20, 40)
OWN = {
    "RR": "RR before x 0.8",
    "P": "P x 0",
    "ST": "ST + 0.1 mV",
    "QRS": "QRS lasts x 1.5",
    "exp P": "P x 0",
}


def read(lead: np.ndarray) -> list[float]:
    """What the models say of lead II of a record."""
    r, _ = find_peaks(lead, height=0.5 * np.quantile(lead, 0.999), distance=75)
    inner = r[(r > 70) & (r < len(lead) - 70)]
    rr = np.diff(r) / RATE
    timing = float(np.mean(np.maximum(abs(rr - np.median(rr)) - 0.02, 0))) if len(rr) else 0.0
    if not len(inner):
        return [timing, 0.0, 0.0, 0.0, 1.0]
    p, st, qrs = np.mean(
        [
            [
                lead[k - 42 : k - 30].mean(),
                lead[k + 21 : k + 23].mean() / lead[k],
                (lead[k - 25 : k + 25] > lead[k] / 2).sum() / RATE,
            ]
            for k in inner
        ],
        0,
    )
    return [timing, p, st, qrs, float(np.exp(20 * p))]


def reads(ecgs: np.ndarray) -> np.ndarray:
    return np.array([read(x[1]) for x in np.asarray(ecgs, float)])


def stretches(patients: int, seed: int) -> tuple[xr.DataArray, xr.Dataset]:
    """Records of four seconds, one to three of each patient, and what is measured in them."""
    d = ta.datasets.simulate_ecg(
        patients, lesions=(), sampling_rate=RATE, duration=SECONDS * MOST, seed=seed, dtype="float64"
    )
    size, rng = round(SECONDS * RATE), np.random.default_rng(seed)
    kept = [(i, k) for i in range(patients) for k in range(int(rng.integers(1, MOST + 1)))]
    cut = [d[["ecg", "r_peak"]].isel(sample=i, time=slice(k * size, (k + 1) * size)) for i, k in kept]
    time = d.time.values[:size]
    whole = xr.concat([c.assign_coords(time=time).drop_vars("sample") for c in cut], "sample")
    whole = whole.assign_coords(sample=np.arange(len(kept)), patient=("sample", [i for i, _ in kept]))
    return whole.ecg, ecg.delineate(whole.ecg, whole.r_peak)


def changes(x: xr.DataArray, measured: xr.Dataset) -> np.ndarray:
    """What each edit does to the output of each model, of each record: (edit, model, sample)."""
    before = reads(x.values)
    return np.stack([(reads(edit(x, measured, dose).values) - before).T for edit, dose in STANDARD.values()])


def check_against_leaning(x: xr.DataArray, measured: xr.Dataset, change: np.ndarray) -> None:
    """The intervals counted are those that `ecg.leaning` gives."""
    model = ta.models.on_arrays(lambda v: reads(v)[:, 1:2])
    table = ecg.leaning(model, x, measured=measured, patient="patient").squeeze("class")
    found = ta.metrics.bootstrap(change[:, 1], x.patient.values)
    np.testing.assert_allclose(table.low, found.low, atol=1e-9)
    np.testing.assert_allclose(table.high, found.high, atol=1e-9)


def others(total: np.ndarray, count: np.ndarray, seed: int) -> dict[str, tuple[float, float]]:
    """Intervals of bootstraps over patients, from their sums and numbers of records."""
    if np.ptp(total / count) < 1e-12:
        return {}
    pooled = lambda t, n, axis=-1: t.sum(axis) / n.sum(axis)  # noqa: E731
    found = {}
    for kind in ("percentile", "BCa"):
        ends = bootstrap(
            (total, count),
            pooled,
            paired=True,
            method=kind,
            n_resamples=999,
            vectorized=True,
            rng=np.random.default_rng(seed),
        ).confidence_interval
        found[kind] = (ends.low, ends.high)
    found["bootstrap-t"] = studentised(total, count, seed)
    return found


def studentised(total: np.ndarray, count: np.ndarray, seed: int) -> tuple[float, float]:
    """The bootstrap of Student's t over patients (Efron and Tibshirani 1993, section 12.5)."""

    def mean_and_error(t: np.ndarray, n: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        mean = t.sum(-1) / n.sum(-1)
        pull = (t - mean[..., None] * n) / n.sum(-1)[..., None]
        return mean, np.sqrt((pull**2).sum(-1) * len(total) / (len(total) - 1))

    mean, error = mean_and_error(total, count)
    drawn = np.random.default_rng(seed).integers(0, len(total), (999, len(total)))
    means, errors = mean_and_error(total[drawn], count[drawn])
    t = (means - mean)[errors > 0] / errors[errors > 0]
    high, low = np.quantile(t, [0.025, 0.975])
    return float(mean - low * error), float(mean - high * error)


def main(args: argparse.Namespace) -> None:
    warnings.filterwarnings("ignore", message=".*(QRS of 0.12 s or more|moved only as far as|lasts only as long as)")
    say = begin(args)
    number, repetitions = (150, 40) if args.quick else (4000, 1000)
    parts, patient = [], []
    for start in range(0, number, 100):
        x, measured = stretches(min(100, number - start), args.seed + 1000 + start)
        parts.append(changes(x, measured))
        patient.append(x.patient.values + start)
        if start == 0:
            few = slice(0, 12)
            check_against_leaning(x[few], measured.isel(sample=few), parts[0][..., few])
            say("the intervals are those of ecg.leaning")
    change, patient = np.concatenate(parts, -1), np.concatenate(patient)
    truth = change.mean(-1)
    say(f"{len(patient)} records of {number} patients are edited")

    names, rng, rows = list(STANDARD), np.random.default_rng(args.seed), []
    for n in PATIENTS:
        hits: dict[tuple[str, str], list[bool]] = {}
        for _ in range(repetitions):
            chosen = np.isin(patient, rng.choice(number, n, replace=False))
            whose = patient[chosen]
            for m, (model, own) in enumerate(OWN.items()):
                found = ta.metrics.bootstrap(change[:, m, chosen], whose, seed=args.seed)
                k = names.index(own)
                hits.setdefault((model, "leaning"), []).append(bool(found.low[k] <= truth[k, m] <= found.high[k]))
                hits.setdefault((model, "own edit apart"), []).append(bool(found.apart[k]))
                hits.setdefault((model, "one without effect apart"), []).append(
                    bool(
                        any(
                            a
                            for j, a in enumerate(found.apart)
                            if j != k and abs(truth[j, m]) < 0.01 * abs(truth[k, m])
                        )
                    )
                )
                member = whose == np.unique(whose)[:, None]
                values = others((member * change[k, m, chosen]).sum(1), member.sum(1).astype(float), args.seed)
                for kind, (low, high) in values.items():
                    hits.setdefault((model, kind), []).append(bool(low <= truth[k, m] <= high))
        for (model, what), v in hits.items():
            low, high = binomtest(sum(v), len(v)).proportion_ci(method="wilson")
            rows.append(
                {"patients": n, "model": model, "what": what, "share": f"{np.mean(v):.3f} [{low:.3f}, {high:.3f}]"}
            )
        say(f"{n} patients, {repetitions} times")
    table = pd.DataFrame(rows).pivot(index=["model", "patients"], columns="what", values="share")
    print(f"\n{table.loc[list(OWN)].to_string()}\n")
    effects = pd.DataFrame(truth, index=names, columns=list(OWN))
    print("truth:", effects.round(5).to_string(), sep="\n")
    table.to_csv(args.out / "coverage.csv")
    effects.to_csv(args.out / "truth.csv")
    say(f"wrote coverage.csv and truth.csv to {args.out}")


if __name__ == "__main__":
    main(arguments(__doc__, study="leaning_coverage").parse_args())
