"""WinIT's cost beside the call pattern of its authors: one call of the model for each time, lag and feature, on the prefix.

python tests/benchmarks/winit.py                 # T = 80 and 200, five repeats, one thread: about 25 minutes
python tests/benchmarks/winit.py --times 80      # about five
python tests/benchmarks/winit.py --curve         # cost against the length of the series, about five
"""

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
import xarray as xr
from torch import Tensor, nn

import tsattr as ta
from tsattr.core.baselines.forecast import noise

FEATURES, WINDOW, DRAWS = 3, 10, 3


class Reader(nn.Module):
    """The published classifier: one GRU layer of 200, and a head on each state."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.GRU(FEATURES, 200)
        self.head = nn.Sequential(nn.BatchNorm1d(200), nn.ReLU(), nn.Dropout(0.5), nn.Linear(200, 1))

    def forward(self, x: Tensor) -> Tensor:
        h, _ = self.rnn(x.permute(2, 0, 1))
        return self.head(h.flatten(0, 1)).reshape(h.shape[:2]).T * 8


class Law:
    """A forecast that decays towards 0 with noise of a given size: draws of their own, or one for each start."""

    causal = True

    def __init__(self, x: np.ndarray, spread: float, nested: bool) -> None:
        self.nested, self.spread, self.times = nested, spread, x.shape[2]
        self.decay = torch.as_tensor(0.9 ** np.arange(1, WINDOW + 1), dtype=torch.float32)
        rng = np.random.default_rng(1)
        shape = (self.times, WINDOW, FEATURES, DRAWS, len(x), WINDOW)  # prediction, lag, feature, draw, sample, step
        self.numbers = torch.as_tensor(rng.normal(size=shape).astype(np.float32))

    def bind(self, axes) -> "Law":
        return self

    def fill(self, x: Tensor, absent: Tensor, key) -> Tensor:
        raise NotImplementedError

    def ahead(self, known: Tensor) -> Callable[..., Tensor]:
        def values(i: Tensor, start: Tensor, length: int, gone: Tensor, key) -> Tensor:
            mean = known[i, :, start - 1][:, None] * self.decay[:length, None]
            if self.nested:
                error = noise(key, start, length, self.times, [("feature", FEATURES)]).to(mean.dtype)
            else:
                s = torch.as_tensor(key.draw)
                error = self.numbers[start + length - 1, length - 1, :, s, i, :length].transpose(1, 2)
            return mean + self.spread * error

        return values


@torch.no_grad()
def official(model: nn.Module, x: Tensor, law: Law) -> tuple[np.ndarray, int]:
    """Importance (n, features, times, lags) as the authors' code asks for it, and the time steps it takes."""
    n, _, times = x.shape
    out = np.full((n, FEATURES, times, WINDOW), np.nan)
    steps = 0
    for t in range(1, times):
        p = torch.sigmoid(model(x[..., : t + 1])[:, -1])
        steps += t + 1
        for f in range(FEATURES):
            for lag in range(min(t, WINDOW)):
                a = t - lag
                mean = x[:, f, a - 1][:, None] * law.decay[: lag + 1]
                rows = x[None, :, :, : t + 1].repeat(DRAWS, 1, 1, 1)
                rows[:, :, f, a:] = mean + law.spread * law.numbers[t, lag, f, :, :, : lag + 1]
                q = torch.sigmoid(model(rows.flatten(0, 1))[:, -1]).reshape(DRAWS, n)
                steps += DRAWS * (t + 1)
                out[:, f, a, lag] = (2 * (q - p).abs()).mean(0)
    loss = out.copy()
    out[:, :, :-1, 1:] -= loss[:, :, 1:, :-1]
    out[:, :, 0] = 0
    return out, steps


def ours(model: nn.Module, x: Tensor, law: Law) -> tuple[np.ndarray, int]:
    data = xr.DataArray(x.numpy(), dims=("sample", "feature", "time"))
    ds = ta.explain(model, data, ta.WinIT(WINDOW, law, draws=DRAWS), outputs=("time",))
    return ds.attribution.values, int(ds.model_steps.mean())


def problem(times: int, samples: int) -> tuple[nn.Module, Tensor]:
    torch.manual_seed(0)
    x = torch.randn(samples, FEATURES, times).cumsum(2) / 4
    return Reader().eval(), x


def side_by_side(times: int, samples: int, repeats: int, spread: float) -> None:
    model, x = problem(times, samples)
    alone, shared = Law(x.numpy(), spread, nested=False), Law(x.numpy(), spread, nested=True)
    ways = {
        "official pattern": lambda: official(model, x, alone),
        "same draws": lambda: ours(model, x, alone),
        "shared draws": lambda: ours(model, x, shared),
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    found = {}
    for _ in range(repeats):  # interleaved, so that all meet the same machine
        for name, way in ways.items():
            start = time.process_time()
            found[name] = way()
            seconds[name].append(time.process_time() - start)
    want = found["official pattern"][0]
    inside = np.isfinite(want)
    print(
        f"T = {times}, {samples} samples, GRU(200), window {WINDOW}, {DRAWS} draws of sd {spread}, one thread, {repeats} repeats"
    )
    for name, (values, steps) in found.items():
        ratios = [a / b for a, b in zip(seconds["official pattern"], seconds[name])]
        maps = [np.nanmean(np.where(inside, v, np.nan)[:, :, 1:], -1).ravel() for v in (want, values)]
        print(
            f"  {name:17} {steps:9,} steps/sample  {statistics.median(seconds[name]) / samples * 1e3:8.1f} ms CPU/sample  "
            f"ratio {statistics.median(ratios):6.1f} ({min(ratios):.1f}-{max(ratios):.1f})  largest difference "
            f"{np.abs(values - want)[inside].max():.1e}  correlation of maps {np.corrcoef(*maps)[0, 1]:.5f}"
        )


def curve(repeats: int) -> None:
    print("CPU and steps against the length of the series, shared draws, 4 samples, one thread")
    for times in (50, 100, 200, 500, 1000, 2000):
        model, x = problem(times, 4)
        law = Law(np.zeros((1, FEATURES, 1)), 0.02, nested=True)
        law.times = times
        seconds, steps = [], 0
        for _ in range(repeats):
            start = time.process_time()
            _, steps = ours(model, x, law)
            seconds.append(time.process_time() - start)
        median = statistics.median(seconds) / 4
        print(
            f"  T = {times:5}  {steps:9,} steps  {median * 1e3:8.1f} ms  {median / times * 1e6:6.1f} us a time",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, nargs="*", default=[80, 200])
    parser.add_argument("--samples", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--spread", type=float, default=0.02)
    parser.add_argument("--curve", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.curve:
        return curve(args.repeats)
    for times in args.times:
        side_by_side(times, args.samples, args.repeats, args.spread)


if __name__ == "__main__":
    main()
