"""The demo of ECG records: simulate, train, explain, score, report."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor, nn

from .. import baselines, groups, metrics, targets
from ..datasets import simulate_ecg
from ..ecg import WAVES, by_lead, by_wave
from ..explain import explain
from ..io import write_netcdf
from ..methods.gradient import Saliency
from ..methods.integrated_gradients import IntegratedGradients
from ..methods.occlusion import Occlusion
from ..models import dropout
from .scores import Say, along_method, ranking
from .training import fit

LESIONS = ("st_elevation_anterior", "t_inversion", "pathologic_q", "pvc")


class SmallECGNet(nn.Sequential):
    """Three strided convolutions, the mean over time, and a linear layer: (rows, lead, time) to class logits."""

    def __init__(self, leads: int = 12, classes: int = 5) -> None:
        widths, kernels = (leads, 32, 48, 64), (15, 11, 9)
        layers: list[nn.Module] = []
        for i, o, k in zip(widths, widths[1:], kernels):
            layers += [nn.Conv1d(i, o, k, 2, k // 2, bias=False), nn.BatchNorm1d(o), nn.ReLU()]
        super().__init__(*layers, nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(widths[-1], classes))


def train(model: nn.Module, x: np.ndarray, y: np.ndarray, *, epochs: int, seed: int = 0, batch_size: int = 32) -> None:
    """Fit to classes by cross-entropy; see `training.fit`."""
    rows, labels = torch.as_tensor(x), torch.as_tensor(y)

    def loss(part: Any) -> Tensor:
        return nn.functional.cross_entropy(model(rows[part]), labels[part])

    fit(model, loss, len(rows), epochs=epochs, batch_size=batch_size, decay=1e-3, seed=seed)


def accuracy(model: nn.Module, x: np.ndarray, y: np.ndarray) -> float:
    """Share of records whose largest logit is their class."""
    with torch.no_grad():
        return float((model(torch.as_tensor(x)).argmax(1).numpy() == y).mean())


def score(attribution: xr.DataArray, truth: xr.DataArray, wave: xr.DataArray) -> xr.Dataset:
    """Score maps (sample, lead, time) against planted truth, by the size of the attribution, chance beside each.

    ``average_precision`` and ``pointing_game`` (50 ms tolerance) look at cells; ``lead_top1`` and ``wave_top1`` ask
    whether the lead and the wave with the largest summed size are among those where the lesion is: where at least half as
    much of the truth lies as where most of it does.
    """
    order = ("sample", "lead", "time")
    size, mask = abs(attribution.transpose(*order)), truth.transpose(*order).values
    values = size.values.astype(np.float64)
    sums = {"lead": by_lead(size)["absolute"], "wave": by_wave(size.sum("lead"), wave)["absolute"]}
    marked = truth.astype(np.float64)
    true = {"lead": by_lead(marked)["absolute"], "wave": by_wave(marked.sum("lead"), wave)["absolute"]}
    tolerance = round(0.05 / float(np.diff(attribution["time"].values[:2])[0]))
    out: dict[str, Any] = {
        "average_precision": (
            metrics.average_precision(values, mask),
            metrics.chance(metrics.average_precision, values, mask),
        ),
        "pointing_game": (
            metrics.pointing_game(values, mask, tolerance=tolerance),
            metrics.chance(metrics.pointing_game, values, mask, tolerance=tolerance),
        ),
    }
    for dim in ("lead", "wave"):
        keep = [w for w in sums[dim][dim].values if w not in (WAVES[0], "other")]
        s = sums[dim].sel({dim: keep}).transpose("sample", dim).values
        t = true[dim].sel({dim: keep}).transpose("sample", dim).values
        t = t >= 0.5 * t.max(1, keepdims=True)
        out[f"{dim}_top1"] = metrics.top1(s, t), metrics.chance(metrics.top1, s, t)
    ds = xr.Dataset({k: ("sample", v) for k, (v, _) in out.items()})
    ds.update({f"{k}_chance": ((), float(c.mean())) for k, (_, c) in out.items()})
    return ds.assign_coords(sample=attribution["sample"])


def methods(train_set: xr.DataArray, quick: bool = False) -> dict[str, Any]:
    """The explanations that the ECG demo compares."""
    b = baselines
    draws = 4 if quick else 8
    return {
        "IG, zero (isoelectric)": IntegratedGradients(b.Constant(0.0)),
        "IG, own mean": IntegratedGradients(b.Mean("time")),
        "IG, blurred 0.2 s": IntegratedGradients(b.Blur(time="200ms")),
        "IG, maximum distance": IntegratedGradients(b.MaximumDistance.fit(train_set)),
        "IG, uniform noise": IntegratedGradients(b.Uniform.fit(train_set), steps=9, draws=draws),
        "IG, Gaussian noise": IntegratedGradients(b.Gaussian(0.3), steps=9, draws=draws),
        "IG, training records (expected gradients)": IntegratedGradients(
            b.Samples.fit(train_set), steps=1, draws=25 * draws
        ),
        "Occlusion, 0.1 s windows by lead, bridged": Occlusion(
            groups.Windows(time="100ms", step="50ms", lead=1), b.Bridge()
        ),
        "Occlusion, whole leads, zero": Occlusion(groups.Along("lead")),
        "Saliency": Saliency(),
    }


def doubts(net: nn.Module, x: xr.DataArray, names: list[str], seed: int) -> xr.Dataset:
    """What makes the network unsure of records of which one lead is noisy: their result, with ``input`` and the ``noisy`` lead.

    The network is thinned between its convolutions by dropout, which it was not trained with.
    """
    rng = np.random.default_rng(seed)
    noisy, values = rng.integers(x.sizes["lead"], size=len(x)), x.transpose("sample", "lead", "time").values.copy()
    for record, lead in zip(values, noisy):
        record[lead] += rng.standard_normal(record.shape[1])  # of 1 mV
    x = x.transpose("sample", "lead", "time").copy(data=values)
    layers = list(net.children())
    thinned = nn.Sequential(*layers[:3], nn.Dropout1d(0.1), *layers[3:6], nn.Dropout1d(0.1), *layers[6:])
    kinds = {
        "mutual information": targets.Uncertainty("mutual_information"),
        "expected entropy": targets.Uncertainty("expected_entropy"),
    }
    ds = explain(
        dropout(thinned, 10), x, IntegratedGradients(tolerance=0.03), target=kinds, outputs={"class": names}, seed=seed
    )
    return ds.assign(input=x, noisy=("sample", x["lead"].values[noisy]))


def ecg(out: Path, say: Say = print, *, quick: bool = False, seed: int = 0) -> xr.Dataset:
    """Simulate, train, explain, score, and write ``attribution.nc`` and ``report.html`` into `out`.

    Parameters
    ----------
    out
        A folder; made if its parent exists.
    say
        Takes a line of text for each step.
    quick
        Fewer records and draws, for a look within a minute.
    seed
        Of the simulator, the training and the draws.
    """
    out.mkdir(exist_ok=True)
    start = time.perf_counter()
    data = simulate_ecg(420 if quick else 700, lesions=LESIONS, seed=seed)
    names = data.label.attrs["flag_meanings"].split()
    x, y = data.ecg, data.label.values
    cut = round(0.75 * len(y))
    say(f"simulated {len(y)} 12-lead records of 10 s, {len(names)} classes: {', '.join(names)}")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = SmallECGNet(classes=len(names))
        train(net, x[:cut].values, y[:cut], epochs=8, seed=seed)
    reached = accuracy(net, x[cut:].values, y[cut:])
    say(
        f"trained a small network in {time.perf_counter() - start:.0f} s; accuracy on {len(y) - cut} held-out records: {reached:.3f}"
    )
    with torch.no_grad():
        right = net(torch.as_tensor(x[cut:].values)).argmax(1).numpy() == y[cut:]
    which = cut + np.flatnonzero(right & (y[cut:] > 0))[: 8 if quick else 16]
    chosen, truth, wave = x[which], data.truth[which], data.wave[which]
    say(f"explaining {len(which)} held-out records with a planted lesion that the network gets right")
    results, tables = {}, {}
    for name, method in methods(x[:cut:3], quick).items():
        began = time.perf_counter()
        results[name] = explain(net, chosen, method, outputs={"class": names}, seed=seed)
        tables[name] = score(results[name].attribution, truth, wave)
        rows = int(results[name].model_evaluations.sum())
        say(f"  {name}: {rows} model rows in {time.perf_counter() - began:.1f} s")
    first = next(iter(results.values()))
    shown = along_method(tables | controls(first.attribution, truth, wave, seed))
    shown.attrs["chance"] = "scores of a constant map"
    say(ranking(shown))
    scores = along_method(tables)
    ds = first.drop_vars("attribution").assign(
        attribution=along_method({k: r[["attribution"]] for k, r in results.items()})["attribution"],
        truth=truth,
        input=chosen.assign_coords(wave=wave),
    )
    ds.update({f"score_{k}": v for k, v in scores.items()})
    began = time.perf_counter()
    unsure = doubts(net, chosen[:4], names, seed)
    found = abs(unsure.attribution).sum("time").sel(target="mutual information").idxmax("lead")
    say(
        f"what makes it unsure, asked of {len(unsure.noisy)} of these records with noise in one lead: that lead is where the "
        f"map of mutual information is largest in {int((found == unsure.noisy).sum())} ({time.perf_counter() - began:.1f} s)"
    )
    ds.attrs = first.attrs | {"class_names": " ".join(names), "held_out_accuracy": reached}
    write_netcdf(ds, out / "attribution.nc")
    from ..report import report

    report(
        first,
        chosen.assign_coords(wave=wave),
        title="Demo: which part of an ECG decided?",
        scores=shown,
        truth=truth,
        comparisons=ds["attribution"],
        samples=[chosen.sample.values[i] for i in range(min(3, len(which)))],
        out=out / "report.html",
        unsure=unsure,
        notes=[
            f"What makes the model unsure is asked of records with noise in one lead ({', '.join(unsure.noisy.values)}, in this "
            "order), and of passes of a dropout that the network was not trained with: separately trained networks "
            "disagree more where they know less.",
            f"The records are simulated and the lesions planted, so the truth is known. The network got {reached:.1%} of "
            f"{len(y) - cut} held-out records right; the records shown are among those.",
            "A network may use less than the whole lesion, or the rhythm that comes with it: a perfect score is not to be expected.",
        ],
    )
    say(f"wrote {out / 'attribution.nc'} and {out / 'report.html'} after {time.perf_counter() - start:.0f} s")
    return ds


def controls(like: xr.DataArray, truth: xr.DataArray, wave: xr.DataArray, seed: int) -> dict[str, xr.Dataset]:
    """Return scores of control maps: white noise, and noise as smooth as a given map (sample, lead, time)."""
    like = like.transpose("sample", "lead", "time")
    key = metrics.sample_key(like.sizes["sample"], labels=like["sample"].values, seed=seed)
    made = {"random": metrics.white_random, "smooth random": metrics.smooth_random}
    return {
        name: score(like.copy(data=make(like.values, key, ("lead", "time"))), truth, wave)
        for name, make in made.items()
    }
