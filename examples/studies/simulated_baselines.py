"""Does the ranking by removal agree with the truth? The design of `mitdb_baselines.py` on records with planted lesions.

A small network learns to tell simulated 12-lead records by their lesion. Held-out records with a lesion that it gets right
are explained by the same methods, which are then ranked twice: by removal, as on real data, and by how well their maps
find the planted lesion. The rank correlation of the two orders is given with its bootstrap interval over records.

That the network uses the lesion is checked first, by putting the healthy twin's values in its place.
"""

import argparse
import itertools

import numpy as np
import pandas as pd
import torch
import xarray as xr
from common import arguments, begin, by_removal, fills, off_data, path_methods, save, scoreboard
from scipy.stats import spearmanr

import tsattr as ta
from tsattr.demo import LESIONS, SmallECGNet, accuracy, train

MEASURES = ("gap", "deletion", "insertion", "cumulative_deletion")
TRUTHS = ("average_precision", "relevance_rank")


def reliance(net: torch.nn.Module, data: xr.Dataset, healthy: xr.DataArray) -> tuple[float, float]:
    """Share of records called normal with their lesion undone by the twin's values, and with all but the lesion undone."""
    lesion = data.truth.values

    def normal(x: np.ndarray) -> float:
        return accuracy(net, x.astype(np.float32), np.zeros(len(x), int))

    x, twin = data.ecg.values, healthy.values
    return normal(np.where(lesion, twin, x)), normal(np.where(lesion, x, twin))


def explained_by(normal: xr.Dataset, reference: xr.DataArray, peaks: xr.DataArray, rows: int) -> dict:
    """The methods that are compared, for records with R peaks at `peaks`."""
    b = ta.baselines
    median = b.MedianBeat.fit(normal.ecg, normal.r_peak).at(peaks)
    own = {
        "IG band 5-25 Hz": ta.IntegratedGradients(b.BandStop(5.0, 25.0)).within(rows),
        "IG median normal beat": ta.IntegratedGradients(median).within(rows),
        "occlusion": ta.Occlusion(ta.groups.Windows(time="200ms", lead=1), b.Bridge()),
        "saliency": ta.Saliency(),
    }
    return path_methods(reference, rows=rows, blur="100ms", noise=0.3, rank=32) | own


def order_agreement(one: np.ndarray, other: np.ndarray, *, seed: int, resamples: int = 2000) -> np.ndarray:
    """Spearman correlation of the orders of methods by two scores (method, sample), with its 95 % interval over samples."""
    n = one.shape[1]
    weights = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), resamples) / n
    found = [spearmanr(one @ w, other @ w).statistic for w in weights]
    return np.array([spearmanr(one.mean(1), other.mean(1)).statistic, *np.quantile(found, [0.025, 0.975])])


def agreements(table: xr.Dataset, *, seed: int) -> xr.DataArray:
    """How far removal and truth order the methods alike, the controls left out."""
    table = table.isel(method=~table.control.values)
    coords = {
        "removal": list(MEASURES),
        "ranking": table.ranking.values,
        "truth_measure": list(TRUTHS),
        "value": ["r", "low", "high"],
    }
    found = xr.DataArray(np.nan, coords, tuple(coords), "order_agreement")
    for measure, ranking, truth in itertools.product(MEASURES, table.ranking.values, TRUTHS):
        located = table[truth].sel(ranking=ranking).transpose("method", "sample").values
        pair = by_removal(table, measure, ranking).values, located
        found.loc[measure, ranking, truth] = order_agreement(*pair, seed=seed)
    return found


def printed(found: xr.DataArray) -> str:
    """One line for each measure and ranking."""
    lines = []
    for measure, ranking in itertools.product(found.removal.values, found.ranking.values):
        each = found.sel(removal=measure, ranking=ranking)
        cells = (f"{t} {r:5.2f} [{low:5.2f}, {high:5.2f}]" for t, (r, low, high) in zip(TRUTHS, each.values))
        lines.append(f"{measure:20} {ranking:9} {'   '.join(cells)}")
    return "\n".join(lines)


def located(table: xr.Dataset) -> str:
    """How well each method's maps find the lesion, with the level of chance."""
    pairs = itertools.product(TRUTHS, table.ranking.values)
    columns = {f"{t}, {r}": table[t].sel(ranking=r).mean("sample").to_series() for t, r in pairs}
    frame = pd.DataFrame(columns)
    chance = {c: float(table[f"{c.split(',')[0]}_chance"].mean()) for c in columns}
    frame = frame.sort_values(list(columns)[1], ascending=False)
    frame.loc["(chance)"] = chance
    return frame.round(3).rename_axis(None).to_string()


def main(args: argparse.Namespace) -> None:
    say = begin(args)
    n = 420 if args.quick else 900
    data = ta.datasets.simulate_ecg(n, lesions=LESIONS, seed=args.seed)
    names = data.label.attrs["flag_meanings"].split()
    x, y, cut = data.ecg, data.label.values, round(0.7 * n)
    net = SmallECGNet(classes=len(names))
    train(net, x[:cut].values, y[:cut], epochs=8, seed=args.seed)
    say(f"accuracy on {n - cut} held-out records: {accuracy(net, x[cut:].values, y[cut:]):.3f}")

    with torch.no_grad():
        right = net(torch.as_tensor(x[cut:].values)).argmax(1).numpy() == y[cut:]
    which = cut + np.flatnonzero(right & (y[cut:] > 0))[: 12 if args.quick else 80]
    chosen = data.isel(sample=which)
    healthy = ta.datasets.simulate_ecg(n, lesions=(), seed=args.seed).ecg[which]
    undone, alone = reliance(net, chosen, healthy)
    say(
        f"explaining {len(which)} of them with a lesion; called normal with the lesion undone: {undone:.1%}, with all but "
        f"the lesion undone: {alone:.1%}"
    )
    seen = data.isel(sample=slice(0, cut))
    normal, reference = seen.isel(sample=seen.label.values == 0), seen.ecg[::3]
    rows = 30 if args.quick else 82
    settings = {"outputs": {"class": names}, "seed": args.seed}
    table = ta.compare(
        net,
        chosen.ecg,
        explained_by(normal, reference, chosen.r_peak, rows),
        truth=chosen.truth,
        fills=fills(reference, blur="100ms"),
        reference=reference,
        metrics=list(MEASURES),
        progress=True,
        **settings,
    )
    found = agreements(table, seed=args.seed)
    say(f"{table.attrs['rows']} rows asked of the model")
    print(f"\n{scoreboard(table)}\n\nagainst the truth\n{located(table)}\n")
    print(f"order of the methods by removal and by truth, Spearman [95 % over records]\n{printed(found)}\n")
    print(f"{off_data(table)}\n\n{table.attrs['recommendation']}\n")

    save(
        args.out,
        table.assign(order_agreement=found),
        title="Which baseline for simulated records?",
        notes=[
            f"Order of the methods by removal and by truth, Spearman [95 % over records]: {line}"
            for line in printed(found).splitlines()
        ],
    )
    say(f"wrote table.nc and report.html to {args.out}")


if __name__ == "__main__":
    main(arguments(__doc__, study="simulated_baselines").parse_args())
