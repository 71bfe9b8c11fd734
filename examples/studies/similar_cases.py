"""Does a gallery survive an update of its model? The design of Ramanujan et al. (CVPR 2022) on MIT-BIH beats and ECG5000.

An old network, a small CNN, learns half of the classes; a gallery is made with it, and the principal components of the signals
are kept beside the embeddings. A new network of another architecture (a CNN with a GRU) learns all classes from the same
patients. `Gallery.upgrade` learns from the new one's training samples what it would make of the gallery's cases, which it
never sees. Then each case of the gallery is a query of the new network, and finds cases of *other patients* only (on
ECG5000, which is of one patient, other cases).

Everything is learnt on the training patients (DS1 of de Chazal et al., 2004; the training part of ECG5000); gallery and
queries are the patients of DS2 (the test part).
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
import xarray as xr
from common import SignalNet, arguments, begin, data_folder, fit, parameters
from sklearn.decomposition import PCA
from torch import Tensor, nn

import tsattr as ta
from tsattr.io import write_netcdf

MEASURES = ("cmc_1", "cmc_5", "average_precision")
SHARES = (0.1, 0.25, 0.5, 0.75)  # of the gallery that are embedded anew
ORDERS = ("by uncertainty", "at random", "by true error")
UPGRADED = ("new/transformed", "new/transformed, no side information")


class RecurrentNet(nn.Module):
    """A strided convolution, a GRU both ways, its mean over time, and a linear layer to the embedding."""

    def __init__(self, channels: int, classes: int, *, hidden: int = 48, embedding: int = 48) -> None:
        super().__init__()
        self.conv = nn.Sequential(nn.Conv1d(channels, 32, 7, 4, 3), nn.BatchNorm1d(32), nn.ReLU())
        self.gru = nn.GRU(32, hidden, batch_first=True, bidirectional=True)
        self.hidden = nn.Sequential(nn.Dropout(0.2), nn.Linear(2 * hidden, embedding))
        self.head = nn.Linear(embedding, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.hidden(self.gru(self.conv(x).mT)[0].mean(1)).relu())


@dataclass(frozen=True)
class Task:
    """Samples with label and patient, those that are learnt from, and the classes of the old network."""

    x: xr.DataArray
    training: np.ndarray
    old_classes: tuple[str, ...]
    apart: bool  # whether queries find cases of other patients only

    @property
    def labels(self) -> np.ndarray:
        """Classes as text."""
        return self.x.label.values


def mitdb() -> Task:
    """Beats at 180 Hz on each record's own scale, and the RR intervals before and after beside the leads, as two more channels."""
    folder = data_folder("ecg", "mitdb")
    t = pd.read_csv(folder / "beats.csv")
    with np.load(folder / "beats.npz") as z:
        mv = ((z["x_adc"] - z["adc_zero"].astype(np.float32)) / z["adc_gain"])[:, :, ::2]
    rr = np.log(t[["rr_prev_s", "rr_next_s"]].values)
    for record in t.record.unique():
        own = (t.record == record).values
        mv[own] -= np.median(mv[own], axis=(0, 2))[:, None]
        mv[own] /= mv[own].std(axis=(0, 2))[:, None]
        rr[own] -= np.median(rr[own], 0)
    values = np.concatenate([mv, np.broadcast_to(4 * rr[..., None], (*rr.shape, mv.shape[2]))], 1).astype(np.float32)
    # Q is too few; paced records are of three patients.
    kept = (t.aami.isin(list("NSVF")) & t.split.isin(["DS1", "DS2"])).values
    coords = {
        "sample": np.flatnonzero(kept),
        "channel": ["MLII", "chest", "RR before", "RR after"],
        "label": ("sample", np.array(t.aami.tolist())[kept]),
        "patient": ("sample", t.record.values.astype(int)[kept]),
    }
    x = xr.DataArray(values[kept], dims=("sample", "channel", "time"), coords=coords)
    return Task(x, (t.split == "DS1").values[kept], ("N", "S"), apart=True)


def ecg5000() -> Task:
    """Beats of one patient, each on its own scale; a third of them for training, as its own training part has 5 beats of a class.

    Classes 2 and 4 are those of which an old network leaves the widest gap in mean average precision to the new one; of the ten
    pairs of classes none leaves any in top-1.
    """
    folder = data_folder("ecg", "ucr")
    rows = np.concatenate([np.load(folder / f"ECG5000_{part}.npy") for part in ("TRAIN", "VALIDATION", "TEST")])
    n = len(rows)
    coords = {
        "sample": np.arange(n),
        "label": ("sample", rows[:, 0].astype(int).astype(str)),
        "patient": ("sample", np.arange(n)),
    }
    x = xr.DataArray(rows[:, None, 1:].astype(np.float32), dims=("sample", "channel", "time"), coords=coords)
    return Task(x, np.random.default_rng(0).uniform(size=n) < 1 / 3, ("2", "4"), apart=False)


def trained(make: Callable[..., nn.Module], task: Task, classes: list[str], *, epochs: int, seed: int) -> nn.Module:
    """A network that tells some classes, rare ones weighted by the root of how rare they are."""
    own = task.training & np.isin(task.labels, classes)
    y = np.array([classes.index(c) for c in task.labels[own]])
    weight = torch.tensor(np.sqrt(len(y) / len(classes) / np.bincount(y)), dtype=torch.float32)
    torch.manual_seed(seed)
    net = make(task.x.sizes["channel"], len(classes))
    return fit(net, (task.x.values[own],), y, nn.CrossEntropyLoss(weight=weight), epochs=epochs, seed=seed, shift=3)


def searched(queries: np.ndarray, cases: np.ndarray, there: xr.DataArray, apart: bool) -> np.ndarray:
    """CMC-1, CMC-5 and average precision of each query, and what chance gives (6, queries), in per cent."""
    who = there.patient.values if apart else there.sample.values
    label = there.label.values
    found = ta.metrics.retrieval(cases, label, queries, label, group=who, query_group=who)
    return 100 * np.stack([found[name + end] for end in ("", "_chance") for name in MEASURES])


def run(task: Task, *, seed: int, epochs: int, say: Callable[[str], None]) -> xr.DataArray:
    """All searches for one seed (row, measure, query)."""
    x, apart = task.x, task.apart
    train, there = x.isel(sample=task.training), x.isel(sample=~task.training)
    classes = sorted(set(task.labels.tolist()))
    old = trained(
        lambda c, k: SignalNet(c, k, parts=4, dropout=0.2), task, list(task.old_classes), epochs=epochs, seed=seed
    )
    new = trained(RecurrentNet, task, classes, epochs=epochs, seed=seed + 100)
    say(f"seed {seed}: {parameters(old)} parameters learnt {'+'.join(task.old_classes)}, {parameters(new)} learnt all")

    # What may be known when the cases come in: the signals' principal components in the old network's training samples.
    seen = x.isel(sample=task.training & np.isin(task.labels, task.old_classes))
    pca = PCA(16, random_state=0).fit(seen.values.reshape(seen.sizes["sample"], -1))
    gallery = ta.cases.Gallery.fit(old, there, side=pca, keep=False)
    galleries = (gallery, ta.cases.Gallery(gallery.data.drop_vars("side"), gallery.embedder))
    blocks = "patient" if apart else None
    q = ta.cases.embed(new, there).values
    few = min(q.shape[1], gallery.embedding.shape[1])  # the two are of different sizes: what both have is compared

    rows = {"old/old": searched(gallery.embedding, gallery.embedding, there, apart)}
    rows["chance"] = np.concatenate([rows["old/old"][3:], rows["old/old"][3:]])
    rows["new/old"] = searched(q[:, :few], gallery.embedding[:, :few], there, apart)
    for name, before in zip(UPGRADED, galleries):
        after = before.upgrade(new, train, blocks=blocks, seed=seed)
        rows[name] = searched(q, after.embedding, there, apart)
        rows |= {f"{name}, {part}": found for part, found in partly(after, q, there, apart, seed).items()}
        told = (gallery.data.side.values,) if "side" in before.data else ()
        c = after.transformation.calibrated(gallery.embedding, q, *told)
        say(
            f"{after.transformation}; expected over actual error {c.ratio:.2f}, rank correlation {c.rank_correlation:.2f}"
        )
    side, own = ta.cases.embed(pca, train).values, ta.cases.embed(new, train).values
    alone = ta.cases.Transformation.fit(side, own, blocks=train.patient.values if apart else None, seed=seed)
    rows["new/transformed, side information alone"] = searched(q, alone(gallery.data.side.values)[0], there, apart)
    rows["new/new"] = searched(q, q, there, apart)
    found = xr.DataArray(np.stack(list(rows.values()))[:, :3], dims=("row", "measure", "query"))
    coords = {name: ("query", there[name].values) for name in ("patient", "label")}
    return found.assign_coords(row=list(rows), measure=list(MEASURES), **coords)


def partly(
    gallery: ta.cases.Gallery, own: np.ndarray, there: xr.DataArray, apart: bool, seed: int
) -> dict[str, np.ndarray]:
    """Galleries of which some cases are embedded anew: the most uncertain, some at random, those that are most wrong."""
    unit = [v / np.linalg.norm(v, axis=1, keepdims=True) for v in (gallery.embedding, own)]
    random = np.random.default_rng(seed).permutation(len(own))
    orders = (gallery.to_embed().position.values, random, np.argsort((unit[0] * unit[1]).sum(1)))
    anew = xr.DataArray(own, dims=("sample", "embedding_number"))
    rows = {}
    for name, order in zip(ORDERS, orders):
        for share in SHARES:
            at = order[: round(share * len(order))]
            rows[f"{share:.0%} {name}"] = searched(own, gallery.embed_anew(anew[at], at=at).embedding, there, apart)
    return rows


def table(found: xr.DataArray) -> str:
    """Means over queries and seeds with intervals by patient."""
    rows = ["chance", "old/old", "new/old", *UPGRADED, "new/transformed, side information alone", "new/new"]
    over = ta.metrics.bootstrap(found.sel(row=rows).mean("seed").values, found.patient.values)
    cells = [
        [f"{m:.1f} [{low:.1f}, {high:.1f}]" for m, low, high in zip(*ends)]
        for ends in zip(over.mean, over.low, over.high)
    ]
    return pd.DataFrame(cells, rows, MEASURES).to_string()


def by_class(found: xr.DataArray) -> str:
    """Average precision by the class of the query."""
    rows = ["old/old", *UPGRADED, "new/new"]
    mean = found.sel(measure="average_precision", row=rows).mean("seed").groupby("label").mean()
    return mean.transpose("row", "label").to_pandas().round(1).to_string()


def recovered(found: xr.DataArray, row: str) -> str:
    """(row - old/old) / (new/new - old/old), seeds together; its error by leaving out a patient (or a fiftieth) at a time."""
    lines = [f"{row} recovers"]
    for name in MEASURES:
        m = found.sel(measure=name).mean("seed")
        who = np.unique(m.patient)
        parts = np.array_split(np.random.default_rng(0).permutation(who), min(len(who), 50))
        left = [_share(m.isel(query=~np.isin(m.patient, part)), row) for part in parts]
        error = np.sqrt((len(left) - 1) * np.var(left))
        by_seed = ", ".join(f"{_share(found.sel(measure=name, seed=s), row):.2f}" for s in found.seed.values)
        lines.append(f"  {name}: {_share(m, row):.2f} +- {error:.2f} of a gap of {_gap(m):.1f} (by seed {by_seed})")
    return "\n".join(lines)


def _gap(m: xr.DataArray) -> float:
    return float(m.sel(row="new/new").mean() - m.sel(row="old/old").mean())


def _share(m: xr.DataArray, row: str) -> float:
    return float(m.sel(row=row).mean() - m.sel(row="old/old").mean()) / _gap(m)


def curves(found: xr.DataArray, gallery: str) -> str:
    """Measures against the share embedded anew, and what each order has over a random one on average, by patient."""
    lines = [f"{gallery}, some embedded anew: " + ", ".join(f"{share:.0%}" for share in SHARES)]
    mean = found.mean("seed")
    for name in MEASURES[::2]:
        m = mean.sel(measure=name)
        chosen = {order: m.sel(row=[f"{gallery}, {share:.0%} {order}" for share in SHARES]) for order in ORDERS}
        for order, some in chosen.items():
            more = some.mean("row") - chosen["at random"].mean("row")
            over = ta.metrics.bootstrap(more.values, found.patient.values)
            told = ", ".join(f"{v:.1f}" for v in some.mean("query").values)
            area = f"{float(some.mean()):.2f} ({over.mean:+.2f} [{over.low:+.2f}, {over.high:+.2f}] over random)"
            lines.append(f"  {name:17s} {order:15s} {told}; mean {area}")
    return "\n".join(lines)


def main(args: argparse.Namespace) -> None:
    say = begin(args)
    tasks = {"mitdb": mitdb, "ecg5000": ecg5000}
    for name in args.data:
        task = tasks[name]()
        test = task.labels[~task.training]
        say(f"{name}: gallery and queries " + ", ".join(f"{(test == c).sum()} {c}" for c in sorted(set(test.tolist()))))
        seeds = range(args.seed, args.seed + (1 if args.quick else args.seeds))
        runs = [run(task, seed=s, epochs=4 if args.quick else 12, say=say) for s in seeds]
        found = xr.concat(runs, pd.Index(list(seeds), name="seed"))
        print(f"\n{table(found)}\n\nmean average precision by class\n{by_class(found)}\n")
        for row in (*UPGRADED, "new/transformed, side information alone"):
            print(recovered(found, row))
        print("\n".join(["", *(curves(found, name) for name in UPGRADED), ""]), flush=True)
        write_netcdf(found.to_dataset(name="found"), args.out / f"{name}.nc")
    say(f"wrote {', '.join(f'{n}.nc' for n in args.data)} to {args.out}")


if __name__ == "__main__":
    parser = arguments(__doc__, study="similar_cases")
    parser.add_argument("--data", nargs="+", choices=["mitdb", "ecg5000"], default=["mitdb", "ecg5000"])
    parser.add_argument("--seeds", type=int, default=3)
    main(parser.parse_args())
