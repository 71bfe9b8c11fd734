"""Does a network that learns its own map lose accuracy, and is the map more stable and better placed than Grad-CAM's?

The same trunk is trained ten times (seeds) with the head of LFI-CAM and with mean and linear layer alone, on the official
split of ECG5000 and on simulated records with planted lesions. Beside them: LFI-CAM without its map (A = 0), which tells its
normalisation from its attention; with its map detached, as in the authors' code, so that nothing trains its weights; and
networks that were never trained, whose maps show what the architecture and the input give for nothing.

Maps are compared by removal (`tsattr.compare`), by how alike they are between seeds, and by where the planted lesions lie.
"""

import argparse
import copy
import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
import xarray as xr
from common import arguments, begin, data_folder, fit, logits, parameters
from matplotlib.figure import Figure
from scipy.stats import t as student
from sklearn.metrics import f1_score
from torch import Tensor, nn
from tqdm import tqdm

import tsattr as ta
from tsattr.demo import LESIONS
from tsattr.io import write_netcdf

TRAINED = ("bare trunk", "LFI-CAM", "A = 0", "A detached")
MAPS = {  # name: (which network, method)
    "learned attention": ("LFI-CAM", ta.LearnedAttention()),
    "Grad-CAM of LFI-CAM": ("LFI-CAM", ta.GradCAM()),
    "Grad-CAM of the bare trunk": ("bare trunk", ta.GradCAM()),
    "saliency of the bare trunk": ("bare trunk", ta.Saliency()),
    "learned attention, detached": ("A detached", ta.LearnedAttention()),
    "attention, untrained": ("LFI-CAM untrained", ta.LearnedAttention()),
    "Grad-CAM, untrained": ("bare untrained", ta.GradCAM()),
}
REFERENCES = {"LFI-CAM": "learned attention, LFI-CAM", "bare trunk": "Grad-CAM of the bare trunk"}  # of each network


def ecg5000() -> tuple[xr.DataArray, np.ndarray, xr.DataArray, np.ndarray]:
    """Beats (sample, lead, time) and classes 0 to 4 of the official split, as they are in the archive (each of unit variance)."""
    folder = data_folder("ecg", "ucr")
    lines = (folder / "ECG5000_TRAIN_UCR.arff").read_text(encoding="utf-8").splitlines()
    train = np.loadtxt([line for line in lines if line and line[0] not in "@%"], delimiter=",", dtype=np.float32)
    test = np.load(folder / "ECG5000_TEST.npy", allow_pickle=False).astype(np.float32)
    beats = [
        xr.DataArray(x[:, None], dims=("sample", "lead", "time"), coords={"sample": np.arange(len(x))})
        for x in (train[:, :-1], test[:, 1:])
    ]
    return beats[0], train[:, -1].astype(int) - 1, beats[1], test[:, 0].astype(int) - 1


def trunk(channels: int, strides: Sequence[int], widths: Sequence[int] = (24, 32, 48)) -> nn.Sequential:
    """Three convolutions, each with batch normalisation and ReLU."""
    layers: list[nn.Module] = []
    for i, o, k, s in zip((channels, *widths), widths, (11, 9, 7), strides):
        layers += [nn.Conv1d(i, o, k, s, k // 2, bias=False), nn.BatchNorm1d(o), nn.ReLU()]
    return nn.Sequential(*layers)


def without_map(module: nn.Module, given: Any, attention: Tensor) -> Tensor:
    """Hook: the features are read evenly."""
    return torch.zeros_like(attention)


def detached(module: nn.Module, given: Any, attention: Tensor) -> Tensor:
    """Hook: the map passes no gradient."""
    return attention.detach()


def networks(make: Callable[[], nn.Sequential], classes: int, seed: int) -> dict[str, nn.Module]:
    """Untrained networks that begin with the same trunk."""
    torch.manual_seed(seed)
    trunk = make()
    width = [m.num_features for m in trunk if isinstance(m, nn.BatchNorm1d)][-1]
    bare = nn.Sequential(trunk, nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(width, classes))
    lficam = ta.LFICAM(copy.deepcopy(trunk), classes)
    nets: dict[str, nn.Module] = {"bare trunk": bare, "LFI-CAM": lficam}
    for name, hook in (("A = 0", without_map), ("A detached", detached)):
        nets[name] = copy.deepcopy(lficam)
        nets[name].attention.register_forward_hook(hook)
    return nets


def trained(
    make: Callable[[], nn.Sequential],
    classes: int,
    x: np.ndarray,
    y: np.ndarray,
    *,
    epochs: int,
    seed: int,
    shift: int = 0,
) -> dict[str, nn.Module]:
    """All networks of a seed: those that are trained see the same batches."""
    nets = networks(make, classes, seed)
    untrained = {f"{name.split()[0]} untrained": copy.deepcopy(nets[name]).eval() for name in ("LFI-CAM", "bare trunk")}
    for net in nets.values():
        fit(net, (x,), y, nn.CrossEntropyLoss(), epochs=epochs, seed=seed, shift=shift)
    return nets | untrained


def interval(values: np.ndarray) -> tuple[float, float, float]:
    """Mean over seeds with its 95 % interval (Student's t)."""
    half = student.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
    return float(values.mean()), float(values.mean() - half), float(values.mean() + half)


def shown(values: np.ndarray, digits: int = 3) -> str:
    """A mean over seeds and its interval, in words."""
    mean, low, high = interval(values)
    return f"{mean:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"


def accuracies(seeds: list[dict[str, nn.Module]], x: np.ndarray, y: np.ndarray) -> pd.DataFrame:
    """Accuracy and macro F1 of each network over the seeds, and the paired difference of its accuracy to the bare trunk's."""
    rows = {}
    for name in TRAINED:
        guesses = [logits(nets[name], x).argmax(1) for nets in seeds]
        rows[name] = np.array([[np.mean(g == y), f1_score(y, g, average="macro")] for g in guesses])
    return pd.DataFrame(
        {
            "accuracy": {name: shown(v[:, 0], 4) for name, v in rows.items()},
            "less the bare trunk's": {
                name: shown(v[:, 0] - rows["bare trunk"][:, 0], 4) for name, v in rows.items() if name != "bare trunk"
            },
            "macro F1": {name: shown(v[:, 1]) for name, v in rows.items()},
        }
    )


def all_right(seeds: list[dict[str, nn.Module]], x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """True for samples that every trained network of every seed gets right, so that all explain one class."""
    return np.all([logits(nets[name], x).argmax(1) == y for nets in seeds for name in TRAINED], axis=0)


def maps_of(seeds: list[dict[str, nn.Module]], x: xr.DataArray, y: np.ndarray) -> dict[str, np.ndarray]:
    """Each kind of map (seed, sample, time): sizes for the true class, summed over the leads."""
    found = {}
    for name, (net, method) in tqdm(MAPS.items(), "maps"):
        found[name] = np.empty((len(seeds), len(x), x.sizes["time"]))
        for k, nets in enumerate(seeds):
            for label in np.unique(y):
                its = np.flatnonzero(y == label)
                ds = ta.explain(nets[net], x[its], method, target=int(label), check=False)
                found[name][k, its] = abs(ds.attribution).sum("lead")
    return found


def stability(maps: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Mean rank correlation over samples between the maps of any two seeds (seed, seed), and nothing for a map of zeros."""
    found = {}
    for name, of_seeds in maps.items():
        labelled = {k: xr.DataArray(m, dims=("sample", "time")) for k, m in enumerate(of_seeds)}
        found[name] = ta.metrics.agreement(labelled).spearman.mean("sample").values
    return found


def between(pairs: np.ndarray) -> np.ndarray:
    """Jackknife pseudo-values of the mean over pairs of seeds, whose mean it is: what each seed adds."""

    def mean(kept: list[int]) -> float:
        return float(pairs[np.ix_(kept, kept)][np.triu_indices(len(kept), 1)].mean())

    n = len(pairs)
    without = np.array([mean([j for j in range(n) if j != k]) for k in range(n)])
    return n * mean(list(range(n))) - (n - 1) * without


def by_removal(seeds: list[dict[str, nn.Module]], x: xr.DataArray, train: xr.DataArray, window: int) -> xr.DataArray:
    """Scores (measure, map, seed) of each seed's maps by removal of windows of time, in logits of the predicted class."""
    b, groups = ta.baselines, ta.groups.Windows(time=window)
    fills = {"mean": b.Mean(), "bridge": b.Bridge(), "training": b.Samples.fit(train[::3])}
    scores = []
    for nets in tqdm(seeds, "removal"):
        parts = []
        for net in ("LFI-CAM", "bare trunk"):
            its = {name: method for name, (of, method) in MAPS.items() if of == net}
            table = ta.compare(
                nets[net], x, its, groups=groups, fills=fills, metrics=["gap", "deletion", "insertion"], check=False
            )
            names = [name if name.endswith(net) else f"{name}, {net}" for name in map(str, table.method.values)]
            parts.append(table.score.sel(ranking="absolute", drop=True).drop_vars("method").assign_coords(method=names))
        scores.append(xr.concat(parts, "method"))
    return xr.concat(scores, "seed").transpose("measure", "method", "seed")


def compared(values: dict[str, np.ndarray], of: str = "learned attention") -> pd.DataFrame:
    """Numbers by seed of each map with their interval, and the paired difference of one map's to them."""
    return pd.DataFrame(
        {
            "mean [95 %]": {name: shown(v) for name, v in values.items()},
            f"{of} less it": {name: "" if name == of else shown(values[of] - v) for name, v in values.items()},
        }
    )


def evenness(seeds: list[dict[str, nn.Module]], x: np.ndarray) -> str:
    """How far the weights of the channels are from equal, and the map from the plain mean of the features."""
    share, alike = [], []
    for nets in seeds:
        net, rows = nets["LFI-CAM"], torch.as_tensor(x)
        with torch.no_grad():
            s, f = net.weights(rows), net.trunk(rows)
            share.append(float((-(s * s.log()).sum(1)).exp().mean() / s.shape[1]))
            alike.append(np.nanmean(ta.metrics.spearman(net.attention(f, rows).numpy(), f.mean(1).numpy())))
    return (
        f"channels that count, exp(entropy of s) / K: {shown(np.array(share))}; rank correlation of A with the mean of all "
        f"channels: {shown(np.array(alike))}"
    )


def chosen_of(right: np.ndarray, y: np.ndarray, most: int) -> np.ndarray:
    """The first samples of each class that all networks get right."""
    return np.sort(np.concatenate([np.flatnonzero(right & (y == label))[:most] for label in np.unique(y)]))


def on_beats(args: argparse.Namespace, say: Callable[[str], None], number: int) -> xr.Dataset:
    """Accuracy, stability and removal on ECG5000."""
    x, y, unseen, truth = ecg5000()
    epochs, most = (10, 6) if args.quick else (args.epochs, 30)
    make = lambda: trunk(1, (2, 2, 1))  # noqa: E731
    seeds = [trained(make, 5, x.values, y, epochs=epochs, seed=args.seed + k) for k in tqdm(range(number), "ECG5000")]
    sizes = {name: parameters(seeds[0][name]) for name in TRAINED[:2]}
    say(f"ECG5000: {len(x)} beats to train, {len(unseen)} to test, {number} seeds, parameters {sizes}")
    print(f"\n{accuracies(seeds, unseen.values, truth).to_string()}\n")
    which = chosen_of(all_right(seeds, unseen.values, truth), truth, most)
    beats, labels = unseen[which], truth[which]
    say(
        f"explaining {len(which)} beats that all get right, of classes {dict(zip(*np.unique(labels, return_counts=True)))}"
    )
    maps = maps_of(seeds, beats, labels)
    pairs = stability(maps)
    print(
        f"\nhow alike maps of two seeds are (Spearman)\n{compared({k: between(p) for k, p in pairs.items()}).to_string()}"
    )
    empty = {name: round(float(np.mean(np.ptp(m, axis=2) == 0)), 3) for name, m in maps.items()}
    print(f"share of maps without any pattern: {empty}")
    print(f"{evenness(seeds, beats.values)}\n")
    removal = by_removal(seeds, beats, x, 5)
    for measure, (net, of) in itertools.product(removal.measure.values, REFERENCES.items()):
        every = zip(map(str, removal.method.values), removal.sel(measure=measure).values)
        rows = {name: values for name, values in every if name.endswith(net)}
        print(f"{measure}, in logits of the {net}\n{compared(rows, of).to_string()}\n")
    found = xr.Dataset({"removal": removal, "maps": (("map", "seed", "sample", "time"), np.stack(list(maps.values())))})
    found["stability"] = ("map", "seed", "seed_other"), np.stack(list(pairs.values()))
    return found.assign(input=(("sample", "time"), beats.values[:, 0])).assign_coords(
        map=list(maps), label=("sample", labels)
    )


def on_lesions(args: argparse.Namespace, say: Callable[[str], None], number: int) -> xr.Dataset:
    """Where the maps lie on simulated records with planted lesions: average precision of times, a lesion in any lead."""
    n, epochs = (300, 6) if args.quick else (800, 12)
    data = ta.datasets.simulate_ecg(n, lesions=LESIONS, duration=5.0, seed=args.seed)
    x, y, cut = data.ecg, data.label.values, round(0.7 * n)
    make = lambda: trunk(12, (2, 2, 1))  # noqa: E731
    classes = 1 + len(LESIONS)
    seeds = [
        trained(make, classes, x[:cut].values, y[:cut], epochs=epochs, seed=args.seed + k, shift=50)
        for k in tqdm(range(number), "lesions")
    ]
    say(f"simulated records: {cut} to train, {n - cut} to test, {number} seeds")
    print(f"\n{accuracies(seeds, x[cut:].values, y[cut:]).to_string()}\n")
    which = cut + np.flatnonzero(all_right(seeds, x[cut:].values, y[cut:]) & (y[cut:] > 0))[: 20 if args.quick else 100]
    truth = data.truth[which].any("lead").values
    maps = maps_of(seeds, x[which], y[which])
    keys = [ta.metrics.sample_key(len(which), seed=args.seed, draw=k) for k in range(number)]
    like = zip(maps["learned attention"], keys)
    maps["random, as smooth"] = np.stack([ta.metrics.smooth_random(m, key, ["time"]) for m, key in like])
    precision = {
        name: np.stack([np.nan_to_num(ta.metrics.average_precision(m, truth)) for m in of_seeds])
        for name, of_seeds in maps.items()
    }
    say(f"explaining {len(which)} records whose lesion all name; lesion in {truth.mean():.3f} of the time (chance)")
    print(f"\naverage precision in time\n{compared({k: v.mean(1) for k, v in precision.items()}).to_string()}")
    names = np.array(["normal", *LESIONS])[y[which]]
    by_lesion = {name: pd.Series(v.mean(0)).groupby(names).mean() for name, v in precision.items()}
    print(f"\nby lesion\n{pd.DataFrame(by_lesion).T.round(3).to_string()}\n\n{evenness(seeds, x[which].values)}")
    pairs = {name: between(p) for name, p in stability(maps).items()}
    print(f"\nhow alike maps of two seeds are (Spearman)\n{compared(pairs).to_string()}\n")
    return xr.Dataset(
        {"average_precision": (("map_simulated", "seed", "record"), np.stack(list(precision.values())))}
    ).assign_coords(map_simulated=list(maps))


def pictured(found: xr.Dataset) -> Figure:
    """A beat of each class, and under it the maps of all seeds."""
    kinds = ["learned attention", "Grad-CAM of LFI-CAM", "Grad-CAM of the bare trunk"]
    labels, first = np.unique(found.label, return_index=True)
    figure = Figure(figsize=(2.6 * len(labels), 7), layout="constrained")
    axes = figure.subplots(1 + len(kinds), len(labels), sharex=True, squeeze=False)
    for column, (label, at) in enumerate(zip(labels, first)):
        axes[0, column].plot(found.input[at], color="k", lw=1)
        axes[0, column].set_title(f"class {label + 1}")
        for ax, kind in zip(axes[1:, column], kinds):
            maps = found.maps.sel(map=kind).isel(sample=at).values
            ax.plot((maps / np.maximum(maps.max(1, keepdims=True), 1e-12)).T, color="tab:red", lw=0.7, alpha=0.6)
    for ax, text in zip(axes[:, 0], ["beat", *kinds]):
        ax.set_ylabel(text, fontsize=8)
    figure.suptitle("A line for each seed, each brought to a maximum of 1", x=0.01, ha="left", fontsize=9)
    return figure


def main(args: argparse.Namespace) -> None:
    say = begin(args)
    number = 3 if args.quick else 10
    found = on_beats(args, say, number)
    pictured(found).savefig(args.out / "maps.png", dpi=120)
    write_netcdf(found.merge(on_lesions(args, say, number)), args.out / "table.nc")
    say(f"wrote table.nc and maps.png to {args.out}")


if __name__ == "__main__":
    parser = arguments(__doc__, study="learned_attention")
    parser.add_argument("--epochs", type=int, default=40, help="of the training on ECG5000")
    main(parser.parse_args())
