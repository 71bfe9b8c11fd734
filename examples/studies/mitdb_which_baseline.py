"""Which baseline, which method, for a network that classifies the beats of MIT-BIH?

A small network learns N, S and V beats of the DS1 patients (de Chazal's split) from two leads; the RR intervals come beside
them and are not explained. Beats of the DS2 patients that it gets right are explained with many baselines and tested by
removal, signed and absolute, under several fills, beside random maps; differences are paired and resampled by patient.
"""

import numpy as np
import pandas as pd
import torch
import xarray as xr
from common import ConvNet, data_folder, options, outputs, train
from sklearn.metrics import f1_score

import tsattr as ta

CLASSES = ["N", "S", "V"]


def beats() -> xr.Dataset:
    """The beats of both patient sets in mV, aligned on their R peak at 0 s, with what is known of each."""
    folder = data_folder("ecg", "mitdb")
    about = pd.read_csv(folder / "beats.csv")
    with np.load(folder / "beats.npz") as packed:
        signal = (packed["x_adc"].astype(np.float32) - float(packed["adc_zero"])) / float(packed["adc_gain"])
        seconds = (np.arange(signal.shape[2]) - int(packed["pre"])) / float(packed["fs"])
    keep = (
        about.aami.isin(CLASSES)
        & about.split.isin(["DS1", "DS2"])
        & about[["rr_prev_s", "rr_next_s"]].notna().all(axis=1)
    )
    about = about[keep].reset_index(drop=True)
    x = xr.DataArray(
        signal[keep.to_numpy()],
        dims=("sample", "lead", "time"),
        coords={"sample": about.index, "lead": ["first", "second"], "time": ("time", seconds, {"units": "s"})},
        attrs={"units": "mV"},
    )
    rr = about[["rr_prev_s", "rr_next_s"]].to_numpy(np.float32)
    rr = np.c_[rr, rr[:, 0] / rr[:, 1]].clip(0, 3)
    return xr.Dataset({"ecg": x, "rr": (("sample", "interval"), rr)}).assign_coords(
        patient=("sample", about.record), kind=("sample", about.aami), part=("sample", about.split)
    )


def methods(normal: xr.DataArray, training: xr.DataArray) -> dict[str, object]:
    """What is compared: nine baselines of integrated gradients, and five other methods."""
    b = ta.baselines
    spread = float(training.std())
    return {
        "IG zero": ta.IntegratedGradients(b.Constant(0.0)),
        "IG own mean": ta.IntegratedGradients(b.Mean()),
        "IG blur 50 ms": ta.IntegratedGradients(b.Blur(time="50ms")),
        "IG below 5 Hz": ta.IntegratedGradients(b.BandStop(low=5.0)),
        "IG normal beat": ta.IntegratedGradients(b.Constant(normal)),
        "IG maximum distance": ta.IntegratedGradients(b.MaximumDistance.fit(training)),
        "IG uniform": ta.IntegratedGradients(b.Uniform.fit(training), draws=5),
        "IG Gaussian": ta.IntegratedGradients(b.Gaussian(spread), draws=5),
        "IG training beats": ta.IntegratedGradients(b.Samples.fit(training), steps=1, draws=30),
        "saliency": ta.Saliency(),
        "input x gradient": ta.InputXGradient(),
        "SmoothGrad": ta.SmoothGrad(draws=60),
        "occlusion, bridged": ta.Occlusion(ta.groups.Windows(time="50ms", step="25ms", lead=1), b.Bridge()),
        "Grad-CAM": ta.GradCAM(),
    }


def main() -> None:
    args = options(__doc__)
    data = beats()
    learn, test = (np.flatnonzero(data.part.values == part) for part in ("DS1", "DS2"))
    y = np.array([CLASSES.index(k) for k in data.kind.values])
    net = ConvNet(2, len(CLASSES), extra=3)
    train(
        net,
        data.ecg.values[learn],
        y[learn],
        extra=data.rr.values[learn],
        epochs=4 if args.quick else 15,
        seed=args.seed,
    )
    guess = outputs(net, data.ecg.values[test], data.rr.values[test]).argmax(1)
    f1 = f1_score(y[test], guess, average=None)
    print(f"{len(learn)} beats of DS1 patients; on {len(test)} beats of DS2 patients: accuracy {(guess == y[test]).mean():.3f}, F1 "
          + ", ".join(f"{k} {v:.3f}" for k, v in zip(CLASSES, f1)))  # fmt: skip

    rng = np.random.default_rng(args.seed)
    most = 30 if args.quick else 220
    right = test[guess == y[test]]
    chosen = np.concatenate([rng.permutation(right[y[right] == k])[:most] for k in range(len(CLASSES))])
    print("explaining " + ", ".join(f"{(y[chosen] == k).sum()} {name}" for k, name in enumerate(CLASSES))
          + f" of {len(np.unique(data.patient.values[chosen]))} patients")  # fmt: skip
    training = data.ecg[learn][:: 8 if args.quick else 2]
    normal = data.ecg[learn][y[learn] == 0].median("sample")
    b = ta.baselines
    fills = {
        "own mean": b.Mean(),
        "blur": b.Blur(time="50ms"),
        "bridge": b.Bridge(),
        "training beats": b.Samples.fit(training),
        "conditional": b.ConditionalGaussian.fit(training, rank=24),
    }
    x = data.ecg[chosen]
    table = ta.compare(
        net,
        x,
        methods(normal, training),
        target=ta.targets.Margin(),  # the predicted class against the next
        outputs={"class": CLASSES},
        context={"extra": data.rr.values[chosen]},
        fills=fills,
        groups=ta.groups.Windows(time=6, lead=1),  # a sixtieth of a second
        blocks="patient",
        budget=62,
        reference=training,
        seed=args.seed,
        progress=True,
    )
    table.to_netcdf(args.out / "mitdb.nc")
    print(f"\n{table.attrs['rows']} rows asked of the model\n\n{table.attrs['recommendation']}\n")
    for ranking in table.ranking.values:
        print(f"{ranking} ranking, off-diagonal scores")
        print(table.score.sel(ranking=ranking).to_pandas().T.round(3).sort_values("gap", ascending=False).to_string())
    print("\nhalf removed: beyond the 99th percentile of training beats, and area under the ROC curve of a classifier")
    print(table[["fill_shift", "fill_auc"]].to_pandas().round(3).to_string())
    by_kind(table)
    if hasattr(ta.report, "comparison"):
        ta.report.comparison(table, out=args.out / "mitdb.html", title="MIT-BIH beats: which explanation to believe")
        print(f"wrote {args.out / 'mitdb.html'}")


def by_kind(table: xr.Dataset) -> None:
    """The same by class of beat: perturbations may suit one class and not another."""
    gap = table.gap.sel(ranking="signed").where(~table.own_fill).mean("fill").groupby("kind").mean()
    print("\ngap by class of beat (signed ranking, own fills left out)")
    print(gap.transpose("method", "kind").to_pandas().round(3).to_string())


if __name__ == "__main__":
    with torch.random.fork_rng():
        main()
