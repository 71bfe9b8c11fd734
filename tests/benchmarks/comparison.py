"""What `compare` costs: rows shared between methods and measures, and time over the bare model's for the same rows.

python tests/benchmarks/comparison.py            # about two minutes on one thread
"""

import argparse
import statistics
import time
import warnings

import numpy as np
import torch
import xarray as xr
from torch import nn

import tsattr as ta
from tsattr.comparison.scoring import MEASURES


def network() -> nn.Module:
    """A small convolutional network on two leads of a beat."""
    torch.manual_seed(0)
    layers = [nn.Conv1d(2, 32, 15, 2, 7), nn.ReLU(), nn.Conv1d(32, 48, 11, 2, 5), nn.ReLU(), nn.Conv1d(48, 64, 9, 2, 4)]
    return nn.Sequential(*layers, nn.ReLU(), nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(64, 3)).eval()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    values = rng.normal(size=(args.samples, 2, 252)).cumsum(-1).astype(np.float32) / 5
    x = xr.DataArray(values, dims=("sample", "lead", "time"), coords={"time": np.arange(252) / 360})
    b, net = ta.baselines, network()
    methods = {
        "zero": ta.IntegratedGradients(steps=9),
        "mean": ta.IntegratedGradients(b.Mean(), steps=9),
        "blur": ta.IntegratedGradients(b.Blur(time="50ms"), steps=9),
        "saliency": ta.Saliency(),
    }
    maps = {name: ta.explain(net, x, method, target=0) for name, method in methods.items()}
    settings = {"target": 0, "fills": {"mean": b.Mean(), "blur": b.Blur(time="50ms"), "samples": b.Samples.fit(x)}}

    def rows(found: xr.Dataset, name: str = "model_evaluations") -> int:
        return int(found[name].sum())

    together = rows(ta.compare(net, x, maps, controls=False, **settings), "test_evaluations")
    by_map = sum(rows(ta.evaluate(net, x, m, **settings)) for m in maps.values())
    by_measure = sum(
        rows(ta.evaluate(net, x, m, metrics=k, rankings=[r], **settings))
        for m in maps.values()
        for k in MEASURES
        for r in ("signed", "absolute")
    )
    print(f"rows of {len(maps)} maps, {len(MEASURES)} measures, 2 rankings, 3 fills on {args.samples} samples: {together} together, "
          f"{by_map} map by map, {by_measure} measure by measure")  # fmt: skip

    batch, calls = torch.as_tensor(values).repeat(-(-2048 // args.samples), 1, 1)[:2048], -(-together // 2048)
    seconds: dict[str, list[float]] = {"compare": [], "bare model": []}
    for _ in range(args.repeats):  # interleaved, so that both meet the same machine
        start = time.process_time()
        ta.compare(net, x, maps, controls=False, **settings)
        seconds["compare"].append(time.process_time() - start)
        start = time.process_time()
        with torch.no_grad():
            for _ in range(calls):
                net(batch)
        seconds["bare model"].append(time.process_time() - start)
    ratios = [a / b for a, b in zip(*seconds.values())]
    print(f"CPU seconds, medians of {args.repeats}: "
          + ", ".join(f"{k} {statistics.median(v):.2f}" for k, v in seconds.items())
          + f"; ratio {statistics.median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f})")  # fmt: skip


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main()
